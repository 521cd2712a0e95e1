"""Writing with any number of ``llama-server``\\ s of one model, which come and go: one :class:`~rag.seams.Generator`.

Each server has several slots that write at the same time. A prompt goes to the slot that holds its owner's last one,
else to the least loaded server. Before its first words it may be done again by another server; after them a failure
is told. ``rag.adapters.llama_fleet`` knows which servers serve.

Isolation does not rest on the servers' own choice of slots: each request names its slot, a slot that held another
owner's prompt is first cut back to the system message, and what the server says it reused is checked before a word is
shown. Each server must be this process's own: what another client does to a slot is noticed, and from then on nothing
but the system message is reused there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Stream
from contextlib import closing
from functools import lru_cache
from typing import Final

from rag.adapters.llama_fleet import Fleet, Replica, ReplicaReport
from rag.adapters.llama_server import ServerFailed
from rag.adapters.llama_slots import Bank, Request, Slot
from rag.errors import BadRequest, Cancelled, GenerationError
from rag.queue import QueueState, Turns, never, nobody
from rag.stops import StopFilter
from rag.types import Message, Reading, Sampling, Told

TRIES: Final = 3
"""How often a prompt is begun, on one server after the other."""
WATCH: Final = 0.1
"""Seconds between two looks at ``cancelled``."""
PATIENCE: Final = 5.0
"""Seconds that :meth:`LlamaPool.close` gives those who are being served."""
TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05


class LlamaPool:
    """A :class:`~rag.seams.Generator` over the servers of :meth:`open`."""

    def __init__(self, fleet: Fleet, turns: Turns) -> None:
        self._fleet = fleet
        self._turns = turns
        # Fitting a prompt counts the same texts again and again; templates and their words are few.
        self._words = lru_cache(maxsize=64)(self._tokenize)
        self._pieces = lru_cache(maxsize=64)(self._layout)

    @classmethod
    def open(
        cls,
        urls: Sequence[str],
        *,
        queue: int = 16,
        per_owner: int | None = None,
        api_key: str = "",
        patience: float = 30.0,
    ) -> LlamaPool:
        """Write with the servers at ``urls``; see :meth:`rag.adapters.llama_fleet.Fleet.open`.

        ``queue`` callers may wait, of whom ``per_owner`` of one person.

        Raises:
            SettingsError, ModelError: no server can be used, or they have different models.
        """
        turns = Turns(queue, places=0, per_owner=per_owner)
        return cls(Fleet.open(urls, api_key=api_key, patience=patience, resized=turns.resize), turns)

    @property
    def fingerprint(self) -> str:
        return self._fleet.facts.fingerprint

    @property
    def context(self) -> int:
        return self._fleet.facts.context

    @property
    def queue(self) -> QueueState:
        return self._turns.state

    def report(self) -> list[ReplicaReport]:
        """How each server stands, in the order of the settings."""
        return self._fleet.report()

    def count_tokens(self, text: str) -> int:
        return len(self._words(text, special=False, first=False)) if text else 0

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        return len(self._tokens(prompt)[0])

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = never,
        told: Callable[[Told], None] = nobody,
        owner: str = "",
    ) -> Stream[str, None, None]:
        """See :meth:`rag.seams.Generator.stream`; a prompt that does not fit is refused before anything is yielded."""
        tokens, public = self._tokens(prompt)
        if len(tokens) >= self.context:
            raise BadRequest(
                f"the prompt has {len(tokens)} tokens and the model's context is {self.context}",
                f"l’invite compte {len(tokens)} unités pour un contexte de {self.context}",
                code="prompt_too_long",
            )
        return self._write(Request(tokens, public, owner), sampling, cancelled, told)

    def forget(self, owner: str) -> None:
        """Cut the slots that hold prompts of ``owner`` back to the system message, busy ones when their turn ends.

        A server that cannot be asked keeps them until it is asked again: a slot whose owner is not known is cut first.
        """
        self._fleet.forget(owner)

    def close(self) -> None:
        """Stop what is being written, send the waiting away, let go of the servers."""
        self._fleet.stop()
        self._turns.close(patience=PATIENCE)
        self._fleet.close()

    # Writing

    def _write(
        self, request: Request, sampling: Sampling, cancelled: Callable[[], bool], told: Callable[[Told], None]
    ) -> Stream[str, None, None]:
        def check() -> None:
            self._fleet.require_open()
            if cancelled():
                raise Cancelled("cancelled while writing", "annulé pendant la rédaction")

        def waiting() -> bool:
            self._fleet.require_hope()
            return cancelled()

        options = self._options(request, sampling)
        told = _told_once(told)
        avoid: set[Replica] = set()
        with self._turns.turn(waiting, told, request.owner):
            for last in (False,) * (TRIES - 1) + (True,):
                begun = False
                with self._fleet.place(request, avoid, check) as (replica, bank, slot):
                    try:
                        for piece in self._attempt(replica, bank, slot, request, options, sampling, told, check):
                            begun = True
                            yield piece
                    except _Foreign as error:
                        self._fleet.distrust(replica, trimmed=error.trimmed)
                        if last:
                            raise
                    except ServerFailed as error:
                        self._fleet.failed(replica, error)
                        if begun or last:
                            raise
                        avoid.add(replica)
                    else:
                        replica.circuit.succeed()
                        return

    def _attempt(
        self,
        replica: Replica,
        bank: Bank,
        slot: Slot,
        request: Request,
        options: Mapping[str, object],
        sampling: Sampling,
        told: Callable[[Told], None],
        check: Callable[[], None],
    ) -> Stream[str, None, None]:
        """One server's try."""

        def look() -> None:
            check()
            if bank.lost:
                raise ServerFailed("llama-server stopped answering", "llama-server ne répond plus", gone=True)

        with self._fleet.reading(bank, slot, look) as read:
            # 1. A slot that may hold somebody else's words keeps nothing but the system message.
            held = 0
            trimmed = replica.shared or slot.owner != request.owner
            if trimmed:
                slot.owner = None
                held = replica.server.trim(slot.number, request.shared, look) or 0
            allowed = slot.allows(request)
            slot.owner, slot.held, slot.public = request.owner, request.tokens, len(request.shared)
            # 2. What the server says it reused must be no more than that; only then a word is shown.
            stops = StopFilter(sampling.stop)  # the server stops too, but may have sent the first half of a stop string
            known: int | None = None
            try:
                with closing(replica.server.write(slot.number, request.tokens, options)) as exchange:
                    while True:
                        look()
                        piece = exchange.piece(WATCH)
                        if known is None and piece is not None and piece.cached is not None:
                            if piece.cached > allowed:
                                raise _Foreign(trimmed=trimmed)
                            known = piece.cached
                            told(Reading(len(request.tokens), held if trimmed else known))
                        if known is None and (piece is None or piece.text):
                            raise ServerFailed(
                                "llama-server does not say what it reused",
                                "llama-server ne dit pas ce qu’il a réutilisé",
                            )
                        if piece is None or piece.text:
                            read()
                        if shown := stops.rest() if piece is None else stops.feed(piece.text):
                            yield shown
                        if piece is None or stops.stopped:
                            return
            finally:
                if known is None:  # it may not even have begun, and holds what it held before
                    slot.owner = None

    def _options(self, request: Request, sampling: Sampling) -> dict[str, object]:
        options: dict[str, object] = {
            "max_tokens": min(sampling.max_tokens, self.context - len(request.tokens)),
            "temperature": sampling.temperature,
            "seed": sampling.seed & 0xFFFFFFFF,
            "stop": [stop for stop in sampling.stop if stop],
            "top_k": TOP_K,
            "top_p": TOP_P,
            "min_p": MIN_P,
        }
        if sampling.grammar is not None:
            options["grammar"] = sampling.grammar
        return options

    # Counting

    def _tokens(self, prompt: Sequence[Message]) -> tuple[tuple[int, ...], int]:
        """The prompt as tokens, and how many of them, from the first, end with the system message."""
        tokens: list[int] = []
        public = 0
        for place, piece in enumerate(self._pieces(tuple(message.role for message in prompt))):
            if isinstance(piece, str):
                tokens += self._words(piece, special=True, first=place == 0)
                continue
            if prompt[piece].content:
                tokens += self._words(prompt[piece].content, special=False, first=place == 0)
            if piece == 0 and prompt[0].role == "system":
                public = len(tokens)
        return tuple(tokens), public

    def _tokenize(self, text: str, *, special: bool, first: bool) -> tuple[int, ...]:
        return self._fleet.ask(lambda server: server.tokens(text, special=special, first=first))

    def _layout(self, roles: tuple[str, ...]) -> tuple[str | int, ...]:
        return self._fleet.ask(lambda server: server.layout(roles))


class _Foreign(GenerationError):
    """A server reused more than the slot may have held for this owner; ``trimmed`` when it was cut back just before."""

    def __init__(self, *, trimmed: bool) -> None:
        super().__init__(
            "llama-server mixed up its slots; nothing of it was shown",
            "llama-server a mêlé ses emplacements ; rien n’en a été montré",
        )
        self.trimmed = trimmed


def _told_once(told: Callable[[Told], None]) -> Callable[[Told], None]:
    """``told``, which hears only the first :class:`Reading`: another try is no news."""
    read = False

    def tell(heard: Told) -> None:
        nonlocal read
        if not isinstance(heard, Reading):
            told(heard)
        elif not read:
            read = True
            told(heard)

    return tell
