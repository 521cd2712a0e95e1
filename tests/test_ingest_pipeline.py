"""A sync from the folder to what is published: what is recognised, what is kept, what is refused."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ingest import pipeline
from ingest.ahead import ahead
from ingest.discover import discover
from ingest.manifest import Metadata, declared, front_matter, sidecar
from ingest.pipeline import Parts, Stage, SyncReport, plan, sync
from ingest.reading import LocalReader
from ingest.source import Source
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog, DocumentState, Snapshot, SnapshotState
from rag.database import LOST
from rag.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    DiskFull,
    DocumentError,
    NotFound,
    RejectReason,
    StoreBusy,
    StoreError,
)
from rag.home import Home
from rag.types import (
    Corpus,
    Matrix,
    NormRank,
    Parsed,
    Point,
    Query,
    RunState,
    Scope,
    SyncOptions,
    Validity,
)
from tests.corpus_world import PlainParsing
from tests.postgres_server import PostgresServer

CONFIRMED = SyncOptions(confirm_removals=True)


class Unwanted:
    """Fails when it is asked for anything."""

    def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]:
        for source in sources:
            raise AssertionError(f"{source} is read again")
        return iter(())


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self) -> None:
        super().__init__(32)
        self.asked: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        return super().embed_passages(texts)


@dataclass
class World:
    """A folder, and the parts that take it in."""

    folder: Path
    parts: Parts
    embedder: CountingEmbedder
    store: DictStore
    catalog: Catalog
    stages: list[tuple[Stage, int, int]] = field(default_factory=list)

    def write(self, path: str, *articles: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n\n".join(f"# Article {n}\n\n{text}" for n, text in enumerate(articles, 1)), encoding="utf-8")

    def sync(self, options: SyncOptions | None = None) -> SyncReport:
        self.embedder.asked.clear()
        return sync(self.folder, "rh", self.parts, options, progress=lambda *told: self.stages.append(told))

    def visible(self) -> dict[str, set[str]]:
        """The texts that are published, by document."""
        found: dict[str, set[str]] = {}
        for stored in self.store.contents("rh", self.catalog.published("rh")):
            found.setdefault(stored.chunk.document, set()).add(stored.chunk.text)
        return found

    def rows(self) -> dict[str, DocumentState]:
        rows = self.catalog.documents("rh", self.catalog.published("rh"))
        return {row.document.id: row.state for row in rows}

    def found_by(self, *groups: str, clearance: int = 0) -> set[str]:
        scope = Scope(frozenset(groups), clearance, self.catalog.lineages())
        return {stored.chunk.document for stored in self.store.chunks(scope)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\ncontact = "DRH"\n', encoding="utf-8")
    home = Home.open(tmp_path / "home")
    catalog = Catalog.open(home.catalog)
    embedder = CountingEmbedder()
    store = DictStore(embedder.fingerprint, embedder.dimension)
    world = World(folder, Parts(home, catalog, store, embedder, LocalReader(PlainParsing())), embedder, store, catalog)
    for number in range(12):
        world.write(f"texte-{number:02}.md", f"Le congé numéro {number}.", "Dispositions communes.")
    yield world
    catalog.close()


# --- the whole story


def test_a_folder_is_taken_in_and_published(world: World) -> None:
    """Every stage is told of, the report counts, and the source files are kept."""
    report = world.sync()
    assert (report.snapshot, report.added, report.unchanged, report.rejected, report.exit_code) == (1, 12, 0, (), 0)
    assert report.chunks == report.embedded == len(world.embedder.asked) == 24
    assert {stage for stage, _, _ in world.stages} == set(Stage) - {Stage.RECOGNISE}, "there is no picture"
    assert len(world.visible()) == 12
    document = world.catalog.document("rh", "texte-00.md", (1,))
    assert document is not None
    kept = world.parts.home.file(document.file)
    assert kept.read_bytes() == (world.folder / "texte-00.md").read_bytes()
    assert [snapshot.chunks for snapshot in world.catalog.snapshots("rh")] == [24]
    (run,) = world.catalog.runs("rh")
    assert (run.state, run.snapshot, run.counts["added"]) == (RunState.DONE, 1, 12)


def test_the_same_folder_again_does_no_work(world: World) -> None:
    """No embedding, no new snapshot."""
    world.sync()
    again = world.sync()
    assert (again.snapshot, again.unchanged, again.embedded, again.chunks) == (1, 12, 0, 24)
    assert world.embedder.asked == []
    assert len(world.catalog.snapshots("rh")) == 1


def test_only_what_is_new_of_a_changed_document_is_embedded(world: World) -> None:
    """Its other articles stay the points that they were."""
    world.sync()
    before = {stored.point for stored in world.store.contents("rh", (1,))}
    world.write("texte-03.md", "Le congé numéro X.", "Dispositions communes.")
    report = world.sync()
    assert (report.snapshot, report.changed, report.unchanged, report.embedded) == (2, 1, 11, 1)
    assert world.visible()["texte-03.md"] == {"Le congé numéro X.", "Dispositions communes."}
    after = {stored.point for stored in world.store.contents("rh", (2, 1))}
    assert len(after - before) == 1
    assert world.catalog.rollback("rh") == 1
    assert "Le congé numéro 3." in world.visible()["texte-03.md"]


def test_a_reverted_edit_needs_no_embedding(world: World) -> None:
    """The vectors of earlier versions are still there."""
    world.sync()
    world.write("texte-03.md", "Un congé tout autre.", "Dispositions communes.")
    world.sync()
    world.write("texte-03.md", "Le congé numéro 3.", "Dispositions communes.")
    report = world.sync()
    assert (report.changed, report.embedded) == (1, 0)


def test_a_moved_file_keeps_its_document(world: World) -> None:
    """Nothing is read or embedded again; the old path may then be taken by another document."""
    world.sync()
    (world.folder / "texte-03.md").rename(world.folder / "congé.md")
    report = world.sync()
    assert (report.snapshot, report.changed, report.removed, report.embedded) == (2, 1, 0, 0)
    row = world.catalog.document("rh", "texte-03.md", (2, 1))
    assert row is not None
    assert row.document.source == "congé.md"
    assert world.sync().snapshot == 2
    world.write("texte-03.md", "Un nouveau venu.")
    assert world.sync().added == 1
    assert world.visible()["texte-03.md#2"] == {"Un nouveau venu."}
    assert world.sync().snapshot == 3


def test_a_removed_document_is_gone_and_rollback_brings_it_back(world: World) -> None:
    """After a rollback automatic syncs are on hold until a person's."""
    world.sync()
    (world.folder / "texte-03.md").unlink()
    report = world.sync()
    assert (report.snapshot, report.removed, report.chunks) == (2, 1, 22)
    assert "texte-03.md" not in world.visible()
    world.catalog.rollback("rh")
    assert "texte-03.md" in world.visible()
    with pytest.raises(Conflict) as raised:
        world.sync(SyncOptions(automatic=True))
    assert raised.value.code == "on_hold"
    report = world.sync()
    assert (report.snapshot, report.removed) == (3, 1)
    assert world.catalog.lineages() == {"rh": (3, 1)}
    world.sync(SyncOptions(automatic=True))


def test_a_dry_run_says_what_would_become_of_each_article_and_touches_nothing(world: World) -> None:
    """Not even the number of a snapshot, a row of a run, or the file that --init would write."""
    world.sync()
    world.write("texte-03.md", "Autre.")
    (world.folder / "texte-04.md").unlink()
    (world.folder / "texte-05.md").rename(world.folder / "ailleurs.md")
    (world.folder / "mauvais.md").write_text("BAD", encoding="utf-8")
    report = world.sync(SyncOptions(dry_run=True))
    assert (report.snapshot, report.changed, report.moved, report.removed, report.unchanged) == (1, 2, 1, 1, 9)
    assert [(row.path, row.reason) for row in report.rejected] == [("mauvais.md", "corrupt")]
    assert report.as_json()["plan"] == [
        {"action": "moved", "document": "texte-05.md", "path": "ailleurs.md", "articles": []},
        {
            "action": "changed",
            "document": "texte-03.md",
            "path": "texte-03.md",
            "articles": [
                {"action": "changed", "reference": "Article 1", "path": ["Article 1"]},
                {"action": "removed", "reference": "Article 2", "path": ["Article 2"]},
            ],
        },
        {
            "action": "removed",
            "document": "texte-04.md",
            "path": "texte-04.md",
            "articles": [
                {"action": "removed", "reference": "Article 1", "path": ["Article 1"]},
                {"action": "removed", "reference": "Article 2", "path": ["Article 2"]},
            ],
        },
    ]
    assert len(world.catalog.runs()) == 1
    assert world.catalog.begin("rh").number == 2
    (world.folder / "corpus.toml").unlink()
    assert plan(world.folder, "rh", None, init=True).added == 12
    assert not (world.folder / "corpus.toml").exists()


def test_a_sync_does_what_its_dry_run_said(world: World) -> None:
    """Article by article, also for words that go from one document to another; the run remembers it by document."""
    long = "Le présent article dit assez de mots pour qu'on le reconnaisse partout où il est déplacé ensuite."
    world.write("texte-03.md", "Un.", "Deux.", long)
    world.sync()
    world.write("texte-03.md", "Un autre.", "Deux.")
    world.write("texte-05.md", "Le congé numéro 5.", "Dispositions communes.", long)
    world.write("nouveau.md", "Tout neuf.")
    (world.folder / "texte-06.md").unlink()
    foretold = world.sync(SyncOptions(dry_run=True))
    report = world.sync()
    assert foretold.articles == report.articles
    assert report.articles == {"added": 1, "changed": 1, "moved": 1, "removed": 2, "unchanged": 3}
    assert [(change.action, change.path) for change in foretold.plan] == [
        (one.action, one.path) for one in world.catalog.outcomes(world.catalog.runs()[0].id)
    ]
    assert world.catalog.runs()[0].counts["articles_moved"] == 1


def test_what_was_read_badly_is_remembered_with_the_run(world: World) -> None:
    """By document; those that are as they were are not listed."""

    class Doubtful(PlainParsing):
        def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]:
            for source, result in super().parse(sources):
                assert isinstance(result, Parsed)
                yield source, replace(result, warnings=("page 2: hardly readable",))

    world.sync()
    world.parts = replace(world.parts, reader=LocalReader(Doubtful()))
    world.write("texte-03.md", "Autre.", "Dispositions communes.")
    world.sync()
    (found,) = world.catalog.outcomes(world.catalog.runs()[0].id)
    assert (found.document, found.action, found.warnings) == ("texte-03.md", "changed", ("page 2: hardly readable",))
    assert found.articles == {"changed": 1, "unchanged": 1}


def test_a_dry_run_of_an_unchanged_folder_reads_no_document(world: World) -> None:
    """Whatever their number: sizes and digests are enough."""
    world.sync()
    world.parts = replace(world.parts, reader=LocalReader(Unwanted()))
    report = world.sync(SyncOptions(dry_run=True))
    assert (report.unchanged, report.plan) == (12, ())


# --- files that fail


def test_a_bad_file_is_a_row_and_the_rest_is_published(world: World) -> None:
    """Exit code 3; without anything published it is 1."""
    world.write("mauvais.md")
    (world.folder / "mauvais.md").write_text("BAD", encoding="utf-8")
    (world.folder / "vide.md").write_text("", encoding="utf-8")
    report = world.sync()
    assert [(row.path, row.reason) for row in report.rejected] == [("mauvais.md", "corrupt"), ("vide.md", "no_text")]
    assert (report.snapshot, report.added, report.exit_code) == (1, 12, 3)
    assert world.catalog.runs()[0].rejected == report.rejected
    assert world.sync().snapshot == 1
    assert replace(report, snapshot=None).exit_code == 1


def test_a_document_whose_new_version_fails_keeps_the_published_one(world: World) -> None:
    """In state stale, until its file is good again; neither needs a snapshot."""
    world.sync()
    good = (world.folder / "texte-03.md").read_bytes()
    (world.folder / "texte-03.md").write_text("BAD", encoding="utf-8")
    report = world.sync()
    assert (report.snapshot, report.removed, report.unchanged, report.exit_code) == (1, 0, 11, 3)
    assert "Le congé numéro 3." in world.visible()["texte-03.md"]
    assert world.rows()["texte-03.md"] is DocumentState.STALE
    (world.folder / "texte-03.md").write_bytes(good)
    assert world.sync().snapshot == 1
    assert set(world.rows().values()) == {DocumentState.CURRENT}


def test_a_wrong_sidecar_leaves_the_document_as_it_was(world: World) -> None:
    """With the name that is wrong in the row."""
    world.sync()
    (world.folder / "texte-03.md.meta.toml").write_text('titel = "x"', encoding="utf-8")
    report = world.sync()
    (row,) = report.rejected
    assert (row.path, row.reason) == ("texte-03.md", "bad_metadata")
    assert "did you mean `title`" in row.detail
    assert (report.removed, world.rows()["texte-03.md"]) == (0, DocumentState.STALE)


def test_a_file_that_changes_while_it_is_read_is_not_published(world: World) -> None:
    """What is published is what was compared."""

    class Hurried(PlainParsing):
        def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]:
            for source, result in super().parse(sources):
                if source.name == "texte-03.md":
                    source.path.write_text("# Article 1\n\nEntre-temps.", encoding="utf-8")
                yield source, result

    world.parts = replace(world.parts, reader=LocalReader(Hurried()))
    report = world.sync()
    assert [(row.path, row.reason) for row in report.rejected] == [("texte-03.md", "unreadable")]
    world.parts = replace(world.parts, reader=LocalReader(PlainParsing()))
    assert world.sync().added == 1


# --- what is refused


def test_an_undeclared_folder_is_refused_and_init_declares_it(world: World) -> None:
    """For an audience of nobody."""
    (world.folder / "corpus.toml").unlink()
    with pytest.raises(BadRequest) as raised:
        world.sync()
    assert raised.value.code == "undeclared_folder"
    with pytest.raises(NotFound):
        world.catalog.corpus("rh")
    report = world.sync(SyncOptions(init=True))
    assert report.added == 12
    assert world.catalog.corpus("rh") == declared(world.folder, "rh") == Corpus("rh", "rh", groups=frozenset())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "sante"', "declares the corpus `sante`"),
        ('name = "rh"\ngroup = ["a"]', "did you mean `groups`"),
        ('name = "rh"\ngroups = "a"', "must be a list"),
        ('name = "rh"\nclearance = -1', "whole number"),
        ('name = "rh"\nnorm_rank = "law"', "must be one of code, decree"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_wrong_corpus_toml_stops_the_sync(world: World, text: str, says: str) -> None:
    """With a sentence that names what is wrong; nobody can know the audience."""
    (world.folder / "corpus.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=says):
        world.sync()
    assert world.catalog.corpora() == []


def test_what_looks_like_a_folder_gone_missing_stops(world: World) -> None:
    """An empty folder, more than a tenth of the documents, a whole subfolder; --confirm-removals says it is meant."""
    for number in range(20):
        world.write(f"plus-{number}.md", f"Texte {number}.")
    world.write("annexes/seule.md", "Une annexe.")
    world.sync()
    (world.folder / "annexes" / "seule.md").unlink()
    with pytest.raises(Conflict, match="subfolder annexes") as raised:
        world.sync()
    assert raised.value.code == "subfolder_removed"
    assert world.sync(CONFIRMED).removed == 1
    for number in range(4):
        (world.folder / f"plus-{number}.md").unlink()
    with pytest.raises(Conflict, match="4 of 32"):
        world.sync()
    for file in world.folder.glob("*.md"):
        file.unlink()
    with pytest.raises(Conflict, match="no document"):
        world.sync()
    assert len(world.visible()) == 32
    assert world.catalog.runs()[0].error == "empty_folder"
    assert world.sync(CONFIRMED).removed == 32
    assert world.visible() == {}


def test_a_missing_folder_and_a_bad_name_are_refused(world: World) -> None:
    """Before anything is written."""
    with pytest.raises(BadRequest):
        sync(world.folder / "none", "rh", world.parts)
    with pytest.raises(BadRequest):
        sync(world.folder, "../rh", world.parts)
    assert world.catalog.corpora() == []


def test_a_rollback_during_a_sync_wins(world: World) -> None:
    """The sync says so and publishes nothing."""
    world.sync()
    world.write("texte-03.md", "Deux.")
    world.sync()
    world.write("texte-03.md", "Trois.")

    class Rolling(PlainParsing):
        def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]:
            world.catalog.rollback("rh")
            yield from super().parse(sources)

    world.parts = replace(world.parts, reader=LocalReader(Rolling()))
    with pytest.raises(Conflict) as raised:
        world.sync()
    assert raised.value.code == "published_meanwhile"
    assert world.catalog.lineages() == {"rh": (1,)}


# --- access


def test_access_acts_at_once_on_every_version(world: World) -> None:
    """With nothing else changed there is no snapshot; a rollback brings no wider access back."""
    world.sync()
    world.write("texte-03.md", "Deux.")
    world.sync()
    (world.folder / "texte-03.md.meta.toml").write_text('groups = ["encadrement"]\nclearance = 1', encoding="utf-8")
    report = world.sync()
    assert (report.snapshot, report.unchanged) == (2, 12)
    assert "texte-03.md" not in world.found_by("agents")
    assert "texte-03.md" not in world.found_by("encadrement")
    assert "texte-03.md" in world.found_by("encadrement", clearance=1)
    world.catalog.rollback("rh")
    assert "texte-03.md" not in world.found_by("agents")
    row = world.catalog.document("rh", "texte-03.md", (1,))
    assert row is not None
    assert (row.document.groups, row.document.clearance) == (frozenset({"encadrement"}), 1)


def test_access_acts_even_when_the_sync_stops(world: World) -> None:
    """A narrower audience does not wait for a person to confirm removals, nor for a file to be good."""
    world.sync()
    (world.folder / "corpus.toml").write_text('name = "rh"\ngroups = []\n', encoding="utf-8")
    (world.folder / "texte-03.md.meta.toml").write_text('groups = ["encadrement"]', encoding="utf-8")
    (world.folder / "texte-03.md").write_text("BAD", encoding="utf-8")
    for number in range(4, 9):
        (world.folder / f"texte-{number:02}.md").unlink()
    with pytest.raises(Conflict):
        world.sync()
    assert world.catalog.corpus("rh").groups == frozenset()
    assert "texte-03.md" not in world.found_by("agents")


# --- metadata


def test_a_sidecar_wins_over_front_matter_and_that_over_the_corpus(world: World) -> None:
    """What nobody said stays unknown; a change of it publishes a new version without embedding."""
    (world.folder / "corpus.toml").write_text(
        'name = "rh"\nlanguage = "fr"\nnorm_rank = "order"\ngroups = ["*"]', encoding="utf-8"
    )
    text = '+++\ntitle = "Congés"\nlanguage = "en"\nvalid_from = 2024-01-01\nweight = 3\n+++\n# Article 1\n\nUn texte.'
    (world.folder / "texte-03.md").write_text(text, encoding="utf-8")
    (world.folder / "texte-03.meta.toml").write_text('id = "conges"\nvalid_to = 2025-01-01', encoding="utf-8")
    world.sync()
    row = world.catalog.document("rh", "conges", (1,))
    assert row is not None
    assert (row.document.title, row.document.language, row.document.norm_rank) == ("Congés", "en", NormRank.ORDER)
    assert row.document.validity == Validity(dt.date(2024, 1, 1), dt.date(2025, 1, 1))
    other = world.catalog.document("rh", "texte-04.md", (1,))
    assert other is not None
    assert (other.document.title, other.document.validity.known) == ("texte-04", False)
    (world.folder / "texte-03.meta.toml").write_text('id = "conges"\nvalid_to = 2026-01-01', encoding="utf-8")
    report = world.sync()
    assert (report.snapshot, report.changed, report.embedded) == (2, 1, 0)
    (chunk,) = [s.chunk for s in world.store.contents("rh", (2, 1)) if s.chunk.document == "conges"]
    assert chunk.validity == Validity(dt.date(2024, 1, 1), dt.date(2026, 1, 1))


def test_a_new_title_is_embedded_anew(world: World) -> None:
    """It is part of the text that is searched, though not of the chunk's id; also when it comes back."""
    for number, title in enumerate(("Congés", "Vacances", "Congés"), start=1):
        (world.folder / "texte-03.meta.toml").write_text(f'title = "{title}"', encoding="utf-8")
        report = world.sync()
        assert report.snapshot == number
        assert report.embedded == (24 if number == 1 else 2)


def test_an_id_belongs_to_one_file(world: World) -> None:
    """To the one that names it in a sidecar, else to the one that has it already, else to the first."""
    (world.folder / "texte-05.md").write_text('+++\nid = "a"\n+++\n# Article 1\n\nCinq.', encoding="utf-8")
    world.sync()
    (world.folder / "texte-04.md").write_text('+++\nid = "a"\n+++\n# Article 1\n\nQuatre.', encoding="utf-8")
    report = world.sync()
    assert [(row.path, row.reason) for row in report.rejected] == [("texte-04.md", "duplicate_id")]
    assert world.visible()["a"] == {"Cinq."}
    assert world.rows()["texte-04.md"] is DocumentState.STALE
    (world.folder / "texte-04.md.meta.toml").write_text('id = "a"', encoding="utf-8")
    report = world.sync(CONFIRMED)
    assert [row.path for row in report.rejected] == ["texte-05.md"]
    assert world.visible()["a"] == {"Quatre."}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("valid_from = 2025-01-01T00:00:00", "must be a date"),
        ('valid_from = "2025-01-01"', "must be a date"),
        ("valid_from = 2025-01-01\nvalid_to = 2025-01-01", "must come after"),
        ('language = "français"', "is a code"),
        ('groups = ["a", ""]', "list of names"),
        ("id = 3", "must be a text"),
        ('corpus = "sante"', "this is `rh`"),
        ("clearance = true", "whole number"),
        ("[[", "no TOML"),
    ],
)
def test_a_wrong_value_in_a_sidecar_is_named(text: str, says: str) -> None:
    """As bad metadata, with what is wanted instead."""
    with pytest.raises(DocumentError, match=says) as raised:
        sidecar(text.encode(), "rh")
    assert raised.value.reason is RejectReason.BAD_METADATA


def test_front_matter_may_serve_other_programs_too() -> None:
    """Unknown names are theirs; wrong values of ours are not; text without both fences has none."""
    assert front_matter(b'+++\r\ntitle = "A"\r\ntags = ["x"]\r\n+++\r\ntext') == Metadata(title="A")
    assert front_matter(b"+++ one more\ntitle") == Metadata()
    assert front_matter(b'+++\ntitle = "A"\ntext') == Metadata()
    assert sidecar(b"valid_to = 2999-01-01", "rh").validity == Validity()
    with pytest.raises(DocumentError):
        front_matter(b"+++\nvalid_from = 3\n+++\n")


# --- discovering


def test_only_documents_of_the_folder_are_found(tmp_path: Path) -> None:
    """Hidden files and our own are skipped; links that lead out are rejected; a link inside is another name."""
    outside = tmp_path / "outside.md"
    outside.write_text("secret")
    folder = tmp_path / "rh"
    (folder / "sub" / ".git").mkdir(parents=True)
    (folder / "..data").mkdir()
    for name in ("corpus.toml", "a.md", ".hidden.md", "~$a.docx", "sub/b.md", "sub/.git/config", "..data/c.md"):
        (folder / name).write_text(name)
    (folder / "e\u0301te\u0301.md").write_text("été")
    (folder / "out.md").symlink_to(outside)
    (folder / "outdir").symlink_to(tmp_path, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "again.md").symlink_to(folder / "a.md")
    (folder / "c.md").symlink_to("..data/c.md")
    (folder / "broken.md").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.md")
    (folder / "orphan.meta.toml").write_text("")
    found = discover(folder, "rh")
    assert [one.path for one in found.files] == ["a.md", "c.md", "sub/b.md", "été.md"]
    assert [(row.path, str(row.reason)) for row in found.rejected] == [
        ("broken.md", "unreadable"),
        ("orphan.meta.toml", "bad_metadata"),
        ("out.md", "outside"),
        ("outdir", "outside"),
        ("pipe.md", "unsupported"),
    ]


def test_a_document_whose_sidecar_is_in_doubt_is_not_taken_in(tmp_path: Path) -> None:
    """Without it, more people might read the document than may."""
    outside = tmp_path / "outside.toml"
    outside.write_text('groups = ["encadrement"]')
    folder = tmp_path / "rh"
    folder.mkdir()
    for name in ("a.md", "b.md", "b.txt", "c.md"):
        (folder / name).write_text(name)
    (folder / "a.md.meta.toml").symlink_to(outside)
    (folder / "b.meta.toml").write_text('groups = ["encadrement"]')
    (folder / "c.md.meta.toml").write_text("")
    (folder / "c.meta.toml").write_text("")
    found = discover(folder, "rh")
    assert found.files == ()
    assert [row.path for row in found.rejected if row.reason == "bad_metadata"] == ["a.md", "b.md", "b.txt", "c.md"]


def test_a_subfolder_that_cannot_be_listed_removes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its documents stay as they were published."""
    world.write("annexes/seule.md", "Une annexe.")
    world.sync()
    scan = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "annexes":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = world.sync()
    assert (report.snapshot, report.removed, report.exit_code) == (1, 0, 3)
    assert [(row.path, row.reason) for row in report.rejected] == [("annexes", "unreadable")]
    assert world.rows()["annexes/seule.md"] is DocumentState.STALE


# --- ends that are not the end


class FullStore(DictStore):
    """A store whose disk is full from the second batch on."""

    full = True
    staged = 0

    def stage(self, corpus: str, snapshot: int, points: Sequence[Point], removals: Iterable[str]) -> None:
        self.staged += 1
        if self.full and self.staged > 1:
            raise DiskFull("no space is left")
        super().stage(corpus, snapshot, points, list(removals))


def test_a_full_disk_publishes_nothing_and_the_next_run_picks_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors that were made are used again; the draft that was left is discarded."""
    monkeypatch.setattr(pipeline, "WINDOW", 8)
    store = FullStore(world.embedder.fingerprint, world.embedder.dimension)
    world.store = store
    world.parts = replace(world.parts, store=store)
    with pytest.raises(DiskFull):
        world.sync()
    assert world.catalog.lineages() == {}
    (run,) = world.catalog.runs()
    assert (run.state, run.error) == (RunState.FAILED, "disk_full")
    store.full = False
    report = world.sync()
    assert (report.snapshot, report.added, report.embedded) == (2, 12, 16)
    assert [s.state for s in world.catalog.snapshots("rh")] == [SnapshotState.PUBLISHED, SnapshotState.DISCARDED]
    assert store.contents("rh", (1,)) == []


def test_a_full_disk_for_source_files_publishes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the disk has room again and nothing is missing."""

    def full(home: Home, source: Path) -> str:
        raise DiskFull("no space is left")

    with monkeypatch.context() as patched:
        patched.setattr(Home, "keep", full)
        with pytest.raises(DiskFull):
            world.sync()
    assert world.catalog.lineages() == {}
    assert world.sync().added == 12


def test_a_cancelled_sync_publishes_nothing(world: World) -> None:
    """The run says so."""
    with pytest.raises(Cancelled):
        sync(world.folder, "rh", world.parts, cancelled=lambda: bool(world.embedder.asked))
    assert world.catalog.lineages() == {}
    assert world.catalog.runs()[0].state is RunState.CANCELLED
    assert world.sync().added == 12


def test_what_is_past_its_retention_is_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its points and source files; what is published stays, whatever its age."""
    (world.folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\nretention = 0', encoding="utf-8")
    world.sync()
    old = {row.file for row in world.catalog.documents("rh", (1,)) if row.document.id == "texte-03.md"}
    world.write("texte-03.md", "Deux.")
    world.sync()
    assert [s.state for s in world.catalog.snapshots("rh")] == [SnapshotState.PUBLISHED, SnapshotState.SWEPT]
    assert all(stored.removed == () for stored in world.store.contents("rh", (1,)))
    assert {s.chunk.document for s in world.store.contents("rh", (1,))} == set(world.visible()) - {"texte-03.md"}
    assert not any(world.parts.home.file(name).exists() for name in old)
    assert len(world.visible()) == 12


def test_another_reading_program_that_reads_the_same_publishes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every document is read again, once."""
    world.sync()
    monkeypatch.setattr(pipeline, "reading_program", lambda: "another")
    report = world.sync()
    assert (report.snapshot, report.unchanged, report.embedded) == (1, 12, 0)
    world.parts = replace(world.parts, reader=None)  # type: ignore[arg-type]  # it would fail if it were used
    assert world.sync().unchanged == 12


def test_windows_are_staged_as_they_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document larger than a window is staged in parts, and the result is the same."""
    whole = world.sync()
    monkeypatch.setattr(pipeline, "WINDOW", 3)
    monkeypatch.setattr(pipeline, "SLICE", 2)
    world.write("grand.md", *[f"Un article numéro {n}, qui dit autre chose." for n in range(40)])
    report = world.sync()
    assert (report.added, report.embedded, report.chunks) == (1, 40, whole.chunks + 40)
    assert len(world.visible()["grand.md"]) == 40


def test_it_finds_what_was_taken_in(world: World) -> None:
    """The dense and the sparse vector of a chunk are those of its own text."""
    world.sync()
    scope = Scope(frozenset(), 0, world.catalog.lineages())
    for stored in world.store.chunks(scope)[:6]:
        dense = world.embedder.embed_query(stored.chunk.search_text)
        (best, *_) = world.store.search(Query(dense, None), scope, 3).dense
        assert best.score == pytest.approx(1.0)


# --- several hosts


def test_a_run_that_was_taken_for_dead_publishes_nothing(world: World) -> None:
    """What it had staged was discarded by the other one; the next run makes it whole."""
    world.sync()
    world.write("texte-03.md", "Deux.")

    begun = world.catalog.begin

    def early(corpus: str) -> Snapshot:
        draft = begun(corpus)
        world.catalog.abandon(corpus)
        world.catalog.discarded(corpus, draft.number)
        return draft

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.catalog, "begin", early)
        with pytest.raises(Conflict) as raised:
            world.sync()
    assert raised.value.code == "published_meanwhile"
    assert "Le congé numéro 3." in world.visible()["texte-03.md"]
    assert len(world.catalog.abandoned("rh")) == 1, "what came too late is discarded next time"
    assert world.sync().changed == 1
    assert world.catalog.abandoned("rh") == []


@pytest.mark.parametrize("moment", [Stage.DISCOVER, Stage.PARSE, Stage.EMBED, Stage.STAGE, Stage.PUBLISH])
def test_a_database_that_hangs_up_loses_nothing(world: World, postgres: PostgresServer, moment: Stage) -> None:
    """Whenever it does: the run goes on or fails, and the next one publishes what an undisturbed one would."""
    catalog = Catalog.open(postgres.database())
    world.catalog, world.parts = catalog, replace(world.parts, catalog=catalog)
    world.sync()
    world.write("texte-03.md", "Deux.", "Trois.")
    world.write("nouveau.md", "Un nouveau.")
    (world.folder / "texte-04.md").unlink()
    told: list[Stage] = []

    def cut(stage: Stage, done: int, total: int) -> None:
        if stage is moment:
            postgres.disconnect()
        told.append(stage)

    with suppress(StoreError):
        sync(world.folder, "rh", world.parts, progress=cut)
    assert moment in told
    world.sync()
    assert world.visible()["texte-03.md"] == {"Deux.", "Trois."}
    assert len(world.visible()) == 12
    assert "texte-04.md" not in world.visible()
    states = [snapshot.state for snapshot in catalog.snapshots("rh")]
    assert states.count(SnapshotState.PUBLISHED) == 2
    assert set(states) <= {SnapshotState.PUBLISHED, SnapshotState.DISCARDED}
    catalog.interrupt_runs()
    assert all(run.final for run in catalog.runs())
    catalog.close()


def test_a_publication_whose_answer_was_lost_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is made once."""
    publish = Catalog.publish
    asked: list[Snapshot] = []

    def lossy(catalog: Catalog, draft: Snapshot, **what: Any) -> None:
        publish(catalog, draft, **what)
        asked.append(draft)
        if len(asked) == 1:
            raise StoreError("lost", code=LOST)

    monkeypatch.setattr(pipeline, "PATIENCE", (0.0,))
    monkeypatch.setattr(Catalog, "publish", lossy)
    report = world.sync()
    assert (report.snapshot, report.added, len(asked)) == (1, 12, 2)
    assert len(world.catalog.snapshots("rh")) == 1


def test_a_corpus_that_another_host_writes_is_left_alone(world: World, postgres: PostgresServer) -> None:
    """The run says who does."""
    url = postgres.database()
    here, there = Catalog.open(url), Catalog.open(url)
    world.catalog, world.parts = here, replace(world.parts, catalog=here)
    with there.writing_corpus("rh"), pytest.raises(StoreBusy, match="`rh` is being written"):
        world.sync()
    assert here.runs()[0].error == "store_busy"
    assert world.sync().added == 12
    here.close()
    there.close()


# --- reading ahead


def test_reading_ahead_is_bounded_and_in_order() -> None:
    """Not more than asked for is made before it is read."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    reading = ahead(items(), 2)
    assert next(reading) == 0
    time.sleep(0.1)
    assert len(made) <= 5
    assert list(reading) == list(range(1, 20))


def test_what_fails_ahead_fails_in_its_place() -> None:
    """After the items before it."""

    def items() -> Iterator[int]:
        yield 1
        raise DiskFull("no space is left")

    reading = ahead(items(), 2)
    assert next(reading) == 1
    with pytest.raises(DiskFull):
        next(reading)


def test_leaving_early_ends_the_thread_and_closes_the_items() -> None:
    """In the thread that made them."""
    closed: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    reading = ahead(items(), 1)
    next(reading)
    reading.close()
    assert closed == ["ahead"]
