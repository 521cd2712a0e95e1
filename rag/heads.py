"""The head of a chain of records: how many there are, and the hash of the last.

It is kept signed in the database and in ``audit.head`` in the home of each program that writes; written down elsewhere
besides, it holds the chain to its word.
"""

from __future__ import annotations

import hmac
import logging
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa

from rag.database import Text, metadata
from rag.errors import BadRequest
from rag.home import write_atomically
from rag.records import RECORDS
from rag.sealing import DIGITS, Keys

log = logging.getLogger("vauban.audit")

HEAD_FILE: Final = "audit.head"
FIRST: Final = "0" * 64
"""What stands before the first record."""

HEADS = sa.Table(
    "record_heads",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("hash", Text, nullable=False),
    sa.Column("secret", Text, nullable=False),
    sa.Column("signature", Text, nullable=False),
)


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
        right = len(count) < 10 and len(digest) == DIGITS and not set(digest) - set("0123456789abcdef")
        if not (right and count.isascii() and count.isdigit()):
            raise BadRequest(
                "a head is written COUNT:HASH, as `vauban audit verify` prints it",
                "une tête s'écrit NOMBRE:EMPREINTE, comme « vauban audit verify » l'affiche",
                code="bad_head",
            )
        return cls(int(count), digest)


NOTHING: Final = Head(0, FIRST)


# --- in the database ------------------------------------------------------------------------------------


def last(connection: sa.Connection) -> Head:
    """Where the chain ends."""
    found = connection.execute(sa.select(RECORDS.c.seq, RECORDS.c.hash).order_by(RECORDS.c.seq.desc()).limit(1)).first()
    return NOTHING if found is None else Head(found.seq, str(found.hash))


def said(connection: sa.Connection, keys: Keys) -> Head | None:
    """The head that the database says; ``None`` where it is not as it was signed."""
    row = connection.execute(sa.select(HEADS).where(HEADS.c.id == 1)).mappings().first()
    if row is None or not isinstance(row["count"], int):
        return None
    head, signature = Head(row["count"], str(row["hash"])), str(row["signature"])
    right = row["secret"] == keys.name and signature.isascii()
    return head if right and hmac.compare_digest(signature, _signature(keys, head)) else None


def held(connection: sa.Connection, head: Head) -> bool:
    """Whether the chain has, at that place, the record that a head says."""
    if head.count == 0:
        return head.hash == FIRST
    found = connection.execute(sa.select(RECORDS.c.hash).where(RECORDS.c.seq == head.count)).scalar()
    return bool(found == head.hash)


def signed(keys: Keys, head: Head) -> dict[str, object]:
    """The row of the database that says a head."""
    return {
        "id": 1,
        "count": head.count,
        "hash": head.hash,
        "secret": keys.name,
        "signature": _signature(keys, head),
    }


def _signature(keys: Keys, head: Head) -> str:
    return keys.sign("head", str(head).encode("utf-8", "replace"))


# --- beside the database --------------------------------------------------------------------------------


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

    def begin(self) -> None:
        """Make the file, where there is none, before the first record: one that is missing later was removed."""
        if not self._path.exists():
            write_atomically(self._path, self._line(NOTHING) * 2)

    def note(self, head: Head) -> None:
        """Write a head; one that cannot be written is behind, which :func:`rag.tampers.verify` allows for."""
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
