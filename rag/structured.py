"""Answers in the shape of a JSON schema, whose every text is a whole sentence of the passages, word for word. Pure.

A value that a model words itself cannot be tied to a source, so a grammar leaves it nothing but sentences to choose
from: :func:`grammar` says so to llama.cpp, and :func:`filled` reads what was written back into places of the passages.
The second is not optional (:mod:`rag.quoting` says why). Numbers, booleans and lists of allowed values are refused:
nothing in a text shows that one of them was rightly chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from rag import quoting
from rag.errors import BadRequest
from rag.types import Claim, Passage, Span, Verdict

DEEPEST: Final = 4
"""Levels of objects and lists: a form, not a data model."""
MOST_TEXTS: Final = 32
"""Texts of one form; each multiplies what the model must choose from."""
MOST_ITEMS: Final = 4
"""Items of a list, whatever its schema allows: repetition is written out in a grammar."""
LONGEST_NAME: Final = 64

_READ: Final = frozenset({"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems"})
_SPOKEN: Final = frozenset({"title", "description", "$schema"})


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence, or ``null`` where the schema allows it."""

    optional: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """Up to ``most`` items, at least ``fewest``."""

    item: Shape
    fewest: int
    most: int


@dataclass(frozen=True, slots=True)
class Keyed:
    """An object with all of these members, in this order."""

    members: tuple[tuple[str, Shape], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.members)


Shape = Text | Listed | Keyed


@dataclass(frozen=True, slots=True)
class Filled:
    """The JSON text of a filled form, and each sentence in it as a claim with its place, quotation marks included."""

    text: str
    claims: tuple[tuple[Claim, int, int], ...]


def read(schema: object) -> Keyed:
    """The form that a JSON schema asks for.

    Raises:
        BadRequest: it is none, or asks for what no sentence can be; the message names the place.
    """
    shape = _shape(schema, "$", 1)
    if not isinstance(shape, Keyed):
        raise _refused("$", "the outermost value must be an object", "la valeur extérieure doit être un objet")
    if _texts(shape) > MOST_TEXTS:
        raise _refused(
            "$", f"a form has at most {MOST_TEXTS} texts", f"un formulaire compte au plus {MOST_TEXTS} textes"
        )
    return shape


def keys(shape: Keyed) -> str:
    """The form as the model reads it: its keys, with dots where it waits for a sentence."""
    return _sketch(shape)


def grammar(shape: Keyed, passages: Sequence[Passage], language: str) -> str:
    """A GBNF grammar of the filled forms, or of the words that refuse."""
    offered = _offered(passages)
    lines = [f"root ::= none{' | form' if offered else ''}", f'none ::= "{quoting.literal(quoting.NONE[language])}"']
    if offered:
        lines.append(f"form ::= {_rule(shape)}")
        lines.append("text ::= " + " | ".join(f"t{number}" for number in range(len(offered))))
        lines += [f't{number} ::= "{quoting.literal(_quoted(text))}"' for number, text in enumerate(offered)]
    return "\n".join(lines) + "\n"


def filled(written: str, shape: Keyed, passages: Sequence[Passage]) -> Filled | None:
    """The form that was written under :func:`grammar`; ``None`` for a refusal and for anything that is no such form."""
    try:
        value = json.loads(written)
    except ValueError:
        return None
    offered = _offered(passages)
    pieces: list[str] = []
    claims: list[tuple[Claim, int, int]] = []
    length = 0
    try:
        for piece, text in _written(value, shape):
            if text is not None:
                claims.append((_claim(text, offered[text]), length, length + len(piece)))
            pieces.append(piece)
            length += len(piece)
    except (KeyError, _OtherShape):
        return None
    return Filled("".join(pieces), tuple(claims)) if claims else None


class _OtherShape(Exception):
    """What was written is another form."""


def _shape(schema: object, place: str, depth: int) -> Shape:
    if not isinstance(schema, Mapping):
        raise _refused(place, "a schema is an object", "un schéma est un objet")
    if depth > DEEPEST:
        raise _refused(place, f"at most {DEEPEST} levels", f"au plus {DEEPEST} niveaux")
    unread = sorted(str(key) for key in schema if key not in _READ | _SPOKEN)
    if unread:
        raise _refused(place, f"`{unread[0][:40]}` is not supported", f"« {unread[0][:40]} » n'est pas pris en charge")
    kind = schema.get("type")
    if kind == "string":
        return Text()
    if isinstance(kind, list) and sorted(map(str, kind)) == ["null", "string"]:
        return Text(optional=True)
    if kind == "array":
        return _list(cast("Mapping[str, object]", schema), place, depth)
    if kind == "object":
        return _object(cast("Mapping[str, object]", schema), place, depth)
    raise _refused(
        place,
        "only objects, lists and strings can be filled with sentences of the texts",
        "seuls les objets, les listes et les textes peuvent être remplis de phrases des textes",
    )


def _list(schema: Mapping[str, object], place: str, depth: int) -> Listed:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems", MOST_ITEMS)
    if not isinstance(fewest, int) or not isinstance(most, int) or not 0 <= fewest <= min(most, MOST_ITEMS):
        raise _refused(place, f"a list has 0 to {MOST_ITEMS} items", f"une liste compte de 0 à {MOST_ITEMS} éléments")
    item = _shape(schema.get("items"), f"{place}[]", depth + 1)
    return Listed(item, fewest, max(1, min(most, MOST_ITEMS)))


def _object(schema: Mapping[str, object], place: str, depth: int) -> Keyed:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise _refused(place, "an object needs `properties`", "un objet demande « properties »")
    members = []
    for name, inner in properties.items():
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise _refused(
                place,
                f"a name has 1 to {LONGEST_NAME} printed characters",
                f"un nom compte de 1 à {LONGEST_NAME} caractères imprimables",
            )
        members.append((name, _shape(inner, f"{place}.{name}", depth + 1)))
    return Keyed(tuple(members))


def _texts(shape: Shape) -> int:
    match shape:
        case Keyed(members):
            return sum(_texts(inner) for _, inner in members)
        case Listed(item, _, most):
            return most * _texts(item)
        case Text():
            return 1


def _sketch(shape: Shape) -> str:
    match shape:
        case Keyed(members):
            return "{" + ", ".join(f"{_quoted(name)}: {_sketch(inner)}" for name, inner in members) + "}"
        case Listed(item):
            return f"[{_sketch(item)}, …]"
        case Text():
            return '"…"'


def _rule(shape: Shape) -> str:
    """The right side of a rule; blanks are never written."""
    match shape:
        case Keyed(members):
            inner = ' "," '.join(f'"{quoting.literal(_quoted(name))}:" {_rule(one)}' for name, one in members)
            return f'"{{" {inner} "}}"'
        case Listed(item, fewest, most):
            one = f"({_rule(item)})"
            more = ""
            for number in range(most, 1, -1):
                again = f'"," {one} {more}'.strip()
                more = again if number <= fewest else f"({again})?"
            first = f"{one} {more}".strip()
            return f'"[" {first if fewest else f"({first})?"} "]"'
        case Text(optional):
            return '(text | "null")' if optional else "text"


def _written(value: object, shape: Shape) -> Iterator[tuple[str, str | None]]:
    """The JSON of ``value`` in pieces, each with the sentence that it is, if it is one.

    Raises:
        _OtherShape: the value is not of this shape.
    """
    match shape:
        case Keyed(members):
            if not isinstance(value, dict) or tuple(value) != shape.names:
                raise _OtherShape
            for place, (name, inner) in enumerate(members):
                yield ("{" if place == 0 else ",") + _quoted(name) + ":", None
                yield from _written(value[name], inner)
            yield "}", None
        case Listed(item, fewest, most):
            if not isinstance(value, list) or not fewest <= len(value) <= most:
                raise _OtherShape
            yield "[", None
            for place, one in enumerate(value):
                if place:
                    yield ",", None
                yield from _written(one, item)
            yield "]", None
        case Text(optional):
            if value is None and optional:
                yield "null", None
            elif isinstance(value, str):
                yield _quoted(value), value
            else:
                raise _OtherShape


def _offered(passages: Sequence[Passage]) -> dict[str, Span]:
    """The sentences that may be written. What needs its lead-in, its header row or the sentence before it to be
    understood is not among them."""
    found: dict[str, Span] = {}
    for unit in quoting.offered(passages).values():
        if unit.lead is None and not unit.anaphoric:
            chunk = next(passage.chunk for passage in passages if passage.n == unit.passage)
            found.setdefault(chunk.text[unit.start : unit.end].strip(), Span(unit.passage, unit.start, unit.end))
    return found


def _claim(text: str, span: Span) -> Claim:
    return Claim(text, (span.passage,), Verdict.SUPPORTED, spans=(span,), score=1.0)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _refused(place: str, en: str, fr: str) -> BadRequest:
    return BadRequest(
        f"the schema cannot be filled at {place[:100]}: {en}",
        f"le schéma ne peut pas être rempli à {place[:100]} : {fr}",
        code="unsupported_schema",
    )
