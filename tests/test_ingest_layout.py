"""The geometry of pages, on hand-made words: lines, columns, tables and paragraphs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.outline import opens_block
from ingest.parsers.layout import (
    Box,
    Line,
    Rules,
    Word,
    aligned_tables,
    grids,
    join,
    lines,
    opens,
    ordered,
    paragraphs,
    ruled_tables,
    usual_pitch,
)


def words(text: str, x: float, y: float, size: float = 10.0) -> list[Word]:
    """Words of five points a character on one base line."""
    made = []
    for word in text.split():
        made.append(Word(word, Box(x, y, x + 5 * len(word), y + size), size))
        x += 5 * len(word) + 3
    return made


def line(text: str, x: float, y: float, size: float = 10.0) -> Line:
    (made,) = lines(words(text, x, y, size))
    return made


def test_words_become_lines() -> None:
    """Words side by side are a line; a wide gap parts cells; a change of font inside a word does not."""
    made = lines([*words("un deux", 0, 0), *words("trois", 200, 0), *words("quatre", 0, 14)])
    assert [part.text for part in made] == ["un deux", "trois", "quatre"]
    one, two = words("ab", 0, 0)[0], words("cd", 10, 0)[0]
    assert lines([one, replace(two, spaced=False)])[0].text == "abcd"
    assert lines([one, two])[0].text == "ab cd"


def test_lines_written_apart_are_joined() -> None:
    """A number and its title that the file writes at different times are one line."""
    made = lines([*words("Article", 0, 0), *words("pied de page", 0, 700), *words("4", 38, 0)])
    assert [part.text for part in made] == ["Article 4", "pied de page"]


def test_three_columns() -> None:
    """Three columns below a spanning title are read one after the other."""
    page = [
        line("un titre qui court au-dessus de toutes les colonnes de la page du bulletin officiel entier ici", 0, 0)
    ]
    for row in range(8):
        for column, name in enumerate("abc"):
            page.append(line(f"{name}{row} de la prose suivie ici", 200 * column, 30 + 12 * row))
    text = [part.text[:2] for column in ordered(page) for part in column]
    assert text == ["un", *(f"{name}{row}" for name in "abc" for row in range(8))]


def test_cells_are_no_columns() -> None:
    """Rows of short cells are read row by row."""
    page = [line(f"{name}{row}", 150 * column, 14 * row) for row in range(8) for column, name in enumerate("abc")]
    (column,) = ordered(page)
    assert [part.text for part in column[:4]] == ["a0", "b0", "c0", "a1"]


def test_aligned_cells_are_a_table() -> None:
    """Three rows or more with shared columns are a table, missing cells stay empty; two rows are not."""
    cells = [("a", "b", "c"), ("1", "2", "3"), ("4", "", "6")]
    page = [
        line(text, 100 * column, 14 * row)
        for row, texts in enumerate(cells)
        for column, text in enumerate(texts)
        if text
    ]
    (made,) = aligned_tables(page)
    assert made.rows == (("a", "b", "c"), ("1", "2", "3"), ("4", "", "6"))
    assert not any(part.rows for part in aligned_tables(page[:6]))


def test_ruled_cells() -> None:
    """Drawn lines part cells whatever the gaps between their words; a frame alone is no table."""
    text = [
        *words("un", 5, 5),
        *words("deux", 55, 5),
        *words("trois", 5, 25),
        *words("quatre", 55, 25),
        *words("hors", 0, 90),
    ]
    rules = Rules(
        horizontal=((0, 0, 100), (20, 0, 100), (40, 0, 100)), vertical=((0, 0, 40), (50, 0, 40), (100, 0, 40))
    )
    rest, (made,) = ruled_tables(text, grids(rules))
    assert made.rows == (("un", "deux"), ("trois", "quatre"))
    assert [word.text for word in rest] == ["hors"]
    frame = Rules(horizontal=((0, 0, 100), (40, 0, 100)), vertical=((0, 0, 40), (100, 0, 40)))
    assert ruled_tables(text, grids(frame)) == (text, [])


def test_banded_rows() -> None:
    """Rows between two drawn lines are parted when every cell holds the same number of lines."""
    text = [
        word
        for row in range(4)
        for column in range(4)
        for word in words(f"{'abcd'[column]}{row}", 50 * column + 5, 12 * row + 2)
    ]
    ys, xs = (0, 50, 60), (0, 50, 100, 150, 200)
    text += [word for column in range(4) for word in words("s", 50 * column + 5, 51)]
    rules = Rules(tuple((y, 0, 200) for y in ys), tuple((x, 0, 60) for x in xs))
    _, (made,) = ruled_tables(text, grids(rules))
    assert made.rows[:2] == (("a0", "b0", "c0", "d0"), ("a1", "b1", "c1", "d1"))
    assert len(made.rows) == 5


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("la procé-", "dure suit", "la procédure suit"),
        ("et peut-", "être aussi", "et peut-être aussi"),
        ("entre Paris-", "Nord et", "entre Paris- Nord et"),
        ("l'année 2023-", "2024 est", "l'année 2023-2024 est"),
        ("rendez-vous-", "ci ou", "rendez-vous-ci ou"),
        ("un mot", "entier", "un mot entier"),
    ],
)
def test_line_ends(first: str, second: str, joined: str) -> None:
    """A word cut by the line break is joined; a compound keeps its hyphen."""
    assert join([line(first, 0, 0), line(second, 0, 12)]) == joined


def test_paragraphs_part_at_gaps_and_openings() -> None:
    """A gap, an indent, an item or a heading begins a paragraph; a full line goes on."""
    full = "une ligne qui est entièrement pleine de mots"
    column = [
        line(full, 0, 0), line("et qui continue jusqu'ici.", 0, 12),
        line(full, 0, 40), line("Article 4 — Objet", 0, 52), line(full, 0, 64), line("1° premier ;", 0, 76),
        line("2° second.", 0, 88), line(full, 15, 100),
    ]  # fmt: skip
    made = [part.text for part in paragraphs(column, pitch=1.2)]
    assert made == [
        f"{full} et qui continue jusqu'ici.", full, "Article 4 — Objet", full, "1° premier ;", "2° second.", full,
    ]  # fmt: skip


def test_usual_pitch() -> None:
    """The usual distance between lines is that within paragraphs."""
    column = [line("x", 0, y) for y in (0, 12, 24, 48, 60, 72)]
    assert usual_pitch([column]) == pytest.approx(1.2)
    assert usual_pitch([]) == pytest.approx(1.2)


@pytest.mark.parametrize(
    "word",
    "Partie Livre Titre Sous-titre Chapitre Sous-chapitre Section Sous-section Paragraphe Sous-paragraphe Part Book "
    "Title Subtitle Chapter Subchapter Subsection Article Art. Clause Annexe Annex Appendix Schedule TITRE".split(),
)
def test_headings_open_blocks(word: str) -> None:
    """The quick look at a line's first letters misses none of the words that begin headings."""
    assert opens(f"{word} 3 — Objet") == opens_block(f"{word} 3 — Objet") is True
    assert opens(f"{word} 3") == opens_block(f"{word} 3")


@pytest.mark.parametrize(
    "text",
    [
        "Première partie", "PREMIÈRE PARTIE", "Deuxième partie", "Troisième partie", "Fourth Part", "Sixth part",
        "§ 4 — Délais", "1° premier", "iii) troisième", "a) premier", "- tiret", "2.1 Objet", "xii) douze", "A) item",
        "le texte", "Le texte", "par la suite", "Or le texte", "Ces agents", "DU", "III. — Le texte", "é",
    ],
)  # fmt: skip
def test_quick_look_agrees(text: str) -> None:
    """Whether a line opens a block is the same by its first letters and by a close look."""
    assert opens(text) == opens_block(text)
