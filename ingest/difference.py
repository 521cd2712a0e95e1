"""What has become of the articles of a document, and of several: the versions before against those after. Pure.

An article is what it says and where it stands. The same words under another number, path or document have moved; other
words or dates under the same number have changed. Each article before has at most one after it, and the other way
round.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from rag.catalog import ArticleRow


class Action(StrEnum):
    """What becomes of a document or an article."""

    ADDED = "added"
    CHANGED = "changed"
    MOVED = "moved"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an article stands: its reference, the headings above it, and the document where that is another one."""

    reference: str
    path: tuple[str, ...]
    document: str | None = None


@dataclass(frozen=True, slots=True)
class ArticleChange:
    """What has become of one article; ``before`` is where it stood, when that was elsewhere.

    ``place`` of a removed article is where it stood last.
    """

    action: Action
    place: Place
    before: Place | None = None

    def as_json(self) -> dict[str, object]:
        said: dict[str, object] = {"action": self.action.value} | _said(self.place)
        return said if self.before is None else said | {"before": _said(self.before)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What has become of the articles of one document; those that are as they were are only counted.

    ``came`` and ``went`` are the digests of its added and removed articles, in the order of ``changes``.
    """

    changes: tuple[ArticleChange, ...] = ()
    unchanged: int = 0
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[Action]:
        counted = Counter(change.action for change in self.changes)
        counted[Action.UNCHANGED] += self.unchanged
        return counted


def difference(before: Sequence[ArticleRow], after: Sequence[ArticleRow]) -> Difference:
    """What has become of the articles ``before``, in the order of those ``after``; what is gone comes last."""
    pairs = _Pairs(before, after)
    pairs.match(lambda row: row)
    # Words that stand once on either side are an article's own: they say which it was, whatever its number is now.
    pairs.match(lambda row: row.digest, once=True)
    pairs.match(lambda row: (row.reference, row.path, row.validity))
    pairs.match(lambda row: (row.reference, row.path))
    pairs.match(lambda row: (row.reference, row.digest))
    # A number alone says which article it is where no other part of the text counts from one again.
    pairs.match(lambda row: row.reference, once=True)
    pairs.match(lambda row: row.digest)
    changes: list[ArticleChange] = []
    unchanged = 0
    came, went = [], []
    for index, row in enumerate(after):
        was = pairs.of.get(index)
        if was is None:
            changes.append(ArticleChange(Action.ADDED, _place(row)))
            came.append(row.digest)
        elif was == row:
            unchanged += 1
        else:
            changes.append(_became(was, row))
    for row in pairs.left:
        changes.append(ArticleChange(Action.REMOVED, _place(row)))
        went.append(row.digest)
    return Difference(tuple(changes), unchanged, tuple(came), tuple(went))


def across(found: Mapping[str, Difference]) -> dict[str, Difference]:
    """The differences of documents by their ids, where words that have gone from one and come to another have moved."""
    sources: defaultdict[str, list[tuple[str, Place]]] = defaultdict(list)
    targets: Counter[str] = Counter()
    for document, one in found.items():
        targets.update(one.came)
        for change, digest in _with_digests(one, Action.REMOVED, one.went):
            sources[digest].append((document, change.place))
    moved = {
        digest: (document, place)
        for digest, [(document, place), *others] in sources.items()
        if not others and targets[digest] == 1
    }
    if not moved:
        return dict(found)
    return {document: _settled(one, moved) for document, one in found.items()}


def _settled(one: Difference, moved: Mapping[str, tuple[str, Place]]) -> Difference:
    """A document's difference where articles of others have come to it, and its own have gone to others."""
    came = {id(change): digest for change, digest in _with_digests(one, Action.ADDED, one.came) if digest in moved}
    gone = {id(change) for change, digest in _with_digests(one, Action.REMOVED, one.went) if digest in moved}
    if not came and not gone:
        return one
    changes: list[ArticleChange] = []
    for change in one.changes:
        if id(change) in gone:
            continue  # it is told where it has come to
        digest = came.get(id(change))
        if digest is not None:
            source, place = moved[digest]
            change = ArticleChange(Action.MOVED, change.place, replace(place, document=source))
        changes.append(change)
    return Difference(
        tuple(changes),
        one.unchanged,
        tuple(digest for digest in one.came if digest not in moved),
        tuple(digest for digest in one.went if digest not in moved),
    )


def _with_digests(one: Difference, action: Action, digests: Iterable[str]) -> Iterable[tuple[ArticleChange, str]]:
    return zip((change for change in one.changes if change.action is action), digests, strict=True)


@dataclass(slots=True)
class _Pairs:
    """Which row before each row after is, found a kind of likeness at a time; ``of`` goes by the index after."""

    before: Sequence[ArticleRow]
    after: Sequence[ArticleRow]
    of: dict[int, ArticleRow] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)

    def match(self, key: Callable[[ArticleRow], Hashable], *, once: bool = False) -> None:
        """Pair rows that are left and alike in ``key``, in their order; ``once``: where no other row is alike."""
        if len(self.taken) == len(self.before) or len(self.of) == len(self.after):
            return
        only = _once(map(key, self.before)) & _once(map(key, self.after)) if once else None
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index in reversed(range(len(self.before))):
            if index not in self.taken:
                waiting[key(self.before[index])].append(index)
        for index, row in enumerate(self.after):
            alike = waiting.get(key(row))
            if index not in self.of and alike and (only is None or key(row) in only):
                found = alike.pop()
                self.taken.add(found)
                self.of[index] = self.before[found]

    @property
    def left(self) -> list[ArticleRow]:
        return [row for index, row in enumerate(self.before) if index not in self.taken]


def _once(keys: Iterable[Hashable]) -> set[Hashable]:
    return {key for key, times in Counter(keys).items() if times == 1}


def _became(was: ArticleRow, row: ArticleRow) -> ArticleChange:
    """What a row has become that is not what it was."""
    place, before = _place(row), _place(was)
    same = (was.digest, was.validity) == (row.digest, row.validity)
    return ArticleChange(Action.MOVED if same else Action.CHANGED, place, None if before == place else before)


def _place(row: ArticleRow) -> Place:
    return Place(row.reference, row.path)


def _said(place: Place) -> dict[str, object]:
    said: dict[str, object] = {"reference": place.reference, "path": list(place.path)}
    return said if place.document is None else {"document": place.document} | said


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What becomes of one document, and what has become of its articles."""

    action: Action
    document: str
    path: str
    articles: Difference = Difference()

    def as_json(self) -> dict[str, object]:
        return {
            "action": self.action.value,
            "document": self.document,
            "path": self.path,
            "articles": [change.as_json() for change in self.articles.changes],
        }


def settled(changes: Iterable[DocumentChange]) -> tuple[DocumentChange, ...]:
    """The changes of one corpus, where articles that have gone from one document to another have moved."""
    listed = list(changes)
    found = across({change.document: change.articles for change in listed})
    return tuple(replace(change, articles=found[change.document]) for change in listed)


def counted(changes: Iterable[DocumentChange]) -> dict[str, int]:
    """How many articles each action was the fate of, over all the documents that were looked into."""
    counts = sum((change.articles.counts for change in changes), Counter[Action]())
    return {action.value: counts[action] for action in Action}
