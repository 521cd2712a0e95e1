"""A finished measurement in one form, whatever was measured: rows, figures and the facts to repeat it.

``vauban eval retrieval``, ``answers``, ``claims``, ``injection`` and ``extraction`` all become a :class:`Run`, which
is kept as JSON, drawn as a page (:mod:`eval.page`) and compared with another one (:mod:`eval.compare`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval import report
from eval.statistics import Estimate, estimate
from rag.errors import BadRequest

FORMAT: Final = 1
"""The version of a kept run; another one is refused rather than read wrongly."""


class Kind(StrEnum):
    """What was measured."""

    RETRIEVAL = "retrieval"
    ANSWERS = "answers"
    CLAIMS = "claims"
    INJECTION = "injection"
    EXTRACTION = "extraction"


class Row(BaseModel):
    """One question, claim or attack: what was measured of it, by measure, and what is needed to look at it again.

    ``groups`` are what rates are broken down by; ``seconds`` are by stage. A row that ``failed`` is listed.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    values: dict[str, float] = Field(default_factory=dict)
    groups: dict[str, str] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    failed: bool = False
    detail: dict[str, Any] = Field(default_factory=dict)


class Curve(BaseModel):
    """Points ``(x, y)`` of a plot with the names of its axes; ``chosen`` is the point that the product uses."""

    model_config = ConfigDict(frozen=True)

    title: str
    x: str
    y: str
    points: list[tuple[float, float]]
    chosen: tuple[float, float] | None = None


class Run(BaseModel):
    """A measurement. ``figures`` are numbers that are no mean over rows (an F1, an area under a curve).

    ``definitions`` say of each measure what it counts; ``facts`` are commit, settings and fingerprints.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    kind: Kind
    name: str
    definitions: dict[str, str] = Field(default_factory=dict)
    rows: list[Row] = Field(default_factory=list)
    figures: dict[str, float] = Field(default_factory=dict)
    curves: list[Curve] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0

    @property
    def measures(self) -> list[str]:
        """The names of what was measured, in the order of the definitions, then of the rows."""
        named = dict.fromkeys(self.definitions)
        named |= dict.fromkeys(name for row in self.rows for name in row.values)
        return [name for name in named if any(name in row.values for row in self.rows)]

    def values(self, measure: str, rows: Iterable[Row] | None = None) -> list[float]:
        """What was measured under one name, of the rows that have it."""
        return [row.values[measure] for row in (self.rows if rows is None else rows) if measure in row.values]

    def summary(self, rows: Sequence[Row] | None = None) -> dict[str, Estimate]:
        """The mean of each measure with its confidence interval."""
        return {name: estimate(found) for name in self.measures if (found := self.values(name, rows))}

    def breakdown(self) -> dict[str, dict[str, dict[str, Estimate]]]:
        """The summary again by each value of each group."""
        names = sorted({name for row in self.rows for name in row.groups})
        return {
            name: {
                value: self.summary([row for row in self.rows if row.groups.get(name) == value])
                for value in sorted({row.groups[name] for row in self.rows if name in row.groups})
            }
            for name in names
        }

    def stages(self) -> dict[str, dict[str, float]]:
        """Median and 95th percentile of the seconds of each stage."""
        names = dict.fromkeys(name for row in self.rows for name in row.seconds)
        return {name: _spread([row.seconds[name] for row in self.rows if name in row.seconds]) for name in names}

    def failures(self) -> list[Row]:
        """The rows that went wrong, in order."""
        return [row for row in self.rows if row.failed]

    def as_json(self) -> dict[str, Any]:
        """What is kept: the rows and, for those who read the file, what they come to."""
        made = self.model_dump(mode="json")
        summary = {name: found.as_json() for name, found in self.summary().items()}
        return {**made, "summary": summary, "stages": self.stages()}


def save(run: Run, path: Path) -> None:
    """Keep a run as JSON; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.as_text(_finite(run.as_json())) + "\n", encoding="utf-8")


def load(path: Path) -> Run:
    """A run that was kept.

    Raises:
        BadRequest: there is no such file, or it is no run of this version.
    """
    try:
        run = Run.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BadRequest(
            f"{path} is not a kept evaluation ({type(error).__name__}); make one with `vauban eval … --save PATH`",
            f"{path} n'est pas une évaluation conservée ({type(error).__name__}) ; "
            "faites-en une avec « vauban eval … --save CHEMIN »",
            code="bad_run",
        ) from error
    if run.format != FORMAT:
        raise BadRequest(
            f"{path} is of format {run.format}, this program reads {FORMAT}; measure again",
            f"{path} est au format {run.format}, ce programme lit le {FORMAT} ; mesurez de nouveau",
            code="bad_run",
        )
    return run


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"median": round(seconds[0], 4), "p95": round(seconds[0], 4)}
    return {"median": round(median(seconds), 4), "p95": round(quantiles(seconds, n=20)[-1], 4)}


def _finite(value: Any) -> Any:
    """JSON knows no ``nan``: what has no value is null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
