"""What a worker does with one order: sees that the file is the one that is meant, reads, embeds, stages, answers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import worker
from ingest.broker import Broker, Kind, Present
from ingest.manifest import Metadata
from ingest.parsers import Limits
from ingest.reading import Order, Reading, content, digest
from ingest.source import Source
from ingest.wire import Task, Trouble, answer_of, task_json
from ingest.worker import Hands, Pulse, Staging
from rag import logs
from rag.adapters.fake import DictStore, HashEmbedder
from rag.errors import DocumentError, ModelError, RejectReason
from rag.seams import VectorStore
from rag.types import Chunk, Corpus, Matrix, Point
from tests import redis_server
from tests.redis_server import RedisServer

KIND = Kind("fake:1", "program")
TEXT = "# Règlement\n\n" + "\n\n".join(f"## Article {n}\n\nLe délai numéro {n} est de {n} jours." for n in range(1, 21))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server.running() as running:
        yield running


@pytest.fixture
def broker(server: RedisServer) -> Iterator[Broker]:
    with server.client() as client:
        client.flushdb()
    connected = Broker.connect(server.url)
    yield connected
    connected.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "règlement.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


class Counting(HashEmbedder):
    """Counts what it embeds; ``during`` happens each time."""

    def __init__(self) -> None:
        super().__init__(8)
        self.count = 0
        self.during: Callable[[], None] = lambda: None

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.during()
        matrix = super().embed_passages(texts)
        self.count += len(matrix)
        return matrix


class Shared(DictStore):
    """A store that asks before each write, as the one on a server does."""

    def __init__(self) -> None:
        super().__init__("fake", 8)
        self.before: Callable[[], None] = lambda: None

    def fenced(self, before: Callable[[], None]) -> VectorStore:
        store = Shared()
        store.__dict__ = {**self.__dict__, "before": before}  # the same points
        return store

    def stage(self, corpus: str, snapshot: int, points: Sequence[Point], removals: Collection[str]) -> None:
        self.before()
        super().stage(corpus, snapshot, points, removals)


def order_of(
    file: Path,
    snapshot: int | None = None,
    published: Mapping[str, str] | None = None,
    embedded: Mapping[str, str] | None = None,
) -> Order:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    corpus = Corpus("rh", "RH")
    return Order(Source(file), "d", file.name, sha256, Metadata(), corpus, published or {}, embedded or {}, snapshot)


class Bench:
    """A worker's hands, given orders one at a time as Celery would."""

    def __init__(self, broker: Broker, store: Staging | None = None, sources: tuple[Path, ...] = ()) -> None:
        self.broker = broker
        self.embedder = Counting()
        pulse = Pulse(broker, "vauban-1@hôte", Present("hôte", KIND))
        self.hands = Hands(broker, "hôte", pulse, self.embedder, store, sources)

    def answers(self, order: Order, limits: Limits | None = None) -> Reading | DocumentError | Trouble:
        task = Task("t", "r", order, limits or Limits())
        self.broker.send(KIND, task)
        self.hands.take(task_json(task))
        said = self.broker.answer("t")
        assert said is not None
        assert self.broker.done("r", 0.1) == "t"
        assert self.broker.alive(["t"]) == set()
        return answer_of(said).result

    def reads(self, order: Order) -> Reading:
        result = self.answers(order)
        assert isinstance(result, Reading), result
        return result


@pytest.fixture
def bench(broker: Broker) -> Iterator[Bench]:
    made = Bench(broker)
    with made.hands:
        yield made


def known(chunks: tuple[Chunk, ...]) -> dict[str, str]:
    return {chunk.id: digest(chunk.search_text) for chunk in chunks}


def test_a_document_is_read_split_and_embedded(bench: Bench, file: Path) -> None:
    """Vectors come with the chunks; they are those of the embedder here."""
    read = bench.reads(order_of(file))
    assert [chunk.reference for chunk in read.chunks] == [f"Article {n}" for n in range(1, 21)]
    assert set(read.vectors) == {chunk.id for chunk in read.chunks}
    assert read.embedded == bench.embedder.count == 20
    assert read.staged == frozenset()
    again = HashEmbedder(8).embed_passages([chunk.search_text for chunk in read.chunks])
    assert all((read.vectors[chunk.id] == vector).all() for chunk, vector in zip(read.chunks, again, strict=True))


def test_what_is_known_is_not_embedded(bench: Bench, file: Path) -> None:
    """A vector that the store has of the same text is left out, one of another text is not; nor what is published."""
    chunks = bench.reads(order_of(file)).chunks
    bench.embedder.count = 0
    embedded = known(chunks[:10]) | {chunks[0].id: digest("another text")}
    published = {chunk.id: content(chunk) for chunk in chunks[10:15]}
    read = bench.reads(order_of(file, embedded=embedded, published=published))
    assert set(read.vectors) == {chunks[0].id} | {chunk.id for chunk in chunks[15:]}
    assert read.embedded == bench.embedder.count == 6


def test_new_chunks_are_staged_where_workers_may(broker: Broker, file: Path) -> None:
    """New ones only, with vectors that the store has; no vector goes back."""
    store = Shared()
    bench = Bench(broker, store)
    with bench.hands:
        first = bench.reads(order_of(file, snapshot=1))
        assert first.staged == {stored.chunk.id for stored in store.contents("rh", (1,))}
        assert (len(first.staged), first.vectors, first.embedded) == (20, {}, 20)
        published = {chunk.id: content(chunk) for chunk in first.chunks[:5]}
        second = bench.reads(order_of(file, snapshot=2, published=published, embedded=known(first.chunks[:18])))
        assert second.staged == {chunk.id for chunk in first.chunks[5:]}
        assert second.staged == {stored.chunk.id for stored in store.contents("rh", (2,))}
        assert second.embedded == 2


def test_an_order_without_a_draft_is_only_read(broker: Broker, file: Path) -> None:
    """A dry run wants to know what would be read: nothing is embedded or staged where workers stage."""
    store = Shared()
    bench = Bench(broker, store)
    with bench.hands:
        read = bench.reads(order_of(file))
    assert (len(read.chunks), read.vectors, read.staged, bench.embedder.count) == (20, {}, frozenset(), 0)


def test_an_order_may_come_twice(broker: Broker, file: Path) -> None:
    """The second time changes nothing: a worker that was taken for dead may have done it already."""
    store = Shared()
    bench = Bench(broker, store)
    with bench.hands:
        bench.reads(order_of(file, snapshot=1))
        before = store.contents("rh", (1,))
        bench.reads(order_of(file, snapshot=1))
        assert store.contents("rh", (1,)) == before


def test_nothing_is_staged_for_a_sync_that_is_gone(broker: Broker, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies while its document is embedded: what was staged before stays the draft's, nothing is added to it."""
    monkeypatch.setattr(worker, "SLICE", 8)
    store = Shared()
    bench = Bench(broker, store)
    with bench.hands:
        task = Task("t", "r", order_of(file, snapshot=1), Limits())
        broker.send(KIND, task)

        def dies() -> None:
            if bench.embedder.count:
                broker.end("r", ["t"])

        bench.embedder.during = dies
        bench.hands.take(task_json(task))
        assert len(store.contents("rh", (1,))) == 8
        assert broker.answer("t") is None
        assert broker.alive(["t"]) == set()
        bench.hands.take(task_json(task))
        assert bench.embedder.count == 16


def changed(file: Path) -> None:
    file.write_text("autre chose", encoding="utf-8")


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("do", "says"),
    [(changed, "is another one"), (Path.unlink, "is not there"), (piped, "is another one")],
    ids=["changed", "missing", "pipe"],
)
def test_a_file_that_is_another_here_is_unreadable(
    bench: Bench, file: Path, do: Callable[[Path], None], says: str
) -> None:
    """The detail names the host, for its folder may be shared wrongly; and nobody waits for a pipe."""
    order = order_of(file)
    do(file)
    result = bench.answers(order)
    assert isinstance(result, DocumentError)
    assert result.reason is RejectReason.UNREADABLE
    assert says in result.en
    assert "hôte" in result.en


def test_a_member_of_an_archive_is_told_from_another(bench: Bench, tmp_path: Path) -> None:
    """By its own bytes: the archive may hold other documents that have changed."""
    path = tmp_path / "textes.zip"

    def write(**members: str) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(f"{name}.md", text)

    write(a=TEXT, b="# Note\n\n## Article 1\n\nUn texte.")
    source = Source(path, ("a.md",))
    order = replace(
        order_of(path), source=source, path="textes.zip/a.md", sha256=hashlib.sha256(TEXT.encode()).hexdigest()
    )
    assert len(bench.reads(order).chunks) == 20
    write(a=TEXT, b="autre")
    assert len(bench.reads(order).chunks) == 20
    write(a=TEXT + "Fin.", b="autre")
    result = bench.answers(order)
    assert isinstance(result, DocumentError)
    assert result.reason is RejectReason.UNREADABLE


def test_a_worker_reads_below_its_sources_only(broker: Broker, file: Path, tmp_path: Path) -> None:
    """Also where a link leads out of them."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link.md").symlink_to(file)
    (allowed / "here.md").write_text(TEXT, encoding="utf-8")
    bench = Bench(broker, sources=(allowed,))
    with bench.hands:
        for path in (file, allowed / "link.md"):
            result = bench.answers(order_of(path))
            assert isinstance(result, DocumentError)
            assert "`sources`" in result.en
        assert len(bench.reads(order_of(allowed / "here.md")).chunks) == 20


def test_the_limits_are_those_of_the_sync(bench: Bench, tmp_path: Path) -> None:
    """One worker reads for two syncs that allow different sizes."""
    file = tmp_path / "long.txt"
    file.write_text("Un mot. " * 200_000, encoding="utf-8")
    result = bench.answers(order_of(file), Limits(megabytes=1))
    assert isinstance(result, DocumentError)
    assert result.reason is RejectReason.TOO_LARGE
    assert isinstance(bench.answers(order_of(file), Limits(megabytes=2)), Reading)


def test_a_worker_says_when_it_fails_itself(bench: Bench, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the document; it rests before it takes the next one."""
    rested: list[float] = []
    monkeypatch.setattr("ingest.worker.time.sleep", rested.append)

    def fails() -> None:
        raise ModelError("no weights", "pas de poids")

    bench.embedder.during = fails
    assert bench.answers(order_of(file)) == Trouble("model", "no weights", "pas de poids")
    assert rested == [worker.RECOVERY]


def test_a_defect_leaves_no_sign_of_life(bench: Bench, file: Path) -> None:
    """It rises to Celery, and the sync sees at once that nobody works on the document any more."""

    def breaks() -> None:
        raise ZeroDivisionError

    bench.embedder.during = breaks
    task = Task("t", "r", order_of(file), Limits())
    bench.broker.send(KIND, task)
    with pytest.raises(ZeroDivisionError):
        bench.hands.take(task_json(task))
    assert bench.broker.alive(["t"]) == set()
    assert bench.broker.answer("t") is None


@pytest.mark.parametrize("said", ["", "{}", "[1]"])
def test_what_is_no_order_is_passed_over(bench: Bench, said: str) -> None:
    bench.hands.take(said)
    assert bench.embedder.count == 0


def test_an_order_of_a_dead_sync_is_not_begun(bench: Bench, file: Path) -> None:
    bench.hands.take(task_json(Task("t", "r", order_of(file), Limits())))
    assert bench.embedder.count == 0
    assert bench.broker.answer("t") is None


def test_events_are_lines_of_json_without_words() -> None:
    record = logging.makeLogRecord(
        {"name": "ingest.worker", "msg": "order done", "levelname": "INFO", "task": "t", "chunks": 3}
    )
    said: Mapping[str, object] = json.loads(logs.Lines().format(record))
    assert {name: said[name] for name in ("event", "task", "chunks")} == {
        "event": "order done",
        "task": "t",
        "chunks": 3,
    }
