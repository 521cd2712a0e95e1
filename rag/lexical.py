"""Words of a text as weighted terms: the French and English analysis, and BM25 vectors; pure.

The document's side carries the term frequencies of BM25, saturated and normalised for length; the question's side
carries one for each of its terms; the store multiplies the two with the inverse document frequency among what the
asker may see, which is the only statistic that it computes.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

import snowballstemmer

from rag.types import Chunk, SparseVector

K1: Final = 1.2
"""How soon more of the same word stops counting; the value of the BM25 papers."""
B: Final = 0.75
"""How much a long text is discounted; the value of the BM25 papers."""
AVERAGE_TERMS: Final = 90.0
"""Terms of an average chunk. A constant, because the true average would change every stored vector with each new
document. The development sets have 37 to 73; a little above is best, as long chunks are then discounted less."""
TITLE_WEIGHT: Final = 0.8
"""What the title adds to the text. It saturates by itself: counted among the words of the text, a long title would
count as length against the chunk that it names. On the development sets that is worth .87 to .96 nDCG@10 where the
title says which of 77 agreements is meant. 1.0 wins a little more there and loses where titles are but categories."""
PATH_WEIGHT: Final = 0.1
"""What the headings above a chunk and its own reference add: useful, but shared by all their neighbours."""

ALSO_WEIGHT: Final = 0.8
"""What the words of another name for a phrase count for in a question. With the general glossary, on the development
sets: +.003 nDCG@10 in the mean of the French ones (+.027 on one, none loses .002), and .857 instead of .686 of the
French practice questions have their article among six passages. 1.0 loses on four sets what .8 gains."""

LANGUAGES: Final = ("fr", "en")
"""The languages that have an analysis of their own; any other is analysed as the first."""

_STOP: Final[Mapping[str, frozenset[str]]] = {
    "fr": frozenset(
        """
        a ai as au aux avec c ce cela ces cet cette combien comment d dans de des donc du elle elles en es est et etre
        eu il ils j je l la le les leur leurs lui m ma mais me mes mon n ne nos notre nous on ont ou par pas pour qu
        que quel quelle quelles quels qui quoi s sa se ses si son sont sur t ta te tes toi ton tu un une vos votre
        vous y
        """.split()
    ),
    "en": frozenset(
        """
        a an and are as at be by did do does for from had has have how i if in is it its my of on or our s that the
        their these this those to was we were what when where which who will with you your
        """.split()
    ),
}
"""Words that say nothing of the subject, folded. Short on purpose: IDF handles the rest, and "sans", "plus" or "not"
change what a rule says."""

_ASKING: Final = frozenset(
    """
    about after all also am any anyone been before being between both can could did each get gets give given got
    happen happens having he her him if into just may me might much many must need needs no not one only other out
    same shall she should so some someone such than them then there they through under until up very want were
    while would
    """.split()
)
"""English words of grammar, left out of questions alone. Where most texts are French they are as rare as names, and a
question would find the few English texts by its "can" and "get"."""

_TOKEN: Final = re.compile(
    r"\b(?P<code>(?:lo|[lrda])[.]?[ ]?[*]?[ ]?[.]?[ ]?\d+(?:-\d+)+)"
    r"|(?P<number>\d+(?:(?:[.,/-]|[ ](?=\d{3}(?!\d)))\d+)*)(?!\w)"
    r"|(?P<word>\w+)"
)
_PLAIN: Final = {"œ": "oe", "æ": "ae", "’": "'", "‐": "-", "‑": "-", "–": "-", "\u00ad": ""}
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_OTHER_SCRIPTS: Final = re.compile("[^\u0000-\u036f\u2010-\u20cf]")
"""Characters that may be marks of other scripts: where there are none, the slow look at each character is spared."""


class _Stemmers(threading.local):
    """A stemmer keeps the word that it works on in itself, so each thread has its own."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {
            "fr": snowballstemmer.stemmer("french"),
            "en": snowballstemmer.stemmer("english"),
        }


_stemmers = _Stemmers()


def fold(text: str) -> str:
    """Lower case, without accents, ligatures opened, apostrophes and hyphens of one kind."""
    text = text.lower()
    for written, plain in _PLAIN.items():
        text = text.replace(written, plain)
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    if _OTHER_SCRIPTS.search(bare) is None:
        return bare
    return "".join(character for character in bare if not unicodedata.combining(character))


def terms(text: str, language: str) -> list[str]:
    """The terms of ``text`` in order, repeated as often as they occur: folded, stemmed, stop words left out.

    Elisions fall away (``l'agent`` is ``agent``), compound words are their parts, amounts lose the blanks inside
    (``1 000`` is ``1000``), and a number or code such as ``L. 3141-3``, ``2024-31`` or ``12,5`` is one term, whole.
    """
    return _analysed(text, language, stop_words(language))


def _analysed(text: str, language: str, stop: frozenset[str]) -> list[str]:
    language = language if language in LANGUAGES else LANGUAGES[0]
    found: list[str] = []
    for match in _TOKEN.finditer(fold(text)):
        token = match.group()
        if match["code"]:
            found.append(re.sub(r"[ .*]", "", token))
        elif match["number"]:
            found.append(token.replace(" ", ""))
        elif token not in stop:
            found.append(stem(token, language))
    return found


def stop_words(*languages: str) -> frozenset[str]:
    """The folded words that say nothing of the subject in any of ``languages``."""
    return frozenset().union(*(_STOP.get(language, _STOP[LANGUAGES[0]]) for language in languages))


@functools.lru_cache(maxsize=1 << 16)
def stem(word: str, language: str) -> str:
    """The stem of a folded word."""
    # Folding comes first: people type questions without accents, and both spellings must meet.
    stemmed: str = _stemmers.of[language if language in LANGUAGES else LANGUAGES[0]].stemWord(word)
    return stemmed


def term_id(term: str) -> int:
    """A stable 32-bit id of a term; two of 100,000 terms share one about once."""
    return zlib.crc32(term.encode())


def document_vector(
    text: str, language: str, *, average: float = AVERAGE_TERMS, length_weight: float = B
) -> SparseVector:
    """The document's side of BM25 for a bare text."""
    return _vector(_saturated(terms(text, language), average, length_weight))


def chunk_vector(chunk: Chunk) -> SparseVector:
    """The document's side of BM25 for a chunk: its text, plus its title, plus its path and reference."""
    weights = _saturated(terms(chunk.text, chunk.language), AVERAGE_TERMS, B)
    path = dict.fromkeys((*chunk.path, chunk.reference))
    for weight, text in ((TITLE_WEIGHT, chunk.title), (PATH_WEIGHT, " ".join(path))):
        for term, value in _field(text, chunk.language).items():
            weights[term] = weights.get(term, 0.0) + weight * value
    return _vector(weights)


class Other(Protocol):
    """Another name, ``phrase``, for characters ``[start, end)`` of a question."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def phrase(self) -> str: ...


def query_vector(
    text: str, languages: Iterable[str], also: Collection[Other] = (), across: Collection[Other] = ()
) -> SparseVector:
    """The question's side of BM25: one for each of its terms, in the analysis of each language of the corpora.

    A word whose stems differ between languages is asked under each of them. The stop words of all of them go: one
    language's "la" is so rare in the texts of the other that it would outweigh the question.

    With other names the question is put in their terms *instead* of those that they stand for: the two questions are
    searched apart, and the better score counts (:func:`rag.fusion.better`), so that a text with both names gains
    nothing. Terms of ``also`` weigh :data:`ALSO_WEIGHT`, those of ``across``, names in another language, as much as
    what they stand for; a name that is longer than that weighs no more in all.
    """
    asked = tuple(languages)
    stop = stop_words(*asked) | _ASKING
    rest = list(text)
    for other in (*also, *across):
        rest[other.start : other.end] = " " * (other.end - other.start)
    weights = dict.fromkeys((term for language in asked for term in _analysed("".join(rest), language, stop)), 1.0)
    for others, most in ((also, ALSO_WEIGHT), (across, 1.0)):
        for other in others:
            for language in asked:
                said = set(_analysed(text[other.start : other.end], language, stop))
                named = set(_analysed(other.phrase, language, stop))
                for term in named:
                    weight = most * min(1.0, max(1, len(said)) / len(named))
                    weights[term] = max(weights.get(term, 0.0), weight)
    return _vector(weights)


@functools.lru_cache(maxsize=4096)
def _field(text: str, language: str) -> Mapping[str, float]:
    """A short field, saturated without regard to its length: a long title is not a weaker one."""
    return _saturated(terms(text, language), 1.0, 0.0)


def _saturated(found: list[str], average: float, length_weight: float) -> dict[str, float]:
    norm = K1 * (1 - length_weight + length_weight * len(found) / average)
    return {term: count * (K1 + 1) / (count + norm) for term, count in Counter(found).items()}


def _vector(weights: Mapping[str, float]) -> SparseVector:
    by_id: dict[int, float] = {}
    for term, weight in weights.items():
        by_id[term_id(term)] = by_id.get(term_id(term), 0.0) + weight
    indices = sorted(by_id)
    return SparseVector(tuple(indices), tuple(by_id[index] for index in indices))
