"""Documents in windows of some thousand chunks, so that what is read of them at once stays a few MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingest.pipeline import WINDOW
from rag.catalog import DocumentRow


def windows(rows: Iterable[DocumentRow], size: int = WINDOW) -> Iterator[list[DocumentRow]]:
    """``rows`` in their order; a window ends with the document that fills it."""
    window: list[DocumentRow] = []
    chunks = 0
    for row in rows:
        window.append(row)
        chunks += row.chunks
        if chunks >= size:
            yield window
            window, chunks = [], 0
    if window:
        yield window
