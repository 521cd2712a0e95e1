"""Numbers, amounts, percentages, dates, durations and references in text, read as values.

``25 jours ouvrés`` and ``vingt-cinq jours ouvrés`` are one value, ``25 jours ouvrables`` is another. A value knows
its bound (``au moins``, ``up to``) and its relation (``avant``, ``from``). Pure; French and English.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a value measures."""

    NUMBER = "number"
    ORDINAL = "ordinal"
    PERCENT = "percent"
    MONEY = "money"
    DURATION = "duration"
    DATE = "date"
    MEASURE = "measure"
    REFERENCE = "reference"


class Bound(StrEnum):
    """How a value limits."""

    EXACT = "exact"
    AT_LEAST = "at_least"
    MORE_THAN = "more_than"
    AT_MOST = "at_most"
    LESS_THAN = "less_than"
    WITHIN = "within"
    ABOUT = "about"


class Relation(StrEnum):
    """Where a date or a delay stands relative to what it is counted from."""

    NONE = "none"
    FROM = "from"
    BEFORE = "before"
    AFTER = "after"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value at ``[start, end)`` of its text.

    ``value`` is canonical for its kind: a number, minutes for hours, months for years, an ISO date (``--01-31``
    without a year, ``2025-03`` without a day), a reference key (``article:4``). ``unit`` tells apart what must
    never be mixed up (``day:ouvre``, ``day:ouvrable``, ``EUR``, ``km``). ``[lead, tail)`` also holds the words that
    give its bound and its relation.
    """

    kind: Kind
    value: str
    unit: str
    start: int
    end: int
    bound: Bound = Bound.EXACT
    relation: Relation = Relation.NONE
    lead: int = -1
    tail: int = -1


_PER_CHARACTER: Final = {"œ": "o", "Œ": "O", "’": "'", "ʼ": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "‑": "-"}


def folded(text: str) -> str:
    """``text`` in lower case, accents folded, apostrophes and spaces plain; every offset stays where it was."""
    letters = []
    for letter in text:
        if letter.isascii():
            letters.append(letter.lower())
            continue
        plain = _PER_CHARACTER.get(letter) or unicodedata.normalize("NFD", letter)[0]
        lowered = plain.lower()
        letters.append(lowered if len(lowered) == 1 else letter)
    return "".join(letters)


# --- numbers ----------------------------------------------------------------------------------------------

_UNITS_FR = {
    "zero": 0, "un": 1, "une": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "six": 6, "sept": 7, "huit": 8,
    "neuf": 9, "dix": 10, "onze": 11, "douze": 12, "treize": 13, "quatorze": 14, "quinze": 15, "seize": 16,
}  # fmt: skip
_TENS_FR = {"vingt": 20, "vingts": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60, "septante": 70,
            "huitante": 80, "nonante": 90}  # fmt: skip
_UNITS_EN = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS_EN = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
            "ninety": 90}  # fmt: skip
_SCALES = {"cent": 100, "cents": 100, "hundred": 100, "mille": 1000, "thousand": 1000}
_SMALL = _UNITS_FR | _TENS_FR | _UNITS_EN | _TENS_EN
_WORD_NUMBER = re.compile(
    r"\b(?:{0})(?:(?:[- ]et[- ](?=une?\b|onze\b)|[- ]and[- ]|[- ])(?:{0}))*\b".format(
        "|".join(sorted({*_SMALL, *_SCALES}, key=len, reverse=True))
    )
)
_FRACTIONS: Final = {
    r"(?:la|une|de|a|pour) moitie|half of|one half|a half": 1 / 2,
    r"(?:un|le) tiers|one third|a third": 1 / 3,
    r"(?:les )?deux tiers|two thirds": 2 / 3,
    r"(?:un|le) quart|one quarter|a quarter": 1 / 4,
    r"(?:les )?trois quarts|three quarters": 3 / 4,
}
_QUARTERS = re.compile(r"[ ]d'heures?(?![a-z])")
_DEMI = re.compile(r"\b(?:une? )?demi[e]?[- ](?=journee|heure|traitement)|\bhalf[- ](?:a |an )?(?=day|hour|pay)")
_DIGITS = r"(?:\d{1,3}(?:[ \.]\d{3})+(?:,\d+)?(?!\d)|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:[.,]\d+)?)"

# --- units ------------------------------------------------------------------------------------------------

_DAY_KINDS: Final = {
    "ouvre": r"ouvres?|working|business|travailles?",
    "ouvrable": r"ouvrables?",
    "calendaire": r"calendaires?|calendar",
    "franc": r"francs?|clear",
    "consecutif": r"consecutifs?|consecutive|de suite|d'affilee|sans interruption|in a row",
}
_UNIT_WORDS: Final[tuple[tuple[str, Kind, str, float], ...]] = (
    (r"%|pour ?cent|per ?cent|percent", Kind.PERCENT, "%", 1),
    (r"points? de pourcentage|percentage points?", Kind.MEASURE, "pp", 1),
    (r"(?:milliards?|billions?) (?:d'|of )?(?:euros?|€)", Kind.MONEY, "EUR", 1e9),
    (r"m€|millions? (?:d'|of )?(?:euros?|€)", Kind.MONEY, "EUR", 1e6),
    (r"k ?€|milliers? d'euros", Kind.MONEY, "EUR", 1e3),
    (r"€(?: ?(?:ht|ttc))?|euros?|eur\b", Kind.MONEY, "EUR", 1),
    (r"centimes?(?: d'euro)?|cents?(?: of a euro)", Kind.MONEY, "EUR", 0.01),
    (r"£|pounds?|gbp", Kind.MONEY, "GBP", 1),
    (r"\$|dollars?|usd", Kind.MONEY, "USD", 1),
    (r"millions?", Kind.NUMBER, "", 1e6),
    (r"milliards?", Kind.NUMBER, "", 1e9),
    (r"demi-journees?|half[- ]days?", Kind.DURATION, "day", 0.5),
    (r"jours?|journees?|days?", Kind.DURATION, "day", 1),
    (r"semaines?|weeks?", Kind.DURATION, "week", 1),
    (r"quinzaines?|fortnights?", Kind.DURATION, "week", 2),
    (r"mois|months?", Kind.DURATION, "month", 1),
    (r"trimestres?", Kind.DURATION, "quarter", 1),
    (r"semestres?", Kind.DURATION, "semester", 1),
    (r"ans?|annees?|years?", Kind.DURATION, "month", 12),
    (r"minutes?|mins?|mn", Kind.DURATION, "minute", 1),
    (r"secondes|seconds", Kind.DURATION, "second", 1),
    (r"nuits?|nuitees?|nights?", Kind.MEASURE, "night", 1),
    (r"km/h|kilometres? (?:a l'|par )heure", Kind.MEASURE, "km/h", 1),
    (r"kilometres?|kilometers?|km", Kind.MEASURE, "km", 1),
    (r"centimetres?|centimeters?|cm", Kind.MEASURE, "cm", 1),
    (r"millimetres?|millimeters?|mm", Kind.MEASURE, "mm", 1),
    (r"metres? carres?|square met(?:re|er)s?|m²|m2", Kind.MEASURE, "m2", 1),
    (r"metres? cubes?|cubic met(?:re|er)s?|m³|m3", Kind.MEASURE, "m3", 1),
    (r"cm³|cm3", Kind.MEASURE, "cm3", 1),
    (r"metres?|meters?|m(?=[ ,.;)]|$)", Kind.MEASURE, "m", 1),
    (r"° ?c|degres? celsius|degres?|degrees? celsius|degrees?", Kind.MEASURE, "celsius", 1),
    (r"kilogrammes?|kilograms?|kilos?|kg", Kind.MEASURE, "kg", 1),
    (r"grammes?|grams?|g(?=[ ,.;)]|$)", Kind.MEASURE, "g", 1),
    (r"tonnes?|tons?", Kind.MEASURE, "t", 1),
    (r"litres?|liters?", Kind.MEASURE, "l", 1),
    (r"kwh|kilowatt-?heures?", Kind.MEASURE, "kWh", 1),
    (r"mwh|megawatt-?heures?", Kind.MEASURE, "MWh", 1),
    (r"kw|kilowatts?", Kind.MEASURE, "kW", 1),
    (r"lux", Kind.MEASURE, "lux", 1),
    (r"db ?\(?a?\)?|decibels?", Kind.MEASURE, "dB", 1),
    (r"volts?|v(?=[ ,.;)]|$)", Kind.MEASURE, "V", 1),
    (r"points?(?! d[e'])", Kind.MEASURE, "point", 1),
    (r"watts?", Kind.MEASURE, "W", 1),
    (r"ko(?![a-z])", Kind.MEASURE, "kB", 1),
    (r"mo(?![a-z])", Kind.MEASURE, "MB", 1),
    (r"go(?![a-z])", Kind.MEASURE, "GB", 1),
    (r"cv|chevaux", Kind.MEASURE, "CV", 1),
)
_UNIT = re.compile(
    "|".join(rf"(?P<u{index}>(?:{pattern})(?![a-z]))" for index, (pattern, *_) in enumerate(_UNIT_WORDS))
)
_HOURS = re.compile(
    r"(?:h|heures?|hours?)(?![a-z])(?:[ ]?(\d{2})(?!\d|[ ]?(?:%|jour|km|agent))(?:[ ]?(?:min(?:utes?)?|mn))?)?"
)
_DAY_KIND = re.compile(
    r"[ ]+(?:(?:entiers?|pleins?|full|whole|complets?)[ ]+)?(?:"
    + "|".join(rf"(?P<{name}>(?:{pattern})(?![a-z]))" for name, pattern in _DAY_KINDS.items())
    + ")"
)
_ADJECTIVE = re.compile(r"[ ](?:premiere?s|derniere?s|prochaine?s|first|last|next|full)[ ]")
_DAY_KIND_BEFORE = re.compile(
    r"[ -](?P<ouvre>working|business)[ -]|[ -](?P<calendaire>calendar)[ -]|[ -](?P<franc>clear)[ -]"
    r"|[ -](?P<consecutif>consecutive)[ -]"
)

# --- dates and references -----------------------------------------------------------------------------------

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("janvier january jan", "fevrier february feb", "mars march", "avril april apr", "mai may", "juin june",
         "juillet july", "aout august aug", "septembre september sept", "octobre october oct", "novembre november nov",
         "decembre december dec"), start=1)
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    rf"\b(?P<d1>\d{{1,2}})(?:er|st|nd|rd|th)?(?: of)? (?P<m1>{_MONTH})\b\.?,?(?: (?P<y1>(?:19|20)\d\d)\b)?"
    rf"|\b(?P<d5>premier) (?P<m5>{_MONTH})\b(?: (?P<y5>(?:19|20)\d\d)\b)?"
    rf"|\b(?P<m2>{_MONTH}) (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\s*(?:%|€|heure|"
    rf"jour|agent))(?:,? (?P<y2>(?:19|20)\d\d)\b)?"
    rf"|\b(?P<m3>{_MONTH}) (?P<y3>(?:19|20)\d\d)\b"
    r"|\b(?P<d4>\d{1,2})/(?P<m4>\d{1,2})/(?P<y4>(?:19|20)?\d\d)\b"
    r"|\b(?P<y6>(?:19|20)\d\d)-(?P<m6>\d\d)-(?P<d6>\d\d)\b"
    rf"|(?:(?<=\ben )|(?<=\bmois de )|(?<=\bmois d'))(?P<m7>{_MONTH})\b(?! (?:19|20)\d\d)"
)
_YEAR = re.compile(
    r"\b(?:19|20)\d\d\b(?! ?(?:€|euros?|km|kilometres?|agents?|heures?|h\b|m²|kg|personnes?|habitants?|jours?|%|kwh))"
)
_NUMERAL = r"(?:\d+(?:er|ere)?|[ivxlc]+(?:er)?|premiere?|unique)"
_CODE = r"(?:[lrda]\.?[ ]?\*?[ ]?)?\d+(?:er)?(?:[-.]\d+)*(?:[ ](?:bis|ter|quater)\b)?"
_REFERENCE = re.compile(
    rf"\b(?P<article>articles?|art\.|sections?|annexes?|annex|appendix|titres?|"
    rf"chapitres?|chapters?|paragraphes?|paragraphs?|"
    rf"alineas?|points?|rubriques?|tableaux?|tables?)[ ](?:n°[ ]?)?(?P<n>{_CODE}|{_NUMERAL})(?![\w%€])"
    rf"(?P<more>(?:(?:,[ ]|[ ](?:et|ou|a|and|or|to)[ ])(?:{_CODE})(?![\w%€]|[ ](?:jours?|"
    rf"mois|ans?|heures?|€|euros?|km|%|janvier|fevrier|mars|avril|mai|juin|juillet|"
    rf"aout|septembre|octobre|novembre|decembre)))*)"
    r"|§[ ]?(?P<para>\d+(?:\.\d+)*)"
    r"|\b(?P<code>[lrda]\.?[ ]?\*?[ ]?\d+(?:-\d+)+)\b"
    r"|\b(?:n°s?|no\.|numero|number)[ ]?(?P<number>\d[\w/.-]*\d|\d)"
)
_KIND_OF_REFERENCE: Final = {
    "art.": "article", "annex": "annexe", "appendix": "annexe", "chapter": "chapitre", "paragraph": "paragraphe",
    "table": "tableau", "tableaux": "tableau",
}  # fmt: skip
_ORDINAL_WORDS: Final = {
    "premier": 1, "premiere": 1, "deuxieme": 2, "second": 2, "seconde": 2, "troisieme": 3, "quatrieme": 4,
    "cinquieme": 5,
    "sixieme": 6, "septieme": 7, "huitieme": 8, "neuvieme": 9, "dixieme": 10, "vingtieme": 20, "trentieme": 30,
    "first": 1, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
_ORDINAL = re.compile(
    rf"\b(?!first[- ]aid)(?:(?P<word>{'|'.join(sorted(_ORDINAL_WORDS, key=len, reverse=True))})s?|"
    rf"(?P<digits>\d+)(?:er|ere|e|eme|nd|nde|st|rd|th))\b"
)
_SAME_DAY = re.compile(r"\b(?:(?P<eve>(?:la )?veille)|(?:le )?jour meme|the same day)\b")
_OUT_OF = re.compile(r"(?:[ ][^\W\d]+){0,4}[ ](?:sur|out of|in)[ ]")
"""Between two numbers that make a share: "quatre agents sur dix"."""
_ONE_OUT_OF = re.compile(
    r"\bune?(?:[ ][^\W\d]+){0,5}?[ ]sur[ ](?=\d|deux\b|trois\b|quatre\b|cinq\b|dix\b|vingt\b|cent\b)"
)
_LIST_MARKER = re.compile(r"(?m)(?:^|(?<=[:;] ))[ \t]*(?:\d{1,2}°|\d{1,2}[.)])(?= )|\b\d{1,2}°(?= [a-z(])")

# --- bounds and relations -----------------------------------------------------------------------------------

_Rules = tuple[tuple[str, Bound | Relation], ...]
_LEFT: Final[_Rules] = (
    (r"(?:n'|ne )(?:\w+ ){0,2}(?:pas )?(?:inferieur\w*|etre inferieur\w*) a", Bound.AT_LEAST),
    (r"(?:n'|ne )(?:\w+ ){0,3}(?:exced|depass)\w*(?: pas)?(?: la limite de)?", Bound.AT_MOST),
    (r"(?:n'|ne )(?:\w+ ){0,2}(?:pas )?superieur\w* a", Bound.AT_MOST),
    (r"sans (?:pouvoir |que (?:\w+ ){1,5})?(?:exced|depass)\w*", Bound.AT_MOST),
    (r"(?:may|must|shall|can|does|do|will|should)(?:not| not) exceed", Bound.AT_MOST),
    (r"cannot exceed|without exceeding|not exceeding|never exceeds?|not to exceed", Bound.AT_MOST),
    (r"(?:not|no) (?:more|longer|greater|later|higher) than", Bound.AT_MOST),
    (r"(?:not|no) (?:less|fewer|shorter|lower) than", Bound.AT_LEAST),
    (
        r"au moins(?: egale?s? a)?|au minimum|(?:le |un |d'un )?minimum(?: est)?(?: fixe)?(?: de|"
        r" a)?|minimale?s? (?:de|est de)", Bound.AT_LEAST),
    (r"superieure?s? ou egale?s? a|egale?s? ou superieure?s? a|au moins de", Bound.AT_LEAST),
    (r"at least|a minimum of|minimum(?: is| of)?|no less than", Bound.AT_LEAST),
    (r"inferieure?s? ou egale?s? a|egale?s? ou inferieure?s? a", Bound.AT_MOST),
    (
        r"plus d[e']|superieure?s? a|exced\w*|depass\w*|au-?dela d[e'u]s?|au-?dessus d[eu]|"
        r"more than|over|above|exceed(?:s|ing)?|(?:greater|longer|higher) than|beyond", Bound.MORE_THAN),
    (
        r"au plus(?: egale?s? a)?|au maximum|(?:le |un |d'un )?maximum(?: est)?(?: fixe)?(?: de|"
        r" a)?|maximale?s? (?:de|est de)|jusqu'a(?: hauteur de)?|(?:dans|a) la limite de|"
        r"a hauteur de|limite\w*(?: est)?(?: fixe\w*)? (?:a|de)|plafonn\w* a|plafond(?: est)?(?: fixe)? (?:de|"
        r"a)", Bound.AT_MOST),
    (r"up to|at most|a maximum of|maximum(?: is| of)?|capped at|limited to|within (?:a|the) limit of", Bound.AT_MOST),
    (
        r"moins d[e']|inferieure?s? a|en dessous de|au-?dessous d[eu]|less than|under|"
        r"below|fewer than|(?:shorter|lower) than", Bound.LESS_THAN),
    (r"environ|approximativement|about|approximately|around|pres de|de l'ordre de|quelque", Bound.ABOUT),
    (
        r"au plus tard(?: le| dans les| dans un delai de)?|no later than|at the latest(?: on|"
        r" by)?|jusqu'au|until|till|by", Relation.UNTIL),
    (
        r"(?:dans|sous|endeans) (?:les|un delai (?:maximal )?de|le delai de|un delai maximum de)|"
        r"sous|d'ici(?: a| au| le)?|within(?: a period of)?|delai de|dans la limite de", Bound.WITHIN),
    (
        r"au plus tot(?: le)?|no earlier than|not before|a (?:compter|partir) d[ue]|"
        r"des(?: le| la)?|depuis(?: le)?|from|as of|as from|starting(?: on)?|effective|"
        r"with effect from|since", Relation.FROM),
    (r"avant(?: le| la fin du| la fin de)?|before|prior to|precedant(?: le)?", Relation.BEFORE),
    (r"apres(?: le)?|after|following|suivant(?: le)?|posterieure?s? au", Relation.AFTER),
)  # fmt: skip
_RIGHT: Final[_Rules] = (
    (r"au moins|au minimum|minimum|ou plus|et plus|or more|or over|at least|and over", Bound.AT_LEAST),
    (
        r"au plus(?! tard)|au maximum|maximum|maximal\w*|max\b|ou moins|et moins|or less|"
        r"or fewer|at most|or under", Bound.AT_MOST),
    (r"au plus tard (?:avant|precedant)|at the latest before", Relation.BEFORE),
    (
        r"(?:au moins |au plus tard |francs |at the latest )?(?:avant|precedant|qui precedent?|"
        r"before|prior to|a l'avance|en avance|in advance|au prealable|ahead of|beforehand|"
        r"plus tot)", Relation.BEFORE),
    (
        r"(?:au plus tard )?(?:apres|suivant|qui suivent?|after|following|a compter d[eu]s?|"
        r"a partir d[eu]s?|from|of the date|plus tard|later)", Relation.AFTER),
)  # fmt: skip
_LEFT_RULES = tuple(
    (re.compile(rf"(?:^|(?<=[^a-z]))(?:{pattern})\s*(?:de |d'|a |l'|la |le |les |the |un |une |of |total )?$"), sense)
    for pattern, sense in _LEFT
)
_RIGHT_RULES = tuple((re.compile(rf"[ ,(]*(?:{pattern})(?![a-z])"), sense) for pattern, sense in _RIGHT)
_LOOK = 60


def read(text: str) -> list[Quantity]:
    """Every value in ``text``, in order; a figure that belongs to a reference or a date is not a number too."""
    plain = folded(text)
    taken = bytearray(len(plain))
    found: list[Quantity] = []

    def take(kind: Kind, value: str, unit: str, start: int, end: int) -> None:
        taken[start:end] = b"\x01" * (end - start)
        found.append(Quantity(kind, value, unit, start, end))

    for marker in _LIST_MARKER.finditer(plain):
        taken[marker.start() : marker.end()] = b"\x01" * (marker.end() - marker.start())
    for match in _DATE.finditer(plain):
        if (value := _date(match)) and not any(taken[match.start() : match.end()]):
            take(Kind.DATE, value, "date", *match.span())
    for match in _SAME_DAY.finditer(plain):
        take(Kind.DURATION, "1" if match["eve"] else "0", "day", *match.span())
    for match in _REFERENCE.finditer(plain):
        if not any(taken[match.start() : match.end()]):
            for key in _reference(match):
                take(Kind.REFERENCE, key, "", *match.span())
    numbers = _numbers(plain)
    for start, end, share in _shares(plain, numbers):
        if not any(taken[start:end]):
            take(Kind.PERCENT, _text(100 * share), "%", start, end)
    for start, end, number in numbers:
        if any(taken[start:end]):
            continue
        kind, value, unit, stop = _measured(plain, start, end, number)
        if kind is not None:
            take(kind, value, unit, start, stop)
    for match in _ORDINAL.finditer(plain):
        if not any(taken[match.start() : match.end()]):
            rank = match["digits"] or _ORDINAL_WORDS[match["word"]]
            take(Kind.ORDINAL, str(int(rank)), "", *match.span())
    found.sort(key=lambda one: (one.start, one.value))
    return [_qualified(plain, one) for one in found]


def _shares(plain: str, numbers: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Shares told as so many out of so many: ``quatre agents sur dix``, ``un état sur vingt``."""
    found = []
    for (start, end, part), (low, high, whole) in itertools.pairwise(numbers):
        if part < whole and _OUT_OF.fullmatch(plain[end:low]) and not _UNIT.match(plain, high + 1):
            found.append((start, high, part / whole))
    for match in _ONE_OUT_OF.finditer(plain):
        whole_ = next((one for one in numbers if one[0] == match.end()), None)
        if whole_ is not None and whole_[2] > 1 and not _UNIT.match(plain, whole_[1] + 1):
            found.append((match.start(), whole_[1], 1 / whole_[2]))
    return found


def _qualified(plain: str, one: Quantity) -> Quantity:
    """``one`` with the bound and the relation that stand beside it."""
    if one.kind in {Kind.REFERENCE, Kind.ORDINAL}:
        return replace(one, lead=one.start, tail=one.end)
    bound, relation = Bound.EXACT, Relation.NONE
    left = plain[max(0, one.start - _LOOK) : one.start]
    left = re.split(r"[;:.!?\n(|]", left)[-1]
    lead = one.start
    for _ in range(2):  # "au plus tard dans un délai de"
        hit = next(((match, sense) for rule, sense in _LEFT_RULES if (match := rule.search(left))), None)
        if hit is None:
            break
        match, sense = hit
        if isinstance(sense, Bound):
            bound = sense if bound in {Bound.EXACT, Bound.WITHIN} else bound
        elif relation is Relation.NONE:
            relation = sense
        lead -= len(left) - match.start()
        left = left[: match.start()]
    right = plain[one.end : one.end + _LOOK]
    position = 0
    for _ in range(2):
        hit = next(((match, sense) for rule, sense in _RIGHT_RULES if (match := rule.match(right, position))), None)
        if hit is None:
            break
        match, sense = hit
        if isinstance(sense, Bound):
            bound = sense if bound in {Bound.EXACT, Bound.WITHIN} else bound
        elif one.kind is Kind.DURATION:
            if relation is Relation.UNTIL:  # at the latest two days before, after
                bound, relation = (Bound.AT_LEAST if sense is Relation.BEFORE else Bound.WITHIN), sense
            elif relation is Relation.FROM:  # at the earliest two days before, after
                bound, relation = (Bound.AT_MOST if sense is Relation.BEFORE else Bound.AT_LEAST), sense
            elif relation is Relation.NONE:
                if sense is Relation.BEFORE and "au plus tard" in match[0]:
                    bound = Bound.AT_LEAST
                relation = sense
        else:
            break
        position = match.end()
    if one.kind is Kind.DURATION and relation is Relation.FROM and "plus tot" in plain[lead : one.start]:
        bound, relation = Bound.AT_LEAST, Relation.NONE
    if one.kind is Kind.DURATION and relation is Relation.UNTIL:
        bound, relation = Bound.WITHIN, Relation.NONE
    if one.kind is Kind.DATE and bound is Bound.AT_MOST:
        bound, relation = Bound.EXACT, Relation.UNTIL
    return replace(one, bound=bound, relation=relation, lead=lead, tail=one.end + position)


def _numbers(plain: str) -> list[tuple[int, int, float]]:
    """Every figure and number word with its place: ``(start, end, value)``."""
    found: list[tuple[int, int, float]] = []
    for pattern, share in _FRACTIONS.items():
        found += [(match.start(), match.end(), share) for match in re.finditer(rf"\b(?:{pattern})\b", plain)]
    found += [(match.start(), match.end(), 0.5) for match in _DEMI.finditer(plain)]
    for match in re.finditer(rf"(?<![\w.,/-]){_DIGITS}(?!\w*[-/]\d)", plain):
        found.append((*match.span(), _figure(match[0])))
    for match in _WORD_NUMBER.finditer(plain):
        if not any(start <= match.start() < end for start, end, _ in found):
            words = re.split(r"[- ]", match[0])
            if (
                words in (["un"], ["une"], ["one"])
                and not _UNIT.match(plain, match.end() + 1)
                and not _HOURS.match(plain, match.end() + 1)
            ):
                continue
            found.append((*match.span(), float(_spelled(words))))
    return sorted(found)


def _figure(text: str) -> float:
    compact = text.replace(" ", "")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", compact):
        return float(compact.replace(".", "").replace(",", "."))
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", compact):
        return float(compact.replace(",", ""))
    return float(compact.replace(",", "."))


def _spelled(words: list[str]) -> int:
    total = current = 0
    for word in words:
        if word in {"et", "and"}:
            continue
        if word in _SCALES:
            scale = _SCALES[word]
            if scale == 1000:
                total, current = total + max(current, 1) * scale, 0
            else:
                current = max(current, 1) * scale
        elif word in {"vingt", "vingts"} and current % 100 == 4:
            current = current - 4 + 80
        else:
            current += _SMALL[word]
    return total + current


def _measured(plain: str, start: int, end: int, number: float) -> tuple[Kind | None, str, str, int]:
    """What the number at ``[start, end)`` counts: kind, canonical value, unit, and where the whole ends."""
    position = end
    while position < len(plain) and plain[position] == " ":
        position += 1
    if plain[position : position + 1] == "-" and position == end:
        position += 1
    before = plain[max(0, start - 2) : start].strip()
    if before in {"€", "£", "$"} or re.search(r"\beur\s*$", plain[max(0, start - 6) : start]):
        return Kind.MONEY, _text(number), {"£": "GBP", "$": "USD"}.get(before, "EUR"), end
    if clock := re.compile(r":(\d\d)(?!\d)").match(plain, end):
        return Kind.DURATION, _text(number * 60 + int(clock[1])), "minute", clock.end()
    if number < 1 and (quarters := _QUARTERS.match(plain, end)):
        return Kind.DURATION, _text(number * 60), "minute", quarters.end()
    if hours := _HOURS.match(plain, position):
        minutes = number * 60 + (int(hours[1]) if hours[1] else 0)
        return Kind.DURATION, _text(minutes), "minute", hours.end()
    if meridiem := re.compile(r"([ap])\.?m\b\.?").match(plain, position):
        return Kind.DURATION, _text((number % 12 + (12 if meridiem[1] == "p" else 0)) * 60), "minute", meridiem.end()
    if plain[end : end + 1] == "°" and plain[end : end + 2] != "°c" and plain[end + 1 : end + 3] != " c":
        return None, "", "", end
    kind_before = _DAY_KIND_BEFORE.match(plain, end)
    adjective = _ADJECTIVE.match(plain, end)
    unit = _UNIT.match(plain, kind_before.end() if kind_before else adjective.end() if adjective else position)
    if unit is not None and _UNIT_WORDS[int(str(unit.lastgroup)[1:])][2] == "EUR" and unit[0].startswith("euro"):
        cents = next((one for one in _numbers(plain[unit.end() : unit.end() + 20]) if one[0] == 1), None)
        if cents is not None and cents[2] < 100 and not _UNIT.match(plain, unit.end() + cents[1] + 1):
            return Kind.MONEY, _text(number + cents[2] / 100), "EUR", unit.end() + cents[1]
    if unit is None:
        year = _YEAR.match(plain, start)
        if year and year.end() == end:
            return Kind.DATE, year[0], "date", end
        return Kind.NUMBER, _text(number), "", end
    _, kind, name, factor = _UNIT_WORDS[int(str(unit.lastgroup)[1:])]
    stop = unit.end()
    if name == "day":
        day_kind = kind_before or _DAY_KIND.match(plain, stop)
        if day_kind is not None:
            name = f"day:{day_kind.lastgroup}"
            stop = max(stop, day_kind.end())
    if kind is Kind.NUMBER and (money := re.compile(r" (?:d'|of )?(?:euros?|€)").match(plain, stop)):
        return Kind.MONEY, _text(number * factor), "EUR", money.end()
    return kind, _text(number * factor), name, stop


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _date(match: re.Match[str]) -> str | None:
    groups = match.groupdict()

    def part(letter: str) -> str | None:
        return next((value for key, value in groups.items() if key[0] == letter and value), None)

    day, month, year = part("d"), part("m"), part("y")
    if month is None:
        return None
    number = int(month) if month.isdigit() else _MONTHS[month]
    if not 1 <= number <= 12:
        return None
    if year is not None and len(year) == 2:
        year = "20" + year
    if day is None:
        return f"{year or '-'}-{number:02}"
    numeric = 1 if day == "premier" else int(day)
    if not 1 <= numeric <= 31:
        return None
    return f"{year or '-'}-{number:02}-{numeric:02}"


def _reference(match: re.Match[str]) -> list[str]:
    if match["article"]:
        word = match["article"]
        word = _KIND_OF_REFERENCE.get(word) or _KIND_OF_REFERENCE.get(word.removesuffix("s")) or word.removesuffix("s")
        numbers = [match["n"], *re.findall(_CODE, match["more"] or "")]
        return [f"{word}:{_number(number)}" for number in numbers]
    if match["para"]:
        return [f"section:{match['para']}"]
    if match["code"]:
        return [f"article:{_number(match['code'])}"]
    return [f"n:{match['number']}"]


def _number(text: str) -> str:
    compact = re.sub(r"[\s.*]", "", text) if re.match(r"[lrda]\b|[lrda][. *\d]", text) else text.replace(" ", "")
    compact = re.sub(r"(?<=\d)ere?$|(?<=\d)er$", "", compact)
    return {"premier": "1", "premiere": "1", "ier": "i"}.get(compact, compact)
