"""What an answer through HTTP takes over the bare model on the same prompt, by hand; one line of JSON.

    OMP_NUM_THREADS=1 python -m tests.bench_overhead HOME MODEL.gguf --times 5

HOME is a home with the sample corpora published; it is copied. The model reads the prompt and writes 200 tokens in
both; as a model without knowledge writes nothing that could be shown, each of its tokens is exchanged for a piece of
the passages, so that sentences are verified, cited and sent as those of a good model would be. Each time another
person asks, so that only the system message is read before.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx

from rag.adapters.llama import LlamaGenerator
from rag.api import create_app
from rag.queue import QueueState, never, nobody
from rag.settings import Settings
from rag.types import Message, Sampling, Told
from rag.wiring import open_vauban
from tests.bench_service import show
from tests.rag_server import serving

QUESTION: Final = "Quelles sont les conditions du télétravail ?"
TOKENS: Final = 200


class Copying:
    """A generator that computes what the real one does, and says the passages of its prompt."""

    def __init__(self, real: LlamaGenerator) -> None:
        self._real = real
        self._asked = 0
        self.prompt: Sequence[Message] = ()
        self.written = 0
        self.seconds = 0.0
        """What the model itself took of the last answer."""
        self.fingerprint, self.context = real.fingerprint, real.context
        self.count_tokens, self.count_prompt, self.forget = real.count_tokens, real.count_prompt, real.forget

    @property
    def queue(self) -> QueueState:
        return self._real.queue

    def close(self) -> None:
        self._real.close()

    def stream(
        self,
        prompt: Sequence[Message],
        sampling: Sampling,
        *,
        cancelled: Callable[[], bool] = never,
        told: Callable[[Told], None] = nobody,
        owner: str = "",
    ) -> Iterator[str]:
        self.prompt, began = prompt, time.perf_counter()
        self._asked += 1
        pieces = iter(_pieces(prompt[-1].content))
        wanted = Sampling(max_tokens=TOKENS, seed=sampling.seed)
        self.written = 0
        with closing(self._real.stream(prompt, wanted, cancelled=cancelled, told=told, owner=f"{self._asked}")) as real:
            try:
                for _ in real:
                    self.written += 1
                    if piece := next(pieces, ""):
                        yield piece
            finally:
                self.seconds = time.perf_counter() - began


def _pieces(content: str) -> list[str]:
    """The sentences of the passages in a prompt, cited, in :data:`TOKENS` pieces."""
    passages = re.findall(r'<passage n="(\d+)"[^>]*>\n(.*?)\n</passage>', content, re.DOTALL)
    cited = [
        f"{sentence.strip().rstrip('.')} [{number}]. "
        for number, text in passages
        for sentence in re.split(r"(?<=\.)\s+", text)
        if re.fullmatch(r"(?:[^\s|]+ ){7,}[^\s|]+\.", sentence)  # whole ones, and no tables
    ]
    whole = "".join(dict.fromkeys(cited))[: 5 * TOKENS]
    size = -(-len(whole) // TOKENS) or 1
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:
        shutil.copytree(chosen.home, Path(folder) / "home")
        settings = Settings(home=Path(folder) / "home", generator="none", local_groups=frozenset({"agents"}))
        real = LlamaGenerator.open(chosen.model, fingerprint="measured", context=6144)
        with open_vauban(settings) as vauban:
            copying = Copying(real)
            vauban.generator, vauban.engine = copying, vauban.engine_with(copying, settings.policy)
            vauban.warm()
            rows: list[dict[str, float]] = []
            with serving(create_app(vauban)) as url:
                for number in range(chosen.times + 1):
                    began = time.perf_counter()
                    body = {
                        "model": "vauban", "stream": True, "max_tokens": TOKENS,
                        "messages": [{"role": "user", "content": QUESTION}],
                    }  # fmt: skip
                    with httpx.stream(
                        "POST", f"{url}/v1/chat/completions", json=body, timeout=600, trust_env=False
                    ) as to:
                        events = [json.loads(line[6:]) for line in to.iter_lines() if line.startswith("data: {")]
                    whole, inner = time.perf_counter() - began, copying.seconds
                    began = time.perf_counter()
                    written = Sampling(max_tokens=copying.written, seed=1)
                    count = sum(1 for _ in real.stream(copying.prompt, written, owner=f"bare {number}"))
                    bare = time.perf_counter() - began
                    told = events[-1]["vauban"]
                    row = {
                        "api": round(whole, 3), "bare": round(bare, 3), "model_in_api": round(inner, 3),
                        "ratio": round(whole / bare, 4), "outside_the_model": round((whole - inner) / whole, 4),
                        "written": count, "claims": len(told["claims"]),
                    }  # fmt: skip
                    show("answer", row | {"status": told["status"], "timings": told["timings"]})
                    if number:  # the first warms up
                        rows.append(row)
            middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
            show(f"median of {len(rows)}", middle)


if __name__ == "__main__":
    main()
