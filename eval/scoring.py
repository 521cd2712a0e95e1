"""Fits the weights by which a French claim in other words is scored (:mod:`rag.scoring`) on development sentences.

A logistic model whose signs are set: what agrees may only raise the score, what differs only lower it, and what tells
merely how a sentence is written is left out, since in any set that people write the wrong sentences are written unlike
the true ones. Beside the labelled sentences stand made ones, at a fifth of their weight: each true sentence laid
against a passage that it does not come from, and each with another sentence's rule added to it; so that the model also
learns what labelled sentences have little of. Frozen sentences are never read.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from eval.claims import Case, cases, free_cases
from rag.claims import DEFAULT, cited, compared, evidence
from rag.scoring import RAISING, UNUSED
from rag.verdicts import PARTS, weigh
from rag.wording import reading

MADE: Final = 0.2
"""Weight of a made sentence; at 0.3 the labelled ones survive less, at 0.1 additions pass more."""
PENALTY: Final = 1.0
"""L2 penalty on the weights of figures scaled to unit deviation."""
_NONE: Final = 1e-3
"""A weight of less is none."""
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """The figures of one sentence, whether it is supported, and what it counts."""

    figures: dict[str, float]
    supported: bool
    weight: float


def examples() -> list[Example]:
    """Every French development sentence, and those made from them."""
    labelled = [case for case in (*free_cases("dev"), *cases()) if case.split == "dev" and case.language == "fr"]
    made = list(_made([case for case in labelled if case.supported and len(case.passages) > 1]))
    return [
        *(Example(_figures(case), case.supported, 1.0) for case in labelled),
        *(Example(_figures(case), False, MADE) for case in made),
    ]


def fit(found: Sequence[Example]) -> dict[str, Any]:
    """The bias and the weights that :mod:`rag.scoring` reads."""
    names = sorted({name for example in found for name in example.figures})
    values = np.array([[example.figures.get(name, 0.0) for name in names] for example in found])
    labels = np.where([example.supported for example in found], 1.0, -1.0)
    counts = np.array([example.weight for example in found])
    scale = values.std(axis=0) + 1e-6
    scaled = values / scale
    bounds = [(0, 0) if name in UNUSED else (0, None) if name in RAISING else (None, 0) for name in names]

    def loss(place: _Floats) -> tuple[float, _Floats]:
        margins = labels * (scaled @ place[:-1] + place[-1])
        total = float((counts * np.logaddexp(0, -margins)).sum() + PENALTY * (place[:-1] ** 2).sum() / 2)
        pull = -labels * counts / (1 + np.exp(margins))
        return total, np.append(scaled.T @ pull + PENALTY * place[:-1], pull.sum())

    start = np.zeros(len(names) + 1)
    best = minimize(loss, start, jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B").x
    weights = {
        name: round(float(one), 4)
        for name, one in zip(names, best[:-1] / scale, strict=True)
        if abs(one) > _NONE * scale[names.index(name)]
    }
    return {"bias": round(float(best[-1]), 4), "weights": weights}


def write(fitted: dict[str, Any], path: Path) -> None:
    """Write the weights where the package keeps them."""
    path.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


def _figures(case: Case) -> dict[str, float]:
    text, numbers = cited(case.sentence)
    units = [unit for passage in case.passages if passage.n in numbers for unit in evidence(passage)]
    outcome = weigh(reading(text, "fr"), "fr", units, DEFAULT, PARTS)
    figures, _ = compared(text, units, [passage for passage in case.passages if passage.n not in numbers], outcome)
    return figures


def _made(true: Sequence[Case]) -> Iterator[Case]:
    """Wrong sentences made from true ones: for another passage, and with the rule of another sentence added."""
    chance = random.Random(0)  # reproducible, and nobody's secret
    for case in true:
        text, numbers = cited(case.sentence)
        rest = [passage for passage in case.passages if passage.n not in numbers]
        if rest:
            moved = tuple(replace(passage, n=n) for n, passage in enumerate(rest, start=1))
            mark = chance.randrange(len(moved)) + 1
            yield replace(case, sentence=f"{text} [{mark}]", passages=moved)
        other = chance.choice(true)
        foreign = {passage.chunk.text for passage in other.passages if passage.n in cited(other.sentence)[1]}
        if not foreign & {passage.chunk.text for passage in case.passages if passage.n in numbers}:
            added, _ = cited(other.sentence)
            marks = "".join(f"[{n}]" for n in numbers)
            yield replace(case, sentence=f"{text.rstrip('.')}, et {added[0].lower()}{added[1:]} {marks}")
