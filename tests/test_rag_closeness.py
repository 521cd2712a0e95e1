"""How closely a chunk stands to a question, beyond the words they share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.closeness import WEIGHTS, Closeness, closeness, plain, wording
from rag.types import Chunk

CHUNK = Chunk(
    "c",
    "rh",
    "d",
    "Frais de mission",
    "Article 4",
    (),
    "Le remboursement des frais de repas est forfaitaire.",
    0,
    "fr",
    0,
    9,
)


def of(question: str, text: str = CHUNK.text, title: str = CHUNK.title) -> Closeness:
    return closeness(wording(question), replace(CHUNK, text=text, title=title))


def test_parts_of_words_count() -> None:
    """Another form of a word, and a word with a slip of the pen, are close; another word is not."""
    assert of("remboursé").runs > 0.5
    assert of("rembousrement").runs > 0.5
    assert of("télétravail").runs == 0.0


def test_runs_are_looked_for_in_title_path_and_text() -> None:
    """What the title says need not be said again."""
    assert of("mission").runs == of("repas").runs == of("article").runs == 1.0


def test_a_title_about_nothing_else_is_closest() -> None:
    """Two of two words beat two of four."""
    assert of("frais de mission").title == 1.0
    assert of("frais de mission", title="Frais de mission et de changement de résidence").title == pytest.approx(2 / 3)


def test_a_text_that_begins_with_the_subject_is_closer() -> None:
    """The thirty-first word is no beginning any more."""
    late = "mot " * 30 + "repas"
    assert of("repas", text=late).lead == 0.0
    assert of("repas", text=late[4:]).lead == 1.0


def test_neighbours_in_the_question_are_neighbours_in_the_text() -> None:
    """In that order, with two small words between them at most, in whatever form."""
    assert of("les frais de repas").pairs == 1.0
    assert of("frais des repas", text="Le repas et les frais.").pairs == 0.0
    assert of("frais repas", text="Les frais de tous les repas.").pairs == 0.0
    assert of("frais repas", text="Les frais pour ce repas.").pairs == 1.0


@dataclass(frozen=True)
class Named:
    """Another name for a part of a question."""

    start: int
    end: int
    phrase: str


def test_another_name_is_as_good_as_the_one_that_was_said() -> None:
    """And both together are no better than one."""
    asked = wording("RTT des agents", also=[Named(0, 3, "réduction du temps de travail"), Named(0, 3, "jour de repos")])
    one, other, both, none = (
        closeness(asked, replace(CHUNK, text=text))
        for text in ("RTT, agents.", "Agents, jours de repos.", "RTT, agents, jour de repos.", "Les agents.")
    )
    assert (one.runs, one.lead) == (both.runs, both.lead) == (1.0, 1.0)
    assert other.lead == 1.0
    assert none.lead == pytest.approx(0.5)


def test_names_that_overlap_are_taken_once() -> None:
    """Of two phrases that share words, the first counts."""
    also = [Named(0, 5, "absence"), Named(0, 16, "arrêt"), Named(9, 16, "santé")]
    assert len(wording("congé de maladie", also=also).phrases) == 1


def test_accents_capitals_and_apostrophes_change_nothing() -> None:
    """People type as they type."""
    assert of("DUREE DE L'AGREMENT", "La durée de l’agrément") == of("durée de l’agrément", "La durée de l’agrément")


def test_amounts_are_one_word() -> None:
    """With and without the blank."""
    assert plain("1 000 €, 20 000 €") == " 1000 20000 "


@pytest.mark.parametrize("language", WEIGHTS)
def test_weights_are_shares(language: str) -> None:
    """A chunk that has everything scores 1."""
    assert Closeness(1, 1, 1, 1).score(WEIGHTS[language]) == pytest.approx(1.0)


@given(st.text(max_size=60), st.text(max_size=200), st.text(max_size=30), st.sampled_from(["fr", "en", "de"]))
def test_any_text_has_a_score(question: str, text: str, title: str, language: str) -> None:
    """From 0 to 1, whatever is asked of whatever."""
    found = closeness(wording(question), replace(CHUNK, text=text, title=title, language=language))
    for weights in WEIGHTS.values():
        assert 0.0 <= found.score(weights) <= 1.0 + 1e-9
