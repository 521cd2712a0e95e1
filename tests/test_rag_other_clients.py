"""Clients of other makers, each in its own process, pointed at a live server: they work as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.api import create_app
from tests.rag_server import LEAVE, QUESTION, Writer, parts, serving

CLIENTS = Path(__file__).parent / "clients"
LITELLM = """
import json, sys
import litellm
litellm.suppress_debug_info = True

url, question = sys.argv[1:]
asked = dict(model="openai/vauban", api_base=url, api_key="-", messages=[{"role": "user", "content": question}])
plain = litellm.completion(**asked)
streamed = litellm.completion(**asked, stream=True)
try:
    litellm.completion(**(asked | {"model": "openai/nothing"}), max_retries=0)
    refused = ""
except litellm.NotFoundError as error:
    refused = type(error).__name__
print(json.dumps({
    "content": plain.choices[0].message.content,
    "text": "".join(chunk.choices[0].delta.content or "" for chunk in streamed),
    "tokens": plain.usage.total_tokens,
    "refused": refused,
}))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    vauban = parts(tmp_path_factory.mktemp("clients"), Writer())
    with serving(create_app(vauban)) as url:
        yield f"{url}/v1"
    vauban.catalog.close()


def output(*command: str, **environ: str) -> str:
    """What a program prints, which must end well."""
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environ}
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    return ran.stdout


@pytest.mark.slow
def test_the_client_for_javascript(url: str) -> None:
    """OpenAI's own npm package: completions, streams, models, vectors and typed errors."""
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "openai").is_dir():
        pytest.skip("needs node, and `npm ci --prefix tests/clients`")
    said = json.loads(output("node", str(CLIENTS / "chat.mjs"), url, "-", QUESTION))
    assert LEAVE.rstrip(".") in said["content"]
    assert said["annotations"][0]["type"] == "url_citation"
    assert said["text"] == said["content"]
    assert said["passages"] > 0
    assert (said["status"], said["finish"]) == ("answered", "stop")
    assert said["models"][:2] == ["vauban", "vauban-finances"]
    assert said["dimension"] > 0
    assert said["refused"] == {"name": "NotFoundError", "status": 404, "code": "unknown_model"}


@pytest.mark.slow
def test_litellm(url: str) -> None:
    """As an OpenAI-compatible provider, plain, streamed and refused; its list of prices is the one it carries."""
    pytest.importorskip("litellm", reason="needs the package litellm")
    said = json.loads(output(sys.executable, "-c", LITELLM, url, QUESTION, LITELLM_LOCAL_MODEL_COST_MAP="True"))
    assert LEAVE.rstrip(".") in said["content"]
    assert said["text"] == said["content"]
    assert said["tokens"] > 0
    assert said["refused"] == "NotFoundError"


def test_curl(url: str) -> None:
    """A plain command line, whose stream comes as it is made."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    body = json.dumps({"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stream": True})
    shown = output(
        "curl", "-sN", "--noproxy", "*", f"{url}/chat/completions", "-H", "Content-Type: application/json", "-d", body
    )
    events = [line.removeprefix("data: ") for line in shown.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    text = "".join(choice["delta"].get("content") or "" for e in events[:-1] for choice in json.loads(e)["choices"])
    assert LEAVE.rstrip(".") in text
