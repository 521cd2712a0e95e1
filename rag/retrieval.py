"""The search: a question and a scope become ranked hits. Built on seams only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rag import fusion, language, lexical, references
from rag.seams import Embedder, Reranker, VectorStore
from rag.types import Hit, Query, Scope

RERANK_DEPTH: Final = 30
"""Hits that a cross-encoder reads: it costs a forward pass each, and beyond the thirtieth it rarely finds more."""


class Retriever:
    """Searches by meaning, by words and by exact reference at once. Safe to use from several threads.

    ``dense_weight`` is the share of the meaning in the fused score; ``None`` takes the measured one of the default
    embedder for the question's language. ``languages`` are those of the documents.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        *,
        reranker: Reranker | None = None,
        dense_weight: float | None = None,
        languages: Sequence[str] = lexical.LANGUAGES,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._reranker = reranker
        self._dense_weight = dense_weight
        self._languages = tuple(languages)

    def search(self, text: str, scope: Scope, limit: int = 10) -> list[Hit]:
        """At most ``limit`` chunks that ``scope`` may see, best first; articles that the question names lead."""
        exact, weak = references.asked(text)
        query = Query(self._embedder.embed_query(text), lexical.query_vector(text, self._languages), exact)
        candidates = self._store.search(query, scope, max(limit, fusion.DEPTH))
        wanted = limit if self._reranker is None else max(limit, RERANK_DEPTH)
        hits = fusion.fuse(candidates, dense_weight=self._share(text), weak=weak, limit=wanted)
        return self._reranked(text, hits)[:limit]

    def _share(self, text: str) -> float:
        if self._dense_weight is not None:
            return self._dense_weight
        return fusion.DENSE_WEIGHT[language.detect(text)]

    def _reranked(self, text: str, hits: list[Hit]) -> list[Hit]:
        if self._reranker is None:
            return hits
        # Hits below the reader's depth keep their order, and their scores on the reader's scale would mean nothing.
        best = fusion.exact_first(self._reranker.rerank(text, hits[:RERANK_DEPTH]))
        floor = min((hit.score for hit in best), default=0.0)
        rest = [Hit(hit.chunk, min(floor, hit.score), hit.dense, hit.sparse, hit.exact) for hit in hits[RERANK_DEPTH:]]
        return [*best, *rest]
