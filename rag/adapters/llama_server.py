"""One ``llama-server`` of llama.cpp over HTTP: its facts, its words as tokens, and one stream of text at a time a slot.

The server tokenises, applies its model's chat template and writes; this side asks for the prompt as tokens, made of
the template's words with their special tokens and of the messages' texts without, and sends it to the
OpenAI-compatible ``/v1/completions``. Its ``/v1/chat/completions`` would read ``<|im_start|>`` in a document as a role.

Start each server with these, and with an address that reaches that one server, not a balancer over several::

    llama-server -m MODEL -np SLOTS -c CONTEXT*SLOTS -b 32 -ub 32 --cache-ram 0 --offline --no-webui --api-key KEY

``--cache-ram 0``: with the prompt cache that is on by default, a slot can be given what another person's conversation
left (llama.cpp issue 27148); :meth:`LlamaServer.inspect` finds it out and refuses such a server. Small batches: the
server looks for a closed connection between batches only, so one is to take less than a second; 32 tokens on a
processor (measured: idle after 0.3 s at most, with 128 after 6.5 s on a busy one), 256 or more on a GPU.
``--no-repack`` on machines whose AMX crashes (see ``rag.adapters.llama``).

Some builds write freely when they cannot read a grammar, and answer 200: whoever sends one must check what comes back
(:func:`rag.quoting.spans` does).
"""

from __future__ import annotations

import hashlib
import json
import queue as queues
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import httpx

from rag import tracing
from rag.adapters import chat_template
from rag.errors import BadRequest, GenerationError, ModelError, SettingsError
from rag.internal_http import Inside, is_inside

CONNECT: Final = 5.0
"""Seconds for a connection; the server is in the same building."""
CHECK: Final = 3.0
"""Seconds for each short question of a health check; the server's answers do not wait for the model."""
SILENCE: Final = 600.0
"""Longest time between two pieces of a stream: reading a long prompt on a busy processor sends nothing."""
WATCH: Final = 0.1
"""Seconds between two looks at whether the caller is still there."""
PROBE: Final = 64
"""Characters of noise in each prompt of the probe."""
PATIENCE: Final = 60.0
"""Seconds for the whole probe; a busy server makes it wait for a slot."""


class ServerFailed(GenerationError):
    """The server failed, not the request: another one may do it.

    ``gone`` when it cannot even be reached, ``unfit`` when it will not do better if it is asked again.
    """

    def __init__(self, en: str, fr: str, *, gone: bool = False, unfit: bool = False) -> None:
        super().__init__(en, fr)
        self.gone = gone
        self.unfit = unfit


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself; ``fingerprint`` names its model, template and build."""

    fingerprint: str
    context: int
    slots: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a stream brought: perhaps a ``text``, and how much of the prompt was ``cached``, where it says."""

    text: str
    cached: int | None = None


class LlamaServer:
    """One server. Safe from many threads; what it holds in its slots is for the caller to know."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        """Proxies of the environment are not used, redirections not followed.

        Raises:
            SettingsError: ``url`` is not the address of a server on this machine or an internal network.
        """
        self.url = _internal(url)
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(SILENCE, connect=CONNECT),
            # A connection serves one request, so that closing it stops exactly that one.
            transport=Inside(limits=httpx.Limits(max_keepalive_connections=0)),
            trust_env=False,
            follow_redirects=False,
        )

    def facts(self) -> Facts:
        """Ask the server who it is, and so whether it is there.

        Raises:
            ServerFailed: it is not there, still loading, or refuses the key.
            ModelError: it is no llama-server that Vauban can use, or guesses words from a pool that slots share.
        """
        self._json("GET", "/health", patience=CHECK)
        props = self._json("GET", "/props", patience=CHECK)
        models = self._json("GET", "/v1/models", patience=CHECK).get("data")
        if "ngram-mod" in str(props.get("default_generation_settings")):
            raise _unfit(
                "its slots share what they learn of texts; start it without `--spec-type ngram-mod`",
                "ses emplacements partagent ce qu’ils apprennent des textes ; lancez-le sans « --spec-type ngram-mod »",
            )
        try:
            return Facts(
                fingerprint=_fingerprint(props, models if isinstance(models, list) else []),
                context=int(props["default_generation_settings"]["n_ctx"]),
                slots=max(1, int(props.get("total_slots", 1))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unfit("its /props are unknown", "ses /props sont inconnues") from error

    def inspect(self) -> Facts:
        """The server's facts, after a proof that a slot brings nothing back that was displaced from it.

        Two prompts of noise displace each other and the first comes again: what is reused of it then was kept
        elsewhere than in the slot, where the next owner could get it. Costs the reading of some 300 tokens.

        Raises:
            ServerFailed: see :meth:`facts`.
            ModelError: it is no llama-server that Vauban can use, or not a safe one.
        """
        try:
            return self._inspect()
        except ServerFailed as error:
            if error.unfit:
                raise _unfit(error.en, error.fr) from error
            raise

    def _inspect(self) -> Facts:
        end = time.monotonic() + PATIENCE

        def check() -> None:
            if time.monotonic() > end:
                raise ServerFailed("llama-server is too slow", "llama-server est trop lent")

        facts = self.facts()
        self.layout(("system", "user"))
        one, other = (self.tokens(secrets.token_hex(PROBE // 2), special=False, first=True) for _ in range(2))
        shared = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
        for prompt in (one, other, one):
            cached = self.trim(0, prompt, check)
        if cached is None:
            raise _unfit(
                "it does not say how much of a prompt it reuses; a newer llama.cpp is needed",
                "il ne dit pas ce qu’il réutilise d’une invite ; il faut un llama.cpp plus récent",
            )
        if cached > shared:
            raise _unfit(
                "it keeps prompts outside its slots and may mix up people's conversations; "
                "start it with `--cache-ram 0`",
                "il garde des invites hors de ses emplacements et peut mêler les conversations ; "
                "lancez-le avec « --cache-ram 0 »",
            )
        return facts

    def tokens(self, text: str, *, special: bool, first: bool) -> tuple[int, ...]:
        """``text`` as tokens; ``special`` reads ``<|im_end|>`` as what it names, ``first`` opens a text if need be."""
        body = {"content": text, "add_special": first, "parse_special": special}
        tokens = self._json("POST", "/tokenize", body).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise ServerFailed("llama-server gave no tokens", "llama-server n’a pas donné d’unités")
        return tuple(tokens)

    def layout(self, roles: Sequence[str]) -> tuple[str | int, ...]:
        """The chat template's words around messages of these ``roles``, which stand as their numbers."""
        messages = [{"role": role, "content": chat_template.mark(number)} for number, role in enumerate(roles)]
        body = {"messages": messages, "chat_template_kwargs": {"enable_thinking": False}}
        text = self._json("POST", "/apply-template", body).get("prompt")
        try:
            return chat_template.split(str(text), len(roles))
        except chat_template.TemplateError as error:
            raise _unfit(f"its chat template fails: {error}", f"gabarit fautif : {error}") from error

    def write(self, slot: int, tokens: Sequence[int], options: Mapping[str, object]) -> Exchange:
        """Begin to read ``tokens`` in ``slot`` and to write after them; the slot is waited for when it is busy."""
        body = {
            "prompt": list(tokens),
            "id_slot": slot,
            "cache_prompt": True,
            "stream": True,
            "return_progress": True,
            "timings_per_token": True,
            **options,
        }
        return Exchange(self._client, body)

    def trim(self, slot: int, tokens: Sequence[int], check: Callable[[], None]) -> int | None:
        """Make ``slot`` hold ``tokens`` and nothing else; how many of them it held before, where the server says.

        ``check`` is called often meanwhile, and may raise to end it.
        """
        with closing(self.write(slot, tokens, TRIMMED)) as exchange:
            cached = None
            while (piece := exchange.piece(WATCH)) is not None:
                cached = piece.cached if cached is None else cached
                check()
        return cached

    def close(self) -> None:
        self._client.close()

    def _json(self, method: str, path: str, body: object = None, *, patience: float = SILENCE / 10) -> dict[str, Any]:
        try:
            response = self._client.request(
                method, path, json=body, timeout=httpx.Timeout(patience, connect=min(CONNECT, patience))
            )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        except RuntimeError as error:  # httpx's word for a client that was closed meanwhile
            raise _closed() from error
        if response.status_code != httpx.codes.OK:
            raise _refused(response)
        try:
            data = response.json()
        except ValueError as error:
            raise ServerFailed(
                f"llama-server's {path} is no JSON", f"{path} de llama-server n’est pas du JSON"
            ) from error
        if not isinstance(data, dict):
            raise ServerFailed(f"llama-server's {path} is unknown", f"{path} de llama-server est inconnu")
        return data


TRIMMED: Final[Mapping[str, object]] = {"max_tokens": 0, "temperature": 0.0}
"""Read a prompt into the slot's cache and write nothing; some builds write one token all the same."""


class Exchange:
    """One request whose stream is read by a thread, so that the caller can look up while nothing comes."""

    def __init__(self, client: httpx.Client, body: dict[str, Any]) -> None:
        self._client = client
        self._body = body
        self._headers = tracing.current().headers  # the thread does not know whose request it works for
        self._events: queues.SimpleQueue[Piece | Exception | None] = queues.SimpleQueue()
        self._socket: socket.socket | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="vauban-llama-server", daemon=True)
        self._thread.start()

    def piece(self, patience: float) -> Piece | None:
        """What came next; an empty piece when nothing did in ``patience`` seconds; ``None`` at the end.

        Raises:
            ServerFailed: the server failed or went away.
            GenerationError, BadRequest: it refused this request.
        """
        try:
            event = self._events.get(timeout=patience)
        except queues.Empty:
            return Piece("")
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
                "POST",
                "/v1/completions",
                json=self._body,
                headers=self._headers,
                extensions={"trace": self._connected},
            ) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise _refused(response)
                for line in response.iter_lines():
                    event = _event(line)
                    if event is not _NOTHING:
                        self._events.put(event)
                    if event is None:
                        return
            raise ServerFailed("llama-server broke off", "llama-server s’est interrompu", gone=True)
        except httpx.HTTPError as error:
            self._events.put(_unreachable(error))
        except RuntimeError:  # httpx's word for a client that was closed meanwhile
            self._events.put(_closed())
        except (GenerationError, BadRequest) as error:
            self._events.put(error)
        except Exception:  # noqa: BLE001 the edge of a thread: whoever waits must hear of it
            self._events.put(ServerFailed("llama-server broke off", "llama-server s’est interrompu", gone=True))
        finally:
            if self._socket is not None:  # a client that is closed while it connects leaves it open
                with suppress(OSError):
                    self._socket.close()

    def _connected(self, event: str, info: dict[str, Any]) -> None:
        """Keep the socket: a connection can only be broken from another thread by shutting it down."""
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")
            if self._closed and self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


_NOTHING: Final = Piece("")


def _event(line: str) -> Piece | None:
    """What one line of a server-sent stream brings; ``None`` when it says that the stream is over."""
    field, _, value = line.partition(":")
    if field not in {"data", "error"}:
        return _NOTHING
    value = value.strip()
    if value == "[DONE]":
        return None
    try:
        data = json.loads(value)
        if field == "error" or "error" in data:
            raise ServerFailed("llama-server failed while writing", "llama-server a échoué pendant la rédaction")
        choices = data["choices"]
        cached = data.get("prompt_progress", {}).get("cache", data.get("timings", {}).get("cache_n"))
        return Piece(str(choices[0].get("text") or "") if choices else "", cached if isinstance(cached, int) else None)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerFailed(
            "llama-server sent something that is no event", "llama-server a envoyé un événement illisible"
        ) from error


def _unreachable(error: httpx.HTTPError) -> ServerFailed:
    """A timeout may be a busy machine; a connection that is refused or breaks is a server that is not there."""
    return ServerFailed(
        f"llama-server cannot be reached ({type(error).__name__})",
        f"llama-server est injoignable ({type(error).__name__})",
        gone=not isinstance(error, httpx.TimeoutException),
    )


def _closed() -> ServerFailed:
    return ServerFailed("the writing model is closed", "le modèle de rédaction est arrêté")


def _unfit(en: str, fr: str) -> ModelError:
    return ModelError(f"this llama-server cannot be used: {en}", f"ce llama-server est inutilisable : {fr}")


def _refused(response: httpx.Response) -> GenerationError | BadRequest:
    """The server's refusal in our words; its own message may quote the prompt and is not repeated."""
    status = response.status_code
    try:
        kind = str(response.json()["error"]["type"])
    except (ValueError, KeyError, TypeError):
        kind = "unknown"
    if kind == "exceed_context_size_error":
        return BadRequest(
            "the prompt is longer than the model's context",
            "l’invite dépasse le contexte du modèle",
            code="prompt_too_long",
        )
    said = (f"llama-server answered {status} ({kind})", f"llama-server a répondu {status} ({kind})")
    if status in {400, 422}:
        return GenerationError(*said)
    return ServerFailed(*said, unfit=status in {401, 403, 404, 501})


def _fingerprint(props: dict[str, Any], models: Sequence[dict[str, Any]]) -> str:
    name = PurePath(str(props.get("model_path", ""))).name
    weights = [
        {key: value for key, value in (model.get("meta") or {}).items() if key != "n_ctx"} for model in models
    ]  # the context is how the server was started, not what it writes with
    said = [name, props.get("chat_template", ""), props.get("build_info", ""), weights]
    return f"{name or 'llama-server'}@{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]}"


def _internal(url: str) -> str:
    """``url``, when it can be a server of ours.

    Raises:
        SettingsError: it cannot.
    """
    if not is_inside(url):
        raise SettingsError(
            "`llama_url` must be the address of a server on this machine or an internal network, like http://llama:8080",
            "« llama_url » doit être l’adresse d’un serveur de cette machine ou d’un réseau interne, "
            "par exemple http://llama:8080",
        )
    return url.rstrip("/")
