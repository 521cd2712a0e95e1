"""The articles of eleven French codes are found again, with their paths, in files that carry no level markup.

The truth is the ``article`` and ``section`` that each line of the codes' corpus states. Each code is exported in each
format and prints what a printed code prints, in the order of the corpus, every line a plain paragraph:

- the headings of the divisions that an article enters, outermost first, each once, as the corpus writes them
  (``Chapitre Ier : Fonctionnaires civils.``, ``I : Revenus fonciers``, ``Dispositions préliminaires``);
- the article's own line (``Article L111-1``; of an annex its own words, ``Annexe II``), and its text as one paragraph.

The corpus took the headings that serve as its questions out of the paths. Where one of them is gone, print without it
would be wrong for any reader: the *Section 1* of a chapter without heading would stand in the chapter before. What a
printed code shows there cannot be known, so the division above is restated (its heading printed once more), and where
the outermost heading is gone a new file begins. The same is done where an article stands directly under a division
after a lower one was open, for nothing in print tells that this one has ended. Both are counted, and the figure of
the bare print, without restating and in one file per code, is measured beside; so is a copy that prints the whole
path at each change, as web pages of codes do.

The text file parts the lines by blank ones, the web page holds ``<p>`` elements only, and the Word file paragraphs of
the style Normal only. An article is right when a section of kind article or annex has its number, its path with every
heading word for word, and its text, and nothing but its text.
"""

from __future__ import annotations

import collections
import gzip
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import docx
import pytest

from ingest.outline import outline
from ingest.parsers import Limits, parse
from ingest.source import Source
from rag.types import BlockKind, Section, SectionKind


@dataclass(frozen=True)
class Article:
    """An article as its corpus line states it: what must be found."""

    number: str
    path: tuple[str, ...]
    text: str

    @property
    def line(self) -> str:
        """Its own heading line in print."""
        return f"Article {self.number}" if any(map(str.isdigit, self.number.split()[0])) else self.number


def one_line(text: str) -> str:
    return " ".join(text.split())


def codes(folder: Path) -> dict[str, list[Article]]:
    """The articles of each code, in the order of the corpus."""
    found: dict[str, list[Article]] = collections.defaultdict(list)
    with gzip.open(folder / "fr-codes" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            path = tuple(one_line(part) for part in row["section"].split(" > ") if part.strip())
            found[row["code"]].append(Article(one_line(row["article"]), path, one_line(row["text"])))
    return found


ORDER = ["partie", "livre", "titre", "chapitre", "section", "sous-section", "paragraphe", "sous-paragraphe"]


def kind(heading: str) -> str:
    """What a heading counts by in print: its word (``titre``), or the style of its number (``I``, ``A``, ``1``)."""
    words = heading.casefold().split()
    if words[1:2] == ["partie"]:
        return "partie"
    found = re.fullmatch(r"(?P<I>0?[ivxl]+)|(?P<A>[a-z])|(?P<degree>\d+°)|(?P<figure>\d+)", words[0])
    return found.lastgroup or "" if found else words[0].rstrip("s")


def ends(old: str, new: str) -> bool:
    """Whether the heading ``new`` tells the reader of a printed code that the division ``old`` has ended."""
    one, other = kind(old), kind(new)
    higher = one in ORDER and other in ORDER and ORDER.index(other) < ORDER.index(one)
    return one == other or other == "annexe" or higher


@dataclass
class Print:
    """A code in print: its files, and how many headings had to be restated."""

    files: list[list[str]]
    restated: int = 0


def printed(code: str, articles: Sequence[Article], *, bare: bool = False) -> Print:
    """The lines of a code; ``bare`` restates nothing."""
    made = Print([[code]])
    for before, article in itertools.pairwise([Article("", (), ""), *articles]):
        old, new = before.path, article.path
        depth = sum(itertools.takewhile(bool, (one == other for one, other in zip(old, new, strict=False))))
        if depth < len(old) and not bare and (depth == len(new) or not ends(old[depth], new[depth])):
            if depth == 0:
                made.files.append([code])
            else:
                made.restated += 1
            depth = max(0, depth - 1)
        made.files[-1] += [*new[depth:], article.line, article.text]
    return made


def as_text(lines: Sequence[str]) -> bytes:
    return "\n\n".join(lines).encode()


def as_html(lines: Sequence[str]) -> bytes:
    body = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<!DOCTYPE html><html lang="fr"><head><meta charset="utf-8"></head><body>{body}</body></html>'.encode()


def as_docx(lines: Sequence[str]) -> bytes:
    document = docx.Document()
    for line in lines:
        document.add_paragraph(line, style="Normal")
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


FORMATS: dict[str, Callable[[Sequence[str]], bytes]] = {"txt": as_text, "html": as_html, "docx": as_docx}


def seen(section: Section) -> Article:
    """What the outline says of an article."""
    number = section.number if section.kind is SectionKind.ARTICLE and section.number else section.heading
    return Article(number, section.path, " ".join(block.text for block in section.blocks))


def read(file: Path, lines: Sequence[str]) -> list[Article]:
    """The articles that are found when ``lines`` are exported to ``file``."""
    file.write_bytes(FORMATS[file.suffix.removeprefix(".")](lines))
    blocks = parse(Source(file), Limits()).blocks
    assert all(block.level is None and block.kind is not BlockKind.HEADING for block in blocks)
    return [seen(one) for one in outline(blocks) if one.kind in {SectionKind.ARTICLE, SectionKind.ANNEX}]


@pytest.mark.slow
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_articles_of_real_codes(
    shared_data: Path, tmp_path: Path, form: str, record_property: Callable[[str, object], None]
) -> None:
    """At least 0.99 of the articles have the right number, path and text, and hardly anything else is taken for one."""
    expected = right = numbered = found = files = restated = 0
    misses: list[str] = []
    for code, articles in codes(shared_data).items():
        made = printed(code, articles)
        got = [one for lines in made.files for one in read(tmp_path / f"code.{form}", lines)]
        files += len(made.files)
        restated += made.restated
        expected += len(articles)
        found += len(got)
        numbers = collections.Counter(one.number for one in articles) & collections.Counter(one.number for one in got)
        numbered += numbers.total()
        left = collections.Counter(got)
        for article in articles:
            if left[article]:
                left[article] -= 1
                right += 1
            else:
                misses.append(f"{code}: {article.number} under {' > '.join(article.path)}")
    for name, figure in {"articles": expected, "right": right, "numbers": numbered, "found": found}.items():
        record_property(name, figure)
    report = (
        f"{form}: {right} of {expected} right, {numbered} numbers right, {found} found; "
        f"{files} files, {restated} headings restated\n" + "\n".join(misses)
    )
    print(report)
    assert numbered >= 0.99 * expected, report
    assert right >= 0.99 * expected, report
    assert found <= 1.005 * expected, report


def share(folder: Path, file: Path, lines_of: Callable[[str, Sequence[Article]], Sequence[str]]) -> tuple[float, float]:
    """The shares of the articles with the right number, and with the right number and path, of one file per code."""
    expected = right = numbered = 0
    for code, articles in codes(folder).items():
        got = collections.Counter((one.number, one.path) for one in read(file, lines_of(code, articles)))
        wanted = collections.Counter((one.number, one.path) for one in articles)
        expected += len(articles)
        right += (got & wanted).total()
        numbers = collections.Counter(number for number, _ in got.elements())
        numbered += (numbers & collections.Counter(one.number for one in articles)).total()
    print(f"{right} of {expected} right, {numbered} numbers right")
    return numbered / expected, right / expected


def with_whole_paths(code: str, articles: Sequence[Article]) -> list[str]:
    """A copy that prints all headings above an article whenever one of them changes."""
    lines = [code]
    for before, article in itertools.pairwise([Article("", (), ""), *articles]):
        lines += [*(article.path if article.path != before.path else ()), article.line, article.text]
    return lines


@pytest.mark.slow
def test_copies_with_whole_paths(shared_data: Path, tmp_path: Path) -> None:
    """Where a copy prints the whole path again at each change nothing must be restated: one file per code is enough."""
    numbered, right = share(shared_data, tmp_path / "code.txt", with_whole_paths)
    assert min(numbered, right) >= 0.99


@pytest.mark.slow
def test_the_bare_print(shared_data: Path, tmp_path: Path) -> None:
    """Where nothing tells that a division has ended the numbers are right all the same, and two paths of three."""
    numbered, right = share(
        shared_data, tmp_path / "code.txt", lambda code, articles: printed(code, articles, bare=True).files[0]
    )
    assert numbered >= 0.99
    assert right >= 0.66
