"""Fitting when to refuse: what is learnt from, and what is only judged."""

from __future__ import annotations

import numpy as np

from eval import sufficiency
from rag.sufficiency import Features


def example(
    value: float, group: int, *, answerable: bool, asked: bool = True, shown: bool = True
) -> sufficiency.Example:
    width = len(Features.__dataclass_fields__)
    return sufficiency.Example((value,) * width, answerable, asked, shown, group, "dev" if group % 2 else "practice")


def rows() -> list[sufficiency.Example]:
    random = np.random.RandomState(0)
    return [
        example(float(answerable) + 0.2 * random.rand(), group, answerable=bool(answerable))
        for group, answerable in enumerate(random.randint(0, 2, 80))
    ]


def test_no_question_of_the_frozen_half_is_fitted_on() -> None:
    """What is reported on is never tuned on."""
    asked = sufficiency.questions()
    assert {case.split for _, case in asked} == {"dev", "practice"}
    assert {name for name, _ in asked} >= {"dev", "practice", "practice_2"}


def test_the_threshold_is_one_half() -> None:
    """The share of unanswerable questions that is wanted falls below one half, whatever the scale of the features."""
    given = rows()
    found = sufficiency.fitted(given)
    scored = [found.model.probability(one.features) for one in given if not one.answerable]
    assert np.mean([one < 0.5 for one in scored]) >= 0.9


def test_nothing_is_learnt_from_a_question_whose_article_was_not_found() -> None:
    """An answer that nobody was shown says nothing of what an answer looks like."""
    given = rows()
    spoilt = [*given, *(example(-5.0, 80 + n, answerable=True, shown=False) for n in range(20))]
    assert sufficiency.fitted(spoilt).model.weights[0] > 0
    dev = sufficiency.fitted(spoilt).figures["dev"]
    assert isinstance(dev, dict)
    assert dev["refused_wrongly"] > 0
