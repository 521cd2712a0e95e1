"""One document from its source to its chunks: what to read, and what was read in it. Pure.

An :class:`Order` is all that a worker needs, on this machine or another; a :class:`Reading` is all that it gives back.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final, Protocol

from ingest import chunk as splitting
from ingest.manifest import Metadata
from ingest.source import Source
from ingest.validity import stated as stated_in
from rag.catalog import ArticleRow
from rag.errors import DocumentError, RejectReason
from rag.types import Chunk, Corpus, Document, PageQuality, Parsed, Validity, Vector

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DIED: Final = frozenset({RejectReason.CRASHED, RejectReason.MEMORY})
"""Why a document was not read that may not be its own fault."""
_Parsed = tuple[Source, Parsed | DocumentError]
FEW_WORDS: Final = 80
"""Characters below which the words of an article do not tell it from others."""


@dataclass(frozen=True, slots=True)
class Order:
    """One document to be read: where it is, and what is known of it before.

    ``published`` are the chunks that readers see now, by id, each with the :func:`content` of what is stored of it;
    ``embedded`` those whose vector the store has, each with the :func:`digest` of the text that it is of.
    ``snapshot`` is the draft to stage into, where whoever reads may do that too.
    """

    source: Source
    id: str
    path: str
    sha256: str
    metadata: Metadata
    corpus: Corpus
    published: Mapping[str, str] = field(default_factory=dict)
    embedded: Mapping[str, str] = field(default_factory=dict)
    snapshot: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a document. ``vectors`` are of those chunks that whoever read it has embedded already.

    ``staged`` are the ids of the chunks that whoever read it has staged already, durably; ``embedded`` counts the
    vectors that had to be computed for it.
    """

    document: Document
    chunks: tuple[Chunk, ...]
    warnings: tuple[str, ...] = ()
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    staged: frozenset[str] = frozenset()
    embedded: int = 0


class Reader(Protocol):
    """Reads documents somewhere safe.

    Gives each order, in whatever sequence, with what was read or why not; never raises for one document.
    ``stages`` says that it also stages new chunks itself, into the draft that each order names.
    """

    @property
    def stages(self) -> bool: ...

    def read(self, orders: Iterable[Order]) -> Iterator[tuple[Order, Reading | DocumentError]]: ...


class Parsing(Protocol):
    """Parses sources: gives each, in their order, with what was read in it or why not."""

    def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]: ...


class LocalReader:
    """The :class:`Reader` of one machine: parsed in its worker processes, split here.

    A document whose worker died is read once more, after all others: something else may have killed it.
    """

    stages = False

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing

    def read(self, orders: Iterable[Order]) -> Iterator[tuple[Order, Reading | DocumentError]]:
        again: list[Order] = []
        for order, result in self._read(orders):
            if isinstance(result, DocumentError) and result.reason in _DIED:
                again.append(order)
            else:
                yield order, result
        if again:
            yield from self._read(again)

    def _read(self, orders: Iterable[Order]) -> Iterator[tuple[Order, Reading | DocumentError]]:
        waiting: deque[Order] = deque()

        def sources() -> Iterator[Source]:
            for order in orders:
                waiting.append(order)
                yield order.source

        with closing(_closable(self._parsing.parse(sources()))) as parsed:
            for _, found in parsed:
                order = waiting.popleft()
                yield order, reading(order, found)


def _closable(results: Iterator[_Parsed]) -> Generator[_Parsed, None, None]:
    """A generator over ``results``, which may be closed whatever they are: closing it lets the workers go."""
    yield from results


def reading(order: Order, parsed: Parsed | DocumentError) -> Reading | DocumentError:
    """The document that was parsed and its chunks, or why it cannot be taken in."""
    if isinstance(parsed, DocumentError):
        return parsed
    document, warnings = _document(order, parsed)
    chunks = splitting.read(parsed, document)
    if not chunks:
        return DocumentError(RejectReason.NO_TEXT, "no text was found in it", "aucun texte n'y a été trouvé")
    return Reading(document, _judged(chunks, parsed.quality), (*parsed.warnings, *warnings))


def articles(chunks: Sequence[Chunk]) -> tuple[ArticleRow, ...]:
    """The articles that chunks in reading order are parts of; annexes, preambles and other sections count as such."""
    rows = []
    for (reference, path, validity), parts in groupby(
        chunks, key=lambda chunk: (chunk.reference, _own(chunk), chunk.validity)
    ):
        words = " ".join(" ".join(part.text for part in parts).split())
        # A word such as "repealed" may be all that several articles say, and tells none of them from the others.
        said = words if len(words) >= FEW_WORDS else f"{reference}\n{words}"
        rows.append(ArticleRow(reference, path, digest(said), validity))
    return tuple(rows)


def _own(chunk: Chunk) -> tuple[str, ...]:
    """The headings down to the one that the chunk is cited by; those below it part an article, and make none."""
    cited = chunk.reference.casefold()
    for start in (cited, cited.partition(" ")[2]):
        for depth, heading in enumerate(map(str.casefold, chunk.path), start=1):
            if start and heading.startswith(start) and not heading[len(start) : len(start) + 1].isalnum():
                return chunk.path[:depth]
    return chunk.path


def _judged(chunks: Sequence[Chunk], pages: Sequence[PageQuality]) -> tuple[Chunk, ...]:
    """The chunks, each with the score of the worst page that it stands on."""
    scores = {page.page: page.score for page in pages}
    if not scores:
        return tuple(chunks)
    return tuple(replace(chunk, quality=_worst(chunk, scores)) for chunk in chunks)


def _worst(chunk: Chunk, scores: Mapping[int, float]) -> float | None:
    if chunk.page is None:
        return None
    last = chunk.page if chunk.page_end is None else chunk.page_end
    return min((scores[page] for page in range(chunk.page, last + 1) if page in scores), default=None)


def content(chunk: Chunk) -> str:
    """A digest of everything that is stored of a chunk but its audience, which acts on all versions at once."""
    return digest(repr(replace(chunk, groups=frozenset(), clearance=0)))


def digest(text: str) -> str:
    """A short digest of a text: equal for equal texts, and practically never for others."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _document(order: Order, parsed: Parsed) -> tuple[Document, tuple[str, ...]]:
    """The document, and what its sources of metadata contradict one another in."""
    said, stated, corpus = order.metadata, parsed.stated, order.corpus
    language = said.language or stated.language or corpus.language
    title = said.title or _printable(parsed.title or "") or PurePosixPath(order.path).stem
    read = stated_in(parsed.blocks, title, language)
    in_force, warnings = _in_force(said, stated.validity, read.validity)
    groups, clearance = said.audience
    document = Document(
        id=order.id,
        corpus=corpus.name,
        title=title,
        language=language,
        source=order.path,
        sha256=order.sha256,
        media_type=parsed.media_type,
        norm_rank=said.norm_rank or stated.norm_rank or read.norm_rank or corpus.norm_rank,
        validity=in_force,
        groups=groups,
        clearance=clearance,
        pages=parsed.pages,
        legal_status=stated.legal_status or read.legal_status,
        quality=min((page.score for page in parsed.quality), default=None),
    )
    return document, warnings


def _in_force(said: Metadata, stated: Validity, read: Validity) -> tuple[Validity, tuple[str, ...]]:
    """When a document is in force: as is said beside it, else as its format states, else as its text does.

    Each may complete the one before it, unless it contradicts that: then it is left out, and a warning says so.
    """
    found, warnings = said.validity, []
    # An end that is given as open is no gap to be filled.
    open_end = said.valid_to is not None and said.validity.end is None
    for source, other in (("format", stated), ("text", read)):
        start = found.start or other.start
        end = found.end or (None if open_end else other.end)
        if start is not None and end is not None and end <= start:
            warnings.append(f"validity: what the {source} says is not used, for it would end before it begins")
        else:
            found = Validity(start, end)
    return found, tuple(warnings)


def _printable(title: str) -> str:
    """A title on one line, without characters that no database or screen can take."""
    return " ".join(_CONTROL.sub(" ", title).split())
