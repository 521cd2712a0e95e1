"""What the reader sees, as HTML and as copied text: whole, linked to its sources, and never active."""

from __future__ import annotations

import ast
import datetime as dt
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rag import schemas
from ui import render, words
from ui.render import highlighted, safe
from ui.turn import Phase, Turn

TEXT = "Le congé annuel est de 25 jours ouvrés. [1]"
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "![](http://evil.test/a.png)",
    "![a](data:image/png;base64,AAAA)",
    "[cliquez](javascript:alert(1))",
    "[1](http://evil.test)",
    "<a href='javascript:alert(1)'>ici</a>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<!-- commentaire --><style>*{display:none}</style>",
    "http://evil.test/?q=secret",
    '"><button onclick="alert(1)">',
    "' onmouseover='alert(1)",
    "${alert(1)} {{constructor.constructor('alert(1)')()}} `${1}`",
    "&lt;img src=x onerror=alert(1)&gt;",
    "</textarea></details></blockquote></div><h1>Faux</h1>",
    "data:text/html,<script>alert(1)</script>",
    "<base href=//evil.test><link rel=stylesheet href=//evil.test/a.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.test'>",
    "\u202eegap\u202c \u2066x\u2069 \u200bcaché\ufeff \U000e0041",
    "\x1b[31mrouge\x1b[0m\x07\x00\x9b",
]
TAGS = set(
    "a article blockquote br button dd details div dl dt fieldset form h1 h2 h3 img input label legend li mark p "
    "section span strong summary table td textarea th tr ul".split()
)


def passage(n: int = 1, **changes: Any) -> schemas.Passage:
    values: dict[str, Any] = {
        "n": n,
        "id": f"id-{n}",
        "corpus": "rh",
        "document": "conges",
        "title": "Règlement des congés",
        "reference": "Article 4",
        "path": ["Titre II"],
        "page": 3,
        "page_end": 3,
        "valid_from": dt.date(2024, 1, 1),
        "valid_to": None,
        "text": "Le congé annuel est de 25 jours ouvrés par an.",
        "score": 0.9,
        "shown": True,
        "url": "/v1/corpora/rh/documents/conges?snapshot=3",
        "norm_rank": "decree",
    }
    return schemas.Passage(**(values | changes))


def claim(text: str = TEXT, start: int = 0, **changes: Any) -> schemas.Claim:
    values: dict[str, Any] = {
        "start": start,
        "end": start + len(text),
        "text": text,
        "verdict": "supported",
        "reason": None,
        "passages": [1],
        "spans": [{"passage": 1, "start": 3, "end": 38}],
    }
    return schemas.Claim.model_validate(values | changes)


def document(**changes: Any) -> schemas.Document:
    values: dict[str, Any] = {
        "id": "conges",
        "corpus": "rh",
        "title": "Règlement des congés",
        "language": "fr",
        "source": "conges.pdf",
        "sha256": "0" * 64,
        "media_type": "application/pdf",
        "norm_rank": "decree",
        "valid_from": None,
        "valid_to": None,
        "pages": 9,
        "state": "current",
        "snapshot": 3,
        "url": "/v1/corpora/rh/documents/conges?snapshot=3",
        "file": "/v1/corpora/rh/documents/conges/file?snapshot=3",
    }
    return schemas.Document(**(values | changes))


def turn(
    text: str = TEXT,
    passages: list[schemas.Passage] | None = None,
    claims: list[schemas.Claim] | None = None,
    status: str = "answered",
    **changes: Any,
) -> Turn:
    """A finished turn."""
    passages = [passage()] if passages is None else passages
    whole = schemas.Vauban.model_validate(
        {
            "status": status,
            "claims": [claim(text)] if claims is None else claims,
            "passages": passages,
            "dropped": [],
            "snapshots": {"rh": 3},
            "as_of": "2026-01-15",
            "question": "Combien de jours ?",
            "model": None,
            "prompt": None,
            "timings": {},
            "contact": "",
        }
    )
    values: dict[str, Any] = {
        "number": 1,
        "question": "Combien de jours ?",
        "phase": Phase.DONE,
        "text": text,
        "answer": f"chatcmpl-{'0' * 32}",
        "understood": whole.question,
        "as_of": whole.as_of,
        "passages": tuple(passages),
        "claims": tuple(whole.claims),
        "whole": whole,
        "documents": {("rh", "conges"): document()},
    }
    return Turn(**(values | changes))


class Reader(HTMLParser):
    """Collects what a browser would make of a page: tags with their attributes, and the text between."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


# --- nothing active ------------------------------------------------------------------------------------


def everywhere(payload: str) -> str:
    """A conversation in which everything that others wrote is ``payload``."""
    nasty = passage(
        title=payload, reference=payload, path=[payload], text=f"{payload}\n{payload}", url="/v1/corpora/rh/documents/x"
    )
    told = turn(
        payload,
        [nasty],
        [claim(payload, spans=[{"passage": 1, "start": 1, "end": 9}])],
        question=payload,
        understood=payload + "!",
        fault=payload,
        documents={("rh", "conges"): document(title=payload, source=payload)},
    )
    failed = Turn(2, payload, phase=Phase.FAILED, error=payload)
    writing = Turn(3, payload, phase=Phase.WRITING, text=payload, passages=(nasty,))
    turns = (told, failed, writing)
    return render.conversation(turns, "fr") + render.sources(turns, "fr") + render.fault(payload)


@pytest.mark.parametrize("payload", HOSTILE)
def test_nothing_that_others_wrote_is_active(payload: str) -> None:
    """Only our own tags, no handler, and no address but the API's on the same server."""
    page = read(everywhere(payload))
    assert {tag for tag, _ in page.tags} <= TAGS
    assert not page.comments
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "srcdoc", "action"}]
        for name in ("href", "src"):
            assert (attributes.get(name) or "/v1/").startswith("/v1/"), tag
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"], "our own picture is there"


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_is_still_readable(payload: str) -> None:
    """It shows as the characters that it is made of, less those that nobody can see."""
    assert render.plain(payload) in read(everywhere(payload)).text


def test_control_and_direction_characters_are_left_out() -> None:
    """Terminal escapes, direction overrides, invisible spaces and tags; not joiners and accents."""
    assert safe("\x1b[31ma\x00\u202eb\u2066\u200b\ufeff\U000e0041c\u2028") == "[31mabc"
    assert safe("é\u0301 \u200d\u00ad\n\t") == "é\u0301 \u200d\u00ad\n\t"


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.test/v1/x",
        "//evil.test/v1/x",
        "/v1/../../x",
        "/v1/%2e%2e/x",
        "javascript:alert(1)",
        "/v1/x#y",
        "/v1/x?a=b",
        "",
    ],
)
def test_an_address_that_is_not_the_apis_is_left_out(url: str) -> None:
    """No picture and no link then."""
    page = read(render.sources((turn(passages=[passage(url=url)]),), "fr"))
    assert not [tag for tag, _ in page.tags if tag in {"a", "img"}]


# --- marks and highlights ------------------------------------------------------------------------------


def test_a_mark_opens_the_source_that_its_sentence_cites() -> None:
    """A button with the name of the source, which is on the page."""
    made = turn()
    (mark,) = [
        attributes for _, attributes in read(render.conversation((made,), "fr")).tags if attributes.get("data-claim")
    ]
    assert mark["data-source"] == "source-1-1"
    assert mark["aria-label"] == "Source 1\u00a0: Règlement des congés, Article 4"
    cards = [attributes.get("id") for tag, attributes in read(render.sources((made,), "fr")).tags if tag == "details"]
    assert "source-1-1" in cards


def test_a_number_in_brackets_that_cites_nothing_stays_text() -> None:
    """Unknown passages, and footnotes quoted from a document."""
    text = "Voir la note [3] et [99]. [1]"
    page = render.conversation((turn(text, [passage(1), passage(3)], [claim(text)]),), "fr")
    assert "note [3] et [99]." in page
    assert len(re.findall('class="cite"', page)) == 1


def test_marks_work_while_the_answer_is_written() -> None:
    """Before the verdicts are known, any passage on screen can be opened."""
    made = Turn(1, "Q", phase=Phase.WRITING, text="Un. [1]", passages=(passage(),))
    assert 'data-source="source-1-1" aria-label=' in render.conversation((made,), "fr")


def test_the_supporting_words_are_highlighted() -> None:
    """By code points, whatever the words are."""
    text = "Été 🌞 : 25 jours & plus."
    start = text.index("25")
    found = highlighted(text, [(start, start + 8, 0)])
    assert found == 'Été 🌞 : <mark data-claims="0">25 jours</mark> &amp; plus.'


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "abcdef"),
        ([(0, 6, 0)], '<mark data-claims="0">abcdef</mark>'),
        ([(4, 99, 0)], 'abcd<mark data-claims="0">ef</mark>'),
        ([(-3, 2, 1)], '<mark data-claims="1">ab</mark>cdef'),
        ([(3, 3, 0), (9, 12, 1)], "abcdef"),
        (
            [(0, 4, 0), (2, 6, 1)],
            '<mark data-claims="0">ab</mark><mark data-claims="0 1">cd</mark><mark data-claims="1">ef</mark>',
        ),
    ],
)
def test_spans_may_overlap_or_lie_outside(spans: list[tuple[int, int, int]], expected: str) -> None:
    """Each stretch knows the sentences that rest on it."""
    assert highlighted("abcdef", spans) == expected


def test_lines_of_cells_become_a_table() -> None:
    """With the highlight where it was, and every word kept."""
    text = "Barème\nQuotité | Jours\n100 % | 3\n80 % | 2\nFin"
    start = text.index("3")
    found = highlighted(text, [(start, start + 1, 0)])
    assert "<tr><th>Quotité</th><th>Jours</th></tr>" in found
    assert '<tr><td>100 %</td><td><mark data-claims="0">3</mark></td></tr>' in found
    assert read(found).text.replace("\n", "") == text.replace(" | ", "").replace("\n", "")


def test_a_quotation_of_several_paragraphs_stays_one() -> None:
    """An extract is a claim, and no claim is cut in two."""
    quote = "« Un.\n\nDeux. » [1]"
    text = f"Voici.\n\n{quote}\n\nContact."
    page = render.conversation((turn(text, claims=[claim(quote, start=8)], status="extracts"),), "fr")
    assert page.count("<blockquote>") == 1
    assert "Un.\n\nDeux." in page


def test_an_unsupported_sentence_is_marked() -> None:
    """Policy `flag` shows it, so the page must say what it is."""
    made = turn(claims=[claim(verdict="unsupported", reason="number")])
    assert '<span class="unsupported">' in render.conversation((made,), "fr")
    assert "ne sont pas vérifiées" in render.conversation((made,), "fr")
    assert "<mark" not in render.sources((made,), "fr")
    assert "Citée" not in render.sources((made,), "fr")


# --- what is said --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "french", "english"),
    [
        (None, None, "validité inconnue", "unknown"),
        ("2024-01-01", None, "en vigueur depuis le 1er janvier 2024", "since 1 January 2024"),
        (None, "2026-01-01", "jusqu'au 31 décembre 2025 inclus", "until 31 December 2025"),
        (
            "2021-02-15",
            "2024-03-01",
            "du 15 février 2021 au 29 février 2024 inclus",
            "from 15 February 2021 to 29 February 2024",
        ),
    ],
)
def test_validity_says_the_last_day(start: str | None, end: str | None, french: str, english: str) -> None:
    """The interval is half-open; people think in last days."""
    found = passage(
        valid_from=dt.date.fromisoformat(start) if start else None,
        valid_to=dt.date.fromisoformat(end) if end else None,
    )
    assert (render.validity(found, "fr"), render.validity(found, "en")) == (french, english)


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("status", list(schemas.types.Status))
def test_every_status_is_a_sentence(status: str, language: str) -> None:
    """In both languages."""
    said = render.status(turn(status=status), language)
    assert len(said) > 10
    assert said.endswith(".")


def test_the_place_in_the_queue_is_said() -> None:
    """The next one differs from those behind."""
    assert "prochaine" in render.status(Turn(1, "Q", phase=Phase.WAITING, position=1), "fr")
    assert "position 4" in render.status(Turn(1, "Q", phase=Phase.WAITING, position=4), "fr")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "file."), (4.0, "moins d’une demi-minute"), (50.0, "environ une minute"), (200.0, "environ 3 minutes")],
)
def test_whoever_waits_reads_about_how_long(seconds: float | None, said: str) -> None:
    """An estimate is said in round words, and nothing where there is none."""
    shown = render.status(Turn(1, "Q", phase=Phase.WAITING, position=4, seconds=seconds), "fr")
    assert said in shown.replace("'", "’")


def test_a_card_says_where_its_passage_comes_from() -> None:
    """Title, article, path, dates, rank, page with its picture, and the file."""
    page = render.sources((turn(),), "fr")
    for expected in (
        "Règlement des congés",
        "Article 4",
        "Titre II",
        "1er janvier 2024",
        "Décret",
        "/v1/corpora/rh/documents/conges/pages/3.png?snapshot=3&amp;width=900",
        "/v1/corpora/rh/documents/conges/file?snapshot=3",
        'lang="fr"',
    ):
        assert expected in page


def test_only_a_pdf_has_pictures() -> None:
    """And nothing is promised while that is not known."""
    word = {("rh", "conges"): document(media_type="application/vnd.oasis.opendocument.text")}
    assert "<img" not in render.sources((turn(documents=word),), "fr")
    assert "<img" not in render.sources((turn(documents={}),), "fr")
    assert "<img" not in render.sources((turn(passages=[passage(page=None)]),), "fr")


def test_passages_stand_before_the_answer() -> None:
    """With their titles, while the model has not said a word."""
    made = Turn(1, "Q", phase=Phase.DRAFTING, passages=(passage(),))
    assert "Règlement des congés" in render.sources((made,), "fr")
    assert "Règlement des congés" in render.conversation((made,), "fr")
    assert 'class="answer"' not in render.conversation((made,), "fr")


def test_a_question_to_be_made_clearer_offers_what_to_ask() -> None:
    """Each way is a button with the whole question, which nothing in it can break out of."""
    whole = turn(status="needs_clarification").whole
    assert whole is not None
    choice = {"label": "Agent <contractuel>", "question": 'Quels congés "contractuel" ?'}
    asked = schemas.Vauban.model_validate(whole.model_dump() | {"choices": [choice]})
    page = render.conversation((turn(whole=asked),), "fr")
    assert "Agent &lt;contractuel&gt;</button>" in page
    assert 'data-question="Quels congés &quot;contractuel&quot; ?"' in page
    assert 'class="examples choices"' not in render.conversation((turn(),), "fr")


def test_what_to_know_of_an_answer_stands_below_it_and_is_copied() -> None:
    """Other versions, and the day that was read in the question."""
    whole = turn().whole
    assert whole is not None
    notice = {"kind": "newer_version", "text": "Une version <plus> récente", "passages": [1], "day": "2026-02-01"}
    told = schemas.Vauban.model_validate(whole.model_dump() | {"notices": [notice], "as_of_source": "question"})
    page = render.conversation((turn(whole=told),), "fr")
    assert '<li class="is-newer_version">Une version &lt;plus&gt; récente</li>' in page
    assert "date lue dans la question" in page
    assert "Une version <plus> récente" in render.copied(turn(whole=told), "fr")


def test_a_card_says_that_its_passage_was_brought_along() -> None:
    """A passage that the search itself did not find is there for a reason."""
    page = render.sources((turn(passages=[passage(found="named")]),), "fr")
    assert "parce qu&#x27;un passage mieux classé y renvoie" in page


def test_a_screen_reader_is_told_start_and_end_only() -> None:
    """Not each sentence."""
    phases = [Phase.SEARCHING, Phase.DRAFTING, Phase.WAITING, Phase.WRITING]
    told = {
        re.findall('data-said="([^"]*)"', render.conversation((Turn(1, "Q", phase=phase),), "fr"))[0]
        for phase in phases
    }
    assert told == {"Recherche en cours."}
    assert 'data-said="La réponse est prête. Réponse vérifiée' in render.conversation((turn(),), "fr")


def test_the_copied_text_carries_its_sources() -> None:
    """Question, answer, the sources it cites, and that a machine drafted it."""
    copied = render.copied(turn(passages=[passage(1), passage(2, title="Non cité")]), "fr")
    assert copied.splitlines() == [
        "Question\u00a0: Combien de jours\u00a0?".replace("jours\u00a0?", "jours ?"),
        "",
        TEXT,
        "",
        "Sources\u00a0:",
        "[1] Règlement des congés, Article 4, p. 3 (en vigueur depuis le 1er janvier 2024)",
        "",
        words.say("copied_notice", "fr"),
    ]


def test_an_answer_that_cites_nothing_is_copied_with_the_nearest_texts() -> None:
    """A refusal shows them, and so does its copy."""
    copied = render.copied(turn("Je ne sais pas.", claims=[], status="insufficient_evidence"), "fr")
    assert "Textes les plus proches\u00a0:\n[1] Règlement" in copied


def test_a_question_is_repeated_only_when_it_was_completed() -> None:
    """Other blanks are no other question."""
    assert "comprise" not in render.conversation((turn(understood="Combien de  jours\u00a0?"),), "fr")
    assert "comprise" in render.conversation((turn(understood="Combien de jours de congé ?"),), "fr")


def test_letters_stand_out_from_their_ground(root: Path) -> None:
    """At least 4.5 to 1, light and dark, highlights included."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    style = (root / "ui" / "assets" / "page.css").read_text(encoding="utf-8")
    day, night = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r"\{([^}]*--ink:[^}]*)\}", style)
    )
    for colours in (day, night):
        pairs = [
            (front, back) for front in ("ink", "soft", "blue", "good", "care", "bad") for back in ("paper", "ground")
        ]
        for front, back in [*pairs, ("ink", "mark"), ("ink", "mark-now"), ("blue", "blue-soft"), ("paper", "blue")]:
            darker, lighter = sorted((light(colours[front]), light(colours[back])))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (front, back)


def test_an_opinion_is_asked_once() -> None:
    """Then thanked for; a failure says so and asks again."""
    assert "Merci" in render.conversation((turn(thumb="up"),), "fr")
    assert 'class="tool up"' not in render.conversation((turn(thumb="up"),), "fr")
    assert "pas pu être enregistré" in render.conversation((turn(fault="panne"),), "fr")


def test_examples_are_for_corpora_that_are_there() -> None:
    """A question about a corpus that nobody has would be answered by nothing."""
    assert render.examples(["rh", "autre"], "fr").count("<li>") == 1
    assert render.examples(["autre"], "fr") == ""


def test_the_notice_says_what_is_recorded() -> None:
    """And what is not, and for how long, in both languages."""
    for language, said in (("fr", "chaque consultation est tracée"), ("en", "each reading is recorded")):
        assert said in read(render.notice(language)).text


def test_every_text_is_used_and_every_use_has_a_text(root: Path) -> None:
    """The table of words and the code do not drift apart."""
    literals = {
        node.value
        for file in (root / "ui").glob("*.py")
        if file.name != "words.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    built = {f"notice_{part}" for part in ("machine", "kept", "feedback", "local")}
    built |= {f"reason_{reason}" for reason in words.REASONS}
    built |= {f"found_{found}" for found in schemas.types.Found if found != "search"}
    values = {*schemas.types.Status, *schemas.types.NormRank, *schemas.types.LegalStatus, *Phase}
    assert words.known() <= literals | built | values
    assert built <= words.known()


def test_both_languages_take_the_same_values() -> None:
    """A ``{}`` in one is a ``{}`` in the other."""
    for key in words.known():
        assert words.say(key, "fr").count("{}") == words.say(key, "en").count("{}"), key


def test_the_reasons_are_those_of_the_api() -> None:
    """All of them, and no other."""
    field = schemas.FeedbackRequest.model_json_schema()["properties"]["reason"]["anyOf"][0]
    assert list(words.REASONS) == field["enum"]


def test_what_became_of_a_rule_and_a_poor_scan_are_said_beside_the_passage() -> None:
    """A usual passage says nothing of either."""
    facts = [render._facts(passage(**said), "fr") for said in (
        {}, {"legal_status": "in_force"}, {"legal_status": "repealed"}, {"quality": 0.4}
    )]  # fmt: skip
    assert [("abrogé" in one, "numérisé" in one) for one in facts] == [
        (False, False), (False, False), (True, False), (False, True)
    ]  # fmt: skip
