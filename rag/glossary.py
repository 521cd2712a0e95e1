"""Phrases that stand for each other: acronyms, everyday words and the terms of the regulations; pure once read.

A question asks for *RTT* where the rule says *réduction du temps de travail*. The phrases of a family of ``same`` are
interchangeable in every rule, so they may support a claim too. The first phrase of a family of ``near`` is what people
say; the others find the texts that are meant and prove nothing. A general glossary comes with the program, each corpus
may add its own, and ``|`` joins them.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, Self, TypeVar

from rag import spelling
from rag.lexical import LANGUAGES, fold, terms
from rag.types import Synonyms

_TOKEN: Final = re.compile(r"(?:[^\W\d_]\.){2,}(?:[^\W\d_]\b)?|[^\W_]+")
"""A word, or an acronym with its points."""
_APART: Final = re.compile(r"[^\s'’‐‑–-]")
"""What parts two words so that they are no phrase."""
_PLURAL: Final = re.compile(r"(?<=[A-Z]{2})s\Z")
_ENDING: Final = re.compile(r"(?<=eau|.eu|.ou)x\Z|(?<!s)s\Z")
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

    ``families`` are interchangeable and ``near`` ones are not, as the module says. With a ``language``, only texts in
    it are looked at. Words match whatever their number, accents and case, those of ``near`` whatever their ending; an
    acronym matches in capitals, or in small letters where no ordinary word is meant.
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

        The longest phrase wins over the words in it. For each place come the other members of all its families, once
        each, those that are evidence first.
        """
        analysis = _analysis(language)
        indexes = self._indexes(analysis)
        tokens = _tokens(text, analysis) if indexes else []
        found: list[Alternative] = []
        position = 0
        while position < len(tokens):
            length, families = _longest(indexes, tokens, position, analysis)
            if families:
                start, end = tokens[position].start, tokens[position + length - 1].end
                found += _others(text[start:end], start, families, indexes, analysis)
            position += max(length, 1)
        return tuple(found)

    def same(self, left: str, right: str) -> bool:
        """Whether one may be said for the other as evidence: they are one phrase, or members of one family.

        An acronym that stands for several things is evidence for none of them.
        """
        for language in LANGUAGES:
            indexes = self._indexes(language)
            here, there = _readings(left, language), _readings(right, language)
            if here & there:
                return True
            for key in here - _ambiguous(here, indexes):
                others = {other for family in _families(key, indexes) if family.evidence for other in family.members}
                if (others & there) - _ambiguous(there, indexes):
                    return True
        return False

    @property
    def words(self) -> frozenset[str]:
        """Every word of its phrases, as written: what a question may be spelled with."""
        return _words(self._parts)

    def _indexes(self, language: str) -> list[_Index]:
        return [index for part in self._parts if part.language in {None, language} for index in part.indexes(language)]


@functools.cache
def general() -> Glossary:
    """The glossary that comes with the program: the administration's French, and a little English."""
    said = tomllib.loads((resources.files("rag") / "data" / "glossary.toml").read_text(encoding="utf-8"))
    joined = Glossary()
    for language, sections in said.items():
        families, near = ([_phrases(line) for line in sections.get(kind, ())] for kind in ("same", "near"))
        joined |= Glossary(families, near, language=language)
    return joined


@functools.lru_cache(maxsize=256)
def joined(synonyms: tuple[Synonyms, ...]) -> Glossary:
    """The glossary of a search: those of the corpora that it may see, and the general one."""
    found = Glossary()
    for one in synonyms:
        found |= _of(one)
    return found | general()


@functools.lru_cache(maxsize=256)
def _of(synonyms: Synonyms) -> Glossary:
    """One for each corpus, so that every combination of corpora shares its index."""
    return Glossary.of(synonyms)


def _phrases(line: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in line.split("|"))


# --- families by their words ------------------------------------------------------------------------------

_Key = tuple[str, ...]
"""What makes two phrases one: their words without plural and links, or without any ending where the key is of stems;
an acronym is itself, after a sign that no word has."""
_MARK: Final = "#"


@dataclass(frozen=True, slots=True)
class _Family:
    members: Mapping[_Key, str]
    evidence: bool


@dataclass(frozen=True, slots=True)
class _Index:
    """The families that each phrase asks for, and by their first word the phrases of several words, the longest first.

    Where ``stemmed``, phrases of several words are told by their stems: good enough to search, and *médecine du
    travail* is *médecin du travail* then.
    """

    of: Mapping[_Key, tuple[_Family, ...]]
    longer: Mapping[str, tuple[_Key, ...]]
    stemmed: bool


@dataclass(frozen=True, eq=False)
class _Part:
    """One glossary with the indexes made of it."""

    same: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...]
    language: str | None

    @property
    def said(self) -> bool:
        return bool(self.same or self.near)

    def indexes(self, language: str) -> tuple[_Index, ...]:
        return self._french if language == LANGUAGES[0] else self._english

    @functools.cached_property
    def _french(self) -> tuple[_Index, ...]:
        return _indexed(self.same, "fr", evidence=True), _indexed(self.near, "fr", evidence=False)

    @functools.cached_property
    def _english(self) -> tuple[_Index, ...]:
        return _indexed(self.same, "en", evidence=True), _indexed(self.near, "en", evidence=False)


@functools.lru_cache(maxsize=64)
def _words(parts: tuple[_Part, ...]) -> frozenset[str]:
    phrases = (phrase for part in parts for family in (*part.same, *part.near) for phrase in family)
    return frozenset(match.group() for phrase in phrases for match in _TOKEN.finditer(phrase))


def _indexed(families: Iterable[Sequence[str]], language: str, *, evidence: bool) -> _Index:
    of: dict[_Key, list[_Family]] = {}
    for phrases in families:
        members: dict[_Key, str] = {}
        for phrase in phrases:
            if key := _key(phrase, language):
                members.setdefault(key, phrase)
        family = _Family(members, evidence)
        asking = [*members] if evidence else [_key(phrases[0], language, stemmed=True)] if phrases else []
        for key in asking:
            of.setdefault(key, []).append(family)
    longer: dict[str, list[_Key]] = {}
    for key in sorted(of, key=len, reverse=True):
        if len(key) > 1:
            longer.setdefault(key[0], []).append(key)
    return _Index(_frozen(of), _frozen(longer), stemmed=not evidence)


_Of = TypeVar("_Of")
_Item = TypeVar("_Item")


def _frozen(lists: Mapping[_Of, list[_Item]]) -> dict[_Of, tuple[_Item, ...]]:
    return {key: tuple(items) for key, items in lists.items()}


def _families(key: _Key, indexes: Iterable[_Index]) -> list[_Family]:
    return [family for index in indexes for family in index.of.get(key, ())]


def _ambiguous(keys: Iterable[_Key], indexes: Sequence[_Index]) -> set[_Key]:
    """Those that are acronyms of which two families have nothing else in common."""
    return {key for key in keys if key and key[0].startswith(_MARK) and _several(key, indexes)}


def _several(key: _Key, indexes: Sequence[_Index]) -> bool:
    families = [family.members.keys() for family in _families(key, indexes)]
    return any(one & other <= {key} for i, one in enumerate(families) for other in families[:i])


def _others(
    said: str, start: int, families: Sequence[tuple[_Key, _Family]], indexes: Sequence[_Index], language: str
) -> Iterator[Alternative]:
    """The other members of the ``families`` that what is ``said`` at ``start`` asks for, once each."""
    own = {_key(said, language), *(key for key, _ in families)}
    stems = _key(said, language, stemmed=True)
    seen: set[_Key] = set()
    for key, family in sorted(families, key=lambda pair: not pair[1].evidence):
        unsure = _ambiguous([key, *family.members], indexes) if family.evidence else set()
        for other, phrase in family.members.items():
            if other in own or other in seen or _key(phrase, language, stemmed=True) == stems:
                continue
            seen.add(other)
            evidence = family.evidence and not {key, other} & unsure
            yield Alternative(start, start + len(said), phrase, evidence)


# --- words of a text --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text, in the shapes in which it is compared.

    ``letters`` are those of the acronym that it may be, and ``capitals`` says that it is written as one; ``linked``
    that only blanks, hyphens or apostrophes part it from the word before.
    """

    start: int
    end: int
    folded: str
    light: str
    stem: str
    letters: str
    capitals: bool
    linked: bool

    def shape(self, *, stemmed: bool) -> str:
        return self.stem if stemmed else self.light


def _analysis(language: str) -> str:
    return language if language in LANGUAGES else LANGUAGES[0]


def _tokens(text: str, language: str) -> list[_Word]:
    shouted = text.isupper() and " " in text.strip()  # then capitals say nothing
    found: list[_Word] = []
    end = 0
    for match in _TOKEN.finditer(text):
        folded, light, stem, letters = _shapes(match.group(), language)
        linked = not _APART.search(text, end, match.start())
        end = match.end()
        capitals = bool(letters) and not shouted
        found.append(_Word(match.start(), end, folded, light, stem, letters or folded, capitals, linked))
    return found


@functools.lru_cache(maxsize=1 << 15)
def _shapes(word: str, language: str) -> tuple[str, str, str, str]:
    """A word folded, without the ending of its plural, as a stem, and the letters of the acronym that it is."""
    folded = fold(word)
    stems = terms(word, language)
    return folded, _singular(folded), stems[0] if len(stems) == 1 else folded, _acronym(word)


def _singular(folded: str) -> str:
    if len(folded) > 3:
        folded = _ENDING.sub("", folded)
        if folded.endswith("aux"):
            folded = f"{folded[:-3]}al"
    return folded[:-1] if folded.endswith("ee") else folded


def _acronym(word: str) -> str:
    """The letters of an acronym in capitals, folded, without points and plural; empty when it is none."""
    bare = _PLURAL.sub("", word).replace(".", "")
    return fold(bare) if bare.isupper() and sum(map(str.isalpha, bare)) > 1 else ""


@functools.lru_cache(maxsize=1 << 14)
def _key(phrase: str, language: str, *, stemmed: bool = False) -> _Key:
    """What a phrase is compared by; empty when it has no words but links."""
    words = [_shapes(match.group(), language) for match in _TOKEN.finditer(phrase)]
    said = [shapes for shapes in words if shapes[0] not in _LINKS or shapes[3]]
    if len(said) == 1:
        _, light, _, letters = said[0]
        return (_MARK + letters,) if letters else (light,)
    return tuple(stem if stemmed else light for _, light, stem, _ in said)


def _readings(phrase: str, language: str) -> set[_Key]:
    """What a phrase that stands by itself may be compared by: *rtt* may be the acronym."""
    key = _key(phrase, language)
    if not key:
        return set()
    small = fold(phrase).replace(".", "").strip()
    return {key} if len(key) > 1 or spelling.in_any_language(small) else {key, (_MARK + small,)}


def _longest(
    indexes: Sequence[_Index], tokens: Sequence[_Word], position: int, language: str
) -> tuple[int, list[tuple[_Key, _Family]]]:
    """How many words the longest phrase at ``position`` has, and the families that it asks for, each with its key."""
    best, found = 0, list[tuple[_Key, _Family]]()
    for index in indexes:
        for key in index.longer.get(tokens[position].shape(stemmed=index.stemmed), ()):
            length = _reach(tokens, position, key, stemmed=index.stemmed)
            if length > best:
                best, found = length, []
            if length and length == best:
                found += [(key, family) for family in index.of[key]]
    if best:
        return best, found
    keys = _single(indexes, tokens, position, language)
    return 1, [(key, family) for key in keys for family in _families(key, indexes)]


def _reach(tokens: Sequence[_Word], position: int, key: _Key, *, stemmed: bool) -> int:
    """How many words from ``position`` are the phrase ``key``, with the words that link them; 0 when they are not."""
    at = position
    for wanted in key[1:]:
        at += 1
        while at < len(tokens) and tokens[at].linked and tokens[at].folded in _LINKS:
            if tokens[at].shape(stemmed=stemmed) == wanted:
                break
            at += 1
        if at >= len(tokens) or not tokens[at].linked or tokens[at].shape(stemmed=stemmed) != wanted:
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
