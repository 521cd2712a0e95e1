"""PPTX by python-pptx and ODP by odfdo: one page per slide, its title as heading, then its texts in reading order.

Reading order is that of the file, which is what screen readers follow; the title comes first. Hidden slides and
speaker notes are left out, for the audience does not see them, and so are dates, footers and slide numbers; warnings
say how many there were of what could be missed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final
from zipfile import BadZipFile

import pptx.exc
import pptx.package
from lxml import etree

from ingest.parsers import Limits
from ingest.parsers.odt import DRAW, OFFICE, PRESENTATION, STYLE, Reader, broken, parts
from ingest.parsers.tables import table
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P: Final = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DIAGRAM: Final = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_CHART: Final = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_MC: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_TITLES: Final = frozenset({"title", "ctrTitle"})
_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr"})
_LISTED: Final = frozenset({"", "body", "obj"})
"""Placeholders whose paragraphs have bullets unless they say otherwise; a layout's content has no type."""
_ODP_FURNITURE: Final = frozenset({"date-time", "footer", "header", "page-number", "notes", "page"})
_DEEPEST: Final = 40
"""Groups of shapes inside each other."""
_DEFAULT_TITLES: Final = frozenset({"powerpoint presentation", "présentation powerpoint", "slide 1", "diapositive 1"})

Element = Any  # lxml elements are untyped


class SlidesParser:
    """Presentations of PowerPoint 2007 and later, and OpenDocument presentations."""

    def accepts(self, file: File) -> bool:
        return file.kind in {Kind.PPTX, Kind.ODP}

    def parse(self, file: File, limits: Limits) -> Parsed:
        return _pptx(file, limits) if file.kind is Kind.PPTX else _odp(file, limits)


def _checked(slides: int, limits: Limits) -> None:
    if slides > limits.pages:
        raise DocumentError(
            RejectReason.TOO_LONG,
            f"the presentation has more than {limits.pages} slides (setting `file_pages`)",
            f"la présentation a plus de {limits.pages} diapositives (réglage « file_pages »)",
        )


def _warnings(hidden: int, notes: int, charts: int = 0) -> tuple[str, ...]:
    said = (
        (hidden, "hidden slides left out"),
        (notes, "slides whose speaker notes were left out"),
        (charts, "charts left out"),
    )
    return tuple(f"{count} {what}" for count, what in said if count)


def _title(stated: str | None, blocks: list[Block]) -> str | None:
    """The title that the file states, but for those that programs fill in; else that of the first slide."""
    if stated and stated.strip() and stated.strip().lower() not in _DEFAULT_TITLES:
        return " ".join(stated.split())
    return next((block.text for block in blocks if block.kind is BlockKind.HEADING), None)


# --- PPTX -----------------------------------------------------------------------------------------------


def _pptx(file: File, limits: Limits) -> Parsed:
    blocks: list[Block] = []
    hidden = notes = charts = 0
    try:
        with file.open() as stream:
            part = pptx.package.Package.open(stream).presentation_part
        slides = list(part.presentation.slides)
        _checked(len(slides), limits)
        for page, slide in enumerate(slides, 1):
            if slide.element.get("show") in {"0", "false"}:
                hidden += 1
                continue
            notes += slide.has_notes_slide and bool((slide.notes_slide.notes_text_frame or _Empty).text.strip())
            shapes = list(_shapes(slide.element.find(f"{_P}cSld/{_P}spTree")))
            charts += sum(next(shape.iter(_CHART + "chart"), None) is not None for shape in shapes)
            blocks += _slide(slide.part, shapes, page)
        title = _title(part.package.core_properties.title, blocks)
    except (
        pptx.exc.PythonPptxError, BadZipFile, zlib.error, EOFError, NotImplementedError, LookupError, ValueError,
        TypeError, AttributeError, etree.XMLSyntaxError,
    ) as error:  # fmt: skip
        raise DocumentError(RejectReason.CORRUPT, "the presentation is broken", "la présentation est abîmée") from error
    return Parsed(tuple(blocks), Kind.PPTX.value, title, len(slides), _warnings(hidden, notes, charts))


class _Empty:
    """A notes page without a frame for notes."""

    text = ""


def _shapes(parent: Element, depth: int = 0) -> Iterator[Element]:
    """The shapes of a slide that hold something, those in groups included."""
    if depth > _DEEPEST:
        raise DocumentError(
            RejectReason.TOO_DEEP,
            "the presentation nests its shapes too deeply",
            "la présentation imbrique trop de formes",
        )
    for shape in parent:
        if shape.tag in {_P + "sp", _P + "graphicFrame"} and not _invisible(shape):
            yield shape
        elif shape.tag == _P + "grpSp" and not _invisible(shape):
            yield from _shapes(shape, depth + 1)
        elif shape.tag == _MC + "AlternateContent":
            choice = shape.find(_MC + "Choice")
            if choice is not None:
                yield from _shapes(choice, depth + 1)


def _invisible(shape: Element) -> bool:
    return any(name.get("hidden") in {"1", "true"} for name in shape.iterfind(f"*/{_P}cNvPr"))


def _placeholder(shape: Element) -> str | None:
    """The kind of placeholder that a shape fills; ``None`` for what stands freely."""
    found = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return None if found is None else found.get("type", "")


def _slide(part: Any, shapes: list[Element], page: int) -> Iterator[Block]:
    titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
    for shape in titles:
        text = " ".join(" ".join(_words(paragraph) for paragraph in shape.iter(_A + "p")).split())
        if text:
            yield Block(BlockKind.HEADING, text, 1 if _placeholder(shape) == "ctrTitle" and page == 1 else 2, page)
    for shape in shapes:
        kind = _placeholder(shape)
        if kind in _TITLES or kind in _FURNITURE:
            continue
        grid = shape.find(f".//{_A}tbl")
        drawn = shape.find(f".//{_DIAGRAM}relIds")
        if grid is not None:
            yield from _table(grid, page)
        elif drawn is not None:
            yield from _diagram(part, drawn, page)
        elif (body := shape.find(_P + "txBody")) is not None:
            yield from _paragraphs(body, page, listed=kind in _LISTED)


def _paragraphs(body: Element, page: int, *, listed: bool) -> Iterator[Block]:
    counts: dict[int, int] = {}
    for paragraph in body.iterchildren(_A + "p"):
        text = _words(paragraph).strip()
        if not text:
            continue
        properties = paragraph.find(_A + "pPr")
        level = 0 if properties is None else int(properties.get("lvl", "0"))
        counts = {deeper: count for deeper, count in counts.items() if deeper <= level}
        number = None if properties is None else properties.find(_A + "buAutoNum")
        if number is not None:
            counts[level] = counts[level] + 1 if level in counts else int(number.get("startAt", "1"))
            yield Block(BlockKind.ITEM, f"{counts[level]}. {text}", page=page)
            continue
        counts.pop(level, None)
        signs = set() if properties is None else {child.tag for child in properties}
        bullet = _A + "buChar" in signs or (listed and _A + "buNone" not in signs)
        yield Block(BlockKind.ITEM, f"- {text}", page=page) if bullet else Block(BlockKind.PARAGRAPH, text, page=page)


def _words(paragraph: Element) -> str:
    """The words of a paragraph: its runs and fields, breaks as line ends."""
    pieces = []
    for child in paragraph:
        if child.tag == _A + "br":
            pieces.append("\n")
        elif child.tag in {_A + "r", _A + "fld"}:
            pieces.append(child.findtext(_A + "t") or "")
    return "".join(pieces).replace("\v", "\n")


def _table(grid: Element, page: int) -> Iterator[Block]:
    rows: list[list[str]] = []
    for row in grid.iterchildren(_A + "tr"):
        cells: list[str] = []
        for cell in row.iterchildren(_A + "tc"):
            text = " ".join(" ".join(_words(paragraph).split()) for paragraph in cell.iter(_A + "p")).strip()
            if cell.get("vMerge") in {"1", "true"} and rows and len(cells) < len(rows[-1]):
                text = rows[-1][len(cells)]
            cells.append("" if cell.get("hMerge") in {"1", "true"} else text)
        rows.append(cells)
    if any(any(row) for row in rows):
        yield table(rows, page)


def _diagram(part: Any, drawn: Element, page: int) -> Iterator[Block]:
    """The words of a SmartArt, which lie in a part of their own."""
    name = drawn.get(_R + "dm")
    if name is None or name not in part.rels or part.rels[name].is_external:
        return
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(part.related_part(name).blob, parser)
    for point in root.iter(_DIAGRAM + "pt"):
        for paragraph in point.iter(_A + "p"):
            text = _words(paragraph).strip()
            if text:
                yield Block(BlockKind.ITEM, f"- {text}", page=page)


# --- ODP ------------------------------------------------------------------------------------------------


def _odp(file: File, limits: Limits) -> Parsed:
    content, styles, stated = parts(file)
    body = content.find(f"{OFFICE}body/{OFFICE}presentation")
    if body is None:
        raise broken()
    concealed = {
        style.get(STYLE + "name")
        for style in content.iter(STYLE + "style")
        if any(child.get(PRESENTATION + "visibility") == "hidden" for child in style)
    }
    reader = Reader(content, styles)
    blocks: list[Block] = []
    slides = list(body.iterchildren(DRAW + "page"))
    _checked(len(slides), limits)
    hidden = notes = 0
    for page, slide in enumerate(slides, 1):
        if slide.get(DRAW + "style-name") in concealed:
            hidden += 1
            continue
        aside = slide.find(PRESENTATION + "notes")
        notes += aside is not None and any(
            block.text
            for frame in aside
            if frame.get(PRESENTATION + "class") == "notes"
            for block in reader.blocks(frame)
        )
        blocks += _odp_slide(reader, slide, page)
    return Parsed(tuple(blocks), Kind.ODP.value, _title(stated, blocks), len(slides), _warnings(hidden, notes))


def _odp_slide(reader: Reader, slide: Element, page: int) -> Iterator[Block]:
    frames = [shape for shape in slide if shape.get(PRESENTATION + "class") not in _ODP_FURNITURE]
    frames = [shape for shape in frames if shape.tag != PRESENTATION + "notes"]
    titles = [shape for shape in frames if shape.get(PRESENTATION + "class") == "title"]
    others = [shape.get(PRESENTATION + "class") for shape in frames if shape not in titles]
    opening = page == 1 and (not others or "subtitle" in others)
    for shape in titles:
        text = " ".join(" ".join(block.text for block in reader.blocks(shape)).split())
        if text:
            yield Block(BlockKind.HEADING, text, 1 if opening else 2, page)
    for shape in frames:
        if shape not in titles:
            yield from (_on(block, page) for block in reader.shape(shape))


def _on(block: Block, page: int) -> Block:
    return Block(block.kind, block.text, block.level, page, block.rows)
