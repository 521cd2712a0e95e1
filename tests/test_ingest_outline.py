"""The outline of regulations: which lines are headings, and what stands under what."""

from __future__ import annotations

import collections
import gzip
import json
from pathlib import Path

import pytest

from ingest.outline import is_item, opens_block, outline, recognise
from ingest.samples.source import parts, sources
from rag.types import Block, BlockKind, Section, SectionKind


def flat(*lines: str) -> list[Block]:
    return [Block(BlockKind.PARAGRAPH, line) for line in lines]


def heads(sections: list[Section]) -> list[tuple[str, tuple[str, ...]]]:
    return [(section.heading, section.path) for section in sections if section.heading]


@pytest.mark.parametrize(
    ("line", "label", "number"),
    [
        ("Article 1er — Objet", "Article 1er", "1er"),
        ("Article premier", "Article premier", "premier"),
        ("ARTICLE PREMIER : Objet", "ARTICLE PREMIER", "PREMIER"),
        ("Article unique", "Article unique", "unique"),
        ("Article L. 123-4", "Article L. 123-4", "L. 123-4"),
        ("Article R*123-4", "Article R*123-4", "R*123-4"),
        ("Article R. * 123-4", "Article R. * 123-4", "R. * 123-4"),
        ("Article D. 12-3-1 bis — Délais", "Article D. 12-3-1 bis", "D. 12-3-1 bis"),
        ("Article 2.3.1 – Contrôle", "Article 2.3.1", "2.3.1"),
        ("Article 5 bis", "Article 5 bis", "5 bis"),
        ("Article 91 quater A", "Article 91 quater A", "91 quater A"),
        ("Article 384 septies-0 A", "Article 384 septies-0 A", "384 septies-0 A"),
        ("Art. 12. – Retraits", "Art. 12", "12"),
        ("Article II — Scope", "Article II", "II"),
        ("Titre Ier — Dispositions générales", "Titre Ier", "Ier"),
        ("TITRE II", "TITRE II", "II"),
        ("Livre Ier : Principes et acteurs.", "Livre Ier", "Ier"),
        ("Chapitre 1er - Champ d'application", "Chapitre 1er", "1er"),
        ("CHAPITRE III DU CONTRÔLE", "CHAPITRE III", "III"),
        ("Chapitre Ier bis : Contrôles", "Chapitre Ier bis", "Ier bis"),
        ("Première partie : Impôts", "Première partie", "Première"),
        ("Partie réglementaire - Décrets", "Partie réglementaire", "réglementaire"),
        ("Sous-section 2 : Avis", "Sous-section 2", "2"),
        ("Annexe 1 — Barème", "Annexe 1", "1"),
        ("ANNEXE", "ANNEXE", None),
        ("Annexe II à la décision n° 2024-3", "Annexe II", "II"),
        ("Annexe à l'article A211-3", "Annexe à l'article A211-3", "A211-3"),
        ("Part II — Financial support", "Part II", "II"),
        ("Chapter I", "Chapter I", "I"),
        ("Section 3 — Equal treatment", "Section 3", "3"),
        ("Schedule 1 — Rates", "Schedule 1", "1"),
        ("§ 4.2 Gifts", "§ 4.2", "4.2"),
    ],
)
def test_headings_are_recognised(line: str, label: str, number: str | None) -> None:
    """A heading's label and number are read as they are written."""
    found = recognise(line)
    assert found is not None
    assert (found.label, found.number) == (label, number)


@pytest.mark.parametrize(
    "line",
    [
        "Article 4 de la décision n° 2024-31 du 12 décembre 2024 est abrogé.",
        "Article 4, deuxième alinéa, de la même décision.",
        "L'article 4 est remplacé.",
        "article 4 — de la même décision",
        "Articles 4 et 5 : voir ci-dessous.",
        "Titre II de la présente décision s'applique aux contractuels.",
        "Titre professionnel de niveau 5",
        "Chapitre 2 traite des contrôles.",
        "Section 3 applies to contractors only.",
        "Part of the costs is refunded.",
        "Annexe 2 fixe les montants.",
        "Annexes jointes au dossier",
        "Partie prenante au contrat",
        "Article 4 — Quotité hebdomadaire ............ 7",
        "Titre Ier — Dispositions générales\t3",
        "",
    ],
)
def test_sentences_are_no_headings(line: str) -> None:
    """A line that merely begins with such a word is a text, and so is a line of a table of contents."""
    assert recognise(line) is None


def test_text_on_the_article_line_is_its_body() -> None:
    """« Art. 3. – Les agents… » is the heading of article 3 and the first paragraph below it."""
    (section,) = outline(flat("Art. 3. – Les agents en mission sont remboursés de leurs frais de repas."))
    assert (section.heading, section.number, section.kind) == ("Art. 3", "3", SectionKind.ARTICLE)
    assert section.blocks[0].text == "Les agents en mission sont remboursés de leurs frais de repas."


@pytest.mark.parametrize(
    "line", ["- un", "1° premier ;", "a) un", "12) douze", "1. Premier", "• point", "2.3 Stockage"]
)
def test_lines_that_open_something(line: str) -> None:
    """List items and decimal headings never continue the line before."""
    assert opens_block(line)


def test_decimals_in_a_sentence_open_nothing() -> None:
    """A number at the start of a wrapped line is no list item."""
    assert not opens_block("2.3 % du montant total de la subvention.")
    assert not is_item("2024 est une année bissextile")


def test_words_rank_whatever_the_levels_say() -> None:
    """An article marked as high as its chapter still stands below it."""
    blocks = [
        Block(BlockKind.HEADING, "Chapitre 1er — Principes", 2),
        Block(BlockKind.HEADING, "Article 1er — Objet", 2),
        Block(BlockKind.PARAGRAPH, "Texte."),
        Block(BlockKind.HEADING, "Article 2 — Champ", 1),
        Block(BlockKind.PARAGRAPH, "Texte."),
    ]
    assert heads(outline(blocks)) == [
        ("Chapitre 1er — Principes", ()),
        ("Article 1er — Objet", ("Chapitre 1er — Principes",)),
        ("Article 2 — Champ", ("Chapitre 1er — Principes",)),
    ]


def test_visas_are_a_preamble() -> None:
    """What stands before the first article is no part of it."""
    first, second = outline(flat("Décision n° 1", "Vu le code du travail ;", "Décide :", "Article 1er", "Texte."))
    assert first.kind is SectionKind.PREAMBLE
    assert [block.text for block in first.blocks] == ["Décision n° 1", "Vu le code du travail ;", "Décide :"]
    assert second.number == "1er"


def test_the_title_is_no_division() -> None:
    """A title marked as high as the parts of the text stands in the preamble, and in no path."""
    blocks = [
        Block(BlockKind.HEADING, "Décision n° 3 relative aux congés", 1),
        Block(BlockKind.PARAGRAPH, "Vu le code ;"),
        Block(BlockKind.HEADING, "Titre Ier — Principes", 1),
        Block(BlockKind.HEADING, "Article 1er", 2),
        Block(BlockKind.PARAGRAPH, "Texte."),
    ]
    first, *others = outline(blocks)
    assert first.kind is SectionKind.PREAMBLE
    assert [block.text for block in first.blocks] == ["Décision n° 3 relative aux congés", "Vu le code ;"]
    assert heads(others)[1] == ("Article 1er", ("Titre Ier — Principes",))


def test_annexes_end_the_titles() -> None:
    """An annex stands beside the titles, and its inner headings below it."""
    sections = outline(
        flat(
            "Titre Ier — Un",
            "Article 1er",
            "Texte.",
            "Annexe 1 — Barème",
            "Titre Ier — Calcul",
            "Texte.",
            "Annexe 2",
            "T.",
        )
    )
    assert heads(sections)[2:] == [
        ("Annexe 1 — Barème", ()),
        ("Titre Ier — Calcul", ("Annexe 1 — Barème",)),
        ("Annexe 2", ()),
    ]
    assert sections[2].kind is SectionKind.ANNEX


def test_circulars_without_markup() -> None:
    """Short lines whose decimal numbers follow one another are headings, a numbered list is not."""
    sections = outline(
        flat(
            "Circulaire relative aux arrêts",
            "1. Objet",
            "1.1 Contexte",
            "Trois étapes :",
            "1. Déposer",
            "2. Saisir",
            "3. Archiver",
            "1.2 Destinataires",
            "Tous.",
            "2. Suivi",
            "Texte.",
        )
    )
    assert heads(sections) == [
        ("1. Objet", ()),
        ("1.1 Contexte", ("1. Objet",)),
        ("1.2 Destinataires", ("1. Objet",)),
        ("2. Suivi", ()),
    ]
    assert [section.kind for section in sections[2:]] == [SectionKind.ARTICLE] * 3
    assert len(sections[2].blocks) == 4


def test_english_sections_are_articles() -> None:
    """In a policy whose parts hold sections these are the articles; in a French text sections hold articles."""
    policy = outline(flat("Part A — Scope", "Section 1 — Purpose", "Text."), language="en")
    decree = outline(flat("Section 1 — Objet", "Article 1er", "Texte."), language="fr")
    assert policy[1].kind is SectionKind.ARTICLE
    assert [section.kind for section in decree] == [SectionKind.DIVISION, SectionKind.ARTICLE]


def test_parts_may_stand_below_books() -> None:
    """In codes whose books hold parts the order of the words follows the text."""
    sections = outline(
        flat(
            "Livre premier : A",
            "Première partie : B",
            "Titre premier : C",
            "Article 1",
            "T.",
            "Deuxième partie : D",
            "Article 2",
            "T.",
        )
    )
    assert sections[-1].path == ("Livre premier : A", "Deuxième partie : D")


def test_a_title_below_its_number_is_joined() -> None:
    """« CHAPITRE II » and « Dispositions financières » on the next line are one heading."""
    first, second = outline(flat("CHAPITRE II", "Dispositions financières", "Article 4", "Texte du quatrième article."))
    assert first.heading == "CHAPITRE II — Dispositions financières"
    assert second.path == (first.heading,)


def test_contents_are_left_out() -> None:
    """A table of contents without leader dots, whose lines all come again, makes no sections."""
    names = ["Article 1er — Objet", "Article 2 — Champ", "Article 3 — Durée"]
    lines = names + [line for name in names for line in (name, "Texte.")]
    assert [section.heading for section in outline(flat(*lines))] == names


def test_nothing_is_lost() -> None:
    """Every paragraph stands in exactly one section, in order."""
    lines = [
        "Titre",
        "Vu.",
        "Titre Ier",
        "Un texte.",
        "Article 1er",
        "Deux.",
        "a) trois ;",
        "b) quatre.",
        "Annexe",
        "Cinq.",
    ]
    sections = outline(flat(*lines))
    assert [block.text for section in sections for block in section.blocks] == [
        "Titre", "Vu.", "Un texte.", "Deux.", "a) trois ;", "b) quatre.", "Cinq.",
    ]  # fmt: skip


def test_sample_sources_without_markup() -> None:
    """In the sources read as flat paragraphs at least 0.95 of the articles have the right number and path."""
    expected = right = 0
    for source in sources():
        if source.format in {"xlsx", "ods"}:
            continue
        blocks = [
            Block(BlockKind.TABLE, "", rows=block.rows) if block.rows else Block(BlockKind.PARAGRAPH, block.text)
            for block in source.blocks
        ]
        found = {(section.number, section.path) for section in outline(blocks, language=source.language)}
        for part in parts(source):
            if part.number is not None and not part.number.startswith("Annex"):
                expected += 1
                right += (part.number, part.path) in found
    assert expected > 700
    assert right >= 0.95 * expected


@pytest.mark.slow
def test_article_numbers_of_real_codes(shared_data: Path) -> None:
    """Of the articles of French codes, written as flat lines, at least 0.99 are found, and hardly any invented."""
    codes = collections.defaultdict(list)
    with gzip.open(shared_data / "fr-codes" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            codes[row["code"]].append(row)
    expected = right = found = 0
    for rows in codes.values():
        blocks: list[Block] = []
        before: list[str] = []
        for row in rows:
            path = [" ".join(part.split()) for part in row["section"].split(" > ") if part.strip()]
            if path != before:
                blocks += flat(*path)
            before = path
            article = row["article"]
            blocks += flat(article if article.startswith("Annexe") else f"Article {article}", row["text"])
        numbers = collections.Counter(
            section.heading for section in outline(blocks) if section.kind in {SectionKind.ARTICLE, SectionKind.ANNEX}
        )
        expected += len(rows)
        found += numbers.total()
        right += sum(
            numbers[row["article"] if row["article"].startswith("Annexe") else f"Article {row['article']}"] > 0
            for row in rows
        )
    assert right >= 0.99 * expected
    assert found <= 1.01 * expected
