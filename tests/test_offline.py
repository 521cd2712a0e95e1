"""No library of ours reaches for a network or unpickles anything, in processes of their own that watch themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pptx
import pytest
from PIL import Image, ImageDraw, ImageFont

from ingest import ocr
from rag import offline
from tests.synthetic_msg import compound, letter

WATCHED = """
import sys
seen = []
def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}:
        seen.append(f"{event} {arguments}")
    if event == "pickle.find_class":
        seen.append(f"{event} {arguments}")
sys.addaudithook(watch)
"""

IMPORTS = """
import importlib, pkgutil
import eval, ingest, prompts, rag, ui
for package in (eval, ingest, prompts, rag, ui):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith("rag.migrations.") and module.name != "ingest.samples.render":
            importlib.import_module(module.name)
"""

WORKS = """
from contextlib import ExitStack
from pathlib import Path
from ingest.jobs import open_parts
from ingest.pipeline import sync
from rag.settings import Settings
from rag.types import Question, SyncOptions
from rag.wiring import open_vauban
settings = Settings.load()
with open_vauban(settings) as vauban:
    with open_parts(vauban) as parts:
        report = sync(Path(FOLDER), "rh", parts, SyncOptions())
    assert report.added == 3, report
    question = Question("Combien de jours de congés annuels ?", vauban.local)
    assert vauban.engine.search(question, 5)
    assert vauban.engine.finish(question).text
"""

TRAVELS = """
from dataclasses import replace
from pathlib import Path
from kombu.serialization import dumps, loads
from ingest import exchange, report, wire
from ingest.jobs import limits_of, open_parts
from ingest.pipeline import sync
from ingest.rebuild import rebuild
from ingest.reading import Order
from rag.settings import Settings
from rag.types import SyncOptions, Validity
from rag.wiring import open_vauban
settings = Settings.load()
with open_vauban(settings, generate=False) as vauban:
    with open_parts(vauban) as parts:
        done = sync(Path(FOLDER), "rh", parts, SyncOptions())
        assert done.rejected == () and done.added == COUNT, done
        orders = [Order(step.source, step.path, step.path, step.sha256, step.metadata, vauban.catalog.corpus("rh"))
                  for step in __import__("ingest.discover").discover.discover(Path(FOLDER), "rh").files]
        for order, result in parts.reader.read(orders):
            task = wire.Task("t", "r", order, limits_of(settings))
            kind, encoding, body = dumps([wire.task_json(task)], serializer="json")
            assert wire.task_of(loads(body, kind, encoding, accept={"application/json"})[0]).order.path == order.path
            if hasattr(result, "chunks"):
                vectors = vauban.embedder.embed_passages([chunk.search_text for chunk in result.chunks])
                result = replace(result, vectors=dict(zip([c.id for c in result.chunks], vectors, strict=True)))
            wire.answer_of(wire.answer_json(wire.Answer("h", result)))
    report.report("rh", vauban.catalog, vauban.store)
    exchange.export("rh", Path("archive"), vauban)
    rebuild(vauban, settings_file=None)
with open_vauban(settings.model_copy(update={"home": Path("there")}), generate=False) as vauban:
    assert exchange.import_(Path("archive"), vauban).chunks == done.chunks
"""

REPORT = """
import json
print(json.dumps(seen))
"""


def watched(program: str, tmp_path: Path, **environ: str) -> list[str]:
    """What a fresh interpreter saw of sockets and pickles while it ran ``program``."""
    kept = {name: value for name, value in os.environ.items() if name not in offline.SWITCHES}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + program + REPORT],
        env={**kept, "VAUBAN_HOME": str(tmp_path / "home"), **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    seen: list[str] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_importing_the_engine_sets_every_switch() -> None:
    """Over whatever the environment says, and before any library is read."""
    program = "import sys, os, rag, json; print(json.dumps([dict(os.environ), sorted(sys.modules)]))"
    wrong = dict.fromkeys(offline.SWITCHES, "wrong")
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **wrong}, capture_output=True, text=True, check=True
    )
    environ, modules = json.loads(done.stdout)
    assert {name: environ[name] for name in offline.SWITCHES} == offline.SWITCHES
    assert not {"gradio", "transformers", "huggingface_hub", "sentence_transformers", "torch"} & set(modules)


def test_the_libraries_heed_the_switches() -> None:
    """As they read them, at their own import, whatever the environment said before ours."""
    program = (
        "import rag, huggingface_hub.constants as hub, gradio.analytics as gradio\n"
        "assert hub.HF_HUB_OFFLINE and hub.HF_HUB_DISABLE_TELEMETRY\n"
        "assert not gradio.analytics_enabled()\n"
    )
    environ = {**os.environ, "HF_HUB_OFFLINE": "0", "GRADIO_ANALYTICS_ENABLED": "True"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_importing_everything_opens_no_socket_and_unpickles_nothing(tmp_path: Path) -> None:
    """All modules of all folders, with all the libraries they bring."""
    assert watched(IMPORTS, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True], ids=["fakes", "real models"])
def test_taking_in_searching_and_answering_do_neither(tmp_path: Path, minilm_folder: Path, real: bool) -> None:
    """With the fakes, and with the models of the demo, which are loaded from safetensors and GGUF."""
    folder = tmp_path / "rh"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n')
    for number in range(3):
        text = f"# Texte {number}\n\n## Article 1\n\nL'agent a droit à {20 + number} jours de congés annuels.\n"
        (folder / f"texte-{number}.md").write_text(text)
    models = ("minilm", "smollm2") if real else ("fake", "fake")
    environ = {"VAUBAN_EMBEDDER": models[0], "VAUBAN_GENERATOR": models[1], "VAUBAN_WORKERS": "1"}
    assert watched(f"FOLDER = {str(folder)!r}\n{WORKS}", tmp_path, **environ) == []


def every_format(folder: Path) -> int:
    """A corpus of the sample texts and of the formats that they lack; how many documents it holds.

    The shipped ones are PDF, DOCX, ODT, XLSX, ODS, HTML, Markdown and text.
    """
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "rh"\ngroups = ["*"]\n')
    samples = Path(__file__).parent.parent / "ingest" / "samples"
    shipped = {
        path.suffix: path
        for path in sorted(samples.glob("*/*"))
        if path.is_file() and path.suffix not in {".toml", ".py"}
    }
    for path in shipped.values():
        shutil.copy(path, folder)
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Le quai"
    slides.save(str(folder / "a.pptx"))
    message = EmailMessage()
    message["MIME-Version"], message["Subject"], message["From"] = "1.0", "Quai", "drh@exemple.fr"
    message.set_content("Le quai est ouvert.")
    message.add_attachment("nom;valeur\nquai;1\nport;2\n", filename="a.csv")
    (folder / "a.eml").write_bytes(message.as_bytes())
    (folder / "a.msg").write_bytes(compound(letter("Quai", body="Le quai est ouvert.")))
    (folder / "a.rtf").write_text(r"{\rtf1\ansi Le quai est ouvert.\par}")
    (folder / "a.csv").write_text("nom;valeur\nquai;1\nport;2\n")
    (folder / "a.jsonl").write_text('{"_id": "1", "title": "T", "text": "Le quai est ouvert."}\n')
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("b.md", "# Article 1\n\nLe quai est ouvert à midi.\n")
    more = 7
    if ocr.available("fra+eng"):
        picture = Image.new("L", (1200, 400), 255)
        font = ImageFont.load_default(size=60)
        ImageDraw.Draw(picture).text((60, 120), "Le quai est ouvert aux agents.", fill=0, font=font)
        picture.save(folder / "a.png", dpi=(300, 300))
        more += 1
    return len(shipped) + more


@pytest.mark.slow
def test_no_format_and_no_way_between_machines_unpickles_anything(tmp_path: Path) -> None:
    """Taken in, sent to workers as Celery sends it, reported on, exported, embedded anew, imported.

    Workers refuse to unpickle anything, as their own tests say: that each document is read shows it of them.
    """
    count = every_format(tmp_path / "rh")
    environ = {"VAUBAN_EMBEDDER": "fake", "VAUBAN_GENERATOR": "fake", "VAUBAN_WORKERS": "1"}
    program = f"FOLDER, COUNT = {str(tmp_path / 'rh')!r}, {count}\n{TRAVELS}"
    assert watched(program, tmp_path, **environ) == []


@pytest.mark.parametrize(
    ("program", "saw"),
    [
        ("import pickle, fractions; pickle.loads(pickle.dumps(fractions.Fraction(1)))", "pickle.find_class"),
        ("import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass", "socket.connect"),
    ],
)
def test_the_watch_sees_what_it_watches_for(tmp_path: Path, program: str, saw: str) -> None:
    """The empty lists above mean something."""
    assert any(line.startswith(saw) for line in watched(program, tmp_path))
