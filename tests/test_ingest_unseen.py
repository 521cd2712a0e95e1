"""What nobody can see in a document is not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import html

from eval.hostile import Attack, attacks, write
from ingest.parsers import Limits, parse
from ingest.parsers.unseen import Hiding, pale
from ingest.source import Source
from rag.instructions import without


@pytest.mark.parametrize(
    ("colour", "vanishes"),
    [
        ("#fff", True),
        ("FFFFFF", True),
        ("rgb(255, 255, 255)", True),
        ("rgba(0, 0, 0, 0)", True),
        ("white !important", True),
        ("transparent", True),
        ("#000", False),
        ("rgb(200, 200, 200)", False),
        ("auto", False),
        ("", False),
    ],
)
def test_a_pale_colour_vanishes_on_paper(colour: str, vanishes: bool) -> None:
    """In every way that formats write one."""
    assert pale(colour) is vanishes


@pytest.mark.parametrize(
    ("style", "hidden"),
    [
        ("display: none", True),
        ("font-size:0", True),
        ("font-size: 1px", True),
        ("opacity: 0.01", True),
        ("position:absolute; left:-9999px", True),
        ("text-indent: -5000px", True),
        ("color: white", True),
        ("color: white; background: #003366", False),
        ("font-size: 0.9em", False),
        ("opacity: 1", False),
        ("left: -9999px", False),
        ("margin-left: -10px", False),
        ("color: #333", False),
    ],
)
def test_styles_hide_an_element_or_do_not(style: str, hidden: bool) -> None:
    """White letters on a coloured ground are read by everybody."""
    page = html.fromstring(f'<div><p style="{style}">Texte</p></div>')
    assert Hiding(page).hides(page.find("p")) is hidden


def test_a_rule_for_a_class_hides_too_and_a_coloured_parent_shows() -> None:
    """As browsers would read the page's own style sheet."""
    page = html.fromstring(
        "<div><style>/* x */ .ghost, p.faint { color: #fff } #bar { background: navy }</style>"
        '<p class="ghost">a</p><p class="faint">b</p><div id="bar"><span class="ghost">c</span></div></div>'
    )
    hiding = Hiding(page)
    assert [hiding.hides(element) for element in page.iter("p", "span")] == [True, True, False]


HIDDEN = [attack for attack in attacks() if attack.kind == "hidden"]


@pytest.mark.parametrize("attack", HIDDEN, ids=lambda attack: f"{attack.id}-{attack.carrier}")
def test_hidden_text_of_the_attack_set_is_not_read(attack: Attack, tmp_path: Path) -> None:
    """White, tiny, transparent, moved away, in metadata or comments; what shows is read."""
    write([attack], tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.name.startswith(attack.id) and path.suffix != ".toml")
    read = "\n".join(block.text for block in parse(Source(path), Limits()).blocks)
    # Letters without width are read, and the sentence that holds them is then left out of everything.
    left = "".join(letter for letter in without(read) if letter.isprintable() or letter == "\n").casefold()
    assert not [payload for payload in attack.payload if payload.casefold() in left]
    assert attack.body.split(",")[0].casefold() in left
