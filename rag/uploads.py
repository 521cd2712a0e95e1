"""Receives a file that somebody sends, straight to the disk: a raw body, or the one file of a form.

Never more than a block of it is in memory. A form's parts, their headers and its fields are bounded in number and
size while they are read; what breaks off or breaks a bound leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from rag.errors import BadRequest, DiskFull
from rag.home import open_private, translated
from rag.problems import Refusal
from rag.receiving import paced

FORM: Final = b"multipart/form-data"
FORM_ROOM: Final = 1 << 20
"""Bytes that a form may have besides its file."""
MOST_PARTS: Final = 80
LONGEST_FIELD: Final = 4_096
"""Bytes of one field of a form: a title, a date, the name of a group."""
RESERVE: Final = 32 * 2**20
"""Bytes of the disk that no upload may take: publishing, records and answers need some."""
BETWEEN: Final = 4 * 2**20
"""Bytes that are received between two looks at what is left of it."""
_MOST_HEADERS: Final = 8
_LONGEST_HEADERS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Received:
    """A file on the disk, the name it was sent under, and the fields of the form around it, in their order."""

    file: Path
    name: str | None
    size: int
    fields: Mapping[str, list[str]]


@asynccontextmanager
async def received(request: Request, folder: Path, most: int) -> AsyncIterator[Received]:
    """The file that a request sends, in ``folder``, of at most ``most`` bytes; it is gone when the block ends.

    Whoever wants to keep it renames it.

    Raises:
        Refusal: 413, it is larger; 408, it comes too slowly.
        BadRequest: there is no file, or the form is broken.
        DiskFull: there is no room, or would be too little left.
    """
    path = folder / f"{uuid.uuid4().hex}.part"
    try:
        announced = int(request.headers.get("content-length", 0))
        file = await run_in_threadpool(_File, path, most, announced)
        try:
            kind, options = parse_options_header(request.headers.get("content-type"))
            form = _Form(file, options.get(b"boundary", b"")) if kind == FORM else None
            sink: _File | _Form = form or file
            try:
                async for block in paced(request.stream()):
                    await run_in_threadpool(sink.write, block)
            except ClientDisconnect as error:
                raise _broken() from error
            await run_in_threadpool(sink.finish)
        finally:
            await run_in_threadpool(file.close)
        yield Received(path, form.name if form else None, file.size, form.fields if form else {})
    finally:
        await run_in_threadpool(path.unlink, missing_ok=True)


class _File:
    """The bytes of a raw body, or of the one file of a form; counted, and durable once finished."""

    def __init__(self, path: Path, most: int, announced: int = 0) -> None:
        self._most = most
        self.size = 0
        self._looked = 0
        self._folder = path.parent
        with translated(path.parent):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_room(path.parent, announced)
            self._writing = open_private(path)

    def write(self, block: bytes) -> None:
        self.size += len(block)
        if self.size > self._most:
            raise too_large(self._most)
        with translated(self._folder):
            if self.size - self._looked > BETWEEN:
                self._looked = self.size
                _check_room(self._folder, 0)
            self._writing.write(block)

    def finish(self) -> None:
        if not self.size:
            raise BadRequest("no file was sent, or an empty one", "aucun fichier, ou un fichier vide", code="no_file")
        with translated(self._folder):
            self._writing.flush()
            os.fsync(self._writing.fileno())

    def close(self) -> None:
        with suppress(OSError):  # a full disk was told of when it was written to
            self._writing.close()


class _Form:
    """A form with one file, read as it comes."""

    def __init__(self, file: _File, boundary: bytes) -> None:
        self._file = file
        self.name: str | None = None
        self.fields: dict[str, list[str]] = {}
        self._parts = 0
        self._ended = False
        self._header = b""
        self._value = b""
        self._field: str | None = None
        self._text = b""
        self._disposition = b""
        self._seen = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ends,
                    "on_end": self._form_ends,
                },
                max_header_count=_MOST_HEADERS,
                max_header_size=_LONGEST_HEADERS,
            )
        except FormParserError as error:
            raise _broken() from error
        if not boundary:
            raise _broken()

    def write(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise _broken() from error

    def finish(self) -> None:
        if not self._ended:
            raise _broken()
        self._file.finish()

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadRequest(
                f"a form has at most {MOST_PARTS} parts",
                f"un formulaire a {MOST_PARTS} parties au plus",
                code="bad_form",
            )
        self._disposition, self._field, self._text = b"", None, b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise _broken()
        if b"filename" not in options:
            self._field = _decoded(options[b"name"])
            return
        if self._seen:
            raise BadRequest("send one file at a time", "envoyez un fichier à la fois", code="several_files")
        self._seen = True
        self.name = _decoded(options[b"filename"])

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._file.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > LONGEST_FIELD:
            raise BadRequest(
                f"a field of the form is longer than {LONGEST_FIELD} bytes",
                f"un champ du formulaire dépasse {LONGEST_FIELD} octets",
                code="bad_form",
            )

    def _part_ends(self) -> None:
        if self._field is not None:
            self.fields.setdefault(self._field, []).append(_decoded(self._text))

    def _form_ends(self) -> None:
        self._ended = True


def _check_room(folder: Path, wanted: int) -> None:
    """See that the disk has room for so many more bytes, and what others need besides.

    Raises:
        DiskFull: it has not.
    """
    if _free(folder) < wanted + RESERVE:
        raise DiskFull(
            f"too little space is left for {folder}; free some and send the file again",
            f"il reste trop peu de place pour {folder} ; libérez-en et renvoyez le fichier",
        )


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def too_large(most: int) -> Refusal:
    """What is said of a file larger than ``most`` bytes."""
    return Refusal(
        f"the file is larger than {most >> 20} MB (setting `file_megabytes`)",
        f"le fichier dépasse {most >> 20} Mo (réglage « file_megabytes »)",
        code="too_large",
        status=413,
        headers={"Connection": "close"},
    )


def _decoded(written: bytes) -> str:
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("the form is not UTF-8", "le formulaire n'est pas en UTF-8", code="bad_form") from error


def _broken() -> BadRequest:
    return BadRequest("the form is broken or cut short", "le formulaire est incomplet ou mal formé", code="bad_form")
