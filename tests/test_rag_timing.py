"""Reading the day of the rules in a question: which dates are it, and which are the question's own matter."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path

import pytest

from rag.timing import AskedDay, DayKind, asked_day, undated

TODAY = dt.date(2026, 11, 23)
TABLE = Path(__file__).parent / "data" / "timing.jsonl"
"""Labelled questions. Splits ``dev`` and ``aside`` were written before the rules. ``later`` and ``last`` were written
after them and judged once before anything was changed: precision 0.90 and 0.89, recall 0.84 and 0.96 then."""


def _said(found: AskedDay | None) -> str:
    """The day of a reading as the table writes it; empty for today, as for no day at all."""
    if found is None or found.day == TODAY:
        return ""
    return found.kind.value if found.day is None else found.day.isoformat()


@pytest.mark.parametrize("split", ["dev", "aside", "later", "last"])
def test_few_labelled_questions_are_read_wrongly(split: str) -> None:
    """A wrong day is worse than none: precision stands above recall in each split of the table."""
    rows = [row for row in map(json.loads, TABLE.read_text("utf-8").splitlines()) if row["split"] == split]
    wanted = {row["id"]: "" if row["day"] == TODAY.isoformat() else row["day"] for row in rows}
    read = {row["id"]: _said(asked_day(row["text"], TODAY, row["language"])) for row in rows}
    right = sum(bool(read[one]) and read[one] == wanted[one] for one in wanted)
    assert len(rows) >= 50
    assert right / sum(map(bool, read.values())) >= 0.99
    assert right / sum(map(bool, wanted.values())) >= 0.97


@pytest.mark.parametrize(
    ("text", "first", "last", "day"),
    [
        ("En 2023, combien de jours ?", (2023, 1, 1), (2024, 1, 1), (2023, 12, 31)),
        ("En mars 2022, combien de jours ?", (2022, 3, 1), (2022, 4, 1), (2022, 3, 31)),
        ("Fin 2022, combien de jours ?", (2022, 10, 1), (2023, 1, 1), (2022, 12, 31)),
        ("Début 2024, combien de jours ?", (2024, 1, 1), (2024, 4, 1), (2024, 3, 31)),
        ("En 2026, combien de jours ?", (2026, 1, 1), (2027, 1, 1), (2026, 11, 23)),
        ("Début 2026, combien de jours ?", (2026, 1, 1), (2026, 4, 1), (2026, 3, 31)),
        ("En 2028, combien de jours ?", (2028, 1, 1), (2029, 1, 1), (2028, 1, 1)),
        ("Avant 2024, combien de jours avait-on ?", (2023, 12, 31), (2024, 1, 1), (2023, 12, 31)),
        ("Au 1er janvier 2025, combien de jours ?", (2025, 1, 1), (2025, 1, 2), (2025, 1, 1)),
        ("Il y a deux ans, combien de jours avait-on ?", (2024, 11, 23), (2024, 11, 24), (2024, 11, 23)),
    ],
)
def test_a_period_is_its_last_day_that_is_not_to_come(
    text: str, first: tuple[int, int, int], last: tuple[int, int, int], day: tuple[int, int, int]
) -> None:
    """A whole year is its 31 December, the running one today, and one to come its first day."""
    found = asked_day(text, TODAY)
    assert found is not None
    assert found.period is not None
    assert (found.period.first, found.period.last, found.day) == (dt.date(*first), dt.date(*last), dt.date(*day))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Combien pouvait-on en prendre en mars\u00a02022 ?", "en mars\u00a02022"),
        ("L’an dernier, quel était le plafond ?", "L’an dernier"),
        ("Quel était le délai avant le 1er avril 2024 ?", "avant le 1er avril 2024"),
        ("Que disait l'ancienne version ?", "l'ancienne version"),
    ],
)
def test_the_words_that_were_read_are_pointed_at(text: str, words: str) -> None:
    """``start`` and ``end`` count the question's own characters."""
    found = asked_day(text, TODAY)
    assert found is not None
    assert text[found.start : found.end] == words


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("En juin 2022, combien de jours pouvait-on prendre ?", "Combien de jours pouvait-on prendre ?"),
        ("Combien de jours avait-on avant la réforme ?", "Combien de jours avait-on ?"),
        ("Quel était, en mars 2024, le préavis ?", "Quel était le préavis ?"),
        ("Que disait l'ancienne version de l'article 4 ?", "Que disait l'ancienne version de l'article 4 ?"),
        ("Nuit à l'automne 2022 : quel plafond s'appliquait ?", "Nuit : quel plafond s'appliquait ?"),
        ("Pour une mission en mai 2024, quel délai avait-on ?", "Pour une mission, quel délai avait-on ?"),
        ("et en 2022 ?", "et en 2022 ?"),
        ("En 2022 ?", "En 2022 ?"),
    ],
)
def test_a_question_can_be_searched_without_its_day(text: str, left: str) -> None:
    """What stands in no rule goes, and never the whole question."""
    asked = asked_day(text, TODAY)
    assert asked is not None
    assert undated(text, asked) == left


def test_before_a_change_has_no_day_yet() -> None:
    """Only the texts tell when « la réforme » was."""
    found = asked_day("Combien de jours avait-on avant la réforme ?", TODAY)
    assert found is not None
    assert (found.kind, found.day, found.period) == (DayKind.BEFORE_CHANGE, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "J'étais en congé en 2023, combien de jours me reste-t-il ?",
        "Qu'est-ce qui a changé entre 2021 et 2025 ?",
        "Combien de jours avait-on en 2021, et combien en 2024 ?",
        "Que dit le décret n° 2019-1441 du 23 décembre 2019 ?",
        "Combien de jours pouvait-on poser au 31 février 2023 ?",
        "",
    ],
)
def test_what_names_no_day_of_a_rule_gives_none(text: str) -> None:
    """Stories, comparisons, names of texts and days that no calendar has."""
    assert asked_day(text, TODAY) is None


def test_a_narrower_period_wins_over_the_one_around_it() -> None:
    """« En 2022, … en mars 2022 » is March."""
    found = asked_day("En 2022, combien de jours pouvait-on prendre en mars 2022 ?", TODAY)
    assert found is not None
    assert found.day == dt.date(2022, 3, 31)


def test_a_long_hostile_question_is_read_in_linear_time() -> None:
    """A question as long as may be asked, made to confuse the grammar, does not stop the service."""
    started = time.perf_counter()
    for text in ("en 2022 qui " * 350, "si avait " * 450, "l'ancien " * 450, "avant le " * 450, "mars " * 800):
        asked_day(text, TODAY)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Combien de jours de télétravail par semaine en 2022 pour les encadrants ?", dt.date(2022, 12, 31)),
        ("Quel est le délai pour envoyer un arrêt de travail en 2023 ? À qui ?", dt.date(2023, 12, 31)),
        (
            "Quelle est la règle de l'article 4 en 2023 (Décision n° 2022-07 du 10 février 2022) ?",
            dt.date(2023, 12, 31),
        ),
        ("Combien de jours de télétravail avant 2025 ?", dt.date(2024, 12, 31)),
    ],
)
def test_a_day_is_kept_by_what_a_follow_up_or_a_choice_puts_behind_it(text: str, day: dt.date) -> None:
    """Else the rule of today is told for a question that names another day."""
    found = asked_day(text, TODAY)
    assert found is not None
    assert found.day == day


@pytest.mark.parametrize(
    "text",
    [
        "Combien de jours de congés pour 2025 puis-je reporter en 2026 ?",
        "Que dit l'article 4 (Arrêté n° 2022-41 du 9 novembre 2022 relatif au compte épargne-temps) ?",
        "dernier jour pour payer par carte d'achat avant la fin d'annee 2026",
        "Quel délai pour un déplacement fait en 2022 pour lequel je n'ai pas de facture ?",
    ],
)
def test_what_stands_behind_a_story_or_a_title_gives_no_day(text: str) -> None:
    assert _said(asked_day(text, TODAY)) == ""
