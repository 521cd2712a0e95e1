"""What `vauban doctor` says of the llama-servers that the settings name."""

from __future__ import annotations

from pathlib import Path

from rag.doctor import examine
from rag.settings import Settings
from tests.fake_llama_server import FakeLlamaServer


def test_each_llama_server_is_asked_who_it_is(tmp_path: Path) -> None:
    """One that answers shows its model and slots; one that is not there, or wants a key, is not fit."""
    with FakeLlamaServer(slots=3) as server:
        settings = Settings.model_validate({"home": tmp_path, "llama_url": [server.url, "http://127.0.0.1:9"]})
        here, away = (check for check in examine(settings) if check.name == "llama-server")
        server.key = "secret-key"
        [locked] = [check for check in examine(settings) if check.name == "llama-server" and server.url in check.found]
    assert here.ok
    assert "counting.gguf@" in here.found
    assert "3 slots of 2048 tokens" in here.found
    assert not away.ok
    assert "http://127.0.0.1:9" in away.found
    assert not locked.ok
    assert "401" in locked.found
