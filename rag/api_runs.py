"""Ingestion as runs: start, watch and cancel them, go back a snapshot.

Paths on the server's side are for the user who runs the server, by its token. Everything else is for the maintainers
of a corpus: a run of a corpus that somebody may not feed is one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from rag import schemas
from rag.api_idempotency import Repeatable
from rag.api_service import Caller, Served, Service, check_feeds, fed, inbox_of, owner, standing_of
from rag.catalog import DocumentRow
from rag.errors import BadRequest, NotFound
from rag.paging import USUAL, After, Limit, page, place
from rag.scope import may_read
from rag.seams import Inbox
from rag.standing import Standing
from rag.streaming import BEAT, HEARTBEAT, EventStream, event
from rag.types import Access, Principal, RunState, RunStatus, SyncOptions

LOOK: Final = 0.25
"""Seconds between two looks at a run that is followed."""
FINAL: Final = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})

router = APIRouter(tags=["ingestion"], route_class=Repeatable)
Owner = Depends(owner)


@router.post(
    "/v1/corpora/{corpus}/sync",
    status_code=202,
    response_model=schemas.Run,
    summary="Make a corpus equal to a folder on the server's side, or to what was uploaded",
)
def sync(
    corpus: str,
    service: Served,
    principal: Caller,
    request: Request,
    response: Response,
    body: Annotated[schemas.SyncRequest | None, Body()] = None,
) -> schemas.Run:
    """A `path` only with the token of `server.json`; without one, by a maintainer, after a rollback for instance.

    The run goes on after the response; `Location` is where to follow it.
    """
    if body is None or body.path is None:
        check_feeds(service, principal, corpus)
        inbox = inbox_of(service)
        return _begun(inbox, inbox.publish(corpus), response)
    owner(request, service)
    inbox = inbox_of(service)
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
    dependencies=[Owner],
    response_model=schemas.Run,
    summary="Write a corpus into a folder on the server's side",
)
def export(corpus: str, body: schemas.ExportRequest, service: Served, response: Response) -> schemas.Run:
    """Open JSONL, vectors, source files and checksums: what another machine imports."""
    inbox = inbox_of(service)
    return _begun(inbox, inbox.export(corpus, _absolute(body.path)), response)


@router.post(
    "/v1/import",
    status_code=202,
    dependencies=[Owner],
    response_model=schemas.Run,
    summary="Take in what an export wrote",
)
def load(body: schemas.ImportRequest, service: Served, response: Response) -> schemas.Run:
    """The archive names its corpus, which is published at one instant, after every checksum was verified."""
    inbox = inbox_of(service)
    return _begun(inbox, inbox.load(_absolute(body.path), keep_audience=body.keep_audience), response)


@router.post(
    "/v1/backup",
    status_code=202,
    dependencies=[Owner],
    response_model=schemas.Run,
    summary="Copy all state into a folder on the server's side",
)
def back_up(body: schemas.BackupRequest, service: Served, response: Response) -> schemas.Run:
    """While questions are answered; ingestion waits. `vauban restore` takes such a folder."""
    inbox = inbox_of(service)
    return _begun(inbox, inbox.backup(_absolute(body.path)), response)


@router.post(
    "/v1/rebuild",
    status_code=202,
    dependencies=[Owner],
    response_model=schemas.Run,
    summary="Embed everything anew, and swap the index",
)
def rebuild(
    service: Served, response: Response, body: Annotated[schemas.RebuildRequest | None, Body()] = None
) -> schemas.Run:
    """Of all corpora, since they share one index; readers go on with the old one until the new one is whole."""
    inbox = inbox_of(service)
    return _begun(inbox, inbox.rebuild(body.embedder if body else None), response)


@router.post(
    "/v1/corpora/{corpus}/rebuild",
    status_code=202,
    response_model=schemas.Run,
    summary="Embed everything anew, as a maintainer of a corpus",
)
def rebuild_for(corpus: str, service: Served, principal: Caller, response: Response) -> schemas.Run:
    """With the embedder in use. All corpora share one index, so they all are; readers notice nothing."""
    check_feeds(service, principal, corpus)
    inbox = inbox_of(service)
    return _begun(inbox, inbox.rebuild(None, corpus), response)


@router.get(
    "/v1/corpora/{corpus}/report",
    response_model=schemas.CorpusReport,
    summary="What is to be looked at in a corpus",
)
def report(corpus: str, service: Served, principal: Caller) -> schemas.CorpusReport:
    """Stale, doubled, contradictory in dates, hard to read, too long, never found.

    A finding on a document that the caller may not read is left out.
    """
    check_feeds(service, principal, corpus)
    found = schemas.CorpusReport.model_validate(inbox_of(service).report(corpus))
    hidden = _hidden(service, principal, corpus)
    if not hidden:
        return found
    ids = {row.document.id for row in hidden}
    findings = [finding for finding in found.findings if ids.isdisjoint(finding.documents)]
    catalog = service.vauban.catalog
    outlines = catalog.outlines(corpus, catalog.published(corpus), ids)
    # Of a document that is published no more, nobody is told here either: its audience is not at hand.
    read = {row.document.id for row in catalog.documents(corpus, catalog.published(corpus))} - ids
    return found.model_copy(
        update={
            "findings": findings,
            "counts": dict(Counter(finding.kind for finding in findings)),
            "documents": found.documents - len(hidden),
            "articles": found.articles - sum(len(articles) for articles in outlines.values()),
            "searches": sum(times for id_, times in catalog.retrievals(corpus).items() if id_ in read),
            "chunks": found.chunks - sum(row.chunks for row in hidden),
        }
    )


@router.get("/v1/runs", response_model=schemas.Runs, summary="The latest ingestions of what the caller feeds")
def read_runs(
    service: Served, principal: Caller, corpus: str | None = None, limit: Limit = USUAL, after: After = None
) -> schemas.Runs:
    """Newest first, of one corpus or of all that the caller feeds."""
    inbox = inbox_of(service)
    wanted = fed(service, principal)
    if corpus is not None:
        wanted = [corpus] if wanted is None or corpus in wanted else []
    found = page(
        service.vauban.catalog.runs(wanted, limit + 1, place(after, str, str)),
        limit,
        lambda one: (one.created, one.id),
    )
    return schemas.Runs(
        data=[_shown(service, principal, inbox.status(one.id)) for one in found.items],
        has_more=found.more,
        next=found.next,
    )


@router.get(
    "/v1/runs/{run}",
    response_model=schemas.Run,
    summary="How an ingestion stands",
    responses={200: {"content": {EventStream.media_type: dict(EventStream.described)}}},
)
async def read_run(run: str, service: Served, principal: Caller, request: Request) -> schemas.Run | EventStream:
    """With `Accept: text/event-stream`, each change as it happens, until the run has ended."""
    found = await run_in_threadpool(_found, service, principal, run)
    if EventStream.media_type in request.headers.get("accept", ""):
        return EventStream(_followed(service, standing_of(request.scope), run))
    return found


@router.delete("/v1/runs/{run}", status_code=204, summary="Cancel an ingestion; what was published stays")
def cancel_run(run: str, service: Served, principal: Caller) -> None:
    _found(service, principal, run)
    inbox_of(service).cancel(run)


@router.post(
    "/v1/corpora/{corpus}/rollback",
    response_model=schemas.RollbackResponse,
    summary="Publish an earlier snapshot of a corpus again",
)
def rollback(
    corpus: str,
    service: Served,
    principal: Caller,
    body: Annotated[schemas.RollbackRequest | None, Body()] = None,
) -> schemas.RollbackResponse:
    """At once, and nothing is rewritten. Automatic syncs of the corpus are on hold until the next manual one."""
    check_feeds(service, principal, corpus)
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
    """A new run. A quick one has ended by now: which files it names is asked for where it is followed, by whoever may
    know of them, and not kept with this response for when it is asked for again."""
    response.headers["Location"] = f"/v1/runs/{run}"
    return schemas.run(replace(inbox.status(run), rejected=(), detail=""))


def _found(service: Service, principal: Principal, run: str) -> schemas.Run:
    """A run that the caller may follow.

    Raises:
        NotFound: it does not exist, or is of a corpus that they do not feed.
    """
    status = inbox_of(service).status(run)
    theirs = fed(service, principal)
    if theirs is not None and status.corpus not in theirs:
        raise NotFound(f"there is no run `{run}`", f"il n'y a pas d'exécution « {run} »", code="unknown_run")
    return _shown(service, principal, status)


def _hidden(service: Service, principal: Principal, corpus: str) -> list[DocumentRow]:
    """The published documents of a corpus that whoever feeds it may not read."""
    if principal.access is Access.SERVER:
        return []
    catalog = service.vauban.catalog
    rows = catalog.documents(corpus, catalog.published(corpus))
    return [row for row in rows if not may_read(principal, row.document)]


def _shown(service: Service, principal: Principal, status: RunStatus) -> schemas.Run:
    """A run, without the files of documents that the caller may not read."""
    if status.rejected and status.corpus:
        paths = {row.document.source for row in _hidden(service, principal, status.corpus)}
        kept = tuple(row for row in status.rejected if row.path not in paths)
        if len(kept) < len(status.rejected):
            status = replace(status, rejected=kept, detail="")
    return schemas.run(status)


def _still_found(service: Service, standing: Standing, run: str) -> schemas.Run | None:
    """A run, for whoever may still follow it."""
    now = service.identity.still(standing)
    try:
        return None if now is None else _found(service, now.principal, run)
    except NotFound:
        return None


async def _followed(service: Service, standing: Standing | None, run: str) -> AsyncGenerator[bytes, None]:
    """The run each time that it stands otherwise, to its end; a heartbeat where nothing happens for long."""
    said, silent = "", 0.0
    while True:
        # Who may follow it is asked each time: keys and rights may go while it runs.
        status = None if standing is None else await run_in_threadpool(_still_found, service, standing, run)
        if status is None:
            return
        now = status.model_dump_json()
        if now != said:
            yield event(now)
            said, silent = now, 0.0
        elif silent >= HEARTBEAT:
            yield BEAT
            silent = 0.0
        if status.state in FINAL:
            return
        await asyncio.sleep(LOOK)
        silent += LOOK


def _inbox(service: Service) -> Inbox:
    return inbox_of(service)
