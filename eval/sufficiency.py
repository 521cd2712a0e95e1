"""Fit the judgement "do these passages answer the question?" on the questions that may be tuned on.

``python -m eval sufficiency`` asks every development and practice question of the published sample corpora, and once
more with the expected article taken away (which makes near misses of them), fits a logistic regression, judges it by
cross-validation over questions and from one set of questions to another, and writes ``rag/data/sufficiency.json``. The
frozen half is never read.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from eval.answers import matches
from eval.cases import GOLDEN, Case, golden, load
from rag import context, language, schemas, sufficiency
from rag.engine import PASSAGES, Engine
from rag.glossary import Glossary
from rag.types import Passage, PassagesFound, Principal, Question

DEPTH: Final = PASSAGES + 8
"""Hits asked for, so that six are left when the expected article is taken away."""
STRENGTH: Final = 0.01
"""Inverse strength of the regularisation: strong, because there are few refusals to learn from."""
TAKEN_AWAY: Final = 0.2
"""Weight of a question whose article was taken away: another text may still answer it."""
REFUSED: Final = 0.96
"""Share of the unanswerable questions that reach this judgement and must be refused by it; the intercept is moved so
that 0.5 gives it. Questions that get a fixed reply never reach it. By cross-validation .93, .95, .96 and .97 refuse
wrongly .05, .05, .06 and .13 of the development questions, and .07, .07, .10 and .14 of the second practice set."""
FOLDS: Final = 8
PRACTICE: Final = ("practice", "practice_2")
"""The practice sets that are fitted on. The near misses of ``practice_3.jsonl`` are made of the very words of the
texts, so that these features cannot tell them (area under the curve .61 from the other sets): a threshold that refused
.96 of them would refuse nearly everything. It is kept to measure with, by a judgement that knows meaning."""
_Numbers = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """The features of one question over some passages. ``asked`` is false for one whose article was taken away,
    ``shown`` for an answerable one whose article the search did not find: it is judged, and nothing is learnt from it.
    """

    features: tuple[float, ...]
    answerable: bool
    asked: bool
    shown: bool
    group: int
    of: str


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted numbers, and what cross-validation says of them."""

    model: sufficiency.Regression
    figures: dict[str, object]

    def as_json(self) -> dict[str, object]:
        return {
            "fitted": dt.date.today().isoformat(),
            "features": [one.name for one in fields(sufficiency.Features)],
            "figures": self.figures,
            "intercept": round(self.model.intercept, 5),
            "means": [round(value, 5) for value in self.model.means],
            "scales": [round(value, 5) for value in self.model.scales],
            "weights": [round(value, 5) for value in self.model.weights],
        }


def questions() -> list[tuple[str, Case]]:
    """The questions that may be tuned on, each with the name of its set: the development half, and practice."""
    practice = [(name, case) for name in PRACTICE for case in load([GOLDEN / f"{name}.jsonl"])]
    rows = [*(("dev", case) for case in golden()), *practice]
    return [(name, case) for name, case in rows if case.split != "frozen"]


def fit(engine: Engine, reader: Principal, glossary: Glossary | None = None) -> Fit:
    """Fit on the published sample corpora; takes as long as searching every question twice."""
    return fitted(examples(engine, reader, glossary))


def examples(engine: Engine, reader: Principal, glossary: Glossary | None = None) -> list[Example]:
    """Every question as a reader meets it, and once more without the expected article."""
    found: list[Example] = []
    for group, (name, case) in enumerate(questions()):
        question = Question(case.text, reader, as_of=case.as_of)
        versions = [(shown_for(engine, question), not case.unanswerable, True)]
        if not case.unanswerable:
            others = [hit for hit in engine.search(question, DEPTH) if not expects(case, context.canonical([hit]))]
            versions.append((context.canonical(others[:PASSAGES]), False, False))
        for passages, answerable, asked in versions:
            if sufficiency.names_article(case.text, passages):
                continue
            values = sufficiency.features(case.text, passages, language.detect(case.text), glossary)
            if values is not None:
                shown = not answerable or expects(case, passages)
                found.append(Example(tuple(values), answerable, asked, shown, group, name))
    return found


def shown_for(engine: Engine, question: Question) -> tuple[Passage, ...]:
    """The passages of the answer, before it is judged whether they suffice; none where a fixed reply comes first."""
    first = next(engine.answer(question), None)
    return first.passages if isinstance(first, PassagesFound) else ()


def expects(case: Case, passages: Sequence[Passage]) -> bool:
    """Whether an expected article is among the passages."""
    read = [schemas.passage(passage) for passage in passages]
    return any(matches(expected, passage, case.language) for expected in case.expected for passage in read)


def fitted(rows: Sequence[Example]) -> Fit:
    """The regression over all rows, its threshold set on what cross-validation gives the unanswerable ones."""
    x = np.array([row.features for row in rows])
    y = np.array([row.answerable for row in rows])
    asked = np.array([row.asked for row in rows])
    sets = np.array([row.of for row in rows])
    groups = np.array([row.group for row in rows])
    w = np.where(asked, 1.0, TAKEN_AWAY) * np.array([row.shown for row in rows])
    outside = np.zeros(len(y))
    for seed in range(3):
        folds = np.random.RandomState(seed).permutation(groups.max() + 1)[groups] % FOLDS
        for fold in range(FOLDS):
            model = _regression(x[folds != fold], y[folds != fold], w[folds != fold])
            outside[folds == fold] += [model.probability(row) / 3 for row in x[folds == fold]]
    threshold = float(np.quantile(outside[asked & ~y], REFUSED))
    figures: dict[str, object] = {"questions": int(asked.sum()), "threshold": round(threshold, 4)}
    for name in sorted(set(sets)):
        own = asked & (sets == name)
        figures[name] = _rates(outside, own, y, threshold) | {"from_other_sets": _transferred(x, y, w, own, sets, name)}
    whole = _regression(x, y, w)
    moved = whole.intercept - float(np.log(threshold / (1 - threshold)))
    return Fit(sufficiency.Regression(moved, whole.means, whole.scales, whole.weights), figures)


def _rates(given: _Numbers, own: _Flags, y: _Flags, threshold: float) -> dict[str, object]:
    return {
        "refused_rightly": round(float((given[own & ~y] < threshold).mean()), 3) if (own & ~y).any() else None,
        "refused_wrongly": round(float((given[own & y] < threshold).mean()), 3) if (own & y).any() else None,
    }


def _transferred(
    x: _Numbers, y: _Flags, w: _Numbers, own: _Flags, sets: npt.NDArray[np.str_], name: str
) -> float | None:
    """The area under the ROC curve on one set of a model that was fitted on the others."""
    others = sets != name
    if not others.any() or not (own & y).any() or not (own & ~y).any() or len(set(y[others])) < 2:
        return None
    model = _regression(x[others], y[others], w[others])
    right = np.array([model.probability(row) for row in x[own & y]])
    wrong = np.array([model.probability(row) for row in x[own & ~y]])
    return round(float((right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2), 3)


def _regression(x: _Numbers, y: _Flags, w: _Numbers) -> sufficiency.Regression:
    # Imported when it is needed: it takes half a second of the start of every command.
    from sklearn.linear_model import LogisticRegression

    means, scales = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((x - means) / scales, y, sample_weight=w)
    return sufficiency.Regression(float(model.intercept_[0]), tuple(means), tuple(scales), tuple(model.coef_[0]))


def write(found: Fit, path: Path) -> None:
    """Write the numbers where the engine reads them."""
    path.write_text(json.dumps(found.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
