"""Prompts are files: complete in both languages, and never half-filled."""

from __future__ import annotations

import pytest

import prompts


def test_every_prompt_exists_in_both_languages() -> None:
    names = {name.rpartition(".")[0] for name in prompts.names()}
    assert prompts.names() == sorted(f"{name}.{language}" for name in names for language in prompts.LANGUAGES)


def test_both_languages_take_the_same_placeholders() -> None:
    for name in {name.rpartition(".")[0] for name in prompts.names()}:
        assert prompts.load(name, "fr").placeholders == prompts.load(name, "en").placeholders


def test_a_missing_or_unknown_placeholder_is_an_error() -> None:
    template = prompts.load("question", "fr")
    with pytest.raises(prompts.PromptError, match="question"):
        template.render()
    with pytest.raises(prompts.PromptError, match="extra"):
        template.render(question="?", extra="x")


def test_a_value_is_never_read_as_a_template() -> None:
    assert "{{question}}" in prompts.load("question", "fr").render(question="{{question}}")


@pytest.mark.parametrize("name", ["../pyproject", "nothing", "system.fr"])
def test_an_unknown_prompt_is_an_error(name: str) -> None:
    with pytest.raises(prompts.PromptError):
        prompts.load(name, "fr")


def test_the_digest_changes_with_the_text() -> None:
    assert prompts.load("system", "fr").digest != prompts.load("system", "en").digest
