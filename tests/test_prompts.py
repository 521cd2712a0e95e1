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


@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_each_task_has_its_digest(language: str) -> None:
    """An answer, a quotation and a rewriting are told apart by what they were asked with."""
    digests = {prompts.digest(task, language) for task in prompts.TASKS}
    assert len(digests) == len(prompts.TASKS)
    assert all(len(part) == 8 for digest in digests for part in digest.split("-"))


def test_every_template_serves_a_task() -> None:
    used = {name for names in prompts.TASKS.values() for name in names}
    assert {name.rpartition(".")[0] for name in prompts.names()} == used


@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_what_changes_most_comes_last(language: str) -> None:
    """The system text is the same for everyone, and the question stands behind the passages."""
    assert not prompts.load("system", language).placeholders
    assert prompts.load("passages", language).placeholders == {"passages"}
    for task in ("answer", "quote"):
        assert prompts.TASKS[task][:2] == ("system", "passages")
        assert prompts.load(prompts.TASKS[task][-1], language).placeholders == {"question"}


@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_prompts_stay_short(language: str) -> None:
    """A processor reads about sixty tokens a second: what frames an answer is under six seconds of it."""
    words = sum(len(prompts.load(name, language).text.split()) for name in prompts.TASKS["answer"])
    assert words < 180
    assert len(prompts.load("rewrite", language).text.split()) < 120
