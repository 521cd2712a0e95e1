"""The sentence-transformers adapter beyond its contract: what it refuses, and how."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rag.adapters.encoders import CrossEncoderReranker, SentenceTransformerEmbedder
from rag.errors import ModelError


@pytest.fixture
def copied(minilm_folder: Path, tmp_path: Path) -> Path:
    """A copy of the demo model that a test may damage."""
    return shutil.copytree(minilm_folder, tmp_path / "model")


@pytest.mark.parametrize("opener", [SentenceTransformerEmbedder.open, CrossEncoderReranker.open])
def test_missing_folder_is_a_model_error(opener: type, tmp_path: Path) -> None:
    """A folder that is not there is named; nothing is looked up elsewhere."""
    with pytest.raises(ModelError, match="no model folder"):
        opener(tmp_path / "nowhere", fingerprint="x")


@pytest.mark.parametrize("opener", [SentenceTransformerEmbedder.open, CrossEncoderReranker.open])
def test_empty_folder_is_a_model_error(opener: type, tmp_path: Path) -> None:
    """A folder without a model says what is missing."""
    with pytest.raises(ModelError, match="is missing"):
        opener(tmp_path, fingerprint="x")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "modules.json"])
def test_truncated_file_is_a_model_error(copied: Path, name: str) -> None:
    """A file cut short, as by an interrupted copy, is told in one sentence."""
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be loaded"):
        SentenceTransformerEmbedder.open(copied, fingerprint="x")


def test_weights_in_a_pickle_are_refused(copied: Path) -> None:
    """Loading a pickle would run what it holds, so it is not even tried."""
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        SentenceTransformerEmbedder.open(copied, fingerprint="x")


def test_gpu_that_is_not_there_is_a_model_error(minilm_folder: Path) -> None:
    """Asking for a GPU on a machine without one stops the start instead of running slowly."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="no GPU"):
        SentenceTransformerEmbedder.open(minilm_folder, fingerprint="x", device="cuda")


@pytest.mark.slow
def test_prefixes_change_vectors_and_fingerprint(minilm_folder: Path) -> None:
    """A question and a passage get their own prefix, and the fingerprint tells."""
    plain = SentenceTransformerEmbedder.open(minilm_folder, fingerprint="x", device="cpu")
    prefixed = SentenceTransformerEmbedder.open(
        minilm_folder, fingerprint="x", device="cpu", query_prefix="query: ", passage_prefix="passage: "
    )
    assert plain.fingerprint == "x"
    assert prefixed.fingerprint != "x"
    np.testing.assert_allclose(prefixed.embed_query("congé"), plain.embed_query("query: congé"), atol=1e-6)
    np.testing.assert_allclose(prefixed.embed_passages(["congé"]), plain.embed_passages(["passage: congé"]), atol=1e-6)
