"""Literal quotation by grammar: a model that may only write whole sentences of its passages, each with its ``[n]``.

:func:`grammar` says so to llama.cpp in its own notation (GBNF); :func:`spans` reads what was written back into places
of the passages. The second is not optional: a server may ignore a grammar that it cannot read and write freely, so
nothing is taken for a quotation because a grammar was sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rag.evidence import Unit, evidence
from rag.types import Passage

MOST: Final = 3
"""Sentences that a quotation may have."""
SENTENCES: Final = 64
"""Sentences that a grammar offers. llama.cpp keeps one stack for each that is still possible and tries every word of
its vocabulary on all of them, so the time of the first words grows with this number."""
LONGEST: Final = 1_200
"""Characters of a sentence that is offered; a longer one is a paragraph or a table read badly."""
NONE: Final = {"fr": "AUCUNE RÉPONSE.", "en": "NO ANSWER."}
"""What the model may write instead, as the system prompt says."""

FEWEST: Final = 3
"""Words of a sentence that is offered; "Article 4." says nothing."""
_WORD: Final = re.compile(r"\w{2,}")
_ESCAPED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CHOICE: Final = re.compile(r'^s\d+ ::= "((?:[^"\\]|\\.)*)"$', re.MULTILINE)


def grammar(passages: Sequence[Passage], language: str, *, most: int = MOST) -> str:
    """A GBNF grammar of up to ``most`` sentences of ``passages``, or of the words that refuse; never of anything else.

    Sentences come in the order of the passages and none comes twice: a small model would say one over and over.
    Repetition is written out and not counted with ``{1,3}``, which llama.cpp multiplies out and limits to 2,000 rules.
    When there are more than :data:`SENTENCES`, those of the best passages are offered.
    """
    told = offered(passages)
    last = len(told) - 1
    lines = [f"root ::= none{' | q1-0' if told else ''}", f'none ::= "{literal(NONE[language])}"']
    for n in range(1, most + 1):
        # q2-5: as the second, the sixth sentence or one behind it.
        for number in range(n - 1, last + 1):
            after = f' (" " q{n + 1}-{number + 1})?' if n < most and number < last else ""
            later = f" | q{n}-{number + 1}" if number < last else ""
            lines.append(f"q{n}-{number} ::= s{number}{after}{later}")
    lines += [f's{number} ::= "{literal(text)}"' for number, text in enumerate(told)]
    return "\n".join(lines) + "\n"


def spans(text: str, passages: Sequence[Passage]) -> tuple[tuple[int, int, int], ...] | None:
    """The places ``(passage, start, end)`` that a text under :func:`grammar` quotes, in its order and once each.

    Empty for a refusal. A sentence that broke off at the end, where the tokens ran out, is left out. A lead-in or a
    header row comes before what needs it. ``None`` when anything in the text is no sentence of the passages.
    """
    told = offered(passages)
    rest = text.strip()
    if rest in NONE.values():
        return ()
    found: dict[tuple[int, int, int], None] = {}
    while rest:
        # The longest first: one sentence may begin with another.
        said = max((one for one in told if rest.startswith(one)), key=len, default=None)
        if said is None:
            if any(one.startswith(rest) for one in told):
                break
            return None
        unit = told[said]
        for start, end in (*((unit.lead,) if unit.lead else ()), (unit.start, unit.end)):
            found.setdefault((unit.passage, start, end))
        rest = rest[len(said) :].lstrip()
    return tuple(found)


def choices(written: str) -> tuple[str, ...]:
    """The sentences that a grammar of this module offers, as they would be written; empty for any other grammar."""
    back = {escaped: plain for plain, escaped in _ESCAPED.items()}
    return tuple(re.sub(r"\\.", lambda match: back[match[0]], one) for one in _CHOICE.findall(written))


def offered(passages: Sequence[Passage]) -> dict[str, Unit]:
    """What may be written, each sentence with its mark, and the place that it is; in the order of the passages."""
    units = [(passage, unit) for passage in passages if passage.shown for unit in evidence(passage)]
    told = [(passage, unit) for passage, unit in units if _is_told(passage.chunk.text[unit.start : unit.end])]
    best = sorted(range(len(told)), key=lambda place: (-told[place][0].score, place))[:SENTENCES]
    found: dict[str, Unit] = {}
    for place in sorted(best):
        passage, unit = told[place]
        found.setdefault(f"{passage.chunk.text[unit.start : unit.end].strip()} [{passage.n}]", unit)
    return found


def _is_told(text: str) -> bool:
    """Whether a sentence can be quoted: it says something, is no page of text, and has only printed characters."""
    printed = all(character.isprintable() or character.isspace() for character in text)
    return printed and len(text) <= LONGEST and len(_WORD.findall(text)) >= FEWEST


def literal(text: str) -> str:
    """``text`` between the quotes of a grammar; characters beyond ASCII stand for themselves there."""
    return "".join(_ESCAPED.get(character, character) for character in text)
