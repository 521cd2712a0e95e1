"""Vectors in Qdrant Edge, the engine inside this process: the default store.

The engine holds Python's global lock during every call, so calls never overlap and a long one stops all threads:
work is handed over in batches, and segments are rebuilt while they are small. Its errors are plain
``Exception``; they are translated in one place. Searches are exact at any size: the graph of HNSW would save
little, since BM25's statistics over a scope visit every visible point anyway.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import qdrant_edge as edge

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
from rag.errors import DiskFull, StoreBusy, StoreError
from rag.home import Home, Ownership, translated, write_atomically
from rag.types import Candidates, Chunk, Marked, Point, Query, Scope, Stored, Vector

FORMAT = 1
"""Of the folder; a store with a higher number was written by a newer program."""

SEGMENT = 8192
"""Points that may lie in the slow, growing segment before it is rebuilt into a fast one (about a second)."""

SEGMENTS = 16
"""Segments that may stand side by side before the engine merges some, which is the longest pause it makes."""

KNOWN = 20_000
"""Chunks kept in memory, some 50 MB: reading a list of a hundred from the engine takes as long as finding it."""

PAGE = 2048
"""Points per page when many are read."""

STAGING_RESERVE = 64 * 2**20
"""Bytes that staging leaves free. The engine maps its files, and a mapped write on a full disk kills the process."""

UNDOING_RESERVE = 16 * 2**20
"""Bytes that discarding, sweeping and restricting leave free: less, for they are how space is won back."""

OPENING_RESERVE = 8 * 2**20
"""Bytes that must be free to open a store: what its log still has to tell is written then, into mapped files too."""

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class EdgeStore:
    """The :class:`~rag.seams.VectorStore` of one machine. Made by :meth:`open`; safe from many threads."""

    def __init__(self, shard: edge.EdgeShard, folder: Path, ownership: Ownership | None) -> None:
        self._shard = shard
        self._folder = folder
        self._ownership = ownership
        self._writing = threading.RLock()
        self._known: dict[str, Chunk] = {}

    @classmethod
    def open(cls, folder: Path, fingerprint: str, dimension: int, *, owned: bool = False) -> EdgeStore:
        """Open the store in ``folder``, creating it when there is none; ``store.lock`` lies beside the folder.

        ``owned`` says that the caller holds that lock already, and goes on holding it.

        Raises:
            StoreBusy: another process (``pid``) or this one has it open; the engine was not touched.
            FingerprintMismatch: it was filled by another embedder.
            DiskFull: there is no room to create or to open it.
            StoreError: it cannot be read, or a newer program wrote it.
        """
        with ExitStack() as undo:
            with translated(folder):
                folder.mkdir(parents=True, exist_ok=True)
            ownership = None if owned else undo.enter_context(Home(folder.parent.absolute()).own())
            with translated(folder):
                _claim(folder, fingerprint, dimension)
                shard = _load(folder, dimension)
            undo.pop_all()
        return cls(shard, folder, ownership)

    # --- searching -------------------------------------------------------------------------------------

    def search(self, query: Query, scope: Scope, limit: int) -> Candidates:
        where = in_scope(scope)
        lists = lists_of(query)
        if where is None or limit < 1 or not lists:
            return Candidates()
        seen = spell(where)

        def ask(wanted: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            requests = [_request(name, query, seen, count) for name, count in wanted.items()]
            answers = _engine(self._shard.query_batch, edge.QueryBatchRequest(requests))
            return {name: _pairs(name, points) for name, points in zip(wanted, answers, strict=True)}

        # Points without payloads first, then each chunk once: the lists overlap, and reading is the dear part.
        found = gathered(ask, lists, limit)
        chunks = self._chunks({point for pairs in found.values() for _, point in pairs})
        return Candidates(
            **{
                name: ranked(((score, chunks[point]) for score, point in pairs if point in chunks), limit)
                for name, pairs in found.items()
            }
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
            for number, batch in enumerate(batches(points), start=1):
                self._leave_room(STAGING_RESERVE + sum(_weight(point) for point in batch))
                self._update(edge.UpdateOperation.upsert_points([_point(point, snapshot) for point in batch]))
                if number * BATCH % SEGMENT == 0:
                    self._settle()
            self._leave_room(STAGING_RESERVE)
            for ids in batches(sorted(set(removals))):
                marks = {
                    point: tuple(payload["removed"])
                    for point, payload in self._payloads(ids).items()
                    if payload["corpus"] == corpus
                }
                self._mark({point: (*removed, snapshot) for point, removed in marks.items() if snapshot not in removed})
            self._settle()

    def restore(self, corpus: str, points: Sequence[Marked]) -> None:
        must_be_of(corpus, [marked.point for marked in points])
        with self._writing:
            for number, batch in enumerate(batches(points), start=1):
                self._leave_room(STAGING_RESERVE + sum(_weight(marked.point) for marked in batch))
                kept = [_point(marked.point, marked.added, marked.removed) for marked in batch]
                self._update(edge.UpdateOperation.upsert_points([*kept]))
                if number * BATCH % SEGMENT == 0:
                    self._settle()
            self._settle()

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        where = Where(every=(AnyOf("corpus", (corpus,)), AnyOf("document", (document,))))
        audience: Payload = {"groups": sorted(groups), "clearance": clearance}
        with self._writing:
            self._leave_room(UNDOING_RESERVE)
            self._update(edge.UpdateOperation.set_payload_by_filter(spell(where), audience))
            self._flush()

    def discard(self, corpus: str, snapshot: int) -> None:
        of_corpus = AnyOf("corpus", (corpus,))
        with self._writing:
            self._leave_room(UNDOING_RESERVE)
            marked = Where(every=(of_corpus, Within("removed", snapshot, snapshot)))
            for batch in batches(list(self._scroll(marked, ["removed"]))):
                self._mark(
                    {point: tuple(n for n in payload["removed"] if n != snapshot) for point, payload, _ in batch}
                )
            staged = Where(every=(of_corpus, Within("added", snapshot, snapshot)))
            self._update(edge.UpdateOperation.delete_points_by_filter(spell(staged)))
            self._settle()

    def sweep(self, corpus: str, kept: Collection[Sequence[int]]) -> int:
        lineages = [frozenset(lineage) for lineage in kept]
        with self._writing:
            self._leave_room(UNDOING_RESERVE)
            doomed = [
                point
                for point, payload, _ in self._scroll(Where(every=(AnyOf("corpus", (corpus,)),)), ["added", "removed"])
                if not any(visible(payload["added"], payload["removed"], seen) for seen in lineages)
            ]
            for ids in batches(doomed):
                self._update(edge.UpdateOperation.delete_points([*ids]))
            self._settle()
        return len(doomed)

    def close(self) -> None:
        with self._writing:
            try:
                _engine(self._shard.flush)
                _engine(self._shard.close)
            finally:
                if self._ownership is not None:
                    self._ownership.release()

    # --- the engine ------------------------------------------------------------------------------------

    def _update(self, operation: edge.UpdateOperation) -> None:
        _engine(self._shard.update, operation)
        # A search that is reading now goes on filling the old dictionary, which nobody asks any more.
        self._known = {}

    def _mark(self, removed: Mapping[str, tuple[int, ...]]) -> None:
        """Set the list ``removed`` of points, one request for all that get the same list."""
        together: dict[tuple[int, ...], list[str]] = {}
        for point, snapshots in removed.items():
            together.setdefault(snapshots, []).append(point)
        for snapshots, points in sorted(together.items()):
            self._update(edge.UpdateOperation.set_payload([*points], {"removed": list(snapshots)}))

    def _flush(self) -> None:
        _engine(self._shard.flush)

    def _settle(self) -> None:
        """Everything written so far is on disk; then, where there is room, full segments are made fast."""
        self._flush()
        if free_bytes(self._folder) > UNDOING_RESERVE + 2 * _size(self._folder):
            _engine(self._shard.optimize)

    def _leave_room(self, needed: int) -> None:
        if free_bytes(self._folder) < needed:
            raise _disk_full(self._folder)

    def _payloads(self, points: Collection[str]) -> dict[str, Payload]:
        """The payloads of those ``points`` that exist."""
        records = _engine(self._shard.retrieve, sorted(points), True, False) if points else []
        return {str(record.id): record.payload or {} for record in records}

    def _chunks(self, points: Collection[str]) -> dict[str, Chunk]:
        """The chunks of those ``points`` that exist, from memory where nothing was written since they were read."""
        known = self._known
        if len(known) > KNOWN:
            known = self._known = {}
        read = self._payloads([point for point in points if point not in known])
        known.update({point: chunk_of(payload) for point, payload in read.items()})
        return {point: known[point] for point in points if point in known}

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
            request = edge.ScrollRequest(
                offset=following, limit=PAGE, filter=condition, with_payload=payload, with_vector=vectors
            )
            page, following = _engine(self._shard.scroll, request)
            for record in page:
                yield str(record.id), record.payload or {}, record.vector
            if following is None:
                return


def filled_by(folder: Path) -> tuple[str, int] | None:
    """Fingerprint and dimension of the embedder whose vectors ``folder`` holds; ``None`` where there is no store.

    Raises:
        StoreError: its marker is damaged, or a newer program wrote it.
    """
    marker = folder / "store.json"
    return _said(marker) if marker.exists() else None


# --- opening -------------------------------------------------------------------------------------------


def _claim(folder: Path, fingerprint: str, dimension: int) -> None:
    """Check in ``store.json`` whose vectors the folder holds, or write down that they are ours."""
    marker = folder / "store.json"
    if not marker.exists():
        if (folder / "shard").exists():
            raise StoreError(f"the store in {folder} has lost its store.json", f"{folder} : store.json a disparu")
        claim = {"format": FORMAT, "fingerprint": fingerprint, "dimension": dimension}
        write_atomically(marker, json.dumps(claim, indent=1).encode())
        return
    other, size = _said(marker)
    if (other, size) != (fingerprint, dimension):
        raise mismatch(other, size, fingerprint, dimension, rebuilt=True)


def _said(marker: Path) -> tuple[str, int]:
    try:
        said = json.loads(marker.read_text(encoding="utf-8"))
        written, fingerprint, size = int(said["format"]), str(said["fingerprint"]), int(said["dimension"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{marker} cannot be read: {error}", f"{marker} est illisible : {error}") from error
    if written > FORMAT:
        raise StoreError(
            f"the store in {marker.parent} was written by a newer program (format {written}, this one knows {FORMAT})",
            f"l'index {marker.parent} a été écrit par une version plus récente (format {written}, connu : {FORMAT})",
        )
    return fingerprint, size


def _load(folder: Path, dimension: int) -> edge.EdgeShard:
    """The engine on ``folder/shard``; a new one is made beside it and moved there whole, so none is half made."""
    shard, unfinished = folder / "shard", folder / "shard.new"
    if not shard.exists():
        if free_bytes(folder) < STAGING_RESERVE:
            raise _disk_full(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        new = _engine(edge.EdgeShard.create, str(unfinished), _config(dimension))
        for key in KEYWORDS:
            _engine(new.update, edge.UpdateOperation.create_field_index(key, edge.KeywordIndexParams()))
        for key in INTEGERS:
            schema = edge.IntegerIndexParams(lookup=True, range=True)
            _engine(new.update, edge.UpdateOperation.create_field_index(key, schema))
        _engine(new.flush)
        _engine(new.close)
        unfinished.rename(shard)
    if free_bytes(folder) < OPENING_RESERVE:
        megabytes = OPENING_RESERVE >> 20
        raise DiskFull(
            f"no space is left to open the vector store ({folder}); nothing published is lost: free {megabytes} MB and "
            "run the command again",
            f"plus de place pour ouvrir l'index vectoriel ({folder}) ; rien de ce qui est publié n'est perdu : libérez "
            f"{megabytes} Mo et relancez la commande",
        )
    return _engine(edge.EdgeShard.load, str(shard))


def _config(dimension: int) -> edge.EdgeConfig:
    segment_kilobytes = SEGMENT * dimension * 4 // 1024
    return edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=segment_kilobytes),
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=segment_kilobytes, default_segment_number=SEGMENTS, deleted_threshold=0.1
        ),
    )


# --- how things are spelled here -----------------------------------------------------------------------


def spell(condition: Where) -> edge.Filter:
    """``condition`` in the engine's models."""
    return edge.Filter(must=_all(condition.every), should=_all(condition.some), must_not=_all(condition.none))


def _all(conditions: Iterable[Condition]) -> list[Any] | None:
    return [_spelled(condition) for condition in conditions] or None


def _spelled(condition: Condition) -> edge.FieldCondition | edge.Filter:
    match condition:
        case AnyOf(key, (word,)):
            return edge.FieldCondition(key, match=edge.MatchValue(word))
        case AnyOf(key, words):
            return edge.FieldCondition(key, match=edge.MatchAny(list(words)))
        case Within(key, low, high):
            return edge.FieldCondition(key, range=edge.RangeFloat(gte=low, lte=high))
        case Where():
            return spell(condition)


def _request(name: str, query: Query, seen: edge.Filter, limit: int) -> edge.QueryRequest:
    if name == "dense":
        assert query.dense is not None
        nearest = edge.Query.Nearest(query.dense.tolist(), using=DENSE)
        return edge.QueryRequest(limit, query=nearest, filter=seen, params=edge.SearchParams(exact=True))
    if name == "sparse":
        assert query.sparse is not None
        terms = edge.SparseVector(list(query.sparse.indices), list(query.sparse.values))
        params = edge.SearchParams(exact=True, idf=edge.IdfParams(corpus=seen))
        return edge.QueryRequest(limit, query=edge.Query.Nearest(terms, using=SPARSE), filter=seen, params=params)
    refers = _spelled(AnyOf("own_references", tuple(sorted(set(query.references)))))
    return edge.QueryRequest(limit, filter=edge.Filter(must=[seen, refers]))


def _pairs(name: str, points: Iterable[Any]) -> list[tuple[float, str]]:
    if name == "exact":
        return [(1.0, str(point.id)) for point in points]
    return [(point.score, str(point.id)) for point in points if name == "dense" or point.score > 0]


def _point(point: Point, snapshot: int, removed: Sequence[int] = ()) -> edge.Point:
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()}
    if point.sparse.indices:
        vectors[SPARSE] = edge.SparseVector(list(point.sparse.indices), list(point.sparse.values))
    return edge.Point(point_id(point.chunk.id, snapshot), vectors, payload_of(point.chunk, snapshot, removed))


# --- room and errors -----------------------------------------------------------------------------------


def free_bytes(folder: Path) -> int:
    """What this user may still write on the disk of ``folder``."""
    return shutil.disk_usage(folder).free


def _size(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _weight(point: Point) -> int:
    """Bytes that storing ``point`` takes at most: in the log, in its segment and in the indexes."""
    text = len(point.chunk.search_text.encode())
    return 3 * (4 * len(point.dense) + 8 * len(point.sparse.indices) + text + 1024)


def _engine(call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    """``call`` into the engine, its errors made ours."""
    try:
        return call(*args, **kwargs)
    except Exception as error:  # the engine raises nothing more particular
        said = str(error)
        if "WouldBlock" in said:
            raise StoreBusy(
                "the store is in use by another process", "l'index est utilisé par un autre processus"
            ) from error
        if "No space left" in said or "os error 28" in said:
            raise _disk_full(None) from error
        raise StoreError(f"the vector store failed: {said}", f"l'index vectoriel a échoué : {said}") from error


def _disk_full(folder: Path | None) -> DiskFull:
    where = f" ({folder})" if folder else ""
    return DiskFull(
        f"no space is left for the vector store{where}; what is published stays readable",
        f"plus de place pour l'index vectoriel{where} ; ce qui est publié reste lisible",
    )
