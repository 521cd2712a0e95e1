"""What is still being loaded after a start: the program says so instead of looking broken, or ready."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """What is warmed, in this order; a closed list."""

    SEARCH = "search"
    """The embedder is loaded: nothing can be searched before."""
    CACHES = "caches"
    """Word lists are read; without them the first question waits for them."""
    MODEL = "model"
    """The writing model has read the public part of every prompt; answers before it start later."""


class Warmth:
    """Which steps are done. Safe from many threads."""

    def __init__(self, pending: frozenset[Step] = frozenset(Step)) -> None:
        self._changing = threading.Lock()
        self._pending = pending
        self._failed: frozenset[Step] = frozenset()

    @contextmanager
    def doing(self, step: Step) -> Iterator[None]:
        """A step that is done when the block ends, and failed when it raises."""
        try:
            yield
        except BaseException:  # noted, and raised again
            with self._changing:
                self._failed |= {step}
            raise
        finally:
            with self._changing:
                self._pending -= {step}

    def pending(self, step: Step) -> bool:
        return step in self._pending

    def failed(self, step: Step) -> bool:
        return step in self._failed


WARM: Final = Warmth(frozenset())
"""Of parts that need no warming, or were warmed before."""
