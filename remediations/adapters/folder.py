"""The store in a local folder: one file per record, safe for many processes and for sudden death.

A created record is written aside and then linked to its name, so the name never shows half of it. An appended record
has a hidden file beside it that holds its length: bytes beyond that length were never promised, and are neither read
nor kept. For POSIX systems (`flock`, hard links).
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable, UnsafeName
from remediations.ports import checked_name, checked_prefix

# One short write inside one disk sector: it is there or it is not.
_LENGTH_DIGITS: Final = 20


class FolderStore:
    """A `Store` in a folder, which is made when the first record is."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, content: bytes) -> None:
        """Keep a new record; raise ``AlreadyExists`` if the name is taken."""
        target = self._path(name)
        with self._explained(f"create {name!r}"):
            _make_folder(target.parent)
            aside = target.with_name(f".{secrets.token_hex(8)}")
            try:
                _write_new(aside, content)
                os.link(aside, target)
            except FileExistsError as error:
                self._refuse_folder(target, name)
                raise AlreadyExists(name) from error
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def append(self, name: str, content: bytes, at: int) -> None:
        """Add to the end of a record; raise ``AppendConflict`` if it is not ``at`` bytes long."""
        if not content:
            raise ValueError(f"append to {name!r}: there is nothing to append")
        target = self._path(name)
        with self._explained(f"append to {name!r}"):
            if at == 0:
                _make_folder(target.parent)
                self._refuse_folder(target, name)
            with _locked_length(target, begin=at == 0) as lock:
                if lock is None:
                    if target.exists():
                        raise AlreadyExists(name)
                    raise AppendConflict(name, at, 0)
                length = _committed(lock)
                if length != at:
                    raise AppendConflict(name, at, length)
                if at == 0:  # or a crash could leave content without its length, which would read as a created record
                    _sync_folder(target.parent)
                _write_at(target, content, at)
                _commit(lock, at + len(content))
            if at == 0:
                _sync_folder(target.parent)

    def read(self, name: str) -> bytes:
        """Return a record; raise ``NotFound`` if there is none."""
        target = self._path(name)
        with self._explained(f"read {name!r}"):
            try:
                # The length first: bytes below it never change, whatever is being appended meanwhile.
                length = _read_length(target)
                content = target.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NotFound(name) from error
            return content if length is None else content[:length]

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with ``prefix``, in lexical order."""
        start = checked_prefix(prefix)
        with self._explained(f"list {prefix!r}"):
            yield from _names(self.root, "", start)

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the names that start with ``prefix`` and how many bytes each record has, in lexical order."""
        start = checked_prefix(prefix)
        with self._explained(f"list {prefix!r}"):
            for name in _names(self.root, "", start):
                target = self.root / name
                length = _read_length(target)
                yield name, target.stat().st_size if length is None else length

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)

    def _refuse_folder(self, target: Path, name: str) -> None:
        if target.is_dir():
            raise UnsafeName(name, "it is the folder of other records")

    @contextmanager
    def _explained(self, operation: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            fix = "Check that the folder can be written, has space, and is on a local disk (hard links, locks)."
            raise StoreUnavailable(f"folder {self.root}", operation, why, fix) from error


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_at(path: Path, content: bytes, at: int) -> None:
    """Write from ``at`` on, over whatever a writer left there that died before it could commit."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _length_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.length")


def _read_length(target: Path) -> int | None:
    """Return the committed length, or None for a record that was created whole."""
    try:
        digits = _length_file(target).read_bytes()
    except FileNotFoundError:
        return None
    return int(digits or b"0")


@contextmanager
def _locked_length(target: Path, *, begin: bool) -> Iterator[int | None]:
    """Hold the lock of an appended record; None where there is none and we may not begin one."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if begin and not target.exists():
        flags |= os.O_CREAT
    try:
        descriptor = os.open(_length_file(target), flags, 0o666)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _committed(lock: int) -> int:
    return int(os.pread(lock, _LENGTH_DIGITS, 0) or b"0")


def _commit(lock: int, length: int) -> None:
    os.pwrite(lock, b"%0*d" % (_LENGTH_DIGITS, length), 0)
    os.fsync(lock)


def _make_folder(folder: Path) -> None:
    """Make a folder whose existence survives a crash."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path, above: str, prefix: str) -> Iterator[str]:
    """Yield names below a folder; a folder sorts as its names do, with the slash."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(above + entry.name + "/" * entry.is_dir() for entry in entries if entry.name[0] != ".")
    except FileNotFoundError:
        return
    for name in found:
        if not name.endswith("/"):
            if name.startswith(prefix):
                yield name
        elif name.startswith(prefix) or prefix.startswith(name):
            yield from _names(folder / name[len(above) : -1], name, prefix)
