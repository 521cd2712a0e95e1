"""Which request is being worked on, and the trace that its caller has begun: W3C Trace Context, read strictly.

Nothing is exported. Who calls us with ``traceparent`` finds its trace in our logs, in our response, and in what we ask
of the model's servers; :func:`current` is how code far from the request knows it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

HEADER: Final = "traceparent"
_WRITTEN: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?", re.ASCII)
_LONGEST: Final = 200
"""Characters of a header that is looked at; a later version of the format may be longer than this one's 55."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One request: its number, and the caller's trace with our own span in it, where the caller sent one."""

    request: str
    trace: str = ""
    span: str = ""
    flags: str = "00"

    @property
    def traceparent(self) -> str:
        """What we say onwards, and back to the caller; empty without a trace."""
        return f"00-{self.trace}-{self.span}-{self.flags}" if self.trace else ""

    @property
    def headers(self) -> dict[str, str]:
        """For a request to a server of ours."""
        return {HEADER: self.traceparent} if self.trace else {}


NO_REQUEST: Final = Trace("")
_current: ContextVar[Trace] = ContextVar("vauban_trace", default=NO_REQUEST)


def current() -> Trace:
    """The request that this thread or task works for; an empty one where there is none."""
    return _current.get()


def read(request: str, given: Sequence[str]) -> Trace:
    """The trace of a request whose ``traceparent`` headers are ``given``: none, where there is not exactly one valid.

    A version that we do not know is read as far as ours goes, as the standard asks.
    """
    written = _WRITTEN.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= _LONGEST else None
    if written is None:
        return Trace(request)
    version, trace, span, flags, rest = written.groups()
    if version == "ff" or (version == "00" and rest is not None) or not (trace.strip("0") and span.strip("0")):
        return Trace(request)
    # Of the flags only the caller's wish to sample is known to us.
    return Trace(request, trace, secrets.token_hex(8), f"{int(flags, 16) & 1:02x}")


@contextmanager
def within(trace: Trace) -> Iterator[None]:
    """Let :func:`current` be ``trace`` in the block, and in the tasks and threads that take its context along."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)
