"""Turns at a model: who is next, what those who wait are told, who is refused, and that nobody starves."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from heapq import heapify, heappop, heappush
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import problems
from rag.errors import Cancelled, GenerationError, Overloaded
from rag.queue import WAITS, Line, Ticket, Turns
from rag.types import Told, Waiting


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all have as much, 1/n when one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def called(line: Line) -> Ticket:
    """Begin the first turn in line."""
    ticket = min(line.positions(), key=line.positions().__getitem__)
    line.begin(ticket)
    return ticket


def served(line: Line) -> list[str]:
    """Whose turns come, one at a time, until nobody is in line."""
    order = []
    while len(line):
        ticket = called(line)
        order.append(ticket.owner)
        line.end(ticket.owner)
    return order


# --- who is next -----------------------------------------------------------------------------------------


def test_turns_go_round_people_and_not_requests() -> None:
    """One person's ten questions do not keep another's one waiting."""
    line = Line()
    for owner in ["anne"] * 4 + ["paul"] * 2 + ["rose"]:
        line.join(owner)
    assert served(line) == ["anne", "paul", "rose", "anne", "paul", "anne", "anne"]


def test_one_persons_questions_keep_their_order() -> None:
    """Within one person, first come, first served."""
    line = Line()
    tickets = [line.join("anne") for _ in range(5)]
    assert [called(line) for _ in tickets] == tickets


def test_who_is_being_served_stands_behind_a_newcomer() -> None:
    """Anne writes and has more in line; Paul comes later and is next."""
    line = Line()
    first, _, _ = line.join("anne"), line.join("anne"), line.join("anne")
    line.begin(first)
    paul = line.join("paul")
    assert line.positions()[paul] == 1


def test_who_leaves_and_comes_back_gains_nothing() -> None:
    """A new place in line is at its end."""
    line = Line()
    anne, _ = line.join("anne"), line.join("paul")
    line.leave(anne)
    anne = line.join("anne")
    assert line.positions()[anne] == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("next"), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_newcomer_waits_for_at_most_one_turn_of_each_other_person(steps: list[tuple[str, int]]) -> None:
    """Whatever happens: the turn under way, then at most one of each person who was in line when he came."""
    line = Line()
    under_way: Ticket | None = None
    bound: dict[Ticket, Counter[str]] = {}

    def turn() -> None:
        nonlocal under_way
        if under_way is not None:
            line.end(under_way.owner)
        under_way = called(line) if len(line) else None
        if under_way is not None:
            bound.pop(under_way, None)
            for allowance in bound.values():
                allowance[under_way.owner] -= 1
                assert allowance[under_way.owner] >= 0, "somebody went ahead of whom he should not"

    for step, number in steps:
        waiting = list(line.positions())
        if step == "join":
            owner = f"person {number}"
            new = not line.waiting(owner) and (under_way is None or under_way.owner != owner)
            before = Counter({ticket.owner: 1 for ticket in waiting})
            ticket = line.join(owner)
            if new:
                bound[ticket] = before
        elif step == "leave" and waiting:
            ticket = waiting[number % len(waiting)]
            line.leave(ticket)
            bound.pop(ticket, None)
        elif step == "next":
            turn()
        assert sorted(line.positions().values()) == list(range(1, len(line) + 1))
    while len(line):
        turn()
    assert not bound


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4), STEPS)
def test_the_place_of_who_asks_one_thing_never_gets_worse(places: int, steps: list[tuple[str, int]]) -> None:
    """Whatever others do, at any number of places: nobody passes who has nothing else in line or under way."""
    line = Line()
    under_way: list[Ticket] = []
    told: dict[Ticket, int] = {}
    for step, number in steps:
        waiting = list(line.positions())
        if step == "join":
            owner = f"person {number}"
            alone = not line.waiting(owner) and owner not in [ticket.owner for ticket in under_way]
            if not alone:  # and from now on the one before is not alone either
                told = {ticket: place for ticket, place in told.items() if ticket.owner != owner}
            ticket = line.join(owner)
            if alone:
                told[ticket] = line.positions()[ticket]
        elif step == "leave" and waiting:
            line.leave(waiting[number % len(waiting)])
        elif step == "next":
            if len(under_way) == places:
                line.end(under_way.pop(0).owner)
            if len(line):
                under_way.append(called(line))
        now = line.positions()
        told = {ticket: place for ticket, place in told.items() if ticket in now}
        for ticket, place in told.items():
            assert now[ticket] <= place, "somebody passed whom he should not"
            told[ticket] = now[ticket]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_the_position_told_is_the_order_of_the_turns(owners: list[int]) -> None:
    """Nobody comes, nobody leaves: turns are given exactly as the positions said."""
    line = Line()
    for owner in owners:
        line.join(f"person {owner}")
    called_first = called(line)
    promised = list(line.positions())
    order = []
    last = called_first
    while len(line):
        line.end(last.owner)
        last = called(line)
        order.append(last)
    assert order == promised


def test_sixteen_people_and_one_who_asks_fifty_times_get_equal_shares() -> None:
    """While all ask, nobody has more turns than another, and none waits longer than a round."""
    line, under_way = Line(), None
    turns: Counter[str] = Counter()
    asked: dict[Ticket, int] = {}
    worst = 0
    for _ in range(50):
        line.join("abuser")
    for number in range(15):
        asked[line.join(f"person {number}")] = 0
    for now in range(1, 161):  # each turn takes as long; each person asks again as soon as he is answered
        if under_way is not None:
            line.end(under_way.owner)
            asked[line.join(under_way.owner)] = now
        under_way = called(line)
        turns[under_way.owner] += 1
        if under_way.owner != "abuser":
            worst = max(worst, now - asked[under_way])
    assert jain(list(turns.values())) > 0.99
    assert worst <= 16


def waits(*, abused: bool, fair: bool = True, people: int = 4, seconds: float = 8000.0) -> list[float]:
    """How long people wait who think for half a minute and take turns of 2 to 6 seconds, sorted; in simulated time.

    ``abused``, somebody else always has 50 requests asked, whose turns take the longest; not ``fair``, turns are
    given in the order of asking.
    """
    random, line = Random(1), Line()
    came: dict[Ticket, float] = {}
    found: list[float] = []
    under_way = False
    events = [(random.expovariate(1 / 30), number, f"person {number}", False) for number in range(people)]
    events += [(0.0, people + number, "abuser", False) for number in range(50 if abused else 0)]
    heapify(events)
    now, number = 0.0, len(events)
    while events and now < seconds:
        now, _, owner, ends = heappop(events)
        number += 1
        if ends:
            line.end(owner)
            under_way = False
            pause = 0.0 if owner == "abuser" else random.expovariate(1 / 30)
            heappush(events, (now + pause, number, owner, False))
        else:
            came[line.join(owner)] = now
        if len(line) and not under_way:
            ticket = min(line.positions(), key=line.positions().__getitem__ if fair else list(came).index)
            asked = came.pop(ticket)
            line.begin(ticket)
            under_way = True
            number += 1
            heappush(
                events, (now + (6.0 if ticket.owner == "abuser" else random.uniform(2, 6)), number, ticket.owner, True)
            )
            if ticket.owner != "abuser":
                found.append(now - asked)
    return sorted(found)


def test_an_abuser_at_most_doubles_the_time_to_the_first_word_of_others() -> None:
    """At the 95th percentile, two seconds of reading included, which on a processor is at least half of a turn.

    In the order of asking it would be tens of times as long.
    """
    quiet, fair, unfair = (
        found[int(0.95 * len(found))] + 2.0
        for found in (waits(abused=False), waits(abused=True), waits(abused=True, fair=False))
    )
    assert fair <= 2 * quiet
    assert unfair > 10 * quiet


# --- what is told and who is refused ---------------------------------------------------------------------


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_the_estimate_comes_from_measured_turns_and_is_never_negative() -> None:
    """None before a turn was measured; then what is left of the one under way, and one turn for each before."""
    clock = Clock()
    turns = Turns(8, clock=clock)
    told: list[Told] = []

    def look() -> None:
        before = len(told)
        with suppress(Cancelled), turns.turn(lambda: len(told) > before, told.append, "paul"):
            pass

    with turns.turn():
        look()
        clock.now = 10.0
    for elapsed in (4.0, 50.0):
        with turns.turn():
            clock.now += elapsed
            look()
            clock.now += 10.0 - elapsed
    assert told == [Waiting(1, None), Waiting(1, 6.0), Waiting(1, 0.0)]


def test_the_mean_follows_recent_turns() -> None:
    """Turns that have become longer are noticed."""
    clock = Clock()
    turns = Turns(8, clock=clock)
    for length in [1.0] * 5 + [9.0] * 15:
        with turns.turn():
            clock.now += length
    assert turns.state.seconds == pytest.approx(9.0, abs=0.5)


@pytest.fixture
def crowd() -> Callable[[Turns, Sequence[str]], ExitStack]:
    """Fill a queue: the first of the owners is served, the others wait until the block is left."""

    def fill(turns: Turns, owners: Sequence[str]) -> ExitStack:
        stack = ExitStack()
        pool = stack.enter_context(ThreadPoolExecutor(len(owners)))
        leave = threading.Event()
        stack.callback(leave.set)

        def wait(owner: str) -> None:
            with suppress(Cancelled), turns.turn(leave.is_set, owner=owner):
                leave.wait(20)

        def there(many: int) -> bool:
            return turns.state.waiting + turns.state.serving == many

        for number, owner in enumerate(owners):
            pool.submit(wait, owner)
            wait_for(partial(there, number + 1))
        return stack

    return fill


def test_one_person_may_not_fill_the_line(crowd: Callable[[Turns, Sequence[str]], ExitStack]) -> None:
    """His share is used up, he is told so, and another still gets in line."""
    turns = Turns(4, per_owner=2)
    with crowd(turns, ["anne"] * 3):
        with pytest.raises(Overloaded, match="2 of your questions") as refused, turns.turn(owner="anne"):
            pass
        assert refused.value.code == "too_many_of_yours"
        with pytest.raises(Cancelled), turns.turn(lambda: True, owner="paul"):
            pass
    assert (turns.state.refused, turns.state.per_owner) == (1, 2)


def test_a_full_line_names_its_limit_and_when_to_come_back(
    crowd: Callable[[Turns, Sequence[str]], ExitStack],
) -> None:
    """The estimate is when the next turn begins."""
    clock = Clock()
    turns = Turns(2, clock=clock)
    with turns.turn():
        clock.now += 10.0
    with crowd(turns, ["anne", "paul", "rose"]):
        clock.now += 4.0
        with pytest.raises(Overloaded, match="2 questions already wait") as refused, turns.turn(owner="jean"):
            pass
        assert refused.value.retry_after == 6.0
        clock.now += 60.0
        with pytest.raises(Overloaded) as refused, turns.turn(owner="jean"):
            pass
        assert refused.value.retry_after == 0.0


def test_the_state_counts(crowd: Callable[[Turns, Sequence[str]], ExitStack]) -> None:
    """People and requests in line, turns, waits by class, and who left."""
    turns = Turns(8, per_owner=4)
    with crowd(turns, ["anne", "anne", "anne", "paul"]):
        state = turns.state
        assert (state.waiting, state.owners, state.serving, state.places, state.limit) == (3, 2, 1, 1, 8)
    state = turns.state
    assert (state.waiting, state.owners, state.serving) == (0, 0, 0)
    assert state.began + state.left == 4
    assert sum(state.waits) == state.began
    assert len(state.waits) == len(WAITS) + 1


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_whoever_waits_leaves_at_once(end: str, crowd: Callable[[Turns, Sequence[str]], ExitStack]) -> None:
    """By pressing stop, by a deadline, or because the model is closed; nobody is served for him."""
    turns = Turns(8)
    flag = threading.Event()
    with crowd(turns, ["anne"]):
        timer = threading.Timer(0.2, flag.set if end == "cancel" else turns.close)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Cancelled if end == "cancel" else GenerationError), turns.turn(flag.is_set, owner="paul"):
            pytest.fail("it was somebody else's turn")
        assert time.monotonic() - started < 1.5
        timer.join()
        assert turns.length == 0


def test_a_listener_that_fails_loses_its_own_place_only() -> None:
    """The line does not keep a place for somebody who is not there."""
    turns = Turns(8)

    def fails(told: Told) -> None:
        raise RuntimeError(str(told))

    with turns.turn(owner="anne"):
        with pytest.raises(RuntimeError), turns.turn(told=fails, owner="paul"):
            pass
        assert turns.length == 0
    with turns.turn(owner="paul"):
        assert turns.state.serving == 1


@pytest.mark.parametrize(("estimate", "said"), [(None, "5"), (0.0, "1"), (6.2, "7")])
def test_retry_after_is_the_estimate(estimate: float | None, said: str) -> None:
    """Whole seconds, at least one; a fixed number before anything was measured."""
    full = problems.response(Overloaded("full", "pleine", retry_after=estimate), "fr")
    assert (full.status_code, full.headers["Retry-After"]) == (429, said)
