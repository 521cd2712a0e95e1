"""Entity tags: a strong name for what one person is shown, and the two headers that ask about it.

A tag is made of the very bytes, or of what they follow from, and of the rights of whoever asks: two people whose
rights differ never share one, so that it tells nobody what others see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from rag.problems import Refusal
from rag.types import Principal

PRIVATE: Final[Mapping[str, str]] = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""Kept by the caller's own cache only, which asks again each time."""


def tag(principal: Principal, *parts: object) -> str:
    """A strong entity tag of what ``parts`` name, as ``principal`` sees it."""
    limit = None if principal.corpora is None else sorted(principal.corpora)
    view = [principal.access, sorted(principal.groups), principal.clearance, sorted(principal.roles), limit]
    said = json.dumps([view, [str(part) for part in parts]], ensure_ascii=False).encode()
    return f'"{hashlib.blake2b(said, digest_size=18).hexdigest()}"'


def unchanged(request: Request, etag: str) -> bool:
    """Whether the caller has just what ``etag`` names, by ``If-None-Match``."""
    given = request.headers.get("if-none-match")
    return given is not None and (given.strip() == "*" or etag in _listed(given))


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag, **PRIVATE})


def of(principal: Principal, path: str, value: BaseModel) -> str:
    """The tag of ``value`` as it is read at ``path``, which is not percent-encoded."""
    return tag(principal, path, value.model_dump_json())


def shown(request: Request, principal: Principal, value: BaseModel) -> Response:
    """``value`` with its tag; 304 when the caller has it already."""
    etag = of(principal, request.url.path, value)
    return not_modified(etag) if unchanged(request, etag) else answered(request, principal, value)


def answered(
    request: Request, principal: Principal, value: BaseModel, headers: Mapping[str, str] = PRIVATE, status: int = 200
) -> Response:
    """``value`` with its tag, whatever the caller has."""
    given = {"ETag": of(principal, request.url.path, value), **PRIVATE, **headers}
    return Response(value.model_dump_json(), status, given, media_type="application/json")


def check_match(request: Request, etag: str) -> None:
    """Refuse a change to something else than what the caller has seen, by ``If-Match``.

    Raises:
        Refusal: 412.
    """
    given = request.headers.get("if-match")
    # A weak tag never matches here: RFC 9110, 13.1.1.
    if given is not None and given.strip() != "*" and etag not in [one.strip() for one in given.split(",")]:
        raise Refusal(
            "it is no longer what you have seen (`If-Match`); read it again, then decide",
            "ce n'est plus ce que vous aviez lu (« If-Match ») ; relisez-le avant de décider",
            code="changed_meanwhile",
            status=412,
        )


def _listed(given: str) -> list[str]:
    return [one.strip().removeprefix("W/") for one in given.split(",")]
