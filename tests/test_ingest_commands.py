"""``vauban ingest`` as people and scripts use it, alone and beside a running server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from ingest import remote
from ingest.commands import app
from ingest.jobs import Jobs, open_inbox
from ingest.pipeline import Progress, Stage, SyncReport
from ingest.remote import Remote
from ingest.uploads import Asked
from rag.api import create_app
from rag.catalog import Catalog
from rag.errors import BadRequest, Cancelled, Conflict, NotFound, StoreBusy, StoreError, VaubanError
from rag.home import Home, Server
from rag.settings import Settings
from rag.types import Corpus, Rejected, RunKind, RunState, RunStatus, SyncOptions, Upload
from rag.wiring import open_vauban

TOKEN = "a token of this test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sources" / "rh"
    folder.mkdir(parents=True)
    (folder / "corpus.toml").write_text('name = "rh"\ntitle = "Ressources humaines"\ngroups = ["*"]\n')
    for number in range(3):
        (folder / f"texte-{number}.md").write_text(f"# Texte {number}\n\n## Article 1\n\nLe congé {number}.\n")
    return folder


@pytest.fixture
def vauban(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``vauban ingest``, with a home of its own and the fake embedder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAUBAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VAUBAN_EMBEDDER", "fake")
    monkeypatch.setenv("VAUBAN_GENERATOR", "none")
    monkeypatch.setenv("VAUBAN_WORKERS", "1")
    monkeypatch.setenv("VAUBAN_SOURCES", str(tmp_path / "sources"))

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture
def server(vauban: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A live server that owns the home."""
    monkeypatch.setattr(remote, "POLL", 0.05)
    with ExitStack() as undo:
        parts = undo.enter_context(open_vauban(Settings.load()))
        api = create_app(parts, open_inbox(parts, undo), token=TOKEN)
        serving = uvicorn.Server(uvicorn.Config(api, port=0, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=serving.run)
        thread.start()
        undo.callback(thread.join)
        undo.callback(setattr, serving, "should_exit", True)
        while not serving.started:
            time.sleep(0.02)
        port = serving.servers[0].sockets[0].getsockname()[1]
        server = Server.here(f"http://127.0.0.1:{port}", TOKEN)
        parts.home.announce(server)
        undo.callback(parts.home.withdraw)
        yield server


def test_sync_prints_the_json_that_scripts_rely_on(vauban: Callable[..., Result], folder: Path) -> None:
    """Exactly these keys; again it is no work; with a bad file it ends with 3."""
    done = vauban("sync", folder, "--corpus", "rh", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    keys = ["snapshot", "added", "changed", "removed", "unchanged", "rejected", "chunks", "embedded", "seconds"]
    assert list(report) == [*keys, "moved", "articles", "glossary"]
    assert (report["snapshot"], report["added"], report["embedded"]) == (1, 3, 3)
    (folder / "mauvais.pdf").write_bytes(b"%PDF-1.7 cut short")
    done = vauban("sync", folder, "--corpus", "rh", "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["snapshot"], report["unchanged"], report["embedded"]) == (3, 1, 3, 0)
    assert [set(row) for row in report["rejected"]] == [{"path", "reason", "detail"}]


def test_the_words_for_people_name_each_file_that_failed(vauban: Callable[..., Result], folder: Path) -> None:
    """And no bar is drawn where there is no terminal."""
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1" + bytes(200))
    done = vauban("sync", folder, "--corpus", "rh")
    assert done.exit_code == 3
    assert "ajoutés · added" in done.stdout
    assert "photo.jpg" in done.stdout
    assert "corrupt" in done.stdout
    assert done.stderr == ""


def test_a_dry_run_makes_no_home(vauban: Callable[..., Result], folder: Path, tmp_path: Path) -> None:
    """Nor anything else."""
    done = vauban("sync", folder, "--corpus", "rh", "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout)["added"]) == (0, 3)
    assert "added     texte-0.md" in vauban("sync", folder, "--corpus", "rh", "--dry-run").stdout
    assert not (tmp_path / "home").exists()


def test_status_and_rollback(vauban: Callable[..., Result], folder: Path) -> None:
    """What is published, which documents are stale, the latest runs; then the snapshot before."""
    assert json.loads(vauban("status", "--json").stdout) == []
    assert isinstance(vauban("rollback", "--corpus", "rh").exception, NotFound)
    vauban("sync", folder, "--corpus", "rh")
    (folder / "texte-0.md").write_text("# Texte 0\n\n## Article 1\n\nAutre chose.\n")
    (folder / "texte-1.md").write_bytes(b"")
    vauban("sync", folder, "--corpus", "rh")
    (found,) = json.loads(vauban("status", "--corpus", "rh", "--json").stdout)
    assert (found["snapshot"], found["documents"], found["stale"], found["held"]) == (2, 3, ["texte-1.md"], False)
    assert [run["state"] for run in found["runs"]] == ["done", "done"]
    assert found["runs"][0]["rejected"][0]["reason"] == "empty"
    assert "périmé" in vauban("status").stdout
    assert json.loads(vauban("rollback", "--corpus", "rh", "--json").stdout) == {"corpus": "rh", "snapshot": 1}
    assert json.loads(vauban("status", "--json").stdout)[0]["held"]
    assert vauban("rollback", "--corpus", "rh").exit_code == 1
    assert vauban("rollback", "--corpus", "rh", "--to", 2).exit_code == 0
    assert isinstance(vauban("status", "--corpus", "none").exception, NotFound)


def test_wrong_commands_are_usage_errors(vauban: Callable[..., Result], folder: Path, tmp_path: Path) -> None:
    """A folder that is not there, or not declared; a conflict is none, but nothing was published."""
    assert isinstance(vauban("sync", tmp_path / "none", "--corpus", "rh").exception, BadRequest)
    assert isinstance(vauban("sync", folder, "--corpus", "../x").exception, BadRequest)
    assert vauban("sync", folder).exit_code == 2
    (folder / "corpus.toml").unlink()
    assert isinstance(vauban("sync", folder, "--corpus", "rh").exception, BadRequest)
    assert vauban("sync", folder, "--corpus", "rh", "--init").exit_code == 0
    for file in folder.glob("*.md"):
        file.unlink()
    stopped = vauban("sync", folder, "--corpus", "rh")
    assert stopped.exit_code == 1
    assert "--confirm-removals" in stopped.stderr
    assert vauban("sync", folder, "--corpus", "rh", "--confirm-removals").exit_code == 0


def test_beside_another_ingest_it_is_refused_and_told_the_pid(
    vauban: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    """The command's exit code is then 4; what needs no store goes on."""
    script = (
        "import sys, time; from pathlib import Path; from rag.home import Home\n"
        "owner = Home.open(Path(sys.argv[1])).own(); print('mine', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "home")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        refused = vauban("sync", folder, "--corpus", "rh").exception
        planned = vauban("sync", folder, "--corpus", "rh", "--dry-run")
        other.kill()
    assert isinstance(refused, StoreBusy)
    assert refused.pid == other.pid
    assert planned.exit_code == 0
    assert vauban("sync", folder, "--corpus", "rh").exit_code == 0


def test_a_running_server_does_the_work(vauban: Callable[..., Result], folder: Path, server: Server) -> None:
    """With the same report; what it searches is what was published."""
    done = vauban("sync", folder, "--corpus", "rh", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["snapshot"], report["added"], report["embedded"], report["rejected"]) == (1, 3, 3, [])
    found = httpx.post(f"{server.url}/v1/search", json={"question": "le congé"}, trust_env=False).json()
    assert {hit["document"] for hit in found["hits"]} == {f"texte-{number}.md" for number in range(3)}
    (folder / "texte-0.md").write_bytes(b"")
    assert vauban("sync", folder, "--corpus", "rh").exit_code == 3
    assert vauban("sync", folder, "--corpus", "rh", "--dry-run").exit_code == 3
    for file in folder.glob("*.md"):
        file.unlink()
    stopped = vauban("sync", folder, "--corpus", "rh")
    assert (stopped.exit_code, "--confirm-removals" in stopped.stderr) == (1, True)
    assert json.loads(vauban("status", "--json").stdout)[0]["runs"][0]["error"] == "empty_folder"


def test_a_server_takes_in_only_what_stands_below_its_sources(
    vauban: Callable[..., Result], folder: Path, server: Server, tmp_path: Path
) -> None:
    """A link does not lead out of them; without the token nobody may ask."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (folder.parent / "link").symlink_to(outside)
    for path in (outside, folder.parent / "link", folder / ".." / ".." / "elsewhere"):
        refused = vauban("sync", path, "--corpus", "rh").exception
        assert isinstance(refused, BadRequest)
        assert refused.code == "outside_sources"
    stranger = Remote(Server(server.url, server.pid, "another token", server.started), "fr")
    with pytest.raises(VaubanError):
        stranger.sync(folder, "rh", SyncOptions())
    stranger.close()


def test_a_server_that_is_gone_is_said_so(folder: Path) -> None:
    """And not a traceback."""
    gone = Remote(Server("http://127.0.0.1:9", 1, TOKEN, 0.0), "fr")
    with pytest.raises(StoreError, match="does not answer"):
        gone.sync(folder, "rh", SyncOptions())
    gone.close()


# --- the life of a corpus, alone and beside a server


@pytest.fixture(params=["alone", "beside a server"])
def either(request: pytest.FixtureRequest, vauban: Callable[..., Result]) -> Callable[..., Result]:
    """``vauban ingest``, once with and once without a server that owns the home."""
    if request.param == "beside a server":
        request.getfixturevalue("server")
    return vauban


def test_a_corpus_is_moved_through_a_folder(either: Callable[..., Result], folder: Path) -> None:
    """Exported, changed here, and taken back as it was: one more snapshot."""
    archive = folder.parent / "archive"
    assert either("sync", folder, "--corpus", "rh").exit_code == 0
    wrote = either("export", archive, "--corpus", "rh", "--json")
    assert wrote.exit_code == 0, wrote.output
    assert json.loads(wrote.stdout)["chunks"] == 3
    (folder / "texte-0.md").write_text("# Texte 0\n\n## Article 1\n\nAutre chose.\n")
    assert either("sync", folder, "--corpus", "rh").exit_code == 0
    took = either("import", archive, "--json")
    assert took.exit_code == 0, took.output
    said = json.loads(took.stdout)
    assert (said["corpus"], said["snapshot"], said["changed"], said["embedded"]) == ("rh", 3, 1, 0)
    (archive / "chunks.jsonl").write_bytes((archive / "chunks.jsonl").read_bytes().replace(b"Le cong", b"Le COng"))
    damaged = either("import", archive)
    assert damaged.exit_code != 0
    assert json.loads(either("status", "--json").stdout)[0]["snapshot"] == 3


def test_everything_can_be_embedded_anew(either: Callable[..., Result], folder: Path) -> None:
    """With the same model too; what is published stays."""
    assert either("sync", folder, "--corpus", "rh").exit_code == 0
    done = either("rebuild", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["points"], said["embedded"]) == (3, 3)
    again = either("sync", folder, "--corpus", "rh", "--json")
    assert (json.loads(again.stdout)["unchanged"], json.loads(again.stdout)["embedded"]) == (3, 0)


def test_the_report_names_what_needs_a_look(either: Callable[..., Result], folder: Path) -> None:
    """As JSON with a closed list of kinds, and in the words of the caller."""
    (folder / "copie.md").write_text((folder / "texte-1.md").read_text())
    assert either("sync", folder, "--corpus", "rh").exit_code == 0
    found = json.loads(either("report", "--corpus", "rh", "--json").stdout)
    doubled = [one for one in found["findings"] if one["kind"] == "duplicate"]
    assert [set(one["documents"]) for one in doubled] == [{"copie.md", "texte-1.md"}]
    assert doubled[0]["detail_fr"] in " ".join(either("report", "--corpus", "rh").stdout.replace("│", " ").split())
    assert isinstance(either("report", "--corpus", "none").exception, NotFound)


def test_a_run_can_be_looked_at_document_by_document(vauban: Callable[..., Result], folder: Path) -> None:
    """By the beginning of its id, as the table shows it."""
    assert vauban("sync", folder, "--corpus", "rh").exit_code == 0
    (folder / "texte-0.md").write_text("# Texte 0\n\n## Article 1\n\nAutre chose.\n")
    (folder / "vide.md").write_bytes(b"")
    assert vauban("sync", folder, "--corpus", "rh").exit_code == 3
    latest = json.loads(vauban("status", "--json").stdout)[0]["runs"][0]
    said = json.loads(vauban("status", "--run", latest["id"][:8], "--json").stdout)
    assert [(one["path"], one["action"], one["articles"]["changed"]) for one in said["documents"]] == [
        ("texte-0.md", "changed", 1)
    ]
    assert [row["reason"] for row in said["rejected"]] == ["empty"]
    shown = vauban("status", "--run", latest["id"]).stdout
    assert "texte-0.md" in shown
    assert "rejected: empty" in shown
    assert isinstance(vauban("status", "--run", "ffffffff").exception, NotFound)


@pytest.mark.slow
def test_a_watched_folder_is_taken_in_until_the_command_is_stopped(folder: Path, tmp_path: Path) -> None:
    """A process of its own, ended as a service manager does; one JSON line for each run."""
    own = {"VAUBAN_HOME": str(tmp_path / "home"), "VAUBAN_EMBEDDER": "fake", "VAUBAN_WORKERS": "1"}
    command = [sys.executable, "-m", "rag", "ingest", "watch", str(folder), "--json"]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        command, env=os.environ | own | {"PYTHONPATH": str(root)}, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        (folder / "texte-9.md").write_text("# Texte 9\n\n## Article 1\n\nNouveau.\n")
        second = json.loads(watching.stdout.readline())
        watching.terminate()
        assert watching.wait(20) == 0
    assert (first["corpus"], first["snapshot"], first["added"]) == ("rh", 1, 3)
    assert (second["snapshot"], second["added"], second["unchanged"]) == (2, 1, 3)


# --- the inbox


class Slow:
    """Work that waits until it is told to go on, or cancelled."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.begun: list[str] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def sync(
        self,
        folder: Path,
        name: str,
        options: SyncOptions,
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
        run: str,
    ) -> SyncReport:
        self.begun.append(run)
        self.catalog.start_run(run)
        progress(Stage.PARSE, 3, 7)
        while not self.go.wait(0.01):
            if cancelled():
                self.catalog.end_run(run, RunState.CANCELLED)
                raise Cancelled("cancelled")
        if self.error is not None:
            raise self.error
        report = SyncReport(1, 1, 0, 0, 0, (Rejected("a", "empty", ""),), 1, 1, 0.1)
        self.catalog.end_run(run, RunState.DONE, snapshot=1, counts=report.counts, rejected=report.rejected)
        return report

    def rebuild(self, embedder: str | None, *, progress: Progress, cancelled: Callable[[], bool]) -> dict[str, float]:
        if embedder == "broken":
            raise StoreError("the disk is gone")
        return {"points": 3.0}

    def export(
        self, corpus: str, folder: Path, *, progress: Progress, cancelled: Callable[[], bool]
    ) -> tuple[int, dict[str, float]]:
        return 7, {"chunks": 3.0}

    def load(
        self, folder: Path, *, keep_audience: bool, progress: Progress, cancelled: Callable[[], bool], run: str
    ) -> None:
        raise BadRequest("damaged", code="damaged")

    def report(self, corpus: str) -> dict[str, object]:
        return {"corpus": corpus}

    def fed_by_uploads(self, corpus: str) -> bool:
        return False

    def declare(self, corpus: Corpus, *, new: bool) -> None:
        raise AssertionError(corpus, new)

    def checked(self, upload: Upload) -> Upload:
        return upload

    def upload(self, asked: Sequence[Asked], *, progress: Progress) -> None:
        raise AssertionError(asked)

    def publish(self, corpus: str, *, progress: Progress, cancelled: Callable[[], bool], run: str) -> None:
        raise AssertionError(corpus)

    def check_backup(self, target: Path) -> None:
        raise AssertionError(target)

    def backup(self, target: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> dict[str, float]:
        raise AssertionError(target)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Jobs, Slow]]:
    catalog = Catalog.open(Home.open(tmp_path / "home").catalog)
    catalog.declare(Corpus("rh", "RH"))
    work = Slow(catalog)
    jobs = Jobs(catalog, work, [tmp_path])
    yield jobs, work
    jobs.close()
    catalog.close()


def until(jobs: Jobs, run: str, state: RunState) -> RunStatus:
    deadline = time.monotonic() + 10
    while (found := jobs.status(run)).state is not state:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def test_one_sync_runs_at_a_time(slow: tuple[Jobs, Slow], tmp_path: Path) -> None:
    """The next waits; a status tells how far the running one has come."""
    jobs, work = slow
    first, second = (jobs.submit("rh", tmp_path, SyncOptions()) for _ in range(2))
    until(jobs, first, RunState.RUNNING)
    time.sleep(0.05)
    status = jobs.status(first)
    assert (status.stage, status.done, status.total, status.final) == ("parse", 3, 7, False)
    assert jobs.status(second).state is RunState.QUEUED
    assert work.begun == [first]
    work.go.set()
    done = until(jobs, second, RunState.DONE)
    assert work.begun == [first, second]
    assert (done.snapshot, done.rejected, done.final) == (1, (Rejected("a", "empty", ""),), True)


def test_a_running_and_a_waiting_sync_can_be_cancelled(slow: tuple[Jobs, Slow], tmp_path: Path) -> None:
    """The waiting one never begins; one that is over is left as it is."""
    jobs, work = slow
    first, second = (jobs.submit("rh", tmp_path, SyncOptions()) for _ in range(2))
    jobs.cancel(second)
    jobs.cancel(first)
    until(jobs, first, RunState.CANCELLED)
    until(jobs, second, RunState.CANCELLED)
    assert second not in work.begun
    jobs.cancel(first)
    with pytest.raises(NotFound):
        jobs.cancel("none")
    with pytest.raises(NotFound):
        jobs.status("none")


def test_a_defect_ends_its_run_and_not_the_service(slow: tuple[Jobs, Slow], tmp_path: Path) -> None:
    """The next sync is taken."""
    jobs, work = slow
    work.error = ZeroDivisionError("a text that a log must not show")
    work.go.set()
    failed = until(jobs, jobs.submit("rh", tmp_path, SyncOptions()), RunState.FAILED)
    assert (failed.error, failed.detail) == ("ZeroDivisionError", "a defect of Vauban")
    work.error = None
    until(jobs, jobs.submit("rh", tmp_path, SyncOptions()), RunState.DONE)


def test_other_work_waits_in_the_same_queue_and_leaves_its_row(slow: tuple[Jobs, Slow], tmp_path: Path) -> None:
    """A rebuild waits for the sync before it; what fails says so with its code."""
    jobs, work = slow
    first = jobs.submit("rh", tmp_path, SyncOptions())
    rebuilt, failed = jobs.rebuild("e5"), jobs.rebuild("broken")
    exported, loaded = jobs.export("rh", tmp_path), jobs.load(tmp_path, keep_audience=False)
    until(jobs, first, RunState.RUNNING)
    assert jobs.status(rebuilt).state is RunState.QUEUED
    work.go.set()
    assert until(jobs, rebuilt, RunState.DONE).counts == {"points": 3.0}
    assert until(jobs, failed, RunState.FAILED).error == "store"
    done = until(jobs, exported, RunState.DONE)
    assert (done.kind, done.corpus, done.snapshot) == (RunKind.EXPORT, "rh", 7)
    assert until(jobs, loaded, RunState.FAILED).error == "damaged"
    with pytest.raises(NotFound):
        jobs.export("nothing", tmp_path)
    with pytest.raises(BadRequest):
        jobs.load(tmp_path.parent, keep_audience=False)


def test_a_folder_that_became_a_link_while_it_waited_is_refused(slow: tuple[Jobs, Slow], tmp_path: Path) -> None:
    """Whoever may write below a source cannot turn an export, an import or a sync elsewhere."""
    jobs, work = slow
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    target = tmp_path / "here" / "folder"
    target.mkdir()
    first = jobs.submit("rh", tmp_path, SyncOptions())
    until(jobs, first, RunState.RUNNING)
    runs = [
        jobs.submit("rh", target, SyncOptions()), jobs.export("rh", target), jobs.load(target, keep_audience=False),
    ]  # fmt: skip
    target.rmdir()
    (tmp_path / "here").rmdir()
    (tmp_path / "here").symlink_to(tmp_path / "elsewhere")
    work.go.set()
    for run in runs:
        assert until(jobs, run, RunState.FAILED).error == "folder_moved"
    assert work.begun == [first]


def test_runs_of_an_earlier_start_are_known_as_interrupted(tmp_path: Path) -> None:
    """They would otherwise seem to run for ever."""
    catalog = Catalog.open(Home.open(tmp_path / "home").catalog)
    left = catalog.add_run("rh", RunState.RUNNING)
    jobs = Jobs(catalog, Slow(catalog), [])
    assert jobs.status(left).error == "interrupted"
    with pytest.raises(BadRequest):
        jobs.submit("rh", tmp_path, SyncOptions())
    jobs.close()
    catalog.close()


def test_a_run_of_the_server_tells_of_the_glossary_too() -> None:
    """A count that is 0 is left out of the run, and is 0 in the report."""
    counts = {"glossary_families": 2.0, "glossary_removed": 1.0}
    run = remote._Run(id="1", state=RunState.DONE, counts=counts)
    assert remote._report(run).as_json()["glossary"] == {"families": 2, "added": 0, "removed": 1}
    run = remote._Run(id="1", state=RunState.FAILED, error="bad_glossary", detail="d")
    assert isinstance(remote._failed(run), BadRequest)


def test_a_refusal_of_the_server_keeps_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the exit code is the same as without a server."""
    run = remote._Run(id="1", state=RunState.FAILED, error="undeclared_folder", detail="d")
    assert isinstance(remote._failed(run), BadRequest)
    run = remote._Run(id="1", state=RunState.FAILED, error="many_removals", detail="d")
    assert isinstance(remote._failed(run), Conflict)
    run = remote._Run(id="1", state=RunState.CANCELLED)
    assert isinstance(remote._failed(run), Cancelled)
