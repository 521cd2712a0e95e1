"""Folders that are kept in step with their corpora: when a file changes, or when the corpus's schedule says so.

A watched folder is taken in as nobody's order: a corpus that was rolled back waits for a person, and so does one that
would lose many documents at once.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import watchfiles
from cronsim import CronSim

from ingest import manifest
from rag.errors import StoreBusy, VaubanError

QUIET: Final = dt.timedelta(seconds=10)
"""How long a folder must have been left alone: copying a set of documents takes a while."""
LONGEST: Final = dt.timedelta(minutes=5)
"""How long changes that never pause can put a sync off."""
AGAIN: Final = dt.timedelta(minutes=1)
"""After how long a sync that found the store busy is tried again."""
TICK: Final = 1_000
"""Milliseconds between two looks at the clock."""
PARIS: Final = ZoneInfo("Europe/Paris")


@dataclass(frozen=True, slots=True)
class Watched:
    """A folder, the corpus that it declares, and its schedule in the time of Paris; without one its files decide."""

    folder: Path
    corpus: str
    schedule: str | None = None

    @classmethod
    def of(cls, folder: Path) -> Watched:
        """The folder as its ``corpus.toml`` declares it.

        Raises:
            BadRequest: it declares none, or wrongly.
        """
        name, schedule = manifest.watched(folder)
        return cls(folder.resolve(), name, schedule)


class Timetable:
    """When each folder is due; told what happens, with the time, and asked; reads no clock itself."""

    def __init__(self, watched: Sequence[Watched], now: dt.datetime) -> None:
        # What changed while nobody watched is taken in at once; a schedule says when it wants that.
        self._due = {one: now if one.schedule is None else _next(one.schedule, now) for one in watched}
        self._since: dict[Watched, dt.datetime] = {}

    def changed(self, paths: Collection[Path], now: dt.datetime) -> None:
        """Files were written, moved or removed."""
        for one in self._due:
            if one.schedule is None and any(path.is_relative_to(one.folder) for path in paths):
                self._due[one] = min(now + QUIET, self._since.setdefault(one, now) + LONGEST)

    def due(self, now: dt.datetime) -> list[Watched]:
        """The folders whose time has come, in the order of their times; each is then waited for anew."""
        come = sorted(
            (at, number, one) for number, (one, at) in enumerate(self._due.items()) if at is not None and at <= now
        )
        for _, _, one in come:
            self._due[one] = None if one.schedule is None else _next(one.schedule, now)
            self._since.pop(one, None)
        return [one for _, _, one in come]

    def again(self, one: Watched, now: dt.datetime) -> None:
        """A folder could not be taken in just now."""
        due = self._due[one]
        self._due[one] = now + AGAIN if due is None else min(due, now + AGAIN)


def watch(
    watched: Sequence[Watched],
    take_in: Callable[[Watched], None],
    failed: Callable[[Watched, VaubanError], None],
    *,
    stop: threading.Event,
    poll: bool = False,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(PARIS),
) -> None:
    """Call ``take_in`` for each folder that is due, one after the other, until ``stop`` is set.

    ``poll`` looks at the files again and again where the system tells of no changes, as on network shares. ``failed``
    is told what ``take_in`` raises, which ends nothing; a busy store is tried again.
    """
    timetable = Timetable(watched, clock())
    for paths in _changes([one.folder for one in watched], stop, poll=poll):
        timetable.changed(paths, clock())
        for one in timetable.due(clock()):
            if stop.is_set():
                return
            try:
                take_in(one)
            except VaubanError as error:
                failed(one, error)
                if isinstance(error, StoreBusy):
                    timetable.again(one, clock())


def _changes(folders: Sequence[Path], stop: threading.Event, *, poll: bool) -> Iterator[list[Path]]:
    """The files that changed since the last look, hidden ones left out; an empty list when none did."""

    def shown(_: watchfiles.Change, path: str) -> bool:
        inside = (Path(path).relative_to(folder) for folder in folders if Path(path).is_relative_to(folder))
        return any(below.parts and not any(part.startswith((".", "~$")) for part in below.parts) for below in inside)

    found = watchfiles.watch(
        *folders,
        watch_filter=shown,
        stop_event=stop,
        rust_timeout=TICK,
        yield_on_timeout=True,
        raise_interrupt=True,
        force_polling=poll,
        ignore_permission_denied=True,
    )
    for changes in found:
        yield [Path(path) for _, path in changes]


def _next(schedule: str, now: dt.datetime) -> dt.datetime | None:
    return next(CronSim(schedule, now), None)
