"""Ingestion inside a running service: jobs, first come first served, each with a status and a way to stop.

A sync, a rebuild, an export and an import are jobs alike: each corpus has one writer. Whose turn it is, and which
uploads are made together, is said by :mod:`ingest.turns`.
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

from ingest import exchange, turns, uploads
from ingest.giving_way import GivingWay
from ingest.managed import is_fed
from ingest.manifest import checked_name
from ingest.pipeline import Parts, Progress, Stage, SyncReport, recorded, sync, unseen
from ingest.reading import LocalReader, Reader
from ingest.rebuild import rebuild
from ingest.report import report
from ingest.sandbox import Limits, Sandbox
from ingest.source import Source
from ingest.turns import Turn
from ingest.uploads import Asked
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

WAITING: Final = "waiting"
"""The stage of a job whose turn has not come."""

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

    def upload(self, asked: Sequence[Asked], *, progress: Progress) -> None: ...

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
        self._settled = uploads.Settled()

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

    def upload(self, asked: Sequence[Asked], *, progress: Progress) -> None:
        with open_parts(self._vauban, progress=progress, busy=self._vauban.engine.busy) as parts:
            uploads.take_in(asked, parts, progress=progress, settled=self._settled)

    def publish(self, corpus: str, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None:
        with open_parts(self._vauban, progress=progress, busy=self._vauban.engine.busy) as parts:
            uploads.publish_as_they_stand(
                corpus, parts, progress=progress, cancelled=cancelled, run=run, settled=self._settled
            )

    def check_backup(self, target: Path) -> None:
        backup.check(self._vauban.settings, target)

    def backup(self, target: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Mapping[str, float]:
        def told(done: int, total: int) -> None:
            progress(Stage.STAGE, done >> 10, total >> 10)

        return backup.write(self._vauban.home, target, progress=told, cancelled=cancelled).counts


@dataclass(slots=True)
class _Job:
    """What was asked for and has not ended."""

    turn: Turn
    work: Callable[[_Job, str], None] | None
    left: Path | None = None
    """A file that goes when the job ends, or never begins."""
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
        """Those that have not ended, in the order they came."""
        self._running: list[list[_Job]] = []
        """Those of them that have begun, in the groups that they were begun in."""
        self._changing = threading.Condition()
        self._threads = ThreadPoolExecutor(turns.UPLOADS + turns.OTHERS, thread_name_prefix="ingest")
        self._closed = False
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

        return self._queued(RunKind.UPLOAD, upload.corpus, None, upload=checked)

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
        self, kind: RunKind, corpus: str, work: Callable[[_Job, str], None] | None, *, upload: Upload | None = None
    ) -> str:
        """Queue ``work``, or an upload; when that ends, or never begins, its file goes."""
        file = None if upload is None else upload.file
        size = file.stat().st_size if file else 0
        run = self._catalog.add_run(corpus, kind=kind)
        job = _Job(Turn(run, kind, corpus, upload, size), work, file)
        with self._changing:
            if self._closed:
                job.stop.set()
            self._jobs[run] = job
            self._go()
        return run

    def _waiting(self) -> list[Turn]:
        begun = {job.turn.run for group in self._running for job in group}
        return [job.turn for run, job in self._jobs.items() if run not in begun]

    def _go(self) -> None:
        """Begin whatever has its turn; the lock is held."""
        while group := turns.following(self._waiting(), [jobs[0].turn for jobs in self._running]):
            jobs = [self._jobs[turn.run] for turn in group]
            self._running.append(jobs)
            self._threads.submit(self._take, jobs).add_done_callback(partial(self._over, jobs))

    def status(self, run: str) -> RunStatus:
        """Of one that waits, ``stage`` is ``waiting`` and ``total`` the number of those that come before it."""
        with self._changing:
            job = self._jobs.get(run)
            waiting = self._waiting()
            running = [jobs[0].turn for jobs in self._running]
        found = self._catalog.run(run)
        if job is None or found.final:
            return found
        if job.turn in waiting:
            return replace(found, stage=WAITING, total=turns.before(job.turn, waiting, running))
        return replace(found, stage=job.stage, done=job.done, total=job.total)

    def cancel(self, run: str) -> None:
        self._catalog.run(run)
        with self._changing:
            job = self._jobs.get(run)
        if job is not None:
            job.stop.set()

    def close(self) -> None:
        """Cancel what runs and what waits, and wait until it has stopped."""
        with self._changing:
            self._closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changing.wait_for(lambda: not self._jobs)
        self._threads.shutdown(wait=True)

    def _take(self, jobs: Sequence[_Job]) -> None:
        going = []
        for job in jobs:
            if job.stop.is_set():
                self._catalog.end_run(job.turn.run, RunState.CANCELLED, error=Cancelled.code)
            else:
                going.append(job)
                _log.info("run begun", extra={"run": job.turn.run, "kind": job.turn.kind.value})
        if not going:
            return
        if (work := going[0].work) is not None:
            work(going[0], going[0].turn.run)
        else:
            self._change(going)
        for job in going:
            _log.info("run done", extra={"run": job.turn.run, "kind": job.turn.kind.value})

    def _change(self, jobs: Sequence[_Job]) -> None:
        """Make the changes that uploads ask for."""

        def told(stage: Stage, done: int, total: int) -> None:
            for job in jobs:
                job.told(stage, done, total)

        asked = [Asked(job.turn.upload, job.turn.run, job.stop.is_set) for job in jobs if job.turn.upload is not None]
        self._works.upload(asked, progress=told)

    def _over(self, jobs: list[_Job], future: Future[None]) -> None:
        """Forget jobs that have ended; a defect of ours ends their runs too, and not the service."""
        error = future.exception()
        if error is not None:
            code = getattr(error, "code", type(error).__name__)
            for job in jobs:
                _log.warning("run failed", extra={"run": job.turn.run, "error": code})
        if error is not None and not isinstance(error, VaubanError):
            with suppress(OperatorError):
                for run in (job.turn.run for job in jobs):
                    if not self._catalog.run(run).final:
                        self._catalog.end_run(
                            run, RunState.FAILED, error=type(error).__name__, detail="a defect of Vauban"
                        )
        for job in jobs:
            if job.left is not None:
                job.left.unlink(missing_ok=True)
        with self._changing:
            self._running.remove(jobs)
            for job in jobs:
                del self._jobs[job.turn.run]
            self._go()
            self._changing.notify_all()


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
