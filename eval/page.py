"""Kept runs as one HTML page that needs nothing else: tables, plots drawn as SVG, and every failure; pure.

Everything that a person or a document wrote is escaped. There is no script and no address in the page, so it can be
mailed to an auditor and opened anywhere.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Final

from eval import report
from eval.compare import Comparison
from eval.runs import Curve, Row, Run
from eval.statistics import Estimate

WIDTH: Final = 640
BAR: Final = 26
"""Height of one bar with its label."""
LABELS: Final = 200
"""Width of the labels left of the bars."""
MOST_FAILURES: Final = 200
"""Failures written out per run; the JSON has all of them."""

_STYLE: Final = """
:root { --ink: #1a1f2b; --soft: #4f5a6b; --line: #d5dbe4; --paper: #ffffff; --ground: #f5f6f8; --bar: #14488f; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e9edf3; --soft: #aab4c3; --line: #38424f; --paper: #1b212b; --ground: #12161d; --bar: #9cc2f7; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto;
max-width: 1100px; padding: 24px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 20px 26px;
margin: 0 0 24px; overflow-x: auto; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 0; } h3 { font-size: 1rem; margin: 22px 0 8px; }
table { border-collapse: collapse; width: 100%; font-size: 0.93rem; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.soft { color: var(--soft); font-size: 0.9rem; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg .bar { fill: var(--bar); } svg .whisker { stroke: var(--ink); }
svg .line { fill: none; stroke: var(--bar); stroke-width: 2; } svg .chosen { fill: var(--ink); }
details { margin: 4px 0; } pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; }
"""


def page(runs: Sequence[Run], comparisons: Sequence[Comparison] = (), title: str = "Vauban evaluation") -> str:
    """The whole page."""
    body = "".join([*(_run(run) for run in runs), *(_comparison(one) for one in comparisons)])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{_safe(title)}</h1>{body}</body></html>\n"
    )


def _run(run: Run) -> str:
    summary = run.summary()
    parts = [
        f"<section><h2>{_safe(run.kind.value)}: {_safe(run.name)}</h2>",
        f'<p class="soft">{len(run.rows)} rows, {run.seconds:.0f} s, commit {_safe(run.facts.get("commit"))}</p>',
        _figures(run),
        _measures(run, summary),
        bars(summary),
        *(curve(one) for one in run.curves),
        _stages(run),
        _groups(run),
        _failures(run.failures()),
        "<details><summary>What is needed to repeat it</summary>",
        f"<pre>{_safe(report.as_text(run.facts))}</pre></details></section>",
    ]
    return "".join(parts)


def _figures(run: Run) -> str:
    rows = [[name, f"{value:.4f}"] for name, value in run.figures.items()]
    return _table(["figure", "value"], rows) if rows else ""


def _measures(run: Run, summary: Mapping[str, Estimate]) -> str:
    rows = [
        [name, f"{found.value:.3f}", f"{found.low:.3f} – {found.high:.3f}", str(found.count), run.definitions.get(name)]
        for name, found in summary.items()
    ]
    return _table(["measure", "mean", "95 % interval", "rows", "what it is"], rows) if rows else ""


def bars(summary: Mapping[str, Estimate]) -> str:
    """Means as bars from 0 to 1, each with the whisker of its interval."""
    shown = {name: found for name, found in summary.items() if 0 <= found.value <= 1}
    if not shown:
        return ""
    height = BAR * len(shown) + 24
    span = WIDTH - LABELS - 50
    pieces = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LABELS + tick * span
        pieces.append(f'<line class="axis" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 22}"/>')
        pieces.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{tick:g}</text>')
    for number, (name, found) in enumerate(shown.items()):
        y = number * BAR + 5
        low, high = (LABELS + max(0.0, min(1.0, bound)) * span for bound in (found.low, found.high))
        pieces.append(f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{_safe(name)}</text>')
        pieces.append(f'<rect class="bar" x="{LABELS}" y="{y}" width="{found.value * span:.1f}" height="{BAR - 10}"/>')
        pieces.append(f'<line class="whisker" x1="{low:.1f}" y1="{y + 8}" x2="{high:.1f}" y2="{y + 8}"/>')
        pieces.append(f'<text x="{LABELS + span + 8}" y="{y + 12}">{found.value:.3f}</text>')
    return _svg(WIDTH, height, "Means with their intervals", pieces)


def curve(drawn: Curve) -> str:
    """A line in the unit square, with the point that the product uses."""
    side, left, top = 320, 50, 10
    if not drawn.points:
        return ""

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = (max(0.0, min(1.0, value)) for value in point)
        return left + x * side, top + (1 - y) * side

    pieces = []
    for tick in (0.0, 0.5, 1.0):
        x, y = place((tick, tick))
        pieces += [
            f'<line class="axis" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + side}"/>',
            f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{left + side}" y2="{y:.1f}"/>',
            f'<text x="{x:.1f}" y="{top + side + 16}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>',
        ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, drawn.points))
    pieces.append(f'<polyline class="line" points="{line}"/>')
    if drawn.chosen is not None:
        x, y = place(drawn.chosen)
        pieces.append(f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    pieces.append(f'<text x="{left + side / 2:.0f}" y="{top + side + 34}" text-anchor="middle">{_safe(drawn.x)}</text>')
    pieces.append(f'<text x="{left}" y="{top + side + 52}">{_safe(drawn.y)} (upright); the dot is what is used</text>')
    return f"<h3>{_safe(drawn.title)}</h3>{_svg(left + side + 20, top + side + 60, drawn.title, pieces)}"


def _stages(run: Run) -> str:
    rows = [[name, f"{found['median']:.3f}", f"{found['p95']:.3f}"] for name, found in run.stages().items()]
    return f"<h3>Seconds by stage</h3>{_table(['stage', 'median', '95th percentile'], rows)}" if rows else ""


def _groups(run: Run) -> str:
    parts = []
    for group, values in run.breakdown().items():
        rows = [
            [value, str(max((found.count for found in summary.values()), default=0))]
            + [f"{summary[name].value:.3f}" if name in summary else "–" for name in run.measures]
            for value, summary in values.items()
        ]
        parts.append(f"<h3>By {_safe(group)}</h3>{_table([group, 'rows', *run.measures], rows)}")
    return "".join(parts)


def _failures(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    shown = "".join(
        f"<details><summary>{_safe(row.id)} {_safe(_brief(row))}</summary>"
        f"<pre>{_safe(report.as_text({'values': row.values, **row.detail}))}</pre></details>"
        for row in rows[:MOST_FAILURES]
    )
    more = f'<p class="soft">and {len(rows) - MOST_FAILURES} more in the JSON</p>' if len(rows) > MOST_FAILURES else ""
    return f"<h3>What went wrong: {len(rows)} rows</h3>{shown}{more}"


def _brief(row: Row) -> str:
    """The first text of the detail, cut for one line."""
    text = next((value for value in row.detail.values() if isinstance(value, str) and value), "")
    return text if len(text) <= 120 else text[:120] + "…"


def _comparison(found: Comparison) -> str:
    rows = [
        [
            name,
            str(one.count),
            f"{one.first:.3f}",
            f"{one.second:.3f}",
            f"{one.delta:+.3f}",
            f"{one.low:+.3f} – {one.high:+.3f}",
            f"{one.p:.3f}{' *' if one.significant else ''}",
            f"+{one.better} −{one.worse}",
        ]
        for name, one in found.measures.items()
    ]
    head = ["measure", "rows", "first", "second", "change", "95 % interval", "p", "better, worse"]
    return f"<section><h2>{_safe(found.first)} → {_safe(found.second)}</h2>{_table(head, rows)}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(head))]

    def line(cells: Sequence[str | None], tag: str) -> str:
        attributes = [' class="n"' if right else "" for right in numeric]
        return "".join(f"<{tag}{own}>{_safe(cell)}</{tag}>" for cell, own in zip(cells, attributes, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(cell: str | None) -> bool:
    try:
        return cell is not None and math.isfinite(float(cell.replace("+", "")))
    except ValueError:
        return False


def _svg(width: float, height: float, label: str, pieces: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{_safe(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">{"".join(pieces)}</svg>'
    )


def _safe(value: object) -> str:
    return "" if value is None else html.escape(str(value))
