"""``vauban ingest``: take folders in, see how things stand, go back, rebuild, and move corpora between machines.

Exit codes: 0 all was done, 1 nothing was published, 2 the command makes no sense, 3 published with rejections,
4 another process owns the store.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ingest import dispatch
from ingest.pipeline import Progress, Stage, SyncReport, unseen
from ingest.status import RUNS_SHOWN, Standing, outcome_json, print_run, print_standings, run_json
from ingest.watch import Watched, watch
from rag import schemas
from rag.catalog import Catalog
from rag.errors import Conflict, NotFound, VaubanError
from rag.settings import Settings
from rag.terminal import inert, json_text, shown
from rag.types import SyncOptions, Workers

app = typer.Typer(no_args_is_help=True, help=__doc__)

ARTICLES_SHOWN: Final = 20
"""Articles that a dry run lists of each document; ``--json`` lists them all."""
_STAGES: Final = {
    Stage.DISCOVER: "Recensement · discover",
    Stage.PARSE: "Lecture · parse",
    Stage.RECOGNISE: "Reconnaissance · recognise",
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
    workers: Annotated[
        Workers, typer.Option("--workers", help="Read in processes of this machine, or by Celery workers on any.")
    ] = Workers.LOCAL,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus equal to a folder, and publish it."""
    settings = Settings.load()
    options = SyncOptions(dry_run=dry_run, init=init, confirm_removals=confirm_removals, workers=workers)
    with _nothing_published(settings), _bars() as progress:
        report = dispatch.sync(settings, path, corpus, options, progress)
    if as_json:
        _print_json(report.as_json())
    else:
        _print_report(report, corpus)
    raise typer.Exit(report.exit_code)


@app.command()
def status(
    corpus: Annotated[str | None, typer.Option("--corpus", help="This corpus only.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=0, max=1000, help="How many of the latest runs.")] = RUNS_SHOWN,
    run: Annotated[str | None, typer.Option("--run", help="This run only, document by document.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show each corpus, its published snapshot and documents, and the latest runs; or one run with all it did."""
    with dispatch.catalog_of(Settings.load()) as catalog:
        if run is not None:
            _show_run(catalog, run, as_json=as_json)
            return
        if corpus is not None and catalog is None:
            raise _unknown(corpus)
        names = [] if catalog is None else [catalog.corpus(corpus).name] if corpus else _names(catalog)
        found = [] if catalog is None else [Standing.of(catalog, name, runs) for name in names]
    if as_json:
        _print_json([one.as_json() for one in found])
    else:
        print_standings(found)


@app.command()
def rollback(
    corpus: CorpusOption,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The snapshot; default the one before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish an earlier snapshot again; automatic syncs wait until the next manual one."""
    settings = Settings.load()
    with _nothing_published(settings), dispatch.catalog_of(settings) as catalog:
        if catalog is None:
            raise _unknown(corpus)
        snapshot = catalog.rollback(corpus, to)
    if as_json:
        _print_json({"corpus": corpus, "snapshot": snapshot})
    else:
        print(f"{corpus} : état {snapshot} publié · snapshot {snapshot} is published")


@app.command("watch")
def watch_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders with a corpus.toml each.")],
    poll: Annotated[
        bool, typer.Option("--poll", help="Look at the files again and again: for network shares.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep corpora in step with their folders: when files change, or by the schedule of their corpus.toml."""
    settings = Settings.load()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def take_in(one: Watched) -> None:
        report = dispatch.sync(settings, one.folder, one.corpus, SyncOptions(automatic=True), unseen)
        told = {"corpus": one.corpus, **report.as_json()}
        if as_json:
            print(json_text(told, indent=None), flush=True)
        else:
            moved = ", ".join(f"{name} {told[name]}" for name in ("snapshot", "added", "changed", "removed"))
            print(f"{one.corpus}: {moved}, rejected {len(report.rejected)}", flush=True)

    def failed(one: Watched, error: VaubanError) -> None:
        print(f"vauban: {one.corpus}: {inert(error.said(settings.language))}", file=sys.stderr, flush=True)

    watch([Watched.of(folder) for folder in folders], take_in, failed, stop=stop, poll=poll)


@app.command()
def rebuild(
    embedder: Annotated[
        str | None, typer.Option("--embedder", help="Embed with this model from now on; default the one in use.")
    ] = None,
    from_files: Annotated[
        bool, typer.Option("--from-files", help="Read the kept source files again, even where the index is whole.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed everything anew beside the live index, and swap when it is whole."""
    settings = Settings.load()
    with _nothing_published(settings), _bars() as progress:
        said = dispatch.rebuild(settings, embedder, from_files=from_files, progress=progress)
    _say(said, as_json=as_json)
    if said.get("overridden"):
        print(
            "vauban: VAUBAN_EMBEDDER désigne un autre modèle ; changez-le avant le prochain démarrage · "
            "VAUBAN_EMBEDDER names another model; change it before the next start",
            file=sys.stderr,
        )


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A folder to make, or an empty one.")],
    corpus: CorpusOption,
    as_json: JsonOption = False,
) -> None:
    """Write a corpus as open JSONL with vectors, source files and checksums."""
    with _bars() as progress:
        _say(dispatch.export(Settings.load(), corpus, folder, progress), as_json=as_json)


@app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="What an export wrote.")],
    keep_audience: Annotated[
        bool, typer.Option("--keep-audience", help="A corpus that is new here keeps the audience it had.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a corpus that was exported elsewhere, once every checksum is verified."""
    settings = Settings.load()
    with _nothing_published(settings), _bars() as progress:
        _say(dispatch.load(settings, folder, keep_audience=keep_audience, progress=progress), as_json=as_json)


@app.command()
def report(corpus: CorpusOption, as_json: JsonOption = False) -> None:
    """Say what is to be looked at: stale, doubled, contradictory in dates, hard to read, too long, never found."""
    settings = Settings.load()
    with _bars() as progress:
        found = schemas.CorpusReport.model_validate(dispatch.report(settings, corpus, progress))
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        _print_findings(found, settings.language)


@app.command()
def worker() -> None:
    """Read documents for syncs on other hosts that run with --workers celery, until told to stop."""
    from ingest.worker import run_worker

    raise typer.Exit(run_worker(Settings.load()))


# --- doing ----------------------------------------------------------------------------------------------


def _show_run(catalog: Catalog | None, run: str, *, as_json: bool) -> None:
    if catalog is None:
        raise NotFound(f"there is no run `{run}`", f"il n'y a pas d'exécution « {run} »", code="unknown_run")
    # A beginning is enough, as the table shows it.
    found = catalog.run(next((one.id for one in catalog.runs(limit=1000) if one.id.startswith(run)), run))
    outcomes = catalog.outcomes(found.id)
    if as_json:
        _print_json({**run_json(found), "documents": [outcome_json(one) for one in outcomes]})
    else:
        print_run(found, outcomes)


@contextmanager
def _nothing_published(settings: Settings) -> Iterator[None]:
    """A conflict is no wrong command: it ends with 1, since nothing was published."""
    try:
        yield
    except Conflict as error:
        print(f"vauban: {inert(error.said(settings.language))}", file=sys.stderr)
        raise typer.Exit(1) from error


def _unknown(corpus: str) -> NotFound:
    return NotFound(f"there is no corpus `{corpus}`", f"il n'y a pas de corpus « {corpus} »", code="unknown_corpus")


def _names(catalog: Catalog) -> list[str]:
    return [corpus.name for corpus in catalog.corpora()]


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


def _say(said: Mapping[str, object], *, as_json: bool) -> None:
    """What was done, as JSON or as a table of two columns."""
    if as_json:
        _print_json(said)
        return
    table = Table(show_header=False)
    for name, value in said.items():
        if not isinstance(value, list | dict) or value:
            table.add_row(name, shown(str(value)))
    Console(highlight=False).print(table)


def _print_findings(found: schemas.CorpusReport, language: str) -> None:
    console = Console(highlight=False)
    console.print(f"{found.corpus}: {found.documents} documents, {found.articles} articles, {found.chunks} passages")
    table = Table("constat · finding", "documents", "articles", "détail · detail")
    for one in found.findings:
        detail = one.detail_fr if language == "fr" else one.detail_en
        table.add_row(
            one.kind, "\n".join(map(shown, one.documents)), "\n".join(map(shown, one.references)), shown(detail)
        )
    console.print(table if found.findings else "rien à signaler · nothing to report")


def _print_json(value: object) -> None:
    print(json_text(value))


def _glossary(report: SyncReport) -> str | None:
    """The families of the glossary, and what has become of them."""
    said = report.glossary
    if not any(said.counts.values()):
        return None
    changed = f" (+{said.added} \N{MINUS SIGN}{said.removed})" if said.added or said.removed else ""
    return f"{said.families}{changed}"


def _print_report(report: SyncReport, corpus: str) -> None:
    console = Console(highlight=False)
    if report.dry_run:
        going = [row for row in report.plan if row.action.value != "unchanged"]
        for step in going:
            console.print(f"{step.action.value:<9} {shown(step.path)}")
            for change in step.articles.changes[:ARTICLES_SHOWN]:
                console.print(f"  {change.action.value:<9} {shown(change.place.reference)}")
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
        ("glossaire · glossary", _glossary(report)),
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
            rows.add_row(shown(row.path), row.reason, shown(row.detail))
        console.print(rows)
        counts = Counter(str(row.reason) for row in report.rejected)
        console.print(", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items())))
