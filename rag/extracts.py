"""The best verbatim sentences for a question: which to quote, in which order, in how many words. Pure.

Each sentence, item and row gets the probability that it holds the answer, from fitted trees over the words of the
question that it holds, where it stands, and what kind of thing it has. ``rag/data/extracts.json`` has the trees and
says on what they were fitted; ``eval/extraction.py`` fits them anew.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np

from rag.asking import Asked, Kind, asked
from rag.glossary import Glossary
from rag.quotable import SIGNS, Piece, held, language, of_text, pieces
from rag.sufficiency import SUFFICIENT as SUFFICIENT
from rag.sufficiency import names_article
from rag.sufficiency import sufficiency as sufficiency
from rag.trees import Numbers, Trees
from rag.types import Passage

Span = tuple[int, int, int]
"""A quote: the passage's number, and where it begins and ends in the chunk's text."""

AGAIN: Final = 0.3
"""How much less each further sentence of one article counts, so that several articles are quoted."""
CLOSE: Final = 0.05
"""Sentences that count less than this share of the best are not quoted, where no number of words is given. With these
two, wherever the search shows the expected article for a development question it is quoted, in 3.4 sentences."""

WORTH: Final = 4
"""Words that must be left for the beginning of one more sentence to be shown."""

FEATURES: Final = (
    "own", "own_rare", "nouns", "own_most", "missing", "headed", "before_more", "after_more", "passage", "pairs",
    "density", "rank", "score", "own_score", "place", "first", "last", "length", "pieces", "row", "item",
    "new_names", "new_figures", "focus", "count", "unmatched", "best_here", "below_here", "below_all", "rank_own",
    "words", "name", "matched", "lead", "kind", "window", "after", "before", "pointing", "pointed_at",
    "pointed_at_after", "idf_most", "rare_most", "rare_missing", *SIGNS, "fits",
)  # fmt: skip
"""What the trees weigh of a sentence, in order; :func:`candidates` computes them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be quoted, and whether it or its headings hold any word of the question."""

    passage: Passage
    piece: Piece
    place: int
    about: bool


def extracts(
    question: str,
    passages: Sequence[Passage],
    *,
    limit: int = 4,
    words: int | None = None,
    language: str = "fr",
    glossary: Glossary | None = None,
) -> list[Span]:
    """The best whole sentences, items and rows: the best passage first, each passage in reading order.

    At most ``limit`` of them, and at most ``words`` words where that is given: then what fits is quoted, the next
    sentence is begun in what is left, and a best sentence that is longer by itself is cut to the words around those of
    the question. Without ``words`` every quote is whole, and only what comes near the best is quoted, of several
    articles. An item brings its lead-in and a row its header, each as a span of its own. An article that the question
    names is quoted from its beginning.
    """
    if named := [passage for passage in passages if names_article(question, [passage])]:
        best = min(named, key=lambda passage: (-passage.score, passage.n))
        beginning = [Candidate(best, piece, 0, True) for piece in pieces(best) if words is None or piece.words <= words]
        return _spans(_within(beginning, limit, words), passages)
    read = asked(question, language, glossary)
    found, rows = candidates(read, passages)
    if not found:
        return []
    likely = model().probabilities(rows)
    order = sorted(range(len(found)), key=lambda one: (-likely[one], one))
    if words is not None:
        best_piece = found[order[0]]
        if best_piece.piece.words > words:
            return [_cut(read, best_piece, words)]
        ranked = [found[one] for one in order]
        chosen = _within(ranked, limit, words)
        begun = _begun(ranked, chosen, words) if len(chosen) < limit else None
        return _spans(chosen, passages, begun)
    return _spans(_varied(found, likely, order, limit), passages)


def _within(ranked: Sequence[Candidate], limit: int, words: int | None) -> list[Candidate]:
    """The first that fit into what is left of the words, lead-ins counted."""
    chosen: list[Candidate] = []
    shown: set[tuple[int, int, int]] = set()
    left = math.inf if words is None else words
    for candidate in ranked:
        if len(chosen) == limit:
            break
        parts = [(candidate.passage.n, *span) for span in _parts(candidate)]
        text = candidate.passage.chunk.text
        cost = sum(len(text[start:end].split()) for n, start, end in parts if (n, start, end) not in shown)
        if 0 < cost <= left:
            chosen.append(candidate)
            shown.update(parts)
            left -= cost
    return chosen


def _begun(ranked: Sequence[Candidate], chosen: Sequence[Candidate], words: int) -> Span | None:
    """The beginning of the next sentence, in the words that the chosen ones leave."""
    shown = {(one.passage.n, *span) for one in chosen for span in _parts(one)}
    texts = {one.passage.n: one.passage.chunk.text for one in chosen}
    left = words - sum(len(texts[n][start:end].split()) for n, start, end in shown)
    rest = (one for one in ranked if one not in chosen and one.piece.lead is None and one.piece.words > left)
    following = next(rest, None)
    if following is None or left < WORTH:
        return None
    piece = following.piece
    return following.passage.n, piece.start, _places(following)[left - 1][1]


def _varied(found: Sequence[Candidate], likely: Numbers, order: Sequence[int], limit: int) -> list[Candidate]:
    """The likeliest, a further one of the same article at a discount, none that says again what another says."""
    enough = CLOSE * likely[order[0]]
    chosen: list[Candidate] = []
    left = [one for one in order if likely[one] >= enough and found[one].about]
    while left and len(chosen) < limit:
        taken = Counter(_article(candidate.passage) for candidate in chosen)
        best = max(left, key=lambda one: (likely[one] * AGAIN ** taken[_article(found[one].passage)], -one))
        chosen.append(found[best])
        said = {_text(candidate) for candidate in chosen}
        left = [one for one in left if _text(found[one]) not in said]
    return chosen


def _text(candidate: Candidate) -> str:
    return candidate.passage.chunk.text[candidate.piece.start : candidate.piece.end]


def _article(passage: Passage) -> tuple[str, str]:
    return passage.chunk.document, passage.chunk.reference


def _spans(chosen: Sequence[Candidate], passages: Sequence[Passage], begun: Span | None = None) -> list[Span]:
    """The chosen pieces and the begun one as spans: the best passage first, each in reading order."""
    places = {p.n: place for place, p in enumerate(sorted(passages, key=lambda one: (-one.score, one.n)))}
    spans = {(candidate.passage.n, *span): None for candidate in chosen for span in _parts(candidate)}
    if begun is not None:
        spans[begun] = None
    return sorted(spans, key=lambda span: (places[span[0]], span[1]))


def _parts(candidate: Candidate) -> list[tuple[int, int]]:
    """The piece's span with the sign that closes it; before it the lead-in of an item or the header of a row."""
    text, piece = candidate.passage.chunk.text, candidate.piece
    end = piece.end
    while end < len(text) and text[end] in " ;" and text[end : end + 2].strip() == ";":
        end += 1
    if piece.lead is None:
        return [(piece.start, end)]
    return [piece.lead, (piece.start, end)]


def _cut(read: Asked, candidate: Candidate, words: int) -> Span:
    """The run of so many words of a long sentence that holds most of the question's."""
    text, places = candidate.passage.chunk.text, _places(candidate)
    speech = language(candidate.passage)
    wanted = read.content
    hits = [any(of_text(text[start:end], speech).worth(term) for term in wanted) for start, end in places]
    best = max(range(len(places) - words + 1), key=lambda first: (sum(hits[first : first + words]), -first))
    return candidate.passage.n, places[best][0], places[best + words - 1][1]


def _places(candidate: Candidate) -> list[tuple[int, int]]:
    """Where the words of a piece stand in its text."""
    piece = candidate.piece
    words = re.finditer(r"\S+", candidate.passage.chunk.text[piece.start : piece.end])
    return [(piece.start + word.start(), piece.start + word.end()) for word in words]


# --- what the trees weigh ---------------------------------------------------------------------------------------


def candidates(read: Asked, passages: Sequence[Passage]) -> tuple[list[Candidate], Numbers]:
    """Everything that may be quoted, and the :data:`FEATURES` of each as a row; passages by their rank."""
    terms = read.content or read.terms
    ordered = sorted(passages, key=lambda passage: (-passage.score, passage.n))
    units = [
        (place, passage, number, piece)
        for place, passage in enumerate(ordered)
        for number, piece in enumerate(pieces(passage))
    ]
    if not units or not terms:
        return [], np.zeros((0, len(FEATURES)))
    lengths = Counter(place for place, *_ in units)
    looked = [held(piece.stems) for *_, piece in units]
    own = np.array([[one.worth(term) for term in terms] for one in looked])
    headings = [[of_text(p.chunk.breadcrumb, language(p)).worth(term) for term in terms] for p in ordered]
    texts = [[of_text(p.chunk.text, language(p)).worth(term) for term in terms] for p in ordered]
    above = np.array([headings[place] for place, *_ in units])
    whole = np.maximum(above, [texts[place] for place, *_ in units])
    share = np.array([term.share for term in terms])
    idf = np.log((len(units) + 1) / ((own > 0).sum(axis=0) + 0.5)) * share
    rare = np.array([0.3 + term.rarity for term in terms]) * share
    nouns = np.array([float(term.noun) for term in terms])
    total = float(idf.sum()) or 1.0
    matched = own @ idf / total
    best_in = [max(matched[i] for i, unit in enumerate(units) if unit[0] == place) for place in range(len(ordered))
               if lengths[place]]  # fmt: skip
    best_at = dict(zip(sorted(lengths), best_in, strict=True))
    place_of = np.argsort(np.argsort(-matched, kind="stable"))
    asked_stems = {stem for term in read.terms for stem in term.stems}
    pairs = [(one.stems[0], other.stems[0]) for one, other in zip(read.terms, read.terms[1:], strict=False)]
    best_score = max((passage.score for passage in ordered), default=0.0) or 1.0
    nothing = np.zeros(len(terms))
    kind = list(Kind).index(read.kind) / len(Kind)
    rows = []
    for i, (place, passage, number, piece) in enumerate(units):
        here = own[i]
        before = own[i - 1] if number else nothing
        closing = number + 1 == lengths[place]
        after = nothing if closing else own[i + 1]
        follows = not closing and units[i + 1][3].pointing
        fits = piece.answers(read.kind)
        rows.append(
            (
                matched[i],
                here @ rare / (rare.sum() or 1.0),
                here @ nouns / (nouns.sum() or 1.0),
                here.max(),
                ((here == 0) & (above[i] == 0)) @ rare,
                np.maximum(above[i] - here, 0) @ idf / total,
                np.maximum(before - here, 0) @ idf / total,
                np.maximum(after - here, 0) @ idf / total,
                whole[i] @ idf / total,
                _pairs(piece, pairs),
                sum(stem in asked_stems for stem in piece.stems) / max(1, len(piece.stems)),
                1 / (1 + place),
                passage.score / best_score,
                passage.score,
                number / max(1, lengths[place] - 1),
                number == 0,
                closing,
                math.log1p(piece.words),
                min(lengths[place], 20) / 20,
                piece.row,
                piece.item,
                min(6, sum(not asked_stems.intersection(word) for word in piece.capitals)) / 6,
                min(6, sum(not asked_stems.intersection(word) for word in piece.figures)) / 6,
                bool(read.focus) and looked[i].stems.issuperset(read.focus),
                (here > 0).sum(),
                (here == 0).sum(),
                best_at[place],
                best_at[place] - matched[i],
                matched.max() - matched[i],
                min(place_of[i], 10) / 10,
                len(terms) / 12,
                any(term.name and worth == 1 for term, worth in zip(terms, here, strict=True)),
                here @ idf,
                piece.lead is not None,
                kind,
                _window(piece, asked_stems),
                after @ idf / total,
                before @ idf / total,
                piece.pointing,
                follows,
                (after @ idf / total) if follows else 0.0,
                (here * idf).max(),
                (here * rare).max(),
                ((here == 0) * rare).max(),
                *piece.signs,
                0.5 if fits is None else fits,
            )
        )
    found = [
        Candidate(passage, piece, place, bool(own[i].any() or above[i].any()))
        for i, (place, passage, _, piece) in enumerate(units)
    ]
    # Rounded, so that the last bits of a sum decide nothing: thresholds lie between what was seen.
    return found, np.array(rows, dtype=np.float64).round(6)


def _pairs(piece: Piece, wanted: Sequence[tuple[str, str]]) -> float:
    """The share of the question's neighbouring words that are neighbours here too, one word between them or none."""
    near = {*zip(piece.stems, piece.stems[1:], strict=False), *zip(piece.stems, piece.stems[2:], strict=False)}
    return sum(pair in near for pair in wanted) / max(1, len(wanted))


def _window(piece: Piece, wanted: set[str]) -> float:
    """How many of the question's words stand close together."""
    starts = range(0, max(1, len(piece.stems) - 5), 3)
    most = max(len(wanted.intersection(piece.stems[start : start + 12])) for start in starts)
    return most / max(1, min(len(wanted), 6))


@functools.cache
def model() -> Trees:
    """The fitted trees."""
    return Trees.read(json.loads((resources.files("rag") / "data" / "extracts.json").read_text(encoding="utf-8")))
