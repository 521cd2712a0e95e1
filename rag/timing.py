"""The day that a question asks about, read in its words; pure.

Most dates in a question are its own matter (« les congés de 2025 », « la loi de 2019 », « ma facture du 3 mars »)
and say nothing of which version of the rules is wanted. So a date moves the answer to another day only where the
words make it the day of the rule itself:

* it stands with words that say so: « en vigueur au… », « applicable le… », « version de… », "as of…";
* or the clause that asks is in the past (« combien pouvait-on… en 2022 »), or in the future for a day to come;
* or the date alone opens the question, or is all of it: « En 2022, combien… ? », « et en 2022 ? »;
* or it closes a question about a rule that tells nobody's story: « Quel est le taux en 2022 ? ».

The tense is read in the asking clause only: « J'étais en congé en 2023, combien me reste-t-il ? » asks about today.
A question with two different days compares, and has none. « Depuis 2023 » and « à partir de 2024 » mean what still
holds, so they are today where they lie in the past.

The day of a whole period is the last of it that is not in the future: « en 2023 » is 31 December 2023, and « en
2026 », asked within 2026, is today. Of a period to come it is the first day. A rule may have changed within the
period: ``first`` and ``last`` let :mod:`rag.versions` say so.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Final

from rag.references import Period


class DayKind(StrEnum):
    """What the words of a question give: a day, or the time before a change that only the texts can date."""

    DAY = "day"
    BEFORE_CHANGE = "before_change"


@dataclass(frozen=True, slots=True)
class AskedDay:
    """Characters ``[start, end)`` of the question say which day the rules are asked for.

    ``day`` is that day, and ``period`` the days that the words name; both are ``None`` exactly for ``before_change``,
    which :func:`rag.versions.day_before_change` resolves once the texts are found.
    """

    kind: DayKind
    start: int
    end: int
    day: dt.date | None = None
    period: Period | None = None


_DAY: Final = dt.timedelta(days=1)
_NEAR: Final = 60
"""Characters before a date or a verb in which the words that govern it stand."""
_MOST: Final = 12
"""Dates that are looked at: what holds more of them is no question about one day."""
EARLIEST: Final = 1945
"""No older year is taken for the day of a rule: questions that name one are about history."""

# --- periods --------------------------------------------------------------------------------------------
# All patterns are matched on text in lower case without accents, character for character as long as the question.

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "janvier january",
            "fevrier february",
            "mars march",
            "avril april",
            "mai may",
            "juin june",
            "juillet july",
            "aout august",
            "septembre september",
            "octobre october",
            "novembre november",
            "decembre december",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH: Final = "|".join(_MONTHS)
_YEAR: Final = (
    r"(?:19|20)\d{2}(?![\w/-]|[.,]\d|[ ]?(?:€|%|\$)|[ ](?:euros?|jours?|heures?|agents?|km|kwh|days?|hours?)\b)"
)
_COUNTS: Final = {
    word: number
    for number, words in enumerate(
        (
            "un une one a an",
            "deux two",
            "trois three",
            "quatre four",
            "cinq five",
            "six",
            "sept seven",
            "huit eight",
            "neuf nine",
            "dix ten",
        ),
        start=1,
    )
    for word in words.split()
}
_COUNT: Final = rf"(?:\d{{1,2}}|{'|'.join(sorted(_COUNTS, key=len, reverse=True))})"
_SEASONS: Final = {
    "printemps": (3, 6),
    "spring": (3, 6),
    "ete": (6, 9),
    "summer": (6, 9),
    "rentree": (9, 10),
    "automne": (9, 12),
    "autumn": (9, 12),
    "fall": (9, 12),
}
"""The months of a season, half-open; a winter belongs to two years and is not read."""
_PARTS: Final = {
    "debut": (1, 4),
    "early": (1, 4),
    "mi": (4, 7),
    "mid": (4, 7),
    "fin": (10, 13),
    "late": (10, 13),
    "beginning": (1, 4),
    "end": (10, 13),
}
"""What « début », « mi- » and « fin » of a year mean in months: its first quarter, the months up to its middle, and
its last quarter."""
_NTH: Final = {
    "premier": 1,
    "first": 1,
    "deuxieme": 2,
    "second": 2,
    "troisieme": 3,
    "third": 3,
    "quatrieme": 4,
    "fourth": 4,
}

_PERIOD: Final = re.compile(
    r"(?<![\w/.-])(?:"
    rf"(?P<day>\d{{1,2}})(?:er|st|nd|rd|th)?[ ](?:of[ ])?(?P<day_month>{_MONTH}),?[ ](?P<day_year>{_YEAR})"
    rf"|(?P<us_month>{_MONTH})[ ](?P<us_day>\d{{1,2}})(?:st|nd|rd|th)?,?[ ](?P<us_year>{_YEAR})"
    r"|(?P<iso>\d{4}-\d{2}-\d{2})(?![\w-])"
    r"|(?P<slashed>\d{1,2}[/.]\d{1,2}[/.]\d{4})(?![\w/])"
    rf"|(?:(?:mois|month)[ ](?:de[ ]|d'|of[ ]))?(?P<month>{_MONTH})[ ](?P<month_year>{_YEAR})"
    r"|(?:(?:la|the)[ ])?(?P<part>debut|fin|mi|early|mid|late|end|beginning)[ -](?:(?:de|of)[ ])?"
    rf"(?:l'annee[ ]|d'annee[ ])?(?P<part_year>{_YEAR})"
    rf"|(?P<season>{'|'.join(_SEASONS)})[ ](?:de[ ]|of[ ])?(?P<season_year>{_YEAR})"
    rf"|(?P<nth>[1-4](?:er|e|eme|st|nd|rd|th)?|{'|'.join(_NTH)})[ ](?P<split>trimestre|semestre|quarter|half)[ ]"
    rf"(?:de[ ]|of[ ])?(?P<split_year>{_YEAR})"
    rf"|(?:(?:l'annee|annee|the[ ]year)[ ])?(?P<year>{_YEAR})"
    r"|(?P<last>l'(?:an|annee)[ ](?:dernier|derniere|passee?|precedente?|d'avant)|last[ ]year)\b"
    r"|(?P<next>l'(?:an|annee)[ ](?:prochaine?|qui[ ]vient)|next[ ]year)\b"
    r"|(?P<last_month>(?:le[ ])?mois[ ](?:dernier|passe|precedent)|last[ ]month)\b"
    r"|(?P<next_month>(?:le[ ])?mois[ ]prochain|next[ ]month)\b"
    rf"|(?P<named_last>(?P<named>{_MONTH})[ ](?:dernier|passe)|last[ ](?P<named_en>{_MONTH}))\b"
    rf"|(?P<ago>(?:il[ ])?y[ ]a[ ](?:environ[ ])?(?P<ago_count>{_COUNT})[ ]"
    r"(?P<ago_unit>ans?|annees?|mois|semaines?|jours?))\b"
    rf"|(?P<ago_en>(?P<ago_en_count>{_COUNT})[ ](?P<ago_en_unit>years?|months?|weeks?|days?)[ ]ago)\b"
    rf"|(?P<ahead>dans[ ](?P<ahead_count>{_COUNT})[ ](?P<ahead_unit>ans?|mois))\b"
    r")"
)

_NOW: Final = re.compile(
    r"(?<![\w'])(?:actuellement|aujourd'hui|a ce jour|a l'heure actuelle|en ce moment|de nos jours|currently|today"
    r"|nowadays|right now|at present)\b"
)

# --- what stands before a period ------------------------------------------------------------------------

_IN: Final = re.compile(
    r"\b(?:(?:en|in|back in|during|durant|pendant|courant|au cours de|au mois de|a la|a|au|vers|au tout)[ ]"
    r"|a l'|au mois d')$"
)
_ON: Final = re.compile(r"\b(?:le|on)[ ]$")
_AS_OF: Final = re.compile(
    r"\b(?:as (?:of|at)|a la date d[ue]|en date du|tel(?:le)?s? qu'(?:en|au)|dans (?:sa|leur) version d[ue])[ ]$"
)
_OF_RULE: Final = re.compile(
    r"\b(?:en vigueur|applicables?|s'appliqu\w+|in force|in effect|effective|valid|versions?|redactions?)"
    r"(?:[ ](?:au|a|en|le|du|de|d'|on|in|as of|as at|of|from|a la date du|au cours de|a partir du|a compter du))?[ ]$"
)
_COMES: Final = re.compile(r"\b(?:entr\w+ en vigueur|(?:came|comes?|entered|enters?) into force)\b[^,;]*$")
"""« Le texte entré en vigueur en 2024 » names a text that may hold still; one that comes is not found before."""
_OF_RULES: Final = re.compile(
    r"\b(?:regles?|reglementation|baremes?|plafonds?|taux|tarifs?|regime|rules|scale|rates?)[ ]"
    r"(?:(?!est\b|sont\b)\w{3,}[ ])?"
    r"(?:de[ ]|d'|en[ ]|in[ ]|of[ ])?$"
)
_BEFORE: Final = re.compile(r"\b(?:avant|before|prior to|jusqu'en|jusqu'au|until)[ ](?:le[ ]|la[ ]|l')?$")
_FROM: Final = re.compile(
    r"\b(?:a partir|a compter|starting|as from|from|des|effective)[ ]?(?:du|de|d'|le|on|from)?[ ]?(?:le[ ]|la[ ])?$"
)
_SINCE: Final = re.compile(r"\b(?:depuis|since)[ ](?:le[ ]|la[ ]|l')?$")
_OF_SOMETHING: Final = re.compile(
    r"\b(?:de|du|des|d'|of|pour|for|par|by|sur|depuis|since|avant|before|apres|after|jusqu'a|cette|la|le"
    r"|mon|ma|mes|my)[ ]?$"
)
_TAIL: Final = re.compile(
    r"[ ]*(?:(?:pour|chez|for)[ ](?!que\b|the[ ]year)[^?.!,;:()]{2,60})?(?:\(.*\))?[ ]*(?:\?[^?.!,;:]{0,30})?[ ?.!]*"
)
"""What may follow a period that ends a question: for whom, the choice that a reader was given, and "since when ?"."""
_BARE: Final = re.compile(r"(?:^|[,;:.?!(][ ]*|\b(?:et|alors|and|mais|ok|donc)[ ])$")

# --- the clauses ----------------------------------------------------------------------------------------

_END_OF_CLAUSE: Final = re.compile(r"[,;:?!()\n]|\.(?!\d)")
_INVERTED: Final = r"\w+-(?:t-)?(?:on|ils?|elles?|je|nous|vous|tu|ce)\b"
_ASKS: Final = re.compile(
    rf"\b(?:combien|quel(?:le)?s?|quoi|comment|quand|pourquoi|est-ce|(?:la|le|les|au|du)quel\w*|{_INVERTED}"
    r"|how|what|which|who|when|where|why|whose)\b|^[ ]*(?:(?:a|de|par|pour|avec|sur|et)[ ])?(?:qui|que|qu'|ou)\b"
    r"|^[ ]*(?:do|does|did|is|are|was|were|can|could|may|must|should|will|had|has|have)\b"
)
_IS_WHETHER: Final = re.compile(r"\best-ce (?:que|qu')")
_SUBORDINATE: Final = re.compile(
    r"(?:\b(?:si|lorsque?|puisque?|comme|car|alors que|parce que?|quand(?! \w+-)|if|while|because)\b"
    r"|\b(?:s'(?=ils?\b)|lorsqu'|puisqu'|parce qu')|(?<=\w )(?:qui|que|dont|who|that)\b"
    r"|(?<=\w )qu'(?=(?:il|elle|on|un|ils)\b))(?:[ ]?[\w'-]+){0,7}?[ ]?$"
)
"""What makes the verb behind it one of a clause that does not ask."""
_CONDITIONAL: Final = re.compile(r"\b(?:si|if|s'(?=ils?\b))(?:[ ]?[\w'-]+){0,7}?[ ]?$")

_PAST_WORD: Final = re.compile(r"\b[a-z]+?(?:ait|aient|ais)(?P<inverted>-\w+)*\b")
_NOT_PAST: Final = frozenset(
    "fait parfait imparfait retrait lait trait portrait extrait attrait abstrait distrait souhait bienfait forfait "
    "plait connait parait sait satisfait refait mais jamais desormais francais anglais frais delais relais palais vais "
    "sais fais mauvais biais essais rabais connais polonais portugais japonais irlandais ecossais hollandais marais "
    "aient soient paient essaient effraient balaient soustrait surfait dais wait await bait gait".split()
)
"""Words that end like an imperfect and are none."""
_PAST_PLURAL: Final = re.compile(r"\b(?:av|et|pouv|dev|voul)(?:ions|iez)\b")
_R_PAST: Final = re.compile(
    r"\b(?:dur|demeur|entr|rentr|figur|assur|offr|ouvr|couvr|oper|remuner|consider|montr|rest|procur|prefer|differ"
    r"|entour|enregistr|integr|declar|prepar|recouvr|couvr|tir|gar|repar|retir)(?:ait|aient|ais)"
)
_PAST_EN: Final = re.compile(
    r"\b(?:was|were|did(?! not\b|n't)|had|could|applied|used to|said|cost|paid|needed|got|gave)\b"
)
_FUTURE: Final = re.compile(r"\b[a-z]{2,}(?:ra|ront|rai|rons|rez)(?:-\w+)*\b")
_FUTURE_EN: Final = re.compile(r"\b(?:will|shall|going to)\b")
_WHEN: Final = re.compile(
    r"\b(?:quand|(?:en|a) quelle (?:annee|date)|quelle date|depuis quand|when|in which year)\b|\bqui (?:a|ont) \w+"
    r"|\bwho (?:won|has|have)\b"
)
"""Questions for a day, or for who did something: the date in them is part of what is told."""
_COMPARES: Final = re.compile(
    r"\b(?:entre|between)\b(?=[^?.;]*\d{4}[^?.;]*\b(?:et|and)\b[^?.;]*\d{4})|\bdifferences?\b|\bcompar\w+|\bevolu\w+"
    r"|\b(?:a|ont|avait|has|have|what) (?:\w+ )?change[ds]?\b"
)
_STORY: Final = re.compile(r"\b(?:je|j'|nous|mon|ma|mes|notre|nos|i|i'm|my|we|our|vous|votre|vos|your)\b|\bj'")
_DONE: Final = re.compile(
    r"(?:\w(?:é|ée|és|ées)|\b(?:pris|prise|prises|acquis|acquise|obtenue?s?|perdue?s?|reçue?s?|construite?s?|produite?s?|écrite?s?|faite?s?"
    r"|ouverte?s?|souscrite?s?|conclue?s?|prévue?s?|parue?s?|intervenue?s?|survenue?s?|partie?s?|sortie?s?|devenue?s?|venue?s?|due?s?"
    r"|born|hired|signed|bought|built|planned|issued|dated|due|ended|started|joined|left))[ ]$"
)
_NOT_DONE: Final = re.compile(
    r"\b(?:congés?|durée|journées?|années?|santé|marchés?|salariée?s?|employée?s?|soirée|nuitées?|entrée|rentrée|arrivée|\w+ités?"
    r"|autorisée?s?|accordée?s?|exigée?s?|appliquée?s?|remboursée?s?|indemnisée?s?|plafonnée?s?)[ ]$"
)
_RULE_WORD: Final = re.compile(
    r"\b(?:heures?|jours?|credits?|validite|delais?|duree|montants?|plafonds?|taux|baremes?|nombre|indemnites?|primes?|forfaits?|regles?|droits?|conges?"
    r"|teletravail|rembours\w+|maximum|maxi|max|minimum|tarifs?|seuils?|quotas?|limites?|conditions?|preavis|obligat\w+|procedures?"
    r"|how much|how many|allowance|ceiling|rates?|rules?|limits?|notice)\b"
)
_EVENT_WORD: Final = re.compile(r"\b(?:coupe|finale|elections?|population|renovation|inauguration|world cup)\b")
"""What has a date of its own, also in a question in the past."""
_FACT_WORD: Final = re.compile(
    r"\b(?:budgets?|depenses?|recettes?|effectifs?|consommation|rapports?|resultats?|chomage|objectifs?|cibles?|campagne"
    r"|exercice|gestion|solde|travaux|construction|target|revenue|turnover)\b|" + _EVENT_WORD.pattern
)
"""What is counted or aimed at in a year: in the present the year is its own, and not that of a rule."""

# --- before a change ------------------------------------------------------------------------------------

_TEXTS: Final = (
    r"(?:regles?|reglements?|reglementations?|textes?|versions?|decisions?|baremes?|regimes?|systemes?|dispositifs?|arretes?|decrets?"
    r"|circulaires?|notes?|lois?|instructions?|dispositions|modalites|plafonds?|taux|accords?|chartes?|politiques?|redactions?)"
)
_OF_TEXTS: Final = rf"(?:de |d'|du |des |de la |de l')(?:la |l'|cette )?{_TEXTS}\b"
_CHANGE: Final = re.compile(
    r"\bavant (?:la|cette|les|toute) (?:(?:derniere|recente|grande)s? )?reformes?\b"
    r"(?! (?:d'une? |de (?:l'|la |ce |cet |cette |son |notre )?|du |des )(?:\w+ )?"
    r"(?:vehicules?|voitures?|materiels?|biens?|engins?)\b)"
    rf"|\bavant (?:le|ce|les) (?:(?:dernier|recent)s? )?changements?\b(?:(?= {_OF_TEXTS})|(?! (?:d'|de |du |des )))"
    rf"|\bavant (?:la|cette|sa|les) (?:derniere )?(?:modifications?|revision|refonte|mise a jour|actualisation)\b"
    rf"(?:(?= {_OF_TEXTS})|(?! (?:d'|de |du |des )))"
    rf"|\bavant (?:la|le|les|cette|ce|cet) nouve(?:au|l|lle|aux|lles) {_TEXTS}\b"
    r"|\bavant que (?:la|le|les|cette|ce|ca|cela|tout) ?(?:\w+ )?(?:ne )?change\w*"
    rf"|\b(?:l'|les |d'|des |une? )?ancien(?:ne)?s? {_TEXTS}\b"
    rf"|\b{_TEXTS} (?:precedente?s?|anterieure?s?|d'avant|d'origine|initiale?s?|d'alors)\b"
    rf"|\bprecedente?s? {_TEXTS}\b"
    r"|\bbefore (?:the|this) (?:latest |last |recent )?(?:reform|change|amendment|revision|update)\b"
    r"(?! of (?:job|post|address|contract))"
    r"|\bbefore the new (?:policy|rules?|decision|order|decree|version|text|scheme|scale)\b"
    r"|\b(?:old|former|previous|earlier|prior|superseded) (?:policy|rules?|decision|order|decree|versions?|text|scheme"
    r"|scale|regulations?)\b"
)
_ONCE: Final = re.compile(
    r"\ba l'epoque\b(?! (?:de|d'|du|des|ou|actuelle|moderne))|\b(?:auparavant|autrefois|jadis|anciennement)\b"
    r"|\bpar le passe\b|^avant,? (?=c'etait|on |il |quel|combien|comment)|\bavant ?(?=\?|$)"
    r"|\b(?:back then|in the past|formerly)\b"
)
"""Words for a time before now, which mean an older rule where the clause that asks is in the past."""
_APART: Final = re.compile(
    r"(?:avant|before|a l'epoque|auparavant|autrefois|jadis|anciennement|par le passe|back then)\b"
)
"""How words for a time before a change begin that can be left out."""


def asked_day(text: str, today: dt.date, language: str = "fr") -> AskedDay | None:
    """The day that the words of ``text`` ask the rules for; ``None`` where they name none, and today is meant.

    ``day`` may be ``today`` itself (« aujourd'hui », a period that is not over). Dates in both languages are read;
    ``language`` settles how the tense is.
    """
    asked = _Asked.of(text, today, language)
    if _COMPARES.search(asked.folded):
        return None
    periods = islice(_PERIOD.finditer(asked.folded), _MOST)
    found = [read for match in periods if (read := asked.read(match)) is not None]
    if found:
        return _one(found)
    change = _CHANGE.search(asked.folded) or (_ONCE.search(asked.folded) if asked.past else None)
    if change is not None:
        return AskedDay(DayKind.BEFORE_CHANGE, change.start(), change.end())
    now = _NOW.search(asked.folded)
    if now is None:
        return None
    period = Period(today, today + _DAY, *now.span())
    return AskedDay(DayKind.DAY, *now.span(), today, period)


def undated(text: str, asked: AskedDay) -> str:
    """The question without the words that gave its day: what is searched in the texts of that day.

    « avant la réforme » and « en 2022 » stand in no rule, and a year would find the numbers of texts. Words that are
    also part of what is asked (« l'ancienne version de l'article 4 ») stay.
    """
    words = _folded(text[asked.start : asked.end])
    if asked.kind is DayKind.BEFORE_CHANGE and not _APART.match(words):
        return text
    before, after = text[: asked.start].rstrip(), text[asked.end :].lstrip()
    if not any(map(str.isalnum, before)):
        after = after.lstrip(" ,;:\u00a0")
        left = after[:1].upper() + after[1:]
    elif before[-1] in ",;:":  # « Quel était, en mars 2024, le préavis ? »
        left = f"{before.rstrip(',;: ')} {after.lstrip(',;: ')}".rstrip()
    else:
        left = f"{before}{'' if after[:1] in {',', ';'} else ' '}{after}".rstrip()
    return left if re.search(r"\w{4}", left) else text


def _one(found: list[tuple[dt.date, Period]]) -> AskedDay | None:
    """The only day, or the narrowest where all others hold it; ``None`` where there are different ones."""
    day, narrow = min(found, key=lambda one: one[1].last - one[1].first)
    if any(not (period.first <= narrow.first and narrow.last <= period.last) for _, period in found):
        return None
    return AskedDay(DayKind.DAY, narrow.start, narrow.end, day, narrow)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, folded character for character, with its clauses and the tense of those that ask."""

    text: str
    folded: str
    today: dt.date
    clauses: tuple[tuple[int, int], ...]
    asking: tuple[tuple[int, int], ...]
    past: bool
    future: bool

    @classmethod
    def of(cls, text: str, today: dt.date, language: str) -> _Asked:
        folded = _folded(text)
        clauses = tuple(_clauses(folded))
        asking = tuple(clause for clause in clauses if _ASKS.search(folded[slice(*clause)])) or clauses[-1:]
        words = [folded[slice(*clause)] for clause in asking]
        future = _FUTURE_EN if language == "en" else _FUTURE
        return cls(
            text,
            folded,
            today,
            clauses,
            asking,
            past=any(_is_past(one, language) for one in words),
            future=any(future.search(one) is not None for one in words),
        )

    def read(self, match: re.Match[str]) -> tuple[dt.date, Period] | None:
        """The day that a period means, where it is that of the rule; else ``None``."""
        bounds = _bounds(match, self.today)
        if bounds is None or bounds[0].year < EARLIEST:
            return None
        first, last = bounds
        before = self.folded[max(0, match.start() - _NEAR) : match.start()]
        period = Period(first, last, match.start(), match.end())
        if _SINCE.search(before) or self.folded.startswith(("'s", "’s"), match.end()):
            return None
        if (lead := _BEFORE.search(before)) is not None:
            # « avant 2024 » is the last day without it, « jusqu'en 2024 » the last day with it.
            day = first - _DAY if lead.group().startswith(("avant", "before", "prior")) else last - _DAY
            words = _from(lead, before, Period(day, day + _DAY, match.start(), match.end()))
            opens = len(self.clauses) == 1 and self._opens(words.start, words.end)
            # « Le dernier jour pour payer avant fin 2026 » is a deadline; « avant 2025 », when it is over, is none.
            over = bool(match["year"]) and self._closes(words.start, words.end)
            asked = self.past or opens or over
            return (day, words) if asked and day < self.today else None
        if (lead := _AS_OF.search(before)) is not None:
            return self._day(first, last), _from(lead, before, period)
        if (lead := _OF_RULE.search(before) or _OF_RULES.search(before)) is not None:
            comes = _COMES.search(before[: lead.end()]) is not None
            return None if comes and first <= self.today else (self._day(first, last), period)
        if (lead := _FROM.search(before)) is not None:
            starts = first > self.today and not self._told(match.start()) and not _WHEN.search(self.folded)
            return (first, _from(lead, before, period)) if starts or (self.past and first <= self.today) else None
        if (lead := _ON.search(before)) is not None:
            asked = self.past and first <= self.today
            return (self._day(first, last), _from(lead, before, period)) if asked else None
        lead = _IN.search(before)
        if lead is None and not self._alone(match, before):
            return None
        words = period if lead is None else _from(lead, before, period)
        asks = self._asked_past if first <= self.today else self._asked_ahead
        return (self._day(first, last), words) if asks(words.start, words.end) else None

    def _day(self, first: dt.date, last: dt.date) -> dt.date:
        """The last day of a period that is not in the future, or the first of one to come."""
        return first if first > self.today else min(last - _DAY, self.today)

    def _alone(self, match: re.Match[str], before: str) -> bool:
        """Whether a period needs no preposition here: « l'an dernier », « fin 2022 », or one that opens a clause."""
        if match["year"] or match["month"]:
            return _BARE.search(before) is not None
        return _OF_SOMETHING.search(before) is None and not (match["day"] or match["iso"] or match["slashed"])

    def _asked_past(self, start: int, end: int) -> bool:
        """Whether a period that has begun is that of the rule."""
        if self.past:
            return _EVENT_WORD.search(self.folded) is None
        if _WHEN.search(self.folded):
            return False
        return self._opens(start, end) or self._closes(start, end)

    def _asked_ahead(self, start: int, end: int) -> bool:
        """Whether a period to come is that of the rule."""
        if _WHEN.search(self.folded):
            return False
        within = any(low <= start < high for low, high in self.asking)
        return self._opens(start, end) or (self.future and within)

    def _opens(self, start: int, end: int) -> bool:
        """Whether the period is a clause by itself before one that asks, or the whole question."""
        index = next((at for at, (low, high) in enumerate(self.clauses) if low <= start < high), None)
        if index is None:
            return False
        low, high = self.clauses[index]
        if not _BARE.search(self.folded[low:start]) and self.folded[low:start].strip():
            return False
        rest = self.folded[end:high].strip()
        if rest:
            return bool(_ASKS.match(rest)) and _FACT_WORD.search(rest) is None
        following = self.clauses[index + 1] if index + 1 < len(self.clauses) else None
        if following is None:
            return len(self.clauses) == 1
        return following in self.asking and _FACT_WORD.search(self.folded[slice(*following)]) is None

    def _closes(self, start: int, end: int) -> bool:
        """Whether the period ends a question about a rule that is nobody's story: « Quel est le taux en 2022 ? »."""
        if _TAIL.fullmatch(self.folded, end) is None:
            return False
        return (
            not self._told(start)
            and (_DONE.search(self.text[:start]) is None or _NOT_DONE.search(self.text[:start].lower()) is not None)
            and _FACT_WORD.search(self.folded) is None
            and _RULE_WORD.search(self.folded) is not None
        )

    def _told(self, start: int) -> bool:
        """Whether the clause at ``start`` tells what happened to somebody."""
        return any(low <= start < high and _STORY.search(self.folded[low:high]) for low, high in self.clauses)


def _from(lead: re.Match[str], before: str, period: Period) -> Period:
    """The period with the words ``lead`` that stand before it, found at the end of ``before``."""
    return replace(period, start=period.start - len(before) + lead.start())


def _is_past(clause: str, language: str) -> bool:
    """Whether the clause itself is in the past; verbs of relative and conditional clauses in it do not count."""
    plain = _IS_WHETHER.sub(lambda match: " " * len(match.group()), clause)
    below = _SUBORDINATE if _ASKS.search(clause) else _CONDITIONAL  # « je cherche la prime qui était versée en 2022 »
    if language == "en":
        verbs = list(_PAST_EN.finditer(plain))
    else:
        verbs = [
            match
            for match in _PAST_WORD.finditer(plain)
            if (word := match.group().partition("-")[0]) not in _NOT_PAST
            and (not re.search(r"r(?:ait|aient|ais)$", word) or _R_PAST.fullmatch(word))
        ]
        verbs += _PAST_PLURAL.finditer(plain)
    return any(
        "-" in match.group() or below.search(plain[max(0, match.start() - 2 * _NEAR) : match.start()]) is None
        for match in verbs
    )


def _clauses(folded: str) -> Iterator[tuple[int, int]]:
    """Spans between commas, colons and stops that hold a word."""
    position = 0
    for match in _END_OF_CLAUSE.finditer(folded):
        if folded[position : match.start()].strip(" -–—«»\"'"):
            yield position, match.start()
        position = match.end()
    if folded[position:].strip(" -–—«»\"'"):
        yield position, len(folded)


def _folded(text: str) -> str:
    """Lower case without accents, plain spaces and apostrophes; each character stays where it is."""
    return "".join(_fold(character) for character in text)


def _fold(character: str) -> str:
    if character in "’ʼ‘":
        return "'"
    if character.isspace():
        return "\n" if character == "\n" else " "
    if character in "‐‑–":
        return "-"
    plain = unicodedata.normalize("NFKD", character.lower())[:1]
    return plain or character


def _bounds(match: re.Match[str], today: dt.date) -> tuple[dt.date, dt.date] | None:
    """The days ``[first, last)`` of a period; ``None`` for one that the calendar does not have."""
    try:
        return _named(match) or _relative(match, today)
    except (ValueError, OverflowError):
        return None


def _named(match: re.Match[str]) -> tuple[dt.date, dt.date] | None:
    if match["day"]:
        first = dt.date(int(match["day_year"]), _MONTHS[match["day_month"]], int(match["day"]))
    elif match["us_day"]:
        first = dt.date(int(match["us_year"]), _MONTHS[match["us_month"]], int(match["us_day"]))
    elif match["iso"]:
        first = dt.date.fromisoformat(match["iso"])
    elif match["slashed"]:
        day, month, year = (int(part) for part in re.split(r"[/.]", match["slashed"]))
        first = dt.date(year, month, day)
    else:
        return _months_named(match)
    return first, first + _DAY


def _months_named(match: re.Match[str]) -> tuple[dt.date, dt.date] | None:
    if match["month"]:
        month = _MONTHS[match["month"]]
        return _months(int(match["month_year"]), month, month + 1)
    if match["part"]:
        return _months(int(match["part_year"]), *_PARTS[match["part"]])
    if match["season"]:
        return _months(int(match["season_year"]), *_SEASONS[match["season"]])
    if match["nth"]:
        length = 3 if match["split"] in {"trimestre", "quarter"} else 6
        number = int(match["nth"][0]) if match["nth"][0].isdigit() else _NTH[match["nth"]]
        if number * length > 12:
            return None
        return _months(int(match["split_year"]), (number - 1) * length + 1, number * length + 1)
    return _months(int(match["year"]), 1, 13) if match["year"] else None


def _relative(match: re.Match[str], today: dt.date) -> tuple[dt.date, dt.date] | None:
    if match["last"] or match["next"]:
        return _months(today.year + (1 if match["next"] else -1), 1, 13)
    if match["last_month"] or match["next_month"]:
        month = today.month + (1 if match["next_month"] else -1)
        return _months(today.year, month, month + 1)
    if match["named_last"]:
        month = _MONTHS[match["named"] or match["named_en"]]
        return _months(today.year - (month >= today.month), month, month + 1)
    count = match["ago_count"] or match["ago_en_count"] or match["ahead_count"]
    unit = match["ago_unit"] or match["ago_en_unit"] or match["ahead_unit"]
    number = int(count) if count.isdigit() else _COUNTS[count]
    day = _moved(today, number if match["ahead"] else -number, unit)
    return day, day + _DAY


def _months(year: int, first: int, last: int) -> tuple[dt.date, dt.date]:
    """The months ``[first, last)`` of a year, counted from 1 and on into the years around it."""
    return _first_of(year, first), _first_of(year, last)


def _first_of(year: int, month: int) -> dt.date:
    return dt.date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)


def _moved(day: dt.date, count: int, unit: str) -> dt.date:
    """The same day some units later; the last of the month where that is shorter."""
    if unit.startswith(("jour", "day")):
        return day + dt.timedelta(days=count)
    if unit.startswith(("semaine", "week")):
        return day + dt.timedelta(weeks=count)
    months = count * (1 if unit.startswith("mo") else 12)
    first = _first_of(day.year, day.month + months)
    longest = (_first_of(first.year, first.month + 1) - first).days
    return first.replace(day=min(day.day, longest))
