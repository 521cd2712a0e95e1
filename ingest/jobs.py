"""Ingestion inside a running service: one job at a time, first come first served, each with a status and a way to stop.

A sync, a rebuild, an export and an import are jobs alike: whoever owns the store has one writer.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ingest import exchange, uploads
from ingest.giving_way import GivingWay
from ingest.managed import is_fed
from ingest.manifest import checked_name
from ingest.pipeline import Parts, Progress, Stage, SyncReport, recorded, sync, unseen
from ingest.reading import LocalReader, Reader
from ingest.rebuild import rebuild
from ingest.report import report
from ingest.sandbox import Limits, Sandbox
from ingest.source import Source
from rag import backup
from rag.catalog import Catalog
from rag.errors import BadRequest, Cancelled, OperatorError, Overloaded, VaubanError
from rag.seams import Inbox
from rag.settings import SETTINGS_FILE, Settings
from rag.types import Corpus, RunKind, RunState, RunStatus, SyncOptions, Upload, Workers

if TYPE_CHECKING:
    from rag.wiring import Vauban

MOST_READERS: Final = 4
"""Worker processes by default: reading is quick beside embedding, and each takes memory."""

MOST_WAITING: Final = 64
"""Jobs that may wait before an upload is refused: each holds a file of up to the limit on the disk."""

_log = logging.getLogger(__name__)


class Works(Protocol):
    """Does each kind of job. Of a sync and an import the run is noted already, also what they raise."""

    def sync(
        self,
        folder: Path,
        name: str,
        options: SyncOptions,
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
        run: str,
    ) -> SyncReport: ...

    def rebuild(
        self, embedder: str | None, *, progress: Progress, cancelled: Callable[[], bool]
    ) -> Mapping[str, float]: ...

    def export(
        self, corpus: str, folder: Path, *, progress: Progress, cancelled: Callable[[], bool]
    ) -> tuple[int, Mapping[str, float]]: ...

    def load(
        self, folder: Path, *, keep_audience: bool, progress: Progress, cancelled: Callable[[], bool], run: str
    ) -> None: ...

    def report(self, corpus: str) -> Mapping[str, object]: ...

    def fed_by_uploads(self, corpus: str) -> bool: ...

    def declare(self, corpus: Corpus, *, new: bool) -> None: ...

    def checked(self, upload: Upload) -> Upload: ...

    def upload(self, upload: Upload, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None: ...

    def publish(self, corpus: str, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None: ...

    def check_backup(self, target: Path) -> None: ...

    def backup(self, target: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Mapping[str, float]: ...


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
def open_parts(
    vauban: Vauban,
    workers: Workers = Workers.LOCAL,
    *,
    progress: Progress = unseen,
    busy: Callable[[], bool] = lambda: False,
) -> Iterator[Parts]:
    """What a sync works with, its worker processes included; these end with the block.

    ``progress`` is told of pages that OCR reads; embedding pauses while ``busy``.

    Raises:
        SettingsError: Celery workers are wanted and no broker is set.
        OperatorError: the broker does not answer.
    """
    settings = vauban.settings
    with ExitStack() as undo:
        # Archives are listed on this machine in any case.
        sandbox = undo.enter_context(Sandbox(limits_of(settings), workers_of(settings), Recognised(progress)))
        reader: Reader = LocalReader(sandbox)
        if workers is Workers.CELERY:
            from ingest.celery_reader import open_celery_reader

            reader = undo.enter_context(open_celery_reader(settings, vauban))
        embedder = GivingWay(vauban.embedder, busy)
        yield Parts(vauban.home, vauban.catalog, vauban.store, embedder, reader, sandbox.members)


class Recognised:
    """Sums up the pages that OCR has read and has to read, over the files of one sync."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pages: dict[Source, tuple[int, int]] = {}

    def __call__(self, source: Source, done: int, total: int) -> None:
        self._pages[source] = (done, total)
        read, wanted = (sum(column) for column in zip(*self._pages.values(), strict=True))
        self._progress(Stage.RECOGNISE, read, wanted)


def open_inbox(vauban: Vauban, undo: ExitStack) -> Inbox:
    """The inbox of a running service; it stops when ``undo`` is closed."""
    uploads.tidy(vauban.home, vauban.catalog, vauban.store)
    jobs = Jobs(vauban.catalog, Service(vauban), vauban.settings.sources)
    undo.callback(jobs.close)
    return jobs


class Service:
    """The :class:`Works` of a running Vauban."""

    def __init__(self, vauban: Vauban, settings_file: Path = SETTINGS_FILE) -> None:
        self._vauban = vauban
        self._settings_file = settings_file

    def sync(
        self,
        folder: Path,
        name: str,
        options: SyncOptions,
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
        run: str,
    ) -> SyncReport:
        busy = self._vauban.engine.busy
        with open_parts(self._vauban, options.workers, progress=progress, busy=busy) as parts:
            return sync(folder, name, parts, options, progress=progress, cancelled=cancelled, run=run)

    def rebuild(
        self, embedder: str | None, *, progress: Progress, cancelled: Callable[[], bool]
    ) -> Mapping[str, float]:
        report = rebuild(
            self._vauban, embedder, settings_file=self._settings_file, progress=progress, cancelled=cancelled
        )
        return report.counts

    def export(
        self, corpus: str, folder: Path, *, progress: Progress, cancelled: Callable[[], bool]
    ) -> tuple[int, Mapping[str, float]]:
        report = exchange.export(corpus, folder, self._vauban, progress=progress, cancelled=cancelled)
        return report.snapshot, report.counts

    def load(
        self, folder: Path, *, keep_audience: bool, progress: Progress, cancelled: Callable[[], bool], run: str
    ) -> None:
        exchange.import_(
            folder, self._vauban, keep_audience=keep_audience, progress=progress, cancelled=cancelled, run=run
        )

    def report(self, corpus: str) -> Mapping[str, object]:
        return report(corpus, self._vauban.catalog, self._vauban.store).as_json()

    def fed_by_uploads(self, corpus: str) -> bool:
        return is_fed(self._vauban.home, corpus)

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        uploads.declare(self._vauban.home, self._vauban.catalog, corpus, new=new)

    def checked(self, upload: Upload) -> Upload:
        return uploads.check(upload, self._vauban.home, self._vauban.catalog)

    def upload(self, upload: Upload, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None:
        with open_parts(self._vauban, progress=progress, busy=self._vauban.engine.busy) as parts:
            uploads.take_in(upload, parts, progress=progress, cancelled=cancelled, run=run)

    def publish(self, corpus: str, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None:
        with open_parts(self._vauban, progress=progress, busy=self._vauban.engine.busy) as parts:
            uploads.publish_as_they_stand(corpus, parts, progress=progress, cancelled=cancelled, run=run)

    def check_backup(self, target: Path) -> None:
        backup.check(self._vauban.settings, target)

    def backup(self, target: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Mapping[str, float]:
        def told(done: int, total: int) -> None:
            progress(Stage.STAGE, done >> 10, total >> 10)

        return backup.write(self._vauban.home, target, progress=told, cancelled=cancelled).counts


@dataclass(slots=True)
class _Job:
    """What was asked for and has not ended."""

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

    def __init__(self, catalog: Catalog, works: Works, sources: Sequence[Path]) -> None:
        self._catalog = catalog
        self._works = works
        self._sources = [source.expanduser().resolve() for source in sources]
        self._jobs: dict[str, _Job] = {}
        self._changing = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        # Whoever owned the store before is gone, and its runs with it.
        catalog.interrupt_runs()

    def submit(self, corpus: str, folder: Path, options: SyncOptions) -> str:
        checked_name(corpus)
        target = self._allowed(folder)

        def work(job: _Job, run: str) -> None:
            with recorded(self._catalog, run):
                _unmoved(target)
            self._works.sync(target, corpus, options, progress=job.told, cancelled=job.stop.is_set, run=run)

        return self._queued(RunKind.SYNC, corpus, work)

    def rebuild(self, embedder: str | None, corpus: str = "") -> str:
        def work(job: _Job, run: str) -> None:
            self._catalog.start_run(run)
            with recorded(self._catalog, run):
                counts = self._works.rebuild(embedder, progress=job.told, cancelled=job.stop.is_set)
                self._catalog.end_run(run, RunState.DONE, counts=counts)

        return self._queued(RunKind.REBUILD, corpus, work)

    def export(self, corpus: str, folder: Path) -> str:
        target = self._allowed(folder)
        self._catalog.corpus(corpus)

        def work(job: _Job, run: str) -> None:
            self._catalog.start_run(run)
            with recorded(self._catalog, run):
                _unmoved(target)
                snapshot, counts = self._works.export(corpus, target, progress=job.told, cancelled=job.stop.is_set)
                self._catalog.end_run(run, RunState.DONE, snapshot=snapshot, counts=counts)

        return self._queued(RunKind.EXPORT, corpus, work)

    def load(self, folder: Path, *, keep_audience: bool) -> str:
        target = self._allowed(folder)

        def work(job: _Job, run: str) -> None:
            with recorded(self._catalog, run):  # also what is wrong before the import notes its own end
                _unmoved(target)
                self._works.load(
                    target, keep_audience=keep_audience, progress=job.told, cancelled=job.stop.is_set, run=run
                )

        return self._queued(RunKind.IMPORT, "", work)

    def report(self, corpus: str) -> Mapping[str, object]:
        return self._works.report(corpus)

    def fed_by_uploads(self, corpus: str) -> bool:
        return self._works.fed_by_uploads(corpus)

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        self._works.declare(corpus, new=new)

    def upload(self, upload: Upload) -> str:
        checked = self._works.checked(upload)
        with self._changing:
            if len(self._jobs) >= MOST_WAITING:
                raise Overloaded(
                    f"{MOST_WAITING} changes wait already; send this one again in a moment",
                    f"{MOST_WAITING} changements attendent déjà ; renvoyez celui-ci dans un instant",
                )

        def work(job: _Job, run: str) -> None:
            self._works.upload(checked, progress=job.told, cancelled=job.stop.is_set, run=run)

        return self._queued(RunKind.UPLOAD, upload.corpus, work, left=upload.file)

    def publish(self, corpus: str) -> str:
        def work(job: _Job, run: str) -> None:
            self._works.publish(corpus, progress=job.told, cancelled=job.stop.is_set, run=run)

        return self._queued(RunKind.SYNC, corpus, work)

    def backup(self, target: Path) -> str:
        self._works.check_backup(target)

        def work(job: _Job, run: str) -> None:
            self._catalog.start_run(run)
            with recorded(self._catalog, run):
                counts = self._works.backup(target, progress=job.told, cancelled=job.stop.is_set)
                self._catalog.end_run(run, RunState.DONE, counts=counts)

        return self._queued(RunKind.BACKUP, "", work)

    def _allowed(self, folder: Path) -> Path:
        """The folder, where it may lie.

        Raises:
            BadRequest: it stands below no source.
        """
        target = folder.resolve()
        if not any(target.is_relative_to(source) for source in self._sources):
            raise BadRequest(
                f"the running server takes in folders below its `sources` only (setting VAUBAN_SOURCES), not {folder}",
                "le serveur en marche n'accepte que les dossiers sous ses « sources » (réglage VAUBAN_SOURCES), "
                f"pas {folder}",
                code="outside_sources",
            )
        return target

    def _queued(
        self, kind: RunKind, corpus: str, work: Callable[[_Job, str], None], *, left: Path | None = None
    ) -> str:
        """Queue ``work``; when it ends, or never begins, the file ``left`` behind goes."""
        run = self._catalog.add_run(corpus, kind=kind)
        job = _Job()
        with self._changing:
            self._jobs[run] = job
            future = self._thread.submit(self._take, run, job, kind, work)
        future.add_done_callback(partial(self._over, run, left))
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

    def _take(self, run: str, job: _Job, kind: RunKind, work: Callable[[_Job, str], None]) -> None:
        if job.stop.is_set():
            self._catalog.end_run(run, RunState.CANCELLED, error=Cancelled.code)
            return
        _log.info("run begun", extra={"run": run, "kind": kind.value})
        work(job, run)
        _log.info("run done", extra={"run": run, "kind": kind.value})

    def _over(self, run: str, left: Path | None, future: Future[None]) -> None:
        """Forget a job that has ended; a defect of ours ends its run too, and not the service."""
        with self._changing:
            self._jobs.pop(run, None)
        if left is not None:
            left.unlink(missing_ok=True)
        error = future.exception()
        if error is None:
            return
        _log.warning("run failed", extra={"run": run, "error": getattr(error, "code", type(error).__name__)})
        if not isinstance(error, VaubanError):
            with suppress(OperatorError):
                self._catalog.end_run(run, RunState.FAILED, error=type(error).__name__, detail="a defect of Vauban")


def _unmoved(folder: Path) -> None:
    """See that a folder which was found below a source is still there when its turn has come.

    Raises:
        BadRequest: a part of its path is a link by now, and may lead anywhere.
    """
    if folder.resolve() != folder:
        raise BadRequest(
            f"{folder} became a link while it waited",
            f"{folder} est devenu un lien entre-temps",
            code="folder_moved",
        )
