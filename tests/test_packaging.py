"""One wheel carries all five folders with their data, under names that are ours alone, on versions that are pinned."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDERS = {"rag", "ingest", "ui", "eval", "prompts"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]  # TOML


@pytest.fixture(scope="module")
def pinned(root: Path) -> dict[str, str]:
    """The versions of constraints.txt, each distribution once."""
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pairs = [(canonicalize_name(name), version) for name, _, version in (line.partition("==") for line in lines)]
    assert len(dict(pairs)) == len(pairs)
    assert all(re.fullmatch(r"[\w.]+", version) for _, version in pairs)
    return dict(pairs)


@pytest.fixture(scope="module")
def files(root: Path) -> list[str]:
    """The files of the checkout that are or may be committed, by their path."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def wheel(root: Path, files: list[str], tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that the checkout stays as it is."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((root / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, timeout=240)
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_the_top_level_names_are_ours_alone(name: str) -> None:
    """Nothing else that is installed brings a package of that name."""
    assert set(importlib.metadata.packages_distributions()[name]) == {"vauban"}


@pytest.mark.slow
def test_the_wheel_carries_every_module_and_data_file(wheel: zipfile.ZipFile, files: list[str]) -> None:
    """All that stands in the five folders, and nothing beside them."""
    names = {name for name in wheel.namelist() if not name.startswith("vauban-")}
    assert names == {name for name in files if name.partition("/")[0] in FOLDERS}


@pytest.mark.slow
def test_the_wheel_carries_what_is_read_at_run_time(wheel: zipfile.ZipFile) -> None:
    """Templates, the manifest of models, migrations, samples, golden questions, the page's assets."""
    names = set(wheel.namelist())
    assert {
        "rag/models.toml",
        "rag/data/wording.toml",
        "prompts/system.fr.md",
        "ingest/samples/rh/corpus.toml",
    } <= names
    assert {"rag/migrations/versions/0001_first.py", "eval/golden/rh.jsonl", "ui/assets/page.css"} <= names
    assert any(name.startswith("ingest/samples/rh/") and name.endswith(".pdf") for name in names)


@pytest.mark.slow
def test_the_wheel_has_its_version_command_and_licence(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    about = f"vauban-{project['version']}.dist-info"
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(f"{about}/entry_points.txt").decode())
    assert dict(scripts["console_scripts"]) == {"vauban": "rag.__main__:main"}
    assert f"{about}/licenses/LICENSE" in wheel.namelist()
    assert b"License-Expression: Apache-2.0" in wheel.read(f"{about}/METADATA")


def test_the_installed_version_is_the_one_of_the_project(project: dict[str, Any], root: Path) -> None:
    """And the changelog's latest release is that; what comes after it is unreleased."""
    assert importlib.metadata.version("vauban") == project["version"]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == project["version"]


def declared(project: dict[str, Any]) -> dict[str, Requirement]:
    written = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    needed = [Requirement(text) for text in [*written, *project["optional-dependencies"]["dev"]]]
    by_name: dict[str, Requirement] = {canonicalize_name(one.name): one for one in needed}
    assert len(by_name) == len(needed), "a dependency is declared twice"
    return by_name


def test_every_dependency_is_pinned(project: dict[str, Any], pinned: dict[str, str]) -> None:
    """Those of the project, and all that these need in turn on this system."""
    wanted = list(declared(project).values())
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ["", *requirement.extras]
        ):
            continue
        assert name in pinned, name
        assert requirement.specifier.contains(pinned[name], prereleases=True), requirement
        if name in seen:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in ["", *requirement.extras]):
                inner.marker = None
                wanted.append(inner)


def test_what_is_installed_is_what_is_pinned(project: dict[str, Any], pinned: dict[str, str]) -> None:
    """So that tests say something of what others will install. torch may carry the mark of its build."""
    versions = {
        canonicalize_name(one.name): one.version.partition("+")[0] for one in importlib.metadata.distributions()
    }
    assert set(declared(project)) <= set(versions)
    assert not {name: version for name, version in versions.items() if pinned.get(name, version) != version}


def test_every_library_that_is_imported_is_declared(project: dict[str, Any], root: Path) -> None:
    """What a module imports is not left to another library's dependencies."""
    providers = importlib.metadata.packages_distributions()
    needed = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    missing = set()
    for folder in FOLDERS:
        for path in (root / folder).rglob("*.py"):
            if path.name == "render.py":  # makes the sample files again, with the tools of developers
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                for module in modules:
                    top = module.partition(".")[0]
                    if top in sys.stdlib_module_names | FOLDERS:
                        continue
                    if not {canonicalize_name(name) for name in providers[top]} & needed:
                        missing.add(f"{path.relative_to(root)}: {module}")
    assert not missing


def test_the_command_is_installed_beside_the_interpreter() -> None:
    assert Path(sysconfig.get_path("scripts"), "vauban").is_file()
