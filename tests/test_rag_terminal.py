"""No name, title or text orders the terminal that shows it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from rag.terminal import inert, json_text, shown

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\rrm -rf\x08\u202etxt.exe\n[red]rouge[/red] [link=file:///etc]ici[/link]"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_shown_is_one_line_without_orders(text: str) -> None:
    """Neither C0 nor C1 controls, nor signs that turn the direction of writing."""
    found = shown(text)
    assert not [sign for sign in found if (ord(sign) < 32 and sign != "\t") or 0x7F <= ord(sign) < 0xA0]
    assert not set(found) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def test_text_of_several_lines_keeps_them() -> None:
    assert inert("un\n\tdeux\r\n\x1b[0m é €") == "un\n\tdeux\\u000d\n\\u001b[0m é €"


def test_a_table_of_hostile_names_holds_no_order() -> None:
    """As rich prints it on a terminal: its markup is shown as it is, too."""
    written = io.StringIO()
    table = Table("file")
    table.add_row(shown(HOSTILE))
    Console(file=written, force_terminal=True, color_system=None, no_color=True, width=300).print(table)
    assert not set(written.getvalue()) & set("\x07\x08\x9b\r\u202e")
    assert "\x1b]" not in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()
    assert "[red]rouge[/red]" in written.getvalue()


@pytest.mark.parametrize("indent", [2, None])
def test_json_is_the_same_for_programs(indent: int | None) -> None:
    said = {"path": HOSTILE, "é": [1, None]}
    assert json.loads(json_text(said, indent)) == said
    assert not set(json_text(said, indent)) & set("\x1b\x9b\x7f\u202e\x07")
