"""The ``vauban`` command as people run it: a process of its own, in a folder and a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = Path(sys.executable).with_name("vauban")
PATIENCE = 120
"""Seconds that one command may take; the machine may be busy with other tests."""
FAKES = {"VAUBAN_EMBEDDER": "fake", "VAUBAN_GENERATOR": "fake", "VAUBAN_LOCAL_GROUPS": "agents", "VAUBAN_WORKERS": "1"}


@dataclass(frozen=True)
class Done:
    """What a command that has ended left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """Runs ``vauban`` in ``folder``, whose sub-folder ``home`` is its home; ``prefix`` wraps the process.

    ``patience`` is the seconds that one command may take.
    """

    folder: Path
    environ: Mapping[str, str] = field(default_factory=lambda: FAKES)
    prefix: Sequence[str] = ()
    patience: float = PATIENCE

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def __call__(self, *words: object, **environ: str) -> Done:
        done = subprocess.run(
            self._line(words),
            cwd=self.folder,
            env=self._environ(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=self.patience,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def serving(self, *words: object, **environ: str) -> Iterator[Serving]:
        """A server on a free port while the block runs; after it, it was asked to stop and has."""
        log = self.folder / "server.err"
        with log.open("w") as err:
            process = subprocess.Popen(
                self._line(["serve", "--port", 0, *words]),
                cwd=self.folder,
                env=self._environ(environ),
                stdout=subprocess.PIPE,
                stderr=err,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if "http://" not in line:
                process.wait(PATIENCE)
                pytest.fail(f"the server did not start: {log.read_text()}")
            server = Serving(line.split()[-1], process, log)
            server.wait()
            yield server
            server.stop()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        assert "Traceback" not in log.read_text(), log.read_text()

    def _line(self, words: Sequence[object]) -> list[str]:
        return [*self.prefix, str(PROGRAM), *map(str, words)]

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VAUBAN_")}
        return {**kept, "COLUMNS": "200", "VAUBAN_HOME": str(self.home), **self.environ, **more}


@dataclass(frozen=True)
class Serving:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def err(self) -> str:
        return self.log.read_text()

    def wait(self) -> None:
        """Until it answers."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            try:
                if self.call("GET", "/healthz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail(f"the server does not answer: {self.err}")

    def call(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, path, json=body, **more)

    def stop(self) -> None:
        """As an init system does; a server that stops when told to has exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.err
