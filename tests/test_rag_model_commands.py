"""`vauban models`: thin commands over the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag.errors import ModelError, SettingsError
from rag.model_commands import app, choose
from tests.test_rag_models import GGUF, sha

RUN = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one generator of the operator's own, in an empty working folder."""
    folder = tmp_path / "models" / "own"
    folder.mkdir(parents=True)
    (folder / "weights.gguf").write_bytes(GGUF)
    (tmp_path / "models" / "models.toml").write_text(
        f'[models.own]\nkind = "generator"\n[models.own.sha256]\n"weights.gguf" = "{sha(GGUF)}"\n'
    )
    monkeypatch.setenv("VAUBAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_prints_every_model_with_its_state(home: Path) -> None:
    """For programs: one row a model, with what is installed and what is used."""
    result = RUN.invoke(app, ["list", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["own"]["state"] == "installed"
    assert rows["qwen3-4b"]["state"] == "missing"
    assert rows["smollm2"]["used"]
    assert not rows["own"]["used"]


def test_list_speaks_to_people_too(home: Path) -> None:
    """For people: a table, French first."""
    result = RUN.invoke(app, ["list"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "multilingual-e5-small" in result.stdout
    assert "absent · missing" in result.stdout


def test_verify_reads_every_byte_and_says_what_is_wrong(home: Path) -> None:
    """Exit 0 and the fingerprint when right; exit 1 and both hashes when not."""
    result = RUN.invoke(app, ["verify", "own", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["fingerprint"].startswith("own@")
    (home / "models" / "own" / "weights.gguf").write_bytes(GGUF + b"!")
    result = RUN.invoke(app, ["verify", "own"])
    assert result.exit_code == 1
    assert sha(GGUF) in result.stdout
    assert sha(GGUF + b"!") in result.stdout


def test_use_checks_and_writes_the_setting(home: Path) -> None:
    """The settings file keeps its other lines and its comments."""
    file = home / "vauban.toml"
    file.write_text('# ours\nport = 8081\ngenerator = "none" # for now\n')
    assert RUN.invoke(app, ["use", "own"]).exit_code == 0
    assert file.read_text() == '# ours\nport = 8081\ngenerator = "own"\n'


def test_use_of_a_model_that_is_not_right_changes_nothing(home: Path) -> None:
    """A wrong file is never chosen."""
    (home / "models" / "own" / "weights.gguf").write_bytes(GGUF + b"!")
    result = RUN.invoke(app, ["use", "own"])
    assert isinstance(result.exception, ModelError)
    assert not (home / "vauban.toml").exists()


def test_use_says_when_the_environment_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that hides the file's setting is named."""
    monkeypatch.setenv("VAUBAN_GENERATOR", "none")
    assert "VAUBAN_GENERATOR" in RUN.invoke(app, ["use", "own"]).stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'generator = "x"\n'),
        ("port = 1\n", 'generator = "x"\nport = 1\n'),
        ('generator="y"\nport = 1', 'generator = "x"\nport = 1'),
    ],
)
def test_choosing_keeps_the_rest_of_the_file(tmp_path: Path, before: str, after: str) -> None:
    """A new setting goes first, a present one is replaced in its place."""
    (tmp_path / "v.toml").write_text(before)
    choose(tmp_path / "v.toml", "generator", "x")
    assert (tmp_path / "v.toml").read_text() == after


@pytest.mark.parametrize("before", ["port = ", '"generator" = "y"\n', "a = '''\ngenerator = 1\n'''\n"])
def test_a_file_that_cannot_be_edited_safely_is_left_alone(tmp_path: Path, before: str) -> None:
    """Nothing is written that would not say what was asked."""
    (tmp_path / "v.toml").write_text(before)
    with pytest.raises(SettingsError):
        choose(tmp_path / "v.toml", "generator", "x")
    assert (tmp_path / "v.toml").read_text() == before
