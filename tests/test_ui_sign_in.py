"""Signing in and out on the page: the form, its cookie, and whose name the page then asks in."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.keys import Keys
from rag.sessions import sessions
from rag.types import Access, Principal
from tests.page_server import page_server
from tests.rag_server import QUESTION, Parts, Writer
from ui import shell

MARIE = Principal("Marie", frozenset({"direction"}), access=Access.KEY)
JEAN = Principal("Jean", access=Access.KEY)


@dataclass
class Place:
    url: str
    parts: Parts

    def browser(self) -> httpx.Client:
        """Sends back the cookies that it was given, and says where its forms come from."""
        return httpx.Client(base_url=self.url, trust_env=False, headers={"Accept": "text/html"}, timeout=20)

    def key(self, principal: Principal = MARIE) -> str:
        return Keys(self.parts.database).create(principal, 1, further=True)[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with page_server(tmp_path_factory.mktemp("sign-in"), Writer(), login=frozenset({"keys"})) as served:
        yield Place(served.url, served.parts)


@pytest.fixture
def browser(place: Place) -> Iterator[httpx.Client]:
    with place.browser() as made:
        yield made


def form(browser: httpx.Client) -> str:
    found = re.search(r'name="form" value="([\w-]{43})"', browser.get("/sign-in").text)
    assert found
    return found[1]


def post(browser: httpx.Client, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
    own = {"Origin": str(browser.base_url).rstrip("/")}
    return browser.post(path, data=fields, headers=own | headers)


def sign_in(browser: httpx.Client, secret: str) -> httpx.Response:
    return post(browser, "/sign-in", {"form": form(browser), "credential": secret})


def cookies(response: httpx.Response) -> dict[str, str]:
    """The attributes of each cookie that a response sets, by its name."""
    parts = [line.partition("=") for line in response.headers.get_list("set-cookie")]
    return {name: rest.partition(";")[2].lower() for name, _, rest in parts}


def browser_session(response: httpx.Response) -> str:
    """The session that a response begins, whatever its cookie is called."""
    (found,) = [line for line in response.headers.get_list("set-cookie") if "vauban_session=" in line]
    return str(found.partition("=")[2].partition(";")[0])


# --- the form -------------------------------------------------------------------------------------------


def test_the_form_is_readable_without_a_script(browser: httpx.Client) -> None:
    """French first, a label for the field, a policy that admits nothing inline and nothing from elsewhere."""
    response = browser.get("/sign-in")
    assert '<html lang="fr">' in response.text
    assert '<label for="credential">Clé ou jeton' in response.text
    assert "portail" not in response.text  # there is none
    assert not re.search(r"<script|style=|onload|https?://", response.text)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    assert browser.get("/sign-in.css").headers["content-type"].startswith("text/css")


def test_whoever_has_a_key_signs_in_and_out(place: Place, browser: httpx.Client) -> None:
    """The cookie is out of reach of scripts, holds nothing of the key, and means nothing after signing out."""
    secret = place.key()
    response = sign_in(browser, secret)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    set_ = cookies(response)["vauban_session"]
    assert "httponly" in set_
    assert "samesite=lax" in set_
    assert "domain" not in set_
    session = browser.cookies["vauban_session"]
    assert len(session) == 43
    assert session not in secret
    assert browser.get("/").status_code == 200
    assert "Marie" in browser.get("/sign-in").text
    assert post(browser, "/sign-out", {"form": form(browser)}).headers["location"] == "/sign-in"
    browser.cookies.set("vauban_session", session)
    assert browser.get("/").status_code == 303


def test_a_wrong_key_is_said_beside_the_field(place: Place, browser: httpx.Client) -> None:
    """Without repeating it, and without a cookie."""
    wrong = place.key()[:-1] + "~"
    response = sign_in(browser, wrong)
    assert response.status_code == 401
    assert 'aria-invalid="true" aria-describedby="fault hint"' in response.text
    assert '<p id="fault" role="alert">' in response.text
    assert wrong not in response.text
    assert "vauban_session" not in browser.cookies


def test_what_is_typed_is_shown_as_text(place: Place, browser: httpx.Client) -> None:
    """So is the name that a key was given."""
    sign_in(browser, place.key(Principal("<b>x</b>", access=Access.KEY)))
    assert "&lt;b&gt;x&lt;/b&gt;" in browser.get("/sign-in").text


def test_another_site_can_neither_sign_in_nor_out(place: Place, browser: httpx.Client) -> None:
    """Not without the form's value, not with one of another browser, not from another origin."""
    secret = place.key()
    right = form(browser)
    with place.browser() as other:
        foreign = form(other)
    for fields in ({}, {"form": ""}, {"form": foreign}, {"form": right + "x"}):
        assert post(browser, "/sign-in", {**fields, "credential": secret}).status_code == 400
        form(browser)
    for origin in ("http://evil.test", "null"):
        assert post(browser, "/sign-in", {"form": right, "credential": secret}, Origin=origin).status_code == 403
    as_json = browser.post("/sign-in", json={"form": form(browser), "credential": secret})
    assert as_json.status_code == 400
    sign_in(browser, secret)
    assert post(browser, "/sign-out", {"form": "x"}).status_code == 400
    assert browser.post("/sign-out", data={"form": form(browser)}).status_code == 403  # no origin
    assert browser.get("/").status_code == 200


def test_a_cookie_alone_changes_nothing_without_the_origin_of_the_page(place: Place, browser: httpx.Client) -> None:
    """What a key may do by itself a browser may not be made to do."""
    sign_in(browser, place.key())
    body = {"question": "congé"}
    assert browser.post("/v1/search", json=body).json()["code"] == "wrong_origin"
    assert browser.post("/v1/search", json=body, headers={"Origin": "http://evil.test"}).status_code == 403
    assert browser.post("/v1/search", json=body, headers={"Origin": place.url}).status_code == 200
    assert browser.post("/v1/search", json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert browser.get("/v1/models").status_code == 200


def test_a_session_is_never_the_one_that_a_browser_brought(place: Place, browser: httpx.Client) -> None:
    """An attacker's cookie is replaced at sign-in, and a session that was left behind ends."""
    browser.cookies.set("vauban_session", "A" * 43)
    form_value = form(browser)
    response = post(browser, "/sign-in", {"form": form_value, "credential": place.key()})
    (first,) = [line.partition("=")[2].partition(";")[0] for line in response.headers.get_list("set-cookie")]
    assert first != "A" * 43
    with place.browser() as second:
        second.cookies.set("vauban_session", first)
        assert second.get("/").status_code == 200
        assert sign_in(second, place.key()).status_code == 303
    with place.browser() as third:
        third.cookies.set("vauban_session", first)
        assert third.get("/").status_code == 303


def test_the_cookie_is_for_https_where_https_is(tmp_path: Path) -> None:
    """Over plain HTTP from elsewhere nobody is asked for a key at all."""
    settings: dict[str, Any] = {
        "login": frozenset({"keys"}), "hosts": ("vauban.exemple",), "proxies": ("127.0.0.1",)
    }  # fmt: skip
    with page_server(tmp_path, None, **settings) as served:
        place = Place(served.url, served.parts)
        forwarded = {"X-Forwarded-Host": "vauban.exemple", "X-Forwarded-Proto": "https"}
        with place.browser() as browser:
            page = browser.get("/sign-in", headers=forwarded)
            value = re.search(r'name="form" value="([\w-]+)"', page.text)
            assert value
            assert "secure" in cookies(page)["__Host-vauban_form"]
            sent = {"Cookie": f"__Host-vauban_form={value[1]}", "Origin": "https://vauban.exemple"}
            fields = {"form": value[1], "credential": place.key()}
            response = browser.post("/sign-in", data=fields, headers=forwarded | sent)
            assert response.status_code == 303
            assert "secure" in cookies(response)["__Host-vauban_session"]
            session = browser_session(response)
            mine = {"Cookie": f"__Host-vauban_session={session}"} | forwarded
            assert browser.get("/config", headers=mine).status_code == 200
            # A neighbour under the same domain can set the others: neither a session nor a form is theirs to choose.
            tossed = {"Cookie": f"vauban_session={session}"} | forwarded
            assert browser.get("/config", headers=tossed).status_code == 401
            both = {"Cookie": f"vauban_session=other; __Host-vauban_session={session}"} | forwarded
            assert browser.get("/config", headers=both).status_code == 200
            theirs = {"Cookie": f"vauban_form={value[1]}", "Origin": "https://vauban.exemple"} | forwarded
            assert browser.post("/sign-in", data=fields, headers=theirs).status_code == 400
            # Whoever is on the network can write a page of the plain address.
            down = sent | {"Origin": "http://vauban.exemple"} | forwarded
            assert browser.post("/sign-in", data=fields, headers=down).json()["code"] == "wrong_origin"
            plain = browser.get("/sign-in", headers={"Host": "vauban.exemple"})
            assert 'name="credential"' not in plain.text
            assert "HTTPS" in plain.text
            there = {"Host": "vauban.exemple", "Origin": "http://vauban.exemple"}
            assert browser.post("/sign-in", data=fields, headers=there).status_code == 403


def test_whoever_a_gateway_signs_in_is_told_where_to_sign_in_and_out(tmp_path: Path) -> None:
    """Not here: a form for a secret that they never had would be a dead end, and so would a page without a way out."""
    settings: dict[str, Any] = {"login": frozenset({"keys", "proxy"}), "proxies": ("127.0.0.1",)}
    with page_server(tmp_path, None, **settings) as served:
        place = Place(served.url, served.parts)
        with place.browser() as browser:
            assert "rouvrez Vauban depuis ce portail" in browser.get("/sign-in").text
            known = browser.get("/sign-in", headers={"X-Remote-User": "marie"}).text
            assert "c'est là que l'on se déconnecte" in known
            assert "<form" not in known
            sign_in(browser, place.key())
            with_session = browser.get("/sign-in").text
            assert 'action="/sign-out"' in with_session
            assert "portail" not in with_session


# --- the page as somebody -------------------------------------------------------------------------------


def events(browser: httpx.Client, place: Place, fn: str, data: list[Any], visit: str = "") -> list[dict[str, Any]]:
    """What the page shows after one of its functions was called, as its own script calls it."""
    visit = visit or uuid.uuid4().hex[:11]
    config = browser.get("/config").json()
    (number,) = [one["id"] for one in config["dependencies"] if one["api_name"] == fn]
    body = {"data": data, "fn_index": number, "session_hash": visit}
    joined = browser.post("/gradio_api/queue/join", json=body, headers={"Origin": place.url})
    assert joined.status_code == 200, joined.text
    found = []
    with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": visit}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                found.append(json.loads(line[5:]))
                if found[-1]["msg"] in {"process_completed", "close_stream"}:
                    return found
    return found


def ask(browser: httpx.Client, place: Place) -> list[dict[str, Any]]:
    """Ask a question on the page, everything else in its form left alone."""
    config = browser.get("/config").json()
    (inputs,) = [one["inputs"] for one in config["dependencies"] if one["api_name"] == "on_ask"]
    kinds = {one["id"]: one for one in config["components"]}
    data = [QUESTION if kinds[one]["props"].get("elem_id") == "question" else None for one in inputs]
    visit = uuid.uuid4().hex[:11]
    events(browser, place, "on_load", ["fr"], visit)
    return events(browser, place, "on_ask", [data[0], ["rh"], *data[2:]], visit)


def test_the_page_asks_in_the_name_of_whoever_signed_in(place: Place) -> None:
    """Each sees their own corpora, and not those of the machine or of each other."""
    for principal, expected in ((MARIE, ["rh", "secret"]), (JEAN, ["rh"])):
        with place.browser() as browser:
            sign_in(browser, place.key(principal))
            shown = json.dumps(events(browser, place, "on_load", ["fr"]), ensure_ascii=False)
            assert [name for name in ("finances", "rh", "secret") if f'"{name}"' in shown] == expected


def test_the_page_may_write_in_that_name(place: Place, browser: httpx.Client) -> None:
    """What it calls the API with is a token and no cookie, which needs no origin."""
    sign_in(browser, place.key())
    shown = json.dumps(ask(browser, place), ensure_ascii=False)
    assert "25 jours ouvrés" in shown


def test_a_revoked_key_ends_the_page_at_its_next_request(place: Place, browser: httpx.Client) -> None:
    secret = place.key()
    sign_in(browser, secret)
    assert browser.get("/config").status_code == 200
    Keys(place.parts.database).revoke(secret[4:20])
    for path in ("/config", "/v1/models", "/gradio_api/queue/data?session_hash=a", "/gradio_api/heartbeat/a"):
        assert browser.get(path).status_code == 401
    assert browser.get("/").headers["location"] == "/sign-in"


def test_an_open_page_is_its_first_person_s_alone(place: Place) -> None:
    """Gradio gives what a page shows to whoever names it; here another person names it in vain."""
    with place.browser() as first, place.browser() as second:
        sign_in(first, place.key())
        sign_in(second, place.key(JEAN))
        events(first, place, "on_load", ["fr"], visit="abc")
        for path in ("queue/data?session_hash=abc", "heartbeat/abc", "queue/data?session_hash=x&session_hash=abc"):
            assert second.get(f"/gradio_api/{path}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("queue/join", '{"data": ["fr"], "fn_index": 0, "session_hash": "its-own"}'),
        ("queue/join", '{"data": ["fr"], "fn_index": 0, "session_hash": "free", "session_hash": "its-own"}'),
        ("queue/join", '{"data": ["fr"], "fn_index": 0, "session_hash": "its-own", "session_hash": "free"}'),
        ("queue/join", r'{"data": ["fr"], "fn_index": 0, "session_\u0068ash": "its-own"}'),
        ("cancel", '{"session_hash": "its-own", "fn_index": 0, "event_id": "x"}'),
    ],
)
def test_nobody_acts_on_the_page_of_another(place: Place, path: str, body: str) -> None:
    """What is sent names a page as well, and the one that is read is the one that was looked at."""
    with place.browser() as first, place.browser() as second:
        sign_in(first, place.key())
        sign_in(second, place.key(JEAN))
        events(first, place, "on_load", ["fr"], visit="its-own")
        sent = {"Content-Type": "application/json", "Origin": place.url}
        assert second.post(f"/gradio_api/{path}", content=body, headers=sent).status_code == 404
        own = body.replace("free", "its-own")
        assert first.post(f"/gradio_api/{path}", content=own, headers=sent).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"session_hash": ""}', b'{"session_hash": 1}', b"[" * 100_000])
def test_a_page_that_has_no_name_is_nobody_s(place: Place, browser: httpx.Client, body: bytes) -> None:
    """Gradio would make one that everybody without a name is on."""
    sign_in(browser, place.key())
    sent = {"Content-Type": "application/json", "Origin": place.url}
    assert browser.post("/gradio_api/queue/join", content=body, headers=sent).status_code == 400
    assert browser.get("/gradio_api/queue/data?session_hash=").status_code == 400


def test_whoever_names_many_pages_makes_nobody_lose_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten of them is their own, the oldest first."""
    monkeypatch.setattr(shell, "MOST_OF_ONE", 3)
    visits = shell.Visits()
    assert visits.admits("m", "Marie")
    assert all(visits.admits(f"j{number}", "Jean") for number in range(20))
    assert not visits.admits("m", "Jean")
    assert not visits.admits("j19", "Marie")
    assert visits.admits("j0", "Marie")


def test_no_more_pages_are_remembered_than_can_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all, the one that was used least lately is forgotten."""
    monkeypatch.setattr(shell, "MOST_VISITS", 2)
    visits = shell.Visits()
    assert visits.admits("a", "Marie")
    assert visits.admits("b", "Jean")
    assert not visits.admits("a", "Anne")  # it is no use of it
    assert visits.admits("c", "Anne")
    assert visits.admits("a", "Anne")
    assert not visits.admits("c", "Jean")


def test_no_token_of_anybody_reaches_the_browser(place: Place, browser: httpx.Client) -> None:
    """Neither those of the page nor the key, in anything that it shows."""
    secret = place.key()
    sign_in(browser, secret)
    told = json.dumps(events(browser, place, "on_load", ["fr"])) + browser.get("/config").text + browser.get("/").text
    assert not re.search(r"vbp_|vbn_|Bearer", told)


def test_sessions_that_are_over_are_swept_out(place: Place, browser: httpx.Client) -> None:
    with place.parts.database.writing() as connection:
        connection.execute(sessions.update().values(ends=1))
    sign_in(browser, place.key())
    with place.parts.database.reading() as connection:
        assert len(connection.execute(sessions.select()).all()) == 1


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium (Debian: chromium)")
def test_a_session_that_ended_while_the_page_is_open_is_said_with_the_way_back(place: Place) -> None:
    """The page stays as it is, and goes on once its person has signed in again beside it."""
    from playwright.sync_api import sync_playwright

    keys = Keys(place.parts.database)
    key, secret = keys.create(MARIE, 1, further=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(place.url)
        page.fill("input[name=credential]", secret)
        page.click("button[type=submit]")
        over = page.locator(".session-over")
        page.locator(".example").first.or_(page.locator("#fault .fault")).wait_for()
        assert over.is_hidden()
        keys.revoke(key.id)
        page.fill("#question textarea", QUESTION)
        page.click("#send")
        over.wait_for(state="visible")
        assert "Votre session est terminée" in over.inner_text()
        assert page.locator("#question textarea").input_value() == QUESTION
        with page.expect_popup() as opened:
            over.locator("a").click()
        opened.value.fill("input[name=credential]", place.key())
        opened.value.click("button[type=submit]")
        opened.value.wait_for_selector("#question textarea")
        page.click("#send")
        page.locator("#conversation .tool.up").wait_for()
        assert over.is_hidden()
        browser.close()
