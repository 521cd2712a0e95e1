"""Scanned pages made ready to be recognised: in grey, level, and without the lines of their tables.

A scan lies a degree or two askew, which mixes lines up, and the lines drawn around cells are taken for letters while
a lone figure in a cell is taken for a speck. So the page is turned level, and the lines are painted over and given
back as :class:`~ingest.parsers.layout.Rules`, by which the words become rows and cells again. Pure, but for the
memory that pictures take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from ingest.parsers.layout import Rules

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_POINTS: Final = 72
_CONTRAST: Final = 40
"""Shades between paper and ink below which a page is blank, or black."""
_LEAST_INK: Final = 40
"""Pixels of a page at half its resolution that stand out: less than one word has, more than dust."""
_INK: Final = 0.1
"""Percent of a page's pixels that are surely ink, even where only a line is written on it."""
_MOST_SLOPE: Final = 5.0
"""Degrees: pages that are fed askew; more is a photograph taken at an angle."""
_LEAST_SLOPE: Final = 0.15
_SHARPER: Final = 1.05
"""By how much the lines of text must stand out better for the page to be turned."""
_SIDE: Final = 900
"""Pixels of the longer side at which the slope is measured: half a degree is 8 of them."""
_DOTS: Final = 60_000
"""Dark pixels that the slope is measured on."""
_LONGEST_STROKE: Final = (36.0, 26.0)
"""Points across and down that no stroke of a letter has; shorter straight lines may be dashes and letters."""
_THICK: Final = 3.0
"""Points from which a line is a bar, or a picture."""
_WHOLE: Final = 0.95
"""Share of a line's pixels that are dark: dust and compression leave gaps."""
_GAP: Final = 1.5
"""Points by which the pieces of one line may miss each other."""
_MOST_RULES: Final = 2000
_FINE: Final = 200.0
"""Dots per inch above which lines are looked for at half the resolution."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A page to be recognised; ``rules`` are in points from its upper left corner."""

    picture: Image.Image
    rules: Rules


def ready(picture: Image.Image, dpi: float) -> Scan:
    """The page level, its drawn lines painted over; it keeps its size."""
    picture = level(grey(picture))
    return _without_rules(picture, dpi)


def grey(picture: Image.Image) -> Image.Image:
    """The picture in shades of grey, on white paper."""
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        paper = Image.new("RGBA", seen.size, "white")
        paper.alpha_composite(seen)
        picture = paper
    return picture if picture.mode == "L" else picture.convert("L")


def is_blank(picture: Image.Image) -> bool:
    """Whether nothing on a grey page stands out: the empty back of a sheet, or a black one."""
    pixels = _pixels(picture.reduce(2)).astype(np.int16)
    return int((abs(pixels - _paper(pixels)) > _CONTRAST).sum()) < _LEAST_INK


# --- level ----------------------------------------------------------------------------------------------


def level(picture: Image.Image) -> Image.Image:
    """The picture turned by the few degrees that make its lines of text level."""
    degrees = slope(picture)
    if abs(degrees) < _LEAST_SLOPE:
        return picture
    return picture.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=_paper(_pixels(picture.reduce(8))))


def slope(picture: Image.Image) -> float:
    """By how many degrees the lines of text fall to the right; 0 where that can't be told."""
    small = _pixels(picture.reduce(max(1, round(max(picture.size) / _SIDE))))
    down, across = np.nonzero(_dark(small, 0.5))
    if len(down) < 200:
        return 0.0
    step = -(-len(down) // _DOTS)
    down, across = down[::step], across[::step] - small.shape[1] / 2

    def sharpness(degrees: float) -> float:
        rows = np.round(down - across * np.tan(np.radians(degrees)) + small.shape[1]).astype(np.int64)
        return float((np.bincount(rows).astype(np.float64) ** 2).sum())

    rough = max(np.arange(-_MOST_SLOPE, _MOST_SLOPE + 0.01, 0.25), key=sharpness)
    found = float(max(np.arange(rough - 0.25, rough + 0.26, 0.05), key=sharpness))
    return found if sharpness(found) > _SHARPER * sharpness(0.0) else 0.0


def _pixels(picture: Image.Image) -> Grey:
    return np.asarray(picture, dtype=np.uint8)


def _paper(pixels: npt.NDArray[Any]) -> int:
    return int(np.median(pixels))


def _dark(pixels: Grey, share: float) -> Mask:
    """What is darker than ``share`` of the way from paper to ink; nothing on a blank page."""
    some = pixels[::3, ::3]
    paper, ink = float(np.median(some)), float(np.percentile(some, _INK))
    if paper - ink < _CONTRAST:
        return np.zeros(pixels.shape, dtype=np.bool_)
    dark: Mask = pixels < paper - max(24.0, share * (paper - ink))
    return dark


# --- drawn lines ----------------------------------------------------------------------------------------


def _without_rules(picture: Image.Image, dpi: float) -> Scan:
    half = 2 if dpi > _FINE else 1
    pixels = _pixels(picture.reduce(half) if half > 1 else picture)
    scale = dpi / half / _POINTS
    dark = _dark(pixels, 0.2)  # the lines of tables are often grey
    across = _lines(dark, int(_LONGEST_STROKE[0] * scale), int(_THICK * scale))
    down = _lines(np.ascontiguousarray(dark.T), int(_LONGEST_STROKE[1] * scale), int(_THICK * scale))
    gap = max(1, int(_GAP * scale))
    rules = Rules(tuple(_rules(across, gap, scale)), tuple(_rules(down, gap, scale)))
    mask = across | down.T
    if not mask.any():
        return Scan(picture, rules)
    painted = np.array(picture)
    mask = _grown(mask)
    mask = mask.repeat(half, axis=0).repeat(half, axis=1)[: painted.shape[0], : painted.shape[1]]
    painted[: mask.shape[0], : mask.shape[1]][mask] = _paper(pixels)
    return Scan(Image.fromarray(painted), rules)


def _lines(dark: Mask, length: int, thick: int) -> Mask:
    """The pixels of thin straight lines from left to right that are at least ``length`` long."""
    found = np.zeros(dark.shape, dtype=np.bool_)
    if dark.shape[1] <= length or dark.shape[0] <= thick:
        return found
    sums = _sums(dark, 1)
    full = sums[:, length:] - sums[:, :-length] >= _WHOLE * length
    for row in np.flatnonzero(full.any(axis=1)):
        steps = np.zeros(dark.shape[1] + 1, dtype=np.int32)
        steps[: full.shape[1]] += full[row]
        steps[length : length + full.shape[1]] -= full[row]
        found[row] = np.cumsum(steps)[:-1] > 0
    sums = _sums(found, 0)
    bars = sums[thick:] - sums[:-thick] == thick
    for row in np.flatnonzero(bars.any(axis=1)):
        found[row : row + thick] &= ~bars[row]
    return found


def _sums(mask: Mask, axis: int) -> npt.NDArray[np.int32]:
    sums = np.cumsum(mask, axis=axis, dtype=np.int32)
    return np.pad(sums, ((1, 0), (0, 0)) if axis == 0 else ((0, 0), (1, 0)))


def _rules(mask: Mask, gap: int, scale: float) -> list[tuple[float, float, float]]:
    """The lines of a mask, each ``(position, from, to)`` in points; pieces that nearly touch are one."""
    found: list[list[int]] = []
    for row in np.flatnonzero(mask.any(axis=1)).tolist():
        edges = np.diff(np.concatenate(([0], mask[row].view(np.int8), [0])))
        pieces: Sequence[tuple[int, int]] = list(
            zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
        )
        for start, end in pieces:
            near = (rule for rule in reversed(found[-60:]) if row - rule[1] <= gap)
            rule = next((rule for rule in near if start < rule[3] + gap and rule[2] < end + gap), None)
            if rule is None:
                found.append([row, row, start, end])
            else:
                rule[1], rule[2], rule[3] = row, min(rule[2], start), max(rule[3], end)
        if len(found) > _MOST_RULES:  # hatching, or a map
            return []
    return [((top + bottom + 1) / 2 / scale, start / scale, end / scale) for top, bottom, start, end in found]


def _grown(mask: Mask) -> Mask:
    """The mask and the pixels around it, which the edge of a line shades."""
    grown: Any = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    wide = grown.copy()
    wide[:, 1:] |= grown[:, :-1]
    wide[:, :-1] |= grown[:, 1:]
    result: Mask = wide
    return result
