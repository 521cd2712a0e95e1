"""What a question is about, and what in it leans on another: people, days, pronouns, the noun that it asks of; pure.

French and English are read with the same lists (``data/follow_ups.toml``). Made for the questions of a conversation,
a line each; :mod:`rag.follow_ups` puts them together.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from rag import quantities
from rag.phrases import Phrase, listed, phrases, words
from rag.quantities import folded

_DEPENDENT: Final = 8
"""Words of a question that may have no subject of its own."""
ASKS: Final = re.compile(
    r"\b(?:combien|quels?|quelles?|qui|que|qu'|quoi|comment|ou|quand|pourquoi|lequel|laquelle|est-ce|c'est|est|sont|"
    r"faut|peut|doit|peux|dois|y a|what|how|who|when|where|why|which|is|are|can|do|does|did|could|must|"
    r"should|may|will|was|were)"
    r"(?![\w])|\w-(?:t-)?(?:ils?|elles?|on|je|nous|vous|ce)\b"
)
"""What makes a question of a text, and no mere fragment: a question word, a common verb, an inversion."""
PRONOUN: Final = re.compile(
    r"\w-(?:t-)?(?P<inverted>ils?|elles?)\b|\bqu'(?P<plain>ils?|elles?)\b|\b(?P<start>(?<!qu')(?:ils?|elles?))\b|"
    r"\b(?P<other>celui-ci|celle-ci|ceux-ci|celles-ci|ce dernier|cette derniere|ces derniers|(?<!chez )lui)\b"
)
"""A subject pronoun and where it stands: "peut-il", "est-ce qu'il", "il", "celui-ci"."""
_IMPERSONAL: Final = re.compile(
    r"(?:faut|fallait|faudra-t|y a-t|y-a-t|fait|fera-t|existe-t|s'agit|suffit|reste-t|convient|se passe-t|vaut)-il\b|"
    r"\b(?:il|que se passe-t-il) (?:y a|faut|fait|fera|suffit|s'agit|existe|reste|gele|pleut|vaut mieux|"
    r"est (?:possible|obligatoire|necessaire|interdit))|"
    r"(?:est|serait|etait)-il (?:possible|obligatoire|necessaire|interdit|permis|prevu|vrai) (?:de|d'|que|qu'|pour)|"
    r"(?:peut|doit)-il y avoir"
)
CLITIC: Final = re.compile(
    r"\b(?P<clitic>le|la|les|l'|en|y)\s?(?P<verb>\w{2,}(?:er|ir|oir|dre|tre|ire|ure|vre|indre))\b|"
    r"^qui (?P<whom>le|la|les|l')\s?\w+(?=$| (?:pour|en|a|dans|sur|avec)\b)|"
    r"\b(?:j'en|on en|s'en|m'en|n'en|j'y|on y|puis-je y|peut-on y)\b"
)
"""An object pronoun and its verb: "la demander", "en bénéficier"."""
CLAUSE: Final = re.compile(r"\b(?:cela|ca)\b(?! (?:coute|fait|dure|prend))")
"""What stands for all that was said."""
DEMONSTRATIVE: Final = re.compile(
    r"(?<!-)\b(?P<pointer>cet|cette|ces|ce|this|that|these|those)\s+(?P<noun>(?!(?:que|qui|dont|is|are|you|i|we|they|he|she|it|the|your|my)\b)[a-z-]{3,})"
)
ENGLISH_PRONOUN: Final = re.compile(r"\b(?:it|they|them)\b")
_MONTH: Final = (
    "janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre|january|february|march|"
    "april|may|june|july|august|september|october|november|december"
)
_DATE: Final = re.compile(
    rf"(?P<lead>\b(?:pour )?"
    rf"(?:en|au|a la|a|depuis|des|avant|apres|jusqu'en|jusqu'au|in|on|since|before|after|until|le|l')\s*)?"
    rf"(?:(?:\b(?:debut|fin|printemps|ete|automne|hiver|rentree|annee|courant|early|late|spring|summer|autumn)\s+)?"
    rf"(?:\b\d{{1,2}}(?:er|st|nd|rd|th)?\s+)?(?:\b(?:{_MONTH})\s+)?\b(?:19|20)\d\d\b(?![-/]\d)|"
    rf"\b\d{{1,2}}/\d{{1,2}}/(?:19|20)\d\d\b|\b(?:la )?reforme\b|"
    rf"\b(?:annee|an|mois) (?:dernier|derniere|prochain|prochaine|passee?)\b|"
    rf"\b(?:aujourd'hui|maintenant|actuellement|desormais|a present|de nos jours|now|today|nowadays|last year)\b)"
)
_NOT_A_DATE: Final = re.compile(r"(?:n[°o]|num|numero|article|decret|arrete|loi|circulaire|note|decision)\s*\S*\s*$")
_WHO_EXACTLY: Final = re.compile(
    r"(?: (?!a droit)(?:de|d'|du|des|en|a|au|aux|avec|sans|sous|depuis|qui|of|with|without|on|under|over|in|working) ?"
    r"(?:\S+ ?){1,6})?"
)
"""What may follow the people of a fragment: "contractuels de droit public", "un agent à temps partiel en 2023"."""
_PEOPLE_HEADS: Final = (
    "agents?|personnels?|employes?|employees?|salaries?|salariees?|collegues?|staff|workers?|people|member of staff"
)


_ANYBODY: Final = re.compile(_PEOPLE_HEADS)


@functools.cache
def people() -> dict[str, re.Pattern[str]]:
    """Who a question is about, by dimension: their status, their working time, their category."""
    french = "|".join(sorted(str(words()["people"]["status"]["fr"]).split(), key=len, reverse=True))
    english = "|".join(sorted(str(words()["people"]["status"]["en"]).split(), key=len, reverse=True))
    lead = (
        r"(?P<prep>\b(?:pour|chez|par|for)\s+)?(?P<det>\b(?:les|des|un|une|le|la|l'|aux|au|d'un|d'une|du|the|an|a)\s*)?"
    )
    return {
        "status": re.compile(
            rf"{lead}(?P<noun>\b(?:(?:{_PEOPLE_HEADS})\s+(?:en\s+)?)?(?:permanent (?:staff|employees?)|"
            rf"(?:{french})(?:le|ne|e)?s?|(?:{english})s?)\b|"
            rf"\b(?:{_PEOPLE_HEADS})\b(?!\s+(?:comptable|de|du|d'|en)\b))"
        ),
        "time": re.compile(
            r"(?P<prep>\b(?:a|en|for|pour)\s+)?(?P<det>\b(?:un|a|the)\s+)?"
            r"(?P<noun>\b(?:(?:temps|tps) (?:partiel|plein|complet|non complet)|mi-temps|(?:full|part)[- ]time"
            r"(?: (?:staff|employees?|workers?))?|part-timers?|full-timers?|\d\d ?%))"
        ),
        "category": re.compile(
            rf"{lead}(?P<noun>\b(?:(?:{_PEOPLE_HEADS})\s+)?(?:(?:de|of) )?(?:la )?"
            rf"(?:categorie|category|cat\.?) [abc]\b)"
        ),
    }


def only_people(plain: str) -> tuple[str, re.Match[str]] | None:
    """The people whom a fragment names when it names nothing else."""
    said = re.sub(
        r"^(?:je suis|nous sommes|(?:quand|si|lorsqu'?) ?(?:on|je|l'on|nous) (?:est|suis|sommes)|"
        r"s'il s'agit d'|i am|i'm|if i am|if you are)\s+",
        "",
        plain,
    )
    offset = len(plain) - len(said)
    for dimension, pattern in people().items():
        match = pattern.search(plain, offset)
        if match and match.start() <= offset + 3 and _WHO_EXACTLY.fullmatch(plain[match.end() :]):
            return dimension, match
    return None


def date(plain: str) -> re.Match[str] | None:
    """The first day, month or year that a folded text names, with its preposition; numbers of texts are none."""
    return next((one for one in _DATE.finditer(plain) if not _NOT_A_DATE.search(plain[: one.start()])), None)


def points_back(own: str) -> bool:
    """Whether a question has a pronoun or a "this" whose noun it does not hold."""
    plain = folded(own)
    told = (one for one in PRONOUN.finditer(plain) if not is_impersonal(plain, one) and not _is_the_house(own, one))
    if any(told) and not _own_subject(own):
        return True
    short = len(plain.split()) <= _DEPENDENT
    clitic = CLITIC.search(plain)
    if short and clitic and not _has_subject(own, allow=clitic):
        return True
    clause = CLAUSE.search(plain)
    if short and clause and not phrases(own[: clause.start()]):
        return True
    english = ENGLISH_PRONOUN.search(plain)
    impersonal = re.search(r"\bis it (?:possible|mandatory|allowed|true)\b", plain)
    if short and english and not impersonal and not _is_the_house(own, english):
        return True
    pointed = DEMONSTRATIVE.search(plain)
    return (
        pointed is not None and pointed["noun"] not in listed("units") | listed("at_hand") and len(plain.split()) <= 12
    )


def _is_the_house(own: str, pronoun: re.Match[str]) -> bool:
    """Whether "they" are those who decide and not what was asked about: they do something to something named."""
    if not re.search(r"(?:^|[ '])(?:ils|they)$", pronoun[0]):
        return False
    return any(
        one.start >= pronoun.end() and not one.preposition and one.determiner and not is_light(one)
        for one in phrases(own)
    )


def is_impersonal(plain: str, pronoun: re.Match[str]) -> bool:
    """Whether a pronoun stands for nothing: "faut-il", "y a-t-il"."""
    return any(one.start() < pronoun.end() and pronoun.start() < one.end() for one in _IMPERSONAL.finditer(plain))


def _own_subject(own: str) -> bool:
    """Whether a noun stands before the pronoun: "le congé peut-il…" has its subject."""
    pronoun = PRONOUN.search(folded(own))
    return pronoun is not None and any(
        (not one.preposition or one.of) and (len(one.words) > 1 or not is_light(one))
        for one in phrases(own[: own.rfind(" ", 0, pronoun.start() + 1) + 1])
    )


def depends(own: str) -> bool:
    """Whether a question names nothing but measures and steps: "quelles conditions ?", "qui décide ?"."""
    return len(own.split()) <= _DEPENDENT and bool(ASKS.search(folded(own))) and not _has_subject(own)


def _has_subject(own: str, allow: re.Match[str] | None = None) -> bool:
    """Whether a question holds a noun or a verb that says what it is about."""
    for phrase in phrases(own):
        if allow is not None and phrase.start >= allow.start() and phrase.end <= allow.end():
            continue
        known = listed("measures") | listed("units") | listed("light_verbs")
        if any(word not in known for word in phrase.words) and not is_date(own, phrase):
            return True
    nouns = {word for phrase in phrases(own) for word in phrase.words}
    verbs = set(re.findall(r"\b[a-z]{4,}(?:er|ir|oir|dre|tre|ire)\b", folded(own)))
    return bool(verbs - nouns - listed("light_verbs") - ({allow["verb"]} if allow else set()))


def topic(before: str, pronoun: str = "") -> str | None:
    """The noun phrase that a question is about, with a determiner; of the pronoun's gender where both show one.

    A measure is passed over for what it measures: of "the ceiling of meal expenses", the expenses.
    """
    found = [
        old for old in phrases(before) if not is_light(old) and not is_date(before, old) and not is_people(before, old)
    ]
    for old in found:
        if is_circumstance(old):
            continue
        if old.of and old.definite is None and not is_light(ruler(before, old)):
            continue
        if _agrees(old, pronoun):
            return definite(before, old, whole=True)
    return None


def whom(before: str) -> str:
    """The status and working time that a question is about, as it names them; empty where it names none."""
    plain = folded(before)
    found = [one for pattern in people().values() for one in pattern.finditer(plain)]
    told = [one for one in found if not _ANYBODY.fullmatch(one["noun"])]
    return " ".join(before[one.start("det") if one["det"] else one.start() : one.end()].strip() for one in told)


def is_determined(topic: str) -> bool:
    """Whether a noun phrase has a determiner, without which a French sentence limps."""
    return re.match(r"(?:le|la|les|l'|un|une|mon|ma|mes|notre|nos|votre|vos) ?", folded(topic)) is not None


def definite(before: str, old: Phrase, *, whole: bool) -> str:
    """A phrase without its preposition, in lower case but for names, up to the end of its complements."""
    end = whole_end(before, old) if whole else old.end
    noun = before[old.at : end]
    determiner = old.determiner
    if not determiner:
        return noun
    return f"{determiner}{'' if determiner.endswith(chr(39)) else ' '}{noun}"


def whole_end(before: str, old: Phrase) -> int:
    """Where a phrase ends with its complements: "indemnité de télétravail"."""
    end = old.end
    for phrase in phrases(before):
        linked = phrase.of or (phrase.preposition in {"a", "au", "aux"} and phrase.determiner)
        if phrase.start > old.start and linked and before[end : phrase.start].strip() == "":
            if is_date(before, phrase):
                break
            end = phrase.end
    return max([end, *(one.end for one in quantities.read(before) if one.start < end)])


def is_complemented(before: str, old: Phrase) -> bool:
    """Whether a phrase has a complement."""
    return whole_end(before, old) > old.end


def ruler(before: str, old: Phrase) -> Phrase:
    """The phrase that ``old`` completes; itself where it completes none."""
    earlier = [one for one in phrases(before) if one.end <= old.start]
    return earlier[-1] if old.of and earlier else old


def is_light(phrase: Phrase) -> bool:
    """Whether a phrase is of a measure or a unit, which say nothing of a subject."""
    return phrase.head in listed("measures") or phrase.head in listed("units") or phrase.head == "temps"


def is_circumstance(phrase: Phrase) -> bool:
    """Whether a phrase says when, where or how, rather than what."""
    return phrase.preposition in {
        "depuis", "dans", "en", "chez", "avant", "apres", "pendant", "par", "per", "in", "at", "during", "before",
        "after", "since", "from", "sans", "with", "without", "avec", "a", "to", "by", "entre", "vers", "sous",
    }  # fmt: skip


def is_date(text: str, phrase: Phrase) -> bool:
    """Whether a phrase of ``text`` is a date."""
    return date(folded(text[phrase.start : phrase.end])) is not None


def is_people(text: str, phrase: Phrase) -> bool:
    """Whether a phrase names those whom a question is about."""
    plain = folded(text[phrase.start : phrase.end])
    match = next((found for one in people().values() if (found := one.search(plain))), None)
    return match is not None and not plain[match.end() :].strip() and match.start() <= 2 and not phrase.of


def _agrees(phrase: Phrase, pronoun: str) -> bool:
    if not pronoun or phrase.determiner in {"", "l'", "a", "an", "the", "notre", "votre", "leur", "chaque"}:
        return True
    plural = phrase.determiner in {"les", "des", "ces", "mes", "ses", "nos", "vos", "leurs"}
    if plural or pronoun.endswith("s") or pronoun in {"ceux-ci", "ces derniers"}:
        return plural == (pronoun.endswith("s") or pronoun in {"ceux-ci", "ces derniers"})
    feminine = phrase.determiner in {"la", "une", "cette", "ma", "sa"}
    return feminine == (pronoun in {"elle", "celle-ci", "cette derniere"})
