"""What every Embedder promises, run over the fake and over real sentence-transformers weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rag.adapters.encoders import SentenceTransformerEmbedder
from rag.adapters.fake import HashEmbedder
from rag.seams import Embedder

TEXTS = [
    "La durée du congé est de cinq jours ouvrés.",
    "",
    "Le télétravail est ouvert à tout agent. " * 60,
    "Annual leave is granted by the head of department.",
    "é",
]


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "fake":
        return HashEmbedder()
    folder: Path = request.getfixturevalue("minilm_folder")
    return SentenceTransformerEmbedder.open(folder, fingerprint="minilm", device="cpu")


def test_passages_keep_their_order_and_shape(embedder: Embedder) -> None:
    """Row i is the vector of text i, whatever the batches were."""
    matrix = embedder.embed_passages(TEXTS)
    assert matrix.shape == (len(TEXTS), embedder.dimension)
    alone = [embedder.embed_passages([text])[0] for text in TEXTS]
    np.testing.assert_allclose(matrix, np.stack(alone), atol=1e-5)


def test_vectors_are_normalised_float32(embedder: Embedder) -> None:
    """Every vector has length one, so that a dot product is a cosine; an empty text too."""
    matrix = embedder.embed_passages(TEXTS)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1.0, atol=1e-5)
    query = embedder.embed_query("Combien de jours ?")
    assert query.dtype == np.float32
    assert query.shape == (embedder.dimension,)
    assert np.linalg.norm(query) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    """Nothing in, an empty matrix out."""
    assert embedder.embed_passages([]).shape == (0, embedder.dimension)


def test_same_text_gives_the_same_vector(embedder: Embedder) -> None:
    """Asking again changes nothing."""
    np.testing.assert_array_equal(embedder.embed_query(TEXTS[0]), embedder.embed_query(TEXTS[0]))


def test_like_texts_are_nearer_than_unlike_ones(embedder: Embedder) -> None:
    """A question stands closer to the passage that answers it than to one about something else."""
    question = embedder.embed_query("annual leave granted by whom")
    near, far = embedder.embed_passages([TEXTS[3], "The boiler room is inspected twice."])
    assert question @ near > question @ far


def test_threads_get_the_vectors_they_asked_for(embedder: Embedder) -> None:
    """Eight threads at once read the same vectors as one thread alone."""
    questions = [f"question {number} " + "mot " * number for number in range(24)]
    expected = [embedder.embed_query(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        passages = pool.submit(embedder.embed_passages, questions * 3)
        found = list(pool.map(embedder.embed_query, questions))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    np.testing.assert_allclose(passages.result()[: len(questions)], np.stack(expected), atol=1e-5)
