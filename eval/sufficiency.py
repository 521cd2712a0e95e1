"""Fit the judgement "do these passages answer the question?" on the questions that may be tuned on.

``python -m eval sufficiency`` asks every development and practice question of the published sample corpora, and once
more with the expected article taken away (which makes near misses of them), fits a logistic regression, judges it by
cross-validation over questions, and writes ``rag/data/sufficiency.json``. The frozen half is never read.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from eval.answers import matches
from eval.cases import GOLDEN, Case, golden, load
from rag import context, extracts, language, schemas
from rag.engine import PASSAGES, Engine
from rag.types import Hit, Principal, Question

DEPTH: Final = PASSAGES + 8
"""Hits asked for, so that six are left when the expected article is taken away."""
STRENGTH: Final = 0.005
"""Inverse strength of the regularisation: strong, because there are more products than refusals to learn from."""
TAKEN_AWAY: Final = 0.3
"""Weight of a question whose article was taken away: another text may still answer it."""
REFUSED: Final = 0.925
"""Share of the unanswerable questions that must be refused; the intercept is moved so that 0.5 gives it."""
FOLDS: Final = 8
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted numbers, and what cross-validation says of them."""

    model: extracts.Regression
    figures: dict[str, object]

    def as_json(self) -> dict[str, object]:
        return {
            "fitted": dt.date.today().isoformat(),
            "features": [one.name for one in fields(extracts.Features)],
            "figures": self.figures,
            "intercept": round(self.model.intercept, 5),
            "means": [round(value, 5) for value in self.model.means],
            "scales": [round(value, 5) for value in self.model.scales],
            "weights": [round(value, 5) for value in self.model.weights],
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
            model = _regression(x[folds != fold], y[folds != fold], w[folds != fold])
            outside[folds == fold] += [model.probability(row) / 3 for row in x[folds == fold]]
    asked = w == 1.0
    threshold = float(np.quantile(outside[asked & ~y], REFUSED))
    figures: dict[str, object] = {"questions": int(asked.sum()), "threshold": round(threshold, 4)}
    for split in sorted(set(splits)):
        own = asked & (splits == split)
        figures[split] = {
            "refused_rightly": round(float((outside[own & ~y] <= threshold).mean()), 3),
            "kept": round(float((outside[own & y] > threshold).mean()), 3),
        }
    whole = _regression(x, y, w)
    moved = whole.intercept - float(np.log(threshold / (1 - threshold)))
    return Fit(extracts.Regression(moved, whole.means, whole.scales, whole.weights), figures)


def _regression(x: _Numbers, y: npt.NDArray[np.bool_], w: _Numbers) -> extracts.Regression:
    means, scales = x.mean(axis=0), x.std(axis=0)
    wide = np.array([extracts.expanded(list(row)) for row in (x - means) / scales])
    middle, spread = wide.mean(axis=0), wide.std(axis=0)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((wide - middle) / spread, y, sample_weight=w)
    weights = model.coef_[0] / spread
    intercept = float(model.intercept_[0] - (weights * middle).sum())
    return extracts.Regression(intercept, tuple(means), tuple(scales), tuple(weights))


def write(found: Fit, path: Path) -> None:
    """Write the numbers where the engine reads them."""
    path.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
