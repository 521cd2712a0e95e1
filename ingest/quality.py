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

from rag.types import LOW_QUALITY

LOW: Final = LOW_QUALITY
"""Below this score a text layer is worse than what is recognised on the picture of its page, and is to be marked."""

_SAMPLE: Final = 200
"""White-space separated pieces of a page that are looked at word by word: a page in time, and half a page's words."""
_BELIEVED: Final = 4.0
"""Good words that every page is credited with, so that a title of three names is not judged by them alone."""
_USUAL: Final = 0.06
"""Share of sound words that are in no list: technical terms, names in small letters."""
_UNACCENTED: Final = 0.004
"""Accented letters among the letters of a text below which it is written without accents; usual French has 0.035."""
_ACCENTED: Final = "éèêëàâîïôùûç"
_LEAST_LETTERS: Final = 200
_ACRONYM: Final = 6
_LONGEST_ADDRESS: Final = 80
"""Signs without white space from which they are rather a line that has lost its own."""
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_BROKEN: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffd\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff]")
"""Controls, replacement characters and private use; ``\\x1c`` to ``\\x1f`` and ``\\x85`` part lines."""
_MISREAD: Final = re.compile(r"[ÃÂ][\x80-\xbf€-™Œ-ž]|â€.|ï»¿|Ã\s(?=\w)")
"""UTF-8 that was read as Latin-1 or Windows-1252."""
_DOTTED: Final = re.compile(r"\.[^\s.]*\.")
_HYPHEN: Final = re.compile(r"[^\W\d_]{2}[-\u00ad][ \t]*\n[ \t]*[a-zß-ÿ]")
_ODD: Final = re.compile(
    r"[a-zß-ÿ](?:[a-zß-ÿ]\d\d?[a-zß-ÿ]|[01]\w?[a-zß-ÿ]{2}"
    r"|[*©®<>{}|^~§»«?!;$£%#=+¬°\"]+[a-zß-ÿ]|(?:[,;]|\.(?=[a-zß-ÿ]{2}))[a-zß-ÿ])"
)
"""Words with figures or signs in them."""
_MAYBE_ODD: Final = re.compile(r"[0-9*©®<>{}|^~§»«?!;$£%#=+¬°\",.](?<=[a-zß-ÿ].)(?:(?<![,;.])|(?=[a-zß-ÿ]))")
"""The sign within, looked for by itself, which takes a fifth of the time."""
_APART: Final = re.compile(r"(?<!\S)(?:[^\W\d_] ){4,}[^\W\d_](?!\S)")
_FOREIGN: Final = (0.5, 0.85)
"""Most known words and least speakable unknown ones of a page in another language, which nobody here can judge."""
_FOREIGN_ODD: Final = 0.005
_UNSPEAKABLE: Final = re.compile(r".{18}|[^aeiouyà-öø-ÿ]{5}|[aeiouyà-öø-ÿ]{5}|^[^aeiouyà-öø-ÿ]+$")
_LIGATURES: Final = "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
_FRENCH: Final = frozenset(
    "les des une est dans pour par sur que qui aux avec sont ces cette leur mais comme plus sans sous".split()
)
_ENGLISH: Final = frozenset("the and for that with this are from not which shall have has any may been its".split())
_OTHERS: Final = frozenset(
    "der die das und ist nicht mit von für auf den dem ein eine el los las una del por con para se en il che di della "
    "per non sono os uma não com do da het een van niet voor met et in sed ad ut cum nec vel".split()
)
"""Of German, Spanish, Italian, Portuguese, Dutch and Latin: what is in none of these languages is damage."""


def score(text: str) -> float:
    """How far the words of ``text`` can be trusted, from 0 (garbage) to 1 (whole); 1 where there are none to judge."""
    text, cut = _HYPHEN.subn(_joined, text) if "-\n" in text or "\u00ad" in text else (text, 0)
    pieces = text.split()
    if not pieces:
        return 1.0
    chosen = pieces[:: -(-len(pieces) // _SAMPLE)]
    sample = " ".join(chosen)
    if any(map(sample.__contains__, "/@_\\")) or _DOTTED.search(sample):
        sample = " ".join([piece for piece in chosen if not _is_address(piece)])
    judged = _judged(sample)
    odd = (len(_ODD.findall(sample)) if _MAYBE_ODD.search(sample) else 0) / (min(len(pieces), _SAMPLE) + _BELIEVED)
    marked = odd + (_marks(text, pieces) + 0.5 * cut) / (len(pieces) + _BELIEVED)
    if judged.foreign and odd < _FOREIGN_ODD and len(_OTHERS.intersection(pieces)) > 2:
        return round(max(0.0, 1.0 - marked), 3)
    damaged = _weight(text, pieces, judged) / (judged.words + _BELIEVED)
    return round(max(0.0, 1.0 - max(0.0, damaged - _USUAL) / (1 - _USUAL) - marked), 3)


def _is_address(piece: str) -> bool:
    """Whether it stands for no word though it has letters: addresses, paths, identifiers, leaders of dots."""
    return len(piece) < _LONGEST_ADDRESS and (
        "/" in piece or "@" in piece or "_" in piece or "\\" in piece or piece.count(".") > 1
    )


def _joined(found: re.Match[str]) -> str:
    """A word that a line break cut, whole again."""
    return re.sub(r"[-\u00ad\s]", "", found[0])


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


def _judged(sample: str) -> _Judged:
    lists = _lists()
    words = _WORD.findall(_spelled(sample))
    lows = list(map(str.lower, words))
    known = sum(map(lists.words.__contains__, lows))
    unknown = speakable = unaccented = 0
    if known == len(words):
        return _Judged(known, 0, 0, 0)
    for word, low in zip(words, lows, strict=True):
        if low in lists.words:
            continue
        if low in lists.folded:
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


def _spelled(text: str) -> str:
    """Text as the lists spell it."""
    if "œ" in text or "Œ" in text:
        text = text.replace("œ", "oe").replace("Œ", "OE")
    return unicodedata.normalize("NFKC", text)


def _weight(text: str, pieces: list[str], judged: _Judged) -> float:
    """How many words are damaged; where a French page has no accents at all, its odd words stand for many more."""
    if not judged.unknown and not judged.unaccented:
        return 0.0
    words = frozenset(pieces)
    french = len(words & _FRENCH)
    if french < 4 or french <= len(words & _ENGLISH):
        return judged.unknown + 0.5 * judged.unaccented
    letters = len(text) - sum(map(text.count, " \n.0123456789"))
    bare = letters >= _LEAST_LETTERS and sum(map(text.count, _ACCENTED)) < _UNACCENTED * letters
    return (3.0 if bare else 1.0) * (judged.unknown + judged.unaccented)


def _marks(text: str, pieces: list[str]) -> float:
    """The number of words that bear a mark of damage whatever they mean."""
    count = _apart(text, pieces)
    if "\ufffd" in text or not "".join(pieces).isprintable():
        count += sum(bool(_BROKEN.search(piece)) for piece in pieces if len(piece) > 1)
        count += 0.1 * sum(bool(_BROKEN.search(piece)) for piece in pieces if len(piece) == 1)  # bullets and boxes
    if "Ã" in text or "Â" in text or "â€" in text or "ï»¿" in text:
        count += len(_MISREAD.findall(text))
    return count + 0.3 * sum(map(text.count, _LIGATURES))


def _apart(text: str, pieces: list[str]) -> float:
    """How many pieces are the letters of words written apart, half of them counted."""
    if len(text) > 3.5 * len(pieces):  # words have five letters, and these would have one
        return 0.0
    runs = (run for run in _APART.findall(text) if sum(map(str.isascii, run)) > 0.7 * len(run))
    return 0.5 * sum(len(run.split()) for run in runs)


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
