"""Documents spread over real worker processes, on a real broker and a real catalog: the same is published.

One worker is killed in the middle of a document, the broker goes away, or there is nobody at all. This file is also
the program of the workers, which are made to beat faster and to stop where the test wants to kill them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ingest import broker as brokers
from ingest import samples, worker
from ingest.broker import Broker
from ingest.celery_reader import CeleryReader, Patience, open_celery_reader
from ingest.jobs import open_parts
from ingest.pipeline import Parts, SyncReport, sync
from rag.adapters.fake import HashEmbedder
from rag.errors import OperatorError
from rag.settings import Settings
from rag.types import Matrix
from rag.wiring import Vauban, open_vauban
from tests import qdrant_double, redis_server
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parent.parent
CORPORA = ("rh", "sante", "finances", "infrastructures")
HURRY = {"BEAT": 0.3, "ALIVE": 2.0, "WANTED": 4.0}
"""Signs of life come fast here, so that a death is noticed before the test is long."""

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in HURRY.items():
        monkeypatch.setattr(brokers, name, seconds)


def copied(target: Path) -> Path:
    """The sample corpora, to be changed."""
    for name in CORPORA:
        shutil.copytree(Path(samples.__file__).parent / name, target / name)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "sources")


def settings_of(home: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": home, "embedder": "fake", "generator": "none", **values})


def content(vauban: Vauban, name: str) -> set[tuple[object, ...]]:
    """What is published of a corpus, and nothing of how it came there."""
    lineage = vauban.catalog.published(name)
    chunks = {
        (c.id, c.document, c.text, c.title, c.path, c.reference, c.start, c.page, c.groups, c.clearance, c.validity)
        for c in (stored.chunk for stored in vauban.store.contents(name, lineage))
    }
    rows = vauban.catalog.documents(name, lineage)
    assert chunks
    assert not vauban.catalog.abandoned(name)
    assert all(vauban.home.file(row.file).is_file() for row in rows)
    return chunks | {(row.document, row.chunks, row.state) for row in rows}


def edited(folder: Path) -> None:
    """One article of one document says something else."""
    path = folder / "rh" / "rh-compte-epargne-temps.md"
    before = path.read_text(encoding="utf-8")
    after = before.replace("compte épargne-temps", "compte épargne temps", 1)
    assert after != before
    path.write_text(after, encoding="utf-8")


Published = dict[str, set[tuple[object, ...]]]


@dataclass(frozen=True)
class Local:
    """What a run on one machine publishes, before and after the edit, and the seconds of the first."""

    first: Published
    second: Published
    seconds: float


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Local:
    root = tmp_path_factory.mktemp("local")
    folder = copied(root / "sources")
    with open_vauban(settings_of(root / "home"), generate=False) as vauban, open_parts(vauban) as parts:
        start = time.monotonic()
        reports = sync_all(folder, parts)
        seconds = time.monotonic() - start
        assert not any(report.rejected for report in reports)
        first = {name: content(vauban, name) for name in CORPORA}
        edited(folder)
        sync(folder / "rh", "rh", parts)
        return Local(first, {**first, "rh": content(vauban, "rh")}, seconds)


# --- worker processes


@contextmanager
def workers(settings: Settings, count: int, stop_at: dict[int, Path] | None = None) -> Iterator[list[Started]]:
    """So many workers that live; one with a number in ``stop_at`` makes that file inside a document and stops there."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VAUBAN_")},
        **{
            f"VAUBAN_{name.upper()}": str(getattr(settings, name))
            for name in ("home", "embedder", "generator", "broker_url", "qdrant_url")
        },
        "PYTHONPATH": str(ROOT),
    }
    started = [
        Started([sys.executable, __file__], {**environ, "STOP_AT": str((stop_at or {}).get(number, ""))})
        for number in range(count)
    ]
    try:
        with closing(Broker.connect(settings.broker_url)) as broker:
            wait_for(lambda: len(broker.workers()) >= count)
        yield started
    finally:
        for one in started:
            one.process.terminate()
        for one in started:
            one.ended()


class Started:
    """A worker process and what it logged."""

    def __init__(self, command: Sequence[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def ended(self) -> int:
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
            self._reading.join()
            assert self.process.stderr is not None
            self.process.stderr.close()
        return code

    def events(self, name: str) -> int:
        return sum(f'"{name}"' in line for line in self.lines)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def killed_when(path: Path, victim: Started) -> threading.Thread:
    """A thread that kills ``victim`` once it has made ``path``."""

    def kill() -> None:
        try:
            wait_for(path.exists)
        finally:
            victim.process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def leftovers(redis: RedisServer) -> list[str]:
    """What is in the broker beside Celery's own and the workers that live."""
    with redis.client() as client:
        return [key for key in client.keys("*") if not key.startswith(("_kombu", "unacked", "vauban:worker"))]


def sync_all(folder: Path, parts: Parts) -> list[SyncReport]:
    return [sync(folder / name, name, parts) for name in CORPORA]


def parts_of(vauban: Vauban, reader: CeleryReader) -> Parts:
    return Parts(vauban.home, vauban.catalog, vauban.store, vauban.embedder, reader)


# --- what is asked


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["edge", "server"])
def test_with_a_worker_killed_midway_the_same_is_published(
    mode: str,
    tmp_path: Path,
    folder: Path,
    local: Local,
    redis: RedisServer,
    postgres: PostgresServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two workers, PostgreSQL, and Edge or a Qdrant server; the victim had staged part of its document there."""
    mark = tmp_path / "stopped"
    with qdrant_double.running() as qdrant:
        settings = settings_of(
            tmp_path / "home",
            broker_url=redis.url,
            database_url=postgres.database(),
            qdrant_url=qdrant.url if mode == "server" else "",
        )
        with open_vauban(settings, generate=False) as vauban, workers(settings, 2, {0: mark}) as (victim, other):
            killing = killed_when(mark, victim)
            with open_celery_reader(settings, vauban) as reader:
                parts = parts_of(vauban, reader)
                start = time.monotonic()
                reports = sync_all(folder, parts)
                spread = time.monotonic() - start
                killing.join()
                assert victim.process.wait(5) == -9
                assert [record.message for record in caplog.records].count("document taken over") == 1
                assert [report.rejected for report in reports] == [()] * len(CORPORA)
                assert {name: content(vauban, name) for name in CORPORA} == local.first
                assert [report.embedded for report in reports] == [report.chunks for report in reports]
                edited(folder)
                again = sync(folder / "rh", "rh", parts)
                assert (again.changed, again.rejected, again.embedded) == (1, (), 1)
                assert {name: content(vauban, name) for name in CORPORA} == local.second
            assert victim.events("order done") >= 1
            assert other.events("order done") >= 1
            assert not leftovers(redis)
            documents = [row.document for name in CORPORA for row in vauban.catalog.documents(name, (1,))]
            said = "".join([*victim.lines, *other.lines])
            assert not [one.source for one in documents if one.source in said or one.title in said]
    print(f"{mode}: {local.seconds:.1f} s alone, {spread:.1f} s over two workers of which one was killed")


@pytest.mark.slow
def test_a_broker_that_loses_everything_is_waited_for(tmp_path: Path, folder: Path, redis: RedisServer) -> None:
    """Killed and started again, empty, in the middle of a sync; the workers come back to it by themselves."""
    mark = tmp_path / "stopped"
    settings = settings_of(tmp_path / "home", broker_url=redis.url)
    with open_vauban(settings, generate=False) as vauban, workers(settings, 2, {0: mark}) as (victim, _):

        def interrupt() -> None:
            try:
                wait_for(mark.exists)
                redis.kill()
                time.sleep(1.0)
                redis.start()
            finally:
                victim.process.kill()

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with open_celery_reader(settings, vauban) as reader:
            reader._patience = Patience(worker=30.0, begun=2.0)
            report = sync(folder / "rh", "rh", parts_of(vauban, reader))
            interrupting.join()
            assert (report.rejected, report.snapshot) == ((), 1)
            assert report.added == len(vauban.catalog.documents("rh", (1,))) > 5
            assert sync(folder / "rh", "rh", parts_of(vauban, reader)).unchanged == report.added


@pytest.mark.slow
def test_a_broker_that_stays_away_ends_the_sync(tmp_path: Path, folder: Path) -> None:
    """After some patience there is a message, and nothing was published."""
    with redis_server.running() as redis:
        settings = settings_of(tmp_path / "home", broker_url=redis.url)
        with open_vauban(settings, generate=False) as vauban:
            broker = Broker.connect(redis.url, patience=1.0)
            reader = reader_of(vauban, settings, broker)
            redis.kill()
            with pytest.raises(OperatorError, match=f"127.0.0.1:{redis.port} does not answer") as raised:
                sync(folder / "rh", "rh", parts_of(vauban, reader))
            broker.close()
            assert raised.value.code == "broker_lost"
            assert redis_server.PASSWORD not in raised.value.en + raised.value.fr
            assert vauban.catalog.published("rh") == ()


@pytest.mark.slow
def test_without_workers_the_sync_says_so(tmp_path: Path, folder: Path, redis: RedisServer) -> None:
    """Without any, and with one of another kind, which is named with what differs."""
    settings = settings_of(tmp_path / "home", broker_url=redis.url)
    with open_vauban(settings, generate=False) as vauban, open_celery_reader(settings, vauban) as reader:
        reader._patience = Patience(worker=0.5)
        with pytest.raises(OperatorError, match="vauban ingest worker"):
            sync(folder / "rh", "rh", parts_of(vauban, reader))
        broker = Broker.connect(redis.url)
        kind = replace(reader._kind, embedder="another")
        broker.beat("vauban-1@elsewhere", brokers.Present("elsewhere", kind), None)
        with pytest.raises(OperatorError, match=r"elsewhere.*embedder") as raised:
            sync(folder / "rh", "rh", parts_of(vauban, reader))
        broker.leave("vauban-1@elsewhere")
        broker.close()
        assert raised.value.code == "no_worker"
        assert vauban.catalog.published("rh") == ()
        assert not leftovers(redis)


def reader_of(vauban: Vauban, settings: Settings, broker: Broker) -> CeleryReader:
    with open_celery_reader(settings, vauban) as reader:
        return CeleryReader(broker, brokers.patient(broker, 0.3), reader._kind, reader._limits)


class StoppingEmbedder(HashEmbedder):
    """Makes a file in the middle of its third document, and then nothing more."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self._mark = mark
        self._calls = 0

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self._calls += 1
        if self._calls == 8:
            self._mark.touch()
            time.sleep(600)
        return super().embed_passages(texts)


if __name__ == "__main__":
    for name, seconds in HURRY.items():
        setattr(brokers, name, seconds)
    setattr(worker, "SLICE", 8)  # noqa: B010  a document is several slices then, so that there is a middle
    if os.environ["STOP_AT"]:
        import rag.wiring

        rag.wiring.open_embedder = lambda settings: StoppingEmbedder(Path(os.environ["STOP_AT"]))
    sys.exit(worker.run_worker(Settings.load()))
