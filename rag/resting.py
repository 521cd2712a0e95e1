"""What an answer rests on, and whether a person may still read all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rag.readable import RESTING_ON_PASSAGES, Library, Readable
from rag.types import Answer, Principal

Source = tuple[str, str | None]
"""What an answer rests on: a document by corpus and id, or with ``None`` a corpus as a whole."""


class Rights:
    """Whether a person may read everything that an answer rests on, as things stand now."""

    def __init__(self, library: Library, principal: Principal, resting: Iterable[frozenset[Source]]) -> None:
        named = {source for sources in resting for source in sources}
        self._readable = Readable(library, principal, ((name, id_) for name, id_ in named if id_ is not None))

    @property
    def corpora(self) -> frozenset[str]:
        """Those that the person sees."""
        return self._readable.corpora

    def reads(self, sources: frozenset[Source]) -> bool:
        return all(
            corpus in self.corpora if document is None else self._readable.document(corpus, document)
            for corpus, document in sources
        )


def of(answer: Answer) -> frozenset[Source]:
    """What an answer shows: its passages. One that is none speaks of all that was searched (whom to ask, choices)."""
    shown: frozenset[Source] = frozenset((one.chunk.corpus, one.chunk.document) for one in answer.passages)
    if answer.status in RESTING_ON_PASSAGES:
        return shown
    return shown | frozenset((corpus, None) for corpus in answer.snapshots)


def written(sources: Iterable[Source]) -> list[list[str | None]]:
    """As a column of JSON holds it."""
    return [list(source) for source in sorted(sources, key=lambda source: (source[0], source[1] or ""))]


def read(kept: Iterable[Sequence[str | None]]) -> frozenset[Source]:
    """What :func:`written` has written."""
    return frozenset((str(corpus), document) for corpus, document in kept)
