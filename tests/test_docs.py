"""The README names everything that a user can meet, and its tables are what the code says.

The blocks between marks are written by ``WRITE_DOCS=1 pytest tests/test_docs.py`` and compared ever after.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from ingest import manifest
from rag import errors, problems
from rag.__main__ import _assemble, app
from rag.api import create_app
from rag.catalog import DocumentState
from rag.entitlements import Entitlements
from rag.errors import RejectReason, VaubanError
from rag.recording import Ended
from rag.records import RecordKind
from rag.replaying import Difference
from rag.settings import PREFIX, Login, Settings
from rag.tampers import Tamper
from rag.types import AsOfSource, DropReason, Found, NormRank, NoticeKind, Policy, Reason, Role, RunState, Status
from rag.viewing import Shown
from tests.rag_server import parts, serving

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


# --- what the code says ---------------------------------------------------------------------------------


@cache
def command() -> Any:
    """The whole ``vauban`` command."""
    _assemble()
    return typer.main.get_command(app)


def leaves(group: Any, path: tuple[str, ...] = ("vauban",)) -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups opened; hidden ones are for those who change Vauban."""
    for name, inner in group.commands.items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, (*path, name))
        elif not inner.hidden:
            yield " ".join((*path, name)), inner


def commands_block() -> str:
    rows = [f"| `{name}{_usage(leaf)}` | {leaf.help.splitlines()[0]} |" for name, leaf in leaves(command())]
    return "\n".join(["| command | does |", "| --- | --- |", *rows])


def _usage(leaf: Any) -> str:
    words = []
    for parameter in leaf.params:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
        else:
            flag = "" if parameter.is_flag else " " + ("N" if parameter.bare_type is int else "VALUE")
            name = parameter.opts[0] + flag
        words.append(name if parameter.required else f"[{name}]")
    return "".join(f" {word}" for word in words)


def settings_block() -> str:
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | what it is |", "| --- | --- | --- |", *rows])


def _default(value: object) -> str:
    if value is None or value == "" or (isinstance(value, tuple | frozenset) and not value):
        return ""
    if isinstance(value, tuple | frozenset):
        return f"`{','.join(sorted(map(str, value)))}`"
    return f"`{value}`"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The API's description of itself."""
    vauban = parts(tmp_path_factory.mktemp("described"))
    found = create_app(vauban).openapi()
    vauban.catalog.close()
    return found


def endpoints_block(described: dict[str, Any]) -> str:
    rows = [
        f"| `{method.upper()} {path}` | {operation['summary']} |"
        for path, operations in sorted(described["paths"].items())
        for method, operation in operations.items()
    ]
    return "\n".join(["| endpoint | gives |", "| --- | --- |", *rows])


@dataclass(frozen=True, slots=True)
class Failure:
    """A code that programs rely on, the status that the API gives it, and what it says."""

    code: str
    status: int
    says: str


@cache
def failures() -> tuple[Failure, ...]:
    """Every code: those of the classes, and those that one raise or another gives of its own."""
    tree: list[type[VaubanError]] = [VaubanError, *_below(VaubanError)]
    found = {
        kind.code: Failure(kind.code, _status(kind), _of_the_tree(kind))
        for kind in tree
        if kind.__module__ == errors.__name__
    }
    for status, (code, _, says) in problems._HTTP.items():
        found.setdefault(code, Failure(code, status, says))
    for folder in ("rag", "ingest", "eval"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and (failure := _raised(call)):
                    found.setdefault(failure.code, failure)
    return tuple(sorted(found.values(), key=lambda failure: failure.code))


def _below(kind: type[VaubanError]) -> Iterator[type[VaubanError]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _below(inner)


def _status(kind: type[VaubanError]) -> int:
    return next(problems.STATUSES[base] for base in kind.__mro__ if base in problems.STATUSES)


def _of_the_tree(kind: type[VaubanError]) -> str:
    """What the drawing at the top of rag/errors.py says of a class."""
    line = re.search(rf"── {kind.__name__} +(.+)$", errors.__doc__ or "", re.MULTILINE)
    return line[1].strip() if line else "anything else"


def _raised(call: ast.Call) -> Failure | None:
    """The failure that a call makes, when it makes one of ours with a code of its own."""
    name = ast.unparse(call.func).rpartition(".")[2]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    place: ast.expr | None = given.get("code")
    kind = {"Refusal": problems.Refusal, "_stopped": errors.Conflict}.get(name, getattr(errors, name, None))
    if name == "_stopped" and len(call.args) == 3:
        place = call.args[2]
    if kind is None or not call.args or not (isinstance(place, ast.Constant) and isinstance(place.value, str)):
        return None
    stated = given.get("status")
    status = stated.value if isinstance(stated, ast.Constant) and isinstance(stated.value, int) else _status(kind)
    return Failure(place.value, status, _text(call.args[0]))


def _text(node: ast.expr) -> str:
    """A message as it is written, what is filled in shown as an ellipsis."""
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Constant):
        return str(node.value)
    pieces = node.values if isinstance(node, ast.JoinedStr) else []
    written = "".join(str(piece.value) if isinstance(piece, ast.Constant) else "…" for piece in pieces)
    return " ".join((written or "…").split())


def errors_block() -> str:
    rows = [f"| `{one.code}` | {one.status} | {one.says.replace('|', '/')} |" for one in failures()]
    return "\n".join(["| code | status | says |", "| --- | --- | --- |", *rows])


# --- the generated blocks -------------------------------------------------------------------------------


def test_the_tables_are_what_the_code_says(described: dict[str, Any]) -> None:
    """Commands, settings, endpoints and errors; ``WRITE_DOCS=1 pytest tests/test_docs.py`` writes them anew."""
    written = README.read_text(encoding="utf-8")
    blocks = {
        "commands": commands_block(),
        "settings": settings_block(),
        "endpoints": endpoints_block(described),
        "errors": errors_block(),
    }
    right = written
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert right.count(begin) == right.count(end) == 1
        right = right[: right.index(begin)] + f"{begin}\n{block}\n{end}" + right.partition(end)[2]
    if os.environ.get("WRITE_DOCS"):
        README.write_text(right, encoding="utf-8")
    else:
        assert written == right, "run: WRITE_DOCS=1 pytest tests/test_docs.py"


# --- everything is named --------------------------------------------------------------------------------


def test_every_command_and_option_is_named(readme: str) -> None:
    for name, leaf in leaves(command()):
        (row,) = [line for line in readme.splitlines() if line.startswith((f"| `{name} ", f"| `{name}`"))]
        assert all(option in row for parameter in leaf.params for option in parameter.opts if option.startswith("--"))


def test_every_setting_is_named(readme: str) -> None:
    assert not [name for name in Settings.model_fields if f"`{PREFIX}{name.upper()}`" not in readme]


def test_every_endpoint_is_named(readme: str, described: dict[str, Any]) -> None:
    """Those of the description, the description itself, and the page."""
    for path, operations in described["paths"].items():
        assert all(f"`{method.upper()} {path}`" in readme for method in operations)
    assert "`/openapi.json`" in readme


@pytest.mark.parametrize("names", [
    Status, Reason, DropReason, RejectReason, NormRank, Policy, RunState, DocumentState, NoticeKind, Found, AsOfSource,
    Role, Login, RecordKind, Ended, Shown, Tamper, Difference
])  # fmt: skip
def test_every_name_of_a_closed_list_is_named(names: type[Status], readme: str) -> None:
    """What an answer, a claim, a passage, a file, a document or a run can be."""
    assert not [member.value for member in names if f"`{member.value}`" not in readme]


def test_every_error_code_is_named(readme: str) -> None:
    assert len(failures()) > 50
    assert not [failure.code for failure in failures() if f"`{failure.code}`" not in readme]


def test_every_header_of_ours_is_named(readme: str) -> None:
    """Headers that callers send or get and that only Vauban knows."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rag").glob("*.py"))
    for header in set(re.findall(r'"(Vauban-[A-Za-z-]+)"', source)):
        assert f"`{header}`" in readme


# --- what is shown works --------------------------------------------------------------------------------


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def shown(readme: str) -> list[list[str]]:
    """The shell commands of the README, split into words."""
    lines = [line.removeprefix("$ ") for block in blocks(readme, "console") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def test_commands_that_are_shown_exist(readme: str) -> None:
    """Each name, each option and each number of words is one that the command takes."""
    known = dict(leaves(command()))
    seen = 0
    for words in shown(readme):
        if not words or not words[0].endswith("vauban"):
            continue
        name = next(name for name in known if " ".join(["vauban", *words[1:], ""]).startswith(f"{name} "))
        rest = words[len(name.split()) :]
        known[name].make_context(name, rest)  # raises for what it does not know
        seen += 1
    assert seen > 5


def test_commands_in_the_text_exist(readme: str) -> None:
    """Also those that stand inside a sentence."""
    known = [name for name, _ in leaves(command())]
    groups = {name.rpartition(" ")[0] for name in known}
    for text in re.findall(r"`(vauban [^`]+)`", readme):
        assert any(text.startswith(name) for name in known) or text in groups or text == "vauban COMMAND --help", text


def test_commands_that_messages_advise_exist() -> None:
    """What an error tells a person to run can be run."""
    known = " ".join(name for name, _ in leaves(command()))
    for folder in ("rag", "ingest", "ui", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            for advised in re.findall(r"[`«] ?(vauban [a-z]+(?: [a-z]+)?)", path.read_text(encoding="utf-8")):
                assert advised in known, f"{path}: {advised}"


def test_make_targets_that_are_shown_exist(readme: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", readme)) | {words[1] for words in shown(readme) if words[0] == "make"}
    assert {"run", "test"} <= named <= targets


def test_paths_that_are_shown_exist(readme: str) -> None:
    """Files and folders of the checkout that the text names."""
    for path in re.findall(r"`((?:rag|ingest|ui|eval|prompts|tests)/[\w./]*)`", readme):
        assert (ROOT / path).exists(), path


def test_the_corpus_file_that_is_shown_is_right(readme: str, tmp_path: Path) -> None:
    text, _ = blocks(readme, "toml")
    assert tomllib.loads(text)["groups"] == ["agents"]
    (tmp_path / "corpus.toml").write_text(text, encoding="utf-8")
    (tmp_path / "glossaire.toml").write_text('same = [["CET", "compte épargne-temps"]]', encoding="utf-8")
    corpus = manifest.declared(tmp_path, "rh")
    assert corpus is not None
    assert corpus.contact


def test_the_table_of_groups_that_is_shown_is_right(readme: str, tmp_path: Path) -> None:
    """It is read as the setting `login_map` reads it."""
    _, text = blocks(readme, "toml")
    (tmp_path / "login.toml").write_text(text, encoding="utf-8")
    table = Entitlements.load(tmp_path / "login.toml")
    assert table.maintains["/services/rh/redaction"] == {"rh"}


def test_the_program_that_is_shown_runs(readme: str, tmp_path: Path) -> None:
    """As it stands, but for the address."""
    (program,) = blocks(readme, "python")
    assert "http://127.0.0.1:8080/v1" in program
    vauban = parts(tmp_path)
    with serving(create_app(vauban)) as url:
        done = subprocess.run(
            [sys.executable, "-c", program.replace("http://127.0.0.1:8080", url)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    vauban.catalog.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_summary_in_french_comes_first(readme: str) -> None:
    assert readme.splitlines()[2].startswith("> **En bref.**")
