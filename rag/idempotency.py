"""Writes that may be repeated: what was answered under an ``Idempotency-Key`` is kept for a day, for its owner only.

A key belongs to one request: its route, its body, and the rights of who sent it. The same request under the same key
gets the response that the first one got; another one is refused; and so is a second one while the first is still in
the making, in whichever process. Only what succeeded is kept: what failed has written nothing, and may be sent again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from rag.database import PERSONAL, Database, Text, metadata
from rag.errors import Conflict
from rag.problems import Refusal

KEPT: Final = dt.timedelta(hours=24)
LEASE: Final = dt.timedelta(minutes=10)
"""After this, a request that never ended is taken to have died with its process."""
MOST_KEYS: Final = 1_000
"""Keys of one person: beyond them the oldest are forgotten early. Who repeats does so within minutes."""
LARGEST_RESPONSE: Final = 64 * 2**10
"""Bytes of a response that is kept; of a larger one only that it was given."""

_repeatable = sa.Table(
    "repeatable",
    metadata,
    sa.Column("owner", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("claim", Text, nullable=False),
    sa.Column("request", Text, nullable=False),
    sa.Column("route", Text, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.JSON),
    sa.Column("body", sa.LargeBinary),
    sa.Index("ix_repeatable_owner_created", "owner", "created"),
    sa.Index("ix_repeatable_created", "created"),
    info={PERSONAL: True},
)


@dataclass(frozen=True, slots=True)
class Given:
    """The response that a request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry out the request of a key; ``token`` tells it from that of another process."""

    owner: str
    key: str
    token: str


class Repeats:
    """Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: str, key: str, request: str, route: str, now: dt.datetime | None = None) -> Claim | Given:
        """The right to carry out ``request`` (a digest of it), or what it was answered before.

        Raises:
            Refusal: 422, the key was used for another request.
            Conflict: the request is being carried out, or its response was too large to be kept.
        """
        now = now or _now()
        name, token = _hidden(key), secrets.token_hex(16)
        this = sa.and_(_repeatable.c.owner == owner, _repeatable.c.key == name)
        begun = {"claim": token, "created": now.isoformat()}
        with self._database.writing() as connection:
            connection.execute(
                _repeatable.delete().where(_repeatable.c.owner == owner, _repeatable.c.created < _since(now, KEPT))
            )
            row = connection.execute(sa.select(_repeatable).where(this)).one_or_none()
            if row is None:
                _make_room(connection, owner)
                connection.execute(
                    _repeatable.insert().values(owner=owner, key=name, request=request, route=route, **begun)
                )
                return Claim(owner, name, token)
            if row.request != request:
                raise _used()
            if row.status is None and row.created < _since(now, LEASE):
                connection.execute(_repeatable.update().where(this).values(**begun))
                return Claim(owner, name, token)
        if row.status is None:
            raise Conflict(
                "this request is being carried out already; send it again in a moment",
                "cette demande est déjà en cours ; renvoyez-la dans un instant",
                code="idempotency_key_in_use",
            )
        if row.body is None:
            raise Conflict(
                "this request was carried out; its response was too large to be kept",
                "cette demande a été exécutée ; sa réponse était trop grande pour être conservée",
                code="idempotency_response_not_kept",
            )
        return Given(row.status, dict(row.headers), bytes(row.body))

    def keep(self, claim: Claim, given: Given) -> None:
        """Keep what the request was answered."""
        kept = given.body if len(given.body) <= LARGEST_RESPONSE else None
        values = {"status": given.status, "headers": dict(given.headers), "body": kept}
        with self._database.writing() as connection:
            connection.execute(_repeatable.update().where(_of(claim)).values(**values))

    def release(self, claim: Claim) -> None:
        """Let the request be sent again: it was not carried out."""
        with self._database.writing() as connection:
            connection.execute(_repeatable.delete().where(_of(claim)))

    def expire(self, now: dt.datetime | None = None) -> None:
        """Forget what is older than a day."""
        with self._database.writing() as connection:
            connection.execute(_repeatable.delete().where(_repeatable.c.created < _since(now or _now(), KEPT)))


def forget(connection: sa.Connection, owner: str, routes: Collection[str]) -> None:
    """Forget what a person was answered on ``routes``: it may hold what they delete."""
    connection.execute(_repeatable.delete().where(_repeatable.c.owner == owner, _repeatable.c.route.in_(routes)))


def _make_room(connection: sa.Connection, owner: str) -> None:
    mine = sa.select(_repeatable.c.key).where(_repeatable.c.owner == owner)
    oldest = mine.order_by(_repeatable.c.created.desc(), _repeatable.c.key).offset(MOST_KEYS - 1)
    too_many = list(connection.execute(oldest).scalars())
    if too_many:
        connection.execute(_repeatable.delete().where(_repeatable.c.owner == owner, _repeatable.c.key.in_(too_many)))


def _of(claim: Claim) -> sa.ColumnElement[bool]:
    return sa.and_(
        _repeatable.c.owner == claim.owner, _repeatable.c.key == claim.key, _repeatable.c.claim == claim.token
    )


def _hidden(key: str) -> str:
    """A key is its sender's to choose, and may say something: only its digest is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def _since(now: dt.datetime, ago: dt.timedelta) -> str:
    return (now - ago).isoformat()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _used() -> Refusal:
    return Refusal(
        "this `Idempotency-Key` was used for another request, or with other rights; take a new key",
        "cette « Idempotency-Key » a servi à une autre demande, ou avec d'autres droits ; prenez une nouvelle clé",
        code="idempotency_key_reused",
        status=422,
    )
