"""DOCX by python-docx: heading styles, list numbers as they show, tables with inner tables.

Headers, footers, comments, deleted and hidden text are left out; inserted text counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from zipfile import BadZipFile

import docx
from docx.opc.exceptions import OpcError
from lxml import etree

from ingest.parsers import Limits
from ingest.parsers.tables import table
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_HEADING: Final = re.compile(r"(?:heading|titre|überschrift)\s*(\d)$", re.IGNORECASE)
_CONTENTS: Final = re.compile(r"(?:toc|tm|table of)\b", re.IGNORECASE)
_DEEPEST: Final = 20
"""Nesting of tables and content controls that is followed."""

Element = Any  # lxml elements are untyped


class DocxParser:
    """Word documents of 2007 and later."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.DOCX

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        try:
            with file.open() as stream:
                document = docx.Document(stream)
            reader = _Reader(document)
            blocks = tuple(reader.blocks(document.element.body))
            title = document.core_properties.title or None
        except (OpcError, BadZipFile, KeyError, ValueError, AttributeError, IndexError, etree.XMLSyntaxError) as error:
            raise DocumentError(
                RejectReason.CORRUPT, "the Word document is broken", "le document Word est abîmé"
            ) from error
        return Parsed(blocks, Kind.DOCX.value, title=title)


class _Reader:
    """Walks the body in reading order and counts its lists."""

    def __init__(self, document: Any) -> None:
        self._styles = _Styles(document)
        self._numbering = _Numbering(document)

    def blocks(self, parent: Element, depth: int = 0) -> Iterator[Block]:
        if depth > _DEEPEST:
            return
        for child in parent:
            if child.tag == _W + "p":
                yield from self._paragraph(child, depth)
            elif child.tag == _W + "tbl":
                yield from self._table(child, depth)
            elif child.tag == _W + "sdt":
                content = child.find(_W + "sdtContent")
                if content is not None:
                    yield from self.blocks(content, depth + 1)
            elif child.tag in {_W + "customXml", _W + "smartTag", _W + "ins", _W + "moveTo"}:
                yield from self.blocks(child, depth + 1)

    def _paragraph(self, paragraph: Element, depth: int) -> Iterator[Block]:
        style = self._styles.of(paragraph)
        text = "".join(_runs(paragraph)).strip()
        number = self._numbering.next(paragraph, style) if text else None
        if text and not style.contents:
            if style.level is not None:
                yield Block(BlockKind.HEADING, " ".join(f"{number or ''} {text}".split()), style.level)
            elif number is not None:
                yield Block(BlockKind.ITEM, f"{number} {text}".strip())
            else:
                yield Block(BlockKind.PARAGRAPH, text)
        for box in _boxes(paragraph):
            yield from self.blocks(box, depth + 1)

    def _table(self, element: Element, depth: int) -> Iterator[Block]:
        rows: list[list[str]] = []
        inner: list[Block] = []
        above: dict[int, str] = {}
        for row in _rows(element):
            cells: list[str] = []
            for cell in _cells(row):
                properties = cell.find(_W + "tcPr")
                merge = None if properties is None else properties.find(_W + "vMerge")
                span = None if properties is None else properties.find(_W + "gridSpan")
                content = list(self.blocks(cell, depth + 1))
                tables = [block for block in content if block.kind is BlockKind.TABLE]
                text = " ".join(" ".join(block.text.split()) for block in content if block.kind is not BlockKind.TABLE)
                if merge is not None and merge.get(_W + "val", "continue") == "continue":
                    text = above.get(len(cells), text)
                above[len(cells)] = text
                inner += tables
                width = int(span.get(_W + "val", "1")) if span is not None else 1
                cells += [text, *([""] * min(max(width - 1, 0), 60))]
            rows.append(cells)
        filled = [row for row in rows if any(row)]
        if filled and max(map(len, filled)) == 1:  # a frame around a text
            yield from (Block(BlockKind.PARAGRAPH, row[0]) for row in filled)
        elif filled:
            yield table(filled)
        yield from inner


def _rows(element: Element) -> Iterator[Element]:
    for child in element:
        if child.tag == _W + "tr":
            yield child
        elif child.tag == _W + "sdt":
            content = child.find(_W + "sdtContent")
            if content is not None:
                yield from _rows(content)


def _cells(row: Element) -> Iterator[Element]:
    for child in row:
        if child.tag == _W + "tc":
            yield child
        elif child.tag == _W + "sdt":
            content = child.find(_W + "sdtContent")
            if content is not None:
                yield from _cells(content)


_SKIPPED: Final = frozenset(
    _W + name for name in ("del", "moveFrom", "pPr", "rPr", "instrText", "delText", "commentReference", "txbxContent")
) | {_MC + "Fallback", _W + "pict", _W + "object"}


def _runs(element: Element) -> Iterator[str]:
    """The words of a paragraph as they show: no deleted, hidden or field text; breaks as line ends."""
    for child in element:
        tag = child.tag
        if tag in _SKIPPED or not isinstance(tag, str):
            continue
        if tag == _W + "t":
            yield child.text or ""
        elif tag == _W + "tab":
            yield "\t"
        elif tag in {_W + "br", _W + "cr"}:
            yield "\n"
        elif tag == _W + "noBreakHyphen":
            yield "-"
        elif tag == _W + "r" and _hidden(child):
            continue
        else:
            yield from _runs(child)


def _hidden(run: Element) -> bool:
    vanish = run.find(f"{_W}rPr/{_W}vanish")
    return vanish is not None and vanish.get(_W + "val", "true") not in {"false", "0"}


def _boxes(paragraph: Element) -> Iterator[Element]:
    """Text boxes anchored in a paragraph, once each: the fallback for old readers repeats them."""
    for box in paragraph.iter(_W + "txbxContent"):
        fallback = any(ancestor.tag == _MC + "Fallback" for ancestor in box.iterancestors())
        nested = next(box.iterancestors(_W + "txbxContent"), None) is not None
        if not fallback and not nested:
            yield box


class _Style:
    """What a paragraph style says: the heading level, the list it belongs to, whether it is a table of contents."""

    __slots__ = ("contents", "level", "numbering")

    def __init__(self, level: int | None = None, numbering: Element = None, *, contents: bool = False) -> None:
        self.level = level
        self.numbering = numbering
        self.contents = contents


class _Styles:
    def __init__(self, document: Any) -> None:
        self._elements: dict[str, Element] = {}
        self._known: dict[str, _Style] = {}
        self._default = ""
        for style in document.styles.element.iter(_W + "style"):
            if style.get(_W + "type") == "paragraph":
                self._elements[style.get(_W + "styleId")] = style
                if style.get(_W + "default") in {"1", "true"}:
                    self._default = style.get(_W + "styleId")

    def of(self, paragraph: Element) -> _Style:
        properties = paragraph.find(_W + "pPr")
        named = None if properties is None else properties.find(_W + "pStyle")
        style = self._resolved(self._default if named is None else named.get(_W + "val", ""), 0)
        own = None if properties is None else properties.find(_W + "outlineLvl")
        if own is not None and own.get(_W + "val", "").isdigit():
            level = int(own.get(_W + "val"))
            return _Style(level + 1 if level < 9 else None, style.numbering, contents=style.contents)
        return style

    def _resolved(self, name: str, depth: int) -> _Style:
        if name in self._known:
            return self._known[name]
        element = self._elements.get(name)
        if element is None or depth > _DEEPEST:
            return _Style()
        based = element.find(_W + "basedOn")
        parent = _Style() if based is None else self._resolved(based.get(_W + "val", ""), depth + 1)
        label = element.find(_W + "name")
        title = "" if label is None else label.get(_W + "val", "")
        outline = element.find(f"{_W}pPr/{_W}outlineLvl")
        numbering = element.find(f"{_W}pPr/{_W}numPr")
        level = parent.level
        if (match := _HEADING.match(title)) is not None:
            level = int(match[1])
        elif outline is not None and outline.get(_W + "val", "").isdigit():
            level = int(outline.get(_W + "val")) + 1 if int(outline.get(_W + "val")) < 9 else None
        elif title.lower() == "title":
            level = 1
        style = _Style(
            level,
            parent.numbering if numbering is None else numbering,
            contents=parent.contents or _CONTENTS.match(title) is not None,
        )
        self._known[name] = style
        return style


class _Numbering:
    """Counts lists as a word processor does, and writes their numbers."""

    def __init__(self, document: Any) -> None:
        self._levels: dict[str, dict[int, Element]] = {}
        self._abstract: dict[str, str] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._counts: dict[str, dict[int, int]] = {}
        part = next(
            (rel.target_part for rel in document.part.rels.values() if rel.reltype.endswith("/numbering")), None
        )
        if part is None:
            return
        root = (
            part.element
            if hasattr(part, "element")
            else etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))
        )
        for abstract in root.iter(_W + "abstractNum"):
            self._levels[abstract.get(_W + "abstractNumId")] = {
                int(level.get(_W + "ilvl", "0")): level for level in abstract.iter(_W + "lvl")
            }
        for number in root.iter(_W + "num"):
            abstract = number.find(_W + "abstractNumId")
            if abstract is None:
                continue
            name = number.get(_W + "numId")
            self._abstract[name] = abstract.get(_W + "val")
            for override in number.iter(_W + "lvlOverride"):
                start = override.find(_W + "startOverride")
                if start is not None:
                    self._starts[name, int(override.get(_W + "ilvl", "0"))] = int(start.get(_W + "val", "1"))

    def next(self, paragraph: Element, style: _Style) -> str | None:
        """The number or bullet that shows before ``paragraph``; ``None`` in no list, ``""`` for a hidden one."""
        own = paragraph.find(f"{_W}pPr/{_W}numPr")
        properties = style.numbering if own is None else own
        if properties is None:
            return None
        number = properties.find(_W + "numId")
        if number is None and style.numbering is not None:
            number = style.numbering.find(_W + "numId")
        indent = properties.find(_W + "ilvl")
        name = "0" if number is None else number.get(_W + "val", "0")
        if name == "0" or name not in self._abstract:
            return None
        value = "0" if indent is None else indent.get(_W + "val", "0")
        depth = int(value) if value.isdigit() else 0
        levels = self._levels.get(self._abstract[name], {})
        return self._written(name, depth, levels)

    def _written(self, name: str, depth: int, levels: dict[int, Element]) -> str:
        key = name if any(owner == name for owner, _ in self._starts) else self._abstract[name]
        counts = self._counts.setdefault(key, {})
        counts[depth] = counts[depth] + 1 if depth in counts else self._start(name, depth, levels)
        for deeper in [level for level in counts if level > depth]:
            del counts[deeper]
        for above in range(depth):
            counts.setdefault(above, self._start(name, above, levels))
        level = levels.get(depth)
        style = _value(level, "numFmt")
        if style == "none":
            return ""
        if style == "bullet":
            return "-"
        pattern = _value(level, "lvlText") or f"%{depth + 1}."
        return re.sub(
            r"%(\d)",
            lambda match: _figure(counts.get(int(match[1]) - 1, 1), _value(levels.get(int(match[1]) - 1), "numFmt")),
            pattern,
        )

    def _start(self, name: str, depth: int, levels: dict[int, Element]) -> int:
        if (name, depth) in self._starts:
            return self._starts[name, depth]
        value = _value(levels.get(depth), "start")
        return int(value) if value.isdigit() else 1


def _value(level: Element, name: str) -> str:
    child = None if level is None else level.find(_W + name)
    return "" if child is None else child.get(_W + "val", "")


def _figure(count: int, style: str) -> str:
    if style in {"lowerLetter", "upperLetter"}:
        letter = chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)
        return letter.upper() if style == "upperLetter" else letter
    if style in {"lowerRoman", "upperRoman"}:
        figure = roman(count)
        return figure if style == "upperRoman" else figure.lower()
    if style == "ordinal":
        return "1er" if count == 1 else str(count)
    return str(count)


def roman(count: int) -> str:
    """A positive number in Roman figures."""
    figure = ""
    for value, sign in (
        (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
        (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
    ):  # fmt: skip
        while count >= value:
            figure += sign
            count -= value
    return figure
