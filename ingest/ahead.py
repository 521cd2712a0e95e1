"""An iterator worked off by a thread of its own, a bounded number of items ahead of whoever reads it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Final, Generic, TypeVar

_Item = TypeVar("_Item")
_PATIENCE: Final = 2.0
"""Seconds that closing waits for an item in the making; what makes it may be waiting for something slow."""
_POLL: Final = 0.2
"""Seconds between two looks at whether the reader has left, while there is no room for the next item."""


class _Ended:
    """The last thing in the queue: there is no more, and why."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Filling(threading.Thread, Generic[_Item]):
    def __init__(self, items: Iterable[_Item], depth: int) -> None:
        super().__init__(name="ahead", daemon=True)
        self._items = items
        self.queue: queue.Queue[_Item | _Ended] = queue.Queue(depth)
        self.left = threading.Event()

    def run(self) -> None:
        error: BaseException | None = None
        items = iter(self._items)
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as raised:  # noqa: BLE001 it is raised again in the thread that reads
            error = raised
        finally:
            # Here, because a generator's own cleaning up must run in the thread that ran it.
            close = getattr(items, "close", None)
            if close is not None:
                close()
        self._put(_Ended(error))

    def _put(self, item: _Item | _Ended) -> bool:
        while not self.left.is_set():
            try:
                self.queue.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False


def ahead(items: Iterable[_Item], depth: int) -> Generator[_Item, None, None]:
    """The items in their order, at most ``depth`` of them made before they are asked for.

    What making them raises is raised here, in its place. Closing this iterator ends the thread and closes theirs.
    """
    filling = _Filling(items, depth)
    filling.start()
    try:
        while True:
            item = filling.queue.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        filling.left.set()
        filling.join(_PATIENCE)
