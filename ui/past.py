"""Earlier conversations: their list, and one of them as turns again, its sources read anew as their reader may now."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

from rag import schemas
from ui.client import ApiError, Client
from ui.render import safe
from ui.turn import Phase, Turn
from ui.words import day, say

LISTED: Final = 50
"""Conversations that the list shows; the export has them all."""
TURNS: Final = 20
"""Turns of a conversation that are shown again, the latest ones."""
SOURCES: Final = 30
"""Documents whose texts are fetched for them; of others the title and the link remain."""
PARIS: Final = ZoneInfo("Europe/Paris")


def listed(conversations: Sequence[schemas.Conversation], current: str, language: str) -> str:
    """The conversations as a list of buttons, with what else a person may do with what is theirs."""
    if not conversations:
        return f'<p class="hint">{safe(say("past_none", language))}</p>'
    items = "".join(_item(one, one.id == current, language) for one in conversations)
    export = (
        f'<a class="tool" href="/v1/conversations/export" download>{safe(say("past_export", language))}</a>'
        f'<button type="button" class="tool" data-act="clear" data-sure="{safe(say("past_sure_all", language))}">'
        f"{safe(say('past_clear', language))}</button>"
    )
    return f'<ul class="past">{items}</ul><div class="own">{export}</div>'


def _item(one: schemas.Conversation, current: bool, language: str) -> str:
    title = safe(one.title or say("past_untitled", language))
    when = day(dt.datetime.fromtimestamp(one.updated, PARIS).date(), language)
    mark = ' aria-current="true"' if current else ""
    return (
        f'<li><button type="button" class="open" data-act="open" data-conversation="{safe(one.id)}"{mark}>{title}'
        f'<span class="when">{safe(when)}</span></button>'
        f'<button type="button" class="tool delete" data-act="delete" data-conversation="{safe(one.id)}" '
        f'data-sure="{safe(say("past_sure", language, one.title))}" '
        f'aria-label="{safe(say("past_delete", language, one.title))}">×</button></li>'
    )


async def reopened(client: Client, conversation: str, language: str) -> tuple[Turn, ...]:
    """A conversation as turns, with the texts of its sources that the person may read now.

    Raises:
        ApiError: it cannot be read.
    """
    turns = turns_of(await client.messages(conversation, 2 * TURNS, language), language)
    passages = [passage for turn in turns for passage in turn.passages or ()]
    first = {passage.url: passage for passage in reversed(passages)}
    wanted = list(first.values())[:SOURCES]
    details = await asyncio.gather(*(_detail(client, passage, language) for passage in wanted))
    documents = {(found.corpus, found.id): found for found in details if found is not None}
    texts = {part.id: part.text for found in documents.values() for article in found.articles for part in article.parts}
    return tuple(_with_texts(turn, texts, documents) for turn in turns)


def turns_of(messages: Sequence[schemas.ConversationMessage], language: str) -> tuple[Turn, ...]:
    """Questions with their answers; one that is withheld says so in the answer's place."""
    turns: list[Turn] = []
    question = ""
    for message in messages:
        if message.role == "user":
            question = message.content or ""
            continue
        turn = Turn(number=len(turns) + 1, question=question, answer=message.answer)
        if message.withheld or message.vauban is None or message.content is None:
            turns.append(turn.failed(say("past_withheld", language)))
            continue
        whole = message.vauban
        turns.append(
            replace(
                turn,
                phase=Phase.DONE,
                text=message.content,
                whole=whole,
                passages=tuple(whole.passages),
                claims=tuple(whole.claims),
                understood=whole.question,
                as_of=whole.as_of,
            )
        )
    return tuple(turns)


async def _detail(client: Client, passage: schemas.Passage, language: str) -> schemas.DocumentDetail | None:
    try:
        return await client.detail(passage, language)
    except ApiError:  # gone, or no longer theirs to read: its title is all that is shown
        return None


def _with_texts(
    turn: Turn, texts: Mapping[str, str], documents: Mapping[tuple[str, str], schemas.DocumentDetail]
) -> Turn:
    if turn.passages is None:
        return turn
    told = tuple(passage.model_copy(update={"text": texts.get(passage.id, "")}) for passage in turn.passages)
    known = {(passage.corpus, passage.document) for passage in told} & documents.keys()
    return replace(turn, passages=told, documents={key: documents[key] for key in known})
