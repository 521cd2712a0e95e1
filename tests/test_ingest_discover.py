"""What a folder holds: every document once, every file that is none with its reason."""

from __future__ import annotations

import hashlib
import os
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ingest.archives import Member
from ingest.discover import Discovery, discover
from ingest.source import Source
from rag import textfolders
from rag.errors import DocumentError, RejectReason
from rag.home import Home
from tests.legi_dump import decree


def paths(found: Discovery) -> list[str]:
    return [one.path for one in found.files]


def reasons(found: Discovery) -> dict[str, str]:
    return {row.path: str(row.reason) for row in found.rejected}


def test_file_names_of_any_characters(tmp_path: Path) -> None:
    """A name is only a name; one that is no UTF-8 is a row that shows its bytes."""
    names = ["a\nb.md", "'\"$(id).md", "🜁 été.md", "-rf.md", "%2e%2e.md", "nom très long " * 10 + ".md", "\u202egpj.md"]
    for name in names:
        (tmp_path / name).write_text(name, encoding="utf-8")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9cision.md")).write_text("x", encoding="utf-8")
    found = discover(tmp_path, "rh")
    assert sorted(paths(found)) == sorted(names)
    assert reasons(found) == {"d\\xe9cision.md": "unreadable"}
    assert {one.sha256 for one in found.files} == {hashlib.sha256(name.encode()).hexdigest() for name in names}


def test_links_out_of_the_folder_are_rejected(tmp_path: Path) -> None:
    """Relative, absolute, through another link, and to a folder."""
    folder = tmp_path / "rh"
    folder.mkdir()
    (tmp_path / "secret.md").write_text("secret")
    (folder / "a.md").write_text("a")
    (folder / "one.md").symlink_to("../secret.md")
    (folder / "two.md").symlink_to(tmp_path / "secret.md")
    (folder / "three.md").symlink_to("one.md")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    (folder / "LEGITEXT000000000001").symlink_to(tmp_path, target_is_directory=True)
    found = discover(folder, "rh")
    assert paths(found) == ["a.md"]
    assert set(reasons(found).values()) == {"outside"}
    assert len(found.rejected) == 5


def test_a_text_of_the_law_is_known_by_its_layout(tmp_path: Path) -> None:
    """No file of it is understood for that; a folder that is only called like one is a folder."""
    text = tmp_path / "dump" / "LEGITEXT000000000001"
    for name in ("article/LEGI/a.xml", "texte/version/b.xml"):
        (text / name).parent.mkdir(parents=True)
        (text / name).write_bytes(b"\xff\xfe no XML")
    other = tmp_path / "LEGITEXT000000000002"
    other.mkdir()
    (other / "note.md").write_text("note")
    found = discover(tmp_path, "droit")
    assert paths(found) == ["LEGITEXT000000000002/note.md", "dump/LEGITEXT000000000001"]
    one = found.files[1]
    assert (one.metadata.id, one.named, one.source) == ("LEGITEXT000000000001", False, Source(text))
    digest = hashlib.sha256(b"\xff\xfe no XML").hexdigest()
    assert one.sha256 == textfolders.digest([("texte/version/b.xml", digest), ("article/LEGI/a.xml", digest)])


def test_a_text_that_cannot_be_listed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And may well be there still."""
    folder = decree().write(tmp_path)
    scan = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "version":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = discover(tmp_path, "droit")
    path = folder.relative_to(tmp_path).as_posix()
    assert (paths(found), reasons(found)) == ([], {path: "unreadable"})
    assert found.failed(path)


def test_what_is_kept_of_a_text_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    """Whenever and wherever it is kept; its digest is the one that discovery found."""
    home = Home.open(tmp_path / "home")
    first = decree().write(tmp_path / "one")
    second = decree().write(tmp_path / "two")
    os.utime(next(second.rglob("*.xml")), (0, 0))
    (found,) = discover(tmp_path / "one", "droit").files
    assert home.keep(Source(first)) == found.sha256
    kept = home.file(found.sha256)
    before = kept.read_bytes()
    kept.unlink()
    assert home.keep(Source(second)) == found.sha256
    assert kept.read_bytes() == before
    with zipfile.ZipFile(kept) as archive:
        assert archive.testzip() is None
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
    assert sorted(path.name for path in home.files.rglob("*") if path.is_file()) == [found.sha256]


def test_a_member_is_kept_by_its_own_bytes(tmp_path: Path) -> None:
    """Also one of an archive in an archive; what is gone from its archive cannot be kept, and leaves nothing."""
    home = Home.open(tmp_path / "home")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("dir/été.md", "Le quai.")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "b.zip", "b.zip")
    sha256 = home.keep(Source(tmp_path / "a.zip", ("b.zip", "dir/été.md")))
    assert sha256 == hashlib.sha256(b"Le quai.").hexdigest()
    assert home.file(sha256).read_text(encoding="utf-8") == "Le quai."
    with pytest.raises(DocumentError):
        home.keep(Source(tmp_path / "a.zip", ("b.zip", "none.md")))
    assert [path.name for path in home.files.rglob("*") if path.is_file()] == [sha256]


def test_archives_are_asked_for_by_their_content(tmp_path: Path) -> None:
    """Whoever looks inside is asked for what may be an archive only, and may answer that it is a document."""
    for name, first in (("a.zip", "a.md"), ("b.docx", "word/document.xml"), ("c.docx", "[Content_Types].xml")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(first, "x")
    (tmp_path / "d.zip").write_text("no archive at all")
    asked: list[str] = []

    def members(path: Path) -> tuple[Member, ...] | None:
        asked.append(path.name)
        return (Member(("x/a.md",), 1, "00"), Member(("y.md",), closed=False)) if path.name == "a.zip" else None

    found = discover(tmp_path, "rh", members=members)
    assert asked == ["a.zip", "b.docx"]
    assert paths(found) == ["a.zip/x/a.md", "a.zip/y.md", "b.docx", "c.docx", "d.zip"]
    assert found.files[0].source == Source(tmp_path / "a.zip", ("x/a.md",))
    assert paths(discover(tmp_path, "rh")) == ["a.zip", "b.docx", "c.docx", "d.zip"], "nobody looks inside"


def test_what_an_unreadable_archive_held_may_be_there_still(tmp_path: Path) -> None:
    """As with a folder that cannot be listed; not so an archive that is empty."""
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"PK\x05\x06" + b"\0" * 18)

    def members(path: Path) -> DocumentError:
        reason = RejectReason.EMPTY if path.name == "a.zip" else RejectReason.CORRUPT
        return DocumentError(reason, "told")

    found = discover(tmp_path, "rh", members=members)
    assert reasons(found) == {"a.zip": "empty", "b.zip": "corrupt"}
    assert found.closed == ("b.zip",)
    assert found.failed("b.zip/c.md")
    assert not found.failed("a.zip/c.md")


@pytest.mark.slow
def test_a_folder_of_many_files_takes_little(tmp_path: Path) -> None:
    """Memory grows by under two kilobytes a file, and time by no more than the files."""
    for number in range(10_000):
        if number % 1000 == 0:
            (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number // 1000 * 1000}" / f"texte-{number}.md").write_bytes(b"x%d" % number)
    tracemalloc.start()
    began = time.monotonic()
    found = discover(tmp_path, "rh")
    taken = time.monotonic() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.files) == 10_000
    assert peak < 10_000 * 2_500
    assert taken < 30
