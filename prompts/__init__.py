"""Prompt templates, one file each, loaded by name and language.

A template is Markdown with placeholders ``{{name}}``. Rendering with a placeholder missing or unknown is an
error, so that a prompt can never go out half-filled. ``digest`` identifies a template in an answer's record.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
LANGUAGES = ("fr", "en")
TASKS = {
    "answer": ("system", "passages", "question"),
    "quote": ("system", "passages", "quote"),
    "form": ("system", "passages", "form"),
    "rewrite": ("rewrite",),
}
"""What a model is asked to do, and the templates of its prompt in their order: what changes least comes first, so that
a model finds the beginning read already. ``quote`` and ``form`` differ from ``answer`` in their last
words only."""


class PromptError(LookupError):
    """A template does not exist, or was rendered with the wrong placeholders."""


@dataclass(frozen=True, slots=True)
class Template:
    """One prompt template; ``placeholders`` are the names it must be rendered with."""

    name: str
    text: str

    @property
    def placeholders(self) -> frozenset[str]:
        return frozenset(_PLACEHOLDER.findall(self.text))

    @property
    def digest(self) -> str:
        """SHA-256 of the template's text, first 16 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, **values: str) -> str:
        """The text with each placeholder replaced; values are inserted as they are and never read as templates.

        Raises:
            PromptError: a placeholder is missing, or a value has no placeholder.
        """
        if values.keys() != self.placeholders:
            wrong = sorted(values.keys() ^ self.placeholders)
            raise PromptError(f"prompt {self.name}: missing or unknown placeholders {', '.join(wrong)}")
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)


@cache
def load(name: str, language: str) -> Template:
    """The template ``NAME.LANGUAGE.md`` of this folder.

    Raises:
        PromptError: there is no such template.
    """
    file = resources.files(__name__) / f"{name}.{language}.md"
    if not re.fullmatch(r"[a-z_]+", name) or language not in LANGUAGES or not file.is_file():
        raise PromptError(f"there is no prompt {name!r} in language {language!r}")
    return Template(name=f"{name}.{language}", text=file.read_text(encoding="utf-8").strip())


def digest(task: str, language: str) -> str:
    """Identifies the templates that the prompt of a task was made of; it is kept with what the model wrote."""
    return "-".join(load(name, language).digest[:8] for name in TASKS[task])


def names() -> list[str]:
    """The names of all templates, each with its language: ``question.en``, ``question.fr``…"""
    return sorted(
        file.name.removesuffix(".md") for file in resources.files(__name__).iterdir() if file.name.endswith(".md")
    )
