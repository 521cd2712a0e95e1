"""One order for every store: best score first, equal scores by chunk id; pure.

Engines break ties as they please, and two of them differ in the last bits of a score. Scores closer than
:data:`TIE` are therefore one score here, and a list is only cut where the cut does not fall into a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rag.types import Chunk, Scored

TIE = 1e-6
"""Relative to the score, absolute below 1: a few float32 roundings, far below any difference that means something."""

SPARE = 8
"""Asked beyond the limit at first, so that a tie at the end of the list rarely needs a second request."""

GROWTH = 4
"""How much more is asked when a tie runs over the end of what came."""


def tied(high: float, low: float) -> bool:
    """Whether ``low`` counts as the same score as the higher ``high``."""
    return high - low <= TIE * max(1.0, abs(high))


def ranked(found: Iterable[tuple[float, Chunk]], limit: int) -> tuple[Scored, ...]:
    """The best ``limit`` of ``found``; those that tie get the best score among them and stand by chunk id."""
    groups: list[tuple[float, list[Chunk]]] = []
    for score, chunk in sorted(found, key=lambda pair: -pair[0]):
        if groups and tied(groups[-1][0], score):
            groups[-1][1].append(chunk)
        else:
            groups.append((score, [chunk]))
    ordered = (Scored(chunk, score) for score, chunks in groups for chunk in sorted(chunks, key=lambda chunk: chunk.id))
    return tuple(scored for scored, _ in zip(ordered, range(limit), strict=False))


def undecided(scores: Sequence[float], limit: int, asked: int) -> bool:
    """Whether an engine that was asked for ``asked`` and gave ``scores`` may hold back a tie for place ``limit``."""
    return len(scores) >= asked and tied(scores[limit - 1], scores[-1])


def gathered(
    ask: Callable[[Mapping[str, int]], Mapping[str, Sequence[tuple[float, str]]]], lists: Iterable[str], limit: int
) -> dict[str, Sequence[tuple[float, str]]]:
    """The (score, point) pairs of each of ``lists``, deep enough that :func:`ranked` can cut them at ``limit``.

    ``ask`` is called with how many pairs it should give of each list, best first; it gives fewer only when
    there are no more.
    """
    done: dict[str, Sequence[tuple[float, str]]] = {}
    wanted = dict.fromkeys(lists, limit + SPARE)
    while wanted:
        answers = ask(wanted)
        done |= answers
        wanted = {
            name: asked * GROWTH
            for name, asked in wanted.items()
            if undecided([score for score, _ in answers[name]], limit, asked)
        }
    return done
