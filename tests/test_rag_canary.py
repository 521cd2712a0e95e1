"""Canary questions: asked by schedule, never ahead of a person, and what they find is seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from rag import canary
from rag.api import create_app
from rag.canary import Canary, CanaryState, Case, Outcome
from rag.errors import SettingsError
from rag.records import Wanted
from rag.types import Question
from tests.rag_server import QUESTION, Parts, Writer, parts

GOOD = Case(id="conge", question=QUESTION, corpus="rh", document="conges", reference="article 4")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """Whether people wait, and how often it was asked."""

    busy: list[bool] = field(default_factory=list)
    asked: int = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.busy.pop(0) if self.busy else False


@pytest.fixture
def vauban(tmp_path: Path) -> Iterator[Parts]:
    made = parts(tmp_path)
    yield made
    made.catalog.close()


def made(vauban: Parts, *cases: Case, busy: Callable[[], bool] = Desk()) -> tuple[Canary, Clock]:  # noqa: B008 never busy
    clock = Clock()
    return Canary(cases, lambda: vauban.engine, minutes=10, busy=busy, clock=clock), clock


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        (GOOD, Outcome.PASSED),
        (GOOD.model_copy(update={"reference": "Article 40"}), Outcome.WRONG_PASSAGES),
        (GOOD.model_copy(update={"document": "primes", "reference": None}), Outcome.WRONG_PASSAGES),
        (GOOD.model_copy(update={"status": ("refused",)}), Outcome.WRONG_STATUS),
        (GOOD.model_copy(update={"corpus": "secret"}), Outcome.ERROR),
        (GOOD.model_copy(update={"corpus": "finances"}), Outcome.ERROR),
    ],
)
def test_a_question_passes_when_status_and_text_are_the_expected_ones(
    vauban: Parts, case: Case, outcome: Outcome
) -> None:
    """Of public texts only: what some groups may see is not found."""
    asked, _ = made(vauban, case)
    asked.due()
    assert asked.last is not None
    assert asked.last.outcomes == {"conge": outcome}
    assert asked.state is (CanaryState.PASSED if outcome is Outcome.PASSED else CanaryState.FAILED)


def test_rounds_come_by_schedule(vauban: Parts) -> None:
    """The first at once, the next after its minutes, however often it is looked at."""
    asked, clock = made(vauban, GOOD)
    assert asked.state is CanaryState.WAITING
    assert asked.due() == 600
    assert asked.due() == 600
    clock.now = 599
    assert asked.due() == 1
    assert asked.rounds == 1
    clock.now = 600
    assert asked.due() == 600
    assert asked.rounds == 2


def test_people_go_first(vauban: Parts) -> None:
    """A round waits while they are answered, and one that they come into is given up and tried again."""
    desk = Desk([True])
    asked, clock = made(vauban, GOOD, busy=desk)
    assert asked.due() == canary.YIELDED
    assert (asked.last, asked.put_off) == (None, 1)
    clock.now = canary.YIELDED
    asked.due()
    assert asked.rounds == 1


def test_a_person_who_comes_stops_the_model(tmp_path: Path) -> None:
    """In the middle of a draft; the question is neither passed nor failed."""
    writer = Writer(words=["mot "] * 1_000)
    vauban = parts(tmp_path, writer)
    asked, _ = made(vauban, GOOD, busy=Desk([False] * 5 + [True] * 1_000))
    asked.due()
    assert writer.stopped.is_set()
    assert (asked.last, asked.put_off) == (None, 1)
    vauban.catalog.close()


def test_a_defect_that_a_question_reveals_is_a_result(vauban: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """And its message, which may quote, is not logged."""

    class Broken:
        def answer(self, *_: object, **__: object) -> object:
            raise RuntimeError(QUESTION)

    asked = Canary([GOOD], lambda: Broken(), minutes=1, busy=Desk())  # type: ignore[arg-type, return-value]  # a broken one
    asked.due()
    assert asked.last is not None
    assert asked.last.outcomes == {"conge": Outcome.ERROR}
    assert QUESTION not in caplog.text


def test_what_a_canary_finds_is_not_counted_as_found_by_people(vauban: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that only the canary asks for is one that nobody reads."""
    counted: list[object] = []
    monkeypatch.setattr(vauban.engine, "_found", counted.append)
    asked, _ = made(vauban, GOOD)
    asked.due()
    assert (asked.state, counted) == (CanaryState.PASSED, [])
    list(vauban.engine.answer(Question(QUESTION, canary.asker())))
    assert len(counted) == 1


def test_what_a_canary_was_answered_is_on_record_as_such(tmp_path: Path) -> None:
    """Like every answer; its id and its owner say that nobody asked."""
    (tmp_path / "canary.jsonl").write_text(GOOD.model_dump_json(), encoding="utf-8")
    vauban = parts(tmp_path, canary=str(tmp_path / "canary.jsonl"))
    with TestClient(create_app(vauban), base_url="http://127.0.0.1"):
        deadline = time.monotonic() + 20
        while not (found := vauban.records.page(Wanted())) and time.monotonic() < deadline:
            time.sleep(0.05)
    vauban.database.close()
    (record,) = found
    assert record.id.startswith("canary-")
    assert record.content is not None
    assert record.content["owner"] == "server:canary"


def test_the_shipped_questions_can_be_read() -> None:
    """Those for the sample corpora, one of them without an answer."""
    cases = canary.load(canary.SAMPLES)
    assert {case.corpus for case in cases} >= {"rh", "sante", "finances", "infrastructures"}


@pytest.mark.parametrize(
    "content",
    ["", "no json", '{"id": "a"}', '{"id": "a b", "question": "x"}', '{"id": "a", "question": "x", "more": 1}',
     '{"id": "a", "question": "x", "status": ["maybe"]}', '{"id": "a", "question": "x"}\n{"id": "a", "question": "y"}'],
)  # fmt: skip
def test_a_wrong_file_stops_the_start_with_a_sentence(tmp_path: Path, content: str) -> None:
    """That names the file, and repeats nothing of it."""
    path = tmp_path / "questions.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"questions\.jsonl"):
        canary.load(str(path))
    with pytest.raises(SettingsError, match="VAUBAN_CANARY"):
        canary.load(str(tmp_path / "missing"))


def test_a_failing_canary_is_seen_and_does_not_stop_the_service(tmp_path: Path) -> None:
    """In readiness and metrics; and its answers are not counted as people's."""
    path = tmp_path / "questions.jsonl"
    lost = GOOD.model_copy(update={"id": "lost", "document": "gone"})
    path.write_text("\n".join(json.dumps(case.model_dump(mode="json")) for case in (GOOD, lost)), encoding="utf-8")
    vauban = parts(tmp_path, canary=str(path))
    app = create_app(vauban)
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        asked = app.state.service.canary
        while asked.last is None:
            time.sleep(0.01)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["state"]) == (200, "degraded")
        assert ready.json()["parts"]["canary"] == "degraded"
        assert ready.json()["canary"] == {"conge": "passed", "lost": "wrong_passages"}
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
        }
    assert found["vauban_canary_cases", "passed"] == found["vauban_canary_cases", "wrong_passages"] == 1
    assert found["vauban_canary_rounds_total",] == 1
    assert sum(value for (name, *_), value in found.items() if name == "vauban_answers_total") == 0
    vauban.catalog.close()
