"""From blocks in reading order to sections: the outline of French and English regulations.

The words decide, not the fonts: *Partie*, *Livre*, *Titre*, *Chapitre*, *Section*… *Article* nest in that order
whatever level a format gives them, and are recognised in plain paragraphs too. A line that merely begins with
such a word (« Article 4 de la décision… ») is a sentence. Headings without such a word are kept when the format
marks them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from rag.types import Block, BlockKind, Section, SectionKind


class Word(StrEnum):
    """What a heading calls itself, in the order of the hierarchy, highest first."""

    ANNEX = "annex"
    PART = "part"
    BOOK = "book"
    TITLE = "title"
    SUBTITLE = "subtitle"
    CHAPTER = "chapter"
    SUBCHAPTER = "subchapter"
    SECTION = "section"
    SUBSECTION = "subsection"
    PARAGRAPH = "paragraph"
    SUBPARAGRAPH = "subparagraph"
    ARTICLE = "article"
    POINT = "point"
    """A decimal heading, ``2.1``; the depth of its number ranks it among its like."""
    PLAIN = "plain"
    """A heading that only its format marks."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line taken apart: ``label`` is how it is cited (``Article 4``), ``body`` a text on the same line."""

    word: Word
    label: str
    number: str | None
    text: str
    body: str = ""


# --- the grammar of a heading ---------------------------------------------------------------------------

_ORDINAL_SUFFIX: Final = (
    r"(?:bis|ter|quater|quinquies|sexies|septies|octies|nonies|novies|"
    r"(?:un|duo|ter|quater|quin|quinque|sex|sept|septen|octo|novo)?(?:decies|vicies))"
)
_END: Final = r"(?=\s*(?:$|[—–:-]|\.\s|\.$))"
_ARTICLE_NUMBER: Final = (
    r"(?:(?i:1er|premier|première|unique|préliminaire|preliminaire|liminaire)\b"
    r"|(?:[A-Z]{1,2}\.?\s?\*{0,2}\s?)?\d{1,4}(?:er|ère)?(?:[-‑–.]\d{1,4})*(?:[A-Z](?![\w'’]))?"
    rf"(?:\s(?:{_ORDINAL_SUFFIX}(?:-0)?(?![\w'’])|[A-Z]{{1,2}}{_END}))*"
    r"|[IVXLC]+(?![\w.'’])(?:\s" + _ORDINAL_SUFFIX + r"(?![\w'’]))?)"
)
_DIVISION_NUMBER: Final = (
    r"(?:(?i:premier|première|unique|préliminaire|preliminaire|liminaire|deuxième|second|seconde)\b"
    r"|0?[IVXLC]+(?:er|ère|ER)?(?![\w'’])(?:\s(?i:" + _ORDINAL_SUFFIX + rf")(?![\w'’]))?(?:\s[A-Z]{_END})?"
    r"|\d{1,3}(?:er|ère|ER|°)?(?:\.\d{1,3})*(?![\w'’])(?:\s(?i:" + _ORDINAL_SUFFIX + r")(?![\w'’]))?"
    r"|[A-Z](?![\w'’]))"
)
_ORDINALS: Final = (
    "premi[èe]re|deuxi[èe]me|seconde|troisi[èe]me|quatri[èe]me|cinqui[èe]me|sixi[èe]me|septi[èe]me|huiti[èe]me|"
    "neuvi[èe]me|dixi[èe]me|first|second|third|fourth|fifth|sixth"
)
_REST: Final = r"(?P<rest>.*)$"

_DIVISIONS: Final = {
    "partie": Word.PART,
    "part": Word.PART,
    "livre": Word.BOOK,
    "book": Word.BOOK,
    "titre": Word.TITLE,
    "title": Word.TITLE,
    "sous-titre": Word.SUBTITLE,
    "subtitle": Word.SUBTITLE,
    "chapitre": Word.CHAPTER,
    "chapter": Word.CHAPTER,
    "sous-chapitre": Word.SUBCHAPTER,
    "subchapter": Word.SUBCHAPTER,
    "section": Word.SECTION,
    "sous-section": Word.SUBSECTION,
    "subsection": Word.SUBSECTION,
    "paragraphe": Word.PARAGRAPH,
    "sous-paragraphe": Word.SUBPARAGRAPH,
}
_DIVISION: Final = re.compile(
    rf"(?P<word>(?i:{'|'.join(sorted(_DIVISIONS, key=len, reverse=True))}))\s+(?P<number>{_DIVISION_NUMBER}){_REST}",
    re.DOTALL,
)
_ORDINAL_PART: Final = re.compile(rf"(?P<number>(?i:{_ORDINALS}))\s+(?P<word>(?i:partie|part|livre)){_REST}", re.DOTALL)
_NAMED_PART: Final = re.compile(
    r"(?P<word>(?i:partie))\s+(?P<number>(?i:législative|réglementaire|legislative|reglementaire)(?:\s+ancienne)?\b)"
    + _REST,
    re.DOTALL,
)
_ARTICLE: Final = re.compile(
    rf"(?P<word>Article|ARTICLE|Art\.|ART\.)\s*(?P<number>{_ARTICLE_NUMBER}){_REST}", re.DOTALL
)
_MARKED_SECTION: Final = re.compile(
    r"(?P<word>§)\s*(?P<number>\d{1,3}(?:er)?(?:\.\d{1,3})*(?:[-‑]\d+)?)" + _REST, re.DOTALL
)
_ANNEX: Final = re.compile(
    r"(?P<word>(?i:annexes?|annexe|annex|appendix|schedule))"
    r"(?:\s+(?:n°\s*)?(?P<number>(?i:unique)\b|(?:[IVXLC]+|\d{1,3}(?:[-.]\d{1,3})*|[A-Z]\d{0,2})(?![\w'’])"
    r"(?:\s" + _ORDINAL_SUFFIX + r"(?![\w'’]))?))?" + _REST,
    re.DOTALL,
)
_ANNEX_OF_ARTICLE: Final = re.compile(
    rf"(?P<word>(?i:annexes?)\s+à\s+l['’]article)\s+(?P<number>{_ARTICLE_NUMBER})(?P<rest>)$", re.DOTALL
)
_POINT: Final = re.compile(r"(?P<number>\d{1,2}(?:\.\d{1,2}){0,4})(?P<dot>\.?)\s+" + _REST, re.DOTALL)
_SEPARATOR: Final = re.compile(r"\s*(?:[.:]\s*)?[—–:-]+\s+|\s*\.\s+|\s*[.:]?$|\s*[.:]?\s*[—–]\s*")
_CONTENTS_LINE: Final = re.compile(r"(?:\.\s?){4,}\s*\d{0,4}\s*$|…{2,}\s*\d{0,4}\s*$|\t\s*\d{1,4}\s*$")
_LIST_MARKER: Final = re.compile(
    r"(?:[-–—•*▪◦‣·o]\s+|\(?[a-zA-Z]{1,2}\)\s|\(?\d{1,2}\)\s|\d{1,2}°\s?|\d{1,2}\.\s|\(?[ivx]{1,5}\)\s)"
)
_LONGEST_TITLE: Final = 200
"""Characters of a heading's own words; what is longer is a text."""
_LONGEST_LOOSE_TITLE: Final = 120
"""The same where nothing separates the number from the words."""


def recognise(line: str, *, loose: bool = False) -> Heading | None:
    """The heading that ``line`` is by its words, or ``None``. ``loose`` is for lines that a format marks as headings.

    Decimal headings are not told from list items by one line alone; they are never recognised here.
    """
    text = " ".join(line.split())
    if not text or _CONTENTS_LINE.search(line):
        return None
    for pattern, word in (
        (_ANNEX_OF_ARTICLE, Word.ANNEX),
        (_ARTICLE, Word.ARTICLE),
        (_MARKED_SECTION, Word.ARTICLE),
        (_NAMED_PART, Word.PART),
        (_ORDINAL_PART, Word.PART),
        (_DIVISION, None),
        (_ANNEX, Word.ANNEX),
    ):
        match = pattern.match(text)
        if match is None:
            continue
        found = word or _DIVISIONS[match["word"].lower()]
        if match["word"].lower() == "livre":
            found = Word.BOOK
        return _completed(found, match, text, loose=loose)
    return None


def _completed(word: Word, match: re.Match[str], text: str, *, loose: bool) -> Heading | None:
    """Decide from what follows the number whether the line is a heading, and where its title ends."""
    rest = match["rest"]
    number = match["number"]
    label = text[: match.start("rest")].rstrip(" .:—–-") if rest else text.rstrip(" .:")
    first = text[0]
    if not loose and first.islower():
        return None
    if not rest.strip(" .:—–-"):
        bare = (
            number is None and word is Word.ANNEX and text.rstrip(" .:").lower() not in {"annexe", "annexes", "annex"}
        )
        return None if bare and not loose else Heading(word, label, number, text)
    separator = _SEPARATOR.match(rest)
    if separator is None or not separator[0]:
        return _unseparated(word, label, number, text, rest, loose=loose)
    title = rest[separator.end() :].strip()
    if word is Word.ARTICLE and not loose and _is_text(title):
        return Heading(word, label, number, label, body=title)
    if not loose and (len(title) > _LONGEST_TITLE or title.endswith((";", ","))):
        return None
    if word is Word.ANNEX and number is None and not loose and title.endswith("."):
        return None
    return Heading(word, label, number, text)


def _unseparated(word: Word, label: str, number: str | None, text: str, rest: str, *, loose: bool) -> Heading | None:
    title = rest.strip()
    if number is None and word is Word.ANNEX:  # « Annexes au code … » marked as a heading, else a sentence
        return Heading(word, label, None, text) if loose else None
    if not rest[0].isspace():  # « Article 4, deuxième alinéa », « Article 4) »
        if rest[0] == "(" and rest.rstrip().endswith(")"):
            return Heading(word, label, number, text)
        return None
    if loose:
        sentence = title[0].islower() and title.endswith((".", ";"))
        return None if sentence else Heading(word, label, number, text)
    if title.startswith("(") and title.endswith(")"):
        return Heading(word, label, number, text)
    if word is Word.ANNEX and re.match(r"(?:à|au|aux|to)\s", title) and not title.endswith((".", ";", ",")):
        return Heading(word, label, number, text) if len(title) <= _LONGEST_LOOSE_TITLE else None
    if not title[0].isupper():
        return None
    if _is_text(title):
        return Heading(word, label, number, label, body=title) if word is Word.ARTICLE else None
    if title.endswith((",", ";", ":")) or len(title) > _LONGEST_LOOSE_TITLE:
        return None
    return Heading(word, label, number, text)


def _is_text(title: str) -> bool:
    """Whether what stands behind « Article 3. – » is the article's text and not its title."""
    if len(title) > _LONGEST_TITLE:
        return True
    return title.endswith((".", ";", ":")) and not title.endswith("...") and len(title.split()) > 3


def opens_block(line: str) -> bool:
    """Whether a line of running text begins something of its own: a heading or a list item, never a continuation."""
    point = _POINT.match(line)
    decimal = point is not None and "." in point["number"] and _may_head(point["rest"])
    return decimal or bool(_LIST_MARKER.match(line)) or recognise(line) is not None


def is_item(text: str) -> bool:
    """Whether ``text`` begins like an item of a list."""
    return bool(_LIST_MARKER.match(text))


# --- from blocks to sections ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """An open heading: ``rank`` orders words, ``level`` is the format's."""

    heading: Heading
    rank: float
    level: int | None


@dataclass(frozen=True, slots=True)
class _Node:
    heading: Heading
    block: Block
    place: _Place
    path: tuple[_Place, ...]
    blocks: list[Block]


def outline(blocks: Sequence[Block], *, language: str = "fr") -> list[Section]:
    """The sections of a document in reading order; joined, their blocks and headings are the whole text.

    What stands before the first heading is a preamble (title, visas, recitals). Every article, annex and
    division is a section with the blocks directly under it; a decimal heading of a circular is one's article.
    """
    prepared = list(_prepared(_without_contents(blocks)))
    title = _title(prepared)
    marked = any(block.kind is BlockKind.HEADING and index != title for index, block in enumerate(prepared))
    found = [None if index == title else _heading(block, index, prepared) for index, block in enumerate(prepared)]
    found = _with_points(prepared, found, marked=marked)
    words = {heading.word for heading in found if heading is not None}
    ranks = _ranks([heading for heading in found if heading is not None], language)
    numbered = Word.ARTICLE in words
    preamble: list[Block] = []
    nodes: list[_Node] = []
    stack: list[_Place] = []
    skip = -1
    for index, (block, heading) in enumerate(zip(prepared, found, strict=True)):
        if index == skip:
            continue
        if heading is None:
            plain = replace(block, kind=BlockKind.PARAGRAPH, level=None) if block.kind is BlockKind.HEADING else block
            (nodes[-1].blocks if nodes else preamble).append(plain)
            continue
        if heading.word is Word.PLAIN and block.level is None and not nodes:
            preamble.append(replace(block, kind=BlockKind.PARAGRAPH))  # a title page is no division
            continue
        follower = _title_below(heading, index, prepared, found)
        if follower is not None:
            heading = replace(heading, text=f"{heading.text} — {follower}")
            skip = index + 1
        place = _Place(heading, _rank(heading, ranks), block.level)
        stack = _above(stack, place)
        body = [replace(block, kind=BlockKind.PARAGRAPH, level=None, text=heading.body)] if heading.body else []
        nodes.append(_Node(heading, block, place, tuple(stack), body))
        stack.append(place)
    return _sections(preamble, _without_repeated(nodes), ranks, numbered=numbered, language=language)


def _prepared(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks with clean white space; list items told from paragraphs, lists in one paragraph taken apart."""
    for block in blocks:
        if block.kind is BlockKind.TABLE:
            yield block
            continue
        lines = [" ".join(line.split()) for line in unicodedata.normalize("NFC", block.text).splitlines()]
        lines = [line for line in lines if line]
        if not lines:
            continue
        if block.kind is BlockKind.HEADING:
            yield replace(block, text=" ".join(lines))
            continue
        for text in _grouped(lines):
            kind = BlockKind.ITEM if is_item(text) else block.kind
            yield replace(block, kind=kind, text=text)


def _grouped(lines: Sequence[str]) -> Iterator[str]:
    """Lines of one block joined, but for those that begin an item or a heading of their own."""
    current: list[str] = []
    for line in lines:
        if current and opens_block(line):
            yield " ".join(current)
            current = []
        current.append(line)
        if recognise(line) is not None and len(current) == 1:
            yield line
            current = []
    if current:
        yield " ".join(current)


def _without_contents(blocks: Sequence[Block]) -> Iterator[Block]:
    """Blocks but for the lines of a table of contents, told by their leader dots and page numbers."""
    for block in blocks:
        if block.kind is BlockKind.TABLE or not _CONTENTS_LINE.search(block.text.rstrip("\n")):
            yield block


def _title(blocks: Sequence[Block]) -> int | None:
    """The index of the document's title: the first marked heading, on the highest level alone with numbered ones."""
    headings = [(index, block) for index, block in enumerate(blocks) if block.kind is BlockKind.HEADING]
    if not headings or headings[0][1].level is None or _numbered(headings[0][1].text):
        return None
    index, first = headings[0]
    highest = min((block.level for _, block in headings if block.level is not None), default=None)
    alone = sum(block.level == highest and not _numbered(block.text) for _, block in headings) == 1
    before = any(block.kind is not BlockKind.PARAGRAPH for block in blocks[:index])
    return index if first.level == highest and alone and len(headings) > 1 and not before else None


def _numbered(text: str) -> bool:
    return recognise(text, loose=True) is not None or _POINT.match(text) is not None


def _heading(block: Block, index: int, blocks: Sequence[Block]) -> Heading | None:
    if block.kind is BlockKind.TABLE:
        return None
    if block.kind is BlockKind.HEADING:
        found = recognise(block.text, loose=True)
        if found is not None:
            return found
        point = _POINT.match(block.text)
        if point is not None and block.level is not None and point["rest"][:1].isalpha():
            return Heading(Word.POINT, point["number"], point["number"], block.text)
        return Heading(Word.PLAIN, block.text, None, block.text) if block.text else None
    found = recognise(block.text)
    if found is None:
        return None
    lone = found.text == block.text and not found.body
    after = blocks[index + 1] if index + 1 < len(blocks) else None
    if lone and block.kind is BlockKind.ITEM and after is not None and after.kind is BlockKind.ITEM:
        return None  # an enumeration of articles, one per item
    return found


def _with_points(blocks: Sequence[Block], found: list[Heading | None], *, marked: bool) -> list[Heading | None]:
    """Add the decimal headings of an unmarked circular: short lines whose numbers follow one another."""
    if marked or any(heading is not None and heading.word is Word.ARTICLE for heading in found):
        return found
    result = list(found)
    current: tuple[int, ...] = ()
    annex = False
    for index, block in enumerate(blocks):
        heading = found[index]
        if heading is not None:
            annex = annex or heading.word is Word.ANNEX
            continue
        match = None if annex or block.kind is BlockKind.TABLE else _POINT.match(block.text)
        if match is None or not _may_head(match["rest"]):
            continue
        number = tuple(int(part) for part in match["number"].split("."))
        if not match["dot"] and len(number) == 1 and not current:
            continue
        if _follows(current, number) and _has_text_below(index, blocks, found):
            current = number
            result[index] = Heading(Word.POINT, match["number"], match["number"], block.text)
    return result


def _may_head(title: str) -> bool:
    return (
        0 < len(title) <= _LONGEST_LOOSE_TITLE
        and (title[0].isupper() or title[0] in '«"')
        and not title.endswith((".", ";", ",", ":"))
    )


def _follows(current: tuple[int, ...], number: tuple[int, ...]) -> bool:
    """Whether ``number`` is the first child, the next sibling, or the next sibling of a parent of ``current``."""
    if number == (*current, 1):
        return True
    depth = len(number)
    return depth <= len(current) and number[:-1] == current[: depth - 1] and number[-1] == current[depth - 1] + 1


def _has_text_below(index: int, blocks: Sequence[Block], found: Sequence[Heading | None]) -> bool:
    """Whether something other than the next number of a plain list follows a would-be heading."""
    if index + 1 >= len(blocks):
        return False
    after = blocks[index + 1]
    if after.kind is BlockKind.TABLE or found[index + 1] is not None:
        return True
    match = _POINT.match(after.text)
    return match is None or "." in match["number"]


def _title_below(heading: Heading, index: int, blocks: Sequence[Block], found: Sequence[Heading | None]) -> str | None:
    """The title of a division that stands on the line below its number."""
    if heading.word in {Word.ARTICLE, Word.POINT, Word.PLAIN} or heading.text != heading.label:
        return None
    if index + 2 >= len(blocks) or (found[index + 1] is not None and not _is_plain(found[index + 1])):
        return None
    after = blocks[index + 1]
    if after.kind not in {BlockKind.PARAGRAPH, BlockKind.HEADING} or len(after.text) > _LONGEST_LOOSE_TITLE:
        return None
    if after.text.endswith((".", ";", ":", ",")) or not after.text[0].isupper():
        return None
    return after.text


def _is_plain(heading: Heading | None) -> bool:
    return heading is not None and heading.word is Word.PLAIN


def _ranks(headings: Sequence[Heading], language: str) -> dict[Word, float]:
    """The hierarchy of words in this document: fixed, but for the two places where usage differs.

    Some codes put *parties* below *livres* or *titres*; English statutes call their articles *sections*.
    """
    ranks: dict[Word, float] = {word: float(rank) for rank, word in enumerate(Word)}
    order = [heading.word for heading in headings]
    firsts = {word: order.index(word) for word in set(order)}
    for upper in (Word.BOOK, Word.TITLE):
        if upper in firsts and firsts[upper] < firsts.get(Word.PART, 0):
            ranks[Word.PART] = ranks[upper] + 0.5
            break
    french = any(re.match(r"(?i:titre|chapitre|livre|partie)\b", heading.text) for heading in headings)
    if language == "en" and not french and Word.ARTICLE not in firsts and Word.SECTION in firsts:
        ranks[Word.SECTION] = ranks[Word.ARTICLE]
    return ranks


def _rank(heading: Heading, ranks: dict[Word, float]) -> float:
    if heading.word is Word.PART and _NAMED_PART.match(heading.text):
        return float(list(Word).index(Word.PART))  # « Partie réglementaire » stands above everything in a code
    if heading.word is Word.POINT and heading.number is not None:
        return ranks[Word.POINT] + 0.1 * heading.number.count(".")
    return ranks[heading.word]


def _above(stack: Sequence[_Place], place: _Place) -> list[_Place]:
    """The open headings that stay above ``place``."""
    for index, open_ in enumerate(stack):
        if _closes(place, open_):
            return list(stack[:index])
    return list(stack)


def _closes(place: _Place, open_: _Place) -> bool:
    levels = None if place.level is None or open_.level is None else open_.level - place.level
    if place.heading.word is Word.PLAIN:
        if open_.heading.word is Word.PLAIN:
            return levels is None or levels >= 0
        return levels is not None and levels >= 0
    if open_.heading.word is Word.PLAIN:
        return levels is None or levels >= 0
    if open_.heading.word is Word.ANNEX and place.heading.word is not Word.ANNEX:
        return levels is not None and levels >= 0
    return open_.rank >= place.rank


def _without_repeated(nodes: Sequence[_Node]) -> list[_Node]:
    """Nodes but for a table of contents without leader dots: headings without text that all come again later."""
    last = {node.heading.text.casefold(): index for index, node in enumerate(nodes)}
    repeated = [not node.blocks and last[node.heading.text.casefold()] > index for index, node in enumerate(nodes)]
    run = next((index for index, again in enumerate(repeated) if not again), len(nodes))
    return list(nodes[run:]) if run >= 3 else list(nodes)


def _sections(
    preamble: Sequence[Block],
    nodes: Sequence[_Node],
    ranks: dict[Word, float],
    *,
    numbered: bool,
    language: str,
) -> list[Section]:
    sections = []
    if preamble:
        sections.append(Section(SectionKind.PREAMBLE, "", None, (), tuple(preamble), preamble[0].page))
    leaf = {Word.ARTICLE} | ({Word.SECTION} if ranks[Word.SECTION] == ranks[Word.ARTICLE] else set())
    for index, node in enumerate(nodes):
        parents = {place.heading.word for place in node.path}
        word = node.heading.word
        kind = SectionKind.DIVISION
        if word is Word.ANNEX:
            kind = SectionKind.ANNEX
        elif word in leaf:
            kind = (
                SectionKind.DIVISION if language == "fr" and node.heading.label.startswith("§") else SectionKind.ARTICLE
            )
        elif word is Word.POINT and not numbered and not parents & ({Word.ANNEX} | leaf):
            childless = index + 1 == len(nodes) or node.place not in nodes[index + 1].path
            kind = SectionKind.ARTICLE if node.blocks or childless else SectionKind.DIVISION
        sections.append(
            Section(
                kind=kind,
                heading=node.heading.text,
                number=node.heading.number,
                path=tuple(place.heading.text for place in node.path),
                blocks=tuple(node.blocks),
                page=node.block.page,
            )
        )
    return sections
