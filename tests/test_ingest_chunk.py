"""Chunks are slices of the document's text, one article each, with lists and tables that still make sense."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import CHUNK_CHARACTERS, chunk, document_text, read, split_text
from rag import sentences
from rag.types import (
    Block,
    BlockKind,
    Document,
    LegalStatus,
    Parsed,
    Section,
    SectionKind,
    Validity,
)

DOCUMENT = Document("d1", "rh", "Décision n° 2024-31 relative au télétravail", "fr", "d1.pdf", "0" * 64, "text/plain")


def paragraph(text: str, page: int | None = None) -> Block:
    return Block(BlockKind.PARAGRAPH, text, page=page)


def item(text: str) -> Block:
    return Block(BlockKind.ITEM, text)


def article(number: str, *blocks: Block, path: tuple[str, ...] = ()) -> Section:
    return Section(SectionKind.ARTICLE, f"Article {number} — Objet", number, path, blocks)


def sentence(words: int) -> str:
    return "La " + "règle " * (words - 2) + "vaut."


texts = st.text(st.sampled_from("abcé ’.;:1°\n"), max_size=300) | st.integers(2, 400).map(sentence)
blocks = st.one_of(
    texts.map(paragraph),
    texts.map(item),
    st.lists(st.lists(st.text("abé 12", max_size=60), min_size=2, max_size=4), max_size=30).map(
        lambda rows: Block(BlockKind.TABLE, "", rows=tuple(map(tuple, rows)))
    ),
)
sections = st.lists(
    st.builds(
        Section,
        kind=st.sampled_from(SectionKind),
        heading=st.sampled_from(["", "Titre Ier", "Article 1er", "Article 2 — Objet", "Annexe 1"]),
        number=st.none() | st.sampled_from(["1er", "2"]),
        path=st.sampled_from([(), ("Titre Ier",), ("Annexe 1",)]),
        blocks=st.lists(blocks, max_size=6).map(tuple),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(sections)
def test_chunks_are_slices(outline: list[Section]) -> None:
    """Every chunk is a slice of the document's text, of bounded length, in order, with an id of its own."""
    text = document_text(outline)
    chunks = chunk(DOCUMENT, outline)
    assert all(text[part.start : part.end] == part.text and part.text.strip() for part in chunks)
    assert all(before.end <= after.start for before, after in itertools.pairwise(chunks))
    assert len({part.id for part in chunks}) == len(chunks)
    assert [part.ordinal for part in chunks] == list(range(len(chunks)))
    assert all(len(part.text) <= CHUNK_CHARACTERS for part in chunks)


@settings(max_examples=100, deadline=None)
@given(sections)
def test_no_word_is_lost(outline: list[Section]) -> None:
    """Every word of every block stands in a chunk."""
    found = " ".join(part.text for part in chunk(DOCUMENT, outline))
    wanted = [word for section in outline for block in section.blocks if not block.rows for word in block.text.split()]
    assert all(word in found for word in wanted if len(word) <= CHUNK_CHARACTERS)


def test_the_first_chunk_answers_for_the_text_whatever_its_number() -> None:
    """Two versions of one text share a key that no other article of them has."""
    title = "Décision n° {} relative aux congés annuels"
    articles = [article("1er", paragraph("Court.")), article("2", paragraph("Aussi."))]
    old, new = (chunk(replace(DOCUMENT, title=title.format(number)), articles) for number in ("2020-44", "2023-52"))
    assert set(old[0].own_references) & set(new[0].own_references) >= {"texte:decision-relative-aux-conges-annuels"}
    assert not any(key.startswith("texte:") for key in (*old[1].own_references, *new[1].own_references))


def test_two_articles_never_share_a_chunk() -> None:
    """Even the shortest neighbours stay apart, each with its reference and keys."""
    first, second = chunk(DOCUMENT, [article("1er", paragraph("Court.")), article("2", paragraph("Aussi."))])
    assert (first.text, second.text) == ("Court.", "Aussi.")
    assert (first.reference, second.reference) == ("Article 1er", "Article 2")
    assert "article:1" in first.own_references
    assert "article:2" in second.own_references


def test_small_parts_of_one_article_are_merged() -> None:
    """Subdivisions too short to be found alone share a chunk, with the path that they have in common."""
    above = ("Article 4 — Objet",)
    parts = [
        article("4", paragraph("Deux cas.")),
        Section(SectionKind.DIVISION, "A. Cas simple", None, above, (paragraph("Dix jours."),)),
        Section(SectionKind.DIVISION, "B. Autre cas", None, above, (paragraph("Vingt jours."),)),
    ]
    (only,) = chunk(DOCUMENT, parts)
    assert only.text == "Deux cas.\n\nA. Cas simple\n\nDix jours.\n\nB. Autre cas\n\nVingt jours."
    assert (only.reference, only.path) == ("Article 4", above)


def test_long_tables_repeat_their_header() -> None:
    """Each part of a long table begins with the header row, and the whole is in the document's text."""
    rows = (("Grade", "Taux"), *((f"Grade {number}", f"{number} euros par jour de mission") for number in range(60)))
    outline = [article("1er", paragraph("Les taux sont les suivants."), Block(BlockKind.TABLE, "", rows=rows))]
    parts = chunk(DOCUMENT, outline)
    assert len(parts) > 2
    assert all("Grade | Taux\n" in part.text for part in parts)
    assert parts[0].text.startswith("Les taux sont les suivants.\n\nGrade | Taux\nGrade 0 | 0 euros")
    assert document_text(outline).count("Grade | Taux") == len(parts)


def test_lead_ins_go_with_their_list() -> None:
    """A lead-in is never the last thing of a chunk whose list begins in the next one."""
    filler = paragraph(sentence(120))
    items = [item(f"{number}° {sentence(20)}") for number in range(1, 6)]
    parts = chunk(DOCUMENT, [article("3", filler, paragraph("Sont exclus :"), *items)])
    assert not any(part.text.endswith(":") for part in parts)
    assert any("Sont exclus :\n1° " in part.text for part in parts)


def test_sentences_are_not_cut() -> None:
    """A long paragraph is cut between sentences; only a sentence longer than a chunk is cut itself."""
    parts = chunk(DOCUMENT, [article("3", paragraph(" ".join(sentence(30) for _ in range(20))))])
    assert len(parts) > 2
    assert all(part.text.startswith("La ") and part.text.endswith("vaut.") for part in parts)
    endless = chunk(DOCUMENT, [article("3", paragraph("mot, " * 500 + "fin."))])
    assert all(part.text.endswith((",", "fin.")) for part in endless)


def test_no_crumbs_are_left() -> None:
    """The end of an article is balanced with what stands before it."""
    units = [paragraph(sentence(25)) for _ in range(6)] + [paragraph("Fin courte.")]
    lengths = [len(part.text) for part in chunk(DOCUMENT, [article("1er", *units)])]
    assert min(lengths) > 250


def test_ids_are_stable() -> None:
    """Ids depend on corpus, document, place and text; an edit elsewhere leaves them as they were."""
    before = [article("1er", paragraph("Un.")), article("2", paragraph("Deux."))]
    after = [article("1er", paragraph("Un."), paragraph(sentence(200))), article("2", paragraph("Deux."))]
    assert chunk(DOCUMENT, before) == chunk(DOCUMENT, before)
    assert chunk(DOCUMENT, before)[-1].id == chunk(DOCUMENT, after)[-1].id
    assert chunk(replace(DOCUMENT, corpus="sante"), before)[0].id != chunk(DOCUMENT, before)[0].id
    assert chunk(DOCUMENT, before)[0].id == "99d8247c-afd6-5604-93bd-86cd43c5d8b1"


def test_pages_span() -> None:
    """A chunk knows its first and its last page; a format without pages has none."""
    (part,) = chunk(DOCUMENT, [article("1er", paragraph("Un.", 3), paragraph("Deux.", 4))])
    assert (part.page, part.page_end) == (3, 4)
    (other,) = chunk(DOCUMENT, [article("1er", paragraph("Un."))])
    assert (other.page, other.page_end) == (None, None)


@pytest.mark.parametrize(
    ("section", "language", "reference"),
    [
        (Section(SectionKind.ARTICLE, "ARTICLE PREMIER — Objet", "PREMIER", (), ()), "fr", "Article premier"),
        (Section(SectionKind.ARTICLE, "Art. R. 12-3. – Délai", "R. 12-3", (), ()), "fr", "Article R. 12-3"),
        (Section(SectionKind.ARTICLE, "2.1 Principe", "2.1", (), ()), "fr", "Point 2.1"),
        (Section(SectionKind.ARTICLE, "2.1 Principle", "2.1", (), ()), "en", "Section 2.1"),
        (Section(SectionKind.ARTICLE, "§ 4.2 — Gifts", "4.2", (), ()), "en", "§ 4.2"),
        (Section(SectionKind.ANNEX, "ANNEXE II — Barème", "II", (), ()), "fr", "Annexe II"),
        (Section(SectionKind.DIVISION, "Chapitre 2 — Contrôle", "2", (), ()), "fr", "Chapitre 2"),
        (Section(SectionKind.DIVISION, "Plafonds 2027", None, (), ()), "fr", "Plafonds 2027"),
        (Section(SectionKind.PREAMBLE, "", None, (), ()), "fr", "Préambule"),
    ],
)
def test_references(section: Section, language: str, reference: str) -> None:
    """A chunk is cited as a person would cite it."""
    outline = [replace(section, blocks=(paragraph("Texte."),)), article("99", paragraph("Autre."))]
    assert chunk(replace(DOCUMENT, language=language), outline)[0].reference == reference


def test_an_article_of_an_annex_is_not_the_article_of_the_text() -> None:
    """Article 1 of annex 2 is cited with its annex and answers for that only."""
    annex = Section(SectionKind.ANNEX, "Annexe 2 — Règlement", "2", (), (paragraph("Le règlement."),))
    inner = article("1er", paragraph("Texte."), path=(annex.heading,))
    part = chunk(DOCUMENT, [article("1er", paragraph("Un.")), annex, inner])[-1]
    assert part.reference == "Annexe 2, article 1er"
    assert "article:1" not in part.own_references


def test_title_alone_is_no_chunk() -> None:
    """A preamble that only repeats the title is left out; every other chunk carries the title anyway."""
    preamble = Section(SectionKind.PREAMBLE, "", None, (), (paragraph(DOCUMENT.title),))
    assert [part.text for part in chunk(DOCUMENT, [preamble, article("1er", paragraph("Un."))])] == ["Un."]


def test_headings_without_text_are_found() -> None:
    """An article whose heading says everything (« Abrogé ») is a chunk of its heading."""
    bare = Section(SectionKind.ARTICLE, "Article 3 — Abrogé", "3", ("Titre Ier",), ())
    above = Section(SectionKind.DIVISION, "Titre Ier", "Ier", (), ())
    assert [part.text for part in chunk(DOCUMENT, [above, bare])] == ["Article 3 — Abrogé"]


def test_mentions_are_noted() -> None:
    """A chunk knows the texts that it names."""
    (part,) = chunk(DOCUMENT, [article("1er", paragraph("Voir la décision n° 2022-07 du 10 février 2022."))])
    assert "decision:2022-07" in part.mentions


def test_plain_texts_are_split() -> None:
    """A title and a text make chunks with path and reference, and no text none."""
    (part,) = split_text("L1", "Code", "Un.\n1° deux ;", section="Livre Ier > Titre II", article="L. 1-2")
    assert part.text == "Un.\n1° deux ;"
    assert (part.reference, part.path) == ("Article L. 1-2", ("Livre Ier", "Titre II", "Article L. 1-2"))
    assert split_text("x", "Titre", "Texte.")[0].breadcrumb == "Titre"
    assert split_text("x", "Titre", " \n ") == []


def test_front_door() -> None:
    """A parsed file becomes chunks by its outline."""
    parsed = Parsed(
        (paragraph("Article 1er — Objet"), paragraph("Un."), paragraph("Article 2"), paragraph("Deux.")), "x"
    )
    assert [(part.reference, part.text) for part in read(parsed, DOCUMENT)] == [
        ("Article 1er", "Un."),
        ("Article 2", "Deux."),
    ]


def test_the_parts_of_a_long_list_carry_its_lead_in() -> None:
    """The lead-in is in no text twice, but searched and shown with every part that goes on with the list."""
    items = [item(f"{number}° {sentence(40)}") for number in range(1, 12)]
    outline = [article("3", paragraph("Sont exclus du bénéfice :"), *items, paragraph(sentence(60)))]
    first, *others = chunk(DOCUMENT, outline)
    assert first.lead_in == ""
    assert len(others) > 2
    goes_on = [part for part in others if part.text[:1].isdigit()]
    assert all(part.lead_in == "Sont exclus du bénéfice :" for part in goes_on)
    assert all(part.breadcrumb.endswith("> Sont exclus du bénéfice :") for part in goes_on)
    assert document_text(outline).count("Sont exclus du bénéfice") == 1
    last = chunk(DOCUMENT, [*outline[:1], article("4", paragraph("Autre."))])[-1]
    assert last.lead_in == ""


def test_a_list_in_a_list_carries_both_lead_ins() -> None:
    """An item below another knows both that introduce it, and the next item above only its own."""
    inner = [item(f"{letter}) {sentence(40)}") for letter in "abcdefghij"]
    outline = [article("3", paragraph("Sont exclus :"), item("1° Les agents :"), *inner, item(f"2° {sentence(140)}"))]
    parts = chunk(DOCUMENT, outline)
    assert "Sont exclus : 1° Les agents :" in {part.lead_in for part in parts if re.match(r"[b-j]\)", part.text)}
    assert {part.lead_in for part in parts if part.text.startswith("2°")} <= {"Sont exclus :"}
    assert not any(part.text.endswith(":") for part in parts)


def test_roman_items_are_one_list() -> None:
    """(i), (ii) and (v) count in Roman numbers, i) after h) in letters."""
    items = [item(f"({mark}) {sentence(60)}") for mark in ("i", "ii", "iii", "iv", "v")]
    parts = chunk(DOCUMENT, [article("3", paragraph("The following apply:"), *items)])
    assert {part.lead_in for part in parts[1:]} == {"The following apply:"}


def test_long_lead_ins_are_shortened() -> None:
    """A lead-in of many lines goes along with its end only."""
    items = [item(f"- {sentence(60)}") for _ in range(8)]
    parts = chunk(DOCUMENT, [article("3", paragraph(f"{sentence(80)[:-1]} pour ceux qui suivent :"), *items)])
    assert all(part.lead_in.startswith("… ") and part.lead_in.endswith("suivent :") for part in parts[1:])
    assert all(len(part.lead_in) <= 250 for part in parts)


@pytest.mark.parametrize("opening", ["Toutefois,", "Par dérogation au premier alinéa,", "Sauf urgence,", "However,"])
def test_an_exception_goes_with_its_rule(opening: str) -> None:
    """The rule, or at least its last sentence, stands in the chunk of the exception."""
    rule = "La demande est écrite. Elle est faite deux mois avant."
    for filler in (40, 60, 80, 100, 110):
        blocks = [
            paragraph(sentence(filler)),
            paragraph(rule),
            paragraph(f"{opening} {sentence(70)}"),
            paragraph(sentence(90)),
        ]
        outline = [article("3", *blocks)]
        parts = chunk(DOCUMENT, outline)
        holder = next(part for part in parts if opening in part.text)
        assert "Elle est faite deux mois avant." in holder.text
        assert all(document_text(outline)[part.start : part.end] == part.text == part.text.strip() for part in parts)


rules = st.lists(
    st.tuples(
        st.sampled_from(["", "Toutefois, ", "Par dérogation, ", "However, "]), st.integers(5, 60), st.integers(1, 4)
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(rules)
def test_no_chunk_begins_with_an_exception_that_fits(paragraphs: list[tuple[str, int, int]]) -> None:
    """They are parted only where both are too long together, or where the rule is but an exception itself."""
    body = [paragraph(opening + " ".join([sentence(words)] * count)) for opening, words, count in paragraphs]
    parts = chunk(DOCUMENT, [article("3", *body)])
    for before, after in itertools.pairwise(parts):
        if after.text.startswith(("Toutefois", "Par dérogation", "However")):
            last, first = sentences.split(before.text)[-1], sentences.split(after.text)[0]
            chained = before.text[last[0] :].startswith(("Toutefois", "Par dérogation", "However"))
            assert chained or last[1] - last[0] + first[1] - first[0] + 2 > CHUNK_CHARACTERS
    assert all(len(part.text) <= CHUNK_CHARACTERS + 250 for part in parts)


def test_a_footnote_goes_with_its_paragraph() -> None:
    """A footnote is never the first thing of a chunk while its paragraph fits into it."""
    filler, carrier = paragraph(sentence(130)), paragraph("Le taux est fixé [1].")
    parts = chunk(DOCUMENT, [article("3", filler, carrier, Block(BlockKind.NOTE, f"[1] {sentence(20)}"), filler)])
    assert "Le taux est fixé [1]." in next(part for part in parts if "[1] La" in part.text).text


def version(start: str, end: str | None, text: str) -> Section:
    dates = Validity(dt.date.fromisoformat(start), dt.date.fromisoformat(end) if end else None)
    return replace(article("4", paragraph(text)), validity=dates)


def test_versions_stand_side_by_side() -> None:
    """Versions of one article, even with one text, are chunks of their own with their own days and ids."""
    older, newer = version("2019-01-01", "2022-01-01", "Dix jours."), version("2022-01-01", None, "Dix jours.")
    first, second = chunk(DOCUMENT, [older, newer])
    assert (first.text, second.text, first.path) == ("Dix jours.", "Dix jours.", second.path)
    assert first.id != second.id
    assert (first.validity.end, second.validity.start) == (dt.date(2022, 1, 1), dt.date(2022, 1, 1))


def test_another_version_changes_no_id() -> None:
    """A new version ends the one before it, and neither its id nor those of the others change."""
    before = [version("2019-01-01", "2022-01-01", "Dix."), version("2022-01-01", None, "Dix.")]
    after = [before[0], version("2022-01-01", "2025-01-01", "Dix."), version("2025-01-01", None, "Dix.")]
    assert [part.id for part in chunk(DOCUMENT, before)] == [part.id for part in chunk(DOCUMENT, after)][:2]
    earlier = [version("2010-01-01", "2019-01-01", "Dix."), *before]
    assert [part.id for part in chunk(DOCUMENT, before)] == [part.id for part in chunk(DOCUMENT, earlier)][1:]


def test_subdivisions_of_different_versions_never_share_a_chunk() -> None:
    """Small parts of one article are merged only where they are in force together."""
    above = ("Article 4 — Objet",)
    parts = [
        Section(
            SectionKind.DIVISION, "A. Cas", None, above, (paragraph("Un."),), validity=Validity(dt.date(year, 1, 1))
        )
        for year in (2020, 2022)
    ]
    assert len(chunk(DOCUMENT, [article("4"), *parts])) == 2


def test_a_section_without_dates_has_those_of_its_document() -> None:
    """What a section says counts first; what it leaves open its document says; both cannot make it never valid."""
    document = replace(
        DOCUMENT,
        validity=Validity(dt.date(2020, 1, 1), dt.date(2026, 1, 1)),
        legal_status=LegalStatus.IN_FORCE,
    )
    sections = [
        article("1", paragraph("Un.")),
        replace(article("2", paragraph("Deux.")), validity=Validity(dt.date(2022, 1, 1))),
        replace(article("3", paragraph("Trois.")), validity=Validity(dt.date(2027, 1, 1))),
        replace(article("4", paragraph("Quatre.")), legal_status=LegalStatus.REPEALED),
    ]
    one, two, three, four = chunk(document, sections)
    assert one.validity == document.validity
    assert two.validity == Validity(dt.date(2022, 1, 1), dt.date(2026, 1, 1))
    assert three.validity == Validity(dt.date(2027, 1, 1))
    assert (one.legal_status, four.legal_status) == (LegalStatus.IN_FORCE, LegalStatus.REPEALED)


def test_links_are_mentions() -> None:
    """What a format links to is mentioned beside what the words name, each once."""
    section = replace(article("1", paragraph("Voir l'article L. 12-3.")), links=("decret:2020-7", "l12-3"))
    assert chunk(DOCUMENT, [section])[0].mentions == ("l12-3", "decret:2020-7")


def test_what_the_text_says_of_its_articles_is_read() -> None:
    """The front door reads « (abrogé) » and the days of single articles."""
    lines = ("Article 1er (abrogé)", "Article 2", "Deux.", "Article 3", "L'article 2 entre en vigueur le 1er mai 2025.")
    first, second, _ = read(Parsed(tuple(map(paragraph, lines)), "x"), DOCUMENT)
    assert first.legal_status is LegalStatus.REPEALED
    assert second.validity == Validity(dt.date(2025, 5, 1))


def test_a_signature_is_cited_as_such() -> None:
    """Who signed is found and named, apart from the last article."""
    lines = ("Article 1er", "Un.", "Fait à Valmont, le 3 mai 2024.", "La directrice")
    last = read(Parsed(tuple(map(paragraph, lines)), "x"), DOCUMENT)[-1]
    assert (last.reference, last.own_references) == ("Signature", ())
