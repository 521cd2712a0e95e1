"""Each text is embedded once, and what was known elsewhere is taken in."""

from __future__ import annotations

import numpy as np

from rag.adapters.fake import HashEmbedder
from rag.cosines import Cosines


def test_cosines_are_those_of_the_embedder() -> None:
    """Rows for the left texts, columns for the right ones."""
    embedder = HashEmbedder()
    left, right = ["a", "b"], ["b", "c", "d"]
    expected = embedder.embed_passages(left) @ embedder.embed_passages(right).T
    assert np.allclose(Cosines(embedder)(left, right), expected)


def test_a_text_is_embedded_once() -> None:
    """The passage's sentences come again with the next claim and cost nothing then."""
    cosines = Cosines(HashEmbedder())
    cosines(["claim"], ["one", "two"])
    cosines(["other claim"], ["one", "two", "one"])
    assert cosines.embedded == 4


def test_vectors_made_at_ingestion_are_used() -> None:
    """What is learnt is not embedded again."""
    embedder = HashEmbedder()
    cosines = Cosines(embedder)
    cosines.learn({"one": embedder.embed_passages(["one"])[0]})
    cosines(["one"], ["one"])
    assert cosines.embedded == 0


def test_only_so_many_are_kept() -> None:
    """The oldest goes first; what comes again stays."""
    cosines = Cosines(HashEmbedder(), kept=2)
    cosines(["a"], ["b"])
    cosines(["a"], ["c"])
    cosines(["a"], ["a"])
    assert cosines.embedded == 3


def test_nothing_has_no_cosines() -> None:
    """No texts, no rows."""
    assert Cosines(HashEmbedder())([], []).shape == (0, 0)
