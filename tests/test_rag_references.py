"""Reading legal references and dates: what is one reference, and which key it gets."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from rag.references import article_keys, asked, mentions, periods, references
from rag.types import SectionKind

CASES = [
    ("Que dit l'article L. 3141-3 du code du travail ?", ["l3141-3"], "article L. 3141-3"),
    ("l3141-3", ["l3141-3"], "l3141-3"),
    ("voir L.3141-3", ["l3141-3"], "L.3141-3"),
    ("art. R*123-4 bis", ["r123-4bis"], "art. R*123-4 bis"),
    ("art. L.O. 111-2", ["lo111-2"], "art. L.O. 111-2"),
    ("article L. 1221‑1", ["l1221-1"], "article L. 1221‑1"),
    ("article premier", ["article:1"], "article premier"),
    ("l’article 1er", ["article:1"], "article 1er"),
    ("au II de l'article 5 du présent décret", ["article:5"], "II de l'article 5"),
    ("le premier alinéa de l'article 12", ["article:12"], "premier alinéa de l'article 12"),
    ("article 321 bis A", ["article:321bisa"], "article 321 bis A"),
    ("articles 4 et 5", ["article:4", "article:5"], "articles 4"),
    ("articles 4 à 7", ["article:4", "article:5", "article:6", "article:7"], "articles 4"),
    ("articles L. 1221-1, L. 1221-2 et R. 12-1", ["l1221-1", "l1221-2", "r12-1"], "articles L. 1221-1"),
    ("l'article 3, 2 jours après", ["article:3"], "article 3"),
    ("§ 4.2", ["article:4.2"], "§ 4.2"),
    ("Section 3", ["section:3"], "Section 3"),
    ("annexe 2", ["annexe:2"], "annexe 2"),
    ("Annex IV", ["annexe:4"], "Annex IV"),
    ("décret n° 2012-1246", ["decret:2012-1246"], "décret n° 2012-1246"),
    ("la décision 2024-22", ["decision:2024-22"], "décision 2024-22"),
    ("règlement (UE) n° 2016/679", ["reglement:2016-679"], "règlement (UE) n° 2016/679"),
    ("note de service DRH 2024-08", ["note:2024-08"], "note de service DRH 2024-08"),
    ("l'arrêté du 3 mars 2021", ["arrete:2021-03-03"], "arrêté du 3 mars 2021"),
    ("article 4 de la décision n° 2024-31", ["decision:2024-31#4"], "article 4 de la décision n° 2024-31"),
    ("Article 4 of Decision No. 2024-31", ["decision:2024-31#4"], "Article 4 of Decision No. 2024-31"),
    ("Arrêté 2021-03, article 11 :", ["arrete:2021-03#11"], "Arrêté 2021-03, article 11"),
    ("annexe 1 du décret n° 2020-7", ["decret:2020-7#annexe:1"], "annexe 1 du décret n° 2020-7"),
    ("point 2.1 de la circulaire DRH n° 2023-05", ["circulaire:2023-05#2.1"], None),
    ("l'article n'est plus fourni", [], None),
    ("25 jours, 3 000 € et la note de 12 agents", [], None),
    ("", [], None),
]


@pytest.mark.parametrize(("text", "keys", "label"), CASES)
def test_references_are_read(text: str, keys: list[str], label: str | None) -> None:
    """Each spelling gives the key of what it names, and a label that is the text's own characters."""
    found = references(text)
    assert [reference.key for reference in found] == keys
    assert all(text[reference.start : reference.end] == reference.label for reference in found)
    if label is not None:
        assert found[0].label == label


def test_mentions_are_unique_and_in_order() -> None:
    """A text named twice is mentioned once."""
    text = "Vu l'article L. 12-3, le décret n° 2012-1246 et de nouveau l'article L. 12-3"
    assert mentions(text) == ("l12-3", "decret:2012-1246")


@pytest.mark.parametrize(
    ("number", "title", "keys"),
    [
        ("L. 3141-3", "Code du travail", ("l3141-3",)),
        ("4", "Décision n° 2024-31 du 3 mai 2024", ("article:4", "decision:2024-31#4", "2024-31#4")),
        ("Article 1er", "Note du 4 février 2019", ("article:1", "note:2019-02-04#1")),
        ("321 bis", "Code général des impôts", ("article:321bis",)),
        ("Dispositions finales", "Décision n° 2024-31", ()),
        ("", "Décision n° 2024-31", ()),
    ],
)
def test_article_keys_are_what_an_article_answers_to(number: str, title: str, keys: tuple[str, ...]) -> None:
    """The number and the document's own title give the keys; a heading that is no number gives none."""
    assert article_keys(number, title) == keys


def test_annexes_and_sections_have_keys_of_their_own() -> None:
    """Annexe 1 and article 1 of a text are two."""
    assert article_keys("I", "Décret n° 2020-7", SectionKind.ANNEX)[:2] == ("annexe:1", "decret:2020-7#annexe:1")
    assert article_keys("3", "Visitor rules", SectionKind.DIVISION) == ("section:3",)


def test_a_question_that_names_its_text_hits_exactly_that_article() -> None:
    """An article with its text is exact and is among the keys that the article answers to."""
    exact, weak = asked("Que prévoit l'article 4 de la décision n° 2024-31 ?")
    assert set(exact) & set(article_keys("4", "Décision n° 2024-31 relative au télétravail"))
    assert not set(exact) & set(article_keys("4", "Arrêté n° 2024-31"))
    assert "article:4" in weak


def test_a_bare_article_is_only_weak() -> None:
    """Nearly every text has an article 4: such a question brings in nothing by itself."""
    assert asked("Que dit l'article 4 ?") == ((), ("article:4", "section:4"))
    assert asked("Combien de jours de congé ?") == ((), ())


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("le 1er janvier 2024", dt.date(2024, 1, 1), dt.date(2024, 1, 2)),
        ("le 03/04/2022", dt.date(2022, 4, 3), dt.date(2022, 4, 4)),
        ("2021-03-03", dt.date(2021, 3, 3), dt.date(2021, 3, 4)),
        ("March 3, 2021", dt.date(2021, 3, 3), dt.date(2021, 3, 4)),
        ("en décembre 2020", dt.date(2020, 12, 1), dt.date(2021, 1, 1)),
        ("en 2019", dt.date(2019, 1, 1), dt.date(2020, 1, 1)),
    ],
)
def test_dates_months_and_years_are_half_open(text: str, first: dt.date, last: dt.date) -> None:
    """A month is all its days; the day after the last is not in it."""
    (period,) = periods(text)
    assert (period.first, period.last) == (first, last)


@pytest.mark.parametrize("text", ["décret n° 2012-1246", "2000 euros", "31/02/2021", "12 2019-31", "1 2024,50"])
def test_what_is_no_date_is_left_alone(text: str) -> None:
    """Numbers of texts, amounts and impossible days are no dates."""
    assert periods(text) == []


def test_a_long_hostile_text_is_read_in_linear_time() -> None:
    """A text made to confuse the grammar does not stop the service."""
    started = time.perf_counter()
    references("article " * 20_000 + "L. 1-" * 20_000 + "articles 1, " * 10_000 + "décision n° " * 10_000)
    periods("1 janvier " * 20_000)
    assert time.perf_counter() - started < 5
