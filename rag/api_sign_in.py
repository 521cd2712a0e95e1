"""The page on which people sign in and out: one form, no script, and a cookie that means nothing by itself.

The form carries a random value that a cookie of its own repeats, beside the guard's look at the origin: another site
can neither read nor set that cookie, so it cannot sign anybody in or out. Every sign-in begins a new session and ends
the one before.
"""

from __future__ import annotations

import hmac
import secrets
import urllib.parse
from functools import cache
from importlib import resources
from typing import Final

import jinja2
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rag.api_guard import SIGN_IN, SIGN_OUT
from rag.api_service import Served, Service, standing_of
from rag.identity import COOKIE, SECURE_COOKIE, cookie_name, secure_cookies, session_cookie
from rag.settings import Login
from rag.standing import Source

FORM: Final = "vauban_form"
LONGEST: Final = 32_768
"""Bytes of a form: a token of the identity provider is the longest thing in it."""
POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    # With `no-referrer` a browser sends `Origin: null` with a form, and the guard could not tell whose it is.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_WRONG: Final = (
    "Cette clé ou ce jeton n'est pas valable : vérifiez qu'il est entier, qu'il n'a ni expiré ni été révoqué.",
    "This key or token is not valid: see that it is complete, has not expired and was not revoked.",
)
_STALE: Final = (
    "Le formulaire a expiré ou vos cookies sont refusés : réessayez.",
    "The form has expired, or your cookies are refused: try again.",
)

router = APIRouter(include_in_schema=False)


@router.get(SIGN_IN)
def show(request: Request, service: Served) -> Response:
    """The form; for whoever is signed in already, who they are and the way out."""
    return _page(request, service)


@router.post(SIGN_IN)
async def sign_in(request: Request, service: Served) -> Response:
    """Begin a session with the key or token of the form."""
    if _secure(request, service) is None:
        return _page(request, service, status=403)
    fields = await _fields(request, service)
    if fields is None:
        return _page(request, service, fault=_STALE, status=400)
    identity = service.identity
    session = await run_in_threadpool(identity.sign_in, fields.get("credential", "").strip())
    if session is None:
        return _page(request, service, fault=_WRONG, status=401)
    await run_in_threadpool(identity.sign_out, _session(request, service))
    gone = RedirectResponse("/", 303, _HEADERS)
    _set(gone, request, service, COOKIE, session)
    return gone


@router.post(SIGN_OUT)
async def sign_out(request: Request, service: Served) -> Response:
    """End the session of this browser."""
    if await _fields(request, service) is None:
        return _page(request, service, fault=_STALE, status=400)
    await run_in_threadpool(service.identity.sign_out, _session(request, service))
    gone = RedirectResponse(SIGN_IN, 303, _HEADERS)
    for name in (COOKIE, SECURE_COOKIE):
        gone.delete_cookie(name, secure=name == SECURE_COOKIE, httponly=True, samesite="lax")
    return gone


@router.get("/sign-in.css")
def style() -> Response:
    return Response(_data("sign_in.css"), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _page(
    request: Request, service: Service, *, fault: tuple[str, str] | None = None, status: int = 200
) -> HTMLResponse:
    standing, identity = standing_of(request.scope), service.identity
    form = secrets.token_urlsafe(32)
    page = HTMLResponse(
        _template().render(
            name=standing.principal.name if standing else "",
            can_leave=standing is not None and standing.source is Source.SESSION,
            insecure=_secure(request, service) is None,
            takes_secrets=identity.takes_secrets,
            gateway=bool(service.vauban.settings.login & {Login.OIDC, Login.PROXY}),
            form=form,
            fault=fault,
        ),
        status,
        _HEADERS,
    )
    _set(page, request, service, FORM, form)
    return page


async def _fields(request: Request, service: Service) -> dict[str, str] | None:
    """The fields of a form of ours; ``None`` for a form that was not sent from our page in this browser."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            return None
    try:
        fields = dict(urllib.parse.parse_qsl(body.decode(), max_num_fields=10))
    except ValueError:
        return None
    # Where cookies are secure another one could be of a neighbour under the same domain, who knows its value.
    kept = request.cookies.get(f"__Host-{FORM}" if _secure(request, service) else FORM, "")
    same = hmac.compare_digest(fields.get("form", "").encode(), kept.encode())
    return fields if same and kept else None


def _secure(request: Request, service: Service) -> bool | None:
    return secure_cookies(service.vauban.settings.secure_cookies, request.scope["scheme"], request.headers)


def _session(request: Request, service: Service) -> str:
    """The secret of the session that this browser has."""
    name = cookie_name(service.vauban.settings.secure_cookies, request.scope["scheme"], request.headers)
    return session_cookie(request.headers, name)


def _set(response: Response, request: Request, service: Service, name: str, value: str) -> None:
    """A cookie of the browser's session, for this host alone and out of reach of scripts.

    ``Lax``: with ``Strict`` a link in a mail would open the sign-in page for somebody who is signed in. What changes
    something needs the right origin all the same.
    """
    secure = bool(_secure(request, service))
    response.set_cookie(
        f"__Host-{name}" if secure else name,
        value,
        secure=secure,
        httponly=True,
        samesite="strict" if name == FORM else "lax",
        path="/",
    )


@cache
def _template() -> jinja2.Template:
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(_data("sign_in.html"))


@cache
def _data(name: str) -> str:
    return resources.files("rag").joinpath("data", name).read_text(encoding="utf-8")
