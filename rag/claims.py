"""Whether the passages that a sentence cites support it, and which words of theirs do. Pure; fails closed.

A claim stands when one sentence of a cited passage (or, for a claim of several clauses, one sentence for each)
says the same: every value with its unit and bound, every name, who acts and for whom the rule is, what is denied,
allowed or due, and nearly every other word, by stem or by a family of administrative synonyms. What cannot be
verified is not supported. The order of the checks gives the reason that is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rag import sentences
from rag.evidence import Unit, evidence
from rag.quantities import folded
from rag.types import Claim, Matrix, Passage, Reason, Span, Verdict
from rag.values import same_value
from rag.verdicts import DEFAULT, PARTS, Outcome, Thresholds, spells, weigh
from rag.wording import reading

__all__ = ["DEFAULT", "Similarity", "Thresholds", "Unit", "cited", "evidence", "judge", "spells", "support"]

Similarity = Callable[[Sequence[str], Sequence[str]], Matrix]
"""Cosines between texts and texts, shape ``(left, right)``."""


_TALK: Final = re.compile(
    r"^(?:bonjour|bonsoir|merci|bien sur|voici|voila|d'accord|en resume|en conclusion|"
    r"n'hesitez|je |j'|si vous avez|pour toute question|"
    r"selon les (?:passages|extraits|documents)(?: fournis)?[ .:]*$|les (?:passages|"
    r"extraits|documents|sources)|le passage|la reponse|reponse|sources?\b|"
    r"hello|hi\b|hey|thank|sure|certainly|of course|here (?:is|are)|in summary|"
    r"i |i'm|if you have|feel free|please |let me|"
    r"the (?:passages|excerpts|documents|provided)|answer\b|note\b|question\b)"
)


def cited(sentence: str) -> tuple[str, tuple[int, ...]]:
    """The sentence without its marks, and the passages that the marks name, in order, each once."""
    numbers: list[int] = []
    for mark in sentences.MARK.findall(sentence):
        for part in re.findall(r"(\d+)(?:\s*[-–]\s*(\d+))?", mark):
            first, last = int(part[0]), int(part[1] or part[0])
            numbers += range(first, last + 1) if 0 <= last - first < 10 else [first, last]
    text = sentences.MARK.sub("", sentence)
    text = re.sub(r"[ \t]+([.,)])", r"\1", re.sub(r"[ \t]{2,}", " ", text))
    text = re.sub(r"([.!?])\s*\.(?!\.)", r"\1", text)
    return text.strip(), tuple(dict.fromkeys(numbers))


def judge(
    sentence: str,
    passages: Sequence[Passage],
    *,
    similarity: Similarity | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Claim:
    """The claim that ``sentence`` makes, supported only when what it cites says so.

    ``spans`` are then the sentences of the passages on which it rests, and ``reason`` is ``None``.
    """
    text, numbers = cited(sentence)
    if _is_talk(text):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
    if not numbers:
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NO_CITATION)
    by_number = {passage.n: passage for passage in passages}
    if any(number not in by_number for number in numbers):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.UNKNOWN_CITATION)
    cited_passages = [by_number[number] for number in numbers]
    languages = {"en" if passage.chunk.language == "en" else "fr" for passage in cited_passages}
    outcome = Outcome(Reason.LEXICAL, 0.0, ())
    for language in sorted(languages):
        units = [
            unit
            for passage in cited_passages
            if ("en" if passage.chunk.language == "en" else "fr") == language
            for unit in evidence(passage)
        ]
        said = reading(text, language)
        if not said.words and not said.quantities:
            return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
        found = weigh(said, language, units, thresholds, PARTS)
        outcome = max(outcome, found, key=lambda one: (one.reason is None, one.share))
    if outcome.reason is None and similarity is not None:
        supporting = " ".join(unit.text for unit in outcome.units)
        if float(similarity([text], [supporting])[0][0]) < thresholds.similarity:
            outcome = replace(outcome, reason=Reason.SEMANTIC)
    if outcome.reason is not None:
        return Claim(text, numbers, Verdict.UNSUPPORTED, outcome.reason)
    spans = dict.fromkeys(Span(unit.passage, unit.start, unit.end) for unit in outcome.units)
    return Claim(text, numbers, Verdict.SUPPORTED, None, tuple(spans))


def support(text: str, passages: Sequence[Passage]) -> float:
    """The share of the words and values of ``text`` that the best sentence of ``passages`` holds, in ``[0, 1]``."""
    best = 0.0
    for passage in passages:
        language = "en" if passage.chunk.language == "en" else "fr"
        said = reading(text, language)
        total = len(said.words) + len(said.quantities)
        for unit in evidence(passage):
            held = sum(any(word.like(other) for other in unit.words) for word in said.words)
            held += sum(any(same_value(value, other) for other in unit.values) for value in said.quantities)
            best = max(best, held / total if total else 0.0)
    return best


def _is_talk(text: str) -> bool:
    """Whether the sentence says nothing about the rules: a greeting, a lead-in, a question, a remark on itself."""
    plain = folded(text).lstrip("-*• \t#")
    return not plain or plain.endswith(("?", ":")) or _TALK.match(plain) is not None
