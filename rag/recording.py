"""What the record of an answer says, and how an answer and its record go together.

The body tells what was done and with what, without a word that a person wrote: scope, passages by id, score and hash,
verdicts, models, settings, times. The content tells who asked, under which rights, what, and what was answered. Both
are enough to ask again (:mod:`rag.replaying`). The texts of passages are in neither: the store keeps them.

An answer is finished when its record is: :func:`kept` writes the record first and hands the finished answer on
afterwards. Where it cannot be written, the reader gets an error in its place. Sentences that were streamed before
cannot be unsaid: what was shown until then is recorded as a failed answer as soon as something can be written again,
and until then no other question is taken. What a killed process was just showing is noted beside the chain
(:mod:`rag.unfinished`), and recorded as broken off when the home is opened again: :func:`recover`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Protocol

from rag import scope
from rag.audit import Records
from rag.catalog import Catalog
from rag.errors import CallerError, Cancelled, NotFound, OperatorError, Overloaded, VaubanError
from rag.records import Draft, Record, RecordKind
from rag.sealing import canonical
from rag.structured import Keyed, Listed, Shape, Text
from rag.types import (
    Access,
    Answer,
    Corpus,
    Event,
    Moment,
    Passage,
    PassagesFound,
    PlacedClaim,
    Principal,
    Question,
    Role,
    Sampling,
    Sentence,
    Turn,
)
from rag.unfinished import Begun

FORMAT: Final = 1
"""Version of what a body and a content hold."""


class Ended(StrEnum):
    """How an answer ended; a closed list."""

    FINISHED = "finished"
    ABANDONED = "abandoned"
    """The reader left; what they had seen until then is recorded."""
    FAILED = "failed"
    BROKEN_OFF = "broken_off"
    """The process was killed; what was ready to be shown until then is recorded at the next start."""


@dataclass(frozen=True, slots=True)
class Making:
    """What an answer is made with: program, models by fingerprint, and the settings that change what is answered."""

    program: str
    embedder: str
    reranker: str | None
    generator: str | None
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it came: the id of its completion and of its request, how it is to be written, in which form."""

    id: str
    question: Question
    sampling: Sampling = field(default_factory=Sampling)
    form: Keyed | None = None
    request: str = ""


class Answering(Protocol):
    """The running parts that a record is made from."""

    @property
    def records(self) -> Records: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def making(self) -> Making: ...


def kept(vauban: Answering, asked: Asked, events: Iterator[Event]) -> Iterator[Event]:
    """The same events; the answer among them comes once its record survives a power cut.

    A question that is refused before anything was shown leaves no record: it was not answered.

    Raises:
        StoreError, DiskFull: the record cannot be written, or an earlier one still cannot.
        VaubanError: what ``events`` raises.
    """
    vauban.records.settle()
    telling = _Telling(asked, vauban.making, scope.today())
    begun: Begun | None = None
    done = False
    try:
        with closing(_closable(events)) as made:
            for event in made:
                telling.hear(event)
                if isinstance(event, Answer):
                    vauban.records.append(telling.draft(vauban.catalog.corpora(), Ended.FINISHED))
                    done = True
                    if begun is not None:
                        begun.end()
                elif isinstance(event, PassagesFound):
                    begun = begun or vauban.records.unfinished.begin()
                    begun.show(telling.draft(vauban.catalog.corpora(), Ended.BROKEN_OFF))
                elif isinstance(event, Sentence) and begun is not None:
                    begun.say(event.text)
                yield event
    except BaseException as error:  # also an answer that is closed halfway was shown to somebody; it is raised again
        refused = isinstance(error, CallerError | Overloaded) and not telling.shown
        if not done and not refused:
            _leave(vauban, telling, error, begun)
        raise


def finish(vauban: Answering, asked: Asked, events: Iterator[Event]) -> Answer:
    """The finished answer alone, recorded; raises what :func:`kept` raises."""
    *_, last = kept(vauban, asked, events)
    assert isinstance(last, Answer)
    return last


def _closable(events: Iterator[Event]) -> Any:
    """The same events as a generator, whose ``close`` reaches the engine's when that is one too."""
    yield from events


def recover(records: Records) -> int:
    """Record the answers that a killed process was showing; how many. For the owner of the home, at its start.

    Raises:
        StoreError, DiskFull: they cannot be read or recorded; what was not recorded is there the next time.
    """
    count = 0
    for left in records.unfinished.left():
        with suppress(NotFound):
            records.read(left.draft.id)  # it was killed between the record and the end of the note
            left.forget()
            continue
        content = dict(left.draft.content or {})
        text = f"{content['text']}{left.text}"
        content |= {"text": text, "text_sha256": sha256(text)}
        records.append(replace(left.draft, content=content))
        left.forget()
        count += 1
    return count


def _leave(vauban: Answering, telling: _Telling, error: BaseException, begun: Begun | None) -> None:
    """Record an answer that did not come to its end; where that is impossible now, later."""
    ended = Ended.ABANDONED if isinstance(error, Cancelled | GeneratorExit) else Ended.FAILED
    code = error.code if isinstance(error, VaubanError) else "internal"
    try:
        corpora = vauban.catalog.corpora()
    except OperatorError:
        corpora = []
    draft = telling.draft(corpora, ended, code if ended is Ended.FAILED else None)
    try:
        vauban.records.append(draft)
    except OperatorError:
        vauban.records.owe(draft, begun)
    else:
        if begun is not None:
            begun.end()


class _Telling:
    """What a reader has been shown so far of one answer."""

    def __init__(self, asked: Asked, making: Making, today: dt.date) -> None:
        self._asked = asked
        self._making = making
        self._today = asked.question.moment.today if asked.question.moment else today
        self._began = dt.datetime.now(dt.UTC)
        self._found: PassagesFound | None = None
        self._text = ""
        self._answer: Answer | None = None

    @property
    def shown(self) -> bool:
        return self._found is not None

    def hear(self, event: Event) -> None:
        match event:
            case PassagesFound():
                self._found = event
            case Sentence():
                self._text += event.text
            case Answer():
                self._answer = event

    def draft(self, corpora: Sequence[Corpus], ended: Ended, error: str | None = None) -> Draft:
        """The record of what was shown, which ended so."""
        found, question = self._found, self._asked.question
        answer = self._answer if ended is Ended.FINISHED else None  # one that could not be recorded was not shown
        shown: Answer | PassagesFound | None = answer or found
        passages = shown.passages if shown else ()
        snapshots = dict(shown.snapshots) if shown else {}
        as_of = shown.as_of if shown else None
        body: dict[str, object] = {
            "format": FORMAT,
            "ended": ended.value,
            "error": error,
            "began": self._began.isoformat(timespec="microseconds"),
            "today": self._today.isoformat(),
            "requested": None if question.corpora is None else list(question.corpora),
            "asked_as_of": _day(question.as_of),
            "language": question.language,
            "scope": {
                "snapshots": snapshots,
                "as_of": _day(as_of),
                "source": answer.as_of_source.value if answer else None,
            },
            "passages": [_passage(passage, snapshots) for passage in passages],
            "program": self._making.program,
            "settings": dict(self._making.settings),
            "models": {
                "embedder": self._making.embedder,
                "reranker": self._making.reranker,
                "generator": self._making.generator,
            },
            "corpora": {corpus.name: digest_of(corpus) for corpus in corpora if corpus.name in snapshots},
            "sampling": {
                "max_tokens": self._asked.sampling.max_tokens,
                "temperature": self._asked.sampling.temperature,
                "seed": self._asked.sampling.seed,
            },
        }
        text = self._text if answer is None else answer.text
        content: dict[str, object] = {
            **_person(question.principal),
            # A caller chooses it, and may have written anything.
            "request": self._asked.request,
            "question": question.text,
            "history": [[turn.role, turn.text] for turn in question.history],
            "standalone": shown.question if shown else None,
            "stop": list(self._asked.sampling.stop),
            "grammar": self._asked.sampling.grammar,
            "form": None if self._asked.form is None else _shape_written(self._asked.form),
            "text": text,
            "text_sha256": sha256(text),
        }
        if answer is not None:
            body |= _told(answer)
            content |= _said(answer)
        return Draft(
            kind=RecordKind.ANSWER,
            body=body,
            content=content,
            owner=question.principal.owner,
            id=self._asked.id,
            status=answer.status.value if answer else ended.value,
            corpora=tuple(sorted({passage.chunk.corpus for passage in passages})),
        )


def _passage(passage: Passage, snapshots: Mapping[str, int]) -> dict[str, object]:
    chunk = passage.chunk
    return {
        "n": passage.n,
        "chunk": chunk.id,
        "corpus": chunk.corpus,
        "document": chunk.document,
        "snapshot": snapshots.get(chunk.corpus),
        "sha256": sha256(chunk.text),
        "score": passage.score,
        "dense": passage.dense,
        "sparse": passage.sparse,
        "shown": passage.shown,
        "found": passage.found.value,
    }


def _told(answer: Answer) -> dict[str, object]:
    """What a finished answer adds to the body."""
    return {
        "answer_language": answer.language,
        "model": answer.model,
        "prompt": answer.prompt,
        "claims": [_verdict(placed) for placed in answer.claims],
        "citations": [[citation.start, citation.end, citation.passage] for citation in answer.citations],
        "dropped": [[dropped.passage, dropped.reason.value] for dropped in answer.dropped],
        "notices": [
            {"kind": notice.kind.value, "passages": list(notice.passages), "day": _day(notice.day)}
            for notice in answer.notices
        ],
        "conflicts": [asdict(conflict) for conflict in answer.conflicts],
        "timings": dict(answer.timings),
        "tokens": {
            "prompt": answer.prompt_tokens,
            "completion": answer.completion_tokens,
            "reused": answer.reused_tokens,
            "budget": answer.prompt_budget,
        },
    }


def _verdict(placed: PlacedClaim) -> dict[str, object]:
    claim = placed.claim
    return {
        "start": placed.start,
        "end": placed.end,
        "verdict": claim.verdict.value,
        "reason": claim.reason.value if claim.reason else None,
        "cited": list(claim.cited),
        "spans": [[span.passage, span.start, span.end] for span in claim.spans],
        "score": claim.score,
        "repaired": claim.repaired,
    }


def _said(answer: Answer) -> dict[str, object]:
    """What a finished answer adds to the content."""
    return {
        "claims": [placed.claim.text for placed in answer.claims],
        "notices": [notice.text for notice in answer.notices],
        "choices": [[choice.label, choice.question] for choice in answer.choices],
        "contact": answer.contact,
    }


def _person(principal: Principal) -> dict[str, object]:
    rights = {
        "groups": sorted(principal.groups),
        "clearance": principal.clearance,
        "corpora": _sorted(principal.corpora),
        "assistants": _sorted(principal.assistants),
    }
    # Under the record's own key, like all of this: in the chain, rare rights would tell whose they are.
    return {
        "name": principal.name,
        "access": principal.access.value,
        "owner": principal.owner,
        "roles": sorted(principal.roles),
        "rights": rights,
        "rights_sha256": sha256(canonical(rights)),
    }


def acting(principal: Principal) -> dict[str, object]:
    """Who has done something with records, as the content of the record of it."""
    return {"name": principal.name, "access": principal.access.value, "owner": principal.owner}


def asked_in(record: Record, content: Mapping[str, Any]) -> Asked:
    """The question of a record, as it was asked, at the moment when it was."""
    body = record.body
    return Asked(
        id=record.id,
        question=Question(
            text=content["question"],
            principal=_principal(content),
            corpora=None if body["requested"] is None else tuple(body["requested"]),
            as_of=_read_day(body["asked_as_of"]),
            history=tuple(Turn(role, text) for role, text in content["history"]),
            language=body["language"],
            moment=Moment(dict(body["scope"]["snapshots"]), dt.date.fromisoformat(body["today"])),
        ),
        sampling=Sampling(**body["sampling"], stop=tuple(content["stop"]), grammar=content["grammar"]),
        form=None if content["form"] is None else Keyed(_members(content["form"])),
        request=content["request"],
    )


def _principal(content: Mapping[str, Any]) -> Principal:
    """Whoever asked, with what their rights were then: nobody acts under this but a replay."""
    rights = content["rights"]
    return Principal(
        name=content["name"],
        groups=frozenset(rights["groups"]),
        clearance=rights["clearance"],
        roles=frozenset({Role.READER}),
        corpora=None if rights["corpora"] is None else frozenset(rights["corpora"]),
        assistants=None if rights["assistants"] is None else frozenset(rights["assistants"]),
        access=Access(content["access"]),
    )


def digest_of(corpus: Corpus) -> str:
    """Sums up what is said of a corpus that changes answers and is no part of its snapshots."""
    said = [asdict(corpus.glossary), corpus.contact, corpus.language, corpus.norm_rank]
    return sha256(canonical(said))[:32]


def _shape_written(shape: Shape) -> list[object]:
    """A form as JSON that keeps the order of its members."""
    match shape:
        case Text():
            return ["text", shape.optional]
        case Listed():
            return ["listed", _shape_written(shape.item), shape.fewest, shape.most]
        case Keyed():
            return ["keyed", [[name, _shape_written(inner)] for name, inner in shape.members]]


def _shape_read(written: Sequence[Any]) -> Shape:
    match written:
        case ["text", optional]:
            return Text(bool(optional))
        case ["listed", item, fewest, most]:
            return Listed(_shape_read(item), fewest, most)
    return Keyed(_members(written))


def _members(written: Sequence[Any]) -> tuple[tuple[str, Shape], ...]:
    return tuple((name, _shape_read(inner)) for name, inner in written[1])


def _sorted(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def sha256(text: str) -> str:
    """The hash of a text as bodies and contents hold it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _day(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _read_day(written: str | None) -> dt.date | None:
    return None if written is None else dt.date.fromisoformat(written)
