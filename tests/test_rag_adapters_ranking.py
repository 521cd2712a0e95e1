"""The one order of every store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.adapters.ranking import SPARE, gathered, ranked, tied, undecided
from rag.types import Chunk


def chunk(name: str) -> Chunk:
    return Chunk(name, "rh", "d", "t", "", (), "texte", 0, "fr", 0, 5)


def names(found: list[tuple[float, str]], limit: int = 10) -> str:
    return "".join(scored.chunk.id for scored in ranked([(score, chunk(name)) for score, name in found], limit))


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ([], ""),
        ([(0.1, "a"), (0.2, "b")], "ba"),
        ([(0.2, "b"), (0.2, "a")], "ab"),
        ([(0.2000001, "b"), (0.2, "a")], "ab"),
        ([(0.20001, "b"), (0.2, "a")], "ba"),
        ([(31.00002, "b"), (31.0, "a")], "ab"),
        ([(0.2, "c"), (0.9, "b"), (0.2, "a")], "bac"),
        ([(-0.5, "b"), (-0.4999999, "a")], "ab"),
    ],
)
def test_order(found: list[tuple[float, str]], order: str) -> None:
    """Best first; what rounding alone separates stands by id."""
    assert names(found) == order


def test_ties_share_their_best_score() -> None:
    found = ranked([(0.5, chunk("b")), (0.5 + 5e-7, chunk("a")), (0.5 - 3e-6, chunk("c"))], 2)
    assert [(scored.chunk.id, scored.score) for scored in found] == [("a", 0.5 + 5e-7), ("b", 0.5 + 5e-7)]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 0.5 + 1e-7, 0.7, 12.0, 12.000001]), st.integers(0, 99))))
def test_scores_never_rise_and_nothing_is_lost(found: list[tuple[float, int]]) -> None:
    """Whatever comes in comes out once, highest score first."""
    chunks = [(score, chunk(f"{n:02}-{place}")) for place, (score, n) in enumerate(found)]
    scored = ranked(chunks, len(chunks))
    assert sorted(s.chunk.id for s in scored) == sorted(c.id for _, c in chunks)
    assert all(above.score >= below.score for above, below in pairwise(scored))
    assert scored == ranked(reversed(chunks), len(chunks))


def test_a_tie_over_the_end_is_asked_again() -> None:
    """The engine is asked deeper until the list goes on below the tie, and only for the lists concerned."""
    lists = {
        "clear": [(1 - n / 1000, f"c{n}") for n in range(900)],
        "tied": [(2.0, "first")] + [(0.5, f"t{n}") for n in range(300)] + [(0.1, f"z{n}") for n in range(300)],
        "short": [(0.5, "s0"), (0.5, "s1")],
    }
    asked: list[Mapping[str, int]] = []

    def ask(wanted: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
        asked.append(dict(wanted))
        return {name: lists[name][:count] for name, count in wanted.items()}

    found = gathered(ask, lists, 10)
    assert len(found["clear"]) == 10 + SPARE
    assert {point for score, point in found["tied"] if score == 0.5} == {f"t{n}" for n in range(300)}
    assert found["short"] == lists["short"]
    assert all(set(wanted) == {"tied"} for wanted in asked[1:])


def test_undecided_only_when_the_cut_may_split_a_tie() -> None:
    assert undecided([0.9, 0.5, 0.5], 2, 3)
    assert not undecided([0.9, 0.5, 0.4], 2, 3)
    assert not undecided([0.9, 0.5, 0.5], 2, 4)
    assert tied(1.0, 1.0)
