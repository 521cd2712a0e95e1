"""How corpora stand: what is published, which documents are in doubt, and how the latest runs went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from rich.console import Console
from rich.table import Table

from rag.catalog import Catalog, DocumentRow, DocumentState, Snapshot, SnapshotState
from rag.terminal import shown
from rag.types import LOW_QUALITY, Corpus, Outcome, RunStatus

RUNS_SHOWN: Final = 5
_NAMED: Final = 20
"""Documents that are named one by one; more are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a corpus stands. ``snapshots`` are those that can still be read, newest first."""

    corpus: Corpus
    snapshot: int | None
    held: bool
    documents: list[DocumentRow]
    snapshots: list[Snapshot]
    runs: list[RunStatus]

    @classmethod
    def of(cls, catalog: Catalog, name: str, runs: int = RUNS_SHOWN) -> Self:
        lineage = catalog.published(name)
        return cls(
            catalog.corpus(name),
            lineage[0] if lineage else None,
            catalog.held(name),
            catalog.documents(name, lineage),
            [one for one in catalog.snapshots(name) if one.state is SnapshotState.PUBLISHED],
            catalog.runs(name, runs),
        )

    @property
    def chunks(self) -> int:
        return sum(row.chunks for row in self.documents)

    @property
    def stale(self) -> list[str]:
        """The files that have changed since but could not be taken in."""
        return [row.document.source for row in self.documents if row.state is DocumentState.STALE]

    @property
    def doubtful(self) -> list[tuple[str, float]]:
        """The files with a page whose text may have been read wrongly, and the score of the worst page."""
        scored = ((row.document.source, row.document.quality) for row in self.documents)
        return [(source, quality) for source, quality in scored if quality is not None and quality < LOW_QUALITY]

    @property
    def undated(self) -> list[str]:
        """The files of which nobody knows when they are in force."""
        return [row.document.source for row in self.documents if not row.document.validity.known]

    def as_json(self) -> dict[str, object]:
        """What ``vauban ingest status --json`` prints of a corpus."""
        return {
            "corpus": self.corpus.name,
            "title": self.corpus.title,
            "groups": sorted(self.corpus.groups),
            "snapshot": self.snapshot,
            "held": self.held,
            "glossary": {"same": len(self.corpus.glossary.same), "near": len(self.corpus.glossary.near)},
            "documents": len(self.documents),
            "chunks": self.chunks,
            "stale": self.stale,
            "low_quality": [{"path": path, "quality": round(quality, 3)} for path, quality in self.doubtful],
            "unknown_validity": len(self.undated),
            "snapshots": [
                {
                    "snapshot": one.number,
                    "published": one.published and one.published.isoformat(),
                    "documents": one.documents,
                    "chunks": one.chunks,
                }
                for one in self.snapshots
            ],
            "runs": [run_json(run) for run in self.runs],
        }


def run_json(run: RunStatus) -> dict[str, object]:
    """A run as the commands print it."""
    return {
        "id": run.id,
        "kind": run.kind.value,
        "corpus": run.corpus,
        "state": run.state.value,
        "snapshot": run.snapshot,
        "started": run.started and run.started.isoformat(),
        "ended": run.ended and run.ended.isoformat(),
        **run.counts,
        "chunks_per_second": _rate(run, "embedded"),
        "rejected": [{"path": row.path, "reason": row.reason, "detail": row.detail} for row in run.rejected],
        "error": run.error,
        "detail": run.detail,
    }


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """What a run did to one document, as the commands print it."""
    return {
        "document": outcome.document,
        "path": outcome.path,
        "action": outcome.action,
        "articles": dict(outcome.articles),
        "warnings": list(outcome.warnings),
    }


def _rate(run: RunStatus, what: str) -> float | None:
    """So many per second of the whole run."""
    seconds = run.counts.get("seconds", 0.0)
    return round(run.counts.get(what, 0.0) / seconds, 1) if seconds else None


def print_standings(found: list[Standing]) -> None:
    """All corpora in one table, then their latest runs, then what needs a look."""
    console = Console(highlight=False)
    if not found:
        console.print("aucun corpus · no corpus")
        return
    table = Table(
        "corpus", "état · snapshot", "documents", "passages · chunks", "périmés · stale", "illisibles · low quality"
    )
    for one in found:
        snapshot = f"{one.snapshot or '-'}{' (en attente · held)' if one.held else ''}"
        counts = (len(one.documents), one.chunks, len(one.stale), len(one.doubtful))
        table.add_row(one.corpus.name, snapshot, *map(str, counts))
    console.print(table)
    runs = Table("corpus", "exécution · run", "début · started", "fin · outcome", "documents", "vecteurs/s · vectors/s")
    for one in found:
        for run in one.runs:
            moved = sum(run.counts.get(name, 0) for name in ("added", "changed", "removed"))
            ended = run.error or run.state.value
            started = run.started.strftime("%Y-%m-%d %H:%M") if run.started else "-"
            runs.add_row(
                one.corpus.name, run.id[:8], started, ended, f"{moved:.0f}", str(_rate(run, "embedded") or "-")
            )
    if runs.row_count:
        console.print(runs)
    for one in found:
        _named(console, one.corpus.name, [(path, "périmé · stale") for path in one.stale])
        _named(console, one.corpus.name, [(path, f"qualité · quality {score:.2f}") for path, score in one.doubtful])
        if said := one.corpus.glossary.families:
            console.print(f"{one.corpus.name}: glossaire {said} · glossary {said}")
        if one.undated:
            console.print(f"{one.corpus.name}: {len(one.undated)} sans date · without any date")


def _named(console: Console, corpus: str, documents: list[tuple[str, str]]) -> None:
    for path, why in documents[:_NAMED]:
        console.print(shown(f"{corpus}: {path} — {why}"))
    if len(documents) > _NAMED:
        console.print(f"{corpus}: … {len(documents) - _NAMED} {documents[0][1]}")


def print_run(run: RunStatus, outcomes: list[Outcome]) -> None:
    """One run, document by document."""
    console = Console(highlight=False)
    console.print(f"{run.corpus} {run.id} {run.state.value}{f' ({run.error})' if run.error else ''}")
    if run.detail:
        console.print(shown(run.detail))
    table = Table("fichier · file", "sort · outcome", "articles", "détail · detail")
    for outcome in outcomes:
        articles = ", ".join(f"{action} {count}" for action, count in sorted(outcome.articles.items()) if count)
        table.add_row(shown(outcome.path), outcome.action, articles, shown("; ".join(outcome.warnings)))
    for row in run.rejected:
        table.add_row(shown(row.path), f"rejected: {row.reason}", "", shown(row.detail))
    if table.row_count:
        console.print(table)
