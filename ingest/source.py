"""Where the bytes of a document are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A file; a folder that is one document (the files of one LEGI text); or a member of an archive.

    ``member`` is the way into the archive ``path``, one name per level of nesting; empty for what stands by itself.
    """

    path: Path
    member: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name that the document itself has, without its folders."""
        return self.member[-1].rpartition("/")[2] if self.member else self.path.name
