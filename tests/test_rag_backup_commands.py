"""``vauban backup`` and ``vauban restore`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rag.backup_commands import backup_command, restore_command
from rag.catalog import Catalog
from rag.errors import Conflict
from rag.home import Home
from rag.types import Corpus

app = typer.Typer()
app.command("backup")(backup_command)
app.command("restore")(restore_command)


def test_a_home_goes_to_a_folder_and_into_another_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the JSON that scripts rely on; secrets are named, and a home in use by state is not overwritten."""
    home = Home.open(tmp_path / "home")
    catalog = Catalog.open(home.catalog)
    catalog.declare(Corpus("rh", "RH"))
    catalog.close()
    (home.root / "audit.key").write_bytes(b"k")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAUBAN_HOME", str(home.root))
    done = CliRunner().invoke(app, ["backup", "copy", "--json"])
    said = json.loads(done.stdout)
    assert (list(said), said["secrets"]) == (["folder", "files", "bytes", "seconds", "secrets"], ["audit.key"])
    assert isinstance(CliRunner().invoke(app, ["restore", "copy"]).exception, Conflict)
    monkeypatch.setenv("VAUBAN_HOME", str(tmp_path / "again"))
    assert CliRunner().invoke(app, ["restore", "copy"]).exit_code == 0
    restored = Catalog.open(tmp_path / "again" / "catalog.sqlite")
    assert restored.corpora() == [Corpus("rh", "RH")]
    restored.close()
