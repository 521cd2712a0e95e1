"""Bodies that people send: how many are received at a time, and how slowly each may come.

Whoever sends a byte now and then would otherwise hold a place, a file and a connection for ever.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from rag.errors import Overloaded
from rag.limits import EachAtOnce
from rag.problems import Refusal

EACH: Final = 8
"""Bodies of one person that are received at a time."""
ALL: Final = 32
"""Bodies that are received at a time, of all people."""
GRACE: Final = 30.0
"""Seconds that any body may take, however small."""
SLOWEST: Final = 8_000
"""Bytes for which it may take another second: a quarter of what the slowest line of an office carries."""


class Receiving:
    """The places for bodies under way. Safe from many threads."""

    def __init__(self, each: int = EACH, all_: int = ALL) -> None:
        self._each = EachAtOnce(each)
        self._all = all_
        self._count = 0
        self._counting = threading.Lock()

    @contextmanager
    def held(self, owner: str) -> Iterator[None]:
        """One more body of ``owner`` while the block runs.

        Raises:
            Overloaded: they, or all people together, send as many as they may.
        """
        with self._each.held(owner):
            with self._counting:
                if self._count >= self._all:
                    raise Overloaded(
                        f"{self._all} files are being received already; send this one again in a moment",
                        f"{self._all} fichiers sont déjà en cours de réception ; renvoyez celui-ci dans un instant",
                        retry_after=2.0,
                    )
                self._count += 1
            try:
                yield
            finally:
                with self._counting:
                    self._count -= 1


async def paced(stream: AsyncIterator[bytes], grace: float | None = None) -> AsyncIterator[bytes]:
    """The same blocks, as long as their sender does not keep us waiting; what we do with them costs the sender nothing.

    Raises:
        Refusal: 408, they came too slowly.
    """
    left = GRACE if grace is None else grace
    async with aclosing(_closable(stream)) as blocks:
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    block = await anext(blocks, None)
            except TimeoutError as error:
                raise _too_slow() from error
            if block is None:
                return
            left += len(block) / SLOWEST - (time.monotonic() - began)
            yield block


async def _closable(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for block in stream:
        yield block


def _too_slow() -> Refusal:
    return Refusal(
        "the file comes too slowly; send it again over a better line, or in smaller parts",
        "le fichier arrive trop lentement ; renvoyez-le par une meilleure liaison, ou en plusieurs parties",
        code="too_slow",
        status=408,
        headers={"Connection": "close"},
    )
