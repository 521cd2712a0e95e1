"""What the catalog tells of ingestion as a whole: counts by kind, state and reason, without the name of any corpus.

It is read where it is kept, so that the runs of every process that shares the database count, and go on counting after
a restart.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

import rag.catalog  # noqa: F401 it declares the tables
from rag.database import Database, metadata
from rag.errors import RejectReason

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Activity:
    """``runs`` by kind and state, ``rejected`` files by reason, ``seconds`` of ended runs by kind; and what is
    published now: its corpora, documents and chunks, and when it last changed."""

    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    corpora: int = 0
    documents: int = 0
    chunks: int = 0
    published: dt.datetime | None = None


def read(database: Database) -> Activity:
    """The activity of now.

    Raises:
        StoreError: the database cannot be read.
    """
    runs, rejections = metadata.tables["runs"], metadata.tables["rejections"]
    snapshots, corpora = metadata.tables["snapshots"], metadata.tables["corpora"]
    live = sa.and_(snapshots.c.corpus == corpora.c.name, snapshots.c.number == corpora.c.published)
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
        spent: dict[str, float] = {}
        ended = sa.select(runs.c.kind, runs.c.started, runs.c.ended).where(
            runs.c.started.is_not(None), runs.c.ended.is_not(None)
        )
        for kind, began, over in connection.execute(ended):
            seconds = (dt.datetime.fromisoformat(over) - dt.datetime.fromisoformat(began)).total_seconds()
            spent[kind] = spent.get(kind, 0.0) + seconds
        number, documents, chunks, published = connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(snapshots.c.documents), 0),
                sa.func.coalesce(sa.func.sum(snapshots.c.chunks), 0),
                sa.func.max(snapshots.c.published),
            ).select_from(corpora.join(snapshots, live))
        ).one()
    return Activity(
        runs=counted,
        rejected=dict(reasons),
        seconds=spent,
        corpora=number,
        documents=documents,
        chunks=chunks,
        published=None if published is None else dt.datetime.fromisoformat(published),
    )
