"""What a sync would do: the folder against the catalog, file by file; pure.

A document is recognised by the id that is given beside it, else by the path of its published version, else, for a
file that has moved, by its bytes. Only then is it a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ingest.difference import Action
from ingest.discover import Discovery, Found, sidecar_names
from rag.catalog import DocumentRow
from rag.errors import Conflict, RejectReason
from rag.types import Corpus, Rejected

MOST_REMOVED: Final = 0.1
"""Share of the documents that may disappear without a word: an unmounted share looks like an empty folder."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one document. ``found`` is its file (``None`` when removed), ``before`` its published version.

    ``digest`` sums up what its version is made from, besides the bytes.
    """

    action: Action
    id: str
    found: Found | None = None
    before: DocumentRow | None = None
    digest: str = ""

    @property
    def path(self) -> str:
        if self.found is not None:
            return self.found.path
        return self.before.document.source if self.before else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps by path, the files that are not taken in, and the documents that these leave as they were."""

    steps: tuple[Step, ...]
    rejected: tuple[Rejected, ...] = ()
    stale: frozenset[str] = frozenset()

    def of(self, *actions: Action) -> list[Step]:
        return [step for step in self.steps if step.action in actions]


@dataclass(frozen=True, slots=True)
class Touched:
    """What alone may differ between a folder and what is published of it: these file names, and these documents."""

    files: frozenset[str]
    documents: frozenset[str]


def compare(discovery: Discovery, published: Sequence[DocumentRow], corpus: Corpus, reader: str) -> Plan:
    """The plan that makes ``corpus`` equal to the folder; ``reader`` names the program that reads and splits."""
    rows = {row.document.id: row for row in published}
    claimed, rejected = _claimed(discovery.files, rows)
    doubled = {row.path for row in rejected}
    by_path = {row.document.source: row.document.id for row in published if row.document.id not in claimed.values()}
    taken = set(claimed.values())
    ids: dict[str, str] = dict(claimed)
    rest = [found for found in discovery.files if found.path not in claimed and found.path not in doubled]
    for found in rest:
        known = by_path.get(found.path)
        if known is not None:
            ids[found.path] = known
            taken.add(known)
    present = {found.path for found in discovery.files}
    gone = _by_bytes(row for row in published if row.document.id not in taken and row.document.source not in present)
    left = {row.path for row in discovery.rejected}
    stale: set[str] = set()
    for found in rest:
        if found.path in ids:
            continue
        same = gone.get(found.sha256)
        if same and (sidecars := left.intersection(sidecar_names(rows[same[0]].document.source))):
            # Without what it says of readers, more people might read the document than may.
            rejected.append(_away(found.path, min(sidecars)))
            stale.add(same.pop(0))
            continue
        ids[found.path] = same.pop(0) if same else _fresh(found.path, taken, rows)
        taken.add(ids[found.path])
    steps = [_step(found, ids[found.path], rows, corpus, reader) for found in discovery.files if found.path in ids]
    missing = [row for identifier, row in rows.items() if identifier not in taken]
    stale |= {row.document.id for row in missing if discovery.failed(row.document.source)}
    stale |= {row.document.id for row in missing if row.document.source in doubled}
    steps += [Step(Action.REMOVED, row.document.id, before=row) for row in missing if row.document.id not in stale]
    return Plan(
        tuple(sorted(steps, key=lambda step: (step.path, step.id))),
        tuple(sorted((*discovery.rejected, *rejected), key=lambda row: row.path)),
        frozenset(stale),
    )


def guard(plan: Plan, published: Sequence[DocumentRow], discovery: Discovery) -> None:
    """Refuse a plan that looks like a folder gone missing rather than like an edit.

    Raises:
        Conflict: the folder is empty, or more than a tenth of the documents or a whole subfolder would go.
    """
    if not discovery.files and not discovery.rejected:
        raise _stopped("the folder holds no document", "le dossier ne contient aucun document", "empty_folder")
    removed = plan.of(Action.REMOVED)
    if len(removed) > MOST_REMOVED * len(published):
        raise _stopped(
            f"{len(removed)} of {len(published)} documents would be removed",
            f"{len(removed)} documents sur {len(published)} seraient retirés",
            "many_removals",
        )
    still = {str(folder) for found in discovery.files for folder in PurePosixPath(found.path).parents}
    still |= {str(folder) for row in discovery.rejected for folder in PurePosixPath(row.path).parents}
    for step in removed:
        # The outermost one that is gone says most.
        for folder in reversed(PurePosixPath(step.path).parents):
            if str(folder) not in still:
                raise _stopped(
                    f"the subfolder {folder} and all its documents would be removed",
                    f"le sous-dossier {folder} et tous ses documents seraient retirés",
                    "subfolder_removed",
                )


def _stopped(en: str, fr: str, code: str) -> Conflict:
    return Conflict(
        f"{en}; if that is meant, run it again with --confirm-removals",
        f"{fr} ; si c'est voulu, relancez avec --confirm-removals",
        code=code,
    )


def _claimed(files: Iterable[Found], rows: Mapping[str, DocumentRow]) -> tuple[dict[str, str], list[Rejected]]:
    """The id that each file says it has, and the files that say what another one has the better right to."""
    wanting: dict[str, list[Found]] = {}
    for found in files:
        if found.metadata.id is not None:
            wanting.setdefault(found.metadata.id, []).append(found)
    claimed: dict[str, str] = {}
    rejected: list[Rejected] = []
    for identifier, several in wanting.items():
        before = rows.get(identifier)
        source = before.document.source if before else None

        def right(found: Found, source: str | None = source) -> tuple[bool, bool, str]:
            return not found.named, found.path != source, found.path

        first, *others = sorted(several, key=right)
        claimed[first.path] = identifier
        rejected += [
            Rejected(other.path, RejectReason.DUPLICATE_ID, f"{first.path} has the same id, {identifier}")
            for other in others
        ]
    return claimed, rejected


def _away(path: str, sidecar: str) -> Rejected:
    return Rejected(
        path, RejectReason.BAD_METADATA, f"it was moved without its sidecar {sidecar}; move or delete that, too"
    )


def _by_bytes(rows: Iterable[DocumentRow]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.document.source):
        found.setdefault(row.document.sha256, []).append(row.document.id)
    return found


def _fresh(path: str, taken: Collection[str], rows: Mapping[str, DocumentRow]) -> str:
    """The path; where a document that has moved away keeps it as its id, the path with a number."""
    identifier, number = path, 1
    while identifier in taken or identifier in rows:
        number += 1
        identifier = f"{path}#{number}"
    return identifier


def _step(found: Found, identifier: str, rows: Mapping[str, DocumentRow], corpus: Corpus, reader: str) -> Step:
    before = rows.get(identifier)
    digest = _digest(found, corpus, reader)
    if before is None:
        action = Action.ADDED
    elif (before.document.sha256, before.digest) != (found.sha256, digest):
        action = Action.CHANGED
    elif before.document.source != found.path:
        action = Action.MOVED
    else:
        action = Action.UNCHANGED
    return Step(action, identifier, found, before, digest)


def _digest(found: Found, corpus: Corpus, reader: str) -> str:
    """Sums up what a version is made from besides its bytes. The audience is left out: it acts on all versions."""
    said = found.metadata
    parts = [
        reader,
        said.title,
        said.language or corpus.language,
        said.norm_rank or corpus.norm_rank,
        said.valid_from and said.valid_from.isoformat(),
        said.valid_to and said.valid_to.isoformat(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
