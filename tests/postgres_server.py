"""A private PostgreSQL for tests: Debian's programs, a cluster in a temporary folder, a free port on the loopback.

``with running() as server: server.database()`` gives the URL of a new, empty database. It is stopped by its own
process id and leaves nothing behind.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
import pytest

USER: Final = "vauban"
PASSWORD: Final = "un mot/de passe@sûr"
"""Characters that a URL must escape."""
_OTHER: Final = "postgres"
_PATIENCE: Final = 60.0
_SETTINGS: Final = {
    "fsync": "off",  # nothing here outlives the test
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "lc_messages": "C",
}


class PostgresServer:
    """One running cluster; every test takes a database of its own from it."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._folder = folder
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def url(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        """A URL as a setting writes it."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the administrator; its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def disconnect(self) -> int:
        """End every session of others at once, as a failing network would; how many there were."""
        ended = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return len(ended)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [
            *_as_somebody_else(),
            str(self._programs / "postgres"),
            *("-D", str(self._folder / "data")),
            *("-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder)),
            *settings,
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it quickly and in good order, by its own process id."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A cluster made for the block; the test is skipped where PostgreSQL is not installed."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresServer(programs, folder, _free_port())
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _OTHER, _OTHER)
        secret = folder / "password"
        secret.write_text(PASSWORD + "\n", encoding="utf-8")
        secret.chmod(0o644)
        made = subprocess.run(
            [
                *_as_somebody_else(),
                str(programs / "initdb"),
                *("-D", str(folder / "data"), "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
                *("-A", "scram-sha-256", f"--pwfile={secret}"),
            ],
            capture_output=True,
            cwd=folder,
            check=False,
        )
        if made.returncode:
            pytest.fail(f"initdb failed: {made.stderr.decode(errors='replace')[-500:]}")
        server.start()
        yield server
    finally:
        server.stop()
        with suppress(OSError):
            shutil.rmtree(folder)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no setpriv to become someone else")
    return found[-1].parent


def _as_somebody_else() -> Sequence[str]:
    """What makes a command run as somebody without rights, which PostgreSQL insists on."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_OTHER}", f"--regid={_OTHER}", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
