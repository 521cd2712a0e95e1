"""What a model has read, kept by person, so that a question on the same passages need not read them again.

Copies of a context's state in memory, never on a disk, at most so many bytes of them; those unused the longest go
first. A copy belongs to one owner and is found by nobody else, except one that holds the system message alone, which
is everyone's. A cache belongs to one model: its copies mean nothing to another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

WORTH: Final = 128
"""Tokens that a copy must save over what is there without it: fewer are read as fast as a large copy is made."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The state after reading ``tokens``; ``owner`` is ``None`` where these are the system message alone."""

    owner: str | None
    tokens: tuple[int, ...]
    state: Bytes


@dataclass(frozen=True, slots=True)
class CacheState:
    """The cache at one moment, in numbers: ``kept`` copies of ``owners`` people and ``public`` ones, ``bytes`` of
    ``limit``. The others count since the start: copies ``saved``, ``restored``, ``evicted`` for want of room."""

    kept: int
    owners: int
    public: int
    bytes: int
    limit: int
    saved: int
    restored: int
    evicted: int


class PromptCache:
    """At most ``limit`` bytes of states. Whoever holds it lets one thread in at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Kept, None] = OrderedDict()  # the one used last at the end
        self._bytes = 0
        self._saved = self._restored = self._evicted = 0

    def best(self, owner: str, tokens: Sequence[int], public: int) -> tuple[Kept | None, int]:
        """The copy that spares ``owner`` most of ``tokens``, and how many; the first ``public`` are everyone's.

        It counts as used, and so does the public copy of these tokens: every prompt begins with one of those, and so
        they outlive any person's.
        """
        found: tuple[Kept | None, int] = (None, 0)
        for kept in list(self._kept):
            if kept.owner is None:
                shared = min(common(kept.tokens, tokens), public)
                if shared == len(kept.tokens):
                    self._kept.move_to_end(kept)
            elif kept.owner == owner:
                shared = common(kept.tokens, tokens)
            else:
                continue
            if shared > found[1]:
                found = (kept, shared)
        if found[0] is not None:
            self._kept.move_to_end(found[0])
        return found

    def restored(self) -> None:
        """Count a copy that was put back into the context."""
        self._restored += 1

    def wants(self, owner: str | None, tokens: Sequence[int], size: int, *, spared: int = 0) -> bool:
        """Whether a copy of ``size`` bytes would save enough over what is kept, or over ``spared`` tokens."""
        if size > self.limit:
            return False
        for kept in self._kept:
            if kept.owner == owner:
                spared = max(spared, common(kept.tokens, tokens))
        return len(tokens) - spared >= WORTH or (owner is None and len(tokens) > spared)

    def keep(self, kept: Kept) -> None:
        """Take in a copy in the place of those that it makes superfluous, and of as many old ones as it needs."""
        worth = WORTH if kept.owner is not None else 1
        for other in list(self._kept):
            if other.owner == kept.owner and len(other.tokens) - common(other.tokens, kept.tokens) < worth:
                self.drop(other)
        while self._kept and self._bytes + kept.state.nbytes > self.limit:
            self.drop(next(iter(self._kept)))
            self._evicted += 1
        self._kept[kept] = None
        self._bytes += kept.state.nbytes
        self._saved += 1

    def drop(self, kept: Kept) -> None:
        """Give up a copy; its bytes are overwritten."""
        del self._kept[kept]
        self._bytes -= kept.state.nbytes
        kept.state.fill(0)

    def forget(self, owner: str) -> None:
        """Give up everything of one person."""
        for kept in [kept for kept in self._kept if kept.owner == owner]:
            self.drop(kept)

    def clear(self) -> None:
        """Give up everything."""
        for kept in list(self._kept):
            self.drop(kept)

    @property
    def state(self) -> CacheState:
        owners = {kept.owner for kept in self._kept} - {None}
        public = sum(1 for kept in self._kept if kept.owner is None)
        return CacheState(
            kept=len(self._kept),
            owners=len(owners),
            public=public,
            bytes=self._bytes,
            limit=self.limit,
            saved=self._saved,
            restored=self._restored,
            evicted=self._evicted,
        )


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
