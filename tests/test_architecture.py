"""The folders import each other along the arrows only, each library behind its adapter, and nothing runs hidden code.

Modules are read with ``ast`` and never imported, so that an import inside a function counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("rag", "ingest", "ui", "eval", "prompts")

ARROWS = {
    "prompts": set[str](),
    "rag": {"prompts"},
    "ingest": {"rag"},
    "eval": {"rag", "prompts"},
    "ui": {"rag"},
}
"""What the modules of each folder may import of ours, beside their own folder."""

WIRING = {"rag/__main__.py", "eval/__main__.py"}
"""The entry points put the folders together, and so may cross the arrows."""

LIBRARIES = {
    "qdrant_client": {"rag/adapters/qdrant_server.py"},
    "qdrant_edge": {"rag/adapters/qdrant_edge.py"},
    "llama_cpp": {"rag/adapters/llama.py"},
    "sentence_transformers": {"rag/adapters/encoders.py"},
    "transformers": {"rag/adapters/encoders.py"},
    "safetensors": {"rag/adapters/encoders.py"},
    "torch": {"rag/adapters/encoders.py"},
    "huggingface_hub": {"rag/adapters/hub.py"},
    "langchain_core": {"rag/adapters/langchain.py"},
    "langchain_text_splitters": {"ingest/chunk.py"},
    "gradio": {"ui/app.py"},
    "celery": {"ingest/broker.py"},
    "redis": {"ingest/broker.py"},
    "prometheus_client": {"rag/gauges.py", "rag/metrics.py"},
    # Each of these speaks to this machine, or to the model's and the store's servers, and says so in its docstring.
    "httpx": {"rag/internal_http.py", "rag/live.py", "rag/oidc.py", "rag/adapters/llama_server.py", "ui/client.py"},
    "jwt": {"rag/oidc.py"},
}
"""The only modules that may import these libraries."""

NEVER_IMPORTED = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal",  # they run what they read
    "langchain", "langchain_community", "langsmith",
    "openai", "requests", "aiohttp", "urllib3", "websockets", "telnetlib", "ftplib", "smtplib",
}  # fmt: skip
NEVER_CALLED = {"eval", "exec", "compile", "__import__"}
UNSAFE_LOADERS = {"torch.load", "pandas.read_pickle", "yaml.load"}
DRAWERS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "base", "misc", "core", "shared"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
WORDS_OF_PEOPLE = {"question", "text", "answer", "draft", "prompt", "history", "passages", "content", "body", "comment"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, with the name taken from it where there is one."""

    module: str
    name: str | None
    line: int
    at_import: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def counts(self) -> bool:
        """Whether it is one of ours that is read when the importing module is."""
        return self.at_import and self.top in FOLDERS


@cache
def modules() -> tuple[str, ...]:
    """Every module of ours, by its path from the root."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in files))


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), filename=module)


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Every import of a module, wherever it stands."""
    later = {id(inner) for node in ast.walk(tree(module)) if _is_later(node) for inner in ast.walk(node)}
    return tuple(found for node in ast.walk(tree(module)) for found in _imports(node, at_import=id(node) not in later))


def _is_later(node: ast.AST) -> bool:
    """Whether what stands inside is not run when the module is imported: functions, and what only types need."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _imports(node: ast.AST, *, at_import: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, node.lineno, at_import)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import hides which folder it crosses to"
        for alias in node.names:
            yield Import(str(node.module), alias.name, node.lineno, at_import)


def module_file(module: str, name: str | None) -> str:
    """The file of ours that an import means: a module, or the package that holds the name."""
    for dotted in ([f"{module}.{name}"] if name else []) + [module]:
        path = Path(*dotted.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if (ROOT / file).is_file():
                return file.as_posix()
    raise AssertionError(f"{module}.{name} is imported and does not exist")


def test_imports_follow_the_arrows() -> None:
    """rag imports only prompts, ingest only rag, eval only rag and prompts, and ui only rag.schemas."""
    wrong = []
    for module in set(modules()) - WIRING:
        folder = module.partition("/")[0]
        for found in imports(module):
            if found.top not in FOLDERS or found.top == folder:
                continue
            only_schemas = folder != "ui" or module_file(found.module, found.name) == "rag/schemas.py"
            if found.top not in ARROWS[folder] or not only_schemas:
                wrong.append(f"{module}:{found.line} {found.module}")
    assert not wrong


def test_what_is_imported_of_ours_exists() -> None:
    """An import of ours that stands inside a function names a module that is there."""
    for module in modules():
        for found in imports(module):
            if found.top in FOLDERS:
                module_file(found.module, found.name)


def test_a_library_is_imported_by_its_adapter_only() -> None:
    """A library that we build on is known to the one module that adapts it, and each such module is there."""
    found = {library: {module for module in modules() if _uses(module, library)} for library in LIBRARIES}
    assert found == LIBRARIES


def _uses(module: str, library: str) -> bool:
    return any(found.top == library for found in imports(module))


def test_of_the_langchain_splitters_one_is_used() -> None:
    """Of LangChain's splitters only the one that cuts plain text is used; others read files or fetch models."""
    names = {found.name for found in imports("ingest/chunk.py") if found.top == "langchain_text_splitters"}
    assert names == {"RecursiveCharacterTextSplitter"}


def test_nothing_is_unpickled_or_evaluated() -> None:
    """No module can turn bytes into code: no pickle or its relatives, no eval, no exec, no unsafe loading."""
    wrong = []
    for module in modules():
        wrong += [f"{module}:{found.line} {found.module}" for found in imports(module) if found.top in NEVER_IMPORTED]
        wrong += [f"{module}:{node.lineno} {ast.unparse(node)}" for node in ast.walk(tree(module)) if _runs_data(node)]
    assert not wrong


def _runs_data(node: ast.AST) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call):
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    unsafe = {"trust_remote_code", "allow_pickle", "shell"} & {
        name for name, value in given.items() if not (isinstance(value, ast.Constant) and value.value is False)
    }
    called = ast.unparse(node.func)
    return called in NEVER_CALLED or bool(unsafe) or called in UNSAFE_LOADERS


def test_logs_are_events_with_fields() -> None:
    """A log message is a constant, so no f-string carries into a log what people wrote; nor does an argument."""
    wrong = [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module in modules()
        for node in ast.walk(tree(module))
        if _logs(node) and (not _constant(node.args[:1]) or _names(node) & WORDS_OF_PEOPLE)
    ]
    assert not wrong


def _logs(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and ast.unparse(node.func.value).strip("_") in {"log", "logger", "logging"}
    )


def _constant(arguments: Sequence[ast.expr]) -> bool:
    return all(isinstance(argument, ast.Constant) and isinstance(argument.value, str) for argument in arguments)


def _names(call: ast.Call) -> set[str]:
    """Every name and attribute in the arguments of a call."""
    inner = [node for argument in [*call.args, *call.keywords] for node in ast.walk(argument)]
    return {node.id for node in inner if isinstance(node, ast.Name)} | {
        node.attr for node in inner if isinstance(node, ast.Attribute)
    }


def test_modules_say_what_they_are() -> None:
    """Every module begins with a docstring."""
    assert not [module for module in modules() if not ast.get_docstring(tree(module))]


def test_modules_are_named_after_their_job() -> None:
    """No module or folder is a drawer for whatever has no place."""
    assert not [module for module in modules() if {part.removesuffix(".py") for part in Path(module).parts} & DRAWERS]


def test_seams_promise_something() -> None:
    """Each Protocol of rag.seams has a docstring."""
    seams = [node for node in tree("rag/seams.py").body if isinstance(node, ast.ClassDef)]
    assert {seam.name for seam in seams} >= {"Embedder", "VectorStore", "Reranker", "Generator", "Inbox"}
    assert not [seam.name for seam in seams if not ast.get_docstring(seam)]


def test_settings_are_read_in_one_place() -> None:
    """No module but rag/settings.py reads a ``VAUBAN_`` variable, so that there is one list of them."""
    wrong = [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module in set(modules()) - {"rag/settings.py"}
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call | ast.Subscript)
        and ast.unparse(node).startswith(("os.getenv(", "os.environ"))
        and "VAUBAN" in ast.unparse(node)
    ]
    assert not wrong


def test_imports_form_no_circle() -> None:
    """Following what a module imports when it is imported never leads back to it."""
    edges = {
        module: {module_file(found.module, found.name) for found in imports(module) if found.counts} - {module}
        for module in modules()
    }
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(edges[module]):
                walk(target, (*path, module))
            done.add(module)

    for module in modules():
        walk(module, ())
