"""The text of an answer as it grows, and how extracts, contradictions and refusals are told in it.

Every quotation stands under the name of its text, its rank and its dates, the higher norm first. What is quoted is made
inert (:mod:`rag.instructions`): no mark or link in it can be taken for one of ours.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rag import conflicts, instructions, replies, versions
from rag.types import (
    Citation,
    Claim,
    Conflict,
    NormRank,
    Passage,
    PlacedClaim,
    Sentence,
    Span,
    Status,
    Verdict,
)

_RANKS: Final = {
    NormRank.CODE: {"fr": "code", "en": "code"},
    NormRank.DECREE: {"fr": "décret", "en": "decree"},
    NormRank.ORDER: {"fr": "arrêté ou décision", "en": "order or decision"},
    NormRank.CIRCULAR: {"fr": "circulaire", "en": "circular"},
    NormRank.INTERNAL_NOTE: {"fr": "note interne", "en": "internal note"},
}
_SOURCES: Final = {"fr": "Textes cités :", "en": "Texts cited:"}


@dataclass(slots=True)
class Text:
    """The answer's text as it grows, with the places of claims and citations in it."""

    pieces: list[str] = field(default_factory=list)
    length: int = 0
    claims: list[PlacedClaim] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    def say(self, text: str, claim: Claim | None = None) -> Sentence:
        """Append ``text``; a claim is placed at it, and cites from it, without the blanks around."""
        if claim is not None:
            start = self.length + len(text) - len(text.lstrip())
            end = self.length + len(text.rstrip())
            self.claims.append(PlacedClaim(claim, start, end))
            if claim.supported:
                self.citations += [Citation(start, end, n) for n in claim.cited]
        self.pieces.append(text)
        self.length += len(text)
        return Sentence(text, claim)

    def place(self, text: str, claims: Sequence[tuple[Claim, int, int]]) -> Sentence:
        """Append ``text`` with several claims in it, each at the characters ``[start, end)`` of ``text``."""
        for claim, start, end in claims:
            self.claims.append(PlacedClaim(claim, self.length + start, self.length + end))
            self.citations += [Citation(self.length + start, self.length + end, n) for n in claim.cited]
        return self.say(text)

    def drop(self, claim: Claim) -> None:
        """Keep the verdict of a claim that is not shown, and not its words."""
        self.claims.append(PlacedClaim(replace(claim, text=""), None, None))

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def supported(self) -> bool:
        """Whether a sentence that is shown is supported."""
        return any(placed.claim.supported and placed.start is not None for placed in self.claims)

    @property
    def cited(self) -> frozenset[int]:
        """The passages that supported sentences cite."""
        return frozenset(citation.passage for citation in self.citations)

    @property
    def gap(self) -> str:
        """What parts a new paragraph from what is written."""
        return "\n\n" if self.pieces else ""


def named(passage: Passage, today: dt.date, language: str) -> str:
    """The text that a passage is of, on one line: title, article, rank, and when it is in force."""
    chunk = passage.chunk
    name = instructions.without(", ".join(part for part in (chunk.title, chunk.reference) if part))
    told = [_RANKS[chunk.norm_rank][language]] if chunk.norm_rank else []
    when = versions.statement(chunk, today, language)
    told.append(when[:1].lower() + when[1:])
    return instructions.inert(f"{name} ({', '.join(told)})")


def quotations(
    text: Text, spans: Sequence[tuple[int, int, int]], passages: Sequence[Passage], today: dt.date, language: str
) -> Iterator[Sentence]:
    """Say the ``(passage n, start, end)`` word for word, by text, the higher norm first, each in its order."""
    by_number = {passage.n: passage for passage in passages}
    order = {n: place for place, n in enumerate(dict.fromkeys(n for n, _, _ in spans))}
    ranked = sorted(order, key=lambda n: (conflicts.precedence(by_number[n])[0], order[n]))
    for n in ranked:
        yield text.say(f"{text.gap}{_headed(by_number[n], today, language)}")
        for _, start, end in (span for span in spans if span[0] == n):
            yield _quote(text, by_number[n], start, end, language)


def contradictions(
    text: Text, found: Sequence[Conflict], passages: Sequence[Passage], today: dt.date, language: str
) -> Iterator[Sentence]:
    """Say that texts contradict each other, and both sides of each contradiction, the higher norm first."""
    by_number = {passage.n: passage for passage in passages}
    yield text.say(text.gap + replies.lead(Status.CONFLICTING_SOURCES, language))
    sides = dict.fromkeys(side for conflict in found for side in (conflict.first, conflict.second))
    # A low norm that contradicts two higher ones stands below both.
    told: set[int] = set()
    for side in sorted(sides, key=lambda side: conflicts.precedence(by_number[side.passage])):
        passage = by_number[side.passage]
        if passage.n not in told:
            yield text.say(f"\n\n{_headed(passage, today, language)}")
        told.add(passage.n)
        # A row is read with the head of its table, an item with what leads it in.
        for span in conflicts.whole(side, passage):
            yield _quote(text, passage, span.start, span.end, language)


def sources(text: Text, passages: Sequence[Passage], today: dt.date, language: str) -> Sentence:
    """Say which texts the sentences cite, and their versions."""
    lines = [f"[{passage.n}] {named(passage, today, language)}" for passage in passages if passage.n in text.cited]
    return text.say("\n\n" + "\n".join([_SOURCES[language], *lines]))


def _headed(passage: Passage, today: dt.date, language: str) -> str:
    return f"{named(passage, today, language)}{' :' if language == 'fr' else ':'}"


def _quote(text: Text, passage: Passage, start: int, end: int, language: str) -> Sentence:
    quote = instructions.inert(passage.chunk.text[start:end])
    claim = Claim(quote, (passage.n,), Verdict.SUPPORTED, spans=(Span(passage.n, start, end),))
    return text.say(f"\n\n{replies.quoted(quote, language)} [{passage.n}]", claim)
