"""A real service under load, through HTTP: answers reach whom they belong to, and who leaves leaves nothing behind.

The writing model is llama.cpp with random weights. ``tests.bench_service`` does it for minutes and in figures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import synthetic_gguf
from tests.postgres_server import PostgresServer
from tests.qdrant_double import running as qdrant
from tests.service_clients import (
    Person,
    administrator,
    crowd,
    home_database,
    idle_within,
    install,
    people,
    service,
    summary,
)
from tests.vauban_command import Command, Serving

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SECONDS = float(os.environ.get("LOAD_SECONDS", "5"))
TEXTS = {
    "rh": (
        "Combien de jours ouvrés de congé annuel par année civile ?",
        "La durée du congé annuel est de 25 jours ouvrés par année civile.",
    ),
    "finances": (
        "Combien de jours ouvrés de mission annuelle par année civile ?",
        "La durée de la mission annuelle est de 30 jours ouvrés par année civile.",
    ),
}
QUESTIONS = {corpus: [question] for corpus, (question, _) in TEXTS.items()}


def write_sources(folder: Path, corpus: str) -> Path:
    made = folder / f"sources-{corpus}"
    made.mkdir()
    (made / "corpus.toml").write_text(f'name = "{corpus}"\ngroups = ["agents"]\n', encoding="utf-8")
    (made / "regle.md").write_text(f"# Règle\n\n## Article 1\n\n{TEXTS[corpus][1]}\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two corpora, and a model that writes without end."""
    made = tmp_path_factory.mktemp("load")
    vauban = Command(made)
    for corpus in TEXTS:
        done = vauban("ingest", "sync", write_sources(made, corpus), "--corpus", corpus)
        assert done.code == 0, done.err
    install(vauban.home, "endless", synthetic_gguf.build(made / "endless.gguf", context=8192), 8192)
    return made


@pytest.fixture(scope="module")
def persons(folder: Path) -> list[Person]:
    return people(home_database(folder / "home"), tuple(TEXTS), 12)


@pytest.fixture(scope="module")
def watch(folder: Path) -> Person:
    return administrator(home_database(folder / "home"))


@pytest.fixture(scope="module")
def server(folder: Path, persons: list[Person], watch: Person) -> Iterator[Serving]:
    with service(folder, VAUBAN_GENERATOR="endless") as running:
        yield running


def test_everybody_gets_their_own_answer_while_a_third_leave(
    server: Serving, persons: list[Person], watch: Person
) -> None:
    """No answer is lost or somebody else's, and nothing goes on when all have gone."""
    found = asyncio.run(crowd(server.url, persons, QUESTIONS, SECONDS, longest=0.3))
    seen = summary(found, persons)
    assert seen["server_errors"] == 0
    assert all(end in {"answered", "refused"} or end.startswith("left") for end in seen["ends"]), seen
    assert seen["ends"]["answered"] >= len(persons)
    assert seen["outcomes"].keys() == {"extracts"}, "the model was not asked"
    assert any(one.positions for one in found), "nobody ever waited: the test is too small"
    assert idle_within(server.url, watch, 2) <= 2


def test_two_servers_share_all_state(tmp_path: Path, postgres: PostgresServer) -> None:
    """Keys, conversations, repeated writes and the chain of records, over one PostgreSQL and one Qdrant."""
    with qdrant() as points:
        shared = {"VAUBAN_DATABASE_URL": postgres.database(), "VAUBAN_QDRANT_URL": points.url}
        (tmp_path / "audit.key").touch(mode=0o600)
        (tmp_path / "audit.key").write_text("0f" * 32, encoding="ascii")
        shared["VAUBAN_AUDIT_KEY"] = str(tmp_path / "audit.key")
        vauban = Command(tmp_path)
        done = vauban("ingest", "sync", write_sources(tmp_path, "rh"), "--corpus", "rh", **shared)
        assert done.code == 0, done.err
        [ada] = people(shared["VAUBAN_DATABASE_URL"], ["rh"], 1)
        (tmp_path / "second").mkdir()
        with service(tmp_path, **shared) as first, service(tmp_path / "second", **shared) as second:
            clients = [
                httpx.Client(base_url=one.url, headers=ada.headers, trust_env=False, timeout=60)
                for one in (first, second)
            ]
            here, there = clients
            once = {"Idempotency-Key": "conges-1"}
            made = here.post("/v1/conversations", json={"title": "Congés"}, headers=once)
            again = there.post("/v1/conversations", json={"title": "Congés"}, headers=once)
            assert (made.status_code, made.json()) == (again.status_code, again.json())
            assert again.headers["Idempotency-Replayed"] == "true"
            conversation = made.json()["id"]
            for client in (here, there) * 2:
                body = {
                    "model": "vauban",
                    "messages": [{"role": "user", "content": QUESTIONS["rh"][0]}],
                    "vauban": {"conversation": conversation},
                }
                answer = client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                assert answer.json()["vauban"]["passages"]
            listed = [client.get(f"/v1/conversations/{conversation}/messages").json() for client in clients]
            assert listed[0] == listed[1]
            assert len(listed[0]["data"]) == 8
            revoked = vauban("keys", "list", "--json", **shared).json
            [key] = [one["id"] for one in revoked if one["name"] == ada.name]
            assert vauban("keys", "revoke", key, **shared).code == 0
            assert [client.get("/v1/conversations").status_code for client in clients] == [401, 401]
            for client in clients:
                client.close()
        verified_here = vauban("audit", "verify", "--json", **shared)
        assert verified_here.code == 0, verified_here.out
        assert '"records": 4' in verified_here.out or '"count": 4' in verified_here.out, verified_here.out
