"""Whose turn it is to write: pure. Jobs of one corpus follow one another; those of others do not wait for them.

Small changes to one corpus that wait are made together, in one publication. What is large waits for a turn of its own,
and lets pass what has nothing to do with it: a change never overtakes another one of the same document or file name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag.types import RunKind, Upload

UPLOADS: Final = 2
"""Corpora that take in uploads at one time: each has a process that reads."""
OTHERS: Final = 1
"""Syncs, exports and the like at one time: they may go on for hours, and uploads to other corpora beside them."""
TOGETHER: Final = 64
"""Changes made in one publication at most."""
SMALL: Final = 256 * 1024
"""Bytes of a file that goes along with others."""
MOST_BYTES: Final = 2 * 2**20
"""Bytes that are gathered: whoever comes next waits until all of it has been read and embedded."""
ALONE: Final = frozenset({RunKind.REBUILD, RunKind.BACKUP, RunKind.IMPORT})
"""What concerns all corpora, the whole index or all state: nothing else is written meanwhile."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A job that waits or runs, as far as its turn depends on it; ``size`` is that of an upload's file in bytes."""

    run: str
    kind: RunKind
    corpus: str
    upload: Upload | None = None
    size: int = 0

    @property
    def touches(self) -> frozenset[tuple[str, str]]:
        """The document of an upload, and the file names that would be in its way."""
        if self.upload is None:
            return frozenset()
        name = self.upload.name
        names = {("name", name), ("name", Path(name).stem)} if name else set()
        return frozenset({("document", self.upload.document), *names})


def following(waiting: Sequence[Turn], running: Collection[Turn]) -> list[Turn]:
    """Those that begin now, together; none while all that ``wait``, first come first, must go on waiting.

    ``running`` has one turn of each group that has begun.
    """
    ahead = list(running)
    for number, turn in enumerate(waiting):
        if _free(turn, running) and not any(_apart(turn, one) for one in ahead):
            return _gathered(turn, waiting[number + 1 :])
        ahead.append(turn)
    return []


def before(turn: Turn, waiting: Sequence[Turn], running: Collection[Turn]) -> int:
    """How many jobs that have not ended a waiting one has to wait for."""
    return sum(_apart(turn, one) for one in (*running, *waiting[: waiting.index(turn)]))


def _free(turn: Turn, running: Collection[Turn]) -> bool:
    """Whether another one of its sort may run."""
    uploads = sum(one.upload is not None for one in running)
    return uploads < UPLOADS if turn.upload is not None else len(running) - uploads < OTHERS


def _apart(one: Turn, other: Turn) -> bool:
    """Whether two jobs must not run at one time."""
    return one.corpus == other.corpus or one.kind in ALONE or other.kind in ALONE


def _gathered(first: Turn, later: Sequence[Turn]) -> list[Turn]:
    """``first``, and the small changes to its corpus that may be made with it."""
    found = [first]
    if not _gathers(first):
        return found
    size, taken = first.size, set(first.touches)
    for turn in later:
        if not _apart(turn, first):
            continue
        if not _gathers(turn):
            break
        fits = turn.size <= SMALL and size + turn.size <= MOST_BYTES
        if len(found) < TOGETHER and fits and taken.isdisjoint(turn.touches):
            found.append(turn)
            size += turn.size
        # Also of one that is left out: what comes after it must not overtake it.
        taken |= turn.touches
    return found


def _gathers(turn: Turn) -> bool:
    """One that brings back what a rollback took back concerns the whole corpus."""
    return turn.upload is not None and not turn.upload.resume
