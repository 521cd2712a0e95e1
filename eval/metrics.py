"""Scores of a ranking against judgements, by ``ir-measures``; pure.

nDCG takes the labels as they are (linear gains) and MRR any positive label; recall counts the labels of at least 3
where a set is graded that far, else every positive one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import ir_measures
from ir_measures import RR, R, ScoredDoc, nDCG

Judgements = Mapping[str, Mapping[str, int]]
"""By query id, the label of each judged document."""

MEASURES: Final = ("ndcg@10", "recall@10", "recall@100", "mrr@10")
RECALL_LABEL: Final = 3
"""The least label that recall counts in a graded set: on a scale to 5, below it is "touches the subject"."""


def measure(judgements: Judgements, rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean of each of :data:`MEASURES` over the judged queries; a query without a ranking counts as zero.

    ``rankings`` are document ids by query id, best first, each document once. Recall leaves out the queries that
    have no document to be found.
    """
    found = by_query(judgements, rankings)
    return {
        name: sum(values) / len(values) if (values := [own[name] for own in found.values() if name in own]) else 0.0
        for name in MEASURES
    }


def by_query(judgements: Judgements, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """By query id, each of :data:`MEASURES` that counts for the query: recall needs a document to be found."""
    least = recall_label(judgements)
    qrels = [
        ir_measures.Qrel(query, document, label)
        for query, labels in judgements.items()
        for document, label in labels.items()
    ]
    run = [
        # Falling scores that never tie, so that the order given is the order judged.
        ScoredDoc(query, document, 1.0 / rank)
        for query in judgements
        for rank, document in enumerate(rankings.get(query, ()), start=1)
    ]
    names = dict(zip((nDCG @ 10, R(rel=least) @ 10, R(rel=least) @ 100, RR @ 10), MEASURES, strict=True))
    scores: dict[str, dict[str, float]] = {query: dict.fromkeys(MEASURES, 0.0) for query in judgements}
    for one in ir_measures.iter_calc(list(names), qrels, run):
        scores[one.query_id][names[one.measure]] = one.value
    needed = dict(zip(MEASURES, (1, least, least, 1), strict=True))
    return {
        query: {
            name: value for name, value in own.items() if max(judgements[query].values(), default=0) >= needed[name]
        }
        for query, own in scores.items()
    }


def recall_label(judgements: Judgements) -> int:
    """The least label that counts for recall in this set."""
    graded = any(label >= RECALL_LABEL for labels in judgements.values() for label in labels.values())
    return RECALL_LABEL if graded else 1


def best_first(documents: Sequence[str]) -> list[str]:
    """Each document once, at its best place: a document scores as its best chunk."""
    return list(dict.fromkeys(documents))
