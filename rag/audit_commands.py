"""``vauban audit``: check the chain of records, look into it, give answers again, erase and export.

Everything goes through the server that owns the home, or, when there is none, owns the home for a moment.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from rag import audit_schemas
from rag.audit_schemas import AuditErased, AuditRecord, AuditReplay, AuditVerification
from rag.auditing import Auditing, erasing, server_user
from rag.command_line import day
from rag.heads import Head
from rag.home import Home, translated
from rag.live import Connection
from rag.recording import Asked, finish
from rag.settings import Settings
from rag.terminal import inert, json_text, shown

if TYPE_CHECKING:
    from rag.types import Answer, Question
    from rag.wiring import Vauban

app = typer.Typer(no_args_is_help=True, help=__doc__)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Which = Annotated[str, typer.Argument(help="The number of a record, or the id of an answer.")]
Value = TypeVar("Value")
_BATCH: Final = 1_000
"""Records that an export asks the server for at a time."""


def answered(vauban: Vauban, question: Question) -> Answer:
    """The answer to a question on the command line, recorded like any other."""
    asked = Asked(f"chatcmpl-{uuid.uuid4().hex}", question)
    return finish(vauban, asked, vauban.engine.answer(question, sampling=asked.sampling))


@app.command("verify")
def verify_command(
    head: Annotated[
        list[str] | None, typer.Option("--head", help="A head that was noted elsewhere, COUNT:HASH; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read the whole chain and say which records were altered, removed or exchanged; exit 1 when one was."""
    settings = Settings.load()
    noted = tuple(Head.parse(written) for written in head or ())
    query = urlencode([("head", str(one)) for one in noted])
    found = _through(
        settings,
        lambda server: AuditVerification.model_validate_json(server.send("GET", f"/v1/audit/verify?{query}")),
        lambda here: audit_schemas.verification(here.verify(noted), settings.language),
    )
    if as_json:
        _print_json(found)
    else:
        _print_verification(found)
    if not found.whole:
        raise typer.Exit(1)


@app.command("show")
def show_command(which: Which, as_json: JsonOption = False) -> None:
    """Show a record, with its content as far as you may read what it shows; that you looked is recorded."""
    found = _through(
        Settings.load(),
        lambda server: AuditRecord.model_validate_json(
            server.send("GET", f"/v1/audit/records/{quote(which, safe='')}")
        ),
        lambda here: audit_schemas.record(here.show(which), content=True),
    )
    if as_json:
        _print_json(found)
    else:
        _print_record(found)


@app.command("replay")
def replay_command(which: Which, as_json: JsonOption = False) -> None:
    """Give an answer again as it was, and compare; exit 1 when it is not the same."""
    path = f"/v1/audit/records/{quote(which, safe='')}/replay"
    done = _through(
        Settings.load(),
        lambda server: AuditReplay.model_validate_json(server.send("POST", path)),
        lambda here: audit_schemas.replayed(here.replay(which)),
        generate=True,
    )
    if as_json:
        _print_json(done)
    else:
        answer = {True: "identique · the same", False: "autre · another", None: "—"}
        print(f"passages: {answer[done.passages]}\nréponse · answer: {answer[done.answer]}")
        for difference in done.differences:
            print(f"- {difference.value}")
    if not done.equal:
        raise typer.Exit(1)


@app.command("erase")
def erase_command(
    answer: Annotated[str | None, typer.Option(help="The id of an answer.")] = None,
    person: Annotated[str | None, typer.Option(help="Whoever asked: an owner (oidc:anne) or a name.")] = None,
    before: Annotated[str | None, typer.Option(help="Everything from before this day, YYYY-MM-DD.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase who asked and what, of an answer, of a person or from before a day; the chain stays whole."""
    chosen = erasing(answer, person, day(before))
    body = {"answer": answer, "person": person, "before": before}
    done = _through(
        Settings.load(),
        lambda server: AuditErased.model_validate_json(server.send("POST", "/v1/audit/erase", body)),
        lambda here: audit_schemas.erased(here.erase(chosen)),
    )
    if as_json:
        _print_json(done)
    else:
        print(f"{done.erased} contenu(s) effacé(s) · content(s) erased")
    if not done.scrubbed:
        print(
            "des octets peuvent rester sur le disque ; relancez · bytes may remain on the disk; run it again",
            file=sys.stderr,
        )
        raise typer.Exit(1)


@app.command("export")
def export_command(
    file: Annotated[Path | None, typer.Argument(help="The file to write; without it, standard output.")] = None,
    since: Annotated[int, typer.Option(min=0, help="The number of the last record that is known.")] = 0,
    content: Annotated[bool, typer.Option("--content", help="With contents, as far as you may read them.")] = False,
) -> None:
    """Write the records as JSON lines, in their order."""
    if file is None:
        _export(since, content=content, write=sys.stdout.write)
        return
    with translated(file), file.open("w", encoding="utf-8") as writing:
        _export(since, content=content, write=writing.write)


def _export(since: int, *, content: bool, write: Callable[[str], object]) -> None:
    def live(server: Connection) -> None:
        for lines in _batches(server, since, content=content):
            write(inert(lines))

    def here(auditing: Auditing) -> None:
        for view in auditing.export(since, None, content=content):
            write(inert(audit_schemas.record(view, content=content).model_dump_json()) + "\n")

    _through(Settings.load(), live, here)


def _batches(server: Connection, since: int, *, content: bool) -> Iterator[str]:
    """The lines of an export; up to the end that the chain has at its beginning, since asking lengthens it."""
    last: int | None = None
    while last is None or since < last:
        if last is None:
            newest = audit_schemas.AuditRecords.model_validate_json(server.send("GET", "/v1/audit/records?limit=1"))
            last = newest.data[0].seq if newest.data else 0
            continue
        most = min(_BATCH, last - since)
        query = urlencode({"since": since, "limit": most, "content": str(content).lower()})
        yield server.send("GET", f"/v1/audit/export?{query}").decode()
        since += most


def _through(
    settings: Settings,
    live: Callable[[Connection], Value],
    here: Callable[[Auditing], Value],
    *,
    generate: bool = False,
) -> Value:
    server = Home.open(settings.root).server()
    if server is not None:
        connection = Connection(server, settings.language)
        try:
            return live(connection)
        finally:
            connection.close()
    from rag.wiring import open_vauban

    with open_vauban(settings, generate=generate) as vauban:
        return here(Auditing(vauban, server_user(vauban.local)))


def _print_json(value: BaseModel) -> None:
    print(json_text(value.model_dump(mode="json")))


def _print_verification(found: AuditVerification) -> None:
    state = "intacte · whole" if found.whole else "ALTÉRÉE · TAMPERED WITH"
    print(f"{found.records} traces · records, {found.erased} effacées · erased: {state}")
    print(f"tête · head: {found.head}")
    for finding in found.findings:
        places = "" if finding.seq is None else f" {finding.seq}"
        until = "" if finding.last in {None, finding.seq} else f"-{finding.last}"
        print(f"- {finding.finding.value}{places}{until}: {finding.detail}")


def _print_record(found: AuditRecord) -> None:
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for name in ("seq", "kind", "id", "at", "status", "corpora", "content_state", "hash"):
        value: Any = getattr(found, name)
        table.add_row(name, shown(", ".join(value) if isinstance(value, list) else str(value)))
    console.print(table)
    for part in (found.body, found.content):
        if part is not None:
            print(inert(json_text(part)))
