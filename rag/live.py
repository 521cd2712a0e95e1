"""The commands' way to a server that already owns the home: the same API that everyone calls, with its token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from rag import schemas
from rag.errors import BadRequest, Conflict, DiskFull, NotFound, Overloaded, StoreError, VaubanError
from rag.home import Server

AS_HEADER = "Vauban-As"
"""Names the groups to answer for; the server heeds it only beside the token of ``server.json``."""
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_STATUSES: Final[dict[int, type[VaubanError]]] = {
    400: BadRequest, 404: NotFound, 409: Conflict, 413: BadRequest, 429: Overloaded, 507: DiskFull,
}  # fmt: skip


class Connection:
    """Requests to a running server as its own user; what it refuses is raised as the error it stands for."""

    def __init__(self, server: Server, language: str, headers: Mapping[str, str] | None = None) -> None:
        own = {"Authorization": f"Bearer {server.token}", "Accept-Language": language}
        # No proxy of the environment may come between two processes of one machine.
        self._client = httpx.Client(
            base_url=server.url, headers=own | dict(headers or {}), timeout=_TIMEOUT, trust_env=False
        )

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """The body of a successful response.

        Raises:
            StoreError: the server does not answer, or not as a Vauban does.
            VaubanError: what it refused, in the caller's language.
        """
        try:
            response = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise StoreError(
                f"the running server does not answer ({type(error).__name__}); stop it or wait, then try again",
                f"le serveur en marche ne répond pas ({type(error).__name__}) ; arrêtez-le ou attendez, puis réessayez",
            ) from error
        if response.is_success:
            return response.content
        raise _refused(response)

    def close(self) -> None:
        self._client.close()


class Live:
    """The answers and hits of a running server."""

    def __init__(self, server: Server, language: str, groups: str | None = None) -> None:
        self._connection = Connection(server, language, None if groups is None else {AS_HEADER: groups})

    def ask(self, question: str, corpora: list[str] | None, as_of: str | None) -> schemas.Asked:
        """What ``vauban ask --json`` prints, made by the server.

        Raises:
            VaubanError: what the server refused, in the caller's language.
        """
        options = {"corpora": corpora, "as_of": as_of}
        body = {
            "model": "vauban",
            "messages": [{"role": "user", "content": question}],
            "vauban": {name: value for name, value in options.items() if value is not None},
        }
        sent = self._connection.send("POST", "/v1/chat/completions", body)
        return schemas.asked_from(schemas.Completion.model_validate_json(sent))

    def search(self, question: str, corpora: list[str] | None, as_of: str | None, limit: int) -> list[schemas.Hit]:
        """The hits that the server finds; raises what :meth:`ask` raises."""
        body = {"question": question, "corpora": corpora, "as_of": as_of, "limit": limit}
        asked = {name: value for name, value in body.items() if value is not None}
        return schemas.SearchResponse.model_validate_json(self._connection.send("POST", "/v1/search", asked)).hits

    def view(self) -> schemas.LiveView:
        """What the server is doing at this moment; raises what :meth:`ask` raises."""
        return schemas.LiveView.model_validate_json(self._connection.send("GET", "/v1/live"))

    def published(self) -> list[str]:
        """The names of the corpora that the server lets this user search."""
        return [
            one.name for one in schemas.Corpora.model_validate_json(self._connection.send("GET", "/v1/corpora")).data
        ]

    def close(self) -> None:
        self._connection.close()


def _refused(response: httpx.Response) -> VaubanError:
    try:
        problem = schemas.Problem.model_validate_json(response.content)
    except ValueError:
        return StoreError(f"the running server answered {response.status_code}")
    return _STATUSES.get(response.status_code, VaubanError)(problem.detail, problem.detail, code=problem.code)
