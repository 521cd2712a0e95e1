"""Turns at a model, first come, first served, with a position that callers can show.

A model's context serves one request at a time (a server has a few slots). Turns are given in the order of asking;
whoever stops waiting leaves the line at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rag.errors import Cancelled, GenerationError, Overloaded

POLL: Final = 0.1
"""Seconds between two looks at ``cancelled`` while waiting: quick to leave, and no load."""


def never() -> bool:
    """Not cancelled."""
    return False


def nobody(position: int) -> None:
    """Tell no one the position."""


class Turns:
    """``places`` callers at once, up to ``limit`` more in line."""

    def __init__(self, limit: int, places: int = 1) -> None:
        self._limit = limit
        self._places = places
        self._free = places
        self._line: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(self, cancelled: Callable[[], bool] = never, waiting: Callable[[int], None] = nobody) -> Iterator[None]:
        """Wait for a place, hold it for the block, give it to the next one.

        ``waiting`` is told the position, 1 being next, when the wait begins and whenever it changes.

        Raises:
            Overloaded: the line is full.
            Cancelled: ``cancelled`` said so while waiting.
            GenerationError: the model was closed.
        """
        self._enter(cancelled, waiting)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def close(self, patience: float = 0.0) -> None:
        """Send away everyone in line and refuse newcomers; wait up to ``patience`` seconds for those being served."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._free == self._places, patience)

    @property
    def length(self) -> int:
        """How many are in line now."""
        return len(self._line)

    def _enter(self, cancelled: Callable[[], bool], waiting: Callable[[int], None]) -> None:
        ticket = object()
        with self._changed:
            if not self._closed and self._free > 0 and not self._line:
                self._free -= 1
                return
            if len(self._line) >= self._limit:
                raise Overloaded(
                    f"{self._limit} questions already wait for the writing model; try again in a moment",
                    f"{self._limit} questions attendent déjà le modèle de rédaction ; réessayez dans un instant",
                )
            self._line.append(ticket)
        try:
            self._wait(ticket, cancelled, waiting)
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, cancelled: Callable[[], bool], waiting: Callable[[int], None]) -> None:
        told = 0
        while True:
            with self._changed:
                position = self._line.index(ticket) + 1
                if self._closed:
                    raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")
                if position == 1 and self._free > 0:
                    self._free -= 1
                    return
                if position == told:
                    self._changed.wait(POLL)
            # The callbacks are the caller's code and run without the lock.
            if cancelled():
                raise Cancelled("cancelled while waiting", "annulé pendant l’attente")
            if position != told:
                waiting(position)
                told = position
