"""The ``vauban`` command: each sub-command is a few lines around one call.

It wires the folders together and so may cross the arrows between them. Exit codes: 0 when all that was asked
was done, 1 when it was not, 2 for a command that makes no sense, 3 published with rejections, 4 store busy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rag import doctor as health
from rag import schemas
from rag.audit_commands import answered
from rag.command_line import day
from rag.errors import CallerError, SettingsError, StoreBusy, StoreError, VaubanError
from rag.home import Home
from rag.live import Live
from rag.settings import Settings
from rag.terminal import inert, json_text, shown
from rag.types import Principal, Question

if TYPE_CHECKING:
    from rag.wiring import Vauban

HELP = (
    "Questions about regulations, answered with their sources.\n\n"
    "Exit codes: 0 all that was asked was done, 1 it was not, 2 a command that makes no sense, "
    "3 published with rejections, 4 the store is busy."
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
Value = TypeVar("Value")

CorpusOption = Annotated[list[str] | None, typer.Option("--corpus", help="Search this corpus only; may be repeated.")]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="Rules in force on this day, YYYY-MM-DD.")]
AsOption = Annotated[str | None, typer.Option("--as", help="Answer for these groups, commas between them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve the API and the page, by default on http://127.0.0.1:8080."""
    from ingest.jobs import open_inbox
    from rag.serving import run
    from ui.app import mount

    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    run(Settings.load().model_copy(update=given), make_inbox=open_inbox, mount_page=mount)


@app.command()
def ask(
    question: str,
    corpus: CorpusOption = None,
    as_of: AsOfOption = None,
    groups: AsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a question, each sentence with the text it rests on."""
    settings = Settings.load()
    asked = _through(
        settings,
        groups,
        lambda live: live.ask(question, corpus, _checked(as_of)),
        lambda principal, vauban: schemas.asked(
            answered(vauban, Question(question, principal, tuple(corpus) if corpus else None, day(as_of)))
        ),
    )
    if as_json:
        _print_json(asked)
    else:
        _print_answer(asked)


@app.command()
def search(
    question: str,
    corpus: CorpusOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits.")] = 10,
    as_of: AsOfOption = None,
    groups: AsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that answer a question, best first, without writing an answer."""
    settings = Settings.load()

    def here(principal: Principal, vauban: Vauban) -> list[schemas.Hit]:
        asked = Question(question, principal, tuple(corpus) if corpus else None, day(as_of))
        return schemas.hits(vauban.engine.search(asked, limit), vauban.engine.scope(asked).snapshots)

    hits = _through(
        settings, groups, lambda live: live.search(question, corpus, _checked(as_of), limit), here, generate=False
    )
    if as_json:
        print(json_text([hit.model_dump(mode="json") for hit in hits]))
    else:
        _print_hits(hits)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say whether this machine is fit: processor, memory, models and their hashes, store, network switches."""
    checks = health.examine(Settings.load())
    if as_json:
        print(json_text([check.as_json() for check in checks]))
    else:
        table = Table("", "check", "found")
        for check in checks:
            table.add_row("[green]ok[/]" if check.ok else "[red]no[/]", check.name, shown(check.found))
        Console().print(table)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def top(
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds between two readings.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Show what the running server is doing, until interrupted: answers, queue, stages, ingestions, memory."""
    from rich.live import Live as Screen

    from rag.top import view

    settings = Settings.load()
    server = Home.open(settings.root).server()
    if server is None:
        raise StoreError(
            f"no server runs for {settings.root}; start one with `vauban serve`",
            f"aucun serveur ne tourne pour {settings.root} ; démarrez-en un avec « vauban serve »",
            code="no_server",
        )
    client = Live(server, settings.language)
    try:
        if as_json:
            _print_json(client.view())
            return
        with Screen(view(client.view()), console=Console(highlight=False), auto_refresh=False) as screen:
            while True:
                time.sleep(seconds)
                screen.update(view(client.view()), refresh=True)
    except KeyboardInterrupt:
        return
    finally:
        client.close()


# --- how the commands reach the engine ------------------------------------------------------------------


def _through(
    settings: Settings,
    groups: str | None,
    live: Callable[[Live], Value],
    here: Callable[[Principal, Vauban], Value],
    *,
    generate: bool = True,
) -> Value:
    """Work through the server that owns the home, or, when there is none, own it for a moment."""
    server = Home.open(settings.root).server()
    if server is not None:
        client = Live(server, settings.language, groups)
        try:
            return live(client)
        finally:
            client.close()
    from rag.wiring import open_vauban

    with open_vauban(settings, generate=generate, count=True) as vauban:
        if vauban.generator_error is not None:
            print(vauban.generator_error.said(settings.language), file=sys.stderr)
        principal = vauban.local
        if groups is not None:
            named = frozenset(name.strip() for name in groups.split(",") if name.strip())
            principal = replace(principal, groups=named)
        return here(principal, vauban)


def _checked(text: str | None) -> str | None:
    """The same text, once it has been read as a date."""
    day(text)
    return text


# --- printing -------------------------------------------------------------------------------------------


def _print_json(value: BaseModel) -> None:
    print(json_text(value.model_dump(mode="json")))


def _print_answer(asked: schemas.Asked) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{asked.status.value}[/]\n")
    console.print(escape(inert(asked.text)))
    for choice in asked.choices:
        console.print(shown(f"- {choice.question}"))
    for notice in asked.notices:
        console.print(f"[italic]{shown(notice.text)}[/]")
    if asked.passages:
        console.print()
    for passage in asked.passages:
        page = f", p. {passage.page}" if passage.page else ""
        console.print(shown(f"[{passage.n}] {passage.title}, {passage.reference}{page} ({passage.corpus})"))


def _print_hits(hits: list[schemas.Hit]) -> None:
    console = Console(highlight=False)
    for hit in hits:
        page = f", p. {hit.page}" if hit.page else ""
        console.print(f"[bold]{hit.rank}.[/] {shown(f'{hit.title}, {hit.reference}{page}')} [dim]{hit.score:.3f}[/]")
        console.print(shown(f"   {' '.join(hit.text.split())[:240]}"))


# --- the whole command ----------------------------------------------------------------------------------


def _assemble() -> None:
    """Hang the groups of the other folders under the command."""
    from eval.__main__ import app as eval_app
    from ingest.commands import app as ingest_app
    from rag.audit_commands import app as audit_app
    from rag.backup_commands import backup_command, restore_command
    from rag.key_commands import app as keys_app
    from rag.model_commands import app as models_app

    app.add_typer(ingest_app, name="ingest", help="Take document sets in, publish them, and go back.")
    app.add_typer(eval_app, name="eval", help="Measure retrieval, answers and claims.")
    app.command("backup")(backup_command)
    app.command("restore")(restore_command)
    app.add_typer(models_app, name="models", help="List, fetch and check the models.")
    app.add_typer(audit_app, name="audit", help="Check, read, replay, erase and export the records of answers.")
    app.add_typer(keys_app, name="keys", help="Make, list and revoke the keys of the API.")


@contextmanager
def _reported() -> Iterator[None]:
    """The one place where an error of ours becomes a sentence and an exit code."""
    try:
        yield
    except VaubanError as error:
        try:
            said = error.said(Settings.load().language)
        except SettingsError:  # so nothing says which language is read
            said = f"{error.fr} · {error.en}"
        print(f"vauban: {inert(said)}", file=sys.stderr)
        raise SystemExit(exit_code(error)) from error


def exit_code(error: VaubanError) -> int:
    """What a script sees of an error."""
    if isinstance(error, StoreBusy):
        return 4
    return 2 if isinstance(error, CallerError | SettingsError) else 1


def main() -> None:
    """The entry point of the console script."""
    with _reported():
        _assemble()
        app()


if __name__ == "__main__":
    main()
