"""The open layout that moves a corpus between machines: what its files say, and whether they say it still.

An archive is a folder. JSON is UTF-8; dates are ISO, periods half-open, pages count from 1::

    manifest.json       version of the layout, the corpus's declaration, snapshot and time, embedder fingerprint and
                        dimension, counts, and of every other file its size and SHA-256
    manifest.sha256     the SHA-256 of manifest.json, as `sha256sum -c` reads it
    documents.jsonl     a line per document, by id: all that is known of it
    chunks.jsonl        a line per chunk: the documents in the same order, each in reading order
    vectors.npy         float32, C order; row i, of length 1, belongs to line i of chunks.jsonl
    files/SHA256        the source file of each document, by the document's `sha256`
    documents/*.jsonl   each document by itself, in the layout of ingest.records, for people and other programs

Nothing in it is trusted before all of it is verified: another machine wrote it, and a disk or a person may have
changed it on the way.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ingest.manifest import LARGEST, checked_name
from ingest.synonyms import LONGEST_PHRASE, MOST_FAMILIES, MOST_PHRASES
from rag.catalog import DocumentRow
from rag.errors import BadRequest
from rag.types import Chunk, Corpus, Document, LegalStatus, Matrix, NormRank, Synonyms, Validity

VERSION: Final = 1
MANIFEST, SUM = "manifest.json", "manifest.sha256"
DOCUMENTS, CHUNKS, VECTORS = "documents.jsonl", "chunks.jsonl", "vectors.npy"
FILES, READABLE = "files", "documents"
LARGEST_MANIFEST: Final = 256 << 20
LARGEST_LINE: Final = 16 << 20
"""Bytes of one line; a chunk has a thousand."""
LONGEST: Final = 4_096
"""Characters of an id, a title or a path."""
MOST: Final = 2**31 - 1
"""Of pages, places and counts: more than that no database takes."""
MOST_CHUNKS: Final = 10_000_000
WIDEST: Final = 16_384
"""Dimensions of a vector."""
UNIT: Final = 1e-3
"""How far the length of a vector may be from 1: float32 keeps six digits, half precision on its way three."""
_ROWS: Final = 4_096
_BLOCK: Final = 1 << 20
_NAME: Final = re.compile(
    rf"{re.escape(DOCUMENTS)}|{re.escape(CHUNKS)}|{re.escape(VECTORS)}|{FILES}/[0-9a-f]{{64}}"
    rf"|{READABLE}/[a-z0-9-]{{1,100}}\.jsonl"
)

Seen = Callable[[int, int], None]
"""Is told how many bytes of how many were verified."""


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds signs that cannot be printed")
    return text


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path or "\\" in path:
        raise ValueError("it leads out of the folder")
    return path


def _uuid(text: str) -> str:
    if str(uuid.UUID(text)) != text:
        raise ValueError("it is no UUID")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Named = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_plain)]
Place = Annotated[str, Field(max_length=LONGEST), AfterValidator(_inside)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
Size = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Bounded = Annotated[int, Field(ge=0, le=LARGEST)]
Page = Annotated[int, Field(ge=1, le=MOST)]
Score = Annotated[float, Field(ge=0, le=1)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Kind = TypeVar("_Kind", bound=_Line)


Phrase = Annotated[str, Field(min_length=1, max_length=LONGEST_PHRASE), AfterValidator(_plain)]
Family = Annotated[tuple[Phrase, ...], Field(min_length=2, max_length=MOST_PHRASES)]
Families = Annotated[tuple[Family, ...], Field(max_length=MOST_FAMILIES)]


class Glossary(_Line):
    """The families of phrases of a corpus: interchangeable ones, and those that are good to search with."""

    same: Families
    near: Families


class CorpusSaid(_Line):
    """The declaration of a corpus. ``glossary`` is left out where there is none."""

    name: str
    title: Annotated[str, Field(max_length=LONGEST)]
    language: Language
    groups: tuple[Named, ...]
    clearance: Bounded
    contact: Annotated[str, Field(max_length=LONGEST)]
    norm_rank: NormRank | None
    retention_days: Bounded
    glossary: Glossary | None = None

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        said = corpus.glossary
        return cls(
            name=corpus.name,
            title=corpus.title,
            language=corpus.language,
            groups=tuple(sorted(corpus.groups)),
            clearance=corpus.clearance,
            contact=corpus.contact,
            norm_rank=corpus.norm_rank,
            retention_days=corpus.retention_days,
            glossary=Glossary(same=said.same, near=said.near) if said.families else None,
        )

    def corpus(self) -> Corpus:
        said = self.glossary
        glossary = Synonyms(said.same, said.near) if said else Synonyms()
        return Corpus(**(self.model_dump() | {"groups": frozenset(self.groups), "glossary": glossary}))


class Embedded(_Line):
    """Which embedder the vectors are of."""

    fingerprint: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    dimension: Annotated[int, Field(ge=1, le=WIDEST)]


class Sealed(_Line):
    """Size and SHA-256 of a file."""

    size: Size
    sha256: Sha256


class Manifest(_Line):
    """What ``manifest.json`` says."""

    vauban: Annotated[str, Field(pattern=r"^corpus$")]
    version: int
    corpus: CorpusSaid
    snapshot: Annotated[int, Field(ge=1)]
    published: dt.datetime | None
    exported: dt.datetime
    embedder: Embedded
    documents: Count
    chunks: Annotated[int, Field(ge=0, le=MOST_CHUNKS)]
    files: dict[str, Sealed]


class DocumentLine(_Line):
    """A line of ``documents.jsonl``. ``digest`` sums up what the version was made from besides its file."""

    id: Named
    title: Annotated[str, Field(max_length=LONGEST)]
    language: Language
    source: Place
    sha256: Sha256
    media_type: Named
    norm_rank: NormRank | None
    valid_from: dt.date | None
    valid_to: dt.date | None
    groups: tuple[Named, ...]
    clearance: Bounded
    pages: Count | None
    legal_status: LegalStatus | None
    quality: Score | None
    digest: Annotated[str, Field(max_length=200), AfterValidator(_plain)]
    chunks: Count

    @classmethod
    def of(cls, row: DocumentRow) -> Self:
        document = row.document
        return cls(
            id=document.id,
            title=document.title,
            language=document.language,
            source=document.source,
            sha256=document.sha256,
            media_type=document.media_type,
            norm_rank=document.norm_rank,
            valid_from=document.validity.start,
            valid_to=document.validity.end,
            groups=tuple(sorted(document.groups)),
            clearance=document.clearance,
            pages=document.pages,
            legal_status=document.legal_status,
            quality=document.quality,
            digest=row.digest,
            chunks=row.chunks,
        )

    def document(self, corpus: str) -> Document:
        return Document(
            id=self.id,
            corpus=corpus,
            title=self.title,
            language=self.language,
            source=self.source,
            sha256=self.sha256,
            media_type=self.media_type,
            norm_rank=self.norm_rank,
            validity=Validity(self.valid_from, self.valid_to),
            groups=frozenset(self.groups),
            clearance=self.clearance,
            pages=self.pages,
            legal_status=self.legal_status,
            quality=self.quality,
        )


class ChunkLine(_Line):
    """A line of ``chunks.jsonl``."""

    id: Annotated[str, AfterValidator(_uuid)]
    corpus: str
    document: Named
    title: str
    reference: str
    path: tuple[str, ...]
    text: Annotated[str, Field(min_length=1)]
    ordinal: Count
    language: Language
    start: Count
    end: Count
    page: Page | None
    page_end: Page | None
    norm_rank: NormRank | None
    valid_from: dt.date | None
    valid_to: dt.date | None
    groups: tuple[Named, ...]
    clearance: Bounded
    own_references: tuple[str, ...]
    mentions: tuple[str, ...]
    legal_status: LegalStatus | None
    quality: Score | None
    lead_in: str = ""

    @classmethod
    def of(cls, chunk: Chunk) -> Self:
        plain = {name: getattr(chunk, name) for name in cls.model_fields if name not in {"valid_from", "valid_to"}}
        return cls(
            **(plain | {"groups": tuple(sorted(chunk.groups))}),
            valid_from=chunk.validity.start,
            valid_to=chunk.validity.end,
        )

    def chunk(self) -> Chunk:
        plain = {name: getattr(self, name) for name in type(self).model_fields}
        start, end = plain.pop("valid_from"), plain.pop("valid_to")
        return Chunk(**(plain | {"groups": frozenset(self.groups), "validity": Validity(start, end)}))


# --- writing ---------------------------------------------------------------------------------------------


class Sealing:
    """A file of an archive in the making: what is written is measured and hashed on its way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        self._size += len(content)
        return self._file.write(content)

    def line(self, said: _Line) -> None:
        self.write(said.model_dump_json().encode() + b"\n")

    @property
    def sealed(self) -> Sealed:
        return Sealed(size=self._size, sha256=self._digest.hexdigest())


class Writer:
    """Writes the files of an archive into ``folder``, and last its manifest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sealed: dict[str, Sealed] = {}

    @contextmanager
    def file(self, name: str) -> Iterator[Sealing]:
        """One file, by its name in the archive."""
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            sealing = Sealing(file)
            yield sealing
        self._sealed[name] = sealing.sealed

    def __contains__(self, name: str) -> bool:
        return name in self._sealed

    def finish(self, said: dict[str, Any]) -> Manifest:
        """Write the manifest, which then vouches for all files, and its checksum."""
        made = Manifest(vauban="corpus", version=VERSION, files=self._sealed, **said)
        dumped = made.model_dump(mode="json")
        if made.corpus.glossary is None:
            del dumped["corpus"]["glossary"]  # so that a program which knows of none can read it
        content = json.dumps(dumped, ensure_ascii=False, indent=1).encode()
        (self._folder / MANIFEST).write_bytes(content)
        (self._folder / SUM).write_bytes(_sum(content))
        return made


def vectors_header(sealing: Sealing, rows: int, dimension: int) -> None:
    """What ``vectors.npy`` begins with; the rows follow, as bytes."""
    said = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(sealing, said)


def _sum(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


# --- reading ---------------------------------------------------------------------------------------------


class Archive:
    """An archive that was verified from end to end; made by :func:`verified`."""

    def __init__(self, folder: Path, manifest: Manifest, documents: tuple[DocumentLine, ...]) -> None:
        self._folder = folder
        self.manifest = manifest
        self.documents = documents

    def file(self, document: DocumentLine) -> Path:
        """The source file of a document."""
        return self._folder / FILES / document.sha256

    def chunks(self) -> Iterator[tuple[DocumentLine, tuple[Chunk, ...], Matrix]]:
        """Each document with its chunks in reading order, and their vectors."""
        vectors = _vectors(self._folder / VECTORS, self.manifest)
        row = 0
        lines = _lines(self._folder / CHUNKS)
        for document in self.documents:
            # Checked again: the file may have been changed since it was verified.
            chunks = tuple(_chunk_line(lines, self.manifest, document).chunk() for _ in range(document.chunks))
            yield document, chunks, np.array(vectors[row : row + len(chunks)], dtype=np.float32)
            row += len(chunks)


def verified(folder: Path, seen: Seen = lambda done, total: None) -> Archive:
    """The archive in ``folder``, after every byte of it was checked.

    Raises:
        BadRequest: something is missing, changed, too large, or says what it may not; the message names the file.
    """
    manifest = _manifest(folder)
    _check_files(folder, manifest, seen)
    documents = _check_documents(folder, manifest)
    _check_chunks(folder, manifest, documents)
    _check_vectors(folder, manifest)
    return Archive(folder, manifest, documents)


def refused(name: str, en: str, fr: str) -> BadRequest:
    """The error of an archive that is not taken in, because of its file ``name``."""
    return BadRequest(
        f"{name}: {en}; nothing was taken in, get the archive again",
        f"{name} : {fr} ; rien n'a été importé, procurez-vous l'archive à nouveau",
        code="bad_archive",
    )


def _manifest(folder: Path) -> Manifest:
    content = _small(folder / MANIFEST, LARGEST_MANIFEST)
    if _small(folder / SUM, 200) != _sum(content):
        raise refused(SUM, f"it is not the checksum of {MANIFEST}", f"ce n'est pas l'empreinte de {MANIFEST}")
    try:
        version = json.loads(content).get("version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise refused(MANIFEST, "it is no JSON", "ce n'est pas du JSON") from error
    if version != VERSION:
        raise refused(
            MANIFEST,
            f"its layout is version {version} and this program knows {VERSION}",
            f"sa version est {version}, ce programme connaît {VERSION}",
        )
    manifest = _read(Manifest, content, MANIFEST)
    checked_name(manifest.corpus.name)
    for name in manifest.files:
        if not _NAME.fullmatch(name):
            raise refused(MANIFEST, "it lists a file that no archive has", "il cite un fichier inattendu")
    return manifest


def _small(path: Path, most: int) -> bytes:
    _regular(path, path.name)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise refused(path.name, f"it has more than {most} bytes", f"il dépasse {most} octets")
    return content


def _regular(path: Path, name: str) -> int:
    """The size of a regular file; a link is none, for it may lead anywhere."""
    try:
        status = path.lstat()
    except OSError as error:
        raise refused(name, "it is missing", "il manque") from error
    if not stat.S_ISREG(status.st_mode):
        raise refused(name, "it is no regular file", "ce n'est pas un fichier ordinaire")
    return status.st_size


def _check_files(folder: Path, manifest: Manifest, seen: Seen) -> None:
    """Exactly the files of the manifest are there, each as it was written."""
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    for name in sorted(found - manifest.files.keys() - {MANIFEST, SUM}):
        raise refused(name, "it is not in the manifest", "il n'est pas au manifeste")
    for name in (DOCUMENTS, CHUNKS, VECTORS):
        if name not in manifest.files:
            raise refused(name, "the manifest lacks it", "le manifeste ne le cite pas")
    for name, sealed in manifest.files.items():
        if _regular(folder / name, name) != sealed.size:
            raise refused(name, "it is cut short or too long", "il est tronqué ou trop long")
    done, total = 0, sum(sealed.size for sealed in manifest.files.values())
    for name, sealed in manifest.files.items():
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                seen(done, total)
        if digest.hexdigest() != sealed.sha256:
            raise refused(name, "its content has changed", "son contenu a changé")


def _check_documents(folder: Path, manifest: Manifest) -> tuple[DocumentLine, ...]:
    documents = tuple(_read(DocumentLine, line, DOCUMENTS) for line in _lines(folder / DOCUMENTS))
    if len(documents) != manifest.documents or sum(one.chunks for one in documents) != manifest.chunks:
        raise refused(DOCUMENTS, "the manifest counts otherwise", "le manifeste compte autrement")
    if len({one.id for one in documents}) != len(documents):
        raise refused(DOCUMENTS, "two documents have the same id", "deux documents ont le même identifiant")
    for one in documents:
        if f"{FILES}/{one.sha256}" not in manifest.files:
            raise refused(f"{FILES}/{one.sha256}", "it is missing", "il manque")
    return documents


def _check_chunks(folder: Path, manifest: Manifest, documents: tuple[DocumentLine, ...]) -> None:
    lines = _lines(folder / CHUNKS)
    ids: set[str] = set()
    for document in documents:
        ordinal = -1
        for _ in range(document.chunks):
            line = _chunk_line(lines, manifest, document)
            if line.id in ids or line.ordinal <= ordinal or line.end < line.start:
                raise refused(CHUNKS, "a chunk is there twice or out of order", "un passage est en double ou déplacé")
            ids.add(line.id)
            ordinal = line.ordinal
    if next(lines, None) is not None:
        raise refused(CHUNKS, "it has more chunks than the documents", "il compte trop de passages")


def _chunk_line(lines: Iterator[bytes], manifest: Manifest, document: DocumentLine) -> ChunkLine:
    """The next chunk, which must be one of ``document``."""
    line = _read(ChunkLine, next(lines, b""), CHUNKS)
    if (line.corpus, line.document) != (manifest.corpus.name, document.id):
        raise refused(CHUNKS, "a chunk stands in another document", "un passage est mal placé")
    if (line.title, line.groups, line.clearance) != (document.title, document.groups, document.clearance):
        raise refused(CHUNKS, "a chunk contradicts its document", "un passage contredit son document")
    return line


def _check_vectors(folder: Path, manifest: Manifest) -> None:
    vectors = _vectors(folder / VECTORS, manifest)
    for start in range(0, len(vectors), _ROWS):
        lengths = np.linalg.norm(vectors[start : start + _ROWS].astype(np.float64), axis=1)
        if not np.all(np.abs(lengths - 1) <= UNIT):  # not a number is never near
            raise refused(VECTORS, "a row is no vector of length 1", "une ligne n'est pas un vecteur de norme 1")


def _vectors(path: Path, manifest: Manifest) -> npt.NDArray[np.float32]:
    """The matrix, read as it is needed."""
    shape = (manifest.chunks, manifest.embedder.dimension)
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version")
            found, fortran, kind = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
    except ValueError as error:
        raise refused(VECTORS, "it is no array", "ce n'est pas un tableau") from error
    if (found, fortran, kind) != (shape, False, np.dtype("<f4")):
        raise refused(VECTORS, "the manifest says another shape", "le manifeste annonce une autre forme")
    if path.stat().st_size != offset + 4 * shape[0] * shape[1]:
        raise refused(VECTORS, "it is cut short or too long", "il est tronqué ou trop long")
    if not shape[0]:
        return np.empty(shape, dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=shape)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(LARGEST_LINE + 1):
            if len(line) > LARGEST_LINE or not line.endswith(b"\n"):
                raise refused(path.name, "a line is too long or cut short", "une ligne est trop longue ou tronquée")
            yield line


def _read(kind: type[_Kind], content: bytes, name: str) -> _Kind:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2] if str(part).isidentifier())
        raise refused(name, f"`{where}` is not as it should be", f"« {where} » n'est pas conforme") from error
