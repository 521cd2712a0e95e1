"""PDF by pypdfium2: the text layer in reading order, with pages, tables and headings.

Running heads and page numbers are told by their repetition and left out; text outside the crop box, and invisible
text that is not the text layer of a scan, is not what a reader sees and is left out too. Nothing is rendered,
no script is run, no attachment is opened.
"""

from __future__ import annotations

import ctypes
import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pypdfium2
import pypdfium2.raw as raw

from ingest.parsers import Limits, layout
from ingest.parsers.layout import Box, Line, Paragraph, Rules, Word
from ingest.parsers.tables import table
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_MARGIN: Final = 0.08
"""Share of the page's height, from its first and its last line of text, where running heads stand."""
_PAGE_NUMBER: Final = re.compile(
    r"[\s\-–—|.•]*(?:(?:page|p\.|folio)\s*)?(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|sur|of|de|-)\s*\d{1,4})?[\s\-–—|.•]*",
    re.IGNORECASE,
)
_PAGE_OF: Final = re.compile(r"\W*page\s*\d{1,4}\s*(?:/|sur|of|de)\s*\d{1,4}\W*", re.IGNORECASE)
_SCAN_SHARE: Final = 0.5
"""Share of a page that a picture covers when invisible text above it is its text layer."""
_SMALLEST: Final = 1.0
"""Font size in points below which nobody can read a text that a machine would."""
_HEADING_SIZE: Final = 1.12
_LONGEST_HEADING: Final = 160
_OUTLINE_SHARE: Final = 0.6
"""Share of bookmarks whose titles stand on their pages for the bookmarks to be believed."""
_MOST_BOOKMARKS: Final = 5000
_MOST_OBJECTS: Final = 20_000
"""Drawn objects of one page that are looked at; maps and plans have more and no tables."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


class PdfParser:
    """PDF files with a text layer."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.PDF

    def parse(self, file: File, limits: Limits) -> Parsed:
        try:
            pdf = pypdfium2.PdfDocument(file.path if file.content is None else file.content)
        except pypdfium2.PdfiumError as error:
            raise _unopened(error) from error
        try:
            count = len(pdf)
            if count == 0:
                raise DocumentError(RejectReason.CORRUPT, "the PDF has no page", "le PDF n'a aucune page")
            if count > limits.pages:
                raise DocumentError(
                    RejectReason.TOO_LONG,
                    f"the PDF has {count} pages, more than {limits.pages} (setting `file_pages`)",
                    f"le PDF a {count} pages, plus de {limits.pages} (réglage « file_pages »)",
                )
            return _parsed(pdf, count)
        finally:
            pdf.close()


def _unopened(error: pypdfium2.PdfiumError) -> DocumentError:
    if "password" in str(error).lower() or "security" in str(error).lower():
        return DocumentError(
            RejectReason.PASSWORD, "the PDF is protected by a password", "le PDF est protégé par un mot de passe"
        )
    return DocumentError(RejectReason.CORRUPT, "the PDF is broken", "le PDF est abîmé")


@dataclass(frozen=True, slots=True)
class _Page:
    """What was read on one page."""

    number: int
    height: float
    lines: tuple[Line, ...]


def _parsed(pdf: Any, count: int) -> Parsed:
    pages: list[_Page] = []
    notes: Counter[str] = Counter()
    pictures = 0
    for index in range(count):
        try:
            page = pdf[index]
        except pypdfium2.PdfiumError:
            notes["pages that cannot be opened"] += 1
            continue
        read = _page(page, index + 1, notes)
        pictures += not read.lines and _pictured(page) > 0
        pages.append(read)
        page.close()
    if len(pages) == 0:
        raise DocumentError(RejectReason.CORRUPT, "no page of the PDF can be opened", "aucune page du PDF ne s'ouvre")
    if not any(page.lines for page in pages):
        if pictures:
            raise DocumentError(
                RejectReason.NO_TEXT,
                "the pages are pictures without a text layer: OCR is needed",
                "les pages sont des images sans couche de texte : une reconnaissance optique (OCR) est nécessaire",
            )
        raise DocumentError(RejectReason.NO_TEXT, "the PDF holds no text", "le PDF ne contient aucun texte")
    if pictures:
        notes["pages that are pictures without text"] += pictures
    pages = _without_furniture(pages)
    blocks = _with_bookmarks(list(_blocks(pages)), pdf)
    title = _title(pdf, blocks)
    warnings = tuple(f"{number} {what}" for what, number in sorted(notes.items()))
    return Parsed(tuple(blocks), Kind.PDF.value, title=title, pages=count, warnings=warnings)


# --- one page -------------------------------------------------------------------------------------------


def _page(page: Any, number: int, notes: Counter[str]) -> _Page:
    textpage = page.get_textpage()
    try:
        words, turn = _words(page, textpage, notes)
    finally:
        textpage.close()
    if not words:
        return _Page(number, page.get_height(), ())
    rest, tables = layout.ruled_tables(words, _rules(page, turn))
    upright = [word for word in rest if not word.sideways]
    if len(upright) < len(rest):
        notes["sideways words outside tables left out"] += len(rest) - len(upright)
    found = [*layout.lines(upright), *tables]
    width, height = page.get_width(), page.get_height()
    return _Page(number, width if turn in {90, 270} and not page.get_rotation() else height, tuple(found))


def _words(page: Any, textpage: Any, notes: Counter[str]) -> tuple[list[Word], int]:
    """The visible words of a page in the file's order, upright, and by how much they had to be turned."""
    count = textpage.count_chars()
    if count <= 0:
        return [], 0
    crop = page.get_cropbox()
    scan: bool | None = None
    rectangle = raw.FS_RECTF()
    modes: dict[int, int] = {}
    angles: Counter[int] = Counter()
    found: list[tuple[str, list[float], float, bool, bool, bool, int]] = []
    text = ""
    box: list[float] = []
    size = 0.0
    angle = 0
    space = spaced = True
    bold = soft = visible = False

    def flush() -> None:
        nonlocal text
        if text and visible:
            found.append((text, list(box), size, bold, soft, spaced, angle))
        text = ""

    for index in range(count):
        code = raw.FPDFText_GetUnicode(textpage, index)
        if code in {0x20, 0xA0, 0x0D, 0x0A, 0x09, 0x202F, 0x2009, 0x3000, 0} or not raw.FPDFText_GetLooseCharBox(
            textpage, index, rectangle
        ):
            flush()
            space = True
            continue
        cell = (rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
        if text and _apart(box, cell, size):
            flush()
        if not text:
            box = list(cell)
            spaced, space = space, False
            size = raw.FPDFText_GetFontSize(textpage, index)
            size = size if size > 1.5 else max(abs(cell[3] - cell[1]), abs(cell[2] - cell[0]), size) * 0.8
            bold = raw.FPDFText_GetFontWeight(textpage, index) >= 600
            angle = round(math.degrees(raw.FPDFText_GetCharAngle(textpage, index)) / 90) * 90 % 360
            angles[angle] += 1
            visible = crop[0] <= (cell[0] + cell[2]) / 2 <= crop[2] and crop[1] <= (cell[1] + cell[3]) / 2 <= crop[3]
            if not visible:
                notes["words outside the crop box left out"] += 1
            elif size < _SMALLEST and abs(cell[3] - cell[1]) < _SMALLEST:
                visible = False
                notes["words too small to be read left out"] += 1
            elif _mode(textpage, index, modes) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
                if scan is None:
                    scan = _pictured(page) >= _SCAN_SHARE
                visible = scan
                if not visible:
                    notes["invisible words left out"] += 1
        else:
            if cell[0] < box[0]:
                box[0] = cell[0]
            if cell[1] < box[1]:
                box[1] = cell[1]
            if cell[2] > box[2]:
                box[2] = cell[2]
            if cell[3] > box[3]:
                box[3] = cell[3]
        soft = code in {0x02, 0xAD}
        text += "-" if soft else chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    flush()
    turn = angles.most_common(1)[0][0] if angles else 0
    words = []
    for letters, corners, font, heavy, hyphen, parted, direction in found:
        clean = unicodedata.normalize("NFC", _CONTROL.sub("", _ligatures(letters)))
        if clean:
            place = _upright(corners, turn, crop[3])
            words.append(Word(clean, place, font, heavy, hyphen, parted, direction != turn))
    return words, turn


def _ligatures(text: str) -> str:
    """ﬁ and ﬂ as the letters they stand for; other compatibility characters keep their look (², №)."""
    return "".join(unicodedata.normalize("NFKC", sign) if "\ufb00" <= sign <= "\ufb06" else sign for sign in text)


def _apart(box: Sequence[float], cell: Sequence[float], size: float) -> bool:
    """Whether a character stands too far from the word before it to belong to it."""
    wide = max(size, 1.0)
    return (
        cell[0] - box[2] > 1.2 * wide
        or box[0] - cell[2] > 1.2 * wide
        or cell[1] - box[3] > 0.8 * wide
        or box[1] - cell[3] > 0.8 * wide
    )


def _mode(textpage: Any, index: int, modes: dict[int, int]) -> int:
    """How the text object of a character is painted; asked once per object."""
    thing = raw.FPDFText_GetTextObject(textpage, index)
    if not thing:
        return 0
    key = ctypes.addressof(thing.contents)
    if key not in modes:
        modes[key] = raw.FPDFTextObj_GetTextRenderMode(thing)
    return modes[key]


def _upright(corners: Sequence[float], turn: int, top: float) -> Box:
    """A box of the PDF's coordinates as a reader sees it, ``y`` downwards from the page's ``top``."""
    x0, y0, x1, y1 = corners
    if turn == 270:  # clockwise: the text runs upwards on the sheet
        return Box(y0, x0, y1, x1)
    if turn == 90:
        return Box(-y1, -x1, -y0, -x0)
    if turn == 180:
        return Box(-x1, y0, -x0, y1)
    return Box(x0, top - y1, x1, top - y0)


def _pictured(page: Any) -> float:
    """The share of the page that its largest picture covers."""
    area = max(1.0, page.get_width() * page.get_height())
    largest = 0.0
    for thing in _objects(page, raw.FPDF_PAGEOBJ_IMAGE):
        left, bottom, right, top = thing
        largest = max(largest, (right - left) * (top - bottom) / area)
    return largest


def _objects(page: Any, kind: int) -> Iterator[tuple[float, float, float, float]]:
    """The bounds of the page's own objects of one kind."""
    edges = [ctypes.c_float() for _ in range(4)]
    count = raw.FPDFPage_CountObjects(page)
    for index in range(min(count, _MOST_OBJECTS)):
        thing = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(thing) != kind:
            continue
        if kind == raw.FPDF_PAGEOBJ_PATH and raw.FPDFPath_CountSegments(thing) > 8:
            continue
        if raw.FPDFPageObj_GetBounds(thing, *edges):
            left, bottom, right, top = (edge.value for edge in edges)
            yield left, bottom, right, top


def _rules(page: Any, turn: int) -> Rules:
    """The straight lines and the edges of the frames drawn on a page."""
    horizontal: list[tuple[float, float, float]] = []
    vertical: list[tuple[float, float, float]] = []
    top = page.get_cropbox()[3]
    for bounds in _objects(page, raw.FPDF_PAGEOBJ_PATH):
        box = _upright(bounds, turn, top)
        wide, high = box.x1 - box.x0, box.y1 - box.y0
        if high <= 2.5 and wide > 8:
            horizontal.append((box.middle, box.x0, box.x1))
        elif wide <= 2.5 and high > 4:
            vertical.append((box.centre, box.y0, box.y1))
        elif wide > 8 and 6 < high < 0.6 * page.get_height():
            horizontal += [(box.y0, box.x0, box.x1), (box.y1, box.x0, box.x1)]
            vertical += [(box.x0, box.y0, box.y1), (box.x1, box.y0, box.y1)]
    return Rules(tuple(horizontal), tuple(vertical))


# --- the whole document ---------------------------------------------------------------------------------


def _without_furniture(pages: Sequence[_Page]) -> list[_Page]:
    """Pages without running heads, running feet and page numbers."""
    seen: Counter[tuple[str, int]] = Counter()
    for page in pages:
        seen.update({_shape(line) for line, near in zip(page.lines, _marginal(page), strict=True) if near})
    single = len(pages) == 1
    often = max(2, math.ceil(0.4 * len(pages))) if len(pages) < 10 else max(4, math.ceil(0.2 * len(pages)))
    result = []
    for page in pages:
        kept = tuple(
            line
            for line, near in zip(page.lines, _marginal(page), strict=True)
            if not (
                near
                and not line.rows
                and (seen[_shape(line)] >= often or (_PAGE_OF if single else _PAGE_NUMBER).fullmatch(line.text))
            )
        )
        result.append(_Page(page.number, page.height, kept))
    return result


def _shape(line: Line) -> tuple[str, int]:
    """A line with its figures blotted out, so that page numbers do not tell running heads apart, and its size,
    so that the title on the first page is none."""
    return re.sub(r"\d+", "#", " ".join(line.text.split())).casefold(), round(line.size)


def _marginal(page: _Page) -> list[bool]:
    """For each line of a page whether it stands where running heads do: near the topmost or the lowest text."""
    above = min((line.box.y0 for line in page.lines), default=0.0)
    below = max((line.box.y1 for line in page.lines), default=0.0)
    reach = _MARGIN * max(page.height, below - above, 1.0)
    return [line.box.y1 <= above + reach or line.box.y0 >= below - reach for line in page.lines]


def _blocks(pages: Sequence[_Page]) -> Iterator[Block]:
    columns = [
        (page.number, layout.aligned_tables(column))
        for page in pages
        for column in layout.ordered(page.lines)
        if column
    ]
    pitch = layout.usual_pitch(column for _, column in columns)
    sizes = [line.size for _, column in columns for line in column if not line.rows for _ in range(line.words)]
    body = statistics.median(sizes) if sizes else 10.0
    bold = sum(line.bold for _, column in columns for line in column) > 0.5 * sum(len(c) for _, c in columns)
    held: tuple[Paragraph, int] | None = None
    for number, column in columns:
        for paragraph in layout.paragraphs(column, pitch):
            if held is not None:
                before, page = held
                if _goes_on(before, paragraph):
                    held = (_merged(before, paragraph), page)
                    continue
                yield _block(before, page, body, plain=bold)
            held = (paragraph, number)
    if held is not None:
        yield _block(*held, body, plain=bold)


def _goes_on(before: Paragraph, after: Paragraph) -> bool:
    """Whether a paragraph goes on in the next column or on the next page."""
    if before.rows or after.rows or not after.text:
        return False
    if before.soft:
        return True
    apart = after.box.y0 < before.box.y0 or after.box.x0 > before.box.x1
    open_ = not before.text.endswith((".", ";", ":", "!", "?", "»", "…"))
    return apart and open_ and after.text[0].islower() and abs(before.size - after.size) < 0.5 and not before.bold


def _merged(before: Paragraph, after: Paragraph) -> Paragraph:
    lines = [
        Line(before.text, before.box, before.size, soft=before.soft),
        Line(after.text, after.box, after.size),
    ]
    return Paragraph(layout.join(lines), after.box, before.size, before.bold, after.soft)


def _block(paragraph: Paragraph, page: int, body: float, *, plain: bool) -> Block:
    if paragraph.rows:
        return table(paragraph.rows, page)
    large = paragraph.size > _HEADING_SIZE * body
    short = len(paragraph.text) <= _LONGEST_HEADING and not paragraph.text.endswith((".", ";", ",", ":"))
    heading = short and (large or (paragraph.bold and not plain)) and any(sign.isalpha() for sign in paragraph.text)
    return Block(BlockKind.HEADING if heading else BlockKind.PARAGRAPH, paragraph.text, page=page)


def _title(pdf: Any, blocks: Sequence[Block]) -> str | None:
    """The title of the file's metadata when it stands on the first page; else it is a template's or a program's."""
    title = " ".join((pdf.get_metadata_value("Title") or "").split())
    first = _folded(" ".join(block.text for block in blocks if block.page == 1))
    return title if title and _folded(title) and _folded(title) in first else None


def _with_bookmarks(blocks: list[Block], pdf: Any) -> list[Block]:
    """Blocks with the levels of the bookmarks, when these say what stands on their pages."""
    entries: list[tuple[str, int, int]] = []
    for mark in pdf.get_toc():
        destination = mark.get_dest()
        index = None if destination is None else destination.get_index()
        entries.append((_folded(mark.get_title()), mark.level + 1, -1 if index is None else index + 1))
        if len(entries) > _MOST_BOOKMARKS:
            return blocks
    places: dict[tuple[str, int], int] = {}
    for index, block in enumerate(blocks):
        if block.kind is not BlockKind.TABLE and block.page is not None and len(block.text) <= 2 * _LONGEST_HEADING:
            places.setdefault((_folded(block.text), block.page), index)
    matched = {places[title, page]: level for title, level, page in entries if title and (title, page) in places}
    if not entries or len(matched) < _OUTLINE_SHARE * len(entries):
        return blocks
    return [
        Block(BlockKind.HEADING, block.text, matched[index], block.page) if index in matched else block
        for index, block in enumerate(blocks)
    ]


def _folded(text: str) -> str:
    return "".join(re.findall(r"\w+", text.casefold()))
