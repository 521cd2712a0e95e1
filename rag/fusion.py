"""One ranking out of the lists of a search, by their scores and not only by their ranks; pure.

The score is a convex combination of normalised scores (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for
Hybrid Retrieval", ACM TOIS 42(1), 2023): BM25 over the best BM25 of the question, and the cosine stretched between
the first and the last of the dense list. Fusion by ranks alone was measured and left out: it throws away BM25's
margin, and a weak embedder then ruins a good ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from rag.types import Candidates, Chunk, Hit, Scored

DENSE_WEIGHT: Final[Mapping[str, float]] = {"fr": 0.15, "en": 0.25}
"""The share of the cosine, by the question's language, for the default embedder, which learnt English. Set on the
eight development sets; a multilingual embedder deserves more and states it in the manifest."""
DEPTH: Final = 100
"""Chunks of each list that are fused. On the development sets 100 and 200 differ by less than .004 nDCG@10, while 50
loses up to .01 on the set whose documents are most alike."""
READ: Final = 30
"""Chunks whose words are read one by one, some 80 µs each. On the development sets 30 and 60 differ by .0001 nDCG@10 in
the mean and by .0006 at most, while 20 loses .001."""
EXACT_SHARE: Final = 0.5
"""The share of "this is the article that was named": half, so that no other hit stands above it."""
WEAK_SHARE: Final = 0.15
"""The share of "it has the number that was asked for", where the question does not say of which text: enough to tell
two articles of one text apart, not enough to bring another text's article 4 to the top."""


def fuse(
    candidates: Candidates,
    *,
    dense_weight: float,
    weak: Collection[str] = (),
    limit: int,
    depth: int = DEPTH,
    close: Callable[[Chunk], float] | None = None,
    close_share: float = 0.0,
) -> list[Hit]:
    """The best ``limit`` chunks of all the lists, best first, scores in ``[0, 1]``, ties by chunk id.

    ``weak`` are own-reference keys that lift the chunks which have one of them. ``close`` says of a chunk, from 0 to
    1, how closely it stands to the question; it is asked of the best :data:`READ` only, and has ``close_share`` of
    their score. The order of what the first ``depth`` of each list hold does not depend on how much longer the lists
    are.
    """
    chunks: dict[str, Chunk] = {}
    for scored in (*candidates.exact, *candidates.sparse, *candidates.dense):
        chunks.setdefault(scored.chunk.id, scored.chunk)
    cosine = {scored.chunk.id: scored.score for scored in candidates.dense}
    bm25 = {scored.chunk.id: scored.score for scored in candidates.sparse}
    exact = {scored.chunk.id for scored in candidates.exact}

    near = normalised_cosine(candidates.dense[:depth])
    worded = normalised_bm25(candidates.sparse[:depth])
    weight = share_of_dense(dense_weight, near, worded)
    head = {key: weight * near.get(key, 0.0) + (1 - weight) * worded.get(key, 0.0) for key in {*near, *worded, *exact}}
    if close is not None:
        head = _read(head, exact, lambda key: close(chunks[key]), close_share)
    scores = _lifted(head, {key for key in head if not set(weak).isdisjoint(chunks[key].own_references)}, WEAK_SHARE)
    scores = _lifted(scores, exact, EXACT_SHARE)

    # What only the tails of long lists hold comes after everything else.
    floor = min(scores.values(), default=1.0)
    for key, value in normalised_bm25(candidates.sparse).items():
        scores.setdefault(key, min(floor, (1 - weight) * value))
    for scored in candidates.dense:
        scores.setdefault(scored.chunk.id, 0.0)

    best = sorted(scores, key=lambda key: (-scores[key], key not in head, key))[:limit]
    return [Hit(chunks[key], scores[key], cosine.get(key), bm25.get(key), key in exact) for key in best]


def _read(
    head: Mapping[str, float], exact: Collection[str], close: Callable[[str], float], share: float
) -> dict[str, float]:
    """The scores with the share of closeness; what was not read stays below what was, in its order."""
    ordered = sorted(head, key=lambda key: (-head[key], key))
    best = {*ordered[:READ], *exact}
    scores = {key: (1 - share) * head[key] + share * close(key) for key in best}
    floor = min(scores.values(), default=0.0)
    return scores | {key: min(floor, 1.0) * head[key] for key in ordered[READ:] if key not in best}


def better(one: Sequence[Scored], other: Sequence[Scored]) -> tuple[Scored, ...]:
    """Two ranked lists of one kind as one: each chunk with the better of its scores, ties by chunk id."""
    best: dict[str, Scored] = {}
    for scored in (*one, *other):
        known = best.get(scored.chunk.id)
        if known is None or scored.score > known.score:
            best[scored.chunk.id] = scored
    return tuple(sorted(best.values(), key=lambda scored: (-scored.score, scored.chunk.id)))


def normalised_bm25(ranked: Sequence[Scored]) -> dict[str, float]:
    """Each score over the best one: zero stays zero, because a BM25 of zero means that no word is shared."""
    best = max((scored.score for scored in ranked), default=0.0)
    return {scored.chunk.id: max(0.0, scored.score / best) for scored in ranked} if best > 0 else {}


def normalised_cosine(ranked: Sequence[Scored]) -> dict[str, float]:
    """Each score between the list's last (0) and first (1); all 1 where they are equal.

    A cosine has no zero that means something, and embedders differ in where theirs begin.
    """
    best = max((scored.score for scored in ranked), default=0.0)
    last = min((scored.score for scored in ranked), default=0.0)
    span = best - last
    return {scored.chunk.id: (scored.score - last) / span if span > 0 else 1.0 for scored in ranked}


def share_of_dense(wished: float, near: Collection[str], worded: Collection[str]) -> float:
    """The weight of the dense list: all of it where no word is found, none where there is no such list."""
    if not worded:
        return 1.0
    return wished if near else 0.0


def exact_first(hits: Sequence[Hit]) -> list[Hit]:
    """Reranked hits with the articles that the question named before all others again."""
    scores = _lifted(
        {hit.chunk.id: hit.score for hit in hits}, {hit.chunk.id for hit in hits if hit.exact}, EXACT_SHARE
    )
    lifted = [Hit(hit.chunk, scores[hit.chunk.id], hit.dense, hit.sparse, hit.exact) for hit in hits]
    return sorted(lifted, key=lambda hit: (-hit.score, not hit.exact, hit.chunk.id))


def _lifted(scores: Mapping[str, float], chosen: Collection[str], share: float) -> dict[str, float]:
    """A convex combination with one more signal, which is 1 for the chosen; none are chosen, nothing changes."""
    if not chosen:
        return dict(scores)
    return {key: share * (key in chosen) + (1 - share) * score for key, score in scores.items()}
