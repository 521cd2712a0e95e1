"""Corpora that are fed document by document: a managed folder for each, changed and published as one step.

The folder stands in the home and is synced as any other, so that comparing, reading in the sandbox, staging,
publishing and rolling back are what they are everywhere. A change is noted beside the folder before anything moves;
one that does not end in a publication is undone, at once or when the next process looks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ingest import manifest
from ingest.archives import may_be_archive
from ingest.discover import rejection
from ingest.managed import check_fed, folder_of
from ingest.manifest import CORPUS_FILE, SIDECAR
from ingest.pipeline import Parts, Progress, SyncReport, ended, publish, recorded
from rag.catalog import Catalog, DocumentRow, DocumentState
from rag.errors import Conflict, DocumentError, NotFound, OperatorError, RejectReason, StoreError
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
    rows = catalog.documents(upload.corpus, catalog.published(upload.corpus))
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


# --- one change -----------------------------------------------------------------------------------------


def take_in(upload: Upload, parts: Parts, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None:
    """Make one change and publish it, or leave everything as it was; the row of its run says which.

    Raises:
        VaubanError: as :func:`ingest.pipeline.sync` and :func:`check` do; nothing was changed.
    """
    home, catalog = parts.home, parts.catalog
    catalog.start_run(run)
    try:
        with recorded(catalog, run), catalog.writing_corpus(upload.corpus):
            # Others may have come before since it was accepted.
            upload = check(upload, home, catalog)
            folder = folder_of(home, upload.corpus)
            change = _Change(folder, home.uploads / CHANGES / upload.corpus, upload.corpus)
            change.settle(catalog, parts.store)
            if not upload.resume:
                _check_whole(folder, catalog, upload.corpus)
            archive = None if upload.file is None else _archive(upload.file, parts)
            rejected: Rejected | None
            if archive is not None:
                rejected = rejection(upload.name, archive)
            else:
                report, outcomes, rejected = _published_with(upload, change, parts, progress, cancelled)
        if rejected is None:
            ended(catalog, run, report, outcomes)
        else:
            catalog.end_run(run, RunState.FAILED, error=rejected.reason, detail=rejected.detail, rejected=[rejected])
    finally:
        if upload.file is not None:
            upload.file.unlink(missing_ok=True)


def _published_with(
    upload: Upload, change: _Change, parts: Parts, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[SyncReport, list[Outcome], Rejected | None]:
    """What publishing the folder with the change did; why its file was not taken in, and then it is undone."""
    stale = _stale(parts.catalog, upload.corpus)
    ours = {upload.name, upload.name + SIDECAR}
    with change.made(upload, parts.catalog, parts.store):
        report, outcomes = publish(change.folder, upload.corpus, parts, _AS_THEY_STAND, progress, cancelled)
        refused = next((row for row in report.rejected if row.path in ours), None)
        if refused is not None:
            change.undo(parts.catalog, parts.store)
            parts.catalog.mark(upload.corpus, stale)
            refused = replace(refused, path=upload.name)
    return report, outcomes, refused


def publish_as_they_stand(
    corpus: str, parts: Parts, *, progress: Progress, cancelled: Callable[[], bool], run: str
) -> None:
    """Publish the managed folder of a corpus, also after a rollback."""
    catalog = parts.catalog
    catalog.start_run(run)
    outcomes: list[Outcome] = []
    with recorded(catalog, run), catalog.writing_corpus(corpus):
        folder = check_fed(parts.home, corpus)
        _Change(folder, parts.home.uploads / CHANGES / corpus, corpus).settle(catalog, parts.store)
        report, outcomes = publish(folder, corpus, parts, _AS_THEY_STAND, progress, cancelled)
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


def _stale(catalog: Catalog, corpus: str) -> set[str]:
    rows = catalog.documents(corpus, catalog.published(corpus))
    return {row.document.id for row in rows if row.state is DocumentState.STALE}


@dataclass(frozen=True, slots=True)
class _Change:
    """The change of a managed folder that is noted in the folder ``noted``, where what it replaces is put aside."""

    folder: Path
    noted: Path
    corpus: str

    @contextmanager
    def made(self, upload: Upload, catalog: Catalog, store: VectorStore) -> Iterator[None]:
        """The folder with the change; when the block fails, as it was, unless the change was published."""
        try:
            with translated(self.folder):
                self._make(upload, catalog)
            yield
        except BaseException:  # whatever happens, no change stays half-made; it is raised again
            with suppress(OperatorError):  # the next to look will settle it
                self.settle(catalog, store)
            raise
        with translated(self.folder):
            self._forget()

    def _make(self, upload: Upload, catalog: Catalog) -> None:
        row = _published(catalog, upload.corpus, upload.document)
        new = [] if upload.file is None else [upload.name + SIDECAR, upload.name]
        old = [] if row is None else [row.document.source, row.document.source + SIDECAR]
        # A file under the new name that is not published was taken back by a rollback.
        before = [name for name in dict.fromkeys((*old, *new)) if (self.folder / name).exists()]
        lineage = catalog.published(upload.corpus)
        note = {
            "document": upload.document,
            "snapshot": lineage[0] if lineage else None,
            "removed": upload.file is None,
            "audience": None if row is None else [sorted(row.document.groups), row.document.clearance],
            "before": before,
            "after": new,
        }
        self.noted.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.noted / _NOTE, json.dumps(note).encode())
        for name in before:
            (self.folder / name).replace(self._aside(name))
        if upload.file is not None:
            said = manifest.sidecar_of(upload.document, upload.said, upload.corpus)
            write_atomically(self.folder / (upload.name + SIDECAR), said.encode())
            upload.file.replace(self.folder / upload.name)
        sync_folder(self.folder)

    def settle(self, catalog: Catalog, store: VectorStore) -> None:
        """Keep a change that was published, and undo one that was not; nothing where none is under way."""
        note = self._note()
        if note is None:
            self._forget()
            return
        row = _published(catalog, self.corpus, str(note["document"]))
        lineage = catalog.published(self.corpus)
        newest = lineage[0] if lineage else None
        done = row is None if note["removed"] else row is not None and row.added == newest
        with translated(self.folder):
            if done and newest != note["snapshot"]:
                self._forget()
            else:
                self.undo(catalog, store)

    def undo(self, catalog: Catalog, store: VectorStore) -> None:
        """The folder as it was before the change, and who may read the document: that acts before it is read."""
        note = self._note()
        if note is not None:
            before, after = note["before"], note["after"]
            for name in after:
                if name not in before:
                    (self.folder / name).unlink(missing_ok=True)
            for name in before:
                if self._aside(name).exists():
                    self._aside(name).replace(self.folder / name)
            sync_folder(self.folder)
            if note["audience"] is not None:
                groups, clearance = note["audience"]
                store.restrict(self.corpus, note["document"], groups, clearance)
                catalog.restrict(self.corpus, note["document"], groups, clearance)
        self._forget()

    def _note(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.noted / _NOTE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        assert isinstance(found, dict)
        return found

    def _aside(self, name: str) -> Path:
        return self.noted / f"before {name}"

    def _forget(self) -> None:
        # The note first: without it, what lies beside means nothing.
        (self.noted / _NOTE).unlink(missing_ok=True)
        shutil.rmtree(self.noted, ignore_errors=True)
