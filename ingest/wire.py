"""Orders and readings as JSON, for workers on other hosts: validated when they arrive, never code.

The types are those of :mod:`ingest.reading`, field by field, so that what they learn to say travels as well; only
vectors are spelled apart, as base64 of their 32-bit floats.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ingest.parsers import Limits
from ingest.reading import Order, Reading
from rag.errors import DocumentError, RejectReason
from rag.types import Chunk, Document, Vector


class Unintelligible(Exception):
    """What arrived is not what is spoken here: damaged, or of another version."""


@dataclass(frozen=True, slots=True)
class Task:
    """One order on its way to a worker. ``id`` is new for each attempt at a document.

    ``run`` is the sync that waits for it; ``writer`` names what that sync must still own for anything to be staged.
    ``limits`` are the sync's, so that what becomes of a document does not depend on the host that reads it.
    """

    id: str
    run: str
    order: Order
    limits: Limits
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A worker's own misfortune, which says nothing about the document: an :class:`~rag.errors.OperatorError`."""

    code: str
    en: str
    fr: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker gives back for one task: the host that it is on, and what came of it."""

    host: str
    result: Reading | DocumentError | Trouble


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: RejectReason
    en: str
    fr: str


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer as it is spelled: exactly one of ``document``, ``refusal`` and ``trouble`` is given."""

    host: str
    document: Document | None = None
    chunks: tuple[Chunk, ...] = ()
    warnings: tuple[str, ...] = ()
    vectors: Mapping[str, str] = field(default_factory=dict)
    staged: frozenset[str] = frozenset()
    embedded: int = 0
    refusal: _Refusal | None = None
    trouble: Trouble | None = None


_TASK: Final = TypeAdapter(Task)
_SAID: Final = TypeAdapter(_Said)


def task_json(task: Task) -> str:
    """A task as it is sent; where its file stands is said in full."""
    source = task.order.source
    absolute = replace(task.order, source=replace(source, path=source.path.absolute()))
    return _TASK.dump_json(replace(task, order=absolute)).decode()


def task_of(said: str) -> Task:
    """The task that was sent.

    Raises:
        Unintelligible: this is none.
    """
    try:
        return _TASK.validate_json(said)
    except ValidationError as error:
        raise Unintelligible(_places(error)) from None


def answer_json(answer: Answer) -> bytes:
    match answer.result:
        case DocumentError() as error:
            said = _Said(answer.host, refusal=_Refusal(error.reason, error.en, error.fr))
        case Trouble() as trouble:
            said = _Said(answer.host, trouble=trouble)
        case Reading() as reading:
            said = _Said(
                answer.host,
                document=reading.document,
                chunks=reading.chunks,
                warnings=reading.warnings,
                vectors={chunk: _spelled(vector) for chunk, vector in reading.vectors.items()},
                staged=reading.staged,
                embedded=reading.embedded,
            )
    return _SAID.dump_json(said)


def answer_of(said: bytes) -> Answer:
    """The answer that was given.

    Raises:
        Unintelligible: this is none.
    """
    try:
        given = _SAID.validate_json(said)
        vectors = {chunk: _vector(spelled) for chunk, spelled in given.vectors.items()}
    except ValidationError as error:
        raise Unintelligible(_places(error)) from None
    except (ValueError, binascii.Error) as error:
        raise Unintelligible("a vector") from error
    if given.trouble is not None:
        return Answer(given.host, given.trouble)
    if given.refusal is not None:
        return Answer(given.host, DocumentError(given.refusal.reason, given.refusal.en, given.refusal.fr))
    if given.document is None:
        raise Unintelligible("neither a document nor a refusal")
    reading = Reading(given.document, given.chunks, given.warnings, vectors, given.staged, given.embedded)
    return Answer(given.host, reading)


def _spelled(vector: Vector) -> str:
    return base64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode("ascii")


def _vector(spelled: str) -> Vector:
    # A copy, because what a buffer backs cannot be written to.
    return np.frombuffer(base64.b64decode(spelled, validate=True), dtype="<f4").astype(np.float32)


def _places(error: ValidationError) -> str:
    """Where the first thing is wrong, without what stands there: it may be text of a document."""
    return ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
