"""A database as an older program left it, for the tests of migrations."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from rag import database


def make(where: Path | str, revision: str, *statements: str) -> None:
    """Bring an empty database up to ``revision`` only, and fill it by ``statements``."""
    engine = database._sqlite(where) if isinstance(where, Path) else database._postgresql(where)
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()
