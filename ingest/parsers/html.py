"""HTML by lxml: the main content without navigation, cookie banners and footers; scripts never."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lxml import etree, html

from ingest.parsers import Limits
from ingest.parsers.tables import table
from ingest.parsers.text import decode
from ingest.sniff import File, Kind
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

_NEVER: Final = frozenset(
    "script style noscript template svg canvas iframe object embed audio video button select input textarea "
    "nav footer aside dialog head map math".split()
)
_FURNITURE: Final = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|breadcrumbs?|fil-?ariane|ariane|cookies?|consent|rgpd|gdpr|footer|sidebar|"
    r"skip-?links?|share|sharing|partage|partager|social|reseaux|newsletter|advert\w*|banner|bandeau|toolbar|print|search|"
    r"related|pagination|pager|popup|modal|login|outils|tools)(?:$|[\s_-])",
    re.IGNORECASE,
)
_FURNITURE_ROLES: Final = frozenset(
    "navigation banner contentinfo search complementary dialog alertdialog menu menubar".split()
)
_HIDDEN: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CONTENT: Final = re.compile(
    r"(?:^|[\s_-])(?:main|content|contenu|article|texte|post|entry|page)(?:$|[\s_-])", re.IGNORECASE
)
_BLOCK: Final = frozenset(
    "address article blockquote body center dd details div dl dt fieldset figcaption figure form header hgroup hr html "
    "legend main p pre section summary tbody td tfoot th thead tr ul ol caption".split()
)
_DECLARED: Final = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_MOST_SPAN: Final = 200
"""Rows or columns that one cell may cover; hostile tables ask for millions."""
_LEAST_SHARE: Final = 0.4
"""Share of the page's text that a candidate must hold to be taken for its main content."""


class HtmlParser:
    """Web pages, whole or in fragments."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.HTML

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        data = file.read()
        declared = _DECLARED.search(data[:8192])
        text = decode(data, declared[1].decode("ascii") if declared else None)
        parser = html.HTMLParser(
            no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, encoding="utf-8"
        )
        try:
            root = html.document_fromstring(text.encode(), parser=parser)
        except (etree.ParserError, etree.XMLSyntaxError, ValueError, AssertionError) as error:
            raise DocumentError(
                RejectReason.CORRUPT, "the page cannot be read as HTML", "la page n'est pas du HTML lisible"
            ) from error
        title = root.findtext(".//title")
        _prune(root)
        writer = _Writer()
        writer.walk(_main(root))
        return Parsed(tuple(writer.finished()), Kind.HTML.value, title=" ".join(title.split()) if title else None)


def _prune(root: html.HtmlElement) -> None:
    """Drop what is not content: scripts, furniture, hidden elements."""
    for element in list(root.iter(etree.Element)):
        if element.tag in {"html", "body", "main", "article"} or element.getparent() is None:
            continue
        name = f"{element.get('id') or ''} {element.get('class') or ''}"
        furniture = (
            element.tag in _NEVER
            or element.get("role", "").lower() in _FURNITURE_ROLES
            or element.get("hidden") is not None
            or element.get("aria-hidden") == "true"
            or _HIDDEN.search(element.get("style", "")) is not None
            or (_FURNITURE.search(name) is not None and _share(element, root) < _LEAST_SHARE)
            or (element.tag == "header" and _length(element) < 2000 and element.find(".//h1") is None)
        )
        if furniture:
            element.drop_tree()


def _length(element: html.HtmlElement) -> int:
    return sum(len(text.strip()) for text in element.itertext())


def _share(element: html.HtmlElement, root: html.HtmlElement) -> float:
    return _length(element) / max(1, _length(root))


def _main(root: html.HtmlElement) -> html.HtmlElement:
    """The element that holds the main content: the smallest declared one with enough of the text, else the body."""
    body = root.find("body")
    body = root if body is None else body
    candidates = [
        element
        for element in body.iter("main", "article", "div", "section")
        if element.tag in {"main", "article"}
        or element.get("role") == "main"
        or _CONTENT.search(f"{element.get('id') or ''} {element.get('class') or ''}")
    ]
    whole = max(1, _length(body))
    fitting = [element for element in candidates if _length(element) >= _LEAST_SHARE * whole]
    declared = [element for element in fitting if element.tag == "main" or element.get("role") == "main"]
    return declared[0] if declared else (fitting[0] if fitting else body)


class _Writer:
    """Collects blocks while the tree is walked in reading order."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._words: list[str] = []
        self._kind = BlockKind.PARAGRAPH
        self._level: int | None = None
        self._marker = ""

    def finished(self) -> list[Block]:
        self._flush()
        return self._blocks

    def _flush(self) -> None:
        text = " ".join("".join(self._words).split())
        if text:
            self._blocks.append(Block(self._kind, f"{self._marker}{text}", self._level))
            self._marker = ""
        self._words = []

    def walk(self, element: html.HtmlElement, depth: int = 0) -> None:
        if depth > 200:  # beyond any page made by people
            return
        tag = element.tag
        if tag == "table":
            self._flush()
            self._table(element)
        elif tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self._as(element, BlockKind.HEADING, int(tag[1]), "", depth)
        elif tag == "li":
            self._as(element, BlockKind.ITEM, None, _marker(element), depth)
        elif tag == "br":
            self._words.append("\n")
        elif tag in _BLOCK:
            self._flush()
            self._children(element, depth)
            self._flush()
        else:
            self._children(element, depth)
        if tag == "td":
            self._words.append(" ")

    def _as(self, element: html.HtmlElement, kind: BlockKind, level: int | None, marker: str, depth: int) -> None:
        self._flush()
        before = self._kind, self._level
        self._kind, self._level, self._marker = kind, level, marker
        self._children(element, depth)
        self._flush()
        self._kind, self._level = before
        self._marker = ""

    def _children(self, element: html.HtmlElement, depth: int) -> None:
        self._words.append(element.text or "")
        for child in element:
            if isinstance(child.tag, str):
                self.walk(child, depth + 1)
            self._words.append(child.tail or "")

    def _table(self, element: html.HtmlElement) -> None:
        rows = list(_rows(element))
        if not rows:
            return
        if max(len(row) for row in rows) == 1:  # a table for layout
            self._blocks += [Block(BlockKind.PARAGRAPH, row[0]) for row in rows if row[0].strip()]
            return
        self._blocks.append(table(rows))


def _marker(item: html.HtmlElement) -> str:
    parent = item.getparent()
    if parent is None or parent.tag != "ol":
        return "- "
    start = parent.get("start", "1")
    place = sum(1 for before in item.itersiblings("li", preceding=True))
    return f"{(int(start) if start.isdigit() and len(start) < 6 else 1) + place}. "


def _rows(element: html.HtmlElement) -> Iterator[tuple[str, ...]]:
    """The rows of a table, a cell that spans rows or columns repeated in each; inner tables as words of their cell."""
    held: dict[int, tuple[int, str]] = {}
    for row in element.iter("tr"):
        owner = next(row.iterancestors("table"), None)
        if owner is not element:
            continue
        cells: list[str] = []

        def carry(cells: list[str] = cells) -> None:
            while len(cells) in held:
                left, text = held.pop(len(cells))
                if left > 1:
                    held[len(cells)] = (left - 1, text)
                cells.append(text)

        for cell in row.iterchildren("td", "th"):
            carry()
            text = " ".join(" ".join(_texts(cell)).split())
            for _ in range(_span(cell, "colspan")):
                if _span(cell, "rowspan") > 1:
                    held[len(cells)] = (_span(cell, "rowspan") - 1, text)
                cells.append(text)
        carry()
        if any(cells):
            yield tuple(cells)


def _texts(cell: html.HtmlElement) -> Iterator[str]:
    """The words of a cell; a line break or block inside it becomes a space, inline marks join words."""
    inline = {"a", "b", "i", "em", "strong", "span", "sup", "sub", "u", "abbr", "small", "font"}
    pieces: list[str] = []
    for event, element in etree.iterwalk(cell, events=("start", "end")):
        if not isinstance(element.tag, str):
            continue
        if event == "start":
            if element.tag not in inline:
                pieces.append(" ")
            pieces.append(element.text or "")
        else:
            if element.tag not in inline:
                pieces.append(" ")
            if element is not cell:
                pieces.append(element.tail or "")
    yield "".join(pieces)


def _span(cell: html.HtmlElement, name: str) -> int:
    value = cell.get(name, "1").strip()
    return max(1, min(int(value), _MOST_SPAN)) if value.isdigit() and len(value) < 6 else 1
