"""Sentences, items and rows are told apart, with what leads them in and what they show at a glance."""

from __future__ import annotations

import pytest

from rag.asking import ALIKE, Kind, asked
from rag.quotable import Piece, held, pieces
from rag.types import Chunk, Passage


def pieces_of(text: str) -> list[tuple[str, Piece]]:
    chunk = Chunk(
        id="c", corpus="rh", document="d", title="", reference="", path=(), text=text, ordinal=0, language="fr",
        start=0, end=len(text),
    )  # fmt: skip
    return [(text[piece.start : piece.end], piece) for piece in pieces(Passage(1, chunk, 1.0))]


def test_sentences_are_cut_at_semicolons_outside_brackets() -> None:
    """A semicolon closes a rule of its own, and nothing inside brackets."""
    said = [text for text, _ in pieces_of("Le badge est refait ; il coûte dix euros. La salle (A ; B) est libre.")]
    assert said == ["Le badge est refait ;", "il coûte dix euros.", "La salle (A ; B) est libre."]


def test_an_item_knows_its_lead_in_and_a_row_its_header() -> None:
    """Both are searched with the words that give them a meaning."""
    text = "Sont admis :\n- les repas ;\n- les nuits.\nGrade | Repas\nCadre | 20 €"
    by_text = dict(pieces_of(text))
    item, row = by_text["- les repas ;"], by_text["Cadre | 20 €"]
    assert item.lead is not None
    assert text[slice(*item.lead)] == "Sont admis :"
    assert "admis" in item.stems
    assert row.lead is not None
    assert text[slice(*row.lead)] == "Grade | Repas"
    assert row.row
    assert "grad" in row.stems


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Le délai est de dix jours.", Kind.HOW_LONG, True),
        ("Le délai est raisonnable.", Kind.HOW_LONG, False),
        ("La taxe est de 12 euros.", Kind.HOW_MANY, True),
        ("La demande part le 3 mars.", Kind.WHEN, True),
        ("Le directeur signe.", Kind.WHO, True),
        ("Les agents travaillent à Valmont.", Kind.WHERE, True),
        ("Le départ est refusé en raison des nécessités du service.", Kind.WHY, True),
        ("Rien de cela.", Kind.WHAT, None),
    ],
)
def test_a_sentence_has_the_kind_of_thing_that_is_asked_for(text: str, kind: Kind, expected: bool | None) -> None:
    """Numbers, dates, people, places and causes are seen at a glance; of other kinds nothing is known."""
    ((_, piece),) = pieces_of(text)
    assert piece.answers(kind) is expected


def test_a_word_is_held_by_itself_or_in_another_shape() -> None:
    """``remboursable`` is held where ``rembourser`` is, at a discount; ``remise`` is another word."""
    (term,) = asked("règlementaire", "fr").terms
    assert held(["reglementair"]).worth(term) == 1.0
    assert held(["reglement"]).worth(term) == ALIKE
    assert held(["regard"]).worth(term) == 0.0


def test_what_points_back_is_marked() -> None:
    """A sentence that begins with a pronoun leans on the one before it."""
    said = pieces_of("Le badge est refait. Il coûte dix euros.")
    assert [piece.pointing for _, piece in said] == [False, True]
