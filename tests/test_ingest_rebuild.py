"""A rebuild: the same contents in another index, the live one untouched until the swap, a kill leaving one whole."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.pipeline import Stage
from ingest.reading import LocalReader
from ingest.rebuild import Filling, rebuild, rebuild_home
from rag import indexes, wiring
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog
from rag.errors import Cancelled, DiskFull, FingerprintMismatch, SettingsError, StoreError
from rag.home import Home
from rag.indexes import Indexes
from rag.seams import Embedder, VectorStore
from rag.settings import Settings
from rag.types import Point, Question, Scope, SparseVector
from rag.wiring import Vauban, open_filled_index, open_vauban
from tests.corpus_world import CountingEmbedder, PlainParsing, World, world

READER = LocalReader(PlainParsing())
POINTS = 14
"""Of the home's two snapshots: twelve chunks, and the two of the document that changed."""


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system has such a place: no waiting for a disk to sync."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 2**30:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    """Three snapshots and one that was rolled back to, and a draft that was never published."""
    with world(tmp_path) as made:
        made.sync()
        made.write("texte-03.md", "Un congé tout autre.", "Dispositions communes.")
        (made.folder / "texte-04.md").unlink()
        made.sync()
        made.write("texte-05.md", "Le congé numéro 5.", "Dispositions communes.", front='groups = ["direction"]')
        made.write("texte-06.md", "Nouveau.", front='title = "Titre donné"')
        made.sync()
        made.catalog.rollback("rh", 2)
        yield made


def other() -> tuple[CountingEmbedder, DictStore]:
    embedder = CountingEmbedder(48)
    return embedder, DictStore(embedder.fingerprint, embedder.dimension)


# --- filling another store -------------------------------------------------------------------------------


def test_another_index_shows_the_same_at_every_snapshot(made: World) -> None:
    """Chunks, titles, audiences, and what each readable snapshot sees; drafts are left behind."""
    draft = made.catalog.begin("rh")
    stored, vector = next(made.store.points("rh"))
    made.store.stage("rh", draft.number, [Point(stored.chunk, vector, SparseVector((), ()))], ())
    embedder, target = other()
    filled = Filling(made.catalog, target, embedder).from_store(made.store)
    assert made.seen(target) == made.seen()
    assert set(made.seen()) == {1, 2, 3}
    assert filled.points == len(list(target.points("rh"))) == len(list(made.store.points("rh"))) - 1
    assert filled.embedded == len(embedder.asked) == len(set(embedder.asked))
    one = next(iter(target.contents("rh", (1,))))
    assert target.vectors("rh", [one.chunk.id])[one.chunk.id] @ embedder.embed_query(one.chunk.search_text) > 0.999


def test_what_was_made_before_is_not_embedded_again(made: World) -> None:
    """A rebuild that was cancelled goes on from where it was; changed marks and audiences follow."""
    embedder, target = other()
    stages: list[Stage] = []

    def stop() -> bool:
        return Stage.EMBED in stages

    with pytest.raises(Cancelled):
        Filling(made.catalog, target, embedder, lambda stage, *_: stages.append(stage), stop).from_store(made.store)
    assert made.seen(target) != made.seen()
    Filling(made.catalog, target, embedder).from_store(made.store)
    embedder.asked.clear()
    made.store.restrict("rh", "texte-01.md", ["rh"], 0)
    made.store.stage("rh", 9, [], [made.store.contents("rh", (1,))[0].point])
    again = Filling(made.catalog, target, embedder).from_store(made.store)
    assert (again.embedded, embedder.asked) == (0, [])
    assert made.seen(target) == made.seen()
    assert sorted(s.removed for s, _ in target.points("rh")) == sorted(s.removed for s, _ in made.store.points("rh"))


def test_leftovers_of_an_earlier_attempt_go(made: World) -> None:
    """What has been swept from the live index since is not in the new one."""
    embedder, target = other()
    Filling(made.catalog, target, embedder).from_store(made.store)
    made.catalog.give_up("rh", [1, 3])
    made.store.sweep("rh", [made.catalog.lineage("rh", 2)])
    Filling(made.catalog, target, embedder).from_store(made.store)
    assert {s.point for s, _ in target.points("rh")} == {s.point for s, _ in made.store.points("rh")}


def test_a_store_that_changes_meanwhile_is_no_source(made: World) -> None:
    """Both are compared in the end, and a difference that stays is said."""

    class Moving(DictStore):
        def restore(self, corpus: str, points: object) -> None:
            """Loses everything."""

    with pytest.raises(StoreError) as raised:
        Filling(made.catalog, Moving("x", 48), CountingEmbedder(48)).from_store(made.store)
    assert raised.value.code == "rebuild_unlike"


# --- from the kept files ---------------------------------------------------------------------------------


def test_the_kept_files_give_the_same_at_every_snapshot(made: World) -> None:
    """Without any index, the catalog and the files make the same chunk ids, titles and visibility again."""
    embedder, target = other()
    filled = Filling(made.catalog, target, embedder).from_files(made.home, READER)
    assert made.seen(target) == made.seen()
    assert (filled.changed, dict(filled.expired)) == ((), {})
    assert not list(made.home.root.glob("again-*"))


def test_earlier_snapshots_whose_files_are_lost_are_given_up(made: World) -> None:
    """The published one is whole, and the report says which are not."""
    lost = made.catalog.document("rh", "texte-06.md", made.catalog.lineage("rh", 3))
    assert lost is not None
    made.home.file(lost.file).unlink()
    embedder, target = other()
    filled = Filling(made.catalog, target, embedder).from_files(made.home, READER)
    assert dict(filled.expired) == {"rh": (3,)}
    seen, expected = made.seen(target), made.seen()
    assert {number: seen[number] for number in (1, 2)} == {number: expected[number] for number in (1, 2)}


def test_a_published_document_that_is_lost_stops_it(made: World) -> None:
    """Nothing may quietly vanish from what is published."""
    lost = made.catalog.document("rh", "texte-01.md", made.catalog.lineage("rh", 2))
    assert lost is not None
    made.home.file(lost.file).unlink()
    embedder, target = other()
    with pytest.raises(StoreError, match=r"texte-01\.md") as raised:
        Filling(made.catalog, target, embedder).from_files(made.home, READER)
    assert raised.value.code == "sources_missing"


def test_documents_that_are_read_differently_now_are_said(made: World) -> None:
    """Another reading program gives other articles: named for the published snapshot, and earlier ones are given up."""

    class Shouting(PlainParsing):
        def parse(self, sources):  # type: ignore[no-untyped-def]  # as its parent's
            for source, parsed in super().parse(sources):
                if source.name == "texte-01.md":
                    blocks = tuple(replace(block, text=block.text.upper()) for block in parsed.blocks)
                    parsed = replace(parsed, blocks=blocks)
                yield source, parsed

    embedder, target = other()
    filled = Filling(made.catalog, target, embedder).from_files(made.home, LocalReader(Shouting()))
    assert filled.changed == (("rh", "texte-01.md"),)
    assert dict(filled.expired) == {"rh": (1, 3)}


# --- a home ----------------------------------------------------------------------------------------------


class Narrow(HashEmbedder):
    """Another embedder, by the name that the tests give it."""

    def __init__(self) -> None:
        super().__init__(64)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a home with two snapshots in a real index; the embedder ``narrow`` is one more of the manifest."""
    opened = wiring.open_embedder

    def embedder(settings: Settings) -> Embedder:
        return Narrow() if settings.embedder == "narrow" else opened(settings)

    monkeypatch.setattr(wiring, "open_embedder", embedder)
    weight = wiring.dense_weight
    monkeypatch.setattr(wiring, "dense_weight", lambda s: None if s.embedder == "narrow" else weight(s))
    settings = Settings(home=tmp_path / "home", embedder="fake", generator="none")
    with world(tmp_path) as made, open_vauban(settings, generate=False) as vauban:
        made.store, made.embedder = vauban.store, vauban.embedder  # type: ignore[assignment]  # a fake one
        made.sync()
        made.write("texte-03.md", "Un congé tout autre.", "Dispositions communes.")
        made.sync()
    return settings


def contents(vauban: Vauban) -> dict[int, set[str]]:
    lineages = {number: vauban.catalog.lineage("rh", number) for number in (1, 2)}
    return {n: {s.chunk.text for s in vauban.store.contents("rh", lineage)} for n, lineage in lineages.items()}


def folders(settings: Settings) -> set[str]:
    return {path.name for path in settings.root.iterdir() if path.name.startswith(("index", "again"))}


def test_a_running_vauban_is_swapped_in_place(settings: Settings, tmp_path: Path) -> None:
    """Its parts are the new ones together, the settings file names the embedder, and only one index is left."""
    chosen = tmp_path / "vauban.toml"
    chosen.write_text('# ours\npolicy = "flag"\nembedder = "fake"\n')
    with open_vauban(settings) as vauban:
        before, engine = contents(vauban), vauban.engine
        report = rebuild(vauban, "narrow", settings_file=chosen)
        assert contents(vauban) == before
        assert (vauban.embedder.dimension, vauban.settings.embedder) == (64, "narrow")
        assert vauban.engine is not engine
        assert vauban.engine.search(Question("congé numéro 2", vauban.local), 3)[0].dense is not None
        assert vauban.catalog.rollback("rh") == 1
        assert contents(vauban) == before
    assert (report.embedder, report.dimension, report.corpora, report.reread) == ("narrow", 64, 1, False)
    assert report.embedded <= report.points == POINTS
    assert chosen.read_text() == '# ours\npolicy = "flag"\nembedder = "narrow"\n'
    assert len(folders(settings)) == 2  # the index, and index.json
    with open_vauban(settings.model_copy(update={"embedder": "narrow"}), generate=False) as vauban:
        assert contents(vauban) == before
    assert set(report.as_json()) >= {"embedder", "points", "embedded", "seconds", "expired"}


def test_requests_under_way_end_on_the_parts_they_began_with(settings: Settings) -> None:
    """The old engine goes on searching its own index, whose folder is gone; then the store is let go of."""
    with open_vauban(settings) as vauban:
        engine = vauban.engine
        question = Question("congé numéro 2", vauban.local)
        before = engine.search(question, 5)
        old = weakref.ref(vauban.store)
        rebuild(vauban, "narrow")
        assert engine.search(question, 5) == before
        assert len(vauban.store.contents("rh", (2, 1))) == 12
        del engine
        gc.collect()
        assert old() is None


def test_searches_never_fail_during_a_rebuild(settings: Settings) -> None:
    """Whoever asks meanwhile gets the same chunks from the one or the other."""
    found: list[int] = []
    done = threading.Event()
    with open_vauban(settings) as vauban:

        def ask() -> None:
            while not done.is_set():
                found.append(len(vauban.engine.search(Question("congé", vauban.local), 20)))

        asking = threading.Thread(target=ask)
        asking.start()
        for name in ("narrow", "fake", "narrow"):
            rebuild(vauban, name)
        done.set()
        asking.join()
    assert len(found) > 3
    assert set(found) == {12}


def test_settings_of_another_embedder_say_what_to_run(settings: Settings) -> None:
    """And that command embeds everything with it, whichever embedder the index was of."""
    narrow = settings.model_copy(update={"embedder": "narrow"})
    with pytest.raises(FingerprintMismatch, match="vauban ingest rebuild"):
        open_vauban(narrow, generate=False)
    report = rebuild_home(narrow, READER)
    assert (report.embedder, report.reread, report.points) == ("narrow", False, POINTS)
    with open_vauban(narrow, generate=False) as vauban:
        assert len(vauban.store.contents("rh", (2, 1))) == 12


def test_a_lost_index_is_made_again(settings: Settings) -> None:
    """From the catalog and the kept files, with the same chunk ids at every snapshot."""
    with open_vauban(settings, generate=False) as vauban:
        before = {number: {s.chunk.id for s in vauban.store.contents("rh", (number, 1))} for number in (1, 2)}
    shutil.rmtree(settings.root / "index")
    with pytest.raises(StoreError, match="vauban ingest rebuild") as raised:
        open_vauban(settings, generate=False)
    assert raised.value.code == "index_missing"
    report = rebuild_home(settings, READER)
    assert (report.reread, report.changed, dict(report.expired)) == (True, (), {})
    with open_vauban(settings, generate=False) as vauban:
        after = {number: {s.chunk.id for s in vauban.store.contents("rh", (number, 1))} for number in (1, 2)}
        assert after == before


def test_a_damaged_index_is_made_again(settings: Settings) -> None:
    """Twice, so that the second finds the first one's folder in use."""
    for _ in range(2):
        folder = Home(settings.root).index
        (folder / "store.json").write_text("{")
        assert rebuild_home(settings, READER).reread
        with open_vauban(settings, generate=False) as vauban:
            assert len(vauban.store.contents("rh", (2, 1))) == 12
    assert len(folders(settings)) == 2


def test_an_index_that_lost_its_points_is_no_source(settings: Settings) -> None:
    """A running server says so; without one the kept files are read."""
    shutil.rmtree(settings.root / "index" / "shard")
    with open_vauban(settings) as vauban, pytest.raises(StoreError) as raised:
        rebuild(vauban, "narrow")
    assert raised.value.code == "index_incomplete"
    report = rebuild_home(settings, READER)
    assert (report.reread, report.points) == (True, POINTS)
    with open_vauban(settings, generate=False) as vauban:
        assert len(vauban.store.contents("rh", (2, 1))) == len(vauban.store.contents("rh", (1,))) == 12


def test_a_cancelled_rebuild_leaves_the_live_index_and_is_resumed(settings: Settings) -> None:
    """What it had embedded is not embedded again; a start in between goes on as before."""
    with pytest.raises(Cancelled):
        rebuild_home(settings, READER, "narrow", cancelled=lambda: True)
    assert len(folders(settings)) == 3
    with open_vauban(settings, generate=False) as vauban:
        assert len(vauban.store.contents("rh", (2, 1))) == 12
    assert rebuild_home(settings, READER, "narrow").points == POINTS


def test_a_full_disk_leaves_no_half_index(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room that it took is given back, and the live one answers."""

    def full(self: object, *arguments: object) -> None:
        raise DiskFull("no space is left")

    with open_vauban(settings) as vauban:
        monkeypatch.setattr(type(vauban.store), "restore", full)
        with pytest.raises(DiskFull):
            rebuild(vauban, "narrow")
        assert vauban.engine.search(Question("congé", vauban.local), 3)
    assert folders(settings) == {"index", "index.json"}


def test_settings_that_cannot_be_written_change_nothing(settings: Settings, tmp_path: Path) -> None:
    """And the index that was made is not taken for whole by a later start, for it misses what is published since."""
    chosen = tmp_path / "vauban.toml"
    chosen.write_text("not TOML")
    with open_vauban(settings) as vauban, pytest.raises(SettingsError):
        rebuild(vauban, "narrow", settings_file=chosen)
    found = Indexes.read(settings.root)
    assert (found.live, found.ready) == ("index", False)
    with pytest.raises(FingerprintMismatch):
        open_vauban(settings.model_copy(update={"embedder": "narrow"}), generate=False)


def test_a_qdrant_server_is_refused_plainly(settings: Settings) -> None:
    with pytest.raises(SettingsError) as raised:
        rebuild_home(settings.model_copy(update={"qdrant_url": "http://127.0.0.1:1"}), READER)
    assert raised.value.code == "rebuild_on_server"


# --- a kill at any moment --------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["fake", "narrow"])
def test_a_kill_between_the_two_files_leaves_either_whole(settings: Settings, wanted: str) -> None:
    """Once the new index is ready, a start takes the one that the settings name, and the other is out."""
    folder = indexes.begin(settings.root, Narrow().fingerprint)
    with Home(settings.root).own(), _filled(settings) as live:
        target = wiring.open_index(folder, Narrow().fingerprint, 64)
        catalog = Catalog.open(settings.root / "catalog.sqlite")
        Filling(catalog, target, Narrow()).from_store(live)
        target.close()
        catalog.close()
    indexes.ready(settings.root)  # and here the power goes
    with open_vauban(settings.model_copy(update={"embedder": wanted}), generate=False) as vauban:
        assert len(vauban.store.contents("rh", (2, 1))) == 12
        scope = Scope(frozenset(), 0, {"rh": (2, 1)})
        assert len(vauban.store.chunks(scope)) == 12
    other = "fake" if wanted == "narrow" else "narrow"
    with pytest.raises(FingerprintMismatch):
        open_vauban(settings.model_copy(update={"embedder": other}), generate=False)


class _filled:  # noqa: N801 reads like the function it is
    """The live index of a home, for as long as the block runs."""

    def __init__(self, settings: Settings) -> None:
        self._folder = Home(settings.root).index

    def __enter__(self) -> VectorStore:
        store = open_filled_index(self._folder)
        assert store is not None
        self._store = store
        return store

    def __exit__(self, *_: object) -> None:
        self._store.close()


KILLED = """
import sys, time
from pathlib import Path
from ingest import rebuild
from ingest.reading import LocalReader
from rag import wiring
from rag.settings import Settings
from tests.corpus_world import PlainParsing
from tests.test_ingest_rebuild import Narrow
wiring.open_embedder = lambda settings: Narrow() if settings.embedder == "narrow" else wiring.fake.HashEmbedder()
rebuild.WINDOW = 3
print("go", flush=True)
settings = Settings(home=Path(sys.argv[1]), embedder="fake", generator="none")
rebuild.rebuild_home(settings, LocalReader(PlainParsing()), "narrow", settings_file=Path(sys.argv[2]))
print("done", flush=True)
"""


@pytest.mark.slow
def test_a_rebuild_that_is_killed_anywhere_leaves_one_whole_index(
    settings: Settings, tmp_path: Path, root: Path
) -> None:
    """A start with what the settings file says reads everything; the next rebuild ends what the killed one began."""
    killed = 0
    for turn in range(6):
        home, chosen = tmp_path / f"home-{turn}", tmp_path / f"vauban-{turn}.toml"
        shutil.copytree(settings.root, home)
        chosen.write_text('embedder = "fake"\n')
        command = [sys.executable, "-c", KILLED, str(home), str(chosen)]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "go\n"
            time.sleep(0.02 + 0.04 * turn)
            process.send_signal(signal.SIGKILL)
            killed += "done" not in process.stdout.read()
        name = "narrow" if "narrow" in chosen.read_text() else "fake"
        here = settings.model_copy(update={"home": home, "embedder": name})
        with open_vauban(here, generate=False) as vauban:
            assert len(vauban.store.contents("rh", (2, 1))) == len(vauban.store.contents("rh", (1,))) == 12
        assert rebuild_home(here, READER, "narrow").points == POINTS
        assert len(list(home.glob("index*"))) == 2
    assert killed > 2


def test_a_damaged_pointer_stops_the_start(settings: Settings) -> None:
    """No index is taken for the live one by chance."""
    for content in ("{", "[]", json.dumps({"live": "../elsewhere", "next": None, "ready": False})):
        (settings.root / "index.json").write_text(content)
        with pytest.raises(StoreError, match=r"index\.json"):
            open_vauban(settings, generate=False)
