"""XLSX by openpyxl and ODS by odfdo: each visible sheet a heading, then its tables with their header row.

Values are read as they were last computed; formulas, links and macros are never followed.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final
from zipfile import BadZipFile

import openpyxl
from lxml import etree
from openpyxl.utils.exceptions import InvalidFileException

from ingest.parsers import Limits
from ingest.parsers.odt import OFFICE, STYLE, TABLE, TEXT, broken, parts, repeated, rows_of, words
from ingest.parsers.tables import titled
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

MOST_CELLS: Final = 2_000_000
"""Filled cells of one workbook; beyond, it is a database and not a regulation."""
_WIDEST: Final = 256
_TIME_FORMAT: Final = re.compile(r"(?<![\w\\])h{1,2}|AM/PM", re.IGNORECASE)
_GROUPED: Final = re.compile(r"#[,\s\u00a0\u202f]##0")
"""A format that shows thousands apart: « 1 370 000 », as the reader of the sheet sees it."""
_PLACES: Final = re.compile(r"0[.,](0+)")

Row = tuple[str, ...]


class SpreadsheetParser:
    """Workbooks of Excel 2007 and later, and OpenDocument spreadsheets."""

    def accepts(self, file: File) -> bool:
        return file.kind in {Kind.XLSX, Kind.ODS}

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        sheets, hidden = _xlsx(file) if file.kind is Kind.XLSX else _ods(file)
        blocks: list[Block] = []
        for name, rows in sheets:
            content = list(_blocks(rows))
            if content:
                blocks.append(Block(BlockKind.HEADING, name, 1))
                blocks += content
        notes = (f"{hidden} hidden sheets left out",) if hidden else ()
        return Parsed(tuple(blocks), file.kind.value, warnings=notes)


# --- a sheet as blocks ----------------------------------------------------------------------------------


def _blocks(rows: Sequence[Row]) -> Iterator[Block]:
    """Tables are parted by empty rows; a lone cell above or below is a paragraph."""
    group: list[Row] = []
    for row in [*rows, ()]:
        if any(row):
            group.append(row)
            continue
        yield from titled(group)
        group = []


# --- XLSX -----------------------------------------------------------------------------------------------


def _xlsx(file: File) -> tuple[list[tuple[str, list[Row]]], int]:
    sheets: list[tuple[str, list[Row]]] = []
    hidden = 0
    left = MOST_CELLS
    try:
        with warnings.catch_warnings(), file.open() as stream:
            warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions that it drops
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
            for sheet in book.worksheets:
                if sheet.sheet_state != "visible":
                    hidden += 1
                    continue
                rows: list[Row] = []
                for cells in sheet.iter_rows(max_col=_WIDEST):
                    row = tuple(_said(cell.value, str(cell.number_format or "")) for cell in cells)
                    left -= sum(map(bool, row))
                    if left < 0:
                        raise _too_long()
                    rows.append(row)
                sheets.append((sheet.title, rows))
            book.close()
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, InvalidFileException, LookupError, ValueError,
            TypeError, AttributeError, OSError, etree.XMLSyntaxError, SyntaxError) as error:  # fmt: skip
        raise DocumentError(RejectReason.CORRUPT, "the workbook is broken", "le classeur est abîmé") from error
    return sheets, hidden


def _too_long() -> DocumentError:
    return DocumentError(
        RejectReason.TOO_LONG,
        f"the workbook has more than {MOST_CELLS} filled cells",
        f"le classeur a plus de {MOST_CELLS} cellules remplies",
    )


def _said(value: Any, form: str) -> str:
    """A cell as text: dates in ISO form, whole numbers without a point, percentages as they show."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "VRAI" if value else "FAUX"
    if isinstance(value, dt.datetime):
        timed = value.time() != dt.time() or _TIME_FORMAT.search(form)
        return value.isoformat(sep=" ", timespec="seconds") if timed else value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, int | float) and _GROUPED.search(form):
        places = len(match[1]) if (match := _PLACES.search(form)) else 0
        suffix = " %" if form.rstrip().endswith("%") else ""
        return f"{value * 100 if suffix else value:,.{min(places, 10)}f}{suffix}".replace(",", " ")
    if isinstance(value, float):
        if form.rstrip().endswith("%"):
            return f"{round(value * 100, 4):g} %"
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{round(value, 10):.15g}"
    if isinstance(value, int) and form.rstrip().endswith("%"):
        return f"{value * 100} %"
    return " ".join(str(value).split())


# --- ODS ------------------------------------------------------------------------------------------------


def _ods(file: File) -> tuple[list[tuple[str, list[Row]]], int]:
    content, _, _ = parts(file)
    body = content.find(f"{OFFICE}body/{OFFICE}spreadsheet")
    if body is None:
        raise broken()
    concealed = {
        style.get(STYLE + "name")
        for style in content.iter(STYLE + "style")
        if any(child.get(TABLE + "display") == "false" for child in style)
    }
    sheets: list[tuple[str, list[Row]]] = []
    hidden = 0
    left = MOST_CELLS
    for element in body.iterchildren(TABLE + "table"):
        if element.get(TABLE + "style-name") in concealed:
            hidden += 1
            continue
        rows: list[Row] = []
        for row in rows_of(element):
            cells: list[str] = []
            for cell in row:
                if cell.tag in {TABLE + "table-cell", TABLE + "covered-table-cell"}:
                    cells += [_shown(cell)] * repeated(cell, "columns")
            line = tuple(cells[:_WIDEST])
            count = repeated(row, "rows") if any(line) else 1
            left -= count * sum(map(bool, line))
            if left < 0:
                raise _too_long()
            rows += [line] * count
        sheets.append((element.get(TABLE + "name", ""), rows))
    return sheets, hidden


def _shown(cell: Any) -> str:
    """A cell of an ODS: dates in ISO form, everything else as it shows."""
    date = cell.get(OFFICE + "date-value")
    if date:
        return str(date).replace("T", " ").removesuffix(" 00:00:00")
    return " ".join(words(paragraph) for paragraph in cell.iterchildren(TEXT + "p")).strip()
