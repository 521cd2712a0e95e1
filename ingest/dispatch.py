"""Where the work of a command is done: by the server that owns the home, or here, owning it for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ingest import manifest
from ingest.jobs import Recognised, limits_of, open_parts, workers_of
from ingest.pipeline import Progress, SyncReport, plan
from ingest.pipeline import sync as sync_here
from ingest.reading import LocalReader
from ingest.remote import Remote
from ingest.sandbox import Sandbox
from rag.catalog import Catalog
from rag.home import Home
from rag.settings import SETTINGS_FILE, Settings
from rag.types import SyncOptions

if TYPE_CHECKING:
    from rag.wiring import Vauban

_Value = TypeVar("_Value")
Said = Mapping[str, object]
"""What a command prints with ``--json``; through a server, the numbers of its run."""


def sync(settings: Settings, folder: Path, name: str, options: SyncOptions, progress: Progress) -> SyncReport:
    """Make a corpus equal to a folder; a dry run needs neither the store nor a server."""
    manifest.checked_name(name)
    if options.dry_run:
        seen = Recognised(progress)
        with catalog_of(settings) as catalog, Sandbox(limits_of(settings), workers_of(settings), seen) as sandbox:
            reader = LocalReader(sandbox)
            return plan(
                folder, name, catalog, init=options.init, progress=progress, members=sandbox.members, reader=reader
            )

    def here(vauban: Vauban) -> SyncReport:
        with open_parts(vauban, options.workers, progress=progress) as parts:
            return sync_here(folder, name, parts, options, progress=progress)

    return _done(settings, lambda remote: remote.sync(folder, name, options, progress), here)


def rebuild(settings: Settings, embedder: str | None, *, from_files: bool, progress: Progress) -> Said:
    """Embed everything anew. Without a server the home may even have lost its index."""
    from ingest.rebuild import rebuild_home

    server = Home.open(settings.root).server()
    if server is not None:
        with closing(Remote(server, settings.language)) as remote:
            return remote.rebuild(embedder, progress)
    with Sandbox(limits_of(settings), workers_of(settings)) as sandbox:
        report = rebuild_home(
            settings,
            LocalReader(sandbox),
            embedder,
            settings_file=SETTINGS_FILE,
            from_files=from_files,
            progress=progress,
        )
    return report.as_json()


def export(settings: Settings, corpus: str, folder: Path, progress: Progress) -> Said:
    """Write a corpus into a folder, new or empty."""
    from ingest import exchange

    return _done(
        settings,
        lambda remote: remote.export(corpus, folder, progress),
        lambda vauban: exchange.export(corpus, folder, vauban, progress=progress).as_json(),
    )


def load(settings: Settings, folder: Path, *, keep_audience: bool, progress: Progress) -> Said:
    """Take in what an export wrote."""
    from ingest import exchange

    return _done(
        settings,
        lambda remote: remote.load(folder, keep_audience=keep_audience, progress=progress),
        lambda vauban: exchange.import_(folder, vauban, keep_audience=keep_audience, progress=progress).as_json(),
    )


def report(settings: Settings, corpus: str, progress: Progress) -> Said:
    """What is to be looked at in a corpus."""
    from ingest.report import report as report_here

    return _done(
        settings,
        lambda remote: remote.report(corpus),
        lambda vauban: report_here(corpus, vauban.catalog, vauban.store, progress=progress).as_json(),
    )


@contextmanager
def catalog_of(settings: Settings) -> Iterator[Catalog | None]:
    """The catalog, which needs no lock; ``None`` where nothing was ever taken in."""
    if not settings.database_url and not Home(settings.root).catalog.exists():
        yield None
        return
    with closing(Catalog.open(settings.database_url or Home.open(settings.root).catalog)) as catalog:
        yield catalog


def _done(settings: Settings, there: Callable[[Remote], _Value], here: Callable[[Vauban], _Value]) -> _Value:
    server = Home.open(settings.root).server()
    if server is not None:
        with closing(Remote(server, settings.language)) as remote:
            return there(remote)
    # Imported here: the models' and the store's libraries take seconds.
    from rag.wiring import open_vauban

    with open_vauban(settings, generate=False) as vauban:
        vauban.catalog.interrupt_runs()
        return here(vauban)
