"""``vauban backup`` and ``vauban restore``: all state into one checked folder, while serving, and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from rag import backup, schemas
from rag.errors import Cancelled, StoreError, VaubanError
from rag.home import Home, Server
from rag.live import Connection
from rag.settings import Settings
from rag.terminal import inert, json_text, shown
from rag.types import RunState

LOOK: Final = 0.25
"""Seconds between two looks at a backup that a server makes."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def backup_command(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, best on another disk.")],
    as_json: JsonOption = False,
) -> None:
    """Copy all state (catalog, index, source files, uploads, records, keys) into a folder, also while serving.

    Models and caches are left out: the first have their manifest, the second are made again. The folder holds what
    people wrote, and secrets: keep it as safe as the home itself. State on PostgreSQL or Qdrant is theirs to back up.
    """
    settings = Settings.load()
    target = folder.absolute()
    home = Home.open(settings.root)
    server = home.server()
    with _bar() as told:
        if server is not None:
            report = _through(server, settings, target, told)
        else:
            backup.check(settings, target)
            with home.own():
                report = backup.write(home, target, progress=told)
    _print(report, target, as_json=as_json)
    if report.secrets and not as_json:
        names = ", ".join(report.secrets)
        print(inert(f"Contient des secrets · holds secrets: {names}"), file=sys.stderr)


def restore_command(
    folder: Annotated[Path, typer.Argument(help="What `vauban backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="The state that is in the home now is meant to go.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the home what a backup holds, once every checksum was compared; no server may be running."""
    settings = Settings.load()
    with _bar() as told:
        report = backup.restore(folder.absolute(), settings.root, replace=replace, progress=told)
    _print(report, settings.root, as_json=as_json)


def _through(server: Server, settings: Settings, target: Path, told: backup.Told) -> backup.Report:
    """What the running server has copied.

    Raises:
        VaubanError: why it could not.
    """
    connection = Connection(server, settings.language)
    try:
        sent = connection.send("POST", "/v1/backup", {"path": str(target)})
        run = schemas.Run.model_validate_json(sent)
        while run.state in {RunState.QUEUED, RunState.RUNNING}:
            time.sleep(LOOK)
            run = schemas.Run.model_validate_json(connection.send("GET", f"/v1/runs/{run.id}"))
            told(run.done << 10, run.total << 10)
    finally:
        connection.close()
    if run.state is RunState.CANCELLED:
        raise Cancelled("it was cancelled; nothing is left behind", "annulé ; il ne reste rien")
    if run.state is RunState.FAILED:
        raise VaubanError(run.detail, code=run.error)
    counts = run.counts
    if not {"files", "bytes", "seconds"} <= counts.keys():
        raise StoreError("the running server answered something else than a backup")
    return backup.Report(int(counts["files"]), int(counts["bytes"]), counts["seconds"], backup.secrets_of(target))


@contextmanager
def _bar() -> Iterator[backup.Told]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("Copie · copy", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total or None)


def _print(report: backup.Report, where: Path, *, as_json: bool) -> None:
    if as_json:
        print(json_text({"folder": str(where), **report.as_json()}))
        return
    megabytes = report.bytes / 2**20
    Console(highlight=False).print(
        shown(f"{where} : {report.files} fichiers · files, {megabytes:.1f} Mo · MB, {report.seconds:.1f} s")
    )
