"""What the catalog tells of ingestion as a whole, on both databases, and how little is read for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag import activity
from rag.activity import Published
from rag.catalog import Catalog
from rag.database import Database, metadata
from rag.types import Corpus
from tests.postgres_server import PostgresServer

BEGAN = dt.datetime(2026, 3, 1, 8, 0, 0, 250_000, dt.UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    where: Path | str = tmp_path / "catalog.sqlite"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        where = server.database()
    opened = Database.open(where)
    yield opened
    opened.close()


def ended(database: Database, kind: str, *seconds: float) -> None:
    """Runs that took so long; the moments as the catalog writes them, with and without a fraction."""
    rows = [
        {
            "id": f"{kind}{number}",
            "corpus": "rh",
            "kind": kind,
            "state": "done",
            "counts": {},
            "detail": "",
            "created": BEGAN.isoformat(),
            "started": BEGAN.isoformat(),
            "ended": (BEGAN + dt.timedelta(seconds=length)).isoformat(),
        }
        for number, length in enumerate(seconds)
    ]
    with database.writing() as connection:
        connection.execute(sa.insert(metadata.tables["runs"]), rows)


def test_the_seconds_of_ended_runs_are_summed_by_kind(database: Database) -> None:
    """Over midnight and to the fraction; what has not ended has taken no time yet."""
    ended(database, "sync", 1.5, 0.75, 86_400.0)
    ended(database, "export", 2.0)
    with database.writing() as connection:
        connection.execute(
            sa.insert(metadata.tables["runs"]).values(
                id="r", corpus="rh", kind="rebuild", state="running", counts={}, detail="",
                created=BEGAN.isoformat(), started=BEGAN.isoformat(),
            )
        )  # fmt: skip
    found = activity.read(database)
    assert found.seconds == pytest.approx({"sync": 86_402.25, "export": 2.0}, abs=0.01)
    assert found.runs == {("sync", "done"): 3, ("export", "done"): 1, ("rebuild", "running"): 1}
    assert found.published == Published()


def test_what_is_read_does_not_grow_with_the_runs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each kind comes back, however many runs there were."""
    ended(database, "sync", *[1.0] * 3_000)
    fetched: list[int] = []
    rows = sa.CursorResult.__iter__

    def counting(result: sa.CursorResult[tuple[object, ...]]) -> Iterator[object]:
        for row in rows(result):
            fetched.append(1)
            yield row

    monkeypatch.setattr(sa.CursorResult, "__iter__", counting)
    assert activity.read(database).seconds == pytest.approx({"sync": 3_000.0}, rel=1e-3)
    assert 0 < len(fetched) < 10


def test_of_what_is_published_the_sums_of_some_corpora_can_be_had(database: Database) -> None:
    catalog = Catalog(database)
    for name, documents in (("rh", 2), ("secret", 5)):
        catalog.declare(Corpus(name, name))
        with database.writing() as connection:
            snapshots, corpora = metadata.tables["snapshots"], metadata.tables["corpora"]
            connection.execute(
                sa.insert(snapshots).values(
                    corpus=name,
                    number=1,
                    documents=documents,
                    chunks=documents * 10,
                    state="published",
                    created=BEGAN.isoformat(),
                    published=BEGAN.isoformat(),
                )
            )
            connection.execute(sa.update(corpora).where(corpora.c.name == name).values(published=1))
    assert activity.published(database) == Published(2, 7, 70, BEGAN)
    assert activity.published(database, ["rh"]) == Published(1, 2, 20, BEGAN)
    assert activity.published(database, []) == Published()
