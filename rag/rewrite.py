"""A follow-up and its history become a question that stands alone; pure rules, no model.

A question is taken for a follow-up when it opens like one ("et pour les contractuels ?", "what about…") or is
short and leans on what was said ("depuis quand ?", "et lui ?"). It is then searched together with the last
question that stood alone, which keeps its subject; anything else goes on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.types import Turn

_OPENING = re.compile(
    r"^\s*(et|mais|même question|idem|dans ce cas|sinon|and|but|what about|how about|same|in that case)\b",
    re.IGNORECASE,
)
_LEANING = re.compile(
    r"\b(ça|cela|celui-ci|celle-ci|ceux-ci|ce dernier|cette dernière|lui|leur|y|en|ils|elles|il|elle|"
    r"it|that|this|them|they|those|these)\b",
    re.IGNORECASE,
)
SHORT = 6
"""Words up to which a question that leans on a pronoun, or has no subject of its own, is a follow-up."""
_BARE = re.compile(
    r"^\s*(depuis quand|jusqu.à quand|à partir de quand|combien de temps|combien|pourquoi|comment|où|quand|lesquels|"
    r"since when|until when|how long|how many|how much|why|how|where|when|which ones)\s*\??\s*$",
    re.IGNORECASE,
)


def is_follow_up(question: str) -> bool:
    """Whether a question needs what was said before to be understood."""
    if _OPENING.match(question) or _BARE.match(question):
        return True
    return len(question.split()) <= SHORT and bool(_LEANING.search(question))


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question as it will be searched and shown: itself, or led by the question that it follows."""
    question = " ".join(question.split())
    if not is_follow_up(question):
        return question
    asked = [turn.text for turn in history if turn.role == "user" and turn.text.strip()]
    subject = next((text for text in reversed(asked) if not is_follow_up(text)), None)
    if subject is None:
        return question
    return f"{' '.join(subject.split())} {question}"
