"""Tables as blocks, the same from every format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rag.types import Block, BlockKind


def table(rows: Sequence[Sequence[str]], page: int | None = None) -> Block:
    """A table as a block: its rows, all of the same width, and their text for readers of plain text."""
    width = max((len(row) for row in rows), default=0)
    even = tuple(tuple(" ".join(cell.split()) for cell in (*row, *("",) * (width - len(row)))) for row in rows)
    kept = tuple(row for row in even if any(row))
    return Block(BlockKind.TABLE, "\n".join(" | ".join(row) for row in kept), page=page, rows=kept)


def titled(rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    """A table without the empty columns at its sides; the lines above it that fill one cell are paragraphs."""
    filled = [index for row in rows for index, cell in enumerate(row) if cell]
    if not filled:
        return
    left, right = min(filled), max(filled) + 1
    trimmed = [tuple(row[index] if index < len(row) else "" for index in range(left, right)) for row in rows]
    top = 0
    while top < len(trimmed) and sum(map(bool, trimmed[top])) == 1:
        yield Block(BlockKind.PARAGRAPH, next(cell for cell in trimmed[top] if cell))
        top += 1
    if top < len(trimmed):
        yield table(trimmed[top:])


def continued(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The rows of a table's next page under the header of the first, unless they repeat it already."""
    head = tuple(before[0])
    rows = tuple(tuple(row) for row in after)
    return rows if not rows or rows[0] == head else (head, *rows)
