"""No difference between a claim and its source can raise the score, and the heaviest one is told."""

from __future__ import annotations

import pytest

from rag import scoring
from rag.claims import judge
from rag.thesaurus import credit, terms
from rag.types import Chunk, Passage, Reason


def passage(n: int, text: str) -> Passage:
    chunk = Chunk(
        id=f"c{n}", corpus="rh", document="d", title="Règlement", reference=f"Article {n}", path=(), text=text,
        ordinal=0, language="fr", start=0, end=len(text),
    )  # fmt: skip
    return Passage(n, chunk, 1.0)


def test_signs_are_set() -> None:
    """What agrees raises, what differs lowers, and what tells only how a sentence is written has no weight."""
    weights = scoring._weights().of
    assert weights
    for name, weight in weights.items():
        assert name not in scoring.UNUSED
        assert weight > 0 if name in scoring.RAISING else weight < 0, name


def test_a_difference_costs_and_is_blamed() -> None:
    """A missing value lowers the score and is the reason."""
    near = {"cover": 1.0, "back": 1.0}
    wrong = near | {"value_absent": 1.0}
    assert scoring.score(wrong) < scoring.score(near)
    assert scoring.blame(wrong) is Reason.NUMBER
    assert scoring.blame(near) is Reason.LEXICAL


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("Un badge resté soixante jours de suite sans servir est coupé automatiquement.",
         "Le badge inutilisé pendant 60 jours consécutifs est désactivé d'office."),
        ("Le repos du samedi est augmenté d'un quart.", "Le repos compensateur est majoré de 25 % le samedi."),
        ("Le déjeuner dure trois quarts d'heure au moins.",
         "La pause méridienne dure au minimum quarante-cinq minutes."),
    ],
)  # fmt: skip
def test_free_wording_stands(sentence: str, text: str) -> None:
    """The same rule in everyday words, with values told another way."""
    claim = judge(f"{sentence} [1]", [passage(1, text)])
    assert claim.supported, claim.reason
    assert 0.0 < claim.score <= 1.0


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("Votre badge ne marche plus au bout de quarante jours sans utilisation.", Reason.NUMBER),
        ("Votre badge ne marche plus au bout de soixante semaines sans utilisation.", Reason.UNIT),
    ],
)
def test_free_wording_with_another_value_falls(sentence: str, why: Reason) -> None:
    """However it is worded, a value is compared as a value, and the nearest sentence is told."""
    claim = judge(f"{sentence} [1]", [passage(1, "Le badge inutilisé pendant 60 jours est désactivé d'office.")])
    assert claim.reason is why
    assert claim.nearest


def test_a_passage_that_says_it_better_speaks_against_the_one_that_is_cited() -> None:
    """A sentence under the wrong mark is not supported, though some of its words stand there too."""
    shown = [
        passage(1, "La demande de congé est signée par l'agent et remise au chef de service."),
        passage(2, "Le planning des congés d'été est arrêté par le chef de service au plus tard le 20 avril."),
    ]
    sentence = "Le chef de service fixe les congés d'été avant la fin du mois d'avril"
    assert not judge(f"{sentence} [1].", shown).supported


@pytest.mark.parametrize(
    ("left", "right", "degree"),
    [("versement", "versements", 1.0), ("octroyer", "attribuer", 1.0), ("éteindre", "désactiver", 0.85),
     ("repas", "badge", 0.0), ("lundi", "mardi", 0.0), ("juin", "mai", 0.0)],
)  # fmt: skip
def test_kin_stand_for_one_another(left: str, right: str, degree: float) -> None:
    """The same word counts whole, kin nearly, strangers and other days nothing."""
    assert credit(terms(left, "fr")[0], terms(right, "fr")[0]) == degree
