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
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from ingest import manifest
from ingest.ahead import ahead
from ingest.archives import Members
from ingest.compare import Plan, Step, Touched, compare, guard
from ingest.difference import Action, Difference, DocumentChange, counted, difference, settled
from ingest.discover import Discovery, discover, rejection
from ingest.managed import check_not_fed
from ingest.reading import Order, Reader, Reading, articles
from ingest.recall import Known, Recall, together
from rag import lexical
from rag.catalog import ArticleRow, Catalog, DocumentRow, Snapshot, published_meanwhile
from rag.database import LOST, UNREACHABLE
from rag.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    DocumentError,
    OperatorError,
    RejectReason,
    StoreError,
    VaubanError,
)
from rag.home import Home, translated, write_atomically
from rag.seams import Embedder, VectorStore
from rag.types import Chunk, Corpus, Document, Outcome, Point, Rejected, RunState, SyncOptions, Synonyms, Vector

ARTICLES: Final = "articles_"
"""What the names of the counts of articles begin with among the counts of a run."""
GLOSSARY: Final = "glossary_"
"""The same of the counts of families of the glossary."""
WINDOW: Final = 2_000
"""Chunks that are embedded and staged together: enough for batches of like length, a few MB of text."""
FIRST_WINDOW: Final = 256
"""Chunks of the first window, so that the encoder need not wait long; each one after it is twice as large."""
SLICE: Final = 256
"""Chunks given to the embedder at once, sorted by length: a cancel or a progress bar waits no longer than that."""
PATIENCE: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the attempts at what a lost database must be told: a server that is started again takes some."""
WINDOWS_AHEAD: Final = 1
"""Windows that are read and split while another one is embedded."""

_READING_PROGRAM: Final = (
    "ingest/chunk.py",
    "ingest/outline.py",
    "ingest/quality.py",
    "ingest/reading.py",
    "ingest/sniff.py",
    "ingest/validity.py",
    "ingest/parsers",
    "rag/codes.py",
    "rag/references.py",
    "rag/sentences.py",
)


class Stage(StrEnum):
    """The stages that a reader of the progress sees."""

    DISCOVER = "discover"
    PARSE = "parse"
    RECOGNISE = "recognise"
    """Pages that OCR reads, of the files that are being parsed."""
    EMBED = "embed"
    STAGE = "stage"
    PUBLISH = "publish"


class Progress(Protocol):
    """Is told how far each stage has come; called from several threads, never with text of a document."""

    def __call__(self, stage: Stage, done: int, total: int) -> None: ...


_Result = tuple[Order, Reading | DocumentError]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a sync works with; the caller owns the store. Without ``members``, archives are not looked into."""

    home: Home
    catalog: Catalog
    store: VectorStore
    embedder: Embedder
    reader: Reader
    members: Members | None = None


@dataclass(frozen=True, slots=True)
class GlossaryChange:
    """The families of a corpus's glossary, and how many of them came and went."""

    families: int = 0
    added: int = 0
    removed: int = 0

    @classmethod
    def of(cls, before: Synonyms, after: Synonyms) -> Self:
        was, now = (
            {(kind, family) for kind in ("same", "near") for family in getattr(one, kind)} for one in (before, after)
        )
        return cls(after.families, len(now - was), len(was - now))

    @property
    def counts(self) -> dict[str, int]:
        return {"families": self.families, "added": self.added, "removed": self.removed}


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, or with ``dry_run`` would do. ``snapshot`` is the published one afterwards, if there is one.

    ``chunks`` counts what is visible afterwards, ``embedded`` the vectors that had to be computed. A moved document
    counts as changed too, and one whose file was not taken in as rejected only. ``articles`` counts, by what has become
    of them, those of the documents that were looked into; ``plan`` says it of each, in a dry run.
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
    moved: int = 0
    articles: Mapping[str, int] = field(default_factory=dict)
    dry_run: bool = False
    plan: tuple[DocumentChange, ...] = ()
    glossary: GlossaryChange = GlossaryChange()

    @property
    def counts(self) -> dict[str, float]:
        """The numbers of the report, by the names of ``ingest sync --json``; of articles, each by itself."""
        names = ("added", "changed", "moved", "removed", "unchanged", "chunks", "embedded", "seconds")
        of_articles = {f"{ARTICLES}{action}": count for action, count in self.articles.items()}
        of_glossary = {f"{GLOSSARY}{name}": count for name, count in self.glossary.counts.items() if count}
        return {name: getattr(self, name) for name in names} | of_articles | of_glossary

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
            "moved": self.moved,
            "articles": {action.value: self.articles.get(action.value, 0) for action in Action},
            "glossary": self.glossary.counts,
        }
        return said | {"plan": [change.as_json() for change in self.plan]} if self.dry_run else said


def unseen(stage: Stage, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def plan(
    folder: Path,
    name: str,
    catalog: Catalog | None,
    *,
    init: bool = False,
    progress: Progress = unseen,
    members: Members | None = None,
    reader: Reader | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> SyncReport:
    """What a sync would do; writes nothing anywhere, and needs neither a store nor a lock.

    ``reader`` reads the documents that are new or changed, so that the plan says what becomes of their articles and
    which files would be rejected; without one, names, bytes and metadata are all that is compared.

    Raises:
        BadRequest: see :func:`sync`.
        Cancelled: ``cancelled`` said so.
    """
    start = time.perf_counter()
    corpus = _declared(folder, name, init=init)
    before = None if catalog is None else next((one for one in catalog.corpora() if one.name == name), None)
    known = before is not None
    lineage = catalog.published(name) if catalog is not None and known else ()
    published = catalog.documents(name, lineage) if catalog is not None and known else []
    discovery = _discovered(folder, name, progress, members)
    todo = compare(discovery, published, corpus, reading_program())
    going = [step for step in todo.steps if step.action is not Action.UNCHANGED]
    reading = todo.of(Action.ADDED, Action.CHANGED) if reader is not None else []
    preview = _Preview(catalog, name, lineage, progress, cancelled)
    if reader is not None:
        preview.read(reader, reading, corpus)
    preview.leave(todo.of(Action.REMOVED))
    changes = settled(
        DocumentChange(step.action, step.id, step.path, preview.differences.get(step.id, Difference()))
        for step in going
        if step.id not in preview.left_out
    )
    counts = Counter(change.action for change in changes)
    gone = {change.document for change in changes if change.action is not Action.MOVED}
    chunks = sum(row.chunks for row in published if reader is None or row.document.id not in gone)
    return SyncReport(
        snapshot=lineage[0] if lineage else None,
        added=counts[Action.ADDED],
        changed=counts[Action.CHANGED] + counts[Action.MOVED],
        moved=counts[Action.MOVED],
        removed=counts[Action.REMOVED],
        unchanged=len(todo.of(Action.UNCHANGED)) + preview.same,
        rejected=tuple(sorted((*todo.rejected, *preview.rejected), key=lambda row: row.path)),
        chunks=chunks + preview.chunks,
        embedded=0,
        seconds=time.perf_counter() - start,
        articles=counted(changes),
        dry_run=True,
        plan=changes,
        glossary=GlossaryChange.of(before.glossary if before else Synonyms(), corpus.glossary),
    )


class _Preview:
    """What reading the documents of a plan shows, without a store: their articles against the published ones."""

    def __init__(
        self,
        catalog: Catalog | None,
        name: str,
        lineage: Sequence[int],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._name = name
        self._lineage = lineage
        self._progress = progress
        self._cancelled = cancelled
        self.differences: dict[str, Difference] = {}
        self.rejected: list[Rejected] = []
        self.left_out: set[str] = set()
        """Documents that are rejected, or that would be published as they are."""
        self.same = 0
        self.chunks = 0

    def read(self, reader: Reader, steps: Sequence[Step], corpus: Corpus) -> None:
        of = {step.id: step for step in steps}
        before: dict[str, tuple[ArticleRow, ...]] = {}

        def orders() -> Iterator[Order]:
            for some in together(steps):
                before.update(self._articles(some))
                yield from (_ordered(step, corpus) for step in some)

        self._progress(Stage.PARSE, 0, len(of))
        with closing(_closable(reader.read(orders()))) as results:
            for done, (order, result) in enumerate(results, start=1):
                _stop_when(self._cancelled)
                step, was = of[order.id], before.pop(order.id, ())
                if isinstance(result, DocumentError):
                    self.rejected.append(rejection(step.path, result))
                    self.left_out.add(step.id)
                else:
                    self._compared(step, was, result)
                self._progress(Stage.PARSE, done, len(of))

    def leave(self, steps: Sequence[Step]) -> None:
        """Note the articles of documents that would be removed."""
        for some in together(steps):
            found = self._articles(some)
            self.differences |= {step.id: difference(found.get(step.id, ()), ()) for step in some}

    def _compared(self, step: Step, was: Sequence[ArticleRow], reading: Reading) -> None:
        found = difference(was, articles(reading.chunks))
        before = step.before
        alike = before is not None and _alike(before.document, reading.document) and not found.changes
        if before is not None and alike and before.chunks == len(reading.chunks):
            self.same += 1
            self.left_out.add(step.id)
            return
        self.differences[step.id] = found
        self.chunks += len(reading.chunks)

    def _articles(self, steps: Sequence[Step]) -> dict[str, tuple[ArticleRow, ...]]:
        published = [step.id for step in steps if step.before is not None]
        if self._catalog is None or not published:
            return {}
        return self._catalog.outlines(self._name, self._lineage, published)


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
    catalog = parts.catalog
    check_not_fed(parts.home, manifest.checked_name(name), folder)
    if options.dry_run and run is None:
        return _planned(folder, parts, name, options, progress, cancelled)
    run = run or catalog.add_run(manifest.checked_name(name))
    catalog.start_run(run)
    with recorded(catalog, run):
        if options.dry_run:
            report = _planned(folder, parts, name, options, progress, cancelled)
            ended(catalog, run, report, [_outcome(change) for change in report.plan])
            return report
        with catalog.writing_corpus(name):
            report, outcomes = publish(folder, name, parts, options, progress, cancelled)
        ended(catalog, run, report, outcomes)
    return report


def publish(
    folder: Path,
    name: str,
    parts: Parts,
    options: SyncOptions,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
    touched: Touched | None = None,
) -> tuple[SyncReport, list[Outcome]]:
    """The sync itself, for whoever writes the corpus and keeps the row of the run; raises what :func:`sync` raises.

    Whoever knows that only what is ``touched`` may differ from what is published saves looking at all the rest.
    """
    work = _Sync(folder, name, parts, options, progress, cancelled, touched)
    return work.run(), work.outcomes


def _planned(
    folder: Path, parts: Parts, name: str, options: SyncOptions, progress: Progress, cancelled: Callable[[], bool]
) -> SyncReport:
    return plan(
        folder,
        name,
        parts.catalog,
        init=options.init,
        progress=progress,
        members=parts.members,
        reader=parts.reader,
        cancelled=cancelled,
    )


def ended(catalog: Catalog, run: str, report: SyncReport, outcomes: Sequence[Outcome]) -> None:
    """Note in the row of its run what a sync did."""
    _patiently(
        lambda: catalog.end_run(
            run,
            RunState.DONE,
            snapshot=report.snapshot,
            counts=report.counts,
            rejected=report.rejected,
            outcomes=outcomes,
        )
    )


def _outcome(change: DocumentChange, warnings: Sequence[str] = ()) -> Outcome:
    counts = {action.value: count for action, count in change.articles.counts.items() if count}
    return Outcome(change.document, change.path, change.action.value, counts, tuple(warnings))


def _patiently(tell: Callable[[], _Answer]) -> _Answer:
    """What ``tell`` answers, asked again where the database is lost: it must be something that may be told twice."""
    for seconds in PATIENCE:
        try:
            return tell()
        except StoreError as error:
            if error.code not in {LOST, UNREACHABLE}:
                raise
        time.sleep(seconds)
    return tell()


@contextmanager
def recorded(catalog: Catalog, run: str) -> Iterator[None]:
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
class _Version:
    """A document that was read. ``same`` says that this gave what is published already."""

    step: Step
    row: DocumentRow
    same: bool
    change: Difference
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Chunks to stage, with the vectors that came along, and points that go; of one document, or of a window.

    ``known`` are the ids of those chunks whose vectors the store may have.
    """

    new: tuple[Chunk, ...]
    gone: tuple[str, ...]
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Outcome:
    """What the reading thread has found until now; read by others only after it has ended."""

    read: list[_Version] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    removed: dict[str, Difference] = field(default_factory=dict)
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
        touched: Touched | None = None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._parts = parts
        self._touched = touched
        self._catalog = parts.catalog
        self._store = parts.store
        self._options = options
        self._progress = progress
        self._cancelled = cancelled
        self._parent: int | None = None
        self._lineage: tuple[int, ...] = ()
        self._draft: Snapshot | None = None
        self._total = 0
        self._embedded = 0
        self.outcomes: list[Outcome] = []
        """What was done to documents, for the record of the run; empty before the end of :meth:`run`."""

    def run(self) -> SyncReport:
        with self._parts.home.keeping():
            return self._run()

    def _run(self) -> SyncReport:
        start = time.perf_counter()
        # 1. What the folder says of itself; its audience and glossary act from here on, whatever comes later.
        declared = _declared(self._folder, self._name, init=self._options.init, write=True)
        before = next((one for one in self._catalog.corpora() if one.name == self._name), None)
        self._catalog.declare(declared)
        glossary = GlossaryChange.of(before.glossary if before else Synonyms(), declared.glossary)
        corpus = replace(declared, glossary=Synonyms())  # no document is read with it, so none is sent with it
        if self._options.automatic and self._catalog.held(self._name):
            raise _on_hold(self._name)
        # 2. Discover and compare.
        lineage = self._catalog.published(self._name)
        self._parent, self._lineage = (lineage[0] if lineage else None), lineage
        of = self._touched
        files, documents = (None, None) if of is None else (of.files, of.documents)
        published = self._catalog.documents(self._name, lineage, documents)
        discovery = _discovered(self._folder, self._name, self._progress, self._parts.members, files)
        todo = compare(discovery, published, corpus, reading_program())
        self._restrict(todo)
        if not self._options.confirm_removals:
            guard(todo, published, discovery)
        # 3. Parse, split, embed and stage what is new; note what goes.
        abandoned = self._catalog.abandon(self._name)
        outcome = _Outcome(rejected=list(todo.rejected), stale=set(todo.stale))
        if of is not None:
            outcome.stale |= self._catalog.stale(self._name, lineage) - of.documents
        if todo.of(Action.ADDED, Action.CHANGED, Action.REMOVED):
            self._take_in(todo, corpus, abandoned, outcome)
        # 4. Publish, in one transaction, when there is anything to publish.
        self._check()
        self._progress(Stage.PUBLISH, 0, 1)
        report = self._publish(todo, published, outcome)
        if self._draft is not None and report.snapshot != self._draft.number:
            abandoned = [*abandoned, self._draft.number]
        # 5. Nobody needs what runs that ended early have left, nor what is past its retention.
        self._tidy(abandoned, grown=self._draft is not None)
        self._progress(Stage.PUBLISH, 1, 1)
        return replace(report, seconds=time.perf_counter() - start, glossary=glossary)

    def _check(self) -> None:
        _stop_when(self._cancelled)

    def _restrict(self, todo: Plan) -> None:
        """Set the audience of every document on all its versions where it is another than what is said now."""
        now = self._catalog.audiences(self._name, None if self._touched is None else self._touched.documents)
        for step in todo.steps:
            if step.found is None or step.id not in now:
                continue
            audience = step.found.metadata.audience
            if now[step.id] != {audience}:
                # The store first: after a kill in between, the catalog still differs and this is done again.
                self._store.restrict(self._name, step.id, *audience)
                self._catalog.restrict(self._name, step.id, *audience)

    # --- parse, split, embed, stage

    def _take_in(self, todo: Plan, corpus: Corpus, abandoned: Sequence[int], outcome: _Outcome) -> None:
        """Stage everything that the plan asks for; returns when all of it is durable."""
        if self._parts.reader.stages:
            self._begun()  # here, because each order names the draft
        recall = Recall(self._catalog, self._store, self._name, self._lineage, abandoned)
        windows = _windows(chain(self._leaving(todo, recall, outcome), self._read(todo, corpus, recall, outcome)))
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
            draft = _patiently(lambda: self._catalog.begin(self._name))
            if draft.parent != self._parent:
                raise published_meanwhile(self._name)
            self._draft = draft
        return self._draft.number

    def _leaving(self, todo: Plan, recall: Recall, outcome: _Outcome) -> Iterator[_Part]:
        """The points of the documents that are removed."""
        for some in together([step.id for step in todo.of(Action.REMOVED)]):
            self._check()
            outlines = self._catalog.outlines(self._name, self._lineage, some)
            outcome.removed |= {document: difference(outlines.get(document, ()), ()) for document in some}
            yield _Part((), tuple(chain.from_iterable(recall.points(some).values())))

    def _read(self, todo: Plan, corpus: Corpus, recall: Recall, outcome: _Outcome) -> Iterator[_Part]:
        """Each document that can be read, as it is read; the others become rows of ``outcome``."""
        steps = {step.id: step for step in todo.of(Action.ADDED, Action.CHANGED)}
        known: dict[str, Known] = {}

        def orders() -> Iterator[Order]:
            for some in together(steps.values()):
                known.update(recall.of([step.id for step in some]))
                yield from (self._order(step, corpus, known[step.id]) for step in some)

        self._progress(Stage.PARSE, 0, len(steps))
        with closing(_closable(self._parts.reader.read(orders()))) as results:
            for done, (order, result) in enumerate(results, start=1):
                self._check()
                step = steps[order.id]
                try:
                    if isinstance(result, DocumentError):
                        raise result
                    version, part = self._compared(step, known.pop(step.id), result)
                except DocumentError as error:
                    outcome.rejected.append(rejection(step.path, error))
                    outcome.refused.add(step.id)
                    if step.before is not None:
                        outcome.stale.add(step.id)
                else:
                    outcome.read.append(version)
                    outcome.embedded += result.embedded
                    self._total += len(part.new)
                    yield part
                self._progress(Stage.PARSE, done, len(steps))

    def _order(self, step: Step, corpus: Corpus, known: Known) -> Order:
        order = replace(_ordered(step, corpus), published=known.contents, embedded=known.embedded)
        return replace(order, snapshot=self._begun()) if self._parts.reader.stages else order

    def _compared(self, step: Step, known: Known, reading: Reading) -> tuple[_Version, _Part]:
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
        kept = {chunk.id for chunk in chunks if known.unchanged(chunk)}
        new = tuple(chunk for chunk in chunks if chunk.id not in kept)
        gone = tuple(point for identifier, point in known.points.items() if identifier not in kept)
        same = not new and not gone and step.before is not None and _alike(step.before.document, document)
        row = DocumentRow(document, step.digest, len(chunks), articles=articles(chunks))
        version = _Version(step, row, same, difference(known.articles, row.articles), reading.warnings)
        here = tuple(chunk for chunk in new if chunk.id not in reading.staged)
        reusable = frozenset(chunk.id for chunk in here if known.may_have_vector(chunk))
        return version, _Part(here, gone, reading.vectors, reusable)

    def _vectors(self, window: _Part) -> dict[str, Vector]:
        """The vectors of a window's chunks by id: those that came along, the store's, else the embedder's."""
        vectors = dict(window.vectors)
        reusable = {chunk.id for chunk in window.new if chunk.id in window.known and chunk.id not in vectors}
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

    def _stage(self, number: int, window: _Part, vectors: Mapping[str, Vector]) -> None:
        points = [Point(chunk, vectors[chunk.id], lexical.chunk_vector(chunk)) for chunk in window.new]
        self._store.stage(self._name, number, points, window.gone)

    # --- publish

    def _publish(self, todo: Plan, published: Sequence[DocumentRow], outcome: _Outcome) -> SyncReport:
        """Publish what is new, when anything is; the report, without its duration."""
        read = [item for item in outcome.read if not item.same]
        moving, removing = todo.of(Action.MOVED), todo.of(Action.REMOVED)
        outlines = self._catalog.outlines(self._name, self._lineage, [step.id for step in moving]) if moving else {}
        rows = [item.row for item in read] + [_moved(step, outlines.get(step.id, ())) for step in moving]
        removed = [step.id for step in removing]
        gone = {row.document.id for row in rows} | set(removed)
        apart_documents, apart_chunks = self._apart(published)
        chunks = sum(row.chunks for row in published if row.document.id not in gone) + sum(row.chunks for row in rows)
        chunks += apart_chunks
        if rows or removed:
            self._make_visible(rows, removed, outcome.stale, chunks)
        else:
            self._catalog.mark(self._name, outcome.stale)
            if not self._options.automatic:
                self._catalog.unhold(self._name)
        again = [item.row for item in outcome.read if item.same]
        if again:
            self._catalog.refresh(self._name, again)
        changes = settled(
            [
                *(DocumentChange(item.step.action, item.step.id, item.step.path, item.change) for item in read),
                *(DocumentChange(step.action, step.id, step.path, outcome.removed[step.id]) for step in removing),
                *(DocumentChange(step.action, step.id, step.path) for step in moving),
            ]
        )
        warnings = {item.step.id: item.warnings for item in read}
        self.outcomes = [_outcome(change, warnings.get(change.document, ())) for change in changes]
        lineage = self._catalog.published(self._name)
        return SyncReport(
            snapshot=lineage[0] if lineage else None,
            added=sum(item.step.action is Action.ADDED for item in read),
            changed=sum(item.step.action is Action.CHANGED for item in read) + len(moving),
            moved=len(moving),
            removed=len(removed),
            unchanged=len(todo.of(Action.UNCHANGED)) + len(again) + apart_documents,
            rejected=tuple(sorted(outcome.rejected, key=lambda row: row.path)),
            chunks=chunks,
            embedded=self._embedded + outcome.embedded,
            seconds=0.0,
            articles=counted(changes),
        )

    def _apart(self, published: Sequence[DocumentRow]) -> tuple[int, int]:
        """How many documents and chunks are published besides those that this sync looked at."""
        if self._touched is None or self._parent is None:
            return 0, 0
        whole = self._catalog.snapshot(self._name, self._parent)
        return whole.documents - len(published), whole.chunks - sum(row.chunks for row in published)

    def _make_visible(
        self, rows: Sequence[DocumentRow], removed: Collection[str], stale: Collection[str], chunks: int
    ) -> None:
        """Publish the draft.

        Raises:
            Conflict: something else was published meanwhile, or another host took this run for a dead one.
        """
        self._begun()
        assert self._draft is not None
        draft = self._draft
        try:
            _patiently(lambda: self._catalog.publish(draft, added=rows, removed=removed, stale=stale, chunks=chunks))
        except Conflict:
            self._catalog.leave(draft)  # whoever comes next discards what was staged, also what came too late
            raise

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
                self._parts.home.prune(self._catalog.files)


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


def _discovered(
    folder: Path, name: str, progress: Progress, members: Members | None, only: Collection[str] | None = None
) -> Discovery:
    found = discover(folder, name, lambda count: progress(Stage.DISCOVER, count, 0), members, only)
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


def _windows(parts: Iterable[_Part]) -> Iterator[_Part]:
    """The chunks to stage and the points that go, in windows of at most :data:`WINDOW` chunks."""
    size = min(FIRST_WINDOW, WINDOW)
    new: list[Chunk] = []
    gone: list[str] = []
    vectors: dict[str, Vector] = {}
    known: set[str] = set()
    for part in parts:
        new += part.new
        gone += part.gone
        vectors |= part.vectors
        known |= part.known
        while len(new) >= size or len(gone) >= WINDOW:
            yield _Part(tuple(new[:size]), tuple(gone), vectors, frozenset(known))
            new, gone = new[size:], []
            left = {chunk.id for chunk in new}
            vectors = {chunk: vectors[chunk] for chunk in left & vectors.keys()}
            known &= left
            size = min(2 * size, WINDOW)
    if new or gone:
        yield _Part(tuple(new), tuple(gone), vectors, frozenset(known))


def _ordered(step: Step, corpus: Corpus) -> Order:
    """The order to read a document of which nothing is known."""
    assert step.found is not None
    found = step.found
    return Order(found.source, step.id, found.path, found.sha256, found.metadata, corpus)


def _stop_when(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("the sync was cancelled; nothing was published", "synchronisation annulée ; rien n'est publié")


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
