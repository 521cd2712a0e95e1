"""A small organisation in which every thing that somebody may not know carries a mark, and everything that is asked.

Each document, corpus and version has marks of its own (``zq`` and six digits) in its title, text, reference, path,
file name, id, glossary and contact. What a person may know is worked out here by plain sets, apart from
``rag.scope``; whatever leaves the service for that person is searched for marks that are not theirs.
"""

from __future__ import annotations

import logging
import random
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI
from PIL import Image
from reportlab.pdfgen.canvas import Canvas
from starlette.testclient import TestClient

from ingest.source import Source
from rag import lexical
from rag.adapters.fake import DictStore, HashEmbedder, OverlapReranker
from rag.api import create_app
from rag.audit import Records
from rag.catalog import ArticleRow, Catalog, DocumentRow
from rag.database import Database
from rag.engine import Engine, Library
from rag.home import Home
from rag.identity import Identity
from rag.keys import Keys
from rag.recording import Making
from rag.retrieval import Retriever
from rag.seams import VectorStore
from rag.settings import Login, Settings
from rag.types import (
    EVERY,
    Access,
    Chunk,
    Corpus,
    Document,
    Message,
    Point,
    Principal,
    Rejected,
    Role,
    RunState,
    RunStatus,
    Sampling,
    SyncOptions,
    Synonyms,
    Told,
    Upload,
)
from tests.rag_server import TOKEN, ListInbox, Parts, Writer, serving

MARK = re.compile(rb"zq(\d{6})")
HOST = "http://127.0.0.1:8080"
GROUPS = ("a", "b")
PAINTED = 77
"""The red of every page; green tells the number of its document, blue the version."""
PUBLICATIONS = 2
"""Snapshots of each corpus, whatever changes: their numbers are no secret to those who see it."""

Audience = tuple[frozenset[str], int]


@dataclass(frozen=True)
class DocumentPlan:
    """A document to be: its place, who may read it, and whether it is a PDF or has a second version."""

    number: int
    corpus: int
    audience: Audience
    pdf: bool = False
    versions: int = 1


@dataclass(frozen=True)
class Plan:
    """A whole world to be; marks follow from the numbers, so that two worlds of one plan have the same."""

    corpora: tuple[Audience, ...]
    documents: tuple[DocumentPlan, ...]


def mark(kind: int, number: int, version: int = 0) -> str:
    """``kind`` 1 is a corpus, 2 a document, 3 what a person wrote for nobody else.

    Six digits that stand for it in every byte that leaves.
    """
    return f"zq{kind}{number:03}{version:02}"


def corpus_name(number: int) -> str:
    return f"corpus-{mark(1, number)}nom"


def document_id(number: int) -> str:
    return f"{mark(2, number)}ident"


def file_content(plan: DocumentPlan, version: int) -> bytes:
    if plan.pdf:
        return painted(plan.number, version) + f"% {mark(2, plan.number, version)}fichier\n".encode()
    return f"contenu {mark(2, plan.number, version)}fichier\n".encode()


def painted(number: int, version: int) -> bytes:
    """A PDF of two pages whose colour is the mark of a version of a document: a picture has no letters to search."""
    written = BytesIO()
    canvas = Canvas(written, pagesize=(200, 300), invariant=True)
    for page in range(2):
        canvas.setFillColorRGB(*(part / 255 for part in (PAINTED, 10 * number, 50 + 100 * version)))
        canvas.rect(0, 0, 200, 300, stroke=0, fill=1)
        canvas.setFillColorRGB(0, 0, 0)
        canvas.drawString(20, 200, f"Page {page + 1}")
        canvas.showPage()
    canvas.save()
    return written.getvalue()


def pictured(response: httpx.Response) -> bytes:
    """The mark of the document that a picture shows, and nothing of what is no picture."""
    if response.status_code != 200 or response.headers["content-type"] != "image/png":
        return b""
    with Image.open(BytesIO(response.content)) as picture:
        colour = picture.convert("RGB").getpixel((5, 5))
    assert isinstance(colour, tuple)
    assert colour[0] == PAINTED, f"no page of ours: {colour}"
    return mark(2, round(colour[1] / 10), round((colour[2] - 50) / 100)).encode()


def people(corpora: int) -> dict[str, Principal]:
    """Everyone who calls with a key; two groups, three clearances, every role, and keys that are limited."""
    a, b, both = frozenset({"a"}), frozenset({"b"}), frozenset(GROUPS)
    reader, maintainer = frozenset({Role.READER}), frozenset({Role.READER, Role.MAINTAINER})
    every = frozenset({EVERY})

    def key(
        name: str, groups: frozenset[str], clearance: int, roles: frozenset[Role] = reader, **more: Any
    ) -> Principal:
        return Principal(name, groups, clearance, roles, access=Access.KEY, **more)

    everyone = [
        key("anne", a, 0),
        key("bruno", b, 0),
        key("claire", a, 2),
        key("denis", both, 1),
        key("nul", frozenset(), 0),
        key("maud", a, 1, maintainer, maintains=every),
        key("marc", b, 2, maintainer, maintains=frozenset({corpus_name(0)})),
        key("aude", b, 1, reader | {Role.AUDITOR}),
        key("adam", frozenset(), 0, reader | {Role.ADMINISTRATOR}),
        key("limitee", both, 2, corpora=frozenset({corpus_name(0)})),
        key("assistee", both, 2, assistants=frozenset({f"vauban-{corpus_name(corpora - 1)}"})),
    ]
    return {one.name: one for one in everyone}


class Witness(Writer):
    """A model that notes for whom it was given which prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, bytes]] = []

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        told: Callable[[Told], None] = lambda told: None,
        owner: str = "",
    ) -> Iterator[str]:
        self.read.append((owner, "\n".join(message.content for message in prompt).encode()))
        yield from super().stream(prompt, sampling, cancelled=cancelled, told=told, owner=owner)


class WorldInbox(ListInbox):
    """An inbox whose runs and reports speak of every document of their corpus, as real ones do."""

    world: World

    def fed_by_uploads(self, corpus: str) -> bool:
        return corpus == corpus_name(0)

    def report(self, corpus: str) -> dict[str, object]:
        catalog = self.world.parts.catalog
        rows = catalog.documents(corpus, catalog.published(corpus))
        findings = [
            {
                "kind": "stale",
                "documents": [row.document.id],
                "references": [f"Article {row.document.id}"],
                "detail_fr": row.document.title,
                "detail_en": row.document.title,
            }
            for row in rows
        ]
        outlines = catalog.outlines(corpus, catalog.published(corpus), [row.document.id for row in rows])
        return {
            "corpus": corpus,
            "snapshot": 1,
            "documents": len(rows),
            "articles": sum(len(outline) for outline in outlines.values()),
            "chunks": sum(row.chunks for row in rows),
            "searches": sum(catalog.retrievals(corpus).values()),
            "counts": {"stale": len(rows)} if rows else {},
            "findings": findings,
            "seconds": 0.1,
        }

    def submit(self, corpus: str, folder: Path, options: SyncOptions) -> str:
        return self._done(corpus)

    def _noted(self, asked: tuple[object, ...], corpus: str = "") -> str:
        if isinstance(asked[1], Upload) and asked[1].file is not None:
            asked[1].file.unlink()
        return self._done(corpus)

    def _done(self, corpus: str) -> str:
        catalog = self.world.parts.catalog
        run = catalog.add_run(corpus, RunState.RUNNING)
        paths = [row.document.source for row in catalog.documents(corpus, catalog.published(corpus))] if corpus else []
        rejected = [Rejected(path, "unreadable", f"cannot read {path}") for path in paths]
        catalog.end_run(run, RunState.FAILED, rejected=rejected, error="unreadable", detail=" ".join(paths))
        self.world.ids.setdefault("run", []).append(run)
        return run

    def status(self, run: str) -> RunStatus:
        return self.world.parts.catalog.run(run)

    def cancel(self, run: str) -> None:
        self.status(run)

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        if not new:
            self.world.parts.catalog.declare(corpus)


@dataclass
class World:
    """A running service over a plan, the keys of its people, and what was seen of it."""

    plan: Plan
    parts: Parts
    writer: Witness
    app: FastAPI
    client: httpx.Client
    secrets: dict[str, str]
    people: dict[str, Principal]
    corpora: dict[str, Audience] = field(default_factory=dict)
    documents: dict[tuple[str, str], Audience] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    """What was made while asking: ids of answers, conversations and the like, whosever they are."""
    cases: int = 0
    revoked: set[str] = field(default_factory=set)

    # --- who may know what, by sets alone

    def sees(self, person: Principal, corpus: str) -> bool:
        groups, clearance = self.corpora[corpus]
        if person.corpora is not None and corpus not in person.corpora:
            return False
        if person.assistants is not None and not person.assistants & {"vauban", f"vauban-{corpus}"}:
            return False
        return bool(groups & (person.groups | {"*"})) and clearance <= person.clearance

    def reads(self, person: Principal, corpus: str, document: str) -> bool:
        groups, clearance = self.documents[corpus, document]
        theirs = bool(groups & (person.groups | {"*"})) and clearance <= person.clearance
        return theirs and self.sees(person, corpus)

    def known(self, person: Principal) -> set[str]:
        """The numbers in the marks of all that a person may know."""
        if person.name in self.revoked:
            return set()
        numbers = {name[9:15] for name in self.corpora if self.sees(person, name) or Role.ADMINISTRATOR in person.roles}
        numbers.add(self.own(person)[2:6])
        return numbers | {document[2:6] for corpus, document in self.documents if self.reads(person, corpus, document)}

    def own(self, person: Principal) -> str:
        """The mark of what only that person may know that they wrote."""
        return mark(3, list(self.people).index(person.name))

    def foreign(self, person: Principal, sent: bytes, came: bytes) -> set[str]:
        """Marks in what came that the person neither may know nor has written in this very request."""
        own = {found.decode() for found in MARK.findall(sent.lower())}
        theirs = self.known(person)
        found = {number.decode() for number in MARK.findall(came.lower())} - own
        return {number for number in found if number not in theirs and number[:4] not in theirs}

    # --- asking

    def ask(self, person: Principal, method: str, path: str, **more: Any) -> httpx.Response:
        """One request, and everything that came back searched for what the person may not know."""
        headers = {"Authorization": f"Bearer {self.secrets[person.name]}"} | more.pop("headers", {})
        request = self.client.build_request(method, path, headers=headers, **more)
        sent = f"{request.url} {dict(request.headers)}".encode() + request.read()
        response = self.client.send(request)
        self.cases += 1
        came = f"{response.status_code} {response.headers.multi_items()}".encode() + response.content
        # A name that was sent may come back in words; what is behind it is not thereby theirs to look at.
        leaked = self.foreign(person, sent, came) | self.foreign(person, b"", pictured(response))
        assert not leaked, f"{person.name} was told of {sorted(leaked)} by {method} {path}: {came[:3000]!r}"
        assert response.status_code < 500 or response.status_code == 501, f"{method} {path}: {came[:500]!r}"
        self.check_prompts()
        return response

    def check_prompts(self) -> None:
        """The model, too, was told of nothing that its asker may not know."""
        for owner, prompt in self.writer.read:
            person = self.people.get(owner.removeprefix("key:"))
            assert person is None or not self.foreign(person, b"", prompt), (
                f"the model was told for {owner}: {prompt!r}"
            )
        self.writer.read.clear()

    # --- changing

    def restrict(self, corpus: str, document: str, audience: Audience) -> None:
        """Give a document another audience, at once."""
        self.documents[corpus, document] = audience
        self.parts.store.restrict(corpus, document, *audience)
        self.parts.catalog.restrict(corpus, document, *audience)

    def declare(self, corpus: str, audience: Audience) -> None:
        """Give a corpus another audience, at once."""
        self.corpora[corpus] = audience
        was = self.parts.catalog.corpus(corpus)
        self.parts.catalog.declare(replace(was, groups=audience[0], clearance=audience[1]))

    def revoke(self, name: str) -> None:
        Keys(self.parts.database).revoke(name)
        self.revoked.add(name)


def chunks_of(document: Document, plan: DocumentPlan, version: int) -> list[Chunk]:
    """Two neighbouring articles whose numbers every document has too, and which name each other's documents."""
    sign = mark(2, plan.number, version)
    texts = (
        f"La durée du congé annuel est de {20 + plan.number + 40 * version} jours ouvrés pour les agents {sign}texte.",
        f"Le report du congé, prévu à l'article 4 et à l'article R. 12-{plan.number + 1}, est soumis à accord "
        f"{sign}suite.",
    )
    made = []
    for place, text in enumerate(texts):
        reference = f"Article {4 + place}"
        made.append(
            Chunk(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{document.corpus}/{document.id}/{version}/{place}")),
                corpus=document.corpus,
                document=document.id,
                title=document.title,
                reference=f"{reference} {sign}ref" if place else reference,
                path=(f"Titre {sign}plan",),
                text=text,
                ordinal=place,
                language="fr",
                start=200 * place,
                end=200 * place + len(text),
                page=1,
                page_end=1,
                groups=document.groups,
                clearance=document.clearance,
                own_references=(f"art:{4 + place}", f"art:R12-{plan.number}"),
                mentions=("art:4", f"art:R12-{plan.number + 1}"),
            )
        )
    return made


def _document(home: Home, folder: Path, plan: DocumentPlan, version: int) -> Document:
    sign = mark(2, plan.number, version)
    file = folder / f"{sign}.bin"
    file.write_bytes(file_content(plan, version))
    return Document(
        id=document_id(plan.number),
        corpus=corpus_name(plan.corpus),
        title=f"Règlement du congé {sign}titre",
        language="fr",
        source=f"dossier {sign}chemin/fichier {sign}nom.{'pdf' if plan.pdf else 'txt'}",
        sha256=home.keep(Source(file)),
        media_type="application/pdf" if plan.pdf else "text/plain",
        groups=plan.audience[0],
        clearance=plan.audience[1],
        pages=2 if plan.pdf else None,
    )


@contextmanager
def running(
    plan: Plan, folder: Path, store: VectorStore | None = None, *, live: bool = False, **settings: Any
) -> Iterator[World]:
    """A service of that plan, in this process; ``live`` is one that listens on a loopback port, and is called there."""
    made = Settings(home=folder / "home", login=frozenset({Login.KEYS}), **settings)
    home = Home.open(made.root)
    database = Database.open(home.catalog)
    catalog = Catalog(database)
    embedder, reranker, writer = HashEmbedder(), OverlapReranker(), Witness()
    kept = store or DictStore(embedder.fingerprint, embedder.dimension)
    engine = Engine(
        library=lambda: Library(tuple(catalog.corpora()), catalog.lineages()),
        retriever=Retriever(embedder, kept, reranker=reranker),
        embedder=embedder,
        generator=writer,
        policy=made.policy,
        language=made.language,
        lineage=catalog.lineage,
    )
    making = Making("0.0.0", embedder.fingerprint, reranker.fingerprint, writer.fingerprint)
    parts = Parts(
        made, home, database, catalog, kept, embedder, writer, reranker, engine,  # type: ignore[arg-type]  # any store
        Records.open(database, home.root), making,
    )  # fmt: skip
    for number, (groups, clearance) in enumerate(plan.corpora):
        sign = mark(1, number)
        terms = Synonyms(same=(("congé", f"{sign}glossaire"),), near=(("vacances", f"{sign}voisin"),))
        contact = f"{sign}contact@exemple.test"
        catalog.declare(
            Corpus(corpus_name(number), f"Titre {sign}intitule", groups=groups, clearance=clearance, contact=contact,
                   glossary=terms)
        )  # fmt: skip
        for version in range(PUBLICATIONS):
            _publish(parts, home, folder, [one for one in plan.documents if one.corpus == number], number, version)
    inbox = WorldInbox()
    secrets = {}
    known = people(len(plan.corpora))
    for person in known.values():
        secrets[person.name] = Keys(database).create(person, 1)[1]
    identity = Identity(made, parts.local, database, server_token=TOKEN)
    app = create_app(parts, inbox, token=TOKEN, identity=identity)
    with _calling(app, live=live) as client:
        world = World(plan, parts, writer, app, client, secrets, known)
        inbox.world = world
        world.corpora = {corpus_name(number): audience for number, audience in enumerate(plan.corpora)}
        world.documents = {(corpus_name(one.corpus), document_id(one.number)): one.audience for one in plan.documents}
        yield world
    database.close()


@contextmanager
def _calling(app: FastAPI, *, live: bool) -> Iterator[httpx.Client]:
    if live:
        with serving(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield client
    else:
        with TestClient(app, base_url=HOST) as client:
            yield cast(httpx.Client, client)


def _publish(parts: Parts, home: Home, folder: Path, plans: Sequence[DocumentPlan], corpus: int, version: int) -> None:
    """The version ``version`` of the documents that have one; it takes the place of the one before."""
    name = corpus_name(corpus)
    draft = parts.catalog.begin(name)
    lineage = parts.catalog.published(name)
    rows, points = [], []
    changed = [one for one in plans if version < one.versions]
    for one in changed:
        document = _document(home, folder, one, version)
        chunks = chunks_of(document, one, version)
        rows.append(DocumentRow(document, "digest", len(chunks), articles=outline_of(chunks)))
        vectors = parts.embedder.embed_passages([chunk.search_text for chunk in chunks])
        points += [Point(chunk, vectors[row], lexical.chunk_vector(chunk)) for row, chunk in enumerate(chunks)]
    gone = [] if not version else [document_id(one.number) for one in changed]
    old = [stored.point for stored in parts.store.contents(name, lineage, gone)] if gone else []
    parts.store.stage(name, draft.number, points, old)
    parts.catalog.publish(draft, added=rows, removed=gone, stale=[], chunks=len(points))
    parts.catalog.count_retrievals(name, {one.document.id: 3 for one in rows})


def outline_of(chunks: Sequence[Chunk]) -> tuple[ArticleRow, ...]:
    return tuple(ArticleRow(one.reference, one.path, one.id, one.validity) for one in chunks)


class Overheard(logging.Handler):
    """Everything that any logger says, as the operator would read it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__!r}")


@contextmanager
def overheard() -> Iterator[Overheard]:
    root, handler = logging.getLogger(), Overheard()
    own = logging.getLogger("vauban")
    before = own.level
    own.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        own.setLevel(before)


# --- every operation of the OpenAPI document, filled with what exists and what does not ---------------------


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    parameters: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def operations(app: FastAPI) -> list[Operation]:
    """Every operation that the application says it has."""
    described = app.openapi()
    return [
        Operation(method.upper(), path, tuple(one.get("parameters", ())))
        for path, methods in sorted(described["paths"].items())
        for method, one in sorted(methods.items())
    ]


QUESTIONS = (
    "Quelle est la durée du congé annuel ?",
    "Que dit l'article 4 ?",
    "Que dit l'article R. 12-3 ?",
    "Combien de jours de vacances ai-je ?",
    "Le report du congé est-il soumis à accord ?",
    "Quel est le prix du pain à Bamako ?",
    "congé",
)


class Chooser:
    """Fills operations with values at random; the same seed gives the same requests for the same plan."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.asker: Principal | None = None
        self.names = [corpus_name(number) for number in range(len(world.plan.corpora))]
        self.documents = [(corpus_name(one.corpus), document_id(one.number)) for one in world.plan.documents]

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def made(self, kind: str, unknown: str) -> str:
        """An id that somebody was given, or one that nobody was."""
        return str(self.random.choice([*self.world.ids.get(kind, [])[-12:], unknown]))

    def corpus(self) -> str:
        return str(self.random.choice([*self.names, "inconnu"]))

    def own(self) -> str:
        return "" if self.asker is None else self.world.own(self.asker)

    def parameters(self, operation: Operation) -> tuple[str, dict[str, Any]]:
        """The path and the query."""
        path, query = operation.path, {}
        corpus, document = self.random.choice([*self.documents, (self.corpus(), "inconnu")])
        values: dict[str, Any] = {
            "corpus": corpus,
            "document": document if path.startswith("/v1/corpora") else self.one(document, f"{corpus}/{document}"),
            "reference": self.one("4", "5", "99"),
            "page": self.one("1", "2", "9"),
            "model": self.one("vauban", f"vauban-{corpus}"),
            "conversation": self.made("conversation", f"conv_{'0' * 44}"),
            "note": self.made("feedback", "fb_0"),
            "run": self.made("run", "0" * 32),
            "record": self.one(str(self.random.randint(1, 60)), self.made("answer", f"chatcmpl-{'0' * 32}")),
            "snapshot": self.one(1, 2, 3),
            "limit": self.one(1, 2, 50),
            "offset": self.one(0, 1),
            "after": self.made("after", "bm9uc2Vuc2U"),
            "as_of": self.one("2021-06-01", "2025-06-01"),
            "width": self.one(200, 300),
            "owner": f"key:{self.random.choice(list(self.world.people))}",
            "status": self.one("answered", "extracts"),
            "kind": self.one("answer", "view"),
            "from": "2020-01-01",
            "to": "2100-01-01",
            "since": self.one(0, 5),
            "content": self.one("true", "false"),
            "head": "1:" + "0" * 64,
            "wait": "0",
            "resume": "true",
            "name": "nouveau.txt",
            "id": document,
            "title": "Un titre",
            "language": "fr",
            "norm_rank": "order",
            "valid_from": "2020-01-01",
            "valid_to": "2100-01-01",
            "groups": self.one("a", "b", "*"),
            "clearance": self.one(0, 1),
        }
        for parameter in operation.parameters:
            name, where = parameter["name"], parameter["in"]
            if where == "path":
                path = path.replace("{" + name + "}", str(values[name]).replace("/", "%2F"))
            elif where == "query" and (name == "wait" or self.random.random() < 0.4):
                query[name] = values[name]
        return path, query

    def body(self, operation: Operation) -> dict[str, Any]:
        """The body, as arguments of an HTTP client; an operation that is new and takes one must be added here."""
        question, corpus = self.random.choice(QUESTIONS), self.corpus()
        bodies: dict[str, Any] = {
            "POST /v1/chat/completions": lambda: self.chat(question, corpus),
            "POST /v1/search": lambda: {
                "question": question, "limit": self.one(1, 5, 50), **self.one({}, {"corpora": [corpus]})
            },
            "POST /v1/embeddings": lambda: {"model": self.one("vauban", f"vauban-{corpus}"), "input": question},
            "POST /v1/rerank": lambda: {"query": question, "documents": ["un congé", "du pain"]},
            "POST /v1/conversations": lambda: {"title": f"Une conversation {self.own()}"},
            "PATCH /v1/conversations/{conversation}": lambda: {"title": f"Un autre titre {self.own()}"},
            "POST /v1/feedback": lambda: {
                "answer": self.made("answer", f"chatcmpl-{'0' * 32}"), "thumb": "up", "comment": "merci"
            },
            "POST /v1/audit/erase": lambda: {"answer": self.made("answer", f"chatcmpl-{'0' * 32}")},
            "POST /v1/corpora": lambda: {"name": self.one(corpus, "tout-neuf"), "groups": ["a"]},
            "PATCH /v1/corpora/{corpus}": lambda: {"retention": 30},
            "POST /v1/corpora/{corpus}/sync": lambda: self.one({}, {"path": "/nulle-part"}),
            "POST /v1/corpora/{corpus}/export": lambda: {"path": "/nulle-part"},
            "POST /v1/import": lambda: {"path": "/nulle-part"},
            "POST /v1/backup": lambda: {"path": "/nulle-part"},
            "POST /v1/rebuild": dict,
            "POST /v1/corpora/{corpus}/rollback": lambda: {"to": self.one(1, 2, 9)},
        }  # fmt: skip
        if operation.name in bodies:
            return {"json": bodies[operation.name]()}
        if operation.path.endswith(("/documents", "/documents/{document}")) and operation.method in {"POST", "PUT"}:
            sent: dict[str, Any] = self.one({"content": b"un texte"}, {"files": {"file": ("un.txt", b"un texte")}})
            return sent
        return {}

    def chat(self, question: str, corpus: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": QUESTIONS[0]}, {"role": "assistant", "content": "Il faut voir."}]
        options: dict[str, Any] = {}
        if self.random.random() < 0.3:
            options["corpora"] = [corpus]
        if self.random.random() < 0.4:
            options["conversation"] = self.made("conversation", f"conv_{'0' * 44}")
        if self.random.random() < 0.3:
            options["search_results"] = True
        if self.random.random() < 0.3:
            options["as_of"] = self.one("2021-06-01", "2025-06-01")
        asked = [*(turns if self.random.random() < 0.3 else []), {"role": "user", "content": question}]
        return {
            "model": self.one("vauban", "vauban", f"vauban-{corpus}"),
            "messages": asked,
            "stream": self.random.random() < 0.5,
            "vauban": options,
        }

    def headers(self, operation: Operation) -> dict[str, str]:
        made = {"Accept-Language": self.one("fr", "en")}
        if self.random.random() < 0.3:
            made["If-None-Match"] = self.made("etag", '"0"')
        if operation.method in {"PUT", "PATCH", "DELETE"} and self.random.random() < 0.3:
            made["If-Match"] = self.made("etag", '"0"')
        if operation.method == "POST" and self.random.random() < 0.3:
            made["Idempotency-Key"] = self.one("cle-1", "cle-2", "cle-3")
        if operation.path == "/v1/runs/{run}" and self.random.random() < 0.5:
            made["Accept"] = "text/event-stream"
        if operation.path.endswith("/file") and self.random.random() < 0.3:
            made["Range"] = self.one("bytes=0-3", "bytes=-5", "bytes=0-0,2-3,5-6")
        return made

    def ask(self, person: Principal, operation: Operation) -> httpx.Response:
        """One request of an operation; what it made is remembered, for everybody to try."""
        self.asker = person
        path, query = self.parameters(operation)
        response = self.world.ask(
            person, operation.method, path, params=query, headers=self.headers(operation), **self.body(operation)
        )
        self.remember(operation, response)
        return response

    def remember(self, operation: Operation, response: httpx.Response) -> None:
        kept = self.world.ids
        if "etag" in response.headers:
            kept.setdefault("etag", []).append(response.headers["etag"])
        if response.status_code >= 300:
            return
        for answer in re.findall(r"chatcmpl-[0-9a-f]{32}", response.text)[:1]:
            kept.setdefault("answer", []).append(answer)
        if response.content and response.headers.get("content-type", "").startswith("application/json"):
            said = response.json()
            if isinstance(said, dict) and isinstance(said.get("next"), str):
                kept.setdefault("after", []).append(said["next"])
            kinds = {"POST /v1/conversations": "conversation", "POST /v1/feedback": "feedback"}
            if operation.name in kinds:
                kept.setdefault(kinds[operation.name], []).append(said["id"])


USUAL = {"POST /v1/chat/completions": 12, "POST /v1/search": 4, "POST /v1/conversations": 3}
RARE = {"DELETE /v1/conversations", "DELETE /v1/feedback", "POST /v1/audit/erase"}


def weighted(every: Sequence[Operation]) -> list[Operation]:
    """Operations as often as they are worth trying: answers leave the most behind, and deletions take it away."""
    return [one for one in every for _ in range(USUAL.get(one.name, 1 if one.name in RARE else 2))]
