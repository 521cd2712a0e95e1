"""Mistakes in a question are told from words that are right, names and references, and what was meant is found."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rag import spelling
from rag.glossary import general
from rag.lexical import fold, terms
from rag.spelling import Correction, corrections


def meant(text: str, language: str = "fr", known: frozenset[str] = frozenset()) -> dict[str, str]:
    return {one.word: one.suggestion for one in corrections(text, language, known)}


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("conjé", "congé"),
        ("conjés", "congés"),
        ("teletravaille", "télétravail"),
        ("remboursemant", "remboursement"),
        ("personel", "personnel"),
        ("sallaire", "salaire"),
        ("vacacnes", "vacances"),
        ("acident", "accident"),
        ("formasion", "formation"),
        ("parantal", "parental"),
        ("anuel", "annuel"),
        ("indemnitee", "indemnité"),
        ("licensiment", "licenciement"),
        ("prélèvemnt", "prélèvement"),
        ("arêt", "arrêt"),
        ("dossié", "dossier"),
    ],
)
def test_common_mistakes_are_mended(word: str, suggestion: str) -> None:
    """Letters swapped, doubled, forgotten, or written as they sound; with the accents of the word that was meant."""
    text = f"mon {word} est là"
    start = text.index(word)
    assert corrections(text, "fr") == (Correction(start, start + len(word), word, suggestion),)


@pytest.mark.parametrize(
    "text",
    [
        "Où déposer ma demande de conge de maternite ?",
        "ai-je droit au RIFSEEP et à la NBI, via Chorus ou VISIOCONF",
        "M. Stablinski travaille à Valmonts",
        "L'article L. 3141-3, le décret n° 2012-1246 et la note AM-P",
        "https://exemple.fr/intranette ou drhh@exemple.fr",
        "le dossier rh_conjé et conjé2",
        "le reporting et le management du workflow",
        "des agents télétravailleraient",
        "rdv visio appli",
        "jrs trs pq",
        "",
        "?",
    ],
)
def test_what_is_not_ours_to_judge_stays(text: str) -> None:
    """Missing accents, acronyms, names, references, addresses, words of the other language, and endings."""
    assert corrections(text, "fr", general().words) == ()


def test_a_name_is_no_mistake_and_the_first_word_may_be_one() -> None:
    assert meant("Remboursemant des frais. Rembousement aussi ; chez Remboursemant") == {
        "Remboursemant": "remboursement",
        "Rembousement": "remboursement",
    }


def test_words_that_the_caller_knows_are_right_and_may_be_meant() -> None:
    """A word of a glossary is preferred; without it nobody knows that word."""
    known = frozenset({"badgeuse", "Gabare", "FIEE"})
    assert meant("la badgeuse de gabare", known=known) == {}
    assert meant("la badguese de gabarre", known=known) == {"badguese": "badgeuse", "gabarre": "Gabare"}
    assert "badgeuse" not in meant("la badguese").values()


def test_nobody_means_an_acronym() -> None:
    assert meant("qui alrs", known=frozenset({"ARS"})) == {"alrs": "alors"}


def test_a_text_full_of_unknown_words_is_in_another_language() -> None:
    assert corrections("Wieviel Urlaub bekommt jeder Mitarbeiter wegen Krankheit ungefaehr taeglich", "fr") == ()


def test_english_has_its_own_list() -> None:
    assert meant("my reimbursemant for the acommodation", "en") == {
        "reimbursemant": "reimbursement",
        "acommodation": "accommodation",
    }
    assert meant("mon congé annuel", "en") == {}
    assert meant("travelling to the centre, they recognised and analysed the behaviour of a tumour", "en") == {}


def test_a_language_without_a_list_has_no_mistakes() -> None:
    assert corrections("mein Urlaubb", "de") == ()


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [("cet", "fr", True), ("conge", "fr", True), ("rendez", "fr", True), ("rtt", "fr", False), ("leave", "en", True)],
)
def test_ordinary_words_are_those_of_the_dictionary(word: str, language: str, *, expected: bool) -> None:
    assert spelling.ordinary(word, language) is expected


def test_the_list_is_read_when_the_first_question_comes_and_costs_little() -> None:
    """Nothing at import; afterwards under 40 MiB, and the first question waits less than a second on a busy machine."""
    program = """
import time, resource, json
def memory():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
from rag import spelling
before = memory()
assert not spelling._dictionary.cache_info().currsize
start = time.process_time()
spelling.corrections("mes conjés anuels", "fr")
print(json.dumps([time.process_time() - start, (memory() - before) / 1024]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, mebibytes = json.loads(done.stdout)
    assert seconds < 1.0
    assert mebibytes < 40


def test_lists_may_be_read_before_the_first_question() -> None:
    spelling.prepare("fr", "en", "de")
    start = time.thread_time()
    spelling.corrections("aucune faute dans cette demande", "fr")
    assert time.thread_time() - start < 0.05


def test_a_question_without_mistakes_takes_no_time() -> None:
    text = "Combien de jours de télétravail un agent à temps partiel peut-il demander par semaine ?"
    corrections(text, "fr")
    spent = []
    for _ in range(51):
        start = time.thread_time()
        corrections(text, "fr")
        spent.append(time.thread_time() - start)
    assert sorted(spent)[25] < 0.001


# --- on questions that people have asked -------------------------------------------------------------------

LIVE = ("fr-travail", "fr-cnil", "fr-conventions", "fr-service-public")
LETTERS = "azertyuiopqsdfghjklmwxcvbn"


@pytest.fixture(scope="module")
def questions(shared_data: Path) -> list[str]:
    return [
        json.loads(line)["text"]
        for name in LIVE
        for line in (shared_data / name / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_words_that_are_right_are_left_alone(questions: list[str]) -> None:
    """Fewer than one in two hundred is changed, those that are mistakes counted too."""
    words = sum(len(re.findall(r"[^\W\d_]+", text)) for text in questions)
    changed = sum(len(corrections(text, "fr", general().words)) for text in questions)
    assert words > 10_000
    assert changed < 0.005 * words


def mistake(word: str, chance: random.Random) -> str:
    """``word`` with two letters swapped, or one left out, added, changed or doubled."""
    at = chance.randrange(len(word))
    kind = chance.randrange(5)
    if kind == 0:
        return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    middle = ("", chance.choice(LETTERS) + word[at], chance.choice(LETTERS), word[at] * 2)[kind - 1]
    return word[:at] + middle + word[at + 1 :]


def test_most_single_mistakes_are_mended(questions: list[str]) -> None:
    """Of those that do not make another word, at least 85 of 100 give a word that is searched as the right one is."""
    chance = random.Random(7)
    right = sorted({word for text in questions for word in re.findall(r"\b[a-zà-ÿ]{5,}\b", text)})
    right = [word for word in right if spelling.ordinary(fold(word), "fr")]
    mended = made = 0
    while made < 150:
        word = chance.choice(right)
        wrong = mistake(word, chance)
        if spelling.in_any_language(fold(wrong)) or terms(wrong, "fr") == terms(word, "fr"):
            continue
        made += 1
        mended += terms(meant(f"un {wrong} ici", known=general().words).get(wrong, ""), "fr") == terms(word, "fr")
    assert mended >= 0.85 * made
