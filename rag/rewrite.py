"""A follow-up and its history become a question that stands alone: by rules, or by a model whose words are checked.

The rules are those of :mod:`rag.follow_ups`. A question with a subject of its own goes on as it is.

Only what the person asked is ever read. The answers of a history come from the client and may be forged, and even
true ones hold words of documents: nothing of them reaches a search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import prompts
from rag import lexical, quantities
from rag.errors import BadRequest, Cancelled, GenerationError
from rag.follow_ups import clean, is_follow_up, joined
from rag.intents import Intent, intent
from rag.quantities import folded
from rag.queue import never, nobody
from rag.references import references
from rag.seams import Generator
from rag.types import Message, Sampling, Told, Turn

RECENT: Final = 8
"""Questions of the history that are read; a subject older than these has been changed long since."""
LONGEST: Final = 300
"""Characters of a question of the history; a longer one is a document, and is not joined to anything."""


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question as it will be searched and shown: itself, or joined with the question that it follows.

    Earlier follow-ups are read in their turn, so that a chain of them keeps its subject; greetings and thanks between
    them change nothing.
    """
    before = ""
    for text in _asked_before(history):
        before = joined(text, before)
    return joined(clean(question), before)


_NO_SUBJECT: Final = frozenset(
    {
        *(Intent.GREETING, Intent.THANKS, Intent.GOODBYE, Intent.ABOUT),
        *(Intent.ABUSE, Intent.DISTRESS, Intent.INSTRUCTION),
    }
)


def by_model(
    generator: Generator,
    question: str,
    history: Sequence[Turn],
    language: str,
    cancelled: Callable[[], bool] = never,
    told: Callable[[Told], None] = nobody,
    owner: str = "",
) -> str | None:
    """The question as a capable model makes it stand alone; ``None`` where the rules must do it.

    The model is asked about follow-ups only and reads no answer of the history. What it writes is taken when it is
    one question of a fair length that keeps the words of the follow-up and brings no number, date, reference or name,
    and hardly any word, that the person did not write.

    Raises:
        Cancelled: the reader went away.
    """
    asked = _asked_before(history)
    if not asked or not is_follow_up(question):
        return None
    said = prompts.load("rewrite", language).render(
        asked="\n".join(f"- {text}" for text in asked), question=clean(question)
    )
    try:
        pieces = generator.stream(
            [Message("user", said)], Sampling(max_tokens=_LINE), cancelled=cancelled, told=told, owner=owner
        )
        written = "".join(pieces)
    except Cancelled:
        raise
    except (GenerationError, BadRequest):
        return None
    return _accepted(written, [*asked, clean(question)], language)


def _accepted(written: str, sources: Sequence[str], language: str) -> str | None:
    """What a model wrote, when it is a rewriting of the last of ``sources`` and of nothing but them."""
    lines = [line.strip() for line in written.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    text = _LABEL.sub("", lines[0]).strip(" \"'«»“”*")
    known = " \n ".join(sources)
    if not text.endswith("?") or text.count("?") > 1 or not _SHORTEST <= len(text) <= min(LONGEST, 2 * len(known)):
        return None
    if re.search(r"[\[\]<>{}|]|https?:", text):
        return None
    values = {(one.kind, one.value, one.unit) for one in quantities.read(known)}
    if any((one.kind, one.value, one.unit) not in values for one in quantities.read(text)):
        return None
    if set(re.findall(r"\d+", text)) - set(re.findall(r"\d+", known)):
        return None
    if {one.key for one in references(text)} - {one.key for one in references(known)}:
        return None
    names = {folded(name) for name in re.findall(r"(?<!^)\b[A-ZÀ-Ý][\w-]+", text)}
    if any(name not in folded(known) for name in names):
        return None
    terms, before = set(lexical.terms(text, language)), set(lexical.terms(known, language))
    own = {term for term in lexical.terms(sources[-1], language) if len(term) > 2}
    if len(terms - before) > max(1, len(terms) // 4) or len(own & terms) < len(own) / 2:
        return None
    return text


_LABEL: Final = re.compile(
    r"^(?:[-*•]\s*|(?:question|la question|the question|question autonome|rewritten question|réécriture)\s*:\s*)+",
    re.IGNORECASE,
)
_LINE: Final = 80
"""Tokens of a rewritten question."""
_SHORTEST: Final = 8


def _asked_before(history: Sequence[Turn]) -> list[str]:
    """The questions of the history that may hold a subject, in order; small talk and pasted documents are none."""
    asked = [clean(turn.text) for turn in history if turn.role == "user" and turn.text.strip()]
    return [text for text in asked[-RECENT:] if len(text) <= LONGEST and intent(text) not in _NO_SUBJECT]
