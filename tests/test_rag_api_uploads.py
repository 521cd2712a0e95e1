"""Documents sent over HTTP: who may, what is refused and how, and what others see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest import uploads
from ingest.jobs import Jobs, Service
from ingest.pipeline import Parts as SyncParts
from ingest.pipeline import Progress
from ingest.reading import LocalReader
from ingest.uploads import Asked
from rag import receiving as pace
from rag import uploads as sending
from rag.api import create_app
from rag.errors import Overloaded, RejectReason, VaubanError
from rag.problems import Refusal
from rag.receiving import Receiving, paced
from rag.rejections import SENTENCES
from rag.types import Access, Principal, Role, RunKind
from rag.uploads import LONGEST_FIELD, MOST_PARTS, received
from tests.corpus_world import PlainParsing
from tests.people import People
from tests.rag_server import Parts, parts

Answer = Any
"""The response of a test client, whose library is its own."""
AGENTS = frozenset({"agents"})
MAINTAINER = frozenset({Role.READER, Role.MAINTAINER})
PEOPLE = (
    Principal("reader", AGENTS, 1),
    Principal("maintainer", AGENTS, 1, MAINTAINER, frozenset({"envois", "rh"})),
    Principal("low", AGENTS, 0, MAINTAINER, frozenset({"*"})),
    Principal("other", AGENTS, 1, MAINTAINER, frozenset({"finances"})),
    Principal("stranger", frozenset({"ext"}), 1, MAINTAINER, frozenset({"*"})),
    Principal("admin", frozenset(), 0, frozenset({Role.READER, Role.ADMINISTRATOR})),
    Principal("branch", frozenset(), 0, frozenset({Role.READER, Role.ADMINISTRATOR}), corpora=frozenset({"rh"})),
    Principal("server", frozenset(), 0, frozenset(Role), frozenset({"*"}), access=Access.SERVER),
)
TEXT = b"# Article 1\n\nLe badge est rendu au d\xc3\xa9part.\n\n# Article 2\n\nIl est personnel."


class Plain(Service):
    """The works of a service that reads plain text in this process: no worker is started for each test."""

    def upload(self, asked: Sequence[Asked], *, progress: Progress) -> None:
        of = self._vauban
        made = SyncParts(of.home, of.catalog, of.store, of.embedder, LocalReader(PlainParsing()))
        uploads.take_in(asked, made, progress=progress, settled=self._settled)


@dataclass
class Site:
    client: TestClient
    vauban: Parts

    def call(self, who: str, method: str, path: str, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {who}", "Accept-Language": "en", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def add(self, name: str = "note.md", content: bytes = TEXT, who: str = "maintainer", **said: Any) -> Answer:
        return self.call(who, "POST", "/v1/corpora/envois/documents", params={"name": name, **said}, content=content)

    def left(self) -> list[str]:
        """Everything on the disk of the corpus but its declaration."""
        found = (path for path in self.vauban.home.uploads.rglob("*") if path.is_file())
        return sorted(path.name for path in found if path.name != "corpus.toml")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    vauban = parts(tmp_path, file_megabytes=1)
    with ExitStack() as undo:
        undo.callback(vauban.database.close)
        jobs = Jobs(vauban.catalog, Plain(vauban), [])  # type: ignore[arg-type]  # all that works of a real one need
        undo.callback(jobs.close)
        app = create_app(vauban, jobs, token="t" * 32, identity=People(PEOPLE))
        client = undo.enter_context(TestClient(app, base_url="http://127.0.0.1:8080"))
        made = Site(client, vauban)
        body = {"name": "envois", "groups": ["agents"], "contact": "drh@exemple.test"}
        assert made.call("admin", "POST", "/v1/corpora", json=body).status_code == 201
        yield made


def code(response: Answer) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def test_a_document_is_published_when_201_says_so(site: Site) -> None:
    """Under an address with a tag that is the one it is read by; the file comes back byte for byte."""
    added = site.add(title="Badges", valid_from="2024-01-01")
    assert added.status_code == 201
    assert (added.json()["title"], added.json()["valid_from"]) == ("Badges", "2024-01-01")
    where = added.headers["location"]
    read = site.call("maintainer", "GET", where)
    assert read.headers["etag"] == added.headers["etag"]
    assert site.call("reader", "GET", f"{where}/file").content == TEXT
    assert code(site.add()) == (409, "document_exists")
    assert site.left() == ["note.md", "note.md.meta.toml"]


def test_a_form_says_the_same_as_a_query(site: Site) -> None:
    """Its file names itself; groups may be repeated, and an empty one is nobody."""
    data = {"title": "Badges", "groups": ["agents", "rh"], "clearance": "1"}
    sent = site.call("maintainer", "POST", "/v1/corpora/envois/documents", data=data, files={"file": ("é t.md", TEXT)})
    assert (sent.status_code, sent.json()["id"], sent.json()["title"]) == (201, "é t.md", "Badges")
    row = site.vauban.catalog.document("envois", "é t.md", (1,))
    assert row is not None
    assert (row.document.groups, row.document.clearance) == (frozenset({"agents", "rh"}), 1)
    site.add("b.md", groups="")
    assert site.call("reader", "GET", "/v1/corpora/envois/documents/b.md").status_code == 404


@pytest.mark.parametrize(
    ("who", "answer"),
    [
        ("reader", (403, "forbidden")),
        ("other", (403, "forbidden")),
        ("stranger", (404, "unknown_corpus")),
        ("nobody", (401, "key_required")),
    ],
)
def test_only_who_feeds_a_corpus_may_send_to_it(site: Site, who: str, answer: tuple[int, str]) -> None:
    """And who may not see it learns nothing of it: as of one that does not exist."""
    site.add()
    path = "/v1/corpora/envois/documents"
    assert code(site.add("b.md", who=who)) == answer
    for method in ("PUT", "DELETE"):
        assert code(site.call(who, method, f"{path}/note.md", content=TEXT)) == answer
    for action in ("sync", "rollback", "rebuild"):
        assert code(site.call(who, "POST", f"/v1/corpora/envois/{action}")) == answer
    assert code(site.call(who, "GET", "/v1/corpora/envois/report")) == answer
    if who == "stranger":
        refused = site.call(who, "POST", "/v1/corpora/rien/documents?name=a", content=b"a").json()
        hidden = site.add("a", who=who).json()
        assert refused["detail"].replace("rien", "envois") == hidden["detail"]
    assert site.left() == ["note.md", "note.md.meta.toml"]


def test_a_hidden_document_cannot_be_replaced_or_removed(site: Site) -> None:
    """By a maintainer whose clearance is too low: it is as absent as one that is not there."""
    site.add(clearance=1)
    for name in ("note.md", "rien.md"):
        for method in ("PUT", "DELETE", "GET"):
            answer = site.call("low", method, f"/v1/corpora/envois/documents/{name}", content=TEXT)
            assert code(answer) == (404, "unknown_document")
        assert code(site.call("low", "GET", f"/v1/corpora/envois/documents/{name}/articles/1"))[0] == 404
    assert site.call("low", "GET", "/v1/corpora/envois").json()["documents"] == 0
    assert site.call("maintainer", "GET", "/v1/corpora/envois").json()["documents"] == 1


def test_a_change_may_name_the_version_it_is_of(site: Site) -> None:
    """412 when it is another by now, or the tag is that of somebody with other rights."""
    where = site.add().headers["location"]
    mine = site.call("maintainer", "GET", where).headers["etag"]
    theirs = site.call("server", "GET", where).headers.get("etag") or site.call("reader", "GET", where).headers["etag"]
    assert mine != theirs
    assert site.call("maintainer", "GET", where, headers={"If-None-Match": mine}).status_code == 304
    assert site.call("reader", "GET", where, headers={"If-None-Match": mine}).status_code == 200
    for tag in ('"other"', theirs):
        refused = site.call("maintainer", "PUT", where, content=TEXT, headers={"If-Match": tag})
        assert code(refused) == (412, "changed_meanwhile")
    put = site.call("maintainer", "PUT", f"{where}?wait=20", content=TEXT + b" Neuf.", headers={"If-Match": mine})
    assert (put.status_code, put.json()["source"]) == (200, "note.md")
    assert code(site.call("maintainer", "DELETE", where, headers={"If-Match": mine})) == (412, "changed_meanwhile")
    assert site.call("maintainer", "DELETE", where, headers={"If-Match": put.headers["etag"]}).status_code == 204
    assert site.left() == []


def test_a_put_is_a_run_to_follow(site: Site) -> None:
    """Which only those who feed the corpus may see, or cancel."""
    where = site.add().headers["location"]
    put = site.call("maintainer", "PUT", where, content=TEXT + b" Neuf.")
    assert (put.status_code, put.json()["kind"]) == (202, RunKind.UPLOAD)
    run = put.headers["location"]
    stream = site.call("maintainer", "GET", run, headers={"Accept": "text/event-stream"})
    assert '"state":"done"' in stream.text
    for who in ("reader", "other", "stranger"):
        assert code(site.call(who, "GET", run)) == (404, "unknown_run")
        assert code(site.call(who, "DELETE", run)) == (404, "unknown_run")
        assert site.call(who, "GET", "/v1/runs").json()["data"] == []
    assert len(site.call("maintainer", "GET", "/v1/runs").json()["data"]) == 2
    page = site.call("server", "GET", "/v1/runs?limit=1").json()
    after = site.call("server", "GET", "/v1/runs", params={"after": page["next"]}).json()
    assert [one["id"] for one in page["data"] + after["data"]] == [
        one["id"] for one in site.call("server", "GET", "/v1/runs").json()["data"]
    ]


def test_a_run_does_not_name_the_files_of_hidden_documents(site: Site) -> None:
    """Nor why they were refused."""
    where = site.add("primes.md", clearance=1).headers["location"]
    refused = site.call("maintainer", "PUT", f"{where}?wait=20", content=b"BAD")
    assert code(refused) == (422, "corrupt")
    (run, *_) = site.call("low", "GET", "/v1/runs").json()["data"]
    assert (run["rejected"], "primes" in str(run)) == ([], False)
    assert site.call("maintainer", "GET", f"/v1/runs/{run['id']}").json()["rejected"][0]["path"] == "primes.md"


@pytest.mark.parametrize(
    ("name", "content", "said", "answer"),
    [
        ("a.md", b"BAD", {}, (422, "corrupt")),
        ("a.md", b"", {}, (400, "no_file")),
        ("a.md", bytes(2**20 + 1), {}, (413, "too_large")),
        ("a.md", TEXT, {"valid_from": "hier"}, (400, "invalid_request")),
        ("a.md", TEXT, {"valid_from": "2024-01-01", "valid_to": "2023-01-01"}, (422, "bad_metadata")),
        ("a.md", TEXT, {"unknown": "1"}, (400, "invalid_request")),
        ("a.md", TEXT, {"id": "\x7f"}, (400, "bad_id")),
        ("a.md", TEXT, {"id": ".."}, (400, "bad_id")),
        ("../../../.bashrc", TEXT, {}, (400, "bad_name")),
        ("corpus.toml", b'groups = ["*"]', {}, (400, "bad_name")),
        ("a.md.meta.toml", b'groups = ["*"]', {}, (400, "bad_name")),
    ],
)
def test_what_is_refused_leaves_nothing(
    site: Site, name: str, content: bytes, said: dict[str, str], answer: tuple[int, str]
) -> None:
    """With a reason that programs and people can read."""
    assert code(site.add(name, content, **said)) == answer
    assert (site.left(), site.vauban.catalog.published("envois")) == ([], ())


def test_a_corpus_synced_from_a_folder_takes_no_uploads(site: Site) -> None:
    """Its folder would take them back at the next sync; nor is it declared here."""
    path = "/v1/corpora/rh/documents"
    assert code(site.call("maintainer", "POST", path, params={"name": "a"}, content=TEXT)) == (409, "fed_from_folder")
    assert code(site.call("admin", "PATCH", "/v1/corpora/rh", json={"groups": []})) == (409, "fed_from_folder")
    assert site.call("reader", "GET", "/v1/corpora/rh").json()["fed"] == "folder"


def test_corpora_are_declared_by_administrators(site: Site) -> None:
    """Whose audience acts at once; readers are not told who else may read."""
    assert code(site.call("maintainer", "POST", "/v1/corpora", json={"name": "x"})) == (403, "forbidden")
    assert code(site.call("maintainer", "PATCH", "/v1/corpora/envois", json={"title": "X"})) == (403, "forbidden")
    for name in ("x", "envois"):  # a credential that is limited to another corpus learns nothing of either
        assert code(site.call("branch", "POST", "/v1/corpora", json={"name": name})) == (403, "forbidden")
    assert code(site.call("admin", "POST", "/v1/corpora", json={"name": "envois"})) == (409, "corpus_exists")
    assert code(site.call("admin", "POST", "/v1/corpora", json={"name": "../x"})) == (400, "bad_corpus_name")
    assert site.call("reader", "GET", "/v1/corpora/envois").json()["groups"] is None
    assert site.call("maintainer", "GET", "/v1/corpora/envois").json()["groups"] == ["agents"]
    assert site.call("admin", "PATCH", "/v1/corpora/envois", json={"groups": ["ext"]}).json()["groups"] == ["ext"]
    assert code(site.call("reader", "GET", "/v1/corpora/envois")) == (404, "unknown_corpus")
    assert site.call("stranger", "GET", "/v1/corpora/envois").status_code == 200


def test_an_article_has_an_address_that_survives_its_versions(site: Site) -> None:
    """Spelled in any usual way; what it says is what is in force."""
    where = site.add().headers["location"]
    for spelled in ("2", "Article 2", "art. 2", "article-2"):
        assert "personnel" in site.call("reader", "GET", f"{where}/articles/{spelled}").text
    first = site.call("reader", "GET", f"{where}/articles/2").json()
    site.call("maintainer", "PUT", f"{where}?wait=20", content=TEXT.replace(b"personnel", b"collectif"))
    again = site.call("reader", "GET", first["permalink"]).json()
    assert "collectif" in again["article"]["parts"][0]["text"]
    assert "personnel" in site.call("reader", "GET", first["versions"][0]["url"]).text
    assert code(site.call("reader", "GET", f"{where}/articles/9")) == (404, "unknown_article")


def test_a_hostile_range_costs_no_more_than_the_file(site: Site) -> None:
    """CVE-2025-62727: thousands of ranges took quadratic time; overlapping ones are merged, too many ignored."""
    where = f"{site.add().headers['location']}/file"
    overlapping = "bytes=" + ",".join("0-" for _ in range(50))
    assert site.call("reader", "GET", where, headers={"Range": overlapping}).content.count(b"badge") == 1
    many = "bytes=" + ",".join(f"{n % 7}-" for n in range(1_000))
    assert site.call("reader", "GET", where, headers={"Range": many}).status_code == 200
    assert site.call("reader", "GET", where, headers={"Range": "bytes=2-8"}).content == TEXT[2:9]
    for wrong in ("bytes=", "bytes=9-1", "lines=1-2", "bytes=99999-"):
        assert site.call("reader", "GET", where, headers={"Range": wrong}).status_code in {400, 416}


def test_every_reason_is_said_in_both_languages() -> None:
    """The list is closed."""
    assert set(SENTENCES) == set(RejectReason)


# --- receiving ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    """Nothing but what receives a file; the name, the fields and the bytes come back."""
    folder = tmp_path_factory.mktemp("receiving")

    async def receive(request: Request) -> Response:
        try:
            async with received(request, folder, 10_000) as got:
                content = got.file.read_bytes().hex()
                return JSONResponse({"name": got.name, "fields": dict(got.fields), "content": content})
        except VaubanError as error:
            return JSONResponse({"code": error.code}, 400)

    with TestClient(Starlette(routes=[Route("/", receive, methods=["POST"])])) as client:
        yield client, folder


def form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="file"; filename="a.md"\r\n\r\ntext'
FIELD = b'Content-Disposition: form-data; name="title"\r\n\r\nT'


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (form(FIELD, FILE), None),
        (form(FILE, end=b""), "bad_form"),
        (form(FIELD), "no_file"),
        (form(FILE, FILE), "several_files"),
        (form(*[FIELD] * MOST_PARTS, FILE), "bad_form"),
        (form(FIELD + b"x" * LONGEST_FIELD, FILE), "bad_form"),
        (form(b"".join(b"X-%d: y\r\n" % n for n in range(50)) + FILE), "bad_form"),
        (form(b"X: " + b"y" * 100_000 + b"\r\n" + FILE), "bad_form"),
        (form(b"\r\ntext"), "bad_form"),
        (form(FIELD.replace(b"T", b"\xff"), FILE), "bad_form"),
        (form(FILE + b"x" * 20_000), "too_large"),
        (b"no form at all", "bad_form"),
        (b"\r\n" * 50_000, "bad_form"),
    ],
)
def test_a_form_is_bounded_while_it_is_read(
    receiving: tuple[TestClient, Path], body: bytes, answer: str | None
) -> None:
    """CVE-2024-24762, CVE-2024-53981: neither parts nor headers nor fields nor preambles cost more than they may."""
    client, folder = receiving
    got = client.post("/", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}).json()
    assert got.get("code") == answer
    if answer is None:
        assert got == {"name": "a.md", "fields": {"title": ["T"]}, "content": b"text".hex()}
    assert list(folder.iterdir()) == []


@given(
    body=st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from([b"--b", b"\r\n", b"--", FILE, FIELD, b"--b--", b"\n", b"\0", b":", b'filename="'])
        ).map(b"".join),
    ),
    kind=st.sampled_from(
        ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=", "text/plain", "",
         "multipart/form-data; boundary=" + "x" * 300, 'multipart/form-data; boundary="é']
    ),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_body_breaks_the_receiver(receiving: tuple[TestClient, Path], body: bytes, kind: str) -> None:
    """Whatever is sent is a file or a refusal, and nothing stays on the disk."""
    client, folder = receiving
    response = client.post("/", content=body, headers=[(b"Content-Type", kind.encode("latin-1"))])
    assert response.status_code in {200, 400}
    assert list(folder.iterdir()) == []


# --- bounds ---------------------------------------------------------------------------------------------


def test_who_sends_too_slowly_is_told_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many bytes trickle in: they must come at some pace."""
    monkeypatch.setattr(pace, "GRACE", 0.1)
    trickled: list[int] = []

    async def receive() -> dict[str, Any]:
        if trickled:
            await asyncio.sleep(0.04)
        trickled.append(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        async with received(request, tmp_path, 10_000):
            pytest.fail("it never ends")

    with pytest.raises(Refusal) as refused:
        asyncio.run(send())
    assert (refused.value.status, refused.value.code) == (408, "too_slow")
    assert 1 < len(trickled) < 8
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_may_take_as_long_as_it_needs() -> None:
    """At a pace that is slow, and not too slow; what is done with a block is not the sender's time."""

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(0.05)
            yield bytes(1_000)

    async def read() -> int:
        size = 0
        async for block in paced(blocks(), 0.15):
            size += len(block)
            await asyncio.sleep(0.05)
        return size

    assert asyncio.run(read()) == 6_000


def test_places_are_bounded_for_each_and_for_all() -> None:
    """And are free again when a body has come, or has not."""
    places = Receiving(2, 3)
    with ExitStack() as held:
        for owner in ("ada", "ada", "eve"):
            held.enter_context(places.held(owner))
        for owner, code in (("ada", "too_many_of_yours"), ("bob", "overloaded")):
            with pytest.raises(Overloaded) as refused, places.held(owner):
                pass
            assert refused.value.code == code
    for owner in ("ada", "ada", "bob"):
        with places.held(owner):
            pass


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_who_sends_too_much_at_a_time_is_told_when_to_come_back(site: Site, headers: dict[str, str]) -> None:
    """429 with Retry-After, in words; nothing is kept."""
    places = Receiving(0, 0)
    service = site.client.app.state.service  # type: ignore[attr-defined]  # Starlette's, behind a wider type
    site.client.app.state.service = replace(service, receiving=places)  # type: ignore[attr-defined]  # as above
    answer = site.call("maintainer", "POST", "/v1/corpora/envois/documents?name=a.md", content=TEXT, headers=headers)
    assert code(answer) == (429, "too_many_of_yours")
    assert int(answer.headers["retry-after"]) >= 1
    assert site.left() == []


def test_no_upload_takes_the_last_of_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """507 before anything is received; and as it comes, where nobody said how large it is."""
    monkeypatch.setattr(sending, "_free", lambda folder: sending.RESERVE + 10)
    assert code(site.add()) == (507, "disk_full")
    rooms = iter([sending.RESERVE * 2, 0])
    monkeypatch.setattr(sending, "_free", lambda folder: next(rooms))
    monkeypatch.setattr(sending, "BETWEEN", 100)
    assert code(site.add(content=bytes(500))) == (507, "disk_full")
    assert site.left() == []
