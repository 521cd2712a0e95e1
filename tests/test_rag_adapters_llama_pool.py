"""Several llama-servers as one writer: who gets a prompt, what happens when one fails, and who is let in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from rag.adapters import llama_fleet
from rag.adapters.llama_fleet import ReplicaState
from rag.adapters.llama_pool import LlamaPool
from rag.errors import Cancelled, GenerationError, ModelError, SettingsError
from rag.types import Message, Reading, Sampling, Told
from tests.fake_llama_server import FakeLlamaServer

SYSTEM = Message("system", "Réponds à partir des passages, et cite-les.")
SECRET = "Le mot de passe du coffre est « œillet ». " * 5
SHORT = Sampling(max_tokens=3)
LONG = Sampling(max_tokens=1500)


@pytest.fixture
def two() -> Iterator[tuple[FakeLlamaServer, FakeLlamaServer]]:
    with FakeLlamaServer(slots=2) as one, FakeLlamaServer(slots=2) as other:
        yield one, other


@pytest.fixture
def pool(two: tuple[FakeLlamaServer, FakeLlamaServer], monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaPool]:
    monkeypatch.setattr(llama_fleet, "PERIOD", 0.1)
    monkeypatch.setattr(llama_fleet, "AWAY", 0.05)
    with closing(LlamaPool.open([server.url for server in two])) as pool:
        yield pool


def asked(text: str = "Combien ?") -> list[Message]:
    return [SYSTEM, Message("user", text)]


def write(pool: LlamaPool, text: str = "Combien ?", owner: str = "ada", sampling: Sampling = SHORT) -> tuple[int, str]:
    """What was reused of the prompt, and the answer."""
    heard: list[Told] = []
    answer = "".join(pool.stream(asked(text), sampling, told=heard.append, owner=owner))
    [reading] = [one for one in heard if isinstance(one, Reading)]
    return reading.reused, answer


def states(pool: LlamaPool) -> list[ReplicaState]:
    return [report.state for report in pool.report()]


def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


# Isolation


def test_nothing_of_one_owner_is_reused_for_another_but_the_system_message() -> None:
    """With one slot for both; the same owner does reuse, as long as nobody came between."""
    with FakeLlamaServer() as server, closing(LlamaPool.open([server.url])) as pool:
        system = pool.count_prompt([SYSTEM])
        whole = pool.count_prompt(asked(SECRET))
        write(pool, SECRET, "ada")
        assert write(pool, SECRET, "ada")[0] == whole - 1
        assert write(pool, SECRET, "bob")[0] < system
        assert server.reused[-1] < system
        assert write(pool, SECRET, "ada")[0] < system, "ada's own was displaced by bob's"


def test_what_another_program_left_in_a_slot_is_cut_off_first() -> None:
    """A server that ran before this process did holds prompts of nobody knows whom."""
    with FakeLlamaServer() as server:
        for _ in range(2):
            with closing(LlamaPool.open([server.url])) as pool:
                write(pool, SECRET, "ada")
        assert server.reused[-1] < pool.count_tokens(SYSTEM.content) + 30


def test_a_server_that_keeps_prompts_outside_its_slots_is_refused(server: FakeLlamaServer) -> None:
    """The default of llama-server, by which a slot can be given another person's conversation."""
    server.hoards = True
    with pytest.raises(ModelError, match="--cache-ram 0"):
        LlamaPool.open([server.url])


def test_a_server_that_does_not_say_what_it_reuses_is_refused(server: FakeLlamaServer) -> None:
    """What cannot be checked is not trusted."""
    server.old = True
    with pytest.raises(ModelError, match=r"newer llama\.cpp"):
        LlamaPool.open([server.url])


def test_a_server_whose_slots_learn_from_each_other_is_refused(server: FakeLlamaServer) -> None:
    """What one person's text makes another's quicker can be measured from outside."""
    server.guesses = "ngram-mod"
    with pytest.raises(ModelError, match="ngram-mod"):
        LlamaPool.open([server.url])


def test_another_client_of_a_slot_is_noticed_before_a_word_is_shown(server: FakeLlamaServer) -> None:
    """The prompt is read again from the system message on, and nothing more is reused on that server from then on."""
    with closing(LlamaPool.open([server.url])) as pool:
        write(pool, "Ma question.", "ada")
        system = pool.count_prompt([SYSTEM])
        server.held[0] = list(pool._tokens(asked("Ma question. " + SECRET))[0])
        assert write(pool, "Ma question. " + SECRET, "ada")[0] < system
        assert server.reused[-2] > system, "the first try was given up"
        assert write(pool, "Ma question. " + SECRET, "ada")[0] < system


def test_a_request_that_never_began_tells_nothing_of_the_slot(server: FakeLlamaServer) -> None:
    """The slot holds what it held before; that is no sign of another client, and reuse goes on."""
    with closing(LlamaPool.open([server.url])) as pool:
        write(pool, SECRET, "ada")
        with pytest.raises(GenerationError):
            list(pool.stream(asked("Autre chose."), Sampling(grammar="root ::= ("), owner="ada"))
        write(pool, SECRET, "ada")
        assert write(pool, SECRET, "ada")[0] == pool.count_prompt(asked(SECRET)) - 1


def test_a_server_that_begins_to_hoard_while_it_serves_is_left_out(
    server: FakeLlamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reuses what was cut off a moment before; nothing of it is shown."""
    monkeypatch.setattr(llama_fleet, "GRACE", 0.3)
    with closing(LlamaPool.open([server.url])) as pool:
        write(pool, SECRET, "ada")
        server.hoards = True
        write(pool, "Autre chose.", "ada")
        with pytest.raises(GenerationError):
            write(pool, SECRET, "bob")
        until(lambda: states(pool) == [ReplicaState.KEPT_OUT])
        assert "--cache-ram" in pool.report()[0].reason


def test_what_an_owner_left_can_be_forgotten(server: FakeLlamaServer) -> None:
    """At once in an idle slot, at the end of the turn in a busy one."""
    with closing(LlamaPool.open([server.url])) as pool:
        system = pool.count_prompt([SYSTEM])
        write(pool, SECRET, "ada")
        pool.forget("bob")
        assert len(server.held[0]) > system
        pool.forget("ada")
        assert len(server.held[0]) < system
        with closing(pool.stream(asked(SECRET), LONG, owner="ada")) as pieces:
            next(pieces)
            pool.forget("ada")
            assert len(server.held[0]) > system
        assert len(server.held[0]) < system


@pytest.fixture
def server() -> Iterator[FakeLlamaServer]:
    with FakeLlamaServer() as server:
        yield server


# Who gets a prompt


def test_the_owner_returns_to_where_his_prompt_is_held(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """Whatever others did meanwhile elsewhere."""
    for owner in ("ada", "bob", "eve"):
        write(pool, f"Question de {owner}. " * 20, owner)
    for owner in ("eve", "ada", "bob"):
        assert write(pool, f"Question de {owner}. " * 20 + "Et après ?", owner)[0] > 300


def test_several_at_once_are_spread(pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]) -> None:
    """Four at once are two on each server, and a fifth waits."""
    with ExitStack() as stack:
        for number in range(4):
            next(stack.enter_context(closing(pool.stream(asked(), LONG, owner=str(number)))))
        assert [report.busy for report in pool.report()] == [2, 2]
        assert pool.queue.places == 4
        with ThreadPoolExecutor(1) as executor:
            fifth = executor.submit(write, pool)
            until(lambda: pool.queue.waiting == 1)
            stack.close()
            assert fifth.result(10)[1]


def test_prompts_of_one_server_are_read_one_after_the_other() -> None:
    """No prompt that comes later is read before; who leaves while theirs is read lets the next go on."""
    with (
        FakeLlamaServer(slots=3) as server,
        closing(LlamaPool.open([server.url])) as pool,
        ThreadPoolExecutor(3) as executor,
    ):
        server.reading = 30.0
        leave = threading.Event()
        first = executor.submit(lambda: list(pool.stream(asked("Un"), SHORT, cancelled=leave.is_set, owner="ada")))
        until(lambda: len(server.prompts) == 1)
        others = [executor.submit(write, pool, "Deux", owner) for owner in ("bob", "eve")]
        until(lambda: pool.report()[0].busy == 3)
        time.sleep(0.3)
        assert len(server.prompts) == 1, "another prompt was sent while the first is read"
        server.reading = 0.0
        leave.set()
        with pytest.raises(Cancelled):
            first.result(10)
        assert [other.result(10)[1] for other in others] == [" mot0 mot1 mot2"] * 2


# Failures


def test_before_the_first_words_another_server_does_it(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """The reader does not notice; after some failures the broken one is not asked again."""
    two[0].fault = "broken"
    for number in range(6):
        assert write(pool, owner=str(number))[1] == " mot0 mot1 mot2"
    until(lambda: states(pool)[0] is not ReplicaState.SERVING)
    assert states(pool)[1] is ReplicaState.SERVING
    assert pool.queue.places == 2
    two[0].fault = ""
    until(lambda: states(pool) == [ReplicaState.SERVING] * 2)
    assert pool.queue.places == 4


def test_after_the_first_words_the_failure_is_told(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """A second text is never glued to the first."""
    two[0].fault = two[1].fault = "crash"
    pieces = pool.stream(asked(), LONG)
    assert [next(pieces), next(pieces)] == [" mot0", " mot1"]
    with pytest.raises(GenerationError, match="llama-server"):
        next(pieces)
    assert len(two[0].prompts) + len(two[1].prompts) == 1


def test_a_refused_request_is_no_fault_of_the_server(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """A grammar that nobody can read is tried once, and closes no server to others."""
    for _ in range(5):
        with pytest.raises(GenerationError):
            list(pool.stream(asked(), Sampling(grammar="root ::= (")))
    assert len(two[0].prompts) + len(two[1].prompts) == 5
    assert states(pool) == [ReplicaState.SERVING] * 2


def test_a_server_that_hangs_loses_what_it_was_writing(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """Its port is open and nothing comes: health checks find out, and its readers go to another server."""
    two[0].reading = 60
    two[1].status = 503
    until(lambda: states(pool) == [ReplicaState.SERVING, ReplicaState.AWAY])
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(write, pool)
        until(lambda: two[0].prompts)
        two[1].status, two[0].status = 200, 503
        assert waiting.result(10)[1] == " mot0 mot1 mot2"
    assert len(two[1].prompts) == 1


def test_those_in_line_wait_for_a_server_to_come_back(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """All servers gone is no reason to lose those who have not begun; they are served when one is back."""
    pool.count_prompt(asked())
    two[0].status = two[1].status = 503
    until(lambda: states(pool) == [ReplicaState.AWAY] * 2)
    with ThreadPoolExecutor(3) as executor:
        asking = [executor.submit(write, pool, owner=str(number)) for number in range(3)]
        until(lambda: pool.queue.waiting == 3)
        two[1].status = 200
        assert [future.result(10)[1] for future in asking] == [" mot0 mot1 mot2"] * 3


def test_nobody_waits_for_ever(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no server for longer than one takes to start, everyone is told so and reads extracts instead."""
    monkeypatch.setattr(llama_fleet, "GRACE", 0.3)
    pool.count_prompt(asked())
    two[0].status = two[1].status = 503
    until(lambda: states(pool) == [ReplicaState.AWAY] * 2)
    with pytest.raises(GenerationError, match="no llama-server answers"):
        write(pool)


# Who is let in


def test_servers_of_different_models_are_refused() -> None:
    """One question would have two answers."""
    with (
        FakeLlamaServer(name="small") as one,
        FakeLlamaServer(name="large") as other,
        pytest.raises(ModelError, match="same model") as caught,
    ):
        LlamaPool.open([one.url, other.url])
    assert one.url in caught.value.fr
    assert other.url in caught.value.fr


def test_a_server_that_comes_back_with_another_model_is_kept_out(
    pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]
) -> None:
    """And let in again when it has the right one; a larger context does not matter, a smaller one does."""
    for change, words in (({"name": "other"}, "other.gguf"), ({"context": 1024}, "1024")):
        before = {name: getattr(two[0], name) for name in change}
        for name, value in change.items():
            setattr(two[0], name, value)
        until(lambda: states(pool) == [ReplicaState.KEPT_OUT, ReplicaState.SERVING])
        assert words in pool.report()[0].reason
        assert write(pool)[1]
        for name, value in before.items():
            setattr(two[0], name, value)
        until(lambda: states(pool) == [ReplicaState.SERVING] * 2)
    two[0].context = 4096
    time.sleep(0.3)
    until(lambda: states(pool) == [ReplicaState.SERVING] * 2)
    assert pool.context == 2048


def test_one_that_is_not_there_yet_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start waits for one server only."""
    monkeypatch.setattr(llama_fleet, "AWAY", 0.05)
    with FakeLlamaServer() as one, FakeLlamaServer(slots=3) as late:
        late.status = 503
        with closing(LlamaPool.open([late.url, one.url])) as pool:
            assert pool.queue.places == 1
            late.status = 200
            until(lambda: pool.queue.places == 4)


def test_a_key_is_sent_to_every_server() -> None:
    """And a wrong one is a failure that says so, without the key."""
    with FakeLlamaServer() as server:
        server.key = "secret-key"
        with closing(LlamaPool.open([server.url], api_key="secret-key")) as pool:
            assert write(pool)[1]
        with pytest.raises(ModelError, match="401") as caught:
            LlamaPool.open([server.url], api_key="wrong-key", patience=0)
        assert "wrong-key" not in str(caught.value)


def test_a_server_named_twice_is_refused() -> None:
    """Its slots would be given to two people at once."""
    with pytest.raises(SettingsError, match="twice"):
        LlamaPool.open(["http://127.0.0.1:9", "http://127.0.0.1:9/"])


def test_closing_sends_everyone_away(pool: LlamaPool, two: tuple[FakeLlamaServer, FakeLlamaServer]) -> None:
    """Readers, those in line and the health checks end."""
    pieces = [pool.stream(asked(), LONG, owner=str(number)) for number in range(4)]
    for one in pieces:
        next(one)
    closer = threading.Thread(target=pool.close)
    closer.start()
    for one in pieces:
        with pytest.raises(GenerationError, match="closed"):
            deque(one, maxlen=0)
    closer.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "vauban-llama-health"]
