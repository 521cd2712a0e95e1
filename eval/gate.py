"""Floors under which no measure may fall: what continuous integration refuses a change for. Pure but for one file.

``golden/floors.toml`` has a table for each kept run, named ``kind.name``, with the least value of each measure or
figure. A measure that should be small has its ceiling under ``most``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eval.cases import GOLDEN
from eval.runs import Run
from rag.errors import BadRequest

FLOORS: Final = GOLDEN / "floors.toml"
MOST: Final = "most"
"""The key of the table of ceilings."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A measure of a run beyond its bound; ``value`` is ``None`` when the run does not have it."""

    run: str
    measure: str
    value: float | None
    bound: float
    ceiling: bool = False

    def __str__(self) -> str:
        found = "is missing" if self.value is None else f"is {self.value:.4f}"
        return (
            f"{self.run}: {self.measure} {found}, {'at most' if self.ceiling else 'at least'} {self.bound:g} is wanted"
        )


def breaches(kept: Sequence[Run], floors: Mapping[str, Any]) -> list[Breach]:
    """Every bound that the runs do not keep; a run without a table of its own has none."""
    found = []
    for run in kept:
        bounds = dict(floors.get(run.kind.value, {}).get(run.name, {}))
        known = {name: one.value for name, one in run.summary().items()} | run.figures
        name = f"{run.kind.value}.{run.name}"
        ceilings = bounds.pop(MOST, {})
        found += [
            Breach(name, measure, known.get(measure), bound)
            for measure, bound in bounds.items()
            if known.get(measure, float("-inf")) < bound
        ]
        found += [
            Breach(name, measure, known.get(measure), bound, ceiling=True)
            for measure, bound in ceilings.items()
            if known.get(measure, float("inf")) > bound
        ]
    return found


def read(path: Path = FLOORS) -> dict[str, Any]:
    """The floors.

    Raises:
        BadRequest: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(
            f"cannot read the floors in {path}: {error}",
            f"impossible de lire les planchers de {path} : {error}",
            code="bad_floors",
        ) from error
