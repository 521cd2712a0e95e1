"""What the catalog tells of ingestion as a whole: counts by kind, state and reason, without the name of any corpus.

It is read where it is kept, so that the runs of every process that shares the database count, and go on counting after
a restart.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

import rag.catalog  # noqa: F401 it declares the tables
from rag.database import Database, metadata
from rag.errors import RejectReason

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Published:
    """What is published now: its corpora, documents and chunks, and when it last changed."""

    corpora: int = 0
    documents: int = 0
    chunks: int = 0
    latest: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """``runs`` by kind and state, ``rejected`` files by reason, ``seconds`` of ended runs by kind; and what is
    published."""

    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    published: Published = Published()


def read(database: Database) -> Activity:
    """The activity of now, summed where it is kept: what comes back is as long as its closed lists, however many runs
    there were.

    Raises:
        StoreError: the database cannot be read.
    """
    runs, rejections = metadata.tables["runs"], metadata.tables["rejections"]
    with database.reading() as connection:
        states = connection.execute(
            sa.select(runs.c.kind, runs.c.state, sa.func.count()).group_by(runs.c.kind, runs.c.state)
        )
        counted = {(kind, state): count for kind, state, count in states}
        reasons = Counter[str]()
        for reason, count in connection.execute(
            sa.select(rejections.c.reason, sa.func.count()).group_by(rejections.c.reason)
        ):
            reasons[reason if reason in set(RejectReason) else OTHER] += count
        lasted = _between(connection, runs.c.started, runs.c.ended)
        ended = sa.select(runs.c.kind, sa.func.sum(lasted)).where(
            runs.c.started.is_not(None), runs.c.ended.is_not(None)
        )
        spent = {kind: float(seconds) for kind, seconds in connection.execute(ended.group_by(runs.c.kind))}
        return Activity(counted, dict(reasons), spent, _published(connection, None))


def published(database: Database, corpora: Collection[str] | None = None) -> Published:
    """What is published now, of some corpora or of all.

    Raises:
        StoreError: the database cannot be read.
    """
    with database.reading() as connection:
        return _published(connection, corpora)


def _published(connection: sa.Connection, named: Collection[str] | None) -> Published:
    snapshots, corpora = metadata.tables["snapshots"], metadata.tables["corpora"]
    live = sa.and_(snapshots.c.corpus == corpora.c.name, snapshots.c.number == corpora.c.published)
    query = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(snapshots.c.documents), 0),
        sa.func.coalesce(sa.func.sum(snapshots.c.chunks), 0),
        sa.func.max(snapshots.c.published),
    ).select_from(corpora.join(snapshots, live))
    if named is not None:
        query = query.where(corpora.c.name.in_(list(named)))
    number, documents, chunks, latest = connection.execute(query).one()
    return Published(number, int(documents), int(chunks), None if latest is None else dt.datetime.fromisoformat(latest))


def _between(connection: sa.Connection, began: sa.Column[str], over: sa.Column[str]) -> sa.ColumnElement[Any]:
    """Seconds between two moments, which are kept as texts in ISO's format; SQLite tells ten-thousandths."""
    if connection.dialect.name == "sqlite":
        return (sa.func.julianday(over) - sa.func.julianday(began)) * 86_400.0
    moment = sa.TIMESTAMP(timezone=True)
    return sa.extract("epoch", sa.cast(over, moment) - sa.cast(began, moment))
