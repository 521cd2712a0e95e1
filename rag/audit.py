"""The chain of records: what was answered, to whom and on what, so that nothing of it changes unnoticed.

A record has two parts. Its row in ``records`` is never changed: a body without a personal word, a commitment to the
content, the hash of the record before it, and its own hash over all of that. What is personal (who asked, the
question, the text) stands beside the chain in ``recordCONTENTS``, with a random key of its own; the commitment is an
HMAC of the content under that key. Erasing deletes content and key: the chain stays whole, and nothing in it tells
any more, not even by trying likely words, what the content was or whose. An erasure is itself a record.

Hashes are HMACs under a secret that is in no database (``audit.key`` in the home, or the file that the setting
``audit_key`` names). The head (how many records there are, and the hash of the last) is kept signed in the database
and in ``audit.head`` in the home of each program that writes.

What this withstands:

* Whoever can write to the database only can alter, remove, reorder, double, invent and swap, and truncate the chain;
  :func:`rag.tampers.verify` finds each, and says which record it is. They cannot make a record, an erasure or a head.
  They can put the whole database back to an earlier state: ``audit.head`` contradicts them.
* Whoever can write to the home too, but cannot read ``audit.key``, can delete ``audit.head`` besides, which is
  found, or put back an older copy of it together with the older database, which is not. A head noted elsewhere
  (``vauban audit verify`` prints it, each line of an export carries its record's hash) contradicts them.
* Whoever can read ``audit.key`` and write to the database can write another history, whole and consistent. Only a
  head noted elsewhere before (``vauban audit verify --head``) contradicts them, for all that came before it.
* Nobody can be kept from reading the contents who reads the database's files: they are not encrypted.

A program that finds the chain not as it was left when it appends a record goes on, because a chain that stands
still would be worth less, and writes an ``alarm`` first: what was found stays found.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from rag import heads, tampers
from rag.database import Database, batches
from rag.erasure import Erased, Erasing, chosen
from rag.errors import NotFound, OperatorError, SettingsError, StoreError
from rag.heads import HEAD_FILE, HEADS, NOTHING, FileState, Head, HeadFile
from rag.records import (
    CONTENTS,
    PAGE,
    RECORDS,
    Draft,
    Record,
    RecordKind,
    Wanted,
    conditions,
    intact,
    joined,
    of_kind,
    ranges,
    record_of,
    seal,
    written,
)
from rag.sealing import KEY_FILE, Keys, canonical, commitment, secret_in, storable
from rag.tampers import Tamper, Verification
from rag.unfinished import Begun, Unfinished

log = logging.getLogger("vauban.audit")


class Records:
    """The chain of one database. Safe to use from several threads and processes; make it with :meth:`open`."""

    def __init__(self, database: Database, keys: Keys, head_file: HeadFile, unfinished: Unfinished) -> None:
        self._database = database
        self._keys = keys
        self._file = head_file
        self.unfinished = unfinished
        self._owed: deque[tuple[Draft, Begun | None]] = deque()
        self._settling = threading.Lock()

    @classmethod
    def open(cls, database: Database, home: Path, key: Path | None = None) -> Self:
        """The chain in ``database``; its secret is in the file ``key``, by default ``audit.key`` in ``home``.

        A secret is made where there is neither a file nor a record.

        Raises:
            SettingsError: the file is missing or unreadable while there are records, or its secret is another one's.
            StoreError, DiskFull: the home or the database cannot be used.
        """
        path = key or home / KEY_FILE
        with database.writing() as connection:
            row = connection.execute(sa.select(HEADS.c.secret)).first()
            keys = Keys(secret_in(path, make=row is None))
            if row is None:
                connection.execute(HEADS.insert().values(heads.signed(keys, NOTHING)))
            elif row.secret != keys.name:
                raise SettingsError(
                    f"{path} does not hold the secret of the records in this database; where several servers share a "
                    "database, name one and the same file in the setting `audit_key` of each",
                    f"{path} ne contient pas le secret des traces de cette base ; si plusieurs serveurs partagent une "
                    "base, indiquez à chacun le même fichier par le réglage « audit_key »",
                    code="audit_key",
                )
            file = HeadFile(home / HEAD_FILE, keys)
            if heads.last(connection) == NOTHING and heads.said(connection, keys) == NOTHING:
                file.begin()  # while nobody writes: the second record may come before the first one's head is noted
        return cls(database, keys, file, Unfinished(home))

    # --- writing

    def append(self, draft: Draft) -> int:
        """Add a record; its number. When this returns it survives a power cut.

        Raises:
            StoreError, DiskFull: it could not be written, and the chain is as it was.
        """
        with self._database.writing() as connection:
            head = self._append(connection, draft)
        self._file.note(head)
        return head.count

    def owe(self, draft: Draft, begun: Begun | None = None) -> None:
        """Keep in memory a record that could not be written, until :meth:`settle`; ``begun`` is ended then."""
        self._owed.append((draft, begun))

    @property
    def owed(self) -> int:
        """How many records could not be written yet."""
        return len(self._owed)

    def settle(self) -> None:
        """Write what is owed, where something is.

        Raises:
            StoreError, DiskFull: it still cannot be written; nobody should be answered before it can.
        """
        with self._settling:
            while self._owed:
                draft, begun = self._owed[0]
                self.append(draft)
                self._owed.popleft()
                if begun is not None:
                    begun.end()

    def close(self) -> None:
        """Write what is owed, if that is possible at last."""
        try:
            self.settle()
        except OperatorError as error:
            log.error("records lost: %d, %s", len(self._owed), error.code)

    def erase(self, erasing: Erasing, draft: Draft) -> Erased:
        """Destroy contents with their keys, and say so in the chain by ``draft``, whose body is added to.

        Of a person the answers are erased; what they did as an auditor stays until its time is over. Nothing is
        recorded where there was nothing to erase.

        Raises:
            StoreError, DiskFull: nothing was erased, or its bytes could not be scrubbed (ask again).
        """
        with self._database.writing() as connection:
            found = list(connection.execute(chosen(erasing)).scalars())
            head = None
            if found:
                for some in batches(found, PAGE):
                    connection.execute(CONTENTS.delete().where(CONTENTS.c.seq.in_(some)))
                body = {**draft.body, "reason": erasing.reason, "records": ranges(found)}
                head = self._append(connection, replace(draft, body=body))
                self._database.erased(connection)
        if head is not None:
            self._file.note(head)
        return Erased(len(found), head.count if head else None, self._database.scrub())

    def _append(self, connection: sa.Connection, draft: Draft) -> Head:
        """Add a record, after an alarm where the chain is not as it was left, and move the head on."""
        head, alarm = self._last(connection)
        if alarm is not None:
            log.error("audit alarm: %s", alarm.value)
            head = self._insert(connection, head, Draft(RecordKind.ALARM, {"found": alarm.value}))
        head = self._insert(connection, head, draft)
        connection.execute(self._database.upsert(HEADS, values := heads.signed(self._keys, head), values))
        return head

    def _last(self, connection: sa.Connection) -> tuple[Head, Tamper | None]:
        """Where the next record goes, and what is wrong with the end of the chain."""
        there, said = heads.last(connection), heads.said(connection, self._keys)
        if said is None:
            return there, Tamper.HEAD_ALTERED
        if said != there:
            return Head(max(said.count, there.count), there.hash), Tamper.TRUNCATED
        noted, state = self._file.read()
        if state is FileState.BROKEN or (state is FileState.MISSING and said.count and not self._database.shared):
            return there, Tamper.HEAD_ALTERED
        if noted is not None and not heads.held(connection, noted):
            return Head(max(noted.count, there.count), there.hash), Tamper.TRUNCATED
        return there, None

    def _insert(self, connection: sa.Connection, head: Head, draft: Draft) -> Head:
        seq, promised, owner = head.count + 1, "", storable(draft.owner)
        if draft.content is not None:
            secret, content = secrets.token_hex(32), canonical(draft.content)
            promised = commitment(secret, seq, owner, content)
            values = {"seq": seq, "owner": owner, "secret": secret, "content": content}
            connection.execute(CONTENTS.insert().values(values))
        row: dict[str, object] = {
            "seq": seq,
            "kind": draft.kind.value,
            "id": storable(draft.id),
            "at": written(dt.datetime.now(dt.UTC)),
            "status": storable(draft.status),
            "corpora": f" {' '.join(draft.corpora)} ",
            "body": canonical(draft.body),
            "commitment": promised,
            "previous": head.hash,
        }
        row["hash"] = seal(self._keys, row)
        connection.execute(RECORDS.insert().values(row))
        return Head(seq, str(row["hash"]))

    # --- reading

    @property
    def head(self) -> Head:
        """The head of the chain as it is now."""
        with self._database.reading() as connection:
            return heads.last(connection)

    def read(self, which: str) -> Record:
        """The record with a number, or of the answer with an id.

        Raises:
            NotFound: there is none.
            StoreError: it was altered, so that nobody should believe it.
        """
        by_number = which.isascii() and which.isdigit() and len(which) < 10
        condition = RECORDS.c.seq == int(which) if by_number else (RECORDS.c.id == which) & of_kind(RecordKind.ANSWER)
        with self._database.reading() as connection:
            found = connection.execute(joined().where(condition).order_by(RECORDS.c.seq).limit(1))
            row = found.mappings().first()
        if row is None or not which:
            raise NotFound("there is no such record", "il n'y a pas de telle trace", code="unknown_record")
        if not intact(self._keys, row):
            raise StoreError(
                f"record {row['seq']} was altered; `vauban audit verify` says more",
                f"la trace {row['seq']} a été modifiée ; « vauban audit verify » en dit plus",
                code="record_altered",
            )
        return record_of(row)

    def page(self, wanted: Wanted, *, after: int = 0, limit: int = 100, newest: bool = False) -> list[Record]:
        """Records in their order from the one after ``after``, or, ``newest`` first, those before it.

        One that was altered is given as an alarm in its place, without any of its words.
        """
        place = RECORDS.c.seq
        there = (place < after if after else sa.true()) if newest else place > after
        query = joined().where(there, *conditions(wanted)).order_by(place.desc() if newest else place).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [record_of(row) if intact(self._keys, row) else _altered(row["seq"]) for row in rows]

    def verify(self, noted: Iterable[Head] = ()) -> Verification:
        """Read the whole chain and say what is wrong with it; ``noted`` are heads that were written down elsewhere."""
        with self._database.reading() as connection:
            shared = self._database.shared
            return tampers.verify(connection, self._keys, self._file.read(), tuple(noted), shared=shared)


def _altered(seq: int) -> Record:
    """What stands for a record that nobody should believe."""
    never = dt.datetime.fromtimestamp(0, dt.UTC)
    body = {"found": Tamper.ALTERED.value}
    return Record(seq, RecordKind.ALARM, "", never, "", (), body, "", "", "", None)
