"""A whole answer is as faithful as its sentences are near the passages and made of their words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rag.faithfulness import faithfulness
from rag.types import Matrix

PASSAGES = ("The library is open on Sundays. Loans last two weeks.",)


def equal(left: Sequence[str], right: Sequence[str]) -> Matrix:
    """1 for the same sentence, 0 for another."""
    return np.array([[float(one == other) for other in right] for one in left], dtype=np.float32)


def test_a_quotation_is_wholly_faithful() -> None:
    """Word for word from a passage, with its mark."""
    assert faithfulness("Loans last two weeks [1].", PASSAGES, equal) == pytest.approx(1.0)


def test_what_is_invented_lowers_the_score_by_its_length() -> None:
    """Half of the words invented, and the meaning of that half: about half of the score is left."""
    half = faithfulness("Loans last two weeks. Fines cost ten euros.", PASSAGES, equal)
    assert 0.4 < half < 0.6
    assert faithfulness("Loans last two weeks. Fines.", PASSAGES, equal) > half


@pytest.mark.parametrize(("text", "passages"), [("", PASSAGES), ("?!", PASSAGES), ("Loans last.", ())])
def test_nothing_said_or_nothing_given_is_not_faithful(text: str, passages: tuple[str, ...]) -> None:
    """Silence is no support, and without passages nothing is."""
    assert faithfulness(text, passages, equal) == 0.0
