"""All state copied while it is used, and put back whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from rag import backup
from rag.adapters.qdrant_edge import EdgeStore
from rag.errors import BadRequest, Cancelled, Conflict, OperatorError, StoreBusy
from rag.home import Home
from rag.settings import Settings
from rag.types import Scope
from tests.corpus_world import CountingEmbedder, world

SCOPE = Scope(frozenset({"*"}), 0, {"rh": (1,)})


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other programs of this machine write is not waited for."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a catalog, kept files, an upload, a record's key, and what is no state."""
    made = Home.open(tmp_path / "home")
    with closing(sqlite3.connect(made.catalog)) as catalog:
        catalog.execute("PRAGMA journal_mode = WAL")
        catalog.execute("CREATE TABLE corpora (contact TEXT)")
        catalog.execute("INSERT INTO corpora VALUES ('drh')")
        catalog.commit()
    (made.index / "shard" / "empty").mkdir(parents=True)
    (made.index / "shard" / "segment").write_bytes(b"s" + bytes(2**20) + b"e")
    (made.index / "store.json").write_text("{}")
    made.lock_file.touch()
    (made.files / "ab").mkdir()
    (made.files / "ab" / "abcd").write_bytes(b"a source file")
    (made.uploads / ".incoming").mkdir(parents=True)
    (made.uploads / ".incoming" / "half.part").write_bytes(b"half")
    (made.uploads / "envois").mkdir()
    (made.uploads / "envois" / "corpus.toml").write_text('name = "envois"\n')
    (made.root / "audit.key").write_bytes(b"k" * 32)
    for name in ("models", "cache"):
        (made.root / name).mkdir()
        (made.root / name / "large.bin").write_bytes(bytes(100))
    return made


def test_a_restored_home_holds_the_same(home: Home, tmp_path: Path) -> None:
    """Chunks, documents, source files, uploads and keys; no model, no cache, nothing half received."""
    written = backup.write(home, tmp_path / "backup")
    assert written.secrets == ("audit.key",)
    again = Home(tmp_path / "again")
    restored = backup.restore(tmp_path / "backup", again.root)
    assert (restored.files, restored.bytes) == (written.files, written.bytes)
    kept = [*home.files.rglob("*"), *home.index.rglob("*"), home.uploads / "envois" / "corpus.toml"]
    for path in (*kept, home.root / "audit.key"):
        copy = again.root / path.relative_to(home.root)
        assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()
        assert not copy.stat().st_mode & 0o077
    assert not [name for name in ("models", "cache", "uploads/.incoming") if (again.root / name).exists()]


def test_a_restored_index_finds_the_same(tmp_path: Path) -> None:
    """The real engine, copied while it is open, and opened where it was restored."""
    embedder = CountingEmbedder()
    home, again = Home.open(tmp_path / "home"), Home(tmp_path / "again")
    store = EdgeStore.open(home.index, embedder.fingerprint, embedder.dimension)
    with world(tmp_path, store) as one:
        one.sync()
        backup.write(home, tmp_path / "backup")
        found = store.chunks(SCOPE)
        vectors = store.vectors("rh", [stored.chunk.id for stored in found])
        store.close()
    backup.restore(tmp_path / "backup", again.root)
    store = EdgeStore.open(again.index, embedder.fingerprint, embedder.dimension)
    assert store.chunks(SCOPE) == found != []
    restored = store.vectors("rh", list(vectors))
    assert all((restored[name] == vector).all() for name, vector in vectors.items())
    store.close()


def test_a_database_is_copied_at_one_instant_while_it_is_written(home: Home, tmp_path: Path) -> None:
    """What is in its write-ahead log comes along; a transaction that has not ended does not."""
    with closing(sqlite3.connect(home.catalog, isolation_level=None)) as writing:
        writing.execute("UPDATE corpora SET contact = 'neu'")
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("UPDATE corpora SET contact = 'half'")
        backup.write(home, tmp_path / "backup")
        writing.execute("ROLLBACK")
    with closing(sqlite3.connect(tmp_path / "backup" / "catalog.sqlite")) as reading:
        assert reading.execute("SELECT contact FROM corpora").fetchall() == [("neu",)]
    assert not list((tmp_path / "backup").glob("*-wal"))


def test_the_index_of_another_embedder_is_restored_as_the_first(home: Home, tmp_path: Path) -> None:
    """A rebuild has put it elsewhere; what is left of the one before stays behind."""
    home.index.rename(home.root / "index-0123456789ab")
    (home.root / "index.json").write_text('{"live": "index-0123456789ab", "next": null, "ready": false}')
    (home.root / "index").mkdir()
    (home.root / "index" / "old").touch()
    backup.write(home, tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "again")
    assert sorted(entry.name for entry in (tmp_path / "again" / "index").iterdir()) == ["shard", "store.json"]


@pytest.mark.parametrize("damage", ["flip", "missing", "link", "manifest", "out", "newer", "none"])
def test_a_damaged_backup_changes_nothing(home: Home, tmp_path: Path, damage: str) -> None:
    """Every checksum is compared before anything takes its place."""
    folder = tmp_path / "backup"
    backup.write(home, folder)
    said = json.loads((folder / "backup.json").read_text())
    victim = folder / next(name for name in said["files"] if name.startswith("files/"))
    if damage == "flip":
        victim.write_bytes(b"X" + victim.read_bytes()[1:])
    elif damage == "missing":
        victim.unlink()
    elif damage == "link":
        victim.unlink()
        victim.symlink_to("/etc/passwd")
    elif damage == "manifest":
        said["files"].popitem()
    elif damage == "out":
        said["files"]["../evil"] = {"size": 1, "sha256": "0"}
        sealed = {name: backup.Sealed(**one) for name, one in said["files"].items()}
        said["digest"] = backup._digest(said["folders"], sealed)
    elif damage == "newer":
        said["vauban_backup"] = 99
    (folder / "backup.json").write_text(json.dumps(said))
    if damage == "none":
        (folder / "backup.json").unlink()
    before = sorted(os.walk(home.root))
    with pytest.raises(BadRequest):
        backup.restore(folder, home.root, replace=True)
    assert sorted(os.walk(home.root)) == before
    assert not (tmp_path / "evil").exists()


def test_state_that_is_there_goes_only_when_told(home: Home, tmp_path: Path) -> None:
    """Models stay in any case, and nothing of the state before is left among the new."""
    backup.write(home, tmp_path / "backup")
    (home.root / "stray.sqlite").write_bytes(b"later")
    with pytest.raises(Conflict) as refused:
        backup.restore(tmp_path / "backup", home.root)
    assert refused.value.code == "home_not_empty"
    backup.restore(tmp_path / "backup", home.root, replace=True)
    assert not (home.root / "stray.sqlite").exists()
    assert (home.root / "models" / "large.bin").exists()
    assert not [entry for entry in home.root.iterdir() if entry.name.startswith(".")]
    with home.own(), pytest.raises(StoreBusy):
        backup.restore(tmp_path / "backup", home.root, replace=True)


@pytest.mark.parametrize("number", range(1, 10))
def test_a_restore_that_is_interrupted_leaves_the_state_that_was_there(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """At whichever of the renames that swap the two."""
    backup.write(home, tmp_path / "backup")
    (home.root / "stray.sqlite").write_bytes(b"later")
    before = sorted(os.walk(home.root))
    rename, renames = Path.rename, itertools.count(1)

    def interrupted(self: Path, target: Path) -> Path:
        if next(renames) == number:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backup.restore(tmp_path / "backup", home.root, replace=True)
    assert sorted(os.walk(home.root)) == before


def test_the_head_of_the_records_is_copied_before_the_records(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly: a head that is ahead of its chain would be an alarm in the restored home."""
    (home.root / "audit.head").write_bytes(b"before")
    copied, database = backup._file, backup._database

    def slowly(source: Path, target: Path) -> backup.Sealed:
        if source.name == "audit.head":
            time.sleep(0.2)
        return copied(source, target)

    def later(source: Path, target: Path) -> backup.Sealed:
        (home.root / "audit.head").write_bytes(b"after!")
        return database(source, target)

    monkeypatch.setattr(backup, "_file", slowly)
    monkeypatch.setattr(backup, "_database", later)
    backup.write(home, tmp_path / "backup")
    assert (tmp_path / "backup" / "audit.head").read_bytes() == b"before"


def test_a_cancelled_backup_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """Nor one for which there was no room."""
    with pytest.raises(Cancelled):
        backup.write(home, tmp_path / "backup", cancelled=lambda: True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home"]


def test_what_could_not_be_whole_is_refused(tmp_path: Path) -> None:
    """State on servers, a place that is taken, a place in the home itself."""
    settings = Settings.model_validate({"home": tmp_path / "home"})
    backup.check(settings, tmp_path / "new")
    with pytest.raises(BadRequest):
        backup.check(settings, tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for inside in ("home", "link"):
        with pytest.raises(BadRequest):
            backup.check(settings, tmp_path / inside / "backup")
    with pytest.raises(OperatorError) as refused:
        backup.check(settings.model_copy(update={"database_url": "postgresql://h/d"}), tmp_path / "new")
    assert "pg_dump" in refused.value.en


# --- holes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"a", bytes(8), bytes(4) + b"abcd" + bytes(9), b"abcd" + bytes(8) + b"e"]
)
@pytest.mark.parametrize("sparse", [True, False])
def test_a_file_with_holes_is_copied_as_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *, sparse: bool
) -> None:
    """Whether the zeros were written or left out: the checksum is of all that is not a whole block of zeros."""
    monkeypatch.setattr(backup, "_BLOCK", 4)
    monkeypatch.setattr(backup, "_HOLE", bytes(4))
    source = tmp_path / "source"
    source.write_bytes(content.rstrip(b"\0") if sparse else content)
    os.truncate(source, len(content))
    sealed = backup._file(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    holes = {place for start, length in sealed.holes for place in range(start, start + length)}
    assert holes == {
        place for place in range(len(content) // 4 * 4) if content[place // 4 * 4 : place // 4 * 4 + 4] == bytes(4)
    }
    kept = bytes(byte for place, byte in enumerate(content) if place not in holes)
    assert sealed.sha256 == hashlib.sha256(kept).hexdigest()
    assert backup._file(source, tmp_path / "whole", holes=False).sha256 == hashlib.sha256(content).hexdigest()


def test_what_was_never_written_is_not_read(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that reserves gigabytes takes no longer than its few bytes, into the backup and out of it."""
    segment = home.index / "shard" / "segment"
    os.truncate(segment, 8 << 30)
    read: list[int] = []
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    backup.write(home, tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "again")
    assert 0 < sum(read) < 100 << 20
    copied = tmp_path / "again" / "index" / "shard" / "segment"
    assert (copied.stat().st_size, copied.stat().st_blocks < 10_000) == (8 << 30, True)


def test_a_hole_that_was_filled_is_found(home: Home, tmp_path: Path) -> None:
    """Its zeros are part of what was backed up, though no checksum covers them."""
    (home.index / "shard" / "segment").write_bytes(b"s" + bytes(2**20) + b"e")
    backup.write(home, tmp_path / "backup")
    with (tmp_path / "backup" / "index" / "shard" / "segment").open("r+b") as copied:
        copied.seek(2**19)
        copied.write(b"x")
    with pytest.raises(BadRequest) as raised:
        backup.restore(tmp_path / "backup", tmp_path / "again")
    assert raised.value.code == "damaged_backup"


def test_a_backup_of_the_first_format_is_restored(home: Home, tmp_path: Path) -> None:
    """Its checksums are of all bytes, zeros as well."""
    target = tmp_path / "backup"
    backup.write(home, target)
    path = target / backup.MANIFEST
    said = json.loads(path.read_text())
    for name, one in said["files"].items():
        del one["holes"]
        one["sha256"] = hashlib.sha256((target / name).read_bytes()).hexdigest()
    lines = [f"{name}\n" for name in said["folders"]]
    lines += [f"{one['sha256']} {one['size']} {name}\n" for name, one in said["files"].items()]
    said |= {"vauban_backup": 1, "digest": hashlib.sha256("".join(lines).encode()).hexdigest()}
    path.write_text(json.dumps(said))
    backup.restore(target, tmp_path / "again")
    segment = Path("index") / "shard" / "segment"
    assert (tmp_path / "again" / segment).read_bytes() == (home.root / segment).read_bytes()
