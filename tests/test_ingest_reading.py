"""What is said of a document, by whom, and who is believed; how good the pages of a chunk are; what an article is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ingest.manifest import Metadata
from ingest.reading import Order, Reading, articles, reading
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Corpus, LegalStatus, NormRank, PageQuality, Parsed, Stated, Validity

A, B, C, D = (dt.date(year, 1, 1) for year in (2021, 2022, 2023, 2024))
FRENCH = "Le présent arrêté entre en vigueur le 1er janvier 2023."


def order(metadata: Metadata | None = None, corpus: Corpus | None = None) -> Order:
    corpus = corpus or Corpus("rh", "RH", norm_rank=NormRank.ORDER)
    return Order(Source(Path("a.md")), "a", "dossier/a.md", "sha", metadata or Metadata(), corpus)


def parsed(*blocks: Block, stated: Stated = Stated(), quality: tuple[PageQuality, ...] = ()) -> Parsed:  # noqa: B008 frozen
    return Parsed(blocks or (paragraph("Un texte."),), "text/plain", quality=quality, stated=stated)


def paragraph(text: str, page: int | None = None) -> Block:
    return Block(BlockKind.PARAGRAPH, text, page=page)


def heading(text: str, level: int = 1) -> Block:
    return Block(BlockKind.HEADING, text, level)


def read(order: Order, of: Parsed) -> Reading:
    found = reading(order, of)
    assert isinstance(found, Reading)
    return found


@pytest.mark.parametrize(
    ("beside", "stated", "expected", "warned"),
    [
        (Metadata(), Validity(), Validity(C), False),
        (Metadata(), Validity(A), Validity(A), False),
        (Metadata(), Validity(end=D), Validity(C, D), False),
        (Metadata(valid_from=B), Validity(A), Validity(B), False),
        (Metadata(valid_from=B), Validity(A, D), Validity(B, D), False),
        (Metadata(valid_to=D), Validity(A), Validity(A, D), False),
        (Metadata(valid_from=D), Validity(A, B), Validity(D), True),
        (Metadata(valid_to=B), Validity(), Validity(end=B), True),
        (Metadata(valid_to=dt.date(2999, 1, 1)), Validity(A, B), Validity(A), False),
    ],
)
def test_each_date_is_the_first_that_is_said(
    beside: Metadata, stated: Validity, expected: Validity, warned: bool
) -> None:
    """Beside the document, by its format, in its text; what would end before it begins is left out with a warning."""
    found = read(order(beside), parsed(paragraph(FRENCH), stated=Stated(validity=stated)))
    assert found.document.validity == expected
    assert any("would end before it begins" in warning for warning in found.warnings) is warned


def test_what_nobody_says_is_the_corpus_s_or_unknown() -> None:
    """A rank has a default, dates have none."""
    plain = read(order(), parsed()).document
    assert (plain.language, plain.norm_rank, plain.validity.known, plain.legal_status) == (
        "fr",
        NormRank.ORDER,
        False,
        None,
    )
    format_says = Stated("en", NormRank.CODE, legal_status=LegalStatus.REPEALED)
    stated = read(order(), parsed(stated=format_says)).document
    assert (stated.language, stated.norm_rank, stated.legal_status) == ("en", NormRank.CODE, LegalStatus.REPEALED)
    beside = Metadata(language="fr", norm_rank=NormRank.CIRCULAR, title="Congés")
    said = read(order(beside), parsed(stated=format_says)).document
    assert (said.language, said.norm_rank, said.title, plain.title) == ("fr", NormRank.CIRCULAR, "Congés", "a")


def test_a_chunk_has_the_score_of_its_worst_page() -> None:
    """And a document of its worst; where no page was judged, neither has one."""
    pages = (PageQuality(1, 0.9), PageQuality(2, 0.4, ocr=True), PageQuality(3, 0.8))
    blocks = [heading("Article 1"), paragraph("Un. " * 60, 1), paragraph("Deux. " * 60, 2)]
    blocks += [heading("Article 2"), paragraph("Trois.", 3)]
    found = read(order(), parsed(*blocks, quality=pages))
    assert {(chunk.reference, chunk.quality) for chunk in found.chunks} == {("Article 1", 0.4), ("Article 2", 0.8)}
    assert found.document.quality == 0.4
    assert read(order(), parsed(*blocks)).chunks[0].quality is None


def test_an_article_is_one_row_however_it_is_cut() -> None:
    """Its parts and its own headings make no others; its words count, its number does not."""
    long = " ".join(f"Le délai numéro {number} court à compter de la notification." for number in range(60))
    text = [heading("Titre Ier"), heading("Article 4 - Délais", 2), paragraph(long)]
    text += [heading("I. Principe", 3), paragraph(long), heading("II. Exceptions", 3), paragraph(long)]
    chunks = read(order(), parsed(*text)).chunks
    assert len(chunks) > 3
    (row,) = articles(chunks)
    assert (row.reference, row.path) == ("Article 4", ("Titre Ier", "Article 4 - Délais"))
    renumbered = [text[0], heading("Article 5 - Délais", 2), *text[2:]]
    (other,) = articles(read(order(), parsed(*renumbered)).chunks)
    assert (other.reference, other.digest) == ("Article 5", row.digest)


def test_words_that_many_articles_share_tell_none_of_them() -> None:
    """A repealed article is not taken for the one that was repealed before it."""
    text = [heading("Article 4"), paragraph("(Abrogé)"), heading("Article 5"), paragraph("(Abrogé)")]
    first, second = articles(read(order(), parsed(*text)).chunks)
    assert first.digest != second.digest


def test_a_title_has_one_line_and_no_control_characters() -> None:
    """No database holds a zero byte."""
    titled = Parsed((paragraph("Un texte."),), "text/plain", title="Congés\0 annuels\n 2024")
    assert read(order(), titled).document.title == "Congés annuels 2024"


def test_a_document_without_text_is_refused() -> None:
    """And one that could not be parsed says why."""
    empty = reading(order(), Parsed((), "text/plain"))
    assert isinstance(empty, DocumentError)
    assert empty.reason is RejectReason.NO_TEXT
    broken = DocumentError(RejectReason.CORRUPT, "cut short")
    assert reading(order(), broken) is broken
