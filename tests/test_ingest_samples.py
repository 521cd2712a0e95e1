"""The sample regulations are what the issue asks for, and their rendered files are what their sources say."""

from __future__ import annotations

import io
import itertools
import re
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pypdfium2
import pytest

from ingest.samples import render
from ingest.samples.source import Source, parts, read, sources
from rag.types import Block, BlockKind, NormRank

SAMPLES = {source.id: source for source in sources()}
FORMATS = {"pdf", "docx", "odt", "html", "md", "txt", "xlsx", "ods"}
CONTRADICTIONS = [
    # higher text, its article, its value; lower text, its article, its value
    (("rh-conges-2024", "15", "30 avril"), ("rh-note-compteurs-conges", "3.1", "30 juin")),
    (
        ("fin-deplacements-2025", "14", "45 jours calendaires"),
        ("fin-note-daf-frais-2025", "2.1", "30 jours calendaires"),
    ),
    (("infra-sobriete-energetique-2023", "5", "19 °C"), ("infra-note-confort-thermique-2024", "2.1", "20 °C")),
    (("sante-maladie-2022", "5", "48 heures"), ("sante-circulaire-arrets-2023", "2.1", "72 heures")),
]


@pytest.fixture(scope="session")
def rendered() -> dict[str, bytes]:
    return dict(render.rendered())


def article(document: str, number: str) -> str:
    [part] = [part for part in parts(SAMPLES[document]) if part.number == number]
    return part.text


def grams(source: Source) -> set[tuple[str, ...]]:
    text = " ".join(f"{block.text} {' '.join(itertools.chain(*block.rows))}" for block in source.blocks)
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


# --- what there is -------------------------------------------------------------------------------------


def test_languages() -> None:
    """At least thirty documents are French and six English."""
    languages = Counter(source.language for source in SAMPLES.values())
    assert languages["fr"] >= 30
    assert languages["en"] >= 6


def test_formats() -> None:
    """Every format that Vauban reads is there, and every corpus has at least six of them."""
    assert {source.format for source in SAMPLES.values()} == FORMATS
    for corpus in render.CORPORA:
        assert len({source.format for source in SAMPLES.values() if source.corpus == corpus}) >= 6


def test_versions() -> None:
    """At least four texts have two versions: the newer begins on the day the older ends, in the same corpus."""
    newer = [source for source in SAMPLES.values() if source.supersedes]
    assert len(newer) >= 4
    for source in newer:
        older = SAMPLES[source.supersedes or ""]
        assert older.valid_to == source.valid_from
        assert (older.corpus, older.norm_rank) == (source.corpus, source.norm_rank)


@pytest.mark.parametrize(("higher", "lower"), CONTRADICTIONS, ids=lambda side: side[0])
def test_contradictions(higher: tuple[str, str, str], lower: tuple[str, str, str]) -> None:
    """Texts of different ranks that are both in force give different values for the same thing."""
    for document, number, value in (higher, lower):
        assert value in article(document, number)
    above, below = SAMPLES[higher[0]], SAMPLES[lower[0]]
    assert above.norm_rank.height > below.norm_rank.height
    assert above.valid_to is None
    assert below.valid_to is None
    assert lower[2] not in article(*higher[:2])
    assert higher[2] not in article(*lower[:2])


def test_restricted_documents() -> None:
    """Each corpus has one document that ordinary staff may not see, each for a group of its own."""
    groups = {source.corpus: source.groups for source in SAMPLES.values() if source.groups}
    assert groups == {
        "rh": ("encadrement",),
        "sante": ("medecine",),
        "finances": ("controle",),
        "infrastructures": ("securite",),
    }


def test_no_near_clones() -> None:
    """Outside version pairs no two documents share more than a fifth of the 5-grams of the shorter one."""
    pairs = {frozenset((source.id, source.supersedes)) for source in SAMPLES.values()}
    counted = {name: grams(source) for name, source in SAMPLES.items()}
    for left, right in itertools.combinations(SAMPLES, 2):
        if {left, right} not in pairs:
            shared = len(counted[left] & counted[right]) / min(len(counted[left]), len(counted[right]))
            assert shared <= 0.2, f"{left} and {right} share {shared:.2f}"


def test_titles_and_names() -> None:
    """A source is named by its id, lies in its corpus, and its only first-level heading is its title."""
    for path in sorted((render.SAMPLES / "sources").glob("*/*.md")):
        source = read(path)
        assert (path.stem, path.parent.name) == (source.id, source.corpus)
        assert [block.text for block in source.blocks if block.level == 1] == [source.title]


def test_article_numbers_are_unique() -> None:
    """No two headings of one document have the same number: a reference names one place."""
    for source in SAMPLES.values():
        counts = Counter(part.number for part in parts(source) if part.number)
        assert max(counts.values(), default=0) <= 1, source.id


# --- the rendered files --------------------------------------------------------------------------------


def test_shipped_files_are_the_rendered_ones(rendered: dict[str, bytes]) -> None:
    """The corpus folders hold exactly what rendering gives; run ``python -m ingest.samples.render`` if not."""
    shipped = {
        path.relative_to(render.SAMPLES).as_posix(): path
        for corpus in render.CORPORA
        for path in (render.SAMPLES / corpus).iterdir()
    }
    assert shipped.keys() == rendered.keys()
    for name, path in shipped.items():
        content = path.read_bytes()
        if content != rendered[name]:  # another zlib may squeeze an archive's members differently
            assert zipfile.is_zipfile(path), name
            assert members(content) == members(rendered[name]), name


def test_rendering_again_changes_nothing(rendered: dict[str, bytes]) -> None:
    """The same source gives the same bytes, in every format."""
    for form in sorted(FORMATS):
        source = next(source for source in SAMPLES.values() if source.format == form)
        assert render.RENDERERS[form](source) == rendered[f"{source.corpus}/{source.name}"], source.name


def test_sidecars(rendered: dict[str, bytes]) -> None:
    """A sidecar is named after the whole file name and says what the front matter says."""
    for source in SAMPLES.values():
        meta = tomllib.loads(rendered[f"{source.corpus}/{source.name}.meta.toml"].decode())
        assert (meta["id"], meta["title"], meta["language"]) == (source.id, source.title, source.language)
        assert NormRank(meta["norm_rank"]) is source.norm_rank
        assert (meta["valid_from"], meta.get("valid_to")) == (source.valid_from, source.valid_to)
        assert tuple(meta.get("groups", ())) == source.groups


def test_corpora_are_for_staff(rendered: dict[str, bytes]) -> None:
    """A sample corpus is for the group ``agents``, without clearance, and names whom to ask."""
    for corpus in render.CORPORA:
        meta = tomllib.loads(rendered[f"{corpus}/corpus.toml"].decode())
        assert (meta["name"], meta["groups"], meta["clearance"]) == (corpus, ["agents"], 0)
        assert "@atf.example, poste " in meta["contact"]


def test_length() -> None:
    """Texts have between 2 and 15 pages' worth of words, spreadsheets three tables of eight rows or more."""
    for source in SAMPLES.values():
        if source.format in {"xlsx", "ods"}:
            tables = [block for block in source.blocks if block.kind is BlockKind.TABLE]
            assert sum(len(table.rows) > 8 for table in tables) >= 3, source.id
        else:
            assert 900 <= len(source.body.split()) <= 5000, source.id


@pytest.mark.parametrize("source", [s for s in SAMPLES.values() if s.format == "pdf"], ids=lambda s: s.id)
def test_pdf(source: Source, rendered: dict[str, bytes]) -> None:
    """A PDF has 2 to 15 pages, embeds its font, numbers its pages, and every word can be read from it in order."""
    content = rendered[f"{source.corpus}/{source.name}"]
    paper = pypdfium2.PdfDocument(content)
    pages = [page.get_textpage().get_text_range() for page in paper]
    assert 2 <= len(pages) <= 15
    assert all(f"Page {place + 1} / {len(pages)}" in text for place, text in enumerate(pages))
    assert content.count(b"/FontFile2") >= 2
    text = re.sub(r"\s+", " ", " ".join(re.sub(r"^.*\n.*\n", "", text, count=1) for text in pages))
    for block in source.blocks:
        if block.kind is BlockKind.HEADING:
            assert re.sub(r"\s+", " ", render.typeset(block.text, source.language)) in text


# --- the pieces of rendering ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("l'agent : 1 607 heures", "fr", "l’agent\xa0: 1\xa0607 heures"),
        ("20,50 € ; 12 %", "fr", "20,50\xa0€\xa0; 12\xa0%"),
        ("décision n° 2020-44, « vert »", "fr", "décision n°\xa02020-44, «\xa0vert\xa0»"),
        ('the agency\'s "carte" ; EUR 1 200', "en", "the agency’s “carte” ; EUR 1 200"),
    ],
)
def test_typeset(text: str, language: str, expected: str) -> None:
    """French gets no-break spaces before its high punctuation and inside numbers; English only curly quotes."""
    assert render.typeset(text, language) == expected


def test_plain_text_has_no_marks(rendered: dict[str, bytes]) -> None:
    """A text file has neither heading marks nor table bars."""
    for name in [name for name in rendered if name.endswith(".txt")]:
        assert not re.search(r"^#|\|", rendered[name].decode(), re.MULTILINE)


def test_spreadsheets_hold_numbers(rendered: dict[str, bytes]) -> None:
    """« 4 870 » becomes the number 4870, shown with a thousands separator."""
    sheet = members(rendered["finances/fin-calendrier-budgetaire-2026.xlsx"])["xl/worksheets/sheet4.xml"]
    assert b"<v>4870</v>" in sheet
    content = members(rendered["infrastructures/infra-inventaire-ouvrages-2025.ods"])["content.xml"].decode()
    assert 'office:date-value="2024-05-14' in content
    assert 'office:value="1370000"' in content


def test_reading_a_source(tmp_path: Path) -> None:
    """Headings, paragraphs, items and tables are told apart; parts know what is above them."""
    path = tmp_path / "x.md"
    path.write_text(
        '+++\nid = "x"\ntitle = "T"\nformat = "md"\ncorpus = "rh"\nlanguage = "fr"\nnorm_rank = "order"\n'
        "valid_from = 2024-01-01\n+++\n# T\n\n## Titre Ier — A\n\n### Article 1er — B\n\nDeux\nlignes\n"
        "- un ;\n- deux.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n## Annexe 1 — C\n\nFin.\n",
        encoding="utf-8",
    )
    source = read(path)
    assert source.blocks[3:7] == (
        Block(BlockKind.PARAGRAPH, "Deux lignes"),
        Block(BlockKind.ITEM, "- un ;"),
        Block(BlockKind.ITEM, "- deux."),
        Block(BlockKind.TABLE, "", rows=(("a", "b"), ("1", "2"))),
    )
    assert [(part.number, part.path) for part in parts(source)] == [
        (None, ()),
        ("1er", ("Titre Ier — A",)),
        ("Annexe 1", ()),
    ]


def test_unknown_front_matter_is_refused(tmp_path: Path) -> None:
    """A misspelt key stops the rendering and is named."""
    path = tmp_path / "x.md"
    front = (render.SAMPLES / "sources/rh/rh-conges-2024.md").read_text(encoding="utf-8")
    path.write_text(front.replace("supersedes =", "superceeds ="), encoding="utf-8")
    with pytest.raises(ValueError, match="superceeds"):
        read(path)
