"""What the OpenAPI document says is held against the running server, by right and wrong requests made from it.

By hand, at length: ``REQUESTS=50000 pytest -m bench -s tests/test_schemathesis.py``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation

from tests.leak_world import MARK, Chooser, World, operations, running
from tests.rag_server import TOKEN
from tests.test_leaks import ORDERLY

PEOPLE = ("", *("anne", "claire", "maud", "aude", "adam", "server") * 2)
"""Nobody, readers, a maintainer, an auditor, an administrator, and the user who runs the server."""
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
}
"""Why a request is refused that its schema allows: what no schema can say, each by a code of its own."""
REFUSALS = {400, 405, 406, 412, 413, 415, 416, 422}


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
        self.seen: Counter[int] = Counter()
        self.wrong: dict[tuple[str, str], str] = {}
        """What the first of each kind of failure of an operation says."""
        # Whether what is valid is taken is asked below, more sharply.
        self.checks: list[Any] = [
            check for name, check in zip(CHECKS.get_all_names(), CHECKS.get_all(), strict=True)
            if name != "positive_data_acceptance"
        ]  # fmt: skip

    def __call__(self, case: Case[Any], mode: GenerationMode) -> None:
        """One request; what is wrong with its answer is noted."""
        try:
            self._ask(case, mode)
        except FailureGroup as failures:
            for one in failures.exceptions:
                self.wrong.setdefault((case.operation.label, type(one).__name__), str(one))
        except AssertionError as error:
            self.wrong.setdefault((case.operation.label, "assertion"), str(error))

    def _ask(self, case: Case[Any], mode: GenerationMode) -> None:
        who = self.random.choice(PEOPLE)
        secret = TOKEN if who == "server" else self.world.secrets.get(who, "")
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        if mode is GenerationMode.POSITIVE and self.random.random() < 0.7:
            self._name_what_exists(case)
        response = case.call(session=self.session, headers=headers)
        self.seen[response.status_code] += 1
        if who in self.world.people:
            # The request is not at hand as bytes; what it wrote itself is in its parts.
            sent = f"{response.request.url} {response.request.body!r}".encode()
            leaked = self.world.foreign(
                self.world.people[who], sent, repr(response.headers).encode() + response.content
            )
            assert not leaked, f"{who} was told of {leaked} by {case.operation.label}"
        elif not who:
            assert not MARK.search(response.content) or MARK.search(str(response.request.url).encode())
        case.validate_response(
            response, headers=headers, checks=self.checks, transport_kwargs={"session": self.session}
        )
        if mode is GenerationMode.POSITIVE and response.status_code in REFUSALS:
            problem = response.json()
            # A bound beyond 2**53 is a rounded one to whoever reads JSON numbers as doubles.
            rounded = problem["code"] == "invalid_request" and problem["error"]["param"] == "seed"
            assert problem["code"] in UNSAYABLE or rounded, f"{case.operation.label}: {problem}"

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


def fuzz(world: World, each: int, start: int = 1) -> Counter[int]:
    """``each`` requests of each operation, right ones and as many wrong ones; the statuses that came."""
    schema = schemathesis.openapi.from_dict(world.app.openapi())
    schema.config.update(base_url=str(world.client.base_url).rstrip("/"))
    asking = Asking(world)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            # Where nothing can be said wrongly, there are no wrong requests.
            with suppress(Unsatisfiable):
                _ask(found.ok(), mode, asking, each, start)
    said = "\n\n".join(f"{operation} {kind}: {what[:2000]}" for (operation, kind), what in asking.wrong.items())
    assert not asking.wrong, said
    return asking.seen


def _ask(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, asking: Asking, each: int, start: int
) -> None:
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
        asking(case, mode)

    run()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_does_what_its_document_says(world: World) -> None:
    """A thousand requests of every operation and role: no 5xx, nothing undocumented, nothing of anybody else's."""
    seen = fuzz(world, 9)
    assert sum(seen.values()) > 700
    assert not {status for status in seen if status >= 500} - {501, 503}


@pytest.mark.bench
@pytest.mark.timeout(36_000)
def test_the_server_does_so_over_fifty_thousand_requests(world: World) -> None:
    wanted, start, seen = int(os.environ.get("REQUESTS", "50000")), 2, Counter[int]()
    while sum(seen.values()) < wanted:
        seen += fuzz(world, 100, start)
        start += 1
        print(f"{sum(seen.values())} requests: {dict(seen)}", flush=True)
    assert not {status for status in seen if status >= 500} - {501, 503}
