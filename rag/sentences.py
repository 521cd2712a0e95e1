"""Where sentences end, in French and English, in whole texts and in text that is still being written.

A sentence keeps its citation marks: ``… 25 jours [1].`` and ``… 25 jours. [1]`` are one sentence each. A stop
after an abbreviation, inside a number or in a legal reference (``art. R. 12-3``) ends nothing. A line break ends
a sentence, so list items and table rows stand alone. Pure; both functions cut at the same places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MARK: Final = re.compile(
    r"[\[【]{1,2}\s*\^?(?:(?:passages?|sources?|extraits?|documents?|docs?|r[ée]f|cit[ée]?)\.?\s*:?\s*)?(?:n°\s*)?"
    r"\d{1,3}(?:\s*(?:,|;|et|and|&|-|–|à|to)\s*(?:(?:passages?|sources?|extraits?|documents?)\s*)?\d{1,3})*"
    r"(?:†[^】\]\n]{0,40})?\s*[\]】]{1,2}"
    r"|\((?:cf\.?\s*|voir\s*|see\s*)?(?:passages?|sources?|extraits?)\s*(?:n°\s*)?\[?\d{1,3}\]?"
    r"(?:\s*(?:,|;|et|and|&|-|–)\s*\[?\d{1,3}\]?)*\)",
    re.IGNORECASE,
)
"""A citation mark as models write it: ``[1]``, ``[1, 2]``, ``[1-3]``, ``[Passage 2]``, ``[[1]]``, ``[^1]``,
``【1†source】``, ``(source 2)``."""

_ABBREVIATIONS: Final = frozenset(
    "al alin ann approx art arts av bd cf chap circ dr ed env ex fig hab inc incl jr let lt ltd m max me mgr min ml "
    "mlle mm mme mr mrs ms no nos num p par pp pr prof réf ref resp sec sect ss st ste sté suiv tél tel tit vol "
    "vs".split()
)
_STOP: Final = re.compile(r"\.{3}|…|[.!?]|\n")
_CLOSING: Final = re.compile(r"[ \u00a0\u202f]?[»”]|[\"')’\]](?!\w)")
_LIST_MARKER: Final = re.compile(r"\s*(?:[-*•–]\s*)?(?:\(?\d{1,3}|\(?[a-zA-Z]|[IVXLC]{1,5})$")
_LONGEST_MARK: Final = 60


def split(text: str) -> list[tuple[int, int]]:
    """The sentences of ``text`` in order, as half-open spans without the white space around them."""
    spans = []
    position = 0
    while (span := _next(text, position, final=True)) is not None:
        spans.append(span)
        position = span[1]
    return spans


def stream(pieces: Iterable[str]) -> Iterator[str]:
    """Yield each sentence as soon as what follows shows that it is complete; the rest when the pieces end.

    The sentences are those of :func:`split` over the joined pieces, however these were cut.
    """
    buffer = ""
    for piece in pieces:
        buffer += piece
        while (span := _next(buffer, 0, final=False)) is not None:
            yield buffer[slice(*span)]
            buffer = buffer[span[1] :]
    for start, end in split(buffer):
        yield buffer[start:end]


def _next(text: str, position: int, *, final: bool) -> tuple[int, int] | None:
    """The sentence that begins at or after ``position``; ``None`` when there is none, or none yet."""
    start = position
    while start < len(text) and text[start].isspace():
        start += 1
    if start == len(text):
        return None
    for stop in _STOP.finditer(text, start):
        end = _after_newline(text, start, stop.start()) if stop[0] == "\n" else _after_stop(text, start, stop)
        if end is None:
            continue
        if end < 0:  # what follows is not known yet
            if final:
                return start, _trimmed(text, start, len(text))
            return None
        return start, _trimmed(text, start, end)
    return (start, _trimmed(text, start, len(text))) if final else None


def _after_newline(text: str, start: int, newline: int) -> int | None:
    """Where a sentence that meets a line break ends; marks alone on the next line still belong to it."""
    position = newline
    while position < len(text) and text[position].isspace():
        position += 1
    if position == len(text):
        return -1
    if text[position] in "[【":
        tail = _marks(text, position)
        if tail < 0:
            return -1
        line_end = tail
        while line_end < len(text) and text[line_end] in " \t.;":
            line_end += 1
        if line_end == len(text):
            return -1
        if tail > position and text[line_end] == "\n" and not MARK.search(text, start, newline):
            return line_end
    return newline


def _after_stop(text: str, start: int, stop: re.Match[str]) -> int | None:
    """Where a sentence that meets a stop ends; ``None`` when the stop ends nothing, ``-1`` when more must be known."""
    end = stop.end()
    while closing := _CLOSING.match(text, end):
        end = closing.end()
    if end < len(text) and not text[end].isspace() and text[end] not in "[【":
        return None
    if stop[0] == "." and end == stop.end() and _is_abbreviation(text, start, stop.start(), end):
        return None
    position = end
    while position < len(text) and text[position] in " \t\u00a0\u202f":
        position += 1
    if position == len(text):
        return -1
    if text[position] in "[【" and (position == end or not MARK.search(text, start, end)):
        tail = _marks(text, position)
        if tail < 0:
            return -1
        if tail > position:
            end = tail
            if end < len(text) and text[end] in ".;,":
                end += 1
            position = end
            while position < len(text) and text[position] in " \t\u00a0\u202f":
                position += 1
            if position == len(text):
                return -1
    if text[position] == "\n":
        beyond = _after_newline(text, start, position)
        return end if beyond == position else beyond
    if text[position].islower() and stop[0] in {".", "...", "…"}:
        return None
    return end


def _marks(text: str, position: int) -> int:
    """The end of the run of marks at ``position``; ``position`` when there is none, ``-1`` when it is unfinished."""
    end = position
    while (mark := MARK.match(text, position)) is not None:
        end = position = mark.end()
        while position < len(text) and text[position] in " \t\u00a0\u202f":
            position += 1
        if position == len(text):
            return -1
        if text[position] not in "[【":
            return end
    # The length first: a long text is not looked through for each of its brackets.
    unfinished = len(text) - position < _LONGEST_MARK and text[position : position + 1] in {"[", "【"}
    return -1 if unfinished and not re.search(r"[\]】]", text[position:]) else end


def _is_abbreviation(text: str, start: int, stop: int, after: int) -> bool:
    begin = stop
    while begin > start and text[begin - 1].isalnum():
        begin -= 1
    if begin == stop:
        return False
    if _LIST_MARKER.fullmatch(text, start, stop) and text[after : after + 1] not in {"", "\n"}:
        return True
    token = text[begin:stop]
    if token.casefold() in _ABBREVIATIONS:
        return not (len(token) > 1 and text[after : after + 1] in {"", "\n"})
    if len(token) == 1 and token.isalpha():
        before = text[begin - 1 : begin]
        # ``R. 12-3``, ``e.g.``, ``J. Martin``; but a letter that closes a line ("annexe B.") closes its sentence.
        return before in {"", ".", " ", "\u00a0", "'", "’", "("} and text[after : after + 1] not in {"", "\n"}
    return False


def _trimmed(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end
