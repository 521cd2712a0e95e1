"""Mails: EML by the standard library, MSG of Outlook by python-oxmsg; attachments as sections of the mail.

Who wrote to whom and when comes first, then the subject as title, then the better of the two bodies: the plain one,
unless it says hardly anything of what the HTML one says. Quoted mails are kept behind their sign; pictures that are
part of the letter are left out. What cannot be read of an attachment costs a warning with its reason, never the mail;
an encrypted mail is refused whole. Headers are read by the lenient ``compat32`` rules: the strict ones raise on mails
that people do send, and take minutes for a hostile list of recipients.
"""

from __future__ import annotations

import email
import email.errors
import email.header
import email.policy
import email.utils
import io
import itertools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from functools import partial
from pathlib import Path, PurePath
from typing import Final, cast

import oxmsg
from oxmsg.domain import constants
from oxmsg.domain.model import ATTACH_HDR_OFFSET
from oxmsg.properties import Properties
from oxmsg.storage import Storage

from ingest.parsers import Limits, parse_file
from ingest.parsers.html import page
from ingest.parsers.rtf import RtfParser
from ingest.parsers.text import decode, paragraphs
from ingest.sniff import File, Kind, sniff
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

ATTACHMENT: Final = "Pièce jointe"
"""What stands before the name of an attachment in the heading of its section."""
MOST_ATTACHMENTS: Final = 500
_MOST_PARTS: Final = 2000
"""Parts of one mail, attachments inside it not counted."""
_DEEPEST: Final = 50
"""Parts inside each other; a mail written by people has three or four."""
_SHOWN: Final = 10
"""Recipients that are told; more are counted."""
_LONGEST_HEADER: Final = 20_000
_NEARLY_EMPTY: Final = 0.1
"""Share of the HTML body's words below which the plain one is no more than a note that there is one."""
_ENCRYPTED: Final = "-----BEGIN PGP MESSAGE-----"
_SIGNATURES: Final = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_SEALED: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_QUOTE: Final = re.compile(r"((?:> ?)*)")
_EMBEDDED: Final = "__substg1.0_3701000D"
"""Where Outlook keeps a mail that is attached to a mail."""
_EMBEDDED_OFFSET: Final = 24
"""Where the properties of such a mail begin; those of a mail by itself begin eight bytes later."""
_NAMES: Final = (constants.PID_ATTACH_LONG_FILENAME, constants.PID_ATTACH_FILENAME, constants.PID_DISPLAY_NAME)
_PRELOADED: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20"
    b"\\b\\i\\u\\tab\\tx"
)
"""What the packer's window holds at first, by its specification."""
_FLAWS: Final = (ValueError, LookupError, AttributeError, TypeError, email.errors.MessageError)
"""What the library raises for headers that are not as they should be."""
_OUTLOOK_FLAWS: Final = (*_FLAWS, OSError, struct.error, AssertionError, OverflowError)


@dataclass(frozen=True, slots=True)
class _Attachment:
    """A file that came with a mail, or a mail: then ``letter`` reads it."""

    name: str
    content: bytes = b""
    letter: Callable[[], _Letter] | None = None


@dataclass(frozen=True, slots=True)
class _Letter:
    """A mail before its attachments are read."""

    subject: str
    sender: str
    recipients: str
    date: str
    body: tuple[Block, ...]
    attachments: tuple[_Attachment, ...]


class MailParser:
    """Mails in the Internet's format and in Outlook's."""

    def accepts(self, file: File) -> bool:
        return file.kind in {Kind.EML, Kind.MSG}

    def parse(self, file: File, limits: Limits) -> Parsed:
        letter = _internet(file.read()) if file.kind is Kind.EML else _outlook(file.read())
        reader = _Reader(limits)
        blocks = tuple(reader.blocks(letter, limits.depth))
        return Parsed(blocks, file.kind.value, title=letter.subject or None, warnings=tuple(reader.warnings))


class _Reader:
    """Writes mails as blocks, and counts what their attachments unpack to."""

    def __init__(self, limits: Limits) -> None:
        self.warnings: list[str] = []
        self._limits = limits
        self._left = limits.expanded * 1_000_000

    def blocks(self, letter: _Letter, depth: int, level: int = 1) -> Iterator[Block]:
        """A mail; ``depth`` is how many containers inside each other may still be opened, itself included."""
        if depth < 1:
            raise DocumentError(
                RejectReason.TOO_DEEP,
                "mails and archives stand too deep in each other",
                "trop de niveaux d'imbrication",
            )
        inner = level > 1  # its heading is the name under which it was attached
        said = (
            ("Objet", letter.subject if inner else ""),
            ("De", letter.sender),
            ("À", letter.recipients),
            ("Date", letter.date),
        )
        head = " — ".join(f"{what} : {value}" for what, value in said if value)
        if head:
            yield Block(BlockKind.PARAGRAPH, head)
        if letter.subject and not inner:
            yield Block(BlockKind.HEADING, letter.subject, level)
        yield from (_lowered(block, level) for block in letter.body)
        for attachment in letter.attachments[:MOST_ATTACHMENTS]:
            try:
                content = list(self._attached(attachment, depth - 1, level + 1))
            except DocumentError as error:
                self.warnings.append(f"attachment {attachment.name} left out: {error.reason.value} ({error.en})")
            except RecursionError:
                self.warnings.append(f"attachment {attachment.name} left out: {RejectReason.TOO_DEEP.value}")
            else:
                yield Block(BlockKind.HEADING, f"{ATTACHMENT} : {attachment.name}", level + 1)
                yield from content
        more = len(letter.attachments) - MOST_ATTACHMENTS
        if more > 0:
            self.warnings.append(f"{more} attachments left out: {RejectReason.TOO_LONG.value}")

    def _attached(self, attachment: _Attachment, depth: int, level: int) -> Iterator[Block]:
        if attachment.letter is not None:
            if depth < 1:  # before it is read at all
                raise DocumentError(RejectReason.TOO_DEEP, "mails stand too deep in each other", "trop de niveaux")
            yield from self.blocks(attachment.letter(), depth, level)
            return
        name = Path(PurePath(attachment.name.replace("\\", "/")).name or "attachment")
        self._left -= max(len(attachment.content), _expanded(attachment.content))
        if self._left < 0:
            raise DocumentError(
                RejectReason.TOO_LARGE,
                f"the attachments expand to more than {self._limits.expanded} MB",
                f"les pièces jointes dépassent {self._limits.expanded} Mo une fois dépliées",
            )
        file = sniff(name, attachment.content, expanded=self._limits.expanded)
        if file.kind in {Kind.EML, Kind.MSG}:
            read = _internet if file.kind is Kind.EML else _outlook
            yield from self.blocks(read(attachment.content), depth, level)
            return
        parsed = parse_file(file, replace(self._limits, depth=depth, expanded=max(1, self._left // 1_000_000)))
        self.warnings += [f"attachment {attachment.name}: {warning}" for warning in parsed.warnings]
        # The pages are the attachment's own, and a citation of the mail could not open them.
        yield from (_lowered(replace(block, page=None), level) for block in parsed.blocks)


def _lowered(block: Block, level: int) -> Block:
    return block if block.level is None else replace(block, level=block.level + level)


def _expanded(content: bytes) -> int:
    """The bytes that an attached container says to unpack to."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error):
        return 0


def _encrypted() -> DocumentError:
    return DocumentError(RejectReason.PASSWORD, "the message is encrypted", "le message est chiffré")


def _sealed(part: Message) -> DocumentError:
    if part.get_param("smime-type") != "signed-data":
        return _encrypted()
    return DocumentError(
        RejectReason.UNSUPPORTED,
        "the message is signed in a form that wraps its text; export it as text or PDF",
        "le message est signé sous une forme qui enveloppe son texte ; exportez-le en texte ou en PDF",
    )


def _broken() -> DocumentError:
    return DocumentError(RejectReason.CORRUPT, "the mail is broken", "le courriel est abîmé")


# --- bodies ---------------------------------------------------------------------------------------------


def _written(text: str) -> list[Block]:
    """A plain body: each run of lines that quote equally deep by itself, behind its sign."""
    if text.lstrip().startswith(_ENCRYPTED):
        raise _encrypted()
    blocks: list[Block] = []
    for depth, run in itertools.groupby(text.split("\n"), key=_quoted):
        found = paragraphs("\n".join(_QUOTE.sub("", line, count=1) for line in run))
        sign = f"{'>' * min(depth, 9)} " if depth else ""
        blocks += [replace(block, text=sign + block.text) if depth and not block.rows else block for block in found]
    return blocks


def _quoted(line: str) -> int:
    match = _QUOTE.match(line)
    return 0 if match is None else match[1].count(">")


def _length(blocks: Sequence[Block]) -> int:
    return sum(len(block.text) for block in blocks)


def _better(plain: list[Block], rich: list[Block]) -> list[Block]:
    return plain if _length(plain) > _NEARLY_EMPTY * _length(rich) else rich


# --- mails of the Internet ------------------------------------------------------------------------------


def _internet(data: bytes) -> _Letter:
    if b"\0" in data[:4096] or data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = decode(data).encode("utf-8", errors="replace")
    try:
        message = email.message_from_bytes(data.lstrip(b"\xef\xbb\xbf\r\n"), policy=email.policy.compat32)
    except _FLAWS as error:
        raise _broken() from error
    return _opened(message)


def _opened(message: Message) -> _Letter:
    body = _Body()
    blocks = body.read(message)
    return _Letter(
        _header(message, "subject"),
        _header(message, "from"),
        _people(_header(message, "to")),
        _date(_header(message, "date")),
        tuple(blocks),
        tuple(body.attachments),
    )


class _Body:
    """Walks the parts of a mail: the words of its body are given back, its attachments collected."""

    def __init__(self) -> None:
        self.attachments: list[_Attachment] = []
        self._parts = 0

    def read(self, part: Message, depth: int = 0) -> list[Block]:
        """What a part shows in the letter itself."""
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise DocumentError(
                RejectReason.TOO_DEEP, "the mail nests too many parts", "le courriel imbrique trop de parties"
            )
        kind = part.get_content_type()
        if kind == "multipart/encrypted" or (kind in _SEALED and not depth):
            raise _sealed(part)
        if kind in _SIGNATURES:
            return []
        payload = part.get_payload()
        if isinstance(payload, list):
            inner = [inner for inner in payload if isinstance(inner, Message)]
            if not kind.startswith("message/"):
                return self._several(kind, inner, depth)
            self._nested(part, inner)
            return []
        return self._leaf(part, kind)

    def _several(self, kind: str, parts: list[Message], depth: int) -> list[Block]:
        read = [(part.get_content_type(), self.read(part, depth + 1)) for part in parts]
        if kind != "multipart/alternative":
            return [block for _, blocks in read for block in blocks]
        plain = next((blocks for inner, blocks in read if inner == "text/plain" and blocks), [])
        rich = next((blocks for inner, blocks in reversed(read) if inner != "text/plain" and blocks), [])
        return _better(plain, rich)

    def _leaf(self, part: Message, kind: str) -> list[Block]:
        name = _file_name(part)
        attached = part.get_content_disposition() == "attachment" or bool(name)
        content = _payload(part)
        if kind in {"text/plain", "text/html"} and not attached:
            charset = _charset(part)
            return _written(decode(content, charset)) if kind == "text/plain" else _page(content, charset)
        drawn = kind.startswith("image/") and (part["content-id"] or part.get_content_disposition() == "inline")
        if content.strip() and not drawn:
            self.attachments.append(_Attachment(name or kind.replace("/", "."), content))
        return []

    def _nested(self, part: Message, payload: list[Message]) -> None:
        if part.get_content_type() == "message/delivery-status" or not payload:
            return
        inner = payload[0]
        name = _header(inner, "subject") or _file_name(part) or "message"
        self.attachments.append(_Attachment(name, letter=lambda: _opened(inner)))


def _page(content: bytes, charset: str | None = None) -> list[Block]:
    if not content.strip():
        return []
    return page(content, charset, whole=True)[1]


def _payload(part: Message) -> bytes:
    try:
        content = part.get_payload(decode=True)
    except _FLAWS:  # an unknown transfer encoding, or base64 that is none
        content = str(part.get_payload()).encode("utf-8", errors="replace")
    return content if isinstance(content, bytes) else b""


def _charset(part: Message) -> str | None:
    try:
        return part.get_content_charset()
    except _FLAWS:
        return None


def _file_name(part: Message) -> str:
    try:
        return " ".join(_decoded(part.get_filename() or "").split())[:200]
    except _FLAWS:
        return ""


def _header(message: Message, name: str) -> str:
    found = next((str(value) for key, value in message.raw_items() if key.lower() == name), "")
    return " ".join(_decoded(found[:_LONGEST_HEADER]).split())


def _decoded(value: str) -> str:
    """A header's words, as it encodes them or as its bytes say."""
    if not value.isascii():
        value = decode(value.encode("utf-8", errors="surrogateescape"))
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except _FLAWS:
        return value


def _people(value: str) -> str:
    found = [one.strip() for one in value.split(",") if one.strip()]
    return value if len(found) <= _SHOWN else f"{', '.join(found[:_SHOWN])} et {len(found) - _SHOWN} autres"


def _date(value: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(value).strftime("%Y-%m-%d %H:%M")
    except _FLAWS:
        return value[:60]


# --- mails of Outlook -----------------------------------------------------------------------------------


def _outlook(data: bytes) -> _Letter:
    try:
        message = oxmsg.Message.load(data)
        # The library tells of attached mails only that they are there; their storage is like that of the mail.
        return _kept(message.properties, cast(Storage, message._storage))
    except _OUTLOOK_FLAWS as error:
        raise _broken() from error


def _kept(properties: Properties, storage: Storage) -> _Letter:
    """A mail from the properties that Outlook keeps of it."""
    if _value(properties, constants.PID_MESSAGE_CLASS).upper() == "IPM.NOTE.SMIME":
        raise _encrypted()
    headers = email.message_from_string(_value(properties, constants.PID_TRANSPORT_MESSAGE_HEADERS))
    name = _value(properties, constants.PID_SENDER_NAME)
    address = _value(properties, constants.PID_SENDER_SMTP_ADDRESS) or _value(
        properties, constants.PID_SENDER_EMAIL_ADDRESS
    )
    sender = f"{name} <{address}>".strip() if "@" in address else name or address
    return _Letter(
        " ".join(_value(properties, constants.PID_SUBJECT).split()),
        _header(headers, "from") or sender,
        _people(_header(headers, "to") or _value(properties, constants.PID_DISPLAY_TO).replace(";", ",")),
        _date(_header(headers, "date")) or _sent(properties),
        tuple(_kept_body(properties)),
        tuple(_kept_attachments(storage)),
    )


def _value(properties: Properties, number: int) -> str:
    try:
        return (properties.str_prop_value(number) or "").replace("\0", "").replace("\r\n", "\n")
    except _OUTLOOK_FLAWS:  # a property that says to be there and is not
        return ""


def _sent(properties: Properties) -> str:
    for number in (constants.PID_CLIENT_SUBMIT_TIME, constants.PID_MESSAGE_DELIVERY_TIME):
        try:
            found = properties.date_prop_value(number)
        except _OUTLOOK_FLAWS:
            continue
        if found is not None:
            return found.strftime("%Y-%m-%d %H:%M")
    return ""


def _kept_body(properties: Properties) -> list[Block]:
    """The better body of those that can be read; one that is there and damaged is not passed over in silence."""
    bodies: list[list[Block]] = []
    damaged: Exception | None = None
    for read in (_kept_plain, _kept_rich, _kept_rtf):
        try:
            bodies.append(read(properties))
        except _OUTLOOK_FLAWS as error:
            bodies.append([])
            damaged = error
    plain, rich, rtf = bodies
    found = _better(plain, rich) or rtf
    if not found and damaged is not None:
        raise _broken() from damaged
    return found


def _kept_plain(properties: Properties) -> list[Block]:
    return _written((properties.str_prop_value(constants.PID_BODY) or "").replace("\r\n", "\n").replace("\0", ""))


def _kept_rich(properties: Properties) -> list[Block]:
    found = _page(properties.binary_prop_value(constants.PID_HTML) or b"")
    return found or _page((properties.str_prop_value(constants.PID_BODY_HTML) or "").encode())


def _kept_rtf(properties: Properties) -> list[Block]:
    text = unpacked(properties.binary_prop_value(constants.PID_RTF_COMPRESSED) or b"")
    return list(RtfParser().parse(File(Path("body.rtf"), Kind.RTF, text), Limits()).blocks) if text else []


def _kept_attachments(storage: Storage) -> Iterator[_Attachment]:
    for held in storage.iter_attachment_storages():
        properties = Properties(held, properties_header_offset=ATTACH_HDR_OFFSET)
        name = next(filter(None, (_value(properties, number) for number in _NAMES)), "")
        kind = _value(properties, constants.PID_ATTACH_MIME_TAG)
        inner = next((inner for inner in held.storages if inner.name == _EMBEDDED), None)
        if inner is not None:
            yield _Attachment(name or "message", letter=partial(_embedded, inner))
            continue
        try:
            content = properties.binary_prop_value(constants.PID_ATTACH_DATA_BINARY) or b""
        except _OUTLOOK_FLAWS:
            yield _Attachment(name or "attachment", letter=_damaged)
            continue
        if kind == "multipart/signed":
            yield _Attachment(name or "message", letter=partial(_internet, content))
        elif content and not (kind.startswith("image/") and _value(properties, constants.PID_ATTACH_CONTENT_ID)):
            yield _Attachment(name or "attachment", content)


def _damaged() -> _Letter:
    raise _broken()


def _embedded(storage: Storage) -> _Letter:
    try:
        return _kept(Properties(storage, properties_header_offset=_EMBEDDED_OFFSET), storage)
    except _OUTLOOK_FLAWS as error:
        raise _broken() from error


def unpacked(data: bytes) -> bytes:
    """The RTF that Outlook keeps packed, as [MS-OXRTFCP] describes it; nothing where it is none."""
    if len(data) < 16 or data[8:12] not in {b"LZFu", b"MELA"}:
        return b""
    size = min(struct.unpack_from("<I", data, 4)[0], 64 * len(data))
    if data[8:12] == b"MELA":
        return data[16 : 16 + size]
    window = bytearray(_PRELOADED.ljust(4096, b"\0"))
    write, place, result = len(_PRELOADED), 16, bytearray()
    while place < len(data) and len(result) < size:
        control = data[place]
        place += 1
        for bit in range(8):
            packed = control >> bit & 1
            if place + packed >= len(data):
                return bytes(result)
            if packed:
                reference = data[place] << 8 | data[place + 1]
                offset, length = reference >> 4, (reference & 15) + 2
                if offset == write:  # the mark of the end
                    return bytes(result)
            else:
                window[write] = data[place]
                offset, length = write, 1
            place += 1 + packed
            for step in range(length):
                byte = window[(offset + step) % 4096]
                result.append(byte)
                window[write] = byte
                write = (write + 1) % 4096
    return bytes(result)
