"""Embedding and reranking with ``sentence-transformers``, from a folder on disk and nowhere else.

Only safetensors weights are read: nothing is unpickled. No code that a model folder carries is run. The process
should have been started offline (``HF_HUB_OFFLINE=1``); even without it, loading asks no network, because every
file comes from the folder.

The libraries are imported when a model is opened and not before, since that import alone takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from rag.errors import ModelError
from rag.types import Hit, Matrix, Vector

CPU_BATCH: Final = 16
"""Texts per forward pass on a processor. Measured on 2 cores with 900-character texts: 8 to 16 are fastest, 64 is
a sixth slower (the activations leave the cache), and small batches of like length waste little on padding."""
QUERY_WORKERS: Final = 2
"""Questions encoded at the same time; each takes about 7 ms, and they never wait behind passages."""
GPU_BATCH: Final = 128
"""Texts per forward pass on a GPU, which needs more work at a time to be busy; well under 2 GB for base models."""


class SentenceTransformerEmbedder:
    """An :class:`~rag.seams.Embedder` over a sentence-transformers folder; see :meth:`open`.

    Texts longer than the model's own limit (``max_tokens``) count with their beginning only.

    On a processor the work is spread by batch, over workers that use one core each, and not by splitting each
    operation over the cores: those would wait for one another at every layer, and when another process or the
    writing model holds a core, all of them wait. Measured on 2 cores that others use too: passages 27 against 7 to
    12 texts/s, a question 12 against 200 to 460 ms; on idle cores the two are alike.
    """

    def __init__(
        self,
        model: Any,
        *,
        fingerprint: str,
        query_prefix: str = "",
        passage_prefix: str = "",
        device: str = "cpu",
        workers: int = 1,
    ) -> None:
        self._model = model
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._device = device
        self._batch = CPU_BATCH if device == "cpu" else GPU_BATCH
        self._dimension = int(model.get_embedding_dimension())
        self._fingerprint = with_prefixes(fingerprint, query_prefix, passage_prefix)
        self._tokenizing = threading.Lock()
        self._passages = ThreadPoolExecutor(workers, "passages", initializer=_use_one_core)
        self._queries = ThreadPoolExecutor(QUERY_WORKERS, "queries", initializer=_use_one_core)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        fingerprint: str,
        device: str = "auto",
        query_prefix: str = "",
        passage_prefix: str = "",
        threads: int = 0,
    ) -> SentenceTransformerEmbedder:
        """Load the model in ``folder``; ``fingerprint`` names its weights, ``threads`` 0 takes every usable core.

        The prefixes are what the model expects before a question and before a passage; they become part of the
        fingerprint. ``device`` is ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

        Raises:
            ModelError: the folder is missing, incomplete, corrupt, or not an embedding model in safetensors.
        """
        _require(folder, "modules.json")
        _refuse_pickles(folder)
        torch, sentence_transformers = _libraries()
        chosen = _device(torch, device)
        try:
            model = sentence_transformers.SentenceTransformer(
                str(folder),
                device=chosen,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except _loading_errors() as error:
            raise _unreadable(folder, error) from error
        model.eval()
        return cls(
            model,
            fingerprint=fingerprint,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            device=chosen,
            workers=1 if chosen == "cuda" else threads or len(os.sched_getaffinity(0)),
        )

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a text the model reads; ``None`` where it states no limit."""
        limit = self._model.max_seq_length
        return None if limit is None else int(limit)

    def embed_query(self, text: str) -> Vector:
        vector: Vector = self._queries.submit(self._forward, [self._query_prefix + text]).result()[0]
        return vector

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), self._dimension), dtype=np.float32)
        # Longest first: texts of like length share a batch (little padding), and a batch that is too large for
        # the memory fails at once and not after minutes.
        order = sorted(range(len(texts)), key=lambda position: len(texts[position]), reverse=True)
        batches = [order[start : start + self._batch] for start in range(0, len(order), self._batch)]
        prefixed = [[self._passage_prefix + texts[position] for position in batch] for batch in batches]
        for batch, vectors in zip(batches, self._passages.map(self._forward, prefixed), strict=True):
            matrix[batch] = vectors
        return matrix

    def _forward(self, texts: list[str]) -> Matrix:
        """One pass through the model. Tokenizers change their own state, so they take turns; the network does not."""
        import torch

        with self._tokenizing:
            features = self._model.preprocess(texts)
        with torch.inference_mode():
            features = {name: _moved(value, self._device) for name, value in features.items()}
            output = self._model(features)["sentence_embedding"]
            output = torch.nn.functional.normalize(output.float(), p=2, dim=1)
        matrix: Matrix = output.cpu().numpy()
        return matrix


class CrossEncoderReranker:
    """A :class:`~rag.seams.Reranker` over a cross-encoder folder; see :meth:`open`."""

    def __init__(self, model: Any, *, fingerprint: str, device: str = "cpu") -> None:
        self._model = model
        self._fingerprint = fingerprint
        self._batch = CPU_BATCH if device == "cpu" else GPU_BATCH
        self._predicting = threading.Lock()

    @classmethod
    def open(cls, folder: Path, *, fingerprint: str, device: str = "auto", threads: int = 0) -> CrossEncoderReranker:
        """Load the cross-encoder in ``folder``; arguments as for :meth:`SentenceTransformerEmbedder.open`.

        Raises:
            ModelError: the folder is missing, incomplete, corrupt, or its model does not give one score per pair.
        """
        _require(folder, "config.json")
        _refuse_pickles(folder)
        torch, sentence_transformers = _libraries()
        if threads:
            torch.set_num_threads(threads)
        chosen = _device(torch, device)
        try:
            model = sentence_transformers.CrossEncoder(
                str(folder),
                device=chosen,
                local_files_only=True,
                trust_remote_code=False,
                activation_fn=torch.nn.Sigmoid(),
                model_kwargs={"use_safetensors": True},
            )
        except _loading_errors() as error:
            raise _unreadable(folder, error) from error
        if model.num_labels != 1:
            raise ModelError(
                f"{folder} is no reranker: it gives {model.num_labels} scores per pair and not one",
                f"{folder} n’est pas un modèle de reclassement : {model.num_labels} scores par paire au lieu d’un",
            )
        model.eval()
        return cls(model, fingerprint=fingerprint, device=chosen)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        if not hits:
            return []
        pairs = [(question, hit.chunk.search_text) for hit in hits]
        with self._predicting:
            scores = self._model.predict(pairs, batch_size=self._batch, show_progress_bar=False)
        rescored = [_rescored(hit, float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda hit: (-hit.score, hit.chunk.id))


def _rescored(hit: Hit, score: float) -> Hit:
    return Hit(hit.chunk, score, hit.dense, hit.sparse, hit.exact)


def _moved(value: Any, device: str) -> Any:
    return value.to(device) if hasattr(value, "to") else value


def with_prefixes(fingerprint: str, *prefixes: str) -> str:
    """The fingerprint of an embedder: that of its weights, and of the prefixes it puts before texts."""
    if not any(prefixes):
        return fingerprint
    return f"{fingerprint}+{hashlib.sha256(json.dumps(prefixes).encode()).hexdigest()[:8]}"


def _use_one_core() -> None:
    """Called in a worker's own thread, where it counts for that thread alone."""
    import torch

    torch.set_num_threads(1)


def _libraries() -> tuple[Any, Any]:
    import sentence_transformers
    import torch
    import transformers

    console: Any = transformers.utils.logging
    console.disable_progress_bar()
    return torch, sentence_transformers


def _device(torch: Any, wish: str) -> str:
    available = bool(torch.cuda.is_available())
    if wish == "cuda" and not available:
        raise ModelError(
            "device is `cuda` but no GPU is usable; choose `auto` or `cpu`",
            "le réglage « device » vaut « cuda » mais aucun GPU n’est utilisable ; choisissez « auto » ou « cpu »",
        )
    return "cuda" if available and wish != "cpu" else "cpu"


def _require(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise ModelError(f"no model folder at {folder}", f"aucun dossier de modèle à {folder}")
    if not (folder / name).is_file():
        raise ModelError(
            f"{folder} is not a complete model: {name} is missing", f"modèle incomplet à {folder} : {name} manque"
        )


def _refuse_pickles(folder: Path) -> None:
    """A part of the model whose only weights are a pickle would run code when loaded."""
    pickles = [*folder.rglob("*.bin"), *folder.rglob("*.pt"), *folder.rglob("*.pth"), *folder.rglob("*.pkl")]
    for pickle in pickles:
        if not any(pickle.parent.glob("*.safetensors")):
            raise ModelError(
                f"{pickle} is a pickle; only safetensors weights are loaded",
                f"{pickle} est un fichier « pickle » ; seuls les poids safetensors sont chargés",
            )
    if not any(folder.rglob("*.safetensors")):
        raise ModelError(f"no safetensors weights in {folder}", f"aucun poids safetensors dans {folder}")


def _loading_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise for a folder whose files are missing, cut short or contradictory."""
    from safetensors import SafetensorError

    return (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)


def _unreadable(folder: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the model in {folder} cannot be loaded ({type(error).__name__}); verify its files",
        f"le modèle de {folder} ne peut pas être chargé ({type(error).__name__}) ; vérifiez ses fichiers",
    )
