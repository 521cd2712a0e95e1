"""Golden lines become cases, tolerant of what they lack and clear about what is wrong."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from eval.cases import Case, Expected, golden, load
from rag.errors import BadRequest


def written(folder: Path, *lines: object) -> Path:
    path = folder / "queries.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_golden_set() -> None:
    """The shipped set is read whole: answerable and unanswerable questions of four corpora, half frozen."""
    cases = golden()
    assert len(cases) == 216
    assert sum(case.unanswerable for case in cases) == 40
    assert {case.corpus for case in cases} == {"rh", "sante", "finances", "infrastructures"}
    assert {case.split for case in cases} == {"frozen", "dev"}


def test_whole_line(tmp_path: Path) -> None:
    """Every field of a golden line arrives."""
    path = written(
        tmp_path,
        {
            "id": "a",
            "text": "Combien ?",
            "corpus": "rh",
            "language": "fr",
            "split": "dev",
            "kind": "value",
            "answers": ["25 jours"],
            "expected": [{"document": "d", "article": "R. 12-3"}],
            "as_of": "2022-06-01",
            "unanswerable": False,
        },
    )
    assert load([path]) == (
        Case(
            id="a",
            text="Combien ?",
            corpus="rh",
            language="fr",
            split="dev",
            kind="value",
            answers=("25 jours",),
            expected=(Expected("d", "R. 12-3"),),
            as_of=dt.date(2022, 6, 1),
        ),
    )


@pytest.mark.parametrize(
    ("expected", "cases"),
    [
        (None, ()),
        ([], ()),
        ("doc", (Expected("doc"),)),
        (["doc#4", "other"], (Expected("doc", "4"), Expected("other"))),
        ({"document": "doc"}, (Expected("doc"),)),
        ([{"document": "doc", "article": 4}], (Expected("doc", "4"),)),
    ],
)
def test_expected_forms(tmp_path: Path, expected: object, cases: tuple[Expected, ...]) -> None:
    """``expected`` may be missing, a string, an object, or a list of either."""
    [case] = load([written(tmp_path, {"id": "a", "text": "?", "expected": expected})])
    assert case.expected == cases


def test_foreign_lines(tmp_path: Path) -> None:
    """A folder stands for its ``queries.jsonl``; ``_id``, ``answer`` and unknown fields are tolerated, ids optional."""
    written(tmp_path, {"_id": 7, "text": "What?", "answer": "x", "gold_doc": "d"}, "", {"text": "Who?"})
    assert load([tmp_path]) == (Case("7", "What?", answers=("x",)), Case("queries.jsonl:3", "Who?"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "queries.jsonl:2: line"),
        ('{"id": "b"}', "queries.jsonl:2: text"),
        ('{"id": "b", "text": "?", "as_of": "hier"}', "queries.jsonl:2: as_of"),
        ('{"id": "a", "text": "?"}', "queries.jsonl:2: the id `a` was used before"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, words: str) -> None:
    """A wrong line is named by file, line and field."""
    path = written(tmp_path, {"id": "a", "text": "?"}, line)
    with pytest.raises(BadRequest, match=words):
        load([path])


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is the caller's mistake."""
    with pytest.raises(BadRequest, match="cannot read the questions"):
        load([tmp_path / "none.jsonl"])
