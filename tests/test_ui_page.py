"""The page in a real browser, and the addresses it is served from: this server alone, and no more than needed."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.page_server import Served, page_server
from tests.rag_server import LEAVE, QUESTION, Writer, chunk, document, feedback

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "0123456789abcdef0123456789abcdef"
CHROMIUM = shutil.which("chromium")
SWITCHES = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-quic"
).split()
HOSTILE = (
    "<img src=http://evil.test/a.png onerror=\"document.title='pris'\"> ![](http://evil.test/b.png) "
    "[ici](javascript:document.title='pris') ${document.title='pris'} {{7*7}} `x` <script>alert(1)</script>"
)

browser_test = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page_server(tmp_path_factory.mktemp("page"), Writer()) as running:
        yield running


# --- without a browser ---------------------------------------------------------------------------------


def get(served: Served, path: str, **more: Any) -> httpx.Response:
    return httpx.get(served.url + path, trust_env=False, **more)


def test_the_page_names_no_other_host(served: Served) -> None:
    """No address of elsewhere in it, the language of the settings, and a policy that forbids the rest."""
    response = get(served, "/")
    assert response.status_code == 200
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\"' <]*", response.text))
    assert {address for address in addresses if not address.startswith(served.url)} == set()
    assert '<html lang="fr"' in " ".join(response.text.split())
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "gradio.app" not in response.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/on_ask"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/monitoring"),
        ("GET", "/manifest.json"),
        ("GET", "/docs"),
        ("GET", "/login"),
        ("GET", "/assets/%2e%2e/index.html"),
        ("GET", "/static/../../../../etc/passwd"),
    ],
)
def test_what_the_page_does_not_use_is_not_there(served: Served, method: str, path: str) -> None:
    """Gradio's uploads, files, proxy, API and history answer like any unknown address."""
    response = httpx.request(method, served.url + path, trust_env=False)
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_path"


def test_the_api_stands_before_the_page(served: Served) -> None:
    """Its addresses, and its refusals, are its own."""
    assert get(served, "/v1/corpora").status_code == 200
    assert get(served, "/v1/nothing").json()["code"] == "unknown_path"
    assert get(served, "/v1/search").status_code == 405
    assert get(served, "/", headers={"Host": "evil.test"}).status_code == 421


def test_the_page_stands_behind_the_key(tmp_path: Path) -> None:
    """With a key set, neither the page nor Gradio's own addresses open without it."""
    with page_server(tmp_path, None, api_key=KEY) as locked:
        for path in ("/", "/config", "/theme.css", "/gradio_api/queue/data?session_hash=x"):
            assert get(locked, path).status_code == 401
        assert get(locked, "/", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_the_token_of_the_page_never_reaches_the_browser(served: Served) -> None:
    """It is for the server's own calls."""
    text = get(served, "/").text + get(served, "/config").text
    assert "Bearer" not in text
    assert '"api_visibility":"public"' not in text.replace(" ", "")


# --- in a browser --------------------------------------------------------------------------------------


@dataclass
class Visit:
    """A tab, and what it asked for and complained about."""

    page: Page
    url: str
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


Open = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Open]:
    """Opens pages; at the end none of them may have complained or asked another host for anything."""
    visits: list[Visit] = []
    contexts = []

    def open_page(url: str, width: int = 1360, height: int = 900, until: str = ".example", **more: Any) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": height}, locale="fr-FR", **more)
        contexts.append(context)
        made = Visit(context.new_page(), url)
        made.page.set_default_timeout(20_000)
        made.page.on("console", lambda said: made.complaints.append(said.text) if said.type == "error" else None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.on(
            "request",
            lambda request: None if request.url.startswith((url, "data:")) else made.elsewhere.append(request.url),
        )
        visits.append(made)
        made.page.goto(url)
        made.page.wait_for_selector(until)  # by default: the corpora have come
        return made

    yield open_page
    for context in contexts:
        context.close()
    assert [one for made in visits for one in made.complaints] == []
    assert [one for made in visits for one in made.elsewhere] == []


@pytest.mark.slow
@browser_test
def test_a_question_is_answered_with_its_source(served: Served, visit: Open, tmp_path: Path) -> None:
    """Passages, a cited answer, the source behind the mark with the words that support it, its page and its file."""
    tab = visit(served.url)
    assert tab.page.evaluate("document.documentElement.lang") == "fr"
    tab.ask(QUESTION)
    tab.page.wait_for_selector(".tools")
    assert "25 jours ouvrés" in tab.page.inner_text(".answer")
    assert tab.page.inner_text(".status")
    tab.page.click(".answer .cite")
    source = tab.page.locator("details.source[open]")
    source.wait_for()
    for expected in ("Règlement des congés", "Article 4", "Titre I", "validité inconnue"):
        assert expected in source.inner_text()
    assert "25 jours ouvrés" in source.locator("mark.now").first.inner_text()
    source.locator(".picture summary").click()
    tab.page.wait_for_function("document.querySelector('details.source[open] img').naturalWidth > 0")
    with tab.page.expect_download() as download:
        source.locator(".links a").click()
    assert download.value.suggested_filename == "règlement 2024.pdf"
    tab.page.screenshot(path=tmp_path / "source.png", full_page=True)


@pytest.mark.slow
@browser_test
def test_the_keyboard_is_enough(served: Served, visit: Open) -> None:
    """From the question to a source and back, without a mouse."""
    tab = visit(served.url)
    tab.ask(QUESTION)
    tab.page.wait_for_selector(".tools")
    tab.page.focus(".answer .cite")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("details.source[open]")
    focused = "document.activeElement.closest('.source, .cite')?.className"
    assert "source" in tab.page.evaluate(focused)
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate(focused) == "cite"


@pytest.mark.slow
@browser_test
def test_english_is_a_switch_away(served: Served, visit: Open) -> None:
    """Everything changes but the texts themselves, and the answer stays."""
    tab = visit(served.url)
    tab.ask(QUESTION)
    tab.page.wait_for_selector(".tools")
    tab.page.click("#other-language")
    tab.page.wait_for_function("document.documentElement.lang === 'en'")
    assert tab.page.inner_text("#send") == "Ask"
    assert tab.page.inner_text("#question label > span") == "Your question"
    assert "Copy with sources" in tab.page.inner_text(".tools")
    assert "25 jours ouvrés" in tab.page.inner_text(".answer")


@pytest.mark.slow
@browser_test
def test_passages_come_within_a_second_and_stop_frees_the_model(tmp_path: Path, visit: Open) -> None:
    """The model has not said a word by then; the button ends it, and a new conversation starts clean."""
    writer = Writer(words=["mot "] * 1_200, pause=0.05)
    with page_server(tmp_path, writer) as slow:
        tab = visit(slow.url)
        tab.ask(QUESTION)
        started = time.monotonic()
        tab.page.wait_for_selector(".source .name")
        assert time.monotonic() - started < 3, "the promise is one second, on a machine that does nothing else"
        assert not tab.page.query_selector(".answer")
        writer.begun.wait(10)
        tab.page.click("#stop")
        assert writer.stopped.wait(5)
        tab.page.wait_for_selector(".status.is-stopped")
        assert tab.page.query_selector(".source")
        tab.page.click("#new")
        tab.page.wait_for_selector(".welcome")
        assert not tab.page.query_selector(".source")
        tab.page.close()


@pytest.mark.slow
@browser_test
def test_closing_the_page_frees_the_model(tmp_path: Path, visit: Open) -> None:
    """Nobody reads the answer any more."""
    writer = Writer(words=["mot "] * 1_200, pause=0.05)
    with page_server(tmp_path, writer) as slow:
        tab = visit(slow.url)
        tab.ask(QUESTION)
        assert writer.begun.wait(10)
        tab.page.close()
        assert writer.stopped.wait(10)


@pytest.mark.slow
@browser_test
def test_an_opinion_and_a_copy(served: Served, visit: Open) -> None:
    """A thumb with its reason is recorded; the clipboard holds the answer with its sources."""
    tab = visit(served.url, permissions=["clipboard-read", "clipboard-write"])
    tab.ask(QUESTION)
    tab.page.wait_for_selector(".tools")
    tab.page.click(".copy")
    tab.page.wait_for_function("document.querySelector('.copy').textContent === 'Copié'")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert "25 jours ouvrés" in copied
    assert "Règlement des congés, Article 4" in copied
    tab.page.click(".down")
    tab.page.check("input[value=outdated]")
    tab.page.fill(".opinion textarea", "Changé en janvier.")
    tab.page.click(".send")
    tab.page.wait_for_selector(".thanks")
    kept = feedback(served.parts)[-1]
    assert (kept.thumb, kept.reason, kept.comment) == ("down", "outdated", "Changé en janvier.")


@pytest.mark.slow
@browser_test
def test_a_bad_date_is_said_beside_the_question(served: Served, visit: Open) -> None:
    """And the question is still there to be sent."""
    tab = visit(served.url)
    tab.page.click("#narrow > button")
    tab.page.fill("#day :is(input, textarea)", "hier")
    tab.ask(QUESTION)
    tab.page.wait_for_selector(".fault[role=alert]")
    assert "hier" in tab.page.inner_text(".fault")
    assert tab.page.input_value("#question textarea") == QUESTION
    tab.page.fill("#day :is(input, textarea)", "15/01/2026")
    tab.page.click("#send")
    tab.page.wait_for_selector(".tools")
    assert "15 janvier 2026" in tab.page.inner_text(".light")


@pytest.mark.slow
@browser_test
def test_hostile_texts_stay_text(tmp_path: Path, visit: Open) -> None:
    """In a title, a passage and a question: nothing runs, nothing is fetched, everything can be read."""
    with page_server(tmp_path, Writer()) as nasty:
        bad = document("rh", "piege", HOSTILE)
        text = f"Le plafond du piège est de 12 euros. {HOSTILE}"
        nasty.parts.publish("rh", [(bad, [chunk(bad, HOSTILE, text)])])
        tab = visit(nasty.url)
        tab.ask(f"Quel est le plafond du piège ? {HOSTILE}")
        tab.page.wait_for_selector(".tools")
        for card in tab.page.query_selector_all(".source summary"):
            card.click()
        tab.page.wait_for_timeout(300)
        assert tab.page.title() == "Vauban, questions sur les règlements"
        assert "${document.title='pris'} {{7*7}}" in tab.page.inner_text("#sources")
        assert not tab.page.query_selector(
            "#conversation img, #conversation script, #sources script, #sources a[href*=evil]"
        )
        tab.page.close()


@pytest.mark.slow
@browser_test
def test_it_works_on_a_narrow_screen_and_with_a_key(tmp_path: Path, visit: Open) -> None:
    """At 360 pixels nothing overflows; whoever signs in sees all, the pictures included, and signs out again."""
    with page_server(tmp_path, Writer(), api_key=KEY) as locked:
        tab = visit(locked.url, 360, 740, until="#credential")
        tab.page.fill("#credential", KEY)
        tab.page.click("button")
        tab.page.wait_for_selector(".example")
        tab.ask(QUESTION)
        tab.page.wait_for_selector(".tools")
        assert LEAVE.split()[3] in tab.page.inner_text(".answer")
        tab.page.click(".answer .cite")
        tab.page.click("details.source[open] .picture summary")
        tab.page.wait_for_function("document.querySelector('details.source[open] img').naturalWidth > 0")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        tab.page.click(".account a")
        tab.page.wait_for_url("**/sign-in")
        tab.page.click("button")
        tab.page.wait_for_selector("#credential")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        tab.page.goto(locked.url)
        assert tab.page.url.endswith("/sign-in")
        tab.page.close()
