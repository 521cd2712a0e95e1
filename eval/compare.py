"""Two runs side by side, row by row: what changed, and whether it is more than chance. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from eval.report import table
from eval.runs import Run
from eval.statistics import Difference, difference
from rag.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of each measure over the rows that both runs have, and the rows that got better or worse.

    ``only_first`` and ``only_second`` count the rows that the other run lacks; ``settings`` are the facts that differ.
    """

    first: str
    second: str
    measures: dict[str, Difference]
    changed: dict[str, tuple[tuple[str, float, float], ...]]
    figures: dict[str, tuple[float, float]]
    settings: dict[str, tuple[object, object]]
    only_first: int = 0
    only_second: int = 0

    @property
    def worse(self) -> list[str]:
        """The measures that got significantly worse."""
        return [name for name, found in self.measures.items() if found.significant and found.delta < 0]

    def as_json(self) -> dict[str, object]:
        """The report of ``vauban eval compare --json``."""
        return {
            "first": self.first,
            "second": self.second,
            "measures": {name: found.as_json() for name, found in self.measures.items()},
            "figures": {name: {"first": a, "second": b} for name, (a, b) in self.figures.items()},
            "changed": {
                name: [{"id": row, "first": a, "second": b} for row, a, b in rows]
                for name, rows in self.changed.items()
            },
            "settings": {name: {"first": a, "second": b} for name, (a, b) in self.settings.items()},
            "only_first": self.only_first,
            "only_second": self.only_second,
            "worse": self.worse,
        }

    def as_text(self) -> str:
        """The same for people."""
        rows = [
            [
                name,
                found.count,
                found.first,
                found.second,
                f"{found.delta:+.3f}",
                f"[{found.low:+.3f}, {found.high:+.3f}]",
                f"{found.p:.3f}{' *' if found.significant else ''}",
                f"+{found.better} -{found.worse}",
            ]
            for name, found in self.measures.items()
        ]
        lines = [table(["measure", "rows", "first", "second", "change", "95 %", "p", "rows"], rows)]
        if self.figures:
            lines += ["", table(["figure", "first", "second"], [[n, a, b] for n, (a, b) in self.figures.items()])]
        if self.settings:
            lines += ["", "they differ in:", *(f"  {n}: {a!r} -> {b!r}" for n, (a, b) in self.settings.items())]
        if self.only_first or self.only_second:
            lines += ["", f"rows of one run only: {self.only_first} and {self.only_second}"]
        return "\n".join(lines)


def compare(first: Run, second: Run) -> Comparison:
    """What the second run has that the first had not, over the rows of both.

    Raises:
        BadRequest: they measure different things, or have no row in common.
    """
    if first.kind is not second.kind:
        raise BadRequest(
            f"a run of {first.kind.value} cannot be compared with one of {second.kind.value}",
            f"une mesure « {first.kind.value} » ne se compare pas à une mesure « {second.kind.value} »",
            code="bad_comparison",
        )
    rows = {row.id: row for row in second.rows}
    pairs = [(row, rows[row.id]) for row in first.rows if row.id in rows]
    if not pairs:
        raise BadRequest(
            "the two runs have no row in common; compare runs over the same questions",
            "les deux mesures n'ont aucune ligne commune ; comparez des mesures des mêmes questions",
            code="bad_comparison",
        )
    measures: dict[str, Difference] = {}
    changed: dict[str, tuple[tuple[str, float, float], ...]] = {}
    for name in first.measures:
        both = [(a.id, a.values[name], b.values[name]) for a, b in pairs if name in a.values and name in b.values]
        if both:
            measures[name] = difference([a for _, a, _ in both], [b for _, _, b in both])
            changed[name] = tuple(sorted((one for one in both if one[1] != one[2]), key=lambda one: one[2] - one[1]))
    return Comparison(
        first.name,
        second.name,
        measures,
        changed,
        {name: (first.figures[name], second.figures[name]) for name in first.figures if name in second.figures},
        _differing(first, second),
        len(first.rows) - len(pairs),
        len(second.rows) - len(pairs),
    )


def _differing(first: Run, second: Run) -> dict[str, tuple[object, object]]:
    """The facts in which two runs differ, one level deep."""
    a, b = _flat(first.facts), _flat(second.facts)
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def _flat(facts: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found
