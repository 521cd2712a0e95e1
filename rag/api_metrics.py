"""A few counters in the text format that Prometheus reads: numbers by route and status, never a text."""

from __future__ import annotations

import threading
from collections import Counter

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests and answers. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._request_seconds: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._answer_seconds = 0.0
        self._tokens: Counter[str] = Counter()
        self._abandoned = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request to a route, by its template: paths hold names of documents."""
        with self._lock:
            self._requests[route, status] += 1
            self._request_seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats as well

    def answer(self, status: str, seconds: float, prompt_tokens: int, completion_tokens: int) -> None:
        with self._lock:
            self._answers[status] += 1
            self._answer_seconds += seconds
            self._tokens["prompt"] += prompt_tokens
            self._tokens["completion"] += completion_tokens

    def abandon(self) -> None:
        """An answer whose reader left before its end."""
        with self._lock:
            self._abandoned += 1

    def render(self, running: int) -> str:
        """All counters; ``running`` is the number of answers being made now."""
        with self._lock:
            lines = [
                "# TYPE vauban_requests_total counter",
                *(
                    f'vauban_requests_total{{route="{route}",status="{status}"}} {count}'
                    for (route, status), count in sorted(self._requests.items())
                ),
                "# TYPE vauban_request_seconds_total counter",
                *(
                    f'vauban_request_seconds_total{{route="{route}"}} {seconds:.6f}'
                    for route, seconds in sorted(self._request_seconds.items())
                ),
                "# TYPE vauban_answers_total counter",
                *(
                    f'vauban_answers_total{{status="{status}"}} {count}'
                    for status, count in sorted(self._answers.items())
                ),
                "# TYPE vauban_answer_seconds_total counter",
                f"vauban_answer_seconds_total {self._answer_seconds:.6f}",
                "# TYPE vauban_tokens_total counter",
                *(f'vauban_tokens_total{{kind="{kind}"}} {count}' for kind, count in sorted(self._tokens.items())),
                "# TYPE vauban_answers_abandoned_total counter",
                f"vauban_answers_abandoned_total {self._abandoned}",
                "# TYPE vauban_answers_running gauge",
                f"vauban_answers_running {running}",
            ]
        return "\n".join(lines) + "\n"
