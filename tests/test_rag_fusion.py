"""Fusing the lists of one search, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.fusion import EXACT_SHARE, READ, WEAK_SHARE, better, exact_first, fuse, normalised_bm25, normalised_cosine
from rag.types import Candidates, Chunk, Hit, Scored

CHUNK = Chunk("", "rh", "doc", "Congés", "", (), "Texte.", 0, "fr", 0, 6)


def ranked(**scores: float) -> tuple[Scored, ...]:
    best_first = sorted(scores.items(), key=lambda item: -item[1])
    return tuple(Scored(replace(CHUNK, id=name), score) for name, score in best_first)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def test_bm25_is_taken_over_the_best() -> None:
    """Half the best score is a half; nothing shared is zero."""
    assert normalised_bm25(ranked(a=8.0, b=4.0, c=0.0)) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert normalised_bm25(()) == {}


def test_cosine_is_stretched_over_its_list() -> None:
    """The last is 0, the first 1; a list of equals is all 1."""
    assert normalised_cosine(ranked(a=0.75, b=0.5, c=0.25)) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert normalised_cosine(ranked(a=0.4)) == {"a": 1.0}


def test_scores_are_a_convex_combination() -> None:
    """0.25 of the cosine's place and 0.75 of BM25's, and the parts stay readable on the hit."""
    candidates = Candidates(dense=ranked(a=0.9, b=0.7, c=0.5), sparse=ranked(b=10.0, a=4.0))
    hits = fuse(candidates, dense_weight=0.25, limit=10)
    assert ids(hits) == ["b", "a", "c"]
    assert [hit.score for hit in hits] == pytest.approx([0.875, 0.55, 0.0])
    assert (hits[0].dense, hits[0].sparse, hits[0].exact) == (0.7, 10.0, False)
    assert hits[2].sparse is None


def test_bm25_keeps_its_margin() -> None:
    """A clear winner by words is not overturned by a slight preference of the embedder, as ranks alone would do."""
    candidates = Candidates(dense=ranked(b=0.52, c=0.51, a=0.50), sparse=ranked(a=30.0, b=9.0, c=8.0))
    assert ids(fuse(candidates, dense_weight=0.25, limit=1)) == ["a"]


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (Candidates(), []),
        (Candidates(dense=ranked(a=0.5, b=0.4)), ["a", "b"]),
        (Candidates(sparse=ranked(b=2.0, a=1.0)), ["b", "a"]),
        (Candidates(exact=ranked(a=1.0)), ["a"]),
        (Candidates(sparse=ranked(a=1.0, b=1.0, c=1.0)), ["a", "b", "c"]),
    ],
)
def test_empty_and_single_lists(candidates: Candidates, expected: list[str]) -> None:
    """A search with fewer forms is ranked by those it has; equals stand by chunk id."""
    assert ids(fuse(candidates, dense_weight=0.2, limit=10)) == expected


def test_an_article_that_was_named_leads() -> None:
    """Whatever the other lists say, the exact reference stands first."""
    candidates = Candidates(dense=ranked(a=0.9, z=0.1), sparse=ranked(a=20.0, b=19.0, z=0.1), exact=ranked(z=1.0))
    hits = fuse(candidates, dense_weight=0.2, limit=3)
    assert ids(hits) == ["z", "a", "b"]
    assert hits[0].exact
    assert hits[0].score >= EXACT_SHARE >= hits[1].score


def test_a_number_alone_lifts_but_does_not_drown() -> None:
    """Among near equals the chunk with the number asked for wins; a far better one still leads."""
    four = Scored(replace(CHUNK, id="four", own_references=("article:4",)), 8.0)
    near = Candidates(sparse=(*ranked(other=9.0), four))
    assert ids(fuse(near, dense_weight=0.2, weak=["article:4"], limit=2)) == ["four", "other"]
    far = Candidates(sparse=(*ranked(other=9.0), replace(four, score=1.0)))
    assert ids(fuse(far, dense_weight=0.2, weak=["article:4"], limit=2)) == ["other", "four"]
    assert WEAK_SHARE < EXACT_SHARE


def test_the_top_does_not_depend_on_how_much_was_asked() -> None:
    """Longer lists add hits at the end and change none before it."""
    dense = ranked(**{f"d{n}": 1 - n / 50 for n in range(40)})
    sparse = ranked(**{f"d{(n * 7) % 40}": 40.0 - n for n in range(40)})
    short = fuse(Candidates(dense=dense[:10], sparse=sparse[:10]), dense_weight=0.3, limit=99, depth=10)
    long = fuse(Candidates(dense=dense, sparse=sparse), dense_weight=0.3, limit=99, depth=10)
    assert ids(long)[: len(short)] == ids(short)
    assert len(long) == 40


def test_reranked_hits_keep_the_named_article_first() -> None:
    """A cross-encoder orders the rest; what the question named outright is not its to judge."""
    hits = [Hit(replace(CHUNK, id="a"), 0.9), Hit(replace(CHUNK, id="z"), 0.1, exact=True)]
    assert ids(exact_first(hits)) == ["z", "a"]
    assert exact_first(hits[:1]) == hits[:1]


def test_closeness_has_its_share() -> None:
    """Half of each, by hand."""
    candidates = Candidates(sparse=ranked(a=10.0, b=8.0))
    close = {"a": 0.2, "b": 0.9}
    hits = fuse(candidates, dense_weight=0.2, limit=2, close=lambda chunk: close[chunk.id], close_share=0.5)
    assert ids(hits) == ["b", "a"]
    assert [hit.score for hit in hits] == pytest.approx([0.85, 0.6])


def test_only_the_best_are_read() -> None:
    """The rest stays below them, in its order; the named article is read wherever it stands."""
    sparse = ranked(**{f"c{n:03}": 200.0 - n for n in range(80)})
    exact = ranked(c079=1.0)
    read: list[str] = []

    def close(chunk: Chunk) -> float:
        read.append(chunk.id)
        return 0.0

    candidates = Candidates(sparse=sparse, exact=exact)
    hits = fuse(candidates, dense_weight=0.2, limit=99, close=close, close_share=0.9)
    assert sorted(read) == [f"c{n:03}" for n in (*range(READ), 79)]
    assert ids(hits) == ["c079", *(f"c{n:03}" for n in range(79))]


def test_the_better_of_two_scores_counts() -> None:
    """Both names of a thing together are worth no more than one."""
    assert better(ranked(a=3.0, b=1.0), ranked(b=2.0, c=1.0)) == ranked(a=3.0, b=2.0, c=1.0)


def lists(lowest: float) -> st.SearchStrategy[tuple[Scored, ...]]:
    scores = st.floats(lowest, 40, width=32)
    return st.dictionaries(st.sampled_from("abcdefgh"), scores, max_size=8).map(lambda found: ranked(**found))


@given(lists(-1), lists(0.0625), lists(1), st.floats(0, 1), st.integers(0, 10), st.integers(1, 8))
def test_any_lists_give_each_chunk_once_in_order(
    dense: tuple[Scored, ...],
    sparse: tuple[Scored, ...],
    exact: tuple[Scored, ...],
    weight: float,
    limit: int,
    depth: int,
) -> None:
    """No lists break it: scores lie in [0, 1] and fall, ids are unique, and nothing is invented."""
    hits = fuse(Candidates(dense, sparse, exact), dense_weight=weight, limit=limit, depth=depth)
    known = {one.chunk.id for one in (*dense, *sparse, *exact)}
    assert len(ids(hits)) == len(set(ids(hits))) == min(limit, len(known))
    assert set(ids(hits)) <= known
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
