"""The HTTP API: an application made of small endpoints around one call each.

The address is OpenAI's shape under ``/v1``; what is refused is a problem document (``rag.problems``); every
request passes the guard (``rag.api_guard``). There is no documentation page, because those load scripts from
elsewhere: ``/openapi.json`` describes everything.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from rag import (
    api_audit,
    api_chat,
    api_corpora,
    api_documents,
    api_history,
    api_idempotency,
    api_metrics,
    api_runs,
    api_search,
    api_sign_in,
    api_uploads,
    canary,
    installed,
    problems,
    recording,
    schemas,
)
from rag import identity as access
from rag.api_guard import Guard
from rag.api_service import ALL, Caller, Identity, Served, Service, Vauban, corpora_of, visible
from rag.auditing import expired
from rag.canary import Canary
from rag.errors import NotFound, VaubanError
from rag.gauges import Gauges
from rag.history import History
from rag.idempotency import Repeats
from rag.limits import EachAtOnce
from rag.metrics import Metrics
from rag.openapi import Application
from rag.readiness import Readiness
from rag.request_log import Pseudonyms, RequestLog
from rag.seams import Inbox
from rag.streaming import Answers
from rag.types import Event, Principal, Question
from rag.upkeep import Upkeep
from rag.warmth import WARM, Step, Warmth

router = APIRouter()

SEARCHES_AT_ONCE = 8
"""Searches and encodings of one person under way; more would only wait for each other's processors."""
AUDITS_AT_ONCE = 2
"""Replays and verifications of one auditor under way: a replay may wait for the model, a verification reads all."""
LAST_WRITES = 5.0
"""Seconds that a server which stops waits for what is being carried out under a key, its sender there or not."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PROBLEM = {
    "model": schemas.Problem,
    "description": "RFC 9457 problem document",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(
    vauban: Vauban,
    inbox: Inbox | None = None,
    *,
    token: str = "",
    identity: Identity | None = None,
    warmth: Warmth = WARM,
) -> FastAPI:
    """The application over running parts.

    ``inbox`` takes in folders; without one, ingestion answers 501. ``token`` is the one of ``server.json``; without
    one nobody may ingest. ``identity`` admits requests and says whose they are; the default follows the settings.
    ``warmth`` says what is still being loaded.
    """
    identity = identity or access.Identity(vauban.settings, vauban.local, vauban.database, server_token=token)
    metrics, pseudonyms = Metrics(), Pseudonyms()

    def most() -> int:
        """Those who are with the model, and `queue` more who wait for it."""
        places = 1 if vauban.generator is None else max(1, vauban.generator.queue.places)
        return vauban.settings.queue + places

    answers = Answers(
        most,
        vauban.settings.queue_per_user,
        lambda: None if vauban.generator is None else vauban.generator.queue.seconds,
    )
    history, repeats = _history(vauban), Repeats(vauban.database)
    app = Application(
        title="Vauban",
        summary="Questions about regulations, answered with their sources.",
        version=installed.version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        exception_handlers={
            VaubanError: problems.on_error,
            RequestValidationError: problems.on_invalid,
            HTTPException: problems.on_http,
        },
    )
    app.state.service = Service(
        vauban=vauban,
        inbox=inbox,
        token=token,
        identity=identity,
        answers=answers,
        history=history,
        repeats=repeats,
        upkeep=Upkeep(
            (
                history.expire,
                repeats.expire,
                lambda: expired(vauban.records, vauban.settings.audit_days),
                vauban.database.scrub,
            )
        ),
        searching=EachAtOnce(SEARCHES_AT_ONCE),
        auditing=EachAtOnce(AUDITS_AT_ONCE),
        metrics=metrics,
        pseudonyms=pseudonyms,
        warmth=warmth,
        canary=_canary(vauban, answers, warmth),
    )
    app.state.readiness = Readiness(app.state.service)
    log = RequestLog(vauban.settings.slow_seconds, pseudonyms)
    app.add_middleware(
        Guard,
        settings=vauban.settings,
        identity=identity,
        metrics=metrics,
        log=log,
        uploads=api_uploads.room(vauban.settings.file_megabytes),
    )
    metrics.watch(Gauges(app.state.service, installed.version()))
    for part in (
        router,
        api_metrics.router,
        api_chat.router,
        api_search.router,
        api_history.router,
        api_audit.router,
        api_corpora.router,
        api_uploads.router,
        api_documents.router,
        api_runs.router,
        api_sign_in.router,
    ):
        app.include_router(part)
    app.add_api_route("/v1/{rest:path}", nothing_here, methods=list(METHODS), include_in_schema=False)
    return app


def _history(vauban: Vauban) -> History:
    """What a person deletes, the model is to let go of as well."""

    def forgotten(owner: str) -> None:
        if vauban.generator is not None:
            vauban.generator.forget(owner)

    return History(vauban.database, vauban.catalog, vauban.settings.history_days, forgotten)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """While the server stops, the answers in the making stop first; what works in the background may take longer."""
    service = app.state.service
    service.upkeep.start()
    if service.canary is not None:
        service.canary.start()
    yield
    service.answers.close()
    await api_idempotency.ended(app, LAST_WRITES)
    if service.canary is not None:
        await run_in_threadpool(service.canary.close)
    await run_in_threadpool(service.upkeep.stop)
    service.identity.close()


def _canary(vauban: Vauban, answers: Answers, warmth: Warmth) -> Canary | None:
    """The questions that are asked by schedule, where a setting names some.

    Raises:
        SettingsError: they cannot be read.
    """
    settings = vauban.settings
    if not settings.canary:
        return None

    def busy() -> bool:
        return answers.running > 0 or any(warmth.pending(step) for step in Step)

    def recorded(question: Question, events: Iterator[Event]) -> Iterator[Event]:
        return recording.kept(vauban, recording.Asked(f"canary-{uuid.uuid4().hex}", question), events)

    return Canary(
        canary.load(settings.canary),
        lambda: vauban.engine,
        recorded=recorded,
        minutes=settings.canary_minutes,
        groups=settings.canary_groups,
        busy=busy,
    )


# --- assistants -----------------------------------------------------------------------


@router.get(
    "/v1/models", response_model=schemas.Models, tags=["chat"], summary="The assistants that the caller may ask"
)
def list_models(service: Served, principal: Caller) -> schemas.Models:
    """`vauban` searches every corpus that the caller may see, `vauban-NAME` only that one."""
    return schemas.Models(data=_models(service, principal))


@router.get("/v1/models/{model}", response_model=schemas.Model, tags=["chat"], summary="One assistant")
def read_model(model: str, service: Served, principal: Caller) -> schemas.Model:
    corpora_of(model, visible(service, principal), principal)
    return next(card for card in _models(service, principal) if card.id == model)


def _models(service: Service, principal: Principal) -> list[schemas.Model]:
    seen = visible(service, principal)
    cards = [schemas.Model(id=ALL, created=service.started, title="Vauban", corpora=list(seen))]
    cards += [
        schemas.Model(id=f"{ALL}-{name}", created=service.started, title=corpus.title, corpora=[name])
        for name, corpus in seen.items()
    ]
    return [card for card in cards if principal.assistants is None or card.id in principal.assistants]


# --- the rest of /v1 -----------------------------------------------------------------------------------


def nothing_here(request: Request) -> Response:
    """What no endpoint answers, before the page that may be mounted behind: 405 when another method would do."""
    allowed = [method for method in METHODS if _answers(request, method)]
    if allowed:
        raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
    raise NotFound(
        "there is nothing at this address; /openapi.json describes the API",
        "il n'y a rien à cette adresse ; /openapi.json décrit l'API",
        code="unknown_path",
    )


def _answers(request: Request, method: str) -> bool:
    """Whether an endpoint other than the one for the rest would take this address with ``method``."""
    scope = {key: request.scope[key] for key in ("type", "path", "root_path", "app")} | {"method": method}
    for route in request.app.router.routes:
        if getattr(route, "path", "").startswith("/v1/{rest"):
            return False
        if route.matches(dict(scope))[0] is Match.FULL:
            return True
    return False
