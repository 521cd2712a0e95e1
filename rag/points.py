"""Sentences that may answer a question, and whether two of them speak of one point. Pure.

Two sentences are about one point when they are told in the same words, or words that mean the same, for the same
people, place, item and condition. What differs then is their values.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import Final

from rag.differences import comparable, equal
from rag.evidence import SEGMENT, Unit, evidence
from rag.quantities import Bound, Kind, Quantity, folded
from rag.types import Passage, Validity
from rag.wording import Reading, Word, reading


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that may answer: what it says, and how much of the question it and its headings hold.

    ``own`` are the words that say what it is about, ``lent`` those of its headings and lead-in, ``item`` those that
    tell a list item or a row from its neighbours. ``answering`` is ``concerned`` without the headings, as far as the
    question says enough for that to mean anything.
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


def statements(question: str, passages: Sequence[Passage], language: str = "fr") -> list[Statement]:
    """Every sentence, item and row of the passages, preambles left out, with what it holds of the question."""
    asked = _asked(question, "en" if language == "en" else "fr")
    return [one for passage in passages if passage.chunk.reference not in _PREAMBLES for one in _of(passage, asked)]


def _of(passage: Passage, asked: Sequence[tuple[Word, float]]) -> Iterator[Statement]:
    total = sum(weight for _, weight in asked) or 1.0
    # All rules on leave hold the only word of "how many days of leave?".
    telling = len(asked) > 1
    units = evidence(passage)
    beside = content(word for unit in units for word in unit.words)
    for unit in units:
        start = _reason_ends(unit)
        own = content(word for word in unit.words if word.start >= start)
        lent = (
            *content(unit.around.words),
            *(content(unit.near) if unit.anaphoric or unit.lead else ()),
            *(word for value in unit.values for word in _measured(value.unit, unit.language)),
        )
        told = sum(weight for word, weight in asked if holds(word, own))
        near = sum(
            weight * (0.8 if holds(word, lent) else 0.5)
            for word, weight in asked
            if not holds(word, own) and (holds(word, lent) or holds(word, beside))
        )
        yield Statement(passage, unit, own, lent, _item(unit), (told + near) / total, told / total * telling)


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


_DETERMINERS: Final = frozenset(
    "le la l les un une des du de d au aux pour en sur par mon ma mes son sa ses notre nos votre vos quel quelle quels "
    "quelles sans avec a et ou the an of for my your what which in on and or".split()
)
"""What stands before a noun: the other words of a question say less of what it is about."""


@functools.cache
def _asking(name: str) -> frozenset[str]:
    lists = tomllib.loads((resources.files("rag") / "data" / "asking.toml").read_text(encoding="utf-8"))
    return frozenset(folded(word) for word in str(lists[name]).split())


_MEASURED: Final = {
    "celsius": {"fr": "température", "en": "temperature"}, "km/h": {"fr": "vitesse", "en": "speed"},
    "kg": {"fr": "poids", "en": "weight"}, "dB": {"fr": "bruit", "en": "noise"},
}  # fmt: skip
"""What a value in some units is of, said or not: 19 °C is a temperature."""


@functools.cache
def _measured(unit: str, language: str) -> tuple[Word, ...]:
    name = _MEASURED.get(unit, {}).get(language)
    return content(reading(name, language).words) if name else ()


_PREAMBLES: Final = frozenset({"Préambule", "Preamble"})
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


def content(words: Iterable[Word]) -> tuple[Word, ...]:
    """Words that say what a sentence is about: no modal verbs, and nobody who is just "the agent"."""
    kept = [word for word in words if word.ids and not word.modal and "0" not in word.roles]
    return tuple({word.ids: word for word in kept}.values())


def _item(unit: Unit) -> tuple[Word, ...]:
    """What tells a row or a list item from the others: its label, its words after the lead-in."""
    if unit.label is not None:
        return content(unit.label.words)
    if unit.lead is None:
        return ()
    opening = unit.text[: unit.lead[1] - unit.lead[0]]
    return content(word for word in unit.words if word.start >= len(opening) - 2)


def holds(word: Word, words: Iterable[Word]) -> bool:
    for other in words:  # noqa: SIM110 - most of the time of the contradictions is spent here, a generator costs more
        if word.like(other):
            return True
    return False


_MAY_IT_BE: Final = re.compile(
    r"(?:peu(?:t|vent)|doi(?:t|vent))(?:-t)?-(?:il|elle|ils|elles) etre (\w+)|^(?:can|may|must) .*?\bbe (\w+)"
)
_HOW: Final = re.compile(r"\b(?:combien|quand|comment|qui|ou|quel\w*|pourquoi|how|what|when|who|which|where|why)\b")


def asked_deed(question: str, language: str) -> Word | None:
    """Of "may leave be refused?", the refusing: two sentences of which none speaks of it do not answer that."""
    plain = folded(question)
    found = _MAY_IT_BE.search(plain)
    if found is None or _HOW.search(plain):
        return None
    place = found.start(1) if found[1] else found.start(2)
    words = reading(question, "en" if language == "en" else "fr").words
    return next((word for word in words if word.start <= place < word.end and word.ids and not word.modal), None)


def statuses(words: Iterable[Word]) -> frozenset[str]:
    return frozenset(status for word in words for status in word.statuses)


def meet(one: Validity, other: Validity) -> bool:
    """Whether the two are ever in force on the same day, as far as is known."""
    return (one.start is None or other.end is None or one.start < other.end) and (
        other.start is None or one.end is None or other.start < one.end
    )


# --- how alike ------------------------------------------------------------------------------------------------------


def shared_answer(one: Statement, other: Statement) -> float:
    """What it adds to how much each holds of the other that both hold the question: up to a quarter."""
    return 0.25 * min(one.answering, other.answering)


def held(one: Statement, other: Statement) -> float:
    """The share of what the one is about that the other holds; that both name one place says nothing of the point."""
    words = [word for word in one.own if not word.proper]
    if not words:
        return 0.0
    return sum(1.0 if holds(word, other.own) else 0.6 if holds(word, other.lent) else 0.0 for word in words) / len(
        words
    )


def topics(one: Statement, other: Statement) -> int:
    """The telling words that the two share, headings included; 0 where two sentences themselves share none.

    "The training lasts three hours" and "the training lasts two days" may speak of two trainings. Where headings and
    sentences share nothing else, nothing shows that they are one.
    """
    mine, theirs = topical(one), topical(other)
    # A row holds a label and a value; its headings say what they are of.
    if not (one.unit.row or other.unit.row or any(holds(word, theirs) for word in mine)):
        return 0
    theirs += _weighty(content(other.unit.around.words), other.unit.language)
    shared: list[Word] = []
    for word in (*mine, *_weighty(content(one.unit.around.words), one.unit.language)):
        if holds(word, theirs) and not holds(word, shared):
            shared.append(word)
    return len(shared)


def topical(side: Statement) -> list[Word]:
    """The words of a sentence that name what is ruled: neither names nor words like *receive* and *last*."""
    return _weighty((word for word in side.own if not word.proper), side.unit.language)


def _weighty(words: Iterable[Word], language: str) -> list[Word]:
    return [word for word in words if word.ids.isdisjoint(_light(language))]


_LIGHT: Final = {"fr": "recevoir durée délai relatif relative", "en": "receive duration period relating"}
"""Words that stand beside any subject: the beneficiary receives, a thing lasts, and a title is relative to it."""


@functools.cache
def _light(language: str) -> frozenset[str]:
    return frozenset(key for word in reading(_LIGHT[language], language).words for key in word.ids)


def in_common(one: Statement, other: Statement) -> int:
    """The words, names aside, that the two share: two rules about one workshop are not yet about one point."""
    return sum(not word.proper and holds(word, other.own) for word in one.own)


# --- people, places and items ---------------------------------------------------------------------------------------


def set_apart(one: Statement, other: Statement) -> bool:
    """Whether the two speak of different people, places or items, so that both may hold."""
    return (
        not populations_meet(one.unit, other.unit)
        or _for_outsiders(one.unit, other.unit)
        or _for_outsiders(other.unit, one.unit)
        or bool(one.said.actor and other.said.actor and not one.said.actor & other.said.actor)
        or of_another(one, other)
        or for_another(one, other)
        or not (places_met(one, other) and places_met(other, one))
        or not (item_met(one, other) and item_met(other, one))
    )


def populations_meet(one: Unit, other: Unit) -> bool:
    """Whether the two may be for the same people: those that a sentence names, or else those that its headings name."""
    here, there = statuses(one.words), statuses(other.words)
    if here and there:
        return here == there
    named, around = (here, statuses(other.around.words)) if here else (there, statuses(one.around.words))
    if named:
        return bool(named & around)
    return statuses(one.around.words) & statuses(other.around.words) != frozenset() or not (
        statuses(one.around.words) and statuses(other.around.words)
    )


_OUTSIDERS: Final = {"fr": "visiteur prestataire fournisseur", "en": "visitor contractor supplier"}
"""Those who come from elsewhere: what they must do is asked of nobody of the house."""


def _for_outsiders(one: Unit, other: Unit) -> bool:
    """Whether the one says what outsiders do, whom neither the other nor its headings name."""
    outside = one.said.actor & _outsiders(one.language)
    return bool(outside) and not any(word.roles & outside for word in (*other.words, *other.around.words))


@functools.cache
def _outsiders(language: str) -> frozenset[str]:
    return frozenset(role for word in reading(_OUTSIDERS[language], language).words for role in word.roles)


_TONGUES: Final = frozenset("english french german dutch polish spanish italian".split())
_PLACE: Final = re.compile(r"(?:\ba|\bau|\baux|\bde|\bdu|\bd'|\bsur|\bat|\bin|\bfrom) ?(?:la |le |l'|the )?$")


def places_met(one: Statement, other: Statement) -> bool:
    """Whether each place that the one names is named by the other or its headings."""
    return all(holds(word, (*other.own, *other.lent)) for word in places(one))


def places(side: Statement) -> list[Word]:
    """The names in a sentence that follow a preposition of place, or go on with such a name: ``à Port-Aubin``."""
    plain = folded(side.unit.text)
    found: list[Word] = []
    for word in side.unit.words:
        if not word.proper or word.name in _TONGUES:
            continue
        if _PLACE.search(plain[: word.start]) or (found and plain[found[-1].end : word.start] in {"-", " "}):
            found.append(word)
    return found


_OF: Final = re.compile(r" (?:de (?:la |l'|son |sa |ses |leur |leurs )?|d'(?:une? )?|du |des |of (?:the |an? )?)")


def of_another(one: Statement, other: Statement, *, beside: bool = False) -> bool:
    """Whether a word that both have goes on differently: the loss of a key and the loss of a badge.

    With ``beside`` any word, also without "of" between.
    """
    return any(
        head.like(their_head)
        and not holds(complement, (*other.unit.words, *other.lent))
        and not holds(their_complement, (*one.unit.words, *one.lent))
        for head, complement in narrowed(one, beside)
        for their_head, their_complement in narrowed(other, beside)
    )


def narrowed(side: Statement, beside: bool) -> list[tuple[Word, Word]]:
    """Each word that the next one narrows, with that next one; what a sentence is about also without "of"."""
    plain = folded(side.unit.text)
    subject = side.own[0].start if side.own else -1
    between = ((head, then, plain[head.end : then.start]) for head, then in pairwise(side.unit.words))
    return [
        (head, then)
        for head, then, gap in between
        if head.ids and then.ids and (_OF.fullmatch(gap) or (gap == " " and (beside or head.start == subject)))
    ]


_FOR: Final = re.compile(r"(?:\bpour|\bfor) (?:une? |les? |la |l'|des |tout |toute |chaque |an? |the |each |every )?$")


def for_another(one: Statement, other: Statement) -> bool:
    """Whether each says for whom or what it rules, and they name different ones."""
    mine, theirs = _beneficiaries(one.unit), _beneficiaries(other.unit)
    return bool(mine and theirs) and not any(word.like(their) for word in mine for their in theirs)


def _beneficiaries(unit: Unit) -> list[Word]:
    plain = folded(unit.text)
    return [word for word in unit.words if _FOR.search(plain[: word.start])]


def item_met(one: Statement, other: Statement) -> bool:
    """Whether the other is about the same row or item; figures in a row's label are compared as values."""
    if not one.item and one.unit.label is None:
        return True
    if one.unit.label is not None:
        for value in one.unit.label.values:
            if not any(equal(value, theirs) for theirs in other.unit.values):
                return False
    held = sum(holds(word, other.own) for word in one.item)
    return held >= 0.6 * len(one.item)


# --- conditions -----------------------------------------------------------------------------------------------------
_SPECIAL: Final = re.compile(
    r"\bpar (?:derogation|exception)|\ba titre (?:exceptionnel|derogatoire)|\bportee?s? (?:a|de)\b|"
    r"\bramenee?s? (?:a|de)\b|\breduite?s? a\b|\babaissee?s? a\b|\btoutefois\b|\bde meme\b|"
    r"\bby (?:way of )?(?:exception|derogation)|\bhowever\b|\b(?:increased|reduced|raised|lowered|extended) to\b"
)
_WHEN: Final = re.compile(
    r"\b(?:(?P<out>hors|en dehors d|outside|apart from)|lors d|pendant|durant|apres|avant|outre|during|"
    r"after|before)\b[^,.;:]*"
)
_Places = Sequence[tuple[int, int]]


def differently(one: Statement, mine: Quantity | None, other: Statement, theirs: Quantity | None) -> bool:
    """Whether what the two say, or the values that they give, hold under different conditions."""
    here, there = _bearing(one.unit, mine), _bearing(other.unit, theirs)
    return (
        _special(one.unit, here) != _special(other.unit, there)
        or not _conditions_met(one, here, other)
        or not _conditions_met(other, there, one)
    )


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


def _special(unit: Unit, places: _Places) -> bool:
    plain = folded(unit.text)
    return any(_SPECIAL.search(plain[start:end]) for start, end in places)


def _conditions_met(one: Statement, places: _Places, other: Statement) -> bool:
    """Whether each condition of the one is the other's too; of its exceptions, whether the other is not about one."""
    if one.unit.row:
        return True
    circumstances = (
        (found.start(), found.end(), found["out"] is not None) for found in _WHEN.finditer(folded(one.unit.text))
    )
    for start, end, exception in (*one.said.conditions, *circumstances):
        words = content(word for word in one.unit.words if start <= word.start < end)
        if not words or not any(low <= start < high for low, high in places):
            continue
        held = sum(holds(word, (*other.own, *other.lent)) for word in words) / len(words)
        if (held >= 0.5) is exception:
            return False
    return True


# --- values of one thing --------------------------------------------------------------------------------------------


def rivals(one: Statement, other: Statement) -> Iterator[tuple[Quantity, Quantity]]:
    """Values of one kind that are said of the same thing, and that only one of the two sentences gives."""
    mine = [value for value in one.values if not any(equal(value, theirs) for theirs in other.unit.values)]
    theirs = [value for value in other.values if not any(equal(value, my) for my in one.unit.values)]
    couples = [
        (_closeness(one, a, other, b), a, b)
        for a in mine
        for b in theirs
        if a.kind is b.kind and comparable(a, b) and _alike_placed(one.unit, a, other.unit, b)
    ]
    for closeness, a, b in couples:
        rest = [c for c, x, y in couples if (x is a) != (y is b)]
        if closeness > max(rest, default=-1.0) and _same_counted(one, a, other, b):
            yield a, b


def rates_meet(one: Reading, other: Reading) -> bool:
    """Whether values of the two may be compared: not one a month and the other a year."""
    return not (one.frequencies and other.frequencies) or bool(one.frequencies & other.frequencies)


def _counts(value: Quantity, unit: Unit) -> bool:
    """Whether a value is part of the rule: not of a reference or the label of a row."""
    if value.kind in {Kind.REFERENCE, Kind.ORDINAL} or (value.kind is Kind.DATE and len(value.value) == 4):
        return False
    if value.kind is Kind.DATE and any(
        other.kind is Kind.REFERENCE and 0 <= value.start - other.end <= 4 for other in unit.values
    ):
        return False
    return not (unit.row and value.start < unit.text.find(" , "))


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


def _alike_placed(one: Unit, mine: Quantity, other: Unit, theirs: Quantity) -> bool:
    """Whether both values are what is ruled, or both a threshold: "an absence of less than a month"."""
    return _is_threshold(mine, one) == _is_threshold(theirs, other)


def _is_threshold(value: Quantity, unit: Unit) -> bool:
    return value.bound in {Bound.LESS_THAN, Bound.MORE_THAN} or _in_condition(value, unit)


def _in_condition(value: Quantity, unit: Unit) -> bool:
    return any(start <= value.start < end for start, end, _ in unit.said.conditions)


def _closeness(one: Statement, mine: Quantity, other: Statement, theirs: Quantity) -> float:
    """How much the clauses in which two values stand share, and whether both limit in the same way."""
    here, there = _clause(one.unit, mine), _clause(other.unit, theirs)
    shared = sum(holds(word, there) for word in here) + sum(holds(word, here) for word in there)
    return shared / max(1, len(here) + len(there)) + 0.5 * (mine.relation is theirs.relation)


def clauses_meet(one: Statement, mine: Quantity, other: Statement, theirs: Quantity) -> bool:
    """Whether the clause of each value holds a telling word of the other sentence, and so is about the same thing.

    "Leave is granted on proof given within a fortnight": the fortnight is of the proof, not of the leave.
    """
    return _clause_met(one, mine, other) and _clause_met(other, theirs, one)


def _clause_met(one: Statement, value: Quantity, other: Statement) -> bool:
    if one.unit.row or len(one.unit.segments) < 2:
        return True
    here = {word.ids for word in _clause(one.unit, value)}
    return any(word.ids in here and holds(word, other.own) for word in topical(one))


def measures_meet(one: Statement, other: Statement) -> bool:
    """Whether not each of the two is on a measure of its own: how long an absence is, how much may be carried over."""
    return not (_own_measures(one, other) and _own_measures(other, one))


def _own_measures(one: Statement, other: Statement) -> frozenset[int]:
    """The measures that the sentence names and that neither the other nor its headings name."""
    return _measures(one.own, one.unit.language) - _measures((*other.own, *other.lent), other.unit.language)


def _measures(words: Iterable[Word], language: str) -> frozenset[int]:
    known = _known_measures(language)
    return frozenset(known[key] for word in words for key in word.ids if key in known)


@functools.cache
def _known_measures(language: str) -> Mapping[str, int]:
    """Stems of ``measures.toml`` to the number of their line."""
    lists = tomllib.loads((resources.files("rag") / "data" / "measures.toml").read_text(encoding="utf-8"))
    return {
        key: number
        for number, line in enumerate(lists[language])
        for word in reading(line, language).words
        for key in word.ids
        if key.startswith("=")
    }


def _clause(unit: Unit, value: Quantity) -> tuple[Word, ...]:
    for segment in unit.segments:
        if any(equal(value, one) for one in segment.values):
            return content(segment.words)
    return content(unit.words)


def _same_counted(one: Statement, mine: Quantity, other: Statement, theirs: Quantity) -> bool:
    """Whether two bare numbers count the same thing; other values carry what they measure."""
    if mine.kind is not Kind.NUMBER:
        return True
    here, there = _counted(one.unit, mine), _counted(other.unit, theirs)
    return here is not None and there is not None and here.like(there)


def _counted(unit: Unit, value: Quantity) -> Word | None:
    return next((word for word in unit.words if 0 <= word.start - value.end <= 12), None)
