"""Whether a question must be made clearer before it can be answered, and the choices that do it. Pure.

It must when its best sentences, in different articles, give different values on one point for different people, sites
or things, or at different times, the question names none of them, and no general rule answers it. An article or a
table that gives all the cases is shown instead: reading it is quicker than being asked. In doubt nothing is asked.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

from rag.differences import difference
from rag.points import (
    Statement,
    holds,
    item_met,
    meet,
    narrowed,
    places,
    places_met,
    rivals,
    statements,
    statuses,
)
from rag.quantities import Kind, folded
from rag.types import Choice, Passage
from rag.wording import Reading, Word, reading

ANSWERING: Final = 0.85
"""A sentence that holds less than this share of what the best sentence holds of the question decides nothing."""
CONCERNED: Final = 0.6
"""Share of the question's words that a sentence must hold for its case to be asked about."""
ALIKE: Final = 0.6
"""Share of each other's words, those of the case aside, that two sentences must hold to be about one point."""
MOST: Final = 6
"""Choices that a reader is given; more than that are no help."""


class About(StrEnum):
    """What a question leaves unsaid; a closed list."""

    STATUS = "status"
    SITE = "site"
    KIND = "kind"
    """Which of several things that share a name: which leave, which card."""
    DATE = "date"
    TEXT = "text"
    """Which text, for a number that articles of several texts have."""


@dataclass(frozen=True, slots=True)
class Clarification:
    """What to ask the reader, in the language of the question, and what may be chosen."""

    about: About
    text: str
    choices: tuple[Choice, ...]


_ASKED: Final = {
    About.STATUS: {
        "fr": "La réponse dépend de la situation de l'agent. De qui s'agit-il ?",
        "en": "The answer depends on who is concerned. Who is it?",
    },
    About.SITE: {
        "fr": "La réponse dépend du lieu. Lequel est concerné ?",
        "en": "The answer depends on the place. Which one is it?",
    },
    About.KIND: {
        "fr": "Plusieurs règles peuvent répondre à cette question. De quoi s'agit-il ?",
        "en": "Several rules may answer this question. Which one is it about?",
    },
    About.DATE: {
        "fr": "La règle a changé. À quelle date faut-il répondre ?",
        "en": "The rule has changed. Which day is the question about?",
    },
    About.TEXT: {
        "fr": "Plusieurs textes ont un article de ce numéro. Lequel faut-il lire ?",
        "en": "Several texts have an article with this number. Which one should be read?",
    },
}


def clarification(question: str, passages: Sequence[Passage], language: str = "fr") -> Clarification | None:
    """What to ask before answering ``question`` from ``passages``; ``None``, the usual case, when it can be answered.

    A choice is the question with what it left unsaid, so that asking it again answers it.
    """
    stated = statements(question, passages, language)
    best = max((one.concerned for one in stated), default=0.0)
    able = [one for one in stated if one.concerned >= max(CONCERNED, ANSWERING * best)]
    asked = reading(question, "en" if language == "en" else "fr")
    for about, case_of in _SIDES.items():
        names = _cases([(one, case_of(one, asked)) for one in able], about)
        if 2 <= len(names) <= MOST:
            return asking(about, question, names, language)
    return None


def asking(about: About, question: str, labels: Sequence[str], language: str = "fr") -> Clarification:
    """The sentence that asks which of ``labels`` is meant, and the question that each of them makes."""
    tongue = "en" if language == "en" else "fr"
    choices = tuple(Choice(label, _completed(about, question, label, tongue)) for label in labels)
    return Clarification(about, _ASKED[about][tongue], choices)


def _completed(about: About, question: str, label: str, language: str) -> str:
    """The question with what it left unsaid: in place of the word that named the kind, else after it."""
    if about is About.KIND:
        head = re.match(r"\w+", label)
        spoken = re.compile(rf"\b{re.escape(head[0])}\b", re.IGNORECASE) if head else None
        if spoken and spoken.search(question):
            return spoken.sub(label, question, count=1)
    stem = re.sub(r"\s*[?.!]*\s*$", "", question)
    mark = "?" if language == "en" else " ?"
    return f"{stem}, {label}{mark}" if about is About.DATE else f"{stem} ({label}){mark}"


# --- cases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """What a sentence is limited to: ``keys`` are compared, empty for a general rule; ``words`` say it in the sentence.

    ``spoken`` when the question names it, or another of its sort.
    """

    keys: frozenset[str] = frozenset()
    name: str = ""
    words: tuple[Word, ...] = ()
    spoken: bool = False


def _cases(told: Sequence[tuple[Statement, _Case]], about: About) -> list[str]:
    """The names of the cases for which sentences on one point give different values, in the order of the passages.

    None when the question names one, when a general rule is about the point too, or when one article gives several.
    """
    names: dict[frozenset[str], str] = {}
    for (one, here), (other, there) in combinations(told, 2):
        if here.spoken or there.spoken:
            return []
        if not here.keys or not there.keys or here.keys & there.keys or not _one_point(one, here, other, there, about):
            continue
        if not any(about is About.DATE or difference(mine, theirs) for mine, theirs in rivals(one, other)):
            continue
        if _article(one) == _article(other):
            return []
        if any(not case.keys and _one_point(side, case, one, here, about) and side.values for side, case in told):
            return []
        names |= {here.keys: here.name, there.keys: there.name}
    return list(dict.fromkeys(names.values()))


def _article(side: Statement) -> tuple[str, str, dt.date | None]:
    chunk = side.passage.chunk
    return chunk.document, chunk.reference, chunk.validity.start


def _one_point(one: Statement, here: _Case, other: Statement, there: _Case, about: About) -> bool:
    """Whether two sentences say the same but for the words of their cases and their values."""
    if one.unit.language != other.unit.language or not (item_met(one, other) and item_met(other, one)):
        return False
    if about is not About.STATUS and statuses(one.unit.words) != statuses(other.unit.words):
        return False
    if about is not About.SITE and not (places_met(one, other) and places_met(other, one)):
        return False
    if about is not About.DATE and not meet(one.passage.chunk.validity, other.passage.chunk.validity):
        return False
    return min(_share(one, here, other), _share(other, there, one)) >= ALIKE


def _share(one: Statement, case: _Case, other: Statement) -> float:
    """The share of what the one is about, its case and its names aside, that the other holds."""
    words = [word for word in one.own if word not in case.words and not word.statuses and not word.proper]
    return sum(holds(word, other.own) for word in words) / len(words) if words else 0.0


# --- what a question may leave unsaid -----------------------------------------------------------------------------


def _status(side: Statement, asked: Reading) -> _Case:
    """For whom the rule is: those whom the sentence names, else those whom its headings name."""
    for words, text in ((side.unit.words, side.unit.text), (side.unit.around.words, side.unit.around.text)):
        named = [word for word in words if word.statuses]
        if named:
            name = text[named[-1].start : named[-1].end].lower()
            return _Case(statuses(named), name, tuple(named), bool(statuses(asked.words)))
    return _Case(spoken=bool(statuses(asked.words)))


def _site(side: Statement, asked: Reading) -> _Case:
    """Where the rule holds: the names that follow a preposition of place."""
    text = side.unit.text
    named = places(side)
    spoken = any(word.like(other) for word in named for other in asked.words)
    name = text[named[0].start : named[-1].end] if named else ""
    return _Case(frozenset(folded(text[word.start : word.end]) for word in named), name, tuple(named), spoken)


def _kind(side: Statement, asked: Reading) -> _Case:
    """Which of several things of one name the rule is about, where the question says the name alone."""
    plain = asked.words
    for head, then in narrowed(side, beside=False):
        if not any(head.like(word) for word in plain) or statuses((then,)) or then.proper:
            continue
        spoken = any(then.like(word) for word in plain)
        name = side.unit.text[head.start : then.end].lower()
        return _Case(frozenset(then.ids), re.sub(r"^(?:les?|la|l'|the) ", "", name), (then,), spoken)
    return _Case()


def _day(side: Statement, asked: Reading) -> _Case:
    """From when the rule is in force."""
    start = side.passage.chunk.validity.start
    spoken = any(value.kind is Kind.DATE for value in asked.quantities)
    if start is None:
        return _Case(spoken=spoken)
    return _Case(frozenset({start.isoformat()}), said_day(start, side.unit.language), (), spoken)


_MONTHS: Final = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
    "en": "January February March April May June July August September October November December".split(),
}


def said_day(day: dt.date, language: str) -> str:
    """A day as :mod:`rag.timing` reads it again behind any question: ``à la date du 1er mars 2021``."""
    month = _MONTHS[language][day.month - 1]
    if language == "en":
        return f"as of {day.day} {month} {day.year}"
    return f"à la date du {day.day}{'er' if day.day == 1 else ''} {month} {day.year}"


_SIDES: Final[dict[About, Callable[[Statement, Reading], _Case]]] = {
    About.DATE: _day,
    About.STATUS: _status,
    About.SITE: _site,
    About.KIND: _kind,
}
