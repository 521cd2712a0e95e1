"""What people thought of answers: theirs to change and delete; whoever maintains a corpus reads them nameless."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from rag import idempotency, resting
from rag.database import PERSONAL, Database, Text, metadata
from rag.errors import Conflict, NotFound
from rag.readable import Library
from rag.resting import Rights, Source
from rag.types import Principal

MOST_FEEDBACK: Final = 1_000
"""Answers that one person has judged: where no history is kept, nobody knows how many there were to judge."""
FEEDBACK_DAYS: Final = 365
"""Days for which feedback is kept, whatever the setting of the history: maintainers go through it by the year."""
_BATCH: Final = 100
"""Rows read at a time where what is listed is chosen by more than the database knows."""

Thumb = Literal["up", "down"]

_feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("answer", Text, nullable=False),
    sa.Column("thumb", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("comment", Text, nullable=False),
    sa.Column("principal", Text, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("owner", Text, nullable=False, server_default=""),
    sa.Column("rests_on", sa.JSON),
    sa.Index("ix_feedback_owner_answer", "owner", "answer", unique=True),
    sa.Index("ix_feedback_created", "created"),
    info={PERSONAL: True},
)
_feedback_corpora = sa.Table(
    "feedback_corpora",
    metadata,
    # In the order in which maintainers read it.
    sa.Column("corpus", Text, primary_key=True),
    sa.Column("created", Text, primary_key=True),
    sa.Column("feedback", Text, sa.ForeignKey("feedback.id", ondelete="CASCADE"), primary_key=True),
    sa.Index("ix_feedback_corpora_feedback", "feedback"),
)
ROUTES: Final = ("/v1/conversations", "/v1/feedback")
"""Where a repeated write may answer with what is kept of a person; it is forgotten along."""
Answered = Callable[[sa.Connection, str, str], "Sequence[Sequence[str | None]] | None"]
"""What a person's answer rests on, by owner and id, as it is kept; ``None``: there is no such answer of theirs."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thought of an answer, by the id of its completion.

    ``rests_on`` is what the answer rests on, ``None`` where it is not known.
    """

    id: str
    answer: str
    thumb: Thumb
    reason: str | None
    comment: str
    principal: str
    created: dt.datetime
    rests_on: frozenset[Source] | None = None


class Feedbacks:
    """Safe to use from several threads and processes.

    ``answered`` is asked whose an answer is; with ``checked`` none but a person's own may be judged.
    """

    def __init__(self, database: Database, library: Library, answered: Answered, *, checked: bool) -> None:
        self._database = database
        self._library = library
        self._answered = answered
        self._checked = checked

    def judge(
        self, principal: Principal, *, answer: str, thumb: Thumb, reason: str | None = None, comment: str = ""
    ) -> tuple[Feedback, bool]:
        """Keep what a person thinks of an answer of theirs, in the place of what they thought before.

        Whether it is the first is told beside it. Where no history is kept, nobody knows whose an answer is, and
        every answer may be judged.

        Raises:
            NotFound: no such answer was given to this person, or it is no longer kept.
            Conflict: they have judged as many answers as one person may.
        """
        owner, now = principal.owner, _now()
        before = sa.select(_feedback.c.id).where(_feedback.c.owner == owner, _feedback.c.answer == answer)
        said = {"thumb": thumb, "reason": reason, "comment": comment, "created": now.isoformat()}
        with self._database.writing() as connection:
            found = self._answered(connection, owner, answer)
            if found is None and self._checked:
                raise NotFound(
                    "there is no such answer of yours; it is judged by the `id` of its completion",
                    "il n'y a pas de telle réponse à vous ; on la juge par l'« id » de sa complétion",
                    code="unknown_answer",
                )
            note = connection.execute(before).scalar_one_or_none()
            first = note is None
            if note is not None:
                connection.execute(_feedback.update().where(_feedback.c.id == note).values(**said))
                connection.execute(
                    _feedback_corpora.update()
                    .where(_feedback_corpora.c.feedback == note)
                    .values(created=now.isoformat())
                )
                self._database.erased(connection)
            else:
                _check_room(connection, owner)
                note = uuid.uuid4().hex
                whose = {"id": note, "answer": answer, "owner": owner, "principal": principal.name}
                connection.execute(_feedback.insert().values(**whose, **said, rests_on=_or_null(found)))
                for corpus in {name for name, _ in resting.read(found or ())}:
                    values = {"corpus": corpus, "created": now.isoformat(), "feedback": note}
                    connection.execute(_feedback_corpora.insert().values(**values))
            row = _own_feedback(connection, owner, note)
        return _note(row), first

    def given(self, owner: str, before: tuple[str, str] | None, limit: int) -> list[Feedback]:
        """What a person gave, newest first, from ``before`` (a moment and an id) on."""
        with self._database.reading() as connection:
            return _latest_feedback(connection, before, limit, _feedback.c.owner == owner)

    def one(self, owner: str, note: str) -> Feedback:
        """One note of a person's.

        Raises:
            NotFound: this person gave no such feedback.
        """
        with self._database.reading() as connection:
            return _note(_own_feedback(connection, owner, note))

    def on(self, principal: Principal, corpus: str, before: tuple[str, str] | None, limit: int) -> list[Feedback]:
        """What anybody thought of answers that rest on a corpus, newest first: for those who maintain it.

        Only of answers that rest on nothing that this person may not read, because a comment may quote any of it.
        """
        chosen: list[Feedback] = []
        while len(chosen) < limit:
            with self._database.reading() as connection:
                some = [_note(row) for row in connection.execute(_on_corpus(corpus, before))]
            rights = Rights(self._library, principal, (one.rests_on or frozenset() for one in some))
            chosen += [one for one in some if one.rests_on and rights.reads(one.rests_on)]
            if len(some) < _BATCH:
                break
            before = (some[-1].created.isoformat(), some[-1].id)
        return chosen[:limit]

    def all(self) -> list[Feedback]:
        """Everybody's, oldest first: for the operator."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(_feedback).order_by(_feedback.c.created, _feedback.c.id)).all()
        return [_note(row) for row in rows]

    def delete(self, owner: str, note: str | None = None) -> None:
        """Delete one note of a person's, or all.

        Raises:
            NotFound: this person gave no such feedback.
        """
        with self._database.writing() as connection:
            if note is not None:
                _own_feedback(connection, owner, note)
            these = [_feedback.c.owner == owner] + ([_feedback.c.id == note] if note is not None else [])
            connection.execute(_feedback.delete().where(*these))
            idempotency.forget(connection, owner, ROUTES)
            self._database.erased(connection)

    def expire(self, connection: sa.Connection, now: dt.datetime) -> int:
        """Delete what is older than it may be; how many."""
        before = (now - dt.timedelta(FEEDBACK_DAYS)).isoformat()
        return connection.execute(_feedback.delete().where(_feedback.c.created < before)).rowcount


def _own_feedback(connection: sa.Connection, owner: str, note: str) -> sa.Row[Any]:
    row = connection.execute(
        sa.select(_feedback).where(_feedback.c.id == note, _feedback.c.owner == owner)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such feedback of yours", "il n'y a pas de tel avis à vous", code="unknown_feedback")
    return row


def _latest_feedback(
    connection: sa.Connection, before: tuple[str, str] | None, limit: int, *of: sa.ColumnElement[bool]
) -> list[Feedback]:
    query = sa.select(_feedback).where(*of).order_by(_feedback.c.created.desc(), _feedback.c.id.desc())
    if before is not None:
        query = query.where(sa.tuple_(_feedback.c.created, _feedback.c.id) < sa.tuple_(*before))
    return [_note(row) for row in connection.execute(query.limit(limit))]


def _on_corpus(corpus: str, before: tuple[str, str] | None) -> sa.Select[Any]:
    """The next batch of what was thought of answers that rest on a corpus."""
    of, place = _feedback_corpora.c, (_feedback_corpora.c.created, _feedback_corpora.c.feedback)
    query = sa.select(_feedback).join(_feedback_corpora, of.feedback == _feedback.c.id).where(of.corpus == corpus)
    if before is not None:
        query = query.where(sa.tuple_(*place) < sa.tuple_(*before))
    return query.order_by(*(one.desc() for one in place)).limit(_BATCH)


def _check_room(connection: sa.Connection, owner: str) -> None:
    given = sa.select(sa.func.count()).select_from(_feedback).where(_feedback.c.owner == owner)
    if connection.execute(given).scalar_one() >= MOST_FEEDBACK:
        raise Conflict(
            f"you have judged {MOST_FEEDBACK} answers; delete some of that feedback first",
            f"vous avez donné {MOST_FEEDBACK} avis ; supprimez-en d'abord",
            code="too_much_feedback",
        )


def _note(row: sa.Row[Any]) -> Feedback:
    rests_on = None if row.rests_on is None else resting.read(row.rests_on)
    return Feedback(row.id, row.answer, row.thumb, row.reason, row.comment, row.principal, _at(row.created), rests_on)


def _or_null(rests_on: Sequence[object] | None) -> object:
    """SQL's null, not JSON's."""
    return sa.null() if rests_on is None else rests_on


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _at(written: str) -> dt.datetime:
    return dt.datetime.fromisoformat(written)
