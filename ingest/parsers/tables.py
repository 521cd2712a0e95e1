"""Tables as blocks, the same from every format."""

from __future__ import annotations

from collections.abc import Sequence

from rag.types import Block, BlockKind


def table(rows: Sequence[Sequence[str]], page: int | None = None) -> Block:
    """A table as a block: its rows, all of the same width, and their text for readers of plain text."""
    width = max((len(row) for row in rows), default=0)
    even = tuple(tuple(" ".join(cell.split()) for cell in (*row, *("",) * (width - len(row)))) for row in rows)
    kept = tuple(row for row in even if any(row))
    return Block(BlockKind.TABLE, "\n".join(" | ".join(row) for row in kept), page=page, rows=kept)
