"""A model server that comes after the start: it is waited for, and answers are written from then on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rag import context, wiring
from rag.api import create_app
from rag.readiness import PartState
from rag.settings import Settings
from rag.wiring import Vauban, open_vauban
from tests.fake_llama_server import FakeLlamaServer

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "AGAIN", 0.05)


@pytest.fixture
def port() -> int:
    """A port where nothing listens yet."""
    with FakeLlamaServer() as gone:
        return int(gone.url.rpartition(":")[2])


@pytest.fixture
def vauban(tmp_path: Path, port: int) -> Iterator[Vauban]:
    settings = Settings(home=tmp_path / "home", embedder="fake", llama_url=(f"http://127.0.0.1:{port}",))
    with open_vauban(settings, patience=0) as vauban:
        assert vauban.generator is None
        assert vauban.generator_error is not None
        vauban.warm()
        yield vauban


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_a_server_that_comes_late_writes(vauban: Vauban, port: int) -> None:
    """Its name is in the records from then on, and the service says that it is whole."""
    ready = create_app(vauban).state.readiness
    assert ready().parts["generator"] is PartState.FAILED
    with FakeLlamaServer(port=port, name="arrivée-tard") as server:
        until(lambda: ready().parts["generator"] is PartState.OK)
        assert "arrivée-tard" in str(vauban.making.generator)
        assert vauban.generator_error is None
        assert vauban.engine.generator is vauban.generator
        public = context.render((), "", "fr")[0].content.encode()
        until(lambda: any(public in bytes(token for token in read if token < 256) for read in server.prompts))


def test_a_server_that_loads_is_waited_for_and_its_reason_is_told(vauban: Vauban, port: int) -> None:
    loading = FakeLlamaServer(port=port)
    loading.status = 503
    with loading as server:
        until(lambda: "503" in str(vauban.generator_error))
        server.status = 200
        until(lambda: vauban.generator is not None)


def test_another_store_does_not_lose_the_server(vauban: Vauban, port: int) -> None:
    """Both make the engine anew, in either order."""
    vauban.swap(vauban.settings, vauban.embedder, vauban.store)
    with FakeLlamaServer(port=port):
        until(lambda: vauban.generator is not None)
        vauban.swap(vauban.settings, vauban.embedder, vauban.store)
        assert vauban.engine.generator is vauban.generator


def test_nothing_is_waited_for_once_it_is_closed(tmp_path: Path, port: int) -> None:
    settings = Settings(home=tmp_path / "home", embedder="fake", llama_url=(f"http://127.0.0.1:{port}",))
    with ExitStack() as stack:
        vauban = stack.enter_context(open_vauban(settings, patience=0))
        vauban.warm()
        until(lambda: not vauban.warmth.pending(wiring.Step.MODEL))
    with FakeLlamaServer(port=port) as server:
        time.sleep(0.5)
        assert vauban.generator is None
        assert not server.prompts
