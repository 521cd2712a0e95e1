"""Syncs through the server that owns the home: the same API that everyone calls, with the token of ``server.json``."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from ingest.difference import Action
from ingest.pipeline import ARTICLES, GLOSSARY, GlossaryChange, Progress, Stage, SyncReport, unseen
from rag import schemas
from rag.errors import BadRequest, Cancelled, Conflict, VaubanError
from rag.home import Server
from rag.live import Connection
from rag.types import Rejected, RunState, SyncOptions

POLL: Final = 0.5
"""Seconds between two looks at a run."""
_USAGE: Final = frozenset(
    {
        "no_folder",
        "undeclared_folder",
        "unreadable_folder",
        "bad_corpus_toml",
        "bad_glossary",
        "bad_corpus_name",
        "bad_request",
        "bad_archive",
        "folder_not_empty",
        "folder_of_corpus",
        "folder_moved",
        "outside_sources",
    }
)
"""Codes of runs that failed because they were asked for wrongly."""
_CONFLICTS: Final = frozenset({"empty_folder", "many_removals", "subfolder_removed", "on_hold", "published_meanwhile"})
"""Codes of runs that the state of the corpus or the folder did not allow."""


class _Run(BaseModel):
    """What is read of a run; a newer server may say more."""

    model_config = ConfigDict(extra="ignore")

    id: str
    corpus: str = ""
    state: RunState
    snapshot: int | None = None
    counts: dict[str, float] = {}
    rejected: list[schemas.Rejected] = []
    stage: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    detail: str = ""


class Remote:
    """The ingestion of a running server, as its own user calls it."""

    def __init__(self, server: Server, language: str) -> None:
        self._connection = Connection(server, language)

    def sync(self, folder: Path, name: str, options: SyncOptions, progress: Progress = unseen) -> SyncReport:
        """What :func:`ingest.pipeline.sync` does, done by the server; leaving early cancels the run.

        Raises:
            VaubanError: what the server refused, or why the run failed.
        """
        body = {
            "path": str(folder.absolute()),
            "dry_run": options.dry_run,
            "init": options.init,
            "confirm_removals": options.confirm_removals,
            "automatic": options.automatic,
            "workers": options.workers.value,
        }
        return _report(self._followed(f"/v1/corpora/{name}/sync", body, progress))

    def rebuild(self, embedder: str | None, progress: Progress = unseen) -> dict[str, object]:
        """Have everything embedded anew; the numbers of the run. Raises what :meth:`sync` raises, as the others do."""
        run = self._followed("/v1/rebuild", {"embedder": embedder}, progress)
        return {"embedder": embedder, **run.counts}

    def export(self, corpus: str, folder: Path, progress: Progress = unseen) -> dict[str, object]:
        """Have a corpus written into a folder on the server's side; the numbers of the run."""
        run = self._followed(f"/v1/corpora/{corpus}/export", {"path": str(folder.absolute())}, progress)
        return {"corpus": corpus, "snapshot": run.snapshot, "folder": str(folder.absolute()), **run.counts}

    def load(self, folder: Path, *, keep_audience: bool, progress: Progress = unseen) -> dict[str, object]:
        """Have taken in what an export wrote; the numbers of the run."""
        body: dict[str, object] = {"path": str(folder.absolute()), "keep_audience": keep_audience}
        run = self._followed("/v1/import", body, progress)
        return {"corpus": run.corpus, "snapshot": run.snapshot, **run.counts}

    def report(self, corpus: str) -> dict[str, object]:
        """What is to be looked at in a corpus."""
        sent = self._connection.send("GET", f"/v1/corpora/{corpus}/report")
        return schemas.CorpusReport.model_validate_json(sent).model_dump(mode="json")

    def _followed(self, path: str, body: dict[str, object], progress: Progress) -> _Run:
        """Begin a run and wait for its end; leaving early cancels it.

        Raises:
            VaubanError: what the server refused, or why the run failed.
        """
        run = self._run("POST", path, body)
        try:
            while run.state in {RunState.QUEUED, RunState.RUNNING}:
                if run.stage in set(Stage):
                    progress(Stage(run.stage), run.done, run.total)
                time.sleep(POLL)
                run = self._run("GET", f"/v1/runs/{run.id}")
        except KeyboardInterrupt:
            with suppress(VaubanError):
                self._connection.send("DELETE", f"/v1/runs/{run.id}")
            raise
        if run.state is not RunState.DONE:
            raise _failed(run)
        return run

    def close(self) -> None:
        self._connection.close()

    def _run(self, method: str, path: str, body: dict[str, object] | None = None) -> _Run:
        return _Run.model_validate_json(self._connection.send(method, path, body))


def _failed(run: _Run) -> VaubanError:
    code = run.error or "failed"
    said = run.detail or code
    if run.state is RunState.CANCELLED:
        return Cancelled(said)
    kind = BadRequest if code in _USAGE else Conflict if code in _CONFLICTS else VaubanError
    return kind(said, code=code)


def _report(run: _Run) -> SyncReport:
    def count(name: str) -> int:
        return int(run.counts.get(name, 0))

    return SyncReport(
        snapshot=run.snapshot,
        added=count("added"),
        changed=count("changed"),
        removed=count("removed"),
        unchanged=count("unchanged"),
        rejected=tuple(Rejected(row.path, row.reason, row.detail) for row in run.rejected),
        chunks=count("chunks"),
        embedded=count("embedded"),
        seconds=run.counts.get("seconds", 0.0),
        moved=count("moved"),
        articles={action.value: count(f"{ARTICLES}{action.value}") for action in Action},
        glossary=GlossaryChange(*(count(f"{GLOSSARY}{name}") for name in GlossaryChange().counts)),
    )
