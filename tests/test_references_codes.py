"""Every article of real codes, asked for in ten spellings: the version in force stands first, or all homonyms do.

The corpus is staged as the product would: split, with the validity of each wording, superseded ones beside those in
force. One article in :data:`STEP` is asked for; ``REFERENCES=1`` asks for all of them, which takes half an hour.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ingest.chunk import split_text
from rag import lexical, references
from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.retrieval import Retriever
from rag.types import Chunk, Hit, Point, Scope, Validity

STEP = int(os.environ.get("REFERENCES", "64"))
"""Articles between two that are asked for."""
RICH = max(1, STEP // 12)
"""Articles with several wordings between two that are asked for, with all of them."""
LIMIT = 40
"""Hits that are read: more than the texts that share a number."""
STATE = dt.date(2026, 6, 1)
"""The day after which nothing is known of the set."""
CRPA = "Code des relations entre le public et l'administration"
SHORT = {
    "Code de justice militaire": ("C. just. mil.", "CJM"),
    "Code de la Légion d'honneur, de la Médaille militaire et de l'ordre national du Mérite": (
        "Code de la Légion d'honneur",
        "code Légion d'honneur",
    ),
    "Code de la mutualité": ("C. mut.", "code mutualité"),
    "Code de la recherche": ("C. rech.", "code recherche"),
    "Code des pensions civiles et militaires de retraite": ("CPCMR", "code des pensions civiles et militaires"),
    "Code des pensions de retraite des marins français": ("code des pensions des marins", "CPRM"),
    CRPA: ("CRPA", "C.R.P.A."),
    "Code du service national": ("C. serv. nat.", "code service national"),
    "Code général des impôts, annexe I": ("CGI ann. I", "annexe 1 du CGI"),
    "Code général des impôts, annexe II": ("CGI ann. II", "annexe 2 du CGI"),
    "Code général des impôts, annexe IV": ("CGI ann. IV", "annexe 4 au CGI"),
}
"""Two usual names of each code of the set."""


@dataclass(frozen=True, slots=True)
class Article:
    """One wording of an article; ``family`` is the same for all its wordings."""

    id: str
    code: str
    number: str
    start: dt.date | None
    end: dt.date | None
    chunks: tuple[Chunk, ...] = field(repr=False, compare=False)

    @property
    def family(self) -> tuple[str, str]:
        return self.code, self.number


def _articles(folder: Path) -> Iterator[Article]:
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            start, end = (row[name] and dt.date.fromisoformat(row[name]) for name in ("valid_from", "valid_to"))
            validity = Validity(start, None if end is None or end.year >= 2999 else end)
            chunks = split_text(
                row["id"], row["title"], row["text"], corpus="codes", section=row["section"], article=row["article"]
            )
            kept = tuple(replace(chunk, validity=validity) for chunk in chunks)
            yield Article(row["id"], row["code"], row["article"], start, validity.end, kept)


def spellings(code: str, number: str) -> Iterator[tuple[str, str]]:
    """Ten ways to ask for an article with its code, by name."""
    short, other = SHORT[code]
    spaced = re.sub(r"^(LO|[LRDA])(\*?)(?=\d)", r"\1\2. ", number).replace("*. ", "* ")
    tight = number.replace(" ", "\u00a0")
    plain = _bare(f"article {number} {_of(code)}")
    yield "in full", f"article {spaced} {_of(code)}"
    yield "without stops or small words", f"art. {number} {code}"
    yield "abbreviated", f"{number if number[0] in 'LRDA' else 'art. ' + number} {short}"
    yield "small letters, no accents", plain
    yield "in a sentence", f"Que dit l'article {spaced} du {other} ?".replace("du annexe", "de l'annexe")
    yield "no-break spaces and hyphens", f"Article\u00a0{tight.replace('-', chr(0x2011))}, {code}"
    yield "code first", f"{code}, article {spaced}"
    yield "narrow spaces, figure dashes", f"{short} art.\u202f{number.replace('-', chr(0x2012))}"
    yield "abbreviated, small letters", f"l'art {number} {_of(short)}".lower()
    yield "code apart", f"Dans le {other}, que prévoit exactement l'article {number} ?".replace("le annexe", "l'annexe")


def _of(code: str) -> str:
    if code.startswith("annexe"):
        return f"de l'{code}"
    return (
        re.sub(r"^(code|CGI)", r"du \1", code, flags=re.IGNORECASE)
        if code[:3] in {"Cod", "cod", "CGI"}
        else f"du {code}"
    )


def _bare(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@dataclass(slots=True)
class World:
    """The set in a real store, and what finds in it."""

    articles: list[Article]
    retriever: Retriever

    def hits(self, question: str, day: dt.date) -> list[Hit]:
        return self.retriever.search(question, Scope(frozenset(), 0, {"codes": (1,)}, day), LIMIT)

    def first(self, question: str, day: dt.date) -> list[Chunk]:
        return [hit.chunk for hit in self.hits(question, day)]


@pytest.fixture(scope="module")
def world(shared_data: Path) -> Iterator[World]:
    articles = list(_articles(shared_data / "fr-codes"))
    embedder = HashEmbedder(32)
    with tempfile.TemporaryDirectory() as home:
        store = EdgeStore.open(Path(home) / "index", embedder.fingerprint, embedder.dimension)
        try:
            points = [
                Point(chunk, embedder.embed_query(chunk.text), lexical.chunk_vector(chunk))
                for article in articles
                for chunk in article.chunks
            ]
            store.stage("codes", 1, points, ())
            yield World(articles, Retriever(embedder, store))
        finally:
            store.close()


def _asked(world: World) -> list[tuple[Article, dt.date]]:
    """The articles that are asked for, each on a day of its own; every article with several wordings among them.

    The day is one on which no later wording of the article is in force yet.
    """
    families: defaultdict[tuple[str, str], list[Article]] = defaultdict(list)
    for one in world.articles:
        if any(map(str.isdigit, one.number[:3])):
            families[one.family].append(one)
    chosen = []
    for n, wordings in enumerate(families.values()):
        if n % STEP == 0 or (len(wordings) > 1 and n % RICH == 0):
            chosen += [(one, day) for one in wordings if (day := _day_of(one, wordings)) is not None]
    return chosen


def _day_of(one: Article, wordings: list[Article]) -> dt.date | None:
    """The last day on which a wording is the newest in force, or that of the set; ``None`` where there is none."""
    later = [
        other.start
        for other in wordings
        if other.start and other is not one and other.start > (one.start or dt.date.min)
    ]
    last = min([STATE, *(end - dt.timedelta(days=1) for end in (one.end, *later) if end is not None)])
    return last if one.start is None or one.start <= last else None


def _since(one: Article) -> dt.date:
    return one.start or dt.date.min


def _holders(world: World) -> Mapping[str, list[Article]]:
    by_key: defaultdict[str, list[Article]] = defaultdict(list)
    for one in world.articles:
        for key in one.chunks[0].own_references if one.chunks else ():
            by_key[key].append(one)
    return by_key


@pytest.mark.slow
def test_the_version_in_force_is_first_in_ten_spellings(world: World) -> None:
    """With its code named: in at least 0.99 of all questions, and in none of the spellings much less."""
    asked = _asked(world)
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for article, day in asked:
        for name, question in spellings(article.code, article.number):
            found = world.first(question, day)
            if not found or found[0].document != article.id:
                wrong[name].append(f"{day} {question}: {found[0].title if found else None}")
    misses = sum(map(len, wrong.values()))
    print(f"{len(asked)} wordings, {10 * len(asked)} questions, {misses} wrong", dict(wrong))
    assert len(asked) > 60
    assert misses <= 0.01 * 10 * len(asked)
    assert max(map(len, wrong.values()), default=0) <= 0.02 * len(asked)


@pytest.mark.slow
def test_without_its_code_all_homonyms_are_first(world: World) -> None:
    """Every text that has the number on that day, before anything else; and the reader is asked which one is meant."""
    holders = _holders(world)
    numbers = sorted({one.number for one in world.articles if any(map(str.isdigit, one.number[:3]))})
    wrong: list[str] = []
    shared = 0
    for number in numbers[:: max(1, STEP // 4)]:
        # Of each text the newest wording, as the dates of a few overlap.
        newest: dict[str, Article] = {}
        for one in holders[references.article_keys(number, "")[0]]:
            if one.chunks[0].validity.covers(STATE) and (
                one.code not in newest or _since(newest[one.code]) < _since(one)
            ):
                newest[one.code] = one
        expected = {one.id for one in newest.values()}
        question = f"que dit l'article {number} ?"
        hits = world.hits(question, STATE)
        texts = [references.text_title(hit.chunk) for hit in hits if hit.exact]
        lead = {references.text_title(hit.chunk) for hit in hits[: len(texts)]}
        told = {hit.chunk.document for hit in references.homonyms(question, hits)}
        shared += len(expected) > 1
        if lead != {references.text_title(one.chunks[0]) for one in newest.values()} or told != (
            expected if len(expected) > 1 else set()
        ):
            wrong.append(f"{number}: {len(expected)} expected, {len(lead)} lead, {len(told)} told")
    asked = len(numbers[:: max(1, STEP // 4)])
    print(f"{asked} numbers, {shared} of several texts, {len(wrong)} wrong", wrong)
    assert shared > 10
    assert len(wrong) <= 0.01 * asked
