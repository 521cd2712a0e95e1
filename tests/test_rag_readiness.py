"""What readiness says: a table of parts, what is told to whom, and what a start looks like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rag import gauges
from rag.api import create_app
from rag.errors import StoreError
from rag.readiness import PartState, State, judged
from rag.types import Query, Scope
from rag.warmth import Step, Warmth
from tests.rag_server import TOKEN, Parts, Writer, parts

OK, WARMING, ABSENT, DEGRADED, FAILED = PartState


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.catalog.close()


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.READY),
        ({"generator": ABSENT}, State.READY),
        ({"generator": WARMING, "caches": WARMING}, State.READY),
        ({"generator": FAILED}, State.DEGRADED),
        ({"generator": DEGRADED}, State.DEGRADED),
        ({"canary": DEGRADED}, State.DEGRADED),
        ({"disk": DEGRADED}, State.DEGRADED),
        ({"records": FAILED}, State.DEGRADED),
        ({"embedder": WARMING}, State.WARMING),
        ({"embedder": WARMING, "store": FAILED}, State.FAILED),
        ({"catalog": FAILED}, State.FAILED),
        ({"store": FAILED}, State.FAILED),
        ({"embedder": FAILED, "canary": DEGRADED}, State.FAILED),
    ],
)
def test_the_whole_follows_from_the_parts(changes: dict[str, PartState], state: State) -> None:
    """Not ready is what cannot search; everything else is degraded at worst."""
    names = ("catalog", "store", "embedder", "caches", "generator", "records", "disk", "canary")
    found = judged(dict.fromkeys(names, OK) | changes)
    assert found.state is state
    assert found.ready is (state in {State.READY, State.DEGRADED})


def test_a_start_is_warming_until_the_search_works(vauban: Parts) -> None:
    """Caches and the model's own reading come after, and hold nobody up."""
    warmth = Warmth()
    with TestClient(create_app(vauban, warmth=warmth), base_url="http://127.0.0.1:8080") as client:
        response = client.get("/readyz")
        assert (response.status_code, response.json()["state"]) == (503, "warming")
        with warmth.doing(Step.SEARCH):
            pass
        response = client.get("/readyz")
        assert (response.status_code, response.json()["state"]) == (200, "ready")
        assert {response.json()["parts"][name] for name in ("caches", "generator")} == {"warming"}
        with pytest.raises(RuntimeError), warmth.doing(Step.SEARCH):
            raise RuntimeError
        assert client.get("/readyz").json()["parts"]["embedder"] == "failed"


def test_the_store_is_really_searched(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """By nobody; a store that fails is not ready, and its words stay in the log."""
    asked: list[tuple[Scope, int]] = []

    def broken(query: Query, scope: Scope, limit: int) -> object:
        asked.append((scope, limit))
        raise StoreError("the shard at /srv/x is broken")

    monkeypatch.setattr(vauban.store, "search", broken)
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as client:
        responses = [client.get("/readyz") for _ in range(3)]
    assert {(response.status_code, response.json()["parts"]["store"]) for response in responses} == {(503, "failed")}
    assert "/srv/x" not in responses[0].text
    ((scope, limit),) = asked  # once for all who ask at about the same time
    assert (scope.groups, scope.clearance, limit) == (frozenset(), 0, 1)


def test_a_disk_that_is_nearly_full_is_said(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "free", lambda folder: 2**20)
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as client:
        ready = client.get("/readyz").json()
    assert (ready["state"], ready["parts"]["disk"]) == ("degraded", "degraded")


def test_only_those_who_run_the_service_learn_of_its_parts(tmp_path: Path) -> None:
    """A balancer without a token learns ready or not; a caller with the shared key no more than that."""
    vauban = parts(tmp_path, api_key="k" * 32)
    with TestClient(create_app(vauban, token=TOKEN), base_url="http://localhost") as client:
        for headers in ({}, {"Authorization": f"Bearer {'k' * 32}"}, {"Authorization": "Bearer wrong"}):
            ready = client.get("/readyz", headers=headers)
            assert ready.status_code == 200
            assert ready.json() == {"ready": True, "state": "ready", "parts": {}, "canary": {}}
        assert client.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"}).json()["parts"]["catalog"] == "ok"
    vauban.catalog.close()
