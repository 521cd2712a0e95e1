"""The probes: alive, ready, which version, and the metrics, for those who run the service."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from rag import metrics, schemas
from rag.api_service import Served, standing_of
from rag.installed import version
from rag.problems import Refusal
from rag.standing import Source
from rag.types import Role

router = APIRouter(tags=["probes"])


def runs_it(request: Request) -> bool:
    """Whether a caller runs this service: by the token of ``server.json``, as an administrator, or without login.

    Without login the server listens on loopback only, and who reaches it works on its machine.
    """
    standing = standing_of(request.scope)
    if standing is None:
        return False
    return standing.source in {Source.LOCAL, Source.SERVER} or Role.ADMINISTRATOR in standing.principal.roles


def operator(request: Request) -> None:
    """Only those who run the service pass, and auditors: sums over all corpora tell of those that few may see.

    Raises:
        Refusal: 403.
    """
    standing = standing_of(request.scope)
    if not runs_it(request) and (standing is None or Role.AUDITOR not in standing.principal.roles):
        raise Refusal(
            "this needs the role `administrator` or `auditor`",
            "cela demande le rôle « administrator » ou « auditor »",
            code="forbidden",
            status=403,
        )


@router.get("/healthz", response_model=schemas.Health, summary="The process answers")
def healthy() -> schemas.Health:
    return schemas.Health()


@router.get("/version", response_model=schemas.Version, summary="The version of the program")
def read_version() -> schemas.Version:
    return schemas.Version(version=version())


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    summary="Counters for Prometheus",
    dependencies=[Depends(operator)],
)
def read_metrics(service: Served) -> Response:
    """Numbers by route, status, stage and reason; never a text, nor the name of a document, a corpus or a person."""
    return Response(service.metrics.render(), media_type=metrics.MEDIA_TYPE)
