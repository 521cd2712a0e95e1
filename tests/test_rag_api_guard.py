"""What stands before every address: nothing answers to nobody, whatever the path looks like or the headers claim."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rag.api import create_app
from rag.entitlements import Entitlements
from rag.identity import Identity
from rag.keys import Keys
from rag.proxies import Proxies, networks
from rag.sessions import sessions
from rag.types import Access, Principal, Role
from tests.identity_provider import AUDIENCE, ISSUER, KEYS, token
from tests.rag_server import QUESTION, Parts, Writer, parts, slow_writer
from ui.app import mount

OPEN = {"/healthz", "/readyz", "/sign-in", "/sign-out", "/sign-in.css"}
"""What is answered without an identity; a route that is added and not written here fails."""
READER = Principal("lectrice", frozenset({"agents"}), access=Access.KEY)
HTML = {"Accept": "text/html"}


@dataclass
class World:
    parts: Parts
    app: FastAPI
    client: TestClient

    @property
    def keys(self) -> Keys:
        return Keys(self.parts.database)

    def key(self, principal: Principal = READER, days: int = 1, at: Callable[[], float] | None = None) -> str:
        made = Keys(self.parts.database, at) if at else self.keys
        return made.create(principal, days, further=True)[1]

    def get(self, path: str, secret: str = "", **headers: str) -> Any:
        return self.client.get(path, headers=_bearer(secret) | headers, follow_redirects=False)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def opened(folder: Path, client: tuple[str, int] = ("192.0.2.9", 50_000), **settings: Any) -> Iterator[World]:
    vauban = parts(folder, settings.pop("writer", Writer()), **settings)
    identity = Identity(vauban.settings, vauban.local, vauban.database)
    with ThreadPoolExecutor(1) as apart:
        app = apart.submit(
            lambda: mount(
                create_app(vauban, identity=identity), vauban.settings, "http://127.0.0.1:1", identity.page_token
            )
        ).result()
    with TestClient(app, base_url="http://localhost", client=client) as speaking:
        yield World(vauban, app, speaking)
    vauban.database.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from opened(tmp_path_factory.mktemp("guard"), login=frozenset({"keys"}))


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("proxied")
    table = folder / "login.toml"
    table.write_text(
        '[groups]\n"/agents" = "agents"\n[clearance]\nsecret = 2\n[roles]\naudit = "auditor"\n', encoding="utf-8"
    )
    yield from opened(
        folder,
        ("10.0.0.5", 50_000),
        login=frozenset({"proxy", "keys"}),
        proxies=("10.0.0.0/24",),
        login_map=table,
        hosts=("vauban.exemple",),
    )


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and address of the application, those of the mounted page included."""
    found = []
    for context in iter_route_contexts(app.router.routes):
        path = context.path or ""
        if isinstance(context.original_route, Mount):
            inner = getattr(getattr(context.original_route.app, "_app", None), "routes", [])
            found += [("GET", getattr(route, "path", "/")) for route in inner]
            continue
        found += [(method, path) for method in sorted(context.methods or {"GET"})]
    return found


def filled(path: str) -> str:
    """A path with something in each of its placeholders."""
    return "".join(part.partition("}")[2].join(["rh", ""]) if "}" in part else part for part in path.split("{"))


# --- every route, for nobody ----------------------------------------------------------------------------


def test_every_route_demands_an_identity_but_those_that_are_listed(world: World) -> None:
    """None, expired, revoked, made up, or of another purpose: each is refused with a problem document."""
    expired = world.key(at=lambda: 1_000_000.0)
    revoked = world.key()
    world.keys.revoke(revoked[4:20])
    every = routes(world.app)
    assert len(every) > 60
    assert any("gradio_api" in path for _, path in every)
    for method, path in every:
        for secret in ("", expired, revoked, "unused", "vbp_e30.AAAA", "eyJhbGciOiJub25lIn0.e30."):
            response = world.client.request(method, filled(path), headers=_bearer(secret), follow_redirects=False)
            if path in OPEN:
                assert response.status_code != 401 or path == "/sign-in", (method, path)
            else:
                assert response.status_code == 401, (method, path)
                if method != "HEAD":
                    assert response.json()["code"] == "key_required"


@pytest.mark.parametrize(
    "path",
    [
        "/healthz%2f..",
        "/healthz/..%2f..%2fv1%2fmodels",
        "/healthz/../v1/models",
        "//v1/models",
        "/v1//models",
        "/healthz;/v1/models",
        "/healthz%00",
        "/healthz%3f",
        "/Healthz",
        "/healthz/",
        "/sign-in/../v1/models",
        "/sign-in%2f..%2fv1%2fmodels",
        "/sign-in.css/../../v1/models",
        "/v1/models?x=/healthz",
        "/v1/models#/healthz",
        "/dashboard%2f..",
        "/gradio_api%2fqueue%2fdata?session_hash=a",
        "/%67radio_api/info",
        "/static/../config",
        "/.//config",
    ],
)
def test_no_spelling_of_a_path_opens_it(world: World, path: str) -> None:
    """What is open is compared with the very path by which the route is chosen."""
    response = world.client.get(f"http://localhost{path}", follow_redirects=False)
    assert response.status_code in {401, 404, 421}
    assert "vauban-rh" not in response.text


@pytest.mark.parametrize(
    "host", ["", "evil.test", "localhost.evil.test", "localhost@evil.test", "127.0.0.1.nip.io", "[::2]"]
)
def test_a_foreign_host_gets_nothing_even_with_a_key(world: World, host: str) -> None:
    assert world.get("/v1/models", world.key(), Host=host).status_code == 421


def test_what_is_said_twice_is_not_believed(world: World) -> None:
    """Two hosts or two credentials: a program on the way may have looked at the other one."""
    right = ("Authorization", f"Bearer {world.key()}")
    assert world.client.get("/v1/models", headers=[right]).status_code == 200
    assert world.client.get("/v1/models", headers=[right, right]).status_code == 401
    for hosts in (("localhost", "evil.test"), ("evil.test", "localhost"), ("localhost", "localhost")):
        twice = [("Host", host) for host in hosts]
        assert world.client.get("/v1/models", headers=[right, *twice]).status_code == 421


def test_nobody_opens_a_web_socket(world: World) -> None:
    with pytest.raises(WebSocketDisconnect), world.client.websocket_connect("/gradio_api/queue/join"):
        raise AssertionError("it was opened")


def test_a_lower_role_does_not_reach_what_is_for_a_higher_one(world: World) -> None:
    """A path of the server's side is for the user who runs it alone, whatever roles a key has."""
    every = Principal("admin", roles=frozenset(Role), maintains=frozenset({"*"}), access=Access.KEY)
    for principal in (READER, every):
        body = {"path": "/srv/rh"}
        response = world.client.post("/v1/corpora/rh/sync", json=body, headers=_bearer(world.key(principal)))
        assert response.status_code in {401, 403}


def test_a_visitor_of_the_page_is_shown_where_to_sign_in(world: World) -> None:
    """A program gets a problem document instead."""
    response = world.client.get("/", headers=HTML, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert world.client.get("/config", headers=HTML, follow_redirects=False).status_code == 401
    assert world.get("/").status_code == 401
    assert world.get("/", world.key()).status_code == 200


def test_every_response_carries_the_security_headers(world: World) -> None:
    for path in ("/v1/models", "/", "/healthz", "/sign-in", "/nothing"):
        headers = world.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] in {"SAMEORIGIN", "DENY"}
        assert "access-control-allow-origin" not in headers


def test_no_other_origin_is_ever_allowed(world: World) -> None:
    """There is no CORS: a preflight is refused, and so is what a page of another site sends."""
    secret = world.key()
    preflight = {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}
    assert world.client.options("/v1/search", headers=preflight).status_code == 403
    for foreign in (
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.test"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        assert world.get("/v1/models", secret, **foreign).json()["code"] == "wrong_origin"


# --- what a key is limited to ---------------------------------------------------------------------------


def test_a_key_is_limited_to_its_corpora_and_assistants(world: World) -> None:
    """In the list of assistants, in chat, in search and among the documents; the rest does not exist for it."""
    limited = Principal("appli", frozenset({"agents"}), assistants=frozenset({"vauban-rh"}), access=Access.KEY)
    secret = world.key(limited)
    assert [card["id"] for card in world.get("/v1/models", secret).json()["data"]] == ["vauban-rh"]
    assert [corpus["name"] for corpus in world.get("/v1/corpora", secret).json()["data"]] == ["rh"]
    for model, status in (("vauban-rh", 200), ("vauban", 404), ("vauban-finances", 404)):
        body = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
        assert world.client.post("/v1/chat/completions", json=body, headers=_bearer(secret)).status_code == status
    found = world.client.post("/v1/search", json={"question": "repas en mission"}, headers=_bearer(secret)).json()
    assert {hit["corpus"] for hit in found["hits"]} <= {"rh"}
    refused = world.client.post(
        "/v1/search", json={"question": "repas", "corpora": ["finances"]}, headers=_bearer(secret)
    )
    assert refused.status_code == 404


def test_groups_of_the_key_and_not_of_the_machine_decide(world: World) -> None:
    """The local person's groups are nobody else's."""
    names = [
        [corpus["name"] for corpus in world.get("/v1/corpora", world.key(who)).json()["data"]]
        for who in (
            Principal("a", access=Access.KEY),
            READER,
            Principal("c", frozenset({"direction"}), access=Access.KEY),
        )
    ]
    assert names == [["rh"], ["finances", "rh"], ["rh", "secret"]]


def test_no_secret_reaches_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = world.key()
    world.get("/v1/models", secret)
    world.get("/v1/models", secret + "x")
    world.client.post("/sign-in", data={"credential": secret})
    assert secret[21:] not in caplog.text


def test_a_body_is_limited_before_anybody_reads_it(world: World) -> None:
    huge = {"Content-Length": str(10**12)}
    response = world.client.post("/v1/search", headers=_bearer(world.key()) | huge, content=b"{}")
    assert response.status_code == 413
    assert world.client.post("/v1/search", headers=huge, content=b"{}").status_code in {401, 413}


def test_an_open_stream_ends_with_the_next_request_of_a_revoked_key(tmp_path: Path) -> None:
    """What runs is let finish; nothing that follows is answered."""
    for world in opened(tmp_path, login=frozenset({"keys"}), writer=slow_writer()):
        secret = world.key()
        body = {"model": "vauban", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
        with world.client.stream("POST", "/v1/chat/completions", json=body, headers=_bearer(secret)) as stream:
            assert stream.status_code == 200
            world.keys.revoke(secret[4:20])
            assert world.get("/v1/models", secret).status_code == 401
            assert world.client.post("/v1/chat/completions", json=body, headers=_bearer(secret)).status_code == 401


# --- reverse proxies ------------------------------------------------------------------------------------


def test_a_trusted_proxy_says_who_calls(proxied: World) -> None:
    """Groups, clearance and roles by the table; what it does not name gives nothing."""
    said = {"X-Remote-User": "marie", "X-Remote-Groups": "/agents, direction", "X-Remote-Roles": "administrator"}
    seen = proxied.get("/v1/corpora", **said).json()["data"]
    assert [corpus["name"] for corpus in seen] == ["finances", "rh"]
    assert proxied.get("/v1/corpora").status_code == 401


@pytest.mark.parametrize("client", ["10.0.1.5", "127.0.0.1", "192.0.2.9", "::1", "testclient"])
def test_from_anybody_else_the_same_headers_are_nothing(proxied: World, client: str) -> None:
    other = TestClient(proxied.app, base_url="http://localhost", client=(client, 1))
    said = {
        "X-Remote-User": "marie",
        "X-Forwarded-For": "10.0.0.5",
        "X-Real-IP": "10.0.0.5",
        "Forwarded": "for=10.0.0.5",
    }
    assert other.get("/v1/models", headers=said).status_code == 401
    assert other.get("/v1/models", headers={"X-Forwarded-Host": "vauban.exemple"}).status_code == 401
    # Nor do they change how the server believes to be reached.
    secret = proxied.key()
    forged = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https"}
    assert other.get("/v1/models", headers=_bearer(secret) | forged).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Remote-User", "marie"), ("X-Remote-User", "directrice")],
        [("X-Remote-User", "marie"), ("x-remote-user", "marie")],
        [("X-Remote-User", "marie"), ("X-Remote-Groups", "/agents"), ("X-Remote-Groups", "direction")],
        [("X-Remote-User", "")],
        [("X-Remote-User", "a" * 101)],
        [("X-Forwarded-Proto", "gopher"), ("X-Remote-User", "marie")],
    ],
)
def test_a_proxy_that_lets_its_clients_headers_through_is_refused(
    proxied: World, headers: list[tuple[str, str]]
) -> None:
    assert proxied.client.get("/v1/models", headers=headers).json()["code"] == "unclear_identity"


@pytest.mark.parametrize("name", ["X_Remote_User", "X-Remote_User", "X-Remote-User ", "Remote-User", "X-Remote-Users"])
def test_a_header_that_is_only_spelled_alike_names_nobody(proxied: World, name: str) -> None:
    assert proxied.client.get("/v1/models", headers=[(name, "marie")]).status_code in {400, 401}


def test_beside_the_right_header_one_with_an_underscore_adds_nothing(proxied: World) -> None:
    """Gateways that take the two for one would make it another name, or more groups; nothing behind sees it at all."""
    said = {
        "X-Remote-User": "marie",
        "X_Remote_User": "directrice",
        "X_Remote_Groups": "/agents",
        "X_FORWARDED_HOST": "x",
    }
    seen = proxied.get("/v1/corpora", **said).json()["data"]
    assert [corpus["name"] for corpus in seen] == ["rh"]
    headers = [(name.encode(), value.encode()) for name, value in said.items()]
    scope: dict[str, Any] = {"type": "http", "headers": headers, "client": ("10.0.0.5", 1), "scheme": "http"}
    table = Entitlements()
    person = Proxies(networks(["10.0.0.5"]), table, identifies=True).admit(scope)
    assert person is not None
    assert (person.name, person.groups, scope["headers"]) == ("marie", frozenset(), [])


def test_the_proxy_says_how_the_server_is_reached(proxied: World) -> None:
    """Its host must be one of the settings, and pages of that origin may call."""
    said = {"X-Remote-User": "marie", "X-Forwarded-Host": "vauban.exemple", "X-Forwarded-Proto": "https"}
    assert proxied.get("/v1/models", Origin="https://vauban.exemple", **said).status_code == 200
    assert proxied.get("/v1/models", Origin="https://evil.test", **said).status_code == 403
    assert proxied.get("/v1/models", **(said | {"X-Forwarded-Host": "evil.test"})).status_code == 421


def test_a_key_wins_over_the_proxy_and_a_wrong_one_is_not_replaced_by_it(proxied: World) -> None:
    """A browser's own password for the proxy, which it passes on, is no key of ours."""
    secret = proxied.key(Principal("c", frozenset({"direction"}), access=Access.KEY))
    said = {"X-Remote-User": "marie", "X-Remote-Groups": "/agents"}
    names = [corpus["name"] for corpus in proxied.get("/v1/corpora", secret, **said).json()["data"]]
    assert names == ["rh", "secret"]
    assert proxied.get("/v1/corpora", secret + "x", **said).status_code == 401
    assert proxied.get("/v1/corpora", **said, Authorization="Basic bWFyaWU6eA==").status_code == 200


# --- an identity provider -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("provided")
    (folder / "jwks.json").write_text(json.dumps({"keys": KEYS}), encoding="utf-8")
    (folder / "login.toml").write_text('[groups]\n"/agents" = "agents"\n', encoding="utf-8")
    yield from opened(
        folder,
        login=frozenset({"oidc"}),
        oidc_issuer=ISSUER,
        oidc_audience=(AUDIENCE,),
        oidc_jwks=str(folder / "jwks.json"),
        login_map=folder / "login.toml",
    )


def test_a_token_of_the_provider_is_a_bearer_token_and_signs_in_on_the_page(provided: World) -> None:
    """Its person is the same in both, and a session lasts no longer than it."""
    said = token(groups=["/agents"])
    assert [one["name"] for one in provided.get("/v1/corpora", said).json()["data"]] == ["finances", "rh"]
    page = provided.client.get("/sign-in")
    (form,) = re.findall(r'name="form" value="([\w-]+)"', page.text)
    fields = {"form": form, "credential": said}
    assert provided.client.post("/sign-in", data=fields, follow_redirects=False).status_code == 303
    assert [one["name"] for one in provided.client.get("/v1/corpora").json()["data"]] == ["finances", "rh"]
    with provided.parts.database.writing() as connection:
        (ends,) = connection.execute(sa.select(sessions.c.ends)).scalars()
        assert ends <= time.time() + 360
        connection.execute(sessions.update().values(ends=1))
    assert provided.client.get("/v1/corpora").status_code == 401
    provided.client.cookies.clear()


def test_a_token_for_another_audience_opens_no_route(provided: World) -> None:
    wrong = token(aud="another")
    for method, path in routes(provided.app):
        if path not in OPEN:
            response = provided.client.request(method, filled(path), headers=_bearer(wrong), follow_redirects=False)
            assert response.status_code == 401, (method, path)


def test_without_the_mode_a_token_or_a_key_is_nothing(world: World, provided: World) -> None:
    assert world.get("/v1/models", token()).status_code == 401
    assert provided.get("/v1/models", provided.key()).status_code == 401
