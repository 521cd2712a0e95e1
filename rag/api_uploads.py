"""Documents sent one by one, by the maintainers of a corpus that uploads feed.

A file goes straight to the disk, is read in the sandbox, and is published whole or leaves no trace. Every change is a
run; who waits for its end is told what became of it, and who does not may follow it.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from rag import etags, problems, rejections, schemas
from rag.api_documents import detailed, found
from rag.api_idempotency import Repeatable
from rag.api_service import Caller, Served, Service, check_feeds, inbox_of
from rag.errors import BadRequest, Conflict, DiskFull, DocumentError, RejectReason, StoreError, VaubanError
from rag.filenames import checked
from rag.home import INCOMING
from rag.problems import Refusal
from rag.types import Principal, RunState, RunStatus, Said, Upload, UploadKind
from rag.uploads import FORM_ROOM, Received, received

LOOK: Final = 0.05
"""Seconds between two looks at a run that somebody waits for."""
WAIT: Final = 30.0
"""Seconds that a POST or a DELETE waits unless told otherwise: most documents are read and published in a few."""

router = APIRouter(tags=["documents"], route_class=Repeatable)


def room(file_megabytes: int) -> dict[str, int]:
    """The paths whose requests may be larger than others, as patterns, each with its limit in bytes."""
    return {r"/v1/corpora/[^/]+/documents(/[^/]+)?": file_megabytes * 2**20 + FORM_ROOM}


_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _fields() -> dict[str, Any]:
    """What a form may say beside its file: what the query may, but no null, which no form can write."""
    said = schemas.UploadSaid.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    fields = {}
    for name, described in said.items():
        one = {key: value for key, value in described.items() if key not in {"anyOf", "default"}}
        fields[name] = one | next((kind for kind in described.get("anyOf", ()) if kind != {"type": "null"}), {})
    return fields


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, with `name` in the query; or a form with the part `file`.",
        "content": {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **_fields(),
                    },
                    "additionalProperties": False,
                }
            },
        },
    }
}
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": schemas.Run, "description": "It goes on; `Location` is where to follow it."}
}


@router.post(
    "/v1/corpora/{corpus}/documents",
    status_code=201,
    response_model=schemas.Document,
    responses=_ACCEPTED,
    openapi_extra=_BODY,
    summary="Add a document",
)
async def add_document(
    corpus: str, service: Served, principal: Caller, request: Request, query: Annotated[schemas.UploadSaid, Query()]
) -> Response:
    """201 once it is published; 202 and a run when that takes longer than `wait` (30 s unless told).

    A file that cannot be taken in is 422, with the reason as its code, and changes nothing.
    """
    await _may_feed(service, principal, corpus)
    async with _received(service, principal, request) as file:
        said = _said(query, file)
        name = checked(said.name or file.name or "")
        document = _id(said.id or name)
        upload = Upload(corpus, document, UploadKind.ADD, name, file.file, _described(said), resume=said.resume)
        run = await _submitted(service, upload)
    return await _ended(service, principal, upload, run, WAIT if said.wait is None else said.wait, 201)


@router.put(
    "/v1/corpora/{corpus}/documents/{document}",
    status_code=202,
    response_model=schemas.Run,
    responses={200: {"model": schemas.Document, "description": "Published within `wait`."}},
    openapi_extra=_BODY,
    summary="Replace a document",
)
async def replace_document(
    corpus: str,
    document: str,
    service: Served,
    principal: Caller,
    request: Request,
    query: Annotated[schemas.UploadSaid, Query()],
) -> Response:
    """The file and all that is said of it; its id stays. With `If-Match`, only the version that the caller has seen."""
    identifier = schemas.document_id(document)
    await _may_feed(service, principal, corpus)
    seen = await run_in_threadpool(_seen, service, principal, corpus, identifier, request)
    async with _received(service, principal, request) as file:
        said = _said(query, file)
        if said.id not in {None, identifier}:
            raise BadRequest(
                "the id of a document stays; leave `id` out",
                "l'identifiant d'un document ne change pas ; omettez « id »",
                code="id_stays",
            )
        name = checked(said.name or file.name or seen.source)
        upload = Upload(
            corpus, identifier, UploadKind.REPLACE, name, file.file, _described(said), seen.expected, said.resume
        )
        run = await _submitted(service, upload)
    return await _ended(service, principal, upload, run, said.wait or 0.0, 200)


@router.delete(
    "/v1/corpora/{corpus}/documents/{document}",
    status_code=204,
    responses=_ACCEPTED,
    response_model=None,
    summary="Remove a document",
)
async def remove_document(
    corpus: str,
    document: str,
    service: Served,
    principal: Caller,
    request: Request,
    query: Annotated[schemas.UploadWait, Query()],
) -> Response:
    """204 once it is gone from what is published; earlier snapshots keep it until their retention has passed."""
    identifier = schemas.document_id(document)
    await _may_feed(service, principal, corpus)
    seen = await run_in_threadpool(_seen, service, principal, corpus, identifier, request)
    upload = Upload(corpus, identifier, UploadKind.REMOVE, expected=seen.expected, resume=query.resume)
    run = await _submitted(service, upload)
    return await _ended(service, principal, upload, run, WAIT if query.wait is None else query.wait, 204)


# --- what is asked for ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """The published version: its file name, and its SHA-256 where the caller has said to mean just that."""

    source: str
    expected: str


async def _may_feed(service: Service, principal: Principal, corpus: str) -> None:
    """Before anything is received.

    Raises:
        NotFound, Refusal: see :func:`rag.api_service.check_feeds`.
        Conflict: ``fed_from_folder``.
    """

    def check() -> None:
        check_feeds(service, principal, corpus)
        service.vauban.catalog.corpus(corpus)
        if not inbox_of(service).fed_by_uploads(corpus):
            raise Conflict(
                f"`{corpus}` is synced from a folder on the server's side; change it there",
                f"« {corpus} » est synchronisé depuis un dossier du serveur ; modifiez-le là-bas",
                code="fed_from_folder",
            )

    await run_in_threadpool(check)


def _seen(service: Service, principal: Principal, corpus: str, document: str, request: Request) -> _Seen:
    """The version that is to be replaced or removed.

    Raises:
        NotFound: there is none that the caller may see.
        Refusal: 412, it is not the one of ``If-Match``.
    """
    row, lineage = found(service, principal, corpus, document, None)
    if "if-match" not in request.headers:
        return _Seen(row.document.source, "")
    etags.check_match(request, etags.of(principal, request.url.path, detailed(service, principal, row, lineage)))
    return _Seen(row.document.source, row.document.sha256)


@asynccontextmanager
async def _received(service: Service, principal: Principal, request: Request) -> AsyncIterator[Received]:
    """The file of a request, when its sender has a place; see :func:`rag.uploads.received`.

    Raises:
        Overloaded: they send too many at a time, or all together do.
    """
    most = service.vauban.settings.file_megabytes * 2**20
    with service.receiving.held(principal.owner):
        async with received(request, service.vauban.home.uploads / INCOMING, most) as file:
            yield file


def _said(query: schemas.UploadSaid, file: Received) -> schemas.UploadSaid:
    """What the query and the fields of the form say; a form's field wins.

    Raises:
        Refusal: a field is unknown, wrong or given twice.
    """
    values: dict[str, object] = query.model_dump(exclude_unset=True)
    for name, several in file.fields.items():
        if name == "groups":
            values[name] = several
        elif len(several) > 1:
            raise Refusal(
                f"the field `{name}` is given twice",
                f"le champ « {name} » est donné deux fois",
                code="invalid_request",
                field=name,
            )
        else:
            values[name] = several[0]
    try:
        return schemas.UploadSaid.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": ("form", *fault["loc"])} for fault in error.errors()]
        raise problems.invalid(RequestValidationError(faults)) from error


def _described(said: schemas.UploadSaid) -> Said:
    """An empty ``groups`` is an audience of nobody; a form can say it in no other way than by an empty field."""
    groups = None if said.groups is None else frozenset(group.strip() for group in said.groups if group.strip())
    return Said(
        title=said.title,
        language=said.language,
        norm_rank=said.norm_rank,
        valid_from=said.valid_from,
        valid_to=said.valid_to,
        groups=groups,
        clearance=said.clearance,
    )


def _id(given: str) -> str:
    """An id as it is kept: NFC, its spaces single.

    Raises:
        BadRequest: no address could hold it.
    """
    identifier = " ".join(unicodedata.normalize("NFC", given).split())
    if not identifier.strip(".") or not identifier.isprintable():
        raise BadRequest(
            "the `id` has printable characters, and not only dots",
            "l'« id » doit contenir des caractères imprimables, pas seulement des points",
            code="bad_id",
        )
    return identifier


async def _submitted(service: Service, upload: Upload) -> str:
    """Queue a change; from then on its file belongs to the queue.

    Raises:
        VaubanError: see :meth:`rag.seams.Inbox.upload`.
    """

    def submit() -> str:
        kept = upload.file and upload.file.rename(upload.file.with_suffix(""))
        try:
            return inbox_of(service).upload(replace(upload, file=kept))
        except VaubanError as error:
            if kept is not None:
                kept.unlink(missing_ok=True)
            if isinstance(error, DocumentError):
                raise rejections.refusal(error.reason, error.en, error.fr) from error
            raise

    return await run_in_threadpool(submit)


# --- what became of it ----------------------------------------------------------------------------------


async def _ended(
    service: Service, principal: Principal, upload: Upload, run: str, seconds: float, done: int
) -> Response:
    """The response to a change: what became of it, or after ``seconds`` the run, which goes on.

    Raises:
        VaubanError: it failed, and changed nothing.
    """
    inbox = inbox_of(service)
    deadline = time.monotonic() + seconds
    status = await run_in_threadpool(inbox.status, run)
    while not status.final and time.monotonic() < deadline:
        await asyncio.sleep(LOOK)
        status = await run_in_threadpool(inbox.status, run)
    if not status.final or (done == 200 and not seconds):
        headers = {"Location": f"/v1/runs/{run}", **etags.PRIVATE}
        # Which files a quick one names is asked for where it is followed, by whoever may know of them.
        begun = schemas.run(replace(status, rejected=(), detail=""))
        return Response(begun.model_dump_json(), 202, headers, media_type="application/json")
    if status.state is not RunState.DONE:
        raise failure(status)
    if done == 204:
        return Response(status_code=204)
    return await run_in_threadpool(_published, service, principal, upload, done)


def _published(service: Service, principal: Principal, upload: Upload, status: int) -> Response:
    catalog = service.vauban.catalog
    lineage = catalog.published(upload.corpus)
    row = catalog.document(upload.corpus, upload.document, lineage)
    if row is None:
        raise Conflict(
            f"the document `{upload.document}` was published and has gone since",
            f"le document « {upload.document} » a été publié, puis retiré depuis",
            code="changed_meanwhile",
        )
    where = schemas.document_url(upload.corpus, upload.document)
    etag = etags.of(principal, urllib.parse.unquote(where), detailed(service, principal, row, lineage))
    headers = {"Location": where, "ETag": etag, **etags.PRIVATE}
    shown = schemas.document(row.document, row.state, lineage[0])
    return Response(shown.model_dump_json(), status, headers, media_type="application/json")


_CONFLICTS: Final[Mapping[str, tuple[str, str]]] = {
    "document_exists": ("there is such a document by now", "ce document existe désormais"),
    "name_taken": ("the file name is taken by now", "ce nom de fichier est désormais pris"),
    "held_after_rollback": ("the corpus was rolled back meanwhile", "le corpus est revenu en arrière entre-temps"),
    "changed_meanwhile": ("the document was changed meanwhile", "le document a été modifié entre-temps"),
    "published_meanwhile": ("something else was published meanwhile", "autre chose a été publié entre-temps"),
    "unknown_document": ("the document has gone meanwhile", "le document a disparu entre-temps"),
    "fed_from_folder": ("the corpus is synced from a folder", "le corpus est synchronisé depuis un dossier"),
    "store_busy": (
        "another program is writing this corpus; send it again in a moment",
        "un autre programme écrit ce corpus ; renvoyez-le dans un instant",
    ),
    "cancelled": ("the run was cancelled; nothing has changed", "l'exécution a été annulée ; rien n'a changé"),
    "interrupted": ("the server stopped; nothing has changed", "le serveur s'est arrêté ; rien n'a changé"),
}
"""Why a change that was accepted may come to nothing all the same, when its turn has come."""


def failure(status: RunStatus) -> VaubanError:
    """What is said of a run that has published nothing."""
    code = status.error or "cancelled"
    if code in set(RejectReason):
        return rejections.refusal(RejectReason(code))
    if code in _CONFLICTS:
        return Conflict(*_CONFLICTS[code], code=code)
    if code == DiskFull.code:
        return DiskFull("no space is left", "il n'y a plus de place")
    return StoreError(f"run {status.id} failed: {code}", f"l'exécution {status.id} a échoué : {code}", code=code)
