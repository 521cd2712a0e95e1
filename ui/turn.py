"""One question of the conversation and what has come of it so far; pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from rag import schemas


class Phase(StrEnum):
    """Where a turn stands; the last three are final."""

    SEARCHING = "searching"
    DRAFTING = "drafting"
    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in {Phase.DONE, Phase.STOPPED, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer in the making.

    ``passages`` are those on screen; ``whole`` is what stands behind the finished answer; ``documents`` describes
    the documents of the passages, by corpus and id, as far as it is known; ``thumb`` is the opinion that was
    recorded, ``fault`` why one was not.
    """

    number: int
    question: str
    phase: Phase = Phase.SEARCHING
    position: int = 0
    seconds: float | None = None
    text: str = ""
    answer: str = ""
    understood: str = ""
    as_of: dt.date | None = None
    passages: tuple[schemas.Passage, ...] | None = None
    claims: tuple[schemas.Claim, ...] = ()
    whole: schemas.Vauban | None = None
    documents: Mapping[tuple[str, str], schemas.Document] = field(default_factory=dict)
    error: str = ""
    thumb: str = ""
    fault: str = ""

    def heard(self, chunk: schemas.Chunk) -> Turn:
        """The turn after one event of the stream."""
        turn = replace(self, answer=chunk.id)
        said = "".join(choice.delta.content or "" for choice in chunk.choices)
        if said:
            turn = replace(turn, text=turn.text + said, phase=Phase.WRITING)
        match chunk.vauban:
            case schemas.Vauban() as whole:
                return replace(
                    turn,
                    phase=Phase.DONE,
                    whole=whole,
                    passages=tuple(whole.passages),
                    claims=tuple(whole.claims),
                    understood=whole.question,
                    as_of=whole.as_of,
                )
            case schemas.VaubanDelta() as part:
                return turn._knowing(part)
        return turn

    def _knowing(self, part: schemas.VaubanDelta) -> Turn:
        if part.passages is not None:
            passages = tuple(part.passages)
            return replace(
                self, phase=Phase.DRAFTING, passages=passages, understood=part.question or "", as_of=part.as_of
            )
        if part.waiting == 0:
            return replace(self, phase=Phase.DRAFTING)
        if part.waiting is not None:
            return replace(self, phase=Phase.WAITING, position=part.waiting, seconds=part.waiting_seconds)
        if part.claims is not None:
            return replace(self, claims=tuple(part.claims))
        return self

    def stopped(self) -> Turn:
        return replace(self, phase=Phase.STOPPED)

    def failed(self, error: str) -> Turn:
        return replace(self, phase=Phase.FAILED, error=error)

    def document(self, passage: schemas.Passage) -> schemas.Document | None:
        return self.documents.get((passage.corpus, passage.document))

    @property
    def cited(self) -> frozenset[int]:
        """The passages that a shown and supported sentence cites."""
        return frozenset(n for claim in self.claims if shown(claim) for n in claim.passages)


def shown(claim: schemas.Claim) -> bool:
    """Whether a claim stands in the text and is supported."""
    return claim.start is not None and claim.verdict == "supported"
