"""The gate: over the sample corpora, with the default embedder and no writing model, no measure falls below its floor.

What is measured is what ``vauban eval`` measures, by its commands; the floors stand in ``eval/golden/floors.toml``.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from eval import gate, runs
from tests.vauban_command import Command, Done

pytestmark = pytest.mark.slow

CORPORA = ("rh", "sante", "finances", "infrastructures")
ENVIRON = {"VAUBAN_EMBEDDER": "minilm", "VAUBAN_GENERATOR": "none", "VAUBAN_LOCAL_GROUPS": "agents"}
MINUTES = 12.0
"""A machine that is shared may take several times the minute and a half that the longest of these takes alone."""


@pytest.fixture(scope="module")
def samples(root: Path, minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A home with the sample corpora, as ``make samples`` fills it."""
    assert minilm_folder.is_dir()
    vauban = Command(tmp_path_factory.mktemp("gate"), ENVIRON, patience=60 * MINUTES)
    for corpus in CORPORA:
        done = vauban("ingest", "sync", root / "ingest" / "samples" / corpus, "--corpus", corpus)
        assert done.code == 0, done.err
    return vauban


def kept(vauban: Command, *words: object) -> tuple[Done, Path]:
    """Measure and keep the run."""
    path = vauban.folder / f"{'-'.join(str(word).strip('-') for word in words)}.json"
    done = vauban("eval", *words, "--save", path)
    assert path.is_file(), done.err
    return done, path


def held(vauban: Command, path: Path) -> None:
    """The run keeps every floor that is set for it, and at least one is."""
    run = runs.load(path)
    assert gate.read()[run.kind.value][run.name], "nothing is asked of this run"
    done = vauban("eval", "gate", path)
    assert done.code == 0, done.out


def test_answers_on_the_development_questions(samples: Command) -> None:
    _, path = kept(samples, "answers", "--split", "dev")
    held(samples, path)


def test_claims_on_the_development_sentences(samples: Command) -> None:
    _, path = kept(samples, "claims", "--split", "dev")
    held(samples, path)


def test_no_attack_reaches_a_reader(samples: Command) -> None:
    """Not one, with no model and with one that obeys every order; what the command says is what it exits with."""
    done, path = kept(samples, "injection")
    held(samples, path)
    assert done.code == 0, done.out


def test_the_gate_is_shut_for_what_falls(samples: Command, tmp_path: Path) -> None:
    """A floor above what was reached is told, with the measure."""
    path = tmp_path / "run.json"
    run: dict[str, Any] = {"kind": "answers", "name": "dev", "rows": [{"id": "q", "values": {"expected_cited": 0.0}}]}
    path.write_text(json.dumps(run), encoding="utf-8")
    done = samples("eval", "gate", path)
    assert done.code == 1
    assert "answers.dev: expected_cited is 0.0000" in done.out


def test_a_report_of_several_runs_is_one_page(samples: Command, tmp_path: Path) -> None:
    """And two of them are compared."""
    path = tmp_path / "run.json"
    rows = [{"id": f"q{n}", "values": {"answered": float(n % 2)}} for n in range(6)]
    path.write_text(json.dumps({"kind": "answers", "name": "dev", "rows": rows}), encoding="utf-8")
    other = shutil.copy(path, tmp_path / "other.json")
    page = tmp_path / "out" / "report.html"
    assert samples("eval", "report", path, other, "--out", page).code == 0
    assert page.read_text(encoding="utf-8").count("<section>") == 2
    done = samples("eval", "compare", path, other, "--json")
    assert done.json["measures"]["answered"]["delta"] == 0.0


def test_every_floor_is_of_a_run_that_is_measured() -> None:
    """A floor under a misspelled name would hold nothing."""
    floors = tomllib.loads(gate.FLOORS.read_text(encoding="utf-8"))
    assert {(kind, name) for kind, runs_ in floors.items() for name in runs_} == {
        ("answers", "dev"),
        ("claims", "dev"),
        ("injection", "attacks"),
    }
