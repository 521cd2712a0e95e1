"""The names of codes, however they are written: which code is meant, and by which characters."""

from __future__ import annotations

import time

import pytest

from rag.codes import codes, level


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("article L. 3141-3 du code du travail", "code:travail", "code du travail"),
        ("CODE DU TRAVAIL", "code:travail", "CODE DU TRAVAIL"),
        ("L 3141-3 c. trav.", "code:travail", "c. trav."),
        ("au code trav", "code:travail", "code trav"),
        ("code du travail maritime", "code:travail-maritime", "code du travail maritime"),
        ("code de l’éducation", "code:education", "code de l’éducation"),
        ("code education", "code:education", "code education"),
        ("c.r.p.a.", "code:relations-public-administration", "c.r.p.a."),
        ("code des relations entre public et administration", "code:relations-public-administration", None),
        ("code relations du public avec l'administration", "code:relations-public-administration", None),
        ("code des pension civile et militaire", "code:pensions-civiles-militaires-retraite", None),
        ("CGI", "code:general-impots", "CGI"),
        ("CGI, ann. II", "code:general-impots-annexe-2", "CGI, ann. II"),
        ("l'annexe IV au code général des impôts", "code:general-impots-annexe-4", None),
        ("annexe 1 du code du patrimoine", "code:patrimoine", "code du patrimoine"),
        ("livre des procédures fiscales", "code:procedures-fiscales", None),
        ("L.P.F.", "code:procedures-fiscales", "L.P.F."),
        ("code rural", "code:rural-peche-maritime", "code rural"),
        ("CG3P", "code:general-propriete-personnes-publiques", "CG3P"),
    ],
)
def test_a_code_is_known_by_its_names(text: str, key: str, words: str | None) -> None:
    """In full, in part, abbreviated, without accents or small words."""
    (found,) = codes(text)
    assert found.key == key
    if words is not None:
        assert text[found.start : found.end] == words


@pytest.mark.parametrize("text", ["le code postal", "code de conduite", "c'est com", "un accès", "la procédure", ""])
def test_what_is_no_code_is_left_alone(text: str) -> None:
    """Other codes than those of law, and words that resemble an abbreviation."""
    assert list(codes(text)) == []


@pytest.mark.parametrize(("text", "sure"), [("crpa", True), ("CSP", True), ("csp", False), ("c. civ.", True)])
def test_short_acronyms_in_small_letters_are_doubtful(text: str, sure: bool) -> None:
    """« csp » is also a category of workers: it counts beside an article's number only."""
    assert [code.sure for code in codes(text)] == [sure]


def test_leveling_moves_no_character() -> None:
    """Spans found in the leveled text are those of the text itself."""
    text = "L’Éducation\u00a0À\u2011ß İstanbul œuvre"
    assert len(level(text)) == len(text)
    assert level("L’Éducation\u00a0À\u2011") == "l'education a-"


def test_a_long_hostile_text_is_read_in_linear_time() -> None:
    """Names that never end do not stop the service."""
    started = time.process_time()
    for text in ("code de la ", "annexe ii code ", "c. ", "code des pensions ", "cgi ann. "):
        list(codes(text * 5_000))
    assert time.process_time() - started < 5
