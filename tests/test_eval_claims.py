"""The judge on the golden sets: what is wrong is rejected, what is true mostly survives."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eval.claims import Score, cases, evaluate, table
from rag.claims import judge


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return evaluate()


def test_the_golden_sets_are_large_enough() -> None:
    """At least 180 pairs, 30 of them English, and 120 paraphrases, 20 of them English; half of each frozen."""
    golden = cases()
    pairs = [case for case in golden if case.kind != "paraphrase" and not case.supported]
    paraphrases = [case for case in golden if case.kind == "paraphrase"]
    assert len(pairs) >= 180
    assert sum(case.language == "en" for case in pairs) >= 30
    assert len(paraphrases) >= 120
    assert sum(case.language == "en" for case in paraphrases) >= 20
    for sort in (pairs, paraphrases):
        assert 0.45 <= sum(case.split == "frozen" for case in sort) / len(sort) <= 0.55
    assert len({case.id for case in golden}) == len(golden)


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.split == "dev" and not case.supported], ids=lambda case: case.id
)
def test_no_minimally_wrong_sentence_passes(case: Any) -> None:
    """On the half that the judge was tuned on, every wrong sentence is rejected."""
    assert not judge(case.sentence, case.passages).supported


def test_the_frozen_half_confirms_it(result: dict[str, Any]) -> None:
    """On the half that was never tuned on, at least 97 of 100 wrong sentences are rejected."""
    assert result["splits"]["frozen"]["minimal_pairs"]["recall"] >= 0.97


def test_true_sentences_survive(result: dict[str, Any]) -> None:
    """The true sides of the pairs are kept, in both halves."""
    assert result["splits"]["dev"]["minimal_pairs"]["survival"] >= 0.95
    assert result["splits"]["frozen"]["minimal_pairs"]["survival"] >= 0.9


def test_a_faithful_writer_is_mostly_heard(result: dict[str, Any]) -> None:
    """At least 8 of 10 true paraphrases survive ``strict``."""
    kept = [result["splits"][split]["paraphrases"] for split in ("dev", "frozen")]
    assert sum(one["survived"] for one in kept) / sum(one["supported"] for one in kept) >= 0.8


def test_the_report_is_a_table(result: dict[str, Any]) -> None:
    """Each kind has its line in each split."""
    assert table(result).count("negation") == 2


def test_scores_are_worked_by_hand() -> None:
    """Four wrong of which three are caught, six true of which five are kept: precision 3/4, recall 3/4."""
    score = Score(unsupported=4, caught=3, supported=6, survived=5)
    assert (score.recall, score.precision, score.f1, score.survival) == (0.75, 0.75, 0.75, 5 / 6)


def test_judging_is_fast() -> None:
    """A sentence against its passages takes a few milliseconds, embedder aside."""
    golden = [case for case in cases() if case.kind == "paraphrase"]
    started = time.perf_counter()
    for case in golden:
        judge(case.sentence, case.passages)
    assert (time.perf_counter() - started) / len(golden) < 0.02
