"""The golden questions hold what the issue asks for, and each answer stands in the article that is expected."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eval.answers import holds_value, place
from eval.cases import Case, golden
from ingest.outline import outline
from ingest.parsers import Limits, parse
from ingest.samples.render import SAMPLES as SHIPPED
from ingest.samples.source import parts, sources
from ingest.source import Source
from rag.types import Section

GOLDEN = Path(__file__).resolve().parent.parent / "eval" / "golden"
FROZEN = "d4c266310e0287006cf96abb57ccc7f58879513de0e891f75aa738d008f70aeb"
"""SHA-256 of the frozen rows. They were written before the engine and nothing is tuned on them, so a change of
one of them is a change of the measure: say why in the commit that changes this line."""

ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for corpus in ("finances", "infrastructures", "rh", "sante")
    for line in (GOLDEN / f"{corpus}.jsonl").read_text("utf-8").splitlines()
]
ANSWERABLE = [row for row in ROWS if not row["unanswerable"]]
SAMPLES = {source.id: source for source in sources()}
KINDS = {"value", "rule", "condition", "table", "as_of", "procedure", "reference"}


def folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).casefold()


def test_frozen_rows_are_unchanged() -> None:
    """Nobody edits a frozen question silently."""
    frozen = sorted((row for row in ROWS if row["split"] == "frozen"), key=lambda row: row["id"])
    text = "\n".join(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in frozen)
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN


def test_counts() -> None:
    """At least 100 questions can be answered and 30 cannot, half of those being near misses."""
    kinds = Counter(row["kind"] for row in ROWS if row["unanswerable"])
    assert len(ANSWERABLE) >= 100
    assert set(kinds) == {"near_miss", "off_topic"}
    assert kinds.total() >= 30
    assert kinds["near_miss"] * 2 >= kinds.total()
    assert {row["kind"] for row in ANSWERABLE} == KINDS


@pytest.mark.parametrize("unanswerable", [False, True])
def test_half_is_frozen(unanswerable: bool) -> None:
    """Of both sorts of questions about half is frozen and the rest is for development."""
    splits = Counter(row["split"] for row in ROWS if row["unanswerable"] is unanswerable)
    assert set(splits) == {"frozen", "dev"}
    assert 0.45 <= splits["frozen"] / splits.total() <= 0.6


def test_ids_are_unique() -> None:
    """An id names one question, and its text is asked once."""
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({(row["text"], row.get("as_of")) for row in ROWS}) == len(ROWS)


def test_english_questions() -> None:
    """English documents are asked about in English and French ones in French."""
    assert sum(row["language"] == "en" for row in ANSWERABLE) >= 15
    for row in ANSWERABLE:
        assert {SAMPLES[place["document"]].language for place in row["expected"]} == {row["language"]}, row["id"]


@pytest.mark.parametrize("row", ANSWERABLE, ids=lambda row: row["id"])
def test_answer_stands_in_the_expected_article(row: dict[str, Any]) -> None:
    """The expected article exists once, is in force on the as-of date, and holds each short answer."""
    texts = []
    for named in row["expected"]:
        source = SAMPLES[named["document"]]
        [part] = [part for part in parts(source) if named["article"] in (part.number, part.heading)]
        texts.append(folded(part.text))
        day = row.get("as_of", "2026-11-23")
        assert str(source.valid_from) <= day
        assert source.valid_to is None or day < str(source.valid_to)
    assert row["answers"]
    for answer in row["answers"]:
        assert any(folded(answer) in text for text in texts), answer


@functools.cache
def shipped(document: str) -> tuple[Section, ...]:
    source = SAMPLES[document]
    parsed = parse(Source(SHIPPED / source.corpus / source.name), Limits())
    return tuple(outline(parsed.blocks, language=source.language))


@pytest.mark.parametrize("case", [case for case in golden() if not case.unanswerable], ids=lambda case: case.id)
def test_answer_is_read_from_the_shipped_file(case: Case) -> None:
    """Each short answer comes out of the shipped file, in the section that is expected."""
    read = ""
    for expected in case.expected:
        wanted = place(expected.article or "", case.language)
        for section in shipped(expected.document):
            names = [section.number or "", section.heading, *section.path]
            if any(place(name, case.language) == wanted for name in names if name):
                read += "\n".join([section.heading, *(block.text for block in section.blocks)])
    for answer in case.answers:
        assert holds_value(read, answer), answer


@pytest.mark.parametrize("row", [row for row in ROWS if row["unanswerable"]], ids=lambda row: row["id"])
def test_unanswerable_expects_nothing(row: dict[str, Any]) -> None:
    """A question that no document answers has neither an answer nor an article."""
    assert not row["answers"]
    assert not row["expected"]
