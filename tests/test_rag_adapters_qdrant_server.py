"""The server's client: what it is asked, what it refuses and how its failures are told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from rag.adapters.qdrant_server import COLLECTION, ServerStore
from rag.errors import DiskFull, FingerprintMismatch, StoreError
from rag.types import Chunk, Point, Query, Scope, SparseVector

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
