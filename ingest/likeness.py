"""Texts that say nearly the same: candidates by MinHash, then their real share of common shingles. Pure.

A shingle is five words in a row, without case, accents left as they are. The likeness of two texts is the share of
their shingles that both have (Broder 1997); candidates are found by equal bands of minima, so that the time grows
with the number of texts and not with that of their pairs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

ALIKE: Final = 0.9
"""Share of common shingles from which two texts count as nearly the same: one word in fifty may differ."""
FEWEST: Final = 20
"""Words below which a text is a formula (``Abrogé.``, ``Le présent décret sera publié…``) that many may share."""
SHINGLE: Final = 5
BANDS: Final = 10
ROWS: Final = 6
"""Minima per band: two texts of likeness 0.9 meet in one of ten bands of six with probability 0.9995."""
CROWD: Final = 40
"""Texts in one band up to which each is compared with each; in a larger family, with the first of it only."""
_WORD: Final = re.compile(r"\w+")
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts by their places, the first one earlier, and the share of shingles that they have in common."""

    first: int
    second: int
    share: float


class Likeness:
    """Takes texts one by one, of which it keeps a few hundred bytes each."""

    def __init__(self) -> None:
        random = np.random.default_rng(20_260_101)
        self._factors: _Hashes = random.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
        self._words: dict[str, int] = {}
        self._same: dict[bytes, int] = {}
        self._shingles: dict[int, _Hashes] = {}
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]
        self._pairs: list[Pair] = []
        self._count = 0

    def add(self, text: str) -> int:
        """The place of ``text``, counted from 0."""
        place = self._count
        self._count += 1
        words = _WORD.findall(text.casefold())
        if len(words) < FEWEST:
            return place
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
        first = self._same.setdefault(digest, place)
        if first != place:
            self._pairs.append(Pair(first, place, 1.0))
            return place
        known = self._words
        numbers = np.array([known.setdefault(word, len(known)) for word in words], dtype=np.uint64)
        shingles = self._hashed(numbers)
        self._shingles[place] = shingles
        minima = (shingles[None, :] * self._factors[:, None] >> np.uint64(32)).min(axis=1).reshape(BANDS, ROWS)
        for band, row in zip(self._bands, minima.astype(np.uint32), strict=True):
            band.setdefault(row.tobytes(), []).append(place)
        return place

    def pairs(self, least: float = ALIKE) -> list[Pair]:
        """The pairs of texts that are alike; equal words are a share of 1. Each text of a crowd, with its first."""
        found = list(self._pairs)
        asked: set[tuple[int, int]] = set()
        for band in self._bands:
            for places in band.values():
                for index, one in enumerate(places):
                    others = places[index + 1 :] if len(places) <= CROWD or not index else []
                    for other in others:
                        if (one, other) not in asked:
                            asked.add((one, other))
                            share = self._share(one, other, least)
                            if share >= least:
                                found.append(Pair(one, other, share))
        return sorted(found, key=lambda pair: (pair.first, pair.second))

    def _hashed(self, numbers: _Hashes) -> _Hashes:
        """The distinct shingles of a text, sorted."""
        mixed = (numbers + np.uint64(1)) * _MIX
        mixed ^= mixed >> np.uint64(29)
        rolled = mixed[: len(mixed) - SHINGLE + 1].copy()
        for offset in range(1, SHINGLE):
            rolled = rolled * np.uint64(0x100000001B3) + mixed[offset : len(mixed) - SHINGLE + 1 + offset]
        rolled ^= rolled >> np.uint64(31)
        distinct: _Hashes = np.unique(rolled * _MIX)
        return distinct

    def _share(self, one: int, other: int, least: float) -> float:
        left, right = self._shingles[one], self._shingles[other]
        if min(len(left), len(right)) < least * max(len(left), len(right)):
            return 0.0
        common = len(np.intersect1d(left, right, assume_unique=True))
        return common / (len(left) + len(right) - common)


def families(pairs: Iterable[Pair]) -> list[tuple[int, ...]]:
    """The places that pairs tie together, smallest first."""
    head: dict[int, int] = {}

    def find(place: int) -> int:
        while head.setdefault(place, place) != place:
            head[place] = place = head[head[place]]
        return place

    for pair in pairs:
        one, other = sorted((find(pair.first), find(pair.second)))
        head[other] = one
    members: dict[int, list[int]] = {}
    for place in sorted(head):
        members.setdefault(find(place), []).append(place)
    return [tuple(places) for places in members.values()]
