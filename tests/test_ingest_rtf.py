"""RTF: words, structure and accents as a word processor shows them, whatever the file tries."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ingest.parsers import Limits, parse_file
from ingest.sniff import sniff
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, Parsed

HEAD = (
    "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0\\fcharset0 A;}{\\f1\\fcharset2 Symbol;}{\\f2\\fcharset238 B;}}"
    "{\\stylesheet{\\s0 Normal;}{\\s3\\outlinelevel1 Un style;}{\\s4 heading 3;}{\\s5 toc 1;}{\\*\\cs9 Gras;}}"
)


def rtf(body: str) -> Parsed:
    return parse_file(sniff(Path("a.rtf"), f"{HEAD}{body}}}".encode("latin-1")), Limits())


def texts(body: str) -> list[str]:
    return [block.text for block in rtf(body).blocks]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("D\\'e9cision", "Décision"),
        ("D\xe9cision", "Décision"),
        ("D\\u233?cision", "Décision"),
        ("D\\u233\\'e9cision", "Décision"),
        ("{\\uc0 D\\u233 cision}", "Décision"),
        ("{\\uc2 D\\u233\\'e9\\'e9cision}", "Décision"),
        ("\\u-10179?\\u-8704?", "😀"),
        ("{\\f2 \\'9aibal} \\'9a", "šibal š"),
        ("1\\~000\\~\\'80 \\endash  l\\rquote usage", "1 000 € – l’usage"),
        ("\\{a\\}\\\\b", "{a}\\b"),
        ("un\\line deux", "un\ndeux"),
        ("coupe\\-ure non\\_coupé", "coupeure non-coupé"),
        ("{\\upr{Metz?}{\\*\\ud{M\\u233?tz}}}", "Métz"),
        ('{\\field{\\*\\fldinst{HYPERLINK "http://x.fr"}}{\\fldrslt ici}}', "ici"),
        ("avant {\\pict\\bin5 }}}}}}apr\\'e8s", "avant après"),
    ],
)
def test_characters(body: str, text: str) -> None:
    """Accents of code pages and of Unicode, signs and breaks are the ones that show."""
    assert texts(body) == [text]


@pytest.mark.parametrize(
    "hidden",
    [
        "{\\v cach\\'e9}",
        "{\\deleted effac\\'e9}",
        "{\\header courant\\par}",
        "{\\footer pied\\par}",
        "{\\*\\annotation note}",
        "{\\pict 0102}",
        "{\\object{\\*\\objdata 01}{\\result image}}",
        "{\\info{\\author Dupont}}",
        "{\\*\\inconnu rien}",
        "{\\xe{\\v index}}",
    ],
)
def test_what_does_not_show(hidden: str) -> None:
    """Hidden and deleted text, page furniture, comments, pictures and unknown extensions are left out."""
    assert texts(f"Un {hidden}texte.\\par") == ["Un texte."]


def test_headings() -> None:
    """Levels come from the paragraph, else from its style or the style's name; lines of a contents list go."""
    body = "\\pard\\s3 A\\par\\pard\\s4 B\\par\\pard\\outlinelevel0 C\\par\\pard\\s5 Sommaire 3\\par\\pard D\\par"
    assert [(block.text, block.level) for block in rtf(body).blocks] == [("A", 2), ("B", 3), ("C", 1), ("D", None)]


def test_notes_and_boxes() -> None:
    """A footnote follows the paragraph that calls it, numbered in brackets; so does a text box."""
    note = "{\\super\\chftn}{\\footnote\\pard{\\super\\chftn} La note.\\par}"
    box = "{\\shp{\\*\\shpinst{\\sp{\\sn a}{\\sv 1}}{\\shptxt\\pard Encadr\\'e9\\par}}{\\shprslt double}}"
    assert rtf(f"Le texte{note}, la suite.{box}\\par Fin{note}.\\par").blocks == (
        Block(BlockKind.PARAGRAPH, "Le texte[1], la suite."),
        Block(BlockKind.NOTE, "[1] La note."),
        Block(BlockKind.PARAGRAPH, "Encadré"),
        Block(BlockKind.PARAGRAPH, "Fin[2]."),
        Block(BlockKind.NOTE, "[2] La note."),
    )


def test_lists_show_their_marks() -> None:
    """The number or bullet that the writer has put before an item is part of it."""
    body = "\\pard{\\pntext\\f1\\'b7\\tab}un\\par{\\listtext 2.\\tab}deux\\par"
    assert [(block.kind, block.text) for block in rtf(body).blocks] == [
        (BlockKind.ITEM, "- un"),
        (BlockKind.ITEM, "2. deux"),
    ]


def test_merged_cells() -> None:
    """A cell merged with the one above repeats it, one merged to the left is empty."""
    rows = (
        "\\trowd\\clvmgf\\cellx1\\cellx2\\pard\\intbl A\\cell B\\cell\\row"
        "\\trowd\\clvmrg\\cellx1\\cellx2\\pard\\intbl\\cell C\\par D\\cell\\row"
        "\\trowd\\clmgf\\cellx1\\clmrg\\cellx2\\pard\\intbl E\\cell\\cell\\row\\pard fin\\par"
    )
    grid, end = rtf(rows).blocks
    assert grid.rows == (("A", "B"), ("A", "C D"), ("E", ""))
    assert end.text == "fin"


def test_title() -> None:
    """The title of the file's properties is the document's."""
    assert rtf("{\\info{\\title D\\'e9cision}{\\author x}}Texte").title == "Décision"


@pytest.mark.parametrize("end", ["", "}" * 200_000])
def test_deep_nesting_is_refused(end: str) -> None:
    """Two hundred thousand groups inside each other end with a reason."""
    with pytest.raises(DocumentError) as raised:
        rtf("{" * 200_000 + "texte" + end)
    assert raised.value.reason is RejectReason.TOO_DEEP


@pytest.mark.parametrize("piece", ["\\par ", "\\'e9", "{}", "\\u233?", "\\cell ", "{\\footnote x}", "a", "\\row"])
def test_hostile_repetition_takes_no_time(piece: str) -> None:
    """Half a megabyte of any one thing is read in a time that grows with its length alone."""
    began = time.process_time()
    rtf(piece * (500_000 // len(piece)) + " fin")
    assert time.process_time() - began < 5
