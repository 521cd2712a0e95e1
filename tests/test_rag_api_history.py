"""The API of conversations and feedback: what a person may list, read, take along and delete, and nobody else may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rag import problems, schemas
from rag.api import create_app
from rag.types import Access, Corpus, Principal, Role
from tests.people import People
from tests.rag_server import LEAVE, QUESTION, Parts, Writer, parts

AGENTS = frozenset({"agents"})
ALICE = Principal("alice", AGENTS, access=Access.KEY)
BRUNO = Principal("bruno", AGENTS, access=Access.KEY)
DRH = Principal("drh", roles=frozenset({Role.MAINTAINER}), maintains=frozenset({"rh"}), access=Access.KEY)
CONVERSATIONS = "/v1/conversations"
NEVER = f"conv_{'0' * 44}"


@dataclass
class Desk:
    """A server that several people call."""

    client: TestClient
    vauban: Parts
    people: People
    writer: Writer

    def call(self, method: str, path: str, who: str = "alice", **more: Any) -> Any:
        return self.client.request(method, path, headers={"Authorization": f"Bearer {who}"}, **more)

    def get(self, path: str, who: str = "alice") -> Any:
        response = self.call("GET", path, who)
        assert response.status_code == 200, response.text
        return response.json()

    def begin(self, who: str = "alice", title: str = "") -> str:
        response = self.call("POST", CONVERSATIONS, who, json={"title": title})
        assert response.status_code == 201, response.text
        assert response.headers["location"] == f"{CONVERSATIONS}/{response.json()['id']}"
        return str(response.json()["id"])

    def ask(self, question: str = QUESTION, who: str = "alice", **options: object) -> str:
        """The id of the completion."""
        body = {"model": "vauban", "messages": [{"role": "user", "content": question}], "vauban": options}
        response = self.call("POST", "/v1/chat/completions", who, json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def judge(self, answer: str, who: str = "alice", **given: object) -> Any:
        return self.call("POST", "/v1/feedback", who, json={"answer": answer, "thumb": "up"} | given)

    def exported(self, who: str = "alice") -> list[dict[str, Any]]:
        response = self.call("GET", f"{CONVERSATIONS}/export", who)
        assert response.headers["content-type"].startswith("application/x-ndjson")
        assert "attachment" in response.headers["content-disposition"]
        return [json.loads(line) for line in response.text.splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    people, writer = People([ALICE, BRUNO, DRH]), Writer()
    vauban = parts(tmp_path, writer)
    with TestClient(create_app(vauban, identity=people), base_url="http://127.0.0.1:8080") as client:
        yield Desk(client, vauban, people, writer)
    vauban.database.close()


def refused(response: Any, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == problems.MEDIA_TYPE


def test_a_question_of_a_conversation_goes_on_with_it(desk: Desk) -> None:
    """What was said before need not be sent; both sides are kept, and given back with what stood beside them."""
    begun = desk.begin()
    first = desk.ask(conversation=begun)
    desk.ask("Et pour son report ?", conversation=begun)
    assert "la durée de son report" in str(desk.writer.prompts[-1])
    listed = desk.get(f"{CONVERSATIONS}/{begun}/messages")
    schemas.ConversationMessages.model_validate(listed)
    assert [one["role"] for one in listed["data"]] == ["user", "assistant"] * 2
    question, answer = listed["data"][:2]
    assert (question["content"], question["answer"]) == (QUESTION, first)
    assert LEAVE.rstrip(".") in answer["content"]
    assert answer["id"] == first
    assert "Règlement des congés" in {one["title"] for one in answer["vauban"]["passages"]}
    assert {one["text"] for one in answer["vauban"]["passages"]} == {""}
    described = desk.get(f"{CONVERSATIONS}/{begun}")
    assert (described["title"], described["exchanges"]) == (QUESTION, 2)


def test_a_streamed_answer_is_kept_as_well(desk: Desk) -> None:
    """Before its last event is sent: it can be judged at once."""
    begun = desk.begin()
    body = {
        "model": "vauban",
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION}],
        "vauban": {"conversation": begun},
    }
    streamed = desk.call("POST", "/v1/chat/completions", json=body).text
    answer = json.loads(streamed.split("data: ")[1])["id"]
    assert desk.judge(answer).status_code == 201
    assert desk.get(f"{CONVERSATIONS}/{begun}/messages")["data"][1]["id"] == answer


def test_a_question_of_anothers_conversation_is_not_asked(desk: Desk) -> None:
    """404 before any search, as for one that does not exist."""
    begun = desk.begin()
    body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}
    for of in (begun, NEVER):
        asked = desk.call("POST", "/v1/chat/completions", "bruno", json=body | {"vauban": {"conversation": of}})
        refused(asked, 404, "unknown_conversation")
    assert not desk.writer.prompts


def test_conversations_are_listed_a_page_at_a_time(desk: Desk) -> None:
    """The newest first, in OpenAI's shape; the last id of a page is its cursor."""
    made = [desk.begin() for _ in range(5)]
    desk.begin("bruno")
    first = desk.get(f"{CONVERSATIONS}?limit=2")
    assert [one["id"] for one in first["data"]] == [made[4], made[3]]
    assert (first["object"], first["has_more"], first["first_id"], first["last_id"], first["next"]) == (
        "list",
        True,
        made[4],
        made[3],
        made[3],
    )
    desk.call("DELETE", f"{CONVERSATIONS}/{made[3]}")
    last = desk.get(f"{CONVERSATIONS}?limit=10&after={first['last_id']}")
    assert [one["id"] for one in last["data"]] == made[2::-1]
    assert (last["has_more"], last["next"]) == (False, None)
    refused(desk.call("GET", f"{CONVERSATIONS}?after=x"), 400, "invalid_request")


def test_messages_are_listed_a_page_at_a_time(desk: Desk) -> None:
    """The oldest first, each once, wherever a page ends."""
    begun = desk.begin()
    for _ in range(3):
        desk.ask(conversation=begun)
    whole = [one["id"] for one in desk.get(f"{CONVERSATIONS}/{begun}/messages")["data"]]
    assert len(set(whole)) == 6
    for limit in (1, 2, 3, 5, 6, 100):
        seen: list[str] = []
        page: dict[str, Any] = {"has_more": True, "next": None}
        while page["has_more"]:
            after = f"&after={page['next']}" if page["next"] else ""
            page = desk.get(f"{CONVERSATIONS}/{begun}/messages?limit={limit}{after}")
            assert 0 < len(page["data"]) <= limit
            seen += [one["id"] for one in page["data"]]
        assert seen == whole


def test_a_withheld_answer_says_so_and_nothing_else(desk: Desk) -> None:
    """Nor does the export, nor a later question."""
    begun = desk.begin()
    desk.ask(conversation=begun)
    desk.vauban.catalog.declare(Corpus("rh", "Ressources humaines", groups=frozenset({"direction"})))
    _, answer = desk.get(f"{CONVERSATIONS}/{begun}/messages")["data"]
    assert (answer["content"], answer["vauban"], answer["withheld"]) == (None, None, True)
    (line,) = [one for one in desk.exported() if one.get("role") == "assistant"]
    assert line["withheld"]
    prompts = len(desk.writer.prompts)
    desk.ask("Et pour son report ?", conversation=begun)
    for response in (
        desk.call("GET", f"{CONVERSATIONS}/{begun}/messages"),
        desk.call("GET", f"{CONVERSATIONS}/export"),
    ):
        assert "25 jours" not in response.text
        assert "Règlement des congés" not in response.text
    assert "25 jours" not in str(desk.writer.prompts[prompts:])


def test_every_way_to_anothers_things_says_that_there_is_none(desk: Desk) -> None:
    """Word for word what is said of an id that never was, for each operation; and they are still there."""
    begun = desk.begin(title="CANARY-title")
    answer = desk.ask(conversation=begun)
    note = desk.judge(answer, comment="CANARY-comment").json()["id"]
    for foreign, unknown in ((begun, NEVER), (note, "0" * 32)):
        for method, path, body in (
            ("GET", "/v1/conversations/{}", None),
            ("GET", "/v1/conversations/{}/messages", None),
            ("PATCH", "/v1/conversations/{}", {"title": "x"}),
            ("DELETE", "/v1/conversations/{}", None),
            ("GET", "/v1/feedback/{}", None),
            ("DELETE", "/v1/feedback/{}", None),
        ):
            heard = [desk.call(method, path.format(of), "bruno", json=body).json() for of in (foreign, unknown)]
            assert heard[0]["status"] == 404
            assert heard[0] | {"instance": ""} == heard[1] | {"instance": ""}
    refused(desk.judge(answer, "bruno"), 404, "unknown_answer")
    refused(desk.judge(f"chatcmpl-{'f' * 32}", "bruno"), 404, "unknown_answer")
    for path in (CONVERSATIONS, "/v1/feedback", f"{CONVERSATIONS}/export", f"{CONVERSATIONS}?after={begun}"):
        assert "CANARY" not in desk.call("GET", path, "bruno").text
    desk.call("DELETE", CONVERSATIONS, "bruno")
    desk.call("DELETE", "/v1/feedback", "bruno")
    assert desk.get(f"{CONVERSATIONS}/{begun}")["title"] == "CANARY-title"
    assert desk.get(f"/v1/feedback/{note}")["comment"] == "CANARY-comment"


def test_feedback_is_read_replaced_and_deleted_by_its_giver(desk: Desk) -> None:
    """One judgement of each answer."""
    answers = [desk.ask() for _ in range(3)]
    for answer in answers:
        assert desk.judge(answer, thumb="down", reason="outdated", comment="Changé.").status_code == 201
    replaced = desk.judge(answers[0])
    assert replaced.status_code == 200
    first = desk.get("/v1/feedback?limit=2")
    assert [one["answer"] for one in first["data"]] == [answers[0], answers[2]]
    rest = desk.get(f"/v1/feedback?after={first['next']}")
    assert [(one["answer"], one["comment"]) for one in rest["data"]] == [(answers[1], "Changé.")]
    note = replaced.json()["id"]
    assert desk.get(f"/v1/feedback/{note}")["comment"] == ""
    assert desk.call("DELETE", f"/v1/feedback/{note}").status_code == 204
    refused(desk.call("GET", f"/v1/feedback/{note}"), 404, "unknown_feedback")
    assert desk.call("DELETE", "/v1/feedback").status_code == 204
    assert desk.get("/v1/feedback")["data"] == []
    refused(desk.call("GET", "/v1/feedback?after=forged"), 400, "invalid_cursor")


def test_maintainers_read_feedback_without_names(desk: Desk) -> None:
    """Of the corpora that they maintain, on answers of which they may read every source."""
    shown, hidden = desk.ask(corpora=["rh"]), desk.ask("Les repas pris en mission sont-ils remboursés ?")
    desk.judge(shown, comment="Le report manque.")
    desk.judge(hidden, comment="CANARY")
    received = desk.call("GET", "/v1/corpora/rh/feedback", "drh")
    assert received.status_code == 200
    schemas.ReceivedFeedbacks.model_validate(received.json())
    assert [one["comment"] for one in received.json()["data"]] == ["Le report manque."]
    assert "alice" not in received.text
    assert "CANARY" not in received.text
    refused(desk.call("GET", "/v1/corpora/rh/feedback", "alice"), 403, "forbidden")
    refused(desk.call("GET", "/v1/corpora/finances/feedback", "drh"), 404, "unknown_corpus")
    refused(desk.call("GET", "/v1/corpora/none/feedback", "drh"), 404, "unknown_corpus")


def test_an_export_is_one_object_on_each_line(desk: Desk) -> None:
    """Of every kind, each of them as the description says; those of others are not in it."""
    begun = desk.begin()
    desk.judge(desk.ask(conversation=begun), comment="Bien.")
    desk.ask()
    desk.ask(who="bruno")
    lines = desk.exported()
    kinds: dict[str, type[schemas.Sent]] = {
        "conversation": schemas.ExportedConversation,
        "message": schemas.ExportedMessage,
        "answer": schemas.ExportedAnswer,
        "feedback": schemas.ExportedFeedback,
    }
    for line in lines:
        kinds[line["type"]].model_validate(line)
    assert [line["type"] for line in lines] == ["conversation", "message", "message", "answer", "feedback"]
    assert lines[3]["rests_on"]


def test_after_deletion_and_upkeep_no_byte_stays_in_the_home(desk: Desk) -> None:
    """Not in what a repeated request would be answered with either."""
    for number in range(3):
        response = desk.client.post(
            CONVERSATIONS,
            headers={"Authorization": "Bearer alice", "Idempotency-Key": str(number)},
            json={"title": f"CANARY-{number}"},
        )
        desk.judge(desk.ask(conversation=response.json()["id"]), comment=f"CANARY-{number}")
    assert b"CANARY" in written(desk.vauban.home.root)
    assert desk.call("DELETE", CONVERSATIONS).status_code == 204
    assert desk.call("DELETE", "/v1/feedback").status_code == 204
    service = desk.client.app.state.service  # type: ignore[attr-defined]  # it is the application
    assert service.upkeep.once()
    assert b"CANARY" not in written(desk.vauban.home.root)
    assert desk.exported() == []


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_a_person_may_see_counts_at_each_reading(desk: Desk) -> None:
    """A credential that is limited to other corpora reads no answer that rests on these."""
    begun = desk.begin()
    desk.ask(conversation=begun)
    desk.people.replace(replace(ALICE, corpora=frozenset({"finances"})))
    assert desk.get(f"{CONVERSATIONS}/{begun}/messages")["data"][1]["withheld"]
    desk.people.replace(ALICE)
    assert not desk.get(f"{CONVERSATIONS}/{begun}/messages")["data"][1]["withheld"]


@pytest.mark.parametrize("body", [{"title": 1}, {"title": "x" * 201}, {"title": "x", "other": 1}, []])
def test_a_bad_title_is_refused(desk: Desk, body: object) -> None:
    assert desk.call("POST", CONVERSATIONS, json=body).status_code == 400
    assert desk.call("PATCH", f"{CONVERSATIONS}/{NEVER}", json=body).status_code == 400


def test_a_conversation_has_a_title_that_can_be_changed(desk: Desk) -> None:
    begun = desk.begin(title="Départ")
    changed = desk.call("PATCH", f"{CONVERSATIONS}/{begun}", json={"title": "Mutation"})
    assert (changed.status_code, changed.json()["title"]) == (200, "Mutation")
    assert desk.call("DELETE", f"{CONVERSATIONS}/{begun}").status_code == 204
    refused(desk.call("GET", f"{CONVERSATIONS}/{begun}"), 404, "unknown_conversation")
