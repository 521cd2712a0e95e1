"""Sessions of the page: a cookie holds 256 random bits that mean nothing, the database what they stand for.

They are in the database and not in memory because several servers may share it. It holds a hash of the cookie, so
that whoever reads the database cannot sign in with what they find.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from rag.database import Database, Text, metadata
from rag.standing import Source, Standing, read, written

IDLE: Final = 3_600.0
"""Seconds after which a session that nobody uses has ended."""
LONGEST: Final = 12 * 3_600.0
"""Seconds after which every session has ended: a working day."""
NOTED: Final = 60.0
"""Seconds between two notes that a session is used."""

sessions: Final = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("source", Text, nullable=False),
    sa.Column("reference", Text, nullable=False),
    sa.Column("principal", Text, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
)


class Sessions:
    """Safe to use from several threads and processes; ``clock`` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def begin(self, standing: Standing) -> str:
        """A new session on what somebody signed in with; its secret, for the cookie.

        Sessions that have ended are swept out on the way.
        """
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        ends = min(now + LONGEST, standing.until or float("inf"))
        row = {
            "id": _stored(secret),
            "source": standing.source.value,
            "reference": standing.reference,
            "principal": json.dumps(written(standing.principal), ensure_ascii=False),
            "ends": int(ends),
            "seen": int(now),
        }
        with self._database.writing() as connection:
            connection.execute(sessions.delete().where((sessions.c.ends <= now) | (sessions.c.seen <= now - IDLE)))
            connection.execute(sessions.insert().values(**row))
        return secret

    def of_cookie(self, secret: str) -> tuple[str, Standing] | None:
        """The stored name of the session of a cookie and on what it stands, while it has not ended."""
        id_ = _stored(secret)
        found = self.standing(id_)
        return None if found is None else (id_, found)

    def standing(self, id: str) -> Standing | None:  # noqa: A002 the field's own name
        """On what a session stands; the credential that it was begun with must still be looked at."""
        now = self._clock()
        with self._database.reading() as connection:
            row = connection.execute(sessions.select().where(sessions.c.id == id)).one_or_none()
        if row is None or row.ends <= now or row.seen <= now - IDLE:
            return None
        return Standing(read(json.loads(row.principal)), Source(row.source), row.reference, row.ends)

    def used(self, id: str) -> None:  # noqa: A002 as above
        """Note that a session is in use; written once a minute."""
        now = int(self._clock())
        seen = sessions.c.seen
        with self._database.reading() as connection:
            stale = connection.execute(sa.select(seen).where(sessions.c.id == id, seen < now - NOTED)).first()
        if stale is not None:
            with self._database.writing() as connection:
                connection.execute(sessions.update().where(sessions.c.id == id).values(seen=now))

    def end(self, secret: str) -> None:
        """Sign out: the cookie means nothing any more."""
        with self._database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.id == _stored(secret)))


def _stored(secret: str) -> str:
    """The name of a session in the database; a lookup by a hash tells nothing of the secrets of others."""
    return hashlib.sha256(b"vauban session\0" + secret.encode()).hexdigest()
