"""ZIP archives as folders: what is in one, archives inside it included, and the bytes of one member.

Runs in the sandbox's workers. What an archive would cost is bounded before it is paid: by the number of its members,
their declared sizes, the ratio of each, how deep archives stand in each other, and the bytes expanded in all.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.manifest import FRONT_MATTER_SUFFIXES, LARGEST_SIDECAR, LONGEST_FRONT_MATTER, SIDECAR
from ingest.parsers import Limits
from ingest.source import Source
from rag import textfolders, zips
from rag.errors import DocumentError, RejectReason
from rag.zips import Archive, Entry

MOST_SAID: Final = 32 * 1024 * 1024
"""Bytes of sidecars and front matter that one archive may hand over."""
MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
_FENCE: Final = b"+++"
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: the way to it, one name per level, its size, its SHA-256, or why it may not be read.

    ``said`` is the content of a sidecar, and the beginning of a text that has front matter. ``closed`` marks an
    archive inside the archive whose members could not be told.
    """

    names: tuple[str, ...]
    size: int = 0
    sha256: str = ""
    said: bytes = b""
    refused: DocumentError | None = None
    closed: bool = False


Members = Callable[[Path], tuple[Member, ...] | DocumentError | None]
"""Tells what an archive holds, ``None`` for a container that is one document; never raises for a file."""


def may_be_archive(head: bytes) -> bool:
    """Whether a file that begins with ``head`` needs a look inside to tell an archive from an office document.

    OpenDocument and EPUB name themselves in their first member, office programs put their list of types first.
    """
    if not head.startswith(MAGIC):
        return False
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return first not in {b"mimetype", b"[Content_Types].xml"}


def members(path: Path, limits: Limits) -> tuple[Member, ...] | None:
    """What the archive ``path`` holds, in the order of the names; ``None`` when it is an office document or a book.

    Raises:
        DocumentError: it cannot be told.
    """
    with zips.opened(path, (), io.BytesIO) as archive:
        if is_document(archive):
            return None
        listing = _Listing(limits)
        listing.read(archive, ())
    if not listing.found:
        raise DocumentError(RejectReason.EMPTY, "the archive holds no document", "l'archive ne contient aucun document")
    return tuple(sorted(listing.found, key=lambda member: member.names))


def is_document(archive: Archive) -> bool:
    """Whether a container is one document: an office file, a book."""
    names = archive.names
    return bool(names & {"mimetype", "[Content_Types].xml"}) or any(name.endswith(".iwa") for name in names)


class _Listing:
    """What has been found in an archive until now, and what that has cost."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expanded = 0
        self._said = 0
        self.found: list[Member] = []

    def read(self, archive: Archive, within: tuple[str, ...]) -> None:
        if len(self.found) + len(archive.entries) > zips.MOST_MEMBERS:
            raise DocumentError(
                RejectReason.TOO_LARGE,
                f"the archive holds more than {zips.MOST_MEMBERS} files",
                f"l'archive contient plus de {zips.MOST_MEMBERS} fichiers",
            )
        for entry in archive.entries:
            if entry.hidden and entry.refused is None:
                continue
            names = (*within, entry.name)
            try:
                self._member(archive, entry, names)
            except DocumentError as error:
                self.found.append(Member(names, entry.size, refused=error))

    def _member(self, archive: Archive, entry: Entry, names: tuple[str, ...]) -> None:
        digest = hashlib.sha256()
        said, head = b"", b""
        content = io.BytesIO()
        kept = False
        for block in self._blocks(archive, entry):
            if not head:
                head = block
                kept = may_be_archive(head)
            digest.update(block)
            if kept:
                content.write(block)
            if len(said) <= LARGEST_SIDECAR:
                said += block
        if kept and self._inside(content, entry, names):
            return
        self.found.append(Member(names, entry.size, digest.hexdigest(), self._worth_saying(entry.name, said)))

    def _blocks(self, archive: Archive, entry: Entry) -> Iterator[bytes]:
        of_text = textfolders.text_of(entry.name) is not None
        most = min(self._limits.megabytes, textfolders.MEGABYTES) if of_text else self._limits.megabytes
        refused = zips.oversized(entry, most)
        if refused is not None:
            raise refused
        if self._expanded + entry.size > self._limits.expanded * 1_000_000:
            raise DocumentError(
                RejectReason.TOO_LARGE,
                f"the archive expands to more than {self._limits.expanded} MB (setting `file_expanded`)",
                f"l'archive se déploie à plus de {self._limits.expanded} Mo (réglage « file_expanded »)",
            )
        for block in archive.blocks(entry):
            self._expanded += len(block)
            yield block

    def _inside(self, content: io.BytesIO, entry: Entry, names: tuple[str, ...]) -> bool:
        """Take in what an archive inside the archive holds; false when it is no archive but a document."""
        before = len(self.found)
        try:
            with zips.inner(content) as archive:
                if is_document(archive):
                    return False
                if len(names) >= self._limits.depth:
                    raise DocumentError(
                        RejectReason.TOO_DEEP,
                        f"archives inside each other beyond {self._limits.depth} (setting `file_depth`)",
                        f"archives imbriquées au-delà de {self._limits.depth} (réglage « file_depth »)",
                    )
                self.read(archive, names)
        except DocumentError as error:
            del self.found[before:]
            self.found.append(Member(names, entry.size, refused=error, closed=True))
        return True

    def _worth_saying(self, name: str, start: bytes) -> bytes:
        last = name.rpartition("/")[2].casefold()
        if last.endswith(SIDECAR):
            said = start[: LARGEST_SIDECAR + 1]
        elif last.endswith(tuple(FRONT_MATTER_SUFFIXES)) and start.removeprefix(_MARK).startswith(_FENCE):
            said = start[:LONGEST_FRONT_MATTER]
        else:
            return b""
        self._said += len(said)
        if self._said > MOST_SAID:
            raise DocumentError(
                RejectReason.TOO_LARGE,
                "the archive holds too many metadata",
                "l'archive contient trop de métadonnées",
            )
        return said


# --- one member -----------------------------------------------------------------------------------------

_LAST: Final = zips.LastOpened()
"""A worker reads many members of one archive in turn."""


def content(source: Source, limits: Limits) -> bytes:
    """The bytes of a member; not for several threads.

    Raises:
        DocumentError: it may not be read, or is no longer there.
    """
    archive = _LAST.archive(source.path, source.member[:-1], io.BytesIO)
    return _bounded(archive, zips.entry_of(archive, source.member[-1]), limits)


def text_files(source: Source, limits: Limits) -> Mapping[str, Callable[[], bytes]] | None:
    """The files of the text that a member is, by their names in it; ``None`` when it is a file and no folder.

    Raises:
        DocumentError: its archive cannot be read.
    """
    archive = _LAST.archive(source.path, source.member[:-1], io.BytesIO)
    folder = source.member[-1]
    if archive.find(folder):
        return None

    def reader(entry: Entry) -> Callable[[], bytes]:
        return lambda: _bounded(archive, entry, limits)

    found = {entry.name[len(folder) + 1 :]: reader(entry) for entry in archive.below(folder)}
    return {name: read for name, read in found.items() if textfolders.belongs(name)} or None


def _bounded(archive: Archive, entry: Entry, limits: Limits) -> bytes:
    refused = zips.oversized(entry, limits.megabytes)
    if refused is not None:
        raise refused
    return archive.read(entry)
