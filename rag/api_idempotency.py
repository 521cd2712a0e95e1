"""Endpoints whose writes may be repeated: ``APIRouter(route_class=Repeatable)`` makes every POST of a router one.

The header is that of the IETF's draft, ``Idempotency-Key``: 1 to 255 visible characters, which may stand in quotes.
The endpoints themselves know nothing of it. What they check is checked before anything is kept, and a key counts for
the same rights only, so that a response is never given again to somebody who has lost them. A response that is
streamed is not kept. Whoever leaves before the response finds it by sending the request again. The boundary of a
multipart body, which clients choose anew each time, makes no difference.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable, Coroutine
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from rag.api_service import caller, served, unknown_corpus, visible
from rag.errors import BadRequest, OperatorError, VaubanError
from rag.idempotency import Claim, Given, Repeats
from rag.receiving import paced
from rag.types import Access, Principal

log = logging.getLogger("vauban.api")

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_HEADERS: Final = frozenset({"content-type", "content-language", "location", "etag", "last-modified"})
"""What of a response's headers belongs to it; the others are of the connection, or made anew."""
_PATTERN: Final = r'^("[\x20-\x21\x23-\x7e]{1,255}"|[\x21-\x7e]{1,255})$'
_KEY: Final = re.compile(_PATTERN)
_IN_MEMORY: Final = 2**20
"""Bytes of a body that are held in memory while its digest is made; more go to a temporary file."""
_BLOCK: Final = 2**16

_DESCRIBED: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "Makes the request safe to repeat: for 24 hours, the same request under the same key gets the response of the "
        f"first one, with `{REPLAYED}: true`. 422 when the key was used for another request, 409 while the first one "
        "is still being carried out."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 257, "pattern": _PATTERN},
    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Repeatable(APIRoute):
    """A route whose POST may be sent again under the same key without being carried out again."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if "POST" in (self.methods or ()):
            self.openapi_extra = {**(self.openapi_extra or {}), "parameters": [_DESCRIBED]}

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return handle

        async def repeatable(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None or not _may_change(request):
                return await handle(request)
            return await _once(request, _read(key), self.path, handle)

        return repeatable


def _may_change(request: Request) -> bool:
    """Whether it may come to anything: of whoever may not feed a corpus no body is read, and nothing kept."""
    corpus = request.path_params.get("corpus")
    return corpus is None or caller(request).may_maintain(corpus)


async def _once(request: Request, key: str, route: str, handle: Handler) -> Response:
    """Carry a request out, unless it was carried out before under the same key.

    From the claim on it goes on when its sender leaves or the task that serves them is cancelled: what it has begun may
    be past undoing, and whoever sends it again is to find what became of it.
    """
    body = SpooledTemporaryFile[bytes](_IN_MEMORY)  # closed by what goes on with it
    try:
        with served(request).receiving.held(caller(request).owner):
            digest = await _digest(request, caller(request), body)
    except BaseException:
        body.close()
        raise
    carried = asyncio.create_task(_carried_out(request, key, digest, route, handle, body))
    under_way = _under_way(request.app)
    under_way.add(carried)
    carried.add_done_callback(under_way.discard)
    try:
        return await asyncio.shield(carried)
    except asyncio.CancelledError:
        carried.add_done_callback(_left)
        raise


async def _carried_out(
    request: Request, key: str, digest: str, route: str, handle: Handler, body: SpooledTemporaryFile[bytes]
) -> Response:
    principal, repeats = caller(request), served(request).repeats
    with body:
        claimed = await run_in_threadpool(repeats.claim, principal.owner, key, digest, route)
        if isinstance(claimed, Given):
            await run_in_threadpool(_check_seen, request, principal)
            return Response(claimed.body, claimed.status, {**claimed.headers, REPLAYED: "true"})
        body.seek(0)
        # Cancelled all the same, because the process ends: the claim stays, as that of one that died. Nobody can say
        # what was done, and to send it again at once could do it twice.
        try:
            response = await handle(Request(request.scope, _again(body, request.receive)))
        except Exception:  # whatever it was, it is raised again
            await run_in_threadpool(repeats.release, claimed)
            raise
        await run_in_threadpool(_end, repeats, claimed, response)
        return response


async def ended(app: Starlette, seconds: float) -> None:
    """Wait for what is still being carried out, so that it is known what became of it; to be called when a server
    stops."""
    if under_way := _under_way(app):
        await asyncio.wait(under_way, timeout=seconds)


def _under_way(app: Starlette) -> set[asyncio.Task[Response]]:
    """What is being carried out, whether or not somebody waits for it."""
    if not hasattr(app.state, "repeatable"):
        app.state.repeatable = set()
    found: set[asyncio.Task[Response]] = app.state.repeatable
    return found


def _left(carried: asyncio.Task[Response]) -> None:
    """Say what nobody is there to be told."""
    error = None if carried.cancelled() else carried.exception()
    if error is not None and not isinstance(error, VaubanError):
        log.error("a request failed whose sender had left: %s", type(error).__name__)


def _check_seen(request: Request, principal: Principal) -> None:
    """Refuse whoever no longer sees the corpus that they changed: what was said of it then is not said again.

    Raises:
        NotFound: they do not see it.
    """
    corpus = request.path_params.get("corpus")
    if (
        corpus is not None
        and principal.access is not Access.SERVER
        and corpus not in visible(served(request), principal)
    ):
        raise unknown_corpus(corpus)


def _end(repeats: Repeats, claim: Claim, response: Response) -> None:
    """Keep a success; let everything else be tried again. That it cannot be kept makes it no failure."""
    body = getattr(response, "body", None)
    try:
        if 200 <= response.status_code < 300 and isinstance(body, bytes | memoryview):
            headers = {name: value for name, value in response.headers.items() if name in _HEADERS}
            repeats.keep(claim, Given(response.status_code, headers, bytes(body)))
        else:
            repeats.release(claim)
    except OperatorError as error:
        log.error("the response of a repeatable request could not be kept: %s", error.code)


def _read(header: str) -> str:
    """The key that a header gives.

    Raises:
        BadRequest: it is none.
    """
    if not _KEY.fullmatch(header):
        raise BadRequest(
            f"`{HEADER}` takes 1 to 255 visible characters, such as a random UUID",
            f"« {HEADER} » prend 1 à 255 caractères visibles, par exemple un UUID aléatoire",
            code="invalid_idempotency_key",
        )
    return header[1:-1] if header.startswith('"') and header.endswith('"') and len(header) > 2 else header


async def _digest(request: Request, principal: Principal, body: SpooledTemporaryFile[bytes]) -> str:
    """What tells a request from another: what is asked, of what, and with which rights. The body goes to ``body``."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    boundary = re.search(r'boundary="?([^";]+)', parameters)
    summed = hashlib.sha256()
    rights = (principal.groups, principal.roles, principal.maintains, principal.corpora, principal.assistants)
    said = [
        request.method,
        request.url.path,
        request.url.query,
        kind.strip().lower(),
        principal.clearance,
        *(None if some is None else sorted(some) for some in rights),
    ]
    summed.update(json.dumps(said).encode() + b"\0")
    mark = boundary[1].encode() if boundary and kind.strip().lower() == "multipart/form-data" else b""
    held = b""
    async for block in paced(request.stream()):
        await run_in_threadpool(body.write, block) if len(block) > _BLOCK else body.write(block)
        if not mark:
            summed.update(block)
            continue
        *whole, held = (held + block).split(mark)
        for part in whole:
            summed.update(part + b"\0boundary\0")
        # The end of a block may be the beginning of a mark.
        cut = max(0, len(held) - len(mark) + 1)
        summed.update(held[:cut])
        held = held[cut:]
    summed.update(held)
    return summed.hexdigest()


def _again(body: SpooledTemporaryFile[bytes], receive: Receive) -> Receive:
    """The messages of a body that was read, once more; after them, those of the connection."""
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        block = body.read(_BLOCK)
        ended = len(block) < _BLOCK
        return {"type": "http.request", "body": block, "more_body": not ended}

    return again
