"""``vauban audit``: the same through a running server and at a home that no server owns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rag import __main__ as command
from rag.api import create_app
from rag.audit import Records
from rag.auditing import expired
from rag.database import Database
from rag.errors import VaubanError
from rag.home import Server
from rag.recording import Asked, finish
from rag.records import Draft, RecordKind
from rag.types import Question
from tests.rag_server import QUESTION, TOKEN, Parts, Writer, parts, serving

RUN = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the commands of the test, with models that need no files."""
    folder = tmp_path / "home"
    for name, value in {"HOME": folder, "EMBEDDER": "fake", "GENERATOR": "fake", "LOCAL_GROUPS": "agents"}.items():
        monkeypatch.setenv(f"VAUBAN_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    command._assemble()
    return folder


def run(*words: object, code: int = 0) -> str:
    """What a command prints; it ends with ``code``."""
    done = RUN.invoke(command.app, [str(word) for word in words])
    if isinstance(done.exception, VaubanError):
        assert command.exit_code(done.exception) == code, done.exception
        return done.exception.en
    assert done.exit_code == code, done.output
    return done.stdout


def said(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code))


@pytest.mark.slow
def test_a_question_on_the_command_line_leaves_a_record(home: Path) -> None:
    """It can be shown, replayed, exported, erased and verified without a server."""
    said("ask", QUESTION)
    whole = said("audit", "verify")
    assert (whole["whole"], whole["records"]) == (True, 1)
    shown = said("audit", "show", 1)
    assert (shown["content"]["question"], shown["content"]["owner"]) == (QUESTION, "local:local")
    assert shown["id"].startswith("chatcmpl-")
    assert said("audit", "replay", shown["id"])["equal"] is True
    lines = [json.loads(line) for line in run("audit", "export").splitlines()]
    assert [line["kind"] for line in lines] == ["answer", "view", "replay"]
    assert [line["content"] for line in lines] == [None] * 3
    file = home / "out.jsonl"
    run("audit", "export", file, "--content", "--since", 0)
    assert QUESTION in file.read_text(encoding="utf-8")
    assert said("audit", "erase", "--person", "local")["erased"] == 1
    assert said("audit", "show", 1)["content_state"] == "erased"
    assert "erased" in run("audit", "show", 1)
    assert said("audit", "verify", "--head", whole["head"])["erased"] == 1
    database = sqlite3.connect(home / "catalog.sqlite")
    database.execute("DELETE FROM records WHERE seq = 2")
    database.commit()
    database.close()
    printed = run("audit", "verify", code=1)
    assert "removed 2" in printed
    assert "unlinked 3" in printed


def test_what_makes_no_sense_is_refused(home: Path) -> None:
    """With exit code 2, before anything is touched."""
    assert "exactly one" in run("audit", "erase", code=2)
    assert "is not a date" in run("audit", "erase", "--before", "hier", code=2)
    assert "COUNT:HASH" in run("audit", "verify", "--head", "3", code=2)
    assert "no such record" in run("audit", "show", 1, code=2)
    assert home.exists()


@pytest.fixture
def served(tmp_path: Path, home: Path) -> Iterator[Parts]:
    """A server that owns the home of the commands."""
    vauban = parts(tmp_path, Writer())
    assert vauban.home.root == home
    with serving(create_app(vauban, token=TOKEN)) as url:
        vauban.home.announce(Server.here(url, TOKEN))
        yield vauban
        vauban.home.withdraw()
    vauban.database.close()


@pytest.mark.slow
def test_the_commands_go_through_the_running_server(served: Parts) -> None:
    """And say the same."""
    question = Question(QUESTION, served.local)
    finish(served, Asked("chatcmpl-1", question), served.engine.answer(question))
    assert said("audit", "verify")["records"] == 1
    assert said("audit", "show", "chatcmpl-1")["content"]["question"] == QUESTION
    done = said("audit", "replay", "chatcmpl-1")
    assert (done["equal"], done["passages"], done["answer"]) == (True, True, True)
    assert len(run("audit", "export").splitlines()) == 3
    assert "intacte" in run("audit", "verify")
    assert said("audit", "erase", "--answer", "chatcmpl-1")["erased"] == 1
    assert said("audit", "erase", "--before", "2001-01-01")["erased"] == 0
    assert "effacé" in run("audit", "replay", "chatcmpl-1", code=2)
    assert said("audit", "verify")["erased"] == 1


# --- retention


def test_contents_past_their_days_are_erased_and_0_days_keep_them(tmp_path: Path) -> None:
    """The record of it says that no person did."""
    database = Database.open(tmp_path / "catalog.sqlite")
    records = Records.open(database, tmp_path)
    records.append(Draft(RecordKind.ANSWER, {}, {"question": "?"}, "key:a", "chatcmpl-1", "answered"))
    assert expired(records, 1)
    assert expired(records, 0)
    assert records.head.count == 1
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE records SET at = '2001-01-01T00:00:00.000000+00:00'")
    assert expired(records, 0)
    assert records.head.count == 1
    assert expired(records, 30)
    assert records.read("2").body == {"by": "retention", "reason": "before", "records": [[1, 1]]}
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM record_contents").scalar() == 0
    database.close()
