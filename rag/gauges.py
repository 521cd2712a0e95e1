"""What a running service reads of itself when its metrics are asked for: queue, ingestion, store, replicas, disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar, runtime_checkable

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rag import activity
from rag.activity import Activity
from rag.api_service import Service
from rag.canary import Canary, Outcome
from rag.errors import OperatorError
from rag.prompt_cache import CacheState
from rag.queue import WAITS, QueueState
from rag.types import RunKind, RunState

FRESH: Final = 5.0
"""Seconds that a reading of the database is used: a scrape is no load, however often it comes."""
SIZED: Final = 60.0
"""Seconds that the size of the home is used: its files are walked for it."""
SERVING: Final = "serving"

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A value that is read again when it is older than ``seconds``."""

    def __init__(self, read: Callable[[], Value], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._held: tuple[float, Value] | None = None

    def __call__(self) -> Value:
        held = self._held
        if held is None or self._clock() - held[0] >= self._seconds:
            held = self._held = (self._clock(), self._read())
        return held[1]


class ModelServer(Protocol):
    """How one model server stands: :data:`SERVING`, or why not, and how many of its slots are busy."""

    @property
    def state(self) -> str: ...
    @property
    def slots(self) -> int: ...
    @property
    def busy(self) -> int: ...


@runtime_checkable
class Replicated(Protocol):
    """A generator over several servers."""

    def report(self) -> Sequence[ModelServer]: ...


@runtime_checkable
class Caching(Protocol):
    """A generator that keeps states of prompts in this process."""

    @property
    def cache(self) -> CacheState: ...


@runtime_checkable
class Noting(Protocol):
    """What recognises people, and notes that their credentials are used."""

    @property
    def notes_dropped(self) -> int: ...


def replicas(service: Service) -> Sequence[ModelServer]:
    """How each model server stands; none where the model is in this process, or there is none."""
    generator = service.vauban.generator
    return generator.report() if isinstance(generator, Replicated) else ()


def prompt_cache(service: Service) -> CacheState | None:
    """What the model in this process keeps of prompts; ``None`` where there is no such model."""
    generator: object = service.vauban.generator
    return generator.cache if isinstance(generator, Caching) else None


class Gauges(Collector):
    """A collector for :meth:`rag.metrics.Metrics.watch`."""

    def __init__(self, service: Service, version: str) -> None:
        self._service = service
        self._version = version
        self.activity: Kept[Activity | None] = Kept(self._activity, FRESH)
        self.recorded: Kept[int | None] = Kept(self._recorded, FRESH)
        self.bytes: Kept[int] = Kept(lambda: size(service.vauban.settings.root), SIZED)

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        service = self._service
        embedder, generator = service.vauban.embedder, service.vauban.generator
        build = {
            "version": self._version,
            "embedder": embedder.fingerprint,
            "generator": generator.fingerprint if generator else "",
        }
        yield InfoMetricFamily("vauban_build", "The program and its models.", build)
        yield GaugeMetricFamily("vauban_start_time_seconds", "When the service began.", service.started)
        yield GaugeMetricFamily("vauban_answers_running", "Answers being made now.", service.answers.running)
        if generator is not None:
            yield from _queue(generator.queue)
        if (kept := prompt_cache(service)) is not None:
            yield from _prompt_cache(kept)
        yield from _replicas(replicas(service))
        found = self.activity()
        yield GaugeMetricFamily("vauban_catalog_up", "Whether the catalog could be read.", 0 if found is None else 1)
        if found is not None:
            yield from _ingestion(found)
        yield from _records(self.recorded(), service.vauban.records.owed)
        if isinstance(service.identity, Noting):
            says = "Notes of the use of a credential that were dropped because the database was slow."
            yield CounterMetricFamily("vauban_credential_notes_dropped", says, value=service.identity.notes_dropped)
        if service.canary is not None:
            yield from _canary(service.canary)
        yield GaugeMetricFamily("vauban_home_bytes", "Bytes of the home folder, the index included.", self.bytes())
        yield GaugeMetricFamily(
            "vauban_home_free_bytes", "Bytes free beside the home folder.", free(service.vauban.settings.root)
        )

    def _activity(self) -> Activity | None:
        try:
            return activity.read(self._service.vauban.database)
        except OperatorError:
            return None

    def _recorded(self) -> int | None:
        try:
            return self._service.vauban.records.head.count
        except OperatorError:
            return None


def _records(count: int | None, owed: int) -> Iterator[Metric]:
    if count is not None:
        yield GaugeMetricFamily("vauban_records", "Records in the chain of answers.", count)
    yield GaugeMetricFamily("vauban_records_owed", "Records that could not be written yet.", owed)


def _canary(canary: Canary) -> Iterator[Metric]:
    yield CounterMetricFamily("vauban_canary_rounds", "Rounds of the canary questions.", value=canary.rounds)
    yield CounterMetricFamily("vauban_canary_put_off", "Rounds given up because people waited.", value=canary.put_off)
    last = canary.last
    cases = GaugeMetricFamily("vauban_canary_cases", "Canary questions by how they ended last.", labels=["outcome"])
    for outcome in Outcome:
        cases.add_metric([outcome.value], list(last.outcomes.values()).count(outcome) if last else 0)
    yield cases
    if last is not None:
        yield GaugeMetricFamily("vauban_canary_time_seconds", "When the last round ended.", last.ended)
        yield GaugeMetricFamily("vauban_canary_seconds", "How long the last round took.", last.seconds)


def _queue(state: QueueState) -> Iterator[Metric]:
    for name, says, value in (
        ("waiting", "Questions that wait for the writing model.", state.waiting),
        ("people", "People whose questions wait.", state.owners),
        ("serving", "Questions that the writing model is working on.", state.serving),
        ("places", "Questions that it can work on at once.", state.places),
        ("limit", "Questions that may wait before a 429.", state.limit),
    ):
        yield GaugeMetricFamily(f"vauban_queue_{name}", says, value)
    if state.seconds is not None:
        yield GaugeMetricFamily("vauban_queue_turn_seconds", "Mean length of recent turns.", state.seconds)
    for name, says, value in (
        ("left", "Questions whose reader left while they waited.", state.left),
        ("refused", "Questions that were refused a place.", state.refused),
    ):
        yield CounterMetricFamily(f"vauban_queue_{name}", says, value)
    total, buckets = 0, []
    for bound, count in zip((*map(str, WAITS), "+Inf"), state.waits, strict=True):
        total += count
        buckets.append((bound, float(total)))
    yield HistogramMetricFamily("vauban_queue_wait_seconds", "Seconds before a turn.", buckets, state.waited)


def _prompt_cache(state: CacheState) -> Iterator[Metric]:
    for name, says, value in (
        ("bytes", "Bytes that states of prompts take.", state.bytes),
        ("limit_bytes", "Bytes that they may take.", state.limit),
        ("copies", "States kept, of the system message too.", state.kept),
        ("people", "People whose prompts are kept.", state.owners),
    ):
        yield GaugeMetricFamily(f"vauban_prompt_cache_{name}", says, value)
    for name, says, value in (
        ("saved", "States that were kept.", state.saved),
        ("restored", "States that were used again.", state.restored),
        ("evicted", "States given up for want of room.", state.evicted),
    ):
        yield CounterMetricFamily(f"vauban_prompt_cache_{name}", says, value)


def _replicas(reports: Sequence[ModelServer]) -> Iterator[Metric]:
    if not reports:
        return
    # By their number in the settings: an address is the operator's own business.
    up = GaugeMetricFamily("vauban_replica_up", "Whether a model server serves.", labels=["replica"])
    busy = GaugeMetricFamily("vauban_replica_busy", "Slots of a model server that are busy.", labels=["replica"])
    for number, one in enumerate(reports, start=1):
        up.add_metric([str(number)], 1 if one.state == SERVING else 0)
        busy.add_metric([str(number)], one.busy)
    yield from (up, busy)


def _ingestion(found: Activity) -> Iterator[Metric]:
    runs = GaugeMetricFamily("vauban_ingestion_runs", "Ingestions by kind and state.", labels=["kind", "state"])
    for kind in RunKind:
        for state in RunState:
            runs.add_metric([kind.value, state.value], found.runs.get((kind.value, state.value), 0))
    yield runs
    seconds = CounterMetricFamily("vauban_ingestion_seconds", "Seconds that runs took, by kind.", labels=["kind"])
    for kind in RunKind:
        seconds.add_metric([kind.value], found.seconds.get(kind.value, 0.0))
    yield seconds
    rejected = CounterMetricFamily("vauban_ingestion_rejected", "Files not taken in, by reason.", labels=["reason"])
    for reason, count in found.rejected.items():
        rejected.add_metric([reason], count)
    yield rejected
    for name, says, value in (
        ("corpora", "Corpora with a published snapshot.", found.published.corpora),
        ("documents", "Documents published now.", found.published.documents),
        ("chunks", "Chunks published now.", found.published.chunks),
    ):
        yield GaugeMetricFamily(f"vauban_published_{name}", says, value)
    if found.published.latest is not None:
        yield GaugeMetricFamily(
            "vauban_published_time_seconds", "When a snapshot was last published.", found.published.latest.timestamp()
        )


def size(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile is not counted."""
    total, folders = 0, [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def free(folder: Path) -> int:
    """Bytes that can still be written below a folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
