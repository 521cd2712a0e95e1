"""Metrics are numbers by closed lists: read with Prometheus' own parser, and nothing of people in any label."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from rag import metrics
from rag.api import create_app
from rag.errors import RejectReason
from rag.gauges import Kept, size
from rag.metrics import STAGES, Metrics, quantile
from rag.prompt_cache import CacheState
from rag.types import (
    Answer,
    Claim,
    PlacedClaim,
    Reason,
    Rejected,
    RunKind,
    RunState,
    Status,
    Verdict,
)
from tests.rag_server import QUESTION, Parts, Writer, parts

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
CANARY = "canari"


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.catalog.close()


@pytest.fixture
def client(vauban: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client:
        yield client


@dataclass(frozen=True)
class Server:
    url: str
    state: str
    slots: int
    busy: int


def read(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def ask(client: TestClient, text: str = QUESTION, **more: object) -> None:
    body = {"model": "vauban", "messages": [{"role": "user", "content": text}], **more}
    client.post("/v1/chat/completions", json=body)


def test_the_exposition_is_what_prometheus_reads(client: TestClient) -> None:
    """Its media type, its format, and each family once."""
    ask(client)
    ask(client, stream=True)
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = [family.name for family in text_string_to_metric_families(response.text)]
    assert len(names) == len(set(names))
    samples = read(response.text)
    assert at(samples, "vauban_requests_total", route="/v1/chat/completions", status="200") == 2
    assert sum(at(samples, "vauban_answers_total", status=status.value) for status in Status) == 2
    assert at(samples, "vauban_first_passages_seconds_count") == 2
    assert at(samples, "vauban_first_sentence_seconds_count") == 2
    assert at(samples, "vauban_stage_seconds_count", stage="total") == 2
    assert at(samples, "vauban_stage_seconds_count", stage="search") == 2
    assert at(samples, "vauban_tokens_total", kind="prompt") > 0
    assert at(samples, "vauban_claims_total", verdict="supported", reason="") >= 2
    assert at(samples, "process_resident_memory_bytes") > 0
    assert not [name for name, _ in samples if name.endswith("_created")]


def test_an_answer_counts_once_in_each_of_its_series() -> None:
    """By hand: status, stages, verdicts, tokens, times; a stage that nobody knows is `other`."""
    counted = Metrics()
    claims = (
        PlacedClaim(Claim("a", (1,), Verdict.SUPPORTED), 0, 1),
        PlacedClaim(Claim("b", (1,), Verdict.UNSUPPORTED, Reason.NUMBER), None, None),
    )
    answer = Answer(
        Status.ANSWERED,
        "",
        "fr",
        "",
        claims=claims,
        timings={"search": 0.004, CANARY: 1.0},
        prompt_tokens=100,
        reused_tokens=60,
        completion_tokens=7,
    )
    counted.answer(answer, 0.2, 3.0)
    samples = read(counted.render().decode())
    assert at(samples, "vauban_answers_total", status="answered") == 1
    assert at(samples, "vauban_stage_seconds_bucket", stage="search", le="0.005") == 1
    assert at(samples, "vauban_stage_seconds_bucket", stage="search", le="0.0025") == 0
    assert at(samples, "vauban_stage_seconds_count", stage="other") == 1
    assert at(samples, "vauban_claims_total", verdict="unsupported", reason="number") == 1
    assert [at(samples, "vauban_tokens_total", kind=kind) for kind in ("prompt", "reused", "completion")] == [
        100,
        60,
        7,
    ]
    assert at(samples, "vauban_first_sentence_seconds_sum") == 3.0
    assert [seen.tokens for seen in counted.recent] == [7]


def test_two_services_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.abandon()
    assert at(read(second.render().decode()), "vauban_answers_abandoned_total") == 0


def test_no_label_comes_from_people_documents_or_corpora(client: TestClient, vauban: Parts) -> None:
    """Whatever is sent, uploaded or named, the labels are those of the closed lists."""
    run = vauban.catalog.add_run("secret", RunState.RUNNING)
    vauban.catalog.end_run(run, RunState.FAILED, rejected=[Rejected(f"{CANARY}.pdf", CANARY, CANARY)])
    for text in (CANARY, f'{CANARY}"}} 1\nforged{{a="b', f"{CANARY}\x00"):
        ask(client, text)
        ask(client, model=text)
        client.post("/v1/search", json={"question": text, "corpora": [text]})
        client.get("/v1/documents", params={"corpus": text})
        client.request(CANARY.upper(), f"/v1/{CANARY}/x", headers={"User-Agent": CANARY, "X-Request-Id": CANARY})
    text = client.get("/metrics").text
    assert at(read(text), "vauban_problems_total", code="unknown_model") >= 3
    assert CANARY not in text.lower()
    assert "forged" not in text
    samples = read(text)
    for name in [corpus.name for corpus in vauban.catalog.corpora()]:
        assert not [labels for _, labels in samples if any(name == value for _, value in labels)]
    known = {
        "status": {status.value for status in Status} | {str(number) for number in range(100, 600)} | {"0"},
        "stage": {*STAGES, metrics.OTHER},
        "verdict": {verdict.value for verdict in Verdict},
        "reason": {one.value for kind in (Reason, RejectReason) for one in kind} | {"", metrics.OTHER},
        "kind": {"prompt", "reused", "completion"} | {kind.value for kind in RunKind},
        "state": {state.value for state in RunState},
    }
    free = {"le", "route", "code", "version", "embedder", "generator", "replica"}
    for _, labels in samples:
        for label, value in labels:
            assert label in free or value in known[label], (label, value)
            assert label != "route" or re.fullmatch(r"page|none|(/[\w{}.:-]+)+", value), value
            assert label != "code" or re.fullmatch(r"[a-z_]+", value), value


def test_every_stage_of_the_code_is_in_the_list(root: Path) -> None:
    """A new stage would be counted as `other` otherwise."""
    found = set()
    for module in ("rag/engine.py", "rag/retrieval.py"):
        for node in ast.walk(ast.parse((root / module).read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"stage", "of"}
            ):
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    assert found | {"total"} == set(STAGES)


def test_ingestion_is_counted_where_it_is_noted(client: TestClient, vauban: Parts) -> None:
    """Runs by kind and state, files by reason, and what is published; of every process that shares the catalog."""
    run = vauban.catalog.add_run("rh", RunState.RUNNING)
    vauban.catalog.end_run(run, RunState.DONE, rejected=[Rejected("a.pdf", RejectReason.CORRUPT, "")])
    samples = read(client.get("/metrics").text)
    assert at(samples, "vauban_ingestion_runs", kind="sync", state="done") == 1
    assert at(samples, "vauban_ingestion_runs", kind="export", state="done") == 0
    assert at(samples, "vauban_ingestion_rejected_total", reason="corrupt") == 1
    assert at(samples, "vauban_published_corpora") == 3
    assert at(samples, "vauban_published_documents") == 6
    assert 0 <= time.time() - at(samples, "vauban_published_time_seconds") < 300
    assert at(samples, "vauban_home_bytes") == size(vauban.home.root)


def test_who_may_not_know_the_sums_gets_none(tmp_path: Path) -> None:
    """Counts over all corpora tell of those that few may see."""
    vauban = parts(tmp_path, api_key="k" * 32)
    with TestClient(create_app(vauban), base_url="http://localhost") as client:
        refused = client.get("/metrics", headers={"Authorization": f"Bearer {'k' * 32}"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    vauban.catalog.close()


def test_notes_that_were_dropped_are_counted(client: TestClient) -> None:
    """A database that is too slow for them shows before people wait for it."""
    name = "vauban_credential_notes_dropped_total"
    assert read(client.get("/metrics").text)[name, frozenset()] == 0
    client.app.state.service.identity.notes_dropped = 3  # type: ignore[attr-defined]  # it is the application
    assert read(client.get("/metrics").text)[name, frozenset()] == 3


def test_model_servers_are_told_by_their_number(tmp_path: Path) -> None:
    """And not by their address; the queue before them is counted, too."""

    class Servers(Writer):
        def report(self) -> list[Server]:
            return [Server("http://10.0.0.7:8080", "serving", 4, 3), Server("http://10.0.0.8:8080", "away", 0, 0)]

    vauban = parts(tmp_path, Servers())
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as client:
        text = client.get("/metrics").text
        assert client.get("/readyz").json()["parts"]["generator"] == "degraded"
    vauban.catalog.close()
    samples = read(text)
    assert [at(samples, "vauban_replica_up", replica=number) for number in "12"] == [1, 0]
    assert at(samples, "vauban_replica_busy", replica="1") == 3
    assert at(samples, "vauban_queue_limit") == 16
    assert at(samples, "vauban_queue_wait_seconds_count") == 0
    assert "10.0.0" not in text


def test_what_a_model_keeps_of_prompts_is_counted(tmp_path: Path) -> None:
    """The memory that it takes is told, of how many people, and whose is not."""

    class Keeps(Writer):
        cache = CacheState(kept=3, owners=2, public=1, bytes=500, limit=1000, saved=7, restored=5, evicted=4)

    vauban = parts(tmp_path, Keeps())
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as client:
        samples = read(client.get("/metrics").text)
    vauban.catalog.close()
    names = ("bytes", "limit_bytes", "copies", "people", "saved_total", "restored_total", "evicted_total")
    assert [at(samples, f"vauban_prompt_cache_{name}") for name in names] == [500, 1000, 3, 2, 7, 5, 4]


def test_a_reading_is_kept_for_its_time() -> None:
    """However often it is asked for."""
    now, read = [0.0], iter(range(9))
    kept = Kept(lambda: next(read), 5.0, lambda: now[0])
    assert [kept(), kept()] == [0, 0]
    now[0] = 5.0
    assert kept() == 1


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3], 0.95, 3), ([1, 2, 3, 4], 0.5, 2), ([4, 1, 3, 2, 5], 0.5, 3), (range(1, 101), 0.95, 95)],
)
def test_quantiles_are_values_that_occurred(values: list[float], share: float, expected: float | None) -> None:
    assert quantile(values, share) == expected
