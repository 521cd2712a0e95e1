"""Corpora that are fed document by document: a managed folder for each, changed and published as one step.

The folder stands in the home and is synced as any other, so that comparing, reading in the sandbox, staging,
publishing and rolling back are what they are everywhere. Changes are noted beside the folder before anything moves;
one that does not end in a publication is undone, at once or when the next process looks. Once the folder is known to
equal what is published, only what a change touches is looked at.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ingest import manifest
from ingest.archives import may_be_archive
from ingest.compare import Touched
from ingest.difference import Action
from ingest.discover import rejection
from ingest.managed import check_fed, folder_of
from ingest.manifest import CORPUS_FILE, SIDECAR
from ingest.pipeline import Parts, Progress, SyncReport, ended, publish, recorded
from rag.catalog import Catalog, DocumentRow
from rag.errors import (
    Cancelled,
    Conflict,
    DiskFull,
    DocumentError,
    NotFound,
    OperatorError,
    RejectReason,
    StoreError,
    VaubanError,
)
from rag.filenames import checked
from rag.home import INCOMING, Home, sync_folder, translated, write_atomically
from rag.seams import VectorStore
from rag.types import Corpus, Outcome, Rejected, RunState, SyncOptions, Upload, UploadKind

CHANGES: Final = ".changes"
"""Below the uploads: of each corpus, the change under way, and what stood where it goes."""
_HEAD: Final = 1024
"""Bytes of a file that tell whether it may be an archive."""
_NOTE: Final = "change.json"
_AS_THEY_STAND: Final = SyncOptions(confirm_removals=True)

_log = logging.getLogger(__name__)


def declare(home: Home, catalog: Catalog, corpus: Corpus, *, new: bool) -> None:
    """Write what is said of a corpus into its managed folder and into the catalog, whence it acts at once."""
    text = manifest.declaration(corpus)
    folder = folder_of(home, corpus.name)
    if new:
        if folder.exists() or any(one.name == corpus.name for one in catalog.corpora()):
            raise Conflict(
                f"there is a corpus `{corpus.name}` already",
                f"le corpus « {corpus.name} » existe déjà",
                code="corpus_exists",
            )
        with translated(folder):
            folder.mkdir(mode=0o700, parents=True)
    else:
        check_fed(home, corpus.name)
    with translated(folder):
        write_atomically(folder / CORPUS_FILE, text.encode())
    catalog.declare(corpus)


def tidy(home: Home, catalog: Catalog, store: VectorStore) -> None:
    """At the start of a service: nobody sends what is half received, and no change is under way any more."""
    if not home.uploads.is_dir():
        return
    with translated(home.uploads):
        shutil.rmtree(home.uploads / INCOMING, ignore_errors=True)
        for noted in sorted((home.uploads / CHANGES).glob("*")):
            _Change(folder_of(home, noted.name), noted, noted.name).settle(catalog, store)


def check(upload: Upload, home: Home, catalog: Catalog) -> Upload:
    """The change with its file name checked, when nothing speaks against it as things stand.

    Raises:
        BadRequest, DocumentError, Conflict, NotFound: see :meth:`rag.seams.Inbox.upload`.
    """
    check_fed(home, upload.corpus)
    if upload.kind is not UploadKind.REMOVE:
        upload = replace(upload, name=checked(upload.name))
        manifest.sidecar_of(upload.document, upload.said, upload.corpus)
    if catalog.held(upload.corpus) and not upload.resume:
        raise Conflict(
            f"`{upload.corpus}` was rolled back: what was taken back would be published again with this change; "
            "say `resume=true` if that is meant",
            f"« {upload.corpus} » est revenu à un état antérieur : ce changement publierait de nouveau ce qui a été "
            "retiré ; indiquez « resume=true » si c'est voulu",
            code="held_after_rollback",
        )
    _check_document(upload, catalog)
    if upload.kind is not UploadKind.REMOVE:
        _check_name(upload, catalog)
    return upload


def _check_document(upload: Upload, catalog: Catalog) -> None:
    row = _published(catalog, upload.corpus, upload.document)
    if upload.kind is UploadKind.ADD:
        if row is not None:
            raise Conflict(
                f"there is a document `{upload.document}` already; replace it with PUT, or send another `id`",
                f"le document « {upload.document} » existe déjà ; remplacez-le par PUT, ou donnez un autre « id »",
                code="document_exists",
            )
    elif row is None:
        raise NotFound(
            f"there is no document `{upload.document}` that you may see",
            f"il n'y a pas de document « {upload.document} » que vous puissiez voir",
            code="unknown_document",
        )
    elif upload.expected not in {"", row.document.sha256}:
        raise Conflict(
            f"the document `{upload.document}` was changed meanwhile",
            f"le document « {upload.document} » a été modifié entre-temps",
            code="changed_meanwhile",
        )


def _check_name(upload: Upload, catalog: Catalog) -> None:
    """A name may be taken by another document; and one that is another's without its ending has the same sidecar."""
    rows = catalog.called(upload.corpus, catalog.published(upload.corpus), upload.name)
    stems = {upload.name, Path(upload.name).stem}
    for row in rows:
        other = row.document.source
        if row.document.id != upload.document and (other in stems or Path(other).stem == upload.name):
            raise Conflict(
                # Not by which: it may be one that whoever sends this may not read.
                f"the file name {upload.name} is taken by another document, or too like that of one; rename the file",
                f"le nom {upload.name} est pris par un autre document, ou trop proche du sien ; renommez le fichier",
                code="name_taken",
            )


def _published(catalog: Catalog, corpus: str, document: str) -> DocumentRow | None:
    lineage = catalog.published(corpus)
    return catalog.document(corpus, document, lineage) if lineage else None


# --- changes made together ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A change, the row of its run, and whether somebody has cancelled it."""

    upload: Upload
    run: str
    cancelled: Callable[[], bool] = lambda: False


class Settled:
    """Which snapshot each managed folder is known to equal, so that a change need not look at all the rest of it.

    Nobody else writes these folders while this process owns the home; after a start nothing is known of any. Safe
    from many threads, as long as one at a time writes a corpus.
    """

    def __init__(self) -> None:
        self._snapshots: dict[str, int | None] = {}

    def knows(self, corpus: str, catalog: Catalog) -> bool:
        """Whether what is published now is what the folder holds."""
        lineage = catalog.published(corpus)
        return bool(lineage) and self._snapshots.get(corpus) == lineage[0]

    def note(self, corpus: str, snapshot: int | None) -> None:
        """The folder equals a snapshot; ``None`` where that is in doubt."""
        self._snapshots[corpus] = snapshot


def take_in(asked: Sequence[Asked], parts: Parts, *, progress: Progress, settled: Settled | None = None) -> None:
    """Make changes to one corpus in one publication; each comes whole or not at all, and the row of its run says which.

    They concern different documents and file names, so that one which cannot be made leaves the others as they are.

    Raises:
        StoreError, DiskFull: of those whose rows had not said their end, nothing was changed, and they do now.
    """
    catalog, corpus = parts.catalog, asked[0].upload.corpus
    together = _Together(corpus, parts, progress, settled or Settled(), asked)
    try:
        for one in asked:
            catalog.start_run(one.run)
        with catalog.writing_corpus(corpus):
            together.make()
    except VaubanError as error:
        for one in together.left:
            _failed(catalog, one, error)
        raise
    finally:
        for one in asked:
            if one.upload.file is not None:
                one.upload.file.unlink(missing_ok=True)


class _Together:
    """The changes of one call of :func:`take_in`; ``left`` are those whose rows have not said their end."""

    def __init__(self, corpus: str, parts: Parts, progress: Progress, settled: Settled, asked: Sequence[Asked]) -> None:
        self._corpus = corpus
        self._parts = parts
        self._catalog = parts.catalog
        self._progress = progress
        self._settled = settled
        self._change = _Change(folder_of(parts.home, corpus), parts.home.uploads / CHANGES / corpus, corpus)
        self.left = list(asked)

    def make(self) -> None:
        self._change.settle(self._catalog, self._parts.store)
        self._publish([fit for one in tuple(self.left) if (fit := self._fit(one)) is not None])

    def _fit(self, one: Asked) -> Asked | None:
        """A change against which nothing speaks when its turn has come: others may have come before."""
        try:
            upload = check(one.upload, self._parts.home, self._catalog)
            if not upload.resume and not self._settled.knows(self._corpus, self._catalog):
                _check_whole(self._change.folder, self._catalog, self._corpus)
        except VaubanError as error:
            self._fail(one, error)
            return None
        archive = None if upload.file is None else _archive(upload.file, self._parts)
        if archive is not None:
            self._refuse(one, rejection(upload.name, archive))
            return None
        return replace(one, upload=upload)

    def _publish(self, asked: Sequence[Asked]) -> None:
        """Publish changes in one step; where one of them stands in the way of that, without it."""
        if not asked:
            return
        try:
            report, outcomes, refused = self._published(asked)
        except (StoreError, DiskFull):  # whichever changes they are
            raise
        except Cancelled as error:
            gone = [one for one in asked if one.cancelled()] or asked
            for one in gone:
                self._fail(one, error)
            self._publish([one for one in asked if one not in gone])
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one of them is not to be the others' fault
            if len(asked) == 1:
                self._fail(asked[0], error)
            for one in asked if len(asked) > 1 else ():
                self._publish([one])
        else:
            for number, one in enumerate(asked):
                if one.run in refused:
                    self._refuse(one, refused[one.run])
                else:
                    others = [] if number else _others(outcomes, asked)
                    mine = [row for row in outcomes if row.document == one.upload.document]
                    self._end(one)
                    ended(self._catalog, one.run, _share(report, mine), [*mine, *others])

    def _published(self, asked: Sequence[Asked]) -> tuple[SyncReport, list[Outcome], dict[str, Rejected]]:
        """What publishing the folder with the changes did; by run, whose file was not taken in: it is undone."""
        catalog, corpus, change = self._catalog, self._corpus, self._change
        known = self._settled.knows(corpus, catalog) and not any(one.upload.resume for one in asked)
        self._settled.note(corpus, None)
        stale = catalog.stale(corpus, catalog.published(corpus))
        refused: dict[str, Rejected] = {}

        def cancelled() -> bool:
            return any(one.cancelled() for one in asked)

        with change.made([one.upload for one in asked], catalog, self._parts.store) as touched:
            report, outcomes = publish(
                change.folder,
                corpus,
                self._parts,
                _AS_THEY_STAND,
                self._progress,
                cancelled,
                touched if known else None,
            )
            for one in asked:
                ours = {one.upload.name, one.upload.name + SIDECAR} if one.upload.file else set()
                rejected = next((row for row in report.rejected if row.path in ours), None)
                if rejected is not None:
                    refused[one.run] = replace(rejected, path=one.upload.name)
            if refused:
                documents = {one.upload.document for one in asked if one.run in refused}
                change.undo(catalog, self._parts.store, documents)
                now = catalog.stale(corpus, catalog.published(corpus))
                catalog.mark(corpus, (now - documents) | (stale & documents))
        self._settled.note(corpus, report.snapshot)
        return report, outcomes, refused

    def _end(self, one: Asked) -> None:
        self.left = [other for other in self.left if other.run != one.run]

    def _fail(self, one: Asked, error: Exception) -> None:
        self._end(one)
        _failed(self._catalog, one, error)

    def _refuse(self, one: Asked, row: Rejected) -> None:
        self._end(one)
        self._catalog.end_run(one.run, RunState.FAILED, error=row.reason, detail=row.detail, rejected=[row])


def _failed(catalog: Catalog, one: Asked, error: Exception) -> None:
    """Note that a change was not made; of what is no error of ours, nothing but its kind: it may quote a document."""
    state = RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED
    code, detail = (
        (error.code, error.en) if isinstance(error, VaubanError) else (type(error).__name__, "a defect of Vauban")
    )
    _log.warning("change not made", extra={"run": one.run, "error": code})
    with suppress(OperatorError):  # on a full disk even this note may find no room
        catalog.end_run(one.run, state, error=code, detail=detail)


def _placed(file: Path, target: Path) -> None:
    """The same bytes under another name; the file stays: a change that failed with others is tried again alone."""
    try:
        os.link(file, target)
    except OSError:  # not every file system has links
        shutil.copyfile(file, target)


def _others(outcomes: Sequence[Outcome], asked: Sequence[Asked]) -> list[Outcome]:
    """What else a publication did: after a new version of the program, the whole folder is read again."""
    documents = {one.upload.document for one in asked}
    return [row for row in outcomes if row.document not in documents]


def _share(report: SyncReport, mine: Sequence[Outcome]) -> SyncReport:
    """What a publication did to the document of one change; chunks, vectors and seconds are of all of it."""
    counts = Counter(row.action for row in mine)
    articles: Counter[str] = Counter()
    for row in mine:
        articles.update(row.articles)
    changed = counts[Action.CHANGED] + counts[Action.MOVED]
    return replace(
        report,
        added=counts[Action.ADDED],
        changed=changed,
        moved=counts[Action.MOVED],
        removed=counts[Action.REMOVED],
        unchanged=report.added + report.changed + report.unchanged - counts[Action.ADDED] - changed,
        articles=articles,
        rejected=(),
    )


def publish_as_they_stand(
    corpus: str,
    parts: Parts,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    run: str,
    settled: Settled | None = None,
) -> None:
    """Publish the managed folder of a corpus, also after a rollback."""
    settled = settled or Settled()
    catalog = parts.catalog
    catalog.start_run(run)
    outcomes: list[Outcome] = []
    with recorded(catalog, run), catalog.writing_corpus(corpus):
        folder = check_fed(parts.home, corpus)
        _Change(folder, parts.home.uploads / CHANGES / corpus, corpus).settle(catalog, parts.store)
        settled.note(corpus, None)
        report, outcomes = publish(folder, corpus, parts, _AS_THEY_STAND, progress, cancelled)
        settled.note(corpus, report.snapshot)
    ended(catalog, run, report, outcomes)


def _check_whole(folder: Path, catalog: Catalog, corpus: str) -> None:
    """A file that was lost is no removal.

    Raises:
        StoreError: the folder lacks a published document.
    """
    rows = catalog.documents(corpus, catalog.published(corpus))
    lost = [row for row in rows if not (folder / row.document.source).is_file()]
    if lost:
        raise StoreError(
            f"{folder} lacks {len(lost)} published documents; restore the home from a backup",
            f"il manque {len(lost)} documents publiés dans {folder} ; restaurez le dossier depuis une sauvegarde",
            code="uploads_missing",
        )


def _archive(file: Path, parts: Parts) -> DocumentError | None:
    """Why a file is not one document, or cannot be told to be one."""
    with file.open("rb") as reading:
        head = reading.read(_HEAD)
    found = None if parts.members is None or not may_be_archive(head) else parts.members(file)
    if found is None or isinstance(found, DocumentError):
        return found
    return DocumentError(
        RejectReason.UNSUPPORTED,
        "an archive; send its documents one by one",
        "c'est une archive ; envoyez ses documents un par un",
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """The changes of a managed folder that are noted in the folder ``noted``, where what they replace is put aside."""

    folder: Path
    noted: Path
    corpus: str

    @contextmanager
    def made(self, uploads: Sequence[Upload], catalog: Catalog, store: VectorStore) -> Iterator[Touched]:
        """The folder with the changes, and what they touch; when the block fails, as it was, but for what is published.

        ``uploads`` concern different documents and names.
        """
        try:
            with translated(self.folder):
                touched = self._make(uploads, catalog)
            yield touched
        except BaseException:  # whatever happens, no change stays half-made; it is raised again
            with suppress(OperatorError):  # the next to look will settle it
                self.settle(catalog, store)
            raise
        with translated(self.folder):
            self._forget()

    def _make(self, uploads: Sequence[Upload], catalog: Catalog) -> Touched:
        lineage = catalog.published(self.corpus)
        named = {upload.document for upload in uploads}
        rows = {row.document.id: row for row in catalog.documents(self.corpus, lineage, named)} if lineage else {}
        changes = [self._planned(upload, rows.get(upload.document)) for upload in uploads]
        note = {"snapshot": lineage[0] if lineage else None, "changes": changes}
        self.noted.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.noted / _NOTE, json.dumps(note).encode())
        for upload, change in zip(uploads, changes, strict=True):
            for name in change["before"]:
                (self.folder / name).replace(self._aside(name))
            if upload.file is not None:
                said = manifest.sidecar_of(upload.document, upload.said, upload.corpus)
                write_atomically(self.folder / (upload.name + SIDECAR), said.encode())
                _placed(upload.file, self.folder / upload.name)
        sync_folder(self.folder)
        names = {name for change in changes for name in (*change["before"], *change["after"])}
        return Touched(frozenset(names), frozenset(named))

    def _planned(self, upload: Upload, row: DocumentRow | None) -> dict[str, Any]:
        new = [] if upload.file is None else [upload.name + SIDECAR, upload.name]
        old = [] if row is None else [row.document.source, row.document.source + SIDECAR]
        # A file under the new name that is not published was taken back by a rollback.
        before = [name for name in dict.fromkeys((*old, *new)) if (self.folder / name).exists()]
        return {
            "document": upload.document,
            "removed": upload.file is None,
            "audience": None if row is None else [sorted(row.document.groups), row.document.clearance],
            "before": before,
            "after": new,
        }

    def settle(self, catalog: Catalog, store: VectorStore) -> None:
        """Keep of the changes what was published, and undo what was not; nothing where none is under way."""
        note = self._note()
        if note is None:
            self._forget()
            return
        lineage = catalog.published(self.corpus)
        newest = lineage[0] if lineage else None
        undone = set()
        for change in note["changes"]:
            row = _published(catalog, self.corpus, str(change["document"]))
            done = row is None if change["removed"] else row is not None and row.added == newest
            if not done or newest == note["snapshot"]:
                undone.add(str(change["document"]))
        with translated(self.folder):
            self.undo(catalog, store, undone)
            self._forget()

    def undo(self, catalog: Catalog, store: VectorStore, documents: Collection[str]) -> None:
        """The folder without these changes, and who may read the documents: that acts before they are read.

        May be done again; the note stays until the others are settled.
        """
        note = self._note() or {"changes": []}
        for change in note["changes"]:
            if change["document"] not in documents:
                continue
            for name in change["after"]:
                if name not in change["before"]:
                    (self.folder / name).unlink(missing_ok=True)
            for name in change["before"]:
                if self._aside(name).exists():
                    self._aside(name).replace(self.folder / name)
            sync_folder(self.folder)
            if change["audience"] is not None:
                groups, clearance = change["audience"]
                store.restrict(self.corpus, change["document"], groups, clearance)
                catalog.restrict(self.corpus, change["document"], groups, clearance)

    def _note(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.noted / _NOTE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        assert isinstance(found, dict)
        # Before changes were made together, a note was that of the only one.
        return found if "changes" in found else {"snapshot": found["snapshot"], "changes": [found]}

    def _aside(self, name: str) -> Path:
        return self.noted / f"before {name}"

    def _forget(self) -> None:
        # The note first: without it, what lies beside means nothing.
        (self.noted / _NOTE).unlink(missing_ok=True)
        shutil.rmtree(self.noted, ignore_errors=True)
