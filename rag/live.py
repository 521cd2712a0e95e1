"""The commands' way to a server that already owns the home: the same API that everyone calls, with its token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from rag import schemas
from rag.errors import BadRequest, NotFound, Overloaded, StoreError, VaubanError
from rag.home import Server

AS_HEADER = "Vauban-As"
"""Names the groups to answer for; the server heeds it only beside the token of ``server.json``."""
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)


class Live:
    """A running server, as its own user calls it."""

    def __init__(self, server: Server, language: str, groups: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {server.token}", "Accept-Language": language}
        if groups is not None:
            headers[AS_HEADER] = groups
        # No proxy of the environment may come between two processes of one machine.
        self._client = httpx.Client(base_url=server.url, headers=headers, timeout=_TIMEOUT, trust_env=False)

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
        completion = schemas.Completion.model_validate(self._post("/v1/chat/completions", body))
        return schemas.asked_from(completion)

    def search(self, question: str, corpora: list[str] | None, as_of: str | None, limit: int) -> list[schemas.Hit]:
        """The hits that the server finds; raises what :meth:`ask` raises."""
        body = {"question": question, "corpora": corpora, "as_of": as_of, "limit": limit}
        found = self._post("/v1/search", {name: value for name, value in body.items() if value is not None})
        return schemas.SearchResponse.model_validate(found).hits

    def published(self) -> list[str]:
        """The names of the corpora that the server lets this user search."""
        with _translated():
            response = self._client.get("/v1/corpora")
        if not response.is_success:
            raise _refused(response)
        return [corpus.name for corpus in schemas.Corpora.model_validate(response.json()).data]

    def _post(self, path: str, body: Mapping[str, object]) -> object:
        with _translated():
            response = self._client.post(path, json=body)
        if response.is_success:
            found: object = response.json()
            return found
        raise _refused(response)

    def close(self) -> None:
        self._client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise StoreError(
            f"the running server does not answer ({type(error).__name__}); stop it or wait, then try again",
            f"le serveur en marche ne répond pas ({type(error).__name__}) ; arrêtez-le ou attendez, puis réessayez",
        ) from error


def _refused(response: httpx.Response) -> VaubanError:
    try:
        problem = schemas.Problem.model_validate_json(response.content)
    except ValueError:
        return StoreError(f"the running server answered {response.status_code}")
    kinds: dict[int, type[VaubanError]] = {400: BadRequest, 404: NotFound, 413: BadRequest, 429: Overloaded}
    return kinds.get(response.status_code, VaubanError)(problem.detail, problem.detail, code=problem.code)
