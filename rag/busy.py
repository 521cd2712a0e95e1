"""Whether somebody is waiting for an answer: what runs beside the service asks before it takes the processors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Busy:
    """Counts the answers in the making; safe from many threads."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._count = 0

    def __call__(self) -> bool:
        """Whether an answer is being made now."""
        return self._count > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Somebody waits while the block runs."""
        with self._counting:
            self._count += 1
        try:
            yield
        finally:
            with self._counting:
                self._count -= 1
