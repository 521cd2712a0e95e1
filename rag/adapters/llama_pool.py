"""Writing with any number of ``llama-server``\\ s of one model, which come and go: one :class:`~rag.seams.Generator`.

Each server has several slots that write at the same time. A prompt goes to the slot that holds its owner's last one,
else to the least loaded server. Before its first words it may be done again by another server; after them a failure
is told. A thread per server asks it how it is; one that fails is left alone by a circuit breaker, and whoever comes
back is examined like a newcomer.

Isolation does not rest on the servers' own choice of slots: each request names its slot, a slot that held another
owner's prompt is first cut back to the system message, and what the server says it reused is checked before a word is
shown. Each server must be this process's own: what another client does to a slot is noticed, and from then on nothing
but the system message is reused there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Generator as Stream
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeVar

from rag.adapters.llama_server import Facts, LlamaServer, ServerFailed
from rag.adapters.llama_slots import Bank, Request, Slot, choose
from rag.circuit import Circuit, CircuitState
from rag.errors import BadRequest, Cancelled, GenerationError, ModelError, SettingsError
from rag.queue import QueueState, Turns, never, nobody
from rag.stops import StopFilter
from rag.types import Message, Reading, Sampling, Told

PERIOD: Final = 2.0
"""Seconds between two looks at a server that serves."""
AWAY: Final = 0.25
"""Seconds between two looks at the circuit of one that does not."""
MISSED: Final = 3
"""Health checks in a row without an answer after which a server counts as hung, and what it writes as lost."""
GRACE: Final = 20.0
"""Seconds that those in line wait for any server to come back: longer than a supervisor needs to start one."""
TRIES: Final = 3
"""How often a prompt is begun, on one server after the other."""
WATCH: Final = 0.1
"""Seconds between two looks at ``cancelled``."""
PATIENCE: Final = 5.0
"""Seconds that :meth:`LlamaPool.close` gives those who are being served."""
TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05

log = logging.getLogger("vauban.llama")

T = TypeVar("T")


class ReplicaState(StrEnum):
    SERVING = "serving"
    AWAY = "away"
    KEPT_OUT = "kept_out"


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One server at one moment; ``reason`` says why it does not serve."""

    url: str
    state: ReplicaState
    slots: int
    busy: int
    reason: str


class LlamaPool:
    """A :class:`~rag.seams.Generator` over the servers of :meth:`open`."""

    def __init__(self, servers: Sequence[LlamaServer], facts: Facts, *, queue: int, per_owner: int | None) -> None:
        self._facts = facts
        self._replicas = [_Replica(server) for server in servers]
        self._turns = Turns(queue, places=0, per_owner=per_owner)
        self._changed = threading.Condition()
        self._lost: float | None = time.monotonic()
        self._closing = threading.Event()
        self._keepers = [
            threading.Thread(target=self._keep, args=(replica,), name="vauban-llama-health", daemon=True)
            for replica in self._replicas
        ]
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
        """Connect to the servers at ``urls``, waiting up to ``patience`` seconds for the first to load its model.

        The others may come later. The fingerprint names their model, template and build.

        Raises:
            SettingsError: a URL is not the address of a server on this machine or an internal network.
            ModelError: no server answers, or lacks what is needed, or they have different models.
        """
        servers = _servers(urls, api_key)
        try:
            found = _first(servers, patience)
            _require_one_model(found)
            facts = next(iter(found.values()))
            context = min(fact.context for fact in found.values())
            pool = cls(servers, Facts(facts.fingerprint, context, facts.slots), queue=queue, per_owner=per_owner)
        except ModelError:
            for server in servers:
                server.close()
            raise
        for replica in pool._replicas:
            if replica.server in found:
                pool._join(replica, found[replica.server])
        for keeper in pool._keepers:
            keeper.start()
        return pool

    @property
    def fingerprint(self) -> str:
        return self._facts.fingerprint

    @property
    def context(self) -> int:
        return self._facts.context

    @property
    def queue(self) -> QueueState:
        return self._turns.state

    def report(self) -> list[ReplicaReport]:
        """How each server stands, in the order of the settings."""
        with self._changed:
            return [replica.report() for replica in self._replicas]

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
        with self._changed:
            theirs = [(one, slot) for one in self._replicas for slot in one.bank.slots if slot.owner == owner]
            idle = [place for place in theirs if not place[1].busy]
            for _, slot in theirs:
                slot.forget = True
            for _, slot in idle:
                slot.busy = True
        for replica, slot in idle:
            self._release(replica, slot)

    def close(self) -> None:
        """Stop what is being written, send the waiting away, let go of the servers."""
        self._closing.set()
        for replica in self._replicas:
            replica.wake.set()
        self._turns.close(patience=PATIENCE)
        for replica in self._replicas:
            replica.server.close()
        for keeper in self._keepers:
            keeper.join(PATIENCE)

    # Writing

    def _write(
        self, request: Request, sampling: Sampling, cancelled: Callable[[], bool], told: Callable[[Told], None]
    ) -> Stream[str, None, None]:
        def check() -> None:
            self._require_open()
            if cancelled():
                raise Cancelled("cancelled while writing", "annulé pendant la rédaction")

        def waiting() -> bool:
            self._require_hope()
            return cancelled()

        options = self._options(request, sampling)
        told = _told_once(told)
        avoid: set[_Replica] = set()
        with self._turns.turn(waiting, told, request.owner):
            for last in (False,) * (TRIES - 1) + (True,):
                begun = False
                with self._place(request, avoid, check) as (replica, bank, slot):
                    try:
                        for piece in self._attempt(replica, bank, slot, request, options, sampling, told, check):
                            begun = True
                            yield piece
                    except _Foreign as error:
                        self._distrust(replica, trimmed=error.trimmed)
                        if last:
                            raise
                    except ServerFailed as error:
                        self._failed(replica, error)
                        if begun or last:
                            raise
                        avoid.add(replica)
                    else:
                        replica.circuit.succeed()
                        return

    def _attempt(
        self,
        replica: _Replica,
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
        with closing(replica.server.write(slot.number, request.tokens, options)) as exchange:
            while True:
                look()
                piece = exchange.piece(WATCH)
                if known is None and piece is not None and piece.cached is not None:
                    known = piece.cached
                    if known > allowed:
                        slot.owner = None
                        raise _Foreign(trimmed=trimmed)
                    told(Reading(len(request.tokens), held if trimmed else known))
                if known is None and (piece is None or piece.text):
                    raise ServerFailed(
                        "llama-server does not say what it reused", "llama-server ne dit pas ce qu’il a réutilisé"
                    )
                if shown := stops.rest() if piece is None else stops.feed(piece.text):
                    yield shown
                if piece is None or stops.stopped:
                    return

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

    @contextmanager
    def _place(
        self, request: Request, avoid: Collection[_Replica], check: Callable[[], None]
    ) -> Iterator[tuple[_Replica, Bank, Slot]]:
        """Hold a slot for the block, of a server that is not to be avoided where there is another."""
        while True:
            check()
            self._require_hope()
            with self._changed:
                if found := self._free(request, avoid):
                    found[2].busy = True
                    break
                self._changed.wait(WATCH)
        try:
            yield found
        finally:
            self._release(found[0], found[2])

    def _release(self, replica: _Replica, slot: Slot) -> None:
        """Give a slot free, after its owner's words were cut off where that was asked."""
        if slot.forget:
            slot.owner, slot.forget = None, False
            end = time.monotonic() + PATIENCE

            def check() -> None:
                self._require_open()
                if time.monotonic() > end:
                    raise ServerFailed("llama-server is too slow", "llama-server est trop lent")

            with suppress(GenerationError, BadRequest):
                replica.server.trim(slot.number, slot.held[: slot.public], check)
        with self._changed:
            slot.busy = False
            slot.used = time.monotonic()
            self._changed.notify_all()

    def _free(self, request: Request, avoid: Collection[_Replica]) -> tuple[_Replica, Bank, Slot] | None:
        serving = {replica.bank: replica for replica in self._replicas if replica.serving}
        wanted = [bank for bank, replica in serving.items() if replica not in avoid] or list(serving)
        found = choose(wanted, request)
        return None if found is None else (serving[found[0]], *found)

    def _require_hope(self) -> None:
        """Those who wait go on doing so while a server may come back soon."""
        lost = self._lost
        if lost is not None and time.monotonic() - lost > GRACE:
            raise GenerationError("no llama-server answers", "aucun llama-server ne répond")

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")

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
        return self._ask(lambda server: server.tokens(text, special=special, first=first))

    def _layout(self, roles: tuple[str, ...]) -> tuple[str | int, ...]:
        return self._ask(lambda server: server.layout(roles))

    def _ask(self, question: Callable[[LlamaServer], T]) -> T:
        """The answer of any server: they have one model."""
        failure: GenerationError | None = None
        for replica in sorted(
            (replica for replica in self._replicas if replica.serving), key=lambda one: one.bank.load
        ):
            try:
                return question(replica.server)
            except ServerFailed as error:
                self._failed(replica, error)
                failure = error
        raise failure or GenerationError("no llama-server answers", "aucun llama-server ne répond")

    # The coming and going of servers

    def _keep(self, replica: _Replica) -> None:
        """The life of one server's thread: look at it from time to time, and at once when a request failed there."""
        while not self._closing.is_set():
            replica.wake.wait(PERIOD if replica.serving else AWAY)
            replica.wake.clear()
            if self._closing.is_set():
                return
            if replica.serving:
                self._check(replica)
            elif replica.circuit.state is not CircuitState.OPEN:
                self._readmit(replica)

    def _check(self, replica: _Replica) -> None:
        try:
            facts = replica.server.facts()
        except (GenerationError, BadRequest, ModelError) as error:
            replica.missed += 1
            gone = isinstance(error, ServerFailed) and error.gone
            if gone or replica.missed >= MISSED:
                replica.circuit.fail(fatal=True)
                self._leave(replica, str(error), hung=True)
            return
        replica.missed = 0
        if facts != replica.facts:  # another process answers there now
            self._leave(replica, "it was started again", hung=False)
            replica.wake.set()

    def _readmit(self, replica: _Replica) -> None:
        """Examine a server that is away, and let it in when it is one of ours."""
        try:
            facts = replica.server.inspect()
            _require_same(self._facts, facts)
        except (GenerationError, BadRequest, ModelError) as error:
            replica.circuit.fail(fatal=True)
            replica.explain(str(error), refused=isinstance(error, ModelError))
            replica.missed += 1
            if replica.missed >= MISSED:
                replica.bank.lost = True  # nothing that was begun there before will come to an end
            return
        replica.circuit.succeed()
        self._join(replica, facts)

    def _join(self, replica: _Replica, facts: Facts) -> None:
        with self._changed:
            replica.join(facts)
            self._settle()
        log.info("llama-server serves", extra={"server": replica.server.url, "slots": facts.slots})

    def _leave(self, replica: _Replica, reason: str, *, hung: bool) -> None:
        """Send it nothing more; when ``hung``, what it is writing is given up too."""
        with self._changed:
            if not replica.serving:
                return
            replica.leave(reason, hung=hung)
            self._settle()
        log.warning("llama-server left out", extra={"server": replica.server.url, "reason": reason})

    def _settle(self) -> None:
        """Tell those who wait how many places there are now."""
        places = sum(len(replica.bank.slots) for replica in self._replicas if replica.serving)
        if places:
            self._lost = None
        elif self._lost is None:
            self._lost = time.monotonic()
        self._turns.resize(places)
        self._changed.notify_all()

    def _failed(self, replica: _Replica, error: ServerFailed) -> None:
        """A request failed there: leave it alone when that is not the first time or the server is gone."""
        replica.circuit.fail(fatal=error.gone)
        if replica.circuit.state is CircuitState.OPEN:
            self._leave(replica, str(error), hung=False)
        replica.wake.set()

    def _distrust(self, replica: _Replica, *, trimmed: bool) -> None:
        """The server reused what nobody may: somebody else uses its slots, or it keeps prompts elsewhere."""
        if trimmed:
            replica.circuit.fail(fatal=True)
            self._leave(replica, "it reused more of a prompt than its slot held", hung=False)
        elif not replica.shared:
            replica.shared = True
            log.warning("llama-server shared with others", extra={"server": replica.server.url})


class _Replica:
    """One server and what is known of it; changed under the pool's lock."""

    def __init__(self, server: LlamaServer) -> None:
        self.server = server
        self.circuit = Circuit()
        self.bank = Bank()
        self.facts: Facts | None = None
        self.serving = False
        self.shared = False
        self.missed = 0
        self.wake = threading.Event()
        self._reason = "it has not answered yet"
        self._refused = False

    def join(self, facts: Facts) -> None:
        self.facts = facts
        self.bank = Bank([Slot(number) for number in range(facts.slots)])
        self.missed = 0
        self.serving = True
        self._reason, self._refused = "", False

    def leave(self, reason: str, *, hung: bool) -> None:
        self.serving = False
        self.bank.lost = hung
        self._reason = reason

    def explain(self, reason: str, *, refused: bool) -> None:
        """Why it is not let in; said in the log once per reason."""
        if refused and reason != self._reason:
            log.warning("llama-server kept out", extra={"server": self.server.url, "reason": reason})
        self._reason, self._refused = reason, refused

    def report(self) -> ReplicaReport:
        state = ReplicaState.KEPT_OUT if self._refused else ReplicaState.AWAY
        return ReplicaReport(
            url=self.server.url,
            state=ReplicaState.SERVING if self.serving else state,
            slots=len(self.bank.slots) if self.serving else 0,
            busy=sum(slot.busy for slot in self.bank.slots),
            reason=self._reason,
        )


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


def _servers(urls: Sequence[str], api_key: str) -> list[LlamaServer]:
    servers: list[LlamaServer] = []
    try:
        servers.extend(LlamaServer(url, api_key=api_key) for url in urls)
        if len({server.url for server in servers}) < len(servers):
            raise SettingsError("`llama_url` names a server twice", "« llama_url » nomme deux fois un serveur")
    except SettingsError:
        for server in servers:
            server.close()
        raise
    return servers


def _first(servers: Sequence[LlamaServer], patience: float) -> dict[LlamaServer, Facts]:
    """The servers that can be used now, in their order; waits until there is one.

    Raises:
        ModelError: there is none.
    """

    def inspect(server: LlamaServer) -> Facts | ModelError | GenerationError | BadRequest:
        try:
            return server.inspect()
        except (ModelError, GenerationError, BadRequest) as error:
            return error

    end = time.monotonic() + patience
    with ThreadPoolExecutor(len(servers)) as executor:
        while True:
            said = dict(zip(servers, executor.map(inspect, servers), strict=True))
            if found := {server: facts for server, facts in said.items() if isinstance(facts, Facts)}:
                return found
            hopeless = all(isinstance(error, ModelError) for error in said.values())
            if hopeless or time.monotonic() >= end:
                break
            time.sleep(min(0.5, max(0.0, end - time.monotonic())))
    failures = {server.url: error for server, error in said.items() if not isinstance(error, Facts)}
    raise ModelError(
        "no usable llama-server: " + "; ".join(f"{url}: {error.en}" for url, error in failures.items()),
        "aucun llama-server utilisable : " + " ; ".join(f"{url} : {error.fr}" for url, error in failures.items()),
    )


def _require_one_model(found: Mapping[LlamaServer, Facts]) -> None:
    """Refuse servers that would give different answers to one question.

    Raises:
        ModelError: they have different models.
    """
    names = {server.url: facts.fingerprint for server, facts in found.items()}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{url} {name}" for url, name in names.items())
        raise ModelError(
            f"the llama-servers do not have the same model, template and build: {listed}",
            f"les llama-server n’ont pas les mêmes modèle, gabarit et version : {listed}",
        )


def _require_same(ours: Facts, facts: Facts) -> None:
    """Refuse a newcomer of another model, or one on which a prompt that was fitted would not fit.

    Raises:
        ModelError: it is.
    """
    if facts.fingerprint != ours.fingerprint:
        raise ModelError(
            f"it has the model {facts.fingerprint} and the others {ours.fingerprint}",
            f"son modèle est {facts.fingerprint}, celui des autres {ours.fingerprint}",
        )
    if facts.context < ours.context:
        raise ModelError(
            f"its context is {facts.context} tokens and the others' {ours.context}",
            f"son contexte est de {facts.context} unités, celui des autres de {ours.context}",
        )
