"""Whether an answer is inside what is quoted, and how the ranking of sentences is fitted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from eval import extraction
from ingest.chunk import split_text
from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.types import Chunk, Passage


def passage(text: str, n: int = 1) -> Passage:
    chunk = Chunk(
        id=f"c{n}", corpus="eval", document=f"d{n}", title="", reference="", path=(), text=text, ordinal=0,
        language="fr", start=0, end=len(text),
    )  # fmt: skip
    return Passage(n, chunk, 1.0)


def asked(text: str, answers: tuple[str, ...], found: str, own: str) -> extraction.Asked:
    return extraction.Asked("q", text, "fr", answers, frozenset({"d1"}), (passage(found),), (passage(own),))


def test_an_answer_counts_where_the_quoted_words_hold_it() -> None:
    """Case, kinds of blank and of apostrophe are no difference; another text is no answer."""
    one = asked(
        "Combien d'âmes a la ville ?",
        ("100\u00a0000",),
        "La ville a cent maires.",
        "La Ville a 100 000 âmes.",
    )
    rates = extraction.evaluate([one], dataset="d").rates
    assert rates["own_text"] == {"60": 1.0, "120": 1.0}
    assert rates["search"] == {"60": 0.0, "120": 0.0}


def test_words_beyond_the_limit_are_not_counted() -> None:
    """An answer at the end of a sentence longer than the display is not inside it."""
    long = "La ville dont on parle " + "toujours " * 150 + "Briare."
    one = asked("De quelle ville parle-t-on ?", ("Briare",), long, long)
    assert extraction.evaluate([one], dataset="d").rates["search"] == {"60": 0.0, "120": 0.0}


def test_a_data_set_is_read_with_its_answers(tmp_path: Path) -> None:
    """Questions without an answer are left out, and packed files are read."""
    texts = {"a": "Le pont de Briare est long de 662 mètres.", "b": "La forêt est ouverte au public."}
    corpus = [json.dumps({"id": name, "text": text, "title": ""}) for name, text in texts.items()]
    queries = [
        json.dumps({"id": "1", "text": "Quelle est la longueur du pont ?", "answers": ["662 mètres"]}),
        json.dumps({"id": "2", "text": "Et la forêt ?"}),
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(corpus), encoding="utf-8")
    (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress("\n".join(queries).encode()))
    (tmp_path / "qrels.tsv").write_text("1\ta\t1\n2\tb\t1\n", encoding="utf-8")
    (one,) = extraction.read(
        tmp_path,
        split=lambda line: split_text(line.id, line.title, line.text, corpus="eval", language="fr"),
        embedder=HashEmbedder(),
        open_store=EdgeStore.open,
    )
    assert one.documents == {"a"}
    assert [p.chunk.document for p in one.own] == ["a"]
    assert extraction.evaluate([one], dataset="d").rates["search"]["60"] == 1.0


def test_fitted_trees_are_those_of_the_library() -> None:
    """What is exported gives the probabilities of scikit-learn, and tells what it was taught."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.RandomState(0)
    x = random.rand(2000, 5).round(6)
    y = x[:, 0] + 0.3 * random.rand(2000) > 0.7
    theirs = HistGradientBoostingClassifier(
        max_iter=extraction.ROUNDS, learning_rate=extraction.RATE, max_leaf_nodes=extraction.LEAVES,
        min_samples_leaf=extraction.LEAST, l2_regularization=extraction.RIDGE, random_state=0, early_stopping=False,
    ).fit(x, y)  # fmt: skip
    rows = extraction.Rows(x, y, np.arange(2000) // 20)
    trees, figures = extraction.fit({"made": rows})
    assert trees.probabilities(x) == pytest.approx(theirs.predict_proba(x)[:, 1], abs=1e-3)
    assert figures["answering"] == int(y.sum())


def test_only_sentences_of_the_own_text_are_taught_as_answers() -> None:
    """The answer's words elsewhere are chance."""
    one = extraction.Asked(
        "q", "Quelle année ?", "fr", ("1945",), frozenset({"d1"}),
        (passage("Tout finit en 1945. Rien de plus."), passage("Il naît en 1945.", 2)),
    )  # fmt: skip
    assert extraction.rows([one]).y.tolist() == [True, False, False]
