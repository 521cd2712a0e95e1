"""From sections to chunks: never two articles in one, lists with their lead-in, tables with their header. Pure.

No chunk begins with an exception (« Toutefois… ») or a footnote whose rule stands at the end of the one before, as far
as both fit into one. A list longer than a chunk repeats nothing in the texts: the parts that go on with it carry its
lead-in in :attr:`~rag.types.Chunk.lead_in`, which is searched and shown with them.

The text of a document is what :func:`document_text` writes, and every chunk is a slice of it:
``document_text(sections)[chunk.start:chunk.end] == chunk.text``. That text is written for reading: a table
longer than a chunk appears in it as several tables, each under its header row.

Versions of one article that stand side by side are sections, and so chunks, of their own; the day from which a
version is in force is part of its ids, so that another version changes nothing in them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ingest.outline import is_item, outline, recognise
from ingest.validity import of_sections
from rag import references, sentences
from rag.types import Block, BlockKind, Chunk, Document, Parsed, Section, SectionKind, Validity

CHUNK_CHARACTERS: Final = 900
"""Length that a chunk aims at: one or two paragraphs of a regulation, about 230 tokens of the default embedder,
which reads 256; the reference figures of retrieval were measured at this length."""
SMALL_SECTION: Final = 250
"""Characters below which the neighbours under one article share a chunk: too short to be found by themselves."""
_NAMESPACE: Final = uuid.UUID("5a0a3c0e-6a1b-5c7e-9b1d-3f0d6a2c4e11")
LONGEST_REFERENCE: Final = 80
"""Characters of a heading without a number that serve as its reference."""
_PREAMBLE: Final = {"fr": "Préambule", "en": "Preamble"}
_POINT: Final = {"fr": "Point", "en": "Section"}
"""What the decimal headings of circulars and policies are called when they are cited."""
_SIGNATURE: Final = "Signature"
LONGEST_LEAD_IN: Final = 240
"""Characters of a lead-in that goes along with the later parts of its list."""
_EXCEPTION: Final = re.compile(
    r"(?:Toutefois|Cependant|Néanmoins|Par (?:dérogation|exception)|À titre (?:dérogatoire|exceptionnel)"
    r"|A titre (?:dérogatoire|exceptionnel)|Sauf|Hormis|En revanche|Il (?:en est|n'en est pas) de même"
    r"|However|Notwithstanding|Except|Unless|Provided(?:,? however,?)? that|By way of (?:derogation|exception)"
    r"|As an exception)\b",
    re.IGNORECASE,
)
"""How a sentence begins that takes back part of the rule before it."""
_ITEM_MARK: Final = re.compile(
    r"(?:\(?(?P<mark>[IVX]{1,5}|[A-Z]|[a-z]{1,2}|[ivx]{1,5}|\d{1,2})(?P<sign>\s?[°).](?:\s?[-–—])?|\s[-–—])"
    r"|(?P<bullet>[-–—•*▪◦‣·o]))\s"
)
_CELL: Final = " | "
_BETWEEN: Final = "\n\n"


def read(parsed: Parsed, document: Document) -> list[Chunk]:
    """The chunks of a parsed file: its outline, then its parts, in reading order.

    What the text says of the validity of single articles holds where its format says nothing of them.
    """
    return chunk(document, of_sections(outline(parsed.blocks, language=document.language)))


def split_text(
    document: str,
    title: str,
    text: str,
    *,
    corpus: str = "",
    language: str = "fr",
    section: str = "",
    article: str = "",
) -> list[Chunk]:
    """The chunks of a plain text that is one article or page of its own; ``section`` is its path, `` > `` between."""
    blocks = tuple(
        Block(BlockKind.ITEM if is_item(line) else BlockKind.PARAGRAPH, " ".join(line.split()))
        for line in text.splitlines()
        if line.strip()
    )
    path = tuple(part.strip() for part in section.split(" > ") if part.strip())
    kind = SectionKind.ARTICLE if article else SectionKind.DIVISION
    heading = "" if not article else article if recognise(article) else f"Article {article}"
    owner = Document(
        id=document,
        corpus=corpus,
        title=title,
        language=language,
        source="",
        sha256="",
        media_type="text/plain",
    )
    return chunk(owner, [Section(kind, heading, article or None, path, blocks)])


def document_text(sections: Sequence[Section]) -> str:
    """The whole text of a document: headings, paragraphs, lists and tables in reading order."""
    return _Text.of(sections).written


def chunk(document: Document, sections: Sequence[Section]) -> list[Chunk]:
    """Cut a document into chunks of about :data:`CHUNK_CHARACTERS`, in reading order.

    A chunk holds text of one article (or annex, or preamble) only. The same document and sections always give
    the same ids and texts, and an edit leaves the ids of the other articles as they were. The first chunk also answers
    to the key that the versions of its text share.
    """
    of_text = references.text_key(document.title)
    text = _Text.of(sections)
    chunks: list[Chunk] = []
    places: Counter[tuple[object, ...]] = Counter()
    annexes = {section.heading: section for section in sections if section.kind is SectionKind.ANNEX}
    for group in _groups(document, sections, text):
        annex = _annex(group.owner, annexes)
        reference = _reference(group.owner, annex, document.language, alone=len(sections) == 1)
        keys = _keys(group.owner, annex, document.title)
        section = sections[group.sections[0]]
        links = tuple(link for member in group.sections for link in sections[member].links)
        for run in _packed(group.units):
            first, last = run[0], run[-1]
            path = _path(sections, first, last)
            since = None if section.validity is None else section.validity.start
            place = (path, since)
            body = text.written[first.start : last.end]
            chunks.append(
                Chunk(
                    id=_id(document, path, since, places[place], body),
                    corpus=document.corpus,
                    document=document.id,
                    title=document.title,
                    reference=reference,
                    path=path,
                    text=body,
                    ordinal=len(chunks),
                    language=document.language,
                    start=first.start,
                    end=last.end,
                    page=first.page,
                    page_end=first.page if last.page is None else last.page,
                    norm_rank=document.norm_rank,
                    validity=_validity(section.validity, document.validity),
                    groups=document.groups,
                    clearance=document.clearance,
                    own_references=keys if chunks or of_text is None else (*keys, of_text),
                    mentions=tuple(dict.fromkeys((*references.mentions(body), *links))),
                    legal_status=section.legal_status or document.legal_status,
                    lead_in=first.lead_in,
                )
            )
            places[place] += 1
    return chunks


def _validity(own: Validity | None, whole: Validity) -> Validity:
    """When a section is in force: what it says itself, and its document where it says nothing."""
    if own is None:
        return whole
    both = Validity(own.start or whole.start, own.end or whole.end)
    empty = both.start is not None and both.end is not None and both.start >= both.end
    return own if empty else both


def _annex(owner: Section, annexes: Mapping[str, Section]) -> Section | None:
    """The annex that a section is or stands in; ``annexes`` are those of the document by their headings."""
    if owner.kind is SectionKind.ANNEX:
        return owner
    return next((annexes[heading] for heading in owner.path if heading in annexes), None)


# --- the text -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """A stretch of the text that is not cut further: a paragraph, an item, a sentence, a part of a table.

    ``lead`` says that it introduces what comes next, ``bound`` that it says nothing without what stands before it.
    ``lead_in`` is what introduces the list that it is part of. Its last sentence begins at ``tail``, where it is
    known and not all of it, and the one before ends at ``rest``.
    """

    section: int
    start: int
    end: int
    page: int | None
    lead: bool = False
    bound: bool = False
    lead_in: str = ""
    tail: int = 0
    rest: int = 0

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Text:
    """The text of a document and where its units stand in it; headings are written but are no units."""

    written: str
    units: tuple[tuple[_Unit, ...], ...]
    headings: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, sections: Sequence[Section]) -> _Text:
        pieces: list[str] = []
        position = 0
        units: list[tuple[_Unit, ...]] = []
        headings: list[tuple[int, int]] = []

        def write(part: str, before: str) -> tuple[int, int]:
            nonlocal position
            if pieces:
                pieces.append(before)
                position += len(before)
            start = position
            pieces.append(part)
            position += len(part)
            return start, position

        for index, section in enumerate(sections):
            headings.append(write(section.heading, _BETWEEN) if section.heading else (position, position))
            written: list[_Unit] = []
            lists = _Lists()
            for number, block in enumerate(section.blocks):
                after = section.blocks[number + 1].kind if number + 1 < len(section.blocks) else None
                before = written[-1].length + len(_BETWEEN) if written and written[-1].lead else 0
                for part in _parts(block, before):
                    listed = block.kind is BlockKind.ITEM and written
                    start, end = write(part, "\n" if listed else _BETWEEN)
                    lead = part.endswith(":") or (after is BlockKind.TABLE and block.kind is not BlockKind.TABLE)
                    unit = _Unit(index, start, end, block.page, lead=lead, lead_in=lists.over(block, part))
                    if written and (block.kind is BlockKind.NOTE or _EXCEPTION.match(part)):
                        written[-1], unit = _with_tail(written[-1], pieces[-3]), replace(unit, bound=True)
                    written += _units(unit, part, written[-1] if written else None)
            units.append(tuple(written))
        return cls("".join(pieces), tuple(units), tuple(headings))


def _parts(block: Block, before: int) -> Iterator[str]:
    """The text of a block; that of a long table in parts, each under the header row.

    The first part leaves room for the ``before`` characters of the lead-in that it shares a chunk with.
    """
    if block.kind is not BlockKind.TABLE or not block.rows:
        if block.text.strip():
            yield block.text.strip()
        return
    header, *rows = [_row(row) for row in block.rows if any(cell.strip() for cell in row)] or [""]
    if not header:
        return
    if not rows or len(header) > CHUNK_CHARACTERS // 2:  # no header worth repeating
        header, rows = "", [header, *rows]
    current: list[str] = [header] if header else []
    length = len(header) + (before if before <= CHUNK_CHARACTERS // 2 else 0)
    held = 0
    for row in rows:
        if held and length + 1 + len(row) > CHUNK_CHARACTERS:
            yield "\n".join(current)
            current, length, held = ([header] if header else []), len(header), 0
        current.append(row)
        length += 1 + len(row)
        held += 1
    yield "\n".join(current)


def _row(cells: Sequence[str]) -> str:
    """One row as a line that reads."""
    return _CELL.join(" ".join(cell.split()) for cell in cells).strip()


def _with_tail(unit: _Unit, part: str) -> _Unit:
    """``unit``, a whole ``part``, with the place of its last sentence."""
    spans = sentences.split(part)
    if len(spans) < 2 or unit.length != len(part) or _EXCEPTION.match(part[spans[-1][0] :]):
        return unit
    return replace(unit, tail=unit.start + spans[-1][0], rest=unit.start + spans[-2][1])


def _units(unit: _Unit, part: str, before: _Unit | None) -> list[_Unit]:
    """``unit`` as it is, or sentence by sentence: when it is too long, by itself or with the rule it is bound to."""
    rule = 0 if before is None else before.end - (before.tail or before.start)
    needed = rule + len(_BETWEEN) if unit.bound else 0
    if len(part) + needed <= CHUNK_CHARACTERS or (needed and len(part) <= SMALL_SECTION):
        return [unit]
    return [
        replace(
            unit,
            start=unit.start + begin,
            end=unit.start + stop,
            lead=unit.lead and stop == len(part),
            bound=(unit.bound and begin == 0) or (begin > 0 and _EXCEPTION.match(part[begin:stop]) is not None),
        )
        for begin, stop in _cut(part)
    ]


@dataclass(slots=True)
class _Lists:
    """The lists that are open while blocks are read: their lead-ins, and how their items count."""

    _open: list[tuple[str, str]] = field(default_factory=list)

    def over(self, block: Block, part: str) -> str:
        """What introduces ``part`` of ``block``, the next in reading order; empty when nothing does."""
        if block.kind is BlockKind.NOTE:
            return ""
        style = _style(part, [known for _, known in self._open]) if block.kind is not BlockKind.TABLE else ""
        counts = block.kind is BlockKind.ITEM or bool(style)
        depth = next((at for at, (_, known) in enumerate(self._open) if known and known == style), None)
        if block.kind is BlockKind.TABLE:
            pass
        elif counts and depth is not None:
            del self._open[depth + 1 :]
        elif counts and self._open and not self._open[-1][1]:
            self._open[-1] = (self._open[-1][0], style or "-")
        elif block.kind is not BlockKind.ITEM:
            self._open.clear()
        lead_in = _shortened(" ".join(lead for lead, _ in self._open))
        if part.endswith(":") and block.kind is not BlockKind.TABLE:
            self._open.append((part, ""))
        return lead_in


def _style(text: str, open_styles: Sequence[str]) -> str:
    """How an item counts: ``1°``, ``a)``, ``I.``, ``-``; empty for a text that counts nothing.

    A letter that may be a Roman number is a letter where letters are open.
    """
    match = _ITEM_MARK.match(text)
    if match is None:
        return ""
    if match["bullet"]:
        return match["bullet"]
    mark, sign = match["mark"], match["sign"].strip()
    kind = "1" if mark.isdigit() else "a" if mark.islower() else "A"
    if mark.isalpha() and not set(mark.lower()) - set("ivx") and (len(mark) > 1 or kind + sign not in open_styles):
        kind = "i" if mark.islower() else "I"
    return kind + sign


def _shortened(lead_in: str) -> str:
    """A lead-in that is not longer than what it introduces: its end, when it is."""
    if len(lead_in) <= LONGEST_LEAD_IN:
        return lead_in
    _, _, end = lead_in[-LONGEST_LEAD_IN:].partition(" ")
    return f"… {end}"


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Spans of a long text, at sentence ends; within a sentence only where it is longer than a chunk by itself."""
    for start, end in sentences.split(text):
        if end - start <= CHUNK_CHARACTERS:
            yield start, end
            continue
        position = start
        for piece in _split_long(text[start:end]):
            stop = position + len(piece)
            trimmed = text[position:stop].strip()
            if trimmed:
                begin = position + len(text[position:stop]) - len(text[position:stop].lstrip())
                yield begin, begin + len(trimmed)
            position = stop


def _split_long(text: str) -> list[str]:
    """Pieces of one overlong sentence that give it back when joined."""
    # Imported here: the package brings many modules with it, and sentences this long are rare.
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=["\n", r" ; ", r"; ", r" : ", r", ", r" ", ""],
        is_separator_regex=False,
        keep_separator="end",
        chunk_size=CHUNK_CHARACTERS,
        chunk_overlap=0,
        strip_whitespace=False,
    )
    return splitter.split_text(text)


# --- groups of sections that may share chunks -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring sections under one article; ``owner`` is the section that gives the reference."""

    owner: Section
    sections: tuple[int, ...]
    units: tuple[_Unit, ...]


def _groups(document: Document, sections: Sequence[Section], text: _Text) -> Iterator[_Group]:
    owners = _owners(sections)
    index = 0
    while index < len(sections):
        members = [index]
        length = _length(text.units[index])
        owner = owners[index]
        while (
            owner is not None
            and (after := members[-1] + 1) < len(sections)
            and owners[after] == owner
            and sections[after].validity == sections[index].validity
            and sections[after].legal_status == sections[index].legal_status
            and (length < SMALL_SECTION or _length(text.units[after]) < SMALL_SECTION)
            and length + _length(text.units[after]) <= CHUNK_CHARACTERS
        ):
            members.append(after)
            length += _length(text.units[after])
        units = tuple(unit for member in members for unit in text.units[member])
        if not units and _childless(sections, index):
            start, end = text.headings[index]
            units = (_Unit(index, start, end, sections[index].page),) if end > start else ()
        if units and not _repeats_title(document, sections, units, text):
            reference = sections[index if owner is None else owner]
            yield _Group(reference, tuple(members), units)
        index = members[-1] + 1


def _length(units: Sequence[_Unit]) -> int:
    return units[-1].end - units[0].start if units else 0


def _owners(sections: Sequence[Section]) -> list[int | None]:
    """For each section the index of the article or annex that it is or stands under."""
    owners: list[int | None] = []
    for index, section in enumerate(sections):
        if section.kind in {SectionKind.ARTICLE, SectionKind.ANNEX}:
            owners.append(index)
            continue
        previous = owners[-1] if owners else None
        above = None if previous is None else (*sections[previous].path, sections[previous].heading)
        owners.append(previous if above is not None and section.path[: len(above)] == above else None)
    return owners


def _childless(sections: Sequence[Section], index: int) -> bool:
    """Whether nothing stands under a heading, so that its own words would be lost with it."""
    if index + 1 == len(sections):
        return True
    inner = (*sections[index].path, sections[index].heading)
    return sections[index + 1].path[: len(inner)] != inner


def _repeats_title(document: Document, sections: Sequence[Section], units: Sequence[_Unit], text: _Text) -> bool:
    """Whether a preamble says nothing but the title, which every chunk carries anyway."""
    if len(sections) == 1 or sections[units[0].section].kind is not SectionKind.PREAMBLE:
        return False
    words = text.written[units[0].start : units[-1].end]
    return _folded(words) == _folded(document.title)


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


# --- packing --------------------------------------------------------------------------------------------


def _packed(units: Sequence[_Unit]) -> list[list[_Unit]]:
    """Runs of units of at most a chunk each; what belongs together is not parted, and no crumb is left over."""
    runs: list[list[_Unit]] = []
    current: list[_Unit] = []
    for unit in units:
        if current and unit.end - current[0].start > CHUNK_CHARACTERS:
            kept, carried = _parted(current, unit)
            runs.append(kept)
            current = carried
        current.append(unit)
    runs.append(current)
    if len(runs) > 1 and _length(runs[-1]) < SMALL_SECTION:
        runs[-2:] = _balanced([*runs[-2], *runs[-1]])
    return runs


def _parted(current: Sequence[_Unit], unit: _Unit) -> tuple[list[_Unit], list[_Unit]]:
    """What of ``current`` stays, and what goes over to the next chunk with ``unit``, when it fits there.

    Lead-ins go with what they introduce, and a rule, or its last sentence, with its exception: the cut is the latest
    one that parts nothing, else the latest that leaves no lead-in behind, else right before ``unit``.
    """
    units = [*current, unit]
    after_lead = None
    for cut in range(len(current), 0, -1):
        before, first = units[cut - 1], units[cut]
        if unit.end - first.start > CHUNK_CHARACTERS:
            break
        if not before.lead and not first.bound:
            return list(current[:cut]), list(current[cut:])
        if not before.lead and after_lead is None:
            after_lead = cut
        if first.bound and before.tail and unit.end - before.tail <= CHUNK_CHARACTERS:
            tail = replace(before, start=before.tail, bound=False, lead_in="")
            return [*current[: cut - 1], replace(before, end=before.rest, lead=False)], [tail, *current[cut:]]
    cut = len(current) if after_lead is None else after_lead
    return list(current[:cut]), list(current[cut:])


def _balanced(units: Sequence[_Unit]) -> list[list[_Unit]]:
    """Two runs as equal as can be, none longer than a chunk, nothing parted that belongs together."""

    def cost(cut: int) -> tuple[bool, bool, int]:
        first, second = _length(units[:cut]), _length(units[cut:])
        torn = units[cut - 1].lead or units[cut].bound
        return max(first, second) > CHUNK_CHARACTERS, torn, max(first, second)

    cut = min(range(1, len(units)), key=cost)
    return [list(units[:cut]), list(units[cut:])]


# --- naming ---------------------------------------------------------------------------------------------


def _path(sections: Sequence[Section], first: _Unit, last: _Unit) -> tuple[str, ...]:
    """The headings above everything in the chunk, its own included."""
    begin, end = (
        (*section.path, section.heading) if section.heading else section.path
        for section in (sections[first.section], sections[last.section])
    )
    shared = next((i for i, (one, two) in enumerate(zip(begin, end, strict=False)) if one != two), None)
    return begin[: min(len(begin), len(end)) if shared is None else shared]


def _reference(owner: Section, annex: Section | None, language: str, *, alone: bool) -> str:
    """How a person cites the section: ``Article 4``, ``Annexe 1, article 2``, ``Chapitre 2``."""
    if owner.kind is SectionKind.PREAMBLE:
        return "" if alone else _PREAMBLE.get(language, _PREAMBLE["fr"])
    if not owner.heading and not alone:
        return _SIGNATURE
    own = _label(owner, language)
    if annex is None or annex is owner:
        return own
    return f"{_label(annex, language)}, {own[:1].lower()}{own[1:]}"


def _label(section: Section, language: str) -> str:
    found = recognise(section.heading, loose=True)
    if found is None:
        if section.kind is SectionKind.ARTICLE and section.number:
            return f"{_POINT.get(language, _POINT['fr'])} {section.number}"
        return section.heading[:LONGEST_REFERENCE].rstrip()
    word, _, rest = found.label.partition(" ")
    word = "Article" if word.lower() == "art." else word
    if word.isupper() and len(word) > 1:
        word = word.capitalize()
        rest = rest.lower() if rest.isalpha() and rest.lower() in {"premier", "unique", "préliminaire"} else rest
    return f"{word} {rest}".strip()


def _keys(owner: Section, annex: Section | None, title: str) -> tuple[str, ...]:
    """The keys an exact search finds the section by; an article of an annex answers for its annex only."""
    section = owner if annex is None else annex
    if section.number is None or section.kind not in {SectionKind.ARTICLE, SectionKind.ANNEX}:
        return ()
    return references.article_keys(section.number, title, section.kind)


def _id(document: Document, path: Sequence[str], since: dt.date | None, ordinal: int, body: str) -> str:
    digest = hashlib.sha256(body.encode()).hexdigest()
    version = [] if since is None else [since.isoformat()]
    # JSON keeps the parts apart whatever characters they hold.
    parts = [document.corpus, document.id, list(path), *version, ordinal, digest]
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))
