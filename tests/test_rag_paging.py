"""A cursor gives its place back, anything else is refused, and pages joined are the list."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import paging
from rag.errors import BadRequest

PLACES = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50),
    st.integers(-(2**63), 2**63 - 1),
)


@given(PLACES)
def test_a_cursor_gives_its_place_back(key: tuple[str, int]) -> None:
    """Whatever the letters of an id; and it stands in a URL as it is."""
    written = paging.cursor(*key)
    assert paging.place(written, str, int) == key
    assert set(written) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def encoded(json: str) -> str:
    return base64.urlsafe_b64encode(json.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "forged",
    [
        "x",
        "é",
        "%00",
        encoded("{}"),
        encoded("[]"),
        encoded('["a"]'),
        encoded('["a", true]'),
        encoded('["a", 1, 2]'),
        encoded('["a", 1.5]'),
        encoded('["\\ud800", 1]'),
        encoded('["a\\u0000", 1]'),
        encoded(f'["a", {2**63}]'),
        encoded("[" * 2_000),
    ],
)
def test_what_is_no_cursor_of_the_list_is_refused(forged: str) -> None:
    """With the same sentence, whatever is wrong with it."""
    with pytest.raises(BadRequest) as raised:
        paging.place(forged, str, int)
    assert raised.value.code == "invalid_cursor"


@given(st.integers(0, 30), st.integers(1, 10))
def test_the_pages_of_a_list_joined_are_the_list(size: int, limit: int) -> None:
    """Each item once, in order; only the last page says that it is the last."""
    things = list(range(size))
    seen: list[int] = []
    after: str | None = None
    while True:
        start = paging.place(after, int)
        rest = things if start is None else [thing for thing in things if thing > int(start[0])]
        found = paging.page(rest[: limit + 1], limit, lambda thing: (thing,))
        seen += found.items
        assert found.more == (len(seen) < size)
        after = found.next
        if after is None:
            break
    assert seen == things
