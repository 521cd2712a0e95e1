"""Logs hold events and nothing that people wrote, and nobody can write a line into them."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from rag import logs, tracing
from rag.api import create_app
from rag.logs import LogFormat, LogLevel
from rag.request_log import Pseudonyms
from tests.rag_server import QUESTION, Parts, Writer, parts

CANARY = "canari"
HOSTILE = [
    f"{CANARY}\r\n2026-01-01T00:00:00.000+00:00 ERROR forged person=root",
    f'{CANARY}", "level": "ERROR", "event": "forged", "x": "',
    f"{CANARY}\x1b[2J\x1b]0;forged\x07",
    f"{CANARY}\u2028forged\u0085forged\u202eforged",
    f"{CANARY}%s%d%n{{0}}{{request}}$(forged)",
    f"{CANARY}\x00forged",
]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer(), log="json", slow_seconds=0.000001)
    yield made
    made.catalog.close()


class Counting(logging.Handler):
    """Keeps what the real handler writes."""

    def __init__(self, kept: list[logging.LogRecord]) -> None:
        super().__init__()
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record)


def lines(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.split("\n") if line]


def hostile_requests(client: TestClient, text: str) -> None:
    """The same text wherever a caller can put it."""
    plain = "".join(sign for sign in text if " " <= sign < "\x7f")
    headers = {"User-Agent": plain, "X-Request-Id": f"{plain} ", "traceparent": plain, "Accept-Language": plain}
    body = {"model": "vauban", "messages": [{"role": "user", "content": text}], "user": text, "stream": True}
    client.post("/v1/chat/completions", json=body, headers=headers)
    client.post("/v1/chat/completions", json=body | {"model": text}, headers=headers)
    client.post("/v1/search", json={"question": text, "corpora": [text]}, headers=headers)
    client.post("/v1/feedback", json={"answer": text, "thumb": "up", "comment": text}, headers=headers)
    client.post("/v1/search", content=text.encode("utf-8", "replace"), headers=headers)
    client.get("/v1/documents", params={"q": text, text: text}, headers=headers)
    client.get(f"/v1/corpora/rh/documents/{quote(text, safe='')}")
    client.get(f"/v1/{quote(text, safe='')}")
    client.request(f"X{CANARY.upper()}", "/v1/models")


@pytest.mark.parametrize("form", LogFormat)
def test_no_line_can_be_forged_and_no_content_is_logged(vauban: Parts, form: LogFormat) -> None:
    """Whatever people send, at the level that says most: as many lines as events, and none of their words."""
    stream = io.StringIO()
    with logs.speaking(form, LogLevel.DEBUG, stream):
        events: list[logging.LogRecord] = []
        logging.getLogger().addHandler(Counting(events))
        with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client:
            for text in HOSTILE:
                hostile_requests(client, text)
    written = stream.getvalue()
    assert len(events) > 8 * len(HOSTILE)
    assert len(written.splitlines()) == len(events) == written.count("\n")
    assert CANARY not in written.lower()
    assert "forged" not in written
    assert written.isprintable() or set(written) - set(map(chr, range(32, 127))) == {"\n"}
    if form is LogFormat.JSON:
        assert {line["event"] for line in lines(written)} <= {"request", "slow request", "request %s failed"}


def test_fields_of_our_own_events_cannot_forge_either() -> None:
    """File names and the like that a later change may put into a field stay on their line, escaped."""
    for form in LogFormat:
        stream = io.StringIO()
        with logs.speaking(form, LogLevel.INFO, stream):
            for text in HOSTILE:
                logging.getLogger("ingest.test").info("file read", extra={"name_of_file": text})
        assert len(stream.getvalue().splitlines()) == len(HOSTILE)
        assert "\x1b" not in stream.getvalue()
        if form is LogFormat.JSON:
            assert all(set(line) == {"time", "level", "event", "name_of_file"} for line in lines(stream.getvalue()))


def test_a_request_is_one_event_with_its_number_person_and_counts(vauban: Parts) -> None:
    """The trace of the caller, too; the name of the person is nowhere."""
    stream = io.StringIO()
    with (
        logs.speaking(LogFormat.JSON, LogLevel.INFO, stream),
        TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as client,
    ):
        headers = {"X-Request-Id": "abc-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}
        response = client.post("/v1/chat/completions", json=body, headers=headers)
        client.get("/healthz")
        client.get("/v1/nothing", headers={"X-Request-Id": "abc-2"})
    told, slow, missing = lines(stream.getvalue())
    assert (told["event"], slow["event"]) == ("request", "slow request")
    assert (told["request"], told["trace"]) == ("abc-1", TRACE)
    assert (told["method"], told["route"], told["status"]) == ("POST", "/v1/chat/completions", 200)
    assert told["access"] == "local"
    assert len(told["person"]) == 8
    assert '"local:local"' not in stream.getvalue()
    assert response.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert slow["level"] == "WARNING"
    assert slow["outcome"] == response.json()["vauban"]["status"]
    assert slow["stages"]["total"] > 0
    assert (missing["problem"], missing["person"]) == ("unknown_path", told["person"])


def test_what_a_library_says_is_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    """Its warnings, its errors, Python's warnings, and what ends a thread: their place is told, their words are not."""
    stream = io.StringIO()
    noisy = logging.getLogger("noisy.library")
    noisy.addHandler(logging.StreamHandler())
    with logs.speaking(LogFormat.JSON, LogLevel.DEBUG, stream):
        noisy.warning("the question was %s", CANARY)
        logging.getLogger("httpx").info("GET http://localhost/?q=%s", CANARY)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"{CANARY}", UserWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: int(CANARY))
        thread.start()
        thread.join()
        try:
            int(CANARY)
        except ValueError:
            noisy.exception(CANARY)
    noisy.handlers.clear()
    told = lines(stream.getvalue())
    assert [line["event"] for line in told] == ["library", "library", "unforeseen error", "library"]
    assert told[0]["library"] == "noisy.library"
    assert told[3]["error"].startswith("ValueError at ")
    assert CANARY not in stream.getvalue() + capfd.readouterr().err


def test_events_know_the_request_that_they_belong_to() -> None:
    stream = io.StringIO()
    with logs.speaking(LogFormat.TEXT, LogLevel.INFO, stream), tracing.within(tracing.Trace("r1", TRACE, "b" * 16)):
        logging.getLogger("vauban.engine").warning("generation failed: %s", "timeout")
    assert stream.getvalue().endswith(f"WARNING generation failed: timeout request=r1 trace={TRACE}\n")


def test_logging_is_as_it_was_afterwards() -> None:
    """Levels, handlers and hooks."""
    before = logging.root.level, list(logging.root.handlers), threading.excepthook, logging.getLogger("vauban").level
    with logs.speaking(LogFormat.TEXT, LogLevel.ERROR, io.StringIO()):
        assert logging.getLogger("vauban").level == logging.ERROR
    assert (logging.root.level, logging.root.handlers, threading.excepthook, logging.getLogger("vauban").level) == (
        before
    )


def test_pseudonyms_hold_for_one_start_and_tell_nothing() -> None:
    """The same for one person, another for another, and others after a restart."""
    first, second = Pseudonyms(), Pseudonyms()
    assert first.of("key:anna") == first.of("key:anna") != first.of("oidc:anna")
    assert first.of("key:anna") != second.of("key:anna")
