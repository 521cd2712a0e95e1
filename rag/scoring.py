"""How surely a claim is supported, from the figures of its alignment: a logistic model with signs that are set. Pure.

No figure may count the wrong way round: what agrees can only raise the score and what differs only lower it, whatever
the sentences that the weights were fitted on (``rag/data/verdicts.json``, by :mod:`eval.scoring`) happen to look like.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from rag.types import Reason

RAISING: Final = frozenset({"cover", "cover_first", "back", "weakest", "margin", "strict", "lent", "kin"})
"""Figures that may only raise the score; every other may only lower it."""
UNUSED: Final = frozenset(
    {"words", "values", "denied", "universal", "status_lost", "condition_added", "missing_light", "value_loose",
     "value_elided", "exact", "verbatim"}
)  # fmt: skip
"""Figures that say how a sentence is written and not whether it is true, or that others are made of."""
_REASONS: Final = (
    ("value_unit", Reason.UNIT), ("value_bound", Reason.QUALIFIER), ("value", Reason.NUMBER),
    ("ordinal", Reason.NUMBER),
    ("date", Reason.DATE), ("calendar", Reason.DATE), ("reference", Reason.REFERENCE), ("frequency", Reason.QUALIFIER),
    ("role", Reason.NAME), ("actor", Reason.NAME), ("missing_name", Reason.NAME), ("rows", Reason.NAME),
    ("status", Reason.QUALIFIER), ("polarity", Reason.NEGATION), ("denied", Reason.NEGATION),
    ("contrary", Reason.NEGATION), ("permit", Reason.MODALITY), ("oblige", Reason.MODALITY),
    ("forbid", Reason.MODALITY), ("optional", Reason.MODALITY), ("advise", Reason.MODALITY),
    ("choice", Reason.MODALITY), ("duty", Reason.MODALITY), ("universal", Reason.QUALIFIER),
    ("easing", Reason.QUALIFIER), ("only", Reason.QUALIFIER), ("condition", Reason.QUALIFIER),
    ("exception", Reason.QUALIFIER), ("inclusion", Reason.QUALIFIER),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """The fitted model: what each figure adds to the log odds, and where they start."""

    bias: float
    of: Mapping[str, float]


def score(figures: Mapping[str, float]) -> float:
    """How surely a claim with these figures is supported, in ``[0, 1]``; 0.5 is as likely as not."""
    weights = _weights()
    odds = weights.bias + sum(weights.of.get(name, 0.0) * value for name, value in figures.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


def blame(figures: Mapping[str, float]) -> Reason:
    """What lowers the score most, as a reason; ``LEXICAL`` when it is no single difference."""
    weights = _weights()
    costs = {name: weights.of.get(name, 0.0) * value for name, value in figures.items()}
    worst = min(costs, key=lambda name: costs[name], default="")
    if not worst or costs[worst] > -_TELLING:
        return Reason.LEXICAL
    return next((reason for prefix, reason in _REASONS if worst.startswith(prefix)), Reason.LEXICAL)


_TELLING: Final = 0.3
"""Log odds that one difference must cost to be told as the reason."""


@functools.cache
def _weights() -> Weights:
    data = json.loads((resources.files("rag") / "data" / "verdicts.json").read_text(encoding="utf-8"))
    return Weights(data["bias"], data["weights"])
