"""Plain BM25 over title and text: the frozen yardstick that every other ranking is compared with.

k1 is 1.2 and b 0.75, the average length is the true one, and the title is words like any others. It stays as it is
when the engine's own weighting changes; the two share the analysis of words and nothing else.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from rag.lexical import terms
from rag.types import Chunk

K1: Final = 1.2
B: Final = 0.75


class PlainBM25:
    """Ranks ``chunks`` for a question. Built whole in the constructor: an index of evaluation size takes seconds."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = tuple(chunks)
        counts = [Counter(terms(f"{chunk.title}\n{chunk.text}", chunk.language)) for chunk in chunks]
        lengths = [sum(count.values()) for count in counts]
        average = (sum(lengths) / len(lengths) if lengths else 0.0) or 1.0
        postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            for term, times in count.items():
                norm = K1 * (1 - B + B * length / average)
                postings[term].append((row, times * (K1 + 1) / (times + norm)))
        self._postings = {
            term: (
                np.array([row for row, _ in entries]),
                np.array([weight for _, weight in entries]) * _idf(len(chunks), len(entries)),
            )
            for term, entries in postings.items()
        }

    def rank(self, question: str, language: str, limit: int) -> list[Chunk]:
        """The best ``limit`` chunks that share a word with ``question``, ties in the order given."""
        scores = np.zeros(len(self._chunks))
        for term in set(terms(question, language)):
            if term in self._postings:
                rows, weights = self._postings[term]
                scores[rows] += weights
        order = np.argsort(-scores, kind="stable")[:limit]
        return [self._chunks[row] for row in order if scores[row] > 0]


def _idf(chunks: int, holding: int) -> float:
    return math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))
