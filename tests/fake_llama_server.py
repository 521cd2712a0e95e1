"""A small llama-server for tests: the endpoints and the manners of the real one, and a model that counts.

Its tokens are bytes, and numbers from 1000 on for the special words; it writes one word per piece for as long as it
may, whatever the stop strings, and stops when the connection is closed. Under a grammar of quotations it writes the
first sentence that is offered. Each slot serves one request at a time and holds the prompt that it read last.
"""

from __future__ import annotations

import json
import re
import select
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from rag.quoting import choices

SPECIAL = {"<|im_start|>": 1000, "<|im_end|>": 1001}


def tokenize(text: str, special: bool) -> list[int]:
    """Bytes, with the special words as one number each where they are parsed."""
    tokens: list[int] = []
    while text:
        word = next((word for word in SPECIAL if special and text.startswith(word)), None)
        tokens += [SPECIAL[word]] if word else list(text[0].encode())
        text = text[len(word) :] if word else text[1:]
    return tokens


class FakeLlamaServer:
    """Serves on a free loopback port inside a ``with`` block.

    ``status`` is what ``/health`` answers; ``reading`` seconds pass before the first word, ``pace`` between words;
    ``fault`` is one of ``crash``, ``error``, ``garbage``, ``status`` and makes the stream fail after two words.
    ``prompts`` are the token lists that came to be written after, ``reused`` how much of each its slot held before,
    ``stopped`` counts the streams that a closed connection ended. With ``hoards`` it keeps displaced prompts and
    gives them back to any slot, as the real one does by default; with ``old`` it does not say what it reuses.
    """

    def __init__(
        self, *, context: int = 2048, slots: int = 1, pace: float = 0.002, name: str = "counting", port: int = 0
    ) -> None:
        self.context, self.slots, self.pace, self.name = context, slots, pace, name
        self._port = port
        self.reading = 0.0
        self.hoards = self.old = False
        self.hoard: list[list[int]] = []
        self.held: list[list[int]] = [[] for _ in range(slots)]
        self.locks = [threading.Lock() for _ in range(slots)]
        self.reused: list[int] = []
        self.key = ""
        self.guesses = "none"
        self.status = 200
        self.fault = ""
        self.template_works = True
        self.prompts: list[list[int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.stopped = 0

    def __enter__(self) -> FakeLlamaServer:
        fake = self

        class Handler(_Handler):
            server_state = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, slot: int, prompt: list[int]) -> int:
        """Put ``prompt`` into ``slot``; how much of it was there."""
        held = self.held[slot]
        if self.hoards:
            self.hoard.append(held)
            held = max([held, *self.hoard], key=lambda kept: common(kept, prompt))
        self.held[slot] = prompt
        return min(common(held, prompt), len(prompt) - 1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FakeLlamaServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        state = self.server_state
        if self.path != "/health" and self.headers.get("Authorization", "Bearer ") != f"Bearer {state.key}":
            self.answer(failure("authentication_error"), 401)
        elif self.path == "/health":
            self.answer({"status": "ok"} if state.status == 200 else failure("unavailable_error"), state.status)
        elif self.path == "/props":
            self.answer(
                {
                    "default_generation_settings": {
                        "n_ctx": state.context,
                        "params": {"speculative.types": state.guesses},
                    },
                    "total_slots": state.slots,
                    "model_path": f"/models/{state.name}.gguf",
                    "chat_template": "chatml",
                    "build_info": "b1",
                }
            )
        elif self.path == "/v1/models":
            self.answer({"data": [{"id": state.name, "meta": {"n_params": 1, "n_ctx": state.context}}]})
        else:
            self.answer(failure("not_found_error"), 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self.answer({"tokens": tokenize(body["content"], body["parse_special"])})
        elif self.path == "/apply-template" and self.server_state.template_works:
            turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in body["messages"])
            self.answer({"prompt": turns + "<|im_start|>assistant\n"})
        elif self.path == "/v1/completions":
            with self.server_state.locks[body["id_slot"]]:
                self.complete(body)
        else:
            self.answer(failure("not_found_error"), 404)

    def complete(self, body: dict[str, Any]) -> None:
        state = self.server_state
        offered = choices(body["grammar"]) if "grammar" in body else ()
        unreadable = "grammar" in body and not offered
        reused = 0 if unreadable else state.take(body["id_slot"], body["prompt"])
        if body["max_tokens"]:
            state.prompts.append(body["prompt"])
            state.bodies.append(body)
            state.reused.append(reused)
        if state.fault == "status":
            return self.answer(failure("exceed_context_size_error"), 400)
        if state.fault == "broken":
            return self.answer(failure("server_error"), 500)
        if unreadable:
            return self.answer(failure("invalid_request_error"), 400)
        end = time.monotonic() + (state.reading if body["max_tokens"] else 0)
        while time.monotonic() < end:
            if self.gone():
                return None
            time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        progress = {"prompt_progress": {"cache": reused}, "timings": {"cache_n": reused}}
        self.event({"choices": [{"text": ""}], **({} if state.old else progress)})
        words = re.findall(r"\s*\S+", offered[0]) if offered else []
        for number in range(min(body["max_tokens"], len(words)) if words else body["max_tokens"]):
            if self.gone():
                return None
            if number == 2 and state.fault:
                return self.fail(state.fault)
            self.event({"choices": [{"text": words[number] if words else f" mot{number}"}]})
            time.sleep(state.pace)
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def fail(self, fault: str) -> None:
        if fault == "error":
            self.wfile.write(b"error: " + json.dumps(failure("server_error")["error"]).encode() + b"\n\n")
        elif fault == "garbage":
            self.wfile.write(b"data: {broken\n\n")
        else:
            self.connection.close()

    def gone(self) -> bool:
        """Whether the client has closed; then it counts as stopped."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1):
            self.server_state.stopped += 1
            self.close_connection = True
            return True
        return False

    def event(self, data: object) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    def answer(self, data: object, status: int = 200) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def common(left: list[int], right: list[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (n for n, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), min(len(left), len(right))
    )


def failure(kind: str) -> dict[str, Any]:
    """An error as llama-server words it."""
    return {"error": {"type": kind, "message": "secret words of the prompt", "code": 400}}
