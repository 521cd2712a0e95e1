r"""The ``llama-server``\ s of one model: which of them serve, and whose turn each of their slots has.

A thread per server asks it how it is. One that fails is left alone by a circuit breaker; whoever comes back is examined
like a newcomer, and kept out with its reason in the log when it has another model or is not safe.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from rag.adapters.llama_server import Facts, LlamaServer, ServerFailed
from rag.adapters.llama_slots import Bank, Request, Slot, choose
from rag.circuit import Circuit, CircuitState
from rag.errors import BadRequest, GenerationError, ModelError, SettingsError

PERIOD: Final = 2.0
"""Seconds between two looks at a server that serves."""
AWAY: Final = 0.25
"""Seconds between two looks at the circuit of one that does not."""
MISSED: Final = 3
"""Health checks in a row without an answer after which a server counts as hung, and what it writes as lost."""
GRACE: Final = 20.0
"""Seconds that those in line wait for any server to come back: longer than a supervisor needs to start one."""
WATCH: Final = 0.1
"""Seconds between two looks at whether a caller who waits for a slot is still there."""
SOON: Final = 0.5
"""Seconds that a question to a server which is under way may still take when all are let go of."""
PATIENCE: Final = 5.0
"""Seconds for cutting a slot back, and for a thread to end."""

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


class Replica:
    """One server and what is known of it; changed under the fleet's lock."""

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
        self.shared = False
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


class Fleet:
    """The servers of :meth:`open`; safe from many threads. ``facts`` hold for each that serves."""

    def __init__(self, servers: Sequence[LlamaServer], facts: Facts, resized: Callable[[int], None]) -> None:
        self.facts = facts
        self._replicas = [Replica(server) for server in servers]
        self._resized = resized
        self._changed = threading.Condition()
        self._lost: float | None = time.monotonic()
        self._closing = threading.Event()
        self._keepers = [
            threading.Thread(target=self._keep, args=(replica,), name="vauban-llama-health", daemon=True)
            for replica in self._replicas
        ]

    @classmethod
    def open(cls, urls: Sequence[str], *, api_key: str, patience: float, resized: Callable[[int], None]) -> Fleet:
        """Connect to the servers at ``urls``, waiting up to ``patience`` seconds for the first to load its model.

        The others may come later. ``resized`` hears how many slots there are, now and whenever that changes.

        Raises:
            SettingsError: a URL is not the address of a server on this machine or an internal network.
            ModelError: no server answers, or lacks what is needed, or they have different models.
        """
        servers = _servers(urls, api_key)
        try:
            found = _first(servers, patience)
            _require_one_model(found)
        except ModelError:
            for server in servers:
                server.close()
            raise
        first, context = next(iter(found.values())), min(facts.context for facts in found.values())
        fleet = cls(servers, Facts(first.fingerprint, context, first.slots), resized)
        for replica in fleet._replicas:
            if replica.server in found:
                fleet._join(replica, found[replica.server])
        for keeper in fleet._keepers:
            keeper.start()
        return fleet

    def report(self) -> list[ReplicaReport]:
        """How each server stands, in the order of the settings."""
        with self._changed:
            return [replica.report() for replica in self._replicas]

    def ask(self, question: Callable[[LlamaServer], T]) -> T:
        """The answer of any server: they have one model."""
        failure: GenerationError | None = None
        for replica in sorted(
            (replica for replica in self._replicas if replica.serving), key=lambda one: one.bank.load
        ):
            try:
                return question(replica.server)
            except ServerFailed as error:
                self.failed(replica, error)
                failure = error
        raise failure or GenerationError("no llama-server answers", "aucun llama-server ne répond")

    @contextmanager
    def place(
        self, request: Request, avoid: Collection[Replica], check: Callable[[], None]
    ) -> Iterator[tuple[Replica, Bank, Slot]]:
        """Hold a slot for the block, of a server that is not to be avoided where there is another."""
        while True:
            check()
            self.require_hope()
            with self._changed:
                if found := self._free(request, avoid):
                    found[2].busy, found[2].reader = True, request.owner
                    break
                self._changed.wait(WATCH)
        try:
            yield found
        finally:
            self._release(found[0], found[2])

    @contextmanager
    def reading(self, bank: Bank, slot: Slot, check: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Wait until the prompts that came to this server before are read; what is given says that this one is, too.

        A server fills each batch with prompts in the order of its slots: whoever has the last slot would wait for as
        long as new prompts come to the others. Reading one after the other takes no longer in all.
        """

        def done() -> None:
            with self._changed:
                if slot in bank.reading:
                    bank.reading.remove(slot)
                    self._changed.notify_all()

        with self._changed:
            bank.reading.append(slot)
        try:
            while True:
                check()
                with self._changed:
                    if bank.reading[0] is slot:
                        break
                    self._changed.wait(WATCH)
            yield done
        finally:
            done()

    def forget(self, owner: str) -> None:
        """Cut the slots that hold prompts of ``owner`` back to the system message, busy ones when their turn ends.

        A server that cannot be asked keeps them until it is asked again: a slot whose owner is not known is cut first.
        """
        with self._changed:
            slots = [(replica, slot) for replica in self._replicas for slot in replica.bank.slots]
            idle = [(replica, slot) for replica, slot in slots if not slot.busy and slot.owner == owner]
            for _, slot in slots:
                slot.forget = slot.forget or owner == (slot.reader if slot.busy else slot.owner)
            for _, slot in idle:
                slot.busy, slot.reader = True, owner
        for replica, slot in idle:
            self._release(replica, slot)

    def failed(self, replica: Replica, error: ServerFailed) -> None:
        """A request failed there: leave it alone when that is not the first time or the server is gone."""
        replica.circuit.fail(fatal=error.gone)
        if replica.circuit.state is CircuitState.OPEN:
            self._leave(replica, str(error), hung=False)
        replica.wake.set()

    def distrust(self, replica: Replica, *, trimmed: bool) -> None:
        """The server reused what nobody may: somebody else uses its slots, or it keeps prompts elsewhere."""
        if trimmed:
            replica.circuit.fail(fatal=True)
            self._leave(replica, "it reused more of a prompt than its slot held", hung=False)
        elif not replica.shared:
            replica.shared = True
            log.warning("llama-server shared with others", extra={"server": replica.server.url})

    def require_hope(self) -> None:
        """Those who wait go on doing so while a server may come back soon."""
        lost = self._lost
        if lost is not None and time.monotonic() - lost > GRACE:
            raise GenerationError("no llama-server answers", "aucun llama-server ne répond")

    def require_open(self) -> None:
        if self._closing.is_set():
            raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")

    def stop(self) -> None:
        """Let everyone who waits or writes know that it is over."""
        self._closing.set()
        for replica in self._replicas:
            replica.wake.set()

    def close(self) -> None:
        """Let go of the servers; after :meth:`stop`."""
        # A connection that is closed while it is made stays open: whoever is asking is let finish, if that is soon.
        for keeper in self._keepers:
            keeper.join(SOON)
        for replica in self._replicas:
            replica.server.close()
        for keeper in self._keepers:
            keeper.join(PATIENCE)

    def _free(self, request: Request, avoid: Collection[Replica]) -> tuple[Replica, Bank, Slot] | None:
        serving = {replica.bank: replica for replica in self._replicas if replica.serving}
        wanted = [bank for bank, replica in serving.items() if replica not in avoid] or list(serving)
        found = choose(wanted, request)
        return None if found is None else (serving[found[0]], *found)

    def _release(self, replica: Replica, slot: Slot) -> None:
        """Give a slot free, after its owner's words were cut off where that was asked."""
        while True:
            if slot.forget:
                slot.forget = False
                self._cut(replica, slot)
            with self._changed:
                if not slot.forget:
                    slot.busy = False
                    slot.used = time.monotonic()
                    self._changed.notify_all()
                    return

    def _cut(self, replica: Replica, slot: Slot) -> None:
        """Leave nothing but the system message in a slot, where the server can be asked."""
        slot.owner = None
        end = time.monotonic() + PATIENCE

        def check() -> None:
            self.require_open()
            if time.monotonic() > end:
                raise ServerFailed("llama-server is too slow", "llama-server est trop lent")

        with suppress(GenerationError, BadRequest):
            replica.server.trim(slot.number, slot.held[: slot.public], check)

    def _keep(self, replica: Replica) -> None:
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

    def _check(self, replica: Replica) -> None:
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

    def _readmit(self, replica: Replica) -> None:
        """Examine a server that is away, and let it in when it is one of ours."""
        try:
            facts = replica.server.inspect()
            _require_same(self.facts, facts)
        except (GenerationError, BadRequest, ModelError) as error:
            replica.circuit.fail(fatal=True)
            replica.explain(str(error), refused=isinstance(error, ModelError))
            replica.missed += 1
            if replica.missed >= MISSED:
                replica.bank.lost = True  # nothing that was begun there before will come to an end
            return
        replica.circuit.succeed()
        self._join(replica, facts)

    def _join(self, replica: Replica, facts: Facts) -> None:
        with self._changed:
            replica.join(facts)
            self._settle()
        log.info("llama-server serves", extra={"server": replica.server.url, "slots": facts.slots})

    def _leave(self, replica: Replica, reason: str, *, hung: bool) -> None:
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
        self._resized(places)
        self._changed.notify_all()


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
