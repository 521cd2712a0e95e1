"""Follow-ups are searched with the question that they follow; other questions go on as they are."""

from __future__ import annotations

import pytest

from rag.rewrite import is_follow_up, standalone
from rag.types import Turn

HISTORY = (
    Turn("user", "Combien de jours de télétravail par semaine ?"),
    Turn("assistant", "Deux jours [1]."),
)


@pytest.mark.parametrize(
    "question", ["Et pour les contractuels ?", "Depuis quand ?", "Et lui ?", "What about contractors?", "since when?"]
)
def test_a_follow_up_is_led_by_the_question_it_follows(question: str) -> None:
    assert standalone(question, HISTORY) == f"{HISTORY[0].text} {question}"


@pytest.mark.parametrize(
    "question",
    ["Quel est le plafond des frais de repas ?", "Combien de jours de congé pour un enfant malade cette année ?"],
)
def test_a_question_with_its_own_subject_goes_on_as_it_is(question: str) -> None:
    assert not is_follow_up(question)
    assert standalone(question, HISTORY) == question


def test_the_subject_is_the_last_question_that_stood_alone() -> None:
    history = (*HISTORY, Turn("user", "Et le vendredi ?"), Turn("assistant", "Oui [1]."))
    assert standalone("Depuis quand ?", history).startswith(HISTORY[0].text)


def test_without_history_a_follow_up_goes_on_as_it_is() -> None:
    assert standalone("Depuis  quand ?", ()) == "Depuis quand ?"
