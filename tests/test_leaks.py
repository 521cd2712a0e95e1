"""Nobody is told of what they may not know: every endpoint, in every state of rights, by marks and by twin worlds.

By hand, at length: ``pytest -m bench tests/test_leaks.py``; ``CASES`` are those of the states at random.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.types import Principal
from tests.leak_world import (
    MARK,
    QUESTIONS,
    Audience,
    Chooser,
    DocumentPlan,
    Operation,
    Plan,
    World,
    corpus_name,
    document_id,
    mark,
    operations,
    overheard,
    people,
    pictured,
    running,
    weighted,
)

EVERYONE, A, B, BOTH, NOBODY = (frozenset(groups) for groups in ("*", "a", "b", "ab", ""))
AUDIENCES: tuple[Audience, ...] = (
    (EVERYONE, 0), (A, 0), (B, 0), (BOTH, 1), (A, 2), (EVERYONE, 1), (B, 2), (NOBODY, 0),
)  # fmt: skip
ORDERLY = Plan(
    corpora=((EVERYONE, 0), (A, 0), (B, 1), (BOTH, 2), (NOBODY, 0)),
    documents=tuple(
        DocumentPlan(number, number % 5, AUDIENCES[number // 5], pdf=number % 4 == 0, versions=1 + number % 2)
        for number in range(20)
    ),
)
audiences = st.sampled_from(AUDIENCES)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Corpora and documents of any audience."""
    corpora = draw(st.lists(audiences, min_size=2, max_size=4))
    places = draw(
        st.lists(st.tuples(st.integers(0, len(corpora) - 1), audiences, st.booleans()), min_size=3, max_size=9)
    )
    return Plan(
        tuple(corpora),
        tuple(
            DocumentPlan(number, corpus, audience, pdf=number == 0, versions=1 + twice)
            for number, (corpus, audience, twice) in enumerate(places)
        ),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(ORDERLY, tmp_path_factory.mktemp("leaks")) as made:
        yield made


# --- every operation


@pytest.mark.slow
def test_no_operation_tells_anybody_of_what_they_may_not_know(world: World) -> None:
    """Each operation of the OpenAPI document, for each person, after everybody has asked; and the logs name nothing."""
    every, chooser = operations(world.app), Chooser(world, 1)
    asking = [one for one in every if one.name in {"POST /v1/chat/completions", "POST /v1/conversations"}]
    with overheard() as log:
        for person in world.people.values():
            for one in (*asking, *asking):
                chooser.ask(person, one)
        for one, person in itertools.product(every, world.people.values()):
            chooser.ask(person, one)
    assert world.cases > len(every) * len(world.people)
    assert log.lines
    assert [line for line in log.lines if MARK.search(line.encode())] == []


def test_a_picture_of_a_page_shows_its_own_document_to_its_readers_and_nothing_to_others(world: World) -> None:
    """By what is painted on it, the first time and when it was drawn for others before."""
    for person, one in itertools.product([*world.people.values()] * 2, [one for one in ORDERLY.documents if one.pdf]):
        corpus, document = corpus_name(one.corpus), document_id(one.number)
        response = world.ask(person, "GET", f"/v1/corpora/{corpus}/documents/{document}/pages/1.png?width=200")
        if world.reads(person, corpus, document):
            assert pictured(response) == mark(2, one.number, one.versions - 1).encode()
        else:
            assert response.status_code == 404
            assert not response.headers["content-type"].startswith("image/")


def test_the_description_of_the_api_names_nothing_and_nobody(world: World) -> None:
    """It is the same for everyone."""
    shown = {world.ask(person, "GET", "/openapi.json").content for person in world.people.values()}
    assert len(shown) == 1
    assert not MARK.search(shown.pop())


# --- any state of rights


class Rights(RuleBasedStateMachine):
    """People ask while audiences change, keys are revoked and snapshots come back."""

    cases = 0
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(prefix="leaks-")
        self.context = ExitStack()

    @initialize(plan=plans())
    def begin(self, plan: Plan) -> None:
        self.world = self.context.enter_context(running(plan, Path(self.folder.name)))
        self.log = self.context.enter_context(overheard())
        self.every = weighted(operations(self.world.app))

    @rule(seed=st.integers(0, 2**32), who=st.integers(0, 100), times=st.integers(1, 10))
    def ask(self, seed: int, who: int, times: int) -> None:
        chooser = Chooser(self.world, seed)
        names = sorted(self.world.people)
        for _ in range(times):
            person = self.world.people[names[who % len(names)]]
            response = chooser.ask(person, chooser.random.choice(self.every))
            if person.name in self.world.revoked and response.request.url.path not in {"/healthz", "/readyz"}:
                assert response.status_code == 401
        assert [line for line in self.log.lines if MARK.search(line.encode())] == []
        self.log.lines.clear()

    @rule(which=st.integers(0, 100), audience=audiences)
    def restrict_document(self, which: int, audience: Audience) -> None:
        plan = self.world.plan.documents[which % len(self.world.plan.documents)]
        self.world.restrict(corpus_name(plan.corpus), document_id(plan.number), audience)

    @rule(which=st.integers(0, 100), audience=audiences)
    def restrict_corpus(self, which: int, audience: Audience) -> None:
        self.world.declare(corpus_name(which % len(self.world.plan.corpora)), audience)

    @rule(who=st.integers(0, 100))
    def revoke(self, who: int) -> None:
        names = sorted(self.world.people)
        if len(self.world.revoked) < 3:
            self.world.revoke(names[who % len(names)])

    def teardown(self) -> None:
        if hasattr(self, "world"):
            type(self).cases += self.world.cases
        self.context.close()
        self.folder.cleanup()


def _machine(examples: int, steps: int, until: int = 0) -> int:
    """Run the machine, again and again until so many requests were looked at; how many they were."""

    class Run(Rights):
        cases = 0

    checks = list(HealthCheck)
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks, database=None
    )
    while True:
        run_state_machine_as_test(Run, settings=chosen)
        print(f"{Run.cases} responses searched", flush=True)
        if Run.cases >= until:
            return Run.cases


@pytest.mark.slow
def test_no_state_of_rights_lets_anything_through() -> None:
    """Random worlds, audiences that change, keys that are revoked: no mark reaches anybody whose it is not."""
    assert _machine(examples=4, steps=12, until=40) >= 40


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_twenty_thousand_cases_in_random_states_leak_nothing() -> None:
    cases = _machine(examples=60, steps=50, until=int(os.environ.get("CASES", "20000")))
    print(f"{cases} responses searched, no leak")


# --- twin worlds: what may not be known makes no difference at all

_VOLATILE = re.compile(
    rb"chatcmpl-[0-9a-f]{32}|\b[0-9a-f]{26}\b|conv_[0-9a-f]{44}|\b[0-9a-f]{32}\b|\b[0-9a-f]{64}\b|fb_[0-9a-f]+"
    rb'|"(?:created|updated|seconds|waiting_seconds|started|ended|timings|at|moment)":(?:\{[^}]*\}|[^,}]+)'
)


def told(response: httpx.Response) -> bytes:
    """What a response says, without ids and times, which are new each time."""
    kept = {"etag", "location", "content-type", "retry-after", "content-disposition", "content-range", "link"}
    headers = sorted((name, value) for name, value in response.headers.items() if name in kept)
    return _VOLATILE.sub(b"-", f"{response.status_code} {headers} ".encode() + response.content)


def without(plan: Plan, person: Principal) -> Plan:
    """The plan without what a person may not know; the numbers stay, and so do the marks."""
    limited = [person.corpora is None or corpus_name(number) in person.corpora for number in range(len(plan.corpora))]

    def admits(audience: Audience) -> bool:
        return bool(audience[0] & (person.groups | {"*"})) and audience[1] <= person.clearance

    return replace(
        plan,
        documents=tuple(
            one
            for one in plan.documents
            if admits(one.audience) and admits(plan.corpora[one.corpus]) and limited[one.corpus]
        ),
    )


READING = {
    "GET /v1/models", "GET /v1/models/{model}", "POST /v1/search", "GET /v1/documents", "GET /v1/corpora",
    "GET /v1/corpora/{corpus}", "GET /v1/corpora/{corpus}/documents/{document}", "GET /v1/documents/{document}",
    "GET /v1/corpora/{corpus}/documents/{document}/articles/{reference}", "GET /v1/documents/{document}/file",
    "GET /v1/corpora/{corpus}/documents/{document}/file", "POST /v1/chat/completions", "POST /v1/rerank",
    "GET /v1/corpora/{corpus}/documents/{document}/pages/{page}.png", "POST /v1/embeddings",
    "GET /v1/documents/{document}/pages/{page}.png", "GET /v1/corpora/{corpus}/report",
    "GET /v1/corpora/{corpus}/feedback", "DELETE /v1/corpora/{corpus}/documents/{document}",
    "PUT /v1/corpora/{corpus}/documents/{document}",
}  # fmt: skip
"""What says something of documents, and can be asked of two worlds in the same words.

Not a run: where files of hidden documents are left out of one, its summary is as well, and a maintainer may notice.
"""


def compare(plan: Plan, person: Principal, folder: Path, asked: int, *, edge: bool = False, seed: int = 1) -> int:
    """Ask a world and its twin, in which what ``person`` may not read does not exist; how often the same was said."""
    embedder = HashEmbedder()
    stores = [
        EdgeStore.open(folder / f"{name}-index", embedder.fingerprint, embedder.dimension, owned=True) if edge else None
        for name in ("whole", "twin")
    ]
    for name in ("whole", "twin"):
        (folder / name).mkdir()
    with (
        running(plan, folder / "whole", stores[0], queue_per_user=16) as whole,
        running(without(plan, person), folder / "twin", stores[1], queue_per_user=16) as twin,
    ):
        every = [one for one in weighted(operations(whole.app)) if one.name in READING]
        choosers = [Chooser(one, seed) for one in (whole, twin)]
        choosers[1].documents = choosers[0].documents
        for number in range(asked):
            chosen: list[Operation] = [chooser.random.choice(every) for chooser in choosers]
            assert chosen[0] == chosen[1]
            one, other = (told(chooser.ask(person, chosen[0])) for chooser in choosers)
            # What either has made stays apart: the ids that are tried next must be the same.
            for chooser in choosers:
                chooser.world.ids.clear()
            differs = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
            )
            around = slice(max(0, differs - 200), differs + 200)
            said = f"{person.name}, request {number}, {chosen[0].name}:\n{one[around]!r}\n{other[around]!r}"
            assert one == other, said
    for store in stores:
        if store is not None:
            store.close()
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anne", "bruno", "nul", "limitee", "maud"])
def test_what_somebody_may_not_read_makes_no_difference_to_them(name: str, tmp_path: Path) -> None:
    """Scores, counts, orders, errors and tags are byte for byte those of a world without it."""
    compare(ORDERLY, people(5)[name], tmp_path, 40)


@pytest.mark.slow
def test_what_somebody_may_not_read_makes_no_difference_to_the_real_engine(tmp_path: Path) -> None:
    compare(ORDERLY, people(5)["anne"], tmp_path, 15, edge=True)


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_a_thousand_requests_of_each_person_are_the_same_in_both_worlds(tmp_path: Path) -> None:
    total = 0
    for person in people(5).values():
        folder = tmp_path / person.name
        folder.mkdir()
        total += compare(ORDERLY, person, folder, 1_000, seed=2)
    print(f"{total} pairs of responses, all equal")


# --- the same question by two people, in both orders, everything warm


def pairs(world: World, times: int, seed: int) -> None:
    """Each is told after the other what they were told before them."""
    chosen = random.Random(seed)
    names = [name for name in world.people if name not in world.revoked]
    for _ in range(times):
        first, second = chosen.sample(names, 2)
        question = chosen.choice(QUESTIONS)
        asked = {"model": "vauban", "messages": [{"role": "user", "content": question}]}
        sought = {"question": question, "limit": 20}
        known: dict[str, list[bytes]] = {}
        for name in (first, second, first, second):
            person = world.people[name]
            said = [
                told(world.ask(person, "POST", "/v1/search", json=sought)),
                _without_counts(world.ask(person, "POST", "/v1/chat/completions", json=asked)),
            ]
            assert known.setdefault(name, said) == said, f"{name} beside {first} and {second}: {question}"


def _without_counts(response: httpx.Response) -> bytes:
    """An answer without how much of the prompt the model had read already."""
    said = response.json()
    said.pop("usage", None)
    return told(httpx.Response(response.status_code, content=json.dumps(said, separators=(",", ":"))))


@pytest.mark.slow
def test_the_same_question_of_two_people_gets_each_their_own_answer(world: World) -> None:
    pairs(world, 20, 1)


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_a_thousand_pairs_of_people_ask_the_same_and_nothing_crosses(world: World) -> None:
    pairs(world, 1_000, 2)
