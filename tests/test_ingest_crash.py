"""Kill -9 of the coordinator or of its workers at any moment: readers see old or new, never both; the next run mends.

A quick version always runs. ``INGEST_KILLS=200`` runs so many kills over the sample corpora, and
``INGEST_EMBEDDER=minilm`` takes that model instead of the fake; both print their figures as one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest

from ingest import pipeline
from ingest.pipeline import Parts, sync
from ingest.reading import LocalReader
from ingest.sandbox import Limits, Sandbox
from rag import wiring
from rag.adapters.fake import HashEmbedder
from rag.adapters.qdrant_edge import EdgeStore
from rag.catalog import Catalog, SnapshotState
from rag.home import Home
from rag.lexical import query_vector
from rag.seams import Embedder
from rag.settings import Settings
from rag.types import Matrix, Query, RunState, Scope, SyncOptions

WORDS = "congé préavis prime agent service barème délai recours visite médicale arrêté dépense mission logement".split()
QUESTIONS = ("quel est le délai de recours", "prime de mission", "visite médicale de l'agent")
DOCUMENTS = 16
MOMENTS = 8
SAMPLES: Final = ("rh", "sante", "finances", "infrastructures")
FAKE: Final = "fake"
ROUNDING: Final = 1e-6
"""What scores may differ by that are of the same texts; a real model's have differed by 6e-8."""


class UnhurriedEmbedder(HashEmbedder):
    """Takes its time, as a real one does, so that there is something to interrupt."""

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        time.sleep(0.01 * len(texts))
        return super().embed_passages(texts)


def embedder_called(name: str) -> Embedder:
    return UnhurriedEmbedder() if name == FAKE else wiring.open_embedder(Settings.load({"VAUBAN_EMBEDDER": name}))


@contextmanager
def opened(root: Path, embedder: Embedder) -> Iterator[Parts]:
    """The real catalog, store and workers over a home folder."""
    home = Home.open(root)
    with Sandbox(Limits(), 2) as reader:
        store = EdgeStore.open(home.index, embedder.fingerprint, embedder.dimension)
        catalog = Catalog.open(home.catalog)
        try:
            yield Parts(home, catalog, store, embedder, LocalReader(reader))
        finally:
            catalog.close()
            store.close()


# --- folders, before and after ---------------------------------------------------------------------------


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


def sample_before(sample: Path, folder: Path) -> None:
    """A sample corpus as it might have been: two texts in each other's place, one elsewhere, one missing, one more."""
    shutil.copytree(sample, folder)
    files = sorted(file.with_name(file.name.removesuffix(".meta.toml")) for file in folder.glob("*.meta.toml"))
    one, other = next((one, other) for one in files for other in files if one < other and one.suffix == other.suffix)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    moved, missing = [file for file in files if file not in {one, other}][-2:]
    for file in (moved, moved.with_name(f"{moved.name}.meta.toml")):
        file.rename(file.with_name(f"avant-{file.name}"))
    for file in (missing, missing.with_name(f"{missing.name}.meta.toml")):
        file.unlink()
    (folder / "ancien.md").write_text(document(folder.name, 12), encoding="utf-8")


# --- what readers see ------------------------------------------------------------------------------------


def results(parts: Parts, corpora: Sequence[str]) -> list[tuple[str, float, str]]:
    """What every question finds in these corpora, with its scores, list by list."""
    found: list[tuple[str, float, str]] = []
    lineages = parts.catalog.lineages()
    scope = Scope(frozenset({"agents"}), 9, {name: lineages[name] for name in corpora})
    for text in QUESTIONS:
        query = Query(parts.embedder.embed_query(text), query_vector(text, ["fr"]), ("article:3",))
        candidates = parts.store.search(query, scope, 20)
        for name in ("dense", "sparse", "exact"):
            found += [(scored.chunk.id, scored.score, name) for scored in getattr(candidates, name)]
    assert found
    return found


def same(found: Sequence[tuple[str, float, str]], wanted: Sequence[tuple[str, float, str]]) -> bool:
    """Whether two lists of results are one: a vector's last bits depend on the batch that it was computed in."""
    return [(one[0], one[2]) for one in found] == [(one[0], one[2]) for one in wanted] and all(
        abs(one[1] - other[1]) < ROUNDING for one, other in zip(found, wanted, strict=True)
    )


def content(parts: Parts, corpus: str) -> set[tuple[object, ...]]:
    """What is published, and nothing of how it came there: ids, texts, what decides who sees it when, documents."""
    lineage = parts.catalog.published(corpus)
    stored = parts.store.contents(corpus, lineage)
    chunks = {
        (c.id, c.document, c.text, c.title, c.start, c.page, c.groups, c.clearance, c.validity)
        for c in (one.chunk for one in stored)
    }
    assert len(chunks) == len(stored), "a chunk is stored twice"
    documents = parts.catalog.documents(corpus, lineage)
    assert sum(row.chunks for row in documents) == len(stored)
    assert all(parts.home.file(row.file).is_file() for row in documents)
    outlines = parts.catalog.outlines(corpus, lineage, [row.document.id for row in documents])
    assert set(outlines) == {row.document.id for row in documents}
    return chunks | {(row.document, row.chunks, row.state) for row in documents} | set(outlines.items())


# --- kills -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """How an ingestion in a process of its own ended: its exit code, how long it ran, and who was killed."""

    code: int
    seconds: float
    killed: str


def ingest_for(folders: Sequence[Path], root: Path, embedder: str, kill: tuple[float, str] | None = None) -> End:
    """Ingest in a process of its own; ``kill`` it, or one of its workers, so many seconds after it began."""
    command = [sys.executable, __file__, embedder, str(root), *map(str, folders)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        start = time.perf_counter()
        killed = "nobody"
        if kill is not None:
            try:
                process.wait(kill[0])
            except subprocess.TimeoutExpired:
                killed = _killed(process, kill[1])
        return End(process.wait(), time.perf_counter() - start, killed)


def _killed(process: subprocess.Popen[bytes], whom: str) -> str:
    """Kill a worker of the process, or the process itself where it has none; who was killed."""
    try:
        workers = psutil.Process(process.pid).children() if whom == "worker" else []
        if workers:
            workers[len(workers) // 2].kill()
            return "worker"
    except psutil.NoSuchProcess:  # it has just ended by itself
        return "nobody"
    process.kill()
    return "coordinator"


def figures_of_kills(
    tmp_path: Path, befores: Mapping[str, Path], afters: Mapping[str, Path], kills: int, embedder: str
) -> dict[str, object]:
    """Kill so many ingestions from ``befores`` to ``afters``, each corpus by its name; what was seen meanwhile.

    ``mixed`` counts the looks at a corpus that showed neither the old results nor the new ones, ``differences`` the
    corpora that were in the end not what an undisturbed run makes of them.
    """
    base, calm, root = (tmp_path / name for name in ("base", "calm", "killed"))
    names = tuple(befores)
    model = embedder_called(embedder)
    assert ingest_for(list(befores.values()), base, embedder).code == 0
    shutil.copytree(base, calm)
    undisturbed = ingest_for(list(afters.values()), calm, embedder)
    assert undisturbed.code == 0
    with opened(base, model) as parts:
        old = {name: results(parts, [name]) for name in names}
    with opened(calm, model) as parts:
        new = {name: results(parts, [name]) for name in names}
        wanted = {name: content(parts, name) for name in names}
    assert not any(same(old[name], new[name]) for name in names)

    shutil.copytree(base, root)
    draw = random.Random(2026)
    seen: Counter[str] = Counter()
    start = time.perf_counter()
    for number in range(kills):
        whom = "worker" if number % 3 == 2 else "coordinator"
        end = ingest_for(list(afters.values()), root, embedder, (draw.uniform(0.0, undisturbed.seconds), whom))
        seen[end.killed] += 1
        with opened(root, model) as parts:
            lineages = parts.catalog.lineages()
            done = [name for name in names if lineages[name][0] != 1]
            seen["staged"] += any(
                parts.store.contents(name, (left,)) for name in names for left in parts.catalog.abandoned(name)
            )
            for name in names:
                found = results(parts, [name])
                seen["mixed"] += not same(found, new[name] if name in done else old[name])
            if end.code == 0:
                seen["differences"] += sum(content(parts, name) != wanted[name] for name in names)
        seen["finished"] += end.code == 0
        if len(done) == len(names):  # the vectors of the runs before made it quick: begin again
            shutil.rmtree(root)
            shutil.copytree(base, root)
    assert ingest_for(list(afters.values()), root, embedder).code == 0
    with opened(root, model) as parts:
        for name in names:
            seen["differences"] += content(parts, name) != wanted[name]
            seen["mixed"] += not same(results(parts, [name]), new[name])
            states = [snapshot.state for snapshot in parts.catalog.snapshots(name)]
            assert states.count(SnapshotState.PUBLISHED) == 2
            assert set(states) <= {SnapshotState.PUBLISHED, SnapshotState.DISCARDED}
            assert not parts.catalog.abandoned(name)
            again = sync(afters[name], name, parts)
            seen["again"] += again.embedded + again.added + again.changed + again.removed
        parts.catalog.interrupt_runs()
        assert all(run.final for run in parts.catalog.runs(limit=10_000))
        ended = Counter(run.state for run in parts.catalog.runs(limit=10_000))
    return {
        "kills": kills,
        "embedder": embedder,
        "undisturbed_seconds": round(undisturbed.seconds, 2),
        **{key: seen[key] for key in ("coordinator", "worker", "nobody", "finished", "staged")},
        **{key: seen[key] for key in ("mixed", "differences", "again")},
        "runs_done": ended[RunState.DONE],
        "seconds": round(time.perf_counter() - start, 1),
    }


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing_for_readers(tmp_path: Path) -> None:
    """Eight times, then the same command to its end: the published content is that of an undisturbed run."""
    before, after = tmp_path / "avant", tmp_path / "rh"
    write_first(before)
    shutil.copytree(before, after)
    write_second(after)
    figures = figures_of_kills(tmp_path, {"rh": before}, {"rh": after}, MOMENTS, FAKE)
    print(json.dumps(figures))
    assert figures["staged"], "no moment fell between staging and publishing"
    assert (figures["mixed"], figures["differences"], figures["again"]) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.skipif("INGEST_KILLS" not in os.environ, reason="takes an hour: set INGEST_KILLS=200")
def test_many_kills_over_the_sample_corpora_leave_no_trace(tmp_path: Path, root: Path) -> None:
    """The same with real formats, several corpora one after the other, and a real model where one is named."""
    befores, afters = {}, {}
    for name in SAMPLES:
        afters[name] = root / "ingest" / "samples" / name
        befores[name] = tmp_path / "avant" / name
        sample_before(afters[name], befores[name])
    embedder = os.environ.get("INGEST_EMBEDDER", FAKE)
    figures = figures_of_kills(tmp_path, befores, afters, int(os.environ["INGEST_KILLS"]), embedder)
    print(json.dumps(figures))
    assert (figures["mixed"], figures["differences"], figures["again"]) == (0, 0, 0)


if __name__ == "__main__":
    pipeline.WINDOW = 30  # type: ignore[misc]  # so that there are moments between two batches, too
    with opened(Path(sys.argv[2]), embedder_called(sys.argv[1])) as here:
        print("begun", flush=True)
        here.catalog.interrupt_runs()
        codes = [
            sync(
                folder, "rh" if folder.name == "avant" else folder.name, here, SyncOptions(confirm_removals=True)
            ).exit_code
            for folder in map(Path, sys.argv[3:])
        ]
    sys.exit(max(codes))
