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
    address = ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0
    made: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)(address)
    return made


def handle(thing: Any) -> int:
    """The address that a pypdfium2 object or a raw pointer stands for."""
    pointer = getattr(thing, "raw", thing)
    return ctypes.addressof(pointer.contents) if pointer else 0


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
