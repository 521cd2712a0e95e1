"""Who may see what: the one function that turns a person and a request into a :class:`~rag.types.Scope`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence, Set
from zoneinfo import ZoneInfo

from rag.errors import NotFound
from rag.types import PUBLIC, Corpus, Document, Principal, Scope

PARIS = ZoneInfo("Europe/Paris")


def today() -> dt.date:
    """The day it is in Paris: the default of every as-of date."""
    return dt.datetime.now(PARIS).date()


def may_see(principal: Principal, corpus: Corpus) -> bool:
    """Whether a corpus's audience and clearance admit a person; a corpus without groups admits nobody."""
    if principal.corpora is not None and corpus.name not in principal.corpora:
        return False
    return admits(principal, corpus.groups, corpus.clearance)


def may_read(principal: Principal, document: Document) -> bool:
    """Whether a document's own audience and clearance admit a person who may see its corpus."""
    return admits(principal, document.groups, document.clearance)


def admits(principal: Principal, groups: Set[str], clearance: int) -> bool:
    """Whether an audience admits a person: one of its groups is theirs or everyone's, and theirs is the clearance."""
    return (PUBLIC in groups or bool(groups & principal.groups)) and principal.clearance >= clearance


def resolve(
    principal: Principal,
    corpora: Sequence[Corpus],
    lineages: Mapping[str, tuple[int, ...]],
    *,
    requested: Sequence[str] | None = None,
    as_of: dt.date | None = None,
) -> Scope:
    """The scope of one question: of the ``requested`` corpora (default all), those the person may see.

    ``lineages`` are the published ones. A corpus that does not exist and one that is hidden are the same
    :class:`NotFound`: the error tells nothing of what others may read.
    """
    visible = {corpus.name: corpus for corpus in corpora if may_see(principal, corpus)}
    for name in requested or ():
        if name not in visible:
            known = ", ".join(sorted(visible)) or "-"
            raise NotFound(
                f"there is no corpus `{name}`; you can search: {known}",
                f"il n'y a pas de corpus « {name} » ; vous pouvez interroger : {known}",
                code="unknown_corpus",
            )
    chosen = list(requested) if requested else sorted(visible)
    return Scope(
        groups=principal.groups,
        clearance=principal.clearance,
        lineages={name: lineages[name] for name in chosen if lineages.get(name)},
        as_of=as_of,
    )
