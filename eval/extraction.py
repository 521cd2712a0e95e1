"""Is the answer inside what is quoted? Measured on questions whose accepted answers are known as spans of a text.

``corpus.jsonl``, ``queries.jsonl`` (with ``answers``) and ``qrels.tsv`` go through the real split, embed, store, search
and choice of extracts, in a store of their own that is thrown away. Each question is measured twice: over what the
search finds, and over its own text alone. The same rows fit the ranking of sentences anew (:func:`fit`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from eval import report, retrieval, sufficiency
from eval.vectors import CachedEmbedder
from rag import asking, context, extracts, language, lexical
from rag.engine import PASSAGES, Engine
from rag.retrieval import Retriever
from rag.seams import Embedder
from rag.trees import Trees
from rag.types import Chunk, Hit, Passage, Point, Principal, Question, Scope

WORDS: Final = (60, 120)
"""The lengths of display that are measured."""
QUOTES: Final = 20
"""More extracts than any such length holds: the words are the limit."""
FOLDS: Final = 5
ROUNDS, RATE, LEAVES, LEAST, RIDGE = 250, 0.05, 8, 60, 5.0
"""Trees, learning rate, leaves of a tree, rows of a leaf, and ridge: small trees, because questions are few."""


class Spanned(BaseModel):
    """One query with the answers that people accepted; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias=AliasChoices("id", "_id"))
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its answers, and the passages that it is measured over: those found, and its own text."""

    id: str
    text: str
    language: str
    answers: tuple[str, ...]
    documents: frozenset[str]
    found: tuple[Passage, ...]
    own: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run. ``rates`` are shares of the questions whose answer is inside the quoted words."""

    dataset: str
    questions: int
    rates: Mapping[str, Mapping[str, float]]
    run: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The report of ``vauban eval extraction --json``."""
        return {
            "dataset": self.dataset,
            "questions": self.questions,
            "rates": {name: dict(rates) for name, rates in self.rates.items()},
            "run": dict(self.run),
        }

    def as_table(self) -> str:
        """The same for people."""
        rows = [[name, *rates.values()] for name, rates in self.rates.items()]
        return f"{self.dataset}: {self.questions} questions\n" + report.table(
            ["given", *(f"within {words} words" for words in WORDS)], rows
        )


def evaluate(asked: Sequence[Asked], *, dataset: str, run: Mapping[str, object] | None = None) -> Report:
    """Measure the extracts that are shown for each question, over what was found and over its own text."""
    over: dict[str, Callable[[Asked], tuple[Passage, ...]]] = {
        "search": lambda one: one.found,
        "own_text": lambda one: one.own,
    }
    rates = {
        name: {
            str(words): round(float(np.mean([_inside(one, given(one), words) for one in asked])), 4) for words in WORDS
        }
        for name, given in over.items()
    }
    return Report(dataset, len(asked), rates, dict(run or {}))


def _inside(one: Asked, passages: Sequence[Passage], words: int) -> bool:
    spans = extracts.extracts(one.text, passages, limit=QUOTES, words=words, language=one.language)
    return _holds(shown(passages, spans), one.answers)


def shown(passages: Sequence[Passage], spans: Iterable[extracts.Span]) -> list[str]:
    """The words that are quoted."""
    texts = {passage.n: passage.chunk.text for passage in passages}
    return [texts[n][start:end] for n, start, end in spans]


def _holds(quotes: Iterable[str], answers: Iterable[str]) -> bool:
    plain = [_plain(quote) for quote in quotes]
    return any(_plain(answer) in quote for answer in answers for quote in plain)


def _plain(text: str) -> str:
    """Case, kinds of blank and of apostrophe put aside: what a reader would not notice."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).replace("’", "'").lower()).strip()


# --- the questions ----------------------------------------------------------------------------------------------


def read(
    folder: Path,
    *,
    split: retrieval.Split,
    embedder: Embedder,
    open_store: retrieval.OpenStore,
    cache: Path | None = None,
    every: int = 1,
    dense_weight: float | None = None,
) -> list[Asked]:
    """The questions of a data set that have answers, each with the passages that the search finds for it.

    ``every`` takes one question in so many.

    Raises:
        BadRequest: the folder is not in the BEIR layout.
    """
    data = retrieval.read(folder)
    spans = {one.id: one for one in _spanned(folder)}
    queries = [query for query in data.queries if query.id in spans and spans[query.id].answers][::every]
    chunks = [chunk for line in data.lines for chunk in split(line)]
    cached = CachedEmbedder(embedder, cache)
    vectors = cached.embed_passages([chunk.search_text for chunk in chunks])
    by_document: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.document, []).append(chunk)
    scope = Scope(frozenset(), 0, {retrieval.CORPUS: (1,)})
    asked = []
    with tempfile.TemporaryDirectory(prefix="vauban-eval-") as home:
        store = open_store(Path(home) / "index", cached.fingerprint, cached.dimension)
        try:
            for start in range(0, len(chunks), retrieval.BATCH):
                part = slice(start, start + retrieval.BATCH)
                points = [
                    Point(chunk, vector, lexical.chunk_vector(chunk))
                    for chunk, vector in zip(chunks[part], vectors[part], strict=True)
                ]
                store.stage(retrieval.CORPUS, 1, points, [])
            retriever = Retriever(cached, store, dense_weight=dense_weight)
            for query in queries:
                documents = frozenset(name for name, label in data.judgements[query.id].items() if label > 0)
                own = [Hit(chunk, 1.0) for name in sorted(documents) for chunk in by_document.get(name, ())]
                asked.append(
                    Asked(
                        id=query.id,
                        text=query.text,
                        language=data.lines[0].language,
                        answers=spans[query.id].answers,
                        documents=documents,
                        found=context.canonical(retriever.passages(query.text, scope, PASSAGES).hits),
                        own=context.canonical(own),
                    )
                )
        finally:
            store.close()
    return asked


def _spanned(folder: Path) -> list[Spanned]:
    plain, packed = folder / "queries.jsonl", folder / "queries.jsonl.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else plain.read_bytes()
    return [Spanned.model_validate_json(line) for line in content.splitlines() if line.strip()]


def of_golden(engine: Engine, reader: Principal) -> list[Asked]:
    """The golden questions that may be tuned on and have short answers, with the passages that a reader is shown."""
    asked = []
    for _, case in sufficiency.questions():
        if not case.answers:
            continue
        passages = sufficiency.shown_for(engine, Question(case.text, reader, as_of=case.as_of))
        documents = frozenset(one.chunk.id for one in passages if sufficiency.expects(case, [one]))
        if documents:
            speech = language.detect(case.text)
            asked.append(Asked(case.id, case.text, speech, case.answers, documents, tuple(passages)))
    return asked


# --- fitting ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """Sentences as the trees see them: features, whether each holds an answer, and the question that it stands for."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int_]


def rows(asked: Sequence[Asked]) -> Rows:
    """Every sentence of the passages of every question; the groups are the texts that hold the answers."""
    x: list[npt.NDArray[np.float64]] = []
    y: list[bool] = []
    group: list[int] = []
    groups: dict[frozenset[str], int] = {}
    for one in asked:
        number = groups.setdefault(one.documents, len(groups))
        for passages in (one.found, one.own):
            found, features = extracts.candidates(asking.asked(one.text, one.language), passages)
            if not found:
                continue
            x.append(features)
            y += [_answers(one, candidate) for candidate in found]
            group += [number] * len(found)
    return Rows(np.vstack(x), np.array(y), np.array(group))


def _answers(one: Asked, candidate: extracts.Candidate) -> bool:
    chunk, piece = candidate.passage.chunk, candidate.piece
    return bool({chunk.document, chunk.id} & one.documents) and _holds(
        [chunk.text[piece.start : piece.end]], one.answers
    )


def fit(sets: Mapping[str, Rows]) -> tuple[Trees, dict[str, object]]:
    """The trees over all sets, and how well those fitted without a text tell its sentences apart."""
    x = np.vstack([one.x for one in sets.values()])
    y = np.concatenate([one.y for one in sets.values()])
    offsets = np.cumsum([0, *(int(one.group.max()) + 1 for one in sets.values())])
    group = np.concatenate([one.group + offset for one, offset in zip(sets.values(), offsets, strict=False)])
    fold = np.random.RandomState(0).permutation(group.max() + 1)[group] % FOLDS
    outside = np.zeros(len(y))
    for number in range(FOLDS):
        kept = fold != number
        outside[~kept] = _grown(x[kept], y[kept]).probabilities(x[~kept])
    figures: dict[str, object] = {"sentences": len(y), "answering": int(y.sum())}
    start = 0
    for name, one in sets.items():
        part = slice(start, start + len(one.y))
        figures[name] = {"auc": round(_auc(outside[part], y[part]), 4), "sentences": len(one.y)}
        start += len(one.y)
    return _grown(x, y), figures


def _auc(scores: npt.NDArray[np.float64], y: npt.NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, scores))


def _grown(x: npt.NDArray[np.float64], y: npt.NDArray[np.bool_]) -> Trees:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=ROUNDS, learning_rate=RATE, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST, l2_regularization=RIDGE,
        random_state=0, early_stopping=False,
    ).fit(x, y)  # fmt: skip
    # scikit-learn has no public way to the nodes of these trees; the tests compare ours with its own predictions.
    grown = [stage[0].nodes for stage in model._predictors]
    most = max(len(nodes) for nodes in grown)
    shape = (len(grown), most)
    own = np.tile(np.arange(most), (len(grown), 1))
    feature, threshold = np.zeros(shape, np.intp), np.zeros(shape)
    left, right, value = own.copy(), own.copy(), np.zeros(shape)
    for tree, nodes in enumerate(grown):
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        feature[tree, inner] = nodes["feature_idx"][inner]
        threshold[tree, inner] = nodes["num_threshold"][inner]
        left[tree, inner], right[tree, inner] = nodes["left"][inner], nodes["right"][inner]
        value[tree, : len(nodes)] = np.where(nodes["is_leaf"], nodes["value"], 0.0)
    depth = max(int(nodes["depth"].max()) for nodes in grown)
    return Trees(
        float(model._baseline_prediction[0, 0]), depth, feature, threshold.round(7), left, right, value.round(6)
    )


def as_json(trees: Trees, figures: Mapping[str, object]) -> dict[str, Any]:
    """What ``rag/data/extracts.json`` holds."""
    return {
        "fitted": dt.date.today().isoformat(),
        "features": list(extracts.FEATURES),
        "figures": dict(figures),
        **trees.numbers(),
    }


def write(trees: Trees, figures: Mapping[str, object], path: Path) -> None:
    """Write the numbers where the engine reads them."""
    path.write_text(json.dumps(as_json(trees, figures), separators=(",", ":")) + "\n", encoding="utf-8")
