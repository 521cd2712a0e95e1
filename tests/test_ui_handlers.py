"""What the page does when it is used, against the real API over loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rag import schemas
from rag.adapters.fake import ScriptedGenerator, crashes
from rag.api import create_app
from tests.rag_server import QUESTION, Parts, Writer, feedback, parts, serving, slow_writer
from ui import handlers
from ui.client import ApiError, Client
from ui.handlers import Asked, Conversation, Mistake, Stop, Stops
from ui.turn import Phase, Turn

KEY = "0123456789abcdef0123456789abcdef"
CORPORA = ["finances", "rh"]


@dataclass
class Place:
    """A running API, what it is made of, and a client of somebody who may ask."""

    parts: Parts
    client: Client


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = parts(tmp_path, getattr(request, "param", Writer)(), api_key=KEY)
    with serving(create_app(made)) as url:
        yield Place(made, Client(url, lambda: KEY))
    made.catalog.close()


def asked(question: str = QUESTION, **changes: Any) -> Asked:
    return Asked(**({"question": question, "corpora": CORPORA, "offered": CORPORA} | changes))


async def gathered(seen: AsyncGenerator[Conversation, None]) -> list[Turn]:
    async with aclosing(seen):
        return [now[-1] async for now in seen]


def answers(
    place: Place, form: Asked, turns: Conversation = (), stop: Stop | None = None, language: str = "fr"
) -> list[Turn]:
    """The last turn, each time something of it was known."""

    async def run() -> list[Turn]:
        return await gathered(handlers.ask(place.client, stop or Stop(), turns, form, language))

    return asyncio.run(run())


# --- asking --------------------------------------------------------------------------------------------


def test_passages_are_there_before_a_word_is_written(place: Place) -> None:
    """First the question alone, then the passages, then the text, then the whole."""
    seen = answers(place, asked())
    assert [turn.phase for turn in seen][:2] == [Phase.SEARCHING, Phase.DRAFTING]
    assert seen[1].passages
    assert not seen[1].text
    assert seen[-1].phase is Phase.DONE
    assert "25 jours ouvrés" in seen[-1].text
    assert seen[-1].whole
    assert seen[-1].whole.status in {"answered", "extracts"}


def test_the_finished_turn_knows_its_documents(place: Place) -> None:
    """Their kind, for the picture of a page, at the snapshot that the answer used."""
    last = answers(place, asked())[-1]
    (leave,) = [one for one in last.passages or () if one.document == "conges" and one.corpus == "rh"][:1]
    described = last.document(leave)
    assert described
    assert described.media_type == "application/pdf"
    assert leave.url.endswith("?snapshot=1")


def test_only_ticked_corpora_are_searched(place: Place) -> None:
    """All of them are the whole assistant."""
    last = answers(place, asked("repas en mission", corpora=["finances"]))[-1]
    assert {one.corpus for one in last.passages or ()} == {"finances"}


def test_the_day_reaches_the_search(place: Place) -> None:
    """And comes back with the answer."""
    assert answers(place, asked(day="15/01/2026"))[-1].as_of == dt.date(2026, 1, 15)


def test_a_follow_up_takes_the_conversation_along(place: Place) -> None:
    """Numbers of passages stay behind: they mean nothing in the next question."""
    first = answers(place, asked())[-1]
    spoken = handlers.messages((first, Turn(2, "Et ?", phase=Phase.FAILED)), "Et pour le report ?")
    assert [message["role"] for message in spoken] == ["user", "assistant", "user"]
    assert "[1]" not in spoken[1]["content"]
    second = answers(place, asked("Et pour le report ?"), (first,))
    assert second[-1].number == 2
    assert second[-1].understood != second[-1].question


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (asked("  "), "Écrivez d'abord"),
        (asked(corpora=[]), "au moins un"),
        (asked(day="hier"), "« hier »"),
        (asked(day="30/02/2026"), "« 30/02/2026 »"),
    ],
)
def test_a_mistake_is_said_before_anything_is_sent(form: Asked, message: str) -> None:
    """In words, and without a turn in the conversation."""
    nowhere = Place(parts=None, client=Client("http://127.0.0.1:1", str))  # type: ignore[arg-type]  # never reached
    with pytest.raises(Mistake) as caught:
        answers(nowhere, form)
    assert message in str(caught.value).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-15", dt.date(2026, 1, 15)),
        (" 15/01/2026 ", dt.date(2026, 1, 15)),
        ("5.1.2026", dt.date(2026, 1, 5)),
        ("2024-2-29", dt.date(2024, 2, 29)),
    ],
)
def test_days_are_read_as_people_write_them(text: str, day: dt.date) -> None:
    assert handlers.parse_day(text, "fr") == day


@pytest.mark.parametrize("text", ["", "2026", "01/15/2026", "2026-13-01", "15/01/26", "0000-01-01", "demain", "1" * 99])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(Mistake):
        handlers.parse_day(text, "en")


# --- what goes wrong -----------------------------------------------------------------------------------


def test_a_refusal_is_shown_in_its_own_words(place: Place) -> None:
    """In the language of the page."""
    too_long = asked("é" * 5_000)
    assert "5000 caractères" in answers(place, too_long)[-1].error
    assert "5000 characters" in answers(place, too_long, language="en")[-1].error
    assert answers(place, too_long)[-1].phase is Phase.FAILED


def test_a_wrong_token_is_a_failure_and_not_a_crash(place: Place) -> None:
    """With a key set, the page has no more rights than its token."""
    failed = answers(Place(place.parts, Client(place.client.url, lambda: "wrong")), asked())[-1]
    assert failed.phase is Phase.FAILED
    assert "reconnectez-vous" in failed.error


def test_a_server_that_is_gone_is_said() -> None:
    """Rather than waited for."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    gone = Client(f"http://127.0.0.1:{port}", str)
    failed = answers(Place(parts=None, client=gone), asked())[-1]  # type: ignore[arg-type]  # nothing runs there
    assert (failed.phase, failed.error) == (Phase.FAILED, "")
    with pytest.raises(ApiError):
        asyncio.run(gone.corpora("fr"))


@pytest.mark.parametrize("place", [lambda: ScriptedGenerator(crashes)], indirect=True)
def test_a_model_that_fails_still_gives_an_answer(place: Place) -> None:
    """Extracts, as the engine promises."""
    assert answers(place, asked())[-1].phase is Phase.DONE


# --- stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [slow_writer], indirect=True)
@pytest.mark.alone
@pytest.mark.parametrize("forgotten", [False, True])
def test_stop_frees_the_model(place: Place, forgotten: bool) -> None:
    """Within a second; the passages stay, unless nobody is there to see them."""
    writer = place.parts.generator
    assert isinstance(writer, Writer)
    stops = Stops()

    async def run() -> tuple[list[Turn], float]:
        stop = stops.begin("session")
        seen: list[Turn] = []
        stopped = 0.0
        async with aclosing(handlers.ask(place.client, stop, (), asked(), "fr")) as turns:
            async for now in turns:
                seen.append(now[-1])
                if now[-1].passages and not stopped:
                    await asyncio.to_thread(writer.begun.wait, 10)
                    stopped = time.monotonic()
                    stops.stop("session", forget=forgotten)
        assert await asyncio.to_thread(writer.stopped.wait, 5)
        return seen, time.monotonic() - stopped

    seen, took = asyncio.run(run())
    assert took < 2
    assert seen[-1].passages
    assert seen[-1].phase is (Phase.DRAFTING if forgotten else Phase.STOPPED)


@pytest.mark.parametrize("place", [slow_writer], indirect=True)
def test_a_second_reader_sees_the_queue(place: Place) -> None:
    """The place in the queue is a phase of its own, and stop works there too."""

    async def run() -> list[Turn]:
        one, two = Stop(), Stop()
        first = asyncio.ensure_future(gathered(handlers.ask(place.client, one, (), asked(), "fr")))
        assert isinstance(place.parts.generator, Writer)
        await asyncio.to_thread(place.parts.generator.begun.wait, 10)
        seen = []
        async with aclosing(handlers.ask(place.client, two, (), asked(), "fr")) as turns:
            async for now in turns:
                seen.append(now[-1])
                if now[-1].phase is Phase.WAITING:
                    two.event.set()
        one.event.set()
        await first
        return seen

    seen = asyncio.run(run())
    assert (seen[-2].phase, seen[-2].position) == (Phase.WAITING, 1)
    assert seen[-1].phase is Phase.STOPPED


def test_the_turn_at_the_model_ends_the_waiting() -> None:
    """What is told then is that the answer is being made, not that it is next."""
    waiting = Turn(1, "Q", phase=Phase.WAITING, position=1)
    chunk = schemas.Chunk.model_validate(
        {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "vauban", "choices": []}
        | {"vauban": {"waiting": 0}}
    )
    assert waiting.heard(chunk).phase is Phase.DRAFTING


def test_a_session_has_one_running_answer() -> None:
    """Another question, or leaving, ends the one before unseen."""
    stops = Stops()
    first = stops.begin("a")
    second = stops.begin("a")
    other = stops.begin("b")
    assert (first.forgotten, first.event.is_set()) == (True, True)
    assert not second.event.is_set()
    assert not other.event.is_set()
    stops.end("a", first)
    stops.stop("a")
    assert (second.forgotten, second.event.is_set()) == (False, True)
    stops.end("a", second)
    stops.stop("a")


# --- opinions ------------------------------------------------------------------------------------------


def judged(place: Place, turns: Conversation, **given: object) -> Conversation:
    return asyncio.run(handlers.judge(place.client, turns, given, "fr"))


def test_an_opinion_reaches_the_catalog(place: Place) -> None:
    """With its reason and comment, by the number of the answer; and once only."""
    turns = (answers(place, asked())[-1],)
    after = judged(place, turns, turn=1, thumb="down", reason="outdated", comment="Changé.")
    judged(place, after, turn=1, thumb="up")
    (kept,) = feedback(place.parts)
    assert (kept.answer, kept.thumb, kept.reason, kept.comment) == (turns[0].answer, "down", "outdated", "Changé.")
    assert after[0].thumb == "down"


@pytest.mark.parametrize(
    "given",
    [
        {"turn": 9, "thumb": "up"},
        {"turn": "1", "thumb": "up"},
        {"turn": 1, "thumb": "sideways"},
        {"turn": 1, "thumb": "up", "reason": "because"},
        {"turn": 1, "thumb": "up", "comment": "x" * 2_001},
        {},
    ],
)
def test_a_forged_opinion_changes_nothing(place: Place, given: dict[str, object]) -> None:
    """The browser's words are checked like anyone's."""
    turns = (answers(place, asked())[-1],)
    assert judged(place, turns, **given) == turns
    assert not feedback(place.parts)


def test_an_opinion_that_is_lost_is_said(place: Place) -> None:
    """The thumb can be pressed again."""
    turns = (answers(place, asked())[-1],)
    lost = asyncio.run(handlers.judge(Client("http://127.0.0.1:1", str), turns, {"turn": 1, "thumb": "up"}, "fr"))
    assert lost[0].fault
    assert not lost[0].thumb
    assert not judged(place, lost, turn=1, thumb="up")[0].fault


def test_the_corpora_are_those_that_may_be_searched(place: Place) -> None:
    """Nothing of the others, not even a name."""
    found = asyncio.run(place.client.corpora("fr"))
    assert [corpus.name for corpus in found] == CORPORA
    assert all(isinstance(corpus, schemas.Corpus) for corpus in found)


def test_the_token_is_not_shown() -> None:
    """Neither in a log nor in an error."""
    assert "secret" not in repr(Client("http://127.0.0.1:1", lambda: "secret"))
