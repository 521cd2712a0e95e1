"""What the OpenAPI document says is held against the running server, by right and wrong requests made from it.

By hand, at length: ``REQUESTS=50000 pytest -m bench -s tests/test_schemathesis.py``; in two processes with
``SHARD=0/2`` and ``SHARD=1/2``, each of which asks for half of the operations, and half of the requests.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.schemas import APIOperation

from tests.leak_world import MARK, Chooser, World, operations, running
from tests.rag_server import TOKEN
from tests.test_leaks import ORDERLY

PEOPLE = ("", *("anne", "claire", "maud", "aude", "adam", "server") * 2)
"""Nobody, readers, a maintainer, an auditor, an administrator, and the user who runs the server.

They ask for each operation in turn; the first half of them are all that there are.
"""
UNSAYABLE = {
    "empty_question",
    "invalid_cursor",
    "bad_head",
    "bad_erasure",
    "unsupported_parameter",
    "idempotency_key_reused",
    "relative_path",
    "id_stays",
    "bad_id",
    "bad_name",
    "no_file",
    "unreadable",
    "not_an_answer",
}
"""Why a request is refused that its schema allows: what no schema can say, each by a code of its own."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(ORDERLY, tmp_path_factory.mktemp("openapi"), live=True) as made:
        yield made


class Asking:
    """Sends what is generated, as one of the people after another, and holds the answer against the document."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chooser = Chooser(world, 1)
        self.operations = {one.name: one for one in operations(world.app)}
        self.random = random.Random(1)
        self.session = requests.Session()
        self.session.trust_env = False
        self.turns: Counter[tuple[str, GenerationMode]] = Counter()
        self.seen: Counter[tuple[str, str, int]] = Counter()
        """How often which operation was answered to whom with which status."""
        self.slowest: defaultdict[str, float] = defaultdict(float)
        """Seconds of the longest answer of each operation."""
        self.wrong: dict[tuple[str, str], str] = {}
        """What the first of each kind of failure of an operation says."""
        self.often: Counter[tuple[str, str]] = Counter()
        self.checks: list[Any] = CHECKS.get_all()

    def statuses(self) -> Counter[int]:
        return sum((Counter({status: times}) for (_, _, status), times in self.seen.items()), Counter())

    def missed(self) -> set[tuple[str, str]]:
        """The operations and the people who never asked for them."""
        met = {(operation, who) for operation, who, _ in self.seen}
        return {(operation, who) for operation, _, _ in self.seen for who in PEOPLE} - met

    def failures(self) -> str:
        """Each kind of failure of each operation, how often it was met and what the first says."""
        return "\n\n".join(
            f"{operation} {kind} x{self.often[operation, kind]}: {what[:2000]}"
            for (operation, kind), what in self.wrong.items()
        )

    def __call__(self, case: Case[Any], mode: GenerationMode) -> None:
        """One request; what is wrong with its answer is noted."""
        try:
            self._ask(case, mode)
        except (AssertionError, requests.RequestException) as error:
            self._note(case, type(error).__name__, str(error))

    def _note(self, case: Case[Any], kind: str, said: str) -> None:
        self.often[case.operation.label, kind] += 1
        self.wrong.setdefault((case.operation.label, kind), said)

    def _ask(self, case: Case[Any], mode: GenerationMode) -> None:
        turn = self.turns[case.operation.label, mode]
        self.turns[case.operation.label, mode] += 1
        who = PEOPLE[turn % len(PEOPLE)]
        secret = TOKEN if who == "server" else self.world.secrets.get(who, "")
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        if mode is GenerationMode.POSITIVE and self.random.random() < 0.7:
            self._name_what_exists(case)
        response = case.call(session=self.session, headers=headers)
        self.slowest[case.operation.label] = max(self.slowest[case.operation.label], response.elapsed)
        self.seen[case.operation.label, who, response.status_code] += 1
        if who in self.world.people:
            # The request is not at hand as bytes; what it wrote itself is in its parts.
            sent = f"{response.request.url} {response.request.body!r}".encode()
            leaked = self.world.foreign(
                self.world.people[who], sent, repr(response.headers).encode() + response.content
            )
            assert not leaked, f"{who} was told of {leaked} by {case.operation.label}"
        elif not who:
            assert not MARK.search(response.content) or MARK.search(str(response.request.url).encode())
        try:
            case.validate_response(
                response, headers=headers, checks=self.checks, transport_kwargs={"session": self.session}
            )
        except FailureGroup as failures:
            for one in failures.exceptions:
                if not _unsayable(one, response):
                    self._note(case, type(one).__name__, f"{one}\n{response.status_code} {response.text[:600]}")

    def _name_what_exists(self, case: Case[Any]) -> None:
        """Put names of things that there are in place of made-up ones, and now and then a sensible body."""
        operation = self.operations[case.operation.label]
        path, query = self.chooser.parameters(operation)
        if case.path_parameters:
            for template, value in zip(operation.path.split("/"), path.split("/"), strict=True):
                name = template.removesuffix(".png").strip("{}")
                if name in case.path_parameters:
                    case.path_parameters[name] = value.removesuffix(".png").replace("%2F", "/")
        if self.random.random() < 0.7:
            body = self.chooser.body(operation)
            if "json" in body and case.media_type == "application/json":
                case.body = body["json"]
            if query or not case.query:
                case.query = query


def _unsayable(failure: BaseException, response: Response) -> bool:
    """Whether a valid request was refused for what no schema can say.

    The check ``positive_data_acceptance`` alone would have each request that the schema allows be taken. It is asked of
    every operation, and only its refusals by a code of ``UNSAYABLE`` are let pass: others are faults of the document.
    """
    if not isinstance(failure, RejectedPositiveData):
        return False
    problem = response.json()
    # A bound beyond 2**53 is a rounded one to whoever reads JSON numbers as doubles.
    rounded = problem["code"] == "invalid_request" and problem["error"]["param"] == "seed"
    return problem["code"] in UNSAYABLE or rounded


class Document:
    """The operations of the document, or a share of them, each with its strategies of right and wrong requests."""

    def __init__(self, world: World, share: int = 0, shares: int = 1) -> None:
        schema = schemathesis.openapi.from_dict(world.app.openapi())
        schema.config.update(base_url=str(world.client.base_url).rstrip("/"), request_timeout=60)
        found = list(schema.get_all_operations())
        self.asked: list[tuple[APIOperation[Any, Any, Any, Any], GenerationMode]] = []
        for one in found[share::shares]:
            assert isinstance(one, Ok), one
            self.asked += [(one.ok(), mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]

    def fuzz(self, asking: Asking, each: int, start: int = 1) -> None:
        """``each`` requests of each operation, right ones and as many wrong ones."""
        for operation, mode in list(self.asked):
            try:
                made = _ask(operation, mode, asking, each, start)
            except Unsatisfiable:
                # Where nothing can be said wrongly, there are no wrong requests, and none is looked for again.
                self.asked.remove((operation, mode))
                continue
            # An operation without parameters has but one right request, which everybody makes.
            while mode is GenerationMode.POSITIVE and made < each:
                made += _ask(operation, mode, asking, each - made, start)


def _ask(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, asking: Asking, each: int, start: int
) -> int:
    """At most so many requests; how many were made."""
    made = 0

    @seed(start)
    @settings(
        max_examples=each,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        nonlocal made
        made += 1
        asking(case, mode)

    run()
    return made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_does_what_its_document_says(world: World) -> None:
    """A thousand requests, each operation by each role: no 5xx, nothing undocumented, nothing of anybody else's."""
    asking = Asking(world)
    Document(world).fuzz(asking, 12)
    assert not asking.wrong, asking.failures()
    assert asking.seen.total() >= 1_000
    assert not asking.missed()
    assert not {status for status in asking.statuses() if status >= 500} - {501, 503}


@pytest.mark.bench
@pytest.mark.timeout(36_000)
def test_the_server_does_so_over_fifty_thousand_requests(world: World) -> None:
    """So it is in the long; each kind of failure is told once, at its first time and at the end."""
    share, shares = (int(number) for number in os.environ.get("SHARD", "0/1").split("/"))
    wanted, start, told = int(os.environ.get("REQUESTS", "50000")) // shares, 2 + share, 0
    document, asking, begun = Document(world, share, shares), Asking(world), time.monotonic()
    while asking.seen.total() < wanted:
        document.fuzz(asking, 25, start)
        start += shares
        for (operation, kind), what in list(asking.wrong.items())[told:]:
            print(f"\nFAILURE {operation} {kind}: {what[:3000]}", flush=True)
        told = len(asking.wrong)
        spent = time.monotonic() - begun
        print(f"{asking.seen.total()} requests in {spent:.0f} s: {dict(asking.statuses())}", flush=True)
    roles = Counter({who: sum(n for (_, one, _), n in asking.seen.items() if one == who) for who in set(PEOPLE)})
    slowest = sorted(((round(took, 1), name) for name, took in asking.slowest.items()), reverse=True)[:8]
    print(f"longest answers, in seconds: {slowest}")
    print(f"by whom: {dict(roles)}; never asked: {sorted(asking.missed())}\n{asking.failures()}", flush=True)
    assert not asking.wrong, asking.failures()
    assert not asking.missed()
    assert not {status for status in asking.statuses() if status >= 500} - {501, 503}
