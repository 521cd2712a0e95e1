"""Is this machine fit: processor, memory, disk, models and their hashes, store, network switches."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rag import memory, models, offline
from rag.adapters.llama import BATCH
from rag.adapters.llama_server import LlamaServer
from rag.errors import VaubanError
from rag.home import Home
from rag.models import Kind
from rag.settings import Settings

ROOM = 2 * 2**30
"""Bytes of disk below which an ingestion is likely to stop halfway."""
WANTED = ("avx2", "asimd")
"""Instruction sets of which one makes llama.cpp and torch usable; x86 and Arm."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing examined: whether it is fit, and what was found."""

    name: str
    ok: bool
    found: str

    def as_json(self) -> dict[str, str | bool]:
        return asdict(self)


def examine(settings: Settings) -> list[Check]:
    """Every check, in a fixed order; nothing is changed and nothing is loaded."""
    return [
        Check("python", sys.version_info >= (3, 11), platform.python_version()),
        _processor(),
        _memory(settings),
        *_plan(settings),
        _disk(settings.root),
        *(_model(settings, kind, name) for kind, name in _chosen(settings)),
        *(_llama_server(settings, url) for url in settings.llama_url),
        _home(settings),
        _switches(),
    ]


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Check:
    cores = len(os.sched_getaffinity(0))
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split()) if cpuinfo.is_file() else set()
    known = [name for name in (*WANTED, "avx512f", "avx512_vnni", "amx_int8") if name in flags]
    return Check("processor", not flags or any(name in flags for name in WANTED), f"{cores} cores, {' '.join(known)}")


def _memory(settings: Settings) -> Check:
    total = psutil.virtual_memory().total
    needed = 2**30
    for _, name in _chosen(settings):
        try:
            needed += models.Manifest.load(settings.models_dir).entry(name).memory * 2**20
        except VaubanError:
            continue
    return Check("memory", total >= needed, f"{total / 2**30:.1f} GiB, {needed / 2**30:.1f} GiB needed")


def _plan(settings: Settings) -> list[Check]:
    """Whether the writing model fits beside what runs now; nothing where there is no file of one to load."""
    chosen = [name for kind, name in _chosen(settings) if kind is Kind.GENERATOR]
    if not chosen:
        return []
    try:
        found = models.install(chosen[0], Kind.GENERATOR, models_dir=settings.models_dir, home=settings.root)
        plan = memory.plan(
            found.path,
            context=settings.context or found.entry.context,
            batch=BATCH,
            copies=settings.cache_megabytes * 2**20,
            gpu_layers=settings.gpu_layers,
        )
    except VaubanError:  # a missing or corrupt model has a row of its own
        return []
    return [Check("generator memory", plan.fits, plan.said(settings.language))]


def _disk(root: Path) -> Check:
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    return Check("disk", free >= ROOM, f"{free / 2**30:.1f} GiB free for {root}")


def _chosen(settings: Settings) -> list[tuple[Kind, str]]:
    """The models of the manifest that these settings load."""
    named = [(Kind.EMBEDDER, settings.embedder), (Kind.RERANKER, settings.reranker)]
    if not settings.llama_url:
        named.append((Kind.GENERATOR, settings.generator))
    return [(kind, name) for kind, name in named if name not in {"fake", "none"}]


def _model(settings: Settings, kind: Kind, name: str) -> Check:
    try:
        found = models.install(name, kind, models_dir=settings.models_dir, home=settings.root)
    except VaubanError as error:
        return Check(kind.value, False, error.said(settings.language))
    return Check(kind.value, True, f"{name}, {found.fingerprint}, {found.path}")


def _llama_server(settings: Settings, url: str) -> Check:
    """Whether a server answers, and with what; the proof that it is safe waits for the start, as it takes a slot."""
    try:
        with closing(LlamaServer(url, api_key=settings.llama_api_key)) as server:
            facts = server.facts()
    except VaubanError as error:
        return Check("llama-server", False, f"{url}: {error.said(settings.language)}")
    found = f"{url}, {facts.fingerprint}, {facts.slots} slots of {facts.context} tokens"
    return Check("llama-server", True, found)


def _home(settings: Settings) -> Check:
    try:
        server = Home.open(settings.root).server()
    except VaubanError as error:
        return Check("home", False, error.said(settings.language))
    return Check("home", True, f"{settings.root}, served at {server.url}" if server else f"{settings.root}, not served")


def _switches() -> Check:
    wrong = [name for name, value in offline.SWITCHES.items() if os.environ.get(name) != value]
    return Check("network", not wrong, f"open: {', '.join(wrong)}" if wrong else "every library is offline")
