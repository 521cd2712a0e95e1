"""A real service that writes with two llama-servers, through HTTP, by hand; one line of JSON for each part.

    OMP_NUM_THREADS=1 python -m tests.bench_service_pool HOME MODEL.gguf --minutes 10

HOME is a home with the sample corpora published; it is copied. Parts: ``users`` (tokens a second of one person and of
four, and how alike the four are served) and ``soak`` (16 people, a third of whom leave; one server is killed at half
of the time and is back at seven tenths). What is shown is verified, so text of others is looked for by marks in the
questions and by corpus; ``tests.bench_llama_pool`` looks at what the model itself writes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.bench_service import CORPORA, REAL, questions, show
from tests.llama_servers import LlamaServerProcess, fleet
from tests.service_clients import (
    Person,
    Seen,
    administrator,
    crowd,
    home_database,
    idle_within,
    live,
    people,
    quantile,
    service,
    summary,
)
from tests.vauban_command import Serving

KILLED, BACK = 0.5, 0.7
"""When one of the servers is killed and when it is started again, as shares of the time."""


async def users(server: Serving, persons: Sequence[Person], count: int) -> dict[str, Any]:
    """All ask the same ``count`` questions, one after the other, and each begins at another one.

    Their work is the same, so that the times they take for it tell how alike they are served.
    """
    asked = questions()[persons[0].corpus][:count]

    async def one(number: int, to: httpx.AsyncClient) -> tuple[int, float]:
        began, tokens = time.monotonic(), 0
        first = number * count // len(persons)
        for question in asked[first:] + asked[:first]:
            body = {"model": "vauban", "messages": [{"role": "user", "content": question}]}
            done = await to.post("/v1/chat/completions", json=body, headers=persons[number].headers, timeout=600)
            done.raise_for_status()
            tokens += done.json()["usage"]["completion_tokens"]
        return tokens, time.monotonic() - began

    began = time.monotonic()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as to:
        done = await asyncio.gather(*(one(number, to) for number in range(len(persons))))
    tokens, spent = sum(tokens for tokens, _ in done), [spent for _, spent in done]
    return {
        "users": len(persons),
        "answers": [len(asked)] * len(persons),
        "tokens": [tokens for tokens, _ in done],
        "seconds": [round(one, 1) for one in spent],
        "tokens_per_second": round(tokens / (time.monotonic() - began), 2),
        "slowest_to_fastest": round(max(spent) / min(spent), 2),
    }


async def soak(
    server: Serving, servers: Sequence[LlamaServerProcess], persons: Sequence[Person], watch: Person, seconds: float
) -> dict[str, Any]:
    began = time.monotonic()
    marks: dict[str, float] = {}
    states: list[tuple[float, str]] = []

    def look() -> str:
        ready = httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False)
        view = live(server.url, watch)
        told = [one["state"] for one in view["replicas"]]
        return f"{ready.status_code} {view['ready']['state']} {told} {view['queue']['places']} places"

    async def looking() -> None:
        while True:
            seen = await asyncio.to_thread(look)
            if not states or states[-1][1] != seen:
                states.append((round(time.monotonic() - began, 1), seen))
            await asyncio.sleep(0.5)

    async def crash() -> None:
        await asyncio.sleep(seconds * KILLED)
        marks["killed"] = time.monotonic()
        await asyncio.to_thread(servers[0].kill)
        await asyncio.sleep(seconds * (BACK - KILLED))
        await asyncio.to_thread(servers[0].start)
        marks["back"] = time.monotonic()

    tasks = [asyncio.create_task(looking()), asyncio.create_task(crash())]
    found = await crowd(server.url, persons, questions(), seconds)
    await tasks[1]
    idle = await asyncio.to_thread(idle_within, server.url, watch, 60)
    await asyncio.sleep(1)
    tasks[0].cancel()
    return (
        summary(found, persons)
        | _drafted(found, persons)
        | {
            "at": {name: round(at - began, 1) for name, at in marks.items()},
            "states": states,
            "spans": {
                "both": _span(found, began, marks["killed"]),
                "one": _span(found, marks["killed"], marks["back"]),
                "both again": _span(found, marks["back"], began + seconds),
            },
            "at_the_kill": _through(found, marks["killed"]),
            "idle_after": round(idle, 2),
            "servers_idle_after": [round(one.idle_within(5), 2) for one in servers],
            "replicas": live(server.url, watch)["replicas"],
        }
    )


def _drafted(found: Sequence[Seen], persons: Sequence[Person]) -> dict[str, Any]:
    """How the model's turns were shared among those who stay."""
    staying = {person.name for number, person in enumerate(persons) if number % 3}
    turns = dict.fromkeys(sorted(staying), 0)
    for seen in found:
        if seen.person in staying and seen.timings.get("generation"):
            turns[seen.person] += 1
    return {"drafts_of_those_who_stay": [min(turns.values()), max(turns.values())]}


def _span(found: Sequence[Seen], start: float, end: float) -> dict[str, Any]:
    """What was sent in a time came to."""
    some = [seen for seen in found if start <= seen.sent < end and seen.end == "answered"]
    return {
        "answers": len(some),
        "a_minute": round(60 * len(some) / (end - start), 1),
        "seconds": [round(quantile([seen.seconds for seen in some], share), 1) for share in (0.5, 0.95, 1.0)],
    }


def _through(found: Sequence[Seen], moment: float) -> dict[str, int]:
    """How the requests that were under way at a moment ended."""
    ends: dict[str, int] = {}
    for seen in found:
        if seen.sent <= moment < seen.sent + seen.seconds:
            said = f"{seen.end} {seen.outcome}".strip()
            ends[said] = ends.get(said, 0) + 1
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--parts", default="users,soak")
    parser.add_argument("--questions", type=int, default=12, help="How many each of the users asks.")
    parser.add_argument("--set", action="append", default=[], help="A setting, as VAUBAN_NAME=value.")
    parser.add_argument("--log", type=Path, help="Where the service's own log goes.")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-service-") as folder,
        fleet(chosen.model, 2, slots=2, threads=1, context=4096) as servers,
    ):
        home = Path(folder) / "home"
        shutil.copytree(chosen.home, home)
        database = home_database(home)
        persons, watch = people(database, CORPORA, chosen.clients), administrator(database)
        alike = people(database, CORPORA[2:3], 4, "alike")
        settings = REAL | {"VAUBAN_LLAMA_URL": ",".join(one.url for one in servers)}
        with service(Path(folder), **settings | dict(one.split("=", 1) for one in chosen.set)) as server:
            deadline = time.monotonic() + 120
            while live(server.url, watch)["ready"]["state"] != "ready":
                assert time.monotonic() < deadline, "it is never ready"
                time.sleep(0.5)
            for part in chosen.parts.split(","):
                if part == "users":
                    for count in (1, 4):
                        show(part, asyncio.run(users(server, alike[:count], chosen.questions)))
                elif part == "soak":
                    show(part, asyncio.run(soak(server, servers, persons, watch, chosen.minutes * 60)))
                else:
                    parser.error(f"no part {part}")
            if chosen.log:
                chosen.log.write_text(json.dumps(server.err), encoding="utf-8")


if __name__ == "__main__":
    main()
