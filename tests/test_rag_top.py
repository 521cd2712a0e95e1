"""The live view: what a running server says of itself, to whom, and how a terminal shows it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from starlette.testclient import TestClient

from rag import __main__ as command
from rag import schemas
from rag.api import create_app
from rag.errors import StoreError
from rag.home import Server
from rag.settings import Settings
from rag.top import duration, size, view
from rag.types import Principal, Role, RunState
from tests.people import People
from tests.rag_server import QUESTION, TOKEN, Parts, Writer, parts, serving, slow_writer

OWNER = {"Authorization": f"Bearer {TOKEN}"}
ASKED = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, slow_writer())
    yield made
    made.catalog.close()


def drawn(live: schemas.LiveView) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(view(live))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_view_shows_who_waits_and_what_runs(slow: Parts) -> None:
    """An answer in the making with its stage, under a pseudonym; an ingestion; and the sums."""
    slow.catalog.add_run("rh", RunState.RUNNING)
    with serving(create_app(slow, token=TOKEN)) as url:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=ASKED | {"stream": True}, trust_env=False, timeout=30
        ) as response:
            lines = response.iter_lines()
            next(lines)
            assert isinstance(slow.generator, Writer)
            assert slow.generator.begun.wait(5)
            sent = httpx.get(f"{url}/v1/live", headers=OWNER, trust_env=False)
        live = schemas.LiveView.model_validate_json(sent.content)
    (answer,) = live.answers
    assert answer.stage == "reading"
    assert len(answer.person) == 8
    assert QUESTION not in sent.text
    assert "local" not in sent.text
    assert [(run.corpus, run.state) for run in live.runs] == [("rh", "running")]
    assert (live.corpora, live.documents) == (3, 6)
    assert live.ready.ready
    text = drawn(live)
    assert answer.person in text
    assert "reading" in text
    assert "3 corpora, 6 documents" in text


def test_answers_of_the_last_minute_are_summed_up(tmp_path: Path) -> None:
    """Statuses, and how long each stage took."""
    vauban = parts(tmp_path, Writer())
    with serving(create_app(vauban, token=TOKEN)) as url:
        for _ in range(2):
            httpx.post(f"{url}/v1/chat/completions", json=ASKED, trust_env=False, timeout=30)
        live = schemas.LiveView.model_validate_json(httpx.get(f"{url}/v1/live", headers=OWNER, trust_env=False).content)
    assert sum(live.statuses.values()) == 2
    stages = {one.stage: one for one in live.stages}
    assert 0 < stages["total"].p50 <= stages["total"].p95
    assert "last minute: 2 " in drawn(live)
    vauban.catalog.close()


def test_only_who_runs_the_server_sees_it(tmp_path: Path) -> None:
    """Not even whoever uses the machine without login: ingestions are named with their corpus."""
    vauban = parts(tmp_path)
    with serving(create_app(vauban, token=TOKEN)) as url:
        for headers in ({}, {"Vauban-As": "direction"}):
            refused = httpx.get(f"{url}/v1/live", headers=headers, trust_env=False)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    vauban.catalog.close()


def test_an_administrator_sees_the_runs_and_sums_of_what_they_see_and_their_key_is_for(tmp_path: Path) -> None:
    """A run names its corpus, whose very name may be restricted; the machine's own work is its user's."""
    all_of = Principal("anne", frozenset({"agents", "direction"}), 9, roles=frozenset({Role.ADMINISTRATOR}))
    one = replace(all_of, name="bea", corpora=frozenset({"rh"}))
    few = replace(all_of, name="carl", groups=frozenset(), clearance=0)
    vauban = parts(tmp_path)
    for corpus in ("rh", "finances", "secret", ""):
        vauban.catalog.add_run(corpus, RunState.RUNNING)
    with TestClient(
        create_app(vauban, identity=People([all_of, one, few])), base_url="http://127.0.0.1:8080"
    ) as client:

        def seen(who: str) -> tuple[set[str], int]:
            live = schemas.LiveView.model_validate_json(
                client.get("/v1/live", headers={"Authorization": f"Bearer {who}"}).content
            )
            return {run.corpus for run in live.runs}, live.corpora

        assert seen("anne") == ({"rh", "finances", "secret"}, 3)
        assert seen("bea") == ({"rh"}, 1)
        assert seen("carl") == ({"rh"}, 1)
    vauban.catalog.close()


def test_the_command_reads_the_running_server(
    slow: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once as JSON, or again and again until it is interrupted; without a server it says what to do."""
    monkeypatch.setattr(Settings, "load", lambda: slow.settings)
    with pytest.raises(StoreError, match="vauban serve") as refused:
        command.top(as_json=True)
    assert command.exit_code(refused.value) == 1
    with serving(create_app(slow, token=TOKEN)) as url:
        slow.home.announce(Server.here(url, TOKEN))
        command.top(as_json=True)
        read = schemas.LiveView.model_validate(json.loads(capsys.readouterr().out))
        assert read.queue is not None
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(command, "time", type("Clock", (), {"sleep": staticmethod(sleep), "time": time.time}))
        command.top(seconds=0.5)
    assert slept == [0.5, 0.5]
    assert f"Vauban {read.version}" in capsys.readouterr().out


def test_a_name_of_a_corpus_cannot_draw(slow: Parts) -> None:
    """Neither markup nor what a terminal obeys."""
    slow.catalog.add_run("[red]rh\x1b[2J", RunState.RUNNING)
    with serving(create_app(slow, token=TOKEN)) as url:
        sent = httpx.get(f"{url}/v1/live", headers=OWNER, trust_env=False).content
    text = drawn(schemas.LiveView.model_validate_json(sent))
    assert "[red]rh\\u001b[2J" in text


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (65, "1 min 05 s"), (7_260, "2 h 01 min")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(9, "9 B"), (2_048, "2 KiB"), (3 * 2**30, "3.0 GiB")])
def test_sizes_are_short(count: int, text: str) -> None:
    assert size(count) == text
