"""The measures, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from eval.metrics import MEASURES, best_first, measure, recall_label


def test_ndcg_takes_labels_as_linear_gains() -> None:
    """A label of 2 in second place and of 1 in first: (1 + 2/log2 3) over (2 + 1/log2 3)."""
    found = measure({"q": {"a": 2, "b": 1}}, {"q": ["b", "a", "c"]})
    assert found["ndcg@10"] == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


def test_reciprocal_rank_and_recall() -> None:
    """The first relevant in third place is a third; one of two found is a half."""
    found = measure({"q": {"a": 1, "z": 1}}, {"q": ["x", "y", "a"]})
    assert found["mrr@10"] == pytest.approx(1 / 3)
    assert found["recall@10"] == found["recall@100"] == pytest.approx(0.5)


def test_beyond_the_tenth_counts_for_recall_at_100_only() -> None:
    """The eleventh place is outside the first ten."""
    found = measure({"q": {"a": 1}}, {"q": [f"x{n}" for n in range(10)] + ["a"]})
    assert [found[name] for name in MEASURES] == [0.0, 0.0, 1.0, 0.0]


def test_recall_of_graded_sets_counts_labels_of_three() -> None:
    """On a scale to 5, a label of 2 need not be found; a query with nothing to find does not count."""
    judgements = {"q": {"a": 5, "b": 2}, "r": {"c": 2}}
    assert recall_label(judgements) == 3
    assert measure(judgements, {"q": ["a"], "r": []})["recall@10"] == 1.0
    assert recall_label({"q": {"a": 2}}) == 1


def test_a_query_without_results_is_a_zero() -> None:
    """The mean is over the judged queries, not over the answered ones."""
    found = measure({"q": {"a": 1}, "r": {"b": 1}}, {"q": ["a"]})
    assert found == dict.fromkeys(MEASURES, 0.5)


def test_no_queries_give_zeros() -> None:
    """An empty set is no crash."""
    assert measure({}, {}) == dict.fromkeys(MEASURES, 0.0)


def test_a_document_scores_as_its_best_chunk() -> None:
    """The first place of each document is kept."""
    assert best_first(["a", "b", "a", "c", "b"]) == ["a", "b", "c"]
