"""The manifest of models: which ones Vauban knows, where their files are, and that they are the right files.

``models.toml`` beside this module names them; an operator's own stand in a ``models.toml`` in the folder of
models. A file is loaded only when its SHA-256 is the one written in the manifest or in ``models.lock.toml``, which
``vauban models pull`` writes. No function here uses a network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rag.errors import ModelError, NotFound

MANIFEST: Final = Path(__file__).with_name("models.toml")
LOCK: Final = "models.lock.toml"
FORMATS: Final = frozenset({".gguf", ".safetensors", ".json", ".txt", ".model"})
"""File types that are fetched and hashed: weights in two formats that hold no code, vocabularies, configuration."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Kind(StrEnum):
    """What a model does; the three seams that take one."""

    EMBEDDER = "embedder"
    RERANKER = "reranker"
    GENERATOR = "generator"


class Entry(BaseModel):
    """One model of the manifest; ``models.toml`` explains the fields.

    Its files are in a Python package (``package``, ``path``) or, under its name, in the folder of models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Kind
    title: str = ""
    box: str = "own"
    licence: str = "unknown"
    languages: tuple[str, ...] = ("*",)
    context: int = Field(0, ge=0)
    dimension: int = Field(0, ge=0)
    memory: int = Field(0, ge=0)
    package: str = ""
    distribution: str = ""
    path: str = ""
    repository: str = ""
    revision: str = "main"
    files: tuple[str, ...] = ()
    query_prefix: str = ""
    passage_prefix: str = ""
    dense_weight: float | None = Field(None, ge=0, le=1)
    capable: bool = False
    sha256: Mapping[str, Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _inside(self) -> Entry:
        for name in (self.path, *self.sha256):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name} leaves the model's folder")
        return self

    def speaks(self, language: str) -> bool:
        """Whether the model was made for ``language``; search trusts it less where it was not."""
        return "*" in self.languages or language in self.languages


class Manifest:
    """Every model that this installation knows by name."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)

    @classmethod
    def load(cls, models_dir: Path | None = None) -> Manifest:
        """Read the shipped manifest and, where there is one, the operator's in ``models_dir``.

        Raises:
            ModelError: a manifest cannot be read, or the operator's redefines a shipped name.
        """
        entries = _read_manifest(MANIFEST)
        own = models_dir / MANIFEST.name if models_dir else None
        if own is not None and own.is_file():
            added = _read_manifest(own)
            if twice := sorted(entries.keys() & added.keys()):
                raise ModelError(
                    f"{own} redefines {twice[0]}; give it another name",
                    f"{own} redéfinit {twice[0]} ; donnez-lui un autre nom",
                )
            entries |= added
        return cls(entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order of the files."""
        return tuple(self._entries.values())

    def entry(self, name: str, kind: Kind | None = None) -> Entry:
        """The entry ``name``.

        Raises:
            NotFound: there is none (code ``unknown_model``).
            ModelError: it is not of the wanted kind.
        """
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(entry.name for entry in self.entries if kind in (None, entry.kind))
            raise NotFound(
                f"no model `{name}` in the manifest; there are: {known}",
                f"aucun modèle « {name} » dans le manifeste ; il y a : {known}",
                code="unknown_model",
            )
        if kind is not None and entry.kind is not kind:
            raise ModelError(
                f"model `{name}` is a {entry.kind} and not a {kind}",
                f"le modèle « {name} » est de type {entry.kind} et non {kind}",
            )
        return entry


@dataclass(frozen=True, slots=True)
class Locked:
    """What a pull recorded of one model: the exact revision, and the hash of each file."""

    repository: str
    revision: str
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model whose files were found and checked. ``fingerprint`` changes whenever one of the files does."""

    entry: Entry
    path: Path
    fingerprint: str


def install(name: str, kind: Kind, *, models_dir: Path, home: Path) -> Installed:
    """The checked model ``name``, ready for its adapter; ``home`` remembers hashes so that a start is quick.

    Raises:
        NotFound: the manifest does not know it.
        ModelError: it is of another kind, its files are missing, or a file is not the expected one.
    """
    entry = Manifest.load(models_dir).entry(name, kind)
    path = locate(entry, models_dir)
    return Installed(entry, path, verify(entry, path, models_dir=models_dir, home=home))


def locate(entry: Entry, models_dir: Path) -> Path:
    """Where the model is: the GGUF file of a generator, the folder of an encoder.

    Raises:
        ModelError: it is not there; the message says how to get it.
    """
    if entry.package:
        path = _package_folder(entry) / entry.path
    elif entry.kind is Kind.GENERATOR:
        path = _single_gguf(entry, models_dir / entry.name)
    else:
        path = models_dir / entry.name
    if not path.exists():
        raise _missing(entry, path)
    return path


def expected(entry: Entry, models_dir: Path) -> Mapping[str, str]:
    """The SHA-256 of each file, from the manifest or, for a pulled model, from the lock.

    Raises:
        ModelError: neither has any: nobody has vouched for these files.
    """
    hashes = dict(entry.sha256)
    if locked := read_lock(models_dir).get(entry.name):
        hashes |= {name: digest for name, digest in locked.sha256.items() if name not in hashes}
    if not hashes:
        raise ModelError(
            f"no hash is recorded for model `{entry.name}`; run `vauban models pull {entry.name}` on a connected "
            f"machine and bring its {LOCK} along",
            f"aucune empreinte enregistrée pour le modèle « {entry.name} » ; lancez « vauban models pull "
            f"{entry.name} » sur un poste connecté et apportez son {LOCK}",
        )
    return hashes


def verify(entry: Entry, path: Path, *, models_dir: Path, home: Path | None = None) -> str:
    """Check each file of the model at ``path`` and return the model's fingerprint.

    With ``home``, the hash of a file that has not changed since it was last read is taken from there; without,
    every byte is read again.

    Raises:
        ModelError: a file is missing, of an unsafe format, not what its name says, or has another hash; the
            message names the file, the expected and the found hash.
    """
    folder = path.parent if path.is_file() else path
    hashes = expected(entry, models_dir)
    memory = HashMemory(home / "hashes.json" if home else None)
    weights = [name for name in hashes if PurePosixPath(name).suffix in {".gguf", ".safetensors"}]
    if not weights or (path.is_file() and path.relative_to(folder).as_posix() not in hashes):
        raise ModelError(
            f"no hash of the weights of model `{entry.name}` is recorded",
            f"aucune empreinte des poids du modèle « {entry.name} » n’est enregistrée",
        )
    for name, digest in hashes.items():
        file = folder / name
        check_format(file)
        found = memory.sha256(file)
        if found != digest:
            raise ModelError(
                f"model file {file} is not the expected one: expected SHA-256 {digest}, found {found}",
                f"le fichier de modèle {file} n’est pas celui attendu : SHA-256 attendu {digest}, trouvé {found}",
            )
    memory.save()
    return fingerprint(entry.name, hashes)


def fingerprint(name: str, hashes: Mapping[str, str]) -> str:
    """A short name of exactly these files: equal when and only when names and hashes are."""
    return f"{name}@{hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:16]}"


def check_format(file: Path) -> None:
    """Refuse a file that is missing, or of a format that may hold code, or whose first bytes are not its format's.

    This is cheap and comes before any library reads the file: a C++ parser should not meet a broken header.

    Raises:
        ModelError: with the file's name.
    """
    if file.suffix not in FORMATS:
        raise ModelError(
            f"model file {file} is of an unsafe format; only {', '.join(sorted(FORMATS))} are read",
            f"le fichier de modèle {file} est d’un format non sûr ; seuls {', '.join(sorted(FORMATS))} sont lus",
        )
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(16)
    except FileNotFoundError as error:
        raise ModelError(f"model file {file} is missing", f"le fichier de modèle {file} est absent") from error
    except OSError as error:
        raise ModelError(
            f"model file {file} cannot be read: {error.strerror}",
            f"le fichier de modèle {file} est illisible : {error.strerror}",
        ) from error
    if (file.suffix == ".gguf" and not _gguf_head(head)) or (
        file.suffix == ".safetensors" and not _safetensors_head(head, size)
    ):
        raise ModelError(
            f"model file {file} is corrupt: it does not begin like a {file.suffix[1:]} file",
            f"le fichier de modèle {file} est corrompu : il ne commence pas comme un fichier {file.suffix[1:]}",
        )


def read_lock(models_dir: Path) -> dict[str, Locked]:
    """What pulls have recorded, by model name; empty where nothing was pulled.

    Raises:
        ModelError: the lock file cannot be read.
    """
    path = models_dir / LOCK
    if not path.is_file():
        return {}
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
        locked = {name: Locked(row["repository"], row["revision"], dict(row["sha256"])) for name, row in rows.items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"lock file {path} cannot be read: {error}", f"fichier de verrouillage {path} illisible : {error}"
        ) from error
    for row in locked.values():
        for name in row.sha256:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ModelError(
                    f"lock file {path} names {name}, outside its folder",
                    f"le fichier {path} nomme {name}, hors de son dossier",
                )
    return locked


def write_lock(models_dir: Path, name: str, locked: Locked) -> None:
    """Record ``locked`` for ``name``, keeping the others; the file is whole at every moment."""
    rows = read_lock(models_dir) | {name: locked}
    lines = ["# Written by `vauban models pull`: what was fetched, and the hash of every file. Keep it with them."]
    for key, row in sorted(rows.items()):
        lines += ["", f"[models.{_quoted(key)}]"]
        lines += [f"repository = {_quoted(row.repository)}", f"revision = {_quoted(row.revision)}"]
        lines += ["", f"[models.{_quoted(key)}.sha256]"]
        lines += [f"{_quoted(file)} = {_quoted(digest)}" for file, digest in sorted(row.sha256.items())]
    _replace(models_dir / LOCK, "\n".join(lines) + "\n")


def hash_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below ``folder`` in one of :data:`FORMATS`, by its relative name."""
    return {
        relative.as_posix(): _hash(folder / relative)
        for relative in sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
        if relative.suffix in FORMATS and not any(part.startswith(".") for part in relative.parts)
    }


class HashMemory:
    """The hashes of files already read, kept in a file; a file that changed in any way is read again.

    "Changed" is judged by size, times and inode, as a backup program does: it tells a replaced or damaged file
    from the same one, and leaves the full reading to ``vauban models verify``. With no path nothing is remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows = _remembered(path) if path else {}
        self._changed = False

    def sha256(self, file: Path) -> str:
        """The hash of ``file``, read now unless it is the very file that was read before."""
        before = file.stat()
        mark = [before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino]
        row = self._rows.get(str(file.resolve()))
        if row is not None and row[:-1] == mark:
            return str(row[-1])
        digest = _hash(file)
        self._rows[str(file.resolve())] = [*mark, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write what was learnt. A home that cannot be written only means reading again next time."""
        if self._path is None or not self._changed:
            return
        try:
            _replace(self._path, json.dumps(self._rows))
        except OSError:
            return
        self._changed = False


def _read_manifest(path: Path) -> dict[str, Entry]:
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
        return {name: Entry(name=name, **row) for name, row in rows.items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise ModelError(
            f"the manifest {path} cannot be read: {error}", f"manifeste {path} illisible : {error}"
        ) from error


def _package_folder(entry: Entry) -> Path:
    """The folder of a package, found without importing it: a package of weights has no business running code."""
    spec = importlib.util.find_spec(entry.package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(entry, Path(entry.package))
    return Path(next(iter(spec.submodule_search_locations)))


def _single_gguf(entry: Entry, folder: Path) -> Path:
    if entry.path:
        return folder / entry.path
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise _missing(entry, folder)
    if len(found) > 1:
        raise ModelError(
            f"{folder} holds {len(found)} GGUF files and should hold one",
            f"{folder} contient {len(found)} fichiers GGUF au lieu d’un",
        )
    return found[0]


def _missing(entry: Entry, path: Path) -> ModelError:
    if entry.package:
        en, fr = f"install the package {entry.distribution}", f"installez le paquet {entry.distribution}"
    else:
        en = f"run `vauban models pull {entry.name}` on a connected machine and copy the folder of models here"
        fr = f"lancez « vauban models pull {entry.name} » sur un poste connecté et copiez ici le dossier des modèles"
    return ModelError(
        f"model `{entry.name}` is not installed ({path}); {en}",
        f"le modèle « {entry.name} » n’est pas installé ({path}) ; {fr}",
    )


def _gguf_head(head: bytes) -> bool:
    return len(head) == 16 and head[:4] == b"GGUF" and int.from_bytes(head[4:8], "little") in (2, 3)


def _safetensors_head(head: bytes, size: int) -> bool:
    return len(head) > 8 and 8 + int.from_bytes(head[:8], "little") <= size and head[8:9] == b"{"


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"model file {file} cannot be read: {error.strerror}",
            f"le fichier de modèle {file} est illisible : {error.strerror}",
        ) from error


def _remembered(path: Path) -> dict[str, list[int | str]]:
    """A damaged memory is no error: it is forgotten, and the files are read."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(rows, dict):
        return {}
    return {str(file): row for file, row in rows.items() if isinstance(row, list) and len(row) == 5}


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's quoting is a subset of it."""
    return json.dumps(text)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o600 if path.suffix == ".json" else 0o644)
    partial.replace(path)
