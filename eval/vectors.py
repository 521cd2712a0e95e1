"""Vectors kept between evaluation runs, by the hash of their text and the fingerprint of their embedder.

A cache is a folder of ``.npz`` files, each written once and whole; arrays only, nothing that is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from rag.seams import Embedder
from rag.types import Matrix, Vector

PART: Final = 2048
"""Texts embedded before what is done is written down: an interrupted run loses a minute, not an hour."""


class CachedEmbedder:
    """An :class:`~rag.seams.Embedder` that embeds each text once: passages are kept in ``folder``, where there is
    one, questions as long as it lives."""

    def __init__(self, embedder: Embedder, folder: Path | None = None) -> None:
        self._embedder = embedder
        self._folder = folder
        self._prefix = hashlib.sha256(embedder.fingerprint.encode()).hexdigest()[:16]
        self._known: dict[bytes, Vector] | None = None
        self._asked: dict[str, Vector] = {}
        self.embedded = 0
        """Passages that were not in the cache so far."""

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        if text not in self._asked:
            self._asked[text] = self._embedder.embed_query(text)
        return self._asked[text]

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        known = self._load()
        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        # Like lengths together across parts too, so that a part's batches waste little on padding.
        fresh = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(fresh), PART):
            part = fresh[start : start + PART]
            vectors = self._embedder.embed_passages([missing[key] for key in part])
            self._save(part, vectors)
            known.update(zip(part, vectors, strict=True))
        self.embedded += len(fresh)
        if not keys:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([known[key] for key in keys])

    def _load(self) -> dict[bytes, Vector]:
        if self._known is None:
            self._known = {}
            files = self._folder.glob(f"{self._prefix}-*.npz") if self._folder else ()
            for file in sorted(files):
                try:
                    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                        keys, vectors = arrays["keys"], arrays["vectors"]
                except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
                    # A cache may always be lost: what cannot be read is computed again.
                    continue
                self._known.update((key.tobytes(), vector) for key, vector in zip(keys, vectors, strict=True))
        return self._known

    def _save(self, keys: Sequence[bytes], vectors: Matrix) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        whole = self._folder / f"{self._prefix}-{name}.npz"
        partial = whole.with_suffix(f".{os.getpid()}.tmp")
        with partial.open("wb") as file:
            np.savez(file, keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1), vectors=vectors)
        partial.replace(whole)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
