"""Reading files that nobody vouches for: in worker processes with limits, whose words are data and never code.

A worker is a bare Python that imports the parsers and nothing of the engine. It is niced, may use only so much
memory and processor time, may write no file, open no connection and start no program but the one that recognises
pictures; it answers in JSON over a pipe, so that even a worker taken over by a hostile file can say nothing but
text. One that dies becomes a row with a reason, and the next file gets a new one. Each page that is recognised is
announced and gives the file more time.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import datetime as dt
import json
import os
import resource
import selectors
import signal
import stat
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from ingest import ocr
from ingest.archives import Member, members
from ingest.parsers import Limits, parse
from ingest.source import Source
from rag import textfolders
from rag.errors import DocumentError, RejectReason
from rag.types import Block, BlockKind, LegalStatus, NormRank, PageQuality, Parsed, Stated, Validity

__all__ = ["Limits", "Sandbox"]

_AHEAD: Final = 4
"""Files read ahead per worker: enough to hide one slow file, few enough to hold their text in memory."""
_CLOCK: Final = ocr.CLOCK
_GRACE: Final = 5.0
"""Seconds added for starting up and handing over."""
_MOST_ANSWER: Final = 128 * 1024 * 1024
"""Bytes of one answer: some hundred thousand pages of text."""
_MOST_FILES: Final = 500
"""Files after which a worker is replaced, so that what libraries leak stays small."""
_HEAVY: Final = 256
"""MiB resident above which an idle worker is replaced."""
_MOST_NUMBER: Final = 2**31 - 1
"""Of pages, levels, sizes and MiB; more than that no database takes for a page."""
_HEADER: Final = struct.Struct(">I")

Result = Parsed | DocumentError
Seen = Callable[[Source, int, int], None]
"""Told ``(source, done, total)`` before each page that is recognised: ``done`` of the file's ``total`` are read."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a worker says that an archive holds; ``None`` where it is one document."""

    members: tuple[Member, ...] | None


class Sandbox:
    """A small pool of worker processes that read files; use it as a context manager.

    ``workers`` processes are started when the first files come and stay for the next ones. ``seen`` is called in the
    thread that parses. Not for several threads at once.
    """

    def __init__(self, limits: Limits, workers: int, seen: Seen | None = None) -> None:
        self._limits = limits
        self._seen = seen or (lambda source, done, total: None)
        self._size = max(1, workers)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers at once."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.pid for worker in self._workers if worker.alive]

    def parse(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Result]]:
        """Each source with what was read in it or why not, in the order of ``sources``, a few files read ahead.

        Never raises for a file. A file that crashes its worker, hangs it or wants too much memory is answered
        with the reason; the others are not touched.
        """
        waiting = enumerate(sources)
        names: dict[int, Source] = {}
        done: dict[int, Result] = {}
        following = 0
        exhausted = False
        try:
            while True:
                while not exhausted and len(names) < _AHEAD * self._size:
                    idle = self._idle()
                    if idle is None:
                        break
                    task = next(waiting, None)
                    if task is None:
                        exhausted = True
                        break
                    number, source = task
                    names[number] = source
                    refused = _refused(source, self._limits)
                    if refused is not None:
                        done[number] = refused
                    else:
                        idle.send(number, source, self._limits)
                if following in done:
                    yield names.pop(following), done.pop(following)
                    following += 1
                    continue
                if not names:
                    return
                done |= {
                    number: _crashed() if isinstance(answer, _Listing) else answer
                    for number, answer in self._collected().items()
                }
        finally:
            for worker in self._workers:
                if worker.task is not None:  # the caller has left early
                    worker.kill()
            self._workers = [worker for worker in self._workers if worker.alive]

    def members(self, path: Path) -> tuple[Member, ...] | DocumentError | None:
        """What the archive ``path`` holds, ``None`` where it is an office document or a book; never raises for a file.

        Not while :meth:`parse` has not ended.
        """
        refused = _refused(Source(path, ("",)), self._limits)
        if refused is not None:
            return refused
        worker = self._idle()
        assert worker is not None, "no file is being parsed"
        worker.send(0, Source(path), self._limits, listing=True)
        while not (answered := self._collected()):
            pass
        answer = answered[0]
        if isinstance(answer, _Listing):
            return answer.members
        return answer if isinstance(answer, DocumentError) else _crashed()

    def _idle(self) -> _Worker | None:
        """A worker without a task, started or replaced when need be; ``None`` when all are busy."""
        for index, worker in enumerate(self._workers):
            if worker.task is None:
                if not worker.alive or worker.spent:
                    worker.kill()
                    self._workers[index] = _Worker()
                return self._workers[index]
        if len(self._workers) < self._size:
            self._workers.append(_Worker())
            return self._workers[-1]
        return None

    def _collected(self) -> dict[int, Result | _Listing]:
        """Wait until a worker answers, dies or runs out of time; what ended."""
        busy = [worker for worker in self._workers if worker.task is not None]
        ended: dict[int, Result | _Listing] = {}
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            left = min(worker.deadline for worker in busy) - time.monotonic()
            ready = {key.data for key, _ in selector.select(max(0.0, left))}
        for worker in busy:
            task = worker.task
            assert task is not None
            if worker in ready:
                result = worker.received(self._seen)
            elif worker.deadline <= time.monotonic():
                worker.kill()
                result = _timeout()
            else:
                continue
            if result is not None:
                ended[task] = result
        return ended


def _refused(source: Source, limits: Limits) -> DocumentError | None:
    """Why a file needs no worker to be refused."""
    try:
        status = source.path.stat()
    except OSError:
        return DocumentError(RejectReason.UNREADABLE, "the file cannot be opened", "le fichier ne peut pas être ouvert")
    if stat.S_ISDIR(status.st_mode) and not source.member and textfolders.is_text(source.path):
        return None  # the worker counts what its files hold
    if not stat.S_ISREG(status.st_mode):
        return DocumentError(RejectReason.UNREADABLE, "this is no regular file", "ce n'est pas un fichier ordinaire")
    if not status.st_size:
        return DocumentError(RejectReason.EMPTY, "the file is empty", "le fichier est vide")
    if source.member:  # what may be read of an archive is counted by member
        if status.st_size <= max(limits.megabytes, limits.expanded) * 1_000_000:
            return None
        return DocumentError(
            RejectReason.TOO_LARGE,
            f"the archive is larger than {limits.expanded} MB (setting `file_expanded`)",
            f"l'archive dépasse {limits.expanded} Mo (réglage « file_expanded »)",
        )
    if status.st_size > limits.megabytes * 1_000_000:
        return DocumentError(
            RejectReason.TOO_LARGE,
            f"the file is larger than {limits.megabytes} MB (setting `file_megabytes`)",
            f"le fichier dépasse {limits.megabytes} Mo (réglage « file_megabytes »)",
        )
    return None


def _timeout() -> DocumentError:
    return DocumentError(
        RejectReason.TIMEOUT,
        "reading the file took too long (setting `file_seconds`)",
        "la lecture du fichier a pris trop de temps (réglage « file_seconds »)",
    )


def _memory() -> DocumentError:
    return DocumentError(
        RejectReason.MEMORY,
        "reading the file needs too much memory (setting `file_memory`)",
        "la lecture du fichier demande trop de mémoire (réglage « file_memory »)",
    )


def _crashed(where: str = "") -> DocumentError:
    return DocumentError(
        RejectReason.CRASHED,
        f"the reader broke down on this file{where}",
        f"le lecteur s'est interrompu sur ce fichier{where}",
    )


class _Worker:
    """One worker process as the coordinator sees it."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                "PYTHONPATH": root,
                "PYTHONDONTWRITEBYTECODE": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "2",
            },
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self.answers = self._process.stdout
        os.set_blocking(self.answers.fileno(), False)
        self.pid = self._process.pid
        self.task: int | None = None
        self.deadline = 0.0
        self._source = Source(Path())
        self._limits = Limits()
        self._latest = 0.0
        self._pages = 0
        self._buffer = bytearray()
        self._files = 0
        self._resident = 0

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def spent(self) -> bool:
        """Whether the worker has read or holds so much that a new one is better."""
        return self._files >= _MOST_FILES or self._resident > _HEAVY

    def send(self, task: int, source: Source, limits: Limits, *, listing: bool = False) -> None:
        self.task = task
        self._files += 1
        self._buffer.clear()
        self._source, self._limits, self._pages = source, limits, 0
        self.deadline = self._latest = time.monotonic() + _CLOCK * limits.seconds + _GRACE
        said = {
            "path": str(source.path.absolute()),
            "member": source.member,
            "limits": asdict(limits),
            "listing": listing,
        }
        request = json.dumps(said).encode("ascii")
        with contextlib.suppress(BrokenPipeError):  # it has died; its silence is read as that
            self._requests.write(_HEADER.pack(len(request)) + request)

    def received(self, seen: Seen) -> Result | _Listing | None:
        """What has arrived, when it is whole; a worker that has died or talks nonsense has crashed."""
        for _ in range(64):
            try:
                piece = os.read(self.answers.fileno(), 1 << 20)
            except BlockingIOError:  # nothing more for now
                return None
            if not piece:
                return self._died()
            self._buffer += piece
            # The caller may have been busy while the worker waited to hand over: that is not its fault.
            self.deadline = max(self.deadline, time.monotonic() + _GRACE)
            while len(self._buffer) >= _HEADER.size:
                (length,) = _HEADER.unpack_from(self._buffer)
                if length > _MOST_ANSWER:
                    self.kill()
                    return DocumentError(
                        RejectReason.TOO_LONG, "the file holds too much text", "le fichier contient trop de texte"
                    )
                if len(self._buffer) - _HEADER.size < length:
                    break
                frame = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
                del self._buffer[: _HEADER.size + length]
                result = self._understood(frame, seen)
                if result is not None:
                    return result
        return None

    def _understood(self, frame: bytes, seen: Seen) -> Result | _Listing | None:
        """The result in a frame; ``None`` for one that only announces a page."""
        page: tuple[int, int] | None = None
        result: Result | _Listing
        try:
            said = json.loads(frame)
            if "progress" in said:
                page = _number(said["progress"]["done"]), _number(said["progress"]["total"])
            elif "error" in said:
                result = _error(said["error"])
            elif "members" in said:
                result = _listing(said["members"])
            else:
                result = _parsed(said["parsed"])
            if page is None:
                self._resident = _number(said["resident"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.kill()
            return _crashed()
        if page is not None:
            return self._announced(*page, seen)
        self.task = None
        self._buffer = bytearray()
        return result

    def _announced(self, done: int, total: int, seen: Seen) -> DocumentError | None:
        """Give the file time for one more page, as often as it may have pages; a silence is never longer than one."""
        self._pages += 1
        if self._pages > self._limits.pages:
            self.kill()
            return _timeout()
        self._latest += _CLOCK * self._limits.ocr_seconds
        silence = _CLOCK * (self._limits.seconds + self._limits.ocr_seconds) + _GRACE
        self.deadline = max(self.deadline, min(self._latest, time.monotonic() + silence))
        seen(self._source, done, total)
        return None

    def _died(self) -> DocumentError:
        try:
            code = self._process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            code = 0
        self.kill()
        if code == -signal.SIGXCPU:
            return _timeout()
        if code == -signal.SIGKILL:  # nobody here sent it: the system ran out of memory
            return _memory()
        return _crashed()

    def kill(self) -> None:
        """End the process and let go of its pipes."""
        self.task = None
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self.answers.close()


# --- what crosses the pipe ------------------------------------------------------------------------------


def _said(result: Result | _Listing) -> dict[str, Any]:
    if isinstance(result, DocumentError):
        return {"error": _said_error(result)}
    if isinstance(result, _Listing):
        return {"members": None if result.members is None else [_said_member(member) for member in result.members]}
    blocks = [
        [
            block.kind.value,
            block.text,
            block.level,
            block.page,
            [list(row) for row in block.rows],
            _said_validity(block.validity),
            block.legal_status,
            block.links,
        ]
        for block in result.blocks
    ]
    return {
        "parsed": {
            "blocks": blocks,
            "media_type": result.media_type,
            "title": result.title,
            "pages": result.pages,
            "warnings": list(result.warnings),
            "quality": [[page.page, page.score, page.ocr] for page in result.quality],
            "stated": {
                "language": result.stated.language,
                "norm_rank": result.stated.norm_rank,
                "validity": _said_validity(result.stated.validity),
                "legal_status": result.stated.legal_status,
            },
        }
    }


def _said_error(error: DocumentError) -> dict[str, str]:
    return {"reason": error.reason.value, "en": error.en, "fr": error.fr}


def _said_member(member: Member) -> list[object]:
    refused = None if member.refused is None else _said_error(member.refused)
    said = base64.b64encode(member.said).decode("ascii")
    # A bomb may say that it has any size.
    return [member.names, min(member.size, _MOST_NUMBER), member.sha256, said, refused, member.closed]


def _said_validity(validity: Validity | None) -> list[str | None] | None:
    if validity is None:
        return None
    return [None if day is None else day.isoformat() for day in (validity.start, validity.end)]


def _error(said: dict[str, Any]) -> DocumentError:
    return DocumentError(RejectReason(said["reason"]), _str(said["en"]), _str(said["fr"]))


def _listing(said: Any) -> _Listing:
    """A listing from untrusted JSON; every value is checked for its type."""
    if said is None:
        return _Listing(None)
    return _Listing(
        tuple(
            Member(
                names=tuple(_str(name) for name in names),
                size=_number(size),
                sha256=_str(sha256),
                said=base64.b64decode(_str(content), validate=True),
                refused=None if refused is None else _error(refused),
                closed=bool(closed),
            )
            for names, size, sha256, content, refused, closed in said
            if names
        )
    )


def _parsed(said: dict[str, Any]) -> Parsed:
    """A ``Parsed`` from untrusted JSON; every value is checked for its type."""
    return Parsed(
        blocks=tuple(
            Block(
                kind=BlockKind(kind),
                text=_str(text),
                level=_int(level),
                page=_int(page),
                rows=tuple(tuple(_str(cell) for cell in row) for row in rows),
                validity=_validity(validity),
                legal_status=None if status is None else LegalStatus(status),
                links=tuple(_str(link) for link in links),
            )
            for kind, text, level, page, rows, validity, status, links in said["blocks"]
        ),
        media_type=_str(said["media_type"]),
        title=None if said["title"] is None else _str(said["title"]),
        pages=_int(said["pages"]),
        warnings=tuple(_str(warning) for warning in said["warnings"]),
        quality=tuple(PageQuality(_number(page), _share(score), bool(ocr)) for page, score, ocr in said["quality"]),
        stated=_stated(said["stated"]),
    )


def _stated(said: dict[str, Any]) -> Stated:
    return Stated(
        language=None if said["language"] is None else _str(said["language"]),
        norm_rank=None if said["norm_rank"] is None else NormRank(said["norm_rank"]),
        validity=_validity(said["validity"]) or Validity(),
        legal_status=None if said["legal_status"] is None else LegalStatus(said["legal_status"]),
    )


def _validity(said: Any) -> Validity | None:
    if said is None:
        return None
    start, end = (None if day is None else dt.date.fromisoformat(_str(day)) for day in said)
    return Validity(start, end)


def _number(value: object) -> int:
    found = _int(value)
    if found is None:
        raise TypeError("number expected")
    return found


def _share(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise TypeError("share expected")
    return float(value)


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value.encode("utf-8", errors="replace").decode()  # lone surrogates would break whoever stores them


def _int(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_NUMBER:
        raise TypeError("number expected")
    return value


# --- inside the worker ----------------------------------------------------------------------------------

_FORBIDDEN: Final = (
    "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "urllib.", "ftplib.",
    "http.", "smtplib.", "webbrowser.", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.chown", "os.lchown", "os.utime", "os.setxattr", "os.removexattr", "os.kill",
    "shutil.", "tempfile.", "sqlite3.", "pickle.", "shelve.",
)  # fmt: skip
"""Audit events that no parser has a reason to cause."""
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _confined(program: str | None, event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        # Files may not grow here in any case; opening one for writing would still make it, or empty it.
        # A number is a descriptor that is open already: the end of a pipe to the one program.
        if flags & _WRITES and path != os.devnull and not isinstance(path, int):
            raise PermissionError("a worker may not open a file for writing")
        return
    if not event.startswith(_FORBIDDEN):
        return
    if event == "subprocess.Popen" and program is not None:
        executable, _, folder, environment = arguments
        if executable == program and folder is None and environment == ocr.ENVIRONMENT:
            return
    if event == "os.kill" and ocr.running(arguments[0]):
        return
    raise PermissionError(f"a worker may not {event}")


def _confine() -> None:
    """Give up what reading files does not need; for the rest of this process's life."""
    os.nice(19)
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the coordinator
    with contextlib.suppress(OSError):  # a wish: be the first to go when the machine runs out of memory
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.addaudithook(partial(_confined, ocr.program()))


def _limit(limits: Limits) -> None:
    """Processor time and memory for the next file, counted from what the process has used until now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + limits.seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + limits.memory * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _announced(answers: IO[bytes], limits: Limits, done: int, total: int) -> None:
    """Say which page is recognised next, and take more processor time for handing it over and reading the answer."""
    seconds, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + limits.ocr_seconds, most))
    _write(answers, {"progress": {"done": done, "total": total}})


def _write(answers: IO[bytes], said: dict[str, Any]) -> None:
    frame = json.dumps(said).encode("ascii")
    answers.write(_HEADER.pack(len(frame)) + frame)
    answers.flush()


def _resident() -> int:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // (1024 * 1024)


def _where(error: Exception) -> str:
    """Where a defect showed, by its type, file and line: its message may quote the document."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(Path(__file__).parent)]
    last = (ours or list(frames))[-1]
    return f" ({type(error).__name__}, {Path(last.filename).name}:{last.lineno})"


def _serve() -> None:
    """Read requests until the coordinator hangs up; a worker that something unforeseen befell is not used again."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # what libraries print must not reach the pipe
    _confine()
    while len(header := requests.read(_HEADER.size)) == _HEADER.size:
        request = json.loads(requests.read(_HEADER.unpack(header)[0]))
        limits = Limits(**request["limits"])
        _limit(limits)
        result: Result | _Listing
        exhausted = False
        source = Source(Path(request["path"]), tuple(request["member"]))
        try:
            with ocr.announcing(partial(_announced, answers, limits)):
                result = _Listing(members(source.path, limits)) if request["listing"] else parse(source, limits)
        except DocumentError as error:
            result = error
        except MemoryError:
            result = _memory()
            exhausted = True
        except Exception as error:  # noqa: BLE001 a defect costs this file only, and is named for whoever mends it
            result = _crashed(_where(error))
            exhausted = True
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        _write(answers, {**_said(result), "resident": _HEAVY + 1 if exhausted else _resident()})


if __name__ == "__main__":
    _serve()
