"""What the page does when it is used: plain functions of the conversation, the same for any layout."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import ValidationError

from rag import schemas
from ui.client import ApiError, Client
from ui.turn import Phase, Turn
from ui.words import say

DETAILS_PATIENCE: Final = 3.0
"""Seconds that a finished answer waits for the descriptions of its documents; without them it only lacks a rank."""

_DAY: Final = re.compile(r"(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})[/.](\d{1,2})[/.](\d{4}))")
_MARK: Final = re.compile(r"\s?\[\d{1,3}\]")

Conversation = tuple[Turn, ...]


class Mistake(Exception):
    """A person's input cannot be sent; the message says in their language what to mend."""


@dataclass(frozen=True)
class Asked:
    """What stands in the form: the question, the corpora that are ticked among all, and the day."""

    question: str
    corpora: Sequence[str]
    offered: Collection[str]
    day: str = ""

    def checked(self, language: str) -> dict[str, object]:
        """The options of the request.

        Raises:
            Mistake: there is no question, no corpus, or no such day.
        """
        if not self.question.strip():
            raise Mistake(say("empty_question", language))
        if self.offered and not self.corpora:
            raise Mistake(say("no_corpus", language))
        options: dict[str, object] = {}
        if set(self.corpora) != set(self.offered):
            options["corpora"] = list(self.corpora)
        if self.day.strip():
            options["as_of"] = parse_day(self.day, language).isoformat()
        return options


@dataclass(slots=True)
class Stop:
    """How a running answer is ended: ``set`` by the person, ``forgotten`` when nobody is there to see its end."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    forgotten: bool = False


class Stops:
    """The running answers by session, at most one each; used in the event loop only."""

    def __init__(self) -> None:
        self._running: dict[str, Stop] = {}

    def begin(self, session: str) -> Stop:
        """A stop for a new answer; one that still runs in this session is ended unseen."""
        self.stop(session, forget=True)
        self._running[session] = stop = Stop()
        return stop

    def end(self, session: str, stop: Stop) -> None:
        if self._running.get(session) is stop:
            del self._running[session]

    def stop(self, session: str, *, forget: bool = False) -> None:
        """End the running answer of a session, if there is one."""
        stop = self._running.get(session)
        if stop is not None:
            stop.forgotten = stop.forgotten or forget
            stop.event.set()


async def begun(client: Client, language: str) -> str:
    """The id of a new conversation; empty where the server keeps none, or not this time: it is no reason not to ask."""
    try:
        return await client.begin(language)
    except ApiError:
        return ""


async def ask(
    client: Client, stop: Stop, turns: Conversation, asked: Asked, language: str, place: str = ""
) -> AsyncGenerator[Conversation, None]:
    """The conversation with one more turn, each time something of it is known.

    ``place`` is the id of the conversation that the server keeps of it, if it keeps one.

    Raises:
        Mistake: before anything is yielded; see :meth:`Asked.checked`.
    """
    options = asked.checked(language)
    turn = Turn(number=len(turns) + 1, question=asked.question.strip())
    yield (*turns, turn)
    if place:
        options["conversation"] = place
    request = {"model": "vauban", "messages": messages(turns, turn.question), "vauban": options}
    described: asyncio.Task[Mapping[tuple[str, str], schemas.Document]] | None = None
    shown: tuple[schemas.Passage, ...] | None = None
    try:
        async with aclosing(client.answer(request, language, stop.event)) as chunks:
            async for chunk in chunks:
                turn = turn.heard(chunk)
                if turn.passages and turn.passages != shown:
                    if described is not None:
                        described.cancel()
                    shown = turn.passages
                    described = asyncio.create_task(_described(client, turn.passages, language))
                if turn.phase is not Phase.DONE:
                    yield (*turns, turn)
    except ApiError as error:
        turn = turn.failed(told(error, language) if error.signed_out else error.detail)
    finally:
        if described is not None and (stop.event.is_set() or not turn.phase.final):
            described.cancel()
    if stop.forgotten:
        return
    if turn.phase is Phase.DONE and described is not None:
        yield (*turns, turn)
        turn = replace(turn, documents=await described)
    elif not turn.phase.final:
        # The stream ended without its last event: someone stopped it, or the server did.
        turn = turn.stopped() if stop.event.is_set() else turn.failed("")
    yield (*turns, turn)


def told(error: ApiError, language: str) -> str:
    """What people are told of a refusal."""
    if error.signed_out:
        return say("session_over_meanwhile", language)
    return error.detail or say("no_service", language)


def messages(turns: Conversation, question: str) -> list[dict[str, str]]:
    """The conversation so far, without the numbers of passages, which mean nothing in the next question."""
    spoken = []
    for turn in turns:
        if turn.phase is Phase.DONE and turn.text:
            spoken.append({"role": "user", "content": turn.question})
            spoken.append({"role": "assistant", "content": _MARK.sub("", turn.text)})
    return [*spoken, {"role": "user", "content": question}]


def parse_day(text: str, language: str) -> dt.date:
    """A day written ``2026-01-15``, ``15/01/2026`` or ``15.1.2026``.

    Raises:
        Mistake: it is none.
    """
    match = _DAY.fullmatch(text.strip())
    if match:
        year, month, day = (match[1], match[2], match[3]) if match[1] else (match[6], match[5], match[4])
        try:
            return dt.date(int(year), int(month), int(day))
        except ValueError:
            pass
    raise Mistake(say("bad_day", language, text.strip()[:40]))


async def judge(client: Client, turns: Conversation, given: Mapping[str, object], language: str) -> Conversation:
    """The conversation after an opinion on one of its answers was recorded, or could not be."""
    turn = next((turn for turn in turns if turn.number == given.get("turn")), None)
    if turn is None or turn.phase is not Phase.DONE or turn.thumb:
        return turns
    try:
        opinion = schemas.FeedbackRequest.model_validate(
            {
                "answer": turn.answer,
                "thumb": given.get("thumb"),
                "reason": given.get("reason") or None,
                "comment": given.get("comment") or "",
            }
        )
        await client.feedback(opinion, language)
        judged = replace(turn, thumb=opinion.thumb, fault="")
    except ValidationError:
        return turns
    except ApiError as error:
        judged = replace(turn, fault=told(error, language))
    return tuple(judged if one is turn else one for one in turns)


async def _described(
    client: Client, passages: Sequence[schemas.Passage], language: str
) -> Mapping[tuple[str, str], schemas.Document]:
    """What is known of the documents of the passages, as far as it came in time."""
    first = {(passage.corpus, passage.document): passage for passage in passages}
    asking = {key: asyncio.create_task(client.document(passage, language)) for key, passage in first.items()}
    if not asking:
        return {}
    try:
        await asyncio.wait(asking.values(), timeout=DETAILS_PATIENCE)
        return {
            key: task.result()
            for key, task in asking.items()
            if task.done() and not task.cancelled() and task.exception() is None
        }
    finally:
        for task in asking.values():
            task.cancel()
