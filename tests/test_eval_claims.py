"""The judge on the golden sets: what is wrong is rejected, what is true mostly survives."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from eval import scoring
from eval.claims import Case, Score, cases, curve, evaluate, free_cases, freely, rated, table
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
    started = time.process_time()
    for case in golden:
        judge(case.sentence, case.passages)
    assert (time.process_time() - started) / len(golden) < 0.02


def test_free_wording_is_measured_by_kind_with_its_curve() -> None:
    """Each kind of wrong sentence stands beside all true ones, and a higher threshold never keeps more."""
    kept: dict[bool, list[Case]] = {True: [], False: []}
    for case in free_cases("dev"):
        kept[case.supported].append(case)
    found = freely([*kept[True][:20], *kept[False][:20]])
    scores = found["dev"]
    assert scores["all"]["supported"] == scores["all"]["unsupported"] == 20
    assert set(scores["kinds"]) == {case.kind for case in kept[False][:20]}
    survivals = [step["survival"] for step in scores["curve"]]
    assert survivals == sorted(survivals, reverse=True)
    assert found["milliseconds"]["median"] > 0


def test_a_curve_is_worked_by_hand() -> None:
    """Two true at 0.9 and 0.4, two wrong at 0.6 and 0.1: at 0.5 one wrong is caught and one true is lost."""
    step = next(one for one in curve([(True, 0.9), (True, 0.4), (False, 0.6), (False, 0.1)]) if one["threshold"] == 0.5)
    assert (step["precision"], step["recall"], step["survival"]) == (0.5, 0.5, 0.5)


def test_rated_answers_are_ranked() -> None:
    """The unfaithful answer scores below the faithful one of its writer; a writer with only good ones has no area."""
    equal = lambda left, right: np.array(  # noqa: E731  # a one-line fake
        [[float(one == other) for other in right] for one in left], dtype=np.float32
    )
    row = {"contexts": ["Loans last two weeks."], "model": "a", "lang": "en"}
    good = row | {"response": "Loans last two weeks.", "faithfulness_median": 4}
    bad = row | {"response": "Fines cost ten euros.", "faithfulness_median": 1}
    found = rated([good, bad, good | {"model": "b"}], equal)
    assert found["auc"] == 1.0
    assert found["writers"] == {"a": 1.0, "b": None}


def test_weights_are_fitted_with_their_signs() -> None:
    """A figure that would raise the score the wrong way round gets no weight."""
    examples = [
        scoring.Example({"cover": float(true), "missing": float(true), "value_absent": float(not true)}, true, 1.0)
        for true in (True, False) * 10
    ]
    fitted = scoring.fit(examples)
    assert fitted["weights"]["cover"] > 0 > fitted["weights"]["value_absent"]
    assert "missing" not in fitted["weights"]
