"""How often each document is found: counted in memory and written now and then, so that no search waits for it.

What is counted are documents and nothing else: no question, no person.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from rag.errors import OperatorError
from rag.types import Hit

EVERY: Final = 30.0
"""Seconds between two writings; what was counted since is lost with a kill, and nobody misses it."""


class Write(Protocol):
    """Adds to the counts of a corpus, by document; :meth:`rag.catalog.Catalog.count_retrievals` does."""

    def __call__(self, corpus: str, documents: Mapping[str, int]) -> None: ...


class Retrievals:
    """Counts for one running service. Safe from many threads; :meth:`close` writes what is left."""

    def __init__(self, write: Write, every: float = EVERY) -> None:
        self._write = write
        self._every = every
        self._counts: dict[str, Counter[str]] = {}
        self._changing = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def seen(self, hits: Iterable[Hit]) -> None:
        """One search has found these; each of their documents counts once."""
        found = {(hit.chunk.corpus, hit.chunk.document) for hit in hits}
        if not found:
            return
        with self._changing:
            for corpus, document in found:
                self._counts.setdefault(corpus, Counter())[document] += 1
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="retrievals", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what was counted, and end the thread."""
        self._closing.set()
        with self._changing:
            thread = self._thread
        if thread is not None:
            thread.join()
        self._flush()

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self._flush()

    def _flush(self) -> None:
        with self._changing:
            counts, self._counts = self._counts, {}
        for corpus, documents in counts.items():
            try:
                self._write(corpus, documents)
            except OperatorError:  # the disk is full or the database away: they are written with the next
                with self._changing:
                    self._counts.setdefault(corpus, Counter()).update(documents)
