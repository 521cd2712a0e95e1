"""The geometry of a page: words with their boxes become lines, columns, tables and paragraphs. Pure.

Coordinates are in points, ``x`` to the right and ``y`` downwards, as the page is read.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ingest.outline import opens_block, recognise


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left, top, right, bottom."""

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


@dataclass(frozen=True, slots=True)
class Line:
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


@dataclass(frozen=True, slots=True)
class Paragraph:
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


_WORD_GAP: Final = 1.6
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
    return level and -0.5 * size < gap < _WORD_GAP * size


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


def _line(run: Sequence[Word]) -> Line:
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
        size=statistics.median(word.size for word in run),
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


def _downwards(page: Sequence[Line]) -> list[Line]:
    """Lines from top to bottom, those side by side from left to right."""
    rows = visual_rows(page)
    return [line for row in rows for line in row]


def visual_rows(page: Sequence[Line]) -> list[list[Line]]:
    """Lines grouped by height: each row holds what stands side by side, left to right."""
    rows: list[list[Line]] = []
    for line in sorted(page, key=lambda line: (line.box.middle, line.box.x0)):
        if rows and not line.rows and not rows[-1][0].rows and _level(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.box.x0) for row in rows]


def _level(one: Line, two: Line) -> bool:
    return abs(one.box.middle - two.box.middle) < 0.45 * max(one.size, two.size)


def _gutter(page: Sequence[Line]) -> float | None:
    """The middle of the white vertical strip that parts two columns, or ``None``."""
    left, right = min(line.box.x0 for line in page), max(line.box.x1 for line in page)
    size = statistics.median(line.size for line in page)
    width = int(right - left) + 1
    if width < 12 * size:
        return None
    covered = [0] * (width + 1)
    for line in page:
        for x in range(int(line.box.x0 - left), min(width, int(line.box.x1 - left)) + 1):
            covered[x] += 1
    best: tuple[float, float] | None = None
    few = max(1, int(0.12 * len(page)))
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
    crossing = [line for line in page if line.box.x0 < gutter - 2 and line.box.x1 > gutter + 2]
    beside = [line for line in page if line not in crossing]
    groups: list[tuple[list[Line], bool]] = []
    for line in sorted(page, key=lambda line: line.box.middle):
        crosses = line in crossing
        if not crosses and groups and groups[-1][1] and any(_level(line, other) for other in groups[-1][0]):
            crosses = True  # the rest of a line whose other half crosses
        if groups and groups[-1][1] == crosses:
            groups[-1][0].append(line)
        else:
            groups.append(([line], crosses))
    del beside
    yield from groups


def _is_text(column: Sequence[Line]) -> bool:
    """Whether lines are a column of running text rather than cells."""
    rows = visual_rows(column)
    if len(rows) < _LEAST_COLUMN_ROWS:
        return False
    long = sum(line.words for line in column if line.words >= _LEAST_COLUMN_WORDS)
    return long >= _COLUMN_SHARE * sum(line.words for line in column)


# --- tables ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Grid:
    xs: list[float] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)


def ruled_tables(words: Sequence[Word], rules: Rules) -> tuple[list[Word], list[Line]]:
    """Tables drawn with lines, as :class:`Line` values with rows, and the words that stand in none of them."""
    rest = list(words)
    tables: list[Line] = []
    for grid in _grids(rules):
        box = Box(grid.xs[0] - 1, grid.ys[0] - 1, grid.xs[-1] + 1, grid.ys[-1] + 1)
        inside = [word for word in rest if box.x0 <= word.box.centre <= box.x1 and box.y0 <= word.box.middle <= box.y1]
        if not inside:
            continue
        cells: dict[tuple[int, int], list[Word]] = {}
        for word in inside:
            cells.setdefault((_slot(grid.ys, word.box.middle), _slot(grid.xs, word.box.centre)), []).append(word)
        columns = sorted({column for _, column in cells})
        numbers = sorted({row for row, _ in cells})
        if len(columns) < 2 or len(numbers) < 2:
            continue
        rows = tuple(row for number in numbers for row in _ruled_rows(cells, number, len(grid.xs) - 1))
        used = [index for index in range(len(grid.xs) - 1) if any(row[index] for row in rows)]
        rows = tuple(tuple(row[index] for index in used) for row in rows)
        taken = set(map(id, inside))
        rest = [word for word in rest if id(word) not in taken]
        tables.append(_table_line(rows, box, inside[0].size))
    return rest, tables


def _ruled_rows(cells: dict[tuple[int, int], list[Word]], row: int, columns: int) -> list[tuple[str, ...]]:
    """One ruled row; several where each band between two rules holds as many lines in every one of its cells."""
    read = [visual_rows(lines(cells.get((row, column), []))) for column in range(columns)]
    counts = {len(cell) for cell in read if cell}
    filled = sum(bool(cell) for cell in read)
    if len(counts) == 1 and (count := counts.pop()) >= _LEAST_BANDED and filled >= _LEAST_BANDED + 1:
        return [tuple(join(cell[index]) if cell else "" for cell in read) for index in range(count)]
    return [tuple(join([line for part in cell for line in part]) for cell in read)]


def _table_line(rows: tuple[tuple[str, ...], ...], box: Box, size: float) -> Line:
    return Line("\n".join(" | ".join(row) for row in rows), box, size, rows=rows)


def _slot(edges: Sequence[float], value: float) -> int:
    return max(0, sum(edge <= value for edge in edges) - 1)


def _grids(rules: Rules) -> Iterator[_Grid]:
    """Drawn lines that touch each other, as the edges of rows and columns; frames without inner lines are none."""
    parts = [("h", *rule) for rule in rules.horizontal] + [("v", *rule) for rule in rules.vertical]
    if not 4 <= len(parts) <= 4000:
        return
    parent = list(range(len(parts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    order = sorted(range(len(parts)), key=lambda index: _box(parts[index]).y0)
    active: list[int] = []
    for index in order:
        box = _box(parts[index])
        active = [other for other in active if _box(parts[other]).y1 + _TOLERANCE >= box.y0]
        for other in active:
            two = _box(parts[other])
            if two.x0 - _TOLERANCE <= box.x1 and box.x0 - _TOLERANCE <= two.x1:
                parent[root(index)] = root(other)
        active.append(index)
    groups: dict[int, _Grid] = {}
    for index, (kind, position, _, _) in enumerate(parts):
        grid = groups.setdefault(root(index), _Grid())
        (grid.ys if kind == "h" else grid.xs).append(position)
    for grid in sorted(groups.values(), key=lambda grid: min(grid.ys, default=0.0)):
        grid.xs, grid.ys = _distinct(grid.xs), _distinct(grid.ys)
        if len(grid.xs) >= 3 and len(grid.ys) >= 3:
            yield grid


def _box(part: tuple[str, float, float, float]) -> Box:
    kind, position, start, end = part
    return Box(start, position, end, position) if kind == "h" else Box(position, start, position, end)


def _distinct(values: Iterable[float]) -> list[float]:
    result: list[float] = []
    for value in sorted(values):
        if not result or value - result[-1] > _TOLERANCE:
            result.append(value)
    return result


def aligned_tables(column: Sequence[Line]) -> list[Line]:
    """Lines of one column with runs of rows whose cells stand below each other replaced by tables."""
    result: list[Line] = []
    run: list[list[Line]] = []

    def flush() -> None:
        rows = _aligned(run)
        if rows is None:
            result.extend(line for row in run for line in row)
        else:
            box = run[0][0].box
            for row in run:
                for line in row:
                    box = box.around(line.box)
            result.append(_table_line(rows, box, run[0][0].size))
        run.clear()

    for row in visual_rows(column):
        if len(row) >= 2 and not row[0].rows:
            run.append(row)
            continue
        if run:
            flush()
        result.extend(row)
    if run:
        flush()
    return result


def _aligned(run: Sequence[Sequence[Line]]) -> tuple[tuple[str, ...], ...] | None:
    """Rows of cells when at least three rows share their columns, else ``None``."""
    if len(run) < 3:
        return None
    spans: list[list[float]] = []
    for line in sorted((line for row in run for line in row), key=lambda line: line.box.x0):
        if spans and line.box.x0 < spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], line.box.x1)
        else:
            spans.append([line.box.x0, line.box.x1])
    if len(spans) < 2:
        return None
    rows = []
    for row in run:
        cells = [""] * len(spans)
        for line in row:
            slot = next(index for index, (x0, x1) in enumerate(spans) if x0 <= line.box.x0 <= x1)
            cells[slot] = f"{cells[slot]} {line.text}".strip()
        rows.append(tuple(cells))
    filled = sum(bool(cell) for row in rows for cell in row)
    return tuple(rows) if filled >= 0.5 * len(rows) * len(spans) else None


# --- paragraphs -----------------------------------------------------------------------------------------


def paragraphs(column: Sequence[Line], pitch: float) -> Iterator[Paragraph]:
    """The paragraphs of one column; ``pitch`` is the document's usual distance between lines, in font sizes."""
    left = min((line.box.x0 for line in column if not line.rows), default=0.0)
    right = max((line.box.x1 for line in column if not line.rows), default=0.0)
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
    last = group[-1]
    if line.rows or last.rows:
        return True
    size = max(last.size, line.size)
    if _level(last, line):
        return False
    drop = line.box.middle - last.box.middle
    if drop < 0 or drop > _NEW_PARAGRAPH * pitch * size or abs(last.size - line.size) > 0.12 * size:
        return True
    if last.soft:
        return False
    if opens_block(line.text) or (line.bold != last.bold and len(line.text) > 3 and len(last.text) > 3):
        return True
    indented = line.box.x0 - last.box.x0 > 0.9 * size and abs(last.box.x0 - left) < 0.5 * size
    hanging = opens_block(group[0].text)
    if indented and not hanging:
        return True
    if line.text[0].islower() and not last.text.endswith((".", ":", ";", "!", "?")) and not _is_heading(last):
        return False
    # The line before was not full: the first word of this one would have fitted on it.
    return last.box.x1 + 0.3 * size + line.first < right - 0.5 * size and (
        last.text.endswith((".", ":", ";", "!", "?", "»")) or right - last.box.x1 > 6 * size or _is_heading(last)
    )


def _is_heading(line: Line) -> bool:
    found = recognise(line.text)
    return found is not None and not found.body


def _paragraph(group: Sequence[Line]) -> Paragraph:
    box = group[0].box
    for line in group[1:]:
        box = box.around(line.box)
    if group[0].rows:
        return Paragraph(group[0].text, box, group[0].size, rows=group[0].rows)
    return Paragraph(
        text=join(group),
        box=box,
        size=statistics.median(line.size for line in group),
        bold=all(line.bold for line in group),
        soft=group[-1].soft,
    )


_CUT_NUMBER: Final = re.compile(r"\w[-–‑/]$")
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")


def join(group: Sequence[Line]) -> str:
    """Lines as one text; a word that the line break cut is whole again."""
    text = ""
    for index, line in enumerate(group):
        piece = " ".join(line.text.split())
        if not text:
            text = piece
        elif group[index - 1].soft or (
            _HYPHEN.search(text) and piece[:1].islower() and not _level(group[index - 1], line)
        ):
            text = _HYPHEN.sub("", text) + piece if not _compound(text, piece) else text + piece
        elif _CUT_NUMBER.search(text) and piece[:1].isdigit() and not _level(group[index - 1], line):
            text += piece
        else:
            text = f"{text} {piece}"
    return text.replace("\u00ad", "")


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
        for last, line in itertools.pairwise(page):
            drop = line.box.middle - last.box.middle
            if not line.rows and not last.rows and 0.8 * line.size < drop < 2.2 * line.size:
                distances.append(drop / line.size)
    if not distances:
        return 1.2
    # Below the median: in lists and flat texts the gaps between paragraphs are as many as those within them.
    return sorted(distances)[len(distances) // 3]


def moved(line: Line, shift: float) -> Line:
    """The same line, lower by ``shift``."""
    box = line.box
    return replace(line, box=Box(box.x0, box.y0 + shift, box.x1, box.y1 + shift))
