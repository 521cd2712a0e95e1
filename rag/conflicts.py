"""Where two passages say opposite things on the point of a question: two values, or a yes and a no. Pure.

Two sentences contradict each other when they speak of the same point (the same words, or words that mean the same,
for the same people, place and condition) and give it different values of one kind, or one denies what the other says.
It fails towards silence: whatever may tell the two points apart (an exception, a population, a step, another bound)
keeps them from being shown as a contradiction.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import combinations, islice, pairwise
from typing import Final

from rag.evidence import SEGMENT, Unit, evidence
from rag.quantities import Bound, Kind, Quantity, Relation, folded
from rag.types import Conflict, Passage, Reason, Span, Validity
from rag.wording import Modality, Reading, Word, reading

CONCERNED: Final = 0.55
"""Share of the question's words that one of the two sentences must hold, headings included."""
RELATED: Final = 0.4
"""The share of that which the other must hold: it is about the question by saying the same as the first."""
SAME: Final = 0.53
"""How surely two sentences with different values speak of one point (:func:`_likeness`)."""
FITTING: Final = 0.08
"""What it adds that both values limit in the same way: two deadlines, two ceilings."""
SAME_BUT_DENIED: Final = 0.7
"""How alike they must be when one only denies or forbids what the other says: there is no value to go by."""
NEAR_BEST: Final = 0.65
"""A sentence that holds less than this share of what the best sentence holds of the question does not answer it."""
WITHIN: Final = 0.25
"""How much more surely two articles of one document must speak of one point: a text seldom contradicts itself."""
PROBES: Final = 3
"""Sentences with which texts that contradict them are looked for."""
ALIKE: Final = 0.65
"""The share of each other's words that two sentences hold when one of them says little of the question."""
WHOLE: Final = 0.95
"""The share of its words above which a short sentence counts as held by a longer one."""
MOST: Final = 3
"""Contradictions that are told of one question."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """A sentence that may answer: what it says, and how much of the question it and its headings hold.

    ``own`` are the words that say what it is about, ``lent`` those of its headings and lead-in, ``item`` those that
    tell a list item or a row from its neighbours. ``answering`` is ``concerned`` without the headings.
    """

    passage: Passage
    unit: Unit
    own: tuple[Word, ...]
    lent: tuple[Word, ...]
    item: tuple[Word, ...]
    concerned: float
    answering: float

    @property
    def said(self) -> Reading:
        return self.unit.said

    @property
    def values(self) -> tuple[Quantity, ...]:
        return tuple(_bounded(value, self.unit) for value in self.unit.values if _counts(value, self.unit))


def conflicts(question: str, passages: Sequence[Passage], language: str = "fr") -> tuple[Conflict, ...]:
    """The contradictions among ``passages`` on what ``question`` asks, clearest first; none is the usual case.

    The first place of each is in the higher norm (:func:`precedence`). Passages whose periods of validity do not
    meet never contradict each other, and neither do texts in two languages. One pair of documents is told once.
    """
    found: dict[tuple[str, str], tuple[float, Conflict]] = {}
    for one, other in _pairs(question, passages, language):
        reason, likeness = _contradiction(one, other)
        if reason is None:
            continue
        first, second = sorted((one, other), key=lambda side: precedence(side.passage))
        conflict = Conflict(_span(first), _span(second), reason)
        score = likeness + one.concerned + other.concerned
        names = sorted((one.passage.chunk.document, other.passage.chunk.document))
        key = (names[0], names[1])
        if key not in found or score > found[key][0]:
            found[key] = (score, conflict)
    return tuple(conflict for _, conflict in sorted(found.values(), key=lambda told: -told[0])[:MOST])


def probes(question: str, passages: Sequence[Passage], language: str = "fr") -> tuple[str, ...]:
    """What to search for, after the question, to find texts that contradict the likeliest answers: those sentences.

    A text that contradicts the answer says nearly the same as the answer, and need not say it in the words of the
    question. Hits of these searches are worth adding only where :func:`conflicts` then names them.
    """
    asked = _asked(question, "en" if language == "en" else "fr")
    stated = [one for passage in passages for one in _statements(passage, asked) if one.concerned >= CONCERNED]
    telling = [one for one in stated if one.values or one.said.negative or one.said.modalities]
    top = max((one.passage.score for one in telling), default=0.0) or 1.0
    best = sorted(telling, key=lambda one: (-one.concerned - 0.3 * one.passage.score / top, precedence(one.passage)))
    texts = (f"{one.unit.text} {_last(one.passage)}".strip() for one in best)
    return tuple(islice(dict.fromkeys(texts), PROBES))


def _last(passage: Passage) -> str:
    """The nearest heading: it often holds the subject that the sentence leaves out."""
    return passage.chunk.path[-1] if passage.chunk.path else passage.chunk.title


def precedence(passage: Passage) -> tuple[int, int, int]:
    """Sorts passages by authority: the higher norm first, then the newer one, then as they are numbered."""
    rank, start = passage.chunk.norm_rank, passage.chunk.validity.start
    return -(rank.height if rank else 0), -(start.toordinal() if start else 0), passage.n


def _span(side: _Statement) -> Span:
    return Span(side.passage.n, side.unit.start, side.unit.end)


# --- what may answer ------------------------------------------------------------------------------------------


def _pairs(question: str, passages: Sequence[Passage], language: str) -> Iterator[tuple[_Statement, _Statement]]:
    """Two statements of different articles, in force on a common day, that may both answer the question."""
    asked = _asked(question, "en" if language == "en" else "fr")
    stated = [statement for passage in passages for statement in _statements(passage, asked)]
    best = max((one.concerned for one in stated), default=0.0)
    enough = max(CONCERNED, NEAR_BEST * best)
    for one, other in combinations((one for one in stated if one.concerned >= RELATED * best > 0), 2):
        if max(one.concerned, other.concerned) < min(enough, 0.75 * best):
            continue
        if min(one.concerned, other.concerned) < enough and not _much_alike(one, other):
            continue
        mine, theirs = one.passage.chunk, other.passage.chunk
        if (mine.document, mine.reference) == (theirs.document, theirs.reference):
            continue
        if one.unit.language == other.unit.language and _meet(mine.validity, theirs.validity):
            yield one, other


def _much_alike(one: _Statement, other: _Statement) -> bool:
    """Whether each holds most of the other, or one holds all of the other; most pairs share no stem at all."""
    stems = [frozenset(key for word in side.own for key in word.ids) for side in (one, other)]
    if len(stems[0] & stems[1]) < 2:
        return False
    less, more = sorted((_held(one, other), _held(other, one)))
    enough = min(3, len(one.own), len(other.own))
    return (less >= ALIKE or more >= WHOLE) and _in_common(one, other) >= enough


def _meet(one: Validity, other: Validity) -> bool:
    """Whether the two are ever in force on the same day, as far as is known."""
    return (one.start is None or other.end is None or one.start < other.end) and (
        other.start is None or one.end is None or other.start < one.end
    )


_DETERMINERS: Final = frozenset(
    "le la l les un une des du de d au aux pour en sur par mon ma mes son sa ses notre nos votre vos quel quelle quels "
    "quelles sans avec a et ou the an of for my your what which in on and or".split()
)
"""What stands before a noun: the other words of a question say less of what it is about."""


@functools.cache
def _asking(name: str) -> frozenset[str]:
    lists = tomllib.loads((resources.files("rag") / "data" / "asking.toml").read_text(encoding="utf-8"))
    return frozenset(folded(word) for word in str(lists[name]).split())


@functools.lru_cache(maxsize=64)
def _asked(question: str, language: str) -> tuple[tuple[Word, float], ...]:
    """The words of the question that say what it is about, and how much each of them does."""
    kept: dict[frozenset[str], tuple[Word, float]] = {}
    for word in reading(question, language).words:
        text = folded(question[word.start : word.end])
        if not word.ids or len(text) < 2 or (text in _asking(language) and word.name is None and not word.statuses):
            continue
        weight = 0.3 if text in _asking(f"{language}_light") else 1.0
        before = re.findall(r"[^\W_]+", folded(question[: word.start]))[-1:]
        if before and before[0] not in _DETERMINERS and word.name is None:
            weight *= 0.5
        kept.setdefault(word.ids, (word, weight))
    return tuple(kept.values())


_PREAMBLES: Final = frozenset({"Préambule", "Preamble"})


def _statements(passage: Passage, asked: Sequence[tuple[Word, float]]) -> Iterator[_Statement]:
    total = sum(weight for _, weight in asked)
    units = evidence(passage)
    if passage.chunk.reference in _PREAMBLES:
        return
    beside = _content(word for unit in units for word in unit.words)
    for unit in units:
        start = _reason_ends(unit)
        own = _content(word for word in unit.words if word.start >= start)
        lent = (*_content(unit.around.words), *(_content(unit.near) if unit.anaphoric or unit.lead else ()))
        told = sum(weight for word, weight in asked if _in(word, own))
        held = told + sum(
            weight * (0.8 if _in(word, lent) else 0.5)
            for word, weight in asked
            if not _in(word, own) and (_in(word, lent) or _in(word, beside))
        )
        yield _Statement(passage, unit, own, lent, _item(unit), held / (total or 1.0), told / (total or 1.0))


_BECAUSE: Final = re.compile(
    r"^(?:pour \w+(?:er|ir|re)\b|afin d|a la suite|suite|compte tenu|en raison|dans le (?:cadre|but|souci)|depuis|"
    r"in order|to |following|because|due to|since)\b[^,.;:]*,\s"
)


def _reason_ends(unit: Unit) -> int:
    """Where a sentence goes on after saying why ("in view of the spring workload, …"), a row after its first head."""
    if unit.row:
        return unit.text.find(" : ") + 1
    front = _BECAUSE.match(folded(unit.text))
    return front.end() if front else 0


def _content(words: Iterable[Word]) -> tuple[Word, ...]:
    """Words that say what a sentence is about: no modal verbs, and nobody who is just "the agent"."""
    kept = [word for word in words if word.ids and not word.modal and "0" not in word.roles]
    return tuple({word.ids: word for word in kept}.values())


def _item(unit: Unit) -> tuple[Word, ...]:
    """What tells a row or a list item from the others: its label, its words after the lead-in."""
    if unit.label is not None:
        return _content(unit.label.words)
    if unit.lead is None:
        return ()
    opening = unit.text[: unit.lead[1] - unit.lead[0]]
    return _content(word for word in unit.words if word.start >= len(opening) - 2)


def _in(word: Word, words: Iterable[Word]) -> bool:
    return any(word.like(other) for other in words)


# --- the same point -------------------------------------------------------------------------------------------


def _likeness(one: _Statement, other: _Statement) -> float:
    """How much of what each is about the other holds, and up to a quarter for what both hold of the question."""
    alike = (_held(one, other) + _held(other, one)) / 2
    return alike + 0.25 * min(one.answering, other.answering)


def _held(one: _Statement, other: _Statement) -> float:
    """The share of what the one is about that the other holds; that both name one place says nothing of the point."""
    words = [word for word in one.own if not _is_name(word, one.unit)]
    if not words:
        return 0.0
    return sum(1.0 if _in(word, other.own) else 0.6 if _in(word, other.lent) else 0.0 for word in words) / len(words)


def _is_name(word: Word, unit: Unit) -> bool:
    """Whether a word is the name of a place or a thing; not an acronym, which names what a rule is about."""
    written = unit.text[word.start : word.end]
    hyphened = word.start > 0 and unit.text[word.start - 1] == "-" and written[0].isupper()
    return (word.name is not None or hyphened) and not word.roles and not written.isupper()


_SPECIAL: Final = re.compile(
    r"\bpar (?:derogation|exception)|\ba titre (?:exceptionnel|derogatoire)|\bportee?s? (?:a|de)\b|"
    r"\bramenee?s? (?:a|de)\b|\breduite?s? a\b|\babaissee?s? a\b|\btoutefois\b|\bde meme\b|"
    r"\bby (?:way of )?(?:exception|derogation)|\bhowever\b|\b(?:increased|reduced|raised|lowered|extended) to\b"
)
_WHEN: Final = re.compile(
    r"\b(?:(?P<out>hors|en dehors d|outside|apart from)|lors d|pendant|durant|apres|avant|outre|during|"
    r"after|before)\b[^,.;:]*"
)
_TONGUES: Final = frozenset("english french german dutch polish spanish italian".split())
_PLACE: Final = re.compile(r"(?:\ba|\bau|\baux|\bde|\bdu|\bd'|\bsur|\bat|\bin|\bfrom) ?(?:la |le |l'|the )?$")


def _set_apart(one: _Statement, other: _Statement) -> bool:
    """Whether the two speak of different people, places or items, so that both may hold."""
    return (
        not _populations_meet(one.unit, other.unit)
        or bool(one.said.actor and other.said.actor and not one.said.actor & other.said.actor)
        or _of_another(one, other)
        or _for_another(one, other)
        or not (_places_met(one, other) and _places_met(other, one))
        or not (_item_met(one, other) and _item_met(other, one))
    )


def _differently(one: _Statement, mine: Quantity | None, other: _Statement, theirs: Quantity | None) -> bool:
    """Whether what the two say, or the values that they give, hold under different conditions."""
    here, there = _bearing(one.unit, mine), _bearing(other.unit, theirs)
    return (
        _special(one.unit, here) != _special(other.unit, there)
        or not _conditions_met(one, here, other)
        or not _conditions_met(other, there, one)
    )


_Places = Sequence[tuple[int, int]]


def _bearing(unit: Unit, value: Quantity | None) -> _Places:
    """The clauses that bear on a value: all but those that give another value of its kind."""
    if value is None:
        return ((0, len(unit.text)),)
    cuts = [0, *(match.end() for match in SEGMENT.finditer(unit.text)), len(unit.text)]
    rivals = [other.start for other in unit.values if other.kind is value.kind and other.start != value.start]
    return [
        (start, end)
        for start, end in pairwise(cuts)
        if start <= value.start < end or not any(start <= place < end for place in rivals)
    ]


def _populations_meet(one: Unit, other: Unit) -> bool:
    """Whether the two may be for the same people: those that a sentence names, or else those that its headings name."""
    here, there = _statuses(one.words), _statuses(other.words)
    if here and there:
        return here == there
    named, around = (here, _statuses(other.around.words)) if here else (there, _statuses(one.around.words))
    if named:
        return bool(named & around)
    return _statuses(one.around.words) & _statuses(other.around.words) != frozenset() or not (
        _statuses(one.around.words) and _statuses(other.around.words)
    )


def _statuses(words: Iterable[Word]) -> frozenset[str]:
    return frozenset(status for word in words for status in word.statuses)


def _special(unit: Unit, places: _Places) -> bool:
    plain = folded(unit.text)
    return any(_SPECIAL.search(plain[start:end]) for start, end in places)


def _conditions_met(one: _Statement, places: _Places, other: _Statement) -> bool:
    """Whether each condition of the one is the other's too; of its exceptions, whether the other is not about one."""
    if one.unit.row:
        return True
    circumstances = (
        (found.start(), found.end(), found["out"] is not None) for found in _WHEN.finditer(folded(one.unit.text))
    )
    for start, end, exception in (*one.said.conditions, *circumstances):
        words = _content(word for word in one.unit.words if start <= word.start < end)
        if not words or not any(low <= start < high for low, high in places):
            continue
        held = sum(_in(word, (*other.own, *other.lent)) for word in words) / len(words)
        if (held >= 0.5) is exception:
            return False
    return True


def _places_met(one: _Statement, other: _Statement) -> bool:
    """Whether each place that the one names is named by the other or its headings."""
    for word in one.unit.words:
        if not _is_name(word, one.unit):
            continue
        if word.name in _TONGUES:
            continue
        if _PLACE.search(folded(one.unit.text[: word.start])) and not _in(word, (*other.own, *other.lent)):
            return False
    return True


_OF: Final = re.compile(r" (?:de (?:la |l'|son |sa |ses |leur |leurs )?|d'(?:une? )?|du |des |of (?:the |an? )?)")


def _of_another(one: _Statement, other: _Statement, *, beside: bool = False) -> bool:
    """Whether a word that both have goes on differently: the loss of a key and the loss of a badge.

    With ``beside`` any word, also without "of" between.
    """
    return any(
        head.like(their_head)
        and not _in(complement, (*other.unit.words, *other.lent))
        and not _in(their_complement, (*one.unit.words, *one.lent))
        for head, complement in _narrowed(one, beside)
        for their_head, their_complement in _narrowed(other, beside)
    )


_FOR: Final = re.compile(r"(?:\bpour|\bfor) (?:une? |les? |la |l'|des |tout |toute |chaque |an? |the |each |every )?$")


def _for_another(one: _Statement, other: _Statement) -> bool:
    """Whether each says for whom or what it rules, and they name different ones."""
    mine, theirs = _beneficiaries(one.unit), _beneficiaries(other.unit)
    return bool(mine and theirs) and not any(word.like(their) for word in mine for their in theirs)


def _beneficiaries(unit: Unit) -> list[Word]:
    plain = folded(unit.text)
    return [word for word in unit.words if _FOR.search(plain[: word.start])]


def _narrowed(side: _Statement, beside: bool) -> list[tuple[Word, Word]]:
    """Each word that the next one narrows, with that next one; what a sentence is about also without "of"."""
    plain = folded(side.unit.text)
    subject = side.own[0].start if side.own else -1
    between = ((head, then, plain[head.end : then.start]) for head, then in pairwise(side.unit.words))
    return [
        (head, then)
        for head, then, gap in between
        if head.ids and then.ids and (_OF.fullmatch(gap) or (gap == " " and (beside or head.start == subject)))
    ]


def _item_met(one: _Statement, other: _Statement) -> bool:
    """Whether the other is about the same row or item; figures in a row's label are compared as values."""
    if not one.item and one.unit.label is None:
        return True
    if one.unit.label is not None:
        for value in one.unit.label.values:
            if not any(_equal(value, theirs) for theirs in other.unit.values):
                return False
    held = sum(_in(word, other.own) for word in one.item)
    return held >= 0.6 * len(one.item)


# --- different values -----------------------------------------------------------------------------------------

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


def _counts(value: Quantity, unit: Unit) -> bool:
    """Whether a value is part of the rule: not of a reference or the label of a row."""
    if value.kind in {Kind.REFERENCE, Kind.ORDINAL} or (value.kind is Kind.DATE and len(value.value) == 4):
        return False
    if value.kind is Kind.DATE and any(
        other.kind is Kind.REFERENCE and 0 <= value.start - other.end <= 4 for other in unit.values
    ):
        return False
    return not (unit.row and value.start < unit.text.find(" , "))


def _alike_placed(one: Unit, mine: Quantity, other: Unit, theirs: Quantity) -> bool:
    """Whether both values are what is ruled, or both the threshold of a condition."""
    if _in_condition(mine, one) == _in_condition(theirs, other):
        return True
    return {mine.bound, theirs.bound} <= {Bound.LESS_THAN, Bound.MORE_THAN}


def _in_condition(value: Quantity, unit: Unit) -> bool:
    return any(start <= value.start < end for start, end, _ in unit.said.conditions)


_LARGEST: Final = re.compile(r"\b(?:plafond|maxim\w+|maximum|limite|ceiling|limit|cap)\b")
_SMALLEST: Final = re.compile(r"\b(?:minim\w+|plancher|seuil|floor)\b")


def _bounded(value: Quantity, unit: Unit) -> Quantity:
    """A value in a table limits as the head of its column says."""
    if not unit.row or value.bound is not Bound.EXACT:
        return value
    cell = folded(unit.text[unit.text.rfind(" , ", 0, value.start) + 3 : value.start])
    if _LARGEST.search(cell):
        return replace(value, bound=Bound.AT_MOST)
    return replace(value, bound=Bound.AT_LEAST) if _SMALLEST.search(cell) else value


def _contradiction(one: _Statement, other: _Statement) -> tuple[Reason | None, float]:
    """What the two contradict each other in, and how alike they are otherwise."""
    likeness = _likeness(one, other)
    if one.passage.chunk.document == other.passage.chunk.document:
        likeness -= WITHIN
    if likeness + FITTING < SAME or _in_common(one, other) < 1 or _set_apart(one, other):
        return None, likeness
    if not _opposed(one, other) and _rates_meet(one.said, other.said):
        for mine, theirs in _rivals(one, other):
            fitting = FITTING if _limits_alike(mine, theirs) else 0.0
            reason = _difference(mine, theirs) if likeness + fitting >= SAME else None
            if reason is None or _differently(one, mine, other, theirs):
                continue
            if not (_elsewhere(one, other, theirs) or _elsewhere(other, one, mine)):
                return reason, likeness
    shares = sorted((_held(one, other), _held(other, one)))
    if shares[0] < SAME_BUT_DENIED and not (shares[0] >= 0.5 and shares[1] >= WHOLE):
        return None, likeness
    if not _differently(one, None, other, None) and not _of_another(one, other, beside=True):
        return _denial(one, other), likeness
    return None, likeness


def _in_common(one: _Statement, other: _Statement) -> int:
    """The words, names aside, that the two share: two rules about one workshop are not yet about one point."""
    return sum(not _is_name(word, one.unit) and _in(word, other.own) for word in one.own)


def _rates_meet(one: Reading, other: Reading) -> bool:
    """Whether values of the two may be compared: not one a month and the other a year."""
    return not (one.frequencies and other.frequencies) or bool(one.frequencies & other.frequencies)


def _limits_alike(mine: Quantity, theirs: Quantity) -> bool:
    if mine.relation is theirs.relation and mine.relation is not Relation.NONE:
        return True
    return any({mine.bound, theirs.bound} <= side for side in (_UPPER, _LOWER))


def _elsewhere(one: _Statement, other: _Statement, value: Quantity) -> bool:
    """Whether another sentence of the one's passage gives the other's value: then the text provides for that case."""
    return any(
        unit.start != one.unit.start
        and any(_equal(value, given) for given in unit.values)
        and _shared(_content(unit.words), other.own) >= 0.5 * _shared(one.own, other.own)
        for unit in evidence(one.passage)
    )


def _shared(words: Sequence[Word], others: Sequence[Word]) -> int:
    return sum(_in(word, others) for word in words)


def _opposed(one: _Statement, other: _Statement) -> bool:
    """Whether the two hold words from two ends of a scale: day and night, before and after."""
    return any(word.opposes(their) and not _in(word, other.own) for word in one.own for their in other.own)


def _rivals(one: _Statement, other: _Statement) -> Iterator[tuple[Quantity, Quantity]]:
    """Values of one kind that are said of the same thing, and that only one of the two sentences gives."""
    mine = [value for value in one.values if not any(_equal(value, theirs) for theirs in other.unit.values)]
    theirs = [value for value in other.values if not any(_equal(value, my) for my in one.unit.values)]
    couples = [
        (_closeness(one, a, other, b), a, b)
        for a in mine
        for b in theirs
        if a.kind is b.kind and _comparable(a, b) and _alike_placed(one.unit, a, other.unit, b)
    ]
    for closeness, a, b in couples:
        rest = [c for c, x, y in couples if (x is a) != (y is b)]
        if closeness > max(rest, default=-1.0) and _same_counted(one, a, other, b):
            yield a, b


def _closeness(one: _Statement, mine: Quantity, other: _Statement, theirs: Quantity) -> float:
    """How much the clauses in which two values stand share, and whether both limit in the same way."""
    here, there = _clause(one.unit, mine), _clause(other.unit, theirs)
    shared = sum(_in(word, there) for word in here) + sum(_in(word, here) for word in there)
    return shared / max(1, len(here) + len(there)) + 0.5 * (mine.relation is theirs.relation)


def _clause(unit: Unit, value: Quantity) -> tuple[Word, ...]:
    for segment in unit.segments:
        if any(_equal(value, one) for one in segment.values):
            return _content(segment.words)
    return _content(unit.words)


def _same_counted(one: _Statement, mine: Quantity, other: _Statement, theirs: Quantity) -> bool:
    """Whether two bare numbers count the same thing; other values carry what they measure."""
    if mine.kind is not Kind.NUMBER:
        return True
    here, there = _counted(one.unit, mine), _counted(other.unit, theirs)
    return here is not None and there is not None and here.like(there)


def _counted(unit: Unit, value: Quantity) -> Word | None:
    return next((word for word in unit.words if 0 <= word.start - value.end <= 12), None)


def _comparable(one: Quantity, other: Quantity) -> bool:
    """Whether the two could be values of one thing: both a start, or both a limit on the same side."""
    if {one.relation, other.relation} & _EARLY and {one.relation, other.relation} & _LATE:
        return False
    if one.kind is Kind.DATE and len(one.value) != len(other.value) and "--" not in one.value + other.value:
        return False
    if one.kind in {Kind.MONEY, Kind.MEASURE} and _scaled(one, other) is None:
        return False
    return not (one.bound in _LOWER and other.bound in _UPPER) and not (one.bound in _UPPER and other.bound in _LOWER)


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


def _equal(one: Quantity, other: Quantity) -> bool:
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


def _difference(mine: Quantity, theirs: Quantity) -> Reason | None:
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


# --- a yes and a no -------------------------------------------------------------------------------------------

_FREELY: Final = re.compile(
    r"\b(?:sans condition|quel(?:le)?s? que (?:soit|soient)|without (?:any )?condition|regardless|whatever)\b"
)
_DUTY_OR_NOT: Final = ({Modality.OBLIGE}, {Modality.OPTIONAL, Modality.ADVISE, Modality.PERMIT})


def _denial(one: _Statement, other: _Statement) -> Reason | None:
    """Whether two sentences in nearly the same words answer yes and no, or with and without a condition."""
    for side, facing in ((one, other), (other, one)):
        if _freed(side, facing):
            return Reason.QUALIFIER
    mine, theirs = one.said, other.said
    if len(one.values) != len(other.values) or (not _rates_meet(mine, theirs) and one.values):
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


def _denies(one: _Statement, other: _Statement) -> bool:
    """Whether the one forbids, or denies a word that the other holds and does not deny."""
    if one.said.modalities & {Modality.FORBID, Modality.OPTIONAL}:
        return True
    spared = _denied(other)
    return any(_in(word, other.own) and not _in(word, spared) for word in _denied(one))


def _denied(side: _Statement) -> list[Word]:
    """The word after each negation."""
    found = (next((word for word in side.own if word.start > place), None) for place in side.said.negations)
    return [word for word in found if word is not None]


def _freed(side: _Statement, facing: _Statement) -> bool:
    """Whether the one says that something does not matter which the other sets as a condition."""
    free = _FREELY.search(folded(side.unit.text))
    if free is None or _FREELY.search(folded(facing.unit.text)):
        return False
    word = next((word for word in side.own if word.start >= free.end()), None)
    return word is not None and _in(word, facing.own) and bool(facing.values or facing.said.conditions)
