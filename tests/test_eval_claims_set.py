"""The rules that the French set of labelled sentences keeps, whoever adds to it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "ingest" / "samples" / "sources"
SPLITS = ("dev", "frozen")
PERTURBATIONS = ("number", "unit", "date", "negation", "modal", "subject", "condition", "wrong_article")
KEYS = {"id", "document", "kind", "language", "split", "supported", "sentence", "passages", "cited"}

Row = dict[str, Any]


def read(split: str) -> list[Row]:
    path = ROOT / "eval" / "golden" / f"claims_fr.{split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())


def cited_texts(row: Row) -> list[str]:
    return [row["passages"][number - 1]["text"] for number in row["cited"]]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for split in SPLITS for row in read(split)]


def test_every_row_is_whole(rows: list[Row]) -> None:
    for row in rows:
        assert set(row) == KEYS, row["id"]
        assert row["language"] == "fr"
        assert row["supported"] == (row["kind"] == "paraphrase"), row["id"]
        assert row["kind"] == "paraphrase" or row["kind"] in PERTURBATIONS, row["id"]
        assert 1 <= len(row["passages"]) <= 4, row["id"]
        assert row["cited"], row["id"]
        assert row["cited"] == sorted(set(row["cited"])), row["id"]
        assert all(1 <= number <= len(row["passages"]) for number in row["cited"]), row["id"]
        for passage in row["passages"]:
            assert set(passage) == {"title", "reference", "rank", "text"}, row["id"]
            assert all(value.strip() for value in passage.values()), row["id"]


def test_ids_and_sentences_are_unique(rows: list[Row]) -> None:
    assert max(Counter(row["id"] for row in rows).values()) == 1
    assert max(Counter(" ".join(words(row["sentence"])) for row in rows).values()) == 1
    for row in rows:
        assert row["id"].startswith(f"cf-{row['split']}-")


def test_the_set_is_large_and_balanced(rows: list[Row]) -> None:
    true = Counter(row["split"] for row in rows if row["supported"])
    assert sum(true.values()) >= 230
    assert all(true[split] >= 100 for split in SPLITS)
    assert sum(not row["supported"] for row in rows) >= 290
    for split in SPLITS:
        kinds = Counter(row["kind"] for row in rows if row["split"] == split)
        assert all(kinds[kind] >= 40 for kind in PERTURBATIONS), (split, kinds)


def test_no_document_is_on_both_sides(rows: list[Row]) -> None:
    seen: dict[str, set[str]] = {split: set() for split in SPLITS}
    titles: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in rows:
        seen[row["split"]].add(row["document"])
        titles[row["split"]].update(passage["title"] for passage in row["passages"])
    assert not seen["dev"] & seen["frozen"]
    assert not titles["dev"] & titles["frozen"], "passages, too, stay on their side"
    corpora = {path.stem: path.parent.name for path in SOURCES.glob("*/*.md")}
    for split in SPLITS:
        assert {corpora[document] for document in seen[split]} == {"rh", "sante", "finances", "infrastructures"}


def test_passages_are_the_words_of_the_samples(rows: list[Row]) -> None:
    lines = {line for path in SOURCES.glob("*/*.md") for line in path.read_text(encoding="utf-8").splitlines()}
    for row in rows:
        for passage in row["passages"]:
            assert all(line in lines for line in passage["text"].splitlines()), row["id"]


def test_sentences_are_not_copied_from_their_passages(rows: list[Row]) -> None:
    for row in rows:
        sentence = words(row["sentence"])
        assert "[" not in row["sentence"], row["id"]
        for text in (passage["text"] for passage in row["passages"]):
            assert f" {' '.join(sentence)} " not in f" {' '.join(words(text))} ", row["id"]


def test_paraphrases_are_free(rows: list[Row]) -> None:
    """Most pairs of neighbouring words of a true sentence are not neighbours in what it cites."""
    shares = []
    for row in rows:
        if row["supported"]:
            source = {pair for text in cited_texts(row) for pair in pairwise(words(text))}
            pairs = list(pairwise(words(row["sentence"])))
            shares.append(sum(pair in source for pair in pairs) / len(pairs))
    assert sum(shares) / len(shares) <= 0.27
    assert max(shares) <= 0.65
