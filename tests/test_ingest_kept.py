"""Kept files under the names of their documents, and texts of many files as the folders they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.kept import named
from ingest.source import Source
from rag import textfolders
from rag.errors import DocumentError
from rag.home import Home
from rag.types import Document


def document(source: str, sha256: str, media_type: str = "text/markdown") -> Document:
    return Document("d", "rh", "T", "fr", source, sha256, media_type)


def test_a_kept_file_has_its_name_again(tmp_path: Path) -> None:
    """For as long as the block runs; the kept one stays, and leftovers of a killed run go."""
    home = Home.open(tmp_path / "home")
    (tmp_path / "a.md").write_text("# Titre")
    sha256 = home.keep(Source(tmp_path / "a.md"))
    (home.root / "again-left").mkdir()
    with named(home) as names:
        first, second = (names.source(home.file(sha256), document("sous/congés.md", sha256)) for _ in range(2))
        assert (first.path.name, first.path.read_text()) == ("congés.md", "# Titre")
        assert first.path != second.path
        assert not (home.root / "again-left").exists()
    assert not first.path.exists()
    assert home.file(sha256).read_text() == "# Titre"


def test_a_text_of_many_files_is_its_folder_again(tmp_path: Path) -> None:
    """Kept as one ZIP, it gives the files that have the same digest."""
    home = Home.open(tmp_path / "home")
    folder = tmp_path / "LEGITEXT000006072050"
    for name in ("texte/version/a.xml", "article/LEGI/ARTI/b.xml"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"<x>{name}</x>")
    sha256 = home.keep(Source(folder))
    with named(home) as names:
        kept = document(f"codes/{folder.name}", sha256, textfolders.MEDIA_TYPE)
        again = names.source(home.file(sha256), kept)
        assert again.path.name == folder.name
        assert textfolders.is_text(again.path)
        assert home.keep(again) == sha256
        assert (again.path / "article/LEGI/ARTI/b.xml").read_text() == "<x>article/LEGI/ARTI/b.xml</x>"


def test_a_name_that_no_file_system_takes_is_shortened(tmp_path: Path) -> None:
    """A member of an archive may have one: it keeps the end, by which plain texts are told apart."""
    home = Home.open(tmp_path / "home")
    (tmp_path / "a.md").write_text("# Titre")
    sha256 = home.keep(Source(tmp_path / "a.md"))
    with named(home) as names:
        for source, name in ((f"a.zip/{'é' * 200}.md", "document.md"), (f"a.zip/{'b' * 300}", "document")):
            again = names.source(home.file(sha256), document(source, sha256))
            assert (again.path.name, again.path.read_text()) == (name, "# Titre")


def test_a_file_that_is_gone_or_broken_is_said(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    (tmp_path / "a.md").write_text("no ZIP")
    sha256 = home.keep(Source(tmp_path / "a.md"))
    with named(home) as names:
        with pytest.raises(DocumentError):
            names.source(home.file("0" * 64), document("a.md", "0" * 64))
        with pytest.raises(DocumentError):
            names.source(home.file(sha256), document("LEGITEXT000006072050", sha256, textfolders.MEDIA_TYPE))
