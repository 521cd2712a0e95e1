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
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag import problems, request_log, tracing
from rag.api_service import Identity
from rag.errors import OperatorError, VaubanError
from rag.metrics import Metrics
from rag.request_log import RequestLog
from rag.settings import Settings
from rag.streaming import leak_free

log = logging.getLogger("vauban.api")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST_BODY = 2 * 2**20
"""Bytes of a request: a question of 200,000 characters, each escaped, is still read and refused by its length."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/healthz", "/sign-in.css"})
"""What is answered to anybody: the probe of life, and how the sign-in page looks. Compared whole with the path by which
the route is chosen, decoded as it is there: nothing that only begins or is written like one of them is open."""
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
"""The addresses that ask who calls, and are answered when nobody is known."""
READY = "/readyz"
"""Answered to anybody with ready or not ready, for balancers; the parts are for those who run the service."""
OWN_PATHS = (
    "/v1",
    SIGN_IN,
    SIGN_OUT,
    "/sign-in.css",
    "/healthz",
    "/readyz",
    "/version",
    "/metrics",
    "/openapi.json",
)
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::[0-9]{0,5})?")
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

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        identity: Identity,
        metrics: Metrics,
        log: RequestLog,
        uploads: Mapping[str, int] | None = None,
    ) -> None:
        """``uploads`` gives more room than :data:`LARGEST_BODY` to the paths that a pattern matches whole."""
        self._app = app
        self._identity = identity
        named = {_host_name(name) for name in settings.hosts}
        self._hosts = LOOPBACK | named | ({settings.host.lower().strip("[]")} if _is_one_host(settings.host) else set())
        self._language = settings.language
        self._metrics = metrics
        self._log = log
        self._uploads = [(re.compile(pattern), most) for pattern, most in (uploads or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        language = problems.preferred(headers.get("accept-language", ""), self._language)
        scope.setdefault("state", {}).update(request_id=request_id, language=language)
        with tracing.within(tracing.read(request_id, headers.getlist(tracing.HEADER))), request_log.noting():
            await self._guarded(scope, receive, send, headers, request_id, language)

    async def _guarded(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str, language: str
    ) -> None:
        if scope["type"] == "websocket":
            refusal = await self._admitted(scope)
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        answer = _Answer(send, request_id, own=_is_own(scope["path"]))
        started = time.perf_counter()
        try:
            refusal = await self._admitted(scope)
            if refusal is not None:
                await self._refused(refusal, scope, headers, language, request_id)(scope, receive, answer.send)
            else:
                await self._app(scope, _limited(receive, self._most(scope["path"])), answer.send)
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
            seconds = time.perf_counter() - started
            self._metrics.request(route or "none", answer.status or 0, seconds)
            self._metrics.problem(request_log.problem())
            self._log.ended(scope, route or "none", answer.status or 0, seconds, answer.media_type)

    async def _admitted(self, scope: Scope) -> VaubanError | None:
        """Why a request may not pass, or ``None``; what it stands on is noted in its state."""
        try:
            through = self._identity.forwarded(scope)
            headers = Headers(scope=scope)
            refusal = self._refusal(headers, scope)
            if refusal is not None or scope["path"] in OPEN_PATHS:
                return refusal
            standing = await self._identity.standing(scope, through)
        except VaubanError as error:
            nobody = isinstance(error, problems.Refusal) and error.status == 401
            return None if nobody and scope["path"] in {SIGN_IN, SIGN_OUT, READY} else error
        if standing.ambient and scope.get("method", "GET") not in SAFE_METHODS and not _from_own_page(headers):
            return _foreign()
        scope["state"]["standing"] = standing
        return None

    def _refused(self, error: VaubanError, scope: Scope, headers: Headers, language: str, request_id: str) -> Response:
        """A problem document; whoever opens the page without having signed in is shown where to."""
        if isinstance(error, OperatorError):
            log.error("request %s failed: %s: %s", request_id, error.code, error.en)
        wants_page = scope["path"] == "/" and "text/html" in headers.get("accept", "")
        if wants_page and scope["method"] in SAFE_METHODS and problems.status_of(error) == 401:
            return RedirectResponse(SIGN_IN, 303, {"Cache-Control": "no-store"})
        return problems.response(error, language, request_id)

    def _most(self, path: str) -> int:
        """Bytes that a request to a path may have."""
        return max((most for pattern, most in self._uploads if pattern.fullmatch(path)), default=LARGEST_BODY)

    def _refusal(self, headers: Headers, scope: Scope) -> problems.Refusal | None:
        named = headers.getlist("host")
        host = named[0] if len(named) == 1 else ""  # with two, each program on the way may believe another
        if _host_name(host) not in self._hosts:
            return problems.Refusal(
                "this server does not answer to that host name",
                "ce serveur ne répond pas à ce nom d'hôte",
                code="wrong_host",
                status=421,
            )
        origin = headers.get("origin")
        foreign = origin is not None and not _is_own_origin(origin, scope.get("scheme", "http"), host)
        # A picture or a script of another site sends no Origin with a GET, but browsers say where it comes from.
        elsewhere = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
        if foreign or (elsewhere and headers.get("sec-fetch-mode") != "navigate"):
            return _foreign()
        size, most = headers.get("content-length", "0"), self._most(scope["path"])
        if not size.isdecimal() or int(size) > most:
            return problems.Refusal(
                f"the request is larger than {most} bytes",
                f"la demande dépasse {most} octets",
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
        self.media_type = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers.update(tracing.current().headers)
            self.media_type = headers.get("content-type", "").partition(";")[0]
            for name, value in (_SAFE | _API_ONLY if self._own else _SAFE).items():
                headers.setdefault(name, value)
        await self._send(message)


def _foreign() -> problems.Refusal:
    return problems.Refusal(
        "pages of other sites may not call this server",
        "les pages d'autres sites ne peuvent pas appeler ce serveur",
        code="wrong_origin",
        status=403,
    )


def _is_own_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether an Origin is that of the pages of this server.

    Not over plain HTTP where this server is reached over HTTPS: whoever is on the network could have written that page.
    The other way round a proxy ends HTTPS and does not say so.
    """
    try:
        said = urllib.parse.urlsplit(origin)
    except ValueError:  # brackets that hold no address
        return False
    return said.netloc.lower() == host.lower() and not (scheme == "https" and said.scheme == "http")


def _from_own_page(headers: Headers) -> bool:
    """Whether a browser says that a page of this server sends a request; an Origin was compared with the host before.

    Every browser in use says one or the other with what changes something, and a program has no need of a cookie.
    """
    return "origin" in headers or headers.get("sec-fetch-site") == "same-origin"


def _limited(receive: Receive, most: int) -> Receive:
    """The same messages, until more than ``most`` bytes have come without being announced."""
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > most:
            raise HTTPException(413)
        return message

    return limited


def is_loopback_name(host: str) -> bool:
    """Whether a Host header names this machine itself."""
    return _host_name(host) in LOOPBACK


def _host_name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of an IPv6 address; empty for what is none.

    What only begins like a name of ours (``127.0.0.1:80@elsewhere``) is another place for whoever reads it as a URL.
    """
    match = _HOST.fullmatch(host.lower())
    return (match[1] or match[2]) if match else ""


def _is_one_host(host: str) -> bool:
    """Whether an address to listen on is also a name to be called by; ``0.0.0.0`` and ``::`` are not."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return bool(host)


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(own + "/") for own in OWN_PATHS)
