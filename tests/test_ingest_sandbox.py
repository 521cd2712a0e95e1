"""The sandbox answers for every file, whatever the file does to its worker, and believes no worker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingest.parsers import Limits
from ingest.sandbox import Sandbox
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(seconds=20), workers=1) as made:
        yield made


def text(folder: Path, name: str, content: str = "Un texte.") -> Source:
    (folder / name).write_text(content, encoding="utf-8")
    return Source(folder / name)


def reasons(results: list[tuple[Source, Parsed | DocumentError]]) -> list[RejectReason | None]:
    return [result.reason if isinstance(result, DocumentError) else None for _, result in results]


def test_results_come_in_order(tmp_path: Path) -> None:
    """Each path is answered once, in the order of the paths, refusals among them."""
    paths = [text(tmp_path, f"{number}.txt", f"Texte {number}.") for number in range(25)]
    paths[3] = text(tmp_path, "vide.txt", "")
    paths[7] = Source(tmp_path / "absent.txt")
    paths[9] = Source(tmp_path)
    with Sandbox(Limits(), workers=2) as sandbox:
        results = list(sandbox.parse(paths))
        assert [path for path, _ in results] == paths
        assert reasons(results)[3:10] == [
            RejectReason.EMPTY, None, None, None, RejectReason.UNREADABLE, None, RejectReason.UNREADABLE,
        ]  # fmt: skip
        assert results[24][1] == Parsed((Block(BlockKind.PARAGRAPH, "Texte 24."),), "text/plain")
        assert len(sandbox.pids) == 2


def test_the_whole_value_crosses(tmp_path: Path, sandbox: Sandbox) -> None:
    """Levels, tables and titles arrive as the parser gave them, odd characters too."""
    path = text(tmp_path, "a.md", "# Titre 🜁 ’\n\n| a | b |\n| - | - |\n| 1 | \u00e9\u0301 |\n")
    ((_, result),) = sandbox.parse([path])
    assert isinstance(result, Parsed)
    assert result.title == "Titre 🜁 ’"
    assert [block.level for block in result.blocks] == [1, None]
    assert result.blocks[1].rows[0] == ("a", "b")


def test_file_names_of_any_bytes(tmp_path: Path, sandbox: Sandbox) -> None:
    """A name that is no valid UTF-8 is a name like another."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9cision.txt"))
    path.write_text("Un texte.", encoding="utf-8")
    assert reasons(list(sandbox.parse([Source(path)]))) == [None]


def test_too_large_files_reach_no_worker(tmp_path: Path) -> None:
    """A file above the limit is refused by its size."""
    path = tmp_path / "a.txt"
    with path.open("wb") as stream:
        stream.truncate(1_000_001)
    with Sandbox(Limits(megabytes=1), workers=1) as sandbox:
        assert reasons(list(sandbox.parse([Source(path)]))) == [RejectReason.TOO_LARGE]


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    """A file that wants more memory than it may have is refused, and the next one is read."""
    path = text(tmp_path, "a.txt", "Une phrase assez longue pour être un paragraphe. \n\n" * 700_000)
    with Sandbox(Limits(memory=64, seconds=60), workers=1) as sandbox:
        assert reasons(list(sandbox.parse([path, text(tmp_path, "b.txt")]))) == [RejectReason.MEMORY, None]


@pytest.mark.slow
def test_time_is_bounded(tmp_path: Path) -> None:
    """A file that takes longer than it may is given up, and the next one is read."""
    path = text(tmp_path, "a.html", "<html><body>" + "<p><b><i>Un mot</i></b></p>\n" * 500_000)
    with Sandbox(Limits(seconds=1, memory=4096), workers=1) as sandbox:
        began = time.monotonic()
        assert reasons(list(sandbox.parse([path, text(tmp_path, "b.txt")]))) == [RejectReason.TIMEOUT, None]
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("killed_by", "reason"), [(signal.SIGSEGV, RejectReason.CRASHED), (signal.SIGKILL, RejectReason.MEMORY)]
)
def test_a_dead_worker_is_a_row(tmp_path: Path, sandbox: Sandbox, killed_by: int, reason: RejectReason) -> None:
    """A crash, or a kill by the system for want of memory, costs that one file."""
    list(sandbox.parse([text(tmp_path, "warm.txt")]))
    (pid,) = sandbox.pids
    os.kill(pid, signal.SIGSTOP)  # so that the death happens while it has the file
    results = sandbox.parse([text(tmp_path, "a.txt"), text(tmp_path, "b.txt")])
    threading.Timer(0.3, lambda: (os.kill(pid, killed_by), os.kill(pid, signal.SIGCONT))).start()
    assert reasons(list(results)) == [reason, None]
    assert sandbox.pids != [pid]


def test_a_worker_that_died_idle_costs_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    """A worker that is found dead before it has a file is replaced in silence."""
    list(sandbox.parse([text(tmp_path, "a.txt")]))
    os.kill(sandbox.pids[0], signal.SIGKILL)
    time.sleep(0.2)
    assert reasons(list(sandbox.parse([text(tmp_path, "a.txt")]))) == [None]


def test_leaving_early_leaves_nothing_behind(tmp_path: Path) -> None:
    """A caller that stops in the middle leaves no process, and the sandbox can be used again."""
    paths = [text(tmp_path, f"{number}.txt") for number in range(9)]
    with Sandbox(Limits(), workers=2) as sandbox:
        results = sandbox.parse(paths)
        next(results)
        results.close()  # type: ignore[attr-defined]  # it is a generator
        assert reasons(list(sandbox.parse(paths))) == [None] * 9
        children = [psutil.Process(pid) for pid in sandbox.pids]
    assert not any(child.is_running() for child in children)


def pretender(folder: Path, answer: bytes) -> Path:
    """A worker that answers every request with the same bytes, as one taken over by a file would."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdin.buffer.read(4)\nsys.stdout.buffer.write({answer!r})\n"
        "sys.stdout.flush()\nsys.stdin.buffer.read()\n",
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def frame(value: object) -> bytes:
    body = json.dumps(value).encode()
    return struct.pack(">I", len(body)) + body


STATED = {"language": None, "norm_rank": None, "validity": None, "legal_status": None}
WHOLE = {"blocks": [], "media_type": "x", "title": None, "pages": None, "warnings": [], "quality": [], "stated": STATED}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\0\0\0\x08notjson!", RejectReason.CRASHED),
        (frame([1, 2]), RejectReason.CRASHED),
        (frame({"resident": 1}), RejectReason.CRASHED),
        (
            frame({"parsed": {**WHOLE, "blocks": [["script", "x", None, None, [], None, None, []]]}, "resident": 1}),
            RejectReason.CRASHED,
        ),
        (
            frame({"parsed": {**WHOLE, "blocks": [["paragraph", 7, None, None, [], None, None, []]]}, "resident": 1}),
            RejectReason.CRASHED,
        ),
        (frame({"progress": {"done": "one", "total": 2}}), RejectReason.CRASHED),
        (frame({"progress": 7}), RejectReason.CRASHED),
        (frame({"parsed": {**WHOLE, "pages": "many"}, "resident": 1}), RejectReason.CRASHED),
        (frame({"parsed": {**WHOLE, "pages": 1 << 63}, "resident": 1}), RejectReason.CRASHED),
        (frame({"parsed": {**WHOLE, "pages": -1}, "resident": 1}), RejectReason.CRASHED),
        (frame({"parsed": {**WHOLE, "quality": [[1, float("nan"), True]]}, "resident": 1}), RejectReason.CRASHED),
        (frame({"parsed": WHOLE, "resident": float("inf")}), RejectReason.CRASHED),
        (frame({"error": {"reason": "invented", "en": "", "fr": ""}, "resident": 1}), RejectReason.CRASHED),
        (b"\x80\x04\x95" + bytes(100), RejectReason.TOO_LONG),
        (b"\xff\xff\xff\xff", RejectReason.TOO_LONG),
    ],
)
def test_a_worker_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, reason: RejectReason
) -> None:
    """What is no well-formed answer is taken for a crash; nothing in it is run."""
    monkeypatch.setattr(sys, "executable", str(pretender(tmp_path, answer)))
    with Sandbox(Limits(seconds=5), workers=1) as sandbox:
        assert reasons(list(sandbox.parse([text(tmp_path, "a.txt")]))) == [reason]


def test_lone_surrogates_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that could not be written as UTF-8 does not get through."""
    said = {"parsed": {**WHOLE, "blocks": [["paragraph", "a\ud800b", None, None, [], None, None, []]]}, "resident": 1}
    monkeypatch.setattr(sys, "executable", str(pretender(tmp_path, frame(said))))
    with Sandbox(Limits(seconds=5), workers=1) as sandbox:
        ((_, result),) = sandbox.parse([text(tmp_path, "a.txt")])
    assert isinstance(result, Parsed)
    assert result.blocks[0].text == "a?b"


def test_workers_are_light_and_yielding(tmp_path: Path, sandbox: Sandbox) -> None:
    """A worker imports nothing of the engine, is niced, and holds little memory."""
    list(sandbox.parse([text(tmp_path, "a.txt")]))
    worker = psutil.Process(sandbox.pids[0])
    assert worker.nice() == 19
    assert worker.memory_info().rss < 120 * 2**20
    heavy = ("torch", "gradio", "langchain_core", "rag.engine")
    code = f"import ingest.sandbox, sys; print([name for name in {heavy} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert seen.stdout.strip() == "[]"


# --- pages that are recognised --------------------------------------------------------------------------


def announcing(folder: Path, pages: int, pause: float) -> Path:
    """A worker that announces pages, each after a pause, and then gives an empty document."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\nimport json, struct, sys, time\n"
        "def say(value):\n    body = json.dumps(value).encode()\n"
        "    sys.stdout.buffer.write(struct.pack('>I', len(body)) + body)\n    sys.stdout.flush()\n"
        f"sys.stdin.buffer.read(4)\nfor page in range({pages}):\n"
        f"    say({{'progress': {{'done': page, 'total': {pages}}}}})\n    time.sleep({pause})\n"
        f"say({{'parsed': json.loads({json.dumps(json.dumps(WHOLE))}), 'resident': 1}})\nsys.stdin.buffer.read()\n",
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_each_announced_page_gives_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file outlasts its own limit as long as it goes on announcing pages, and each is passed on."""
    monkeypatch.setattr(sys, "executable", str(announcing(tmp_path, 8, 0.3)))
    monkeypatch.setattr("ingest.sandbox._GRACE", 0.5)
    monkeypatch.setattr("ingest.sandbox._CLOCK", 1)
    seen: list[tuple[str, int, int]] = []
    with Sandbox(
        Limits(seconds=0, ocr_seconds=1), 1, lambda source, *pages: seen.append((source.path.name, *pages))
    ) as made:
        assert reasons(list(made.parse([text(tmp_path, "a.txt")]))) == [None]
    assert seen == [("a.txt", page, 8) for page in range(8)]


@pytest.mark.parametrize(("pages", "pause"), [(1, 60), (50_000, 0)])
def test_announcements_buy_no_more_than_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, pause: float
) -> None:
    """A worker that hangs on a page, or announces more pages than a file may have, is out of time."""
    monkeypatch.setattr(sys, "executable", str(announcing(tmp_path, pages, pause)))
    monkeypatch.setattr("ingest.sandbox._GRACE", 0.5)
    began = time.monotonic()
    with Sandbox(Limits(seconds=1, ocr_seconds=1, pages=100), workers=1) as made:
        assert reasons(list(made.parse([text(tmp_path, "a.txt")]))) == [RejectReason.TIMEOUT]
    assert time.monotonic() - began < 20


def test_what_the_listener_raises_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of whoever shows the progress rises to the caller, and leaves no worker behind."""

    def broken(source: Source, done: int, total: int) -> None:
        raise ValueError("a defect elsewhere")

    monkeypatch.setattr(sys, "executable", str(announcing(tmp_path, 3, 0.1)))
    with Sandbox(Limits(), 1, broken) as made:
        with pytest.raises(ValueError, match="elsewhere"):
            list(made.parse([text(tmp_path, "a.txt")]))
        assert made.pids == []


CONFINED = """
import os, signal, socket, subprocess, sys
from ingest import ocr
from ingest.sandbox import _confine
from ingest.source import Source
_confine()
def refused(action):
    try:
        action()
    except PermissionError:
        return True
    except OSError as error:
        return error.errno == 27  # EFBIG: files may not grow
    return False
def write():
    with open(sys.argv[1], "wb") as stream:
        stream.write(b"x")
def unpickle():
    import pickle
    pickle.loads(pickle.dumps(Source))
print([refused(socket.socket), refused(lambda: socket.getaddrinfo("example.org", 80)),
       refused(lambda: subprocess.Popen(["true"])), refused(write),
       refused(lambda: subprocess.Popen([ocr.program() or "none"])),
       refused(lambda: subprocess.Popen(["none"], executable=ocr.program() or "none", env={"LD_PRELOAD": "x"})),
       refused(lambda: os.kill(os.getppid(), 0)), refused(lambda: os.system("true")),
       refused(lambda: open(sys.argv[2], "w")), refused(lambda: open(sys.argv[2], "r+")),
       refused(lambda: os.open(sys.argv[1], os.O_CREAT)), refused(lambda: os.open(sys.argv[2], os.O_TRUNC)),
       refused(lambda: os.truncate(sys.argv[2], 0)), refused(lambda: os.link(sys.argv[2], sys.argv[1])),
       refused(lambda: os.symlink(sys.argv[2], sys.argv[1])), refused(lambda: os.chmod(sys.argv[2], 0)),
       refused(lambda: os.rmdir(os.path.dirname(sys.argv[2]))), refused(unpickle)])
"""


def test_workers_are_confined(tmp_path: Path, root: Path) -> None:
    """A worker can open no connection, ask no name, and neither start nor end other programs; it unpickles nothing.

    It neither makes, empties nor renames a file: a limit on sizes alone would let it do all of that.

    Not even Tesseract with another environment than its own, which could make it load anything.
    """
    kept = tmp_path / "kept" / "file"
    kept.parent.mkdir()
    kept.write_text("as it was")
    seen = subprocess.run(
        [sys.executable, "-c", CONFINED, str(tmp_path / "out"), str(kept)],
        check=True, capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    assert seen.stdout.strip() == str([True] * 18)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "as it was"
    assert socket.gethostname  # the parent keeps what the worker gave up


def test_a_defect_is_named_and_costs_one_file(tmp_path: Path) -> None:
    """By its type, file and line, without its message, which may quote the document."""
    folder = tmp_path / "broken" / "ingest"
    folder.parent.mkdir()
    root = Path(__file__).resolve().parent.parent
    shutil.copytree(root / "ingest", folder, ignore=shutil.ignore_patterns("samples", "__pycache__"))
    (folder.parent / "rag").symlink_to(root / "rag")
    parser = folder / "parsers" / "text.py"
    parser.write_text(
        parser.read_text().replace(
            "    def parse(",
            "    def parse(self, file, limits):\n        return {}[file.read()[:3].decode()]\n\n    def unused(",
            1,
        )
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from ingest.sandbox import Sandbox, Limits; from ingest.source import Source\n"
        "with Sandbox(Limits(), 1) as sandbox:\n"
        "    for _, result in sandbox.parse(Source(Path(name)) for name in sys.argv[1:]):\n"
        "        print(result.reason.value, result.en)\n"
    )
    files = [str(text(tmp_path, name).path) for name in ("a.txt", "b.txt")]
    done = subprocess.run(
        [sys.executable, "-c", script, *files], cwd=folder.parent, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(folder.parent)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(
        re.fullmatch(r"crashed the reader broke down on this file \(KeyError, text\.py:\d+\)", line) for line in lines
    )
