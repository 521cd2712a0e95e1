"""Footnotes: lines in small type at the foot of a column that begin with a mark which the text above carries. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.parsers import layout
from ingest.parsers.layout import Line

_SMALL: Final = 0.93
"""Size of a footnote's type in that of the text, at most."""
_MOST: Final = 0.6
"""Share of a column's lines that may be notes; more is a text in two sizes."""
_MOST_CONTINUED: Final = 4
"""Small lines above the first mark, which end a note of the page before; more is a text in small type."""
_MARK: Final = re.compile(
    r"(?:\((?P<round>\d{1,3}|\*{1,3})\)|\[(?P<square>\d{1,3})\]|(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})"
    r"|(?P<sign>\*{1,3}|[†‡§∗])|(?P<number>\d{1,3})(?=[.)]|\s+[^\W\d_a-zà-ÿ]|\s+[«\"“']))[.)]?\s*(?=\S)"
)
_RAISED_SIGN: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_WORD: Final = re.compile(r"\w")
_PLAIN: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_RAISED: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a page without its notes, and these as texts."""

    lines: list[Line]
    notes: tuple[str, ...] = ()


def parted(column: Sequence[Line], body: float, text: str) -> Column:
    """``column`` without the notes at its foot; ``text`` is what may carry their marks, in type of size ``body``."""
    first = len(column)
    while first and column[first - 1].size <= _SMALL * body and not column[first - 1].rows:
        first -= 1
    small = first
    while first < len(column) and _mark(column[first]) is None:
        first += 1
    if first == len(column) or first - small > _MOST_CONTINUED or len(column) - first > _MOST * len(column):
        return Column(list(column))
    above = text if len(column) == first else "\n".join([line.text for line in column[:first]] + [text])
    groups: list[list[Line]] = []
    for line in column[first:]:
        mark = _mark(line)
        if mark is not None and _carried(mark, above):
            groups.append([line])
        elif groups:
            groups[-1].append(line)
        else:
            return Column(list(column))
    return Column(list(column[:first]), tuple(layout.join(group) for group in groups))


def _mark(line: Line) -> str | None:
    found = _MARK.match(line.text)
    if found is None:
        return None
    return (found["round"] or found["square"] or found["raised"] or found["sign"] or found["number"]).translate(_PLAIN)


def _carried(mark: str, text: str) -> bool:
    """Whether the text refers to a note of this mark: raised, in brackets, or set close to a word."""
    if not mark.isdigit():
        return re.search(rf"[\w»).,]\s?(?:{re.escape(mark)}|\({re.escape(mark)}\))", text) is not None
    if f"({mark})" in text or f"[{mark}]" in text:
        return True
    for before, after in _around(mark.translate(_RAISED), text):
        if not (_RAISED_SIGN.match(before) or _RAISED_SIGN.match(after)):
            return True
    return any(_LETTER.match(before) and not _WORD.match(after) for before, after in _around(mark, text))


def _around(mark: str, text: str) -> Iterator[tuple[str, str]]:
    """The characters before and behind every place where ``mark`` stands; no pattern is made for each mark."""
    place = text.find(mark)
    while place >= 0:
        end = place + len(mark)
        yield text[place - 1 : place] if place else "", text[end : end + 1]
        place = text.find(mark, place + 1)
