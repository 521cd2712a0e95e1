"""The noun phrases of a question, each with its preposition and determiner, in French and English; pure.

A light chunker by word lists, no grammar: a phrase runs from its preposition or determiner to the next verb,
preposition, pronoun or mark. It is made for questions of a line, where that is nearly always right.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from rag.quantities import folded

_TOKEN: Final = re.compile(r"(?:jusqu|lorsqu|puisqu|[ldjnmtsc]|qu)'|\d[\d ]*\d|\w+(?:[-']\w+)*|[^\w\s]")
_ACRONYM: Final = re.compile(r"[A-Z][A-Z0-9]{1,5}")
_PREPOSITIONS: Final = frozenset(
    "de d' du des a au aux pour par sur dans en avec sans chez sous entre depuis pendant avant apres vers des contre "
    "selon lors au-dela of for in on at with without by from to during before after under per about as into since "
    "until".split()
)
_OF: Final = frozenset({"de", "d'", "du", "des", "of"})
_CONTRACTED: Final = {"du": "le", "des": "les", "au": "le", "aux": "les"}
_DETERMINERS: Final = frozenset(
    "le la les l' un une du des au aux ce cet cette ces mon ma mes son sa ses ton ta tes notre nos votre vos leur "
    "leurs chaque quelque quelques the a an my your his her its our their this that these those each every any".split()
)
_CLEAR: Final = frozenset("un une du au ce cet cette ces mon ma mes son sa ses votre notre my your this the".split())
"""Determiners that nothing but a noun follows; "la" and "les" may be pronouns."""
_ENGLISH: Final = re.compile(r"\b(?:the|what|how|is|are|can|do|does|who|when|for|of|and|if|i|my)\b")
_FRENCH: Final = re.compile(r"\b(?:le|la|les|du|des|un|une|pour|quel|quelle|combien|et|de|est|sont|que|qui|je)\b|'")
_INFINITIVE: Final = re.compile(r"\w{2,}(?:er|ir|oir|re)")


@dataclass(frozen=True, slots=True)
class Phrase:
    """One simple phrase at ``[start, end)`` of its text; ``noun`` begins at ``at``.

    ``preposition`` and ``determiner`` are folded and empty where there is none; a contraction is both (``du``:
    ``du`` and ``le``). ``words`` are the folded words of the noun, ``head`` the one
    that says what it is: the first in French, the last in English.
    """

    start: int
    at: int
    end: int
    preposition: str
    determiner: str
    words: tuple[str, ...]
    head: str

    @property
    def of(self) -> bool:
        """Whether it completes the phrase before it ("de télétravail")."""
        return self.preposition in _OF

    @property
    def definite(self) -> bool | None:
        """Whether its determiner is definite; ``None`` where it has none."""
        return None if not self.determiner else self.determiner not in {"un", "une", "a", "an"}


@functools.cache
def words() -> Any:
    """The lists of ``data/follow_ups.toml``, by name."""
    text = (resources.files("rag") / "data" / "follow_ups.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def listed(name: str) -> frozenset[str]:
    """The words of one list of ``data/follow_ups.toml``."""
    return frozenset(str(words()[name]).split())


@functools.lru_cache(maxsize=256)
def phrases(text: str) -> tuple[Phrase, ...]:
    """The simple noun phrases of ``text`` in order; ``le montant de l'indemnité`` is two."""
    tokens = [
        # An acronym is a noun whatever it spells: the CET is no "cet".
        (
            match.start(),
            match.end(),
            text[match.start() : match.end()] if _ACRONYM.fullmatch(text, *match.span()) else match[0],
        )
        for match in _TOKEN.finditer(folded(text))
    ]
    last = is_english(text)
    found: list[Phrase] = []
    place = 0
    while place < len(tokens):
        after, phrase = _phrase(tokens, place, -1 if last else 0)
        if phrase is not None:
            found.append(phrase)
        place = after
    return tuple(found)


def is_english(text: str) -> bool:
    """Whether a line of question is in English rather than French."""
    plain = folded(text)
    return _ENGLISH.search(plain) is not None and _FRENCH.search(plain) is None


def _phrase(tokens: Sequence[tuple[int, int, str]], place: int, head: int) -> tuple[int, Phrase | None]:
    """The phrase that opens at ``place`` and where it ends; ``None`` and the next place where none does."""
    first = place
    preposition = determiner = ""
    if tokens[place][2] in _PREPOSITIONS and not (tokens[place][2] == "a" and _is_article_or_verb(tokens, place)):
        preposition = tokens[place][2]
        determiner = _CONTRACTED.get(preposition, "")
        if preposition == "des" and (not place or not _nominal(tokens[place - 1][2])):
            preposition = ""  # "des frais": a determiner, but after a noun "de" + "les"
        place += 1
    if place < len(tokens) and not determiner and tokens[place][2] in _DETERMINERS:
        determiner = tokens[place][2]
        place += 1
    begin = place
    if place < len(tokens) and determiner in _CLEAR and tokens[place][2][0].isalnum():
        place += 1  # "une demande" is no verb
    while place < len(tokens) and _nominal(tokens[place][2]):
        if place == begin and not determiner and _is_infinitive(tokens[place][2], preposition):
            break
        place += 1
    if place == begin:
        return max(place, first + 1), None
    nouns = tuple(token.lower() for _, _, token in tokens[begin:place])
    return place, Phrase(
        tokens[first][0], tokens[begin][0], tokens[place - 1][1], preposition, determiner, nouns, nouns[head]
    )


def _is_article_or_verb(tokens: Sequence[tuple[int, int, str]], place: int) -> bool:
    """Whether an "a" is the English article or French "has": no French preposition has such company."""
    if place and tokens[place - 1][2] in {"y", "il", "elle", "on", "qui", "n'", "l'"}:
        return True
    beside = {token for _, _, token in tokens}
    return bool(beside & {"the", "what", "how", "is", "can", "do", "does", "who", "for", "about", "of", "and", "get"})


def _nominal(token: str) -> bool:
    return (
        token[0].isalnum()
        and not token.endswith("'")
        and token not in _PREPOSITIONS
        and token not in _DETERMINERS
        and token not in listed("stops")
        and not re.search(r"-(?:t-)?(?:il|elle|ils|elles|on|je|tu|nous|vous|ce)$", token)
    )


def _is_infinitive(token: str, preposition: str) -> bool:
    """Whether a word after a preposition, or by itself, is what somebody does and no noun."""
    if token in listed("light_verbs"):
        return True
    if token in listed("nouns") | listed("measures") or not _INFINITIVE.fullmatch(token):
        return False
    return preposition in {"", "pour", "a", "de", "d'", "sans", "par"}
