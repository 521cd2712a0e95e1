"""What a file that somebody sends may be called on this machine's disk: one function, and no other way in.

A name is refused rather than mended: what was sent under one name is never found under another.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rag.errors import BadRequest

LONGEST: Final = 180
"""Bytes of a name in UTF-8: file systems take 255, and ``.meta.toml`` or the mark of a partial file is added."""
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE
)
"""Names that are devices on some systems, to which folders and backups are carried, whatever their ending."""
_OURS: Final = re.compile(r"corpus\.toml|.*\.meta\.toml|.*\.part", re.IGNORECASE)
_NOWHERE: Final = frozenset('/\\:*?"<>|')
_TEXT_OF_LAW: Final = re.compile(r"(legi|jorf)text\d{12}", re.IGNORECASE)


def checked(name: str) -> str:
    """``name`` in NFC, when it may be that of a file beside others in one folder.

    Raises:
        BadRequest: ``bad_name``: it is empty or too long, leads elsewhere, is hidden, or stands for something else.
    """
    # First by the length, so that nothing below works on more; NFC makes of one character at most three.
    if len(name) > LONGEST:
        raise _refused(f"it is longer than {LONGEST} bytes", f"il dépasse {LONGEST} octets")
    name = unicodedata.normalize("NFC", name)
    if any(unicodedata.category(char)[0] in "CZ" and char != " " for char in name):
        raise _refused("it holds invisible characters", "il contient des caractères invisibles")
    if len(name.encode()) > LONGEST:
        raise _refused(f"it is longer than {LONGEST} bytes", f"il dépasse {LONGEST} octets")
    if not name.strip(" ."):
        raise _refused("it is empty", "il est vide")
    if not _NOWHERE.isdisjoint(name):
        raise _refused('it holds one of / \\ : * ? " < > |', "il contient l'un des caractères / \\ : * ? \" < > |")
    if name.startswith((".", "~$", " ")) or name.endswith((".", " ")):
        raise _refused(
            "it begins or ends with a dot or a space, or is the lock of an office program",
            "il commence ou finit par un point ou un espace, ou c'est le verrou d'un logiciel de bureau",
        )
    if _DEVICES.fullmatch(name) or _OURS.fullmatch(name) or _TEXT_OF_LAW.fullmatch(name):
        raise _refused("it has a meaning of its own here or on other systems", "il a un sens propre, ici ou ailleurs")
    return name


def _refused(en: str, fr: str) -> BadRequest:
    return BadRequest(
        f"the file cannot be called so: {en}; rename it", f"nom de fichier refusé : {fr} ; renommez-le", code="bad_name"
    )
