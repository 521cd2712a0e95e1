"""Chat completions: a conversation becomes a question, an answer becomes OpenAI's shape, plain or streamed."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from rag import history, problems, recording, request_log, schemas, structured
from rag.api_service import Caller, Served, Service, corpora_of, visible
from rag.errors import BadRequest, Cancelled, VaubanError
from rag.history import Past
from rag.problems import Refusal
from rag.schemas import Chunk, ChunkChoice, Delta, VaubanDelta
from rag.seams import Generator
from rag.streaming import BEAT, DONE, EventStream, Make, Running, event, while_connected
from rag.structured import Keyed
from rag.types import Answer, Event, PassagesFound, Principal, Question, Sampling, Sentence, Status, Told, Turn, Waiting

router = APIRouter()

LONGEST_ANSWER = 2_048
"""Tokens that a caller may ask for: more than any cited answer needs, less than would hold the queue for long."""
LAST_TURNS = 12
"""Messages of history that are looked at; older ones never fit beside the passages."""
MOST_STOPS = 4
IGNORED = "Vauban-Ignored"
"""Response header naming what of the request had no effect: ``system`` messages never change the rules."""

# Fields of OpenAI's that would change the answer and that we do not have, with the values that ask for nothing.
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "audio": (),
    "modalities": (["text"],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "prediction": (),
    "web_search_options": (),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, read: what is asked, how it is written, and what the response repeats."""

    id: str
    created: int
    model: str
    question: Question
    sampling: Sampling
    form: Keyed | None
    past: Past | None
    search_results: bool
    include_usage: bool
    base: str
    request: str


@router.post(
    "/v1/chat/completions",
    response_model=schemas.Completion,
    tags=["chat"],
    summary="Answer a question from the regulations, with citations",
    responses={
        200: {
            "content": {
                EventStream.media_type: {
                    **EventStream.described,
                    "example": {"data": '{"object":"chat.completion.chunk", …}'},
                }
            }
        }
    },
)
async def complete(body: schemas.ChatRequest, request: Request, service: Served, principal: Caller) -> Response:
    """The last user message is the question; system messages are ignored. With `stream`, the passages come first.

    A client that goes away stops the model, streaming or not.
    """
    # What the caller may see is read from the catalog: not in the event loop, where everybody would wait for it.
    asked = await run_in_threadpool(_read, body, service, principal, request)
    ignored = {IGNORED: "system"} if any(_is_system(message) for message in body.messages) else {}
    running = service.answers.start(_made(service, asked), principal.owner)
    events = running.events()
    try:
        # Nothing is sent before the first event: what the engine refuses still gets its own status.
        first = await while_connected(request.receive, _first(events))
        if not body.stream:
            answer = await while_connected(request.receive, _last(events, first))
            _count(service, asked, running, answer)
            completion = _completion(asked, answer)
            return JSONResponse(completion.model_dump(mode="json"), headers=ignored)
    except BaseException as error:  # also a task that is cancelled must stop the model; it is raised again
        running.stop()
        await events.aclose()
        if isinstance(error, Cancelled):
            service.metrics.abandon()
        raise
    stream = EventStream(_stream(asked, first, events, running, service, problems.language_of(request.scope)))
    stream.headers.update(ignored)
    return stream


def _made(service: Service, asked: _Asked) -> Make:
    """How the answer is made: recorded before it is finished, and then kept for the person whose it is."""
    vauban, principal = service.vauban, asked.question.principal

    def make(cancelled: Callable[[], bool], waiting: Callable[[Told], None]) -> Iterator[Event]:
        events = vauban.engine.answer(
            asked.question,
            sampling=asked.sampling,
            cancelled=cancelled,
            waiting=waiting,
            seconds=vauban.settings.answer_seconds,
            form=asked.form,
        )
        recorded = recording.Asked(asked.id, asked.question, asked.sampling, asked.form, asked.request)
        kept = history.Asked(asked.id, asked.created, asked.question.text, asked.past)
        return service.history.kept(recording.kept(vauban, recorded, events), principal, kept)

    return make


async def _first(events: AsyncGenerator[Event | None, None]) -> Event:
    async for made in events:
        if made is not None:
            return made
    raise AssertionError("an answer has at least one event")


async def _last(events: AsyncGenerator[Event | None, None], first: Event) -> Answer:
    last: Event = first
    async for made in events:
        last = made or last
    assert isinstance(last, Answer), "the last event of an answer is the answer"
    return last


async def _stream(
    asked: _Asked,
    first: Event,
    events: AsyncGenerator[Event | None, None],
    running: Running,
    service: Service,
    language: str,
) -> AsyncGenerator[bytes, None]:
    """The events of an answer as server-sent ones."""
    finished = False
    try:
        async with aclosing(events):
            yield _sent(_maker(asked)(Delta(role="assistant", content=""), _opening(first)))
            if not isinstance(first, PassagesFound):
                for chunk in _chunks(asked, first):
                    yield _sent(chunk)
            async for made in events:
                if made is None:
                    yield BEAT
                    continue
                for chunk in _chunks(asked, made):
                    yield _sent(chunk)
                if isinstance(made, Answer):
                    _count(service, asked, running, made)
                    finished = True
    except VaubanError as error:
        finished = True
        request_log.note(problem=error.code)
        yield event(problems.document(error, language).model_dump_json())
    finally:
        running.stop()
        if not finished:
            service.metrics.abandon()
    yield DONE


def _chunks(asked: _Asked, made: Event) -> Iterator[Chunk]:
    """The chunks that one event of the engine becomes."""
    chunk = _maker(asked)
    match made:
        case PassagesFound():
            yield chunk(Delta(), _opening(made))
        case Waiting():
            seconds = None if made.seconds is None else round(made.seconds, 1)
            yield chunk(Delta(), VaubanDelta(waiting=made.position, waiting_seconds=seconds))
        case Sentence():
            # A form is judged as a whole, at the end.
            if asked.form is None:
                yield chunk(Delta(content=made.text), None)
        case Answer():
            whole = schemas.vauban_object(made)
            if asked.form is not None:
                yield chunk(Delta(content=made.text) if _filled(made) else Delta(refusal=made.text), None)
            yield chunk(
                Delta(annotations=schemas.url_citations(made, asked.base)), VaubanDelta(claims=list(whole.claims))
            )
            last = chunk(Delta(), whole)
            reason = schemas.finish_reason(made, asked.sampling)
            ended = ChunkChoice(index=0, delta=Delta(), finish_reason=reason)
            results = {"search_results": schemas.search_results(made)} if asked.search_results else {}
            yield last.model_copy(update={"choices": [ended], **results})
            if asked.include_usage:
                yield last.model_copy(update={"choices": [], "usage": schemas.usage(made), "vauban": None})


def _opening(made: Event) -> VaubanDelta | None:
    """What is known before anything is written, where the passages are known."""
    if not isinstance(made, PassagesFound):
        return None
    return VaubanDelta(
        status=None,
        passages=schemas.passages(made.passages, dict(made.snapshots)),
        question=made.question,
        as_of=made.as_of,
    )


def _maker(asked: _Asked) -> Callable[[Delta, schemas.Vauban | VaubanDelta | None], Chunk]:
    """Makes chunks in which every field that OpenAI's clients expect is set."""

    def chunk(delta: Delta, vauban: schemas.Vauban | VaubanDelta | None) -> Chunk:
        made = Chunk(
            id=asked.id,
            object="chat.completion.chunk",
            created=asked.created,
            model=asked.model,
            choices=[ChunkChoice(index=0, delta=delta, finish_reason=None)],
        )
        return made if vauban is None else made.model_copy(update={"vauban": vauban})

    return chunk


def _sent(chunk: Chunk) -> bytes:
    return event(chunk.model_dump_json(exclude_unset=True))


def _completion(asked: _Asked, answer: Answer) -> schemas.Completion:
    refused = asked.form is not None and not _filled(answer)
    said = schemas.ChatAnswer(
        content=None if refused else answer.text,
        refusal=answer.text if refused else None,
        annotations=schemas.url_citations(answer, asked.base),
    )
    return schemas.Completion(
        id=asked.id,
        created=asked.created,
        model=asked.model,
        choices=[schemas.Choice(message=said, finish_reason=schemas.finish_reason(answer, asked.sampling))],
        usage=schemas.usage(answer),
        vauban=schemas.vauban_object(answer),
        search_results=schemas.search_results(answer) if asked.search_results else None,
    )


def _filled(answer: Answer) -> bool:
    """Whether the text is the form that was asked for, and not the words that say why there is none."""
    return answer.status is Status.EXTRACTS


def _count(service: Service, asked: _Asked, running: Running, answer: Answer) -> None:
    """Note a finished answer, in the metrics and in the event of its request."""
    made = running.progress
    service.metrics.answer(answer, made.passages, made.sentence)
    request_log.note(
        answer=asked.id,
        outcome=answer.status.value,
        prompt_tokens=answer.prompt_tokens,
        reused_tokens=answer.reused_tokens,
        completion_tokens=answer.completion_tokens,
        stages=answer.timings,
        first_passages=None if made.passages is None else round(made.passages, 4),
        first_sentence=None if made.sentence is None else round(made.sentence, 4),
    )


def _read(body: schemas.ChatRequest, service: Service, principal: Principal, request: Request) -> _Asked:
    """What a request asks.

    Raises:
        BadRequest, Refusal: it asks for what we do not have, or holds no question.
        NotFound: the model or a corpus does not exist, or the caller may not see it.
    """
    _check_supported(body)
    options = body.vauban or schemas.Options.model_validate({})
    seen = visible(service, principal)
    corpora = corpora_of(body.model, seen, principal)
    if options.corpora is not None:
        corpora = tuple(dict.fromkeys(options.corpora))
        _check_within(body.model, corpora)
    spoken = [message for message in body.messages if message.role in {"user", "assistant"}]
    asking = max((place for place, message in enumerate(spoken) if message.role == "user"), default=None)
    if asking is None:
        raise BadRequest(
            "there is no question: no message has the role `user`",
            "il n'y a pas de question : aucun message n'a le rôle « user »",
            code="empty_question",
        )
    turns = [Turn(message.role, _text(message)) for message in spoken[:asking]]
    # What is kept of a conversation takes the place of what a client sends of it.
    past = service.history.past(principal, options.conversation) if options.conversation else None
    said = past.turns if past else tuple(turn for turn in turns if turn.text.strip())[-LAST_TURNS:]
    return _Asked(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=body.model,
        question=Question(
            text=_text(spoken[asking]),
            principal=principal,
            # All that the caller may see is `None`: a caller who sees no corpus gets an answer, not an error.
            corpora=None if body.model == "vauban" and options.corpora is None else corpora,
            as_of=options.as_of,
            history=said,
            language=options.language,
        ),
        sampling=_sampling(body, service.vauban.generator),
        form=_form(body, service.vauban.generator),
        past=past,
        search_results=options.search_results,
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        base=str(request.base_url).rstrip("/"),
        request=request.state.request_id,
    )


def _check_within(model: str, corpora: tuple[str, ...]) -> None:
    """An assistant of one corpus is asked about that corpus only; what may be seen is the scope's to judge."""
    own = model.removeprefix("vauban-")
    if own != model and set(corpora) != {own}:
        raise Refusal(
            f"the model `{model}` searches the corpus `{own}` only",
            f"le modèle « {model} » n'interroge que le corpus « {own} »",
            code="invalid_request",
            field="vauban.corpora",
        )


def _check_supported(body: schemas.ChatRequest) -> None:
    given = body.model_extra or {}
    for name, neutral in _UNSUPPORTED.items():
        value = given.get(name)
        if value is not None and value not in neutral:
            raise _unsupported(name)
    if body.n not in {None, 1}:
        raise _unsupported("n")
    if any(message.role in {"tool", "function"} for message in body.messages):
        raise _unsupported("messages")


def _unsupported(field: str) -> Refusal:
    return Refusal(
        f"this server does not support `{field}` as it was sent; leave it out",
        f"ce serveur ne prend pas en charge « {field} » tel qu'il a été envoyé ; retirez-le",
        code="unsupported_parameter",
        field=field,
    )


def _form(body: schemas.ChatRequest, generator: Generator | None) -> Keyed | None:
    """The JSON form that is asked for, if one is.

    Raises:
        Refusal: there is no model to choose what goes into it, or it is asked for in another way.
        BadRequest: its schema asks for what no sentence of a text can be.
    """
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if generator is None or wanted.type != "json_schema" or wanted.json_schema is None:
        raise _unsupported("response_format")
    return structured.read(wanted.json_schema.json_schema)


def _is_system(message: schemas.ChatMessage) -> bool:
    return message.role in {"system", "developer"}


def _text(message: schemas.ChatMessage) -> str:
    """The text of a message; parts that are not text are refused rather than left out unseen."""
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for part in message.content:
        if part.type not in {"text", "input_text"} or part.text is None:
            raise Refusal(
                f"a message part of type `{part.type[:50]}` is not supported; send text",
                f"une partie de message de type « {part.type[:50]} » n'est pas prise en charge ; envoyez du texte",
                code="unsupported_parameter",
                field="messages",
            )
    return "\n".join(part.text or "" for part in message.content)


def _sampling(body: schemas.ChatRequest, generator: Generator | None) -> Sampling:
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stops) > MOST_STOPS or not all(stops):
        raise Refusal(
            f"`stop` takes at most {MOST_STOPS} strings, none of them empty",
            f"« stop » prend au plus {MOST_STOPS} textes, aucun vide",
            code="invalid_request",
            field="stop",
        )
    default = Sampling()
    form = body.response_format is not None and body.response_format.type == "json_schema"
    # A form that is cut short is none.
    asked = body.max_completion_tokens or body.max_tokens or (LONGEST_ANSWER if form else default.max_tokens)
    # A caller's limit is an upper bound; the passages need most of a context.
    most = min(LONGEST_ANSWER, generator.context // 3) if generator else LONGEST_ANSWER
    return Sampling(
        max_tokens=min(asked, most),
        temperature=default.temperature if body.temperature is None else body.temperature,
        seed=default.seed if body.seed is None else body.seed % 2**32,  # llama.cpp's are unsigned, 32 bits
        stop=stops,
    )
