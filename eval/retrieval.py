"""How well the search finds the right documents, over a folder in the BEIR layout.

``corpus.jsonl`` (one document per line), ``queries.jsonl`` (both may be ``.gz``) and ``qrels.tsv`` go through the
real split, embed, store and search, in a store of their own that is thrown away. What splits a line and what opens a
store are handed in, so that this module knows neither ingestion nor an engine.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from eval import report, runs
from eval.bm25 import PlainBM25
from eval.metrics import MEASURES, Judgements, best_first, by_query, measure
from eval.vectors import CachedEmbedder
from rag import glossary, language, lexical
from rag.errors import BadRequest
from rag.retrieval import Retriever
from rag.seams import Embedder, Reranker, VectorStore
from rag.types import Chunk, Point, Query, Scope

CORPUS: Final = "eval"
"""The name of the corpus that a data set becomes; a splitter gives its chunks this corpus."""
CHUNKS: Final = 400
"""Chunks taken from a ranking: enough for a hundred documents of four chunks each."""
BATCH: Final = 1024
"""Points staged at a time."""


class Line(BaseModel):
    """One document of ``corpus.jsonl``; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias=AliasChoices("id", "_id"))
    text: str
    title: str = ""
    language: str = Field("fr", validation_alias=AliasChoices("lang", "language"))
    section: str | None = None
    article: str | None = None

    @property
    def place(self) -> str:
        """The section path, unless the title says it already."""
        return "" if self.section is None or self.section in self.title else self.section


class Asked(BaseModel):
    """One query of ``queries.jsonl``; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias=AliasChoices("id", "_id"))
    text: str
    kind: str = ""


_Record = TypeVar("_Record", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder in the BEIR layout, read. ``queries`` are the judged ones; ``sha256`` is of all three files."""

    name: str
    lines: tuple[Line, ...]
    queries: tuple[Asked, ...]
    judgements: Judgements
    sha256: str


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run: the measures of each ranker, how long it took, and what is needed to repeat it."""

    dataset: str
    documents: int
    chunks: int
    queries: int
    rankers: Mapping[str, Mapping[str, float]]
    seconds: float
    timings: Mapping[str, float] = field(default_factory=dict)
    run: Mapping[str, object] = field(default_factory=dict)
    rows: tuple[runs.Row, ...] = ()

    def as_run(self) -> runs.Run:
        """The run as it is kept, drawn and compared; a query that ours ranks worse than BM25 is a failure."""
        return runs.Run(
            kind=runs.Kind.RETRIEVAL,
            name=self.dataset,
            definitions={
                f"{ranker} {name}": f"mean over the judged queries: {name} of the ranker {ranker}"
                for ranker in self.rankers
                for name in MEASURES
            },
            rows=list(self.rows),
            facts={**self.run, "documents": self.documents, "chunks": self.chunks},
            seconds=self.seconds,
        )

    def as_json(self) -> dict[str, object]:
        """The report of ``vauban eval retrieval --json``."""
        return {
            "dataset": self.dataset,
            "documents": self.documents,
            "chunks": self.chunks,
            "queries": self.queries,
            "rankers": {
                name: {measure: round(value, 4) for measure, value in scores.items()}
                for name, scores in self.rankers.items()
            },
            "seconds": round(self.seconds, 2),
            "timings": {name: round(value, 3) for name, value in self.timings.items()},
            "run": dict(self.run),
        }

    def as_table(self) -> str:
        """The same for people."""
        rows = [[name, *(scores[measure] for measure in MEASURES)] for name, scores in self.rankers.items()]
        head = f"{self.dataset}: {self.documents} documents, {self.chunks} chunks, {self.queries} queries"
        return f"{head}\n{report.table(['ranker', *MEASURES], rows)}"


Split = Callable[[Line], Sequence[Chunk]]
OpenStore = Callable[[Path, str, int], VectorStore]
"""Opens an empty store in a folder, for a fingerprint and a dimension."""


def evaluate(
    dataset: Path,
    *,
    split: Split,
    embedder: Embedder,
    open_store: OpenStore,
    cache: Path | None = None,
    reranker: Reranker | None = None,
    dense_weight: float | None = None,
    settings: Mapping[str, object] | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Report:
    """Measure plain BM25, the embedder alone and the engine's own search on the judged queries of ``dataset``.

    ``cache`` keeps vectors between runs. ``settings`` goes into the report as it is. ``progress`` is told the
    stage (``split``, ``embed``, ``store``, ``search``), how much of it is done, and how much there is.

    Raises:
        BadRequest: the folder is not in the BEIR layout; the message names file and line.
    """
    clock = _Clock()
    data = read(dataset)
    progress("split", 0, len(data.lines))
    with clock.of("split"):
        chunks = [chunk for line in data.lines for chunk in split(line)]
    cached = CachedEmbedder(embedder, cache)
    progress("embed", 0, len(chunks))
    with clock.of("embed"):
        vectors = cached.embed_passages([chunk.search_text for chunk in chunks])
    with tempfile.TemporaryDirectory(prefix="vauban-eval-") as home:
        store = open_store(Path(home) / "index", cached.fingerprint, cached.dimension)
        try:
            with clock.of("store"):
                for start in range(0, len(chunks), BATCH):
                    progress("store", start, len(chunks))
                    part = zip(chunks[start : start + BATCH], vectors[start : start + BATCH], strict=True)
                    points = [Point(chunk, vector, lexical.chunk_vector(chunk)) for chunk, vector in part]
                    store.stage(CORPUS, 1, points, [])
            retriever = Retriever(
                cached,
                store,
                reranker=reranker,
                dense_weight=dense_weight,
                # A data set has no glossary of its own: what comes with the program is what every corpus has.
                glossary=lambda scope: glossary.general(),
            )
            rankings = _rank(data, chunks, cached, store, retriever, clock, progress)
        finally:
            store.close()
    models = {"embedder": cached.fingerprint} | ({"reranker": reranker.fingerprint} if reranker else {})
    return Report(
        dataset=data.name,
        documents=len(data.lines),
        chunks=len(chunks),
        queries=len(data.queries),
        rankers={name: measure(data.judgements, ranking) for name, ranking in rankings.items()},
        seconds=clock.total,
        timings=clock.timings,
        rows=_rows_of(data, rankings),
        run=report.facts(settings=settings or {}, models=models, corpus=data.sha256),
    )


def _rank(
    data: Dataset,
    chunks: Sequence[Chunk],
    embedder: Embedder,
    store: VectorStore,
    retriever: Retriever,
    clock: _Clock,
    progress: Callable[[str, int, int], None],
) -> dict[str, dict[str, list[str]]]:
    """Document ids by query id, best first, of each ranker."""
    scope = Scope(frozenset(), 0, {CORPUS: (1,)})
    spoken = data.lines[0].language if data.lines else language.detect("")
    with clock.of("index bm25"):
        plain = PlainBM25(chunks)
    rankings: dict[str, dict[str, list[str]]] = {"bm25": {}, "dense": {}, "default": {}}
    for done, query in enumerate(data.queries):
        progress("search", done, len(data.queries))
        with clock.of("bm25"):
            worded = plain.rank(query.text, spoken, CHUNKS)
        with clock.of("encode"):
            vector = embedder.embed_query(query.text)
        with clock.of("dense"):
            near = store.search(Query(vector, None), scope, CHUNKS).dense
        with clock.of("default"):
            hits = retriever.search(query.text, scope, CHUNKS)
        rankings["bm25"][query.id] = best_first([chunk.document for chunk in worded])
        rankings["dense"][query.id] = best_first([scored.chunk.document for scored in near])
        rankings["default"][query.id] = best_first([hit.chunk.document for hit in hits])
    return rankings


def _rows_of(data: Dataset, rankings: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[runs.Row, ...]:
    """Each query with its measures by ranker, and what ours ranked first beside what was wanted."""
    scores = {name: by_query(data.judgements, ranking) for name, ranking in rankings.items()}
    return tuple(
        runs.Row(
            id=query.id,
            values={f"{name} {one}": value for name, own in scores.items() for one, value in own[query.id].items()},
            groups={"kind": query.kind} if query.kind else {},
            failed=scores["default"][query.id]["ndcg@10"] < scores["bm25"][query.id]["ndcg@10"],
            detail={
                "query": query.text,
                "relevant": dict(data.judgements[query.id]),
                "default": list(rankings["default"][query.id][:10]),
                "bm25": list(rankings["bm25"][query.id][:10]),
            },
        )
        for query in data.queries
    )


class _Clock:
    """Seconds by stage, and in all."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.timings: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - started

    @property
    def total(self) -> float:
        return time.perf_counter() - self._started


# --- reading ---------------------------------------------------------------------------------------------


def read(folder: Path) -> Dataset:
    """The data set in ``folder``.

    Raises:
        BadRequest: a file is missing, or a line is not what it should be.
    """
    digest = hashlib.sha256()
    lines = tuple(_records(folder, "corpus", Line, digest.update))
    queries = tuple(_records(folder, "queries", Asked, digest.update))
    judgements = _judgements(folder / "qrels.tsv", digest.update)
    if len({line.id for line in lines}) != len(lines):
        raise BadRequest(
            f"{folder.name}: two lines of the corpus have one id",
            f"{folder.name} : deux lignes ont le même identifiant",
        )
    judged = tuple(query for query in queries if any(label > 0 for label in judgements.get(query.id, {}).values()))
    return Dataset(folder.name, lines, judged, {query.id: judgements[query.id] for query in judged}, digest.hexdigest())


def _records(folder: Path, name: str, kind: type[_Record], seen: Callable[[bytes], None]) -> Iterator[_Record]:
    plain, packed = folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else plain.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _missing(plain, error) from error
    seen(content)
    for number, row in enumerate(content.splitlines(), start=1):
        if row.strip():
            try:
                yield kind.model_validate_json(row)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"])
                raise _malformed(plain, number, f"{place} {first['msg']}".strip()) from error


def _judgements(file: Path, seen: Callable[[bytes], None]) -> dict[str, dict[str, int]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _missing(file, error) from error
    seen(content)
    found: dict[str, dict[str, int]] = {}
    for number, row in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        parts = row.split("\t")
        if not row.strip() or (number == 1 and not parts[-1].strip().lstrip("-").isdigit()):
            continue
        try:
            query, document, label = parts
            found.setdefault(query, {})[document] = int(label)
        except ValueError as error:
            raise _malformed(file, number, "query-id, corpus-id, score") from error
    return found


def _missing(file: Path, error: Exception) -> BadRequest:
    return BadRequest(
        f"cannot read {file} ({type(error).__name__}); the BEIR layout has corpus.jsonl, queries.jsonl and qrels.tsv",
        f"{file} illisible ({type(error).__name__}) ; il faut corpus.jsonl, queries.jsonl et qrels.tsv",
    )


def _malformed(file: Path, number: int, what: str) -> BadRequest:
    return BadRequest(f"{file}, line {number}: {what}", f"{file}, ligne {number} : {what}")
