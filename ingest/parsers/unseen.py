"""What of a text nobody can see: written in white on white, in letters too small to read, or outside the page; pure.

A person reads a rule before it is taken in, and a machine reads it after: what only the machine would see is left out.
White letters on a coloured ground are read by everybody, so the ground counts as much as the letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Element = Any
"""An element of ``lxml``, which has no types of its own."""

SMALLEST: Final = 3.0
"""Font size in points below which nobody can read a text."""
_FAINTEST: Final = 0.1
_AWAY: Final = -300.0
"""Pixels left of or above the page that put a text out of sight."""
_PALEST: Final = 0.93
"""Lightness in ``[0, 1]`` from which a colour cannot be told from white paper."""
_DECLARATION: Final = re.compile(r"([a-z-]+)\s*:\s*([^;]+)", re.IGNORECASE)
_LENGTH: Final = re.compile(r"(-?\d*\.?\d+)\s*(px|pt|em|rem|%|vw|vh)?")
_RULE: Final = re.compile(r"([^{}]{1,300})\{([^{}]{0,2000})\}")
_SIMPLE: Final = re.compile(r"\s*(?:[a-z][\w-]*)?([.#][\w-]+)\s*", re.IGNORECASE)
_POINTS: Final = {"px": 0.75, "pt": 1.0, "em": 12.0, "rem": 12.0, "%": 0.12}
_NAMED: Final = {"white": 1.0, "snow": 0.99, "ivory": 0.99, "ghostwhite": 0.98, "whitesmoke": 0.96, "transparent": 1.0}


def pale(colour: str) -> bool:
    """Whether letters of this colour vanish on white paper: ``#fff``, ``FFFFFF``, ``rgb(255, 255, 255)``, ``white``."""
    light = _lightness(colour)
    return light is not None and light >= _PALEST


def _lightness(colour: str) -> float | None:
    """The mean of red, green and blue in ``[0, 1]``; ``None`` for what is no such colour."""
    text = colour.strip().lower().removesuffix("!important").strip()
    if text in _NAMED:
        return _NAMED[text]
    if found := re.fullmatch(r"#?([0-9a-f]{3}|[0-9a-f]{6})", text):
        digits = found[1]
        parts = [int(digit * 2, 16) for digit in digits] if len(digits) == 3 else list(bytes.fromhex(digits))
        return sum(parts) / 765
    if found := re.match(r"rgba?\(([^)]{1,60})\)", text):
        values = [float(value) for value in re.findall(r"\d+\.?\d*", found[1])]
        if len(values) == 4 and values[3] <= _FAINTEST:
            return 1.0
        return sum(values[:3]) / 765 if len(values) >= 3 else None
    return None


class Hiding:
    """Which elements of an HTML page its styles hide: those on the elements, and the rules for one class or id."""

    def __init__(self, root: Element) -> None:
        self._rules: dict[str, dict[str, str]] = {}
        for sheet in root.iter("style"):
            for selectors, declared in _RULE.findall(re.sub(r"/\*.*?\*/", "", sheet.text or "", flags=re.DOTALL)):
                for selector in selectors.split(","):
                    if simple := _SIMPLE.fullmatch(selector):
                        self._rules.setdefault(simple[1].lower(), {}).update(_declared(declared))

    def hides(self, element: Element) -> bool:
        """Whether nobody sees the words that stand in this element."""
        style = self._style(element)
        if not style:
            return False
        if style.get("display") == "none" or style.get("visibility") in {"hidden", "collapse"}:
            return True
        opacity = _LENGTH.match(style.get("opacity", ""))
        if opacity is not None and float(opacity[1]) <= _FAINTEST * (100 if opacity[2] == "%" else 1):
            return True
        size = _LENGTH.fullmatch(style.get("font-size", ""))
        if size is not None and float(size[1]) * _POINTS.get(size[2] or "px", 12.0) < SMALLEST:
            return True
        if _away(style):
            return True
        return "color" in style and pale(style["color"]) and not self._on_colour(element)

    def _style(self, element: Element) -> Mapping[str, str]:
        found: dict[str, str] = {}
        names = [f".{name}" for name in (element.get("class") or "").lower().split()]
        for name in (*names, f"#{(element.get('id') or '').lower()}"):
            found |= self._rules.get(name, {})
        return found | _declared(element.get("style") or "")

    def _on_colour(self, element: Element) -> bool:
        """Whether the element, or one that it stands in, has a ground that is not pale."""
        at = element
        while at is not None:
            style = self._style(at) if isinstance(at.tag, str) else {}
            ground = style.get("background-color") or style.get("background") or at.get("bgcolor") or ""
            if ground:
                light = _lightness(ground.split()[0]) if "(" not in ground else _lightness(ground)
                return light is None or light < _PALEST
            at = at.getparent()
        return False


def _declared(text: str) -> dict[str, str]:
    return {
        name.lower(): value.strip().lower().removesuffix("!important").strip()
        for name, value in _DECLARATION.findall(text)
    }


def _away(style: Mapping[str, str]) -> bool:
    """Whether the words are moved out of the page."""
    placed = style.get("position") in {"absolute", "fixed"}
    for name in ("left", "top", "text-indent", "margin-left", "right", "bottom"):
        found = _LENGTH.fullmatch(style.get(name, ""))
        if found is not None and float(found[1]) <= _AWAY and (placed or name in {"text-indent", "margin-left"}):
            return True
    clipped = re.sub(r"\s|px|,", "", style.get("clip", ""))
    return placed and clipped in {"rect(0000)", "rect(1111)"}
