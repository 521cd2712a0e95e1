"""``vauban models``: which models there are, whether their files are right, which are used, and how to get more."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rag import pull as pulling
from rag.errors import ModelError, NotFound, SettingsError
from rag.models import Entry, Kind, Manifest, locate, read_lock, verify
from rag.settings import PREFIX, SETTINGS_FILE, Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
STATES: Final = {"installed": "installé · installed", "missing": "absent · missing"}


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """Print the manifest: every model known, whether it is installed, and which are in use."""
    settings = Settings.load()
    rows = [_row(entry, settings) for entry in Manifest.load(settings.models_dir).entries]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for heading in ("", "Modèle · model", "kind", "box", "langues", "MiB", "licence", "état · state"):
        table.add_column(heading, no_wrap=heading != "état · state")
    for row in rows:
        table.add_row(
            "●" if row["used"] else "",
            *(escape(str(row[key])) for key in ("name", "kind", "box")),
            "multi" if "*" in row["languages"] else ", ".join(row["languages"]),
            *(escape(str(row[key])) for key in ("memory", "licence")),
            STATES[row["state"]],
        )
    Console(highlight=False).print(table)


@app.command("verify")
def verify_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to check; by default all that are installed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of the installed models again and compare the hashes; exit 1 when one is not right."""
    settings = Settings.load()
    manifest = Manifest.load(settings.models_dir)
    chosen = [manifest.entry(name) for name in names] if names else _installed(manifest, settings)
    rows = [_checked(entry, settings) for entry in chosen]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for row in rows:
            print(f"{row['name']}: {'conforme · right' if row['right'] else row['detail']}")
    if not all(row["right"] for row in rows):
        raise typer.Exit(1)


@app.command("use")
def use_command(
    name: Annotated[str, typer.Argument(help="A model of the manifest, installed here.")],
    file: Annotated[Path, typer.Option("--file", help="The settings file to write.")] = SETTINGS_FILE,
) -> None:
    """Check a model and choose it in the settings file, keeping everything else in it."""
    settings = Settings.load()
    entry = Manifest.load(settings.models_dir).entry(name)
    verify(entry, locate(entry, settings.models_dir), models_dir=settings.models_dir, home=settings.root)
    choose(file, entry.kind.value, name)
    print(f'{file}: {entry.kind.value} = "{name}"')
    if (variable := PREFIX + entry.kind.value.upper()) in os.environ:
        print(
            f"{variable} est défini et l’emporte sur {file}. · {variable} is set and wins over {file}.", file=sys.stderr
        )
    if entry.kind is Kind.EMBEDDER and name != settings.embedder:
        print(
            "Les corpus sont à recalculer avec ce modèle. · The corpora must be embedded anew with this model.",
            file=sys.stderr,
        )


@app.command("pull")
def pull_command(
    names: Annotated[list[str], typer.Argument(help="Models of the manifest.")],
    update: Annotated[
        bool, typer.Option("--update", help="Take the repository's present state, not the locked one.")
    ] = False,
) -> None:
    """Fetch models on a connected machine and record their hashes. The only command that uses a network."""
    settings = Settings.load()
    manifest = Manifest.load(settings.models_dir)
    for entry in [manifest.entry(name) for name in names]:
        record = pulling.pull(entry, settings.models_dir, update=update, told=lambda line: print(line, file=sys.stderr))
        print(f"{entry.name}: {record.revision}")
        for name, digest in sorted(record.sha256.items()):
            print(f"  {digest}  {name}")


def choose(file: Path, setting: str, value: str) -> None:
    """Set ``setting`` in the TOML file, leaving every other line as it is.

    Raises:
        SettingsError: the file is not TOML before, or would not say so after.
    """
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        tomllib.loads(text)
        line = f"{setting} = {json.dumps(value)}"
        changed, count = re.subn(rf"(?m)^{setting}[ \t]*=.*$", lambda match: line, text, count=1)
        if not count:
            changed = f"{line}\n{text}"
        if tomllib.loads(changed).get(setting) != value:
            raise ValueError(f"`{setting}` is written there in a way that is left to you")
        # Beside it first, with its rights: a kill leaves the former settings or the new ones, never half of them.
        partial = file.with_name(f".{file.name}.{os.getpid()}.part")
        partial.write_text(changed, encoding="utf-8")
        if file.exists():
            shutil.copymode(file, partial)
        partial.replace(file)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot write settings file {file}: {error}",
            f"impossible d’écrire le fichier de réglages {file} : {error}",
        ) from error


def _row(entry: Entry, settings: Settings) -> dict[str, Any]:
    locked = read_lock(settings.models_dir).get(entry.name)
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "title": entry.title,
        "box": entry.box,
        "licence": entry.licence,
        "languages": list(entry.languages),
        "context": entry.context,
        "memory": entry.memory,
        "source": entry.repository or entry.distribution or "own",
        "revision": locked.revision if locked else None,
        "state": "installed" if _is_installed(entry, settings) else "missing",
        "used": entry.name == getattr(settings, entry.kind.value),
    }


def _checked(entry: Entry, settings: Settings) -> dict[str, object]:
    try:
        mark = verify(entry, locate(entry, settings.models_dir), models_dir=settings.models_dir)
    except ModelError as error:
        return {"name": entry.name, "right": False, "fingerprint": None, "detail": error.said(settings.language)}
    return {"name": entry.name, "right": True, "fingerprint": mark, "detail": ""}


def _installed(manifest: Manifest, settings: Settings) -> list[Entry]:
    """The models that are here, and those that the settings choose, here or not."""
    chosen = {settings.embedder, settings.generator, settings.reranker}
    found = [entry for entry in manifest.entries if entry.name in chosen or _is_installed(entry, settings)]
    if not found:
        raise NotFound("no model is installed", "aucun modèle n’est installé", code="unknown_model")
    return found


def _is_installed(entry: Entry, settings: Settings) -> bool:
    try:
        locate(entry, settings.models_dir)
    except ModelError:
        return False
    return True
