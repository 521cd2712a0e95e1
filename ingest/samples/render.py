"""Render the sources of the sample regulations into the files that are shipped; running it again changes nothing.

``python -m ingest.samples.render`` writes each source as ``<corpus>/<id>.<format>`` with its sidecar, and per corpus a
``corpus.toml`` and its glossary. Dates, identifiers and archive timestamps are fixed, so the bytes depend only on the
sources and on the versions of the libraries that write the formats.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

import docx
import odfdo
import openpyxl
import reportlab
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from ingest.samples.source import SOURCES, Source, sources
from rag.types import Block, BlockKind

SAMPLES = Path(__file__).parent
BODY = {"fr": "Agence des territoires fluviaux", "en": "River Territories Agency (ATF)"}
GLOSSARY = "glossaire.toml"
NBSP = "\N{NO-BREAK SPACE}"

CORPORA = {
    "rh": (
        "Ressources humaines",
        "Direction des ressources humaines, bureau de la réglementation, bureau 2.14, "
        "rh.reglementation@atf.example, poste 2140",
    ),
    "sante": (
        "Santé au travail",
        "Service de santé au travail, secrétariat médical, bureau 0.07, sante.travail@atf.example, poste 2207",
    ),
    "finances": (
        "Finances et achats",
        "Direction des affaires financières, cellule d'appui réglementaire, bureau 1.31, "
        "daf.appui@atf.example, poste 2310",
    ),
    "infrastructures": (
        "Patrimoine et infrastructures",
        "Direction du patrimoine et des infrastructures, guichet des sites, bureau 0.22, "
        "dpi.guichet@atf.example, poste 2420",
    ),
}
"""Title and contact of each corpus."""


def main() -> None:
    """Write every sample under the folder of this package, and remove rendered files whose source is gone."""
    files = dict(rendered())
    for name, content in files.items():
        path = SAMPLES / name
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    for corpus in CORPORA:
        for path in (SAMPLES / corpus).iterdir():
            if path.relative_to(SAMPLES).as_posix() not in files:
                path.unlink()
    print(f"{len(files)} files")


def rendered() -> Iterator[tuple[str, bytes]]:
    """Each shipped file's path below the samples folder, with its bytes."""
    for corpus in CORPORA:
        yield f"{corpus}/corpus.toml", corpus_file(corpus).encode()
        yield f"{corpus}/{GLOSSARY}", (SOURCES / corpus / GLOSSARY).read_bytes()
    for source in sources():
        yield f"{source.corpus}/{source.name}", RENDERERS[source.format](source)
        yield f"{source.corpus}/{source.name}.meta.toml", sidecar(source).encode()


def corpus_file(corpus: str) -> str:
    """The ``corpus.toml`` of a sample corpus: for all staff, without clearance."""
    title, contact = CORPORA[corpus]
    return (
        f'name = "{corpus}"\ntitle = "{title}"\nlanguage = "fr"\ngroups = ["agents"]\nclearance = 0\n'
        f'contact = "{contact}"\nnorm_rank = "order"\nretention = 365\nglossary = "{GLOSSARY}"\n'
    )


def sidecar(source: Source) -> str:
    """The metadata beside a rendered file, as TOML."""
    title = source.title.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        f'id = "{source.id}"',
        f'title = "{title}"',
        f'language = "{source.language}"',
        f'norm_rank = "{source.norm_rank}"',
        f"valid_from = {source.valid_from}",
    ]
    if source.valid_to is not None:
        lines.append(f"valid_to = {source.valid_to}")
    if source.groups:
        lines.append("groups = [" + ", ".join(f'"{group}"' for group in source.groups) + "]")
    return "\n".join(lines) + "\n"


def typeset(text: str, language: str) -> str:
    """``text`` as a word processor would set it: curly apostrophes and quotes, French no-break spaces."""
    text = re.sub(r"(?<=\w)'", "’", text)
    text = re.sub(r'"([^"]*)"', "“\\1”", text)
    if language == "fr":
        text = re.sub(r" (?=[;:?!»%€])", NBSP, text)
        text = re.sub(r"(?<=«) | (?=°)|(?<=n°) ", NBSP, text)
        text = re.sub(r"(?<=\d) (?=\d{3}\b)", NBSP, text)
    return text


# --- plain files ---------------------------------------------------------------------------------------


def markdown(source: Source) -> bytes:
    """The body of the source as it was written."""
    return source.body.encode()


def plain_text(source: Source) -> bytes:
    """One line per paragraph, headings without marks, tables in columns."""
    pieces: list[str] = []
    for block in source.blocks:
        if block.kind is BlockKind.TABLE:
            widths = [max(map(len, column)) for column in zip(*block.rows, strict=True)]
            pieces.append("\n".join("   ".join(map(str.ljust, row, widths)).rstrip() for row in block.rows))
        elif block.kind is BlockKind.ITEM and pieces and pieces[-1].splitlines()[-1].startswith("  "):
            pieces[-1] += f"\n  {block.text}"
        elif block.kind is BlockKind.ITEM:
            pieces.append(f"  {block.text}")
        else:
            pieces.append(block.text)
    return ("\n\n".join(pieces) + "\n").encode()


def web_page(source: Source) -> bytes:
    """A page of the body's intranet: the text in ``main``, with the navigation and footer such pages have."""
    french = source.language == "fr"
    links = ["Accueil", "Annuaire", "Textes en vigueur", "Contact"] if french else ["Home", "Staff", "Rules", "Help"]
    foot = (
        "Intranet de l’Agence des territoires fluviaux · Mentions d’information · Plan du site"
        if french
        else "ATF intranet · Legal notice · Site map"
    )
    body: list[str] = []
    listing = False
    for block in source.blocks:
        text = _html(block.text, source.language)
        bullet = block.text.startswith("- ")  # other items carry their own mark
        if listing != bullet:
            body.append("</ul>" if listing else "<ul>")
            listing = not listing
        if block.level is not None:
            body.append(f"<h{block.level}>{text}</h{block.level}>")
        elif bullet:
            body.append(f"<li>{text.removeprefix('- ')}</li>")
        elif block.kind is BlockKind.TABLE:
            head, *rows = block.rows
            body.append("<table>\n<thead>" + _html_row(head, "th", source.language) + "</thead>\n<tbody>")
            body += [_html_row(row, "td", source.language) for row in rows]
            body.append("</tbody>\n</table>")
        else:
            body.append(f"<p>{text}</p>")
    if listing:
        body.append("</ul>")
    menu = "".join(f'<li><a href="#">{link}</a></li>' for link in links)
    page = (
        f'<!DOCTYPE html>\n<html lang="{source.language}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{_html(source.title, source.language)} - {BODY[source.language]}</title>\n"
        "<style>body{font-family:sans-serif;max-width:48em}table{border-collapse:collapse}"
        "td,th{border:1px solid #888;padding:.2em .5em}</style>\n</head>\n<body>\n"
        f"<header><p>{BODY[source.language]}</p>\n<nav><ul>{menu}</ul></nav></header>\n<main>\n<article>\n"
        + "\n".join(body)
        + f"\n</article>\n</main>\n<footer><p>{foot}</p></footer>\n</body>\n</html>\n"
    )
    return page.encode()


def _html(text: str, language: str) -> str:
    return escape(typeset(text, language), quote=False).replace(NBSP, "&nbsp;")


def _html_row(row: tuple[str, ...], tag: str, language: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_html(cell, language)}</{tag}>" for cell in row) + "</tr>"


# --- PDF -----------------------------------------------------------------------------------------------

_SIZES = {1: 15, 2: 12.5, 3: 11, 4: 10, 5: 9.5}


def pdf(source: Source) -> bytes:
    """A4 pages with a running head and "page x / y", the font embedded."""
    pages = _pdf(source, 0)[1]
    return _pdf(source, pages)[0]


def _pdf(source: Source, pages: int) -> tuple[bytes, int]:
    """The file, and how many pages it has: the count is only known once it was built."""
    _register_fonts()
    head = f"{BODY[source.language]} — {_short(source.title)}"
    buffer = io.BytesIO()
    paper = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=2.3 * cm,
        rightMargin=2.3 * cm,
        topMargin=2.6 * cm,
        bottomMargin=2.2 * cm,
        title=source.title,
        author=BODY[source.language],
        lang=source.language,
        invariant=1,
    )
    last = 0

    def page(canvas: object, _: object) -> None:
        nonlocal last
        last = canvas.getPageNumber()  # type: ignore[attr-defined]  # reportlab has no types
        _page_frame(canvas, head, last, pages)

    paper.build(_flow(source, paper.width), onFirstPage=page, onLaterPages=page)
    return buffer.getvalue(), last


def _page_frame(canvas, head: str, number: int, pages: int) -> None:  # type: ignore[no-untyped-def]  # reportlab's
    """Draw the running head and the page number."""
    width, height = A4
    canvas.saveState()
    canvas.setFont("Vera", 7.5)
    canvas.drawString(2.3 * cm, height - 1.6 * cm, head)
    canvas.line(2.3 * cm, height - 1.75 * cm, width - 2.3 * cm, height - 1.75 * cm)
    canvas.drawCentredString(width / 2, 1.2 * cm, f"Page {number} / {pages}")
    canvas.restoreState()


def _register_fonts() -> None:
    fonts = Path(os.path.dirname(reportlab.__file__)) / "fonts"
    if "Vera" not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont("Vera", str(fonts / "Vera.ttf")))
        pdfmetrics.registerFont(TTFont("Vera-Bold", str(fonts / "VeraBd.ttf")))


def _short(title: str) -> str:
    """A title as a running head has it: as far as its date or subject, one line at most."""
    return title if len(title) <= 60 else title[:58].rsplit(" ", 1)[0] + " …"


def _flow(source: Source, width: float) -> list[object]:
    """The blocks as what reportlab sets on pages ``width`` points wide."""
    text = ParagraphStyle("text", fontName="Vera", fontSize=9.5, leading=13.5, alignment=TA_JUSTIFY, spaceAfter=6)
    item = ParagraphStyle("item", text, leftIndent=16, bulletIndent=4)
    cell = ParagraphStyle("cell", fontName="Vera", fontSize=8, leading=10.5)
    head = ParagraphStyle("head", cell, fontName="Vera-Bold")
    flow: list[object] = []
    for block in source.blocks:
        words = escape(typeset(block.text, source.language), quote=False)
        if block.level is not None:
            size = _SIZES[block.level]
            style = ParagraphStyle(
                f"h{block.level}",
                fontName="Vera-Bold",
                fontSize=size,
                leading=size * 1.3,
                alignment=TA_CENTER if block.level <= 2 else 0,
                spaceBefore=0 if block.level == 1 else size,
                spaceAfter=14 if block.level == 1 else 6,
                keepWithNext=1,
            )
            flow.append(Paragraph(words, style))
        elif block.kind is BlockKind.TABLE:
            rows = [
                [
                    Paragraph(escape(typeset(value, source.language), quote=False), cell if place else head)
                    for value in row
                ]
                for place, row in enumerate(block.rows)
            ]
            table = Table(rows, colWidths=_column_widths(block, width), repeatRows=1)
            table.setStyle(
                TableStyle(
                    [
                        ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
                        ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                        ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ]
                )
            )
            flow += [Spacer(1, 4), table, Spacer(1, 10)]
        elif words.startswith("- "):
            flow.append(Paragraph(words[2:], item, bulletText="–"))
        else:
            flow.append(Paragraph(words, item if block.kind is BlockKind.ITEM else text))
    return flow


def _column_widths(block: Block, width: float) -> list[float]:
    """Widths in proportion to the longest cell of each column, none thinner than a long word."""
    longest = [min(max(map(len, column)), 40) + 6 for column in zip(*block.rows, strict=True)]
    return [width * length / sum(longest) for length in longest]


# --- word processors -----------------------------------------------------------------------------------


def word(source: Source) -> bytes:
    """A Word document with real heading styles, lists and tables."""
    paper = docx.Document()
    properties = paper.core_properties
    properties.title, properties.author, properties.language = source.title, BODY[source.language], source.language
    properties.created = properties.modified = _noon(source)
    properties.last_modified_by, properties.comments = BODY[source.language], ""
    for section in paper.sections:
        section.page_width, section.page_height = Cm(21), Cm(29.7)
        section.header.paragraphs[0].text = f"{BODY[source.language]} — {_short(source.title)}"
        foot = section.footer.paragraphs[0]
        foot.alignment = WD_ALIGN_PARAGRAPH.CENTER
        foot.add_run("Page ")
        field = OxmlElement("w:fldSimple")
        field.set(qn("w:instr"), "PAGE")
        foot._p.append(field)
    for block in source.blocks:
        text = typeset(block.text, source.language)
        if block.level is not None:
            paper.add_heading(text, block.level - 1)
        elif block.kind is BlockKind.TABLE:
            table = paper.add_table(rows=0, cols=len(block.rows[0]), style="Table Grid")
            for place, row in enumerate(block.rows):
                for cell, value in zip(table.add_row().cells, row, strict=True):
                    cell.text = ""
                    cell.paragraphs[0].add_run(typeset(value, source.language)).bold = place == 0 or None
            paper.add_paragraph()
        elif text.startswith("- "):
            paper.add_paragraph(text[2:], style="List Bullet")
        else:
            paper.add_paragraph(text, style="List Paragraph" if block.kind is BlockKind.ITEM else None)
    buffer = io.BytesIO()
    paper.save(buffer)
    return _settled(buffer.getvalue())


def open_text(source: Source) -> bytes:
    """An OpenDocument text with real headings, lists and tables."""
    paper = odfdo.Document("text")
    _date(paper, source)
    for numbering in paper.get_part("styles.xml").root.get_elements("//text:outline-style"):
        numbering.delete()  # the template would number the headings on its own
    body = paper.body
    body.clear()
    listing = None
    for place, block in enumerate(source.blocks):
        text = typeset(block.text, source.language)
        if not text.startswith("- "):
            listing = None
        if block.level == 1:
            body.append(odfdo.Paragraph(text, style="Title"))
        elif block.level is not None:
            body.append(odfdo.Header(block.level - 1, text, style=f"Heading_20_{block.level - 1}"))
        elif block.kind is BlockKind.TABLE:
            table = odfdo.Table(f"Tableau{place}")
            for values in block.rows:
                row = odfdo.Row()
                for value in values:
                    row.append(odfdo.Cell(typeset(value, source.language)))
                table.append_row(row)
            body.append(table)
        elif text.startswith("- "):
            if listing is None:
                listing = odfdo.List(style="List_20_1")
                body.append(listing)
            listing.append(odfdo.ListItem(text[2:]))
        else:
            body.append(odfdo.Paragraph(text, style="Text_20_body"))
    return _saved(paper)


# --- spreadsheets --------------------------------------------------------------------------------------


def excel(source: Source) -> bytes:
    """A workbook of one sheet per ``##`` heading: title, remark, then the table with real numbers."""
    book = openpyxl.Workbook()
    book.properties.title, book.properties.creator = source.title, BODY[source.language]
    book.properties.created = _noon(source)
    del book[book.sheetnames[0]]
    side = Side(style="thin", color="888888")
    for name, notes, table in _sheets(source):
        sheet = book.create_sheet(name)
        sheet.append([source.title])
        sheet["A1"].font = Font(bold=True, size=13)
        for note in notes:
            sheet.append([note])
        sheet.append([])
        first = sheet.max_row + 2 if not notes else len(notes) + 3
        for down, row in enumerate(table):
            for across, value in enumerate(row):
                cell = sheet.cell(row=first + down, column=across + 1)
                cell.border = Border(left=side, right=side, top=side, bottom=side)
                cell.alignment = Alignment(wrap_text=True, vertical="top")
                if down == 0:
                    cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor="DDDDDD")
                cell.value = value if down == 0 else _value(value)
                if isinstance(cell.value, dt.date):
                    cell.number_format = "dd/mm/yyyy"
                elif isinstance(cell.value, int | float) and " " in value:
                    cell.number_format = "#,##0"
                elif isinstance(cell.value, float):
                    cell.number_format = "0." + "0" * len(value.split(",")[1])
        for across, column in enumerate(zip(*table, strict=True)):
            letter = sheet.cell(row=first, column=across + 1).column_letter
            sheet.column_dimensions[letter].width = min(max(map(len, column)) + 2, 44)
        sheet.freeze_panes = f"A{first + 1}"
    buffer = io.BytesIO()
    book.save(buffer)
    return _settled(buffer.getvalue(), modified=_noon(source))


def open_sheet(source: Source) -> bytes:
    """An OpenDocument workbook of one sheet per ``##`` heading, with real numbers and dates."""
    book = odfdo.Document("spreadsheet")
    _date(book, source)
    body = book.body
    body.clear()
    for name, notes, rows in _sheets(source):
        table = odfdo.Table(name)
        for text in [source.title, *notes, ""]:
            row = odfdo.Row()
            row.append(odfdo.Cell(text or None))
            table.append_row(row)
        for down, values in enumerate(rows):
            row = odfdo.Row()
            for value in values:
                row.append(odfdo.Cell(value if down == 0 else _value(value), text=value))
            table.append_row(row)
        body.append(table)
    return _saved(book)


def _sheets(source: Source) -> Iterator[tuple[str, list[str], tuple[tuple[str, ...], ...]]]:
    """Name, remarks and table of each sheet."""
    name, notes = "", [block.text for block in source.blocks[1:2] if block.kind is BlockKind.PARAGRAPH]
    for block in source.blocks[1:]:
        if block.level is not None:
            name, notes = block.text, []
        elif block.kind is BlockKind.TABLE:
            yield name, notes, block.rows
        elif name:
            notes.append(block.text)


def _value(text: str) -> int | float | dt.date | str:
    """What a person would have typed into the cell: a number, a date or words."""
    if re.fullmatch(r"\d{1,3}(?: \d{3})+|\d+", text):
        return int(text.replace(" ", ""))
    if re.fullmatch(r"\d+,\d+", text):
        return float(text.replace(",", "."))
    if match := re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", text):
        return dt.date(int(match[3]), int(match[2]), int(match[1]))
    return text


# --- the same bytes each time --------------------------------------------------------------------------


def _noon(source: Source) -> dt.datetime:
    return dt.datetime(source.valid_from.year, source.valid_from.month, source.valid_from.day, 12)


def _date(paper: odfdo.Document, source: Source) -> None:
    """Set the title and every date that OpenDocument metadata has."""
    paper.meta.title, paper.language = source.title, {"fr": "fr-FR", "en": "en-GB"}[source.language]
    paper.meta.creation_date = paper.meta.date = _noon(source)
    paper.meta.generator = "Vauban"


def _saved(paper: odfdo.Document) -> bytes:
    buffer = io.BytesIO()
    paper.save(buffer)
    return _settled(buffer.getvalue())


def _settled(archive: bytes, modified: dt.datetime | None = None) -> bytes:
    """The same archive with fixed timestamps; ``modified`` replaces the date that Office metadata were saved at."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if modified is not None and entry.filename == "docProps/core.xml":
                content = re.sub(
                    rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + f"{modified.isoformat()}Z".encode(), content
                )
            fixed = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
            fixed.compress_type = zipfile.ZIP_STORED if entry.filename == "mimetype" else zipfile.ZIP_DEFLATED
            new.writestr(fixed, content)
    return buffer.getvalue()


RENDERERS: dict[str, Callable[[Source], bytes]] = {
    "pdf": pdf,
    "docx": word,
    "odt": open_text,
    "ods": open_sheet,
    "xlsx": excel,
    "html": web_page,
    "md": markdown,
    "txt": plain_text,
}
"""How each format is written."""


if __name__ == "__main__":
    main()
