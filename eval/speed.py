"""How long a reader waits: from the question to the passages, and to the whole answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from eval.cases import Case
from eval.report import table
from rag.engine import Engine
from rag.types import Answer, PassagesFound, Principal, Question


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds of one question: until its passages were there, until its answer was, and what the model wrote."""

    passages: float
    answer: float
    tokens: int
    generation: float


@dataclass(frozen=True, slots=True)
class Report:
    """The waits of a run; ``run`` is what is needed to repeat it."""

    waits: tuple[Wait, ...]
    run: dict[str, object]

    def as_json(self) -> dict[str, object]:
        """Medians and 95th percentiles in seconds, and the model's tokens per second, prompt included."""
        written = [wait for wait in self.waits if wait.tokens and wait.generation]
        return {
            "questions": len(self.waits),
            "passages": _summary([wait.passages for wait in self.waits]),
            "answer": _summary([wait.answer for wait in self.waits]),
            "drafted": len(written),
            "tokens_per_second": round(median(wait.tokens / wait.generation for wait in written), 2)
            if written
            else None,
            "run": self.run,
        }

    def as_text(self) -> str:
        rows = [
            (name, *(f"{value:.3f}" for value in _summary([getattr(wait, name) for wait in self.waits]).values()))
            for name in ("passages", "answer")
        ]
        return table(("seconds until", "median", "p95"), rows)


def measure(engine: Engine, cases: Sequence[Case], principal: Principal, run: dict[str, object]) -> Report:
    """Ask every case once, one after the other; the first is asked once more before, and not counted."""
    if cases:
        _wait(engine, cases[0], principal)
    return Report(tuple(_wait(engine, case, principal) for case in cases), run)


def _wait(engine: Engine, case: Case, principal: Principal) -> Wait:
    start = time.perf_counter()
    passages = answer = 0.0
    last: Answer | None = None
    for event in engine.answer(Question(case.text, principal, as_of=case.as_of)):
        if isinstance(event, PassagesFound):
            passages = time.perf_counter() - start
        elif isinstance(event, Answer):
            answer, last = time.perf_counter() - start, event
    assert last is not None
    return Wait(passages, answer, last.completion_tokens, last.timings.get("generation", 0.0))


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        only = seconds[0] if seconds else 0.0
        return {"median": round(only, 4), "p95": round(only, 4)}
    return {"median": round(median(seconds), 4), "p95": round(quantiles(seconds, n=20)[-1], 4)}
