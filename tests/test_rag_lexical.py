"""The analysis of French and English words, and the two sides of BM25."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from rag.lexical import (
    ALSO_WEIGHT,
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


@dataclass(frozen=True)
class Named:
    """Another name for a part of a question."""

    start: int
    end: int
    phrase: str


def weights(question: str, also: list[Named], across: list[Named] | None = None) -> dict[int, float]:
    vector = query_vector(question, ("fr", "en"), also, across or [])
    return dict(zip(vector.indices, vector.values, strict=True))


def test_a_question_is_put_in_other_names_instead() -> None:
    """The words that were said go, so that a text with both names gains nothing; the rest of the question stays."""
    found = weights("prime pour CET", [Named(11, 14, "compte épargne")])
    assert term_id("cet") not in found
    assert found[term_id("compt")] == pytest.approx(ALSO_WEIGHT / 2)
    assert found[term_id("prim")] == 1.0


def test_a_word_said_elsewhere_stays() -> None:
    """Only the phrase that has another name is put otherwise."""
    found = weights("congé de maladie ou congé", [Named(0, 16, "arrêt")])
    assert found[term_id("cong")] == 1.0
    assert term_id("malad") not in found
    assert found[term_id("arret")] == ALSO_WEIGHT


def test_another_language_weighs_in_full() -> None:
    """No text has the word in both."""
    assert weights("leave", [], [Named(0, 5, "congé")]) == {term_id("cong"): 1.0}


def test_small_english_words_are_not_asked() -> None:
    """Where most texts are French a "can" or "get" is as rare as a name."""
    assert (
        query_vector("Can I get reimbursed?", ("fr", "en")).indices == query_vector("reimbursed", ("fr", "en")).indices
    )


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Œuvre L’ÉTÉ", "oeuvre l'ete"),
        ("Ǆ é\u0323", "dz e"),
        ("שָׁלוֹם", "שלום"),
        ("20 €", "20 €"),
        ("co\u00adop", "coop"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    """Marks go in every script, and what is no mark stays."""
    assert fold(text) == folded
