"""Vectors in a Qdrant server or cluster, where one machine is outgrown.

The same points and conditions as in :mod:`rag.adapters.qdrant_edge`, through ``qdrant-client``, whose in-memory mode
makes the same calls and stands in for a server in tests. All corpora share one collection; its metadata say
which embedder filled it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from rag.adapters.qdrant_payload import (
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

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class ServerStore:
    """The :class:`~rag.seams.VectorStore` of many machines. Made by :meth:`open`; safe from many threads.

    Several processes may read and several may write, each corpus by one of them at a time.
    """

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._writing = threading.RLock()

    @classmethod
    def open(
        cls, url: str, api_key: str, fingerprint: str, dimension: int, client: QdrantClient | None = None
    ) -> ServerStore:
        """Connect to the server at ``url``, creating the collection when there is none.

        ``client`` replaces the connection; it is closed with the store.

        Raises:
            FingerprintMismatch: the collection was filled by another embedder.
            StoreError: the server does not answer, or refuses the key.
        """
        with ExitStack() as undo:
            if client is None:
                client = QdrantClient(url=url, api_key=api_key or None, timeout=TIMEOUT, check_compatibility=False)
                undo.callback(client.close)
            if not _server(client.collection_exists, COLLECTION):
                _create(client, fingerprint, dimension)
            collection = _server(client.get_collection, COLLECTION)
            said = collection.config.metadata or {}
            filled_by, size = str(said.get("fingerprint")), int(said.get("dimension", 0))
            if (filled_by, size) != (fingerprint, dimension):
                raise mismatch(filled_by, size, fingerprint, dimension)
            _index(client, known=collection.payload_schema)
            undo.pop_all()
        return cls(client)

    # --- searching -------------------------------------------------------------------------------------

    def search(self, query: Query, scope: Scope, limit: int) -> Candidates:
        where = in_scope(scope)
        lists = lists_of(query)
        if where is None or limit < 1 or not lists:
            return Candidates()
        seen = spell(where)
        visible_points = _server(self._client.count, COLLECTION, count_filter=seen, exact=True).count
        if not visible_points:
            return Candidates()
        exact = visible_points < EXACT_BELOW
        payloads: dict[str, Payload] = {}

        def ask(wanted: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            requests = [_request(name, query, seen, count, exact) for name, count in wanted.items()]
            answers = _server(self._client.query_batch_points, COLLECTION, requests=requests)
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
        return self._read(where)

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
        with self._writing:
            for batch in batches(points):
                _server(self._client.upsert, COLLECTION, [_point(point, snapshot) for point in batch], wait=True)
            for ids in batches(sorted(set(removals))):
                records = _server(self._client.retrieve, COLLECTION, ids, with_payload=["corpus", "removed"])
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
            for batch in batches(points):
                kept = [_point(marked.point, marked.added, marked.removed) for marked in batch]
                _server(self._client.upsert, COLLECTION, kept, wait=True)

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        where = Where(every=(AnyOf("corpus", (corpus,)), AnyOf("document", (document,))))
        audience: Payload = {"groups": sorted(groups), "clearance": clearance}
        with self._writing:
            _server(self._client.set_payload, COLLECTION, audience, points=spell(where), wait=True)

    def discard(self, corpus: str, snapshot: int) -> None:
        of_corpus = AnyOf("corpus", (corpus,))
        with self._writing:
            marked = Where(every=(of_corpus, Within("removed", snapshot, snapshot)))
            for batch in batches(list(self._scroll(marked, ["removed"]))):
                self._mark(
                    {point: tuple(n for n in payload["removed"] if n != snapshot) for point, payload, _ in batch}
                )
            staged = Where(every=(of_corpus, Within("added", snapshot, snapshot)))
            _server(self._client.delete, COLLECTION, models.FilterSelector(filter=spell(staged)), wait=True)

    def sweep(self, corpus: str, kept: Collection[Sequence[int]]) -> int:
        lineages = [frozenset(lineage) for lineage in kept]
        with self._writing:
            doomed = [
                point
                for point, payload, _ in self._scroll(Where(every=(AnyOf("corpus", (corpus,)),)), ["added", "removed"])
                if not any(visible(payload["added"], payload["removed"], seen) for seen in lineages)
            ]
            for ids in batches(doomed):
                _server(self._client.delete, COLLECTION, models.PointIdsList(points=list(ids)), wait=True)
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
            _server(self._client.set_payload, COLLECTION, {"removed": list(snapshots)}, points=[*points], wait=True)

    def _read(self, where: Where | None) -> list[Stored]:
        if where is None:
            return []
        return in_reading_order(stored_of(point, payload) for point, payload, _ in self._scroll(where, True))

    def _scroll(
        self, where: Where, payload: list[str] | bool, vectors: list[str] | bool = False
    ) -> Iterator[tuple[str, Payload, Any]]:
        """Id, payload and vectors of all points that match ``where``."""
        condition, following = spell(where), None
        while True:
            page, following = _server(
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


def _create(client: QdrantClient, fingerprint: str, dimension: int) -> None:
    """Make the collection; when another process was faster, its own stands and is checked by the caller."""
    try:
        client.create_collection(
            COLLECTION,
            vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata={"fingerprint": fingerprint, "dimension": dimension},
        )
    except UnexpectedResponse as error:
        if error.status_code != 409:
            raise _translated(error) from error
    except ResponseHandlingException as error:
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


# --- errors --------------------------------------------------------------------------------------------


def _server(call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    """``call`` to the server, its errors made ours."""
    try:
        return call(*args, **kwargs)
    except ApiException as error:
        raise _translated(error) from error


def _translated(error: ApiException) -> StoreError | DiskFull:
    said = str(error)
    if "no space left" in said.casefold():
        return DiskFull(
            "no space is left on the Qdrant server; what is published stays readable",
            "plus de place sur le serveur Qdrant ; ce qui est publié reste lisible",
        )
    return StoreError(f"the Qdrant server failed: {said}", f"le serveur Qdrant a échoué : {said}")
