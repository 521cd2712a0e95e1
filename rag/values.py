"""Whether the values of a claim are those of a sentence: number, unit, bound, and what each is said of. Pure."""

from __future__ import annotations

from typing import Final

from rag.evidence import FRONTED, SEGMENT, Segment, Unit
from rag.quantities import Bound, Kind, Quantity, Relation, folded
from rag.types import Reason
from rag.wording import Reading

_BEFORE: Final = frozenset({"avant", "before", "prior", "precedant", "precedent"})
_COMMON_BOUNDS: Final = frozenset(
    {
        (Bound.WITHIN, Bound.EXACT), (Bound.EXACT, Bound.WITHIN), (Bound.WITHIN, Bound.AT_MOST),
        (Bound.AT_MOST, Bound.WITHIN),
    }
)  # fmt: skip
_COUNTED: Final = {
    "day": frozenset({"jours", "jour", "days"}),
    "week": frozenset({"semaines", "weeks"}),
    "night": frozenset({"nuits", "nuitees", "nights"}),
}


def same_value(one: Quantity, other: Quantity) -> bool:
    return one.kind is other.kind and one.value == other.value and one.unit == other.unit


def same_count(claim: Quantity, source: Quantity, unit: Unit) -> bool:
    """The same value, also where the source names what it counts apart: "the number of days may not exceed three"."""
    if same_value(claim, source):
        return True
    counted = _COUNTED.get(claim.unit)
    return (
        source.kind is Kind.NUMBER
        and counted is not None
        and claim.value == source.value
        and bool(counted & unit.said.tokens)
        and not any(one.kind is claim.kind for one in unit.values)
    )


def refused_value(said: Reading, unit: Unit) -> Reason | None:
    """Whether each value of the claim is the unit's, with its unit and its bound, and said of the same thing."""
    for value in said.quantities:
        if value.kind is Kind.REFERENCE or dates_a_reference(said, value):
            if not any(value.value == other.value for other in (*unit.values, *unit.around.quantities)):
                return Reason.REFERENCE
            continue
        same = [other for other in unit.values if same_count(value, other, unit)]
        if not same:
            return _missing(value, unit)
        fitting = [other for other in same if bounds_agree(value, other, said)]
        if not fitting:
            return Reason.QUALIFIER
        if not any(bound_to(said, value, other, unit) for other in fitting):
            return Reason.DATE if value.kind is Kind.DATE else Reason.NUMBER
    return None


def dates_a_reference(said: Reading, value: Quantity) -> bool:
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


def bounds_agree(claim: Quantity, source: Quantity, said: Reading | None = None) -> bool:
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


def bound_to(said: Reading, value: Quantity, other: Quantity, unit: Unit) -> bool:
    """Whether the claim's value goes with ``other`` rather than with another value of the unit of the same kind."""
    rivals = [
        one
        for one in unit.values
        if one.kind is other.kind
        and (one.unit == other.unit or one.kind is Kind.DURATION)
        and not same_value(one, other)
        and one.start != other.start
    ]
    if not rivals:
        return True
    around = _clause(said, value)
    mine = _local(unit, other)
    for rival in rivals:
        theirs = _local(unit, rival)
        if any(same_value(rival, one) and one.start != value.start for one in said.quantities) and not unit.row:
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
        here = any(same_value(value, other) and bounds_agree(value, other) for other in mine.values)
        there = any(same_value(value, other) and bounds_agree(value, other) for other in theirs.values)
        score += 3 * (here and not there)
    return score


def _local(unit: Unit, value: Quantity) -> Segment:
    """What stands close to a value in its sentence: its clause, or its cell with its header."""
    if unit.row:
        for segment in unit.segments:
            if any(same_value(value, other) for other in segment.values):
                return Segment(segment.words, tuple(one for one in segment.values if not same_value(one, value)))
        return Segment((), ())
    cuts = [0, *(match.end() for match in SEGMENT.finditer(unit.text)), len(unit.text)]
    low = max(cut for cut in cuts if cut <= value.start)
    high = min(cut for cut in cuts if cut > value.start)
    if low and FRONTED.match(folded(unit.text[:low])) and unit.text[:low].count(",") == 1:
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


# --- values that agree without being written alike ------------------------------------------------------------

_IN_MINUTES: Final = {"minute": 1.0, "second": 1 / 60}
_IN_MONTHS: Final = {"month": 1.0, "quarter": 3.0, "semester": 6.0}
_IN_METRES: Final = {"km": 1000.0, "m": 1.0, "cm": 0.01, "mm": 0.001}
_UPPER: Final = frozenset({Bound.AT_MOST, Bound.LESS_THAN})
_LOWER: Final = frozenset({Bound.AT_LEAST, Bound.MORE_THAN})


def agrees(claim: Quantity, source: Quantity, unit: Unit) -> bool:
    """Whether the two are one value: as written, in another unit, or told less precisely by the claim."""
    if same_count(claim, source, unit):
        return True
    if claim.kind is Kind.DATE and source.kind is Kind.DATE:
        return _less_precise(claim.value, source.value)
    if claim.unit == "day" and source.unit == "day:consecutif" and claim.value == source.value:
        return True
    if source.kind is Kind.NUMBER and claim.value == source.value and claim.kind is not Kind.NUMBER:
        if _counted_in_header(claim, unit):
            return True
        shared = next((one for one in unit.values if 0 < one.start - source.end <= 4), None)
        return shared is not None and shared.unit == claim.unit  # "6 et 7 CV"
    common = _common(claim)
    return common is not None and common == _common(source)


def _counted_in_header(claim: Quantity, unit: Unit) -> bool:
    """Whether the row's header names what the claim counts: ``Durée en jours ouvrés : 4``."""
    if not unit.row:
        return False
    words = {"day": ("jour",), "day:ouvre": ("jour", "ouvre"), "day:ouvrable": ("jour", "ouvrable"),
             "day:calendaire": ("jour", "calendaire"), "EUR": ("euro",), "%": ("%",)}.get(
        claim.unit, (claim.unit.lower(),) if claim.unit else ()
    )  # fmt: skip
    plain = folded(unit.text)
    return bool(words) and all(word in plain for word in words)


def comparable(one: Quantity, other: Quantity) -> bool:
    """Whether the two are values of one sort, so that either might stand where the other does."""
    if one.kind is not other.kind:
        mine, theirs = _common(one), _common(other)
        return mine is not None and theirs is not None and mine[0] == theirs[0]
    return one.kind is not Kind.MEASURE or one.unit == other.unit


def opposed_bounds(one: Quantity, other: Quantity) -> bool:
    """Whether one is an upper limit and the other a lower one."""
    bounds = {one.bound, other.bound}
    return bool(bounds & _UPPER) and bool(bounds & _LOWER)


def opposed_relations(one: Quantity, other: Quantity) -> bool:
    """Whether one is counted back from something and the other on from it."""
    relations = {one.relation, other.relation}
    return relations in (
        {Relation.BEFORE, Relation.AFTER},
        {Relation.UNTIL, Relation.FROM},
        {Relation.UNTIL, Relation.AFTER},
    )


def instance(claim: Quantity, source: Quantity) -> bool:
    """Whether the claim gives an example of what the source bounds: 70 % where it says less than 80 %."""
    if claim.kind is not source.kind or claim.unit != source.unit or claim.bound is not Bound.EXACT:
        return False
    if claim.kind in {Kind.DATE, Kind.REFERENCE, Kind.ORDINAL}:
        return False
    mine, theirs = float(claim.value), float(source.value)
    if source.bound in _UPPER:
        return mine < theirs
    return source.bound in _LOWER and mine > theirs


def _less_precise(claim: str, source: str) -> bool:
    """``2025`` for ``2025-12-31``, ``--11-15`` for ``2023-11-15``."""
    if source.startswith(claim):
        return True
    if len(claim) == len("--06"):
        return claim.startswith("--") and source[4:7] == claim[1:]
    return claim.startswith("--") and source.endswith(claim[1:])


def _common(value: Quantity) -> tuple[str, float] | None:
    """The value in the common unit of its sort; ``None`` where it has only its own."""
    if value.kind in {Kind.DATE, Kind.REFERENCE, Kind.ORDINAL}:
        return None
    number = float(value.value)
    if value.unit in _IN_MINUTES:
        return "minute", round(number * _IN_MINUTES[value.unit], 4)
    if value.unit in _IN_MONTHS:
        return "month", round(number * _IN_MONTHS[value.unit], 4)
    if value.unit in _IN_METRES:
        return "metre", round(number * _IN_METRES[value.unit], 6)
    if value.unit == "%":
        return "share", round(number / 100, 4)
    if value.kind is Kind.NUMBER and 0 < number < 1:
        return "share", round(number, 4)
    return None
