"""Answers that are being made: what their records would say if the process were killed now.

Each has a file below ``.answering`` in the home, written before anything of it is shown: the record that it would have,
and then each sentence before that is handed on. The file goes once the record is in the chain. One process owns a
home, so that whoever opens it finds only files of processes that are gone. A backup leaves them out.

They survive the process, however it ends. They are not synced to the disk with each sentence, which would cost more
than the sentence: a power cut may take the last seconds of them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag.home import translated
from rag.records import Draft, RecordKind

FOLDER: Final = ".answering"


class Begun:
    """One answer that is being shown; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def show(self, draft: Draft) -> None:
        """Note, before more of it is shown, what the record would be from here on.

        Raises:
            StoreError, DiskFull: it cannot be noted, and should not be shown.
        """
        said = {
            "kind": draft.kind.value,
            "body": draft.body,
            "content": draft.content,
            "owner": draft.owner,
            "id": draft.id,
            "status": draft.status,
            "corpora": draft.corpora,
        }
        self._write({"draft": said})

    def say(self, text: str) -> None:
        """Note a text before it is shown; raises what :meth:`show` does."""
        self._write({"text": text})

    def _write(self, line: dict[str, object]) -> None:
        with translated(self._path):
            # Opened for each line: an answer may be left at any moment, and nobody would close it.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(line).encode() + b"\n")

    def end(self) -> None:
        """Its record is in the chain: nothing of it stays here. Once ended, it may be ended again."""
        with translated(self._path):
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed process has left of an answer: the record it would have, and the texts noted after that."""

    path: Path
    draft: Draft
    text: str

    def forget(self) -> None:
        with translated(self.path):
            self.path.unlink(missing_ok=True)


class Unfinished:
    """The answers of one home that are being made. Safe to use from several threads."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def begin(self) -> Begun:
        """An answer of which nothing was shown yet.

        Raises:
            StoreError, DiskFull: it cannot be noted.
        """
        with translated(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        return Begun(self._folder / uuid.uuid4().hex)

    def left(self) -> Iterator[Left]:
        """What was left here, the oldest first; for the owner of the home, before it answers anybody.

        Raises:
            StoreError: it cannot be read.
        """
        with translated(self._folder):
            found = list(self._folder.iterdir()) if self._folder.is_dir() else []
            for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
                left = _read(path)
                if left is None:  # it was killed before anything was shown
                    path.unlink()
                else:
                    yield left


def _read(path: Path) -> Left | None:
    draft: Draft | None = None
    text = ""
    for line in path.read_bytes().splitlines():
        try:
            said = json.loads(line)
        except ValueError:  # the last one, which was being written: what it says was not shown
            break
        if "draft" in said:
            values = said["draft"]
            kind, corpora = RecordKind(values.pop("kind")), tuple(values.pop("corpora"))
            draft, text = Draft(kind=kind, corpora=corpora, **values), ""
        else:
            text += said["text"]
    return None if draft is None else Left(path, draft, text)
