"""The one way by which a name that somebody sends becomes that of a file on this machine."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.discover import discover
from rag.errors import BadRequest
from rag.filenames import LONGEST, checked

PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "\0", "corpus.toml", ".meta.toml", "NUL", "com1", "a", "é", "e\u0301", "~$", " ", "\u202e",
     "\ud800", "\n", "C:", "％2e", "%2e%2e%2f", "file://", "x" * 300, ".part", "\ufeff", "LEGITEXT000006072050", ".pdf"]
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "...", "../a", "a/../b", "/etc/passwd", "..\\a", "C:\\a", "C:a", "a\0.pdf", "a\n.pdf",
        ".htaccess", ".incoming", "~$a.docx", "a.pdf.", "a.pdf ", "NUL", "nul.txt", "COM1", "lpt9.pdf", "aux",
        "corpus.toml", "Corpus.TOML", "a.pdf.meta.toml", "a.META.toml", "a.part", "a\u202efdp.exe", "\ufeffa", "\ud800",
        "x" * 4096, "é" * (LONGEST // 2 + 1), "LEGITEXT000006072050", "a:stream", "a*b", "a|b", "<a>",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_or_means_something_else_is_refused(name: str) -> None:
    """Path traversal, hidden files, devices, our own files, disguised endings: holes of comparable systems."""
    with pytest.raises(BadRequest) as refused:
        checked(name)
    assert refused.value.code == "bad_name"


@pytest.mark.parametrize(
    "name", ["a", "règlement 2024.pdf", "Décret n° 2012-1246.docx", "a..b", "日本.md", "a'b & c.txt"]
)
def test_a_plain_name_stays(name: str) -> None:
    """Composed letters are what a name is compared by."""
    assert checked(unicodedata.normalize("NFD", name)) == unicodedata.normalize("NFC", name)


@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=6).map("".join)))
@settings(max_examples=400, deadline=None)
def test_any_accepted_name_is_one_visible_file_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """Whatever is accepted lands in the folder itself, is found there as a document, and leaves nothing elsewhere."""
    try:
        accepted = checked(name)
    except BadRequest:
        return
    assert accepted == checked(accepted)
    root = tmp_path_factory.getbasetemp() / "names"
    root.mkdir(exist_ok=True)
    file = root / accepted
    file.write_bytes(b"text")
    (root / f"{accepted}.meta.toml").touch()
    try:
        assert file.resolve().parent == root.resolve()
        assert [Path(one).name for one in sorted(p.name for p in root.iterdir())] == sorted(
            [accepted, f"{accepted}.meta.toml"]
        )
        assert [found.path for found in discover(root, "rh").files] == [accepted]
    finally:
        for one in root.iterdir():
            one.unlink()
