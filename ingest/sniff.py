"""What a file is, by its content; its name only decides between kinds of plain text.

Everything that can be refused before a library opens the file is refused here: zip bombs, encrypted containers,
entity declarations. A name that promises another format than the bytes are is noted; it is refused only where the
bytes are no more than plain text, which says nothing for them.
"""

from __future__ import annotations

import io
import json
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
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    ODP = "application/vnd.oasis.opendocument.presentation"
    EPUB = "application/epub+zip"
    MSG = "application/vnd.ms-outlook"
    EML = "message/rfc822"
    RTF = "application/rtf"
    RECORDS = "application/x-ndjson"
    """JSON lines in our own layout, see :mod:`ingest.records`."""
    LEGI = "application/vnd.legi+xml"
    """One file of the open-data dumps of French law."""
    HTML = "text/html"
    CSV = "text/csv"
    """Values parted by commas, semicolons or tabs."""
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    WEBP = "image/webp"
    BMP = "image/bmp"
    GIF = "image/gif"


@dataclass(frozen=True, slots=True)
class File:
    """A file whose content has been looked at and found fit to be opened.

    ``content`` holds its bytes where they do not lie at ``path``: members of archives, attachments of mails.
    ``mismatch`` says where the name promises another format than the content is.
    """

    path: Path
    kind: Kind
    content: bytes | None = None
    mismatch: str | None = None

    def open(self) -> IO[bytes]:
        """The bytes as a stream that can seek; close it."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    def read(self) -> bytes:
        return self.path.read_bytes() if self.content is None else self.content


MOST_MEMBERS: Final = 10_000
"""Members of a zip container; the largest office files hold a few hundred."""
MOST_EXPANDED: Final = 512
"""MB that a container may expand to; an 872-page text expands to some 10 MB."""
MOST_XML: Final = 128 * 1024 * 1024
"""Bytes of one XML member: a parsed tree takes several times as much memory."""
HIGHEST_RATIO: Final = 200
"""Expanded over packed size; office XML packs to about a tenth, never to a two-hundredth."""
RATIO_FLOOR: Final = 4 * 1024 * 1024
"""Bytes below which no ratio is suspicious."""
_HEAD: Final = 65_536
_ENTITY: Final = tuple("<!ENTITY".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_PROMISED: Final[dict[str, Kind | None]] = {
    ".pdf": Kind.PDF,
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), Kind.DOCX),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx"), Kind.XLSX),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".potx"), Kind.PPTX),
    **dict.fromkeys((".odt", ".ott"), Kind.ODT),
    **dict.fromkeys((".ods", ".ots"), Kind.ODS),
    **dict.fromkeys((".odp", ".otp"), Kind.ODP),
    **dict.fromkeys((".doc", ".xls", ".ppt"), None),
    ".epub": Kind.EPUB,
    ".msg": Kind.MSG,
    **dict.fromkeys((".eml", ".mht", ".mhtml"), Kind.EML),
    ".rtf": Kind.RTF,
    **dict.fromkeys((".jsonl", ".ndjson"), Kind.RECORDS),
    **dict.fromkeys((".html", ".htm", ".xhtml"), Kind.HTML),
    **dict.fromkeys((".csv", ".tsv"), Kind.CSV),
    **dict.fromkeys((".md", ".markdown"), Kind.MARKDOWN),
    ".txt": Kind.TEXT,
    ".png": Kind.PNG,
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), Kind.JPEG),
    **dict.fromkeys((".tif", ".tiff"), Kind.TIFF),
    ".webp": Kind.WEBP,
    **dict.fromkeys((".bmp", ".dib"), Kind.BMP),
    ".gif": Kind.GIF,
}
"""The kind that the end of a name promises; ``None`` for formats of before 2007, which are not read."""
_PICTURES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), Kind.PNG),
    (re.compile(rb"\xff\xd8\xff"), Kind.JPEG),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), Kind.TIFF),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), Kind.WEBP),
    (re.compile(rb"BM....\0\0\0\0", re.DOTALL), Kind.BMP),
    (re.compile(rb"GIF8[79]a"), Kind.GIF),
)
"""How the bytes of pictures begin."""
_BINARY: Final = frozenset(
    suffix
    for suffix, kind in _PROMISED.items()
    if kind in {None, Kind.PDF, Kind.DOCX, Kind.XLSX, Kind.PPTX, Kind.ODT, Kind.ODS, Kind.ODP, Kind.EPUB, Kind.MSG}
    or kind in {picture for _, picture in _PICTURES}
)
_CALLED: Final = {Kind.RECORDS: "JSON", Kind.MARKDOWN: "Markdown", Kind.TEXT: "plain text"}
_DELIMITERS: Final = "\t;,|"
_DELIMITED: Final = frozenset({".csv", ".tsv", ".tab", ".xls", ".xlsx", ""})
"""Ends of names behind which a text of even columns is a table; a ``.txt`` is read as text, whose tables are found."""
_HTML: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|meta|table|article|main|div|p|h[1-6])[\s>/]", re.IGNORECASE
)
_ANY_TAG: Final = re.compile(rb"<[a-z][a-z0-9]{0,15}[\s>/]", re.IGNORECASE)
_XML: Final = re.compile(rb"\s*<\?xml\b")
_LEGI: Final = re.compile(
    rb"\s*+(?:<\?xml\b[^>]*+>)?+\s*+(?:<!DOCTYPE[^\[>]*+(?:\[[^\]]*+\])?+\s*+>)?+\s*+"
    rb"<(?:ARTICLE|SECTION_TA|TEXTELR|TEXTE_VERSION)\b"
)
_LEGI_ID: Final = re.compile(rb"<ID>\s*(?:LEGI|JORF)(?:ARTI|SCTA|TEXT)\d{12}\s*</ID>")
_MAIL: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
    r""
    r"(?:MIME-Version|Received|Message-ID|Return-Path|DKIM-Signature):",
    re.IGNORECASE,
)
_MAIL_PAIR: Final = (re.compile(r"^From:\s", re.MULTILINE), re.compile(r"^(?:Date|Subject|To):\s", re.MULTILINE))
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')
_MARKDOWN: Final = re.compile(r"^#{1,6} \S|^\|.*\|\s*\n\|\s*:?-{2,}", re.MULTILINE)
_MAIN_PART: Final = re.compile(
    rb"(wordprocessingml|ms-word|spreadsheetml|ms-excel|presentationml|ms-powerpoint)[^\"']*\.main\+xml"
)
_OFFICE: Final = {
    b"wordprocessingml": Kind.DOCX,
    b"ms-word": Kind.DOCX,
    b"spreadsheetml": Kind.XLSX,
    b"ms-excel": Kind.XLSX,
    b"presentationml": Kind.PPTX,
    b"ms-powerpoint": Kind.PPTX,
}
_OPENDOCUMENT: Final = {
    b"application/vnd.oasis.opendocument.text": Kind.ODT,
    b"application/vnd.oasis.opendocument.text-template": Kind.ODT,
    b"application/vnd.oasis.opendocument.spreadsheet": Kind.ODS,
    b"application/vnd.oasis.opendocument.spreadsheet-template": Kind.ODS,
    b"application/vnd.oasis.opendocument.presentation": Kind.ODP,
    b"application/vnd.oasis.opendocument.presentation-template": Kind.ODP,
}


def sniff(path: Path, content: bytes | None = None, *, expanded: int = MOST_EXPANDED) -> File:
    """Look at the content of ``path`` (or at ``content``, which has that name) and say what it is.

    ``expanded`` is the MB that a container may unpack to.

    Raises:
        DocumentError: it is empty, encrypted, broken, hostile, or of a format that is not read.
    """
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as stream:
            head = stream.read(_HEAD)
            kind = _kind(path, head, stream, expanded)
    except OSError as error:
        raise DocumentError(
            RejectReason.UNREADABLE,
            "the file cannot be read from the disk",
            "le fichier ne peut pas être lu sur le disque",
        ) from error
    return File(path, kind, content, _mismatch(path.suffix.lower(), kind))


def _mismatch(suffix: str, kind: Kind) -> str | None:
    if suffix not in _PROMISED or _PROMISED[suffix] is kind:
        return None
    return f"the name says {suffix}, the content is {_CALLED.get(kind, kind.name)}"


def _kind(path: Path, head: bytes, stream: IO[bytes], expanded: int) -> Kind:
    if not head:
        raise DocumentError(RejectReason.EMPTY, "the file is empty", "le fichier est vide")
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(stream, expanded)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _compound(head, stream)
    for begins, picture in _PICTURES:
        if begins.match(head):
            return picture
    suffix = path.suffix.lower()
    if head.lstrip()[:5] == b"{\\rtf":  # may hold pictures as raw bytes, and so look like no text
        return Kind.RTF
    text = _text(head)
    if text is None:
        raise DocumentError(
            RejectReason.CORRUPT if suffix in _BINARY else RejectReason.UNSUPPORTED,
            "the content is of no format that is read here",
            "le contenu n'est d'aucun format pris en charge",
        )
    kind = _textual(suffix, head, text)
    if suffix in _BINARY and kind in {Kind.TEXT, Kind.MARKDOWN}:
        raise DocumentError(
            RejectReason.CORRUPT,
            f"the name says {suffix}, the content is not that format",
            f"le nom annonce {suffix}, le contenu n'est pas de ce format",
        )
    return kind


def _textual(suffix: str, head: bytes, text: str) -> Kind:
    if not text.strip():
        raise DocumentError(
            RejectReason.EMPTY, "the file holds only white space", "le fichier ne contient que des blancs"
        )
    text = text.lstrip("\ufeff")
    if _is_mail(text, suffix):
        return Kind.EML
    if text.lstrip()[:1] == "{" and is_record(text.lstrip().partition("\n")[0]):
        return Kind.RECORDS
    if suffix in {".json", ".jsonl", ".ndjson"}:
        raise _unsupported("JSON of another layout than our export's:")
    start = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip()
    if _LEGI.match(start) and _LEGI_ID.search(start):  # its <ARTICLE> and <META> would be taken for HTML
        return Kind.LEGI
    if start[:1] == b"<" and _HTML.search(start[:4096]):
        return Kind.HTML
    if _XML.match(start):
        return _xml(start)
    if suffix in {".html", ".htm", ".xhtml"} and _ANY_TAG.search(start):
        return Kind.HTML
    if suffix in {".md", ".markdown"}:
        return Kind.MARKDOWN
    if suffix in _DELIMITED and delimiter(text) is not None:
        return Kind.CSV
    if suffix != ".txt" and _MARKDOWN.search(text):
        return Kind.MARKDOWN
    return Kind.TEXT


def _xml(start: bytes) -> Kind:
    """The kind of an XML file that is no HTML, by its root element."""
    del start  # no layout of XML is read yet
    raise _unsupported("XML")


def _is_mail(text: str, suffix: str) -> bool:
    text = text.lstrip("\n\r")
    if text.startswith("From ") and _MAIL.match(text.partition("\n")[2]):
        raise _unsupported("mailboxes (.mbox)")
    pair = all(pattern.search(text[:2000]) for pattern in _MAIL_PAIR)
    return _MAIL.match(text) is not None or (pair and suffix in {".eml", ".mht", ".mhtml"})


def is_record(line: str) -> bool:
    """Whether a line is one of our own JSON layout, or of the plain one of retrieval data sets."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith(('{"vauban":', '{"_id":'))  # longer than what was read of it
    return isinstance(found, dict) and (found.get("vauban") == "document" or {"_id", "text"} <= found.keys())


def delimiter(text: str) -> str | None:
    """What parts the values of a table written as text: the sign that stands equally often in nearly all lines.

    ``None`` for a text that is no table. ``text`` may be the beginning of one.
    """
    if text[:4] == "sep=" and text[5:6] in {"\r", "\n"}:  # a note to spreadsheet programs
        return text[4]
    lines = [line for line in _QUOTED.sub("q", text[:_HEAD]).split("\n") if line.strip()]
    if len(text) >= _HEAD:
        lines = lines[:-1]
    if len(lines) < 2:
        return None
    best: tuple[float, int, str] | None = None
    for sign in _DELIMITERS:
        counts = sorted(line.count(sign) for line in lines)
        usual = counts[len(counts) // 2]
        even = sum(count == usual for count in counts) / len(counts)
        # Prose has commas too, never the same number in each line; a table of two rows must be whole.
        if usual and even >= (0.8 if len(lines) > 4 else 1.0) and (best is None or (even, usual) > best[:2]):
            best = (even, usual, sign)
    return None if best is None else best[2]


def _text(head: bytes) -> str | None:
    """The beginning of a text file, roughly decoded to look at its shape; ``None`` for binary content."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _legible(head[: len(head) // 2 * 2].decode("utf-16", errors="replace"))
    sample = head[:4096]
    if b"\0" in sample:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if half and odd > 0.4 * half and even < 0.1 * half:
            return _legible(head.decode("utf-16-le", errors="replace"))
        if half and even > 0.4 * half and odd < 0.1 * half:
            return _legible(head.decode("utf-16-be", errors="replace"))
        return None
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    if controls > 0.02 * len(sample):
        return None
    return head.decode("utf-8", errors="replace")


def _legible(text: str) -> str | None:
    """``text``, if it is one: bytes that are none make signs that nothing shows."""
    sample = text[:2048]
    shown = sum(sign.isprintable() or sign in "\t\n\r\f\ufeff\0" for sign in sample)
    return text if shown >= 0.95 * len(sample) else None


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


def _compound(head: bytes, stream: IO[bytes]) -> Kind:
    """OLE containers: Outlook mails; encrypted OOXML and the formats of before 2007 are refused."""
    sector = 1 << min(struct.unpack_from("<H", head, 30)[0], 16) if len(head) > 76 else 512
    directory = struct.unpack_from("<I", head, 48)[0] if len(head) > 76 else 0
    stream.seek((directory + 1) * sector)
    names = head + stream.read(1 << 16)
    if any(name.encode("utf-16-le") in names for name in ("EncryptedPackage", "EncryptionInfo")):
        raise _password()
    if any(name.encode("utf-16-le") in names for name in ("__properties_version1.0", "__substg1.0_", "__nameid_")):
        return Kind.MSG
    raise DocumentError(
        RejectReason.UNSUPPORTED,
        "office files of before 2007 (.doc, .xls, .ppt) are not read; save as .docx or .odt",
        "les fichiers bureautiques d'avant 2007 (.doc, .xls, .ppt) ne sont pas pris en charge ; "
        "enregistrez en .docx ou .odt",
    )


# --- containers -----------------------------------------------------------------------------------------


def _zip(stream: IO[bytes], most: int) -> Kind:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _checked_sizes(members, most)
            kind = _container(archive, {member.filename for member in members})
            _checked_xml(archive, members)
            return kind
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise DocumentError(
            RejectReason.CORRUPT, "the container is broken or cut short", "le conteneur est abîmé ou tronqué"
        ) from error


def _checked_sizes(members: list[zipfile.ZipInfo], most: int) -> None:
    expanded = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    bomb = (
        len(members) > MOST_MEMBERS
        or expanded > most * 1_000_000
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
        said = archive.read("mimetype")[:200].strip()
        if said == Kind.EPUB.value.encode() and "META-INF/container.xml" in names:
            return Kind.EPUB
        kind = _OPENDOCUMENT.get(said)
        if kind is None or "content.xml" not in names:
            raise _unsupported("these packaged")
        if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
            raise _password()
        return kind
    if "[Content_Types].xml" in names:
        main = _MAIN_PART.search(archive.read("[Content_Types].xml"))
        if main is None:
            raise _unsupported("this kind of office")
        return _OFFICE[main[1]]
    if "Index/Document.iwa" in names or any(name.endswith(".iwa") for name in names):
        raise _unsupported("Apple iWork (.pages, .numbers, .key)")
    raise _unsupported("zip archive")


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels", ".vml", ".rdf", ".opf", ".ncx", ".xhtml"))


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
