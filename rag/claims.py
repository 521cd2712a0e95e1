"""Whether the passages that a sentence cites support it, and which words of theirs do. Pure; fails closed.

A claim stands when one sentence of a cited passage (or, for a claim of several clauses, one sentence for each)
says the same: every value with its unit and bound, every name, who acts and for whom the rule is, what is denied,
allowed or due, and nearly every other word, by stem or by a family of administrative synonyms. What cannot be
verified is not supported. The order of the checks gives the reason that is told.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag import sentences
from rag.quantities import Bound, Kind, Quantity, Relation, folded
from rag.types import Claim, Matrix, Passage, Reason, Span, Verdict
from rag.wording import Modality, Reading, Word, reading

Similarity = Callable[[Sequence[str], Sequence[str]], Matrix]
"""Cosines between texts and texts, shape ``(left, right)``."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below these a claim is not supported; set on the development half of ``eval/golden/minimal_pairs.jsonl``."""

    coverage: float = 0.8
    """Share of the claim's words that the supporting sentence must hold."""
    own: float = 0.5
    """Share that the sentence itself must hold, without its headings and the sentences that it refers back to."""
    similarity: float = 0.25
    """Cosine of claim and supporting sentence, where an embedder is given."""


DEFAULT: Final = Thresholds()

_PARTS: Final = 2
"""How often a claim may be cut in two, so that it may rest on up to four sentences."""
_TALK: Final = re.compile(
    r"^(?:bonjour|bonsoir|merci|bien sur|voici|voila|d'accord|en resume|en conclusion|"
    r"n'hesitez|je |j'|si vous avez|pour toute question|"
    r"selon les (?:passages|extraits|documents)(?: fournis)?[ .:]*$|les (?:passages|"
    r"extraits|documents|sources)|le passage|la reponse|reponse|sources?\b|"
    r"hello|hi\b|hey|thank|sure|certainly|of course|here (?:is|are)|in summary|"
    r"i |i'm|if you have|feel free|please |let me|"
    r"the (?:passages|excerpts|documents|provided)|answer\b|note\b|question\b)"
)
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
_GENERAL: Final = frozenset({"=nombr", "=mont", "=number", "=amount", "=total"})
_CLAUSE: Final = re.compile(
    r";\s|,\s(?:et|mais|puis|tandis que?|alors que?|and|but|while)\b|\s(?:et|mais|"
    r"puis|tandis que?|alors que?|and|but|while)\s|,\s(?:qui|which|who)\s",
    re.IGNORECASE,
)
_SEGMENT: Final = re.compile(
    r"[,;:](?=\s)|(?<=\s)(?:et|ou|mais|puis|and|or|but|while)(?=\s)|\standis qu", re.IGNORECASE
)
_FRONTED: Final = re.compile(
    r"^\W*(?:lorsqu|quand\b|si\b|s'il|en cas|pour\b|dans\b|au-dela|jusqu|en dehors|"
    r"a compter|pendant|apres|avant|when\b|if\b|for\b|below|above|during|after|"
    r"before|in\b)"
)
_BEFORE: Final = frozenset({"avant", "before", "prior", "precedant", "precedent"})
_BEFORE_IDS: Final = frozenset({"=avant", "=before"})
_SECOND_PERSON: Final = frozenset({"vous", "votre", "vos", "you", "your"})
_COMMON_BOUNDS: Final = frozenset(
    {
        (Bound.WITHIN, Bound.EXACT), (Bound.EXACT, Bound.WITHIN), (Bound.WITHIN, Bound.AT_MOST),
        (Bound.AT_MOST, Bound.WITHIN),
    }
)  # fmt: skip


def cited(sentence: str) -> tuple[str, tuple[int, ...]]:
    """The sentence without its marks, and the passages that the marks name, in order, each once."""
    numbers: list[int] = []
    for mark in sentences.MARK.findall(sentence):
        for part in re.findall(r"(\d+)(?:\s*[-–]\s*(\d+))?", mark):
            first, last = int(part[0]), int(part[1] or part[0])
            numbers += range(first, last + 1) if 0 <= last - first < 10 else [first, last]
    text = sentences.MARK.sub("", sentence)
    text = re.sub(r"[ \t]+([.,)])", r"\1", re.sub(r"[ \t]{2,}", " ", text))
    text = re.sub(r"([.!?])\s*\.(?!\.)", r"\1", text)
    return text.strip(), tuple(dict.fromkeys(numbers))


def judge(
    sentence: str,
    passages: Sequence[Passage],
    *,
    similarity: Similarity | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Claim:
    """The claim that ``sentence`` makes, supported only when what it cites says so.

    ``spans`` are then the sentences of the passages on which it rests, and ``reason`` is ``None``.
    """
    text, numbers = cited(sentence)
    if _is_talk(text):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
    if not numbers:
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NO_CITATION)
    by_number = {passage.n: passage for passage in passages}
    if any(number not in by_number for number in numbers):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.UNKNOWN_CITATION)
    cited_passages = [by_number[number] for number in numbers]
    languages = {"en" if passage.chunk.language == "en" else "fr" for passage in cited_passages}
    outcome = _Outcome(Reason.LEXICAL, 0.0, ())
    for language in sorted(languages):
        units = [
            unit
            for passage in cited_passages
            if ("en" if passage.chunk.language == "en" else "fr") == language
            for unit in evidence(passage)
        ]
        said = reading(text, language)
        if not said.words and not said.quantities:
            return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
        found = _weigh(said, language, units, thresholds, _PARTS)
        outcome = max(outcome, found, key=lambda one: (one.reason is None, one.share))
    if outcome.reason is None and similarity is not None:
        supporting = " ".join(unit.text for unit in outcome.units)
        if float(similarity([text], [supporting])[0][0]) < thresholds.similarity:
            outcome = replace(outcome, reason=Reason.SEMANTIC)
    if outcome.reason is not None:
        return Claim(text, numbers, Verdict.UNSUPPORTED, outcome.reason)
    spans = dict.fromkeys(Span(unit.passage, unit.start, unit.end) for unit in outcome.units)
    return Claim(text, numbers, Verdict.SUPPORTED, None, tuple(spans))


def support(text: str, passages: Sequence[Passage]) -> float:
    """The share of the words and values of ``text`` that the best sentence of ``passages`` holds, in ``[0, 1]``."""
    best = 0.0
    for passage in passages:
        language = "en" if passage.chunk.language == "en" else "fr"
        said = reading(text, language)
        total = len(said.words) + len(said.quantities)
        for unit in evidence(passage):
            held = sum(any(word.like(other) for other in unit.words) for word in said.words)
            held += sum(any(_same_value(value, other) for other in unit.values) for value in said.quantities)
            best = max(best, held / total if total else 0.0)
    return best


def _is_talk(text: str) -> bool:
    """Whether the sentence says nothing about the rules: a greeting, a lead-in, a question, a remark on itself."""
    plain = folded(text).lstrip("-*• \t#")
    return not plain or plain.endswith(("?", ":")) or _TALK.match(plain) is not None


# --- evidence -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Segment:
    """A clause of a sentence, or a cell of a row with its header."""

    words: tuple[Word, ...]
    values: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, list item or table row of a passage, at ``[start, end)`` of its chunk's text.

    ``words`` and ``values`` are its own; ``near`` are those of its lead-in and of what stands before it in the
    passage, ``around`` those of its headings. ``label`` is the first cell of a row,
    ``lead`` where its lead-in or header row stands.
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
    lead: tuple[int, int] | None = None
    language: str = "fr"

    @property
    def words(self) -> tuple[Word, ...]:
        return self.said.words

    @property
    def values(self) -> tuple[Quantity, ...]:
        return self.said.quantities


def evidence(passage: Passage) -> tuple[Unit, ...]:
    """The sentences, items and rows of a passage as they are compared with claims."""
    chunk = passage.chunk
    units = _units(chunk.text, chunk.breadcrumb, "en" if chunk.language == "en" else "fr")
    return tuple(replace(unit, passage=passage.n) for unit in units)


@functools.lru_cache(maxsize=256)
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
    cuts = [0, *(match.end() for match in _SEGMENT.finditer(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts) if text[a:b].strip()]
    if len(pieces) > 1 and _FRONTED.match(folded(pieces[0])):
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
    return Unit(0, start, end, joined, said, tuple(segments), (), around, anaphoric=False, row=True, label=label)


# --- weighing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    reason: Reason | None
    share: float
    units: tuple[Unit, ...]


def _weigh(said: Reading, language: str, units: Sequence[Unit], thresholds: Thresholds, cuts: int) -> _Outcome:
    """The best that ``units`` can do for a claim: one of them for the whole of it, or some for its clauses."""
    best = _Outcome(Reason.LEXICAL, 0.0, ())
    for unit in units:
        share = _share(said, unit)
        if share < 0.3:
            best = max(best, _Outcome(_weak_reason(said, unit), share, (unit,)), key=lambda one: one.share)
            continue
        reason = _refusal(said, unit, language, thresholds)
        if reason is None:
            return _Outcome(None, share, (unit,))
        best = max(best, _Outcome(reason, share, (unit,)), key=lambda one: one.share)
    if cuts:
        for match in _CLAUSE.finditer(said.text):
            halves = (said.text[: match.start()], said.text[match.end() :])
            readings = [reading(half, language) for half in halves]
            if any(len(one.words) < 2 for one in readings):
                continue
            first = _weigh(readings[0], language, units, thresholds, 0)
            if first.reason is not None:
                continue
            carried = (
                readings[1]
                if readings[1].actor or not readings[0].actor
                else replace(readings[1], actor=readings[0].actor)
            )
            second = _weigh(carried, language, units, thresholds, cuts - 1)
            if second.reason is None:
                return _Outcome(None, min(first.share, second.share), (*first.units, *second.units))
    return best


def _share(said: Reading, unit: Unit) -> float:
    """The share of the claim's words and values that the unit itself holds; a rough measure to choose by."""
    held = sum(any(word.like(other) for other in unit.words) for word in said.words)
    held += sum(any(_same_value(value, other) for other in unit.values) for value in said.quantities)
    return held / max(1, len(said.words) + len(said.quantities))


def _weak_reason(said: Reading, unit: Unit) -> Reason:
    return _values(said, unit) or Reason.LEXICAL


def _refusal(said: Reading, unit: Unit, language: str, thresholds: Thresholds) -> Reason | None:
    """Why the unit does not support the claim; ``None`` when it does."""
    used = _used(said, unit, language)
    return (
        _values(said, unit)
        or _names(said, unit)
        or _roles(said, unit, used)
        or _polarity(said, used)
        or _modality(said, unit, used)
        or _qualifiers(said, unit, used)
        or _conditions(said, unit)
        or _coverage(said, unit, thresholds)
    )


def _used(said: Reading, unit: Unit, language: str) -> Reading:
    """The part of the unit that the claim speaks of: its clauses of which the claim holds something."""
    if unit.row:
        return unit.said
    cuts = [0, *(match.end() for match in _SEGMENT.finditer(unit.text)), len(unit.text)]
    kept = []
    for a, b in itertools.pairwise(cuts):
        words = [word for word in unit.words if a <= word.start < b]
        values = [value for value in unit.values if a <= value.start < b]
        held = sum(any(word.like(other) for other in said.words) for word in words)
        held += sum(any(_same_value(value, other) for other in said.quantities) for value in values)
        if held > 0.34 * (len(words) + len(values)) or not (words or values):
            kept.append((a, b))
    if len(kept) == len(cuts) - 1:
        return unit.said
    return reading(" ".join(unit.text[a:b] for a, b in kept), language)


# --- values ---------------------------------------------------------------------------------------------------


_COUNTED: Final = {
    "day": frozenset({"jours", "jour", "days"}),
    "week": frozenset({"semaines", "weeks"}),
    "night": frozenset({"nuits", "nuitees", "nights"}),
}


def _same_value(one: Quantity, other: Quantity) -> bool:
    return one.kind is other.kind and one.value == other.value and one.unit == other.unit


def _same_count(claim: Quantity, source: Quantity, unit: Unit) -> bool:
    """The same value, also where the source names what it counts apart: "the number of days may not exceed three"."""
    if _same_value(claim, source):
        return True
    counted = _COUNTED.get(claim.unit)
    return (
        source.kind is Kind.NUMBER
        and counted is not None
        and claim.value == source.value
        and bool(counted & unit.said.tokens)
        and not any(one.kind is claim.kind for one in unit.values)
    )


def _values(said: Reading, unit: Unit) -> Reason | None:
    """Whether each value of the claim is the unit's, with its unit and its bound, and said of the same thing."""
    for value in said.quantities:
        if value.kind is Kind.REFERENCE or _dates_a_reference(said, value):
            if not any(value.value == other.value for other in (*unit.values, *unit.around.quantities)):
                return Reason.REFERENCE
            continue
        same = [other for other in unit.values if _same_count(value, other, unit)]
        if not same:
            return _missing(value, unit)
        fitting = [other for other in same if _bounds_agree(value, other, said)]
        if not fitting:
            return Reason.QUALIFIER
        if not any(_bound_to(said, value, other, unit) for other in fitting):
            return Reason.DATE if value.kind is Kind.DATE else Reason.NUMBER
    return None


def _dates_a_reference(said: Reading, value: Quantity) -> bool:
    """``du 12 décembre 2024`` right after ``décision n° 2024-31``: part of a reference, not a date of the rule."""
    return value.kind is Kind.DATE and any(
        other.kind is Kind.REFERENCE and 0 <= value.start - other.end <= 4 for other in said.quantities
    )


def _missing(value: Quantity, unit: Unit) -> Reason:
    if value.kind is Kind.DATE:
        return Reason.DATE
    if any(value.value == other.value for other in unit.values):
        return Reason.UNIT
    return Reason.NUMBER


def _bounds_agree(claim: Quantity, source: Quantity, said: Reading | None = None) -> bool:
    if claim.bound is not source.bound and (claim.bound, source.bound) not in _COMMON_BOUNDS:
        return False
    if claim.relation is source.relation:
        return True
    if claim.kind is Kind.DURATION:
        pair = {claim.relation, source.relation}
        if Relation.BEFORE in pair:  # "a half-day training before any work": the claim may say "before" elsewhere
            return claim.relation is Relation.NONE and said is not None and bool(said.tokens & _BEFORE)
        return claim.relation is Relation.NONE or Relation.NONE not in pair
    return {claim.relation, source.relation} == {Relation.NONE, Relation.FROM}


def _bound_to(said: Reading, value: Quantity, other: Quantity, unit: Unit) -> bool:
    """Whether the claim's value goes with ``other`` rather than with another value of the unit of the same kind."""
    rivals = [
        one
        for one in unit.values
        if one.kind is other.kind
        and (one.unit == other.unit or one.kind is Kind.DURATION)
        and not _same_value(one, other)
        and one.start != other.start
    ]
    if not rivals:
        return True
    around = _clause(said, value)
    mine = _local(unit, other)
    for rival in rivals:
        theirs = _local(unit, rival)
        if any(_same_value(rival, one) and one.start != value.start for one in said.quantities) and not unit.row:
            continue  # the claim gives both values
        for_me = _distinct(around, mine, theirs)
        for_them = _distinct(around, theirs, mine)
        if for_them > for_me:
            return False
    return True


def _clause(said: Reading, value: Quantity) -> Segment:
    words = said.words
    return Segment(words, tuple(one for one in said.quantities if one.start != value.start))


def _distinct(around: Segment, mine: Segment, theirs: Segment) -> int:
    """How much of the claim's surroundings of a value speaks for ``mine`` and not for ``theirs``."""
    score = 0
    for word in around.words:
        here = any(word.like(other) for other in mine.words)
        there = any(word.like(other) for other in theirs.words)
        score += here and not there
    for value in around.values:
        here = any(_same_value(value, other) and _bounds_agree(value, other) for other in mine.values)
        there = any(_same_value(value, other) and _bounds_agree(value, other) for other in theirs.values)
        score += 3 * (here and not there)
    return score


def _local(unit: Unit, value: Quantity) -> Segment:
    """What stands close to a value in its sentence: its clause, or its cell with its header."""
    if unit.row:
        for segment in unit.segments:
            if any(_same_value(value, other) for other in segment.values):
                return Segment(segment.words, tuple(one for one in segment.values if not _same_value(one, value)))
        return Segment((), ())
    cuts = [0, *(match.end() for match in _SEGMENT.finditer(unit.text)), len(unit.text)]
    low = max(cut for cut in cuts if cut <= value.start)
    high = min(cut for cut in cuts if cut > value.start)
    if low and _FRONTED.match(folded(unit.text[:low])) and unit.text[:low].count(",") == 1:
        low = 0
    left = [word for word in unit.words if low <= word.start < value.start][-3:]
    following = next((one for one in unit.values if one.kind is value.kind and one.start >= high), None)
    if following is not None:
        opening = max(cut for cut in cuts if cut <= following.start)
        places = [one.start for one in unit.words] + [one.start for one in unit.values]
        if not any(opening <= place < following.start for place in places):
            left = []  # "… 110 euros in Paris and 90 euros elsewhere": what comes first is said of both
    right = [word for word in unit.words if value.start < word.start < high][:5]
    return Segment(
        (*left, *right), tuple(one for one in unit.values if low <= one.start < high and one.start != value.start)
    )


# --- words that bind ------------------------------------------------------------------------------------------


def _names(said: Reading, unit: Unit) -> Reason | None:
    """Every name and acronym of the claim stands in the unit or its headings, as written or spelled out."""
    for word in said.words:
        if word.name is None or word.roles:
            continue
        places = (unit.said, unit.around)
        if any(word.name in place.tokens for place in places):
            continue
        if len(word.name) > 1 and any(word.like(other) for other in (*unit.words, *unit.around.words)):
            continue
        if not any(spells(word.name, place.text) for place in places):
            return Reason.NAME
    return None


def spells(acronym: str, text: str) -> bool:
    """Whether consecutive words of ``text``, small words aside, begin with the letters of ``acronym``."""
    initials = "".join(
        token[0]
        for token in re.findall(r"[^\W\d_]{3,}", folded(text))
        if token not in {"des", "les", "aux", "the", "and", "for"}
    )
    return len(acronym) > 1 and acronym.isalpha() and acronym in initials


def _roles(said: Reading, unit: Unit, used: Reading) -> Reason | None:
    """Whoever the claim names is named by the unit, and the same one acts."""
    for word in said.words:
        if not word.roles or any(word.like(other) for other in used.words):
            continue
        if (
            "0" in word.roles
            and not used.actor
            and (_addressed(word, said) or not any(one.roles for one in unit.words))
        ):
            continue  # "you", or "staff" where the text names nobody: whoever is concerned
        if unit.anaphoric and any(word.like(other) for other in unit.near):
            continue
        if any(word.like(other) for other in unit.around.words):
            continue
        return Reason.NAME
    if said.actor and used.actor and not said.actor & used.actor:
        return Reason.NAME
    return None


def _addressed(word: Word, said: Reading) -> bool:
    return folded(said.text[word.start : word.end]) in _SECOND_PERSON


def _polarity(said: Reading, used: Reading) -> Reason | None:
    """What is denied is denied, and only that."""
    return Reason.NEGATION if said.negative != used.negative else None


def _modality(said: Reading, unit: Unit, used: Reading) -> Reason | None:
    """A possibility stays one, and a duty too; the plain present of a rule counts as a duty."""
    claim, source = said.modalities, used.modalities
    limited = any(
        value.bound is Bound.AT_MOST and any(_same_count(value, other, unit) for other in unit.values)
        for value in said.quantities
    )
    if (
        Modality.PERMIT in claim
        and not source & {Modality.PERMIT, Modality.OPTIONAL}
        and not used.flags & {"entitle", "only"}
        and not limited  # "within ten days" and "you may … up to ten days"
    ):
        return Reason.MODALITY
    if (
        Modality.OBLIGE in claim
        and Modality.OBLIGE not in source
        and source & {Modality.PERMIT, Modality.ADVISE, Modality.OPTIONAL}
    ):
        return Reason.MODALITY
    if (Modality.OPTIONAL in claim) != (Modality.OPTIONAL in source) or (Modality.ADVISE in claim) != (
        Modality.ADVISE in source
    ):
        return Reason.MODALITY
    if Modality.PERMIT in source and not claim & {Modality.PERMIT, Modality.FORBID} and "entitle" not in said.flags:
        return Reason.MODALITY
    return None


def _qualifiers(said: Reading, unit: Unit, used: Reading) -> Reason | None:
    """For whom, how often, only or notably, and which of two opposites: as the unit says."""
    own = unit.said
    if not said.frequencies <= own.frequencies | unit.around.frequencies:
        return Reason.QUALIFIER
    if said.quantities and not used.frequencies <= said.frequencies | unit.around.frequencies:
        return Reason.QUALIFIER
    for flag in ("only", "loose", "inclusions"):
        if flag in said.flags and flag not in own.flags:
            return Reason.QUALIFIER
    if "only" in used.flags and "only" not in said.flags:
        return Reason.QUALIFIER
    if "exceptions" in said.flags and "exceptions" not in own.flags:
        return Reason.QUALIFIER
    told = {status for word in said.words for status in word.statuses}
    known = {status for word in (*unit.words, *unit.around.words) for status in word.statuses}
    if unit.anaphoric:
        known |= {status for word in unit.near for status in word.statuses}
    restricting = {status for word in used.words for status in word.statuses}
    if not told <= known or (restricting and not told & restricting):
        return Reason.QUALIFIER
    for word in said.words:
        opposed = [other for other in own.words if word.opposes(other)]
        if opposed and not any(word.scales & other.scales for other in own.words):
            return Reason.QUALIFIER
    if "universals" in said.flags and "universals" not in own.flags:
        source = [word for word in used.words if not word.roles]
        held = sum(any(word.like(other) for other in said.words) for word in source)
        if held < 0.75 * len(source):
            return Reason.QUALIFIER
    return None


def _conditions(said: Reading, unit: Unit) -> Reason | None:
    """An exception that the unit makes, and the condition that it sets, are in the claim too."""
    own = unit.said
    met, asked = False, False
    for start, end, exception in own.conditions:
        words = [word for word in own.words if start <= word.start < end]
        values = [value for value in own.quantities if start <= value.start < end]
        held = sum(any(word.like(other) for other in said.words) for word in words)
        held += sum(any(_same_value(value, other) for other in said.quantities) for value in values)
        told = held >= 0.5 * (len(words) + len(values)) and bool(words or values)
        if exception and not told:
            return Reason.QUALIFIER
        if not exception and not told and not _concerned(said, own, start):
            continue  # the condition of a clause that the claim does not speak of
        asked |= not exception
        met |= told and not exception
    return Reason.QUALIFIER if asked and not met else None


def _concerned(said: Reading, own: Reading, position: int) -> bool:
    """Whether the claim speaks of the clause that the condition at ``position`` belongs to."""
    cuts = [0, *(match.end() for match in _SEGMENT.finditer(own.text) if match.end() <= position)]
    words = [word for word in own.words if cuts[-1] <= word.start < position]
    return not words or any(word.like(other) for word in words for other in said.words)


def _coverage(said: Reading, unit: Unit, thresholds: Thresholds) -> Reason | None:
    """Nearly every word of the claim is the unit's; with words lent by its context, the unit's own head is told too."""
    missing: list[Word] = []
    lent = 0
    related = {value.relation for value in unit.values}
    for word in said.words:
        if any(word.like(other) for other in unit.words):
            continue
        if Relation.BEFORE in related and word.ids & _BEFORE_IDS:
            continue  # read as part of a value there
        if any(word.like(other) for other in unit.around.words) or any(word.like(other) for other in unit.near):
            lent += 1
        else:
            missing.append(word)
    nobody = not any(one.roles for one in unit.words)
    excused = [
        word
        for word in said.words
        if not word.ids or word.modal or _addressed(word, said) or ("0" in word.roles and nobody)
    ]
    words = [word for word in said.words if word not in excused]
    missing = [word for word in missing if word not in excused]
    total = len(words) + len(said.quantities)
    if total < 2 and not said.quantities:
        return Reason.LEXICAL
    if (
        total - len(missing) < thresholds.coverage * total
        or any(_weighty(word, said) for word in missing)
        or len(missing) > 1
    ):
        return Reason.LEXICAL
    own = total - len(missing) - lent
    if lent and (own < thresholds.own * total or not _head_told(said, unit)):
        return Reason.LEXICAL
    return None


def _weighty(word: Word, said: Reading) -> bool:
    """Whether a word that the unit lacks cannot be let pass: a name, a role, an opposite, an addition with "and"."""
    before = folded(said.text[: word.start])
    added = re.search(r"\b(?:et|ou|ainsi que|plus|and|or|as well as)\b(?:\s\w+'?){0,3}\s*$", before) is not None
    return bool(word.name or word.roles or word.statuses or word.scales or added)


def _head_told(said: Reading, unit: Unit) -> bool:
    """Whether what the unit is about, its first word, is in the claim; one that refers back is about something else."""
    if unit.anaphoric:
        return True
    if unit.label is not None:
        words = [any(word.like(other) for other in said.words) for word in unit.label.words]
        values = [any(_same_value(value, other) for other in said.quantities) for value in unit.label.values]
        return any((*words, *values))
    head = next((word for word in unit.words if "0" not in word.roles and not word.ids & _GENERAL), None)
    return head is None or any(head.like(word) for word in said.words)
