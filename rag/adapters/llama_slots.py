"""What the slots of the servers hold, whose it is, and which one a prompt should go to; pure, no server is asked.

A slot keeps the prompt that it read last, and a prompt that begins alike is read from where they part. What one
person's prompt left is never to be reused for another's, beyond the system message: :meth:`Slot.allows` says how much
may be.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

WORTH: Final = 64
"""Tokens held of the owner's own for which a prompt goes to a busier server: as much as a short passage."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as ``tokens``, of which the first ``public`` end with the system message, and whose it is."""

    tokens: tuple[int, ...]
    public: int
    owner: str

    @property
    def shared(self) -> tuple[int, ...]:
        """What may be held for anybody: the system message, or the template's first word where there is none."""
        return self.tokens[: max(self.public, 1)]


@dataclass(slots=True, eq=False)
class Slot:
    """One slot of a server. ``owner`` is whose prompt it holds, ``None`` when unknown; ``held`` the tokens of it.

    ``held`` is what was sent: the slot may hold less, and holds what was written after it too. Its first ``public``
    tokens may be kept for anybody; with ``forget`` the others are to go as soon as the slot is free. ``reader`` is
    whose turn it is or was last.
    """

    number: int
    owner: str | None = None
    held: tuple[int, ...] = ()
    public: int = 0
    forget: bool = False
    busy: bool = False
    reader: str = ""
    used: float = 0.0

    def allows(self, request: Request) -> int:
        """The most tokens of ``request`` that may be there already, given that nobody else uses this slot."""
        if self.owner != request.owner:
            return len(request.shared)
        common = common_length(self.held, request.tokens)
        return len(request.tokens) if common == len(self.held) else max(common, len(request.shared))

    def saves(self, request: Request) -> int:
        """How many tokens of the owner's own, beyond the system message, need not be read again here."""
        if self.owner != request.owner:
            return 0
        return max(0, common_length(self.held, request.tokens) - request.public)


@dataclass(slots=True, eq=False)
class Bank:
    """The slots of one server as it runs now; ``lost`` once it has stopped answering.

    ``reading`` are those whose prompts are to be read, in the order in which they came; the first one's is.
    """

    slots: list[Slot] = field(default_factory=list)
    lost: bool = False
    reading: list[Slot] = field(default_factory=list)

    @property
    def load(self) -> float:
        """The share of its slots that are busy."""
        return sum(slot.busy for slot in self.slots) / len(self.slots) if self.slots else 1.0


def choose(banks: Collection[Bank], request: Request) -> tuple[Bank, Slot] | None:
    """A free slot for ``request``, ``None`` when all are busy.

    First where the owner's own prompt saves much; else on the least loaded server, and there where it saves anything,
    then the slot that was left alone the longest.
    """
    free = [(bank, slot) for bank in banks for slot in bank.slots if not slot.busy]
    if not free:
        return None

    def rank(place: tuple[Bank, Slot]) -> tuple[int, float, int, float]:
        bank, slot = place
        saved = slot.saves(request)
        return (-saved if saved >= WORTH else 0, bank.load, -saved, slot.used)

    return min(free, key=rank)


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (place for place, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
        min(len(left), len(right)),
    )
