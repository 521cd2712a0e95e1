"""Values parted by commas, semicolons or tabs as one table, its header row first; numbers stay as they are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final, Literal

from ingest.parsers import Limits
from ingest.parsers.tables import titled
from ingest.parsers.text import decode
from ingest.sniff import File, Kind, delimiter
from rag.errors import DocumentError, RejectReason
from rag.types import Parsed

MOST_ROWS: Final = 100_000
"""Rows of one file; beyond, it is an extract of a database and not a regulation."""


class CsvParser:
    """Tables written as text, in any common encoding."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.CSV

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        text = decode(file.read())
        sign = delimiter(text) or ","
        if text.startswith("sep="):
            text = text.partition("\n")[2]
        try:
            rows = list(_rows(text, sign, csv.QUOTE_MINIMAL))
        except csv.Error:  # a quotation mark that is never closed swallows the rest
            try:
                rows = list(_rows(text, sign, csv.QUOTE_NONE))
            except csv.Error as error:
                raise DocumentError(
                    RejectReason.CORRUPT, "the table cannot be read", "le tableau est illisible"
                ) from error
        return Parsed(tuple(titled(rows)), Kind.CSV.value)


def _rows(text: str, sign: str, quoting: Literal[0, 3]) -> Iterator[tuple[str, ...]]:
    """The filled rows, each cell in one line."""
    for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=sign, quoting=quoting, strict=True)):
        if number >= MOST_ROWS:
            raise DocumentError(
                RejectReason.TOO_LONG,
                f"the table has more than {MOST_ROWS} rows",
                f"le tableau a plus de {MOST_ROWS} lignes",
            )
        cells = tuple(" ".join(cell.split()) for cell in row)
        if any(cells):
            yield cells
