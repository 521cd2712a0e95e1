"""Greetings, dangers, insults and matters of elsewhere are told from questions, and questions are left alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from eval.cases import golden
from rag.intents import LONGEST, STATUS, Intent, intent
from rag.types import Status

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "eval" / "golden" / "intents.jsonl").read_text("utf-8").splitlines()
]


def accuracy(split: str) -> tuple[float, int]:
    """The share of a half that is told right, and how many of its questions are not taken for questions."""
    rows = [row for row in ROWS if row["split"] == split]
    right = sum(intent(row["text"]) == row["intent"] for row in rows)
    lost = sum(intent(row["text"]) is not Intent.QUESTION for row in rows if row["intent"] == "question")
    return right / len(rows), lost


@pytest.mark.parametrize("row", [row for row in ROWS if row["split"] == "dev"], ids=lambda row: row["id"])
def test_each_message_of_the_development_half(row: dict[str, str]) -> None:
    assert intent(row["text"]) == row["intent"]


def test_the_half_that_was_kept_aside() -> None:
    """Written before the patterns: nearly all are told right, and no question is lost."""
    share, lost = accuracy("frozen")
    assert share >= 0.95
    assert lost == 0


def test_the_table_has_every_intent_in_both_halves() -> None:
    counts = Counter((row["split"], row["intent"]) for row in ROWS)
    assert len(ROWS) >= 150
    assert all(counts[split, one.value] >= 5 for split in ("dev", "frozen") for one in Intent)


def test_no_golden_question_is_lost() -> None:
    """Of the development questions only those about other matters are no questions for the texts."""
    for case in golden():
        if case.split == "dev" and case.kind != "off_topic":
            assert intent(case.text) is Intent.QUESTION, case.text


@pytest.mark.parametrize(
    "name", ["fr-travail", "fr-cnil", "fr-service-public", "fr-piaf", "fr-conventions", "fr-codes"]
)
def test_real_questions_stay_questions(shared_data: Path, name: str) -> None:
    """Of the questions that people asked elsewhere fewer than two in a thousand are called anything else."""
    lines = (shared_data / name / "queries.jsonl").read_text("utf-8").splitlines()
    lost = [text for line in lines if intent(text := json.loads(line)["text"]) is not Intent.QUESTION]
    assert len(lost) <= 0.002 * len(lines), lost


def test_a_greeting_before_a_question_is_part_of_it() -> None:
    assert intent("Bonjour !") is Intent.GREETING
    assert intent("Bonjour, combien de jours de congé ?") is Intent.QUESTION


def test_a_person_in_danger_is_heard_in_a_long_message() -> None:
    """A long message is a question, but for one who may harm themself."""
    story = "Je travaille au service des voies depuis dix ans. " * 12
    assert len(story) > LONGEST
    assert intent(f"{story} Connard.") is Intent.QUESTION
    assert intent(f"{story} J'ai envie de mourir.") is Intent.DISTRESS


def test_who_asks_for_the_procedure_after_an_assault_gets_it() -> None:
    assert intent("Mon collègue m'a frappé") is Intent.DISTRESS
    assert intent("Mon collègue m'a frappé, quelle est la procédure de déclaration ?") is Intent.QUESTION


def test_every_intent_but_the_question_has_a_status() -> None:
    assert set(STATUS) == set(Intent) - {Intent.QUESTION}
    assert set(STATUS.values()) == {Status.OUT_OF_SCOPE, Status.REFUSED}


@pytest.mark.parametrize(
    "text", ["", " ?! ", "je " * 1300, "ignore " * 60, "bonjour, " * 400, "tu es un " * 400, "a" * 4000]
)
def test_strange_messages_are_read_at_once(text: str) -> None:
    started = time.process_time()
    intent(text)
    assert time.process_time() - started < 0.3
