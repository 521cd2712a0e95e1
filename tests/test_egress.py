"""Nothing that Vauban runs tries to leave the machine: not one connection, not one name looked up.

Every process runs in a network namespace where only loopback is up, under strace, which sees attempts that fail too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rag import offline
from tests.egress.trace import Attempt, inside, outside, read

pytestmark = pytest.mark.timeout(600)

QUESTION = "Combien de jours de congés sur un compte épargne-temps ?"
ALONE = 'ip link set lo up && exec "$0" "$@"'


@pytest.fixture(scope="module")
def isolated() -> list[str]:
    """The words before a command that make it run where only loopback exists."""
    for tool in ("strace", "unshare", "ip"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    for options in (["--map-root-user", "--net"], ["--net"]):
        prefix = ["unshare", *options, "sh", "-c", ALONE]
        probe = [*prefix, "strace", "-f", "--seccomp-bpf", "-e", "trace=network", "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return prefix
    pytest.skip("this system lets us make no network namespace, or trace nothing in one")


@pytest.fixture(scope="module")
def day(isolated: list[str], root: Path, minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the traces of a whole day, with the real models of the demo."""
    folder = tmp_path_factory.mktemp("day")
    (folder / "rh").mkdir()
    wanted = (
        "corpus.toml",
        "glossaire.toml",
        "rh-compte-epargne-temps.md",
        "rh-note-compteurs-conges.txt",
        "rh-parentalite.html",
    )
    for name in wanted:
        for file in (root / "ingest/samples/rh").glob(f"{name}*"):
            shutil.copy(file, folder / "rh")
    run(isolated, root, [sys.executable, "-m", "tests.egress.scenario", str(folder)], folder)
    return folder


LONGEST = 560
"""Seconds that a day under strace may take: about 60 where nothing else runs, several times that beside other."""


def run(isolated: list[str], root: Path, words: list[str], folder: Path) -> None:
    """As a user would start it: without the switches that these tests set for themselves."""
    kept = {name: value for name, value in os.environ.items() if name not in offline.SWITCHES}
    environ = {
        **kept,
        "HOME": str(folder),
        "PYTHONPATH": str(root),
        "VAUBAN_HOME": str(folder / "home"),
        "VAUBAN_LOCAL_GROUPS": "agents",
        "VAUBAN_LOGIN": "keys",
        "VAUBAN_SOURCES": str(folder),
        "VAUBAN_WORKERS": "1",
    }
    done = subprocess.run(
        [*isolated, *words], env=environ, cwd=folder, capture_output=True, text=True, check=False, timeout=LONGEST
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(day: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((day / "report.json").read_text())
    return found


@pytest.mark.slow
def test_the_day_was_a_whole_one(report: dict[str, Any]) -> None:
    """With a key a question was answered, a document sent, the page opened; documents were taken in twice, the records
    verified, the home backed up, and the server stopped as told."""
    assert report["first"]["added"] == 3
    assert report["again"]["added"] == 1
    assert report["status"] in {"answered", "extracts"}
    assert report["upload"] == 201
    assert report["page"] is None or QUESTION in report["page"]["shown"]
    assert report["chain"]["whole"]
    assert report["chain"]["records"] > 0
    assert report["backup"]["secrets"] == ["audit.key"]
    assert report["stopped"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sync", "doctor", "keys", "serve", "again", "search", "verify", "backup"])
def test_no_process_tries_to_leave_the_machine(day: Path, name: str) -> None:
    """Not one attempt in the whole trace; and the traces of those that speak to the server are not empty."""
    lines = read(day / f"{name}.trace")
    assert outside(lines) == []
    assert "+++ exited with 0 +++" in lines[-1]
    assert inside(lines) > 0 or name not in {"serve", "again", "search", "verify", "backup"}


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_fetches_from_its_own_server_alone(report: dict[str, Any]) -> None:
    """Every request of a browser in which a question was asked, as the browser reports them."""
    if report["page"] is None:
        pytest.skip("chromium is not installed")
    page = report["page"]
    assert len(page["requests"]) > 5
    assert not [url for url in page["requests"] if not url.startswith((page["url"], "data:", "blob:"))]


@pytest.mark.slow
def test_the_harness_sees_a_page_that_does_try(isolated: list[str], root: Path, tmp_path: Path) -> None:
    """Gradio as it comes looks for its makers: the empty lists above mean something."""
    trace = tmp_path / "stock.trace"
    stock = [sys.executable, str(root / "tests/egress/stock_gradio.py")]
    strace = ["strace", "--follow-forks", "--seccomp-bpf", "-e", "trace=network", "-o", str(trace)]
    run(isolated, root, [*strace, *stock], tmp_path)
    assert outside(read(trace))


def test_addresses_in_a_trace_are_told_apart() -> None:
    """Loopback in three spellings is inside; other machines and any resolver are not."""
    stays = [
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        "1 connect(3, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
        'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
        '1 connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file)',
        '1 bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, 16) = 0',
        '1 recvfrom(3, "", 9, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0',
    ]
    assert (outside(stays), inside(stays)) == ([], 2)
    leaves = [
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.7")}, 16 <unfinished ...>',
        '1 sendto(3, "x", 1, 0, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), '
        'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH',
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0',
        '1 connect(3, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 42) = 0',
    ]
    assert outside(leaves) == [
        Attempt("connect", "192.0.2.7", 443),
        Attempt("sendto", "2001:db8::1", 443),
        Attempt("connect", "127.0.0.53", 53),
        Attempt("connect", "the system's resolver", 0),
    ]
