"""What every Reranker promises, run over the fake and over a tiny cross-encoder made on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rag.adapters.encoders import CrossEncoderReranker
from rag.adapters.fake import OverlapReranker
from rag.seams import Reranker
from rag.types import Chunk, Hit


def hit(name: str, text: str) -> Hit:
    chunk = Chunk(name, "rh", "doc", "Congés", "Article 1", (), text, 0, "fr", 0, len(text))
    return Hit(chunk, 0.5, dense=0.4, sparse=2.0, exact=True)


HITS = [hit("b", "La cantine ouvre à midi."), hit("a", "Le congé dure cinq jours."), hit("c", "Le congé, en jours.")]


def tiny_cross_encoder(folder: Path, tokenizer: Path, labels: int = 1) -> Path:
    """A cross-encoder of one small random layer: worthless scores, but every file of a real one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    config.num_labels = labels
    BertForSequenceClassification(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(tokenizer / name, folder)
    return folder


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def reranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    if request.param == "fake":
        return OverlapReranker()
    minilm: Path = request.getfixturevalue("minilm_folder")
    folder = tiny_cross_encoder(tmp_path_factory.mktemp("cross"), minilm)
    return CrossEncoderReranker.open(folder, fingerprint="tiny", device="cpu")


def test_gives_back_exactly_the_hits_it_was_given(reranker: Reranker) -> None:
    """Nothing is lost, added or altered but the score."""
    found = reranker.rerank("Combien de jours de congé ?", HITS)
    assert {item.chunk.id for item in found} == {"a", "b", "c"}
    assert all((item.dense, item.sparse, item.exact) == (0.4, 2.0, True) for item in found)


def test_scores_lie_between_zero_and_one_best_first(reranker: Reranker) -> None:
    """Scores are comparable from question to question, and sorted."""
    scores = [item.score for item in reranker.rerank("Combien de jours de congé ?", HITS)]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_the_order_given_does_not_matter(reranker: Reranker) -> None:
    """The same hits in another order come back in the same order."""
    forwards = reranker.rerank("jours de congé", HITS)
    backwards = reranker.rerank("jours de congé", HITS[::-1])
    assert [item.chunk.id for item in forwards] == [item.chunk.id for item in backwards]


def test_no_hits_give_none(reranker: Reranker) -> None:
    """Nothing in, nothing out."""
    assert reranker.rerank("congé", []) == []


def test_the_fake_prefers_shared_words() -> None:
    """The fake's order has a meaning that a person can check."""
    assert [item.chunk.id for item in OverlapReranker().rerank("combien dure le congé", HITS)] == ["a", "c", "b"]


@pytest.mark.slow
def test_several_scores_per_pair_are_refused(tmp_path: Path, minilm_folder: Path) -> None:
    """A classifier is no reranker, and says so when it is opened."""
    from rag.errors import ModelError

    folder = tiny_cross_encoder(tmp_path, minilm_folder, labels=3)
    with pytest.raises(ModelError, match="no reranker"):
        CrossEncoderReranker.open(folder, fingerprint="classes")
