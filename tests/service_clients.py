"""People who ask a real server over HTTP, all at once, and what they saw: for tests and measurements of the service.

Everybody has a key of their own, reads one corpus, and writes a mark into each question. An answer is theirs when it
repeats their mark, holds nobody else's, and rests on their corpus alone. Some leave: in line, while the prompt is read,
while the answer is written, or at any moment, of a stream or of a plain answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from rag.database import Database
from rag.home import Home
from rag.keys import Keys
from rag.types import Access, Principal, Role
from tests.vauban_command import FAKES, Command, Serving

MARK: Final = re.compile(r"«(\d{9})»")
"""A number: the search asks for words that no text has, and would find no evidence."""
SILENCE: Final = 60.0
"""Seconds without a byte after which a stream counts as lost: heartbeats come every five."""
PATIENCE: Final = 600.0
"""Seconds that a plain answer is waited for: not a byte of it comes before its end."""


@dataclass(frozen=True)
class Person:
    name: str
    secret: str
    corpus: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


def people(database: str | Path, corpora: Sequence[str], count: int, name: str = "person") -> list[Person]:
    """``count`` people with a key each; the corpora go round."""
    found = []
    with closing(Database.open(database)) as opened:
        keys = Keys(opened)
        for number in range(count):
            corpus = corpora[number % len(corpora)]
            who = Principal(f"{name}-{number}", frozenset({"agents"}), corpora=frozenset({corpus}), access=Access.KEY)
            found.append(Person(who.name, keys.create(who, 1)[1], corpus))
    return found


def administrator(database: str | Path) -> Person:
    """Who may look at what the service does."""
    who = Principal("watch", frozenset(), roles=frozenset({Role.READER, Role.ADMINISTRATOR}), access=Access.KEY)
    with closing(Database.open(database)) as opened:
        return Person(who.name, Keys(opened).create(who, 1)[1], "")


def maintainer(database: str | Path, corpus: str) -> Person:
    """Who may declare a corpus and feed it, and look at what the service does."""
    roles = frozenset({Role.READER, Role.MAINTAINER, Role.ADMINISTRATOR})
    who = Principal("feeder", frozenset({"agents"}), 0, roles, frozenset({corpus}), access=Access.KEY)
    with closing(Database.open(database)) as opened:
        return Person(who.name, Keys(opened).create(who, 1)[1], corpus)


def install(home: Path, name: str, model: Path, context: int) -> None:
    """Make ``model`` a writing model of the home, under ``name``."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "weights.gguf")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    with (home / "models" / "models.toml").open("a", encoding="utf-8") as written:
        written.write(
            f'[models.{name}]\nkind = "generator"\ncontext = {context}\n'
            f'[models.{name}.sha256]\n"weights.gguf" = "{sha256}"\n'
        )


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[Serving]:
    """``vauban serve`` over ``folder/home`` with keys; settings win over those of a small and quick service."""
    environ = {
        **FAKES,
        "OMP_NUM_THREADS": "1",
        "VAUBAN_LOGIN": "keys",
        "VAUBAN_THREADS": "1",
        "VAUBAN_LOG_LEVEL": "warning",
    } | settings
    with Command(folder, environ).serving() as server:
        yield server


# --- one request ----------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What one request came to; times are seconds since it was sent."""

    person: str
    end: str = ""
    """``answered``, ``left in STAGE``, ``refused``, ``failed: …`` or ``crossed: …``."""
    status: int = 0
    sent: float = 0.0
    passages: float | None = None
    turn: float | None = None
    """When the wait for the model was over, of a stream."""
    sentence: float | None = None
    seconds: float = 0.0
    silence: float = 0.0
    positions: list[int] = field(default_factory=list)
    outcome: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Leaves:
    """Leaves ``after`` seconds after ``stage`` begins: ``sent``, ``waiting``, ``reading`` or ``writing``."""

    stage: str
    after: float


class _Gone(Exception):
    """This client closed its connection."""


def marked(question: str, drawn: random.Random) -> tuple[str, str]:
    """A question with a mark of its own, and the mark."""
    mark = str(drawn.randrange(10**8, 10**9))
    return f"{question} «{mark}»", mark


async def ask(
    client: httpx.AsyncClient,
    person: Person,
    question: str,
    *,
    mark: str = "",
    stream: bool = True,
    leaves: Leaves | None = None,
    max_tokens: int | None = None,
) -> Seen:
    """Ask, read to the end or leave, and judge what came."""
    body: dict[str, Any] = {"model": "vauban", "messages": [{"role": "user", "content": question}], "stream": stream}
    if max_tokens:
        body["max_tokens"] = max_tokens
    seen, began = Seen(person.name, sent=time.monotonic()), time.monotonic()
    if leaves and leaves.stage == "sent":
        timeout: asyncio.Timeout = asyncio.timeout(leaves.after)
    else:
        timeout = asyncio.timeout(None)
    try:
        async with timeout:
            quiet = SILENCE if stream else PATIENCE
            request = client.stream("POST", "/v1/chat/completions", json=body, headers=person.headers, timeout=quiet)
            async with request as response:
                seen.status = response.status_code
                if response.status_code != 200:
                    said = json.loads(await response.aread())
                    seen.end = "refused" if response.status_code == 429 else f"failed: {said.get('code')}"
                elif stream:
                    await _read(response.aiter_text(), seen, began, leaves, mark, person)
                else:
                    _judge(await response.aread(), seen, mark, person)
    except TimeoutError:
        seen.end = "left at some moment" if stream else "left a plain answer"
    except _Gone as stage:
        seen.end = f"left in {stage}"
    except httpx.TransportError as error:
        seen.end = f"failed: {type(error).__name__}"
    seen.seconds = time.monotonic() - began
    return seen


async def _read(
    pieces: AsyncIterator[str], seen: Seen, began: float, leaves: Leaves | None, mark: str, person: Person
) -> None:
    """Read a stream to its end.

    Raises:
        _Gone: the moment to leave has come.
    """
    whole, rest, stage, until, last = "", "", "", float("inf"), time.monotonic()

    def reached(name: str) -> None:
        nonlocal stage, until
        if stage != name:
            stage = name
            if leaves and leaves.stage == name:
                until = time.monotonic() + leaves.after

    async for piece in pieces:
        now = time.monotonic()
        seen.silence, last = max(seen.silence, now - last), now
        whole += piece
        rest += piece
        *events, rest = rest.split("\n\n")
        for event in events:
            if event.startswith("data: {"):
                _take(json.loads(event[6:]), seen, now - began, reached)
        if now > until:
            raise _Gone(stage)
        if until < float("inf"):
            # The next piece may be long in coming; to leave is to go without waiting for it.
            await asyncio.sleep(max(0.0, until - time.monotonic()))
            raise _Gone(stage)
    if not seen.end:
        _judge_text(whole, seen, mark, person)
        if "data: [DONE]" not in whole or not seen.outcome:
            seen.end = "failed: an unfinished stream"


def _take(event: Mapping[str, Any], seen: Seen, at: float, reached: Callable[[str], None]) -> None:
    if "choices" not in event:
        seen.end = f"failed: {event.get('code')}"
        return
    vauban = event.get("vauban") or {}
    if vauban.get("passages") is not None and seen.passages is None:
        seen.passages = at
        reached("reading")
    if vauban.get("waiting"):
        seen.positions.append(vauban["waiting"])
        reached("waiting")
    if vauban.get("timings"):
        seen.outcome, seen.timings = vauban["status"], vauban["timings"]
    if any(choice.get("delta", {}).get("content") for choice in event["choices"]) and seen.sentence is None:
        seen.sentence = at
        reached("writing")


def _judge(body: bytes, seen: Seen, mark: str, person: Person) -> None:
    seen.outcome = json.loads(body)["vauban"]["status"]
    _judge_text(body.decode(), seen, mark, person)


def _judge_text(whole: str, seen: Seen, mark: str, person: Person) -> None:
    marks = set(MARK.findall(whole))
    corpora = set(re.findall(r'"corpus": ?"([^"]+)"', whole))
    if marks - {mark}:
        seen.end = "crossed: somebody else's mark"
    elif mark and not marks:
        seen.end = "crossed: not this question's answer"
    elif corpora - {person.corpus}:
        seen.end = "crossed: a corpus of somebody else"
    else:
        seen.end = "answered"


# --- everybody at once ----------------------------------------------------------------------------------


def somehow(drawn: random.Random, longest: float) -> tuple[bool, Leaves]:
    """A way to leave: whether of a stream, and when."""
    stage = drawn.choice(["sent", "waiting", "reading", "writing", "plain"])
    if stage == "plain":
        return False, Leaves("sent", drawn.uniform(0, 2 * longest))
    return True, Leaves(stage, drawn.uniform(0, longest))


async def crowd(
    url: str,
    persons: Sequence[Person],
    questions: Mapping[str, Sequence[str]],
    seconds: float,
    *,
    longest: float = 2.0,
    leaving: int = 3,
    seed: int = 1,
) -> list[Seen]:
    """Everybody asks without pause; each ``leaving``-th always leaves, ``longest`` seconds into a stage at most."""
    end, found = time.monotonic() + seconds, list[Seen]()

    async def one(number: int, client: httpx.AsyncClient) -> None:
        person, drawn = persons[number], random.Random(1000 * seed + number)
        while time.monotonic() < end:
            question, mark = marked(drawn.choice(questions[person.corpus]), drawn)
            stream, leaves = somehow(drawn, longest) if number % leaving == 0 else (drawn.random() < 0.8, None)
            seen = await ask(client, person, question, mark=mark, stream=stream, leaves=leaves)
            found.append(seen)
            if seen.end == "refused":
                await asyncio.sleep(0.5)

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(one(number, client) for number in range(len(persons))))
    return found


def jain(counts: Sequence[float]) -> float:
    """1 where everybody has the same."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 1.0


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def summary(found: Sequence[Seen], persons: Sequence[Person], *, leaving: int = 3) -> dict[str, Any]:
    """What a crowd saw, in figures."""
    staying = {person.name for number, person in enumerate(persons) if number % leaving}
    served = Counter(seen.person for seen in found if seen.end == "answered")
    waits = [seen.seconds for seen in found if seen.person in staying and seen.end == "answered"]
    passages = [seen.passages for seen in found if seen.passages is not None]
    return {
        "requests": len(found),
        "ends": dict(Counter(seen.end for seen in found)),
        "outcomes": dict(Counter(seen.outcome for seen in found if seen.outcome)),
        "server_errors": sum(seen.status >= 500 for seen in found),
        "jain": round(jain([served[name] for name in staying]), 4),
        "answers_of_those_who_stay": [min((served[n] for n in staying), default=0), max(served.values(), default=0)],
        "seconds": [round(quantile(waits, share), 2) for share in (0.5, 0.95)],
        "passages": [round(quantile(passages, share), 2) for share in (0.5, 0.95)],
        "longest_silence": round(max((seen.silence for seen in found), default=0.0), 2),
        "first_position": max((seen.positions[0] for seen in found if seen.positions), default=0),
        "moved_back": sum(moved_back(seen) for seen in found if seen.person in staying),
        "moves_back": [(seen.person, seen.positions) for seen in found if moved_back(seen)][:5],
        "moved_back_after_leaving": sum(moved_back(seen) for seen in found if seen.person not in staying),
    }


def moved_back(seen: Seen) -> bool:
    """Whether the place that was told got worse.

    The queue promises those with nothing else in line or under way that it does not. Who leaves and asks again at once
    may have the request before still there, and then lets others pass.
    """
    return any(later > earlier for earlier, later in zip(seen.positions, seen.positions[1:], strict=False))


# --- the server, from outside ---------------------------------------------------------------------------


def live(url: str, who: Person) -> dict[str, Any]:
    found = httpx.get(f"{url}/v1/live", headers=who.headers, timeout=SILENCE, trust_env=False)
    found.raise_for_status()
    view: dict[str, Any] = found.json()
    return view


def prompt_cache(url: str, who: Person) -> int:
    """Bytes that the model keeps of prompts."""
    found = httpx.get(f"{url}/metrics", headers=who.headers, timeout=SILENCE, trust_env=False)
    said = re.search(r"^vauban_prompt_cache_bytes (\S+)$", found.text, re.MULTILINE)
    return int(float(said[1])) if said else 0


def idle_within(url: str, who: Person, seconds: float) -> float:
    """Seconds until nothing is made, waited for or written any more; infinite when it takes more than ``seconds``."""
    began = time.monotonic()
    while (spent := time.monotonic() - began) < seconds:
        view = live(url, who)
        queue = view["queue"] or {"waiting": 0, "serving": 0}  # there may be no model
        if not view["answers"] and not queue["waiting"] and not queue["serving"]:
            return spent
        time.sleep(0.02)
    return float("inf")


@dataclass(frozen=True)
class Size:
    """A process at one moment."""

    at: float
    memory: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Size:
        process = psutil.Process(pid)
        with process.oneshot():
            return cls(time.monotonic(), process.memory_info().rss, process.num_fds(), process.num_threads())


def home_database(home: Path) -> Path:
    return Home.open(home).catalog
