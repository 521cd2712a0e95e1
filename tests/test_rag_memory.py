"""Memory is planned before a model is loaded: what it takes, what there is, and a refusal that says what to lower."""

from __future__ import annotations

import json
import platform
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rag import memory
from rag.adapters.llama import BATCH, LlamaGenerator
from rag.errors import ModelError
from rag.memory import Limit, MemoryPlan, Shape
from tests import synthetic_gguf
from tests.contracts.test_generator import demo_gguf

GIB = 2**30


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_gguf.build(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def reckoned(free: int, copies: int = GIB) -> MemoryPlan:
    """A model of 4 GiB with 4 GiB of context, 1 GiB of work and as much of copies, where ``free`` bytes are left."""
    return MemoryPlan("m.gguf", 4 * GIB, 4 * GIB, GIB, copies, 32768, 131072, Limit(free, "machine"))


def test_the_shape_is_read_from_the_head(gguf: Path) -> None:
    """Two layers of four heads: 2 x 4 x (16 + 16) x 2 bytes a token."""
    shape = memory.read_shape(gguf)
    assert shape == Shape(gguf.stat().st_size, 64, 4, 128, 259, 16, 16, (4, 4))
    assert shape.per_token == 512


def test_the_plan_adds_up(gguf: Path) -> None:
    """Weights, context to the whole step, work and copies."""
    plan = memory.plan(gguf, context=1000, batch=64, copies=5, limit=Limit(GIB, "machine"))
    assert (plan.tokens, plan.context, plan.weights, plan.copies) == (1024, 1024 * 512, gguf.stat().st_size, 5)
    assert plan.needed == plan.weights + plan.context + plan.working + plan.copies
    assert plan.fits


def test_what_the_gpu_takes_is_not_counted(gguf: Path) -> None:
    """All layers, or half of them."""
    whole, half, none = (
        memory.plan(gguf, context=1024, batch=64, copies=0, gpu_layers=layers) for layers in (-1, 1, 0)
    )
    assert (whole.weights, whole.context) == (0, 0)
    assert half.context * 2 == none.context


@pytest.mark.parametrize(
    ("free", "copies", "advice"),
    [
        (int(9.5 * GIB), GIB, "VAUBAN_CACHE_MEGABYTES to 512 or less"),
        (7 * GIB, GIB, "VAUBAN_CONTEXT to 16384 or less"),
        (2 * GIB, GIB, "smaller model"),
    ],
)
def test_a_refusal_names_the_numbers_and_what_to_lower(free: int, copies: int, advice: str) -> None:
    """In both languages; what it advises fits."""
    plan = reckoned(free, copies)
    with pytest.raises(ModelError) as refused:
        plan.check()
    assert advice in refused.value.en
    for said in (refused.value.en, refused.value.fr):
        assert all(number in said for number in ("m.gguf", "10.0", "4.00", "32768", f"{free / GIB:.2f}"))
    assert advice.split()[0] in refused.value.fr or "plus petit" in refused.value.fr


def test_what_fits_is_not_refused() -> None:
    """To the last byte."""
    reckoned(10 * GIB).check()
    assert not reckoned(10 * GIB - 1).fits


def test_a_model_that_does_not_fit_is_never_loaded(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal comes before llama.cpp is asked for anything."""
    monkeypatch.setattr(memory, "available", lambda: Limit(2**20, "container"))
    monkeypatch.setattr("rag.adapters.llama._library", lambda: pytest.fail("it was loaded"))
    with pytest.raises(ModelError, match=r"the container has 0\.00 GiB left"):
        LlamaGenerator.open(gguf, fingerprint="x", context=1024)


def group(root: Path, files: dict[str, str]) -> Path:
    """A file system with these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/box/inner\n",
            "sys/fs/cgroup/box/memory.max": "1000000\n",
            "sys/fs/cgroup/box/memory.current": "700000\n",
            "sys/fs/cgroup/box/memory.stat": "anon 1\ninactive_file 100000\n",
            "sys/fs/cgroup/box/inner/memory.max": "max\n",
            "sys/fs/cgroup/box/inner/memory.current": "5\n",
        },
        {  # the path is the host's, and only the container's own folder is to be seen
            "proc/self/cgroup": "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100000\n",
        },
    ],
    ids=["v2", "v1"],
)
def test_a_containers_limit_counts(tmp_path: Path, files: dict[str, str]) -> None:
    """Of either version, of any level; what its files hold in the cache can be had back."""
    assert memory.available(group(tmp_path, files)) == Limit(400_000, "container")


@pytest.mark.parametrize("text", ["", "0::/\n"])
def test_without_a_container_the_machine_counts(tmp_path: Path, text: str) -> None:
    """What it has left, its caches included."""
    files = {"proc/self/cgroup": text, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n"}
    found = memory.available(group(tmp_path, files if text else {}))
    assert found.source == "machine"
    assert 0 < found.bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GGML" + bytes(40),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**50),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**60),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 3),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    ],
)
def test_a_strange_head_is_refused(tmp_path: Path, head: bytes) -> None:
    """Cut short, no GGUF, or with numbers that would make a reader run for ever."""
    (tmp_path / "odd.gguf").write_bytes(head)
    with pytest.raises(ModelError, match=r"odd\.gguf"):
        memory.read_shape(tmp_path / "odd.gguf")


MEASURE = """
import json, sys, numpy, llama_cpp
from pathlib import Path
from rag.adapters.llama import LlamaGenerator
from rag.types import Message, Sampling
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
before = peak()
generator = LlamaGenerator.open(Path(sys.argv[1]), fingerprint="x", context=int(sys.argv[2]), cache=2**24)
for owner in ("a", "b"):
    list(generator.stream([Message("user", "Bonjour. " * 40)], Sampling(max_tokens=3), owner=owner))
print(json.dumps([peak() - before, generator.plan.needed]))
generator.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_demo_model_takes_what_was_planned() -> None:
    """A process's largest size grows by no more than the plan, and by no less than half of it."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(demo_gguf()), "2048"], capture_output=True, text=True, check=True
    )
    grown, needed = json.loads(found.stdout)
    assert needed / 2 <= grown <= needed


def test_the_batch_of_the_plan_is_that_of_the_generator(gguf: Path) -> None:
    """The plan in the generator is the one that was made for it."""
    generator = LlamaGenerator.open(gguf, fingerprint="x", context=512, cache=7)
    generator.close()
    assert generator.plan is not None
    assert generator.plan.working == memory.PROCESS + memory.working(memory.read_shape(gguf), 512, BATCH)
    assert generator.plan.copies == 7


def test_threads_share_a_few_heaps() -> None:
    """However many allocate at once: each would keep for itself what it once needed."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has heaps to share")
    asked = """
import ctypes, sys, tempfile, threading
from rag.memory import share_heaps
assert sys.argv[1] == "apart" or share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.fopen.argtypes, libc.fclose.argtypes = [ctypes.c_char_p] * 2, [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
all_there = threading.Barrier(12)
def allocate():
    libc.malloc(1000)
    all_there.wait()
threads = [threading.Thread(target=allocate) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile() as file:
    told = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, told)
    libc.fclose(told)
    print(file.read().count(b"<heap nr="))
"""
    heaps = {
        how: int(subprocess.run([sys.executable, "-c", asked, how], capture_output=True, check=True).stdout)
        for how in ("apart", "shared")
    }
    assert heaps["shared"] <= 2 < heaps["apart"]
