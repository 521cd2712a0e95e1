"""What people wrote about documents: ``corpus.toml``, sidecars ``NAME.meta.toml``, front matter. Strict and pure.

A sidecar wins over the document's own front matter, and that over the corpus's defaults. What nobody said stays
unknown. Names that are not known are errors in our own files and ignored in front matter, which belongs to the
document's author and may serve other programs too.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from cronsim import CronSim, CronSimError

from ingest import synonyms
from rag.errors import BadRequest, DocumentError, RejectReason
from rag.types import PUBLIC, Corpus, NormRank, Said, Validity

CORPUS_FILE: Final = "corpus.toml"
SIDECAR: Final = ".meta.toml"
FRONT_MATTER_SUFFIXES: Final = frozenset({".md", ".markdown", ".txt"})
LONGEST_FRONT_MATTER: Final = 65_536
"""Bytes in which front matter must end; what is longer is text."""
LARGEST_SIDECAR: Final = 65_536
"""Bytes of a sidecar; what is larger is something else under its name."""
MOST_DOTS: Final = 100
"""Dots in a line of metadata: each may part a key, and the reader of TOML takes the square of their number in memory,
which for a file of 800 kB was all that a machine had."""
LONGEST_ID: Final = 200
LARGEST: Final = 1_000_000
"""Of clearances, and of the days of a retention."""
OPEN_END: Final = 2999
"""A ``valid_to`` in this year or later is an open end: LEGI writes 2999-01-01."""

_CORPUS_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}\Z")
_CORPUS_KEYS: Final = frozenset(
    {"name", "title", "language", "groups", "clearance", "contact", "norm_rank", "retention", "glossary", "schedule"}
)
_DOCUMENT_KEYS: Final = frozenset(
    {"id", "title", "language", "norm_rank", "valid_from", "valid_to", "groups", "clearance"}
)
_SIDECAR_KEYS: Final = _DOCUMENT_KEYS | {"corpus", "supersedes"}
_FENCE: Final = re.compile(rb"^\+\+\+[ \t]*\r?$", re.MULTILINE)


class _Wrong(Exception):
    """A value that may not stand where it stands; becomes one of our errors where the file is known."""

    def __init__(self, en: str, fr: str) -> None:
        super().__init__(en)
        self.en = en
        self.fr = fr


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said about one document; ``None`` is what was not said. Empty ``groups`` are an audience of nobody."""

    id: str | None = None
    title: str | None = None
    language: str | None = None
    norm_rank: NormRank | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    groups: frozenset[str] | None = None
    clearance: int | None = None

    def over(self, other: Metadata) -> Metadata:
        """This, and what ``other`` says where this says nothing."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return Metadata(**{name: getattr(other, name) if said is None else said for name, said in own.items()})

    def within(self, archive: Metadata) -> Metadata:
        """This, and what is said of the ``archive`` that holds it where this says nothing.

        Whoever the archive's sidecar keeps out stays out, whatever is said inside: others may have packed that.
        """
        return replace(
            self.over(archive),
            groups=_common(self.groups, archive.groups),
            clearance=max((one for one in (self.clearance, archive.clearance) if one is not None), default=None),
        )

    @property
    def validity(self) -> Validity:
        open_ended = self.valid_to is not None and self.valid_to.year >= OPEN_END
        return Validity(self.valid_from, None if open_ended else self.valid_to)

    @property
    def audience(self) -> tuple[frozenset[str], int]:
        """Groups and clearance; a document that says nothing is for the whole audience of its corpus."""
        return frozenset({PUBLIC}) if self.groups is None else self.groups, self.clearance or 0


def checked_name(name: str) -> str:
    """``name`` when it may name a corpus.

    Raises:
        BadRequest: it may not.
    """
    if not _CORPUS_NAME.match(name):
        raise BadRequest(
            f"`{name}` cannot name a corpus: lower-case letters, digits, `-` and `_`, at most 63",
            f"« {name} » ne peut pas nommer un corpus : minuscules, chiffres, « - » et « _ », 63 au plus",
            code="bad_corpus_name",
        )
    return name


def declared(folder: Path, name: str) -> Corpus | None:
    """The corpus that ``folder`` declares in its ``corpus.toml``; ``None`` when it has none.

    Raises:
        BadRequest: the file is wrong, or declares another corpus than ``name``.
    """
    path = folder / CORPUS_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        corpus = _corpus(values, name)
        return replace(corpus, glossary=synonyms.declared(values.get("glossary"), folder))
    except FileNotFoundError:
        return None
    except synonyms.BadGlossary as error:
        raise BadRequest(
            f"{path}: glossary: {error.en}", f"{path} : glossaire : {error.fr}", code="bad_glossary"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(
            f"{path} cannot be read: {error}", f"{path} est illisible : {error}", code="bad_corpus_toml"
        ) from error
    except _Wrong as error:
        raise BadRequest(f"{path}: {error.en}", f"{path} : {error.fr}", code="bad_corpus_toml") from error


def glossary_file(folder: Path) -> str | None:
    """The file of ``folder`` that its ``corpus.toml`` names as its glossary, and that is no document therefore."""
    try:
        values = tomllib.loads((folder / CORPUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever needs the declaration is told what is wrong with it
        return None
    return synonyms.file_name(values.get("glossary"))


def watched(folder: Path) -> tuple[str, str | None]:
    """The name of the corpus that ``folder`` declares, and the cron expression of its schedule, if it has one.

    Raises:
        BadRequest: it declares none, or wrongly.
    """
    path = folder / CORPUS_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        name = _text(values, "name") or ""
        _corpus(values, checked_name(name))
        return name, _schedule(values)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(
            f"{path} cannot be read: {error}", f"{path} est illisible : {error}", code="bad_corpus_toml"
        ) from error
    except _Wrong as error:
        raise BadRequest(f"{path}: {error.en}", f"{path} : {error.fr}", code="bad_corpus_toml") from error


def new_declaration(name: str) -> tuple[Corpus, str]:
    """A corpus nobody may read yet, and the ``corpus.toml`` that declares it."""
    text = (
        f'name = "{name}"\n'
        f'title = "{name}"\n'
        'language = "fr"\n'
        '# Personne ne voit ce corpus tant que groups est vide ; ["*"] l\'ouvre à tous.\n'
        '# Nobody sees this corpus while groups is empty; ["*"] opens it to everyone.\n'
        "groups = []\n"
        "clearance = 0\n"
        "# Vers qui se tourner quand la réponse ne suffit pas. Whom to ask when the answer is not enough.\n"
        'contact = ""\n'
        "# Sigles et mots courants : un fichier du dossier, ou une table. Acronyms and everyday words.\n"
        '# glossary = "glossaire.toml"\n'
    )
    return Corpus(name, name), text


def declaration(corpus: Corpus) -> str:
    """The ``corpus.toml`` that declares ``corpus``, without its glossary.

    Raises:
        BadRequest: a value may not stand there.
    """
    values = {
        "name": checked_name(corpus.name),
        "title": corpus.title,
        "language": corpus.language,
        "groups": sorted(corpus.groups),
        "clearance": corpus.clearance,
        "contact": corpus.contact,
        "norm_rank": corpus.norm_rank,
        "retention": corpus.retention_days,
    }
    try:
        _corpus({name: value for name, value in values.items() if value is not None}, corpus.name)
    except _Wrong as error:
        raise BadRequest(error.en, error.fr, code="bad_corpus") from error
    return _toml(values)


def sidecar_of(document: str, said: Said, corpus: str) -> str:
    """The sidecar that gives a document its id and says what ``said`` says.

    Raises:
        DocumentError: a value may not stand there (``bad_metadata``).
    """
    text = _toml(
        {
            "id": document,
            "title": said.title,
            "language": said.language,
            "norm_rank": said.norm_rank,
            "valid_from": said.valid_from,
            "valid_to": said.valid_to,
            "groups": None if said.groups is None else sorted(said.groups),
            "clearance": said.clearance,
        }
    )
    if len(text.encode()) > LARGEST_SIDECAR:
        raise bad_metadata("too much is said of the document", "la description du document est trop longue")
    sidecar(text.encode(), corpus)
    return text


def _toml(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items() if value is not None)


def _toml_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, str):
        # TOML escapes as JSON does, and DEL besides.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def sidecar(content: bytes, corpus: str) -> Metadata:
    """What a sidecar says.

    Raises:
        DocumentError: it is no TOML, has an unknown name or a wrong value (``bad_metadata``).
    """
    try:
        values = _read(content)
        _known(values, _SIDECAR_KEYS)
        if _text(values, "corpus") not in {None, corpus}:
            raise _Wrong(
                f"`corpus` says `{values['corpus']}` and this is `{corpus}`",
                f"« corpus » indique « {values['corpus']} » alors que le corpus est « {corpus} »",
            )
        _text(values, "supersedes")  # for people: what is in force follows from the dates
        return _metadata(values)
    except ValueError as error:
        raise bad_metadata(f"the sidecar is no TOML: {error}", f"la fiche n'est pas du TOML : {error}") from error
    except _Wrong as error:
        raise bad_metadata(f"sidecar: {error.en}", f"fiche : {error.fr}") from error


def front_matter(head: bytes) -> Metadata:
    """What a text says of itself between ``+++`` lines at its beginning; nothing when it has no such lines.

    Raises:
        DocumentError: what stands there is no TOML or has a wrong value (``bad_metadata``).
    """
    head = head.removeprefix(b"\xef\xbb\xbf")[:LONGEST_FRONT_MATTER]
    opening = _FENCE.match(head)
    closing = opening and _FENCE.search(head, opening.end())
    if opening is None or closing is None:
        return Metadata()
    try:
        return _metadata(_read(head[opening.end() : closing.start()]))
    except ValueError as error:
        raise bad_metadata(f"the front matter is no TOML: {error}", f"l'en-tête n'est pas du TOML : {error}") from error
    except _Wrong as error:
        raise bad_metadata(f"front matter: {error.en}", f"en-tête : {error.fr}") from error


def bad_metadata(en: str, fr: str) -> DocumentError:
    return DocumentError(RejectReason.BAD_METADATA, en, fr)


# --- values ---------------------------------------------------------------------------------------------


def narrowest(audiences: Iterable[tuple[frozenset[str], int]]) -> tuple[frozenset[str], int]:
    """Groups and clearance of those whom every one of some ``audiences`` lets in; at least one is given."""
    groups, clearance = None, 0
    for several, least in audiences:
        groups, clearance = _common(groups, several), max(clearance, least)
    assert groups is not None
    return groups, clearance


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The groups that both audiences have; ``None`` says nothing, and :data:`PUBLIC` keeps nobody out."""
    if one is None or other is None:
        return other if one is None else one
    if PUBLIC in one or PUBLIC in other:
        return other if PUBLIC in one else one
    return one & other


def _read(content: bytes) -> dict[str, Any]:
    """The values that stand in a few lines of TOML which anybody may have written.

    Raises:
        ValueError: it is no TOML, or some that takes the reader minutes or more memory than there is.
    """
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise ValueError("a line with too many dots")
    try:
        return tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))
    except RecursionError as error:
        raise ValueError("values nested too deeply") from error


def _corpus(values: Mapping[str, Any], name: str) -> Corpus:
    _known(values, _CORPUS_KEYS)
    written = _text(values, "name")
    if written != name:
        raise _Wrong(
            f"it declares the corpus `{written}` and not `{name}`",
            f"il déclare le corpus « {written} », pas « {name} »",
        )
    retention = _whole(values, "retention")
    _schedule(values)
    corpus = Corpus(
        name=name,
        title=_text(values, "title") or name,
        language=_language(values) or "fr",
        groups=_groups(values) or frozenset(),
        clearance=_whole(values, "clearance") or 0,
        contact=_text(values, "contact", empty=True) or "",
        norm_rank=_rank(values),
    )
    return corpus if retention is None else replace(corpus, retention_days=retention)


def _metadata(values: Mapping[str, Any]) -> Metadata:
    found = Metadata(
        id=_id(values),
        title=_text(values, "title"),
        language=_language(values),
        norm_rank=_rank(values),
        valid_from=_date(values, "valid_from"),
        valid_to=_date(values, "valid_to"),
        groups=_groups(values),
        clearance=_whole(values, "clearance"),
    )
    if found.valid_from and found.valid_to and found.valid_to <= found.valid_from:
        raise _Wrong(
            "`valid_to` is the first day on which it is no longer in force; it must come after `valid_from`",
            "« valid_to » est le premier jour où le texte n'est plus en vigueur ; il doit suivre « valid_from »",
        )
    return found


def _known(values: Mapping[str, Any], keys: Collection[str]) -> None:
    for name in values:
        if name not in keys:
            near = difflib.get_close_matches(name, sorted(keys), n=1)
            raise _Wrong(
                f"unknown name `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""),
                f"nom inconnu « {name} »" + (f" ; vouliez-vous « {near[0]} » ?" if near else ""),
            )


def _text(values: Mapping[str, Any], name: str, *, empty: bool = False) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not (empty or value.strip()):
        raise _Wrong(f"`{name}` must be a text", f"« {name} » doit être un texte")
    return " ".join(unicodedata.normalize("NFC", value).split())


def _id(values: Mapping[str, Any]) -> str | None:
    value = _text(values, "id")
    if value is not None and (len(value) > LONGEST_ID or not value.isprintable()):
        raise _Wrong(
            f"`id` must have at most {LONGEST_ID} printable characters",
            f"« id » doit compter au plus {LONGEST_ID} caractères imprimables",
        )
    return value


def _language(values: Mapping[str, Any]) -> str | None:
    value = _text(values, "language")
    if value is not None and not _LANGUAGE.match(value):
        raise _Wrong(
            f"`language` is a code such as `fr` or `en`, not `{value}`",
            f"« language » est un code comme « fr » ou « en », pas « {value} »",
        )
    return value


def _rank(values: Mapping[str, Any]) -> NormRank | None:
    value = _text(values, "norm_rank")
    if value is None:
        return None
    if value not in set(NormRank):
        allowed = ", ".join(NormRank)
        raise _Wrong(f"`norm_rank` must be one of {allowed}", f"« norm_rank » doit être l'un de {allowed}")
    return NormRank(value)


def _date(values: Mapping[str, Any], name: str) -> dt.date | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise _Wrong(f"`{name}` must be a date such as 2025-01-01", f"« {name} » doit être une date comme 2025-01-01")
    return value


def _schedule(values: Mapping[str, Any]) -> str | None:
    value = _text(values, "schedule")
    if value is None:
        return None
    try:
        CronSim(value, dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
    except CronSimError as error:
        raise _Wrong(
            f"`schedule` must be five cron fields such as `30 2 * * *`, not `{value}`",
            f"« schedule » doit être une expression cron de cinq champs comme « 30 2 * * * », pas « {value} »",
        ) from error
    return value


def _groups(values: Mapping[str, Any]) -> frozenset[str] | None:
    value = values.get("groups")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(group, str) and group.strip() for group in value):
        raise _Wrong(
            '`groups` must be a list of names; `["*"]` is everyone',
            '« groups » doit être une liste de noms ; `["*"]` désigne tout le monde',
        )
    return frozenset(group.strip() for group in value)


def _whole(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise _Wrong(
            f"`{name}` must be a whole number from 0 to {LARGEST}", f"« {name} » doit être un entier de 0 à {LARGEST}"
        )
    return value
