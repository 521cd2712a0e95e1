"""Whether questions can be answered, and how well: each part is tried, and nothing is said of what was not.

What nothing can be searched without decides over ready or not; everything else only makes the service degraded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from rag import gauges, scope
from rag.api_service import Service
from rag.canary import CanaryState
from rag.errors import OperatorError
from rag.gauges import Kept
from rag.types import Query, Scope
from rag.warmth import Step

log = logging.getLogger("vauban.ready")

TRIED: Final = 2.0
"""Seconds that a trial of catalog, store and records stands: balancers ask often, and all at once."""
ROOM: Final = 256 * 2**20
"""Bytes of disk below which the next ingestion, or a busy day of records, may fail."""


class PartState(StrEnum):
    """How a part stands; a closed list."""

    OK = "ok"
    WARMING = "warming"
    """It is being loaded."""
    ABSENT = "absent"
    """It is not configured, and nothing is missing."""
    DEGRADED = "degraded"
    """It works in part: some model servers are away, the disk is nearly full, a canary question failed."""
    FAILED = "failed"


class State(StrEnum):
    """How the service stands; a closed list."""

    READY = "ready"
    DEGRADED = "degraded"
    """Questions are answered, and something is wrong."""
    WARMING = "warming"
    """Not yet ready, and nothing is wrong."""
    FAILED = "failed"


NEEDED: Final = frozenset({"catalog", "store", "embedder"})
"""Without these nothing can be searched."""


@dataclass(frozen=True, slots=True)
class Ready:
    """``parts`` by name, in a fixed order."""

    state: State
    parts: Mapping[str, PartState]

    @property
    def ready(self) -> bool:
        return self.state in {State.READY, State.DEGRADED}


def judged(parts: Mapping[str, PartState]) -> Ready:
    """What the states of the parts make of the whole."""
    needed = {parts[name] for name in NEEDED}
    if PartState.FAILED in needed:
        return Ready(State.FAILED, parts)
    if PartState.WARMING in needed:
        return Ready(State.WARMING, parts)
    wrong = {PartState.FAILED, PartState.DEGRADED} & set(parts.values())
    return Ready(State.DEGRADED if wrong else State.READY, parts)


class Readiness:
    """Tries the parts of one service. Safe from many threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tried = Kept(self._try, TRIED)

    def __call__(self) -> Ready:
        service = self._service
        vauban = service.vauban
        catalog, store, records = self._tried()
        loading = service.warmth.pending(Step.SEARCH)
        embedder = PartState.FAILED if service.warmth.failed(Step.SEARCH) else PartState.OK
        return judged(
            {
                "catalog": catalog,
                "store": store,
                "embedder": PartState.WARMING if loading else embedder,
                "caches": PartState.WARMING if service.warmth.pending(Step.CACHES) else PartState.OK,
                "generator": self._generator(),
                "reranker": PartState.OK if vauban.reranker else PartState.ABSENT,
                "inbox": PartState.OK if service.inbox else PartState.ABSENT,
                "records": records,
                "disk": PartState.OK if gauges.free(vauban.settings.root) >= ROOM else PartState.DEGRADED,
                "canary": self._canary(),
            }
        )

    def _try(self) -> tuple[PartState, PartState, PartState]:
        return _tried(self._catalog), _tried(self._store), _tried(self._records)

    def _catalog(self) -> None:
        self._service.vauban.catalog.lineages()

    def _store(self) -> None:
        """A real search of one hit, in all that is published, by nobody: what only some may see is not found."""
        vauban = self._service.vauban
        probe = np.zeros(vauban.embedder.dimension, dtype=np.float32)
        probe[0] = 1.0
        seen = Scope(frozenset(), 0, vauban.catalog.lineages(), scope.today())
        vauban.store.search(Query(probe, None), seen, 1)

    def _records(self) -> None:
        records = self._service.vauban.records
        records.settle()
        _ = records.head  # reading it is the trial

    def _generator(self) -> PartState:
        vauban, service = self._service.vauban, self._service
        if vauban.generator is None:
            return PartState.FAILED if vauban.generator_error else PartState.ABSENT
        serving = [one.state == gauges.SERVING for one in gauges.replicas(service)]
        if serving and not all(serving):
            return PartState.DEGRADED if any(serving) else PartState.FAILED
        return PartState.WARMING if service.warmth.pending(Step.MODEL) else PartState.OK

    def _canary(self) -> PartState:
        canary = self._service.canary
        if canary is None:
            return PartState.ABSENT
        return {
            CanaryState.WAITING: PartState.OK,
            CanaryState.PASSED: PartState.OK,
            CanaryState.FAILED: PartState.DEGRADED,
        }[canary.state]


def _tried(trial: Callable[[], None]) -> PartState:
    try:
        trial()
    except OperatorError as error:
        log.warning("probe failed: %s", error.code)
        return PartState.FAILED
    return PartState.OK
