"""What a maintainer should look at in a corpus: stale, doubled, contradictory, unreadable, hostile, never found.

Everything is read from what is published, and nothing is changed. Findings name documents and articles; their words
are never quoted.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby, pairwise
from pathlib import PurePosixPath
from typing import Final

from ingest.chunk import CHUNK_CHARACTERS
from ingest.likeness import Likeness, Pair, families
from ingest.pipeline import Progress, Stage, unseen
from ingest.quality import LOW
from ingest.reading import articles
from ingest.windows import windows
from rag.catalog import ArticleRow, Catalog, DocumentRow, DocumentState, Refusal, Snapshot
from rag.errors import Cancelled
from rag.instructions import quarantined, without
from rag.scope import today
from rag.seams import VectorStore
from rag.types import Chunk, Document, LegalStatus, Validity

OLD: Final = dt.timedelta(days=365)
"""How long a version may stand before somebody should make sure that it still holds."""
LONG_ARTICLE: Final = 20_000
"""Characters of an article; the longest of the codes have about that, and what is longer was cut wrongly."""
LONG_CHUNK: Final = 2 * CHUNK_CHARACTERS
"""Characters of a chunk; embedders read less and pass over the rest."""
SHOWN: Final = 20
"""References that a finding names; its sentence gives their number."""
_OVER: Final = frozenset(
    {LegalStatus.REPEALED, LegalStatus.EXPIRED, LegalStatus.ANNULLED, LegalStatus.AMENDED, LegalStatus.TRANSFERRED}
)


class FindingKind(StrEnum):
    """What may be wrong with documents; a closed list."""

    STALE = "stale"
    OLD = "old"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    DATES = "dates"
    NO_DATES = "no_dates"
    LOW_QUALITY = "low_quality"
    TOO_LONG = "too_long"
    SPEAKS_TO_MACHINE = "speaks_to_machine"
    NEVER_FOUND = "never_found"
    NO_TITLE = "no_title"
    NO_RANK = "no_rank"
    NO_ID = "no_id"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at: the ids of the documents, the articles where it is about some, and what it is."""

    kind: FindingKind
    documents: tuple[str, ...]
    references: tuple[str, ...]
    detail_fr: str
    detail_en: str

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind.value,
            "documents": list(self.documents),
            "references": list(self.references),
            "detail_fr": self.detail_fr,
            "detail_en": self.detail_en,
        }


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """The findings of one corpus, by kind, and how much was looked at. ``searches`` counts documents found by any."""

    corpus: str
    snapshot: int | None
    documents: int
    articles: int
    chunks: int
    searches: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings of each kind."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind.value: found[kind] for kind in FindingKind}

    def as_json(self) -> dict[str, object]:
        """What ``ingest report --json`` prints."""
        return {
            "corpus": self.corpus,
            "snapshot": self.snapshot,
            "documents": self.documents,
            "articles": self.articles,
            "chunks": self.chunks,
            "searches": self.searches,
            "counts": self.counts,
            "findings": [finding.as_json() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


def report(
    corpus: str,
    catalog: Catalog,
    store: VectorStore,
    *,
    progress: Progress = unseen,
    cancelled: Callable[[], bool] = lambda: False,
    day: dt.date | None = None,
) -> CorpusReport:
    """What is to be looked at in the published snapshot of ``corpus``, as of ``day`` (default today).

    Raises:
        NotFound: there is no such corpus.
        Cancelled: ``cancelled`` said so.
    """
    start = time.perf_counter()
    lineage = catalog.published(corpus)
    rows = catalog.documents(corpus, lineage)
    reading = _Read(day or today())
    total, done = sum(row.chunks for row in rows), 0
    for several in windows(rows):
        if cancelled():
            raise Cancelled("the report was cancelled", "rapport annulé")
        contents = store.contents(corpus, lineage, [row.document.id for row in several])
        by_document = groupby((stored.chunk for stored in contents), key=lambda chunk: chunk.document)
        chunks = {document: list(parts) for document, parts in by_document}
        for row in several:
            reading.take(row.document, chunks.get(row.document.id, []))
        done += sum(row.chunks for row in several)
        progress(Stage.PARSE, done, total)
    found = catalog.retrievals(corpus)
    findings = [
        *_stale(rows, catalog.refusals(corpus), {one.number: one for one in catalog.snapshots(corpus)}),
        *_old(rows, {one.number: one for one in catalog.snapshots(corpus)}, day or today()),
        *reading.doubled(),
        *reading.findings,
        *_described(rows, reading.dated),
        *_never_found(rows, found),
    ]
    order = list(FindingKind)
    return CorpusReport(
        corpus=corpus,
        snapshot=lineage[0] if lineage else None,
        documents=len(rows),
        articles=reading.articles,
        chunks=reading.chunks,
        searches=sum(found.values()),
        findings=tuple(sorted(findings, key=lambda finding: (order.index(finding.kind), finding.documents))),
        seconds=time.perf_counter() - start,
    )


# --- what the texts show ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Article:
    """An article whose words were compared."""

    document: str
    reference: str
    validity: Validity


@dataclass(slots=True)
class _Read:
    """What was seen in the documents that were read until now."""

    day: dt.date
    findings: list[Finding] = field(default_factory=list)
    articles: int = 0
    chunks: int = 0
    dated: set[str] = field(default_factory=set)
    """Documents of which anything has a date."""
    _likeness: Likeness = field(default_factory=Likeness)
    _compared: list[_Article] = field(default_factory=list)
    _files: dict[str, list[str]] = field(default_factory=dict)
    _words: dict[str, list[str]] = field(default_factory=dict)

    def take(self, document: Document, chunks: Sequence[Chunk]) -> None:
        """Look at one document."""
        rows = articles(chunks)
        self.articles += len(rows)
        self.chunks += len(chunks)
        self._files.setdefault(document.sha256, []).append(document.id)
        self._words.setdefault("\n".join(row.digest for row in rows), []).append(document.id)
        if document.validity.known or any(chunk.validity.known for chunk in chunks):
            self.dated.add(document.id)
        for (reference, validity), parts in groupby(chunks, key=lambda chunk: (chunk.reference, chunk.validity)):
            text = "\n".join(part.text for part in parts)
            self._likeness.add(text)
            self._compared.append(_Article(document.id, reference, validity))
            if len(text) > LONG_ARTICLE:
                self._note(
                    FindingKind.TOO_LONG,
                    document,
                    [reference],
                    f"l'article compte {len(text)} caractères ; il a sans doute été mal découpé",
                    f"the article has {len(text)} characters; it was probably cut wrongly",
                )
        self._judge_chunks(document, chunks)
        for fr, en, references in contradictions(document, rows, chunks, self.day):
            self._note(FindingKind.DATES, document, references, fr, en)

    def doubled(self) -> Iterator[Finding]:
        """Documents and articles that are there more than once."""
        together: set[frozenset[str]] = set()
        for several, fr, en in (
            *((ids, "le même fichier", "the same file") for ids in self._files.values()),
            *((ids, "le même texte", "the same text") for words, ids in self._words.items() if words),
        ):
            if len(several) > 1 and frozenset(several) not in together:
                together.add(frozenset(several))
                yield Finding(
                    FindingKind.DUPLICATE,
                    tuple(several),
                    (),
                    f"{len(several)} documents ont {fr}",
                    f"{len(several)} documents have {en}",
                )
        by_documents: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        for family in families(pair for pair in self._likeness.pairs() if self._counts(pair)):
            documents = tuple(dict.fromkeys(self._compared[place].document for place in family))
            if frozenset(documents) not in together:
                by_documents.setdefault(documents, []).append(family)
        for documents, found in by_documents.items():
            names = [self._compared[family[0]].reference for family in found]
            yield Finding(
                FindingKind.NEAR_DUPLICATE,
                documents,
                tuple(names[:SHOWN]),
                f"{len(found)} articles se répètent presque mot pour mot dans {len(documents)} documents",
                f"{len(found)} articles are repeated almost word for word in {len(documents)} documents",
            )

    def _counts(self, pair: Pair) -> bool:
        """Whether a pair is a double: not two places of one document, nor two versions one after the other."""
        one, other = self._compared[pair.first], self._compared[pair.second]
        return one.document != other.document and overlap(one.validity, other.validity)

    def _judge_chunks(self, document: Document, chunks: Sequence[Chunk]) -> None:
        poor = [chunk for chunk in chunks if chunk.quality is not None and chunk.quality < LOW]
        if poor or (document.quality is not None and document.quality < LOW):
            worst = min([chunk.quality or 0.0 for chunk in poor] + [document.quality or 1.0])
            pages = sorted({chunk.page for chunk in poor if chunk.page is not None})
            where = ", ".join(map(str, pages[:SHOWN]))
            self._note(
                FindingKind.LOW_QUALITY,
                document,
                [chunk.reference for chunk in poor],
                f"texte difficilement lisible (qualité {worst:.2f})" + (f", pages {where}" if where else ""),
                f"the text is hard to read (quality {worst:.2f})" + (f", pages {where}" if where else ""),
            )
        hostile = [chunk for chunk in chunks if quarantined(chunk.text, chunk.breadcrumb)]
        if hostile:
            pages = sorted({chunk.page for chunk in hostile if chunk.page is not None})
            where = ", ".join(map(str, pages[:SHOWN]))
            self._note(
                FindingKind.SPEAKS_TO_MACHINE,
                document,
                [without(chunk.reference) for chunk in hostile],
                f"consignes adressées à une machine dans {len(hostile)} passages, qui ne sont jamais cités ; "
                "vérifiez qui les a écrites, ou reformulez" + (f" (pages {where})" if where else ""),
                f"orders to a machine in {len(hostile)} passages, which are never quoted; "
                "find out who wrote them, or write them in other words" + (f" (pages {where})" if where else ""),
            )
        long = [chunk.reference for chunk in chunks if len(chunk.text) > LONG_CHUNK]
        if long:
            self._note(
                FindingKind.TOO_LONG,
                document,
                long,
                f"{len(long)} passages dépassent {LONG_CHUNK} caractères ; leur fin se trouve mal",
                f"{len(long)} chunks have more than {LONG_CHUNK} characters; their ends are hard to find",
            )

    def _note(self, kind: FindingKind, document: Document, references: Iterable[str], fr: str, en: str) -> None:
        shown = tuple(dict.fromkeys(reference for reference in references if reference))[:SHOWN]
        self.findings.append(Finding(kind, (document.id,), shown, fr, en))


def overlap(one: Validity, other: Validity) -> bool:
    """Whether two rules are, or as far as is known may be, in force on the same day."""
    return (one.end is None or other.start is None or other.start < one.end) and (
        other.end is None or one.start is None or one.start < other.end
    )


def contradictions(
    document: Document, rows: Sequence[ArticleRow], chunks: Sequence[Chunk], day: dt.date
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Dates of a document that cannot all be right: in French, in English, and the articles it is about."""
    if _reversed(document.validity):
        yield "le document finit avant de commencer", "the document ends before it begins", ()
    ending = [row.reference for row in rows if _reversed(row.validity) and row.validity != document.validity]
    if ending:
        yield (
            f"{len(ending)} articles finissent avant de commencer",
            f"{len(ending)} articles end before they begin",
            tuple(ending),
        )
    end = document.validity.end
    late = [row.reference for row in rows if end and row.validity.start and row.validity.start >= end]
    if late and not _reversed(document.validity):
        yield (
            f"{len(late)} articles entrent en vigueur après la fin du document ({end})",
            f"{len(late)} articles come into force after the end of the document ({end})",
            tuple(late),
        )
    doubled = [row.reference for row in _overlapping(rows)]
    if doubled:
        yield (
            f"{len(doubled)} articles ont des versions en vigueur en même temps",
            f"{len(doubled)} articles have versions in force at the same time",
            tuple(doubled),
        )
    over = [c.reference for c in chunks if c.legal_status in _OVER and c.validity.known and c.validity.covers(day)]
    if over:
        yield (
            "ce qui n'est plus en vigueur selon son statut l'est selon ses dates",
            "what is over by its status is in force by its dates",
            tuple(over),
        )
    ended = [
        chunk.reference
        for chunk in chunks
        if chunk.legal_status is LegalStatus.IN_FORCE and chunk.validity.end is not None and chunk.validity.end <= day
    ]
    if ended:
        yield (
            "ce qui est en vigueur selon son statut ne l'est plus selon ses dates",
            "what is in force by its status is over by its dates",
            tuple(ended),
        )


def _reversed(validity: Validity) -> bool:
    return validity.start is not None and validity.end is not None and validity.end <= validity.start


def _overlapping(rows: Sequence[ArticleRow]) -> Iterator[ArticleRow]:
    """Versions of an article, with dates and words of their own, of which another one is in force at the same time."""
    versions: dict[tuple[str, tuple[str, ...]], list[ArticleRow]] = {}
    for row in rows:
        if row.validity.known and not _reversed(row.validity):
            versions.setdefault((row.reference, row.path), []).append(row)
    for several in versions.values():
        ordered = sorted(several, key=lambda row: row.validity.start or dt.date.min)
        for one, other in pairwise(ordered):
            if one.validity != other.validity and one.digest != other.digest and overlap(one.validity, other.validity):
                yield other


# --- what the catalog shows ------------------------------------------------------------------------------


def _stale(
    rows: Sequence[DocumentRow], refusals: Mapping[str, Sequence[Refusal]], snapshots: Mapping[int, Snapshot]
) -> Iterator[Finding]:
    for row in rows:
        if row.state is not DocumentState.STALE:
            continue
        taken = snapshots[row.added].published if row.added in snapshots else None
        since = [one for one in refusals.get(row.document.source, ()) if taken is None or one.at > taken]
        if not since:
            fr, en = "le fichier n'a pas pu être repris", "the file could not be taken in"
        else:
            day, reason = since[0].at.date(), since[-1].reason
            fr = f"le fichier n'est plus repris depuis le {day} ; dernier motif : {reason}"
            en = f"the file has not been taken in since {day}; last reason: {reason} ({since[-1].detail})"
        yield Finding(FindingKind.STALE, (row.document.id,), (), fr, en)


def _old(rows: Sequence[DocumentRow], snapshots: Mapping[int, Snapshot], day: dt.date) -> Iterator[Finding]:
    for row in rows:
        taken = snapshots[row.added].published if row.added in snapshots else None
        if taken is not None and day - taken.date() > OLD:
            yield Finding(
                FindingKind.OLD,
                (row.document.id,),
                (),
                f"sans changement depuis le {taken.date()} ; vérifiez que le texte vaut toujours",
                f"unchanged since {taken.date()}; make sure that the text still holds",
            )


def _described(rows: Sequence[DocumentRow], dated: set[str]) -> Iterator[Finding]:
    """What nobody has said about documents, a finding for each thing."""
    documents = [row.document for row in rows]
    for kind, missing, fr, en in (
        (
            FindingKind.NO_DATES,
            [one.id for one in documents if one.id not in dated],
            "sans aucune date : la recherche les montre toujours, marqués « validité inconnue »",
            "without any date: searches always show them, marked as of unknown validity",
        ),
        (
            FindingKind.NO_TITLE,
            [
                one.id
                for one in documents
                if one.title in {PurePosixPath(one.source).stem, PurePosixPath(one.source).name}
            ],
            "sans titre : leur nom de fichier en tient lieu",
            "without a title: the name of the file stands in for it",
        ),
        (
            FindingKind.NO_RANK,
            [one.id for one in documents if one.norm_rank is None],
            "sans rang dans la hiérarchie des normes",
            "without a rank among the norms",
        ),
        (
            FindingKind.NO_ID,
            [one.id for one in documents if one.id == one.source],
            "sans identifiant donné : renommés et modifiés à la fois, ils passeraient pour d'autres",
            "without an id of their own: renamed and edited at once, they would be taken for others",
        ),
    ):
        if missing:
            count = _documents(len(missing))
            yield Finding(kind, tuple(missing), (), f"{count} {fr}", f"{count} {en}")


def _documents(count: int) -> str:
    """The same in both languages."""
    return f"{count} document{'' if count == 1 else 's'}"


def _never_found(rows: Sequence[DocumentRow], found: Mapping[str, int]) -> Iterator[Finding]:
    """Documents that no search has found, once searches have found others."""
    missing = [row.document.id for row in rows if row.document.id not in found]
    if missing and found:
        yield Finding(
            FindingKind.NEVER_FOUND,
            tuple(missing),
            (),
            f"{_documents(len(missing))} qu'aucune recherche n'a trouvé{'' if len(missing) == 1 else 's'}",
            f"{_documents(len(missing))} that no search has found",
        )
