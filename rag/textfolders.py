"""Folders that are one document: the files of one text in the open-data dumps of French law.

Such a folder is known by its name and its layout (``…/LEGITEXT000006072050/{texte,section_ta,article}/…``), without
a file being opened. Its digest is over the names and digests of its files, wherever the folder stands.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag.errors import DocumentError, RejectReason

MEDIA_TYPE: Final = "application/vnd.legi+zip"
"""What a text is taken for as a whole: it is kept and served as one ZIP."""
MOST_FILES: Final = 200_000
"""Files of one text; the largest codes have some 40,000."""
MEGABYTES: Final = 64
"""Of one file of a text in an archive: it is unpacked where no limit holds, too. Articles have some kilobytes."""
_NAME: Final = re.compile(r"(?:LEGI|JORF)TEXT\d{12}")
_PARTS: Final = ("texte", "article", "section_ta")
_INSIDE: Final = re.compile(rf"(?P<folder>(?:.*?/)?{_NAME.pattern})/(?:{'|'.join(_PARTS)})/(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a text by their names in it, sorted; and the names of what lies there and is none of them."""

    found: tuple[tuple[str, Path], ...]
    others: tuple[str, ...] = ()


def is_text(folder: Path) -> bool:
    """Whether ``folder`` is one text."""
    return _NAME.fullmatch(folder.name) is not None and any((folder / part).is_dir() for part in _PARTS)


def text_of(name: str) -> str | None:
    """The folder of the text that the file called ``name`` belongs to, where files have names but no folders."""
    match = _INSIDE.match(name)
    return match["folder"] if match else None


def belongs(name: str) -> bool:
    """Whether a file of a text's folder is one of the text's."""
    return name.endswith(".xml") and name.split("/", 1)[0] in _PARTS


def files(folder: Path) -> Files:
    """The files of the text that ``folder`` is; links are not followed.

    Raises:
        DocumentError: it cannot be listed, or holds too many files.
    """
    found: list[tuple[str, Path]] = []
    others: list[str] = []
    waiting = [("", folder)]
    try:
        while waiting:
            above, place = waiting.pop()
            with os.scandir(place) as listing:
                for entry in listing:
                    name = f"{above}{os.fsencode(entry.name).decode('utf-8', 'backslashreplace')}"
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{name}/", Path(entry.path)))
                    elif entry.is_file(follow_symlinks=False) and belongs(name):
                        found.append((name, Path(entry.path)))
                    else:
                        others.append(name)
            if len(found) + len(others) + len(waiting) > MOST_FILES:
                raise DocumentError(
                    RejectReason.TOO_LARGE,
                    f"the text has more than {MOST_FILES} files",
                    f"le texte compte plus de {MOST_FILES} fichiers",
                )
    except OSError as error:
        raise DocumentError(
            RejectReason.UNREADABLE,
            f"the text's folder cannot be listed: {error.strerror or error}",
            f"le dossier du texte est illisible : {error.strerror or error}",
        ) from error
    return Files(tuple(sorted(found)), tuple(sorted(others)))


def digest(files: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of a text from the names and SHA-256 of its files."""
    whole = hashlib.sha256()
    for name, sha256 in sorted(files):
        whole.update(f"{sha256} {name}\0".encode())
    return whole.hexdigest()
