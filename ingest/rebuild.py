"""Everything that may be read, embedded anew beside the live index, which then is replaced in one instant.

The source is the live index, whose chunks and marks stay as they are, so that rollback and replay work afterwards;
where it is lost or damaged, the kept source files are read again. Until the end nothing that readers see has changed.
A rebuild that ends early leaves what it has made, and the next one with the same embedder goes on from there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.kept import Names, named
from ingest.manifest import Metadata
from ingest.pipeline import SLICE, WINDOW, Progress, Stage, unseen
from ingest.reading import Order, Reader, Reading, articles, digest
from rag import indexes, lexical
from rag.catalog import Catalog, DocumentRow, SnapshotState
from rag.errors import Cancelled, DiskFull, DocumentError, SettingsError, StoreError, VaubanError
from rag.home import Home
from rag.seams import Embedder, VectorStore
from rag.settings import PREFIX, Settings
from rag.types import Chunk, Document, Marked, Point, Stored, Vector

if TYPE_CHECKING:
    from rag.wiring import Vauban

ROUNDS: Final = 3
"""Times that both indexes are compared before a rebuild gives up: nothing writes to the live one meanwhile."""
NAMED: Final = 5
"""Documents that a message names; the report has them all."""


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did. ``points`` are those of the new index, ``embedded`` the vectors that had to be computed.

    ``reread`` says that the kept files were read again; ``changed`` are then the published documents (corpus and id)
    that gave other articles than before, because another program read them: a sync publishes these. ``expired`` are
    the earlier snapshots, by corpus, that could not be made again. ``overridden`` says that the environment names
    another embedder than the settings file now does.
    """

    embedder: str
    fingerprint: str
    dimension: int
    corpora: int
    points: int
    embedded: int
    seconds: float
    reread: bool = False
    changed: tuple[tuple[str, str], ...] = ()
    expired: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    overridden: bool = False

    @property
    def counts(self) -> dict[str, float]:
        """The numbers, for the row of its run."""
        return {name: getattr(self, name) for name in ("corpora", "points", "embedded", "seconds")}

    def as_json(self) -> dict[str, object]:
        """What ``ingest rebuild --json`` prints."""
        return {
            "embedder": self.embedder,
            "fingerprint": self.fingerprint,
            "dimension": self.dimension,
            "corpora": self.corpora,
            "points": self.points,
            "embedded": self.embedded,
            "reread": self.reread,
            "changed": [{"corpus": corpus, "document": document} for corpus, document in self.changed],
            "expired": {corpus: list(numbers) for corpus, numbers in self.expired.items()},
            "overridden": self.overridden,
            "seconds": round(self.seconds, 3),
        }


def rebuild(
    vauban: Vauban,
    embedder: str | None = None,
    *,
    settings_file: Path | None = None,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
) -> RebuildReport:
    """Embed everything with the model ``embedder`` (default: the one in use) while ``vauban`` goes on answering.

    At the end the parts of ``vauban`` are swapped, and the choice is written to ``settings_file``, when it is another
    one. No sync may run meanwhile: the queue of a service, or its lock, sees to that.

    Raises:
        NotFound, ModelError: there is no such embedder, or its files are not right.
        SettingsError: the vectors are in a Qdrant server; or the settings file cannot be written.
        Cancelled, DiskFull, StoreError: nothing has changed.
    """
    from rag.wiring import open_embedder

    settings = _chosen(vauban.settings, embedder)
    chosen = open_embedder(settings)
    making = _Making(settings, vauban.home, vauban.catalog, chosen, progress, cancelled)

    def swapped(store: VectorStore) -> None:
        vauban.swap(settings, chosen, store)

    return making.run(
        vauban.store, None, settings_file if settings.embedder != vauban.settings.embedder else None, swapped
    )


def rebuild_home(
    settings: Settings,
    reader: Reader,
    embedder: str | None = None,
    *,
    settings_file: Path | None = None,
    from_files: bool = False,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
) -> RebuildReport:
    """The same for a home that no process owns, also one whose index is lost, damaged or of another embedder.

    ``reader`` reads the kept source files when the index is lost or cannot be read, or with ``from_files`` anyway.

    Raises:
        StoreBusy: another process owns the home.
        StoreError: a published document's source file is not kept either; nothing has changed.
        NotFound, ModelError, SettingsError, Cancelled, DiskFull: see :func:`rebuild`.
    """
    from rag.wiring import open_embedder, open_filled_index

    now = _chosen(settings, embedder)
    chosen = open_embedder(now)
    with ExitStack() as undo:
        home = Home.open(settings.root)
        undo.enter_context(home.own())
        catalog = Catalog.open(settings.database_url or home.catalog)
        undo.callback(catalog.close)
        held = undo.enter_context(ExitStack())
        try:
            live = None if from_files else open_filled_index(home.index)
        except StoreError:  # damaged: the files it was made from are still there
            live = None
        if live is not None:
            held.callback(live.close)

        def swapped(store: VectorStore) -> None:
            held.close()
            store.close()

        making = _Making(now, home, catalog, chosen, progress, cancelled)
        return making.run(live, reader, settings_file if now.embedder != settings.embedder else None, swapped)


def _chosen(settings: Settings, embedder: str | None) -> Settings:
    if settings.qdrant_url:
        raise SettingsError(
            "a rebuild beside the live collection is not possible in a Qdrant server yet; sync the folders into "
            "another server or home with the new embedder, and change over to it",
            "la reconstruction à côté de la collection n'est pas encore possible sur un serveur Qdrant ; synchronisez "
            "les dossiers avec le nouveau modèle vers un autre serveur ou dossier, puis basculez",
            code="rebuild_on_server",
        )
    return settings if embedder is None else settings.model_copy(update={"embedder": embedder})


class _Making:
    """One rebuild, from the choice of its folder to the swap."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        catalog: Catalog,
        embedder: Embedder,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._home = home
        self._catalog = catalog
        self._embedder = embedder
        self._progress = progress
        self._cancelled = cancelled

    def run(
        self,
        live: VectorStore | None,
        reader: Reader | None,
        settings_file: Path | None,
        swapped: Callable[[VectorStore], None],
    ) -> RebuildReport:
        """Fill the new index from ``live`` or with ``reader``, make it the live one, and hand it to ``swapped``."""
        from rag.wiring import open_index

        start = time.perf_counter()
        root = self._home.root
        folder = indexes.begin(root, self._embedder.fingerprint)
        with ExitStack() as undo:
            target = open_index(folder, self._embedder.fingerprint, self._embedder.dimension)
            undo.callback(target.close)
            filling = Filling(self._catalog, target, self._embedder, self._progress, self._cancelled)
            try:
                filled, reread = self._filled(filling, live, reader)
            except DiskFull:
                undo.pop_all().close()
                indexes.drop(root)  # so that whoever publishes next finds room again
                raise
            self._progress(Stage.PUBLISH, 0, 1)
            indexes.ready(root)
            try:
                if settings_file is not None:
                    _write_choice(settings_file, self._settings.embedder)
                for corpus, numbers in filled.expired.items():
                    self._catalog.give_up(corpus, numbers)
            except VaubanError:
                # The live index goes on, and what is published into it the new one would miss.
                indexes.begin(root, self._embedder.fingerprint)
                raise
            indexes.switch(root)
            undo.pop_all()
        swapped(target)
        indexes.clear(root)
        self._progress(Stage.PUBLISH, 1, 1)
        variable = f"{PREFIX}EMBEDDER"
        return RebuildReport(
            embedder=self._settings.embedder,
            fingerprint=self._embedder.fingerprint,
            dimension=self._embedder.dimension,
            corpora=len(self._catalog.corpora()),
            points=filled.points,
            embedded=filled.embedded,
            seconds=time.perf_counter() - start,
            reread=reread,
            changed=filled.changed,
            expired=filled.expired,
            overridden=os.environ.get(variable, self._settings.embedder) != self._settings.embedder,
        )

    def _filled(self, filling: Filling, live: VectorStore | None, reader: Reader | None) -> tuple[Filled, bool]:
        """What the new index was filled with, and whether the kept files had to be read for that."""
        if live is not None:
            try:
                return filling.from_store(live), False
            except Incomplete:
                if reader is None:
                    raise
        assert reader is not None
        return filling.from_files(self._home, reader), True


def _write_choice(file: Path, embedder: str) -> None:
    # Imported here: the module of the command brings its libraries.
    from rag.model_commands import choose

    choose(file, "embedder", embedder)


class Incomplete(StoreError):
    """The live index lacks published documents: it can be made again from the kept files only."""

    code = "index_incomplete"


# --- filling ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filled:
    """What an index was filled with; see :class:`RebuildReport`."""

    points: int
    embedded: int
    changed: tuple[tuple[str, str], ...] = ()
    expired: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Held:
    """What the new index has of a corpus: a digest of each point with its marks, and the texts of its vectors."""

    points: dict[str, bytes]
    texts: dict[str, set[str]]

    @classmethod
    def of(cls, store: VectorStore, corpus: str) -> _Held:
        held = cls({}, {})
        for stored, _ in store.points(corpus):
            held.points[stored.point] = _state(stored)
            held.texts.setdefault(stored.chunk.id, set()).add(digest(stored.chunk.search_text))
        return held

    def has_vector(self, chunk: Chunk) -> bool:
        """Whether what the store gives for this chunk's id is surely the vector of its text, title included."""
        return self.texts.get(chunk.id) == {digest(chunk.search_text)}


class Filling:
    """Fills ``target`` with all that readable snapshots see; what is there already is not embedded again."""

    def __init__(
        self,
        catalog: Catalog,
        target: VectorStore,
        embedder: Embedder,
        progress: Progress = unseen,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._catalog = catalog
        self._target = target
        self._embedder = embedder
        self._progress = progress
        self._cancelled = cancelled
        self._embedded = 0
        self._done = 0
        self._total = 0

    def from_store(self, source: VectorStore) -> Filled:
        """Everything that ``source`` has and a readable snapshot sees, with the marks and audience it has there.

        Raises:
            Incomplete: published documents are not in it.
            StoreError: the new index is not the same after all.
            Cancelled, DiskFull: what was made until then is kept.
        """
        points = 0
        for corpus in self._corpora():
            readable = list(self._readable(corpus).values())
            lineages = [frozenset(lineage) for lineage in readable]
            published = frozenset(self._catalog.published(corpus))
            missing = {row.document.id for row in self._catalog.documents(corpus, tuple(published)) if row.chunks}
            for round_ in range(ROUNDS + 1):
                wanted = {}
                for stored, _ in source.points(corpus):
                    if _seen(stored, lineages):
                        wanted[stored.point] = _state(stored)
                        if _seen(stored, (published,)):
                            missing.discard(stored.chunk.document)
                if missing:
                    raise _incomplete(corpus, missing)
                held = _Held.of(self._target, corpus)
                if held.points.keys() - wanted.keys():
                    self._target.sweep(corpus, readable)
                    held = _Held.of(self._target, corpus)
                if held.points == wanted:
                    break
                if round_ == ROUNDS:
                    raise _unlike(corpus)
                todo = {point for point, state in wanted.items() if held.points.get(point) != state}
                self._total += len(todo)
                for window in _windows(
                    Placed(stored.chunk, stored.added, stored.removed)
                    for stored, _ in source.points(corpus)
                    if stored.point in todo
                ):
                    self._put(corpus, window, held)
            points += len(wanted)
        return Filled(points, self._embedded)

    def from_files(self, home: Home, reader: Reader) -> Filled:
        """Every version of a document that a readable snapshot sees, read again from its kept file.

        A chunk is then stored once for each version that has it, which readers cannot tell from what was there.

        Raises:
            StoreError: a published document cannot be read any more.
            Cancelled, DiskFull: what was made until then is kept.
        """
        changed: list[tuple[str, str]] = []
        expired: dict[str, tuple[int, ...]] = {}
        points = 0
        for corpus in self._corpora():
            versions = self._versions(corpus)
            held = _Held.of(self._target, corpus)
            failed: list[_Version] = []
            altered: list[_Version] = []
            with named(home) as names:
                fresh = self._read(versions, names, home, reader, failed, altered)
                for window in _windows(fresh):
                    self._put(corpus, window, held)
            published = next(iter(self._catalog.published(corpus)), None)
            lost = [version.id for version in failed if published in version.snapshots]
            if lost:
                raise _lost(corpus, lost)
            changed += [(corpus, version.id) for version in altered if published in version.snapshots]
            gone = {number for version in (*failed, *altered) for number in version.snapshots} - {published}
            if gone:
                expired[corpus] = tuple(sorted(gone))
            self._target.sweep(
                corpus, [lineage for number, lineage in self._readable(corpus).items() if number not in gone]
            )
            points += sum(1 for _ in self._target.points(corpus))
        return Filled(points, self._embedded, tuple(changed), expired)

    # --- pieces

    def _corpora(self) -> list[str]:
        return [corpus.name for corpus in self._catalog.corpora()]

    def _readable(self, corpus: str) -> dict[int, tuple[int, ...]]:
        """The lineage of each snapshot that may be read."""
        return {
            snapshot.number: self._catalog.lineage(corpus, snapshot.number)
            for snapshot in self._catalog.snapshots(corpus)
            if snapshot.state is SnapshotState.PUBLISHED
        }

    def _versions(self, corpus: str) -> list[_Version]:
        """Every version of a document that a readable snapshot sees, and which snapshots these are."""
        rows: dict[tuple[str, int], DocumentRow] = {}
        seen: dict[tuple[str, int], set[int]] = {}
        for number, lineage in self._readable(corpus).items():
            for row in self._catalog.documents(corpus, lineage):
                key = row.document.id, row.added
                rows[key] = row
                seen.setdefault(key, set()).add(number)
        return [_Version(row, frozenset(seen[key])) for key, row in sorted(rows.items())]

    def _read(
        self,
        versions: Sequence[_Version],
        names: Names,
        home: Home,
        reader: Reader,
        failed: list[_Version],
        altered: list[_Version],
    ) -> Iterator[Placed]:
        """The chunks of each version as they are read; versions that fail, or give something else, are noted."""
        groups: dict[_Key, list[_Version]] = {}
        for version in versions:
            groups.setdefault(_key(version.row.document), []).append(version)
        self._progress(Stage.PARSE, 0, len(groups))

        def orders() -> Iterator[Order]:
            for key, several in groups.items():
                try:
                    source = names.source(home.file(several[0].row.file), several[0].row.document)
                except DocumentError:
                    failed.extend(several)
                    continue
                corpus = self._catalog.corpus(several[0].row.document.corpus)
                yield Order(source, key.id, key.path, key.sha256, key.metadata, corpus)

        for done, (order, result) in enumerate(reader.read(orders()), start=1):
            self._check()
            for version in groups[_Key(order.id, order.path, order.sha256, order.metadata)]:
                if isinstance(result, DocumentError):
                    failed.append(version)
                    continue
                if not self._as_before(version, result):
                    altered.append(version)
                self._total += len(result.chunks)
                for chunk in result.chunks:
                    yield Placed(chunk, version.row.added, version.row.removed)
            self._progress(Stage.PARSE, done, len(groups))

    def _as_before(self, version: _Version, reading: Reading) -> bool:
        """Whether a version was read as it had been; its articles may not have been noted at that time."""
        row = version.row
        if len(reading.chunks) != row.chunks:
            return False
        lineage = self._catalog.lineage(row.document.corpus, min(version.snapshots))
        noted = self._catalog.outlines(row.document.corpus, lineage, [row.document.id]).get(row.document.id)
        return noted is None or noted == articles(reading.chunks)

    def _put(self, corpus: str, window: Sequence[Placed], held: _Held) -> None:
        """Write chunks with their marks, embedding those of whose text the new index has no vector."""
        self._check()
        known = {one.chunk.id for one in window if held.has_vector(one.chunk)}
        stored = self._target.vectors(corpus, known) if known else {}
        vectors: dict[str, Vector] = {
            one.chunk.search_text: stored[one.chunk.id] for one in window if one.chunk.id in stored
        }
        missing = {one.chunk.search_text for one in window} - vectors.keys()
        texts = sorted(missing, key=lambda text: (-len(text), text))
        self._progress(Stage.EMBED, self._done, self._total)
        for start in range(0, len(texts), SLICE):
            self._check()
            part = texts[start : start + SLICE]
            vectors |= zip(part, self._embedder.embed_passages(part), strict=True)
            self._embedded += len(part)
        points = [
            Marked(
                Point(one.chunk, vectors[one.chunk.search_text], lexical.chunk_vector(one.chunk)),
                one.added,
                one.removed,
            )
            for one in window
        ]
        self._target.restore(corpus, points)
        self._done += len(window)
        self._progress(Stage.STAGE, self._done, self._total)

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled(
                "the rebuild was cancelled; the live index is as it was",
                "reconstruction annulée ; l'index en service n'a pas changé",
            )


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk with the marks it gets, before it has a vector."""

    chunk: Chunk
    added: int
    removed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a document, and the readable snapshots that see it."""

    row: DocumentRow
    snapshots: frozenset[int]

    @property
    def id(self) -> str:
        return self.row.document.id


@dataclass(frozen=True, slots=True)
class _Key:
    """What decides what is read: versions that have all of it in common are read once."""

    id: str
    path: str
    sha256: str
    metadata: Metadata


def _key(document: Document) -> _Key:
    # What the file itself said of these is in the catalog by now; said beside it, it stays as it was.
    metadata = Metadata(
        id=document.id,
        title=document.title,
        language=document.language,
        norm_rank=document.norm_rank,
        valid_from=document.validity.start,
        valid_to=document.validity.end,
        groups=document.groups,
        clearance=document.clearance,
    )
    return _Key(document.id, document.source, document.sha256, metadata)


def _seen(stored: Stored, lineages: Iterable[frozenset[int]]) -> bool:
    return any(stored.added in lineage and lineage.isdisjoint(stored.removed) for lineage in lineages)


def _state(stored: Stored) -> bytes:
    """A digest of all that is stored of a point but its vectors."""
    chunk = stored.chunk
    said = (replace(chunk, groups=frozenset()), sorted(chunk.groups), stored.added, stored.removed)
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest()


def _windows(chunks: Iterable[Placed]) -> Iterator[list[Placed]]:
    window: list[Placed] = []
    for one in chunks:
        window.append(one)
        if len(window) >= WINDOW:
            yield window
            window = []
    if window:
        yield window


def _unlike(corpus: str) -> StoreError:
    return StoreError(
        f"the new index of `{corpus}` is not like the live one, which stays; something else writes to it: stop that, "
        "and run the rebuild again",
        f"le nouvel index de « {corpus} » diffère de celui en service, qui reste ; un autre programme y écrit : "
        "arrêtez-le et relancez",
        code="rebuild_unlike",
    )


def _incomplete(corpus: str, documents: Collection[str]) -> Incomplete:
    return Incomplete(
        f"the live index lacks {len(documents)} published documents of `{corpus}`; stop the server and run "
        "`vauban ingest rebuild`, which then reads the kept files",
        f"il manque {len(documents)} documents publiés de « {corpus} » à l'index en service ; arrêtez le serveur et "
        "lancez « vauban ingest rebuild », qui relira les fichiers conservés",
    )


def _lost(corpus: str, documents: Sequence[str]) -> StoreError:
    some = ", ".join(sorted(documents)[:NAMED]) + (", …" if len(documents) > NAMED else "")
    return StoreError(
        f"{len(documents)} published documents of `{corpus}` cannot be read again from the kept files ({some}); "
        "restore the home folder from a backup, or start with an empty one and sync again",
        f"{len(documents)} documents publiés de « {corpus} » ne se relisent pas depuis les fichiers conservés ({some}) "
        "; restaurez le dossier depuis une sauvegarde, ou repartez d'un dossier vide et relancez les synchronisations",
        code="sources_missing",
    )
