"""What can be wrong with a chain of records, and the reading of all of it that finds that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from rag import heads
from rag.erasure import erased_by_right
from rag.heads import FIRST, FileState, Head
from rag.records import CONTENTS, RECORDS, RecordKind, committed, pages, sealed
from rag.sealing import Keys


class Tamper(StrEnum):
    """What can be wrong with a chain; a closed list."""

    ALTERED = "altered"
    """The record does not have the words, the place or the hash that it was given."""
    UNLINKED = "unlinked"
    """The record is whole, and the one before it is not the one that it followed."""
    REMOVED = "removed"
    """There is no record of this number, though there are later ones."""
    TRUNCATED = "truncated"
    """There are no records of these numbers, though a head says that there were."""
    CONTENT_ALTERED = "content_altered"
    CONTENT_REMOVED = "content_removed"
    """The content is gone, and no erasure says so."""
    CONTENT_RESTORED = "content_restored"
    """The content was erased, and is back."""
    CONTENT_STRAY = "content_stray"
    """A content belongs to no record."""
    HEAD_ALTERED = "head_altered"
    """The head in the database, or the file ``audit.head``, is missing or not as it was signed."""
    OTHER_HISTORY = "other_history"
    """A head that was noted elsewhere is not one of this chain."""
    ALARM = "alarm"
    """A program that wrote to the chain found it not as it was left, and noted it in this record."""


_SAID: Final[Mapping[Tamper, tuple[str, str]]] = {
    Tamper.ALTERED: ("this record was altered, or put in another place", "cette trace a été modifiée ou déplacée"),
    Tamper.UNLINKED: (
        "the record before this one is not the one that it followed",
        "la trace qui précède celle-ci n'est pas celle qu'elle suivait",
    ),
    Tamper.REMOVED: ("this record was removed", "cette trace a été retirée"),
    Tamper.TRUNCATED: (
        "this record was removed from the end of the chain, as the head shows",
        "cette trace a été retirée de la fin de la chaîne, comme la tête le montre",
    ),
    Tamper.CONTENT_ALTERED: (
        "the content of this record was altered or exchanged",
        "le contenu de cette trace a été modifié ou échangé",
    ),
    Tamper.CONTENT_REMOVED: (
        "the content of this record is gone, and no erasure says so",
        "le contenu de cette trace a disparu sans effacement enregistré",
    ),
    Tamper.CONTENT_RESTORED: (
        "the content of this record was erased, and is back",
        "le contenu de cette trace a été effacé, puis remis",
    ),
    Tamper.CONTENT_STRAY: ("a content stands here without a record", "un contenu se trouve ici sans trace"),
    Tamper.HEAD_ALTERED: (
        "the head is missing, or is not as it was signed",
        "la tête manque, ou n'est plus telle qu'elle a été signée",
    ),
    Tamper.OTHER_HISTORY: (
        "this is not the chain that the noted head belongs to",
        "cette chaîne n'est pas celle de la tête notée",
    ),
    Tamper.ALARM: (
        "a program found the chain not as it was left, and noted it here",
        "un programme a trouvé la chaîne autre qu'il ne l'avait laissée, et l'a noté ici",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and with which record, or records up to ``last``; ``seq`` is ``None`` for the heads."""

    tamper: Tamper
    seq: int | None = None
    last: int | None = None

    def said(self, language: str) -> str:
        """In ``fr`` or ``en``."""
        english, french = _SAID[self.tamper]
        return french if language == "fr" else english


@dataclass(frozen=True, slots=True)
class Verification:
    """What a whole reading of the chain has found; ``erased`` is how many contents were erased by right."""

    head: Head
    erased: int
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        return not self.findings


_STRAY: Final = (
    sa.select(CONTENTS.c.seq)
    .outerjoin(RECORDS, RECORDS.c.seq == CONTENTS.c.seq)
    .where(RECORDS.c.seq.is_(None))
    .order_by(CONTENTS.c.seq)
)


def verify(
    connection: sa.Connection, keys: Keys, beside: tuple[Head | None, FileState], noted: Sequence[Head], *, shared: bool
) -> Verification:
    """Read the whole chain and say what is wrong with it.

    ``beside`` is what the file of the head says, ``noted`` are heads that were written down elsewhere. Where the
    database is ``shared``, a program that has not written yet has no file.
    """
    findings: list[Finding] = []
    erased = erased_by_right(connection, keys)
    gone: set[int] = set()
    expected, before = 1, FIRST
    for row in pages(connection):
        if row["seq"] > expected:
            findings.append(Finding(Tamper.REMOVED, expected, row["seq"] - 1))
        tampers, lacks = _examined(keys, row, before, erased)
        findings += [Finding(tamper, row["seq"]) for tamper in tampers]
        if lacks:
            gone.add(row["seq"])
        expected, before = max(expected, row["seq"] + 1), row["hash"]
    there = Head(expected - 1, before if isinstance(before, str) else "")
    findings += [Finding(Tamper.CONTENT_STRAY, seq) for seq in connection.execute(_STRAY).scalars()]
    findings += _judged(connection, keys, there, beside, noted, shared=shared)
    return Verification(there, len(gone), tuple(findings))


def _examined(keys: Keys, row: sa.RowMapping, before: object, erased: set[int]) -> tuple[list[Tamper], bool]:
    """What is wrong with one record, and whether its content was erased by right."""
    tampers = []
    if not sealed(keys, row):
        tampers.append(Tamper.ALTERED)
    elif row["previous"] != before:
        tampers.append(Tamper.UNLINKED)
    elif row["kind"] == RecordKind.ALARM:
        tampers.append(Tamper.ALARM)
    if row["content"] is None and row["secret"] is None:
        if row["commitment"] and row["seq"] not in erased:
            tampers.append(Tamper.CONTENT_REMOVED)
        return tampers, bool(row["commitment"])
    if row["seq"] in erased:
        tampers.append(Tamper.CONTENT_RESTORED)
    elif not committed(row):
        tampers.append(Tamper.CONTENT_ALTERED)
    return tampers, False


def _judged(
    connection: sa.Connection,
    keys: Keys,
    there: Head,
    beside: tuple[Head | None, FileState],
    noted: Sequence[Head],
    *,
    shared: bool,
) -> list[Finding]:
    """What the heads say of a chain that ends ``there``."""
    findings = []
    said, (in_file, state) = heads.said(connection, keys), beside
    missing = state is FileState.MISSING and there.count and not shared
    if said is None or state is FileState.BROKEN or missing:
        findings.append(Finding(Tamper.HEAD_ALTERED))
    known = [head for head in (said, in_file) if head is not None]
    most = max((head.count for head in (*known, *noted)), default=0)
    if most > there.count:
        findings.append(Finding(Tamper.TRUNCATED, there.count + 1, most))
    if said is not None and said.count <= there.count and said != there:
        findings.append(Finding(Tamper.HEAD_ALTERED))
    findings += [
        Finding(Tamper.OTHER_HISTORY, head.count)
        for head in (*known, *noted)
        if head.count <= there.count and not heads.held(connection, head)
    ]
    return list(dict.fromkeys(findings))
