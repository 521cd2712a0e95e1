"""Every answer leaves a record that can rebuild it, whatever becomes of it, or it is not given."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from rag import scope
from rag.api import create_app
from rag.audit import Records
from rag.database import Database
from rag.errors import BadRequest, DiskFull
from rag.recording import Asked, asked_in, finish, kept, recover, sha256
from rag.records import Draft, RecordKind
from rag.structured import read
from rag.types import Answer, Event, Moment, PassagesFound, Principal, Question, Role, Sampling, Turn
from tests.rag_server import LEAVE, QUESTION, Parts, Writer, parts, serving, slow_writer

ALICE = Principal("alice", frozenset({"agents"}), 1, roles=frozenset({Role.READER}))


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.database.close()


def asked(text: str = QUESTION, **more: object) -> Asked:
    return Asked("chatcmpl-1", Question(text, ALICE, **more), request="r-1")  # type: ignore[arg-type]  # a test's values


def answered(vauban: Parts, ask: Asked) -> Answer:
    return finish(vauban, ask, vauban.engine.answer(ask.question, sampling=ask.sampling))


def test_a_record_says_what_was_done_and_what_was_answered(vauban: Parts) -> None:
    """Scope, passages with hash and score, verdicts, model and settings in the body; who and what in the content."""
    answer = answered(vauban, asked(as_of=dt.date(2026, 1, 2)))
    record = vauban.records.read("chatcmpl-1")
    assert (record.kind, record.status, record.id) == (RecordKind.ANSWER, answer.status, "chatcmpl-1")
    body, content = record.body, record.content
    assert content is not None
    assert content["request"] == "r-1"
    assert body["ended"] == "finished"
    assert body["scope"] == {"snapshots": dict(answer.snapshots), "as_of": "2026-01-02", "source": "asked"}
    assert [(passage["chunk"], passage["score"]) for passage in body["passages"]] == [
        (passage.chunk.id, passage.score) for passage in answer.passages
    ]
    assert all(len(passage["sha256"]) == 64 and passage["snapshot"] == 1 for passage in body["passages"])
    assert [claim["verdict"] for claim in body["claims"]] == [one.claim.verdict for one in answer.claims]
    assert body["model"] == "fake-writer"
    assert body["models"]["embedder"] == vauban.embedder.fingerprint
    assert body["sampling"] == {"max_tokens": 320, "temperature": 0.0, "seed": 0}
    assert (content["name"], content["question"], content["text"]) == ("alice", QUESTION, answer.text)
    assert content["rights"] == {"groups": ["agents"], "clearance": 1, "corpora": None, "assistants": None}


def test_nothing_that_a_person_wrote_is_in_the_chain_itself(vauban: Parts) -> None:
    """Nor who they are, nor the text of a passage."""
    answered(vauban, asked(history=(Turn("user", "Et pour moi, Zoé ?"),)))
    with vauban.database.reading() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM records").all())
    assert not [words for words in ("alice", "agents", QUESTION, "Zoé", LEAVE, "25 jours") if words in rows]


def test_a_question_can_be_read_back_as_it_was_asked(vauban: Parts) -> None:
    """With its history, its form and its sampling, at the moment when it was asked."""
    form = read(
        {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": ["string", "null"]},
         "l": {"type": "array", "items": {"type": "string"}, "maxItems": 2}},
         "required": ["z", "a", "l"], "additionalProperties": False}
    )  # fmt: skip
    question = Question(QUESTION, ALICE, ("rh",), dt.date(2026, 1, 2), (Turn("user", "Bonjour"),), "fr")
    ask = Asked("chatcmpl-2", question, Sampling(99, 0.5, 7, ("fin",)), form, "r-2")
    finish(vauban, ask, vauban.engine.answer(question))
    record = vauban.records.read("chatcmpl-2")
    assert record.content is not None
    again = asked_in(record, record.content)
    assert again.question.moment == Moment({"rh": 1}, scope.today())
    assert (again.question.text, again.question.corpora, again.question.as_of) == (QUESTION, ("rh",), question.as_of)
    assert (again.question.history, again.question.language) == (question.history, "fr")
    assert (again.question.principal.owner, again.question.principal.groups) == (ALICE.owner, ALICE.groups)
    assert (again.form, again.sampling, again.id) == (form, ask.sampling, "chatcmpl-2")


def test_the_answer_is_handed_on_after_its_record_is_written(vauban: Parts) -> None:
    """Nobody holds a finished answer that has no record."""
    ask = asked()
    for event in kept(vauban, ask, vauban.engine.answer(ask.question)):
        assert vauban.records.head.count == (1 if isinstance(event, Answer) else 0)


def test_a_reader_who_leaves_leaves_a_record_of_what_was_shown(vauban: Parts) -> None:
    """The passages, and the sentences until then."""
    ask = asked()
    events = kept(vauban, ask, vauban.engine.answer(ask.question))
    found = next(events)
    assert isinstance(found, PassagesFound)
    assert isinstance(events, Iterator)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    record = vauban.records.read("chatcmpl-1")
    assert (record.status, record.body["error"]) == ("abandoned", None)
    assert [one["chunk"] for one in record.body["passages"]] == [one.chunk.id for one in found.passages]


def test_an_answer_that_breaks_leaves_a_record(vauban: Parts) -> None:
    """With the code of the error, and no word of it."""

    def broken() -> Iterator[Event]:
        yield PassagesFound((), "q", None)
        raise DiskFull("no")

    with pytest.raises(DiskFull):
        list(kept(vauban, asked(), broken()))
    record = vauban.records.read("chatcmpl-1")
    assert (record.status, record.body["error"]) == ("failed", "disk_full")


def test_a_question_that_is_refused_leaves_none(vauban: Parts) -> None:
    """It was not answered."""
    with pytest.raises(BadRequest):
        answered(vauban, asked("?"))
    assert vauban.records.head.count == 0


def test_an_answer_whose_record_cannot_be_written_is_not_given(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is another begun, until what was shown without a record has got one."""
    write = vauban.records._append

    def full(*_: object) -> None:
        raise DiskFull("full")

    monkeypatch.setattr(vauban.records, "_append", full)
    shown: list[Event] = []
    with pytest.raises(DiskFull):
        shown.extend(kept(vauban, asked(), vauban.engine.answer(asked().question)))
    assert shown
    assert not any(isinstance(event, Answer) for event in shown)
    with pytest.raises(DiskFull):
        next(iter(kept(vauban, asked(), vauban.engine.answer(asked().question))))
    monkeypatch.setattr(vauban.records, "_append", write)
    answered(vauban, Asked("chatcmpl-9", asked().question))
    first, second = (vauban.records.read(number) for number in "12")
    assert (first.status, first.body["error"], second.id) == ("failed", "disk_full", "chatcmpl-9")


def test_what_is_owed_is_written_when_the_program_ends(vauban: Parts) -> None:
    """If it can be written then."""
    vauban.records.owe(Draft(RecordKind.ANSWER, {}))
    vauban.records.close()
    assert vauban.records.head.count == 1


# --- through the API


def test_an_answer_of_the_api_is_on_record_when_it_ends(vauban: Parts) -> None:
    """Under the id that the client has, streamed or not; a stream whose record cannot be written ends in an error."""
    body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}
    with TestClient(create_app(vauban), base_url="http://127.0.0.1") as client:
        plain = client.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "anfrage-1"})
        record = vauban.records.read(plain.json()["id"])
        assert record.content is not None
        assert record.content["text"] == plain.json()["choices"][0]["message"]["content"]
        assert (record.content["request"], record.content["owner"]) == ("anfrage-1", vauban.local.owner)
        streamed = client.post("/v1/chat/completions", json=body | {"stream": True}).text
        ids = set(re.findall(r'"id":"(chatcmpl-[0-9a-f]+)"', streamed))
        assert [vauban.records.read(one).status for one in ids] == ["answered"]
        assert vauban.records.head.count == 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_the_api_without_a_record_is_an_error(
    vauban: Parts, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """507 where nothing was sent yet; in a stream an error event, and never the finished answer."""

    def full(*_: object) -> None:
        raise DiskFull("full")

    monkeypatch.setattr(vauban.records, "_append", full)
    body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
    with TestClient(create_app(vauban), base_url="http://127.0.0.1") as client:
        first = client.post("/v1/chat/completions", json=body)
        assert '"code":"disk_full"' in first.text
        assert '"status":"answered"' not in first.text
        assert first.status_code == (200 if stream else 507)
        assert client.post("/v1/chat/completions", json=body).status_code == 507


def test_a_client_that_goes_away_leaves_a_record(tmp_path: Path) -> None:
    """With what it had been sent."""
    vauban = parts(tmp_path, slow_writer())
    body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    with serving(create_app(vauban)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            first = next(response.iter_lines())
        passages = json.loads(first.removeprefix("data: "))["vauban"]["passages"]
        ends = time.monotonic() + 20
        while not vauban.records.head.count and time.monotonic() < ends:
            time.sleep(0.02)
    record = vauban.records.read("1")
    assert record.status == "abandoned"
    assert [one["chunk"] for one in record.body["passages"]] == [one["id"] for one in passages]
    vauban.database.close()


# --- a process that is killed ---------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from rag.recording import Asked, kept
from rag.types import Principal, Question, Sentence
from tests.rag_server import QUESTION, Writer, parts
vauban = parts(Path(sys.argv[1]), Writer())
asked = Asked("chatcmpl-1", Question(QUESTION, Principal("alice", frozenset({"agents"}))), request="r-1")
for event in kept(vauban, asked, vauban.engine.answer(asked.question)):
    if isinstance(event, Sentence):
        print(event.text, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_answer_whose_process_was_killed_is_recorded_at_the_next_start(tmp_path: Path, root: Path) -> None:
    """With the question, what was found and what was shown; once, and nothing of it stays beside the chain."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    home = next(path.parent for path in tmp_path.rglob("catalog.sqlite"))
    database = Database.open(home / "catalog.sqlite")
    records = Records.open(database, home)
    assert records.head.count == 0
    assert recover(records) == 1
    record = records.read("chatcmpl-1")
    assert (record.status, record.body["ended"]) == ("broken_off", "broken_off")
    assert record.body["scope"]["snapshots"]
    assert record.body["passages"]
    assert record.content is not None
    assert record.content["question"] == QUESTION
    assert record.content["text"] == done.stdout.removesuffix("\n") != ""
    assert record.content["text_sha256"] == sha256(record.content["text"])
    assert recover(records) == 0
    assert not list((home / ".answering").iterdir())
    assert records.verify().whole
    database.close()


def test_what_is_shown_is_noted_first_and_the_note_goes_with_the_record(vauban: Parts) -> None:
    """Whatever comes of the answer; a note of an answer that was recorded is no second record."""
    ask, folder = asked(), vauban.home.root / ".answering"
    for event in kept(vauban, ask, vauban.engine.answer(ask.question)):
        notes = [path.read_text() for path in folder.iterdir()]
        if isinstance(event, Answer):
            assert notes == []
        else:
            assert len(notes) == 1
    left = vauban.records.unfinished.begin()
    left.show(Draft(RecordKind.ANSWER, {}, {"text": ""}, ALICE.owner, "chatcmpl-1"))
    (folder / "begun").touch()  # nothing of it was shown
    assert recover(vauban.records) == 0
    assert list(folder.iterdir()) == []
    leaving = kept(vauban, asked(), vauban.engine.answer(ask.question))
    next(leaving)
    assert len(list(folder.iterdir())) == 1
    leaving.close()  # type: ignore[attr-defined]  # it is a generator
    assert list(folder.iterdir()) == []


def test_a_line_that_was_being_written_was_not_shown(vauban: Parts) -> None:
    """The others are; what was shown anew takes the place of what was shown before."""
    noted = vauban.records.unfinished.begin()
    noted.show(Draft(RecordKind.ANSWER, {"n": 1}, {"text": ""}, ALICE.owner, "chatcmpl-7"))
    noted.say("Un. ")
    noted.show(Draft(RecordKind.ANSWER, {"n": 2}, {"text": "Un. "}, ALICE.owner, "chatcmpl-7", "broken_off", ("rh",)))
    noted.say("Deux.")
    (path,) = (vauban.home.root / ".answering").iterdir()
    path.write_bytes(path.read_bytes() + b'{"text": "Tr')
    assert recover(vauban.records) == 1
    record = vauban.records.read("chatcmpl-7")
    assert (record.body, record.corpora, record.status) == ({"n": 2}, ("rh",), "broken_off")
    assert record.content is not None
    assert record.content["text"] == "Un. Deux."


def test_the_note_of_a_record_that_is_owed_goes_when_it_is_written(
    vauban: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed before that finds it at its next start."""

    def full(draft: Draft) -> int:
        raise DiskFull("full", "plein")

    folder = vauban.home.root / ".answering"
    with monkeypatch.context() as disk:
        disk.setattr(vauban.records, "append", full)
        with pytest.raises(DiskFull):
            answered(vauban, asked())
        assert len(list(folder.iterdir())) == 1
    vauban.records.settle()
    assert list(folder.iterdir()) == []
    assert vauban.records.head.count == 1
