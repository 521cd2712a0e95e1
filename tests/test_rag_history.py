"""The store of what belongs to a person: theirs alone, as far as they may still read it, and gone when deleted."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rag import feedback, history
from rag.database import Database, metadata
from rag.errors import Conflict, NotFound
from rag.feedback import Feedback
from rag.history import Asked, Conversation, Exchange, History, NotedAnswer, Past
from rag.types import Access, Answer, Corpus, Event, Passage, Principal, Sentence, Status, Turn
from tests import older_database
from tests.postgres_server import PostgresServer
from tests.rag_server import chunk, document

ALICE = Principal("alice", frozenset({"agents"}), access=Access.KEY)
BRUNO = Principal("bruno", frozenset({"agents"}), access=Access.KEY)
AGENTS = (frozenset({"agents"}), 0)
NOBODY = (frozenset[str](), 0)
Audience = tuple[frozenset[str], int]


@dataclass
class Shelf:
    """Two corpora whose documents have the audiences that a test gives them."""

    groups: dict[str, frozenset[str]] = field(
        default_factory=lambda: {"rh": frozenset({"*"}), "finances": frozenset({"agents"})}
    )
    documents: dict[tuple[str, str], list[Audience]] = field(default_factory=dict)

    def corpora(self) -> list[Corpus]:
        return [Corpus(name, name, groups=groups) for name, groups in self.groups.items()]

    def audiences(self, corpus: str, documents: Collection[str] | None = None) -> dict[str, frozenset[Audience]]:
        return {
            name: frozenset(audiences)
            for (of, name), audiences in self.documents.items()
            if of == corpus and audiences and (documents is None or name in documents)
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "catalog.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(documents={("rh", "conges"): [AGENTS], ("rh", "primes"): [AGENTS], ("finances", "frais"): [AGENTS]})


@pytest.fixture
def database(where: Path | str) -> Iterator[Database]:
    opened = Database.open(where)
    yield opened
    opened.close()


@pytest.fixture
def kept(database: Database, shelf: Shelf) -> History:
    return History(database, shelf, days=90)


NUMBERS = itertools.count(1)


def answer(*sources: tuple[str, str], text: str = "25 jours [1].", status: Status = Status.ANSWERED) -> Answer:
    """An answer that shows one passage of each source."""
    passages = [
        Passage(n, chunk(document(corpus, name, f"Titre de {name}"), "Article 4", f"PASSAGE de {name}"), 1.0)
        for n, (corpus, name) in enumerate(sources, start=1)
    ]
    return Answer(status, text, "fr", "Question seule ?", passages=tuple(passages), snapshots={"rh": 1, "finances": 2})


def asked(text: str = "Combien de jours ?", past: Past | None = None, created: int | None = None) -> Asked:
    now = int(dt.datetime.now(dt.UTC).timestamp())
    return Asked(f"chatcmpl-{next(NUMBERS):032x}", created or now, text, past)


def say(
    kept: History, who: Principal, conversation: str, *sources: tuple[str, str], text: str = "25 jours [1]."
) -> str:
    """Ask one more question in a conversation; the id of the answer."""
    question = asked(past=kept.past(who, conversation))
    kept.keep(who, question, answer(*sources, text=text))
    return question.id


def read(kept: History, who: Principal, conversation: str) -> list[Exchange]:
    return kept.exchanges(who, conversation, 0, 100)


CONGES, PRIMES, FRAIS = ("rh", "conges"), ("rh", "primes"), ("finances", "frais")


# --- conversations -------------------------------------------------------------------------------------


def test_a_conversation_gives_back_what_was_said(kept: History) -> None:
    """Both sides in order, with what stood beside the answer but for the texts of its passages."""
    begun = kept.begin(ALICE.owner)
    first = say(kept, ALICE, begun.id, CONGES)
    say(kept, ALICE, begun.id, FRAIS, text="20 euros [1].")
    exchanges = read(kept, ALICE, begun.id)
    assert [(one.number, one.question, one.text) for one in exchanges] == [
        (1, "Combien de jours ?", "25 jours [1]."),
        (2, "Combien de jours ?", "20 euros [1]."),
    ]
    assert exchanges[0].id == first
    assert exchanges[0].vauban is not None
    assert [(one.title, one.text) for one in exchanges[0].vauban.passages] == [("Titre de conges", "")]
    assert kept.conversation(ALICE.owner, begun.id).exchanges == 2


def test_a_conversation_takes_its_first_question_for_a_title(kept: History) -> None:
    """Cut where it is long; a title that was given stays."""
    untitled, titled = kept.begin(ALICE.owner), kept.begin(ALICE.owner, "Mutation")
    for one in (untitled, titled):
        kept.keep(ALICE, asked("Combien  de jours " * 20, kept.past(ALICE, one.id)), answer())
    said = kept.conversation(ALICE.owner, untitled.id).title
    assert said.startswith("Combien de jours")
    assert said.endswith("…")
    assert len(said) <= history.TITLE_OF_QUESTION
    assert kept.conversation(ALICE.owner, titled.id).title == "Mutation"
    assert kept.rename(ALICE.owner, titled.id, "Départ").title == "Départ"


def test_a_question_goes_on_with_the_latest_exchanges(kept: History) -> None:
    """As many as may fit beside passages, the oldest first."""
    begun = kept.begin(ALICE.owner)
    for number in range(history.REMEMBERED + 2):
        say(kept, ALICE, begun.id, CONGES, text=f"Réponse {number}.")
    turns = kept.past(ALICE, begun.id).turns
    assert len(turns) == 2 * history.REMEMBERED
    assert turns[:2] == (Turn("user", "Combien de jours ?"), Turn("assistant", "Réponse 2."))
    assert turns[-1] == Turn("assistant", f"Réponse {history.REMEMBERED + 1}.")


def test_there_is_an_end_to_conversations_and_to_each(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both limits are said before a question is answered."""
    monkeypatch.setattr(history, "MOST_CONVERSATIONS", 2)
    monkeypatch.setattr(history, "MOST_EXCHANGES", 1)
    begun = kept.begin(ALICE.owner)
    kept.begin(ALICE.owner)
    with pytest.raises(Conflict) as raised:
        kept.begin(ALICE.owner)
    assert raised.value.code == "too_many_conversations"
    kept.begin(BRUNO.owner)
    say(kept, ALICE, begun.id)
    with pytest.raises(Conflict) as raised:
        kept.past(ALICE, begun.id)
    assert raised.value.code == "conversation_full"


def test_the_ids_of_conversations_are_in_order_and_beyond_guessing(kept: History) -> None:
    """128 random bits each."""
    made = [kept.begin(ALICE.owner).id for _ in range(20)]
    assert len({one[-32:] for one in made}) == len(made)
    listed = kept.conversations(ALICE.owner, None, 100)
    assert [one.id for one in listed] == sorted(made, reverse=True)
    assert [one.id for one in kept.conversations(ALICE.owner, listed[4].id, 3)] == [one.id for one in listed[5:8]]


def test_an_answer_is_kept_before_it_is_passed_on(kept: History) -> None:
    """And a reader who leaves closes the engine; what comes before the answer is passed on as it is."""
    question, closed = asked(), []

    def engine() -> Iterator[Event]:
        try:
            yield Sentence("25 jours [1].")
            yield answer(CONGES)
        finally:
            closed.append(True)

    for made in kept.kept(engine(), ALICE, question):
        if isinstance(made, Answer):
            assert kept.feedback.judge(ALICE, answer=question.id, thumb="up")[1]
    leaving = kept.kept(engine(), ALICE, asked())
    next(leaving)
    leaving.close()  # type: ignore[attr-defined]  # it is a generator
    assert closed == [True, True]


def test_an_answer_that_cannot_be_kept_is_given(kept: History, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which error it was, and nothing of the words."""
    question = asked("MOT SECRET")
    kept.keep(ALICE, question, answer(CONGES))
    assert [*kept.kept(iter([answer(CONGES)]), ALICE, question)] == [answer(CONGES)]
    assert "could not be kept" in caplog.text
    assert "SECRET" not in caplog.text


def test_where_no_history_is_kept_nothing_is(database: Database, shelf: Shelf) -> None:
    """What was kept before goes; any answer may be judged, since nobody knows whose it is."""
    before = History(database, shelf, days=90)
    begun = before.begin(ALICE.owner)
    say(before, ALICE, begun.id, CONGES)
    none = History(database, shelf, days=0)
    none.expire(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
    assert list(none.export(ALICE)) == []
    with pytest.raises(Conflict) as raised:
        none.begin(ALICE.owner)
    assert raised.value.code == "no_history"
    none.keep(ALICE, asked(), answer(CONGES))
    assert list(none.export(ALICE)) == []
    note, _ = none.feedback.judge(ALICE, answer="chatcmpl-x", thumb="up")
    assert note.rests_on is None


# --- what may no longer be read ------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["corpus", "document", "clearance", "gone", "credential", "another version"])
def test_an_answer_is_withheld_from_who_may_no_longer_read_a_passage(kept: History, shelf: Shelf, change: str) -> None:
    """Its words, the titles and all that stood beside them; the question is its asker's, and stays."""
    begun = kept.begin(ALICE.owner)
    say(kept, ALICE, begun.id, CONGES, PRIMES)
    who = ALICE
    match change:
        case "corpus":
            shelf.groups["rh"] = frozenset({"direction"})
        case "document":
            shelf.documents[PRIMES] = [NOBODY]
        case "clearance":
            shelf.documents[PRIMES] = [(AGENTS[0], 1)]
        case "gone":
            del shelf.documents[PRIMES]
        case "credential":
            who = replace(ALICE, corpora=frozenset({"finances"}))
        case "another version":
            shelf.documents[PRIMES] = [AGENTS, NOBODY]
    (exchange,) = read(kept, who, begun.id)
    assert (exchange.withheld, exchange.text, exchange.vauban) == (True, None, None)
    assert exchange.question == "Combien de jours ?"
    assert kept.past(who, begun.id) == Past(begun.id)


def test_an_answer_after_a_withheld_one_is_withheld_when_it_was_history_of_it(kept: History, shelf: Shelf) -> None:
    """Its question may have been understood by those words. One asked since then may be read."""
    begun = kept.begin(ALICE.owner)
    say(kept, ALICE, begun.id, PRIMES)
    say(kept, ALICE, begun.id, CONGES)
    shelf.documents[PRIMES] = [NOBODY]
    say(kept, ALICE, begun.id, CONGES)
    assert [one.withheld for one in read(kept, ALICE, begun.id)] == [True, True, False]
    assert len(kept.past(ALICE, begun.id).turns) == 2
    shelf.documents[PRIMES] = [AGENTS]
    assert not any(one.withheld for one in read(kept, ALICE, begun.id))


def test_other_corpora_that_were_searched_show_only_while_they_may_be_seen(kept: History, shelf: Shelf) -> None:
    """An answer that rests on none of them stays; a reply that is none speaks of them all, and is withheld."""
    begun, other = kept.begin(ALICE.owner), kept.begin(ALICE.owner)
    told = replace(answer(CONGES), contact="daf@exemple.test")
    kept.keep(ALICE, asked(past=kept.past(ALICE, begun.id)), told)
    unclear = replace(answer(status=Status.NEEDS_CLARIFICATION), contact="daf@exemple.test")
    kept.keep(ALICE, asked(past=kept.past(ALICE, other.id)), unclear)
    shelf.groups["finances"] = frozenset({"direction"})
    (exchange,) = read(kept, ALICE, begun.id)
    assert exchange.vauban is not None
    assert exchange.vauban.snapshots == {"rh": 1}
    assert exchange.vauban.contact == ""
    assert read(kept, ALICE, other.id)[0].withheld


# --- whose it is ---------------------------------------------------------------------------------------


def test_what_is_anothers_is_as_unknown_as_what_never_was(kept: History) -> None:
    """Every way to it says the same, word for word."""
    begun = kept.begin(ALICE.owner)
    given = say(kept, ALICE, begun.id, CONGES)
    note, _ = kept.feedback.judge(ALICE, answer=given, thumb="up")
    for who in (BRUNO, replace(ALICE, access=Access.OIDC)):
        for foreign, unknown in (
            (begun.id, f"conv_{'0' * 44}"),
            (note.id, "0" * 32),
            (given, f"chatcmpl-{'f' * 32}"),
        ):
            assert said(kept, who, foreign) == said(kept, who, unknown)
    assert read(kept, ALICE, begun.id)
    assert kept.feedback.one(ALICE.owner, note.id) == note


def said(kept: History, who: Principal, of: str) -> list[tuple[str, str]]:
    """What each way to a thing answers."""
    ways = (
        lambda: kept.conversation(who.owner, of),
        lambda: kept.past(who, of),
        lambda: kept.exchanges(who, of, 0, 10),
        lambda: kept.rename(who.owner, of, "x"),
        lambda: kept.delete(who.owner, of),
        lambda: kept.feedback.one(who.owner, of),
        lambda: kept.feedback.delete(who.owner, of),
        lambda: kept.feedback.judge(who, answer=of, thumb="down"),
    )
    heard = []
    for way in ways:
        with pytest.raises(NotFound) as raised:
            way()
        heard.append((raised.value.code, raised.value.en))
    return heard


# --- feedback ------------------------------------------------------------------------------------------


def test_a_second_judgement_takes_the_place_of_the_first(kept: History) -> None:
    """One for each person and answer."""
    question = asked()
    kept.keep(ALICE, question, answer(CONGES))
    first, new = kept.feedback.judge(ALICE, answer=question.id, thumb="down", reason="outdated", comment="Changé.")
    assert new
    second, new = kept.feedback.judge(ALICE, answer=question.id, thumb="up")
    assert not new
    assert (second.id, second.thumb, second.reason, second.comment) == (first.id, "up", None, "")
    assert kept.feedback.given(ALICE.owner, None, 10) == [second]
    kept.feedback.delete(ALICE.owner, second.id)
    assert kept.feedback.all() == []


def test_maintainers_read_feedback_only_where_they_may_read_every_source(kept: History, shelf: Shelf) -> None:
    """On answers that rest on their corpus; a comment may quote any of the others."""
    notes = {}
    for sources in ((CONGES,), (CONGES, FRAIS), (FRAIS,), (PRIMES,)):
        question = asked()
        kept.keep(ALICE, question, answer(*sources))
        notes[sources] = kept.feedback.judge(ALICE, answer=question.id, thumb="up")[0]
    shelf.groups["finances"] = frozenset({"comptables"})
    shelf.documents[PRIMES] = [NOBODY]
    assert kept.feedback.on(BRUNO, "rh", None, 10) == [notes[(CONGES,)]]
    shelf.groups["finances"] = frozenset({"agents"})
    found = kept.feedback.on(BRUNO, "rh", None, 10)
    assert found == [notes[(CONGES, FRAIS)], notes[(CONGES,)]]
    first = (found[0].created.isoformat(), found[0].id)
    assert kept.feedback.on(BRUNO, "rh", first, 10) == found[1:]
    assert kept.feedback.on(BRUNO, "rh", None, 1) == found[:1]


@pytest.mark.parametrize("days", [0, 90])
def test_there_is_an_end_to_what_one_person_judges(
    database: Database, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Also where no history says which answers were theirs; what was judged may be judged again, and deleted."""
    monkeypatch.setattr(feedback, "MOST_FEEDBACK", 2)
    kept = History(database, shelf, days)
    answers = [asked_id(kept) for _ in range(3)]
    notes = [kept.feedback.judge(ALICE, answer=one, thumb="up")[0] for one in answers[:2]]
    with pytest.raises(Conflict) as raised:
        kept.feedback.judge(ALICE, answer=answers[2], thumb="up")
    assert raised.value.code == "too_much_feedback"
    assert not kept.feedback.judge(ALICE, answer=answers[0], thumb="down")[1]
    kept.feedback.judge(BRUNO, answer=asked_id(kept, BRUNO), thumb="up")
    kept.feedback.delete(ALICE.owner, notes[1].id)
    assert kept.feedback.judge(ALICE, answer=answers[2], thumb="up")[1]


def test_what_was_thought_of_a_corpus_is_found_without_reading_the_rest(
    kept: History, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an index, in its order, from the first page as from any other; and over many batches."""
    monkeypatch.setattr(feedback, "_BATCH", 2)
    notes = []
    for sources in ((CONGES,), (FRAIS,), (CONGES, PRIMES), (FRAIS,), (CONGES, FRAIS)):
        question = asked()
        kept.keep(ALICE, question, answer(*sources))
        notes.append(kept.feedback.judge(ALICE, answer=question.id, thumb="up")[0])
    again, _ = kept.feedback.judge(ALICE, answer=notes[0].answer, thumb="down")
    assert kept.feedback.on(BRUNO, "rh", None, 10) == [again, notes[4], notes[2]]
    kept.feedback.delete(ALICE.owner, notes[4].id)
    assert kept.feedback.on(BRUNO, "rh", (again.created.isoformat(), again.id), 10) == [notes[2]]
    if database.shared:
        return  # PostgreSQL reads tables of a few rows as a whole
    for before in (None, ("2026-01-01", "x")):
        query = feedback._on_corpus("rh", before).compile(database.engine, compile_kwargs={"literal_binds": True})
        with database.reading() as connection:
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        assert [line.split()[0] for line in plan] == ["SEARCH", "SEARCH"], plan


# --- deletion ------------------------------------------------------------------------------------------


def test_what_is_older_than_it_may_be_goes(kept: History) -> None:
    """Each exchange by its own day, a conversation by its last use, feedback after a year."""
    begun = kept.begin(ALICE.owner)
    old = int((dt.datetime.now(dt.UTC) - dt.timedelta(60)).timestamp())
    kept.keep(ALICE, asked("Ancienne ?", kept.past(ALICE, begun.id), old), answer(CONGES))
    kept.keep(ALICE, asked("Récente ?", kept.past(ALICE, begun.id)), answer(CONGES))
    kept.feedback.judge(ALICE, answer=asked_id(kept), thumb="up")
    now = dt.datetime.now(dt.UTC)
    kept.expire(now)
    assert len(read(kept, ALICE, begun.id)) == 2
    kept.expire(now + dt.timedelta(40))
    assert [one.question for one in read(kept, ALICE, begun.id)] == ["Récente ?"]
    kept.expire(now + dt.timedelta(91))
    assert kept.conversations(ALICE.owner, None, 10) == []
    assert [type(one) for one in kept.export(ALICE)] == [Feedback]
    kept.expire(now + dt.timedelta(366))
    assert list(kept.export(ALICE)) == []


def asked_id(kept: History, who: Principal = ALICE) -> str:
    """The id of one more answer, outside of conversations."""
    question = asked()
    kept.keep(who, question, answer(CONGES))
    return question.id


def test_no_byte_of_what_was_deleted_stays_in_the_home(tmp_path: Path, shelf: Shelf) -> None:
    """After one round of upkeep; what others wrote stays, and the model is told whom to forget."""
    database = Database.open(tmp_path / "catalog.sqlite")
    forgotten: list[str] = []
    kept = History(database, shelf, 90, forgotten.append)
    for who in (ALICE, BRUNO):
        for number in range(12):
            begun = kept.begin(who.owner, f"CANARY-{who.name}-title-{number}")
            question = asked(f"CANARY-{who.name}-question " * (1 + 40 * (number % 3)), kept.past(who, begun.id))
            kept.keep(who, question, answer(CONGES, text=f"CANARY-{who.name}-answer " * 30))
            kept.feedback.judge(who, answer=question.id, thumb="up", comment=f"CANARY-{who.name}-comment")
            kept.rename(who.owner, begun.id, f"CANARY-{who.name}-renamed-{number}")
    kept.delete(ALICE.owner, kept.conversations(ALICE.owner, None, 1)[0].id)
    kept.delete_all(ALICE.owner)
    kept.feedback.delete(ALICE.owner)
    assert database.scrub()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"CANARY-alice" not in left
    assert ALICE.owner.encode() not in left
    assert b"CANARY-bruno-renamed" in left
    assert b"CANARY-bruno-title" not in left
    assert forgotten == [ALICE.owner] * 2
    database.close()


@pytest.mark.parametrize("way", ["rename", "delete", "delete_all", "delete_feedback", "judge again", "expire"])
def test_whatever_takes_words_away_has_them_scrubbed(tmp_path: Path, shelf: Shelf, way: str) -> None:
    """Each way by itself, though nothing else was ever deleted."""
    database = Database.open(tmp_path / "catalog.sqlite")
    kept = History(database, shelf, 90)
    begun = kept.begin(ALICE.owner, "CANARY")
    given = say(kept, ALICE, begun.id, CONGES, text="CANARY")
    note, _ = kept.feedback.judge(ALICE, answer=given, thumb="up", comment="CANARY")
    match way:
        case "rename":
            kept.rename(ALICE.owner, begun.id, "x")
        case "delete":
            kept.delete(ALICE.owner, begun.id)
        case "delete_all":
            kept.delete_all(ALICE.owner)
        case "delete_feedback":
            kept.feedback.delete(ALICE.owner, note.id)
        case "judge again":
            kept.feedback.judge(ALICE, answer=given, thumb="down")
        case "expire":
            kept.expire(dt.datetime.now(dt.UTC) + dt.timedelta(91))
    assert database.scrub()
    words = b"".join(path.read_bytes() for path in tmp_path.iterdir()).count(b"CANARY")
    assert words == {"rename": 2, "judge again": 2, "delete_feedback": 2}.get(way, 1)
    database.close()


def test_an_export_holds_all_that_is_kept_of_a_person(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many batches, and nothing of anybody else."""
    monkeypatch.setattr(history, "_BATCH", 2)
    for who in (ALICE, BRUNO):
        for _ in range(5):
            begun = kept.begin(who.owner, who.name)
            kept.feedback.judge(who, answer=say(kept, who, begun.id, CONGES), thumb="up", comment=who.name)
            kept.keep(who, asked(), answer(FRAIS))
    exported = list(kept.export(ALICE))
    kinds = [type(one) for one in exported]
    assert kinds == [Conversation, Exchange] * 5 + [NotedAnswer] * 5 + [Feedback] * 5
    assert {one.title for one in exported if isinstance(one, Conversation)} == {"alice"}
    assert {one.comment for one in exported if isinstance(one, Feedback)} == {"alice"}


# --- older databases -----------------------------------------------------------------------------------


def test_feedback_that_was_given_before_is_its_givers(where: Path | str, shelf: Shelf) -> None:
    """The latest of each answer; until then there was one person, without login."""
    row = "INSERT INTO feedback (id, answer, thumb, reason, comment, principal, created) VALUES "
    older_database.make(
        where,
        "0005",
        row + "('1', 'a', 'down', 'wrong', 'avant', 'local', '2026-01-01T00:00:00+00:00')",
        row + "('2', 'a', 'up', NULL, 'après', 'local', '2026-01-02T00:00:00+00:00')",
        row + "('3', 'b', 'up', NULL, '', 'local', '2026-01-01T00:00:00+00:00')",
    )
    database = Database.open(where)
    given = History(database, shelf, 90).feedback.given(Principal("local").owner, None, 10)
    assert [(one.id, one.comment, one.rests_on) for one in given] == [("2", "après", None), ("3", "", None)]
    database.close()


def test_feedback_of_before_is_found_by_its_corpora(where: Path | str, shelf: Shelf) -> None:
    """Of those whose answer is known to rest on something."""
    row = "INSERT INTO feedback (id, answer, thumb, comment, principal, created, owner, rests_on) VALUES "
    older_database.make(
        where,
        "0006",
        row + "('1', 'a', 'up', '', 'x', '2026-01-01T00:00:00+00:00', 'key:x', '[[\"rh\", \"conges\"]]')",
        row + "('2', 'b', 'up', '', 'x', '2026-01-02T00:00:00+00:00', 'key:x', NULL)",
    )
    database = Database.open(where)
    assert [one.id for one in History(database, shelf, 90).feedback.on(BRUNO, "rh", None, 10)] == ["1"]
    database.close()


def test_two_judgements_at_once_are_one(kept: History) -> None:
    """Whoever comes second takes the place of the first, from whichever thread or process."""
    given = asked_id(kept)
    with ThreadPoolExecutor(8) as threads:
        notes = list(
            threads.map(lambda n: kept.feedback.judge(ALICE, answer=given, thumb="up", comment=str(n)), range(16))
        )
    assert sum(new for _, new in notes) == 1
    assert len(kept.feedback.all()) == 1


# --- any order of events -------------------------------------------------------------------------------


class TwoPeople(RuleBasedStateMachine):
    """Two people and a shelf whose audiences change: a model of plain dictionaries says what each of them may see."""

    @initialize()
    def begin(self) -> None:
        self.database = Database(sa.create_engine("sqlite://", poolclass=sa.StaticPool))
        with self.database.engine.begin() as connection:
            metadata.create_all(connection)
        self.shelf = Shelf(documents={CONGES: [AGENTS], FRAIS: [AGENTS]})
        self.kept = History(self.database, self.shelf, 90)
        self.conversations: dict[str, list[str]] = {ALICE.name: [], BRUNO.name: []}
        self.said: dict[str, list[tuple[str, frozenset[tuple[str, str]]]]] = {}

    who = st.sampled_from([ALICE, BRUNO])
    sources = st.sets(st.sampled_from([CONGES, FRAIS]), min_size=1)

    @rule(who=who)
    def start(self, who: Principal) -> None:
        begun = self.kept.begin(who.owner)
        self.conversations[who.name].append(begun.id)
        self.said[begun.id] = []

    @rule(who=who, sources=sources, choose=st.integers(0, 5))
    def ask(self, who: Principal, sources: set[tuple[str, str]], choose: int) -> None:
        own = self.conversations[who.name]
        if not own:
            return
        conversation = own[choose % len(own)]
        readable = [resting for _, resting in self.said[conversation][-history.REMEMBERED :] if self.reads(resting)]
        given = say(self.kept, who, conversation, *sorted(sources))
        self.said[conversation].append((given, frozenset(sources).union(*readable)))

    @rule(who=who, choose=st.integers(0, 5))
    def delete(self, who: Principal, choose: int) -> None:
        own = self.conversations[who.name]
        if own:
            gone = own.pop(choose % len(own))
            self.kept.delete(who.owner, gone)
            del self.said[gone]

    @rule(who=who)
    def delete_all(self, who: Principal) -> None:
        self.kept.delete_all(who.owner)
        for gone in self.conversations[who.name]:
            del self.said[gone]
        self.conversations[who.name] = []

    @rule(source=st.sampled_from([CONGES, FRAIS]), audience=st.sampled_from([AGENTS, NOBODY]))
    def restrict(self, source: tuple[str, str], audience: Audience) -> None:
        self.shelf.documents[source] = [audience]

    @rule(hidden=st.booleans())
    def hide(self, *, hidden: bool) -> None:
        self.shelf.groups["finances"] = frozenset({"direction" if hidden else "agents"})

    def reads(self, sources: frozenset[tuple[str, str]]) -> bool:
        hidden = "agents" not in self.shelf.groups["finances"]
        return all(
            self.shelf.documents[source] == [AGENTS] and not (hidden and source[0] == "finances") for source in sources
        )

    @invariant()
    def each_sees_their_own_and_nothing_else(self) -> None:
        for who, other in ((ALICE, BRUNO), (BRUNO, ALICE)):
            own = self.conversations[who.name]
            assert {one.id for one in self.kept.conversations(who.owner, None, 100)} == set(own)
            for conversation in own:
                expected = [(given, not self.reads(resting)) for given, resting in self.said[conversation]]
                assert [(one.id, one.withheld) for one in read(self.kept, who, conversation)] == expected
            for conversation in self.conversations[other.name]:
                with pytest.raises(NotFound):
                    self.kept.exchanges(who, conversation, 0, 1)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


TestTwoPeople = TwoPeople.TestCase
TestTwoPeople.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
