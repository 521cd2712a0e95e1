"""Auditors look into the records over HTTP: only they, only as far as they may read, and not unseen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from rag.adapters.fake import OverlapReranker
from rag.api import create_app
from rag.api_service import served
from rag.keys import Keys
from rag.recording import Asked, finish
from rag.records import RecordKind, Wanted
from rag.settings import Login
from rag.types import Access, Principal, Question, Role, Turn
from tests.rag_server import LEAVE, MEALS, QUESTION, TOKEN, Parts, Writer, parts

SECRET_QUESTION: Final = "Combien de jours dure le congé annuel des agents secrets ?"
ALICE: Final = Principal("alice", frozenset({"agents"}), access=Access.KEY)
CHIEF: Final = Principal("chief", frozenset({"direction"}), access=Access.KEY)


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer(), OverlapReranker(), login=frozenset({Login.KEYS}))
    for number, (text, corpora) in enumerate(
        [(QUESTION, ("rh",)), (SECRET_QUESTION, ("secret",)), ("Limite des repas en mission ?", ("finances",))]
    ):
        person = CHIEF if corpora == ("secret",) else ALICE
        question = Question(text, person, corpora, history=(Turn("user", "Bonjour"), Turn("assistant", "Déjà dit.")))
        finish(made, Asked(f"chatcmpl-{number}", question), made.engine.answer(question))
    yield made
    made.database.close()


@pytest.fixture
def client(vauban: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(vauban, token=TOKEN), base_url="http://127.0.0.1:8080") as client:
        yield client


def key(vauban: Parts, name: str, *roles: Role, groups: tuple[str, ...] = (), clearance: int = 0) -> dict[str, str]:
    principal = Principal(name, frozenset(groups), clearance, roles=frozenset({Role.READER, *roles}), access=Access.KEY)
    _, secret = Keys(vauban.database).create(principal, 1)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def auditor(vauban: Parts) -> dict[str, str]:
    """Of nobody's group: they see the corpus of everyone."""
    return key(vauban, "zoe", Role.AUDITOR)


def got(client: TestClient, path: str, headers: dict[str, str], **more: Any) -> Any:
    response = client.get(path, headers=headers, **more)
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: Any, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


# --- who may


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/audit/records"),
        ("GET", "/v1/audit/records/1"),
        ("POST", "/v1/audit/records/1/replay"),
        ("GET", "/v1/audit/verify"),
        ("GET", "/v1/audit/export"),
        ("POST", "/v1/audit/erase"),
    ],
)
def test_only_the_roles_for_it_pass(client: TestClient, vauban: Parts, method: str, path: str) -> None:
    """Nobody without a key, no reader and no maintainer; and no auditor erases."""
    refused(client.request(method, path, json={}), 401, "key_required")
    for role in (Role.READER, Role.MAINTAINER):
        refused(client.request(method, path, json={}, headers=key(vauban, role, role)), 403, "forbidden")
    other = Role.AUDITOR if path.endswith("erase") else Role.ADMINISTRATOR
    refused(client.request(method, path, json={}, headers=key(vauban, "o", other)), 403, "forbidden")
    assert vauban.records.head.count == 3


# --- need to know


def test_the_content_is_shown_to_whoever_may_read_what_it_shows(client: TestClient, auditor: dict[str, str]) -> None:
    """With who asked; without what earlier answers said, which have records of their own."""
    found = got(client, "/v1/audit/records/chatcmpl-0", auditor)
    assert found["content_state"] == "present"
    assert (found["content"]["name"], found["content"]["question"]) == ("alice", QUESTION)
    assert LEAVE[:-1] in found["content"]["text"]
    assert found["content"]["history"] == [["user", "Bonjour"], ["assistant", None]]


def test_what_the_auditor_may_not_read_is_withheld_and_not_named(
    client: TestClient, vauban: Parts, auditor: dict[str, str]
) -> None:
    """Neither the question nor the corpus, its documents and its title, in any view."""
    seen = json.dumps(
        [
            got(client, "/v1/audit/records/2", auditor),
            got(client, "/v1/audit/records", auditor),
            client.get("/v1/audit/export?content=true", headers=auditor).text,
            client.post("/v1/audit/records/2/replay", headers=auditor).json(),
        ],
        ensure_ascii=False,
    )
    found = got(client, "/v1/audit/records/2", auditor)
    assert (found["content_state"], found["content"], found["corpora"]) == ("withheld", None, [])
    assert all(passage == {"n": passage["n"], "withheld": True} for passage in found["body"]["passages"])
    assert not re.findall(r'secret|"plans|60 jours|finances|frais', seen)
    assert got(client, "/v1/audit/records/2", key(vauban, "d", Role.AUDITOR, groups=("direction",)))["content"]


def test_a_document_of_a_narrower_audience_withholds_the_answer_that_shows_it(
    client: TestClient, vauban: Parts, auditor: dict[str, str]
) -> None:
    """As things stand now: one that was restricted since is not shown any more."""
    assert got(client, "/v1/audit/records/1", auditor)["content"]
    vauban.catalog.restrict("rh", "conges", {"direction"}, 0)
    found = got(client, "/v1/audit/records/1", auditor)
    assert found["content_state"] == "withheld"
    assert "25 jours" not in json.dumps(found)


def test_a_corpus_that_the_auditor_may_not_see_is_no_filter(client: TestClient, auditor: dict[str, str]) -> None:
    """It is not there, like one that does not exist."""
    for name in ("secret", "nulle-part"):
        refused(client.get(f"/v1/audit/records?corpus={name}", headers=auditor), 404, "unknown_corpus")
    assert [one["id"] for one in got(client, "/v1/audit/records?corpus=rh", auditor)["data"]] == ["chatcmpl-0"]


# --- looking is recorded


def test_who_looked_at_what_is_a_record(client: TestClient, vauban: Parts, auditor: dict[str, str]) -> None:
    """A record with its content, what one person asked, an export with contents, a replay; not what shows nothing."""
    client.get("/v1/audit/records", headers=auditor)
    client.get("/v1/audit/records/2", headers=auditor)
    client.get("/v1/audit/export", headers=auditor)
    client.get("/v1/audit/verify", headers=auditor)
    assert vauban.records.head.count == 3
    client.get("/v1/audit/records/1", headers=auditor)
    client.get("/v1/audit/records?owner=key:alice", headers=auditor)
    client.get("/v1/audit/export?content=true&since=1&limit=2", headers=auditor)
    client.post("/v1/audit/records/1/replay", headers=auditor)
    looks = vauban.records.page(Wanted(), after=3)
    assert [(one.kind, dict(one.body)) for one in looks] == [
        (RecordKind.VIEW, {"records": [[1, 1]]}),
        (RecordKind.VIEW, {"records": [[1, 1], [3, 3]], "of_one_person": True}),
        (RecordKind.EXPORT, {"records": [[2, 3]]}),
        (RecordKind.REPLAY, {"record": 1, "equal": True, "differences": []}),
    ]
    assert all(one.content is not None and one.content["name"] == "zoe" for one in looks)


# --- lists, exports, verification, replay, erasure


def test_a_list_is_read_a_page_at_a_time(client: TestClient, auditor: dict[str, str]) -> None:
    """The newest first, without contents, to the end."""
    ids, after = [], ""
    while True:
        found = got(client, f"/v1/audit/records?limit=2{after}", auditor)
        ids += [one["seq"] for one in found["data"]]
        assert all(one["content"] is None for one in found["data"])
        if not found["has_more"]:
            break
        after = f"&after={found['next']}"
    assert ids == [3, 2, 1]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=hier", 400),
        ("from=0001-01-01", 200),
        ("to=9999-12-31", 200),
        ("kind=rien", 400),
        ("after=x", 400),
        ("limit=0", 400),
        ("owner=%00", 200),
        ("status=" + "x" * 401, 400),
    ],
)
def test_bad_conditions_are_refused(client: TestClient, auditor: dict[str, str], query: str, status: int) -> None:
    """And odd ones find nothing or everything."""
    assert client.get(f"/v1/audit/records?{query}", headers=auditor).status_code == status


def test_an_export_goes_on_where_the_last_one_ended(client: TestClient, auditor: dict[str, str]) -> None:
    """A line for each record, each with the hash that seals it."""
    lines = client.get("/v1/audit/export", headers=auditor).text.splitlines()
    first = [json.loads(line) for line in lines]
    assert [one["seq"] for one in first] == [1, 2, 3]
    assert [one["previous"] for one in first[1:]] == [one["hash"] for one in first[:-1]]
    assert all(one["content"] is None for one in first)
    assert client.get("/v1/audit/export?since=3", headers=auditor).text == ""


def test_a_tampered_chain_is_told_over_http(client: TestClient, vauban: Parts, auditor: dict[str, str]) -> None:
    """And which record, in the caller's language."""
    whole = got(client, "/v1/audit/verify", auditor)
    assert (whole["whole"], whole["records"], whole["findings"]) == (True, 3, [])
    assert got(client, "/v1/audit/verify", auditor, params={"head": whole["head"]})["whole"]
    with vauban.database.writing() as connection:
        connection.exec_driver_sql("UPDATE records SET status = 'refused' WHERE seq = 2")
    found = got(client, "/v1/audit/verify", auditor, params={"head": f"9:{'a' * 64}"})
    assert [(one["finding"], one["seq"], one["last"]) for one in found["findings"]] == [
        ("altered", 2, None),
        ("truncated", 4, 9),
    ]
    assert found["findings"][0]["detail"] == "cette trace a été modifiée ou déplacée"
    refused(client.get("/v1/audit/verify?head=x", headers=auditor), 400, "bad_head")


def test_a_replay_says_whether_it_is_the_same_and_shows_nothing(client: TestClient, auditor: dict[str, str]) -> None:
    """Also of an answer whose content the auditor may not see."""
    for number in (1, 2, 3):
        done = client.post(f"/v1/audit/records/{number}/replay", headers=auditor)
        assert (done.json()["equal"], done.json()["differences"]) == (True, [])
        assert not [words for words in (LEAVE, MEALS, "60 jours") if words in done.text]
    refused(client.post("/v1/audit/records/99/replay", headers=auditor), 404, "unknown_record")


def test_an_administrator_of_some_corpora_erases_nothing(client: TestClient, vauban: Parts) -> None:
    """What is erased of a person, or from before a day, was said on any corpus."""
    roles = frozenset({Role.READER, Role.ADMINISTRATOR})
    _, secret = Keys(vauban.database).create(
        Principal("branch", roles=roles, corpora=frozenset({"rh"}), access=Access.KEY), 1
    )
    headers = {"Authorization": f"Bearer {secret}"}
    refused(client.post("/v1/audit/erase", json={"person": "alice"}, headers=headers), 403, "forbidden")
    assert vauban.records.read("1").content


def test_one_auditor_has_few_replays_and_verifications_under_way(
    client: TestClient, vauban: Parts, auditor: dict[str, str]
) -> None:
    """One who asks for more is told to wait; another is not."""
    service = served(Request({"type": "http", "app": client.app}))
    with service.auditing.held("key:zoe"), service.auditing.held("key:zoe"):
        refused(client.post("/v1/audit/records/1/replay", headers=auditor), 429, "too_many_of_yours")
        refused(client.get("/v1/audit/verify", headers=auditor), 429, "too_many_of_yours")
        assert got(client, "/v1/audit/verify", key(vauban, "yves", Role.AUDITOR))["whole"]
    assert got(client, "/v1/audit/verify", auditor)["whole"]


def test_the_server_s_own_user_erases_a_person(client: TestClient, vauban: Parts, auditor: dict[str, str]) -> None:
    """What is gone is told from what is withheld, and cannot be given again; the chain is whole."""
    own = {"Authorization": f"Bearer {TOKEN}"}
    refused(client.post("/v1/audit/erase", json={}, headers=own), 400, "bad_erasure")
    refused(client.post("/v1/audit/erase", json={"answer": "a", "person": "b"}, headers=own), 400, "bad_erasure")
    done = client.post("/v1/audit/erase", json={"person": "alice"}, headers=own).json()
    assert done == {"erased": 2, "seq": 4, "scrubbed": done["scrubbed"]}
    states = [got(client, f"/v1/audit/records/{number}", auditor)["content_state"] for number in (1, 2, 3)]
    assert states == ["erased", "withheld", "erased"]
    refused(client.post("/v1/audit/records/1/replay", headers=auditor), 409, "record_erased")
    verified = got(client, "/v1/audit/verify", auditor)
    assert (verified["whole"], verified["erased"]) == (True, 2)
    assert "alice" not in client.get("/v1/audit/export?content=true", headers=own).text
    assert vauban.records.read("4").body == {"reason": "person", "records": [[1, 1], [3, 3]]}
