"""Fit the judgement "do these passages answer the question?" on the questions that may be tuned on.

``python -m eval sufficiency`` asks every development and practice question of the published sample corpora, and once
more with the expected article taken away (which makes near misses of them), fits a random forest, judges it by
cross-validation over questions, and writes ``rag/data/sufficiency.json``. The frozen half is never read.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from eval.answers import matches
from eval.cases import GOLDEN, Case, golden, load
from rag import context, extracts, language, schemas
from rag.engine import PASSAGES, Engine
from rag.types import Hit, Principal, Question

DEPTH: Final = PASSAGES + 8
"""Hits asked for, so that six are left when the expected article is taken away."""
TREES: Final = 150
DEEPEST: Final = 5
SMALLEST: Final = 5
"""Trees, their depth and the fewest questions of a leaf: shallow, because there are few refusals to learn from. In
cross-validation at the same refusals this keeps a tenth more of the practice questions than a logistic regression on
the features, their squares and products, and as many of the development ones."""
TAKEN_AWAY: Final = 0.3
"""Weight of a question whose article was taken away: another text may still answer it."""
REFUSED: Final = 0.925
"""Share of the unanswerable questions that must be refused, by cross-validation: it sets the threshold."""
FOLDS: Final = 8
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted forest, and what cross-validation says of it."""

    forest: extracts.Forest
    figures: dict[str, object]

    def as_json(self) -> dict[str, object]:
        return {
            "fitted": dt.date.today().isoformat(),
            "features": [one.name for one in fields(extracts.Features)],
            "figures": self.figures,
            "threshold": round(self.forest.threshold, 5),
            "trees": [asdict(tree) for tree in self.forest.trees],
        }


def questions() -> list[Case]:
    """The questions that may be tuned on: the development half, and the practice set."""
    return [case for case in (*golden(), *load([GOLDEN / "practice.jsonl"])) if case.split != "frozen"]


def fit(engine: Engine, reader: Principal) -> Fit:
    """Fit on the published sample corpora; takes as long as searching every question once."""
    rows: list[tuple[float, ...]] = []
    answerable: list[bool] = []
    weights: list[float] = []
    groups: list[int] = []
    splits: list[str] = []
    for group, case in enumerate(questions()):
        hits = engine.search(Question(case.text, reader, as_of=case.as_of), DEPTH)
        versions = [(hits, not case.unanswerable, 1.0)]
        if not case.unanswerable:
            versions.append(([hit for hit in hits if not _expected(case, hit)], False, TAKEN_AWAY))
        for found, right, weight in versions:
            speech = language.detect(case.text)
            passages = context.canonical(found[:PASSAGES])
            if extracts.names_article(case.text, passages):
                continue
            values = extracts.features(case.text, passages, speech)
            if values is None:
                continue
            rows.append(tuple(values))
            answerable.append(right)
            weights.append(weight)
            groups.append(group)
            splits.append(case.split or "")
    x, y, w = np.array(rows), np.array(answerable), np.array(weights)
    return _fitted(x, y, w, np.array(groups), np.array(splits))


def _expected(case: Case, hit: Hit) -> bool:
    passage = schemas.passage(context.canonical([hit])[0])
    return any(matches(expected, passage, case.language) for expected in case.expected)


def _fitted(
    x: _Numbers, y: npt.NDArray[np.bool_], w: _Numbers, groups: npt.NDArray[np.int_], splits: npt.NDArray[np.str_]
) -> Fit:
    outside = np.zeros(len(y))
    for seed in range(3):
        folds = np.random.RandomState(seed).permutation(groups.max() + 1)[groups] % FOLDS
        for fold in range(FOLDS):
            trees = _trees(x[folds != fold], y[folds != fold], w[folds != fold])
            outside[folds == fold] += [extracts.Forest(0.5, trees).vote(row) / 3 for row in x[folds == fold].tolist()]
    asked = w == 1.0
    threshold = float(np.quantile(outside[asked & ~y], REFUSED))
    figures: dict[str, object] = {"questions": int(asked.sum())}
    for split in sorted(set(splits)):
        own = asked & (splits == split)
        figures[split] = {
            "refused_rightly": round(float((outside[own & ~y] <= threshold).mean()), 3),
            "kept": round(float((outside[own & y] > threshold).mean()), 3),
        }
    return Fit(extracts.Forest(threshold, _trees(x, y, w)), figures)


def _trees(x: _Numbers, y: npt.NDArray[np.bool_], w: _Numbers) -> tuple[extracts.Tree, ...]:
    model = RandomForestClassifier(TREES, max_depth=DEEPEST, min_samples_leaf=SMALLEST, random_state=0)
    return tuple(_tree(one.tree_) for one in model.fit(x, y, sample_weight=w).estimators_)


def _tree(grown: Any) -> extracts.Tree:
    """A tree of the library as plain numbers; its leaves have the share of answerable questions."""
    shares = grown.value[:, 0, :]
    return extracts.Tree(
        tuple(int(number) for number in grown.feature),
        tuple(round(float(number), 5) for number in grown.threshold),
        tuple(int(number) for number in grown.children_left),
        tuple(int(number) for number in grown.children_right),
        tuple(round(float(yes / (no + yes)), 4) for no, yes in shares),
    )


def write(found: Fit, path: Path) -> None:
    """Write the numbers where the engine reads them."""
    path.write_text(json.dumps(found.as_json(), separators=(",", ":")) + "\n", encoding="utf-8")
