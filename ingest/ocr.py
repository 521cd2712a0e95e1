"""Pictures of pages to words with their places, by Tesseract as the system has it.

The program is fed and read through pipes and writes no file; it has its own limits of time and memory and dies with
the process that started it. Nothing is fetched: the languages are those whose data lie on the machine. A page that it
hangs or breaks down on is a page without words, and says so.
"""

from __future__ import annotations

import csv
import ctypes
import io
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from ingest import quality
from ingest.parsers.layout import Box, Line, Word, lines
from rag.errors import DocumentError, RejectReason

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from ingest.parsers import Limits

CLOCK: Final = 3
"""Seconds by the clock for each second of processor time: readers yield to a running answer and then wait long."""
PACKAGES: Final = "tesseract-ocr tesseract-ocr-{}"
_POINTS: Final = 72
_USUAL_DPI: Final = 300
"""What Tesseract reads best: capitals some 30 pixels high."""
_SURE: Final = 90.0
"""Tesseract's confidence, in percent, in the words of a clean page."""
_UPRIGHT: Final = 60.0
"""Mean confidence below which a page may stand on its side or on its head."""
_LEAST_WORD: Final = 12.0
"""Confidence below which what was read is no word: specks, stamps, the edges of pictures."""
_MODE: Final = "3"

Announce = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Page:
    """What was recognised on a picture.

    ``lines`` are in points from the upper left corner of the upright page, which is ``width`` by ``height``;
    ``turned`` says by how many degrees clockwise the picture had to be turned. ``score`` is that of
    :func:`ingest.quality.score`, lowered by what Tesseract itself was not sure of; 0 for a page without words.
    ``failed`` is true when the program hung, broke down or wanted too much memory.
    """

    lines: tuple[Line, ...]
    score: float
    width: float
    height: float
    turned: int = 0
    failed: bool = False


# --- the program ----------------------------------------------------------------------------------------


@cache
def program() -> str | None:
    """Where Tesseract lies among the system's programs, ``None`` where it is not installed."""
    found = shutil.which("tesseract", path=os.defpath)
    return None if found is None else os.path.realpath(found)


def available(languages: str) -> bool:
    """Whether the program and the data of all ``languages`` (``fra+eng``) are on this machine; false for none."""
    return bool(languages) and program() is not None and not missing(languages)


def missing(languages: str) -> tuple[str, ...]:
    """The ``languages`` whose data are not on this machine."""
    here = _installed()
    return tuple(language for language in languages.split("+") if language not in here)


@cache
def _installed() -> frozenset[str]:
    path = program()
    if path is None:
        return frozenset()
    try:
        said = _run([path, "--list-langs"], b"", seconds=10, memory=512)
    except _BrokenDown:
        return frozenset()
    return frozenset(line.strip() for line in said.decode("utf-8", "replace").splitlines()[1:])


def absent(languages: str) -> DocumentError | None:
    """Why pictures cannot be read on this machine, naming the Debian packages that are wanted; else ``None``."""
    if not languages:
        return DocumentError(
            RejectReason.NO_TEXT,
            "recognition of pictures is switched off (setting `ocr_languages`)",
            "la reconnaissance des images est désactivée (réglage « ocr_languages »)",
        )
    wanted = [f"tesseract-ocr-{language.replace('_', '-')}" for language in missing(languages)]
    if program() is None:
        wanted.insert(0, "tesseract-ocr")
    if not wanted:
        return None
    names = " ".join(wanted)
    return DocumentError(
        RejectReason.NO_TEXT,
        f"the pages are pictures, and to recognise them these Debian packages are missing: {names}",
        f"les pages sont des images, et il manque pour les reconnaître ces paquets Debian : {names}",
    )


class _BrokenDown(Exception):
    """The program hung, crashed, or ended with an error."""


_running: set[int] = set()


def running(pid: int) -> bool:
    """Whether ``pid`` is that of a program started here, which a confined process may therefore end."""
    return pid in _running


def _run(command: Sequence[str], given: bytes, *, seconds: int, memory: int) -> bytes:
    """What the program answers; raises :class:`_BrokenDown` for anything but success in time."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1"},
            preexec_fn=lambda: _bound(seconds, memory),  # the reading process has one thread
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _BrokenDown from error
    _running.add(process.pid)
    try:
        said, _ = process.communicate(given, timeout=CLOCK * seconds)
    except subprocess.TimeoutExpired as error:
        raise _BrokenDown from error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        _running.discard(process.pid)
    if process.returncode:
        raise _BrokenDown
    return said


def _bound(seconds: int, memory: int) -> None:
    """In the new process: die with the one that started it, and no more than this time and memory (MiB)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (memory * 1024 * 1024, resource.RLIM_INFINITY))


# --- progress -------------------------------------------------------------------------------------------


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


_announce: Announce = _silent


@contextmanager
def announcing(announce: Announce) -> Iterator[None]:
    """While it lasts ``announce(done, total)`` is called before each page that is recognised."""
    global _announce  # a worker reads one file at a time, and parsers know nothing of workers
    _announce = announce
    try:
        yield
    finally:
        _announce = _silent


# --- recognition ----------------------------------------------------------------------------------------


def recognise(picture: Picture, limits: Limits, *, dpi: float = _USUAL_DPI, done: int = 0, total: int = 1) -> Page:
    """The words of a picture that has ``dpi`` pixels to the inch, whichever way up it is.

    ``done`` of the file's ``total`` pages to be recognised came before this one. Call :func:`available` first. Never
    raises for what is on the picture.
    """
    _announce(done, total)
    picture = _prepared(picture)
    width, height = (_POINTS * pixels / dpi for pixels in picture.size)
    try:
        found = _words(picture, limits, dpi)
        turned = 0
        if found.sure < _UPRIGHT and (turned := _turn(picture, limits, dpi)):
            upright = picture.rotate(-turned, expand=True)
            again = _words(upright, limits, dpi)
            if again.sure * len(again.words) > found.sure * len(found.words):
                found = again
                width, height = (_POINTS * pixels / dpi for pixels in upright.size)
            else:
                turned = 0
    except _BrokenDown:
        return Page((), 0.0, width, height, failed=True)
    read = tuple(lines(found.words))
    return Page(read, _score(read, found.sure), width, height, turned)


def _score(read: Sequence[Line], sure: float) -> float:
    if not read:
        return 0.0
    return round(quality.score("\n".join(line.text for line in read)) * min(1.0, sure / _SURE), 3)


def _prepared(picture: Picture) -> Picture:
    """The picture in shades of grey, on white."""
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        from PIL import Image

        seen = picture.convert("RGBA")
        paper = Image.new("RGBA", seen.size, "white")
        paper.alpha_composite(seen)
        picture = paper
    return picture if picture.mode == "L" else picture.convert("L")


@dataclass(frozen=True, slots=True)
class _Found:
    """Words of a page and the mean confidence in them, by letters."""

    words: tuple[Word, ...]
    sure: float


def _words(picture: Picture, limits: Limits, dpi: float) -> _Found:
    said = _tesseract(picture, limits, dpi, "-l", limits.ocr_languages, "--psm", _MODE, "tsv")
    return _read(said.decode("utf-8", "replace"), _POINTS / dpi)


def _turn(picture: Picture, limits: Limits, dpi: float) -> int:
    """By how many degrees clockwise the picture is to be turned, as far as can be told."""
    if "osd" not in _installed():
        return 0
    try:
        said = _tesseract(picture, limits, dpi, "--psm", "0")
    except _BrokenDown:  # it ends with an error on a page of too few letters
        return 0
    found = re.search(rb"^Rotate: (90|180|270)$", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _tesseract(picture: Picture, limits: Limits, dpi: float, *options: str) -> bytes:
    path = program()
    assert path is not None, "ask available() first"
    stream = io.BytesIO()
    picture.save(stream, "PPM")
    command = [path, "stdin", "stdout", "--dpi", str(round(dpi)), *options]
    return _run(command, stream.getvalue(), seconds=limits.ocr_seconds, memory=limits.memory)


# --- what it says ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A word of Tesseract's table: the line that it is in, its box in points, and the confidence in percent."""

    line: tuple[int, ...]
    text: str
    box: Box
    sure: float


def _read(said: str, scale: float) -> _Found:
    rows = list(_rows(said, scale))
    by_line: dict[tuple[int, ...], list[_Row]] = {}
    for row in rows:
        by_line.setdefault(row.line, []).append(row)
    letters = sum(len(row.text) for row in rows)
    sure = sum(row.sure * len(row.text) for row in rows) / letters if letters else 0.0
    sizes = {line: statistics.median(_size(row) for row in words) for line, words in by_line.items()}
    body = statistics.median(sizes[row.line] for row in rows) if rows else 0.0
    found: list[Word] = []
    for line, words in by_line.items():
        size = body if abs(sizes[line] - body) < 0.2 * body else sizes[line]
        found += [_word(row, size, _base(words, row)) for row in words]
    return _Found(tuple(found), sure)


def _rows(said: str, scale: float) -> Iterator[_Row]:
    for row in csv.reader(io.StringIO(said), delimiter="\t", quoting=csv.QUOTE_NONE):
        if len(row) != 12 or row[0] != "5" or not row[11].strip():
            continue
        left, top, width, height = (int(value) * scale for value in row[6:10])
        sure = float(row[10])
        if sure >= _LEAST_WORD:
            numbers = tuple(int(value) for value in row[1:5])
            yield _Row(numbers, row[11].strip(), Box(left, top, left + width, top + height), sure)


_ASCENDS: Final = re.compile(r"[A-Z0-9bdfhklt(\[{/|À-ßà-ÿ]")
_DESCENDS: Final = re.compile(r"[gjpqyç,;()\[\]{}|Q]")


def _size(row: _Row) -> float:
    """The font's size by the height of a word: letters reach half of it, 0.72 with capitals, 0.21 more below."""
    high = 0.72 if _ASCENDS.search(row.text) else 0.52
    low = 0.21 if _DESCENDS.search(row.text) else 0.0
    return (row.box.y1 - row.box.y0) / (high + low)


def _base(words: Iterable[_Row], row: _Row) -> float:
    """Where the letters of ``row`` stand: the line's base line near it, so that a slight slope does no harm."""
    near = sorted(words, key=lambda other: abs(other.box.centre - row.box.centre))[:7]
    feet = [other.box.y1 for other in near if not _DESCENDS.search(other.text) and re.search(r"\w", other.text)]
    return statistics.median(feet) if feet else row.box.y1


def _word(row: _Row, size: float, base: float) -> Word:
    """A word whose box is as high as its font, as text layers have it, whatever letters it holds."""
    return Word(row.text, Box(row.box.x0, base - 0.9 * size, row.box.x1, base + 0.25 * size), size)
