"""Which words a faithful writer may put for one another: kin, wider than the families that search goes by.

The word lists are ``rag/data/thesaurus.toml``. Words are compared by stem; kin is not chained from line to line.
Pure once the lists are read; French and English.
"""

from __future__ import annotations

import functools
import re
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeVar

import snowballstemmer

from rag.quantities import folded
from rag.wording import Reading, Word, reading

_TOKEN: Final = re.compile(r"[^\W_]+")
_SNOWBALL: Final = {"fr": "french", "en": "english"}
_STEMMERS = threading.local()
_Entry = TypeVar("_Entry")
_ENDINGS: Final = re.compile(
    r"(?:issement|ement|ation|ition|ution|ateur|atrice|ment|tion|sion|age|ure|ance|ence|ant|ent|eur|euse|if|ive|able|"
    r"ible|iste|ais|ait|ir|er|oir|re|ee|e|i|u|a|s|t)$"
)
_ROOT: Final = 4
"""Letters that a root must have left for two words to be one word in two shapes (``calcul-er``, ``calcul``)."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a text with what it is kin to; ``light`` says little, ``scales`` are places on scales of contraries."""

    word: Word
    kin: frozenset[int]
    light: bool
    scales: frozenset[tuple[int, int]]
    root: str

    def contradicts(self, other: Term) -> bool:
        """Whether the two stand at different places of one scale of contraries and share none."""
        if self.word.opposes(other.word):
            return True
        if not self.scales or not other.scales or self.scales & other.scales:
            return False
        return bool({scale for scale, _ in self.scales} & {scale for scale, _ in other.scales})


@dataclass(frozen=True, slots=True)
class _Thesaurus:
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], int], ...]]
    contraries: Mapping[str, tuple[tuple[tuple[str, ...], tuple[int, int]], ...]]
    light: frozenset[str]


@functools.lru_cache(maxsize=8192)
def terms(text: str, language: str) -> tuple[Term, ...]:
    """The words of ``text`` that mean something, as :func:`rag.wording.reading` has them, with their kin."""
    return of_reading(reading(text, language), language)


def of_reading(said: Reading, language: str) -> tuple[Term, ...]:
    """See :func:`terms`, for a text that has been read."""
    thesaurus = _thesaurus(language if language in _SNOWBALL else "fr")
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(said.text)]
    lowered = said.text.lower()
    keys = [_key(lowered[start:end], language) for start, end in tokens]
    kin: list[set[int]] = [set() for _ in tokens]
    scales: list[set[tuple[int, int]]] = [set() for _ in tokens]
    for position, key in enumerate(keys):
        for phrase, line in thesaurus.phrases.get(key, ()):
            if len(phrase) == 1 or tuple(keys[position : position + len(phrase)]) == phrase:
                for i in range(position, position + len(phrase)):
                    kin[i].add(line)
        for phrase, place in thesaurus.contraries.get(key, ()):
            if len(phrase) == 1 or tuple(keys[position : position + len(phrase)]) == phrase:
                for i in range(position, position + len(phrase)):
                    scales[i].add(place)
    found = []
    for word in said.words:
        inside = [i for i, (start, end) in enumerate(tokens) if start < word.end and word.start < end]
        found.append(
            Term(
                word,
                frozenset().union(*(kin[i] for i in inside)),
                all(keys[i] in thesaurus.light for i in inside),
                frozenset().union(*(scales[i] for i in inside)),
                _root(keys[inside[0]]) if len(inside) == 1 else "",
            )
        )
    return tuple(found)


def credit(claim: Term, source: Term) -> float:
    """How well ``source`` stands for ``claim``, in ``[0, 1]``: 1 for the same word, less for kin, 0 for strangers."""
    if claim.word.like(source.word):
        return 1.0
    if (claim.word.roles and source.word.roles) or (claim.word.statuses and source.word.statuses):
        return 0.0
    if claim.contradicts(source):
        return 0.0
    if claim.root and claim.root == source.root:
        return 0.95
    if claim.kin & source.kin:
        return 0.85
    return 0.0


def _root(key: str) -> str:
    """The key without endings that derive one word from another; empty when too little is left."""
    short = _ENDINGS.sub("", key)
    return short if len(short) >= _ROOT else key


@functools.cache
def _lists() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads((resources.files("rag") / "data" / "thesaurus.toml").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=4)
def _forms(language: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in _lists().get(language, {}).get("forms", ()):
        infinitive, *forms = line.split()
        found |= {folded(form): infinitive for form in forms if form != "né"}  # without its accent it is "ne"
    return found


@functools.lru_cache(maxsize=50_000)
def _key(token: str, language: str) -> str:
    """The folded stem of a lower-case word, irregular forms brought home first."""
    plain = folded(token)
    home = _forms(language).get(plain)
    if home is None and (plain.isdigit() or len(plain) < 3):
        return plain
    name = _SNOWBALL.get(language, "french")
    stemmer = getattr(_STEMMERS, name, None)
    if stemmer is None:
        stemmer = snowballstemmer.stemmer(name)
        setattr(_STEMMERS, name, stemmer)
    return folded(str(stemmer.stemWord(home or token)))


def _keys(phrase: str, language: str) -> tuple[str, ...]:
    return tuple(_key(match[0], language) for match in _TOKEN.finditer(phrase.strip().lower()))


@functools.lru_cache(maxsize=2)
def _thesaurus(language: str) -> _Thesaurus:
    data = _lists()[language]
    phrases: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    contraries: dict[str, list[tuple[tuple[str, ...], tuple[int, int]]]] = {}
    for number, line in enumerate(data["kin"]):
        for phrase in line.split("|"):
            if keys := _keys(phrase, language):
                phrases.setdefault(keys[0], []).append((keys, number))
    for number, line in enumerate(data["contraries"]):
        for place, side in enumerate(line.split("/")):
            for phrase in side.split("|"):
                if keys := _keys(phrase, language):
                    contraries.setdefault(keys[0], []).append((keys, (number, place)))
    light = frozenset(key for word in data["light"].split() for key in _keys(word, language))
    return _Thesaurus(_frozen(phrases), _frozen(contraries), light)


def _frozen(lists: Mapping[str, Sequence[_Entry]]) -> Mapping[str, tuple[_Entry, ...]]:
    return {key: tuple(values) for key, values in lists.items()}
