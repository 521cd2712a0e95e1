"""What a person may read now of what was shown before: one decision, for histories and for the records of answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from rag import scope
from rag.types import Corpus, Principal, Status

RESTING_ON_PASSAGES: Final = frozenset({Status.ANSWERED, Status.EXTRACTS, Status.CONFLICTING_SOURCES})
"""Answers that rest on the passages that they show; any other speaks of all that was searched."""


class Library(Protocol):
    """Who may read what now; :class:`rag.catalog.Catalog` is one."""

    def corpora(self) -> Sequence[Corpus]: ...

    def audiences(
        self, corpus: str, documents: Collection[str] | None = None
    ) -> Mapping[str, frozenset[tuple[frozenset[str], int]]]: ...


class Readable:
    """Which ``documents``, by corpus and id, a person may read as things stand now; ``corpora`` are those they see."""

    def __init__(self, library: Library, principal: Principal, documents: Iterable[tuple[str, str]]) -> None:
        self._principal = principal
        self.corpora = frozenset(corpus.name for corpus in library.corpora() if scope.may_see(principal, corpus))
        wanted: dict[str, set[str]] = {}
        for corpus, document in documents:
            if corpus in self.corpora:
                wanted.setdefault(corpus, set()).add(document)
        self._audiences = {corpus: library.audiences(corpus, named) for corpus, named in wanted.items()}

    def document(self, corpus: str, document: str) -> bool:
        """Whether the person may read every version of a document that is kept."""
        if corpus not in self.corpora:
            return False
        # Of a document of which no version is left nobody knows who may read it, so nobody may.
        audiences = self._audiences[corpus].get(document, frozenset())
        return bool(audiences) and all(
            scope.admits(self._principal, groups, clearance) for groups, clearance in audiences
        )
