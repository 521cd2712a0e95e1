"""Whether a sentence of a text says what a claim says: values, names, roles, negation, modality, conditions. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag.evidence import SEGMENT, Unit
from rag.quantities import Bound, Relation, folded
from rag.types import Reason
from rag.values import refused_value, same_count, same_value
from rag.wording import Modality, Reading, Word, reading


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a verdict turns; set on the development halves of the golden sets (``eval claims`` has the curve)."""

    coverage: float = 0.8
    """Share of the claim's words that the supporting sentence must hold, where it is to say the same word for word."""
    own: float = 0.5
    """Share that the sentence itself must hold, without its headings and the sentences that it refers back to."""
    similarity: float = 0.1
    """Cosine of claim and nearest supporting sentence, where an embedder is given: it may only refuse."""
    score: float = 0.4
    """Score from which a French claim in other words stands. On the development half .3, .4 and .5 catch .845, .871 and
    .896 of the wrong sentences and keep .773, .722 and .647 of the true ones, at one F1 (.85): a wrong sentence that is
    shown is worse than a true one that is lost."""
    doubt: float = 0.2
    """Score below which a claim falls even though it is said word for word."""
    cover: float = 0.5
    """Share of a claim, by weight, that the sentences it lies over must hold in some words."""
    quotation: float = 0.6
    """Share of words in runs of three as in the text, from which a claim is so near to a quotation that each difference
    is meant."""
    near: float = 0.35
    """That share from which another name, negation, bound or an addition is meant."""
    borrowed: float = 0.75
    """Share of the claim's words that the sentence, its headings or what stands before it hold as they are, from which
    another negation is meant."""
    contrary: float = 0.5
    """That share from which a contrary is meant."""
    entailed: float = 0.9
    """How sure a cross-encoder must be to lift a claim that is undecided."""
    denied: float = 0.1
    """Below this a cross-encoder refuses a claim."""


DEFAULT: Final = Thresholds()
VERBATIM: Final = Thresholds(score=1.0)
"""For a writer that does not know what it says: no score reaches it, so only what is nearly word for word stands."""

PARTS: Final = 2
"""How often a claim may be cut in two, so that it may rest on up to four sentences."""
_GENERAL: Final = frozenset({"=nombr", "=mont", "=number", "=amount", "=total"})
_CLAUSE: Final = re.compile(
    r";\s|,\s(?:et|mais|puis|tandis que?|alors que?|and|but|while)\b|\s(?:et|mais|"
    r"puis|tandis que?|alors que?|and|but|while)\s|,\s(?:qui|which|who)\s",
    re.IGNORECASE,
)
_BEFORE_IDS: Final = frozenset({"=avant", "=before"})
_SECOND_PERSON: Final = frozenset({"vous", "votre", "vos", "you", "your"})


# --- weighing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    reason: Reason | None
    share: float
    units: tuple[Unit, ...]


def weigh(said: Reading, language: str, units: Sequence[Unit], thresholds: Thresholds, cuts: int) -> Outcome:
    """The best that ``units`` can do for a claim: one of them for the whole of it, or some for its clauses."""
    best = Outcome(Reason.LEXICAL, 0.0, ())
    for unit in units:
        share = _share(said, unit)
        if share < 0.3:
            best = max(best, Outcome(_weak_reason(said, unit), share, (unit,)), key=lambda one: one.share)
            continue
        reason = _refusal(said, unit, language, thresholds)
        if reason is None:
            return Outcome(None, share, (unit,))
        best = max(best, Outcome(reason, share, (unit,)), key=lambda one: one.share)
    if cuts:
        for match in _CLAUSE.finditer(said.text):
            halves = (said.text[: match.start()], said.text[match.end() :])
            readings = [reading(half, language) for half in halves]
            if any(len(one.words) < 2 for one in readings):
                continue
            first = weigh(readings[0], language, units, thresholds, 0)
            if first.reason is not None:
                continue
            carried = (
                readings[1]
                if readings[1].actor or not readings[0].actor
                else replace(readings[1], actor=readings[0].actor)
            )
            second = weigh(carried, language, units, thresholds, cuts - 1)
            if second.reason is None:
                return Outcome(None, min(first.share, second.share), (*first.units, *second.units))
    return best


def _share(said: Reading, unit: Unit) -> float:
    """The share of the claim's words and values that the unit itself holds; a rough measure to choose by."""
    held = sum(any(word.like(other) for other in unit.words) for word in said.words)
    held += sum(any(same_value(value, other) for other in unit.values) for value in said.quantities)
    return held / max(1, len(said.words) + len(said.quantities))


def _weak_reason(said: Reading, unit: Unit) -> Reason:
    return refused_value(said, unit) or Reason.LEXICAL


def _refusal(said: Reading, unit: Unit, language: str, thresholds: Thresholds) -> Reason | None:
    """Why the unit does not support the claim; ``None`` when it does."""
    used = _used(said, unit, language)
    return (
        refused_value(said, unit)
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
    cuts = [0, *(match.end() for match in SEGMENT.finditer(unit.text)), len(unit.text)]
    kept = []
    for a, b in itertools.pairwise(cuts):
        words = [word for word in unit.words if a <= word.start < b]
        values = [value for value in unit.values if a <= value.start < b]
        held = sum(any(word.like(other) for other in said.words) for word in words)
        held += sum(any(same_value(value, other) for other in said.quantities) for value in values)
        if held > 0.34 * (len(words) + len(values)) or not (words or values):
            kept.append((a, b))
    if len(kept) == len(cuts) - 1:
        return unit.said
    return reading(" ".join(unit.text[a:b] for a, b in kept), language)


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
        value.bound is Bound.AT_MOST and any(same_count(value, other, unit) for other in unit.values)
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
        held += sum(any(same_value(value, other) for other in said.quantities) for value in values)
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
    cuts = [0, *(match.end() for match in SEGMENT.finditer(own.text) if match.end() <= position)]
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
        values = [any(same_value(value, other) for other in said.quantities) for value in unit.label.values]
        return any((*words, *values))
    head = next((word for word in unit.words if "0" not in word.roles and not word.ids & _GENERAL), None)
    return head is None or any(head.like(word) for word in said.words)
