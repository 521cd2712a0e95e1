"""An answer is given again from its record, at the moment when it was given, and compared with what was given then.

The question is asked under the rights of then and under the rules of now: who may see a corpus or a document today
decides, and the local person has no more groups than the settings give them today. What it finds besides may be hidden
from whoever replays it; they are told whether it is the same. The same passages with the same scores are promised as
long as the snapshots are kept and the embedder is the same; the same words only of the same model, alone at its work.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol

from rag.catalog import Catalog
from rag.engine import Engine
from rag.errors import BadRequest, Conflict, NotFound
from rag.recording import Asked, Ended, Making, asked_in, digest_of, sha256
from rag.records import Record, RecordKind
from rag.seams import Generator
from rag.types import Access, Answer, Principal

CLOSE: Final = 1e-6
"""How much two scores may differ that are called the same."""


class Difference(StrEnum):
    """What is not as it was; a closed list."""

    PROGRAM = "program"
    EMBEDDER = "embedder"
    RERANKER = "reranker"
    GENERATOR = "generator"
    PROMPT = "prompt"
    SETTINGS = "settings"
    CORPUS_TERMS = "corpus_terms"
    """The glossary, the contact, the language or the rank of a corpus was changed."""
    CORPUS_HIDDEN = "corpus_hidden"
    """A corpus that was searched is gone, or no longer for whoever asked."""
    SNAPSHOT_GONE = "snapshot_gone"
    """The retention of a snapshot has passed: its texts are no longer kept."""
    PASSAGES = "passages"
    SCORES = "scores"
    STATUS = "status"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay has shown. ``answer`` is ``None`` where the first one was never finished.

    ``given`` is the answer given now, ``None`` where none could be.
    """

    record: Record
    passages: bool
    answer: bool | None
    differences: tuple[Difference, ...]
    given: Answer | None

    @property
    def equal(self) -> bool:
        """Whether all that can be compared is the same."""
        return self.passages and self.answer is not False


class Replaying(Protocol):
    """The running parts that an answer is given again with."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def generator(self) -> Generator | None: ...
    @property
    def making(self) -> Making: ...
    @property
    def local(self) -> Principal: ...


def replay(vauban: Replaying, record: Record) -> Replay:
    """Give the answer of a record again.

    Raises:
        BadRequest: it is not the record of an answer.
        Conflict: its content was erased, so that nobody knows what was asked.
        Overloaded, StoreError: it cannot be given now.
    """
    if record.kind is not RecordKind.ANSWER:
        raise BadRequest(
            f"record {record.seq} is not that of an answer",
            f"la trace {record.seq} n'est pas celle d'une réponse",
            code="not_an_answer",
        )
    if record.content is None:
        raise Conflict(
            f"the content of record {record.seq} was erased; nobody knows any more what was asked",
            f"le contenu de la trace {record.seq} a été effacé ; plus personne ne sait ce qui fut demandé",
            code="record_erased",
        )
    asked = asked_in(record, record.content)
    # A name of its own: what the model has kept of others, and of replays before, does not touch the numbers.
    name = f"replay {uuid.uuid4().hex}"
    principal = replace(rights_now(asked.question.principal, vauban.local), name=name, access=Access.SERVER)
    asked = replace(asked, question=replace(asked.question, principal=principal))
    differences = _making(vauban, record.body)
    try:
        given = _given(vauban, asked)
    except NotFound as error:
        gone = Difference.SNAPSHOT_GONE if error.code == "unknown_snapshot" else Difference.CORPUS_HIDDEN
        return Replay(record, passages=False, answer=False, differences=(*differences, gone), given=None)
    finally:
        if vauban.generator is not None:
            vauban.generator.forget(principal.owner)
    return _compared(record, given, differences)


def rights_now(then: Principal, local: Principal) -> Principal:
    """The rights of then, less what the local person no longer has."""
    if then.access is not Access.LOCAL:
        return then
    return replace(then, groups=then.groups & local.groups, clearance=min(then.clearance, local.clearance))


def _given(vauban: Replaying, asked: Asked) -> Answer:
    *_, last = vauban.engine.answer(
        asked.question, sampling=asked.sampling, seconds=math.inf, form=asked.form, counted=False
    )
    assert isinstance(last, Answer), "the last event of an answer is the answer"
    return last


def _making(vauban: Replaying, body: Any) -> list[Difference]:
    """What answers are made with now and were not then."""
    making, models = vauban.making, body["models"]
    pairs = [
        (Difference.PROGRAM, making.program, body["program"]),
        (Difference.EMBEDDER, making.embedder, models["embedder"]),
        (Difference.RERANKER, making.reranker, models["reranker"]),
        (Difference.GENERATOR, making.generator, models["generator"]),
        (Difference.SETTINGS, dict(making.settings), body["settings"]),
    ]
    terms = {corpus.name: digest_of(corpus) for corpus in vauban.catalog.corpora()}
    pairs += [(Difference.CORPUS_TERMS, terms.get(name), digest) for name, digest in body["corpora"].items()]
    return list(dict.fromkeys(difference for difference, now, then in pairs if now != then))


def _compared(record: Record, given: Answer, differences: list[Difference]) -> Replay:
    body, content = record.body, record.content
    assert content is not None
    finished = body["ended"] == Ended.FINISHED
    found = list(differences)
    # Which of them the model read is known of a finished answer only; of one that showed nothing, nothing is.
    then = [(one["chunk"], one["sha256"], one["shown"] or not finished) for one in body["passages"]]
    now = [(passage.chunk.id, sha256(passage.chunk.text), passage.shown or not finished) for passage in given.passages]
    same = now == then or content["standalone"] is None
    scores = not (same and then) or all(
        _near(passage.score, one["score"])
        and _near(passage.dense, one["dense"])
        and _near(passage.sparse, one["sparse"])
        for passage, one in zip(given.passages, body["passages"], strict=True)
    )
    if set(body["scope"]["snapshots"]) - set(given.snapshots):
        found.append(Difference.CORPUS_HIDDEN)
    if not same:
        found.append(Difference.PASSAGES)
    elif not scores:
        found.append(Difference.SCORES)
    answer: bool | None = None
    if finished:
        if given.status.value != record.status:
            found.append(Difference.STATUS)
        if given.prompt != body["prompt"]:
            found.append(Difference.PROMPT)
        answer = sha256(given.text) == content["text_sha256"] and given.status.value == record.status
        if not answer:
            found.append(Difference.ANSWER)
    return Replay(record, same and scores, answer, tuple(dict.fromkeys(found)), given)


def _near(now: float | None, then: float | None) -> bool:
    if now is None or then is None:
        return now is then
    return math.isclose(now, then, rel_tol=0.0, abs_tol=CLOSE)
