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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    "fr": Weights(0.6, 0.45, 0.2, 0.25, 0.1),
    "en": Weights(0.5, 0.35, 0.05, 0.1, 0.5),
}
"""By the question's language. Each measure alone gains on most of the development sets and loses on some; together they
gain on all, .024 nDCG@10 in the mean of the six French ones and .017 on a set that had no part in choosing them
(.04 to .00 on each). Ten other choices near these stay within .002. English weighs neighbours more, because the tables
of its sets repeat the same few words. Weighing words by their rarity would win .007 more and need the statistics of
what the asker may see, which only the store has."""


@dataclass(frozen=True, slots=True)
class Words:
    """Words taken apart: their runs of letters, and their terms by language."""

    runs: tuple[str, ...]
    terms: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Wording:
    """A question taken apart: the words that have but one name, then each phrase that has several, by its names, its
    own first; and patterns of its neighbouring words."""

    words: Words
    phrases: tuple[tuple[Words, ...], ...]
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


def wording(question: str, languages: Iterable[str] = lexical.LANGUAGES, also: Iterable[lexical.Other] = ()) -> Wording:
    """``question`` taken apart for :func:`closeness`, in the analysis of each of ``languages``.

    ``also`` are other names of its phrases: of each phrase the name counts that a chunk has most of, so that another
    name is as good as the one that was said, and both together are no better.
    """
    asked = tuple(languages)
    stop = lexical.stop_words(*asked)
    names: dict[tuple[int, int], list[str]] = {}
    for other in sorted(also, key=lambda one: (one.start, -one.end)):
        place = (other.start, other.end)
        if place in names or all(end <= other.start for _, end in names):
            names.setdefault(place, [question[other.start : other.end]]).append(other.phrase)
    rest, position = [], 0
    for start, end in names:
        rest.append(question[position:start])
        position = end
    rest.append(question[position:])
    words = [word for word in plain(question).split() if word not in stop]
    pairs = dict.fromkeys(
        f"{_beginning(left)}(?: \\w+){{0,{APART}}}? {_beginning(right)}"
        for left, right in itertools.pairwise(words)
        if left != right
    )
    phrases = tuple(tuple(_words(name, asked, stop) for name in said) for said in names.values())
    return Wording(_words("\n".join(rest), asked, stop), phrases, tuple(re.compile(pair) for pair in pairs))


def closeness(asked: Wording, chunk: Chunk) -> Closeness:
    """How close ``chunk`` is to the question that ``asked`` was made of."""
    text = plain(chunk.text)
    everywhere = plain(chunk.breadcrumb) + text
    language = chunk.language if chunk.language in asked.words.terms else next(iter(asked.words.terms))
    title = _title_terms(chunk.title, language)
    lead = {lexical.stem(word, language) for word in text.split(" ", LEAD + 1)[1 : LEAD + 1]}
    runs, most = _had(asked, lambda words: _counted(words.runs, lambda run: run in everywhere))
    titled, terms = _had(asked, lambda words: _counted(words.terms[language], title.__contains__))
    led, _ = _had(asked, lambda words: _counted(words.terms[language], lead.__contains__))
    return Closeness(
        runs=_share(runs, most),
        title=_share(2 * titled, terms + len(title)),
        lead=_share(led, terms),
        pairs=_share(sum(pair.search(text) is not None for pair in asked.pairs), len(asked.pairs)),
    )


def _had(asked: Wording, counted: Callable[[Words], tuple[int, int]]) -> tuple[float, int]:
    """How much of a question a chunk has, and how much there is; of each phrase, by the name that it has most of."""
    found, most = counted(asked.words)
    total: float = found
    for names in asked.phrases:
        shares = [counted(name) for name in names]
        said = shares[0][1]
        total += said * max(_share(*share) for share in shares)
        most += said
    return total, most


def _counted(items: Collection[str], has: Callable[[str], bool]) -> tuple[int, int]:
    return sum(map(has, items)), len(items)


def _words(text: str, languages: Sequence[str], stop: Collection[str]) -> Words:
    words = [word for word in plain(text).split() if word not in stop]
    runs = dict.fromkeys(run for word in words for run in _runs(word))
    return Words(
        tuple(runs), {language: frozenset(lexical.stem(word, language) for word in words) for language in languages}
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


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
