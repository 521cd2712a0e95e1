"""One document from its source to its chunks: what to read, and what was read in it. Pure.

An :class:`Order` is all that a worker needs, on this machine or another; a :class:`Reading` is all that it gives back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Protocol

from ingest import chunk as splitting
from ingest.manifest import Metadata
from ingest.source import Source
from rag.catalog import ArticleRow
from rag.errors import DocumentError, RejectReason
from rag.types import Chunk, Corpus, Document, Parsed, Vector


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
    """The :class:`Reader` of one machine: parsed in its worker processes, split here."""

    stages = False

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing

    def read(self, orders: Iterable[Order]) -> Iterator[tuple[Order, Reading | DocumentError]]:
        waiting: list[Order] = []

        def sources() -> Iterator[Source]:
            for order in orders:
                waiting.append(order)
                yield order.source

        for _, parsed in self._parsing.parse(sources()):
            order = waiting.pop(0)
            yield order, reading(order, parsed)


def reading(order: Order, parsed: Parsed | DocumentError) -> Reading | DocumentError:
    """The document that was parsed and its chunks, or why it cannot be taken in."""
    if isinstance(parsed, DocumentError):
        return parsed
    document = _document(order, parsed)
    chunks = splitting.read(parsed, document)
    if not chunks:
        return DocumentError(RejectReason.NO_TEXT, "no text was found in it", "aucun texte n'y a été trouvé")
    return Reading(document, tuple(chunks), parsed.warnings)


def articles(chunks: Sequence[Chunk]) -> tuple[ArticleRow, ...]:
    """The articles that chunks in reading order are parts of."""
    rows = []
    for (reference, validity), parts in groupby(chunks, key=lambda chunk: (chunk.reference, chunk.validity)):
        several = list(parts)
        words = digest("\n".join(part.text for part in several))
        path = several[0].path
        rows.append(ArticleRow(reference, path, words, validity))
    return tuple(rows)


def content(chunk: Chunk) -> str:
    """A digest of everything that is stored of a chunk but its audience, which acts on all versions at once."""
    return digest(repr(replace(chunk, groups=frozenset(), clearance=0)))


def digest(text: str) -> str:
    """A short digest of a text: equal for equal texts, and practically never for others."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _document(order: Order, parsed: Parsed) -> Document:
    said, stated, corpus = order.metadata, parsed.stated, order.corpus
    groups, clearance = said.audience
    return Document(
        id=order.id,
        corpus=corpus.name,
        title=said.title or " ".join((parsed.title or "").split()) or PurePosixPath(order.path).stem,
        language=said.language or stated.language or corpus.language,
        source=order.path,
        sha256=order.sha256,
        media_type=parsed.media_type,
        norm_rank=said.norm_rank or stated.norm_rank or corpus.norm_rank,
        validity=said.validity if said.validity.known else stated.validity,
        groups=groups,
        clearance=clearance,
        pages=parsed.pages,
        legal_status=stated.legal_status,
        quality=min((page.score for page in parsed.quality), default=None),
    )
