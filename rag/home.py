"""``VAUBAN_HOME``: where everything is kept, which program may read it, who owns the store, which server is alive.

The owner of the store holds a lock on ``store.lock``; the kernel lets go of it when the process ends, however it
ends. ``server.json`` tells the other commands of this user where the owner answers. A home written by a newer
program is refused.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, Protocol, Self

import psutil

from rag import textfolders, zips
from rag.errors import DiskFull, DocumentError, RejectReason, StoreBusy, StoreError
from rag.indexes import Indexes

SCHEMA: Final = 1
"""Version of the layout of this folder; the catalog has its own, kept by its migrations."""
INDEX: Final = 1
"""Version of what is written into the index: another one needs a rebuild."""
INCOMING: Final = ".incoming"
"""Below the uploads: files that are being received, or wait for their turn."""
SAME_START: Final = 2.0
"""Seconds that two readings of the start of one process may differ: the kernel counts in ticks since boot."""
_BLOCK: Final = 1 << 20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Server:
    """The live server that owns a home: where it answers, and the token that proves to be the same user."""

    url: str
    pid: int
    token: str
    started: float

    @classmethod
    def here(cls, url: str, token: str) -> Self:
        """This process as a server."""
        process = psutil.Process()
        return cls(url, process.pid, token, process.create_time())

    @property
    def alive(self) -> bool:
        """Whether its process still runs; one that later got the same pid does not count."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < SAME_START
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


class Ownership:
    """The right to open the store, held by one process at a time; :meth:`release` gives it back.

    A forked child does not inherit it, so that workers that outlive a killed owner keep nobody out.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        with _held_lock:
            if _held.pop(self._path, None) is not None:
                os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_held: dict[Path, int] = {}
_held_lock = threading.Lock()


def _forget_in_child() -> None:
    """Close a forked child's copies: the kernel's lock lives as long as any copy of the descriptor is open."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


class _Keeping:
    """The works of this process that keep source files which no catalog names yet, by home."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[Path] = Counter()

    @contextmanager
    def held(self, root: Path) -> Iterator[None]:
        with self._lock:
            self._count[root] += 1
        try:
            yield
        finally:
            with self._lock:
                self._count[root] -= 1

    @contextmanager
    def alone(self, root: Path) -> Iterator[bool]:
        """Whether at most one work is at it; while the block runs, no other begins."""
        with self._lock:
            yield self._count[root] <= 1


_keeping = _Keeping()

os.register_at_fork(after_in_child=_forget_in_child)


class Kept(Protocol):
    """Where the bytes of a document are: a file, a folder that is one text, or a member of the archive ``path``."""

    @property
    def path(self) -> Path: ...

    @property
    def member(self) -> tuple[str, ...]:
        """The way into the archive, one name for each level; empty for what stands by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Home:
    """The layout of a home folder; make one with :meth:`open`."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Self:
        """Make the folder where it is missing, and check that this program may use it.

        Raises:
            StoreError: it cannot be used, or a newer program wrote it.
            DiskFull: there is no room to make it.
        """
        home = cls(root.absolute())
        with translated(home.root):
            home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.files.mkdir(mode=0o700, exist_ok=True)
            home._check_version()
        return home

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def index(self) -> Path:
        """The folder of the live index, as :mod:`rag.indexes` has it; the lock lies beside it: see :meth:`own`.

        Raises:
            StoreError: what says which one it is, is damaged.
        """
        return self.root / Indexes.read(self.root).live

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def uploads(self) -> Path:
        """The folders of the corpora that are fed by uploads, one each; hidden ones are work under way."""
        return self.root / "uploads"

    @property
    def version_file(self) -> Path:
        return self.root / "home.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "store.lock"

    @property
    def server_file(self) -> Path:
        return self.root / "server.json"

    def _check_version(self) -> None:
        try:
            found = json.loads(self.version_file.read_text(encoding="utf-8"))
            schema, index = int(found["schema"]), int(found["index"])
        except FileNotFoundError:
            write_atomically(self.version_file, json.dumps({"schema": SCHEMA, "index": INDEX}).encode())
            return
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.version_file} is damaged; restore the home folder from a backup",
                f"{self.version_file} est abîmé ; restaurez le dossier depuis une sauvegarde",
            ) from error
        if schema > SCHEMA or index > INDEX:
            raise StoreError(
                f"{self.root} was written by a newer Vauban (home {schema}, index {index}); "
                f"this one knows {SCHEMA} and {INDEX}: install the newer program",
                f"{self.root} a été écrit par un Vauban plus récent (dossier {schema}, index {index}) ; "
                f"celui-ci connaît {SCHEMA} et {INDEX} : installez la version récente",
                code="newer_home",
            )

    # --- the owner of the store

    def own(self) -> Ownership:
        """Take the lock of the store, for this process and until it is released.

        Raises:
            StoreBusy: another process holds it (``pid`` names it), or this one already does.
        """
        with translated(self.root), _held_lock:
            if self.lock_file in _held:
                raise _busy(os.getpid())
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = _written_pid(descriptor)
                os.close(descriptor)
                raise _busy(owner) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            _held[self.lock_file] = descriptor
        return Ownership(self.lock_file, descriptor)

    # --- the live server

    def announce(self, server: Server) -> None:
        """Write ``server.json``, readable by this user only."""
        with translated(self.root):
            write_atomically(self.server_file, json.dumps(asdict(server)).encode())

    def withdraw(self) -> None:
        """Remove ``server.json`` when this process wrote it; the file of another one is left alone."""
        found = self._announced()
        if found is not None and found.pid == os.getpid():
            self.server_file.unlink(missing_ok=True)

    def server(self) -> Server | None:
        """The server that owns this home; ``None`` without one, also when a dead one left its file behind."""
        found = self._announced()
        return found if found is not None and found.alive else None

    def _announced(self) -> Server | None:
        try:
            values = json.loads(self.server_file.read_text(encoding="utf-8"))
            return Server(str(values["url"]), int(values["pid"]), str(values["token"]), float(values["started"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # it is written whole or not at all, so this is nobody's

    # --- source files, by their content

    def file(self, sha256: str) -> Path:
        """Where the source file with this SHA-256 is kept."""
        return self.files / sha256[:2] / sha256

    def keep(self, source: Kept) -> str:
        """Keep a copy of a source, durable when this returns; the SHA-256 of what was copied.

        A folder that is one text is kept as one ZIP, which is the same for the same files; its SHA-256 is that of
        :func:`rag.textfolders.digest`.

        Raises:
            DiskFull: there is no room; nothing is left behind.
            DocumentError: the source cannot be read.
        """
        partial = self.files / f"{os.getpid()}-{threading.get_ident()}.part"
        with translated(self.files):
            try:
                with open_private(partial) as writing:
                    sha256 = self._copied(source, writing)
                    writing.flush()
                    os.fsync(writing.fileno())
                target = self.file(sha256)
                if not target.exists():
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    partial.replace(target)
                    sync_folder(target.parent)
            finally:
                partial.unlink(missing_ok=True)
        return sha256

    def _copied(self, source: Kept, writing: BinaryIO) -> str:
        """Write the bytes of a source; their SHA-256."""
        content = _content(source, self._spool)
        return _zipped(content.files, writing) if isinstance(content, _Text) else _streamed(content, writing)

    def _spool(self) -> IO[bytes]:
        """A file without a name, which is gone when whoever asked for it closes it."""
        return tempfile.TemporaryFile(dir=self.files)

    def keeping(self) -> AbstractContextManager[None]:
        """Keep files in the block: until it ends, what others :meth:`prune` stays."""
        return _keeping.held(self.root)

    def prune(self, kept: Callable[[], Collection[str]]) -> int:
        """Delete the source files that are not among ``kept()``, and what a killed run left half-written.

        Nothing goes while another work of this process is :meth:`keeping` some; the next to prune deletes it then.
        """
        with _keeping.alone(self.root) as alone:
            return self._pruned(kept()) if alone else 0

    def _pruned(self, kept: Collection[str]) -> int:
        gone = 0
        for path in list(self.files.iterdir()):
            if path.is_file():
                path.unlink(missing_ok=True)
                continue
            for file in path.iterdir():
                if file.name not in kept:
                    file.unlink(missing_ok=True)
                    gone += 1
        return gone


class _Last(threading.local):
    """Each thread's archive that it kept a member of last; it is closed with the thread."""

    def __init__(self) -> None:
        self.opened = zips.LastOpened()


_last = _Last()


def sha256_of(source: Kept) -> str:
    """The SHA-256 of a source as :meth:`Home.keep` gives it; nothing is kept.

    Raises:
        DocumentError: the source cannot be read.
    """
    content = _content(source, tempfile.TemporaryFile)
    if isinstance(content, _Text):
        return textfolders.digest((name, _hashed(file)) for name, file in content.files)
    return _hashed(content)


@dataclass(frozen=True, slots=True)
class _Text:
    """The files of a text by their names in it, each with its bytes."""

    files: Iterable[tuple[str, Iterable[bytes]]]


def _content(source: Kept, spool: Callable[[], IO[bytes]]) -> _Text | Iterable[bytes]:
    """The bytes of a source, a block at a time; of a folder that is one text, those of its files."""
    if not source.member:
        if source.path.is_dir():
            return _Text((name, blocks(file)) for name, file in textfolders.files(source.path).found)
        return blocks(source.path)
    *within, name = source.member
    archive = _last.opened.archive(source.path, within, spool)
    below = [] if archive.find(name) else archive.below(name)
    return _Text(_readable(archive, name, below)) if below else archive.blocks(zips.entry_of(archive, name))


def _hashed(content: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in content:
        digest.update(block)
    return digest.hexdigest()


def _streamed(content: Iterable[bytes], writing: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in content:
        digest.update(block)
        writing.write(block)
    return digest.hexdigest()


def _readable(archive: zips.Archive, folder: str, below: Iterable[zips.Entry]) -> Iterator[tuple[str, list[bytes]]]:
    """The files of a text in an archive, but for those that turn out to be bombs or broken: they are rows already."""
    for entry in below:
        name = entry.name[len(folder) + 1 :]
        if not textfolders.belongs(name) or zips.oversized(entry, textfolders.MEGABYTES) is not None:
            continue
        with suppress(DocumentError):
            yield name, list(archive.blocks(entry))


def _zipped(files: Iterable[tuple[str, Iterable[bytes]]], writing: BinaryIO) -> str:
    """Write the files of a text as a ZIP that holds nothing but their names and bytes; the text's digest."""
    digests = []
    with zipfile.ZipFile(writing, "w") as archive:
        for name, content in files:
            digest = hashlib.sha256()
            info = zipfile.ZipInfo(name)  # dated 1980, whenever it is made
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                for block in content:
                    digest.update(block)
                    member.write(block)
            digests.append((name, digest.hexdigest()))
    return textfolders.digest(digests)


def _busy(pid: int | None) -> StoreBusy:
    who_en = f"process {pid}" if pid else "another process"
    who_fr = f"le processus {pid}" if pid else "un autre processus"
    return StoreBusy(
        f"the store is in use by {who_en}; stop it if it is a server, or wait until it ends",
        f"la base est utilisée par {who_fr} ; arrêtez-le si c'est un serveur, ou attendez qu'il ait fini",
        pid=pid,
    )


def _written_pid(descriptor: int) -> int | None:
    written = os.pread(descriptor, 32, 0).strip()
    return int(written) if written.isdigit() else None


@contextmanager
def translated(place: Path) -> Iterator[None]:
    """Turn what the system says about files of the home into our errors.

    Raises:
        DiskFull: no space is left.
        StoreError: any other reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"no space is left for {place}; free some and run the command again",
                f"il ne reste plus de place pour {place} ; libérez-en et relancez la commande",
            ) from error
        raise StoreError(
            f"cannot use {place}: {error.strerror or error}",
            f"impossible d'utiliser {place} : {error.strerror or error}",
        ) from error


def blocks(source: Path) -> Iterator[bytes]:
    """The bytes of a source file, a block at a time.

    Raises:
        DocumentError: it cannot be read.
    """
    try:
        with source.open("rb") as reading:
            while block := reading.read(_BLOCK):
                yield block
    except OSError as error:
        raise DocumentError(
            RejectReason.UNREADABLE,
            f"cannot be read: {error.strerror or error}",
            f"lecture impossible : {error.strerror or error}",
        ) from error


def open_private(path: Path) -> BinaryIO:
    """A new or emptied file that only this user may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a private file so that a reader sees all of it or what was there before, whatever happens."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open_private(partial) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
