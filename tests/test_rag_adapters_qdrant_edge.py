"""The engine in this process: who may open it, what a kill or a full disk leaves, and how fast it is."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from rag.adapters import qdrant_edge
from rag.adapters.qdrant_edge import EdgeStore
from rag.errors import DiskFull, FingerprintMismatch, StoreBusy, StoreError
from rag.types import Chunk, Point, Query, Scope, SparseVector

DIMENSION = 8
RH1 = Scope(frozenset(), 0, {"rh": (1,)})
QUERY = Query(np.ones(DIMENSION, dtype=np.float32), SparseVector((1,), (1.0,)))


def point(name: str, dimension: int = DIMENSION, text: str = "Texte.", terms: int = 1) -> Point:
    rng = np.random.default_rng(list(name.encode()))
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
    chunk = Chunk(identity, "rh", "conges", "Congés", "Article 1", (), text, 0, "fr", 0, len(text))
    dense = rng.standard_normal(dimension).astype(np.float32)
    return Point(chunk, dense / np.float32(np.linalg.norm(dense)), SparseVector(tuple(range(terms)), (1.0,) * terms))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index" / "edge"


@pytest.fixture
def store(folder: Path) -> Iterator[EdgeStore]:
    store = EdgeStore.open(folder, "minilm:abc", DIMENSION)
    yield store
    store.close()


# --- opening -------------------------------------------------------------------------------------------


def test_what_was_staged_is_there_after_reopening(folder: Path) -> None:
    first = EdgeStore.open(folder, "minilm:abc", DIMENSION)
    first.stage("rh", 1, [point(str(n)) for n in range(20)], ())
    expected = first.search(QUERY, RH1, 10)
    first.close()
    second = EdgeStore.open(folder, "minilm:abc", DIMENSION)
    assert second.search(QUERY, RH1, 10) == expected
    second.close()


def test_another_embedder_is_refused_by_name(folder: Path) -> None:
    """The error names both, and the store opens again with the right one."""
    EdgeStore.open(folder, "minilm:abc", DIMENSION).close()
    for fingerprint, dimension in (("e5:def", DIMENSION), ("minilm:abc", 384)):
        with pytest.raises(FingerprintMismatch) as raised:
            EdgeStore.open(folder, fingerprint, dimension)
        assert "minilm:abc" in str(raised.value)
        assert fingerprint in str(raised.value)
        assert "minilm:abc" in raised.value.said("fr")
    EdgeStore.open(folder, "minilm:abc", DIMENSION).close()


def test_this_process_cannot_open_it_twice(store: EdgeStore, folder: Path) -> None:
    with pytest.raises(StoreBusy) as raised:
        EdgeStore.open(folder, "minilm:abc", DIMENSION)
    assert raised.value.pid == os.getpid()


def test_another_process_is_told_the_owner(store: EdgeStore, folder: Path, root: Path) -> None:
    """Before it touches the engine it learns who has the store, and the owner notices nothing."""
    store.stage("rh", 1, [point("1")], ())
    program = (
        "import sys\nfrom pathlib import Path\nfrom rag.adapters.qdrant_edge import EdgeStore\n"
        "from rag.errors import StoreBusy\n"
        f"try: EdgeStore.open(Path(sys.argv[1]), 'minilm:abc', {DIMENSION})\n"
        "except StoreBusy as error: print(error.pid)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == str(os.getpid())
    assert len(store.contents("rh", (1,))) == 1


def test_the_engines_own_refusal_is_translated(store: EdgeStore, folder: Path) -> None:
    """Were our lock missed, the engine's would still say busy."""
    with pytest.raises(StoreBusy):
        qdrant_edge._load(folder, DIMENSION)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": "x", "fingerprint": 1, "dimension": 2}']
)
def test_a_damaged_marker_stops_the_start(folder: Path, content: str) -> None:
    """The store is not taken for an empty one."""
    folder.mkdir(parents=True)
    (folder / "store.json").write_text(content)
    with pytest.raises(StoreError, match=r"store\.json"):
        EdgeStore.open(folder, "minilm:abc", DIMENSION)


def test_a_lost_marker_stops_the_start(folder: Path) -> None:
    EdgeStore.open(folder, "minilm:abc", DIMENSION).close()
    (folder / "store.json").unlink()
    with pytest.raises(StoreError, match=r"store\.json"):
        EdgeStore.open(folder, "minilm:abc", DIMENSION)


def test_a_newer_store_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "store.json").write_text(json.dumps({"format": 2, "fingerprint": "minilm:abc", "dimension": DIMENSION}))
    with pytest.raises(StoreError, match="newer"):
        EdgeStore.open(folder, "minilm:abc", DIMENSION)


def test_a_creation_that_was_cut_short_is_done_again(folder: Path) -> None:
    """A half-made shard lies beside and is replaced."""
    EdgeStore.open(folder, "minilm:abc", DIMENSION).close()
    (folder / "shard").rename(folder / "shard.new")
    shutil.rmtree(folder / "shard.new" / "segments")
    store = EdgeStore.open(folder, "minilm:abc", DIMENSION)
    store.stage("rh", 1, [point("1")], ())
    assert len(store.contents("rh", (1,))) == 1
    store.close()


def test_a_closed_store_says_so(folder: Path) -> None:
    store = EdgeStore.open(folder, "minilm:abc", DIMENSION)
    store.close()
    with pytest.raises(StoreError):
        store.search(QUERY, RH1, 5)


def test_the_engines_errors_are_ours(store: EdgeStore) -> None:
    """A vector of another size is refused by the engine; what is stored stays."""
    store.stage("rh", 1, [point("1")], ())
    with pytest.raises(StoreError, match="dim"):
        store.stage("rh", 2, [point("2", dimension=DIMENSION + 1)], ())
    assert len(store.contents("rh", (1,))) == 1


# --- a full disk ---------------------------------------------------------------------------------------


def test_a_disk_that_is_nearly_full_stops_staging(store: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging stops while there is room to undo; what is published stays, and staging goes on once there is room."""
    store.stage("rh", 1, [point("1"), point("2")], ())
    published = store.contents("rh", (1,))
    monkeypatch.setattr(qdrant_edge, "free_bytes", lambda folder: 30 * 2**20)
    with pytest.raises(DiskFull):
        store.stage("rh", 2, [point("3")], [published[0].point])
    with pytest.raises(DiskFull):
        store.stage("rh", 2, [], [published[0].point])
    store.discard("rh", 2)
    assert store.contents("rh", (1,)) == published
    assert len(store.search(QUERY, RH1, 5).dense) == 2
    monkeypatch.setattr(qdrant_edge, "free_bytes", lambda folder: 1)
    with pytest.raises(DiskFull):
        store.sweep("rh", [])
    monkeypatch.undo()
    store.stage("rh", 2, [point("3")], [published[0].point])
    assert len(store.contents("rh", (2, 1))) == 2


def test_a_store_that_has_no_room_to_open_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening writes what the log still has to tell; on a full disk the engine would end the process without a word."""
    with closing(EdgeStore.open(folder, "test", DIMENSION)) as store:
        store.stage("rh", 1, [point("1")], ())
    monkeypatch.setattr(qdrant_edge, "free_bytes", lambda folder: 2**20)
    with pytest.raises(DiskFull, match="nothing published is lost"):
        EdgeStore.open(folder, "test", DIMENSION)
    monkeypatch.undo()
    with closing(EdgeStore.open(folder, "test", DIMENSION)) as store:
        assert len(store.contents("rh", (1,))) == 1


ON_A_SMALL_DISK = """
import subprocess, sys, uuid
from pathlib import Path
import numpy as np
from rag.adapters.qdrant_edge import EdgeStore
from rag.errors import DiskFull
from rag.types import Chunk, Point, Scope, SparseVector

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], check=True)
rng = np.random.default_rng(1)

def points(snapshot):
    for n in range(512):
        text = rng.bytes(4000).hex()
        chunk = Chunk(str(uuid.uuid4()), "rh", "d", "t", "r", (), text, n, "fr", 0, len(text))
        yield Point(chunk, rng.standard_normal(384).astype(np.float32), SparseVector((1, 2), (1.0, 1.0)))

store = EdgeStore.open(disk / "index" / "edge", "test", 384)
def seen():
    return [(stored.point, stored.chunk) for stored in store.contents("rh", (1,))]

store.stage("rh", 1, list(points(1)), ())
published = seen()
for snapshot in range(2, 99):
    try:
        store.stage("rh", snapshot, list(points(snapshot)), [point for point, _ in published])
    except DiskFull:
        break
    store.sweep("rh", [(1,), (snapshot,)])
else:
    sys.exit("the disk was never full")
assert seen() == published
store.discard("rh", snapshot)
store.close()
store = EdgeStore.open(disk / "index" / "edge", "test", 384)
assert seen() == published
subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
store.stage("rh", snapshot + 1, list(points(0)), ())
assert len(store.contents("rh", (snapshot + 1,))) == 512
store.close()
print("survived", snapshot)
"""


@pytest.mark.slow
def test_a_really_full_disk_is_an_error_and_not_a_death(tmp_path: Path, root: Path) -> None:
    """On a file system of 200 MiB staging ends with DiskFull; the published snapshot is read and kept."""
    unshare = ["unshare", "-rm"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets us mount nothing")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [*unshare, sys.executable, "-c", ON_A_SMALL_DISK, str(disk)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if "mount:" in done.stderr:
        pytest.skip("this system lets us mount nothing")
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["survived"]), done.stderr


# --- kills ---------------------------------------------------------------------------------------------

STAGES_UNTIL_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from kill_points import batch
from rag.adapters.qdrant_edge import EdgeStore

store = EdgeStore.open(Path(sys.argv[1]), "test", 32)
snapshot = int(sys.argv[3])
while True:
    removals = [stored.point for stored in store.contents("rh", (snapshot - 1,))][:50]
    store.stage("rh", snapshot, batch(snapshot), removals)
    print(snapshot, flush=True)
    snapshot += 1
"""

KILL_POINTS = """
import uuid
import numpy as np
from rag.types import Chunk, Point, SparseVector

def batch(snapshot):
    rng = np.random.default_rng(snapshot)
    found = []
    for n in range(600):
        identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{snapshot}/{n}"))
        chunk = Chunk(identity, "rh", f"d{snapshot}", "t", "r", (), f"text {n}", n, "fr", 0, 6)
        dense = rng.standard_normal(32).astype(np.float32)
        dense /= np.linalg.norm(dense)
        found.append(Point(chunk, dense, SparseVector((1, 2 + n % 30), (1.0, 1.5))))
    return found
"""


@pytest.mark.slow
def test_five_kills_lose_nothing_that_was_acknowledged(folder: Path, tmp_path: Path, root: Path) -> None:
    """Killed at random moments of a stage, the store still holds every stage that returned, whole."""
    (tmp_path / "kill_points.py").write_text(KILL_POINTS)
    moments, acknowledged = random.Random(5), 0
    for _ in range(5):
        program = [sys.executable, "-c", STAGES_UNTIL_KILLED, str(folder), str(tmp_path), str(acknowledged + 1)]
        with subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, text=True) as staging:
            assert staging.stdout is not None
            acknowledged = int(staging.stdout.readline())
            time.sleep(moments.uniform(0, 0.6))
            staging.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in staging.stdout.read().split())])
        store = EdgeStore.open(folder, "test", 32)
        for snapshot in range(1, acknowledged + 1):
            assert len(store.contents("rh", (snapshot,))) == 600
            assert len(store.contents("rh", (snapshot, snapshot - 1))) == (1150 if snapshot > 1 else 600)
        found = store.search(QUERY_32, Scope(frozenset(), 0, {"rh": (acknowledged,)}), 10)
        assert len(found.dense) == len(found.sparse) == 10
        store.discard("rh", acknowledged + 1)
        assert store.contents("rh", (acknowledged + 1,)) == []
        store.close()
    print(f"\n5 kills, {acknowledged} acknowledged stages of 600 chunks, none lost")


QUERY_32 = Query(np.ones(32, dtype=np.float32), SparseVector((1, 2), (1.0, 1.0)))


# --- speed ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_among_20000_chunks_is_fast(folder: Path) -> None:
    """Dense, BM25 and references in one call with a scope; processor time is judged, a busy machine waits longer."""
    count, dimension = 20_000, 384
    rng = np.random.default_rng(7)
    dense = rng.standard_normal((count, dimension)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    corpora = ("rh", "sante", "finances", "infrastructures")
    points: list[Point] = []
    for n in range(count):
        words = np.unique(np.minimum(rng.zipf(1.3, 120), 50_000))
        chunk = Chunk(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))),
            corpus=corpora[n % 4],
            document=f"document {n // 20}",
            title="Règlement",
            reference=f"Article {n % 500}",
            path=("Titre I", "Chapitre II"),
            text="Le présent article règle la chose. " * 25,
            ordinal=n,
            language="fr",
            start=0,
            end=875,
            groups=frozenset({"*"}) if n % 10 else frozenset({"agents"}),
            own_references=(f"art:{n % 500}",),
        )
        weights = tuple((0.5 + rng.random(len(words))).tolist())
        points.append(Point(chunk, dense[n], SparseVector(tuple(words.tolist()), weights)))

    store = EdgeStore.open(folder, "test", dimension)
    started = time.perf_counter()
    for corpus in corpora:
        store.stage(corpus, 1, [point for point in points if point.chunk.corpus == corpus], ())
    staged = time.perf_counter() - started
    old = [stored.point for stored in store.contents("rh", (1,))][:1000]
    store.stage("rh", 2, [], old)

    scope = Scope(frozenset({"agents"}), 0, {"rh": (2, 1), **dict.fromkeys(corpora[1:], (1,))}, dt.date(2024, 5, 1))
    times, processor = [], []
    for n in range(100):
        words = np.unique(np.minimum(rng.zipf(1.3, 10) + 3, 50_000))
        terms = SparseVector(tuple(words.tolist()), (1.0,) * len(words))
        query = Query(dense[n] + dense[n + 1], terms, (f"art:{n}",))
        started, used = time.perf_counter(), time.process_time()
        found = store.search(query, scope, 100)
        times.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - used))
        assert len(found.dense) == 100
        assert len(found.exact) >= 28
    store.close()
    median, slowest = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    work = statistics.median(processor)
    print(f"\n{count} chunks: {count / staged:.0f} staged/s; search median {median:.1f} ms, 95th {slowest:.1f} ms")
    print(f"processor time of all threads: median {work:.1f} ms")
    assert work < 50
