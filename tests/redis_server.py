"""A private Redis or Valkey for tests: on the loopback, a free port, with a password, keeping nothing on disk.

``with running() as server: server.url`` is a setting's value. It is stopped by its own process id.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
import redis

PASSWORD: Final = "secret-of-the-test"
_PATIENCE: Final = 10.0


class RedisServer:
    """One server process; it may be killed, paused and started again at the same port, empty then."""

    def __init__(self, program: str, folder: str, port: int) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        settings = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "no", "dir": self._folder}
        command = [self._program, "-"]
        lines = "".join(f'{name} "{value}"\n' for name, value in {**settings, "requirepass": PASSWORD}.items())
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        self._process.stdin.write(lines.encode())
        self._process.stdin.close()
        end = time.monotonic() + _PATIENCE
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "the broker did not start"
                    assert time.monotonic() < end, "the broker does not answer"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Let it hang, its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def running() -> Iterator[RedisServer]:
    """A server for the block; the test is skipped where neither Redis nor Valkey is installed."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no broker (Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, folder, port)
        try:
            server.start()
            yield server
        finally:
            server.kill()
