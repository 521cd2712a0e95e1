"""One event at the end of each request, and a warning for a slow one: ids, counts and durations, never a content.

People appear under a pseudonym that holds until the server stops: enough to see that ten slow requests are one
person's, and of no use to whoever reads an old log. Who it was is in the records, for those who may read them.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from rag.logs import Field
from rag.types import Principal

log = logging.getLogger("vauban.requests")

SLOW: Final = 2.0
"""Seconds after which a request that makes no answer is slow: a search takes hundredths of one."""
QUIET: Final = frozenset({"page", "/healthz", "/readyz", "/metrics", "/v1/live"})
"""Routes that are asked all the time, and are events for debugging only."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STREAM: Final = "text/event-stream"

Scope = MutableMapping[str, Any]
"""What ASGI says of a request."""


class Pseudonyms:
    """Short names for people, which nobody can turn back, and others for the same people after the next start."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, owner: str) -> str:
        return hashlib.blake2b(owner.encode(), key=self._key, digest_size=4).hexdigest()


_noted: ContextVar[dict[str, Field] | None] = ContextVar("vauban_noted", default=None)


@contextmanager
def noting() -> Iterator[None]:
    """A request: what is noted in the block, also by threads that take its context along, belongs to its event."""
    token = _noted.set({})
    try:
        yield
    finally:
        _noted.reset(token)


def note(**fields: Field) -> None:
    """Add fields to the event of the request that is worked on; those of one name replace each other."""
    noted = _noted.get()
    if noted is not None:
        noted.update(fields)


def problem() -> str:
    """The code of the error that the request was answered with; empty without one."""
    return str((_noted.get() or {}).get("problem", ""))


def identified(scope: Scope, principal: Principal) -> None:
    """Note who calls."""
    scope.setdefault("state", {})["principal"] = principal


class RequestLog:
    """Writes the events of requests. ``slow`` is from how many seconds on an answer is slow."""

    def __init__(self, slow: float, pseudonyms: Pseudonyms) -> None:
        self._slow = slow
        self._pseudonyms = pseudonyms

    def ended(self, scope: Scope, route: str, status: int, seconds: float, media_type: str = "") -> None:
        """A request is over; ``route`` is a template, because paths hold names of documents."""
        state: Mapping[str, Any] = scope.get("state", {})
        noted = _noted.get() or {}
        method = str(scope.get("method", ""))
        fields: dict[str, Field] = {
            "request": state.get("request_id", ""),
            "method": method if method in METHODS else "other",
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        principal = state.get("principal") or getattr(state.get("standing"), "principal", None)
        if isinstance(principal, Principal):
            fields |= {"access": principal.access.value, "person": self._pseudonyms.of(principal.owner)}
        fields |= noted
        if route in QUIET and status < 500:
            log.debug("request", extra=fields)
        else:
            log.info("request", extra=fields)
        answered = "outcome" in noted
        # A stream that follows a run lasts as long as the run.
        if seconds > (self._slow if answered else SLOW) and (answered or media_type != _STREAM):
            log.warning("slow request", extra=fields)
