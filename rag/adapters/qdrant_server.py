"""Vectors in a Qdrant server or cluster, where one machine is outgrown.

The same points and conditions as in :mod:`rag.adapters.qdrant_edge`, through ``qdrant-client``, whose in-memory mode
makes the same calls and stands in for a server in tests. All corpora share one collection; its metadata say
which embedder filled it. Every request may be sent twice and means the same as once, so what a server that is busy,
restarting or cut off did not answer is sent again, after pauses that grow.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from pydantic import ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from rag.adapters.qdrant_payload import (
    BATCH,
    DENSE,
    INTEGERS,
    KEYWORDS,
    SPARSE,
    AnyOf,
    Condition,
    Payload,
    Where,
    Within,
    batches,
    chunk_of,
    in_lineage,
    in_reading_order,
    in_scope,
    lists_of,
    mismatch,
    must_be_of,
    narrowed,
    of_documents,
    payload_of,
    point_id,
    stored_of,
    visible,
)
from rag.adapters.ranking import gathered, ranked
from rag.errors import DiskFull, StoreError
from rag.types import Candidates, Marked, Point, Query, Scope, Stored, Vector

COLLECTION = "vauban"

EXACT_BELOW = 20_000
"""Visible chunks up to which every one is compared; above, the server's graph finds the nearest, approximately."""

PAGE = 1000
"""Points per page when many are read."""

TIMEOUT = 60
"""Seconds that one request may take; deleting by condition on a large collection is the slowest."""

BATCH_BYTES: Final = 16 << 20
"""Bytes of one upsert: half of what a server takes by default, for its size is estimated."""

_NUMBER: Final = 22
"""Bytes of one number of a vector in JSON, comma included."""
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the request: the server is busy, starting, or without a quorum."""
_LONGEST_ADVICE: Final = 60.0
"""Seconds of a ``Retry-After`` that are waited for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent, and the pauses between: each twice as long as the one before, half of it by chance.

    Chance keeps workers that were refused together from coming back together. No attempt begins later than
    ``within`` seconds after the first one.
    """

    attempts: int
    first: float
    longest: float
    within: float

    def pause(self, failed: int, advice: float | None) -> float:
        """Seconds to wait after so many failures; at least what the server has asked for."""
        grown = min(self.first * 2.0 ** (failed - 1), self.longest)
        return max(grown * random.uniform(0.5, 1.0), min(advice or 0.0, _LONGEST_ADVICE))


WRITING: Final = Patience(attempts=8, first=0.25, longest=15.0, within=180.0)
"""For ingestion, which would rather wait for a server to restart than begin again: some 45 seconds of pauses."""
ASKING: Final = Patience(attempts=2, first=0.1, longest=0.1, within=5.0)
"""For readers, who wait for it: once more at once, for a connection that was idle may have been closed."""
ONCE: Final = Patience(attempts=1, first=0.0, longest=0.0, within=0.0)

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class ServerStore:
    """The :class:`~rag.seams.VectorStore` of many machines. Made by :meth:`open`; safe from many threads.

    Several processes may read, and several may stage new points of one corpus; what marks, discards or sweeps points
    is one process at a time for each corpus. ``identity`` is the collection's own, wherever it is reached from.
    """

    def __init__(
        self, client: QdrantClient, identity: str = "", *, writing: Patience = WRITING, asking: Patience = ASKING
    ) -> None:
        self.identity = identity
        self._client = client
        self._patience = writing
        self._asking = asking
        self._writing = threading.RLock()
        self._before: Callable[[], None] = _nothing

    @classmethod
    def open(
        cls,
        url: str,
        api_key: str,
        fingerprint: str,
        dimension: int,
        client: QdrantClient | None = None,
        *,
        shards: int = 1,
        replicas: int = 1,
        write_consistency: int = 1,
        patience: Patience = WRITING,
    ) -> ServerStore:
        """Connect to the server at ``url``, creating the collection when there is none.

        ``shards``, ``replicas`` of each and the ``write_consistency`` (replicas that have a write before it counts)
        are those of a collection that is made now; one that exists keeps its own. ``client`` replaces the connection;
        it is closed with the store.

        Raises:
            FingerprintMismatch: the collection was filled by another embedder.
            StoreError: the server does not answer, or refuses the key.
        """
        with ExitStack() as undo:
            if client is None:
                client = QdrantClient(url=url, api_key=api_key or None, timeout=TIMEOUT, check_compatibility=False)
                undo.callback(client.close)
            if not _server(client.collection_exists, COLLECTION):
                _create(client, fingerprint, dimension, shards, replicas, write_consistency)
            collection = _server(client.get_collection, COLLECTION)
            said = collection.config.metadata or {}
            filled_by, size = str(said.get("fingerprint")), int(said.get("dimension", 0))
            if (filled_by, size) != (fingerprint, dimension):
                raise mismatch(filled_by, size, fingerprint, dimension)
            _index(client, known=collection.payload_schema)
            undo.pop_all()
        return cls(client, str(said.get("identity", "")), writing=patience)

    def fenced(self, before: Callable[[], None]) -> ServerStore:
        """This store, ``before`` being called before each attempt to write: what it raises ends the writing.

        A write that is on its way when ``before`` would begin to object still arrives.
        """
        store = ServerStore(self._client, self.identity, writing=self._patience, asking=self._asking)
        store._writing = self._writing
        store._before = before
        return store

    # --- searching -------------------------------------------------------------------------------------

    def search(self, query: Query, scope: Scope, limit: int) -> Candidates:
        where = in_scope(scope)
        lists = lists_of(query)
        if where is None or limit < 1 or not lists:
            return Candidates()
        seen = spell(where)
        visible_points = self._asked(self._client.count, COLLECTION, count_filter=seen, exact=True).count
        if not visible_points:
            return Candidates()
        exact = visible_points < EXACT_BELOW
        payloads: dict[str, Payload] = {}

        def ask(wanted: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            requests = [_request(name, query, seen, count, exact) for name, count in wanted.items()]
            answers = self._asked(self._client.query_batch_points, COLLECTION, requests=requests)
            for answer in answers:
                payloads.update({str(point.id): point.payload or {} for point in answer.points})
            return {name: _pairs(name, answer.points) for name, answer in zip(wanted, answers, strict=True)}

        found = gathered(ask, lists, limit)
        chunks = {point: chunk_of(payload) for point, payload in payloads.items()}
        return Candidates(
            **{name: ranked(((score, chunks[point]) for score, point in pairs), limit) for name, pairs in found.items()}
        )

    # --- reading ---------------------------------------------------------------------------------------

    def chunks(
        self,
        scope: Scope,
        *,
        documents: Collection[tuple[str, str]] | None = None,
        ids: Collection[str] | None = None,
        references: Collection[str] | None = None,
    ) -> list[Stored]:
        where = in_scope(scope)
        where = where and narrowed(where, documents, ids, references)
        return self._read(where, self._asking)

    def contents(self, corpus: str, lineage: Sequence[int], documents: Collection[str] | None = None) -> list[Stored]:
        where = in_lineage(corpus, lineage)
        if where is None or documents is None:
            return self._read(where)
        return in_reading_order(
            stored
            for ids in batches(sorted(set(documents)))
            for stored in self._read(Where(every=(where, AnyOf("document", tuple(ids)))))
        )

    def vectors(self, corpus: str, chunks: Collection[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        for ids in batches(sorted(set(chunks))):
            where = Where(every=(AnyOf("corpus", (corpus,)), AnyOf("chunk", tuple(ids))))
            for _, payload, vectors in self._scroll(where, ["chunk"], [DENSE]):
                found[payload["chunk"]] = np.asarray(vectors[DENSE], dtype=np.float32)
        return found

    def points(self, corpus: str, documents: Collection[str] | None = None) -> Iterator[tuple[Stored, Vector]]:
        for where in of_documents(corpus, documents):
            for point, payload, vectors in self._scroll(where, True, [DENSE]):
                yield stored_of(point, payload), np.asarray(vectors[DENSE], dtype=np.float32)

    # --- writing ---------------------------------------------------------------------------------------

    def stage(self, corpus: str, snapshot: int, points: Sequence[Point], removals: Collection[str]) -> None:
        must_be_of(corpus, points)
        staged = 0
        with self._writing:
            for batch in _bounded(_point(point, snapshot) for point in points):
                try:
                    self._write(self._client.upsert, COLLECTION, batch, wait=True)
                except StoreError as error:
                    raise StoreError(
                        f"{error.en} ({staged} of {len(points)} points were staged; nobody sees them, and the next "
                        "sync takes them over)",
                        f"{error.fr} ({staged} points sur {len(points)} étaient écrits ; personne ne les voit, et la "
                        "prochaine synchronisation les reprend)",
                        code=error.code,
                    ) from error
                staged += len(batch)
            for ids in batches(sorted(set(removals))):
                records = self._patiently(self._client.retrieve, COLLECTION, ids, with_payload=["corpus", "removed"])
                marks = {str(record.id): record.payload or {} for record in records}
                self._mark(
                    {
                        point: (*payload["removed"], snapshot)
                        for point, payload in marks.items()
                        if payload["corpus"] == corpus and snapshot not in payload["removed"]
                    }
                )

    def restore(self, corpus: str, points: Sequence[Marked]) -> None:
        must_be_of(corpus, [marked.point for marked in points])
        with self._writing:
            for batch in _bounded(_point(marked.point, marked.added, marked.removed) for marked in points):
                self._write(self._client.upsert, COLLECTION, batch, wait=True)

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        where = Where(every=(AnyOf("corpus", (corpus,)), AnyOf("document", (document,))))
        audience: Payload = {"groups": sorted(groups), "clearance": clearance}
        with self._writing:
            self._write(
                self._client.set_payload, COLLECTION, audience, points=spell(where), wait=True, ordering=_IN_ORDER
            )

    def discard(self, corpus: str, snapshot: int) -> None:
        of_corpus = AnyOf("corpus", (corpus,))
        with self._writing:
            marked = Where(every=(of_corpus, Within("removed", snapshot, snapshot)))
            for batch in batches(list(self._scroll(marked, ["removed"]))):
                self._mark(
                    {point: tuple(n for n in payload["removed"] if n != snapshot) for point, payload, _ in batch}
                )
            staged = Where(every=(of_corpus, Within("added", snapshot, snapshot)))
            doomed = models.FilterSelector(filter=spell(staged))
            self._write(self._client.delete, COLLECTION, doomed, wait=True, ordering=_IN_ORDER)

    def sweep(self, corpus: str, kept: Collection[Sequence[int]]) -> int:
        lineages = [frozenset(lineage) for lineage in kept]
        with self._writing:
            doomed = [
                point
                for point, payload, _ in self._scroll(Where(every=(AnyOf("corpus", (corpus,)),)), ["added", "removed"])
                if not any(visible(payload["added"], payload["removed"], seen) for seen in lineages)
            ]
            for ids in batches(doomed):
                self._write(self._client.delete, COLLECTION, models.PointIdsList(points=list(ids)), wait=True)
        return len(doomed)

    def close(self) -> None:
        self._client.close()

    # --- the server ------------------------------------------------------------------------------------

    def _mark(self, removed: Mapping[str, tuple[int, ...]]) -> None:
        """Set the list ``removed`` of points, one request for all that get the same list."""
        together: dict[tuple[int, ...], list[str]] = {}
        for point, snapshots in removed.items():
            together.setdefault(snapshots, []).append(point)
        for snapshots, points in sorted(together.items()):
            marks = {"removed": list(snapshots)}
            self._write(self._client.set_payload, COLLECTION, marks, points=[*points], wait=True, ordering=_IN_ORDER)

    def _write(self, call: Callable[_Params, Any], *args: _Params.args, **kwargs: _Params.kwargs) -> None:
        _again(self._patience, self._before, call, *args, **kwargs)

    def _patiently(self, call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        return _again(self._patience, _nothing, call, *args, **kwargs)

    def _asked(self, call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        return _again(self._asking, _nothing, call, *args, **kwargs)

    def _read(self, where: Where | None, patience: Patience | None = None) -> list[Stored]:
        if where is None:
            return []
        found = self._scroll(where, True, patience=patience)
        return in_reading_order(stored_of(point, payload) for point, payload, _ in found)

    def _scroll(
        self,
        where: Where,
        payload: list[str] | bool,
        vectors: list[str] | bool = False,
        patience: Patience | None = None,
    ) -> Iterator[tuple[str, Payload, Any]]:
        """Id, payload and vectors of all points that match ``where``."""
        condition, following = spell(where), None
        while True:
            page, following = _again(
                patience or self._patience,
                _nothing,
                self._client.scroll,
                COLLECTION,
                scroll_filter=condition,
                limit=PAGE,
                offset=following,
                with_payload=payload,
                with_vectors=vectors,
            )
            for record in page:
                yield str(record.id), record.payload or {}, record.vector
            if following is None:
                return


def _create(
    client: QdrantClient, fingerprint: str, dimension: int, shards: int, replicas: int, write_consistency: int
) -> None:
    """Make the collection; when another process was faster, its own stands and is checked by the caller."""
    try:
        client.create_collection(
            COLLECTION,
            vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            shard_number=shards,
            replication_factor=replicas,
            write_consistency_factor=write_consistency,
            metadata={"fingerprint": fingerprint, "dimension": dimension, "identity": uuid.uuid4().hex},
        )
    except UnexpectedResponse as error:
        if error.status_code != 409:
            raise _translated(error) from error
    except (ResponseHandlingException, QdrantException) as error:
        raise _translated(error) from error


def _index(client: QdrantClient, known: Collection[str]) -> None:
    """Index what filters read; also what a creation that was interrupted left out."""
    schemas: dict[str, models.KeywordIndexParams | models.IntegerIndexParams] = {
        key: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=key == "corpus")
        for key in KEYWORDS
    }
    for key in INTEGERS:
        schemas[key] = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True)
    for key, schema in schemas.items():
        if key not in known:
            _server(client.create_payload_index, COLLECTION, key, schema)


# --- how things are spelled here -----------------------------------------------------------------------


def spell(condition: Where) -> models.Filter:
    """``condition`` in the client's models."""
    return models.Filter(must=_all(condition.every), should=_all(condition.some), must_not=_all(condition.none))


def _all(conditions: Iterable[Condition]) -> list[models.Condition] | None:
    return [_spelled(condition) for condition in conditions] or None


def _spelled(condition: Condition) -> models.Condition:
    match condition:
        case AnyOf(key, (word,)):
            return models.FieldCondition(key=key, match=models.MatchValue(value=word))
        case AnyOf(key, words):
            return models.FieldCondition(key=key, match=models.MatchAny(any=list(words)))
        case Within(key, low, high):
            return models.FieldCondition(key=key, range=models.Range(gte=low, lte=high))
        case Where():
            return spell(condition)


def _request(name: str, query: Query, seen: models.Filter, limit: int, exact: bool) -> models.QueryRequest:
    if name == "dense":
        assert query.dense is not None
        return models.QueryRequest(
            query=query.dense.tolist(),
            using=DENSE,
            filter=seen,
            limit=limit,
            with_payload=True,
            params=models.SearchParams(exact=exact),
        )
    if name == "sparse":
        assert query.sparse is not None
        return models.QueryRequest(
            query=models.SparseVector(indices=list(query.sparse.indices), values=list(query.sparse.values)),
            using=SPARSE,
            filter=seen,
            limit=limit,
            with_payload=True,
            params=models.SearchParams(idf=models.IdfCorpusParams(corpus=seen)),
        )
    refers = _spelled(AnyOf("own_references", tuple(sorted(set(query.references)))))
    return models.QueryRequest(filter=models.Filter(must=[seen, refers]), limit=limit, with_payload=True)


def _pairs(name: str, points: Iterable[models.ScoredPoint]) -> list[tuple[float, str]]:
    if name == "exact":
        return [(1.0, str(point.id)) for point in points]
    return [(point.score, str(point.id)) for point in points if name == "dense" or point.score > 0]


def _point(point: Point, snapshot: int, removed: Sequence[int] = ()) -> models.PointStruct:
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()}
    if point.sparse.indices:
        vectors[SPARSE] = models.SparseVector(indices=list(point.sparse.indices), values=list(point.sparse.values))
    return models.PointStruct(
        id=point_id(point.chunk.id, snapshot), vector=vectors, payload=payload_of(point.chunk, snapshot, removed)
    )


def _bounded(points: Iterable[models.PointStruct]) -> Iterator[list[models.PointStruct]]:
    """``points`` in their order, as many at a time as one request should carry."""
    batch: list[models.PointStruct] = []
    size = 0
    for point in points:
        bytes_of = _size(point)
        if batch and (len(batch) == BATCH or size + bytes_of > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += bytes_of
    if batch:
        yield batch


def _size(point: models.PointStruct) -> int:
    """Bytes of a point in JSON, at most."""
    assert isinstance(point.vector, dict)
    numbers = 0
    for vector in point.vector.values():
        if isinstance(vector, models.SparseVector):
            numbers += 2 * len(vector.indices)
        elif isinstance(vector, list):
            numbers += len(vector)
    return _NUMBER * numbers + len(json.dumps(point.payload)) + 200


# --- errors and trying again ---------------------------------------------------------------------------

_IN_ORDER: Final = models.WriteOrdering.STRONG
"""Marks, audiences and what is discarded go through one replica, so that all replicas apply them in one order."""


def _nothing() -> None:
    """Has no objection."""


def _server(call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    """``call`` to the server, its errors made ours."""
    return _again(ONCE, _nothing, call, *args, **kwargs)


def _again(
    patience: Patience,
    before: Callable[[], None],
    call: Callable[_Params, _Result],
    *args: _Params.args,
    **kwargs: _Params.kwargs,
) -> _Result:
    """``call`` to the server, again while the server is only busy or away; in the end its error made ours."""
    start = time.monotonic()
    for failed in range(1, patience.attempts + 1):
        before()
        try:
            return call(*args, **kwargs)
        except (ApiException, QdrantException) as error:
            passing, advice = _passing(error)
            pause = patience.pause(failed, advice)
            late = time.monotonic() - start + pause > patience.within
            if not passing or late or failed == patience.attempts:
                raise _translated(error, failed) from error
        time.sleep(pause)
    raise AssertionError("there is at least one attempt")


def _passing(error: ApiException | QdrantException) -> tuple[bool, float | None]:
    """Whether the same request may succeed later, and after how many seconds the server says."""
    if "no space left" in str(error).casefold():
        return False, None
    if isinstance(error, ResourceExhaustedResponse):
        return True, float(error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        advice = error.headers.get("retry-after", "") if error.headers else ""
        return error.status_code in _PASSING, float(advice) if advice.isdigit() else None
    if isinstance(error, ResponseHandlingException):  # no answer, or half of one, unless it is one of another server
        return not isinstance(error.source, ValidationError), None
    return False, None


def _translated(error: ApiException | QdrantException, attempts: int = 1) -> StoreError | DiskFull:
    said = str(error)
    if "no space left" in said.casefold():
        return DiskFull(
            "no space is left on the Qdrant server; what is published stays readable",
            "plus de place sur le serveur Qdrant ; ce qui est publié reste lisible",
        )
    if attempts > 1:
        said += f" ({attempts}x)"
    return StoreError(f"the Qdrant server failed: {said}", f"le serveur Qdrant a échoué : {said}")
