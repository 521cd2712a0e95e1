"""What stands before Gradio, without Gradio: streams that never seem dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from ui.shell import BEAT, Shell


def sent(response: Response, beat: float) -> list[Message]:
    """What goes out when Gradio answers with ``response``."""
    found: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        found.append(message)

    scope = {"type": "http", "path": "/gradio_api/queue/data", "method": "GET", "headers": [], "query_string": b""}
    asyncio.run(Shell(response, "fr", beat)(Request(scope).scope, receive, send))
    return found


def slowly(media_type: str) -> StreamingResponse:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.25)
        yield b"data: 2\n\n"

    return StreamingResponse(events(), media_type=media_type)


def test_a_silent_stream_says_that_it_lives_between_its_events() -> None:
    """In comments, which every reader of such streams skips, and to a proxy that it must not be gathered up."""
    start, *rest = sent(slowly("text/event-stream"), 0.05)
    bodies = [message["body"] for message in rest]
    assert bodies[0] == b"data: 1\n\n"
    assert set(bodies[1 : bodies.index(b"data: 2\n\n")]) == {b":\n\n"}
    assert len(bodies) >= 5
    assert not rest[-1]["more_body"]
    headers = dict(start["headers"])
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"cache-control"] == b"no-store"


def test_a_stream_that_speaks_often_enough_is_left_alone() -> None:
    """And so is what is no stream of events: a comment would be part of it."""
    for response in (slowly("text/event-stream"), slowly("application/json")):
        bodies = [message["body"] for message in sent(response, 5.0)[1:]]
        assert bodies == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert b":\n\n" not in [message["body"] for message in sent(slowly("application/json"), 0.05)[1:]]


def test_the_sign_of_life_comes_before_a_proxy_gives_up() -> None:
    """At most five seconds, with one of them for a machine that is busy."""
    assert BEAT <= 4.0
