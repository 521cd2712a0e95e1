"""Passages for golden rows that name an article of the sample regulations, or that hold the passage itself."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.chunk import read
from ingest.samples.source import number, sources
from rag.types import Chunk, Document, NormRank, Parsed, Passage, Validity

GOLDEN = Path(__file__).resolve().parent.parent / "eval" / "golden"
SAMPLES = {source.id: source for source in sources()}


def rows(name: str, split: str) -> list[dict[str, Any]]:
    """The rows of one half of ``eval/golden/<name>.jsonl``."""
    lines = (GOLDEN / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


@functools.cache
def chunks(document: str) -> tuple[Chunk, ...]:
    """The chunks of a sample regulation, split as ingestion does."""
    source = SAMPLES[document]
    return tuple(
        read(
            Parsed(source.blocks, "text/markdown", source.title),
            Document(
                id=source.id, corpus=source.corpus, title=source.title, language=source.language, source=source.name,
                sha256="", media_type="text/markdown", norm_rank=source.norm_rank,
                validity=Validity(source.valid_from, source.valid_to),
            ),
        )
    )  # fmt: skip


def passages(row: dict[str, Any]) -> tuple[tuple[Passage, ...], tuple[tuple[int, ...], ...]]:
    """The passages of a row, and for each of its entries the numbers of the passages that it became."""
    found: list[Passage] = []
    places: list[tuple[int, ...]] = []
    entries = row["passages"]
    for place, entry in enumerate(entries):
        own = _article(entry) if "document" in entry else (_written(entry, place, row["language"]),)
        score = 1.0 - 0.5 * place / max(1, len(entries))
        places.append(tuple(range(len(found) + 1, len(found) + 1 + len(own))))
        found += [Passage(len(found) + 1 + i, chunk, score) for i, chunk in enumerate(own)]
    return tuple(found), tuple(places)


def _article(entry: dict[str, str]) -> Sequence[Chunk]:
    wanted = entry["article"]
    language = SAMPLES[entry["document"]].language
    named = [
        chunk
        for chunk in chunks(entry["document"])
        if wanted in (number(chunk.reference, language), chunk.reference)
        or any(wanted == number(part, language) for part in chunk.path)
    ]
    assert named, entry
    return named


def _written(entry: dict[str, Any], place: int, language: str) -> Chunk:
    day = entry.get("valid_from")
    end = entry.get("valid_to")
    return Chunk(
        id=f"written-{place}", corpus="written", document=entry["title"], title=entry["title"],
        reference=entry.get("reference", ""), path=tuple(entry.get("path", ())), text=entry["text"], ordinal=place,
        language=entry.get("language", language), start=0, end=len(entry["text"]),
        norm_rank=NormRank(entry["rank"]) if entry.get("rank") else None,
        validity=Validity(
            dt.date.fromisoformat(day) if day else None, dt.date.fromisoformat(end) if end else None
        ),
    )  # fmt: skip
