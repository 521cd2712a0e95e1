"""Kept source files under the names that their documents had, for whoever reads them again.

A home keeps files by their SHA-256, without a name; but readers look at names where a content may be two things.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from ingest.source import Source
from rag import textfolders, zips
from rag.errors import DocumentError, RejectReason
from rag.home import Home, translated
from rag.types import Document

_PREFIX: Final = "again-"
LONGEST_NAME: Final = 255
"""Bytes of a file's name that file systems take."""
MOST_EXPANDED: Final = 4 << 30
"""Bytes that the files of one text may take: the largest code of French law takes a tenth of that."""


class Names:
    """A folder of the home where kept files have names; made by :func:`named`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def source(self, file: Path, document: Document) -> Source:
        """``file``, which holds the source of ``document``, under its name; a text of several files as their folder.

        Raises:
            DocumentError: it is gone, or broken.
            DiskFull: there is no room for it.
        """
        self._count += 1
        place = self._folder / str(self._count)
        name = _short(PurePosixPath(document.source).name)
        if not file.is_file():
            raise DocumentError(
                RejectReason.UNREADABLE, "its source file is no longer kept", "son fichier source n'est plus conservé"
            )
        with translated(self._folder):
            if document.media_type == textfolders.MEDIA_TYPE:
                _unpack(file, place / name)
                return Source(place / name)
            place.mkdir()
            try:
                os.link(file, place / name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(file, place / name)
        return Source(place / name)


def _short(name: str) -> str:
    """``name`` where a file system takes it; a member of an archive may be called anything, and only its end counts."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return "document" + "".join(suffix for suffix in PurePosixPath(name).suffixes[-1:] if len(suffix) <= 10)


@contextmanager
def named(home: Home) -> Iterator[Names]:
    """Names for kept files, until the block ends; what a killed run has left of an earlier one goes, too."""
    with translated(home.root):
        for left in home.root.glob(f"{_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home.root))
    try:
        yield Names(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(file: Path, folder: Path) -> None:
    """The files of a text that is kept as one ZIP, in ``folder``."""
    with zips.opened(file, (), tempfile.TemporaryFile) as archive:
        if sum(entry.size for entry in archive.entries) > MOST_EXPANDED:
            raise DocumentError(RejectReason.TOO_LARGE, "the text expands too far", "le texte se déploie trop")
        for entry in archive.entries:
            if not textfolders.belongs(entry.name):
                continue
            target = folder / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as writing:
                for block in archive.blocks(entry):
                    writing.write(block)
