"""The sample regulations as they were written, by article."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[1] / "ingest" / "samples" / "sources"
_ARTICLE = re.compile(r"(?:Article|Section) ((?:R\. )?[\w-]+(?: bis)?) —|(Annexe? \d+) —|(\d+(?:\.\d+)?)\.? ")


@cache
def source(document: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What a sample regulation says of itself, and its text by article (or sheet)."""
    _, front, body = next(SOURCES.glob(f"*/{document}.md")).read_text(encoding="utf-8").split("+++\n", 2)
    articles: dict[str, str] = {}
    here = ""
    for line in body.splitlines():
        if heading := re.match(r"#+ (.+)", line):
            named = _ARTICLE.match(heading[1])
            here = next(filter(None, named.groups())) if named else heading[1]
        articles[here] = f"{articles.get(here, '')}{line}\n"
    return tomllib.loads(front), articles
