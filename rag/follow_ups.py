"""How a follow-up is joined with the question before it: a part for the part of its sort, a noun for a pronoun; pure.

A fragment ("et pour les contractuels ?", "en 2023 ?") takes the place of the part of the earlier question that is of
its sort: people for people, date for date, object for object. A pronoun ("est-elle imposable ?") becomes the noun that
it stands for. What asks on ("depuis quand ?") or fits nowhere is led by the earlier question, whole. No noun and no
number that a follow-up adds is ever lost: a part that would lose one is not put in the place of another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rag import quantities, topics
from rag.phrases import Phrase, is_english, listed, phrases, words
from rag.quantities import folded

_FRAGMENT: Final = 9
"""Words of a follow-up that may be a mere fragment."""
_OPENING: Final = re.compile(
    r"^(?:(?:ok|oui|non|d'accord|merci|alors|donc|ah)\s*[,.!]*\s+)*"
    r"(?:(?P<same>(?:la |et )?(?:meme question|meme chose|idem|pareil|same question|same thing|same)\s*,?\s*|"
    r"(?:and |but )?(?:what about|how about)\s+)|(?P<and>(?:et|mais|and|but)\b\s*(?:alors\b)?\s*,?\s*))"
)
_CHANGE: Final = re.compile(
    r"^(?:et |mais |and |but )?(?:sinon|par ailleurs|autre (?:question|sujet|chose)|rien a voir|changeons de sujet|"
    r"(?:an|on an)?other (?:question|topic|subject)|by the way|au fait)\b"
)
_BARE: Final = re.compile(
    r"(?:(?:depuis|jusqu'a|jusque|a partir de|des|pour|avant) quand|"
    r"(?:pour|pendant|depuis|dans|de|a) combien(?: de temps)?|"
    r"combien(?: de (?:temps|fois|jours|mois))?(?: ca (?:coute|fait|dure))?|pourquoi(?: pas| ca)?|"
    r"comment(?: ca| faire| fait-on)?|ou(?: ca)?|quand(?: ca)?|lesquel(?:le)?s|lequel|laquelle|qui(?: ca)?|"
    r"(?:a|par|avec|chez|de|aupres de|pour|devant|contre|sur) qui|"
    r"(?:dans|sous|avec) quel(?:le)?s? \w+|a quel\w* \w+|de quel\w* \w+|"
    r"avec quoi|a quoi|since when|until when|from when|(?:for )?how (?:long|many|much|often|soon)|why(?: not)?|how|"
    r"where|when|which ones?|who|by whom|to whom)"
)
_CONDITION: Final = re.compile(
    r"(?:si |s'il|au cas ou |en cas d|lorsqu|quand (?:on|je|l'on|nous) |(?:what )?if |even if |meme si |unless |"
    r"when (?:i|you|we|one) )"
)
_RELATIVE: Final = re.compile(
    r"(?:(?:l'|la |le |les |the |d')?(?:annee|an|mois|semaine|jour|year|month|week)s? "
    r"(?:suivante?|precedente?|apres|avant|before|after)s?|(?:la |the )?\w+ fois|the \w+ time|"
    r"(?:la nuit|le (?:jour|matin|soir|week-end|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)|les jours feries)|"
    r"abroad|overseas|remotely|at night|(?:at|on) weekends)"
)
_PARALLEL: Final = re.compile(
    r"^(?:(?:combien|how (?:much|many))\s+(?!(?:de|d|of)\b)|(?:celles?|celui|ceux)\s+)", re.IGNORECASE
)
"""What a fragment repeats of the question before it: "et combien pour un PACS ?", "et celle d'un plongeur ?"."""
_FOR: Final = re.compile(r"(?:pour|chez|for)\b ?")


def is_follow_up(question: str) -> bool:
    """Whether a question needs what was said before to be understood."""
    own, opened = _read(question)
    rest = folded(own)
    if not rest or _CHANGE.match(folded(question)):
        return False
    if _BARE.fullmatch(rest) or _CONDITION.match(rest):
        return opened or rest.startswith("what if ") or bool(_BARE.fullmatch(rest)) or not topics.ASKS.search(rest)
    if _is_fragment(own, opened=opened):
        return True
    return topics.points_back(own) or topics.depends(own)


def joined(text: str, before: str) -> str:
    """``text`` made to stand alone behind ``before``, which stands alone already; itself where it does, too."""
    if not before or not is_follow_up(text):
        return text
    own, _ = _read(text)
    for rule in (
        _bare,
        _people_for_people,
        _person,
        _conditional,
        _date_for_date,
        _fragment_for_part,
        _pointed,
        _pronoun,
        _dependent,
    ):
        found = rule(own, before)
        if found is not None and _keeps(found, own):
            return clean(found)
    return f"{before} {_capital(text)}"


def _read(text: str) -> tuple[str, bool]:
    """A question without the words that only link it ("et", "même question", "what about"), and whether it had some."""
    text = clean(text).rstrip(" ?!.")
    opening = _OPENING.match(folded(text))
    own = _without_tail(text[opening.end() :] if opening else text)
    repeated = _PARALLEL.match(own)
    if repeated and topics.only_people(folded(own[repeated.end() :])):  # "combien pour un agent à temps partiel ?"
        return own[repeated.end() :], True
    return own, opening is not None


def _keeps(found: str, own: str) -> bool:
    """Whether each noun and number of the follow-up is in what was made of it, whatever its number."""
    said = folded(found)
    return all(word.rstrip("sx") in said for phrase in phrases(own) for word in phrase.words)


def _without_tail(text: str) -> str:
    return re.sub(
        r"(?:[\s,]+(?:alors|du coup|dans ce cas|then|in that case|svp|stp)|"
        r",\s*(?:(?:c'est )?combien|qu'en est-il|how (?:much|many)))$",
        "",
        text,
        flags=re.IGNORECASE,
    )


def _bare(own: str, before: str) -> str | None:
    """ "Depuis quand ?": asked of the whole question before."""
    return f"{before} {_capital(own)}{_mark(before)}" if _BARE.fullmatch(folded(own)) else None


def _people_for_people(own: str, before: str) -> str | None:
    """ "Et pour les contractuels ?": in the place of the people whom the question before is about."""
    named = topics.only_people(folded(own))
    if named is None:
        return None
    dimension, match = named
    new, more = own[match.start("noun") : match.end("noun")], own[match.end() :]
    before = _cleared(before, more)
    for old in topics.people()[dimension].finditer(folded(before)):
        determiner = (old["det"] or "").strip()
        new_there = _numbered(new, old["noun"], determiner) if dimension == "status" else new
        start = old.start("noun")
        head = before[:start]
        if determiner and dimension == "status":
            head = before[: old.start("det")] + _elided(before[old.start("det") : start], new_there)
        return _capital_like(before, head + new_there + more + before[old.end("noun") :])
    if match["prep"] or (dimension == "time" and not is_english(before)):
        added = own[match.start() :]
        added = added if match["prep"] else f"à {added}"
    else:
        determiner = "" if match["det"] or is_english(before) or folded(new).endswith("s") else "un "
        added = f"{'for' if is_english(before) else 'pour'} {determiner}{own[match.start() :]}"
    return _appended(before, added)


def _cleared(before: str, more: str) -> str:
    """The question before, without the working time, category and day that ``more`` names anew."""
    plain = folded(more)
    for dimension, pattern in topics.people().items():
        old = pattern.search(folded(before))
        if dimension != "status" and old and pattern.search(plain):
            before = f"{before[: old.start()].rstrip()} {before[old.end() :].lstrip()}"
    old = topics.date(folded(before))
    if old and topics.date(plain):
        before = f"{before[: old.start()].rstrip()} {before[old.end() :].lstrip()}"
    return before


def _person(own: str, before: str) -> str | None:
    """ "Et pour une femme enceinte ?": anybody else, in the place of the people of the question before."""
    plain = folded(own)
    lead = _FOR.match(plain)
    named = own[lead.end() if lead else 0 :]
    said = phrases(named)
    english = is_english(before)
    if not said or said[0].at > 5 or said[0].of or topics.ASKS.search(plain):
        return None
    # The head of an English noun is its last word, and a fragment is too short to show its language.
    if said[0].words[-1 if english else 0] not in listed("persons"):
        return None
    people = [
        old
        for old in phrases(before)
        if not old.of and (topics.is_people(before, old) or old.head in listed("persons"))
    ]
    if not people:
        return _appended(_cleared(before, own), f"{'for' if english else 'pour'} {named}")
    old = people[-1]
    start = before[old.start : old.at].strip().split()[:1] if old.preposition else []
    if old.preposition in {"du", "des", "au", "aux"}:
        return None
    return _capital_like(
        before, before[: old.start] + " ".join([*start, named]) + before[topics.whole_end(before, old) :]
    )


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
    match = topics.date(plain)
    if match is None or plain[: match.start()].strip() or plain[match.end() :].strip(" ?"):
        return None
    old = topics.date(folded(before))
    if old is None:
        return _appended(before, own if match["lead"] or not plain[0].isdigit() else f"{_in(before)} {own}")
    if not match["lead"] and old["lead"] and plain[0].isdigit():
        own = before[old.start("lead") : old.end("lead")] + own
    new = own if not before[old.start() :][:1].isupper() else _capital(own)
    return f"{before[: old.start()]}{new}{before[old.end() :]}"


def _is_fragment(own: str, *, opened: bool) -> bool:
    """Whether a question is a mere piece of one; without a linking word only some pieces are."""
    plain = folded(own)
    if len(plain.split()) > _FRAGMENT:
        return False
    if topics.only_people(plain):
        return True
    date = topics.date(plain)
    if date and not plain[: date.start()].strip() and not plain[date.end() :].strip():
        return True
    if _is_place(plain):
        return True
    return opened and not topics.ASKS.search(_PARALLEL.sub("", plain))


def _is_place(plain: str) -> bool:
    return re.fullmatch(r"(?:a|au|aux|en|in|at) (?:la |l'|le )?[a-z]+(?:-[a-z]+)*", plain) is not None


def _fragment_for_part(own: str, before: str) -> str | None:
    """Any other fragment, in the place of the part of the question before that is of its sort."""
    own = _PARALLEL.sub("", own)
    if topics.ASKS.search(folded(own)):
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
        if name[0].isupper() and not re.fullmatch(r"[A-Z]{2,5}s?", name) and not topics.date(folded(name)):
            if old.preposition in {"a", "au", "aux", "en", "in", "at"}:
                return before[: old.start] + own + before[old.end :]
            if old.preposition in {"de", "d'", "du", "of"}:
                return before[: old.at] + own[first.at :] + before[old.end :]
    return _appended(before, own)


_COMPARED: Final = re.compile(
    r"(?:au-dela de|plus de|moins de|jusqu'a|a partir de|over|above|under|below|(?:more|less) than) ?$"
)


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
    compared = _COMPARED.search(folded(own)[: values[0].start])
    new = own[compared.start() if compared else values[0].start : values[0].end]
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
        same = [old for old in phrases(before) if old.preposition == first.preposition and not topics.is_light(old)]
        if len(same) == 1:
            return before[: same[0].start] + own + before[topics.whole_end(before, same[0]) :]
        return None
    places = [
        old
        for old in phrases(before)
        if not topics.is_light(old) and not topics.is_circumstance(old) and not topics.is_people(before, old)
    ]
    tops = [old for old in places if not old.of or topics.is_light(topics.ruler(before, old))]
    alike = (
        [old for old in places if old.head == first.head]
        or [old for old in places if (old.definite, old.preposition) == (first.definite, first.preposition)]
        or [old for old in places if old.preposition == first.preposition != ""]
        or (tops if len(tops) == 1 and not _adds(first) else [])
        or [old for old in places if old.definite is first.definite is False]
    )
    if not alike:
        return _appended(before, own) if _adds(first) else None
    old = alike[-1] if first.definite is False else alike[0]
    noun = own[first.at :]
    end = topics.whole_end(before, old) if first.definite is not False or len(said) > 1 or not old.of else old.end
    return _capital_like(before, before[: old.start] + _governed(old, first, own, noun) + before[end:])


def _adds(said: Phrase) -> bool:
    """Whether a fragment says for what one more case the question is asked, rather than of what else."""
    return said.preposition in {"pour", "for"} and said.definite is False


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


def _pointed(own: str, before: str) -> str | None:
    """ "Ce délai peut-il être réduit ?": the "this" becomes the whole noun phrase that it points at."""
    pointed = topics.DEMONSTRATIVE.search(folded(own))
    if pointed is None or not topics.points_back(own):
        return None
    english = is_english(before)
    old = next((one for one in phrases(before) if one.head == pointed["noun"]), None)
    topic = topics.topic(before)
    if old is not None and (old.determiner or old.of):
        noun = topics.definite(before, old, whole=True)
    elif pointed["noun"] in listed("measures") and topic and not english:
        article = {"ce": "le ", "cette": "la ", "ces": "les "}.get(pointed["pointer"], "l'")
        noun = article + own[pointed.start("noun") : pointed.end()]
    else:
        return None
    goal = re.search(r"\b(?:pour|to) [a-z]+(?:er|ir|re|oir)? [^?]*", folded(before[old.end :])) if old else None
    if old is not None and goal and topics.is_light(old):
        noun = f"{noun} {before[old.end :][goal.start() : goal.end()].strip()}"
    elif topic and not (old and topics.is_complemented(before, old)) and topic not in noun:
        noun = f"{noun} {'for' if english else 'pour'} {topic}{_kept(before, topic, own)}"
    return _asked(own[: pointed.start()] + noun + own[pointed.end() :])


def _pronoun(own: str, before: str) -> str | None:
    """ "Est-elle imposable ?": the pronoun becomes the noun that it stands for."""
    plain = folded(own)
    if not topics.points_back(own) or topics.CLAUSE.search(plain):
        return None
    if is_english(before) and (pronoun := topics.ENGLISH_PRONOUN.search(plain)):
        topic = topics.topic(before)
        return _asked(own[: pronoun.start()] + topic + own[pronoun.end() :]) if topic else None
    found = next((one for one in topics.PRONOUN.finditer(plain) if not topics.is_impersonal(plain, one)), None)
    clitic = topics.CLITIC.search(plain)
    if found:
        gender = found["inverted"] or found["plain"] or found["start"] or found["other"]
    else:
        said = (clitic["clitic"] or clitic["whom"] or "") if clitic else ""
        gender = {"le": "il", "la": "elle", "les": "ils"}.get(said, "")
    topic = topics.topic(before, gender)
    if topic is None:
        return None
    own = _lower(own)
    noun = topic + _kept(before, topic, own)
    if found and found["plain"]:
        return _asked(f"{own[: found.start()]}que {noun}{own[found.end() :]}")
    if found and found["inverted"] and topics.is_determined(topic):
        asks = re.match(r"(?:quand|comment|pourquoi|ou|combien|a quel\w* \w+|dans quel\w* \w+)\s", plain)
        cut = asks.end() if asks else 0
        return _asked(f"{own[:cut]}{noun} {own[cut:]}")
    return _asked(f"{_capital(noun)} : {own}")


def _dependent(own: str, before: str) -> str | None:
    """ "Quel est le délai ?": asked about the subject of the question before."""
    return _about(own, before) if topics.depends(own) else None


def _about(own: str, before: str) -> str | None:
    topic = topics.topic(before)
    if topic is None:
        return None
    noun = topic + _kept(before, topic, own)
    if is_english(before):
        return _asked(f"{own} for {noun}")
    if not topics.is_determined(topic):
        return _asked(f"{_capital(noun)} : {_lower(own)}")
    return _asked(f"{own} pour {noun}")


def _kept(before: str, topic: str, own: str) -> str:
    """Whom and what day the question before was about, which go on holding unless the follow-up has its own."""
    plain = folded(own)
    kept = ""
    people = topics.whom(before)
    if people and folded(people) not in folded(topic) and topics.only_people(plain) is None:
        kept += f" {'for' if is_english(before) else 'pour'} {_lower(people)}"
    date = topics.date(folded(before))
    if date and not topics.date(plain) and folded(date[0]).strip() not in folded(topic):
        kept += f" {_lower(before[date.start() : date.end()].strip())}"
    return kept


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


def clean(text: str) -> str:
    """A question on one line, with single blanks."""
    return " ".join(text.split())
