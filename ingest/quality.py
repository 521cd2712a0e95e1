"""How well the text of a page can be trusted: roughly the share of its words that came through whole. Pure.

A text layer may be there and still be garbage: fonts without a map to characters, accents lost, letters apart, UTF-8
read as Latin-1, or a poor recognition. What is no damage does not count: numbers, references, acronyms, names and
scripts other than Latin. The words are those of the frequency lists of ``pyspellchecker``, French and English
together; they are read once, when the first page comes.
"""

from __future__ import annotations

import gzip
import importlib.resources
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

LOW: Final = 0.75
"""Below this score a text layer is worse than what is recognised on the picture of its page, and is to be marked."""

_SAMPLE: Final = 240
"""White-space separated pieces of a page that are looked at word by word: a page in time, and half a page's words."""
_BELIEVED: Final = 4.0
"""Good words that every page is credited with, so that a title of three names is not judged by them alone."""
_USUAL: Final = 0.06
"""Share of sound words that are in no list: technical terms, names in small letters."""
_UNACCENTED: Final = 0.004
"""Accented letters among the letters of a text below which it is written without accents; usual French has 0.035."""
_ACCENTED: Final = "éèêëàâîïôùûçÉÈÀÊ"
_LEAST_LETTERS: Final = 200
_ACRONYM: Final = 6
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_BROKEN: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffd\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff]")
"""Controls, replacement characters and private use; ``\\x1c`` to ``\\x1f`` and ``\\x85`` part lines."""
_MISREAD: Final = re.compile(r"[ÃÂ][\x80-\xbf€-™Œ-ž]|â€.|ï»¿|Ã\s(?=\w)")
"""UTF-8 that was read as Latin-1 or Windows-1252."""
_DIGIT_INSIDE: Final = re.compile(r"[a-zß-ÿ]{2}\d{1,2}[a-zß-ÿ]|[a-zß-ÿ][01]\w?[a-zß-ÿ]{2}")
_ADDRESS: Final = re.compile(r"[@/\\_]|www\.|\w\.\w+\.\w")
"""What stands in addresses, paths and identifiers: no words, and no damage."""
_HYPHEN: Final = re.compile(r"[^\W\d_]{2}[-\u00ad]\s*\n\s*[a-zß-ÿ]")
_SIGN_INSIDE: Final = re.compile(r"[^\W\d_][*©®<>{}|^~§»«?!;$£%#=+¬°\"]+[a-zß-ÿ]")
_APART: Final = re.compile(r"(?<!\S)(?:[^\W\d_] ){4,}[^\W\d_](?!\S)")
_FOREIGN: Final = (0.5, 0.85)
"""Most known words and least speakable unknown ones of a page in another language, which nobody here can judge."""
_UNSPEAKABLE: Final = re.compile(r"[^aeiouyà-öø-ÿ]{5}|[aeiouyà-öø-ÿ]{5}|^[^aeiouyà-öø-ÿ]+$")
_LIGATURES: Final = re.compile("[\ufb00-\ufb06]")
_FRENCH: Final = frozenset(
    "les des une est dans pour par sur que qui aux avec sont ces cette leur mais comme plus sans sous".split()
)
_ENGLISH: Final = frozenset("the and for that with this are from not which shall have has any may been its".split())


def score(text: str) -> float:
    """How far the words of ``text`` can be trusted, from 0 (garbage) to 1 (whole); 1 where there are none to judge."""
    pieces = text.split()
    if not pieces:
        return 1.0
    step = -(-len(pieces) // _SAMPLE)
    sample = [piece for piece in pieces[::step] if not _ADDRESS.search(piece)]
    if step == 1 and "-\n" in text:
        sample = [piece for piece in _whole(text).split() if not _ADDRESS.search(piece)]
    judged = _judged(sample)
    damaged = (judged.unknown + _loss(text) * judged.unaccented) / (judged.words + _BELIEVED)
    if judged.foreign:
        damaged = 0.0
    damaged = max(0.0, damaged - _USUAL) / (1 - _USUAL)
    return round(max(0.0, 1.0 - damaged - _marks(text, pieces, sample)), 3)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Words of a sample: in the lists, in none (and of these, such as a mouth can say), in a list but for accents."""

    known: int
    unknown: int
    speakable: int
    unaccented: int

    @property
    def words(self) -> int:
        return self.known + self.unknown + self.unaccented

    @property
    def foreign(self) -> bool:
        """Whether the words are none of French and English, yet look like words."""
        return self.known < _FOREIGN[0] * self.words and self.speakable > _FOREIGN[1] * self.unknown


def _judged(sample: list[str]) -> _Judged:
    lists = _lists()
    known = unknown = speakable = unaccented = 0
    for word in _WORD.findall(_spelled(" ".join(sample))):
        low = word.lower()
        if low in lists.words:
            known += 1
        elif low in lists.folded:
            if word.isupper():  # French capitals are often written without accents
                known += 1
            else:
                unaccented += 1
        elif word[0] > "\u024f":
            continue
        elif word.islower():
            unknown += 1
            speakable += not _UNSPEAKABLE.search(word)
        elif not (word.istitle() or (word.isupper() and len(word) <= _ACRONYM)):
            unknown += 1
    return _Judged(known, unknown, speakable, unaccented)


def _whole(text: str) -> str:
    return _HYPHEN.sub(lambda found: re.sub(r"[-\u00ad\s]", "", found[0]), text)


def _spelled(text: str) -> str:
    """Text as the lists spell it."""
    if "œ" in text or "Œ" in text:
        text = text.replace("œ", "oe").replace("Œ", "OE")
    return unicodedata.normalize("NFKC", text)


def _loss(text: str) -> float:
    """What a word without its accents counts as: little by itself, much where a French page has no accent at all."""
    words = frozenset(text.lower().split())
    if len(words & _FRENCH) < 4 or len(words & _FRENCH) <= len(words & _ENGLISH):
        return 0.5
    letters = sum(map(str.isalpha, text))
    accented = sum(map(text.count, _ACCENTED))
    return 3.0 if letters >= _LEAST_LETTERS and accented < _UNACCENTED * letters else 1.0


def _marks(text: str, pieces: list[str], sample: list[str]) -> float:
    """The share of words that bear a mark of damage whatever they mean."""
    count = len(pieces) + _BELIEVED
    share = 0.0
    if _BROKEN.search(text):
        whole = sum(bool(_BROKEN.search(piece)) for piece in pieces if len(piece) > 1)
        lone = sum(bool(_BROKEN.search(piece)) for piece in pieces if len(piece) == 1)  # mostly bullets and boxes
        share += (whole + 0.1 * lone) / count
    if "Ã" in text or "Â" in text or "â€" in text or "ï»¿" in text:
        share += len(_MISREAD.findall(text)) / count
    if "-\n" in text or "\u00ad" in text:
        share += 0.5 * len(_HYPHEN.findall(text)) / count
    if _LIGATURES.search(text):
        share += 0.3 * len(_LIGATURES.findall(text)) / count
    if sum(len(piece) == 1 for piece in pieces) > 0.1 * len(pieces):
        apart = sum(len(run) for run in _APART.findall(text) if sum(map(str.isascii, run)) > 0.7 * len(run))
        share += 0.5 * apart / len(text)
    odd = sum(bool(_DIGIT_INSIDE.search(piece) or _SIGN_INSIDE.search(piece)) for piece in sample)
    return share + odd / (len(sample) + _BELIEVED)


# --- the words ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lists:
    """``words`` of French and English in small letters, and ``folded`` what some are without their accents."""

    words: frozenset[str]
    folded: frozenset[str]


@cache
def _lists() -> _Lists:
    words: set[str] = set()
    for language in ("fr", "en"):
        source = importlib.resources.files("spellchecker") / "resources" / f"{language}.json.gz"
        for entry in json.loads(gzip.decompress(source.read_bytes())):
            if entry.isalpha():
                words.add(entry)
            else:
                words.update(re.findall(r"[^\W\d_]+", entry))  # ``aujourd'hui`` and ``rendez-vous`` by their parts
    folded = {_folded(word) for word in words if not word.isascii()}
    return _Lists(frozenset(words), frozenset(folded - words))


def _folded(word: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", word) if not unicodedata.combining(sign))
