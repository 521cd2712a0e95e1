"""A question is read for its subject, for other names of it, and for the kind of answer."""

from __future__ import annotations

import pytest

from rag.asking import KIN, NEAR, SAME, Kind, asked, kind, rarity
from rag.glossary import Glossary
from rag.quantities import folded


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Combien de jours de congé ?", Kind.HOW_LONG),
        ("Combien coûte un badge ?", Kind.HOW_MANY),
        ("Quel est le plafond d'hôtel ?", Kind.HOW_MANY),
        ("Quand rendre l'état de frais ?", Kind.WHEN),
        ("Qui signe un marché ?", Kind.WHO),
        ("Où sont les défibrillateurs ?", Kind.WHERE),
        ("Pourquoi refuser un départ ?", Kind.WHY),
        ("Comment réserver une salle ?", Kind.HOW),
        ("Quel formulaire remplir ?", Kind.WHICH),
        ("Que faut-il joindre ?", Kind.WHAT),
        ("Peut-on télétravailler à l'étranger ?", Kind.YES_NO),
        ("How long is the permit valid?", Kind.HOW_LONG),
        ("Who approves the trip?", Kind.WHO),
    ],
)
def test_the_kind_of_answer_is_read(question: str, expected: Kind) -> None:
    """What is asked for decides what a sentence should have."""
    assert kind(folded(question)) is expected


def test_words_that_questions_are_made_of_are_no_subject() -> None:
    """Only what the question is about is looked for."""
    read = asked("Combien de jours de congé puis-je prendre pour un mariage ?", "fr")
    assert [term.stems for term in read.content] == [("cong",), ("mariag",)]


def test_a_noun_follows_a_determiner_or_is_a_name() -> None:
    """Nouns are what questions are about."""
    read = asked("Peut-on signaler un badge perdu à Valmont ?", "fr")
    assert {term.stems[0]: term.noun for term in read.content} == {
        "signal": False, "badg": True, "perdu": False, "valmont": True,
    }  # fmt: skip


def test_other_names_have_their_worth() -> None:
    """Interchangeable ones of a glossary first, near ones next, kin last."""
    glossary = Glossary([("RTT", "réduction du temps de travail")], [("vacances", "congés")])
    of = {term.stems[0]: term for term in asked("Des vacances sur mes RTT ?", "fr", glossary).terms}
    assert (SAME, ("reduct", "temp", "travail")) in of["rtt"].phrases
    assert dict(of["vacanc"].singles)[NEAR] == {"cong"}
    assert max(worth for worth, _ in of["vacanc"].singles) > KIN


def test_a_rare_word_is_told_from_a_common_one() -> None:
    """Everyday language says how specific a word is; accents are no difference, and no list has invented words."""
    assert rarity("temps", "fr") < 1 < rarity("badge", "fr") < rarity("télépathie", "fr")
    assert rarity("telepathie", "fr") == rarity("télépathie", "fr")
    assert rarity("zzyzzx", "fr") == 5.0
    assert rarity("malaria", "en") > rarity("house", "en")


def test_the_focus_is_what_the_answer_is_an_instance_of() -> None:
    """``Quel formulaire`` is answered by a form."""
    assert asked("Quel formulaire remplir ?", "fr").focus == ("formulair",)
    assert asked("Peut-on partir ?", "fr").focus == ()
