"""The glossary of a corpus: what its folder may say, what is told when it is wrong, and when it takes effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import manifest, synonyms
from ingest.discover import discover
from ingest.exchange import export, import_
from ingest.pipeline import GlossaryChange, plan
from ingest.status import Standing
from rag.errors import BadRequest
from rag.types import Synonyms
from tests.corpus_world import World, world

CET = ("CET", "compte épargne-temps")
DECLARED = 'name = "rh"\ngroups = ["*"]\n'


def declare(folder: Path, glossary: str, file: str | None = None) -> None:
    (folder / "corpus.toml").write_text(f"{DECLARED}{glossary}\n", encoding="utf-8")
    if file is not None:
        (folder / "glossaire.toml").write_text(file, encoding="utf-8")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    """A published corpus of six documents, without a glossary."""
    (tmp_path / "here").mkdir()
    with world(tmp_path / "here") as found:
        found.sync()
        yield found


# --- what may be said -------------------------------------------------------------------------------------


def test_a_file_and_a_table_say_the_same(tmp_path: Path) -> None:
    """White space and the form of accents do not matter, and a phrase counts once."""
    said = 'same = [["CET", "compte  e\N{COMBINING ACUTE ACCENT}pargne-temps", "CET"]]\nnear = [["boulot", "travail"]]'
    declare(tmp_path, 'glossary = "glossaire.toml"', said)
    from_file = manifest.declared(tmp_path, "rh")
    declare(tmp_path, "[glossary]\n" + said)
    from_table = manifest.declared(tmp_path, "rh")
    assert from_file == from_table
    assert from_file is not None
    assert from_file.glossary == Synonyms((CET,), (("boulot", "travail"),))


def test_a_corpus_without_a_glossary_has_an_empty_one(tmp_path: Path) -> None:
    declare(tmp_path, "")
    found = manifest.declared(tmp_path, "rh")
    assert found is not None
    assert found.glossary == Synonyms()


@pytest.mark.parametrize(
    ("glossary", "file", "says", "dit"),
    [
        ("glossary = 3", None, "name of a file in the folder", "nom d'un fichier du dossier"),
        ('glossary = "../voisin.toml"', None, "in the folder itself", "du dossier même"),
        ('glossary = "corpus.toml"', None, "in the folder itself", "du dossier même"),
        ('glossary = "note.meta.toml"', None, "in the folder itself", "du dossier même"),
        ('glossary = "glossaire.csv"', None, "in the folder itself", "du dossier même"),
        ('glossary = "glossaire.toml"', None, "no such file beside corpus.toml", "n'existe pas à côté de corpus.toml"),
        ('glossary = "glossaire.toml"', "same = [['a'", "it is no TOML", "ce n'est pas du TOML"),
        ('glossary = "glossaire.toml"', "x" + ".x" * 200_000 + " = 1", "more than 262144 bytes", "dépasse 262144"),
        ('glossary = "glossaire.toml"', "x" + ".x" * 1_000 + " = 1", "too many dots", "too many dots"),
        ('glossary = "glossaire.toml"', "same = " + "[" * 9_000, "it is no TOML", "ce n'est pas du TOML"),
        ('glossary = "glossaire.toml"', "synonyms = []", "unknown name `synonyms`", "nom inconnu « synonyms »"),
        ("[glossary]\nsame = 'CET'", None, "list of families", "liste de familles"),
        ("[glossary]\nsame = ['CET']", None, "family 1 of `same` (CET): it must be", "famille 1 de « same » (CET)"),
        (
            "[glossary]\nnear = [['a', 'b'], ['CET', 2]]",
            None,
            "family 2 of `near` (CET)",
            "famille 2 de « near » (CET)",
        ),
        ("[glossary]\nsame = [['CET', 'CET']]", None, "2 to 40 different phrases", "de 2 à 40 expressions"),
        ("[glossary]\nsame = [['CET', '…']]", None, "a phrase has words", "une expression a des mots"),
        (f"[glossary]\nsame = [['CET', '{'x' * 121}']]", None, "at most 120", "120 caractères au plus"),
        (
            "[glossary]\nsame = [" + "['CET', 'compte'], " * 2_001 + "]",
            None,
            "2001 families and may have 2000",
            "compte 2001 familles, 2000 au plus",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, glossary: str, file: str | None, says: str, dit: str
) -> None:
    """In both languages, with the file or the family and what to do; nothing is taken in."""
    declare(tmp_path, glossary, file)
    with pytest.raises(BadRequest) as refused:
        manifest.declared(tmp_path, "rh")
    assert refused.value.code == "bad_glossary"
    assert says in refused.value.en
    assert dit in refused.value.fr


def test_a_link_is_no_glossary(tmp_path: Path) -> None:
    """It may lead out of the folder, to a file that this user may read and its author may not."""
    (tmp_path / "secret.toml").write_text('same = [["a", "b"]]', encoding="utf-8")
    folder = tmp_path / "rh"
    folder.mkdir()
    declare(folder, 'glossary = "glossaire.toml"')
    (folder / "glossaire.toml").symlink_to(tmp_path / "secret.toml")
    with pytest.raises(BadRequest, match="no such file"):
        manifest.declared(folder, "rh")


def test_the_largest_glossary_is_read(tmp_path: Path) -> None:
    families = ", ".join(f'["mot {number}", "terme {number}"]' for number in range(synonyms.MOST_FAMILIES))
    declare(tmp_path, 'glossary = "glossaire.toml"', f"same = [{families}]")
    found = manifest.declared(tmp_path, "rh")
    assert found is not None
    assert found.glossary.families == synonyms.MOST_FAMILIES


# --- when it takes effect ---------------------------------------------------------------------------------


def test_the_file_is_no_document_and_no_rejection(made: World) -> None:
    """Only the file that is named, in the folder itself: one of the same name below it is what it always was."""
    declare(made.folder, 'glossary = "glossaire.toml"', 'same = [["CET", "compte épargne-temps"]]')
    (made.folder / "sous").mkdir()
    (made.folder / "sous" / "glossaire.toml").write_text("x = 1", encoding="utf-8")
    paths = {found.path for found in discover(made.folder, "rh").files}
    assert "glossaire.toml" not in paths
    assert "sous/glossaire.toml" in paths
    (made.folder / "sous" / "glossaire.toml").unlink()
    report = made.sync()
    assert (report.rejected, report.exit_code) == ((), 0)


def test_an_edit_acts_at_once_and_embeds_nothing(made: World) -> None:
    """Neither a document nor the snapshot changes, and the report says how many families came and went."""
    before = made.catalog.published("rh")
    declare(made.folder, 'glossary = "glossaire.toml"', 'same = [["CET", "compte épargne-temps"], ["a", "b"]]')
    made.embedder.asked.clear()
    report = made.sync()
    assert made.catalog.corpus("rh").glossary == Synonyms((CET, ("a", "b")))
    assert report.glossary == GlossaryChange(families=2, added=2, removed=0)
    declare(made.folder, 'glossary = "glossaire.toml"', 'same = [["CET", "compte épargne-temps"]]\nnear = [["a", "b"]]')
    report = made.sync()
    assert report.glossary == GlossaryChange(families=2, added=1, removed=1)
    assert report.as_json()["glossary"] == {"families": 2, "added": 1, "removed": 1}
    assert made.catalog.runs("rh", 1)[0].counts["glossary_added"] == 1
    assert (report.changed, report.embedded, made.embedder.asked) == (0, 0, [])
    assert made.catalog.published("rh") == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(made: World) -> None:
    declare(made.folder, 'glossary = "glossaire.toml"', 'same = [["CET", "compte épargne-temps"]]')
    report = plan(made.folder, "rh", made.catalog)
    assert report.glossary == GlossaryChange(families=1, added=1)
    assert made.catalog.corpus("rh").glossary == Synonyms()


def test_a_wrong_glossary_leaves_the_one_that_is_there(made: World) -> None:
    declare(made.folder, '[glossary]\nsame = [["CET", "compte épargne-temps"]]')
    made.sync()
    declare(made.folder, '[glossary]\nsame = [["CET"]]')
    with pytest.raises(BadRequest):
        made.sync()
    assert made.catalog.corpus("rh").glossary == Synonyms((CET,))


def test_the_status_counts_the_families(made: World) -> None:
    declare(made.folder, '[glossary]\nsame = [["CET", "compte épargne-temps"]]\nnear = [["a", "b"], ["c", "d"]]')
    made.sync()
    assert Standing.of(made.catalog, "rh").as_json()["glossary"] == {"same": 1, "near": 2}


# --- to another machine -----------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "there").mkdir()
    with world(tmp_path / "there", documents=0) as found:
        yield found


def test_it_travels_with_the_corpus(made: World, there: World, tmp_path: Path) -> None:
    """Also to a machine that knows the corpus, and keeps all else that it declares; an archive without one says
    nothing."""
    export("rh", tmp_path / "without", made)
    declare(made.folder, '[glossary]\nsame = [["CET", "compte épargne-temps"]]')
    made.sync()
    export("rh", tmp_path / "with", made)
    said = Synonyms((CET,))
    import_(tmp_path / "with", there)
    assert there.catalog.corpus("rh").glossary == said
    ours = replace(there.catalog.corpus("rh"), groups=frozenset({"agents"}), glossary=Synonyms((("a", "b"),)))
    there.catalog.declare(ours)
    import_(tmp_path / "with", there)
    assert there.catalog.corpus("rh") == replace(ours, glossary=said)
    import_(tmp_path / "without", there)
    assert there.catalog.corpus("rh").glossary == said


def test_an_archive_without_a_glossary_is_as_it_always_was(made: World, tmp_path: Path) -> None:
    """So that a program which knows of no glossary can read it."""
    export("rh", tmp_path / "archive", made)
    assert "glossary" not in (tmp_path / "archive" / "manifest.json").read_text(encoding="utf-8")
