"""Ways to tamper with the chain of records behind its back, each a change that an honest program never makes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from rag.database import Database
from rag.heads import HEAD_FILE, HEADS
from rag.records import CONTENTS, RECORDS

Rows = list[dict[str, object]]


class Forger:
    """Somebody who may write to the database, and to the head's file, but knows no secret."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.home = home

    def rows(self, table: sa.Table) -> Rows:
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

    def write(self, table: sa.Table, rows: Rows) -> None:
        """Make a table hold exactly these rows."""
        with self.database.writing() as connection:
            connection.execute(table.delete())
            for start in range(0, len(rows), 200):
                connection.execute(table.insert(), rows[start : start + 200])

    def set(self, table: sa.Table, at: object, /, **values: object) -> None:
        with self.database.writing() as connection:
            connection.execute(table.update().where(_key(table) == at).values(**values))

    def delete(self, table: sa.Table, seq: object) -> None:
        with self.database.writing() as connection:
            connection.execute(table.delete().where(_key(table) == seq))

    def insert(self, table: sa.Table, row: dict[str, object]) -> None:
        with self.database.writing() as connection:
            connection.execute(table.insert().values(**row))

    def one(self, table: sa.Table, seq: object) -> dict[str, object]:
        with self.database.reading() as connection:
            return dict(connection.execute(sa.select(table).where(_key(table) == seq)).mappings().one())

    def seqs(self, table: sa.Table) -> list[int]:
        with self.database.reading() as connection:
            return list(connection.execute(sa.select(_key(table)).order_by(_key(table))).scalars())


def _key(table: sa.Table) -> sa.Column[int]:
    return table.c.id if table is HEADS else table.c.seq


def _changed(value: object, dice: random.Random) -> object:
    """Another value of the same type."""
    if isinstance(value, int):
        return value + dice.choice([-1, 1, 1_000])
    assert isinstance(value, str)
    if not value:
        return "x"
    place = dice.randrange(len(value))
    kind = dice.randrange(4)
    if kind == 0:
        return value[:place] + value[place + 1 :]
    if kind == 1:
        return value[:place] + dice.choice("0aé ") + value[place:]
    if kind == 2 and value.upper() != value:
        return value.upper()
    swapped = "b" if value[place] == "a" else "a"
    return value[:place] + swapped + value[place + 1 :]


def alter(forger: Forger, dice: random.Random) -> str:
    """Any column of any row of any table but its key."""
    table = dice.choice([RECORDS, RECORDS, RECORDS, CONTENTS, CONTENTS, HEADS])
    seq = dice.choice(forger.seqs(table))
    row = forger.one(table, seq)
    name = dice.choice([column.name for column in table.columns if column.name != _key(table).name])
    new = _changed(row[name], dice)
    while new == row[name]:
        new = _changed(row[name], dice)
    forger.set(table, seq, **{name: new})
    return f"{table.name}.{name} of {seq}"


def remove(forger: Forger, dice: random.Random) -> str:
    """A record, with its content or without."""
    seq = dice.choice(forger.seqs(RECORDS))
    forger.delete(RECORDS, seq)
    if dice.random() < 0.5:
        forger.delete(CONTENTS, seq)
    return f"record {seq}"


def close_up(forger: Forger, dice: random.Random) -> str:
    """Remove a record and give those after it its number and link."""
    seqs = forger.seqs(RECORDS)
    gone = dice.choice(seqs)
    before = forger.one(RECORDS, gone)["previous"]
    for table in (RECORDS, CONTENTS):
        rows = [row for row in forger.rows(table) if row["seq"] != gone]
        for row in rows:
            if table is RECORDS and row["seq"] == gone + 1:
                row["previous"] = before
            assert isinstance(row["seq"], int)
            row["seq"] -= row["seq"] > gone
        forger.write(table, rows)
    return f"record {gone} of {seqs[-1]}"


def truncate(forger: Forger, dice: random.Random) -> str:
    """The last records, with their contents."""
    seqs = forger.seqs(RECORDS)
    first = seqs[-dice.randint(1, min(20, len(seqs)))]
    for seq in range(first, seqs[-1] + 1):
        forger.delete(RECORDS, seq)
        forger.delete(CONTENTS, seq)
    return f"from {first}"


def reorder(forger: Forger, dice: random.Random) -> str:
    """Two records change places, with their contents or without, with their links or without."""
    one, other = dice.sample(forger.seqs(RECORDS), 2)
    first, second = forger.one(RECORDS, one), forger.one(RECORDS, other)
    if dice.random() < 0.5:
        first["previous"], second["previous"] = second["previous"], first["previous"]
    for seq, row in ((one, second), (other, first)):
        forger.set(RECORDS, seq, **{name: value for name, value in row.items() if name != "seq"})
    if dice.random() < 0.5:
        _exchange(forger, one, other)
    return f"{one} and {other}"


def swap(forger: Forger, dice: random.Random) -> str:
    """The contents of two records, with their keys."""
    one, other = dice.sample(forger.seqs(CONTENTS), 2)
    _exchange(forger, one, other)
    return f"contents of {one} and {other}"


def _exchange(forger: Forger, one: int, other: int) -> None:
    rows = {row["seq"]: row for row in forger.rows(CONTENTS)}
    for seq, source in ((one, other), (other, one)):
        forger.delete(CONTENTS, seq)
        if source in rows:
            forger.insert(CONTENTS, {**rows[source], "seq": seq})


def duplicate(forger: Forger, dice: random.Random) -> str:
    """A copy of a record at the end, with its content or without."""
    seqs = forger.seqs(RECORDS)
    seq, end = dice.choice(seqs), seqs[-1] + 1
    forger.insert(RECORDS, {**forger.one(RECORDS, seq), "seq": end, "previous": forger.one(RECORDS, end - 1)["hash"]})
    if dice.random() < 0.5 and seq in forger.seqs(CONTENTS):
        forger.insert(CONTENTS, {**forger.one(CONTENTS, seq), "seq": end})
    return f"{seq} as {end}"


def invent(forger: Forger, dice: random.Random) -> str:
    """A record before the first, or a content of none."""
    source = dice.choice(forger.seqs(RECORDS))
    if dice.random() < 0.5:
        forger.insert(RECORDS, {**forger.one(RECORDS, source), "seq": -dice.randint(0, 5)})
        return "a record before the first"
    end = forger.seqs(RECORDS)[-1] + dice.randint(1, 9)
    forger.insert(CONTENTS, {**forger.one(CONTENTS, dice.choice(forger.seqs(CONTENTS))), "seq": end})
    return f"a content of {end}"


def forget(forger: Forger, dice: random.Random) -> str:
    """A content, without an erasure."""
    seq = dice.choice(forger.seqs(CONTENTS))
    forger.delete(CONTENTS, seq)
    return f"content of {seq}"


def behead(forger: Forger, dice: random.Random) -> str:
    """The head in the database, or the file of it, goes; or the file is scribbled over."""
    kind = dice.randrange(3)
    file = forger.home / HEAD_FILE
    if kind == 0:
        forger.write(HEADS, [])
        return "no head"
    if kind == 1:
        file.unlink()
        return "no file"
    file.write_bytes(bytes(dice.randrange(32, 120) for _ in range(280)))
    return "a scribbled file"


ALL: Final[tuple[Callable[[Forger, random.Random], str], ...]] = (
    alter, alter, alter, remove, close_up, truncate, reorder, swap, duplicate, invent, forget, behead,
)  # fmt: skip
"""Alteration thrice: it is many columns of three tables."""
