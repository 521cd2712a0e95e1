"""Extracts are whole sentences, word for word; thin evidence is told from evidence about the question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag.extracts import SUFFICIENT, extracts, sufficiency
from rag.types import Chunk, Passage

LEAVE = (
    "Les agents titulaires ont droit à 25 jours ouvrés de congés annuels. "
    "La demande est adressée au chef de service quinze jours avant le départ. "
    "Aucun report n'est accordé aux stagiaires."
)
BADGES = "La perte d'un badge est signalée au poste de sécurité dans les vingt-quatre heures. Le badge est personnel."
TABLE = "Grade | Repas | Nuit\nCadre | 20 € | 110 €\nAgent de maîtrise | 18 € | 90 €"
LIST = "Le congé exceptionnel est accordé dans les cas suivants :\n1° mariage : cinq jours ;\n2° décès : trois jours."


def passage(n: int, text: str, title: str, score: float = 1.0, article: str = "Article 4") -> Passage:
    chunk = Chunk(
        id=f"c{n}", corpus="rh", document=f"d{n}", title=title, reference=article, path=(), text=text, ordinal=0,
        language="fr", start=0, end=len(text),
    )  # fmt: skip
    return Passage(n, chunk, score)


PASSAGES = [
    passage(1, LEAVE, "Règlement des congés"),
    passage(2, BADGES, "Accès aux sites", 0.6),
    passage(3, TABLE, "Barème des missions", 0.5),
    passage(4, LIST, "Congés exceptionnels", 0.5),
]


def shown(question: str, limit: int = 1) -> list[str]:
    by_number = {one.n: one.chunk.text for one in PASSAGES}
    return [by_number[n][start:end] for n, start, end in extracts(question, PASSAGES, limit=limit)]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Combien de jours de congés annuels ont les titulaires ?", LEAVE.split(". ")[0] + "."),
        ("À qui adresser la demande de congé ?", LEAVE.split(". ")[1] + "."),
        ("Sous quel délai signaler la perte de mon badge ?", BADGES.split(". ")[0] + "."),
    ],
)
def test_the_sentence_that_answers_comes_first(question: str, sentence: str) -> None:
    """The words of the question and the kind of answer asked for choose the sentence."""
    assert shown(question) == [sentence]


def test_a_row_brings_its_header() -> None:
    """A cell means nothing without the head of its column."""
    assert shown("Combien pour le repas d'un cadre ?") == ["Grade | Repas | Nuit", "Cadre | 20 € | 110 €"]


def test_an_item_brings_its_lead_in() -> None:
    """An item means nothing without the words that open its list."""
    assert shown("Combien de jours de congé exceptionnel pour un mariage ?") == [
        "Le congé exceptionnel est accordé dans les cas suivants :",
        "1° mariage : cinq jours ;",
    ]


def test_extracts_are_in_reading_order_and_within_the_limit() -> None:
    """Whatever their rank, sentences appear as the texts have them."""
    spans = extracts("congés annuels, badge, report", PASSAGES, limit=3)
    assert spans == sorted(spans)
    assert 1 <= len({(n, start) for n, start, _ in spans}) <= 4


def test_nothing_is_extracted_for_a_question_about_something_else() -> None:
    """A sentence that shares nothing with the question is not given."""
    assert extracts("Quel télescope acheter pour voir Saturne ?", PASSAGES) == []
    assert extracts("Combien ?", []) == []


def test_the_best_passage_is_quoted_first_and_the_others_after_it() -> None:
    """Extracts stand in the order in which search ranks their passages."""
    ranked = [replace(PASSAGES[0], score=0.2), *(replace(one, score=0.9 - one.n / 10) for one in PASSAGES[1:])]
    numbers = [n for n, _, _ in extracts("congés annuels reportés", ranked)]
    scores = {one.n: one.score for one in ranked}
    assert numbers
    assert [scores[n] for n in numbers] == sorted((scores[n] for n in numbers), reverse=True)


@pytest.mark.parametrize(
    ("question", "answered"),
    [
        ("Combien de jours de congés annuels ont les titulaires ?", True),
        ("Sous quel délai signaler la perte d'un badge ?", True),
        ("Quel télescope acheter pour voir les anneaux de Saturne ?", False),
        ("Quelle prime est versée avec la médaille d'honneur ?", False),
        ("Combien de jours pour une cure thermale ?", False),
    ],
)
def test_evidence_is_sufficient_or_not(question: str, answered: bool) -> None:
    """A passage must hold what the question is about, not only its common words."""
    assert (sufficiency(question, PASSAGES) >= SUFFICIENT) is answered


def test_no_passage_is_no_evidence() -> None:
    """Without passages the answer is a refusal."""
    assert sufficiency("Combien de jours de congés ?", []) == 0.0
