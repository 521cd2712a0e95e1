"""What a sentence says, word by word, ready to be compared: stems, families of synonyms, and words that bind.

Two words may stand for each other when they share a stem or a family of ``rag/data/wording.toml``. Words that
bind (who acts, for whom a rule is, negations, permissions, opposites such as *before* and *after*) are told apart.
Pure once the word lists are read; French and English.
"""

from __future__ import annotations

import functools
import re
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources
from typing import Any, Final

import snowballstemmer

from rag.quantities import Bound, Kind, Quantity, folded, read

_WORD: Final = re.compile(r"[A-Z]{1,6}-?\d[\w-]*|[^\W_]+(?:['’](?=t\b))?")
_SNOWBALL: Final = {"fr": "french", "en": "english"}
_STEMMERS = threading.local()
_FUZZY: Final = 5
"""Letters that two stems must share from the start to be one word in two shapes (``publi-er``, ``publi-cation``)."""
_BEFORE_SUBJECT: Final = frozenset(
    "le la les l un une des son sa ses leur leurs "
    "tout toute tous toutes chaque cet cette ces ce votre vos notre nos du "
    "de d the a an any each every all your their this that these those".split()
)
_BEING: Final = frozenset(
    "est sont etre ete sera seront soit soient etait etaient is are be been being was were".split()
)
_PARTICIPLE: Final = re.compile(
    r"\w{2,}(?:e|es|ee|ees|i|is|ie|ies|it|ite|its|ites|u|us|ue|ues|ert|erts|erte|ertes|ed|en|ne|wn)"
)
_DENYING: Final = frozenset("pas plus jamais aucun aucune rien personne guere nul nulle ni point".split())


class Modality(StrEnum):
    """How a sentence binds whom it speaks of."""

    PERMIT = "permit"
    FORBID = "forbid"
    OBLIGE = "oblige"
    OPTIONAL = "optional"
    ADVISE = "advise"


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a phrase that means something by itself, at ``[start, end)`` of its text.

    ``ids`` are what it may stand for: its stem and its families. ``roles``, ``statuses`` and ``scales`` (scale and
    place on it) are ids that must never be mixed up. ``name`` is its folded text when it is written as a name;
    ``proper`` marks the name of a place or a thing (not an acronym, which names what a rule is about), ``modal`` one
    that is compared as a modality. ``start`` and ``end`` mean nothing in any other text: words of a sentence, of its
    headings and of its label are compared with each other, so a word says by itself all that may be asked of it.
    """

    start: int
    end: int
    ids: frozenset[str]
    roles: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    scales: frozenset[tuple[int, int]] = frozenset()
    name: str | None = None
    proper: bool = False
    modal: bool = False

    def like(self, other: Word) -> bool:
        """Whether the two may stand for each other."""
        if self.roles or other.roles:
            return bool(self.roles & other.roles) or (not (self.roles and other.roles) and self.ids == other.ids)
        if self.statuses or other.statuses:
            return bool(self.statuses & other.statuses)
        if self.opposes(other):
            return False
        if not self.ids.isdisjoint(other.ids):
            return True
        for mine in self.ids:  # loops, because every two sentences of an answer's passages are compared by this
            if mine[0] == "=":
                for theirs in other.ids:
                    if theirs[0] == "=" and _alike(mine, theirs):
                        return True
        return False

    def opposes(self, other: Word) -> bool:
        """Whether they stand at different places of one scale and share none."""
        if not self.scales or not other.scales or self.scales & other.scales:
            return False
        return bool({scale for scale, _ in self.scales} & {scale for scale, _ in other.scales})


@dataclass(frozen=True, slots=True)
class Reading:
    """What one stretch of text says. ``text`` is what was read, ``words`` and ``quantities`` its parts in order."""

    text: str
    words: tuple[Word, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    tokens: frozenset[str] = frozenset()
    negations: tuple[int, ...] = ()
    modalities: frozenset[Modality] = frozenset()
    frequencies: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    conditions: tuple[tuple[int, int, bool], ...] = ()
    actor: frozenset[str] = frozenset()

    @property
    def negative(self) -> bool:
        """Whether something in it is denied or forbidden."""
        return bool(self.negations) or bool(self.modalities & {Modality.FORBID, Modality.OPTIONAL})


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The word lists of one language, phrases by the key of their first word."""

    fillers: frozenset[str]
    phrases: Mapping[str, list[tuple[tuple[str, ...], str, str]]]
    exact: Mapping[str, frozenset[str]]
    actor: str


def reading(text: str, language: str) -> Reading:
    """What ``text`` says; ``language`` is ``fr`` or ``en``, and any other is read as French."""
    lexicon = _lexicon(language if language in _SNOWBALL else "fr")
    plain = folded(text)
    quantities = tuple(read(text))
    taken = [(one.lead, one.tail) for one in quantities]
    tokens = [(match.start(), match.end(), plain[match.start() : match.end()]) for match in _WORD.finditer(text)]
    free = [not any(start < b and a < end for a, b in taken) for start, end, _ in tokens]
    keys = [_key(text[start:end].lower(), language) for start, end, _ in tokens]
    found = _phrases(lexicon, keys, free, tokens)
    return _assemble(text, lexicon, quantities, tokens, free, keys, found)


def _phrases(
    lexicon: _Lexicon, keys: list[str], free: list[bool], tokens: list[tuple[int, int, str]]
) -> dict[int, tuple[int, list[tuple[str, str]]]]:
    """The longest phrases of the lexicon: place of the first word to how many words and what they are."""
    found: dict[int, tuple[int, list[tuple[str, str]]]] = {}
    position = 0
    while position < len(keys):
        length = 0
        senses: list[tuple[str, str]] = []
        for phrase, category, identity in lexicon.phrases.get(keys[position], ()):
            size = len(phrase)
            if category == "roles" and identity.split(":")[1] != _singular(tokens[position : position + size]):
                continue
            if (
                size < length
                or tuple(keys[position : position + size]) != phrase
                or not all(free[position : position + size])
            ):
                continue
            if size > length:
                length, senses = size, []
            senses.append((category, identity.split(":")[0]))
        if length:
            found[position] = (length, senses)
        position += max(length, 1)
    return found


def _assemble(
    text: str,
    lexicon: _Lexicon,
    quantities: tuple[Quantity, ...],
    tokens: list[tuple[int, int, str]],
    free: list[bool],
    keys: list[str],
    found: dict[int, tuple[int, list[tuple[str, str]]]],
) -> Reading:
    words: list[Word] = []
    frequencies: set[str] = set()
    flags: set[str] = set()
    starts: list[tuple[int, bool]] = []
    forbidden: list[int] = []
    in_phrase: set[int] = set()
    opened = 0
    position = 0
    while position < len(tokens):
        length, senses = found.get(position, (1, []))
        start, end = tokens[position][0], tokens[position + length - 1][1]
        categories = {category for category, _ in senses}
        if length > 1:
            in_phrase |= set(range(position, position + length))
        frequencies |= {identity for category, identity in senses if category == "frequencies"}
        if categories & {"exceptions", "conditions"}:
            if not (starts and starts[-1][1] and start - opened <= 3):  # "sauf en cas de" is one
                starts.append((start, "exceptions" in categories))
            opened = end
        flags |= categories & {"exceptions", "inclusions"}
        if "forbid" in categories:
            forbidden.append(position)
        if free[position]:
            words += _word(text, lexicon, tokens, keys, position, length, senses, start, end)
        position += length
    plain_tokens = [token for _, _, token in tokens]
    for category in ("loose", "universals", "entitle"):
        if any(token in lexicon.exact[category] and free[i] for i, token in enumerate(plain_tokens)):
            flags.add(category)
    negations, only = _negations(lexicon, tokens, free, in_phrase, text)
    if only or any(
        free[i] and _restricts(lexicon, plain_tokens, i, text[: tokens[i][0]].lower()) for i in range(len(tokens))
    ):
        flags.add("only")
    quantities, limiting = _limits(tokens, negations, quantities, text)
    negations = [i for i in negations if i not in limiting]
    modalities, spent = _modalities(lexicon, tokens, free, negations, forbidden)
    if limiting:
        modalities.discard(Modality.PERMIT)
    edges = [*(start for start, _ in starts), len(text)]
    conditions = []
    for start, exception in starts:
        stop = re.compile(r"[,;:.)]\s|[.;)]$").search(text, start)
        close = min(stop.start() if stop else len(text), next(edge for edge in edges if edge > start))
        conditions.append((start, close, exception))
    return Reading(
        text=text,
        words=tuple(words),
        quantities=quantities,
        tokens=frozenset(plain_tokens),
        negations=tuple(tokens[i][0] for i in negations if i not in spent),
        modalities=frozenset(modalities),
        frequencies=frozenset(frequencies),
        flags=frozenset(flags),
        conditions=tuple(conditions),
        actor=_actor(text, lexicon, tokens, words),
    )


def _word(
    text: str,
    lexicon: _Lexicon,
    tokens: list[tuple[int, int, str]],
    keys: list[str],
    position: int,
    length: int,
    senses: list[tuple[str, str]],
    start: int,
    end: int,
) -> list[Word]:
    """The word at ``position``, or none when it carries no meaning of its own."""
    own = tokens[position : position + length]
    meaningful = [
        (category, identity)
        for category, identity in senses
        if category in {"families", "roles", "statuses", "opposites"}
    ]
    if not meaningful:
        if senses or length > 1:  # a frequency, a condition or the like: compared as such
            return []
        token = own[0][2]
        if len(token) == 1 and text[start].isupper() and start > 0 and text[end : end + 1] not in {"'", "’"}:
            return [Word(start, end, frozenset({f"={token}"}), name=token)]
        if token in lexicon.fillers or (len(token) == 1 and not text[start].isupper() and not token.isdigit()):
            return []
        if any(token in lexicon.exact[name] for name in _MODAL_LISTS):
            return []
    ids = {f"{category}:{identity}" for category, identity in meaningful if category in {"families", "roles"}}
    ids |= {f"={keys[position + i]}" for i, (_, _, token) in enumerate(own) if token not in lexicon.fillers}
    if not ids and not meaningful:
        return []
    if {category for category, _ in senses} & {"exceptions", "conditions", "inclusions"}:
        ids = set()  # compared as such
    written = text[start:end]
    named = length == 1 and (
        (written[0].isupper() and start > 0 and not re.search(r"(?:^|[.!?:»«\n\"|•-])\s*$", text[:start]))
        or (len(written) > 1 and written.isupper())
        or bool(re.fullmatch(r"[A-Z]{1,6}-?\d[\w-]*", written))
    )
    roles = frozenset(identity for category, identity in meaningful if category == "roles")
    hyphened = start > 0 and text[start - 1] == "-" and written[0].isupper()
    return [
        Word(
            start,
            end,
            frozenset(ids),
            roles=roles,
            statuses=frozenset(identity for category, identity in meaningful if category == "statuses"),
            scales=frozenset(
                (int(identity.split(".")[0]), int(identity.split(".")[1]))
                for category, identity in meaningful
                if category == "opposites"
            ),
            name=folded(written) if named else None,
            proper=(named or hyphened) and not roles and not written.isupper(),
            modal=length == 1 and any(own[0][2] in lexicon.exact[name] for name in _MODAL_LISTS),
        )
    ]


def _restricts(lexicon: _Lexicon, tokens: list[str], i: int, before: str) -> bool:
    """Whether the word says that something is so only here; ``seul`` does so before its noun, not after."""
    if tokens[i] not in lexicon.exact["only"]:
        return False
    if not tokens[i].startswith("seul") or tokens[i] == "seulement":
        return True
    return i == 0 or bool(re.search(r"[,;:(]\s*$|\b(?:le|la|les|un|une|par|que|au|aux|et)\s+$", before))


def _negations(
    lexicon: _Lexicon, tokens: list[tuple[int, int, str]], free: list[bool], in_phrase: set[int], text: str
) -> tuple[list[int], bool]:
    """Where something is denied (one place for ``ne … pas``), and whether a ``ne … que`` restricts."""
    found: list[int] = []
    only = False
    spent: set[int] = set()
    for i, (_, end, token) in enumerate(tokens):
        if not free[i] or i in spent:
            continue
        if token in {"ne", "n"}:
            ahead = range(i + 1, min(i + 12, len(tokens)))
            second = next(
                (
                    j
                    for j in ahead
                    if (tokens[j][2] in _DENYING or (tokens[j][2] in {"que", "qu"} and j > i + 1))
                    and not re.search(r"[;.]", text[end : tokens[j][0]])
                    and not (tokens[j][2] == "plus" and not free[j])
                ),
                None,
            )
            if second is not None and tokens[second][2] in {"que", "qu"}:
                only = True
                continue
            if second is not None:
                spent.add(second)
            if found and i - found[-1] <= 12 and tokens[found[-1]][2] in _DENYING:
                continue  # "aucun … n'est" is one
            found.append(i)
        elif token in lexicon.exact["negatives"] and i not in in_phrase:
            if token in {"ni", "nor"} and found and i - found[-1] <= 15:
                continue
            if token == "non" and i + 1 < len(tokens) and tokens[i + 1][2] in {"seulement", "pris", "prise"}:
                continue
            found.append(i)
    return found, only


def _limits(
    tokens: list[tuple[int, int, str]], negations: list[int], quantities: tuple[Quantity, ...], text: str
) -> tuple[tuple[Quantity, ...], set[int]]:
    """``ne peut … plus de trois`` is ``au plus trois``: the values so read, and the negations spent on them."""
    limited: list[Quantity] = []
    spent: set[int] = set()
    for one in quantities:
        turned = {Bound.MORE_THAN: Bound.AT_MOST, Bound.LESS_THAN: Bound.AT_LEAST}.get(one.bound)
        near = [
            i
            for i in negations
            if tokens[i][2] in {"ne", "n", "not", "cannot", "t"}
            and tokens[i][0] < one.start
            and sum(tokens[i][0] < start < one.lead for start, _, _ in tokens) <= 7
            and not re.search(r"[,;:.]\s", text[tokens[i][0] : one.start])
        ]
        if turned is not None and near:
            spent.add(near[-1])
            one = replace(one, bound=turned)
        limited.append(one)
    return tuple(limited), spent


def _modalities(
    lexicon: _Lexicon, tokens: list[tuple[int, int, str]], free: list[bool], negations: list[int], forbidden: list[int]
) -> tuple[set[Modality], set[int]]:
    """How the sentence binds, and which negations went into that."""
    found: set[Modality] = set()
    spent: set[int] = set()
    for i in forbidden:
        twice = next((n for n in negations if 0 < i - n <= 4 and tokens[n][2] in {"ne", "n", "not", "non", "no"}), None)
        found.add(Modality.FORBID if twice is None else Modality.PERMIT)
        if twice is not None:
            spent.add(twice)
    denied = [i for i in negations if tokens[i][2] not in {"sans", "without", "non", "aucun", "aucune", "no"}]
    for i, (_, _, token) in enumerate(tokens):
        if not free[i] and token not in {"may", "must", "shall"}:
            continue
        for name, sense in (
            ("permit", Modality.PERMIT),
            ("oblige", Modality.OBLIGE),
            ("optional", Modality.OPTIONAL),
            ("advise", Modality.ADVISE),
        ):
            if token not in lexicon.exact[name]:
                continue
            if token == "permis" and (i == 0 or tokens[i - 1][2] not in {*_BEING, "pas"}):
                continue
            near = next((n for n in denied if 0 < i - n <= 4 or 0 < n - i <= 1), None)
            if near is not None and sense is Modality.PERMIT:
                found.add(Modality.FORBID)
                spent.add(near)
            elif near is not None and sense is Modality.OBLIGE:
                prohibits = token in {"must", "shall"} or token.startswith(("doi", "dev"))
                found.add(Modality.FORBID if prohibits else Modality.OPTIONAL)
                spent.add(near)
            else:
                found.add(sense)
    return found, spent


def _actor(text: str, lexicon: _Lexicon, tokens: list[tuple[int, int, str]], words: list[Word]) -> frozenset[str]:
    """The role that does what the sentence says: after ``par``, or first in an active clause; empty when unclear."""
    index = {start: i for i, (start, _, _) in enumerate(tokens)}
    for word in words:
        if not word.roles:
            continue
        i = index[word.start]
        j = i - 1
        while j >= 0 and tokens[j][2] in _BEFORE_SUBJECT:
            j -= 1
        if j >= 0 and tokens[j][2] == lexicon.actor:
            return word.roles
    for word in words:
        if not word.roles:
            continue
        i = index[word.start]
        j = i - 1
        while (
            j >= 0
            and tokens[j][2] in _BEFORE_SUBJECT
            and not re.search(r"[,;:]", text[tokens[j][1] : tokens[j + 1][0]])
        ):
            j -= 1
        if any(tokens[k][2] in {"du", "de", "d", "aux", "au"} for k in range(j + 1, i)):
            continue
        if j >= 0 and not re.search(r"[,;:]", text[tokens[j][1] : tokens[j + 1][0]]):
            continue
        after = [token for start, _, token in tokens if start >= word.end][:5]
        passive = any(
            token in _BEING
            and any(_PARTICIPLE.fullmatch(following) for following in after[k + 1 : k + 3] if following != "tenu")
            for k, token in enumerate(after[:3])
        )
        return frozenset() if passive else word.roles
    return frozenset()


_MODAL_LISTS: Final = ("negatives", "permit", "oblige", "optional", "advise", "only", "loose", "universals")


@functools.cache
def _lists() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads((resources.files("rag") / "data" / "wording.toml").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=4)
def _forms(language: str) -> Mapping[str, str]:
    """Forms of irregular verbs, with and without accents, and their infinitive."""
    found: dict[str, str] = {}
    for line in _lists().get(language, {}).get("forms", ()):
        infinitive, *forms = line.split()
        for form in forms:
            found[form] = infinitive
            if len(form) > 2:  # "né" without its accent is "ne"
                found[folded(form)] = infinitive
    return found


@functools.lru_cache(maxsize=2)
def _lexicon(language: str) -> _Lexicon:
    data = _lists()[language]
    phrases: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}

    def add(phrase: str, category: str, identity: str) -> None:
        keys = tuple(_key(match[0].lower(), language) for match in _WORD.finditer(phrase))
        phrases.setdefault(keys[0], []).append((keys, category, identity))

    for category in ("families", "statuses"):
        for number, line in enumerate(data[category]):
            for phrase in line.split("|"):
                add(phrase.strip(), category, str(number))
    for number, line in enumerate(data["roles"]):  # a role is not any word of its stem: "usager" is not "usage"
        for phrase in line.split("|"):
            words = [(0, 0, folded(match[0])) for match in _WORD.finditer(phrase)]
            add(phrase.strip(), "roles", f"{number}:{_singular(words)}")
    for number, line in enumerate(data["opposites"]):
        for place, side in enumerate(line.split("/")):
            for phrase in side.split("|"):
                add(phrase.strip(), "opposites", f"{number}.{place}")
    for category in ("forbid", "exceptions", "conditions", "inclusions"):
        for phrase in data[category].split("|"):
            add(phrase.strip(), category, "")
    for name, line in data["frequencies"].items():
        for phrase in line.split("|"):
            add(phrase.strip(), "frequencies", name)
    exact = {name: frozenset(_folded(data[name].split())) for name in (*_MODAL_LISTS, "entitle")}
    return _Lexicon(frozenset(_folded(data["fillers"].split())), phrases, exact, data["actor"])


def _singular(tokens: list[tuple[int, int, str]]) -> str:
    """The words as one string without the endings of plural and feminine."""
    return " ".join(re.sub(r"(?<=\w{3})(?:e?s|x|e)$", "", token) for _, _, token in tokens)


def _folded(words: Iterable[str]) -> Iterable[str]:
    return (folded(word) for word in words)


@functools.lru_cache(maxsize=50_000)
def _key(token: str, language: str) -> str:
    """The folded stem of a word in lower case: plurals, genders and tenses fall together."""
    token = _forms(language).get(token, token)
    if token.isdigit() or len(token) < 3:
        return folded(token)
    stemmer = getattr(_STEMMERS, language, None)
    if stemmer is None:
        stemmer = snowballstemmer.stemmer(_SNOWBALL.get(language, "french"))
        setattr(_STEMMERS, language, stemmer)
    return folded(str(stemmer.stemWord(token)))


@functools.lru_cache(maxsize=50_000)
def _alike(left: str, right: str) -> bool:
    """Whether two stems are one word in two shapes."""
    left, right = left[1:], right[1:]
    shared = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        shared += 1
    shorter, longer = sorted((len(left), len(right)))
    return shared >= _FUZZY and shared >= 0.8 * shorter and longer - shared <= 5


def references(one: Reading) -> frozenset[str]:
    """The keys of the references that it makes."""
    return frozenset(quantity.value for quantity in one.quantities if quantity.kind is Kind.REFERENCE)
