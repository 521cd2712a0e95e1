"""Where the catalog's tables are kept: a SQLite file in the home, or a PostgreSQL database that several hosts share.

Both give the same promises: a reader sees one state from its first statement to its last, a writer has the right to
write from its beginning, so that what it reads stays true until it ends, and what was committed survives a power cut.
Errors become ours here; no statement, value or password reaches a message.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rag.errors import DiskFull, OperatorError, SettingsError, StoreBusy, StoreError

HEAD: Final = "0007"
"""The migration that this program's tables are at; a test compares it with the folder ``migrations``."""
WAIT: Final = 15_000
"""Milliseconds that a writer waits for another one: publishing tens of thousands of rows takes under two seconds."""
LOST: Final = "database_lost"
"""Code of the error of a connection that broke: nobody knows whether its last transaction was committed."""
UNREACHABLE: Final = "database_unreachable"

_CONNECTING: Final = 10
"""Seconds in which a server must answer a new connection."""
_STALLED: Final = 600
"""Seconds after which the server ends a transaction whose program says nothing: others wait for its right to write."""
_SILENT: Final = ((30, "tcp_keepalives_idle"), (10, "tcp_keepalives_interval"), (3, "tcp_keepalives_count"))
"""How soon the server notices that a host is gone, and lets go of what that held: within a minute."""
_SCRUBBING: Final = 1_000
"""Milliseconds that scrubbing waits for those who use the file: it is tried again later."""
_WRITING: Final = "writing"
_SCHEMES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


metadata: Final = sa.MetaData()
"""Every table of the database: the catalog's, and those of the modules that share it."""
PERSONAL: Final = "personal"
"""What the ``info`` of a table says that holds what people wrote."""


class Text(sa.TypeDecorator[str]):
    """Text in the order of its code points on either database, without what PostgreSQL or UTF-8 cannot hold."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        of_code_points = sa.String(collation="C") if dialect.name == "postgresql" else sa.String()
        return dialect.type_descriptor(of_code_points)

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        del dialect
        return None if value is None else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class Database:
    """Safe to use from several threads and processes; make one with :meth:`open`."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._held: dict[str, sa.Connection] = {}
        self._holding = threading.Lock()
        self._unscrubbed = False

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """The database in the file or at the URL ``where``, its tables made or brought up to date where needed.

        Raises:
            SettingsError: the URL is none of PostgreSQL.
            StoreError: it is damaged, unreadable, unreachable, or written by a newer program.
            DiskFull: there is no room for it.
        """
        engine = _sqlite(where) if isinstance(where, Path) else _postgresql(where)
        database = cls(engine)
        try:
            with database.writing() as connection:
                _migrate(connection)
        except BaseException:  # whatever happens, no connection stays open; it is raised again
            engine.dispose()
            raise
        return database

    @property
    def shared(self) -> bool:
        """Whether other hosts may use it at the same time."""
        return bool(self.engine.dialect.name == "postgresql")

    def close(self) -> None:
        with self._holding:
            for name in list(self._held):
                self._let_go(name)
        self.engine.dispose()

    # --- transactions

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state from its first statement to its last."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.shared else {}
        with translated(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that has the right to write from its beginning: what it reads stays true until it ends."""
        with (
            translated(),
            self.engine.connect().execution_options(writing=True) as connection,
            connection.begin(),
        ):
            if self.shared:
                # Each statement after it sees all that was committed before: read committed, the server's default.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_key(_WRITING))))
            yield connection

    def upsert(self, table: sa.Table, values: Mapping[str, Any], changed: Mapping[str, Any]) -> sa.Executable:
        """Insert ``values``, or set what is ``changed`` in the row that has the same primary key."""
        keys = list(table.primary_key.columns.keys())
        insert = postgresql_insert if self.shared else sqlite_insert
        return insert(table).values(**values).on_conflict_do_update(index_elements=keys, set_=dict(changed))

    # --- what was deleted is gone

    def erased(self, connection: sa.Connection) -> None:
        """Note, in the transaction that deletes what people wrote, that :meth:`scrub` has something to do."""
        if self.shared:
            self._unscrubbed = True
        else:
            connection.exec_driver_sql(f"PRAGMA user_version = {_marks(connection) + 1}")

    def scrub(self) -> bool:
        """Leave no byte of what :meth:`erased` has noted in the database's files; false when it must be tried again.

        SQLite overwrites deleted rows, but copies of them stay in its log of writes and in the gaps of pages that
        were rearranged: the file is written anew, and the log is emptied. PostgreSQL writes the tables that are
        marked :data:`PERSONAL` anew; its log and its copies are its administrator's, and this process remembers its
        own deletions only, while SQLite keeps the note with its file.
        """
        if self.shared:
            if self._unscrubbed:
                self._unscrubbed = False  # first: what others erase meanwhile is for the next time
                try:
                    self._rewritten()
                except BaseException:  # whatever kept it from its end, it is to be done again; it is raised again
                    self._unscrubbed = True
                    raise
            return not self._unscrubbed
        with self.reading() as connection:
            marks = _marks(connection)
        if not marks:
            return True
        if not self._rewritten():
            return False
        with self.writing() as connection:
            clean = _marks(connection) == marks
            if clean:
                connection.exec_driver_sql("PRAGMA user_version = 0")
        return clean

    def _rewritten(self) -> bool:
        """Write anew what may hold remains; false while others hold it. None of it runs inside a transaction."""
        if not self.shared:
            with translated(), self.engine.connect() as connection:
                return _compacted(connection)
        with translated(), self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in metadata.sorted_tables:
                if table.info.get(PERSONAL):
                    connection.execute(sa.text(f'VACUUM (FULL) "{table.name}"'))
        return True

    # --- what one session has for itself

    @contextmanager
    def claimed(self, name: str, busy: Callable[[str], StoreBusy]) -> Iterator[None]:
        """Hold ``name`` against every other session while the block runs; it is let go of when this host dies.

        Where no other host can be there is nothing to hold: the home's lock keeps other processes out.

        Raises:
            StoreBusy: another session holds it; ``busy`` is told which program that is of.
        """
        if not self.shared:
            yield
            return
        if name in self._held or not self.hold(name):
            raise busy(self._holder(name))
        try:
            yield
        finally:
            with self._holding:
                self._let_go(name)

    def hold(self, name: str) -> bool:
        """Hold ``name`` until the database is closed; false when another session does."""
        if not self.shared:
            return True
        with self._holding:
            known = self._held.get(name)
            if known is not None:
                with suppress(DBAPIError):
                    known.execute(sa.select(1))
                    return True
                self._let_go(name)
            with translated():
                connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                try:
                    got = bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(_key(name)))).scalar())
                except BaseException:  # the connection is given back, whatever happened; it is raised again
                    connection.close()
                    raise
                if not got:
                    connection.close()
                    return False
            self._held[name] = connection
            return True

    def free(self, name: str, connection: sa.Connection) -> bool:
        """Whether no session holds ``name``; asked inside a transaction of :meth:`writing`."""
        if name in self._held:
            return False
        return not self.shared or bool(
            connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_key(name)))).scalar()
        )

    def _holder(self, name: str) -> str:
        """The program whose session holds ``name``, as far as the server says."""
        with self.reading() as connection:
            found = connection.execute(_HOLDER, {"key": _number(name)}).scalar()
        return str(found or "another program")

    def _let_go(self, name: str) -> None:
        connection = self._held.pop(name)
        if not connection.invalidated:  # a lost session holds nothing any more
            with suppress(DBAPIError):
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_key(name))))
        # Even where unlocking failed, nobody else may get this session from the pool.
        connection.invalidate()
        connection.close()


def _marks(connection: sa.Connection) -> int:
    """How often something was erased since the last scrubbing: a number that SQLite keeps for its user."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _compacted(connection: sa.Connection) -> bool:
    """Write a SQLite file anew and empty its log; false while others hold it."""
    plain = connection.connection.cursor()  # SQLAlchemy's own would begin a transaction
    plain.execute(f"PRAGMA busy_timeout = {_SCRUBBING}")
    try:
        plain.execute("VACUUM")
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = plain.fetchone()
        return row is not None and not row[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    finally:
        plain.execute(f"PRAGMA busy_timeout = {WAIT}")
        plain.close()


def _key(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(None, _number(name), type_=sa.BigInteger)


def _number(name: str) -> int:
    """The number by which the server knows a lock."""
    return int.from_bytes(hashlib.blake2b(f"vauban:{name}".encode(), digest_size=8).digest(), "big", signed=True)


_HOLDER: Final = sa.text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_locks.database = datid"
    " AND datname = current_database() AND (classid::bigint << 32) | objid::bigint = :key"
)


# --- SQLite ---------------------------------------------------------------------------------------------


def _sqlite(path: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, pool_size=16, max_overflow=48, hide_parameters=True)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not where the driver guesses
    connection.execute(f"PRAGMA busy_timeout = {WAIT}")
    connection.execute("PRAGMA journal_mode = WAL")
    # What is published must survive a power cut, not only a crash of this process.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


# --- PostgreSQL -----------------------------------------------------------------------------------------


def _postgresql(written: str) -> sa.Engine:
    try:
        url = sa.make_url(written)
    except ArgumentError as error:
        raise _no_url() from error
    if url.drivername not in _SCHEMES or not url.database:
        raise _no_url()
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        # Several hosts share the server's hundred connections.
        pool_size=4,
        max_overflow=16,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECTING,
            "client_encoding": "utf8",
            "application_name": f"vauban {socket.gethostname()} {os.getpid()}",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
    sa.event.listen(engine, "connect", _configure_postgresql)
    return engine


def _configure_postgresql(connection: Any, _record: object) -> None:
    settings = [
        f"SET lock_timeout = {WAIT}",
        f"SET idle_in_transaction_session_timeout = '{_STALLED}s'",
        *(f"SET {name} = {value}" for value, name in _SILENT),
    ]
    with connection.cursor() as cursor:
        for setting in settings:
            cursor.execute(setting)
    connection.commit()


def _no_url() -> SettingsError:
    return SettingsError(
        "setting `database_url` is no URL of PostgreSQL, such as postgresql://user@host/database",
        "le réglage « database_url » n'est pas une URL PostgreSQL, comme postgresql://utilisateur@hote/base",
    )


# --- migrations -----------------------------------------------------------------------------------------


def _migrate(connection: sa.Connection) -> None:
    """Bring the tables up to :data:`HEAD`.

    Raises:
        StoreError: a newer program has brought them further.
    """
    known = sa.inspect(connection).has_table("alembic_version")
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if known else None
    if found == HEAD:
        return
    # Imported here: a catalog that is up to date opens without it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in revisions:
        raise StoreError(
            f"the catalog was written by a newer Vauban (schema {found}, this one knows {HEAD}); "
            "install the newer program",
            f"le catalogue a été écrit par un Vauban plus récent (schéma {found}, celui-ci connaît {HEAD}) ; "
            "installez la version récente",
            code="newer_catalog",
        )
    command.upgrade(config, "head")


# --- errors ---------------------------------------------------------------------------------------------


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's exceptions into ours; no statement or value reaches the message."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy(
            "all connections to the catalog are in use; try again in a moment",
            "toutes les connexions au catalogue sont prises ; réessayez dans un instant",
        ) from error
    except DBAPIError as error:
        raise ours(error.orig, lost=error.connection_invalidated) from error
    except sqlite3.Error as error:
        raise ours(error) from error


_FULL: Final = frozenset({"53100"})
_BUSY: Final = frozenset({"55P03", "53300"})
_REFUSED: Final = frozenset({"28000", "28P01", "3D000"})
_READ_ONLY: Final = frozenset({"25006", "42501"})
_NOT_NOW: Final = ("starting up", "shutting down", "recovery", "too many")


def ours(error: BaseException | None, *, lost: bool = False) -> OperatorError:
    """The error of ours that an exception of a driver becomes; ``lost`` says that it has ended the connection."""
    state = getattr(error, "sqlstate", None)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if state in _FULL:
        return _full()
    if state in _READ_ONLY:
        return StoreError(
            "the database (setting `database_url`) may be read but not written; give its user the right to write, "
            "or name the server that takes writes",
            "la base (réglage « database_url ») est en lecture seule ; donnez à son utilisateur le droit d'écrire, "
            "ou indiquez le serveur principal",
            code="database_read_only",
        )
    if state in _BUSY:
        return StoreBusy(
            "the database is busy: another program is writing, or all its connections are in use; try again later",
            "la base est occupée : un autre programme écrit, ou il n'y a plus de connexion libre ; réessayez plus tard",
        )
    if lost or (state or "").startswith(("08", "57P")):
        return StoreError(
            "the connection to the database (setting `database_url`) was lost; run the command again",
            "la connexion à la base (réglage « database_url ») a été perdue ; relancez la commande",
            code=LOST,
        )
    if state in _REFUSED or (state is None and _refuses(error)):
        return StoreError(
            "the database refuses the user, password or name in the setting `database_url`; correct it",
            "la base refuse l'utilisateur, le mot de passe ou le nom du réglage « database_url » ; corrigez-le",
            code="database_refused",
        )
    if state is None:
        return StoreError(
            "the database (setting `database_url`) cannot be reached; see that it runs and that its host is right",
            "la base (réglage « database_url ») est injoignable ; vérifiez qu'elle tourne et que l'hôte est le bon",
            code=UNREACHABLE,
        )
    return StoreError(f"the catalog cannot be used: error {state}", f"le catalogue est inutilisable : erreur {state}")


def _refuses(error: BaseException | None) -> bool:
    """Whether a server has answered a new connection and said no; the driver has no code for it, only words."""
    said = str(error)
    return "FATAL:" in said and not any(words in said for words in _NOT_NOW)


def _of_sqlite(error: sqlite3.Error) -> OperatorError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}:
        return _full()
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreError(
            "the catalog is damaged; restore the home folder from a backup",
            "le catalogue est abîmé ; restaurez le dossier depuis une sauvegarde",
        )
    return StoreError(f"the catalog cannot be used: {error}", f"le catalogue est inutilisable : {error}")


def _full() -> DiskFull:
    return DiskFull(
        "no space is left for the catalog; free some and run the command again",
        "il ne reste plus de place pour le catalogue ; libérez-en et relancez la commande",
    )


def batches(values: Collection[Any], most: int) -> Iterator[list[Any]]:
    """``values`` in lists of at most ``most``: a statement takes only so many."""
    listed = list(values)
    return (listed[start : start + most] for start in range(0, len(listed), most))
