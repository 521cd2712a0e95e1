"""JSON lines of our own: what is written of a document gives the same sections when it is read."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from ingest import records
from ingest.outline import outline
from ingest.parsers import Limits, parse, parse_file
from ingest.sniff import Kind, sniff
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Document, LegalStatus, NormRank, Section, SectionKind, Stated, Validity

SAMPLES = Path(__file__).resolve().parent.parent / "ingest" / "samples"
PERIOD = Validity(dt.date(2023, 1, 1), dt.date(2025, 1, 1))
DOCUMENT = Document(
    "rh-1", "rh", "Décision", "fr", "a.pdf", "", "application/pdf", NormRank.DECREE, PERIOD, pages=12,
    legal_status=LegalStatus.IN_FORCE,
)  # fmt: skip


def paragraph(text: str, page: int | None = None) -> Block:
    return Block(BlockKind.PARAGRAPH, text, page=page)


def read(*lines: dict[str, object]) -> tuple[Block, ...]:
    return parse_file(sniff(Path("a"), "\n".join(map(json.dumps, lines)).encode()), Limits()).blocks


def test_a_document_is_what_it_was() -> None:
    """Its title, language, rank, dates, status and pages come back from the first line."""
    parsed = records.read("\n".join(records.lines(DOCUMENT, [])), "x")
    assert (parsed.title, parsed.pages) == ("Décision", 12)
    assert parsed.stated == Stated("fr", NormRank.DECREE, PERIOD, LegalStatus.IN_FORCE)


def test_sections_are_what_they_were() -> None:
    """The outline of what is read is the list of sections that was written."""
    rows = (("Grade", "Jours"), ("A", "25"))
    sections = [
        Section(SectionKind.PREAMBLE, "", None, (), (paragraph("Décision", 1), paragraph("Vu le code ;", 1)), 1),
        Section(SectionKind.DIVISION, "Principes", None, (), (), 1),
        Section(SectionKind.DIVISION, "Titre Ier — Congés", "Ier", ("Principes",), (), 1),
        Section(
            SectionKind.ARTICLE,
            "Article 1er",
            "1er",
            ("Principes", "Titre Ier — Congés"),
            (
                paragraph("Un\u2028texte\u0085long", 2),
                Block(BlockKind.TABLE, "Grade | Jours\nA | 25", page=2, rows=rows),
                Block(BlockKind.NOTE, "[1] Une note.", page=3),
            ),
            2,
        ),
        Section(SectionKind.ANNEX, "Annexe 1 — Barème", "1", (), (paragraph("Texte."),), 4),
    ]
    read_again = outline(records.read("\n".join(records.lines(DOCUMENT, sections)), "x").blocks)
    expected = [*sections]
    joined = (paragraph("Un texte long", 2), *sections[3].blocks[1:])
    expected[3] = Section(SectionKind.ARTICLE, "Article 1er", "1er", sections[3].path, joined, 2)
    assert read_again == expected


def samples() -> list[Path]:
    return sorted(path for path in SAMPLES.rglob("*.*") if path.suffix in {".docx", ".odt", ".html", ".md", ".txt"})


def test_the_samples_survive_the_round_trip() -> None:
    """For each sample regulation, writing its outline and reading that gives the same outline."""
    paths = samples()
    assert len(paths) > 30
    for path in paths:
        parsed = parse(Source(path), Limits())
        sections = outline(parsed.blocks)
        again = records.read("\n".join(records.lines(DOCUMENT, sections)), "x")
        assert outline(again.blocks) == sections, path.name


def test_what_holds_for_a_section_stands_at_its_heading() -> None:
    """Dates, status and links of a section are those of the block that opens it."""
    section = Section(
        SectionKind.ARTICLE, "Article 2", "2", (), (paragraph("x"),), None, PERIOD, LegalStatus.REPEALED, ("a:1",)
    )
    heading, _ = records.read("\n".join(records.lines(DOCUMENT, [section])), "x").blocks
    assert heading.validity == PERIOD
    assert heading.legal_status is LegalStatus.REPEALED
    assert heading.links == ("a:1",)


def test_sections_of_other_programs() -> None:
    """A heading may be missing where there is a number, and parents need no line of their own."""
    blocks = read(
        {"vauban": "document"},
        {"kind": "article", "number": "3", "path": ["Livre I", "Titre II"], "blocks": [{"kind": "item", "text": "a"}]},
        {"kind": "article", "number": "4", "path": ["Livre I"], "blocks": []},
    )
    assert [(block.text, block.level) for block in blocks] == [
        ("Livre I", 1),
        ("Titre II", 2),
        ("Article 3", 3),
        ("a", None),
        ("Article 4", 2),
    ]


def test_lines_of_retrieval_data_sets() -> None:
    """A plain line is a section too; texts of several titles stand each below its own."""
    one = {"_id": "1", "title": "Code", "text": "Un.\nDeux.", "section": "Livre I > Titre II", "article": "L. 1-2"}
    assert [block.text for block in read(one)] == ["Livre I", "Titre II", "Article L. 1-2", "Un.", "Deux."]
    two = {"_id": "2", "title": "Loi", "text": "Trois."}
    assert [(block.text, block.level) for block in read(one, two)][::3] == [
        ("Code", 1),
        ("Article L. 1-2", 4),
        ("Loi", 1),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"kind": "article", "blocks": []', RejectReason.CORRUPT),
        ('{"kind": "chapitre", "blocks": []}', RejectReason.CORRUPT),
        ('{"kind": "article", "blocks": {}}', RejectReason.CORRUPT),
        ('{"kind": "article", "heading": 3}', RejectReason.CORRUPT),
        ('{"kind": "article", "page": true}', RejectReason.CORRUPT),
        ('{"kind": "article", "valid_from": "demain"}', RejectReason.CORRUPT),
        ('["article"]', RejectReason.CORRUPT),
        ('{"vauban": "document"}', RejectReason.CORRUPT),
        ('{"kind": "article", "blocks": ' + "[" * 100_000, RejectReason.TOO_DEEP),
    ],
)
def test_wrong_lines(line: str, reason: RejectReason) -> None:
    """A line that is none of the layout is named; nesting without end is refused."""
    with pytest.raises(DocumentError) as raised:
        parse_file(sniff(Path("a"), ('{"vauban": "document"}\n' + line).encode()), Limits())
    assert raised.value.reason is reason
    assert reason is RejectReason.TOO_DEEP or "line 2" in raised.value.en


def test_a_newer_layout() -> None:
    """A file of a later version of the layout is refused as such."""
    with pytest.raises(DocumentError) as raised:
        read({"vauban": "document", "version": 2})
    assert raised.value.reason is RejectReason.UNSUPPORTED


def test_the_kind_is_told_from_the_first_line() -> None:
    """However long its first line is."""
    long = json.dumps({"vauban": "document", "title": "x" * 200_000}).encode()
    assert sniff(Path("a.jsonl"), long + b"\n{}").kind is Kind.RECORDS
