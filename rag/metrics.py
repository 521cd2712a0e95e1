"""What is counted of a running service, in the format that Prometheus reads: numbers, never a text.

Every label is a name of a closed list: a route's template, a status, a stage, a reason. No label comes from a person, a
document or a corpus, whose very names may be restricted. The registry is the service's own, so that two services in
one process count apart. Gauges are read when they are asked for, by the collectors of :mod:`rag.gauges`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from rag.types import Answer, Status, Verdict

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
STAGES: Final = (
    "rewrite", "encode", "search", "fuse", "rerank", "complete", "homonyms", "sufficiency", "conflicts", "clarity",
    "generation", "quotes", "extracts", "notices", "total",
)  # fmt: skip
"""The stages of :attr:`rag.types.Answer.timings`; a test looks for others in the code."""
OTHER: Final = "other"
SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds in seconds: a search takes hundredths of one, a draft on a slow machine minutes."""
RECENT: Final = 200
"""Answers that the live view looks back at."""

# The samples of when each series was made double the text, and nobody draws them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not say its types


@dataclass(frozen=True, slots=True)
class Seen:
    """What the live view keeps of one answer: when it ended, how, and how long each stage took."""

    at: float
    status: Status
    timings: Mapping[str, float]
    tokens: int


class Metrics:
    """Counts requests and answers of one service. Safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "vauban_requests", "Requests by the template of their route.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "vauban_request_seconds", "Seconds that requests took.", ["route"], buckets=SHORT, registry=registry
        )
        self._problems = Counter("vauban_problems", "Refusals and failures by their code.", ["code"], registry=registry)
        self._answers = Counter("vauban_answers", "Answers by their status.", ["status"], registry=registry)
        self._stages = Histogram(
            "vauban_stage_seconds", "Seconds of an answer by stage.", ["stage"], buckets=SHORT, registry=registry
        )
        self._first_passages = Histogram(
            "vauban_first_passages_seconds", "Seconds until the passages could be shown.", buckets=SHORT,
            registry=registry,
        )  # fmt: skip
        self._first_sentence = Histogram(
            "vauban_first_sentence_seconds", "Seconds until the first sentence could be shown.", buckets=SHORT,
            registry=registry,
        )  # fmt: skip
        self._claims = Counter(
            "vauban_claims", "Sentences of drafts by verdict, and why not supported.", ["verdict", "reason"],
            registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "vauban_tokens", "Tokens read, of these read before (reused), and written.", ["kind"], registry=registry
        )
        self._abandoned = Counter(
            "vauban_answers_abandoned", "Answers whose reader left before their end.", registry=registry
        )
        self._prepare()
        self._recent: deque[Seen] = deque(maxlen=RECENT)
        self._noting = threading.Lock()

    def _prepare(self) -> None:
        """Let the series of closed lists be there from the start: an alert on a missing one is no alert."""
        for status in Status:
            self._answers.labels(status.value)
        for stage in STAGES:
            self._stages.labels(stage)
        for kind in ("prompt", "reused", "completion"):
            self._tokens.labels(kind)
        self._claims.labels(Verdict.SUPPORTED.value, "")

    def watch(self, collector: Collector) -> None:
        """Read a collector's gauges each time the metrics are asked for."""
        self._registry.register(collector)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request to a route, by its template: paths hold names of documents."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def problem(self, code: str) -> None:
        """A request was refused, or failed; ``code`` is one of the error tree, empty where all went well."""
        if code:
            self._problems.labels(code).inc()

    def answer(self, answer: Answer, passages: float | None = None, sentence: float | None = None) -> None:
        """A finished answer of a person; seconds until its passages and its first sentence were there, where known."""
        self._answers.labels(answer.status.value).inc()
        for stage, seconds in answer.timings.items():
            self._stages.labels(stage if stage in STAGES else OTHER).observe(seconds)
        if passages is not None:
            self._first_passages.observe(passages)
        if sentence is not None:
            self._first_sentence.observe(sentence)
        for placed in answer.claims:
            reason = placed.claim.reason
            self._claims.labels(placed.claim.verdict.value, reason.value if reason else "").inc()
        self._tokens.labels("prompt").inc(answer.prompt_tokens)
        self._tokens.labels("reused").inc(answer.reused_tokens)
        self._tokens.labels("completion").inc(answer.completion_tokens)
        with self._noting:
            self._recent.append(Seen(time.monotonic(), answer.status, answer.timings, answer.completion_tokens))

    def abandon(self) -> None:
        """An answer whose reader left before its end."""
        self._abandoned.inc()

    @property
    def recent(self) -> list[Seen]:
        """The latest answers, oldest first."""
        with self._noting:
            return list(self._recent)

    def render(self) -> bytes:
        """All metrics, as :data:`MEDIA_TYPE`."""
        return generate_latest(self._registry)


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed; ``None`` of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
