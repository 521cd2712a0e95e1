"""Runs that are kept, compared, drawn, and held against floors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from eval import gate, runs
from eval.compare import compare
from eval.page import page
from eval.runs import Curve, Kind, Row, Run
from rag.errors import BadRequest


def run(name: str = "golden", gain: float = 0.0, **changes: Any) -> Run:
    """Ten rows, six of them right; ``gain`` is added to the graded measure."""
    rows = [
        Row(
            id=f"q{number}",
            values={"cited": float(number < 6), "f1": number / 20 + gain},
            groups={"kind": "table" if number % 2 else "value"},
            seconds={"search": number / 10},
            failed=number >= 6,
            detail={"question": f"<b>Question {number} ?</b>"},
        )
        for number in range(10)
    ]
    values: dict[str, Any] = {
        "kind": Kind.ANSWERS,
        "name": name,
        "rows": rows,
        "definitions": {"f1": "words in common"},
    }
    return Run(**(values | changes))


def test_a_run_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    """And who opens the file finds the means beside the rows."""
    kept = run(figures={"auc": 0.9}, facts={"commit": "abc"})
    runs.save(kept, tmp_path / "deep" / "run.json")
    assert runs.load(tmp_path / "deep" / "run.json") == kept
    written = json.loads((tmp_path / "deep" / "run.json").read_text(encoding="utf-8"))
    assert written["summary"]["cited"]["value"] == 0.6
    assert written["stages"]["search"]["median"] == 0.45


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "answers"}', '{"format": 99, "kind": "answers", "name": "x"}'])
def test_what_is_no_run_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """Also one of a format that is to come."""
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=r"run\.json"):
        runs.load(path)


def test_means_are_broken_down_by_group() -> None:
    """Every value of every group, over its own rows."""
    found = run().breakdown()["kind"]
    assert (found["table"]["cited"].count, found["value"]["cited"].value) == (5, 0.6)


def test_two_runs_are_compared_over_their_common_rows() -> None:
    """With what got better and worse, the facts that differ, and how many rows stand alone."""
    first = run(facts={"models": {"embedder": "a"}})
    second = run(gain=0.1, facts={"models": {"embedder": "b"}})
    found = compare(first, second.model_copy(update={"rows": second.rows[:8]}))
    assert found.measures["f1"].delta == pytest.approx(0.1)
    assert found.measures["f1"].significant
    assert not found.measures["cited"].significant
    assert (found.only_first, found.only_second) == (2, 0)
    assert found.settings == {"models.embedder": ("a", "b")}
    assert found.worse == []
    assert compare(second, first).worse == ["f1"]
    assert "f1" in found.as_text()
    assert json.dumps(found.as_json())


def test_runs_of_different_things_are_not_compared() -> None:
    """Nor runs without a common row."""
    with pytest.raises(BadRequest, match="retrieval"):
        compare(run(), run(kind=Kind.RETRIEVAL))
    with pytest.raises(BadRequest, match="no row in common"):
        compare(run(), run(rows=[Row(id="other")]))


def test_a_page_shows_everything_and_fetches_nothing() -> None:
    """Means, plots, breakdowns, failures; words of questions stay words."""
    curve = Curve(title="Precision and recall", x="recall", y="precision", points=[(0, 1), (1, 0.5)], chosen=(0.9, 0.8))
    made = page([run(curves=[curve], figures={"auc": 0.9512})], [compare(run(), run("second", 0.1))])
    for expected in ("words in common", "0.9512", "By kind", "What went wrong: 4 rows", "Seconds by stage", "<svg"):
        assert expected in made
    assert "<b>" not in made
    assert "&lt;b&gt;Question 7 ?&lt;/b&gt;" in made
    assert not re.search(r"https?://|<script|<link|@import|url\(", made)


def test_a_measure_below_its_floor_is_a_breach() -> None:
    """So is one that is missing, and one above its ceiling; a run without floors has none."""
    floors = {"answers": {"golden": {"cited": 0.7, "absent": 0.1, "most": {"f1": 0.1}}}}
    found = gate.breaches([run(), run("other")], floors)
    assert [str(one) for one in found] == [
        "answers.golden: cited is 0.6000, at least 0.7 is wanted",
        "answers.golden: absent is missing, at least 0.1 is wanted",
        "answers.golden: f1 is 0.2250, at most 0.1 is wanted",
    ]
    assert gate.breaches([run()], {"answers": {"golden": {"cited": 0.6}}}) == []


def test_floors_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A gate that is not there must not stand open."""
    with pytest.raises(BadRequest, match="floors"):
        gate.read(tmp_path / "floors.toml")
