"""Whether the passages that a sentence cites support it, and which words of theirs do. Pure; fails closed.

A claim stands when one sentence of a cited passage (or, for a claim of several clauses, one sentence for each)
says the same word for word or by a family of synonyms: every value with its unit and bound, every name, who acts and
for whom the rule is, what is denied, allowed or due (:mod:`rag.verdicts`). A French claim in other words stands when
its score (:mod:`rag.scoring`) is high enough: the score is made of what agrees and what differs between the claim and
the sentences that it lies over (:mod:`rag.alignment`), and of whether another passage says it better. What cannot be
verified is not supported; the reason that is told is the first check that failed, or what cost the score most.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag import alignment, scoring, sentences
from rag.evidence import Unit, evidence
from rag.instructions import addressed_to_machine
from rag.language import detect
from rag.quantities import folded
from rag.types import Chunk, Claim, Matrix, Passage, Reason, Span, Verdict
from rag.values import same_value
from rag.verdicts import DEFAULT, PARTS, VERBATIM, Outcome, Thresholds, spells, weigh
from rag.wording import reading

__all__ = [
    "DEFAULT", "VERBATIM", "Entailment", "Similarity", "Thresholds", "Unit", "cited", "evidence", "judge", "spells",
    "support",
]  # fmt: skip

Similarity = Callable[[Sequence[str], Sequence[str]], Matrix]
"""Cosines between texts and texts, shape ``(left, right)``."""
Entailment = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""For each pair of a text and a sentence, how surely the text says the sentence, in ``[0, 1]``."""

_TALK: Final = re.compile(
    r"^(?:bonjour|bonsoir|merci|bien sur|voici|voila|d'accord|en resume|en conclusion|"
    r"n'hesitez|je |j'|si vous avez (?:d'autres|des|une) question|pour toute question|"
    r"selon les (?:passages|extraits|documents)(?: fournis)?[ .:]*$|les (?:passages|extraits|sources)\b|"
    r"les documents (?:fourni|cite|indique|ne )|le passage\b|la reponse (?:est|se)\b|reponse\b|sources?\b|"
    r"hello|hi\b|hey|thank|sure|certainly|of course|here (?:is|are)|in summary|"
    r"i |i'm|if you have|feel free|please |let me|"
    r"the (?:passages|excerpts|documents|provided)|answer\b|note\b|question\b)"
)


def cited(sentence: str) -> tuple[str, tuple[int, ...]]:
    """The sentence without its marks, and the passages that the marks name, in order, each once."""
    numbers: list[int] = []
    for mark in sentences.MARK.findall(sentence):
        for part in re.findall(r"(\d+)(?:\s*(?:[-–]|à|to)\s*(\d+))?", mark.split("†")[0]):
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
    entailment: Entailment | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Claim:
    """The claim that ``sentence`` makes, supported only when what it cites says so.

    ``spans`` are then the sentences of the passages on which it rests, and ``reason`` is ``None``. ``passages`` are
    all that the writer was shown: one that it does not cite and that says the claim better speaks against it.
    """
    text, numbers = cited(sentence)
    if _is_talk(text) or addressed_to_machine(text) or _is_fragment(text):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
    if not numbers:
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NO_CITATION)
    by_number = {passage.n: passage for passage in passages}
    if any(number not in by_number for number in numbers):
        return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.UNKNOWN_CITATION)
    chosen = [by_number[number] for number in numbers]
    others = [passage for passage in passages if passage.n not in numbers]
    found: _Found | None = None
    for language in sorted({_language(passage) for passage in chosen}):
        one = _found(text, language, chosen, others, thresholds)
        if one is None:
            return Claim(text, numbers, Verdict.UNSUPPORTED, Reason.NOT_A_CLAIM)
        found = one if found is None else max(found, one, key=lambda two: (two.reason is None, two.score))
    assert found is not None  # some passage is cited
    found = _confirmed(text, found, similarity, entailment, thresholds)
    spans = tuple(dict.fromkeys(Span(unit.passage, unit.start, unit.end) for unit in found.units))
    if found.reason is not None:
        return Claim(text, numbers, Verdict.UNSUPPORTED, found.reason, score=found.score, nearest=spans)
    return Claim(text, numbers, Verdict.SUPPORTED, None, spans, score=found.score)


def support(text: str, passages: Sequence[Passage]) -> float:
    """The share of the words and values of ``text`` that the best sentence of ``passages`` holds, in ``[0, 1]``."""
    best = 0.0
    for passage in passages:
        language = _language(passage)
        said = reading(text, language)
        total = len(said.words) + len(said.quantities)
        for unit in evidence(passage):
            held = sum(any(word.like(other) for other in unit.words) for word in said.words)
            held += sum(any(same_value(value, other) for other in unit.values) for value in said.quantities)
            best = max(best, held / total if total else 0.0)
    return best


@dataclass(frozen=True, slots=True)
class _Found:
    """What the passages of one language say of a claim."""

    reason: Reason | None
    score: float
    units: tuple[Unit, ...]


def _language(passage: Passage) -> str:
    return "en" if passage.chunk.language == "en" else "fr"


def _found(
    text: str, language: str, chosen: Sequence[Passage], others: Sequence[Passage], thresholds: Thresholds
) -> _Found | None:
    """The verdict of the passages of ``language``; ``None`` when the text says nothing that can be compared."""
    said = reading(text, language)
    if not said.words and not said.quantities:
        return None
    units = [unit for passage in chosen if _language(passage) == language for unit in evidence(passage)]
    outcome = weigh(said, language, units, thresholds, PARTS)
    if language != "fr" or not units or detect(text, "fr") != "fr":  # the score was fitted on French sentences
        return _Found(outcome.reason, outcome.share if outcome.reason is None else outcome.share / 2, outcome.units)
    figures, laid = compared(text, units, others, outcome)
    score = scoring.score(figures)
    if outcome.reason is None:
        # What is said word for word stands unless the score says that something is clearly wrong with it.
        if score >= thresholds.doubt:
            return _Found(None, max(score, thresholds.score), outcome.units)
        return _Found(scoring.blame(figures), score, outcome.units)
    if score >= thresholds.score and not _vetoed(outcome.reason, figures, thresholds):
        return _Found(None, score, laid.units)
    distant = figures["cover"] < thresholds.cover
    refused = scoring.blame(figures) if outcome.reason is Reason.LEXICAL and not distant else outcome.reason
    # What a veto refuses lies below the threshold, in the order of its score.
    return _Found(refused, score if score < thresholds.score else score * thresholds.score, laid.units)


def _vetoed(reason: Reason, figures: Mapping[str, float], thresholds: Thresholds) -> bool:
    """Whether a claim that the strict check refuses falls whatever its score.

    A name or a role that the text lacks is never let pass, nor too many words of its own. The nearer a claim is to a
    quotation, the more each difference is meant, so that more of what the strict check says is final.
    """
    if figures["cover"] < thresholds.cover or any(figures[name] for name in _FATAL):
        return True
    if figures["verbatim"] >= thresholds.quotation:
        return True
    if figures["verbatim"] >= thresholds.near and (
        reason is Reason.NAME
        or (reason is Reason.NEGATION and _tells(reason, figures))
        or (reason is Reason.LEXICAL and (figures["added"] or figures["missing"]))
        or any(figures[name] for name in _MEANT)
    ):
        return True
    if reason is Reason.NEGATION and _tells(reason, figures) and figures["exact"] >= thresholds.borrowed:
        return True
    return bool(figures["contrary"] or figures["contrary_denied"]) and figures["exact"] >= thresholds.contrary


def _tells(reason: Reason | None, figures: Mapping[str, float]) -> bool:
    """Whether the strict check's reason for refusing bears on a claim in other words.

    It takes "rien d'autre n'est précisé" for a denial and "sauf mention contraire" for none, and "cinq" for another
    value than "cinq jours": of negations and values the figures know more.
    """
    if reason in {None, Reason.LEXICAL}:
        return False
    known = {Reason.NEGATION: _DENIALS, Reason.NUMBER: _VALUES, Reason.UNIT: _VALUES, Reason.DATE: _VALUES}.get(reason)
    return known is None or any(figures[name] for name in known)


_DENIALS: Final = (
    "denied_only_here",
    "denied_only_there",
    "polarity_here",
    "polarity_there",
    "only_lost",
    "only_added",
)
_VALUES: Final = (
    "value_absent", "value_far", "value_unit", "value_new", "value_beyond", "value_instance", "value_bound",
    "value_relation", "value_loose", "value_elsewhere", "value_column", "value_row", "date_absent", "ordinal_lost",
)  # fmt: skip
_FATAL: Final = ("missing_name", "role_strange", "status_other", "value_relation", "value_column")
"""Differences after which no score counts: a name, who acts or is concerned, before for after, another column."""
_MEANT: Final = ("value_bound", "value_elsewhere")
"""Differences that are meant where much of a sentence is as in the text: another bound, another thing it is said of."""


def compared(
    text: str, units: Sequence[Unit], others: Sequence[Passage], outcome: Outcome
) -> tuple[dict[str, float], alignment.Window]:
    """What agrees and differs between a French claim and the sentences that it cites and those that it does not: the
    figures that :func:`rag.scoring.score` weighs."""
    said = reading(text, "fr")
    laid = alignment.window(said, "fr", units)
    figures = alignment.measure(said, "fr", laid, units)
    rest = [passage.chunk for passage in others if _language(passage) == "fr"]
    best = max((_reach(text, chunk) for chunk in rest), default=0.0)
    figures["rival"] = max(0.0, best - laid.cover)
    figures["margin"] = max(0.0, laid.cover - best) if rest else _ALONE
    figures["strict"] = float(outcome.reason is None)
    figures["refused"] = figures["exact"] ** 2 if _tells(outcome.reason, figures) else 0.0
    return figures, laid


@functools.lru_cache(maxsize=256)
def _reach(text: str, chunk: Chunk) -> float:
    """How much of a claim the best sentences of a chunk hold; kept, since a repair asks for each passage in turn."""
    return alignment.window(reading(text, "fr"), "fr", evidence(Passage(0, chunk, 0.0))).cover


_ALONE: Final = 0.3
"""By how much a passage counts as better than the others where there is no other: the middle of the dev sentences."""


def _confirmed(
    text: str,
    found: _Found,
    similarity: Similarity | None,
    entailment: Entailment | None,
    thresholds: Thresholds,
) -> _Found:
    """``found`` after the models have been asked: they may refuse, and a cross-encoder may lift what is undecided."""
    supporting = " ".join(unit.text for unit in found.units)
    if entailment is not None and found.units:
        sure = float(entailment([(supporting, text)])[0])
        if found.reason is None and sure < thresholds.denied:
            return replace(found, reason=Reason.SEMANTIC, score=min(found.score, sure))
        undecided = found.reason in _UNDECIDED and found.score >= thresholds.doubt
        if undecided and sure >= thresholds.entailed:
            return replace(found, reason=None, score=sure)
    if (
        found.reason is None
        and similarity is not None
        # Sentence by sentence, so that the vectors of a passage are made once and kept (rag.cosines).
        and float(similarity([text], [unit.text for unit in found.units]).max()) < thresholds.similarity
    ):
        return replace(found, reason=Reason.SEMANTIC)
    return found


_UNDECIDED: Final = frozenset({Reason.LEXICAL, Reason.QUALIFIER, Reason.MODALITY, Reason.SEMANTIC})
"""Reasons that a cross-encoder may overrule; never a value, a name or a negation."""


_VERB: Final = re.compile(
    r"\b(?:est|sont|a|ont|peut|peuvent|doit|doivent|faut|va|vont|soit|soient|is|are|was|were|has|have|had|may|must|can|"
    r"shall|will|should|does|do|\w{2,}(?:era|eront|ira|iront|dra|dront|ait|aient|ent))\b"
)
"""A finite verb, by its form; the present of most verbs has none of its own."""
_SHORT: Final = 4
"""Words of any kind up to which what has no such verb may be a fragment."""
_FEW: Final = 3
"""Words and values that say something without a verb that is told by its form: who or what, how, how much."""


def _is_fragment(text: str) -> bool:
    """Whether the words are too few to be a sentence: "19 °C.", "Nouvelles dispositions."."""
    if len(text.split()) > _SHORT or _VERB.search(folded(text)) is not None:
        return False
    said = reading(text, "fr")
    return len(said.words) + len(said.quantities) < _FEW


def _is_talk(text: str) -> bool:
    """Whether the sentence says nothing about the rules: a greeting, a lead-in, a question, a remark on itself."""
    plain = folded(text).lstrip("-*• \t#")
    return not plain or plain.endswith(("?", ":")) or _TALK.match(plain) is not None
