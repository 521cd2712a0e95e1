"""The names of the French codes as people write them, in full, in part and abbreviated; pure.

Case, accents, hyphens and small words (« de la », « et ») do not matter, nor does a final s. A code is known by a key
of its own words: ``code:travail``, ``code:relations-public-administration``; the annexes of the tax code are texts of
their own (``code:general-impots-annexe-2``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """Characters ``[start, end)`` of a text name the code ``key``.

    ``sure`` is false for an abbreviation that may mean other things; it counts beside a number of an article only.
    """

    key: str
    start: int
    end: int
    sure: bool


_NAMES: Final = {
    "action sociale et des familles": "CASF, C. act. soc., C. action soc.",
    "artisanat": "C. artisanat",
    "assurances": "C. assur., C. ass.",
    "aviation civile": "C. aviation",
    "cinéma et de l'image animée": "CCIA",
    "civil": "C. civ.",
    "commande publique": "CCP, C. com. publ.",
    "commerce": "C. com.",
    "communes": "C. communes",
    "construction et de l'habitation": "CCH, C. constr.",
    "consommation": "C. consom., C. conso.",
    "défense": "C. déf., C. défense",
    "disciplinaire et pénal de la marine marchande": "CDPMM",
    "domaine de l'État": "C. dom. État",
    "domaine public fluvial et de la navigation intérieure": "CDPF",
    "douanes": "C. douanes",
    "éducation": "C. éduc.",
    "électoral": "C. élect., C. élec.",
    "énergie": "C. énergie",
    "entrée et du séjour des étrangers et du droit d'asile": "CESEDA",
    "environnement": "C. env., C. envir.",
    "expropriation pour cause d'utilité publique": "C. expr.",
    "famille et de l'aide sociale": "CFAS",
    "forestier": "C. for., C. forest.",
    "général de la fonction publique": "CGFP",
    "général de la propriété des personnes publiques": "CG3P, CGPPP",
    "général des collectivités territoriales": "CGCT",
    "général des impôts": "CGI",
    "impositions sur les biens et services": "CIBS",
    "instruments monétaires et des médailles": "CIMM",
    "juridictions financières": "CJF, C. jur. fin.",
    "justice administrative": "CJA, C. just. adm.",
    "justice militaire": "CJM, C. just. mil.",
    "justice pénale des mineurs": "CJPM",
    "Légion d'honneur": "CLH",
    "minier": "C. minier",
    "monétaire et financier": "CMF, C. mon. fin.",
    "mutualité": "C. mut.",
    "organisation judiciaire": "COJ, C. org. jud.",
    "patrimoine": "C. patr., C. patrimoine",
    "pénal": "C. pén.",
    "pénitentiaire": "C. pénit.",
    "pensions civiles et militaires de retraite": "CPCMR, PCMR, C. pens. retr., C. pens. civ. mil.",
    "pensions de retraite des marins": "CPRM",
    "pensions militaires d'invalidité et des victimes de guerre": "CPMIVG",
    "ports maritimes": "C. ports mar.",
    "postes et des communications électroniques": "CPCE",
    "procédure civile": "CPC, C. pr. civ., C. proc. civ.",
    "procédure pénale": "CPP, C. pr. pén., C. proc. pén.",
    "procédures civiles d'exécution": "CPCEx, C. pr. exéc.",
    "propriété intellectuelle": "CPI, C. prop. intell.",
    "recherche": "C. rech.",
    "relations entre le public et l'administration": "CRPA",
    "route": "C. route",
    "rural et de la pêche maritime": "CRPM, C. rur., C. rural",
    "santé publique": "CSP, C. santé publ.",
    "sécurité intérieure": "CSI, C. séc. int.",
    "sécurité sociale": "CSS, C. séc. soc.",
    "service national": "CSN, C. serv. nat.",
    "sport": "C. sport",
    "tourisme": "C. tourisme, C. tour.",
    "transports": "C. transp.",
    "travail": "C. trav.",
    "travail maritime": "CTM",
    "urbanisme": "C. urb.",
    "voirie routière": "CVR, C. voirie routière",
}
"""What follows « code de », and the abbreviations in use."""
_SHORTENED: Final = {
    "cinéma": "cinéma et de l'image animée",
    "construction": "construction et de l'habitation",
    "entrée et du séjour des étrangers": "entrée et du séjour des étrangers et du droit d'asile",
    "étrangers": "entrée et du séjour des étrangers et du droit d'asile",
    "expropriation": "expropriation pour cause d'utilité publique",
    "collectivités territoriales": "général des collectivités territoriales",
    "fonction publique": "général de la fonction publique",
    "propriété des personnes publiques": "général de la propriété des personnes publiques",
    "impôts": "général des impôts",
    "Légion d'honneur, de la Médaille militaire et de l'ordre national du Mérite": "Légion d'honneur",
    "marchés publics": "commande publique",
    "pensions civiles et militaires": "pensions civiles et militaires de retraite",
    "pensions des marins": "pensions de retraite des marins",
    "pensions de retraite des marins français": "pensions de retraite des marins",
    "pensions de retraite des marins français du commerce, de pêche ou de plaisance": "pensions de retraite des marins",
    "pensions militaires d'invalidité": "pensions militaires d'invalidité et des victimes de guerre",
    "postes": "postes et des communications électroniques",
    "relations public administration": "relations entre le public et l'administration",
    "relations du public avec l'administration": "relations entre le public et l'administration",
    "rural": "rural et de la pêche maritime",
}
"""Parts and older forms of the names, and the name of today."""
_BOOKS: Final = {"livre des procédures fiscales": ("code:procedures-fiscales", "LPF")}
"""A book that stands alone and is cited like a code."""
_TAX: Final = "code:general-impots"

_SMALL: Final = frozenset("du de la le les des d l et en par sur entre pour avec au aux ou".split())
_BETWEEN: Final = rf"[ ,'’-]+(?:(?:{'|'.join(sorted(_SMALL, key=len, reverse=True))})[ '’-]+)*"


_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_QUOTES: Final = "\u2018\u2019\u02bc\u2032"
_SPACES: Final = "\t\n\r\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u3000"
_LEVEL: Final = (
    {point: unicodedata.normalize("NFKD", chr(point).lower())[:1] for point in range(0x250) if chr(point).isalpha()}
    | dict.fromkeys(map(ord, _HYPHENS), "-")
    | dict.fromkeys(map(ord, _QUOTES), "'")
    | dict.fromkeys(map(ord, _SPACES), " ")
)


def level(text: str) -> str:
    """Lower case without accents, with plain spaces, hyphens and apostrophes; each character stays where it is."""
    return text.translate(_LEVEL)


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"\w+", level(name)) if word not in _SMALL]


def _spelled(name: str) -> str:
    """A pattern for a name in any of its spellings, on leveled text."""
    return _BETWEEN.join(f"{re.escape(word.removesuffix('s'))}s?" for word in _words(name))


def _abbreviated(short: str) -> str:
    """A pattern for an abbreviation: « C. trav. », « c trav », « code trav. »; « C.G.I. », « cgi »."""
    first, *others = level(short).replace(".", " ").split()
    if not others:
        return r"\.?".join(map(re.escape, first))
    return r"c(?:ode)?\.?[ ]?" + r"\.?[ ]?".join(map(re.escape, others))


def _key(name: str) -> str:
    return f"code:{'-'.join(_words(name))}"


def _stem(name: str) -> str:
    """What all spellings of a name have in common."""
    return " ".join(word.removesuffix("s") for word in _words(name))


def _letters(short: str) -> str:
    """What all spellings of an abbreviation have in common."""
    letters = "".join(filter(str.isalnum, level(short)))
    return "c" + letters[4:] if letters.startswith("code") else letters


def _either(patterns: Iterable[str]) -> str:
    return "|".join(sorted(patterns, key=len, reverse=True))


_ABBREVIATIONS: Final = [
    (short.strip(), _key(name)) for name, several in _NAMES.items() for short in several.split(",")
] + [(short, key) for key, short in _BOOKS.values()]
_BY_STEM: Final = (
    {_stem(name): _key(name) for name in _NAMES}
    | {_stem(short): _key(name) for short, name in _SHORTENED.items()}
    | {_stem(name): key for name, (key, _) in _BOOKS.items()}
)
_BY_LETTERS: Final = {_letters(short): key for short, key in _ABBREVIATIONS}
_SHORT: Final = _either({_abbreviated(short) for short, _ in _ABBREVIATIONS})
_OF: Final = r"(?:(?:du|de|la|le|les|des|d|l)[ ']+)*"
_ANNEX: Final = r"(?:annexe|ann\.?)[ ]?(?:n[°o][ ]?)?"
_CODE: Final = re.compile(
    rf"(?<![\w-])(?:{_ANNEX}(?P<before>[ivx]{{1,3}}|\d)[ ]*,?[ ]*(?:(?:au|du|de)[ ])?)?"
    rf"(?<![a-z-])(?:(?:codes?[ ]+|cod\.[ ]*|c\.[ ]*){_OF}(?P<name>{_either(map(_spelled, [*_NAMES, *_SHORTENED]))})"
    rf"|(?P<book>{_either(map(_spelled, _BOOKS))})|(?P<short>{_SHORT}))(?![\w'])\.?"
    rf"(?:[ ]*[,(-]?[ ]*{_ANNEX}(?P<after>[ivx]{{1,3}}|\d)\b\)?)?"
)
_BEGINS: Final = re.compile(r"(?<![\w'-])(?:c[\w.]{0,9}|l\.?p\.?f|p\.?c\.?m\.?r)")
"""What every name and abbreviation of a code begins with; the books have names of their own."""
_FIRST_WORDS: Final = frozenset({"c", "cod", "code", "codes", *_BY_LETTERS})
_SURE_LETTERS: Final = 4
"""Letters of an acronym that can be nothing else, however it is written."""


def codes(text: str) -> Iterator[Code]:
    """The codes that ``text`` names, in order; the span of the tax code holds the annex that is named with it."""
    leveled = level(text)
    # Most texts name no code, and the whole pattern is slow: it tries a hundred names.
    if "procedure" not in leveled and not any(_letters(one) in _FIRST_WORDS for one in _BEGINS.findall(leveled)):
        return
    for match in _CODE.finditer(leveled):
        named = match["name"] or match["book"]
        key = _BY_STEM[_stem(named)] if named else _BY_LETTERS[_letters(match["short"])]
        group = "name" if match["name"] else "book" if match["book"] else "short"
        start, end = match.span()
        if key == _TAX:
            annex = match["before"] or match["after"]
            key = f"{key}-annexe-{_number(annex)}" if annex else key
        elif match["before"] or match["after"]:
            # « annexe 1 du code du patrimoine » is an annex of it, and no text of its own.
            start = start if not match["before"] else _start(match, group)
            end = match.end(group) if match["after"] else end
        short = text[slice(*match.span("short"))] if match["short"] else ""
        sure = bool(named) or "." in short or len(_letters(short)) >= _SURE_LETTERS or short.isupper()
        yield Code(key, start, end, sure)


def _start(match: re.Match[str], group: str) -> int:
    """Where the code begins behind the annex that is named before it."""
    inner = re.compile(rf"(?:codes?[ ]+|cod\.[ ]*|c\.[ ]*){_OF}$").search(
        match.string, match.start(), match.start(group)
    )
    return match.start(group) if inner is None else inner.start()


def _number(annex: str) -> int:
    return (
        int(annex)
        if annex.isdigit()
        else sum({"i": 1, "v": 5, "x": 10}[letter] for letter in annex.replace("iv", "iiii"))
    )
