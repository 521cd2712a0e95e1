"""Golden questions: JSON lines become frozen :class:`Case` values; what a line lacks has its default.

A line needs ``text``. The ids of the BEIR layout (``_id``) are read too, ``expected`` holds document ids,
``document#article`` or objects, and fields that are not ours are ignored, so any ``queries.jsonl`` can be asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from rag.errors import BadRequest

GOLDEN = Path(__file__).parent / "golden"
SETS = ("rh", "sante", "finances", "infrastructures")
"""The files of :data:`GOLDEN` that hold questions; each is named after its sample corpus."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Where an answer stands. ``article`` is the number alone (``R. 12-3``, ``Annexe 1``) or a sheet's name."""

    document: str
    article: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One question. ``answers`` are the values that a right answer holds, all of them, spelled as in the text."""

    id: str
    text: str
    corpus: str | None = None
    language: str | None = None
    split: str | None = None
    kind: str | None = None
    answers: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()
    as_of: dt.date | None = None
    unanswerable: bool = False


class _Expected(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    document: str
    article: str | None = None


class _Line(BaseModel):
    """A line as it may come."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: str = Field("", validation_alias=AliasChoices("id", "_id"))
    text: str = Field(min_length=1)
    corpus: str | None = None
    language: str | None = Field(None, validation_alias=AliasChoices("language", "lang"))
    split: str | None = None
    kind: str | None = None
    answers: str | list[str] | None = Field(None, validation_alias=AliasChoices("answers", "answer"))
    expected: str | _Expected | list[str | _Expected] | None = None
    as_of: dt.date | None = None
    unanswerable: bool = False


def golden() -> tuple[Case, ...]:
    """The questions on the sample regulations."""
    return load(GOLDEN / f"{name}.jsonl" for name in SETS)


def load(paths: Iterable[Path]) -> tuple[Case, ...]:
    """The cases of JSON-lines files, in order; a folder stands for its ``queries.jsonl``.

    Raises:
        BadRequest: a file cannot be read, a line is not a question, or an id comes twice.
    """
    cases: dict[str, Case] = {}
    for path in paths:
        file = path / "queries.jsonl" if path.is_dir() else path
        for number, line in _lines(file):
            case = _case(line, f"{file.name}:{number}")
            if case.id in cases:
                raise BadRequest(
                    f"{file.name}:{number}: the id `{case.id}` was used before",
                    f"{file.name}:{number} : l'identifiant « {case.id} » a déjà servi",
                    code="bad_questions",
                )
            cases[case.id] = case
    return tuple(cases.values())


def _lines(file: Path) -> list[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            f"cannot read the questions in `{file}`: {error}",
            f"impossible de lire les questions de « {file} » : {error}",
            code="bad_questions",
        ) from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _case(line: str, place: str) -> Case:
    try:
        read = _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "line"
        raise BadRequest(
            f"{place}: {field}: {first['msg']}", f"{place} : {field} : {first['msg']}", code="bad_questions"
        ) from error
    return Case(
        id=read.id or place,
        text=read.text,
        corpus=read.corpus,
        language=read.language,
        split=read.split,
        kind=read.kind,
        answers=(read.answers,) if isinstance(read.answers, str) else tuple(read.answers or ()),
        expected=tuple(
            _expected(one) for one in (read.expected if isinstance(read.expected, list) else [read.expected]) if one
        ),
        as_of=read.as_of,
        unanswerable=read.unanswerable,
    )


def _expected(value: str | _Expected) -> Expected:
    if isinstance(value, _Expected):
        return Expected(value.document, value.article)
    document, _, article = value.partition("#")
    return Expected(document, article or None)
