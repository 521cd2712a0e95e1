"""How closely the words of a chunk stand to those of a question, beyond which words they share; pure.

BM25 counts words, each for itself. What it can't see is read here in the best candidates alone, letter by letter,
without any statistics of the corpus: parts of words (``remboursé`` and ``remboursement``, a word with a slip of the
pen), whether the title is about nothing else than the question, whether a text begins with the subject, and whether
words that stand side by side in the question do so in the text. Each measure is between 0 and 1.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rag import lexical
from rag.types import Chunk

RUN: Final = 4
"""Letters of a run. Measured with 3, 4 and 5: three says too little, five loses the slips of the pen."""
LEAD: Final = 30
"""Words of a text that are its beginning: a sentence, in which a rule names its subject."""
APART: Final = 2
"""Small words that may stand between two that belong together: "jours de congé", "congé pour la garde"."""

_WORD: Final = re.compile(r"\w+")
_BLANK_IN_NUMBER: Final = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")


@dataclass(frozen=True, slots=True)
class Weights:
    """What closeness counts for: its ``share`` of a score, and of that the share of each measure."""

    share: float
    runs: float
    title: float
    lead: float
    pairs: float


WEIGHTS: Final[Mapping[str, Weights]] = {
    "fr": Weights(0.6, 0.4, 0.25, 0.25, 0.1),
    "en": Weights(0.5, 0.35, 0.05, 0.1, 0.5),
}
"""By the question's language."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A question taken apart: runs of letters, terms by language, and patterns of its neighbouring words."""

    runs: tuple[str, ...]
    terms: Mapping[str, frozenset[str]]
    pairs: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class Closeness:
    """What a chunk has of a question, each from 0 to 1.

    ``runs``: the share of the question's runs of letters, anywhere in title, path and text. ``title``: the words that
    question and title share, over those of both. ``lead``: the share of its words in the text's beginning. ``pairs``:
    the share of its neighbouring words that are neighbours in the text.
    """

    runs: float
    title: float
    lead: float
    pairs: float

    def score(self, weights: Weights) -> float:
        """One number from 0 to 1."""
        return (
            weights.runs * self.runs
            + weights.title * self.title
            + weights.lead * self.lead
            + weights.pairs * self.pairs
        )


def wording(question: str, languages: Iterable[str] = lexical.LANGUAGES) -> Wording:
    """``question`` taken apart for :func:`closeness`, in the analysis of each of ``languages``."""
    asked = tuple(languages)
    stop = lexical.stop_words(*asked)
    words = [word for word in plain(question).split() if word not in stop]
    runs = dict.fromkeys(run for word in words for run in _runs(word))
    pairs = dict.fromkeys(
        f"{_beginning(left)}(?: \\w+){{0,{APART}}}? {_beginning(right)}"
        for left, right in itertools.pairwise(words)
        if left != right
    )
    terms = {language: frozenset(lexical.stem(word, language) for word in words) for language in asked}
    return Wording(tuple(runs), terms, tuple(re.compile(pair) for pair in pairs))


def closeness(asked: Wording, chunk: Chunk) -> Closeness:
    """How close ``chunk`` is to the question that ``asked`` was made of."""
    text = plain(chunk.text)
    everywhere = plain(chunk.breadcrumb) + text
    language = chunk.language if chunk.language in asked.terms else next(iter(asked.terms))
    terms = asked.terms[language]
    title = _title_terms(chunk.title, language)
    lead = {lexical.stem(word, language) for word in text.split(" ", LEAD + 1)[1 : LEAD + 1]}
    return Closeness(
        runs=_share(sum(run in everywhere for run in asked.runs), len(asked.runs)),
        title=_share(2 * len(terms & title), len(terms) + len(title)),
        lead=_share(len(terms & lead), len(terms)),
        pairs=_share(sum(pair.search(text) is not None for pair in asked.pairs), len(asked.pairs)),
    )


@functools.lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """``text`` folded, its words parted by single blanks, one at either end; amounts without blanks inside."""
    return f" {' '.join(_WORD.findall(_BLANK_IN_NUMBER.sub('', lexical.fold(text))))} "


def _runs(word: str) -> list[str]:
    """The runs of a word, with a blank for where it begins and ends."""
    marked = f" {word} "
    return [marked[start : start + RUN] for start in range(max(1, len(marked) - RUN + 1))]


def _beginning(word: str) -> str:
    """A pattern of words that begin as ``word`` does, without its ending."""
    return f" {re.escape(word[: max(RUN, len(word) - 2)])}\\w*".removeprefix(" ")


@functools.lru_cache(maxsize=4096)
def _title_terms(title: str, language: str) -> frozenset[str]:
    return frozenset(lexical.terms(title, language))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
