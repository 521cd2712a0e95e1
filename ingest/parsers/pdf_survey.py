"""What is drawn on a page of a PDF: its straight lines, its pictures, and the text that no reader can see.

One pass over the page's objects, nested ones included. Text is hidden when it is painted in no way at all, in the
colour of what lies beneath it, or when a filled box is painted over it afterwards.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pypdfium2.raw as raw

from ingest.parsers import pdf_native as native

Bounds = tuple[float, float, float, float]
"""Left, bottom, right and top in the PDF's own coordinates."""
Matrix = tuple[float, float, float, float, float, float]
Colour = tuple[int, int, int]

_MOST_OBJECTS: Final = 20_000
"""Drawn objects of one page that are looked at for lines and pictures; maps and plans have more and no tables."""
_MOST_TEXTS: Final = 100_000
"""Objects that are looked at for hidden text; beyond them a page is no text that people read."""
_DEEPEST: Final = 4
_MOST_SEGMENTS: Final = 8
_LIGHT: Final = 0xB0
"""Least of the three colour values from which text could vanish on white paper."""
_SAME: Final = 0x20
"""Difference of a colour value up to which the eye cannot tell a text from its ground."""
_WHITE: Final[Colour] = (255, 255, 255)
_PLAIN: Final = -1
"""Stands for the way in which a text is painted that is filled with a dark colour."""
_EDGES: Final = struct.Struct("4f")
_EDGE: Final = bytearray(_EDGES.size)
_COLOURS: Final = struct.Struct("4I")
_COLOUR: Final = bytearray(_COLOURS.size)
"""Memory that PDFium writes to, the same for all objects: Python reads its own faster."""


def _places(memory: bytearray) -> tuple[int, ...]:
    """Where the four values in ``memory`` stand."""
    first = ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))
    return first, first + 4, first + 8, first + 12


_EDGE_PLACES: Final = _places(_EDGE)
_COLOUR_PLACES: Final = _places(_COLOUR)


@dataclass(slots=True)
class Survey:
    """What one pass over a page found; filled by that pass and read-only afterwards.

    ``unseen`` are text objects without paint, as scans have them for their text layer; ``disguised`` those in the
    colour of their ground or painted over. Both by address, which holds as long as the page is open.
    """

    paths: list[Bounds] = field(default_factory=list)
    picture: float = 0.0
    """Share of the page that its largest picture covers."""
    texts: int = 0
    unseen: set[int] = field(default_factory=set)
    disguised: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Fill:
    """A box painted in one colour that lets nothing shine through; ``order`` is its place in the painting."""

    order: int
    bounds: Bounds
    colour: Colour


class _Text(NamedTuple):
    order: int
    thing: int
    matrix: Matrix | None
    mode: int


class _Pass:
    def __init__(self, area: float) -> None:
        self.found = Survey()
        self._area = area
        self._order = 0
        self._texts: list[_Text] = []
        self._plain: list[tuple[int, int]] = []
        self._fills: list[_Fill] = []
        self._pictures: list[Bounds] = []
        self._suspicious = False

    def walk(self, holder: int, count: int, get: Callable[[int, int], int], matrix: Matrix | None, depth: int) -> None:
        """Look at the objects of a page or of a form in the order in which they are painted."""
        found = self.found
        object_type, render_mode, fill_colour = native.object_type, native.render_mode, native.fill_colour
        red, green, blue, alpha = _COLOUR_PLACES
        painted, unpack, colour = b"", _COLOURS.unpack, _COLOUR
        order, plain, dark = self._order, self._plain, False
        for index in range(count):
            order += 1
            if order > _MOST_TEXTS:
                break
            thing = get(holder, index)
            mode = render_mode(thing)
            if mode == 0:
                fill_colour(thing, red, green, blue, alpha)
                if colour != painted:
                    painted = bytes(colour)
                    r, g, b, a = unpack(colour)
                    dark = a == 255 and (r < _LIGHT or g < _LIGHT or b < _LIGHT)
                if dark:
                    if matrix is None:
                        plain.append((order, thing))
                        continue
                else:
                    self._suspicious = True
                self._texts.append(_Text(order, thing, matrix, mode))
                continue
            kind = object_type(thing)
            if kind == raw.FPDF_PAGEOBJ_TEXT:
                if mode in {raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP}:
                    found.unseen.add(thing)
                else:
                    self._texts.append(_Text(order, thing, matrix, mode))
            elif kind == raw.FPDF_PAGEOBJ_PATH:
                if order <= _MOST_OBJECTS:
                    self._path(thing, order, matrix)
            elif kind == raw.FPDF_PAGEOBJ_IMAGE:
                if order <= _MOST_OBJECTS and (bounds := self._bounds(thing, matrix)) is not None:
                    self._pictures.append(bounds)
                    share = (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]) / self._area
                    found.picture = max(found.picture, share)
            elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
                self._order = order
                inner = native.count_inner(thing)
                self.walk(thing, inner, native.get_inner, self._placed(thing, matrix), depth + 1)
                order = self._order
        self._order = order

    def _path(self, thing: int, order: int, matrix: Matrix | None) -> None:
        bounds = self._bounds(thing, matrix)
        if bounds is None or native.path_segments(thing) > _MOST_SEGMENTS:
            return
        self.found.paths.append(bounds)
        if bounds[2] - bounds[0] <= 8 or bounds[3] - bounds[1] <= 6:
            return
        mode, stroke = ctypes.c_int(), ctypes.c_int()
        native.path_mode(thing, ctypes.addressof(mode), ctypes.addressof(stroke))
        if not mode.value or native.object_transparent(thing) or not native.fill_colour(thing, *_COLOUR_PLACES):
            return
        *rgb, alpha = _COLOURS.unpack(_COLOUR)
        colour = (rgb[0], rgb[1], rgb[2])
        if alpha == 255 and max(colour) <= 255:
            self._fills.append(_Fill(order, bounds, colour))
            if min(colour) < _LIGHT or self._plain or self._texts:
                self._suspicious = True

    def _bounds(self, thing: int, matrix: Matrix | None) -> Bounds | None:
        if not native.object_bounds(thing, *_EDGE_PLACES):
            return None
        bounds: Bounds = _EDGES.unpack(_EDGE)
        if matrix is None:
            return bounds
        left, bottom, right, top = bounds
        a, b, c, d, e, f = matrix
        xs = [a * x + c * y + e for x in (left, right) for y in (bottom, top)]
        ys = [b * x + d * y + f for x in (left, right) for y in (bottom, top)]
        return min(xs), min(ys), max(xs), max(ys)

    def _placed(self, form: int, outer: Matrix | None) -> Matrix:
        """The matrix that takes coordinates inside a form to the page's."""
        place = raw.FS_MATRIX()
        native.object_matrix(form, ctypes.addressof(place))
        a, b, c, d, e, f = (place.a, place.b, place.c, place.d, place.e, place.f)
        if outer is None:
            return a, b, c, d, e, f
        g, h, i, j, k, m = outer
        return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m

    def judge(self) -> None:
        """Find the text that has its ground's colour or lies under a box painted later."""
        if not self._suspicious:
            return
        fills = sorted(self._fills, key=lambda fill: fill.order)
        dark = any(min(fill.colour) < _LIGHT for fill in fills)
        texts: Iterable[_Text] = self._texts
        if dark or fills:
            last = max(fill.order for fill in fills)
            plain = [_Text(order, thing, None, _PLAIN) for order, thing in self._plain if dark or order < last]
            texts = [*self._texts, *plain]
        low = min([fill.bounds[1] for fill in fills], default=0.0) - 1
        high = max([fill.bounds[3] for fill in fills], default=0.0) + 1
        for text in texts:
            bounds = self._bounds(text.thing, text.matrix)
            if bounds is None or bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
                continue
            if text.mode == _PLAIN and (bounds[3] < low or bounds[1] > high):
                continue  # dark on the white of the page
            over = any(fill.order > text.order and _covers(fill.bounds, bounds) for fill in fills)
            if over and not any(_covers(picture, bounds) for picture in self._pictures):
                self.found.disguised.add(text.thing)
                continue
            if text.mode not in {0, 4, _PLAIN} or not native.fill_colour(text.thing, *_COLOUR_PLACES):
                continue
            *colour, alpha = _COLOURS.unpack(_COLOUR)
            if alpha == 0:
                self.found.disguised.add(text.thing)
                continue
            if max(colour) > 255:  # painted with a pattern, which has no colour of its own
                continue
            if any(_meets(picture, bounds) for picture in self._pictures):
                continue  # what a picture shows beneath is not known here
            ground = next((fill.colour for fill in reversed(fills) if fill.order < text.order and
                           _around(fill.bounds, bounds)), _WHITE)  # fmt: skip
            if all(abs(one - other) <= _SAME for one, other in zip(colour, ground, strict=True)):
                self.found.disguised.add(text.thing)


def _covers(cover: Bounds, bounds: Bounds) -> bool:
    """Whether nothing of ``bounds`` looks out of ``cover``."""
    return (
        cover[0] <= bounds[0] + 1
        and cover[1] <= bounds[1] + 1
        and cover[2] >= bounds[2] - 1
        and cover[3] >= bounds[3] - 1
    )


def _around(ground: Bounds, bounds: Bounds) -> bool:
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    return ground[0] <= x <= ground[2] and ground[1] <= y <= ground[3]


def _meets(one: Bounds, two: Bounds) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def survey(page: int, area: float) -> Survey:
    """What is drawn on an open page, told by its address, of ``area`` square points."""
    passed = _Pass(max(1.0, area))
    passed.walk(page, native.count_objects(page), native.get_object, None, 0)
    passed.judge()
    return passed.found
