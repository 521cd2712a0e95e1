"""Two llama-servers under load, by hand: fairness, throughput, isolation, cancellation and a killed server, in figures.

    OMP_NUM_THREADS=1 python -m tests.bench_llama_pool MODEL.gguf --minutes 10

Every client owns a code that stands in his passages only; a code of another's in an answer is a leak. Prints one JSON
object per part.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psutil

from rag.adapters.llama_pool import LlamaPool
from rag.errors import Cancelled, GenerationError, Overloaded
from rag.types import Message, Reading, Sampling, Told
from tests.llama_servers import LlamaServerProcess, fleet

SYSTEM = Message("system", "You answer from the passages. Copy the code exactly as it is written, and cite [1].")
ENDLESS = "root ::= [a-z] root"
WORDS = re.compile(r'"text":"[^"]')
FILLER = "Staff may take leave after one year of service, with the agreement of the head of their office. "


def prompt(code: str, turn: int, length: int = 12) -> list[Message]:
    """A prompt about ``code``, whose turns begin alike; some 20 tokens for each of ``length``."""
    passage = f'<passage n="1">\n{FILLER * length}\nThe access code is {code}.\n</passage>\n\n'
    told = [Message("user", passage + "What is the access code?")]
    for number in range(turn):
        told += [
            Message("assistant", f"The access code is {code} [1]."),
            Message("user", f"Say the access code again ({number})."),
        ]
    return [SYSTEM, *told]


def codes(count: int, seed: int = 1) -> list[str]:
    drawn = random.Random(seed)
    return [
        f"{drawn.choice('BCDFGHJK')}{drawn.choice('LMNPQRST')}-{drawn.randrange(100_000, 999_999)}"
        for _ in range(count)
    ]


class _Reader:
    """Somebody who stays, or who leaves a moment after a stage of the answer begins: in line, reading, or writing."""

    def __init__(self, drawn: random.Random, *, leaves: bool) -> None:
        self._at = drawn.choice(["line", "reading", "writing"]) if leaves else ""
        self._after = drawn.uniform(0, 1.5)
        self._moment = math.inf
        self.stage = ""
        self.reused = 0
        self.reached("line")

    def told(self, heard: Told) -> None:
        if isinstance(heard, Reading):
            self.reused = heard.reused
            self.reached("reading")

    def reached(self, stage: str) -> None:
        if self.stage != stage:
            self.stage = stage
            if stage == self._at:
                self._moment = time.monotonic() + self._after

    def gone(self) -> bool:
        return time.monotonic() > self._moment


def overhead(pool: LlamaPool, url: str, times: int) -> dict[str, object]:
    """Tokens per second through the pool over those of the same requests sent to the server bare, in turn."""
    rates: dict[str, list[float]] = {"pool": [], "bare": []}
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for number in range(times):
            asked = prompt(f"AA-{number:06}", 0)
            tokens, _ = pool._tokens(asked)
            body = {"prompt": list(tokens), "id_slot": 0, "max_tokens": 200, "temperature": 0.0, "seed": 0}
            client.post("/v1/completions", json={**body, "max_tokens": 1})
            for kind in ("pool", "bare") if number % 2 else ("bare", "pool"):
                # The time from the first piece to the last is writing alone, whatever was reused of the prompt.
                if kind == "pool":
                    pieces = pool.stream(asked, Sampling(max_tokens=200, grammar=ENDLESS), owner="ada")
                    moments = [time.monotonic() for _ in pieces]
                else:
                    bare = {**body, "stream": True, "grammar": ENDLESS}
                    with client.stream("POST", "/v1/completions", json=bare) as response:
                        lines = response.iter_lines()
                        moments = [time.monotonic() for line in lines if WORDS.search(line)]
                rates[kind].append((len(moments) - 1) / (moments[-1] - moments[0]))
    medians = {kind: round(statistics.median(all_), 2) for kind, all_ in rates.items()}
    return {"tokens_per_second": medians, "ratio": round(medians["pool"] / medians["bare"], 3)}


def throughput(pool: LlamaPool, users: int, seconds: float) -> dict[str, object]:
    """Tokens per second of each of ``users`` who ask one question after the other."""
    end = time.monotonic() + seconds

    def ask(code: str) -> tuple[int, int]:
        tokens = answers = 0
        while time.monotonic() < end:
            tokens += pool.count_tokens(
                "".join(pool.stream(prompt(code, answers % 3), Sampling(max_tokens=48), owner=code))
            )
            answers += 1
        return tokens, answers

    started = time.monotonic()
    with ThreadPoolExecutor(users) as executor:
        done = list(executor.map(ask, codes(users)))
    spent = time.monotonic() - started
    rates = [tokens / spent for tokens, _ in done]
    return {
        "users": users,
        "seconds": round(spent, 1),
        "tokens_per_second": round(sum(rates), 2),
        "answers": [answers for _, answers in done],
        "slowest_to_fastest": round(max(rates) / max(min(rates), 0.001), 2),
    }


def disconnects(pool: LlamaPool, server: LlamaServerProcess, times: int) -> dict[str, object]:
    """Seconds from a reader's leaving to an idle server, half of them while it reads, half while it writes."""
    spent: dict[str, list[float]] = {"reading": [], "writing": []}
    for number in range(times):
        kind = "reading" if number % 2 else "writing"
        leave = threading.Event()
        length = 60 if kind == "reading" else 4
        code = f"AA-{number:06}"
        pieces = pool.stream(prompt(code, 0, length), Sampling(max_tokens=400), cancelled=leave.is_set, owner=code)
        if kind == "reading":
            threading.Timer(random.uniform(0.3, 0.8), leave.set).start()
            try:
                next(pieces)
            except Cancelled:
                pass
            else:
                pieces.close()
        else:
            next(pieces)
            pieces.close()
        spent[kind].append(server.idle_within(10))
    return {
        kind: {"times": len(all_), "median": round(statistics.median(all_), 3), "max": round(max(all_), 3)}
        for kind, all_ in spent.items()
    }


def soak(pool: LlamaPool, servers: Sequence[LlamaServerProcess], clients: int, seconds: float) -> dict[str, object]:
    """All clients ask without pause, a third of them leave at random; one server is killed midway, and comes back."""
    owned = codes(clients)
    outcomes: Counter[str] = Counter()
    served: Counter[str] = Counter()
    leaks, own, reused, waits = 0, 0, 0, []
    lock = threading.Lock()
    end = time.monotonic() + seconds
    before = psutil.Process().memory_info().rss

    def ask(index: int) -> None:
        nonlocal leaks, own, reused
        code, drawn, turn = owned[index], random.Random(index), 0
        while time.monotonic() < end:
            turn = (turn + 1) % 4
            reader = _Reader(drawn, leaves=index % 3 == 0)
            first, text, begun = None, "", time.monotonic()
            try:
                pieces = pool.stream(
                    prompt(code, turn, 2), Sampling(max_tokens=24), owner=code, told=reader.told, cancelled=reader.gone
                )
                for piece in pieces:
                    first = first or time.monotonic()
                    reader.reached("writing")
                    text += piece
                outcome = "answered"
            except Cancelled:
                outcome = f"left in {reader.stage}"
            except Overloaded:
                outcome = "refused"
                time.sleep(0.5)
            except GenerationError as error:
                outcome = f"failed {'while writing' if text else 'before'}: {error.en}"
            with lock:
                outcomes[outcome] += 1
                served[code] += outcome == "answered"
                leaks += sum(other in text for other in owned if other != code)
                own += code in text and outcome == "answered"
                reused += reader.reused
                if first:
                    waits.append(first - begun)

    with ThreadPoolExecutor(clients) as executor:
        asking = [executor.submit(ask, index) for index in range(clients)]
        time.sleep(seconds / 2)
        servers[0].kill()
        time.sleep(min(20.0, seconds / 8))
        alone = [report.state.value for report in pool.report()]
        servers[0].start()
        for future in asking:
            future.result()
    steady = [served[code] for index, code in enumerate(owned) if index % 3]
    return {
        "clients": clients,
        "seconds": seconds,
        "outcomes": dict(outcomes),
        "leaks": leaks,
        "answers_with_own_code": own,
        "reused_tokens": reused,
        "answers_of_those_who_stay": {"least": min(steady), "most": max(steady)},
        "jain_index": round(sum(steady) ** 2 / (len(steady) * sum(n * n for n in steady)), 4),
        "seconds_to_first_token": {
            "median": round(statistics.median(waits), 2), "p95": round(sorted(waits)[int(len(waits) * 0.95)], 2)
        },
        "while_killed": alone,
        "after": [report.state.value for report in pool.report()],
        "idle_after": [round(server.idle_within(5), 3) for server in servers],
        "rss_growth_mib": round((psutil.Process().memory_info().rss - before) / 2**20, 1),
        "queue": str(pool.queue),
    }  # fmt: skip


def crashes(pool: LlamaPool, servers: Sequence[LlamaServerProcess], times: int) -> dict[str, object]:
    """kill -9 of a server in the middle of four streams: the seconds to each error, and how the others fared."""
    to_error: list[float] = []
    finished = failed_before = 0
    for number in range(times):
        victim = servers[number % len(servers)]
        killed: list[float] = []
        begun = threading.Barrier(5, timeout=120)

        def ask(code: str, begun: threading.Barrier = begun, killed: list[float] = killed) -> str:
            text = ""
            try:
                for piece in pool.stream(prompt(code, 0, 4), Sampling(max_tokens=120), owner=code):
                    if not text:
                        begun.wait()
                    text += piece
            except GenerationError:
                to_error.append(time.monotonic() - killed[0])
                return "failed"
            return "finished"

        def late(code: str) -> bool:
            try:
                return bool("".join(pool.stream(prompt(code, 0, 4), Sampling(max_tokens=10), owner=code)))
            except GenerationError:
                return False

        with ThreadPoolExecutor(8) as executor:
            streams = [executor.submit(ask, code) for code in codes(4, number)]
            begun.wait()
            queued = [executor.submit(late, code) for code in codes(4, 1000 + number)]
            time.sleep(0.2)
            killed.append(time.monotonic())
            victim.kill()
            ends = Counter(stream.result(120) for stream in streams)
            finished += ends["finished"]
            failed_before += sum(not one.result(120) for one in queued)
        started = time.monotonic()
        victim.start()
        while pool.queue.places < 4 and time.monotonic() - started < 30:
            time.sleep(0.02)
    return {
        "kills": times,
        "errors": len(to_error),
        "seconds_to_error_max": round(max(to_error, default=0.0), 3),
        "finished_on_the_other": finished,
        "queued_and_lost": failed_before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--parts", default="one,throughput,overhead,disconnects,crashes,soak")
    chosen = parser.parse_args()
    parts = chosen.parts.split(",")

    def show(part: str, said: object) -> None:
        print(json.dumps({part: said}), flush=True)

    if "one" in parts:
        with fleet(chosen.model, 1, slots=4, threads=2) as [one], closing(LlamaPool.open([one.url])) as pool:
            show("one server", [throughput(pool, users, 40) for users in (1, 4)])
    with (
        fleet(chosen.model, 2, slots=2, threads=1) as servers,
        closing(LlamaPool.open([one.url for one in servers])) as pool,
    ):
        if "throughput" in parts:
            show("two servers", [throughput(pool, users, 40) for users in (1, 4)])
        if "crashes" in parts:
            show("crashes", crashes(pool, servers, 10))
        if "soak" in parts:
            show("soak", soak(pool, servers, chosen.clients, chosen.minutes * 60))
    if "overhead" in parts:
        with fleet(chosen.model, 1, slots=1) as [one], closing(LlamaPool.open([one.url])) as pool:
            show("overhead", overhead(pool, one.url, 10))
    if "disconnects" in parts:
        with fleet(chosen.model, 1, slots=2) as [one], closing(LlamaPool.open([one.url])) as pool:
            show("disconnects", disconnects(pool, one, 40))


if __name__ == "__main__":
    main()
