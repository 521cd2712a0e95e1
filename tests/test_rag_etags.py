"""Entity tags: strong, and never shared by people whose rights differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.requests import Request

from rag import etags
from rag.problems import Refusal
from rag.types import Access, Principal, Role

ANNA = Principal("anna", frozenset({"agents"}))
TAG = etags.tag(ANNA, "x", 1)


def asking(**headers: str) -> Request:
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": listed})


@pytest.mark.parametrize(
    "other",
    [
        replace(ANNA, groups=frozenset({"direction"})),
        replace(ANNA, clearance=1),
        replace(ANNA, corpora=frozenset({"rh"})),
        replace(ANNA, roles=frozenset({Role.MAINTAINER})),
        replace(ANNA, access=Access.SERVER),
    ],
)
def test_other_rights_make_another_tag(other: Principal) -> None:
    """So that a tag tells nobody whether others see the same."""
    assert etags.tag(other, "x", 1) != TAG
    assert etags.tag(replace(ANNA, name="bob"), "x", 1) == TAG


def test_the_parts_of_a_tag_do_not_run_together() -> None:
    """Two lists of parts that read the same joined are two."""
    assert etags.tag(ANNA, "a", "bc") != etags.tag(ANNA, "ab", "c")


@pytest.mark.parametrize(
    ("given", "known"), [(TAG, True), ("*", True), (f'W/{TAG}, "b"', True), ('"b"', False), ("", False)]
)
def test_a_caller_that_has_it_is_told_so(given: str, known: bool) -> None:
    """`If-None-Match` compares weakly, over a list."""
    assert etags.unchanged(asking(if_none_match=given), TAG) is known


@pytest.mark.parametrize(("given", "right"), [(TAG, True), ("*", True), (f'"b", {TAG}', True), (f"W/{TAG}", False)])
def test_a_change_names_what_it_is_to_change(given: str, right: bool) -> None:
    """`If-Match` compares strongly."""
    if right:
        etags.check_match(asking(if_match=given), TAG)
        return
    with pytest.raises(Refusal) as refused:
        etags.check_match(asking(if_match=given), TAG)
    assert refused.value.status == 412
