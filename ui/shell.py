"""What stands before Gradio: only the addresses that the page uses, and a page that can reach this server alone.

Gradio serves much more than one page needs (uploads, files, a proxy, an API of its own, run history); all of that
answers 404 here. The browser is told by a content security policy to load from and talk to this origin only.

Gradio knows an open page by a word that the browser makes up, tells what happens on it to whoever names that word, and
does in its place what they send. Here a page is its first person's: wherever another names it, in an address or in what
is sent, there is nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, OrderedDict
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        # Gradio starts from inline scripts and compiles its templates in the browser.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)

_ADDRESSES: Final = re.compile(
    r"""
    / | /config | /theme\.css | /favicon\.ico | /robots\.txt
    | /(?:assets|static)/[\w./@+-]+
    | /gradio_api/(?:queue/(?:join|data)|cancel|reset|startup-events|heartbeat/\w+|info|app_id|theme\.css)
    """,
    re.VERBOSE | re.ASCII,
)
_IN_PATH: Final = re.compile(r"/heartbeat/(\w+)\Z")
_IN_BODY: Final = frozenset({"/gradio_api/queue/join", "/gradio_api/cancel"})
"""Where a page is named in what is sent."""
_FIELD: Final = "session_hash"
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""How a page is named. Gradio takes anything, nothing at all included, which would be everybody's."""
_MARKETING: Final = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>|\s*<link rel="manifest"[^>]*>')
_LANGUAGE: Final = re.compile(rb'<html\s+lang="\w*"')


MOST_VISITS: Final = 10_000
"""Pages whose person is remembered: as many as Gradio remembers the state of."""
MOST_OF_ONE: Final = 200
"""Of them those of one person: beyond these their own are forgotten, and nobody else's."""
BEAT: Final = 4.0
"""Seconds after which a silent stream says that it lives; Gradio's own 15 are more than the 10 of many proxies."""


class Visits:
    """Whose each open page is: the first person's who named it."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._held: Counter[str] = Counter()

    def admits(self, visit: str, person: str) -> bool:
        """Whether a page is this person's; one that is new becomes so."""
        owner = self._owners.get(visit)
        if owner is None:
            if self._held[person] >= MOST_OF_ONE:
                self._forget(next(one for one, whose in self._owners.items() if whose == person))
            if len(self._owners) >= MOST_VISITS:
                self._forget(next(iter(self._owners)))
            self._owners[visit] = owner = person
            self._held[person] += 1
        if owner == person:  # what somebody else names in vain is not kept the longer for it
            self._owners.move_to_end(visit)
        return owner == person

    def _forget(self, visit: str) -> None:
        owner = self._owners.pop(visit)
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]


class Shell:
    """Wraps Gradio's application; ``language`` is that of the page before anyone chose.

    No event stream is silent for much longer than ``beat`` seconds, and none is gathered up by a proxy.
    """

    def __init__(self, app: ASGIApp, language: str, beat: float = BEAT) -> None:
        self._app = app
        self._language = language
        self._beat = beat
        self._visits = Visits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        path = scope["path"]
        if not _ADDRESSES.fullmatch(path) or ".." in path:
            raise HTTPException(404)
        self._check(_addressed(scope), scope)
        if path in _IN_BODY:
            body = await _whole(receive)
            self._check(_sent(body), scope)
            receive = _again(body, receive)
        if path in {"/", "/config"}:
            scope = {**scope, "query_string": b""}  # deep links and themes by query are not for this page
        if path == "/":
            send = _Page(send, self._language).send
        living = _Living(send, self._beat)
        try:
            await self._app(scope, receive, living.send)
        finally:
            await living.end()

    def _check(self, visits: list[object], scope: Scope) -> None:
        """Refuse whoever names a page that is not theirs.

        Raises:
            HTTPException: 400, what should name a page does not; 404, it is another's.
        """
        named = [visit for visit in visits if isinstance(visit, str) and _WORD.fullmatch(visit)]
        if len(named) < len(visits):
            raise HTTPException(400)
        if not all(self._visits.admits(visit, person(scope)) for visit in named):
            raise HTTPException(404)


def _addressed(scope: Scope) -> list[object]:
    """The pages that an address names: each of them, whichever one is read behind."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return [*_IN_PATH.findall(scope["path"]), *query.get(_FIELD, ())]


def _sent(body: bytes) -> list[object]:
    """The pages that a message names: each of them, whichever of two equal members is read behind.

    Raises:
        HTTPException: 400, it is no object in JSON, or names none.
    """
    try:
        said = json.loads(body, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400) from error
    named = [value for name, value in said if name == _FIELD] if isinstance(said, tuple) else []
    if not named:
        raise HTTPException(400)
    return named


async def _whole(receive: Receive) -> bytes:
    """A message as it was sent; the guard before this application bounds it."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":  # its sender has left
            raise HTTPException(400)
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """The message once more, and then what comes on the connection."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def person(scope: Scope) -> str:
    """The person of a request, as the guard before this application noted it; empty for one that nobody admitted."""
    standing = scope.get("state", {}).get("standing")
    return "" if standing is None else str(standing.principal.owner)


class _Page:
    """The page itself, gathered to be rewritten: no addresses of elsewhere, the right language, the policy."""

    def __init__(self, send: Send, language: str) -> None:
        self._send = send
        self._language = language.encode()
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":  # what a test's client is told of templates
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = _LANGUAGE.sub(b'<html lang="%s"' % self._language, _MARKETING.sub(b"", self._body), count=1)
        headers = MutableHeaders(scope=self._start)
        if "content-length" in headers:
            headers["Content-Length"] = str(len(body))
        headers["Content-Security-Policy"] = POLICY
        headers["Cache-Control"] = "no-store"
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


class _Living:
    """A response that, when it is an event stream, says a comment wherever the events pause."""

    def __init__(self, send: Send, beat: float) -> None:
        self._send = send
        self._beat = beat
        self._turn = asyncio.Lock()
        self._last = 0.0
        self._beating: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("content-type", "").startswith("text/event-stream"):
                headers["X-Accel-Buffering"] = "no"
                headers["Cache-Control"] = "no-store"
                self._last = asyncio.get_running_loop().time()
                self._beating = asyncio.create_task(self._beats())
        elif not message.get("more_body"):
            await self.end()
        async with self._turn:
            self._last = asyncio.get_running_loop().time()
            await self._send(message)

    async def end(self) -> None:
        """Say nothing more."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._last + self._beat - asyncio.get_running_loop().time()))
            async with self._turn:
                now = asyncio.get_running_loop().time()
                if now >= self._last + self._beat:
                    self._last = now
                    await self._send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
