"""An embedder that gives way: while somebody waits for an answer on the same processors, ingestion pauses.

Two programs that share cores slow a model down to a quarter and less; ingestion that ends a little later hurts nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from rag.seams import Embedder
from rag.types import Matrix, Vector

PORTION: Final = 32
"""Texts embedded between two looks at who waits: under half a second of work, one batch of the encoder."""
PATIENCE: Final = 10.0
"""Seconds that one portion waits at most, so that ingestion ends even where answers never do."""
LOOK: Final = 0.02


class GivingWay:
    """The :class:`~rag.seams.Embedder` of an ingestion beside a service. ``busy`` says that an answer is being made."""

    def __init__(self, embedder: Embedder, busy: Callable[[], bool]) -> None:
        self._embedder = embedder
        self._busy = busy

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        return self._embedder.embed_query(text)

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        parts = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(texts), PORTION):
            self._wait()
            parts.append(self._embedder.embed_passages(texts[start : start + PORTION]))
        return np.concatenate(parts)

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._busy() and time.monotonic() < until:
            time.sleep(LOOK)
