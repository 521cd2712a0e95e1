"""How much of a record a person may see: need-to-know holds for those who look into what others were told, too.

The content of an answer is shown to whoever may read, today, every document that it shows; one that shows none speaks
of all that was searched. What names a corpus or a document that may not be seen is left out of the body as well. What
an answer of before said, as the history of a later question repeats it, is never shown: it has a record of its own,
with its own passages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rag.readable import RESTING_ON_PASSAGES, Library, Readable
from rag.records import Record, RecordKind
from rag.types import Principal


class Shown(StrEnum):
    """What became of a content; a closed list."""

    PRESENT = "present"
    ERASED = "erased"
    WITHHELD = "withheld"
    """It is there, and shows a document that whoever looks may not read."""
    NONE = "none"
    """The record never had one."""


@dataclass(frozen=True, slots=True)
class View:
    """A record as one person may see it; ``content`` is ``None`` unless it is ``present``."""

    record: Record
    corpora: tuple[str, ...]
    body: Mapping[str, Any]
    shown: Shown
    content: Mapping[str, Any] | None


class Viewer:
    """A person who looks at ``records``, with what they may read as things stand now."""

    def __init__(self, library: Library, principal: Principal, records: Iterable[Record]) -> None:
        shown = (passage for record in records for passage in record.body.get("passages", ()))
        self._readable = Readable(library, principal, ((one["corpus"], one["document"]) for one in shown))

    def see(self, record: Record) -> View:
        """What this person may see of one of those records."""
        shown = Shown.PRESENT
        if record.erased:
            shown = Shown.ERASED
        elif record.content is None:
            shown = Shown.NONE
        elif record.kind is RecordKind.ANSWER and not self._admitted(record):
            shown = Shown.WITHHELD
        content = None if record.content is None or shown is not Shown.PRESENT else _own(record.content)
        corpora = tuple(name for name in record.corpora if name in self._readable.corpora)
        body = self._body(record.body) if record.kind is RecordKind.ANSWER else record.body
        return View(record, corpora, body, shown, content)

    def _admitted(self, record: Record) -> bool:
        passages = record.body["passages"]
        if not all(self._readable.document(one["corpus"], one["document"]) for one in passages):
            return False
        if passages and record.status in RESTING_ON_PASSAGES:
            return True
        return all(name in self._readable.corpora for name in record.body["scope"]["snapshots"])

    def _body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body without the names of what may not be seen."""
        requested = body["requested"]
        seen = self._readable.corpora
        return {
            **body,
            "requested": None if requested is None else [name for name in requested if name in seen],
            "scope": {**body["scope"], "snapshots": _of(body["scope"]["snapshots"], seen)},
            "corpora": _of(body["corpora"], seen),
            "passages": [
                one if self._readable.document(one["corpus"], one["document"]) else {"n": one["n"], "withheld": True}
                for one in body["passages"]
            ],
        }


def _of(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _own(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content without what earlier answers said."""
    if "history" not in content:
        return dict(content)
    history = [[role, text if role == "user" else None] for role, text in content["history"]]
    return {**content, "history": history}
