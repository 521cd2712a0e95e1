"""Ingestion for the commands of the user who runs the server: start, watch and cancel a sync, go back a snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from rag import schemas
from rag.api_service import Served, Service, owner
from rag.errors import BadRequest
from rag.problems import Refusal
from rag.seams import Inbox
from rag.streaming import BEAT, HEARTBEAT, EventStream, event
from rag.types import SyncOptions

LOOK: Final = 0.25
"""Seconds between two looks at a run that is followed."""
MOST_RUNS: Final = 100

router = APIRouter(tags=["ingestion"], dependencies=[Depends(owner)])


@router.post(
    "/v1/corpora/{corpus}/sync",
    status_code=202,
    response_model=schemas.Run,
    summary="Make a corpus equal to a folder on the server's side",
)
def sync(corpus: str, body: schemas.SyncRequest, service: Served, response: Response) -> schemas.Run:
    """Only with the token of `server.json`. The run goes on after the response; `Location` is where to follow it."""
    inbox = _inbox(service)
    folder = _absolute(body.path)
    options = SyncOptions(
        dry_run=body.dry_run,
        init=body.init,
        confirm_removals=body.confirm_removals,
        automatic=body.automatic,
        workers=body.workers,
    )
    return _begun(inbox, inbox.submit(corpus, folder, options), response)


@router.post(
    "/v1/corpora/{corpus}/export",
    status_code=202,
    response_model=schemas.Run,
    summary="Write a corpus into a folder on the server's side",
)
def export(corpus: str, body: schemas.ExportRequest, service: Served, response: Response) -> schemas.Run:
    """Open JSONL, vectors, source files and checksums: what another machine imports."""
    inbox = _inbox(service)
    return _begun(inbox, inbox.export(corpus, _absolute(body.path)), response)


@router.post("/v1/import", status_code=202, response_model=schemas.Run, summary="Take in what an export wrote")
def load(body: schemas.ImportRequest, service: Served, response: Response) -> schemas.Run:
    """The archive names its corpus, which is published at one instant, after every checksum was verified."""
    inbox = _inbox(service)
    return _begun(inbox, inbox.load(_absolute(body.path), keep_audience=body.keep_audience), response)


@router.post(
    "/v1/rebuild", status_code=202, response_model=schemas.Run, summary="Embed everything anew, and swap the index"
)
def rebuild(
    service: Served, response: Response, body: Annotated[schemas.RebuildRequest | None, Body()] = None
) -> schemas.Run:
    """Of all corpora, since they share one index; readers go on with the old one until the new one is whole."""
    inbox = _inbox(service)
    return _begun(inbox, inbox.rebuild(body.embedder if body else None), response)


@router.get(
    "/v1/corpora/{corpus}/report",
    response_model=schemas.CorpusReport,
    summary="What is to be looked at in a corpus",
)
def report(corpus: str, service: Served) -> schemas.CorpusReport:
    """Stale, doubled, contradictory in dates, hard to read, too long, never found."""
    return schemas.CorpusReport.model_validate(_inbox(service).report(corpus))


@router.get("/v1/runs", response_model=schemas.Runs, summary="The latest ingestions")
def read_runs(
    service: Served, corpus: str | None = None, limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 20
) -> schemas.Runs:
    """Newest first, of one corpus or of all."""
    inbox = _inbox(service)
    found = service.vauban.catalog.runs(corpus, limit)
    return schemas.Runs(data=[schemas.run(inbox.status(one.id)) for one in found])


@router.get(
    "/v1/runs/{run}",
    response_model=schemas.Run,
    summary="How an ingestion stands",
    responses={200: {"content": {EventStream.media_type: {"schema": {"type": "string"}}}}},
)
async def read_run(run: str, service: Served, request: Request) -> schemas.Run | EventStream:
    """With `Accept: text/event-stream`, each change as it happens, until the run has ended."""
    inbox = _inbox(service)
    status = await run_in_threadpool(inbox.status, run)
    if EventStream.media_type in request.headers.get("accept", ""):
        return EventStream(_followed(inbox, run))
    return schemas.run(status)


@router.delete("/v1/runs/{run}", status_code=204, summary="Cancel an ingestion; what was published stays")
def cancel_run(run: str, service: Served) -> None:
    _inbox(service).cancel(run)


@router.post(
    "/v1/corpora/{corpus}/rollback",
    response_model=schemas.RollbackResponse,
    summary="Publish an earlier snapshot of a corpus again",
)
def rollback(
    corpus: str, service: Served, body: Annotated[schemas.RollbackRequest | None, Body()] = None
) -> schemas.RollbackResponse:
    """At once, and nothing is rewritten. Automatic syncs of the corpus are on hold until the next manual one."""
    to = body.to if body else None
    return schemas.RollbackResponse(corpus=corpus, snapshot=service.vauban.catalog.rollback(corpus, to))


def _absolute(path: str) -> Path:
    """A folder on the server's side.

    Raises:
        BadRequest: what it is relative to would depend on how the server was started.
    """
    folder = Path(path)
    if not folder.is_absolute() or "\0" in path:
        raise BadRequest(
            "the folder must be an absolute path on the server's side",
            "le dossier doit être un chemin absolu, du côté du serveur",
            code="relative_path",
        )
    return folder


def _begun(inbox: Inbox, run: str, response: Response) -> schemas.Run:
    response.headers["Location"] = f"/v1/runs/{run}"
    return schemas.run(inbox.status(run))


async def _followed(inbox: Inbox, run: str) -> AsyncGenerator[bytes, None]:
    """The run each time that it stands otherwise, to its end; a heartbeat where nothing happens for long."""
    said, silent = "", 0.0
    while True:
        status = await run_in_threadpool(inbox.status, run)
        now = schemas.run(status).model_dump_json()
        if now != said:
            yield event(now)
            said, silent = now, 0.0
        elif silent >= HEARTBEAT:
            yield BEAT
            silent = 0.0
        if status.final:
            return
        await asyncio.sleep(LOOK)
        silent += LOOK


def _inbox(service: Service) -> Inbox:
    if service.inbox is None:
        raise Refusal(
            "this server takes in no documents",
            "ce serveur n'ingère pas de documents",
            code="no_inbox",
            status=501,
        )
    return service.inbox
