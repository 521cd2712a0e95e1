"""The probes: alive, ready, which version, and the metrics, for those who run the service."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from rag import live_view, metrics, schemas
from rag.api_service import Caller, Served, Service, standing_of
from rag.installed import version
from rag.problems import Refusal
from rag.readiness import Readiness, Ready
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


def watcher(request: Request) -> None:
    """Only the user who runs the server and administrators pass: ingestions are named with their corpus.

    Raises:
        Refusal: 403.
    """
    standing = standing_of(request.scope)
    if standing is None or not (standing.source is Source.SERVER or Role.ADMINISTRATOR in standing.principal.roles):
        raise Refusal(
            "this needs the role `administrator`, or the token of the running server",
            "cela demande le rôle « administrator », ou le jeton du serveur en marche",
            code="forbidden",
            status=403,
        )


@router.get("/healthz", response_model=schemas.Health, summary="The process answers")
def healthy() -> schemas.Health:
    return schemas.Health()


@router.get(
    "/readyz",
    response_model=schemas.Readiness,
    summary="Questions can be answered",
    responses={503: {"model": schemas.Readiness}},
)
def read_readiness(service: Served, request: Request, response: Response) -> schemas.Readiness:
    """503 when nothing can be searched. Without a writing model answers are extracts, and that is ready.

    Those who run the service learn how each part stands; anybody else, who needs no token, only whether it is ready.
    """
    found = readiness_of(request)()
    if not found.ready:
        response.status_code = 503
    whole = told(found, service)
    return whole if runs_it(request) else whole.model_copy(update={"parts": {}, "canary": {}})


def readiness_of(request: Request) -> Readiness:
    found = request.app.state.readiness
    assert isinstance(found, Readiness)
    return found


def told(found: Ready, service: Service) -> schemas.Readiness:
    """What is said of readiness to those who run the service."""
    last = service.canary.last if service.canary else None
    return schemas.Readiness.model_validate(
        {
            "ready": found.ready,
            "state": found.state.value,
            "parts": {name: state.value for name, state in found.parts.items()},
            "canary": {case: outcome.value for case, outcome in last.outcomes.items()} if last else {},
        }
    )


@router.get(
    "/v1/live",
    response_model=schemas.LiveView,
    summary="What the service is doing at this moment",
    dependencies=[Depends(watcher)],
)
def read_live(service: Served, principal: Caller, request: Request) -> schemas.LiveView:
    """For `vauban top`: with the token of `server.json`, or as an administrator. People appear under pseudonyms.

    An administrator has the runs and the sums of the corpora that they see and their key is for.
    """
    return live_view.read(service, told(readiness_of(request)(), service), principal)


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
