"""`eval retrieval` over a small set of its own: reading, running, caching and reporting."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval import retrieval
from eval.bm25 import PlainBM25
from eval.report import commit, facts, table
from eval.retrieval import CORPUS, Line, evaluate, read
from eval.vectors import CachedEmbedder
from rag.adapters.fake import DictStore, HashEmbedder
from rag.errors import BadRequest
from rag.types import Chunk, Matrix

DOCUMENTS = [
    {"id": "conges", "title": "Congés", "text": "Le congé annuel dure cinq semaines.", "lang": "fr", "section": "RH"},
    {"id": "missions", "title": "Frais", "text": "Le repas en mission est remboursé.", "lang": "fr"},
    {"id": "acces", "title": "Accès", "text": "Le badge ouvre les portes. Il se porte visible.", "lang": "fr"},
]
QUERIES = [
    {"id": "q1", "text": "durée du congé annuel"},
    {"id": "q2", "text": "repas remboursé"},
    {"id": "q3", "text": "jugée par personne"},
]


def split(line: Line) -> list[Chunk]:
    """A chunk per sentence."""
    parts = [part for part in line.text.split(". ") if part]
    return [
        Chunk(f"{line.id}-{n}", CORPUS, line.id, line.title, "", (), part, n, line.language, 0, len(part))
        for n, part in enumerate(parts)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, DOCUMENTS)).encode()))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, QUERIES)), encoding="utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tconges\t1\nq2\tmissions\t1\n", encoding="utf-8")
    return folder


class Counting(HashEmbedder):
    """Counts the passages that it embeds."""

    passages = 0

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.passages += len(texts)
        return super().embed_passages(texts)


def run(dataset: Path, embedder: HashEmbedder, cache: Path | None = None) -> retrieval.Report:
    return evaluate(
        dataset,
        split=split,
        embedder=embedder,
        open_store=lambda folder, fingerprint, dimension: DictStore(fingerprint, dimension),
        cache=cache,
        settings={"embedder": "fake"},
    )


def test_the_report_has_the_keys_that_scripts_rely_on(dataset: Path) -> None:
    """Counts, four measures for three rankers, and the facts to repeat the run."""
    found = run(dataset, HashEmbedder()).as_json()
    assert (found["dataset"], found["documents"], found["chunks"], found["queries"]) == ("small", 3, 4, 2)
    rankers = found["rankers"]
    assert isinstance(rankers, dict)
    assert set(rankers) == {"bm25", "dense", "default"}
    for scores in rankers.values():
        assert set(scores) == {"ndcg@10", "recall@10", "recall@100", "mrr@10"}
        assert scores["recall@100"] == 1.0
    assert rankers["default"]["ndcg@10"] == rankers["bm25"]["ndcg@10"] == 1.0
    assert isinstance(found["run"], dict)
    assert set(found["run"]) == {"commit", "settings", "models", "corpus"}
    assert json.dumps(found)


def test_the_table_names_the_rankers(dataset: Path) -> None:
    """People read the same figures."""
    text = run(dataset, HashEmbedder()).as_table()
    assert "small: 3 documents, 4 chunks, 2 queries" in text
    assert "default" in text
    assert "1.000" in text


def test_vectors_are_computed_once(dataset: Path, tmp_path: Path) -> None:
    """A second run with the same cache embeds nothing; another embedder's vectors are not taken."""
    first, second, other = Counting(), Counting(), Counting(dimension=64)
    before = run(dataset, first, tmp_path / "cache")
    after = run(dataset, second, tmp_path / "cache")
    run(dataset, other, tmp_path / "cache")
    assert (first.passages, second.passages, other.passages) == (4, 0, 4)
    assert before.rankers == after.rankers


def test_a_broken_cache_file_is_computed_again(tmp_path: Path) -> None:
    """A cache may be lost, never wrong."""
    texts = ["un", "deux"]
    expected = CachedEmbedder(HashEmbedder(), tmp_path).embed_passages(texts)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    again = CachedEmbedder(HashEmbedder(), tmp_path)
    np.testing.assert_array_equal(again.embed_passages(texts), expected)
    assert again.embedded == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("queries.jsonl", '{"id": "q1"}', "queries.jsonl, line 1: text"),
        ("queries.jsonl", "{", "queries.jsonl, line 1"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1 conges 1", "qrels.tsv, line 2"),
        ("corpus.jsonl.gz", "not gzip", "cannot read"),
    ],
)
def test_malformed_files_are_named(dataset: Path, name: str, content: str, message: str) -> None:
    """The message says which file and line."""
    (dataset / name).write_text(content, encoding="utf-8")
    with pytest.raises(BadRequest, match=message):
        read(dataset)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A folder that is no data set says what one has."""
    with pytest.raises(BadRequest, match=r"corpus\.jsonl"):
        read(tmp_path)


def test_two_documents_with_one_id_are_refused(dataset: Path) -> None:
    """Judgements would not know which is meant."""
    (dataset / "corpus.jsonl.gz").unlink()
    (dataset / "corpus.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS[:1] * 2)), encoding="utf-8")
    with pytest.raises(BadRequest, match="one id"):
        read(dataset)


def test_a_section_is_told_once() -> None:
    """A path that the title holds already is left out."""
    told = {"id": "a", "text": "", "title": "Fiche — RH > Congés", "section": "RH > Congés"}
    assert Line.model_validate(told).place == ""
    assert Line.model_validate(told | {"section": "Santé"}).place == "Santé"


def test_plain_bm25_by_hand() -> None:
    """One chunk of two holds the word, once, at average length: idf × (k1 + 1) / (1 + k1) orders it first."""
    chunks = [chunk for line in DOCUMENTS for chunk in split(Line.model_validate(line))]
    index = PlainBM25(chunks)
    assert [chunk.document for chunk in index.rank("mission", "fr", 5)] == ["missions"]
    assert index.rank("inconnu", "fr", 5) == []
    assert PlainBM25([]).rank("mission", "fr", 5) == []


def test_a_table_is_aligned() -> None:
    """Numbers to the right, three decimals."""
    assert table(["ranker", "ndcg"], [["bm25", 0.5], ["default", 0.61239]]) == (
        "ranker    ndcg\n-------  -----\nbm25     0.500\ndefault  0.612"
    )


def test_facts_name_the_commit(tmp_path: Path) -> None:
    """Outside a checkout there is none to name."""
    assert commit(tmp_path) is None
    assert set(facts(settings={}, models={}, corpus="x")) == {"commit", "settings", "models", "corpus"}
