"""A restricted document stays restricted, whatever form it has and whatever is done with its corpus."""

from __future__ import annotations

import io
import random
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.exchange import export, import_
from ingest.parsers import Limits
from ingest.pipeline import Parts, sync
from ingest.reading import LocalReader
from ingest.rebuild import Filling
from ingest.sandbox import Sandbox
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog, SnapshotState
from rag.home import Home
from rag.seams import VectorStore
from rag.types import PUBLIC, SyncOptions
from tests.legi_dump import Article, Text, Version, day

SAID = 'groups = ["direction"]\nclearance = 2'
TEXT = "# Article 1\n\nLe quai est ouvert de huit heures à midi.\n"
EMBEDDER = HashEmbedder(16)


def store() -> DictStore:
    return DictStore(EMBEDDER.fingerprint, EMBEDDER.dimension)


def zipped(members: dict[str, str | bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def letter() -> bytes:
    message = EmailMessage()
    message["MIME-Version"], message["Subject"], message["From"] = "1.0", "Quai", "DRH <drh@exemple.fr>"
    message.set_content("Le quai.")
    message.add_attachment(f"+++\ngroups = ['*']\n+++\n{TEXT}", filename="public.md")
    return message.as_bytes()


def law(root: Path) -> Path:
    version = Version("LEGIARTI000000000001", day(2020), day(2999), "VIGUEUR", "quai", "<p>Le quai.</p>")
    text = Text(
        "LEGITEXT000000000001", "LEGITEXT000000000001", "Code des quais", "CODE", day(2020), day(2999), "VIGUEUR",
        articles=(Article("1", (version,)),),
    )  # fmt: skip
    return text.write(root)


@dataclass
class World:
    """A folder in which all documents but one are restricted, each in another form, and what takes it in."""

    folder: Path
    parts: Parts
    restricted: bool = True
    edits: int = 0
    archives: list[Path] = field(default_factory=list)

    def write(self) -> None:
        """Every form, restricted beside, before or inside it; the sidecars are left out where nothing is restricted."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n')
        said = SAID if self.restricted else "clearance = 0"
        text = f"{TEXT}\nModifié {self.edits} fois.\n"
        open_ = f'+++\ngroups = ["*"]\nclearance = 0\n+++\n{text}'
        inner = zipped({"deep.md": open_})
        files: dict[str, str | bytes] = {
            "public.md": "# Article 1\n\nPour tous.\n",
            "plain.md": text,
            "over.md": open_,
            "front.md": f"+++\n{said}\n+++\n{text}",
            "letter.eml": letter(),
            "member.zip": zipped({"a.md": text, "a.md.meta.toml": said}),
            "whole.zip": zipped({"a.md": open_, "b.md": text, "b.md.meta.toml": "clearance = 1", "c.zip": inner}),
            "nested.zip": zipped({"d/in.zip": inner, "d/in.zip.meta.toml": said}),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        place = law(self.folder.parent / f"dump-{self.edits}-{self.restricted}")
        shutil.copytree(place, self.folder / place.name)
        for name in ("plain.md", "over.md", "letter.eml", "whole.zip", place.name):
            (self.folder / f"{name}.meta.toml").write_text(said)

    def sync(self) -> None:
        report = sync(self.folder, "rh", self.parts, SyncOptions(confirm_removals=True))
        assert report.rejected == (), report.rejected

    # --- what is done with a corpus

    def edit(self) -> None:
        self.edits += 1
        self.write()
        self.sync()

    def move(self) -> None:
        (self.folder / "plain.md").rename(self.folder / f"moved-{self.edits}.md")
        (self.folder / "plain.md.meta.toml").rename(self.folder / f"moved-{self.edits}.md.meta.toml")
        self.sync()

    def remove_and_bring_back(self) -> None:
        (self.folder / "over.md").unlink()
        (self.folder / "over.md.meta.toml").unlink()
        self.sync()
        self.write()
        self.sync()

    def roll_back(self) -> None:
        catalog = self.parts.catalog
        published = catalog.published("rh")
        numbers = [one.number for one in catalog.snapshots("rh") if one.state is SnapshotState.PUBLISHED]
        for number in numbers:
            if number != published[0]:
                catalog.rollback("rh", number)
                check(self.parts.store, catalog)

    def take_in_an_old_archive(self) -> None:
        for archive in self.archives:
            import_(archive, self.parts)

    def leave(self, folder: Path) -> None:
        export("rh", folder, self.parts)
        self.archives.append(folder)


def check(found: VectorStore, catalog: Catalog) -> None:
    """Nobody else finds any version of any document but the public one, staged or published, now or after a rollback.

    What stays is that chunks and rows say the same.
    """
    seen = 0
    for stored, _ in found.points("rh"):
        if stored.chunk.document != "public.md":
            assert (stored.chunk.groups, stored.chunk.clearance) == (frozenset({"direction"}), 2), stored.chunk.document
            seen += 1
    assert seen
    for identifier, audiences in catalog.audiences("rh").items():
        expected = (frozenset({PUBLIC}), 0) if identifier == "public.md" else (frozenset({"direction"}), 2)
        assert audiences == {expected}, identifier


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(seconds=60), workers=1) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, sandbox: Sandbox) -> Iterator[World]:
    home = Home.open(tmp_path / "home")
    catalog = Catalog.open(home.catalog)
    yield World(tmp_path / "rh", Parts(home, catalog, store(), EMBEDDER, LocalReader(sandbox), sandbox.members))
    catalog.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_is_done_with_a_corpus_widens_an_audience(world: World, tmp_path: Path, seed: int) -> None:
    """Published open and then restricted, each version stays so, in whatever order the corpus is worked on."""
    world.restricted = False
    world.write()
    world.sync()
    world.leave(tmp_path / "open")
    world.restricted = True
    world.edit()
    check(world.parts.store, world.parts.catalog)
    world.leave(tmp_path / "restricted")
    doings = [world.edit, world.move, world.remove_and_bring_back, world.roll_back, world.take_in_an_old_archive] * 2
    random.Random(seed).shuffle(doings)
    for do in doings:
        if do == world.move:
            world.edit()
        do()
        check(world.parts.store, world.parts.catalog)
    copied, read = store(), store()
    Filling(world.parts.catalog, copied, EMBEDDER).from_store(world.parts.store)
    Filling(world.parts.catalog, read, EMBEDDER).from_files(world.parts.home, world.parts.reader)
    for made in (copied, read):
        check(made, world.parts.catalog)


def test_a_new_machine_keeps_the_restrictions_of_an_archive(world: World, tmp_path: Path) -> None:
    """Even where the corpus keeps its readers."""
    world.write()
    world.sync()
    check(world.parts.store, world.parts.catalog)
    world.leave(tmp_path / "archive")
    home = Home.open(tmp_path / "there")
    catalog = Catalog.open(home.catalog)
    there = Parts(home, catalog, store(), EMBEDDER, world.parts.reader, world.parts.members)
    import_(tmp_path / "archive", there, keep_audience=True)
    check(there.store, catalog)
    catalog.close()


def test_a_document_that_is_moved_without_its_sidecar_is_not_published_to_all(world: World) -> None:
    """It stays as it is, with its readers, until the sidecar follows it or is deleted."""
    world.write()
    world.sync()
    (world.folder / "plain.md").rename(world.folder / "elsewhere.md")
    report = sync(world.folder, "rh", world.parts, SyncOptions(confirm_removals=True))
    assert {(row.path, row.reason) for row in report.rejected} == {
        ("elsewhere.md", "bad_metadata"), ("plain.md.meta.toml", "bad_metadata"),
    }  # fmt: skip
    check(world.parts.store, world.parts.catalog)
    assert "plain.md" in {row.document.id for row in world.parts.catalog.documents("rh", (1,))}
    (world.folder / "plain.md.meta.toml").rename(world.folder / "elsewhere.md.meta.toml")
    assert sync(world.folder, "rh", world.parts, SyncOptions()).moved == 1
    check(world.parts.store, world.parts.catalog)
