"""What a server does by itself, at its start and then once a day: delete what is older than it may be, and scrub."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from rag.errors import OperatorError

log = logging.getLogger("vauban.upkeep")

DAY: Final = 24 * 60 * 60.0
AGAIN: Final = 60.0
"""Seconds after which a task is tried again that others held up."""

Task = Callable[[], object]
"""What is to be done; ``False`` says that others held it up."""


class Upkeep:
    """Runs ``tasks`` in their order, in a thread of its own, from :meth:`start` to :meth:`stop`.

    Several servers over one database may each have one: every task does nothing where there is nothing to do.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._go_on, name="upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; a task under way is waited for."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def once(self) -> bool:
        """Do every task now; false when one is to be tried again."""
        done = [self._done(task) for task in self._tasks]
        return all(done)

    def _done(self, task: Task) -> bool:
        if self._stopping.is_set():
            return True
        try:
            return task() is not False
        except OperatorError as error:
            log.error("upkeep failed: %s", error.code)
            return False

    def _go_on(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(DAY if self.once() else AGAIN)
