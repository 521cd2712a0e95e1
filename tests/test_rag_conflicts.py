"""Passages that contradict each other on what is asked are told, the higher norm first; look-alikes are not."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from rag.conflicts import conflicts, precedence, probes, whole
from rag.evidence import _units, evidence
from rag.points import _asked
from rag.types import Chunk, Conflict, NormRank, Passage, Reason, Validity
from rag.wording import _alike, _key
from tests.golden_passages import passages, rows

FROZEN = "f713561c7a1287358f2a84ff47be17a9caf698326de55da842889ca54e1cce0a"
"""SHA-256 of the frozen rows, which were written before the module: a change of one is a change of the measure."""
PRECISION, RECALL = 0.89, 0.8
"""What the frozen half must keep."""
MISSED = {"cf-163", "cf-164", "cf-170", "cf-173", "cf-175"}
"""Asked in words that the texts do not have, so that nothing shows that the two sentences are what is asked about."""
_YES_OR_NO = {Reason.NEGATION, Reason.MODALITY}

DEV = rows("conflicts", "dev")
TRUE, ALIKE = [row for row in DEV if row["conflict"]], [row for row in DEV if not row["conflict"]]


def told(row: dict[str, Any]) -> tuple[list[Conflict], list[Conflict]]:
    """The contradictions found in a row that are the expected one, higher norm first, and all others."""
    read, places = passages(row)
    found = conflicts(row["question"], read, row["language"])
    if not row["conflict"]:
        return [], list(found)
    first, second = (places[place] for place in row["pair"])
    right = [one for one in found if one.first.passage in first and one.second.passage in second]
    return right, [one for one in found if one not in right]


def test_the_frozen_rows_are_unchanged() -> None:
    """Nobody edits a frozen pair silently."""
    text = "\n".join(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows("conflicts", "frozen"))
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN


def test_the_set_holds_what_it_should() -> None:
    """Real, synthetic and poisoned contradictions and as many look-alikes, half frozen, a fifth in English."""
    both = [*DEV, *rows("conflicts", "frozen")]
    kinds = [row["kind"] for row in both]
    assert len({row["id"] for row in both}) == len(both) >= 60
    assert kinds.count("synthetic") >= 25
    assert kinds.count("poison") >= 10
    assert kinds.count("lookalike") >= 30
    assert sum(row["language"] == "en" for row in both) * 6 >= len(both)
    assert {row["topic"] for row in TRUE}.isdisjoint(
        row["topic"] for row in rows("conflicts", "frozen") if row["conflict"]
    )


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.xfail(strict=True) if row["id"] in MISSED else (), id=row["id"])
        for row in TRUE
    ],
)
def test_a_contradiction_is_told_higher_norm_first(row: dict[str, Any]) -> None:
    """The two sentences, what differs, and which of them has the higher authority."""
    right, _ = told(row)
    assert right
    reason = Reason(row["reason"])
    assert right[0].reason in (_YES_OR_NO if reason in _YES_OR_NO else {reason})


@pytest.mark.parametrize("row", ALIKE, ids=lambda row: row["id"])
def test_a_look_alike_is_not_a_contradiction(row: dict[str, Any]) -> None:
    """Other people, places, conditions, items, steps, bounds, periods, or the same value in another unit."""
    assert told(row) == ([], [])


def test_the_frozen_half() -> None:
    """Precision and recall on pairs that nothing was tuned on."""
    frozen = rows("conflicts", "frozen")
    outcomes = [(row["conflict"], *told(row)) for row in frozen]
    right = sum(bool(found) for _, found, _ in outcomes)
    wrong = sum(bool(other) for _, _, other in outcomes)
    assert right / (right + wrong) >= PRECISION
    assert right / sum(conflict for conflict, _, _ in outcomes) >= RECALL


def passage(n: int, text: str, rank: NormRank | None = NormRank.DECREE, start: dt.date | None = None) -> Passage:
    chunk = Chunk(
        id=f"c{n}", corpus="c", document=f"d{n}", title=f"Texte {n}", reference="Article 1", path=(), text=text,
        ordinal=0, language="fr", start=0, end=len(text), norm_rank=rank, validity=Validity(start),
    )  # fmt: skip
    return Passage(n, chunk, 1.0)


QUESTION = "Quel est le montant de la prime de fin d'année ?"
LOW = "La prime de fin d'année est de 300 euros."
HIGH = "La prime de fin d'année est de 200 euros."


def test_a_lower_norm_is_never_above_a_higher_one() -> None:
    """Whatever their order, scores and dates, the code stands before the note."""
    for ranks in ((NormRank.INTERNAL_NOTE, NormRank.CODE), (None, NormRank.INTERNAL_NOTE)):
        read = (passage(1, LOW, ranks[0], dt.date(2026, 1, 1)), passage(2, HIGH, ranks[1], dt.date(2001, 1, 1)))
        [conflict] = conflicts(QUESTION, read)
        assert (conflict.first.passage, conflict.second.passage) == (2, 1)


def test_of_two_equal_norms_the_newer_is_first() -> None:
    """The later start of validity; an unknown start comes last."""
    older, newer = passage(1, LOW, start=dt.date(2020, 1, 1)), passage(2, LOW, start=dt.date(2024, 1, 1))
    unknown = passage(3, LOW)
    assert sorted((unknown, older, newer), key=precedence) == [newer, older, unknown]


def test_the_places_are_the_two_sentences() -> None:
    """Offsets are of the sentence in its passage, so that it can be shown word for word."""
    text = f"Le présent texte vaut pour tous. {LOW} Elle est versée en décembre."
    [conflict] = conflicts(QUESTION, (passage(1, text), passage(2, HIGH)))
    place = min((conflict.first, conflict.second), key=lambda span: span.passage)
    assert text[place.start : place.end] == LOW


def test_many_false_notes_do_not_outvote_a_decree() -> None:
    """Five notes that agree with each other stand below the one decree that they contradict."""
    notes = [passage(n, LOW, NormRank.INTERNAL_NOTE, dt.date(2026, 1, n)) for n in range(1, 6)]
    found = conflicts(QUESTION, (*notes, passage(6, HIGH)))
    assert found
    assert {conflict.first.passage for conflict in found} == {6}


def test_a_row_is_shown_with_the_head_of_its_table() -> None:
    """A cell means nothing without its column."""
    table = "Prime | Montant\nPrime de fin d'année | 200 euros\nPrime de rentrée | 90 euros"
    read = (passage(1, table), passage(2, LOW, NormRank.INTERNAL_NOTE))
    [conflict] = conflicts(QUESTION, read)
    shown = [table[place.start : place.end] for place in whole(conflict.first, read[0])]
    assert shown == ["Prime | Montant", "Prime de fin d'année | 200 euros"]
    assert whole(conflict.second, read[1]) == (conflict.second,)


def test_what_is_not_asked_is_not_told() -> None:
    """Two texts that contradict each other on something else are left alone."""
    assert conflicts("Comment réserver un véhicule ?", (passage(1, LOW), passage(2, HIGH))) == ()
    assert conflicts("Bonjour", (passage(1, LOW), passage(2, HIGH))) == ()
    assert conflicts(QUESTION, ()) == ()


def test_two_versions_meet_only_when_both_may_be_in_force() -> None:
    """A text that ended when the other began contradicts nothing."""
    old, new = passage(1, LOW), passage(2, HIGH, start=dt.date(2024, 1, 1))
    period = Validity(dt.date(2020, 1, 1), dt.date(2024, 1, 1))
    ended = replace(old, chunk=replace(old.chunk, validity=period))
    assert conflicts(QUESTION, (ended, new)) == ()
    assert len(conflicts(QUESTION, (old, new))) == 1


def test_probes_are_the_sentences_that_answer() -> None:
    """The question with the likeliest answer finds texts that say the same thing otherwise."""
    [first, *_] = probes(QUESTION, (passage(1, f"Les agents sont informés. {LOW}"), passage(2, "Autre chose.")))
    assert first == f"{QUESTION} {LOW}"
    assert probes(QUESTION, ()) == ()


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        (  # a sentence of two words that does not say itself what is asked
            "Durée de la formation avant de recevoir une carte d'achat",
            "La formation initiale dure quatorze heures.",
            "La formation dure trois heures.",
        ),
        (
            "Quelle part du traitement touche-t-on à temps partiel de 80 % ?",
            "Pendant les douze premiers mois, l'agent perçoit une indemnité égale à 85 % de son traitement brut.",
            "Les agents à 80 % perçoivent six septièmes de leur traitement.",
        ),
        (  # no delay answers it
            "Quel numéro appeler en cas d'accident de service ?",
            "L'accident de service est déclaré dans les quatre heures.",
            "L'accident de service est déclaré dans les quinze jours.",
        ),
    ],
)
def test_values_of_two_points_are_no_contradiction(question: str, one: str, other: str) -> None:
    """Sentences so short that they are like any other, and values of no use to the question."""
    assert conflicts(question, (passage(1, one), passage(2, other, NormRank.CIRCULAR))) == ()


@pytest.mark.parametrize(
    ("question", "articles"),
    [
        ("Combien de jours de congés ?", {"rh-conges-2024": "14", "sante-maladie-2022": "26"}),
        ("règlement", {"fin-subventions-communes-2023": "20", "infra-parc-automobile-2022": "25"}),
    ],
)
def test_a_question_of_one_word_is_no_point(question: str, articles: dict[str, str]) -> None:
    """All rules on leave hold the word, and each text says from when it holds itself."""
    named = [{"document": document, "article": article} for document, article in articles.items()]
    read, _ = passages({"language": "fr", "passages": named})
    assert conflicts(question, read) == ()


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        (  # the length of an absence and the limit of what is carried over
            "Combien de jours de congés annuels par an ?",
            {"document": "rh-conges-2024", "article": "14"},
            {"document": "sante-maladie-2022", "article": "26"},
        ),
        (  # two trainings, each in a text on something else
            "Combien d'heures de formation par an ?",
            {"document": "sante-secours-2023", "article": "4"},
            {"document": "fin-carte-achat-2024", "article": "4"},
        ),
        (  # all that they share is that somebody gets something
            "Puis-je donner mes congés à un collègue ?",
            {"document": "rh-conges-2024", "article": "19"},
            {"document": "sante-maladie-2022", "article": "11"},
        ),
        (  # the delay is of the proof
            "Combien de jours d'absence pour un enfant malade ?",
            {"document": "rh-conges-2024", "article": "18"},
            {"document": "rh-parentalite", "article": "2.3"},
        ),
    ],
)
def test_two_measures_of_one_subject_are_no_contradiction(
    question: str, one: dict[str, str], other: dict[str, str]
) -> None:
    """Everyday questions whose words stand in rules on other points, or on another thing of the same name."""
    read, _ = passages({"language": "fr", "passages": [one, other]})
    assert conflicts(question, read) == ()


def test_a_word_says_by_itself_whether_it_is_a_name() -> None:
    """Words of a heading lie past the end of a short sentence, and no text but their own says how they are written."""
    entry = {
        "title": "Note sur les sites",
        "path": ["Accueil du public au siège de Port-Aubin", "Site"],
        "text": "Oui.",
    }
    read, _ = passages({"language": "fr", "passages": [entry]})
    (unit,) = evidence(read[0])
    far = [word for word in unit.around.words if word.start > len(unit.text)]
    names = {unit.around.text[word.start : word.end] for word in far if word.proper}
    assert names >= {"Port", "Aubin"}
    assert names.isdisjoint({"public", "siège"})


def test_threads_find_what_one_finds() -> None:
    """Eight threads read the same sentences at once, none of which had been read before."""
    asked = [(row["question"], passages(row)[0], row["language"]) for row in TRUE[:6]]
    alone = [conflicts(*one) for one in asked]
    assert any(alone)
    for fresh in (_units, _asked, _key, _alike):
        fresh.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda one: conflicts(*one), asked * 8))
    assert together == alone * 8


@pytest.mark.parametrize(
    ("question", "language", "one", "other", "reason"),
    [
        (
            "Les congés peuvent-ils être refusés ?",
            "fr",
            {"document": "rh-conges-2024", "article": "15"},
            {"document": "rh-note-compteurs-conges", "article": "3.1"},
            None,
        ),
        (
            "Jusqu'à quand les congés non pris peuvent-ils être utilisés ?",
            "fr",
            {"document": "rh-conges-2024", "article": "15"},
            {"document": "rh-note-compteurs-conges", "article": "3.1"},
            Reason.DATE,
        ),
        (
            "How soon must an accident be reported?",
            "en",
            {"document": "infra-visitor-contractor-safety-2025", "article": "17"},
            {"document": "rh-remote-work-abroad", "article": "4.4"},
            None,
        ),
        (
            "How soon must an accident be reported?",
            "en",
            {"title": "Works site rules", "text": "Contractors report any accident on the site within 2 hours."},
            {"title": "Notice to contractors", "text": "An accident on the site is reported within 24 hours."},
            Reason.NUMBER,
        ),
    ],
)
def test_a_contradiction_is_on_what_is_asked_and_of_whom(
    question: str, language: str, one: dict[str, str], other: dict[str, str], reason: Reason | None
) -> None:
    """Until when leave is taken says not whether it is refused; what contractors report binds no agent abroad."""
    read, _ = passages({"language": language, "passages": [one, other]})
    assert [found.reason for found in conflicts(question, read, language)] == ([reason] if reason else [])
