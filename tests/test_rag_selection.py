"""From ranked hits to the passages of an answer: what is said twice, what crowds, what completes."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.closeness import wording
from rag.selection import BROUGHT, completed, distinct, diverse, goes_on, needs, repeats, select
from rag.types import Chunk, Found, Hit, NormRank, Validity

TEXT = (
    "L'agent titulaire en fonction depuis plus d'un an a droit à vingt-cinq jours ouvrés de congé annuel par année "
    "civile, pris après accord du chef de service selon le calendrier du service et les nécessités de la mission."
)
CHUNK = Chunk("c", "rh", "conges", "Congés", "Article 1", (), TEXT, 0, "fr", 0, len(TEXT))


def chunk(name: str, **changes: object) -> Chunk:
    return replace(CHUNK, id=name, **changes)  # type: ignore[arg-type]  # the fields of a chunk, by name


def hits(*chunks: Chunk, step: float = 0.01) -> list[Hit]:
    return [Hit(one, 0.9 - step * place) for place, one in enumerate(chunks)]


def ids(found: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in found]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.upper(),
        TEXT.replace("'", "’").replace("civile, pris", "civile ; pris"),
        TEXT.replace("jours ouvrés", "jours  ouvrés"),
        "a droit à vingt-cinq jours ouvrés de congé annuel par année civile",
    ],
)
def test_one_text_is_one_passage(text: str) -> None:
    """Typography tells no two texts apart, and a quotation says nothing that the whole does not say."""
    assert repeats(CHUNK, chunk("other", document="copy", text=text))
    assert ids(distinct(hits(CHUNK, chunk("other", document="copy", text=text)))) == ["c"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vingt-cinq", "trente"),
        ("plus d'un an", "plus de deux ans"),
        ("titulaire", "contractuel"),
        ("a droit", "n'a pas droit"),
        ("après", "sans"),
        ("du chef de service", "de l'agence comptable"),
    ],
)
def test_texts_that_differ_in_a_word_that_matters_are_two(old: str, new: str) -> None:
    """Two rules, a conflict or two versions: both are shown."""
    other = chunk("other", document="copy", text=TEXT.replace(old, new))
    assert ids(distinct(hits(CHUNK, other))) == ["c", "other"]


def test_the_higher_norm_takes_the_place_of_its_copy() -> None:
    """The same words in a decree and in a note: the decree is shown, where the note stood."""
    note, decree = chunk("note", norm_rank=NormRank.INTERNAL_NOTE), chunk("decree", norm_rank=NormRank.DECREE)
    middle = chunk("middle", text="Le badge ouvre les portes.")
    (first, second) = distinct(hits(note, middle, decree))
    assert (first.chunk.id, first.score, second.chunk.id) == ("decree", 0.9, "middle")


def test_versions_are_never_one() -> None:
    """The same words on other days are another answer to "since when"."""
    old = replace(CHUNK, id="old", validity=Validity(dt.date(2020, 1, 1), dt.date(2024, 1, 1)))
    new = replace(CHUNK, id="new", validity=Validity(dt.date(2024, 1, 1)))
    assert ids(distinct(hits(new, old))) == ["new", "old"]


def test_a_named_article_always_stays() -> None:
    """Whoever names it wants to see it."""
    copy = Hit(chunk("copy", document="copy"), 0.5, exact=True)
    assert ids(distinct([*hits(CHUNK), copy])) == ["c", "copy"]


def several(document: str, count: int) -> list[Chunk]:
    return [chunk(f"{document}{n}", document=document, text=f"{document} {n}") for n in range(count)]


def test_one_document_does_not_take_all_places() -> None:
    """Where another is about as good, it is seen too."""
    found = diverse(hits(*several("a", 6), *several("b", 2)), 6)
    assert {"b0", "b1"} <= set(ids(found))
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_a_document_that_is_far_ahead_keeps_its_places() -> None:
    """Others are not shown for the sake of others."""
    far = [Hit(one, 0.9) for one in several("a", 6)] + [Hit(one, 0.2) for one in several("b", 2)]
    assert ids(diverse(far, 6)) == ["a0", "a1", "a2", "a3", "a4", "a5"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.booleans()), max_size=12), st.integers(0, 8))
def test_the_best_hit_is_always_shown(found: list[tuple[str, float, bool]], limit: int) -> None:
    """And no more than asked, in the order of the ranking."""
    ranked = [
        Hit(chunk(f"{n}", document=document, text=f"Texte {n}."), score, exact=exact)
        for n, (document, score, exact) in enumerate(sorted(found, key=lambda one: (not one[2], -one[1])))
    ]
    chosen = select(ranked, limit)
    assert len(chosen) == min(limit, len(ranked))
    assert chosen[:1] == ranked[: min(1, limit)]
    assert chosen == [hit for hit in ranked if hit in chosen]


# --- what comes along ------------------------------------------------------------------------------------

ARTICLE = replace(CHUNK, own_references=("article:4", "decision:2024-31#4"), reference="Article 4")
FIRST = replace(ARTICLE, id="first", ordinal=3, text="Le congé est accordé aux agents qui :")
SECOND = replace(ARTICLE, id="second", ordinal=4, text="justifient d'un an de service.")
ASKED = wording("congé des agents")


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        ("Le congé est accordé aux agents qui :", "Les titulaires.", True),
        ("Le congé est accordé.", "justifient d'un an.", True),
        ("Le congé est accordé.", "Toutefois, il est refusé en cas d'urgence.", True),
        ("Le congé est accordé.", "Les agents posent leurs jours en ligne.", False),
    ],
)
def test_a_rule_goes_on(before: str, after: str, follows: bool) -> None:
    """Where no sentence ends, or the next begins by leaning on it."""
    assert goes_on(replace(FIRST, text=before), replace(SECOND, text=after)) is follows


def test_a_rule_does_not_go_on_in_another_article() -> None:
    """Nor two parts further, nor in another version."""
    other = replace(SECOND, reference="Article 5", own_references=("article:5",))
    assert not goes_on(FIRST, other)
    assert not goes_on(FIRST, replace(SECOND, ordinal=5))
    assert not goes_on(FIRST, replace(SECOND, validity=Validity(dt.date(2020, 1, 1))))


def test_the_rest_of_a_rule_comes_along() -> None:
    """In either direction, and it says how it was found."""
    (_, after) = completed(hits(FIRST), [FIRST, SECOND], ASKED)
    assert (after.chunk.id, after.found) == ("second", Found.NEIGHBOUR)
    (_, before) = completed(hits(SECOND), [FIRST, SECOND], ASKED)
    assert (before.chunk.id, before.found) == ("first", Found.NEIGHBOUR)


def test_a_named_article_comes_along_from_its_own_text() -> None:
    """A bare "article 5" is that of the same document, and it has to do with the question."""
    source = replace(ARTICLE, id="source", mentions=("article:5",))
    five = replace(CHUNK, id="five", reference="Article 5", own_references=("article:5",), text="Congé des agents.")
    elsewhere = replace(five, id="elsewhere", document="other")
    aside = replace(five, id="aside", title="Entrée en vigueur", text="Publication au recueil.")
    (_, named) = completed(hits(source), [elsewhere, five], ASKED)
    assert (named.chunk.id, named.found) == ("five", Found.NAMED)
    assert named.score < 0.9
    assert ids(completed(hits(source), [aside], ASKED)) == ["source"]


def test_what_is_shown_already_does_not_come_along() -> None:
    """Nor a copy of it, nor more than two."""
    source = replace(FIRST, mentions=tuple(f"article:{n}" for n in range(5, 10)))
    named = [
        replace(
            CHUNK, id=f"{n}", reference=f"Article {n}", own_references=(f"article:{n}",), text=f"Congé, agents {n}."
        )
        for n in range(5, 10)
    ]
    assert ids(completed(hits(source, *named[:4]), named[:4], ASKED)) == ["first", "5", "6", "7", "8"]
    assert len(completed(hits(source), named, ASKED)) == 1 + BROUGHT
    assert completed([], named, ASKED) == []


def test_needs_are_the_articles_of_the_best_hits_and_those_they_name() -> None:
    """A whole text that is named is not fetched: nothing says which part of it matters."""
    source = replace(ARTICLE, mentions=("article:5", "decret:2012-1246", "decret:2012-1246#4", "l3141-3"))
    found = needs(hits(source))
    assert found.documents == {("rh", "conges")}
    assert found.local == {"article:4", "article:5"}
    assert found.anywhere == {"decret:2012-1246#4", "l3141-3"}
    assert not needs(hits(CHUNK)).documents
