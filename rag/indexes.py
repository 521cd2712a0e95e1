"""Which folder of a home holds the live index, and how another one takes its place.

The first index of a home is its folder ``index``. A rebuild fills another one beside it, named after the embedder's
fingerprint, and ``index.json`` says which is live. The setting that names the embedder stands in another file, so a
kill may come between the two: once the new index is whole it is marked ``ready``, and from then on each start takes
the one of the two whose embedder the settings name. All of this is for the owner of the store only.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from rag.errors import StoreError

FIRST: Final = "index"
FILE: Final = "index.json"
_NAME: Final = re.compile(r"index(-[0-9a-f]{12}(-again)?)?")


@dataclass(frozen=True, slots=True)
class Indexes:
    """The folder that is live, and the one that is being filled; ``ready`` when that one is whole."""

    live: str = FIRST
    next: str | None = None
    ready: bool = False

    @classmethod
    def read(cls, root: Path) -> Self:
        """What ``index.json`` in the home says; a home without one has its first index.

        Raises:
            StoreError: the file is damaged.
        """
        path = root / FILE
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            found = cls(str(said["live"]), None if said["next"] is None else str(said["next"]), said["ready"] is True)
            if not all(_NAME.fullmatch(name) for name in (found.live, found.next or FIRST)):
                raise ValueError("no folder of an index has such a name")
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} is damaged; restore the home folder from a backup",
                f"{path} est abîmé ; restaurez le dossier depuis une sauvegarde",
            ) from error
        return found


def is_index(name: str) -> bool:
    """Whether a folder of a home is an index, live or not."""
    return _NAME.fullmatch(name) is not None


def begin(root: Path, fingerprint: str) -> Path:
    """The folder to fill with the vectors of another embedder, or of the same one again.

    What an earlier attempt with this embedder has left is in it; what others have left is removed.
    """
    now = Indexes.read(root)
    name = _named(fingerprint)
    if name == now.live:
        name = f"{name}-again"
    if now != (after := Indexes(now.live, name)):
        _write(root, after)
    clear(root)
    return root / name


def ready(root: Path) -> None:
    """The index that is being filled is whole: from now on the settings choose between it and the live one."""
    _write(root, replace(Indexes.read(root), ready=True))


def switch(root: Path) -> None:
    """The index that was filled is the live one; :func:`clear` removes the other once nobody opens it any more."""
    now = Indexes.read(root)
    assert now.next is not None
    assert now.ready
    _write(root, Indexes(now.next))


def drop(root: Path) -> None:
    """Give up the index that was being filled, and the room that it takes."""
    now = Indexes.read(root)
    if now != (after := Indexes(now.live)):
        _write(root, after)
    clear(root)


def settle(root: Path, fingerprint: str) -> None:
    """Before the index is opened: end a switch that was cut short, as the settings now want it.

    When they still name the embedder of the live index, that one goes on; the other would miss what is published
    from here on, and has to be brought up to date by the next rebuild.
    """
    if not (root / FILE).exists():
        return
    now = Indexes.read(root)
    if now.next is None:
        clear(root)
    elif now.ready and now.next.startswith(_named(fingerprint)):
        switch(root)
        clear(root)
    elif now.ready:
        _write(root, replace(now, ready=False))


def _named(fingerprint: str) -> str:
    return f"{FIRST}-{hashlib.sha256(fingerprint.encode()).hexdigest()[:12]}"


def _write(root: Path, indexes: Indexes) -> None:
    # Imported here: the home asks this module for the place of its index.
    from rag.home import translated, write_atomically

    with translated(root):
        write_atomically(root / FILE, json.dumps(asdict(indexes)).encode())


def clear(root: Path) -> None:
    """Remove the folders of indexes that are neither live nor being filled."""
    kept = Indexes.read(root)
    for folder in root.iterdir():
        if _NAME.fullmatch(folder.name) and folder.name not in {kept.live, kept.next} and folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
