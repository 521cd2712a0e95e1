"""Intervals and tests, against numbers worked out by hand or known from tables."""

from __future__ import annotations

import math

import pytest

from eval.statistics import difference, estimate


def test_a_rate_has_wilsons_interval() -> None:
    """Nine of ten: Wilson's bounds are .596 and .982."""
    found = estimate([1.0] * 9 + [0.0])
    assert (found.value, round(found.low, 3), round(found.high, 3), found.count) == (0.9, 0.596, 0.982, 10)


def test_a_perfect_rate_is_not_certain() -> None:
    """Twenty of twenty leaves room for one in six."""
    assert estimate([1.0] * 20).low == pytest.approx(0.839, abs=0.001)


def test_a_mean_has_an_interval_around_it_that_shrinks_with_rows() -> None:
    """Four times the rows, about half the width; the same values always give the same bounds."""
    few, many = estimate([0.2, 0.9, 0.5] * 10), estimate([0.2, 0.9, 0.5] * 40)
    assert few.low < few.value < few.high
    assert (many.high - many.low) == pytest.approx((few.high - few.low) / 2, rel=0.15)
    assert estimate([0.2, 0.9, 0.5] * 10) == few


def test_nothing_measured_has_no_mean() -> None:
    """Rather than a zero that looks like a result."""
    assert math.isnan(estimate([]).value)


def test_binary_runs_are_compared_by_the_rows_that_differ() -> None:
    """McNemar: eight better and one worse is p = 20/512; rows that agree say nothing."""
    found = difference([0.0] * 8 + [1.0] + [1.0] * 50, [1.0] * 8 + [0.0] + [1.0] * 50)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert (found.better, found.worse, found.significant) == (8, 1, True)


def test_two_equal_runs_do_not_differ() -> None:
    """No row changed: p is 1."""
    found = difference([0.0, 1.0], [0.0, 1.0])
    assert (found.p, found.delta, found.significant) == (1.0, 0.0, False)


def test_graded_runs_are_compared_by_randomisation() -> None:
    """A steady gain is significant, the same gain lost in noise is not."""
    base = [i / 40 for i in range(40)]
    assert difference(base, [value + 0.05 + 0.001 * (i % 3) for i, value in enumerate(base)]).significant
    noise = [value + (0.4 if i % 2 else -0.37) for i, value in enumerate(base)]
    assert not difference(base, noise).significant


def test_runs_of_different_rows_are_refused() -> None:
    """Nothing is paired by accident."""
    with pytest.raises(ValueError, match="same rows"):
        difference([1.0], [1.0, 0.0])
