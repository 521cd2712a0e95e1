"""What ingestion costs with the real encoder: run by ``make bench``; each test prints its figures as a line of JSON.

The encoder alone is measured in the same process, on the very batches that the sync gave it, so that what the machine
does beside falls on both.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ingest.pipeline import Parts, SyncReport, sync
from ingest.reading import LocalReader
from ingest.sandbox import Limits, Sandbox
from rag import wiring
from rag.adapters.qdrant_edge import EdgeStore
from rag.catalog import Catalog
from rag.home import Home
from rag.seams import Embedder
from rag.settings import Settings
from rag.types import Matrix, SyncOptions, Vector

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "1962"))
OVERHEAD = 1.15
"""Wall time of a first sync over that of its encoder."""


class RecordingEmbedder:
    """An encoder that remembers what it was given."""

    def __init__(self, real: Embedder) -> None:
        self._real = real
        self.batches: list[list[str]] = []
        self.seconds = 0.0

    @property
    def fingerprint(self) -> str:
        return self._real.fingerprint

    @property
    def dimension(self) -> int:
        return self._real.dimension

    def embed_query(self, text: str) -> Vector:
        return self._real.embed_query(text)

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.batches.append(list(texts))
        start = time.perf_counter()
        found = self._real.embed_passages(texts)
        self.seconds += time.perf_counter() - start
        return found

    def again(self) -> float:
        """Seconds that the encoder takes for the same batches, with nothing beside it."""
        start = time.perf_counter()
        for texts in self.batches:
            self._real.embed_passages(texts)
        return time.perf_counter() - start


def written(shared_data: Path, folder: Path) -> int:
    """The articles of the labour code as files of text; how many."""
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "travail"\ngroups = ["*"]\n', encoding="utf-8")
    count = 0
    with gzip.open(shared_data / "fr-travail" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for count, line in enumerate(lines, start=1):
            if count > DOCUMENTS:
                return count - 1
            document = json.loads(line)
            text = f"{document.get('title') or ''}\n\n{document['text']}\n"
            (folder / f"{count:05}.txt").write_text(text, encoding="utf-8")
    return count


@contextmanager
def parts_of(root: Path, embedder: RecordingEmbedder) -> Iterator[Parts]:
    home = Home.open(root)
    with (
        Sandbox(Limits(), 2) as sandbox,
        closing(Catalog.open(home.catalog)) as catalog,
        closing(EdgeStore.open(home.index, embedder.fingerprint, embedder.dimension)) as store,
    ):
        yield Parts(home, catalog, store, embedder, LocalReader(sandbox), sandbox.members)


def test_a_first_sync_costs_little_more_than_its_encoder(tmp_path: Path, shared_data: Path) -> None:
    """Wall time over bare encoder time; then the same folder again, and again with one article changed."""
    folder = tmp_path / "travail"
    documents = written(shared_data, folder)
    embedder = RecordingEmbedder(wiring.open_embedder(Settings.load({"VAUBAN_EMBEDDER": "minilm"})))
    embedder.embed_passages(["Un texte, pour que rien ne soit plus à charger."])
    embedder.batches.clear()
    embedder.seconds = 0.0
    with parts_of(tmp_path / "home", embedder) as parts:

        def taken() -> tuple[SyncReport, float]:
            start = time.perf_counter()
            report = sync(folder, "travail", parts, SyncOptions())
            return report, time.perf_counter() - start

        first, wall = taken()
        within, load = embedder.seconds, os.getloadavg()[0]
        bare = embedder.again()
        again, unchanged = taken()
        file = folder / f"{documents // 2:05}.txt"
        file.write_text(file.read_text(encoding="utf-8").rstrip() + " Cette phrase est nouvelle.\n", encoding="utf-8")
        changed, one = taken()
    print(
        json.dumps(
            {
                "bench": "fr-travail as files",
                "documents": documents,
                "chunks": first.chunks,
                "rejected": len(first.rejected),
                "wall": round(wall, 1),
                "encoder_within": round(within, 1),
                "encoder_bare": round(bare, 1),
                "wall_over_bare": round(wall / bare, 3),
                "wall_over_encoder_within": round(wall / within, 3),
                "unchanged": round(unchanged, 2),
                "unchanged_share": round(unchanged / wall, 4),
                "unchanged_embedded": again.embedded,
                "one_changed": round(one, 2),
                "one_changed_embedded": changed.embedded,
                "load": round(load, 1),
            }
        )
    )
    assert not first.rejected
    assert (again.embedded, again.changed) == (0, 0)
    assert changed.changed == 1
    assert 1 <= changed.embedded <= 2
    assert unchanged < 0.02 * wall
    assert wall < OVERHEAD * bare
