"""What is known of documents before they are read again: what of them is published, and which vectors there are.

It is learned for some documents at a time, as they are ordered, and forgotten with them: a corpus that is read whole
is never held whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

from ingest.reading import content, digest
from rag.catalog import ArticleRow, Catalog
from rag.seams import VectorStore
from rag.types import Chunk, Stored

TOGETHER: Final = 32
"""Documents that are asked for at once: a few hundred chunks, or some thousands of a code."""

_Item = TypeVar("_Item")


@dataclass(slots=True)
class Known:
    """What is known of one document.

    ``points`` and ``contents`` are of its chunks that are published now, by their ids: where each is stored, and a
    digest of all that is stored of it but its audience. ``texts`` are digests of the texts that the store may have a
    chunk's vector of, ``titles`` all titles that the document has had, ``articles`` those of its published version.
    """

    points: dict[str, str] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    texts: dict[str, set[str]] = field(default_factory=dict)
    titles: frozenset[str] = frozenset()
    articles: tuple[ArticleRow, ...] = ()

    @property
    def embedded(self) -> Mapping[str, str]:
        """The chunks whose vector the store has, each with the digest of the text that it surely is of."""
        # Where a document has had several titles, its ids do not tell which of them a vector is of.
        of = self.texts if len(self.titles) < 2 else {}
        return {chunk: next(iter(texts)) for chunk, texts in of.items() if len(texts) == 1}

    def unchanged(self, chunk: Chunk) -> bool:
        """Whether a chunk is published as it is."""
        return self.contents.get(chunk.id) == content(chunk)

    def may_have_vector(self, chunk: Chunk) -> bool:
        """Whether the store may have a vector under this chunk's id, and it is surely one of this text.

        Ids hold the text but not the title, which is embedded with it.
        """
        if not self.titles and not self.texts:
            return False
        return self.titles <= {chunk.title} and self.texts.get(chunk.id, set()) <= {digest(chunk.search_text)}


class Recall:
    """Asks the store and the catalog what they know at ``lineage``, and in the drafts that were ``abandoned``."""

    def __init__(
        self, catalog: Catalog, store: VectorStore, corpus: str, lineage: Sequence[int], abandoned: Sequence[int]
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._corpus = corpus
        self._lineage = lineage
        self._abandoned = abandoned

    def of(self, documents: Sequence[str]) -> dict[str, Known]:
        """What is known of these documents."""
        titles = self._catalog.titles(self._corpus, documents)
        known = {document: Known(titles=titles.get(document, frozenset())) for document in documents}
        for stored in self._published(documents):
            one = known[stored.chunk.document]
            one.points[stored.chunk.id] = stored.point
            one.contents[stored.chunk.id] = content(stored.chunk)
            _remember(one, stored)
        for number in self._abandoned:
            for stored in self._store.contents(self._corpus, (number,), documents):
                _remember(known[stored.chunk.document], stored)
        if self._lineage:
            for document, articles in self._catalog.outlines(self._corpus, self._lineage, documents).items():
                known[document].articles = articles
        return known

    def points(self, documents: Sequence[str]) -> dict[str, list[str]]:
        """Where the published chunks of these documents are stored."""
        found: dict[str, list[str]] = {document: [] for document in documents}
        for stored in self._published(documents):
            found[stored.chunk.document].append(stored.point)
        return found

    def _published(self, documents: Sequence[str]) -> Iterable[Stored]:
        return self._store.contents(self._corpus, self._lineage, documents) if self._lineage else ()


def together(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """``items`` in lists of at most :data:`TOGETHER`, none made before it is asked for."""
    waiting = iter(items)
    while some := list(islice(waiting, TOGETHER)):
        yield some


def _remember(known: Known, stored: Stored) -> None:
    known.texts.setdefault(stored.chunk.id, set()).add(digest(stored.chunk.search_text))
