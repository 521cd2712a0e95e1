"""The search: a question and a scope become ranked hits. Built on seams only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from rag import closeness, fusion, glossary, language, lexical, references, selection, spelling, translation, versions
from rag.seams import Embedder, Reranker, VectorStore
from rag.types import Candidates, Chunk, Hit, Query, Scope

RERANK_DEPTH: Final = 30
"""Hits that a cross-encoder reads: it costs a forward pass each, and beyond the thirtieth it rarely finds more."""
SPARE: Final = 4
"""Hits looked at for each passage that is shown: near-duplicates and crowding make room for what stands below."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one search found, best first, and what it took.

    ``corrections`` are words of the question that no text found has and that were searched as what was meant;
    ``foreign`` says that the best hit is in another language than the question, so that better ones may have been
    missed. ``seconds`` by stage: ``encode``, ``search``, ``fuse``, ``rerank`` where a cross-encoder is configured, and
    ``complete`` for what was chosen and brought along.
    """

    hits: tuple[Hit, ...]
    corrections: tuple[spelling.Correction, ...] = ()
    foreign: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as it is searched: its text, in which language, by which other names, and taken apart."""

    text: str
    language: str
    also: tuple[lexical.Other, ...]
    across: tuple[lexical.Other, ...]
    wording: closeness.Wording


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The hits of a question as it was searched in the end, and what was corrected in it."""

    asked: _Asked
    hits: list[Hit]
    corrections: tuple[spelling.Correction, ...]


class Retriever:
    """Searches by meaning, by words and by exact reference at once. Safe to use from several threads.

    ``dense_weight`` is the share of the meaning in the fused score; ``None`` takes the measured one of the default
    embedder for the question's language. ``languages`` are those of the documents. ``glossary`` gives the other names
    of phrases for those who ask under a scope.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        *,
        reranker: Reranker | None = None,
        dense_weight: float | None = None,
        languages: Sequence[str] = lexical.LANGUAGES,
        glossary: Callable[[Scope], glossary.Glossary] | None = None,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._reranker = reranker
        self._dense_weight = dense_weight
        self._languages = tuple(languages)
        self._glossary = glossary

    def search(self, text: str, scope: Scope, limit: int = 10) -> list[Hit]:
        """At most ``limit`` chunks that ``scope`` may see, best first; articles that the question names lead."""
        return self._ranked(text, scope, limit, _Clock()).hits

    def passages(self, text: str, scope: Scope, limit: int) -> Retrieved:
        """What an answer shows: at most ``limit`` hits, each text once, then what completes the best of them.

        At most :data:`~rag.selection.BROUGHT` chunks come along; :attr:`~rag.types.Hit.found` tells them apart.
        """
        clock = _Clock()
        ranked = self._ranked(text, scope, SPARE * limit, clock)
        with clock.of("complete"):
            chosen = selection.select(ranked.hits, limit)
            read = self._read(selection.needs(chosen), scope)
            shown = selection.completed(chosen, read, ranked.asked.wording)
        foreign = _foreign(ranked.asked.language, chosen)
        return Retrieved(tuple(shown), ranked.corrections, foreign, clock.seconds)

    def _ranked(self, text: str, scope: Scope, limit: int, clock: _Clock) -> _Ranked:
        speech = language.detect(text)
        names = None if self._glossary is None else self._glossary(scope)
        asked = self._asked(text, speech, names)
        candidates = self._candidates(asked, scope, limit, clock)
        # A word that stands in the texts is no mistake, whatever the dictionary says.
        doubted = spelling.corrections(text, speech, frozenset() if names is None else names.words)
        named = references.spans(text) if doubted else ()
        meant = tuple(
            one
            for one in doubted
            if not _read_in(one.word, candidates) and not any(low <= one.start < high for low, high in named)
        )
        if meant:
            asked = self._asked(_corrected(text, meant), speech, names)
            candidates = self._candidates(asked, scope, limit, clock)
        with clock.of("fuse"):
            hits = self._fused(asked, candidates, limit)
        if self._reranker is not None:
            with clock.of("rerank"):
                hits = _reranked(self._reranker, asked.text, hits)
        return _Ranked(asked, versions.newest_first(hits)[:limit], meant)

    def _asked(self, text: str, speech: str, names: glossary.Glossary | None) -> _Asked:
        also = () if names is None else names.alternatives(text, speech)
        across = translation.alternatives(text, speech) if set(self._languages) - {speech} else ()
        return _Asked(text, speech, also, across, closeness.wording(text, self._languages, (*also, *across)))

    def _candidates(self, asked: _Asked, scope: Scope, limit: int, clock: _Clock) -> Candidates:
        with clock.of("encode"):
            vector = self._embedder.embed_query(asked.text)
        with clock.of("search"):
            exact, _ = references.asked(asked.text)
            deep = max(limit, fusion.DEPTH)
            query = Query(vector, lexical.query_vector(asked.text, self._languages), exact)
            found = self._store.search(query, scope, deep)
            if not asked.also and not asked.across:
                return found
            renamed = lexical.query_vector(asked.text, self._languages, asked.also, asked.across)
            other = self._store.search(Query(None, renamed), scope, deep)
            return replace(found, sparse=fusion.better(found.sparse, other.sparse))

    def _fused(self, asked: _Asked, candidates: Candidates, limit: int) -> list[Hit]:
        weights = closeness.WEIGHTS[asked.language]
        _, weak = references.asked(asked.text)
        return fusion.fuse(
            candidates,
            dense_weight=fusion.DENSE_WEIGHT[asked.language] if self._dense_weight is None else self._dense_weight,
            weak=weak,
            limit=limit if self._reranker is None else max(limit, RERANK_DEPTH),
            close=lambda chunk: closeness.closeness(asked.wording, chunk).score(weights),
            close_share=weights.share,
        )

    def versions(self, wanted: Iterable[versions.Wanted]) -> list[Chunk]:
        """The chunks that :func:`rag.versions.wanted` asks for, each once."""
        found: dict[str, Chunk] = {}
        for one in wanted:
            for stored in self._store.chunks(one.scope, documents=one.documents, references=one.references):
                found[stored.chunk.id] = stored.chunk
        return list(found.values())

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


def _read_in(word: str, candidates: Candidates) -> bool:
    """Whether a text that was found has ``word``, or a longer form of it."""
    begins = closeness.plain(word).rstrip()
    return any(
        begins in closeness.plain(scored.chunk.breadcrumb) or begins in closeness.plain(scored.chunk.text)
        for scored in candidates.sparse
    )


def _corrected(text: str, meant: Sequence[spelling.Correction]) -> str:
    for one in sorted(meant, key=lambda one: one.start, reverse=True):
        text = text[: one.start] + one.suggestion + text[one.end :]
    return text


def _foreign(speech: str, hits: Sequence[Hit]) -> bool:
    """Whether the best hit is in another language than ``speech``."""
    return bool(hits) and hits[0].chunk.language != speech


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
