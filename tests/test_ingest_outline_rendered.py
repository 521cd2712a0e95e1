"""Articles and their paths are found again in rendered files, also in those that carry no level markup at all.

Every sample with articles is written as flat paragraphs of one style, rendered to PDF and Word by LibreOffice, read
by our parsers, and its outline compared with the headings of its source. The shipped files are compared too.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pytest

from eval.answers import fold
from ingest.outline import outline
from ingest.parsers import Limits, parse
from ingest.samples.render import SAMPLES, typeset
from ingest.samples.source import Source, parts, sources
from ingest.source import Source as Place
from rag.types import Section, SectionKind

SOURCES = [source for source in sources() if source.format not in {"xlsx", "ods"}]
FODT = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.text">
<office:body><office:text>{}</office:text></office:body></office:document>
"""


@dataclass(frozen=True)
class Heading:
    """An article, decimal point or annex: what must be found. ``number`` and ``path`` are folded."""

    kind: str
    number: str
    path: tuple[str, ...]


def flat(source: Source) -> str:
    """The source as an OpenDocument text in which nothing but the words tells a heading."""
    pieces = []
    for block in source.blocks:
        if block.rows:
            rows = "".join(
                "<table:table-row>"
                + "".join(
                    f"<table:table-cell><text:p>{escape(typeset(cell, source.language), quote=False)}</text:p>"
                    "</table:table-cell>"
                    for cell in row
                )
                + "</table:table-row>"
                for row in block.rows
            )
            columns = f'<table:table-column table:number-columns-repeated="{len(block.rows[0])}"/>'
            pieces.append(f"<table:table>{columns}{rows}</table:table>")
        else:
            pieces.append(f"<text:p>{escape(typeset(block.text, source.language), quote=False)}</text:p>")
    return FODT.format("\n".join(pieces))


def truth(source: Source) -> list[Heading]:
    """What the source's own headings say: the numbered ones that hold text, each with the headings above it."""
    found = []
    for part in parts(source):
        if part.number is None:
            continue
        if part.number.startswith("Annex"):
            kind, number = "annex", part.number.split()[1]
        elif part.heading.startswith(part.number):
            kind, number = "point", part.number
            below = [other for other in parts(source) if other.path == (*part.path, part.heading)]
            if any(other.number and other.number.startswith(f"{number}.") for other in below):
                continue  # a division of a circular
        else:
            kind, number = "article", part.number
        found.append(Heading(kind, fold(number), tuple(map(fold, part.path))))
    return found


def seen(sections: list[Section], source: Source) -> list[Heading]:
    """The same of an outline that was built from a file, without the document's title in the paths."""
    found = []
    for section in sections:
        if section.number is None or section.kind not in {SectionKind.ARTICLE, SectionKind.ANNEX}:
            continue
        path = tuple(fold(head) for head in section.path)
        if path[:1] == (fold(source.title),):
            path = path[1:]
        point = section.kind is SectionKind.ARTICLE and section.heading.startswith(section.number)
        kind = "annex" if section.kind is SectionKind.ANNEX else "point" if point else "article"
        found.append(Heading(kind, fold(section.number), path))
    return found


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every source as flat PDF and DOCX, made by one call of LibreOffice per format."""
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed (Debian: libreoffice-writer-nogui)")
    folder = tmp_path_factory.mktemp("flat")
    for source in SOURCES:
        (folder / f"{source.id}.fodt").write_text(flat(source), encoding="utf-8")
    for form in ("pdf", "docx"):
        subprocess.run(
            [
                office,
                "--headless",
                f"-env:UserInstallation={(folder / 'profile').as_uri()}",
                "--convert-to",
                form,
                "--outdir",
                str(folder),
                *(str(folder / f"{source.id}.fodt") for source in SOURCES),
            ],
            check=True,
            capture_output=True,
            timeout=240,
        )
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pdf", "docx"])
def test_articles_and_paths(rendered: Path, form: str, record_property: Callable[[str, object], None]) -> None:
    """At least 0.95 of the articles have the right number and path, and hardly anything else is taken for one."""
    expected = right = found = 0
    misses: list[str] = []
    for source in SOURCES:
        parsed = parse(Place(rendered / f"{source.id}.{form}"), Limits())
        wanted = truth(source)
        got = seen(outline(parsed.blocks, language=source.language), source)
        expected += len(wanted)
        found += len(got)
        right += sum(heading in got for heading in wanted)
        misses += [f"{source.id}: missed {heading}" for heading in wanted if heading not in got]
        misses += [f"{source.id}: invented {heading}" for heading in got if heading not in wanted]
    record_property("articles", expected)
    record_property("right", right)
    report = f"{right} of {expected} in {form}, {found} found\n" + "\n".join(misses)
    print(report)
    assert right >= 0.95 * expected, report
    assert right >= 0.95 * found, report


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_shipped_files(source: Source) -> None:
    """In the shipped files every article is found with its path, and nothing else is taken for one."""
    parsed = parse(Place(SAMPLES / source.corpus / source.name), Limits())
    assert seen(outline(parsed.blocks, language=source.language), source) == truth(source)


@pytest.mark.slow
def test_pages(rendered: Path) -> None:
    """Set plainly, every text fills between 2 and 15 pages."""
    for source in SOURCES:
        assert 2 <= (parse(Place(rendered / f"{source.id}.pdf"), Limits()).pages or 0) <= 15, source.id


@pytest.mark.slow
def test_nothing_is_marked(rendered: Path) -> None:
    """The Word files really hold no heading: the test would prove nothing otherwise."""
    for source in SOURCES:
        assert all(block.level is None for block in parse(Place(rendered / f"{source.id}.docx"), Limits()).blocks)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.id)
def test_truth(source: Source) -> None:
    """Every source has at least ten numbered headings to compare with."""
    assert len(truth(source)) >= 10
