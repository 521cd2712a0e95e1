"""Plain text in any common encoding; lines that were wrapped are joined again."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

import charset_normalizer

from ingest.outline import opens_block
from ingest.parsers import Limits
from ingest.parsers.tables import table
from ingest.sniff import File, Kind
from rag.types import Block, BlockKind, Parsed

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LONGEST_FRONT_MATTER: Final = 65_536
_METADATA: Final = re.compile(r"\s|#|- |[\w-]+\s*:")
"""A line of YAML: a key, or what goes on from the line before."""
_LEAST_ROWS: Final = 3
_WIDEST_TABLE: Final = 400
_WIDEST_WRAP: Final = 120
"""Characters of the longest line that may still be wrapped text; beyond, each line is a paragraph."""
_NARROWEST_WRAP: Final = 30
"""The same of the shortest: nobody wraps a text more tightly, but addresses and signatures have such lines."""


class TextParser:
    """Text without markup."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.TEXT

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        text = without_front_matter(decode(file.read()))
        return Parsed(tuple(paragraphs(text)), Kind.TEXT.value)


def without_front_matter(text: str) -> str:
    """The text behind the metadata that stand before it between two lines of ``+++`` (TOML) or ``---`` (YAML).

    Only what has the form of metadata is taken for them: a line of dashes may also rule off a letter's head.
    """
    fence = text[:3]
    if fence not in {"+++", "---"} or text[3:].partition("\n")[0].strip():
        return text
    head, closed, body = text.partition("\n")[2].partition(f"\n{fence}")
    rest, ended, after = body.partition("\n")
    lines = [line for line in head.split("\n") if line.strip()]
    if not closed or rest.strip() or len(head) > _LONGEST_FRONT_MATTER:
        return text
    sign = "=" if fence == "+++" else ":"
    if not any(sign in line for line in lines) or (fence == "---" and not all(map(_METADATA.match, lines))):
        return text
    return after if ended else ""


def decode(data: bytes, declared: str | None = None) -> str:
    """The text of ``data``: by its byte order mark, else strict UTF-8, else as declared, else the likeliest encoding.

    Declarations are often wrong; bytes beyond ASCII that are valid UTF-8 hardly ever are anything else.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _clean(data.decode(encoding, errors="replace"))
    if b"\0" in data[:4096]:
        even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
        return _clean(data.decode("utf-16-le" if odd > even else "utf-16-be", errors="replace"))
    for tried in ("utf-8", declared):
        try:
            if tried:
                return _clean(data.decode(_widened(tried)))
        except (UnicodeDecodeError, LookupError):
            continue
    try:
        return _clean(data.decode("cp1252"))
    except UnicodeDecodeError:
        best = charset_normalizer.from_bytes(data).best()
        return _clean(str(best) if best is not None else data.decode("utf-8", errors="replace"))


def _widened(encoding: str) -> str:
    """Browsers read ISO-8859-1 and ASCII as windows-1252, and so do the people who declare them."""
    name = codecs.lookup(encoding).name
    return "cp1252" if name in {"iso8859-1", "ascii"} else name


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace("\ufeff", "")


def paragraphs(text: str) -> Iterator[Block]:
    """Blocks of a plain text: blank lines part paragraphs, wrapped lines are joined, aligned columns are tables."""
    lines = [line.rstrip() for line in text.replace("\f", "\n\n").expandtabs().split("\n")]
    width = _width(lines)
    for filled, run in itertools.groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            group = list(run)
            rows = _columns(group)
            if rows:
                yield table(rows)
            else:
                yield from _joined(group, width)


def _joined(lines: Sequence[str], width: int) -> Iterator[Block]:
    """The paragraphs of lines without a blank one between them."""
    group: list[str] = []
    for line in lines:
        if group and _parts(group[-1], line, width):
            yield Block(BlockKind.PARAGRAPH, " ".join(" ".join(group).split()))
            group = []
        group.append(line)
    yield Block(BlockKind.PARAGRAPH, " ".join(" ".join(group).split()))


def _columns(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """The rows of a table drawn with spaces: three lines or more, blank at the same places; else nothing."""
    longest = max(map(len, lines))
    if len(lines) < _LEAST_ROWS or longest > _WIDEST_TABLE:
        return []
    blank = [all(index >= len(line) or line[index] == " " for line in lines) for index in range(longest)]
    cuts = [
        index
        for index in range(2, longest)
        if not blank[index] and blank[index - 1] and blank[index - 2] and not all(blank[:index])
    ]
    rows = [tuple(line[start:end].strip() for start, end in itertools.pairwise([0, *cuts, longest])) for line in lines]
    empty = sum(not cell for row in rows for cell in row)
    return rows if cuts and empty < 0.3 * len(rows) * len(rows[0]) else []


def _width(lines: Sequence[str]) -> int:
    """The column at which the text was wrapped; 0 when its lines are whole paragraphs."""
    lengths = sorted(len(line) for line in lines if line.strip())
    if not lengths or not _NARROWEST_WRAP <= lengths[-1] <= _WIDEST_WRAP:
        return 0
    return lengths[-max(1, len(lengths) // 20)]


def _parts(before: str, line: str, width: int) -> bool:
    """Whether ``line`` begins a paragraph though no blank line says so: its first word would have fitted before."""
    if not width or opens_block(line.strip()):
        return True
    return len(before) + 1 + len(line.split()[0]) <= width - 8
