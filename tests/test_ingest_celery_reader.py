"""The sync's side of many hosts, on a broker that a test holds in its hand: nothing here waits."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest import broker as brokers
from ingest.broker import Kind, Present
from ingest.celery_reader import ATTEMPTS, LEAST, MOST, PER_WORKER, CeleryReader, Patience
from ingest.manifest import Metadata
from ingest.parsers import Limits
from ingest.reading import Order, Reading
from ingest.source import Source
from ingest.wire import Answer, Task, Trouble, answer_json
from rag.adapters.fake import DictStore
from rag.errors import Conflict, DocumentError, OperatorError, RejectReason
from rag.types import Chunk, Corpus, Document, Point, SparseVector

KIND = Kind("fake:1", "program")


class Hand:
    """A broker and its workers, moved by the test: ``worker`` is what becomes of a task when it is looked for."""

    def __init__(self, worker: Callable[[Hand, Task], None] | None = None) -> None:
        self.now = 0.0
        self.present = [Present("h1", KIND)]
        self.worker = worker or Hand.reads
        self.queue: deque[Task] = deque()
        self.sent: list[Task] = []
        self.living: set[str] = set()
        self.answers: dict[str, bytes] = {}
        self.finished: deque[str] = deque()
        self.dropped: list[str] = []
        self.ended: list[tuple[str, set[str]]] = []
        self.claimed: list[str] = []
        self.overtaken = False
        self.to_come: dict[int, Callable[[], None]] = {}
        self.looks = 0

    def later(self, looks: int, do: Callable[[], None]) -> None:
        """Let something happen after so many more times that a sync asks what is done."""
        self.to_come[self.looks + looks] = do

    def clock(self) -> float:
        return self.now

    def reads(self, task: Task) -> None:
        self.reply(task, reading(task.order))

    def reply(self, task: Task, result: Reading | DocumentError | Trouble) -> None:
        self.living.discard(task.id)
        self.answers[task.id] = answer_json(Answer("h1", result))
        self.finished.append(task.id)

    # --- the exchange

    def workers(self) -> list[Present]:
        return self.present

    def claim(self, writer: str, run: str) -> None:
        self.claimed.append(writer)

    def want(self, run: str, tasks: Collection[str], writer: str = "") -> bool:
        return not self.overtaken

    def send(self, kind: Kind, task: Task) -> None:
        assert kind == KIND
        self.sent.append(task)
        self.queue.append(task)

    def drop(self, run: str, task: str) -> None:
        self.dropped.append(task)
        self.answers.pop(task, None)

    def done(self, run: str, wait: float) -> str | None:
        """The workers do what they do while a sync waits, and time passes when nothing comes of it."""
        self.looks += 1
        self.to_come.pop(self.looks, lambda: None)()
        while self.queue and not self.finished:
            self.worker(self, self.queue.popleft())
        if self.finished:
            return self.finished.popleft()
        self.now += wait
        return None

    def answer(self, task: str) -> bytes | None:
        return self.answers.get(task)

    def alive(self, tasks: Sequence[str]) -> set[str]:
        return self.living & set(tasks)

    def waiting(self, kind: Kind) -> int:
        return len(self.queue)

    def end(self, run: str, tasks: Collection[str], writer: str = "") -> None:
        self.ended.append((run, set(tasks)))


def reader(hand: Hand, store: DictStore | None = None) -> CeleryReader:
    patience = Patience(worker=30.0, begun=15.0)
    return CeleryReader(hand, hand, KIND, Limits(), store=store, patience=patience, clock=hand.clock)


def order(number: int, snapshot: int | None = None) -> Order:
    source = Source(Path(f"/srv/{number}.md"))
    return Order(source, f"d{number}", f"{number}.md", "00", Metadata(), Corpus("rh", "RH"), snapshot=snapshot)


def reading(order: Order, *chunks: str, staged: bool = False) -> Reading:
    document = Document(order.id, "rh", "t", "fr", order.path, order.sha256, "text/markdown")
    made = tuple(chunk(name, order.id) for name in chunks or ("1",))
    return Reading(document, made, staged=frozenset(one.id for one in made) if staged else frozenset())


def chunk(name: str, document: str) -> Chunk:
    return Chunk(f"{document}/{name}", "rh", document, "t", "r", (), name, 0, "fr", 0, 1)


def ids(results: Iterator[tuple[Order, Reading | DocumentError]]) -> list[str]:
    return [order.id for order, _ in results]


def test_every_order_comes_back_once() -> None:
    """With what was read, as the object that was given; nothing of the run is left."""
    hand = Hand()
    orders = [order(n) for n in range(50)]
    results = list(reader(hand).read(orders))
    assert [id(one) for one, _ in results] == [id(one) for one in orders]
    assert all(isinstance(result, Reading) and result.document.id == one.id for one, result in results)
    assert len(hand.sent) == len(set(hand.dropped)) == 50
    assert [tasks for _, tasks in hand.ended] == [set()]
    assert not hand.answers


def test_orders_go_out_a_few_at_a_time() -> None:
    """Whoever takes the results slowly holds back the orders, and more workers get more."""
    for workers, expected in ((1, LEAST), (4, 4 * PER_WORKER), (500, MOST)):
        hand = Hand()
        hand.present *= workers
        taken = itertools.count()
        results = reader(hand).read(order(next(taken)) for _ in range(1_000))
        for _ in range(10):
            next(results)
        assert next(taken) <= expected + 10 + LEAST
        results.close()


def test_closing_revokes_the_rest() -> None:
    hand = Hand()
    results = reader(hand).read([order(n) for n in range(10)])
    next(results)
    results.close()
    ((_, revoked),) = hand.ended
    assert revoked == {task.id for task in hand.sent} - set(hand.dropped)
    assert len(revoked) == LEAST - 1


def test_a_refused_document_is_no_error_of_the_run() -> None:
    hand = Hand(lambda hand, task: hand.reply(task, DocumentError(RejectReason.CORRUPT, "cut short")))
    ((_, result),) = reader(hand).read([order(1)])
    assert isinstance(result, DocumentError)
    assert result.reason is RejectReason.CORRUPT


def test_what_a_worker_was_lost_with_is_sent_again() -> None:
    """Under a new name, as soon as its signs of life end; what comes for the old name later is not taken."""
    lost: list[Task] = []

    def worker(hand: Hand, task: Task) -> None:
        if not lost and task.order.id == "d1":
            lost.append(task)
            hand.living.add(task.id)
        else:
            if lost and task.order.id == "d1":
                hand.reply(lost[0], reading(task.order, "late"))
            hand.reads(task)

    hand = Hand(worker)
    results = reader(hand).read([order(n) for n in range(4)])
    assert sorted(next(results)[0].id for _ in range(3)) == ["d0", "d2", "d3"]
    hand.later(3, hand.living.clear)
    ((again, result),) = results
    assert again.id == "d1"
    assert isinstance(result, Reading)
    assert [chunk.text for chunk in result.chunks] == ["1"]
    assert [task.order.id for task in hand.sent].count("d1") == 2
    assert lost[0].id in hand.dropped


def test_an_answer_that_nobody_told_of_is_found() -> None:
    """A worker that ends right after its answer counts as done, not as lost."""

    def worker(hand: Hand, task: Task) -> None:
        hand.living.add(task.id)
        if hand.now > 3:
            hand.reads(task)
            hand.finished.clear()
        else:
            hand.queue.append(task)
            hand.now += 1.1
            hand.finished.append("somebody else's")

    hand = Hand(worker)
    assert ids(reader(hand).read([order(1)])) == ["d1"]
    assert len(hand.sent) == 1


def test_an_order_that_the_broker_lost_is_sent_again() -> None:
    """It has left the queue, nobody has begun it, and there has been time to."""
    hand = Hand(lambda hand, task: hand.reads(task) if len(hand.sent) > 1 else None)
    assert ids(reader(hand).read([order(1)])) == ["d1"]
    assert len(hand.sent) == 2
    assert 15.0 < hand.now < 20.0


def test_an_order_that_waits_in_the_queue_is_not_sent_again() -> None:
    """However long that takes: other syncs may come first."""

    def worker(hand: Hand, task: Task) -> None:
        if hand.now > 500:
            hand.reads(task)
        else:
            hand.queue.append(task)
            hand.now += 5.0
            hand.finished.append("of another sync")

    hand = Hand(worker)
    assert ids(reader(hand).read([order(1)])) == ["d1"]
    assert len(hand.sent) == 1


def test_a_document_that_costs_every_worker_is_refused() -> None:
    """After so many it is the document's fault, and the others are read."""

    def worker(hand: Hand, task: Task) -> None:
        if task.order.id == "d1":
            hand.living.add(task.id)
            hand.now += 1.1
            hand.finished.append("a look at who lives")
            hand.later(2, hand.living.clear)
        else:
            hand.reads(task)

    hand = Hand(worker)
    results = {order.id: result for order, result in reader(hand).read([order(n) for n in range(3)])}
    refused = results["d1"]
    assert isinstance(refused, DocumentError)
    assert refused.reason is RejectReason.CRASHED
    assert [task.order.id for task in hand.sent].count("d1") == ATTEMPTS
    assert isinstance(results["d0"], Reading)
    assert isinstance(results["d2"], Reading)


def test_a_worker_in_trouble_leaves_it_to_others() -> None:
    """Its order goes out again; when all are in trouble the sync ends with what they say and on which host."""
    trouble = Trouble("model", "no weights", "pas de poids")
    hand = Hand(lambda hand, task: hand.reply(task, trouble) if len(hand.sent) < ATTEMPTS else hand.reads(task))
    assert ids(reader(hand).read([order(1)])) == ["d1"]
    hand = Hand(lambda hand, task: hand.reply(task, trouble))
    with pytest.raises(OperatorError, match=r"h1.*no weights") as raised:
        list(reader(hand).read([order(1)]))
    assert raised.value.code == "model"
    assert hand.ended


def test_an_answer_that_is_not_understood_counts_as_lost() -> None:
    def worker(hand: Hand, task: Task) -> None:
        hand.answers[task.id] = b"{"
        hand.finished.append(task.id)

    hand = Hand(lambda hand, task: worker(hand, task) if len(hand.sent) == 1 else hand.reads(task))
    assert ids(reader(hand).read([order(1)])) == ["d1"]


@pytest.mark.parametrize(
    "confused",
    [
        lambda read: replace(read, document=replace(read.document, groups=frozenset({"agents"}))),
        lambda read: replace(read, document=replace(read.document, id="d2")),
        lambda read: replace(read, document=replace(read.document, corpus="finances")),
        lambda read: replace(read, document=replace(read.document, sha256="ff")),
        lambda read: replace(read, chunks=tuple(replace(one, groups=frozenset({"agents"})) for one in read.chunks)),
        lambda read: replace(read, chunks=tuple(replace(one, document="d2") for one in read.chunks)),
        lambda read: replace(read, chunks=tuple(replace(one, corpus="finances") for one in read.chunks)),
    ],
)
def test_an_answer_about_another_document_or_audience_counts_as_lost(confused: Callable[[Reading], Reading]) -> None:
    """Who may read a document is what the order says, whatever a worker or the broker makes of it."""

    def worker(hand: Hand, task: Task) -> None:
        read = reading(task.order)
        hand.reply(task, confused(read) if len(hand.sent) == 1 else read)

    hand = Hand(worker)
    ((_, result),) = reader(hand).read([order(1)])
    assert result == reading(order(1))
    assert len(hand.sent) == 2


def test_workers_that_all_go_away_end_the_sync() -> None:
    """After some patience, and not before; those that stay away for less are waited for."""
    hand = Hand(lambda hand, task: hand.present.clear())
    with pytest.raises(OperatorError) as raised:
        list(reader(hand).read([order(1)]))
    assert raised.value.code == "no_worker"
    assert 30.0 < hand.now < 35.0


def test_no_worker_is_needed_to_read_nothing() -> None:
    hand = Hand()
    hand.present = []
    assert list(reader(hand).read([])) == []


def test_another_sync_of_the_corpus_ends_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signs of life tell that it owns nothing any more; its own workers drop what they have."""
    monkeypatch.setattr(brokers, "BEAT", 0.01)
    hand = Hand(lambda hand, task: hand.living.add(task.id))
    hand.overtaken = True
    with pytest.raises(Conflict) as raised:
        list(reader(hand, store=DictStore("fake:1", 4)).read([order(1, snapshot=2)]))
    assert raised.value.code == "overtaken"
    assert len(hand.claimed) == 1


def test_a_dry_run_claims_nothing() -> None:
    """Orders that name no draft must not stop another sync of the corpus."""
    hand = Hand()
    assert ids(reader(hand, store=DictStore("fake:1", 4)).read([order(1)])) == ["d1"]
    assert hand.claimed == []


def test_nothing_of_a_lost_attempt_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lost worker staged and its successor did not is invisible at the draft, and the rest is there."""
    store = DictStore("fake:1", 4)

    def stage(document: str, *names: str) -> None:
        vector = np.array([1, 0, 0, 0], dtype=np.float32)
        store.stage("rh", 2, [Point(chunk(name, document), vector, SparseVector((), ())) for name in names], ())

    def worker(hand: Hand, task: Task) -> None:
        if len(hand.sent) == 1:
            stage("d1", "1", "of the lost one only")
            hand.living.add(task.id)
            hand.now += 1.1
            hand.finished.append("a look at who lives")
            hand.later(2, hand.living.clear)
        else:
            stage("d1", "1", "2")
            hand.reply(task, reading(task.order, "1", "2", staged=True))

    hand = Hand(worker)
    spread = reader(hand, store=store)
    assert spread.stages
    assert ids(spread.read([order(1, snapshot=2)])) == ["d1"]
    assert {stored.chunk.text for stored in store.contents("rh", (2,))} == {"1", "2"}
