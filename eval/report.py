"""How a run is shown and kept: an aligned table for people, JSON for programs, and the facts to repeat it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An aligned plain-text table; numbers have three decimals and stand to the right."""
    written = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in (header, *written)) for column in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(header))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (list(header), ["-" * width for width in widths], *written)
    ]
    return "\n".join(lines)


def as_text(value: object) -> str:
    """JSON as scripts read it: indented, keys in the order given, letters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def facts(*, settings: Mapping[str, object], models: Mapping[str, str], corpus: str) -> dict[str, object]:
    """What is needed to repeat a run: commit, settings, fingerprints of the models and of the corpus."""
    return {"commit": commit(), "settings": dict(settings), "models": dict(models), "corpus": corpus}


def digest(text: str) -> str:
    """The SHA-256 of a text, first 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def commit(folder: Path | None = None) -> str | None:
    """The commit that the program runs from, with ``+`` when files differ from it; ``None`` outside a checkout."""
    here = folder or Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
