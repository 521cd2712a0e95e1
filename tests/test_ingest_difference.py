"""What has become of articles: which one each was before, whatever its number, path or document is now."""

from __future__ import annotations

import datetime as dt

import pytest

from ingest.difference import Action, ArticleChange, Difference, Place, across, difference
from rag.catalog import ArticleRow
from rag.types import Validity

UNKNOWN, OLD, NEW = Validity(), Validity(end=dt.date(2025, 1, 1)), Validity(dt.date(2025, 1, 1))


def row(reference: str, words: str, *path: str, validity: Validity = UNKNOWN) -> ArticleRow:
    return ArticleRow(reference, path or ("Titre I", reference), words, validity)


def told(found: Difference) -> list[str]:
    """Each change in a few words: ``moved 4 < 3``."""
    return [
        f"{change.action.value} {change.place.reference}" + (f" < {change.before.reference}" if change.before else "")
        for change in found.changes
    ]


@pytest.mark.parametrize(
    ("before", "after", "changes", "unchanged"),
    [
        ("", "1a 2b", "added 1, added 2", 0),
        ("1a 2b", "", "removed 1, removed 2", 0),
        ("1a 2b", "1a 2b", "", 2),
        ("1a 2b 3c", "1a 2x 3c", "changed 2", 2),
        ("1a 2b 3c", "1a 3c", "removed 2", 2),
        ("1a 2b 3c", "1a 2n 3b 4c", "added 2, moved 3 < 2, moved 4 < 3", 1),
        ("1a 2b", "1b 2a", "moved 1 < 2, moved 2 < 1", 0),
        ("1a 2z 3z", "1a 2z 4z", "moved 4 < 3", 2),
        ("1z 2z 3c", "1z 3c", "removed 2", 2),
        ("1a 2b", "1x 2y", "changed 1, changed 2", 0),
        ("1a", "2b", "added 2, removed 1", 0),
    ],
)
def test_the_articles_of_one_document(before: str, after: str, changes: str, unchanged: int) -> None:
    """A digit is the number of an article, the letter after it what it says."""
    found = difference(*([row(one[0], one[1]) for one in side.split()] for side in (before, after)))
    assert ", ".join(told(found)) == changes
    assert found.unchanged == unchanged


def test_an_article_under_another_heading_has_moved_or_changed() -> None:
    """With the same words it has moved; with others it has changed, and both say where it stood."""
    before = [row("Article 4", "a", "Titre I", "Article 4"), row("Article 5", "b", "Titre I", "Article 5")]
    after = [row("Article 4", "a", "Titre II", "Article 4"), row("Article 5", "x", "Titre II", "Article 5")]
    assert [(change.action, change.before) for change in difference(before, after).changes] == [
        (Action.MOVED, Place("Article 4", ("Titre I", "Article 4"))),
        (Action.CHANGED, Place("Article 5", ("Titre I", "Article 5"))),
    ]


def test_a_number_that_every_annex_has_says_nothing_by_itself() -> None:
    """The first article of an annex that goes is not the first article of one that comes."""
    before = [row("Article 1", "a", "Annexe 1", "Article 1"), row("Article 1", "b", "Annexe 2", "Article 1")]
    after = [row("Article 1", "a", "Annexe 1", "Article 1"), row("Article 1", "c", "Annexe 3", "Article 1")]
    assert told(difference(before, after)) == ["added Article 1", "removed Article 1"]


def test_versions_of_an_article_are_told_apart_by_their_dates() -> None:
    """A new version comes beside the one whose end is now known; other dates alone are a change."""
    before = [row("Article 4", "a")]
    after = [row("Article 4", "a", validity=OLD), row("Article 4", "b", validity=NEW)]
    assert told(difference(before, after)) == ["changed Article 4", "added Article 4"]
    assert told(difference(after, after[1:])) == ["removed Article 4"]


def test_words_that_leave_one_document_for_another_have_moved() -> None:
    """Where it is clear which; the document that they left says nothing of them."""
    kept = row("Article 1", "stays")
    leaving = difference([kept, row("Article 7", "w"), row("Article 8", "z"), row("Article 9", "z")], [kept])
    coming = difference([], [row("Article 2", "w"), row("Article 3", "z")])
    found = across({"a": leaving, "b": coming})
    assert told(found["a"]) == ["removed Article 8", "removed Article 9"]
    moved = ArticleChange(
        Action.MOVED,
        Place("Article 2", ("Titre I", "Article 2")),
        Place("Article 7", ("Titre I", "Article 7"), "a"),
    )
    assert found["b"].changes[0] == moved
    assert moved.as_json() == {
        "action": "moved",
        "reference": "Article 2",
        "path": ["Titre I", "Article 2"],
        "before": {"document": "a", "reference": "Article 7", "path": ["Titre I", "Article 7"]},
    }
    assert found["b"].counts == {Action.MOVED: 1, Action.ADDED: 1, Action.UNCHANGED: 0}
    assert across(found) == found


def test_long_texts_are_compared_in_no_time() -> None:
    """Ten thousand articles of which one is new and all after it have other numbers."""
    before = [row(f"Article {number}", f"words {number}") for number in range(10_000)]
    after = [before[0], row("Article 1", "new")]
    after += [row(f"Article {number + 1}", f"words {number}") for number in range(1, 10_000)]
    found = difference(before, after)
    assert found.counts == {Action.UNCHANGED: 1, Action.ADDED: 1, Action.MOVED: 9_999}
