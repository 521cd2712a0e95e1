"""A real service under load, through HTTP, by hand; one line of JSON for each part.

    OMP_NUM_THREADS=1 python -m tests.bench_service HOME --parts soak,disconnects,abuser --minutes 10

HOME is a home with the sample corpora published; it is copied. Parts: ``soak`` (16 people, a third of whom leave),
``disconnects`` (nothing is left of those who went), ``abuser`` (one person's 50 requests beside four people),
``passages`` (how soon they are on screen, the model busy or absent), ``load`` (requests a second on /v1/search),
``ingest-soak`` (four people who ask beside uploads without end: nothing grows).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.service_clients import (
    Leaves,
    Person,
    Size,
    administrator,
    ask,
    crowd,
    home_database,
    idle_within,
    maintainer,
    marked,
    people,
    prompt_cache,
    quantile,
    service,
    somehow,
    summary,
)
from tests.vauban_command import Serving

GOLDEN = Path(__file__).parents[1] / "eval" / "golden"
CORPORA = ("finances", "infrastructures", "rh", "sante")
FED = "envois"
"""The corpus that is fed by uploads."""
REAL = {"VAUBAN_EMBEDDER": "minilm", "VAUBAN_GENERATOR": "smollm2"}


def questions() -> dict[str, list[str]]:
    """Questions of the practice rows, by corpus."""
    found: dict[str, list[str]] = {corpus: [] for corpus in CORPORA}
    for corpus in CORPORA:
        for line in (GOLDEN / f"{corpus}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["split"] == "dev":
                found[corpus].append(row["text"])
    return found


def show(part: str, said: object) -> None:
    print(json.dumps({part: said, "load": round(os.getloadavg()[0], 1)}, ensure_ascii=False), flush=True)


async def soak(server: Serving, persons: Sequence[Person], watch: Person, seconds: float) -> dict[str, Any]:
    sizes: list[Size] = []
    kept: list[int] = []

    async def look() -> None:
        while True:
            sizes.append(Size.of(server.process.pid))
            kept.append(await asyncio.to_thread(prompt_cache, server.url, watch))
            await asyncio.sleep(2)

    looking = asyncio.create_task(look())
    began = time.monotonic()
    found = await crowd(server.url, persons, questions(), seconds)
    looking.cancel()
    idle = await asyncio.to_thread(idle_within, server.url, watch, 60)

    def middle(start: float, end: float, of: str) -> float:
        some = [float(getattr(size, of)) for size in sizes if start <= (size.at - began) / seconds <= end]
        return statistics.median(some)

    half = [seen for seen in found if seen.positions and seen.end == "answered"]
    return summary(found, persons) | {
        "idle_after": round(idle, 2),
        "memory_mib": [round(middle(*span, "memory") / 2**20, 1) for span in ((0.2, 0.4), (0.4, 0.6), (0.8, 1.0))],
        "memory_by_tenths": [round(middle(n / 10, (n + 1) / 10, "memory") / 2**20) for n in range(10)],
        "prompt_cache_by_tenths": [round(kept[len(kept) * n // 10] / 2**20) for n in range(10)],
        "files": [middle(*span, "files") for span in ((0.2, 0.4), (0.8, 1.0))],
        "threads": [middle(*span, "threads") for span in ((0.2, 0.4), (0.8, 1.0))],
        "waited_in_line": len(half),
    }


async def disconnects(server: Serving, persons: Sequence[Person], watch: Person, times: int) -> dict[str, Any]:
    drawn, asked = random.Random(7), questions()
    ends: Counter[str] = Counter()
    idles: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for _ in range(times // 8):
            some = []
            for person in persons[:8]:
                stream, leaves = somehow(drawn, 0.5)
                question, mark = marked(drawn.choice(asked[person.corpus]), drawn)
                some.append(ask(client, person, question, mark=mark, stream=stream, leaves=leaves))
            # Only what is left after the last of them has gone counts.
            seen = await asyncio.gather(*some)
            ends.update(one.end for one in seen)
            idles.append(await asyncio.to_thread(idle_within, server.url, watch, 30))
    return {
        "requests": times // 8 * 8,
        "ends": dict(ends),
        "idle": {"median": round(statistics.median(idles), 3), "max": round(max(idles), 3)},
    }


async def abuser(server: Serving, persons: Sequence[Person], times: int) -> dict[str, Any]:
    """Four people who ask answer after answer, alone and beside somebody with 50 requests at once."""
    asked, drawn = questions(), random.Random(3)
    normal, other = persons[1:5], persons[5]

    async with httpx.AsyncClient(base_url=server.url, trust_env=False, limits=httpx.Limits(max_connections=None)) as to:

        async def four() -> list[Any]:
            async def one(person: Person) -> list[Any]:
                return [await ask(to, person, drawn.choice(asked[person.corpus])) for _ in range(times)]

            return [seen for found in await asyncio.gather(*map(one, normal)) for seen in found]

        refused: list[str] = []

        async def flood() -> None:
            async def one() -> None:
                while True:
                    body = {
                        "model": "vauban",
                        "max_tokens": 2048,
                        "stream": True,
                        "messages": [{"role": "user", "content": drawn.choice(asked[other.corpus])}],
                    }
                    async with to.stream(
                        "POST", "/v1/chat/completions", json=body, headers=other.headers, timeout=120
                    ) as response:
                        if response.status_code == 429:
                            refused.append(response.headers.get("retry-after", ""))
                        await response.aread()
                    await asyncio.sleep(float(response.headers.get("retry-after", 0)))

            await asyncio.gather(*(one() for _ in range(50)))

        found = {"quiet": await four()}
        flooding = asyncio.create_task(flood())
        await asyncio.sleep(2)
        found["beside"] = await four()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
    figures: dict[str, Any] = {"refused": len(refused), "with_retry_after": sum(map(bool, refused))}
    for name, all_ in found.items():
        figures[name] = {
            "ends": dict(Counter(seen.end for seen in all_)),
            "passages": [round(quantile([s.passages for s in all_ if s.passages], q), 3) for q in (0.5, 0.95)],
            "whole": [round(quantile([s.seconds for s in all_], q), 2) for q in (0.5, 0.95)],
        }
    return figures


async def passages(server: Serving, persons: Sequence[Person], clients: int, times: int) -> dict[str, Any]:
    """Seconds until the passages are there; each client leaves once it has them."""
    rows = [(corpus, text) for corpus, texts in questions().items() for text in texts]
    rows = (rows * (times // len(rows) + 1))[:times]
    random.Random(5).shuffle(rows)
    found: list[Any] = []
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as to:

        async def one(number: int) -> None:
            for corpus, text in rows[number::clients]:
                person = next(p for p in persons[number * 4 :] if p.corpus == corpus)
                found.append(await ask(to, person, text, leaves=Leaves("reading", 0)))

        await asyncio.gather(*(one(number) for number in range(clients)))
    seen = [one.passages for one in found if one.passages is not None]
    return {
        "clients": clients,
        "asked": len(found),
        "with_passages": len(seen),
        "seconds": {f"p{round(q * 100)}": round(quantile(seen, q), 3) for q in (0.5, 0.95, 0.99)},
        "ends": dict(Counter(one.end for one in found)),
    }


async def load(url: str, persons: Sequence[Person], connections: int, seconds: float) -> dict[str, Any]:
    asked, end = questions(), time.monotonic() + seconds
    spent: list[float] = []
    statuses: Counter[int] = Counter()

    async def one(number: int, to: httpx.AsyncClient) -> None:
        drawn, person = random.Random(number), persons[number % len(persons)]
        every = [text for texts in asked.values() for text in texts]
        while time.monotonic() < end:
            began = time.monotonic()
            body = {"question": drawn.choice(every), "limit": 10}
            found = await to.post("/v1/search", json=body, headers=person.headers, timeout=60)
            spent.append(time.monotonic() - began)
            statuses[found.status_code] += 1

    async with httpx.AsyncClient(base_url=url, trust_env=False, limits=httpx.Limits(max_connections=None)) as to:
        await asyncio.gather(*(one(number, to) for number in range(connections)))
    return {
        "connections": connections,
        "per_second": round(len(spent) / seconds, 1),
        "statuses": dict(statuses),
        "ms": {f"p{round(q * 100)}": round(1000 * quantile(spent, q), 1) for q in (0.5, 0.95, 0.99)},
    }


async def ingest_soak(server: Serving, persons: Sequence[Person], watch: Person, seconds: float) -> dict[str, Any]:
    """Four people who ask, a fifth of the answers left, beside uploads without end: what grows, and what fails."""
    sizes: list[Size] = []
    statuses: Counter[str] = Counter()
    began = time.monotonic()

    async def look() -> None:
        while True:
            sizes.append(Size.of(server.process.pid))
            await asyncio.sleep(2)

    async def feed(to: httpx.AsyncClient) -> None:
        """The same thirty documents, added, replaced and removed in turn; some of the runs are cancelled."""
        drawn, known = random.Random(11), set[str]()
        while time.monotonic() - began < seconds:
            name = f"note-{drawn.randrange(30)}.md"
            where = f"/v1/corpora/{FED}/documents"
            text = f"# Article 1\n\nLe badge {drawn.random()} est rendu au départ.".encode()
            if name not in known:
                done = await to.post(where, params={"name": name}, content=text)
                known.add(name)
            elif drawn.random() < 0.3:
                done = await to.delete(f"{where}/{name}")
                known.discard(name)
            else:
                done = await to.put(f"{where}/{name}", content=text)
                if done.status_code == 202 and drawn.random() < 0.2:
                    statuses[f"cancel {(await to.delete(done.headers['location'])).status_code}"] += 1
            statuses[f"{done.request.method} {done.status_code}"] += 1
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, headers=watch.headers, timeout=120) as to:
        made = await to.post("/v1/corpora", json={"name": FED, "groups": ["agents"]})
        made.raise_for_status()
        asking = crowd(server.url, persons, questions(), seconds, leaving=5)
        found, _ = await asyncio.gather(asking, feed(to))
    looking.cancel()

    def middle(start: float, end: float, of: str) -> float:
        some = [float(getattr(size, of)) for size in sizes if start <= (size.at - began) / seconds <= end]
        return statistics.median(some)

    thirds = ((0.2, 0.4), (0.5, 0.7), (0.8, 1.0))
    memory = [middle(*span, "memory") / 2**20 for span in thirds]
    return {
        "asked": len(found),
        "ends": dict(Counter(seen.end for seen in found)),
        "server_errors": sum(seen.status >= 500 for seen in found) + sum(n for s, n in statuses.items() if " 5" in s),
        "uploads": dict(statuses),
        "idle_after": round(await asyncio.to_thread(idle_within, server.url, watch, 60), 2),
        "memory_mib": [round(one, 1) for one in memory],
        "drift": round(memory[-1] / memory[0] - 1, 4),
        "files": [middle(*span, "files") for span in thirds],
        "threads": [middle(*span, "threads") for span in thirds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--parts", default="soak")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], help="A setting, as VAUBAN_NAME=value.")
    chosen = parser.parse_args()
    settings = REAL | dict(one.split("=", 1) for one in chosen.set)
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder:
        home = Path(folder) / "home"
        shutil.copytree(chosen.home, home)
        persons, watch = people(home_database(home), CORPORA, chosen.clients), administrator(home_database(home))
        with service(Path(folder), **settings) as server:
            deadline = time.monotonic() + 120
            while not httpx.get(f"{server.url}/readyz", trust_env=False).is_success and time.monotonic() < deadline:
                time.sleep(0.5)
            for part in chosen.parts.split(","):
                if part == "soak":
                    show(part, asyncio.run(soak(server, persons, watch, chosen.minutes * 60)))
                elif part == "ingest-soak":
                    feeding = maintainer(home_database(home), FED)
                    show(part, asyncio.run(ingest_soak(server, persons[:4], feeding, chosen.minutes * 60)))
                elif part == "disconnects":
                    show(part, asyncio.run(disconnects(server, persons, watch, chosen.times)))
                elif part == "abuser":
                    show(part, asyncio.run(abuser(server, persons, 5)))
                elif part == "passages":
                    for clients in (1, 4):
                        show(part, asyncio.run(passages(server, persons, clients, chosen.times)))
                elif part == "load":
                    for connections in (1, 4, 16):
                        show(part, asyncio.run(load(server.url, persons, connections, 15)))
                else:
                    parser.error(f"no part {part}")


if __name__ == "__main__":
    main()
