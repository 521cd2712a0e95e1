"""Export and import: the same published content on the other side, and no archive that anyone has touched."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import records
from ingest.archive_layout import Manifest, verified
from ingest.exchange import export, import_, slug
from ingest.pipeline import sync
from rag.adapters.fake import DictStore
from rag.catalog import SnapshotState
from rag.errors import BadRequest, Cancelled, Conflict, NotFound, StoreError
from rag.types import Chunk, Corpus, RunState, Scope
from tests.corpus_world import CountingEmbedder, World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A corpus of seven documents, published twice; one is restricted, one has dates."""
    (tmp_path / "here").mkdir()
    with world(tmp_path / "here") as made:
        made.sync()
        made.write("sous/été n° 1.md", "Réservé.", front='groups = ["direction"]\nclearance = 1')
        made.write("texte-03.md", "Un congé tout autre.", front='title = "Congés"\nvalid_from = 2024-01-01')
        made.sync()
        yield made


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    """Another machine, which knows nothing."""
    (tmp_path / "there").mkdir()
    with world(tmp_path / "there", documents=0) as made:
        yield made


@pytest.fixture
def archive(here: World, tmp_path: Path) -> Path:
    export("rh", tmp_path / "archive", here)
    return tmp_path / "archive"


def chunks(made: World) -> list[Chunk]:
    return [stored.chunk for stored in made.store.contents("rh", made.catalog.published("rh"))]


def documents(made: World) -> list[tuple[Any, ...]]:
    rows = made.catalog.documents("rh", made.catalog.published("rh"))
    return [(row.document, row.digest, row.chunks) for row in rows]


# --- there and back --------------------------------------------------------------------------------------


def test_an_archive_says_what_it_holds(here: World, archive: Path) -> None:
    """A manifest with checksums, lines that any program reads, plain float32, and the source files."""
    manifest = json.loads((archive / "manifest.json").read_text())
    assert (manifest["vauban"], manifest["version"], manifest["snapshot"]) == ("corpus", 1, 2)
    assert (manifest["documents"], manifest["chunks"]) == (7, 12)
    assert manifest["corpus"]["contact"] == "DRH"
    assert manifest["embedder"] == {"fingerprint": "fake-hash-32", "dimension": 32}
    for name, sealed in manifest["files"].items():
        content = (archive / name).read_bytes()
        assert sealed == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    sum_, name = (archive / "manifest.sha256").read_text().split()
    assert (sum_, name) == (hashlib.sha256((archive / "manifest.json").read_bytes()).hexdigest(), "manifest.json")
    lines = [json.loads(line) for line in (archive / "chunks.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [chunk.id for chunk in chunks(here)]
    vectors = np.load(archive / "vectors.npy", allow_pickle=False)
    assert (vectors.shape, vectors.dtype, vectors.flags.c_contiguous) == ((12, 32), np.float32, True)
    expected = here.store.vectors("rh", [lines[4]["id"]])[lines[4]["id"]]
    np.testing.assert_allclose(vectors[4], expected, atol=1e-6)
    for line in (archive / "documents.jsonl").read_text().splitlines():
        said = json.loads(line)
        assert (archive / "files" / said["sha256"]).read_bytes() == (here.folder / said["source"]).read_bytes()
    assert not list(archive.parent.glob(".archive*"))


def test_each_document_stands_by_itself_for_other_programs(here: World, archive: Path) -> None:
    """In the layout that a sync reads, under a name that every system takes."""
    name = slug("sous/été n° 1.md")
    assert name.startswith("sous-ete-n-1-md-")
    parsed = records.read((archive / "documents" / f"{slug('texte-03.md')}.jsonl").read_text(), "application/jsonl")
    assert (parsed.title, parsed.stated.validity.start) == ("Congés", dt.date(2024, 1, 1))
    assert [block.text for block in parsed.blocks] == ["Article 1", "Un congé tout autre."]
    assert len(list((archive / "documents").iterdir())) == 7


def test_an_import_gives_the_same_published_content(here: World, there: World, archive: Path) -> None:
    """Chunks, documents and files are equal, and no vector was computed."""
    report = import_(archive, there)
    assert chunks(there) == chunks(here)
    assert documents(there) == documents(here)
    assert (report.added, report.chunks, report.embedded, report.known, report.snapshot) == (7, 12, 0, False, 1)
    assert there.embedder.asked == []
    for row in there.catalog.documents("rh", (1,)):
        assert there.home.file(row.file).read_bytes() == (here.folder / row.document.source).read_bytes()
    assert there.catalog.outlines("rh", (1,), ["texte-00.md"]) == here.catalog.outlines("rh", (2, 1), ["texte-00.md"])
    (run,) = there.catalog.runs("rh")
    assert (run.state, run.snapshot, run.counts["added"]) == (RunState.DONE, 1, 7)
    ids = [chunk.id for chunk in chunks(here)]
    for one, vector in there.store.vectors("rh", ids).items():
        np.testing.assert_allclose(vector, here.store.vectors("rh", [one])[one], atol=1e-6)
    assert set(report.as_json()) >= {"corpus", "snapshot", "added", "chunks", "embedded", "seconds"}


def test_importing_it_again_changes_nothing(there: World, archive: Path) -> None:
    """No snapshot, no vector; and what it gives exports to the same lines."""
    import_(archive, there)
    again = import_(archive, there)
    assert (again.snapshot, again.unchanged, again.added, again.known) == (1, 7, 0, True)
    export("rh", archive.parent / "again", there)
    for name in ("documents.jsonl", "chunks.jsonl", "vectors.npy"):
        assert (archive.parent / "again" / name).read_bytes() == (archive / name).read_bytes()


def test_another_embedder_computes_its_own_vectors(there: World, archive: Path, here: World) -> None:
    there.embedder = CountingEmbedder(48)
    there.store = DictStore(there.embedder.fingerprint, 48)
    report = import_(archive, there)
    assert report.embedded == 12
    assert chunks(there) == chunks(here)
    one = chunks(there)[3]
    expected = there.embedder.embed_query(one.search_text)
    np.testing.assert_allclose(there.store.vectors("rh", [one.id])[one.id], expected, atol=1e-6)


def test_what_is_not_in_the_archive_goes_and_rollback_brings_it_back(there: World, archive: Path, here: World) -> None:
    """One snapshot takes the place of the other in one transaction; unchanged chunks stay the points they were."""
    there.write("texte-00.md", "Le congé numéro 0.", "Dispositions communes.")
    there.write("ailleurs.md", "Un texte de cette machine.")
    there.sync()
    points = {stored.chunk.id: stored.point for stored in there.store.contents("rh", (1,))}
    report = import_(archive, there)
    assert (report.snapshot, report.added, report.removed, report.known) == (2, 6, 1, True)
    assert chunks(there) == chunks(here)
    after = {stored.chunk.id: stored.point for stored in there.store.contents("rh", (2, 1))}
    assert len(points.items() & after.items()) == 2
    there.catalog.rollback("rh")
    assert {chunk.document for chunk in chunks(there)} == {"texte-00.md", "ailleurs.md"}


# --- who may see it --------------------------------------------------------------------------------------


def seen(made: World, *groups: str) -> set[str]:
    corpora = {corpus.name: corpus for corpus in made.catalog.corpora()}
    if not corpora["rh"].groups & {*groups, "*"}:
        return set()
    return {s.chunk.document for s in made.store.chunks(Scope(frozenset(groups), 0, made.catalog.lineages()))}


def test_a_new_corpus_has_no_readers_until_somebody_gives_it_some(there: World, archive: Path) -> None:
    """Its declaration comes along, its audience only when that is asked for, also after an import without it."""
    import_(archive, there)
    corpus = there.catalog.corpus("rh")
    assert (corpus.contact, corpus.groups, seen(there, "direction")) == ("DRH", frozenset(), set())


def test_an_audience_may_be_kept(there: World, archive: Path) -> None:
    """Restrictions of single documents always are."""
    there.catalog.declare(Corpus("rh", "rh"))  # what an import that was killed has left
    import_(archive, there, keep_audience=True)
    assert there.catalog.corpus("rh").groups == {"*"}
    assert "sous/été n° 1.md" not in seen(there)
    assert len(seen(there)) == 6


def test_a_machine_that_knows_the_corpus_keeps_its_own_audience(there: World, archive: Path) -> None:
    """Of the corpus and of the documents that it knows; an archive never opens what is closed here."""
    there.write("texte-00.md", "Autre.", front='groups = ["rh"]')
    (there.folder / "corpus.toml").write_text('name = "rh"\ntitle = "Ici"\ngroups = ["agents"]\n')
    there.sync()
    report = import_(archive, there, keep_audience=True)
    assert (report.known, report.changed) == (True, 1)
    assert there.catalog.corpus("rh") == Corpus("rh", "Ici", groups=frozenset({"agents"}))
    (row,) = [row for row in there.catalog.documents("rh", (2, 1)) if row.document.id == "texte-00.md"]
    assert row.document.groups == {"rh"}
    assert {c.groups for c in chunks(there) if c.document == "texte-00.md"} == {frozenset({"rh"})}


# --- archives that anyone has touched --------------------------------------------------------------------


def refused(archive: Path, made: World | None = None) -> str:
    """What an import says; nothing of this machine was touched."""
    with pytest.raises(BadRequest) as raised:
        verified(archive) if made is None else import_(archive, made)
    assert raised.value.code == "bad_archive"
    if made is not None:
        assert made.catalog.corpora() == []
        assert made.catalog.runs() == []
    return raised.value.en


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of which tests change copies."""
    root = tmp_path_factory.mktemp("pristine")
    with world(root, documents=2) as made:
        made.sync()
        export("rh", root / "archive", made)
    return root / "archive"


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_that_is_flipped_is_found(pristine: Path, place: float, mask: int) -> None:
    """Anywhere in any of the files, the manifest and its checksum among them."""
    files = sorted(path for path in pristine.rglob("*") if path.is_file())
    at = int(place * sum(path.stat().st_size for path in files))
    for path in files:
        if at < path.stat().st_size:
            break
        at -= path.stat().st_size
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
    try:
        refused(pristine)
    finally:
        path.write_bytes(content)
    verified(pristine)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "documents.jsonl", "chunks.jsonl", "vectors.npy"])
def test_a_file_that_is_missing_or_cut_short_is_named(archive: Path, there: World, name: str) -> None:
    content = (archive / name).read_bytes()
    (archive / name).write_bytes(content[:-7])
    said = refused(archive, there)
    assert name in said or "manifest" in name
    (archive / name).unlink()
    assert name in refused(archive, there)
    (archive / name).symlink_to("/etc/hostname")
    assert name in refused(archive, there)


def test_a_source_file_that_is_missing_is_named(archive: Path, there: World) -> None:
    gone = next((archive / "files").iterdir())
    gone.unlink()
    assert gone.name in refused(archive, there)


def test_a_file_that_nobody_vouches_for_is_named(archive: Path, there: World) -> None:
    (archive / "files" / "extra").write_text("more")
    assert "files/extra" in refused(archive, there)
    (archive / "files" / "extra").unlink()
    (archive / "elsewhere").symlink_to(archive.parent)
    assert "elsewhere" in refused(archive, there)


def forged(archive: Path, name: str, change: Callable[[Any], Any], line: int = 0) -> None:
    """Change a line of a file, or the manifest, and make every checksum right again, as an attacker would."""
    manifest = json.loads((archive / "manifest.json").read_text())
    if name == "manifest.json":
        manifest = change(manifest)
    elif name == "vectors.npy":
        matrix = change(np.load(archive / name))
        np.save(archive / name, matrix, allow_pickle=matrix.dtype == object)
    else:
        lines = (archive / name).read_text().splitlines()
        lines[line] = json.dumps(change(json.loads(lines[line])))
        (archive / name).write_text("\n".join(lines) + "\n")
    if name != "manifest.json":
        content = (archive / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    written = json.dumps(manifest).encode()
    (archive / "manifest.json").write_bytes(written)
    (archive / "manifest.sha256").write_text(f"{hashlib.sha256(written).hexdigest()}  manifest.json\n")


def row(index: int, value: float) -> Callable[[Any], Any]:
    def change(matrix: Any) -> Any:
        matrix[index] = value
        return matrix

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("manifest.json", lambda said: said | {"version": 2}),
        ("manifest.json", lambda said: said | {"more": 1}),
        ("manifest.json", lambda said: said | {"chunks": 11}),
        ("manifest.json", lambda said: said | {"documents": 6}),
        ("manifest.json", lambda said: said | {"embedder": {"fingerprint": "x", "dimension": 31}}),
        ("manifest.json", lambda said: said | {"embedder": {"fingerprint": "x", "dimension": 10**9}}),
        ("manifest.json", lambda said: said | {"files": said["files"] | {"../x": {"size": 1, "sha256": "0" * 64}}}),
        ("documents.jsonl", lambda said: said | {"source": "../../etc/passwd"}),
        ("documents.jsonl", lambda said: said | {"source": "/etc/passwd"}),
        ("documents.jsonl", lambda said: said | {"id": "texte-01.md"}),
        ("documents.jsonl", lambda said: said | {"sha256": "0" * 64}),
        ("documents.jsonl", lambda said: said | {"chunks": 3}),
        ("documents.jsonl", lambda said: said | {"clearance": -1}),
        ("documents.jsonl", lambda said: said | {"clearance": 1 << 63}),
        ("documents.jsonl", lambda said: said | {"pages": 1 << 31}),
        ("documents.jsonl", lambda said: said | {"quality": float("nan")}),
        ("manifest.json", lambda said: said | {"corpus": said["corpus"] | {"retention_days": 10**10}}),
        ("chunks.jsonl", lambda said: said | {"page": 1 << 63}),
        ("chunks.jsonl", lambda said: said | {"quality": float("inf")}),
        ("chunks.jsonl", lambda said: said | {"ordinal": 1 << 63}),
        ("documents.jsonl", lambda said: said | {"title": "Autre"}),
        ("chunks.jsonl", lambda said: said | {"corpus": "finances"}),
        ("chunks.jsonl", lambda said: said | {"document": "texte-01.md"}),
        ("chunks.jsonl", lambda said: said | {"id": "not a uuid"}),
        ("chunks.jsonl", lambda said: said | {"groups": ["agents"]}),
        ("chunks.jsonl", lambda said: said | {"end": -1}),
        ("chunks.jsonl", lambda said: said | {"norm_rank": "law of the jungle"}),
        ("vectors.npy", row(5, np.nan)),
        ("vectors.npy", row(5, 0.0)),
        ("vectors.npy", row(5, np.inf)),
        ("vectors.npy", lambda matrix: matrix[:-1]),
        ("vectors.npy", lambda matrix: matrix.astype(np.float64)),
        ("vectors.npy", lambda matrix: np.asfortranarray(matrix)),
        ("vectors.npy", lambda matrix: matrix.astype(object)),
    ],
)
def test_what_an_archive_may_not_say_is_refused(
    archive: Path, there: World, name: str, change: Callable[[Any], Any]
) -> None:
    """Even when all checksums are right."""
    forged(archive, name, change)
    refused(archive, there)


def test_a_chunk_of_another_corpus_is_not_replaced(archive: Path, there: World) -> None:
    """Points are found by the ids of their chunks, so an archive that uses those of another corpus is refused."""
    (there.folder / "corpus.toml").write_text('name = "finances"\ngroups = ["direction"]\n')
    there.write("budget.md", "Le budget.")
    sync(there.folder, "finances", there.parts)
    before = there.store.contents("finances", (1,))
    forged(archive, "chunks.jsonl", lambda said: said | {"id": before[0].chunk.id})
    with pytest.raises(BadRequest, match="another corpus"):
        import_(archive, there)
    assert there.store.contents("finances", (1,)) == before


def test_a_known_document_gets_the_narrowest_audience_that_it_ever_had(archive: Path, there: World) -> None:
    """Everyone is not few, though it is one group."""
    import_(archive, there)
    there.catalog.restrict("rh", "texte-00.md", ["*"], 0)
    rows = {row.document.id: row for row in there.catalog.documents("rh", (1,))}
    changed = rows["texte-00.md"]
    narrow = replace(changed.document, groups=frozenset({"direction", "presse"}), clearance=2)
    draft = there.catalog.begin("rh")
    there.catalog.publish(draft, added=[replace(changed, document=narrow)], removed=(), stale=(), chunks=12)
    import_(archive, there)
    audiences = {row.document.id: row.document for row in there.catalog.documents("rh", there.catalog.published("rh"))}
    assert (audiences["texte-00.md"].groups, audiences["texte-00.md"].clearance) == (narrow.groups, 2)


def test_a_file_that_is_changed_after_it_was_verified_moves_no_chunk(archive: Path) -> None:
    found = verified(archive)
    forged(archive, "chunks.jsonl", lambda said: said | {"groups": ["*", "presse"]})
    with pytest.raises(BadRequest, match="contradicts"):
        list(found.chunks())


def test_an_export_does_not_go_where_a_sync_would_take_it_in(here: World) -> None:
    """Its documents for people say nothing of groups, so restricted ones would be open to the whole corpus."""
    with pytest.raises(BadRequest) as refused:
        export("rh", here.folder / "sous" / "archive", here)
    assert refused.value.code == "folder_of_corpus"


def test_a_chunk_may_stand_in_it_once(archive: Path, there: World) -> None:
    first = json.loads((archive / "chunks.jsonl").read_text().splitlines()[0])
    forged(archive, "chunks.jsonl", lambda said: said | {"id": first["id"]}, line=1)
    assert "twice" in refused(archive, there)


def test_the_chunks_of_a_document_stand_in_their_order(archive: Path, there: World) -> None:
    forged(archive, "chunks.jsonl", lambda said: said | {"ordinal": 7}, line=1)
    assert "out of order" in refused(archive, there)


def test_a_source_that_is_not_the_documents_is_refused(archive: Path, there: World) -> None:
    """Under the right name and with right checksums; nothing is published."""
    said = json.loads((archive / "documents.jsonl").read_text().splitlines()[0])
    name = f"files/{said['sha256']}"
    (archive / name).write_text("Another text.")
    _seal(archive, name)
    with pytest.raises(BadRequest, match=said["sha256"]):
        import_(archive, there)
    assert there.catalog.published("rh") == ()


def _seal(archive: Path, name: str) -> None:
    content = (archive / name).read_bytes()
    sealed = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    forged(archive, "manifest.json", lambda said: said | {"files": said["files"] | {name: sealed}})


def test_a_corpus_cannot_name_a_path(archive: Path, there: World) -> None:
    forged(archive, "manifest.json", lambda said: said | {"corpus": said["corpus"] | {"name": "../x"}})
    with pytest.raises(BadRequest):
        import_(archive, there)


# --- what ends early -------------------------------------------------------------------------------------


def test_an_export_goes_where_nothing_is(here: World, archive: Path, tmp_path: Path) -> None:
    """An empty folder is as good as none."""
    before = (archive / "manifest.json").read_bytes()
    with pytest.raises(BadRequest) as raised:
        export("rh", archive, here)
    assert raised.value.code == "folder_not_empty"
    assert (archive / "manifest.json").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert export("rh", tmp_path / "empty", here).documents == 7
    verified(tmp_path / "empty")


def test_only_what_is_published_is_exported(here: World, there: World, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        export("inconnu", tmp_path / "a", here)
    there.catalog.declare(Corpus("rh", "rh"))
    with pytest.raises(Conflict) as raised:
        export("rh", tmp_path / "a", there)
    assert raised.value.code == "nothing_published"


def test_an_export_that_ends_early_leaves_nothing(here: World, tmp_path: Path) -> None:
    """Cancelled, or an index or a kept file that is not what the catalog says."""
    with pytest.raises(Cancelled):
        export("rh", tmp_path / "a", here, cancelled=lambda: True)
    first = here.catalog.documents("rh", here.catalog.published("rh"))[0]
    content = here.home.file(first.file).read_bytes()
    here.home.file(first.file).unlink()
    with pytest.raises(StoreError, match=first.document.id):
        export("rh", tmp_path / "a", here)
    here.home.file(first.file).write_bytes(content)
    here.store.stage("rh", 2, [], [here.store.contents("rh", here.catalog.published("rh"))[0].point])
    with pytest.raises(StoreError) as raised:
        export("rh", tmp_path / "a", here)
    assert raised.value.code == "index_incomplete"
    assert not list(tmp_path.glob("*a*.part"))
    assert not (tmp_path / "a").exists()


def test_an_import_that_is_cancelled_publishes_nothing(there: World, archive: Path, here: World) -> None:
    """Its draft is discarded by the next one, which publishes the whole."""
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        import_(archive, there, cancelled=lambda: there.catalog.abandoned("rh") != [] if next(calls) else False)
    assert there.catalog.published("rh") == ()
    assert there.catalog.runs("rh")[0].state is RunState.CANCELLED
    report = import_(archive, there)
    assert chunks(there) == chunks(here)
    assert report.snapshot is not None
    states = [snapshot.state for snapshot in there.catalog.snapshots("rh")]
    assert states == [SnapshotState.PUBLISHED, SnapshotState.DISCARDED]


def test_something_published_meanwhile_is_a_conflict(there: World, archive: Path) -> None:
    there.write("texte-00.md", "Autre.")
    there.sync()
    done = False

    def meddle() -> bool:
        nonlocal done
        if not done and there.catalog.abandoned("rh"):
            done = True
            draft = there.catalog.snapshots("rh")[0]
            other = there.catalog.begin("rh")
            assert other.number > draft.number
            there.catalog.publish(other, added=[], removed=[], stale=[], chunks=1)
        return False

    with pytest.raises(Conflict):
        import_(archive, there, cancelled=meddle)


def test_a_manifest_survives_its_own_writing(archive: Path) -> None:
    """What is read is what was written, to the moment."""
    manifest = verified(archive).manifest
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    assert replace(manifest.corpus.corpus(), groups=frozenset()) != manifest.corpus.corpus()


def test_a_copied_archive_is_as_good(archive: Path, there: World, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "copy")
    assert import_(tmp_path / "copy", there).added == 7
