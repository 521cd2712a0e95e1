"""Whether two values of one kind may both be true of one thing, and what they differ in if not. Pure."""

from __future__ import annotations

from typing import Final

from rag.quantities import Bound, Kind, Quantity, Relation
from rag.types import Reason

_MINUTES: Final = {"minute": 1.0, "second": 1 / 60, "day": 1440.0, "week": 10080.0}
_MONTHS: Final = {"month": 1.0, "quarter": 3.0, "semester": 6.0}
_DAYS_OF_WEEK: Final = {
    "day:ouvre": 5,
    "day:ouvrable": 6,
    "day:calendaire": 7,
    "day": 7,
    "day:consecutif": 7,
    "week": 1,
}
_SCALES: Final[tuple[dict[str, float], ...]] = (
    {"mm": 0.001, "cm": 0.01, "m": 1.0, "km": 1000.0},
    {"g": 0.001, "kg": 1.0, "t": 1000.0},
    {"kWh": 1.0, "MWh": 1000.0},
)
_UPPER: Final = frozenset({Bound.AT_MOST, Bound.LESS_THAN, Bound.WITHIN})
_LOWER: Final = frozenset({Bound.AT_LEAST, Bound.MORE_THAN})
_EARLY: Final = frozenset({Relation.FROM, Relation.AFTER})
_LATE: Final = frozenset({Relation.UNTIL, Relation.BEFORE})


def equal(one: Quantity, other: Quantity) -> bool:
    """Whether two values are the same, in whatever unit; an unsaid kind of day or an unsaid year agrees with any."""
    if one.kind is not other.kind:
        return False
    if one.kind is Kind.DATE:
        return one.value == other.value or (
            "--" in one.value + other.value and one.value[-6:].lstrip("-") == other.value[-6:].lstrip("-")
        )
    if one.kind in {Kind.REFERENCE, Kind.ORDINAL}:
        return one.value == other.value
    if one.value == other.value and {one.unit.partition(":")[0], other.unit.partition(":")[0]} == {"day"}:
        return one.unit == other.unit or "day" in {one.unit, other.unit}
    scaled = _scaled(one, other)
    return scaled is not None and abs(scaled[0] - scaled[1]) < 1e-6


def difference(mine: Quantity, theirs: Quantity) -> Reason | None:
    """What two comparable values that are not equal differ in; ``None`` when both may hold."""
    if mine.kind is Kind.DATE:
        return Reason.DATE
    if mine.value == theirs.value and mine.unit != theirs.unit:
        return Reason.UNIT
    scaled = _scaled(mine, theirs)
    if scaled is None:
        days = _days(mine), _days(theirs)
        if not (days[0] and days[1]):
            return None
        return Reason.UNIT if 0.9 <= days[0] / days[1] <= 1.1 else Reason.NUMBER
    a, b = scaled
    for value, limit, bound in ((a, b, theirs.bound), (b, a, mine.bound)):
        exact = (mine if value is a else theirs).bound is Bound.EXACT
        if exact and bound in {Bound.AT_MOST, Bound.LESS_THAN} and value < limit:
            return None
        if exact and bound in _LOWER and value > limit:
            return None
    if Bound.ABOUT in {mine.bound, theirs.bound} and abs(a - b) <= 0.2 * max(a, b):
        return None
    return Reason.NUMBER


def comparable(one: Quantity, other: Quantity) -> bool:
    """Whether the two could be values of one thing: both a start, or both a limit on the same side."""
    if {one.relation, other.relation} & _EARLY and {one.relation, other.relation} & _LATE:
        return False
    if one.kind is Kind.DATE and len(one.value) != len(other.value) and "--" not in one.value + other.value:
        return False
    if one.kind in {Kind.MONEY, Kind.MEASURE} and _scaled(one, other) is None:
        return False
    return not (one.bound in _LOWER and other.bound in _UPPER) and not (one.bound in _UPPER and other.bound in _LOWER)


def limits_alike(mine: Quantity, theirs: Quantity) -> bool:
    if mine.relation is theirs.relation and mine.relation is not Relation.NONE:
        return True
    return any({mine.bound, theirs.bound} <= side for side in (_UPPER, _LOWER))


def _scaled(one: Quantity, other: Quantity) -> tuple[float, float] | None:
    """The two in one unit; ``None`` where there is none."""
    if one.unit == other.unit:
        return float(one.value), float(other.value)
    for scale in (*_SCALES, _MINUTES, _MONTHS):
        if one.unit in scale and other.unit in scale:
            return float(one.value) * scale[one.unit], float(other.value) * scale[other.unit]
    if one.unit in _DAYS_OF_WEEK and other.unit in _DAYS_OF_WEEK:
        return float(one.value) / _DAYS_OF_WEEK[one.unit], float(other.value) / _DAYS_OF_WEEK[other.unit]
    return None


def _days(value: Quantity) -> float:
    """A duration in days, a month as thirty; 0 for anything else."""
    if value.kind is not Kind.DURATION:
        return 0.0
    unit = value.unit.partition(":")[0]
    if unit in _MONTHS:
        return float(value.value) * _MONTHS[unit] * 30
    return float(value.value) * _MINUTES.get(unit, 0.0) / 1440
