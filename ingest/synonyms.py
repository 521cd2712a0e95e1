"""The glossary that a corpus declares: a table in its ``corpus.toml``, or a file of the same shape in its folder.

It is written by hand, so whatever is wrong is told with the family that it is in and what to do about it.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from rag.types import Synonyms

LARGEST: Final = 262_144
"""Bytes of the file: some thousand families."""
MOST_FAMILIES: Final = 2_000
MOST_PHRASES: Final = 40
"""Phrases of a family; one with more is a list of something else."""
LONGEST_PHRASE: Final = 120
MOST_DOTS: Final = 100
"""Dots in a line: each may part a key, and the reader of TOML takes the square of their number in memory."""
_KINDS: Final = ("same", "near")


class BadGlossary(Exception):
    """What is wrong with a glossary, in both languages."""

    def __init__(self, en: str, fr: str) -> None:
        super().__init__(en)
        self.en = en
        self.fr = fr


def declared(value: object, folder: Path) -> Synonyms:
    """The families that ``glossary`` of a ``corpus.toml`` in ``folder`` declares: nothing, a table, or a file's name.

    Raises:
        BadGlossary: it declares none, or wrongly.
    """
    if value is None:
        return Synonyms()
    if isinstance(value, Mapping):
        return _families(value)
    if not isinstance(value, str):
        raise BadGlossary(
            "`glossary` must be the name of a file in the folder, or a table",
            "« glossary » doit être le nom d'un fichier du dossier, ou une table",
        )
    name = file_name(value)
    if name is None:
        raise BadGlossary(
            f"`glossary` must name a TOML file in the folder itself, such as `glossaire.toml`, not `{value[:80]}`",
            f"« glossary » doit nommer un fichier TOML du dossier même, comme « glossaire.toml », pas « {value[:80]} »",
        )
    try:
        return _families(_read(folder / name))
    except BadGlossary as error:
        raise BadGlossary(f"{name}: {error.en}", f"{name} : {error.fr}") from error


def file_name(value: object) -> str | None:
    """The file that ``glossary`` names, relative to the folder; ``None`` when it names none that it may."""
    if not isinstance(value, str):
        return None
    name = unicodedata.normalize("NFC", value.strip())
    pure = PurePosixPath(name)
    fit = pure.suffix == ".toml" and pure.name == name and "\\" not in name and name.isprintable()
    ours = name.casefold() == "corpus.toml" or name.casefold().endswith(".meta.toml") or name.startswith((".", "~$"))
    return name if fit and not ours else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.is_symlink() or not path.is_file():
            raise BadGlossary(
                "there is no such file beside corpus.toml; write it, or remove `glossary`",
                "ce fichier n'existe pas à côté de corpus.toml ; écrivez-le, ou retirez « glossary »",
            )
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BadGlossary(
            f"it cannot be read: {error.strerror or error}", f"il est illisible : {error.strerror or error}"
        ) from error
    if len(content) > LARGEST:
        raise BadGlossary(f"it has more than {LARGEST} bytes; shorten it", f"il dépasse {LARGEST} octets ; abrégez-le")
    try:
        if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
            raise ValueError("a line with too many dots")
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:  # of TOML and of UTF-8; the former names line and column
        said = "values nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadGlossary(
            f'it is no TOML: {said}; a family is written ["CET", "compte épargne-temps"]',
            f'ce n\'est pas du TOML : {said} ; une famille s\'écrit ["CET", "compte épargne-temps"]',
        ) from error


def _families(values: Mapping[str, Any]) -> Synonyms:
    for name in values:
        if name not in _KINDS:
            raise BadGlossary(
                f"unknown name `{name[:80]}`; a glossary has `same` (interchangeable) and `near` (to search with)",
                f"nom inconnu « {name[:80]} » ; un glossaire a « same » (équivalents) et « near » (pour la recherche)",
            )
    found = Synonyms(*(tuple(_kind(values.get(kind, []), kind)) for kind in _KINDS))
    if found.families > MOST_FAMILIES:
        raise BadGlossary(
            f"it has {found.families} families and may have {MOST_FAMILIES}; keep those that people ask with",
            f"il compte {found.families} familles, {MOST_FAMILIES} au plus ; gardez celles qui servent aux questions",
        )
    return found


def _kind(value: object, kind: str) -> Iterator[tuple[str, ...]]:
    if not isinstance(value, list):
        raise BadGlossary(
            f'`{kind}` must be a list of families, such as {kind} = [["CET", "compte épargne-temps"]]',
            f'« {kind} » doit être une liste de familles, comme {kind} = [["CET", "compte épargne-temps"]]',
        )
    for number, family in enumerate(value, start=1):
        if not isinstance(family, list) or not all(isinstance(phrase, str) for phrase in family):
            raise _wrong(kind, number, family, "it must be a list of phrases", "ce doit être une liste d'expressions")
        phrases = tuple(dict.fromkeys(" ".join(unicodedata.normalize("NFC", phrase).split()) for phrase in family))
        if not 2 <= len(phrases) <= MOST_PHRASES:
            raise _wrong(
                kind,
                number,
                family,
                f"it must have 2 to {MOST_PHRASES} different phrases",
                f"il lui faut de 2 à {MOST_PHRASES} expressions différentes",
            )
        for phrase in phrases:
            if len(phrase) > LONGEST_PHRASE or not phrase.isprintable() or not any(map(str.isalnum, phrase)):
                raise _wrong(
                    kind,
                    number,
                    family,
                    f"a phrase has words, and at most {LONGEST_PHRASE} characters",
                    f"une expression a des mots, et {LONGEST_PHRASE} caractères au plus",
                )
        yield phrases


def _wrong(kind: str, number: int, family: object, en: str, fr: str) -> BadGlossary:
    """The error of one family, which is named by its place and its first phrase."""
    first = family[0] if isinstance(family, list) and family else family
    said = first[:60] if isinstance(first, str) else ""
    return BadGlossary(f"family {number} of `{kind}` ({said}): {en}", f"famille {number} de « {kind} » ({said}) : {fr}")
