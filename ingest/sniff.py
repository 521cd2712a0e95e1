"""What a file is, by its content; its name only decides between kinds of plain text.

Everything that can be refused before a library opens the file is refused here: zip bombs, encrypted containers,
entity declarations, names that promise a format the bytes are not.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from rag.errors import DocumentError, RejectReason


class Kind(StrEnum):
    """The formats that are read."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    ODT = "application/vnd.oasis.opendocument.text"
    ODS = "application/vnd.oasis.opendocument.spreadsheet"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class File:
    """A file whose content has been looked at and found fit to be opened.

    ``content`` holds its bytes where they do not lie at ``path``: members of archives, attachments of mails.
    """

    path: Path
    kind: Kind
    content: bytes | None = None

    def open(self) -> IO[bytes]:
        """The bytes as a stream that can seek; close it."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    def read(self) -> bytes:
        return self.path.read_bytes() if self.content is None else self.content


MOST_MEMBERS: Final = 10_000
"""Members of a zip container; the largest office files hold a few hundred."""
MOST_EXPANDED: Final = 512 * 1024 * 1024
"""Bytes that a container may expand to; an 872-page text expands to some 10 MB."""
MOST_XML: Final = 128 * 1024 * 1024
"""Bytes of one XML member: a parsed tree takes several times as much memory."""
HIGHEST_RATIO: Final = 200
"""Expanded over packed size; office XML packs to about a tenth, never to a two-hundredth."""
RATIO_FLOOR: Final = 4 * 1024 * 1024
"""Bytes below which no ratio is suspicious."""
_HEAD: Final = 65_536
_ENTITY: Final = tuple("<!ENTITY".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_CONTAINERS: Final = frozenset({".pdf", ".docx", ".xlsx", ".odt", ".ods"})
_HTML: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|meta|table|article|main|div|p|h[1-6])[\s>/]", re.IGNORECASE
)
_XML: Final = re.compile(rb"\s*<\?xml\b")
_MAIL: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
    r""
    r"(?:MIME-Version|Received|Message-ID|Return-Path|DKIM-Signature):",
    re.IGNORECASE,
)
_MAIL_PAIR: Final = (re.compile(r"^From:\s", re.MULTILINE), re.compile(r"^(?:Date|Subject|To):\s", re.MULTILINE))
_MARKDOWN: Final = re.compile(r"^#{1,6} \S|^\|.*\|\s*\n\|\s*:?-{2,}", re.MULTILINE)
_OPENDOCUMENT: Final = {
    b"application/vnd.oasis.opendocument.text": Kind.ODT,
    b"application/vnd.oasis.opendocument.text-template": Kind.ODT,
    b"application/vnd.oasis.opendocument.spreadsheet": Kind.ODS,
    b"application/vnd.oasis.opendocument.spreadsheet-template": Kind.ODS,
}


def sniff(path: Path, content: bytes | None = None) -> File:
    """Look at the content of ``path`` (or at ``content``, which has that name) and say what it is.

    Raises:
        DocumentError: it is empty, encrypted, broken, hostile, or of a format that is not read.
    """
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as stream:
            head = stream.read(_HEAD)
            return File(path, _kind(path, head, stream), content)
    except OSError as error:
        raise DocumentError(
            RejectReason.UNREADABLE,
            "the file cannot be read from the disk",
            "le fichier ne peut pas être lu sur le disque",
        ) from error


def _kind(path: Path, head: bytes, stream: IO[bytes]) -> Kind:
    if not head:
        raise DocumentError(RejectReason.EMPTY, "the file is empty", "le fichier est vide")
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(stream)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise _compound(head, stream)
    text = _text(head)
    if text is None:
        raise DocumentError(
            RejectReason.CORRUPT if path.suffix.lower() in _CONTAINERS else RejectReason.UNSUPPORTED,
            "the content is of no format that is read here",
            "le contenu n'est d'aucun format pris en charge",
        )
    return _textual(path, head, text)


def _textual(path: Path, head: bytes, text: str) -> Kind:
    suffix = path.suffix.lower()
    if suffix in _CONTAINERS:
        raise DocumentError(
            RejectReason.CORRUPT,
            f"the name says {suffix}, the content is not that format",
            f"le nom annonce {suffix}, le contenu n'est pas de ce format",
        )
    if not text.strip():
        raise DocumentError(
            RejectReason.EMPTY, "the file holds only white space", "le fichier ne contient que des blancs"
        )
    if text.lstrip().startswith("{\\rtf"):
        raise _unsupported("RTF")
    if _MAIL.match(text) or (
        all(pattern.search(text[:2000]) for pattern in _MAIL_PAIR) and suffix in {".eml", ".mbox"}
    ):
        raise _unsupported("mail (.eml)")
    start = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip()
    if start[:1] == b"<" and _HTML.search(start[:4096]):
        return Kind.HTML
    if _XML.match(start):
        raise _unsupported("XML")
    if suffix in {".html", ".htm", ".xhtml"} and _HTML.search(start):
        return Kind.HTML
    if suffix in {".md", ".markdown"} or (suffix != ".txt" and _MARKDOWN.search(text)):
        return Kind.MARKDOWN
    return Kind.TEXT


def _text(head: bytes) -> str | None:
    """The beginning of a text file, roughly decoded to look at its shape; ``None`` for binary content."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    sample = head[:4096]
    if b"\0" in sample:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if half and odd > 0.4 * half and even < 0.1 * half:
            return head.decode("utf-16-le", errors="replace")
        if half and even > 0.4 * half and odd < 0.1 * half:
            return head.decode("utf-16-be", errors="replace")
        return None
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    if controls > 0.02 * len(sample):
        return None
    return head.decode("utf-8", errors="replace")


def _unsupported(name: str) -> DocumentError:
    return DocumentError(
        RejectReason.UNSUPPORTED,
        f"{name} files are not read yet",
        f"les fichiers {name} ne sont pas encore pris en charge",
    )


def _password() -> DocumentError:
    return DocumentError(
        RejectReason.PASSWORD, "the file is protected by a password", "le fichier est protégé par un mot de passe"
    )


def _compound(head: bytes, stream: IO[bytes]) -> DocumentError:
    """OLE containers: encrypted OOXML, or the formats of before 2007."""
    sector = 1 << struct.unpack_from("<H", head, 30)[0] if len(head) > 76 else 512
    directory = struct.unpack_from("<I", head, 48)[0] if len(head) > 76 else 0
    stream.seek((directory + 1) * min(sector, 1 << 16))
    names = head + stream.read(1 << 16)
    if "EncryptedPackage".encode("utf-16-le") in names or "EncryptionInfo".encode("utf-16-le") in names:
        return _password()
    return DocumentError(
        RejectReason.UNSUPPORTED,
        "office files of before 2007 (.doc, .xls, .ppt) are not read; save as .docx or .odt",
        "les fichiers bureautiques d'avant 2007 (.doc, .xls, .ppt) ne sont pas pris en charge ; "
        "enregistrez en .docx ou .odt",
    )


# --- containers -----------------------------------------------------------------------------------------


def _zip(stream: IO[bytes]) -> Kind:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _checked_sizes(members)
            kind = _container(archive, {member.filename for member in members})
            _checked_xml(archive, members)
            return kind
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise DocumentError(
            RejectReason.CORRUPT, "the container is broken or cut short", "le conteneur est abîmé ou tronqué"
        ) from error


def _checked_sizes(members: list[zipfile.ZipInfo]) -> None:
    expanded = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    bomb = (
        len(members) > MOST_MEMBERS
        or expanded > MOST_EXPANDED
        or (expanded > RATIO_FLOOR and expanded > HIGHEST_RATIO * max(packed, 1))
        or any(
            member.file_size > RATIO_FLOOR and member.file_size > HIGHEST_RATIO * max(member.compress_size, 1)
            for member in members
        )
        or any(member.file_size > MOST_XML for member in members if _is_xml(member.filename))
    )
    if bomb:
        raise DocumentError(
            RejectReason.TOO_LARGE,
            "the container would expand far beyond its size",
            "le conteneur se déploierait bien au-delà de sa taille",
        )
    if any(member.flag_bits & 0x1 for member in members):
        raise _password()


def _container(archive: zipfile.ZipFile, names: set[str]) -> Kind:
    if "mimetype" in names:
        kind = _OPENDOCUMENT.get(archive.read("mimetype")[:200].strip())
        if kind is None or "content.xml" not in names:
            raise _unsupported("these packaged")
        if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
            raise _password()
        return kind
    if "[Content_Types].xml" in names:
        types = archive.read("[Content_Types].xml")
        if b"wordprocessingml" in types:
            return Kind.DOCX
        if b"spreadsheetml" in types:
            return Kind.XLSX
        raise _unsupported("this kind of office")
    if "Index/Document.iwa" in names or any(name.endswith(".iwa") for name in names):
        raise _unsupported("Apple iWork (.pages, .numbers, .key)")
    raise _unsupported("zip archive")


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels", ".vml", ".rdf"))


def _checked_xml(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    """Refuse entity declarations: no office format uses them, and they expand or fetch."""
    overlap = max(map(len, _ENTITY))
    for member in members:
        if not _is_xml(member.filename):
            continue
        tail = b""
        with archive.open(member) as content:
            while piece := content.read(1 << 20):
                window = tail + piece
                if any(mark in window for mark in _ENTITY):
                    raise DocumentError(
                        RejectReason.CORRUPT,
                        "the XML declares entities, which is refused",
                        "le XML déclare des entités, ce qui est refusé",
                    )
                tail = window[-overlap:]
