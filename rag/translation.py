"""What the administration's English is called in its French, for questions in another language than the texts.

The default embedder learnt English only, so it hardly finds a French rule by an English question; a list of terms
does. Of 42 English questions whose answer stands in French sample regulations, six passages held it .24 of the time
without the list and .86 with it (.93 for the same questions in French). Questions and list were written by one hand,
so other questions will gain less. It helps to search and proves nothing.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

from rag.glossary import Alternative, Glossary


def alternatives(text: str, language: str) -> tuple[Alternative, ...]:
    """What the phrases of an English ``text`` are called in French; nothing for a text in another language."""
    return _terms().alternatives(text, language)


@functools.cache
def _terms() -> Glossary:
    said = tomllib.loads((resources.files("rag") / "data" / "english_french.toml").read_text(encoding="utf-8"))
    families = [tuple(phrase.strip() for phrase in line.split("|")) for line in said["terms"]]
    return Glossary((), families, language="en")
