"""Who may see what: deny by default, and hidden is the same as absent."""

from __future__ import annotations

import pytest

from rag import scope
from rag.errors import NotFound
from rag.types import Corpus, Principal

PUBLIC = Corpus("public", "Public", groups=frozenset({"*"}))
RH = Corpus("rh", "RH", groups=frozenset({"agents"}))
SECRET = Corpus("secret", "Secret", groups=frozenset({"*"}), clearance=2)
NOBODY = Corpus("nobody", "Nobody")
CORPORA = (PUBLIC, RH, SECRET, NOBODY)
LINEAGES = dict.fromkeys(("public", "rh", "secret", "nobody"), (3, 1))
AGENT = Principal("local", frozenset({"agents"}))


def test_a_person_searches_the_corpora_that_admit_them() -> None:
    assert set(scope.resolve(AGENT, CORPORA, LINEAGES).lineages) == {"public", "rh"}
    assert set(scope.resolve(Principal("guest"), CORPORA, LINEAGES).lineages) == {"public"}


def test_clearance_is_needed_beside_the_group() -> None:
    assert "secret" in scope.resolve(Principal("officer", clearance=2), CORPORA, LINEAGES).lineages


def test_a_corpus_without_groups_admits_nobody() -> None:
    everyone = Principal("all", frozenset({"agents", "nobody"}), clearance=9)
    assert "nobody" not in scope.resolve(everyone, CORPORA, LINEAGES).lineages


@pytest.mark.parametrize("name", ["secret", "nobody", "absent"])
def test_a_hidden_corpus_and_an_absent_one_are_the_same_error(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        scope.resolve(AGENT, CORPORA, LINEAGES, requested=[name])
    assert caught.value.said("en") == f"there is no corpus `{name}`; you can search: public, rh"
    assert caught.value.code == "unknown_corpus"


def test_a_corpus_that_was_never_published_is_not_searched() -> None:
    assert scope.resolve(AGENT, CORPORA, {"rh": ()}).lineages == {}


def test_the_snapshot_of_a_scope_is_the_newest_of_its_lineage() -> None:
    assert scope.resolve(AGENT, CORPORA, LINEAGES, requested=["rh"]).snapshots == {"rh": 3}
