"""The records on the wire."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field

from rag.erasure import Erased
from rag.records import RecordKind
from rag.replaying import Difference, Replay
from rag.schemas import Day, Received, Sent, Text
from rag.tampers import Tamper, Verification
from rag.viewing import Shown, View

MOST_HEADS = 10


class AuditRecord(Sent):
    """A record, as far as the reader may see it.

    ``body`` tells what was done and with what, ``content`` who asked what and what was answered; the passages of an
    answer are named by id and hash. ``hash`` seals all of it and what stood before. ``content_state`` says why there
    is no ``content``: it was ``erased``, is ``withheld`` because it shows what the reader may not read, is left out of
    lists (``present``), or never was (``none``).
    """

    seq: int
    kind: RecordKind
    id: str
    at: dt.datetime
    status: str
    corpora: list[str]
    body: dict[str, Any]
    content_state: Shown
    content: dict[str, Any] | None = None
    commitment: str
    previous: str
    hash: str


class AuditRecords(Sent):
    """A page of the records, the newest first; ``next`` is the ``after`` of the following page."""

    object: Literal["list"] = "list"
    data: list[AuditRecord]
    has_more: bool
    next: str | None


class AuditReplay(Sent):
    """An answer that was given again. ``answer`` is null where the first one was never finished."""

    seq: int
    id: str
    equal: bool
    passages: bool
    answer: bool | None
    differences: list[Difference]


class AuditFinding(Sent):
    """One thing that is wrong with the chain, and with which record, or records up to ``last``."""

    finding: Tamper
    seq: int | None
    last: int | None
    detail: str


class AuditVerification(Sent):
    """What a whole reading of the chain has found. Write ``head`` down elsewhere: later it proves that all is there."""

    whole: bool
    records: int
    erased: int
    head: str
    findings: list[AuditFinding]


class AuditErasure(Received):
    """Whose contents are to be erased; exactly one of the three.

    ``person`` is an owner (``oidc:anne``) or a name, whichever way it came in; ``before`` is a day, not included.
    """

    answer: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    person: Annotated[Text, Field(min_length=1, max_length=400)] | None = None
    before: Day | None = None


class AuditErased(Sent):
    """How many contents are gone, and the record of it. ``scrubbed`` is false while bytes may remain on the disk."""

    erased: int
    seq: int | None
    scrubbed: bool


def record(view: View, *, content: bool) -> AuditRecord:
    """A record on the wire, with its ``content`` or without."""
    kept = view.record
    return AuditRecord(
        seq=kept.seq,
        kind=kept.kind,
        id=kept.id,
        at=kept.at,
        status=kept.status,
        corpora=list(view.corpora),
        body=dict(view.body),
        content_state=view.shown,
        content=dict(view.content) if content and view.content is not None else None,
        commitment=kept.commitment,
        previous=kept.previous,
        hash=kept.hash,
    )


def replayed(done: Replay) -> AuditReplay:
    return AuditReplay(
        seq=done.record.seq,
        id=done.record.id,
        equal=done.equal,
        passages=done.passages,
        answer=done.answer,
        differences=list(done.differences),
    )


def verification(found: Verification, language: str) -> AuditVerification:
    return AuditVerification(
        whole=found.whole,
        records=found.head.count,
        erased=found.erased,
        head=str(found.head),
        findings=[
            AuditFinding(finding=one.tamper, seq=one.seq, last=one.last, detail=one.said(language))
            for one in found.findings
        ],
    )


def erased(done: Erased) -> AuditErased:
    return AuditErased(erased=done.count, seq=done.seq, scrubbed=done.scrubbed)
