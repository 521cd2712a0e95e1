"""What documents, their names and their titles say, on a terminal: as text, and never as orders to it."""

from __future__ import annotations

import json
import re
from typing import Final

from rich.markup import escape

_TURNING: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Signs that turn the direction of what follows, so that ``txt.exe`` reads ``exe.txt``."""
_ACTIVE: Final = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_TURNING}]")


def inert(text: str) -> str:
    """``text`` with every sign that a terminal obeys written out, line ends and tabs excepted."""
    return _ACTIVE.sub(_written, text)


def shown(text: str) -> str:
    """``text`` on one line, for rich: neither its markup nor the terminal's."""
    return escape(inert(text).replace("\n", "\\n"))


def json_text(value: object, indent: int | None = 2) -> str:
    """``value`` as JSON for programs, which a person may look at all the same."""
    # JSON itself writes out only the signs below the space; what is written out here stands in its texts, too.
    return inert(json.dumps(value, ensure_ascii=False, indent=indent))


def _written(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"
