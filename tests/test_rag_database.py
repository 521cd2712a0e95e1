"""What is deleted is gone: no byte of it stays in the files of the database."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag.database import Database
from rag.errors import StoreError
from tests.postgres_server import PostgresServer


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = Database.open(tmp_path / "catalog.sqlite")
    with opened.writing() as connection:
        connection.execute(sa.text("CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT)"))
    return opened


def written(folder: Path) -> bytes:
    """Everything that the files of a folder hold, but for the list of who reads."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("-shm"))


def fill(database: Database, seed: int) -> None:
    """Rows of two people, of many sizes, written over and deleted in an order that moves them between pages."""
    chance = random.Random(seed)
    for number in range(150):
        whose = chance.choice(("alice", "bruno"))
        body = f"CANARY-{whose}-{number} " * chance.choice((1, 5, 50, 400))
        with database.writing() as connection:
            name = f"{whose}-{chance.getrandbits(64):016x}"
            connection.execute(sa.text("INSERT INTO notes VALUES (:id, :body)"), {"id": name, "body": body})
            if chance.random() < 0.2:
                connection.execute(sa.text("UPDATE notes SET body = body || 'more' WHERE id LIKE 'alice-3%'"))
            if chance.random() < 0.1:
                connection.execute(sa.text("DELETE FROM notes WHERE id LIKE 'alice-7%'"))


@pytest.mark.parametrize("seed", range(3))
def test_scrubbing_leaves_no_byte_of_what_was_deleted(database: Database, tmp_path: Path, seed: int) -> None:
    """Neither in the pages nor in the log of writes; what others wrote stays."""
    fill(database, seed)
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM notes WHERE id LIKE 'alice%'"))
        database.erased(connection)
    assert b"alice" in written(tmp_path)
    assert database.scrub()
    left = written(tmp_path)
    assert b"alice" not in left
    assert b"CANARY-bruno" in left
    database.close()


def test_scrubbing_waits_for_a_reader_of_an_older_state(database: Database, tmp_path: Path) -> None:
    """It says that it must be tried again, and then does it."""
    fill(database, 0)
    with database.reading() as reader:
        assert reader.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()
        with database.writing() as connection:
            connection.execute(sa.text("DELETE FROM notes WHERE id LIKE 'alice%'"))
            database.erased(connection)
        assert not database.scrub()
        assert reader.execute(sa.text("SELECT count(*) FROM notes WHERE id LIKE 'alice%'")).scalar_one()
    assert database.scrub()
    assert b"alice" not in written(tmp_path)
    database.close()


def test_scrubbing_rewrites_nothing_where_nothing_was_deleted(database: Database, tmp_path: Path) -> None:
    """Its cost is paid for deletions only."""
    fill(database, 1)
    before = written(tmp_path)
    assert database.scrub()
    assert written(tmp_path) == before
    database.close()


def test_a_scrubbing_that_a_database_server_refused_is_tried_again(postgres: PostgresServer) -> None:
    """A reader of a table holds it up for longer than anybody waits."""
    url = postgres.database()
    database = Database.open(url)
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM answers"))
        database.erased(connection)
    sa.event.listen(database.engine, "before_cursor_execute", _impatient, retval=True)
    with database.reading() as reader:
        assert reader.execute(sa.text("SELECT count(*) FROM answers")).scalar_one() == 0
        with pytest.raises(StoreError):
            database.scrub()
        with pytest.raises(StoreError):
            database.scrub()
    assert database.scrub()
    database.close()


def _impatient(
    connection: sa.Connection, _cursor: object, statement: str, parameters: object, _context: object, _many: bool
) -> tuple[str, object]:
    """Whoever writes a table anew waits for a tenth of a second only."""
    if statement.startswith("VACUUM"):
        connection.connection.cursor().execute("SET lock_timeout = 100")
    return statement, parameters
