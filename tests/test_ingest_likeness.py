"""Texts that are nearly the same are found, others are not, and the time grows with the texts and not their pairs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.likeness import FEWEST, SHINGLE, Likeness, Pair, families

WORDS = [f"mot{number}" for number in range(4_000)]


def text(seed: int, count: int = 300) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def likeness(*texts: list[str]) -> list[Pair]:
    taken = Likeness()
    for words in texts:
        taken.add(" ".join(words))
    return taken.pairs()


def real_share(one: list[str], other: list[str]) -> float:
    """What the definition says, written down once more."""
    left, right = ({tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)} for words in (one, other))
    return len(left & right) / len(left | right)


def test_equal_words_are_equal_texts() -> None:
    """Whatever stands between the words, and in capitals or not."""
    one = text(1)
    taken = Likeness()
    assert [taken.add(" ".join(one)), taken.add(";\n".join(one).upper()), taken.add(" ".join(text(2)))] == [0, 1, 2]
    assert taken.pairs() == [Pair(0, 1, 1.0)]


def test_a_few_words_that_differ_are_nearly_the_same() -> None:
    """The share is that of the definition."""
    one = text(1)
    other = [*one[:100], "autre", *one[101:250], "encore", *one[251:]]
    (pair,) = likeness(one, text(2), other)
    assert (pair.first, pair.second) == (0, 2)
    assert pair.share == pytest.approx(real_share(one, other))


@given(st.integers(0, 10**6), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_what_is_found_is_what_the_definition_says(seed: int, edits: int) -> None:
    """No pair below the threshold, and all that are clearly above it."""
    chosen = random.Random(seed)
    one = text(seed)
    other = list(one)
    for _ in range(edits):
        other[chosen.randrange(len(other))] = "remplacé"
    share = real_share(one, other)
    found = likeness(one, other)
    if share < 0.9:
        assert found == []
    if share >= 0.95:
        assert [pair.share for pair in found] == [pytest.approx(share)]


def test_formulas_are_not_compared() -> None:
    """Texts of a few words are alike without meaning anything."""
    assert likeness(["Abrogé"], ["Abrogé"], text(1, FEWEST - 1), text(1, FEWEST - 1)) == []
    assert len(likeness(text(1, FEWEST), text(1, FEWEST))) == 1


def test_a_large_family_takes_no_quadratic_time() -> None:
    """Each member is tied to the first, so that the family is one."""
    one = text(1)
    many = [[*one[:5], f"membre{number}", *one[6:]] for number in range(400)]
    pairs = likeness(*many)
    assert len(pairs) < 4_000
    assert families(pairs) == [tuple(range(400))]


def test_families_are_what_pairs_tie_together() -> None:
    pairs = [Pair(5, 9, 1.0), Pair(1, 5, 0.95), Pair(2, 3, 0.9)]
    assert families(pairs) == [(1, 5, 9), (2, 3)]
    assert families([]) == []
