"""Phrases that stand for each other: acronyms, everyday words and the terms of the regulations; pure once read.

A question asks for *RTT* where the rule says *réduction du temps de travail*. Families of ``same`` are interchangeable
in every rule, so they may support a claim too; families of ``near`` find each other's texts and prove nothing. A
general glossary comes with the program, each corpus may add its own, and ``|`` joins them.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, Self

from rag import spelling
from rag.lexical import LANGUAGES, fold, terms
from rag.types import Synonyms

_TOKEN: Final = re.compile(r"(?:[^\W\d_]\.){2,}(?:[^\W\d_]\b)?|[^\W_]+")
"""A word, or an acronym with its points."""
_APART: Final = re.compile(r"[^\s'’‐‑–-]")
"""What parts two words so that they are no phrase."""
_PLURAL: Final = re.compile(r"(?<=[A-Z]{2})s\Z")
_LINKS: Final = frozenset("a au aux d de des du l la le les an of the".split())
"""Words inside a phrase that people leave out or add: *arrêt (de) maladie*."""
_DETERMINERS: Final = frozenset("au aux du le les leur leurs mes mon nos notre ses son tes ton un votre vos".split())
_NO_NOUNS: Final = frozenset("cet ces est on par pas pour sans ses sur les des dans qui que son car donc ont".split())
"""Words of grammar that some acronym is spelled as: after a determiner, *mon cet*, only the acronym makes sense."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """What else ``text[start:end]`` may be called; ``evidence`` says that it means the same in every rule."""

    start: int
    end: int
    phrase: str
    evidence: bool


class Glossary:
    """Families of phrases that stand for each other; never changes, and may be shared by threads.

    ``families`` are interchangeable, ``near`` ones are good to search with and never evidence. With a ``language``,
    only texts in it are looked at. Words match whatever their number, accents and case; an acronym matches in
    capitals, or in small letters where no ordinary word is meant.
    """

    __slots__ = ("_parts",)

    def __init__(
        self,
        families: Iterable[Sequence[str]] = (),
        near: Iterable[Sequence[str]] = (),
        *,
        language: str | None = None,
    ) -> None:
        part = _Part(tuple(map(tuple, families)), tuple(map(tuple, near)), language)
        self._parts: tuple[_Part, ...] = (part,) if part.said else ()

    @classmethod
    def of(cls, synonyms: Synonyms, *, language: str | None = None) -> Self:
        """The glossary of a corpus, as its declaration gives it."""
        return cls(synonyms.same, synonyms.near, language=language)

    def __or__(self, other: Glossary) -> Glossary:
        """Both together; quick, as each keeps its own index."""
        joined = Glossary()
        joined._parts = tuple(dict.fromkeys((*self._parts, *other._parts)))
        return joined

    def __bool__(self) -> bool:
        return bool(self._parts)

    def alternatives(self, text: str, language: str) -> tuple[Alternative, ...]:
        """What the phrases of ``text`` are called elsewhere, in the order of the text.

        The longest phrase wins over the words in it. For each place come the other members of all its families,
        those that are evidence first.
        """
        analysis = _analysis(language)
        indexes = [part.index(analysis) for part in self._parts if part.serves(analysis)]
        tokens = _tokens(text, analysis) if indexes else []
        found: list[Alternative] = []
        position = 0
        while position < len(tokens):
            length, keys = _longest(indexes, tokens, position, analysis)
            if length:
                start, end = tokens[position].start, tokens[position + length - 1].end
                found += _others(start, end, keys, indexes)
            position += max(length, 1)
        return tuple(found)

    def same(self, left: str, right: str) -> bool:
        """Whether one may be said for the other as evidence: they are one phrase, or members of one family.

        An acronym that stands for several things is evidence for none of them.
        """
        for language in LANGUAGES:
            indexes = [part.index(language) for part in self._parts if part.serves(language)]
            here, there = _readings(left, language), _readings(right, language)
            if here & there:
                return True
            for key in here:
                others = {other for family in _families(key, indexes) if family.evidence for other in family.members}
                if any(not (_ambiguous(key, indexes) or _ambiguous(other, indexes)) for other in others & there):
                    return True
        return False

    @property
    def words(self) -> frozenset[str]:
        """Every word of its phrases, as written: what a question may be spelled with."""
        return frozenset().union(*(part.words for part in self._parts))


@functools.cache
def general() -> Glossary:
    """The glossary that comes with the program: the administration's French, and a little English."""
    said = tomllib.loads((resources.files("rag") / "data" / "glossary.toml").read_text(encoding="utf-8"))
    joined = Glossary()
    for language, sections in said.items():
        families, near = ([_phrases(line) for line in sections.get(kind, ())] for kind in ("same", "near"))
        joined |= Glossary(families, near, language=language)
    return joined


def _phrases(line: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in line.split("|"))


# --- families by their words ------------------------------------------------------------------------------

_Key = tuple[str, ...]
"""What makes two phrases one: their stems without the words that link them; a single word by itself keeps more of its
shape, since *payer* is not *paye*; an acronym is itself, after a sign that no word has."""
_MARK: Final = "#"


@dataclass(frozen=True, slots=True)
class _Family:
    members: Mapping[_Key, str]
    evidence: bool


@dataclass(frozen=True, slots=True)
class _Index:
    """The families of each phrase, and by their first word the phrases of several words, the longest first."""

    of: Mapping[_Key, tuple[_Family, ...]]
    longer: Mapping[str, tuple[_Key, ...]]


@dataclass(frozen=True, eq=False)
class _Part:
    """One glossary with the indexes made of it."""

    same: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...]
    language: str | None

    @property
    def said(self) -> bool:
        return bool(self.same or self.near)

    def serves(self, language: str) -> bool:
        return self.language in {None, language}

    def index(self, language: str) -> _Index:
        return self._french if language == LANGUAGES[0] else self._english

    @functools.cached_property
    def _french(self) -> _Index:
        return _indexed(self.same, self.near, "fr")

    @functools.cached_property
    def _english(self) -> _Index:
        return _indexed(self.same, self.near, "en")

    @functools.cached_property
    def words(self) -> frozenset[str]:
        phrases = (phrase for family in (*self.same, *self.near) for phrase in family)
        return frozenset(match.group() for phrase in phrases for match in _TOKEN.finditer(phrase))


def _indexed(same: Iterable[Sequence[str]], near: Iterable[Sequence[str]], language: str) -> _Index:
    of: dict[_Key, list[_Family]] = {}
    for families, evidence in ((same, True), (near, False)):
        for phrases in families:
            members: dict[_Key, str] = {}
            for phrase in phrases:
                key = _key(phrase, language)
                if key is not None:
                    members.setdefault(key, phrase)
            family = _Family(members, evidence)
            for key in members:
                of.setdefault(key, []).append(family)
    longer: dict[str, list[_Key]] = {}
    for key in sorted(of, key=len, reverse=True):
        if len(key) > 1:
            longer.setdefault(key[0], []).append(key)
    return _Index({key: tuple(families) for key, families in of.items()}, {k: tuple(v) for k, v in longer.items()})


def _families(key: _Key, indexes: Iterable[_Index]) -> list[_Family]:
    return [family for index in indexes for family in index.of.get(key, ())]


def _ambiguous(key: _Key, indexes: Iterable[_Index]) -> bool:
    """Whether it is an acronym of which two families have nothing else in common."""
    if not key[0].startswith(_MARK):
        return False
    families = [family for family in _families(key, indexes) if family.evidence]
    return any(
        one.members.keys() & other.members.keys() == {key} for i, one in enumerate(families) for other in families[:i]
    )


def _others(start: int, end: int, keys: Sequence[_Key], indexes: Sequence[_Index]) -> list[Alternative]:
    """The other members of the families of ``keys``, once each."""
    found: dict[_Key, Alternative] = {}
    families = [(key, family) for key in keys for family in _families(key, indexes)]
    for key, family in sorted(families, key=lambda pair: not pair[1].evidence):
        for other, phrase in family.members.items():
            if other not in keys:
                evidence = family.evidence and not (_ambiguous(key, indexes) or _ambiguous(other, indexes))
                if other not in found or (evidence and not found[other].evidence):
                    found[other] = Alternative(start, end, phrase, evidence)
    return sorted(found.values(), key=lambda one: not one.evidence)


# --- words of a text --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text, in the shapes in which it is compared.

    ``capitals`` says that it is written as an acronym, ``linked`` that only blanks, hyphens or apostrophes part it
    from the word before.
    """

    start: int
    end: int
    folded: str
    light: str
    stem: str
    letters: str
    capitals: bool
    linked: bool


def _analysis(language: str) -> str:
    return language if language in LANGUAGES else LANGUAGES[0]


def _tokens(text: str, language: str) -> list[_Word]:
    shouted = text.isupper() and " " in text.strip()  # then capitals say nothing
    found: list[_Word] = []
    end = 0
    for match in _TOKEN.finditer(text):
        folded, light, stem = _shapes(match.group(), language)
        acronym = _acronym(match.group())
        linked = not _APART.search(text, end, match.start())
        end = match.end()
        capitals = bool(acronym) and not shouted
        found.append(_Word(match.start(), end, folded, light, stem, acronym or folded, capitals, linked))
    return found


@functools.lru_cache(maxsize=1 << 15)
def _shapes(word: str, language: str) -> tuple[str, str, str]:
    """A word folded, without the ending of its plural, and as a stem."""
    folded = fold(word)
    stems = terms(word, language)
    return folded, _singular(folded), stems[0] if len(stems) == 1 else folded


def _singular(folded: str) -> str:
    if len(folded) > 3:
        folded = re.sub(r"aux\Z", "al", re.sub(r"(?:(?<=eau|.eu|.ou)x|s)\Z", "", folded))
    return re.sub(r"ee\Z", "e", folded)


def _acronym(word: str) -> str:
    """The letters of an acronym in capitals, without points and plural; empty when it is none."""
    bare = _PLURAL.sub("", word).replace(".", "")
    return fold(bare) if bare.isupper() and sum(map(str.isalpha, bare)) > 1 else ""


def _key(phrase: str, language: str) -> _Key | None:
    """What a phrase is compared by; ``None`` when it has no words."""
    words = [match.group() for match in _TOKEN.finditer(phrase)]
    said = [word for word in words if fold(word) not in _LINKS or _acronym(word)]
    if not said:
        return None
    if len(said) > 1:
        return tuple(_shapes(word, language)[2] for word in said)
    return (_MARK + acronym,) if (acronym := _acronym(said[0])) else (_shapes(said[0], language)[1],)


def _readings(phrase: str, language: str) -> set[_Key]:
    """What a phrase that stands by itself may be compared by."""
    key = _key(phrase, language)
    if key is None:
        return set()
    small = fold(phrase).replace(".", "").strip()
    return {key} if len(key) > 1 or spelling.ordinary(small, language) else {key, (_MARK + small,)}


def _longest(
    indexes: Sequence[_Index], tokens: Sequence[_Word], position: int, language: str
) -> tuple[int, tuple[_Key, ...]]:
    """How many words the longest phrase at ``position`` has, and its keys; 0 where none begins."""
    best, keys = 0, dict[_Key, None]()
    for index in indexes:
        for key in index.longer.get(tokens[position].stem, ()):
            length = _reach(tokens, position, key)
            if length > best:
                best, keys = length, {key: None}
            elif length and length == best:
                keys[key] = None
    if not best:
        keys = dict.fromkeys(_single(indexes, tokens, position, language))
        best = 1 if keys else 0
    return best, tuple(keys)


def _reach(tokens: Sequence[_Word], position: int, key: _Key) -> int:
    """How many words from ``position`` are the phrase ``key``, with the words that link them; 0 when they are not."""
    at = position
    for number, stem in enumerate(key):
        if number:
            at += 1
            while at < len(tokens) and tokens[at].linked and tokens[at].stem != stem and tokens[at].folded in _LINKS:
                at += 1
        if at >= len(tokens) or tokens[at].stem != stem or (number and not tokens[at].linked):
            return 0
    return at - position + 1


def _single(indexes: Sequence[_Index], tokens: Sequence[_Word], position: int, language: str) -> Iterator[_Key]:
    """The word and the acronym that stand at ``position``, as far as there are families of them."""
    word = tokens[position]
    plain, acronym = (word.light,), (_MARK + word.letters,)
    if any(plain in index.of for index in indexes):
        yield plain
    if any(acronym in index.of for index in indexes) and (
        word.capitals or _no_ordinary(word, tokens[position - 1] if position else None, language)
    ):
        yield acronym


def _no_ordinary(word: _Word, before: _Word | None, language: str) -> bool:
    """Whether a word in small letters can only be an acronym: *mon rtt*, *mon cet*."""
    if word.folded in _NO_NOUNS:
        return before is not None and before.folded in _DETERMINERS
    return not spelling.ordinary(word.folded, language)
