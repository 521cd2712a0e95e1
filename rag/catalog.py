"""The catalog: corpora, which snapshot of each is published, their documents and runs.

Publishing and rolling back are one row here; the vector store never learns of them. Every change is one
transaction, durable when the method returns. Access rules are no part of a snapshot: :meth:`Catalog.declare` and
:meth:`Catalog.restrict` act at once, on every version.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from rag.database import Database, Text, batches, metadata
from rag.errors import Conflict, NotFound, StoreBusy
from rag.types import (
    Corpus,
    Document,
    LegalStatus,
    NormRank,
    Outcome,
    Rejected,
    RunKind,
    RunState,
    RunStatus,
    Synonyms,
    Validity,
)

MOST_BOUND: Final = 500
"""Values bound to one statement; the databases allow some thousands."""
REMEMBERED: Final = 256
"""Lineages held in memory: those published now, and some that are replayed."""
INTERRUPTED: Final = "interrupted"
"""Error code of a run whose process ended before it did."""

_corpora = sa.Table(
    "corpora",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("title", Text, nullable=False),
    sa.Column("language", Text, nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("clearance", sa.Integer, nullable=False),
    sa.Column("contact", Text, nullable=False),
    sa.Column("norm_rank", Text),
    sa.Column("retention_days", sa.Integer, nullable=False),
    sa.Column("published", sa.Integer),
    sa.Column("last_snapshot", sa.Integer, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("glossary", Text, nullable=False),
)
_snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("corpus", Text, sa.ForeignKey("corpora.name"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parent", sa.Integer),
    sa.Column("state", Text, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("published", Text),
    sa.Column("superseded", Text),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
)
_documents = sa.Table(
    "documents",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("corpus", Text, sa.ForeignKey("corpora.name"), nullable=False),
    sa.Column("id", Text, nullable=False),
    sa.Column("added", sa.Integer, nullable=False),
    sa.Column("removed", sa.JSON, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("title", Text, nullable=False),
    sa.Column("language", Text, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("media_type", Text, nullable=False),
    sa.Column("norm_rank", Text),
    sa.Column("valid_from", sa.Date),
    sa.Column("valid_to", sa.Date),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("clearance", sa.Integer, nullable=False),
    sa.Column("pages", sa.Integer),
    sa.Column("digest", Text, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("legal_status", Text),
    sa.Column("quality", sa.Float),
    sa.Index("ix_documents_corpus_id", "corpus", "id"),
)
_outlines = sa.Table(
    "outlines",
    metadata,
    sa.Column("document", sa.Integer, sa.ForeignKey("documents.row", ondelete="CASCADE"), primary_key=True),
    sa.Column("articles", sa.JSON, nullable=False),
)
_outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("run", Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("document", Text, nullable=False),
    sa.Column("path", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("articles", sa.JSON, nullable=False),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Index("ix_outcomes_run", "run"),
)
_retrievals = sa.Table(
    "retrievals",
    metadata,
    sa.Column("corpus", Text, primary_key=True),
    sa.Column("document", Text, primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("latest", Text, nullable=False),
)
_runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("corpus", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("snapshot", sa.Integer),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("started", Text),
    sa.Column("ended", Text),
    sa.Column("error", Text),
    sa.Column("detail", Text, nullable=False),
    sa.Column("owner", Text),
    sa.Column("kind", Text, nullable=False, server_default="sync"),
    sa.Index("ix_runs_corpus_created", "corpus", "created"),
)
_rejections = sa.Table(
    "rejections",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("run", Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("path", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Index("ix_rejections_run", "run"),
)


class DocumentState(StrEnum):
    """``stale`` when the file has changed since but could not be taken in; a fact of now, not of a snapshot."""

    CURRENT = "current"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """One article (annex, preamble, division) of a version of a document, as a comparison needs it.

    ``digest`` sums up its words; two versions of one article differ in it or in their validity.
    """

    reference: str
    path: tuple[str, ...]
    digest: str
    validity: Validity


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One version of a document: visible where ``added`` is in the lineage and no member of ``removed`` is.

    ``digest`` sums up what the version was made from besides its bytes: its metadata and the reading program.
    ``articles`` are written with it, and read by :meth:`Catalog.outlines` only.
    """

    document: Document
    digest: str
    chunks: int
    added: int = 0
    removed: tuple[int, ...] = ()
    state: DocumentState = DocumentState.CURRENT
    articles: tuple[ArticleRow, ...] = ()

    @property
    def file(self) -> str:
        """The name of its source file in the home's ``files``."""
        return self.document.sha256


class SnapshotState(StrEnum):
    STAGED = "staged"
    ABANDONED = "abandoned"
    """Its run has ended without publishing it, and cannot do so any more; its points are about to be discarded."""
    PUBLISHED = "published"
    """It was published at some time and may still be read."""
    EXPIRED = "expired"
    """Past the retention: no longer read, its points about to be deleted."""
    SWEPT = "swept"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a corpus. ``superseded`` is when another one took its place as the published one."""

    corpus: str
    number: int
    parent: int | None
    state: SnapshotState
    created: dt.datetime
    published: dt.datetime | None = None
    superseded: dt.datetime | None = None
    documents: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run did not take a file in, and when that run was asked for."""

    reason: str
    detail: str
    at: dt.datetime


class Catalog:
    """Safe to use from several threads and processes; make one with :meth:`open`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._name = uuid.uuid4().hex
        """By this name the runs that are asked for here are told from those of other hosts."""
        self._known: dict[tuple[str, int], tuple[int, ...]] = {}
        """Lineages of published snapshots, which never change; every search asks for them."""

    @classmethod
    def open(cls, where: Path | str) -> Self:
        """Open the catalog in the file, or in the PostgreSQL database at the URL, ``where``.

        It is made or brought up to date where needed.

        Raises:
            SettingsError: the URL is none of PostgreSQL.
            StoreError: it is damaged, unreadable, unreachable, or written by a newer program.
            DiskFull: there is no room for it.
        """
        return cls(Database.open(where))

    def close(self) -> None:
        self._database.close()

    # --- corpora

    def declare(self, corpus: Corpus) -> None:
        """Make a corpus known, or change what is said of it; its audience changes at once."""
        values = _corpus_values(corpus)
        new = values | {"last_snapshot": 0, "held": False}
        with self._database.writing() as connection:
            connection.execute(self._database.upsert(_corpora, new, values))

    def corpora(self) -> list[Corpus]:
        """All corpora, by name."""
        with self._database.reading() as connection:
            return [_corpus(row) for row in connection.execute(sa.select(_corpora).order_by(_corpora.c.name))]

    def corpus(self, name: str) -> Corpus:
        """The corpus called ``name``.

        Raises:
            NotFound: there is none.
        """
        with self._database.reading() as connection:
            return _corpus(_one_corpus(connection, name))

    def held(self, name: str) -> bool:
        """Whether automatic syncs of a corpus wait for a manual one, because it was rolled back."""
        with self._database.reading() as connection:
            return bool(_one_corpus(connection, name).held)

    def unhold(self, name: str) -> None:
        """Let automatic syncs go on."""
        with self._database.writing() as connection:
            connection.execute(_corpora.update().where(_corpora.c.name == name).values(held=False))

    # --- snapshots

    def lineages(self) -> dict[str, tuple[int, ...]]:
        """The published lineage of every corpus that has one, newest first."""
        query = sa.select(_corpora.c.name, _corpora.c.published).where(_corpora.c.published.is_not(None))
        with self._database.reading() as connection:
            published = connection.execute(query.order_by(_corpora.c.name)).all()
            return {name: self._lineage(connection, name, number) for name, number in published}

    def lineage(self, corpus: str, snapshot: int) -> tuple[int, ...]:
        """The lineage of a snapshot that may still be read, newest first.

        Raises:
            NotFound: it never was published, or the retention has passed.
        """
        with self._database.reading() as connection:
            _readable(connection, corpus, snapshot)
            return self._lineage(connection, corpus, snapshot)

    def published(self, corpus: str) -> tuple[int, ...]:
        """The published lineage of a corpus, newest first; empty before its first publication."""
        with self._database.reading() as connection:
            number = _one_corpus(connection, corpus).published
            return () if number is None else self._lineage(connection, corpus, number)

    def snapshots(self, corpus: str) -> list[Snapshot]:
        """All snapshots of a corpus, newest first, whatever became of them."""
        query = sa.select(_snapshots).where(_snapshots.c.corpus == corpus).order_by(_snapshots.c.number.desc())
        with self._database.reading() as connection:
            return [_snapshot(row) for row in connection.execute(query)]

    def snapshot(self, corpus: str, number: int) -> Snapshot:
        """One snapshot of a corpus, which there is."""
        query = sa.select(_snapshots).where(_snapshots.c.corpus == corpus, _snapshots.c.number == number)
        with self._database.reading() as connection:
            return _snapshot(connection.execute(query).one())

    def begin(self, corpus: str) -> Snapshot:
        """A draft with the next number, never used before; its parent is the published snapshot."""
        with self._database.writing() as connection:
            row = _one_corpus(connection, corpus)
            number = row.last_snapshot + 1
            draft = Snapshot(corpus, number, row.published, SnapshotState.STAGED, _now())
            connection.execute(_corpora.update().where(_corpora.c.name == corpus).values(last_snapshot=number))
            connection.execute(
                _snapshots.insert().values(
                    corpus=corpus,
                    number=number,
                    parent=row.published,
                    state=draft.state,
                    created=draft.created.isoformat(),
                    documents=0,
                    chunks=0,
                )
            )
            return draft

    def publish(
        self,
        draft: Snapshot,
        *,
        added: Sequence[DocumentRow],
        removed: Collection[str],
        stale: Collection[str],
        chunks: int,
    ) -> None:
        """Make ``draft`` what readers see, in one transaction.

        ``added`` are the new versions of documents (each takes the place of the version before it), ``removed``
        the ids of those that are gone, ``stale`` of those whose file could not be taken in; ``chunks`` is the
        number of chunks visible afterwards.

        A draft that is published already is left as it is, so that whoever lost the answer may ask again.

        Raises:
            Conflict: something else was published since the draft was begun, or another run took it for abandoned;
                nothing has changed.
        """
        gone = {row.document.id for row in added} | set(removed)
        with self._database.writing() as connection:
            corpus = _one_corpus(connection, draft.corpus)
            state = _state(connection, draft.corpus, draft.number)
            if state == SnapshotState.PUBLISHED:
                return
            if corpus.published != draft.parent or state != SnapshotState.STAGED:
                raise published_meanwhile(draft.corpus)
            lineage = _lineage(connection, draft.corpus, draft.parent)
            replaced = [
                {"at": row.row, "now": [*row.removed, draft.number]}
                for some in batches(gone, MOST_BOUND)
                for row in _visible(connection, draft.corpus, lineage, some)
            ]
            if replaced:
                connection.execute(
                    _documents.update()
                    .where(_documents.c.row == sa.bindparam("at"))
                    .values(removed=sa.bindparam("now", type_=sa.JSON)),
                    replaced,
                )
            if added:
                connection.execute(_documents.insert(), [_document_values(row, draft.number) for row in added])
                _write_outlines(connection, draft, added)
            kept = _count(connection, draft.corpus, draft.parent) - len(replaced)
            now = _now().isoformat()
            connection.execute(
                _this(draft.corpus, draft.number).values(
                    state=SnapshotState.PUBLISHED, published=now, documents=kept + len(added), chunks=chunks
                )
            )
            _point_at(connection, draft.corpus, draft.parent, draft.number, now)
            connection.execute(_corpora.update().where(_corpora.c.name == draft.corpus).values(held=False))
            _mark(connection, draft.corpus, _lineage(connection, draft.corpus, draft.number), stale)

    def rollback(self, corpus: str, to: int | None = None) -> int:
        """Publish an earlier snapshot again (default: the parent of the published one); its number.

        Automatic syncs of the corpus are on hold from then on. Access is as wide as it was before: it is no part
        of a snapshot.

        Raises:
            NotFound: there is no such snapshot, or the retention has passed.
            Conflict: there is no earlier one, or it is the published one already.
        """
        with self._database.writing() as connection:
            row = _one_corpus(connection, corpus)
            if to is None:
                to = None if row.published is None else _parent(connection, corpus, row.published)
                if to is None:
                    raise Conflict(
                        f"`{corpus}` has no earlier snapshot to go back to",
                        f"« {corpus} » n'a pas d'état antérieur où revenir",
                        code="no_earlier_snapshot",
                    )
            _readable(connection, corpus, to)
            if to == row.published:
                raise Conflict(
                    f"snapshot {to} of `{corpus}` is the published one already",
                    f"l'état {to} de « {corpus} » est déjà celui qui est publié",
                    code="already_published",
                )
            _point_at(connection, corpus, row.published, to, _now().isoformat())
            connection.execute(_corpora.update().where(_corpora.c.name == corpus).values(held=True))
            return to

    def abandoned(self, corpus: str) -> list[int]:
        """Drafts that were never published, oldest first: what runs that ended early have left."""
        with self._database.reading() as connection:
            return _drafts(connection, corpus)

    def abandon(self, corpus: str) -> list[int]:
        """What :meth:`abandoned` gives; none of them can be published from here on, whoever may still be at it."""
        with self._database.writing() as connection:
            connection.execute(
                _snapshots.update()
                .where(_snapshots.c.corpus == corpus, _snapshots.c.state == SnapshotState.STAGED)
                .values(state=SnapshotState.ABANDONED)
            )
            return _drafts(connection, corpus)

    def leave(self, draft: Snapshot) -> None:
        """Leave a draft to the next run, which discards it; one that is published stays so."""
        with self._database.writing() as connection:
            connection.execute(
                _this(draft.corpus, draft.number)
                .where(_snapshots.c.state != SnapshotState.PUBLISHED)
                .values(state=SnapshotState.ABANDONED)
            )

    def discarded(self, corpus: str, number: int) -> None:
        """Note that the store has nothing left of a draft."""
        with self._database.writing() as connection:
            connection.execute(_this(corpus, number).values(state=SnapshotState.DISCARDED))

    def expire(self, corpus: str, now: dt.datetime) -> list[tuple[int, ...]] | None:
        """End the reading of snapshots past the retention of their corpus.

        The lineages that stay readable, the published one among them, when there is something to sweep; ``None``
        when there is nothing. Asked again before :meth:`swept`, it answers the same.
        """
        with self._database.writing() as connection:
            row = _one_corpus(connection, corpus)
            horizon = (now - dt.timedelta(days=row.retention_days)).isoformat()
            of_corpus = _snapshots.c.corpus == corpus
            connection.execute(
                _snapshots.update()
                .where(
                    of_corpus,
                    _snapshots.c.state == SnapshotState.PUBLISHED,
                    _snapshots.c.number != row.published,
                    _snapshots.c.superseded < horizon,
                )
                .values(state=SnapshotState.EXPIRED)
            )
            waiting = sa.select(sa.func.count()).where(of_corpus, _snapshots.c.state == SnapshotState.EXPIRED)
            if not connection.execute(waiting).scalar():
                return None
            readable = sa.select(_snapshots.c.number).where(of_corpus, _snapshots.c.state == SnapshotState.PUBLISHED)
            numbers = connection.execute(readable.order_by(_snapshots.c.number.desc())).scalars()
            return [_lineage(connection, corpus, number) for number in numbers]

    def give_up(self, corpus: str, numbers: Collection[int]) -> None:
        """End the reading of those snapshots, as if their retention had passed; never that of the published one."""
        with self._database.writing() as connection:
            published = _one_corpus(connection, corpus).published
            for number in sorted(set(numbers) - {published}):
                connection.execute(
                    _this(corpus, number)
                    .where(_snapshots.c.state == SnapshotState.PUBLISHED)
                    .values(state=SnapshotState.EXPIRED)
                )

    def swept(self, corpus: str) -> None:
        """Forget the versions of documents that no readable snapshot sees, and note that the sweep is done."""
        with self._database.writing() as connection:
            query = sa.select(_snapshots.c.number).where(
                _snapshots.c.corpus == corpus, _snapshots.c.state == SnapshotState.PUBLISHED
            )
            seen: set[int] = set()
            for number in list(connection.execute(query).scalars()):
                seen |= {row.row for row in _visible(connection, corpus, _lineage(connection, corpus, number))}
            rows = connection.execute(sa.select(_documents.c.row).where(_documents.c.corpus == corpus)).scalars()
            for gone in batches(set(rows) - seen, MOST_BOUND):
                connection.execute(_documents.delete().where(_documents.c.row.in_(gone)))
            connection.execute(
                _snapshots.update()
                .where(_snapshots.c.corpus == corpus, _snapshots.c.state == SnapshotState.EXPIRED)
                .values(state=SnapshotState.SWEPT)
            )

    # --- documents

    def documents(self, corpus: str, lineage: Sequence[int], among: Collection[str] | None = None) -> list[DocumentRow]:
        """The documents visible at ``lineage``, by id: all of them, or those ``among`` some ids."""
        with self._database.reading() as connection:
            if among is None:
                rows = _visible(connection, corpus, lineage)
            else:
                rows = [
                    row
                    for some in batches(set(among), MOST_BOUND)
                    for row in _visible(connection, corpus, lineage, some)
                ]
        return sorted(map(_document_row, rows), key=lambda row: row.document.id)

    def called(self, corpus: str, lineage: Sequence[int], name: str) -> list[DocumentRow]:
        """The documents visible at ``lineage`` whose path begins with ``name``, or is ``name`` without its ending."""
        source, stem = _documents.c.source, name.rpartition(".")[0] or name
        alike = sa.or_(source == stem, source.startswith(name, autoescape=True))
        with self._database.reading() as connection:
            rows = _visible(connection, corpus, lineage, where=alike)
        return list(map(_document_row, rows))

    def stale(self, corpus: str, lineage: Sequence[int]) -> set[str]:
        """The documents visible at ``lineage`` whose file could not be taken in the last time."""
        with self._database.reading() as connection:
            rows = _visible(connection, corpus, lineage, where=_documents.c.state == DocumentState.STALE)
        return {row.id for row in rows}

    def document(self, corpus: str, document: str, lineage: Sequence[int]) -> DocumentRow | None:
        """The version of a document that is visible at ``lineage``."""
        with self._database.reading() as connection:
            rows = _visible(connection, corpus, lineage, [document])
        return _document_row(rows[0]) if rows else None

    def outlines(
        self, corpus: str, lineage: Sequence[int], documents: Collection[str]
    ) -> dict[str, tuple[ArticleRow, ...]]:
        """The articles of those ``documents`` that are visible at ``lineage``, in reading order."""
        found: dict[str, tuple[ArticleRow, ...]] = {}
        with self._database.reading() as connection:
            for some in batches(set(documents), MOST_BOUND):
                rows = {row.row: row.id for row in _visible(connection, corpus, lineage, some)}
                query = sa.select(_outlines).where(_outlines.c.document.in_(rows))
                for row in connection.execute(query):
                    found[rows[row.document]] = tuple(_article(said) for said in row.articles)
        return found

    def titles(self, corpus: str, documents: Collection[str]) -> dict[str, frozenset[str]]:
        """Every title that each of these documents has had, over all the versions that are kept."""
        query = sa.select(_documents.c.id, _documents.c.title).where(_documents.c.corpus == corpus).distinct()
        found: dict[str, set[str]] = {}
        with self._database.reading() as connection:
            for some in batches(documents, MOST_BOUND):
                for identifier, title in connection.execute(query.where(_documents.c.id.in_(some))):
                    found.setdefault(identifier, set()).add(title)
        return {identifier: frozenset(titles) for identifier, titles in found.items()}

    def audiences(
        self, corpus: str, documents: Collection[str] | None = None
    ) -> dict[str, frozenset[tuple[frozenset[str], int]]]:
        """The groups and clearance that the kept versions of each document have: of ``documents``, or of all."""
        groups = sa.cast(_documents.c.groups, Text).label("groups")  # as text: one of few, parsed once
        query = sa.select(_documents.c.id, groups, _documents.c.clearance).where(_documents.c.corpus == corpus)
        queries = [query]
        if documents is not None:
            queries = [query.where(_documents.c.id.in_(some)) for some in batches(set(documents), MOST_BOUND)]
        read: dict[str, frozenset[str]] = {}
        found: dict[str, set[tuple[frozenset[str], int]]] = {}
        with self._database.reading() as connection:
            for one in queries:
                for identifier, written, clearance in connection.execute(one.distinct()):
                    if written not in read:
                        read[written] = frozenset(json.loads(written))
                    found.setdefault(identifier, set()).add((read[written], clearance))
        return {identifier: frozenset(audiences) for identifier, audiences in found.items()}

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        """Set the audience of a document on every version it has, at once."""
        with self._database.writing() as connection:
            connection.execute(
                _documents.update()
                .where(_documents.c.corpus == corpus, _documents.c.id == document)
                .values(groups=sorted(groups), clearance=clearance)
            )

    def mark(self, corpus: str, stale: Collection[str]) -> None:
        """Say which of the published documents are stale; the others are current."""
        with self._database.writing() as connection:
            number = _one_corpus(connection, corpus).published
            _mark(connection, corpus, _lineage(connection, corpus, number), stale)

    def refresh(self, corpus: str, rows: Sequence[DocumentRow]) -> None:
        """Note that published documents, read again, gave what they had given: only digest and articles are new."""
        again = {row.document.id: row for row in rows}
        with self._database.writing() as connection:
            number = _one_corpus(connection, corpus).published
            for found in _visible(connection, corpus, _lineage(connection, corpus, number)):
                row = again.get(found.id)
                if row is None:
                    continue
                connection.execute(_documents.update().where(_documents.c.row == found.row).values(digest=row.digest))
                articles = {"articles": [_article_values(article) for article in row.articles]}
                connection.execute(self._database.upsert(_outlines, articles | {"document": found.row}, articles))

    def files(self) -> set[str]:
        """The SHA-256 of every source file that a kept version of a document needs."""
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(_documents.c.sha256).distinct()).scalars())

    # --- runs

    def add_run(self, corpus: str, state: RunState = RunState.QUEUED, kind: RunKind = RunKind.SYNC) -> str:
        """Note that an ingestion was asked for; the id of its run. ``corpus`` is empty where it is about all."""
        run = uuid.uuid4().hex
        self._database.hold(_alive(self._name))
        now = _now().isoformat()
        with self._database.writing() as connection:
            connection.execute(
                _runs.insert().values(
                    id=run,
                    corpus=corpus,
                    state=state,
                    counts={},
                    created=now,
                    started=now if state is RunState.RUNNING else None,
                    detail="",
                    owner=self._name,
                    kind=kind,
                )
            )
        return run

    def start_run(self, run: str, corpus: str | None = None) -> None:
        """Note that a run has begun, and of which corpus it is where that was not known before."""
        values: dict[str, object] = {"state": RunState.RUNNING, "started": _now().isoformat()}
        if corpus is not None:
            values["corpus"] = corpus
        with self._database.writing() as connection:
            connection.execute(_runs.update().where(_runs.c.id == run).values(values))

    def end_run(
        self,
        run: str,
        state: RunState,
        *,
        snapshot: int | None = None,
        counts: Mapping[str, float] | None = None,
        rejected: Iterable[Rejected] = (),
        outcomes: Iterable[Outcome] = (),
        error: str | None = None,
        detail: str = "",
    ) -> None:
        """Note how a run ended, the files that it did not take in, and what it did to documents; may be repeated."""
        rows = [{"run": run, "path": r.path, "reason": r.reason, "detail": r.detail} for r in rejected]
        done = [
            {
                "run": run,
                "document": one.document,
                "path": one.path,
                "action": one.action,
                "articles": dict(one.articles),
                "warnings": list(one.warnings),
            }
            for one in outcomes
        ]
        with self._database.writing() as connection:
            connection.execute(
                _runs.update()
                .where(_runs.c.id == run)
                .values(
                    state=state,
                    snapshot=snapshot,
                    counts=dict(counts or {}),
                    ended=_now().isoformat(),
                    error=error,
                    detail=detail,
                )
            )
            for table, values in ((_rejections, rows), (_outcomes, done)):
                connection.execute(table.delete().where(table.c.run == run))
                if values:
                    connection.execute(table.insert(), values)

    def interrupt_runs(self, *, but: Collection[str] = ()) -> None:
        """Note that the runs which have not ended, except ``but``, never will: for the owner of the store only.

        Those that other hosts asked for are left alone while these live.
        """
        unfinished = _runs.c.state.in_([RunState.QUEUED, RunState.RUNNING])
        with self._database.writing() as connection:
            owners = connection.execute(sa.select(_runs.c.owner).where(unfinished).distinct()).scalars().all()
            dead = [
                owner
                for owner in owners
                if owner is not None and (owner == self._name or self._database.free(_alive(owner), connection))
            ]
            connection.execute(
                _runs.update()
                .where(
                    unfinished,
                    _runs.c.id.not_in(list(but)),
                    sa.or_(_runs.c.owner.is_(None), _runs.c.owner.in_(dead)),
                )
                .values(state=RunState.FAILED, error=INTERRUPTED, ended=_now().isoformat())
            )

    def outcomes(self, run: str) -> list[Outcome]:
        """What a run did to documents, in the order of their paths; those that it left as they were are not listed."""
        query = sa.select(_outcomes).where(_outcomes.c.run == run).order_by(_outcomes.c.path, _outcomes.c.row)
        with self._database.reading() as connection:
            return [
                Outcome(row.document, row.path, row.action, row.articles, tuple(row.warnings))
                for row in connection.execute(query)
            ]

    def writing_corpus(self, corpus: str) -> AbstractContextManager[None]:
        """Be the one writer of a corpus, over all hosts that share the catalog, while the block runs.

        On one machine the lock of the home does that, and there is nothing to take.

        Raises:
            StoreBusy: another host writes it; the message names the corpus and the host.
        """

        def busy(holder: str) -> StoreBusy:
            return StoreBusy(
                f"`{corpus}` is being written by {holder}; wait until it ends",
                f"« {corpus} » est en cours d'écriture par {holder} ; attendez la fin",
            )

        return self._database.claimed(f"corpus:{corpus}", busy)

    def run(self, run: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
        """
        with self._database.reading() as connection:
            row = connection.execute(sa.select(_runs).where(_runs.c.id == run)).one_or_none()
            if row is None:
                raise NotFound(f"there is no run `{run}`", f"il n'y a pas d'exécution « {run} »", code="unknown_run")
            return replace(_run(row), rejected=_rejected(connection, run))

    def runs(
        self, corpora: str | Collection[str] | None = None, limit: int = 20, after: Sequence[Any] | None = None
    ) -> list[RunStatus]:
        """The latest runs, of one corpus, of some or of all, newest first; ``after`` is ``created`` and id of one."""
        query = sa.select(_runs).order_by(_runs.c.created.desc(), _runs.c.id).limit(limit)
        if corpora is not None:
            query = query.where(_runs.c.corpus.in_([corpora] if isinstance(corpora, str) else list(corpora)))
        if after is not None:
            created, last = after
            same = sa.and_(_runs.c.created == created, _runs.c.id > last)
            query = query.where(sa.or_(_runs.c.created < created, same))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            return [replace(_run(row), rejected=_rejected(connection, row.id)) for row in rows]

    def refusals(self, corpus: str) -> dict[str, tuple[Refusal, ...]]:
        """What runs of a corpus did not take in, by path, oldest first."""
        query = (
            sa.select(_rejections.c.path, _rejections.c.reason, _rejections.c.detail, _runs.c.created)
            .join(_runs, _runs.c.id == _rejections.c.run)
            .where(_runs.c.corpus == corpus)
            .order_by(_runs.c.created, _rejections.c.row)
        )
        found: dict[str, list[Refusal]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query):
                refusal = Refusal(row.reason, row.detail, dt.datetime.fromisoformat(row.created))
                found.setdefault(row.path, []).append(refusal)
        return {path: tuple(refusals) for path, refusals in found.items()}

    # --- how often documents are found

    def count_retrievals(self, corpus: str, documents: Mapping[str, int]) -> None:
        """Add to the number of searches that found each document."""
        now = _now().isoformat()
        with self._database.writing() as connection:
            for document, times in sorted(documents.items()):
                new = {"corpus": corpus, "document": document, "times": times, "latest": now}
                more = {"times": _retrievals.c.times + times, "latest": now}
                connection.execute(self._database.upsert(_retrievals, new, more))

    def retrievals(self, corpus: str) -> dict[str, int]:
        """How many searches found each document; one that none has found is no key."""
        query = sa.select(_retrievals.c.document, _retrievals.c.times).where(_retrievals.c.corpus == corpus)
        with self._database.reading() as connection:
            return {row.document: row.times for row in connection.execute(query)}

    # --- lineages, remembered

    def _lineage(self, connection: sa.Connection, corpus: str, number: int) -> tuple[int, ...]:
        known = self._known.get((corpus, number))
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[corpus, number] = _lineage(connection, corpus, number)
        return known


def _alive(owner: str) -> str:
    """What the session of a catalog holds as long as whoever opened it lives."""
    return f"alive:{owner}"


def published_meanwhile(corpus: str) -> Conflict:
    """What is said to a sync whose draft no longer follows from what is published."""
    return Conflict(
        f"another snapshot of `{corpus}` was published meanwhile; run the sync again",
        f"un autre état de « {corpus} » a été publié entre-temps ; relancez la synchronisation",
        code="published_meanwhile",
    )


# --- questions asked inside a transaction ---------------------------------------------------------------


def _one_corpus(connection: sa.Connection, name: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(_corpora).where(_corpora.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"there is no corpus `{name}`", f"il n'y a pas de corpus « {name} »", code="unknown_corpus")
    return row


def _lineage(connection: sa.Connection, corpus: str, number: int | None) -> tuple[int, ...]:
    """A snapshot and all above it, newest first: a parent always has the smaller number."""
    one = sa.select(_snapshots.c.number, _snapshots.c.parent).where(_snapshots.c.corpus == corpus)
    chain = one.where(_snapshots.c.number == number).cte("chain", recursive=True)
    chain = chain.union_all(one.join(chain, _snapshots.c.number == chain.c.parent))
    return tuple(connection.execute(sa.select(chain.c.number).order_by(chain.c.number.desc())).scalars())


def _readable(connection: sa.Connection, corpus: str, number: int) -> None:
    if _state(connection, corpus, number) != SnapshotState.PUBLISHED:
        raise NotFound(
            f"`{corpus}` has no snapshot {number} that can be read",
            f"« {corpus} » n'a pas d'état {number} lisible",
            code="unknown_snapshot",
        )


def _state(connection: sa.Connection, corpus: str, number: int) -> str | None:
    query = sa.select(_snapshots.c.state).where(_snapshots.c.corpus == corpus, _snapshots.c.number == number)
    return connection.execute(query).scalar()


def _drafts(connection: sa.Connection, corpus: str) -> list[int]:
    waiting = _snapshots.c.state.in_([SnapshotState.STAGED, SnapshotState.ABANDONED])
    query = sa.select(_snapshots.c.number).where(_snapshots.c.corpus == corpus, waiting)
    return list(connection.execute(query.order_by(_snapshots.c.number)).scalars())


def _parent(connection: sa.Connection, corpus: str, number: int) -> int | None:
    query = sa.select(_snapshots.c.parent).where(_snapshots.c.corpus == corpus, _snapshots.c.number == number)
    return connection.execute(query).scalar()


def _this(corpus: str, number: int) -> sa.Update:
    return _snapshots.update().where(_snapshots.c.corpus == corpus, _snapshots.c.number == number)


def _point_at(connection: sa.Connection, corpus: str, before: int | None, after: int, now: str) -> None:
    """Publish ``after``; the time from which ``before`` is only history is what its retention counts from."""
    if before is not None:
        connection.execute(_this(corpus, before).values(superseded=now))
    connection.execute(_this(corpus, after).values(superseded=None))
    connection.execute(_corpora.update().where(_corpora.c.name == corpus).values(published=after))


def _visible(
    connection: sa.Connection,
    corpus: str,
    lineage: Sequence[int],
    documents: Collection[str] | None = None,
    where: sa.ColumnElement[bool] | None = None,
) -> list[sa.Row[Any]]:
    query = sa.select(_documents).where(_documents.c.corpus == corpus, _documents.c.added.in_(lineage))
    if where is not None:
        query = query.where(where)
    if documents is not None:
        query = query.where(_documents.c.id.in_(documents))
    ancestors = set(lineage)
    return [row for row in connection.execute(query) if ancestors.isdisjoint(row.removed)]


def _mark(connection: sa.Connection, corpus: str, lineage: Sequence[int], stale: Collection[str]) -> None:
    seen = sa.select(_documents.c.id).where(
        _documents.c.corpus == corpus, _documents.c.added.in_(lineage), _documents.c.state == DocumentState.STALE
    )
    doubtful = set(stale) | set(connection.execute(seen).scalars())
    for some in batches(doubtful, MOST_BOUND):
        for row in _visible(connection, corpus, lineage, some):
            state = DocumentState.STALE if row.id in stale else DocumentState.CURRENT
            if row.state != state:
                connection.execute(_documents.update().where(_documents.c.row == row.row).values(state=state))


def _count(connection: sa.Connection, corpus: str, number: int | None) -> int:
    """How many documents a snapshot sees."""
    query = sa.select(_snapshots.c.documents).where(_snapshots.c.corpus == corpus, _snapshots.c.number == number)
    return connection.execute(query).scalar() or 0


def _rejected(connection: sa.Connection, run: str) -> tuple[Rejected, ...]:
    query = sa.select(_rejections).where(_rejections.c.run == run).order_by(_rejections.c.row)
    return tuple(Rejected(row.path, row.reason, row.detail) for row in connection.execute(query))


def _write_outlines(connection: sa.Connection, draft: Snapshot, added: Sequence[DocumentRow]) -> None:
    articles = {row.document.id: row.articles for row in added}
    query = sa.select(_documents.c.row, _documents.c.id).where(
        _documents.c.corpus == draft.corpus, _documents.c.added == draft.number
    )
    values = [
        {"document": row.row, "articles": [_article_values(article) for article in articles[row.id]]}
        for row in connection.execute(query)
        if articles.get(row.id)
    ]
    if values:
        connection.execute(_outlines.insert(), values)


# --- rows and values ------------------------------------------------------------------------------------


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _moment(written: str | None) -> dt.datetime | None:
    return None if written is None else dt.datetime.fromisoformat(written)


def _rank(written: str | None) -> NormRank | None:
    return None if written is None else NormRank(written)


def _corpus_values(corpus: Corpus) -> dict[str, object]:
    return {
        "name": corpus.name,
        "title": corpus.title,
        "language": corpus.language,
        "groups": sorted(corpus.groups),
        "clearance": corpus.clearance,
        "contact": corpus.contact,
        "norm_rank": corpus.norm_rank,
        "retention_days": corpus.retention_days,
        "glossary": json.dumps([corpus.glossary.same, corpus.glossary.near], ensure_ascii=False),
    }


def _corpus(row: sa.Row[Any]) -> Corpus:
    return Corpus(
        name=row.name,
        title=row.title,
        language=row.language,
        groups=frozenset(row.groups),
        clearance=row.clearance,
        contact=row.contact,
        norm_rank=_rank(row.norm_rank),
        retention_days=row.retention_days,
        glossary=_synonyms(row.glossary),
    )


@functools.lru_cache(maxsize=256)
def _synonyms(written: str) -> Synonyms:
    """The families of a corpus; every question asks for them, and they seldom change."""
    same, near = (tuple(tuple(family) for family in families) for families in json.loads(written))
    return Synonyms(same, near)


def _snapshot(row: sa.Row[Any]) -> Snapshot:
    return Snapshot(
        corpus=row.corpus,
        number=row.number,
        parent=row.parent,
        state=SnapshotState(row.state),
        created=dt.datetime.fromisoformat(row.created),
        published=_moment(row.published),
        superseded=_moment(row.superseded),
        documents=row.documents,
        chunks=row.chunks,
    )


def _document_values(row: DocumentRow, added: int) -> dict[str, object]:
    document = row.document
    return {
        "corpus": document.corpus,
        "id": document.id,
        "added": added,
        "removed": [],
        "state": row.state,
        "title": document.title,
        "language": document.language,
        "source": document.source,
        "sha256": document.sha256,
        "media_type": document.media_type,
        "norm_rank": document.norm_rank,
        "valid_from": document.validity.start,
        "valid_to": document.validity.end,
        "groups": sorted(document.groups),
        "clearance": document.clearance,
        "pages": document.pages,
        "digest": row.digest,
        "chunks": row.chunks,
        "legal_status": document.legal_status,
        "quality": document.quality,
    }


def _document_row(row: sa.Row[Any]) -> DocumentRow:
    document = Document(
        id=row.id,
        corpus=row.corpus,
        title=row.title,
        language=row.language,
        source=row.source,
        sha256=row.sha256,
        media_type=row.media_type,
        norm_rank=_rank(row.norm_rank),
        validity=Validity(row.valid_from, row.valid_to),
        groups=frozenset(row.groups),
        clearance=row.clearance,
        pages=row.pages,
        legal_status=None if row.legal_status is None else LegalStatus(row.legal_status),
        quality=row.quality,
    )
    return DocumentRow(document, row.digest, row.chunks, row.added, tuple(row.removed), DocumentState(row.state))


def _article_values(article: ArticleRow) -> list[object]:
    start, end = article.validity.start, article.validity.end
    return [
        article.reference,
        list(article.path),
        article.digest,
        None if start is None else start.isoformat(),
        None if end is None else end.isoformat(),
    ]


def _article(said: Sequence[Any]) -> ArticleRow:
    reference, path, digest, start, end = said
    validity = Validity(*(None if day is None else dt.date.fromisoformat(day) for day in (start, end)))
    return ArticleRow(reference, tuple(path), digest, validity)


def _run(row: sa.Row[Any]) -> RunStatus:
    return RunStatus(
        id=row.id,
        corpus=row.corpus,
        state=RunState(row.state),
        snapshot=row.snapshot,
        counts=row.counts,
        started=_moment(row.started),
        ended=_moment(row.ended),
        error=row.error,
        detail=row.detail,
        kind=RunKind(row.kind),
        created=row.created,
    )
