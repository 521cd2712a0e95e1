"""The analysis of French and English words, and the two sides of BM25."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rag.lexical import (
    AVERAGE_TERMS,
    K1,
    PATH_WEIGHT,
    TITLE_WEIGHT,
    B,
    chunk_vector,
    document_vector,
    fold,
    query_vector,
    term_id,
    terms,
)
from rag.types import Chunk, SparseVector

CHUNK = Chunk("1", "rh", "doc", "Congés annuels", "Article 4", ("Titre II",), "Le congé dure.", 0, "fr", 0, 14)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("L'agent d’astreinte qu'il relève", "fr", ["agent", "astreint", "relev"]),
        ("congé CONGÉS conge", "fr", ["cong", "cong", "cong"]),
        ("article L. 3141-3", "fr", ["articl", "l3141-3"]),
        ("R*123-4 et l3141-3", "fr", ["r123-4", "l3141-3"]),
        ("le décret n° 2012‑1246", "fr", ["decret", "2012-1246"]),
        ("1 000 € ou 12,5 %", "fr", ["1000", "12,5"]),
        ("compte-épargne-temps", "fr", ["compt", "epargn", "temp"]),
        ("cœur", "fr", ["coeur"]),
        ("the leaves of the employee's office", "en", ["leav", "employe", "offic"]),
        ("", "fr", []),
        ("?!… — «»", "fr", []),
    ],
)
def test_terms(text: str, language: str, expected: list[str]) -> None:
    """Elisions, accents, inflections and spacing do not separate words that are one; codes stay whole."""
    assert terms(text, language) == expected


def test_words_that_change_a_rule_are_no_stop_words() -> None:
    """ "Sans" and "plus" are searched: a rule with and one without are two."""
    assert terms("sans plus", "fr") == ["san", "plus"]
    assert terms("not without", "en") == ["not", "without"]


def test_an_unknown_language_is_analysed_as_french() -> None:
    """A document in another language is indexed all the same."""
    assert terms("congés", "de") == terms("congés", "fr")


def test_term_ids_never_change() -> None:
    """Stored vectors outlive the program: the ids of terms are a promise."""
    assert term_id("cong") == 1676982590


def test_document_side_is_saturated_term_frequency() -> None:
    """tf (k1+1) / (tf + k1 (1 - b + b length/average)), by hand for two words of which one comes twice."""
    norm = K1 * (1 - B + B * 3 / AVERAGE_TERMS)
    vector = document_vector("télétravail télétravail prime", "fr")
    values = dict(zip(vector.indices, vector.values, strict=True))
    assert values[term_id("teletravail")] == pytest.approx(2 * (K1 + 1) / (2 + norm))
    assert values[term_id("prim")] == pytest.approx((K1 + 1) / (1 + norm))


def test_title_and_path_count_beside_the_text() -> None:
    """A word of the title adds the title's weight, one of the path the path's, whatever their lengths."""
    vector = chunk_vector(CHUNK)
    values = dict(zip(vector.indices, vector.values, strict=True))
    once = (K1 + 1) / (1 + K1)
    assert values[term_id("annuel")] == pytest.approx(TITLE_WEIGHT * once)
    assert values[term_id("titr")] == pytest.approx(PATH_WEIGHT * once)
    text = document_vector(CHUNK.text, "fr")
    in_text = dict(zip(text.indices, text.values, strict=True))[term_id("cong")]
    assert values[term_id("cong")] == pytest.approx(in_text + TITLE_WEIGHT * once)


def test_a_long_title_takes_nothing_from_the_text() -> None:
    """What a chunk scores for its own words does not depend on what its document is called."""
    longer = chunk_vector(replace(CHUNK, title=CHUNK.title + " des personnels de tous les sites" * 5))
    value = term_id("dur")
    short = chunk_vector(CHUNK)
    assert longer.values[longer.indices.index(value)] == short.values[short.indices.index(value)]


def test_indices_ascend() -> None:
    """The engine wants them in order and each once."""
    vector = chunk_vector(CHUNK)
    assert list(vector.indices) == sorted(set(vector.indices))


def test_questions_are_asked_in_every_language() -> None:
    """A word is looked up under the stem of each language, once where they agree; all stop words go."""
    vector = query_vector("maladie de la Loire", ("fr", "en"))
    assert set(vector.indices) == {term_id(term) for term in ("malad", "maladi", "loir")}
    assert set(vector.values) == {1.0}


def test_a_question_of_stop_words_has_no_terms() -> None:
    """Such a question is not searched by words."""
    assert query_vector("Et les autres, c'est quoi ?", ("fr",)).indices == (term_id("autr"),)
    assert query_vector("Qui est-ce ?", ("fr",)) == SparseVector((), ())


def test_stems_are_right_under_threads() -> None:
    """Stemmers keep state, and many threads analyse at once."""
    words = [f"congés{suffix} annuellement travaillées déclarations" for suffix in range(200)]
    expected = [terms(word, "fr") for word in words]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda word: terms(word, "fr"), words)) == expected


def test_fold() -> None:
    """Accents, ligatures, apostrophes and hyphens of print become those of a keyboard."""
    assert fold("L’Œuvre à Noël‑bis") == "l'oeuvre a noel-bis"
