"""The circuit breaker: when it opens, for how long, and what one probe decides."""

from __future__ import annotations

import pytest

from rag.circuit import Circuit, CircuitState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(failures=3, pause=1.0, longest=4.0, clock=clock)


def state(circuit: Circuit) -> CircuitState:
    return circuit.state


def test_failures_in_a_row_open_it(circuit: Circuit) -> None:
    """Two are forgiven, and a success between them forgets them."""
    circuit.fail()
    circuit.fail()
    circuit.succeed()
    circuit.fail()
    circuit.fail()
    assert state(circuit) is CircuitState.CLOSED
    circuit.fail()
    assert state(circuit) is CircuitState.OPEN


def test_a_fatal_failure_opens_it_at_once(circuit: Circuit) -> None:
    """A server that is gone need not be asked three times."""
    circuit.fail(fatal=True)
    assert state(circuit) is CircuitState.OPEN


def test_the_probe_decides_and_the_pauses_grow(circuit: Circuit, clock: Clock) -> None:
    """After each failed probe the pause doubles, up to the longest; failures during a pause add nothing."""
    circuit.fail(fatal=True)
    for pause in (1.0, 2.0, 4.0, 4.0):
        circuit.fail(fatal=True)
        clock.now += pause - 0.01
        assert state(circuit) is CircuitState.OPEN
        clock.now += 0.01
        assert state(circuit) is CircuitState.HALF_OPEN
        circuit.fail()
        assert state(circuit) is CircuitState.OPEN
    clock.now += 4.0
    circuit.succeed()
    assert state(circuit) is CircuitState.CLOSED
    circuit.fail(fatal=True)
    clock.now += 1.0
    assert state(circuit) is CircuitState.HALF_OPEN, "a success makes the first pause short again"
