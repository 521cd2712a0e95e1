"""A write under a key is carried out once, for its owner, whatever happens on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from rag import idempotency
from rag.api import create_app
from rag.api_idempotency import Repeatable, ended
from rag.api_service import Caller
from rag.database import Database, metadata
from rag.errors import Conflict
from rag.idempotency import Claim, Given, Repeats
from rag.problems import Refusal
from rag.types import Access, Principal
from tests.people import People
from tests.postgres_server import PostgresServer
from tests.rag_server import Writer, parts

GIVEN = Given(201, {"content-type": "application/json", "location": "/x"}, b'{"id":"1"}')


@pytest.fixture(params=["sqlite", "postgresql"])
def repeats(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repeats]:
    where: Path | str = tmp_path / "catalog.sqlite"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        where = server.database()
    database = Database.open(where)
    yield Repeats(database)
    database.close()


def claimed(repeats: Repeats, owner: str = "alice", key: str = "k", request: str = "r", **more: Any) -> Claim:
    claim = repeats.claim(owner, key, request, "/v1/things", **more)
    assert isinstance(claim, Claim)
    return claim


def test_the_same_request_gets_what_it_got(repeats: Repeats) -> None:
    """Byte for byte, as often as it is sent; another owner's key of the same name is another key."""
    repeats.keep(claimed(repeats), GIVEN)
    assert repeats.claim("alice", "k", "r", "/v1/things") == GIVEN
    assert repeats.claim("alice", "k", "r", "/v1/things") == GIVEN
    claimed(repeats, owner="bruno")


def test_another_request_under_the_same_key_is_refused(repeats: Repeats) -> None:
    """Also while the first one is being carried out."""
    claim = claimed(repeats)
    for _ in range(2):
        with pytest.raises(Refusal) as raised:
            repeats.claim("alice", "k", "another", "/v1/things")
        assert (raised.value.status, raised.value.code) == (422, "idempotency_key_reused")
        repeats.keep(claim, GIVEN)


def test_of_many_at_once_one_is_carried_out(repeats: Repeats) -> None:
    """The others are told that it is under way."""
    both = (repeats, Repeats(repeats._database))
    at_once = threading.Barrier(8)

    def send(number: int) -> Claim | Given | str:
        at_once.wait()
        try:
            return both[number % 2].claim("alice", "k", "r", "/v1/things")
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(send, range(8)))
    assert sum(isinstance(one, Claim) for one in got) == 1
    assert got.count("idempotency_key_in_use") == 7


def test_what_failed_may_be_sent_again(repeats: Repeats) -> None:
    """Also otherwise: nothing was done under the key."""
    repeats.release(claimed(repeats))
    claimed(repeats, request="another")


def test_a_request_whose_process_died_may_be_sent_again(repeats: Repeats) -> None:
    """After the lease; what the dead one would still say is not kept."""
    now = dt.datetime.now(dt.UTC)
    dead = claimed(repeats, now=now)
    with pytest.raises(Conflict):
        claimed(repeats, now=now + idempotency.LEASE / 2)
    alive = claimed(repeats, now=now + idempotency.LEASE * 2)
    repeats.keep(dead, GIVEN)
    repeats.release(dead)
    with pytest.raises(Conflict):
        claimed(repeats, now=now + idempotency.LEASE * 2)
    repeats.keep(alive, GIVEN)
    assert repeats.claim("alice", "k", "r", "/v1/things") == GIVEN


def test_a_key_is_forgotten_after_a_day(repeats: Repeats) -> None:
    """When its owner comes back, and by the daily upkeep."""
    now = dt.datetime.now(dt.UTC)
    repeats.keep(claimed(repeats, now=now), GIVEN)
    repeats.keep(claimed(repeats, owner="bruno", now=now), GIVEN)
    later = now + idempotency.KEPT + dt.timedelta(seconds=1)
    claimed(repeats, now=later)
    repeats.expire(later)
    assert isinstance(repeats.claim("bruno", "k", "r", "/v1/things", now=now), Claim)


def test_one_person_has_so_many_keys(repeats: Repeats, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first; those of others stay."""
    monkeypatch.setattr(idempotency, "MOST_KEYS", 3)
    now = dt.datetime.now(dt.UTC)
    repeats.keep(claimed(repeats, owner="bruno", now=now), GIVEN)
    for number in range(5):
        moment = now + dt.timedelta(seconds=number)
        repeats.keep(claimed(repeats, key=str(number), now=moment), GIVEN)
    later = now + dt.timedelta(seconds=9)
    assert repeats.claim("alice", "4", "r", "/v1/things", now=later) == GIVEN
    assert repeats.claim("alice", "2", "r", "/v1/things", now=later) == GIVEN
    claimed(repeats, key="1", now=later)
    assert repeats.claim("bruno", "k", "r", "/v1/things", now=later) == GIVEN


def test_of_a_large_response_only_is_kept_that_it_was_given(repeats: Repeats) -> None:
    """The request is not carried out a second time."""
    repeats.keep(claimed(repeats), replace(GIVEN, body=b"x" * (idempotency.LARGEST_RESPONSE + 1)))
    with pytest.raises(Conflict) as raised:
        claimed(repeats)
    assert raised.value.code == "idempotency_response_not_kept"


# --- routes --------------------------------------------------------------------------------------------

ALICE = Principal("alice", frozenset({"agents"}), access=Access.KEY)
BRUNO = Principal("bruno", frozenset({"agents"}), access=Access.KEY)


@dataclass
class Workshop:
    """An application with a few endpoints that count how often they were carried out."""

    client: TestClient
    people: People
    done: list[str] = field(default_factory=list)
    key: str = ""

    def post(self, path: str = "/made", key: str = "", who: str = "alice", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {who}", "Idempotency-Key": key or self.key}
        return self.client.post(path, headers=headers | more.pop("headers", {}), **more)


@pytest.fixture
def workshop(resident: Workshop) -> Workshop:
    """With a key that no other test has used."""
    resident.done.clear()
    resident.people.replace(ALICE)
    resident.key = secrets.token_hex(8)
    return resident


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    people = People([ALICE, BRUNO])
    vauban = parts(tmp_path_factory.mktemp("workshop"), Writer())
    app = create_app(vauban, identity=people)
    router = APIRouter(route_class=Repeatable)
    client = TestClient(app, base_url="http://127.0.0.1:8080")
    made = Workshop(client, people)

    @router.post("/made", status_code=201)
    async def make(request: Request, principal: Caller, response: Response) -> dict[str, object]:
        size = len(await request.body())
        made.done.append(principal.name)
        response.headers.update({"Location": f"/made/{len(made.done)}", "X-Other": "1"})
        return {"number": len(made.done), "size": size}

    @router.post("/failing")
    def fail(request: Request) -> None:
        made.done.append(request.url.path)
        if len(made.done) == 1:
            raise Conflict("not now", "pas maintenant", code="not_now")

    @router.post("/streamed")
    def stream() -> StreamingResponse:
        made.done.append("streamed")
        return StreamingResponse(iter([b"a", b"b"]))

    @router.get("/made")
    def read() -> list[str]:
        made.done.append("read")
        return made.done

    app.include_router(router)
    with client:
        yield made
    vauban.database.close()


def test_a_repeated_post_is_answered_and_not_carried_out(workshop: Workshop) -> None:
    """With the status, body and place of the first one; a header says that it is a repetition."""
    first, second = workshop.post(json={"a": 1}), workshop.post(json={"a": 1})
    assert (first.status_code, first.json()) == (201, {"number": 1, "size": 7})
    assert "idempotency-replayed" not in first.headers
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == "/made/1"
    assert "x-other" not in second.headers
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert workshop.done == ["alice"]


def test_without_a_key_a_post_is_carried_out_each_time(workshop: Workshop) -> None:
    """And what only reads takes no notice of one."""
    alice = {"Authorization": "Bearer alice"}
    assert [workshop.client.post("/made", headers=alice).json()["number"] for _ in range(2)] == [1, 2]
    for _ in range(2):
        workshop.client.get("/made", headers=alice | {"Idempotency-Key": workshop.key})
    assert workshop.done[2:] == ["read", "read"]


@pytest.mark.parametrize(
    "other",
    [
        {"json": {"a": 2}},
        {"path": "/failing", "json": {"a": 1}},
        {"path": "/made?b=1", "json": {"a": 1}},
        {"content": b'{"a":1}', "headers": {"content-type": "text/plain"}},
    ],
)
def test_a_key_is_of_one_request(workshop: Workshop, other: dict[str, Any]) -> None:
    """Its body, address and kind; 422 says so in the caller's language."""
    workshop.post(json={"a": 1})
    refused = workshop.post(**other)
    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_key_reused"
    assert workshop.post(who="bruno", json={"a": 3}).json()["number"] == 2


def test_a_response_is_not_given_again_to_other_rights(workshop: Workshop) -> None:
    """Whoever has lost some gets nothing from before."""
    workshop.post(json={})
    workshop.people.replace(replace(ALICE, groups=frozenset()))
    assert workshop.post(json={}).status_code == 422
    workshop.people.replace(ALICE)
    assert workshop.post(json={}).status_code == 201


def test_what_was_refused_may_be_sent_again_under_its_key(workshop: Workshop) -> None:
    """Nothing was done; the second attempt is a first one."""
    assert workshop.post("/failing").status_code == 409
    again = workshop.post("/failing")
    assert (again.status_code, workshop.done) == (200, ["/failing"] * 2)
    assert workshop.post("/failing").headers["idempotency-replayed"] == "true"


def test_a_streamed_response_is_not_kept(workshop: Workshop) -> None:
    assert [workshop.post("/streamed").text for _ in range(2)] == ["ab", "ab"]
    assert workshop.done == ["streamed"] * 2


@pytest.mark.parametrize(
    ("key", "status"),
    [("8e03978e-40d5-43dd-bc93-6894a57f9324", 201), ("x" * 255, 201), ("x" * 256, 400), ("a b", 400), ('""', 201)],
)
def test_a_key_is_1_to_255_visible_characters(workshop: Workshop, key: str, status: int) -> None:
    assert workshop.post(key=key).status_code == status


def test_a_key_may_stand_in_quotes(workshop: Workshop) -> None:
    """As the IETF's draft writes it; it is the same key."""
    workshop.post(key='"abc"')
    assert workshop.post(key="abc").headers["idempotency-replayed"] == "true"


def test_the_boundary_of_a_form_makes_no_difference(workshop: Workshop) -> None:
    """Clients choose it anew for each attempt; what stands between counts, in however many blocks it comes."""

    def form(boundary: str, text: bytes) -> dict[str, Any]:
        body = b"".join(
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="f"\r\n\r\n'.encode(),
                text + b"\r\n",
                f"--{boundary}--\r\n".encode(),
            )
        )
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return {"content": (body[start : start + 7] for start in range(0, len(body), 7)), "headers": kind}

    assert workshop.post(**form("a" * 20, b"text")).status_code == 201
    assert workshop.post(**form("b" * 20, b"text")).headers["idempotency-replayed"] == "true"
    assert workshop.post(**form("b" * 20, b"other")).status_code == 422


def test_the_body_reaches_the_endpoint_whole(workshop: Workshop) -> None:
    """Also one that does not stay in memory while its digest is made."""
    body = bytes(range(256)) * 6_000
    assert workshop.post(content=body, headers={"content-type": "application/octet-stream"}).json()["size"] == len(body)


@dataclass
class Slow:
    """An application with one endpoint that writes when it is let, and who calls it."""

    app: Any
    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    done: list[str] = field(default_factory=list)
    fails: bool = False

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": "Bearer alice", "Idempotency-Key": "k"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1:8080", headers=headers
        )

    async def left(self, client: httpx.AsyncClient) -> None:
        """Send the request, and leave while it is being carried out."""
        sent = asyncio.create_task(client.post("/slow", content=b"text"))
        await asyncio.to_thread(self.begun.wait, 5)
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent


@pytest.fixture
def slow(repeats: Repeats, tmp_path: Path) -> Iterator[Slow]:
    vauban = parts(tmp_path)
    app = create_app(vauban, identity=People([ALICE]))
    app.state.service = replace(app.state.service, repeats=repeats)
    made = Slow(app)
    router = APIRouter(route_class=Repeatable)

    @router.post("/slow", status_code=201)
    def write() -> dict[str, int]:
        made.begun.set()
        made.go.wait(5)
        made.done.append("written")
        if made.fails:
            raise Conflict("not now", "pas maintenant", code="not_now")
        return {"number": len(made.done)}

    app.include_router(router)
    yield made
    made.go.set()
    vauban.database.close()


def test_what_was_begun_is_carried_out_once_though_its_sender_leaves(slow: Slow) -> None:
    """Sent again meanwhile it is under way, and afterwards gets the response that nobody waited for."""

    async def story() -> tuple[httpx.Response, httpx.Response]:
        async with slow.client() as client:
            await slow.left(client)
            early = await client.post("/slow", content=b"text")
            slow.go.set()
            await ended(slow.app, 5)
            return early, await client.post("/slow", content=b"text")

    early, late = asyncio.run(story())
    assert (early.status_code, early.json()["code"]) == (409, "idempotency_key_in_use")
    assert (late.status_code, late.json()) == (201, {"number": 1})
    assert late.headers["idempotency-replayed"] == "true"
    assert slow.done == ["written"]


def test_what_fails_after_its_sender_left_may_be_sent_again_at_once(slow: Slow) -> None:
    slow.fails = True

    async def story() -> httpx.Response:
        async with slow.client() as client:
            await slow.left(client)
            slow.go.set()
            await ended(slow.app, 5)
            slow.fails = False
            return await client.post("/slow", content=b"text")

    assert asyncio.run(story()).json() == {"number": 2}


def test_of_what_a_server_that_ended_left_open_nobody_says_that_it_was_not_done(slow: Slow) -> None:
    """The claim stays for a while, as that of a process that was killed: to be told to wait doubles no write."""

    async def cut() -> None:
        async with slow.client() as client:
            await slow.left(client)  # and the loop ends, the write still in its thread

    async def again() -> httpx.Response:
        async with slow.client() as client:
            return await client.post("/slow", content=b"text")

    asyncio.run(cut())
    slow.go.set()
    over = time.monotonic() + 5
    while not slow.done and time.monotonic() < over:
        time.sleep(0.01)
    assert asyncio.run(again()).json()["code"] == "idempotency_key_in_use"
    assert slow.done == ["written"]


def test_a_server_that_stops_waits_for_what_is_being_written(slow: Slow) -> None:
    """Within its bound; what became of it is then known to whoever asks the next one."""

    async def story() -> None:
        async with slow.app.router.lifespan_context(slow.app), slow.client() as client:
            await slow.left(client)
            threading.Timer(0.1, slow.go.set).start()

    asyncio.run(story())
    assert isinstance(slow.app.state.service.repeats.claim(*_asked(slow)), Given)


def _asked(slow: Slow) -> tuple[str, str, str, str]:
    """The request of :meth:`Slow.client`, as it stands in the table."""
    with slow.app.state.service.repeats._database.reading() as connection:
        row = connection.execute(sa.select(metadata.tables["repeatable"])).one()
    return row.owner, "k", row.request, row.route


def test_the_description_names_the_header(workshop: Workshop) -> None:
    """Of each POST that may be repeated, and of no other operation."""
    paths = workshop.client.app.openapi()["paths"]  # type: ignore[attr-defined]  # it is the application
    named = {
        (path, method)
        for path, methods in paths.items()
        for method, described in methods.items()
        if any(one.get("name") == "Idempotency-Key" for one in described.get("parameters", ()))
    }
    assert {("/v1/conversations", "post"), ("/v1/feedback", "post"), ("/v1/corpora/{corpus}/sync", "post")} <= named
    assert {method for _, method in named} == {"post"}
    assert ("/v1/chat/completions", "post") not in named


def test_of_whoever_may_not_feed_a_corpus_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their upload is refused as it would be without a key: nobody fills a disk by asking."""
    monkeypatch.setattr(Repeats, "claim", lambda *_: pytest.fail("a claim was made"))
    vauban = parts(tmp_path)
    with TestClient(create_app(vauban), base_url="http://127.0.0.1") as client:
        refused = client.post("/v1/corpora/rh/documents?name=a.md", content=b"x", headers={"Idempotency-Key": "k"})
    vauban.database.close()
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
