"""Reading legal references and dates: what is one reference, and which key it gets."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rag.references import article_keys, asked, homonyms, mentions, periods, references, spans, text_key, text_title
from rag.types import Chunk, Hit, SectionKind

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
    ("art. R.* 123-4", ["r123-4"], "art. R.* 123-4"),
    ("l'article LO123", ["lo123"], "article LO123"),
    ("article L 123-4", ["l123-4"], "article L 123-4"),
    ("l'article 16 A.", ["article:16a"], "article 16 A"),
    ("article 16A", ["article:16a"], "article 16A"),
    ("article 74-0 E bis", ["article:74-0ebis"], "article 74-0 E bis"),
    ("article 91 quater A", ["article:91quatera"], None),
    ("article 164 F quatervicies", ["article:164fquatervicies"], None),
    ("l'article 5 II", ["article:5"], "article 5"),
    ("l'article 12. A défaut, il", ["article:12"], None),
    ("articles L. 12-3 à L. 12-6", ["l12-3", "l12-4", "l12-5", "l12-6"], None),
    ("articles L. 12-3 et 12-5", ["l12-3", "l12-5"], None),
    ("articles L. 1, L. 2 et R. 3", ["l1", "l2", "r3"], None),
    ("l'article L. 12 et 15 jours", ["l12"], None),
    ("articles 3, 5 à 7 et 9", ["article:3", "article:5", "article:6", "article:7", "article:9"], None),
    ("article 4 du code civil", ["code:civil#4"], "article 4 du code civil"),
    ("article 16 A de l'annexe II au code général des impôts", ["code:general-impots-annexe-2#16a"], None),
    ("l'article 39 du CGI", ["code:general-impots#39"], "article 39 du CGI"),
    ("au sens du code du travail", [], None),
    ("le présent article et l'article précédent", [], None),
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
        ("L. 3141-3", "Code du travail", ("l3141-3", "code:travail#l3141-3")),
        ("4", "Code civil", ("article:4", "code:civil#4")),
        ("102 I", "Code général des impôts, annexe II", ("article:102i", "code:general-impots-annexe-2#102i")),
        ("56 j terdecies A", "Recueil", ("article:56jterdeciesa",)),
        ("4", "Décret n° 2020-7 relatif au code du travail", ("article:4", "decret:2020-7#4", "2020-7#4")),
        ("4", "Décision n° 2024-31 du 3 mai 2024", ("article:4", "decision:2024-31#4", "2024-31#4")),
        ("Article 1er", "Note du 4 février 2019", ("article:1", "note:2019-02-04#1")),
        ("321 bis", "Code général des impôts", ("article:321bis", "code:general-impots#321bis")),
        ("Dispositions finales", "Décision n° 2024-31", ()),
        ("", "Décision n° 2024-31", ()),
    ],
)
def test_article_keys_are_what_an_article_answers_to(number: str, title: str, keys: tuple[str, ...]) -> None:
    """The number and the document's own title give the keys; a heading that is no number gives none."""
    assert article_keys(number, title) == keys


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Décision n° 2020-44 du 26 novembre 2020 relative aux congés", "texte:decision-relative-aux-conges"),
        ("Décision n° 2023-52 du 30 novembre 2023 relative aux congés", "texte:decision-relative-aux-conges"),
        ("Corporate card and hospitality rules", "texte:corporate-card-and-hospitality-rules"),
        ("Note de service n° 12 du 3 mai 2022", None),
        ("Code du travail", None),
        ("Code du travail — article L1 (version antérieure)", None),
        ("", None),
    ],
)
def test_versions_of_a_text_share_a_key(title: str, key: str | None) -> None:
    """Numbers and dates go; codes have keys of their articles, and a title that says little has none."""
    assert text_key(title) == key


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
    """Nearly every text has an article 4: where the question asks more, it brings in nothing by itself."""
    assert asked("Combien de jours donne l'article 4 ?") == ((), ("article:4", "section:4"))
    assert asked("Combien de jours de congé ?") == ((), ())


def test_a_bare_article_that_is_all_that_is_asked_is_searched() -> None:
    """Nothing else could find it: every text that has one is then a candidate."""
    assert asked("Que dit l'article 4 ?") == (("article:4", "section:4"), ())
    assert asked("article 302 bis") == (("article:302bis", "section:302bis"), ())


def test_a_code_that_is_named_owns_the_article() -> None:
    """Several codes have an article L. 111-1: that of the code in the question is exact, and no other one."""
    exact, weak = asked("Que dit l'article L. 111-1 du code de la recherche ?")
    assert set(exact) & set(article_keys("L111-1", "Code de la recherche"))
    assert not set(exact) & set(article_keys("L111-1", "Code du travail"))
    assert set(weak) & set(article_keys("L111-1", "Recueil de textes"))
    assert set(asked("l'article 4 du code civil")[0]) & set(article_keys("4", "Code civil"))


TYPED = [
    ("article L. 311-3 du code des relations entre le public et l'administration", "l311-3"),
    ("art. L311-3 code des relations entre public et administration", "l311-3"),
    ("L 311-3 crpa", "l311-3"),
    ("l'art l311-3 du CRPA", "l311-3"),
    ("art l 311 3 crpa", "l311-3"),
    ("art 311 3 du crpa", "l311-3"),
    ("article 311-3 du CRPA", "l311-3"),
    ("code des relations entre le public et l'administration, article L.311\u20113", "l311-3"),
    ("CRPA, art. L.\u202f311\u20123", "l311-3"),
    ("C.R.P.A. L.311-3", "l311-3"),
    ("Dans le CRPA, que dit l'article L. 311-3 sur les documents ?", "l311-3"),
    ("que dit l'article L311-3 (CRPA) ?", "l311-3"),
    ("article R*311-3 du CRPA", "r311-3"),
]


@pytest.mark.parametrize(("text", "number"), TYPED)
def test_an_article_is_read_however_it_is_typed(text: str, number: str) -> None:
    """The key of the article in its code is among what is searched, and no other code's."""
    exact, _ = asked(text)
    assert f"code:relations-public-administration#{number}" in exact
    assert all(key.startswith("code:relations-public-administration#") for key in exact)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("L 3141-3 c. trav.", "code:travail#l3141-3"),
        ("article 4 C. civ.", "code:civil#4"),
        ("code civil art. 4", "code:civil#4"),
        ("art 16 a de l'annexe ii au cgi", "code:general-impots-annexe-2#16a"),
        ("CGI ann. II, art. 371 Z quindecies", "code:general-impots-annexe-2#371zquindecies"),
        ("371 lc annexe 2 cgi", "code:general-impots-annexe-2#371lc"),
        ("cgi 302 bis", "code:general-impots#302bis"),
        ("L1 CPCMR", "code:pensions-civiles-militaires-retraite#l1"),
        ("article 371 V de l'annexe 2 au CGI", "code:general-impots-annexe-2#371v"),
        ("article 39 III du CGI", "code:general-impots#39"),
        ("article 39 I du code général des impôts", "code:general-impots#39"),
        ("livre 2 du code du travail", None),
        ("article 371 lc annexe 2 cgi", "code:general-impots-annexe-2#371lc"),
        ("annexe 1 du code du patrimoine", "code:patrimoine#annexe:1"),
        ("article premier du code de la route", "code:route#1"),
        ("article un du code de la route", "code:route#1"),
        ("Article Ier du code de la route", "code:route#1"),
        ("article 5 (décret n° 2012-1246)", "decret:2012-1246#5"),
        ("Que dit l'article 4 ? (Décision n° 2020-44 du 26 novembre 2020)", "decision:2020-44#4"),
        ("LPF art. L. 80 A", "code:procedures-fiscales#l80a"),
    ],
)
def test_codes_and_texts_are_known_by_their_usual_names(text: str, key: str | None) -> None:
    """Abbreviations, small letters, words for numbers, and the text after or before."""
    exact, _ = asked(text)
    assert (key in exact) if key else (exact == ())


@pytest.mark.parametrize(
    "text",
    ["au bout de 12 mois l'article 3 donne 15 jours", "rendez-vous à 15 30", "article 12 15 jours", "les 311 3 agents"],
)
def test_numbers_beside_each_other_are_not_joined_everywhere(text: str) -> None:
    """A hyphen is put back in the number of an article only."""
    assert not any("15" in key or "311" in key for key in (*asked(text)[0], *asked(text)[1]))


def test_what_names_a_text_is_pointed_at() -> None:
    """Words that nobody has misspelled, whatever a dictionary says."""
    text = "l'art l311-1 du crpa ou le décret n° 2012-1246 svp"
    named = " ".join(text[start:end] for start, end in spans(text))
    assert "crpa" in named
    assert "décret n° 2012-1246" in named
    assert "svp" not in named


def _hit(document: str, title: str, number: str, score: float) -> Hit:
    keys = article_keys(number, title)
    chunk = Chunk(document, "c", document, title, f"Article {number}", (), "x", 0, "fr", 0, 1, own_references=keys)
    return Hit(chunk, score)


CODES = [
    _hit("1", "Code de la recherche — article L111-1", "L111-1", 0.9),
    _hit("2", "Code de la mutualité — article L111-1", "L111-1", 0.88),
    _hit("3", "Code de la mutualité — article L111-2", "L111-2", 0.7),
]


def test_homonyms_are_told_where_no_text_is_named() -> None:
    """One hit for each text that has the number, in their order, with what tells them apart."""
    assert [text_title(hit.chunk) for hit in homonyms("que dit l'article L. 111-1 ?", CODES)] == [
        "Code de la recherche",
        "Code de la mutualité",
    ]


@pytest.mark.parametrize(
    "question",
    [
        "que dit l'article L. 111-1 du code de la recherche ?",
        "L111-1 code de la mutualité",
        "que dit l'article L. 111-2 ?",
        "combien de jours de congé ?",
        "que dit l'article 4 ?",
    ],
)
def test_no_homonyms_where_one_text_is_meant(question: str) -> None:
    """Its text is named, or only one text has it, or no article is asked for."""
    assert homonyms(question, CODES) == ()


def test_other_words_may_single_out_one_of_the_homonyms() -> None:
    """Where they set it clearly above the next; a plain number is then no reason to ask at all."""
    question = "Quelles missions l'article L. 111-1 donne-t-il aux chercheurs ?"
    assert len(homonyms(question, CODES)) == 2
    assert homonyms(question, [CODES[0], replace(CODES[1], score=0.5)]) == ()
    plain = [_hit("1", "Décision n° 2020-44", "4", 0.5), _hit("2", "Arrêté n° 2021-7", "4", 0.49)]
    assert len(homonyms("article 4", plain)) == 2
    assert homonyms("combien de jours donne l'article 4 ?", plain) == ()


SPELLINGS = [
    ("L. 3141-3", "L.3141-3", "L3141-3", "L 3141-3", "l3141-3", "L. 3141‑3"),
    ("R*123-4 bis", "R. * 123-4 bis", "R.* 123-4 bis", "R123-4 bis", "r*123-4 bis"),
    ("LO 123-1", "L.O. 123-1", "L. O. 123-1", "LO123-1"),
    ("premier", "1er", "1", "1 er", "PREMIER"),
    ("16 A", "16A"),
]


@pytest.mark.parametrize("spellings", SPELLINGS)
def test_all_spellings_have_one_key(spellings: tuple[str, ...]) -> None:
    """In a heading and in a sentence, each spelling of an article gives the same key."""
    of_headings = {article_keys(number, "Recueil") for number in spellings}
    of_texts = {references(f"l'article {number} du recueil")[0].key for number in spellings}
    assert len(of_headings) == 1
    assert of_texts == set(*of_headings)


@pytest.mark.slow
def test_articles_of_real_codes_are_told_apart(shared_data: Path) -> None:
    """Every numbered article of a code has a key, no two share one, and a sentence that names it gives it."""
    with gzip.open(shared_data / "fr-codes" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    numbers = {(row["code"], row["article"]) for row in rows if any(map(str.isdigit, row["article"][:3]))}
    keys = {one: article_keys(one[1], one[0])[0] for one in numbers}
    assert len({(code, key) for (code, _), key in keys.items()}) == len(numbers) > 4000
    named = sum(references(f"l'article {number} du code")[0].key == key for (_, number), key in keys.items())
    assert named >= 0.999 * len(numbers)


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
    started = time.process_time()
    references("article " * 20_000 + "L. 1-" * 20_000 + "articles 1, " * 10_000 + "décision n° " * 10_000)
    periods("1 janvier " * 20_000)
    assert time.process_time() - started < 5
