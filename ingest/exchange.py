"""A corpus to another machine: its published snapshot written as an open archive, and such an archive taken in.

The layout is told in :mod:`ingest.archive_layout`. An archive is written beside its place and then renamed, so that
there is a whole one or none; it is taken in as one new snapshot, published in one transaction, or not at all.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from ingest import manifest, records
from ingest.archive_layout import (
    CHUNKS,
    DOCUMENTS,
    FILES,
    READABLE,
    VECTORS,
    Archive,
    ChunkLine,
    CorpusSaid,
    DocumentLine,
    Embedded,
    Writer,
    refused,
    vectors_header,
    verified,
)
from ingest.kept import Names, named
from ingest.managed import check_not_fed
from ingest.pipeline import SLICE, WINDOW, Progress, Stage, unseen
from ingest.reading import articles
from ingest.windows import windows
from rag import lexical
from rag.catalog import Catalog, DocumentRow, Snapshot
from rag.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    DocumentError,
    NotFound,
    OperatorError,
    StoreError,
    VaubanError,
)
from rag.home import Home, blocks, translated
from rag.seams import Embedder, VectorStore
from rag.types import (
    Block,
    BlockKind,
    Chunk,
    Document,
    Matrix,
    Point,
    RunState,
    Section,
    SectionKind,
    Stored,
    Vector,
)

LONGEST_SLUG: Final = 60
"""Characters of a document's id that the name of its readable file keeps."""


class Places(Protocol):
    """What an exchange works with; a running Vauban is one, and so are the parts of a sync."""

    @property
    def home(self) -> Home: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def store(self) -> VectorStore: ...
    @property
    def embedder(self) -> Embedder: ...


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    corpus: str
    snapshot: int
    folder: str
    documents: int
    chunks: int
    bytes: int
    seconds: float

    @property
    def counts(self) -> dict[str, float]:
        """The numbers, for the row of its run."""
        return {name: getattr(self, name) for name in ("documents", "chunks", "bytes", "seconds")}

    def as_json(self) -> dict[str, object]:
        """What ``ingest export --json`` prints."""
        return {
            "corpus": self.corpus,
            "snapshot": self.snapshot,
            "folder": self.folder,
            "documents": self.documents,
            "chunks": self.chunks,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import published. ``embedded`` vectors had to be computed, the others came along.

    ``known`` says that this machine had the corpus already, and so kept its own audience.
    """

    corpus: str
    snapshot: int | None
    known: bool
    added: int
    changed: int
    removed: int
    unchanged: int
    chunks: int
    embedded: int
    seconds: float

    @property
    def counts(self) -> dict[str, float]:
        """The numbers, for the row of its run."""
        names = ("added", "changed", "removed", "unchanged", "chunks", "embedded", "seconds")
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, object]:
        """What ``ingest import --json`` prints."""
        said: dict[str, object] = {"corpus": self.corpus, "snapshot": self.snapshot, "known": self.known}
        return said | self.counts | {"seconds": round(self.seconds, 3)}


# --- export ----------------------------------------------------------------------------------------------


def export(
    corpus: str,
    folder: Path,
    places: Places,
    *,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Write the published snapshot of ``corpus`` into ``folder``, which must not exist or be empty.

    Raises:
        BadRequest: there is something in the folder, or it lies in the folder of a corpus.
        NotFound, Conflict: there is no such corpus; nothing of it is published.
        StoreError: the index or a kept source file is not what the catalog says.
        Cancelled, DiskFull: nothing is left behind.
    """
    start = time.perf_counter()
    catalog = places.catalog
    declared = catalog.corpus(corpus)
    lineage = catalog.published(corpus)
    if not lineage:
        raise Conflict(
            f"nothing of `{corpus}` is published, so there is nothing to export",
            f"rien de « {corpus} » n'est publié : il n'y a rien à exporter",
            code="nothing_published",
        )
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise BadRequest(
            f"{folder} is not empty; name a folder that does not exist yet",
            f"{folder} n'est pas vide ; indiquez un dossier qui n'existe pas encore",
            code="folder_not_empty",
        )
    if any((above / manifest.CORPUS_FILE).exists() for above in folder.absolute().parents):
        raise BadRequest(
            f"{folder} lies in the folder of a corpus, whose next sync would take the export in as documents for its "
            "whole audience; name a folder elsewhere",
            f"{folder} est dans le dossier d'un corpus : la prochaine synchronisation y prendrait l'export pour des "
            "documents ouverts à tout son public ; indiquez un dossier ailleurs",
            code="folder_of_corpus",
        )
    rows = catalog.documents(corpus, lineage)
    with translated(folder), _beside(folder) as place:
        writer = Writer(place)
        count = sum(row.chunks for row in rows)
        _write_documents(writer, rows)
        _write_chunks(writer, corpus, lineage, rows, places, progress, cancelled)
        _write_sources(writer, rows, places.home, cancelled)
        published = next(one.published for one in catalog.snapshots(corpus) if one.number == lineage[0])
        written = writer.finish(
            {
                "corpus": CorpusSaid.of(declared),
                "snapshot": lineage[0],
                "published": published,
                "exported": dt.datetime.now(dt.UTC).replace(microsecond=0),
                "embedder": Embedded(fingerprint=places.embedder.fingerprint, dimension=places.embedder.dimension),
                "documents": len(rows),
                "chunks": count,
            }
        )
        place.rename(folder)
    return ExportReport(
        corpus=corpus,
        snapshot=lineage[0],
        folder=str(folder),
        documents=len(rows),
        chunks=count,
        bytes=sum(sealed.size for sealed in written.files.values()),
        seconds=time.perf_counter() - start,
    )


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``; what is still in it when the block ends is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write_documents(writer: Writer, rows: Sequence[DocumentRow]) -> None:
    with writer.file(DOCUMENTS) as file:
        for row in rows:
            file.line(DocumentLine.of(row))


def _write_chunks(
    writer: Writer,
    corpus: str,
    lineage: Sequence[int],
    rows: Sequence[DocumentRow],
    places: Places,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    """Chunks and vectors, some documents at a time, and each document for people."""
    seen = frozenset(lineage)
    count, done = sum(row.chunks for row in rows), 0
    with writer.file(CHUNKS) as lines, writer.file(VECTORS) as vectors:
        vectors_header(vectors, count, places.embedder.dimension)
        for several in windows(rows):
            _check(cancelled)
            found: dict[str, list[tuple[Stored, Vector]]] = {}
            for stored, vector in places.store.points(corpus, [row.document.id for row in several]):
                if stored.added in seen and seen.isdisjoint(stored.removed):
                    found.setdefault(stored.chunk.document, []).append((stored, vector))
            for row in several:
                parts = sorted(found.get(row.document.id, []), key=lambda part: part[0].chunk.ordinal)
                if len(parts) != row.chunks:
                    raise _incomplete(corpus, row.document.id)
                for stored, vector in parts:
                    lines.line(ChunkLine.of(stored.chunk))
                    vectors.write(vector.astype("<f4").tobytes())
                with writer.file(f"{READABLE}/{slug(row.document.id)}.jsonl") as readable:
                    for line in records.lines(row.document, sections([stored.chunk for stored, _ in parts])):
                        readable.write(line.encode() + b"\n")
                done += len(parts)
            progress(Stage.STAGE, done, count)


def _write_sources(writer: Writer, rows: Sequence[DocumentRow], home: Home, cancelled: Callable[[], bool]) -> None:
    for row in rows:
        name = f"{FILES}/{row.document.sha256}"
        if name in writer:
            continue
        _check(cancelled)
        with writer.file(name) as file:
            try:
                for block in blocks(home.file(row.file)):
                    file.write(block)
            except DocumentError as error:
                raise StoreError(
                    f"the kept source file of `{row.document.id}` cannot be read; restore the home from a backup",
                    f"le fichier source conservé de « {row.document.id} » est illisible ; restaurez une sauvegarde",
                ) from error


def slug(document: str) -> str:
    """A name for a document's file that every system takes, and no other document's has."""
    plain = unicodedata.normalize("NFKD", document).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")
    return f"{words or 'document'}-{hashlib.sha256(document.encode()).hexdigest()[:8]}"


def sections(chunks: Sequence[Chunk]) -> Iterator[Section]:
    """What is published of a document, by its headings: for reading, since a table is lines by now."""
    for path, several in groupby(chunks, key=lambda chunk: chunk.path):
        parts = list(several)
        heading, cited = (path[-1] if path else ""), parts[0].reference.casefold()
        if not heading:
            kind = SectionKind.PREAMBLE
        elif cited and cited in heading.casefold():
            kind = SectionKind.ANNEX if cited.startswith("annex") else SectionKind.ARTICLE
        else:
            kind = SectionKind.DIVISION
        written = tuple(
            Block(BlockKind.PARAGRAPH, paragraph, page=part.page)
            for part in parts
            for paragraph in part.text.split("\n\n")
            if paragraph.strip()
        )
        yield Section(kind, heading, None, path[:-1], written, parts[0].page, parts[0].validity, parts[0].legal_status)


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("it was cancelled; nothing has changed", "annulé ; rien n'a changé")


def _incomplete(corpus: str, document: str) -> StoreError:
    return StoreError(
        f"the index of `{corpus}` lacks chunks of `{document}`; make it again with `vauban ingest rebuild`",
        f"l'index de « {corpus} » a perdu des passages de « {document} » ; refaites-le avec « vauban ingest rebuild »",
        code="index_incomplete",
    )


# --- import ----------------------------------------------------------------------------------------------


def import_(
    folder: Path,
    places: Places,
    *,
    keep_audience: bool = False,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
    run: str | None = None,
) -> ImportReport:
    """Take an archive in: afterwards the corpus that it names is published here as it was where it comes from.

    Who may see it: a machine that knows the corpus keeps its own declaration, but for the glossary where the archive
    has one, and the audience of each document that it knows. One that does not takes the archive's declaration, with
    an audience of nobody until somebody gives it one, unless ``keep_audience``. Documents that are new here keep the
    archive's restrictions. Documents that are not in the archive are removed. Vectors are taken over when they are of
    this machine's embedder, else computed. ``run`` is the catalog's row of it, made here when there is none.

    Raises:
        BadRequest: the archive is damaged, or none; nothing was touched.
        Conflict: the corpus was published or rolled back meanwhile; nothing was published.
        Cancelled, DiskFull, StoreError: nothing was published.
    """
    start = time.perf_counter()
    if not folder.is_dir():
        raise BadRequest(f"there is no folder {folder}", f"il n'y a pas de dossier {folder}", code="no_folder")

    def seen(done: int, total: int) -> None:
        _check(cancelled)
        progress(Stage.DISCOVER, done >> 10, total >> 10)

    with translated(folder):
        archive = verified(folder, seen)
    catalog, name = places.catalog, archive.manifest.corpus.name
    check_not_fed(places.home, name)
    run = run or catalog.add_run(name)
    catalog.start_run(run, name)
    try:
        report = _Import(archive, places, keep_audience, progress, cancelled).run()
    except VaubanError as error:
        state = RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED
        with suppress(OperatorError):  # on a full disk even this note may find no room
            catalog.end_run(run, state, error=error.code, detail=error.en)
        raise
    report = replace(report, seconds=time.perf_counter() - start)
    catalog.end_run(run, RunState.DONE, snapshot=report.snapshot, counts=report.counts)
    return report


class _Import:
    """One import, from its verified archive to its report."""

    def __init__(
        self,
        archive: Archive,
        places: Places,
        keep_audience: bool,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._archive = archive
        self._places = places
        self._catalog = places.catalog
        self._store = places.store
        self._keep_audience = keep_audience
        self._progress = progress
        self._cancelled = cancelled
        self._name = archive.manifest.corpus.name
        self._ours = archive.manifest.embedder == Embedded(
            fingerprint=places.embedder.fingerprint, dimension=places.embedder.dimension
        )
        self._lineage: tuple[int, ...] = ()
        self._draft: Snapshot | None = None
        self._embedded = 0
        self._done = 0

    def run(self) -> ImportReport:
        # 1. Whose audience it is.
        known = self._declared()
        self._lineage = self._catalog.published(self._name)
        before = {row.document.id: row for row in self._catalog.documents(self._name, self._lineage)}
        abandoned = self._catalog.abandoned(self._name)
        # 2. Stage what is new, keep the source files, note what goes.
        rows: list[DocumentRow] = []
        unchanged = 0
        with named(self._places.home) as names:
            for several in self._windows():
                _check(self._cancelled)
                fresh = self._stage(several, before, names)
                unchanged += len(several) - len(fresh)
                rows += fresh
        removed = sorted(before.keys() - {line.id for line in self._archive.documents})
        for some in _some(removed):
            gone = [stored.point for stored in self._store.contents(self._name, self._lineage, some)]
            self._store.stage(self._name, self._begun().number, [], gone)
        # 3. Publish, in one transaction, when there is anything to publish.
        _check(self._cancelled)
        self._progress(Stage.PUBLISH, 0, 1)
        if rows or removed or not self._lineage:
            chunks = self._archive.manifest.chunks
            self._catalog.publish(self._begun(), added=rows, removed=removed, stale=(), chunks=chunks)
        else:
            self._catalog.mark(self._name, ())
        # 4. Nobody needs what runs that ended early have left.
        for number in abandoned:
            self._store.discard(self._name, number)
            self._catalog.discarded(self._name, number)
        self._progress(Stage.PUBLISH, 1, 1)
        lineage = self._catalog.published(self._name)
        return ImportReport(
            corpus=self._name,
            snapshot=lineage[0] if lineage else None,
            known=known,
            added=sum(row.document.id not in before for row in rows),
            changed=sum(row.document.id in before for row in rows),
            removed=len(removed),
            unchanged=unchanged,
            chunks=self._archive.manifest.chunks,
            embedded=self._embedded,
            seconds=0.0,
        )

    def _declared(self) -> bool:
        """Whether this machine knew the corpus; it does from here on.

        A declaration without readers of which nothing was ever published is what an import that ended early leaves.
        """
        said = self._archive.manifest.corpus.corpus()
        with suppress(NotFound):
            ours = self._catalog.corpus(self._name)
            if ours.groups or self._catalog.snapshots(self._name):
                if said.glossary.families:
                    self._catalog.declare(replace(ours, glossary=said.glossary))
                return True
        self._catalog.declare(said if self._keep_audience else replace(said, groups=frozenset()))
        return False

    def _begun(self) -> Snapshot:
        """The draft, taken when it is first needed.

        Raises:
            Conflict: the corpus was published or rolled back since this import began.
        """
        if self._draft is None:
            draft = self._catalog.begin(self._name)
            if draft.parent != (self._lineage[0] if self._lineage else None):
                raise Conflict(
                    f"another snapshot of `{self._name}` was published meanwhile; run the import again",
                    f"un autre état de « {self._name} » a été publié entre-temps ; relancez l'import",
                    code="published_meanwhile",
                )
            self._draft = draft
        return self._draft

    def _windows(self) -> Iterator[list[_Arrived]]:
        """Documents with their chunks and vectors, some thousand chunks at a time, in their audience here."""
        audiences = self._catalog.audiences(self._name)
        window: list[_Arrived] = []
        for line, chunks, vectors in self._archive.chunks():
            document = line.document(self._name)
            groups, clearance = document.groups, document.clearance
            if line.id in audiences:
                groups, clearance = manifest.narrowest(audiences[line.id])
            here = tuple(replace(chunk, groups=groups, clearance=clearance) for chunk in chunks)
            document = replace(document, groups=groups, clearance=clearance)
            window.append(_Arrived(line, document, here, vectors))
            if sum(len(one.chunks) for one in window) >= WINDOW:
                yield window
                window = []
        if window:
            yield window

    def _stage(self, window: Sequence[_Arrived], before: Mapping[str, DocumentRow], names: Names) -> list[DocumentRow]:
        """Stage what of these documents is new, and keep their files; the rows of those that differ from here."""
        known: dict[str, dict[str, Stored]] = {}
        asked = [one.document.id for one in window if one.document.id in before]
        for stored in self._store.contents(self._name, self._lineage, asked) if asked else ():
            known.setdefault(stored.chunk.document, {})[stored.chunk.id] = stored
        rows: list[DocumentRow] = []
        new: list[tuple[Chunk, Vector]] = []
        gone: list[str] = []
        for one in window:
            here = known.get(one.document.id, {})
            kept = {chunk.id for chunk in one.chunks if chunk.id in here and _same(here[chunk.id].chunk, chunk)}
            fresh = [
                (chunk, vector) for chunk, vector in zip(one.chunks, one.vectors, strict=True) if chunk.id not in kept
            ]
            leaving = [stored.point for identifier, stored in here.items() if identifier not in kept]
            row = DocumentRow(one.document, one.line.digest, len(one.chunks), articles=articles(one.chunks))
            old = before.get(one.document.id)
            if fresh or leaving or old is None or (old.document, old.digest) != (one.document, one.line.digest):
                self._keep(one, names)
                rows.append(row)
            new += fresh
            gone += leaving
        if new or gone:
            self._refuse_foreign([chunk.id for chunk, _ in new])
            points = [
                Point(chunk, vector, lexical.chunk_vector(chunk))
                for (chunk, _), vector in zip(new, self._vectors(new), strict=True)
            ]
            self._store.stage(self._name, self._begun().number, points, gone)
        self._done += sum(len(one.chunks) for one in window)
        self._progress(Stage.STAGE, self._done, self._archive.manifest.chunks)
        return rows

    def _refuse_foreign(self, chunks: Sequence[str]) -> None:
        """See that no chunk has the id of one in another corpus, whose place in the index it would take.

        Raises:
            BadRequest: one has.
        """
        for other in self._catalog.corpora():
            if other.name != self._name and self._store.vectors(other.name, chunks):
                raise refused(CHUNKS, "a chunk belongs to another corpus", "un passage appartient à un autre corpus")

    def _vectors(self, new: Sequence[tuple[Chunk, Vector]]) -> Sequence[Vector]:
        """The vectors that came along, when they are of the embedder here; else its own."""
        if self._ours:
            return [vector for _, vector in new]
        found: list[Vector] = [vector for _, vector in new]
        order = sorted(range(len(new)), key=lambda index: len(new[index][0].search_text), reverse=True)
        for start in range(0, len(order), SLICE):
            _check(self._cancelled)
            part = order[start : start + SLICE]
            matrix = self._places.embedder.embed_passages([new[index][0].search_text for index in part])
            for index, vector in zip(part, matrix, strict=True):
                found[index] = vector
            self._embedded += len(part)
            self._progress(Stage.EMBED, self._embedded, self._archive.manifest.chunks)
        return found

    def _keep(self, one: _Arrived, names: Names) -> None:
        """Keep the source file of a document.

        Raises:
            BadRequest: it is not the one that the document names.
        """
        name = f"{FILES}/{one.document.sha256}"
        try:
            kept = self._places.home.keep(names.source(self._archive.file(one.line), one.document))
        except DocumentError as error:
            raise refused(name, error.en, error.fr) from error
        if kept != one.document.sha256:
            raise refused(name, "it is not the document's source", "ce n'est pas la source du document")


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    """A document of the archive as it will stand here, with the vectors that came along."""

    line: DocumentLine
    document: Document
    chunks: tuple[Chunk, ...]
    vectors: Matrix


def _same(ours: Chunk, theirs: Chunk) -> bool:
    """Whether two chunks of one id differ in nothing but their audience, which acts on all versions at once."""
    return replace(ours, groups=theirs.groups, clearance=theirs.clearance) == theirs


def _some(documents: Sequence[str]) -> Iterator[Sequence[str]]:
    return (documents[start : start + SLICE] for start in range(0, len(documents), SLICE))
