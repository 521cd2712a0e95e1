"""Answers are judged by words, gold values and hand labels, and counted as the documented rates say."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval import answers
from eval.answers import RATES, Basis, Report, Row, fold, holds_value, label_key, place, verbatim
from eval.cases import Case, Expected
from rag import schemas
from rag.errors import Overloaded
from rag.types import (
    Answer,
    Chunk,
    Citation,
    Claim,
    Event,
    Passage,
    PassagesFound,
    PlacedClaim,
    Principal,
    Question,
    Status,
    Verdict,
)

TEXT = "Le droit est de 25 jours ouvrés par an.\nIl est réduit à 20 jours la première année, sauf mutation."
CASE = Case("a", "Combien ?", corpus="rh", answers=("25 jours ouvrés",), expected=(Expected("conges", "4"),))
OFF = Case("z", "Saturne ?", corpus="rh", unanswerable=True)


def passage(n: int = 1, text: str = TEXT, document: str = "conges", reference: str = "Article 4") -> Passage:
    chunk = Chunk(
        id=f"chunk-{n}",
        corpus="rh",
        document=document,
        title="Congés",
        reference=reference,
        path=("Titre Ier",),
        text=text,
        ordinal=n,
        language="fr",
        start=0,
        end=len(text),
    )
    return Passage(n, chunk, 1.0)


def answer(*sentences: str, status: Status = Status.ANSWERED, passages: tuple[Passage, ...] = (passage(),)) -> Answer:
    text, placed = "", []
    for sentence in sentences:
        placed.append(PlacedClaim(Claim(sentence, (1,), Verdict.SUPPORTED), len(text), len(text) + len(sentence)))
        text += sentence
    citations = tuple(Citation(claim.start or 0, claim.end or 0, 1) for claim in placed)
    return Answer(status, text, "fr", "?", claims=tuple(placed), citations=citations, passages=passages)


def refusal() -> Answer:
    return answer(status=Status.INSUFFICIENT_EVIDENCE)


def judged(*sentences: str, labels: dict[str, bool] | None = None, case: Case = CASE) -> Row:
    return answers.judge(case, schemas.asked(answer(*sentences)), labels or {})


# --- running -------------------------------------------------------------------------------------------


def test_rates_are_counted_as_documented() -> None:
    """Five questions, each of another fate, give the numbers worked out by hand."""
    replies = {
        "right": answer("Le droit est de 25 jours ouvrés par an."),
        "wrong": answer("Il pleut.", passages=(passage(document="autre"),)),
        "refused": refusal(),
        "off": refusal(),
        "fooled": answer("Saturne est loin."),
    }
    cases = [
        Case(name, "?", answers=CASE.answers, expected=CASE.expected) if name in {"right", "wrong", "refused"} else
        Case(name, "?", unanswerable=True)
        for name in replies
    ]  # fmt: skip
    report = answers.run(cases, lambda case: replies[case.id], labels={})
    counts = {name: (share.numerator, share.denominator) for name, share in report.rates().items()}
    assert counts == {
        "answered": (2, 3),
        "refused_rightly": (1, 2),
        "refused_wrongly": (1, 3),
        "expected_cited": (1, 3),
        "value_present": (1, 3),
        "supported": (1, 1),
    }
    assert report.statuses() == {"answered": 2, "insufficient_evidence": 1}
    assert report.bases() == {"verbatim": 1, "none": 2}


def test_a_crash_is_a_failed_row() -> None:
    """A question that crashes keeps its error, counts in the denominators only, and the run goes on."""

    def ask(case: Case) -> Answer:
        if case.id == "a":
            raise Overloaded("the queue is full")
        if case.id == "b":
            raise ZeroDivisionError("by zero")
        return answer("Le droit est de 25 jours ouvrés par an.")

    cases = [CASE, Case("b", "?", unanswerable=True), Case("c", "?", expected=CASE.expected)]
    report = answers.run(cases, ask, labels={})
    assert [row.error for row in report.rows] == [
        f"{Overloaded.code}: the queue is full",
        "ZeroDivisionError: by zero",
        None,
    ]
    rates = report.rates()
    assert (rates["answered"].rate, rates["refused_wrongly"].rate, rates["refused_rightly"].rate) == (0.5, 0.0, 0.0)
    assert rates["expected_cited"].denominator == 1 + 1
    assert report.statuses() == {"failed": 1, "answered": 1}


def test_json_contract() -> None:
    """The JSON has the keys that scripts rely on, one row per question, and each rate with its numbers."""
    report = answers.run([CASE, OFF], lambda case: refusal(), labels={}, about={"commit": "abc"})
    shown = json.loads(json.dumps(report.as_json()))
    assert {"questions", "answerable", "unanswerable", "rates", "seconds", "rows", "run"} <= shown.keys()
    assert (shown["questions"], shown["answerable"], shown["unanswerable"]) == (2, 1, 1)
    assert shown["rates"].keys() == shown["counts"].keys() == shown["definitions"].keys() == RATES.keys()
    assert shown["rates"]["supported"] is None
    assert shown["by"]["corpus"]["rh"]["refused_rightly"] == 1.0
    assert [row["id"] for row in shown["rows"]] == ["a", "z"]
    assert shown["run"] == {"commit": "abc"}


def test_text_report() -> None:
    """A person sees each rate over all questions and by group, how questions ended, and what failed."""

    def ask(case: Case) -> Answer:
        if case.unanswerable:
            raise Overloaded("the queue is full")
        return answer("Le droit est de 25 jours ouvrés par an.")

    lines = answers.run([CASE, OFF], ask, labels={}).as_text().splitlines()
    assert lines[0].split() == ["questions", *RATES]
    assert lines[2].split() == ["all", "2", "1.000", "0.000", "0.000", "1.000", "1.000", "1.000"]
    assert lines[3].split()[:3] == ["corpus", "rh", "2"]
    assert lines[-3:] == [
        "answerable ended as: answered 1",
        "sentences judged by: verbatim 1",
        "failed: z: overloaded: the queue is full",
    ]


def test_wire_objects_are_judged_alike() -> None:
    """An answer that came over HTTP gives the same row as one of the engine."""
    local = answers.run([CASE], lambda case: answer("Le droit est de 25 jours ouvrés par an."), labels={})
    sent = schemas.asked(answer("Le droit est de 25 jours ouvrés par an.")).model_dump_json()
    remote = answers.run([CASE], lambda case: schemas.Asked.model_validate_json(sent), labels={})
    assert [row.sentences for row in remote.rows] == [row.sentences for row in local.rows]


def test_engine_is_asked_as_the_case_says() -> None:
    """The principal and the as-of date reach the engine; its last event is the answer."""
    asked: list[Question] = []

    class Engine:
        def answer(self, question: Question) -> Iterator[Event]:
            asked.append(question)
            yield PassagesFound((), question.text, None)
            yield refusal()

    principal = Principal("local", frozenset({"agents"}))
    case = Case("a", "Combien ?", corpus="rh", as_of=dt.date(2022, 6, 1))
    assert answers.of_engine(Engine(), principal)(case).status is Status.INSUFFICIENT_EVIDENCE
    answers.of_engine(Engine(), principal, own_corpus=True)(case)
    assert asked == [
        Question("Combien ?", principal, as_of=dt.date(2022, 6, 1)),
        Question("Combien ?", principal, corpora=("rh",), as_of=dt.date(2022, 6, 1)),
    ]


# --- judging -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "supported", "basis"),
    [
        ("Le droit est de 25 jours ouvrés par an.", True, Basis.VERBATIM),
        ("Vous avez 25 jours ouvrés.", True, Basis.GOLD),
        ("Vous avez 25 jours ouvrables.", None, Basis.NONE),
        ("Il est réduit à 20 jours la première année.", None, Basis.NONE),
    ],
)
def test_sentences(sentence: str, supported: bool | None, basis: Basis) -> None:
    """A sentence is judged word for word, then by the gold value; a cut sentence and a wrong value are not judged."""
    [found] = judged(sentence).sentences
    assert (found.supported, found.basis) == (supported, basis)


@pytest.mark.parametrize("label", [True, False])
def test_labels_win(label: bool) -> None:
    """What a person said of a claim and a passage goes before everything else."""
    sentence = "Le droit est de 25 jours ouvrés par an."
    [found] = judged(sentence, labels={label_key(sentence, TEXT): label}).sentences
    assert (found.supported, found.basis) == (label, Basis.LABEL)


def test_unexpected_citation() -> None:
    """The right value beside another article is no expected citation, and no gold judgement either."""
    case = Case("a", "?", answers=CASE.answers, expected=(Expected("conges", "5"),))
    row = judged("Vous avez 25 jours ouvrés.", case=case)
    assert (row.expected_cited, row.value_present) == (False, True)
    assert row.sentences[0].basis is Basis.NONE


def test_sentences_that_are_not_shown_do_not_count() -> None:
    """A dropped claim is no displayed sentence, and cites nothing."""
    base = answer()
    dropped = Answer(
        Status.ANSWERED, "", "fr", "?", passages=base.passages,
        claims=(PlacedClaim(Claim("", (1,), Verdict.UNSUPPORTED), None, None),),
    )  # fmt: skip
    row = answers.judge(CASE, schemas.asked(dropped), {})
    assert (row.sentences, row.expected_cited, row.expected_found) == ((), False, True)


def test_worksheet_is_a_stable_sample() -> None:
    """A person gets the displayed sentences without a label, in an order that does not depend on the run."""
    sentences = [f"Phrase {n}." for n in range(6)]
    labels = {label_key("Phrase 0.", TEXT): True}

    def sheet(*said: str) -> list[object]:
        report = Report((answers.judge(CASE, schemas.asked(answer(*said)), labels),), 0.0)
        return [line["claim"] for line in report.worksheet(3)]

    first = sheet(*sentences)
    assert len(first) == 3
    assert "Phrase 0." not in first
    assert sheet(*reversed(sentences)) == first


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("Article 1er — Objet", "fr", "1"),
        ("1er", "fr", "1"),
        ("Article premier", "fr", "1"),
        ("ART. 12", "fr", "12"),
        ("Article R. 12-3", "fr", "r12-3"),
        ("R12-3", "fr", "r12-3"),
        ("Article 5 bis — Suite", "fr", "5 bis"),
        ("Section 3 — Terms", "en", "3"),
        ("Section 3 — Conducteurs", "fr", "section 3 — conducteurs"),
        ("2.1 Quand saisir", "fr", "2.1 quand saisir"),
        ("2.1", "fr", "2.1"),
        ("Point 2.1", "fr", "2.1"),
        ("Annexe 1 — Barème", "fr", "annex 1"),
        ("Annexe 1, article 2", "fr", "annex 1"),
        ("Annex 1", "en", "annex 1"),
        ("Clôture 2026", "fr", "clôture 2026"),
    ],
)
def test_place(name: str, language: str, expected: str) -> None:
    """References, headings and bare numbers of one article have one spelling."""
    assert place(name, language) == expected


@pytest.mark.parametrize(
    ("text", "value", "held"),
    [
        ("un plafond de 1\xa0370\xa0000 euros", "1 370 000", True),
        ("un plafond de 1370000 euros", "1 370 000", True),
        ("l’employeur ne peut pas la demander", "L'employeur ne peut pas la demander", True),
        ("soit 120,50 €", "20,50 €", False),
        ("47", "47", True),
        ("147 jours", "47", False),
        ("4,5 jours", "4", False),
        ("25 jours ouvrables", "25 jours ouvrés", False),
        ("19\xa0°C", "19 °C", True),
    ],
)
def test_holds_value(text: str, value: str, held: bool) -> None:
    """A value is held whole, whatever its typography."""
    assert holds_value(text, value) is held


@pytest.mark.parametrize(
    ("sentence", "held"),
    [
        ("Toutefois, le délai est de huit jours.", True),
        ("« Toutefois, le délai est de huit jours »", True),
        ("le délai est de huit jours", False),
        ("Le repas est remboursé", False),
        ("Le repas est remboursé, sauf s'il est offert.", True),
        ("Le repas est remboursé, sauf s’il est offert. Toutefois, le délai est de huit jours.", True),
        ("dossier complet", True),
        ("Sont exclus", False),
        ("Sont exclus : les stagiaires.\n\nEn sont dispensés :", True),
        ("Cycle A | 36 heures", True),
        ("", False),
    ],
)
def test_verbatim(sentence: str, held: bool) -> None:
    """Whole sentences, items and rows are verbatim; pieces of them are not."""
    passage = (
        "Le repas est remboursé, sauf s'il est\xa0offert. Toutefois, le délai est de huit jours.\n"
        "1° dossier complet ;\n2° avis.\nSont exclus : les stagiaires.\nEn sont dispensés :\nCycle A | 36 heures | 6"
    )
    assert verbatim(sentence, passage) is held


def test_fold() -> None:
    """Folding forgets case, spaces and the shape of quotes, not letters or accents."""
    assert fold("L’ÉTÉ\xa0  “x”\n") == 'l\'été "x"'


# --- labels --------------------------------------------------------------------------------------------


def test_shipped_labels_are_readable() -> None:
    """The labels in the repository are read, and name no pair twice."""
    rows = json.loads(answers.LABELS.read_text("utf-8"))["labels"]
    assert len(answers.read_labels()) == len(rows)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"labels": [{"key": "a"}]}', '{"labels": [{"key": "a", "supported": 1}]}']
)
def test_broken_labels_are_refused(tmp_path: Path, content: str) -> None:
    """A file of labels that is not one stops the run: a silent default would flatter."""
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(answers.BadRequest, match="cannot read the labels"):
        answers.read_labels(path)
