"""``vauban ingest``: make a corpus equal to a folder, see how things stand, go back to an earlier snapshot.

Exit codes: 0 all was done, 1 nothing was published, 2 the command makes no sense, 3 published with rejections,
4 another process owns the store.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ingest import manifest
from ingest.jobs import limits_of, workers_of
from ingest.pipeline import Progress, Stage, SyncReport, plan, sync, unseen
from ingest.reading import LocalReader
from ingest.sandbox import Sandbox
from rag.catalog import Catalog, DocumentRow, DocumentState
from rag.errors import Conflict, NotFound
from rag.home import Home
from rag.settings import Settings
from rag.types import Corpus, RunStatus, SyncOptions

app = typer.Typer(no_args_is_help=True, help=__doc__)

RUNS_SHOWN: Final = 5
ARTICLES_SHOWN: Final = 20
"""Articles that a dry run lists of each document; ``--json`` lists them all."""
_STAGES: Final = {
    Stage.DISCOVER: "Recensement · discover",
    Stage.PARSE: "Lecture · parse",
    Stage.EMBED: "Vecteurs · embed",
    Stage.STAGE: "Écriture · stage",
    Stage.PUBLISH: "Publication · publish",
}

CorpusOption = Annotated[str, typer.Option("--corpus", help="The corpus, as its corpus.toml names it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("sync")
def sync_command(
    path: Annotated[Path, typer.Argument(help="The folder with the documents and their corpus.toml.")],
    corpus: CorpusOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done and touch nothing.")] = False,
    init: Annotated[
        bool, typer.Option("--init", help="Write a corpus.toml where there is none; nobody sees the corpus yet.")
    ] = False,
    confirm_removals: Annotated[
        bool, typer.Option("--confirm-removals", help="The documents that are missing are meant to go.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus equal to a folder, and publish it."""
    settings = Settings.load()
    options = SyncOptions(dry_run=dry_run, init=init, confirm_removals=confirm_removals)
    with _nothing_published(settings), _bars() as progress:
        report = _report(settings, path, corpus, options, progress)
    if as_json:
        _print_json(report.as_json())
    else:
        _print_report(report, corpus)
    raise typer.Exit(report.exit_code)


@app.command()
def status(
    corpus: Annotated[str | None, typer.Option("--corpus", help="This corpus only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show each corpus, its published snapshot and documents, and the latest runs."""
    with _catalog(Settings.load()) as catalog:
        if corpus is not None and catalog is None:
            raise _unknown(corpus)
        names = [] if catalog is None else [catalog.corpus(corpus).name] if corpus else _names(catalog)
        found = [] if catalog is None else [_Standing.of(catalog, name) for name in names]
    if as_json:
        _print_json([one.as_json() for one in found])
    else:
        _print_status(found)


@app.command()
def rollback(
    corpus: CorpusOption,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The snapshot; default the one before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish an earlier snapshot again; automatic syncs wait until the next manual one."""
    settings = Settings.load()
    with _nothing_published(settings), _catalog(settings) as catalog:
        if catalog is None:
            raise _unknown(corpus)
        snapshot = catalog.rollback(corpus, to)
    if as_json:
        _print_json({"corpus": corpus, "snapshot": snapshot})
    else:
        print(f"{corpus} : état {snapshot} publié · snapshot {snapshot} is published")


# --- doing ----------------------------------------------------------------------------------------------


def _report(settings: Settings, folder: Path, name: str, options: SyncOptions, progress: Progress) -> SyncReport:
    """Plan with the catalog alone; else work through the server that owns the home, or own it for a moment."""
    manifest.checked_name(name)
    if options.dry_run:
        with _catalog(settings) as catalog, Sandbox(limits_of(settings), workers_of(settings)) as sandbox:
            reader = LocalReader(sandbox)
            return plan(
                folder, name, catalog, init=options.init, progress=progress, members=sandbox.members, reader=reader
            )
    server = Home.open(settings.root).server()
    if server is not None:
        from ingest.remote import Remote

        with closing(Remote(server, settings.language)) as remote:
            return remote.sync(folder, name, options, progress)
    # Imported here: the models' and the store's libraries take seconds.
    from ingest.jobs import open_parts
    from rag.wiring import open_vauban

    with open_vauban(settings, generate=False) as vauban, open_parts(vauban) as parts:
        vauban.catalog.interrupt_runs()
        return sync(folder, name, parts, options, progress=progress)


@contextmanager
def _nothing_published(settings: Settings) -> Iterator[None]:
    """A conflict is no wrong command: it ends with 1, since nothing was published."""
    try:
        yield
    except Conflict as error:
        print(f"vauban: {error.said(settings.language)}", file=sys.stderr)
        raise typer.Exit(1) from error


@contextmanager
def _catalog(settings: Settings) -> Iterator[Catalog | None]:
    """The catalog, which needs no lock; ``None`` where nothing was ever taken in."""
    if not settings.database_url and not Home(settings.root).catalog.exists():
        yield None
        return
    with closing(Catalog.open(settings.database_url or Home.open(settings.root).catalog)) as catalog:
        yield catalog


def _unknown(corpus: str) -> NotFound:
    return NotFound(f"there is no corpus `{corpus}`", f"il n'y a pas de corpus « {corpus} »", code="unknown_corpus")


def _names(catalog: Catalog) -> list[str]:
    return [corpus.name for corpus in catalog.corpora()]


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a corpus stands."""

    corpus: Corpus
    snapshot: int | None
    held: bool
    documents: list[DocumentRow]
    runs: list[RunStatus]

    @classmethod
    def of(cls, catalog: Catalog, name: str) -> Self:
        lineage = catalog.published(name)
        return cls(
            catalog.corpus(name),
            lineage[0] if lineage else None,
            catalog.held(name),
            catalog.documents(name, lineage),
            catalog.runs(name, RUNS_SHOWN),
        )

    @property
    def chunks(self) -> int:
        return sum(row.chunks for row in self.documents)

    @property
    def stale(self) -> list[str]:
        return [row.document.source for row in self.documents if row.state is DocumentState.STALE]

    def as_json(self) -> dict[str, object]:
        return {
            "corpus": self.corpus.name,
            "title": self.corpus.title,
            "groups": sorted(self.corpus.groups),
            "snapshot": self.snapshot,
            "held": self.held,
            "documents": len(self.documents),
            "chunks": self.chunks,
            "stale": self.stale,
            "runs": [_run(run) for run in self.runs],
        }


def _run(run: RunStatus) -> dict[str, object]:
    return {
        "id": run.id,
        "state": run.state.value,
        "snapshot": run.snapshot,
        "started": run.started and run.started.isoformat(),
        "ended": run.ended and run.ended.isoformat(),
        **run.counts,
        "rejected": [{"path": row.path, "reason": row.reason, "detail": row.detail} for row in run.rejected],
        "error": run.error,
        "detail": run.detail,
    }


# --- showing --------------------------------------------------------------------------------------------


@contextmanager
def _bars() -> Iterator[Progress]:
    """A bar per stage while the block runs, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield unseen
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        tasks: dict[Stage, TaskID] = {}

        def told(stage: Stage, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield told


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _print_report(report: SyncReport, corpus: str) -> None:
    console = Console(highlight=False)
    if report.dry_run:
        shown = [row for row in report.plan if row.action.value != "unchanged"]
        for step in shown:
            console.print(f"{step.action.value:<9} {escape(step.path)}")
            for change in step.articles.changes[:ARTICLES_SHOWN]:
                console.print(f"  {change.action.value:<9} {escape(change.place.reference)}")
            if len(step.articles.changes) > ARTICLES_SHOWN:
                console.print(f"  … {len(step.articles.changes) - ARTICLES_SHOWN}")
        console.print("rien n'est touché · nothing is touched")
    table = Table("", "", title=corpus, show_header=False)
    for label, value in (
        ("état publié · snapshot", report.snapshot),
        ("ajoutés · added", report.added),
        ("modifiés · changed", report.changed),
        ("retirés · removed", report.removed),
        ("inchangés · unchanged", report.unchanged),
        ("articles", ", ".join(f"{count} {action}" for action, count in report.articles.items() if count) or None),
        ("refusés · rejected", len(report.rejected)),
        ("passages · chunks", report.chunks),
        ("vecteurs calculés · embedded", report.embedded),
        ("secondes · seconds", f"{report.seconds:.1f}"),
    ):
        table.add_row(label, "-" if value is None else str(value))
    console.print(table)
    if report.rejected:
        rows = Table("fichier · file", "motif · reason", "détail · detail")
        for row in report.rejected:
            rows.add_row(escape(row.path), row.reason, escape(row.detail))
        console.print(rows)
        counts = Counter(str(row.reason) for row in report.rejected)
        console.print(", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items())))


def _print_status(found: list[_Standing]) -> None:
    console = Console(highlight=False)
    if not found:
        console.print("aucun corpus · no corpus")
        return
    table = Table("corpus", "état · snapshot", "documents", "passages · chunks", "périmés · stale", "exécutions · runs")
    for one in found:
        snapshot = f"{one.snapshot or '-'}{' (en attente · held)' if one.held else ''}"
        latest = ", ".join(run.error or run.state.value for run in one.runs)
        numbers = (snapshot, str(len(one.documents)), str(one.chunks), str(len(one.stale)))
        table.add_row(one.corpus.name, *numbers, latest)
    console.print(table)
    for one in found:
        for path in one.stale:
            console.print(escape(f"{one.corpus.name}: {path} — périmé · stale"))
