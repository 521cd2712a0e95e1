"""A question is made clearer only when texts differ on something that it leaves unsaid; else it is answered."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import Any

import pytest

from rag.clarify import About, asking, clarification, said_day
from rag.timing import asked_day, undated
from tests.golden_passages import passages, rows

FROZEN = "cef60aab54a8fdc5907abd0cd9bb953520a75a7372742364bd6d381469137599"
"""SHA-256 of the frozen rows, which were written before the module: a change of one is a change of the measure."""
RIGHT = 0.95
"""Share of the frozen questions that are asked about, or not, as they should be; of those that must not be, all."""

DEV = rows("clarifications", "dev")
UNCLEAR, CLEAR = [row for row in DEV if row["asks"]], [row for row in DEV if not row["asks"]]


def test_the_frozen_rows_are_unchanged() -> None:
    """Nobody edits a frozen row silently, and half of either half must not be asked about."""
    frozen = rows("clarifications", "frozen")
    text = "\n".join(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in frozen)
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN
    assert len(DEV) >= 24
    assert len(frozen) >= 24
    assert all(2 * sum(row["asks"] for row in half) == len(half) for half in (DEV, frozen))


@pytest.mark.parametrize("row", UNCLEAR, ids=lambda row: row["id"])
def test_what_is_unsaid_is_asked(row: dict[str, Any]) -> None:
    """The side on which texts differ is named, and each of its cases can be chosen."""
    found = clarification(row["question"], passages(row)[0], row["language"])
    assert found is not None
    assert found.about == row["about"]
    assert len(found.choices) == len(row["choices"])
    assert all(any(part in choice.label for choice in found.choices) for part in row["choices"])


@pytest.mark.parametrize("row", CLEAR, ids=lambda row: row["id"])
def test_what_can_be_answered_is_not_asked(row: dict[str, Any]) -> None:
    """A named case, a general rule, a table of all cases, one value for all: there is nothing to ask."""
    assert clarification(row["question"], passages(row)[0], row["language"]) is None


@pytest.mark.parametrize("row", UNCLEAR, ids=lambda row: row["id"])
def test_a_choice_is_clear(row: dict[str, Any]) -> None:
    """The question that a choice makes is whole, and is not asked about again."""
    read = passages(row)[0]
    found = clarification(row["question"], read, row["language"])
    assert found is not None
    for choice in found.choices:
        assert choice.question.endswith("?")
        assert clarification(choice.question, read, row["language"]) is None


def test_the_frozen_half() -> None:
    """On rows that nothing was tuned on, what is clear is left alone and most of what is unclear is asked."""
    frozen = rows("clarifications", "frozen")
    outcomes = [(row["asks"], clarification(row["question"], passages(row)[0], row["language"])) for row in frozen]
    assert all(found is None for asks, found in outcomes if not asks)
    assert sum(asks is (found is not None) for asks, found in outcomes) >= RIGHT * len(frozen)


@pytest.mark.parametrize("about", About)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_side_is_asked_in_both_languages(about: About, language: str) -> None:
    """A sentence that ends with a question, and a whole question for each label."""
    found = asking(about, "Que dit l'article 4 ?", ("premier", "second"), language)
    assert found.text.endswith("?")
    assert [choice.label for choice in found.choices] == ["premier", "second"]
    assert all("article 4" in choice.question for choice in found.choices)


def test_no_passages_need_no_clarification() -> None:
    """What search did not find is not asked about."""
    assert clarification("Combien de jours ?", ()) is None


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Qui signe mon ordre de mission ?", "fr"),
        ("Jusqu'à quand puis-je poser mes congés ?", "fr"),
        ("Depuis quand le télétravail est-il autorisé ?", "fr"),
        ("Combien de jours de télétravail par semaine ?", "fr"),
        ("Who signs my travel order?", "en"),
        ("Can I carry over my leave?", "en"),
    ],
)
def test_a_day_that_is_chosen_is_the_day_of_the_answer(question: str, language: str) -> None:
    """Whatever is asked; and the words that name it are not searched."""
    day = dt.date(2021, 3, 1)
    [choice] = asking(About.DATE, question, [said_day(day, language)], language).choices
    asked = asked_day(choice.question, dt.date(2026, 11, 23), language)
    assert asked is not None
    assert asked.day == day
    assert re.findall(r"\w+", undated(choice.question, asked)) == re.findall(r"\w+", question)
