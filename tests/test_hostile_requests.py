"""Requests that no honest client sends, at every operation: what broke comparable systems, asked of this one."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import api_chat
from rag.logs import LogFormat, LogLevel, speaking
from tests.leak_world import HOST, MARK, Operation, World, corpus_name, document_id, operations, running
from tests.rag_server import TOKEN
from tests.test_leaks import ORDERLY

QUESTION = "Quelle est la durée du congé annuel ?"
SERVER: Final = {"Authorization": f"Bearer {TOKEN}"}
IDS: Final = {
    "corpus": corpus_name(0),
    "document": document_id(0),
    "page": "1",
    "reference": "4",
    "model": "vauban",
    "conversation": "conv_" + "0" * 44,
    "note": "fb_0",
    "run": "0" * 32,
    "record": "1",
}
TRAVERSALS = (
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "/etc/passwd",
    "..\\..\\..\\etc\\passwd",
    "....//....//etc/passwd",
    "file:///etc/passwd",
    "%00",
    "a%00.png",
    "..",
    "%E2%80%AE../secret.txt",
    "con",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret.txt").write_text("racine: secret-du-disque")
    with running(ORDERLY, folder) as made:
        yield made


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(ORDERLY, tmp_path_factory.mktemp("raw"), live=True) as made:
        yield made


def path_of(operation: Operation, **ids: str) -> str:
    path = operation.path
    for name, value in (IDS | ids).items():
        path = path.replace("{" + name + "}", value)
    return path


def send(world: World, method: str, path: str, **more: Any) -> httpx.Response:
    headers = SERVER | more.pop("headers", {})
    return world.client.request(method, path, headers=headers, **more)


def refused_or_done(response: httpx.Response, what: str) -> None:
    """Never a 5xx that was not meant, and every refusal is a problem document."""
    assert response.status_code < 500 or response.status_code == 501, f"{what}: {response.text[:500]}"
    if response.status_code >= 400:
        assert response.headers["content-type"].startswith("application/problem+json"), what
        assert response.json()["code"], what


def test_no_name_of_any_operation_leads_elsewhere_on_the_disk(world: World) -> None:
    """In every parameter of every path, and in the names of files, documents and corpora that are sent."""
    outside = world.parts.home.root.parent
    before = {path for path in outside.rglob("*") if world.parts.home.root not in path.parents}
    tried = 0
    for operation in operations(world.app):
        names = [one["name"] for one in operation.parameters if one["in"] == "path"]
        for name in names:
            for traversal in TRAVERSALS:
                path = path_of(operation, **{name: traversal})
                response = send(world, operation.method, path, params={"wait": "0"}, json={})
                refused_or_done(response, f"{operation.name} {traversal}")
                assert b"root:" not in response.content
                assert b"secret-du-disque" not in response.content
                tried += 1
    for traversal in TRAVERSALS:
        name = urllib.parse.unquote(traversal)
        base = f"/v1/corpora/{corpus_name(0)}/documents"
        for sent in (
            {"params": {"name": name, "wait": "0"}, "content": b"texte"},
            {"params": {"id": name, "name": "a.txt", "wait": "0"}, "content": b"texte"},
            {"files": {"file": (name, b"texte")}, "params": {"wait": "0"}},
        ):
            refused_or_done(send(world, "POST", base, **sent), traversal)
        refused_or_done(send(world, "POST", "/v1/corpora", json={"name": name}), traversal)
    assert tried > 300
    assert {path for path in outside.rglob("*") if world.parts.home.root not in path.parents} == before


BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"texte"',
    b"1e999",
    b"NaN",
    b'{"a": NaN}',
    b'{"temperature": Infinity, "limit": -Infinity}',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"[" * 50_000,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    b'{"question": "\\ud800", "query": "\\udfff", "title": "\\ud800", "path": "\\ud800"}',
    b'{"question": "a\\u0000b", "title": "\\u0000", "path": "/\\u0000", "name": "\\u0000", "comment": "\\u0000"}',
    b'{"model": "vauban", "model": "secret", "messages": []}',
    b'{"limit": 1, "limit": 100000000000000000000000000000}',
    b'{"question": ' + b"9" * 5_000 + b"}",
    b'{"__proto__": {"a": 1}, "lc": 1, "type": "constructor", "id": ["os", "system"]}',
    b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}]}]}',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="../a"; filename*=utf-8\'\'b\r\n\r\nx\r\n--x--\r\n',
)
KINDS = (
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "",
)


@pytest.mark.slow
def test_no_body_of_any_kind_breaks_an_operation(world: World) -> None:
    """Broken, deep, doubled, huge and mislabelled bodies at everything that takes one: 4xx, and in words."""
    taking = [one for one in operations(world.app) if one.method in {"POST", "PUT", "PATCH"}]
    for number, operation in enumerate(taking):
        for place, body in enumerate(BODIES):
            kinds = KINDS if place % len(taking) == number % len(BODIES) else KINDS[:1]
            for kind in kinds:
                headers = {"Content-Type": kind} if kind else {}
                response = send(
                    world, operation.method, path_of(operation), content=body, headers=headers, params={"wait": "0"}
                )
                refused_or_done(response, f"{operation.name} {body[:40]!r} {kind}")


def test_the_last_of_two_equal_members_does_not_slip_past_the_check_of_the_first(world: World) -> None:
    """A reader takes one of them; that one is checked and used, so that nothing hidden is reached by the other."""
    secret = corpus_name(4)
    body = json.dumps({"question": QUESTION, "corpora": [corpus_name(0)]})[:-1] + f', "corpora": ["{secret}"]}}'
    headers = {"Authorization": f"Bearer {world.secrets['claire']}", "Content-Type": "application/json"}
    response = world.client.post("/v1/search", content=body, headers=headers)
    assert response.status_code == 404


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.sampled_from([-1, 0, 2**31, 2**63, -(2**63), 1e308]))


FIELDS = (
    *(
        "temperature",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "n_discard",
        "n_keep",
        "n_predict",
        "top_k",
        "top_p",
    ),
    *("min_p", "id_slot", "n_probs", "repeat_last_n", "mirostat", "presence_penalty", "cache_prompt"),
)


@given(
    fields=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, NUMBERS)),
    stop=st.one_of(st.none(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=5)),
)
def test_whatever_numbers_are_sent_the_model_gets_numbers_that_it_takes(
    world: World, fields: dict[str, Any], stop: object
) -> None:
    """Only fields of a closed list reach the model, each within its bounds; all else is refused or has no effect."""
    world.writer.samplings.clear()
    asked = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stop": stop, **fields}
    headers = {"Authorization": f"Bearer {world.secrets['claire']}", "Content-Type": "application/json"}
    response = world.client.post("/v1/chat/completions", content=json.dumps(asked), headers=headers)
    refused_or_done(response, str(asked))
    for sampling in world.writer.samplings:
        assert 1 <= sampling.max_tokens <= api_chat.LONGEST_ANSWER
        assert 0 <= sampling.temperature <= 2
        assert 0 <= sampling.seed < 2**32
        assert len(sampling.stop) <= api_chat.MOST_STOPS
        assert all(sampling.stop)
        assert sampling.grammar is None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:80@evil.test", "127.0.0.1:80/evil", "[::1]evil.test", "[::1]@evil.test", "localhost:80#x",
     "localhost:x", "127.0.0.1:8080?x=", "127.0.0.1 evil.test", "127.0.0.1, evil.test", "evil.test:127.0.0.1"],
)  # fmt: skip
def test_a_host_that_only_begins_like_ours_is_not_ours(world: World, host: str) -> None:
    assert world.client.get("/healthz", headers={"Host": host}).status_code == 421


FORGED = (
    'FORGERY\r\n2026-01-01 ERROR vauban.api admin signed in\n\x1b[31mFORGERY\x1b[0m\u2028FORGERY\u0085"}{"FORGERY": 1'
)


@pytest.mark.slow
@pytest.mark.parametrize("form", list(LogFormat))
def test_no_operation_lets_anybody_write_into_the_log(world: World, form: LogFormat) -> None:
    """Line ends, colours and quotes in paths, queries, headers and bodies: not a word of them is logged."""
    stream = io.StringIO()
    safe = re.sub(r"[^\x20-\x7e]", "_", FORGED)
    with speaking(form, LogLevel.DEBUG, stream):
        for operation in operations(world.app):
            quoted = urllib.parse.quote(FORGED, safe="")
            path = path_of(operation, **dict.fromkeys(IDS, quoted))
            body = dict.fromkeys(("question", "model", "query", "title", "name", "path", "answer", "user"), FORGED)
            body |= {"messages": [{"role": "user", "content": FORGED}], "input": FORGED, "documents": [FORGED]}  # type: ignore[dict-item]  # of any operation
            heads = {"User-Agent": safe, "X-Request-Id": safe, "Referer": safe, "traceparent": safe, "tracestate": safe}
            heads |= {"Idempotency-Key": "FORGERY-1", "Accept-Language": safe, "X-Forwarded-For": safe}
            send(world, operation.method, path, params={"after": FORGED, "corpus": FORGED}, json=body, headers=heads)
    assert stream.getvalue()
    assert "FORGERY" not in stream.getvalue()
    assert not MARK.search(stream.getvalue().encode())
    assert "\x1b" not in stream.getvalue()
    if form is LogFormat.JSON:
        assert all(isinstance(json.loads(line), dict) for line in stream.getvalue().splitlines())


# --- what a client library would not even send


def raw(world: World, sent: bytes, *, half: bool = False) -> bytes:
    """The whole answer to bytes on the wire; ``half`` closes our side after them."""
    url = httpx.URL(str(world.client.base_url))
    with socket.create_connection((url.host, url.port or 80), timeout=10) as wire:
        # A server that has refused the start of a request may be gone before the rest of it: its answer is still there.
        with contextlib.suppress(OSError):
            wire.sendall(sent)
            if half:
                wire.shutdown(socket.SHUT_WR)
        got = b""
        while block := _block(wire):
            got += block
        return got


def _block(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65_536)
    except ConnectionResetError:
        return b""


HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n".encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(5_000)) + b"\r\n",
        b"GET /v1/models?" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"POST /v1/search HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n{}",
        b"POST /v1/search HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
        b"POST /v1/search HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"GET /v1/mod\x00els HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"Host: evil.test\r\n\r\n",
        b"GET http://evil.test/v1/models HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\n" + HEAD + b" folded: header\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n" + HEAD + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    ],
)
def test_nothing_on_the_wire_ends_in_a_server_error(live: World, sent: bytes) -> None:
    """And the server goes on answering."""
    got = raw(live, sent, half=True)
    assert not re.match(rb"HTTP/1\.1 5\d\d", got), got[:300]
    assert live.client.get("/healthz").status_code == 200


def test_a_body_that_never_comes_holds_nobody_up(live: World) -> None:
    """Ten requests whose bodies trickle: others are answered meanwhile, and a body that breaks off is let go."""
    url = httpx.URL(str(live.client.base_url))
    wires = []
    for _ in range(10):
        wire = socket.create_connection((url.host, url.port or 80), timeout=10)
        wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000\r\n\r\n{")
        wires.append(wire)
    response = live.client.post("/v1/search", json={"question": QUESTION}, headers=SERVER)
    assert response.status_code == 200
    for wire in wires:
        wire.close()
    asked = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}
    assert live.client.post("/v1/chat/completions", json=asked, headers=SERVER).status_code == 200


# --- what the source says

_SECRET: Final = re.compile(r"(?:^|_)(?:secret|token|password|api_key|digest_key|credential|signature|hmac|hash)s?$")
_COMPARED_IN_THE_OPEN: Final = frozenset[str]()
"""``module:line's text`` of comparisons that are none of secrets, each with its reason beside it."""


def test_no_secret_is_compared_by_an_operator(root: Path) -> None:
    """``==`` takes as long as two texts are alike; what proves somebody's identity goes through ``compare_digest``."""
    found = []
    for name in (
        "identity",
        "keys",
        "sessions",
        "page_tokens",
        "oidc",
        "proxies",
        "api_service",
        "api_sign_in",
        "live",
    ):
        source = (root / "rag" / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                continue
            if any(_SECRET.search(_called(side)) for side in (node.left, *node.comparators)):
                found.append(f"{name}: {ast.unparse(node)}")
    assert [one for one in found if one not in _COMPARED_IN_THE_OPEN] == []


def _called(side: ast.expr) -> str:
    if isinstance(side, ast.Attribute):
        return side.attr
    return side.id if isinstance(side, ast.Name) else ""


def test_host_is_what_the_world_is_called(world: World) -> None:
    """The control of the tests above: the same requests, honestly sent, are answered."""
    assert httpx.URL(HOST).host == "127.0.0.1"
    assert send(world, "GET", "/v1/models").status_code == 200
