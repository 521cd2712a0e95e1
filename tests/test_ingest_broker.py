"""What goes through the broker, on a real one: who is wanted, who lives, what is answered, and what refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest import broker as brokers
from ingest.broker import Broker, Kind, Present
from ingest.manifest import Metadata
from ingest.parsers import Limits
from ingest.reading import Order
from ingest.source import Source
from ingest.wire import Task
from rag.errors import OperatorError, SettingsError
from rag.types import Corpus
from tests import redis_server
from tests.redis_server import PASSWORD, RedisServer

KIND = Kind("fake:1", "program")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server.running() as running:
        yield running


@pytest.fixture
def broker(server: RedisServer) -> Iterator[Broker]:
    with server.client() as client:
        client.flushdb()
    connected = Broker.connect(server.url, patience=1.0)
    yield connected
    connected.close()


def task(name: str, run: str = "run", writer: str = "") -> Task:
    order = Order(Source(Path("/srv/congés.md")), "d", "congés.md", "00", Metadata(), Corpus("rh", "RH"))
    return Task(name, run, order, Limits(), writer)


def test_a_task_is_wanted_while_its_sync_lives(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its sending until it is dropped, its run ends, or the signs of life of its run do."""
    monkeypatch.setattr(brokers, "WANTED", 0.2)
    one, two = task("1"), task("2")
    assert not broker.wanted(one)
    broker.send(KIND, one)
    broker.send(KIND, two)
    assert broker.wanted(one)
    broker.drop("run", "1")
    assert not broker.wanted(one)
    assert broker.wanted(two)
    time.sleep(0.3)
    assert not broker.wanted(two)
    assert broker.want("run", ["2"])
    assert broker.wanted(two)
    broker.end("run", ["2"])
    assert not broker.wanted(two)


def test_only_one_sync_stages_into_a_corpus(broker: Broker) -> None:
    """Whoever claims it last; the one before is told, and its workers stage no more."""
    old, new = task("1", "old", "w"), task("2", "new", "w")
    broker.claim("w", "old")
    broker.send(KIND, old)
    assert broker.wanted(old)
    broker.claim("w", "new")
    broker.send(KIND, new)
    assert not broker.wanted(old)
    assert broker.wanted(new)
    assert not broker.want("old", ["1"], "w")
    assert broker.want("new", ["2"], "w")
    broker.end("old", ["1"], "w")
    assert broker.wanted(new)


def test_what_a_broker_forgot_is_said_again(broker: Broker, server: RedisServer) -> None:
    """Started again empty, it learns from the next sign of life what is wanted and whose the corpus is."""
    one = task("1", writer="w")
    broker.claim("w", "run")
    broker.send(KIND, one)
    with server.client() as client:
        client.flushdb()
    assert not broker.wanted(one)
    assert broker.want("run", ["1"], "w")
    assert broker.wanted(one)


def test_answers_come_in_the_order_in_which_they_are_given(broker: Broker) -> None:
    """Each once, told apart by run, and gone with its task."""
    for name in ("1", "2"):
        broker.reply(task(name), name.encode())
    broker.reply(task("3", "another run"), b"3")
    assert [broker.done("run", 0.1), broker.done("run", 0.1), broker.done("run", 0.1)] == ["1", "2", None]
    assert broker.answer("1") == b"1"
    broker.drop("run", "1")
    assert broker.answer("1") is None


def test_signs_of_life_end(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a worker and of what it works on, by themselves or when it leaves."""
    monkeypatch.setattr(brokers, "ALIVE", 0.2)
    here = Present("hôte", KIND)
    broker.beat("one", here, "1")
    broker.beat("two", here, None)
    assert broker.workers() == [here, here]
    assert broker.alive(["1", "2"]) == {"1"}
    broker.leave("two")
    assert broker.workers() == [here]
    broker.release(task("1"))
    assert broker.alive(["1"]) == set()
    broker.beat("one", here, "1")
    time.sleep(0.3)
    assert broker.workers() == []
    assert broker.alive(["1"]) == set()


def test_a_worker_of_another_version_is_seen_or_skipped(broker: Broker, server: RedisServer) -> None:
    """One that says what nobody understands is no worker, and no error either."""
    with server.client() as client:
        for name, said in (("1", "{"), ("2", "[]"), ("3", '{"host": "h", "kind": {"colour": "red"}}')):
            client.sadd("vauban:workers", name)
            client.set(f"vauban:worker:{name}", said)
    assert broker.workers() == []


def test_kinds_have_queues_of_their_own(broker: Broker) -> None:
    """What is sent waits in the queue of its kind, as JSON that says what was sent."""
    others = [Kind("fake:2", "program"), Kind("fake:1", "other"), Kind("fake:1", "program", "store")]
    assert len({kind.queue for kind in [KIND, *others]}) == 4
    broker.send(KIND, task("1"))
    assert [broker.waiting(kind) for kind in [KIND, *others]] == [1, 0, 0, 0]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1", "redis:///0", "127.0.0.1:6379"])
def test_an_url_must_be_of_a_broker(url: str) -> None:
    with pytest.raises(SettingsError, match="broker_url"):
        Broker.connect(url)


def test_a_password_that_is_wrong_is_told_and_not_shown(server: RedisServer) -> None:
    """At once: trying again would not help."""
    start = time.monotonic()
    with pytest.raises(OperatorError, match="refuses") as raised:
        Broker.connect(server.url.replace(PASSWORD, "guessed"))
    assert raised.value.code == "broker_refuses"
    assert "guessed" not in str(raised.value)
    assert time.monotonic() - start < 1.5


def test_a_broker_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections stay open and say nothing; when it goes on, so does everybody."""
    monkeypatch.setattr(brokers, "_SOCKET", 0.3)
    with redis_server.running() as hanging:
        broker = Broker.connect(hanging.url, patience=0.5)
        hanging.pause()
        with pytest.raises(OperatorError, match="does not answer"):
            broker.wanted(task("1"))
        hanging.resume()
        assert not broker.wanted(task("1"))
        broker.close()


def test_valkey_is_spelled_as_it_likes(server: RedisServer) -> None:
    with closing(Broker.connect(server.url.replace("redis://", "valkey://"))) as broker:
        assert broker.workers() == []
