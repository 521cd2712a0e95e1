"""What every parser promises, checked on one small regulation written in every format."""

from __future__ import annotations

import email.message
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import odfdo
import openpyxl
import pptx
import pytest
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from ingest import records
from ingest.parsers import Limits, Parser, parse, parsers
from ingest.sniff import File, Kind, sniff
from ingest.source import Source
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Document, Parsed, Section, SectionKind
from tests import synthetic_msg

TITLE = "Décision relative aux congés"
HEADING = "Article 1er"
TEXT = "Chaque agent a droit à 25 jours ouvrés."
ITEMS = ("premier cas ;", "second cas.")
ROWS = (("Grade", "Jours"), ("Attaché", "25"), ("Adjoint", "27"))


def write_pdf(path: Path) -> None:
    styles = getSampleStyleSheet()
    grid = Table([list(row) for row in ROWS], style=TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")]))
    SimpleDocTemplate(str(path)).build(
        [
            Paragraph(TITLE, styles["Heading1"]),
            Paragraph(HEADING, styles["Heading2"]),
            Paragraph(TEXT, styles["BodyText"]),
            *(Paragraph(f"{number}° {item}", styles["BodyText"]) for number, item in enumerate(ITEMS, 1)),
            Spacer(1, 12),
            grid,
        ]
    )


def write_docx(path: Path) -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "En-tête courant"
    document.add_heading(TITLE, 1)
    document.add_heading(HEADING, 2)
    document.add_paragraph(TEXT)
    for item in ITEMS:
        document.add_paragraph(item, style="List Number")
    table = document.add_table(len(ROWS), 2)
    for row, cells in zip(table.rows, ROWS, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.save(str(path))


def write_odt(path: Path) -> None:
    document = odfdo.Document("text")
    body = document.body
    body.clear()
    body.append(odfdo.Header(1, TITLE))
    body.append(odfdo.Header(2, HEADING))
    body.append(odfdo.Paragraph(TEXT))
    body.append(odfdo.List(list(ITEMS)))
    table = odfdo.Table("T", width=2, height=len(ROWS))
    table.set_values([list(row) for row in ROWS])
    body.append(table)
    document.save(str(path))


def write_html(path: Path) -> None:
    items = "".join(f"<li>{item}</li>" for item in ITEMS)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in ROWS)
    path.write_text(
        f"<!doctype html><html><head><title>{TITLE}</title></head><body><nav>Menu</nav><main><h1>{TITLE}</h1>"
        f"<h2>{HEADING}</h2><p>{TEXT}</p><ol>{items}</ol><table>{rows}</table></main><footer>Pied</footer></body></html>",
        encoding="utf-8",
    )


def write_markdown(path: Path) -> None:
    items = "\n".join(f"{number}. {item}" for number, item in enumerate(ITEMS, 1))
    rows = "\n".join("| " + " | ".join(row) + " |" for row in (ROWS[0], ("---", "---"), *ROWS[1:]))
    path.write_text(f"# {TITLE}\n\n## {HEADING}\n\n{TEXT}\n\n{items}\n\n{rows}\n", encoding="utf-8")


def write_text(path: Path) -> None:
    items = "\n".join(f"{number}° {item}" for number, item in enumerate(ITEMS, 1))
    rows = "\n".join(f"{one:<12}{two}" for one, two in ROWS)
    path.write_text(f"{TITLE}\n\n{HEADING}\n\n{TEXT}\n\n{items}\n\n{rows}\n", encoding="utf-8")


def write_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = HEADING
    for line in ((TITLE,), (), (TEXT,), (), *((item,) for item in ITEMS), (), *ROWS):
        sheet.append(line)
    book.save(path)


def write_ods(path: Path) -> None:
    document = odfdo.Document("spreadsheet")
    document.body.clear()
    table = odfdo.Table(HEADING)
    table.set_values([[TITLE], [None], [TEXT], [None], *([item] for item in ITEMS), [None], *map(list, ROWS)])
    document.body.append(table)
    document.save(str(path))


def write_pptx(path: Path) -> None:
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = TITLE
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = HEADING
    frame = slide.placeholders[1].text_frame
    frame.text = TEXT
    for item in ITEMS:
        frame.add_paragraph().text = item
    grid = slide.shapes.add_table(len(ROWS), 2, 0, 0, 5_000_000, 1_000_000).table
    for number, row in enumerate(ROWS):
        for column, text in enumerate(row):
            grid.cell(number, column).text = text
    slide.notes_slide.notes_text_frame.text = "En-tête courant"
    slides.save(str(path))


def write_odp(path: Path) -> None:
    document = odfdo.Document("presentation")
    document.body.clear()
    first, second = odfdo.DrawPage("p1"), odfdo.DrawPage("p2")
    for slide, title in ((first, TITLE), (second, HEADING)):
        frame = odfdo.Frame.text_frame(title)
        frame.set_attribute("presentation:class", "title")
        slide.append(frame)
        document.body.append(slide)
    second.append(odfdo.Frame.text_frame([TEXT]))
    listed = odfdo.Frame.text_frame([])
    box = odfdo.Element.from_tag("draw:text-box")
    box.append(odfdo.List(list(ITEMS)))
    listed.append(box)
    second.append(listed)
    table = odfdo.Table("T", width=2, height=len(ROWS))
    table.set_values([list(row) for row in ROWS])
    holder = odfdo.Frame.text_frame([])
    holder.append(table)
    second.append(holder)
    document.save(str(path))


def write_rtf(path: Path) -> None:
    def spelled(text: str) -> str:
        return "".join(sign if sign.isascii() else f"\\'{ord(sign):02x}" for sign in text)

    items = "".join(
        f"\\pard{{\\listtext\\pard {number}.\\tab}}{spelled(item)}\\par\n" for number, item in enumerate(ITEMS, 1)
    )
    rows = "".join(
        "\\trowd\\cellx3000\\cellx6000\\pard\\intbl " + "".join(f"{spelled(cell)}\\cell " for cell in row) + "\\row\n"
        for row in ROWS
    )
    path.write_text(
        "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0\\fcharset0 Times;}}"
        "{\\stylesheet{\\s0 Normal;}{\\s1\\outlinelevel0 heading 1;}{\\s2\\outlinelevel1 heading 2;}}"
        f"{{\\header En-t\\'eate courant\\par}}\\pard\\s1 {spelled(TITLE)}\\par\n\\pard\\s2 {HEADING}\\par\n"
        f"\\pard {spelled(TEXT)}\\par\n{items}{rows}\\pard\\par}}",
        encoding="ascii",
    )


def write_csv(path: Path) -> None:
    lines = [TITLE, "", HEADING, "", TEXT, *ITEMS, ""]
    quoted = "".join('"' + line.replace('"', '""') + '";\n' for line in lines if line)
    path.write_text(quoted + "".join(";".join(row) + "\n" for row in ROWS), encoding="cp1252")


def as_html() -> str:
    items = "".join(f"<li>{item}</li>" for item in ITEMS)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in ROWS)
    return f"<h2>{HEADING}</h2><p>{TEXT}</p><ol>{items}</ol><table>{rows}</table>"


def write_eml(path: Path) -> None:
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "drh@exemple.fr", "tous@exemple.fr", TITLE
    message["MIME-Version"] = "1.0"
    message.set_content(f"<html><body>{as_html()}</body></html>", subtype="html")
    path.write_bytes(message.as_bytes())


def write_msg(path: Path) -> None:
    body = f"<html><head><meta charset=utf-8></head><body>{as_html()}</body></html>".encode()
    path.write_bytes(synthetic_msg.compound(synthetic_msg.letter(TITLE, None, html=body)))


def write_epub(path: Path) -> None:
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{TITLE}</dc:title></metadata><manifest>"
        '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/></spine></package>',
        "OPS/nav.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><body><nav><ol>'
        f'<li><a href="a.xhtml">{TITLE}</a></li></ol></nav><p>Menu</p></body></html>',
        "OPS/a.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>Avant-propos.</p></body></html>',
        "OPS/b.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{as_html()}</body></html>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_records(path: Path) -> None:
    document = Document("d", "c", TITLE, "fr", "", "", "application/pdf")
    items = [Block(BlockKind.ITEM, f"{number}. {item}") for number, item in enumerate(ITEMS, 1)]
    grid = Block(BlockKind.TABLE, "\n".join(" | ".join(row) for row in ROWS), rows=ROWS)
    blocks = (Block(BlockKind.PARAGRAPH, TEXT), *items, grid)
    sections = [
        Section(SectionKind.DIVISION, TITLE, None, (), ()),
        Section(SectionKind.ARTICLE, HEADING, "1er", (TITLE,), blocks),
    ]
    path.write_text("\n".join(records.lines(document, sections)) + "\n", encoding="utf-8")


WRITERS: dict[Kind, tuple[str, Callable[[Path], None]]] = {
    Kind.PDF: ("a.pdf", write_pdf),
    Kind.DOCX: ("a.docx", write_docx),
    Kind.ODT: ("a.odt", write_odt),
    Kind.XLSX: ("a.xlsx", write_xlsx),
    Kind.ODS: ("a.ods", write_ods),
    Kind.PPTX: ("a.pptx", write_pptx),
    Kind.ODP: ("a.odp", write_odp),
    Kind.EPUB: ("a.epub", write_epub),
    Kind.MSG: ("a.msg", write_msg),
    Kind.EML: ("a.eml", write_eml),
    Kind.RTF: ("a.rtf", write_rtf),
    Kind.RECORDS: ("a.jsonl", write_records),
    Kind.CSV: ("a.csv", write_csv),
    Kind.HTML: ("a.html", write_html),
    Kind.MARKDOWN: ("a.md", write_markdown),
    Kind.TEXT: ("a.txt", write_text),
}


ELSEWHERE = {"LEGI", "PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"}
"""Kinds whose contract needs more than one small file, and is checked with their own tests."""
PAGED = {Kind.PDF, Kind.PPTX, Kind.ODP}
MARKED = {Kind.DOCX, Kind.ODT, Kind.PPTX, Kind.ODP, Kind.RTF, Kind.EPUB, Kind.HTML, Kind.MARKDOWN, Kind.RECORDS}
"""Kinds that state the levels of all headings."""


def test_every_kind_is_written() -> None:
    """No format is read whose contract is not checked."""
    assert {kind.name for kind in Kind} - ELSEWHERE == {kind.name for kind in WRITERS}


@pytest.fixture(params=list(WRITERS), ids=lambda kind: kind.name)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> File:
    name, write = WRITERS[request.param]
    write(tmp_path / name)
    return File(tmp_path / name, request.param)


FAMILIES = [{Kind.XLSX, Kind.ODS}, {Kind.PPTX, Kind.ODP}, {Kind.EML, Kind.MSG}]
"""Kinds that share a parser."""


@pytest.fixture
def parser(file: File) -> Parser:
    (found,) = [parser for parser in parsers() if parser.accepts(file)]
    return found


def test_one_parser_per_kind(file: File, parser: Parser) -> None:
    """The content tells the kind, exactly one parser takes it, and it is no other kind's."""
    assert sniff(file.path).kind is file.kind
    others = [kind for kind in Kind if kind is not file.kind and parser.accepts(File(file.path, kind))]
    assert {file.kind, *others} in FAMILIES or not others


def test_reading_order(file: File, parser: Parser) -> None:
    """Title, heading, text, items and table come in that order, and the furniture not at all."""
    text = "\n".join(block.text for block in parser.parse(file, Limits()).blocks)
    wanted = [TITLE, TEXT, *ITEMS, "Attaché", "Adjoint"]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    assert HEADING in text
    assert not any(furniture in text for furniture in ("Menu", "Pied", "En-tête courant"))


def test_tables_keep_their_cells(file: File, parser: Parser) -> None:
    """A table is one block with its rows, the header first; its text has one line per row."""
    tables = [block for block in parser.parse(file, Limits()).blocks if block.kind is BlockKind.TABLE]
    assert [block.rows for block in tables] == [ROWS]
    assert tables[0].text.split("\n") == [" | ".join(row) for row in ROWS]


def _unnumbered(heading: str) -> str:
    """Without the automatic number that the OpenDocument template shows before its headings."""
    return heading.lstrip("1. ")


def test_levels_are_those_of_the_format(file: File, parser: Parser) -> None:
    """Where the format marks headings their levels are kept, elsewhere none is invented."""
    levels = {
        _unnumbered(block.text): block.level
        for block in parser.parse(file, Limits()).blocks
        if block.kind is BlockKind.HEADING
    }
    if file.kind in MARKED:
        assert levels == {TITLE: 1, HEADING: 2}
    elif file.kind in {Kind.EML, Kind.MSG}:
        assert levels == {TITLE: 1, HEADING: 3}
    elif file.kind in {Kind.XLSX, Kind.ODS}:
        assert levels == {HEADING: 1}
    else:
        assert set(levels.values()) <= {None}


def test_numbers_of_lists_are_written(file: File, parser: Parser) -> None:
    """The number that a reader sees before an item is part of its text."""
    texts = [block.text for block in parser.parse(file, Limits()).blocks]
    if file.kind in MARKED - {Kind.ODT, Kind.PPTX, Kind.ODP} | {Kind.EML, Kind.MSG}:
        assert f"1. {ITEMS[0]}" in texts
        assert f"2. {ITEMS[1]}" in texts


def test_the_same_twice(file: File, parser: Parser) -> None:
    """Reading a file again gives the same value, with the media type of its kind and pages only where it has some."""
    parsed = parser.parse(file, Limits())
    assert parsed == parser.parse(file, Limits())
    assert parsed.media_type == file.kind.value
    assert (parsed.pages is not None) == (file.kind in PAGED)
    assert all((block.page is not None) == (file.kind in PAGED) for block in parsed.blocks)


def outcome(path: Path) -> Parsed | DocumentError:
    try:
        return parse(Source(path), Limits())
    except DocumentError as error:
        return error


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused_or_read(file: File, share: float) -> None:
    """A file cut anywhere ends in text or in an error with a reason, never in a library's exception."""
    data = file.path.read_bytes()
    file.path.write_bytes(data[: int(share * len(data))])
    result = outcome(file.path)
    if isinstance(result, DocumentError):
        assert result.reason in {
            RejectReason.CORRUPT,
            RejectReason.NO_TEXT,
            RejectReason.EMPTY,
            RejectReason.UNSUPPORTED,
            RejectReason.PASSWORD,  # a flag or a name in the directory may be what was hit
        }
        assert result.fr != result.en
    else:
        assert result.blocks


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_or_read(file: File, seed: int) -> None:
    """The same of bytes changed here and there."""
    data = bytearray(file.path.read_bytes())
    for index in range(17 + seed, len(data), max(1, len(data) // 23)):
        data[index] = (data[index] * 7 + seed * 31 + 13) % 256
    file.path.write_bytes(data)
    assert isinstance(outcome(file.path), Parsed | DocumentError)
