"""The official OpenAI client and LangChain's, pointed at a live server, work unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_openai import ChatOpenAI

from rag import schemas
from rag.adapters.fake import OverlapReranker
from rag.api import create_app
from tests.rag_server import LEAVE, QUESTION, Parts, Writer, parts, serving

ASKED = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def vauban(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    made = parts(tmp_path_factory.mktemp("openai"), Writer(), OverlapReranker())
    yield made
    made.catalog.close()


@pytest.fixture(scope="module")
def url(vauban: Parts) -> Iterator[str]:
    with serving(create_app(vauban)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_a_plain_completion_has_text_and_citations(client: openai.OpenAI) -> None:
    """The annotations are found where OpenAI's own are, and point into the content."""
    completion = client.chat.completions.create(model="vauban", messages=ASKED)
    message = completion.choices[0].message
    assert message.content is not None
    assert message.annotations
    cited = message.annotations[0].url_citation
    assert LEAVE.rstrip(".") in message.content[cited.start_index : cited.end_index]
    assert cited.title == "Règlement des congés, Article 4"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None


def test_the_vauban_object_comes_along(client: openai.OpenAI) -> None:
    """What the client does not know it keeps, and ours parses it."""
    completion = client.chat.completions.create(
        model="vauban-rh", messages=ASKED, extra_body={"vauban": {"as_of": "2025-03-01", "search_results": True}}
    )
    extra = completion.model_extra or {}
    vauban = schemas.Vauban.model_validate(extra["vauban"])
    assert str(vauban.as_of) == "2025-03-01"
    assert vauban.snapshots == {"rh": 1}
    assert extra["search_results"][0]["chunk"]["object"] == "chunk"


def test_a_stream_is_read_to_its_end(client: openai.OpenAI) -> None:
    """Deltas joined are the text; usage comes when it is asked for; each chunk has what clients look for."""
    plain = client.chat.completions.create(model="vauban", messages=ASKED)
    stream = client.chat.completions.create(
        model="vauban", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage is not None
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def test_the_streaming_helper_builds_the_same_answer(client: openai.OpenAI) -> None:
    """The client's own accumulator accepts our chunks."""
    with client.chat.completions.stream(model="vauban", messages=ASKED) as stream:
        final = stream.get_final_completion()
    assert LEAVE.rstrip(".") in (final.choices[0].message.content or "")


def test_sampling_reaches_the_model(client: openai.OpenAI, vauban: Parts) -> None:
    """Temperature, length, seed and stops are those of the request; the length leaves room for the passages."""
    client.chat.completions.create(
        model="vauban", messages=ASKED, temperature=0.5, max_completion_tokens=50, seed=-1, stop=["FIN"]
    )
    assert isinstance(vauban.generator, Writer)
    used = vauban.generator.samplings[-1]
    assert (used.temperature, used.max_tokens, used.seed, used.stop) == (0.5, 50, 2**32 - 1, ("FIN",))
    client.chat.completions.create(model="vauban", messages=ASKED, max_tokens=100_000)
    assert vauban.generator.samplings[-1].max_tokens <= vauban.generator.context // 3


def test_models_are_the_assistants(client: openai.OpenAI) -> None:
    """One over all that the caller sees and one for each corpus; a hidden corpus has none."""
    assert [model.id for model in client.models.list()] == ["vauban", "vauban-finances", "vauban-rh"]
    assert client.models.retrieve("vauban-rh").owned_by == "vauban"


@pytest.mark.parametrize("name", ["gpt-5", "vauban-secret", "vauban-", "vauban-nothing"])
def test_an_unknown_model_is_not_found(client: openai.OpenAI, name: str) -> None:
    """Whether it does not exist or is hidden."""
    with pytest.raises(openai.NotFoundError, match="modèle") as caught:
        client.chat.completions.create(model=name, messages=ASKED)
    assert caught.value.code == "unknown_model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("n", 2),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("logprobs", True),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(client: openai.OpenAI, field: str, value: object) -> None:
    """A client learns which field to leave out, rather than get an answer that ignored it."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="vauban", messages=ASKED, extra_body={field: value})
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == field


def test_fields_that_ask_for_nothing_are_tolerated(client: openai.OpenAI) -> None:
    """Clients send defaults of their own, and fields that we have never heard of."""
    completion = client.chat.completions.create(
        model="vauban",
        messages=ASKED,
        n=1,
        user="jeanne",
        metadata={"ticket": "12"},
        extra_body={"tools": [], "tool_choice": "auto", "top_p": 1, "cache_prompt": True},
    )
    assert completion.choices[0].message.content


def test_embeddings_are_the_same_in_both_encodings(client: openai.OpenAI, vauban: Parts) -> None:
    """The client asks for base64 by itself and decodes it."""
    packed = client.embeddings.create(model="vauban", input=["congé annuel", "énergie"])
    plain = client.embeddings.create(model="vauban", input=["congé annuel", "énergie"], encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
    assert len(plain.data[0].embedding) == vauban.embedder.dimension


def test_an_error_in_english_is_in_english(client: openai.OpenAI) -> None:
    """The client's language is the caller's."""
    with pytest.raises(openai.BadRequestError, match="the question is empty"):
        client.chat.completions.create(
            model="vauban", messages=[{"role": "user", "content": " "}], extra_headers={"Accept-Language": "en"}
        )


async def _asynchronously(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        stream = await client.chat.completions.create(model="vauban", messages=ASKED, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_the_asynchronous_client_streams_too(url: str) -> None:
    """The same text by the other client."""
    assert LEAVE.rstrip(".") in asyncio.run(_asynchronously(url))


def test_langchain_answers_and_streams(url: str) -> None:
    """`ChatOpenAI` needs nothing but the address; its chunks add up to the same text."""
    chat = ChatOpenAI(model="vauban", base_url=f"{url}/v1", api_key="unused", max_retries=0)
    answer = chat.invoke([HumanMessage(QUESTION)])
    chunks = list(chat.stream([HumanMessage(QUESTION)]))
    assert LEAVE.rstrip(".") in answer.text
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == answer.text


def test_langchain_keeps_the_history(url: str) -> None:
    """A follow-up is searched with the question before it."""
    chat = ChatOpenAI(model="vauban", base_url=f"{url}/v1", api_key="unused", max_retries=0)
    answer = chat.invoke([HumanMessage(QUESTION), chat.invoke([HumanMessage(QUESTION)]), HumanMessage("Et en jours ?")])
    assert LEAVE.rstrip(".") in answer.text
