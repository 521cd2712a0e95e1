"""DOCX by python-docx: heading styles, list numbers as they show, tables with inner tables.

Headers, footers, comments, deleted and hidden text are left out; tracked changes are read as accepted. A note
follows the paragraph that calls it, where its number stands in brackets.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from typing import Any, Final
from zipfile import BadZipFile

from docx.opc.constants import CONTENT_TYPE
from docx.opc.exceptions import OpcError
from docx.opc.part import PartFactory
from docx.package import Package
from docx.parts.document import DocumentPart
from lxml import etree

from ingest.parsers import Limits
from ingest.parsers.figures import letters, roman
from ingest.parsers.tables import table
from ingest.parsers.unseen import SMALLEST, pale
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_HEADING: Final = re.compile(r"(?:heading|titre|überschrift)\s*(\d)$", re.IGNORECASE)
_CONTENTS: Final = re.compile(r"(?:toc|tm|table of)\b", re.IGNORECASE)
_DEEPEST: Final = 40
"""Tables, controls and text boxes inside each other that are followed."""
_BELOW: Final = frozenset({BlockKind.TABLE, BlockKind.NOTE})
"""What stands in a cell and is told below its table."""
_WORD: Final = "application/vnd.ms-word."
_ALSO_DOCUMENTS: Final = (
    f"{_WORD}document.macroEnabled.main+xml",
    f"{_WORD}template.macroEnabledTemplate.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
)
"""Templates and documents with macros, which are texts like others; what they would run is never looked at."""
for _type in (*_ALSO_DOCUMENTS, CONTENT_TYPE.WML_DOCUMENT_MAIN):
    PartFactory.part_type_for[_type] = DocumentPart

Element = Any  # lxml elements are untyped


class DocxParser:
    """Word documents of 2007 and later."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.DOCX

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        try:
            with file.open() as stream:
                document = Package.open(stream).main_document_part.document
            reader = _Reader(document)
            blocks = tuple(reader.blocks(document.element.body))
            title = document.core_properties.title or None
        except (
            OpcError, BadZipFile, zlib.error, EOFError, NotImplementedError, LookupError, ValueError, TypeError,
            AttributeError, etree.XMLSyntaxError,
        ) as error:  # fmt: skip
            raise DocumentError(
                RejectReason.CORRUPT, "the Word document is broken", "le document Word est abîmé"
            ) from error
        return Parsed(blocks, Kind.DOCX.value, title=title)


class _Reader:
    """Walks the body in reading order and counts its lists."""

    def __init__(self, document: Any) -> None:
        self._styles = _Styles(document)
        self._numbering = _Numbering(document)
        self._notes = _Notes(document)
        self._carried = ""
        """The words of a paragraph whose end was deleted, which go on in the next one."""

    def blocks(self, parent: Element, depth: int = 0) -> Iterator[Block]:
        if depth > _DEEPEST:
            raise DocumentError(
                RejectReason.TOO_DEEP,
                "the document nests its tables too deeply",
                "le document imbrique trop de tableaux",
            )
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
        text = "" if style.hidden else self._carried + "".join(self._runs(paragraph))
        self._carried = ""
        if paragraph.find(f"{_W}pPr/{_W}rPr/{_W}del") is not None:
            self._carried, text = text, ""
        text = text.strip()
        number = self._numbering.next(paragraph, style) if text else None
        if text and not style.contents:
            if style.level is not None:
                yield Block(BlockKind.HEADING, " ".join(f"{number or ''} {text}".split()), style.level)
            elif number is not None:
                yield Block(BlockKind.ITEM, f"{number} {text}".strip())
            else:
                yield Block(BlockKind.PARAGRAPH, text)
        for mark, note in self._notes.taken():
            words = " ".join(" ".join(block.text.split()) for block in self.blocks(note, depth + 1))
            if words:
                yield Block(BlockKind.NOTE, f"{mark} {words}")
        for box in _boxes(paragraph):
            yield from self.blocks(box, depth + 1)

    def _runs(self, element: Element) -> Iterator[str]:
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
            elif tag in _NOTES:
                yield self._notes.call(child)
            elif tag != _W + "r" or not self._hidden(child):
                yield from self._runs(child)

    def _hidden(self, run: Element) -> bool:
        properties = run.find(_W + "rPr")
        if properties is None:
            return False
        own, named = properties.find(_W + "vanish"), properties.find(_W + "rStyle")
        if own is not None:
            return not _off(own)
        if _unseen(run, properties):
            return True
        return named is not None and named.get(_W + "val") in self._styles.hidden

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
                tables = [block for block in content if block.kind in _BELOW]
                text = " ".join(" ".join(block.text.split()) for block in content if block.kind not in _BELOW)
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
            if child.find(f"{_W}trPr/{_W}del") is None:
                yield child
        elif child.tag == _W + "sdt":
            content = child.find(_W + "sdtContent")
            if content is not None:
                yield from _rows(content)


def _cells(row: Element) -> Iterator[Element]:
    for child in row:
        if child.tag == _W + "tc":
            if child.find(f"{_W}tcPr/{_W}cellDel") is None:
                yield child
        elif child.tag == _W + "sdt":
            content = child.find(_W + "sdtContent")
            if content is not None:
                yield from _cells(content)


_GROUNDS: Final = ("shd", "highlight")
_SKIPPED: Final = frozenset(
    _W + name for name in ("del", "moveFrom", "pPr", "rPr", "instrText", "delText", "commentReference", "txbxContent")
) | {_MC + "Fallback", _W + "pict", _W + "object"}


_NOTES: Final = {_W + "footnoteReference": "footnotes", _W + "endnoteReference": "endnotes"}


class _Notes:
    """Footnotes and endnotes, numbered as they are called."""

    def __init__(self, document: Any) -> None:
        self._notes: dict[tuple[str, str], Element] = {}
        self._counts = dict.fromkeys(_NOTES.values(), 0)
        self._called: list[tuple[str, Element]] = []
        for relation in document.part.rels.values():
            kind = relation.reltype.rpartition("/")[2]
            if kind in self._counts and not relation.is_external:
                for note in _root(relation.target_part):
                    self._notes[kind, note.get(_W + "id", "")] = note

    def call(self, reference: Element) -> str:
        """What shows where a note is called."""
        kind = _NOTES[reference.tag]
        note = self._notes.pop((kind, reference.get(_W + "id", "")), None)
        if note is None:
            return ""
        self._counts[kind] += 1
        count = self._counts[kind]
        mark = f"[{count if kind == 'footnotes' else roman(count).lower()}]"
        self._called.append((mark, note))
        return mark

    def taken(self) -> list[tuple[str, Element]]:
        """The notes called since this was asked last."""
        called, self._called = self._called, []
        return called


def _root(part: Any) -> Element:
    """The tree of a part that python-docx may have left unread."""
    if hasattr(part, "element"):
        return part.element
    return etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))


def _unseen(run: Element, properties: Element) -> bool:
    """Whether the letters of a run are too small to read, or white on the white of the page."""
    size, colour = properties.find(_W + "sz"), properties.find(_W + "color")
    if size is not None and (size.get(_W + "val") or "").isdigit() and int(size.get(_W + "val")) < 2 * SMALLEST:
        return True
    if colour is None or not pale(colour.get(_W + "val") or ""):
        return False
    # A table's own style may colour its cells, and a paragraph or run has its ground.
    grounds = (properties, run.getparent().find(_W + "pPr"))
    shaded = any(found is not None and found.find(_W + kind) is not None for found in grounds for kind in _GROUNDS)
    return not shaded and next(run.iterancestors(_W + "tbl"), None) is None


def _off(element: Element) -> bool:
    """Whether a switch such as « hidden » is written and says no."""
    return element.get(_W + "val", "true") in {"false", "0", "off"}


def _boxes(paragraph: Element) -> Iterator[Element]:
    """Text boxes anchored in a paragraph, once each: the fallback for old readers repeats them."""
    for box in paragraph.iter(_W + "txbxContent"):
        above = list(itertools.takewhile(lambda ancestor: ancestor is not paragraph, box.iterancestors()))
        if not any(ancestor.tag in {_MC + "Fallback", _W + "txbxContent"} for ancestor in above):
            yield box


class _Style:
    """What a paragraph style says: the heading level, the list it belongs to, whether it is a table of contents."""

    __slots__ = ("contents", "hidden", "level", "numbering")

    def __init__(
        self, level: int | None = None, numbering: Element = None, *, contents: bool = False, hidden: bool = False
    ) -> None:
        self.level = level
        self.numbering = numbering
        self.contents = contents
        self.hidden = hidden


class _Styles:
    def __init__(self, document: Any) -> None:
        self._elements: dict[str, Element] = {}
        self._known: dict[str, _Style] = {}
        self._default = ""
        self.hidden: set[str] = set()
        """The character styles whose text does not show."""
        for style in document.styles.element.iter(_W + "style"):
            vanish = style.find(f"{_W}rPr/{_W}vanish")
            if style.get(_W + "type") == "character" and vanish is not None and not _off(vanish):
                self.hidden.add(style.get(_W + "styleId"))
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
            return _Style(
                level + 1 if level < 9 else None, style.numbering, contents=style.contents, hidden=style.hidden
            )
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
        vanish = element.find(f"{_W}rPr/{_W}vanish")
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
            hidden=parent.hidden if vanish is None else not _off(vanish),
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
        root = _root(part)
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
        return letters(count).upper() if style == "upperLetter" else letters(count)
    if style in {"lowerRoman", "upperRoman"}:
        return roman(count) if style == "upperRoman" else roman(count).lower()
    if style == "ordinal":
        return "1er" if count == 1 else str(count)
    return str(count)
