"""The page behind a real nginx, with the configuration that the README shows, and a gateway that signs people in."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.page_server import page_server
from tests.rag_server import Writer

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/usr/local/sbin:/usr/local/bin")
OPENSSL = shutil.which("openssl")
NAME = "vauban.organisme.example"
PASS = {"Cookie": "gateway=marie"}
PATIENCE = 20.0
SILENCE = 5
"""Seconds without a byte after which this nginx gives an answer up."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="needs nginx (Debian: nginx-light openssl)"),
]


class _Gateway(BaseHTTPRequestHandler):
    """Knows whoever has its cookie, and says so in headers."""

    def do_GET(self) -> None:
        known = re.search(r"gateway=(\w+)", self.headers.get("Cookie", ""))
        self.send_response(202 if known else 401)
        if known:
            self.send_header("X-Auth-Request-User", known[1])
            self.send_header("X-Auth-Request-Groups", "/services/rh,/autre")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@dataclass
class Proxied:
    url: str

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            verify=ssl._create_unverified_context(),  # a certificate of this test
            trust_env=False,
            timeout=PATIENCE,
            headers={"Host": NAME, **headers},
        )


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def gateway() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def nginx(folder: Path, written: str) -> Iterator[None]:
    assert NGINX
    folder.mkdir()
    folder.chmod(0o755)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = folder / "nginx.conf"
    conf.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {paths}\n{written}\n}}")
    process = subprocess.Popen([NGINX, "-c", conf, "-e", folder / "error.log", "-p", folder], stderr=subprocess.PIPE)
    try:
        yield
    finally:
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Proxied]:
    assert OPENSSL
    folder = tmp_path_factory.mktemp("proxied")
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout vauban.key -out vauban.crt"
    subprocess.run([OPENSSL, *made.split()], cwd=folder, check=True, capture_output=True)
    table = folder / "login.toml"
    table.write_text('[groups]\n"/services/rh" = ["direction"]\n')
    (written,) = re.findall(r"^```nginx\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    settings: dict[str, Any] = {
        "login": frozenset({"proxy"}), "proxies": ("127.0.0.1",), "hosts": (NAME,), "login_map": table
    }  # fmt: skip
    slow = Writer(words=("Le report ",), pause=SILENCE + 1.0)
    with page_server(folder / "home", slow, **settings) as served, gateway() as port:
        listens = free()
        for shown, here in (
            ("listen 443 ", f"listen 127.0.0.1:{listens} "),
            ("/etc/nginx/", f"{folder}/"),
            ("proxy_read_timeout 330s", f"proxy_read_timeout {SILENCE}s"),
            ("http://127.0.0.1:8080", served.url),
            ("http://127.0.0.1:4180", f"http://127.0.0.1:{port}"),
        ):
            assert shown in written
            written = written.replace(shown, here)
        with nginx(folder / "nginx", written):
            ends = time.monotonic() + PATIENCE
            while time.monotonic() < ends:
                try:
                    socket.create_connection(("127.0.0.1", listens)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield Proxied(f"https://127.0.0.1:{listens}")


def corpora(client: httpx.Client) -> set[str]:
    return {corpus["name"] for corpus in client.get("/v1/corpora").json()["data"]}


def test_the_gateway_says_who_calls_and_no_client_does(proxied: Proxied) -> None:
    """Whatever a client writes into those headers is overwritten, in any spelling."""
    forged = {"X-Remote-User": "chef", "X_Remote_User": "chef", "X-Remote-Roles": "a", "X-Forwarded-Host": "evil.test"}
    for headers in ({}, forged, {"Authorization": "Bearer x"}):
        with proxied.client(**PASS, **headers) as client:
            assert corpora(client) == {"rh", "secret"}
            assert "<strong>marie</strong>" in client.get("/sign-in").text
    with proxied.client(**forged) as client:
        assert client.get("/v1/corpora").status_code == 401


def test_only_whoever_opens_the_page_is_sent_to_sign_in(proxied: Proxied) -> None:
    """What the open page itself asks for is told that the session is over, which it can say."""
    with proxied.client() as client:
        opened = client.get("/", headers={"Sec-Fetch-Mode": "navigate"})
        assert opened.status_code == 302
        assert re.fullmatch(rf"https://{NAME}(:\d+)?/oauth2/start\?rd=/", opened.headers["location"])
        assert client.post("/gradio_api/queue/join", json={}).status_code == 401


def test_cookies_are_for_https_alone(proxied: Proxied) -> None:
    with proxied.client(**PASS) as client:
        assert "Secure" in client.get("/sign-in").headers["set-cookie"]
        assert client.post("/v1/search", json={"question": "x"}, headers={"Origin": f"https://{NAME}"}).is_success
        assert client.post("/v1/search", json={"question": "x"}, headers={"Origin": "https://evil.test"}).is_error


def test_an_answer_outlasts_the_patience_of_the_proxy(proxied: Proxied) -> None:
    """The model says nothing for longer than nginx waits; the passages are there at once, and the end comes too."""
    body = {
        "model": "vauban",
        "messages": [{"role": "user", "content": "À quoi est soumis le report des congés ?"}],
        "stream": True,
    }
    began = time.monotonic()
    with (
        proxied.client(**PASS, Origin=f"https://{NAME}") as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        arrived = [(time.monotonic() - began, line) for line in answer.iter_lines()]
    seen = [at for at, line in arrived if "report des congés est soumis" in line]
    assert seen[0] < 2, "nginx gathers the stream up"
    assert arrived[-1][0] > SILENCE, "the model was not that slow"
    assert [line for _, line in arrived if line][-1] == "data: [DONE]"
