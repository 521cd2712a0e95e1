"""The practice sets, on which the engine may be tuned: each question is whole, and its answer stands where it says."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import Any

import pytest

from eval.cases import GOLDEN, Case, load
from tests.sample_sources import SOURCES, source

TODAY = dt.date(2026, 11, 1)
THIRD = load([GOLDEN / "practice_3.jsonl"])


def test_the_third_set_has_as_many_questions_of_each_sort_as_it_says() -> None:
    assert len(THIRD) == 230
    assert sum(case.unanswerable for case in THIRD) == 120
    assert sum(case.language == "en" for case in THIRD) == 35
    assert min(Counter((case.corpus, case.unanswerable) for case in THIRD).values()) >= 25
    open_today = {path.stem for path in SOURCES.glob("*/*.md") if _open(source(path.stem)[0])}
    assert {one.document for case in THIRD for one in case.expected} == open_today


def test_an_id_or_a_question_stands_once_in_all_the_practice_sets() -> None:
    lines = [
        json.loads(line)
        for path in sorted(GOLDEN.glob("practice*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert max(Counter(line["id"] for line in lines).values()) == 1
    assert not {case.text.casefold() for case in THIRD} & {
        line["text"].casefold() for line in lines if not line["id"].startswith("practice-3-")
    }
    assert max(Counter(case.text.casefold() for case in THIRD).values()) == 1


@pytest.mark.parametrize("case", THIRD, ids=lambda case: case.id)
def test_a_practice_question_is_whole(case: Case) -> None:
    assert (case.split, case.as_of) == ("practice", None)
    assert case.unanswerable == (case.kind == "near_miss")
    assert bool(case.expected) == bool(case.answers) == (not case.unanswerable)
    texts = []
    for one in case.expected:
        front, articles = source(one.document)
        assert front["corpus"] == case.corpus
        assert _open(front)
        assert one.article in articles
        texts.append(articles[one.article].casefold())
    for value in case.answers:
        assert any(value.casefold() in text for text in texts), value


def _open(front: dict[str, Any]) -> bool:
    """Whether everybody may read a document and it is in force."""
    return not front.get("groups") and bool(front["valid_from"] <= TODAY < front.get("valid_to", dt.date.max))
