"""Chunks are slices of the document's text, one article each, with lists and tables that still make sense."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import CHUNK_CHARACTERS, chunk, document_text, read, split_text
from rag.types import Block, BlockKind, Document, Parsed, Section, SectionKind

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
