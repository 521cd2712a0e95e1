"""The caller's trace: read strictly, carried on, and never a way to write into logs or headers."""

from __future__ import annotations

import re

import pytest

from rag import tracing
from rag.tracing import Trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-ff", "01"),
        (f"cc-{TRACE}-{SPAN}-01", "01"),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", "01"),
    ],
)
def test_a_valid_trace_goes_on_with_a_span_of_ours(given: str, flags: str) -> None:
    """Also of a later version of the format, as far as this one goes."""
    trace = tracing.read("r", [given])
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-{flags}", trace.traceparent)
    assert trace.span != SPAN
    assert trace.headers == {"traceparent": trace.traceparent}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
        f"cc-{TRACE}-{SPAN}-01-\r\nSet-Cookie: a=b",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 400}",
        f"00-{TRACE.replace('4', '٤')}-{SPAN}-01",
    ],
)
def test_what_is_no_trace_is_left_alone(given: str) -> None:
    """The request is answered all the same, and nothing of it is repeated."""
    assert tracing.read("r", [given]) == Trace("r")


def test_two_traces_are_none() -> None:
    """Nobody can say which of them is meant."""
    assert tracing.read("r", [f"00-{TRACE}-{SPAN}-01"] * 2) == Trace("r")
    assert tracing.read("r", []).headers == {}


def test_the_current_request_is_known_inside_its_block_only() -> None:
    with tracing.within(Trace("outer")), tracing.within(Trace("inner")):
        assert tracing.current() == Trace("inner")
    assert tracing.current() == Trace("")
