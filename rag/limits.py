"""How much one person may ask at the same time, so that nobody takes what everybody shares."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rag.errors import Overloaded


class EachAtOnce:
    """At most ``most`` requests of one owner under way. Safe from many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()
        self._counting = threading.Lock()

    @contextmanager
    def held(self, owner: str) -> Iterator[None]:
        """One more request of ``owner`` while the block runs.

        Raises:
            Overloaded: they have ``most`` under way.
        """
        with self._counting:
            if self._held[owner] >= self._most:
                raise Overloaded(
                    f"{self._most} of your requests are under way; wait for one of them to end",
                    f"{self._most} de vos demandes sont en cours ; attendez que l'une d'elles se termine",
                    code="too_many_of_yours",
                    retry_after=1.0,
                )
            self._held[owner] += 1
        try:
            yield
        finally:
            with self._counting:
                self._held[owner] -= 1
                if not self._held[owner]:
                    del self._held[owner]  # nobody is remembered who asks nothing
