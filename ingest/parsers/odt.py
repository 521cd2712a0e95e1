"""ODT: the package read by odfdo, its content walked in reading order.

Headers, footers, comments, deleted and hidden text are left out; list and heading numbers are written as they show.
A note follows the paragraph that calls it, where its number stands in brackets.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, Final
from zipfile import BadZipFile

import odfdo
from lxml import etree
from odfdo.security import SecurityError

from ingest.parsers import Limits
from ingest.parsers.figures import letters, roman
from ingest.parsers.tables import table
from ingest.parsers.unseen import SMALLEST, pale
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

TEXT: Final = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
TABLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
OFFICE: Final = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
STYLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
FO: Final = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"
PRESENTATION: Final = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
DRAW: Final = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_SKIPPED: Final = frozenset(
    {OFFICE + "annotation", OFFICE + "annotation-end", TEXT + "tracked-changes", TEXT + "hidden-text"}
    | {TEXT + "table-of-content", TEXT + "alphabetical-index", TEXT + "hidden-paragraph", TEXT + "sequence-decls"}
    | {TEXT + "illustration-index", TEXT + "table-index", TEXT + "user-index", TEXT + "object-index"}
    | {OFFICE + "forms", OFFICE + "event-listeners", OFFICE + "scripts"}
)
_MOST_REPEATED: Final = 64
"""Cells or rows that one element may stand for; spreadsheets fill their sheets to the edge this way."""
_BELOW: Final = frozenset({BlockKind.TABLE, BlockKind.NOTE})
"""What stands in a cell and is told below its table."""
_DEEPEST: Final = 40
"""Tables, lists and frames inside each other that are followed."""

Element = Any  # lxml elements are untyped


class OdtParser:
    """OpenDocument texts."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.ODT

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        content, styles, title = parts(file)
        body = content.find(f"{OFFICE}body/{OFFICE}text")
        if body is None:
            raise broken()
        return Parsed(tuple(Reader(content, styles).blocks(body)), Kind.ODT.value, title=title)


def broken() -> DocumentError:
    return DocumentError(RejectReason.CORRUPT, "the OpenDocument file is broken", "le fichier OpenDocument est abîmé")


def parts(file: File) -> tuple[Element, Element | None, str | None]:
    """The content and styles of an OpenDocument package as trees that fetch and expand nothing, and its title."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        package = odfdo.Container(io.BytesIO(file.read()))
        content = etree.fromstring(package.get_part("content.xml"), parser)
        names = package.parts
        styles = etree.fromstring(package.get_part("styles.xml"), parser) if "styles.xml" in names else None
        meta = etree.fromstring(package.get_part("meta.xml"), parser) if "meta.xml" in names else None
    except SecurityError as error:  # its limit of the ratio has no floor
        raise DocumentError(
            RejectReason.TOO_LARGE,
            "a part of the OpenDocument file would expand far beyond its size",
            "une partie du fichier OpenDocument se déploierait bien au-delà de sa taille",
        ) from error
    except (
        BadZipFile, zlib.error, EOFError, NotImplementedError, LookupError, ValueError, TypeError, AttributeError,
        OSError, etree.XMLSyntaxError,
    ) as error:  # fmt: skip
        raise broken() from error
    title = None if meta is None else meta.findtext(f".//{_DC}title")
    return content, styles, title or None


def _level(style: Element) -> int:
    value = style.get(TEXT + "level", "1")
    return int(value) if value.isdecimal() and len(value) < 3 else 1


def too_deep() -> DocumentError:
    return DocumentError(
        RejectReason.TOO_DEEP,
        "the file nests its parts too deeply",
        "le fichier imbrique ses éléments trop profondément",
    )


class Reader:
    """Walks a text in reading order and counts its lists."""

    def __init__(self, content: Element, styles: Element | None) -> None:
        self._lists: dict[str, dict[int, Element]] = {}
        self._outline: dict[int, Element] = {}
        self._headings: dict[int, int] = {}
        self._continued: dict[str, dict[int, int]] = {}
        for root in (content, styles):
            if root is None:
                continue
            for style in root.iter(TEXT + "list-style"):
                self._lists[style.get(STYLE + "name", "")] = {
                    _level(level): level for level in style if isinstance(level.tag, str)
                }
            for level in root.iter(TEXT + "outline-level-style"):
                self._outline[_level(level)] = level
        _drop_hidden(content, styles)

    def blocks(self, parent: Element, depth: int = 0) -> Iterator[Block]:
        """What stands in an element."""
        for child in parent:
            yield from self.shape(child, depth)

    def shape(self, element: Element, depth: int = 0) -> Iterator[Block]:
        """What one element is, or holds."""
        if depth > _DEEPEST:
            raise too_deep()
        tag = element.tag
        if tag in _SKIPPED or not isinstance(tag, str):
            return
        if tag == TEXT + "h":
            yield from self._heading(element)
        elif tag == TEXT + "p":
            yield from self._paragraph(element, BlockKind.PARAGRAPH, "", depth)
        elif tag == TEXT + "list":
            yield from self._list(element, "", 1, {}, depth)
        elif tag == TABLE + "table":
            yield from self._table(element, depth)
        else:  # sections, frames, text boxes
            yield from self.blocks(element, depth + 1)

    def _heading(self, element: Element) -> Iterator[Block]:
        text = words(element)
        value = element.get(TEXT + "outline-level", "1")
        level = int(value) if value.isdecimal() and len(value) < 3 else 1
        if not text:
            return
        number = ""
        if element.get(TEXT + "is-list-header") != "true":
            self._headings[level] = self._headings.get(level, 0) + 1
            for deeper in [other for other in self._headings if other > level]:
                del self._headings[deeper]
            number = _number(self._outline, level, self._headings)
        yield Block(BlockKind.HEADING, f"{number} {text}".strip(), level)
        yield from _notes(element)

    def _paragraph(self, element: Element, kind: BlockKind, marker: str, depth: int) -> Iterator[Block]:
        text = words(element)
        if text:
            yield Block(kind, f"{marker} {text}".strip())
        yield from _notes(element)
        for shape in _shapes(element):
            yield from self.blocks(shape, depth + 1)

    def _list(self, element: Element, style: str, level: int, counts: dict[int, int], depth: int) -> Iterator[Block]:
        if depth > _DEEPEST:
            raise too_deep()
        style = element.get(TEXT + "style-name") or style
        levels = self._lists.get(style, {})
        if level == 1:
            counts = self._continued.get(style, {}) if element.get(TEXT + "continue-numbering") == "true" else {}
            self._continued[style] = counts
        counts.pop(level, None) if level > 1 else None
        for item in element:
            if item.tag not in {TEXT + "list-item", TEXT + "list-header"}:
                continue
            marker = ""
            if item.tag == TEXT + "list-item":
                start = levels[level].get(TEXT + "start-value", "1") if level in levels else "1"
                begin = int(start) if start.isdigit() else 1
                counts[level] = counts[level] + 1 if level in counts else begin
                marker = _number(levels, level, counts) or "-"
            for child in item:
                if child.tag == TEXT + "list":
                    yield from self._list(child, style, level + 1, counts, depth + 1)
                elif child.tag == TEXT + "h":
                    yield from self._heading(child)
                elif child.tag == TEXT + "p":
                    yield from self._paragraph(child, BlockKind.ITEM, marker, depth)
                    marker = ""
                elif child.tag == TABLE + "table":
                    yield from self._table(child, depth + 1)

    def _table(self, element: Element, depth: int) -> Iterator[Block]:
        inner: list[Block] = []
        rows = []
        for row in rows_of(element):
            cells: list[str] = []
            for cell in row:
                if cell.tag not in {TABLE + "table-cell", TABLE + "covered-table-cell"}:
                    continue
                content = list(self.blocks(cell, depth + 1))
                inner += [block for block in content if block.kind in _BELOW]
                text = " ".join(" ".join(block.text.split()) for block in content if block.kind not in _BELOW)
                cells += [text] * repeated(cell, "columns")
            rows += [tuple(cells)] * repeated(row, "rows")
        filled = [row for row in rows if any(row)]
        if filled and max(map(len, filled)) == 1:  # a frame around a text
            yield from (Block(BlockKind.PARAGRAPH, row[0]) for row in filled)
        elif filled:
            yield table(filled)
        yield from inner


def _drop_hidden(content: Element, styles: Element | None) -> None:
    """Take out what a style or a section does not display."""
    hidden = {
        style.get(STYLE + "name")
        for root in (content, styles)
        if root is not None
        for style in root.iter(STYLE + "style")
        if any(child.get(TEXT + "display") in {"none", "true"} for child in style)
    }
    faint = {
        style.get(STYLE + "name")
        for root in (content, styles)
        if root is not None
        for style in root.iter(STYLE + "style")
        if any(_unseen(child) for child in style)
    }
    for element in list(content.iter(TEXT + "span", TEXT + "p", TEXT + "h", TEXT + "section")):
        named = element.get(TEXT + "style-name")
        # White letters in a table may stand in a coloured cell.
        unseen = named in faint and next(element.iterancestors(TABLE + "table-cell"), None) is None
        if named in hidden or unseen or element.get(TEXT + "display") == "none":
            parent, before = element.getparent(), element.getprevious()
            if parent is None:
                continue
            tail = element.tail or ""
            if before is None:
                parent.text = (parent.text or "") + tail
            else:
                before.tail = (before.tail or "") + tail
            parent.remove(element)


def _unseen(properties: Element) -> bool:
    """Whether a style writes too small to read, or white without a ground."""
    size = re.fullmatch(r"(\d*\.?\d+)pt", properties.get(FO + "font-size", ""))
    if size is not None and float(size[1]) < SMALLEST:
        return True
    ground = properties.get(FO + "background-color", "transparent")
    return pale(properties.get(FO + "color", "")) and (ground == "transparent" or pale(ground))


def _notes(element: Element) -> Iterator[Block]:
    """The notes that a paragraph calls, those in its frames left to them."""
    for child in element:
        if not isinstance(child.tag, str) or child.tag in _SKIPPED or child.tag.startswith(DRAW):
            continue
        if child.tag == TEXT + "note":
            body = child.find(TEXT + "note-body")
            text = "" if body is None else words(body)
            if text:
                yield Block(BlockKind.NOTE, f"{_mark(child)} {text}")
        else:
            yield from _notes(child)


def _mark(note: Element) -> str:
    """How a note is called in the text."""
    return f"[{(note.findtext(TEXT + 'note-citation') or '*').strip()}]"


def _shapes(element: Element) -> Iterator[Element]:
    """The frames and drawings anchored in a paragraph, which may hold texts of their own."""
    for child in element:
        if isinstance(child.tag, str) and child.tag not in _SKIPPED:
            if child.tag.startswith(DRAW):
                yield child
            elif child.tag.startswith(TEXT):
                yield from _shapes(child)


def rows_of(element: Element) -> Iterator[Element]:
    """The rows of a table, those in header and group elements included, none of inner tables."""
    for child in element:
        if child.tag == TABLE + "table-row":
            yield child
        elif child.tag in {TABLE + "table-header-rows", TABLE + "table-rows", TABLE + "table-row-group"}:
            yield from rows_of(child)


def repeated(element: Element, what: str) -> int:
    """How many cells or rows one element stands for, within reason."""
    value = element.get(f"{TABLE}number-{what}-repeated", "1")
    return max(1, min(int(value) if value.isdigit() and len(value) < 9 else 1, _MOST_REPEATED))


def words(element: Element) -> str:
    """The words of a paragraph as they show, in one line; of a note its number, in brackets."""
    return " ".join("".join(_pieces(element)).split())


def _pieces(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        tag = child.tag
        if isinstance(tag, str) and tag not in _SKIPPED:
            if tag in {TEXT + "s", TEXT + "tab", TEXT + "line-break"}:
                yield " "
            elif tag == TEXT + "note":
                yield _mark(child)
            elif tag in {TEXT + "p", TEXT + "h"}:
                yield " "
                yield from _pieces(child)
                yield " "
            elif tag.startswith(DRAW):
                pass  # text boxes are blocks of their own
            else:
                yield from _pieces(child)
        yield child.tail or ""


def _number(levels: dict[int, Element], level: int, counts: dict[int, int]) -> str:
    """The number that shows at ``level``; empty where the style shows none, ``-`` for a bullet."""
    style = levels.get(level)
    if style is None:
        return ""
    if style.tag == TEXT + "list-level-style-bullet":
        return "-"
    form = style.get(STYLE + "num-format", "")
    if not form:
        return ""
    shown = style.get(TEXT + "display-levels", "1")
    first = level - (int(shown) if shown.isdigit() else 1) + 1
    figures = [
        _figure(counts.get(step, 1), levels[step].get(STYLE + "num-format", ""))
        for step in range(max(first, 1), level + 1)
        if step in levels and levels[step].get(STYLE + "num-format", "")
    ]
    return f"{style.get(STYLE + 'num-prefix', '')}{'.'.join(figures)}{style.get(STYLE + 'num-suffix', '')}".strip()


def _figure(count: int, form: str) -> str:
    if form in {"a", "A"}:
        return letters(count) if form == "a" else letters(count).upper()
    if form in {"i", "I"}:
        return roman(count) if form == "I" else roman(count).lower()
    return str(count)
