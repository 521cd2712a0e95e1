"""Values in text: the same value however it is written, another one when a unit or a bound differs."""

from __future__ import annotations

import pytest

from rag.quantities import Bound, Kind, Relation, folded, read

SAME = [
    ("25 jours ouvrés", "vingt-cinq jours ouvrés"),
    ("1er janvier 2025", "01/01/2025"),
    ("January 1, 2025", "2025-01-01"),
    ("1 500 €", "1,5 k€"),
    ("1,5 million d'euros", "1 500 000 euros"),
    ("un an", "douze mois"),
    ("9 h 30", "9h30"),
    ("un tiers", "one third"),
    ("50 %", "cinquante pour cent"),
    ("quatre-vingt-dix jours", "90 jours"),
    ("five working days", "5 jours ouvrés"),
    ("article R. 12-3", "art. R12-3"),
]
OTHER = [
    ("25 jours ouvrés", "25 jours ouvrables"),
    ("25 jours", "25 jours ouvrés"),
    ("10 jours calendaires", "10 jours francs"),
    ("3 mois", "3 semaines"),
    ("20 €", "20 %"),
    ("1er janvier 2025", "1er janvier 2024"),
    ("article 4", "article 5"),
]
BOUNDS = [
    ("au moins 5 jours avant le départ", Bound.AT_LEAST, Relation.BEFORE),
    ("au plus tard cinq jours avant le départ", Bound.AT_LEAST, Relation.BEFORE),
    ("plus de 4 heures", Bound.MORE_THAN, Relation.NONE),
    ("ne peut excéder 3 nuits", Bound.AT_MOST, Relation.NONE),
    ("jusqu'à 2 000 km", Bound.AT_MOST, Relation.NONE),
    ("15 jours maximum", Bound.AT_MOST, Relation.NONE),
    ("no more than 3 days", Bound.AT_MOST, Relation.NONE),
    ("à compter du 1er mars 2025", Bound.EXACT, Relation.FROM),
    ("au plus tard le 31 mars 2025", Bound.EXACT, Relation.UNTIL),
    ("dans un délai de deux mois à compter de la notification", Bound.WITHIN, Relation.AFTER),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_one_value_in_two_spellings(left: str, right: str) -> None:
    """Figures, words, formats and multiples of a unit are one value."""
    (a,), (b,) = read(left), read(right)
    assert (a.kind, a.value, a.unit) == (b.kind, b.value, b.unit)


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_two_values_are_told_apart(left: str, right: str) -> None:
    """A different unit, day count, year or number is a different value."""
    (a,), (b,) = read(left), read(right)
    assert (a.kind, a.value, a.unit) != (b.kind, b.value, b.unit)


@pytest.mark.parametrize(("text", "bound", "relation"), BOUNDS)
def test_a_value_knows_its_bound(text: str, bound: Bound, relation: Relation) -> None:
    """What stands beside a value limits it or places it in time."""
    (one,) = read(text)
    assert (one.bound, one.relation) == (bound, relation)


def test_a_reference_is_not_a_number() -> None:
    """The figures of references and list markers are not values of the rule."""
    found = read("1° les articles 4 et 5 de la décision n° 2024-31 du 12 décembre 2024")
    assert [(one.kind, one.value) for one in found] == [
        (Kind.REFERENCE, "article:4"),
        (Kind.REFERENCE, "article:5"),
        (Kind.REFERENCE, "n:2024-31"),
        (Kind.DATE, "2024-12-12"),
    ]


def test_folding_keeps_every_offset() -> None:
    """Accents and typography fold letter by letter."""
    text = "Œuvre d’été : 10\u202f000 €, İ"
    assert len(folded(text)) == len(text)
