"""Whose turn it is to write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest.jobs import Jobs
from ingest.pipeline import Progress
from ingest.turns import MOST_BYTES, SMALL, TOGETHER, Turn, before, following
from ingest.uploads import Asked
from rag.catalog import Catalog
from rag.home import Home
from rag.types import Corpus, RunKind, RunState, SyncOptions, Upload, UploadKind


def sent(run: str, name: str, corpus: str = "rh", size: int = 10, **more: Any) -> Turn:
    return Turn(run, RunKind.UPLOAD, corpus, Upload(corpus, name, UploadKind.REPLACE, name, **more), size)


def job(run: str, corpus: str = "rh", kind: RunKind = RunKind.SYNC) -> Turn:
    return Turn(run, kind, corpus)


A, B, C = sent("1", "a.md"), sent("2", "b.md"), sent("3", "c.md")


@pytest.mark.parametrize(
    ("waiting", "running", "begun"),
    [
        ([A, B, C], [], "123"),
        ([A, B], [sent("0", "z.md")], ""),
        ([A, sent("2", "b.md", "sante"), C], [], "13"),
        ([A, B], [job("0", "sante")], "12"),
        ([A, B], [job("0")], ""),
        ([A, B], [job("0", "", RunKind.BACKUP)], ""),
        ([A, sent("2", "a.md"), C], [], "13"),
        ([A, sent("2", "a.txt"), C], [], "13"),
        ([A, job("2"), C], [], "1"),
        ([A, job("2", "", RunKind.REBUILD), C], [], "1"),
        ([A, job("2", "sante"), C], [], "13"),
        ([A, sent("2", "b.md", resume=True), C], [], "1"),
        ([sent("1", "a.md", resume=True), B], [], "1"),
        ([A, sent("2", "b.md", size=SMALL + 1), C], [], "13"),
        ([A, sent("2", "b.md", size=SMALL + 1), sent("4", "b.md"), C], [], "13"),
        ([sent("1", "a.pdf", size=10 * MOST_BYTES), B], [], "1"),
        ([job("9", "sante"), A], [job("0", "finances")], "1"),
        ([job("1", "", RunKind.IMPORT), A], [job("0", "finances")], ""),
        ([A], [sent("8", "x", "finances"), sent("9", "y", "sante")], ""),
    ],
)
def test_who_begins(waiting: list[Turn], running: list[Turn], begun: str) -> None:
    """Small changes to one corpus begin together; none overtakes one that it has to do with."""
    assert "".join(turn.run for turn in following(waiting, running)) == begun


def test_not_all_that_wait_are_gathered() -> None:
    """Whoever comes next waits for all of them."""
    assert len(following([sent(str(n), f"{n}.md") for n in range(2 * TOGETHER)], [])) == TOGETHER
    large = [sent(str(n), f"{n}.md", size=SMALL) for n in range(TOGETHER)]
    assert sum(turn.size for turn in following(large, [])) == MOST_BYTES


def test_a_place_counts_what_has_to_end_first() -> None:
    """What is written to other corpora is nobody's wait."""
    waiting = [A, sent("2", "b.md", "sante"), C]
    assert [before(turn, waiting, [job("0"), job("9", "finances")]) for turn in waiting] == [1, 0, 2]


class Works:
    """A sync that lasts until it may end, and uploads that note with whom they were made."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.go, self.made = catalog, threading.Event(), list[list[str]]()

    def sync(self, folder: Path, name: str, options: SyncOptions, *, run: str, **_: object) -> None:
        self.catalog.start_run(run)
        self.go.wait(10)
        self.catalog.end_run(run, RunState.DONE)

    def checked(self, upload: Upload) -> Upload:
        return upload

    def upload(self, asked: Sequence[Asked], *, progress: Progress) -> None:
        self.made.append([one.upload.document for one in asked])
        for one in asked:
            self.catalog.end_run(one.run, RunState.DONE)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_uploads_do_not_wait_for_a_sync_of_another_corpus(tmp_path: Path) -> None:
    """Those to its own corpus do, see how many come before them, and are then made together."""
    with closing(Catalog.open(Home.open(tmp_path / "home").catalog)) as catalog:
        works = Works(catalog)
        for name in ("rh", "sante"):
            catalog.declare(Corpus(name, name))
        with closing(Jobs(catalog, works, [tmp_path])) as jobs:  # type: ignore[arg-type]  # all that is asked of it
            syncing = jobs.submit("rh", tmp_path, SyncOptions())
            waiting = [jobs.upload(Upload("rh", name, UploadKind.REMOVE)) for name in ("a", "b")]
            beside = jobs.upload(Upload("sante", "c", UploadKind.REMOVE))
            until(lambda: jobs.status(beside).final)
            stands = [jobs.status(run) for run in waiting]
            assert [(one.state, one.stage, one.total) for one in stands] == [
                (RunState.QUEUED, "waiting", 1),
                (RunState.QUEUED, "waiting", 2),
            ]
            works.go.set()
            until(lambda: all(jobs.status(run).final for run in (syncing, *waiting)))
    assert works.made == [["c"], ["a", "b"]]
