"""LEGI XML, the layout of the open-data dumps of French law: one folder is one text, with all versions of its articles.

Each version of an article is a heading of its own with the days on which it is in force; the divisions stand in the
order of the text's structure. Where a division was renamed or moved, a version stands in each place that it had, for
the days on which it was there: so exactly one copy is in force on any day. What is missing, broken or contradictory
costs a warning and never the text.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lxml import etree

from ingest.parsers import Limits
from ingest.parsers.html import fragment
from ingest.sniff import File, Kind
from rag import references, textfolders
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, LegalStatus, NormRank, Parsed, Stated, Validity

_STATUS: Final = {
    "VIGUEUR": LegalStatus.IN_FORCE,
    "VIGUEUR_DIFF": LegalStatus.DEFERRED,
    "VIGUEUR_ETEN": LegalStatus.IN_FORCE,
    "VIGUEUR_NON_ETEN": LegalStatus.IN_FORCE,
    "ABROGE": LegalStatus.REPEALED,
    "ABROGE_DIFF": LegalStatus.IN_FORCE,  # repealed from a later day on, which its end says
    "MODIFIE": LegalStatus.AMENDED,
    "MODIFIE_MORT_NE": LegalStatus.AMENDED,  # replaced before it ever came into force
    "REMPLACE": LegalStatus.AMENDED,
    "SUBSTITUE": LegalStatus.AMENDED,
    "PERIME": LegalStatus.EXPIRED,
    "ANNULE": LegalStatus.ANNULLED,
    "DISJOINT": LegalStatus.ANNULLED,  # struck from its text before it was enacted
    "DENONCE": LegalStatus.REPEALED,
    "TRANSFERE": LegalStatus.TRANSFERRED,
    "DEPLACE": LegalStatus.TRANSFERRED,
}
"""The states of LEGI; any other one is unknown."""
_RANKS: Final = {
    "CODE": NormRank.CODE,
    "CONSTITUTION": NormRank.CODE,
    "LOI": NormRank.CODE,
    "ORDONNANCE": NormRank.CODE,
    "DECRET": NormRank.DECREE,
    "ARRETE": NormRank.ORDER,
    "ARRETEEURO": NormRank.ORDER,
    "DECISION": NormRank.ORDER,
    "DELIBERATION": NormRank.ORDER,
    "CIRCULAIRE": NormRank.CIRCULAR,
    "INSTRUCTION": NormRank.CIRCULAR,
}
"""The rank of a text by the first word of its nature (``LOI_ORGANIQUE``, ``DECRET_LOI``); laws stand with the codes."""
_NATURES: Final = {
    "LOI": "loi",
    "LOI_ORGANIQUE": "loi",
    "ORDONNANCE": "ordonnance",
    "DECRET": "décret",
    "ARRETE": "arrêté",
    "CIRCULAIRE": "circulaire",
    "DECISION": "décision",
    "DELIBERATION": "délibération",
}
_MONTHS: Final = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip
_OPEN_YEAR: Final = 2999
"""LEGI writes 2999-01-01 where there is no date."""
_SOME_DAY: Final = dt.date(2222, 2, 22)
"""What LEGI writes for a day that is not fixed yet."""
_MOST_FILE: Final = 32 * 1024 * 1024
"""Bytes of one XML file of a text; the largest articles of tax law have one or two million."""
_DEEPEST: Final = 40
"""Divisions inside each other; codes stop at ten."""
_MOST_LINES: Final = 500_000
"""Lines of a structure, with those that stand in several places; beyond it the structure is a trap."""
_MOST_LINKS: Final = 60
"""Links of one article: a few have thousands, which say nothing any more."""
_LONGEST_NUMBER: Final = 200
"""Characters of an article's number; « Annexe à l'article R. 123-1 (suite) » is long already."""
_LONGEST_LABEL: Final = 500
"""Characters of a link's text that are looked at."""
_SHOWN: Final = 3
"""File names that a warning gives as examples."""
_ARTICLES: Final = re.compile(r"annexes?\b|tableaux?\b|préambule\b|préliminaire\b", re.IGNORECASE)
_ID: Final = re.compile(r"(?:LEGI|JORF)(?P<kind>ARTI|SCTA|TEXT)\d{12}")
_ENDS: Final = re.compile(r"(?P<title>.+?)\s+-\s+(?:art|section|chapitre|annexe)\b.*", re.IGNORECASE | re.DOTALL)
_WEAK: Final = ("article:", "section:", "annexe:")

Readers = Mapping[str, Callable[[], bytes]]
"""The files of a text by their names in its folder, each with what reads it."""


class LegiParser:
    """One file of a dump that stands alone: an article, a division, a text's own page."""

    def accepts(self, file: File) -> bool:
        return file.kind is Kind.LEGI

    def parse(self, file: File, limits: Limits) -> Parsed:
        parsed = parse_text({_place(file.path.name): file.read}, limits)
        if parsed.warnings and not parsed.blocks:
            raise DocumentError(
                RejectReason.CORRUPT, "the XML cannot be read as LEGI", "le XML n'est pas du LEGI lisible"
            )
        return replace(parsed, media_type=Kind.LEGI.value)


def parse_folder(folder: Path, limits: Limits) -> Parsed:
    """The text whose files are in ``folder``.

    Raises:
        DocumentError: it cannot be listed, or is too large.
    """

    def reader(file: Path) -> Callable[[], bytes]:
        return lambda: _bytes(file)

    return parse_text({name: reader(file) for name, file in textfolders.files(folder).found}, limits)


def parse_text(files: Readers, limits: Limits) -> Parsed:
    """The text whose files these are.

    Raises:
        DocumentError: it is too large.
    """
    text = _Text()
    size = 0
    for name, read in sorted(files.items()):
        try:
            data = read()
        except DocumentError:
            text.notes["cannot be read"].append(name)
            continue
        size += len(data)
        if size > limits.expanded * 1_000_000:
            raise DocumentError(
                RejectReason.TOO_LARGE,
                f"the files of the text hold more than {limits.expanded} MB (setting `file_expanded`)",
                f"les fichiers du texte dépassent {limits.expanded} Mo (réglage « file_expanded »)",
            )
        root = _root(data)
        if root is None:
            text.notes["broken XML"].append(name)
        else:
            text.take(root, name)
    return text.parsed()


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DocumentError(RejectReason.UNREADABLE, "cannot be read", "lecture impossible") from error


def _place(name: str) -> str:
    """Where in a text's folder a file of this name would stand; its root element decides what it is anyway."""
    return f"article/{name}"


def _root(data: bytes) -> etree._Element | None:
    """The root of a file; ``None`` for what is no XML, too large, or declares a type or entities."""
    if len(data) > _MOST_FILE or b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        return None
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


# --- what the files say ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Article:
    """One version of an article. ``siblings`` are the ids of all its versions; ``trail`` its divisions, as it says."""

    id: str
    number: str
    validity: Validity
    status: LegalStatus | None
    blocks: tuple[Block, ...]
    links: tuple[str, ...]
    siblings: frozenset[str]
    trail: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Link:
    """A line of a structure: an article or a division, and the days on which it stands there."""

    id: str
    title: str
    validity: Validity
    status: LegalStatus | None
    division: bool


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of the text as a whole."""

    title: str
    nature: str
    validity: Validity
    status: LegalStatus | None
    blocks: tuple[Block, ...]


@dataclass(slots=True)
class _Node:
    """A division where it stands: its articles and divisions in their order. ``windows`` are the days it has there."""

    title: str
    windows: list[Validity] = field(default_factory=list)
    status: LegalStatus | None = None
    articles: list[tuple[str, Validity]] = field(default_factory=list)
    divisions: dict[str, _Node] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    def below(self, title: str) -> _Node:
        """The division with this title, made where there is none yet: versions of one division share its place."""
        return self.divisions.setdefault(" ".join(title.split()).casefold(), _Node(" ".join(title.split())))

    @property
    def validity(self) -> Validity | None:
        if not self.windows or not all(window.known for window in self.windows):
            return None
        return _hull(self.windows)


class _Text:
    """What has been read of a text until now."""

    def __init__(self) -> None:
        self._articles: dict[str, _Article] = {}
        self._sections: dict[str, tuple[str, list[_Link], tuple[tuple[str, str], ...]]] = {}
        self._versions: list[_Version] = []
        self._roots: list[list[_Link]] = []
        self.notes: defaultdict[str, list[str]] = defaultdict(list)
        self._lines = 0
        self._owner = ("", "")

    def take(self, root: etree._Element, name: str) -> None:
        """Note what one file says."""
        if root.tag == "ARTICLE":
            self._article(root, name)
        elif root.tag == "SECTION_TA":
            identifier = _said(root, "ID") or _stem(name)
            links = [link for link in map(_link, _children(root.find("STRUCTURE_TA"))) if link is not None]
            self._belongs(root)
            self._sections[identifier] = _said(root, "TITRE_TA"), links, _trail(root)
        elif root.tag == "TEXTELR":
            struct = _children(root.find("STRUCT"))
            self._roots.append([link for link in map(_link, struct) if link is not None])
        elif root.tag == "TEXTE_VERSION":
            self._versions.append(_version(root))
        else:
            self.notes["not a file of LEGI"].append(name)

    def _article(self, root: etree._Element, name: str) -> None:
        meta = root.find("META/META_SPEC/META_ARTICLE")
        identifier = _said(root, "META/META_COMMUN/ID") or _stem(name)
        state = _said(meta, "ETAT")
        validity, sound = _validity(_said(meta, "DATE_DEBUT"), _said(meta, "DATE_FIN"), state)
        if not sound:
            self.notes["dates out of order"].append(name)
        number = _said(meta, "NUM")[:_LONGEST_NUMBER].rstrip()
        if not number:
            self.notes["article without a number"].append(name)
        if identifier in self._articles:
            self.notes["second file of one article"].append(name)
            return
        status = _STATUS.get(state)
        if state and status is None:
            self.notes["unknown state"].append(name)
        # Every block has the days, not the heading alone: an annex may hold headings of its own.
        blocks = [
            replace(block, validity=validity, legal_status=status)
            for block in (*_content(root.find("BLOC_TEXTUEL/CONTENU")), *_notes(root.find("NOTA/CONTENU")))
        ]
        if not blocks:
            self.notes["article without a text"].append(name)
        self._belongs(root)
        versions = (link.get("id", "") for link in root.iterfind("VERSIONS/VERSION/LIEN_ART"))
        self._articles[identifier] = _Article(
            identifier,
            number,
            validity,
            status,
            tuple(blocks),
            _links(root.iterfind("LIENS/LIEN")),
            frozenset(filter(None, versions)) | {identifier},
            _trail(root),
        )

    def _belongs(self, root: etree._Element) -> None:
        """Note which text an article or division says that it is of."""
        text = root.find("CONTEXTE/TEXTE")
        if text is not None and not self._owner[0]:
            titles = [" ".join("".join(title.itertext()).split()) for title in text.iterfind("TITRE_TXT")]
            self._owner = titles[-1] if titles else "", text.get("nature", "")

    # --- the whole

    def parsed(self) -> Parsed:
        """All of it as one document."""
        head = max(self._versions, key=_newest, default=None)
        blocks: list[Block] = []
        if head is not None and head.title:
            blocks.append(Block(BlockKind.HEADING, head.title, 1))
        blocks += [] if head is None else head.blocks
        if self._articles:
            tree = self._tree()
            self._place_rest(tree)
            blocks += self._written(tree, 2)
        else:
            blocks += self._bare()
        lone = next(iter(self._articles.values())) if head is None and len(self._articles) == 1 else None
        if head is not None:
            validity = _hull([version.validity for version in self._versions])
        else:
            validity = Validity() if lone is None else lone.validity
        stated = head or lone
        return Parsed(
            tuple(blocks),
            textfolders.MEDIA_TYPE,
            title=(head.title if head is not None else "") or self._owner[0] or None,
            warnings=tuple(_warning(what, names) for what, names in sorted(self.notes.items())),
            stated=Stated(
                language="fr",
                norm_rank=_rank(head.nature if head is not None else self._owner[1]),
                validity=validity,
                legal_status=None if stated is None else stated.status,
            ),
        )

    def _bare(self) -> Iterator[Block]:
        """The divisions of a text without articles, with what each says that it holds."""
        for title, links, _ in self._sections.values():
            yield Block(BlockKind.HEADING, title, 2)
            for link in links:
                held = link.title if link.division else _label(link.title)
                yield Block(BlockKind.ITEM, f"- {held}", validity=link.validity, legal_status=link.status)

    def _tree(self) -> _Node:
        """The divisions and where each version of an article stands in them."""
        root = _Node("")
        for links in self._roots:
            self._fill(root, links, Validity(), frozenset())
        if not self._roots:
            inner = {link.id for _, links, _ in self._sections.values() for link in links if link.division}
            for identifier, (title, _, trail) in sorted(self._sections.items()):
                if identifier in inner:
                    continue
                place = root
                for _, above in trail:
                    place = place.below(above)
                link = _Link(identifier, title, Validity(), None, division=True)
                self._fill(place, [link], Validity(), frozenset())
        return root

    def _fill(self, node: _Node, links: Sequence[_Link], window: Validity, above: frozenset[str]) -> None:
        for link in links:
            self._lines += 1
            if self._lines > _MOST_LINES:
                self.notes["structure without end"].append(link.id)
                return
            if not link.division:
                if link.id in self._articles:
                    node.articles.append((link.id, window))
                else:
                    self.notes["article named in the structure, without a file"].append(link.id)
                continue
            if link.id in above or len(above) >= _DEEPEST:
                self.notes["structure that contains itself"].append(link.id)
                continue
            title, inside, _ = self._sections.get(link.id, ("", [], ()))
            if link.id not in self._sections:
                self.notes["division without a file"].append(link.id)
            below = node.below(link.title or title)
            below.ids.add(link.id)
            below.windows.append(link.validity)
            below.status = link.status
            self._fill(below, inside, _both(window, link.validity), above | {link.id})

    def _place_rest(self, root: _Node) -> None:
        """Put the articles that no structure names where they say that they stand."""
        placed = {identifier for node in _nodes(root) for identifier, _ in node.articles}
        rest = [article for identifier, article in sorted(self._articles.items()) if identifier not in placed]
        if not rest:
            return
        if self._roots:
            self.notes["article in no structure"] += [article.id for article in rest]
        by_id = {identifier: node for node in _nodes(root) for identifier in node.ids}
        for article in rest:
            node = root
            for identifier, title in article.trail:
                node = by_id.get(identifier) or node.below(title)
            node.articles.append((article.id, Validity()))

    def _written(self, root: _Node, level: int) -> Iterator[Block]:
        """The blocks of a division. Its own articles come before its divisions: no heading closes a division."""
        places: defaultdict[str, list[tuple[_Node, Validity]]] = defaultdict(list)
        for node in _nodes(root):
            for identifier, window in node.articles:
                places[identifier].append((node, window))
        shares: dict[tuple[int, str], list[Validity]] = {}
        for identifier, several in places.items():
            for node, validity in _shared(self._articles[identifier].validity, several):
                shares.setdefault((id(node), identifier), []).append(validity)
        yield from self._division(root, level, shares)

    def _division(self, node: _Node, level: int, shares: Mapping[tuple[int, str], list[Validity]]) -> Iterator[Block]:
        groups = self._grouped(node)
        yield from self._versions_of([group for group in groups if not _is_annex(group[0])], node, level, shares)
        for below in node.divisions.values():
            inside = list(self._division(below, level + 1, shares))
            if inside and below.title:  # the title of an empty division rules nothing
                yield Block(BlockKind.HEADING, below.title, level, validity=below.validity, legal_status=below.status)
            yield from inside
        yield from self._versions_of([group for group in groups if _is_annex(group[0])], node, level, shares)

    def _grouped(self, node: _Node) -> list[list[_Article]]:
        """The articles of a division, all versions of one beside each other, where the first one stands."""
        groups: dict[str, list[_Article]] = {}
        for identifier in dict.fromkeys(identifier for identifier, _ in node.articles):
            article = self._articles[identifier]
            groups.setdefault(article.number or min(article.siblings), []).append(article)
        for group in groups.values():
            group.sort(key=lambda article: (article.validity.start or dt.date.min, article.id))
        return list(groups.values())

    def _versions_of(
        self,
        groups: Iterable[Sequence[_Article]],
        node: _Node,
        level: int,
        shares: Mapping[tuple[int, str], list[Validity]],
    ) -> Iterator[Block]:
        for group in groups:
            for article in (article for article in group if article.blocks):
                for validity in shares.get((id(node), article.id), ()):
                    yield Block(
                        BlockKind.HEADING,
                        _heading(article),
                        level,
                        validity=validity,
                        legal_status=article.status,
                        links=article.links,
                    )
                    for block in article.blocks:
                        yield replace(block, validity=validity)


def _nodes(node: _Node) -> Iterator[_Node]:
    yield node
    for below in node.divisions.values():
        yield from _nodes(below)


def _shared(own: Validity, places: Sequence[tuple[_Node, Validity]]) -> Iterator[tuple[_Node, Validity]]:
    """The days of a version given out to the places where it stood: each day to one of them, none to nobody.

    A place has the days from when it began until the next one began; before all of them, the first one has it.
    """
    nodes = {id(node): node for node, _ in places}
    if len(nodes) == 1 or not own.known:
        yield places[-1][0], own
        return
    windows = {key: _hull([window for node, window in places if id(node) == key]) for key in nodes}
    fitting = [key for key in nodes if _meet(own, windows[key])] or [id(places[-1][0])]
    ordered = sorted(fitting, key=lambda key: windows[key].start or dt.date.min)
    first, last = own.start or dt.date.min, own.end or dt.date.max
    days = [first, *(min(max(windows[key].start or first, first), last) for key in ordered[1:]), last]
    given = [
        (nodes[key], Validity(own.start if start == first else start, own.end if end == last else end))
        for key, start, end in zip(ordered, days, days[1:], strict=False)
        if start < end
    ]
    yield from given or [(nodes[ordered[-1]], own)]


def _hull(windows: Sequence[Validity]) -> Validity:
    """The days from the first of several windows until the end of the last."""
    starts, ends = [window.start for window in windows], [window.end for window in windows]
    return Validity(
        None if None in starts else min(start for start in starts if start is not None),
        None if None in ends else max(end for end in ends if end is not None),
    )


def _meet(one: Validity, other: Validity) -> bool:
    """Whether two spans of days have a day in common; one that ends before it begins has none."""
    if other.start is not None and other.end is not None and other.end <= other.start:
        return False
    before = one.end is not None and other.start is not None and one.end <= other.start
    after = one.start is not None and other.end is not None and other.end <= one.start
    return not before and not after


def _both(one: Validity, other: Validity) -> Validity:
    """The days of both."""
    starts = [start for start in (one.start, other.start) if start is not None]
    ends = [end for end in (one.end, other.end) if end is not None]
    return Validity(max(starts, default=None), min(ends, default=None))


# --- elements -------------------------------------------------------------------------------------------


def _said(element: etree._Element | None, path: str) -> str:
    return "" if element is None else " ".join((element.findtext(path) or "").split())


def _children(element: etree._Element | None) -> list[etree._Element]:
    return [] if element is None else list(element)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _validity(begins: str, ends: str, state: str = "") -> tuple[Validity, bool]:
    """The days from ``begins`` until ``ends``, and whether they are in order; out of order they are unknown.

    A version that never was in force has its dates on one day or, stillborn, the wrong way round: no day is in it.
    """
    start, end = _date(begins), _date(ends)
    if end == _SOME_DAY and start != _SOME_DAY:
        end = None
    if start is None or end is None or start <= end:
        return Validity(start, end), True
    if state == "MODIFIE_MORT_NE":
        return Validity(start, start), True
    return Validity(), False


def _date(said: str) -> dt.date | None:
    try:
        day = dt.date.fromisoformat(said.strip())
    except ValueError:
        return None
    return None if day.year >= _OPEN_YEAR else day


def _link(element: etree._Element) -> _Link | None:
    identifier = element.get("id", "")
    match = _ID.fullmatch(identifier)
    if match is None or element.tag not in {"LIEN_ART", "LIEN_SECTION_TA"}:
        return None
    validity, _ = _validity(element.get("debut", ""), element.get("fin", ""), element.get("etat", ""))
    return _Link(
        identifier,
        " ".join((element.get("num", "") if match["kind"] == "ARTI" else "".join(element.itertext())).split()),
        validity,
        _STATUS.get(element.get("etat", "")),
        division=element.tag == "LIEN_SECTION_TA",
    )


def _trail(root: etree._Element) -> tuple[tuple[str, str], ...]:
    """The divisions that an article or division says it stands in, outermost first; of several titles the last."""
    found: list[tuple[str, str]] = []
    place = root.find("CONTEXTE/TEXTE/TM")
    while place is not None and len(found) < _DEEPEST:
        titles = place.findall("TITRE_TM")
        if titles:
            found.append((titles[-1].get("id", ""), " ".join("".join(titles[-1].itertext()).split())))
        place = place.find("TM")
    return tuple(found)


def _content(element: etree._Element | None) -> list[Block]:
    if element is None or (not len(element) and not (element.text or "").strip()):
        return []
    for mark in list(element.iter("br", "BR")):
        if next(mark.iterancestors("table", "TABLE"), None) is None:
            mark.tag = "hr"  # a line ends a paragraph here, as a rule does in HTML
    try:
        found = fragment(etree.tostring(element, encoding="unicode", method="html", with_tail=False))
    except DocumentError:  # nested beyond what a page may be: the words alone
        found = [Block(BlockKind.PARAGRAPH, " ".join("".join(element.itertext()).split()))]
    # The structure is stated elsewhere: what looks like a heading here is part of the text.
    return [
        replace(block, kind=BlockKind.PARAGRAPH, level=None) if block.kind is BlockKind.HEADING else block
        for block in found
    ]


def _notes(element: etree._Element | None) -> list[Block]:
    return [
        block if block.kind is BlockKind.TABLE else replace(block, kind=BlockKind.NOTE) for block in _content(element)
    ]


def _version(root: etree._Element) -> _Version:
    meta = root.find("META/META_SPEC/META_TEXTE_VERSION")
    state = _said(meta, "ETAT")
    validity, _ = _validity(_said(meta, "DATE_DEBUT"), _said(meta, "DATE_FIN"), state)
    # All of it stands before the articles: signatures behind the last one would be taken for its text.
    blocks = [
        block
        for name in ("VISAS", "SIGNATAIRES", "TP", "ABRO", "RECT")
        for block in _content(root.find(f"{name}/CONTENU"))
    ]
    blocks += _notes(root.find("NOTA/CONTENU"))
    return _Version(
        _said(meta, "TITREFULL") or _said(meta, "TITRE"),
        _said(root, "META/META_COMMUN/NATURE"),
        validity,
        _STATUS.get(state),
        tuple(blocks),
    )


def _newest(version: _Version) -> tuple[bool, dt.date]:
    """Orders versions of a text: the newest that is in force, else the newest."""
    in_force = version.status is LegalStatus.IN_FORCE
    return in_force, version.validity.start or dt.date.min


def _rank(nature: str) -> NormRank | None:
    return _RANKS.get(nature.upper().partition("_")[0])


def _heading(article: _Article) -> str:
    return _label(article.number)


def _label(number: str) -> str:
    if not number:
        return "Article"
    return number if _ARTICLES.match(number) else f"Article {number}"


def _is_annex(article: _Article) -> bool:
    return article.number.casefold().startswith("annexe")


# --- links ----------------------------------------------------------------------------------------------


def _links(elements: Iterable[etree._Element]) -> tuple[str, ...]:
    """The keys of the texts that an article cites, and of those that made, changed or ended it.

    ``sens`` is the part of the article itself: as the target (``cible``) of a citation it is cited, which is the other
    text's business.
    """
    keys: dict[str, None] = {}
    cited, others = [], []
    for element in elements:
        citation = element.get("typelien", "") == "CITATION"
        if citation and element.get("sens") == "source":
            cited.append(element)
        elif not citation:
            others.append(element)
    for element in (*cited, *others):
        if len(keys) >= _MOST_LINKS:
            break
        keys |= dict.fromkeys(_keys(element))
    return tuple(keys)[:_MOST_LINKS]


def _keys(element: etree._Element) -> Iterator[str]:
    """The keys that a link's text has, as if an article named it in words."""
    label = " ".join("".join(element.itertext()).split())[:_LONGEST_LABEL]
    number = " ".join(element.get("num", "").split())[:_LONGEST_NUMBER]
    owner = _owner(element, label)
    words = f"article {number} {owner}" if number else owner
    for key in references.mentions(words.strip()):
        if not key.startswith(_WEAK):
            yield key


def _owner(element: etree._Element, label: str) -> str:
    nature = element.get("naturetexte", "")
    if nature == "CODE":
        match = _ENDS.fullmatch(label)
        title = match["title"] if match else label
        return f"du {title[:1].lower()}{title[1:]}" if title else ""
    word = _NATURES.get(nature)
    numbered = element.get("numtexte", "").strip()
    day = _date(element.get("datesignatexte", ""))
    if word is None:
        return label
    article = "de la" if word in {"loi", "circulaire", "décision", "délibération"} else "du"
    article = "de l'" if word[0] in "aeiouo" else f"{article} "
    if numbered:
        return f"{article}{word} n° {numbered}"
    if day is not None:
        return f"{article}{word} du {day.day}{'er' if day.day == 1 else ''} {_MONTHS[day.month - 1]} {day.year}"
    return label


def _warning(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(_stem(name) for name in sorted(names)[:_SHOWN])
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names)} × {what}: {shown}{more}"
