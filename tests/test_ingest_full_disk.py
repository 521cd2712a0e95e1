"""A file system that fills up: the run stops and says so, what is published stays, and with room the next run ends it.

Each test mounts a small file system of its own in a namespace that ends with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from rag.adapters.fake import HashEmbedder
from rag.errors import DiskFull
from tests.test_ingest_crash import content, opened, results, write_first, write_second
from tests.vauban_command import Command

MEGABYTES: Final = 420
LEFT: Final = (90, 66, 20, 1, 0)
"""MB that are free when a sync begins: above the reserve of the store, just above it, below it, next to nothing."""
MOMENTS: Final = int(os.environ.get("INGEST_FILLINGS", "2"))
"""Times that the disk is filled by somebody else while a sync runs."""
SAID: Final = ("plus de place", "no space")
QUESTION: Final = "quel est le délai de recours"


def in_a_namespace(what: str, tmp_path: Path, root: Path) -> dict[str, Any]:
    """Run a function of this file where it may mount; what it printed."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets us mount nothing")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [*unshare, sys.executable, __file__, what, str(tmp_path)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=280 if "INGEST_FILLINGS" not in os.environ else 3600,
        check=False,
    )
    if "mount:" in done.stderr:
        pytest.skip("this system lets us mount nothing")
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found))
    return found


@pytest.mark.slow
@pytest.mark.timeout(3700)
def test_a_sync_on_a_full_disk_stops_and_says_so(tmp_path: Path, root: Path) -> None:
    """However little is left: exit code 1, a message, the published state as it was, the rest once there is room."""
    found = in_a_namespace("stops", tmp_path, root)
    assert [step["left"] for step in found["steps"]] == list(LEFT)
    for step in found["steps"]:
        assert step["sync"] in ({0, 1} if step["left"] > 80 else {1}), step
        assert step["said"] or step["sync"] == 0, step
        assert step["published"] or step["sync"] == 0, step
    assert found["steps"][-1]["sync"] == 1
    assert found["opened"] in {"read", "full"}
    assert found["completed"]
    assert found["same"]


@pytest.mark.slow
@pytest.mark.timeout(3700)
def test_a_disk_that_somebody_fills_meanwhile_costs_the_run_at_most(tmp_path: Path, root: Path) -> None:
    """The engine's writes may then kill the process, as a kill -9 does: nothing that was published is lost."""
    found = in_a_namespace("filled", tmp_path, root)
    assert found["lost"] == found["differences"] == found["silent"] == 0
    assert sum(found["ended"].values()) == MOMENTS


# --- what runs in the namespace --------------------------------------------------------------------------


def mount(folder: Path) -> str:
    """A small disk: ext4 in a file where this system lets us, else one in memory; which."""
    image = folder.with_name("image")
    with image.open("wb") as writing:
        writing.truncate(MEGABYTES << 20)
    for command in (["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(folder)]):
        if not shutil.which(command[0]) or subprocess.run(command, capture_output=True, check=False).returncode:
            break
    else:
        return "ext4"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)], check=True)
    return "tmpfs"


def copy(home: Path, to: Path) -> None:
    """A copy of a home. The engine's files have holes, which ext4 keeps; in memory, to look at one is to fill it."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(to.parent)], check=True, capture_output=True, text=True)
    sparse = "never" if kind.stdout.strip() == "tmpfs" else "always"
    subprocess.run(["cp", "-a", f"--sparse={sparse}", str(home), str(to)], check=True)


@contextmanager
def ballast(disk: Path, left: int) -> Iterator[None]:
    """Whatever of the disk is free is taken, but for so many MB."""
    file = disk / "ballast"
    size = shutil.disk_usage(disk).free - left * 1_000_000
    with file.open("wb") as writing:
        try:
            while size > 0:
                size -= writing.write(bytes(min(size, 1 << 16)))
                writing.flush()
        except OSError:
            pass  # as full as can be
    try:
        yield
    finally:
        file.unlink()


def stops(tmp_path: Path) -> dict[str, Any]:
    disk, folder = tmp_path / "disk", tmp_path / "rh"
    kind = mount(disk)
    write_first(folder)
    command = Command(tmp_path, {"VAUBAN_EMBEDDER": "fake", "VAUBAN_GENERATOR": "fake", "VAUBAN_WORKERS": "1"})
    home = {"VAUBAN_HOME": str(disk / "home")}
    calm = {"VAUBAN_HOME": str(tmp_path / "calm")}
    sync = ("ingest", "sync", folder, "--corpus", "rh", "--confirm-removals", "--json")
    assert command(*sync, **home).code == 0
    assert command(*sync, **calm).code == 0
    before = command("search", QUESTION, "--json", **home).json
    write_second(folder)
    steps = []
    for left in LEFT:
        with ballast(disk, left):
            done = command(*sync, **home)
            found = command("search", QUESTION, "--json", **home)
            steps.append(
                {
                    "left": left,
                    "sync": done.code,
                    "said": any(words in done.err for words in SAID),
                    "err": done.err.strip()[-200:],
                    # With next to no room the store does not open; then it must say so.
                    "published": found.json == before
                    if found.code == 0
                    else left < 10 and any(words in found.err for words in SAID),
                    "search_err": found.err.strip()[-200:],
                }
            )
        if done.code == 0:  # there was room: begin again
            shutil.rmtree(disk / "home")
            copy(tmp_path / "calm", disk / "home")
    with ballast(disk, 0):
        said = looked(disk / "home").partition(":")[0]
    completed = command(*sync, **home)
    command(*sync, **calm)
    return {
        "disk": kind,
        "steps": steps,
        "opened": said,
        "completed": completed.code == 0 and completed.json["rejected"] == [],
        "same": contents(disk / "home") == contents(tmp_path / "calm"),
    }


def contents(root: Path) -> set[tuple[object, ...]]:
    with opened(root, HashEmbedder()) as parts:
        return content(parts, "rh")


def filled(tmp_path: Path) -> dict[str, Any]:
    """Syncs during which another process takes all the room there is, at once and again and again."""
    disk, before, after = tmp_path / "disk", tmp_path / "avant", tmp_path / "rh"
    kind = mount(disk)
    write_first(before)
    shutil.copytree(before, after)
    write_second(after)
    base, calm, home = tmp_path / "base", tmp_path / "calm", disk / "home"
    run(base, before)
    shutil.copytree(base, calm)
    start = time.monotonic()
    assert run(calm, after)[0] == 0
    undisturbed = time.monotonic() - start
    old, new = contents(base), contents(calm)
    shown_before, shown_after = looked(base), looked(calm)
    figures: dict[str, Any] = {
        "disk": kind,
        "lost": 0,
        "differences": 0,
        "silent": 0,
        "ended": {},
        "looks": {},
        "said": [],
    }
    draw = random.Random(7)
    for _ in range(MOMENTS):
        shutil.rmtree(home, ignore_errors=True)
        copy(base, home)
        moment = draw.uniform(0.3, 1.0) * undisturbed
        code, err = run(home, after, lambda moment=moment: greedy(disk, moment))  # type: ignore[misc]  # a default
        figures["ended"][str(code)] = figures["ended"].get(str(code), 0) + 1
        told = err.strip().splitlines()[-1:] or [""]
        figures["silent"] += code > 0 and not any(words in err for words in SAID)
        figures["said"].append(told[0][-160:])
        # As full as it is: whoever looks finds what was published, or is told that there is no room.
        look = looked(home)
        figures["looks"][look.partition(":")[0]] = figures["looks"].get(look.partition(":")[0], 0) + 1
        if look.startswith("read:"):
            figures["lost"] += look != (shown_before if code else shown_after)
        elif look != "full":
            figures["silent"] += 1
            figures["said"].append(look)
        (disk / "ballast").unlink(missing_ok=True)
        figures["lost"] += contents(home) != (new if code == 0 else old)
        assert run(home, after)[0] == 0
        figures["differences"] += contents(home) != new
    return figures


def looked(root: Path) -> str:
    """What a process of its own finds in a home: a digest of its results, ``full``, or how it ended."""
    command = [sys.executable, __file__, "look", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"{done.returncode} {done.stderr[-200:]}"


def look(root: Path) -> str:
    try:
        with opened(root, HashEmbedder()) as parts:
            return f"read:{hash_of(results(parts, ['rh']))}"
    except DiskFull:
        return "full"


def hash_of(found: object) -> str:
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12]


def run(root: Path, folder: Path, meanwhile: Callable[[], subprocess.Popen[bytes]] | None = None) -> tuple[int, str]:
    """A sync in a process of its own; its exit code and what it said."""
    command = [sys.executable, __file__, "sync", str(root), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        other = None if meanwhile is None else meanwhile()
        _, err = process.communicate()
        if other is not None:
            other.kill()
            other.wait()
    return process.returncode, err


GREEDY: Final = """
import sys, time
time.sleep(float(sys.argv[2]))
with open(sys.argv[1], "ab", buffering=0) as ballast:
    size = 1 << 20
    while True:
        try:
            ballast.write(bytes(size))
        except OSError:
            size = max(4096, size // 2)
            if size == 4096:
                time.sleep(0.0005)
"""


def greedy(disk: Path, moment: float) -> subprocess.Popen[bytes]:
    """Another program that takes all the room there is from that moment on, and what is freed as well."""
    return subprocess.Popen([sys.executable, "-c", GREEDY, str(disk / "ballast"), str(moment)])


def sync_once(root: Path, folder: Path) -> int:
    """As ``vauban ingest sync`` does, with an embedder that takes its time and small windows."""
    from ingest import pipeline
    from rag.errors import VaubanError
    from rag.types import SyncOptions
    from tests.test_ingest_crash import UnhurriedEmbedder

    pipeline.WINDOW = 30  # type: ignore[misc]  # so that there are moments between two batches
    try:
        with opened(root, UnhurriedEmbedder()) as parts:
            print("begun", flush=True)
            parts.catalog.interrupt_runs()
            return pipeline.sync(folder, "rh", parts, SyncOptions(confirm_removals=True)).exit_code
    except VaubanError as error:
        print(error.en, file=sys.stderr)
        return 1


if __name__ == "__main__":
    if sys.argv[1] == "look":
        print(look(Path(sys.argv[2])))
        sys.exit()
    if sys.argv[1] == "sync":
        sys.exit(sync_once(Path(sys.argv[2]), Path(sys.argv[3])))
    print(json.dumps({"stops": stops, "filled": filled}[sys.argv[1]](Path(sys.argv[2]))))
