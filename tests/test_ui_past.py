"""Earlier conversations in the page: listed, opened again with their sources, deleted for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag import schemas
from rag.api import create_app
from rag.types import Corpus
from tests.rag_server import LEAVE, QUESTION, Parts, Writer, parts, serving
from ui import handlers, past
from ui.client import ApiError, Client
from ui.handlers import Asked, Stop
from ui.turn import Phase, Turn


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path, Writer())
    yield made
    made.catalog.close()


@pytest.fixture
def client(vauban: Parts) -> Iterator[Client]:
    with serving(create_app(vauban)) as url:
        yield Client(url, lambda: "-")


async def conversed(client: Client, *questions: str) -> tuple[str, tuple[Turn, ...]]:
    """A conversation of these questions: its id, and what the page shows of it."""
    place, turns = await handlers.begun(client, "fr"), ()
    for question in questions:
        async for now in handlers.ask(client, Stop(), turns, Asked(question, [], []), "fr", place):
            last = now
        turns = last
    return place, turns


def test_a_conversation_is_opened_again_as_it_was(client: Client) -> None:
    """Questions, answers, verdicts, and the texts of the sources, which the history does not keep."""
    place, turns = asyncio.run(conversed(client, QUESTION, "Et pour les repas ?"))
    again = asyncio.run(past.reopened(client, place, "fr"))
    assert [(turn.question, turn.text, turn.claims) for turn in again] == [
        (turn.question, turn.text, turn.claims) for turn in turns
    ]
    assert [turn.phase for turn in again] == [Phase.DONE] * 2
    assert [p.text for p in again[0].passages or ()] == [p.text for p in turns[0].passages or ()]


def test_the_list_has_the_question_as_title_and_marks_the_one_on_screen(client: Client) -> None:
    place, _ = asyncio.run(conversed(client, QUESTION))
    found = asyncio.run(client.conversations(past.LISTED, "fr"))
    shown = past.listed(found, place, "fr")
    assert QUESTION in shown
    assert f'data-conversation="{place}" aria-current="true"' in shown
    assert 'href="/v1/conversations/export" download' in shown


def test_a_title_is_text_and_nothing_else() -> None:
    """What a person wrote can neither close an attribute nor open an element."""
    hostile = schemas.Conversation(id="conv_1", title='"><img src=x onerror=1>', created=0, updated=0, exchanges=1)
    assert "<img" not in past.listed([hostile], "", "fr")
    assert '""' not in past.listed([hostile], "", "fr")


def test_what_may_no_longer_be_read_is_not_shown_again(client: Client, vauban: Parts) -> None:
    """The question stays, the answer says why it does not."""
    place, _ = asyncio.run(conversed(client, QUESTION))
    vauban.catalog.declare(Corpus("rh", "Ressources humaines", groups=frozenset({"direction"})))
    (turn,) = asyncio.run(past.reopened(client, place, "fr"))
    assert (turn.phase, turn.passages) == (Phase.FAILED, None)
    assert LEAVE not in turn.text + turn.error
    assert "ne pouvez plus consulter" in turn.error


def test_a_deleted_conversation_is_gone(client: Client) -> None:
    """One by one, and all at once."""
    first, _ = asyncio.run(conversed(client, QUESTION))
    second, _ = asyncio.run(conversed(client, QUESTION))
    asyncio.run(client.delete(first, "fr"))
    assert [one.id for one in asyncio.run(client.conversations(9, "fr"))] == [second]
    asyncio.run(client.delete("", "fr"))
    assert asyncio.run(client.conversations(9, "fr")) == []
    with pytest.raises(ApiError):
        asyncio.run(past.reopened(client, second, "fr"))


def test_without_a_history_a_question_is_answered_all_the_same(tmp_path: Path) -> None:
    """The page then sends the conversation itself, as any client may."""
    vauban = parts(tmp_path, Writer(), history_days=0)
    with serving(create_app(vauban)) as url:
        place, turns = asyncio.run(conversed(Client(url, lambda: "-"), QUESTION))
    vauban.catalog.close()
    assert place == ""
    assert turns[0].phase is Phase.DONE
