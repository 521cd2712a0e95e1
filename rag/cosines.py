"""Cosines of texts with texts, each text embedded once: what is known is kept, what is new goes in one batch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from rag.seams import Embedder
from rag.types import Matrix, Vector

KEPT: Final = 8192
"""Vectors kept: the sentences of some hundred passages; at 384 dimensions 12 MiB."""


class Cosines:
    """``similarity(left, right)`` over an embedder, shape ``(left, right)``. Safe to use from several threads.

    The sentences of passages come again with every claim, so that after the first claim only the claim is new.
    """

    def __init__(self, embedder: Embedder, *, kept: int = KEPT) -> None:
        self._embedder = embedder
        self._kept = kept
        self._known: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()
        self.embedded = 0
        """Texts that were not known so far."""

    def __call__(self, left: Sequence[str], right: Sequence[str]) -> Matrix:
        vectors = self.vectors([*left, *right])
        cosines: Matrix = vectors[: len(left)] @ vectors[len(left) :].T
        return cosines

    def learn(self, vectors: Mapping[str, Vector]) -> None:
        """Take in vectors made elsewhere, as at ingestion, by the same embedder."""
        with self._lock:
            self._keep(vectors)

    def vectors(self, texts: Sequence[str]) -> Matrix:
        """The vectors of ``texts``, in order; those that are not known are embedded in one call."""
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
            for text in known:
                self._known.move_to_end(text)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            fresh = dict(zip(missing, self._embedder.embed_passages(missing), strict=True))
            known |= fresh
            with self._lock:
                self.embedded += len(missing)
                self._keep(fresh)
        if not texts:
            return np.zeros((0, self._embedder.dimension), dtype=np.float32)
        return np.stack([known[text] for text in texts])

    def _keep(self, vectors: Mapping[str, Vector]) -> None:
        self._known.update(vectors)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
