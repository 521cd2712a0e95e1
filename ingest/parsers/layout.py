"""The geometry of a page: words with their boxes become lines, columns, tables and paragraphs. Pure.

Coordinates are in points, ``x`` to the right and ``y`` downwards, as the page is read.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ingest.outline import is_item, opens_block, recognise


class Box(NamedTuple):
    """A rectangle: left, top, right, bottom. A tuple, as :class:`Line` is, because every line of a page makes one."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def centre(self) -> float:
        return (self.x0 + self.x1) / 2

    def around(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters without white space; ``size`` is the font's."""

    text: str
    box: Box
    size: float
    bold: bool = False
    soft: bool = False
    """Ends in a hyphen that the line break caused."""
    spaced: bool = True
    """White space stands before it in the file; a mere change of font does not part a word."""
    sideways: bool = False
    """Runs in another direction than the page's text."""


class Line(NamedTuple):
    """Words side by side, or a table standing in the flow (``rows``)."""

    text: str
    box: Box
    size: float
    bold: bool = False
    soft: bool = False
    words: int = 1
    first: float = 0.0
    """Width of the first word: whether it would have fitted on the line before."""
    rows: tuple[tuple[str, ...], ...] = ()


class Paragraph(NamedTuple):
    """Lines that belong together, joined; or a table."""

    text: str
    box: Box
    size: float
    bold: bool = False
    soft: bool = False
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """The straight lines drawn on a page: each ``(position, from, to)``."""

    horizontal: tuple[tuple[float, float, float], ...] = ()
    vertical: tuple[tuple[float, float, float], ...] = ()


WORD_GAP: Final = 1.6
"""Font sizes between two words beyond which they stand in different columns or cells."""
_LEAST_COLUMN_ROWS: Final = 4
"""Lines side by side that make columns of text; fewer are a heading, an address or a form."""
_LEAST_COLUMN_WORDS: Final = 4
"""Words of a line of a text column; most cells of tables hold fewer."""
_COLUMN_SHARE: Final = 0.7
"""Share of the words of a text column that stand in such lines."""
_TOLERANCE: Final = 3.0
"""Points by which drawn lines that should meet may miss each other."""
_LEAST_BANDED: Final = 3
"""Lines that all cells between two rules must have in common to be rows of their own and not wrapped words."""
_LEAST_ALIGNED: Final = 3
"""Rows of several cells that make a table where no line is drawn."""
_MOST_LONE: Final = 3
"""Lines of a wrapped cell between two rows."""
_WRAPPED: Final = 1.6
"""Font sizes from one line of a wrapped cell to the next."""
_NARROW: Final = 0.6
"""Width of a wrapped cell in that of its table, at most."""
_CROSSING: Final = 12
"""One cell in so many rows may cross from one column into the next, as those of groups and sums do."""
_LEAST_STRIP: Final = 0.5
"""Width in font sizes of the white strip between two columns."""
_MOST_RULES: Final = 4000
"""Drawn lines of a page beyond which it is a map or a plan."""
_NEW_PARAGRAPH: Final = 1.35
"""Line distances, in usual ones, from which a gap parts paragraphs."""


# --- lines ----------------------------------------------------------------------------------------------


def lines(words: Sequence[Word]) -> list[Line]:
    """Words joined to runs on one base line without wide gaps, in the order in which they were given."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and _continues(runs[-1], word):
            runs[-1].append(word)
        else:
            runs.append([word])
    return [_line(run) for run in _joined(runs)]


def _continues(run: Sequence[Word], word: Word) -> bool:
    last = run[-1]
    size = max(last.size, word.size, 1.0)
    level = abs(last.box.middle - word.box.middle) < 0.5 * size
    gap = word.box.x0 - last.box.x1
    return level and -0.5 * size < gap < WORD_GAP * size


def _joined(runs: Sequence[list[Word]]) -> list[list[Word]]:
    """Runs of the same line that the file writes apart (a number, then its title) brought together."""
    result: list[list[Word]] = []
    for run in runs:
        for other in reversed(result[-6:]):
            if _continues(other, run[0]):
                other.extend(run)
                break
            if _continues(run, other[0]):
                other[:0] = run
                break
        else:
            result.append(list(run))
    return result


def rejoined(found: list[Line]) -> list[Line]:
    """The same for lines that are read already; most pages have none that were written apart."""
    if stacked(found):
        return found
    places = sorted((line.box.y0 + line.box.y1, line.box.x0, line.box.x1, line.size) for line in found)
    for reach in (1, 2):
        for (y, x0, x1, size), (other, left, right, _) in zip(places, places[reach:], strict=False):
            if other - y < size and (-0.5 * size < left - x1 < WORD_GAP * size or
                                     -0.5 * size < x0 - right < WORD_GAP * size):  # fmt: skip
                return _lines_joined(found)
    return found


def _lines_joined(found: Sequence[Line]) -> list[Line]:
    result: list[Line] = []
    places: list[tuple[float, float, float, float]] = []
    for line in found:
        _, (x0, y0, x1, y1), own, *_ = line
        level = y0 + y1
        for index in range(len(result) - 1, max(-1, len(result) - 7), -1):
            left, right, other, size = places[index]
            if own > size:
                size = own
            if not -size < level - other < size:
                continue
            if -0.5 * size < x0 - right < WORD_GAP * size:
                joined = side_by_side(result[index], line)
            elif -0.5 * size < left - x1 < WORD_GAP * size:
                joined = side_by_side(line, result[index])
            else:
                continue
            result[index], places[index] = joined, _place(joined)
            break
        else:
            result.append(line)
            places.append(_place(line))
    return result


def _place(line: Line) -> tuple[float, float, float, float]:
    """Where a line begins and ends, twice its height on the page, and its size."""
    _, (x0, y0, x1, y1), size, *_ = line
    return x0, x1, y0 + y1, max(size, 1.0)


def side_by_side(line: Line, other: Line, space: str = " ") -> Line:
    """Two pieces of one line as one."""
    longer = line if len(line.text) >= len(other.text) else other
    return Line(
        text=f"{line.text}{space}{other.text}",
        box=line.box.around(other.box),
        size=longer.size,
        bold=longer.bold if min(len(line.text), len(other.text)) < 0.2 * len(longer.text) else line.bold and other.bold,
        soft=other.soft,
        words=line.words + other.words,
        first=line.first,
    )


def _line(run: Sequence[Word]) -> Line:
    if len(run) == 1:
        (word,) = run
        box, count = word.box, word.text.count(" ") + 1
        return Line(word.text, box, word.size, word.bold, word.soft, count, (box.x1 - box.x0) / count)
    box = run[0].box
    for word in run[1:]:
        box = box.around(word.box)
    pieces = [run[0].text]
    for before, word in itertools.pairwise(run):
        glued = not word.spaced and word.box.x0 - before.box.x1 < 0.12 * max(before.size, word.size)
        pieces.append(word.text if glued else f" {word.text}")
    letters = sum(len(word.text) for word in run)
    return Line(
        text="".join(pieces),
        box=box,
        size=sorted([word.size for word in run])[len(run) // 2],
        bold=sum(len(word.text) for word in run if word.bold) > 0.8 * letters,
        soft=run[-1].soft,
        words=len(run),
        first=run[0].box.x1 - run[0].box.x0,
    )


# --- reading order --------------------------------------------------------------------------------------


def ordered(page: Sequence[Line], depth: int = 0) -> list[list[Line]]:
    """Lines in reading order, parted into columns: each list is read from top to bottom."""
    if len(page) < 2 * _LEAST_COLUMN_ROWS or depth > 3:
        return [_downwards(page)]
    gutter = _gutter(page)
    if gutter is None:
        return [_downwards(page)]
    result: list[list[Line]] = []
    for band, crossing in _bands(page, gutter):
        left = [line for line in band if line.box.centre < gutter]
        right = [line for line in band if line.box.centre >= gutter]
        if not crossing and _is_text(left) and _is_text(right):
            result += ordered(left, depth + 1) + ordered(right, depth + 1)
        elif crossing or len(band) == len(page):
            result.append(_downwards(band))
        else:
            result += ordered(band, depth + 1)
    return result


def stacked(page: Sequence[Line]) -> bool:
    """Whether every line stands wholly below the one before it, as in running text: then no two are side by side."""
    before, tall = -math.inf, 0.0
    for line in page:
        box, size = line[1], line[2]
        middle = box[1] + box[3]  # twice the middle
        drop = middle - before
        if drop < size or drop < tall:
            return False
        before, tall = middle, size
    return True


def _downwards(page: Sequence[Line]) -> list[Line]:
    """Lines from top to bottom, those side by side from left to right."""
    if stacked(page):
        return list(page)
    rows = visual_rows(page)
    return [line for row in rows for line in row]


def visual_rows(page: Sequence[Line]) -> list[list[Line]]:
    """Lines grouped by height: each row holds what stands side by side, left to right."""
    places = sorted([(line.box.y0 + line.box.y1, line.box.x0, index) for index, line in enumerate(page)])
    rows: list[list[Line]] = []
    head: Line | None = None
    height = 0.0
    for middle, _, index in places:
        line = page[index]
        # Twice the middle, as is the tolerance.
        if head is not None and middle - height < 0.9 * max(head.size, line.size) and not line.rows and not head.rows:
            rows[-1].append(line)
        else:
            rows.append([line])
            head, height = line, middle
    for row in rows:
        if len(row) > 1:
            row.sort(key=lambda line: line.box.x0)
    return rows


def _level(one: Line, two: Line) -> bool:
    return abs(one.box.middle - two.box.middle) < 0.45 * max(one.size, two.size)


def _gutter(page: Sequence[Line]) -> float | None:
    """The middle of the white vertical strip that parts two columns, or ``None``."""
    lefts, rights = [line[1][0] for line in page], [line[1][2] for line in page]
    left, right = min(lefts), max(rights)
    width = int(right - left) + 1
    few = max(1, int(0.12 * len(page)))
    near, far = left + 0.15 * width, left + 0.85 * width
    if sum([x0 <= near and x1 >= far for x0, x1 in zip(lefts, rights, strict=True)]) > few:
        return None  # so many lines cross every strip
    size = statistics.median([line.size for line in page])
    if width < 12 * size:
        return None
    steps = [0] * (width + 3)
    for x0, x1 in zip(lefts, rights, strict=True):
        steps[int(x0 - left)] += 1
        steps[min(width, int(x1 - left)) + 1] -= 1
    covered = list(itertools.accumulate(steps))
    best: tuple[float, float] | None = None
    start = None
    for x in range(int(0.15 * width), int(0.85 * width) + 1):
        if covered[x] <= few:
            start = x if start is None else start
            continue
        if start is not None and x - start >= 0.7 * size:
            best = max(best or (0.0, 0.0), (float(x - start), left + (x + start) / 2))
        start = None
    if start is not None and int(0.85 * width) - start >= 0.7 * size:
        best = max(best or (0.0, 0.0), (float(0.85 * width - start), left + (0.85 * width + start) / 2))
    return None if best is None else best[1]


def _bands(page: Sequence[Line], gutter: float) -> Iterator[tuple[list[Line], bool]]:
    """The page from top to bottom, parted where lines cross the gutter: (lines, whether they cross)."""
    groups: list[tuple[list[Line], bool]] = []
    for line in sorted(page, key=lambda line: line.box.middle):
        crosses = line.box.x0 < gutter - 2 and line.box.x1 > gutter + 2
        if not crosses and groups and groups[-1][1] and any(_level(line, other) for other in groups[-1][0]):
            crosses = True  # the rest of a line whose other half crosses
        if groups and groups[-1][1] == crosses:
            groups[-1][0].append(line)
        else:
            groups.append(([line], crosses))
    yield from groups


def _is_text(column: Sequence[Line]) -> bool:
    """Whether lines are a column of running text rather than cells."""
    rows = visual_rows(column)
    if len(rows) < _LEAST_COLUMN_ROWS:
        return False
    long = sum(line.words for line in column if line.words >= _LEAST_COLUMN_WORDS)
    return long >= _COLUMN_SHARE * sum(line.words for line in column)


# --- tables ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grid:
    """Drawn lines that touch each other: where its columns and its rows have their edges."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    @property
    def box(self) -> Box:
        return Box(self.xs[0] - 1, self.ys[0] - 1, self.xs[-1] + 1, self.ys[-1] + 1)


def ruled_tables(words: Sequence[Word], grids: Sequence[Grid]) -> tuple[list[Word], list[Line]]:
    """Tables drawn with lines, as :class:`Line` values with rows, and the words that stand in none of them."""
    rest = list(words)
    tables: list[Line] = []
    for grid in grids:
        box = grid.box
        inside: list[Word] = []
        outside: list[Word] = []
        cells: dict[tuple[int, int], list[Word]] = {}
        for word in rest:
            left, top, right, bottom = word.box
            x, y = (left + right) / 2, (top + bottom) / 2
            if box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1:
                inside.append(word)
                cells.setdefault((_slot(grid.ys, y), _slot(grid.xs, x)), []).append(word)
            else:
                outside.append(word)
        if not inside:
            continue
        columns = sorted({column for _, column in cells})
        numbers = sorted({row for row, _ in cells})
        if len(columns) < 2 or len(numbers) < 2:
            continue
        rows = tuple(row for number in numbers for row in _ruled_rows(cells, number, len(grid.xs) - 1))
        used = [index for index in range(len(grid.xs) - 1) if any(row[index] for row in rows)]
        rows = tuple(tuple(row[index] for index in used) for row in rows)
        rest = outside
        tables.append(_table_line(rows, box, inside[0].size))
    return rest, tables


def _ruled_rows(cells: dict[tuple[int, int], list[Word]], row: int, columns: int) -> list[tuple[str, ...]]:
    """One ruled row; several where each band between two rules holds as many lines in every one of its cells."""
    words = [cells.get((row, column), ()) for column in range(columns)]
    if all(len(cell) < 2 for cell in words):
        return [tuple(cell[0].text.replace("\u00ad", "") if cell else "" for cell in words)]
    read = [_cell(cell) for cell in words]
    counts = {len(cell) for cell in read if cell}
    filled = sum(bool(cell) for cell in read)
    if len(counts) == 1 and (count := counts.pop()) >= _LEAST_BANDED and filled >= _LEAST_BANDED + 1:
        return [tuple(join(cell[index]) if cell else "" for cell in read) for index in range(count)]
    return [tuple(join([line for part in cell for line in part]) for cell in read)]


def _cell(words: Sequence[Word]) -> list[list[Line]]:
    """The lines of one cell."""
    below = all(
        after.box.y0 + after.box.y1 - before.box.y0 - before.box.y1 >= max(before.size, after.size, 1.0)
        for before, after in itertools.pairwise(words)
    )
    return [[_line([word])] for word in words] if below else visual_rows(lines(words))


def _table_line(rows: tuple[tuple[str, ...], ...], box: Box, size: float) -> Line:
    return Line("\n".join(" | ".join(row) for row in rows), box, size, rows=rows)


def _slot(edges: Sequence[float], value: float) -> int:
    return max(0, bisect.bisect_right(edges, value) - 1)


def grids(rules: Rules) -> list[Grid]:
    """Drawn lines that touch each other, as the edges of rows and columns; frames without inner lines are none."""
    if len(rules.horizontal) < 3 or len(rules.vertical) < 3:
        return []
    if len(rules.horizontal) + len(rules.vertical) > _MOST_RULES:
        return []
    # Top, bottom, left, right, whether horizontal; from top to bottom.
    parts = sorted(
        [(y, y, x0, x1, True) for y, x0, x1 in rules.horizontal]
        + [(y0, y1, x, x, False) for x, y0, y1 in rules.vertical]
    )
    parent = list(range(len(parts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    active: list[int] = []
    for index, (y0, _, x0, x1, _) in enumerate(parts):
        active = [other for other in active if parts[other][1] + _TOLERANCE >= y0]
        for other in active:
            _, _, left, right, _ = parts[other]
            if left - _TOLERANCE <= x1 and x0 - _TOLERANCE <= right:
                parent[root(index)] = root(other)
        active.append(index)
    groups: dict[int, tuple[list[float], list[float]]] = {}
    for index, (y, _, x, _, horizontal) in enumerate(parts):
        groups.setdefault(root(index), ([], []))[horizontal].append(y if horizontal else x)
    made = [Grid(tuple(_distinct(xs)), tuple(_distinct(ys))) for xs, ys in groups.values()]
    return sorted((grid for grid in made if len(grid.xs) >= 3 and len(grid.ys) >= 3), key=lambda grid: grid.ys[0])


def _distinct(values: Iterable[float]) -> list[float]:
    result: list[float] = []
    for value in sorted(values):
        if not result or value - result[-1] > _TOLERANCE:
            result.append(value)
    return result


def aligned_tables(column: Sequence[Line]) -> list[Line]:
    """Lines of one column with runs of rows whose cells stand below each other replaced by tables.

    Rows of one cell between rows of several are wrapped words of a cell above or the label of a group.
    """
    if stacked(column):
        return list(column)  # no two cells stand side by side
    result: list[Line] = []
    run: list[list[Line]] = []

    def flush() -> None:
        left = min(line.box.x0 for row in run for line in row)
        rest: list[list[Line]] = []
        while run and len(run[-1]) == 1 and run[-1][0].box.x0 < left + run[-1][0].size:
            rest.insert(0, run.pop())  # what stands below the first column may be the text after the table
        rows = _aligned(run)
        if rows is None:
            result.extend(line for row in run for line in row)
        else:
            box = run[0][0].box
            for row in run:
                for line in row:
                    box = box.around(line.box)
            result.append(_table_line(rows, box, run[0][0].size))
        result.extend(line for row in rest for line in row)
        run.clear()

    lone = 0
    for row in visual_rows(column):
        several = len(row) >= 2 and not row[0].rows
        if several or (run and lone < _MOST_LONE and _near(run, row[0])):
            lone = 0 if several else lone + 1
            run.append(row)
            continue
        if run:
            flush()
        result.extend(row)
        lone = 0
    if run:
        flush()
    return result


def _near(run: Sequence[Sequence[Line]], below: Line) -> bool:
    """Whether a lone cell stands so close below a row, and is so narrow, that it may belong to it."""
    line = run[-1][0]
    if below.rows or opens(below.text) or below.box.middle - line.box.middle > _WRAPPED * max(line.size, below.size):
        return False
    wide = max(row[-1].box.x1 for row in run) - min(row[0].box.x0 for row in run)
    return below.box.x1 - below.box.x0 < _NARROW * wide


def _aligned(run: Sequence[Sequence[Line]]) -> tuple[tuple[str, ...], ...] | None:
    """Rows of cells when at least three rows share their columns, else ``None``."""
    full = [row for row in run if len(row) > 1]
    if len(full) < _LEAST_ALIGNED:
        return None
    edges = _edges(full)
    if not edges:
        return None
    rows: list[list[str]] = []
    for row in run:
        cells = [""] * (len(edges) + 1)
        for line in row:
            slot = bisect.bisect_right(edges, line.box.x0 + 0.25 * min(line.size, line.box.x1 - line.box.x0))
            cells[slot] = f"{cells[slot]} {line.text}".strip()
        if len(row) == 1 and rows and not cells[0]:
            slot = next(index for index, cell in enumerate(cells) if cell)
            rows[-1][slot] = f"{rows[-1][slot]} {cells[slot]}".strip()
        else:
            rows.append(cells)
    filled = sum(bool(cell) for row in rows for cell in row)
    if filled < 0.4 * len(rows) * (len(edges) + 1):
        return None
    return tuple(tuple(row) for row in rows)


def _edges(rows: Sequence[Sequence[Line]]) -> list[float]:
    """Where columns part: the middles of the upright strips that next to no cell crosses."""
    changes = sorted(
        [(line.box.x0, 1) for row in rows for line in row] + [(line.box.x1, -1) for row in rows for line in row]
    )
    size = rows[0][0].size
    few = len(rows) // _CROSSING
    edges = []
    depth, start, seen = 0, None, False
    for x, change in changes:
        depth += change
        if depth > few:
            if start is not None and seen and x - start > _LEAST_STRIP * size:
                edges.append((start + x) / 2)
            start, seen = None, True
        elif start is None:
            start = x
    return edges


# --- paragraphs -----------------------------------------------------------------------------------------


def paragraphs(column: Sequence[Line], pitch: float) -> Iterator[Paragraph]:
    """The paragraphs of one column; ``pitch`` is the document's usual distance between lines, in font sizes."""
    left = min([line[1][0] for line in column if not line[7]], default=0.0)
    right = max([line[1][2] for line in column if not line[7]], default=0.0)
    group: list[Line] = []
    for line in column:
        if group and _parts(group, line, left, right, pitch):
            yield _paragraph(group)
            group = []
        group.append(line)
    if group:
        yield _paragraph(group)


def _parts(group: Sequence[Line], line: Line, left: float, right: float, pitch: float) -> bool:
    """Whether ``line`` begins a new paragraph."""
    before, above, other, heavy, soft, _, _, cells = group[-1]
    text, (x0, y0, _, y1), size, bold, _, _, first, rows = line
    if rows or cells:
        return True
    from_, top, to, bottom = above
    if other > size:
        size, other = other, size
    drop = (y0 + y1 - top - bottom) / 2
    if -0.45 * size < drop < 0.45 * size:
        return False
    if drop < 0 or drop > _NEW_PARAGRAPH * pitch * size or size - other > 0.12 * size:
        return True
    if soft:
        return False
    if (bold != heavy and len(text) > 3 and len(before) > 3) or opens(text):
        return True
    if x0 - from_ > 0.9 * size and abs(from_ - left) < 0.5 * size and not opens(group[0].text):
        return True  # indented
    # The line before was not full: the first word of this one would have fitted on it.
    if to + 0.3 * size + first >= right - 0.5 * size:
        return False
    ends = before.endswith(_ENDS)
    heading = _is_heading(before)
    if text[0].islower() and not ends and not heading:
        return False
    return ends or before[-1] == "»" or right - to > 6 * size or heading


_HEAD_WORDS: Final = frozenset(
    "par liv boo tit sou sub cha sec art cla ann app sch pre pré deu tro qua cin six sep hui neu dix fir thi fou "
    "fif".split()
)
"""How the first words of headings begin; the test of this module holds them against :mod:`ingest.outline`."""


def opens(text: str) -> bool:
    """:func:`ingest.outline.opens_block`, but quick for the lines of running text.

    A heading begins with a capital of one of a few words, and of the marks of lists that begin with a letter all
    have a bracket behind it but one.
    """
    first = text[:1]
    if first.islower():
        return (first == "o" or ")" in text[1:6]) and is_item(text)
    if first.isalpha() and text[:3].lower() not in _HEAD_WORDS:
        return (first == "o" or ")" in text[1:6]) and is_item(text)
    return opens_block(text)


def _is_heading(text: str) -> bool:
    first = text[:1]
    if first.islower() or (first.isalpha() and text[:3].lower() not in _HEAD_WORDS):
        return False
    found = recognise(text)
    return found is not None and not found.body


def _paragraph(group: Sequence[Line]) -> Paragraph:
    if len(group) == 1:
        text, box, size, bold, soft, _, _, rows = group[0]
        return Paragraph(text.replace("\u00ad", ""), box, size, bold, soft, rows)
    boxes = [line[1] for line in group]
    first, last = boxes[0], boxes[-1]
    return Paragraph(
        join(group),
        Box(
            min([box[0] for box in boxes]),
            min(first[1], last[1]),
            max([box[2] for box in boxes]),
            max(first[3], last[3]),
        ),
        sorted([line[2] for line in group])[len(group) // 2],
        all(line[3] for line in group),
        group[-1].soft,
    )


_CUT_NUMBER: Final = re.compile(r"\w[-–‑/]$")
_ENDS: Final = (".", ":", ";", "!", "?")
_CUTS: Final = frozenset("-–‑/")
_HYPHENS: Final = frozenset("-\u00ad\u2010")
_BREAKS: Final = _CUTS | _HYPHENS
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")


def join(group: Sequence[Line]) -> str:
    """Lines as one text; a word that the line break cut is whole again."""
    texts = [line[0] for line in group]
    if len(group) == 1:
        return texts[0].replace("\u00ad", "")
    if not any(line[4] or line[0][-1:] in _BREAKS for line in group):
        return " ".join(texts).replace("\u00ad", "")
    pieces: list[str] = []
    before: Line | None = None
    for line in group:
        piece = line.text
        if before is not None:
            last = pieces[-1]
            if before.soft or (
                last[-1:] in _HYPHENS and piece[:1].islower() and _HYPHEN.search(last) and not _level(before, line)
            ):
                if not _compound(last, piece):
                    pieces[-1] = _HYPHEN.sub("", last)
            elif not (
                last[-1:] in _CUTS and piece[:1].isdigit() and _CUT_NUMBER.search(last) and not _level(before, line)
            ):
                pieces.append(" ")
        pieces.append(piece)
        before = line
    return "".join(pieces).replace("\u00ad", "")


def _compound(before: str, after: str) -> bool:
    """Whether a hyphen at the line's end belongs to the word: « peut-être », « celui-ci », « mi-temps »."""
    head = re.split(r"\s", before)[-1]
    return head.count("-") > 1 or after.split()[0].strip(".,;:").lower() in {
        "ci", "là", "il", "elle", "on", "ils", "elles", "ce", "je", "nous", "vous", "être", "même", "mêmes", "dire",
    } or head.lower() in {"non-", "vice-", "ex-", "demi-", "sous-", "mi-", "ci-", "co-"}  # fmt: skip


def usual_pitch(pages: Iterable[Sequence[Line]]) -> float:
    """The usual distance between two lines of a text, in font sizes."""
    distances = []
    for page in pages:
        before = math.inf
        for _, box, size, _, _, _, _, rows in page:
            if rows:
                before = math.inf
                continue
            middle = (box[1] + box[3]) / 2
            drop = (middle - before) / size
            if 0.8 < drop < 2.2:
                distances.append(drop)
            before = middle
    if not distances:
        return 1.2
    # Below the median: in lists and flat texts the gaps between paragraphs are as many as those within them.
    return sorted(distances)[len(distances) // 3]


def moved(line: Line, shift: float) -> Line:
    """The same line, lower by ``shift``."""
    box = line.box
    return line._replace(box=Box(box.x0, box.y0 + shift, box.x1, box.y1 + shift))
