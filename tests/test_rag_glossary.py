"""Phrases of a question are found under the names that the texts give them, and only equals are evidence."""

from __future__ import annotations

import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag import glossary
from rag.glossary import Alternative, Glossary
from rag.types import Synonyms

CET = ("CET", "compte épargne-temps")
SICK = ("arrêt maladie", "congé de maladie")
SOME = Glossary([CET, SICK, ("ARE", "allocation d'aide au retour à l'emploi"), ("vélo", "bicyclette")])


def found(given: Glossary, text: str, language: str = "fr") -> dict[str, list[str]]:
    """The other names of each phrase of a text, by what stands there."""
    named: dict[str, list[str]] = {}
    for one in given.alternatives(text, language):
        named.setdefault(text[one.start : one.end], []).append(one.phrase)
    return named


# --- what is recognised -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Où alimenter mon CET ?", {"CET": ["compte épargne-temps"]}),
        ("le C.E.T. est plein", {"C.E.T.": ["compte épargne-temps"]}),
        ("deux CETs", {"CETs": ["compte épargne-temps"]}),
        ("mon cet est plein", {"cet": ["compte épargne-temps"]}),
        ("MON CET EST PLEIN", {"CET": ["compte épargne-temps"]}),
        ("cet agent a droit à cet avantage", {}),
        ("CET AGENT EST-IL EN CONGÉ", {}),
        ("they are entitled", {}),
        ("mes comptes epargne temps", {"comptes epargne temps": ["CET"]}),
        ("un ARRÊT de la MALADIE", {"ARRÊT de la MALADIE": ["congé de maladie"]}),
        ("congés maladies", {"congés maladies": ["arrêt maladie"]}),
        ("l’arrêt maladie", {"arrêt maladie": ["congé de maladie"]}),
        ("un congé. La maladie", {}),
        ("congé, maladie", {}),
        ("congé pour maladie", {}),
        ("deux vélos", {"vélos": ["bicyclette"]}),
        ("vélodrome", {}),
        ("", {}),
        ("?", {}),
    ],
)
def test_phrases_are_recognised_as_people_write_them(text: str, expected: dict[str, list[str]]) -> None:
    """Whatever their number, accents, case and small words; an acronym is told from the word that it is spelled as."""
    assert found(SOME, text) == expected


def test_the_longest_phrase_wins() -> None:
    """The words in it are not looked at again, and what follows is."""
    given = Glossary([("congé", "absence"), ("congé de longue maladie", "CLM"), ("maladie", "affection")])
    text = "congé longue maladie, puis congé"
    assert found(given, text) == {"congé longue maladie": ["CLM"], "congé": ["absence"]}


def test_every_family_gives_its_other_members_once() -> None:
    given = Glossary([("CP", "congés payés"), ("CP", "crédits de paiement", "congé payé")])
    assert found(given, "les CP") == {"CP": ["congés payés", "crédits de paiement"]}


def test_near_families_lead_from_what_people_say_to_what_texts_say() -> None:
    """Not back, and whatever the ending of the words; equals come first."""
    given = Glossary([("boulot", "taf")], [("boulot", "travail"), ("travailler seul", "travailleur isolé")])
    assert given.alternatives("le boulot", "fr") == (
        Alternative(3, 9, "taf", evidence=True),
        Alternative(3, 9, "travail", evidence=False),
    )
    assert found(given, "un travailleur isolé au travail") == {}
    assert found(given, "elle travaille seule") == {"travaille seule": ["travailleur isolé"]}


def test_a_language_of_its_own_is_asked_in_that_language_only() -> None:
    """A glossary without one is asked in any."""
    given = Glossary([("leave", "absence")], language="en") | Glossary([CET])
    assert found(given, "leave on my CET", "en") == {"leave": ["absence"], "CET": ["compte épargne-temps"]}
    assert found(given, "leave et CET", "fr") == {"CET": ["compte épargne-temps"]}


# --- what is evidence -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("CET", "compte épargne-temps", True),
        ("cet", "compte épargne temps", False),
        ("arrêts maladie", "Congés de maladie", True),
        ("bicyclettes", "vélo", True),
        ("congé", "congés", True),
        ("boulot", "travail", False),
        ("CET", "congé de maladie", False),
        ("", "", False),
    ],
)
def test_only_equals_may_be_said_for_each_other(left: str, right: str, *, expected: bool) -> None:
    given = SOME | Glossary(near=[("boulot", "travail")])
    assert given.same(left, right) is expected
    assert given.same(right, left) is expected


def test_an_acronym_in_small_letters_is_one_where_it_is_no_word() -> None:
    given = Glossary([("RTT", "réduction du temps de travail")])
    assert given.same("rtt", "réduction du temps de travail")


def test_a_doctor_is_no_service() -> None:
    """Stems are good enough to search with; evidence needs the word itself."""
    given = Glossary([("médecin du travail", "docteur du travail")])
    assert found(given, "la médecine du travail") == {}
    assert not given.same("médecine du travail", "docteur du travail")


def test_an_acronym_of_several_things_is_evidence_for_none() -> None:
    """Also when another glossary says the second thing; two families that agree are one thing."""
    own = Glossary([("CET", "centre d'examen technique")])
    both = SOME | own
    assert {one.phrase: one.evidence for one in both.alternatives("mon CET", "fr")} == {
        "compte épargne-temps": False,
        "centre d'examen technique": False,
    }
    assert not both.same("CET", "compte épargne-temps")
    assert SOME.same("CET", "compte épargne-temps")
    assert (SOME | Glossary([("CET", "compte épargne-temps", "compte de jours")])).same("CET", "compte de jours")


# --- joined -----------------------------------------------------------------------------------------------


def test_glossaries_are_joined_without_touching_either() -> None:
    other = Glossary([("SST", "service de santé au travail")])
    both = SOME | other | SOME
    assert found(both, "le SST et le CET") == {"SST": ["service de santé au travail"], "CET": ["compte épargne-temps"]}
    assert found(other, "le SST et le CET") == {"SST": ["service de santé au travail"]}
    assert not Glossary()
    assert (Glossary() | other).words == {"SST", "service", "de", "santé", "au", "travail"}


def test_what_a_search_may_see_is_joined_with_the_general_glossary() -> None:
    """The same corpora give the same glossary, made once."""
    own = Synonyms((("Escale", "application des missions"),), (("appli des frais", "Escale"),))
    asked = glossary.joined((own, Synonyms()))
    assert glossary.joined((Synonyms((("Escale", "application des missions"),), own.near), Synonyms())) is asked
    assert found(asked, "mon CET dans Escale") == {
        "CET": ["compte épargne-temps"],
        "Escale": ["application des missions"],
    }


def test_threads_share_a_glossary() -> None:
    given = Glossary([(f"mot{number}", f"terme{number}") for number in range(300)])
    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(lambda _: given.alternatives("le mot7 et le terme8", "fr"), range(64)))
    assert results == {(Alternative(3, 7, "terme7", evidence=True), Alternative(14, 20, "mot8", evidence=True))}


def test_a_thousand_families_take_a_millisecond() -> None:
    """Once their index is made: the median of many questions, as other work may hold the machine."""
    families = [(f"SIG{n}", f"système de gestion numéro {n}", f"outil de suivi {n}") for n in range(1_000)]
    given = Glossary(families) | glossary.general()
    text = "Comment saisir ma demande de congé dans le système de gestion numéro 12 avant mon arrêt maladie et le CET ?"
    given.alternatives(text, "fr")
    spent = []
    for _ in range(101):
        start = time.thread_time()
        given.alternatives(text, "fr")
        spent.append(time.thread_time() - start)
    assert sorted(spent)[50] < 0.001


# --- the general glossary ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said(root: Path) -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((root / "rag" / "data" / "glossary.toml").read_text(encoding="utf-8"))


def test_the_general_glossary_is_broad(said: dict[str, dict[str, list[str]]]) -> None:
    assert sum(map(len, said["fr"].values())) >= 400
    assert sum(map(len, said["en"].values())) >= 80


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_general_glossary_has_no_idle_phrase(said: dict[str, dict[str, list[str]]], language: str) -> None:
    """Each family has two phrases or more, none of them twice, and no two ``near`` families begin alike."""
    for kind, lines in said[language].items():
        heads = []
        for line in lines:
            keys = [glossary._key(phrase.strip(), language) for phrase in line.split("|")]
            assert all(keys), line
            assert len(set(keys)) == len(keys) >= 2, line
            heads.append(keys[0])
        assert kind == "same" or len(set(heads)) == len(heads), [head for head in heads if heads.count(head) > 1]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("combien de rtt par an", "réduction du temps de travail"),
        ("plafond du CET", "compte épargne-temps"),
        ("attributions du CHSCT", "comité d'hygiène, de sécurité et des conditions de travail"),
        ("toucher l'ARE", "allocation d'aide au retour à l'emploi"),
        ("envoyer mon arrêt maladie", "congé de maladie"),
        ("poser mes vacances", "congés annuels"),
        ("mon salaire", "traitement"),
        ("blessé au boulot", "accident de service"),
        ("mon chef refuse", "supérieur hiérarchique"),
        ("mon enfant malade", "garde d'enfant malade"),
        ("frais de déplacement", "frais de mission"),
        ("badge perdu", "perte de badge"),
        ("organiser un pot de départ", "moment de convivialité"),
    ],
)
def test_everyday_words_lead_to_the_terms_of_the_texts(text: str, phrase: str) -> None:
    assert phrase in [one.phrase for one in glossary.general().alternatives(text, "fr")]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("acompte sur salaire", "avance sur salaire"),
        ("congé de longue maladie", "congé de longue durée"),
        ("voiture de service", "voiture de fonction"),
        ("accident de service", "accident du travail"),
        ("jours ouvrés", "jours ouvrables"),
        ("CDD", "CDI"),
        ("fonctionnaire", "contractuel"),
        ("médecin du travail", "médecin agréé"),
        ("temps partiel", "mi-temps thérapeutique"),
        ("salaire brut", "salaire net"),
        ("HT", "TTC"),
        ("vacances", "congés annuels"),
    ],
)
def test_what_a_rule_tells_apart_is_no_evidence(left: str, right: str) -> None:
    assert not glossary.general().same(left, right)


def test_sentences_without_any_such_phrase_are_left_alone() -> None:
    """Small words that some acronym is spelled as stay what they are."""
    text = "Il est prévu que la décision soit prise par le directeur, sauf si elle a été annulée dans les deux mois."
    assert glossary.general().alternatives(text, "fr") == ()
