"""Whether a writing model fits: what it will take, read from its file's head, against what this machine has left.

The arithmetic is pure and errs on the large side; a test holds it against what a process really takes. What goes to a
GPU is not counted: llama.cpp itself refuses what does not fit there. :func:`share_heaps` keeps a server's memory flat.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from rag.errors import ModelError

PROCESS: Final = 64 * 2**20
"""Bytes for llama.cpp's own code, its vocabulary in memory, and what one answer needs beside."""
ROUND: Final = 256
"""Contexts are laid out in steps of so many tokens."""
_M_ARENA_MAX: Final = -8
"""``mallopt``'s number for how many heaps there may be (mallopt(3))."""
_HEAPS: Final = 2
_MAGIC: Final = b"GGUF"
_MOST_KEYS, _MOST_ITEMS, _MOST_BYTES = 10_000, 5_000_000, 2**20
"""A head with more is no model's: keys, items of a list, bytes of a name or of a text."""
_LONGEST_TEXT: Final = 2**26
_FORMATS: Final[Mapping[int, str]] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9


def share_heaps() -> bool:
    """Let the threads of this process share a few heaps; whether the C library does so. To be called before they begin.

    glibc gives threads up to eight heaps for each core, and what one heap has once needed the others cannot use: with
    forty threads memory creeps up for as long as their peaks fall together anew.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS))
    except (OSError, AttributeError, TypeError):  # another C library
        return False


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides its memory: its file's ``bytes``, and sizes as its head names them.

    ``kv_heads`` has one number for each layer, 0 where a layer keeps no state that grows with the context.
    """

    bytes: int
    width: int
    heads: int
    inner: int
    words: int
    key: int
    value: int
    kv_heads: tuple[int, ...]

    @property
    def per_token(self) -> int:
        """Bytes of state that one token of context takes: keys and values of two bytes."""
        return sum(self.kv_heads) * (self.key + self.value) * 2


@dataclass(frozen=True, slots=True)
class Limit:
    """Bytes that this process may still take, and whether the ``machine`` or its ``container`` sets the bound."""

    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a writing model will take, in bytes, and what there is.

    ``weights`` are the file's, ``context`` what it keeps of a prompt, ``working`` what a computation needs, ``copies``
    what is kept of earlier prompts. ``tokens`` and ``per_token`` make up the context.
    """

    model: str
    weights: int
    context: int
    working: int
    copies: int
    tokens: int
    per_token: int
    limit: Limit

    @property
    def needed(self) -> int:
        return self.weights + self.context + self.working + self.copies

    @property
    def fits(self) -> bool:
        return self.needed <= self.limit.bytes

    def said(self, language: str) -> str:
        """The plan in one line, in ``fr`` or ``en``."""
        needed, weights, context, copies, working, free = map(
            _gib, (self.needed, self.weights, self.context, self.copies, self.working, self.limit.bytes)
        )
        if language == "fr":
            bound = "du conteneur" if self.limit.source == "container" else "de la machine"
            return (
                f"{self.model} demande environ {needed} Gio (poids {weights}, contexte de {self.tokens} unités "
                f"{context}, copies des invites {copies}, calcul {working}) ; mémoire {bound} disponible : {free} Gio"
            )
        return (
            f"{self.model} needs about {needed} GiB (weights {weights}, context of {self.tokens} tokens {context}, "
            f"copies of prompts {copies}, computing {working}); the {self.limit.source} has {free} GiB left"
        )

    def check(self) -> None:
        """Refuse a model that does not fit, before it is loaded and the system ends some process or other.

        Raises:
            ModelError: it does not; the message has the numbers and what to lower.
        """
        if self.fits:
            return
        en, fr = [], []
        spare = self.limit.bytes - self.weights - self.working
        if self.copies and self.needed - self.copies <= self.limit.bytes:
            most = (self.limit.bytes - self.needed + self.copies) // 2**20
            en.append(f"set VAUBAN_CACHE_MEGABYTES to {most} or less")
            fr.append(f"réglez VAUBAN_CACHE_MEGABYTES à {most} ou moins")
        elif spare >= self.per_token * 2 * ROUND:
            most = spare // self.per_token // ROUND * ROUND
            en.append(f"set VAUBAN_CONTEXT to {most} or less and VAUBAN_CACHE_MEGABYTES to 0")
            fr.append(f"réglez VAUBAN_CONTEXT à {most} ou moins et VAUBAN_CACHE_MEGABYTES à 0")
        en.append("use a smaller model (`vauban models use`), or give more memory")
        fr.append("prenez un modèle plus petit (« vauban models use »), ou donnez plus de mémoire")
        raise ModelError(f"{self.said('en')}: {'; '.join(en)}", f"{self.said('fr')} : {' ; '.join(fr)}")


def plan(
    path: Path,
    *,
    context: int,
    batch: int,
    copies: int,
    gpu_layers: int = 0,
    limit: Limit | None = None,
) -> MemoryPlan:
    """What the model at ``path`` will take with a ``context`` of so many tokens, read ``batch`` at a time.

    ``copies`` are the bytes for copies of its state, ``gpu_layers`` as in the settings. Nothing is loaded.

    Raises:
        ModelError: the file cannot be read, or its head is not that of a language model.
    """
    shape = read_shape(path)
    layers = len(shape.kv_heads)
    here = 1.0 if not gpu_layers else max(0.0, 1 - (layers if gpu_layers < 0 else min(gpu_layers, layers)) / layers)
    tokens = -(-context // ROUND) * ROUND
    return MemoryPlan(
        model=path.name,
        weights=int(shape.bytes * here),
        context=int(tokens * shape.per_token * here),
        working=PROCESS + working(shape, tokens, batch),
        copies=copies,
        tokens=tokens,
        per_token=shape.per_token,
        limit=limit or available(),
    )


def working(shape: Shape, tokens: int, batch: int) -> int:
    """Bytes in which a batch is computed: the weights of all words for each of its tokens, what each head says of each
    token of the context, and some rows as wide as the model and its inner layer."""
    row = shape.words + 2 * shape.heads * tokens + 2 * tokens + 8 * shape.width + 3 * shape.inner
    return 4 * batch * row


def available(root: Path = Path("/")) -> Limit:
    """What this process may still take: what the machine has left, or a container's limit where that is less.

    What the container's files hold in the cache can be had back, and counts as free.
    """
    machine = int(psutil.virtual_memory().available)
    found = [limit - max(used, 0) for limit, used in _containers(root)]
    if found and min(found) < machine:
        return Limit(max(min(found), 0), "container")
    return Limit(machine, "machine")


def _containers(root: Path) -> list[tuple[int, int]]:
    """Limit and use, in bytes, of each control group that this process is in, of either version."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        return []
    found: list[tuple[int, int]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = base / path.strip("/")
        # Inside a container the path may be the host's, of which only the root is to be seen.
        for folder in {own, *(parent for parent in own.parents if parent.is_relative_to(base)), base}:
            limit, used = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and used is not None:
                found.append((limit, used - _of(folder / "memory.stat", names[2])))
    return found


def _number(file: Path) -> int | None:
    """A number that stands alone in a file; ``None`` where there is no limit, or no file."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max"
        return None


def _of(file: Path, name: str) -> int:
    """The number beside a name in a file of such lines; 0 where it has none."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)


def read_shape(path: Path) -> Shape:
    """The sizes that the head of a GGUF file names.

    Raises:
        ModelError: the file cannot be read, or it is not a language model's.
    """
    try:
        with path.open("rb") as file:
            values, lengths = _head(file)
        size = path.stat().st_size
        kind = str(values["general.architecture"])
        width, layers = _int(values, f"{kind}.embedding_length"), _int(values, f"{kind}.block_count")
        if width < 1 or not 1 <= layers <= _MOST_KEYS:
            raise ValueError("its width or its layers make no sense")
        heads = _int(values, f"{kind}.attention.head_count", 0)  # a model may have no attention
        head = width // heads if heads > 0 else 0
        said = values.get(f"{kind}.attention.head_count_kv", heads)
        kv_heads = said if isinstance(said, tuple) else (said,) * layers
        return Shape(
            bytes=size,
            width=width,
            heads=heads,
            inner=_int(values, f"{kind}.feed_forward_length", 4 * width),
            words=_int(values, f"{kind}.vocab_size", lengths.get("tokenizer.ggml.tokens", 0)),
            key=_int(values, f"{kind}.attention.key_length", head),
            value=_int(values, f"{kind}.attention.value_length", head),
            kv_heads=tuple(int(number) for number in kv_heads if not isinstance(number, str)),
        )
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ModelError(
            f"the model {path} cannot be used: its head cannot be read ({error})",
            f"le modèle {path} est inutilisable : son en-tête est illisible ({error})",
        ) from error


_Value = int | float | str | tuple[int | float, ...]


def _head(file: BinaryIO) -> tuple[dict[str, _Value], dict[str, int]]:
    """The values of a GGUF's head, but for long lists and lists of texts, of which only the lengths are taken."""
    if file.read(4) != _MAGIC:
        raise ValueError("not a GGUF file")
    _version, _tensors, keys = _take(file, "<I"), _take(file, "<Q"), int(_take(file, "<Q"))
    if keys > _MOST_KEYS:
        raise ValueError("too many keys")
    values: dict[str, _Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(keys):
        name = _text(file, _MOST_BYTES)
        kind = int(_take(file, "<I"))
        if kind == _STRING:
            values[name] = _text(file, _LONGEST_TEXT)
        elif kind == _ARRAY:
            inner, length = int(_take(file, "<I")), int(_take(file, "<Q"))
            if length > _MOST_ITEMS:
                raise ValueError("a list is too long")
            lengths[name] = length
            if inner == _STRING:
                for _ in range(length):
                    file.seek(int(_take(file, "<Q")), 1)
            elif inner not in _FORMATS:
                raise ValueError("a list of lists")
            elif length <= _MOST_KEYS:
                values[name] = tuple(_take(file, _FORMATS[inner]) for _ in range(length))
            else:
                file.seek(length * struct.calcsize(_FORMATS[inner]), 1)
        elif kind in _FORMATS:
            values[name] = _take(file, _FORMATS[kind])
        else:
            raise ValueError(f"unknown kind of value {kind}")
    return values, lengths


def _take(file: BinaryIO, form: str) -> int | float:
    [value] = struct.unpack(form, file.read(struct.calcsize(form)))
    assert isinstance(value, int | float)
    return value


def _text(file: BinaryIO, most: int) -> str:
    length = int(_take(file, "<Q"))
    if length > most:
        raise ValueError("a text is too long")
    return file.read(length).decode("utf-8", "replace")


def _int(values: Mapping[str, _Value], name: str, default: int | None = None) -> int:
    """A whole number of the head; the largest of a list, where a size differs from layer to layer."""
    value = values.get(name, default)
    if isinstance(value, tuple):
        value = max(value, default=None)
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is missing")
    return int(value)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}" if size < 10 * 2**30 else f"{size / 2**30:.1f}"
