"""The best verbatim sentences for a question, and whether the passages are about it at all. Pure.

Both look for the words of the question, by stem or by a family of synonyms. A word that few of the passages hold
weighs more; one that none holds weighs most against them.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Final

from rag.claims import Similarity, Unit, evidence, spells
from rag.lexical import terms
from rag.quantities import Kind, folded
from rag.types import Passage
from rag.wording import Reading, Word, reading, references

SUFFICIENT: Final = 0.5
"""Evidence whose :func:`sufficiency` is lower does not answer the question."""

_HOW_MANY: Final = re.compile(
    r"\bcombien\b|\bquel (?:montant|taux|nombre|pourcentage|seuil|plafond|tarif|prix)|"
    r"\bhow (?:many|much)\b|\bwhat (?:amount|rate|percentage|number)"
)
_WHEN: Final = re.compile(
    r"\bquand\b|\bdelai|\bduree\b|\bquelle date\b|\bcombien de (?:temps|jours|mois|semaines)|"
    r"\bhow (?:long|soon|often)\b|\bwhen\b|\bdeadline\b|\bavant quel|\ba partir de quel|"
    r"\bjusqu'a quel|\bheures?\b"
)
_WHO: Final = re.compile(
    r"\bqui\b(?! (?:est|sont) (?:possible|permis))|\bwho(?:m|se)?\b|\bquel (?:service|"
    r"responsable)|\ba qui\b|\bpar qui\b"
)
_DETERMINERS: Final = frozenset(
    "le la l les un une des du de d au aux pour en sur par mon ma mes son sa ses notre nos votre vos quel quelle quels "
    "quelles sans avec a the an of for my your what which in on".split()
)
_COUNTING: Final = frozenset({Kind.NUMBER, Kind.PERCENT, Kind.MONEY, Kind.DURATION, Kind.MEASURE})
_TIMING: Final = frozenset({Kind.DATE, Kind.DURATION})


@dataclass(frozen=True, slots=True)
class Features:
    """What :func:`sufficiency` weighs, each in ``[0, 1]``.

    ``passage`` and ``sentence`` are the shares of the question's words that the best passage and the best sentence
    hold, headings included; ``top`` the share in the passage that search ranks first; ``lead`` by how much the best
    passage holds more than the second; ``missing`` counts, up to four, the weight of the words that the best passage
    lacks; ``kind`` whether the best sentence has the kind of thing that is asked for;
    ``reference`` whether a passage is the very article that the question names.
    """

    passage: float
    sentence: float
    top: float
    lead: float
    missing: float
    kind: float
    reference: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.passage, self.sentence, self.top, self.lead, self.missing, self.kind, self.reference))


_NOTHING: Final = Features(0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def features(question: str, passages: Sequence[Passage], language: str = "fr") -> Features:
    """What the passages hold of the question."""
    asked = _asked(question, language)
    if not passages or not (asked.words or asked.references):
        return _NOTHING
    named = any(
        asked.references & (references(_cached(passage.chunk.breadcrumb, _language(passage))[0]))
        for passage in passages
    )
    if not asked.words:
        return replace(_NOTHING, reference=float(named))
    weights = asked.weights
    total = sum(weights)

    def share(row: Sequence[bool]) -> float:
        return sum(weight for weight, found in zip(weights, row, strict=True) if found) / total

    held = [[_in_passage(word, passage) for word in asked.words] for passage in passages]
    shares = sorted((share(row) for row in held), reverse=True)
    best = max(held, key=share)
    first = max(range(len(passages)), key=lambda place: passages[place].score)
    sentence, kind = 0.0, 0.0
    for passage in passages:
        above = [_in_heading(word, passage) for word in asked.words]
        for unit in evidence(passage):
            row = [over or _in_unit(word, unit) for word, over in zip(asked.words, above, strict=True)]
            fits = 1.0 if _fits(asked.wanted, unit) else 0.0
            if (share(row) + 0.1 * fits) > (sentence + 0.1 * kind):
                sentence, kind = share(row), fits
    lacking = sum(weight for weight, found in zip(weights, best, strict=True) if not found)
    return Features(
        passage=shares[0],
        sentence=sentence,
        top=share(held[first]),
        lead=shares[0] - (shares[1] if len(shares) > 1 else 0.0),
        missing=min(lacking, 4.0) / 4.0,
        kind=kind,
        reference=float(named),
    )


def sufficiency(question: str, passages: Sequence[Passage], language: str = "fr") -> float:
    """How likely the passages answer the question, in ``[0, 1]``; refuse below :data:`SUFFICIENT`."""
    if not passages:
        return 0.0
    found = features(question, passages, language)
    weighed = _INTERCEPT + sum(weight * value for weight, value in zip(_WEIGHTS, found, strict=True))
    return 1.0 / (1.0 + math.exp(-weighed))


# Logistic regression fitted on 2026-11-23 on the development half of the golden questions (84 answerable, 18 not, and
# the 84 again with the expected article taken away, at 0.4 of the weight), over six passages found by BM25.
# In twelve-fold cross-validation 0.5 refuses 0.83 to 0.89 of the unanswerable and keeps 0.88 of the answerable.
_INTERCEPT: Final = -7.09
_WEIGHTS: Final = (3.16, 1.02, 3.16, 1.06, -2.15, 2.31, 0.71)


def extracts(
    question: str,
    passages: Sequence[Passage],
    *,
    limit: int = 3,
    similarity: Similarity | None = None,
    language: str = "fr",
) -> list[tuple[int, int, int]]:
    """The best whole sentences, items and rows as ``(passage n, start, end)``, passages and sentences in reading order.

    An item brings its lead-in and a row its header. A second sentence of one article must be clearly better than
    the first of another.
    """
    asked = _asked(question, language)
    ranked = _ranked(asked, passages)
    if similarity is not None and ranked:
        close = similarity([question], [unit.text for _, unit in ranked[:20]])[0]
        ranked = sorted(
            ((score + 0.3 * float(cosine), unit) for (score, unit), cosine in zip(ranked[:20], close, strict=True)),
            key=lambda one: -one[0],
        )
    chosen: list[Unit] = []
    by_number = {passage.n: passage for passage in passages}
    taken: dict[tuple[str, str], int] = {}
    pool = [(score, unit) for score, unit in ranked if score > 0]
    while pool and len(chosen) < limit:
        score, unit = max(pool, key=lambda one: one[0] * 0.6 ** taken.get(_article(by_number[one[1].passage]), 0))
        if chosen and score < 0.35 * pool[0][0] and score < 0.35 * ranked[0][0]:
            break
        pool = [one for one in pool if one[1] is not unit]
        if any(unit.text == other.text for other in chosen):
            continue
        chosen.append(unit)
        article = _article(by_number[unit.passage])
        taken[article] = taken.get(article, 0) + 1
    order = {passage.n: place for place, passage in enumerate(passages)}
    spans: list[tuple[int, int, int]] = []
    for unit in sorted(chosen, key=lambda one: (order[one.passage], one.start)):
        for start, end in _whole(by_number[unit.passage].chunk.text, unit):
            if (unit.passage, start, end) not in spans:
                spans.append((unit.passage, start, end))
    return sorted(spans, key=lambda one: (order[one[0]], one[1]))


# --- the question -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question's words that carry meaning, how much each says, its references, and what it asks for."""

    words: tuple[tuple[Word, str], ...]
    weights: tuple[float, ...]
    references: frozenset[str]
    wanted: str | None


@functools.cache
def _asking(kind: str, language: str) -> frozenset[str]:
    """The words that questions are made of (``""``), those that say little (``_light``), and weak stems (``_weak``)."""
    lists = tomllib.loads((resources.files("rag") / "data" / "asking.toml").read_text(encoding="utf-8"))
    return frozenset(folded(word) for word in str(lists[("en" if language == "en" else "fr") + kind]).split())


@functools.lru_cache(maxsize=64)
def _asked(question: str, language: str) -> _Asked:
    said = reading(question, language)
    words: dict[str, Word] = {}
    for word in said.words:
        text = question[word.start : word.end]
        if not word.ids or (" " not in text and word.name is None and folded(text) in _asking("", language)):
            continue
        stems = terms(text, language)
        words.setdefault(" ".join(stems) or folded(text), word)
    plain = folded(question)
    wanted = (
        "when"
        if _WHEN.search(plain)
        else "how many"
        if _HOW_MANY.search(plain)
        else "who"
        if _WHO.search(plain)
        else None
    )
    weights = tuple(_weight(question, word, key, language) for key, word in words.items())
    return _Asked(tuple((word, key) for key, word in words.items()), weights, references(said), wanted)


def _weight(question: str, word: Word, key: str, language: str) -> float:
    """How much it tells that a passage lacks the word: nouns most, words that answers often lack least."""
    weight = 1.0 if _is_noun(question, word) else 0.5
    light = folded(question[word.start : word.end]) in _asking("_light", language)
    weak = all(stem in _asking("_weak", language) for stem in key.split())
    return weight * (0.3 if light or weak else 1.0)


def _is_noun(question: str, word: Word) -> bool:
    """Whether a word follows a determiner or preposition and is no infinitive: what a question is about."""
    before = re.findall(r"[^\W_]+", folded(question[: word.start]))
    own = folded(question[word.start : word.end])
    return bool(before) and before[-1] in _DETERMINERS and not re.search(r"(?:er|ir|re|oir)$", own)


@functools.lru_cache(maxsize=512)
def _cached(text: str, language: str) -> tuple[Reading, frozenset[str]]:
    return reading(text, language), frozenset(terms(text, language))


def _language(passage: Passage) -> str:
    return "en" if passage.chunk.language == "en" else "fr"


def _in(word: tuple[Word, str], text: str, language: str) -> bool:
    said, stems = _cached(text, language)
    meaning, key = word
    if all(stem in stems for stem in key.split()):
        return True
    if any(meaning.like(other) for other in said.words):
        return True
    return meaning.name is not None and spells(meaning.name, text)


def _in_passage(word: tuple[Word, str], passage: Passage) -> bool:
    return _in(word, passage.chunk.text, _language(passage)) or _in_heading(word, passage)


def _in_heading(word: tuple[Word, str], passage: Passage) -> bool:
    return _in(word, passage.chunk.breadcrumb, _language(passage))


def _in_unit(word: tuple[Word, str], unit: Unit) -> bool:
    meaning, key = word
    if any(meaning.like(other) for other in unit.words):
        return True
    stems = _cached(unit.text, "en" if unit.language == "en" else "fr")[1]
    return all(stem in stems for stem in key.split())


def _fits(wanted: str | None, unit: Unit) -> bool:
    """Whether the unit has the kind of thing that is asked for: a number, a date or duration, somebody."""
    kinds = {value.kind for value in unit.values}
    if wanted == "how many":
        return bool(kinds & _COUNTING)
    if wanted == "when":
        return bool(kinds & _TIMING)
    if wanted == "who":
        return any(word.roles and "0" not in word.roles for word in unit.words)
    return True


# --- the sentences ----------------------------------------------------------------------------------------------


def _ranked(asked: _Asked, passages: Sequence[Passage]) -> list[tuple[float, Unit]]:
    """Every unit with its score, best first: the words of the question it holds, its passage's rank, what is asked."""
    units = [(passage, unit) for passage in passages for unit in evidence(passage)]
    if not units:
        return []
    held = [[_in_unit(word, unit) for word in asked.words] for _, unit in units]
    headed = [[_in_heading(word, passage) for word in asked.words] for passage, _ in units]
    weights = [
        math.log((len(units) + 1) / (sum(row[column] for row in held) + 0.5)) for column in range(len(asked.words))
    ]
    total = sum(weights) or 1.0
    best = max((passage.score for passage in passages), default=0.0)
    scored = []
    for (passage, unit), row, above in zip(units, held, headed, strict=True):
        own = sum(weight for weight, found in zip(weights, row, strict=True) if found)
        over = sum(w for w, found, other in zip(weights, row, above, strict=True) if other and not found)
        score = (own + 0.4 * over) / total
        score += 0.35 * (passage.score / best if best > 0 else 0.0)
        if asked.wanted is not None and _fits(asked.wanted, unit):
            score += 0.15
        if not any(row) and not any(above):
            score = 0.0
        scored.append((score, unit))
    return sorted(scored, key=lambda one: -one[0])


def _article(passage: Passage) -> tuple[str, str]:
    return passage.chunk.document, passage.chunk.reference


def _whole(text: str, unit: Unit) -> list[tuple[int, int]]:
    """The unit's span, before it the lead-in of an item or the header of a row."""
    spans = [(unit.start, unit.end)]
    if unit.lead is not None:
        spans.insert(0, unit.lead)
    start, end = spans[-1]
    while end < len(text) and text[end] in " ;" and text[end : end + 2].strip() == ";":
        end += 1
    return [*spans[:-1], (start, end)]
