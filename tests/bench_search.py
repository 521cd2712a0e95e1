"""Requests a second on /v1/search over many chunks, through HTTP, by hand; one line of JSON for each run.

    OMP_NUM_THREADS=1 python -m tests.bench_search --chunks 20000 --embedder minilm --seconds 15

The chunks hold sentences of the sample regulations, mixed; their vectors are drawn at random, which costs a search the
same. With ``--embedder fake`` questions are hashed and no encoder runs. The whole is one corpus, read by everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from pathlib import Path
from typing import Final
from uuid import UUID

import httpx
import numpy as np

from ingest import samples
from ingest.source import Source
from rag import lexical
from rag.catalog import DocumentRow
from rag.settings import Settings
from rag.types import Chunk, Corpus, Document, Point
from rag.wiring import open_vauban
from tests.bench_service import load, show
from tests.service_clients import home_database, people, service

CORPUS: Final = "codes"
ARTICLES: Final = 50
"""Chunks in a document."""
STAGED: Final = 2000
"""Chunks that are given to the store at a time."""


def sentences() -> list[str]:
    """Sentences of the sample regulations."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(samples.__file__).parent.rglob("*.md"))]
    return [one.strip() for text in texts for one in re.split(r"(?<=[.;:])\s+", text) if 40 < len(one) < 400]


def fill(root: Path, embedder: str, chunks: int) -> None:
    """A home at ``root`` with ``chunks`` chunks published in one corpus."""
    drawn, rows, batch = random.Random(1), list[DocumentRow](), list[Point]()
    directions = np.random.default_rng(1)
    said = sentences()
    with open_vauban(Settings(home=root, embedder=embedder, generator="none"), generate=False) as vauban:
        dimension = vauban.embedder.dimension
        vauban.catalog.declare(Corpus(CORPUS, "Codes", groups=frozenset({"agents"})))
        draft = vauban.catalog.begin(CORPUS)
        for number in range(chunks // ARTICLES):
            written = root / "written.txt"
            written.write_text(f"{number}", encoding="utf-8")
            sha256 = vauban.home.keep(Source(written))
            name = f"texte-{number:05}"
            document = Document(name, CORPUS, f"Texte {number}", "fr", f"{name}.txt", sha256, "text/plain")
            for article in range(ARTICLES):
                text = " ".join(drawn.sample(said, 4))
                chunk = Chunk(
                    str(UUID(int=drawn.getrandbits(128))), CORPUS, name, document.title, f"Article {article + 1}",
                    (f"Article {article + 1}",), text, article, "fr", article * 2000, article * 2000 + len(text),
                    groups=frozenset({"agents"}),
                )  # fmt: skip
                vector = directions.standard_normal(dimension, dtype=np.float32)
                batch.append(Point(chunk, vector / np.linalg.norm(vector), lexical.chunk_vector(chunk)))
            rows.append(DocumentRow(document, "", ARTICLES))
            if len(batch) >= STAGED:
                vauban.store.stage(CORPUS, draft.number, batch, [])
                batch.clear()
        vauban.store.stage(CORPUS, draft.number, batch, [])
        vauban.catalog.publish(draft, added=rows, removed=[], stale=[], chunks=chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--connections", default="1,4,16")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        root = Path(folder) / "home"
        began = time.monotonic()
        fill(root, chosen.embedder, chosen.chunks)
        show("filled", {"chunks": chosen.chunks, "seconds": round(time.monotonic() - began, 1)})
        persons = people(home_database(root), [CORPUS], 16)
        with service(Path(folder), VAUBAN_EMBEDDER=chosen.embedder, VAUBAN_GENERATOR="none") as server:
            deadline = time.monotonic() + 120
            while not httpx.get(f"{server.url}/readyz", trust_env=False).is_success and time.monotonic() < deadline:
                time.sleep(0.5)
            for connections in map(int, chosen.connections.split(",")):
                found = asyncio.run(load(server.url, persons, connections, chosen.seconds))
                show(f"search, {chosen.embedder}", found)


if __name__ == "__main__":
    main()
