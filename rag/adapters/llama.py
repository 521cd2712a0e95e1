"""Writing with llama.cpp in this process, from a GGUF file and its own chat template.

The low-level calls are used and not ``llama_cpp.Llama``: its completion reads the whole answer again at each token,
its loading redirects the process's output, and it offers no way to stop while a prompt is read. No cache is ever
written to a disk, no draft model is used.
"""

from __future__ import annotations

import codecs
import ctypes
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Stream
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from rag import memory
from rag.adapters import chat_template
from rag.errors import BadRequest, Cancelled, GenerationError, ModelError
from rag.models import check_format
from rag.prompt_cache import Bytes, CacheState, Kept, PromptCache, common
from rag.queue import QueueState, Turns, never, nobody
from rag.stops import StopFilter
from rag.types import Message, Reading, Sampling, Told

BATCH: Final = 64
"""Tokens of a prompt that are read at a time. It is also the grain of reuse: only whole batches of the prompt
before are kept, so that every batch is the same whether its forerunners were kept or read anew, and an answer does
not depend on what was asked before it, bit for bit. Larger batches read hardly faster on a processor and waste more."""
WATCH: Final = 0.1
"""Seconds between two looks at ``cancelled`` while llama.cpp computes."""
PATIENCE: Final = 10.0
"""Seconds that :meth:`LlamaGenerator.close` gives a reader who holds the model and does not read on."""
CACHE: Final = 512 * 2**20
"""Bytes for states of other people's prompts: some 4,600 tokens of a model of 0.6B or 1.7B, 20,000 of the demo's."""
TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05
"""What llama.cpp's own programs sample with when the temperature is above 0."""
_SEQUENCE: Final = 0


class LlamaGenerator:
    """A :class:`~rag.seams.Generator` over one GGUF model in this process; see :meth:`open`.

    The longest beginning that a prompt shares with one of the same ``owner`` before is not read again: the context
    keeps the last prompt, a :class:`~rag.prompt_cache.PromptCache` those before it. Between owners only the system
    message is shared, from a copy that was made when nothing else was in the context, and the context is overwritten
    with zeros when it passes from one to another: nobody's text is ever part of what another reuses.
    """

    def __init__(
        self,
        native: _Native,
        *,
        fingerprint: str,
        context: int,
        template: str,
        queue: int,
        per_owner: int | None = None,
        cache: int = CACHE,
        plan: memory.MemoryPlan | None = None,
    ) -> None:
        self.plan = plan
        """What was reckoned that this takes of the machine's memory, before it was loaded."""
        self._native = native
        self._fingerprint = fingerprint
        self._context = context
        self._turns = Turns(queue, per_owner=per_owner)
        self._closing = threading.Event()
        names = (native.text(native.bos), native.text(native.eos))
        self._pieces = lru_cache(maxsize=64)(lambda roles: _pieces(template, roles, *names))
        # Fitting a prompt counts the same texts again and again.
        self._words = lru_cache(maxsize=64)(lambda text: tuple(native.tokens(text, special=False)))
        # What the context holds of the last prompt: its whole batches, how many of those tokens are the system
        # message's, and whose prompt it was. These and the cache change under the guard.
        self._guard = threading.RLock()
        self._held: tuple[int, ...] = ()
        self._held_public = 0
        self._held_owner = ""
        self._busy = False
        self._unwanted: set[str] = set()  # whose prompts are to be forgotten when the turn under way ends
        self._cache = PromptCache(cache)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        fingerprint: str,
        context: int,
        threads: int = 0,
        gpu_layers: int = 0,
        queue: int = 16,
        per_owner: int | None = None,
        cache: int = CACHE,
        flash: bool | None = None,
        batch: int = BATCH,
    ) -> LlamaGenerator:
        """Load the model at ``path``, which must have been verified: llama.cpp trusts the file it reads.

        ``threads`` 0 takes every core this process may use, ``gpu_layers`` -1 puts all layers on the GPU, ``queue``
        callers may wait, of whom ``per_owner`` of one person. ``cache`` is how many bytes the copies of what was
        read may take; 0 keeps none. ``flash`` is flash attention; by default off on a processor, where it was
        measured to be slower, and llama.cpp's choice on a GPU.

        Raises:
            ModelError: the file is missing, corrupt, no chat model, ``context`` is more than the model has, or it
                does not fit into this machine's memory.
        """
        check_format(path)
        needed = memory.plan(path, context=context, batch=batch, copies=cache, gpu_layers=gpu_layers)
        needed.check()
        native = _Native.load(
            path,
            context=context,
            threads=threads or usable_cores(),
            gpu_layers=gpu_layers,
            flash=flash,
            batch=batch,
        )
        template = native.metadata("tokenizer.chat_template")
        generator = cls(
            native,
            fingerprint=fingerprint,
            context=context,
            template=template,
            queue=queue,
            per_owner=per_owner,
            cache=cache,
            plan=needed,
        )
        try:
            if not template:
                raise _unusable(path, "it has no chat template", "il n’a pas de modèle de conversation")
            generator.count_prompt([Message("system", "."), Message("user", ".")])
        except ModelError:
            generator.close()
            raise
        return generator

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, text: str) -> int:
        return len(self._words(text))

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        return len(self._tokens(prompt)[0])

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = never,
        told: Callable[[Told], None] = nobody,
        owner: str = "",
    ) -> Stream[str, None, None]:
        """See :meth:`rag.seams.Generator.stream`; a prompt that does not fit is refused before anything is yielded.

        ``cancelled`` may be called from another thread too: it is watched while llama.cpp computes. ``owner`` names
        the person whose prompt it is.
        """
        tokens, public = self._tokens(prompt)
        if len(tokens) >= self._context:
            raise BadRequest(
                f"the prompt has {len(tokens)} tokens and the model's context is {self._context}",
                f"l’invite compte {len(tokens)} unités pour un contexte de {self._context}",
                code="prompt_too_long",
            )
        return self._write(tokens, public, sampling, cancelled, told, owner)

    @property
    def queue(self) -> QueueState:
        return self._turns.state

    @property
    def cache(self) -> CacheState:
        """What is kept of prompts, in numbers."""
        with self._guard:
            return self._cache.state

    def forget(self, owner: str) -> None:
        with self._guard:
            self._cache.forget(owner)
            if self._busy:
                self._unwanted.add(owner)
            elif owner == self._held_owner:
                self._empty()

    def close(self) -> None:
        """Stop what is being written, send the waiting away, free the model."""
        self._closing.set()
        self._native.abort(True)
        self._turns.close(patience=PATIENCE)
        with self._guard:
            self._cache.clear()
            self._native.close()

    def _write(
        self,
        tokens: Sequence[int],
        public: int,
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Callable[[Told], None],
        owner: str,
    ) -> Stream[str, None, None]:
        with self._turns.turn(cancelled, told, owner), self._watched(cancelled) as check, self._tidied():
            # 1. Read the prompt, but for what is kept of those before.
            position = self._reuse(tokens, public, owner)
            told(Reading(len(tokens), position))
            everyones = self._whole(min(public, len(tokens) - 1))
            while position < len(tokens):
                check()
                batch = tokens[position : position + self._native.batch]
                self._read(batch, position, check)
                position += len(batch)
                if len(batch) == self._native.batch:
                    self._held = tuple(tokens[:position])
                if position == everyones:
                    self._put_away(None)
            # 2. Write token by token. Words are shown whole characters at a time, and never a part of a stop string.
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            stops = StopFilter(sampling.stop)
            with self._native.sampler(sampling) as sample:
                for written in range(1, min(sampling.max_tokens, self._context - len(tokens)) + 1):
                    check()
                    token = sample()
                    if self._native.ends(token):
                        break
                    if piece := stops.feed(decoder.decode(self._native.piece(token))):
                        yield piece
                    if stops.stopped or written == sampling.max_tokens or position + 1 >= self._context:
                        break
                    self._read([token], position, check)
                    position += 1
            # 3. Half a character at the end is dropped; what might have become a stop string is text after all.
            if rest := stops.rest():
                yield rest

    def _reuse(self, tokens: Sequence[int], public: int, owner: str) -> int:
        """Bring back what was read of this prompt's beginning, and how many tokens that is; the rest is forgotten."""
        with self._guard:
            self._busy = True
            # At least the last token is read, because that is what the first word is drawn from.
            most = len(tokens) - 1
            here = self._whole(min(common(self._held, tokens), most)) if owner == self._held_owner else 0
            kept, spared = self._cache.best(owner, tokens, public)
            stays = owner == self._held_owner and here >= self._whole(min(spared, most))
            self._put_away(self._held_owner, spared=here if stays else 0)
            if stays:
                found = here
                if not self._native.forget(here):  # a model with a recurrent state cannot go back to the middle
                    self._native.forget(0)
                    found = 0
            else:
                kept, spared = self._cache.best(owner, tokens, public)  # it may have made room for what was put away
                self._native.forget(0)
                found = self._restored(kept, self._whole(min(spared, most)))
            self._held, self._held_public, self._held_owner = tuple(tokens[:found]), public, owner
            return found

    def _restored(self, kept: Kept | None, wanted: int) -> int:
        """Put the first ``wanted`` tokens of a copy into the empty context; how many of them are there now."""
        if kept is None or not wanted:
            return 0
        if not self._native.restore(kept.state) or not self._native.forget(wanted):
            self._cache.drop(kept)
            self._native.forget(0)
            return 0
        self._cache.restored()
        return wanted

    def _put_away(self, owner: str | None, spared: int = 0) -> None:
        """Copy what the context holds, for ``owner`` or, where it is the system message alone, for everyone, unless
        that would save little over ``spared`` tokens and what is kept already."""
        with self._guard:
            tokens = self._held
            if owner is not None:
                spared = max(spared, self._whole(self._held_public))
            if not tokens or not self._cache.limit or not self._native.forget(len(tokens)):
                return
            if self._cache.wants(owner, tokens, self._native.size(), spared=spared):
                with suppress(MemoryError):  # an answer is worth more than the next one's speed
                    self._cache.keep(Kept(owner, tokens, self._native.copy()))

    def _whole(self, tokens: int) -> int:
        """As many of these as make whole batches."""
        return tokens // self._native.batch * self._native.batch

    @contextmanager
    def _tidied(self) -> Iterator[None]:
        """When the turn ends, what was to be forgotten meanwhile is."""
        try:
            yield
        finally:
            with self._guard:
                self._busy = False
                if self._held_owner in self._unwanted:
                    self._cache.forget(self._held_owner)
                    self._empty()
                self._unwanted.clear()

    def _empty(self) -> None:
        self._held = ()
        self._held_public = 0
        if not self._closing.is_set():  # the context is freed then, or about to be
            self._native.forget(0)

    def _read(self, tokens: Sequence[int], position: int, check: Callable[[], None]) -> None:
        status = self._native.read(tokens, position)
        if status == 0:
            return
        if status == 2:  # aborted; the context may hold a part of this batch, which the next prompt forgets
            check()
        self._held = ()
        self._native.forget(0)
        raise GenerationError(
            f"llama.cpp failed (status {status}): {last_error()}",
            f"llama.cpp a échoué (état {status}) : {last_error()}",
        )

    @contextmanager
    def _watched(self, cancelled: Callable[[], bool]) -> Iterator[Callable[[], None]]:
        """A check to call between computations; while one runs, another thread looks, and makes llama.cpp stop."""

        def check() -> None:
            if self._closing.is_set():
                raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")
            if cancelled():
                raise Cancelled("cancelled while writing", "annulé pendant la rédaction")

        def watch() -> None:
            while not done.wait(WATCH):
                if cancelled():
                    self._native.abort(True)
                    return

        done = threading.Event()
        watcher = threading.Thread(target=watch, name="vauban-cancel", daemon=True)
        watcher.start()
        try:
            yield check
        finally:
            done.set()
            watcher.join()
            self._native.abort(self._closing.is_set())

    def _tokens(self, prompt: Sequence[Message]) -> tuple[tuple[int, ...], int]:
        """The prompt as tokens, and how many of them, from the first, end with the system message.

        The template's words are read with the special tokens in them; the messages' texts are not, so that a
        document that holds ``<|im_end|>`` says just these characters.
        """
        roles = tuple(message.role for message in prompt)
        try:
            pieces = self._pieces(roles)
        except chat_template.TemplateError as error:
            raise _unusable(
                self._native.path, f"its chat template fails ({error})", f"gabarit fautif ({error})"
            ) from error
        tokens: list[int] = []
        public = 0
        for piece in pieces:
            if isinstance(piece, str):
                tokens += self._native.tokens(piece, special=True)
            else:
                tokens += self._words(prompt[piece].content)
                if piece == 0 and roles[0] == "system":
                    public = len(tokens)
        if self._native.adds_bos and tokens[:1] != [self._native.bos]:
            tokens.insert(0, self._native.bos)
            public += 1
        return tuple(tokens), public


class _Native:
    """The calls to llama.cpp: one model with one context, of which one caller at a time reads and writes.

    Counting tokens is safe from any thread, also while another closes the model.
    """

    def __init__(self, lib: Any, path: Path, model: Any, context: Any, batch: int) -> None:
        self.path = path
        self.batch = batch
        self._lib = lib
        self._model = model
        self._ctx = context
        self._vocab = lib.llama_model_get_vocab(model)
        self._memory = lib.llama_get_memory(context)
        self._batch = lib.llama_batch_init(batch, 0, 1)
        self._alive = threading.RLock()
        self._open = True
        self._abort = ctypes.create_string_buffer(2)
        self._watch_abort()
        self.bos = int(lib.llama_vocab_bos(self._vocab))
        self.eos = int(lib.llama_vocab_eos(self._vocab))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self._vocab)) and self.bos >= 0

    @classmethod
    def load(
        cls, path: Path, *, context: int, threads: int, gpu_layers: int, flash: bool | None, batch: int
    ) -> _Native:
        lib = _library()
        _ERRORS.clear()
        model_params = lib.llama_model_default_params()
        model_params.n_gpu_layers = 0x7FFFFFFF if gpu_layers < 0 else gpu_layers
        # Weights laid out anew for AMX crash the whole process on some machines that announce it (llama.cpp issue
        # 20824, and seen here); the switch is the same for all such layouts.
        model_params.use_extra_bufts = b"AMX_INT8 = 1" not in lib.llama_print_system_info()
        model = lib.llama_model_load_from_file(os.fsencode(path), model_params)
        if not model:
            raise _unusable(
                path, f"llama.cpp cannot load it: {last_error()}", f"llama.cpp ne peut pas le charger : {last_error()}"
            )
        limit = lib.llama_model_n_ctx_train(model)
        if not 0 < context <= limit:
            lib.llama_model_free(model)
            raise _unusable(
                path,
                f"a context of {context} tokens is asked and it has {limit}",
                f"contexte demandé : {context} ; maximum : {limit}",
            )
        params = lib.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        params.swa_full = True  # a sliding window that forgets could not go back to a shared beginning
        params.no_perf = True
        if flash is None:
            params.flash_attn_type = (
                lib.LLAMA_FLASH_ATTN_TYPE_AUTO if gpu_layers else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
            )
        else:
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        ctx = lib.llama_init_from_model(model, params)
        if not ctx:
            lib.llama_model_free(model)
            raise _unusable(path, f"no context can be made: {last_error()}", f"contexte impossible : {last_error()}")
        return cls(lib, path, model, ctx, batch)

    def metadata(self, key: str) -> str:
        """A text of the GGUF's metadata; empty where there is none."""
        size = self._lib.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if size <= 0:
            return ""
        buffer = ctypes.create_string_buffer(size + 1)
        self._lib.llama_model_meta_val_str(self._model, key.encode(), buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def tokens(self, text: str, *, special: bool) -> list[int]:
        """``text`` as tokens, nothing added; ``special`` reads ``<|im_end|>`` and the like as what they name."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        buffer = (self._lib.llama_token * size)()
        with self._alive:
            self._require_open()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, size, False, special)
        if count < 0:
            raise GenerationError("a text cannot be tokenised", "un texte ne peut pas être découpé en unités")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` writes; none for a special one."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def text(self, token: int) -> str:
        """The name of a token, special or not, as templates write it."""
        return (
            "" if token < 0 else (self._lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")
        )

    def ends(self, token: int) -> bool:
        """Whether the model says with ``token`` that it has finished."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def forget(self, position: int) -> bool:
        """Drop everything from ``position`` on; false where this model can only drop everything.

        From the first on, its bytes are overwritten too.
        """
        if position == 0:
            self._lib.llama_memory_clear(self._memory, True)
            return True
        return bool(self._lib.llama_memory_seq_rm(self._memory, _SEQUENCE, position, -1))

    def size(self) -> int:
        """The bytes of a copy of what the context holds."""
        return int(self._lib.llama_state_seq_get_size(self._ctx, _SEQUENCE))

    def copy(self) -> Bytes:
        """A copy of what the context holds, for :meth:`restore`."""
        state = np.empty(self.size(), dtype=np.uint8)
        written = self._lib.llama_state_seq_get_data(self._ctx, self._pointer(state), state.nbytes, _SEQUENCE)
        if written != state.nbytes:
            raise GenerationError("llama.cpp cannot copy its state", "llama.cpp ne peut pas copier son état")
        return state

    def restore(self, state: Bytes) -> bool:
        """Put a copy into the empty context; false where llama.cpp refuses it."""
        return bool(self._lib.llama_state_seq_set_data(self._ctx, self._pointer(state), state.nbytes, _SEQUENCE))

    @staticmethod
    def _pointer(state: Bytes) -> Any:
        return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))

    def read(self, tokens: Sequence[int], position: int) -> int:
        """Compute ``tokens`` at ``position``; llama.cpp's status, 0 when all went well, 2 when it was aborted."""
        self._require_open()
        batch = self._batch
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place] = token
            batch.pos[place] = position + place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = _SEQUENCE
            batch.logits[place] = place == len(tokens) - 1
        return int(self._lib.llama_decode(self._ctx, batch))

    @contextmanager
    def sampler(self, sampling: Sampling) -> Iterator[Callable[[], int]]:
        """A function that draws the next token after what was last read; the same seed draws the same.

        Raises:
            GenerationError: llama.cpp cannot read the grammar.
        """
        chain = self._chain(sampling)
        strict = rules = None
        try:
            if sampling.grammar is not None:
                rules = self._grammar(sampling.grammar)
                strict = self._chain(sampling, first=rules)
            yield lambda: self._draw(chain, strict, rules)
        finally:
            self._lib.llama_sampler_free(chain)
            if strict:
                self._lib.llama_sampler_free(strict)  # and the rules with it

    def _draw(self, chain: Any, strict: Any, rules: Any) -> int:
        """The next token. A draw without the grammar is tried first, because to ask the grammar about one token is
        quick and to ask it about the whole vocabulary is not; a model that copies is nearly always allowed."""
        lib = self._lib
        token = int(lib.llama_sampler_sample(chain, self._ctx, -1))
        if not strict:
            return token
        wish = lib.llama_token_data(id=token, logit=1.0, p=0.0)
        wishes = lib.llama_token_data_array(data=ctypes.pointer(wish), size=1, selected=-1, sorted=False)
        lib.llama_sampler_apply(rules, ctypes.byref(wishes))
        if wishes.data[0].logit == -math.inf:
            return int(lib.llama_sampler_sample(strict, self._ctx, -1))
        lib.llama_sampler_accept(rules, token)
        return token

    def _chain(self, sampling: Sampling, first: Any = None) -> Any:
        """The samplers that make of the model's weights one token, after ``first``, which it then owns."""
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            links = [lib.llama_sampler_init_greedy()]
        else:
            links = [
                lib.llama_sampler_init_top_k(TOP_K),
                lib.llama_sampler_init_top_p(TOP_P, 1),
                lib.llama_sampler_init_min_p(MIN_P, 1),
                lib.llama_sampler_init_temp(sampling.temperature),
                lib.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF),
            ]
        for link in [first, *links] if first else links:
            lib.llama_sampler_chain_add(chain, link)
        return chain

    def _grammar(self, text: str) -> Any:
        rules = self._lib.llama_sampler_init_grammar(self._vocab, text.encode("utf-8", "replace"), b"root")
        if not rules:
            raise GenerationError("llama.cpp cannot read the grammar", "llama.cpp ne peut pas lire la grammaire")
        return rules

    def abort(self, wish: bool) -> None:
        """Make the computation that runs, and any that begins, stop at its next step; or let them run again."""
        self._abort[0] = b"\x01" if wish else b"\x00"

    def close(self) -> None:
        with self._alive:
            if not self._open:
                return
            self._open = False
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._ctx)
            self._lib.llama_model_free(self._model)

    def _require_open(self) -> None:
        if not self._open:
            raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")

    def _watch_abort(self) -> None:
        """llama.cpp asks "stop?" thousands of times a second while it computes. The question goes to C's ``strlen``
        over two bytes of ours, empty or not: a Python function would wait for the interpreter's lock each time.
        """
        try:
            length = ctypes.CDLL(None).strlen
        except (OSError, AttributeError, TypeError):  # no C library to be found so: stops come between batches
            return
        self._lib.llama_set_abort_callback(
            self._ctx, ctypes.cast(length, self._lib.ggml_abort_callback), ctypes.addressof(self._abort)
        )


def usable_cores() -> int:
    """The cores this process may use: its affinity, and the quota of the container it runs in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or the quota is "max"
        return cores


def last_error() -> str:
    """What llama.cpp last complained of; these lines are about files and memory, never about texts."""
    return "; ".join(list(_ERRORS)[-3:]) or "no reason given"


_ERRORS: deque[str] = deque(maxlen=20)
_LOG_ERROR: Final = 4


@lru_cache(maxsize=1)
def _library() -> Any:
    """llama.cpp, started once; it is imported here because that alone takes a while. It logs to nobody, and its
    error lines are kept for our messages."""
    from llama_cpp import llama_cpp as lib

    lib.llama_log_set(_keep_errors(lib), None)
    lib.llama_backend_init()
    return lib


@lru_cache(maxsize=1)
def _keep_errors(lib: Any) -> Any:
    """The log callback; the cache keeps it alive as long as C may call it."""

    @lib.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes type, made at run time
    def keep(level: int, text: bytes, _data: object) -> None:
        if level == _LOG_ERROR:
            _ERRORS.append(text.decode("utf-8", "replace").strip())

    return keep


def _pieces(template: str, roles: Sequence[str], bos: str, eos: str) -> tuple[str | int, ...]:
    """The template's layout; where it knows no system message, that one opens the first of the user's."""
    try:
        return chat_template.layout(template, roles, bos, eos)
    except chat_template.Refused:
        if tuple(roles[:2]) != ("system", "user"):
            raise
    pieces: list[str | int] = []
    for piece in chat_template.layout(template, roles[1:], bos, eos):
        pieces += [0, "\n\n", 1] if piece == 0 else [piece + 1 if isinstance(piece, int) else piece]
    return tuple(pieces)


def _unusable(path: Path, en: str, fr: str) -> ModelError:
    return ModelError(f"the model {path} cannot be used: {en}", f"le modèle {path} est inutilisable : {fr}")
