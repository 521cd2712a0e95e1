"""Pictures of pages to words with their places, by Tesseract as the system has it.

The program is fed and read through pipes and writes no file; it has its own limits of time and memory and dies with
the process that started it. Nothing is fetched: the languages are those whose data lie on the machine. A page that it
hangs or breaks down on is a page without words, and says so.
"""

from __future__ import annotations

import ctypes
import io
import math
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from ingest import quality
from ingest.parsers import layout
from ingest.parsers.layout import Box, Line, Rules, Word
from rag.errors import DocumentError, RejectReason

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from ingest.parsers import Limits
    from ingest.scan import Scan

CLOCK: Final = 3
"""Seconds by the clock for each second of processor time: readers yield to a running answer and then wait long."""
ENVIRONMENT: Final = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1"}
_POINTS: Final = 72
_USUAL_DPI: Final = 300
"""What Tesseract reads best: capitals some 30 pixels high."""
_SURE: Final = 90.0
"""Tesseract's confidence, in percent, in the words of a clean page."""
_UPRIGHT: Final = 60.0
"""Mean confidence below which a page may stand on its side or on its head."""
_LEAST_WORD: Final = 12.0
"""Confidence below which a sign or two are specks, stamps, the edges of pictures."""
_LONG: Final = 4
"""Signs of a word that is wider than high in any font."""
_LETTERS: Final = re.compile(r"[^\W\d_]{3}")
_DOUBTFUL: Final = 0.9
"""Score of a page below which all languages together are tried. One alone is read better than as one of two: over the
sample texts 0.9997 of the accented letters are right with ``fra``, 0.983 with ``fra+eng``, and their English pages
lose nothing in ``fra``."""
_COARSE: Final = 130.0
"""Dots per inch below which an enlarged picture is read better."""
_MOST_ENLARGED: Final = 20_000_000
"""Pixels that a picture is enlarged to at most; a page of A4 has 8.7 million at 300 dots per inch."""
_FINEST: Final = 400.0
"""Dots per inch from which more only takes more time."""
_MODE: Final = "3"
"""Tesseract's own segmentation: it reads columns as columns, which one block of lines (6) mixes."""

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
            env=ENVIRONMENT,
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

    ``done`` of the file's ``total`` pages to be recognised came before this one. Call :func:`available` first. Takes
    no more than ``limits.ocr_seconds``. Never raises for what is on the picture.
    """
    _announce(done, total)
    from ingest import scan  # numpy and Pillow are for the workers that see a picture

    picture, dpi = _readable(scan.grey(picture), dpi)
    if scan.is_blank(picture):
        return Page((), 0.0, *_points(picture, dpi))
    until = _Until(limits)
    first, _, others = limits.ocr_languages.partition("+")
    turned = 0
    try:
        best = _words(scan.ready(picture, dpi), dpi, first, until)
    except _BrokenDown:
        width, height = _points(picture, dpi)
        return Page((), 0.0, width, height, failed=True)
    with suppress(_BrokenDown):  # what was found before stands
        if (best.sure < _UPRIGHT or best.sideways) and (degrees := _turn(picture, dpi, until)):
            upright = picture.rotate(-degrees, expand=True)
            found = _words(scan.ready(upright, dpi), dpi, first, until)
            if found.weight > best.weight:
                best, picture, turned = found, upright, degrees
        if others and best.lines and best.score < _DOUBTFUL:
            best = max(
                best, _words(scan.ready(picture, dpi), dpi, limits.ocr_languages, until), key=lambda one: one.score
            )
    return Page(best.lines, best.score, *_points(picture, dpi), turned)


def _points(picture: Picture, dpi: float) -> tuple[float, float]:
    width, height = picture.size
    return _POINTS * width / dpi, _POINTS * height / dpi


def _readable(picture: Picture, dpi: float) -> tuple[Picture, float]:
    """The picture at a resolution that Tesseract reads well, and that resolution."""
    if _COARSE <= dpi <= _FINEST:
        return picture, dpi
    factor = _USUAL_DPI / dpi
    if factor > 1:
        factor = max(1.0, min(factor, math.sqrt(_MOST_ENLARGED / (picture.width * picture.height))))
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, resample=3, reducing_gap=2.0), dpi * factor  # 3: bicubic


class _Until:
    """What is left of the time for one page, which may take several runs of the program."""

    def __init__(self, limits: Limits) -> None:
        self.memory = limits.memory
        self._seconds = limits.ocr_seconds
        self._began = (time.monotonic(), _children())

    @property
    def seconds(self) -> int:
        """Processor time for the next run; raises :class:`_BrokenDown` when there is none left."""
        clock, used = time.monotonic() - self._began[0], _children() - self._began[1]
        left = int(self._seconds - max(clock / CLOCK, used))
        if left < 1:
            raise _BrokenDown
        return left


def _children() -> float:
    """Processor time of the programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class _Found:
    """Lines of a page, how many letters there are, and the mean confidence in them by letters.

    ``sideways`` is true where its words are higher than wide: Tesseract reads some blocks that lie on their side, and
    leaves the words there.
    """

    lines: tuple[Line, ...]
    letters: int
    sure: float
    sideways: bool

    @property
    def weight(self) -> float:
        return 0.0 if self.sideways else self.letters * self.sure

    @property
    def score(self) -> float:
        if not self.lines:
            return 0.0
        text = "\n".join(line.text for line in self.lines)
        return round(quality.score(text) * min(1.0, self.sure / _SURE), 3)


def _words(scan: Scan, dpi: float, languages: str, until: _Until) -> _Found:
    said = _tesseract(scan.picture, dpi, until, "-l", languages, "--psm", _MODE, "tsv")
    return _read(said.decode("utf-8", "replace"), _POINTS / dpi, scan.rules)


def _turn(picture: Picture, dpi: float, until: _Until) -> int:
    """By how many degrees clockwise the picture is to be turned, as far as can be told."""
    if "osd" not in _installed():
        return 0
    try:
        said = _tesseract(picture, dpi, until, "--psm", "0")
    except _BrokenDown:  # it ends with an error on a page of too few letters
        return 0
    found = re.search(rb"^Rotate: (90|180|270)$", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _tesseract(picture: Picture, dpi: float, until: _Until, *options: str) -> bytes:
    path = program()
    if path is None:
        raise _BrokenDown
    stream = io.BytesIO()
    picture.save(stream, "PPM")
    command = [path, "stdin", "stdout", "--dpi", str(round(dpi)), *options]
    return _run(command, stream.getvalue(), seconds=until.seconds, memory=until.memory)


# --- what it says ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A word of Tesseract's table: the line that it is in, its box in points, and the confidence in percent."""

    line: tuple[int, ...]
    text: str
    box: Box
    sure: float


def _read(said: str, scale: float, rules: Rules) -> _Found:
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
    rest, tables = layout.ruled_tables(found, layout.grids(rules))
    long = [row.box for row in rows if len(row.text) >= _LONG]
    sideways = sum(box.x1 - box.x0 < box.y1 - box.y0 for box in long) > 0.5 * len(long)
    return _Found((*layout.lines(rest), *tables), letters, sure, sideways)


def _rows(said: str, scale: float) -> Iterator[_Row]:
    for line in said.split("\n"):
        row = line.split("\t")
        if len(row) != 12 or row[0] != "5" or not row[11].strip():
            continue
        try:
            left, top, width, height = (int(value) * scale for value in row[6:10])
            numbers = tuple(int(value) for value in row[1:5])
            sure = float(row[10])
        except ValueError:
            continue
        if _LEAST_WORD <= sure <= 100 or (0 <= sure <= 100 and _LETTERS.search(row[11])):
            yield _Row(numbers, row[11].strip(), Box(left, top, left + width, top + height), sure)


_ASCENDS: Final = re.compile(r"[A-Z0-9bdfhklt(\[{/|À-ßà-ÿ]")
_FIRST: Final = re.compile(r"\bl(?=er\b|re\b|ère\b|ers\b)")
"""``1er`` and ``1re`` are mostly read as ``ler`` and ``lre``, which are no words."""
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
    return Word(_FIRST.sub("1", row.text), Box(row.box.x0, base - 0.9 * size, row.box.x1, base + 0.25 * size), size)
