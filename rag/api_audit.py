"""The records over HTTP, for auditors; erasing is an administrator's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import StreamingResponse

from rag import audit_schemas, paging, problems
from rag.api_service import Administrator, Auditor, Served, check_unlimited
from rag.auditing import Auditing, erasing, midnight
from rag.heads import Head
from rag.paging import USUAL, After, Limit
from rag.records import RecordKind, Wanted
from rag.schemas import Day, Text

router = APIRouter(tags=["audit"])


def limited(service: Served, principal: Auditor) -> Iterator[None]:
    """One auditor has only so many long readings under way: they take threads that everybody needs."""
    with service.auditing.held(principal.owner):
        yield


LINES: Final = "application/x-ndjson"
_MOST: Final = 2**31 - 1

Which = Annotated[str, Path(max_length=200, description="The number of a record, or the id of an answer.")]
Named = Annotated[Text | None, Query(max_length=400)]


@router.get("/v1/audit/records", response_model=audit_schemas.AuditRecords, summary="The records, without contents")
def list_records(
    service: Served,
    principal: Auditor,
    start: Annotated[Day | None, Query(alias="from", description="From this day on.")] = None,
    end: Annotated[Day | None, Query(alias="to", description="Before this day.")] = None,
    owner: Annotated[Named, Query(description="Of this person, as `oidc:anne`; asking so is recorded.")] = None,
    status: Named = None,
    corpus: Annotated[Named, Query(description="Answers that show texts of this corpus.")] = None,
    kind: RecordKind | None = None,
    limit: Limit = USUAL,
    after: After = None,
) -> audit_schemas.AuditRecords:
    """The newest first. What names a corpus or a document that the auditor may not see is left out."""
    wanted = Wanted(midnight(start), midnight(end), owner, status, corpus, kind)
    before = paging.place(after, int)
    found = Auditing(service.vauban, principal).page(wanted, int(before[0]) if before else 0, limit + 1)
    page = paging.page(found, limit, lambda view: (view.record.seq,))
    return audit_schemas.AuditRecords(
        data=[audit_schemas.record(view, content=False) for view in page.items], has_more=page.more, next=page.next
    )


@router.get("/v1/audit/records/{record}", response_model=audit_schemas.AuditRecord, summary="One record")
def read_record(record: Which, service: Served, principal: Auditor) -> audit_schemas.AuditRecord:
    """With its content where the auditor may read every document that it shows. That it was read is recorded."""
    return audit_schemas.record(Auditing(service.vauban, principal).show(record), content=True)


@router.post(
    "/v1/audit/records/{record}/replay",
    response_model=audit_schemas.AuditReplay,
    dependencies=[Depends(limited)],
    summary="Give an answer again, and compare",
)
def replay_record(record: Which, service: Served, principal: Auditor) -> audit_schemas.AuditReplay:
    """At the moment when it was given, under the rights of then and the audiences of today."""
    return audit_schemas.replayed(Auditing(service.vauban, principal).replay(record))


@router.get(
    "/v1/audit/verify",
    response_model=audit_schemas.AuditVerification,
    dependencies=[Depends(limited)],
    summary="Read the whole chain of records",
)
def verify_records(
    service: Served,
    principal: Auditor,
    request: Request,
    head: Annotated[
        list[Annotated[str, Query(max_length=100)]] | None,
        Query(max_length=audit_schemas.MOST_HEADS, description="A head, `COUNT:HASH`, that was noted elsewhere."),
    ] = None,
) -> audit_schemas.AuditVerification:
    """Whether a record was altered, removed, exchanged or invented, and which."""
    noted = tuple(Head.parse(written) for written in head or ())
    found = Auditing(service.vauban, principal).verify(noted)
    return audit_schemas.verification(found, problems.language_of(request.scope))


@router.get(
    "/v1/audit/export",
    response_class=StreamingResponse,
    summary="The records as JSON lines",
    responses={200: {"content": {LINES: {"schema": {"type": "string"}}}}},
)
def export_records(
    service: Served,
    principal: Auditor,
    since: Annotated[int, Query(ge=0, le=_MOST, description="The number of the last record that is known.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=_MOST, description="How many at most; all without it.")] = None,
    content: Annotated[bool, Query(description="With contents, as far as they may be read; it is recorded.")] = False,
) -> StreamingResponse:
    """One record a line, in their order, after `since`: what a SIEM asks for again and again."""
    found = Auditing(service.vauban, principal).export(since, limit, content=content)

    def lines() -> Iterator[str]:
        for view in found:
            yield audit_schemas.record(view, content=content).model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type=LINES, headers={"Cache-Control": "no-store"})


@router.post("/v1/audit/erase", response_model=audit_schemas.AuditErased, summary="Erase contents of records")
def erase_records(
    body: audit_schemas.AuditErasure, service: Served, principal: Administrator
) -> audit_schemas.AuditErased:
    """Of an answer, of a person, or from before a day. The chain stays whole, and says that they were erased."""
    check_unlimited(principal)
    done = Auditing(service.vauban, principal).erase(erasing(body.answer, body.person, body.before))
    return audit_schemas.erased(done)
