"""Whether the passages are about the question at all: decided before a model has written a word. Pure.

A passage that answers holds what the question is about: its rare nouns above all, by themselves or by another name.
A near miss lacks one of them, however much the rest agrees.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt

from rag.asking import Asked, Kind, asked
from rag.glossary import Glossary
from rag.quotable import held, language, of_text, pieces
from rag.references import asked as asked_references
from rag.types import Passage

SUFFICIENT: Final = 0.5
"""Evidence whose :func:`sufficiency` is lower does not answer the question; the fitted intercept puts it here."""

_HEADED: Final = 0.8
"""What a word counts for a sentence that only its headings hold."""
_FITTING: Final = 0.05
"""What the kind of thing asked for adds to a sentence when the best one is looked for."""
_COUNTING: Final = frozenset({Kind.HOW_MANY, Kind.HOW_LONG, Kind.WHEN})
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Features:
    """What :func:`sufficiency` weighs. Words weigh by how much it tells that a text lacks them (``Term.telling``).

    ``passage``, ``second``, ``sentence``, ``top`` and ``anywhere`` are the shares of the question's weight in the best
    passage, the next, the best sentence with its headings, the passage ranked first, and all of them together;
    ``heading`` that in the best headings. ``largest_*`` and ``missing_*`` are the greatest and the whole weight that
    the best passage lacks, or all of them; ``lacking_*`` count those words, ``nouns`` the nouns that none has and
    ``nouns_share`` those that one has. ``words`` counts the question's; ``bm25`` is the best BM25 score over ten,
    ``bm25_share`` that by the question's weight, ``gap`` how far the first passage's stands above the next best;
    ``cosine`` and ``cosines`` are the best and the mean of the best three; ``agree`` is the share of passages from the
    first one's document; ``fits`` whether the best sentence has the kind of thing asked for; ``spread`` how unlike the
    passages are; ``english`` and ``counting`` are about the question.
    """

    passage: float
    sentence: float
    anywhere: float
    top: float
    second: float
    largest_best: float
    largest_any: float
    missing_best: float
    missing_any: float
    lacking_best: float
    lacking_any: float
    nouns: float
    nouns_share: float
    words: float
    bm25: float
    bm25_share: float
    gap: float
    cosine: float
    cosines: float
    agree: float
    fits: float
    heading: float
    spread: float
    english: float
    counting: float

    def __iter__(self) -> Iterator[float]:
        return iter(getattr(self, one.name) for one in fields(self))


def features(
    question: str, passages: Sequence[Passage], speech: str = "fr", glossary: Glossary | None = None
) -> Features | None:
    """What the passages hold of the question; ``None`` when there is nothing to weigh."""
    read = asked(question, speech, glossary)
    words = read.content
    if not passages or not words:
        return None
    ordered = sorted(passages, key=lambda passage: (-passage.score, passage.n))
    headed = np.array([[of_text(p.chunk.breadcrumb, language(p)).worth(word) for word in words] for p in ordered])
    whole = np.array([[of_text(p.chunk.text, language(p)).worth(word) for word in words] for p in ordered])
    whole = np.maximum(whole, headed)
    weights = np.array([word.telling for word in words])
    total = float(weights.sum())
    nouns = np.array([word.noun and not word.weak for word in words])
    shares = whole @ weights / total
    best = whole[int(np.argmax(shares))]
    anywhere = whole.max(axis=0)
    sentence, fits = _best_sentence(read, ordered, headed, weights)
    sparse = [passage.sparse or 0.0 for passage in ordered]
    dense = sorted((passage.dense or 0.0 for passage in ordered), reverse=True)
    ranked = sorted(sparse, reverse=True)
    documents = [passage.chunk.document for passage in ordered]
    return Features(
        passage=float(shares.max()),
        sentence=sentence,
        anywhere=float(weights @ anywhere) / total,
        top=float(shares[0]),
        second=float(np.sort(shares)[-2]) if len(shares) > 1 else 0.0,
        largest_best=float((weights * (best == 0)).max()),
        largest_any=float((weights * (anywhere == 0)).max()),
        missing_best=float(weights[best == 0].sum()),
        missing_any=float(weights[anywhere == 0].sum()),
        lacking_best=float((best == 0).sum()),
        lacking_any=float((anywhere == 0).sum()),
        nouns=float(nouns[anywhere == 0].sum()),
        nouns_share=float(anywhere[nouns].sum()) / max(1, int(nouns.sum())),
        words=float(len(words)),
        bm25=ranked[0] / 10,
        bm25_share=ranked[0] / 10 / max(1.0, total),
        gap=(sparse[0] - (ranked[1] if len(ranked) > 1 else 0.0)) / 10,
        cosine=dense[0],
        cosines=sum(dense[:3]) / 3,
        agree=documents.count(documents[0]) / len(documents),
        fits=fits,
        heading=float((headed @ weights).max()) / total,
        spread=float(shares.std()),
        english=float(speech == "en"),
        counting=float(read.kind in _COUNTING),
    )


def _best_sentence(read: Asked, ordered: Sequence[Passage], headed: _Numbers, weights: _Numbers) -> tuple[float, float]:
    """The share of the question in the best sentence, and whether that has the kind of thing asked for."""
    words = read.content
    total = float(weights.sum())
    best = (0.0, 0.0)
    for above, passage in zip(headed, ordered, strict=True):
        for piece in pieces(passage):
            own = held(piece.stems)
            row = np.maximum([own.worth(word) for word in words], _HEADED * above)
            answers = piece.answers(read.kind)
            fits = 0.5 if answers is None else float(answers)
            best = max(best, (float(row @ weights) / total + _FITTING * fits, fits))
    return best


def sufficiency(
    question: str, passages: Sequence[Passage], speech: str = "fr", glossary: Glossary | None = None
) -> float:
    """How likely the passages answer the question, in ``[0, 1]``; refuse below :data:`SUFFICIENT`.

    Passages that are the very article that the question names always suffice. Everything else is a logistic
    regression on the :class:`Features`; ``rag/data/sufficiency.json`` holds it and says on what it was fitted,
    ``eval/sufficiency.py`` fits it anew. ``glossary`` is that of the corpora in the scope.
    """
    if names_article(question, passages):
        return 1.0
    found = features(question, passages, speech, glossary)
    return 0.0 if found is None else _model().probability(tuple(found))


def names_article(question: str, passages: Sequence[Passage]) -> bool:
    """Whether the question names, text and number, an article that is among the passages."""
    exact, _ = asked_references(question)
    return any(set(exact) & set(passage.chunk.own_references) for passage in passages)


@dataclass(frozen=True, slots=True)
class Regression:
    """A logistic regression on standardised features."""

    intercept: float
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]

    def probability(self, values: Sequence[float]) -> float:
        weighed = self.intercept + sum(
            weight * (value - mean) / scale
            for value, mean, scale, weight in zip(values, self.means, self.scales, self.weights, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, weighed))))


@functools.cache
def _model() -> Regression:
    fitted = json.loads((resources.files("rag") / "data" / "sufficiency.json").read_text(encoding="utf-8"))
    return Regression(fitted["intercept"], tuple(fitted["means"]), tuple(fitted["scales"]), tuple(fitted["weights"]))
