"""Vauban has words of its own for every status and every intent, in both languages."""

from __future__ import annotations

import pytest

from rag import replies
from rag.intents import Intent
from rag.types import Status

LANGUAGES = ("fr", "en")
FIXED = [one for one in Intent if one is not Intent.QUESTION]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_status_has_a_lead(language: str) -> None:
    """Only an answered question opens with the texts themselves."""
    leads = {status: replies.lead(status, language) for status in Status}
    assert leads.pop(Status.ANSWERED) == ""
    assert all(leads.values())
    assert len(set(leads.values())) == len(leads)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("intent", FIXED)
def test_every_intent_has_a_short_reply(intent: Intent, language: str) -> None:
    text = replies.fixed(intent, language)
    assert text
    assert "\n" not in text
    assert len(text) < 600
    assert text != replies.fixed(intent, "en" if language == "fr" else "fr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_in_danger_is_told_whom_to_call(language: str) -> None:
    """The numbers come first, and the contact when there is one."""
    text = replies.fixed(Intent.DISTRESS, language, "drh@agence.example")
    assert all(number in text for number in ("15", "17", "18", "112", "3114"))
    assert text.endswith("drh@agence.example")


def test_a_greeting_names_no_contact() -> None:
    assert "drh@" not in replies.fixed(Intent.GREETING, "fr", "drh@agence.example")
    assert "drh@" in replies.fixed(Intent.PERSONAL_ADVICE, "fr", "drh@agence.example")


def test_a_question_has_no_fixed_reply() -> None:
    with pytest.raises(KeyError):
        replies.fixed(Intent.QUESTION, "fr")


def test_a_refusal_says_whether_texts_are_near() -> None:
    assert replies.refusal("fr", near=True, contact="").count(".") > replies.refusal(
        "fr", near=False, contact=""
    ).count(".")
    assert replies.refusal("en", near=False, contact="x@y.example").endswith("To reach a person: x@y.example")


def test_the_other_language_is_named() -> None:
    assert "français" in replies.other_language("fr")
    assert "English" in replies.other_language("en")
