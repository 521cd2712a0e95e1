"""A day of a Vauban, each of its processes under strace; started by tests/test_egress.py where only loopback exists.

``python -m tests.egress.scenario FOLDER``: the corpus stands in ``FOLDER/rh``; traces and ``report.json`` are left in
``FOLDER``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

PROGRAM = str(Path(sys.executable).with_name("vauban"))
QUESTION = "Combien de jours de congés sur un compte épargne-temps ?"
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-features=OptimizationHints,MediaRouter"
).split()


def traced(trace: Path, *words: str) -> list[str]:
    """A command line that notes every network call of a program and its children in ``trace``."""
    return ["strace", "--follow-forks", "--seccomp-bpf", "-e", "trace=network", "-o", str(trace), *words]


def vauban(folder: Path, name: str, *words: str) -> str:
    """Run one command to its end."""
    line = traced(folder / f"{name}.trace", PROGRAM, *words)
    done = subprocess.run(line, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=240)
    return done.stdout


def main(folder: Path) -> None:
    report: dict[str, Any] = {}
    report["first"] = json.loads(vauban(folder, "sync", "ingest", "sync", "rh", "--corpus", "rh", "--json"))
    vauban(folder, "doctor", "doctor")
    rights = ("--group", "agents", "--role", "administrator", "--role", "auditor")
    secret = json.loads(vauban(folder, "keys", "keys", "create", "agent", *rights, "--json"))["secret"]
    line = traced(folder / "serve.trace", PROGRAM, "serve", "--port", "0")
    server = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        headers = {"Authorization": f"Bearer {secret}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=240) as client:
            wait(client)
            body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}]}
            report["status"] = client.post("/v1/chat/completions", json=body).json()["vauban"]["status"]
            client.post("/v1/corpora", json={"name": "envois", "groups": ["agents"]}).raise_for_status()
            note = "# Article 1\n\nLe badge est personnel.\n"
            sent = client.post("/v1/corpora/envois/documents?name=note.md&wait=60", content=note)
            report["upload"] = sent.status_code
        (folder / "rh" / "nouveau.md").write_text("# Note\n\n## Article 1\n\nLe badge est rendu au départ.\n")
        report["again"] = json.loads(vauban(folder, "again", "ingest", "sync", "rh", "--corpus", "rh", "--json"))
        vauban(folder, "search", "search", QUESTION, "--json")
        report["page"] = page(url, secret) if shutil.which("chromium") else None
        report["chain"] = json.loads(vauban(folder, "verify", "audit", "verify", "--json"))
        report["backup"] = json.loads(vauban(folder, "backup", "backup", str(folder / "backup"), "--json"))
        os.kill(json.loads((folder / "home" / "server.json").read_text())["pid"], signal.SIGTERM)
        report["stopped"] = server.wait(60)
    finally:
        with suppress(psutil.NoSuchProcess):  # what is traced outlives its tracer, and holds this program's pipes
            for traced_one in psutil.Process(server.pid).children(recursive=True):
                traced_one.kill()
        server.kill()
    (folder / "report.json").write_text(json.dumps(report))


def wait(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            if client.get("/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def page(url: str, secret: str) -> dict[str, Any]:
    """Sign in, ask in the page, and note every address that the browser was told to fetch by it."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        window = browser.new_page()
        window.on("request", lambda request: asked.append(request.url))
        window.on("websocket", lambda opened: asked.append(opened.url))
        window.goto(url)
        window.locator("#credential").fill(secret)
        window.locator("button[type=submit]").click()
        window.wait_for_selector(".example")  # the corpora have come, and with them what a click starts
        conversation = window.locator("#conversation")
        while QUESTION not in conversation.inner_text():
            window.locator("#question textarea").fill(QUESTION)
            window.locator("#send").click()
            window.wait_for_timeout(3000)
        window.locator(".tools").first.wait_for(timeout=240_000)  # the answer is whole
        window.wait_for_timeout(2000)  # for what a page may fetch later
        shown = conversation.inner_text()
        browser.close()
    return {"requests": asked, "url": url, "shown": shown}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
