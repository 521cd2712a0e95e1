"""The outermost layer of the API: who is spoken to, by whom, how large, and what every response carries.

Host and Origin are checked before anything is read: a page of another site, or a name that an attacker made
point at this machine, gets nothing. An error that nothing foresaw ends here, without its message in the log.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import time
import urllib.parse
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag import problems
from rag.api_metrics import Metrics
from rag.api_service import Identity
from rag.errors import VaubanError
from rag.settings import Settings
from rag.streaming import leak_free

log = logging.getLogger("vauban.api")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST_BODY = 2 * 2**20
"""Bytes of a request: a question of 200,000 characters, each escaped, is still read and refused by its length."""
OWN_PATHS = ("/v1", "/healthz", "/readyz", "/version", "/metrics", "/openapi.json")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
_API_ONLY = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cache-Control": "no-store"}


class Guard:
    """Wraps the whole application, the mounted page included."""

    def __init__(self, app: ASGIApp, settings: Settings, identity: Identity, metrics: Metrics) -> None:
        self._app = app
        self._identity = identity
        named = {_host_name(name) for name in settings.hosts}
        self._hosts = LOOPBACK | named | ({settings.host.lower().strip("[]")} if _is_one_host(settings.host) else set())
        self._language = settings.language
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        language = problems.preferred(headers.get("accept-language", ""), self._language)
        scope.setdefault("state", {}).update(request_id=request_id, language=language)
        refusal = self._refusal(headers) or self._identity.admit(scope["path"], headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        answer = _Answer(send, request_id, own=_is_own(scope["path"]))
        started = time.perf_counter()
        try:
            if refusal is not None:
                await problems.response(refusal, language, request_id)(scope, receive, answer.send)
            else:
                await self._app(scope, _limited(receive), answer.send)
        except Exception as error:  # noqa: BLE001 the one handler of this entry point: nothing may answer a bare 500
            log.error("request %s failed: %s", request_id, leak_free(error))
            if answer.status is None:
                internal = VaubanError(
                    f"an internal error occurred; its number is {request_id}",
                    f"une erreur interne s'est produite ; son numéro est {request_id}",
                    code="internal",
                )
                await problems.response(internal, language, request_id)(scope, receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", "") if _is_own(scope["path"]) else "page"
            self._metrics.request(route or "none", answer.status or 0, time.perf_counter() - started)

    def _refusal(self, headers: Headers) -> problems.Refusal | None:
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return problems.Refusal(
                "this server does not answer to that host name",
                "ce serveur ne répond pas à ce nom d'hôte",
                code="wrong_host",
                status=421,
            )
        origin = headers.get("origin")
        foreign = origin is not None and urllib.parse.urlsplit(origin).netloc.lower() != host.lower()
        # A picture or a script of another site sends no Origin with a GET, but browsers say where it comes from.
        fetched = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        if foreign or fetched:
            return problems.Refusal(
                "pages of other sites may not call this server",
                "les pages d'autres sites ne peuvent pas appeler ce serveur",
                code="wrong_origin",
                status=403,
            )
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            return problems.Refusal(
                f"the request is larger than {LARGEST_BODY} bytes",
                f"la demande dépasse {LARGEST_BODY} octets",
                code="too_large",
                status=413,
                headers={"Connection": "close"},
            )
        return None


class _Answer:
    """Adds what every response carries, and remembers whether one has begun."""

    def __init__(self, send: Send, request_id: str, *, own: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._own = own
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in (_SAFE | _API_ONLY if self._own else _SAFE).items():
                headers.setdefault(name, value)
        await self._send(message)


def _limited(receive: Receive) -> Receive:
    """The same messages, until more than :data:`LARGEST_BODY` bytes have come without being announced."""
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > LARGEST_BODY:
            raise HTTPException(413)
        return message

    return limited


def _host_name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_one_host(host: str) -> bool:
    """Whether an address to listen on is also a name to be called by; ``0.0.0.0`` and ``::`` are not."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return bool(host)


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(own + "/") for own in OWN_PATHS)
