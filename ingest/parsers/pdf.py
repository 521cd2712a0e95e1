"""PDF by pypdfium2: the text layer in reading order, with pages, tables and headings.

Running heads and page numbers are told by their repetition and left out; text outside the crop box, and invisible
text that is not the text layer of a scan, is not what a reader sees and is left out too. Nothing is rendered,
no script is run, no attachment is opened.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pypdfium2

from ingest import ocr, quality
from ingest.parsers import Limits, footnotes, layout, pdf_forms, pdf_page, pdf_scan
from ingest.parsers import pdf_native as native
from ingest.parsers.layout import Line, Paragraph
from ingest.parsers.pdf_page import Read
from ingest.parsers.pdf_survey import Bounds
from ingest.parsers.tables import continued, table
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, PageQuality, Parsed

_MARGIN: Final = 0.08
"""Share of the page's height, from its first and its last line of text, where running heads stand."""
_PAGE_NUMBER: Final = re.compile(
    r"[\s\-–—|.•]*(?:(?:page|p\.|folio)\s*)?(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|sur|of|de|-)\s*\d{1,4})?[\s\-–—|.•]*",
    re.IGNORECASE,
)
_FIGURES: Final = re.compile(r"[0-9]+")
_LONGEST_HEAD: Final = 250
"""Characters of a line beyond which it is no running head; those of the longest titles of laws fit."""
_PAGE_OF: Final = re.compile(r"\W*page\s*\d{1,4}\s*(?:/|sur|of|de)\s*\d{1,4}\W*", re.IGNORECASE)
_HEADING_SIZE: Final = 1.12
_LONGEST_HEADING: Final = 160
_SAME_EDGE: Final = 4.0
"""Points by which a table's edges may shift from page to page."""
_OUTLINE_SHARE: Final = 0.6
"""Share of bookmarks whose titles stand on their pages for the bookmarks to be believed."""
_MOST_BOOKMARKS: Final = 5000


@dataclass(frozen=True, slots=True)
class PdfParser:
    """PDF files. ``exact`` asks for the place of every character of every page, which takes ten times as long."""

    exact: bool = False

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
            return _parsed(pdf, count, limits, exact=self.exact)
        finally:
            pdf.close()


def _unopened(error: pypdfium2.PdfiumError) -> DocumentError:
    if "password" in str(error).lower() or "security" in str(error).lower():
        return DocumentError(
            RejectReason.PASSWORD, "the PDF is protected by a password", "le PDF est protégé par un mot de passe"
        )
    return DocumentError(RejectReason.CORRUPT, "the PDF is broken", "le PDF est abîmé")


def _parsed(pdf: Any, count: int, limits: Limits, *, exact: bool) -> Parsed:
    notes: Counter[str] = Counter()
    pages = _read(pdf, count, notes, exact=exact)
    if not pages:
        raise DocumentError(RejectReason.CORRUPT, "no page of the PDF can be opened", "aucune page du PDF ne s'ouvre")
    if any(page.picture or page.score < quality.LOW for page in pages):
        pages = pdf_scan.recognised(pdf, pages, limits, notes)
    if not any(page.lines for page in pages):
        raise _textless(pages, limits)
    judged = tuple(PageQuality(page.number, page.score, page.ocr) for page in pages if page.lines)
    pages = _without_furniture(pages)
    blocks = _with_bookmarks(_blocks(pages), pdf)
    title = _title(pdf, blocks)
    warnings = (*(f"{number} {what}" for what, number in sorted(notes.items())), *pdf_forms.attachments(pdf))
    return Parsed(tuple(blocks), Kind.PDF.value, title=title, pages=count, warnings=warnings, quality=judged)


def _read(pdf: Any, count: int, notes: Counter[str], *, exact: bool) -> list[Read]:
    pages: list[Read] = []
    form = pdf_forms.opened(pdf)
    for index in range(count):
        try:
            with _opened(pdf, index, form) as (page, values):
                pages.append(pdf_page.read(page, index + 1, notes, values=values, exact=exact))
        except pypdfium2.PdfiumError:
            notes["pages that cannot be opened"] += 1
    return pages


@contextmanager
def _opened(pdf: Any, index: int, form: Any) -> Iterator[tuple[int, list[tuple[str, Bounds]]]]:
    """A page by its address, and what is filled into its form; pypdfium2's own object only where there is one."""
    if form is not None:
        held = pdf[index]
        try:
            yield native.handle(held), list(pdf_forms.values(held, form))
        finally:
            held.close()
        return
    page = native.load_page(native.handle(pdf), index)
    if not page:
        raise pypdfium2.PdfiumError("the page cannot be loaded")
    try:
        yield page, []
    finally:
        native.close_page(page)


def _textless(pages: Sequence[Read], limits: Limits) -> DocumentError:
    """Why a file without a line of text is refused."""
    if not any(page.picture for page in pages):
        return DocumentError(RejectReason.NO_TEXT, "the PDF holds no text", "le PDF ne contient aucun texte")
    return ocr.absent(limits.ocr_languages) or DocumentError(
        RejectReason.NO_TEXT,
        "the pages are pictures, and optical recognition (OCR) found no text on them",
        "les pages sont des images, et la reconnaissance optique (OCR) n'y a trouvé aucun texte",
    )


# --- the whole document ---------------------------------------------------------------------------------


def blocks_of(pages: Sequence[Read]) -> list[Block]:
    """The blocks of pages that were read, without their running heads and page numbers."""
    return list(_blocks(_without_furniture(pages)))


def _without_furniture(pages: Sequence[Read]) -> list[Read]:
    """Pages without running heads, running feet and page numbers."""
    marginal = [{place: _build(page.lines[place]) for place in _marginal(page)} for page in pages]
    number = _PAGE_OF if len(pages) == 1 else _PAGE_NUMBER
    often = max(2, math.ceil(0.4 * len(pages))) if len(pages) < 10 else max(4, math.ceil(0.2 * len(pages)))
    built = Counter(build for near in marginal for build in set(near.values()))
    shapes = [
        {place: _shape(page.lines[place]) for place, build in near.items() if built[build] >= often}
        for page, near in zip(pages, marginal, strict=True)
    ]
    seen: Counter[tuple[str, int]] = Counter()
    for shape in shapes:
        seen.update(set(shape.values()))
    result = []
    for page, near, shape in zip(pages, marginal, shapes, strict=True):
        out = {
            place
            for place in near
            if (place in shape and seen[shape[place]] >= often) or number.fullmatch(page.lines[place].text)
        }
        lines = [line for place, line in enumerate(page.lines) if place not in out] if out else page.lines
        result.append(replace(page, lines=lines))
    return result


def _build(line: Line) -> tuple[int, str]:
    """What all lines of one shape have in common, told without reading them."""
    first = line[0][:1].casefold()[:1]
    return line[0].count(" "), "#" if "0" <= first <= "9" else first


def _shape(line: Line) -> tuple[str, int]:
    """A line with its figures blotted out, so that page numbers do not tell running heads apart, and its size,
    so that the title on the first page is none."""
    text = line.text.casefold()
    return (_FIGURES.sub("#", text) if _FIGURES.search(text) else text), round(line.size)


def _marginal(page: Read) -> list[int]:
    """The places of the lines of a page that stand where running heads do: near the topmost or the lowest text."""
    boxes = [line[1] for line in page.lines]
    above = min([box[1] for box in boxes], default=0.0)
    below = max([box[3] for box in boxes], default=0.0)
    reach = _MARGIN * max(page.height, below - above, 1.0)
    head, foot = above + reach, below - reach
    near = [place for place, (_, y0, _, y1) in enumerate(boxes) if y1 <= head or y0 >= foot]
    return [place for place in near if not page.lines[place].rows and len(page.lines[place].text) <= _LONGEST_HEAD]


@dataclass(slots=True)
class _Flow:
    """Paragraphs on their way to blocks: one is held until it is known whether it goes on in the next column."""

    body: float
    plain: bool
    """Whether most of the document is bold, so that bold type says nothing."""
    blocks: list[Block] = field(default_factory=list)
    _held: tuple[Paragraph, int] | None = None
    _notes: list[Block] = field(default_factory=list)
    _table: tuple[Paragraph, int] | None = None
    """The table that ends what was read last, and its page."""

    def add(self, paragraph: Paragraph, page: int) -> None:
        if self._held is not None:
            before, since = self._held
            if _goes_on(before, paragraph):
                self._held = (_merged(before, paragraph), since)
                return
            self.flush()
        self._held = (paragraph, page)

    def note(self, text: str, page: int) -> None:
        """Keep a footnote until the text of its page is out, which may end on the next one."""
        self._notes.append(Block(BlockKind.NOTE, text, page=page))

    def flush(self) -> None:
        """Give out what is held."""
        if self._held is not None:
            paragraph, page = self._held
            if paragraph.rows:
                paragraph = self._with_header(paragraph, page)
            self.blocks.append(_block(paragraph, page, self.body, plain=self.plain))
            self._table = (paragraph, page) if paragraph.rows else None
            self._held = None
        self.blocks += self._notes
        self._notes.clear()

    def _with_header(self, paragraph: Paragraph, page: int) -> Paragraph:
        """A table that goes on from the page before under that one's header."""
        if self._table is None:
            return paragraph
        before, since = self._table
        same = (
            page == since + 1
            and len(before.rows[0]) == len(paragraph.rows[0])
            and abs(before.box.x0 - paragraph.box.x0) < _SAME_EDGE
            and abs(before.box.x1 - paragraph.box.x1) < _SAME_EDGE
        )
        return paragraph._replace(rows=continued(before.rows, paragraph.rows)) if same else paragraph


def _blocks(pages: Sequence[Read]) -> list[Block]:
    columns = [
        (page.number, layout.aligned_tables(column))
        for page in pages
        for column in layout.ordered(page.lines)
        if column
    ]
    body = _body_size(column for _, column in columns)
    bold = sum([line.bold for _, column in columns for line in column]) > 0.5 * sum([len(c) for _, c in columns])
    texts = {page.number: page.text for page in pages}
    parts = [(number, footnotes.parted(column, body, texts[number])) for number, column in columns]
    pitch = layout.usual_pitch(part.lines for _, part in parts)
    flow = _Flow(body, bold)
    for number, part in parts:
        for paragraph in layout.paragraphs(part.lines, pitch):
            flow.add(paragraph, number)
        for note in part.notes:
            flow.note(note, number)
    flow.flush()
    return flow.blocks


def _body_size(columns: Iterable[Sequence[Line]]) -> float:
    """The font size of most words outside tables, the middle one where there are several."""
    words: dict[float, int] = {}
    for column in columns:
        for _, _, size, _, _, count, _, rows in column:
            if not rows:
                words[size] = words.get(size, 0) + count
    half = sum(words.values()) / 2
    for size in sorted(words):
        half -= words[size]
        if half <= 0:
            return size
    return 10.0


def _goes_on(before: Paragraph, after: Paragraph) -> bool:
    """Whether a paragraph goes on in the next column or on the next page."""
    if before.rows or after.rows or not after.text:
        return False
    if before.soft:
        return True
    apart = after.box.y0 < before.box.y1 - after.size or after.box.x0 > before.box.x1
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
    heading = (
        (large or (paragraph.bold and not plain))
        and len(paragraph.text) <= _LONGEST_HEADING
        and not paragraph.text.endswith((".", ";", ",", ":"))
        and any(sign.isalpha() for sign in paragraph.text)
    )
    return Block(BlockKind.HEADING if heading else BlockKind.PARAGRAPH, paragraph.text, page=page)


def _title(pdf: Any, blocks: Sequence[Block]) -> str | None:
    """The title of the file's metadata when it stands on the first page; else it is a template's or a program's."""
    title = " ".join((pdf.get_metadata_value("Title") or "").split())
    if not title:
        return None
    bare = _folded(title)
    first = " ".join(block.text for block in itertools.takewhile(lambda block: block.page == 1, blocks))
    return title if bare and (title in first or bare in _folded(first)) else None


def _with_bookmarks(blocks: list[Block], pdf: Any) -> list[Block]:
    """Blocks with the levels of the bookmarks, when these say what stands on their pages."""
    entries: list[tuple[str, int, int]] = []
    for mark in pdf.get_toc():
        destination = mark.get_dest()
        index = None if destination is None else destination.get_index()
        entries.append((_folded(mark.get_title()), mark.level + 1, -1 if index is None else index + 1))
        if len(entries) > _MOST_BOOKMARKS:
            return blocks
    if not entries:
        return blocks
    places: dict[tuple[str, int], int] = {}
    for index, block in enumerate(blocks):
        if block.kind is not BlockKind.TABLE and block.page is not None and len(block.text) <= 2 * _LONGEST_HEADING:
            places.setdefault((_folded(block.text), block.page), index)
    matched = {places[title, page]: level for title, level, page in entries if title and (title, page) in places}
    if len(matched) < _OUTLINE_SHARE * len(entries):
        return blocks
    return [
        Block(BlockKind.HEADING, block.text, matched[index], block.page) if index in matched else block
        for index, block in enumerate(blocks)
    ]


def _folded(text: str) -> str:
    return "".join(re.findall(r"\w+", text.casefold()))
