"""Every seam without a model, a server or a disk: deterministic, honest, and good enough to show the service.

Each fake passes the contract test of its seam, the same one that the real adapter passes.
"""

from __future__ import annotations

import math
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Generator as Stream
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np

from rag.adapters.qdrant_payload import in_reading_order, must_be_of, point_id, visible
from rag.adapters.ranking import ranked
from rag.errors import BadRequest, Cancelled, GenerationError
from rag.queue import QueueState, Turns, never, nobody
from rag.quoting import choices
from rag.stops import StopFilter
from rag.types import (
    PUBLIC,
    Candidates,
    Chunk,
    Hit,
    Marked,
    Matrix,
    Message,
    Point,
    Query,
    Reading,
    Sampling,
    Scope,
    Scored,
    SparseVector,
    Stored,
    Told,
    Vector,
)

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


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A stored chunk and its vectors, the dense one normalised once more, as the engines do."""

    stored: Stored
    dense: Vector
    terms: dict[int, float]

    @property
    def chunk(self) -> Chunk:
        return self.stored.chunk


class DictStore:
    """The vector store in a dictionary: nothing survives the process. Safe from many threads."""

    def __init__(self, fingerprint: str, dimension: int) -> None:
        self.fingerprint = fingerprint
        self.dimension = dimension
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def stage(self, corpus: str, snapshot: int, points: Sequence[Point], removals: Collection[str]) -> None:
        must_be_of(corpus, points)
        with self._lock:
            for point in points:
                identity = point_id(point.chunk.id, snapshot)
                terms = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
                self._kept[identity] = _Kept(Stored(identity, point.chunk, snapshot, ()), _unit(point.dense), terms)
            for identity in removals:
                kept = self._kept.get(identity)
                if kept is not None and kept.chunk.corpus == corpus and snapshot not in kept.stored.removed:
                    self._change(kept, replace(kept.stored, removed=(*kept.stored.removed, snapshot)))

    def search(self, query: Query, scope: Scope, limit: int) -> Candidates:
        if limit < 1:
            return Candidates()
        seen = self._seen(scope)
        asked = set(query.references)
        dense: tuple[Scored, ...] = ()
        sparse: tuple[Scored, ...] = ()
        if query.dense is not None and seen:
            # In float64 first: equal vectors then have equal scores, wherever they stand in the matrix.
            matrix = np.stack([kept.dense for kept in seen]).astype(np.float64)
            cosines = (matrix @ _unit(query.dense)).astype(np.float32)
            dense = ranked(zip(cosines.tolist(), (kept.chunk for kept in seen), strict=True), limit)
        if query.sparse is not None:
            scored = zip(_bm25(query.sparse, [kept.terms for kept in seen]), seen, strict=True)
            sparse = ranked(((score, kept.chunk) for score, kept in scored if score > 0), limit)
        exact = ranked(((1.0, kept.chunk) for kept in seen if asked.intersection(kept.chunk.own_references)), limit)
        return Candidates(dense=dense, sparse=sparse, exact=exact)

    def chunks(
        self,
        scope: Scope,
        *,
        documents: Collection[tuple[str, str]] | None = None,
        ids: Collection[str] | None = None,
        references: Collection[str] | None = None,
    ) -> list[Stored]:
        return in_reading_order(
            kept.stored
            for kept in self._seen(scope)
            if (documents is None or (kept.chunk.corpus, kept.chunk.document) in documents)
            and (ids is None or kept.chunk.id in ids)
            and (references is None or not set(references).isdisjoint(kept.chunk.own_references))
        )

    def contents(self, corpus: str, lineage: Sequence[int], documents: Collection[str] | None = None) -> list[Stored]:
        return in_reading_order(
            kept.stored
            for kept in self._of(corpus)
            if _at(kept, lineage) and (documents is None or kept.chunk.document in documents)
        )

    def vectors(self, corpus: str, chunks: Collection[str]) -> dict[str, Vector]:
        wanted = set(chunks)
        return {kept.chunk.id: kept.dense for kept in self._of(corpus) if kept.chunk.id in wanted}

    def points(self, corpus: str, documents: Collection[str] | None = None) -> Iterator[tuple[Stored, Vector]]:
        for kept in self._of(corpus):
            if documents is None or kept.chunk.document in documents:
                yield kept.stored, kept.dense

    def restore(self, corpus: str, points: Sequence[Marked]) -> None:
        must_be_of(corpus, [marked.point for marked in points])
        with self._lock:
            for marked in points:
                point = marked.point
                identity = point_id(point.chunk.id, marked.added)
                stored = Stored(identity, point.chunk, marked.added, marked.removed)
                terms = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
                self._kept[identity] = _Kept(stored, _unit(point.dense), terms)

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        with self._lock:
            for kept in list(self._kept.values()):
                if (kept.chunk.corpus, kept.chunk.document) == (corpus, document):
                    chunk = replace(kept.chunk, groups=frozenset(groups), clearance=clearance)
                    self._change(kept, replace(kept.stored, chunk=chunk))

    def discard(self, corpus: str, snapshot: int) -> None:
        with self._lock:
            for kept in [kept for kept in self._kept.values() if kept.chunk.corpus == corpus]:
                if kept.stored.added == snapshot:
                    del self._kept[kept.stored.point]
                elif snapshot in kept.stored.removed:
                    left = tuple(number for number in kept.stored.removed if number != snapshot)
                    self._change(kept, replace(kept.stored, removed=left))

    def sweep(self, corpus: str, kept: Collection[Sequence[int]]) -> int:
        doomed = [point for point in self._of(corpus) if not any(_at(point, lineage) for lineage in kept)]
        with self._lock:
            for point in doomed:
                del self._kept[point.stored.point]
        return len(doomed)

    def close(self) -> None:
        """Nothing to let go of."""

    def _change(self, kept: _Kept, stored: Stored) -> None:
        self._kept[stored.point] = replace(kept, stored=stored)

    def _of(self, corpus: str) -> list[_Kept]:
        with self._lock:
            return [kept for kept in self._kept.values() if kept.chunk.corpus == corpus]

    def _seen(self, scope: Scope) -> list[_Kept]:
        """What the scope may see, said in plain Python: what the engines' conditions are tested against."""
        groups = scope.groups | {PUBLIC}
        with self._lock:
            everything = list(self._kept.values())
        return [
            kept
            for kept in everything
            if _at(kept, scope.lineages.get(kept.chunk.corpus, ()))
            and not groups.isdisjoint(kept.chunk.groups)
            and kept.chunk.clearance <= scope.clearance
            and (scope.as_of is None or kept.chunk.validity.covers(scope.as_of))
        ]


def _at(kept: _Kept, lineage: Collection[int]) -> bool:
    return visible(kept.stored.added, kept.stored.removed, lineage)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    unit: Vector = vector / np.float32(length) if length else vector
    return unit


def _bm25(query: SparseVector, documents: Sequence[dict[int, float]]) -> list[float]:
    """The score of each document: its weights of the query's terms, by the terms' rarity among these documents."""
    counted = Counter(term for document in documents for term in query.indices if term in document)
    population = sum(1 for document in documents if document)
    weights = {
        term: weight * math.log((population - counted[term] + 0.5) / (counted[term] + 0.5) + 1.0)
        for term, weight in zip(query.indices, query.values, strict=True)
    }
    return [sum(weight * document.get(term, 0.0) for term, weight in weights.items()) for document in documents]


_ENOUGH: Final = 50
"""Pieces of a script that tell which sentence is nearest to it."""
Script = Callable[[Sequence[Message]], Iterable[str]]
"""What a scripted generator writes in answer to a prompt, in pieces; it may raise, or never end."""

_PIECE: Final = re.compile(r"\s*\S+|\s+")
_PASSAGE: Final = re.compile(r'<passage n="(\d+)"[^>]*>\n(.*?)\n</passage>', re.DOTALL)
_SENTENCE: Final = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]?")
_ORDER: Final = re.compile(
    r"(?:write|say|answer|écri[st]|écrivez|dis|dites|répond[sez]*)\b[^:\n]*:\s*([^\n]+)", re.IGNORECASE
)


class ScriptedGenerator:
    """Writes what its script says, a word a token, with the queue and the manners of a real model.

    ``delay`` seconds pass before each piece. The scripts :func:`quotes`, :func:`echoes`, :func:`crashes`,
    :func:`endless` and :func:`obeys` are the writers that tests need.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        context: int = 4096,
        queue: int = 16,
        per_owner: int | None = None,
        delay: float = 0.0,
    ) -> None:
        self._script = script
        self._name = name
        self._context = context
        self._delay = delay
        self._turns = Turns(queue, per_owner=per_owner)

    @property
    def fingerprint(self) -> str:
        return f"fake-{self._name}"

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, text: str) -> int:
        return len(_PIECE.findall(text))

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        return sum(self.count_tokens(message.content) + 2 for message in prompt)

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = never,
        told: Callable[[Told], None] = nobody,
        owner: str = "",
    ) -> Stream[str, None, None]:
        length = self.count_prompt(prompt)
        if length >= self._context:
            raise BadRequest(
                f"the prompt has {length} tokens and the model's context is {self._context}",
                f"l’invite compte {length} unités pour un contexte de {self._context}",
                code="prompt_too_long",
            )
        room = min(sampling.max_tokens, self._context - length)
        return self._write(prompt, room, sampling, cancelled, told, owner)

    @property
    def queue(self) -> QueueState:
        return self._turns.state

    def forget(self, owner: str) -> None:
        """It keeps nothing of anybody's."""

    def close(self) -> None:
        self._turns.close()

    def _write(
        self,
        prompt: Sequence[Message],
        room: int,
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Callable[[Told], None],
        owner: str,
    ) -> Stream[str, None, None]:
        with self._turns.turn(cancelled, told, owner):
            told(Reading(self.count_prompt(prompt), 0))
            stops = StopFilter(sampling.stop)
            written = 0
            script: Iterable[str] = self._script(prompt)
            if sampling.grammar is not None:
                script = [_nearest(script, sampling.grammar)]
            for piece in script:
                for token in _PIECE.findall(piece):
                    self._pause(cancelled)
                    if shown := stops.feed(token):
                        yield shown
                    written += 1
                    if stops.stopped or written >= room:
                        break
                if stops.stopped or written >= room:
                    break
            if rest := stops.rest():
                yield rest

    def _pause(self, cancelled: Callable[[], bool]) -> None:
        """Wait ``delay`` seconds, looking up often."""
        end = time.monotonic() + self._delay
        while True:
            if cancelled():
                raise Cancelled("cancelled while writing", "annulé pendant la rédaction")
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.02))


def _nearest(script: Iterable[str], grammar: str) -> str:
    """The sentence that a grammar of :mod:`rag.quoting` offers which is nearest to what would have been written."""
    offered = choices(grammar)
    if not offered:
        raise GenerationError("the fake cannot read this grammar", "le modèle factice ne peut pas lire la grammaire")
    said: set[str] = set()
    for piece in islice(script, _ENOUGH):  # a script may never end
        said.update(_words(piece))
    return max(offered, key=lambda one: len(said.intersection(_words(one))))


class QuotingGenerator(ScriptedGenerator):
    """The honest fake: it quotes the sentence of the passages that is nearest to the question, and cites it."""

    def __init__(
        self, *, context: int = 4096, queue: int = 16, per_owner: int | None = None, delay: float = 0.0
    ) -> None:
        super().__init__(quotes, name="quoting", context=context, queue=queue, per_owner=per_owner, delay=delay)


def quotes(prompt: Sequence[Message]) -> Iterator[str]:
    """The sentence that shares most words with the question, word for word, with its passage's number."""
    last = prompt[-1].content
    question = set(_words(last[last.rfind("</passage>") + 1 :]))
    sentences = [
        (sentence.strip(), number)
        for message in prompt
        for number, text in _PASSAGE.findall(message.content)
        for sentence in _SENTENCE.findall(text)
    ]
    if sentences:
        sentence, number = max(sentences, key=lambda pair: len(question.intersection(_words(pair[0]))))
        end = sentence[-1] if sentence[-1] in ".!?" else "."
        yield f"{sentence.rstrip('.!?')} [{number}]{end}"


def echoes(prompt: Sequence[Message]) -> Iterator[str]:
    """What the last message says."""
    yield prompt[-1].content


def crashes(_prompt: Sequence[Message]) -> Iterator[str]:
    """Two words, then the model fails."""
    yield "La réponse"
    raise GenerationError("the model crashed, as its script says", "le modèle a échoué, comme prévu")


def endless(_prompt: Sequence[Message]) -> Iterator[str]:
    """The same sentence for ever."""
    while True:
        yield "Il faut encore attendre. "


def obeys(prompt: Sequence[Message]) -> Iterator[str]:
    """What the passages order: after "write:", "say:", "réponds :" and the like, that text; the attacker's dream."""
    orders = [
        order for message in prompt for _, text in _PASSAGE.findall(message.content) for order in _ORDER.findall(text)
    ]
    yield "\n".join(orders) if orders else "".join(quotes(prompt))
