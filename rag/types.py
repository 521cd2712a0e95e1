"""The values that flow from a file to a cited answer; this module knows nobody.

``Document → Section → Chunk → Hit → Passage → Claim/Citation → Answer``. Every type is frozen and whole: a
stage takes the type before it and returns its own, and no field is "set later". Character offsets count
Unicode code points and are half-open; pages count from 1; dates are half-open intervals ``[from, to)``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
"""One embedding, shape ``(dimension,)``, L2-normalised."""
Matrix = npt.NDArray[np.float32]
"""Embeddings, shape ``(texts, dimension)``, each row L2-normalised."""

PUBLIC = "*"
"""The group of everyone: a corpus or document that lists it has no restricted audience."""


class NormRank(StrEnum):
    """The place of a text in the hierarchy of norms, highest first."""

    CODE = "code"
    DECREE = "decree"
    ORDER = "order"
    CIRCULAR = "circular"
    INTERNAL_NOTE = "internal_note"

    @property
    def height(self) -> int:
        """A number that is larger for a higher norm."""
        return len(NormRank) - list(NormRank).index(self)


@dataclass(frozen=True, slots=True)
class Validity:
    """When a rule is in force: ``[start, end)``; ``None`` for an unknown start or an open end.

    ``known`` is false when the document says nothing about its dates: such a rule is included in every
    search and marked as unknown.
    """

    start: dt.date | None = None
    end: dt.date | None = None

    @property
    def known(self) -> bool:
        return self.start is not None or self.end is not None

    def covers(self, day: dt.date) -> bool:
        """Whether a rule with this validity is (or may be, when unknown) in force on ``day``."""
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)


class LegalStatus(StrEnum):
    """What became of a rule, as its publisher says; whether it holds on a day is its validity's business."""

    IN_FORCE = "in_force"
    DEFERRED = "deferred"
    """Published, and in force from a later day on."""
    AMENDED = "amended"
    """A version that another one has replaced."""
    REPEALED = "repealed"
    EXPIRED = "expired"
    ANNULLED = "annulled"
    TRANSFERRED = "transferred"
    """Its content stands under another number now."""


# --- a document, before and after splitting ------------------------------------------------------------


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"
    TABLE = "table"
    NOTE = "note"
    """A footnote, on the page where it stands."""


@dataclass(frozen=True, slots=True)
class Block:
    """One thing in reading order, as a parser gives it.

    ``level`` is the heading level that the format itself states (1 is the highest), ``None`` where it states
    none: the outline builder decides then from the words. ``rows`` holds a table, its header row first.
    ``validity`` and ``legal_status`` are what the format states of the section that a heading opens; ``links`` are
    reference keys (:mod:`rag.references`) of texts that it links to.
    """

    kind: BlockKind
    text: str
    level: int | None = None
    page: int | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    validity: Validity | None = None
    legal_status: LegalStatus | None = None
    links: tuple[str, ...] = ()


LOW_QUALITY: Final = 0.85
"""Below this score a reader is warned that a text may have been read wrongly."""


@dataclass(frozen=True, slots=True)
class PageQuality:
    """How well the text of a page can be trusted: ``score`` in ``[0, 1]``, and whether it comes from OCR."""

    page: int
    score: float
    ocr: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What a document's own format or text says of itself; ``None`` is what it does not say."""

    language: str | None = None
    norm_rank: NormRank | None = None
    validity: Validity = Validity()
    legal_status: LegalStatus | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser read in one file: the blocks in reading order and what it could not read well.

    ``quality`` has a row for each page whose text was judged, in the order of the pages; empty for formats that hold
    their text as text. ``stated`` is what the format's own fields say.
    """

    blocks: tuple[Block, ...]
    media_type: str
    title: str | None = None
    pages: int | None = None
    warnings: tuple[str, ...] = ()
    quality: tuple[PageQuality, ...] = ()
    stated: Stated = Stated()


@dataclass(frozen=True, slots=True)
class Document:
    """One regulation or file of a corpus; ``id`` is stable across edits, ``sha256`` is of the file's bytes.

    ``quality`` is the score of its worst page, ``None`` where its text needed no judgement.
    """

    id: str
    corpus: str
    title: str
    language: str
    source: str
    sha256: str
    media_type: str
    norm_rank: NormRank | None = None
    validity: Validity = Validity()
    groups: frozenset[str] = frozenset({PUBLIC})
    clearance: int = 0
    pages: int | None = None
    legal_status: LegalStatus | None = None
    quality: float | None = None


class SectionKind(StrEnum):
    PREAMBLE = "preamble"
    DIVISION = "division"
    ARTICLE = "article"
    ANNEX = "annex"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Section:
    """A node of a document's outline with the blocks that stand directly under it.

    ``heading`` is its full heading line (empty for a preamble), ``number`` what the heading numbers it with
    (``1er``, ``R. 12-3``, ``2.1``), ``path`` the headings above it, outermost first. ``validity`` and
    ``legal_status`` are its own where it has some, ``None`` where the document's hold.
    """

    kind: SectionKind
    heading: str
    number: str | None
    path: tuple[str, ...]
    blocks: tuple[Block, ...]
    page: int | None = None
    validity: Validity | None = None
    legal_status: LegalStatus | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is stored and searched: part of one section, never of two articles.

    ``id`` is a UUIDv5 of corpus, document, outline path, ordinal and text hash. ``reference`` is how a person
    cites it (``Article 4``, ``Annexe 1``), ``own_references`` the normalised keys it answers to in an exact
    search and ``mentions`` those of other texts it names. ``start``/``end`` are offsets in the document's text.
    ``quality`` is the score of the worst of its pages, ``None`` where the text needed no judgement. ``lead_in``
    introduces the list that the text goes on with; empty for a text that stands by itself.
    """

    id: str
    corpus: str
    document: str
    title: str
    reference: str
    path: tuple[str, ...]
    text: str
    ordinal: int
    language: str
    start: int
    end: int
    page: int | None = None
    page_end: int | None = None
    norm_rank: NormRank | None = None
    validity: Validity = Validity()
    groups: frozenset[str] = frozenset({PUBLIC})
    clearance: int = 0
    own_references: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    legal_status: LegalStatus | None = None
    quality: float | None = None
    lead_in: str = ""

    @property
    def breadcrumb(self) -> str:
        """Where the chunk stands, for people and for the embedder: title, path, own reference and lead-in."""
        parts = [self.title, *self.path]
        if self.reference and not any(part.startswith(self.reference) for part in parts):
            parts.append(self.reference)
        parts.append(self.lead_in)
        return " > ".join(part for part in parts if part)

    @property
    def search_text(self) -> str:
        """The text that is embedded and indexed: the breadcrumb, then the text."""
        return f"{self.breadcrumb}\n{self.text}"


# --- scope and search ----------------------------------------------------------------------------------


class Role(StrEnum):
    """What a person may do beside reading what their groups and clearance admit; a closed list."""

    READER = "reader"
    MAINTAINER = "maintainer"
    """Feeds the corpora that the principal ``maintains``."""
    AUDITOR = "auditor"
    """Reads the records of everyone's answers, as far as their own groups and clearance admit the texts."""
    ADMINISTRATOR = "administrator"
    """Declares corpora and their audience, and maintains them all."""


class Access(StrEnum):
    """How a person came in; with the name it says whose history and whose model state is meant."""

    LOCAL = "local"
    KEY = "key"
    OIDC = "oidc"
    PROXY = "proxy"
    SERVER = "server"
    """The user who runs the server, by the token of its ``server.json``."""


EVERY: Final = "*"
"""In :attr:`Principal.maintains`: every corpus."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``groups`` never needs to list :data:`PUBLIC`: everyone is in it.

    ``maintains`` are the corpora that a maintainer may feed. ``corpora`` and ``assistants`` are what the credential
    is limited to; ``None`` is no limit.
    """

    name: str
    groups: frozenset[str] = frozenset()
    clearance: int = 0
    roles: frozenset[Role] = frozenset({Role.READER})
    maintains: frozenset[str] = frozenset()
    corpora: frozenset[str] | None = None
    assistants: frozenset[str] | None = None
    access: Access = Access.LOCAL

    @property
    def owner(self) -> str:
        """The person as the queue, the model's cache and the history know them: the same name by two ways are two."""
        return f"{self.access.value}:{self.name}"

    def may_maintain(self, corpus: str) -> bool:
        """Whether this person may feed a corpus, if they may see it."""
        if self.corpora is not None and corpus not in self.corpora:
            return False
        if Role.ADMINISTRATOR in self.roles:
            return True
        return Role.MAINTAINER in self.roles and bool(self.maintains & {EVERY, corpus})


@dataclass(frozen=True, slots=True)
class Synonyms:
    """Families of phrases: acronyms, everyday words and the terms of the regulations.

    Those of a family of ``same`` say the same in every rule, and may support a claim. The first of a family of
    ``near`` is what people say; the others are good to search with, and prove nothing.
    """

    same: tuple[tuple[str, ...], ...] = ()
    near: tuple[tuple[str, ...], ...] = ()

    @property
    def families(self) -> int:
        return len(self.same) + len(self.near)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A named document set with its audience. An empty ``groups`` is an audience of nobody."""

    name: str
    title: str
    language: str = "fr"
    groups: frozenset[str] = frozenset()
    clearance: int = 0
    contact: str = ""
    norm_rank: NormRank | None = None
    retention_days: int = 365
    glossary: Synonyms = Synonyms()


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks and under which light. No search exists without one.

    ``lineages`` gives, for each corpus that may be searched, the snapshot that is seen and its ancestors,
    newest first; a corpus that is not a key is not searched. An empty mapping finds nothing. ``as_of`` is the
    day on which the rules must be in force; ``None`` searches every version.
    """

    groups: frozenset[str]
    clearance: int
    lineages: Mapping[str, tuple[int, ...]]
    as_of: dt.date | None = None

    @property
    def snapshots(self) -> dict[str, int]:
        """The snapshot seen of each corpus."""
        return {corpus: lineage[0] for corpus, lineage in self.lineages.items() if lineage}


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights by term id; ``indices`` strictly ascending, the same length as ``values``."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A chunk with its vectors, as the store keeps it."""

    chunk: Chunk
    dense: Vector
    sparse: SparseVector


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of a chunk it holds, without the vectors."""

    point: str
    chunk: Chunk
    added: int
    removed: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A point with its marks: the snapshot that added it, and those that removed it."""

    point: Point
    added: int
    removed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One question in the three forms that are searched; a form that is ``None`` or empty is not searched."""

    dense: Vector | None
    sparse: SparseVector | None
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk in one ranked list, with that list's own score."""

    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """The ranked lists of one search, each best first: cosine, BM25, and exact references (score 1.0)."""

    dense: tuple[Scored, ...] = ()
    sparse: tuple[Scored, ...] = ()
    exact: tuple[Scored, ...] = ()


class Found(StrEnum):
    """How a chunk came among the hits."""

    SEARCH = "search"
    NAMED = "named"
    """A better hit names its article."""
    NEIGHBOUR = "neighbour"
    """It goes on with the article of a better hit."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search returned. ``score`` is the fused (or reranked) one; the parts say where it came from.

    ``dense`` is the cosine, ``sparse`` the BM25 score, each ``None`` when that list did not hold the chunk.
    """

    chunk: Chunk
    score: float
    dense: float | None = None
    sparse: float | None = None
    exact: bool = False
    found: Found = Found.SEARCH


# --- answering -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation so far: ``role`` is ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A past moment: the snapshot of each corpus that was published, and which day it was."""

    snapshots: Mapping[str, int]
    today: dt.date


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom, over what. ``as_of`` ``None`` means today in Europe/Paris.

    ``moment`` is set where an answer is given again as it was.
    """

    text: str
    principal: Principal
    corpora: tuple[str, ...] | None = None
    as_of: dt.date | None = None
    history: tuple[Turn, ...] = ()
    language: str | None = None
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit as it is shown to the reader and the model; ``n`` counts from 1 and is what ``[n]`` cites.

    ``shown`` is false for a passage that was offered to the reader but did not fit into the model's prompt.
    ``dense`` and ``sparse`` are the cosine and the BM25 score of the search, ``None`` when that list lacked it.
    """

    n: int
    chunk: Chunk
    score: float
    shown: bool = True
    dense: float | None = None
    sparse: float | None = None
    found: Found = Found.SEARCH


class DropReason(StrEnum):
    """``rank``: better passages were enough. ``budget``: it did not fit into the model's context."""

    RANK = "rank"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A passage that the model was not shown, and why."""

    passage: int
    reason: DropReason


class Verdict(StrEnum):
    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"


class Reason(StrEnum):
    """Why a claim is not supported; a closed list that clients may rely on."""

    NO_CITATION = "no_citation"
    UNKNOWN_CITATION = "unknown_citation"
    NUMBER = "number"
    DATE = "date"
    UNIT = "unit"
    REFERENCE = "reference"
    NEGATION = "negation"
    MODALITY = "modality"
    QUALIFIER = "qualifier"
    NAME = "name"
    LEXICAL = "lexical"
    SEMANTIC = "semantic"
    NOT_A_CLAIM = "not_a_claim"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``[start, end)`` of the text of passage ``passage``."""

    passage: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of a draft with its verdict. ``text`` has no ``[n]`` marks; ``spans`` are what supports it.

    ``cited`` are the passages it cites, ``reason`` is ``None`` exactly when it is supported. ``score`` in ``[0, 1]``
    says how surely it is; ``repaired`` that a mark was missing or wrong and another was set in its place.
    ``nearest`` are the spans that come nearest to it when it is not supported.
    """

    text: str
    cited: tuple[int, ...]
    verdict: Verdict
    reason: Reason | None = None
    spans: tuple[Span, ...] = ()
    score: float = 0.0
    repaired: bool = False
    nearest: tuple[Span, ...] = ()

    @property
    def supported(self) -> bool:
        return self.verdict is Verdict.SUPPORTED


@dataclass(frozen=True, slots=True)
class PlacedClaim:
    """A claim and where its sentence, with marks, stands in the answer; ``None`` for one that is not shown."""

    claim: Claim
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Citation:
    """Characters ``[start, end)`` of the answer's text rest on passage ``passage``."""

    start: int
    end: int
    passage: int


class Policy(StrEnum):
    """What becomes of an unsupported claim: dropped, or shown and marked."""

    STRICT = "strict"
    FLAG = "flag"


class Quotes(StrEnum):
    """Who chooses verbatim extracts: a trained ranking of sentences, or the model held to them by a grammar."""

    RANKED = "ranked"
    GRAMMAR = "grammar"


class Status(StrEnum):
    """How a question ended; a closed list."""

    ANSWERED = "answered"
    EXTRACTS = "extracts"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    CONFLICTING_SOURCES = "conflicting_sources"
    NEEDS_CLARIFICATION = "needs_clarification"
    OUT_OF_SCOPE = "out_of_scope"
    REFUSED = "refused"


class NoticeKind(StrEnum):
    """What a reader is told beside an answer; a closed list."""

    AS_OF = "as_of"
    """The day of the answer was read in the question."""
    NEWER_VERSION = "newer_version"
    """A text that is cited was replaced after the day of the answer."""
    FUTURE_VERSION = "future_version"
    """Another version of a text that is cited comes into force after today."""
    NOT_IN_FORCE = "not_in_force"
    """A text that is cited is repealed, expired or annulled, as its publisher says."""
    UNKNOWN_VALIDITY = "unknown_validity"
    """A text that is cited does not say from when it holds."""
    LANGUAGE = "language"
    """The question is in another language than the texts, so the search may have missed some."""
    SPELLING = "spelling"
    """A word of the question was also searched in another spelling."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing a reader should know of an answer, in the reader's language; ``passages`` are those it is about."""

    kind: NoticeKind
    text: str
    passages: tuple[int, ...] = ()
    day: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to make a question clearer: what the reader picks, and the whole question that it makes."""

    label: str
    question: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two places that say opposite things on one point, the higher norm first; ``reason`` is what differs."""

    first: Span
    second: Span
    reason: Reason


class AsOfSource(StrEnum):
    """Who chose the day of an answer."""

    TODAY = "today"
    ASKED = "asked"
    """The caller, beside the question."""
    QUESTION = "question"
    """The words of the question."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The finished answer and what is needed to give it again.

    ``question`` is the stand-alone question that was searched; ``model`` and ``prompt`` are fingerprints
    (``model`` is ``None`` when no model drafted anything); ``timings`` are seconds by stage. ``choices`` go with
    ``needs_clarification``, ``conflicts`` with ``conflicting_sources``. ``prompt_budget`` is how many tokens the
    prompt might have had, ``reused_tokens`` how many of its tokens the model had read before.
    """

    status: Status
    text: str
    language: str
    question: str
    claims: tuple[PlacedClaim, ...] = ()
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    snapshots: Mapping[str, int] = field(default_factory=dict)
    as_of: dt.date | None = None
    model: str | None = None
    prompt: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    contact: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0
    prompt_budget: int = 0
    notices: tuple[Notice, ...] = ()
    choices: tuple[Choice, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    as_of_source: AsOfSource = AsOfSource.TODAY


# --- the events of an answer in the making -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PassagesFound:
    """The passages, sent before the model has written a word; those of a second one take the place of the first's."""

    passages: tuple[Passage, ...]
    question: str
    as_of: dt.date | None
    snapshots: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of the final text that may be shown now; pieces joined are exactly the answer's text."""

    text: str
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The question waits for the model: ``position`` 1 is next, 0 its turn, ``seconds`` an estimate if any."""

    position: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The model begins to read a prompt of ``tokens``, of which it holds ``reused`` already."""

    tokens: int
    reused: int


Told = Waiting | Reading
"""What a generator tells its caller before it writes."""

Event = PassagesFound | Sentence | Waiting | Answer


# --- generation ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt: ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a draft is written. ``temperature`` 0 is greedy; ``stop`` are strings that end it.

    ``grammar`` is a GBNF grammar that the text must follow; ``None`` leaves the model free.
    """

    max_tokens: int = 320
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None


# --- ingestion, as others see it -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that was not taken in: its path in the folder, a reason of the closed list, and what happened."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did to one document: its action, the counts of its articles by theirs, and what was read badly."""

    document: str
    path: str
    action: str
    articles: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Workers(StrEnum):
    """Where the documents of a sync are read: in processes of this machine, or by Celery workers on any."""

    LOCAL = "local"
    CELERY = "celery"


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a folder is taken in. ``automatic`` is a sync that no person asked for: a rollback puts these on hold."""

    dry_run: bool = False
    init: bool = False
    confirm_removals: bool = False
    automatic: bool = False
    workers: Workers = Workers.LOCAL


class UploadKind(StrEnum):
    """What a person does to one document of a corpus that is fed by uploads."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says of a document that they send: what a sidecar says. ``None`` is what was not said."""

    title: str | None = None
    language: str | None = None
    norm_rank: NormRank | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    groups: frozenset[str] | None = None
    clearance: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One document that is added, replaced or removed. ``file`` holds its bytes; whoever takes it in deletes it.

    ``name`` is its checked file name. ``expected`` is the SHA-256 of the version that the person had seen, empty where
    they did not say. ``resume`` says that what a rollback took back may come back with it.
    """

    corpus: str
    document: str
    kind: UploadKind
    name: str = ""
    file: Path | None = None
    said: Said = Said()
    expected: str = ""
    resume: bool = False


class RunKind(StrEnum):
    """What a run does."""

    SYNC = "sync"
    UPLOAD = "upload"
    BACKUP = "backup"
    REBUILD = "rebuild"
    IMPORT = "import"
    EXPORT = "export"


class RunState(StrEnum):
    """Where an ingestion stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One ingestion. ``counts`` has the numbers of ``ingest sync --json``; ``snapshot`` is what is published after it.

    ``stage``, ``done`` and ``total`` say how far a running one has come; ``error`` is the code and ``detail`` the
    sentence of the error that ended a failed one.
    """

    id: str
    corpus: str
    state: RunState
    snapshot: int | None = None
    counts: Mapping[str, float] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    stage: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    detail: str = ""
    kind: RunKind = RunKind.SYNC
    created: str = ""
    """When it was asked for, as the catalog orders runs."""

    @property
    def final(self) -> bool:
        return self.state in {RunState.DONE, RunState.FAILED, RunState.CANCELLED}
