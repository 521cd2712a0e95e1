"""An archive is a folder: its members are documents of their own, and no trick of one costs the others."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest import archives
from ingest.archives import Member, may_be_archive
from ingest.discover import discover
from ingest.parsers import Limits, parse
from ingest.pipeline import Parts, SyncReport, plan, sync
from ingest.reading import LocalReader
from ingest.sandbox import Sandbox
from ingest.source import Source
from rag import textfolders, zips
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog, DocumentRow, DocumentState
from rag.errors import Conflict, DocumentError, RejectReason
from rag.home import Home
from rag.types import Parsed, SyncOptions

TEXT = "# Article 1\n\nLe quai est ouvert de huit heures à midi.\n"


def zipped(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def central(data: bytes, name: bytes) -> int:
    """Where the directory of an archive begins to tell of a member."""
    return data.rindex(name) - 46


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def listed(path: Path, limits: Limits | None = None) -> list[Member]:
    found = archives.members(path, limits or Limits())
    assert found is not None
    return list(found)


def told(members: list[Member]) -> dict[str, RejectReason | None]:
    return {"/".join(member.names): member.refused.reason if member.refused else None for member in members}


# --- what is in an archive


def symlink(name: str) -> Callable[[zipfile.ZipFile], None]:
    def write(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")

    return write


@pytest.mark.parametrize(
    ("name", "raw", "shown", "reason"),
    [
        ("../../oops.md", b"", "../../oops.md", RejectReason.OUTSIDE),
        ("a/../../oops.md", b"", "a/../../oops.md", RejectReason.OUTSIDE),
        ("/etc/cron.md", b"", "/etc/cron.md", RejectReason.OUTSIDE),
        ("C:/boot.md", b"", "C:/boot.md", RejectReason.OUTSIDE),
        ("..\\oops.md", b"", "..\\oops.md", RejectReason.OUTSIDE),
        ("dir\\oops.md", b"", "dir\\oops.md", RejectReason.OUTSIDE),
        ("nulXmd.md", b"nul\0md.md", "nul\0md.md", RejectReason.OUTSIDE),
        ("./a//b.md", b"", "a/b.md", None),
        ("new\nline 🜁 <b>.md", b"", "new\nline 🜁 <b>.md", None),
        ("XtX.md", b"\x82t\x82.md", "été.md", None),
        ("XXtXX.md", "été.md".encode(), "été.md", None),
        ("e\u0301te\u0301.md", b"", "été.md", None),
    ],
)
def test_names(tmp_path: Path, name: str, raw: bytes, shown: str, reason: RejectReason | None) -> None:
    """Those that lead out are refused, whatever system they are written for; odd ones are names like others."""
    data = zipped({"good.md": TEXT, name: TEXT})
    path = tmp_path / "a.zip"
    path.write_bytes(data.replace(name.encode(), raw) if raw else data)
    assert told(listed(path)) == {"good.md": None, shown: reason}
    if reason is None:
        assert parse(Source(path, (shown,)), Limits()).blocks


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    """And the others are read."""
    data = zipped({"good.md": TEXT, "x": TEXT})
    at = data.rindex(b"PK\x01\x02")
    path = tmp_path / "a.zip"
    path.write_bytes(patched(data, at + 28, b"\0\0\1\0"))  # its name is taken for an extra field
    assert told(listed(path)) == {"": RejectReason.OUTSIDE, "good.md": None}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nor is any other thing that is no file."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.md", TEXT)
        symlink("link.md")(archive)
        pipe = zipfile.ZipInfo("pipe.md")
        pipe.external_attr = stat.S_IFIFO << 16
        archive.writestr(pipe, "")
    assert told(listed(path)) == {
        "good.md": None, "link.md": RejectReason.OUTSIDE, "pipe.md": RejectReason.UNSUPPORTED,
    }  # fmt: skip


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which one another program would show cannot be known."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"good.md": TEXT, "one1.md": TEXT, "one2.md": "Autre."}).replace(b"one2", b"one1"))
    assert [(m.names, m.refused and m.refused.reason) for m in listed(path)] == [
        (("good.md",), None),
        (("one1.md",), RejectReason.DUPLICATE_ID),
        (("one1.md",), RejectReason.DUPLICATE_ID),
    ]


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """So are bombs made small: many names for one compressed heap."""
    data = zipped({"good.md": TEXT, "one.md": TEXT, "two.md": TEXT})
    place = data.index(b"PK\x03\x04", data.index(b"one.md") - 40)
    data = patched(data, central(data, b"two.md") + 42, place.to_bytes(4, "little"))
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert told(listed(path)) == {"good.md": None, "one.md": RejectReason.CORRUPT, "two.md": RejectReason.CORRUPT}


def test_protected_and_broken_members(tmp_path: Path) -> None:
    """Each is told with its reason; so is a method that expands without measure."""
    data = zipped({"good.md": TEXT, "lock.md": TEXT, "crc.md": TEXT})
    data = patched(data, central(data, b"lock.md") + 8, b"\x01")
    at = data.index(b"crc.md") + len("crc.md")
    data = patched(data, at + 12, bytes([data[at + 12] ^ 0xFF]))
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert told(listed(path)) == {
        "good.md": None, "lock.md": RejectReason.PASSWORD, "crc.md": RejectReason.CORRUPT,
    }  # fmt: skip
    path.write_bytes(zipped({"a.md": TEXT}, zipfile.ZIP_BZIP2))
    assert bz2.compress(TEXT.encode()) in path.read_bytes()
    assert told(listed(path)) == {"a.md": RejectReason.UNSUPPORTED}


def test_what_a_member_expands_to_is_bounded(tmp_path: Path) -> None:
    """By its ratio, by the size of one file, and by what all of them come to."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"bomb.md": b"\0" * 20_000_000, "good.md": TEXT}))
    assert told(listed(path)) == {"bomb.md": RejectReason.TOO_LARGE, "good.md": None}
    path.write_bytes(zipped({f"{n}.md": os.urandom(400_000) for n in range(4)}))
    assert list(told(listed(path, Limits(expanded=1))).values()) == [None, None, *[RejectReason.TOO_LARGE] * 2]
    assert set(told(listed(path, Limits(megabytes=0))).values()) == {RejectReason.TOO_LARGE}


def test_a_size_that_is_a_lie_is_found_out(tmp_path: Path) -> None:
    """A member is never read beyond the size that it declares, and what is cut short is broken."""
    data = zipped({"good.md": TEXT, "lie.md": "mot " * 10_000})
    for at in (central(data, b"lie.md") + 24, data.index(b"lie.md") - 30 + 22):
        data = patched(data, at, (1000).to_bytes(4, "little"))
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert told(listed(path)) == {"good.md": None, "lie.md": RejectReason.CORRUPT}


def test_archives_in_archives(tmp_path: Path) -> None:
    """Down to the limit; a broken one costs itself; an office document is one document."""
    word = zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": "<w/>"})
    deep = zipped({"c.zip": zipped({"d.zip": zipped({"too.md": TEXT}), "deep.md": TEXT})})
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"b.zip": deep, "cut.zip": deep[:100], "lettre.docx": word, "top.md": TEXT}))
    members = {"/".join(member.names): member for member in listed(path)}
    assert told(list(members.values())) == {
        "b.zip/c.zip/d.zip": RejectReason.TOO_DEEP,
        "b.zip/c.zip/deep.md": None,
        "cut.zip": RejectReason.CORRUPT,
        "lettre.docx": None,
        "top.md": None,
    }
    assert {name for name, member in members.items() if member.closed} == {"b.zip/c.zip/d.zip", "cut.zip"}
    assert members["top.md"].sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert members["b.zip/c.zip/deep.md"].names == ("b.zip", "c.zip", "deep.md")


def test_hidden_members_are_no_documents(tmp_path: Path) -> None:
    """What systems leave beside documents."""
    path = tmp_path / "a.zip"
    names = (".git/config", "a/.b.md", "~$c.docx", "__MACOSX/._good.md", "good.md")
    path.write_bytes(zipped(dict.fromkeys(names, TEXT)))
    assert list(told(listed(path))) == ["good.md"]


def test_the_number_of_members_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of archives inside it count as well."""
    monkeypatch.setattr(zips, "MOST_MEMBERS", 20)
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({f"{n}.md": TEXT for n in range(21)}))
    with pytest.raises(DocumentError) as refused:
        listed(path)
    assert refused.value.reason is RejectReason.TOO_LARGE
    inner = zipped({f"{n}.md": TEXT for n in range(15)})
    path.write_bytes(zipped({"a.zip": inner, "b.zip": inner}))
    assert told(listed(path))["b.zip"] is RejectReason.TOO_LARGE


def test_the_content_tells_an_archive() -> None:
    """Not the name; office documents and books name themselves first."""
    assert may_be_archive(zipped({"a.md": TEXT}))
    assert may_be_archive(zipped({}))
    assert may_be_archive(zipped({"word/document.xml": "", "[Content_Types].xml": ""})), "only a look inside tells"
    assert not may_be_archive(zipped({"[Content_Types].xml": ""}))
    assert not may_be_archive(zipped({"mimetype": "application/epub+zip"}))
    assert not may_be_archive(b"%PDF-1.4")


@pytest.mark.slow
def test_many_members_are_read_one_after_another(tmp_path: Path) -> None:
    """An archive is not looked through again for each of its members, and one that has changed is opened anew."""
    path = tmp_path / "a.zip"
    names = [f"dir/{number}.md" for number in range(6000)]
    path.write_bytes(zipped(dict.fromkeys(names, TEXT)))
    home = Home.open(tmp_path / "home")
    began = time.process_time()
    for name in names[:600]:
        assert archives.content(Source(path, (name,)), Limits()) == TEXT.encode()
        home.keep(Source(path, (name,)))
    assert time.process_time() - began < 10
    path.write_bytes(zipped({"dir/0.md": "Autre."}))
    assert archives.content(Source(path, ("dir/0.md",)), Limits()) == b"Autre."
    assert home.keep(Source(path, ("dir/0.md",))) == hashlib.sha256(b"Autre.").hexdigest()


# --- a sync


@dataclass
class World:
    """A folder with archives, and the parts that take it in."""

    folder: Path
    parts: Parts
    store: DictStore

    def write(self, name: str, members: Mapping[str, str | bytes]) -> None:
        (self.folder / name).write_bytes(zipped(members))

    def sync(self, *, dry_run: bool = False, confirm_removals: bool = False) -> SyncReport:
        return sync(self.folder, "rh", self.parts, SyncOptions(dry_run=dry_run, confirm_removals=confirm_removals))

    def rows(self) -> list[DocumentRow]:
        return self.parts.catalog.documents("rh", self.parts.catalog.published("rh"))

    def states(self) -> dict[str, DocumentState]:
        return {row.document.source: row.state for row in self.rows()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n', encoding="utf-8")
    home = Home.open(tmp_path / "home")
    catalog = Catalog.open(home.catalog)
    embedder = HashEmbedder(32)
    store = DictStore(embedder.fingerprint, embedder.dimension)
    with Sandbox(Limits(seconds=60), workers=1) as sandbox:
        yield World(folder, Parts(home, catalog, store, embedder, LocalReader(sandbox), sandbox.members), store)
    catalog.close()


def test_members_are_documents_of_their_own(world: World) -> None:
    """With their path, their digest, their sidecar and front matter; what is kept of each is its own bytes."""
    inner = zipped({"notes/deep.md": TEXT})
    world.write(
        "textes.docx",  # whatever it is called
        {
            "dir/a.md": TEXT,
            "dir/a.md.meta.toml": 'title = "Les quais"\ngroups = ["juristes"]',
            "b.md": f'+++\ntitle = "La berge"\n+++\n{TEXT}',
            "inner.zip": inner,
            "corpus.toml": 'name = "other"',
            "../evil.md": TEXT,
        },
    )
    report = world.sync()
    assert (report.added, report.exit_code) == (3, 3)
    assert [(row.path, row.reason) for row in report.rejected] == [("textes.docx/../evil.md", "outside")]
    rows = world.parts.catalog.documents("rh", world.parts.catalog.published("rh"))
    told = {row.document.source: row.document for row in rows}
    assert set(told) == {"textes.docx/b.md", "textes.docx/dir/a.md", "textes.docx/inner.zip/notes/deep.md"}
    first = told["textes.docx/dir/a.md"]
    assert (first.title, first.groups) == ("Les quais", frozenset({"juristes"}))
    assert told["textes.docx/b.md"].title == "La berge"
    deep = told["textes.docx/inner.zip/notes/deep.md"]
    assert deep.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert world.parts.home.file(deep.sha256).read_text(encoding="utf-8") == TEXT
    assert list(world.parts.home.files.glob("*.part")) == []


def test_only_what_changed_in_an_archive_is_read_again(world: World) -> None:
    """One member changes, one goes, one comes: the archive is no document."""
    members = {f"{n:02}.md": f"# Article 1\n\nLe quai numéro {n}.\n" for n in range(12)}
    world.write("a.zip", members)
    assert world.sync().added == 12
    del members["03.md"]
    world.write("a.zip", {**members, "04.md": "# Article 1\n\nUn autre quai.\n", "12.md": TEXT})
    report = world.sync()
    assert (report.added, report.changed, report.removed, report.unchanged) == (1, 1, 1, 10)
    assert report.embedded == 2
    again = world.sync()
    assert (again.unchanged, again.embedded) == (12, 0)


def test_a_plan_looks_into_archives_too(world: World) -> None:
    """And touches nothing."""
    world.write("a.zip", {"a.md": TEXT, "b.md": TEXT + "Et le soir."})
    report = world.sync(dry_run=True)
    assert [step.path for step in report.plan] == ["a.zip/a.md", "a.zip/b.md"]
    assert plan(world.folder, "rh", None, members=world.parts.members).added == 2
    assert world.parts.catalog.corpora() == []
    assert json.loads(json.dumps(report.as_json()))["added"] == 2


@pytest.mark.parametrize("how", ["cut", "inner", "protected"])
def test_an_archive_that_cannot_be_read_removes_nothing(world: World, how: str) -> None:
    """Its documents stay as they were published, as those of a folder that cannot be listed do."""
    (world.folder / "seul.md").write_text(TEXT, encoding="utf-8")
    inner = zipped({"a.md": TEXT + "Un.", "b.md": TEXT + "Deux."})
    world.write("a.zip", {"c.md": TEXT + "Trois.", "inner.zip": inner})
    assert world.sync().added == 4
    if how == "cut":
        (world.folder / "a.zip").write_bytes((world.folder / "a.zip").read_bytes()[:60])
        gone = {"a.zip/c.md", "a.zip/inner.zip/a.md", "a.zip/inner.zip/b.md"}
    elif how == "inner":
        world.write("a.zip", {"c.md": TEXT + "Trois.", "inner.zip": inner[:60]})
        gone = {"a.zip/inner.zip/a.md", "a.zip/inner.zip/b.md"}
    else:
        data = (world.folder / "a.zip").read_bytes()
        (world.folder / "a.zip").write_bytes(patched(data, central(data, b"c.md") + 8, b"\x01"))
        gone = {"a.zip/c.md"}
    report = world.sync()
    assert (report.removed, report.exit_code) == (0, 3)
    assert {path for path, state in world.states().items() if state is DocumentState.STALE} == gone
    assert len(world.states()) == 4


def test_an_archive_that_is_gone_is_a_folder_that_is_gone(world: World) -> None:
    """The guard against mass removals counts its documents; so it does when the archive is empty."""
    for number in range(30):
        (world.folder / f"{number}.md").write_text(f"{TEXT}{number}", encoding="utf-8")
    world.write("a.zip", {"a.md": TEXT})
    world.sync()
    world.write("a.zip", {})
    with pytest.raises(Conflict) as refused:
        world.sync()
    assert refused.value.code == "subfolder_removed"
    (world.folder / "a.zip").unlink()
    with pytest.raises(Conflict):
        world.sync()
    assert world.sync(confirm_removals=True).removed == 1


def test_a_sidecar_of_an_archive_holds_for_all_in_it(world: World) -> None:
    """But for what a member's own says; where it is wrong nothing is taken in, for more people might read it."""
    world.write("a.zip", {"a.md": TEXT, "b.md": TEXT + "Deux.", "b.md.meta.toml": "clearance = 2"})
    sidecar = world.folder / "a.zip.meta.toml"
    sidecar.write_text('groups = ["juristes"]\nclearance = 1\ntitle = "Pour tous"')
    found = discover(world.folder, "rh", members=world.parts.members)
    assert [(one.path, one.metadata.groups, one.metadata.clearance, one.metadata.title) for one in found.files] == [
        ("a.zip/a.md", frozenset({"juristes"}), 1, None),
        ("a.zip/b.md", frozenset({"juristes"}), 2, None),
    ]
    assert found.rejected == ()
    sidecar.write_text('group = ["juristes"]')
    found = discover(world.folder, "rh", members=world.parts.members)
    assert found.files == ()
    assert {(row.path, row.reason) for row in found.rejected} == {
        ("a.zip/a.md", RejectReason.BAD_METADATA), ("a.zip/b.md", RejectReason.BAD_METADATA),
    }  # fmt: skip


def test_a_sidecar_of_an_archive_in_an_archive_holds_for_all_in_it(world: World) -> None:
    """It stands beside that archive, as a member of the outer one; what holds it keeps out counts, too."""
    inner = zipped({"a.md": TEXT, "b.md": TEXT + "Deux.", "b.md.meta.toml": 'groups = ["*"]'})
    world.write("a.zip", {"d/b.zip": inner, "d/b.zip.meta.toml": 'groups = ["juristes", "direction"]', "c.md": TEXT})
    report = world.sync()
    assert report.rejected == ()
    audiences = {row.document.id: row.document.groups for row in world.rows()}
    assert audiences == {
        "a.zip/c.md": {"*"},
        "a.zip/d/b.zip/a.md": {"juristes", "direction"},
        "a.zip/d/b.zip/b.md": {"juristes", "direction"},
    }
    (world.folder / "a.zip.meta.toml").write_text('groups = ["direction", "presse"]\nclearance = 2')
    world.sync()
    audiences = {row.document.id: row.document.groups for row in world.rows()}
    assert audiences == {
        "a.zip/c.md": {"direction", "presse"},
        "a.zip/d/b.zip/a.md": {"direction"},
        "a.zip/d/b.zip/b.md": {"direction"},
    }
    assert {row.document.clearance for row in world.rows()} == {2}


@pytest.mark.parametrize("said", ['groups = ["*"]', 'groups = ["presse"]', "clearance = 0"])
def test_nothing_in_an_archive_lets_in_whom_its_sidecar_keeps_out(world: World, said: str) -> None:
    """Neither a sidecar among its members nor the front matter of one: others may have packed them."""
    world.write("a.zip", {"a.md": f"+++\n{said}\n+++\n{TEXT}", "b.md": TEXT + "Deux.", "b.md.meta.toml": said})
    (world.folder / "a.zip.meta.toml").write_text('groups = ["juristes"]\nclearance = 1')
    world.sync()
    for row in world.rows():
        assert row.document.groups <= {"juristes"}
        assert row.document.clearance == 1


def test_a_bomb_among_the_files_of_a_text_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the worker that lists it nor where the text is kept, which no limit holds; both skip the same file."""
    monkeypatch.setattr(textfolders, "MEGABYTES", 1)
    text = "LEGITEXT000000000001"
    small, large = f"{text}/article/a.xml", f"{text}/article/b.xml"
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({small: "<ARTICLE/>", large: os.urandom(1_000_001)}, zipfile.ZIP_STORED))
    assert told(listed(path)) == {small: None, large: RejectReason.TOO_LARGE}
    kept = Home.open(tmp_path / "home").keep(Source(path, (text,)))
    assert kept == textfolders.digest([("article/a.xml", hashlib.sha256(b"<ARTICLE/>").hexdigest())])


def test_a_member_whose_sidecar_is_in_doubt_is_not_taken_in(world: World) -> None:
    """A sidecar that cannot be read, or that is no TOML."""
    data = zipped({"a.md": TEXT, "a.md.meta.toml": 'groups = ["juristes"]', "b.md": TEXT, "b.md.meta.toml": "?"})
    data = patched(data, central(data, b"a.md.meta.toml") + 8, b"\x01")
    (world.folder / "a.zip").write_bytes(data)
    found = discover(world.folder, "rh", members=world.parts.members)
    assert found.files == ()
    assert {(row.path, str(row.reason)) for row in found.rejected} == {
        ("a.zip/a.md", "bad_metadata"), ("a.zip/a.md.meta.toml", "password"), ("a.zip/b.md", "bad_metadata"),
    }  # fmt: skip


def test_a_file_and_an_archive_of_one_name_are_told_apart(world: World) -> None:
    """An archive that holds both a folder and an archive of one name has no two documents of one path."""
    world.write("a.zip", {"b.zip/c.md": TEXT, "b.zip": zipped({"c.md": "Autre."}), "d.md": TEXT})
    found = discover(world.folder, "rh", members=world.parts.members)
    assert [one.path for one in found.files] == ["a.zip/b.zip/c.md", "a.zip/d.md"]
    assert [(row.path, row.reason) for row in found.rejected] == [("a.zip/b.zip/c.md", RejectReason.DUPLICATE_ID)]


def test_a_worker_that_breaks_down_on_an_archive_is_a_row(tmp_path: Path) -> None:
    """What is no archive is told as such; an archive too large for the memory is refused; the next one is read."""
    word = tmp_path / "a.docx"
    word.write_bytes(zipped({"word/document.xml": "<w/>", "[Content_Types].xml": "<Types/>"}))
    bad = tmp_path / "b.zip"
    bad.write_bytes(b"PK\x03\x04" + os.urandom(500))
    good = tmp_path / "c.zip"
    good.write_bytes(zipped({"a.md": TEXT}))
    with Sandbox(Limits(), workers=1) as sandbox:
        assert sandbox.members(word) is None
        refused = sandbox.members(bad)
        assert isinstance(refused, DocumentError)
        assert refused.reason is RejectReason.CORRUPT
        missing = sandbox.members(tmp_path / "none.zip")
        assert isinstance(missing, DocumentError)
        found = sandbox.members(good)
        assert isinstance(found, tuple)
        (member,) = found
        ((_, parsed),) = sandbox.parse([Source(good, member.names)])
        assert isinstance(parsed, Parsed)
        ((_, gone),) = sandbox.parse([Source(good, ("z.md",))])
        assert isinstance(gone, DocumentError)
