"""Every model on the wire, and the two functions that turn an :class:`~rag.types.Answer` into JSON.

Shapes that other clients know keep their names: chat completions, chunks, embeddings and models are OpenAI's,
``search_results`` is Albert's, ``rerank`` is the one that rerankers share. What is ours sits in one object,
``vauban``. Offsets count Unicode code points, half-open; passages and pages count from 1.

Requests that are ours refuse unknown fields, because they are mistakes; chat and embeddings requests tolerate
them, because clients send many, and refuse by name those that would change the answer (``api_chat``).
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import urllib.parse
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticKnownError

from rag import types

LONGEST_COMMENT = 2_000
"""Characters of a feedback comment: a remark, not a document."""
MOST_HITS = 100
"""Hits that one search may ask for."""
LAST_SNAPSHOT = 2**31 - 1
"""The largest number of a snapshot that may be asked for; databases hold no number of any size."""
MOST_TEXTS = 256
"""Texts of one embeddings or rerank request: some seconds of encoding on a small machine."""


def _day(value: object) -> object:
    """A day is written ``YYYY-MM-DD``; pydantic alone would take a number of seconds for one."""
    if isinstance(value, str):
        return dt.date.fromisoformat(value)
    if value is None or isinstance(value, dt.date):
        return value
    raise ValueError("a day is written YYYY-MM-DD")


def _unicode(text: str) -> str:
    """JSON can spell half a surrogate pair, which no text holds and nothing below could encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text holds half a character (a lone surrogate)") from error
    return text


Day = Annotated[dt.date, BeforeValidator(_day)]
Text = Annotated[str, AfterValidator(_unicode)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]


class Sent(BaseModel):
    """What the server sends. Readers ignore fields that a newer server adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class OfJson(BaseModel):
    """What comes as JSON, whose kinds it keeps: ``1`` is not true, ``true`` is no number, and ``"5"`` is none either.

    Pydantic alone takes each for the other, and strictly takes ``5.0`` for no whole number and no text for a day.
    """

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = (set(get_args(annotation)) if get_origin(annotation) is UnionType else {annotation}) - {type(None)}
        if bool in kinds and isinstance(value, int | float | str) and not isinstance(value, bool):
            raise PydanticKnownError("bool_type")
        if kinds <= {int, float} and isinstance(value, bool | str):
            raise PydanticKnownError("int_type" if kinds == {int} else "float_type")
        return value


class Received(OfJson):
    """What the server receives; an unknown field is a mistake and is named in the refusal."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerant(OfJson):
    """What clients written for other servers send: unknown fields are kept aside."""

    model_config = ConfigDict(frozen=True, extra="allow")


# --- the vauban object ---------------------------------------------------------------------------------


class Passage(Sent):
    """A passage of the answer. ``shown`` is false when it did not fit into the model's prompt."""

    n: int
    id: str
    corpus: str
    document: str
    title: str
    reference: str
    path: list[str]
    page: int | None
    page_end: int | None
    valid_from: dt.date | None
    valid_to: dt.date | None
    text: str
    score: float
    shown: bool
    url: str
    legal_status: types.LegalStatus | None = None
    quality: float | None = Field(
        None, description="Between 0 and 1, where the text may have been read wrongly (a poor scan); null elsewhere."
    )
    norm_rank: types.NormRank | None = None
    found: types.Found = Field(
        types.Found.SEARCH,
        description="How it came here: by the search, because a better passage names it, or as its neighbour.",
    )


class Span(Sent):
    """Characters ``[start, end)`` of the text of passage ``passage``."""

    passage: int
    start: int
    end: int


class Claim(Sent):
    """One sentence of the draft and its verdict; ``start``, ``end`` and ``text`` are null when it is not shown."""

    start: int | None
    end: int | None
    text: str | None
    verdict: types.Verdict
    reason: types.Reason | None
    passages: list[int]
    spans: list[Span]


class Dropped(Sent):
    """A passage that the model was not shown, and why."""

    passage: int
    reason: types.DropReason


class Notice(Sent):
    """One thing to know of an answer, in the reader's language; ``day`` is the date that it speaks of."""

    kind: types.NoticeKind
    text: str
    passages: list[int]
    day: dt.date | None


class ClarifyingChoice(Sent):
    """One way to make a question clearer: what the reader picks, and the question to ask then."""

    label: str
    question: str


class Conflict(Sent):
    """Two places that contradict each other, the higher norm first, and what differs."""

    first: Span
    second: Span
    reason: types.Reason


class Budget(Sent):
    """Tokens of the prompt that the model read, and how many it might have had; both 0 when none was made."""

    tokens: int
    limit: int


class Vauban(Sent):
    """What stands behind an answer: how it ended, what it rests on, and what is needed to give it again.

    ``as_of_source`` says who chose the day ``as_of``: nobody (today), the caller, or the words of the question.
    ``choices`` come with ``needs_clarification`` and ``conflicts`` with ``conflicting_sources``.
    """

    status: types.Status
    claims: list[Claim]
    passages: list[Passage]
    dropped: list[Dropped]
    snapshots: dict[str, int]
    as_of: dt.date | None
    question: str
    model: str | None
    prompt: str | None
    timings: dict[str, float]
    contact: str
    notices: list[Notice] = Field(default_factory=list)
    choices: list[ClarifyingChoice] = Field(default_factory=list)
    conflicts: list[Conflict] = Field(default_factory=list)
    as_of_source: types.AsOfSource = types.AsOfSource.TODAY
    budget: Budget = Budget(tokens=0, limit=0)


class VaubanDelta(Sent):
    """A part of the ``vauban`` object on its way, in a stream; only the fields that are known by then are set.

    First ``{status: null, passages, question, as_of}``, again when a text joins that contradicts the likely answer;
    ``{waiting, waiting_seconds}`` each time the place in the queue changes (1 is next, 0 is its turn; the seconds are
    an estimate, null before one can be made); ``{claims}`` after the text. The last chunk has a whole :class:`Vauban`.
    """

    status: types.Status | None = None
    passages: list[Passage] | None = None
    question: str | None = None
    as_of: dt.date | None = None
    waiting: int | None = None
    waiting_seconds: float | None = None
    claims: list[Claim] | None = None


class Citation(Sent):
    """Characters ``[start, end)`` of the text rest on passage ``passage``."""

    start: int
    end: int
    passage: int
    document: str
    reference: str
    page: int | None


class Asked(Vauban):
    """The JSON of ``vauban ask --json``: the ``vauban`` object, the text and its citations."""

    text: str
    citations: list[Citation]


# --- chat completions ----------------------------------------------------------------------------------


class TextPart(Tolerant):
    """A part of a message; only ``type: text`` is understood."""

    type: str
    text: Text | None = None


class ChatMessage(Tolerant):
    """One message. ``system`` and ``developer`` messages are ignored: clients never change the rules."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[TextPart] | None = None


class StreamOptions(Tolerant):
    include_usage: bool = False


class JsonSchema(Tolerant):
    """The form that an answer fills in: an object of texts, lists and objects; see the README for what it may hold."""

    name: Name
    json_schema: dict[str, JsonValue] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Tolerant):
    """``text`` is the default; ``json_schema`` asks for a form filled with sentences of the regulations."""

    type: Literal["text", "json_schema", "json_object"]
    json_schema: JsonSchema | None = None


class Options(Received):
    """What a question may say beyond OpenAI's fields.

    ``corpora`` narrows the assistant's own; ``as_of`` is the day on which the rules must be in force (default:
    today in Paris); ``language`` is that of the answer (default: the question's); ``search_results`` adds the
    passages in Albert's shape. ``conversation`` is the id of one of the caller's: the question goes on with it, what
    the caller may still read of it is the history, whatever else ``messages`` hold, and question and answer are kept.
    """

    corpora: list[Name] | None = Field(None, min_length=1, max_length=50)
    conversation: Name | None = None
    as_of: Day | None = None
    language: Literal["fr", "en"] | None = None
    search_results: bool = False


class ChatRequest(Tolerant):
    """A chat completion request. The last user message is the question, those before it the history."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "vauban",
                    "messages": [{"role": "user", "content": "Combien de jours de congés annuels ai-je ?"}],
                    "vauban": {"corpora": ["rh"], "as_of": "2026-01-15", "language": "fr"},
                }
            ]
        }
    )

    model: Name
    messages: list[ChatMessage] = Field(min_length=1, max_length=1_000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1, le=10_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=10_000_000)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Text | list[Text] | None = None
    n: int | None = Field(None, ge=1)
    user: Text | None = Field(None, max_length=512)
    response_format: ResponseFormat | None = None
    metadata: dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]] | None = Field(
        None, max_length=16
    )
    vauban: Options | None = None


class UrlCitation(Sent):
    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(Sent):
    """OpenAI's citation: characters ``[start_index, end_index)`` of the content, and where their source is."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class ChatAnswer(Sent):
    """``content`` is null, and ``refusal`` says why, only where a JSON form was asked for and could not be filled."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    annotations: list[Annotation]


FinishReason = Literal["stop", "length"]
"""``length`` when the draft came to ``max_tokens`` and what it lacks was not written."""


class Choice(Sent):
    index: int = 0
    message: ChatAnswer
    logprobs: None = None
    finish_reason: FinishReason = "stop"


class PromptTokensDetails(Sent):
    cached_tokens: int


class Usage(Sent):
    """Tokens of the writing model; zero when it did not write.

    ``cached_tokens`` of the prompt were not read again: the public system prompt, and what the same person asked
    before.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class AlbertChunk(Sent):
    object: Literal["chunk"]
    id: str
    metadata: dict[str, str | int | None]
    content: str


class SearchResult(Sent):
    """A passage in the shape of the Albert API."""

    method: Literal["hybrid"]
    score: float
    chunk: AlbertChunk


class Completion(Sent):
    """A finished answer, in OpenAI's shape, with ``vauban`` and on request ``search_results``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "chatcmpl-6f1c0d5a9b3e4f7a8c2d1e0f5a6b7c8d",
                    "object": "chat.completion",
                    "created": 1767225600,
                    "model": "vauban",
                    "choices": [
                        {
                            "index": 0,
                            "message": {
                                "role": "assistant",
                                "content": "Le congé annuel est de 25 jours ouvrés. [1]",
                                "refusal": None,
                                "annotations": [
                                    {
                                        "type": "url_citation",
                                        "url_citation": {
                                            "start_index": 0,
                                            "end_index": 43,
                                            "title": "Règlement des congés, Article 4",
                                            "url": "http://127.0.0.1:8080/v1/corpora/rh/documents/conges?snapshot=3",
                                        },
                                    }
                                ],
                            },
                            "logprobs": None,
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": {
                        "prompt_tokens": 812,
                        "completion_tokens": 24,
                        "total_tokens": 836,
                        "prompt_tokens_details": {"cached_tokens": 188},
                    },
                    "vauban": {
                        "status": "answered",
                        "claims": [
                            {
                                "start": 0,
                                "end": 43,
                                "text": "Le congé annuel est de 25 jours ouvrés.",
                                "verdict": "supported",
                                "reason": None,
                                "passages": [1],
                                "spans": [{"passage": 1, "start": 0, "end": 48}],
                            }
                        ],
                        "passages": [
                            {
                                "n": 1,
                                "id": "0b0e7c1e-6f1f-5b0e-9a43-5f6a2c1d7e88",
                                "corpus": "rh",
                                "document": "conges",
                                "title": "Règlement des congés",
                                "reference": "Article 4",
                                "path": ["Titre II. Congés annuels"],
                                "page": 3,
                                "page_end": 3,
                                "valid_from": "2024-01-01",
                                "valid_to": None,
                                "text": "La durée du congé annuel est de 25 jours ouvrés.",
                                "score": 0.93,
                                "shown": True,
                                "url": "/v1/corpora/rh/documents/conges?snapshot=3",
                            }
                        ],
                        "dropped": [],
                        "snapshots": {"rh": 3},
                        "as_of": "2026-01-15",
                        "question": "Combien de jours de congés annuels ai-je ?",
                        "model": "smollm2:sha256-9d1c",
                        "prompt": "1f2e3d4c-5b6a7988-90a1b2c3",
                        "timings": {"search": 0.02, "generation": 4.1, "total": 4.2},
                        "contact": "drh@exemple.test",
                    },
                }
            ]
        }
    )

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    vauban: Vauban
    search_results: list[SearchResult] | None = None


class Delta(Sent):
    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(Sent):
    index: int
    delta: Delta
    finish_reason: FinishReason | None = None


class Chunk(Sent):
    """One event of a streamed answer; a field that is not set is not sent (so nothing inside may have a default).

    The order: role with the passages, places in the queue, the text by verified sentences, annotations with
    the verdicts, ``finish_reason`` with the whole ``vauban`` object, usage on request, then ``[DONE]``.
    """

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    vauban: Vauban | VaubanDelta | None = None
    search_results: list[SearchResult] | None = None


# --- models, search, embeddings, rerank ----------------------------------------------------------------


class Model(Sent):
    """An assistant: a named set of corpora. ``vauban`` is all that the caller may see."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "vauban"
    title: str
    corpora: list[str]


class Models(Sent):
    object: Literal["list"] = "list"
    data: list[Model]


class SearchRequest(Received):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"question": "plafond des frais de repas", "corpora": ["finances"], "limit": 5}]
        }
    )

    question: Text
    corpora: list[Name] | None = Field(None, min_length=1, max_length=50)
    limit: int = Field(10, ge=1, le=MOST_HITS)
    as_of: Day | None = None


class Hit(Sent):
    """One result: first the keys of ``vauban search --json``, then what leads back to the source."""

    rank: int
    score: float
    corpus: str
    document: str
    title: str
    reference: str
    page: int | None
    text: str
    id: str
    path: list[str]
    page_end: int | None
    valid_from: dt.date | None
    valid_to: dt.date | None
    url: str
    legal_status: types.LegalStatus | None = None
    quality: float | None = None


class SearchResponse(Sent):
    hits: list[Hit]
    as_of: dt.date | None
    snapshots: dict[str, int]


class EmbeddingsRequest(Tolerant):
    """Texts to embed. ``input_type`` says which side of a search they are on: models may treat them apart."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "vauban", "input": ["congé annuel"], "encoding_format": "float"}]}
    )

    model: Name
    input: Text | list[Text]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "passage"] = "passage"
    user: str | None = Field(None, max_length=512)


class Embedding(Sent):
    """``embedding`` is a list of floats, or on request their little-endian float32 bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Sent):
    """Encoders are not metered: always zero."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(Sent):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage = EmbeddingsUsage()


class RerankRequest(Received):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "congé annuel", "documents": ["Le congé est de 25 jours.", "Énergie"], "top_n": 1}]
        }
    )

    query: Text
    documents: list[Text] = Field(min_length=1, max_length=MOST_TEXTS)
    model: Name | None = None
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False


class RerankedText(Sent):
    text: str


class Reranked(Sent):
    index: int
    relevance_score: float
    document: RerankedText | None = None


class RerankResponse(Sent):
    model: str
    results: list[Reranked]


# --- corpora and documents -----------------------------------------------------------------------------


class Corpus(Sent):
    """A corpus that the caller may search; ``snapshot`` is the published one, null before the first."""

    name: str
    title: str
    language: str
    contact: str
    norm_rank: types.NormRank | None
    snapshot: int | None


class Corpora(Sent):
    data: list[Corpus]


class CorpusDetail(Corpus):
    """A corpus with the number of its documents that the caller may read.

    ``fed`` says how documents come in: sent one by one, or synced from a folder on the server's side. ``held`` is true
    after a rollback, until somebody publishes again. ``groups``, ``clearance`` and ``retention`` are told to those who
    feed the corpus or declare corpora, and null to readers.
    """

    documents: int
    fed: Literal["uploads", "folder"]
    held: bool
    groups: list[str] | None
    clearance: int | None
    retention: int | None


class CorpusRequest(Received):
    """A new corpus that uploads feed. Nobody sees it while ``groups`` is empty; ``["*"]`` is everyone."""

    name: Name
    title: Text = Field("", max_length=500)
    language: Text = Field("fr", min_length=2, max_length=3)
    groups: list[Name] = Field(default_factory=list, max_length=200)
    clearance: int = Field(0, ge=0, le=1_000_000)
    contact: Text = Field("", max_length=500)
    norm_rank: types.NormRank | None = None
    retention: int = Field(365, ge=0, le=1_000_000, description="Days for which earlier snapshots stay readable.")

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "procedures",
                    "title": "Procédures internes",
                    "groups": ["agents"],
                    "contact": "secretariat@exemple.fr",
                    "norm_rank": None,
                }
            ]
        },
    )


class CorpusChange(Received):
    """What is to change of a corpus, at once; what is left out stays."""

    title: Text | None = Field(None, min_length=1, max_length=500)
    groups: list[Name] | None = Field(None, max_length=200)
    clearance: int | None = Field(None, ge=0, le=1_000_000)
    contact: Text | None = Field(None, max_length=500)
    retention: int | None = Field(None, ge=0, le=1_000_000)


class UploadWait(BaseModel):
    """How a change to a document is carried out; in a query or a form all is text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wait: float | None = Field(None, ge=0, le=120, description="Seconds to wait for its end, before a 202.")
    resume: bool = Field(
        False, description="After a rollback: what it took back may be published again with this change."
    )


class UploadSaid(UploadWait):
    """What is said of a document that is sent, in the query or as fields of the form; a form's field wins."""

    name: Text | None = Field(None, min_length=1, max_length=1_000, description="Its file name, of a raw body.")
    id: Name | None = Field(None, description="Its lasting id; default the file name.")
    title: Text | None = Field(None, min_length=1, max_length=1_000)
    language: Text | None = Field(None, min_length=2, max_length=3)
    norm_rank: types.NormRank | None = None
    valid_from: Day | None = None
    valid_to: Day | None = Field(None, description="The first day on which it is no longer in force.")
    groups: list[Annotated[Text, Field(max_length=200)]] | None = Field(
        None, max_length=50, description="Only these groups may read it; may be repeated. Default all of its corpus."
    )
    clearance: int | None = Field(None, ge=0, le=1_000_000)


class Document(Sent):
    """One document at ``snapshot``. ``state`` is ``current``, or ``stale`` when its file's last version failed."""

    id: str
    corpus: str
    title: str
    language: str
    source: str
    sha256: str
    media_type: str
    norm_rank: types.NormRank | None
    valid_from: dt.date | None
    valid_to: dt.date | None
    pages: int | None
    state: str
    snapshot: int
    url: str
    file: str
    legal_status: types.LegalStatus | None = None
    quality: float | None = Field(None, description="The score of its worst page, where its text was judged.")


class Part(Sent):
    """A chunk of an article: what is searched and cited, with its place in the document's text."""

    id: str
    text: str
    start: int
    end: int
    page: int | None
    page_end: int | None


class Article(Sent):
    """A section of the outline, whole, in one or more parts."""

    reference: str
    path: list[str]
    valid_from: dt.date | None
    valid_to: dt.date | None
    parts: list[Part]
    legal_status: types.LegalStatus | None = None


class ArticleVersion(Sent):
    """One version of an article: when it is in force, and where it is read."""

    valid_from: dt.date | None
    valid_to: dt.date | None
    legal_status: types.LegalStatus | None
    url: str


class ArticleAt(Sent):
    """An article by its lasting address: the version in force on ``as_of``, null where there is none on that day.

    ``permalink`` stays the same when the document is replaced; ``versions`` are those that the published document has.
    """

    corpus: str
    document: str
    title: str
    reference: str
    as_of: dt.date
    snapshot: int
    permalink: str
    article: Article | None
    versions: list[ArticleVersion]


class DocumentDetail(Document):
    articles: list[Article]


# --- feedback and ingestion ----------------------------------------------------------------------------


class FeedbackRequest(Received):
    """What a reader thought of an answer, by the ``id`` of its completion."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer": "chatcmpl-6f1c0d5a9b3e4f7a8c2d1e0f5a6b7c8d",
                    "thumb": "down",
                    "reason": "outdated",
                    "comment": "Le plafond a changé en janvier.",
                }
            ]
        }
    )

    answer: str = Field(pattern=r"^chatcmpl-[0-9a-f]{32}$")
    thumb: Literal["up", "down"]
    reason: Literal["wrong", "incomplete", "outdated", "source", "unclear", "other"] | None = None
    comment: Text = Field("", max_length=LONGEST_COMMENT)


class FeedbackResponse(Sent):
    id: str


class Listed(Sent):
    """One page of a list: ``next`` is what to send as ``after`` for the one that follows, null at the end."""

    object: Literal["list"] = "list"
    has_more: bool = False
    next: str | None = None


class Documents(Listed):
    """``total`` counts all documents that the caller may see, of every page."""

    data: list[Document]
    total: int


class Feedback(Sent):
    """What the caller thought of an answer."""

    id: str
    answer: str
    thumb: Literal["up", "down"]
    reason: str | None
    comment: str
    created: int


class Feedbacks(Listed):
    data: list[Feedback]
    first_id: str | None = None
    last_id: str | None = None


class RestsOn(Sent):
    """What an answer rests on: a document, or with null the corpus as a whole."""

    corpus: str
    document: str | None


class ReceivedFeedback(Sent):
    """What somebody thought of an answer that rests on a corpus; who it was is not said, and no more than the day."""

    id: str
    answer: str
    thumb: Literal["up", "down"]
    reason: str | None
    comment: str
    day: dt.date
    rests_on: list[RestsOn]


class ReceivedFeedbacks(Listed):
    data: list[ReceivedFeedback]


# --- conversations -------------------------------------------------------------------------------------

LONGEST_TITLE = 200


class ConversationRequest(Received):
    """A new conversation; without a title it takes its first question for one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Mutation outre-mer"}]})

    title: Text = Field("", max_length=LONGEST_TITLE)


class ConversationChange(Received):
    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Mutation à La Réunion"}]})

    title: Text = Field(min_length=1, max_length=LONGEST_TITLE)


class Conversation(Sent):
    """``exchanges`` counts the questions asked in it."""

    id: str
    object: Literal["conversation"] = "conversation"
    title: str
    created: int
    updated: int
    exchanges: int


class Conversations(Listed):
    data: list[Conversation]
    first_id: str | None = None
    last_id: str | None = None


class ConversationMessage(Sent):
    """One message. An answer says by ``answer`` which completion it was; its passages have no text (see their ``url``).

    ``withheld`` is true for an answer that rests on a text that its reader may no longer read, or that is gone.
    """

    id: str
    object: Literal["conversation.message"] = "conversation.message"
    role: Literal["user", "assistant"]
    content: str | None
    created: int
    answer: str
    withheld: bool = False
    vauban: Vauban | None = None


class ConversationMessages(Listed):
    data: list[ConversationMessage]
    first_id: str | None = None
    last_id: str | None = None


class ExportedConversation(Conversation):
    """A line of an export: a conversation; its messages follow."""

    type: Literal["conversation"] = "conversation"


class ExportedMessage(ConversationMessage):
    """A line of an export: a message of the conversation above it."""

    type: Literal["message"] = "message"
    conversation: str


class ExportedAnswer(Sent):
    """A line of an export: that an answer was given outside of a conversation; what it rests on, where not withheld."""

    type: Literal["answer"] = "answer"
    answer: str
    created: int
    withheld: bool
    rests_on: list[RestsOn]


class ExportedFeedback(Feedback):
    """A line of an export: feedback that was given."""

    type: Literal["feedback"] = "feedback"


class SyncRequest(Received):
    """Make the corpus equal to a folder on the server's side; without ``path``, to what was uploaded to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "/srv/reglements/rh", "dry_run": True}]})

    path: Text | None = Field(None, min_length=1, max_length=4_096)
    dry_run: bool = False
    confirm_removals: bool = False
    init: bool = False
    automatic: bool = Field(False, description="Nobody asked for it: it waits where a corpus was rolled back.")
    workers: types.Workers = Field(types.Workers.LOCAL, description="Where the documents are read.")


class BackupRequest(Received):
    """``path`` is a folder on the server's side that does not exist yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "/srv/sauvegardes/2025-01-01"}]})

    path: Text = Field(min_length=1, max_length=4_096)


class RebuildRequest(Received):
    """``embedder`` is a name of the manifest of models; null embeds anew with the one in use."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"embedder": "minilm"}]})

    embedder: Text | None = Field(None, min_length=1, max_length=200)


class ExportRequest(Received):
    """Write a corpus into a folder on the server's side, new or empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "/srv/echanges/rh"}]})

    path: Text = Field(min_length=1, max_length=4_096)


class ImportRequest(Received):
    """Take in what an export wrote, from a folder on the server's side."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "/srv/echanges/rh"}]})

    path: Text = Field(min_length=1, max_length=4_096)
    keep_audience: bool = Field(
        False, description="A corpus that is new here keeps the audience it had; else nobody may see it yet."
    )


class Finding(Sent):
    """One thing to look at: the documents, the articles where it is about some, and what it is."""

    kind: str
    documents: list[str]
    references: list[str]
    detail_fr: str
    detail_en: str


class CorpusReport(Sent):
    """What is to be looked at in a corpus; ``counts`` has the number of findings of each kind."""

    corpus: str
    snapshot: int | None
    documents: int
    articles: int
    chunks: int
    searches: int
    counts: dict[str, int]
    findings: list[Finding]
    seconds: float


class RollbackRequest(Received):
    """``to`` is an earlier snapshot; null is the parent of the published one."""

    to: int | None = Field(None, ge=1, le=LAST_SNAPSHOT)


class RollbackResponse(Sent):
    corpus: str
    snapshot: int


class Rejected(Sent):
    path: str
    reason: str
    detail: str


class Run(Sent):
    """One ingestion. ``counts`` has the keys of ``ingest sync --json`` that are numbers, as far as it has come.

    ``kind`` says what it does; a run of all corpora has an empty ``corpus``.

    ``stage``, ``done`` and ``total`` tell the progress of a running one, ``error`` (a code) and ``detail`` why one
    failed. Of one that waits, ``stage`` is ``waiting`` and ``total`` how many come before it.
    """

    id: str
    corpus: str
    state: types.RunState
    snapshot: int | None
    counts: dict[str, float]
    rejected: list[Rejected]
    started: dt.datetime | None
    ended: dt.datetime | None
    stage: str
    done: int
    total: int
    error: str | None
    detail: str
    kind: types.RunKind


class Runs(Sent):
    """The latest ingestions, newest first; ``next`` is the ``after`` of the following page, null on the last one."""

    data: list[Run]
    has_more: bool = False
    next: str | None = None


# --- errors and probes ---------------------------------------------------------------------------------


class ProblemError(Sent):
    """The same refusal as OpenAI's clients read it; ``param`` is the field at fault."""

    message: str
    type: str
    code: str
    param: str | None = None


class Problem(Sent):
    """An RFC 9457 problem document. ``code`` is stable for programs; ``title`` and ``detail`` are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:vauban:problem:unknown_corpus",
                    "title": "Introuvable",
                    "status": 404,
                    "detail": "il n'y a pas de corpus « rhh » ; vous pouvez interroger : rh",
                    "code": "unknown_corpus",
                    "instance": "urn:vauban:request:5f0c7d0e9c4b4f6b8d1e2a3b4c5d6e7f",
                    "error": {
                        "message": "il n'y a pas de corpus « rhh » ; vous pouvez interroger : rh",
                        "type": "not_found_error",
                        "code": "unknown_corpus",
                        "param": None,
                    },
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    error: ProblemError


class Health(Sent):
    status: Literal["ok"] = "ok"


class Readiness(Sent):
    """``ready`` when questions can be answered; ``parts`` says how each part stands, to those who run the service.

    ``canary`` says how each of the questions that are asked by schedule ended last, by its id.
    """

    ready: bool
    state: Literal["ready", "degraded", "warming", "failed"]
    parts: dict[str, Literal["ok", "warming", "absent", "degraded", "failed"]]
    canary: dict[str, Literal["passed", "wrong_status", "wrong_passages", "error"]]


class LiveQueue(Sent):
    """The line at the writing model: requests and people waiting, and places of which some are taken."""

    waiting: int
    people: int
    serving: int
    places: int
    turn_seconds: float | None


class LiveAnswer(Sent):
    """One answer in the making; ``person`` is a pseudonym that holds until the server stops."""

    person: str
    stage: Literal["searching", "waiting", "reading", "writing"]
    position: int
    seconds: float


class LiveStage(Sent):
    """Seconds of one stage over the latest answers."""

    stage: str
    p50: float
    p95: float


class LiveReplica(Sent):
    """One model server, by its number in the settings."""

    replica: int
    state: Literal["serving", "away", "kept_out"]
    slots: int
    busy: int


class LiveRun(Sent):
    """One ingestion that has not ended."""

    id: str
    kind: str
    corpus: str
    state: str
    stage: str
    done: int
    total: int


class LiveView(Sent):
    """What the service is doing at this moment. ``statuses`` are the answers of the last minute."""

    version: str
    pid: int
    uptime: float
    ready: Readiness
    memory: int
    cpu_seconds: float
    free_bytes: int
    queue: LiveQueue | None
    answers: list[LiveAnswer]
    statuses: dict[str, int]
    tokens_per_second: float | None
    stages: list[LiveStage]
    replicas: list[LiveReplica]
    runs: list[LiveRun]
    corpora: int
    documents: int
    chunks: int


class Version(Sent):
    name: str = "vauban"
    version: str


# --- from our types to the wire ------------------------------------------------------------------------


def document_slug(document: str) -> str:
    """A document's id as one segment of a URL, before percent-encoding; :func:`document_id` reads it back."""
    return document.replace("~", "~7E").replace("/", "~2F")


def document_id(slug: str) -> str:
    """The id that :func:`document_slug` made a slug of."""
    return slug.replace("~2F", "/").replace("~7E", "~")


def document_url(corpus: str, document: str, snapshot: int | None = None, rest: str = "") -> str:
    """The path of a document, of its ``/file`` or of a page image, at a snapshot when one is given."""
    quoted = urllib.parse.quote(document_slug(document), safe="")
    query = "" if snapshot is None else f"?snapshot={snapshot}"
    return f"/v1/corpora/{urllib.parse.quote(corpus, safe='')}/documents/{quoted}{rest}{query}"


def article_slug(reference: str) -> str:
    """An article's number as a segment of a URL: ``Article L. 3141-3`` and ``l3141-3`` are one."""
    plain = unicodedata.normalize("NFKD", reference.replace("º", "o").replace("°", "o")).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    plain = re.sub(r"^\s*art(icle|\.)?[\s-]+|(?<=\b[a-z])[.* ]+(?=\d)", "", plain)
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def article_url(corpus: str, document: str, reference: str) -> str:
    """The lasting address of an article."""
    return document_url(corpus, document, rest=f"/articles/{article_slug(reference)}")


def passage(found: types.Passage, snapshot: int | None = None) -> Passage:
    """A passage on the wire; its ``url`` stays valid when the corpus moves on, because it names the snapshot."""
    chunk = found.chunk
    return Passage(
        n=found.n,
        id=chunk.id,
        corpus=chunk.corpus,
        document=chunk.document,
        title=chunk.title,
        reference=chunk.reference,
        path=list(chunk.path),
        page=chunk.page,
        page_end=chunk.page_end,
        valid_from=chunk.validity.start,
        valid_to=chunk.validity.end,
        text=chunk.text,
        score=found.score,
        shown=found.shown,
        url=document_url(chunk.corpus, chunk.document, snapshot),
        legal_status=chunk.legal_status,
        quality=_low(chunk.quality),
        norm_rank=chunk.norm_rank,
        found=found.found,
    )


def _low(quality: float | None) -> float | None:
    return quality if quality is not None and quality < types.LOW_QUALITY else None


def passages(found: Iterable[types.Passage], snapshots: dict[str, int]) -> list[Passage]:
    return [passage(one, snapshots.get(one.chunk.corpus)) for one in found]


def claim(placed: types.PlacedClaim) -> Claim:
    """A claim on the wire: one that is not shown keeps its verdict and loses its words."""
    judged = placed.claim
    shown = placed.start is not None
    return Claim(
        start=placed.start,
        end=placed.end,
        text=judged.text if shown else None,
        verdict=judged.verdict,
        reason=judged.reason,
        passages=list(judged.cited),
        spans=[_span(span) for span in judged.spans],
    )


def _span(span: types.Span) -> Span:
    return Span(passage=span.passage, start=span.start, end=span.end)


def vauban_object(answer: types.Answer) -> Vauban:
    """The ``vauban`` object of an answer."""
    return Vauban(
        status=answer.status,
        claims=[claim(placed) for placed in answer.claims],
        passages=passages(answer.passages, dict(answer.snapshots)),
        dropped=[Dropped(passage=drop.passage, reason=drop.reason) for drop in answer.dropped],
        snapshots=dict(answer.snapshots),
        as_of=answer.as_of,
        question=answer.question,
        model=answer.model,
        prompt=answer.prompt,
        timings=dict(answer.timings),
        contact=answer.contact,
        notices=[
            Notice(kind=one.kind, text=one.text, passages=list(one.passages), day=one.day) for one in answer.notices
        ],
        choices=[ClarifyingChoice(label=one.label, question=one.question) for one in answer.choices],
        conflicts=[
            Conflict(first=_span(one.first), second=_span(one.second), reason=one.reason) for one in answer.conflicts
        ],
        as_of_source=answer.as_of_source,
        budget=Budget(tokens=answer.prompt_tokens, limit=answer.prompt_budget),
    )


def asked(answer: types.Answer) -> Asked:
    """What ``vauban ask --json`` prints."""
    by_number = {found.n: found.chunk for found in answer.passages}
    return Asked(
        **dict(vauban_object(answer)),
        text=answer.text,
        citations=[
            Citation(
                start=cited.start,
                end=cited.end,
                passage=cited.passage,
                document=by_number[cited.passage].document,
                reference=by_number[cited.passage].reference,
                page=by_number[cited.passage].page,
            )
            for cited in answer.citations
        ],
    )


def asked_from(completion: Completion) -> Asked:
    """What ``vauban ask --json`` prints, from a completion: the commands that go through a live server need it."""
    found = completion.vauban
    by_number = {one.n: one for one in found.passages}
    return Asked(
        **dict(found),
        text=completion.choices[0].message.content or "",  # null only where a form was asked for
        citations=[
            Citation(
                start=one.start,
                end=one.end,
                passage=n,
                document=by_number[n].document,
                reference=by_number[n].reference,
                page=by_number[n].page,
            )
            for one in found.claims
            if one.start is not None and one.end is not None and one.verdict is types.Verdict.SUPPORTED
            for n in one.passages
        ],
    )


def url_citations(answer: types.Answer, base: str = "") -> list[Annotation]:
    """The citations of an answer in OpenAI's shape; ``base`` is put before each URL."""
    by_number = {found.n: found for found in passages(answer.passages, dict(answer.snapshots))}
    return [
        Annotation(
            type="url_citation",
            url_citation=UrlCitation(
                start_index=cited.start,
                end_index=cited.end,
                title=", ".join(filter(None, (by_number[cited.passage].title, by_number[cited.passage].reference))),
                url=base + by_number[cited.passage].url,
            ),
        )
        for cited in answer.citations
    ]


def search_results(answer: types.Answer) -> list[SearchResult]:
    """The passages of an answer in Albert's shape, best first."""
    best = sorted(passages(answer.passages, dict(answer.snapshots)), key=lambda found: (-found.score, found.n))
    return [
        SearchResult(
            method="hybrid",
            score=found.score,
            chunk=AlbertChunk(
                object="chunk",
                id=found.id,
                content=found.text,
                metadata={
                    "document_id": found.document,
                    "document_name": found.title,
                    "collection": found.corpus,
                    "reference": found.reference,
                    "page": found.page,
                    "source_url": found.url,
                },
            ),
        )
        for found in best
    ]


def document(described: types.Document, state: str, snapshot: int) -> Document:
    """A document on the wire, as it is at ``snapshot``."""
    return Document(
        id=described.id,
        corpus=described.corpus,
        title=described.title,
        language=described.language,
        source=described.source,
        sha256=described.sha256,
        media_type=described.media_type,
        norm_rank=described.norm_rank,
        valid_from=described.validity.start,
        valid_to=described.validity.end,
        pages=described.pages,
        state=state,
        snapshot=snapshot,
        url=document_url(described.corpus, described.id, snapshot),
        file=document_url(described.corpus, described.id, snapshot, rest="/file"),
        legal_status=described.legal_status,
        quality=described.quality,
    )


def run(status: types.RunStatus) -> Run:
    """One ingestion on the wire."""
    return Run(
        id=status.id,
        corpus=status.corpus,
        state=status.state,
        snapshot=status.snapshot,
        counts=dict(status.counts),
        rejected=[Rejected(path=one.path, reason=one.reason, detail=one.detail) for one in status.rejected],
        started=status.started,
        ended=status.ended,
        stage=status.stage,
        done=status.done,
        total=status.total,
        error=status.error,
        detail=status.detail,
        kind=status.kind,
    )


def finish_reason(answer: types.Answer, sampling: types.Sampling) -> FinishReason:
    """Why the text ends. Extracts and fixed replies are whole, whatever became of the draft."""
    cut = answer.status is types.Status.ANSWERED and answer.completion_tokens >= sampling.max_tokens
    return "length" if cut else "stop"


def usage(answer: types.Answer) -> Usage:
    return Usage(
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        total_tokens=answer.prompt_tokens + answer.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=answer.reused_tokens),
    )


def hits(found: Sequence[types.Hit], snapshots: dict[str, int]) -> list[Hit]:
    """Hits as ``/v1/search`` and ``vauban search --json`` give them, ranks counting from 1."""
    return [
        Hit(
            rank=rank,
            score=hit.score,
            corpus=hit.chunk.corpus,
            document=hit.chunk.document,
            title=hit.chunk.title,
            reference=hit.chunk.reference,
            page=hit.chunk.page,
            text=hit.chunk.text,
            id=hit.chunk.id,
            path=list(hit.chunk.path),
            page_end=hit.chunk.page_end,
            valid_from=hit.chunk.validity.start,
            valid_to=hit.chunk.validity.end,
            url=document_url(hit.chunk.corpus, hit.chunk.document, snapshots.get(hit.chunk.corpus)),
            legal_status=hit.chunk.legal_status,
            quality=_low(hit.chunk.quality),
        )
        for rank, hit in enumerate(found, start=1)
    ]
