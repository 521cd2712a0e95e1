"""Writing with a ``llama-server`` of llama.cpp over HTTP: a machine of its own, several slots, or replicas.

The server tokenises, applies its model's chat template and writes; this side asks for the prompt as tokens, made of
the template's words with their special tokens and of the messages' texts without, and sends it to the
OpenAI-compatible ``/v1/completions``. Its ``/v1/chat/completions`` would read ``<|im_start|>`` in a document as a role.

Some builds write freely when they cannot read a grammar, and answer 200: whoever sends one must check what comes back
(:func:`rag.quoting.spans` does).

Start the server with small batches (``-b 128 -ub 128``), because it looks for a closed connection between batches
only, and with ``--no-repack`` on machines whose AMX crashes (see ``rag.adapters.llama``).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import queue as queues
import socket
import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Generator as Stream
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from rag.adapters import chat_template
from rag.errors import BadRequest, Cancelled, GenerationError, ModelError, SettingsError
from rag.queue import Turns, never, nobody
from rag.stops import StopFilter
from rag.types import Message, Sampling, Told

CONNECT: Final = 5.0
"""Seconds for a connection and for a short answer's first byte; the server is in the same building."""
SILENCE: Final = 600.0
"""Longest time between two pieces of a stream: reading a long prompt on a busy processor sends nothing."""
WATCH: Final = 0.1
"""Seconds between two looks at ``cancelled``."""
TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05


class LlamaServerGenerator:
    """A :class:`~rag.seams.Generator` over one ``llama-server``; see :meth:`open`."""

    def __init__(self, client: httpx.Client, *, fingerprint: str, context: int, slots: int, queue: int) -> None:
        self._client = client
        self._fingerprint = fingerprint
        self._context = context
        self._turns = Turns(queue, places=slots)
        self._closing = threading.Event()
        # Fitting a prompt counts the same texts again and again; templates and their words are few.
        self._words = lru_cache(maxsize=64)(self._tokenize)
        self._pieces = lru_cache(maxsize=64)(self._layout)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        queue: int = 16,
        api_key: str = "",
        patience: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> LlamaServerGenerator:
        """Connect to the server at ``url``, waiting up to ``patience`` seconds for it to load its model.

        The fingerprint names its model, template and build. Proxies of the environment are not used, redirections
        not followed.

        Raises:
            SettingsError: ``url`` is not the address of a server on this machine or an internal network.
            ModelError: the server does not answer, or lacks what is needed.
        """
        client = httpx.Client(
            base_url=_internal(url),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(SILENCE, connect=CONNECT),
            # A connection serves one request, so that closing it stops exactly that one.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )
        try:
            _await_health(client, patience)
            props = _json(client, "GET", "/props")
            models = _json(client, "GET", "/v1/models").get("data", [])
            context = int(props["default_generation_settings"]["n_ctx"])
            generator = cls(
                client,
                fingerprint=_fingerprint(props, models),
                context=context,
                slots=max(1, int(props.get("total_slots", 1))),
                queue=queue,
            )
            generator.count_prompt([Message("system", "."), Message("user", ".")])
        except (GenerationError, BadRequest, KeyError, TypeError, ValueError) as error:
            client.close()
            raise ModelError(
                f"no usable llama-server at {url}: {error}", f"aucun llama-server utilisable à {url} : {error}"
            ) from error
        return generator

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, text: str) -> int:
        return len(self._words(text, special=False, first=False)) if text else 0

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        return len(self._tokens(prompt))

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = never,
        told: Callable[[Told], None] = nobody,
        owner: str = "",
    ) -> Stream[str, None, None]:
        """See :meth:`rag.seams.Generator.stream`; a prompt that does not fit is refused before anything is yielded."""
        tokens = self._tokens(prompt)
        if len(tokens) >= self._context:
            raise _too_long(len(tokens), self._context)
        return self._write(tokens, sampling, cancelled, told, owner)

    def close(self) -> None:
        """Stop what is being written, send the waiting away, let go of the server."""
        self._closing.set()
        self._turns.close(patience=CONNECT)
        self._client.close()

    def _write(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Callable[[Told], None],
        owner: str,
    ) -> Stream[str, None, None]:
        body: dict[str, Any] = {
            "prompt": list(tokens),
            "max_tokens": min(sampling.max_tokens, self._context - len(tokens)),
            "temperature": sampling.temperature,
            "seed": sampling.seed & 0xFFFFFFFF,
            "stop": [stop for stop in sampling.stop if stop],
            "top_k": TOP_K,
            "top_p": TOP_P,
            "min_p": MIN_P,
            "stream": True,
            "cache_prompt": True,
        }
        if sampling.grammar is not None:
            body["grammar"] = sampling.grammar
        stops = StopFilter(sampling.stop)  # the server stops too, but may have sent the first half of a stop string
        with self._turns.turn(cancelled, told, owner), closing(_Exchange(self._client, body)) as exchange:
            while True:
                if self._closing.is_set():
                    raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")
                if cancelled():
                    raise Cancelled("cancelled while writing", "annulé pendant la rédaction")
                piece = exchange.piece(WATCH)
                if shown := stops.rest() if piece is None else stops.feed(piece):
                    yield shown
                if piece is None or stops.stopped:
                    return

    def _tokens(self, prompt: Sequence[Message]) -> tuple[int, ...]:
        tokens: list[int] = []
        for place, piece in enumerate(self._pieces(tuple(message.role for message in prompt))):
            if isinstance(piece, str):
                tokens += self._words(piece, special=True, first=place == 0)
            elif prompt[piece].content:
                tokens += self._words(prompt[piece].content, special=False, first=place == 0)
        return tuple(tokens)

    def _tokenize(self, text: str, *, special: bool, first: bool) -> tuple[int, ...]:
        body = {"content": text, "add_special": first, "parse_special": special}
        tokens = _json(self._client, "POST", "/tokenize", body).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise GenerationError("llama-server gave no tokens", "llama-server n’a pas donné d’unités")
        return tuple(tokens)

    def _layout(self, roles: tuple[str, ...]) -> tuple[str | int, ...]:
        messages = [{"role": role, "content": chat_template.mark(number)} for number, role in enumerate(roles)]
        body = {"messages": messages, "chat_template_kwargs": {"enable_thinking": False}}
        text = _json(self._client, "POST", "/apply-template", body).get("prompt")
        try:
            return chat_template.split(str(text), len(roles))
        except chat_template.TemplateError as error:
            raise GenerationError(
                f"llama-server's chat template fails: {error}", f"gabarit de llama-server fautif : {error}"
            ) from error


class _Exchange:
    """One request whose stream is read by a thread, so that the caller can look up while nothing comes."""

    def __init__(self, client: httpx.Client, body: dict[str, Any]) -> None:
        self._client = client
        self._body = body
        self._events: queues.SimpleQueue[str | Exception | None] = queues.SimpleQueue()
        self._socket: socket.socket | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="vauban-llama-server", daemon=True)
        self._thread.start()

    def piece(self, patience: float) -> str | None:
        """The next piece; empty when none came in ``patience`` seconds; ``None`` at the end.

        Raises:
            GenerationError: the server failed or went away.
        """
        try:
            event = self._events.get(timeout=patience)
        except queues.Empty:
            return ""
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        """Break the connection, which is what tells the server to stop, also while it reads the prompt."""
        self._closed = True
        if self._socket is not None:
            with suppress(OSError):  # closed already when the stream has ended
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(CONNECT)

    def _read(self) -> None:
        try:
            with self._client.stream(
                "POST", "/v1/completions", json=self._body, extensions={"trace": self._connected}
            ) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise _refused(response)
                for line in response.iter_lines():
                    piece = _event(line)
                    self._events.put(piece)
                    if piece is None:
                        return
            raise GenerationError("llama-server broke off", "llama-server s’est interrompu")
        except httpx.HTTPError as error:
            self._events.put(_unreachable(error))
        except (GenerationError, BadRequest) as error:
            self._events.put(error)

    def _connected(self, event: str, info: dict[str, Any]) -> None:
        """Keep the socket: a connection can only be broken from another thread by shutting it down."""
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")
            if self._closed and self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _event(line: str) -> str | None:
    """The text that one line of a server-sent stream brings; ``None`` when it says that the stream is over."""
    field, _, value = line.partition(":")
    if field not in {"data", "error"}:
        return ""
    value = value.strip()
    if value == "[DONE]":
        return None
    try:
        data = json.loads(value)
        if field == "error" or "error" in data:
            raise GenerationError("llama-server failed while writing", "llama-server a échoué pendant la rédaction")
        return str(data["choices"][0].get("text") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise GenerationError(
            "llama-server sent something that is no event", "llama-server a envoyé un événement illisible"
        ) from error


def _json(client: httpx.Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    try:
        response = client.request(method, path, json=body, timeout=httpx.Timeout(SILENCE / 10, connect=CONNECT))
    except httpx.HTTPError as error:
        raise _unreachable(error) from error
    if response.status_code != httpx.codes.OK:
        raise _refused(response)
    try:
        data = response.json()
    except ValueError as error:
        raise GenerationError(
            f"llama-server's {path} is no JSON", f"{path} de llama-server n’est pas du JSON"
        ) from error
    if not isinstance(data, dict):
        raise GenerationError(f"llama-server's {path} is unknown", f"{path} de llama-server est inconnu")
    return data


def _await_health(client: httpx.Client, patience: float) -> None:
    """Return once the server has loaded its model; it answers 503 while it does."""
    end = time.monotonic() + patience
    while True:
        try:
            response = client.get("/health", timeout=CONNECT)
            if response.status_code == httpx.codes.OK:
                return
            failure: GenerationError | BadRequest = _refused(response)
        except httpx.HTTPError as error:
            failure = _unreachable(error)
        if time.monotonic() >= end:
            raise failure
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))


def _unreachable(error: httpx.HTTPError) -> GenerationError:
    return GenerationError(
        f"llama-server cannot be reached ({type(error).__name__})",
        f"llama-server est injoignable ({type(error).__name__})",
    )


def _refused(response: httpx.Response) -> GenerationError | BadRequest:
    """The server's refusal in our words; its own message may quote the prompt and is not repeated."""
    try:
        kind = str(response.json()["error"]["type"])
    except (ValueError, KeyError, TypeError):
        kind = "unknown"
    if kind == "exceed_context_size_error":
        return _too_long(0, 0)
    return GenerationError(
        f"llama-server answered {response.status_code} ({kind})",
        f"llama-server a répondu {response.status_code} ({kind})",
    )


def _too_long(length: int, context: int) -> BadRequest:
    if not context:
        return BadRequest(
            "the prompt is longer than the model's context",
            "l’invite dépasse le contexte du modèle",
            code="prompt_too_long",
        )
    return BadRequest(
        f"the prompt has {length} tokens and the model's context is {context}",
        f"l’invite compte {length} unités pour un contexte de {context}",
        code="prompt_too_long",
    )


def _fingerprint(props: dict[str, Any], models: Sequence[dict[str, Any]]) -> str:
    name = PurePath(str(props.get("model_path", ""))).name
    said = [name, props.get("chat_template", ""), props.get("build_info", ""), [model.get("meta") for model in models]]
    return f"{name or 'llama-server'}@{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]}"


def _internal(url: str) -> str:
    """``url``, when it can be a server of ours: no public address, no credentials in it, HTTP or HTTPS.

    Raises:
        SettingsError: it cannot.
    """
    parts = urlsplit(url)
    try:
        public = parts.hostname is not None and ipaddress.ip_address(parts.hostname).is_global
    except ValueError:  # a name, which the internal network resolves
        public = False
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or public:
        raise SettingsError(
            "`llama_url` must be the address of a server on this machine or an internal network, like http://llama:8080",
            "« llama_url » doit être l’adresse d’un serveur de cette machine ou d’un réseau interne, "
            "par exemple http://llama:8080",
        )
    return url.rstrip("/")
