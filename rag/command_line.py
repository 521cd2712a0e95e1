"""What the commands read from a command line."""

from __future__ import annotations

import datetime as dt

from rag.errors import BadRequest


def day(text: str | None) -> dt.date | None:
    """A date as it was typed.

    Raises:
        BadRequest: it is not written YYYY-MM-DD.
    """
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(
            f"`{text}` is not a date; write it YYYY-MM-DD",
            f"« {text} » n'est pas une date ; écrivez-la AAAA-MM-JJ",
            code="bad_date",
        ) from error
