"""From the synchronous engine to the event loop: answers are made in threads and read as they grow.

A reader who leaves stops the engine. For a stream that is seen by listening for the disconnection while
sending; for a plain request by listening while waiting, because nobody else reads that connection.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rag.errors import Cancelled, GenerationError, Overloaded, VaubanError
from rag.types import Event, PassagesFound, Reading, Sentence, Told, Waiting

log = logging.getLogger("vauban.api")

HERE = Path(__file__).parent
HEARTBEAT = 4.0
"""Seconds of silence after which a stream says that it lives, so that five hold on a busy machine too; proxies give up
on a silent one after 10 to 60."""
BEAT = b": still here\n\n"
"""A comment in the format of server-sent events: clients skip it."""
DONE = b"data: [DONE]\n\n"
THREADS = 256
"""Answers in the making at the very most; a thread is made when an answer first needs it."""
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}

Value = TypeVar("Value")
Make = Callable[[Callable[[], bool], Callable[[Told], None]], Iterator[Event]]
"""Starts an answer: takes ``cancelled`` and ``waiting`` as :meth:`rag.engine.Engine.answer` does."""


def event(json: str) -> bytes:
    """One server-sent event; ``json`` stands on one line, also for readers who count Unicode's line ends as such."""
    return b"data: " + json.translate(_LINE_ENDS).encode() + b"\n\n"


def leak_free(error: BaseException) -> str:
    """Where an unexpected error arose, by type, file and line: its message may quote what people wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(HERE)]
    told = dict.fromkeys(f"{frame.filename}:{frame.lineno}" for frame in (*frames[-1:], *reversed(ours[-4:])))
    return f"{type(error).__name__} at " + " < ".join(told)


class Stage(StrEnum):
    """What is being done for an answer; a closed list."""

    SEARCHING = "searching"
    WAITING = "waiting"
    READING = "reading"
    WRITING = "writing"


@dataclass(slots=True)
class Progress:
    """How far an answer has come: its stage, its place in the queue while it waits, and seconds since it began.

    ``passages`` and ``sentence`` are the seconds until the first of them could be shown, ``None`` before.
    """

    owner: str
    began: float = field(default_factory=time.monotonic)
    stage: Stage = Stage.SEARCHING
    position: int = 0
    passages: float | None = None
    sentence: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def hear(self, made: Event | Told) -> None:
        """Take note of what has just been made or told."""
        match made:
            case Waiting():
                self.stage, self.position = Stage.WAITING, made.position
            case Reading():
                self.stage, self.position = Stage.READING, 0
            case PassagesFound() if self.passages is None:
                self.passages, self.stage = self.seconds, Stage.READING
            case Sentence() if self.sentence is None:
                self.sentence, self.stage, self.position = self.seconds, Stage.WRITING, 0


class Running:
    """One answer in the making: its events in order, as soon as they exist."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: str) -> None:
        self.progress = Progress(owner)
        self._loop = loop
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._stop = threading.Event()
        self._made: asyncio.Future[None] | None = None

    def stop(self) -> None:
        """Tell the engine that nobody is waiting any more; safe from any thread, and more than once."""
        self._stop.set()

    def begin(self, threads: ThreadPoolExecutor, make: Make, ended: Callable[[], None]) -> None:
        """Start the thread; ``ended`` is called in the event loop once it is over."""
        # The thread knows which request it works for.
        self._made = self._loop.run_in_executor(threads, copy_context().run, self._produce, make)
        self._made.add_done_callback(lambda made: self._end(made, ended))

    def _produce(self, make: Make) -> None:
        with closing(_closable(make(self._stop.is_set, self._hear))) as events:
            for made in events:
                if self._stop.is_set():
                    return
                self._put(made)

    def _hear(self, told: Told) -> None:
        waited = self.progress.stage is Stage.WAITING
        self.progress.hear(told)
        if isinstance(told, Waiting):
            self._put(told)
        elif waited:  # whoever was told a place is told that the wait is over
            self._loop.call_soon_threadsafe(self._events.put_nowait, Waiting(0))

    def _put(self, made: Event) -> None:
        self.progress.hear(made)
        self._loop.call_soon_threadsafe(self._events.put_nowait, made)

    def _end(self, made: asyncio.Future[None], ended: Callable[[], None]) -> None:
        ended()
        self._events.put_nowait(None)
        error = None if made.cancelled() else made.exception()
        if error is not None and not isinstance(error, VaubanError):
            log.error("answer failed: %s", leak_free(error))

    async def events(self, heartbeat: float = HEARTBEAT) -> AsyncGenerator[Event | None, None]:
        """The events; ``None`` each time ``heartbeat`` seconds pass without one. Leaving the loop stops the engine.

        Raises:
            VaubanError: what the engine raised; an unexpected error becomes a :class:`GenerationError`.
        """
        try:
            while True:
                try:
                    made = await asyncio.wait_for(self._events.get(), heartbeat)
                except TimeoutError:
                    yield None
                    continue
                if made is None:
                    break
                yield made
            self._raise()
        finally:
            self.stop()

    def _raise(self) -> None:
        assert self._made is not None
        error = self._made.exception()
        if isinstance(error, VaubanError):
            raise error
        if error is not None:
            raise GenerationError(
                "the answer could not be finished because of an internal error",
                "la réponse n'a pas pu être terminée à cause d'une erreur interne",
                code="internal",
            ) from error


class Answers:
    """The answers in the making, at most ``most`` at a time and ``most_each`` of one person, each in its own thread.

    ``most`` is asked each time: model servers come and go, and each brings places.
    ``turn`` says how many seconds one turn at the model takes lately: who is refused hears when one may be over.

    They have threads of their own so that questions waiting for the model never hold up the rest of the API.
    """

    def __init__(
        self, most: Callable[[], int], most_each: int, turn: Callable[[], float | None] = lambda: None
    ) -> None:
        self._most = most
        self._most_each = most_each
        self._turn = turn
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self._running: dict[Running, str] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def start(self, make: Make, owner: str) -> Running:
        """Begin an answer for ``owner``; to be called in the event loop.

        Raises:
            Overloaded: ``most`` answers are being made already, or ``most_each`` of this person's.
        """
        if sum(one == owner for one in self._running.values()) >= self._most_each:
            raise Overloaded(
                f"{self._most_each} of your questions are being answered already; wait for one of them to end",
                f"{self._most_each} de vos questions sont déjà en cours ; attendez que l'une d'elles se termine",
                code="too_many_of_yours",
                retry_after=self._turn(),
            )
        if len(self._running) >= min(self._most(), THREADS):
            raise Overloaded(
                "too many questions are waiting; try again in a moment",
                "trop de questions sont en attente ; réessayez dans un instant",
                retry_after=self._turn(),
            )
        running = Running(asyncio.get_running_loop(), owner)
        self._running[running] = owner

        def ended() -> None:
            self._running.pop(running, None)

        running.begin(self._threads, make, ended)
        return running

    @property
    def progress(self) -> list[Progress]:
        """How far each answer in the making has come, the oldest first."""
        return [running.progress for running in list(self._running)]

    def close(self) -> None:
        """Stop every answer; their threads end as soon as the engine heeds it."""
        for running in list(self._running):
            running.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def while_connected(receive: Receive, work: Awaitable[Value]) -> Value:
    """What ``work`` gives, unless the client goes away first; the request's body must have been read.

    Raises:
        Cancelled: the client left; ``work`` has been cancelled and has ended.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    raise Cancelled("the client went away", "le client est parti")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _closable(events: Iterator[Event]) -> Generator[Event, None, None]:
    """The same events as a generator, whose ``close`` reaches the engine's when that is one too."""
    yield from events


class EventStream(Response):
    """Server-sent events; when the client leaves, ``events`` is closed at once."""

    media_type = "text/event-stream"
    described: ClassVar[Mapping[str, Any]] = {
        "schema": {
            "description": "Each event; its `data` is a JSON object, or `[DONE]` at the end of an answer.",
            "type": "object",
            "properties": {"data": {"type": "string"}},
            "required": ["data"],
        }
    }
    """What an OpenAPI document says of it: where a medium comes in items, the schema of version 3.1 is theirs."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 the form of ASGI
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._events):
            try:
                await while_connected(receive, self._send(send))
            except Cancelled:
                return

    async def _send(self, send: Send) -> None:
        async for data in self._events:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
