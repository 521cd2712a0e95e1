"""Kill -9 at any moment of an ingest: readers see the old results and scores, and the next run makes it whole."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest import pipeline
from ingest.pipeline import Parts, sync
from ingest.reading import LocalReader
from ingest.sandbox import Limits, Sandbox
from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.catalog import Catalog, SnapshotState
from rag.home import Home
from rag.lexical import query_vector
from rag.types import Matrix, Query, Scope, SyncOptions

WORDS = "congé préavis prime agent service barème délai recours visite médicale arrêté dépense mission logement".split()
QUESTIONS = ("quel est le délai de recours", "prime de mission", "visite médicale de l'agent")
DOCUMENTS = 16
MOMENTS = 10


class UnhurriedEmbedder(HashEmbedder):
    """Takes its time, as a real one does, so that there is something to interrupt."""

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        time.sleep(0.002 * len(texts))
        return super().embed_passages(texts)


@contextmanager
def opened(root: Path, embedder: HashEmbedder | None = None) -> Iterator[Parts]:
    """The real catalog, store and workers over a home folder."""
    embedder = embedder or HashEmbedder()
    home = Home.open(root)
    with Sandbox(Limits(), 1) as reader:
        store = EdgeStore.open(home.index, embedder.fingerprint, embedder.dimension)
        catalog = Catalog.open(home.catalog)
        try:
            yield Parts(home, catalog, store, embedder, LocalReader(reader))
        finally:
            catalog.close()
            store.close()


def document(seed: str, articles: int) -> str:
    draw = random.Random(seed)
    lines = [f"# Règlement {seed}"]
    for number in range(1, articles + 1):
        text = " ".join(draw.choices(WORDS, k=draw.randint(40, 120)))
        lines += [f"## Article {number}", text.capitalize() + "."]
    return "\n\n".join(lines) + "\n"


def write_first(folder: Path) -> None:
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n', encoding="utf-8")
    for number in range(DOCUMENTS):
        (folder / f"texte-{number:02}.md").write_text(document(f"a{number}", 12), encoding="utf-8")


def write_second(folder: Path) -> None:
    """Edits, a removal, a move, a narrower validity and new documents."""
    for number in range(0, DOCUMENTS, 2):
        (folder / f"texte-{number:02}.md").write_text(document(f"b{number}", 14), encoding="utf-8")
    (folder / "texte-01.md").unlink()
    (folder / "texte-03.md").rename(folder / "ailleurs.md")
    (folder / "texte-05.md.meta.toml").write_text("valid_to = 2025-01-01", encoding="utf-8")
    for number in range(4):
        (folder / f"nouveau-{number}.md").write_text(document(f"c{number}", 12), encoding="utf-8")


def results(parts: Parts) -> list[tuple[str, float, str]]:
    """What every question finds, with its scores, list by list."""
    found: list[tuple[str, float, str]] = []
    scope = Scope(frozenset(), 0, parts.catalog.lineages())
    for text in QUESTIONS:
        query = Query(parts.embedder.embed_query(text), query_vector(text, ["fr"]), ("article:3",))
        candidates = parts.store.search(query, scope, 20)
        for name in ("dense", "sparse", "exact"):
            found += [(scored.chunk.id, scored.score, name) for scored in getattr(candidates, name)]
    assert found
    return found


def content(parts: Parts) -> set[tuple[object, ...]]:
    """What is published, and nothing of how it came there: ids, texts, what decides who sees it when, documents."""
    lineage = parts.catalog.published("rh")
    chunks = {
        (c.id, c.document, c.text, c.title, c.start, c.page, c.groups, c.clearance, c.validity)
        for c in (stored.chunk for stored in parts.store.contents("rh", lineage))
    }
    documents = parts.catalog.documents("rh", lineage)
    assert all(parts.home.file(row.file).is_file() for row in documents)
    assert not parts.catalog.abandoned("rh")
    return chunks | {(row.document, row.chunks, row.state) for row in documents}


def ingest_for(folder: Path, root: Path, seconds: float | None) -> tuple[int, float]:
    """Ingest in a process of its own, killed so many seconds after the sync began; its exit code and those seconds."""
    command = [sys.executable, __file__, str(folder), str(root)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        start = time.perf_counter()
        try:
            return process.wait(seconds), time.perf_counter() - start
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(), time.perf_counter() - start


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing_for_readers(tmp_path: Path) -> None:
    """Ten times, then the same command to its end: the published content is that of an undisturbed run."""
    folder, base, calm, root = (tmp_path / name for name in ("rh", "base", "calm", "killed"))
    write_first(folder)
    with opened(base) as parts:
        assert sync(folder, "rh", parts).snapshot == 1
        old = results(parts)
    write_second(folder)
    shutil.copytree(base, calm)
    code, whole = ingest_for(folder, calm, None)
    assert code == 0
    with opened(calm) as parts:
        new, undisturbed = results(parts), content(parts)
    assert new != old

    shutil.copytree(base, root)
    draw = random.Random(2026)
    staged = 0
    for moment in (draw.uniform(0.0, whole) for _ in range(MOMENTS)):
        ingest_for(folder, root, moment)
        with opened(root) as parts:
            published = parts.catalog.lineages()["rh"][0] != 1
            staged += any(parts.store.contents("rh", (number,)) for number in parts.catalog.abandoned("rh"))
            assert results(parts) == (new if published else old)
        if published:  # the vectors of the runs before made it quick: begin again
            shutil.rmtree(root)
            shutil.copytree(base, root)
    assert staged, "no moment fell between staging and publishing"

    assert ingest_for(folder, root, None)[0] == 0
    with opened(root) as parts:
        assert content(parts) == undisturbed
        assert results(parts) == new
        states = [snapshot.state for snapshot in parts.catalog.snapshots("rh")]
        assert states.count(SnapshotState.PUBLISHED) == 2
        assert set(states) <= {SnapshotState.PUBLISHED, SnapshotState.DISCARDED}
        again = sync(folder, "rh", parts)
    assert again.embedded == again.added == again.changed == again.removed == 0


if __name__ == "__main__":
    with opened(Path(sys.argv[2]), UnhurriedEmbedder()) as here:
        pipeline.WINDOW = 60  # so that there are moments between two batches, too
        print("begun", flush=True)
        sync(Path(sys.argv[1]), "rh", here, SyncOptions(confirm_removals=True))
