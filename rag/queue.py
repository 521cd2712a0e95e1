"""Turns at a model, first come, first served, with a position that callers can show.

A model's context serves one request at a time (a server has a few slots). Turns are given in the order of asking;
whoever stops waiting leaves the line at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rag.errors import Cancelled, GenerationError, Overloaded
from rag.types import Told, Waiting

POLL: Final = 0.1
"""Seconds between two looks at ``cancelled`` while waiting: quick to leave, and no load."""


def never() -> bool:
    """Not cancelled."""
    return False


def nobody(told: Told) -> None:
    """Tell no one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ticket:
    """One place in the line."""

    owner: str


class Turns:
    """``places`` callers at once, up to ``limit`` more in line."""

    def __init__(self, limit: int, places: int = 1) -> None:
        self._limit = limit
        self._places = places
        self._free = places
        self._line: deque[_Ticket] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(
        self, cancelled: Callable[[], bool] = never, told: Callable[[Told], None] = nobody, owner: str = ""
    ) -> Iterator[None]:
        """Wait for a place, hold it for the block, give it to the next one.

        ``told`` hears the position, 1 being next, when the wait begins and whenever it changes.

        Raises:
            Overloaded: the line is full.
            Cancelled: ``cancelled`` said so while waiting.
            GenerationError: the model was closed.
        """
        self._enter(owner, cancelled, told)
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

    def _enter(self, owner: str, cancelled: Callable[[], bool], told: Callable[[Told], None]) -> None:
        ticket = _Ticket(owner)
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
            self._wait(ticket, cancelled, told)
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: _Ticket, cancelled: Callable[[], bool], told: Callable[[Told], None]) -> None:
        known = 0
        while True:
            with self._changed:
                position = self._line.index(ticket) + 1
                if self._closed:
                    raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")
                if position == 1 and self._free > 0:
                    self._free -= 1
                    return
                if position == known:
                    self._changed.wait(POLL)
            # The callbacks are the caller's code and run without the lock.
            if cancelled():
                raise Cancelled("cancelled while waiting", "annulé pendant l’attente")
            if position != known:
                told(Waiting(position))
                known = position
