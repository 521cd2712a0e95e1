"""What ingestion costs as a corpus grows: memory of all processes, a folder unchanged, an article changed, going back.

The sizes of a quick run are the default; ``INGEST_SCALE=2000x50`` (documents x articles) makes it the real thing, and
the figures are printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil
import pytest

from ingest.pipeline import Parts, sync
from ingest.reading import LocalReader
from ingest.sandbox import Limits, Sandbox
from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.catalog import Catalog
from rag.home import Home
from rag.types import Matrix, SyncOptions

WORDS: Final = (
    "agent service congé prime barème délai recours visite médicale arrêté dépense mission logement indemnité grade "
    "échelon notification dossier commission avis décision directeur établissement présent sixième chaque durée"
).split()
MEMORY: Final = 3 * 1024**3
"""Bytes that 100,000 chunks may take, over all processes."""
JITTER: Final = 0.1
"""Seconds that two runs of the same work may differ."""


class CountingEmbedder(HashEmbedder):
    """Counts the texts that it embeds."""

    asked = 0

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.asked += len(texts)
        return super().embed_passages(texts)


def write_corpus(folder: Path, documents: int, articles: int) -> None:
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n', encoding="utf-8")
    for number in range(documents):
        (folder / f"{number // 100:03}").mkdir(exist_ok=True)
        write_document(folder, number, articles)


def write_document(folder: Path, number: int, articles: int, changed: int = 0) -> None:
    draw = random.Random(number)
    lines = [f"# Règlement {number}"]
    for article in range(1, articles + 1):
        words = " ".join(draw.choices(WORDS, k=90))
        lines += [f"## Article {article}", f"{words.capitalize()}{' modifié' if article == changed else ''}."]
    file = folder / f"{number // 100:03}" / f"texte-{number:05}.md"
    file.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def resident(process: psutil.Process) -> int:
    """Bytes that a process and all below it hold, what they share counted once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def measured(tmp_path: Path, documents: int, articles: int) -> dict[str, float]:
    """The figures of one corpus, taken in by a process of its own."""
    folder, root = tmp_path / "rh", tmp_path / "home"
    write_corpus(folder, documents, articles)
    command = [sys.executable, __file__, str(folder), str(root), str(documents), str(articles)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    highest = 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                highest = max(highest, resident(process))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
        assert running.stdout is not None
        figures: dict[str, float] = json.loads(running.stdout.read().splitlines()[-1])
    assert running.returncode == 0
    return figures | {"memory": highest}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_corpus_may_grow(tmp_path: Path) -> None:
    """Memory stays flat, an unchanged folder costs next to nothing, and a change what it is itself."""
    documents, articles = map(int, os.environ.get("INGEST_SCALE", "200x12").split("x"))
    figures = measured(tmp_path, documents, articles)
    print(json.dumps(figures))
    assert figures["chunks"] >= documents * articles
    assert figures["memory"] < MEMORY
    assert figures["again_embedded"] == 0
    assert figures["changed_embedded"] == figures["alone_embedded"] == 1
    assert figures["rollback"] < 1.0
    # By the processor's clock, because other programs share it. What the corpus adds to a change is to look for it.
    assert figures["again_processor"] < 0.02 * figures["first_processor"] + JITTER
    assert figures["changed_processor"] - figures["again_processor"] <= 1.2 * figures["alone_processor"] + JITTER


def figures_of(folder: Path, root: Path, documents: int, articles: int) -> dict[str, float]:
    """Sync, again, with one article of one document changed, the same of that document alone, and a rollback."""
    embedder = CountingEmbedder()
    home = Home.open(root)
    with Sandbox(Limits(), 2) as sandbox:
        store = EdgeStore.open(home.index, embedder.fingerprint, embedder.dimension)
        catalog = Catalog.open(home.catalog)
        parts = Parts(home, catalog, store, embedder, LocalReader(sandbox))

        figures: dict[str, float] = {"documents": documents}

        def timed(what: str, within: Path, name: str) -> None:
            start, worked = time.perf_counter(), time.process_time()
            report = sync(within, name, parts, SyncOptions())
            figures[what] = round(time.perf_counter() - start, 3)
            figures[f"{what}_processor"] = round(time.process_time() - worked, 3)
            figures[f"{what}_embedded"] = report.embedded

        timed("first", folder, "rh")
        timed("again", folder, "rh")
        write_document(folder, documents // 2, articles, changed=articles // 2)
        timed("changed", folder, "rh")
        figures["chunks"] = sum(row.chunks for row in catalog.documents("rh", catalog.published("rh")))
        start = time.perf_counter()
        catalog.rollback("rh")
        figures["rollback"] = round(time.perf_counter() - start, 4)
        lone = folder.parent / "seul"
        lone.mkdir()
        (lone / "corpus.toml").write_text('name = "seul"\ngroups = ["*"]\n', encoding="utf-8")
        (lone / "000").mkdir()
        write_document(lone, 1, articles)
        timed("new", lone, "seul")
        write_document(lone, 1, articles, changed=articles // 2)
        timed("alone", lone, "seul")
        catalog.close()
        store.close()
    return figures


if __name__ == "__main__":
    print(json.dumps(figures_of(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
