"""Structured logs without content: one event a line, in text or JSON, and nothing that people wrote in any.

Our own events are constant words with fields (ids, counts, durations, names of closed lists). What a library says may
quote a question, a document or a URL: of its warnings and errors only the kind and the place are kept. Whatever a
field holds, it cannot begin another line or speak to the terminal.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import IO, Final

from rag import tracing
from rag.terminal import inert

OURS: Final = frozenset({"vauban", "ingest", "rag", "ui", "eval"})
"""Loggers whose messages are constants of ours; ``tests/test_architecture.py`` holds them to it."""
LONGEST: Final = 400
"""Characters of a field: events are small."""
_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:{}+*@-]+", re.ASCII)

Field = str | int | float | bool | None | Mapping[str, float]
"""What a field of an event may be."""


class LogFormat(StrEnum):
    """How events are written: for eyes, or for programs."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Lines(logging.Formatter):
    """One line an event: ``time level event name=value …``, or the same as a JSON object."""

    def __init__(self, form: LogFormat = LogFormat.JSON) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        fields = event(record)
        if self._form is LogFormat.JSON:
            return inert(json.dumps(fields))  # in ASCII: every other sign is written out
        time, level, name = fields.pop("time"), fields.pop("level"), fields.pop("event")
        said = " ".join(f"{key}={_word(value)}" for key, value in fields.items())
        return f"{time} {level!s:<7} {_line(str(name))} {said}".rstrip()


def event(record: logging.LogRecord) -> dict[str, Field]:
    """The fields of an event; of a library's, where it was raised and nothing that it says."""
    written = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Field] = {"time": written, "level": record.levelname}
    if record.name.partition(".")[0] in OURS:
        fields["event"] = _cut(record.getMessage())
        given = {name: value for name, value in record.__dict__.items() if name not in _RECORD}
        fields |= {_cut(name): _field(value) for name, value in given.items()}
    else:
        fields |= {"event": "library", "library": _cut(record.name), "place": f"{record.module}:{record.lineno}"}
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = place(record.exc_info[1])
    trace = tracing.current()
    if trace.request:
        fields.setdefault("request", trace.request)
    if trace.trace:
        fields.setdefault("trace", trace.trace)
    return fields


def place(error: BaseException) -> str:
    """The type of an error and the line that raised it; its message may quote what people wrote."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return type(error).__name__
    return f"{type(error).__name__} at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"


def _field(value: object) -> Field:
    if isinstance(value, Mapping):
        return {_cut(str(name)): number for name, number in value.items() if isinstance(number, int | float)}
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _word(value: Field) -> str:
    """A value in a line of text: bare where it is a plain word, as JSON where it is not."""
    if isinstance(value, Mapping):
        return ",".join(f"{_word(name)}:{number}" for name, number in value.items()) or "-"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else inert(json.dumps(value))
    return "-" if value is None else str(value)


def _line(text: str) -> str:
    """An event's words: they may tell a person why a start failed, so they keep their accents, and stay on a line."""
    return (
        inert(text).replace("\n", "\\n").replace("\t", "\\t").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


@contextmanager
def speaking(form: LogFormat, level: LogLevel, stream: IO[str] | None = None) -> Iterator[None]:
    """Write every event of this process to ``stream`` (default standard error) while the block runs.

    What ends a thread or the process unforeseen is an event as well: Python would print its message.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(form))
    root = logging.getLogger()
    before = root.level, list(root.handlers), threading.excepthook, sys.unraisablehook
    levels = {name: logging.getLogger(name).level for name in OURS}
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    held = [one for name in _known() for one in _taken(name)]
    logging.captureWarnings(True)
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.level, root.handlers, threading.excepthook, sys.unraisablehook = before
        for name, number in levels.items():
            logging.getLogger(name).setLevel(number)
        for logger, handlers, propagate in held:
            logger.handlers, logger.propagate = handlers, propagate


def _known() -> list[str]:
    """The names of the loggers that exist."""
    return [name for name, made in logging.root.manager.loggerDict.items() if isinstance(made, logging.Logger)]


def _taken(name: str) -> list[tuple[logging.Logger, list[logging.Handler], bool]]:
    """Take a library's own handlers away, so that what it says goes through ours; what they were."""
    logger = logging.getLogger(name)
    if not logger.handlers and logger.propagate:
        return []
    before = (logger, list(logger.handlers), logger.propagate)
    logger.handlers, logger.propagate = [], True
    return [before]


def _thread_ended(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None:
        _report(given.exc_value)


def _unraisable(given: object) -> None:
    error = getattr(given, "exc_value", None)
    if isinstance(error, BaseException):
        _report(error)


def _report(error: BaseException) -> None:
    logging.getLogger("vauban").error("unforeseen error", extra={"error": place(error)})
