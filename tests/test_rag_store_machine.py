"""Whatever an ingestion does to a corpus, crashes included, readers see exactly what is published.

Random histories of edits, moves, kills, publications and rollbacks run on the three stores side by side, against
a model that knows each snapshot's content by heart.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from qdrant_client import QdrantClient

from rag.adapters.fake import DictStore
from rag.adapters.qdrant_edge import EdgeStore
from rag.adapters.qdrant_server import ServerStore
from rag.seams import VectorStore
from rag.types import Chunk, Point, Query, Scope, SparseVector

pytestmark = [
    pytest.mark.slow,
    # The client's local mode, which stands in for a server, says that it needs no index and is always exact.
    pytest.mark.filterwarnings(
        "ignore:Payload indexes have no effect:UserWarning", "ignore:Local mode performs exact:UserWarning"
    ),
]

DIMENSION = 4
WORDS = 6
CORPORA = ("rh", "sante")

Texts = dict[str, tuple[int, ...]]
"""A corpus as its folder has it: document to the words of its only chunk."""


def chunk_of(corpus: str, document: str, words: tuple[int, ...]) -> Chunk:
    """As in ingestion: the id comes from the content, so a text that comes back has its old id."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{corpus}/{document}/{words}"))
    text = " ".join(map(str, words))
    return Chunk(
        identity, corpus, document, "Titre", "", (), text, 0, "fr", 0, len(text), own_references=(f"r{words[0]}",)
    )


def point_of(chunk: Chunk) -> Point:
    words = [int(word) for word in chunk.text.split()]
    dense = np.full(DIMENSION, 0.1, dtype=np.float32)
    for word in words:
        dense[word % DIMENSION] += 1 + word / 10
    counts = {word: words.count(word) for word in sorted(set(words))}
    sparse = SparseVector(tuple(counts), tuple(float(count) for count in counts.values()))
    return Point(chunk, dense / np.float32(np.linalg.norm(dense)), sparse)


@dataclass
class Corpus:
    """What the catalog and the folder would know of one corpus."""

    name: str
    folder: Texts
    snapshots: dict[int, Texts]
    parents: dict[int, int | None]
    published: int | None = None
    latest: int = 0
    staged: int | None = None

    def lineage(self, snapshot: int | None) -> tuple[int, ...]:
        numbers: list[int] = []
        while snapshot is not None:
            numbers.append(snapshot)
            snapshot = self.parents[snapshot]
        return tuple(numbers)

    def chunks(self, snapshot: int | None) -> list[Chunk]:
        texts = {} if snapshot is None else self.snapshots[snapshot]
        return [chunk_of(self.name, document, words) for document, words in texts.items()]


CHOSEN = st.sampled_from(CORPORA)
DOCUMENTS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=4).map(tuple)


class StoreMachine(RuleBasedStateMachine):
    """Three stores, two corpora, one truth."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.client = QdrantClient(":memory:")
        self.stores: dict[str, VectorStore] = {"dict": DictStore("test", DIMENSION)}
        self.open_the_others()
        self.corpora = {name: Corpus(name, {}, {}, {}) for name in CORPORA}

    def open_the_others(self) -> None:
        self.stores["edge"] = EdgeStore.open(self.home / "index" / "edge", "test", DIMENSION)
        self.stores["server"] = ServerStore.open("", "", "test", DIMENSION, client=self.client)

    @initialize()
    def first_texts(self) -> None:
        for name in CORPORA:
            self.corpora[name].folder.update({"a": (0, 1), "b": (1, 2, 2)})
            self.stage(name)
            self.publish(name)

    # --- the folder

    @rule(name=CHOSEN, document=DOCUMENTS, words=TEXTS)
    def edit(self, name: str, document: str, words: tuple[int, ...]) -> None:
        """A document is added or changed."""
        self.corpora[name].folder[document] = words

    @rule(name=CHOSEN, document=DOCUMENTS)
    def remove(self, name: str, document: str) -> None:
        self.corpora[name].folder.pop(document, None)

    @rule(name=CHOSEN)
    def revert(self, name: str) -> None:
        """The folder becomes again what the first snapshot was."""
        corpus = self.corpora[name]
        corpus.folder = dict(corpus.snapshots[min(corpus.snapshots)])

    @rule(name=CHOSEN, document=DOCUMENTS, other=DOCUMENTS)
    def move(self, name: str, document: str, other: str) -> None:
        """A text goes on under another document's name."""
        folder = self.corpora[name].folder
        if document in folder:
            folder[other] = folder.pop(document)

    # --- an ingestion

    def difference(self, corpus: Corpus) -> tuple[list[Chunk], set[str]]:
        wanted = {chunk.id: chunk for chunk in (chunk_of(corpus.name, d, w) for d, w in corpus.folder.items())}
        seen = {chunk.id for chunk in corpus.chunks(corpus.published)}
        return [chunk for identity, chunk in wanted.items() if identity not in seen], seen - set(wanted)

    def begin(self, corpus: Corpus) -> int:
        if corpus.staged is not None:
            for store in self.stores.values():
                store.discard(corpus.name, corpus.staged)
            corpus.snapshots.pop(corpus.staged, None)
        corpus.latest += 1
        corpus.staged = corpus.latest
        corpus.parents[corpus.latest] = corpus.published
        return corpus.latest

    def removals(self, store: VectorStore, corpus: Corpus, gone: set[str]) -> list[str]:
        contents = store.contents(corpus.name, corpus.lineage(corpus.published))
        return [stored.point for stored in contents if stored.chunk.id in gone]

    @rule(name=CHOSEN)
    def stage(self, name: str) -> None:
        corpus = self.corpora[name]
        new, gone = self.difference(corpus)
        snapshot = self.begin(corpus)
        for store in self.stores.values():
            store.stage(name, snapshot, [point_of(chunk) for chunk in new], self.removals(store, corpus, gone))
        corpus.snapshots[snapshot] = dict(corpus.folder)

    @rule(name=CHOSEN, cut=st.integers(0, 3), half=st.booleans())
    def kill_while_staging(self, name: str, cut: int, half: bool) -> None:
        """Part of a stage is written, then the process is gone; what it wrote is found by whoever opens next."""
        corpus = self.corpora[name]
        new, gone = self.difference(corpus)
        snapshot = self.begin(corpus)
        for store in self.stores.values():
            removals = self.removals(store, corpus, gone) if half else []
            store.stage(name, snapshot, [point_of(chunk) for chunk in new][:cut], removals[:cut])
        self.kill()

    @rule()
    def kill(self) -> None:
        """The stores are dropped as they stand, and only the lock goes, as the system would see to."""
        edge = self.stores.pop("edge")
        assert isinstance(edge, EdgeStore)
        edge._ownership.release()
        del edge
        self.stores.pop("server")
        self.open_the_others()

    @rule(name=CHOSEN)
    def publish(self, name: str) -> None:
        corpus = self.corpora[name]
        if corpus.staged in corpus.snapshots:
            corpus.published, corpus.staged = corpus.staged, None

    @rule(name=CHOSEN)
    def roll_back_twice(self, name: str) -> None:
        corpus = self.corpora[name]
        for _ in range(2):
            parent = corpus.parents[corpus.published] if corpus.published is not None else None
            if parent in corpus.snapshots:
                corpus.published = parent

    @rule(name=CHOSEN, keep=st.integers(0, 2))
    def sweep(self, name: str, keep: int) -> None:
        """Only the published snapshot, its last ``keep`` ancestors and what is staged stay readable."""
        corpus = self.corpora[name]
        kept = list(corpus.lineage(corpus.published)[: keep + 1])
        if corpus.staged is not None:
            kept.append(corpus.staged)
        counts = {store.sweep(name, [corpus.lineage(snapshot) for snapshot in kept]) for store in self.stores.values()}
        assert len(counts) == 1
        corpus.snapshots = {number: texts for number, texts in corpus.snapshots.items() if number in kept}

    # --- what readers see

    @invariant()
    def contents_are_the_published_ones(self) -> None:
        for corpus in self.corpora.values():
            for snapshot in corpus.snapshots:
                expected = sorted(chunk.id for chunk in corpus.chunks(snapshot))
                for kind, store in self.stores.items():
                    found = sorted(s.chunk.id for s in store.contents(corpus.name, corpus.lineage(snapshot)))
                    assert found == expected, (kind, corpus.name, snapshot)

    @rule(words=TEXTS, both=st.booleans())
    def search(self, words: tuple[int, ...], both: bool) -> None:
        """Ids and scores come from the published texts alone, worked out here from scratch."""
        corpora = CORPORA if both else CORPORA[:1]
        scope = Scope(frozenset(), 0, {c: self.corpora[c].lineage(self.corpora[c].published) for c in corpora})
        visible = [point_of(chunk) for c in corpora for chunk in self.corpora[c].chunks(self.corpora[c].published)]
        asked = point_of(chunk_of("rh", "question", words))
        query = Query(asked.dense, asked.sparse, (f"r{words[0]}",))
        expected: dict[str, dict[str, float]] = {
            "dense": {point.chunk.id: float(point.dense @ asked.dense) for point in visible},
            "sparse": bm25(asked.sparse, visible),
            "exact": {point.chunk.id: 1.0 for point in visible if query.references[0] in point.chunk.own_references},
        }
        answers = {kind: store.search(query, scope, 100) for kind, store in self.stores.items()}
        for kind, answer in answers.items():
            for part, scores in expected.items():
                found: Any = getattr(answer, part)
                assert {s.chunk.id: s.score for s in found} == pytest.approx(scores, rel=1e-5, abs=1e-6), (kind, part)
                order = [s.chunk.id for s in getattr(answers["dict"], part)]
                assert [s.chunk.id for s in found] == order, (kind, part)

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        shutil.rmtree(self.home)


def bm25(query: SparseVector, visible: list[Point]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for point in visible:
        weights = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
        for term, weight in zip(query.indices, query.values, strict=True):
            if term in weights:
                having = sum(1 for other in visible if term in other.sparse.indices)
                idf = math.log(1 + (len(visible) - having + 0.5) / (having + 0.5))
                scores[point.chunk.id] = scores.get(point.chunk.id, 0.0) + weight * idf * weights[term]
    return scores


StoreMachine.TestCase.settings = settings(
    max_examples=30,
    phases=[Phase.generate],  # a failing history is short as it is, and shrinking one takes minutes
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestStores(StoreMachine.TestCase):
    """Collected by pytest as one test."""
