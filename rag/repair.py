"""Marks that a writer forgot or mistook, set right where exactly one passage bears the sentence out. Pure.

A sentence without a mark rests on the mark that closes its paragraph, else on the only passage that says it; a
sentence with a mark that does not bear it out is given the only passage that does. In doubt nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rag.claims import Entailment, Similarity, cited, judge
from rag.types import Claim, Passage, Reason
from rag.verdicts import DEFAULT, Thresholds

SURE: Final = 0.6
"""Score that a passage must give a sentence to be set as its mark: twice what a mark of the writer's own needs."""


def judged(
    sentence: str,
    passages: Sequence[Passage],
    *,
    similarity: Similarity | None = None,
    entailment: Entailment | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Claim:
    """The claim of :func:`rag.claims.judge`, its mark set right when that makes it supported (``repaired``)."""

    def weigh(numbers: Sequence[int]) -> Claim:
        marks = "".join(f"[{n}]" for n in numbers)
        return judge(f"{text} {marks}", passages, similarity=similarity, entailment=entailment, thresholds=thresholds)

    text, numbers = cited(sentence)
    known = {passage.n for passage in passages}
    kept = [n for n in numbers if n in known]
    claim = weigh(kept)
    if claim.supported:  # a mark that names no passage falls away where the others bear the sentence out
        return replace(claim, repaired=len(kept) < len(numbers))
    if claim.reason is Reason.NOT_A_CLAIM:
        return replace(claim, cited=numbers)
    fitting = [one for passage in passages if passage.n not in kept and _sure(one := weigh([passage.n]))]
    if len(fitting) == 1:
        return replace(fitting[0], repaired=True)
    reason = Reason.UNKNOWN_CITATION if numbers and not kept else claim.reason
    return replace(claim, cited=numbers, reason=reason)


def paragraph(
    sentences: Sequence[str],
    passages: Sequence[Passage],
    *,
    similarity: Similarity | None = None,
    entailment: Entailment | None = None,
    thresholds: Thresholds = DEFAULT,
) -> tuple[Claim, ...]:
    """The claims of the sentences of one paragraph: marks at its end count for the unmarked sentences before them."""
    claims = []
    for place, sentence in enumerate(sentences):
        text, numbers = cited(sentence)
        if not numbers:
            following = next((found for later in sentences[place + 1 :] if (found := cited(later)[1])), ())
            sentence = text + "".join(f" [{n}]" for n in following)
        claim = judged(sentence, passages, similarity=similarity, entailment=entailment, thresholds=thresholds)
        claims.append(replace(claim, repaired=claim.repaired or (claim.supported and not numbers)))
    return tuple(claims)


def _sure(claim: Claim) -> bool:
    return claim.supported and claim.score >= SURE
