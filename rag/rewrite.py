"""A follow-up and its history become a question that stands alone: by rules, or by a model whose words are checked.

The rules read a follow-up as one of a few forms. A fragment ("et pour les contractuels ?", "en 2023 ?") takes the
place of the part of the earlier question that is of its sort: people for people, date for date, object for object.
A pronoun ("est-elle imposable ?") becomes the noun that it stands for. What asks on ("depuis quand ?") or fits
nowhere is led by the earlier question, whole. A question with a subject of its own goes on as it is.

Only what the person asked is ever read. The answers of a history come from the client and may be forged, and even
true ones hold words of documents: nothing of them reaches a search.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Final

import prompts
from rag import lexical, quantities
from rag.errors import BadRequest, Cancelled, GenerationError
from rag.intents import Intent, intent
from rag.phrases import Phrase, is_english, listed, phrases, words
from rag.quantities import folded
from rag.queue import never, nobody
from rag.references import references
from rag.seams import Generator
from rag.types import Message, Sampling, Turn

RECENT: Final = 8
"""Questions of the history that are read; a subject older than these has been changed long since."""
LONGEST: Final = 300
"""Characters of a question of the history; a longer one is a document, and is not joined to anything."""
_FRAGMENT: Final = 9
"""Words of a follow-up that may be a mere fragment."""
_DEPENDENT: Final = 8
"""Words of a question that may have no subject of its own."""

_OPENING: Final = re.compile(
    r"^(?:(?:ok|oui|non|d'accord|merci|alors|donc|ah)\s*[,.!]*\s+)*"
    r"(?:(?P<same>(?:la |et )?(?:meme question|meme chose|idem|pareil|same question|same thing|same)\s*,?\s*|"
    r"(?:and |but )?(?:what about|how about)\s+)|(?P<and>(?:et|mais|and|but)\b\s*(?:alors\b)?\s*,?\s*))"
)
_CHANGE: Final = re.compile(
    r"^(?:et |mais |and |but )?(?:sinon|par ailleurs|autre (?:question|sujet|chose)|rien a voir|changeons de sujet|"
    r"(?:an|on an)?other (?:question|topic|subject)|by the way|au fait)\b"
)
_ASKS: Final = re.compile(
    r"\b(?:combien|quels?|quelles?|qui|que|qu'|quoi|comment|ou|quand|pourquoi|lequel|laquelle|est-ce|c'est|est|sont|"
    r"faut|peut|doit|peux|dois|y a|what|how|who|when|where|why|which|is|are|can|does?|must|should|may|will|was|were)"
    r"(?![\w])|\w-(?:t-)?(?:ils?|elles?|on|je|nous|vous|ce)\b"
)
_BARE: Final = re.compile(
    r"(?:(?:depuis|jusqu'a|jusque|a partir de|des|pour|avant) quand|"
    r"(?:pour|pendant|depuis|dans|de|a) combien(?: de temps)?|"
    r"combien(?: de (?:temps|fois|jours|mois))?(?: ca (?:coute|fait|dure))?|pourquoi(?: pas| ca)?|"
    r"comment(?: ca| faire| fait-on)?|ou(?: ca)?|quand(?: ca)?|lesquel(?:le)?s|lequel|laquelle|qui(?: ca)?|"
    r"(?:a|par|avec|chez|de|aupres de|pour) qui|(?:dans|sous|avec) quel(?:le)?s? \w+|a quel\w* \w+|de quel\w* \w+|"
    r"avec quoi|a quoi|since when|until when|from when|(?:for )?how (?:long|many|much|often|soon)|why(?: not)?|how|"
    r"where|when|which ones?|who|by whom|to whom)"
)
_CONDITION: Final = re.compile(r"(?:si |s'il|au cas ou |en cas d|lorsqu|(?:what )?if |even if |meme si |unless )")
_PRONOUN: Final = re.compile(
    r"\w-(?:t-)?(?P<inverted>ils?|elles?)\b|\bqu'(?P<plain>ils?|elles?)\b|\b(?P<start>(?<!qu')(?:ils?|elles?))\b|"
    r"\b(?P<other>celui-ci|celle-ci|ceux-ci|celles-ci|ce dernier|cette derniere|ces derniers|(?<!chez )lui)\b"
)
_IMPERSONAL: Final = re.compile(
    r"(?:faut|fallait|faudra-t|y a-t|y-a-t|fait|fera-t|existe-t|s'agit|suffit|reste-t|convient|se passe-t|vaut)-il\b|"
    r"\b(?:il|que se passe-t-il) (?:y a|faut|fait|fera|suffit|s'agit|existe|reste|gele|pleut|vaut mieux|"
    r"est (?:possible|obligatoire|necessaire|interdit))|"
    r"(?:est|serait|etait)-il (?:possible|obligatoire|necessaire|interdit|permis|prevu|vrai) (?:de|d'|que|qu'|pour)|"
    r"(?:peut|doit)-il y avoir"
)
_CLITIC: Final = re.compile(
    r"\b(?P<clitic>le|la|les|l'|en|y)\s?(?P<verb>\w{2,}(?:er|ir|oir|dre|tre|ire|ure|vre|indre))\b|"
    r"\b(?:j'en|on en|s'en|m'en|n'en|j'y|on y|puis-je y|peut-on y)\b"
)
_CLAUSE: Final = re.compile(r"\b(?:cela|ca)\b(?! (?:coute|fait|dure|prend))")
_DEMONSTRATIVE: Final = re.compile(
    r"\b(?P<pointer>cet|cette|ces|ce|this|that|these|those)\s+(?P<noun>(?!que\b|qui\b|dont\b|is\b|are\b)[a-z-]{3,})"
)
_ENGLISH: Final = re.compile(r"\b(?:it|they|them)\b")
_MONTH: Final = (
    "janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre|january|february|march|"
    "april|may|june|july|august|september|october|november|december"
)
_DATE: Final = re.compile(
    rf"(?P<lead>\b(?:en|au|a la|a|depuis|des|avant|apres|jusqu'en|jusqu'au|in|on|since|before|after|until|le|l')\s*)?"
    rf"(?:(?:\b(?:debut|fin|printemps|ete|automne|hiver|rentree|annee|courant|early|late|spring|summer|autumn)\s+)?"
    rf"(?:\b\d{{1,2}}(?:er|st|nd|rd|th)?\s+)?(?:\b(?:{_MONTH})\s+)?\b(?:19|20)\d\d\b(?![-/]\d)|"
    rf"\b\d{{1,2}}/\d{{1,2}}/(?:19|20)\d\d\b|\b(?:la )?reforme\b|"
    rf"\b(?:annee|an|mois) (?:dernier|derniere|prochain|prochaine|passee?)\b|"
    rf"\b(?:aujourd'hui|maintenant|actuellement|desormais|a present|de nos jours|now|today|nowadays|last year)\b)"
)
_RELATIVE: Final = re.compile(
    r"(?:(?:l'|la |le |les |the |d')?(?:annee|an|mois|semaine|jour|year|month|week)s? "
    r"(?:suivante?|precedente?|apres|avant|before|after)s?|(?:la |the )?\w+ fois|the \w+ time)"
)
_PARALLEL: Final = re.compile(
    r"^(?:(?:combien|how (?:much|many))\s+(?!(?:de|d|of)\b)|(?:celles?|celui|ceux)\s+)", re.IGNORECASE
)
"""What a fragment repeats of the question before it: "et combien pour un PACS ?", "et celle d'un plongeur ?"."""
_NOT_A_DATE: Final = re.compile(r"(?:n[°o]|num|numero|article|decret|arrete|loi|circulaire|note|decision)\s*\S*\s*$")
_WHO_EXACTLY: Final = re.compile(r"(?: (?:de|d'|du|des|en|a|of|with|on) ?(?:\S+ ?){1,3})?")
"""What may follow the people of a fragment: "contractuels de droit public"."""
_PEOPLE_HEADS: Final = (
    "agents?|personnels?|employes?|employees?|salaries?|salariees?|collegues?|staff|workers?|people|member of staff"
)


@functools.cache
def _people() -> dict[str, re.Pattern[str]]:
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


# --- by rules -------------------------------------------------------------------------------------------


def is_follow_up(question: str) -> bool:
    """Whether a question needs what was said before to be understood."""
    own, opened = _read(question)
    rest = folded(own)
    if not rest or _CHANGE.match(folded(question)):
        return False
    if _BARE.fullmatch(rest) or _CONDITION.match(rest):
        return opened or bool(_BARE.fullmatch(rest)) or not _ASKS.search(rest)
    if _is_fragment(own, opened=opened):
        return True
    return _points_back(own) or _depends(own)


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question as it will be searched and shown: itself, or joined with the question that it follows.

    Earlier follow-ups are read in their turn, so that a chain of them keeps its subject; greetings and thanks between
    them change nothing.
    """
    before = ""
    for text in _asked_before(history):
        before = _joined(text, before)
    return _joined(_clean(question), before)


_NO_SUBJECT: Final = frozenset(
    {Intent.GREETING, Intent.THANKS, Intent.GOODBYE, Intent.ABOUT, Intent.ABUSE, Intent.INSTRUCTION}
)


def by_model(
    generator: Generator,
    question: str,
    history: Sequence[Turn],
    language: str,
    cancelled: Callable[[], bool] = never,
    waiting: Callable[[int], None] = nobody,
) -> str | None:
    """The question as a capable model makes it stand alone; ``None`` where the rules must do it.

    The model is asked about follow-ups only and reads no answer of the history. What it writes is taken when it is
    one question of a fair length that keeps the words of the follow-up and brings no number, date, reference or name,
    and hardly any word, that the person did not write.

    Raises:
        Cancelled: the reader went away.
    """
    asked = _asked_before(history)
    if not asked or not is_follow_up(question):
        return None
    said = prompts.load("rewrite", language).render(
        asked="\n".join(f"- {text}" for text in asked), question=_clean(question)
    )
    try:
        pieces = generator.stream(
            [Message("user", said)], Sampling(max_tokens=_LINE), cancelled=cancelled, waiting=waiting
        )
        written = "".join(pieces)
    except Cancelled:
        raise
    except (GenerationError, BadRequest):
        return None
    return _accepted(written, [*asked, _clean(question)], language)


def _accepted(written: str, sources: Sequence[str], language: str) -> str | None:
    """What a model wrote, when it is a rewriting of the last of ``sources`` and of nothing but them."""
    lines = [line.strip() for line in written.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    text = _LABEL.sub("", lines[0]).strip(" \"'«»“”*")
    known = " \n ".join(sources)
    if not text.endswith("?") or text.count("?") > 1 or not _SHORTEST <= len(text) <= min(LONGEST, 2 * len(known)):
        return None
    if re.search(r"[\[\]<>{}|]|https?:", text):
        return None
    values = {(one.kind, one.value, one.unit) for one in quantities.read(known)}
    if any((one.kind, one.value, one.unit) not in values for one in quantities.read(text)):
        return None
    if set(re.findall(r"\d+", text)) - set(re.findall(r"\d+", known)):
        return None
    if {one.key for one in references(text)} - {one.key for one in references(known)}:
        return None
    names = {folded(name) for name in re.findall(r"(?<!^)\b[A-ZÀ-Ý][\w-]+", text)}
    if any(name not in folded(known) for name in names):
        return None
    terms, before = set(lexical.terms(text, language)), set(lexical.terms(known, language))
    own = {term for term in lexical.terms(sources[-1], language) if len(term) > 2}
    if len(terms - before) > max(1, len(terms) // 4) or len(own & terms) < len(own) / 2:
        return None
    return text


_LABEL: Final = re.compile(
    r"^(?:[-*•]\s*|(?:question|la question|the question|question autonome|rewritten question|réécriture)\s*:\s*)+",
    re.IGNORECASE,
)
_LINE: Final = 80
"""Tokens of a rewritten question."""
_SHORTEST: Final = 8


def _asked_before(history: Sequence[Turn]) -> list[str]:
    """The questions of the history that may hold a subject, in order; small talk and pasted documents are none."""
    asked = [_clean(turn.text) for turn in history if turn.role == "user" and turn.text.strip()]
    return [text for text in asked[-RECENT:] if len(text) <= LONGEST and intent(text) not in _NO_SUBJECT]


def _clean(text: str) -> str:
    return " ".join(text.split())


def _joined(text: str, before: str) -> str:
    """``text`` made to stand alone behind ``before``, which stands alone already; itself where it does, too."""
    if not before or not is_follow_up(text):
        return text
    own, _ = _read(text)
    for rule in (_bare, _people_for_people, _conditional, _date_for_date, _fragment_for_part, _pronoun, _dependent):
        found = rule(own, before)
        if found is not None:
            return _clean(found)
    return f"{before} {text}"


def _read(text: str) -> tuple[str, bool]:
    """A question without the words that only link it ("et", "même question", "what about"), and whether it had some."""
    text = _clean(text).rstrip(" ?!.")
    opening = _OPENING.match(folded(text))
    return _without_tail(text[opening.end() :] if opening else text), opening is not None


def _without_tail(text: str) -> str:
    return re.sub(r"[\s,]+(?:alors|du coup|dans ce cas|then|in that case|svp|stp)$", "", text, flags=re.IGNORECASE)


def _bare(own: str, before: str) -> str | None:
    """ "Depuis quand ?": asked of the whole question before."""
    return f"{before} {_capital(own)}{_mark(before)}" if _BARE.fullmatch(folded(own)) else None


def _people_for_people(own: str, before: str) -> str | None:
    """ "Et pour les contractuels ?": in the place of the people whom the question before is about."""
    named = _only_people(folded(own))
    if named is None:
        return None
    dimension, match = named
    new = own[match.start("noun") : match.end("noun")]
    for old in _people()[dimension].finditer(folded(before)):
        determiner = (old["det"] or "").strip()
        new_there = _numbered(new, old["noun"], determiner) if dimension == "status" else new
        start = old.start("noun")
        head = before[:start]
        if determiner and dimension == "status":
            head = before[: old.start("det")] + _elided(before[old.start("det") : start], new_there)
        return _capital_like(before, head + new_there + before[old.end("noun") :])
    if match["prep"] or dimension == "time":
        added = own[match.start() : match.end()]
        added = added if match["prep"] else f"à {added}"
    else:
        determiner = "" if match["det"] or is_english(before) or folded(new).endswith("s") else "un "
        added = f"{'for' if is_english(before) else 'pour'} {determiner}{own[match.start() : match.end()]}"
    return _appended(before, added)


def _only_people(plain: str) -> tuple[str, re.Match[str]] | None:
    """The people whom a fragment names when it names nothing else."""
    said = re.sub(
        r"^(?:je suis|nous sommes|(?:quand|si|lorsqu'?) ?(?:on|je|l'on|nous) (?:est|suis|sommes)|"
        r"s'il s'agit d'|i am|i'm|if i am|if you are)\s+",
        "",
        plain,
    )
    offset = len(plain) - len(said)
    for dimension, pattern in _people().items():
        match = pattern.search(plain, offset)
        if match and match.start() <= offset + 3 and _WHO_EXACTLY.fullmatch(plain[match.end() :]):
            return dimension, match
    return None


def _numbered(new: str, old: str, determiner: str) -> str:
    """The new people in the number of those whose place they take."""
    plural = folded(old).endswith("s") or determiner in {"les", "des", "aux"}
    parts = new.split()
    acronym = parts[0].isupper()
    if not plural:
        return " ".join(part[:-1] if part.endswith("s") and not acronym else part for part in parts)
    if plural and not acronym and determiner in {"les", "des", "aux"} and not parts[0].endswith("s"):
        parts[0] += "s"
        if len(parts) > 1 and folded(parts[1]) in str(words()["people"]["status"]["fr"]).split():
            parts[1] += "s"
    return " ".join(parts)


def _conditional(own: str, before: str) -> str | None:
    """ "Et si je suis malade ?": a condition on the question before, in the place of one that it has."""
    if not _CONDITION.match(folded(own)):
        return None
    own = re.sub(r"^what if", "if", own, flags=re.IGNORECASE)
    old = re.search(r",?\s(?:si |s'il|en cas d|if )[^?]*", folded(before))
    return _appended(before[: old.start()] if old else before, own)


def _date_for_date(own: str, before: str) -> str | None:
    """ "Et en 2023 ?": in the place of the date that the question before names."""
    plain = folded(own)
    match = _date(plain)
    if match is None or plain[: match.start()].strip() or plain[match.end() :].strip(" ?"):
        return None
    old = _date(folded(before))
    if old is None:
        return _appended(before, own if match["lead"] or not plain[0].isdigit() else f"{_in(before)} {own}")
    if not match["lead"] and old["lead"] and plain[0].isdigit():
        own = before[old.start("lead") : old.end("lead")] + own
    new = own if not before[old.start() :][:1].isupper() else _capital(own)
    return f"{before[: old.start()]}{new}{before[old.end() :]}"


def _date(plain: str) -> re.Match[str] | None:
    return next((one for one in _DATE.finditer(plain) if not _NOT_A_DATE.search(plain[: one.start()])), None)


def _is_fragment(own: str, *, opened: bool) -> bool:
    """Whether a question is a mere piece of one; without a linking word only some pieces are."""
    plain = folded(own)
    if len(plain.split()) > _FRAGMENT:
        return False
    if _only_people(plain):
        return True
    date = _date(plain)
    if date and not plain[: date.start()].strip() and not plain[date.end() :].strip():
        return True
    if _is_place(plain):
        return True
    return opened and not _ASKS.search(_PARALLEL.sub("", plain))


def _is_place(plain: str) -> bool:
    return re.fullmatch(r"(?:a|au|aux|en|in|at) (?:la |l'|le )?[a-z]+(?:-[a-z]+)*", plain) is not None


def _fragment_for_part(own: str, before: str) -> str | None:
    """Any other fragment, in the place of the part of the question before that is of its sort."""
    own = _PARALLEL.sub("", own)
    if _ASKS.search(folded(own)):
        return None
    said = phrases(own)
    if not said or len(own.split()) > _FRAGMENT:
        return None
    if _RELATIVE.fullmatch(folded(own)):
        return _appended(before, own)
    for rule in (_place_for_place, _value_for_value, _measure, _object_for_object):
        found = rule(own, said, before)
        if found is not None:
            return found
    if said[0].preposition and not said[0].of and own.lower().startswith(own[: said[0].at].strip().lower()):
        return _appended(before, own)
    return None


def _place_for_place(own: str, said: Sequence[Phrase], before: str) -> str | None:
    first = said[0]
    if first.preposition not in {"a", "au", "aux", "en", "in", "at"} or not own[first.at].isupper() or len(said) > 2:
        return None
    for old in phrases(before):
        name = before[old.at : old.end]
        if name[0].isupper() and not re.fullmatch(r"[A-Z]{2,5}s?", name) and not _date(folded(name)):
            if old.preposition in {"a", "au", "aux", "en", "in", "at"}:
                return before[: old.start] + own + before[old.end :]
            if old.preposition in {"de", "d'", "du", "of"}:
                return before[: old.at] + own[first.at :] + before[old.end :]
    return _appended(before, own)


def _value_for_value(own: str, said: Sequence[Phrase], before: str) -> str | None:
    values = quantities.read(own)
    if len(values) != 1:
        return None
    nouns = {word for phrase in said for word in phrase.words if not word[0].isdigit() and len(word) > 2}
    if nouns - set(folded(before).split()):
        return None
    alike = [one for one in quantities.read(before) if (one.kind, one.unit) == (values[0].kind, values[0].unit)]
    if len(alike) != 1:
        return None
    new = own[values[0].start : values[0].end]
    return before[: alike[0].start] + new + before[alike[0].end :]


_MEASURED: Final = re.compile(
    r"\bqu(?:el|elle|els|elles) (?P<verb>est|sont|etait|etaient) (?:le|la|l'|les)\s?(?P<noun>[a-z]+)|"
    r"\bwhat (?P<be>is|are|was|were) the (?P<name>[a-z]+)"
)


def _measure(own: str, said: Sequence[Phrase], before: str) -> str | None:
    """ "Et le délai ?": another measure of the same thing."""
    if said[0].head not in listed("measures") or len(said) > 1 or said[0].preposition:
        return None
    found = _MEASURED.search(folded(before))
    if found and (found["noun"] or found["name"]) in listed("measures"):
        if found["be"]:
            return before[: found.start("be")] + f"{found['be']} {own}" + before[found.end() :]
        past = found["verb"] in {"etait", "etaient"}
        plural = said[0].determiner == "les"
        which = _which(said[0])
        verb = ("étaient" if past else "sont") if plural else ("était" if past else "est")
        which = _capital(which) if before[found.start()].isupper() else which
        return f"{before[: found.start()]}{which} {verb} {own}{before[found.end() :]}"
    return _about(own, before)


def _which(said: Phrase) -> str:
    feminine = said.determiner in {"la", "une"} or said.head in {
        "conditions",
        "pieces",
        "demarches",
        "exceptions",
        "modalites",
        "dates",
        "regles",
        "sanctions",
        "limites",
    }
    return ("quelle" if feminine else "quel") + ("s" if said.determiner == "les" else "")


def _object_for_object(own: str, said: Sequence[Phrase], before: str) -> str | None:
    """Another object in the place of the one that the question before has: same head, else same shape."""
    first = said[0]
    if first.preposition not in {"", "de", "d'", "du", "des", "pour", "for", "about", "of", "sur", "on"}:
        same = [old for old in phrases(before) if old.preposition == first.preposition and not _light(old)]
        if len(same) == 1:
            return before[: same[0].start] + own + before[_whole(before, same[0]) :]
        return None
    places = [old for old in phrases(before) if not _light(old) and not _is_circumstance(old)]
    alike = [old for old in places if old.head == first.head]
    if not alike:
        alike = [old for old in places if old.definite == first.definite and old.preposition == first.preposition]
    if not alike and first.definite is not True:
        alike = [old for old in places if old.definite == first.definite]
    if not alike:
        tops = [old for old in places if not old.of or _light(_ruler(before, old))]
        alike = tops if first.definite is not False or len(tops) == 1 else []
    if not alike:
        return None
    old = alike[-1] if first.definite is False else alike[0]
    noun = own[first.at :]
    end = _whole(before, old) if first.definite is not False or len(said) > 1 or not old.of else old.end
    return _capital_like(before, before[: old.start] + _governed(old, first, own, noun) + before[end:])


def _governed(old: Phrase, new: Phrase, own: str, noun: str) -> str:
    """The new noun with the preposition of the old one and its own determiner, contracted as French wants."""
    preposition = {"du": "de", "des": "de", "d'": "de", "au": "à", "aux": "à", "a": "à"}.get(
        old.preposition, old.preposition
    )
    determiner = own[new.start : new.at].strip() if not new.preposition else new.determiner
    if preposition and determiner.lower() == "des":
        determiner = "les"
    elif old.definite is None and old.of:
        determiner = ""  # "jours de télétravail", "jours de CET"
    if not preposition:
        return f"{determiner}{'' if determiner.endswith(chr(39)) or not determiner else ' '}{noun}"
    contracted = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
    both = contracted.get((preposition, determiner.lower()))
    if both:
        return f"{both} {noun}"
    start = f"{determiner} " if determiner and not determiner.endswith(("'", "’")) else determiner
    if preposition == "de" and (start + noun)[0].lower() in "aeiouyhéèêàâîôû":
        return f"d'{start}{noun}"
    return f"{preposition} {start}{noun}"


def _pronoun(own: str, before: str) -> str | None:
    """ "Est-elle imposable ?": the pronoun becomes the noun that it stands for."""
    plain = folded(own)
    if not _points_back(own) or _CLAUSE.search(plain):
        return None
    if pointed := _DEMONSTRATIVE.search(plain):
        for old in phrases(before):
            if pointed["noun"] == old.head and (old.determiner or old.of):
                noun = _definite(before, old, whole=True)
                if not _complemented(before, old) and (topic := _topic(before)):
                    noun = f"{noun} {'for' if is_english(before) else 'pour'} {topic}"
                return _asked(own[: pointed.start()] + noun + own[pointed.end() :])
        topic = _topic(before)
        if pointed["noun"] in listed("measures") and topic and not is_english(before):
            article = {"ce": "le ", "cette": "la ", "ces": "les ", "cet": "l'"}.get(pointed["pointer"], "le ")
            noun = f"{article}{own[pointed.start('noun') : pointed.end()]} pour {topic}"
            return _asked(own[: pointed.start()] + noun + own[pointed.end() :])
        return None
    if is_english(before) and (pronoun := _ENGLISH.search(plain)):
        topic = _topic(before)
        return _asked(own[: pronoun.start()] + topic + own[pronoun.end() :]) if topic else None
    found = next((one for one in _PRONOUN.finditer(plain) if not _impersonal(plain, one)), None)
    clitic = _CLITIC.search(plain)
    gender = (found["inverted"] or found["plain"] or found["start"] or found["other"]) if found else None
    if gender is None and clitic and clitic["clitic"] in {"le", "la", "les"}:
        gender = {"le": "il", "la": "elle", "les": "ils"}[clitic["clitic"]]
    topic = _topic(before, gender or "")
    if topic is None:
        return None
    own = _lower(own)
    if found and found["plain"]:
        start = found.start()
        joint = "que " if found[0].startswith("qu'") else ""
        return _asked(own[:start] + joint + topic + own[found.end() :])
    if found and found["inverted"] and _determined(topic):
        asks = re.match(r"(?:quand|comment|pourquoi|ou|combien|a quel\w* \w+|dans quel\w* \w+)\s", plain)
        cut = asks.end() if asks else 0
        return _asked(f"{own[:cut]}{topic} {own[cut:]}")
    return _asked(f"{_capital(topic)} : {own}")


def _dependent(own: str, before: str) -> str | None:
    """ "Quel est le délai ?": asked about the subject of the question before."""
    return _about(own, before) if _depends(own) else None


def _about(own: str, before: str) -> str | None:
    topic = _topic(before)
    if topic is None:
        return None
    word = "for" if is_english(before) else "pour"
    kept = _kept(before, topic, own)
    if word == "pour" and not _determined(topic):
        return _asked(f"{_capital(topic)} : {_lower(own)}{kept}")
    return _asked(f"{own.rstrip(' ?')} {word} {topic}{kept}")


# --- what a question is about ---------------------------------------------------------------------------


def _points_back(own: str) -> bool:
    """Whether a question has a pronoun or a "this" whose noun it does not hold."""
    plain = folded(own)
    if any(not _impersonal(plain, one) for one in _PRONOUN.finditer(plain)) and not _own_subject(own):
        return True
    short = len(plain.split()) <= _DEPENDENT
    clitic = _CLITIC.search(plain)
    if short and clitic and not _has_subject(own, allow=clitic):
        return True
    clause = _CLAUSE.search(plain)
    if short and clause and not phrases(own[: clause.start()]):
        return True
    if short and _ENGLISH.search(plain) and not re.search(r"\bis it (?:possible|mandatory|allowed|true)\b", plain):
        return True
    pointed = _DEMONSTRATIVE.search(plain)
    units = listed("units") | {"matin", "soir", "sujet", "moment", "midi", "week-end", "morning", "evening"}
    return pointed is not None and pointed["noun"] not in units and len(plain.split()) <= 12


def _impersonal(plain: str, pronoun: re.Match[str]) -> bool:
    return any(one.start() < pronoun.end() and pronoun.start() < one.end() for one in _IMPERSONAL.finditer(plain))


def _own_subject(own: str) -> bool:
    """Whether a noun stands before the pronoun: "le congé peut-il…" has its subject."""
    pronoun = _PRONOUN.search(folded(own))
    return pronoun is not None and any(
        (not one.preposition or one.of) and not _light(one)
        for one in phrases(own[: own.rfind(" ", 0, pronoun.start() + 1) + 1])
    )


def _depends(own: str) -> bool:
    """Whether a question names nothing but measures and steps: "quelles conditions ?", "qui décide ?"."""
    return len(own.split()) <= _DEPENDENT and bool(_ASKS.search(folded(own))) and not _has_subject(own)


def _has_subject(own: str, allow: re.Match[str] | None = None) -> bool:
    """Whether a question holds a noun or a verb that says what it is about."""
    for phrase in phrases(own):
        if allow is not None and phrase.start >= allow.start() and phrase.end <= allow.end():
            continue
        known = listed("measures") | listed("units") | listed("light_verbs")
        if any(word not in known for word in phrase.words) and not _is_date(own, phrase):
            return True
    nouns = {word for phrase in phrases(own) for word in phrase.words}
    verbs = set(re.findall(r"\b[a-z]{4,}(?:er|ir|oir|dre|tre|ire)\b", folded(own)))
    return bool(verbs - nouns - listed("light_verbs") - ({allow["verb"]} if allow else set()))


def _topic(before: str, pronoun: str = "") -> str | None:
    """The noun phrase that a question is about, with a determiner; of the pronoun's gender where both show one.

    A measure is passed over for what it measures: of "the ceiling of meal expenses", the expenses.
    """
    found = [
        old for old in phrases(before) if not _light(old) and not _is_date(before, old) and not _is_people(before, old)
    ]
    for old in found:
        if _is_circumstance(old):
            continue
        if old.of and old.definite is None and not _light(_ruler(before, old)):
            continue
        if _agrees(old, pronoun):
            return _definite(before, old, whole=True)
    return None


def _determined(topic: str) -> bool:
    """Whether a noun phrase has a determiner, without which a French sentence limps."""
    return re.match(r"(?:le|la|les|l'|un|une|mon|ma|mes|notre|nos|votre|vos) ?", folded(topic)) is not None


def _definite(before: str, old: Phrase, *, whole: bool) -> str:
    """A phrase without its preposition, in lower case but for names, up to the end of its complements."""
    end = _whole(before, old) if whole else old.end
    noun = before[old.at : end]
    determiner = old.determiner
    if not determiner:
        return noun
    return f"{determiner}{'' if determiner.endswith(chr(39)) else ' '}{noun}"


def _whole(before: str, old: Phrase) -> int:
    """Where a phrase ends with its complements: "indemnité de télétravail"."""
    end = old.end
    for phrase in phrases(before):
        linked = phrase.of or (phrase.preposition in {"a", "au", "aux"} and phrase.determiner)
        if phrase.start > old.start and linked and before[end : phrase.start].strip() == "":
            if _is_date(before, phrase):
                break
            end = phrase.end
    return end


def _complemented(before: str, old: Phrase) -> bool:
    return _whole(before, old) > old.end


def _ruler(before: str, old: Phrase) -> Phrase:
    """The phrase that ``old`` completes; itself where it completes none."""
    earlier = [one for one in phrases(before) if one.end <= old.start]
    return earlier[-1] if old.of and earlier else old


def _light(phrase: Phrase) -> bool:
    return phrase.head in listed("measures") or phrase.head in listed("units") or phrase.head == "temps"


def _is_circumstance(phrase: Phrase) -> bool:
    return phrase.preposition in {
        "depuis", "dans", "en", "chez", "avant", "apres", "pendant", "par", "per", "in", "at", "during", "before",
        "after", "since", "from", "sans", "with", "without", "avec", "a", "to", "by", "entre", "vers", "sous",
    }  # fmt: skip


def _is_date(text: str, phrase: Phrase) -> bool:
    return _date(folded(text[phrase.start : phrase.end])) is not None


def _is_people(text: str, phrase: Phrase) -> bool:
    plain = folded(text[phrase.start : phrase.end])
    match = next((found for one in _people().values() if (found := one.search(plain))), None)
    return match is not None and not plain[match.end() :].strip() and match.start() <= 2 and not phrase.of


def _agrees(phrase: Phrase, pronoun: str) -> bool:
    if not pronoun or phrase.determiner in {"", "l'", "a", "an", "the", "notre", "votre", "leur", "chaque"}:
        return True
    plural = phrase.determiner in {"les", "des", "ces", "mes", "ses", "nos", "vos", "leurs"}
    if plural or pronoun.endswith("s") or pronoun in {"ceux-ci", "ces derniers"}:
        return plural == (pronoun.endswith("s") or pronoun in {"ceux-ci", "ces derniers"})
    feminine = phrase.determiner in {"la", "une", "cette", "ma", "sa"}
    return feminine == (pronoun in {"elle", "celle-ci", "cette derniere"})


def _kept(before: str, topic: str, own: str) -> str:
    """The date of the question before, which goes on holding; empty where the follow-up has its own."""
    date = _date(folded(before))
    if date is None or _date(folded(own)) or folded(date[0]).strip() in folded(topic):
        return ""
    return f" {_lower(before[date.start() : date.end()].strip())}"


# --- putting together -----------------------------------------------------------------------------------


def _appended(before: str, added: str) -> str:
    return f"{before.rstrip(' ?.!')} {_lower(added.strip())}{_mark(before)}"


def _asked(text: str) -> str:
    return f"{_capital(text.rstrip(' ?.!'))}{_mark(text)}"


def _in(text: str) -> str:
    return "in" if is_english(text) else "en"


def _mark(text: str) -> str:
    return "?" if is_english(text) else " ?"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text if re.match(r"[A-ZÀ-Ý]{2}|I\b", text) else text[:1].lower() + text[1:]


def _capital_like(before: str, text: str) -> str:
    return _capital(text) if before[:1].isupper() else text


def _elided(determiner: str, noun: str) -> str:
    """A determiner before another noun: "l'" and "le" by its first letter."""
    vowel = folded(noun)[:1] in "aeiou"
    plain = folded(determiner).strip()
    if plain in {"le", "la"} and vowel:
        return determiner[0] + "'"
    if plain == "l'" and not vowel:
        return ("L" if determiner[0] == "L" else "l") + "e "
    return determiner
