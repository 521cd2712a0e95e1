"""Which documents a folder holds, their SHA-256, and what is said about them: the first stage of a sync.

A document is a file; a folder that is one text of the law; or a member of an archive, which is a folder like another.
Nothing here stops for one file: what cannot be taken in is a row with its reason.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from ingest import manifest
from ingest.archives import Member, Members, may_be_archive
from ingest.manifest import (
    CORPUS_FILE,
    FRONT_MATTER_SUFFIXES,
    LARGEST_SIDECAR,
    LONGEST_FRONT_MATTER,
    SIDECAR,
    Metadata,
)
from ingest.source import Source
from rag import textfolders
from rag.errors import DocumentError, RejectReason
from rag.home import blocks
from rag.types import Rejected

LONGEST_DETAIL: Final = 500
_HEAD: Final = 1024
"""Bytes of a file that tell whether it may be an archive."""
_NO_PART: Final = "it lies in the folder of a text of the law and is none of its files"
_OFFICE_LOCK: Final = "~$"
"""How office programs begin the name of the file by which they lock an open document: hidden, but not by a dot."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document to be: its relative path (NFC, ``/`` between), where its bytes are, their SHA-256, what is said of it.

    ``named`` says that its id was given beside the document, and not by the document itself.
    """

    path: str
    source: Source
    sha256: str
    metadata: Metadata
    named: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """All of a folder, in the order of the paths. ``closed`` are the folders and archives that could not be listed."""

    files: tuple[Found, ...]
    rejected: tuple[Rejected, ...] = ()
    closed: tuple[str, ...] = ()

    def failed(self, path: str) -> bool:
        """Whether the file at ``path`` may well exist but could not be looked at."""
        return any(path == row.path for row in self.rejected) or any(
            path.startswith(f"{folder}/") for folder in self.closed
        )


def discover(
    folder: Path,
    corpus: str,
    seen: Callable[[int], None] = lambda count: None,
    members: Members | None = None,
    only: Collection[str] | None = None,
) -> Discovery:
    """Everything that ``folder`` holds, its subfolders included; ``seen`` is told the count as it grows.

    Hidden files, ``corpus.toml``, the glossary that it names and sidecars are no documents. A link that leads out of
    the folder is rejected, one to another document of the folder is only another name for it. ``members`` looks into
    archives, somewhere safe; without it they are files like others. With ``only``, nothing else is looked at than what
    has one of these names in the folder itself.
    """
    root = folder.resolve()
    walk = _Walk(root, members, only)
    entries = dict(sorted(walk.entries(root)))
    sidecars = {path: entry for path, entry in entries.items() if path.endswith(SIDECAR)}
    glossary = manifest.glossary_file(root)
    documents = {
        path: entry
        for path, entry in entries.items()
        if not path.endswith(SIDECAR) and PurePosixPath(path).name.casefold() != CORPUS_FILE and path != glossary
    }
    refused = {row.path for row in walk.rejected}
    stems = Counter(_stem(path) for path in documents)
    used: set[str] = set()
    found: list[Found] = []
    rejected = list(walk.rejected)
    archives = _Archives(corpus, sidecars, refused)

    def stray(path: str) -> None:
        rejected.append(Rejected(path, RejectReason.UNSUPPORTED, _NO_PART))

    for path, entry in documents.items():
        names = [name for name in sidecar_names(path) if name in sidecars or name in refused]
        used.update(names)
        try:
            beside = _one(path, names, shared=stems[_stem(path)] > 1)
            if beside in refused:
                raise manifest.bad_metadata(
                    f"its sidecar {beside} cannot be used", f"sa fiche {beside} est inutilisable"
                )
            one = _found(path, entry, corpus, None if beside is None else sidecars[beside], stray)
            for archive in reversed(entry.archives):
                one = replace(one, metadata=one.metadata.within(archives.said(archive)))
            found.append(one)
        except DocumentError as error:
            rejected.append(rejection(path, error))
        seen(len(found) + len(rejected))
    used |= archives.used | {name for path in refused for name in sidecar_names(path)}
    rejected += [
        Rejected(name, RejectReason.BAD_METADATA, "no document beside this sidecar has its name")
        for name in sidecars
        if name not in used
    ]
    return Discovery(tuple(found), tuple(sorted(rejected, key=lambda row: row.path)), tuple(sorted(walk.closed)))


def rejection(path: str, error: DocumentError) -> Rejected:
    """The row of a file that was not taken in; the reason may quote the file, which is not to fill a catalog."""
    return Rejected(path, error.reason, error.en[:LONGEST_DETAIL])


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """Something that is a document or a sidecar: where it is, and what the worker told of an archive's member.

    ``archives`` are the paths of that archive and of those in it that hold the member, the outermost first; ``files``
    are the members of a text of the law that stands in it.
    """

    file: Path
    archives: tuple[str, ...] = ()
    member: Member | None = field(default=None, compare=False)
    files: tuple[Member, ...] = field(default=(), compare=False)


class _Walk:
    """One pass over a folder: the documents and sidecars it holds, by relative path, and what could not be entered."""

    def __init__(self, root: Path, members: Members | None, only: Collection[str] | None = None) -> None:
        self._root = root
        self._only = only
        self._members = members
        self._names: set[str] = set()
        self._links: list[tuple[str, Path]] = []
        self._real: set[Path] = set()
        self.rejected: list[Rejected] = []
        self.closed: list[str] = []

    def entries(self, root: Path) -> Iterator[tuple[str, _Entry]]:
        for path, file in self._below(root, ""):
            self._real.add(file)
            yield from self._opened(path, file)
        for path, target in self._links:
            # A file that stands in the folder by itself, too, is taken in once, under its own name.
            if target not in self._real:
                self._real.add(target)
                yield from self._opened(path, target)

    def _opened(self, path: str, file: Path) -> Iterator[tuple[str, _Entry]]:
        """The file itself, or what it holds where it is an archive."""
        found = self._members(file) if self._members is not None and _may_be_archive(file) else None
        if found is None:
            yield path, _Entry(file)
        elif isinstance(found, DocumentError):
            if found.reason is not RejectReason.EMPTY:
                self.closed.append(path)  # what was published from it may well be in it still
            self._reject(path, found.reason, found.en)
        else:
            yield from self._inside(path, file, found)

    def _inside(self, path: str, file: Path, members: Iterable[Member]) -> Iterator[tuple[str, _Entry]]:
        texts: dict[tuple[str, ...], list[Member]] = {}
        for member in members:
            below = "/".join((path, *member.names))
            if member.closed:
                self.closed.append(below)
            within = tuple("/".join((path, *member.names[:depth])) for depth in range(len(member.names)))
            text = textfolders.text_of(member.names[-1])
            if member.refused is not None:
                self._reject(below, member.refused.reason, member.refused.en)
            elif text is None:
                yield from self._once(below, _Entry(file, within, member))
            elif textfolders.belongs(member.names[-1][len(text) + 1 :]):
                texts.setdefault((*member.names[:-1], text), []).append(member)
            else:
                self._reject(below, RejectReason.UNSUPPORTED, _NO_PART)
        for names, files in texts.items():
            within = tuple("/".join((path, *names[:depth])) for depth in range(len(names)))
            yield from self._once("/".join((path, *names)), _Entry(file, within, Member(names), tuple(files)))

    def _once(self, path: str, entry: _Entry) -> Iterator[tuple[str, _Entry]]:
        """The entry, unless a folder and an archive of one name hold files of one name."""
        if path in self._names:
            self._reject(path, RejectReason.DUPLICATE_ID, "another file of the archive has the same path")
            return
        self._names.add(path)
        yield path, entry

    def _below(self, folder: Path, above: str) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.closed.append(above)
            self._reject(above, RejectReason.UNREADABLE, f"the folder cannot be listed: {error.strerror or error}")
            return
        for entry in entries:
            if entry.name.startswith((".", _OFFICE_LOCK)):
                continue
            if self._only is not None and not above and entry.name not in self._only:
                continue
            try:
                name = unicodedata.normalize("NFC", entry.name.encode("utf-8").decode("utf-8"))
            except UnicodeEncodeError:
                shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
                self._reject(_joined(above, shown), RejectReason.UNREADABLE, "the file's name is not UTF-8")
                continue
            path = _joined(above, name)
            if path in self._names:
                self._reject(path, RejectReason.DUPLICATE_ID, "another file has the same name in other code points")
                continue
            self._names.add(path)
            try:
                if entry.is_symlink():
                    self._follow(path, Path(entry.path))
                elif entry.is_dir(follow_symlinks=False) and textfolders.is_text(Path(entry.path)):
                    yield path, Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from self._below(Path(entry.path), path)
                elif entry.is_file(follow_symlinks=False):
                    yield path, Path(entry.path)
                else:
                    self._reject(path, RejectReason.UNSUPPORTED, "not a regular file")
            except OSError as error:
                self._reject(path, RejectReason.UNREADABLE, f"cannot be read: {error.strerror or error}")

    def _follow(self, path: str, link: Path) -> None:
        try:
            target = link.resolve(strict=True)
            mode = target.stat().st_mode
        except (OSError, RuntimeError):
            self._reject(path, RejectReason.UNREADABLE, "the link leads nowhere")
            return
        if not target.is_relative_to(self._root):
            self._reject(path, RejectReason.OUTSIDE, "the link leads out of the folder")
        elif stat.S_ISREG(mode):
            self._links.append((path, target))
        # A link to a folder inside is another name for what is found there anyway.

    def _reject(self, path: str, reason: RejectReason, detail: str) -> None:
        self.rejected.append(Rejected(path, reason, detail))


def _joined(above: str, name: str) -> str:
    return f"{above}/{name}" if above else name


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def sidecar_names(path: str) -> dict[str, None]:
    """The names that a sidecar of the document at ``path`` may have, with its ending and without."""
    return dict.fromkeys((path + SIDECAR, _stem(path) + SIDECAR))


def _one(path: str, names: list[str], *, shared: bool) -> str | None:
    """The sidecar of a document, when it is clear which.

    A document whose sidecar is in doubt is not taken in: without it, more people might read it than may.

    Raises:
        DocumentError: it is not.
    """
    if len(names) > 1:
        raise manifest.bad_metadata(
            "it has two sidecars, with and without its ending; keep one",
            "il a deux fiches, avec et sans son extension ; gardez-en une",
        )
    if shared and names and names[0] != path + SIDECAR:
        raise manifest.bad_metadata(
            f"its sidecar {names[0]} fits several documents; name it {PurePosixPath(path).name}{SIDECAR}",
            f"sa fiche {names[0]} convient à plusieurs documents ; nommez-la {PurePosixPath(path).name}{SIDECAR}",
        )
    return names[0] if names else None


class _Archives:
    """What sidecars say of whole archives: of every document in them, as :meth:`Metadata.within` has it."""

    def __init__(self, corpus: str, sidecars: Mapping[str, _Entry], refused: Collection[str]) -> None:
        self._corpus = corpus
        self._sidecars = sidecars
        self._refused = refused
        self._said: dict[str, Metadata | DocumentError] = {}
        self.used: set[str] = set()

    def said(self, archive: str) -> Metadata:
        """What is said of ``archive``.

        Raises:
            DocumentError: its sidecar is wrong or cannot be read; then nobody knows who may read what is in it.
        """
        if archive not in self._said:
            self._said[archive] = self._read(f"{archive}{SIDECAR}")
        found = self._said[archive]
        if isinstance(found, DocumentError):
            raise found
        return found

    def _read(self, name: str) -> Metadata | DocumentError:
        if name in self._refused:
            return manifest.bad_metadata(
                f"the archive's sidecar {name} cannot be used", f"la fiche {name} de l'archive est inutilisable"
            )
        if name not in self._sidecars:
            return Metadata()
        self.used.add(name)
        try:
            said = manifest.sidecar(_small(self._sidecars[name]), self._corpus)
        except DocumentError as error:
            return error
        return replace(said, id=None, title=None)


def _may_be_archive(file: Path) -> bool:
    try:
        with file.open("rb") as reading:
            return may_be_archive(reading.read(_HEAD))
    except OSError:  # a folder that is one text; or what cannot be read, and is told so when it is hashed
        return False


def _found(path: str, entry: _Entry, corpus: str, sidecar: _Entry | None, stray: Callable[[str], None]) -> Found:
    """The document with its digest and everything that is said about it; ``stray`` is told what is no part of it.

    Raises:
        DocumentError: it or its sidecar cannot be read, or the metadata are wrong.
    """
    own, head = Metadata(), b""
    source = Source(entry.file, () if entry.member is None else entry.member.names)
    if entry.files:
        start = len(source.member[-1]) + 1
        sha256 = textfolders.digest((member.names[-1][start:], member.sha256) for member in entry.files)
        own = Metadata(id=PurePosixPath(path).name)
    elif entry.member is not None:
        sha256, head = entry.member.sha256, entry.member.said
    elif textfolders.is_text(entry.file):
        files = textfolders.files(entry.file)
        for name in files.others:
            stray(f"{path}/{name}")
        sha256 = textfolders.digest((name, _digest(file)[0]) for name, file in files.found)
        own = Metadata(id=entry.file.name)
    else:
        sha256, head = _digest(entry.file)
    if own.id is None and PurePosixPath(path).suffix.lower() in FRONT_MATTER_SUFFIXES:
        own = manifest.front_matter(head)
    beside = manifest.sidecar(_small(sidecar), corpus) if sidecar else Metadata()
    return Found(path, source, sha256, beside.over(own), named=beside.id is not None)


def _digest(file: Path) -> tuple[str, bytes]:
    """The SHA-256 of a file, and its beginning."""
    digest = hashlib.sha256()
    head = b""
    for block in blocks(file):
        digest.update(block)
        head = head or block[:LONGEST_FRONT_MATTER]
    return digest.hexdigest(), head


def _small(sidecar: _Entry) -> bytes:
    content = b""
    for block in blocks(sidecar.file) if sidecar.member is None else (sidecar.member.said,):
        content += block
        if len(content) > LARGEST_SIDECAR:
            raise manifest.bad_metadata(
                "the sidecar is too large to be one", "la fiche est trop grosse pour en être une"
            )
    return content
