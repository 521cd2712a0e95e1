"""The chain of records: what was answered, to whom and on what, so that nothing of it changes unnoticed.

A record has two parts. Its row in ``records`` is never changed: a body without a personal word, a commitment to the
content, the hash of the record before it, and its own hash over all of that. What is personal (who asked, the
question, the text) stands beside the chain in ``record_contents``, with a random key of its own; the commitment is an
HMAC of the content under that key. Erasing deletes content and key: the chain stays whole, and nothing in it tells
any more, not even by trying likely words, what the content was or whose. An erasure is itself a record.

Hashes are HMACs under a secret that is in no database (``audit.key`` in the home, or the file that the setting
``audit_key`` names). The head (how many records there are, and the hash of the last) is kept signed in the database
and in ``audit.head`` in the home of each program that writes.

What this withstands:

* Whoever can write to the database only can alter, remove, reorder, double, invent and swap, and truncate the chain;
  :meth:`Records.verify` finds each, and says which record it is. They cannot make a record, an erasure or a head.
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
import hashlib
import hmac
import json
import logging
import secrets
import stat
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from rag.database import PERSONAL, Database, Text, batches, metadata
from rag.errors import BadRequest, NotFound, OperatorError, SettingsError, StoreError
from rag.home import translated, write_atomically

log = logging.getLogger("vauban.audit")

KEY_FILE: Final = "audit.key"
HEAD_FILE: Final = "audit.head"
FIRST: Final = "0" * 64
"""What stands before the first record."""
_PAGE: Final = 500
"""Records read at a time: verifying millions takes no more memory than verifying a thousand."""
_HEX: Final = 64

_records = sa.Table(
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
_contents = sa.Table(
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
_heads = sa.Table(
    "record_heads",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("hash", Text, nullable=False),
    sa.Column("secret", Text, nullable=False),
    sa.Column("signature", Text, nullable=False),
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
class Head:
    """How many records there are, and the hash of the last: written down elsewhere, it holds the chain to its word."""

    count: int
    hash: str

    def __str__(self) -> str:
        return f"{self.count}:{self.hash}"

    @classmethod
    def parse(cls, written: str) -> Self:
        """The head that :meth:`__str__` wrote.

        Raises:
            BadRequest: it is not written so.
        """
        count, _, digest = written.strip().partition(":")
        right = len(count) < 10 and len(digest) == _HEX and not set(digest) - set("0123456789abcdef")
        if not (right and count.isascii() and count.isdigit()):
            raise BadRequest(
                "a head is written COUNT:HASH, as `vauban audit verify` prints it",
                "une tête s'écrit NOMBRE:EMPREINTE, comme « vauban audit verify » l'affiche",
                code="bad_head",
            )
        return cls(int(count), digest)


NOTHING: Final = Head(0, FIRST)


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are wanted: all that meet every condition given. ``owner`` finds those with a content only."""

    start: dt.datetime | None = None
    end: dt.datetime | None = None
    owner: str | None = None
    status: str | None = None
    corpus: str | None = None
    kind: RecordKind | None = None


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


@dataclass(frozen=True)
class Keys:
    """What is derived from the secret of a chain, one key for each purpose."""

    secret: bytes = field(repr=False)

    def sign(self, purpose: str, message: bytes) -> str:
        """An HMAC-SHA-256 of ``message`` that holds for one purpose only."""
        key = hmac.digest(self.secret, b"vauban audit " + purpose.encode(), hashlib.sha256)
        return hmac.digest(key, message, hashlib.sha256).hex()

    @property
    def name(self) -> str:
        """Tells one secret from another, and nothing of it."""
        return self.sign("name", b"")[:32]


class Records:
    """The chain of one database. Safe to use from several threads and processes; make it with :meth:`open`."""

    def __init__(self, database: Database, keys: Keys, head_file: HeadFile) -> None:
        self._database = database
        self._keys = keys
        self._file = head_file
        self._owed: deque[Draft] = deque()
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
            row = connection.execute(sa.select(_heads.c.secret)).first()
            keys = Keys(_secret(path, make=row is None))
            if row is None:
                connection.execute(_heads.insert().values(_head_values(keys, NOTHING)))
            elif row.secret != keys.name:
                raise SettingsError(
                    f"{path} does not hold the secret of the records in this database; where several servers share a "
                    "database, name one and the same file in the setting `audit_key` of each",
                    f"{path} ne contient pas le secret des traces de cette base ; si plusieurs serveurs partagent une "
                    "base, indiquez à chacun le même fichier par le réglage « audit_key »",
                    code="audit_key",
                )
        return cls(database, keys, HeadFile(home / HEAD_FILE, keys))

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

    def owe(self, draft: Draft) -> None:
        """Keep in memory a record that could not be written, until :meth:`settle`."""
        self._owed.append(draft)

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
                self.append(self._owed[0])
                self._owed.popleft()

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
            found = list(connection.execute(_of(erasing)).scalars())
            head = None
            if found:
                for some in batches(found, _PAGE):
                    connection.execute(_contents.delete().where(_contents.c.seq.in_(some)))
                body = {**draft.body, "reason": erasing.reason, "records": ranges(found)}
                head = self._append(connection, _with_body(draft, body))
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
        connection.execute(self._database.upsert(_heads, values := _head_values(self._keys, head), values))
        return head

    def _last(self, connection: sa.Connection) -> tuple[Head, Tamper | None]:
        """Where the next record goes, and what is wrong with the end of the chain."""
        last = connection.execute(sa.select(_records.c.seq, _records.c.hash).order_by(_records.c.seq.desc()).limit(1))
        row = last.first()
        there = Head(row.seq, str(row.hash)) if row is not None else NOTHING
        said = self._head(connection)
        if said is None:
            return there, Tamper.HEAD_ALTERED
        if said != there:
            return Head(max(said.count, there.count), there.hash), Tamper.TRUNCATED
        noted, state = self._file.read()
        if state is FileState.BROKEN or (state is FileState.MISSING and said.count and not self._database.shared):
            return there, Tamper.HEAD_ALTERED
        if noted is not None and not _holds(connection, noted):
            return Head(max(noted.count, there.count), there.hash), Tamper.TRUNCATED
        return there, None

    def _head(self, connection: sa.Connection) -> Head | None:
        """The head that the database says; ``None`` where it is not as it was signed."""
        row = connection.execute(sa.select(_heads).where(_heads.c.id == 1)).mappings().first()
        if row is None or not isinstance(row["count"], int):
            return None
        head, signature = Head(row["count"], str(row["hash"])), str(row["signature"])
        right = row["secret"] == self._keys.name and signature.isascii()
        return head if right and hmac.compare_digest(signature, _signature(self._keys, head)) else None

    def _insert(self, connection: sa.Connection, head: Head, draft: Draft) -> Head:
        seq, commitment, owner = head.count + 1, "", _storable(draft.owner)
        if draft.content is not None:
            secret, content = secrets.token_hex(32), canonical(draft.content)
            commitment = _commitment(secret, seq, owner, content)
            values = {"seq": seq, "owner": owner, "secret": secret, "content": content}
            connection.execute(_contents.insert().values(values))
        row: dict[str, object] = {
            "seq": seq,
            "kind": draft.kind.value,
            "id": _storable(draft.id),
            "at": _written(dt.datetime.now(dt.UTC)),
            "status": _storable(draft.status),
            "corpora": f" {' '.join(draft.corpora)} ",
            "body": canonical(draft.body),
            "commitment": commitment,
            "previous": head.hash,
        }
        row["hash"] = self._seal(row)
        connection.execute(_records.insert().values(row))
        return Head(seq, str(row["hash"]))

    def _seal(self, row: Mapping[str, Any] | sa.RowMapping) -> str:
        return self._keys.sign("record", canonical([row[name] for name in _SEALED]).encode())

    # --- reading

    @property
    def head(self) -> Head:
        """The head of the chain as it is now."""
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(_records.c.seq, _records.c.hash).order_by(_records.c.seq.desc()).limit(1)
            ).first()
            return NOTHING if row is None else Head(row.seq, row.hash)

    def read(self, which: str) -> Record:
        """The record with a number, or of the answer with an id.

        Raises:
            NotFound: there is none.
            StoreError: it was altered, so that nobody should believe it.
        """
        by_number = which.isascii() and which.isdigit() and len(which) < 10
        condition = _records.c.seq == int(which) if by_number else (_records.c.id == which) & _is(RecordKind.ANSWER)
        with self._database.reading() as connection:
            found = connection.execute(_joined().where(condition).order_by(_records.c.seq).limit(1))
            row = found.mappings().first()
        if row is None or not which:
            raise NotFound("there is no such record", "il n'y a pas de telle trace", code="unknown_record")
        if not self._intact(row):
            raise StoreError(
                f"record {row['seq']} was altered; `vauban audit verify` says more",
                f"la trace {row['seq']} a été modifiée ; « vauban audit verify » en dit plus",
                code="record_altered",
            )
        return _record(row)

    def page(self, wanted: Wanted, *, after: int = 0, limit: int = 100, newest: bool = False) -> list[Record]:
        """Records in their order from the one after ``after``, or, ``newest`` first, those before it.

        One that was altered is given as an alarm in its place, without any of its words.
        """
        place = _records.c.seq
        there = (place < after if after else sa.true()) if newest else place > after
        query = _joined().where(there, *_conditions(wanted)).order_by(place.desc() if newest else place).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [_record(row) if self._intact(row) else _altered(row["seq"]) for row in rows]

    def _intact(self, row: sa.RowMapping) -> bool:
        """Whether a record and its content are as they were written."""
        return self._sealed(row) and (row["content"] is None or _committed(row))

    # --- verifying

    def verify(self, noted: Iterable[Head] = ()) -> Verification:
        """Read the whole chain and say what is wrong with it; ``noted`` are heads that were written down elsewhere."""
        with self._database.reading() as connection:
            findings: list[Finding] = []
            erased = self._erased(connection)
            gone: set[int] = set()
            expected, before = 1, FIRST
            for row in _pages(connection):
                if row["seq"] > expected:
                    findings.append(Finding(Tamper.REMOVED, expected, row["seq"] - 1))
                tampers, lacks = self._examined(row, before, erased)
                findings += [Finding(tamper, row["seq"]) for tamper in tampers]
                if lacks:
                    gone.add(row["seq"])
                expected, before = max(expected, row["seq"] + 1), row["hash"]
            there = Head(expected - 1, before if isinstance(before, str) else "")
            findings += [Finding(Tamper.CONTENT_STRAY, seq) for seq in connection.execute(_STRAY).scalars()]
            findings += self._judged(connection, there, tuple(noted))
            return Verification(there, len(gone), tuple(findings))

    def _examined(self, row: sa.RowMapping, before: object, erased: set[int]) -> tuple[list[Tamper], bool]:
        """What is wrong with one record, and whether its content was erased by right."""
        tampers = []
        if not self._sealed(row):
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
        elif not _committed(row):
            tampers.append(Tamper.CONTENT_ALTERED)
        return tampers, False

    def _sealed(self, row: sa.RowMapping) -> bool:
        whole = isinstance(row["seq"], int) and all(isinstance(row[name], str) for name in (*_SEALED[1:], "hash"))
        return whole and hmac.compare_digest(row["hash"].encode("utf-8", "replace"), self._seal(row).encode())

    def _erased(self, connection: sa.Connection) -> set[int]:
        """The numbers of the records whose contents were erased, as records say that were not altered themselves."""
        found: set[int] = set()
        for row in connection.execute(sa.select(_records).where(_is(RecordKind.ERASURE))).mappings():
            if self._sealed(row):
                for first, last in json.loads(row["body"])["records"]:
                    found.update(range(first, min(last, row["seq"] - 1) + 1))
        return found

    def _judged(self, connection: sa.Connection, there: Head, noted: Sequence[Head]) -> list[Finding]:
        """What the heads say of a chain that ends ``there``."""
        findings = []
        said = self._head(connection)
        in_file, state = self._file.read()
        # A program that shares the database and has not written yet has no file; one that was killed is behind.
        if state is FileState.MISSING and there.count and not self._database.shared:
            state = FileState.BROKEN
        if said is None or state is FileState.BROKEN:
            findings.append(Finding(Tamper.HEAD_ALTERED))
        heads = [head for head in (said, in_file) if head is not None]
        most = max((head.count for head in (*heads, *noted)), default=0)
        if most > there.count:
            findings.append(Finding(Tamper.TRUNCATED, there.count + 1, most))
        if said is not None and said.count <= there.count and said != there:
            findings.append(Finding(Tamper.HEAD_ALTERED))
        findings += [
            Finding(Tamper.OTHER_HISTORY, head.count)
            for head in (*heads, *noted)
            if head.count <= there.count and not _holds(connection, head)
        ]
        return list(dict.fromkeys(findings))


# --- the head beside the database -----------------------------------------------------------------------


class FileState(StrEnum):
    """How the file of the head is found."""

    WHOLE = "whole"
    MISSING = "missing"
    BROKEN = "broken"


class HeadFile:
    """The last head that this home's programs wrote: two signed lines, written in turn.

    A line that a power cut has torn leaves the other. It is not synced to the disk with each record: after a power
    cut it may be behind the database, never ahead of it. Safe to use from several threads.
    """

    def __init__(self, path: Path, keys: Keys) -> None:
        self._path = path
        self._keys = keys
        self._writing = threading.Lock()
        self._noted = 0

    def read(self) -> tuple[Head | None, FileState]:
        """The newest head that is whole and signed."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return None, FileState.MISSING
        except OSError:
            return None, FileState.BROKEN
        heads = [head for line in lines[:2] if (head := self._parsed(line)) is not None]
        if not heads:
            return None, FileState.BROKEN
        return max(heads, key=lambda head: head.count), FileState.WHOLE

    def note(self, head: Head) -> None:
        """Write a head; one that cannot be written is behind, which :meth:`Records.verify` allows for."""
        with self._writing:
            if head.count <= self._noted:
                return  # another thread was faster
            line = self._line(head)
            try:
                if not self._path.exists():
                    write_atomically(self._path, line * 2)
                with self._path.open("r+b") as file:
                    file.seek(head.count % 2 * len(line))
                    file.write(line)
            except OSError as error:
                log.warning("audit head not written: %s", type(error).__name__)
            self._noted = head.count

    def _line(self, head: Head) -> bytes:
        return f"{head.count:010d} {head.hash} {_signature(self._keys, head)}\n".encode()

    def _parsed(self, line: bytes) -> Head | None:
        parts = line.decode("ascii", "replace").split(" ")
        if len(parts) != 3 or not (parts[0].isascii() and parts[0].isdigit()):
            return None
        head = Head(int(parts[0]), parts[1])
        return head if hmac.compare_digest(line + b"\n", self._line(head)) else None


def _head_values(keys: Keys, head: Head) -> dict[str, object]:
    return {
        "id": 1,
        "count": head.count,
        "hash": head.hash,
        "secret": keys.name,
        "signature": _signature(keys, head),
    }


def _signature(keys: Keys, head: Head) -> str:
    return keys.sign("head", str(head).encode("utf-8", "replace"))


def _secret(path: Path, *, make: bool) -> bytes:
    """The secret in a file that only its owner may read; a new one where there is none and ``make`` says so."""
    with translated(path):
        try:
            written = path.read_bytes().strip()
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SettingsError(
                    f"others may read {path}, which holds the secret of the records: chmod 600 {path}",
                    f"d'autres peuvent lire {path}, qui contient le secret des traces : chmod 600 {path}",
                    code="audit_key",
                )
        except FileNotFoundError:
            if not make:
                raise _no_secret(path) from None
            written = secrets.token_hex(32).encode()
            write_atomically(path, written + b"\n")
    try:
        secret = bytes.fromhex(written.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < 32:
        raise SettingsError(
            f"{path} must hold at least 64 hexadecimal digits; restore it, or make one with: openssl rand -hex 32",
            f"{path} doit contenir au moins 64 chiffres hexadécimaux ; restaurez-le, ou créez-en un avec : "
            "openssl rand -hex 32",
            code="audit_key",
        )
    return secret


def _no_secret(path: Path) -> SettingsError:
    return SettingsError(
        f"{path} is missing, which holds the secret of the records in this database; restore it from a backup, or "
        "name the file of the other servers in the setting `audit_key`",
        f"{path} manque, qui contient le secret des traces de cette base ; restaurez-le depuis une sauvegarde, ou "
        "indiquez le fichier des autres serveurs par le réglage « audit_key »",
        code="audit_key",
    )


# --- rows -----------------------------------------------------------------------------------------------


def canonical(value: object) -> str:
    """``value`` as JSON, always in the same words: sorted keys, no spaces, whole characters only."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.encode("utf-8", "replace").decode()


def _storable(text: str) -> str:
    """``text`` as a database gives it back (:class:`rag.database.Text`): what is sealed is what is stored."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def ranges(numbers: Collection[int]) -> list[list[int]]:
    """Whole numbers as closed ranges, ascending: ``[[1, 3], [7, 7]]``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _commitment(secret: str, seq: int, owner: str, content: str) -> str:
    """What the chain holds of a content: nothing can be tried against it once the key is gone."""
    return hmac.digest(secret.encode(), canonical([seq, owner, content]).encode(), hashlib.sha256).hex()


def _committed(row: sa.RowMapping) -> bool:
    secret, owner, content = row["secret"], row["owner"], row["content"]
    if not (isinstance(secret, str) and isinstance(owner, str) and isinstance(content, str)):
        return False
    # A key of another length could stand for the same HMAC: it is filled up with zeros.
    if len(secret) != _HEX or not isinstance(row["commitment"], str):
        return False
    made = _commitment(secret, row["seq"], owner, content)
    return hmac.compare_digest(made.encode(), row["commitment"].encode("utf-8", "replace"))


def _joined() -> sa.Select[Any]:
    personal = (_contents.c.owner, _contents.c.secret, _contents.c.content)
    return sa.select(_records, *personal).outerjoin(_contents, _contents.c.seq == _records.c.seq)


_STRAY: Final = (
    sa.select(_contents.c.seq)
    .outerjoin(_records, _records.c.seq == _contents.c.seq)
    .where(_records.c.seq.is_(None))
    .order_by(_contents.c.seq)
)


def _pages(connection: sa.Connection) -> Iterator[sa.RowMapping]:
    """Every record with its content, as the database has them, in the order of their numbers."""
    after: int | None = None
    while True:
        query = _joined().order_by(_records.c.seq).limit(_PAGE)
        if after is not None:
            query = query.where(_records.c.seq > after)
        rows = connection.execute(query).mappings().all()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1]["seq"]


def _holds(connection: sa.Connection, head: Head) -> bool:
    """Whether the chain has, at that place, the record that a head says."""
    if head.count == 0:
        return head.hash == FIRST
    found = connection.execute(sa.select(_records.c.hash).where(_records.c.seq == head.count)).scalar()
    return bool(found == head.hash)


def _is(kind: RecordKind) -> sa.ColumnElement[bool]:
    return _records.c.kind == kind.value


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.start is not None:
        conditions.append(_records.c.at >= _written(wanted.start))
    if wanted.end is not None:
        conditions.append(_records.c.at < _written(wanted.end))
    if wanted.owner is not None:
        conditions.append(_contents.c.owner == wanted.owner)
    if wanted.status is not None:
        conditions.append(_records.c.status == wanted.status)
    if wanted.corpus is not None:
        conditions.append(_records.c.corpora.contains(f" {wanted.corpus} ", autoescape=True))
    if wanted.kind is not None:
        conditions.append(_is(wanted.kind))
    return conditions


def _of(erasing: Erasing) -> sa.Select[Any]:
    query = sa.select(_contents.c.seq).join(_records, _records.c.seq == _contents.c.seq)
    if erasing.before is not None:
        return query.where(_records.c.at < _written(erasing.before))
    query = query.where(_is(RecordKind.ANSWER))
    if erasing.answer is not None:
        return query.where(_records.c.id == erasing.answer)
    person = erasing.person or ""
    by_name = _contents.c.owner.endswith(f":{person}", autoescape=True) if ":" not in person else sa.false()
    return query.where((_contents.c.owner == person) | by_name)


def _with_body(draft: Draft, body: Mapping[str, object]) -> Draft:
    return Draft(draft.kind, body, draft.content, draft.owner, draft.id, draft.status, draft.corpora)


def _written(moment: dt.datetime) -> str:
    """A moment so that the order of the texts is the order of the moments."""
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _record(row: sa.RowMapping) -> Record:
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


def _altered(seq: int) -> Record:
    """What stands for a record that nobody should believe."""
    never = dt.datetime.fromtimestamp(0, dt.UTC)
    body = {"found": Tamper.ALTERED.value}
    return Record(seq, RecordKind.ALARM, "", never, "", (), body, "", "", "", None)
