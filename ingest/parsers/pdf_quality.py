"""How far the text layer of a page of a PDF can be trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from typing import Final

from ingest import quality
from ingest.parsers import pdf_native as native

_SAMPLE: Final = 320
"""Characters, in lines from all over the page, by which one that looks sound is judged first; by all its text where
these are not sound."""
_SOUND: Final = 0.97
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SPOILED: Final = 3.0
"""Characters of a word that one without a known meaning spoils."""


def score(textpage: int, text: str, rows: Sequence[str], *, printable: bool) -> float:
    """The quality of a text layer, whose every unknown character spoils more than itself.

    ``rows`` are the lines of ``text``, and ``printable`` is whether these hold no sign but such as are printed.
    Fonts without a map to characters give letters all the same, wrong ones; PDFium knows which.
    """
    sound = printable and "\ufffd" not in text and "Ã" not in text
    length = len(text) - text.count("\ufffe")
    if sound and length > 2 * _SAMPLE:
        found = quality.score("\n".join(rows[:: length // _SAMPLE]).replace("\ufffe", ""))
        if found >= _SOUND:
            return found
    text = text.replace("\ufffe", "")
    found = quality.score(text)
    if not sound and _CONTROL.search(text):
        count = native.count_chars(textpage)
        unknown = list(map(native.unmapped, repeat(textpage), range(count))).count(1)
        found = min(found, max(0.0, round(1 - _SPOILED * unknown / max(1, count), 3)))
    return found
