"""Read the Markdown in which the sample regulations are written: front matter, blocks, and their outline.

This is the truth that rendered files are compared with, so it reads only the small Markdown of our own sources
and refuses anything else.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rag.types import Block, BlockKind, NormRank

SOURCES = Path(__file__).parent / "sources"

_FENCE = "+++\n"
_HEADING = re.compile(r"(#+) (.+)")
_ITEM = re.compile(r"(?:- |[a-z]\) |\d+° )")
_RULE = re.compile(r"\|(?: *-+ *\|)+")
_NUMBER = re.compile(
    r"""(?P<word>Article|Section|§)\s+(?P<article>[LRD]\.\s?\*?[\d-]+|\d+(?:er)?(?:\s(?:bis|ter))?|premier)
      | (?P<annex>(?:Annexe|Annex)\s+\d+)
      | (?P<decimal>\d+(?:\.\d+)*)\.?\s""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One sample regulation with its metadata; ``format`` is the extension it is shipped with."""

    id: str
    title: str
    format: str
    corpus: str
    language: str
    norm_rank: NormRank
    valid_from: dt.date
    valid_to: dt.date | None
    supersedes: str | None
    groups: tuple[str, ...]
    blocks: tuple[Block, ...]
    body: str

    @property
    def name(self) -> str:
        """The name of the rendered file."""
        return f"{self.id}.{self.format}"


@dataclass(frozen=True, slots=True)
class Part:
    """A heading of a source with everything below it, its sub-headings included.

    ``path`` are the headings above it without the document's title; ``number`` is how questions name it.
    """

    heading: str
    number: str | None
    level: int
    path: tuple[str, ...]
    text: str


def read(path: Path) -> Source:
    """The source at ``path``.

    Raises:
        ValueError: it has no front matter, or a key that a source does not have.
    """
    text = path.read_text(encoding="utf-8")
    _, front, body = text.split(_FENCE, 2)
    meta = tomllib.loads(front)
    source = Source(
        id=meta.pop("id"),
        title=meta.pop("title"),
        format=meta.pop("format"),
        corpus=meta.pop("corpus"),
        language=meta.pop("language"),
        norm_rank=NormRank(meta.pop("norm_rank")),
        valid_from=meta.pop("valid_from"),
        valid_to=meta.pop("valid_to", None),
        supersedes=meta.pop("supersedes", None),
        groups=tuple(meta.pop("groups", ())),
        blocks=tuple(_blocks(body)),
        body=body.strip() + "\n",
    )
    if meta:
        raise ValueError(f"{path.name}: unknown keys in the front matter: {', '.join(meta)}")
    return source


def sources(folder: Path = SOURCES) -> tuple[Source, ...]:
    """Every source, by corpus and id."""
    return tuple(read(path) for path in sorted(folder.glob("*/*.md")))


def parts(source: Source) -> tuple[Part, ...]:
    """The headings of a source in reading order, the document's title left out."""
    found: list[Part] = []
    for place, block in enumerate(source.blocks):
        if block.level is None or block.level == 1:
            continue
        below = list(_below(source.blocks[place + 1 :], block.level))
        above = [part for part in found if part.level < block.level]
        path: list[str] = []
        level = block.level
        for part in reversed(above):
            if part.level < level:
                path.insert(0, part.heading)
                level = part.level
        found.append(
            Part(
                block.text,
                number(block.text, source.language),
                block.level,
                tuple(path),
                "\n".join([block.text, *map(_text, below)]),
            )
        )
    return tuple(found)


def number(heading: str, language: str) -> str | None:
    """What a heading is numbered with: ``1er``, ``R. 12-3``, ``Annexe 1``, ``2.1``; ``None`` for a division.

    A *Section* is an article in English texts and a division in French ones.
    """
    match = _NUMBER.match(heading)
    if match is None or (match["word"] == "Section" and language == "fr"):
        return None
    return match["article"] or match["annex"] or match["decimal"]


def _below(blocks: tuple[Block, ...], level: int) -> Iterator[Block]:
    for block in blocks:
        if block.level is not None and block.level <= level:
            return
        yield block


def _text(block: Block) -> str:
    return "\n".join(" | ".join(row) for row in block.rows) if block.rows else block.text


def _blocks(body: str) -> Iterator[Block]:
    """Headings, paragraphs, items and tables, in order; a blank line or another kind of line ends each."""
    paragraph: list[str] = []
    rows: list[tuple[str, ...]] = []
    for line in [*body.splitlines(), ""]:
        if rows and not line.startswith("|"):
            yield Block(BlockKind.TABLE, "", rows=tuple(rows))
            rows = []
        heading = _HEADING.fullmatch(line)
        item = _ITEM.match(line)
        if paragraph and (not line or heading or item or line.startswith("|")):
            yield Block(BlockKind.PARAGRAPH, " ".join(paragraph))
            paragraph = []
        if heading:
            yield Block(BlockKind.HEADING, heading[2].strip(), level=len(heading[1]))
        elif item:
            yield Block(BlockKind.ITEM, line.strip())
        elif line.startswith("|"):
            if not _RULE.fullmatch(line):
                rows.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
        elif line:
            paragraph.append(line.strip())
