"""Boosted decision trees that were fitted elsewhere, evaluated with numpy alone; the numbers are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The sum of many small trees, read as a probability; arrays of shape ``(trees, nodes)``.

    At a node, a row whose ``feature`` is at most ``threshold`` goes ``left``, any other ``right``; a leaf leads to
    itself and holds its ``value``.
    """

    base: float
    depth: int
    feature: npt.NDArray[np.intp]
    threshold: Numbers
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    value: Numbers

    @classmethod
    def read(cls, numbers: Mapping[str, Any]) -> Self:
        """The trees as :meth:`numbers` wrote them."""
        return cls(
            base=float(numbers["base"]),
            depth=int(numbers["depth"]),
            feature=np.array(numbers["feature"], np.intp),
            threshold=np.array(numbers["threshold"], np.float64),
            left=np.array(numbers["left"], np.intp),
            right=np.array(numbers["right"], np.intp),
            value=np.array(numbers["value"], np.float64),
        )

    def numbers(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return {
            "base": self.base,
            "depth": self.depth,
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "left": self.left.tolist(),
            "right": self.right.tolist(),
            "value": self.value.tolist(),
        }

    def probabilities(self, rows: Numbers) -> Numbers:
        """One probability for each row."""
        if not len(rows):
            return np.zeros(0)
        every = np.arange(len(self.feature))
        at = np.zeros((len(rows), len(every)), np.intp)
        for _ in range(self.depth):
            asked = self.feature[every, at]
            smaller = np.take_along_axis(rows, asked, axis=1) <= self.threshold[every, at]
            at = np.where(smaller, self.left[every, at], self.right[every, at])
        summed: Numbers = self.base + self.value[every, at].sum(axis=1)
        probabilities: Numbers = 1.0 / (1.0 + np.exp(-summed))
        return probabilities
