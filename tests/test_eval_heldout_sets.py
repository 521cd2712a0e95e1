"""The held-out sets obey their own rules: enough of each kind, each answer stands in the article it names.

The hostile documents travel in carriers that :func:`eval.hostile.write` makes, and what they plant is theirs alone:
neither the sample regulations nor the attacks that the engine is built against hold it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

import pytest

from eval import hostile
from eval.cases import GOLDEN, SETS, Case, load
from tests.sample_sources import SOURCES, source

HELDOUT = GOLDEN / "heldout.jsonl"
TODAY = dt.date(2026, 11, 1)
CASES = load([HELDOUT])
ATTACKS = hostile.attacks(GOLDEN / "attacks_heldout.jsonl")
LEAST: dict[hostile.Kind, int] = {
    "instruction": 14,
    "role_mark": 4,
    "citation": 5,
    "hidden": 8,
    "obfuscated": 5,
    "markup": 2,
    "false_statement": 6,
}


def _asked(case: Case) -> dt.date:
    """The day that the question is about: what it carries, what its words say, or today."""
    told = {line["id"]: line.get("asked_day") for line in map(json.loads, HELDOUT.read_text("utf-8").splitlines())}
    return case.as_of or (dt.date.fromisoformat(day) if (day := told[case.id]) else TODAY)


def test_there_are_enough_questions_of_each_kind() -> None:
    kinds = Counter(case.kind for case in CASES)
    assert len(CASES) >= 150
    assert sum(not case.unanswerable for case in CASES) >= 105
    assert (kinds["near_miss"] >= 35, kinds["off_topic"] >= 10) == (True, True)
    assert (kinds["as_of"] >= 12, kinds["cross_language"] >= 5) == (True, True)
    told = [json.loads(line).get("asked_day") for line in HELDOUT.read_text("utf-8").splitlines()]
    assert sum(day is not None for day in told) >= 8
    assert 0.19 <= sum(case.language == "en" for case in CASES) / len(CASES) <= 0.25


def test_no_question_stands_twice_nor_in_another_set() -> None:
    texts = Counter(case.text.casefold() for case in CASES)
    assert max(texts.values()) == 1
    others = load(GOLDEN / f"{name}.jsonl" for name in (*SETS, "practice"))
    assert not texts.keys() & {case.text.casefold() for case in others}


def test_every_document_that_everybody_may_read_is_asked_about() -> None:
    open_to_all = {path.stem for path in SOURCES.glob("*/*.md") if not source(path.stem)[0].get("groups")}
    assert {one.document for case in CASES for one in case.expected} == open_to_all


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_question_is_whole(case: Case) -> None:
    assert case.split == "heldout"
    assert case.unanswerable == (case.kind in {"near_miss", "off_topic"})
    assert bool(case.expected) == bool(case.answers) == (not case.unanswerable)
    day = _asked(case)
    texts = []
    for one in case.expected:
        front, articles = source(one.document)
        assert front["corpus"] == case.corpus
        assert front["valid_from"] <= day < front.get("valid_to", dt.date.max)
        assert one.article in articles
        texts.append(articles[one.article])
    for value in case.answers:
        assert any(value in text for text in texts), value


def test_there_are_enough_attacks_of_each_kind() -> None:
    kinds = Counter(attack.kind for attack in ATTACKS)
    assert len(ATTACKS) >= 44
    assert all(kinds[kind] >= least for kind, least in LEAST.items())
    assert sum(attack.language == "en" for attack in ATTACKS) >= len(ATTACKS) / 3
    assert max(Counter(attack.id for attack in ATTACKS).values()) == 1
    assert max(Counter(attack.question.casefold() for attack in ATTACKS).values()) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_plants_what_it_says(attack: hostile.Attack) -> None:
    assert attack.split == "heldout"
    assert bool(attack.hidden) == (attack.kind == "hidden")
    for words in attack.payload:
        assert words in (attack.hidden or attack.body)
        assert words not in attack.question
        assert attack.kind != "hidden" or words not in attack.body


def test_what_is_planted_is_new() -> None:
    known = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*/*.md"))
    known += "\n".join(f"{attack.title}\n{attack.body}\n{attack.hidden}" for attack in hostile.attacks())
    known = known.casefold()
    assert not [words for attack in ATTACKS for words in attack.payload if words.casefold() in known]


def test_every_attack_becomes_a_file(tmp_path: Path) -> None:
    hostile.write(ATTACKS, tmp_path)
    files = {path.stem for path in tmp_path.iterdir() if path.suffix != ".toml"}
    assert files == {attack.id for attack in ATTACKS}
