"""PDFium's functions that are asked thousands of times, bound for speed.

pypdfium2's own bindings let go of the interpreter's lock and convert each pointer at every call, which costs more than
what these functions do. Handles are plain addresses here; whoever passes one keeps the object alive that it is of.
Arguments that are places in a list are passed as addresses are, which ctypes converts in half the time of an ``int``:
they come in the same registers, and of a number that is not negative the lower half is all that the function reads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import pypdfium2.raw as raw

_HANDLE: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int
_PLACE: Final = ctypes.c_void_p
_FLOAT: Final = ctypes.c_float
_DOUBLE: Final = ctypes.c_double


def _bound(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)(_address(name))
    return made


def _released(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """The same for what may take long: the interpreter's lock is let go of meanwhile."""
    made: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)(_address(name))
    return made


def _address(name: str) -> int:
    return ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0


def handle(thing: Any) -> int:
    """The address that a pypdfium2 object or a raw pointer stands for."""
    pointer = getattr(thing, "raw", thing)
    return ctypes.addressof(pointer.contents) if pointer else 0


load_page: Final = _released("FPDF_LoadPage", _HANDLE, _HANDLE, _PLACE)
close_page: Final = _released("FPDF_ClosePage", None, _HANDLE)
load_text: Final = _released("FPDFText_LoadPage", _HANDLE, _HANDLE)
close_text: Final = _released("FPDFText_ClosePage", None, _HANDLE)
page_width: Final = _bound("FPDF_GetPageWidthF", _FLOAT, _HANDLE)
page_height: Final = _bound("FPDF_GetPageHeightF", _FLOAT, _HANDLE)
page_rotation: Final = _bound("FPDFPage_GetRotation", _INT, _HANDLE)
crop_box: Final = _bound("FPDFPage_GetCropBox", _INT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
media_box: Final = _bound("FPDFPage_GetMediaBox", _INT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
text_index: Final = _bound("FPDFText_GetTextIndexFromCharIndex", _INT, _HANDLE, _PLACE)
get_text: Final = _released("FPDFText_GetText", _INT, _HANDLE, _PLACE, _PLACE, _HANDLE)
count_objects: Final = _bound("FPDFPage_CountObjects", _INT, _HANDLE)
get_object: Final = _bound("FPDFPage_GetObject", _HANDLE, _HANDLE, _PLACE)
count_inner: Final = _bound("FPDFFormObj_CountObjects", _INT, _HANDLE)
get_inner: Final = _bound("FPDFFormObj_GetObject", _HANDLE, _HANDLE, _PLACE)
object_type: Final = _bound("FPDFPageObj_GetType", _INT, _HANDLE)
object_bounds: Final = _bound("FPDFPageObj_GetBounds", _INT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
object_matrix: Final = _bound("FPDFPageObj_GetMatrix", _INT, _HANDLE, _HANDLE)
object_transparent: Final = _bound("FPDFPageObj_HasTransparency", _INT, _HANDLE)
fill_colour: Final = _bound("FPDFPageObj_GetFillColor", _INT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
stroke_colour: Final = _bound("FPDFPageObj_GetStrokeColor", _INT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
path_segments: Final = _bound("FPDFPath_CountSegments", _INT, _HANDLE)
path_mode: Final = _bound("FPDFPath_GetDrawMode", _INT, _HANDLE, _HANDLE, _HANDLE)
render_mode: Final = _bound("FPDFTextObj_GetTextRenderMode", _INT, _HANDLE)
clip_of: Final = _bound("FPDFPageObj_GetClipPath", _HANDLE, _HANDLE)
clip_paths: Final = _bound("FPDFClipPath_CountPaths", _INT, _HANDLE)

char_box: Final = _bound("FPDFText_GetLooseCharBox", _INT, _HANDLE, _PLACE, _HANDLE)
char_object: Final = _bound("FPDFText_GetTextObject", _HANDLE, _HANDLE, _PLACE)
char_angle: Final = _bound("FPDFText_GetCharAngle", _FLOAT, _HANDLE, _PLACE)
font_size: Final = _bound("FPDFText_GetFontSize", _DOUBLE, _HANDLE, _PLACE)
font_weight: Final = _bound("FPDFText_GetFontWeight", _INT, _HANDLE, _PLACE)
unicode_of: Final = _bound("FPDFText_GetUnicode", ctypes.c_uint, _HANDLE, _PLACE)
count_rects: Final = _bound("FPDFText_CountRects", _INT, _HANDLE, _PLACE, _PLACE)
get_rect: Final = _bound("FPDFText_GetRect", _INT, _HANDLE, _PLACE, _HANDLE, _HANDLE, _HANDLE, _HANDLE)
count_chars: Final = _bound("FPDFText_CountChars", _INT, _HANDLE)
unmapped: Final = _bound("FPDFText_HasUnicodeMapError", _INT, _HANDLE, _PLACE)

_A_LETTER: Final = (0.0, 0.0, 612.0, 792.0)
"""The sheet of a page that states none."""


def crop_of(page: int) -> tuple[float, float, float, float]:
    """The part of a page that is shown, which is all of it where none is stated: left, bottom, right, top."""
    edges = (ctypes.c_float * 4)()
    first = ctypes.addressof(edges)
    places = first, first + 4, first + 8, first + 12
    if not crop_box(page, *places) and not media_box(page, *places):
        return _A_LETTER
    left, bottom, right, top = edges
    return left, bottom, right, top


class _Memory:
    """Memory for the text of a page, which grows with the longest one."""

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(1 << 16)

    def of(self, size: int) -> int:
        """The address of ``size`` bytes."""
        if size > len(self.buffer):
            self.buffer = ctypes.create_string_buffer(2 * size)
        return ctypes.addressof(self.buffer)


_MEMORY: Final = _Memory()


def text_of(textpage: int, count: int) -> str:
    """The text of all characters of a page, of which there are ``count``.

    Characters without a text at its ends must not be asked for: PDFium would write more than it says.
    """
    first, last = 0, count - 1
    while first <= last and text_index(textpage, first) < 0:
        first += 1
    if first > last:
        return ""
    while (end := text_index(textpage, last)) < 0:
        last -= 1
    address = _MEMORY.of(2 * (end + 2 - text_index(textpage, first)))
    written = get_text(textpage, first, last - first + 1, address)
    return ctypes.string_at(address, 2 * max(0, written - 1)).decode("utf-16-le", "ignore")
