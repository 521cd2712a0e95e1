"""Numbers as lists show them: letters and Roman figures."""

from __future__ import annotations


def letters(count: int) -> str:
    """A positive number as lists write it in letters: a, b … z, aa, bb."""
    return chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, 40)


def roman(count: int) -> str:
    """A positive number in capital Roman figures."""
    if count > 100_000:
        return str(count)
    figure = ""
    for value, sign in (
        (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
        (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
    ):  # fmt: skip
        figure += sign * (count // value)
        count %= value
    return figure
