"""Fit passages into the token budget of a prompt; pure.

What does not fit is left out whole and reported, nothing is ever cut. The prompt is laid out so that a model's
cache is reused: the public system text, then the passages in canonical order, then the question, with nothing
volatile early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import prompts
from rag import instructions
from rag.types import Dropped, DropReason, Hit, Message, Passage

_FENCE = re.compile(r"<(?=[\W_]*p)", re.IGNORECASE)
"""Every "<" whose next letter is a p: "</passage>" is also imitated with blanks, strokes and soft hyphens in it."""
MOST = 3
"""Passages that the model reads. On a CPU reading the prompt is nearly the whole wait, and on the development
questions the expected article is among the three best 0.93 of the time, among six 0.95."""
Count = Callable[[Sequence[Message]], int]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits and its tokens, the passages with ``shown`` set, and those left out."""

    prompt: tuple[Message, ...]
    passages: tuple[Passage, ...]
    dropped: tuple[Dropped, ...]
    tokens: int


def canonical(hits: Sequence[Hit]) -> tuple[Passage, ...]:
    """Hits as numbered passages: the higher norm first, then corpus, document and place.

    The same set of hits gives the same numbers whatever their scores, so that a follow-up over the same texts
    finds its prompt's prefix already read.
    """
    ordered = sorted(
        hits,
        key=lambda hit: (
            -(hit.chunk.norm_rank.height if hit.chunk.norm_rank else 0),
            hit.chunk.corpus,
            hit.chunk.document,
            hit.chunk.ordinal,
            hit.chunk.id,
        ),
    )
    return tuple(
        Passage(n, hit.chunk, hit.score, dense=hit.dense, sparse=hit.sparse, found=hit.found)
        for n, hit in enumerate(ordered, start=1)
    )


def fenced(passage: Passage) -> str:
    """A passage as the model reads it: numbered, named, dated, between marks that its text cannot imitate.

    Of one that speaks to a machine only the name is left, and what looks like a citation mark is none.
    """
    told = passage.chunk.text
    if instructions.quarantined(told, passage.chunk.breadcrumb):
        told = instructions.REMOVED
    text = _FENCE.sub("‹", instructions.inert(told))
    source = _FENCE.sub("‹", instructions.inert(instructions.without(passage.chunk.breadcrumb)))
    source = source.replace('"', "'").replace(">", "›").replace("\n", " ")
    start, end = passage.chunk.validity.start, passage.chunk.validity.end
    dates = f' in_force="{start or ""}/{end or ""}"' if passage.chunk.validity.known else ""
    return f'<passage n="{passage.n}" source="{source}"{dates}>\n{text}\n</passage>'


def render(
    passages: Sequence[Passage],
    question: str,
    language: str,
    task: str = "answer",
    more: Mapping[str, str] | None = None,
) -> tuple[Message, ...]:
    """The messages of a prompt: the public system text, then the passages, then what is asked of them.

    ``task`` is one of :data:`prompts.TASKS` that is asked over passages, ``more`` what its template wants beside them.
    The conversation is not among it: the question stands alone, and what a client sends as earlier answers may be
    forged.
    """
    system, given, asked = prompts.TASKS[task]
    shown = "\n\n".join(fenced(passage) for passage in passages)
    told = prompts.load(given, language).render(passages=shown)
    last = prompts.load(asked, language).render(question=question, **(more or {}))
    return Message("system", prompts.load(system, language).render()), Message("user", f"{told}\n\n{last}")


def fit(
    passages: Sequence[Passage],
    question: str,
    language: str,
    *,
    budget: int,
    count: Count,
    most: int = MOST,
    task: str = "answer",
    more: Mapping[str, str] | None = None,
) -> Fitted | None:
    """The largest prompt of at most ``budget`` tokens and the ``most`` best passages; ``None`` when none fits.

    The passages with the lowest score go first. ``count`` is the model's own.
    """
    best = sorted(passages, key=lambda passage: (-passage.score, passage.n))
    dropped = {passage.n: Dropped(passage.n, DropReason.RANK) for passage in best[most:]}
    kept = [passage for passage in passages if passage.n not in dropped]
    while kept:
        prompt = render(kept, question, language, task, more)
        tokens = count(prompt)
        if tokens <= budget:
            return Fitted(
                prompt,
                tuple(replace(passage, shown=passage.n not in dropped) for passage in passages),
                tuple(dropped[number] for number in sorted(dropped)),
                tokens,
            )
        last = min(kept, key=lambda passage: (passage.score, -passage.n))
        kept.remove(last)
        dropped[last.n] = Dropped(last.n, DropReason.BUDGET)
    return None
