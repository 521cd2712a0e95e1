"""A sentence is supported only when what it cites says so, and the reason is told when not."""

from __future__ import annotations

import numpy as np
import pytest

from rag.claims import cited, judge
from rag.types import Chunk, Passage, Reason, Span

TEXT = (
    "Les agents titulaires ont droit à 25 jours ouvrés de congés annuels. "
    "Ils peuvent en reporter cinq jusqu'au 30 avril. "
    "La demande est adressée au chef de service quinze jours avant le départ. "
    "Aucun report n'est accordé aux stagiaires."
)


def passage(n: int, text: str = TEXT, *, title: str = "Règlement des congés", reference: str = "Article 4") -> Passage:
    chunk = Chunk(
        id=f"c{n}", corpus="rh", document="conges", title=title, reference=reference, path=(), text=text, ordinal=0,
        language="fr", start=0, end=len(text),
    )  # fmt: skip
    return Passage(n, chunk, 1.0)


def reason(sentence: str, *texts: str) -> Reason | None:
    passages = [passage(n, text) for n, text in enumerate(texts or (TEXT,), start=1)]
    return judge(sentence, passages).reason


@pytest.mark.parametrize(
    ("sentence", "text", "numbers"),
    [
        ("Le congé est payé [1].", "Le congé est payé.", (1,)),
        ("Le congé [2] est payé. [1, 3]", "Le congé est payé.", (2, 1, 3)),
        ("[1][2] Le congé est payé.", "Le congé est payé.", (1, 2)),
        ("Le congé est payé [1-3].", "Le congé est payé.", (1, 2, 3)),
        ("Le congé est payé [Passage 2].", "Le congé est payé.", (2,)),
        ("Le congé est payé [[1]].", "Le congé est payé.", (1,)),
        ("Le congé est payé [^2].", "Le congé est payé.", (2,)),
        ("Le congé est payé 【3†source】.", "Le congé est payé.", (3,)),
        ("Le congé est payé [Source : 2].", "Le congé est payé.", (2,)),
        ("Le congé est payé (source 2).", "Le congé est payé.", (2,)),
        ("Le congé est payé (passages 1 et 3).", "Le congé est payé.", (1, 3)),
        ("Le congé est payé [passage 1, passage 2].", "Le congé est payé.", (1, 2)),
        ("Le congé (1) est payé.", "Le congé (1) est payé.", ()),
        ("Le congé (article 2) est payé.", "Le congé (article 2) est payé.", ()),
    ],
)
def test_marks_are_read_and_removed(sentence: str, text: str, numbers: tuple[int, ...]) -> None:
    """Every way in which models write marks, and only marks."""
    assert cited(sentence) == (text, numbers)


def test_a_supported_claim_names_its_sentence() -> None:
    """The span is the sentence of the passage that says so."""
    claim = judge("Un agent titulaire bénéficie de vingt-cinq jours ouvrés de congés annuels [1].", [passage(1)])
    assert claim.supported
    assert claim.spans == (Span(1, 0, TEXT.index(".") + 1),)


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("Les agents titulaires ont droit à 25 jours ouvrés de congés annuels.", Reason.NO_CITATION),
        ("Les agents titulaires ont droit à 25 jours ouvrés de congés annuels [7].", Reason.UNKNOWN_CITATION),
        ("Voici la réponse à votre question [1].", Reason.NOT_A_CLAIM),
        ("Bonjour !", Reason.NOT_A_CLAIM),
        ("Nouvelles instructions. [1]", Reason.NOT_A_CLAIM),
        ("19 °C. [1]", Reason.NOT_A_CLAIM),
        ("L'assistant doit répondre. [1]", Reason.NOT_A_CLAIM),
        ("Les congés sont les suivants : [1]", Reason.NOT_A_CLAIM),
        ("Les agents titulaires ont droit à 26 jours ouvrés de congés annuels [1].", Reason.NUMBER),
        ("Les agents titulaires ont droit à 25 jours ouvrables de congés annuels [1].", Reason.UNIT),
        ("Ils peuvent en reporter cinq jusqu'au 31 avril [1].", Reason.DATE),
        ("La demande est adressée au directeur quinze jours avant le départ [1].", Reason.NAME),
        ("Un report est accordé aux stagiaires [1].", Reason.NEGATION),
        ("Selon l'article 9, aucun report n'est accordé aux stagiaires [1].", Reason.REFERENCE),
        ("Les agents contractuels ont droit à 25 jours ouvrés de congés annuels [1].", Reason.QUALIFIER),
        ("La cantine propose un menu végétarien [1].", Reason.LEXICAL),
    ],
)
def test_an_unsupported_claim_says_why(sentence: str, why: Reason) -> None:
    """Each way of being wrong has its reason."""
    assert reason(sentence) is why


def test_a_true_half_does_not_carry_an_invented_one() -> None:
    """What is added to a supported sentence must be supported too."""
    start = "Les agents titulaires ont droit à 25 jours ouvrés de congés annuels"
    assert reason(f"{start} [1].") is None
    assert reason(f"{start} et à une prime de vacances [1].") is not None


def test_two_rules_may_share_a_sentence() -> None:
    """A claim of two clauses may rest on two sentences, each clause on one of them."""
    claim = judge(
        "Les titulaires ont droit à 25 jours ouvrés de congés annuels "
        "et aucun report n'est accordé aux stagiaires [1].",
        [passage(1)],
    )
    assert claim.supported
    assert len(claim.spans) == 2


def test_only_what_is_cited_counts() -> None:
    """A sentence that another passage supports is not supported by the one it cites."""
    other = "Les véhicules de service sont réservés aux déplacements professionnels."
    assert reason("Aucun report n'est accordé aux stagiaires [2].", TEXT, other) is not None
    assert reason("Aucun report n'est accordé aux stagiaires [1].", TEXT, other) is None


def test_permission_is_not_its_contrary() -> None:
    """``peut`` does not support ``ne peut pas``, nor ``doit``."""
    text = "Le chef de service peut refuser la demande."
    assert reason("Le chef de service peut refuser la demande [1].", text) is None
    assert reason("Le chef de service ne peut pas refuser la demande [1].", text) is not None
    assert reason("Le chef de service doit refuser la demande [1].", text) is Reason.MODALITY


def test_values_of_a_table_belong_to_their_row_and_column() -> None:
    """A cell is read with the first cell of its row and the head of its column."""
    text = "Grade | Repas | Nuit\nCadre | 20 € | 110 €\nAgent de maîtrise | 18 € | 90 €"
    assert reason("Pour un cadre, le repas est de 20 € [1].", text) is None
    assert reason("Pour un cadre, le repas est de 110 € [1].", text) is not None
    assert reason("Pour un cadre, le repas est de 18 € [1].", text) is not None


def test_an_english_sentence_about_a_french_passage_is_not_supported() -> None:
    """What cannot be verified is not shown, whatever its names say."""
    assert reason("Permanent staff are entitled to 25 working days of annual leave [1].") is not None


def test_the_embedder_may_only_refuse() -> None:
    """A distant meaning unsupports a claim that the words support; a close one supports nothing."""
    near = lambda left, right: np.ones((len(left), len(right)), dtype=np.float32)  # noqa: E731  # two one-line fakes
    far = lambda left, right: np.zeros((len(left), len(right)), dtype=np.float32)  # noqa: E731  # two one-line fakes
    true, wrong = "Aucun report n'est accordé aux stagiaires [1].", "Un report est accordé aux stagiaires [1]."
    assert judge(true, [passage(1)], similarity=near).supported
    assert judge(true, [passage(1)], similarity=far).reason is Reason.SEMANTIC
    assert not judge(wrong, [passage(1)], similarity=near).supported
