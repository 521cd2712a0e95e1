"""The sentences, list items and table rows of a passage, as claims are compared with them. Pure.

Each knows its own words and values, what its headings and the sentences before it lend to it, and its clauses.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from rag import sentences
from rag.instructions import quarantined
from rag.quantities import Kind, Quantity, folded
from rag.types import Passage
from rag.wording import Reading, Word, reading

_ANAPHORA: Final = re.compile(
    r"^(?:\W*(?:1°|[a-z]\)|-)?\s*)(?:il|elle|ils|elles|ce|cet|cette|ces|celui|"
    r"celle|ceux|celles|cela|tel|telle|leur|leurs|son|sa|ses|dans ce cas|"
    r"it|its|they|their|this|these|that|those|such|he|she|below that|above that)\b"
)
_POINTING: Final = re.compile(
    r"\b(?:cette|ce|cet|that|this|the said) (date|delai|duree|periode|seuil|montant|"
    r"plafond|somme|limite|amount|threshold|deadline|limit|period)\b"
)
_POINTED: Final = {
    "date": (Kind.DATE,), "deadline": (Kind.DATE, Kind.DURATION), "delai": (Kind.DURATION, Kind.DATE),
    "duree": (Kind.DURATION,),
    "periode": (Kind.DURATION, Kind.DATE), "period": (Kind.DURATION, Kind.DATE),
}  # fmt: skip
SEGMENT: Final = re.compile(r"[,;:](?=\s)|(?<=\s)(?:et|ou|mais|puis|and|or|but|while)(?=\s)|\standis qu", re.IGNORECASE)
"""Where one clause of a sentence ends and the next begins."""
FRONTED: Final = re.compile(
    r"^\W*(?:lorsqu|quand\b|si\b|s'il|en cas|pour\b|dans\b|au-dela|jusqu|en dehors|"
    r"a compter|pendant|apres|avant|when\b|if\b|for\b|below|above|during|after|"
    r"before|in\b)"
)
"""A condition or circumstance that opens a sentence."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A clause of a sentence, or a cell of a row with its header."""

    words: tuple[Word, ...]
    values: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, list item or table row of a passage, at ``[start, end)`` of its chunk's text.

    ``words`` and ``values`` are its own; ``near`` are those of its lead-in and of what stands before it in the
    passage, ``around`` those of its headings. ``label`` is the first cell of a row and
    ``label_text`` its words, ``lead`` where its lead-in or header row stands.
    """

    passage: int
    start: int
    end: int
    text: str
    said: Reading
    segments: tuple[Segment, ...]
    near: tuple[Word, ...]
    around: Reading
    anaphoric: bool
    row: bool = False
    label: Segment | None = None
    label_text: str = ""
    lead: tuple[int, int] | None = None
    language: str = "fr"

    @property
    def words(self) -> tuple[Word, ...]:
        return self.said.words

    @property
    def values(self) -> tuple[Quantity, ...]:
        return self.said.quantities


def evidence(passage: Passage) -> tuple[Unit, ...]:
    """The sentences, items and rows of a passage as they are compared with claims.

    None when a sentence of it, or its name, speaks to a machine (:mod:`rag.instructions`).
    """
    chunk = passage.chunk
    if quarantined(chunk.text, chunk.breadcrumb):
        return ()
    units = _units(chunk.text, chunk.breadcrumb, "en" if chunk.language == "en" else "fr")
    return tuple(replace(unit, passage=passage.n) for unit in units)


# A search for contradictions reads dozens of passages an answer, and the same ones again: some 15 KiB each are kept.
@functools.lru_cache(maxsize=2048)
def _units(text: str, breadcrumb: str, language: str) -> tuple[Unit, ...]:
    around = reading(breadcrumb, language)
    units: list[Unit] = []
    header: list[str] = []
    header_span = (0, 0)
    lead: str = ""
    lead_span: tuple[int, int] | None = None
    before: list[Word] = []
    for start, end in _spans(text):
        own = text[start:end]
        if " | " in own.strip("| "):
            cells = [cell.strip() for cell in own.strip().strip("|").split("|")]
            if all(re.fullmatch(r":?-{2,}:?", cell) for cell in cells):
                continue
            if len(cells) != len(header):
                header, header_span = cells, (start, end)
                continue
            row = _row(start, end, header, cells, language, around)
            units.append(replace(row, lead=header_span, language=language))
            continue
        header = []
        if own.endswith(":"):
            lead, lead_span = own, (start, end)
            before += reading(own, language).words
            continue
        item = re.match(r"\s*(?:[-•–*]|\d{1,2}°|[a-z]\)|\d{1,2}[.)])\s", own) is not None
        if not item and not re.search(r"[;,]\s*$", text[:start]):
            lead = ""
        resolved = _resolved(own, units[-1] if units else None)
        joined = f"{lead.rstrip(' :')} {_unmarked(resolved)}" if lead and item else resolved
        said = reading(joined, language)
        anaphoric = _ANAPHORA.match(folded(own)) is not None
        unit = Unit(0, start, end, joined, said, _segments(joined, language), tuple(before), around, anaphoric)
        units.append(replace(unit, lead=lead_span if lead and item else None, language=language))
        before += said.words
    return tuple(units)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, cut again where a semicolon closes a rule of its own."""
    for start, end in sentences.split(text):
        position = start
        if " | " not in text[start:end]:
            for stop in re.finditer(r"\s?;\s+", text[start:end]):
                yield position, start + stop.start() + (1 if stop[0][0] == ";" else 2)
                position = start + stop.end()
        if text[position:end].strip(" ;"):
            yield position, end


def _unmarked(text: str) -> str:
    return re.sub(r"^\s*(?:[-•–*]|\d{1,2}°|[a-z]\)|\d{1,2}[.)])\s+", "", text)


def _resolved(text: str, previous: Unit | None) -> str:
    """``text`` with "this date", "that amount" and the like replaced by the value that the sentence before gives."""
    pointing = _POINTING.search(folded(text))
    if pointing is None or previous is None:
        return text
    kinds = _POINTED.get(pointing[1], (Kind.MONEY, Kind.DURATION, Kind.PERCENT, Kind.MEASURE, Kind.NUMBER))
    values = [one for one in previous.values if one.kind in kinds]
    if not values:
        return text
    value = previous.text[values[-1].start : values[-1].end]
    return text[: pointing.start()] + value + text[pointing.end() :]


def _segments(text: str, language: str) -> tuple[Segment, ...]:
    """The clauses of a sentence; one that opens it with a condition counts with the clause that it opens."""
    cuts = [0, *(match.end() for match in SEGMENT.finditer(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts) if text[a:b].strip()]
    if len(pieces) > 1 and FRONTED.match(folded(pieces[0])):
        pieces = [pieces[0] + " " + pieces[1], *pieces[2:]]
    readings = [reading(piece, language) for piece in pieces]
    return tuple(Segment(one.words, one.quantities) for one in readings)


def _row(start: int, end: int, header: list[str], cells: list[str], language: str, around: Reading) -> Unit:
    """A table row: each cell is read with its header; the first cell says what the row is about."""
    joined = " , ".join(f"{head} : {cell}" for head, cell in zip(header, cells, strict=True))
    segments = []
    for head, cell in list(zip(header, cells, strict=True))[1:]:
        one = reading(f"{head} : {cell}", language)
        segments.append(Segment(one.words, one.quantities))
    said = reading(joined, language)
    about = reading(cells[0], language)
    label = Segment(about.words, about.quantities)
    return Unit(
        0,
        start,
        end,
        joined,
        said,
        tuple(segments),
        (),
        around,
        anaphoric=False,
        row=True,
        label=label,
        label_text=cells[0],
    )
