"""Where two passages say opposite things on the point of a question: two values, or a yes and a no. Pure.

Two sentences contradict each other when they speak of the same point (the same words, or words that mean the same,
for the same people, place and condition) and give it different values of one kind, or one denies what the other says.
It fails towards silence: whatever may tell the two points apart (an exception, a population, a step, another bound)
keeps them from being shown as a contradiction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice
from typing import Final

from rag.differences import difference, equal, limits_alike
from rag.evidence import evidence
from rag.points import (
    Statement,
    asked_deed,
    clauses_meet,
    content,
    differently,
    held,
    holds,
    in_common,
    measures_meet,
    meet,
    of_another,
    rates_meet,
    rivals,
    set_apart,
    shared_answer,
    statements,
    topics,
)
from rag.quantities import Bound, Kind, Quantity, Relation, folded
from rag.types import Conflict, Passage, Reason, Span
from rag.wording import Modality, Word

CONCERNED: Final = 0.55
"""Share of the question's words that one of the two sentences must hold, headings included."""
RELATED: Final = 0.4
"""The share of that which the other must hold: it is about the question by saying the same as the first."""
SAME: Final = 0.53
"""How surely two sentences with different values speak of one point (by what they hold of each other)."""
FITTING: Final = 0.08
"""What it adds that both values limit in the same way: two deadlines, two ceilings."""
SAME_BUT_DENIED: Final = 0.7
"""How alike they must be when one only denies or forbids what the other says: there is no value to go by."""
NEAR_BEST: Final = 0.65
"""A sentence that holds less than this share of what the best sentence holds of the question does not answer it."""
WITHIN: Final = 0.75
"""The share of each other's words that two articles of one document must hold: a text seldom contradicts itself."""
LEAST: Final = 0.33
"""Below this share of its words in the other a sentence is about something of its own, however short the other is."""
TOPICS: Final = 2
"""The telling words, headings included, that two sentences must share: one word names many things."""
UNLIKE_UNITS: Final = 0.5
"""The share of its words that each must find in the other when they count in different units: a sign of two points."""
PROBES: Final = 3
"""Sentences with which texts that contradict them are looked for."""
ALIKE: Final = 0.62
"""The share of each other's words that two sentences hold when one of them says little of the question."""
ANSWERED: Final = 0.5
"""The share of the question's words, and of the other's, that a sentence of one or two words must hold itself."""
WHOLE: Final = 0.95
"""The share of its words above which a short sentence counts as held by a longer one."""
MOST: Final = 3
"""Contradictions that are told of one question."""


def conflicts(question: str, passages: Sequence[Passage], language: str = "fr") -> tuple[Conflict, ...]:
    """The contradictions among ``passages`` on what ``question`` asks, clearest first; none is the usual case.

    The first place of each is in the higher norm (:func:`precedence`). Passages whose periods of validity do not
    meet never contradict each other, and neither do texts in two languages. One pair of documents is told once.
    """
    found: dict[tuple[str, str], tuple[float, Conflict]] = {}
    answers = _answers(question)
    deed = asked_deed(question, language)
    for one, other in _pairs(question, passages, language):
        if deed is not None and not holds(deed, (*one.own, *other.own)):
            continue
        reason, alike = _contradiction(one, other, answers)
        if reason is None:
            continue
        first, second = sorted((one, other), key=lambda side: precedence(side.passage))
        conflict = Conflict(_span(first), _span(second), reason)
        score = alike + one.concerned + other.concerned
        names = sorted((one.passage.chunk.document, other.passage.chunk.document))
        key = (names[0], names[1])
        if key not in found or score > found[key][0]:
            found[key] = (score, conflict)
    return tuple(conflict for _, conflict in sorted(found.values(), key=lambda told: -told[0])[:MOST])


def probes(question: str, passages: Sequence[Passage], language: str = "fr") -> tuple[str, ...]:
    """What to search for, after the question, to find texts that contradict its likeliest answers: it and each of them.

    A text that contradicts the answer says nearly the same as the answer, and need not say it in the words of the
    question. Hits of these searches are worth adding only where :func:`conflicts` then names them.
    """
    stated = [one for one in statements(question, passages, language) if one.concerned >= CONCERNED]
    telling = [one for one in stated if one.values or one.said.negative or one.said.modalities]
    top = max((one.passage.score for one in telling), default=0.0) or 1.0
    best = sorted(telling, key=lambda one: (-one.concerned - 0.3 * one.passage.score / top, precedence(one.passage)))
    return tuple(islice(dict.fromkeys(f"{question} {one.unit.text}" for one in best), PROBES))


def precedence(passage: Passage) -> tuple[int, int, int]:
    """Sorts passages by authority: the higher norm first, then the newer one, then as they are numbered."""
    rank, start = passage.chunk.norm_rank, passage.chunk.validity.start
    return -(rank.height if rank else 0), -(start.toordinal() if start else 0), passage.n


def whole(place: Span, passage: Passage) -> tuple[Span, ...]:
    """What must be shown to understand a place: before a row the head of its table, before an item its lead-in."""
    unit = next((unit for unit in evidence(passage) if unit.start == place.start), None)
    if unit is None or unit.lead is None:
        return (place,)
    return Span(place.passage, *unit.lead), place


def _span(side: Statement) -> Span:
    return Span(side.passage.n, side.unit.start, side.unit.end)


def _pairs(question: str, passages: Sequence[Passage], language: str) -> Iterator[tuple[Statement, Statement]]:
    """Two statements of different articles, in force on a common day, that may both answer the question."""
    every = statements(question, passages, language)
    stated = [one for one in every if not _OF_ITSELF.search(folded(one.unit.text))]
    best = max((one.concerned for one in stated), default=0.0)
    enough = max(CONCERNED, NEAR_BEST * best)
    for one, other in combinations((one for one in stated if one.concerned >= RELATED * best > 0), 2):
        if max(one.concerned, other.concerned) < min(enough, 0.75 * best):
            continue
        mine, theirs = one.passage.chunk, other.passage.chunk
        if (mine.document, mine.reference) == (theirs.document, theirs.reference):
            continue
        if one.unit.language != other.unit.language or not meet(mine.validity, theirs.validity):
            continue
        if min(one.concerned, other.concerned) >= enough or _much_alike(one, other):
            yield one, other


def _much_alike(one: Statement, other: Statement) -> bool:
    """Whether each holds most of the other, or one holds all of the other; most pairs share no stem at all."""
    stems = [frozenset(key for word in side.own for key in word.ids) for side in (one, other)]
    if len(stems[0] & stems[1]) < 2:
        return False
    less, more = sorted((held(one, other), held(other, one)))
    if less + more < 2 * ALIKE and more < WHOLE:
        return False
    # "The training lasts three hours" is alike any sentence on any training: it must itself say what is asked.
    if min(len(one.own), len(other.own)) < 3:
        return less >= ANSWERED <= min(one.answering, other.answering)
    return in_common(one, other) >= 3


def _contradiction(
    one: Statement, other: Statement, answers: Callable[[Quantity], bool]
) -> tuple[Reason | None, float]:
    """What the two contradict each other in, and how alike they are otherwise.

    Only values count that ``answers`` takes for an answer.
    """
    less, more = sorted((held(one, other), held(other, one)))
    alike = (less + more) / 2 + shared_answer(one, other)
    if one.passage.chunk.document == other.passage.chunk.document and less < WITHIN:
        return None, alike
    if alike + FITTING < SAME or less < LEAST or in_common(one, other) < 1 or set_apart(one, other):
        return None, alike
    if topics(one, other) < TOPICS or not measures_meet(one, other):
        return None, alike
    if not _opposed(one, other) and rates_meet(one.said, other.said):
        for mine, theirs in rivals(one, other):
            fitting = FITTING if limits_alike(mine, theirs) else 0.0
            reason = difference(mine, theirs) if alike + fitting >= SAME else None
            if reason is None or not (answers(mine) and answers(theirs)) or differently(one, mine, other, theirs):
                continue
            if less < UNLIKE_UNITS and not _same_unit(mine, theirs) and reason is Reason.NUMBER:
                continue
            if not clauses_meet(one, mine, other, theirs):
                continue
            if not (_elsewhere(one, other, theirs) or _elsewhere(other, one, mine)):
                return reason, alike
    if less < SAME_BUT_DENIED and not (less >= 0.5 and more >= WHOLE):
        return None, alike
    if any(side.unit.anaphoric and not _IMPERSONAL.match(folded(side.unit.text)) for side in (one, other)):
        return None, alike
    if not differently(one, None, other, None) and not of_another(one, other, beside=True):
        return _denial(one, other), alike
    return None, alike


_TIME: Final = frozenset({Kind.DATE, Kind.DURATION})
_WANTED: Final[tuple[tuple[re.Pattern[str], Callable[[Quantity], bool]], ...]] = (
    (
        re.compile(
            r"^(?:a |par |de |avec |aupres de )?qui\b|^(?:by |to )?whom?\b|"
            r"\bquel numero\b|\bnumero de telephone\b|\b(?:which|what) (?:phone |telephone )?number\b"
        ),
        lambda value: False,
    ),
    (
        re.compile(r"jusqu'a quand|jusqu'a quelle date|\bdate\b|avant quand|\bdeadline\b|\bby when\b|\buntil when\b"),
        lambda value: (
            value.kind is Kind.DATE
            or (value.kind is Kind.DURATION and (value.bound is Bound.WITHIN or value.relation is not Relation.NONE))
        ),
    ),
    (
        re.compile(r"\bquelle heure\b|\bwhat time\b"),
        lambda value: value.kind is Kind.DURATION and value.unit == "minute",
    ),
    (
        re.compile(
            r"\bcombien (?:de (?:temps|jours|mois|semaines)|d'(?:heures|annees))|\bquel delai|\bhow (?:long|soon)\b"
        ),
        lambda value: value.kind in {*_TIME, Kind.NUMBER},
    ),
    (
        re.compile(r"\bcombien (?:ca )?cout|\bquel (?:prix|tarif|montant)|\bhow much\b"),
        lambda value: value.kind in {Kind.MONEY, Kind.PERCENT, Kind.NUMBER},
    ),
)


def _answers(question: str) -> Callable[[Quantity], bool]:
    """Which values can answer the question at all: a date and no amount for "until when"; any where that is open."""
    plain = folded(question)
    return next((able for asks, able in _WANTED if asks.search(plain)), lambda value: True)


def _elsewhere(one: Statement, other: Statement, value: Quantity) -> bool:
    """Whether another sentence of the one's passage gives the other's value: then the text provides for that case."""
    return any(
        unit.start != one.unit.start
        and any(equal(value, given) for given in unit.values)
        and _shared(content(unit.words), other.own) >= 0.5 * _shared(one.own, other.own)
        for unit in evidence(one.passage)
    )


def _same_unit(mine: Quantity, theirs: Quantity) -> bool:
    """Whether both count in one unit, or at least one leaves the kind of day open."""
    return mine.unit == theirs.unit or (
        mine.unit.partition(":")[0] == theirs.unit.partition(":")[0] and "day" in {mine.unit, theirs.unit}
    )


def _shared(words: Sequence[Word], others: Sequence[Word]) -> int:
    return sum(holds(word, others) for word in words)


def _opposed(one: Statement, other: Statement) -> bool:
    """Whether the two hold words from two ends of a scale: day and night, before and after."""
    return any(word.opposes(their) and not holds(word, other.own) for word in one.own for their in other.own)


_IMPERSONAL: Final = re.compile(r"il (?:est|n'est|faut|ne faut|convient)\b|it is\b")
_OF_ITSELF: Final = re.compile(
    r"\b(?:le present|la presente|cet?|cette|this|the present) (?:arrete|decision|reglement|circulaire|note|instruction"
    r"|charte|deliberation|texte|policy|order|regulation|notice|handbook|document)\b[^.;]*\b(?:entr\w+ en vigueur"
    r"|prend effet|s'applique|est applicable|(?:enters|comes) into force|takes effect|applies (?:from|as of))"
)
"""What a text says of itself: from when it holds."""
_FREELY: Final = re.compile(
    r"\b(?:sans condition|quel(?:le)?s? que (?:soit|soient)|without (?:any )?condition|regardless|whatever)\b"
)
_DUTY_OR_NOT: Final = ({Modality.OBLIGE}, {Modality.OPTIONAL, Modality.ADVISE, Modality.PERMIT})


def _denial(one: Statement, other: Statement) -> Reason | None:
    """Whether two sentences in nearly the same words answer yes and no, or with and without a condition."""
    for side, facing in ((one, other), (other, one)):
        if _freed(side, facing):
            return Reason.QUALIFIER
    mine, theirs = one.said, other.said
    if len(one.values) != len(other.values) or (not rates_meet(mine, theirs) and one.values):
        return None
    if "only" in mine.flags | theirs.flags or any(
        exception for *_, exception in (*mine.conditions, *theirs.conditions)
    ):
        return None
    if _denies(one, other) != _denies(other, one):
        modal = {Modality.FORBID, Modality.OPTIONAL} & (mine.modalities ^ theirs.modalities)
        return Reason.MODALITY if modal else Reason.NEGATION
    for duty, choice in (_DUTY_OR_NOT, _DUTY_OR_NOT[::-1]):
        if mine.modalities & duty and theirs.modalities & choice and not mine.modalities & theirs.modalities:
            return Reason.MODALITY
    if mine.frequencies and theirs.frequencies and not mine.frequencies & theirs.frequencies:
        return Reason.QUALIFIER
    return None


def _denies(one: Statement, other: Statement) -> bool:
    """Whether the one forbids, or denies a word that the other holds and does not deny."""
    if one.said.modalities & {Modality.FORBID, Modality.OPTIONAL}:
        return True
    spared = _denied(other)
    return any(holds(word, other.own) and not holds(word, spared) for word in _denied(one))


def _denied(side: Statement) -> list[Word]:
    """The word after each negation."""
    found = (next((word for word in side.own if word.start > place), None) for place in side.said.negations)
    return [word for word in found if word is not None]


def _freed(side: Statement, facing: Statement) -> bool:
    """Whether the one says that something does not matter which the other sets as a condition."""
    free = _FREELY.search(folded(side.unit.text))
    if free is None or _FREELY.search(folded(facing.unit.text)):
        return False
    word = next((word for word in side.own if word.start >= free.end()), None)
    return word is not None and holds(word, facing.own) and bool(facing.values or facing.said.conditions)
