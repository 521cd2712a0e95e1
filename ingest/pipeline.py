"""The story of a sync: discover, compare, parse, split, embed, stage, publish.

Nobody sees what is staged; publishing is one transaction of the catalog. A run that ends early, however it ends,
leaves readers where they were, and the next one takes over the vectors that it had made. While one window of chunks
is embedded, the files of the next are read and the one before is written.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from ingest import manifest
from ingest.ahead import ahead
from ingest.compare import Action, Plan, Step, compare, guard
from ingest.discover import Discovery, discover, rejection
from ingest.reading import Order, Reader, Reading, articles, content, digest
from rag import lexical
from rag.catalog import ArticleRow, Catalog, DocumentRow, Snapshot, published_meanwhile
from rag.errors import BadRequest, Cancelled, Conflict, DocumentError, OperatorError, RejectReason, VaubanError
from rag.home import Home, translated, write_atomically
from rag.seams import Embedder, VectorStore
from rag.types import Chunk, Corpus, Document, Point, Rejected, RunState, Stored, SyncOptions, Vector

WINDOW: Final = 2_000
"""Chunks that are embedded and staged together: enough for batches of like length, a few MB of text."""
FIRST_WINDOW: Final = 256
"""Chunks of the first window, so that the encoder need not wait long; each one after it is twice as large."""
SLICE: Final = 256
"""Chunks given to the embedder at once, sorted by length: a cancel or a progress bar waits no longer than that."""
WINDOWS_AHEAD: Final = 1
"""Windows that are read and split while another one is embedded."""

_READING_PROGRAM: Final = (
    "ingest/chunk.py",
    "ingest/outline.py",
    "ingest/reading.py",
    "ingest/sniff.py",
    "ingest/parsers",
    "rag/references.py",
    "rag/sentences.py",
)


class Stage(StrEnum):
    """The stages that a reader of the progress sees."""

    DISCOVER = "discover"
    PARSE = "parse"
    EMBED = "embed"
    STAGE = "stage"
    PUBLISH = "publish"


class Progress(Protocol):
    """Is told how far each stage has come; called from several threads, never with text of a document."""

    def __call__(self, stage: Stage, done: int, total: int) -> None: ...


_Result = tuple[Order, Reading | DocumentError]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a sync works with; the caller owns the store."""

    home: Home
    catalog: Catalog
    store: VectorStore
    embedder: Embedder
    reader: Reader


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, or with ``dry_run`` would do. ``snapshot`` is the published one afterwards, if there is one.

    ``chunks`` counts what is visible afterwards, ``embedded`` the vectors that had to be computed. A moved document
    counts as changed; one whose file was not taken in counts as rejected only.
    """

    snapshot: int | None
    added: int
    changed: int
    removed: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    chunks: int
    embedded: int
    seconds: float
    dry_run: bool = False
    plan: tuple[Step, ...] = ()

    @property
    def counts(self) -> dict[str, float]:
        """The numbers of the report, by the names of ``ingest sync --json``."""
        names = ("added", "changed", "removed", "unchanged", "chunks", "embedded", "seconds")
        return {name: getattr(self, name) for name in names}

    @property
    def exit_code(self) -> int:
        """0 when all was done, 3 when it is published without the rejected files, 1 when nothing is published."""
        if not self.rejected:
            return 0
        return 3 if self.snapshot is not None or self.dry_run else 1

    def as_json(self) -> dict[str, object]:
        """What ``ingest sync --json`` prints."""
        rejected = [{"path": row.path, "reason": str(row.reason), "detail": row.detail} for row in self.rejected]
        said: dict[str, object] = {
            "snapshot": self.snapshot,
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "rejected": rejected,
            "chunks": self.chunks,
            "embedded": self.embedded,
            "seconds": round(self.seconds, 3),
        }
        if self.dry_run:
            said["plan"] = [
                {"action": step.action.value, "document": step.id, "path": step.path}
                for step in self.plan
                if step.action is not Action.UNCHANGED
            ]
        return said


def unseen(stage: Stage, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def plan(
    folder: Path, name: str, catalog: Catalog | None, *, init: bool = False, progress: Progress = unseen
) -> SyncReport:
    """What a sync would do, by names, bytes and metadata alone; touches nothing and needs no store.

    Raises:
        BadRequest: see :func:`sync`.
    """
    start = time.perf_counter()
    corpus = _declared(folder, name, init=init)
    known = catalog is not None and name in {one.name for one in catalog.corpora()}
    lineage = catalog.published(name) if catalog is not None and known else ()
    published = catalog.documents(name, lineage) if catalog is not None and known else []
    discovery = _discovered(folder, name, progress)
    steps = compare(discovery, published, corpus, reading_program())
    return SyncReport(
        snapshot=lineage[0] if lineage else None,
        added=len(steps.of(Action.ADDED)),
        changed=len(steps.of(Action.CHANGED, Action.MOVED)),
        removed=len(steps.of(Action.REMOVED)),
        unchanged=len(steps.of(Action.UNCHANGED)),
        rejected=steps.rejected,
        chunks=sum(row.chunks for row in published),
        embedded=0,
        seconds=time.perf_counter() - start,
        dry_run=True,
        plan=steps.steps,
    )


def sync(
    folder: Path,
    name: str,
    parts: Parts,
    options: SyncOptions | None = None,
    *,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
    run: str | None = None,
) -> SyncReport:
    """Make the corpus ``name`` equal to ``folder``; ``run`` is the catalog's row of it, made here when there is none.

    Raises:
        BadRequest: there is no such folder, it is not declared (and not ``init``), or declared wrongly.
        Conflict: too much would be removed, the corpus is on hold, or a rollback came between.
        Cancelled: ``cancelled`` said so; nothing was published.
        DiskFull, StoreError, ModelError: nothing was published.
    """
    options = options or SyncOptions()
    if options.dry_run:
        if run is None:
            return plan(folder, name, parts.catalog, init=options.init, progress=progress)
        parts.catalog.start_run(run)
        with _recorded(parts.catalog, run):
            report = plan(folder, name, parts.catalog, init=options.init, progress=progress)
            _end(parts.catalog, run, report)
        return report
    catalog = parts.catalog
    run = run or catalog.add_run(manifest.checked_name(name))
    catalog.start_run(run)
    with _recorded(catalog, run):
        report = _Sync(folder, name, parts, options, progress, cancelled).run()
        _end(catalog, run, report)
    return report


def _end(catalog: Catalog, run: str, report: SyncReport) -> None:
    catalog.end_run(run, RunState.DONE, snapshot=report.snapshot, counts=report.counts, rejected=report.rejected)


@contextmanager
def _recorded(catalog: Catalog, run: str) -> Iterator[None]:
    """Note how a run ended that did not end well."""
    try:
        yield
    except VaubanError as error:
        state = RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED
        with suppress(OperatorError):  # on a full disk even this note may find no room
            catalog.end_run(run, state, error=error.code, detail=error.en)
        raise
    except KeyboardInterrupt:
        with suppress(OperatorError):
            catalog.end_run(run, RunState.CANCELLED, error=Cancelled.code)
        raise


# --- one sync -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """A chunk that is published now: its point, and a digest of all that is stored of it but its audience."""

    point: str
    content: str


@dataclass(frozen=True, slots=True)
class _Version:
    """A document that was read. ``same`` says that this gave what is published already."""

    step: Step
    row: DocumentRow
    same: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """The version that was read, its chunks to stage with the vectors that came along, and the points that go."""

    version: _Version
    new: tuple[Chunk, ...]
    gone: tuple[str, ...]
    vectors: Mapping[str, Vector]


@dataclass(frozen=True, slots=True)
class _Window:
    """Chunks that are embedded and staged together, with the vectors that came along, and points that go."""

    new: tuple[Chunk, ...]
    gone: tuple[str, ...]
    vectors: Mapping[str, Vector]


@dataclass(slots=True)
class _Outcome:
    """What the reading thread has found until now; read by others only after it has ended."""

    read: list[_Version] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Ids of documents that were ordered and not taken in."""
    embedded: int = 0
    """Vectors that whoever read the documents has computed."""


class _Sync:
    """One sync from its folder to its report."""

    def __init__(
        self,
        folder: Path,
        name: str,
        parts: Parts,
        options: SyncOptions,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._name = name
        self._parts = parts
        self._catalog = parts.catalog
        self._store = parts.store
        self._options = options
        self._progress = progress
        self._cancelled = cancelled
        self._parent: int | None = None
        self._lineage: tuple[int, ...] = ()
        self._draft: Snapshot | None = None
        self._published: dict[str, dict[str, _Known]] = {}
        self._embeddable: dict[str, dict[str, set[str]]] = {}
        self._titles: Mapping[str, frozenset[str]] = {}
        self._total = 0
        self._embedded = 0

    def run(self) -> SyncReport:
        start = time.perf_counter()
        # 1. What the folder says of itself; its audience acts from here on, whatever comes later.
        corpus = _declared(self._folder, self._name, init=self._options.init, write=True)
        self._catalog.declare(corpus)
        if self._options.automatic and self._catalog.held(self._name):
            raise _on_hold(self._name)
        # 2. Discover and compare.
        lineage = self._catalog.published(self._name)
        self._parent, self._lineage = (lineage[0] if lineage else None), lineage
        published = self._catalog.documents(self._name, lineage)
        discovery = _discovered(self._folder, self._name, self._progress)
        todo = compare(discovery, published, corpus, reading_program())
        self._restrict(todo)
        if not self._options.confirm_removals:
            guard(todo, published, discovery)
        # 3. Parse, split, embed and stage what is new; note what goes.
        abandoned = self._catalog.abandoned(self._name)
        outcome = _Outcome(rejected=list(todo.rejected), stale=set(todo.stale))
        if todo.of(Action.ADDED, Action.CHANGED, Action.REMOVED):
            self._recall(todo, lineage, abandoned)
            self._take_in(todo, corpus, outcome)
        # 4. Publish, in one transaction, when there is anything to publish.
        self._check()
        self._progress(Stage.PUBLISH, 0, 1)
        report = self._publish(todo, published, outcome)
        if self._draft is not None and report.snapshot != self._draft.number:
            abandoned = [*abandoned, self._draft.number]
        # 5. Nobody needs what runs that ended early have left, nor what is past its retention.
        self._tidy(abandoned, grown=self._draft is not None)
        self._progress(Stage.PUBLISH, 1, 1)
        return replace(report, seconds=time.perf_counter() - start)

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled(
                "the sync was cancelled; nothing was published", "synchronisation annulée ; rien n'est publié"
            )

    def _restrict(self, todo: Plan) -> None:
        """Set the audience of every document on all its versions where it is another than what is said now."""
        now = self._catalog.audiences(self._name)
        for step in todo.steps:
            if step.found is None or step.id not in now:
                continue
            audience = step.found.metadata.audience
            if now[step.id] != {audience}:
                # The store first: after a kill in between, the catalog still differs and this is done again.
                self._store.restrict(self._name, step.id, *audience)
                self._catalog.restrict(self._name, step.id, *audience)

    def _recall(self, todo: Plan, lineage: Sequence[int], abandoned: Sequence[int]) -> None:
        """Learn what is published of the documents that change, and of which texts the store has the vectors."""
        changing = [step.id for step in todo.of(Action.CHANGED, Action.REMOVED)]
        for stored in self._store.contents(self._name, lineage, changing) if lineage and changing else ():
            known = _Known(stored.point, content(stored.chunk))
            self._published.setdefault(stored.chunk.document, {})[stored.chunk.id] = known
            self._remember(stored)
        reading = [step.id for step in todo.of(Action.ADDED, Action.CHANGED)]
        for number in abandoned:
            for stored in self._store.contents(self._name, (number,), reading):
                self._remember(stored)
        self._titles = self._catalog.titles(self._name)

    def _remember(self, stored: Stored) -> None:
        chunk = stored.chunk
        self._embeddable.setdefault(chunk.document, {}).setdefault(chunk.id, set()).add(digest(chunk.search_text))

    def _same_text(self, chunk: Chunk) -> bool:
        """Whether a vector that the store has under this chunk's id is surely one of this text.

        Ids hold the text but not the title, which is embedded with it.
        """
        of_document = self._embeddable.get(chunk.document, {})
        return self._titles.get(chunk.document, frozenset()) <= {chunk.title} and of_document.get(chunk.id, set()) <= {
            digest(chunk.search_text)
        }

    # --- parse, split, embed, stage

    def _take_in(self, todo: Plan, corpus: Corpus, outcome: _Outcome) -> None:
        """Stage everything that the plan asks for; returns when all of it is durable."""
        if self._parts.reader.stages:
            self._begun()  # here, because each order names the draft
        windows = _windows(self._read(todo, corpus, outcome), self._leaving(todo))
        staged = 0
        writing: Future[None] | None = None
        with (
            ThreadPoolExecutor(1, thread_name_prefix="stage") as writer,
            closing(ahead(windows, WINDOWS_AHEAD)) as made,
        ):
            for window in made:
                self._check()
                number = self._begun()
                vectors = self._vectors(window)
                if writing is not None:
                    writing.result()
                    self._progress(Stage.STAGE, staged, self._total)
                writing = writer.submit(self._stage, number, window, vectors)
                staged += len(window.new)
            if writing is not None:
                writing.result()
        if self._parts.reader.stages and outcome.refused:
            self._retract(outcome.refused)
        self._progress(Stage.STAGE, staged, self._total)

    def _retract(self, documents: Collection[str]) -> None:
        """Hide what workers may have staged of documents that are not taken in after all."""
        number = self._begun()
        gone = [stored.point for stored in self._store.contents(self._name, (number,), documents)]
        if gone:
            self._store.stage(self._name, number, (), gone)

    def _begun(self) -> int:
        """The number of this sync's draft, taken when it is first needed.

        Raises:
            Conflict: the corpus was rolled back since it was compared with the folder.
        """
        if self._draft is None:
            draft = self._catalog.begin(self._name)
            if draft.parent != self._parent:
                raise published_meanwhile(self._name)
            self._draft = draft
        return self._draft.number

    def _leaving(self, todo: Plan) -> list[str]:
        """The points of the documents that are removed."""
        gone = [self._published.get(step.id, {}) for step in todo.of(Action.REMOVED)]
        return [known.point for chunks in gone for known in chunks.values()]

    def _read(self, todo: Plan, corpus: Corpus, outcome: _Outcome) -> Iterator[_Read]:
        """Each document that can be read, as it is read; the others become rows of ``outcome``."""
        steps = {step.id: step for step in todo.of(Action.ADDED, Action.CHANGED)}
        self._progress(Stage.PARSE, 0, len(steps))
        orders = (self._order(step, corpus) for step in steps.values())
        with closing(_closable(self._parts.reader.read(orders))) as results:
            for done, (order, result) in enumerate(results, start=1):
                self._check()
                step = steps[order.id]
                try:
                    if isinstance(result, DocumentError):
                        raise result
                    read = self._compared(step, result)
                except DocumentError as error:
                    outcome.rejected.append(rejection(step.path, error))
                    outcome.refused.add(step.id)
                    if step.before is not None:
                        outcome.stale.add(step.id)
                else:
                    outcome.read.append(read.version)
                    outcome.embedded += result.embedded
                    self._total += len(read.new)
                    yield read
                self._progress(Stage.PARSE, done, len(steps))

    def _order(self, step: Step, corpus: Corpus) -> Order:
        assert step.found is not None
        found = step.found
        titles = self._titles.get(step.id, frozenset())
        # Where a document has had several titles, its ids do not tell which of them a vector is of.
        texts = self._embeddable.get(step.id, {}) if len(titles) < 2 else {}
        return Order(
            source=found.source,
            id=step.id,
            path=found.path,
            sha256=found.sha256,
            metadata=found.metadata,
            corpus=corpus,
            published={chunk: known.content for chunk, known in self._published.get(step.id, {}).items()},
            embedded={chunk: next(iter(of)) for chunk, of in texts.items() if len(of) == 1},
            snapshot=self._begun() if self._parts.reader.stages else None,
        )

    def _compared(self, step: Step, reading: Reading) -> _Read:
        """The new version of a document and what of it is new.

        Raises:
            DocumentError: the file has changed since it was looked at.
        """
        assert step.found is not None
        document, chunks = reading.document, reading.chunks
        if self._parts.home.keep(step.found.source) != step.found.sha256:
            raise DocumentError(
                RejectReason.UNREADABLE, "it changed while it was read; sync again", "modifié pendant la lecture"
            )
        before = self._published.get(step.id, {})
        kept = {chunk.id for chunk in chunks if _unchanged(before.get(chunk.id), chunk)}
        new = tuple(chunk for chunk in chunks if chunk.id not in kept)
        gone = tuple(known.point for identifier, known in before.items() if identifier not in kept)
        same = not new and not gone and step.before is not None and _alike(step.before.document, document)
        row = DocumentRow(document, step.digest, len(chunks), articles=articles(chunks))
        here = tuple(chunk for chunk in new if chunk.id not in reading.staged)
        return _Read(_Version(step, row, same), here, gone, reading.vectors)

    def _vectors(self, window: _Window) -> dict[str, Vector]:
        """The vectors of a window's chunks by id: those that came along, the store's, else the embedder's."""
        vectors = dict(window.vectors)
        reusable = [chunk.id for chunk in window.new if chunk.id not in vectors and self._same_text(chunk)]
        vectors |= self._store.vectors(self._name, reusable) if reusable else {}
        missing = sorted(
            (chunk for chunk in window.new if chunk.id not in vectors),
            key=lambda chunk: len(chunk.search_text),
            reverse=True,
        )
        self._progress(Stage.EMBED, self._embedded, self._total)
        for start in range(0, len(missing), SLICE):
            self._check()
            part = missing[start : start + SLICE]
            matrix = self._parts.embedder.embed_passages([chunk.search_text for chunk in part])
            vectors |= {chunk.id: vector for chunk, vector in zip(part, matrix, strict=True)}
            self._embedded += len(part)
            self._progress(Stage.EMBED, self._embedded, self._total)
        return vectors

    def _stage(self, number: int, window: _Window, vectors: Mapping[str, Vector]) -> None:
        points = [Point(chunk, vectors[chunk.id], lexical.chunk_vector(chunk)) for chunk in window.new]
        self._store.stage(self._name, number, points, window.gone)

    # --- publish

    def _publish(self, todo: Plan, published: Sequence[DocumentRow], outcome: _Outcome) -> SyncReport:
        """Publish what is new, when anything is; the report, without its duration."""
        read = [item for item in outcome.read if not item.same]
        moving = todo.of(Action.MOVED)
        outlines = self._catalog.outlines(self._name, self._lineage, [step.id for step in moving]) if moving else {}
        moved = [_moved(step, outlines.get(step.id, ())) for step in moving]
        removed = [step.id for step in todo.of(Action.REMOVED)]
        rows = [item.row for item in read] + moved
        gone = {row.document.id for row in rows} | set(removed)
        chunks = sum(row.chunks for row in published if row.document.id not in gone) + sum(row.chunks for row in rows)
        if rows or removed:
            self._begun()
            assert self._draft is not None
            self._catalog.publish(self._draft, added=rows, removed=removed, stale=outcome.stale, chunks=chunks)
        else:
            self._catalog.mark(self._name, outcome.stale)
            if not self._options.automatic:
                self._catalog.unhold(self._name)
        again = {item.step.id: item.step.digest for item in outcome.read if item.same}
        if again:
            self._catalog.refresh(self._name, again)
        lineage = self._catalog.published(self._name)
        return SyncReport(
            snapshot=lineage[0] if lineage else None,
            added=sum(item.step.action is Action.ADDED for item in read),
            changed=sum(item.step.action is Action.CHANGED for item in read) + len(moved),
            removed=len(removed),
            unchanged=len(todo.of(Action.UNCHANGED)) + len(again),
            rejected=tuple(sorted(outcome.rejected, key=lambda row: row.path)),
            chunks=chunks,
            embedded=self._embedded + outcome.embedded,
            seconds=0.0,
        )

    def _tidy(self, abandoned: Sequence[int], *, grown: bool) -> None:
        """Remove what no snapshot that may be read needs; may be interrupted anywhere and is then done next time."""
        for number in abandoned:
            self._store.discard(self._name, number)
            self._catalog.discarded(self._name, number)
        readable = self._catalog.expire(self._name, dt.datetime.now(dt.UTC))
        if readable is not None:
            self._store.sweep(self._name, readable)
            self._catalog.swept(self._name)
        if abandoned or grown or readable is not None:
            with translated(self._parts.home.files):
                self._parts.home.prune(self._catalog.files())


# --- pieces ---------------------------------------------------------------------------------------------


@functools.cache
def reading_program() -> str:
    """A digest of the code that turns a file into chunks: another one reads every document again.

    What comes out as before is neither embedded nor published anew.
    """
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in _READING_PROGRAM:
        path = root / name
        for source in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _declared(folder: Path, name: str, *, init: bool, write: bool = False) -> Corpus:
    manifest.checked_name(name)
    if not folder.is_dir():
        raise BadRequest(f"there is no folder {folder}", f"il n'y a pas de dossier {folder}", code="no_folder")
    corpus = manifest.declared(folder, name)
    if corpus is not None:
        return corpus
    if not init:
        raise BadRequest(
            f"{folder} has no {manifest.CORPUS_FILE}; write one, or run again with --init to start with an audience "
            "of nobody",
            f"{folder} n'a pas de {manifest.CORPUS_FILE} ; écrivez-le, ou relancez avec --init pour commencer sans "
            "aucun lecteur",
            code="undeclared_folder",
        )
    corpus, text = manifest.new_declaration(name)
    if write:
        with translated(folder):
            write_atomically(folder / manifest.CORPUS_FILE, text.encode())
    return corpus


def _discovered(folder: Path, name: str, progress: Progress) -> Discovery:
    found = discover(folder, name, lambda count: progress(Stage.DISCOVER, count, 0))
    if "" in found.closed:
        raise BadRequest(
            f"the folder {folder} cannot be listed; give this user the right to read it",
            f"le dossier {folder} est illisible ; donnez à cet utilisateur le droit de le lire",
            code="unreadable_folder",
        )
    count = len(found.files) + len(found.rejected)
    progress(Stage.DISCOVER, count, count)
    return found


def _on_hold(name: str) -> Conflict:
    return Conflict(
        f"`{name}` was rolled back; automatic syncs wait until a person syncs it",
        f"« {name} » est revenu à un état antérieur ; une synchronisation manuelle est attendue",
        code="on_hold",
    )


def _windows(reads: Iterable[_Read], leaving: Sequence[str]) -> Iterator[_Window]:
    """The chunks to stage and the points that go, in windows of at most :data:`WINDOW` chunks."""
    size = min(FIRST_WINDOW, WINDOW)
    new: list[Chunk] = []
    gone = list(leaving)
    vectors: dict[str, Vector] = {}
    for read in reads:
        new += read.new
        gone += read.gone
        vectors |= read.vectors
        while len(new) >= size:
            yield _Window(tuple(new[:size]), tuple(gone), vectors)
            new, gone = new[size:], []
            vectors = {chunk.id: vectors[chunk.id] for chunk in new if chunk.id in vectors}
            size = min(2 * size, WINDOW)
    if new or gone:
        yield _Window(tuple(new), tuple(gone), vectors)


def _closable(results: Iterator[_Result]) -> Generator[_Result, None, None]:
    """A generator over ``results``, which may be closed whatever they are."""
    yield from results


def _moved(step: Step, articles: tuple[ArticleRow, ...]) -> DocumentRow:
    """The version of a document whose file only has another path now."""
    assert step.before is not None
    assert step.found is not None
    groups, clearance = step.found.metadata.audience
    document = replace(step.before.document, source=step.found.path, groups=groups, clearance=clearance)
    return DocumentRow(document, step.digest, step.before.chunks, articles=articles)


def _alike(before: Document, after: Document) -> bool:
    """Whether two versions differ in nothing but their audience."""
    return replace(before, groups=after.groups, clearance=after.clearance) == after


def _unchanged(known: _Known | None, chunk: Chunk) -> bool:
    return known is not None and known.content == content(chunk)
