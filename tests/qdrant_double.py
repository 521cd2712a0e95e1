"""A double of a Qdrant server on the loopback: its REST API over the client's in-memory mode, with faults to order.

It answers the requests that our adapter makes, in the words of the client's own models, and refuses others. It may be
told to fail, to ask for a pause, to hang, to hang up before or after doing as asked, and be stopped and started again
with its points.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel
from qdrant_client import QdrantClient
from qdrant_client.http import models as m

BODY_LIMIT = 32 << 20
"""Bytes that a real server takes in one request by default."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one request: answered with ``status``, or late, or hung up on before or after it is done."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    hang_up_before: bool = False
    hang_up_after: bool = False
    said: str = "told to fail"


class QdrantDouble:
    """One double; ``asked`` is what was asked of it: method, last part of the path, bytes of the body."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.asked: list[tuple[str, str, int]] = []
        self.bodies: deque[Any] = deque(maxlen=50)
        self.queries: list[dict[str, list[str]]] = []
        self._faults: dict[tuple[str, str], deque[Fault]] = {}
        self._points = QdrantClient(":memory:")
        self._changing = threading.Lock()
        self._listening: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._open: set[socket.socket] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, part: str, *faults: Fault) -> None:
        """The next requests of this kind end so, one after the other."""
        self._faults.setdefault((method, part), deque()).extend(faults)

    def count(self, method: str, part: str) -> int:
        return sum((made, last) == (method, part) for made, last, _ in self.asked)

    def start(self) -> None:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                double._open.add(self.connection)

            def finish(self) -> None:
                double._open.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def answer(self) -> None:
                double._answer(self)

            do_GET = do_POST = do_PUT = answer  # noqa: N815  the base class looks for these names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
                pass

        self._listening = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._listening.daemon_threads = True
        self._listening.block_on_close = False
        self.port = self._listening.server_address[1]
        self._thread = threading.Thread(target=self._listening.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hang up on everybody; the points stay for the next start."""
        if self._listening is None or self._thread is None:
            return
        self._listening.shutdown()
        self._thread.join()
        self._listening.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listening = None

    # --- one request

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        address = urlsplit(request.path)
        path = address.path.rstrip("/").split("/")
        self.queries.append(parse_qs(address.query))
        part = "query" if path[-2:] == ["query", "batch"] else path[-1]
        self.asked.append((request.command, part, len(body)))
        waiting = self._faults.get((request.command, part))
        fault = waiting.popleft() if waiting else Fault()
        time.sleep(fault.seconds)
        if fault.hang_up_before:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        if self.key and request.headers.get("api-key") != self.key:
            fault = Fault(403, said="forbidden")
        elif len(body) > BODY_LIMIT:
            fault = Fault(413, said="payload too large")
        if fault.status:
            self._say(request, fault.status, {"status": {"error": fault.said}, "time": 0.0}, fault.headers)
            return
        try:
            said = json.loads(body) if body else None
            self.bodies.append(said)
            with self._changing, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the in-memory mode says that it needs no indexes
                result = self._done(request.command, part, path[2], said)
        except (ValueError, KeyError) as error:
            self._say(request, 404 if "not found" in str(error) else 400, {"status": {"error": str(error)}, "time": 0})
            return
        self._say(request, 200, {"result": _plain(result), "status": "ok", "time": 0.0}, cut=fault.hang_up_after)

    def _say(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: object,
        headers: Mapping[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        said = json.dumps(content).encode()
        with suppress(OSError):  # who asked may have gone
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(said)))
            for name, value in (headers or {}).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(said[: len(said) // 2] if cut else said)
            if cut:
                request.connection.shutdown(socket.SHUT_RDWR)
                request.close_connection = True

    def _done(self, method: str, part: str, name: str, said: Any) -> object:
        """What the server does, by the client's in-memory mode."""
        points = self._points
        done = {"operation_id": 1, "status": "completed"}
        asks: dict[tuple[str, str], Callable[[], object]] = {
            ("GET", "exists"): lambda: {"exists": points.collection_exists(name)},
            ("GET", name): lambda: points.get_collection(name),
            ("PUT", name): lambda: self._create(name, m.CreateCollection.model_validate(said)),
            ("PUT", "index"): lambda: done,
            ("POST", "count"): lambda: _count(points, name, m.CountRequest.model_validate(said)),
            ("POST", "query"): lambda: points.query_batch_points(
                name, m.QueryRequestBatch.model_validate(said).searches
            ),
            ("POST", "scroll"): lambda: _scroll(points, name, m.ScrollRequest.model_validate(said)),
            ("POST", "points"): lambda: _retrieve(points, name, m.PointRequest.model_validate(said)),
            ("PUT", "points"): lambda: points.upsert(name, m.PointsList.model_validate(said).points) and done,
            ("POST", "payload"): lambda: _payload(points, name, m.SetPayload.model_validate(said)) and done,
            ("POST", "delete"): lambda: _delete(points, name, said) and done,
        }
        if (method, part) not in asks:
            raise ValueError(f"the double does not know {method} {part}")
        return asks[method, part]()

    def _create(self, name: str, asked: m.CreateCollection) -> bool:
        return self._points.create_collection(
            name,
            vectors_config=asked.vectors,
            sparse_vectors_config=asked.sparse_vectors,
            metadata=asked.metadata,
        )


def _count(points: QdrantClient, name: str, asked: m.CountRequest) -> object:
    return points.count(name, count_filter=asked.filter, exact=bool(asked.exact))


def _scroll(points: QdrantClient, name: str, asked: m.ScrollRequest) -> object:
    page, following = points.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit or 10,
        offset=asked.offset,
        with_payload=True if asked.with_payload is None else asked.with_payload,
        with_vectors=asked.with_vector or False,
    )
    return {"points": page, "next_page_offset": following}


def _retrieve(points: QdrantClient, name: str, asked: m.PointRequest) -> object:
    wanted = True if asked.with_payload is None else asked.with_payload
    return points.retrieve(name, asked.ids, with_payload=wanted, with_vectors=asked.with_vector or False)


def _payload(points: QdrantClient, name: str, asked: m.SetPayload) -> object:
    target = asked.points if asked.points is not None else asked.filter
    assert target is not None
    return points.set_payload(name, asked.payload, points=target)


def _delete(points: QdrantClient, name: str, said: Any) -> object:
    selector = m.PointIdsList if "points" in said else m.FilterSelector
    return points.delete(name, selector.model_validate(said))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


@contextmanager
def running(key: str = "") -> Iterator[QdrantDouble]:
    """A double for the block."""
    double = QdrantDouble(key)
    double.start()
    try:
        yield double
    finally:
        double.stop()
