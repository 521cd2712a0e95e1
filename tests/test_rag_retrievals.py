"""Which documents searches find is counted beside them: nothing is lost at the end, and nothing waits."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rag.errors import StoreError
from rag.retrievals import Retrievals
from rag.settings import Settings
from rag.types import Chunk, Hit, Question
from rag.wiring import open_vauban


def hit(document: str, corpus: str = "rh") -> Hit:
    return Hit(Chunk("id", corpus, document, "T", "", (), "Texte.", 0, "fr", 0, 6), 1.0)


class Written:
    """What was written, in all."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.times = 0

    def __call__(self, corpus: str, documents: Mapping[str, int]) -> None:
        self.times += 1
        self.counts.update({(corpus, document): times for document, times in documents.items()})


def test_each_document_counts_once_a_search() -> None:
    """And nothing is written before the time has come, or the end."""
    written = Written()
    counting = Retrievals(written)
    counting.seen([hit("a"), hit("a"), hit("b"), hit("a", "finances")])
    counting.seen([hit("a")])
    counting.seen([])
    assert written.times == 0
    counting.close()
    assert written.counts == {("rh", "a"): 2, ("rh", "b"): 1, ("finances", "a"): 1}


def test_counts_are_written_now_and_then() -> None:
    written = Written()
    counting = Retrievals(written, every=0.01)
    counting.seen([hit("a")])
    for _ in range(500):
        if written.counts:
            break
        time.sleep(0.01)
    assert written.counts == {("rh", "a"): 1}
    counting.close()
    assert written.times == 1


def test_what_could_not_be_written_is_written_later() -> None:
    """Nor does a search ever fail for it."""
    written = Written()
    broken = True

    def write(corpus: str, documents: Mapping[str, int]) -> None:
        if broken:
            raise StoreError("the disk is full")
        written(corpus, documents)

    counting = Retrievals(write, every=0.01)
    counting.seen([hit("a")])
    time.sleep(0.05)
    broken = False
    counting.seen([hit("a")])
    counting.close()
    assert written.counts == {("rh", "a"): 2}


def test_many_threads_count_together() -> None:
    written = Written()
    counting = Retrievals(written, every=0.001)

    def search() -> None:
        for _ in range(300):
            counting.seen([hit("a")])

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.close()
    assert written.counts == {("rh", "a"): 1_200}


def test_a_vauban_counts_when_it_is_told_to(tmp_path: Path, root: Path) -> None:
    """The server and questions of people do, measurements do not."""
    from ingest.jobs import open_parts
    from ingest.pipeline import sync

    settings = Settings(home=tmp_path / "home", embedder="fake", generator="none", workers=1, local_groups=frozenset())
    folder = tmp_path / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n')
    (folder / "conges.md").write_text("# Article 1\n\nLe congé annuel est de 25 jours.\n")
    with open_vauban(settings) as vauban, open_parts(vauban) as parts:
        sync(folder, "rh", parts)
        assert vauban.engine.search(Question("congé annuel", vauban.local))
    for expected in (1, 3):
        with open_vauban(settings, count=True) as vauban:
            for _ in range(1 if expected == 1 else 2):
                vauban.engine.finish(Question("Combien de jours de congé annuel ?", vauban.local))
        with open_vauban(settings) as vauban:
            assert vauban.catalog.retrievals("rh") == {"conges.md": expected}
