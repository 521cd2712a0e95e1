"""What an identity provider or a trusted proxy says of a person, turned into groups, clearance and roles by a table.

The table is a TOML file of the operator (setting ``login_map``). What it does not name gives nothing: neither a group
that somebody made up elsewhere, nor a role that happens to be called like one of ours. ::

    [claims]                       # where a token says it; dots go into objects
    name = "sub"
    groups = "groups"
    clearance = "clearance"
    roles = "realm_access.roles"

    [headers]                      # where the proxy says it
    name = "X-Remote-User"
    groups = "X-Remote-Groups"
    clearance = "X-Remote-Clearance"
    roles = "X-Remote-Roles"

    [groups]                       # what they say = our group, or a list of them
    "/services/rh" = ["agents", "rh"]

    [clearance]
    "diffusion restreinte" = 2

    [roles]
    "vauban-audit" = "auditor"

    [maintains]                    # a group or role of theirs = the corpora that its members feed; "*" is all
    "/services/rh/redaction" = ["rh"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rag.errors import BadRequest, SettingsError
from rag.keys import checked_name
from rag.types import Access, Principal, Role

MOST_VALUES: Final = 10_000
"""Groups or roles of one person that are read; more is not a person."""


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[frozenset[str], BeforeValidator(_several)]


class Places(BaseModel):
    """Where name, groups, clearance and roles stand: claims of a token, or headers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    groups: str = ""
    clearance: str = ""
    roles: str = ""


class Entitlements(BaseModel):
    """The table; without a file everyone who is signed in reads what is open to all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claims: Places = Places(name="sub", groups="groups", clearance="clearance", roles="roles")
    headers: Places = Places(
        name="x-remote-user", groups="x-remote-groups", clearance="x-remote-clearance", roles="x-remote-roles"
    )
    groups: Mapping[str, Names] = Field(default_factory=dict)
    clearance: Mapping[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    roles: Mapping[str, Role] = Field(default_factory=dict)
    maintains: Mapping[str, Names] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The table in a file.

        Raises:
            SettingsError: it cannot be read, or holds a name or a value that means nothing.
        """
        if path is None:
            return cls()
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"cannot read {path} (setting `login_map`): {error}",
                f"{path} est illisible (réglage « login_map ») : {error}",
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise SettingsError(
                f"`{place}` in {path} (setting `login_map`) is wrong: {first['msg']}",
                f"« {place} » dans {path} (réglage « login_map ») est incorrect : {first['msg']}",
            ) from error

    def principal(
        self, name: str, groups: Iterable[str], clearances: Iterable[str], roles: Iterable[str], access: Access
    ) -> Principal | None:
        """The person whom those words describe; ``None`` when the name names nobody.

        A name is taken as it is or not at all: two that would become one after trimming are two people.
        """
        try:
            if checked_name(name) != name:
                return None
        except BadRequest:
            return None
        theirs, their_roles = list(groups)[:MOST_VALUES], list(roles)[:MOST_VALUES]
        held = {self.roles[role] for role in their_roles if role in self.roles}
        feeds = {corpus for said in (*theirs, *their_roles) for corpus in self.maintains.get(said, ())}
        if feeds:
            held.add(Role.MAINTAINER)
        return Principal(
            name=name,
            groups=frozenset(group for said in theirs for group in self.groups.get(said, ())),
            clearance=max((self.clearance[said] for said in clearances if said in self.clearance), default=0),
            roles=frozenset(held | {Role.READER}),
            maintains=frozenset(feeds),
            access=access,
        )
