"""Fitted trees give the same probabilities here as in the library that grew them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rag.trees import Trees

STUMP = {
    "base": 0.0, "depth": 1, "feature": [[1, 0, 0]], "threshold": [[0.5, 0.0, 0.0]], "left": [[1, 1, 2]],
    "right": [[2, 1, 2]], "value": [[0.0, -1.0, 2.0]],
}  # fmt: skip


def test_a_row_goes_left_at_the_threshold_and_right_above_it() -> None:
    """One tree of one question, by hand."""
    given = Trees.read(STUMP).probabilities(np.array([[9.0, 0.5], [9.0, 0.6]]))
    assert given == pytest.approx([0.2689, 0.8808], abs=1e-4)


def test_trees_survive_being_written_as_json() -> None:
    """What is read is what was written."""
    assert Trees.read(json.loads(json.dumps(Trees.read(STUMP).numbers()))).numbers() == STUMP


def test_no_rows_give_no_probabilities() -> None:
    """Nothing to quote is no error."""
    assert Trees.read(STUMP).probabilities(np.zeros((0, 2))).shape == (0,)
