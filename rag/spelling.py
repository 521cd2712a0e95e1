"""Words of a question that nobody spells so, and what was meant; pure once the lists are read.

The words are those of the public frequency lists of ``pyspellchecker``, and those that the caller knows: of its
glossaries, never of texts that whoever asks may not see. Accents are no mistakes, since no search minds them. What is
not ours to judge stays: names, acronyms, numbers, references, and words of the other language.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from rag.lexical import LANGUAGES, fold, terms

SHORTEST: Final = 4
"""Letters of the shortest word that is corrected; shorter ones are too near to too many."""
LONG: Final = 8
"""Letters from which two edits are allowed."""
LONGEST: Final = 25
"""Letters of the longest word that is looked at: a longer one is no slip of the finger."""
MOST: Final = 5
"""Words of a question that are looked at: a text with more unknown ones is in another language, or none."""
FAMILIAR: Final = 20_000
"""The frequency that a word of a glossary counts with: as a common word of the lists. An acronym has none."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_GLUE: Final = frozenset("@/\\_#&=+0123456789")
"""Signs beside a word that make it a part of an address, a path or a reference; a digit does, too."""
_RARE: Final = 50
"""The frequency of the rarest words in the lists, given to all that were hardly ever seen."""
_FREQUENT: Final = 0.12
"""What ten times the frequency is worth, in edits."""
_FIRST: Final = 0.4
"""What a wrong first letter costs more: people seldom miss it."""
_SWAPPED, _DOUBLED, _SOUND, _NEAR, _OTHER, _MUTE = 0.5, 0.4, 0.5, 0.75, 1.0, 0.6
"""What edits cost: two letters swapped, one doubled or not, one for another that sounds like it or lies beside it on
the keyboard, any other, and a letter that is not heard."""
_LAST: Final = 0.15
"""What such a letter costs less at the end of the word."""
_MOST_COST: Final = 1.7
"""Two edits that cost more make another word: *badgeuse* is no *batteuse*."""
_ROWS: Final = {"fr": ("azertyuiop", "qsdfghjklm", "wxcvbn"), "en": ("qwertyuiop", "asdfghjkl", "zxcvbnm")}
_SOUNDS: Final = frozenset(frozenset(pair) for pair in "cs sz gj ck qk qc iy mn ae td pb fv gk tc xs".split())
"""Letters that are taken for each other by ear, as in *conjé*, *remboursemant*, *gestionaire*."""
_SILENT: Final = frozenset("hestdpxl")
"""Letters that are often written and not heard, or heard by nobody and forgotten."""

_MARKED: Final[Mapping[str, str]] = {
    "a": "àâäáãå",
    "c": "ç",
    "e": "éèêë",
    "i": "îïíì",
    "n": "ñ",
    "o": "ôöóòõ",
    "u": "ùûüú",
    "y": "ÿ",
}
"""The letters that bear accents, by the letter that they are without."""

_BRITISH: Final = (
    ("is(?=[aei])", "iz"),
    ("ys(?=[ei])", "yz"),
    ("our", "or"),
    ("[ao]e", "e"),
    ("ll", "l"),
    (r"re\Z", "er"),
)
"""How words are spelled in Britain, and in the list, which is American."""

_SLICE: Final = 8_192
"""Words whose letters are counted together: numpy counts in eight bytes each, and all words would take 30 MiB."""

_Counts = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Correction:
    """``text[start:end]`` is ``word``, and ``suggestion`` was meant."""

    start: int
    end: int
    word: str
    suggestion: str


def corrections(text: str, language: str, known: Collection[str] = frozenset()) -> tuple[Correction, ...]:
    """What is misspelled in ``text``, in its order; ``known`` are words that are right, too, and may be meant.

    Each is one edit from its suggestion, or two where it has :data:`LONG` letters; a text in a language without a list
    has no mistakes.
    """
    if language not in LANGUAGES:
        return ()
    ours = _known(known if isinstance(known, frozenset) else frozenset(known))
    doubtful = [
        match for match in _WORD.finditer(text) if _judged(text, match) and not _right(match[0], language, ours)
    ]
    if len(doubtful) > MOST:
        return ()
    found = ((match, _meant(fold(match[0]), language, ours)) for match in doubtful)
    return tuple(Correction(match.start(), match.end(), match[0], meant) for match, meant in found if meant is not None)


def prepare(*languages: str) -> None:
    """Read the lists of these languages now, so that no question waits a quarter of a second for them."""
    for language in languages:
        corrections("qwzx", language)


def corrected(text: str, found: Sequence[Correction]) -> str:
    """``text`` with each word of ``found``, which are corrections of it, as it was meant."""
    for one in sorted(found, key=lambda one: -one.start):
        text = text[: one.start] + one.suggestion + text[one.end :]
    return text


def ordinary(word: str, language: str) -> bool:
    """Whether ``word``, folded, stands in the dictionary of ``language``."""
    return word in _dictionary(language if language in LANGUAGES else LANGUAGES[0]).frequencies


def in_any_language(word: str) -> bool:
    """Whether ``word``, folded, stands in a dictionary at all."""
    first, *others = LANGUAGES
    return ordinary(word, first) or any(_foreign(word, other) for other in others)


def share(word: str, language: str) -> float:
    """How much of everyday language the word is, in ``[0, 1]``; 0 for one that the list of the language lacks."""
    if language not in LANGUAGES:
        return 0.0
    folded = fold(word)
    counts = _counts(language)
    return (counts.get(folded, 0) or counts.get(folded.removesuffix("s"), 0)) / max(1, counts[""])


@functools.cache
def _counts(language: str) -> Mapping[str, int]:
    """How often each folded word occurs, all its spellings together, and under no word how often all do."""
    counts: dict[str, int] = {}

    def add(pairs: list[tuple[str, int]]) -> None:
        for word, count in pairs:
            counts[word] = counts.get(word, 0) + count

    json.loads(_folded(language), object_pairs_hook=add)
    return counts | {"": sum(counts.values())}


def _judged(text: str, match: re.Match[str]) -> bool:
    """Whether the word is ours to judge: in small letters, or the first of a sentence, and part of nothing longer."""
    word, start, end = match[0], match.start(), match.end()
    if not SHORTEST <= len(word) <= LONGEST or word.isupper():
        return False
    beside = text[max(0, start - 1) : start] + text[end : end + 1]
    if not _GLUE.isdisjoint(beside) or (text[end : end + 1] == "." and text[end + 1 : end + 2].isalnum()):
        return False
    if word.islower():
        return True
    before = text[:start].rstrip(" \t\n\"«'(-–")
    return word[1:].islower() and (not before or before[-1] in ".?!:;")


def _right(word: str, language: str, ours: _Words) -> bool:
    folded = fold(word)
    return (
        ordinary(folded, language)
        or (language == "en" and any(ordinary(re.sub(*here, folded), language) for here in _BRITISH))
        or folded in ours.frequencies
        or any(_foreign(folded, other) for other in LANGUAGES if other != language)
    )


# --- what was meant ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _meant(word: str, language: str, ours: _Words) -> str | None:
    """The word that ``word`` was most likely meant to be, with its accents; ``None`` when nobody can tell."""
    most = 2 if len(word) >= LONG else 1
    best, chosen = math.inf, None
    for words in (ours, _dictionary(language)):
        for other in words.near(word, most):
            cost = _cost(word, other, language)
            rank = cost - _FREQUENT * math.log10(words.frequencies[other] / _RARE)
            likely = cost <= _MOST_COST and (most > 1 or words.frequencies[other] > _RARE)
            if likely and (rank, other) < (best, chosen or ""):
                best, chosen = rank, other
    if chosen is None or terms(chosen, language) == terms(word, language):  # a search makes no difference between them
        return None
    return ours.spelled.get(chosen) or _accented(chosen, language)


def _edits(one: str, others: Sequence[str]) -> npt.NDArray[np.int8]:
    """How many letters must be added, left out, changed or swapped with the next to make ``one`` each of ``others``."""
    width = max(map(len, others))
    letters = np.array([list(other.ljust(width)) for other in others])
    blank = np.zeros(len(others), np.int8)
    row = [blank + np.int8(j) for j in range(width + 1)]
    before = row
    for i, letter in enumerate(one, start=1):
        last, row = row, [blank + np.int8(i)]
        for j in range(1, width + 1):
            differs = (letters[:, j - 1] != letter).astype(np.int8)
            cell = np.minimum(np.minimum(last[j], row[j - 1]) + 1, last[j - 1] + differs)
            if i > 1 and j > 1:
                swapped = (letters[:, j - 2] == letter) & (letters[:, j - 1] == one[i - 2])
                cell = np.where(swapped, np.minimum(cell, before[j - 2] + 1), cell)
            row.append(cell.astype(np.int8))
        before = last
    return np.stack(row)[[len(other) for other in others], range(len(others))]


def _cost(one: str, other: str, language: str) -> float:
    """What the edits from ``one`` to ``other`` cost by how people come to make them."""
    before: list[float] = []
    row = [float(j) for j in range(len(other) + 1)]
    for i, letter in enumerate(one, start=1):
        last, row = row, [float(i)] * (len(other) + 1)
        for j, wanted in enumerate(other, start=1):
            row[j] = min(
                last[j] + _lone(one, i - 1),
                row[j - 1] + _lone(other, j - 1),
                last[j - 1] + _changed(letter, wanted, language),
            )
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], before[j - 2] + _SWAPPED)
        before = last
    return row[-1] + (_FIRST if one[:1] != other[:1] else 0.0)


def _lone(word: str, at: int) -> float:
    """What it costs to have typed, or forgotten, the letter at ``at``."""
    if word[at] in {word[at - 1] if at else "", word[at + 1] if at + 1 < len(word) else ""}:
        return _DOUBLED
    if word[at] in _SILENT:
        return _MUTE - _LAST if at == len(word) - 1 else _MUTE
    return _OTHER


def _changed(letter: str, wanted: str, language: str) -> float:
    if letter == wanted:
        return 0.0
    if frozenset((letter, wanted)) in _SOUNDS:
        return _SOUND
    return _NEAR if frozenset((letter, wanted)) in _neighbours(language) else _OTHER


@functools.cache
def _neighbours(language: str) -> frozenset[frozenset[str]]:
    """The letters that lie beside each other on the keyboard of a language."""
    rows = _ROWS[language]
    beside = [pair for row in rows for pair in pairwise(row)]
    below = [pair for upper, lower in pairwise(rows) for pair in _below(upper, lower)]
    return frozenset(map(frozenset, (*beside, *below)))


def _below(upper: str, lower: str) -> list[tuple[str, str]]:
    return [*zip(upper, lower, strict=False), *zip(upper[1:], lower, strict=False)]


# --- the words --------------------------------------------------------------------------------------------


class _Words:
    """Folded words with their frequencies, and which of them are near to a word."""

    def __init__(self, frequencies: Mapping[str, int], spelled: Mapping[str, str]) -> None:
        self.frequencies = frequencies
        self.spelled = spelled

    def near(self, word: str, most: int) -> Sequence[str]:
        """The words that are at most so many edits away."""
        words, lengths, counts = self._table
        if not words:
            return ()
        # An edit changes how often each letter stands in a word by two in all: that leaves few to be looked at.
        first, last = np.searchsorted(lengths, (len(word) - most, len(word) + most + 1))
        apart = np.abs(counts[first:last] - _letters([word])).sum(axis=1, dtype=np.int16)
        likely = [words[first + at] for at in np.flatnonzero(apart <= 2 * most)]
        edits = _edits(word, likely) if likely else ()
        return [other for other, count in zip(likely, edits, strict=True) if count <= most]

    @functools.cached_property
    def _table(self) -> tuple[Sequence[str], npt.NDArray[np.int64], _Counts]:
        """The words by their length, and how often each letter stands in each."""
        words = sorted((word for word, often in self.frequencies.items() if often and len(word) <= LONGEST), key=len)
        return words, np.array([len(word) for word in words], np.int64), _letters(words)


def _letters(words: Sequence[str]) -> _Counts:
    """How often each letter of the alphabet, and any other sign, stands in each of the words."""
    some = [words[start : start + _SLICE] for start in range(0, len(words), _SLICE)]
    return np.concatenate([_counted(one) for one in some]) if some else np.zeros((0, 27), np.int8)


def _counted(words: Sequence[str]) -> _Counts:
    lengths = [len(word) for word in words]
    letters = np.frombuffer("".join(words).encode("ascii", "replace"), np.uint8).astype(np.int32) - ord("a")
    letters[(letters < 0) | (letters > 25)] = 26
    places = np.repeat(np.arange(len(words), dtype=np.int32), lengths) * 27 + letters
    return np.bincount(places, minlength=27 * len(words)).reshape(len(words), 27).astype(np.int8)


@functools.lru_cache(maxsize=16)
def _known(words: frozenset[str]) -> _Words:
    spelled = {fold(word): word for word in sorted(words) if word.isalpha()}
    # Nobody who mistypes "alors" means the ARS.
    return _Words({folded: 0 if word.isupper() else FAMILIAR for folded, word in spelled.items()}, spelled)


@functools.cache
def _dictionary(language: str) -> _Words:
    frequencies: dict[str, int] = json.loads(_folded(language))
    for compound in [word for word in frequencies if not word.isalpha()]:
        for part in _WORD.findall(compound):  # "aujourd'hui" and "rendez-vous", by their parts
            frequencies.setdefault(part, _RARE)
        del frequencies[compound]
    return _Words(frequencies, {})


@functools.lru_cache(maxsize=4096)
def _foreign(word: str, language: str) -> bool:
    """Whether another language has the word; its list stays a text, as few words are looked up in it."""
    return f'"{word}"' in _unread(language)


@functools.cache
def _unread(language: str) -> str:
    return _folded(language)


@functools.lru_cache(maxsize=4096)
def _accented(word: str, language: str) -> str:
    """The most frequent spelling of a folded word of the list."""
    spelled = "".join(f"[{letter}{_MARKED[letter]}]" if letter in _MARKED else letter for letter in word)
    found = re.findall(f'"({spelled})": (\\d+)', _list(language))
    return max(found, key=lambda entry: int(entry[1]))[0] if found else word


def _folded(language: str) -> str:
    """A list without accents; letter by letter is quicker than any table for the few letters that bear some."""
    text = _list(language)
    for letter, marked in _MARKED.items():
        for sign in marked:
            text = text.replace(sign, letter)
    return text


@functools.cache
def _list(language: str) -> str:
    """A list as it is written, a word to a line. Without signs beyond Latin-1, it takes a byte for each letter."""
    source = importlib.resources.files("spellchecker") / "resources" / f"{language}.json.gz"
    text = gzip.decompress(source.read_bytes()).decode("utf-8")
    for sign, letters in (("œ", "oe"), ("æ", "ae"), ("’", "'")):
        text = text.replace(sign, letters)
    return text
