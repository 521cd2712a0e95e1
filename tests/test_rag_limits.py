"""One person's requests are bounded, and nobody else's are by them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rag.errors import Overloaded
from rag.limits import EachAtOnce


def test_one_person_is_bounded_and_others_are_not() -> None:
    limit = EachAtOnce(2)
    with ExitStack() as held:
        held.enter_context(limit.held("key:a"))
        held.enter_context(limit.held("key:a"))
        held.enter_context(limit.held("key:b"))
        with pytest.raises(Overloaded) as refused, limit.held("key:a"):
            pass
    assert refused.value.retry_after == 1.0


def test_what_has_ended_counts_no_more() -> None:
    """However it ended: a place is never lost."""
    limit = EachAtOnce(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.held("key:a"):
            raise ZeroDivisionError
    assert not limit._held
