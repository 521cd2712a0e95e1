"""The recognition of pages of a PDF whose text is missing or damaged; a page that reads well is never drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pypdfium2

from ingest import ocr, quality
from ingest.parsers import Limits
from ingest.parsers.pdf_page import Read

_DPI: Final = 300
_POINTS: Final = 72
_MOST_PIXELS: Final = 36_000_000
"""Of one rendering, in one byte each: a sheet of A3 and then some at 300 dots per inch."""
_LEAST_DPI: Final = 20
"""A sheet of which no more fits into the pixels is a plan or a hostile file."""
_FEW_LETTERS: Final = 200
"""Letters on a scanned page that are a stamp or a number and not its text."""
_SCAN_SHARE: Final = 0.5
_BETTER: Final = 0.02


def wanting(read: Read) -> bool:
    """Whether a page is a picture without its text, or its text is damaged."""
    if read.picture and not read.lines:
        return True
    if read.picture >= _SCAN_SHARE and sum(len(line.text) for line in read.lines) < _FEW_LETTERS:
        return not read.layer
    return read.score < quality.LOW


def recognised(pdf: Any, pages: Sequence[Read], limits: Limits, notes: Counter[str]) -> list[Read]:
    """The pages, those that want it with the text that was recognised on them, where that is the better one."""
    wanted = [index for index, page in enumerate(pages) if wanting(page)]
    result = list(pages)
    if not wanted:
        return result
    if not ocr.available(limits.ocr_languages):
        for index in wanted:
            notes[_why_not(pages[index])] += 1
        return result
    for done, index in enumerate(wanted):
        result[index] = _better(pdf, pages[index], limits, notes, done, len(wanted))
    return result


def _why_not(page: Read) -> str:
    if page.lines:
        return "pages whose text is damaged"
    return "pages that are pictures without text"


def _better(pdf: Any, page: Read, limits: Limits, notes: Counter[str], done: int, total: int) -> Read:
    """The page as it is recognised, or as it was when that is no better."""
    picture, dpi = _picture(pdf, page)
    if picture is None:
        notes["pages that cannot be drawn"] += 1
        return page
    found = ocr.recognise(picture, limits, dpi=dpi, done=done, total=total)
    if found.failed:
        notes["pages on which the recognition broke down"] += 1
    elif not found.lines:
        if not page.lines:
            notes["pages that are pictures without text"] += 1
    elif not page.lines or found.score > _worth(page) + _BETTER or (not page.layer and _longer(found.lines, page)):
        notes["pages recognised"] += 1
        return replace(
            page, lines=list(found.lines), width=found.width, height=found.height, score=found.score, ocr=True
        )
    if page.lines and page.score < quality.LOW:
        notes["pages whose text is damaged"] += 1
    return page


def _worth(page: Read) -> float:
    """What the words of a text layer are worth beside those of a recognition, both judged in the same way.

    A font that the file lacks is drawn with the wrong letters too: then the picture is no better than the layer.
    """
    return quality.score(page.text.replace("\ufffe", ""))


def _longer(lines: Sequence[Any], page: Read) -> bool:
    """Whether a scan holds more than the few words that lie over it as text."""
    few = sum(len(line.text) for line in page.lines) < _FEW_LETTERS and page.picture >= _SCAN_SHARE
    return few and sum(len(line.text) for line in lines) > sum(len(line.text) for line in page.lines)


def _picture(pdf: Any, page: Read) -> tuple[Any, float]:
    """The page drawn in grey, with its resolution; ``None`` for one that is too large or cannot be drawn."""
    try:
        drawn = pdf[page.number - 1]
        try:
            width, height = drawn.get_size()
            area = max(1.0, width * height)
            dpi = min(_DPI, _POINTS * math.sqrt(_MOST_PIXELS / area))
            if dpi < _LEAST_DPI:
                return None, dpi
            bitmap = drawn.render(scale=dpi / _POINTS, grayscale=True)
            try:
                return bitmap.to_pil().copy(), dpi
            finally:
                bitmap.close()
        finally:
            drawn.close()
    except pypdfium2.PdfiumError:
        return None, _DPI
