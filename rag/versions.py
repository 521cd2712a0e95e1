"""What is to be said of the versions of what is cited: newer, to come, repealed, of unknown dates; pure.

Two chunks are versions of one text when they are the same article of the same document at other dates, the same
article of the same code or numbered text (:func:`rag.references.article_keys`), or stand in texts of one corpus whose
titles differ in number and date only (:func:`rag.references.text_key`). The last is a likeness and not a statement:
there, one replaces the other only where it begins when the other ends, or comes into force after today.

``siblings`` are what :func:`wanted` asks the store for. It is the asker's own scope without its day, so a version that
a person may not read is never told of.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag import references
from rag.references import Period
from rag.timing import AskedDay
from rag.types import Chunk, Hit, LegalStatus, Notice, NoticeKind, Passage, Scope, Validity

_DAY: Final = dt.timedelta(days=1)
_GAP: Final = dt.timedelta(days=366)
"""Between the end of a text and the beginning of the one like it that replaces it."""
_NUMBERED: Final = re.compile(r"[a-z]+:\d{2,4}-\d")
_NAME: Final = 90
"""Characters of a title that name a text in a notice."""
_SUBJECT: Final = (" relati", " portant ", " sur ", " fixant ", " concernant ", " pris pour ", " pris en ")
"""What begins the subject in a title, which a notice leaves out where the number says which text it is."""
_ENDED: Final = {
    LegalStatus.REPEALED: {"fr": "abrogé", "en": "repealed"},
    LegalStatus.EXPIRED: {"fr": "périmé", "en": "expired"},
    LegalStatus.ANNULLED: {"fr": "annulé", "en": "annulled"},
    LegalStatus.TRANSFERRED: {"fr": "transféré sous un autre numéro", "en": "transferred to another number"},
}
_SAYS: Final = {
    "fr": {
        "named": "{name} : {told}",
        "unknown": "ce texte n'indique pas depuis quand il s'applique.",
        "newer": "{version} ; une version plus récente s'applique depuis le {day}.",
        "over": "{version} ; elle ne s'applique plus aujourd'hui.",
        "ended since": "ce texte est {word} depuis le {day}.",
        "ended": "ce texte est {word}, selon son éditeur.",
        "coming": "une autre version entre en vigueur le {day}.",
        "not yet": "cette version n'entre en vigueur que le {day}.",
        "ceases": "ce texte cesse de s'appliquer le {day}.",
        "version": "version en vigueur {span}",
        "undated": "version sans dates",
        "from to": "du {first} au {last}",
        "since": "depuis le {first}",
        "until": "jusqu'au {last}",
        "in force": "En vigueur {span}",
        "will": "Entrera en vigueur le {first}",
        "is since": "{word} depuis le {day}",
        "no dates": "Dates de validité inconnues",
        "as of": "Réponse au {day}, d'après votre question (« {words} »).",
        "changed": " La règle a changé pendant cette période, le {days}.",
    },
    "en": {
        "named": "{name}: {told}",
        "unknown": "this text does not say from when it applies.",
        "newer": "{version}; a newer version has applied since {day}.",
        "over": "{version}; it no longer applies today.",
        "ended since": "this text has been {word} since {day}.",
        "ended": "this text is {word}, says its publisher.",
        "coming": "another version comes into force on {day}.",
        "not yet": "this version only comes into force on {day}.",
        "ceases": "this text ceases to apply on {day}.",
        "version": "version in force {span}",
        "undated": "version without dates",
        "from to": "from {first} to {last}",
        "since": "since {first}",
        "until": "until {last}",
        "in force": "In force {span}",
        "will": "Comes into force on {first}",
        "is since": "{word} since {day}",
        "no dates": "Dates of validity unknown",
        "as of": "Answer as of {day}, as your question says (“{words}”).",
        "changed": " The rule changed within that period, on {days}.",
    },
}
_MONTHS_FR: Final = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
_MONTHS_EN: Final = "January February March April May June July August September October November December".split()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question to the store, for ``store.chunks(scope, documents=…, references=…)``."""

    scope: Scope
    references: frozenset[str]
    documents: frozenset[tuple[str, str]] | None = None


def wanted(passages: Sequence[Passage], scope: Scope) -> tuple[Wanted, ...]:
    """What to ask the store for the other versions of ``passages``; ``scope`` is the one that found them.

    The scope keeps its groups, clearance and snapshots, and loses its day.
    """
    every = replace(scope, as_of=None)
    chunks = [passage.chunk for passage in passages]
    across = frozenset(key for chunk in chunks for key in _keys(chunk))
    within = frozenset(key for chunk in chunks for key in chunk.own_references if "#" not in key)
    found = []
    if across:
        found.append(Wanted(every, across))
    if within:
        found.append(Wanted(every, within, frozenset((chunk.corpus, chunk.document) for chunk in chunks)))
    return tuple(found)


def notices(
    passages: Sequence[Passage], siblings: Iterable[Chunk], as_of: dt.date, today: dt.date, language: str
) -> tuple[Notice, ...]:
    """What a reader must know of the versions of ``passages``, in their order; passages of one version share a notice.

    ``passages`` are those that the answer cites, ``as_of`` is the day of the answer.
    """
    others = tuple(siblings)
    merged: dict[tuple[NoticeKind, str], Notice] = {}
    for passage in passages:
        for notice in _of(passage, others, as_of, today, language):
            key = (notice.kind, notice.text)
            seen = merged.get(key)
            merged[key] = notice if seen is None else replace(seen, passages=(*seen.passages, *notice.passages))
    return tuple(merged.values())


def named(text: str) -> frozenset[str]:
    """The keys of the articles of numbered texts that ``text`` names; of a whole text that of its first article."""
    keys = (reference.key for reference in references.references(text))
    return frozenset(key if "#" in key else f"{key}#1" for key in keys if _NUMBERED.match(key))


def out_of_force(found: Iterable[Chunk], day: dt.date, today: dt.date, language: str) -> tuple[Notice, ...]:
    """What to say of texts that a question names, where none of their versions holds on the day of the answer."""
    chunks = tuple(found)
    if any(chunk.validity.covers(day) for chunk in chunks):
        return ()
    told = notices([Passage(0, chunk, 0.0) for chunk in chunks], (), day, today, language)
    return tuple(replace(notice, passages=()) for notice in told)


def asked_notice(
    question: str, asked: AskedDay, day: dt.date, passages: Sequence[Passage], siblings: Iterable[Chunk], language: str
) -> Notice:
    """That the day of the answer was read in the question's words, and whether the rule changed within its period."""
    words = " ".join(question[asked.start : asked.end].split())
    changes = () if asked.period is None else changes_within(asked.period, passages, siblings)
    text = _say("as of", language, day=spelled(day, language), words=words)
    if changes:
        text += _say("changed", language, days=_listed(changes, language))
    return Notice(NoticeKind.AS_OF, text, day=day)


def statement(chunk: Chunk, today: dt.date, language: str) -> str:
    """One line on the version that a passage is of, and its dates: « En vigueur depuis le 1er janvier 2024 »."""
    start, end = chunk.validity.start, chunk.validity.end
    word = _ended_word(chunk, language).capitalize()
    if word and end is None:
        return word
    if word and end is not None and end <= today:
        return _say("is since", language, word=word, day=spelled(end, language))
    if start is not None and start > today:
        will = _say("will", language, first=spelled(start, language))
        return will if end is None else f"{will}, {_span(Validity(end=end), language)}"
    if not chunk.validity.known:
        return _say("no dates", language)
    return _say("in force", language, span=_span(chunk.validity, language))


def changes_within(period: Period, passages: Sequence[Passage], siblings: Iterable[Chunk]) -> tuple[dt.date, ...]:
    """The days inside ``period`` from which another version of what ``passages`` show is in force, in order."""
    others = tuple(siblings)
    days: set[dt.date] = set()
    for passage in passages:
        family = [other for other in others if same_text(passage.chunk, other)]
        for one in (passage.chunk, *family):
            days |= {day for day in (one.validity.start, one.validity.end) if day is not None} if family else set()
    return tuple(sorted(day for day in days if period.first < day < period.last))


def day_before_change(passages: Sequence[Passage], siblings: Iterable[Chunk]) -> dt.date | None:
    """The last day before the version that the best passage shows, where an older one can be seen; else ``None``.

    For « avant la réforme » (:data:`rag.timing.DayKind.BEFORE_CHANGE`); ``passages`` are those found as of today.
    """
    others = tuple(siblings)
    for passage in sorted(passages, key=lambda one: (-one.score, one.n)):
        start = passage.chunk.validity.start
        if start is not None and any(_newer(passage.chunk, other) for other in others):
            return start - _DAY
    return None


def newest_first(hits: Sequence[Hit]) -> list[Hit]:
    """The hits, with the wordings of one article that was named in the order of their dates, the newest before others.

    On one day one wording is in force; where the dates of a publisher say two, the one that came last is. Scores stay
    where they were.
    """
    found = list(hits)
    places: dict[tuple[str, ...], list[int]] = {}
    for at, hit in enumerate(found):
        if hit.exact and hit.chunk.validity.start is not None:
            places.setdefault(_article(hit.chunk), []).append(at)
    for several in places.values():
        dated = sorted(
            (found[at] for at in several), key=lambda hit: hit.chunk.validity.start or dt.date.min, reverse=True
        )
        for hit, at, score in zip(dated, several, [found[at].score for at in several], strict=True):
            found[at] = replace(hit, score=score)
    return found


def _article(chunk: Chunk) -> tuple[str, ...]:
    """What the wordings of one article have in common."""
    of_code = next((key for key in chunk.own_references if key.startswith("code:")), None)
    return (chunk.corpus, of_code) if of_code else (chunk.corpus, chunk.document, chunk.reference)


def same_text(one: Chunk, other: Chunk) -> bool:
    """Whether two chunks are of different versions of one text or article, as far as what is stored tells."""
    if one.corpus != other.corpus or one.validity == other.validity:
        return False
    return _same_article(one, other) or _alike(one, other)


def spelled(day: dt.date, language: str) -> str:
    """A day in words: « 1er janvier 2025 », "1 January 2025"."""
    if language == "en":
        return f"{day.day} {_MONTHS_EN[day.month - 1]} {day.year}"
    return f"{'1er' if day.day == 1 else day.day} {_MONTHS_FR[day.month - 1]} {day.year}"


# --- which versions there are ---------------------------------------------------------------------------


def _keys(chunk: Chunk) -> Iterable[str]:
    """The keys that the other versions of a chunk's text answer to, in whatever document they stand."""
    yield from (key for key in chunk.own_references if "#" in key)
    text = references.text_key(chunk.title)
    if text is not None:
        yield text


def _same_article(one: Chunk, other: Chunk) -> bool:
    if one.document == other.document:
        return bool(one.reference) and one.reference == other.reference
    shared = {key for key in one.own_references if "#" in key}.intersection(other.own_references)
    # Two offices number their decisions each from one: outside codes, the rest of the title must be the same too.
    return any(key.startswith("code:") for key in shared) or (
        bool(shared) and references.text_key(one.title) == references.text_key(other.title)
    )


def _alike(one: Chunk, other: Chunk) -> bool:
    text = references.text_key(one.title)
    return one.document != other.document and text is not None and text == references.text_key(other.title)


def _newer(one: Chunk, than: Chunk) -> bool:
    """Whether ``one`` has replaced ``than``, another version of its text."""
    start, end = one.validity.start, than.validity.end
    if start is None or not same_text(one, than) or (than.validity.start or dt.date.min) >= start:
        return False
    if _same_article(one, than):
        return end is None or end <= start
    return end is not None and end <= start <= end + _GAP


def _to_come(one: Chunk, than: Chunk, today: dt.date) -> bool:
    """Whether ``one`` will replace ``than`` after today; who publishes it may not have ended the old one yet."""
    start, end = one.validity.start, than.validity.end
    if start is None or start <= today or not same_text(one, than):
        return False
    return (than.validity.start or dt.date.min) < start and (end is None or today < end <= start)


# --- the notices ----------------------------------------------------------------------------------------


def _of(passage: Passage, others: Sequence[Chunk], as_of: dt.date, today: dt.date, language: str) -> Iterator[Notice]:
    chunk = passage.chunk
    for kind, told, day in _told(chunk, others, as_of, today, language):
        text = _say("named", language, name=_name(chunk.title), told=told)
        yield Notice(kind, text, (passage.n,), day)


def _told(
    chunk: Chunk, others: Sequence[Chunk], as_of: dt.date, today: dt.date, language: str
) -> Iterator[tuple[NoticeKind, str, dt.date | None]]:
    """What is to be said of one chunk: the kind, the words and the day of each notice."""
    start, end = chunk.validity.start, chunk.validity.end
    if not chunk.validity.known:
        yield NoticeKind.UNKNOWN_VALIDITY, _say("unknown", language), None
    since = _latest(one.validity.start for one in others if _replaces(one, chunk, others, as_of, today))
    ended = _over(chunk, today, language)
    if since is not None:
        said = _say("newer", language, version=_version(chunk.validity, language), day=spelled(since, language))
        yield NoticeKind.NEWER_VERSION, said, since
    elif ended is not None:
        yield NoticeKind.NOT_IN_FORCE, ended, end
    coming = _earliest(one.validity.start for one in others if _to_come(one, chunk, today))
    for form, day in (("coming", coming), ("not yet", start), ("ceases", end)):
        if day is not None and day > today:
            yield NoticeKind.FUTURE_VERSION, _say(form, language, day=spelled(day, language)), day
            break


def _replaces(one: Chunk, chunk: Chunk, others: Sequence[Chunk], as_of: dt.date, today: dt.date) -> bool:
    """Whether ``one`` has taken the place of ``chunk`` between the day of the answer and today, at once or later on."""
    start = one.validity.start
    if start is None or not as_of < start <= today:
        return False
    if _newer(one, chunk):
        return True
    return any(_newer(middle, chunk) and _newer(one, middle) for middle in others)


def _latest(days: Iterable[dt.date | None]) -> dt.date | None:
    return max((day for day in days if day is not None), default=None)


def _earliest(days: Iterable[dt.date | None]) -> dt.date | None:
    return min((day for day in days if day is not None), default=None)


def _over(chunk: Chunk, today: dt.date, language: str) -> str | None:
    """That a text is over, as its dates or its publisher say."""
    word, end = _ended_word(chunk, language), chunk.validity.end
    if end is not None and end <= today:
        if word:
            return _say("ended since", language, word=word, day=spelled(end, language))
        return _say("over", language, version=_version(chunk.validity, language))
    return _say("ended", language, word=word) if word and end is None else None


def _ended_word(chunk: Chunk, language: str) -> str:
    """What its publisher says has become of a text that is over; empty where nothing has."""
    words = {} if chunk.legal_status is None else _ENDED.get(chunk.legal_status, {})
    return words.get(_speech(language), "")


def _version(validity: Validity, language: str) -> str:
    if not validity.known:
        return _say("undated", language)
    return _say("version", language, span=_span(validity, language))


def _span(validity: Validity, language: str) -> str:
    """« du 1er janvier 2022 au 31 décembre 2024 »: the last day is one on which it still holds."""
    first = "" if validity.start is None else spelled(validity.start, language)
    last = "" if validity.end is None else spelled(validity.end - _DAY, language)
    form = "from to" if first and last else "since" if first else "until"
    return _say(form, language, first=first, last=last)


def _say(form: str, language: str, **values: str) -> str:
    return _SAYS[_speech(language)][form].format(**values)


def _speech(language: str) -> str:
    """The language that notices are written in; French for all but English."""
    return "en" if language == "en" else "fr"


def _name(title: str) -> str:
    """The title as far as it tells which text it is: its number and date, or its first words."""
    cut = next((at for mark in _SUBJECT if (at := title.find(mark)) > 0 and any(map(str.isdigit, title[:at]))), None)
    short = title if cut is None else title[:cut]
    return short if len(short) <= _NAME else f"{short[: _NAME - 1].rsplit(' ', 1)[0]}…"


def _listed(days: Sequence[dt.date], language: str) -> str:
    words = [spelled(day, language) for day in days]
    last = " et le " if language != "en" else " and "
    middle = ", le " if language != "en" else ", "
    return words[0] if len(words) == 1 else middle.join(words[:-1]) + last + words[-1]
