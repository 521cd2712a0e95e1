"""From ranked hits to the few passages that an answer shows; pure.

Few and well-ranked passages matter more than the model, and a place among six that says what another says already is
a place lost. So near-duplicates are one passage, one document does not take all the places, and where the best hits
are but a part of a rule, the rest of it comes along.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag import closeness, lexical
from rag.types import Chunk, Found, Hit

SAME: Final = 0.8
"""The share of three-word shingles that two texts have in common from which they may be one text. Amended versions of
one article have .5 to .95: what tells those apart is that they differ in a word that says something."""
SHINGLE: Final = 3
"""Words of a shingle."""
FREE: Final = 3
"""Passages of one document that stand without a discount: an article, the one before it and the one after it."""
CROWDED: Final = 0.96
"""What each further passage of a document counts for, of what the one before counted for. A passage that is far ahead
of the other documents' keeps its place: of 210 development and practice questions 194 have their article among the six
best with and without this, in 3.2 documents instead of 3.0. With .93 one loses it."""
BROUGHT: Final = 2
"""Passages that may come along beside those that were searched."""
SOURCES: Final = 3
"""Best hits whose articles are completed: those that the model reads."""
RELATED: Final = 0.2
"""The least share of the question's runs of letters in an article that a hit names: others are named in passing."""
AFTER: Final = 0.5
"""A passage that came along scores half of what brought it, so it displaces none that was searched."""


# --- what is shown ---------------------------------------------------------------------------------------


def select(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """At most ``limit`` of ``hits``, best first: each text once, and no document far above its share."""
    return diverse(distinct(hits), limit)


def distinct(hits: Sequence[Hit]) -> list[Hit]:
    """``hits`` without those that only repeat a better one.

    Of two that are one text the better placed stays; where the other is of a higher norm it takes that place. An
    article that the question names is never left out.
    """
    kept: list[Hit] = []
    for hit in hits:
        same = next((place for place, better in enumerate(kept) if repeats(better.chunk, hit.chunk)), None)
        if same is None or hit.exact:
            kept.append(hit)
        elif _height(hit.chunk) > _height(kept[same].chunk) and not kept[same].exact:
            kept[same] = replace(hit, score=kept[same].score)
    return kept


def repeats(better: Chunk, other: Chunk) -> bool:
    """Whether ``other`` says nothing that ``better`` does not say: the same words that mean something, and values.

    Two texts that differ in a number, a negation, a subject or their days of validity are not one text but two rules,
    a conflict or two versions: a reader has to see both.
    """
    if better.validity != other.validity and better.validity.known and other.validity.known:
        return False
    if closeness.plain(other.text) in closeness.plain(better.text):
        return len(other.text) == len(better.text) or _height(other) <= _height(better)
    left, right = _shingles(better.text), _shingles(other.text)
    shared = len(left & right)
    if shared < SAME * (len(left) + len(right) - shared):
        return False
    return _said(better.text, better.language) == _said(other.text, other.language)


def diverse(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The best ``limit`` of ``hits``, each beyond the third of one document counting for less.

    Which are chosen changes, not their scores nor their order.
    """
    of_document: Counter[tuple[str, str]] = Counter()
    counted: list[tuple[bool, float, int]] = []
    for place, hit in enumerate(hits):
        key = (hit.chunk.corpus, hit.chunk.document)
        discount = CROWDED ** max(0, of_document[key] - FREE + 1)
        of_document[key] += 1
        counted.append((not hit.exact, -hit.score * discount, place))
    chosen = sorted(place for _, _, place in sorted(counted)[: max(0, limit)])
    return [hits[place] for place in chosen]


# --- what comes along ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be read to complete the best hits: reference keys inside their documents, and keys of any text."""

    documents: frozenset[tuple[str, str]]
    local: frozenset[str]
    anywhere: frozenset[str]


def needs(hits: Sequence[Hit]) -> Needs:
    """The keys of the articles that the best of ``hits`` are a part of, and of those that they name."""
    best = [hit.chunk for hit in hits[:SOURCES]]
    named = {key for chunk in best for key in chunk.mentions if _is_article(key)}
    return Needs(
        frozenset((chunk.corpus, chunk.document) for chunk in best if chunk.own_references or chunk.mentions),
        frozenset({key for chunk in best for key in chunk.own_references[:1]} | {key for key in named if _weak(key)}),
        frozenset(key for key in named if not _weak(key)),
    )


def completed(hits: Sequence[Hit], read: Sequence[Chunk], asked: closeness.Wording) -> list[Hit]:
    """``hits``, then at most :data:`BROUGHT` chunks of ``read`` that complete the best of them.

    First what goes on with a rule that was cut, then the articles that the hits name and that have to do with the
    question. :attr:`~rag.types.Hit.found` says which is which.
    """
    shown = list(hits)
    articles = {_article(hit.chunk) for hit in hits}
    texts = {hit.chunk.id for hit in hits}
    for source, chunk, how in (*_neighbours(hits[:SOURCES], read), *_named(hits[:SOURCES], read, asked)):
        if len(shown) == len(hits) + BROUGHT:
            break
        if chunk.id in texts or (how is Found.NAMED and _article(chunk) in articles):
            continue
        if any(repeats(hit.chunk, chunk) for hit in shown):
            continue
        texts.add(chunk.id)
        articles.add(_article(chunk))
        shown.append(Hit(chunk, AFTER * source.score, found=how))
    return shown


def goes_on(before: Chunk, after: Chunk) -> bool:
    """Whether ``after`` is the next part of the article that ``before`` is a part of, and its rule is not yet whole.

    A rule is whole where a sentence ends and the next part begins a new thought.
    """
    if _article(before) != _article(after) or after.ordinal != before.ordinal + 1:
        return False
    ends = before.text.rstrip().endswith((".", "!", "?", "»"))
    begins = after.text.lstrip()
    return not ends or bool(after.lead_in) or not begins[:1].isupper() or _continues(begins)


def _continues(text: str) -> bool:
    words = closeness.plain(text[:40]).split()
    return bool(words) and (words[0] in _LINKS or " ".join(words[:2]) in _LINKS)


_LINKS: Final = frozenset(
    {
        *("toutefois", "cependant", "neanmoins", "sauf", "il", "elle", "ils", "elles", "ce", "cet", "cette", "ces"),
        *("dans ce", "par derogation", "par exception", "en outre", "a defaut", "a titre", "en revanche", "en cas"),
        *("however", "except", "unless", "it", "they", "this", "these", "such", "in this", "by way", "in addition"),
    }
)
"""Words, folded, with which a paragraph goes on with the one before it."""


def _neighbours(sources: Sequence[Hit], read: Sequence[Chunk]) -> Iterator[tuple[Hit, Chunk, Found]]:
    for source in sources:
        for chunk in read:
            if goes_on(source.chunk, chunk) or goes_on(chunk, source.chunk):
                yield source, chunk, Found.NEIGHBOUR


def _named(
    sources: Sequence[Hit], read: Sequence[Chunk], asked: closeness.Wording
) -> Iterator[tuple[Hit, Chunk, Found]]:
    for source in sources:
        near: list[tuple[float, int, Chunk]] = []
        for key in source.chunk.mentions:
            if not _is_article(key):
                continue
            parts = [
                (closeness.closeness(asked, chunk).runs, -place, chunk)
                for place, chunk in enumerate(read)
                if key in chunk.own_references and (not _weak(key) or _document(chunk) == _document(source.chunk))
            ]
            near += sorted(parts, key=lambda part: part[:2])[-1:]
        for runs, _, chunk in sorted(near, key=lambda part: part[:2], reverse=True):
            if runs >= RELATED:
                yield source, chunk, Found.NAMED


def _is_article(key: str) -> bool:
    """Whether a key means an article and not a whole text, which would say nothing of why it is named."""
    return "#" in key or _weak(key) or (key[:1] in "lrda" and ":" not in key)


def _weak(key: str) -> bool:
    """Whether a key means an article of the text that it stands in."""
    return key.startswith(("article:", "section:", "annexe:")) and "#" not in key


def _document(chunk: Chunk) -> tuple[str, str]:
    return chunk.corpus, chunk.document


def _article(chunk: Chunk) -> tuple[object, ...]:
    """What two parts of one article have in common; a chunk without a reference is by itself."""
    return chunk.corpus, chunk.document, chunk.reference or chunk.id, chunk.own_references[:1], chunk.validity


def _height(chunk: Chunk) -> int:
    return chunk.norm_rank.height if chunk.norm_rank else 0


# --- one text or two -------------------------------------------------------------------------------------

_TURNS: Final = frozenset("ne n pas sans aucun aucune jamais ni sauf non not no never without must may".split())
"""Words, folded, that turn a rule around though the analysis may leave them out."""


@functools.lru_cache(maxsize=2048)
def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = closeness.plain(text).split()
    return frozenset(tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))


@functools.lru_cache(maxsize=2048)
def _said(text: str, language: str) -> Mapping[str, int]:
    """The terms of a text, and the words that turn a rule around, counted."""
    turns = (word for word in closeness.plain(text).split() if word in _TURNS)
    return Counter([*lexical.terms(text, language), *(f"({word})" for word in turns)])
