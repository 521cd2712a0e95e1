"""The outline of regulations: which lines are headings, and what stands under what."""

from __future__ import annotations

import collections
import datetime as dt
import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.outline import is_item, opens_block, outline, recognise
from ingest.samples.source import parts, sources
from rag.types import Block, BlockKind, LegalStatus, Section, SectionKind, Validity


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


@pytest.mark.parametrize(
    ("line", "label", "number"),
    [
        ("Article LO 123", "Article LO 123", "LO 123"),
        ("Article L.O. 123-1", "Article L.O. 123-1", "L.O. 123-1"),
        ("Article A. 5", "Article A. 5", "A. 5"),
        ("Article R.* 123-4", "Article R.* 123-4", "R.* 123-4"),
        ("Article L123-4", "Article L123-4", "L123-4"),
        ("Article préliminaire", "Article préliminaire", "préliminaire"),
        ("Article liminaire", "Article liminaire", "liminaire"),
        ("Article 74-0 E bis", "Article 74-0 E bis", "74-0 E bis"),
        ("Article 56 j terdecies A", "Article 56 j terdecies A", "56 j terdecies A"),
        ("Article 164 F quatervicies", "Article 164 F quatervicies", "164 F quatervicies"),
        ("Clause 4.1 — Termination", "Clause 4.1", "4.1"),
        ("Sous-section 2 :Paiement et recouvrement", "Sous-section 2", "2"),
        ("Sous-paragraphe 3 : Du cautionnement.", "Sous-paragraphe 3", "3"),
        ("Titre préliminaire : Définitions", "Titre préliminaire", "préliminaire"),
        ("Appendix B — Forms", "Appendix B", "B"),
    ],
)
def test_rare_numbers_are_recognised(line: str, label: str, number: str) -> None:
    """Letters, asterisks and Latin suffixes of codes belong to the number."""
    found = recognise(line)
    assert found is not None
    assert (found.label, found.number) == (label, number)


def test_letters_and_figures_head_the_parts_of_a_circular() -> None:
    """« I. », « A. » and « 1° » nest in the order in which they open; lists of the same look stay lists."""
    sections = outline(
        flat(
            "Circulaire du 3 mai 2024 relative aux missions",
            "I. – Cadre général",
            "A. Textes applicables",
            "Les textes sont les suivants.",
            "B. Champ d'application",
            "1° Agents concernés",
            "Tous les agents.",
            "2° Agents exclus",
            "Sont exclus :",
            "A. Les stagiaires",
            "B. Les vacataires",
            "II. – Procédure",
            "La demande est écrite.",
        )
    )
    first, second = "I. – Cadre général", "B. Champ d'application"
    assert heads(sections) == [
        (first, ()),
        ("A. Textes applicables", (first,)),
        (second, (first,)),
        ("1° Agents concernés", (first, second)),
        ("2° Agents exclus", (first, second)),
        ("II. – Procédure", ()),
    ]
    assert [section.number for section in sections[1:]] == ["I", "I.A", "I.B", "I.B.1", "I.B.2", "II"]
    assert [block.text for block in sections[5].blocks][1:] == ["A. Les stagiaires", "B. Les vacataires"]


def test_one_letter_makes_no_outline() -> None:
    """An initial (« A. Martin ») is no heading: headings that count come in twos at least."""
    sections = outline(
        flat("Note aux services", "A. Martin", "La note s'applique.", "1. Objet", "Texte.", "2. Suivi", "T.")
    )
    assert [heading for heading, _ in heads(sections)] == ["1. Objet", "2. Suivi"]


def test_letters_and_figures_stand_above_articles_too() -> None:
    """In codes « I : Revenus fonciers » holds articles; an item at the end of an article before it does not."""
    sections = outline(
        flat(
            "Section II : Revenus",
            "I : Revenus fonciers",
            "A : Déductions",
            "Article 2",
            "Sont admis :",
            "1° Les loyers",
            "2° Les charges",
            "Article 3",
            "Texte.",
            "II : Revenus agricoles",
            "Article 4",
            "Texte.",
            "Dispositions communes",
            "Article 5",
            "Texte.",
        )
    )
    section = "Section II : Revenus"
    assert [one.path for one in sections if one.kind is SectionKind.ARTICLE] == [
        (section, "I : Revenus fonciers", "A : Déductions"),
        (section, "I : Revenus fonciers", "A : Déductions"),
        (section, "II : Revenus agricoles"),
        (section, "II : Revenus agricoles", "Dispositions communes"),
    ]
    assert [block.text for block in sections[3].blocks] == ["Sont admis :", "1° Les loyers", "2° Les charges"]


def test_whole_paths_are_told_from_nesting() -> None:
    """In a copy that prints each article's whole path a chapter without its book stands under nothing."""
    lines: list[str] = []
    for number in range(1, 6):
        lines += ["Livre Ier : Un", f"Titre {number} : Sujet", f"Article {number}", "Texte."]
    sections = outline(flat(*lines, "Chapitre II : Autre", "Article 9", "Texte."))
    assert sections[-1].path == ("Chapitre II : Autre",)
    assert sections[-3].path == ("Livre Ier : Un", "Titre 5 : Sujet")


def test_annexes_together_hold_each_one() -> None:
    """« Annexes » stands above « Annexe I »; the annex of a code's article follows that article."""
    sections = outline(flat("Article 1er", "Texte.", "Annexes", "Annexe I", "Un.", "Annexe II", "Deux."))
    assert heads(sections)[1:] == [("Annexes", ()), ("Annexe I", ("Annexes",)), ("Annexe II", ("Annexes",))]
    code = outline(
        flat("Titre Ier : Un", "Article D12-3", "Texte.", "Annexe à l'article D12-3", "A.", "Article D12-4", "B.")
    )
    assert [section.path for section in code[1:]] == [("Titre Ier : Un",)] * 3


@pytest.mark.parametrize(
    "lines",
    [
        ["Fait à Valmont, le 3 mai 2024.", "La directrice générale,", "C. Roux"],
        ["Le directeur général,", "Paul Martin"],
        ["Pour la ministre et par délégation :", "Le chef du service,", "J. Petit"],
        ["Done at Valmont, 3 May 2024", "The Director"],
    ],
)
def test_a_signature_is_no_part_of_the_last_article(lines: list[str]) -> None:
    """Date, function and name at the end stand in a section of their own, before the annexes."""
    sections = outline(flat("Article 1er", "Texte.", "Article 2", "La décision est publiée.", *lines, "Annexe 1", "T."))
    assert [section.heading for section in sections] == ["Article 1er", "Article 2", "", "Annexe 1"]
    assert [block.text for block in sections[1].blocks] == ["La décision est publiée."]
    assert [block.text for block in sections[2].blocks] == lines


def test_functions_in_an_article_are_no_signature() -> None:
    """A last article that lists who carries it out keeps its list."""
    lines = ["Le directeur général,", "le directeur des finances et l'agent comptable sont chargés de l'exécution."]
    (section,) = outline(flat("Article 1er", "Sont chargés de l'exécution :", *lines))
    assert len(section.blocks) == 3


def note(text: str, page: int = 1) -> Block:
    return Block(BlockKind.NOTE, text, page=page)


def test_footnotes_go_behind_their_mark() -> None:
    """A footnote at the foot of a page, between two parts of a list, goes behind the list whose lead-in it explains."""
    blocks = [
        Block(BlockKind.PARAGRAPH, "Article 1er", page=1),
        Block(BlockKind.PARAGRAPH, "Un texte avec renvoi (1).", page=1),
        Block(BlockKind.PARAGRAPH, "Sont exclus (2) :", page=1),
        Block(BlockKind.PARAGRAPH, "1° les uns ;", page=1),
        note("(1) Première note."),
        note("(2) Seconde note."),
        note("Sans marque."),
        Block(BlockKind.PARAGRAPH, "2° les autres.", page=2),
        Block(BlockKind.PARAGRAPH, "Suite.", page=2),
    ]
    (section,) = outline(blocks)
    assert [block.text for block in section.blocks] == [
        "Un texte avec renvoi (1).", "(1) Première note.", "Sont exclus (2) :", "1° les uns ;", "2° les autres.",
        "(2) Seconde note.", "Sans marque.", "Suite.",
    ]  # fmt: skip


def test_a_footnote_stays_in_its_article() -> None:
    """The note printed below the next article's heading belongs to the article that carries its mark."""
    blocks = [
        *flat("Article 1er", "Le taux est fixé¹.", "Article 2", "Autre texte."),
        note("1 Sauf outre-mer."),
    ]
    first, second = outline(blocks)
    assert [block.text for block in first.blocks] == ["Le taux est fixé¹.", "1 Sauf outre-mer."]
    assert [block.text for block in second.blocks] == ["Autre texte."]


def test_validity_and_status_are_inherited() -> None:
    """What a heading says of its dates holds below it until a heading says otherwise; links are gathered."""
    early, late = Validity(dt.date(2019, 1, 1)), Validity(dt.date(2020, 1, 1), dt.date(2024, 1, 1))
    sections = outline(
        [
            Block(BlockKind.HEADING, "Chapitre Ier", 1, validity=early, legal_status=LegalStatus.IN_FORCE),
            Block(BlockKind.HEADING, "Article 1er", 2, links=("l12-3",)),
            Block(BlockKind.PARAGRAPH, "Un.", links=("decret:2020-7", "l12-3")),
            Block(BlockKind.HEADING, "Article 2", 2, validity=late, legal_status=LegalStatus.AMENDED),
            Block(BlockKind.PARAGRAPH, "Deux."),
            Block(BlockKind.HEADING, "Chapitre II", 1),
            Block(BlockKind.PARAGRAPH, "Trois."),
        ]
    )
    assert [section.validity for section in sections] == [early, early, late, None]
    assert [section.legal_status for section in sections] == [
        LegalStatus.IN_FORCE, LegalStatus.IN_FORCE, LegalStatus.AMENDED, None,
    ]  # fmt: skip
    assert sections[1].links == ("l12-3", "decret:2020-7")


def test_versions_side_by_side_are_no_contents() -> None:
    """Versions of one article without text, repeated headings all, stay where they are."""
    blocks = [
        Block(BlockKind.HEADING, "Article 1er", 1, validity=Validity(dt.date(year, 1, 1))) for year in range(2018, 2023)
    ]
    assert len(outline(blocks)) == 5


def test_recitals_are_a_preamble() -> None:
    """Visas, recitals and the enacting words stand before the first article, numbered recitals too."""
    first, second = outline(
        flat(
            "Arrêté du 3 mai 2024",
            "Le ministre,",
            "Vu le code du travail, notamment son article L. 1 ;",
            "Considérant ce qui suit :",
            "(1) Les règles ont vieilli.",
            "(2) Elles doivent être revues.",
            "Arrête :",
            "Article 1er",
            "Texte.",
        )
    )
    assert (first.kind, len(first.blocks)) == (SectionKind.PREAMBLE, 7)
    assert second.number == "1er"


def test_english_acts() -> None:
    """Parts hold chapters, chapters sections, and schedules end them; numbered clauses stay in their section."""
    sections = outline(
        flat(
            "Part I — General",
            "Chapter 1 — Scope",
            "Section 1 — Application",
            "1. The Act applies to staff.",
            "(a) on site;",
            "Section 2 — Definitions",
            "Text.",
            "Schedule 1 — Fees",
            "Text.",
        ),
        language="en",
    )
    assert heads(sections)[2:] == [
        ("Section 1 — Application", ("Part I — General", "Chapter 1 — Scope")),
        ("Section 2 — Definitions", ("Part I — General", "Chapter 1 — Scope")),
        ("Schedule 1 — Fees", ()),
    ]
    assert len(sections[2].blocks) == 2


LINES = [
    "Article 1er", "Article 2 — Objet", "Art. 3. – Les agents en mission sont remboursés de leurs frais.", "Titre Ier",
    "Chapitre II : Contrôles", "Section 1", "Partie réglementaire", "Annexes", "Annexe 1 — Barème", "Préambule",
    "I. – Contexte", "II. – Suites", "A. Champ", "B. Durée", "1. Objet", "1.1 Portée", "2. Suivi", "1° Régime général",
    "2° Régime spécial", "a) un ;", "- deux ;", "I : Revenus", "Sont exclus :", "Un texte court.", "Vu le code ;",
    "Fait à Valmont, le 3 mai 2024.", "Le directeur général,", "Paul Martin", "Texte avec renvoi (1) à la fin.",
    "Dispositions communes", "§ 4.2 Gifts", "Schedule 1",
]  # fmt: skip
KINDS = [BlockKind.PARAGRAPH, BlockKind.PARAGRAPH, BlockKind.ITEM, BlockKind.HEADING, BlockKind.NOTE]
written = st.builds(Block, st.sampled_from(KINDS), st.sampled_from(LINES), st.none() | st.integers(1, 3))


@given(st.lists(written, max_size=25), st.sampled_from(["fr", "en"]))
@settings(max_examples=300, deadline=None)
def test_no_word_is_lost(blocks: list[Block], language: str) -> None:
    """Whatever the headings are taken for, each word of the text is in the outline as often as it was written."""

    def words(texts: list[str]) -> collections.Counter[str]:
        return collections.Counter(re.findall(r"\w+", " ".join(texts)))

    sections = outline(blocks, language=language)
    kept = words([text for one in sections for text in (one.heading, *(block.text for block in one.blocks))])
    original = words([block.text for block in blocks])
    if len(set(map(str, blocks))) == len(blocks):  # else a table of contents may be left out
        assert kept == original
    assert not kept - original
    headings = {one.heading for one in sections}
    assert all(set(one.path) <= headings for one in sections)
