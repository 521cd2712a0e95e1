"""The text of one page of a PDF, as lines with their places and the tables drawn around them.

PDFium hands the text of a page over in one call, broken into lines; asking for the place of every character takes
ten times as long as reading it. So only the ends of each line are asked for, and how many pieces it was drawn in.
What that cannot tell is read character by character: lines with wide gaps or raised figures, cells of tables, and
whole pages with text that is turned, hidden or cut off.
"""

from __future__ import annotations

import ctypes
import math
import re
import struct
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pypdfium2

from ingest.parsers import layout
from ingest.parsers import pdf_native as native
from ingest.parsers.layout import Box, Grid, Line, Rules, Word
from ingest.parsers.pdf_quality import score
from ingest.parsers.pdf_survey import Bounds, Survey, survey

_SCAN_SHARE: Final = 0.5
"""Share of a page that a picture covers when invisible text above it is its text layer."""
_SMALLEST: Final = 1.0
"""Font size in points below which nobody can read a text that a machine would."""
_BOLD: Final = 600
_UNSCALED: Final = 1.5
"""Font size up to which the size that counts is in the text's matrix."""
_GAP: Final = 1.3
"""Font sizes between two pieces of a line from which its words are looked at one by one; less than what parts cells,
because these are the bounds of the ink."""
_WIDE: Final = 0.56
"""Width in font sizes of an average character, beyond which a line drawn in one piece may hide a gap."""
_WIDE_BOLD: Final = 0.64
_RAISED: Final = (0.30, 0.64)
"""Height, in font sizes, of figures set as exponents."""
_SOFT: Final = "\ufffe"
"""What PDFium writes for a hyphen that a line break caused."""
_LIGATURES: Final = "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
_WORD: Final = re.compile(r"[^\s\ufffe]+\ufffe?")
_ODD_SHARE: Final = 0.3
"""Share of a page's characters in lines that are turned, cut off or hidden, from which the whole page is looked at."""
_UNCLEAN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\ufb00-\ufb06\uffff]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_SPACES: Final = frozenset({0x20, 0xA0, 0x0D, 0x0A, 0x09, 0x202F, 0x2009, 0x3000, 0})
_AS_SPACE: Final = "\t\xa0\u2009\u202f\u3000"
_EXPONENTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_TWO_BOXES: Final = struct.Struct("8f")
_RECT: Final = struct.Struct("4d")


@dataclass(slots=True)
class Read:
    """What was read on one page; ``text`` is its text layer as it came."""

    number: int
    width: float
    height: float
    lines: list[Line]
    picture: float = 0.0
    """Share of the page that its largest picture covers."""
    text: str = ""
    rows: Sequence[str] = ()
    """The lines of ``text`` as PDFium parts them."""
    printable: bool = True
    """Whether ``text`` has no sign but such as are printed, and hyphens that line breaks caused."""
    exact: bool = False
    """Whether every character was asked for."""
    layer: bool = False
    """Whether its text is the invisible layer over a scan."""
    score: float = 1.0
    """How far its text can be trusted."""
    ocr: bool = False


_BOXES: Final = bytearray(_TWO_BOXES.size)
"""Memory that PDFium writes the boxes of two characters to, the same for all lines: Python reads its own faster."""
_FIRST: Final = ctypes.addressof((ctypes.c_char * _TWO_BOXES.size).from_buffer(_BOXES))
_LAST: Final = _FIRST + _TWO_BOXES.size // 2
_EDGE: Final = bytearray(_RECT.size)
_EDGES: Final = tuple(ctypes.addressof((ctypes.c_char * _RECT.size).from_buffer(_EDGE)) + 8 * edge for edge in range(4))
_tuple = tuple.__new__
"""Makes a named tuple of all its fields without the detour over their names, for every line has two."""


def read(
    page: int, number: int, notes: Counter[str], *, values: Sequence[tuple[str, Bounds]] = (), exact: bool = False
) -> Read:
    """The visible text of an open page, told by its address; what was left out is counted in ``notes``.

    ``values`` are texts that stand on the page without being part of its own. ``exact`` asks for every character,
    whatever the page looks like.
    """
    width, height = native.page_width(page), native.page_height(page)
    drawn = survey(page, width * height)
    textpage = native.load_text(page)
    if not textpage:
        raise pypdfium2.PdfiumError("the text of the page cannot be loaded")
    try:
        made = Read(number, width, height, [], drawn.picture)
        made = _read(page, textpage, made, drawn, values, notes, exact=exact)
        if made.lines:
            made.score = score(textpage, made.text, made.rows, printable=made.printable)
        return made
    finally:
        native.close_text(textpage)


def _read(
    page: int,
    textpage: int,
    made: Read,
    drawn: Survey,
    values: Sequence[tuple[str, Bounds]],
    notes: Counter[str],
    *,
    exact: bool,
) -> Read:
    count = native.count_chars(textpage)
    if count <= 0 and not values:
        return made
    made.text = native.text_of(textpage, max(0, count))
    for sign in _AS_SPACE:
        made.text = made.text.replace(sign, " ")
    made.rows = made.text.split("\r\n")
    made.printable = "".join(made.rows).replace(_SOFT, "").isprintable()
    crop = native.crop_of(page)
    if drawn.picture >= _SCAN_SHARE:
        made.layer = bool(drawn.unseen)
        drawn.unseen.clear()
    if not (exact or len(made.text) != count or native.page_rotation(page)):
        grids = layout.grids(rules(drawn.paths, 0, crop[3], made.height))
        left_out: Counter[str] = Counter()
        quick = _quick(_Sheet(textpage, made.text, made.rows, made.printable, crop, drawn, grids), left_out)
        if quick is not None:
            notes.update(left_out)
            made.lines, inside = quick
            for word in _filled(values, 0, crop[3]):
                if any(_in_grid(word, grid) for grid in grids):
                    inside.append(word)
                else:
                    made.lines += layout.lines([word])
            if inside:
                rest, tables = layout.ruled_tables(inside, grids)
                made.lines += layout.lines(_turned_left_out(rest, notes))
                made.lines += tables
            return made
    made.exact = True
    words, turn = _visible_words(
        _Sheet(textpage, made.text, made.rows, made.printable, crop, drawn, ()), [(0, count)], notes
    )
    words += _filled(values, turn, crop[3])
    grids = layout.grids(rules(drawn.paths, turn, crop[3], made.height))
    rest, tables = layout.ruled_tables(words, grids)
    made.lines = [*layout.lines(_turned_left_out(rest, notes)), *tables]
    if turn in {90, 270} and not native.page_rotation(page):
        made.width, made.height = made.height, made.width
    return made


def _filled(values: Sequence[tuple[str, Bounds]], turn: int, top: float) -> list[Word]:
    """What was filled into a form as words at the places of the fields, one for each line of a field."""
    words = []
    for text, bounds in values:
        place = _upright(bounds, turn, top)
        rows = [" ".join(row.split()) for row in cleaned(text.replace("\r", "\n")).split("\n")]
        high = (place.y1 - place.y0) / max(1, len(rows))
        size = min(max(0.7 * high, 6.0), 11.0)
        for index, row in enumerate(filter(None, rows)):
            middle = place.y0 + (index + 0.5) * high
            wide = min(place.x1, place.x0 + 0.55 * size * len(row))
            words.append(Word(row, Box(place.x0, middle - 0.6 * size, wide, middle + 0.6 * size), size))
    return words


def _in_grid(word: Word, grid: Grid) -> bool:
    box = grid.box
    return box.x0 <= word.box.centre <= box.x1 and box.y0 <= word.box.middle <= box.y1


# --- the quick way --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the quick way has to know of a page before it reads."""

    textpage: int
    text: str
    rows: Sequence[str]
    printable: bool
    crop: Bounds
    drawn: Survey
    grids: Sequence[Grid]

    @property
    def top(self) -> float:
        return self.crop[3]


def _quick(sheet: _Sheet, notes: Counter[str]) -> tuple[list[Line], list[Word]] | None:
    """The lines of a page by their ends, and the words that stand in a drawn grid; ``None`` for an odd page."""
    char_box, char_object, font_size = native.char_box, native.char_object, native.font_size
    font_weight, count_rects = native.font_weight, native.count_rects
    unpack, buffer, tuple_ = _TWO_BOXES.unpack, _BOXES, _tuple
    textpage, text, top = sheet.textpage, sheet.text, sheet.top
    spans = [(grid.ys[0] - 1, grid.ys[-1] + 1) for grid in sheet.grids]
    hidden = sheet.drawn.unseen | sheet.drawn.disguised
    hiding = bool(hidden)
    # Whether :func:`cleaned` would leave the text as it is.
    clean = (sheet.printable or not _UNCLEAN.search(text)) and (
        text.isascii() or not (any(map(text.__contains__, _LIGATURES)) or not unicodedata.is_normalized("NFC", text))
    )
    left, bottom, right = sheet.crop[0] - 1, sheet.crop[1] - 1, sheet.crop[2] + 1
    found: list[Line] = []
    inside: list[Word] = []
    odd: list[tuple[int, int]] = []
    soft = False
    for start, piece, cut in _pieces(sheet):
        end = start + len(piece)
        after_soft, soft = soft, cut
        if not char_box(textpage, start, _FIRST) or not char_box(textpage, end - 1, _LAST):
            odd.append((start, end))
            continue
        x0, t0, r0, b0, _, t1, x1, b1 = unpack(buffer)
        count = end - start
        tall, other = t0 - b0, t1 - b1
        raised = tall < 0.8 * other
        if raised:
            tall, other = other, tall
        size = font_size(textpage, end - 1 if raised else start)
        if size <= _UNSCALED:
            size = max(tall, r0 - x0, size) * 0.8
        wide, uneven = x1 - x0, t0 != t1 or b0 != b1
        if (
            wide <= 0
            or (uneven and abs(t0 + b0 - t1 - b1) > 1.2 * max(tall, size))
            or x0 < left
            or x1 > right
            or b0 < bottom
            or t0 > top + size
            or size < _SMALLEST
            or (count < 3 and native.char_angle(textpage, start) > 0.1)
        ):
            odd.append((start, end + soft))
            continue
        thing = char_object(textpage, start)
        pieces = 1 if thing == char_object(textpage, end - 1) else count_rects(textpage, start, count)
        if hiding and (thing in hidden if pieces == 1 else _partly_hidden(sheet, start, end)):
            odd.append((start, end + soft))
            continue
        if not clean:
            if piece[-1] == "\xad":
                piece, soft = piece[:-1], True
            piece = cleaned(piece).replace("\xad", "-")
        bold = font_weight(textpage, end - 1 if raised else start) >= _BOLD
        exponent = False
        if pieces == 1:
            gap = wide > ((_WIDE_BOLD if bold else _WIDE) * count + 1.2) * size
        else:
            middle = (start + end) // 2
            size = _middling(size, font_size(textpage, middle), font_size(textpage, end - 1))
            bold = bold and font_weight(textpage, middle) >= _BOLD and font_weight(textpage, end - 1) >= _BOLD
            gap, exponent = _drawn_apart(textpage, pieces, size, min(b0, b1), raised=raised)
        y0, y1 = top - t0, top - b0
        if uneven:
            y0, y1 = top - max(t0, t1), top - min(b0, b1)
        if spans and any(y0 < foot and y1 > head for head, foot in spans):
            cells = None if exponent or not clean else _cells(sheet, start, end, (x0, y0, x1, y1), size, bold, soft)
            if cells is None:
                cells = _words(sheet, start, end + soft, exact=exponent or not clean, alike=pieces == 1)
            inside += cells
            continue
        if gap or exponent:
            alike = gap and clean and pieces == 1 and not raised
            whole = _whole(sheet, start, end, soft, size, bold) if alike else None
            if whole is not None:
                found.append(whole)
            else:
                found += layout.lines(_words(sheet, start, end + soft, exact=exponent or not clean, alike=pieces == 1))
            continue
        if "  " in piece:
            piece = " ".join(piece.split())
        letters = piece.find(" ")
        first = wide * letters / count if letters > 0 else wide
        if soft:
            piece += "-"
        place = tuple_(Box, (x0, y0, x1, y1))
        line = tuple_(Line, (piece, place, size, bold, soft, piece.count(" ") + 1, first, ()))
        if after_soft and found and _beside(found[-1], line):
            found[-1] = layout.side_by_side(found[-1], line, "")  # no line ends at this hyphen
        else:
            found.append(line)
    if odd:
        if sum(end - start for start, end in odd) > _ODD_SHARE * len(text):
            return None
        words_, _ = _visible_words(sheet, odd, notes, turn=0)
        if spans:
            inside += words_
        else:
            found += layout.lines(_turned_left_out(words_, notes))
    return layout.rejoined(found), inside


def _pieces(sheet: _Sheet) -> Iterator[tuple[int, str, bool]]:
    """The lines of a text without the white space around them: where each begins, and whether it ends in a hyphen
    that the line break caused."""
    rows, step, start = (sheet.rows, 2, 0) if sheet.printable else (sheet.text.split("\n"), 1, 0)
    for row in rows:
        bare = row.strip()
        if not bare:
            pass
        elif _SOFT in row:
            place = start
            parts = row.split(_SOFT)
            for part in parts:
                if bare := part.strip():
                    yield place + len(part) - len(part.lstrip()), bare, part is not parts[-1]
                place += len(part) + 1
        elif len(bare) == len(row):
            yield start, bare, False
        else:
            yield start + len(row) - len(row.lstrip()), bare, False
        start += len(row) + step


def _partly_hidden(sheet: _Sheet, start: int, end: int) -> bool:
    """Whether some of the characters are drawn by an object that nobody sees."""
    things = {native.char_object(sheet.textpage, index) for index in range(start, end)}
    return not (things.isdisjoint(sheet.drawn.unseen) and things.isdisjoint(sheet.drawn.disguised))


def _middling(*sizes: float) -> float:
    return sorted(sizes)[1] if min(sizes) > _UNSCALED else sizes[0]


def _drawn_apart(textpage: int, pieces: int, size: float, bottom: float, *, raised: bool) -> tuple[bool, bool]:
    """Whether the pieces of a line, which were just counted, leave wide gaps or overlap; whether some are raised."""
    get_rect, unpack, buffer = native.get_rect, _RECT.unpack, _EDGE
    low, high = _RAISED[0] * size, _RAISED[1] * size
    end = None
    apart, exponent = False, raised
    for index in range(pieces):
        get_rect(textpage, index, *_EDGES)
        x0, y1, x1, y0 = unpack(buffer)
        if end is not None:
            if x0 - end > _GAP * size or x0 < end - 0.6 * size:
                apart = True
            if low < y1 - y0 < high and y0 - bottom > 0.33 * size and x1 - x0 < 1.5 * size:
                exponent = True
        end = x1
    return apart, exponent


def _beside(before: Line, line: Line) -> bool:
    return abs(before.box.middle - line.box.middle) < 0.4 * line.size and line.box.x0 >= before.box.x1 - line.size


def _words(sheet: _Sheet, start: int, end: int, *, exact: bool, alike: bool) -> list[Word]:
    """The words of part of a page that is known to be upright and visible; ``alike`` when they are of one font."""
    raws = None if exact else _split(sheet, start, end, alike=alike)
    if raws is None:
        raws = _raw_words(sheet.textpage, start, end)
        for raw in raws:
            raw.text = cleaned(raw.text)
    return [
        Word(raw.text, _upright(raw.box, 0, sheet.top), raw.size, raw.bold, raw.soft, raw.spaced)
        for raw in raws
        if raw.text
    ]


def _cells(
    sheet: _Sheet, base: int, stop: int, place: Bounds, size: float, bold: bool, soft: bool
) -> list[Word] | None:
    """What each cell of a drawn grid holds of one line, as long words; ``None`` for a line that leaves the grid."""
    x0, y0, x1, y1 = place
    middle = (y0 + y1) / 2
    grid = next((grid for grid in sheet.grids if grid.ys[0] <= middle <= grid.ys[-1]), None)
    if grid is None or x0 < grid.xs[0] or x1 > grid.xs[-1]:
        return None
    edges = grid.xs
    text = sheet.text[base:stop]
    slot = bisect_right(edges, x0 + 1)
    if slot == bisect_right(edges, x1 - 1):
        return [Word(_told(text, soft), Box(x0, y0, x1, y1), size, bold, soft)]
    words = [found.span() for found in _WORD.finditer(text)]
    found: list[Word] = []
    first, left = 0, x0
    while (last := bisect_right(edges, x1 - 1)) > slot:
        # The first word of the next cell, by halves: to ask for a place is what costs.
        low, high, start = first + 1, len(words) - 1, x1
        if low > high:
            break
        while low < high:
            half = (low + high) // 2
            if bisect_right(edges, _left(sheet, base + words[half][0]) + 1) > slot:
                high = half
            else:
                low = half + 1
        start = _left(sheet, base + words[low][0])
        after = bisect_right(edges, start + 1)
        if after <= slot:
            break  # the last word alone runs over the edge
        end = words[low - 1][1]
        native.char_box(sheet.textpage, base + end - 1, _LAST)
        place_ = Box(left, y0, _TWO_BOXES.unpack(_BOXES)[6], y1)
        found.append(Word(" ".join(text[words[first][0] : end].split()), place_, size, bold))
        first, left, slot = low, start, after
        if slot >= last:
            break
    found.append(Word(_told(text[words[first][0] :], soft), Box(left, y0, x1, y1), size, bold, soft))
    return found


def _left(sheet: _Sheet, index: int) -> float:
    native.char_box(sheet.textpage, index, _FIRST)
    left: float = _TWO_BOXES.unpack(_BOXES)[0]
    return left


def _told(text: str, soft: bool) -> str:
    return " ".join(text.split()) + "-" * soft


def _split(sheet: _Sheet, start: int, end: int, *, alike: bool) -> list[_Raw] | None:
    """The words of one line by the ends of each; ``None`` when one of them is too wide to be one."""
    textpage, unpack, buffer = sheet.textpage, _TWO_BOXES.unpack, _BOXES
    found: list[_Raw] = []
    size, bold = 0.0, False
    for match in _WORD.finditer(sheet.text, start, end):
        first, last = match.span()
        if not native.char_box(textpage, first, _FIRST) or not native.char_box(textpage, last - 1, _LAST):
            return None
        x0, t0, r0, b0, _, t1, x1, b1 = unpack(buffer)
        if not found or not alike:
            size = native.font_size(textpage, first)
            if size <= _UNSCALED:
                size = max(t0 - b0, r0 - x0, size) * 0.8
            bold = native.font_weight(textpage, first) >= _BOLD
        if x1 < x0 or x1 - x0 > (0.75 * (last - first) + 1.0) * size:
            return None
        text = match.group()
        soft = text[-1] == "\ufffe"
        if soft:
            text = f"{text[:-1]}-"
        found.append(_Raw(text, [x0, min(b0, b1), x1, max(t0, t1)], size, bold, soft, True, first))
    return found


def _whole(sheet: _Sheet, start: int, end: int, soft: bool, size: float, bold: bool) -> Line | None:
    """A line of one font that is wider than usual, when no wide gap parts its words; else ``None``."""
    textpage, unpack, buffer, char_box = sheet.textpage, _TWO_BOXES.unpack, _BOXES, native.char_box
    wide, count = max(size, 1.0), 0
    near, far = -0.5 * wide, layout.WORD_GAP * wide
    right = level = begin = low = high = head = 0.0
    for match in _WORD.finditer(sheet.text, start, end + soft):
        first, last = match.span()
        if not char_box(textpage, first, _FIRST) or not char_box(textpage, last - 1, _LAST):
            return None
        x0, t0, _, b0, _, t1, x1, b1 = unpack(buffer)
        bottom, top = (b0, t0) if b0 == b1 and t0 == t1 else (min(b0, b1), max(t0, t1))
        if x1 < x0 or x1 - x0 > (0.75 * (last - first) + 1.0) * size:
            return None
        if not count:
            begin, low, high, head = x0, bottom, top, x1 - x0
        elif not near < x0 - right < far or abs(bottom + top - level) >= wide:
            return None
        else:
            low, high = min(low, bottom), max(high, top)
        right, level, count = x1, bottom + top, count + 1
    place = Box(begin, sheet.top - high, right, sheet.top - low)
    return Line(_told(sheet.text[start:end], soft), place, size, bold, soft, count, head)


# --- character by character -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Raw:
    """A word as the page holds it, in the PDF's coordinates."""

    text: str
    box: list[float]
    size: float
    bold: bool
    soft: bool
    spaced: bool
    index: int
    """Its first character on the page."""


def _raw_words(textpage: int, start: int, end: int) -> list[_Raw]:
    """The words of a range of characters, visible or not; parted at white space and at gaps."""
    found: list[_Raw] = []
    word: _Raw | None = None
    space = True
    boxes, unpack = _BOXES, _TWO_BOXES.unpack
    for index in range(start, end):
        code = native.unicode_of(textpage, index)
        if code in _SPACES or not native.char_box(textpage, index, _FIRST):
            word = None
            space = True
            continue
        left, top, right, bottom, *_ = unpack(boxes)
        if word is not None and _apart(word.box, (left, bottom, right, top), word.size):
            word = None
        soft = code in {0x02, 0xAD}
        sign = "-" if soft else chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
        if word is None:
            size = native.font_size(textpage, index)
            if size <= _UNSCALED:
                size = max(abs(top - bottom), abs(right - left), size) * 0.8
            bold = native.font_weight(textpage, index) >= _BOLD
            word = _Raw(sign, [left, bottom, right, top], size, bold, soft, space, index)
            found.append(word)
            space = False
            continue
        box = word.box
        high, tall = top - bottom, box[3] - box[1]
        if "0" <= sign <= "9" and high < 0.8 * tall and bottom > box[1] + 0.2 * tall:
            if _smaller(textpage, index, word.index):
                sign = sign.translate(_EXPONENTS)
        elif (
            tall < 0.8 * high
            and box[1] > bottom + 0.2 * high
            and word.text.isdecimal()
            and _smaller(textpage, word.index, index)
        ):  # the mark of a note, set close to its text
            word.text = word.text.translate(_EXPONENTS)
            word.size = max(word.size, native.font_size(textpage, index))
        if left < box[0]:
            box[0] = left
        if bottom < box[1]:
            box[1] = bottom
        if right > box[2]:
            box[2] = right
        if top > box[3]:
            box[3] = top
        word.text += sign
        word.soft = soft
    return found


def _smaller(textpage: int, index: int, other: int) -> bool:
    """Whether one character is set smaller than another, as exponents are; its box may be that of its ink alone."""
    own = native.font_size(textpage, index)
    if own > _UNSCALED:
        return bool(own < 0.85 * native.font_size(textpage, other))
    return bool(native.char_object(textpage, index) != native.char_object(textpage, other))


def _visible_words(
    sheet: _Sheet, ranges: Sequence[tuple[int, int]], notes: Counter[str], *, turn: int | None = None
) -> tuple[list[Word], int]:
    """The visible words of parts of a page in the file's order, upright, and by how much they had to be turned."""
    angles: Counter[int] = Counter()
    kept: list[tuple[_Raw, int]] = []
    for start, end in ranges:
        for raw in _raw_words(sheet.textpage, start, end):
            if (why := _unseen(sheet, raw)) is not None:
                notes[why] += 1
                continue
            angle = round(math.degrees(native.char_angle(sheet.textpage, raw.index)) / 90) * 90 % 360
            angles[angle] += 1
            kept.append((raw, angle))
    if turn is None:
        turn = angles.most_common(1)[0][0] if angles else 0
    words = []
    for raw, angle in kept:
        if text := cleaned(raw.text):
            place = _upright(raw.box, turn, sheet.top)
            words.append(Word(text, place, raw.size, raw.bold, raw.soft, raw.spaced, angle != turn))
    return words, turn


def _turned_left_out(words: list[Word], notes: Counter[str]) -> list[Word]:
    upright = [word for word in words if not word.sideways]
    if len(upright) < len(words):
        notes["sideways words outside tables left out"] += len(words) - len(upright)
    return upright


def _unseen(sheet: _Sheet, raw: _Raw) -> str | None:
    """Why nobody can see a word, or ``None``."""
    crop, drawn = sheet.crop, sheet.drawn
    left, bottom, right, top = raw.box
    if not (crop[0] <= (left + right) / 2 <= crop[2] and crop[1] <= (bottom + top) / 2 <= crop[3]):
        return "words outside the crop box left out"
    if raw.size < _SMALLEST and abs(top - bottom) < _SMALLEST:
        return "words too small to be read left out"
    if drawn.unseen or drawn.disguised:
        thing = native.char_object(sheet.textpage, raw.index)
        if thing in drawn.unseen:
            return "invisible words left out"
        if thing in drawn.disguised:
            return "words in the colour of their ground or painted over left out"
    return None


def cleaned(text: str) -> str:
    """Text in NFC without control characters; ﬁ and ﬂ as the letters they stand for, ² and № as they are."""
    if text.isascii() and text.isprintable():
        return text
    if any(map(text.__contains__, _LIGATURES)):
        text = "".join(unicodedata.normalize("NFKC", sign) if sign in _LIGATURES else sign for sign in text)
    return unicodedata.normalize("NFC", _CONTROL.sub("", text))


def _apart(box: Sequence[float], cell: Sequence[float], size: float) -> bool:
    """Whether a character stands too far from the word before it to belong to it."""
    wide = max(size, 1.0)
    return (
        cell[0] - box[2] > 1.2 * wide
        or box[0] - cell[2] > 1.2 * wide
        or cell[1] - box[3] > 0.8 * wide
        or box[1] - cell[3] > 0.8 * wide
    )


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


def rules(paths: Sequence[Bounds], turn: int, top: float, height: float) -> Rules:
    """The straight lines and the edges of the frames drawn on a page."""
    horizontal: list[tuple[float, float, float]] = []
    vertical: list[tuple[float, float, float]] = []
    for bounds in paths:
        box = _upright(bounds, turn, top)
        wide, high = box.x1 - box.x0, box.y1 - box.y0
        if high <= 2.5 and wide > 8:
            horizontal.append((box.middle, box.x0, box.x1))
        elif wide <= 2.5 and high > 4:
            vertical.append((box.centre, box.y0, box.y1))
        elif wide > 8 and 6 < high < 0.6 * height:
            horizontal += [(box.y0, box.x0, box.x1), (box.y1, box.x0, box.x1)]
            vertical += [(box.x0, box.y0, box.y1), (box.x1, box.y0, box.y1)]
    return Rules(tuple(horizontal), tuple(vertical))
