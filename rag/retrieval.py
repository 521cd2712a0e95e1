"""The search: a question and a scope become ranked hits. Built on seams only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rag import closeness, fusion, language, lexical, references, selection
from rag.seams import Embedder, Reranker, VectorStore
from rag.types import Chunk, Hit, Query, Scope

RERANK_DEPTH: Final = 30
"""Hits that a cross-encoder reads: it costs a forward pass each, and beyond the thirtieth it rarely finds more."""
SPARE: Final = 4
"""Hits looked at for each passage that is shown: near-duplicates and crowding make room for what stands below."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one search found, best first, and what it took.

    ``seconds`` by stage: ``encode``, ``search``, ``fuse``, ``rerank`` where a cross-encoder is configured, and
    ``complete`` where passages were brought along.
    """

    hits: tuple[Hit, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)


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
        return self._ranked(text, scope, limit, _Clock(), closeness.wording(text, self._languages))

    def passages(self, text: str, scope: Scope, limit: int) -> Retrieved:
        """What an answer shows: at most ``limit`` hits, each text once, then what completes the best of them.

        At most :data:`~rag.selection.BROUGHT` chunks come along; :attr:`~rag.types.Hit.found` tells them apart.
        """
        clock = _Clock()
        asked = closeness.wording(text, self._languages)
        ranked = self._ranked(text, scope, SPARE * limit, clock, asked)
        with clock.of("complete"):
            chosen = selection.select(ranked, limit)
            shown = selection.completed(chosen, self._read(selection.needs(chosen), scope), asked)
        return Retrieved(tuple(shown), clock.seconds)

    def _ranked(self, text: str, scope: Scope, limit: int, clock: _Clock, asked: closeness.Wording) -> list[Hit]:
        exact, weak = references.asked(text)
        speech = language.detect(text)
        with clock.of("encode"):
            vector = self._embedder.embed_query(text)
        with clock.of("search"):
            query = Query(vector, lexical.query_vector(text, self._languages), exact)
            candidates = self._store.search(query, scope, max(limit, fusion.DEPTH))
        with clock.of("fuse"):
            weights = closeness.WEIGHTS[speech]
            hits = fusion.fuse(
                candidates,
                dense_weight=fusion.DENSE_WEIGHT[speech] if self._dense_weight is None else self._dense_weight,
                weak=weak,
                limit=limit if self._reranker is None else max(limit, RERANK_DEPTH),
                close=lambda chunk: closeness.closeness(asked, chunk).score(weights),
                close_share=weights.share,
            )
        if self._reranker is not None:
            with clock.of("rerank"):
                hits = _reranked(self._reranker, text, hits)
        return hits[:limit]

    def _read(self, needs: selection.Needs, scope: Scope) -> list[Chunk]:
        """The chunks that may complete the best hits; none where they name nothing and are whole."""
        found: dict[str, Chunk] = {}
        if needs.local:
            for stored in self._store.chunks(scope, documents=needs.documents, references=needs.local):
                found[stored.chunk.id] = stored.chunk
        if needs.anywhere:
            for stored in self._store.chunks(scope, references=needs.anywhere):
                found.setdefault(stored.chunk.id, stored.chunk)
        return list(found.values())


def _reranked(reranker: Reranker, text: str, hits: list[Hit]) -> list[Hit]:
    # Hits below the reader's depth keep their order, and their scores on the reader's scale would mean nothing.
    best = fusion.exact_first(reranker.rerank(text, hits[:RERANK_DEPTH]))
    floor = min((hit.score for hit in best), default=0.0)
    rest = [Hit(hit.chunk, min(floor, hit.score), hit.dense, hit.sparse, hit.exact) for hit in hits[RERANK_DEPTH:]]
    return [*best, *rest]


class _Clock:
    """Seconds by stage of one search: a value of that search, so that threads do not meet in it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
