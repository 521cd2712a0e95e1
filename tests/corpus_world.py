"""A home with a corpus of small texts, taken in with fakes, for the tests of what works on whole corpora."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ingest.pipeline import Parts, SyncReport, sync
from ingest.reading import LocalReader
from ingest.source import Source
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog
from rag.errors import DocumentError, RejectReason
from rag.home import Home
from rag.seams import VectorStore
from rag.types import Block, BlockKind, Matrix, Parsed, SyncOptions


class PlainParsing:
    """Reads text: a line with ``# `` is a heading; a file that begins with ``BAD`` is corrupt."""

    def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Parsed | DocumentError]]:
        for source in sources:
            text = re.sub(r"\A\+\+\+\n.*?\n\+\+\+\n", "", source.path.read_text(encoding="utf-8"), flags=re.DOTALL)
            if text.startswith("BAD"):
                yield source, DocumentError(RejectReason.CORRUPT, "cut short")
                continue
            blocks = tuple(
                Block(BlockKind.HEADING, line[2:], 1) if line.startswith("# ") else Block(BlockKind.PARAGRAPH, line)
                for line in text.splitlines()
                if line.strip()
            )
            yield source, Parsed(blocks, "text/markdown")


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self, dimension: int = 32) -> None:
        super().__init__(dimension)
        self.asked: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        return super().embed_passages(texts)


@dataclass
class World:
    """A folder, a home, and the parts that take the one into the other."""

    folder: Path
    home: Home
    catalog: Catalog
    store: VectorStore
    embedder: CountingEmbedder = field(default_factory=CountingEmbedder)
    reader: LocalReader = field(default_factory=lambda: LocalReader(PlainParsing()))
    name: str = "rh"

    @property
    def parts(self) -> Parts:
        return Parts(self.home, self.catalog, self.store, self.embedder, self.reader)

    def write(self, path: str, *articles: str, front: str = "") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        head = f"+++\n{front}\n+++\n" if front else ""
        text = "\n\n".join(f"# Article {n}\n\n{text}" for n, text in enumerate(articles, 1))
        file.write_text(head + text, encoding="utf-8")

    def sync(self) -> SyncReport:
        return sync(self.folder, self.name, self.parts, SyncOptions(confirm_removals=True))

    def seen(self, store: VectorStore | None = None) -> dict[int, set[tuple[str, str, str, frozenset[str]]]]:
        """What each readable snapshot shows: chunk id, title, text and groups."""
        found = {}
        for snapshot in self.catalog.snapshots(self.name):
            if snapshot.state == "published":
                lineage = self.catalog.lineage(self.name, snapshot.number)
                stored = (store or self.store).contents(self.name, lineage)
                found[snapshot.number] = {(s.chunk.id, s.chunk.title, s.chunk.text, s.chunk.groups) for s in stored}
        return found


@contextmanager
def world(root: Path, store: VectorStore | None = None, documents: int = 6) -> Iterator[World]:
    """A corpus ``rh`` of some documents with two articles each, not yet taken in."""
    folder = root / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\ncontact = "DRH"\n', encoding="utf-8")
    home = Home.open(root / "home")
    catalog = Catalog.open(home.catalog)
    embedder = CountingEmbedder()
    made = World(folder, home, catalog, store or DictStore(embedder.fingerprint, embedder.dimension), embedder)
    for number in range(documents):
        made.write(f"texte-{number:02}.md", f"Le congé numéro {number}.", "Dispositions communes.")
    try:
        yield made
    finally:
        catalog.close()
