"""Syncs inside a running service: one at a time, first come first served, each with a status and a way to stop it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ingest.manifest import checked_name
from ingest.pipeline import Parts, Progress, Stage, SyncReport, sync
from ingest.reading import LocalReader
from ingest.sandbox import Limits, Sandbox
from rag.catalog import Catalog
from rag.errors import BadRequest, Cancelled, OperatorError, VaubanError
from rag.seams import Inbox
from rag.settings import Settings
from rag.types import RunState, RunStatus, SyncOptions

if TYPE_CHECKING:
    from rag.wiring import Vauban

MOST_READERS: Final = 4
"""Worker processes by default: reading is quick beside embedding, and each takes memory."""

_log = logging.getLogger(__name__)


class Work(Protocol):
    """Does one sync; what it raises is noted in the run already."""

    def __call__(
        self,
        folder: Path,
        name: str,
        options: SyncOptions,
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
        run: str,
    ) -> SyncReport: ...


def limits_of(settings: Settings) -> Limits:
    """What reading one file may cost here."""
    return Limits(
        seconds=settings.file_seconds,
        memory=settings.file_memory,
        pages=settings.file_pages,
        megabytes=settings.file_megabytes,
        expanded=settings.file_expanded,
        depth=settings.file_depth,
        ocr_seconds=settings.ocr_seconds,
        ocr_languages=settings.ocr_languages if settings.ocr else "",
    )


def workers_of(settings: Settings) -> int:
    """How many processes read files here."""
    return settings.workers or min(MOST_READERS, len(os.sched_getaffinity(0)))


@contextmanager
def open_parts(vauban: Vauban) -> Iterator[Parts]:
    """What a sync works with, its worker processes included; these end with the block."""
    settings = vauban.settings
    with Sandbox(limits_of(settings), workers_of(settings)) as reader:
        yield Parts(vauban.home, vauban.catalog, vauban.store, vauban.embedder, LocalReader(reader), reader.members)


def open_inbox(vauban: Vauban, undo: ExitStack) -> Inbox:
    """The inbox of a running service; it stops when ``undo`` is closed."""

    def work(
        folder: Path, name: str, options: SyncOptions, *, progress: Progress, cancelled: Callable[[], bool], run: str
    ) -> SyncReport:
        with open_parts(vauban) as parts:
            return sync(folder, name, parts, options, progress=progress, cancelled=cancelled, run=run)

    jobs = Jobs(vauban.catalog, work, vauban.settings.sources)
    undo.callback(jobs.close)
    return jobs


@dataclass(slots=True)
class _Job:
    """A sync that was asked for and has not ended."""

    stop: threading.Event = field(default_factory=threading.Event)
    stage: str = ""
    done: int = 0
    total: int = 0

    def told(self, stage: Stage, done: int, total: int) -> None:
        self.stage, self.done, self.total = stage.value, done, total


class Jobs:
    """The :class:`~rag.seams.Inbox` of the process that owns the store.

    ``sources`` are the folders below which folders to take in must stand.
    """

    def __init__(self, catalog: Catalog, work: Work, sources: Sequence[Path]) -> None:
        self._catalog = catalog
        self._work = work
        self._sources = [source.expanduser().resolve() for source in sources]
        self._jobs: dict[str, _Job] = {}
        self._changing = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        # Whoever owned the store before is gone, and its runs with it.
        catalog.interrupt_runs()

    def submit(self, corpus: str, folder: Path, options: SyncOptions) -> str:
        checked_name(corpus)
        target = folder.resolve()
        if not any(target.is_relative_to(source) for source in self._sources):
            raise BadRequest(
                f"the running server takes in folders below its `sources` only (setting VAUBAN_SOURCES), not {folder}",
                "le serveur en marche n'accepte que les dossiers sous ses « sources » (réglage VAUBAN_SOURCES), "
                f"pas {folder}",
                code="outside_sources",
            )
        run = self._catalog.add_run(corpus)
        job = _Job()
        with self._changing:
            self._jobs[run] = job
            future = self._thread.submit(self._take, run, job, target, corpus, options)
        future.add_done_callback(partial(self._over, run))
        return run

    def status(self, run: str) -> RunStatus:
        with self._changing:
            job = self._jobs.get(run)
        found = self._catalog.run(run)
        return found if job is None else replace(found, stage=job.stage, done=job.done, total=job.total)

    def cancel(self, run: str) -> None:
        self._catalog.run(run)
        with self._changing:
            job = self._jobs.get(run)
        if job is not None:
            job.stop.set()

    def close(self) -> None:
        """Cancel what runs and what waits, and wait until it has stopped."""
        with self._changing:
            for job in self._jobs.values():
                job.stop.set()
        self._thread.shutdown(wait=True)

    def _take(self, run: str, job: _Job, folder: Path, corpus: str, options: SyncOptions) -> None:
        if job.stop.is_set():
            self._catalog.end_run(run, RunState.CANCELLED, error=Cancelled.code)
            return
        _log.info("sync begun", extra={"run": run, "corpus": corpus})
        report = self._work(folder, corpus, options, progress=job.told, cancelled=job.stop.is_set, run=run)
        _log.info("sync done", extra={"run": run, "corpus": corpus, **report.counts})

    def _over(self, run: str, future: Future[None]) -> None:
        """Forget a job that has ended; a defect of ours ends its run too, and not the service."""
        with self._changing:
            self._jobs.pop(run, None)
        error = future.exception()
        if error is None:
            return
        _log.warning("sync failed", extra={"run": run, "error": getattr(error, "code", type(error).__name__)})
        if not isinstance(error, VaubanError):
            with suppress(OperatorError):
                self._catalog.end_run(run, RunState.FAILED, error=type(error).__name__, detail="a defect of Vauban")
