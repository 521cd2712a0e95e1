"""A circuit breaker: whether something that fails now and then should be asked at all.

Closed, it is asked. After some failures in a row it opens, and nobody asks for a pause that doubles each time. Then it
is half-open: one probe decides between closed and another pause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

FAILURES: Final = 3
"""Failures in a row that open a circuit: one may be a request's own, three are the server's."""
PAUSE: Final = 0.5
"""Seconds of the first pause; a process that was killed and comes back is found soon."""
LONGEST: Final = 15.0
"""Seconds of the longest pause; a probe costs little."""


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The state of one thing that may fail; safe from many threads."""

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        pause: float = PAUSE,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._first = pause
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._opened = 0
        self._until: float | None = None

    @property
    def state(self) -> CircuitState:
        with self._lock:
            if self._until is None:
                return CircuitState.CLOSED
            return CircuitState.OPEN if self._clock() < self._until else CircuitState.HALF_OPEN

    def succeed(self) -> None:
        """It worked: closed, and the failures before are forgotten."""
        with self._lock:
            self._failed = self._opened = 0
            self._until = None

    def fail(self, *, fatal: bool = False) -> None:
        """It failed; ``fatal`` opens at once, and so does a failed probe. While open nothing changes."""
        with self._lock:
            if self._until is not None and self._clock() < self._until:
                return
            self._failed += 1
            if fatal or self._until is not None or self._failed >= self._failures:
                self._until = self._clock() + min(self._first * 2.0**self._opened, self._longest)
                self._opened += 1
                self._failed = 0
