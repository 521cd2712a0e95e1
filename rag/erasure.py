"""Whose contents are erased, and which were: a record stays, what is personal of it goes with its key.

What is left in the chain does not tell any more, not even by trying likely words, what the content was or whose. An
erasure is itself a record, which says the numbers of those that it erased.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rag.records import CONTENTS, RECORDS, RecordKind, of_kind, sealed, written
from rag.sealing import Keys


@dataclass(frozen=True, slots=True)
class Erasing:
    """Whose contents go: of one answer, of one person (an owner, or a name whichever way it came in), or of all
    records from before a moment. Exactly one is given."""

    answer: str | None = None
    person: str | None = None
    before: dt.datetime | None = None

    @property
    def reason(self) -> str:
        """Which of the three it is, as the record of the erasure says; never whose."""
        return "answer" if self.answer is not None else "person" if self.person is not None else "before"


@dataclass(frozen=True, slots=True)
class Erased:
    """How many contents an erasure took, which record tells of it, and whether their bytes are gone from the disk."""

    count: int
    seq: int | None
    scrubbed: bool


def chosen(erasing: Erasing) -> sa.Select[Any]:
    """The numbers of the records whose contents go."""
    query = sa.select(CONTENTS.c.seq).join(RECORDS, RECORDS.c.seq == CONTENTS.c.seq)
    if erasing.before is not None:
        return query.where(RECORDS.c.at < written(erasing.before))
    query = query.where(of_kind(RecordKind.ANSWER))
    if erasing.answer is not None:
        return query.where(RECORDS.c.id == erasing.answer)
    person = erasing.person or ""
    by_name = CONTENTS.c.owner.endswith(f":{person}", autoescape=True) if ":" not in person else sa.false()
    return query.where((CONTENTS.c.owner == person) | by_name)


def erased_by_right(connection: sa.Connection, keys: Keys) -> set[int]:
    """The numbers of the records whose contents were erased, as records say that were not altered themselves."""
    found: set[int] = set()
    for row in connection.execute(sa.select(RECORDS).where(of_kind(RecordKind.ERASURE))).mappings():
        if sealed(keys, row):
            for first, last in json.loads(row["body"])["records"]:
                found.update(range(first, min(last, row["seq"] - 1) + 1))
    return found
