"""Ingestion pauses while an answer is made."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ingest import giving_way
from ingest.giving_way import PORTION, GivingWay
from rag.adapters.fake import HashEmbedder
from rag.busy import Busy

TEXTS = [f"Article {number}" for number in range(3 * PORTION + 5)]


def test_the_vectors_are_those_of_the_embedder_itself() -> None:
    """In their order, also of no text at all."""
    plain = HashEmbedder(16)
    polite = GivingWay(plain, lambda: False)
    assert np.array_equal(polite.embed_passages(TEXTS), plain.embed_passages(TEXTS))
    assert polite.embed_passages([]).shape == (0, 16)
    assert np.array_equal(polite.embed_query("x"), plain.embed_query("x"))
    assert (polite.fingerprint, polite.dimension) == (plain.fingerprint, 16)


def test_nothing_is_embedded_while_somebody_waits() -> None:
    """It goes on as soon as the answer is there."""
    busy, done = Busy(), threading.Event()
    polite = GivingWay(HashEmbedder(16), busy)

    def embed() -> None:
        polite.embed_passages(TEXTS)
        done.set()

    with busy.held(), busy.held():
        thread = threading.Thread(target=embed)
        thread.start()
        assert not done.wait(0.3)
    assert done.wait(5)
    thread.join()
    assert not busy()


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where answers never end, ingestion still does."""
    monkeypatch.setattr(giving_way, "PATIENCE", 0.05)
    start = time.monotonic()
    GivingWay(HashEmbedder(16), lambda: True).embed_passages(TEXTS)
    assert 0.2 <= time.monotonic() - start < 3
