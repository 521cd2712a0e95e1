"""Documents spread over workers on other hosts: the sync's side of ``--workers celery``.

A few orders are on their way at a time. What a worker was lost with is sent again under a new name, and the first
answer to a name that is still waited for counts, so that nothing is read into a corpus twice. Answers wait with the
broker while the sync embeds or stages, which holds back the next orders.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from ingest import broker as brokers
from ingest.broker import Broker, Kind, Present
from ingest.jobs import limits_of
from ingest.parsers import Limits
from ingest.pipeline import reading_program
from ingest.reading import Order, Reading
from ingest.wire import Task, Trouble, Unintelligible, answer_of
from rag.errors import Conflict, DocumentError, OperatorError, RejectReason
from rag.seams import VectorStore
from rag.settings import Settings

if TYPE_CHECKING:
    from rag.wiring import Vauban

PER_WORKER: Final = 3
"""Orders on their way for each worker: one that is read, and enough that the next one is there already."""
LEAST, MOST = 4, 96
"""Orders on their way at least and at most: each may come back with some megabytes of text and vectors."""
LOOK: Final = 1.0
"""Seconds between two looks at who lives."""
ATTEMPTS: Final = 3
"""Workers that may be lost on one document before it is the document's fault."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a sync waits: for any worker to live, and for an order that left the queue to be begun."""

    worker: float = 30.0
    begun: float = 15.0


class Exchange(Protocol):
    """What a sync needs of a :class:`~ingest.broker.Broker`, which says what each of these does."""

    def workers(self) -> list[Present]: ...
    def claim(self, writer: str, run: str) -> None: ...
    def want(self, run: str, tasks: Collection[str], writer: str = "") -> bool: ...
    def send(self, kind: Kind, task: Task) -> None: ...
    def drop(self, run: str, task: str) -> None: ...
    def done(self, run: str, wait: float) -> str | None: ...
    def answer(self, task: str) -> bytes | None: ...
    def alive(self, tasks: Sequence[str]) -> set[str]: ...
    def waiting(self, kind: Kind) -> int: ...
    def end(self, run: str, tasks: Collection[str], writer: str = "") -> None: ...


@dataclass(slots=True)
class _Sent:
    """An order on its way. ``again`` says that it was sent before, ``lost`` how many workers were lost with it."""

    order: Order
    at: float
    begun: bool = False
    again: bool = False
    lost: int = 0
    troubles: int = 0


@dataclass(slots=True)
class _Run:
    """One reading: what is on its way, by the name of its task."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    writer: str = ""
    flight: dict[str, _Sent] = field(default_factory=dict)
    overtaken: bool = False
    changing: threading.Lock = field(default_factory=threading.Lock)

    def tasks(self) -> list[str]:
        with self.changing:
            return list(self.flight)

    def add(self, task: str, sent: _Sent) -> None:
        with self.changing:
            self.flight[task] = sent

    def remove(self, task: str) -> _Sent:
        with self.changing:
            return self.flight.pop(task)


_Result = tuple[Order, Reading | DocumentError]


class CeleryReader:
    """The :class:`~ingest.reading.Reader` whose documents are read on other hosts. One thread at a time reads.

    With a ``store`` that workers reach themselves they stage into it; it is then asked, for each document that a
    worker was lost with, that nothing of an earlier attempt stays. ``signs`` carries the sync's signs of life.
    """

    def __init__(
        self,
        exchange: Exchange,
        signs: Exchange,
        kind: Kind,
        limits: Limits,
        *,
        store: VectorStore | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._signs = signs
        self._kind = kind
        self._limits = limits
        self._store = store
        self._patience = patience or Patience()
        self._clock = clock
        self._window = LEAST
        self._seen = clock()

    @property
    def stages(self) -> bool:
        return self._store is not None

    def read(self, orders: Iterable[Order]) -> Generator[_Result, None, None]:
        """Each order with what a worker read, in the sequence in which answers come. Closing it revokes the rest.

        Raises:
            OperatorError: the broker is lost, no worker answers, or the workers themselves fail.
            Conflict: another sync stages into this corpus now.
        """
        run = _Run()
        waiting = iter(orders)
        settling: dict[str, tuple[Order, frozenset[str]]] = {}
        exhausted = False
        looked = self._clock()
        with self._living(run):
            while True:
                # 1. Orders go out until enough are on their way.
                while not exhausted and len(run.flight) < self._window:
                    order = next(waiting, None)
                    if order is None:
                        exhausted = True
                        break
                    if not run.flight:
                        self._begin(run, order)
                    self._send(run, _Sent(order, self._clock()))
                if not run.flight:
                    break
                # 2. Whatever has come back goes on; whatever was lost goes out again.
                ended = self._answered(run, self._exchange.done(run.id, LOOK))
                if self._clock() - looked >= LOOK:
                    ended += self._looked(run)
                    looked = self._clock()
                if run.overtaken:
                    raise _overtaken()
                for sent, result in ended:
                    if sent.again and isinstance(result, Reading):
                        settling[sent.order.id] = (sent.order, result.staged)
                    yield sent.order, result
            # 3. What lost workers staged and their successors did not is hidden before anybody publishes it.
            self._settle(settling)

    # --- sending

    def _begin(self, run: _Run, order: Order) -> None:
        """See that there is somebody to read, and say who stages from here on."""
        if order.snapshot is not None and not run.writer:  # a dry run stages nothing
            run.writer = writer_of(self._kind, order.corpus.name)
            self._exchange.claim(run.writer, run.id)
        self._seen = self._clock()
        while not self._counted():
            time.sleep(min(LOOK, self._patience.worker / 4))

    def _counted(self) -> int:
        """How many workers there are, which says how much is sent ahead.

        Raises:
            OperatorError: there has been none for too long.
        """
        found = self._exchange.workers()
        ours = sum(present.kind == self._kind for present in found)
        self._window = min(max(LEAST, PER_WORKER * ours), MOST)
        if ours:
            self._seen = self._clock()
        elif self._clock() - self._seen > self._patience.worker:
            raise _nobody(self._kind, found)
        return ours

    def _send(self, run: _Run, sent: _Sent) -> None:
        task = Task(uuid.uuid4().hex, run.id, sent.order, self._limits, run.writer)
        sent.at, sent.begun = self._clock(), False
        run.add(task.id, sent)
        self._exchange.send(self._kind, task)

    def _send_again(self, run: _Run, task: str) -> None:
        """Send what ``task`` was about under a new name; what still comes for the old one is dropped."""
        sent = run.remove(task)
        self._exchange.drop(run.id, task)
        sent.again = True
        self._send(run, sent)

    # --- receiving

    def _answered(self, run: _Run, task: str | None) -> list[tuple[_Sent, Reading | DocumentError]]:
        """What came of a task, unless nobody waits for it or it must be sent again."""
        if task is None or task not in run.flight:
            return []
        said = self._exchange.answer(task)
        if said is None:
            return []
        try:
            reply = answer_of(said)
            if isinstance(reply.result, Reading):
                _matching(run.flight[task].order, reply.result)
        except Unintelligible:
            _log.warning("answer not understood", extra={"task": task})
            return self._lost(run, task)
        if isinstance(reply.result, Trouble):
            sent = run.flight[task]
            sent.troubles += 1
            _log.warning("worker in trouble", extra={"task": task, "host": reply.host, "error": reply.result.code})
            if sent.troubles >= ATTEMPTS:
                raise _in_trouble(reply.host, reply.result)
            self._send_again(run, task)
            return []
        sent = run.remove(task)
        self._exchange.drop(run.id, task)
        return [(sent, reply.result)]

    def _looked(self, run: _Run) -> list[tuple[_Sent, Reading | DocumentError]]:
        """Look at who lives; what is nobody's work any more is answered already, or sent again."""
        self._counted()
        tasks = run.tasks()
        alive = self._exchange.alive(tasks)
        untaken = self._exchange.waiting(self._kind)
        now = self._clock()
        ended: list[tuple[_Sent, Reading | DocumentError]] = []
        for task in tasks:
            sent = run.flight[task]
            if task in alive:
                sent.begun = True
            elif sent.begun or (not untaken and now - sent.at > self._patience.begun):
                if self._exchange.answer(task) is not None:
                    ended += self._answered(run, task)
                else:
                    ended += self._lost(run, task)
        return ended

    def _lost(self, run: _Run, task: str) -> list[tuple[_Sent, Reading | DocumentError]]:
        """Send a lost document again, unless it has cost too many workers."""
        sent = run.flight[task]
        sent.lost += sent.begun
        _log.warning("document taken over", extra={"task": task, "attempts": sent.lost})
        if sent.lost < ATTEMPTS:
            self._send_again(run, task)
            return []
        run.remove(task)
        self._exchange.drop(run.id, task)
        crashed = DocumentError(
            RejectReason.CRASHED,
            f"{ATTEMPTS} workers were lost on it, one after the other",
            f"{ATTEMPTS} processus ont été perdus l'un après l'autre sur ce fichier",
        )
        return [(sent, crashed)]

    def _settle(self, settling: Mapping[str, tuple[Order, frozenset[str]]]) -> None:
        """Hide what was staged of documents that were sent again, but for what their answer says."""
        if self._store is None:
            return
        for order, staged in settling.values():
            assert order.snapshot is not None
            stored = self._store.contents(order.corpus.name, (order.snapshot,), [order.id])
            left = [one.point for one in stored if one.chunk.id not in staged]
            if left:
                self._store.stage(order.corpus.name, order.snapshot, (), left)

    # --- living

    @contextmanager
    def _living(self, run: _Run) -> Iterator[None]:
        """Give signs of life while the block runs; when it ends, however it ends, workers drop what is left."""
        over = threading.Event()

        def live() -> None:
            while not over.wait(brokers.BEAT):
                tasks = run.tasks()
                # A broker that is away is noticed by the thread that reads.
                with suppress(OperatorError):
                    if (tasks or run.writer) and not self._signs.want(run.id, tasks, run.writer):
                        run.overtaken = True

        thread = threading.Thread(target=live, name="signs-of-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(OperatorError):  # what is left ends by itself
                self._signs.end(run.id, run.tasks(), run.writer)


@contextmanager
def open_celery_reader(settings: Settings, vauban: Vauban) -> Iterator[CeleryReader]:
    """A reader whose workers are on other hosts, for the block.

    Raises:
        SettingsError: `broker_url` is missing or wrong.
        OperatorError: the broker does not answer.
    """
    with closing(Broker.connect(settings.broker_url)) as broker:
        yield CeleryReader(
            broker,
            brokers.patient(broker, brokers.BEAT),
            Kind(vauban.embedder.fingerprint, reading_program(), store_of(settings, vauban.store)),
            limits_of(settings),
            store=vauban.store if settings.qdrant_url else None,
        )


def _matching(order: Order, reading: Reading) -> None:
    """See that what came back is the document that was ordered, for its own audience and no other.

    Raises:
        Unintelligible: a worker or the broker confused it with another.
    """
    document = reading.document
    groups, clearance = order.metadata.audience
    said = (document.id, document.corpus, document.source, document.sha256, document.groups, document.clearance)
    if said != (order.id, order.corpus.name, order.path, order.sha256, groups, clearance) or any(
        (chunk.document, chunk.corpus, chunk.groups, chunk.clearance)
        != (document.id, document.corpus, document.groups, document.clearance)
        for chunk in reading.chunks
    ):
        raise Unintelligible("another document")


def store_of(settings: Settings, store: VectorStore) -> str:
    """The identity of the store where workers stage themselves; empty where one process owns it."""
    if not settings.qdrant_url:
        return ""
    from rag.adapters.qdrant_server import ServerStore

    assert isinstance(store, ServerStore)
    return store.identity


def writer_of(kind: Kind, corpus: str) -> str:
    """What only one sync at a time may stage into: one corpus of one store."""
    return hashlib.sha256(f"{kind.store}/{corpus}".encode()).hexdigest()[:32]


def _nobody(kind: Kind, found: Sequence[Present]) -> OperatorError:
    if not found:
        return OperatorError(
            "no worker answers at the broker; start `vauban ingest worker` on the hosts that shall read",
            "aucun processus de lecture ne répond ; lancez `vauban ingest worker` sur les machines qui doivent lire",
            code="no_worker",
        )
    hosts = ", ".join(sorted({present.host for present in found}))
    differs = {
        name
        for present in found
        for name in ("embedder", "program", "store", "version")
        if getattr(present.kind, name) != getattr(kind, name)
    }
    what = ", ".join(sorted(differs))
    return OperatorError(
        f"the workers on {hosts} cannot read for this sync, for they differ in: {what}; give them the same version and "
        "the same settings `embedder` and `qdrant_url`, and start them again",
        f"les processus de {hosts} ne peuvent pas lire pour cette synchronisation, car ils diffèrent par : {what} ; "
        "donnez-leur la même version et les mêmes réglages « embedder » et « qdrant_url », puis relancez-les",
        code="no_worker",
    )


def _in_trouble(host: str, trouble: Trouble) -> OperatorError:
    return OperatorError(
        f"the worker on {host} fails: {trouble.en}", f"le processus de {host} échoue : {trouble.fr}", code=trouble.code
    )


def _overtaken() -> Conflict:
    return Conflict(
        "another sync of this corpus has begun; nothing was published by this one",
        "une autre synchronisation de ce corpus a commencé ; celle-ci n'a rien publié",
        code="overtaken",
    )
