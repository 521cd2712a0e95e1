"""The seams: what may be swapped, each a Protocol that states what an implementer promises.

The libraries behind them (``qdrant_edge``, ``qdrant_client``, ``llama_cpp``, ``sentence_transformers``) are
imported in one adapter each and nowhere else; their objects never cross these lines. Each seam has a fake in
``rag.adapters.fake`` and one contract test that fake and real both pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rag.queue import QueueState
from rag.types import (
    Candidates,
    Corpus,
    Hit,
    Marked,
    Matrix,
    Message,
    Point,
    Query,
    RunStatus,
    Sampling,
    Scope,
    Stored,
    SyncOptions,
    Told,
    Upload,
    Vector,
)


class Embedder(Protocol):
    """Turns texts into L2-normalised float32 vectors; the same text always gives the same vector.

    Safe to call from several threads. ``fingerprint`` names the weights and everything else that changes the
    vectors; two embedders with equal fingerprints are interchangeable.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def embed_query(self, text: str) -> Vector:
        """The vector of a question, shape ``(dimension,)``."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        """The vectors of passages, shape ``(len(texts), dimension)``, in the order given; empty for none."""
        ...


class VectorStore(Protocol):
    """Chunks with their vectors, versioned by snapshot. Publishing is the catalog's; the store only stages.

    At a lineage (a snapshot and its ancestors) a stored chunk is visible when its ``added`` is in the lineage
    and no member of its ``removed`` is. Every method may be repeated after a crash with the same arguments and
    has the same effect as once. ``corpus`` is always a name that scopes use as a key of ``lineages``.
    """

    def stage(self, corpus: str, snapshot: int, points: Sequence[Point], removals: Collection[str]) -> None:
        """Add ``points`` with ``added = snapshot`` and mark the stored points ``removals`` as removed at it.

        ``removals`` are the :attr:`Stored.point` ids. A point's id is a UUIDv5 of its chunk's id and ``added``.
        Returns when all of it survives a kill of this process.

        Raises:
            DiskFull: nothing of what was visible has changed.
        """
        ...

    def search(self, query: Query, scope: Scope, limit: int) -> Candidates:
        """At most ``limit`` visible chunks per list, each best first, ties broken by chunk id.

        Only what ``scope`` may see takes part, also in the statistics of BM25: a chunk's corpus is a key of
        ``scope.lineages`` and visible there; its groups hold ``"*"`` or one of the scope's; its clearance is not
        above; its validity covers ``as_of``. The lists are exact, not approximate, below 20,000 visible chunks.
        """
        ...

    def chunks(
        self,
        scope: Scope,
        *,
        documents: Collection[tuple[str, str]] | None = None,
        ids: Collection[str] | None = None,
        references: Collection[str] | None = None,
    ) -> list[Stored]:
        """The chunks that ``scope`` sees and that match all the given conditions, ordered by corpus, document, ordinal.

        ``documents`` are (corpus, document id) pairs, ``ids`` chunk ids, ``references`` own-reference keys.
        """
        ...

    def contents(self, corpus: str, lineage: Sequence[int], documents: Collection[str] | None = None) -> list[Stored]:
        """What is visible at ``lineage``, whatever its audience and validity: for ingestion, never for readers.

        ``documents`` are the ids of those that are wanted, ``None`` all of them; in reading order.
        """
        ...

    def vectors(self, corpus: str, chunks: Collection[str]) -> dict[str, Vector]:
        """Vectors already computed for chunk ids of ``corpus``, staged or abandoned ones included."""
        ...

    def points(self, corpus: str, documents: Collection[str] | None = None) -> Iterator[tuple[Stored, Vector]]:
        """Every point stored of ``corpus`` with its vector, removed and staged ones too, in no promised order.

        Read a page at a time while the iterator is, so that memory stays flat; ``documents`` as in :meth:`contents`.
        """
        ...

    def restore(self, corpus: str, points: Sequence[Marked]) -> None:
        """Put points with the marks ``added`` and ``removed`` that they had in another store of the same corpus.

        What stands under the same ids is replaced. Returns when all of it survives a kill of this process.

        Raises:
            DiskFull: some may be there, and some not.
        """
        ...

    def restrict(self, corpus: str, document: str, groups: Collection[str], clearance: int) -> None:
        """Set the audience of a document on every version it has, at once: rollback never widens access."""
        ...

    def discard(self, corpus: str, snapshot: int) -> None:
        """Undo a staged snapshot that was never published: its points go, its removal marks too."""
        ...

    def sweep(self, corpus: str, kept: Collection[Sequence[int]]) -> int:
        """Delete points that none of the ``kept`` lineages sees; the number deleted."""
        ...

    def close(self) -> None:
        """Flush and let go of the store; other methods must not be called afterwards."""
        ...


class Reranker(Protocol):
    """Orders hits by how well each one answers the question.

    Gives back exactly the hits it was given, best first, with its own scores in ``[0, 1]``.
    """

    @property
    def fingerprint(self) -> str: ...

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]: ...


class Generator(Protocol):
    """Writes text from a prompt. Turns are fair between people (:class:`rag.queue.Line`); safe from many threads.

    ``context`` is the number of tokens that prompt and answer share. The implementer never cuts a prompt: one
    that does not fit is a :class:`~rag.errors.BadRequest`, because fitting is ``rag.context``'s job.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def context(self) -> int: ...

    def count_tokens(self, text: str) -> int:
        """How many tokens of this model ``text`` is, without the chat template."""
        ...

    def count_prompt(self, prompt: Sequence[Message]) -> int:
        """How many tokens the whole prompt is, chat template included."""
        ...

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        told: Callable[[Told], None] = lambda told: None,
        owner: str = "",
    ) -> Iterator[str]:
        """Yield pieces of text as they are written; each piece is valid Unicode.

        ``cancelled`` is asked at least once per token and per micro-batch of the prompt; when it says true, or
        the iterator is closed, the model really stops and the next caller's turn comes. ``told`` hears the
        position in the queue each time it changes, and once how much of the prompt was read before. ``owner`` is
        whose prompt it is (:attr:`rag.types.Principal.owner`): turns are fair between owners, and nothing that one
        owner's prompt left in a cache is reused for another's but the system message.

        Raises:
            Overloaded: the queue is full, or the owner's share of it.
            Cancelled: ``cancelled`` said so.
            GenerationError: the model failed.
        """
        ...

    @property
    def queue(self) -> QueueState:
        """Who waits and who is served, in numbers; cheap, at any time."""
        ...

    def forget(self, owner: str) -> None:
        """Drop what caches keep of the prompts of ``owner``, at once, or when the turn under way ends."""
        ...

    def close(self) -> None: ...


class Inbox(Protocol):
    """Takes in folders while the service runs, one at a time, first come first served; safe from many threads.

    Everything else that writes to the store waits in the same queue: whoever owns the store has one writer.
    """

    def submit(self, corpus: str, folder: Path, options: SyncOptions) -> str:
        """Queue a sync of ``folder``; the id of its run.

        Raises:
            BadRequest: the folder does not stand below one of the sources that the server accepts.
        """
        ...

    def rebuild(self, embedder: str | None, corpus: str = "") -> str:
        """Queue embedding everything anew, with another model when one is named; the id of its run.

        ``corpus`` is whose maintainer asked for it, and may follow it: all corpora share one index.
        """
        ...

    def fed_by_uploads(self, corpus: str) -> bool:
        """Whether the documents of a corpus are sent to this server one by one, and not synced from a folder."""
        ...

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        """Make a ``new`` corpus that uploads feed, or change what is said of one; its audience acts at once.

        Raises:
            BadRequest: it cannot be called so.
            Conflict: a new one exists already (``corpus_exists``); one that is not new is synced from a folder
                (``fed_from_folder``).
        """
        ...

    def upload(self, upload: Upload) -> str:
        """Queue one change to a corpus that uploads feed; the id of its run, which publishes it whole or nothing.

        A run that fails because of the file has one row in ``rejected``, and its reason as ``error``.

        Raises:
            BadRequest, DocumentError: what is said of the document cannot be.
            Conflict: ``fed_from_folder``, ``document_exists``, ``name_taken``, ``held_after_rollback``.
            NotFound: there is no such document to replace or remove.
            Overloaded: too many changes wait already.
        """
        ...

    def publish(self, corpus: str) -> str:
        """Queue publishing the uploads of a corpus as they stand: what a rollback took back comes back.

        Raises:
            Conflict: it is synced from a folder (``fed_from_folder``).
        """
        ...

    def backup(self, target: Path) -> str:
        """Queue writing all state into ``target``, which does not exist yet; the id of its run.

        Raises:
            BadRequest: there is something at ``target`` already.
            OperatorError: state is kept on servers that this cannot speak for.
        """
        ...

    def export(self, corpus: str, folder: Path) -> str:
        """Queue writing a corpus into ``folder``; the id of its run.

        Raises:
            BadRequest: see :meth:`submit`.
            NotFound: there is no such corpus.
        """
        ...

    def load(self, folder: Path, *, keep_audience: bool) -> str:
        """Queue taking in what :meth:`export` wrote; the id of its run.

        Raises:
            BadRequest: see :meth:`submit`.
        """
        ...

    def report(self, corpus: str) -> Mapping[str, object]:
        """What is to be looked at in a corpus, as JSON values; made while the caller waits.

        Raises:
            NotFound: there is no such corpus.
        """
        ...

    def status(self, run: str) -> RunStatus:
        """How a run stands; runs of earlier starts of the service are known too.

        Raises:
            NotFound: there is no such run.
        """
        ...

    def cancel(self, run: str) -> None:
        """Ask a run to stop; what was published stays. A run that is over is left as it is.

        Raises:
            NotFound: there is no such run.
        """
        ...
