"""What is kept of a person's questions: conversations, and whose an answer is.

Everything belongs to its owner (:attr:`rag.types.Principal.owner`): every statement names the owner, and what is
another's is as unknown as what never was. An answer is kept with the documents that it rests on. Whoever may no longer
read one of them gets the answer back without its words, and it is no history of a later question either.

Deleting deletes: the rows go at once, their bytes with the next :meth:`rag.database.Database.scrub`.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from rag import idempotency, resting, schemas
from rag.database import PERSONAL, Database, Text, metadata
from rag.errors import Conflict, NotFound, OperatorError
from rag.feedback import ROUTES, Feedback, Feedbacks
from rag.readable import Library
from rag.resting import Rights, Source
from rag.types import Answer, Event, Principal, Turn

log = logging.getLogger("vauban.history")

MOST_CONVERSATIONS: Final = 1_000
"""Conversations of one person: three a day for a year."""
MOST_EXCHANGES: Final = 200
"""Questions of one conversation."""
REMEMBERED: Final = 6
"""Exchanges that a question is understood by: older ones never fit beside the passages."""
LONGEST_TITLE: Final = 200
TITLE_OF_QUESTION: Final = 80
"""Characters of a question that become the title of its conversation."""
_ID: Final = re.compile(r"conv_[0-9a-f]{44}")
_BATCH: Final = 100
"""Rows read at a time where what is listed is chosen by more than the database knows."""

_conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("owner", Text, nullable=False),
    sa.Column("title", Text, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("updated", Text, nullable=False),
    sa.Column("exchanges", sa.Integer, nullable=False),
    sa.Index("ix_conversations_owner_id", "owner", "id"),
    sa.Index("ix_conversations_updated", "updated"),
    info={PERSONAL: True},
)
_answers = sa.Table(
    "answers",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("owner", Text, nullable=False),
    sa.Column("created", Text, nullable=False),
    sa.Column("rests_on", sa.JSON, nullable=False),
    sa.Column("conversation", Text, sa.ForeignKey("conversations.id", ondelete="CASCADE")),
    sa.Column("number", sa.Integer),
    sa.Column("question", Text),
    sa.Column("text", Text),
    sa.Column("vauban", Text),
    sa.Index("ix_answers_owner_id", "owner", "id"),
    sa.Index("ix_answers_created", "created"),
    sa.Index("ix_answers_conversation_number", "conversation", "number", unique=True),
    info={PERSONAL: True},
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """``exchanges`` counts its questions, each with its answer."""

    id: str
    title: str
    created: dt.datetime
    updated: dt.datetime
    exchanges: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer. ``vauban`` and ``text`` are ``None`` when the answer is withheld.

    The passages of ``vauban`` have no text: that is read where the documents are.
    """

    id: str
    number: int
    created: dt.datetime
    question: str
    text: str | None
    vauban: schemas.Vauban | None

    @property
    def withheld(self) -> bool:
        return self.text is None


@dataclass(frozen=True, slots=True)
class Past:
    """What a question may be understood by: the latest exchanges of a conversation that its owner may still read.

    ``rests_on`` is what those answers rest on, and so what an answer to the question will rest on as well.
    """

    conversation: str
    turns: tuple[Turn, ...] = ()
    rests_on: frozenset[Source] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the id that its completion has; ``past`` is the conversation that it belongs to."""

    id: str
    created: int
    text: str
    past: Past | None = None


@dataclass(frozen=True, slots=True)
class NotedAnswer:
    """That an answer was given outside of a conversation; ``rests_on`` is ``None`` when it is withheld."""

    id: str
    created: dt.datetime
    rests_on: frozenset[Source] | None


Kept = Conversation | Exchange | Feedback | NotedAnswer


class History:
    """Safe to use from several threads and processes. ``days`` is how long it is kept; 0 keeps nothing.

    ``forgotten`` is told the owner of what was deleted, for what a model may still hold of that person.
    """

    def __init__(
        self,
        database: Database,
        library: Library,
        days: int,
        forgotten: Callable[[str], None] = lambda owner: None,
    ) -> None:
        self._database = database
        self._library = library
        self._days = days
        self._forgotten = forgotten
        self.feedback = Feedbacks(database, library, _resting, checked=days > 0)
        """What was thought of the answers: kept by its own days, whatever those of the history."""

    # --- while a question is answered

    def past(self, principal: Principal, conversation: str) -> Past:
        """The conversation that a question goes on with.

        Raises:
            NotFound: this person has no such conversation.
            Conflict: it has its last question already.
        """
        query = (
            sa.select(_answers.c.question, _answers.c.text, _answers.c.rests_on)
            .where(_answers.c.conversation == conversation, _answers.c.owner == principal.owner)
            .order_by(_answers.c.number.desc())
            .limit(REMEMBERED)
        )
        with self._database.reading() as connection:
            if _own(connection, principal.owner, conversation).exchanges >= MOST_EXCHANGES:
                raise Conflict(
                    f"this conversation has {MOST_EXCHANGES} questions; begin another one",
                    f"cette conversation compte {MOST_EXCHANGES} questions ; commencez-en une autre",
                    code="conversation_full",
                )
            rows = [(row, resting.read(row.rests_on)) for row in connection.execute(query)]
        rights = Rights(self._library, principal, (sources for _, sources in rows))
        turns: list[Turn] = []
        rests_on: frozenset[Source] = frozenset()
        for row, sources in reversed(rows):
            if rights.reads(sources):
                turns += [Turn("user", row.question), Turn("assistant", row.text)]
                rests_on |= sources
        return Past(conversation, tuple(turns), rests_on)

    def kept(self, events: Iterator[Event], principal: Principal, asked: Asked) -> Iterator[Event]:
        """The same events; the answer is kept before it is passed on, so that it can be judged at once.

        That it cannot be kept is no reason not to give it.
        """
        with closing(_closable(events)) as passing:
            for made in passing:
                if isinstance(made, Answer):
                    try:
                        self.keep(principal, asked, made)
                    except OperatorError as error:
                        log.error("an answer could not be kept: %s", error.code)
                yield made

    def keep(self, principal: Principal, asked: Asked, answer: Answer) -> None:
        """Note whose an answer is; in a conversation, with the words of both sides.

        A conversation that was deleted meanwhile stays deleted.
        """
        if not self._days:
            return
        past, now = asked.past, _now().isoformat()
        rests_on = resting.of(answer) | (past.rests_on if past else frozenset())
        noted: dict[str, object] = {
            "id": asked.id,
            "owner": principal.owner,
            "created": _moment(asked.created),
            "rests_on": resting.written(rests_on),
        }
        with self._database.writing() as connection:
            if past is not None:
                row = connection.execute(_one(principal.owner, past.conversation)).one_or_none()
                if row is not None:
                    number = row.exchanges + 1
                    connection.execute(
                        _conversations.update()
                        .where(_conversations.c.id == row.id)
                        .values(exchanges=number, updated=now, title=row.title or _title(asked.text))
                    )
                    noted |= {
                        "conversation": row.id,
                        "number": number,
                        "question": asked.text,
                        "text": answer.text,
                        "vauban": _without_texts(answer).model_dump_json(),
                    }
            connection.execute(_answers.insert().values(**noted))

    # --- conversations

    def begin(self, owner: str, title: str = "") -> Conversation:
        """A new, empty conversation; without a title, it takes that of its first question.

        Raises:
            Conflict: this server keeps no history, or there are as many as one person may have.
        """
        if not self._days:
            raise Conflict(
                "this server keeps no conversations",
                "ce serveur ne conserve pas les conversations",
                code="no_history",
            )
        now = _now()
        # Ids in the order of their making, and beyond guessing all the same.
        made = f"conv_{int(now.timestamp() * 1000):012x}{secrets.token_hex(16)}"
        values = {
            "id": made,
            "owner": owner,
            "title": title,
            "created": now.isoformat(),
            "updated": now.isoformat(),
            "exchanges": 0,
        }
        mine = sa.select(sa.func.count()).select_from(_conversations).where(_conversations.c.owner == owner)
        with self._database.writing() as connection:
            if connection.execute(mine).scalar_one() >= MOST_CONVERSATIONS:
                raise Conflict(
                    f"you have {MOST_CONVERSATIONS} conversations; delete some first",
                    f"vous avez {MOST_CONVERSATIONS} conversations ; supprimez-en d'abord",
                    code="too_many_conversations",
                )
            connection.execute(_conversations.insert().values(**values))
        return Conversation(made, title, now, now, 0)

    def conversations(self, owner: str, before: str | None, limit: int) -> list[Conversation]:
        """A person's conversations, newest first, from the one made ``before`` that id on."""
        query = sa.select(_conversations).where(_conversations.c.owner == owner)
        if before is not None:
            query = query.where(_conversations.c.id < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_conversations.c.id.desc()).limit(limit)).all()
        return [_conversation(row) for row in rows]

    def conversation(self, owner: str, conversation: str) -> Conversation:
        """One of a person's conversations.

        Raises:
            NotFound: this person has no such conversation.
        """
        with self._database.reading() as connection:
            return _conversation(_own(connection, owner, conversation))

    def rename(self, owner: str, conversation: str, title: str) -> Conversation:
        """Give a conversation another title.

        Raises:
            NotFound: this person has no such conversation.
        """
        with self._database.writing() as connection:
            _own(connection, owner, conversation)
            connection.execute(_conversations.update().where(_conversations.c.id == conversation).values(title=title))
            self._database.erased(connection)  # of the title before
            return _conversation(_own(connection, owner, conversation))

    def exchanges(self, principal: Principal, conversation: str, after: int, limit: int) -> list[Exchange]:
        """The exchanges of a conversation after number ``after``, in order, as far as their owner may read them.

        Raises:
            NotFound: this person has no such conversation.
        """
        query = (
            sa.select(_answers)
            .where(
                _answers.c.conversation == conversation,
                _answers.c.owner == principal.owner,
                _answers.c.number > after,
            )
            .order_by(_answers.c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            _own(connection, principal.owner, conversation)
            rows = connection.execute(query).all()
        sources = [resting.read(row.rests_on) for row in rows]
        rights = Rights(self._library, principal, sources)
        return [_exchange(row, rests_on, rights) for row, rests_on in zip(rows, sources, strict=True)]

    # --- deletion

    def delete(self, owner: str, conversation: str) -> None:
        """Delete a conversation with all that was said in it.

        Raises:
            NotFound: this person has no such conversation.
        """
        with self._database.writing() as connection:
            _own(connection, owner, conversation)
            connection.execute(_answers.delete().where(_answers.c.conversation == conversation))
            connection.execute(_conversations.delete().where(_conversations.c.id == conversation))
            self._erased(connection, owner)
        self._forgotten(owner)

    def delete_all(self, owner: str) -> None:
        """Delete all conversations of a person, and that any answer was theirs; their feedback stays."""
        with self._database.writing() as connection:
            connection.execute(_answers.delete().where(_answers.c.owner == owner))
            connection.execute(_conversations.delete().where(_conversations.c.owner == owner))
            self._erased(connection, owner)
        self._forgotten(owner)

    def expire(self, now: dt.datetime | None = None) -> None:
        """Delete what is older than it may be: each exchange by its own day, and what has none left."""
        now = now or _now()
        kept = now - dt.timedelta(self._days)
        with self._database.writing() as connection:
            gone = [
                connection.execute(statement).rowcount
                for statement in (
                    _answers.delete().where(_answers.c.created < kept.isoformat()),
                    _answers.delete().where(_answers.c.conversation.in_(_unused(kept))),
                    _conversations.delete().where(_conversations.c.updated < kept.isoformat()),
                )
            ]
            if any([*gone, self.feedback.expire(connection, now)]):
                self._database.erased(connection)

    def _erased(self, connection: sa.Connection, owner: str) -> None:
        idempotency.forget(connection, owner, ROUTES)
        self._database.erased(connection)

    # --- export

    def export(self, principal: Principal) -> Iterator[Kept]:
        """All that is kept of a person, oldest first: each conversation before its exchanges, then the rest.

        Read a batch at a time: what is deleted meanwhile is not in it.
        """
        after = ""
        mine = sa.select(_conversations).where(_conversations.c.owner == principal.owner)
        while True:
            query = mine.where(_conversations.c.id > after).order_by(_conversations.c.id).limit(_BATCH)
            with self._database.reading() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield _conversation(row)
                try:
                    yield from self.exchanges(principal, row.id, 0, MOST_EXCHANGES)
                except NotFound:  # deleted since the batch was read
                    continue
            if len(rows) < _BATCH:
                break
            after = rows[-1].id
        yield from self._noted(principal)
        start: tuple[str, str] | None = None
        while True:
            some = self.feedback.given(principal.owner, start, _BATCH)
            yield from some
            if len(some) < _BATCH:
                return
            start = (some[-1].created.isoformat(), some[-1].id)

    def _noted(self, principal: Principal) -> Iterator[NotedAnswer]:
        after = ""
        mine = sa.select(_answers).where(_answers.c.owner == principal.owner, _answers.c.conversation.is_(None))
        while True:
            query = mine.where(_answers.c.id > after).order_by(_answers.c.id).limit(_BATCH)
            with self._database.reading() as connection:
                rows = [(row, resting.read(row.rests_on)) for row in connection.execute(query)]
            rights = Rights(self._library, principal, (sources for _, sources in rows))
            for row, sources in rows:
                yield NotedAnswer(row.id, _at(row.created), sources if rights.reads(sources) else None)
            if len(rows) < _BATCH:
                return
            after = rows[-1][0].id


def _without_texts(answer: Answer) -> schemas.Vauban:
    """What is shown beside an answer; the passages' texts are read where the documents are."""
    whole = schemas.vauban_object(answer)
    return whole.model_copy(update={"passages": [one.model_copy(update={"text": ""}) for one in whole.passages]})


def _title(question: str) -> str:
    words = " ".join(question.split())
    return words if len(words) <= TITLE_OF_QUESTION else words[: TITLE_OF_QUESTION - 1].rstrip() + "…"


# --- statements, rows and values ------------------------------------------------------------------------


def _one(owner: str, conversation: str) -> sa.Select[Any]:
    return sa.select(_conversations).where(_conversations.c.id == conversation, _conversations.c.owner == owner)


def _own(connection: sa.Connection, owner: str, conversation: str) -> sa.Row[Any]:
    row = connection.execute(_one(owner, conversation)).one_or_none() if _ID.fullmatch(conversation) else None
    if row is None:
        raise NotFound(
            "there is no such conversation of yours",
            "il n'y a pas de telle conversation à vous",
            code="unknown_conversation",
        )
    return row


def _unused(since: dt.datetime) -> sa.Select[Any]:
    return sa.select(_conversations.c.id).where(_conversations.c.updated < since.isoformat())


def _resting(connection: sa.Connection, owner: str, answer: str) -> Any:
    """What an answer of a person's rests on, as it is kept; ``None`` where there is none of theirs."""
    found = sa.select(_answers.c.rests_on).where(_answers.c.id == answer, _answers.c.owner == owner)
    return connection.execute(found).scalar_one_or_none()


def _conversation(row: sa.Row[Any]) -> Conversation:
    return Conversation(row.id, row.title, _at(row.created), _at(row.updated), row.exchanges)


def _exchange(row: sa.Row[Any], sources: frozenset[Source], rights: Rights) -> Exchange:
    """The words of both sides, where the answer may be read; what else was searched shows only while it may be."""
    if not rights.reads(sources):
        return Exchange(row.id, row.number, _at(row.created), row.question, None, None)
    vauban = schemas.Vauban.model_validate_json(row.vauban)
    hidden = vauban.snapshots.keys() - rights.corpora
    if hidden:
        seen: Mapping[str, int] = {name: number for name, number in vauban.snapshots.items() if name not in hidden}
        vauban = vauban.model_copy(update={"snapshots": seen, "contact": "", "notices": [], "choices": []})
    return Exchange(row.id, row.number, _at(row.created), row.question, row.text, vauban)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _moment(epoch: int) -> str:
    return dt.datetime.fromtimestamp(epoch, dt.UTC).isoformat()


def _at(written: str) -> dt.datetime:
    return dt.datetime.fromisoformat(written)


def _closable(events: Iterator[Event]) -> Generator[Event, None, None]:
    """The same events as a generator, whose ``close`` reaches that of ``events``."""
    yield from events
