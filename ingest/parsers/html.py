"""HTML by lxml: the main content without navigation, cookie banners and footers; scripts never.

A footnote follows the paragraph that calls it, where its sign stands in brackets; a term of a glossary stands before
its definition. The tree is never changed, only parts of it passed over: cutting them out costs too much where a
hostile page has a hundred thousand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree, html

from ingest.parsers import Limits
from ingest.parsers.figures import letters, roman
from ingest.parsers.tables import table
from ingest.parsers.text import decode
from ingest.parsers.unseen import Hiding
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
_FRAMES: Final = frozenset({"html", "body", "main", "article"})
_FURNITURE_ROLES: Final = frozenset(
    "navigation banner contentinfo search complementary dialog alertdialog menu menubar".split()
)
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


_MOST_CELLS: Final = 2_000_000
"""Cells of the tables of one page, spans counted."""
_DEEPEST: Final = 200
"""Elements inside each other; beyond any page made by people."""
_LONGEST_NOTE: Final = 5000
_CALL: Final = re.compile(r"[\[(]?\s*(\d{1,4}|[ivx]{1,5}|[a-z]|[*†‡]{1,3})\s*[\])]?$")
_CALLS: Final = re.compile(r"note-?ref|footnote|noteref", re.IGNORECASE)
_BACK: Final = re.compile(r"[\s↩↑⏎^\ufe0e\[\]()\d*†‡.]*$")
"""What a link from a note back to its place shows."""
_INLINE: Final = frozenset("a b i em strong span sup sub u abbr small font cite q mark time code var".split())
_EPUB_TYPE: Final = "epub:type"
_TOO_DEEP: Final = "Excessive depth"

Element = Any  # lxml elements are untyped


class HtmlParser:
    """Web pages, whole or in fragments."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.HTML

    def parse(self, file: File, limits: Limits) -> Parsed:
        del limits  # the sandbox keeps them
        title, blocks = page(file.read())
        return Parsed(tuple(blocks), Kind.HTML.value, title=title)


def page(data: bytes, declared: str | None = None, *, whole: bool = False) -> tuple[str | None, list[Block]]:
    """The title and the blocks of a page; ``whole`` takes all of its body, where no furniture is to be expected.

    ``declared`` is the encoding that its container names, if any.

    Raises:
        DocumentError: it is broken, or nested too deeply.
    """
    named = _DECLARED.search(data[:8192])
    text = decode(data, declared or (named[1].decode("ascii") if named else None))
    parser = html.HTMLParser(no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = html.document_fromstring(text.encode(errors="replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, AssertionError) as error:
        raise DocumentError(
            RejectReason.CORRUPT, "the page cannot be read as HTML", "la page n'est pas du HTML lisible"
        ) from error
    if any(_TOO_DEEP in entry.message for entry in parser.error_log):
        raise _too_deep()
    title: str | None = root.findtext(".//title")
    notes = _notes(root)
    passed = _never_shown(root, notes)
    if not whole:
        passed |= _furniture(root, passed)
    body = root.find("body")
    body = root if body is None else body
    writer = _Writer(passed, notes)
    writer.walk(body if whole else _main(body, _lengths(body, passed)))
    return " ".join(title.split()) if title else None, writer.finished()


def fragment(markup: str) -> list[Block]:
    """The blocks of a piece of HTML that is content throughout; none where it holds no words."""
    try:
        return page(markup.encode(errors="replace"), "utf-8", whole=True)[1] if markup.strip() else []
    except DocumentError as error:
        if error.reason is RejectReason.CORRUPT:  # a comment or a lone end tag
            return []
        raise


def _too_deep() -> DocumentError:
    return DocumentError(
        RejectReason.TOO_DEEP,
        "the page nests its elements too deeply",
        "la page imbrique ses éléments trop profondément",
    )


# --- what is passed over --------------------------------------------------------------------------------


def _never_shown(root: Element, notes: Mapping[str, _Note]) -> set[Element]:
    """Scripts, forms, menus, hidden elements; notes too, for they are told where they are called."""
    kept = {note.element for note in notes.values()}
    hiding = Hiding(root)
    return kept | {
        element
        for element in root.iter(etree.Element)
        if element not in kept
        and element.tag not in _FRAMES
        and (
            element.tag in _NEVER
            or element.get("role", "").lower() in _FURNITURE_ROLES
            or element.get("hidden", "until-found") != "until-found"  # browsers show that one when it is searched
            or element.get("aria-hidden") == "true"
            or hiding.hides(element)
        )
    }


def _furniture(root: Element, passed: AbstractSet[Element]) -> set[Element]:
    """What its name says to be no content, unless it holds much of the text; short page headers."""
    lengths = _lengths(root, passed)
    whole = max(1, lengths[root])
    return {
        element
        for element in root.iter(etree.Element)
        if element.tag not in _FRAMES
        and (
            (
                _FURNITURE.search(f"{element.get('id') or ''} {element.get('class') or ''}") is not None
                and lengths[element] < _LEAST_SHARE * whole
            )
            or (element.tag == "header" and lengths[element] < 2000 and element.find(".//h1") is None)
        )
    }


def _lengths(root: Element, passed: AbstractSet[Element]) -> dict[Element, int]:
    """The characters that each element holds, without what is passed over."""
    lengths: dict[Element, int] = {}
    for element in reversed(list(root.iter(etree.Element))):
        own = len((element.text or "").strip())
        own += sum(lengths.get(child, 0) + len((child.tail or "").strip()) for child in element)
        lengths[element] = 0 if element in passed else own
    return lengths


def _main(body: Element, lengths: Mapping[Element, int]) -> Element:
    """The element that holds the main content: the smallest declared one with enough of the text, else the body."""
    fitting = [
        element
        for element in body.iter("main", "article", "div", "section")
        if lengths[element] >= _LEAST_SHARE * max(1, lengths[body])
        and (
            element.tag in {"main", "article"}
            or element.get("role") == "main"
            or _CONTENT.search(f"{element.get('id') or ''} {element.get('class') or ''}")
        )
    ]
    declared = [element for element in fitting if element.tag == "main" or element.get("role") == "main"]
    return declared[0] if declared else (fitting[0] if fitting else body)


# --- footnotes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Note:
    """A footnote: the element that holds it, and the sign that calls it."""

    element: Element
    mark: str


def _notes(root: Element) -> dict[str, _Note]:
    """The footnotes of a page by the name that links call: what a sign like ¹ or [1] links to, further down."""
    places: dict[str, tuple[int, Element]] = {}
    calls: list[tuple[int, str, str]] = []
    for number, element in enumerate(root.iter(etree.Element)):
        name = element.get("id") or (element.get("name") if element.tag == "a" else None)
        if name:
            places.setdefault(name, (number, element))
        target = element.get("href", "") if element.tag == "a" else ""
        if target.startswith("#") and len(target) > 1:
            shown = _CALL.match("".join(element.itertext()).strip())
            if shown is not None and _calls(element, shown[0]):
                calls.append((number, target[1:], shown[1]))
    notes: dict[str, _Note] = {}
    for number, name, mark in calls:
        place, element = places.get(name, (-1, None))
        if place <= number or name in notes:
            continue
        while element is not None and element.tag in _INLINE:
            element = element.getparent()
        if element is None or element.tag not in {"li", "p", "div", "aside", "dd", "section", "td"}:
            continue
        if sum(len(text) for text in element.itertext()) <= _LONGEST_NOTE:
            notes[name] = _Note(element, mark)
    return notes


def _calls(link: Element, shown: str) -> bool:
    """Whether a link to a place of the page calls a note: raised, in brackets, or said to."""
    parent = link.getparent()
    said = f"{link.get('role', '')} {link.get(_EPUB_TYPE, '')} {link.get('class', '')}"
    return (
        shown[0] in "[(*†‡"
        or (parent is not None and parent.tag == "sup")
        or link.find("sup") is not None
        or _CALLS.search(said) is not None
    )


# --- blocks ---------------------------------------------------------------------------------------------


class _Writer:
    """Collects blocks while the tree is walked in reading order."""

    def __init__(self, passed: AbstractSet[Element], notes: Mapping[str, _Note]) -> None:
        self._passed = passed
        self._notes = dict(notes)
        self._marks = {name: note.mark for name, note in notes.items()}
        self._called: list[_Note] = []
        self._blocks: list[Block] = []
        self._words: list[str] = []
        self._kind = BlockKind.PARAGRAPH
        self._level: int | None = None
        self._marker = ""
        self._term = ""
        """The term of a glossary whose definition comes."""
        self._items: dict[Element, int] = {}
        self._cells = 0

    def finished(self) -> list[Block]:
        self._flush()
        self._flush_term()
        return self._blocks

    def _flush(self) -> None:
        text = " ".join("".join(self._words).split())
        self._words = []
        if text:
            if self._term and self._kind is BlockKind.PARAGRAPH:
                text, self._term = f"{self._term} : {text}", ""
            self._flush_term()
            self._blocks.append(Block(self._kind, f"{self._marker}{text}", self._level))
            self._marker = ""
            self._tell_notes()

    def _flush_term(self) -> None:
        if self._term:
            self._blocks.append(Block(BlockKind.PARAGRAPH, self._term))
            self._term = ""

    def _tell_notes(self) -> None:
        """The notes called since the last block."""
        while self._called:
            note = self._called.pop(0)
            text = " ".join("".join(self._pieces(note.element, inside=True)).split())
            if text:
                self._blocks.append(Block(BlockKind.NOTE, f"[{note.mark}] {text}"))

    def _call(self, link: Element) -> str | None:
        """What shows for a link that calls a note, which is told after the block."""
        name = link.get("href", "")[1:]
        if name not in self._marks:
            return None
        note = self._notes.pop(name, None)
        if note is not None:
            self._called.append(note)
        return f"[{self._marks[name]}]"

    def walk(self, element: Element, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise _too_deep()
        tag = element.tag
        if element in self._passed:
            return
        if tag == "a" and (mark := self._call(element)) is not None:
            self._words.append(mark)
        elif tag == "table":
            self._flush()
            self._flush_term()
            self._table(element)
        elif tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self._as(element, BlockKind.HEADING, int(tag[1]), "", depth)
        elif tag == "li":
            self._as(element, BlockKind.ITEM, None, self._number(element), depth)
        elif tag == "dt":
            self._flush()
            text = " ".join("".join(self._pieces(element)).split())
            self._term = f"{self._term}, {text}".strip(" ,")
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

    def _as(self, element: Element, kind: BlockKind, level: int | None, marker: str, depth: int) -> None:
        self._flush()
        before = self._kind, self._level
        self._kind, self._level, self._marker = kind, level, marker
        self._children(element, depth)
        self._flush()
        self._kind, self._level = before
        self._marker = ""

    def _children(self, element: Element, depth: int) -> None:
        self._words.append(element.text or "")
        for child in element:
            if isinstance(child.tag, str):
                self.walk(child, depth + 1)
            self._words.append(child.tail or "")

    def _number(self, item: Element) -> str:
        """What a browser shows before an item of a list."""
        parent = item.getparent()
        if parent is None or parent.tag != "ol":
            return "- "
        first = _whole(parent.get("start")) or 1
        count = _whole(item.get("value")) or self._items.get(parent, first - 1) + 1
        self._items[parent] = count
        form = parent.get("type", "1")
        if form in {"a", "A"}:
            return f"{letters(count) if form == 'a' else letters(count).upper()}. "
        if form in {"i", "I"}:
            return f"{roman(count).lower() if form == 'i' else roman(count)}. "
        return f"{count}. "

    # --- tables -----------------------------------------------------------------------------------------

    def _table(self, element: Element) -> None:
        rows = list(self._rows(element))
        if rows and max(len(row) for row in rows) == 1:  # a table for layout
            self._blocks += [Block(BlockKind.PARAGRAPH, row[0]) for row in rows if row[0].strip()]
        elif rows:
            self._blocks.append(table(rows))
        self._tell_notes()

    def _rows(self, element: Element) -> Iterator[tuple[str, ...]]:
        """The rows, a cell that spans rows or columns repeated in each; inner tables as words of their cell."""
        caption = element.find("caption")
        if caption is not None and caption not in self._passed:
            text = " ".join("".join(self._pieces(caption)).split())
            if text:
                self._blocks.append(Block(BlockKind.PARAGRAPH, text))
        held: dict[int, tuple[int, str]] = {}
        for row in element.iter("tr"):
            owner = next(row.iterancestors("table"), None)
            if owner is not element or row in self._passed or row.getparent() in self._passed:
                continue
            cells: list[str] = []
            for cell in row.iterchildren("td", "th"):
                if cell in self._passed:
                    continue
                _carry(held, cells)
                text = " ".join("".join(self._pieces(cell)).split())
                for _ in range(_span(cell, "colspan")):
                    if _span(cell, "rowspan") > 1:
                        held[len(cells)] = (_span(cell, "rowspan") - 1, text)
                    cells.append(text)
            _carry(held, cells)
            self._cells += len(cells)
            if self._cells > _MOST_CELLS:
                raise DocumentError(
                    RejectReason.TOO_LONG,
                    f"the tables have more than {_MOST_CELLS} cells",
                    f"les tableaux ont plus de {_MOST_CELLS} cellules",
                )
            if any(cells):
                yield tuple(cells)

    def _pieces(self, element: Element, *, inside: bool = False, depth: int = 0) -> Iterator[str]:
        """The words of a cell, term or note in one line; a block inside becomes a space, inline marks join words.

        ``inside`` a note the link back to its place is left out.
        """
        if depth > _DEEPEST:
            raise _too_deep()
        yield element.text or ""
        for child in element:
            if isinstance(child.tag, str) and child not in self._passed:
                mark = self._call(child) if child.tag == "a" and not inside else None
                back = inside and child.tag == "a" and _BACK.match("".join(child.itertext())) is not None
                if mark is not None:
                    yield mark
                elif not back:
                    between = "" if child.tag in _INLINE else " "
                    yield between
                    yield from self._pieces(child, inside=inside, depth=depth + 1)
                    yield between
            yield child.tail or ""


def _carry(held: dict[int, tuple[int, str]], cells: list[str]) -> None:
    """Fill in the cells of rows above that reach down to here."""
    while len(cells) in held:
        left, text = held.pop(len(cells))
        if left > 1:
            held[len(cells)] = (left - 1, text)
        cells.append(text)


def _whole(value: str | None) -> int | None:
    value = (value or "").strip()
    return int(value) if value.isdecimal() and len(value) < 6 else None


def _span(cell: Element, name: str) -> int:
    return max(1, min(_whole(cell.get(name)) or 1, _MOST_SPAN))
