"""What of a passage can be quoted: its sentences, list items and table rows, and which words of a question they hold.

Sentences that speak to a machine are never quotable. Pure.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rag import sentences
from rag.asking import ALIKE, Kind, Term
from rag.instructions import quarantined
from rag.lexical import fold, terms
from rag.types import Passage

_COUNTED: Final = (
    "deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingt|trente|quarante|"
    "cinquante|soixante|cent|mille|two|three|four|five|seven|eight|nine|ten|eleven|twelve|twenty|thirty|sixty|ninety|"
    "hundred|thousand"
)
SIGNS: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(pattern, flags)
    for name, pattern, flags in (
        ("number", rf"\d|\b(?:{_COUNTED})\b", re.IGNORECASE),
        ("year", r"\b(?:1\d{3}|20\d\d)\b", 0),
        (
            "date",
            r"\b(?:janvier|f[ée]vrier|mars|avril|mai|juin|juillet|ao[uû]t|septembre|octobre|novembre|d[ée]cembre|"
            r"january|february|march|april|june|july|august|september|october|november|december|lundi|mardi|mercredi|"
            r"jeudi|vendredi|samedi|dimanche)\b|\bsi[eè]cle\b|\bann[ée]es \d|\b\d{1,2} ?(?:h|heures)\b",
            re.IGNORECASE,
        ),
        (
            "duration",
            rf"(?:\d|\b(?:un|une|{_COUNTED}))[\s)]*(?:ann[ée]es?|ans?|mois|jours?|semaines?|heures?|minutes?|days?|"
            r"weeks?|months?|years?|hours?)\b",
            re.IGNORECASE,
        ),
        (
            "money",
            r"(?:\d|\b(?:millions?|milliards?))\s?(?:d['’])?(?:€|euros?|francs?|dollars?|EUR|livres)|[€$]",
            re.IGNORECASE,
        ),
        ("percent", r"\d\s?(?:%|pour cent|percent|p\. 100)", re.IGNORECASE),
        (
            "measure",
            r"\d\s?(?:km|m|cm|mm|kg|g|t|ha|m²|km²|m2|°C?|degr[ée]s|dB|kW|kWh|V|A|l|litres?|m[èe]tres?|"
            r"kilom[èe]tres?|tonnes?|habitants?|hectares?|metres?)\b",
            0,
        ),
        ("name", r"(?<=[a-zà-ÿ,;'’(»] )(?:[A-ZÀ-Ý][\w'’-]+)", 0),
        ("full_name", r"(?<=[a-zà-ÿ,;'’(] )[A-ZÀ-Ý][\w-]+ (?:[dlL][eu'’]?\w* )?[A-ZÀ-Ý][\w-]+", 0),
        (
            "place",
            r"\b(?:à|en|dans|au|aux|vers|près de|depuis|at|in|près d['’])\s?(?:l['’]|la |le |les |the )?[A-ZÀ-Ý]\w+",
            0,
        ),
        (
            "cause",
            r"\b(?:car|parce qu|puisqu|en raison|à cause|grâce|afin|du fait|faute de|en effet|c'est pourquoi|ainsi|"
            r"permet|pour (?:\w+er|\w+ir|\w+re)\b|because|due to|in order to|so that|as a result)",
            re.IGNORECASE,
        ),
        (
            "manner",
            r"\b(?:par|en \w+ant|au moyen|grâce à|à l['’]aide|via|selon|auprès|by|through|using)\b",
            re.IGNORECASE,
        ),
        (
            "role",
            r"\b(?:directeur|directrice|responsable|chef|service|agent|médecin|président|ministre|roi|auteur|comité|"
            r"commission|secrétaire|manager|director|officer|head|team|unit|comptable|ordonnateur|régisseur)\b",
            re.IGNORECASE,
        ),
        (
            "duty",
            r"\b(?:doit|doivent|peut|peuvent|interdit|obligatoire|est tenu|sont tenus|must|may|shall|cannot|"
            r"is (?:not )?allowed|prohibited|required|autorisé|exig)",
            re.IGNORECASE,
        ),
        ("quote", r"[«\"“]", 0),
        ("definition", r"\b(?:est|sont|était|désigne|signifie|appelé|nommé|dit|is|means|called)\b", re.IGNORECASE),
        ("bracket", r"\(", 0),
    )
}
"""What may be read in a sentence at a glance: the kinds of thing that questions ask for."""
_ANSWERING: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.HOW_MANY: ("number",),
    Kind.HOW_LONG: ("duration",),
    Kind.WHEN: ("date", "year"),
    Kind.WHO: ("full_name", "role", "name"),
    Kind.WHERE: ("place",),
    Kind.WHY: ("cause",),
    Kind.HOW: ("manner",),
    Kind.YES_NO: ("duty",),
}
_ITEM: Final = re.compile(r"\s*(?:[-•–*]|\d{1,2}°|[a-z]\)|\d{1,2}[.)])\s")
_RULE: Final = re.compile(r":?-{2,}:?")
_POINTING_BACK: Final = re.compile(
    r"^\W*(?:il|elle|ils|elles|ce|cet|cette|ces|celui|celle|ceux|celles|cela|c'|ceci|tel|telle|son|sa|ses|leur|leurs|"
    r"dans ce|a cette|en effet|etant|ainsi|y |en |de ce|de cette|this|these|that|it|its|they|such|he|she|their)\b|"
    r".{0,40}\bcel(?:le|ui)-ci\b"
)
_SHARED: Final = 5
"""Letters that two stems share from the start to be one word in two shapes."""

Prefixes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence, list item or table row at ``[start, end)`` of its text.

    ``stems`` are its own after those of its lead-in or header row, which stands at ``lead``; ``signs`` says which of
    :data:`SIGNS` it shows; ``pointing`` that it begins with a word for something before it. ``capitals`` and
    ``figures`` are the stems of each of its words that is written with a capital, or with digits.
    """

    start: int
    end: int
    lead: tuple[int, int] | None
    row: bool
    item: bool
    stems: tuple[str, ...]
    signs: tuple[bool, ...]
    words: int
    pointing: bool
    capitals: tuple[tuple[str, ...], ...]
    figures: tuple[tuple[str, ...], ...]

    def shows(self, sign: str) -> bool:
        return self.signs[_ORDER[sign]]

    def answers(self, kind: Kind) -> bool | None:
        """Whether it has the kind of thing that is asked for; ``None`` where no sign tells."""
        wanted = _ANSWERING.get(kind)
        return None if wanted is None else any(self.shows(sign) for sign in wanted)


_ORDER: Final = {name: place for place, name in enumerate(SIGNS)}


def pieces(passage: Passage) -> tuple[Piece, ...]:
    """What can be quoted of a passage, in its order; nothing when anything in it speaks to a machine."""
    text = passage.chunk.text
    return () if quarantined(text, passage.chunk.breadcrumb) else _pieces(text, language(passage))


def language(passage: Passage) -> str:
    """The language that a passage is analysed in."""
    return "en" if passage.chunk.language == "en" else "fr"


@functools.lru_cache(maxsize=1024)
def _pieces(text: str, speech: str) -> tuple[Piece, ...]:
    found: list[Piece] = []
    header: list[str] = []
    opened = (0, 0)
    lead: tuple[str, ...] = ()
    introduced: tuple[int, int] | None = None
    for start, end in _spans(text):
        own = text[start:end]
        if " | " in own.strip("| "):
            cells = [cell.strip() for cell in own.strip().strip("|").split("|")]
            if all(_RULE.fullmatch(cell) for cell in cells):
                continue
            if len(cells) != len(header):
                header, opened = cells, (start, end)
                continue
            named = " ".join(f"{head} {cell}" for head, cell in zip(header, cells, strict=True))
            stems = (*terms(" ".join(header), speech), *terms(own, speech))
            found.append(_piece(text, start, end, speech, stems, lead=opened, row=True, signs=_signs(named)))
            continue
        header = []
        stems = tuple(terms(own, speech))
        if own.endswith(":"):
            lead, introduced = stems, (start, end)
            found.append(_piece(text, start, end, speech, stems))
            continue
        item = _ITEM.match(own) is not None
        if not item and not re.search(r"[;,]\s*$", text[:start]):
            lead, introduced = (), None
        own_lead = introduced if item else None
        found.append(_piece(text, start, end, speech, (*lead, *stems) if item else stems, lead=own_lead, item=item))
    return tuple(found)


def _piece(
    text: str,
    start: int,
    end: int,
    speech: str,
    stems: tuple[str, ...],
    *,
    lead: tuple[int, int] | None = None,
    row: bool = False,
    item: bool = False,
    signs: tuple[bool, ...] | None = None,
) -> Piece:
    own = text[start:end]
    words = own.split()
    return Piece(
        start=start,
        end=end,
        lead=lead,
        row=row,
        item=item,
        stems=stems,
        signs=_signs(own) if signs is None else signs,
        words=len(words),
        pointing=not row and _POINTING_BACK.match(fold(own[:40])) is not None,
        capitals=tuple(_word(word, speech) for word in words[1:] if word[:1].isupper()),
        figures=tuple(_word(word, speech) for word in words if any(sign.isdigit() for sign in word)),
    )


@functools.lru_cache(maxsize=1 << 14)
def _word(word: str, speech: str) -> tuple[str, ...]:
    return tuple(terms(word, speech))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, cut again where a semicolon outside brackets closes a rule of its own."""
    for start, end in sentences.split(text):
        position = start
        if " | " not in text[start:end]:
            for stop in re.finditer(r"\s?;\s+", text[start:end]):
                if text.count("(", position, start + stop.start()) > text.count(")", position, start + stop.start()):
                    continue
                yield position, start + stop.start() + (1 if stop[0][0] == ";" else 2)
                position = start + stop.end()
        if text[position:end].strip(" ;"):
            yield position, end


def _signs(text: str) -> tuple[bool, ...]:
    return tuple(pattern.search(text) is not None for pattern in SIGNS.values())


# --- which words of a question a text holds --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """The stems of a text, ready to be asked for the words of a question."""

    stems: frozenset[str]
    prefixes: Prefixes

    def worth(self, term: Term) -> float:
        """How well the text has the word, in ``[0, 1]``: 1 the word itself, less another name for it, 0 neither."""
        if self.stems.issuperset(term.stems):
            return 1.0
        best = next((worth for worth, names in term.singles if not self.stems.isdisjoint(names)), 0.0)
        for worth, phrase in term.phrases:
            if worth > best and self.stems.issuperset(phrase):
                best = worth
        if best < ALIKE and len(term.stems) == 1 and not term.number:
            stem = term.stems[0]
            if any(_alike(stem, other) for other in self.prefixes.get(stem[:_SHARED], ())):
                best = ALIKE
        return best


def held(stems: Iterable[str]) -> Held:
    """The stems as they are looked up."""
    own = frozenset(stems)
    prefixes: dict[str, tuple[str, ...]] = {}
    for stem in own:
        if len(stem) >= _SHARED:
            prefixes[stem[:_SHARED]] = (*prefixes.get(stem[:_SHARED], ()), stem)
    return Held(own, prefixes)


@functools.lru_cache(maxsize=2048)
def of_text(text: str, speech: str) -> Held:
    """What a whole text holds."""
    return held(terms(text, speech))


def _alike(one: str, other: str) -> bool:
    """Whether two stems are one word in two shapes: a long beginning in common, and short ends."""
    shared = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        shared += 1
    longest = max(len(one), len(other))
    return shared >= _SHARED and len(one) - shared <= 3 and len(other) - shared <= 5 and shared >= 0.55 * longest
