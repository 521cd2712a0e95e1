"""A small Vauban for the tests of the API: fakes, a few documents, and a real server on a free loopback port."""

from __future__ import annotations

import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from reportlab.pdfgen.canvas import Canvas

from ingest.source import Source
from rag import lexical
from rag.adapters.fake import DictStore, HashEmbedder
from rag.audit import Records
from rag.catalog import Catalog, DocumentRow
from rag.database import Database
from rag.engine import Engine, Library
from rag.errors import Cancelled, ModelError, NotFound
from rag.feedback import Feedback
from rag.history import History
from rag.home import Home
from rag.queue import QueueState, Turns
from rag.recording import Making
from rag.retrieval import Retriever
from rag.seams import Generator, Reranker
from rag.serving import bind
from rag.settings import Settings
from rag.types import (
    Chunk,
    Corpus,
    Document,
    Message,
    Point,
    Principal,
    RunState,
    RunStatus,
    Sampling,
    SyncOptions,
    Told,
    Upload,
    Waiting,
)

TOKEN = "token-of-server-json"
LEAVE = "La durée du congé annuel est de 25 jours ouvrés par année civile."
QUESTION = "Quelle est la durée du congé annuel ?"
MEALS = "Les repas pris en mission sont remboursés dans la limite de 20 euros par repas."


def document(corpus: str, id: str, title: str, **changes: object) -> Document:  # noqa: A002 the field's own name
    values = {"language": "fr", "source": f"{id}.md", "sha256": "0" * 64, "media_type": "text/markdown"}
    return Document(corpus=corpus, id=id, title=title, **(values | changes))  # type: ignore[arg-type]  # a test's values


def chunk(of: Document, reference: str, text: str, ordinal: int = 0) -> Chunk:
    return Chunk(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{of.corpus}/{of.id}/{reference}/{ordinal}")),
        corpus=of.corpus,
        document=of.id,
        title=of.title,
        reference=reference,
        path=("Titre I",),
        text=text,
        ordinal=ordinal,
        language="fr",
        start=0,
        end=len(text),
        page=1,
        page_end=1,
        groups=of.groups,
    )


def pdf(pages: int = 2) -> bytes:
    written = BytesIO()
    canvas = Canvas(written, pagesize=(200, 300), invariant=True)
    for number in range(pages):
        canvas.drawString(20, 200, f"Page {number + 1}")
        canvas.showPage()
    canvas.save()
    return written.getvalue()


@dataclass
class Writer:
    """A scripted model: quotes the first passage, or writes ``words`` one at a time, ``pause`` seconds apart.

    Like a real one it serves one caller at a time, tells the others their place, and asks ``cancelled`` before each
    word; ``stopped`` is set when it was told to stop.
    """

    words: Sequence[str] = ()
    pause: float = 0.0
    context: int = 4_096
    fingerprint: str = "fake-writer"
    begun: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    samplings: list[Sampling] = field(default_factory=list)
    prompts: list[Sequence[Message]] = field(default_factory=list)
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def queue(self) -> QueueState:
        return Turns(16).state

    def forget(self, owner: str) -> None:
        pass

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in prompt)

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        told: Callable[[Told], None] = lambda told: None,
        owner: str = "",
    ) -> Iterator[str]:
        while not self.turn.acquire(timeout=0.05):
            told(Waiting(1))
            if cancelled():
                raise Cancelled("cancelled")
        try:
            self.begun.set()
            self.samplings.append(sampling)
            self.prompts.append(prompt)
            for word in self.words or [quoting(prompt)]:
                if cancelled():
                    self.stopped.set()
                    raise Cancelled("cancelled")
                yield word
                time.sleep(self.pause)
        finally:
            self.turn.release()

    def close(self) -> None:
        pass


def quoting(prompt: Sequence[Message]) -> str:
    """A draft that cites, word for word, the passage with the most words of the question."""
    passages, _, question = "\n".join(message.content for message in prompt).rpartition("Question")
    words = set(question.split())
    found = re.findall(r'<passage n="(\d+)" source="[^"]*">\n(.*?)\n</passage>', passages, re.DOTALL)
    number, text = max(found, key=lambda passage: len(words.intersection(passage[1].split())))
    return f"{text.split('. ')[0].rstrip('.')} [{number}]."


def slow_writer() -> Writer:
    """Writes for a minute unless it is stopped."""
    return Writer(words=["mot "] * 1_200, pause=0.05)


@dataclass
class ListInbox:
    """An inbox that only notes what it was given."""

    runs: dict[str, tuple[str, Path, SyncOptions]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    others: dict[str, tuple[object, ...]] = field(default_factory=dict)
    stages: list[tuple[str, int]] | None = None
    """What the next looks at a run find; once all are told, it is done."""

    def submit(self, corpus: str, folder: Path, options: SyncOptions) -> str:
        run = uuid.uuid4().hex
        self.runs[run] = (corpus, folder, options)
        return run

    def rebuild(self, embedder: str | None, corpus: str = "") -> str:
        return self._noted(("rebuild", embedder), corpus)

    def fed_by_uploads(self, corpus: str) -> bool:
        return False

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        self._noted(("declare", corpus, new))

    def upload(self, upload: Upload) -> str:
        return self._noted(("upload", upload), upload.corpus)

    def publish(self, corpus: str) -> str:
        return self._noted(("publish", corpus), corpus)

    def backup(self, target: Path) -> str:
        return self._noted(("backup", target))

    def export(self, corpus: str, folder: Path) -> str:
        return self._noted(("export", corpus, folder))

    def load(self, folder: Path, *, keep_audience: bool) -> str:
        return self._noted(("load", folder, keep_audience))

    def report(self, corpus: str) -> dict[str, object]:
        finding = {"kind": "stale", "documents": ["conges"], "references": [], "detail_fr": "f", "detail_en": "e"}
        counts = dict.fromkeys(("documents", "articles", "chunks", "searches"), 1)
        return {
            "corpus": corpus,
            "snapshot": 1,
            **counts,
            "counts": {"stale": 1},
            "findings": [finding],
            "seconds": 0.1,
        }

    def _noted(self, asked: tuple[object, ...], corpus: str = "") -> str:
        run = self.submit(corpus, Path(), SyncOptions())
        self.others[run] = asked
        return run

    def status(self, run: str) -> RunStatus:
        if run not in self.runs:
            raise NotFound("no such run", "exécution inconnue", code="unknown_run")
        corpus = self.runs[run][0]
        if self.stages is None:
            return RunStatus(run, corpus, RunState.QUEUED)
        if not self.stages:
            return RunStatus(run, corpus, RunState.DONE)
        stage, done = self.stages.pop(0)
        return RunStatus(run, corpus, RunState.RUNNING, stage=stage, done=done)

    def cancel(self, run: str) -> None:
        self.status(run)
        self.cancelled.append(run)


@dataclass
class Parts:
    """What ``rag.wiring`` would make."""

    settings: Settings
    home: Home
    database: Database
    catalog: Catalog
    store: DictStore
    embedder: HashEmbedder
    generator: Generator | None
    reranker: Reranker | None
    engine: Engine
    records: Records
    making: Making
    generator_error: ModelError | None = None

    @property
    def local(self) -> Principal:
        return Principal("local", self.settings.local_groups, self.settings.local_clearance)

    def publish(self, corpus: str, documents: Sequence[tuple[Document, Sequence[Chunk]]]) -> int:
        draft = self.catalog.begin(corpus)
        chunks = [one for _, parts in documents for one in parts]
        vectors = self.embedder.embed_passages([one.search_text for one in chunks])
        points = [Point(one, vectors[row], lexical.chunk_vector(one)) for row, one in enumerate(chunks)]
        self.store.stage(corpus, draft.number, points, [])
        rows = [DocumentRow(of, "digest", len(parts)) for of, parts in documents]
        self.catalog.publish(draft, added=rows, removed=[], stale=[], chunks=len(chunks))
        return draft.number


def feedback(vauban: Parts) -> list[Feedback]:
    """All that was given, oldest first."""
    return History(vauban.database, vauban.catalog, 1).feedback.all()


def parts(
    folder: Path, generator: Generator | None = None, reranker: Reranker | None = None, **settings: object
) -> Parts:
    """Three corpora: ``rh`` for everyone with a document for ``direction``, ``finances`` for ``agents``, ``secret``."""
    made = Settings(home=folder / "home", local_groups=frozenset({"agents"}), **settings)  # type: ignore[arg-type]  # as above
    home = Home.open(made.root)
    database = Database.open(home.catalog)
    catalog = Catalog(database)
    embedder = HashEmbedder()
    store = DictStore(embedder.fingerprint, embedder.dimension)
    engine = Engine(
        library=lambda: Library(tuple(catalog.corpora()), catalog.lineages()),
        retriever=Retriever(embedder, store, reranker=reranker),
        embedder=embedder,
        generator=generator,
        policy=made.policy,
        language=made.language,
        lineage=catalog.lineage,
    )
    records = Records.open(database, home.root)
    making = Making(
        "0.0.0",
        embedder.fingerprint,
        None if reranker is None else reranker.fingerprint,
        None if generator is None else generator.fingerprint,
    )
    vauban = Parts(made, home, database, catalog, store, embedder, generator, reranker, engine, records, making)
    catalog.declare(Corpus("rh", "Ressources humaines", groups=frozenset({"*"}), contact="drh@exemple.test"))
    catalog.declare(Corpus("finances", "Finances", groups=frozenset({"agents"}), contact="daf@exemple.test"))
    catalog.declare(Corpus("secret", "Secret", groups=frozenset({"direction"})))
    (folder / "conges.pdf").write_bytes(pdf())
    sha256 = home.keep(Source(folder / "conges.pdf"))
    assert sha256 == hashlib.sha256(pdf()).hexdigest()
    leave = document(
        "rh",
        "conges",
        "Règlement des congés",
        source="congés/règlement 2024.pdf",
        sha256=sha256,
        media_type="application/pdf",
        pages=2,
    )
    note = document("rh", "notes/~été.md", "Note d'été")
    hidden = document("rh", "primes", "Primes de direction", groups=frozenset({"direction"}))
    rules = [
        chunk(leave, "Article 4", LEAVE),
        chunk(leave, "Article 5", "Le report des congés est soumis à accord.", 1),
    ]
    vauban.publish(
        "rh",
        [
            (leave, rules),
            (note, [chunk(note, "", "Les horaires d'été commencent le 1er juillet.")]),
            (hidden, [chunk(hidden, "Article 1", "La durée de la prime secrète du congé annuel est de 90 jours.")]),
        ],
    )
    meals = document("finances", "frais", "Frais de mission")
    same = document("finances", "conges", "Congés des régisseurs")
    vauban.publish(
        "finances",
        [
            (meals, [chunk(meals, "Article 2", MEALS)]),
            (same, [chunk(same, "Article 1", "Un suppléant remplace le régisseur.")]),
        ],
    )
    plans = document("secret", "plans", "Plans")
    vauban.publish(
        "secret", [(plans, [chunk(plans, "Article 1", "Le congé annuel des agents secrets dure 60 jours.")])]
    )
    return vauban


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """A real server over ``app`` on a free port of the loopback; its URL."""
    with bind(Settings(host="127.0.0.1", port=0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=2)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield url
        finally:
            server.should_exit = True
            thread.join()
