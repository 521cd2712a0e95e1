"""An id opens nothing by itself, and rights that are taken away are gone with the next request, by every way in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.keys import Keys
from rag.standing import Source, Standing
from rag.types import Principal, RunState
from tests.leak_world import (
    Chooser,
    DocumentPlan,
    Operation,
    Plan,
    World,
    corpus_name,
    document_id,
    operations,
    running,
)

EVERYONE, A, B, NOBODY = (frozenset(groups) for groups in ("*", "a", "b", ""))
PLAN = Plan(
    corpora=((EVERYONE, 0), (A, 0), (A, 0)),
    documents=(
        DocumentPlan(0, 0, (EVERYONE, 0)),
        DocumentPlan(1, 1, (A, 0), pdf=True),
        DocumentPlan(2, 1, (EVERYONE, 0)),
        DocumentPlan(3, 2, (A, 0)),
    ),
)
QUESTION = "Quelle est la durée du congé annuel ?"
CORPUS, DOCUMENT = corpus_name(1), document_id(1)
REFUSED = {401, 403, 404}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(PLAN, tmp_path) as made:
        yield made


def chat(world: World, person: Principal, **options: Any) -> httpx.Response:
    asked = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "vauban": options}
    return world.ask(person, "POST", "/v1/chat/completions", json=asked)


def mine(world: World, owner: Principal) -> dict[str, str]:
    """One of each kind of thing that has an id, all of ``owner``'s or of what they alone may see."""
    conversation = world.ask(owner, "POST", "/v1/conversations", json={"title": "À moi"}).json()["id"]
    answer = chat(world, owner, conversation=conversation).json()["id"]
    note = world.ask(owner, "POST", "/v1/feedback", json={"answer": answer, "thumb": "up", "comment": "bien"}).json()
    run = world.parts.catalog.add_run(CORPUS, RunState.RUNNING)
    return {
        "conversation": conversation,
        "record": answer,
        "note": note["id"],
        "run": run,
        "corpus": CORPUS,
        "document": DOCUMENT,
        "model": f"vauban-{CORPUS}",
        "page": "1",
        "reference": "4",
    }


def filled(operation: Operation, ids: dict[str, str]) -> str:
    path = operation.path
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    return path


def state(world: World, owner: Principal, ids: dict[str, str]) -> list[object]:
    """What the owner reads of their own things, and what the service knows of the others."""
    kept = [f"/v1/conversations/{ids['conversation']}", f"/v1/conversations/{ids['conversation']}/messages"]
    kept += [f"/v1/feedback/{ids['note']}", f"/v1/corpora/{CORPUS}", f"/v1/corpora/{CORPUS}/documents/{DOCUMENT}"]
    catalog = world.parts.catalog
    return [
        *(world.ask(owner, "GET", path).json() for path in kept),
        catalog.run(ids["run"]),
        catalog.corpus(CORPUS),
        catalog.published(CORPUS),
    ]


@pytest.mark.slow
def test_no_operation_gives_anybody_the_things_of_somebody_else(world: World) -> None:
    """Every operation with an id × someone else × nobody: refused all, in the same words as what does not exist."""
    owner = world.people["anne"]
    ids = mine(world, owner)
    before, tried = state(world, owner, ids), 0
    others = [world.people[name] for name in ("bruno", "nul", "marc", "assistee")]
    world.declare(corpus_name(2), (EVERYONE, 0))
    for operation in [one for one in operations(world.app) if "{" in one.path]:
        path, body = filled(operation, ids), Chooser(world, 1).body(operation)
        for other in others:
            response = world.ask(other, operation.method, path, params={"wait": "0"}, **body)
            assert response.status_code in REFUSED | {400}, f"{other.name} {operation.name} {response.text}"
            if response.status_code == 400:
                assert response.json()["code"] == "invalid_request", response.text
            tried += 1
        nobody = world.client.request(operation.method, path, **body)
        assert nobody.status_code == 401, operation.name
    assert tried > 100
    assert state(world, owner, ids) == before


@pytest.mark.parametrize("name", ["denis", "claire", "aude", "adam", "maud"])
def test_history_is_its_owners_whatever_role_or_groups_another_has(world: World, name: str) -> None:
    """Someone of the same groups, an auditor, an administrator and a maintainer read no conversation of another."""
    owner = world.people["anne"]
    ids = mine(world, owner)
    other = world.people[name]
    for operation in operations(world.app):
        if "{conversation}" in operation.path or "{note}" in operation.path:
            response = world.ask(other, operation.method, filled(operation, ids), **Chooser(world, 1).body(operation))
            assert response.status_code == 404, operation.name
    taken = chat(world, other, conversation=ids["conversation"])
    assert taken.status_code == 404
    judged = {"answer": ids["record"], "thumb": "down"}
    assert world.ask(other, "POST", "/v1/feedback", json=judged).status_code == 404
    assert ids["conversation"] not in world.ask(other, "GET", "/v1/conversations/export").text


# --- rights that are taken away


def test_a_revoked_key_ends_its_sessions_and_its_page_tokens_too(world: World) -> None:
    """The key, the cookie that it began, and the token that the page calls with: all 401 from the next request on."""
    anne = world.people["anne"]
    identity = world.app.state.service.identity
    session = identity.sign_in(world.secrets["anne"])
    key = next(one for one in Keys(world.parts.database).every() if one.principal.name == "anne")
    page = identity.page_token({"type": "http", "state": {"standing": Standing(anne, Source.KEY, key.id)}})
    ways: list[dict[str, str]] = [
        {"Authorization": f"Bearer {world.secrets['anne']}"},
        {"Cookie": f"vauban_session={session}"},
        {"Authorization": f"Bearer {page}"},
    ]
    for headers in ways:
        assert world.client.get("/v1/documents", headers=headers).status_code == 200
    world.revoke("anne")
    for headers in ways:
        refused = world.client.get("/v1/documents", headers=headers)
        assert refused.status_code == 401
        assert "zq" not in refused.text


@pytest.mark.parametrize("what", ["corpus", "document"])
def test_what_somebody_may_no_longer_read_is_gone_from_everything_that_was_kept(world: World, what: str) -> None:
    """Tags, cached pictures, conversations, exports, citations, replayed requests: none outlives the right."""
    anne, maud = world.people["anne"], world.people["maud"]
    ids = mine(world, anne)
    base = f"/v1/corpora/{CORPUS}/documents/{DOCUMENT}"
    read = [base, f"{base}/file", f"{base}/pages/1.png", f"{base}/articles/4", f"/v1/documents/{DOCUMENT}"]
    tags = {path: world.ask(anne, "GET", path).headers["etag"] for path in read}
    for path, tag in tags.items():
        assert world.ask(anne, "GET", path, headers={"If-None-Match": tag}).status_code == 304
    once = {"Idempotency-Key": "une-fois"}
    begun = world.ask(maud, "POST", f"/v1/corpora/{CORPUS}/sync", headers=once)
    assert begun.status_code == 202
    again = world.ask(maud, "POST", f"/v1/corpora/{CORPUS}/sync", headers=once)
    assert again.headers["Idempotency-Replayed"] == "true"

    if what == "corpus":
        world.declare(CORPUS, (NOBODY, 0))
    else:
        for document in (DOCUMENT, document_id(2)):
            world.restrict(CORPUS, document, (NOBODY, 0))

    for path, tag in tags.items():
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}, {}):
            assert world.ask(anne, "GET", path, headers=headers).status_code == 404
    # Each request is searched for marks of what may no longer be read.
    world.ask(anne, "GET", f"/v1/conversations/{ids['conversation']}/messages")
    world.ask(anne, "GET", "/v1/conversations/export")
    chat(world, anne, conversation=ids["conversation"])
    world.ask(anne, "POST", "/v1/search", json={"question": QUESTION, "limit": 50})
    world.ask(maud, "GET", f"/v1/corpora/{CORPUS}/feedback")
    world.ask(maud, "GET", "/v1/runs")
    replayed = world.ask(maud, "POST", f"/v1/corpora/{CORPUS}/sync", headers=once)
    if what == "corpus":
        assert replayed.status_code == 404, replayed.text


def test_a_run_that_is_followed_ends_for_whoever_loses_the_right(tmp_path: Path) -> None:
    """An open stream of events outlives neither its key nor the audience of its corpus."""
    for cut in ("key", "corpus"):
        (tmp_path / cut).mkdir()
        with running(PLAN, tmp_path / cut, live=True) as world:
            maud = world.people["maud"]
            run = world.parts.catalog.add_run(CORPUS, RunState.RUNNING)
            headers = {"Authorization": f"Bearer {world.secrets['maud']}", "Accept": "text/event-stream"}
            with world.client.stream("GET", f"/v1/runs/{run}", headers=headers, timeout=5) as followed:
                lines = followed.iter_lines()
                assert next(lines).startswith("data:")
                begun = dt.datetime.now(dt.UTC)
                if cut == "key":
                    world.revoke(maud.name)
                else:
                    world.declare(CORPUS, (NOBODY, 0))
                world.parts.catalog.start_run(run)
                rest = "".join(lines)
            assert "data:" not in rest
            assert (dt.datetime.now(dt.UTC) - begun).total_seconds() < 5
