"""Holes that were found in software like this, and what keeps each from being one of ours.

Those that are a matter of behaviour are tested where that behaviour is; here are the versions below which a library
had one, the features of libraries that were one by being used at all, and what of a hole shows from outside.
"""

from __future__ import annotations

import ast
import importlib.metadata
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from starlette.testclient import TestClient

from rag.api import create_app
from tests.rag_server import parts, pdf

FLOORS = {
    "gradio": ("6.7", "CVE-2026-28414, CVE-2026-28416"),
    "llama-cpp-python": ("0.2.72", "CVE-2024-34359"),
    "python-multipart": ("0.0.27", "CVE-2026-42561"),
    "starlette": ("1.3.1", "CVE-2026-48710, -48817, -48818, -54282, -54283, CVE-2025-62727"),
}
"""The first version without what was found, and its names."""
UNWANTED = {
    "nltk": "CVE-2026-81726 has no fix",
    "unstructured": "it writes attachments under names that a message chooses",
    "pdfminer-six": "it unpickled what a document names",
}
"""What may not be required, whichever version."""
CLOSED = {
    "diskcache": "it unpickles what it keeps, CVE-2025-69872: llama-cpp-python brings it along, nobody uses it",
    "LlamaDiskCache": "the same",
    "LlamaRPC": "an engine that runs what a network sends",
    "from_pretrained": "it may fetch, and chooses the file by what it finds",
}
"""Names that appear in no code of ours."""
CALLS_CLOSED = {"gr.load", "gradio.load", "gr.Interface.load", "jsonpickle.decode", "langchain_core.load.loads"}
SWITCHES_CLOSED = {"mcp_server", "pwa", "ssr_mode", "enable_monitoring", "run_history", "show_error"}
"""Arguments of Gradio that open more than the page needs: given, and false."""


@pytest.fixture(scope="module")
def trees(root: Path) -> dict[str, ast.Module]:
    """The modules of the product in whose text one of the names stands; to parse all of them takes seconds."""
    named = (*CLOSED, *CALLS_CLOSED, "mount_gradio_app", ".launch")
    paths = [path for folder in ("rag", "ingest", "ui", "eval", "prompts") for path in (root / folder).rglob("*.py")]
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}
    assert len(texts) > 100
    return {name: ast.parse(text) for name, text in texts.items() if any(one in text for one in named)}


@pytest.mark.parametrize("name", FLOORS)
def test_no_library_is_older_than_the_end_of_its_holes(root: Path, name: str) -> None:
    """Neither here nor where the pinned versions are installed."""
    floor, found = FLOORS[name]
    pinned = {
        canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
        for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    for version in (pinned[canonicalize_name(name)], importlib.metadata.version(name)):
        assert Version(version) >= Version(floor), found


def test_what_has_no_remedy_is_not_required() -> None:
    """Nor by a library that is."""
    wanted, seen = ["vauban"], set[str]()
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        wanted += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert len(seen) > 20
    assert seen & set(UNWANTED) == set()


def test_features_that_were_holes_by_being_used_are_not_used(trees: dict[str, ast.Module]) -> None:
    """By their names, wherever they appear in code."""
    found = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            names = {getattr(node, "id", None), getattr(node, "attr", None)}
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.name.partition(".")[0] for alias in node.names} | {getattr(node, "module", None)}
            found += [f"{module}: {name}" for name in names if name in CLOSED]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS_CLOSED:
                found.append(f"{module}: {ast.unparse(node.func)}")
    assert found == []


def test_the_page_opens_nothing_of_gradio_s_that_it_does_not_need(trees: dict[str, ast.Module]) -> None:
    """Each switch that has to be is given and off, and no folder is served."""
    (mounted,) = [
        node
        for node in ast.walk(trees["ui/app.py"])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "gr.mount_gradio_app"
    ]
    given = {one.arg: ast.unparse(one.value) for one in mounted.keywords}
    assert {name: given.get(name) for name in SWITCHES_CLOSED} == dict.fromkeys(SWITCHES_CLOSED, "False")
    assert (given["allowed_paths"], given["max_file_size"]) == ("[]", "0")
    calls = [ast.unparse(node.func) for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [name for name in calls if name.endswith(".launch")]  # where `share` would be


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    vauban = parts(tmp_path_factory.mktemp("holes"))
    with TestClient(create_app(vauban), base_url="http://127.0.0.1:8080") as made:
        yield made
    vauban.catalog.close()


def test_many_ranges_take_no_longer_than_one(client: TestClient) -> None:
    """CVE-2025-62727: to merge them took the square of their number. A header is bounded besides by the server."""
    address = "/v1/corpora/rh/documents/conges/file"
    whole = client.get(address)
    assert (whole.status_code, whole.content) == (200, pdf())
    assert client.get(address, headers={"Range": "bytes=0-3"}).content == whole.content[:4]
    many = "bytes=" + ",".join(f"{start}-{start}" for start in range(0, 40_000, 2))
    began = time.perf_counter()
    answered = client.get(address, headers={"Range": many})
    assert answered.status_code in {200, 206, 400, 416}
    assert len(answered.content) < 4 * 2**20
    assert time.perf_counter() - began < 2.0
