"""Legal references and dates in text, French and English, read by plain code; pure.

A reference is normalised to a *key*, so that "art. L. 3141-3", "l'article L.3141-3" and "l3141-3" are one:

===========================  ==============================================================================
``l3141-3``, ``r123-4bis``    an article of a code; the asterisk of ``R*123-4`` is dropped, as readers drop it
``article:4``                 an article (or numbered point) that only its own text tells apart from others
``section:3``, ``annexe:2``   a section, an annex; Roman numbers become Arabic
``decret:2012-1246``          a text by its kind and number; ``2012-1246`` where it is called but a "texte"
``arrete:2021-03-03``         a text by its kind and date, where it has no number
``decret:2012-1246#4``        an article of a text; ``...#section:3`` and ``...#annexe:2`` likewise
``code:civil#4``              an article of a code that is named, where its number alone does not tell the code
===========================  ==============================================================================

*Exact* keys are specific enough to be searched alone: articles of codes, and articles of a text that is named. A
bare "article 4" is *weak*: nearly every regulation has one, so it lifts hits that were found by their words and
never brings in hits of its own.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rag.codes import codes
from rag.types import Chunk, Hit, SectionKind


@dataclass(frozen=True, slots=True)
class Reference:
    """Characters ``[start, end)`` of a text name ``key``; ``label`` is those characters.

    In a list ("articles 4 et 5") each number is a reference of its own; the first one's span holds the word.
    """

    key: str
    label: str
    start: int
    end: int

    @property
    def exact(self) -> bool:
        """Whether the key alone tells which article is meant."""
        return "#" in self.key or _CODE_KEY.fullmatch(self.key) is not None


@dataclass(frozen=True, slots=True)
class Period:
    """Characters ``[start, end)`` of a text name the days ``[first, last)``: a date, a month or a year."""

    first: dt.date
    last: dt.date
    start: int
    end: int


# --- the grammar -----------------------------------------------------------------------------------------

_ORDINAL: Final = (
    r"(?:bis|ter|quater|quinquies|sexies|septies|octies|nonies|novies"
    r"|(?:un|duo|ter|quater|quin|quinque|sex|sept|septen|octo|novo)?(?:decies|vicies|tricies))"
)
_AGAIN: Final = rf"[ \u00a0]{_ORDINAL}(?:-0)?(?![\w’'])"
# « 16 A », « 310 HB bis »; « article 5 II » is the second part of article 5, but « 102 I du code » an article.
_LETTER: Final = (
    r"(?:(?-i:[A-HJ-UWYZ]|[A-Z]{2}(?<!II)(?<!IV)(?<!VI)(?<!IX)(?<!XI)(?<!XV)(?<!XX))(?![\w’'])"
    r"(?!\.?[ \u00a0]?\d|\.[ \u00a0]?(?-i:[a-zé]))"
    rf"|(?-i:[IVX]|[a-z])(?={_AGAIN})"
    r"|(?-i:[IVX])(?=[ \u00a0](?:du|de l['’]annexe)[ \u00a0](?:code|CGI|[IVX]+\b)))"
)
_SUFFIX: Final = rf"(?:{_AGAIN}|[ \u00a0]{_LETTER})*"
_CODE_NUMBER: Final = (
    r"(?:L\.?[ \u00a0]?O|[LRDA])[ \u00a0]?\.?[ \u00a0]?\*{0,2}[ \u00a0]?\.?[ \u00a0]?"
    rf"\d+(?:[-‑–.]\d+)*{_SUFFIX}(?!\w)"
)
_PLAIN_NUMBER: Final = (
    r"(?:premier\b|première\b|unique\b|1[ \u00a0]?(?:er|ère|re)\b"
    rf"|\d+(?:[-‑.]\d+)*(?:(?-i:[A-Z]{{1,2}}))?{_SUFFIX}(?![\w°%])"
    r"|(?-i:[IVX]+)\b(?![.’']))"
)
_NUMBER: Final = re.compile(rf"(?P<code>{_CODE_NUMBER})|(?P<plain>{_PLAIN_NUMBER})", re.IGNORECASE)
_HEADED: Final = re.compile(
    rf"\d+(?:[-‑.]\d+)*[A-Z]{{0,2}}(?:[ \u00a0](?:{_ORDINAL}(?:-0)?|[A-Z]{{1,2}}|[a-z](?={_AGAIN})))*"
)
"""A number as it stands alone in a heading, where no word can follow it."""
_ANNEX_NUMBER: Final = re.compile(r"\d+(?:[-.]\d+)*(?![\w°])|(?-i:[IVX]+|[A-H])\b(?![.’'])", re.IGNORECASE)
_HEAD: Final = re.compile(
    r"(?<![\w-])(?:"
    r"(?P<article>articles?|arts?\.|points?|clauses?|rules?)"
    r"|(?P<section>sections?|chapitres?|chapters?)"
    r"|(?P<annexe>annexes?|annex|appendix|appendices|schedules?)"
    r"|(?P<paragraph>§{1,2}|paragraphes?|paragraphs?)"
    r")[ \u00a0]*(?:n°|nº|no\.)?[ \u00a0]*",
    re.IGNORECASE,
)
_BARE_CODE: Final = re.compile(
    rf"(?<![\w'’.-])(?:(?-i:L\.?O|[LRDA])[ \u00a0]?\.[ \u00a0]?\*?[ \u00a0]?\d+(?:-\d+)*{_SUFFIX}"
    rf"|(?-i:LO|[LRD])[ \u00a0]?\*?[ \u00a0]?\d+(?:-\d+)+{_SUFFIX}"
    rf"|[lrd]\*?\d+(?:-\d+)+{_SUFFIX})(?![\w-])",
    re.IGNORECASE,
)
_JOIN: Final = re.compile(
    r"[ \u00a0]*(?:,|;|\bet\b|\bou\b|\band\b|\bor\b|&)[ \u00a0]*(?:(?:de |à )?l['’]article |et )?",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(r"[ \u00a0]*(?:à|to|–|—)[ \u00a0]*", re.IGNORECASE)
_BEFORE: Final = re.compile(
    r"(?:\b(?-i:[IVX]+)(?:[ \u00a0]bis)?|\b\d+°|\b[a-z]\)|\balinéas? \d+"
    r"|\b(?:premier|deuxième|second|troisième|quatrième|dernier) alinéa"
    r"|\b(?:first|second|third) paragraph)[ \u00a0](?:de l['’]|du |des |of )$",
    re.IGNORECASE,
)

_KINDS: Final = {
    "decret": "decret",
    "decree": "decret",
    "decision": "decision",
    "arrete": "arrete",
    "order": "arrete",
    "ordonnance": "ordonnance",
    "ordinance": "ordonnance",
    "loi": "loi",
    "loi organique": "loi",
    "act": "loi",
    "law": "loi",
    "circulaire": "circulaire",
    "circular": "circulaire",
    "instruction": "instruction",
    "note": "note",
    "note de service": "note",
    "service note": "note",
    "memo": "note",
    "deliberation": "deliberation",
    "reglement": "reglement",
    "regulation": "reglement",
    "directive": "directive",
    "avenant": "avenant",
    "protocole": "protocole",
    "protocol": "protocole",
    "accord": "accord",
    "texte": "",
    "text": "",
}
_KIND_WORDS: Final = (
    r"décret|decree|décision|decision|arrêté|arrete|order|ordonnance|ordinance|loi(?: organique)?|act|law|circulaire"
    r"|circular|instruction|note(?: de service)?|service note|memo|délibération|règlement|regulation|directive|avenant"
    r"|protocole|protocol|accord|texte|text"
)
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "janvier january jan",
            "fevrier february feb",
            "mars march mar",
            "avril april apr",
            "mai may",
            "juin june jun",
            "juillet july jul",
            "aout august aug",
            "septembre september sep sept",
            "octobre october oct",
            "novembre november nov",
            "decembre december dec",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH: Final = (
    r"(?:janvier|février|fevrier|mars|avril|mai|juin|juillet|août|aout|septembre|octobre|novembre|décembre|decembre"
    r"|january|february|march|april|may|june|july|august|september|october|november|december)"
)
_DAY_MONTH_YEAR: Final = (
    rf"(?P<d1>\d{{1,2}})(?:er|st|nd|rd|th)?[ \u00a0](?:of )?(?P<m1>{_MONTH}),?[ \u00a0](?P<y1>\d{{4}})"
)
_DATE: Final = re.compile(
    rf"(?<![\w/-])(?:{_DAY_MONTH_YEAR}"
    rf"|(?P<m2>{_MONTH})[ \u00a0](?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,?[ \u00a0](?P<y2>\d{{4}})"
    r"|(?P<y3>\d{4})-(?P<n3>\d{2})-(?P<d3>\d{2})"
    r"|(?P<d4>\d{1,2})[/.](?P<n4>\d{1,2})[/.](?P<y4>\d{4})"
    rf"|(?P<m5>{_MONTH})[ \u00a0](?P<y5>\d{{4}})"
    r"|(?P<y6>(?:19|20)\d{2})(?![ \u00a0]?(?:€|euros?\b|%|jours?\b|heures?\b|agents?\b|m²|km\b|kWh\b))"
    r")(?![\w/-]|[.,]\d)",
    re.IGNORECASE,
)
_TEXT: Final = re.compile(
    rf"(?<![\w-])(?P<kind>{_KIND_WORDS})"
    r"(?:[ \u00a0](?:interne|conjointe?|générale?|(?-i:[A-Z]{2,}(?:[-/][A-Z]+)*)|\((?:UE|EU|CE)\)))*"
    r"(?:[ \u00a0](?:n[°ºo]s?|n\.[ \u00a0]?o|no\.|numéro|number)[ \u00a0]?\.?[ \u00a0]?"
    r"(?P<numbered>(?=[\w/.-]*\d)[\w]+(?:[-‑/.]\w+)*)"
    r"|[ \u00a0](?P<plain>(?:19|20)?\d{2}[-‑/]\d{1,5}(?:-\d+)?)(?![\w-])"
    rf"|[ \u00a0](?:du|of|dated)[ \u00a0]"
    rf"(?P<dated>\d{{1,2}}(?:er|st|nd|rd|th)?[ \u00a0]{_MONTH},?[ \u00a0]\d{{4}}))",
    re.IGNORECASE,
)
_SMALL_WORDS: Final = frozenset("du de la le les des d l et en par sur entre pour francais".split())
_OF_TEXT: Final = re.compile(
    r"[ \u00a0]*,?[ \u00a0]*(?:(?:de la|de l['’]|du|de|of the|of|in the|in|dans la|dans le)[ \u00a0]?)(?:même )?$",
    re.IGNORECASE,
)
_OF_CODE: Final = re.compile(
    r"[ \u00a0]*[,(–-]?[ \u00a0]*(?:(?:de la|de l['’]|du|de|dans le|au|of the|of|in the|in)[ \u00a0]*)?(?:même )?",
    re.IGNORECASE,
)
"""Between an article and its code nothing need stand: « art. L. 3141-3 C. trav. »."""
_TEXT_THEN: Final = re.compile(
    r"[ \u00a0]*(?:du \d{1,2}(?:er)? \w+ \d{4})?[ \u00a0]*[,:;(–-]?[ \u00a0]*"
    r"(?:(?:à |dans |en |in )?(?:son |sa |l['’]|its )?)$",
    re.IGNORECASE,
)
_CODE_KEY: Final = re.compile(r"(?:lo|[lrda])\d[\w.-]*")
_LAST_NUMBER: Final = re.compile(r"(?P<stem>(?:\w+:|(?:lo|[lrda]))(?:\d+[-.])*)(?P<last>\d+)")
_DATED_KEY: Final = re.compile(r"\w+:\d{4}-\d{2}-\d{2}")
_FEWEST_WORDS: Final = 3
"""Words of a title that tell it from others: « Note de service » is nobody's title alone."""
_LONGEST_TEXT_KEY: Final = 200
_RANGE_MOST: Final = 30
"""A range of articles longer than this names its two ends only: nobody asks for eighty articles one by one."""


_PLAIN: Final = {ord(space): "\u00a0" for space in "\u2007\u2009\u202f"} | {
    ord(dash): "-" for dash in "\u2010\u2011\u2012\u2212"
}
_INVISIBLE: Final = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")
_UNITS: Final = r"(?:jours?|mois|ans?|semaines?|heures?|euros?|€|%|km|agents?|fois|days?|months?|years?|hours?)\b"
_ART: Final = re.compile(r"\bart[ ]?(?=[lrda]?[ .]?[\d*]|lo[ .]?\d|premier|un\b)", re.IGNORECASE)
_SPACED_NUMBER: Final = re.compile(
    r"(?P<head>(?<!\w)(?:(?:art(?:icle)?s?\.?[ ]?)?(?:l\.?o|[lrda])[ ]?\.?[ ]?\*?[ ]?|art(?:icle)?\.?[ ]))"
    rf"(?P<number>\d{{2,4}}(?:[ ]\d{{1,3}}){{1,2}})(?![\w-])(?![ ]?{_UNITS})",
    re.IGNORECASE,
)
"""« L 311 3 », « art 311 3 »: a hyphen was left out."""
_NUMBER_WORDS: Final = {
    word: str(number)
    for number, word in enumerate("un deux trois quatre cinq six sept huit neuf dix onze douze".split(), start=1)
} | {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
_SPELLED_NUMBER: Final = re.compile(
    rf"(?P<head>\b(?:article|annexe|section|art\.?)[ \u00a0])(?P<word>{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE
)
_FIRST_ROMAN: Final = re.compile(r"\bIer\b")
_SMALL_LETTER: Final = re.compile(
    rf"(?<=\d)(?:[ ](?:{_ORDINAL}|(?!(?:du|de|et|ou|en|au|le|la|un|on|il|ne|se|ce|si|of|in|to|is)\b)[a-z]{{1,2}})\b)+"
    r"(?=[ ]?(?:[?!,(]|\.?$)|[ ](?:du[ ](?:code|c\.|cgi)|de[ ]l['’]annexe|annexe|ann|au[ ]code|code|c\.|cgi))",
)
"""« 16 a du cgi »: a letter of a number in a question that is typed in small letters."""
_LETTERS: Final = re.compile(r"\b[a-z]{1,2}\b")
_CODE_LETTERS: Final = ("l", "r", "d", "lo", "a")
_SINGLED_OUT: Final = 0.05
"""By how much the words of a question must set one homonym above the next, on the scale of a hit's score, for the
reader not to be asked which one is meant."""
_ITS_ARTICLE: Final = re.compile(r"\s*[—–-]\s*(?:article|art\.|annexe)\b.*$", re.IGNORECASE)
_ROMAN_PART: Final = re.compile(rf"(?:\d|{_ORDINAL})[ ]([IVX])(?![\w’'])")
_CODE_NUMBERED: Final = rf"(?:L\.?O|[LRDA])[ ]?\.?[ ]?\*?[ ]?\d+(?:[-.]\d+)*{_SUFFIX}"
_NUMBER_AFTER: Final = re.compile(
    rf"[ ]*[,:(–-]?[ ]*(?P<number>{_CODE_NUMBERED}(?!\w)|\d+(?:[-.]\d+)*{_SUFFIX}(?=[ ]*[?.!)]*$))", re.IGNORECASE
)
_NUMBER_BEFORE: Final = re.compile(
    rf"(?:(?<![\w.-])(?P<number>{_CODE_NUMBERED})|^(?P<plain>\d+(?:[-.]\d+)*{_SUFFIX}))(?!\w)"
    r"[ ]*[,(–-]?[ ]*(?:(?:de la|de l['’]|du|de)[ ]*)?$",
    re.IGNORECASE,
)
_HEAD_BEFORE: Final = re.compile(r"\b(?:articles?|arts?\.?)[ ]*$|[,;][ ]*$|\b(?:et|ou|à)[ ]*$", re.IGNORECASE)
_ASKING: Final = frozenset(
    "que qu est ce quoi dit dis disait prevoit prevoyait dispose disposait contient contenait enonce stipule "
    "indique precise signifie concerne parle regle quel quelle quels quelles sont etait le la les l un une des du "
    "de d au aux en dans a y il texte teneur contenu objet redaction version libelle resume resumer explique "
    "expliquer expliquez moi me nous donne donner donnez montre montrer montrez affiche afficher cherche chercher "
    "trouve trouver lire voir veux voudrais peux pouvez peut on tu vous je s te plait svp stp merci bonjour et "
    "alors article articles art annexe annexes code numero n actuel actuelle vigueur aujourd hui integral complet "
    "exactement what does do say says said is the of text show give read tell please can you i want to see about "
    "section in force current hello".split()
)
"""Words of a question that only ask: what is left tells of which text an article might be."""

_Item = tuple[str, int, int]
"""The key of one number in a run, and its span."""

# --- reading ---------------------------------------------------------------------------------------------


def references(text: str) -> list[Reference]:
    """Every legal reference in ``text``, in order; spans do not overlap, but two may share one (a range).

    A code alone ("le code du travail") is none: it says of which text an article is.
    """
    original, text = text, text.translate(_PLAIN)
    texts = list(_texts(text))
    named_codes = _codes(text)
    found: list[Reference] = []
    taken: list[tuple[int, int]] = []
    for start, end, items in _articles(text):
        if any(code.start <= start < code.end for code in named_codes):
            continue  # « annexe II au code général des impôts » is a text
        plain = all(_CODE_KEY.fullmatch(key) is None for key, _, _ in items)
        owner = _owner(text, start, end, texts, named_codes if plain else [])
        stop = max(end, owner.end) if owner else end
        first = min(start, owner.start) if owner else start
        for position, (key, item_start, item_end) in enumerate(items):
            lower = first if position == 0 else item_start
            upper = stop if position == len(items) - 1 else item_end
            full = f"{owner.key}#{key.removeprefix('article:')}" if owner and not _CODE_KEY.fullmatch(key) else key
            found.append(Reference(full, original[lower:upper], lower, upper))
        taken.append((first, stop))
    found += [
        Reference(named.key, original[named.start : named.end], named.start, named.end)
        for named in texts
        if not any(low <= named.start < high for low, high in taken)
    ]
    return sorted(found, key=lambda reference: (reference.start, reference.end, reference.key))


def mentions(text: str) -> tuple[str, ...]:
    """The keys of all references in ``text``, each once, in order; for :attr:`~rag.types.Chunk.mentions`.

    Weak keys (``article:5``) mean the text that they stand in.
    """
    return tuple(dict.fromkeys(reference.key for reference in references(text)))


def asked(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The exact keys and the weak keys of a question: the first are searched, the second lift what is found.

    An article belongs to the text that is named beside it, else to the only one that the question names. A number that
    the question gives no text for is exact where it is that of a code, or where nothing else is asked: then all
    articles with that number are found, and :func:`homonyms` tells how many texts have it.
    """
    exact: list[str] = []
    weak: list[str] = []
    typed = _typed(text)
    named_codes = _codes(typed)
    lone = _lone(typed)
    for reference in references(typed):
        owner, mark, local = reference.key.rpartition("#")
        if _CODE_KEY.fullmatch(local):
            code = _owner(typed, reference.start, reference.end, [], named_codes)
            owner = code.key if code is not None else lone if lone is not None and lone.startswith("code:") else ""
            # Of the code that is named, and no other code's article of that number; texts that name none are lifted.
            exact.append(f"{owner}#{local}" if owner else reference.key)
            weak += [local] if owner else []
        elif mark or ":" in local:
            owner = owner if mark else lone or ""
            kin = _kin(local)
            weak.extend(kin)
            if not owner:
                weak += [f"article:{key}" for key in _with_roman(local.removeprefix("article:"), typed, reference)]
            exact += [f"{owner}#{key.removeprefix('article:')}" for key in kin if owner]
            if owner.startswith("code:"):
                exact += [f"{owner}#{key}" for key in _with_roman(local.removeprefix("article:"), typed, reference)]
            if owner.startswith("code:") and re.fullmatch(r"(?:article:)?\d[\d.-]*", local):
                # « article 311-3 du CRPA »: the letter was left out.
                exact += [f"{owner}#{letter}{local.removeprefix('article:')}" for letter in _CODE_LETTERS]
    if not exact and weak and is_only_a_reference(text):
        exact, weak = weak, []
    return tuple(dict.fromkeys(exact)), tuple(dict.fromkeys(weak))


def _with_roman(number: str, text: str, reference: Reference) -> list[str]:
    """The other article that « 371 V » may be: its fifth part, or an article with that letter."""
    base = re.fullmatch(r"(.*\d)[ivx]", number)
    inside = _ROMAN_PART.search(text, reference.start, reference.end + len(" V "))
    return ([base[1]] if base else []) + ([f"{number}{_folded(inside[1])}"] if inside and not base else [])


def spans(text: str) -> tuple[tuple[int, int], ...]:
    """The characters of ``text`` that name articles, texts and codes: nobody has misspelled « crpa »."""
    return tuple((one.start, one.end) for one in (*references(text), *_codes(text)))


def is_only_a_reference(text: str) -> bool:
    """Whether a question asks for an article and tells nothing else that could say of which text it is."""
    typed = _typed(text)
    spans = [(one.start, one.end) for one in (*references(typed), *_codes(typed))]
    if not spans:
        return False
    rest = "".join(" " if any(low <= at < high for low, high in spans) else one for at, one in enumerate(typed))
    return all(
        word in _ASKING or word.isdigit() or word in {"i", "v", "x"} for word in re.findall(r"\w+", _folded(rest))
    )


def homonyms(question: str, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """The best hit of each text that has the article asked for, where the question does not say which text is meant.

    Empty where one text alone has it, where its text is named, or where the other words of the question single one
    out. ``hits`` are in their order, and what comes back too; :func:`text_title` says what distinguishes them. Ask
    which one is meant, and show them all.
    """
    exact, weak = asked(question)
    keys = {*exact, *weak}
    if not keys or any("#" in key for key in keys):
        return ()
    by_text: dict[str, Hit] = {}
    for hit in hits:
        if keys.isdisjoint(hit.chunk.own_references):
            continue
        by_text.setdefault(_text_of(hit.chunk), hit)
    found = tuple(by_text.values())
    if len(found) < 2:
        return ()
    if is_only_a_reference(question):
        return found
    return found if exact and found[0].score - found[1].score < _SINGLED_OUT else ()


def text_title(chunk: Chunk) -> str:
    """The title of the text that a chunk is of, without the article where the document is that article alone."""
    return _ITS_ARTICLE.sub("", chunk.title).strip() or chunk.title


def _text_of(chunk: Chunk) -> str:
    """What the articles of one text have in common, also where each is a document of its own."""
    code = next((key.partition("#")[0] for key in chunk.own_references if key.startswith("code:")), None)
    return code or f"{chunk.corpus}/{chunk.document}"


def _lone(text: str) -> str | None:
    """The key of the only text or code that a question names; none of several."""
    keys = {code.key for code in codes(text) if code.sure} | {named.key for named in _texts(text)}
    return next(iter(keys)) if len(keys) == 1 else None


def _typed(text: str) -> str:
    """A question as a careful writer would have typed it: « art l 311 3 » is « art L 311-3 », « article un » 1."""
    plain = _INVISIBLE.sub("", text.translate(_PLAIN)).replace("\u00a0", " ")
    plain = _ART.sub("art. ", plain)
    plain = _SPACED_NUMBER.sub(lambda match: match["head"] + match["number"].replace(" ", "-"), plain)
    plain = _SPELLED_NUMBER.sub(lambda match: f"{match['head']}{_NUMBER_WORDS[_folded(match['word'])]}", plain)
    plain = _FIRST_ROMAN.sub("1er", plain)
    plain = _SMALL_LETTER.sub(lambda match: _LETTERS.sub(lambda one: one.group().upper(), match.group()), plain)
    for code in reversed(list(codes(plain))):
        plain = _headed(plain, code.start, code.end)
    return plain


def _headed(text: str, start: int, end: int) -> str:
    """The text with « art. » before a number that stands beside the code ``[start, end)`` without it."""
    after = _NUMBER_AFTER.match(text, end)
    if after is not None:
        text = f"{text[: after.start('number')]}art. {text[after.start('number') :]}"
    before = _NUMBER_BEFORE.search(text[:start])
    if before is not None and not _HEAD_BEFORE.search(text[: before.start()]):
        text = f"{text[: before.start()]}art. {text[before.start() :]}"
    return text


def article_keys(number: str, document_title: str, kind: SectionKind = SectionKind.ARTICLE) -> tuple[str, ...]:
    """The keys that an article, annex or section of a document answers to; for ``Chunk.own_references``.

    ``number`` is what its heading numbers it with (``L. 3141-3``, ``1er``, ``Annexe 2``, ``2.1``); a number that
    says nothing gives no keys. The document's own number or date in its title makes the exact keys.
    """
    local = _local_key(number, kind)
    if local is None:
        return ()
    item = local.removeprefix("article:")
    code = next(iter(_codes(document_title)), None)
    of_code = (f"{code.key}#{item}",) if code is not None and not document_title[: code.start].strip() else ()
    if _CODE_KEY.fullmatch(local):
        return (local, *of_code)
    keys = [local, *of_code]
    # A title's first text is itself; those after it are what it changes or applies.
    itself = next(_texts(document_title), None)
    if itself is not None and not of_code:
        keys.append(f"{itself.key}#{item}")
        if not _DATED_KEY.fullmatch(itself.key):
            keys.append(f"{itself.key.partition(':')[2]}#{item}")
    return tuple(keys)


@lru_cache(maxsize=4096)
def text_key(title: str) -> str | None:
    """The key that the versions of one text share: its title without numbers and dates; ``None`` where little is left.

    ``Décision n° 2020-44 du 26 novembre 2020 relative aux congés annuels`` becomes
    ``texte:decision-relative-conges-annuels``. A code has none: its articles have keys of their own. It stands among
    the own references of a document's first chunk, and no question is ever read to ask for it.
    """
    code = next(iter(_codes(title)), None)
    if code is not None and not title[: code.start].strip():
        return None
    dates = [(period.start, period.end) for period in periods(title)]
    plain = "".join(" " if any(low <= at < high for low, high in dates) else one for at, one in enumerate(title))
    words = [
        word
        for word in re.findall(r"\w+(?:[-‑/]\w+)*", _folded(plain))
        if word not in _SMALL_WORDS and not any(map(str.isdigit, word)) and len(word) > 1
    ]
    return f"texte:{'-'.join(words)[:_LONGEST_TEXT_KEY]}" if len(words) >= _FEWEST_WORDS else None


def periods(text: str) -> list[Period]:
    """Every date, month with its year, and year in ``text``, in order; ``3/4/2024`` is the third of April."""
    found = []
    for match in _DATE.finditer(text):
        period = _period(match)
        if period is not None:
            found.append(Period(period[0], period[1], match.start(), match.end()))
    return found


def _codes(text: str) -> list[Reference]:
    """The codes that ``text`` names, by their keys: ``code:travail``, ``code:general-impots-annexe-2``."""
    return [Reference(code.key, text[code.start : code.end], code.start, code.end) for code in codes(text)]


def _texts(text: str) -> Iterator[Reference]:
    for match in _TEXT.finditer(text):
        kind = _KINDS[" ".join(_folded(match["kind"]).split())]
        number = match["numbered"] or match["plain"]
        if number:
            normal = re.sub(r"[‐‑/]", "-", _folded(number)).strip(".-")
            key = f"{kind}:{normal}" if kind else normal
        else:
            day = next(iter(periods(match["dated"])), None)
            if day is None:
                continue
            key = f"{kind}:{day.first.isoformat()}"
        yield Reference(key, match.group(), match.start(), match.end())


def _articles(text: str) -> Iterator[tuple[int, int, list[_Item]]]:
    """Runs of numbers behind one word ("articles 4 et 5"), and code articles without it: (start, end, items)."""
    position = 0
    head, bare = _HEAD.search(text), _BARE_CODE.search(text)
    while head is not None or bare is not None:
        if head is not None and (bare is None or head.start() <= bare.start()):
            items = _run(text, head)
            position = items[-1][2] if items else head.end()
        else:
            assert bare is not None
            items = [(_code_key(bare.group()), bare.start(), bare.end())]
            position = bare.end()
        if head is not None and head.start() < position:
            head = _HEAD.search(text, position)
        if bare is not None and bare.start() < position:
            bare = _BARE_CODE.search(text, position)
        if items:
            start = items[0][1]
            before = _BEFORE.search(text[max(0, start - 40) : start])
            yield (start - len(before.group()) if before else start), position, items


def _run(text: str, head: re.Match[str]) -> list[_Item]:
    """The numbers that follow a word such as "articles"; a singular word takes one, or several of a code."""
    kind = "article" if head["paragraph"] else next(name for name, value in head.groupdict().items() if value)
    plural = head.group().rstrip().rstrip(".").endswith(("s", "§§", "appendices"))
    grammar = _ANNEX_NUMBER if kind == "annexe" else _NUMBER
    number = grammar.match(text, head.end())
    items: list[_Item] = []
    start, last = head.start(), ""
    while number is not None:
        is_code = kind != "annexe" and bool(number["code"])
        key = _code_key(number.group()) if is_code else f"{kind}:{_plain_number(number.group())}"
        if plural and not is_code and items and _CODE_KEY.fullmatch(items[-1][0]) and "-" in key:
            is_code, key = True, _letters(items[-1][0]) + key.partition(":")[2]  # « articles L. 12-3 et 12-4 »
        items += [(between, start, number.end()) for between in _between(last, key)]
        items.append((key, start, number.end()))
        joined, ranged = _JOIN.match(text, number.end()), _RANGE.match(text, number.end())
        join = joined or ranged
        if join is None or not (plural or is_code):
            break
        last = key if ranged and not joined else ""
        start = join.end()
        number = grammar.match(text, start)
        if number is not None and not plural and not number["code"]:
            break  # « l'article L. 12 et 15 jours »
    return items


def _between(first: str, last: str) -> list[str]:
    """The keys inside a range of numbers, ends excluded; ``first`` is empty where there is no range."""
    low, high = _LAST_NUMBER.fullmatch(first), _LAST_NUMBER.fullmatch(last)
    if low is None or high is None or low["stem"] != high["stem"]:
        return []
    begin, end = int(low["last"]), int(high["last"])
    if not 0 < end - begin <= _RANGE_MOST:
        return []
    return [f"{low['stem']}{number}" for number in range(begin + 1, end)]


def _letters(key: str) -> str:
    """The letters before the first figure of a code's key."""
    return re.split(r"\d", key, maxsplit=1)[0]


def _owner(text: str, start: int, end: int, texts: list[Reference], named_codes: list[Reference]) -> Reference | None:
    """The text that an article at ``[start, end)`` belongs to: "article 4 de la décision X", "arrêté X, article 4"."""
    for named, after, before in (
        *((one, _OF_TEXT, _TEXT_THEN) for one in texts),
        *((one, _OF_CODE, _TEXT_THEN) for one in named_codes),
    ):
        if named.start >= end and after.fullmatch(text[end : named.start]):
            return named
        if named.end <= start and before.fullmatch(text[named.end : start]):
            return named
    return None


# --- normal forms ----------------------------------------------------------------------------------------


def _local_key(number: str, kind: SectionKind) -> str | None:
    """The key of a heading's number within its document, or ``None`` where it is no number."""
    stripped = number.strip().strip(".:-–— ")
    head = _HEAD.match(stripped)
    if head is not None:
        items = _run(stripped, head)
        return items[0][0] if items else None
    if kind is SectionKind.ANNEX:
        found = _ANNEX_NUMBER.fullmatch(stripped)
        return f"annexe:{_plain_number(stripped)}" if found else None
    found = _NUMBER.fullmatch(stripped)
    if found is None and not _HEADED.fullmatch(stripped):
        return None
    if found is not None and found["code"]:
        return _code_key(stripped)
    return f"{'section' if kind is SectionKind.DIVISION else 'article'}:{_plain_number(stripped)}"


def _kin(local: str) -> list[str]:
    """A key inside a text and those that people confuse it with: English texts number sections, others articles."""
    local = local if ":" in local else f"article:{local}"
    kind, _, number = local.partition(":")
    if kind in {"article", "section"}:
        return [f"article:{number}", f"section:{number}"]
    return [local] if kind == "annexe" else []


def _code_key(number: str) -> str:
    """``R*123-4 bis`` becomes ``r123-4bis``."""
    compact = re.sub(r"[^a-z0-9.-]", "", re.sub(r"[‐‑–]", "-", _folded(number)))
    first_digit = next(position for position, character in enumerate(compact) if character.isdigit())
    return compact[:first_digit].replace(".", "") + compact[first_digit:]


def _plain_number(number: str) -> str:
    """``1er`` and ``premier`` become ``1``, ``IV`` becomes ``4``, ``4 bis`` becomes ``4bis``."""
    plain = re.sub(r"[‐‑]", "-", _folded(number))
    if re.fullmatch(r"premiere?|1\s?(?:er|ere|re)", plain):
        return "1"
    if re.fullmatch(r"[IVX]+", number.strip()):
        return str(_roman(number.strip()))
    return re.sub(r"\s", "", plain)


def _roman(number: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in number]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def _folded(text: str) -> str:
    """Lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _period(match: re.Match[str]) -> tuple[dt.date, dt.date] | None:
    parts = {name[0]: value for name, value in match.groupdict().items() if value}
    year = int(parts["y"])
    try:
        if "d" in parts:
            month = int(parts["n"]) if "n" in parts else _MONTHS[_folded(parts["m"])]
            day = dt.date(year, month, int(parts["d"]))
            return day, day + dt.timedelta(days=1)
        if "m" in parts:
            month = _MONTHS[_folded(parts["m"])]
            return dt.date(year, month, 1), dt.date(year + month // 12, month % 12 + 1, 1)
        return dt.date(year, 1, 1), dt.date(year + 1, 1, 1)
    except (ValueError, OverflowError):
        return None
