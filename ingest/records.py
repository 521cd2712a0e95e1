"""Documents as JSON lines: the layout of our own export, and how it is written and read. Pure.

**The layout, version 1.** A file is one document, in UTF-8, one JSON object per line; empty lines mean nothing, and
readers pass over keys that they do not know. Dates are ISO (``2024-03-01``), periods half-open, pages count from 1.

The first line is about the document. All its keys but ``vauban`` and ``version`` may be missing or null::

    {"vauban": "document", "version": 1, "id": "rh-conges-2023", "title": "Décision relative aux congés",
     "language": "fr", "norm_rank": "decree", "valid_from": "2023-01-01", "valid_to": null,
     "legal_status": "in_force", "media_type": "application/pdf", "pages": 12}

``media_type`` and ``pages`` are those of the file that the document was once read from. ``norm_rank`` and
``legal_status`` are from the closed lists of :mod:`rag.types`.

Each line after it is a section, in reading order::

    {"kind": "article", "heading": "Article 4 — Durée", "number": "4", "path": ["Titre II", "Chapitre 1er"],
     "page": 3, "valid_from": "2023-01-01", "valid_to": "2025-01-01", "legal_status": "amended",
     "links": ["…"], "blocks": [{"kind": "paragraph", "text": "…", "page": 3}]}

``kind`` is ``preamble``, ``division``, ``article``, ``annex`` or ``table``. ``heading`` is the heading line, empty
for a preamble; ``number`` what it numbers the section with; ``path`` the headings above it, outermost first. A section
without dates and status of its own has those of the document. ``links`` are reference keys of texts that it links
to. A block's ``kind`` is ``paragraph``, ``item``, ``table``, ``note`` or ``heading``; a table has ``rows``, a list of
lists of texts, its header row first. Only ``kind`` and ``blocks`` must be there.

The plain line of retrieval data sets is read as well, each line a section of one document::

    {"_id": "3141-3", "title": "Code du travail", "text": "…", "section": "Partie 1 > Livre II", "article": "L. 3141-3"}

What is read are blocks from which :func:`ingest.outline.outline` builds the same sections again: for the sections of
a document that the outline was made of, writing and reading changes nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ingest.outline import is_item, recognise
from rag.types import (
    Block,
    BlockKind,
    Document,
    LegalStatus,
    NormRank,
    Parsed,
    Section,
    SectionKind,
    Stated,
    Validity,
)

VERSION: Final = 1
"""Of the layout; a reader refuses a higher one."""
_DIGIT: Final = re.compile(r"\s*[\d(]")

Line = dict[str, Any]


class WrongRecord(ValueError):
    """A line is none of the layout; ``line`` counts from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is no record")
        self.line = line


class NewerLayout(ValueError):
    """The file was written by a newer program."""


# --- writing --------------------------------------------------------------------------------------------


def lines(document: Document, sections: Iterable[Section]) -> Iterator[str]:
    """The lines of a document, without their line ends."""
    yield _line(
        {
            "vauban": "document",
            "version": VERSION,
            "id": document.id,
            "title": document.title,
            "language": document.language,
            "norm_rank": document.norm_rank,
            **_period(document.validity),
            "legal_status": document.legal_status,
            "media_type": document.media_type,
            "pages": document.pages,
        }
    )
    for section in sections:
        yield _line(
            {
                "kind": section.kind,
                "heading": section.heading,
                "number": section.number,
                "path": section.path,
                "page": section.page,
                **_period(section.validity),
                "legal_status": section.legal_status,
                "links": section.links,
                "blocks": [_block(block) for block in section.blocks],
            }
        )


def _line(said: Line) -> str:
    """One line; the signs that some programs take for line ends are escaped."""
    written = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _period(validity: Validity | None) -> Line:
    if validity is None:
        return {"valid_from": None, "valid_to": None}
    return {
        "valid_from": None if validity.start is None else validity.start.isoformat(),
        "valid_to": None if validity.end is None else validity.end.isoformat(),
    }


def _block(block: Block) -> Line:
    said: Line = {"kind": block.kind, "text": block.text, "page": block.page}
    if block.rows:
        said["rows"] = block.rows
    if block.links:
        said["links"] = block.links
    return said


# --- reading --------------------------------------------------------------------------------------------


def read(text: str, media_type: str) -> Parsed:
    """A document from its lines.

    Raises:
        WrongRecord: a line is none of the layout.
        NewerLayout: it is of a version that is not known yet.
        RecursionError: a line nests its values without end.
    """
    header: Line = {}
    given: list[_Given] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            if "vauban" in said:
                if said["vauban"] != "document" or header or given:
                    raise WrongRecord(number)
                header = _header(said)
            else:
                given.append(_plain(said) if "_id" in said else _section(said))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, NewerLayout):
                raise
            raise WrongRecord(number) from error
    titles = {section.title for section in given if section.title}
    if len(titles) > 1:  # texts of several: each below its title
        given = [replace(section, path=(section.title, *section.path)) for section in given]
    return Parsed(
        _blocks(given),
        media_type,
        title=header.get("title") or (titles.pop() if len(titles) == 1 else None),
        pages=header.get("pages"),
        stated=_stated(header),
    )


def _header(said: Line) -> Line:
    version = said.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        raise NewerLayout
    if version != VERSION:
        raise TypeError("a version is expected")
    _text(said, "title")
    _page(said, "pages")
    _stated(said)
    return said


def _stated(header: Line) -> Stated:
    return Stated(
        language=_text(header, "language") or None,
        norm_rank=None if header.get("norm_rank") is None else NormRank(header["norm_rank"]),
        validity=_validity(header) or Validity(),
        legal_status=_status(header),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """What a line says of a section."""

    heading: str
    path: tuple[str, ...]
    blocks: tuple[Block, ...]
    preamble: bool = False
    title: str = ""
    page: int | None = None
    validity: Validity | None = None
    status: LegalStatus | None = None
    links: tuple[str, ...] = ()


def _section(said: Line) -> _Given:
    kind = SectionKind(said["kind"])
    number = _text(said, "number")
    heading = " ".join(_text(said, "heading").split())
    if not heading and number:
        heading = f"{'Annexe' if kind is SectionKind.ANNEX else 'Article'} {number}"
    return _Given(
        heading,
        tuple(" ".join(_string(part).split()) for part in _list(said, "path")),
        tuple(_read_block(block) for block in _list(said, "blocks")),
        preamble=kind is SectionKind.PREAMBLE,
        page=_page(said, "page"),
        validity=_validity(said),
        status=_status(said),
        links=tuple(_string(link) for link in _list(said, "links")),
    )


def _plain(said: Line) -> _Given:
    """A line of a retrieval data set."""
    article = _text(said, "article").strip()
    return _Given(
        "" if not article else article if recognise(article) else f"Article {article}",
        tuple(part.strip() for part in _text(said, "section").split(" > ") if part.strip()),
        tuple(
            Block(BlockKind.ITEM if is_item(line) else BlockKind.PARAGRAPH, " ".join(line.split()))
            for line in _string(said["text"]).splitlines()
            if line.strip()
        ),
        title=_text(said, "title").strip(),
    )


def _blocks(given: Sequence[_Given]) -> tuple[Block, ...]:
    """Each section as a heading with what holds for it, then its blocks; parents without a line of their own too."""
    preamble: list[Block] = []
    blocks: list[Block] = []
    above: tuple[str, ...] = ()
    for section in given:
        if section.preamble and not blocks:
            preamble += section.blocks
            continue
        same = 0
        while section.path[same : same + 1] and section.path[same : same + 1] == above[same : same + 1]:
            same += 1
        blocks += [
            Block(BlockKind.HEADING, heading, level, section.page)
            for level, heading in enumerate(section.path[same:], same + 1)
        ]
        above = section.path
        if section.heading:
            above = (*section.path, section.heading)
            heading = Block(BlockKind.HEADING, section.heading, len(above), section.page)
            blocks.append(replace(heading, validity=section.validity, legal_status=section.status, links=section.links))
        blocks += section.blocks
    index = next((index for index, block in enumerate(preamble) if _may_head(block)), None)
    if index is not None:
        # A line before the first section that is marked as a heading of no level tells the outline that headings are
        # marked here: else it would take the first of them for the title, or look for more in the text.
        preamble[index] = replace(preamble[index], kind=BlockKind.HEADING)
    return (*preamble, *blocks)


def _may_head(block: Block) -> bool:
    plain = block.kind is BlockKind.PARAGRAPH and block.text.strip() and not block.links
    return bool(plain) and not _DIGIT.match(block.text) and recognise(block.text, loose=True) is None


def _read_block(said: Line) -> Block:
    rows = tuple(tuple(_string(cell) for cell in row) for row in _list(said, "rows"))
    text = _text(said, "text")
    return Block(
        BlockKind(said["kind"]),
        text or "\n".join(" | ".join(row) for row in rows),
        page=_page(said, "page"),
        rows=rows,
        links=tuple(_string(link) for link in _list(said, "links")),
    )


def _validity(said: Line) -> Validity | None:
    start, end = (
        None if said.get(name) is None else dt.date.fromisoformat(said[name]) for name in ("valid_from", "valid_to")
    )
    return None if start is None and end is None else Validity(start, end)


def _status(said: Line) -> LegalStatus | None:
    return None if said.get("legal_status") is None else LegalStatus(said["legal_status"])


def _list(said: Line, name: str) -> list[Any]:
    found = said.get(name)
    if found is not None and not isinstance(found, list):
        raise TypeError("a list is expected")
    return found or []


def _text(said: Line, name: str) -> str:
    found = said.get(name)
    return "" if found is None else _string(found)


def _string(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("a text is expected")
    return found


def _page(said: Line, name: str) -> int | None:
    found = said.get(name)
    if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < 1):
        raise TypeError("a page is expected")
    return found
