"""Damage to a text lowers its score, and what merely looks odd does not."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest

from ingest import quality

TEXT = (
    "La présente décision fixe les modalités d'exercice du télétravail pour les agents de l'établissement. Les agents "
    "titulaires et contractuels dont l'activité est compatible peuvent exercer leurs fonctions à distance dans la "
    "limite de trois jours par semaine, après accord écrit de leur supérieur hiérarchique. Toute décision de refus est "
    "motivée et précédée d'un entretien. L'employeur prend en charge les coûts découlant directement de l'exercice des "
    "fonctions, notamment ceux des matériels et des logiciels. Une période d'adaptation de trois mois est prévue, "
    "durant laquelle chaque partie peut mettre fin à cette modalité d'organisation sous réserve d'un délai.\n"
)
ENGLISH = (
    "Staff members who work abroad shall ask for the approval of their manager at least thirty days before leaving. "
    "The agency keeps a record of each request, and nobody may be refused without a written reason.\n"
)


def plain(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))


def accented(sign: str) -> bool:
    return len(unicodedata.normalize("NFD", sign)) > 1


def replaced(text: str, by: str) -> str:
    return "".join(by if accented(sign) else sign for sign in text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        ENGLISH,
        "",
        " \n",
        "12 450,00 €   13 %   2024-2025\n45 ouvrés | 27 | 33,5\n1 2 3 4 5 6 7 8 9\n",
        "Art. R*123-4 bis, L. 3141-3, décret n° 2012-1246, 2.3.1, 1er, CO2, m2, A4, H2O\n",
        "La DRH et la DPI de l'ATF saisissent le CHSCT ; le DGA, le SST et la CPAM sont informés.\n",
        "Mme Kowalczyk et M. Nguyen, Valmont-sur-Loire, Cérulac, Briare-le-Vieux\n",
        "보험회사에서 그동안 판매했거나 향후 판매하게 될 보험상품의 입원 및 사망의 재해 인정 여부에 대하여\n",
        "يجب على كل موظف أن يطلب موافقة رئيسه قبل السفر إلى الخارج\n",
        "Die Beschäftigten haben Anspruch auf dreißig Tage Urlaub im Jahr, soweit in dem Vertrag nicht anderes ist.\n",
        "à À â Â ä Ä ç Ç é É è È ê Ê ë Ë î Î ï Ï ô Ô ù Ù û Û ü Ü\n",
        "Voir www.exemple.fr/reglement_v2.pdf ou ecrire@exemple.fr\n",
        "Titre Ier — Dispositions générales .................................... 12\n",
        "DECISION RELATIVE AU TELETRAVAIL DES AGENTS DE L'ETABLISSEMENT\n",
    ],
)
def test_sound_text_is_trusted(text: str) -> None:
    """Regulations, tables, references, acronyms, names, other languages and other scripts are no damage."""
    assert quality.score(text) >= 0.95


DAMAGES: dict[str, Callable[[str], str]] = {
    "a font without a map to characters": lambda text: "".join(
        chr(ord(sign) - 29) if ord(sign) > 61 else sign for sign in text
    ),
    "a shifted alphabet": lambda text: "".join(chr(ord(sign) + 1) if sign.isalpha() else sign for sign in text),
    "private use": lambda text: "".join(chr(0xF000 + ord(sign) % 256) if sign.isalpha() else sign for sign in text),
    "UTF-8 read as Windows-1252": lambda text: text.encode().decode("cp1252", "replace"),
    "UTF-8 read as Latin-1": lambda text: text.encode().decode("latin1"),
    "Windows-1252 read as Mac Roman": lambda text: text.encode("cp1252").decode("mac-roman"),
    "no accents": plain,
    "accented letters lost": lambda text: replaced(text, ""),
    "accented letters as spaces": lambda text: replaced(text, " "),
    "accented letters as replacement characters": lambda text: replaced(text, "\ufffd"),
    "letters apart": lambda text: " ".join(" ".join(word) for word in text.split()),
    "words run together": lambda text: text.replace(" ", ""),
    "half of it garbage": lambda text: text[: len(text) // 2] + "".join(chr(ord(sign) + 1) for sign in text),
    "letters backwards": lambda text: text[::-1],
    "figures for letters": lambda text: text.replace("i", "1").replace("o", "0"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_text_scores_low(damage: str) -> None:
    """Each of the ways in which a text layer breaks brings French text below LOW."""
    assert quality.score(DAMAGES[damage](TEXT)) < quality.LOW


def test_the_more_damage_the_lower() -> None:
    """The score falls with each further word that is broken."""
    words = TEXT.split()
    scores = []
    for share in (0, 5, 3, 2, 1):
        broken = (word[::-1] if share and not index % share else word for index, word in enumerate(words))
        scores.append(quality.score(" ".join(broken)))
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


def test_small_marks_lower_it_a_little() -> None:
    """Ligatures left as such and words left cut at line ends are told, and do not condemn a page."""
    ligatures = TEXT.replace("fi", "\ufb01").replace("ff", "\ufb00")
    cut = TEXT.replace("modalités", "moda-\nlités").replace("contractuels", "contrac-\ntuels")
    for text in (ligatures, cut):
        assert quality.LOW < quality.score(text) < quality.score(TEXT)


def test_sample_pages_are_trusted(root: Path) -> None:
    """No page of a sample PDF is taken for damaged."""
    for path in sorted(root.glob("ingest/samples/*/*.pdf")):
        with pypdfium2.PdfDocument(path) as pdf:
            scores = [quality.score(page.get_textpage().get_text_bounded().replace("\r\n", "\n")) for page in pdf]
        assert min(scores) > 0.95, path.name


def test_a_page_takes_no_time() -> None:
    """A page of 600 words is judged in well under a millisecond, a thousand times its size in no more per character."""
    page = TEXT * 6
    quality.score(page)
    took = []
    for _ in range(20):
        began = time.process_time()
        quality.score(page)
        took.append(time.process_time() - began)
    assert min(took) < 0.001
    began = time.process_time()
    for hostile in (page * 1000, "." * 2_000_000, "a-\n" * 300_000, "a " * 500_000, "Ã" * 1_000_000, "\n" * 1_000_000):
        assert 0.0 <= quality.score(hostile) <= 1.0
    assert time.process_time() - began < 15


def test_the_words_are_light(root: Path) -> None:
    """The lists take little of a worker's memory, and nothing is held before the first page comes."""
    code = (
        "import resource, ingest.quality as q\n"
        "size = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20\n"
        "before = size(); q.score('un mot'); print(before, size() - before)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True).stdout
    before, lists = map(float, said.split())
    assert before < 30
    assert lists < 60
