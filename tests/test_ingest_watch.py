"""Watched folders: when they are due, and that files really are seen."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import watch as watching
from ingest.watch import AGAIN, LONGEST, QUIET, Timetable, Watched, watch
from rag.errors import BadRequest, Conflict, StoreBusy

NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=watching.PARIS)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def rh(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "rh", "rh")


def test_a_folder_without_schedule_is_due_at_once_and_then_when_it_has_been_quiet(rh: Watched) -> None:
    """What changed while nobody watched is not missed; a copy in progress is not taken in half."""
    table = Timetable([rh], NOON)
    assert table.due(NOON) == [rh]
    assert table.due(NOON + dt.timedelta(days=2)) == []
    table.changed([rh.folder / "a.md"], NOON)
    table.changed([rh.folder / "b.md"], NOON + 5 * SECOND)
    assert table.due(NOON + QUIET) == []
    assert table.due(NOON + 5 * SECOND + QUIET) == [rh]
    table.changed([rh.folder.parent / "elsewhere.md"], NOON)
    assert table.due(NOON + dt.timedelta(days=2)) == []


def test_changes_without_a_pause_put_a_sync_off_only_so_long(rh: Watched) -> None:
    """A file that is written every second does not keep the others out for ever."""
    table = Timetable([rh], NOON)
    table.due(NOON)
    now = NOON
    while not table.due(now):
        table.changed([rh.folder / "journal.txt"], now)
        now += SECOND
    assert now - NOON == LONGEST


def test_a_schedule_decides_alone(tmp_path: Path) -> None:
    """In the time of Paris, across the change to winter time too."""
    nightly = Watched(tmp_path / "rh", "rh", "30 2 * * *")
    table = Timetable([nightly], NOON)
    table.changed([nightly.folder / "a.md"], NOON)
    assert table.due(NOON + QUIET) == []
    assert table.due(NOON + dt.timedelta(hours=14, minutes=29)) == []
    assert table.due(NOON + dt.timedelta(hours=14, minutes=30)) == [nightly]
    assert table.due(NOON + dt.timedelta(hours=15)) == []
    assert table.due(NOON + dt.timedelta(hours=38, minutes=30)) == [nightly]


def test_a_busy_store_is_tried_again_soon(rh: Watched) -> None:
    """Not only at the next change."""
    table = Timetable([rh], NOON)
    table.due(NOON)
    table.again(rh, NOON)
    assert table.due(NOON + AGAIN - SECOND) == []
    assert table.due(NOON + AGAIN) == [rh]


def test_the_declaration_names_corpus_and_schedule(tmp_path: Path) -> None:
    """A wrong expression is said when it is read, with the file that holds it."""
    (tmp_path / "corpus.toml").write_text('name = "rh"\nschedule = "*/15 7-19 * * 1-5"\n')
    assert Watched.of(tmp_path) == Watched(tmp_path, "rh", "*/15 7-19 * * 1-5")
    (tmp_path / "corpus.toml").write_text('name = "rh"\nschedule = "every night"\n')
    with pytest.raises(BadRequest, match=r"corpus\.toml.*`schedule` must be five cron fields"):
        Watched.of(tmp_path)
    (tmp_path / "corpus.toml").unlink()
    with pytest.raises(BadRequest):
        Watched.of(tmp_path)


@pytest.mark.parametrize("poll", [False, True])
def test_a_written_file_is_seen_and_errors_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: bool
) -> None:
    """Real files; hidden ones do not count; a folder below a hidden one does."""
    monkeypatch.setattr(watching, "QUIET", dt.timedelta(seconds=0.2))
    monkeypatch.setattr(watching, "AGAIN", dt.timedelta(seconds=0.2))
    monkeypatch.setattr(watching, "TICK", 100)
    folder = tmp_path / ".sources" / "rh"
    folder.mkdir(parents=True)
    one = Watched(folder, "rh")
    stop, calls = threading.Event(), list[float]()
    errors: list[Exception | None] = [StoreBusy("busy"), Conflict("held"), None]

    def take_in(due: Watched) -> None:
        assert due == one
        calls.append(time.monotonic())
        error = errors.pop(0)
        if error is not None:
            raise error

    def until(reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    told: list[str] = []
    arguments = ([one], take_in, lambda due, error: told.append(error.code))
    thread = threading.Thread(target=watch, args=arguments, kwargs={"stop": stop, "poll": poll})
    thread.start()
    until(lambda: len(calls) == 2)  # at the start, and again because the store was busy
    (folder / ".hidden").write_text("x")
    time.sleep(0.8)
    assert len(calls) == 2
    (folder / "a.md").write_text("x")
    until(lambda: len(calls) == 3)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert told == ["store_busy", "conflict"]
