"""What a question asks for: its words, what else each may be called, how much each tells, and the kind of answer.

Pure once the word lists are read; French and English.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final

from rag import spelling
from rag.glossary import Glossary, general
from rag.lexical import terms
from rag.quantities import folded

Stems = tuple[str, ...]
"""A word or phrase as :func:`rag.lexical.terms` gives it."""

SAME, NEAR, KIN, ALIKE = 0.9, 0.8, 0.65, 0.7
"""What another name is worth beside the word itself (1): an interchangeable one of a glossary, a near one, a word that
a faithful writer may put for it, and the word in another shape (``rembourser``, ``remboursement``)."""
_LEAST: Final = 0.35
"""How much of its weight a word keeps that says little by itself, or that answers often put otherwise."""


class Kind(StrEnum):
    """What a question asks for; the order is that in which they are looked for."""

    HOW_LONG = "how_long"
    WHEN = "when"
    HOW_MANY = "how_many"
    WHO = "who"
    WHERE = "where"
    WHY = "why"
    HOW = "how"
    WHICH = "which"
    WHAT = "what"
    YES_NO = "yes_no"


_WORD: Final = re.compile(r"[^\W\d_]+|\d(?:[\d.,/-]*\d)?")
_INFINITIVE: Final = re.compile(r"(?:er|ir|re|oir)$")
_OPENING: Final = re.compile(r"[.!?:»«\n\"]\s*$")
_LINK: Final = r"(?:est |sont |etait |etaient |fut |furent )?(?:le |la |les |l')?"
_FOCUS: Final = re.compile(
    r"\b(?:quel(?:le)?s?|which|what)\s+(?:(?:est|sont|etait|etaient|fut|furent|is|was|are)\s+)?"
    r"(?:(?:le|la|les|the)\s+|l')?(\w+)"
)
_KINDS: Final[Mapping[Kind, re.Pattern[str]]] = {
    kind: re.compile(pattern)
    for kind, pattern in {
        Kind.HOW_LONG: (
            r"\bcombien de (?:temps|jours?|mois|semaines?|annees?|ans|heures?|minutes?)|\bduree\b|\bdelais?\b|"
            r"\bhow (?:long|soon|often)|\bdeadline|\bhow many (?:days|weeks|months|years|hours)|\btous les combien|"
            r"\ba quelle frequence|\bperiodicite|\bquel age\b|\bau bout de (?:combien|quand)"
        ),
        Kind.WHEN: (
            r"\bquand\b|\bquelle (?:date|annee|epoque|periode|heure|saison)|"
            r"\bquel(?:le)?s? (?:jours?|mois|siecles?|annees?|dates?|horaires?)|\bwhen\b|\bwhat (?:date|year|time)|"
            r"\ba partir de quel|\bjusqu'a quel|\bavant quel|\ben quelle|\bdate\b|\bhoraires?\b|\bwhich year"
        ),
        Kind.HOW_MANY: (
            rf"\bcombien\b|\bquel(?:le)?s? {_LINK}(?:montants?|taux|nombres?|pourcentages?|seuils?|plafonds?|tarifs?|"
            r"prix|superficies?|populations?|distances?|hauteurs?|longueurs?|largeurs?|altitudes?|temperatures?|"
            r"tailles?|poids|couts?|sommes?|proportions?|parts?|scores?|vitesses?|profondeurs?|ages?|budgets?|"
            r"chiffres?|valeurs?|capacites?|effectifs?|frequences?|tonnages?)\b|"
            r"\bhow (?:many|much|far|large|big|high|fast|old)\b|"
            r"\bwhat (?:is the )?(?:amount|rate|percentage|number|price|cost|limit|maximum|minimum)|"
            r"\b(?:max|maxi|maximum|minimum|montant|tarif|prix|plafond|forfait|taux|valeur)\b"
        ),
        Kind.WHO: (
            r"\bqui\b(?! (?:est|sont) (?:possible|permis|fait|a permis))|\bwho(?:m|se)?\b|"
            rf"\bquel(?:le)?s? {_LINK}(?:nom|service|responsable|auteur|personne|personnage|roi|reine|empereur|"
            r"president|ministre|homme|femme|artiste|peintre|ecrivain|acteur|actrice|realisateur|joueur|general|chef|"
            r"equipe|groupe|organisme|entreprise|societe|compagnie|institution|direction|pape|philosophe|savant|"
            r"scientifique|chanteur|chercheur|historien|professeur|journal)|\bcomment (?:s'appel|se nomm|se prenomm)"
        ),
        Kind.WHERE: (
            r"\bou\b(?! (?:non|pas|pour|de|par|bien|un|une|le|la|en)\b)|"
            rf"\bquel(?:le)?s? {_LINK}(?:ville|pays|lieu|region|endroit|continent|etat|departement|commune|capitale|"
            r"ile|quartier|province|village|adresse|fleuve|riviere|port|universite|ecole|musee|site|bureau)s?\b|"
            r"\bwhere\b|\bd'ou\b"
        ),
        Kind.WHY: (
            rf"\bpourquoi\b|\bwhy\b|\bquel(?:le)?s? {_LINK}(?:raisons?|causes?|motifs?|buts?|objectifs?|"
            r"consequences?|finalites?|origines?)|\ba cause de quoi|\bdans quel but|\bgrace a quoi"
        ),
        Kind.HOW: (
            r"\bcomment\b|\bhow\b|\bde quelle (?:maniere|facon)|\bpar quel(?:le)? (?:moyen|methode|procede)|"
            r"\bque faire\b|\ba l'aide de quoi"
        ),
        Kind.WHICH: r"\bquel(?:le)?s?\b|\blequel|\blaquelle|\bwhich\b",
        Kind.WHAT: r"\bque\b|\bqu'|\bquoi\b|\bwhat\b",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the question. ``singles`` and ``phrases`` are its other names with what they are worth, best first.

    ``rarity`` is 0 for a word of every day and 5 for one that no list of common words has; ``noun`` marks what follows
    a determiner or is written as a name; ``weak`` one that says little by itself; ``filler`` one that questions are
    made of, and numbers, which are no subject.
    """

    stems: Stems
    singles: tuple[tuple[float, frozenset[str]], ...]
    phrases: tuple[tuple[float, Stems], ...]
    rarity: float
    noun: bool
    name: bool
    weak: bool
    filler: bool
    number: bool

    @property
    def telling(self) -> float:
        """How much it tells that a text lacks the word: most for rare nouns."""
        return (0.4 + self.rarity) * (1.0 if self.noun else 0.6) * (0.3 if self.weak else 1.0)

    @property
    def share(self) -> float:
        """What weights by counting are multiplied with."""
        return _LEAST if self.weak else 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is read. ``focus`` are the stems of the noun after *quel*: what the answer is an instance of."""

    terms: tuple[Term, ...]
    kind: Kind
    focus: Stems

    @property
    def content(self) -> tuple[Term, ...]:
        """The terms that tell what it is about."""
        return tuple(term for term in self.terms if not term.filler)


@functools.lru_cache(maxsize=256)
def asked(question: str, language: str, glossary: Glossary | None = None) -> Asked:
    """The question, read with ``glossary`` (the general one where there is none)."""
    language = "en" if language == "en" else "fr"
    others = (general() if glossary is None else glossary).alternatives(question, language)
    found: dict[Stems, Term] = {}
    before = ""
    for match in _WORD.finditer(question):
        word, plain = match[0], folded(match[0])
        stems = tuple(terms(word, language))
        if stems and stems not in found and (len(plain) > 1 or word.isdigit()):
            names = [
                (SAME if other.evidence else NEAR, tuple(terms(other.phrase, language)))
                for other in others
                if other.start <= match.start() and match.end() <= other.end
            ]
            found[stems] = _term(question, match, before, stems, names, language)
        before = plain
    plain_question = folded(question)
    focus = _FOCUS.search(plain_question)
    return Asked(
        tuple(found.values()), kind(plain_question), tuple(terms(focus[1], language)) if focus is not None else ()
    )


def kind(plain: str) -> Kind:
    """What a folded question asks for."""
    return next((one for one, pattern in _KINDS.items() if pattern.search(plain)), Kind.YES_NO)


def _term(
    question: str, match: re.Match[str], before: str, stems: Stems, names: list[tuple[float, Stems]], language: str
) -> Term:
    word, plain = match[0], folded(match[0])
    number = word[0].isdigit()
    opens = match.start() == 0 or _OPENING.search(question[: match.start()]) is not None
    name = (word[0].isupper() and not opens) or (len(word) > 1 and word.isupper())
    light = plain in _listed("_light", language)
    names += [(KIN, other) for other in _kin(language).get(stems, ())]
    singles: dict[float, set[str]] = {}
    for worth, other in names:
        if len(other) == 1:
            singles.setdefault(worth, set()).add(other[0])
    return Term(
        stems=stems,
        singles=tuple((worth, frozenset(singles[worth])) for worth in sorted(singles, reverse=True)),
        phrases=tuple(dict.fromkeys((worth, other) for worth, other in names if len(other) > 1)),
        rarity=2.0 if number else rarity(word, language),
        noun=name or (before in _listed("_before", language) and _INFINITIVE.search(plain) is None),
        name=name,
        weak=light or stems[0] in _listed("_weak", language),
        filler=number or plain in _listed("", language),
        number=number,
    )


@functools.lru_cache(maxsize=1 << 14)
def rarity(word: str, language: str) -> float:
    """How rare the word is in everyday language, in ``[0, 5]``: each unit is ten times rarer."""
    share = spelling.share(word, language)
    return min(5.0, max(0.0, -math.log10(share) - 3.0)) if share > 0 else 5.0


@functools.cache
def _listed(name: str, language: str) -> frozenset[str]:
    """The words that questions are made of (``""``), those that say little (``_light``), weak stems (``_weak``), and
    what stands before a noun (``_before``)."""
    lists = tomllib.loads((resources.files("rag") / "data" / "asking.toml").read_text(encoding="utf-8"))
    return frozenset(folded(word) for word in str(lists[language + name]).split())


@functools.cache
def _kin(language: str) -> Mapping[Stems, tuple[Stems, ...]]:
    """The phrases that may stand for a single word, by the lines of the thesaurus; they are not chained."""
    said = tomllib.loads((resources.files("rag") / "data" / "thesaurus.toml").read_text(encoding="utf-8"))
    found: dict[Stems, dict[Stems, None]] = {}
    for line in said[language]["kin"]:
        phrases = list(_stemmed(line.split("|"), language))
        for one in phrases:
            if len(one) == 1:
                found.setdefault(one, {}).update((other, None) for other in phrases if other != one)
    return {one: tuple(others) for one, others in found.items()}


def _stemmed(phrases: Iterable[str], language: str) -> Iterable[Stems]:
    return (stems for phrase in phrases if (stems := tuple(terms(phrase, language))))
