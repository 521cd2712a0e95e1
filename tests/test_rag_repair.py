"""A mark is set right where exactly one passage bears the sentence out, and nowhere else."""

from __future__ import annotations

import pytest

from rag.repair import judged, paragraph
from rag.types import Chunk, Passage, Reason

LEAVE = "Les agents titulaires ont droit à 25 jours ouvrés de congés annuels."
CARS = "Les véhicules de service sont réservés aux déplacements professionnels."
BADGE = "La perte du badge est signalée au poste de sûreté dans un délai de 48 heures."


def passages(*texts: str) -> list[Passage]:
    return [
        Passage(
            n,
            Chunk(
                id=f"c{n}", corpus="rh", document=f"d{n}", title="Règlement", reference=f"Article {n}", path=(),
                text=text, ordinal=0, language="fr", start=0, end=len(text),
            ),
            1.0,
        )
        for n, text in enumerate(texts, start=1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "cited", "repaired"),
    [
        (f"{CARS[:-1]} [2].", (2,), False),
        (CARS, (2,), True),
        (f"{CARS[:-1]} [1].", (2,), True),
        (f"{CARS[:-1]} [9].", (2,), True),
        (f"{CARS[:-1]} [2, 9].", (2,), True),
    ],
)
def test_a_mark_is_set_right(sentence: str, cited: tuple[int, ...], repaired: bool) -> None:
    """Right ones stay; missing, wrong and unknown ones become the one that bears the sentence out."""
    claim = judged(sentence, passages(LEAVE, CARS, BADGE))
    assert claim.supported
    assert (claim.cited, claim.repaired) == (cited, repaired)


def test_two_passages_that_say_it_leave_it_unmarked() -> None:
    """In doubt nothing is repaired."""
    claim = judged(CARS, passages(LEAVE, CARS, CARS))
    assert claim.reason is Reason.NO_CITATION
    assert not claim.repaired


def test_what_no_passage_says_is_not_repaired() -> None:
    """The reason is that of the writer's own mark, and the mark is told as it was."""
    claim = judged("Les agents titulaires ont droit à 30 jours ouvrés de congés annuels [1].", passages(LEAVE, CARS))
    assert claim.reason is Reason.NUMBER
    assert claim.cited == (1,)
    assert judged(f"{LEAVE[:-1]} et à une prime [7].", passages(LEAVE)).reason is Reason.UNKNOWN_CITATION


def test_a_mark_at_the_end_of_a_paragraph_counts_for_what_stands_before_it() -> None:
    """An unmarked sentence rests on the next mark of its paragraph before anything else."""
    claims = paragraph([CARS, f"{BADGE[:-1]} [2, 3]."], passages(LEAVE, CARS, BADGE, CARS))
    assert [claim.supported for claim in claims] == [True, True]
    assert claims[0].cited == (2, 3)
    assert [claim.repaired for claim in claims] == [True, False]
