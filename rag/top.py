"""The live view of ``vauban top`` on a terminal: one reading of a running server as text, pure."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rag import schemas
from rag.terminal import shown

_GOOD = {"ok": "green", "ready": "green", "warming": "yellow", "degraded": "yellow", "failed": "red", "absent": "dim"}
_STATES = {"serving": "green", "away": "red", "kept_out": "yellow"}


def view(live: schemas.LiveView) -> RenderableType:
    """Everything of a reading, in a few small tables; a part without anything to say is left out."""
    parts: list[RenderableType] = [_head(live), _parts(live)]
    if live.queue is not None:
        parts.append(_queue(live.queue))
    if live.answers:
        rows = [
            (one.person, one.stage, str(one.position) if one.position else "", f"{one.seconds:.1f} s")
            for one in live.answers
        ]
        parts.append(_table("answers in the making", ("person", "stage", "place", "since"), rows))
    parts.append(_minute(live))
    if live.stages:
        timed = [(one.stage, _seconds(one.p50), _seconds(one.p95)) for one in live.stages]
        parts.append(_table("latest answers", ("stage", "p50", "p95"), timed))
    if live.replicas:
        servers = [
            (str(one.replica), f"[{_STATES[one.state]}]{one.state}[/]", f"{one.busy}/{one.slots}")
            for one in live.replicas
        ]
        parts.append(_table("model servers", ("server", "state", "busy"), servers))
    if live.runs:
        runs = [
            (one.kind, shown(one.corpus), one.state, f"{one.stage} {one.done}/{one.total}".strip()) for one in live.runs
        ]
        parts.append(_table("ingestions", ("kind", "corpus", "state", "done"), runs))
    return Group(*parts)


def _head(live: schemas.LiveView) -> Text:
    return Text.from_markup(
        f"[bold]Vauban {live.version}[/]  pid {live.pid}  up {duration(live.uptime)}  "
        f"[{_GOOD[live.ready.state]}]{live.ready.state}[/]  memory {size(live.memory)}  "
        f"processor {duration(live.cpu_seconds)}  disk free {size(live.free_bytes)}  "
        f"{live.corpora} corpora, {live.documents} documents, {live.chunks} chunks"
    )


def _parts(live: schemas.LiveView) -> Text:
    told = "  ".join(f"{name} [{_GOOD[state]}]{state}[/]" for name, state in live.ready.parts.items())
    wrong = [f"{case}: {outcome}" for case, outcome in live.ready.canary.items() if outcome != "passed"]
    return Text.from_markup(told + (f"\n[yellow]canary {', '.join(wrong)}[/]" if wrong else ""))


def _queue(queue: schemas.LiveQueue) -> Text:
    turn = "" if queue.turn_seconds is None else f", a turn takes {_seconds(queue.turn_seconds)}"
    return Text(
        f"queue: {queue.serving} of {queue.places} places taken, {queue.waiting} waiting of {queue.people} people{turn}"
    )


def _minute(live: schemas.LiveView) -> Text:
    told = ", ".join(f"{count} {status}" for status, count in sorted(live.statuses.items())) or "no answer"
    speed = "" if live.tokens_per_second is None else f"; {live.tokens_per_second} tokens/s"
    return Text(f"last minute: {told}{speed}")


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, the larger ones only where there are some."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def size(count: int) -> str:
    """Bytes in the unit that leaves few digits."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
