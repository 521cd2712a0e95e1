"""How sure a measured mean is, and whether two runs over the same rows differ; pure, seeded, repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

RESAMPLES: Final = 2_000
"""Draws of a bootstrap and of a permutation test: the third decimal of a bound hardly moves beyond."""
CONFIDENCE: Final = 0.95
SEED: Final = 20_240_601


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``count`` rows, with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float
    count: int

    def as_json(self) -> dict[str, float]:
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.count}


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of the second run less that of the first over ``count`` common rows.

    ``p`` is the two-sided probability of a difference at least as large if the runs were interchangeable; ``better``
    and ``worse`` count the rows on which the second differs.
    """

    first: float
    second: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    count: int

    @property
    def delta(self) -> float:
        return self.second - self.first

    @property
    def significant(self) -> bool:
        return self.p < 1 - CONFIDENCE

    def as_json(self) -> dict[str, float | bool]:
        rounded = {name: round(getattr(self, name), 4) for name in ("first", "second", "delta", "low", "high", "p")}
        return rounded | {
            "better": self.better,
            "worse": self.worse,
            "n": self.count,
            "significant": self.significant,
        }


def _binomial(successes: int, trials: int) -> Any:
    # Imported when it is needed: it takes half a second of the start of every command.
    from scipy import stats

    return stats.binomtest(successes, trials)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of ``values`` in ``[0, 1]`` and its interval.

    Rates (only zeros and ones) have Wilson's score interval (Wilson, JASA 22, 1927), which does not collapse at 0 and
    1; other means the percentile bootstrap over rows (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    ch. 13). No values give ``nan``.
    """
    found = np.asarray(values, dtype=float)
    if not len(found):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    mean = float(found.mean())
    if np.isin(found, (0.0, 1.0)).all():
        bounds = _binomial(int(found.sum()), len(found)).proportion_ci(CONFIDENCE, method="wilson")
        return Estimate(mean, float(bounds.low), float(bounds.high), len(found))
    low, high = _percentiles(_resampled(found))
    return Estimate(mean, low, high, len(found))


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare two runs row by row; the sequences are of the same rows, in the same order.

    Binary rows have McNemar's exact test (McNemar, Psychometrika 12, 1947): which of the rows that differ went which
    way. Other measures have a paired randomisation test, which swaps the runs row by row (Smucker, Allan and
    Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation", CIKM 2007).

    Raises:
        ValueError: the sequences differ in length, or are empty.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(a) != len(b) or not len(a):
        raise ValueError("two runs are compared over the same rows, and at least one")
    gaps = b - a
    better, worse = int((gaps > 0).sum()), int((gaps < 0).sum())
    if np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        p = float(_binomial(better, better + worse).pvalue) if better + worse else 1.0
    else:
        p = _randomised(gaps)
    low, high = _percentiles(_resampled(gaps))
    return Difference(float(a.mean()), float(b.mean()), low, high, p, better, worse, len(a))


def _resampled(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    draws = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    means: np.ndarray[tuple[int], np.dtype[np.float64]] = values[draws].mean(axis=1)
    return means


def _percentiles(means: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _randomised(gaps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (RESAMPLES, len(gaps)))
    extreme = np.abs((signs * gaps).mean(axis=1)) >= abs(gaps.mean()) - 1e-12
    # The run itself is one of the arrangements, so p is never zero.
    return float((extreme.sum() + 1) / (RESAMPLES + 1))
