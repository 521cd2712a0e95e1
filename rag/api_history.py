"""Conversations and feedback: what a person may list, read, take along and delete of their own.

Another's id answers exactly as one that does not exist. Those who maintain a corpus read what was thought of the
answers that rest on it, without the name of who said it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypedDict

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from rag import history, paging, schemas
from rag.api_idempotency import Repeatable
from rag.api_service import Caller, Served, Service, check_maintains, visible
from rag.errors import NotFound
from rag.feedback import Feedback
from rag.history import Conversation, Exchange, NotedAnswer
from rag.paging import USUAL, After, Limit
from rag.resting import Source
from rag.types import Principal

router = APIRouter(route_class=Repeatable)

LINES: Final = "application/x-ndjson"
_ID: Final = r"^conv_[0-9a-f]{44}$"
_LINE: Final = "A JSON object: `type` is `conversation`, `message`, `answer` or `feedback`."

Id = Annotated[str, Path(max_length=200, description="The `id` of a conversation.")]
Note = Annotated[str, Path(max_length=200, description="The `id` of a feedback.")]
AfterId = Annotated[
    str | None,
    Query(pattern=_ID, description="`next` or `last_id` of the page before; without it, the first page."),
]

# --- conversations


@router.post(
    "/v1/conversations",
    status_code=201,
    response_model=schemas.Conversation,
    tags=["history"],
    summary="Begin a conversation",
)
def begin_conversation(
    body: schemas.ConversationRequest, service: Served, principal: Caller, response: Response
) -> schemas.Conversation:
    """A question joins it by `vauban.conversation`; what was said before need not be sent again."""
    begun = service.history.begin(principal.owner, body.title)
    response.headers["Location"] = f"/v1/conversations/{begun.id}"
    return _conversation(begun)


@router.get(
    "/v1/conversations", response_model=schemas.Conversations, tags=["history"], summary="The caller's conversations"
)
def list_conversations(
    service: Served, principal: Caller, limit: Limit = USUAL, after: AfterId = None
) -> schemas.Conversations:
    """The newest first, by when they were begun."""
    found = service.history.conversations(principal.owner, after, limit + 1)
    data = [_conversation(one) for one in found[:limit]]
    more = len(found) > limit
    return schemas.Conversations(data=data, has_more=more, next=data[-1].id if more else None, **_ends(data))


@router.delete("/v1/conversations", status_code=204, tags=["history"], summary="Delete all conversations of the caller")
def delete_conversations(service: Served, principal: Caller) -> None:
    """Also that answers outside of conversations were the caller's. Feedback is deleted by itself."""
    service.history.delete_all(principal.owner)


@router.get(
    "/v1/conversations/export",
    response_class=StreamingResponse,
    tags=["history"],
    summary="All that is kept of the caller",
    responses={200: {"description": _LINE, "content": {LINES: {"schema": {"type": "string"}}}}},
)
def export_history(service: Served, principal: Caller) -> StreamingResponse:
    """Conversations with their messages, answers outside of conversations, feedback; one JSON object on each line."""
    return StreamingResponse(
        _lines(service.history.export(principal)),
        media_type=LINES,
        headers={"Content-Disposition": 'attachment; filename="vauban-history.jsonl"', "Cache-Control": "no-store"},
    )


@router.get(
    "/v1/conversations/{conversation}",
    response_model=schemas.Conversation,
    tags=["history"],
    summary="One conversation",
)
def read_conversation(conversation: Id, service: Served, principal: Caller) -> schemas.Conversation:
    return _conversation(service.history.conversation(principal.owner, conversation))


@router.patch(
    "/v1/conversations/{conversation}",
    response_model=schemas.Conversation,
    tags=["history"],
    summary="Give a conversation another title",
)
def rename_conversation(
    conversation: Id, body: schemas.ConversationChange, service: Served, principal: Caller
) -> schemas.Conversation:
    return _conversation(service.history.rename(principal.owner, conversation, body.title))


@router.delete("/v1/conversations/{conversation}", status_code=204, tags=["history"], summary="Delete a conversation")
def delete_conversation(conversation: Id, service: Served, principal: Caller) -> None:
    """With all that was said in it. Feedback on its answers stays, and is deleted by itself."""
    service.history.delete(principal.owner, conversation)


@router.get(
    "/v1/conversations/{conversation}/messages",
    response_model=schemas.ConversationMessages,
    tags=["history"],
    summary="What was said in a conversation",
)
def list_messages(
    conversation: Id, service: Served, principal: Caller, limit: Limit = USUAL, after: After = None
) -> schemas.ConversationMessages:
    """The oldest first. An answer that rests on a text that the caller may no longer read is `withheld`."""
    start = paging.place(after, int)
    last = max(0, min(int(start[0]), 2 * history.MOST_EXCHANGES)) if start else 0
    # Two messages to an exchange: the question has an odd number, its answer the even one after it.
    exchanges = service.history.exchanges(principal, conversation, last // 2, limit // 2 + 2)
    messages = [(number, made) for one in exchanges for number, made in _messages(one) if number > last]
    page = paging.page(messages[: limit + 1], limit, lambda message: (message[0],))
    data = [made for _, made in page.items]
    return schemas.ConversationMessages(data=data, has_more=page.more, next=page.next, **_ends(data))


# --- feedback


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=schemas.FeedbackResponse,
    tags=["history"],
    summary="Judge an answer",
)
def give_feedback(
    body: schemas.FeedbackRequest, service: Served, principal: Caller, response: Response
) -> schemas.FeedbackResponse:
    """A thumb up or down, with a reason and a comment, which the maintainers of its corpora read without your name.

    A second judgement of the same answer takes the place of the first: 200 instead of 201.
    """
    note, first = service.history.feedback.judge(
        principal, answer=body.answer, thumb=body.thumb, reason=body.reason, comment=body.comment
    )
    response.status_code = 201 if first else 200
    return schemas.FeedbackResponse(id=note.id)


@router.get(
    "/v1/feedback", response_model=schemas.Feedbacks, tags=["history"], summary="What the caller thought of answers"
)
def list_feedback(service: Served, principal: Caller, limit: Limit = USUAL, after: After = None) -> schemas.Feedbacks:
    """The newest first."""
    page = paging.page(service.history.feedback.given(principal.owner, _before(after), limit + 1), limit, _when)
    data = [_feedback(one) for one in page.items]
    return schemas.Feedbacks(data=data, has_more=page.more, next=page.next, **_ends(data))


@router.delete("/v1/feedback", status_code=204, tags=["history"], summary="Delete all feedback of the caller")
def delete_all_feedback(service: Served, principal: Caller) -> None:
    service.history.feedback.delete(principal.owner)


@router.get("/v1/feedback/{note}", response_model=schemas.Feedback, tags=["history"], summary="One feedback")
def read_feedback(note: Note, service: Served, principal: Caller) -> schemas.Feedback:
    return _feedback(service.history.feedback.one(principal.owner, note))


@router.delete("/v1/feedback/{note}", status_code=204, tags=["history"], summary="Delete one feedback")
def delete_feedback(note: Note, service: Served, principal: Caller) -> None:
    service.history.feedback.delete(principal.owner, note)


@router.get(
    "/v1/corpora/{corpus}/feedback",
    response_model=schemas.ReceivedFeedbacks,
    tags=["history"],
    summary="What was thought of the answers that rest on a corpus",
)
def list_received_feedback(
    corpus: str, service: Served, principal: Caller, limit: Limit = USUAL, after: After = None
) -> schemas.ReceivedFeedbacks:
    """For those who maintain it, newest first, without names; only of answers of which they may read every source."""
    _check_corpus(service, principal, corpus)
    found = service.history.feedback.on(principal, corpus, _before(after), limit + 1)
    page = paging.page(found, limit, _when)
    return schemas.ReceivedFeedbacks(
        data=[
            schemas.ReceivedFeedback(
                id=one.id,
                answer=one.answer,
                thumb=one.thumb,
                reason=one.reason,
                comment=one.comment,
                day=one.created.date(),
                rests_on=_resting(one.rests_on or frozenset()),
            )
            for one in page.items
        ],
        has_more=page.more,
        next=page.next,
    )


def _check_corpus(service: Service, principal: Principal, corpus: str) -> None:
    """Refuse whoever does not maintain a corpus; one that they may not see is as unknown as one that is not there."""
    if corpus not in visible(service, principal):
        raise NotFound(f"there is no corpus `{corpus}`", f"il n'y a pas de corpus « {corpus} »", code="unknown_corpus")
    check_maintains(principal, corpus)


# --- values


class _Ends(TypedDict):
    first_id: str | None
    last_id: str | None


def _conversation(one: Conversation) -> schemas.Conversation:
    return schemas.Conversation(
        id=one.id,
        title=one.title,
        created=int(one.created.timestamp()),
        updated=int(one.updated.timestamp()),
        exchanges=one.exchanges,
    )


def _messages(one: Exchange) -> Iterator[tuple[int, schemas.ConversationMessage]]:
    created = int(one.created.timestamp())
    yield (
        2 * one.number - 1,
        schemas.ConversationMessage(
            id=f"{one.id}-question", role="user", content=one.question, created=created, answer=one.id
        ),
    )
    yield (
        2 * one.number,
        schemas.ConversationMessage(
            id=one.id,
            role="assistant",
            content=one.text,
            created=created,
            answer=one.id,
            withheld=one.withheld,
            vauban=one.vauban,
        ),
    )


def _feedback(one: Feedback) -> schemas.Feedback:
    return schemas.Feedback(
        id=one.id,
        answer=one.answer,
        thumb=one.thumb,
        reason=one.reason,
        comment=one.comment,
        created=int(one.created.timestamp()),
    )


def _resting(sources: frozenset[Source]) -> list[schemas.RestsOn]:
    ordered = sorted(sources, key=lambda source: (source[0], source[1] or ""))
    return [schemas.RestsOn(corpus=corpus, document=document) for corpus, document in ordered]


def _lines(kept: Iterator[history.Kept]) -> Iterator[bytes]:
    """Each thing on a line of its own."""
    conversation = ""
    for one in kept:
        match one:
            case Conversation():
                conversation = one.id
                yield _line(schemas.ExportedConversation(**dict(_conversation(one))))
            case Exchange():
                for _, made in _messages(one):
                    yield _line(schemas.ExportedMessage(conversation=conversation, **dict(made)))
            case NotedAnswer():
                yield _line(
                    schemas.ExportedAnswer(
                        answer=one.id,
                        created=int(one.created.timestamp()),
                        withheld=one.rests_on is None,
                        rests_on=_resting(one.rests_on or frozenset()),
                    )
                )
            case Feedback():
                yield _line(schemas.ExportedFeedback(**dict(_feedback(one))))


def _line(model: BaseModel) -> bytes:
    return model.model_dump_json().encode() + b"\n"


def _when(one: Feedback) -> tuple[str, str]:
    return one.created.isoformat(), one.id


def _before(after: str | None) -> tuple[str, str] | None:
    start = paging.place(after, str, str)
    return None if start is None else (str(start[0]), str(start[1]))


def _ends(data: Sequence[schemas.Conversation | schemas.ConversationMessage | schemas.Feedback]) -> _Ends:
    """The ids at both ends of a page, as OpenAI's lists give them."""
    return {"first_id": data[0].id if data else None, "last_id": data[-1].id if data else None}
