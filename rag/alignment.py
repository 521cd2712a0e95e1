"""How a claim lies over what it cites: figures between 0 and a few that say what agrees and what does not. Pure.

A claim is laid over a window: the sentence of the cited passages that holds most of it, and up to two more that add
to that. The figures of :func:`measure` are what the judge's score is made of (:mod:`rag.scoring`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rag.evidence import SEGMENT, Unit
from rag.quantities import Bound, Kind, Quantity, Relation, folded
from rag.thesaurus import Term, credit, terms
from rag.values import (
    agrees,
    bound_to,
    bounds_agree,
    comparable,
    dates_a_reference,
    instance,
    opposed_bounds,
    opposed_relations,
)
from rag.verdicts import spells
from rag.wording import Modality, Reading

LENT: Final = 0.6
"""What a word counts that only the headings or the sentences before lend."""
_LIGHT: Final = 0.35
_HEAVY: Final = 1.5
_CLAUSE: Final = 2
"""Full words from which a stretch between commas or "and" is a clause of its own."""
_WIDEST: Final = 3
"""Sentences in a window."""
_UNIVERSAL: Final = re.compile(
    r"\b(?:n'importe|tou(?:s|te|tes|t) (?:les|la|le|agent|personne)|quel(?:le)?s? que soi|quoi qu|meme (?:si|en|a|"
    r"sans|lorsqu|quand|pour|de|un|une)|dans tous les cas|a tout moment|a toute heure|librement|"
    r"sans (?:aucune )?condition|en toute|toujours|systematiquement|partout|quand (?:il|on|vous) (?:le )?(?:veut|"
    r"voulez|souhait)|en aucun|jamais|chaque|tous|toutes|sans exception|d'office|automatiquement|any|every|all|"
    r"always|never|regardless)\b"
)
_EASING: Final = re.compile(
    r"\b(?:suffi(?:t|sent)?|simple|seul(?:e|es|s)?|sans (?:que|avoir|qu)|des |deja|libre|n'a pas a|n'ont pas a|"
    r"n'a besoin|lui-meme|elle-meme|eux-memes|vous-meme|non plus|meme|encore)\b"
)
_GENERIC: Final = frozenset({"0", "1"})
"""The roles of whoever is concerned and of the body itself, which are named and left out at will."""
_TOKEN: Final = re.compile(r"\w+")
_ADDITION: Final = re.compile(r"\b(?:et|ou|ainsi que|plus|and|or|as well as)\b(?:\s\w+'?){0,3}\s*$")
_DENIAL: Final = re.compile(
    r"\b(?:(?:ne |n')(?:\S+ ){0,4}?(?:pas|jamais|guere|rien|personne)\b(?! plus)|(?:^|(?<=[,:;] ))pas\b(?! plus)|"
    r"non|ni|jamais|aucune?|nul(?:le)?|rien|sans|hors|hormis|sauf|excepte\w*|"
    r"a defaut|en l'absence|absence d|exclu\w*|interdi\w*|proscri\w*|prohib\w*|refus\w*|rejet\w*|impossible|inutil\w*|"
    r"irrevocable\w*|irrecevab\w*|caduc\w*|abrog\w*|supprim\w*|perdu\w*|perdre|perd|perdent|disparai\w*|disparu\w*|"
    r"cess\w*|echapp\w*|inoccup\w*|inelig\w*|indu\w*|dispens\w*|exempt\w*|exoner\w*|priv(?:e|es|ee|ees|er)\b|"
    r"retir\w*|annul\w*|suspend\w*|empech\w*|incompatib\w*|en dehors|silence|"
    r"not|no|never|neither|nor|without|cannot|none|except|unless|forbid\w*|prohibit\w*|exclud\w*|reject\w*)\b"
)
"""A word that denies by itself; negations of verbs are the reading's."""
_LIMITING: Final = re.compile(
    r"\b(?:pas plus d|sans (?:pouvoir |que )?(?:\w+ ){0,2}(?:au-dela|plus|exced\w*|depass\w*|limite)|"
    r"sans (?:attendre|delai)|non seulement|sans prejudice)"
)
"""Words of denial that only limit."""
_CALENDAR_FROM: Final = 22
"""The first scale of contraries that tells days, months and ways to count apart (the lists of French)."""
_CHOICE: Final = re.compile(
    r"\b(?:facultati\w*|optionnel\w*|au choix|laissee?s? au|libre\w*|a (?:sa|votre|leur) guise|de (?:son|votre|"
    r"leur) choix|s'il le (?:souhaite|veut|desire)|si (?:vous|on|l'on|elle) le \w+|quand (?:il|on|"
    r"vous) (?:le )?veu\w*|volont\w*|a (?:sa|leur|votre) demande|souhait\w*|n'est pas (?:obligatoire|tenu\w*)|"
    r"peut choisir|optional\w*|voluntar\w*)\b"
)
_DUTY: Final = re.compile(
    r"\b(?:oblig\w*|doi(?:t|vent)|dev(?:ez|ra|ront|oir)|tenue?s? d|impos\w*|exig\w*|requis\w*|faut|imperati\w*|"
    r"necessair\w*|subordonn\w*|a condition|must|shall|required|mandatory)\b"
)


_CLOSE: Final = (
    "denied_only_here", "denied_only_there", "polarity_all", "polarity_here", "polarity_there", "role_elsewhere",
    "role_lost", "actor_other", "actor_lost", "universal_added", "easing_added", "only_added", "only_lost",
    "condition_lost", "permit_added", "oblige_added", "choice_added", "choice_lost", "duty_for_choice",
    "choice_for_duty", "missing", "missing_first", "contrary", "value_far", "value_elsewhere", "value_column",
    "forbid_added", "forbid_lost", "oblige_permit", "optional_lost",
)  # fmt: skip
"""Figures that weigh again the more, the nearer the claim is to a quotation: there a difference is meant."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sentences of the cited passages that a claim is laid over, the best first."""

    units: tuple[Unit, ...]
    cover: float


def cover(said: Sequence[Term], values: Sequence[Quantity], units: Sequence[Unit], language: str) -> float:
    """The share of a claim that ``units`` hold together, by weight, in ``[0, 1]``."""
    held = total = 0.0
    for term in said:
        weight = _weight(term)
        total += weight
        held += weight * _best(term, units, language)
    for value in values:
        total += 1.0
        held += any(agrees(value, other, unit) for unit in units for other in unit.values)
    return held / total if total else 0.0


def window(said: Reading, language: str, units: Sequence[Unit]) -> Window:
    """The best window for a claim: the sentence that holds most of it, then those that add to it."""
    claim = _counted(terms(said.text, language))
    values = _plain_values(said)
    if not units:
        return Window((), 0.0)
    scored = sorted(((cover(claim, values, (unit,), language), -i) for i, unit in enumerate(units)), reverse=True)
    best, place = scored[0]
    chosen = [units[-place]]
    for _ in range(_WIDEST - 1):
        gains = [
            (cover(claim, values, (*chosen, units[-i]), language), i)
            for score, i in scored[:8]
            if units[-i] not in chosen and score > 0.12
        ]
        if not gains:
            break
        gained, i = max(gains)
        if gained < best + 0.08:
            break
        best = gained
        chosen.append(units[-i])
    return Window(tuple(chosen), best)


def measure(said: Reading, language: str, laid: Window, passage: Sequence[Unit]) -> dict[str, float]:
    """What agrees and what does not between a claim and its window; ``passage`` are all sentences that it cites."""
    claim = _counted(terms(said.text, language))
    values = _plain_values(said)
    units = laid.units
    source = [term for unit in units for term in terms(unit.said.text, language)]
    primary = terms(units[0].said.text, language)
    degrees = [max((credit(term, other) for other in source), default=0.0) for term in claim]
    lent = [_lent(term, units, language) if one < 0.5 else 0.0 for term, one in zip(claim, degrees, strict=True)]
    missing = [term for term, one, two in zip(claim, degrees, lent, strict=True) if max(one, two) < 0.5]
    solid = [term for term in missing if not term.light]
    first = next((term for term in claim if not term.light), None)
    figures: dict[str, float] = {
        "cover": laid.cover,
        "cover_first": cover(claim, values, units[:1], language),
        "sentences": float(len(units) - 1),
        "missing": float(len(solid)) / max(3, len(claim)),
        "missing_light": float(len(missing) - len(solid)) / max(3, len(claim)),
        "missing_first": float(first is not None and first in solid),
        "missing_name": float(sum(_unnamed(term, units) for term in missing)),
        "lent": sum(lent) / max(1, len(claim)),
        "kin": sum(0.5 < one < 1.0 for one in degrees) / max(1, len(claim)),
        "words": min(len(claim), 20) / 10.0,
        "exact": _exact(claim, primary, units[0]),
        "weakest": _weakest(said, claim, values, units, language),
        "verbatim": _verbatim(said.text, [unit.text for unit in units]),
        "added": float(sum(_added(term, said) for term in solid)),
    }
    figures |= _about_roles(claim, said, units, source, passage, language)
    figures |= _about_values(claim, said, units, passage, language)
    figures |= _about_polarity(claim, said, units, language)
    figures |= _about_modality(said, units)
    figures |= _about_reach(said, units, claim, primary)
    near = figures["exact"] ** 2
    return figures | {f"{name}_close": figures[name] * near for name in _CLOSE}


def _exact(claim: Sequence[Term], primary: Sequence[Term], unit: Unit) -> float:
    """The share of the claim's full words that the best sentence, its headings or what stands before it hold as they
    are: how near to a quotation the claim is."""
    full = [term for term in claim if not term.light]
    context = (*unit.around.words, *unit.near)
    held = sum(
        any(credit(term, other) == 1.0 for other in primary) or any(term.word.like(word) for word in context)
        for term in full
    )
    return held / len(full) if full else 0.0


def _unnamed(term: Term, units: Sequence[Unit]) -> bool:
    """Whether a missing word is a name that the sentences and their headings do not spell out either."""
    name = term.word.name
    if name is None or term.word.roles:
        return False
    return not any(spells(name, text) for unit in units for text in (unit.said.text, unit.around.text))


def _weakest(
    said: Reading, claim: Sequence[Term], values: Sequence[Quantity], units: Sequence[Unit], language: str
) -> float:
    """The cover of the clause that has least of it; 1 for a claim of one clause."""
    cuts = [0, *(match.end() for match in SEGMENT.finditer(said.text)), len(said.text)]
    covers = []
    for start, end in itertools.pairwise(cuts):
        inside = [term for term in claim if start <= term.word.start < end]
        if sum(not term.light for term in inside) >= _CLAUSE:
            own = [value for value in values if start <= value.start < end]
            covers.append(cover(inside, own, units, language))
    return min(covers) if len(covers) > 1 else 1.0


def _verbatim(text: str, sources: Sequence[str]) -> float:
    """The share of the claim's words that stand in three or more together as they do in the sentences."""
    words = _TOKEN.findall(folded(text))
    runs = {run for source in sources for run in _runs(source)}
    inside = set()
    for place in range(len(words) - 2):
        if (words[place], words[place + 1], words[place + 2]) in runs:
            inside |= {place, place + 1, place + 2}
    return len(inside) / len(words) if words else 0.0


@functools.lru_cache(maxsize=4096)
def _runs(text: str) -> frozenset[tuple[str, str, str]]:
    words = _TOKEN.findall(folded(text))
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _added(term: Term, said: Reading) -> bool:
    """Whether a word follows on something else with "and": an addition."""
    return _ADDITION.search(folded(said.text[: term.word.start])) is not None


def _counted(found: Sequence[Term]) -> list[Term]:
    return [term for term in found if (term.word.ids or term.kin) and not term.word.modal]


def _plain_values(said: Reading) -> list[Quantity]:
    return [
        value for value in said.quantities if value.kind is not Kind.REFERENCE and not dates_a_reference(said, value)
    ]


def _weight(term: Term) -> float:
    if term.word.roles or term.word.statuses or term.word.name:
        return _LIGHT if "0" in term.word.roles else _HEAVY
    return _LIGHT if term.light else 1.0


def _best(term: Term, units: Sequence[Unit], language: str) -> float:
    own = max((credit(term, other) for unit in units for other in terms(unit.said.text, language)), default=0.0)
    return own if own >= 0.5 else max(own, _lent(term, units, language))


def _lent(term: Term, units: Sequence[Unit], language: str) -> float:
    for unit in units:
        for reading_ in (unit.around,):
            if any(credit(term, other) >= 0.5 for other in terms(reading_.text, language)):
                return LENT
        if any(term.word.like(other) for other in unit.near):
            return LENT
    return 0.0


def _about_rows(claim: Sequence[Term], row: Unit, passage: Sequence[Unit], language: str) -> float:
    """How much better another row of the table answers to the claim by its label than the row that holds the value."""

    def told(unit: Unit) -> float:
        label = [term for term in terms(unit.label_text, language) if not term.light]
        if not label:
            return 0.0
        return sum(max((credit(term, other) for other in claim), default=0.0) for term in label) / len(label)

    mine = told(row)
    return max((told(unit) - mine for unit in passage if unit.row and unit.lead == row.lead), default=0.0)


def _about_roles(
    claim: Sequence[Term],
    said: Reading,
    units: Sequence[Unit],
    source: Sequence[Term],
    passage: Sequence[Unit],
    language: str,
) -> dict[str, float]:
    """Who acts and for whom: those that the claim names and the window does not, and another actor."""
    strange = status = 0
    for term in claim:
        word = term.word
        specific = word.roles - _GENERIC
        if specific and not any(word.like(other.word) or (term.kin & other.kin) for other in source):
            around = any(
                word.like(other) for unit in passage for other in (*unit.words, *unit.around.words, *unit.near)
            )
            strange += 1 if not around else 0
        if word.statuses and not any(word.statuses & other.word.statuses for other in source):
            around = any(word.statuses & other.statuses for unit in units for other in (*unit.around.words, *unit.near))
            status += 1 if not around else 0
    elsewhere = 0.0
    for term in claim:
        specific = (term.word.roles - {"0"}) | term.word.statuses
        if not specific:
            continue
        rest = [other for other in claim if other is not term]
        home = max(units, key=lambda unit: cover(rest, (), (unit,), language))
        named = (*home.words, *home.around.words, *(home.near if home.anaphoric else ()))
        others = {role for word in home.words for role in word.roles | word.statuses} - {"0"}
        if not any(term.word.like(word) for word in named):
            elsewhere += 1.0 if others else 0.5
    rows = [unit for unit in units if unit.row]
    theirs = {role for unit in units for role in unit.said.actor} - {"0"}
    mine = said.actor - {"0"}
    others = {role for other in source for role in other.word.roles} - {"0"}
    own = {role for term in claim for role in term.word.roles} - {"0"}
    told = {status_ for term in claim for status_ in term.word.statuses}
    known = {status_ for other in source for status_ in other.word.statuses}
    return {
        "role_elsewhere": elsewhere,
        "rows_mixed": float(_mixed(claim, said, rows, units, language)),
        "status_other": float(_other_status(claim, passage)),
        "role_strange": float(strange),
        "status_strange": float(status),
        "actor_other": float(bool(mine and theirs and not mine & theirs)),
        "actor_lost": float(bool(theirs and not mine and not own & theirs)),
        "role_lost": float(len(others - own)) / 2,
        "status_lost": float(bool(known) and not told),
    }


def _other_status(claim: Sequence[Term], passage: Sequence[Unit]) -> bool:
    """Whether the claim speaks of one sort of staff where all that it cites speaks of others only."""
    told = {status for term in claim for status in term.word.statuses}
    known = {status for unit in passage for word in (*unit.words, *unit.around.words) for status in word.statuses}
    return bool(told and known) and not told & known


def _mixed(claim: Sequence[Term], said: Reading, rows: Sequence[Unit], units: Sequence[Unit], language: str) -> bool:
    """Whether a full word or a value of the claim comes only from a second row of the table of the first row."""
    for place, row in enumerate(rows):
        before = [one for one in rows[:place] if one.lead == row.lead]
        if not before:
            continue
        rest = [unit for unit in units if unit is not row]
        for value in said.quantities:
            if any(agrees(value, other, row) for other in row.values) and not any(
                agrees(value, other, unit) for unit in rest for other in unit.values
            ):
                return True
        for term in claim:
            if term.light or term.word.roles == {"0"}:
                continue
            if _best(term, [row], language) >= 1.0 > 0.5 > _best(term, rest, language):
                return True
    return False


def _about_values(
    claim: Sequence[Term], said: Reading, units: Sequence[Unit], passage: Sequence[Unit], language: str
) -> dict[str, float]:
    """Numbers, amounts, dates: absent, elsewhere in the passage, with another bound, or said of something else."""
    figures = dict.fromkeys(
        ("value_absent", "value_far", "value_unit", "value_one", "value_elided", "value_instance", "value_new",
         "value_beyond", "value_bound", "value_relation", "value_loose", "value_elsewhere", "value_column",
         "value_row", "value_rival", "date_absent", "reference_absent", "frequency_strange"), 0.0,
    )  # fmt: skip
    counted = sum(value.kind is not Kind.REFERENCE for value in said.quantities)
    covers: list[float] | None = None
    holding: list[Unit] = []
    for value in said.quantities:
        if value.kind is Kind.REFERENCE or dates_a_reference(said, value):
            known = [other.value for one in passage for other in (*one.values, *one.around.quantities)]
            figures["reference_absent"] += value.value not in known
            continue
        same = [(unit, other) for unit in units for other in unit.values if agrees(value, other, unit)]
        if not same:
            figures[_absence(value, said, units, passage)] += 1
            continue
        holding += [unit for unit, _ in same]
        if all(opposed_bounds(value, other) for _, other in same):
            figures["value_bound"] += 1
        elif all(opposed_relations(value, other) for _, other in same):
            figures["value_relation"] += 1
        elif not any(bounds_agree(value, other, said) for _, other in same):
            figures["value_loose"] += 1
        if not any(bound_to(said, value, other, unit) for unit, other in same):
            if not all(unit.row for unit, _ in same):
                figures["value_elsewhere"] += 1
            elif not all(_all_told(said, other, unit) for unit, other in same):
                figures["value_column"] += 1
        if all(unit.row for unit, _ in same):
            rows = min(_about_rows(claim, unit, passage, language) for unit, _ in same)
            figures["value_row"] = max(figures["value_row"], rows)
        covers = covers or [cover(claim, (), (unit,), language) for unit in passage]
        held = [any(agrees(value, other, unit) for other in unit.values) for unit in passage]
        mine = max((one for one, holds in zip(covers, held, strict=True) if holds), default=0.0)
        theirs = max(
            (
                one
                for one, holds, unit in zip(covers, held, passage, strict=True)
                if not holds and any(comparable(value, other) for other in unit.values)
            ),
            default=0.0,
        )
        if counted == 1:  # a claim of several values may rest on several sentences
            figures["value_rival"] = max(figures["value_rival"], theirs - mine)
    known_frequencies = {one for unit in holding or units for one in unit.said.frequencies | unit.around.frequencies}
    ordinals = {one.value for unit in units[:1] for one in unit.values if one.kind is Kind.ORDINAL and one.value != "1"}
    figures["ordinal_lost"] = float(bool(ordinals - {one.value for one in said.quantities}))
    figures["frequency_strange"] = float(len(said.frequencies - known_frequencies))
    return figures


def _all_told(said: Reading, other: Quantity, unit: Unit) -> bool:
    """Whether the claim tells every value of the row that might stand where this one does."""
    rivals = [
        one for one in unit.values if one.kind is other.kind and one.unit == other.unit and one.value != other.value
    ]
    return all(any(agrees(told, rival, unit) for told in said.quantities) for rival in rivals)


def _absence(value: Quantity, said: Reading, units: Sequence[Unit], passage: Sequence[Unit]) -> str:
    """What the lack of a value in the window is called."""
    if any(agrees(value, other, unit) for unit in passage for other in unit.values):
        return "value_far"
    unbound = value.bound is Bound.EXACT and value.relation is Relation.NONE
    if (
        unbound
        and value.kind in {Kind.NUMBER, Kind.DURATION}
        and folded(said.text[value.start : value.start + 4]).split(" ")[0] in {"un", "une", "a", "one"}
    ):
        return "value_one"
    others = [other for unit in units for other in unit.values if other.kind is not Kind.REFERENCE]
    like = [other for other in others if other.kind is value.kind and other.unit == value.unit]
    if any(instance(value, other) for other in like) and all(other.bound is not Bound.EXACT for other in like):
        return "value_instance"
    if value.kind is Kind.NUMBER and any(
        other.value == value.value and other.kind is not Kind.ORDINAL for other in others
    ):
        return "value_elided"
    if any(other.value == value.value for other in others):
        return "value_unit"
    if value.kind is Kind.DATE:
        return "date_absent"
    if not any(comparable(value, other) for unit in units for other in unit.values):
        elsewhere = any(comparable(value, other) for unit in passage for other in unit.values)
        return "value_beyond" if elsewhere else "value_new"
    return "value_one" if value.kind is Kind.NUMBER and value.value in {"0", "1"} else "value_absent"


def _about_polarity(claim: Sequence[Term], said: Reading, units: Sequence[Unit], language: str) -> dict[str, float]:
    """Negations and contraries, clause by clause: what is denied here and said there."""
    mine = _denied(said)
    theirs = [(unit, terms(unit.said.text, language), _denied(unit.said)) for unit in units]
    matched = differing = contrary = calendar = 0.0
    here = there = 0.0
    for term in claim:
        if term.light:
            continue
        context = units[0].anaphoric and _lent(term, units, language) > 0
        dated = [other for other in theirs[0][1] if _dated(term, other)]
        told = any(term.scales & other.scales for _, others, _ in theirs for other in others)
        calendar += bool(dated) and not told and not context
        best = max(
            (
                (credit(term, other), -rank, _inside(other.word.start, clauses))
                for rank, (_, others, clauses) in enumerate(theirs)
                for other in others
            ),
            default=(0.0, 0, False),
        )
        if best[0] >= 0.5:
            denied = _inside(term.word.start, mine)
            matched += 1
            differing += denied != best[2]
            here += denied and not best[2]
            there += best[2] and not denied
        elif not context:
            against = [other for _, others, _ in theirs[:1] for other in others if term.contradicts(other)]
            contrary += bool(against)
    return {
        "polarity_here": here / matched if matched else 0.0,
        "polarity_there": there / matched if matched else 0.0,
        "polarity_all": float(bool(matched) and differing > 0.6 * matched),
        "contrary": float(contrary > 0 and differing == 0),
        "contrary_denied": float(contrary > 0 and differing > 0),
        "calendar": calendar,
        "denied_only_here": float(
            any(clause[2] for clause in mine) and not any(c[2] for _, _, cs in theirs for c in cs)
        ),
        "denied_only_there": float(
            not any(clause[2] for clause in mine) and any(clause[2] for _, _, cs in theirs[:1] for clause in cs)
        ),
        "denied": float(said.negative),
    }


def _denied(said: Reading) -> tuple[tuple[int, int, bool], ...]:
    """The clauses of a text and whether each denies something, by a negation or by a word that denies."""
    cuts = [0, *(match.end() for match in SEGMENT.finditer(said.text)), len(said.text)]
    plain = _LIMITING.sub(lambda found: "_" * len(found[0]), folded(said.text))
    return tuple(
        (
            start,
            end,
            bool(any(start <= place < end for place in said.negations) or _DENIAL.search(plain, start, end)),
        )
        for start, end in itertools.pairwise(cuts)
    )


def _inside(place: int, clauses: Sequence[tuple[int, int, bool]]) -> bool:
    return any(denied for start, end, denied in clauses if start <= place < end)


def _dated(one: Term, other: Term) -> bool:
    """Whether the two are two days of the week, two months, two kinds of day or two ways to count a price."""
    shared = {scale for scale, _ in one.scales} & {scale for scale, _ in other.scales}
    return any(scale >= _CALENDAR_FROM for scale in shared)


def _about_modality(said: Reading, units: Sequence[Unit]) -> dict[str, float]:
    theirs = frozenset(one for unit in units for one in unit.said.modalities)
    mine = said.modalities
    figures = {}
    for modality in (Modality.PERMIT, Modality.OBLIGE, Modality.FORBID, Modality.OPTIONAL, Modality.ADVISE):
        figures[f"{modality}_added"] = float(modality in mine and modality not in theirs)
        figures[f"{modality}_lost"] = float(modality in theirs and modality not in mine)
    figures["permit_forbid"] = float(
        (Modality.PERMIT in mine and Modality.FORBID in theirs and Modality.PERMIT not in theirs)
        or (Modality.FORBID in mine and Modality.PERMIT in theirs and Modality.FORBID not in theirs)
    )
    figures["oblige_permit"] = float(
        (Modality.OBLIGE in mine and Modality.PERMIT in theirs and Modality.OBLIGE not in theirs)
        or (Modality.PERMIT in mine and Modality.OBLIGE in theirs and Modality.PERMIT not in theirs)
    )
    plain, source = folded(said.text), " ".join(folded(unit.text) for unit in units)
    chosen_here, chosen_there = bool(_CHOICE.search(plain)), bool(_CHOICE.search(source))
    due_here, due_there = bool(_DUTY.search(plain)), bool(_DUTY.search(source))
    figures["choice_added"] = float(chosen_here and not chosen_there)
    figures["choice_lost"] = float(chosen_there and not chosen_here)
    figures["duty_for_choice"] = float(due_here and not due_there and (chosen_there or Modality.PERMIT in theirs))
    figures["choice_for_duty"] = float(not due_here and due_there and (chosen_here or Modality.PERMIT in mine))
    return figures


def _about_reach(
    said: Reading, units: Sequence[Unit], claim: Sequence[Term], primary: Sequence[Term]
) -> dict[str, float]:
    """For how many and when: universals, restrictions, conditions, exceptions that only one of the two makes."""
    plain = folded(said.text)
    flags = {flag for unit in units for flag in unit.said.flags}
    theirs = " ".join(folded(unit.text) for unit in units)
    told = lost = exceptions = 0
    for unit in units[:1]:
        for start, end, exception in unit.said.conditions:
            inside = [term for term in primary if start <= term.word.start < end]
            held = sum(any(credit(other, term) >= 0.5 for other in claim) for term in inside)
            if inside and held < 0.4 * len(inside):
                lost += 1
                exceptions += exception
            else:
                told += 1
    conditions = len(said.conditions)
    used = [term for term in primary if not term.light and not term.word.modal and term.word.ids]
    back = sum(any(credit(term, other) >= 0.5 for other in claim) for term in used) / max(1, len(used))
    return {
        "universal_added": float(bool(_UNIVERSAL.search(plain)) and not _UNIVERSAL.search(theirs)),
        "universal": float(bool(_UNIVERSAL.search(plain))),
        "easing_added": float(bool(_EASING.search(plain)) and not _EASING.search(theirs)),
        "only_added": float("only" in said.flags and "only" not in flags),
        "only_lost": float("only" in flags and "only" not in said.flags),
        "condition_lost": float(lost),
        "exception_lost": float(exceptions),
        "condition_added": float(conditions > 0 and not any(unit.said.conditions for unit in units)),
        "inclusion_added": float("inclusions" in said.flags and "inclusions" not in flags),
        "back": back,
    }
