"""French or English, from a few words."""

from __future__ import annotations

import pytest

from rag.language import detect


@pytest.mark.parametrize(
    "text",
    ["Combien de jours de congé ?", "télétravail vendredi", "C'est quoi le CET ?", "Qui signe l'ordre de mission ?"],
)
def test_french_is_recognised(text: str) -> None:
    assert detect(text, default="en") == "fr"


@pytest.mark.parametrize(
    "text", ["How many days of leave do I have?", "Who signs the travel order?", "what is the meal ceiling"]
)
def test_english_is_recognised(text: str) -> None:
    assert detect(text, default="fr") == "en"


def test_when_words_do_not_tell_the_default_is_kept() -> None:
    assert detect("RIFSEEP 2024", default="fr") == "fr"
    assert detect("RIFSEEP 2024", default="en") == "en"
