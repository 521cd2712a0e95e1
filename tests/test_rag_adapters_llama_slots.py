"""Which slot a prompt goes to, and how much of it may be there already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag.adapters.llama_slots import WORTH, Bank, Request, Slot, choose, common_length

SYSTEM = tuple(range(10))


def request(owner: str, *words: int, system: tuple[int, ...] = SYSTEM) -> Request:
    return Request((*system, *words), len(system), owner)


def slot(number: int, held: Request | None = None, *, busy: bool = False, used: float = 0.0) -> Slot:
    if held is None:
        return Slot(number, busy=busy, used=used)
    return Slot(number, held.owner, held.tokens, len(held.shared), busy=busy, used=used)


def test_another_owner_may_find_the_system_message_and_no_more() -> None:
    """Even where the prompts are the same, word for word."""
    assert slot(0, request("ada", 1, 2, 3)).allows(request("bob", 1, 2, 3)) == len(SYSTEM)
    assert slot(0).allows(request("bob", 1, 2, 3)) == len(SYSTEM), "whose prompt it holds is not known"


def test_the_same_owner_may_find_what_was_sent_before() -> None:
    """Up to where the prompts part; what was written after it counts when the new prompt goes on from there."""
    held = slot(0, request("ada", 1, 2, 3))
    assert held.allows(request("ada", 1, 2, 9, 9)) == len(SYSTEM) + 2
    assert held.allows(request("ada", 1, 2, 3, 9, 9)) == len(SYSTEM) + 5


def test_without_a_system_message_one_token_may_be_there() -> None:
    """The template's first word, because a slot cannot be cut back to nothing."""
    assert slot(0, request("ada", 1, 2, system=())).allows(request("bob", 1, 2, system=())) == 1


def test_a_prompt_goes_where_its_owners_last_one_is() -> None:
    """To a busier server even, when it saves a passage; for a few words it does not."""
    long = tuple(range(100, 100 + WORTH))
    busy = Bank([slot(0, request("eve"), busy=True), slot(1, request("ada", *long))])
    idle = Bank([slot(0), slot(1)])
    assert choose([idle, busy], request("ada", *long, 7)) == (busy, busy.slots[1])
    few = Bank([slot(0, request("eve"), busy=True), slot(1, request("ada", 5))])
    assert choose([few, idle], request("ada", 5, 7)) == (idle, idle.slots[0])


def test_others_go_to_the_least_loaded_server_and_displace_the_oldest() -> None:
    """Load is the busy share of the slots: a larger server takes more."""
    large = Bank([slot(n, busy=n == 0, used=9 - n) for n in range(4)])
    small = Bank([slot(0, busy=True), slot(1)])
    assert choose([small, large], request("bob", 1)) == (large, large.slots[3])


def test_a_busy_slot_is_never_chosen() -> None:
    """Not for its owner either."""
    mine = request("ada", *range(100, 300))
    assert choose([Bank([slot(0, mine, busy=True)])], mine) is None
    assert choose([], mine) is None


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_the_common_beginning_is_the_longest(left: list[int], right: list[int]) -> None:
    """Both begin with so many tokens, and not with one more."""
    length = common_length(left, right)
    assert left[:length] == right[:length]
    assert left[: length + 1] != right[: length + 1] or length == min(len(left), len(right))
