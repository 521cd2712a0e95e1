"""Without a model that writes, every question still gets the passages that its person may read, and their sources."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rag.adapters.fake import ScriptedGenerator, crashes
from rag.adapters.llama_pool import LlamaPool
from rag.api import create_app
from rag.errors import VaubanError
from rag.seams import Generator
from rag.types import Principal
from tests.people import People
from tests.rag_server import parts

QUESTIONS = [
    f"Combien de jours {rest} ?"
    for rest in (
        "dure le congé annuel",
        "pour le congé annuel d'un agent",
        "de congé annuel par an",
        "a-t-on de congé annuel",
    )
]
TIMES = 7
"""Each question is asked so often of each of four models, which makes over 100."""


def closed() -> Generator:
    made = ScriptedGenerator(crashes)
    made.close()
    return made


def dead() -> Generator | None:
    """One behind an address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        return LlamaPool.open([f"http://127.0.0.1:{port}"])
    except VaubanError:  # a service that starts so has none
        return None


@pytest.fixture(
    params=[lambda: None, lambda: ScriptedGenerator(crashes), closed, dead], ids="none fails closed dead".split()
)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    made: Callable[[], Generator | None] = request.param
    generator = made()
    vauban = parts(tmp_path, generator)
    with ExitStack() as undo:
        undo.callback(vauban.database.close)
        if isinstance(generator, LlamaPool):
            undo.enter_context(closing(generator))
        app = create_app(vauban, None, token="t" * 32, identity=People((Principal("ada", frozenset({"agents"})),)))
        client = undo.enter_context(TestClient(app, base_url="http://127.0.0.1:8080"))
        client.headers["Authorization"] = "Bearer ada"
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_every_question_gets_passages_and_sources(client: TestClient, stream: bool) -> None:
    """Marked as extracts, word for word and cited; of nothing that the person may not read."""
    for question in QUESTIONS * TIMES:
        body = {"model": "vauban", "stream": stream, "messages": [{"role": "user", "content": question}]}
        answer = client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert not {"secrète", "secrets", "primes"} & set(answer.text.split())
        assert '"status":"extracts"' in answer.text.replace('": "', '":"'), (question, answer.text)
        if not stream:
            found = answer.json()
            assert found["vauban"]["passages"]
            assert {passage["corpus"] for passage in found["vauban"]["passages"]} <= {"rh", "finances"}
            [choice] = found["choices"]
            assert "25 jours" in choice["message"]["content"]
            assert choice["message"]["annotations"]
