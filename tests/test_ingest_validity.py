"""What a text says of its own force, and what it must never be taken to say."""

from __future__ import annotations

import datetime as dt
import time
import tomllib
from pathlib import Path

import pytest

from ingest import validity
from ingest.outline import outline
from ingest.parsers import Limits, parse
from ingest.source import Source
from rag.types import Block, BlockKind, LegalStatus, NormRank, Section, SectionKind, Validity

TITLE = "Arrêté n° 2024-11 du 5 mars 2024 relatif aux badges"


def blocks(text: str) -> list[Block]:
    return [Block(BlockKind.PARAGRAPH, line) for line in text.splitlines()]


def day(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


SAYS = [
    # text, start, end
    ("Le présent arrêté entre en vigueur le 1er janvier 2025.", "2025-01-01", ""),
    ("La présente décision prend effet le 1er mars 2022 et s'applique aux missions.", "2022-03-01", ""),
    ("La présente circulaire est applicable à compter du 15 octobre 2023.", "2023-10-15", ""),
    ("Les dispositions du présent décret s'appliquent à compter du 1er juillet 2024.", "2024-07-01", ""),
    ("L'ensemble des dispositions de la présente loi entre en vigueur le 1er juin 2023.", "2023-06-01", ""),
    ("Le présent code interne entrera en vigueur le 01/03/2024.", "2024-03-01", ""),
    ("Sous réserve de l'article 17, la présente décision entre en vigueur le 1er février 2025.", "2025-02-01", ""),
    ("Le présent arrêté, qui abroge l'arrêté du 3 mai 2010, entre en vigueur le 1er mai 2024.", "2024-05-01", ""),
    ("Le présent arrêté et ses annexes entrent en vigueur le 2 avril 2021.", "2021-04-02", ""),
    ("La décision n° 2019-22 du 3 juin 2019 est abrogée. La présente décision entre en vigueur le 1er mars 2022.",
     "2022-03-01", ""),
    ("À compter du 1er janvier 2025, la présente décision s'applique à tous les sites.", "2025-01-01", ""),
    ("La présente note annule la précédente. Elle prend effet le 15 mai 2025.", "2025-05-15", ""),
    ("Article 9 — Entrée en vigueur\nIl entre en vigueur le 1er août 2024.", "2024-08-01", ""),
    ("Article 9 — Entrée en vigueur\nLa décision entre en vigueur le 1er août 2024.", "2024-08-01", ""),
    ("L'arrêté entre en vigueur le 15 mai 2023.", "2023-05-15", ""),
    ("Le présent arrêté entre en vigueur le 1er janvier 2025, à l'exception de l'article 4, qui entre en vigueur le "
     "1er juillet 2025.", "2025-01-01", ""),
    ("Date d'application : 1er avril 2024", "2024-04-01", ""),
    ("Date d'entrée en vigueur : 01/09/2022", "2022-09-01", ""),
    ("Applicable le 3 septembre 2024", "2024-09-03", ""),
    ("Date d'effet : à compter du 1er janvier 2026", "2026-01-01", ""),
    ("Entrée en vigueur : le décret entre en vigueur le 1er janvier 2024.", "2024-01-01", ""),
    ("Validité : du 1er janvier 2025 au 31 décembre 2025", "2025-01-01", "2026-01-01"),
    ("Le présent barème s'applique du 1er janvier 2025 au 31 décembre 2026.", "2025-01-01", "2027-01-01"),
    ("Valable jusqu'au 31 décembre 2026 inclus", "", "2027-01-01"),
    ("Date d'abrogation : 1er février 2025", "", "2025-02-01"),
    ("La présente instruction est applicable jusqu'au 31 décembre 2026 inclus.", "", "2027-01-01"),
    ("Le présent arrêté est abrogé à compter du 1er septembre 2025.", "", "2025-09-01"),
    ("La présente décision cesse de produire effet le 31 décembre 2027.", "", "2028-01-01"),
    ("Le présent protocole expire le 30 juin 2026.", "", "2026-07-01"),
    ("Le présent arrêté entre en vigueur le 1er mai 2024. Il expire le 30 avril 2026.", "2024-05-01", "2026-05-01"),
    ("These rules come into force on 1 February 2025.", "2025-02-01", ""),
    ("This policy enters into force on 1 June 2023.", "2023-06-01", ""),
    ("This Order shall take effect from 3 March 2024.", "2024-03-03", ""),
    ("Effective date: 1 September 2024", "2024-09-01", ""),
    ("Effective from January 5, 2026", "2026-01-05", ""),
    ("This Act shall cease to have effect on 1 January 2027.", "", "2027-01-01"),
    ("This circular remains in force until 31 December 2025.", "", "2026-01-01"),
    ("Valid until 31 March 2025", "", "2025-04-01"),
]  # fmt: skip
SILENT = [
    "L'arrêté du 3 mai 2010 est abrogé.",
    "L'arrêté du 3 mai 2010 est abrogé à compter du 1er janvier 2025.",
    "La décision n° 2021-17 du 8 juillet 2021 entre en vigueur le 1er septembre 2021.",
    "Le présent arrêté abroge l'arrêté du 3 mai 2010 à compter du 1er janvier 2025.",
    "Le présent arrêté entre en vigueur le lendemain de sa publication.",
    "La présente loi entrera en vigueur à une date fixée par décret, et au plus tard le 1er janvier 2026.",
    "Paris, le 12 mars 2024",
    "Fait à Valmont, le 5 mars 2024.",
    "Arrêté n° 2024-11 du 5 mars 2024",
    "L'article 4 du présent arrêté entre en vigueur le 1er mars 2025.",
    "Les articles 3 à 5 entrent en vigueur le 1er mars 2025.",
    "Le chapitre II de la présente décision entre en vigueur le 1er mars 2025.",
    "Le présent décret entre en vigueur le 1er janvier 2025 pour les titulaires et le 1er mars 2025 pour les autres.",
    "Après les mots : « le présent arrêté entre en vigueur le 1er janvier 2025 », il est ajouté un alinéa.",
    "Le présent arrêté entre en vigueur le 1er mars 2024.\nLe présent arrêté entre en vigueur le 1er avril 2024.",
    "Les badges restent valables jusqu'au 31 décembre 2023.",
    "Il s'applique aux chantiers ouverts à compter du 1er avril 2022.",
    "La convention prend fin le 31 décembre 2026.",
    "Les demandes déposées avant l'entrée en vigueur du présent arrêté, le 1er mars 2024, sont instruites.",
    "Les agents nommés à compter du 1er janvier 2025 relèvent de la présente décision.",
    "Le présent article entre en vigueur le 1er mai 2025.",
    "Entrée en vigueur : le lendemain de la publication",
    "Le présent arrêté s'applique le dimanche.",
    "Applicable aux agents titulaires au 1er janvier 2024",
    "The 2019 order ceases to apply on 1 May 2024.",
    "Section 4 comes into force on 1 May 2025.",
    "Inductions given since 1 November 2024 remain valid until 31 December 2025.",
    "This Act comes into force on the day after its publication.",
    "",
]


@pytest.mark.parametrize(("text", "start", "end"), SAYS)
def test_what_a_text_says_of_itself(text: str, start: str, end: str) -> None:
    """The days are read as intervals without their end: « jusqu'au » includes the day, « à compter du » does not."""
    assert validity.stated(blocks(text), TITLE, "fr").validity == Validity(day(start), day(end))


@pytest.mark.parametrize("text", SILENT)
def test_what_a_text_does_not_say(text: str) -> None:
    """Other texts, parts of the text, quotations, signatures and contradictions set nothing."""
    assert validity.stated(blocks(text), TITLE, "fr").validity == Validity()


def test_a_head_may_be_a_table() -> None:
    """The head of a circular is often a table of two columns."""
    rows = (("Objet", "Congés"), ("Date d'application", "1er avril 2024"))
    head = [Block(BlockKind.TABLE, "Objet | Congés\nDate d'application | 1er avril 2024", rows=rows)]
    assert validity.stated(head, "Circulaire", "fr").validity == Validity(dt.date(2024, 4, 1))


@pytest.mark.parametrize(
    ("title", "rank"),
    [
        ("Code du travail", NormRank.CODE),
        ("Loi n° 2019-828 du 6 août 2019", NormRank.CODE),
        ("Ordonnance n° 2021-1574 du 24 novembre 2021", NormRank.CODE),
        ("Décret n° 2012-1246 du 7 novembre 2012", NormRank.DECREE),
        ("Arrêté du 3 mars 2021", NormRank.ORDER),
        ("Circulaire DRH n° 2023-05", NormRank.CIRCULAR),
        ("Note de service DAF n° 2025-N18", NormRank.INTERNAL_NOTE),
        ("Freedom of Information Act 2000", NormRank.CODE),
        ("Memo on travel", NormRank.INTERNAL_NOTE),
        ("Code de conduite des agents", None),
        ("Décision n° 2024-31 du 12 décembre 2024", None),
        ("Instruction n° 2024-19 relative à l'arrêté du 3 mai 2010", None),
        ("Actes du colloque", None),
        ("Commentaire de l'arrêté du 3 mars 2021", None),
    ],
)
def test_ranks(title: str, rank: NormRank | None) -> None:
    """The first word of the title tells the rank; decisions and instructions have that of their author."""
    assert validity.stated([], title, "fr").norm_rank is rank


def test_the_first_lines_tell_the_rank_too() -> None:
    """A title made of a file's name says nothing; the first line then does."""
    assert validity.stated(blocks("Circulaire n° 7\nLa décision…"), "scan-0042", "fr").norm_rank is NormRank.CIRCULAR


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Circulaire du 3 mai 2020 (abrogée)", LegalStatus.REPEALED),
        ("TEXTE ABROGÉ", LegalStatus.REPEALED),
        ("L'arrêté du 3 mai 2010 est abrogé.", None),
    ],
)
def test_a_repealed_text(text: str, status: LegalStatus | None) -> None:
    """A stamp or the title says that the whole text is repealed; a sentence about another one does not."""
    assert validity.stated(blocks(text), "", "fr").legal_status is status


def sections(*lines: str) -> dict[str | None, Section]:
    return {one.number: one for one in validity.of_sections(outline(blocks("\n".join(lines))))}


def test_single_articles() -> None:
    """A sentence of the same text about an article gives that article's dates, wherever it stands."""
    found = sections(
        "Article 3", "Texte.", "Article 4", "Texte.", "Article 5", "Texte.",
        "Article 6", "Le présent article est applicable jusqu'au 31 décembre 2026.",
        "Article 9", "Le présent décret entre en vigueur le 1er janvier 2025, à l'exception des articles 3 et 4, qui "
        "entrent en vigueur le 1er juillet 2025. L'article 5 est applicable à compter du 1er mars 2026.",
        "Annexe 1", "Article 3", "Texte de l'annexe.",
    )  # fmt: skip
    assert found["4"].validity == Validity(dt.date(2025, 7, 1))
    assert found["5"].validity == Validity(dt.date(2026, 3, 1))
    assert found["6"].validity == Validity(None, dt.date(2027, 1, 1))
    assert found["9"].validity is None


@pytest.mark.parametrize(
    "sentence",
    [
        "L'article 4 de la décision n° 2021-17 entre en vigueur le 1er mars 2025.",
        "L'article 4 est abrogé à compter du 1er mars 2025.",
        "Les agents mentionnés à l'article 4 prennent leurs fonctions le 1er mars 2025.",
        "L'article 4 entre en vigueur le lendemain de sa publication.",
        "L'article 4 est ainsi rédigé : « L'article 4 entre en vigueur le 1er mars 2025. »",
        "L'article 4 entre en vigueur le 1er mars 2025. L'article 4 entre en vigueur le 1er mai 2025.",
    ],
)
def test_articles_of_other_texts(sentence: str) -> None:
    """An article of another text, an amendment, and two sentences that disagree set nothing."""
    assert sections("Article 4", "Texte.", "Article 9", sentence)["4"].validity is None


@pytest.mark.parametrize(
    ("lines", "repealed"),
    [
        (["Article 5 (abrogé)"], True),
        (["Article 5 — Abrogé"], True),
        (["Article 5", "[Abrogé]"], True),
        (["Article 5", "(Abrogé par le décret n° 2020-7 du 3 mai 2020)"], True),
        (["Article 5 (Repealed)"], True),
        (["Article 5 — Textes abrogés", "La note du 4 février 2019 est abrogée."], False),
        (["Article 5", "Abrogé par erreur, l'article 3 est rétabli ; il est complété."], False),
        (["Article 5", "L'arrêté du 3 mai 2010 est abrogé."], False),
    ],
)
def test_repealed_articles(lines: list[str], repealed: bool) -> None:
    """An article of which only « abrogé » is left is repealed; one that repeals another text is not."""
    status = sections("Article 4", "Texte.", *lines, "Article 6", "Texte.")["5"].legal_status
    assert status is (LegalStatus.REPEALED if repealed else None)


def test_what_the_format_says_is_kept() -> None:
    """The dates and status of LEGI fields are never overwritten."""
    own = Validity(dt.date(2020, 1, 1))
    section = Section(
        SectionKind.ARTICLE, "Article 5 (abrogé)", "5", (), (), validity=own, legal_status=LegalStatus.IN_FORCE
    )
    entry = Section(
        SectionKind.ARTICLE, "Article 9", "9", (), tuple(blocks("L'article 5 entre en vigueur le 1er mars 2025."))
    )
    assert validity.of_sections([section, entry])[0] == section


def test_the_samples_are_never_contradicted(root: Path, record_property: object) -> None:
    """In the shipped samples what the text says agrees with the sidecar, and most of them say when they begin."""
    right = wrong = missing = ranks = wrong_ranks = 0
    for sidecar in sorted((root / "ingest" / "samples").rglob("*.meta.toml")):
        said = tomllib.loads(sidecar.read_text(encoding="utf-8"))
        parsed = parse(Source(sidecar.with_name(sidecar.name.removesuffix(".meta.toml"))), Limits())
        found = validity.stated(parsed.blocks, said["title"], said.get("language", "fr"))
        missing += found.validity.start is None
        right += found.validity.start == said["valid_from"]
        wrong += found.validity.start not in {None, said["valid_from"]}
        wrong += found.validity.end not in {None, said.get("valid_to")}
        ranks += found.norm_rank is not None
        wrong_ranks += found.norm_rank is not None and found.norm_rank.value != said["norm_rank"]
        articles = validity.of_sections(outline(parsed.blocks, language=said.get("language", "fr")))
        assert all(one.validity is None and one.legal_status is None for one in articles), sidecar.name
    print(f"start: {right} right, {wrong} wrong, {missing} not found; rank: {ranks} found, {wrong_ranks} wrong")
    assert (wrong, wrong_ranks) == (0, 0)
    assert right >= 25


def test_hostile_texts_take_no_time() -> None:
    """Long texts made of the words that are looked for are read in a moment."""
    started = time.process_time()
    hostile = "Le présent arrêté, " * 3000 + "entre en vigueur le " * 3000 + "articles 1, 2, 3 " * 3000
    validity.stated(blocks(hostile), TITLE, "fr")
    validity.of_sections(outline(blocks(f"Article 1er\n{hostile}")))
    assert time.process_time() - started < 10
