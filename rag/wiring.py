"""From ``Settings`` to running parts: the one place that decides which adapter is used.

Opening is cheap: the embedder and the reranker are checked at once and loaded when first needed, so that a
command that embeds nothing never waits for them; :meth:`Vauban.warm` loads all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from rag import asking, glossary, indexes, installed, lexical, models, spelling
from rag.adapters import encoders, fake
from rag.audit import Records
from rag.catalog import Catalog
from rag.database import Database
from rag.engine import Engine, Library, unseen
from rag.errors import ModelError, StoreError
from rag.home import Home
from rag.models import Kind
from rag.recording import Making, recover
from rag.retrieval import Retriever
from rag.retrievals import Retrievals
from rag.seams import Embedder, Generator, Reranker, VectorStore
from rag.settings import Settings
from rag.types import Hit, Matrix, Policy, Principal, Scope, Vector
from rag.warmth import Step, Warmth

if TYPE_CHECKING:
    from rag.adapters.qdrant_server import ServerStore

FAKE, NONE = "fake", "none"
PROBE = "Combien de jours de congé par an ?"
"""What is embedded once at start, so that the first question finds everything loaded."""
PATIENCE: Final = 30.0
"""Seconds that a command which asks once waits for a model server."""
AGAIN: Final = 2.0
"""Seconds between two looks for a model server by a program that goes on without: a large model loads for minutes."""

log = logging.getLogger("vauban")


class LaterEmbedder:
    """An embedder that is loaded when it is first asked for a vector; its fingerprint is known before."""

    def __init__(self, fingerprint: str, dimension: int, load: Callable[[], Embedder]) -> None:
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._load = load
        self._loading = threading.Lock()
        self._loaded: Embedder | None = None

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def loaded(self) -> Embedder:
        """The real embedder, loaded now if it was not.

        Raises:
            ModelError: it cannot be loaded, or is not what the manifest says.
        """
        with self._loading:
            if self._loaded is None:
                embedder = self._load()
                if (embedder.fingerprint, embedder.dimension) != (self._fingerprint, self._dimension):
                    raise ModelError(
                        f"the embedding model gives {embedder.dimension} dimensions as {embedder.fingerprint}, the "
                        f"manifest says {self._dimension} as {self._fingerprint}; correct the manifest",
                        f"le modèle de plongement donne {embedder.dimension} dimensions ({embedder.fingerprint}), le "
                        f"manifeste en annonce {self._dimension} ({self._fingerprint}) ; corrigez le manifeste",
                    )
                self._loaded = embedder
            return self._loaded

    def embed_query(self, text: str) -> Vector:
        return self.loaded.embed_query(text)

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        return self.loaded.embed_passages(texts)


class LaterReranker:
    """A reranker that is loaded when it is first used."""

    def __init__(self, fingerprint: str, load: Callable[[], Reranker]) -> None:
        self._fingerprint = fingerprint
        self._load = load
        self._loading = threading.Lock()
        self._loaded: Reranker | None = None

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
        return self._loaded.rerank(question, hits)


@dataclass
class Vauban:
    """The running parts of one Vauban. Close it when done; leaving its ``with`` block does."""

    settings: Settings
    home: Home
    database: Database
    catalog: Catalog
    store: VectorStore
    embedder: Embedder
    reranker: Reranker | None
    generator: Generator | None
    retriever: Retriever
    engine: Engine
    records: Records
    making: Making
    generator_error: ModelError | None = None
    retrievals: Retrievals | None = None
    warmth: Warmth = field(default_factory=Warmth)
    _undo: ExitStack = field(default_factory=ExitStack, repr=False)
    _changing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closing: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def local(self) -> Principal:
        """The person who uses this machine without login."""
        return Principal("local", frozenset(self.settings.local_groups), self.settings.local_clearance)

    def warm(self) -> None:
        """Load what would otherwise be loaded at the first question; the model goes on reading in the background.

        Model servers that are not there yet are waited for in the background too, for as long as it takes.

        Raises:
            ModelError: the embedder cannot be loaded: without it nothing can be searched.
        """
        with self.warmth.doing(Step.SEARCH):
            self.embedder.embed_query(PROBE)
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        with self.warmth.doing(Step.CACHES):
            spelling.prepare(*lexical.LANGUAGES)
            for language in lexical.LANGUAGES:
                asking.asked(PROBE, language)
        with self.warmth.doing(Step.MODEL):
            self.engine.warm()
        if self.settings.llama_url and self.generator is None:
            self._await_generator()

    def _await_generator(self) -> None:
        """Write with the model servers from when one of them can be used, however long after the start that is."""
        while not self._closing.wait(AGAIN):
            generator, failure = _open_generator(self.settings, patience=0)
            if generator is not None:
                self._write_with(generator)
                return
            if str(failure) != str(self.generator_error):
                log.warning("no writing model", extra={"reason": str(failure)})
            self.generator_error = failure

    def _write_with(self, generator: Generator) -> None:
        with self._changing:
            if self._closing.is_set():
                generator.close()
                return
            self._undo.callback(generator.close)
            self._replace(self.settings, self.embedder, self.store, generator)
            self.generator_error = None
        log.info("writing model joined")
        self.engine.warm()

    def swap(self, settings: Settings, embedder: Embedder, store: VectorStore) -> None:
        """Answer with another embedder and the store that it filled, from the next request on.

        Requests under way go on with the engine, and so with the parts, that they began with. Nothing here keeps
        these any longer: the store before is let go of with the last of them, unless its owner closes it.
        """
        with self._changing:
            self._replace(settings, embedder, store, self.generator)

    def _replace(self, settings: Settings, embedder: Embedder, store: VectorStore, generator: Generator | None) -> None:
        """Make the engine anew of other parts; under the lock."""
        retriever, engine = _engine(settings, self.catalog, embedder, store, self.reranker, generator, self.retrievals)
        self.settings, self.store, self.embedder, self.generator = settings, store, embedder, generator
        self.retriever, self.engine = retriever, engine
        self.making = _making(settings, embedder, self.reranker, generator)

    def engine_with(self, generator: Generator | None, policy: Policy) -> Engine:
        """Another engine over the same parts, with another model and policy; for measurements."""
        settings = self.settings.model_copy(update={"policy": policy})
        _, engine = _engine(settings, self.catalog, self.embedder, self.store, self.reranker, generator, None)
        return engine

    def close(self) -> None:
        """Let go of everything, in the reverse order of opening."""
        with self._changing:
            self._closing.set()
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_vauban(
    settings: Settings, *, generate: bool = True, count: bool = False, patience: float = PATIENCE
) -> Vauban:
    """Open every part that ``settings`` name; ``generate=False`` leaves the writing model out.

    Model servers are waited for ``patience`` seconds, and after :meth:`Vauban.warm` for as long as it takes.

    ``count`` notes in the catalog which documents searches find; measurements leave no such trace.

    A writing model that cannot be loaded is no reason not to start: passages and extracts still are an answer,
    and ``generator_error`` says why there is none. Everything else that is wrong stops the start.

    Raises:
        ModelError: the embedder or the reranker is missing or corrupt.
        StoreBusy: another process owns the home.
        FingerprintMismatch: the store was filled by another embedder.
        StoreError: the home, the catalog or the store cannot be used.
    """
    with ExitStack() as undo:
        home = Home.open(settings.root)
        embedder = open_embedder(settings)
        reranker = open_reranker(settings)
        database = Database.open(settings.database_url or home.catalog)
        undo.callback(database.close)
        catalog = Catalog(database)
        undo.enter_context(home.own())
        records = Records.open(database, home.root, settings.audit_key)
        undo.callback(records.close)
        recover(records)
        store = _open_store(settings, home, catalog, embedder)
        held = ExitStack()  # of the store, which may be another one in the end
        undo.callback(held.close)
        held.callback(store.close)
        generator, failure = (None, None)
        if generate:
            generator, failure = _open_generator(settings, patience=patience)
        if generator is not None:
            undo.callback(generator.close)
        retrievals = Retrievals(catalog.count_retrievals) if count else None
        if retrievals is not None:
            undo.callback(retrievals.close)
        retriever, engine = _engine(settings, catalog, embedder, store, reranker, generator, retrievals)
        vauban = Vauban(
            settings,
            home,
            database,
            catalog,
            store,
            embedder,
            reranker,
            generator,
            retriever,
            engine,
            records,
            _making(settings, embedder, reranker, generator),
            failure,
            retrievals,
        )
        held.pop_all()
        held.callback(lambda: vauban.store.close())
        vauban._undo = undo.pop_all()
        return vauban


def _engine(
    settings: Settings,
    catalog: Catalog,
    embedder: Embedder,
    store: VectorStore,
    reranker: Reranker | None,
    generator: Generator | None,
    retrievals: Retrievals | None,
) -> tuple[Retriever, Engine]:
    def words(scope: Scope) -> glossary.Glossary:
        """The glossary of those corpora that are searched, so that nobody learns the words of a hidden one."""
        return glossary.joined(tuple(corpus.glossary for corpus in catalog.corpora() if corpus.name in scope.lineages))

    retriever = Retriever(embedder, store, reranker=reranker, dense_weight=dense_weight(settings), glossary=words)
    engine = Engine(
        library=lambda: Library(tuple(catalog.corpora()), catalog.lineages()),
        retriever=retriever,
        embedder=embedder,
        generator=generator,
        policy=settings.policy,
        quotes=settings.quotes,
        capable=capable(settings),
        language=settings.language,
        found=unseen if retrievals is None else retrievals.seen,
        lineage=catalog.lineage,
    )
    return retriever, engine


def _making(settings: Settings, embedder: Embedder, reranker: Reranker | None, generator: Generator | None) -> Making:
    """What the records say that answers are made with."""
    return Making(
        program=installed.version(),
        embedder=embedder.fingerprint,
        reranker=None if reranker is None else reranker.fingerprint,
        generator=None if generator is None else generator.fingerprint,
        settings={
            "policy": settings.policy.value,
            "quotes": settings.quotes.value,
            "language": settings.language,
            "capable": capable(settings),
            "dense_weight": dense_weight(settings),
            "context": None if generator is None else generator.context,
            "threads": settings.threads,
            "gpu_layers": settings.gpu_layers,
            "device": settings.device,
            "answer_seconds": settings.answer_seconds,
        },
    )


def open_embedder(settings: Settings) -> Embedder:
    """The embedder that ``settings`` name, its files checked, not yet loaded."""
    if settings.embedder == FAKE:
        return fake.HashEmbedder()
    found = models.install(settings.embedder, Kind.EMBEDDER, models_dir=settings.models_dir, home=settings.root)
    entry = found.entry

    def load() -> Embedder:
        return encoders.SentenceTransformerEmbedder.open(
            found.path,
            fingerprint=found.fingerprint,
            device=settings.device,
            query_prefix=entry.query_prefix,
            passage_prefix=entry.passage_prefix,
            threads=settings.threads,
        )

    fingerprint = encoders.with_prefixes(found.fingerprint, entry.query_prefix, entry.passage_prefix)
    return LaterEmbedder(fingerprint, entry.dimension, load)


def dense_weight(settings: Settings) -> float | None:
    """The share of the dense ranking that the manifest gives this embedder; ``None`` is the measured default."""
    if settings.embedder == FAKE:
        return None
    return models.Manifest.load(settings.models_dir).entry(settings.embedder, Kind.EMBEDDER).dense_weight


def capable(settings: Settings) -> bool:
    """Whether the writing model may use words of its own, as the manifest says; a server's model is taken to be."""
    if settings.llama_url:
        return True
    if settings.generator in {FAKE, NONE}:
        return False
    return models.Manifest.load(settings.models_dir).entry(settings.generator, Kind.GENERATOR).capable


def open_reranker(settings: Settings) -> Reranker | None:
    """The cross-encoder that ``settings`` name, its files checked, not yet loaded."""
    if settings.reranker == NONE:
        return None
    if settings.reranker == FAKE:
        return fake.OverlapReranker()
    found = models.install(settings.reranker, Kind.RERANKER, models_dir=settings.models_dir, home=settings.root)
    return LaterReranker(
        found.fingerprint,
        lambda: encoders.CrossEncoderReranker.open(
            found.path, fingerprint=found.fingerprint, device=settings.device, threads=settings.threads
        ),
    )


def _open_store(settings: Settings, home: Home, catalog: Catalog, embedder: Embedder) -> VectorStore:
    """The store; this process owns the home."""
    if settings.qdrant_url:
        return open_server_store(settings, embedder)
    indexes.settle(home.root, embedder.fingerprint)
    _check_index(home, catalog)
    return open_index(home.index, embedder.fingerprint, embedder.dimension)


def open_server_store(settings: Settings, embedder: Embedder) -> ServerStore:
    """The store on the Qdrant server that ``settings`` name, which several processes may open; the caller closes it.

    Raises:
        FingerprintMismatch: it was filled by another embedder.
        StoreError: the server does not answer, or refuses the key.
    """
    from rag.adapters.qdrant_server import ServerStore

    return ServerStore.open(
        settings.qdrant_url,
        settings.qdrant_api_key,
        embedder.fingerprint,
        embedder.dimension,
        shards=settings.qdrant_shards,
        replicas=settings.qdrant_replicas,
        write_consistency=settings.qdrant_write_consistency,
    )


def open_index(folder: Path, fingerprint: str, dimension: int) -> VectorStore:
    """The index in ``folder`` of a home that this process owns, made when there is none; the caller closes it.

    Raises:
        FingerprintMismatch, StoreError, DiskFull: see :meth:`rag.adapters.qdrant_edge.EdgeStore.open`.
    """
    from rag.adapters.qdrant_edge import EdgeStore

    return EdgeStore.open(folder, fingerprint, dimension, owned=True)


def open_filled_index(folder: Path) -> VectorStore | None:
    """The index in ``folder``, whichever embedder filled it; ``None`` where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    from rag.adapters.qdrant_edge import filled_by

    said = filled_by(folder)
    return None if said is None else open_index(folder, *said)


def _check_index(home: Home, catalog: Catalog) -> None:
    """Refuse a home whose index was lost: an empty one would answer every question with "I do not know".

    Raises:
        StoreError: the catalog has published corpora, and there is no index.
    """
    published = sorted(name for name, lineage in catalog.lineages().items() if lineage)
    if published and not home.index.exists():
        raise StoreError(
            f"the index {home.index} is missing while {', '.join(published)} are published; make it again from the "
            "kept files with `vauban ingest rebuild`, or restore the home folder from a backup",
            f"l'index {home.index} manque alors que {', '.join(published)} sont publiés ; refaites-le depuis les "
            "fichiers conservés avec « vauban ingest rebuild », ou restaurez le dossier depuis une sauvegarde",
            code="index_missing",
        )


def _open_generator(settings: Settings, *, patience: float) -> tuple[Generator | None, ModelError | None]:
    """The writing model, or why there is none; model servers are waited for ``patience`` seconds."""
    if settings.generator == FAKE:
        return fake.QuotingGenerator(queue=settings.queue, per_owner=settings.queue_per_user), None
    try:
        if settings.llama_url:
            from rag.adapters.llama_pool import LlamaPool

            pool = LlamaPool.open(
                settings.llama_url,
                queue=settings.queue,
                per_owner=settings.queue_per_user,
                api_key=settings.llama_api_key,
                patience=patience,
            )
            return pool, None
        if settings.generator == NONE:
            return None, None
        from rag.adapters.llama import LlamaGenerator

        found = models.install(settings.generator, Kind.GENERATOR, models_dir=settings.models_dir, home=settings.root)
        generator = LlamaGenerator.open(
            found.path,
            fingerprint=found.fingerprint,
            context=settings.context or found.entry.context,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            queue=settings.queue,
            per_owner=settings.queue_per_user,
            cache=settings.cache_megabytes * 2**20,
        )
    except ModelError as error:
        return None, error
    return generator, None
