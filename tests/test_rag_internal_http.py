"""What counts as inside the organisation, and that nothing is sent anywhere else."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from rag.adapters.llama_server import LlamaServer, ServerFailed
from rag.errors import SettingsError
from rag.internal_http import Inside, addresses, is_inside
from rag.oidc import checked_place

INSIDE = [
    "http://127.0.0.1:9/k",
    "https://10.1.2.3/k",
    "http://172.31.0.1",
    "http://192.168.1.1",
    "http://[::1]/k",
    "http://[fd00::1]/k",
]
OUTSIDE = [
    "https://8.8.8.8/keys",
    "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/",
    "http://198.51.100.1/",
    "http://172.32.0.1",
    "http://[fe80::1]/",
    "http://[2001:4860:4860::8888]/keys",
    "http://[::ffff:8.8.8.8]/keys",
    "http://0.0.0.0/keys",
    "http://224.0.0.1/keys",
    "ftp://127.0.0.1/keys",
    "http://user:word@127.0.0.1/keys",
    "http://@127.0.0.1/keys",
    "http:///keys",
    "http://127.0.0.1:port/keys",
]


@pytest.mark.parametrize("url", INSIDE)
def test_this_machine_and_the_private_networks_are_inside(url: str) -> None:
    assert is_inside(url)
    assert checked_place(url) == url
    assert LlamaServer(url).url == url


@pytest.mark.parametrize("url", OUTSIDE)
def test_everything_else_is_outside_for_whatever_is_spoken_to(url: str) -> None:
    """Also what no network carries far, such as the address where clouds keep credentials."""
    assert not is_inside(url)
    with pytest.raises(SettingsError):
        checked_place(url)
    with pytest.raises(SettingsError):
        LlamaServer(url)


def resolving(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Every name has these addresses from now on; an address still has itself."""
    real = socket.getaddrinfo

    def known(host: str, port: int, *more: Any, **named: Any) -> Any:
        if host.endswith(".exemple"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]
        return real(host, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)


def test_a_name_is_inside_when_all_of_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "10.0.0.1", "8.8.8.8")
    assert not is_inside("http://llama.exemple:8080")
    with pytest.raises(ValueError, match="internal"):
        addresses("llama.exemple", 8080)
    resolving(monkeypatch, "10.0.0.1", "10.0.0.2")
    assert is_inside("http://llama.exemple:8080")
    assert addresses("llama.exemple", 8080) == ["10.0.0.1", "10.0.0.2"]


def test_a_name_that_cannot_be_looked_up_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", away)
    assert is_inside("http://llama.exemple:8080")


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['Host']} {body.decode()}".encode())

    def log_message(self, *_: object) -> None:
        """Said to nobody."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served.server_address[1]
        served.shutdown()
        thread.join()


def test_a_request_goes_to_an_address_that_was_examined(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name's own Host, and to the next address where nobody listens on the first."""
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    with httpx.Client(transport=Inside()) as client:
        said = client.post(f"http://llama.exemple:{port}/a", content=b"question").text
    assert said == f"/a llama.exemple:{port} question"


def test_a_name_that_leads_outside_later_gets_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was inside when the server started."""
    resolving(monkeypatch, "127.0.0.1")
    server = LlamaServer(f"http://llama.exemple:{port}")
    resolving(monkeypatch, "127.0.0.1", "8.8.8.8")
    tried: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: tried.append(address))
    with pytest.raises(ServerFailed):
        server.facts()
    assert tried == []


def test_no_proxy_of_the_environment_is_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with httpx.Client(transport=Inside()) as client:
        assert client.post(f"http://127.0.0.1:{port}/", content=b"").status_code == 200
