"""An audited answer can be given again, with the same passages and the same words, whatever was published since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag.erasure import Erasing
from rag.errors import BadRequest, Conflict
from rag.recording import Asked, finish, kept
from rag.records import Draft, RecordKind
from rag.replaying import Difference, replay, rights_now
from rag.types import Access, Corpus, Principal, Question, Synonyms, Turn
from tests.rag_server import MEALS, QUESTION, Parts, Writer, chunk, document, parts

ALICE = Principal("alice", frozenset({"agents"}), access=Access.KEY)


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.database.close()


def ask(vauban: Parts, number: int, question: Question) -> None:
    finish(vauban, Asked(f"chatcmpl-{number}", question), vauban.engine.answer(question))


def publish_more(vauban: Parts) -> None:
    """Another state of the corpora: a text that answers better, and more texts, which change every score."""
    for corpus in ("rh", "finances"):
        new = document(corpus, "nouveau", "Congé annuel et repas")
        rules = [
            chunk(new, "Article 1", "La durée du congé annuel est de 99 jours ouvrés.", 0),
            chunk(new, "Article 2", "Les repas pris en mission sont remboursés dans la limite de 99 euros.", 1),
        ]
        vauban.publish(corpus, [(new, rules)])


QUESTIONS = (
    QUESTION, "Combien de jours de congé par an ?", "Le report des congés est-il soumis à accord ?",
    "Quelle est la limite de remboursement des repas en mission ?", "Qui remplace le régisseur ?",
    "Quand commencent les horaires d'été ?", "Bonjour", "Que dit l'article 4 du règlement des congés ?",
    "Quel est le prix du café ?", "How long is annual leave?",
)  # fmt: skip


def test_fifty_answers_are_given_again_after_the_corpus_has_moved_on(vauban: Parts) -> None:
    """The same passages, scores and words each time."""
    scopes: tuple[tuple[str, ...] | None, ...] = (None, ("rh",), ("finances",), ("rh", "finances"), None)
    number = 0
    for place, corpora in enumerate(scopes):
        history = (Turn("user", QUESTION), Turn("assistant", "25 jours [1].")) if place == 4 else ()
        for text in QUESTIONS:
            ask(vauban, number, Question(text, ALICE, corpora, dt.date(2026, 3, 1), history))
            number += 1
    publish_more(vauban)
    replays = [replay(vauban, vauban.records.read(f"chatcmpl-{one}")) for one in range(number)]
    assert number == 50
    assert [(one.record.seq, one.differences) for one in replays if not one.equal or one.differences] == []
    assert sum(bool(one.record.body["passages"]) for one in replays) > 30
    now = Question(QUESTION, ALICE, as_of=dt.date(2026, 3, 1))
    assert "99" in vauban.engine.finish(now).text, "the corpus has moved on"


def test_another_model_is_said(vauban: Parts) -> None:
    """The passages are the same, and the words need not be."""
    ask(vauban, 1, Question(QUESTION, ALICE))
    vauban.making = replace(vauban.making, generator="other")
    vauban.engine.generator = Writer(words=["Rien."])
    done = replay(vauban, vauban.records.read("1"))
    assert (done.passages, done.answer) == (True, False)
    assert done.differences == (Difference.GENERATOR, Difference.STATUS, Difference.ANSWER)


def test_what_is_said_of_a_corpus_is_part_of_what_an_answer_is_made_with(vauban: Parts) -> None:
    """Its glossary and its contact are in no snapshot."""
    ask(vauban, 1, Question(QUESTION, ALICE))
    rh = vauban.catalog.corpus("rh")
    vauban.catalog.declare(replace(rh, contact="autre@exemple.test", glossary=Synonyms(same=(("RTT", "repos"),))))
    assert Difference.CORPUS_TERMS in replay(vauban, vauban.records.read("1")).differences


def test_neither_replay_nor_time_brings_a_wider_access_back(vauban: Parts) -> None:
    """A corpus that was closed to whoever asked is closed to the replay, and so is a document."""
    ask(vauban, 1, Question("Quelle est la limite pour un repas en mission ?", ALICE))
    assert MEALS[:10] in str(vauban.engine.search(Question("repas en mission", ALICE)))
    vauban.store.restrict("finances", "frais", {"direction"}, 0)
    vauban.catalog.restrict("finances", "frais", {"direction"}, 0)
    done = replay(vauban, vauban.records.read("1"))
    assert Difference.PASSAGES in done.differences
    assert done.given is not None
    assert "frais" not in {passage.chunk.document for passage in done.given.passages}
    vauban.catalog.declare(Corpus("finances", "Finances", groups=frozenset({"direction"})))
    done = replay(vauban, vauban.records.read("1"))
    assert Difference.CORPUS_HIDDEN in done.differences
    assert done.given is not None
    assert {passage.chunk.corpus for passage in done.given.passages} <= {"rh"}


def test_a_corpus_that_was_asked_for_and_is_closed_is_said(vauban: Parts) -> None:
    """It is not found, as for anybody."""
    ask(vauban, 1, Question("Quelle est la limite pour un repas en mission ?", ALICE, ("finances",)))
    vauban.catalog.declare(Corpus("finances", "Finances", groups=frozenset({"direction"})))
    done = replay(vauban, vauban.records.read("1"))
    assert (done.equal, done.given, done.differences[-1]) == (False, None, Difference.CORPUS_HIDDEN)


def test_the_local_person_has_no_more_rights_than_today() -> None:
    """The settings say which; of others the provider says, and the rules of the corpora hold."""
    then = Principal("local", frozenset({"a", "b"}), 3)
    now = rights_now(then, Principal("local", frozenset({"b", "c"}), 1))
    assert (now.groups, now.clearance) == (frozenset({"b"}), 1)
    assert rights_now(ALICE, now) == ALICE


def test_a_snapshot_that_is_no_longer_kept_is_said(vauban: Parts) -> None:
    """Its texts are gone; nothing can be compared."""
    ask(vauban, 1, Question(QUESTION, ALICE))
    publish_more(vauban)
    vauban.catalog.give_up("rh", [1])
    done = replay(vauban, vauban.records.read("1"))
    assert (done.equal, done.differences) == (False, (Difference.SNAPSHOT_GONE,))


def test_an_unfinished_answer_is_compared_by_its_passages(vauban: Parts) -> None:
    """There are no whole words to compare."""
    question = Question(QUESTION, ALICE)
    events = kept(vauban, Asked("chatcmpl-1", question), vauban.engine.answer(question))
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    done = replay(vauban, vauban.records.read("1"))
    assert (done.equal, done.answer, done.differences) == (True, None, ())


def test_what_was_erased_cannot_be_replayed(vauban: Parts) -> None:
    """Nobody knows any more what was asked; nor can what is no answer."""
    ask(vauban, 1, Question(QUESTION, ALICE))
    vauban.records.erase(Erasing(person="alice"), Draft(RecordKind.ERASURE, {}, {}, "server:local"))
    with pytest.raises(Conflict):
        replay(vauban, vauban.records.read("1"))
    with pytest.raises(BadRequest):
        replay(vauban, vauban.records.read("2"))


def test_what_a_replay_finds_is_not_found_once_more(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor who looks at one answer makes no text look sought after."""
    counted: list[object] = []
    monkeypatch.setattr(vauban.engine, "_found", counted.append)
    ask(vauban, 1, Question(QUESTION, ALICE))
    assert len(counted) == 1
    assert replay(vauban, vauban.records.read("1")).equal
    assert len(counted) == 1


def test_a_replay_leaves_no_record_of_an_answer_and_no_state_at_the_model(vauban: Parts) -> None:
    """Nobody was answered; what the model read is forgotten."""
    ask(vauban, 1, Question(QUESTION, ALICE))
    replay(vauban, vauban.records.read("1"))
    assert vauban.records.head.count == 1
