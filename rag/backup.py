"""All state of one machine in one checked folder, and back.

The home is copied whole, but for what is no state: models (which have their own manifest), caches, locks, and indexes
that are not live. Databases are copied through their engine, at one instant and while others write; the index is
copied while nobody writes to it, which whoever calls sees to: the owner of the store has one writer. A backup is
written beside its place and then renamed; a restored home takes its place the same way, once every checksum was
compared. What is kept on servers (PostgreSQL, Qdrant) is theirs to back up, and is refused here.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from rag import indexes
from rag.errors import BadRequest, Cancelled, Conflict, OperatorError
from rag.home import INCOMING, SCHEMA, Home, open_private, translated
from rag.settings import Settings

MANIFEST: Final = "backup.json"
FORMAT: Final = 2
"""Since 2 a checksum leaves out what is nothing but zeros, and the list of files says where that is."""
_NO_STATE: Final = frozenset({"store.lock", "server.json", "models", "cache", "hashes.json"})
"""At the top of a home: what another machine has of its own, or makes again."""
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_BLOCK: Final = 1 << 18
"""What is read at a time, and the measure of holes: another number would be another format."""
_HOLE: Final = bytes(_BLOCK)
"""Nothing but zeros is left out of the copy, which reads the same, and of its checksum: segments of the index are
mostly reserved room, and to hash what was never written takes ten times longer than to copy what was."""
_COPIERS: Final = 2
"""Files that are copied at a time: hashing keeps one core busy, and a disk rarely more than two."""

Told = Callable[[int, int], None]
"""Is told bytes done and bytes in all."""


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was copied. ``secrets`` are files that open something: keep the backup as safe as the home itself."""

    files: int
    bytes: int
    seconds: float
    secrets: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, float]:
        return {"files": self.files, "bytes": self.bytes, "seconds": self.seconds}

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"seconds": round(self.seconds, 3), "secrets": list(self.secrets)}


@dataclass(frozen=True, slots=True)
class Sealed:
    """The size of one file of a backup, and the SHA-256 of its bytes, but for those in ``holes``.

    ``holes`` are whole blocks of zeros, each run of them by its offset and its length.
    """

    size: int
    sha256: str
    holes: tuple[tuple[int, int], ...] = ()


def check(settings: Settings, target: Path) -> None:
    """Refuse a backup that could not be whole, or would overwrite something.

    Raises:
        BadRequest: there is something at ``target``, or it lies in the home.
        OperatorError: state is kept on a server.
    """
    if settings.database_url or settings.qdrant_url:
        raise OperatorError(
            "this Vauban keeps state on servers (`database_url`, `qdrant_url`): back them up with `pg_dump` and "
            "Qdrant's snapshots, taken in this order while no ingestion runs, and copy the home folder after them",
            "ce Vauban garde son état sur des serveurs (« database_url », « qdrant_url ») : sauvegardez-les avec "
            "« pg_dump » et les instantanés de Qdrant, dans cet ordre et sans ingestion en cours, puis copiez le "
            "dossier",
            code="state_on_servers",
        )
    if target.is_symlink() or target.exists():
        raise BadRequest(
            f"{target} exists; name a folder that does not exist yet",
            f"{target} existe ; indiquez un dossier qui n'existe pas encore",
            code="target_exists",
        )
    if target.resolve().is_relative_to(settings.root.resolve()):
        raise BadRequest(
            f"{target} lies in the home that is backed up; name a place elsewhere, best on another disk",
            f"{target} est dans le dossier sauvegardé ; choisissez un autre endroit, de préférence un autre disque",
            code="target_in_home",
        )


def write(
    home: Home, target: Path, *, progress: Told = unseen, cancelled: Callable[[], bool] = lambda: False
) -> Report:
    """Copy the state of ``home`` into ``target``; the caller owns the store, and nobody writes to it meanwhile.

    Raises:
        Cancelled, DiskFull, StoreError: nothing is left behind.
    """
    from rag.heads import HEAD_FILE  # here: most commands start without the library of databases

    start = time.perf_counter()
    with translated(target), _beside(target) as place:

        def copy(source: Path, copied: Path) -> Sealed:
            database = source.parent == home.root and _is_sqlite(source)
            return _database(source, copied) if database else _file(source, copied)

        files, folders = _state(home)
        # The head of the records before the records: it may be behind them, and what is ahead of them is an alarm.
        head = {name: files.pop(name) for name in [HEAD_FILE] if name in files}
        sealed = _copied(head, [], place, copy, unseen, cancelled)
        sealed |= _copied(files, folders, place, copy, progress, cancelled)
        said = {
            "vauban_backup": FORMAT,
            "made": dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat(),
            "home": SCHEMA,
            "folders": folders,
            "files": {name: asdict(one) for name, one in sorted(sealed.items())},
            "digest": _digest(folders, sealed),
        }
        with open_private(place / MANIFEST) as manifest:
            manifest.write(json.dumps(said, indent=0).encode())
        os.sync()  # once for thousands of files
        place.rename(target)
    size = sum(one.size for one in sealed.values())
    return Report(len(sealed), size, time.perf_counter() - start, _secrets(sealed))


def secrets_of(target: Path) -> tuple[str, ...]:
    """The files of a finished backup that open something.

    Raises:
        BadRequest: it is no backup.
    """
    return _secrets(_manifest(target)[2])


def restore(source: Path, root: Path, *, replace: bool = False, progress: Told = unseen) -> Report:
    """Make the home ``root`` what the backup ``source`` holds, after every checksum was compared.

    Models and caches that are there stay. With ``replace`` the state that is there goes; without, it is refused.

    Raises:
        BadRequest: it is no backup, it is damaged, or not whole; nothing was touched.
        Conflict: the home holds state, and not ``replace``.
        StoreBusy: a server or a command is using the home.
        DiskFull, StoreError: nothing was touched.
    """
    start = time.perf_counter()
    version, folders, sealed = _manifest(source)

    def copy(kept: Path, copied: Path) -> Sealed:
        return _file(kept, copied, holes=version > 1)

    with ExitStack() as undo, translated(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        undo.enter_context(Home(root.absolute()).own())
        there = _entries(root)
        if there and not replace:
            raise Conflict(
                f"{root} holds state already ({', '.join(sorted(there)[:4])}); say --replace if it is to go",
                f"{root} n'est pas vide ({', '.join(sorted(there)[:4])}) ; dites --replace si cela doit disparaître",
                code="home_not_empty",
            )
        # Inside the home: it may be a mounted volume, whose parent is another file system.
        place = Path(tempfile.mkdtemp(prefix=".restore-", dir=root))
        undo.callback(shutil.rmtree, place, ignore_errors=True)
        made = _copied({name: source / name for name in sealed}, folders, place, copy, progress, lambda: False)
        wrong = sorted(name for name, one in sealed.items() if made[name] != one)
        if wrong:
            raise _damaged(f"{len(wrong)} files are not what was backed up, {wrong[0]} the first")
        Home.open(place)  # a newer program's home is refused here
        os.sync()
        _swap(place, root, there)
    return Report(len(sealed), sum(one.size for one in sealed.values()), time.perf_counter() - start)


def _swap(place: Path, root: Path, there: set[str]) -> None:
    """Put what stands in ``place`` where it belongs; what is there steps aside first, and comes back on an error.

    The catalog goes last: a home without one holds nothing, so that a kill in between leaves no half of two states.
    """
    aside = Path(tempfile.mkdtemp(prefix=".before-", dir=root))
    new = sorted((entry.name for entry in place.iterdir()), key=lambda name: (name.startswith("catalog"), name))
    moved: list[tuple[Path, Path]] = []
    try:
        for name in sorted(there, key=lambda name: (not name.startswith("catalog"), name)):
            (root / name).rename(aside / name)
            moved.append((root / name, aside / name))
        for name in new:
            (place / name).rename(root / name)
            moved.append((place / name, root / name))
    except BaseException:  # also an interruption must not end with neither state in its place; it is raised again
        for before, after in reversed(moved):
            after.rename(before)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


# --- what is copied -------------------------------------------------------------------------------------


def _entries(root: Path) -> set[str]:
    """What stands in a home and is state."""
    return {entry.name for entry in root.iterdir() if entry.name not in _NO_STATE and not entry.name.startswith(".")}


def _state(home: Home) -> tuple[dict[str, Path], list[str]]:
    """Every file of the state of a home by its path in the backup, and every folder: the index has empty ones."""
    live = home.index.name
    found: dict[str, Path] = {}
    folders: list[str] = []
    for name in sorted(_entries(home.root)):
        entry = home.root / name
        if (entry.is_dir() and indexes.is_index(name) and name != live) or name == indexes.FILE:
            continue  # the live index becomes the first one
        for folder, below, files in os.walk(entry) if entry.is_dir() else [(str(home.root), [], [name])]:
            below[:] = sorted(one for one in below if one != INCOMING)
            if entry.is_dir():
                folders.append(_renamed(Path(folder).relative_to(home.root).as_posix(), live))
            for path in (Path(folder) / file for file in files):
                if path.is_file() and not path.is_symlink() and not _is_passing(path):
                    found[_renamed(path.relative_to(home.root).as_posix(), live)] = path
    return found, sorted(folders)


def _renamed(path: str, live: str) -> str:
    """Whichever folder the live index has, it is restored as the first index of a home."""
    return indexes.FIRST + path.removeprefix(live) if path == live or path.startswith(f"{live}/") else path


def _is_passing(path: Path) -> bool:
    """Whether a file belongs to what is under way, or to a database that is copied through its engine."""
    if path.name.endswith(".part"):
        return True
    return any(path.name.endswith(end) and _is_sqlite(path.with_name(path.name.removesuffix(end))) for end in _BESIDE)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _secrets(sealed: Mapping[str, Sealed]) -> tuple[str, ...]:
    return tuple(name for name in sorted(sealed) if _is_secret(name))


def _is_secret(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[0] not in {"files", "uploads", indexes.FIRST} and (
        path.suffix in {".key", ".pem", ".secret"} or "key" in path.stem or "secret" in path.stem
    )


def _copied(
    found: Mapping[str, Path],
    folders: Sequence[str],
    place: Path,
    copy: Callable[[Path, Path], Sealed],
    progress: Told,
    cancelled: Callable[[], bool],
) -> dict[str, Sealed]:
    """Copy files to where they stand in ``place``; what was written."""
    total = sum(path.stat().st_size for path in found.values() if path.is_file())
    done = 0
    for folder in folders:
        (place / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def one_of(item: tuple[str, Path]) -> tuple[str, Sealed]:
        name, path = item
        if cancelled():
            raise Cancelled("it was cancelled; nothing has changed", "annulé ; rien n'a changé")
        return name, copy(path, place / name)

    sealed: dict[str, Sealed] = {}
    with ThreadPoolExecutor(_COPIERS, thread_name_prefix="backup") as copiers:
        for name, one in copiers.map(one_of, found.items()):
            sealed[name] = one
            done += one.size
            progress(done, max(total, done))
    return sealed


def _file(source: Path, target: Path, *, holes: bool = True) -> Sealed:
    """Copy a file, in one reading; without ``holes`` the checksum is that of all its bytes."""
    digest, size = hashlib.sha256(), 0
    blank: list[tuple[int, int]] = []
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0), open_private(target) as writing:
        while True:
            written = _written(descriptor, size) if holes else size
            if written > size:
                _leave(blank, size, written - size)
                size = written
            block = os.pread(descriptor, _BLOCK, size)
            if not block:
                break
            if block != _HOLE:
                os.pwrite(writing.fileno(), block, size)
                digest.update(block)
            elif holes:
                _leave(blank, size, len(block))
            else:
                digest.update(block)
            size += len(block)
        writing.truncate(size)
    return Sealed(size, digest.hexdigest(), tuple(blank))


def _written(descriptor: int, start: int) -> int:
    """The first block from ``start`` on that the file system holds anything of; what it says of others is zeros."""
    try:
        return max(start, os.lseek(descriptor, start, os.SEEK_DATA) // _BLOCK * _BLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:  # it cannot tell, and everything is read
            return start
    return max(start, os.fstat(descriptor).st_size // _BLOCK * _BLOCK)


def _leave(blank: list[tuple[int, int]], start: int, length: int) -> None:
    """Add to the holes one that begins where the last ends, or after it."""
    if blank and sum(blank[-1]) == start:
        start, before = blank.pop()
        length += before
    blank.append((start, length))


def _database(source: Path, target: Path) -> Sealed:
    """A SQLite database at one instant, whoever writes to it meanwhile."""
    open_private(target).close()
    try:
        with (
            closing(sqlite3.connect(source, timeout=30)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            # Everything is synced to the disk together at the end, and what is half-written then is thrown away.
            writing.execute("PRAGMA synchronous = OFF")
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        from rag.database import ours  # here, as above

        raise ours(error) from error
    digest, size = hashlib.sha256(), 0
    with target.open("rb") as copied:
        while block := copied.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return Sealed(size, digest.hexdigest())


def _digest(folders: Sequence[str], sealed: Mapping[str, Sealed]) -> str:
    """Sums up the lists: a manifest that lost a line is damaged, too."""
    lines = "".join(f"{folder}\n" for folder in folders) + "".join(
        f"{one.sha256} {one.size}{_listed(one)} {name}\n" for name, one in sorted(sealed.items())
    )
    return hashlib.sha256(lines.encode()).hexdigest()


def _listed(one: Sealed) -> str:
    return "".join(f" /{start}+{length}" for start, length in one.holes)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``; what is still in it when the block ends is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


# --- what is read ---------------------------------------------------------------------------------------


def _manifest(source: Path) -> tuple[int, list[str], dict[str, Sealed]]:
    """The format, the folders and files of a backup that this program can restore.

    Raises:
        BadRequest: it is none, it is damaged, or a newer program wrote it.
    """
    path = source / MANIFEST
    try:
        said = json.loads(path.read_bytes())
        version = int(said["vauban_backup"])
        sealed = {
            str(name): Sealed(
                int(one["size"]),
                str(one["sha256"]),
                tuple((int(start), int(length)) for start, length in one.get("holes", ())),
            )
            for name, one in said["files"].items()
        }
        folders = [str(name) for name in said["folders"]]
        digest = said["digest"]
    except OSError as error:
        raise BadRequest(
            f"{source} is no backup: it has no {MANIFEST}",
            f"{source} n'est pas une sauvegarde : il n'y a pas de {MANIFEST}",
            code="no_backup",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(f"{path} cannot be read") from error
    if version > FORMAT:
        raise BadRequest(
            f"{source} was written by a newer Vauban; install the newer program",
            f"{source} a été écrit par un Vauban plus récent ; installez la version récente",
            code="newer_backup",
        )
    if digest != _digest(folders, sealed):
        raise _damaged(f"{path} is not what was written")
    inside = source.resolve()
    for name in (*folders, *sealed):
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name or not pure.parts or name != str(pure):
            raise _damaged(f"the path {name!r} leads out of it")
    for name in sealed:
        file = source / name
        if not file.is_file() or file.is_symlink() or not file.resolve().is_relative_to(inside):
            raise _damaged(f"{name} is missing")
    return version, folders, sealed


def _damaged(what: str) -> BadRequest:
    return BadRequest(
        f"the backup is damaged: {what}; nothing was touched",
        f"la sauvegarde est abîmée : {what} ; rien n'a été touché",
        code="damaged_backup",
    )
