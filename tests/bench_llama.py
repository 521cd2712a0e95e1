"""What a model of 0.6B costs in this process: run by ``make bench``; each test prints its figures as a line of JSON.

Reuse is asserted by counts of tokens, and what stops is asserted by the processor's time; seconds are only printed,
because the machine may have other work.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from rag.adapters.llama import BATCH, LlamaGenerator, _Native, usable_cores
from rag.errors import Cancelled
from rag.prompt_cache import common
from rag.types import Message, Reading, Sampling, Told
from tests import shaped_gguf

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

CONTEXT = 4096
REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))
SYSTEM = Message("system", "Réponds à partir des seuls passages fournis, et cite leur numéro entre crochets. " * 3)
PASSAGES = "Article 1. Le congé annuel est de vingt-cinq jours ouvrés, par année civile. " * 21


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ready = os.environ.get("BENCH_GGUF")
    return Path(ready) if ready else shaped_gguf.build(tmp_path_factory.mktemp("gguf") / "shaped.gguf")


@pytest.fixture(scope="module")
def model(gguf: Path) -> Iterator[LlamaGenerator]:
    with closing(LlamaGenerator.open(gguf, fingerprint="shaped", context=CONTEXT, cache=2**30)) as generator:
        yield generator


def asked(question: str) -> list[Message]:
    return [SYSTEM, Message("user", PASSAGES + question)]


def first(generator: LlamaGenerator, prompt: Sequence[Message], owner: str) -> tuple[float, int]:
    """Seconds to the first word, and how many tokens were reused."""
    told: list[Told] = []
    started = time.perf_counter()
    deque(generator.stream(prompt, Sampling(max_tokens=1), told=told.append, owner=owner), maxlen=0)
    spent = time.perf_counter() - started
    [reading] = [heard for heard in told if isinstance(heard, Reading)]
    return spent, reading.reused


Stamp = tuple[float, float]


def stamp() -> Stamp:
    """The time on the wall and this process's."""
    return time.perf_counter(), time.process_time()


def report(**figures: object) -> None:
    print(
        "\n"
        + json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()})
    )


def test_a_follow_up_reads_what_is_new_and_no_more(model: LlamaGenerator) -> None:
    """About 2,000 tokens: cold, the same person again, after another one, and the other one."""
    opening, follow_up = asked("Combien de jours ?"), asked("Qui décide des dates, et quand ?")
    tokens = model.count_prompt(follow_up)
    whole = common(model._tokens(opening)[0], model._tokens(follow_up)[0]) // BATCH * BATCH
    public = model._tokens(opening)[1] // BATCH * BATCH
    assert 1900 <= tokens <= 2300
    assert tokens - whole <= 0.1 * tokens
    seconds: dict[str, list[float]] = {"cold": [], "follow_up": [], "after_another": [], "other_person": []}
    for number in range(REPEATS):
        anne, paul = f"anne {number}", f"paul {number}"
        with model._guard:
            model._cache.clear()
            model._empty()
        runs = [
            ("cold", opening, anne, 0),
            ("follow_up", follow_up, anne, whole),
            ("other_person", opening, paul, public),
            ("after_another", follow_up, anne, None),
        ]
        for name, prompt, owner, expected in runs:
            spent, reused = first(model, prompt, owner)
            seconds[name].append(spent)
            assert reused == (expected if expected is not None else (tokens - 1) // BATCH * BATCH)
        # What was put away is the last prompt; another question on the same passages.
        assert first(model, asked("Et à mi-temps ?"), anne)[1] == whole
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {f"{name}_ratio": value / medians["cold"] for name, value in medians.items() if name != "cold"}
    report(figure="follow-up", tokens=tokens, reused=whole, public=public, **medians, **ratios)


def test_a_copy_of_the_state_is_quick(model: LlamaGenerator) -> None:
    """Made, put back, and the context zeroed."""
    first(model, asked("Combien ?"), "anne")
    size = model._native.size()
    taken: dict[str, list[float]] = {"copy": [], "zero": [], "restore": []}
    for _ in range(5):
        begun = time.perf_counter()
        state = model._native.copy()
        copied = time.perf_counter()
        model._native.forget(0)
        zeroed = time.perf_counter()
        assert model._native.restore(state)
        ended = time.perf_counter()
        for name, value in (("copy", copied - begun), ("zero", zeroed - copied), ("restore", ended - zeroed)):
            taken[name].append(value)
    report(
        figure="state", mebibytes=size / 2**20, **{name: statistics.median(values) for name, values in taken.items()}
    )


@pytest.mark.parametrize("phase", ["prompt", "writing"])
def test_the_processor_is_idle_within_a_second_of_a_cancellation(model: LlamaGenerator, phase: str) -> None:
    """In the reading of a prompt as in writing: seconds until llama.cpp stops, and processor time spent after it."""
    worst, spent = 0.0, 0.0
    for number in range(5):
        flag = threading.Event()
        running = threading.Event()
        stopped: list[float] = []

        def told(heard: Told, running: threading.Event = running) -> None:
            if isinstance(heard, Reading) and phase == "prompt":
                running.set()

        def ask(
            number: int = number,
            flag: threading.Event = flag,
            running: threading.Event = running,
            told: Callable[[Told], None] = told,
            stopped: list[float] = stopped,
        ) -> None:
            text = f"{number} " + PASSAGES if phase == "prompt" else "Combien ?"
            prompt = [SYSTEM, Message("user", text)]
            pieces = model.stream(
                prompt, Sampling(max_tokens=2000), cancelled=flag.is_set, told=told, owner=f"{number}"
            )
            with suppress(Cancelled):
                for _ in pieces:
                    running.set()
            stopped.append(time.perf_counter())

        asker = threading.Thread(target=ask)
        asker.start()
        assert running.wait(120)
        time.sleep(1.03)
        flag.set()
        gone, used = time.perf_counter(), time.process_time()
        asker.join()
        worst = max(worst, stopped[0] - gone)
        time.sleep(1.0)
        spent = max(spent, time.process_time() - used)
    report(figure=f"cancel in {phase}", worst_seconds=worst, worst_processor_seconds_after=spent)
    assert spent < 1.0 * usable_cores()


def test_the_bare_engine_is_hardly_faster(gguf: Path, model: LlamaGenerator) -> None:
    """The same tokens through our generator and through bare calls, in turns: time to the first word, and words a
    second; the bare engine with our batches and with llama.cpp's own."""
    words = 48
    tokens = model._tokens([SYSTEM, Message("user", PASSAGES[:120])])[0]
    bare = {
        size: _Native.load(gguf, context=CONTEXT, threads=usable_cores(), gpu_layers=0, flash=None, batch=size)
        for size in (BATCH, 512)
    }

    def plain(native: _Native) -> list[Stamp]:
        native.forget(0)
        stamps = [stamp()]
        for place in range(0, len(tokens), native.batch):
            assert native.read(tokens[place : place + native.batch], place) == 0
        with native.sampler(Sampling()) as sample:
            token = sample()
            stamps.append(stamp())
            for number in range(words - 1):
                assert native.read([token], len(tokens) + number) == 0
                token = sample()
        return [*stamps, stamp()]

    def ours(owner: str) -> list[Stamp]:
        with model._guard:
            model._cache.clear()
            model._empty()
        stamps = [stamp()]
        real = model._native.ends

        def ends(token: int) -> bool:
            stamps.append(stamp())
            return False

        model._native.ends = ends  # type: ignore[method-assign]  # words of half a character yield no piece
        try:
            deque(
                model._write(tokens, 0, Sampling(max_tokens=words), lambda: False, lambda told: None, owner), maxlen=0
            )
        finally:
            model._native.ends = real  # type: ignore[method-assign]  # as it was
        return [stamps[0], stamps[1], stamps[-1]]

    found: dict[str, list[list[Stamp]]] = {"ours": [], "bare_64": [], "bare_512": []}
    for number in range(max(REPEATS, 5)):
        found["ours"].append(ours(f"{number}"))
        found["bare_64"].append(plain(bare[BATCH]))
        found["bare_512"].append(plain(bare[512]))
    for native in bare.values():
        native.close()
    for clock, name in enumerate(("wall", "processor")):
        first_word = {kind: statistics.median(b[clock] - a[clock] for a, b, _ in runs) for kind, runs in found.items()}
        writing = {kind: statistics.median(c[clock] - b[clock] for _, b, c in runs) for kind, runs in found.items()}
        report(
            figure=f"against the bare engine, {name} time",
            tokens=len(tokens),
            words=words,
            first_word=first_word,
            writing=writing,
            p1=first_word["ours"] / first_word["bare_64"],
            p1_large_batches=first_word["ours"] / first_word["bare_512"],
            p2=writing["bare_64"] / writing["ours"],
        )
