"""``vauban keys``: make, list and revoke the keys of the API; they count at the next request, also of a running server.

A secret is shown once, when it is made. The commands work on the database itself and need no server.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from rag.api_service import ALL
from rag.catalog import Catalog
from rag.database import Database
from rag.errors import BadRequest
from rag.home import Home
from rag.keys import MOST_DAYS, Key, Keys
from rag.settings import Settings
from rag.terminal import json_text, shown
from rag.types import EVERY, Access, Principal, Role

app = typer.Typer(no_args_is_help=True, help=__doc__)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
STATES: Final = {
    "valid": "valable · valid",
    "expired": "expirée · expired",
    "revoked": "révoquée · revoked",
}
HEADERS: Final = ("nom · name", "groupes · groups", "rôles · roles", "fin · ends", "usage · used", "état · state")


@app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(help="The person or the application that the key is for.")],
    group: Annotated[list[str] | None, typer.Option(help="A group of theirs; may be repeated.")] = None,
    clearance: Annotated[int, typer.Option(min=0, help="Their clearance.")] = 0,
    role: Annotated[list[Role] | None, typer.Option(help="What they may do beside reading; may be repeated.")] = None,
    maintain: Annotated[
        list[str] | None, typer.Option(help="A corpus that they feed, `*` for all; may be repeated.")
    ] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Only this corpus; may be repeated.")] = None,
    assistant: Annotated[
        list[str] | None, typer.Option(help="Only this assistant, `vauban` or `vauban-CORPUS`; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="Days that the key is valid.")] = 365,
    same_person: Annotated[
        bool, typer.Option("--same-person", help="A further key for whoever has had one of that name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and show its secret this one time."""
    roles = frozenset(role or ()) | {Role.READER}
    principal = Principal(
        name=name,
        groups=frozenset(group or ()),
        clearance=clearance,
        roles=roles | {Role.MAINTAINER} if maintain else roles,
        maintains=frozenset(maintain or ()),
        corpora=frozenset(corpus) if corpus else None,
        assistants=frozenset(assistant) if assistant else None,
        access=Access.KEY,
    )
    with _opened() as (database, keys):
        _check_corpora(principal, Catalog(database))
        key, secret = keys.create(principal, days, further=same_person)
    if as_json:
        print(json_text(described(key) | {"secret": secret}))
        return
    Console(highlight=False).print(shown(f"{key.principal.name} ({key.id}), {_day(key.expires)}"))
    print(secret)
    Console(stderr=True, highlight=False).print(
        "Notez cette clé maintenant : elle ne sera plus montrée. · Keep this key now: it will not be shown again."
    )


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List every key with what it allows, and when it was last used; never a secret."""
    with _opened() as (_, keys):
        rows = [described(key) for key in keys.every()]
    if as_json:
        print(json_text(rows))
        return
    table = Table(
        Column("id", no_wrap=True, min_width=16),
        # Folded and not cut: a narrow terminal must not hide when a key ends.
        *(Column(header, overflow="fold") for header in HEADERS),
    )
    for row in rows:
        table.add_row(
            row["id"],
            shown(row["name"]),
            shown(", ".join(row["groups"])),
            shown(", ".join(row["roles"])),
            row["expires"],
            row["last_used"] or "",
            STATES[row["state"]],
        )
    Console(highlight=False).print(table)


@app.command("revoke")
def revoke_command(
    key: Annotated[str, typer.Argument(help="The id of a key, or a name: all keys of that name.")],
    as_json: JsonOption = False,
) -> None:
    """End a key: its next request is refused, and so is that of a page that was signed in with it."""
    with _opened() as (_, keys):
        rows = [described(one) for one in keys.revoke(key)]
    if as_json:
        print(json_text(rows))
    else:
        for row in rows:
            Console(highlight=False).print(f"{row['id']} {shown(row['name'])}: {STATES[row['state']]}")


def described(key: Key) -> dict[str, Any]:
    """What programs read of a key; its secret is nowhere."""
    principal = key.principal
    now = dt.datetime.now(dt.UTC).timestamp()
    return {
        "id": key.id,
        "name": principal.name,
        "groups": sorted(principal.groups),
        "clearance": principal.clearance,
        "roles": sorted(principal.roles),
        "maintains": sorted(principal.maintains),
        "corpora": None if principal.corpora is None else sorted(principal.corpora),
        "assistants": None if principal.assistants is None else sorted(principal.assistants),
        "created": _day(key.created),
        "expires": _day(key.expires),
        "last_used": key.last_used,
        "state": "revoked" if key.revoked is not None else "valid" if key.valid(now) else "expired",
    }


def _day(instant: int) -> str:
    return dt.datetime.fromtimestamp(instant, dt.UTC).date().isoformat()


@contextmanager
def _opened() -> Iterator[tuple[Database, Keys]]:
    settings = Settings.load()
    database = Database.open(settings.database_url or Home.open(settings.root).catalog)
    try:
        yield database, Keys(database)
    finally:
        database.close()


def _check_corpora(principal: Principal, catalog: Catalog) -> None:
    """Refuse a key for a corpus or an assistant that does not exist: most often a name that was mistyped.

    Raises:
        BadRequest: names it, and those that there are.
    """
    corpora = {corpus.name for corpus in catalog.corpora()}
    assistants = {ALL, *(f"{ALL}-{name}" for name in corpora)}
    known = ", ".join(sorted(corpora)) or "-"
    for name in sorted(((principal.corpora or set()) | (principal.maintains - {EVERY})) - corpora):
        raise BadRequest(
            f"there is no corpus `{name}`; there are: {known}; make a new one first, by a sync or POST /v1/corpora",
            f"il n'y a pas de corpus « {name} » ; il y a : {known} ; "
            "créez d'abord le nouveau, par une synchronisation ou POST /v1/corpora",
            code="unknown_corpus",
        )
    for name in sorted((principal.assistants or set()) - assistants):
        raise BadRequest(
            f"there is no assistant `{name}`; there are: {', '.join(sorted(assistants))}",
            f"il n'y a pas d'assistant « {name} » ; il y a : {', '.join(sorted(assistants))}",
            code="unknown_model",
        )
