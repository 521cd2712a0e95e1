"""What a record is, and the tables that keep it: the row that never changes, and beside it what is personal.

The row in ``records`` has a body without a personal word, a commitment to the content, the hash of the record before
it, and its own hash over all of that. What is personal (who asked, the question, the text) stands in
``record_contents``, with a random key of its own; the commitment is an HMAC of the content under that key.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from rag.database import PERSONAL, Text, metadata
from rag.sealing import DIGITS, Keys, canonical, commitment

PAGE: Final = 500
"""Records read at a time: verifying millions takes no more memory than verifying a thousand."""

RECORDS = sa.Table(
    "records",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("id", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("corpora", Text, nullable=False),
    sa.Column("body", Text, nullable=False),
    sa.Column("commitment", Text, nullable=False),
    sa.Column("previous", Text, nullable=False),
    sa.Column("hash", Text, nullable=False),
    sa.Index("ix_records_id", "id"),
    sa.Index("ix_records_at", "at"),
)
CONTENTS = sa.Table(
    "record_contents",
    metadata,
    # No foreign key: a record that was removed must not take the proof of its content along.
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("secret", Text, nullable=False),
    sa.Column("content", Text, nullable=False),
    sa.Index("ix_record_contents_owner", "owner"),
    info={PERSONAL: True},
)
_SEALED: Final = ("seq", "kind", "id", "at", "status", "corpora", "body", "commitment", "previous")
"""The columns that a record's hash covers, in this order: all but itself."""


class RecordKind(StrEnum):
    """What a record tells; a closed list."""

    ANSWER = "answer"
    """An answer was given, or begun and not finished."""
    VIEW = "view"
    """Somebody has read the content of records."""
    EXPORT = "export"
    """Somebody has taken the contents of records away."""
    REPLAY = "replay"
    """An answer was given again, and compared."""
    ERASURE = "erasure"
    """The contents of records were erased."""
    ALARM = "alarm"
    """The chain was found not as it was left."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a record will say: ``body`` without a personal word, ``content`` with all that is personal.

    ``id`` is the answer's, ``owner`` whose content it is (:attr:`rag.types.Principal.owner`), ``corpora`` those whose
    texts it shows. ``status`` is how it ended.
    """

    kind: RecordKind
    body: Mapping[str, object]
    content: Mapping[str, object] | None = None
    owner: str = ""
    id: str = ""
    status: str = ""
    corpora: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is kept. ``content`` is ``None`` where there never was one, or it was erased."""

    seq: int
    kind: RecordKind
    id: str
    at: dt.datetime
    status: str
    corpora: tuple[str, ...]
    body: Mapping[str, Any]
    commitment: str
    previous: str
    hash: str
    content: Mapping[str, Any] | None

    @property
    def erased(self) -> bool:
        """Whether there was a content, and is none any more."""
        return self.content is None and bool(self.commitment)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are wanted: all that meet every condition given. ``owner`` finds those with a content only."""

    start: dt.datetime | None = None
    end: dt.datetime | None = None
    owner: str | None = None
    status: str | None = None
    corpus: str | None = None
    kind: RecordKind | None = None


# --- rows -----------------------------------------------------------------------------------------------


def seal(keys: Keys, row: Mapping[str, Any] | sa.RowMapping) -> str:
    """The hash of a row of ``records``."""
    return keys.sign("record", canonical([row[name] for name in _SEALED]).encode())


def sealed(keys: Keys, row: sa.RowMapping) -> bool:
    """Whether a row of ``records`` is as it was written."""
    whole = isinstance(row["seq"], int) and all(isinstance(row[name], str) for name in (*_SEALED[1:], "hash"))
    return whole and hmac.compare_digest(row["hash"].encode("utf-8", "replace"), seal(keys, row).encode())


def committed(row: sa.RowMapping) -> bool:
    """Whether a content is the one that its record was written with."""
    secret, owner, content = row["secret"], row["owner"], row["content"]
    if not (isinstance(secret, str) and isinstance(owner, str) and isinstance(content, str)):
        return False
    # A key of another length could stand for the same HMAC: it is filled up with zeros.
    if len(secret) != DIGITS or not isinstance(row["commitment"], str):
        return False
    made = commitment(secret, row["seq"], owner, content)
    return hmac.compare_digest(made.encode(), row["commitment"].encode("utf-8", "replace"))


def intact(keys: Keys, row: sa.RowMapping) -> bool:
    """Whether a record and its content are as they were written."""
    return sealed(keys, row) and (row["content"] is None or committed(row))


def record_of(row: sa.RowMapping) -> Record:
    """An intact row as a record."""
    return Record(
        seq=row["seq"],
        kind=RecordKind(row["kind"]),
        id=row["id"],
        at=dt.datetime.fromisoformat(row["at"]),
        status=row["status"],
        corpora=tuple(row["corpora"].split()),
        body=json.loads(row["body"]),
        commitment=row["commitment"],
        previous=row["previous"],
        hash=row["hash"],
        content=None if row["content"] is None else json.loads(row["content"]),
    )


def written(moment: dt.datetime) -> str:
    """A moment so that the order of the texts is the order of the moments."""
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")


def ranges(numbers: Collection[int]) -> list[list[int]]:
    """Whole numbers as closed ranges, ascending: ``[[1, 3], [7, 7]]``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


# --- statements -----------------------------------------------------------------------------------------


def joined() -> sa.Select[Any]:
    """Every record with its content, where it has one."""
    personal = (CONTENTS.c.owner, CONTENTS.c.secret, CONTENTS.c.content)
    return sa.select(RECORDS, *personal).outerjoin(CONTENTS, CONTENTS.c.seq == RECORDS.c.seq)


def pages(connection: sa.Connection) -> Iterator[sa.RowMapping]:
    """Every record with its content, as the database has them, in the order of their numbers."""
    after: int | None = None
    while True:
        query = joined().order_by(RECORDS.c.seq).limit(PAGE)
        if after is not None:
            query = query.where(RECORDS.c.seq > after)
        rows = connection.execute(query).mappings().all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1]["seq"]


def of_kind(kind: RecordKind) -> sa.ColumnElement[bool]:
    """That a record is of one kind."""
    return RECORDS.c.kind == kind.value


def conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    """What holds of the records that are wanted."""
    found: list[sa.ColumnElement[bool]] = []
    if wanted.start is not None:
        found.append(RECORDS.c.at >= written(wanted.start))
    if wanted.end is not None:
        found.append(RECORDS.c.at < written(wanted.end))
    if wanted.owner is not None:
        found.append(CONTENTS.c.owner == wanted.owner)
    if wanted.status is not None:
        found.append(RECORDS.c.status == wanted.status)
    if wanted.corpus is not None:
        found.append(RECORDS.c.corpora.contains(f" {wanted.corpus} ", autoescape=True))
    if wanted.kind is not None:
        found.append(of_kind(wanted.kind))
    return found
