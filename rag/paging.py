"""Lists a page at a time, the same way for every list of the API.

A caller asks for ``limit`` items, and for the next page sends as ``after`` what the page before gave as ``next``.
A cursor names the place of the last item in the order of the list, and nothing else: the rows after it are chosen by
who asks, so that a forged cursor shows nobody more than a right one, and one whose item is gone still works.

A list is read with one item more than asked for, which tells whether there is another page::

    def list_things(service: Served, principal: Caller, limit: Limit = USUAL, after: After = None) -> schemas.Things:
        start = place(after, str, int)
        found = page(things(start, limit + 1), limit, lambda thing: (thing.name, thing.number))
        return schemas.Things(data=[...], has_more=found.more, next=found.next)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Query

from rag.errors import BadRequest

USUAL: Final = 20
MOST: Final = 100
_LONGEST: Final = 4_000
"""Characters of a cursor: the id of a document may be long, and each of its letters several bytes."""
_LARGEST: Final = 2**63

Item = TypeVar("Item")
Key = str | int

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
After = Annotated[
    str | None,
    Query(min_length=1, max_length=_LONGEST, description="`next` of the page before; without it, the first page."),
]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, in order; ``next`` is the cursor of what follows, ``None`` at the end."""

    items: tuple[Item, ...]
    next: str | None = None

    @property
    def more(self) -> bool:
        return self.next is not None


def page(found: Sequence[Item], limit: int, key: Callable[[Item], tuple[Key, ...]]) -> Page[Item]:
    """The first ``limit`` of ``found``, which holds one more where there is another page; ``key`` is its order's."""
    items = tuple(found[:limit])
    return Page(items, cursor(*key(items[-1])) if len(found) > limit else None)


def cursor(*key: Key) -> str:
    """The place of an item in its list, for a URL."""
    written = json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def place(given: str | None, *kinds: type[Key]) -> tuple[Key, ...] | None:
    """The key that a cursor names, of values of these ``kinds``; ``None`` at the beginning of a list.

    Raises:
        BadRequest: it is no cursor of such a list.
    """
    if given is None:
        return None
    try:
        key = json.loads(base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True))
        if not isinstance(key, list) or [type(value) for value in key] != list(kinds):
            raise ValueError("another list's")
        for value in key:
            if isinstance(value, str):
                value.encode()  # JSON can spell half a character, and none; no database could compare those
                if "\0" in value:
                    raise ValueError("no text of a database")
            elif not -_LARGEST <= value < _LARGEST:
                raise ValueError("no number of a database")
    except (ValueError, RecursionError) as error:
        raise invalid() from error
    return tuple(key)


def invalid() -> BadRequest:
    """What is said of a cursor that no page of the list has given."""
    return BadRequest(
        "`after` is no place in this list; send the `next` of the page before, unchanged",
        "« after » n'est pas une position de cette liste ; envoyez le « next » de la page précédente, inchangé",
        code="invalid_cursor",
    )
