"""Every seam without a model, a server or a disk: deterministic, honest, and good enough to show the service.

Each fake passes the contract test of its seam, the same one that the real adapter passes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from rag.types import Hit, Matrix, Vector

_WORD: Final = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


class HashEmbedder:
    """Each word adds one to a coordinate chosen by its hash: texts that share words are near one another."""

    def __init__(self, dimension: int = 256) -> None:
        self._dimension = dimension

    @property
    def fingerprint(self) -> str:
        return f"fake-hash-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed_query(self, text: str) -> Vector:
        vector = np.zeros(self._dimension, dtype=np.float32)
        # A text without words still has a direction, its own: no vector here is ever zero.
        for word in _words(text) or [text]:
            vector[zlib.crc32(word.encode()) % self._dimension] += 1.0
        normalised: Vector = vector / np.float32(np.linalg.norm(vector))
        return normalised

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            matrix[row] = self.embed_query(text)
        return matrix


class OverlapReranker:
    """Scores a hit with the share of the question's words that its text holds."""

    @property
    def fingerprint(self) -> str:
        return "fake-overlap"

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        asked = set(_words(question))
        rescored = [
            Hit(hit.chunk, _share(asked, _words(hit.chunk.search_text)), hit.dense, hit.sparse, hit.exact)
            for hit in hits
        ]
        return sorted(rescored, key=lambda hit: (-hit.score, hit.chunk.id))


def _share(asked: set[str], found: Iterable[str]) -> float:
    return len(asked.intersection(found)) / len(asked) if asked else 0.0
