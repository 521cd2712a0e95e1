"""On what an admitted request stands: who calls, and the credential that says so, which can be looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rag.types import Access, Principal, Role


class Source(StrEnum):
    """What told who calls; a closed list."""

    LOCAL = "local"
    """Nothing: this machine is used without login."""
    SHARED = "shared"
    """The one key of the setting ``api_key``."""
    SERVER = "server"
    """The token of ``server.json``."""
    KEY = "key"
    """A key of the table; ``reference`` is its id."""
    SESSION = "session"
    """A browser that signed in; ``reference`` is the stored name of its session."""
    STATED = "stated"
    """An identity provider's token, or a trusted proxy: the principal is what they said."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who calls, why that is believed, and until when at most (seconds since 1970).

    ``ambient`` credentials are sent by a browser unasked, so that a page of another site could make it call.
    """

    principal: Principal
    source: Source
    reference: str = ""
    until: float | None = None
    ambient: bool = False


def written(principal: Principal) -> dict[str, Any]:
    """A principal as JSON takes it."""
    return {
        "name": principal.name,
        "groups": sorted(principal.groups),
        "clearance": principal.clearance,
        "roles": sorted(principal.roles),
        "maintains": sorted(principal.maintains),
        "corpora": _sorted(principal.corpora),
        "assistants": _sorted(principal.assistants),
        "access": principal.access.value,
    }


def read(values: Mapping[str, Any]) -> Principal:
    """The principal that :func:`written` wrote."""
    return Principal(
        name=values["name"],
        groups=frozenset(values["groups"]),
        clearance=values["clearance"],
        roles=frozenset(Role(role) for role in values["roles"]),
        maintains=frozenset(values["maintains"]),
        corpora=_frozen(values["corpora"]),
        assistants=_frozen(values["assistants"]),
        access=Access(values["access"]),
    )


def _sorted(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def _frozen(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
