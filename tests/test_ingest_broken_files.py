"""Two thousand broken and hostile files: each ends as a document or as a row with its reason, within its limits."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Final

import psutil
import pytest

from ingest import ocr
from ingest.archives import may_be_archive
from ingest.parsers import Limits
from ingest.pipeline import Parts, sync
from ingest.reading import LocalReader
from ingest.sandbox import Sandbox
from ingest.source import Source
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog
from rag.errors import DocumentError, RejectReason
from rag.home import Home
from rag.types import SyncOptions
from tests import broken_files
from tests.broken_files import Broken

ALL: Final = 2_000
QUICK: Final = 150
LIMITS: Final = Limits(seconds=10, memory=512, megabytes=64, expanded=128, ocr_seconds=5, pages=3000)
SHORT: Final = Limits(seconds=3, memory=256, megabytes=64, expanded=128, ocr_seconds=2)
SLOW_BOMBS: Final = (
    "bomb glyphs.pdf",
    "bomb dashes.md",
    "bomb stars.md",
    "bomb members.zip",
    "bomb flate.pdf",
    "bomb boundary.eml",
    "bomb deep-brackets.md",
)
"""What takes longer than the quick run has."""
SLACK: Final = 48
"""MiB that a worker may hold beyond its limit: what the limit is counted from grows by the libraries that it loads."""
MOST_MEMBERS: Final = 40
"""Members of one archive that are read here; the others were judged with it."""


@dataclass
class Outcome:
    """What came of one file, and what it cost: the seconds, and the MiB that the worker grew by."""

    file: Broken
    reasons: list[RejectReason | None]
    seconds: float
    grown: int


@dataclass
class Figures:
    """What a run saw, by format."""

    outcomes: list[Outcome] = field(default_factory=list)

    def crashed(self) -> list[str]:
        return [f"{one.file.name}: {one.file.how}" for one in self.outcomes if RejectReason.CRASHED in one.reasons]

    def table(self) -> dict[str, dict[str, object]]:
        rows: dict[str, list[Outcome]] = defaultdict(list)
        for one in self.outcomes:
            rows[one.file.format].append(one)
        return {
            name: {
                "files": len(some),
                **Counter("read" if reason is None else reason.value for one in some for reason in set(one.reasons)),
                "seconds": round(max(one.seconds for one in some), 1),
                "grown_mib": max(one.grown for one in some),
            }
            for name, some in sorted(rows.items())
        }


def resident(process: psutil.Process) -> int:
    """MiB that a worker and what it started hold now."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        total += one.memory_info().rss
    return total >> 20


class Watch:
    """Looks at the memory of the workers, many times a second; ``highest`` is the most since it was set to 0."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._over = Event()
        self._thread = Thread(target=self._look)
        self.highest = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *said: object) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> int:
        found = 0
        for pid in self._sandbox.pids:
            try:
                found = max(found, resident(psutil.Process(pid)))
            except psutil.Error:
                continue  # it has just ended
        return found

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.highest = max(self.highest, self.now())


def outcomes(files: Iterable[Broken], folder: Path, limits: Limits) -> Iterator[Outcome]:
    """Each file through one sandbox, one after the other, archives member by member."""
    with Sandbox(limits, workers=1) as sandbox, Watch(sandbox) as watch:
        for file in files:
            path = file.write(folder)
            before = watch.now()
            watch.highest = 0
            began = time.monotonic()
            reasons = list(_reasons(sandbox, path, file.content))
            seconds = time.monotonic() - began
            yield Outcome(file, reasons, seconds, max(0, max(watch.highest, watch.now()) - before))
            path.unlink()


def _reasons(sandbox: Sandbox, path: Path, content: bytes) -> Iterator[RejectReason | None]:
    sources = [Source(path)]
    if may_be_archive(content[:4096]):
        members = sandbox.members(path)
        if isinstance(members, DocumentError):
            yield members.reason
            return
        if members is not None:
            yield from (member.refused.reason for member in members if member.refused is not None)
            sources = [Source(path, member.names) for member in members if member.refused is None][:MOST_MEMBERS]
    for _, result in sandbox.parse(sources):
        yield result.reason if isinstance(result, DocumentError) else None


def judged(files: Iterable[Broken], folder: Path, limits: Limits) -> Figures:
    """The figures of a run in which nothing went beyond its limits."""
    figures = Figures()
    longest = ocr.CLOCK * limits.seconds + 5 + 3 * ocr.CLOCK * limits.ocr_seconds
    for one in outcomes(files, folder, limits):
        figures.outcomes.append(one)
        assert one.reasons, one.file
        assert one.seconds < longest * max(1, len(one.reasons)), (one.file.name, one.file.how, one.seconds)
        assert one.grown <= limits.memory + SLACK, (one.file.name, one.file.how, one.grown)
    return figures


def chosen() -> Iterator[Broken]:
    """The bombs that cost little, and as many damaged files as are wanted, of every format."""
    bombs = [bomb for bomb in broken_files.bombs(long=False) if bomb.how not in SLOW_BOMBS]
    yield from bombs
    yield from (broken_files.mutated(number) for number in range(QUICK - len(bombs)))


@pytest.mark.slow
def test_broken_files_end_with_a_reason(tmp_path: Path) -> None:
    """Every bomb that is quick to meet and some damaged files of each format: none breaks its reader down."""
    figures = judged(chosen(), tmp_path, SHORT)
    assert len(figures.outcomes) == QUICK
    assert figures.crashed() == []
    assert len({one.file.format for one in figures.outcomes}) >= len(broken_files.SEEDS)


@pytest.mark.slow
def test_the_valid_files_are_read(tmp_path: Path) -> None:
    """What the broken files are made from is whole: otherwise they would prove little."""
    whole = [
        Broken(number, f"a{number}.{kind}", kind, "nothing", broken_files.seed(kind))
        for number, kind in enumerate(broken_files.SEEDS)
        if ocr.available(LIMITS.ocr_languages) or kind not in {"png", "jpg", "tif"}
    ]
    found = {one.file.format: set(one.reasons) for one in outcomes(whole, tmp_path, LIMITS)}
    no_text = {RejectReason.NO_TEXT}  # a file of a text's structure is none by itself
    assert found.pop("struct.xml") == no_text
    assert found.pop("legi.zip") == {None} | no_text
    assert found == {file.format: {None} for file in whole if file.format in found}


def test_broken_files_are_the_same_each_time() -> None:
    """A number names a file, so that what was found can be found again."""
    some = range(0, 200, 7)
    assert [broken_files.mutated(number) for number in some] == [broken_files.mutated(number) for number in some]
    assert broken_files.mutated(1).content != broken_files.mutated(1, salt=7).content


@pytest.mark.parametrize("content", ["a" * 30_001, "Un.\n\n" * 301], ids=["characters", "paragraphs"])
def test_text_without_pages_is_bounded_by_them(tmp_path: Path, content: str) -> None:
    """Who splits a text has no limit but its length: 3 pages hold no more than 30,000 characters or 300 paragraphs."""
    bomb = Broken(0, "a.txt", "txt", "long", content.encode())
    shorter = Broken(1, "b.txt", "txt", "less long", content[: len(content) - 5].encode())
    found = [one.reasons for one in outcomes([bomb, shorter], tmp_path, replace(SHORT, pages=3))]
    assert found == [[RejectReason.TOO_LONG], [None]]


def test_a_part_that_packs_too_well_is_no_breakdown(tmp_path: Path) -> None:
    """An OpenDocument file whose library refuses it as a bomb is refused as one."""
    bomb = next(bomb for bomb in broken_files.bombs(long=False) if bomb.how == "bomb deep.odt")
    assert [one.reasons for one in outcomes([bomb], tmp_path, SHORT)] == [[RejectReason.TOO_LARGE]]


def synced(folder: Path, root: Path, files: Iterable[Broken], limits: Limits, workers: int) -> dict[str, object]:
    """A folder of broken files, taken in twice as one corpus: what came of them, and what the second run still did."""
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "casse"\ngroups = ["*"]\n', encoding="utf-8")
    names = {file.write(folder).name for file in files}
    home, embedder = Home.open(root), HashEmbedder()
    catalog = Catalog.open(home.catalog)
    store = DictStore(embedder.fingerprint, embedder.dimension)
    try:
        with Sandbox(limits, workers) as sandbox:
            parts = Parts(home, catalog, store, embedder, LocalReader(sandbox), sandbox.members)
            first = sync(folder, "casse", parts, SyncOptions())
            again = sync(folder, "casse", parts, SyncOptions())
        lineage = catalog.published("casse")
        documents = catalog.documents("casse", lineage)
        assert sum(row.chunks for row in documents) == len(store.contents("casse", lineage)) == again.chunks
        told = {row.document.source.split("/")[0] for row in documents} | {
            row.path.split("/")[0] for row in first.rejected
        }
    finally:
        catalog.close()
    assert told >= names, "a file is neither a document nor a row"
    # On a busy machine what ran out of time at first may be read when it is tried again, and nothing else may differ.
    limited = sum(row.reason in {RejectReason.TIMEOUT, RejectReason.MEMORY} for row in first.rejected)
    assert again.added <= limited
    assert (again.changed, again.removed) == (0, 0)
    assert again.embedded == 0 or again.added
    return {
        "files": len(names),
        "documents": len(documents),
        "chunks": first.chunks,
        "seconds": round(first.seconds, 1),
        **Counter(str(row.reason) for row in first.rejected),
    }


@pytest.mark.slow
def test_a_folder_of_broken_files_is_published(tmp_path: Path) -> None:
    """One sync over them says of each what became of it, and the next one has nothing new to do."""
    files = [broken_files.mutated(number) for number in range(len(broken_files.SEEDS), 3 * len(broken_files.SEEDS))]
    figures = synced(tmp_path / "casse", tmp_path / "home", files, SHORT, workers=2)
    assert figures.get("crashed", 0) == 0


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_two_thousand_broken_files(tmp_path: Path) -> None:
    """All the bombs and all the damage, file by file and then as one corpus; the figures are a line of JSON."""
    (tmp_path / "one").mkdir()
    figures = judged(broken_files.broken_files(ALL, long=True), tmp_path / "one", LIMITS)
    counted = {"files": len(figures.outcomes), "formats": figures.table(), "crashed": figures.crashed()}
    print(json.dumps({"bench": "broken files", **counted}))
    as_one = synced(tmp_path / "casse", tmp_path / "home", broken_files.broken_files(ALL, long=True), LIMITS, workers=2)
    print(json.dumps({"bench": "broken files as one corpus", **as_one}))
    assert len(figures.outcomes) == ALL
    assert figures.crashed() == []
