"""Callers by name, for tests of what belongs to whom: the bearer token is the name of one of the people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.types import Scope

from rag.problems import Refusal
from rag.standing import Source, Standing
from rag.types import Principal


class People:
    """An identity that believes what it is told; a test may replace a person by one of the same name."""

    takes_secrets = False

    def __init__(self, people: Iterable[Principal]) -> None:
        self.known = {one.name: one for one in people}

    def replace(self, person: Principal) -> None:
        self.known[person.name] = person

    def forwarded(self, scope: Scope) -> Principal | None:
        del scope
        return None

    async def standing(self, scope: Scope, through: Principal | None) -> Standing:
        del through
        name = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
        if name not in self.known:
            raise Refusal("who?", "qui ?", code="key_required", status=401)
        return Standing(self.known[name], Source.STATED)

    def still(self, standing: Standing) -> Standing | None:
        return replace(standing, principal=self.known[standing.principal.name])

    def sign_in(self, secret: str) -> str | None:
        del secret
        return None

    def sign_out(self, secret: str) -> None:
        del secret

    def close(self) -> None:
        pass
