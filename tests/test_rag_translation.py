"""English terms of the administration, and what its French calls them."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from rag.translation import alternatives


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("How much annual leave do I have?", "congé annuel"),
        ("Is SICK LEAVE paid?", "congé de maladie"),
        ("two supporting documents", "pièce justificative"),
    ],
)
def test_an_english_phrase_has_its_french_one(text: str, phrase: str) -> None:
    """The longest phrase is translated, and not the words in it."""
    assert phrase in [other.phrase for other in alternatives(text, "en")]


def test_a_french_question_is_left_alone() -> None:
    """Its words are those of the texts; "mission" and "site" are French there."""
    assert alternatives("La mission sur le site : quelle indemnité ?", "fr") == ()


def test_each_term_is_listed_once() -> None:
    """A second line for a phrase would hide in the list; every line has a French phrase."""
    said = tomllib.loads((resources.files("rag") / "data" / "english_french.toml").read_text(encoding="utf-8"))
    lines = [[phrase.strip() for phrase in line.split("|")] for line in said["terms"]]
    assert len({line[0] for line in lines}) == len(lines)
    assert all(len(line) > 1 and all(line) for line in lines)
