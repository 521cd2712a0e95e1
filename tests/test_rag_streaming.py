"""Streams over a real server: their order, their heartbeat, and a model that stops when its reader leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag import schemas, streaming
from rag.api import create_app
from rag.errors import Overloaded
from rag.types import Answer, Event, Question, Reading, Status, Told, Waiting
from tests.rag_server import LEAVE, QUESTION, Parts, Writer, parts, serving, slow_writer

pytestmark = pytest.mark.alone

SOON = 2.0
"""Seconds within which a model must have stopped."""


def asked(stream: bool, **more: object) -> dict[str, object]:
    return {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stream": stream, **more}


def streamed(url: str, body: dict[str, object]) -> tuple[list[dict[str, Any]], list[str]]:
    """The events of a stream as JSON, and all its lines."""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, trust_env=False) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")], lines


def send(url: str, body: dict[str, object]) -> socket.socket:
    """A request on a bare connection, so that it can be dropped at any moment."""
    host, port = url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.catalog.close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, slow_writer())
    yield made
    made.catalog.close()


def writer(vauban: Parts) -> Writer:
    assert isinstance(vauban.generator, Writer)
    return vauban.generator


def test_a_stream_has_the_order_of_the_design(vauban: Parts) -> None:
    """Role and passages, text, annotations and verdicts, the whole object, usage, the end."""
    with serving(create_app(vauban)) as url:
        events, lines = streamed(url, asked(True, stream_options={"include_usage": True}))
    first, *texts, verdicts, last, usage = events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["vauban"]["status"] is None
    assert LEAVE in [passage["text"] for passage in first["vauban"]["passages"]]
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in texts)
    assert verdicts["choices"][0]["delta"]["annotations"]
    assert verdicts["vauban"] == {"claims": last["vauban"]["claims"]}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert set(last["vauban"]) == set(schemas.Vauban.model_fields)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    assert lines[-1] == "data: [DONE]"


def test_a_stream_says_the_same_as_a_plain_answer(vauban: Parts) -> None:
    """The pieces joined are the content, and annotations point into it."""
    with serving(create_app(vauban)) as url:
        events, _ = streamed(url, asked(True))
        plain = httpx.post(f"{url}/v1/chat/completions", json=asked(False), trust_env=False).json()
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in events)
    assert text == plain["choices"][0]["message"]["content"]
    verdicts = next(chunk for chunk in events if "annotations" in chunk["choices"][0]["delta"])
    assert verdicts["choices"][0]["delta"]["annotations"] == plain["choices"][0]["message"]["annotations"]


def test_every_event_is_a_chunk(vauban: Parts) -> None:
    """Clients that know nothing of `vauban` find what they look for in each event."""
    with serving(create_app(vauban)) as url:
        events, _ = streamed(url, asked(True))
    assert {chunk["object"] for chunk in events} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in events}) == 1
    for chunk in events:
        assert isinstance(schemas.Chunk.model_validate(chunk), schemas.Chunk)
        assert "finish_reason" in chunk["choices"][0]


def test_a_silent_model_does_not_look_dead(slow: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment is sent while nothing can be said."""
    monkeypatch.setattr(streaming.Running.events, "__defaults__", (0.1,))
    with (
        serving(create_app(slow)) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=asked(True), trust_env=False) as response,
    ):
        assert ": still here" in response.iter_lines()


def test_the_passages_come_before_the_model_has_written(slow: Parts) -> None:
    """They are on their way within a second, with the model busy for a minute and the word lists read."""
    slow.engine.search(Question(QUESTION, slow.local))
    with serving(create_app(slow)) as url:
        started = time.monotonic()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked(True), trust_env=False) as response:
            first = next(line for line in response.iter_lines() if line)
    assert "passages" in first
    assert time.monotonic() - started < SOON


def test_a_reader_of_a_stream_who_leaves_stops_the_model(slow: Parts) -> None:
    """The connection drops while the model writes."""
    with serving(create_app(slow)) as url:
        connection = send(url, asked(True))
        assert connection.recv(64)
        assert writer(slow).begun.wait(SOON)
        connection.close()
        assert writer(slow).stopped.wait(SOON)


def test_a_reader_of_a_plain_answer_who_leaves_stops_the_model(slow: Parts) -> None:
    """The connection drops while the whole answer is being made."""
    with serving(create_app(slow)) as url:
        connection = send(url, asked(False))
        assert writer(slow).begun.wait(SOON)
        connection.close()
        assert writer(slow).stopped.wait(SOON)
        abandoned = "vauban_answers_abandoned_total 1"
        deadline = time.monotonic() + SOON
        while abandoned not in (text := httpx.get(f"{url}/metrics", trust_env=False).text):
            assert time.monotonic() < deadline, text


def test_a_reader_who_leaves_the_queue_gives_up_the_place(slow: Parts) -> None:
    """Whoever waits is told the place, and leaving while waiting lets the next one in."""
    with serving(create_app(slow)) as url:
        first = send(url, asked(True))
        assert writer(slow).begun.wait(SOON)
        second = send(url, asked(True))
        received = b""
        while b'"waiting":1' not in received:
            received += second.recv(65_536)
        second.close()
        first.close()
        assert writer(slow).stopped.wait(SOON)
        deadline = time.monotonic() + SOON
        while "vauban_answers_running 0" not in httpx.get(f"{url}/metrics", trust_env=False).text:
            assert time.monotonic() < deadline


def test_a_full_queue_is_a_429_that_says_when_to_come_back(tmp_path: Path) -> None:
    """Streaming or not, the status is right, because it is known before anything is sent."""
    vauban = parts(tmp_path, slow_writer(), queue=1)
    with serving(create_app(vauban)) as url:
        held = [send(url, asked(True)), send(url, asked(True))]
        assert [bool(connection.recv(64)) for connection in held] == [True, True]
        refused = httpx.post(f"{url}/v1/chat/completions", json=asked(True), trust_env=False)
        for connection in held:
            connection.close()
    vauban.catalog.close()
    assert refused.status_code == 429
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) > 0


def test_each_place_at_the_model_lets_one_more_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`queue` questions wait besides those that several servers write at the same time, and a server may come later."""
    vauban = parts(tmp_path, slow_writer(), queue=1)
    with serving(create_app(vauban)) as url:
        one_more = replace(writer(vauban).queue, places=2)
        monkeypatch.setattr(Writer, "queue", one_more)
        held = [send(url, asked(True)) for _ in range(3)]
        assert b"200 OK" in held[2].recv(64)
        assert [bool(connection.recv(64)) for connection in held[:2]] == [True, True]
        refused = httpx.post(f"{url}/v1/chat/completions", json=asked(True), trust_env=False)
        for connection in held:
            connection.close()
    vauban.catalog.close()
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")


def test_nobody_takes_all_the_places(tmp_path: Path) -> None:
    """One person's questions are bounded below what the queue holds, and the refusal says that they are theirs."""
    vauban = parts(tmp_path, slow_writer(), queue_per_user=2)
    with serving(create_app(vauban)) as url:
        held = [send(url, asked(True)), send(url, asked(True))]
        assert [bool(connection.recv(64)) for connection in held] == [True, True]
        refused = httpx.post(f"{url}/v1/chat/completions", json=asked(True), trust_env=False)
        for connection in held:
            connection.close()
    vauban.catalog.close()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_of_yours")


def test_a_model_that_takes_too_long_leaves_the_extracts(tmp_path: Path) -> None:
    """The deadline of an answer stops the model; the texts still are an answer."""
    vauban = parts(tmp_path, slow_writer(), answer_seconds=1)
    with serving(create_app(vauban)) as url:
        plain = httpx.post(f"{url}/v1/chat/completions", json=asked(False), timeout=20, trust_env=False)
    vauban.catalog.close()
    assert plain.json()["vauban"]["status"] == "extracts"
    assert writer(vauban).stopped.is_set()


def test_a_full_queue_found_late_is_an_error_event(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's own refusal comes after the passages: the stream then says so in OpenAI's way, and ends."""

    def full(*_: object, **__: object) -> Iterator[str]:
        raise Overloaded("full", "pleine")

    monkeypatch.setattr(Writer, "stream", full)
    with serving(create_app(vauban)) as url:
        events, lines = streamed(url, asked(True))
    assert events[0]["vauban"]["passages"]
    assert events[-1]["error"]["code"] == "overloaded"
    assert events[-1]["status"] == 429
    assert lines[-1] == "data: [DONE]"


def test_an_unforeseen_error_ends_the_stream_and_quotes_nobody(
    vauban: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader gets an error event; the log has the place of the error and not its message."""

    def broken(*_: object, **__: object) -> Iterator[str]:
        raise RuntimeError("texte que quelqu'un a écrit")

    monkeypatch.setattr(Writer, "stream", broken)
    with serving(create_app(vauban)) as url:
        events, _ = streamed(url, asked(True))
    assert events[-1]["error"]["code"] == "internal"
    assert "RuntimeError at" in caplog.text
    assert "quelqu'un" not in caplog.text


def test_a_server_that_stops_stops_its_answers(slow: Parts) -> None:
    """No thread is left writing for a minute."""
    with serving(create_app(slow)) as url:
        connection = send(url, asked(True))
        assert writer(slow).begun.wait(SOON)
    assert writer(slow).stopped.wait(SOON)
    connection.close()


def test_an_event_is_one_line_for_every_reader() -> None:
    """Texts hold line ends that JSON lets through and that some clients split at."""
    sent = streaming.event(json.dumps("a\u2028b\u2029c\x85d", ensure_ascii=False)).decode()
    assert sent.strip().splitlines() == [sent.strip()]
    assert json.loads(sent[6:]) == "a\u2028b\u2029c\x85d"


def test_leaving_the_events_closes_the_engine() -> None:
    """Even an engine that never asks whether it is cancelled is closed at its next event."""
    closed = threading.Event()

    def endless() -> Iterator[Event]:
        try:
            while True:
                time.sleep(0.01)
                yield Answer(Status.REFUSED, "", "fr", "")
        finally:
            closed.set()

    async def read_one() -> None:
        answers = streaming.Answers(lambda: 1, 1)
        async for made in answers.start(lambda cancelled, waiting: endless(), "local:a").events():
            assert made is not None
            break
        await asyncio.sleep(0)
        answers.close()

    asyncio.run(read_one())
    assert closed.wait(SOON)


def test_whoever_waited_is_told_when_their_turn_has_come() -> None:
    """And does not read that they are next while the model reads for them; whoever never waited is told nothing."""

    async def heard(*told: Told) -> list[Event | None]:
        def make(cancelled: Callable[[], bool], tell: Callable[[Told], None]) -> Iterator[Event]:
            for one in told:
                tell(one)
            yield Answer(Status.REFUSED, "", "fr", "")

        answers = streaming.Answers(lambda: 1, 1)
        found = [made async for made in answers.start(make, "local:a").events()]
        answers.close()
        return found[:-1]

    assert asyncio.run(heard(Waiting(1), Reading(5, 0))) == [Waiting(1), Waiting(0)]
    assert asyncio.run(heard(Reading(5, 0))) == []
