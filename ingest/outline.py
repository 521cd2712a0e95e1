"""From blocks in reading order to sections: the outline of French and English regulations.

The words decide, not the fonts: *Partie*, *Livre*, *Titre*, *Chapitre*, *Section*… *Article* nest in that order
whatever level a format gives them, and are recognised in plain paragraphs too. A line that merely begins with
such a word (« Article 4 de la décision… ») is a sentence. Headings without such a word are kept when the format
marks them; where it marks none, those that count (``I.``, ``A.``, ``1°``, ``1.1``) are told from lists by what
follows them and by their order. Pure.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from rag.types import Block, BlockKind, LegalStatus, Section, SectionKind, Validity


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
    RUBRIC = "rubric"
    """A heading above articles that has no such word: ``I : Revenus fonciers``, ``1° Régime général``."""
    ARTICLE = "article"
    POINT = "point"
    """A counted heading of a text without articles: ``2.1``, ``II.``, ``A.``."""
    PLAIN = "plain"
    """A heading that only its format marks."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line taken apart: ``label`` is how it is cited (``Article 4``), ``body`` a text on the same line.

    ``style`` is how a heading without a word of its own counts; those of one style are neighbours, and one of
    another style stands below the style that was open.
    """

    word: Word
    label: str
    number: str | None
    text: str
    body: str = ""
    style: str = ""


# --- the grammar of a heading ---------------------------------------------------------------------------

_ORDINAL_SUFFIX: Final = (
    r"(?:bis|ter|quater|quinquies|sexies|septies|octies|nonies|novies|"
    r"(?:un|duo|ter|quater|quin|quinque|sex|sept|septen|octo|novo)?(?:decies|vicies|tricies))"
)
_END: Final = r"(?=\s*(?:$|[—–:-]|\.\s|\.$))"
_LETTERS: Final = (
    rf"(?:[A-Z]{{1,2}}(?:{_END}|(?=\s{_ORDINAL_SUFFIX}(?![\w'’])))|[a-z](?=\s{_ORDINAL_SUFFIX}(?![\w'’])))"
)
_ARTICLE_NUMBER: Final = (
    r"(?:(?i:1er|premier|première|unique|préliminaire|preliminaire|liminaire)\b"
    r"|(?:(?:[A-Z]{1,2}\.?|[A-Z]\.\s?[A-Z]\.)\s?\*{0,2}\s?)?\d{1,4}(?:er|ère)?(?:[-‑–.]\d{1,4})*(?:[A-Z](?![\w'’]))?"
    rf"(?:\s(?:{_ORDINAL_SUFFIX}(?:-0)?(?![\w'’])|{_LETTERS}))*"
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
    rf"(?P<word>Article|ARTICLE|Art\.|ART\.|Clause|CLAUSE)\s*(?P<number>{_ARTICLE_NUMBER}){_REST}", re.DOTALL
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
_COUNTED: Final = re.compile(
    r"(?P<mark>0?[IVXL]{1,6}|[A-Z]|\d{1,2}(?:\.\d{1,2}){0,4}|[a-z](?=\s?[.)]))(?P<degree>\s?°)?"
    rf"(?P<again>(?:\s?-\s?0)?(?:\s{_ORDINAL_SUFFIX})?)"
    r"(?P<between>\s?:\s|\s?[.)/-]{0,2}\s?[–—-]\s|\s?[.)/]\s|\s)(?P<rest>\S.*)$",
    re.DOTALL,
)
_UNCOUNTED: Final = re.compile(
    r"(?:Préambule|Dispositions\s(?:\w+\s){0,1}(?:préliminaires|générales|communes|diverses|finales|transitoires|"
    r"particulières|spéciales|spécifiques)\b.*|Généralités|Définitions|Preamble|(?:General|Final|Common|Transitional) "
    r"provisions)$"
)
_SIGNED: Final = re.compile(
    r"(?:Fait|Délibéré|Fait et délibéré|Fait et adopté|Adopté|Done|Signed)\s+(?:(?:à|at|in|en)\s+\w|le\s+\d)",
    re.IGNORECASE,
)
_SIGNATORY: Final = re.compile(
    r"(?:Pour\s+(?:le|la|l['’]|les)\s?.{3,80}(?:délégation|ordre|empêché[e]?)\b.*"
    r"|(?:Le|La|L['’])\s?(?:Premi[eè]re?\s+ministre|ministre|secrétaire|garde des sceaux|directeur|directrice|"
    r"président|"
    r"présidente|préfet|préfète|maire|recteur|rectrice|chef|cheffe|administrateur|administratrice|vice-président)\b"
    r".{0,120},)$"
)
_LEAST_REPEATS: Final = 3
"""Times that an outermost heading comes again at once before the headings above an article are taken for its path."""
_LONGEST_SIGNATURE: Final = 12
"""Lines of a signature with its date, function and name."""
_SEPARATOR: Final = re.compile(r"\s*(?:[.:]\s*)?[—–:-]+\s+|\s*\.\s+|\s*[.:]?$|\s*[.:]?\s*[—–]\s*|\s*:(?=[^\W\d_])")
_CONTENTS_END: Final = 100
"""Characters at the end of a line in which its leader dots and page number show."""
_CONTENTS_LINE: Final = re.compile(r"(?:\.\s?){4,}\s*\d{0,4}\s*$|…{2,}\s*\d{0,4}\s*$|\t\s*\d{1,4}\s*$")
_LIST_MARKER: Final = re.compile(
    r"(?:[-–—•*▪◦‣·o]\s+|\(?[a-zA-Z]{1,2}\)\s|\(?\d{1,2}\)\s|\d{1,2}°\s?|\d{1,2}\.\s|\(?[ivx]{1,5}\)\s)"
)
_LONGEST_TITLE: Final = 200
"""Characters of a heading's own words; what is longer is a text."""
_LONGEST_DIVISION: Final = 400
"""The same of a division, when they are one sentence: codes have titles of many lines."""
_LONGEST_LOOSE_TITLE: Final = 120
"""The same where nothing separates the number from the words."""


def _in_contents(line: str) -> bool:
    """Whether a line ends like one of a table of contents: only its end is looked at, for a hostile one is endless."""
    return _CONTENTS_LINE.search(line[-_CONTENTS_END:]) is not None


def recognise(line: str, *, loose: bool = False) -> Heading | None:
    """The heading that ``line`` is by its words, or ``None``. ``loose`` is for lines that a format marks as headings.

    Decimal headings are not told from list items by one line alone; they are never recognised here.
    """
    text = " ".join(line.split())
    if not text or _in_contents(line):
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
    if not loose and (_too_long(word, title) or title.endswith((";", ","))):
        return None
    if word is Word.ANNEX and number is None and not loose and title.endswith("."):
        return None
    return Heading(word, label, number, text)


def _too_long(word: Word, title: str) -> bool:
    if word is Word.ARTICLE or re.search(r"\.\s+[A-ZÉÈÀ]", title):
        return len(title) > _LONGEST_TITLE
    return len(title) > _LONGEST_DIVISION


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
    validity: Validity | None
    legal_status: LegalStatus | None


@dataclass(frozen=True, slots=True)
class _Node:
    heading: Heading
    block: Block
    place: _Place
    path: tuple[_Place, ...]
    blocks: list[Block]
    links: tuple[str, ...]


def outline(blocks: Sequence[Block], *, language: str = "fr") -> list[Section]:
    """The sections of a document in reading order; joined, their blocks and headings are the whole text.

    What stands before the first heading is a preamble (title, visas, recitals). Every article, annex and
    division is a section with the blocks directly under it; a decimal heading of a circular is one's article. What
    a heading says of its validity and status holds for the headings below it that say nothing. A signature at the
    end is a section without a heading, and a footnote stands behind what carries its mark.
    """
    prepared = _with_notes_placed(list(_prepared(_without_contents(blocks))))
    title = _title(prepared)
    marked = any(block.kind is BlockKind.HEADING and index != title for index, block in enumerate(prepared))
    found = [None if index == title else _heading(block, index, prepared) for index, block in enumerate(prepared)]
    if not marked:
        articles = any(heading is not None and heading.word is Word.ARTICLE for heading in found)
        found = _with_rubrics(prepared, found) if articles else _with_points(prepared, found)
    words = {heading.word for heading in found if heading is not None}
    ranks = _ranks([heading for heading in found if heading is not None], language)
    numbered = Word.ARTICLE in words
    whole = frozenset[int]() if marked else _whole_paths(found)
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
        links = block.links
        if follower is not None:
            heading = replace(heading, text=f"{heading.text} — {follower}")
            skip = index + 1
            links += prepared[skip].links
        rank = _rank(heading, ranks, nodes, stack)
        if index in whole:
            stack = []
        stack = _above(stack, _Place(heading, rank, block.level, None, None))
        above = stack[-1] if stack else None
        place = _Place(
            heading,
            rank,
            block.level,
            block.validity if block.validity or above is None else above.validity,
            block.legal_status if block.legal_status or above is None else above.legal_status,
        )
        body = [Block(BlockKind.PARAGRAPH, heading.body, page=block.page)] if heading.body else []
        nodes.append(_Node(heading, block, place, tuple(stack), body, links))
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
            kind = BlockKind.ITEM if is_item(text) and block.kind is not BlockKind.NOTE else block.kind
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
        if block.kind is BlockKind.TABLE or not _in_contents(block.text.rstrip("\n")):
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


@dataclass(frozen=True, slots=True)
class _Count:
    """A line that begins by counting: ``style`` is one of ``I A 1 ° a`` and ``value`` what it counts."""

    style: str
    value: tuple[int, ...]
    mark: str
    again: bool
    between: str
    rest: str


def _count(text: str, open_styles: Mapping[str, tuple[int, ...]]) -> _Count | None:
    """How ``text`` counts. A letter that may be a Roman number is one, unless it comes next among open letters."""
    match = _COUNTED.match(text)
    if match is None:
        return None
    mark = match["mark"]
    if mark[0].isdigit() and not mark.strip("0123456789."):
        style, value = ("°" if match["degree"] else "1"), tuple(map(int, mark.split(".")))
    elif mark.islower():
        style, value = "a", (ord(mark) - 96,)
    elif len(mark) == 1 and (mark not in "IVX" or open_styles.get("A") == (ord(mark) - 65,)):
        style, value = "A", (ord(mark) - 64,)
    else:
        style, value = "I", (_roman(mark.lstrip("0")),)
    written = mark + ("°" if match["degree"] else "") + match["again"]
    return _Count(style, value, written, bool(match["again"]) or mark.startswith("0"), match["between"], match["rest"])


def _roman(number: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in number]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


@dataclass(frozen=True, slots=True)
class _Point:
    """An accepted heading of :func:`_with_points`; ``chain`` are the open ones down to it."""

    index: int
    chain: tuple[_Count, ...]


def _with_points(blocks: Sequence[Block], found: Sequence[Heading | None]) -> list[Heading | None]:
    """Add the counted headings of an unmarked circular: short lines whose numbers follow one another."""
    points: list[_Point] = []
    chain: tuple[_Count, ...] = ()
    annex = False
    for index, block in enumerate(blocks):
        heading = found[index]
        if heading is not None:
            annex = annex or heading.word is Word.ANNEX
            continue
        if annex or block.kind not in {BlockKind.PARAGRAPH, BlockKind.ITEM}:
            continue
        count = _count(block.text, {one.style: one.value for one in chain})
        if count is None or not _may_head(count.rest) or (count.between.isspace() and count.style in "IAa"):
            continue
        below = _continued(chain, count)
        if below is None or not _has_text_below(index, count, blocks, found):
            continue
        if index and found[index - 1] is None and blocks[index - 1].text.endswith(":"):
            continue
        chain = (*below, count)
        points.append(_Point(index, chain))
    result = list(found)
    for point in _with_siblings(points):
        count = point.chain[-1]
        number = ".".join(one.mark.rstrip("°") for one in point.chain) if len(point.chain) > 1 else count.mark
        style = f"{count.style}{len(count.value)}"
        result[point.index] = Heading(Word.POINT, number, number, blocks[point.index].text, style=style)
    return result


def _continued(chain: Sequence[_Count], count: _Count) -> tuple[_Count, ...] | None:
    """The open headings above ``count`` where it comes next among its like or begins a count; else ``None``."""
    if count.again:
        return None
    for depth, open_ in enumerate(chain):
        if open_.style == count.style:
            return tuple(chain[:depth]) if _follows(open_.value, count.value) else None
    bare = count.style == "1" and count.between.isspace()
    if count.value != (1,) or (bare and not chain) or (count.style == "a" and not chain):
        return None
    return tuple(chain)


def _with_siblings(points: Sequence[_Point]) -> Iterator[_Point]:
    """The points without those of letters and Roman numbers that count to one only: an initial, a list's remainder."""
    counted = Counter((point.chain[:-1], point.chain[-1].style) for point in points)
    lone = {
        point.chain
        for point in points
        if point.chain[-1].style != "1" and counted[point.chain[:-1], point.chain[-1].style] == 1
    }
    for point in points:
        if point.chain not in lone:
            kept = (one for depth, one in enumerate(point.chain, start=1) if point.chain[:depth] not in lone)
            yield replace(point, chain=tuple(kept))


def _with_rubrics(blocks: Sequence[Block], found: Sequence[Heading | None]) -> list[Heading | None]:
    """Add the headings above articles that no word tells: « I : Revenus fonciers », « Dispositions préliminaires ».

    Such a line stands right above another heading and comes neither behind a lead-in nor as an item of a list.
    """
    result = list(found)
    for index in range(len(blocks) - 2, -1, -1):  # from the end: one may stand above the other
        after, block = result[index + 1], blocks[index]
        if result[index] is not None or block.kind not in {BlockKind.PARAGRAPH, BlockKind.ITEM}:
            continue
        if after is None or after.word in {Word.ANNEX, Word.PLAIN, Word.POINT}:
            continue
        result[index] = _rubric(index, blocks, found)
    return _in_order(result)


def _rubric(index: int, blocks: Sequence[Block], found: Sequence[Heading | None]) -> Heading | None:
    text, before = blocks[index].text, found[index - 1] if index else None
    if index == 0 or (before is not None and before.word is Word.ARTICLE and not before.body):
        return None  # the text of that article
    if before is None and blocks[index - 1].text.endswith((":", ",", ";")):
        return None
    if _UNCOUNTED.fullmatch(text) and len(text) <= _LONGEST_LOOSE_TITLE:
        bare = before is not None and before.text == before.label  # its title below it
        return None if bare else Heading(Word.RUBRIC, text, None, text, style="-")
    count = _count(text, {})
    titled = before is not None and before.word is not Word.PLAIN and before.text != before.label
    if count is None and titled and _may_head(text) and not _SIGNED.match(text):
        return Heading(Word.RUBRIC, text, None, text, style="-")  # between two headings nothing else is so short
    if count is None or (count.between.isspace() and count.style != "°") or not count.rest[0].isupper():
        return None
    colon = count.between.strip() == ":"
    if not colon and not _may_head(count.rest):
        return None
    if len(count.rest) > _LONGEST_TITLE or count.rest.endswith((";", ",", ":")):
        return None
    return Heading(Word.RUBRIC, count.mark, count.mark, text, style=f"{count.style}{len(count.value)}")


def _in_order(found: list[Heading | None]) -> list[Heading | None]:
    """Without the rubrics that do not count in order; those that a colon parts, as codes print them, may begin later.

    A repealed heading leaves a gap in a code; elsewhere a line that counts from nowhere is the end of a list.
    """
    last: dict[str, tuple[int, ...]] = {}
    result: list[Heading | None] = []
    for heading in found:
        kept = heading
        if heading is not None and heading.word not in {Word.RUBRIC, Word.ARTICLE}:
            last = {}
        elif heading is not None and heading.word is Word.RUBRIC and heading.number is not None:
            count = _count(heading.text, last)
            assert count is not None
            colon = count.between.strip() == ":"
            if colon or count.value == (1,) or _follows(last.get(count.style, (0,)), count.value):
                last[count.style] = count.value
                kept = replace(heading, style=f"{count.style}{len(count.value)}")
            else:
                kept = None
        result.append(kept)
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


def _has_text_below(index: int, count: _Count, blocks: Sequence[Block], found: Sequence[Heading | None]) -> bool:
    """Whether something other than the next number of a plain list follows a would-be heading."""
    if index + 1 >= len(blocks):
        return False
    after = blocks[index + 1]
    if after.kind is BlockKind.TABLE or found[index + 1] is not None:
        return True
    if count.style == "1":
        match = _POINT.match(after.text)
        return match is None or "." in match["number"]
    following = _count(after.text, {count.style: count.value})
    return following is None or following.style != count.style


def _title_below(heading: Heading, index: int, blocks: Sequence[Block], found: Sequence[Heading | None]) -> str | None:
    """The title of a division that stands on the line below its number."""
    if heading.word in {Word.ARTICLE, Word.POINT, Word.PLAIN, Word.RUBRIC} or heading.text != heading.label:
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


def _whole_paths(found: Sequence[Heading | None]) -> frozenset[int]:
    """Where the headings that are printed together above an article are its whole path: the indexes of their first.

    Some copies of codes print the path of each article in full. They show it by printing the outermost heading again
    and again while it is open; a run of headings that begins lower then stands under nothing.
    """
    runs: list[tuple[int, str]] = []
    start: int | None = None
    for index, heading in enumerate(found):
        if heading is not None and heading.word is Word.ARTICLE and start is not None:
            first = found[start]
            assert first is not None
            runs.append((start, first.text.casefold()))
        if heading is None or heading.word in {Word.ARTICLE, Word.POINT, Word.PLAIN}:
            start = None
        elif start is None:
            start = index
    again = sum(one[1] == other[1] for one, other in itertools.pairwise(runs))
    if again < _LEAST_REPEATS or 2 * again < len(runs):
        return frozenset()
    return frozenset(index for index, _ in runs)


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


def _rank(heading: Heading, ranks: dict[Word, float], nodes: Sequence[_Node], stack: Sequence[_Place]) -> float:
    if heading.word is Word.PART and _NAMED_PART.match(heading.text):
        return float(list(Word).index(Word.PART))  # « Partie réglementaire » stands above everything in a code
    if heading.word is Word.POINT and heading.number is not None and not heading.style:
        return ranks[Word.POINT] + 0.1 * heading.number.count(".")
    if heading.word is Word.ANNEX:
        return _annex_rank(heading, ranks, nodes, stack)
    return ranks[heading.word]


def _annex_rank(heading: Heading, ranks: dict[Word, float], nodes: Sequence[_Node], stack: Sequence[_Place]) -> float:
    """« Annexes » and « Annexes à l'article 5 » hold the annexes below them; that of a code's article follows it."""
    rank = ranks[Word.ANNEX]
    if re.match(r"(?i:annexes|appendices|schedules)\b", heading.text):
        return rank - (0.5 if heading.number is None else 0.25)
    within = any(place.heading.word is Word.ANNEX for place in stack)
    if not within and _ANNEX_OF_ARTICLE.match(heading.text) and nodes and nodes[-1].heading.number == heading.number:
        return ranks[Word.ARTICLE]
    return rank


def _above(stack: Sequence[_Place], place: _Place) -> list[_Place]:
    """The open headings that stay above ``place``."""
    for index, open_ in enumerate(stack):
        if _closes(place, open_):
            return list(stack[:index])
    return list(stack)


def _closes(place: _Place, open_: _Place) -> bool:
    levels = None if place.level is None or open_.level is None else open_.level - place.level
    if place.heading.style and open_.heading.style:
        return place.heading.style == open_.heading.style
    if place.heading.word is Word.PLAIN:
        if open_.heading.word is Word.PLAIN:
            return levels is None or levels >= 0
        return levels is not None and levels >= 0
    if open_.heading.word is Word.PLAIN:
        return levels is None or levels >= 0
    if open_.heading.word is Word.ANNEX and place.heading.word is not Word.ANNEX and open_.rank < 1:
        return levels is not None and levels >= 0
    return open_.rank >= place.rank


def _without_repeated(nodes: Sequence[_Node]) -> list[_Node]:
    """Nodes but for a table of contents without leader dots: headings without text that all come again later.

    It ends where its first line comes again; versions of one article that stand side by side are no contents.
    """
    if not nodes:
        return []
    last = {node.heading.text.casefold(): index for index, node in enumerate(nodes)}
    first = nodes[0].heading.text.casefold()
    for index, node in enumerate(nodes):
        if index >= 3 and node.heading.text.casefold() == first:
            return list(nodes[index:])
        if node.blocks or node.block.validity is not None or last[node.heading.text.casefold()] == index:
            break
    return list(nodes)


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
                validity=node.place.validity,
                legal_status=node.place.legal_status,
                links=_links(node.links, node.blocks),
            )
        )
    return _with_signature(sections)


def _links(links: Sequence[str], blocks: Iterable[Block]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*links, *(link for block in blocks for link in block.links))))


def _with_signature(sections: list[Section]) -> list[Section]:
    """The signature taken off the last article of the text proper, as a section without heading."""
    annex = next((index for index, section in enumerate(sections) if section.kind is SectionKind.ANNEX), len(sections))
    last = annex - 1
    if last < 0 or sections[last].kind is SectionKind.PREAMBLE:
        return sections
    section = sections[last]
    start = _signature(section.blocks)
    if start is None:
        return sections
    body, signed = section.blocks[:start], section.blocks[start:]
    rest = replace(section, blocks=body)
    signature = Section(SectionKind.DIVISION, "", None, (), signed, signed[0].page)
    return [*sections[:last], rest, signature, *sections[annex:]]


def _signature(blocks: Sequence[Block]) -> int | None:
    """Where the signature begins: « Fait à …, le … », or a function with nothing but names behind it."""
    for index in range(max(1, len(blocks) - _LONGEST_SIGNATURE), len(blocks)):
        after = blocks[index:]
        if any(block.kind in {BlockKind.TABLE, BlockKind.NOTE} or len(block.text) > 160 for block in after):
            continue
        if _SIGNED.match(after[0].text):
            return index
        if _SIGNATORY.match(after[0].text) and len(after) > 1 and all(_is_name(block.text) for block in after[1:]):
            return index
    return None


def _is_name(text: str) -> bool:
    return bool(_SIGNATORY.match(text)) or (len(text.split()) <= 8 and not text.endswith((";", ":", ".")))


# --- footnotes ------------------------------------------------------------------------------------------

_NOTE_MARK: Final = re.compile(r"\s*(?P<open>[\[(]?)(?P<mark>\d{1,3}|\*{1,3}|[a-z](?=[).\]]))(?P<close>[\])]?)[.:]?\s")
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _with_notes_placed(blocks: list[Block]) -> list[Block]:
    """Footnotes behind the paragraph that carries their mark, and never within a list or before a table's end."""
    if not any(block.kind is BlockKind.NOTE for block in blocks):
        return blocks
    text = [block for block in blocks if block.kind is not BlockKind.NOTE]
    behind: dict[int, list[Block]] = {}
    seen = 0
    for block in blocks:
        if block.kind is not BlockKind.NOTE:
            seen += 1
            continue
        behind.setdefault(_anchor(block, text, seen), []).append(block)
    return [*behind.get(-1, []), *(one for index, block in enumerate(text) for one in (block, *behind.get(index, [])))]


def _anchor(note: Block, text: Sequence[Block], seen: int) -> int:
    """The index of the block that ``note`` goes behind; it stood before ``text[seen]``."""
    carrier = seen - 1
    mark = _NOTE_MARK.match(note.text)
    if mark is not None:
        sign = re.escape(mark["mark"])
        bare = {"digit": rf"|(?<=[^\W\d_]){sign}(?![\w°,.)%/-])|{sign.translate(_SUPERSCRIPTS)}", "star": rf"|{sign}"}
        kind = "digit" if mark["mark"].isdigit() else "star" if "*" in mark["mark"] else "letter"
        carried = re.compile(rf"[\[(]{sign}[\])]{bare.get(kind, '')}")
        near = range(seen - 1, max(-1, seen - 40), -1)
        same = [index for index in near if note.page is None or text[index].page in {None, note.page}]
        carrier = next((index for index in same if _carries(text[index], carried)), carrier)
    while 0 <= carrier < len(text) - 1 and _goes_on(text[carrier], text[carrier + 1]):
        carrier += 1
    return carrier


def _carries(block: Block, mark: re.Pattern[str]) -> bool:
    if block.kind is BlockKind.TABLE:
        return any(mark.search(cell) for row in block.rows for cell in row)
    return mark.search(block.text) is not None


def _goes_on(block: Block, after: Block) -> bool:
    """Whether ``after`` belongs so closely to ``block`` that nothing may come between."""
    if after.kind is BlockKind.ITEM:
        return block.kind is BlockKind.ITEM or block.text.endswith(":")
    return block.kind is not BlockKind.TABLE and block.text.endswith(":") and after.kind is not BlockKind.HEADING
