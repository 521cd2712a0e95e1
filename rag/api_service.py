"""What the endpoints stand on: the running parts, who calls, and what that person may see."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request
from starlette.types import Scope

from rag import request_log, scope
from rag.audit import Records
from rag.canary import Canary
from rag.catalog import Catalog
from rag.database import Database
from rag.engine import Engine
from rag.errors import ModelError, NotFound
from rag.history import History
from rag.idempotency import Repeats
from rag.limits import EachAtOnce
from rag.metrics import Metrics
from rag.problems import Refusal
from rag.receiving import Receiving
from rag.recording import Making
from rag.request_log import Pseudonyms
from rag.seams import Embedder, Generator, Inbox, Reranker, VectorStore
from rag.settings import Settings
from rag.standing import Standing
from rag.streaming import Answers
from rag.types import Access, Corpus, Principal, Role
from rag.upkeep import Upkeep
from rag.warmth import WARM, Warmth

ALL = "vauban"
"""The assistant over every corpus that its caller may see; ``vauban-NAME`` is the one over a single corpus."""


class Files(Protocol):
    """Where source files are kept, by the SHA-256 of their bytes."""

    @property
    def uploads(self) -> Path: ...

    def file(self, sha256: str) -> Path: ...


class Vauban(Protocol):
    """The running parts that the API uses; ``rag.wiring`` makes them."""

    @property
    def settings(self) -> Settings: ...
    @property
    def home(self) -> Files: ...
    @property
    def database(self) -> Database: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def store(self) -> VectorStore: ...
    @property
    def embedder(self) -> Embedder: ...
    @property
    def reranker(self) -> Reranker | None: ...
    @property
    def generator(self) -> Generator | None: ...
    @property
    def generator_error(self) -> ModelError | None: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def records(self) -> Records: ...
    @property
    def making(self) -> Making: ...
    @property
    def local(self) -> Principal: ...


class Identity(Protocol):
    """Who calls; ``rag.identity`` decides."""

    def forwarded(self, scope: Scope) -> Principal | None:
        """Take the headers of reverse proxies out of a request; whom a trusted one says it is for.

        Raises:
            Refusal: a trusted proxy contradicts itself.
        """
        ...

    async def standing(self, scope: Scope, through: Principal | None) -> Standing:
        """Whose a request is; ``through`` is whom a trusted proxy named.

        Raises:
            Refusal: nobody's.
        """
        ...

    def still(self, standing: Standing) -> Standing | None:
        """The same standing as things are now, for what goes on for long; ``None``: it has ended."""
        ...

    @property
    def takes_secrets(self) -> bool:
        """Whether a key or a token can be given on the sign-in page."""
        ...

    def sign_in(self, secret: str) -> str | None:
        """A session of the page for whoever gives a key or a token; its secret. ``None``: it proves nothing."""
        ...

    def sign_out(self, secret: str) -> None:
        """End the session of a cookie."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Service:
    """One server: its parts, the inbox of its ingestions, and the token that proves to be its own user."""

    vauban: Vauban
    inbox: Inbox | None
    token: str
    identity: Identity
    answers: Answers
    searching: EachAtOnce
    auditing: EachAtOnce
    history: History
    repeats: Repeats
    upkeep: Upkeep
    metrics: Metrics
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    warmth: Warmth = WARM
    canary: Canary | None = None
    receiving: Receiving = field(default_factory=Receiving)
    started: int = field(default_factory=lambda: int(time.time()))


def served(request: Request) -> Service:
    """The service that the application was made for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(served)]


def standing_of(scope: Scope) -> Standing | None:
    """On what a request stands, which the guard noted; nothing on the few addresses that are open to all."""
    found = scope.get("state", {}).get("standing")
    return found if isinstance(found, Standing) else None


def caller(request: Request) -> Principal:
    """Who calls.

    Raises:
        Refusal: 401, nobody that is known.
    """
    standing = standing_of(request.scope)
    if standing is None:
        raise Refusal(
            "this needs to know who you are", "cela demande de savoir qui vous êtes", code="key_required", status=401
        )
    principal = standing.principal
    request_log.identified(request.scope, principal)
    return principal


Caller = Annotated[Principal, Depends(caller)]


def owner(request: Request, service: Served) -> None:
    """Only the user who runs the server passes, by the token of its ``server.json``.

    Raises:
        Refusal: 401, the token is missing or wrong.
    """
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    right = kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), service.token.encode())
    if not (right and service.token):
        raise Refusal(
            "this needs the token of the running server (server.json in its home folder)",
            "cela demande le jeton du serveur en marche (server.json dans son dossier)",
            code="token_required",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )


def auditor(principal: Caller) -> Principal:
    """Only an auditor passes.

    Raises:
        Refusal: 403.
    """
    return _with(Role.AUDITOR, principal)


def administrator(principal: Caller) -> Principal:
    """Only an administrator passes.

    Raises:
        Refusal: 403.
    """
    return _with(Role.ADMINISTRATOR, principal)


Auditor = Annotated[Principal, Depends(auditor)]
Administrator = Annotated[Principal, Depends(administrator)]


def check_maintains(principal: Principal, corpus: str) -> None:
    """Refuse whoever may not feed a corpus that they may see.

    Raises:
        Refusal: 403.
    """
    if not principal.may_maintain(corpus):
        raise _forbidden(f"you do not maintain the corpus `{corpus}`", f"vous ne maintenez pas le corpus « {corpus} »")


def check_unlimited(principal: Principal) -> None:
    """Refuse a credential that is limited to some corpora: what it asks for would touch them all.

    Raises:
        Refusal: 403.
    """
    if principal.corpora is not None:
        raise _forbidden(
            "this concerns every corpus, and your key is limited to some",
            "cela concerne tous les corpus, et votre clé est limitée à certains",
        )


def check_feeds(service: Service, principal: Principal, corpus: str) -> None:
    """Refuse whoever may not feed a corpus; the user who runs the server may feed any.

    Raises:
        NotFound: they may not even see it, or there is none.
        Refusal: 403, they may only read it.
    """
    if principal.access is not Access.SERVER and corpus not in visible(service, principal):
        raise unknown_corpus(corpus)
    check_maintains(principal, corpus)


def unknown_corpus(corpus: str) -> NotFound:
    """What is said of a corpus that does not exist, and of one that is hidden."""
    return NotFound(
        f"there is no corpus `{corpus}` that you may see",
        f"il n'y a pas de corpus « {corpus} » que vous puissiez voir",
        code="unknown_corpus",
    )


def inbox_of(service: Service) -> Inbox:
    """What takes documents in.

    Raises:
        Refusal: 501, this server does not.
    """
    if service.inbox is None:
        raise Refusal(
            "this server takes in no documents",
            "ce serveur n'ingère pas de documents",
            code="no_inbox",
            status=501,
        )
    return service.inbox


def _with(role: Role, principal: Principal) -> Principal:
    if role not in principal.roles:
        raise _forbidden(f"this needs the role `{role}`", f"cela demande le rôle « {role} »")
    return principal


def _forbidden(en: str, fr: str) -> Refusal:
    return Refusal(en, fr, code="forbidden", status=403)


def visible(service: Service, principal: Principal) -> dict[str, Corpus]:
    """The corpora that a person may see, by name, in order of name."""
    seen = [corpus for corpus in service.vauban.catalog.corpora() if scope.may_see(principal, corpus)]
    return {corpus.name: corpus for corpus in sorted(seen, key=lambda corpus: corpus.name)}


def fed(service: Service, principal: Principal) -> list[str] | None:
    """The corpora that a person sees and feeds; ``None`` is all, and what is of none, for the user of the server."""
    if principal.access is Access.SERVER:
        return None
    return [name for name in visible(service, principal) if principal.may_maintain(name)]


def corpora_of(model: str, seen: Mapping[str, Corpus], principal: Principal) -> tuple[str, ...]:
    """The corpora of an assistant; ``seen`` are those of :func:`visible`.

    Raises:
        NotFound: there is no such assistant, it is not one of the caller's, or its corpus is not one they may see.
    """
    assistants = {ALL: tuple(seen)} | {f"{ALL}-{name}": (name,) for name in seen}
    limit = principal.assistants
    allowed = {name: corpora for name, corpora in assistants.items() if limit is None or name in limit}
    if model in allowed:
        return allowed[model]
    known = ", ".join(allowed) or "-"
    raise NotFound(
        f"there is no model `{model}`; you can ask: {known}",
        f"il n'y a pas de modèle « {model} » ; vous pouvez interroger : {known}",
        code="unknown_model",
    )
