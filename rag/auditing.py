"""What an auditor does with the records. Looking is recorded too: who read, took along, replayed or erased what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from rag.audit import Records
from rag.erasure import Erased, Erasing
from rag.errors import BadRequest, NotFound
from rag.heads import Head
from rag.recording import acting
from rag.records import Draft, Record, RecordKind, Wanted, ranges
from rag.replaying import Replay, Replaying, replay
from rag.scope import PARIS, may_see
from rag.tampers import Verification
from rag.types import Access, Principal, Role
from rag.viewing import Shown, View, Viewer

PAGE: Final = 200
"""Records that an export reads at a time."""
_EARLIEST: Final = dt.date(1970, 1, 2)


class Audited(Replaying, Protocol):
    """The running parts that have records."""

    @property
    def records(self) -> Records: ...


@dataclass(frozen=True)
class Auditing:
    """The records of ``vauban``, as ``principal`` may see them."""

    vauban: Audited
    principal: Principal

    def page(self, wanted: Wanted, after: int, limit: int) -> list[View]:
        """Records without their contents, the newest first, from the one before ``after``.

        A list of what one person asked tells whose each record is, so it is recorded like a look into them.

        Raises:
            NotFound: the corpus that is asked for does not exist, or may not be seen.
        """
        self._check_corpus(wanted.corpus)
        found = self.vauban.records.page(wanted, after=after, limit=limit, newest=True)
        if wanted.owner is not None and found:
            self._note(RecordKind.VIEW, {"records": ranges([record.seq for record in found]), "of_one_person": True})
        return self._seen(found)

    def show(self, which: str) -> View:
        """One record with its content, as far as it may be seen.

        Raises:
            NotFound: there is no such record.
        """
        (view,) = self._seen([self.vauban.records.read(which)])
        if view.shown is Shown.PRESENT:
            self._note(RecordKind.VIEW, {"records": ranges([view.record.seq])})
        return view

    def replay(self, which: str) -> Replay:
        """Give an answer again and compare; see :func:`rag.replaying.replay` for what is raised.

        Raises:
            NotFound: there is no such record.
        """
        done = replay(self.vauban, self.vauban.records.read(which))
        body = {"record": done.record.seq, "equal": done.equal, "differences": [one.value for one in done.differences]}
        self._note(RecordKind.REPLAY, body)
        return done

    def verify(self, noted: tuple[Head, ...] = ()) -> Verification:
        """Read the whole chain; see :meth:`rag.audit.Records.verify`."""
        return self.vauban.records.verify(noted)

    def export(self, after: int, limit: int | None, *, content: bool) -> Iterator[View]:
        """The records after the one of that number, at most ``limit``, in their order, up to the last of now.

        That contents are taken away is recorded first.
        """
        records = self.vauban.records
        end = records.head.count
        if limit is not None:
            end = min(end, after + limit)
        if content and end > after:
            self._note(RecordKind.EXPORT, {"records": [[after + 1, end]]})
        return self._exported(after, end)

    def _exported(self, after: int, end: int) -> Iterator[View]:
        while after < end:
            most = min(PAGE, end - after)
            found = [one for one in self.vauban.records.page(Wanted(), after=after, limit=most) if one.seq <= end]
            if not found:
                return
            yield from self._seen(found)
            after = found[-1].seq

    def erase(self, erasing: Erasing) -> Erased:
        """Destroy contents; the record of it says who did, and not whose they were."""
        draft = Draft(RecordKind.ERASURE, {}, acting(self.principal), self.principal.owner)
        return self.vauban.records.erase(erasing, draft)

    def _seen(self, found: list[Record]) -> list[View]:
        viewer = Viewer(self.vauban.catalog, self.principal, found)
        return [viewer.see(record) for record in found]

    def _note(self, kind: RecordKind, body: dict[str, object]) -> None:
        draft = Draft(kind, body, acting(self.principal), self.principal.owner)
        self.vauban.records.append(draft)

    def _check_corpus(self, name: str | None) -> None:
        seen = sorted(one.name for one in self.vauban.catalog.corpora() if may_see(self.principal, one))
        if name is not None and name not in seen:
            known = ", ".join(seen) or "-"
            raise NotFound(
                f"there is no corpus `{name}`; you can search: {known}",
                f"il n'y a pas de corpus « {name} » ; vous pouvez interroger : {known}",
                code="unknown_corpus",
            )


def expired(records: Records, days: int) -> bool:
    """Erase the contents that are older than ``days``, 0 being never; false when bytes of them may remain.

    Raises:
        StoreError, DiskFull: it is to be tried again.
    """
    if not days:
        return True
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    draft = Draft(RecordKind.ERASURE, {"by": "retention"})
    return records.erase(Erasing(before=before), draft).scrubbed


def midnight(day: dt.date | None) -> dt.datetime | None:
    """The moment at which a day begins in Paris; before 1970 there are no records."""
    return None if day is None else dt.datetime.combine(max(day, _EARLIEST), dt.time(), PARIS)


def erasing(answer: str | None, person: str | None, before: dt.date | None) -> Erasing:
    """What is to be erased, of the three ways to say it.

    Raises:
        BadRequest: not exactly one is said.
    """
    if [answer, person, before].count(None) != 2:
        raise BadRequest(
            "say exactly one of: an answer, a person, or the day before which everything goes",
            "indiquez exactement l'un des trois : une réponse, une personne, ou le jour avant lequel tout s'efface",
            code="bad_erasure",
        )
    return Erasing(answer, person, midnight(before))


def server_user(local: Principal) -> Principal:
    """The user who runs the server, at a home that no server owns."""
    return replace(local, roles=frozenset(Role), access=Access.SERVER)
