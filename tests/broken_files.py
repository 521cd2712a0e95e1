"""Broken and hostile files of every format that is read, made from small valid ones; the same for the same seed.

Random damage falls on the bytes of a file, on the parts inside its container (which stays valid around them, so that
the damage reaches the parser and not only the checksum), and on the numbers and lengths written in it. Bombs are
small files that ask for much: memory, depth, time, or what is not theirs.
"""

from __future__ import annotations

import io
import json
import random
import re
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any, Final

import docx
import odfdo
import openpyxl
import pptx
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from tests import legi_dump
from tests.synthetic_msg import attachment, compound, letter

TEXT: Final = (
    "Article 1er. Le personnel bénéficie de vingt-cinq jours de congé par an, hors jours fériés.",
    "Article 2. La demande est présentée au chef de service un mois avant le départ ; elle peut être refusée.",
    "Article 3. Les jours non pris sont reportés jusqu'au 31 mars de l'année suivante.",
)
ROWS: Final = (("Grade", "Jours", "Prime"), ("A", "25", "120,50 €"), ("B", "27", "98,00 €"), ("C", "29", "75,25 €"))
PRESSED: Final = zipfile.ZIP_DEFLATED


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken file: its number and name, the format that it was made from, and what was done to it."""

    number: int
    name: str
    format: str
    how: str
    content: bytes

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        path.write_bytes(self.content)
        return path


# --- small valid files -----------------------------------------------------------------------------------


def _zip(members: dict[str, bytes | str], method: int = PRESSED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_STORED if name == "mimetype" else method)
    return stream.getvalue()


def _saved(document: Any) -> bytes:
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def _pdf(compressed: int = 0) -> bytes:
    stream = io.BytesIO()
    made = Canvas(stream, pagesize=A4, pageCompression=compressed, invariant=1)
    for page in range(3):
        made.bookmarkPage(f"p{page}")
        made.addOutlineEntry(f"Titre {page + 1}", f"p{page}", 0)
        for line, text in enumerate(TEXT):
            made.drawString(60, 780 - 20 * line, text)
        for line, row in enumerate(ROWS):
            for column, cell in enumerate(row):
                made.drawString(60 + 120 * column, 600 - 20 * line, cell)
        made.rect(50, 530, 400, 90)
        made.showPage()
    made.save()
    return stream.getvalue()


def _docx() -> bytes:
    made = docx.Document()
    made.add_heading("Titre Ier. Des congés", 1)
    for text in TEXT:
        made.add_paragraph(text)
    table = made.add_table(0, 3)
    for row in ROWS:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    return _saved(made)


def _odt() -> bytes:
    made = odfdo.Document("text")
    made.body.append(odfdo.Header(1, "Titre Ier. Des congés"))
    for text in TEXT:
        made.body.append(odfdo.Paragraph(text))
    made.body.append(_odf_table())
    return _saved(made)


def _odf_table() -> Any:
    table = odfdo.Table("Jours")
    table.set_values([list(row) for row in ROWS])
    return table


def _ods() -> bytes:
    made = odfdo.Document("spreadsheet")
    made.body.append(_odf_table())
    return _saved(made)


def _odp() -> bytes:
    made = odfdo.Document("presentation")
    page = odfdo.DrawPage("page1", name="Congés")
    for text in TEXT:
        page.append(odfdo.Frame.text_frame(text, size=("7cm", "5cm"), position=("11cm", "12cm")))
    made.body.append(page)
    return _saved(made)


def _pptx() -> bytes:
    made = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text = "Congés"
    slide.placeholders[1].text_frame.text = "\n".join(TEXT)
    frame = slide.shapes.add_table(len(ROWS), 3, 0, 0, 900_000, 900_000)
    for number, row in enumerate(ROWS):
        for column, text in enumerate(row):
            frame.table.cell(number, column).text = text
    return _saved(made)


def _xlsx() -> bytes:
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    for row in ROWS:
        sheet.append([int(cell) if cell.isdigit() else cell for cell in row])
    sheet.append(["Total", "=SUM(B2:B4)", 0.5])
    sheet.merge_cells("A6:B7")
    return _saved(made)


def _rtf() -> bytes:
    lines = "".join(rf"\pard {_escaped(text)}\par" "\n" for text in TEXT)
    rows = "".join(
        r"\trowd\cellx1000\cellx2000\cellx3000 " + "".join(f"{_escaped(cell)}\\cell " for cell in row) + "\\row\n"
        for row in ROWS
    )
    head = r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss Arial;}{\f1\froman\fcharset0 Times;}}"
    return (head + r"{\info{\title Cong\'e9s}}" + f"\n{lines}{rows}" + r"{\*\generator x;}}").encode("ascii")


def _escaped(text: str) -> str:
    return "".join(sign if sign.isascii() else rf"\u{ord(sign)}?" for sign in text)


def _html() -> bytes:
    body = "".join(f"<p>{text}</p>\n" for text in TEXT)
    rows = "".join("<tr>" + "".join(f"<td colspan='1'>{cell}</td>" for cell in row) + "</tr>\n" for row in ROWS)
    return (
        "<!doctype html><html lang='fr'><head><meta charset='utf-8'><title>Congés</title></head><body>"
        f"<h1>Titre Ier</h1>{body}<ul><li>un<ol><li>deux</ol></ul><table>{rows}</table></body></html>"
    ).encode()


def _markdown() -> bytes:
    rows = [" | ".join(row) for row in ROWS]
    table = "\n".join([f"| {rows[0]} |", "| - | - | - |", *(f"| {row} |" for row in rows[1:])])
    return (
        "+++\ntitle = 'Congés'\n+++\n# Titre Ier\n\n" + "\n\n".join(TEXT) + f"\n\n- un\n  - deux\n\n{table}\n"
    ).encode()


def _csv() -> bytes:
    return "".join(";".join(f'"{cell}"' for cell in row) + "\r\n" for row in ROWS * 3).encode("utf-8-sig")


def _eml() -> bytes:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Rappel des congés", "drh@example.org", "tous@example.org"
    made["Date"] = "Mon, 02 Mar 2026 10:00:00 +0100"
    made["MIME-Version"] = "1.0"
    made.set_content("\n".join(TEXT))
    made.add_alternative(_html().decode(), subtype="html")
    made.add_attachment(_markdown(), maintype="text", subtype="markdown", filename="règles.md")
    made.add_attachment(_docx_small(), maintype="application", subtype="octet-stream", filename="note.docx")
    data = made.as_bytes()
    return re.sub(rb"={15}\d+==", b"=" * 15 + b"1234567890" + b"==", data)  # the same parting line each time


def _docx_small() -> bytes:
    main = (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
        + "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in TEXT)
        + "</w:body></w:document>"
    )
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        'wordprocessingml.document.main+xml"/></Types>'
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>'
    )
    return _zip({"[Content_Types].xml": types, "_rels/.rels": relations, "word/document.xml": main})


def _msg() -> bytes:
    tree = letter("Rappel des congés", "\n".join(TEXT), html=_html(), attachments=[attachment("a.md", _markdown())])
    return compound(tree)


def _epub() -> bytes:
    page = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Livre {0}</h1>{1}</body></html>'
    body = "".join(f"<p>{text}</p>" for text in TEXT)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="toc" href="toc.ncx" media-type="x"/></manifest>'
        '<spine toc="toc"><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    ncx = (
        '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Livre I</text></navLabel>'
        '<content src="a.xhtml"/></navPoint></navMap></ncx>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    )
    return _zip(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OPS/book.opf": package,
            "OPS/toc.ncx": ncx,
            "OPS/a.xhtml": page.format("I", body),
            "OPS/b.xhtml": page.format("II", body),
        }
    )


def _archive() -> bytes:
    inner = _zip({"note.txt": "\n".join(TEXT), "a.html": _html()})
    return _zip({"regles.md": _markdown(), "dossier/jours.csv": _csv(), "lettre.eml": _eml(), "encore.zip": inner})


@cache
def _law() -> tuple[bytes, bytes, bytes]:
    """An article, a division and the outline of an invented code, as the dumps write them."""
    with tempfile.TemporaryDirectory() as folder:
        written = legi_dump.code(1, "Code de la batellerie", articles=6).write(Path(folder))
        files = sorted(written.rglob("*.xml"))
        article = next(file for file in files if "LEGIARTI" in file.name)
        division = next(file for file in files if "LEGISCTA" in file.name)
        outline = next(file for file in files if "struct" in file.parts)
        return article.read_bytes(), division.read_bytes(), outline.read_bytes()


@cache
def _text_of_law() -> bytes:
    """The folder of one text of the law, in a ZIP as archives of the dumps hold it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        legi_dump.code(1, "Code de la batellerie", articles=6).write(root)
        return _zip({str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*.xml"))})


def _jsonl() -> bytes:
    head = {"vauban": "document", "version": 1, "id": "x", "title": "Congés", "language": "fr", "pages": 3,
            "norm_rank": "decree", "valid_from": "2023-01-01", "valid_to": None}  # fmt: skip
    blocks = [{"kind": "paragraph", "text": text, "page": 1} for text in TEXT]
    table = {"kind": "table", "text": "x", "rows": [list(row) for row in ROWS]}
    sections = [
        {"kind": "article", "heading": f"Article {n}", "number": str(n), "path": ["Titre II"], "page": n,
         "valid_from": "2023-01-01", "links": ["article:2"], "blocks": [*blocks, table]}
        for n in range(1, 4)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, [head, *sections])).encode()


@cache
def _picture(kind: str) -> bytes:
    image = Image.new("L", (620, 150), 255)
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(TEXT):
        draw.text((15, 15 + 40 * line), text[:44], font=ImageFont.load_default(22), fill=0)
    stream = io.BytesIO()
    image.save(stream, kind, dpi=(150, 150))
    return stream.getvalue()


_MOMENT: Final = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?")
SEEDS: Final[dict[str, Callable[[], bytes]]] = {
    "pdf": _pdf,
    "pressed.pdf": lambda: _pdf(1),
    "docx": _docx,
    "small.docx": _docx_small,
    "odt": _odt,
    "rtf": _rtf,
    "pptx": _pptx,
    "odp": _odp,
    "xlsx": _xlsx,
    "ods": _ods,
    "csv": _csv,
    "html": _html,
    "md": _markdown,
    "txt": lambda: "\n\n".join(TEXT).encode(),
    "cp1252.txt": lambda: "\n\n".join(TEXT).encode("cp1252"),
    "utf16.txt": lambda: "\n\n".join(TEXT).encode("utf-16"),
    "eml": _eml,
    "msg": _msg,
    "epub": _epub,
    "zip": _archive,
    "legi.zip": _text_of_law,
    "article.xml": lambda: _law()[0],
    "division.xml": lambda: _law()[1],
    "struct.xml": lambda: _law()[2],
    "jsonl": _jsonl,
    "png": lambda: _picture("PNG"),
    "jpg": lambda: _picture("JPEG"),
    "tif": lambda: _picture("TIFF"),
}
"""A small valid file of each format, by the end of its name; all their parsers are damaged in turn."""


@cache
def seed(kind: str) -> bytes:
    """The small valid file of a format; the same each time, whatever dates the program that made it wrote in it."""
    data = SEEDS[kind]()
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    return _zip({name: _MOMENT.sub(b"2026-01-01T00:00:00", content) for name, content in parts.items()})


# --- damage ----------------------------------------------------------------------------------------------


def _place(draw: random.Random, data: bytes) -> int:
    """Somewhere in the file; headers and ends, where lengths stand, are hit more often than their share."""
    share = draw.random()
    if share < 0.25:
        return draw.randrange(min(len(data), 512))
    if share < 0.4:
        return max(0, len(data) - 1 - draw.randrange(min(len(data), 512)))
    return draw.randrange(len(data))


def flipped(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 64))):
        changed[_place(draw, data)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def overwritten(draw: random.Random, data: bytes) -> bytes:
    at, size = _place(draw, data), draw.choice((1, 4, 16, 256, 4096))
    with_what = draw.choice((b"\0", b"\xff", b"<", b"\x80"))
    return (data[:at] + with_what * min(size, len(data) - at) + data[at + size :])[: len(data)]


def truncated(draw: random.Random, data: bytes) -> bytes:
    return data[: max(1, _place(draw, data))]


def beheaded(draw: random.Random, data: bytes) -> bytes:
    return data[draw.randrange(1, max(2, len(data) // 2)) :]


def swapped(draw: random.Random, data: bytes) -> bytes:
    """Two stretches in each other's place."""
    one, two, three, four = sorted(draw.randrange(len(data) + 1) for _ in range(4))
    return data[:one] + data[three:four] + data[two:three] + data[one:two] + data[four:]


def doubled(draw: random.Random, data: bytes) -> bytes:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * draw.choice((1, 3, 50 if end - start < 2000 else 2)) + data[end:]


def renumbered(draw: random.Random, data: bytes) -> bytes:
    """Some of the numbers written in it, by digits or as bytes, are others: huge, negative, no numbers at all."""
    odd = (
        b"0",
        b"-1",
        b"99999999",
        b"4294967295",
        b"2147483648",
        b"-9223372036854775809",
        b"1e999",
        b"NaN",
        b"9" * 400,
    )
    found = list(re.finditer(rb"\d+", data))
    if found and draw.random() < 0.75:
        for match in sorted(draw.sample(found, min(len(found), draw.choice((1, 2, 6)))), key=lambda m: -m.start()):
            data = data[: match.start()] + draw.choice(odd) + data[match.end() :]
        return data
    if len(data) < 8:
        return data
    at = min(_place(draw, data), len(data) - 4)
    value = draw.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data), 0xFFFF))
    return data[:at] + struct.pack(draw.choice("<>") + "I", value) + data[at + 4 :]


_PIECES: Final = (
    b"<", b">", b"&", b'"', b"{", b"}", b"\\", b"\\u", b"\\bin999999999 ", b"]]>", b"<!--", b"<![CDATA[", b"\0",
    b"\xed\xa0\x80", b"\xff\xfe", b"endobj", b"stream\n", b"/Kids [1 0 R]", b"<</", b"\r\n\r\n", b"--", b"xmlns=",
    b"&#x110000;", b"&#0;", b"\\'zz", b"[[[[", b"null", b"<w:tbl>", b"<table>", b"<tr>", b"colspan='99999'",
)  # fmt: skip


def peppered(draw: random.Random, data: bytes) -> bytes:
    """Pieces of syntax where they do not belong."""
    for _ in range(draw.choice((1, 3, 10))):
        at = draw.randrange(len(data) + 1)
        data = data[:at] + draw.choice(_PIECES) + data[at:]
    return data


def unlabelled(draw: random.Random, data: bytes) -> bytes:
    """Names of elements, attributes or keys are taken away or exchanged."""
    names = sorted(set(re.findall(rb"[A-Za-z_:][\w:.-]{1,30}", data)))
    if len(names) < 2:
        return flipped(draw, data)
    for _ in range(draw.choice((1, 2, 4))):
        one, other = draw.sample(names, 2)
        data = data.replace(one, draw.choice((other, b"", one + b"x")), draw.choice((-1, 1)))
    return data


_DAMAGES: Final = (
    flipped, overwritten, truncated, beheaded, swapped, doubled, renumbered, peppered, unlabelled,
)  # fmt: skip


def inside(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """A container whose parts are damaged, missing, doubled or exchanged, and which is itself whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    names = [name for name in parts if parts[name]]
    likely = [
        name
        for name in names
        if re.search(r"document|content|sheet|slide\d|book|a\.xhtml|types|rels", name, re.IGNORECASE)
    ]
    name = draw.choice(likely if likely and draw.random() < 0.7 else names)
    how = draw.choice(("damaged", "damaged", "damaged", "missing", "exchanged", "emptied", "doubled"))
    if how == "damaged":
        damage = draw.choice(_DAMAGES)
        parts[name] = damage(draw, parts[name])
        return f"part {damage.__name__}", _zip(dict(parts))
    if how == "missing":
        del parts[name]
    elif how == "exchanged":
        other = draw.choice(names)
        parts[name], parts[other] = parts[other], parts[name]
    elif how == "emptied":
        parts[name] = b""
    else:
        stream = io.BytesIO(_zip(dict(parts)))
        with zipfile.ZipFile(stream, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice, which is meant
            archive.writestr(zipfile.ZipInfo(name), parts[draw.choice(names)])
        return "part doubled", stream.getvalue()
    return f"part {how}", _zip(dict(parts))


def _pdf_streams(draw: random.Random, data: bytes) -> bytes:
    """A PDF whose content streams are damaged before they are packed again."""
    found = list(re.finditer(rb"stream\r?\n(.*?)\s*endstream", data, re.DOTALL))
    match = draw.choice(found)
    damaged = draw.choice(_DAMAGES)(draw, match[1])
    return data[: match.start(1)] + damaged + data[match.end(1) :]


def mutated(number: int, salt: int = 2026) -> Broken:
    """The broken file with that number: formats take turns, all else is drawn from the number."""
    draw = random.Random(f"{salt}/{number}")
    kind = list(SEEDS)[number % len(SEEDS)]
    data = seed(kind)
    share = draw.random()
    if share < 0.05:
        other = draw.choice([name for name in SEEDS if name != kind])
        cut, into = _place(draw, data), _place(draw, seed(other))
        how, content = f"spliced with {other}", data[:cut] + seed(other)[into:]
    elif share < 0.09:
        other = draw.choice([name for name in SEEDS if name.rpartition(".")[2] != kind.rpartition(".")[2]])
        return Broken(number, f"{number:05}.{other}", kind, "wrong name", flipped(draw, data) if share < 0.07 else data)
    elif data.startswith(b"PK") and share < 0.75:
        how, content = inside(draw, data)
    elif kind.endswith("pdf") and share < 0.3:
        how, content = "stream", _pdf_streams(draw, data)
    else:
        damage = draw.choice(_DAMAGES)
        how, content = damage.__name__, damage(draw, data)
        if share > 0.9:
            more = draw.choice(_DAMAGES)
            how, content = f"{how}, {more.__name__}", more(draw, content or b"x")
    return Broken(number, f"{number:05}.{kind}", kind, how, content or b"\0")


# --- bombs -----------------------------------------------------------------------------------------------

_XML: Final = "<?xml version='1.0' encoding='utf-8'?>"
_LAUGHS: Final = (
    "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 11)) + "]>"
)
_OUTSIDE: Final = "<!DOCTYPE x [<!ENTITY a10 SYSTEM 'file:///etc/passwd'>]>"
_WORD: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def _replaced(kind: str, name: str, content: bytes | str | Callable[[bytes], bytes]) -> bytes:
    """A valid container with one part changed."""
    with zipfile.ZipFile(io.BytesIO(seed(kind))) as archive:
        parts: dict[str, bytes | str] = {info.filename: archive.read(info) for info in archive.infolist()}
    old = parts[name]
    assert isinstance(old, bytes)
    parts[name] = content(old) if callable(content) else content
    return _zip(parts)


def _word(body: str) -> str:
    return f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'


def _pdf_of(objects: list[bytes], root: int = 1, size: int | None = None) -> bytes:
    """A PDF of these objects, numbered from 1, with a true table of where they stand."""
    out, places = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer <</Size %d /Root %d 0 R>>\nstartxref\n%d\n%%%%EOF" % (size or len(objects) + 1, root, table)


def _pdf_pages(count: int, box: bytes = b"[0 0 595 842]", extra: bytes = b"") -> bytes:
    kids = b"4 0 R " * count
    font = b"<</Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>"
    content = b"BT /F1 12 Tf 60 700 Td (Un texte.) Tj ET " + extra
    return _pdf_of(
        [
            b"<</Type /Catalog /Pages 2 0 R>>",
            b"<</Type /Pages /Count %d /Kids [%b]>>" % (count, kids),
            b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
            b"<</Type /Page /Parent 2 0 R /MediaBox %b /Resources %b /Contents 3 0 R>>" % (box, font),
        ]
    )


def _pdf_book(pages: int) -> bytes:
    """A PDF of so many pages full of words, each other than the last."""
    kids = b"".join(b"%d 0 R " % (2 * number + 3) for number in range(pages))
    objects = [b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Count %d /Kids [%b]>>" % (pages, kids)]
    font = b"<</Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>"
    for page in range(pages):
        lines = b"".join(b"(%d un deux trois quatre cinq six sept huit %d) Tj 0 -11 Td " % (n, page) for n in range(60))
        content = b"BT /F1 9 Tf 60 780 Td " + lines + b"ET"
        objects.append(
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources %b /Contents %d 0 R>>"
            % (font, 2 * page + 4)
        )
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(content), content))
    return _pdf_of(objects)


def _pdf_stream(packed: bytes, filters: bytes) -> bytes:
    return _pdf_of(
        [
            b"<</Type /Catalog /Pages 2 0 R>>",
            b"<</Type /Pages /Count 1 /Kids [4 0 R]>>",
            b"<</Length %d /Filter %b>>stream\n%b\nendstream" % (len(packed), filters, packed),
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 3 0 R>>",
        ]
    )


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _tiff_looping() -> bytes:
    """A TIFF whose second directory is its first."""
    data = bytearray(seed("tif"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    return bytes(data)


def _nested_zip(depth: int) -> bytes:
    content = _zip({"note.txt": "\n".join(TEXT)})
    for level in range(depth):
        content = _zip({f"{level}.zip": content, "note.txt": TEXT[0]})
    return content


def _overlapping_zip(members: int = 2000) -> bytes:
    """Members that all expand the same bytes, as zip bombs without nesting do."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(500_000)) + packer.flush()
    crc = zlib.crc32(bytes(500_000))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), 500_000, 5, 0) + b"0.txt" + packed
    central = b""
    for number in range(members):
        name = f"{number}.txt".encode()
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), 500_000, len(name), 0, 0, 0, 0, 0, 0
        ) + name  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, members, members, len(central), len(local), 0)
    return local + central + end


def _mails(depth: int) -> bytes:
    inner = _eml()
    for level in range(depth):
        head = f'Subject: {level}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b{level}"\n\n'
        inner = head.encode() + f"--b{level}\nContent-Type: message/rfc822\n\n".encode() + inner
        inner += f"\n--b{level}--\n".encode()
    return inner


def _lines(megabytes: int, line: str) -> bytes:
    return (line.encode() * (megabytes * 1_000_000 // len(line.encode()) + 1))[: megabytes * 1_000_000]


def _law_nested(depth: int) -> bytes:
    article = seed("article.xml").decode()
    return re.sub(
        r"<CONTENU>.*</CONTENU>", f"<CONTENU>{'<p>' * depth}x{'</p>' * depth}</CONTENU>", article, flags=re.DOTALL
    ).encode()


QUICK: Final[dict[str, Callable[[], bytes]]] = {
    # zip: ratio, members that share bytes, archives in archives, lies
    "ratio.docx": lambda: _replaced("docx", "word/document.xml", _word("<w:p/>" * 4_000_000)),
    "ratio.zip": lambda: _zip({"a.txt": bytes(60_000_000)}),
    "nested.zip": lambda: _nested_zip(30),
    "overlap.zip": _overlapping_zip,
    "members.zip": lambda: _zip(dict.fromkeys(map(str, range(60_000)), ""), zipfile.ZIP_STORED),
    "paths.zip": lambda: _zip(
        {"../../a.txt": "x", "/etc/b.txt": "x", "C:\\c.txt": "x", "a\0b.txt": "x", "ok.txt": TEXT[0]}
    ),
    # entities
    "laughs.docx": lambda: _replaced(
        "small.docx", "word/document.xml", _XML + _LAUGHS + _word("<w:p><w:r><w:t>&a10;</w:t></w:r></w:p>")
    ),
    "laughs.odt": lambda: _replaced("odt", "content.xml", lambda old: (_XML + _LAUGHS).encode() + b"<x>&a10;</x>"),
    "laughs.xml": lambda: (
        seed("article.xml").replace(b"<ARTICLE>", _LAUGHS.encode() + b"<ARTICLE>").replace(b"<p>", b"<p>&a10;")
    ),
    "outside.xml": lambda: (
        seed("article.xml").replace(b"<ARTICLE>", _OUTSIDE.encode() + b"<ARTICLE>").replace(b"<p>", b"<p>&a10;")
    ),
    "laughs.html": lambda: (_LAUGHS + "<html><body><p>&a10;</p></body></html>").encode(),
    "outside.docx": lambda: _replaced(
        "small.docx", "word/document.xml", _XML + _OUTSIDE + _word("<w:p><w:r><w:t>&a10;</w:t></w:r></w:p>")
    ),
    "laughs.epub": lambda: _replaced("epub", "OPS/book.opf", lambda old: (_XML + _LAUGHS).encode() + old),
    # depth
    "deep.html": lambda: b"<html><body>" + b"<div>" * 100_000 + b"x" + b"</div>" * 100_000,
    "deep-lists.html": lambda: b"<html><body>" + b"<ul><li>" * 100_000 + b"x",
    "deep-tables.html": lambda: b"<html><body>" + b"<table><tr><td>" * 50_000 + b"x",
    "deep.docx": lambda: _replaced(
        "small.docx", "word/document.xml", _word("<w:sdt>" * 100_000 + "</w:sdt>" * 100_000)
    ),
    "deep-tables.docx": lambda: _replaced(
        "small.docx",
        "word/document.xml",
        _word("<w:tbl><w:tr><w:tc>" * 30_000 + "<w:p/>" + "</w:tc></w:tr></w:tbl>" * 30_000),
    ),
    "deep.odt": lambda: _replaced(
        "odt", "content.xml", lambda old: re.sub(rb"(<office:text[^>]*>)", rb"\1" + b"<text:section>" * 100_000, old)
    ),
    "deep.rtf": lambda: b"{\\rtf1 " + b"{" * 100_000 + b"x" + b"}" * 100_000 + b"}",
    "deep-fields.rtf": lambda: b"{\\rtf1 " + b"{\\field{\\fldrslt " * 50_000 + b"x",
    "deep.jsonl": lambda: seed("jsonl") + b'\n{"kind": "article", "blocks": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep-first.jsonl": lambda: b'{"vauban": ' + b"[" * 100_000 + b"\n",
    "deep.xml": lambda: _law_nested(100_000),
    "deep.md": lambda: b"> " * 50_000 + b"x\n" + b"- " * 50_000 + b"x\n",
    "deep-brackets.md": lambda: b"# x\n\n" + b"[" * 100_000 + b"x" + b"](" * 50_000,
    "deep.eml": lambda: _mails(60),
    "deep-parts.eml": lambda: b"MIME-Version: 1.0\n" + b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 20_000,
    # pdf
    "pages.pdf": lambda: _pdf_pages(100_000),
    "box.pdf": lambda: _pdf_pages(1, b"[0 0 1e30 1e30]"),
    "box-negative.pdf": lambda: _pdf_pages(1, b"[-99999999999 0 99999999999 99999999999]"),
    "loop.pdf": lambda: _pdf_of(
        [b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Count 100 /Kids [2 0 R 2 0 R]>>"]
    ),
    "count.pdf": lambda: _pdf_of([b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Count 2147483647 /Kids []>>"]),
    "size.pdf": lambda: _pdf_of([b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Count 0>>"], size=2_000_000_000),
    "outline.pdf": lambda: _pdf_of(
        [
            b"<</Type /Catalog /Pages 2 0 R /Outlines 5 0 R>>",
            b"<</Type /Pages /Count 1 /Kids [3 0 R]>>",
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            b"/Resources <</Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>>>",
            b"<</Length 41>>stream\nBT /F1 12 Tf 60 700 Td (Un texte.) Tj ET \nendstream",
            b"<</First 6 0 R /Last 6 0 R /Count 1>>",
            b"<</Title (x) /Parent 5 0 R /Next 6 0 R /First 6 0 R /Dest [3 0 R /Fit]>>",
        ]
    ),
    "flate.pdf": lambda: _pdf_stream(
        zlib.compress(zlib.compress(zlib.compress(bytes(200_000_000), 9), 9), 9),
        b"[/FlateDecode /FlateDecode /FlateDecode]",
    ),
    "filters.pdf": lambda: _pdf_stream(b"x" * 1000, b"[" + b"/ASCIIHexDecode " * 20_000 + b"]"),
    "objects.pdf": lambda: _pdf_stream(zlib.compress(b"1 0 R " * 100_000), b"/FlateDecode").replace(
        b"<</Length", b"<</Type /ObjStm /N 100000 /First 0 /Extends 3 0 R /Length", 1
    ),
    "forms.pdf": lambda: _pdf_pages(1, extra=b"/X Do " * 1000).replace(b"<</Font", b"<</XObject <</X 3 0 R>> /Font", 1),
    "glyphs.pdf": lambda: _pdf_pages(1, extra=b"BT /F1 1 Tf 60 600 Td " + b"(abcdefghij) Tj " * 100_000 + b"ET"),
    "paths.pdf": lambda: _pdf_pages(1, extra=b"0 0 m 500 800 l 10 10 100 100 re S " * 60_000),
    # pictures
    "claims.png": lambda: _png_claiming(2_000_000_000, 2_000_000_000),
    "large.png": lambda: _png_claiming(30_000, 30_000),
    "loop.tif": _tiff_looping,
    "claims.gif": lambda: (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\1\0;"
    ),
    "claims.bmp": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    # tables
    "columns.csv": lambda: ";".join(map(str, range(1_000_000))).encode() + b"\n" + b";" * 999_999 + b"x\n",
    "repeat.ods": lambda: _replaced(
        "ods",
        "content.xml",
        lambda old: old.replace(
            b"<table:table-cell", b'<table:table-cell table:number-columns-repeated="1000000"'
        ).replace(b"<table:table-row", b'<table:table-row table:number-rows-repeated="1000000"'),
    ),
    "far.xlsx": lambda: _replaced(
        "xlsx",
        "xl/worksheets/sheet1.xml",
        lambda old: old.replace(b'r="C4"', b'r="XFD1048576"').replace(b'r="4"', b'r="1048576"'),
    ),
    "merged.xlsx": lambda: _replaced(
        "xlsx", "xl/worksheets/sheet1.xml", lambda old: old.replace(b'ref="A6:B7"', b'ref="A1:XFD1048576"')
    ),
    "spans.html": lambda: (
        b"<html><body><table>" + b"<tr><td colspan=99999 rowspan=65534>x</td></tr>" * 500 + b"</table>"
    ),
    "spans.docx": lambda: _replaced(
        "small.docx",
        "word/document.xml",
        _word(
            "<w:tbl>" + "<w:tr><w:tc><w:tcPr><w:gridSpan w:val='100000000'/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p>"
            "</w:tc></w:tr>" * 50 + "</w:tbl>"
        ),
    ),
    "spaces.odt": lambda: _replaced(
        "odt", "content.xml", lambda old: re.sub(rb"(<text:p[^>]*>)", rb'\1<text:s text:c="2000000000"/>', old)
    ),
    "bin.rtf": lambda: seed("rtf")[:-1] + b"\\bin2147483647 x}",
    "unicode.rtf": lambda: b"{\\rtf1\\uc2000000000 " + b"\\u233?" * 50_000 + b"}",
    # text that is hard on patterns
    "spaces.txt": lambda: b"Article 1" + b" " * 2_000_000 + b"\n",
    "dots.txt": lambda: b"1." * 1_000_000,
    "dashes.md": lambda: b"|" + b"-|" * 500_000 + b"\n" + b"|" + b"-|" * 500_000,
    "stars.md": lambda: b"*a **b " * 200_000,
    "quotes.csv": lambda: b'"a;' * 500_000,
    "tags.html": lambda: b"<html><body>" + b"<a <b " * 300_000,
    "comments.html": lambda: b"<html><body>" + b"<!-- " * 300_000,
    "romans.txt": lambda: b"\n".join(b"IVXLCDM" * 3000 + b"." for _ in range(50)),
    "articles.txt": lambda: b"Article L. 1-1 " * 150_000,
    "headers.eml": lambda: b"Subject: x\nMIME-Version: 1.0\n" + b"X: y\n" * 300_000 + b"\nx",
    "encoded.eml": lambda: b"MIME-Version: 1.0\nSubject: " + b"=?utf-8?q?=" * 100_000 + b"\n\nx",
    "boundary.eml": lambda: b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\n" * 200_000,
    "signs.txt": lambda: ("e" + "\u0301" * 1_000_000 + "\u202e\u200b\ufeff" * 100_000).encode(),
    "encoding.txt": lambda: bytes(range(128, 256)) * 20_000,
    "charset.html": lambda: b"<html><meta charset=utf-7><body><p>+ADw-script+AD4-</p>" + b"\xff\xfe" * 1000,
}
"""Bombs that are small to make, and that cost a reader little or are refused."""

LONG: Final[dict[str, Callable[[], bytes]]] = {
    "line.txt": lambda: _lines(50, "Le congé annuel est de vingt-cinq jours ouvrés par an "),
    "lines.txt": lambda: _lines(50, "Un.\n\n"),
    "letters.txt": lambda: b"a" * 50_000_000,
    "line.md": lambda: b"# x\n\n" + _lines(50, "*un* [deux](trois) `quatre` "),
    "line.html": lambda: b"<html><body><p>" + _lines(50, "un <b>deux</b> &eacute; "),
    "line.csv": lambda: _lines(50, "un;deux;trois;\n"),
    "line.rtf": lambda: b"{\\rtf1 " + _lines(50, "un \\b deux\\b0 "),
    "line.jsonl": lambda: b'{"_id": "1", "text": "' + _lines(50, "un deux ") + b'"}\n',
    "line.eml": lambda: b"MIME-Version: 1.0\nSubject: x\n\n" + _lines(50, "un deux "),
    "lines.jsonl": lambda: b'{"_id": "1", "text": "un", "article": "1"}\n' * 500_000,
    "articles.txt": lambda: _lines(20, "Article 1\n\nUn deux.\n\n"),
    "paragraphs.docx": lambda: _replaced(
        "small.docx",
        "word/document.xml",
        _word("".join(f"<w:p><w:r><w:t>{n} un deux</w:t></w:r></w:p>" for n in range(500_000))),
    ),
    "cells.xlsx": lambda: _replaced(
        "xlsx",
        "xl/worksheets/sheet1.xml",
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        + "".join(f'<row r="{n}">' + f"<c><v>{n}</v></c>" * 20 + "</row>" for n in range(1, 60_000))
        + "</sheetData></worksheet>",
    ),
    "text.pdf": lambda: _pdf_book(2_000),
    "many.zip": lambda: _zip({f"{n}.txt": TEXT[n % 3] + str(n) for n in range(5_000)}),
    "wide.png": lambda: _png_claiming(9_000, 9_000),
}
"""Bombs that are long to read or to make: they run against the limits of time and memory."""


def bombs(*, long: bool) -> Iterator[Broken]:
    """Every bomb, and with ``long`` those that run against the limits too; numbered from 100,000."""
    made = {**QUICK, **({f"long-{name}": make for name, make in LONG.items()} if long else {})}
    for number, (name, make) in enumerate(made.items(), 100_000):
        yield Broken(number, f"{number}-{name}", name.rpartition(".")[2], f"bomb {name}", make())


def broken_files(count: int, *, long: bool) -> Iterator[Broken]:
    """So many files: the bombs first, then as many mutations as are left, all formats in turn."""
    made = 0
    for bomb in bombs(long=long):
        yield bomb
        made += 1
    for number in range(count - made):
        yield mutated(number)
