"""``vauban ingest worker``: takes orders of syncs on other hosts, reads and embeds, and stages where it may.

One process, one document at a time. What is in the file is read in the sandbox, as everywhere; nothing of a document
is kept here. A worker may be killed at any moment: whoever sent the order notices, and another one takes it over.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from ingest import broker as brokers
from ingest.broker import Broker, Kind, Present
from ingest.parsers import Limits
from ingest.pipeline import SLICE, reading_program
from ingest.reading import Order, Reading, content, digest, reading
from ingest.sandbox import Sandbox
from ingest.wire import Answer, Task, Trouble, Unintelligible, answer_json, task_of
from rag import lexical, logs
from rag.errors import DocumentError, OperatorError, RejectReason
from rag.home import sha256_of
from rag.seams import Embedder, VectorStore
from rag.settings import Settings
from rag.types import Chunk, Point, Vector

RECOVERY: Final = 5.0
"""Seconds that a worker rests when it fails for a reason of its own, so that healthy ones get the orders."""

_log = logging.getLogger(__name__)


class Staging(Protocol):
    """A store into which several workers stage, each write only while ``before`` does not object."""

    def fenced(self, before: Callable[[], None]) -> VectorStore: ...


class _Unwanted(Exception):
    """Nobody waits for this task any more."""


def run_worker(settings: Settings) -> int:
    """Read for whichever sync sends orders, until this process is asked to end; its exit code.

    Raises:
        SettingsError, ModelError, StoreError: what the settings name is not there; nothing was taken.
        OperatorError: the broker does not answer at the start.
    """
    # Imported here: the models' and the store's libraries take seconds.
    from rag.wiring import open_embedder, open_server_store

    _speak()
    with ExitStack() as undo:
        broker = undo.enter_context(closing(Broker.connect(settings.broker_url)))
        embedder = open_embedder(settings)
        store = open_server_store(settings, embedder) if settings.qdrant_url else None
        if store is not None:
            undo.callback(store.close)
        here = Present(
            socket.gethostname(),
            Kind(embedder.fingerprint, reading_program(), "" if store is None else store.identity),
        )
        name = f"vauban-{uuid.uuid4().hex[:12]}@{here.host}"
        pulse = undo.enter_context(Pulse(brokers.patient(broker, brokers.BEAT), name, here))
        hands = undo.enter_context(Hands(broker, here.host, pulse, embedder, store, settings.sources))
        _log.info("worker begun", extra={"worker": name})
        code = broker.serve(here.kind, name, hands.take)
        _log.info("worker ended", extra={"worker": name})
        return code


class Pulse:
    """A thread that gives signs of life, of this worker and of the task it works on; use it as a context manager."""

    def __init__(self, broker: Broker, name: str, here: Present) -> None:
        self._broker = broker
        self._name = name
        self._here = here
        self._task: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with suppress(OperatorError):
            self._broker.leave(self._name)

    @contextmanager
    def on(self, task: Task) -> Iterator[None]:
        """Say that ``task`` is worked on, from now until the block ends."""
        self._task = task.id
        self._beat()
        try:
            yield
        finally:
            self._task = None
            with suppress(OperatorError):
                self._broker.release(task)

    def _live(self) -> None:
        while not self._over.wait(brokers.BEAT):
            self._beat()

    def _beat(self) -> None:
        # A broker that is away gets the next one; what is lost meanwhile is taken over.
        with suppress(OperatorError):
            self._broker.beat(self._name, self._here, self._task)


class Hands:
    """Does what orders ask for; use it as a context manager, which ends its sandbox."""

    def __init__(
        self,
        broker: Broker,
        host: str,
        pulse: Pulse,
        embedder: Embedder,
        store: Staging | None,
        sources: Sequence[Path] = (),
    ) -> None:
        self._broker = broker
        self._host = host
        self._pulse = pulse
        self._embedder = embedder
        self._store = store
        self._sources = [source.expanduser().resolve() for source in sources]
        self._sandbox: Sandbox | None = None
        self._limits: Limits | None = None

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sandbox is not None:
            self._sandbox.close()

    def take(self, said: str) -> None:
        """Work on one task and answer it, unless nobody waits for it. A defect of ours rises, and counts as lost."""
        try:
            task = task_of(said)
            if not self._broker.wanted(task):
                _log.info("order dropped", extra={"task": task.id})
                return
            with self._pulse.on(task):
                self._work(task)
        except Unintelligible:
            _log.warning("order not understood")
        except _Unwanted:
            _log.info("order dropped", extra={"task": task.id})
        except OperatorError as error:  # of the broker's; the sync sends the order again
            _log.warning("order given up", extra={"task": task.id, "error": error.code})

    def _work(self, task: Task) -> None:
        start = time.monotonic()
        result = self._result(task)
        self._broker.reply(task, answer_json(Answer(self._host, result)))
        said = {"task": task.id, "seconds": round(time.monotonic() - start, 3)}
        if isinstance(result, Reading):
            _log.info("order done", extra={**said, "chunks": len(result.chunks), "embedded": result.embedded})
        elif isinstance(result, DocumentError):
            _log.info("order refused", extra={**said, "reason": result.reason.value})
        else:
            _log.warning("worker in trouble", extra={**said, "error": result.code})
            time.sleep(RECOVERY)

    def _result(self, task: Task) -> Reading | DocumentError | Trouble:
        try:
            return self._read(task)
        except DocumentError as error:
            return error
        except OperatorError as error:
            return Trouble(error.code, error.en, error.fr)

    def _read(self, task: Task) -> Reading | DocumentError:
        order = task.order
        self._must_be_the_same(order)
        ((_, parsed),) = self._reader(task.limits).parse([order.source])
        read = reading(order, parsed)
        if isinstance(read, DocumentError):
            return read
        new = [chunk for chunk in read.chunks if order.published.get(chunk.id) != content(chunk)]
        if self._store is None:
            return self._embedded(task, read, new)
        if order.snapshot is None:  # somebody only wants to know what would be read
            return read
        return self._staged(task, read, new, self._store, order.snapshot)

    def _reader(self, limits: Limits) -> Sandbox:
        """The sandbox, made anew where another sync has other limits."""
        if self._sandbox is None or limits != self._limits:
            if self._sandbox is not None:
                self._sandbox.close()
            self._sandbox, self._limits = Sandbox(limits, 1), limits
        return self._sandbox

    def _must_be_the_same(self, order: Order) -> None:
        """See that the file stands here too, with the bytes that the sync looked at.

        Raises:
            DocumentError: it does not.
        """
        path = order.source.path
        if self._sources and not any(path.resolve().is_relative_to(source) for source in self._sources):
            raise self._unreadable("stands outside the setting `sources`", "est hors du réglage « sources »")
        if not path.exists():
            raise self._unreadable("is not there", "est introuvable")
        # Opening a pipe would wait for whoever writes to it.
        if not (path.is_file() or path.is_dir()) or sha256_of(order.source) != order.sha256:
            raise self._unreadable("is another one there", "y est un autre")

    def _unreadable(self, en: str, fr: str) -> DocumentError:
        return DocumentError(
            RejectReason.UNREADABLE,
            f"the file {en} (worker on {self._host}); share the folder at the same path and sync again",
            f"le fichier {fr} (machine {self._host}) ; partagez le dossier au même chemin et relancez",
        )

    # --- vectors

    def _embedded(self, task: Task, read: Reading, new: Sequence[Chunk]) -> Reading:
        """The reading with the vectors that nobody has yet."""
        known = task.order.embedded
        missing = [chunk for chunk in new if known.get(chunk.id) != digest(chunk.search_text)]
        vectors: dict[str, Vector] = {}
        for part in _slices(missing):
            self._check(task)
            vectors |= self._vectors(part)
        return replace(read, vectors=vectors, embedded=len(missing))

    def _staged(self, task: Task, read: Reading, new: Sequence[Chunk], store: Staging, snapshot: int) -> Reading:
        """The reading, its new chunks staged."""
        order, embedded = task.order, 0
        fenced = store.fenced(lambda: self._check(task))
        for part in _slices(new):
            self._check(task)
            same = [chunk.id for chunk in part if order.embedded.get(chunk.id) == digest(chunk.search_text)]
            vectors: Mapping[str, Vector] = fenced.vectors(order.corpus.name, same) if same else {}
            missing = [chunk for chunk in part if chunk.id not in vectors]
            vectors = {**vectors, **self._vectors(missing)}
            embedded += len(missing)
            points = [Point(chunk, vectors[chunk.id], lexical.chunk_vector(chunk)) for chunk in part]
            fenced.stage(order.corpus.name, snapshot, points, ())
        return replace(read, staged=frozenset(chunk.id for chunk in new), embedded=embedded)

    def _vectors(self, chunks: Sequence[Chunk]) -> dict[str, Vector]:
        if not chunks:
            return {}
        matrix = self._embedder.embed_passages([chunk.search_text for chunk in chunks])
        return {chunk.id: vector for chunk, vector in zip(chunks, matrix, strict=True)}

    def _check(self, task: Task) -> None:
        if not self._broker.wanted(task):
            raise _Unwanted


def _slices(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """The chunks in batches of like length, the longest first."""
    ordered = sorted(chunks, key=lambda chunk: len(chunk.search_text), reverse=True)
    for start in range(0, len(ordered), SLICE):
        yield ordered[start : start + SLICE]


# --- logs -----------------------------------------------------------------------------------------------


def _speak() -> None:
    """Write events to standard error, in the form of the service's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logs.Lines())
    logger = logging.getLogger("ingest")
    if not logger.handlers:
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
