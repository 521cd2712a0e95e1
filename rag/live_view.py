"""What a running service is doing at this moment, for ``vauban top``: numbers, and people under pseudonyms.

The machine's own figures are everybody's who may look at all; runs, and what is published, are those of the corpora
that whoever looks sees and feeds.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from typing import Final

import psutil

from rag import activity, gauges, metrics, schemas
from rag.api_service import Service, fed
from rag.errors import VaubanError
from rag.installed import version
from rag.metrics import Seen
from rag.types import Principal, RunStatus

MINUTE: Final = 60.0
RUNS: Final = 20


def read(service: Service, ready: schemas.Readiness, principal: Principal) -> schemas.LiveView:
    """The view of now, for ``principal``.

    Raises:
        StoreError: the catalog cannot be read.
    """
    vauban = service.vauban
    process = psutil.Process()
    with process.oneshot():
        memory, times = process.memory_info().rss, process.cpu_times()
    seen = service.metrics.recent
    lately = [one for one in seen if time.monotonic() - one.at <= MINUTE]
    theirs = fed(service, principal)
    published = activity.published(vauban.database, theirs)
    return schemas.LiveView(
        version=version(),
        pid=os.getpid(),
        uptime=round(time.time() - service.started, 1),
        ready=ready,
        memory=memory,
        cpu_seconds=round(times.user + times.system, 2),
        free_bytes=gauges.free(vauban.settings.root),
        queue=_queue(service),
        answers=[
            schemas.LiveAnswer(
                person=service.pseudonyms.of(one.owner),
                stage=one.stage.value,
                position=one.position,
                seconds=round(one.seconds, 1),
            )
            for one in service.answers.progress
        ],
        statuses=dict(Counter(one.status.value for one in lately)),
        tokens_per_second=_speed(lately),
        stages=_stages(seen),
        replicas=[
            schemas.LiveReplica.model_validate(
                {"replica": number, "state": str(one.state), "slots": one.slots, "busy": one.busy}
            )
            for number, one in enumerate(gauges.replicas(service), start=1)
        ],
        runs=[_run(service, one) for one in vauban.catalog.runs(theirs, RUNS) if not one.final],
        corpora=published.corpora,
        documents=published.documents,
        chunks=published.chunks,
    )


def _queue(service: Service) -> schemas.LiveQueue | None:
    if service.vauban.generator is None:
        return None
    state = service.vauban.generator.queue
    return schemas.LiveQueue(
        waiting=state.waiting,
        people=state.owners,
        serving=state.serving,
        places=state.places,
        turn_seconds=None if state.seconds is None else round(state.seconds, 2),
    )


def _speed(seen: list[Seen]) -> float | None:
    """Tokens written in a second of drafting."""
    drafted = [(one.tokens, one.timings["generation"]) for one in seen if one.tokens and one.timings.get("generation")]
    seconds = sum(spent for _, spent in drafted)
    return round(sum(tokens for tokens, _ in drafted) / seconds, 1) if seconds else None


def _stages(seen: list[Seen]) -> list[schemas.LiveStage]:
    found = []
    for stage in metrics.STAGES:
        spent = [one.timings[stage] for one in seen if stage in one.timings]
        middle, slow = metrics.quantile(spent, 0.5), metrics.quantile(spent, 0.95)
        if middle is not None and slow is not None:
            found.append(schemas.LiveStage(stage=stage, p50=round(middle, 4), p95=round(slow, 4)))
    return found


def _run(service: Service, run: RunStatus) -> schemas.LiveRun:
    if service.inbox is not None:
        with suppress(VaubanError):  # it may be of another process that shares the catalog
            run = service.inbox.status(run.id)
    return schemas.LiveRun(
        id=run.id,
        kind=run.kind.value,
        corpus=run.corpus,
        state=run.state.value,
        stage=run.stage,
        done=run.done,
        total=run.total,
    )
