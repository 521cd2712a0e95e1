"""What both Qdrant adapters store beside the vectors, and which of it a scope may see; pure.

A chunk is one flat payload. Dates are day numbers, because both engines compare integers exactly; an unknown
start or an open end is a number outside the calendar. A condition is a small tree (:class:`Where`) that each
adapter spells once in the models of its library.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from rag.errors import FingerprintMismatch
from rag.types import PUBLIC, Chunk, LegalStatus, NormRank, Point, Query, Scope, Stored, Validity

DENSE = "dense"
SPARSE = "bm25"

KEYWORDS = ("chunk", "corpus", "document", "groups", "own_references")
"""Payload keys that filters compare with words."""
INTEGERS = ("added", "removed", "clearance", "valid_from", "valid_to")
"""Payload keys that filters compare with numbers."""

ALWAYS = 0
"""``valid_from`` of an unknown start: below the number of every day."""
OPEN = dt.date.max.toordinal() + 1
"""``valid_to`` of an open end: above the number of every day."""

POINTS = uuid.UUID("5b1d3c1e-6c38-5d8e-9a57-0c6a0f6a7a11")
"""Namespace of point ids; changing it would orphan every stored point."""

BATCH = 512
"""Points per request: large enough to amortise a call, small enough for a server's body limit (32 MB)."""

Payload = dict[str, Any]
"""A payload as the libraries take and give it: JSON values by key."""

_Item = TypeVar("_Item")


def point_id(chunk: str, added: int) -> str:
    """The id of the point that holds the chunk with id ``chunk`` since snapshot ``added``."""
    return str(uuid.uuid5(POINTS, f"{chunk}/{added}"))


def visible(added: int, removed: Collection[int], lineage: Collection[int]) -> bool:
    """Whether a point with these marks is seen at ``lineage`` (best a set)."""
    return added in lineage and not any(snapshot in lineage for snapshot in removed)


def batches(items: Iterable[_Item], size: int = BATCH) -> Iterator[list[_Item]]:
    """``items`` in their order, at most ``size`` at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def lists_of(query: Query) -> list[str]:
    """The names of the lists of :class:`~rag.types.Candidates` that ``query`` fills."""
    lists = []
    if query.dense is not None:
        lists.append("dense")
    if query.sparse is not None and query.sparse.indices:
        lists.append("sparse")
    if query.references:
        lists.append("exact")
    return lists


def must_be_of(corpus: str, points: Iterable[Point]) -> None:
    """Refuse to stage a chunk into another corpus than its own, where other readers would see it."""
    for point in points:
        if point.chunk.corpus != corpus:
            raise ValueError(f"a chunk of corpus {point.chunk.corpus} cannot be staged into {corpus}")


def mismatch(
    filled_by: str, size: int, fingerprint: str, dimension: int, *, rebuilt: bool = False
) -> FingerprintMismatch:
    """The error that names both embedders and says what to do; ``rebuilt`` where another index can be made here."""
    en, fr = "sync the folders into another home", "relancez les synchronisations dans un autre dossier VAUBAN_HOME"
    if rebuilt:
        en, fr = "run `vauban ingest rebuild` to embed everything with it", "lancez « vauban ingest rebuild »"
    return FingerprintMismatch(
        f"the store was filled by embedder {filled_by} ({size} dimensions), the settings ask for {fingerprint} "
        f"({dimension}); set the former one again, or {en}",
        f"l'index a été rempli par le modèle {filled_by} ({size} dimensions), le réglage demande {fingerprint} "
        f"({dimension}) ; reprenez le premier ou {fr}",
    )


# --- chunk and payload ---------------------------------------------------------------------------------


def payload_of(chunk: Chunk, added: int, removed: Sequence[int] = ()) -> Payload:
    """What is stored of ``chunk`` when snapshot ``added`` stages it, or of one with marks already."""
    start, end = chunk.validity.start, chunk.validity.end
    return {
        "chunk": chunk.id,
        "corpus": chunk.corpus,
        "document": chunk.document,
        "title": chunk.title,
        "reference": chunk.reference,
        "path": list(chunk.path),
        "text": chunk.text,
        "ordinal": chunk.ordinal,
        "language": chunk.language,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "page_end": chunk.page_end,
        "norm_rank": None if chunk.norm_rank is None else chunk.norm_rank.value,
        "valid_from": ALWAYS if start is None else start.toordinal(),
        "valid_to": OPEN if end is None else end.toordinal(),
        "groups": sorted(chunk.groups),
        "clearance": chunk.clearance,
        "own_references": list(chunk.own_references),
        "mentions": list(chunk.mentions),
        "legal_status": None if chunk.legal_status is None else chunk.legal_status.value,
        "quality": chunk.quality,
        "lead_in": chunk.lead_in,
        "added": added,
        "removed": list(removed),
    }


def chunk_of(payload: Mapping[str, Any]) -> Chunk:
    """The chunk that :func:`payload_of` stored, with the audience it has now."""
    start, end, rank = payload["valid_from"], payload["valid_to"], payload["norm_rank"]
    # Points of before these two and the lead-in were stored lack them.
    status, quality = payload.get("legal_status"), payload.get("quality")
    return Chunk(
        id=payload["chunk"],
        corpus=payload["corpus"],
        document=payload["document"],
        title=payload["title"],
        reference=payload["reference"],
        path=tuple(payload["path"]),
        text=payload["text"],
        ordinal=payload["ordinal"],
        language=payload["language"],
        start=payload["start"],
        end=payload["end"],
        page=payload["page"],
        page_end=payload["page_end"],
        norm_rank=None if rank is None else NormRank(rank),
        validity=Validity(
            start=None if start == ALWAYS else dt.date.fromordinal(start),
            end=None if end == OPEN else dt.date.fromordinal(end),
        ),
        groups=frozenset(payload["groups"]),
        clearance=payload["clearance"],
        own_references=tuple(payload["own_references"]),
        mentions=tuple(payload["mentions"]),
        legal_status=None if status is None else LegalStatus(status),
        quality=quality,
        lead_in=payload.get("lead_in", ""),
    )


def stored_of(point: str, payload: Mapping[str, Any]) -> Stored:
    return Stored(point, chunk_of(payload), payload["added"], tuple(payload["removed"]))


def in_reading_order(stored: Iterable[Stored]) -> list[Stored]:
    """By corpus, document and ordinal; ids decide between equals, so that the order never varies."""
    return sorted(stored, key=lambda s: (s.chunk.corpus, s.chunk.document, s.chunk.ordinal, s.chunk.id, s.point))


def of_documents(corpus: str, documents: Collection[str] | None) -> Iterator[Where]:
    """All points of ``corpus``, or those of the ``documents``, in conditions of a bearable size."""
    of_corpus = AnyOf("corpus", (corpus,))
    if documents is None:
        yield Where(every=(of_corpus,))
        return
    for ids in batches(sorted(set(documents))):
        yield Where(every=(of_corpus, AnyOf("document", tuple(ids))))


# --- conditions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The payload's words at ``key`` include one of ``words``."""

    key: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """A number of the payload at ``key`` lies in ``[low, high]``; ``None`` leaves that side open."""

    key: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """All of ``every``, one of ``some`` unless it is empty, none of ``none``."""

    every: tuple[Where | AnyOf | Within, ...] = ()
    some: tuple[Where | AnyOf | Within, ...] = ()
    none: tuple[Where | AnyOf | Within, ...] = ()


Condition = Where | AnyOf | Within


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The numbers as inclusive ranges, ascending: a lineage of hundreds of snapshots is a handful of them."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def one_of(options: Sequence[Condition]) -> Condition:
    """Holds when one of ``options`` does; ``options`` must not be empty, for engines read that as *anything*."""
    if not options:
        raise ValueError("a choice between no conditions would let everything through")
    return options[0] if len(options) == 1 else Where(some=tuple(options))


def in_lineage(corpus: str, lineage: Collection[int]) -> Where | None:
    """What ``lineage`` of ``corpus`` sees, whatever its audience; ``None`` when that is nothing."""
    spans = runs(lineage)
    if not spans:
        return None
    added = one_of([Within("added", low, high) for low, high in spans])
    return Where(
        every=(AnyOf("corpus", (corpus,)), added),
        none=tuple(Within("removed", low, high) for low, high in spans),
    )


def in_scope(scope: Scope) -> Where | None:
    """All that ``scope`` may see and nothing else; ``None`` when that is nothing. Every reader's search has it."""
    corpora = [where for corpus in sorted(scope.lineages) if (where := in_lineage(corpus, scope.lineages[corpus]))]
    if not corpora:
        return None
    every: list[Condition] = [
        one_of(corpora),
        AnyOf("groups", tuple(sorted({PUBLIC} | scope.groups))),
        Within("clearance", None, scope.clearance),
    ]
    if scope.as_of is not None:
        day = scope.as_of.toordinal()
        every += [Within("valid_from", None, day), Within("valid_to", day + 1, None)]
    return Where(every=tuple(every))


def narrowed(
    where: Where,
    documents: Collection[tuple[str, str]] | None,
    ids: Collection[str] | None,
    references: Collection[str] | None,
) -> Where | None:
    """``where`` and all the given conditions; ``None`` when one of them is an empty choice."""
    every: list[Condition] = [where]
    if documents is not None:
        corpora: dict[str, set[str]] = {}
        for corpus, document in documents:
            corpora.setdefault(corpus, set()).add(document)
        if not corpora:
            return None
        every.append(
            one_of(
                [
                    Where(every=(AnyOf("corpus", (corpus,)), AnyOf("document", tuple(sorted(names)))))
                    for corpus, names in sorted(corpora.items())
                ]
            )
        )
    for key, words in (("chunk", ids), ("own_references", references)):
        if words is None:
            continue
        if not words:
            return None
        every.append(AnyOf(key, tuple(sorted(set(words)))))
    return Where(every=tuple(every))
