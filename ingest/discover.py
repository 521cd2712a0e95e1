"""Which files a folder holds, their SHA-256, and what is said about them: the first stage of a sync.

Nothing here stops for one file: what cannot be taken in is a row with its reason.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ingest import manifest
from ingest.manifest import CORPUS_FILE, FRONT_MATTER_SUFFIXES, LONGEST_FRONT_MATTER, SIDECAR, Metadata
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.home import blocks
from rag.types import Rejected

LARGEST_SIDECAR: Final = 1 << 20
"""Bytes of a sidecar; what is larger is something else under its name."""
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
    """All of a folder, in the order of the paths. ``closed`` are the folders in it that could not be listed."""

    files: tuple[Found, ...]
    rejected: tuple[Rejected, ...] = ()
    closed: tuple[str, ...] = ()

    def failed(self, path: str) -> bool:
        """Whether the file at ``path`` may well exist but could not be looked at."""
        return any(path == row.path for row in self.rejected) or any(
            path.startswith(f"{folder}/") for folder in self.closed
        )


def discover(folder: Path, corpus: str, seen: Callable[[int], None] = lambda count: None) -> Discovery:
    """Everything that ``folder`` holds, its subfolders included; ``seen`` is told the count as it grows.

    Hidden files, ``corpus.toml`` and sidecars are no documents. A link that leads out of the folder is rejected,
    one to another document of the folder is only another name for it.
    """
    root = folder.resolve()
    walk = _Walk(root)
    entries = sorted(walk.entries(root), key=lambda entry: entry[0])
    sidecars = {path: file for path, file in entries if path.endswith(SIDECAR)}
    documents = {
        path: file
        for path, file in entries
        if not path.endswith(SIDECAR) and PurePosixPath(path).name.casefold() != CORPUS_FILE
    }
    refused = {row.path for row in walk.rejected}
    stems = Counter(_stem(path) for path in documents)
    used: set[str] = set()
    found: list[Found] = []
    rejected = list(walk.rejected)
    for path, file in documents.items():
        names = [name for name in _beside(path) if name in sidecars or name in refused]
        used.update(names)
        try:
            beside = _one(path, names, shared=stems[_stem(path)] > 1)
            if beside in refused:
                raise manifest.bad_metadata(
                    f"its sidecar {beside} cannot be used", f"sa fiche {beside} est inutilisable"
                )
            found.append(_found(path, file, corpus, None if beside is None else sidecars[beside]))
        except DocumentError as error:
            rejected.append(rejection(path, error))
        seen(len(found) + len(rejected))
    rejected += [
        Rejected(name, RejectReason.BAD_METADATA, "no document beside this sidecar has its name")
        for name in sidecars
        if name not in used
    ]
    return Discovery(tuple(found), tuple(sorted(rejected, key=lambda row: row.path)), tuple(sorted(walk.closed)))


def rejection(path: str, error: DocumentError) -> Rejected:
    """The row of a file that was not taken in."""
    return Rejected(path, error.reason, error.en)


class _Walk:
    """One pass over a folder: the regular files it holds, by relative path, and what could not be entered."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: set[str] = set()
        self._links: list[tuple[str, Path]] = []
        self._real: set[Path] = set()
        self.rejected: list[Rejected] = []
        self.closed: list[str] = []

    def entries(self, root: Path) -> Iterator[tuple[str, Path]]:
        for path, file in self._below(root, ""):
            self._real.add(file)
            yield path, file
        for path, target in self._links:
            # A file that stands in the folder by itself, too, is taken in once, under its own name.
            if target not in self._real:
                self._real.add(target)
                yield path, target

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


def _beside(path: str) -> dict[str, None]:
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


def _found(path: str, file: Path, corpus: str, sidecar: Path | None) -> Found:
    """The file with its digest and everything that is said about it.

    Raises:
        DocumentError: it or its sidecar cannot be read, or the metadata are wrong.
    """
    digest = hashlib.sha256()
    head = b""
    for block in blocks(file):
        digest.update(block)
        head = head or block[:LONGEST_FRONT_MATTER]
    own = Metadata()
    if PurePosixPath(path).suffix.lower() in FRONT_MATTER_SUFFIXES:
        own = manifest.front_matter(head)
    beside = manifest.sidecar(_small(sidecar), corpus) if sidecar else Metadata()
    return Found(path, Source(file), digest.hexdigest(), beside.over(own), named=beside.id is not None)


def _small(file: Path) -> bytes:
    content = b""
    for block in blocks(file):
        content += block
        if len(content) > LARGEST_SIDECAR:
            raise manifest.bad_metadata(
                "the sidecar is too large to be one", "la fiche est trop grosse pour en être une"
            )
    return content
