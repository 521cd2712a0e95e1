"""The pool over real llama-servers: whose words are reused, what a kill costs, and whether a closed tab stops the work.

Short runs of what ``tests/bench_llama_pool.py`` measures at length with a model that writes words.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from rag.adapters import llama_fleet, llama_server
from rag.adapters.llama_fleet import ReplicaState
from rag.adapters.llama_pool import LlamaPool
from rag.errors import Cancelled, GenerationError, ModelError
from rag.types import Message, Reading, Sampling, Told
from tests.llama_servers import LlamaServerProcess, fleet, require, running
from tests.synthetic_gguf import build

pytestmark = pytest.mark.alone

SYSTEM = Message("system", "Réponds à partir des passages, sans rien inventer, et cite-les.")
PASSAGE = "L'agent en mission est remboursé de ses frais de repas dans la limite du barème. "
SHORT = Sampling(max_tokens=8)
ENDLESS = Sampling(max_tokens=1000, grammar="root ::= [a-z] root")
"""Without the grammar the model of random weights may end at any token."""
CONVERSATIONS, ROUNDS = 32, 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require()
    return build(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def two(model: Path) -> Iterator[list[LlamaServerProcess]]:
    with fleet(model, 2, slots=2) as servers:
        yield servers


@pytest.fixture
def pool(two: list[LlamaServerProcess]) -> Iterator[LlamaPool]:
    with closing(LlamaPool.open([server.url for server in two])) as pool:
        yield pool


def conversation(number: int, turn: int = 0) -> list[Message]:
    """The prompt of one turn; each begins as the one before and all passages begin alike, up to the owner's mark."""
    mark = f"{number:02}-{number * 7919 % 1000:03} "
    turns = [Message("user", f"{PASSAGE * 2}La marque du dossier est {mark * 12}. Quelle est la marque {mark * 4}?")]
    for past in range(turn):
        turns += [Message("assistant", f"Réponse {past} [1]."), Message("user", f"Et encore ({past}) ?")]
    return [SYSTEM, *turns]


def write(pool: LlamaPool, prompt: list[Message], owner: str) -> tuple[int, str]:
    """What was reused of the prompt, and the answer."""
    heard: list[Told] = []
    answer = "".join(pool.stream(prompt, SHORT, told=heard.append, owner=owner))
    [reading] = [one for one in heard if isinstance(one, Reading)]
    return reading.reused, answer


def test_the_same_owner_reuses_and_another_does_not(model: Path) -> None:
    """The server's own count of cached tokens, in pairs: the same prompt again, by its owner and by somebody else."""
    with running(model, slots=1) as server, closing(LlamaPool.open([server.url])) as pool:
        system = pool.count_prompt([SYSTEM])
        for number in range(5):
            mine, whole = conversation(number), pool.count_prompt(conversation(number))
            write(pool, mine, "ada")
            assert write(pool, mine, "ada")[0] == whole - 1
            assert write(pool, conversation(number, 1), "ada")[0] >= whole - 10, "a follow-up goes on from it"
            assert write(pool, mine, "bob")[0] < system


@pytest.fixture(scope="module")
def expected(model: Path) -> dict[tuple[int, int], str]:
    """What a server of its own writes in each turn of each conversation, every time from the beginning."""
    with running(model, slots=1) as server, closing(LlamaPool.open([server.url])) as pool:
        return {
            (number, turn): write(pool, conversation(number, turn), f"{number}-{turn}")[1]
            for number in range(CONVERSATIONS)
            for turn in range(2)
        }


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_no_conversation_comes_back_in_another(model: Path, expected: dict[tuple[int, int], str], slots: int) -> None:
    """Many marked conversations that displace each other: each text is what a server of its own writes.

    After the reproduction of llama.cpp's issue 27148. The model's words mean nothing, so that a foreign prompt in a
    slot shows as another text, and as tokens reused that its owner never sent.
    """
    drawn = random.Random(slots)
    assert len(set(expected.values())) > CONVERSATIONS, "the texts tell the conversations apart"
    foreign = displaced = 0
    with running(model, slots=slots) as server, closing(LlamaPool.open([server.url])) as pool:
        system = pool.count_prompt([SYSTEM])

        def turn_of(number: int) -> tuple[int, tuple[int, int], str]:
            turn = drawn.randrange(2)
            reused, text = write(pool, conversation(number, turn), str(number))
            return reused, (number, turn), text

        with ThreadPoolExecutor(slots) as executor:
            for _ in range(ROUNDS):
                chosen = drawn.sample(range(CONVERSATIONS), slots)
                for reused, which, text in executor.map(turn_of, chosen):
                    foreign += text != expected[which]
                    displaced += reused < system
    assert foreign == 0
    assert displaced > ROUNDS, "slots changed hands"


def test_a_server_with_its_default_cache_is_refused(model: Path) -> None:
    """The probe finds the prompt cache of the real server, and the message says how to start it."""
    with running(model, safe=False) as server, pytest.raises(ModelError, match="--cache-ram 0"):
        LlamaPool.open([server.url])


def test_a_key_is_sent(model: Path) -> None:
    """All that is asked of the server carries it."""
    with running(model, key="secret-key") as server:
        with closing(LlamaPool.open([server.url], api_key="secret-key")) as pool:
            assert write(pool, conversation(1), "ada")[1]
        with pytest.raises(ModelError, match="401"):
            LlamaPool.open([server.url])


def test_a_killed_server_costs_its_own_readers_their_answer_and_nobody_else(
    pool: LlamaPool, two: list[LlamaServerProcess]
) -> None:
    """kill -9 in the middle of eight questions: its writers get an error within a second, the others are answered.

    Who had not begun is served by the other server, and the killed one serves again when it is back.
    """
    writing, ended = threading.Barrier(5, timeout=30), []

    def ask(number: int) -> str:
        text = ""
        try:
            for piece in pool.stream(conversation(number), ENDLESS, owner=str(number)):
                if not text:
                    writing.wait()
                text += piece
        except GenerationError:
            ended.append(time.monotonic())
            return "failed"
        return "answered"

    with ThreadPoolExecutor(8) as executor:
        begun = [executor.submit(ask, number) for number in range(4)]
        writing.wait()
        waiting = [executor.submit(write, pool, conversation(number), str(number)) for number in range(4, 8)]
        killed = time.monotonic()
        two[0].kill()
        assert sorted(one.result(60) for one in begun) == ["answered", "answered", "failed", "failed"]
        assert max(ended) - killed < 1.0
        assert all(one.result(60)[1] for one in waiting)
    assert [report.state for report in pool.report()] == [ReplicaState.AWAY, ReplicaState.SERVING]
    two[0].start()
    wait_for(lambda: pool.queue.places == 4)
    with ThreadPoolExecutor(4) as executor:
        assert all(text for _, text in executor.map(lambda n: write(pool, conversation(n), str(n)), range(4)))


def test_with_a_single_server_those_in_line_outlive_its_crash(model: Path) -> None:
    """A supervisor starts it again; the questions that had not begun are answered then."""
    with running(model, slots=1) as server, closing(LlamaPool.open([server.url])) as pool:
        for number in range(3):
            pool.count_prompt(conversation(number))
        first = pool.stream(conversation(0), ENDLESS, owner="0")
        next(first)
        with ThreadPoolExecutor(2) as executor:
            waiting = [executor.submit(write, pool, conversation(number), str(number)) for number in (1, 2)]
            wait_for(lambda: pool.queue.waiting == 2)
            server.kill()
            with pytest.raises(GenerationError):
                list(first)
            server.start()
            assert all(one.result(30)[1] for one in waiting)


def test_a_server_that_hangs_is_left(
    pool: LlamaPool, two: list[LlamaServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connections open: health checks find out, and its readers are told."""
    monkeypatch.setattr(llama_fleet, "PERIOD", 0.1)
    monkeypatch.setattr(llama_server, "CHECK", 0.3)
    with closing(pool.stream(conversation(1), ENDLESS, owner="ada")) as pieces:
        next(pieces)
        [busy] = [server for server, report in zip(two, pool.report(), strict=True) if report.busy]
        busy.pause()
        try:
            with pytest.raises(GenerationError, match="stopped answering"):
                list(pieces)
            assert write(pool, conversation(2), "bob")[1]
        finally:
            busy.resume()
    wait_for(lambda: pool.queue.places == 4)


def test_a_closed_tab_stops_the_work(pool: LlamaPool, two: list[LlamaServerProcess]) -> None:
    """In line, while a prompt is read, and while words come: no slot is at work a second later."""
    drawn = random.Random(5)
    whole = [SYSTEM, Message("user", PASSAGE * 20)]

    def leave(number: int) -> None:
        end = time.monotonic() + drawn.uniform(0, 0.25)
        with pytest.raises(Cancelled):
            for _ in pool.stream(
                [*whole, Message("user", str(number))],
                ENDLESS,
                owner=str(number % 7),
                cancelled=lambda: time.monotonic() > end,
            ):
                pass

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(leave, range(40)))
    for server in two:
        server.idle_within(1.0)
    assert write(pool, conversation(1), "ada")[1]


def wait_for(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
