"""One parser per format behind one Protocol, and the order in which they are tried.

The libraries are imported when a file of their format comes, so that a worker holds only what it used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from ingest.sniff import File, Kind, sniff
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import Parsed


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may cost.

    ``memory`` is in MiB beyond that of an idle worker; ``expanded`` in MB of what a container unpacks to; ``depth``
    counts archives and mails inside each other, the outermost included. ``ocr_seconds`` may be added for each page
    that is recognised, in ``ocr_languages`` as Tesseract names them; empty turns OCR off.
    """

    seconds: int = 120
    memory: int = 1024
    pages: int = 3000
    megabytes: int = 200
    expanded: int = 512
    depth: int = 3
    ocr_seconds: int = 60
    ocr_languages: str = "fra+eng"


PAGE_CHARACTERS: Final = 10_000
"""Of the fullest page, twice over: what has no pages is bounded by it, since whoever splits it has no other limit."""
PAGE_BLOCKS: Final = 100
"""Paragraphs, items and headings of the fullest page."""


class Parser(Protocol):
    """Reads files of one format into blocks in reading order.

    Reads nothing but the file, runs nothing in it, fetches nothing that it names. Text that people wrote about
    the document rather than in it (comments, deleted text, page headers) is left out.
    """

    def accepts(self, file: File) -> bool:
        """Whether this parser reads the format; decided by the file's kind alone."""
        ...

    def parse(self, file: File, limits: Limits) -> Parsed:
        """The content of the file.

        Raises:
            DocumentError: it cannot be taken in; the reason says why.
        """
        ...


def _pdf() -> Parser:
    from ingest.parsers.pdf import PdfParser

    return PdfParser()


def _docx() -> Parser:
    from ingest.parsers.docx import DocxParser

    return DocxParser()


def _odt() -> Parser:
    from ingest.parsers.odt import OdtParser

    return OdtParser()


def _spreadsheet() -> Parser:
    from ingest.parsers.spreadsheet import SpreadsheetParser

    return SpreadsheetParser()


def _slides() -> Parser:
    from ingest.parsers.slides import SlidesParser

    return SlidesParser()


def _epub() -> Parser:
    from ingest.parsers.epub import EpubParser

    return EpubParser()


def _mail() -> Parser:
    from ingest.parsers.mail import MailParser

    return MailParser()


def _rtf() -> Parser:
    from ingest.parsers.rtf import RtfParser

    return RtfParser()


def _records() -> Parser:
    from ingest.parsers.records import RecordsParser

    return RecordsParser()


def _csv() -> Parser:
    from ingest.parsers.csv_table import CsvParser

    return CsvParser()


def _legi() -> Parser:
    from ingest.parsers.legi import LegiParser

    return LegiParser()


def _html() -> Parser:
    from ingest.parsers.html import HtmlParser

    return HtmlParser()


def _markdown() -> Parser:
    from ingest.parsers.markdown import MarkdownParser

    return MarkdownParser()


def _text() -> Parser:
    from ingest.parsers.text import TextParser

    return TextParser()


def _image() -> Parser:
    from ingest.parsers.image import ImageParser

    return ImageParser()


_BY_KIND: Final[dict[Kind, Callable[[], Parser]]] = {
    Kind.PDF: _pdf,
    Kind.DOCX: _docx,
    Kind.ODT: _odt,
    Kind.XLSX: _spreadsheet,
    Kind.ODS: _spreadsheet,
    Kind.PPTX: _slides,
    Kind.ODP: _slides,
    Kind.EPUB: _epub,
    Kind.MSG: _mail,
    Kind.EML: _mail,
    Kind.RTF: _rtf,
    Kind.RECORDS: _records,
    Kind.LEGI: _legi,
    Kind.HTML: _html,
    Kind.CSV: _csv,
    Kind.MARKDOWN: _markdown,
    Kind.TEXT: _text,
    Kind.PNG: _image,
    Kind.JPEG: _image,
    Kind.TIFF: _image,
    Kind.WEBP: _image,
    Kind.BMP: _image,
    Kind.GIF: _image,
}


def parsers() -> list[Parser]:
    """Every parser, in the order in which they are tried: the strictest formats first, plain text last."""
    return [make() for make in dict.fromkeys(_BY_KIND.values())]


def parse(source: Source, limits: Limits) -> Parsed:
    """Read one document in this process; :class:`ingest.sandbox.Sandbox` does it for files that are not trusted.

    Raises:
        DocumentError: it cannot be taken in, or has no text.
    """
    if source.member:
        return _member(source, limits)
    if source.path.is_dir():
        from ingest.parsers.legi import parse_folder

        return _bounded(parse_folder(source.path, limits), limits)
    return parse_file(sniff(source.path, expanded=limits.expanded), limits)


def _member(source: Source, limits: Limits) -> Parsed:
    """Read a member of an archive as a file of its own, or the folder of one text in it."""
    from ingest import archives
    from ingest.parsers.legi import parse_text

    files = archives.text_files(source, limits)
    if files is not None:
        return _bounded(parse_text(files, limits), limits)
    name = Path(source.name.replace("\0", ""))
    return parse_file(sniff(name, archives.content(source, limits), expanded=limits.expanded), limits)


def parse_file(file: File, limits: Limits) -> Parsed:
    """Read what was looked at already: a file, or the content of a container's part.

    Raises:
        DocumentError: it cannot be taken in, or has no text.
    """
    try:
        parsed = _BY_KIND[file.kind]().parse(file, limits)
    except RecursionError as error:
        raise DocumentError(
            RejectReason.TOO_DEEP,
            "the file nests its parts too deeply",
            "le fichier imbrique ses éléments trop profondément",
        ) from error
    parsed = _bounded(parsed, limits)
    return replace(parsed, warnings=(file.mismatch, *parsed.warnings)) if file.mismatch else parsed


def _bounded(parsed: Parsed, limits: Limits) -> Parsed:
    """What was read, if there is any text in it and not more than a file may have pages of."""
    if not any(block.text.strip() for block in parsed.blocks):
        raise DocumentError(RejectReason.NO_TEXT, "the file holds no text", "le fichier ne contient aucun texte")
    characters = sum(len(block.text) for block in parsed.blocks)
    if characters > PAGE_CHARACTERS * limits.pages or len(parsed.blocks) > PAGE_BLOCKS * limits.pages:
        raise DocumentError(
            RejectReason.TOO_LONG,
            f"the file holds more text than {limits.pages} pages (setting `file_pages`)",
            f"le fichier contient plus de texte que {limits.pages} pages (réglage « file_pages »)",
        )
    return parsed
