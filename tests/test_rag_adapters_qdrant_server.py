"""The server's client: what it is asked, what it refuses and how its failures are told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from rag.adapters import qdrant_server
from rag.adapters.qdrant_server import COLLECTION, Patience, ServerStore
from rag.errors import DiskFull, FingerprintMismatch, StoreError
from rag.types import Chunk, Point, Query, Scope, SparseVector
from tests import qdrant_double
from tests.qdrant_double import Fault, QdrantDouble

# The client's local mode, which stands in for a server, says that it needs no index and is always exact.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect:UserWarning",
    "ignore:Local mode performs exact:UserWarning",
    "ignore:Api key is used with an insecure connection:UserWarning",
)

ONE = Point(
    Chunk("0b9c4a3e-0000-5000-8000-000000000001", "rh", "d", "t", "r", (), "texte", 0, "fr", 0, 5),
    np.ones(4, dtype=np.float32) / np.float32(2),
    SparseVector((1,), (1.0,)),
)


def test_the_collection_remembers_its_embedder() -> None:
    """A second opening finds the points; another embedder is refused, and both are named."""
    client = QdrantClient(":memory:")
    ServerStore.open("", "", "minilm:abc", 4, client=client).stage("rh", 1, [ONE], ())
    assert len(ServerStore.open("", "", "minilm:abc", 4, client=client).contents("rh", (1,))) == 1
    for fingerprint, dimension in (("e5:def", 4), ("minilm:abc", 384)):
        with pytest.raises(FingerprintMismatch, match=r"minilm:abc .*" + fingerprint):
            ServerStore.open("", "", fingerprint, dimension, client=client)


def test_a_collection_of_someone_else_is_refused() -> None:
    """A collection without our marks is not written to."""
    client = QdrantClient(":memory:")
    client.create_collection(COLLECTION, vectors_config={})
    with pytest.raises(FingerprintMismatch):
        ServerStore.open("", "", "minilm:abc", 4, client=client)


def test_no_server_is_a_store_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(StoreError, match="Qdrant"):
            ServerStore.open(url, "", "minilm:abc", 4)


COUNTED = {"result": {"count": 3}, "status": "ok", "time": 0.0}
INFO = {
    "result": {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "payload_schema": {},
        "config": {
            "params": {},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "metadata": {"fingerprint": "minilm:abc", "dimension": 4},
        },
    },
    "status": "ok",
    "time": 0.0,
}
DONE = {"result": {"operation_id": 1, "status": "completed"}, "status": "ok", "time": 0.0}
FOUND = {"result": [{"points": []}, {"points": []}, {"points": []}], "status": "ok", "time": 0.0}


@contextmanager
def server(answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[str, list[tuple[str, str, Any, Any]]]]:
    """A server that knows one answer for each last part of a path and keeps what it was asked."""
    asked: list[tuple[str, str, Any, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            asked.append((self.command, path, self.headers.get("api-key"), json.loads(body) if body else None))
            status, content = answers[path.rsplit("/", 1)[-1]]
            said = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = answer  # noqa: N815  the base class looks for these names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}", asked
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


ANSWERS: dict[str, tuple[int, Any]] = {
    "exists": (200, {"result": {"exists": True}, "status": "ok", "time": 0.0}),
    COLLECTION: (200, INFO),
    "index": (200, DONE),
    "count": (200, COUNTED),
    "batch": (200, FOUND),
    "points": (
        500,
        {"status": {"error": "Service internal error: No space left on device: WAL buffer size"}, "time": 0},
    ),
}


def test_over_http_one_batch_carries_all_lists_with_the_scope_in_each() -> None:
    """The key is sent, indexes are made, and dense, BM25 with its statistics, and references go in one request."""
    with server(ANSWERS) as (url, asked):
        store = ServerStore.open(url, "secret", "minilm:abc", 4)
        scope = Scope(frozenset({"agents"}), 1, {"rh": (2, 1)})
        store.search(Query(ONE.dense, ONE.sparse, ("art:1",)), scope, 5)
        store.close()
    assert {key for _, _, key, _ in asked} == {"secret"}
    assert {body["field_name"] for _, path, _, body in asked if path.endswith("index")} >= {"corpus", "added", "groups"}
    batches = [body["searches"] for _, path, _, body in asked if path.endswith("query/batch")]
    assert len(batches) == 1
    dense, sparse, exact = batches[0]
    assert dense["params"]["exact"] is True
    assert sparse["params"]["idf"]["corpus"] == sparse["filter"] == dense["filter"] == exact["filter"]["must"][0]
    assert "agents" in json.dumps(dense["filter"])


def test_a_full_server_is_told_as_such() -> None:
    with server(ANSWERS) as (url, _):
        store = ServerStore.open(url, "", "minilm:abc", 4)
        with pytest.raises(DiskFull):
            store.stage("rh", 1, [ONE], ())
        store.close()


def test_a_refused_key_is_a_store_error() -> None:
    with (
        server({"exists": (403, {"status": {"error": "forbidden"}})}) as (url, _),
        pytest.raises(StoreError, match="403"),
    ):
        ServerStore.open(url, "wrong", "minilm:abc", 4)


# --- a server that is busy, restarting or cut off -------------------------------------------------------

HASTY = Patience(attempts=5, first=0.01, longest=0.02, within=30.0)


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with qdrant_double.running() as running:
        yield running


def hasty(double: QdrantDouble) -> ServerStore:
    return ServerStore.open(double.url, "", "minilm:abc", 4, patience=HASTY)


def points(count: int, text: str = "texte") -> list[Point]:
    return [
        Point(
            Chunk(f"0b9c4a3e-0000-5000-8000-{n:012}", "rh", "d", "t", "r", (), text, n, "fr", 0, 5),
            ONE.dense,
            ONE.sparse,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429),
        Fault(500),
        Fault(502),
        Fault(503),
        Fault(504),
        Fault(hang_up_before=True),
        Fault(hang_up_after=True),
    ],
    ids=["429", "500", "502", "503", "504", "hung up before", "hung up after"],
)
def test_what_passes_is_tried_again(double: QdrantDouble, fault: Fault) -> None:
    """Every kind of write survives two failures of a kind that passes, and has happened once."""
    store = hasty(double)
    for part in ("points", "payload", "delete"):
        double.fail("POST" if part != "points" else "PUT", part, fault, fault)
    store.stage("rh", 1, points(3), ())
    first = store.contents("rh", (1,))
    store.stage("rh", 2, (), [first[0].point])
    assert [len(store.contents("rh", lineage)) for lineage in ((1,), (2, 1))] == [3, 2]
    store.discard("rh", 2)
    assert store.contents("rh", (2, 1)) == first
    assert double.count("PUT", "points") == 3
    assert double.count("POST", "payload") == 4  # two failures, the mark, and its undoing
    assert double.count("POST", "delete") == 3
    store.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_does_not_pass_is_not_tried_again(double: QdrantDouble, status: int) -> None:
    store = hasty(double)
    double.fail("PUT", "points", Fault(status))
    with pytest.raises(StoreError, match=str(status)):
        store.stage("rh", 1, points(1), ())
    assert double.count("PUT", "points") == 1
    store.close()


def test_in_the_end_it_is_said_what_was_staged(double: QdrantDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the error counts what is there, nothing more is sent, and a second run adds the rest."""
    monkeypatch.setattr(qdrant_server, "BATCH", 2)
    store = hasty(double)
    double.fail("PUT", "points", Fault(), *[Fault(503)] * HASTY.attempts)
    with pytest.raises(StoreError, match=r"(?s)503.*\(5x\).*2 of 5 points"):
        store.stage("rh", 1, points(5), ())
    assert double.count("PUT", "points") == 1 + HASTY.attempts
    assert len(store.contents("rh", (1,))) == 2
    store.stage("rh", 1, points(5), ())
    assert len(store.contents("rh", (1,))) == 5
    store.close()


@pytest.mark.alone
def test_the_server_says_when_to_come_back(double: QdrantDouble) -> None:
    """``Retry-After`` of a 429 and of a 503 is waited for, where the own pause would be shorter."""
    store = hasty(double)
    double.fail("PUT", "points", Fault(429, {"Retry-After": "1"}), Fault(503, {"Retry-After": "1"}))
    start = time.monotonic()
    store.stage("rh", 1, points(1), ())
    assert 2.0 <= time.monotonic() - start < 5.0
    store.close()


def test_pauses_grow_and_differ() -> None:
    """Each is between half of and its whole, twice the one before, and never beyond the longest."""
    patience = Patience(8, 0.25, 15.0, 180.0)
    drawn = [[patience.pause(failed, None) for _ in range(50)] for failed in range(1, 9)]
    for failed, pauses in enumerate(drawn):
        whole = min(0.25 * 2**failed, 15.0)
        assert all(whole / 2 <= pause <= whole for pause in pauses)
        assert len(set(pauses)) > 1
    assert patience.pause(1, 7.0) == 7.0
    assert patience.pause(1, 86_400.0) == 60.0


def test_a_server_may_be_started_again_in_between(double: QdrantDouble) -> None:
    """Writing waits for it; a reader whose idle connection was closed notices nothing."""
    store = ServerStore.open(double.url, "", "minilm:abc", 4, patience=Patience(50, 0.05, 0.1, 30.0))
    store.stage("rh", 1, points(2), ())
    double.stop()
    double.start()
    scope = Scope(frozenset(), 0, {"rh": (1,)})
    assert len(store.search(Query(ONE.dense, ONE.sparse), scope, 5).dense) == 2
    double.stop()
    starting = threading.Timer(0.3, double.start)
    starting.start()
    store.stage("rh", 2, points(4), ())
    starting.join()
    assert len(store.contents("rh", (2,))) == 4
    store.close()


def test_a_server_that_hangs_is_given_up(double: QdrantDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt ends after the time-out, and the last one as our error; nothing is lost when it wakes up."""
    monkeypatch.setattr(qdrant_server, "TIMEOUT", 1)
    store = ServerStore.open(double.url, "", "minilm:abc", 4, patience=Patience(2, 0.01, 0.01, 30.0))
    double.fail("PUT", "points", Fault(seconds=2.0), Fault(seconds=2.0))
    with pytest.raises(StoreError, match="timed out"):
        store.stage("rh", 1, points(1), ())
    store.stage("rh", 1, points(1), ())
    assert len(store.contents("rh", (1,))) == 1
    store.close()


def test_one_request_stays_below_what_a_server_takes(double: QdrantDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are bounded in bytes, whatever the texts are; the estimate is never below what is sent."""
    monkeypatch.setattr(qdrant_server, "BATCH_BYTES", 100_000)
    store = hasty(double)
    store.stage("rh", 1, points(60, "é« " * 3_000), ())
    sent = [size for method, part, size in double.asked if (method, part) == ("PUT", "points")]
    assert len(sent) > 5
    assert max(sent) <= 100_000
    assert len(store.contents("rh", (1,))) == 60
    store.close()


def test_writing_ends_when_it_is_objected_to(double: QdrantDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence is asked before each attempt, also between two of one batch; the store itself has none."""
    monkeypatch.setattr(qdrant_server, "BATCH", 2)
    store = hasty(double)
    asked = 0

    class Stop(Exception):
        pass

    def before() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stop

    double.fail("PUT", "points", Fault(), Fault(503))
    with pytest.raises(Stop):
        store.fenced(before).stage("rh", 1, points(6), ())
    assert len(store.contents("rh", (1,))) == 2
    store.stage("rh", 1, points(6), ())
    assert (asked, len(store.contents("rh", (1,)))) == (3, 6)
    store.close()


def test_a_new_collection_has_the_shards_and_replicas_of_the_settings(double: QdrantDouble) -> None:
    """They are asked for when it is made; marks are written in one order on all replicas."""
    store = ServerStore.open(double.url, "", "minilm:abc", 4, shards=3, replicas=2, write_consistency=2)
    made = next(body for body in double.bodies if body and "vectors" in body)
    assert (made["shard_number"], made["replication_factor"], made["write_consistency_factor"]) == (3, 2, 2)
    store.stage("rh", 1, points(1), ())
    with qdrant_orderings(double) as orderings:
        store.stage("rh", 2, (), [store.contents("rh", (1,))[0].point])
        store.restrict("rh", "d", ["agents"], 1)
        store.discard("rh", 2)
    assert orderings == ["strong"] * 4
    store.close()


@contextmanager
def qdrant_orderings(double: QdrantDouble) -> Iterator[list[str]]:
    """The ordering of each write that is asked for in the block."""
    found: list[str] = []
    before = len(double.queries)
    yield found
    found += [query["ordering"][0] for query in double.queries[before:] if "ordering" in query]


def test_a_collection_keeps_its_identity() -> None:
    """It is the same for whoever opens the collection, and another one's differs."""
    clients = [QdrantClient(":memory:"), QdrantClient(":memory:")]
    said = [ServerStore.open("", "", "minilm:abc", 4, client=client).identity for client in [*clients, *clients]]
    assert said[:2] == said[2:]
    assert len(set(said)) == 2
    assert all(said)
