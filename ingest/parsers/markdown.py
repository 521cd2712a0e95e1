"""Markdown by markdown-it-py: headings, lists with their numbers, tables; raw HTML is read as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.parsers import Limits
from ingest.parsers.html import fragment
from ingest.parsers.tables import table
from ingest.parsers.text import decode, without_front_matter
from ingest.sniff import File, Kind
from rag.types import Block, BlockKind, Parsed


class MarkdownParser:
    """CommonMark with pipe tables."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.MARKDOWN

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        text = without_front_matter(decode(file.read()))
        blocks = _blocks(MarkdownIt("commonmark").enable("table").parse(text))
        headings = [block for block in blocks if block.kind is BlockKind.HEADING]
        return Parsed(tuple(blocks), Kind.MARKDOWN.value, title=headings[0].text if headings else None)


def _blocks(tokens: Sequence[Token]) -> list[Block]:
    blocks: list[Block] = []
    heading: int | None = None
    lists: list[int | None] = []
    """For each open list the number of its next item, ``None`` for a bulleted one."""
    marker: str | None = None
    rows: list[list[str]] | None = None
    for token in tokens:
        match token.type:
            case "heading_open":
                heading = int(token.tag[1:])
            case "heading_close":
                heading = None
            case "bullet_list_open":
                lists.append(None)
            case "ordered_list_open":
                lists.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "list_item_open":
                number = lists[-1]
                marker = "-" if number is None else f"{number}{token.markup}"
                lists[-1] = None if number is None else number + 1
            case "table_open":
                rows = []
            case "tr_open" if rows is not None:
                rows.append([])
            case "table_close" if rows is not None:
                blocks.append(table([tuple(row) for row in rows]))
                rows = None
            case "inline" if rows:
                rows[-1].append(_words(token).replace("\n", " "))
            case "inline" if heading is not None:
                blocks.append(Block(BlockKind.HEADING, " ".join(_words(token).split()), heading))
            case "inline" if lists and marker is not None:
                blocks.append(Block(BlockKind.ITEM, f"{marker} {_words(token)}"))
                marker = None
            case "inline":
                blocks.append(Block(BlockKind.ITEM if lists else BlockKind.PARAGRAPH, _words(token)))
            case "fence" | "code_block":
                blocks.append(Block(BlockKind.PARAGRAPH, token.content.strip()))
            case "html_block":
                blocks += fragment(token.content)
            case _:
                pass
    return [block for block in blocks if block.text.strip()]


def _words(token: Token) -> str:
    """The text of a line without its marks; links and pictures by their words."""
    pieces = []
    for child in token.children or []:
        if child.type in {"text", "code_inline"}:
            pieces.append(child.content)
        elif child.type in {"softbreak", "hardbreak"}:
            pieces.append("\n")
        elif child.type == "image":
            pieces.append(child.content)
    return "".join(pieces).strip()
