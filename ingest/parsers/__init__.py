"""One parser per format behind one Protocol, and the order in which they are tried.

The libraries are imported when a file of their format comes, so that a worker holds only what it used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ingest.sniff import File, Kind, sniff
from rag.errors import DocumentError, RejectReason
from rag.types import Parsed


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may cost: ``memory`` in MiB beyond that of an idle worker."""

    seconds: int = 120
    memory: int = 1024
    pages: int = 3000
    megabytes: int = 200


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


def _html() -> Parser:
    from ingest.parsers.html import HtmlParser

    return HtmlParser()


def _markdown() -> Parser:
    from ingest.parsers.markdown import MarkdownParser

    return MarkdownParser()


def _text() -> Parser:
    from ingest.parsers.text import TextParser

    return TextParser()


_BY_KIND: Final[dict[Kind, Callable[[], Parser]]] = {
    Kind.PDF: _pdf,
    Kind.DOCX: _docx,
    Kind.ODT: _odt,
    Kind.XLSX: _spreadsheet,
    Kind.ODS: _spreadsheet,
    Kind.HTML: _html,
    Kind.MARKDOWN: _markdown,
    Kind.TEXT: _text,
}


def parsers() -> list[Parser]:
    """Every parser, in the order in which they are tried: the strictest formats first, plain text last."""
    return [make() for make in dict.fromkeys(_BY_KIND.values())]


def parse(path: Path, limits: Limits) -> Parsed:
    """Read one file in this process; :class:`ingest.sandbox.Sandbox` does it for files that are not trusted.

    Raises:
        DocumentError: it cannot be taken in, or has no text.
    """
    file = sniff(path)
    parsed = _BY_KIND[file.kind]().parse(file, limits)
    if not any(block.text.strip() for block in parsed.blocks):
        raise DocumentError(RejectReason.NO_TEXT, "the file holds no text", "le fichier ne contient aucun texte")
    return parsed
