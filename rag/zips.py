"""ZIP archives that nobody vouches for: which members may be read, and their bytes, a block at a time.

A member that is a trick, or that could be two things at once, is refused with its reason; the others are not touched.
Nothing is ever written to where a member's name says.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from rag.errors import DocumentError, RejectReason

MOST_MEMBERS: Final = 50_000
"""Members of an archive, those of archives inside it included; the largest code of French law has some 40,000 files."""
HIGHEST_RATIO: Final = 200
"""Expanded over packed size; text packs to a tenth or so, never to a two-hundredth."""
RATIO_FLOOR: Final = 4 * 1024 * 1024
"""Bytes below which no ratio is suspicious."""
LONGEST_NAME: Final = 1_000
"""Characters of a member's name; file systems stop earlier."""
_BLOCK: Final = 1 << 20
_LOCAL_HEADER: Final = 30
"""Bytes of the header before each member's data, its name and extra fields not counted."""
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""What can be expanded a little at a time; the other methods hand over all that a piece expands to."""
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its name with ``/`` between its parts (NFC), its expanded size, and why it may not be read."""

    name: str
    size: int
    info: zipfile.ZipInfo
    refused: DocumentError | None = None

    @property
    def hidden(self) -> bool:
        """Whether it is no document by its name: hidden, or what a system left beside the documents."""
        return any(part.startswith((".", "~$")) or part == "__MACOSX" for part in self.name.split("/"))


class Archive:
    """An open archive; made by :func:`opened`. ``entries`` are its files in their order, without the folders."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.entries = _entries(file)
        self._by_name = {entry.name: entry for entry in self.entries}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    def below(self, folder: str) -> list[Entry]:
        """The members of a folder of the archive that may be read and are not hidden, by name."""
        found = [entry for entry in self.entries if entry.name.startswith(f"{folder}/")]
        return sorted(
            (entry for entry in found if entry.refused is None and not entry.hidden), key=lambda entry: entry.name
        )

    def find(self, name: str) -> Entry | None:
        return self._by_name.get(name)

    def blocks(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a member, a block at a time, never more than its size.

        Raises:
            DocumentError: it may not be read, or it is broken.
        """
        if entry.refused is not None:
            raise entry.refused
        with _translated(), self._file.open(entry.info) as reading:
            while block := reading.read(_BLOCK):
                yield block

    def read(self, entry: Entry) -> bytes:
        """All bytes of a member; see :meth:`blocks`."""
        return b"".join(self.blocks(entry))


@contextmanager
def opened(path: Path, within: Sequence[str], spool: Callable[[], IO[bytes]]) -> Iterator[Archive]:
    """The archive ``path``, or the one that is found in it by the names ``within``, one for each level.

    ``spool`` makes a file for the bytes of each archive inside another.

    Raises:
        DocumentError: it is broken or missing, or one on the way to it may not be read.
    """
    with ExitStack() as undo:
        archive = undo.enter_context(_open(path))
        for name in within:
            copy = undo.enter_context(spool())
            for block in archive.blocks(entry_of(archive, name)):
                copy.write(block)
            archive = undo.enter_context(_open(copy))
        yield archive


class LastOpened:
    """The archive that was opened last, kept open for who reads one member after another; not for several threads.

    To open one costs a look at all of its members: done for each of them, that would be quadratic.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._archive: Archive | None = None
        self._undo = ExitStack()

    def archive(self, path: Path, within: Sequence[str], spool: Callable[[], IO[bytes]]) -> Archive:
        """The archive, as :func:`opened` gives it; opened anew when the file is another one now.

        Raises:
            DocumentError: it is broken or missing, or one on the way to it may not be read.
        """
        with _translated():
            status = path.stat()
        key = (path, tuple(within), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._archive is None or key != self._key:
            self.close()
            self._archive = self._undo.enter_context(opened(path, within, spool))
            self._key = key
        return self._archive

    def close(self) -> None:
        self._archive = None
        self._undo.close()


@contextmanager
def inner(content: IO[bytes]) -> Iterator[Archive]:
    """An archive whose bytes are at hand.

    Raises:
        DocumentError: it is broken.
    """
    with _open(content) as archive:
        yield archive


def entry_of(archive: Archive, name: str) -> Entry:
    """The member called ``name``.

    Raises:
        DocumentError: there is none.
    """
    entry = archive.find(name)
    if entry is None:
        raise DocumentError(RejectReason.UNREADABLE, "it is no longer in its archive", "il n'est plus dans son archive")
    return entry


def oversized(entry: Entry, megabytes: int | None = None) -> DocumentError | None:
    """Why a member is too large to be read, if it is: for ``megabytes``, or for what it is packed into."""
    if megabytes is not None and entry.size > megabytes * 1_000_000:
        return DocumentError(
            RejectReason.TOO_LARGE,
            f"it expands to more than {megabytes} MB (setting `file_megabytes`)",
            f"il se déploie à plus de {megabytes} Mo (réglage « file_megabytes »)",
        )
    if entry.size > RATIO_FLOOR and entry.size > HIGHEST_RATIO * max(entry.info.compress_size, 1):
        return DocumentError(
            RejectReason.TOO_LARGE,
            "it would expand far beyond its packed size",
            "il se déploierait bien au-delà de sa taille compressée",
        )
    return None


@contextmanager
def _open(file: Path | IO[bytes]) -> Iterator[Archive]:
    with ExitStack() as undo:
        with _translated():
            reading = undo.enter_context(zipfile.ZipFile(file))
            if len(reading.filelist) > MOST_MEMBERS:
                raise DocumentError(
                    RejectReason.TOO_LARGE,
                    f"the archive holds more than {MOST_MEMBERS} files",
                    f"l'archive contient plus de {MOST_MEMBERS} fichiers",
                )
            archive = Archive(reading)
        yield archive


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise DocumentError(
            RejectReason.CORRUPT, "the archive is broken or cut short", "l'archive est abîmée ou tronquée"
        ) from error
    except OSError as error:
        raise DocumentError(
            RejectReason.UNREADABLE,
            f"cannot be read: {error.strerror or error}",
            f"lecture impossible : {error.strerror or error}",
        ) from error


# --- which members may be read --------------------------------------------------------------------------


def _entries(file: zipfile.ZipFile) -> tuple[Entry, ...]:
    infos = [info for info in file.filelist if not info.filename.endswith("/")]
    overlapping = _overlapping(file)
    named = [(_name(info), info) for info in infos]
    times = Counter(name for name, _ in named)
    return tuple(
        Entry(name, info.file_size, info, _refused(name, info, times[name], overlapping)) for name, info in named
    )


def _name(info: zipfile.ZipInfo) -> str:
    """The name as people see it. Many programs write UTF-8 without saying so; the standard means code page 437."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        raw = name.encode("cp437")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp437")
    name = unicodedata.normalize("NFC", name)
    if not name.startswith("/"):
        name = "/".join(part for part in name.split("/") if part not in {"", "."})
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


def _refused(name: str, info: zipfile.ZipInfo, times: int, overlapping: frozenset[int]) -> DocumentError | None:
    mode = info.external_attr >> 16
    if (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in info.orig_filename
        or _DRIVE.match(name)
        or ".." in name.split("/")
    ):
        return DocumentError(
            RejectReason.OUTSIDE, "its name leads out of the archive", "son nom mène hors de l'archive"
        )
    if stat.S_ISLNK(mode):
        return DocumentError(
            RejectReason.OUTSIDE, "links in archives are not followed", "les liens d'une archive ne sont pas suivis"
        )
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return DocumentError(RejectReason.UNSUPPORTED, "not a regular file", "ce n'est pas un fichier ordinaire")
    if len(name) > LONGEST_NAME:
        return DocumentError(RejectReason.UNREADABLE, "its name is too long", "son nom est trop long")
    if times > 1:
        return DocumentError(
            RejectReason.DUPLICATE_ID,
            "the archive holds this name more than once",
            "l'archive contient ce nom plusieurs fois",
        )
    if info.flag_bits & 0x1:
        return DocumentError(
            RejectReason.PASSWORD, "it is protected by a password", "il est protégé par un mot de passe"
        )
    if info.compress_type not in _METHODS:
        return DocumentError(
            RejectReason.UNSUPPORTED,
            f"compression method {info.compress_type} is not read",
            f"la méthode de compression {info.compress_type} n'est pas prise en charge",
        )
    stretched = info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size
    if info.header_offset in overlapping or stretched:
        return DocumentError(
            RejectReason.CORRUPT,
            "its bytes are those of another member too",
            "ses octets sont aussi ceux d'un autre membre",
        )
    return None


def _overlapping(file: zipfile.ZipFile) -> frozenset[int]:
    """Where members begin that share bytes with another, or with the archive's directory: so bombs are made small."""
    infos = sorted(file.filelist, key=lambda info: info.header_offset)
    found: set[int] = set()
    reached, owner = 0, -1
    for info in infos:
        if info.header_offset < reached:
            found |= {info.header_offset, owner}
        end = info.header_offset + _LOCAL_HEADER + info.compress_size
        if end > file.start_dir:
            found.add(info.header_offset)
        if end > reached:
            reached, owner = end, info.header_offset
    return frozenset(found)
