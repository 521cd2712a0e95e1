"""Questions with known answers, asked by schedule of the live system: what breaks is seen before people see it.

They are asked by nobody in particular, who sees what everyone may see, or some groups that a setting names; never
while a person is waiting for an answer, and given up when one comes. They do not count as answers of people, and what
they find not as found by people.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag import lexical
from rag.engine import Engine
from rag.errors import Cancelled, SettingsError, VaubanError
from rag.types import Access, Answer, Event, Principal, Question, Status

log = logging.getLogger("vauban.canary")

NAME: Final = "canary"
SAMPLES: Final = "samples"
"""The value of the setting that names the questions that Vauban ships for its sample corpora."""
SHIPPED: Final = Path(__file__).parent / "data" / "canary.jsonl"
YIELDED: Final = 30.0
"""Seconds until the next try when people were being answered."""
TIME: Final = 60.0
"""Seconds that the writing model may take for one of these questions; then it is judged by its extracts."""
MOST: Final = 100
"""Questions of a set: more would keep the model from people."""


class Outcome(StrEnum):
    """How one question, or one round of all, ended; a closed list."""

    PASSED = "passed"
    WRONG_STATUS = "wrong_status"
    WRONG_PASSAGES = "wrong_passages"
    """The text that answers is not among the passages."""
    ERROR = "error"


class CanaryState(StrEnum):
    """What the last whole round says; a closed list."""

    WAITING = "waiting"
    """There was none yet."""
    PASSED = "passed"
    FAILED = "failed"


class Case(BaseModel):
    """One question: which ways to end are right, and which document, and article of it, must be among the passages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    question: str = Field(min_length=1, max_length=4_000)
    status: tuple[Status, ...] = (Status.ANSWERED, Status.EXTRACTS)
    corpus: str | None = None
    document: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round: how each question ended, by its id, when it ended (seconds since 1970), and how long it took."""

    outcomes: dict[str, Outcome]
    ended: float
    seconds: float

    @property
    def passed(self) -> bool:
        return all(outcome is Outcome.PASSED for outcome in self.outcomes.values())


def load(where: str) -> tuple[Case, ...]:
    """The questions of a JSON Lines file, or those that are shipped for :data:`SAMPLES`.

    Raises:
        SettingsError: it cannot be read, or a line is not as it must be; the message names it.
    """
    path = SHIPPED if where == SAMPLES else Path(where).expanduser()
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the canary questions in {path} (VAUBAN_CANARY) cannot be read",
            f"les questions témoins de {path} (VAUBAN_CANARY) sont illisibles",
        ) from error
    cases = [_case(line, number, path) for number, line in enumerate(lines, start=1)]
    if not cases or len(cases) > MOST or len({case.id for case in cases}) < len(cases):
        raise SettingsError(
            f"{path} (VAUBAN_CANARY) must hold 1 to {MOST} questions, each with its own id",
            f"{path} (VAUBAN_CANARY) doit contenir de 1 à {MOST} questions, chacune avec son identifiant",
        )
    return tuple(cases)


def _case(line: str, number: int, path: Path) -> Case:
    try:
        return Case.model_validate_json(line)
    except ValidationError as error:
        at = ".".join(str(part) for part in error.errors()[0]["loc"]) or "JSON"
        raise SettingsError(
            f"line {number} of {path} (VAUBAN_CANARY) is wrong: {at}",
            f"la ligne {number} de {path} (VAUBAN_CANARY) est incorrecte : {at}",
        ) from error


def asker(groups: Collection[str] = ()) -> Principal:
    """Who asks: nobody in particular, who sees what is public, and what ``groups`` may see."""
    return Principal(NAME, frozenset(groups), access=Access.SERVER)


def judged(case: Case, answer: Answer) -> Outcome:
    """Whether an answer is what its case expects."""
    if answer.status not in case.status:
        return Outcome.WRONG_STATUS
    found = [
        passage.chunk
        for passage in answer.passages
        if case.document in {None, passage.chunk.document} and case.corpus in {None, passage.chunk.corpus}
    ]
    if case.reference is not None:
        wanted = re.compile(rf"{re.escape(lexical.fold(case.reference))}(?!\w)")
        found = [chunk for chunk in found if wanted.match(lexical.fold(chunk.reference))]
    expects = (case.document, case.reference) != (None, None)
    return Outcome.WRONG_PASSAGES if expects and not found else Outcome.PASSED


Recorded = Callable[[Question, Iterator[Event]], Iterator[Event]]
"""Takes down an answer as it is made: passes its events on."""


def unrecorded(question: Question, events: Iterator[Event]) -> Iterator[Event]:
    """Nobody takes it down."""
    del question
    return events


class Canary:
    """Asks ``cases`` of the engine of the moment, a round every ``minutes``, while ``busy`` says that nobody waits.

    ``recorded`` takes each answer down like anybody's, under the owner of :func:`asker`.

    :meth:`due` does what is due at a moment; :meth:`start` calls it in a thread of its own until :meth:`close`.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        engine: Callable[[], Engine],
        *,
        minutes: float,
        groups: Collection[str] = (),
        busy: Callable[[], bool],
        recorded: Recorded = unrecorded,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cases = cases
        self._engine = engine
        self._every = minutes * 60
        self._asker = asker(groups)
        self._busy = busy
        self._recorded = recorded
        self._clock = clock
        self._next = clock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.last: Round | None = None
        self.rounds = 0
        self.put_off = 0

    @property
    def state(self) -> CanaryState:
        if self.last is None:
            return CanaryState.WAITING
        return CanaryState.PASSED if self.last.passed else CanaryState.FAILED

    def due(self) -> float:
        """Run a round if it is time for one; seconds until there may be something to do again."""
        now = self._clock()
        if now < self._next:
            return self._next - now
        done = self._round()
        if done is None:
            self.put_off += 1
            self._next = self._clock() + YIELDED
        else:
            self.last, self.rounds = done, self.rounds + 1
            self._next = now + self._every
            self._tell(done)
        return max(self._next - self._clock(), 0.0)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give up the round under way; to be called once."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(YIELDED)

    def _run(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            wait = self.due()

    def _stopped(self) -> bool:
        return self._closing.is_set() or self._busy()

    def _round(self) -> Round | None:
        """All questions, one after the other; ``None`` when a person came in between."""
        began = self._clock()
        outcomes: dict[str, Outcome] = {}
        for case in self._cases:
            if self._stopped():
                return None
            try:
                outcomes[case.id] = judged(case, self._asked(case))
            except Cancelled:
                return None
            except VaubanError as error:
                log.warning("canary question failed: %s", error.code)
                outcomes[case.id] = Outcome.ERROR
            except Exception as error:  # noqa: BLE001 a defect that a question reveals is what this is for
                log.error("canary question failed: %s", type(error).__name__)
                outcomes[case.id] = Outcome.ERROR
        return Round(outcomes, time.time(), self._clock() - began)

    def _asked(self, case: Case) -> Answer:
        corpora = None if case.corpus is None else (case.corpus,)
        *_, last = self._events(Question(case.question, self._asker, corpora))
        assert isinstance(last, Answer)
        return last

    def _events(self, question: Question) -> Iterator[object]:
        events = self._engine().answer(question, cancelled=self._stopped, seconds=TIME, counted=False)
        yield from self._recorded(question, events)

    def _tell(self, done: Round) -> None:
        wrong = {case: outcome.value for case, outcome in done.outcomes.items() if outcome is not Outcome.PASSED}
        fields = {"passed": len(done.outcomes) - len(wrong), "failed": len(wrong), "seconds": round(done.seconds, 2)}
        if wrong:
            named = ",".join(f"{case}:{outcome}" for case, outcome in wrong.items())
            log.warning("canary failed", extra={**fields, "cases": named})
        else:
            log.info("canary passed", extra=fields)
