"""What a message wants: a question for the texts, or something that has a fixed reply; pure, by patterns.

Made to be precise, not complete. Whatever is doubtful is a question, because a question without evidence is refused
later anyway, and a real one that meets a fixed reply is lost. A greeting before a question is part of the question.
Both languages are read, whatever language the message seems to be in: people mix them.
"""

from __future__ import annotations

import functools
import re
import tomllib
from enum import StrEnum
from importlib import resources
from typing import Final

from rag.quantities import folded
from rag.types import Status


class Intent(StrEnum):
    """What a message wants; a closed list."""

    QUESTION = "question"
    GREETING = "greeting"
    THANKS = "thanks"
    GOODBYE = "goodbye"
    ABOUT = "about"
    """Who the assistant is and what it can do."""
    PERSONAL_ADVICE = "personal_advice"
    """To be told what to do in a dispute, how it will end, or to have its papers written."""
    ABUSE = "abuse"
    DISTRESS = "distress"
    """A person in danger, by their own hand or another's."""
    OFF_TOPIC = "off_topic"
    INSTRUCTION = "instruction"
    """To change the assistant's rules, or to be shown them."""


STATUS: Final = {
    Intent.GREETING: Status.OUT_OF_SCOPE,
    Intent.THANKS: Status.OUT_OF_SCOPE,
    Intent.GOODBYE: Status.OUT_OF_SCOPE,
    Intent.ABOUT: Status.OUT_OF_SCOPE,
    Intent.OFF_TOPIC: Status.OUT_OF_SCOPE,
    Intent.PERSONAL_ADVICE: Status.REFUSED,
    Intent.ABUSE: Status.REFUSED,
    Intent.DISTRESS: Status.REFUSED,
    Intent.INSTRUCTION: Status.REFUSED,
}
"""The status of an answer with a fixed reply; a question has none yet."""

LONGEST: Final = 400
"""Characters of a message that is read for anything but distress: a longer one tells a story, and is a question."""


_SMALL_TALK: Final = (Intent.GREETING, Intent.THANKS, Intent.GOODBYE, Intent.ABOUT)


def intent(text: str) -> Intent:
    """What a message wants; :attr:`Intent.QUESTION` unless it is plainly something else."""
    plain = " ".join(folded(text).split())
    if _finds("harm", plain) or (_finds("violence", plain) and (_finds("plea", plain) or not _asks(plain))):
        return Intent.DISTRESS
    if len(plain) > LONGEST:
        return Intent.QUESTION
    said = plain.strip(" .!?,;…")
    for small_talk in _SMALL_TALK:
        if _pattern(small_talk).fullmatch(said):
            return small_talk
    if _finds("instruction", plain):
        return Intent.INSTRUCTION
    if _finds("threat", plain) or (_finds("insult", plain) and not _pattern("opens_question").match(plain)):
        return Intent.ABUSE
    for other in (Intent.PERSONAL_ADVICE, Intent.OFF_TOPIC):
        if _finds(other, said):
            return other
    return Intent.QUESTION


def _asks(plain: str) -> bool:
    return "?" in plain or _pattern("opens_question").match(plain) is not None or _finds("asks_later", plain)


def _finds(name: str, plain: str) -> bool:
    return _pattern(name).search(plain) is not None


@functools.cache
def _pattern(name: str) -> re.Pattern[str]:
    """The patterns ``name`` of ``data/intents.toml`` as one."""
    data = tomllib.loads((resources.files("rag") / "data" / "intents.toml").read_text(encoding="utf-8"))
    pieces: dict[str, str] = data["pieces"]
    joined = "|".join(data["patterns"][name])
    return re.compile("(?:" + re.sub(r"\{([a-z_]+)\}", lambda match: pieces[match[1]], joined) + ")")
