"""What stands before Gradio: only the addresses that the page uses, and a page that can reach this server alone.

Gradio serves much more than one page needs (uploads, files, a proxy, an API of its own, run history); all of that
answers 404 here. The browser is told by a content security policy to load from and talk to this origin only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
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
    re.VERBOSE,
)
_VISIT: Final = re.compile(r"/heartbeat/(\w+)\Z")
_WORD: Final = "session_hash"
_MARKETING: Final = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>|\s*<link rel="manifest"[^>]*>')
_LANGUAGE: Final = re.compile(rb'<html\s+lang="\w*"')


MOST_VISITS: Final = 10_000


class Visits:
    """Whose each open page is. Gradio knows a page by a word that the browser makes up, and gives what it shows to
    whoever names that word; here it is the first person's who did."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()

    def admits(self, visit: str, person: str) -> bool:
        """Whether a page is this person's; one that is new becomes so."""
        owner = self._owners.setdefault(visit, person)
        self._owners.move_to_end(visit)
        if len(self._owners) > MOST_VISITS:
            self._owners.popitem(last=False)
        return owner == person


class Shell:
    """Wraps Gradio's application; ``language`` is that of the page before anyone chose."""

    def __init__(self, app: ASGIApp, language: str) -> None:
        self._app = app
        self._language = language
        self._visits = Visits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        path = scope["path"]
        if not _ADDRESSES.fullmatch(path) or ".." in path:
            raise HTTPException(404)
        visits = [*_VISIT.findall(path), *parse_qs(scope.get("query_string", b"").decode("latin-1")).get(_WORD, ())]
        if not all(self._visits.admits(visit, person(scope)) for visit in visits):
            raise HTTPException(404)
        if path == "/":
            scope = {**scope, "query_string": b""}  # deep links and themes by query are not for this page
            send = _Page(send, self._language).send
        await self._app(scope, receive, send)


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
