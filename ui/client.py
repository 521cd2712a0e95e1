"""The only HTTP of the page: the API of the same server, over loopback, as the person who has the page open."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from rag import schemas

# The API is plain HTTP on this machine; a context that trusts nobody costs nothing to make and nothing to be wrong.
_TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_PATIENCE: Final = httpx.Timeout(30.0, connect=5.0)
"""Seconds; a stream says at least every five that it lives."""
_DATA: Final = "data:"
_DONE: Final = "[DONE]"

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


class ApiError(Exception):
    """The API refused or failed. ``detail`` is its sentence for people; empty when it could not be reached."""

    def __init__(self, detail: str = "", code: str = "unreachable") -> None:
        super().__init__(code)
        self.detail = detail
        self.code = code

    @property
    def signed_out(self) -> bool:
        """Whether the session has ended; what the API says of that is meant for programs."""
        return self.code == "key_required"


@dataclass(frozen=True)
class Client:
    """Calls the API at ``url``; every method raises :class:`ApiError` and nothing else.

    ``token`` makes one for each call: they live for minutes, an answer may take longer.
    """

    url: str
    token: Callable[[], str] = field(repr=False)

    async def corpora(self, language: str) -> list[schemas.Corpus]:
        """The corpora that the person may search."""
        return (await self._get("/v1/corpora", schemas.Corpora, language)).data

    async def document(self, passage: schemas.Passage, language: str) -> schemas.Document:
        """What is known of the document of a passage, at the snapshot that the passage names."""
        return await self._get(passage.url, schemas.Document, language)

    async def detail(self, passage: schemas.Passage, language: str) -> schemas.DocumentDetail:
        """The same with its text, article by article."""
        return await self._get(passage.url, schemas.DocumentDetail, language)

    async def conversations(self, most: int, language: str) -> list[schemas.Conversation]:
        """The person's latest conversations, the newest first."""
        return (await self._get(f"/v1/conversations?limit={most}", schemas.Conversations, language)).data

    async def messages(self, conversation: str, most: int, language: str) -> list[schemas.ConversationMessage]:
        """The latest messages of a conversation, the oldest of them first."""
        found: list[schemas.ConversationMessage] = []
        following = ""
        while True:
            path = f"/v1/conversations/{conversation}/messages?limit=100{following}"
            page = await self._get(path, schemas.ConversationMessages, language)
            found += page.data
            if not page.has_more:
                return found[-most:]
            following = f"&after={page.next}"

    async def begin(self, language: str) -> str:
        """The id of a new conversation."""
        async with self._session(language) as session:
            response = _checked(await _sent(session, session.build_request("POST", "/v1/conversations", json={})))
        return _read(response, schemas.Conversation).id

    async def delete(self, conversation: str, language: str) -> None:
        """Delete one conversation, or, where none is named, all of them."""
        path = f"/v1/conversations/{conversation}" if conversation else "/v1/conversations"
        async with self._session(language) as session:
            _checked(await _sent(session, session.build_request("DELETE", path)))

    async def feedback(self, given: schemas.FeedbackRequest, language: str) -> None:
        """Record an opinion."""
        async with self._session(language) as session:
            _checked(await _sent(session, session.build_request("POST", "/v1/feedback", json=given.model_dump())))

    async def answer(
        self, asked: Mapping[str, object], language: str, stop: asyncio.Event
    ) -> AsyncGenerator[schemas.Chunk, None]:
        """The events of an answer as they come; ends early, and closes the connection, once ``stop`` is set."""
        async with self._session(language) as session:
            request = session.build_request("POST", "/v1/chat/completions", json={**asked, "stream": True})
            sending = asyncio.ensure_future(_sent(session, request, stream=True))
            if not await _before(stop, sending):
                return
            response = sending.result()
            try:
                if response.is_error:
                    await response.aread()
                    _checked(response)
                async with aclosing(_events(response)) as events:
                    while True:
                        following = asyncio.ensure_future(anext(events, None))
                        if not await _before(stop, following):
                            return
                        data = following.result()
                        if data is None or data == _DONE:
                            return
                        yield _chunk(data)
            finally:
                await response.aclose()

    async def _get(self, path: str, model: type[Model], language: str) -> Model:
        async with self._session(language) as session:
            return _read(_checked(await _sent(session, session.build_request("GET", path))), model)

    def _session(self, language: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token()}", "Accept-Language": language},
            trust_env=False,
            verify=_TRUSTS_NOBODY,
            timeout=_PATIENCE,
            follow_redirects=False,
        )


async def _before(stop: asyncio.Event, work: asyncio.Future[Value]) -> bool:
    """Wait for ``work``; false, with the work cancelled and over, when ``stop`` was set first."""
    stopping = asyncio.ensure_future(stop.wait())
    both: set[asyncio.Future[Any]] = {stopping, work}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return work.done() and not stop.is_set()
    finally:
        stopping.cancel()
        if not work.done():
            work.cancel()
        await asyncio.wait(both)


async def _sent(session: httpx.AsyncClient, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
    try:
        return await session.send(request, stream=stream)
    except httpx.HTTPError as error:
        raise ApiError from error


def _checked(response: httpx.Response) -> httpx.Response:
    """The response, unless it is a refusal."""
    if response.is_error:
        raise _refusal(response.text)
    return response


def _read(response: httpx.Response, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise ApiError(code="unreadable") from error


def _refusal(text: str) -> ApiError:
    try:
        problem = schemas.Problem.model_validate_json(text)
    except ValidationError:
        return ApiError(code="unreadable")
    return ApiError(problem.detail, problem.code)


async def _events(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of each server-sent event; comments are skipped, an event's lines joined."""
    lines: list[str] = []
    try:
        async for line in response.aiter_lines():
            if line.startswith(_DATA):
                lines.append(line.removeprefix(_DATA).removeprefix(" "))
            elif not line and lines:
                yield "\n".join(lines)
                lines = []
    except httpx.HTTPError as error:
        raise ApiError from error


def _chunk(data: str) -> schemas.Chunk:
    """One event read; a problem document in its place is the answer's failure."""
    try:
        return schemas.Chunk.model_validate_json(data)
    except ValidationError:
        raise _refusal(data) from None
