"""Metadata that anybody may have written cost a document at most, never the run or the machine."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from ingest import manifest
from rag.errors import DocumentError, RejectReason

HOSTILE = {
    "values in each other": b"groups = " + b"[" * 20_000,
    "tables in each other": b"a = " + b"{a=" * 10_000,
    "a key of many parts": b"a" + b".a" * 30_000 + b" = 1\n",
    "many such keys": b"".join(b"a%d" % number + b".a" * 98 + b" = 1\n" for number in range(300)),
    "a number without end": b"clearance = " + b"9" * 5_000,
    "a number that no database holds": b"clearance = " + b"9" * 30,
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_metadata_are_refused_at_once(content: bytes) -> None:
    """As a sidecar and as front matter, with the reason ``bad_metadata``."""
    start = time.process_time()
    with pytest.raises(DocumentError) as refused:
        manifest.sidecar(content, "rh")
    assert refused.value.reason is RejectReason.BAD_METADATA
    with suppress(DocumentError):  # names that are not known are ignored there
        assert manifest.front_matter(b"+++\n" + content + b"\n+++\n") == manifest.Metadata()
    assert time.process_time() - start < 2
