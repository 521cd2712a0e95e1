"""What is kept of prompts: found by its owner only, bounded in bytes, overwritten when it goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.prompt_cache import WORTH, Kept, PromptCache

PUBLIC = tuple(range(WORTH))
SIZE = 1000


def copy(owner: str | None, tokens: tuple[int, ...], size: int = SIZE) -> Kept:
    return Kept(owner, tokens, np.full(size, 7, dtype=np.uint8))


def own(number: int) -> tuple[int, ...]:
    """A prompt that begins with the public part and goes on as no other."""
    return (*PUBLIC, *[1000 + number] * WORTH)


def test_a_copy_is_found_by_its_owner_and_by_nobody_else() -> None:
    """The same tokens are worth nothing to another person."""
    cache = PromptCache(10 * SIZE)
    kept = copy("anne", own(1))
    cache.keep(kept)
    assert cache.best("anne", own(1), WORTH) == (kept, 2 * WORTH)
    assert cache.best("paul", own(1), WORTH) == (None, 0)


def test_the_public_copy_is_everyones_and_never_more_than_public() -> None:
    """It spares the system message; what a prompt says beyond it is not compared."""
    cache = PromptCache(10 * SIZE)
    public = copy(None, PUBLIC)
    cache.keep(public)
    assert cache.best("paul", own(1), WORTH) == (public, WORTH)
    assert cache.best("paul", own(1), WORTH // 2) == (public, WORTH // 2)


def test_the_longest_beginning_wins() -> None:
    """Of several prompts of one person, the one that shares most."""
    cache = PromptCache(10 * SIZE)
    cache.keep(copy("anne", own(1)))
    best = copy("anne", own(2))
    cache.keep(best)
    assert cache.best("anne", (*own(2), 5), WORTH) == (best, 2 * WORTH)


def test_the_oldest_goes_first_and_the_public_one_stays() -> None:
    """Room is made by what was unused the longest; every prompt uses the public copy."""
    cache = PromptCache(3 * SIZE)
    public = copy(None, PUBLIC)
    cache.keep(public)
    copies = [copy(f"person {number}", own(number)) for number in range(5)]
    for number, kept in enumerate(copies):
        cache.best(f"person {number}", own(number), WORTH)
        cache.keep(kept)
    assert [cache.best(f"person {number}", own(number), WORTH)[0] for number in range(5)] == [
        public,
        public,
        public,
        copies[3],
        copies[4],
    ]
    assert (cache.state.evicted, cache.state.bytes, cache.state.owners, cache.state.public) == (3, 3 * SIZE, 2, 1)
    assert not copies[0].state.any()


def test_what_saves_little_is_not_copied() -> None:
    """Not over what is there already, and never what alone would fill more than all the room."""
    cache = PromptCache(2 * SIZE)
    assert cache.wants("anne", own(1), SIZE)
    assert not cache.wants("anne", own(1), SIZE, spared=WORTH + 1)
    assert not cache.wants("anne", own(1), 3 * SIZE)
    cache.keep(copy("anne", own(1)))
    assert not cache.wants("anne", (*own(1), 1, 2, 3), SIZE)
    assert cache.wants("paul", own(1), SIZE)


def test_a_better_copy_takes_the_place_of_the_one_it_holds() -> None:
    """The same passages with another question are not kept twice."""
    cache = PromptCache(10 * SIZE)
    before = copy("anne", (*own(1), 5, 5))
    cache.keep(before)
    cache.keep(copy("anne", (*own(1), *[6] * WORTH)))
    assert cache.state.kept == 1
    assert not before.state.any()


@pytest.mark.parametrize("end", ["forget", "clear"])
def test_what_is_given_up_is_overwritten(end: str) -> None:
    """Of one person, or of everyone."""
    cache = PromptCache(10 * SIZE)
    anne, paul = copy("anne", own(1)), copy("paul", own(1))
    cache.keep(anne)
    cache.keep(paul)
    if end == "forget":
        cache.forget("anne")
    else:
        cache.clear()
    assert not anne.state.any()
    assert paul.state.any() == (end == "forget")
    assert cache.state.bytes == (SIZE if end == "forget" else 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(0, 3), st.integers(1, 3000))))
def test_the_room_is_never_exceeded_and_nobody_finds_anothers(steps: list[tuple[str | None, int, int]]) -> None:
    """Whatever is kept in whatever order."""
    cache = PromptCache(5000)
    for owner, number, size in steps:
        tokens = PUBLIC if owner is None else own(number)
        if cache.wants(owner, tokens, size):
            cache.keep(copy(owner, tokens, size))
        assert cache.state.bytes <= 5000
        for person in ("a", "b", "c"):
            found, spared = cache.best(person, own(number), WORTH)
            assert found is None or found.owner == person or (found.owner is None and spared <= WORTH)
