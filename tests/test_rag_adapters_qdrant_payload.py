"""What both Qdrant adapters store, and which of it a scope may see."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.adapters import qdrant_edge, qdrant_server
from rag.adapters.qdrant_payload import (
    INTEGERS,
    KEYWORDS,
    AnyOf,
    Where,
    Within,
    batches,
    chunk_of,
    in_lineage,
    in_scope,
    narrowed,
    one_of,
    payload_of,
    point_id,
    runs,
    visible,
)
from rag.types import Chunk, NormRank, Scope, Validity

DAYS = st.none() | st.dates()
WORDS = st.lists(st.text(max_size=8), max_size=3).map(tuple)
CHUNKS = st.builds(
    Chunk,
    id=st.uuids().map(str),
    corpus=st.text(max_size=8),
    document=st.text(max_size=8),
    title=st.text(max_size=8),
    reference=st.text(max_size=8),
    path=WORDS,
    text=st.text(),
    ordinal=st.integers(0, 10**6),
    language=st.sampled_from(["fr", "en"]),
    start=st.integers(0, 10**9),
    end=st.integers(0, 10**9),
    page=st.none() | st.integers(1, 9999),
    page_end=st.none() | st.integers(1, 9999),
    norm_rank=st.none() | st.sampled_from(list(NormRank)),
    validity=st.builds(Validity, DAYS, DAYS),
    groups=st.frozensets(st.text(max_size=8), max_size=4),
    clearance=st.integers(0, 9),
    own_references=WORDS,
    mentions=WORDS,
)


@given(CHUNKS)
def test_a_chunk_survives_its_payload(chunk: Chunk) -> None:
    """Through JSON and back nothing of a chunk is lost."""
    assert chunk_of(json.loads(json.dumps(payload_of(chunk, 3)))) == chunk


def test_every_field_of_a_chunk_is_stored() -> None:
    """A field added to Chunk must be added to the payload; the equality above could not tell when it has a default."""
    kept = {"id": "chunk", "validity": "valid_from"}
    chunk = Chunk("i", "c", "d", "t", "r", (), "x", 0, "fr", 0, 1)
    assert {kept.get(field.name, field.name) for field in fields(Chunk)} <= set(payload_of(chunk, 1))
    assert set(KEYWORDS + INTEGERS) <= set(payload_of(chunk, 1))


@pytest.mark.parametrize(
    ("numbers", "spans"),
    [
        ((), []),
        ((5,), [(5, 5)]),
        ((3, 2, 1), [(1, 3)]),
        ((9, 7, 6, 2, 1), [(1, 2), (6, 7), (9, 9)]),
        (tuple(range(1000)), [(0, 999)]),
        ((2, 2, 3), [(2, 3)]),
    ],
)
def test_runs(numbers: tuple[int, ...], spans: list[tuple[int, int]]) -> None:
    """Consecutive numbers become one range."""
    assert runs(numbers) == spans


@given(st.frozensets(st.integers(0, 60)))
def test_runs_hold_exactly_their_numbers(numbers: frozenset[int]) -> None:
    assert {n for low, high in runs(numbers) for n in range(low, high + 1)} == numbers


@pytest.mark.parametrize(
    ("added", "removed", "lineage", "seen"),
    [
        (1, (), (1,), True),
        (1, (), (), False),
        (2, (), (1,), False),
        (1, (2,), (2, 1), False),
        (1, (2,), (3, 1), True),
        (1, (2, 3), (3, 1), False),
    ],
)
def test_visible(added: int, removed: tuple[int, ...], lineage: tuple[int, ...], seen: bool) -> None:
    """Added in the lineage and not removed in it."""
    assert visible(added, removed, lineage) is seen


def test_a_scope_without_lineage_finds_nothing() -> None:
    """Nothing is asked of an engine then: its empty filter would mean everything."""
    for lineages in ({}, {"rh": ()}, {"rh": (), "sante": ()}):
        assert in_scope(Scope(frozenset(), 0, lineages)) is None
    assert in_lineage("rh", ()) is None


def test_a_scope_is_spelled_out() -> None:
    """Corpus and lineage, audience, clearance, and the day's validity, all of them mandatory."""
    scope = Scope(frozenset({"agents"}), 2, {"rh": (4, 2, 1), "vide": ()}, dt.date(2024, 5, 1))
    day = dt.date(2024, 5, 1).toordinal()
    lineage = Where(
        every=(AnyOf("corpus", ("rh",)), Where(some=(Within("added", 1, 2), Within("added", 4, 4)))),
        none=(Within("removed", 1, 2), Within("removed", 4, 4)),
    )
    audience = (AnyOf("groups", ("*", "agents")), Within("clearance", None, 2))
    validity = (Within("valid_from", None, day), Within("valid_to", day + 1, None))
    assert in_scope(scope) == Where(every=(lineage, *audience, *validity))


def test_no_choice_is_ever_empty() -> None:
    """An engine reads a choice between no conditions as anything goes."""
    with pytest.raises(ValueError, match="everything"):
        one_of([])
    where = Where(every=(AnyOf("corpus", ("rh",)),))
    assert narrowed(where, [], None, None) is None
    assert narrowed(where, None, [], None) is None
    assert narrowed(where, None, None, []) is None
    assert narrowed(where, None, None, None) == Where(every=(where,))


def test_both_engines_are_told_the_same() -> None:
    """The two spellings have the same shape, condition by condition."""
    scope = Scope(frozenset({"agents"}), 0, {"rh": (4, 2, 1), "sante": (1,)}, dt.date(2024, 5, 1))
    where = narrowed(in_scope(scope) or Where(), [("rh", "a"), ("rh", "b")], ["x"], ["y", "z"])
    assert where is not None
    client = qdrant_server.spell(where).model_dump(exclude_none=True)
    assert shape_of_edge(qdrant_edge.spell(where)) == client


def shape_of_edge(condition: object) -> dict[str, object]:
    """An edge condition as the client's models dump theirs."""
    name = type(condition).__name__
    if name == "Filter":
        parts = {key: getattr(condition, key) for key in ("should", "must", "must_not")}
        return {key: [shape_of_edge(part) for part in value] for key, value in parts.items() if value}
    shape: dict[str, object] = {"key": getattr(condition, "key")}  # noqa: B009  the class is only known by name here
    match, span = getattr(condition, "match", None), getattr(condition, "range", None)
    if match is not None:
        values = match.value
        shape["match"] = {"any": values} if isinstance(values, list) else {"value": values}
    if span is not None:
        bounds = {"gte": span.gte, "lte": span.lte}
        shape["range"] = {side: bound for side, bound in bounds.items() if bound is not None}
    return shape


def test_point_ids_name_chunk_and_snapshot() -> None:
    """Frozen: another value here would orphan every stored point."""
    assert point_id("c", 1) == "8b162501-1551-5c5a-9db9-68798969ad0a"
    assert point_id("c", 2) != point_id("c", 1)


def test_batches_keep_order() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([])) == []
