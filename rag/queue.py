"""Turns at a model, fair between people, with a position and an estimate that callers can show.

A model's context serves one request at a time (a server has a few slots). Turns go round the people in line and not
round their requests: ten questions of one person do not keep another's one waiting. :class:`Line` decides who is next
and knows neither threads nor time; :class:`Turns` makes callers wait for it.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rag.errors import Cancelled, GenerationError, Overloaded
from rag.types import Told, Waiting

POLL: Final = 0.1
"""Seconds between two looks at ``cancelled`` while waiting: quick to leave, and no load."""
RECENT: Final = 0.2
"""The weight of the last turn in the mean length of recent ones: a dozen turns make a new mean."""
WAITS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds, in seconds, of the classes in which waits are counted; one more class has no bound."""


def never() -> bool:
    """Not cancelled."""
    return False


def nobody(told: Told) -> None:
    """Tell no one."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment, in numbers: ``waiting`` requests of ``owners`` people, ``serving`` at ``places``.

    ``limit`` and ``per_owner`` are the most that may wait, in all and of one person. ``seconds`` is the mean length of
    recent turns, ``None`` before the first has ended. The others count since the start: turns that ``began``, those
    who ``left`` while waiting, requests ``refused``, ``waits`` by the classes of :data:`WAITS`, ``waited`` seconds.
    """

    waiting: int
    owners: int
    serving: int
    places: int
    limit: int
    per_owner: int
    seconds: float | None
    began: int
    left: int
    refused: int
    waits: tuple[int, ...]
    waited: float


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """One place in the line."""

    owner: str


@dataclass(slots=True, eq=False)
class _Person:
    """One owner in line or being served; ``since`` orders people by when they came or were last served.

    ``late`` is who was just served and has more in line: whoever comes during the next turn goes first.
    """

    since: int
    serving: int = 0
    late: bool = False
    tickets: deque[Ticket] = field(default_factory=deque)


class Line:
    """Who is next: the person with the fewest turns under way, then who came or was served the longest ago.

    One person's tickets keep their order. With one place, who has nothing else in line or under way waits for the
    turn under way and at most one turn of each other person in line at that moment; those who come later, and those
    who ask again, stand behind. So the position of who has nothing else in line or under way never gets worse, however
    many places there are. Who keeps several requests lets pass those who come while a turn of theirs or the one after
    it is under way, and nobody else: also who broke one off and asks again before the model has let go of it. The same
    calls give the same order.
    """

    def __init__(self) -> None:
        self._people: dict[str, _Person] = {}
        self._events = 0
        self._positions: dict[Ticket, int] | None = {}

    def __len__(self) -> int:
        return sum(len(person.tickets) for person in self._people.values())

    @property
    def owners(self) -> int:
        """How many people are in line."""
        return sum(1 for person in self._people.values() if person.tickets)

    def waiting(self, owner: str) -> int:
        """How many tickets of ``owner`` are in line."""
        person = self._people.get(owner)
        return len(person.tickets) if person else 0

    def join(self, owner: str) -> Ticket:
        """A ticket at the end of the line of ``owner``."""
        ticket = Ticket(owner)
        person = self._people.setdefault(owner, _Person(self._now()))
        if not person.tickets:
            person.since = self._now()
        person.tickets.append(ticket)
        self._positions = None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a ticket that was not called."""
        self._people[ticket.owner].tickets.remove(ticket)
        self._forget(ticket.owner)

    def begin(self, ticket: Ticket) -> None:
        """The turn of ``ticket``, the first in line, begins."""
        person = self._people[ticket.owner]
        person.tickets.remove(ticket)
        person.serving += 1
        self._positions = None

    def end(self, owner: str) -> None:
        """A turn of ``owner`` is over."""
        person = self._people[owner]
        person.serving -= 1
        for other in self._people.values():
            if other.late:
                other.since, other.late = self._now(), False
        person.since, person.late = self._now(), bool(person.tickets)
        self._forget(owner)

    def positions(self) -> dict[Ticket, int]:
        """Everyone in line, in the order in which turns would be given from now on, with their places from 1."""
        if self._positions is None:
            ranked = sorted(
                (person.serving + place, person.late, person.since, number, ticket)
                for number, person in enumerate(self._people.values())
                for place, ticket in enumerate(person.tickets)
            )
            self._positions = {entry[-1]: number for number, entry in enumerate(ranked, start=1)}
        return self._positions

    def _now(self) -> int:
        self._events += 1
        return self._events

    def _forget(self, owner: str) -> None:
        person = self._people[owner]
        if not person.tickets and not person.serving:
            del self._people[owner]
        self._positions = None


class Turns:
    """``places`` callers at once, up to ``limit`` more in line, of whom at most ``per_owner`` of one person.

    The order is that of :class:`Line`. Whoever stops waiting leaves the line at once.
    """

    def __init__(
        self,
        limit: int,
        places: int = 1,
        *,
        per_owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._per_owner = limit if per_owner is None else min(per_owner, limit)
        self._places = places
        self._clock = clock
        self._line = Line()
        self._begun: dict[Ticket, float] = {}
        self._seconds: float | None = None
        self._began = self._left = self._refused = 0
        self._waits = [0] * (len(WAITS) + 1)
        self._waited = 0.0
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(
        self, cancelled: Callable[[], bool] = never, told: Callable[[Told], None] = nobody, owner: str = ""
    ) -> Iterator[None]:
        """Wait for a place, hold it for the block, give it to the next one.

        ``told`` hears the position, 1 being next, when the wait begins and whenever it changes, with an estimate once
        a turn has been measured.

        Raises:
            Overloaded: the line is full, or ``owner``'s share of it.
            Cancelled: ``cancelled`` said so while waiting.
            GenerationError: the model was closed.
        """
        ticket = self._enter(owner, cancelled, told)
        try:
            yield
        finally:
            with self._changed:
                spent = self._clock() - self._begun.pop(ticket)
                self._seconds = spent if self._seconds is None else self._seconds + RECENT * (spent - self._seconds)
                self._line.end(owner)
                self._changed.notify_all()

    def close(self, patience: float = 0.0) -> None:
        """Send away everyone in line and refuse newcomers; wait up to ``patience`` seconds for those being served."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._begun, patience)

    def resize(self, places: int) -> None:
        """Serve ``places`` at once from now on; those who are being served go on, and with 0 nobody else begins."""
        with self._changed:
            self._places = places
            self._changed.notify_all()

    @property
    def length(self) -> int:
        """How many are in line now."""
        with self._changed:
            return len(self._line)

    @property
    def state(self) -> QueueState:
        """The numbers of this moment."""
        with self._changed:
            return QueueState(
                waiting=len(self._line),
                owners=self._line.owners,
                serving=len(self._begun),
                places=self._places,
                limit=self._limit,
                per_owner=self._per_owner,
                seconds=self._seconds,
                began=self._began,
                left=self._left,
                refused=self._refused,
                waits=tuple(self._waits),
                waited=self._waited,
            )

    def _enter(self, owner: str, cancelled: Callable[[], bool], told: Callable[[Told], None]) -> Ticket:
        with self._changed:
            self._require_open()
            came = self._clock()
            free = len(self._begun) < self._places and not len(self._line)
            if not free:
                self._admit(owner)
            ticket = self._line.join(owner)
            if free:
                self._begin(ticket, came)
                return ticket
            self._changed.notify_all()  # others' positions may have changed
        try:
            self._wait(ticket, came, cancelled, told)
        except BaseException:  # whatever ends the wait, the place in line is given up; it is raised again
            with self._changed:
                self._line.leave(ticket)
                self._left += 1
                self._changed.notify_all()
            raise
        return ticket

    def _wait(self, ticket: Ticket, came: float, cancelled: Callable[[], bool], told: Callable[[Told], None]) -> None:
        known = 0
        while True:
            with self._changed:
                self._require_open()
                position = self._line.positions()[ticket]
                if position == 1 and len(self._begun) < self._places:
                    self._begin(ticket, came)
                    return
                seconds = self._estimate(position)
                if position == known:
                    self._changed.wait(POLL)
            # The callbacks are the caller's code and run without the lock.
            if cancelled():
                raise Cancelled("cancelled while waiting", "annulé pendant l’attente")
            if position != known:
                told(Waiting(position, seconds))
                known = position

    def _begin(self, ticket: Ticket, came: float) -> None:
        now = self._clock()
        self._line.begin(ticket)
        self._begun[ticket] = now
        self._began += 1
        self._waits[bisect_left(WAITS, now - came)] += 1
        self._waited += now - came
        self._changed.notify_all()

    def _estimate(self, position: int) -> float | None:
        """Seconds until the turn of who stands at ``position``: what is left of a turn of mean length under way, and
        one more for each before."""
        if self._seconds is None:
            return None
        longest = self._clock() - min(self._begun.values(), default=self._clock())
        return max(self._seconds - longest, 0.0) + (position - 1) / max(self._places, 1) * self._seconds

    def _admit(self, owner: str) -> None:
        """Refuse who may not join the line."""
        if self._line.waiting(owner) >= self._per_owner < self._limit:
            self._refused += 1
            first = min(position for ticket, position in self._line.positions().items() if ticket.owner == owner)
            raise Overloaded(
                f"{self._per_owner} of your questions already wait for the writing model; wait for an answer, "
                "or stop one of them",
                f"{self._per_owner} de vos questions attendent déjà le modèle de rédaction ; attendez une réponse, "
                "ou arrêtez l’une d’elles",
                code="too_many_of_yours",
                retry_after=self._estimate(first),
            )
        if len(self._line) >= self._limit:
            self._refused += 1
            raise Overloaded(
                f"{self._limit} questions already wait for the writing model; try again in a moment",
                f"{self._limit} questions attendent déjà le modèle de rédaction ; réessayez dans un instant",
                retry_after=self._estimate(1),
            )

    def _require_open(self) -> None:
        if self._closed:
            raise GenerationError("the writing model is closed", "le modèle de rédaction est arrêté")
