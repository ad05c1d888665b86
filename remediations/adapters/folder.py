"""The store in a local folder: one file per record, safe for many processes and for sudden death.

A created record is written aside and then linked to its name, so the name never shows half of it. An appended record
has a hidden file beside it that holds its length: bytes beyond that length were never promised, and are neither read
nor kept. Whether a name is created or appended to is settled under a lock of its folder, and the hidden file is there
before the record is. For POSIX systems (`flock`, hard links).
"""

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable, UnsafeName
from remediations.ports import checked_name, checked_prefix

# One short write inside one disk sector: it is there or it is not.
_LENGTH_DIGITS: Final = 20
_PART: Final = 65_536  # bytes; a file gives fewer only at its end
_LENGTH: Final = re.compile(r"\..+\.length")
_HIDDEN: Final = re.compile(r"\.(?:.+\.length|[0-9a-f]{16})")  # beside a record; or aside, of a writer that died


class _Damaged(Exception):
    """What is on the disk is not what was committed."""


class FolderStore:
    """A `Store` in a folder, which is made when the first record is."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, content: bytes) -> None:
        """Keep a new record; raise ``AlreadyExists`` if the name is taken."""
        target = self._path(name)
        with explained(self.root, f"create {name!r}"):
            _make_folder(target.parent)
            aside = target.with_name(f".{secrets.token_hex(8)}")
            try:
                _write_new(aside, content)
                with _locked(target.parent):
                    if _length_file(target).exists():
                        raise AlreadyExists(name)
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
        with explained(self.root, f"append to {name!r}"):
            self._refuse_folder(target, name)
            if at == 0:
                _make_folder(target.parent)
                _begin(target)
            with _locked_length(target) as lock:
                if lock is None:
                    if target.exists():
                        raise AlreadyExists(name)
                    raise AppendConflict(name, at, 0)
                length = _committed(lock)
                if length != at:
                    raise AppendConflict(name, at, length)
                if (there := target.stat().st_size) < at:
                    raise _Damaged(f"the file has {there} of the record's {at} bytes")
                _write_at(target, content, at)
                _commit(lock, at + len(content))

    def read(self, name: str) -> bytes:
        """Return a record; raise ``NotFound`` if there is none."""
        folder, _, last = f"{self.root}/{checked_name(name)}".rpartition("/")
        with explained(self.root, f"read {name!r}"):
            try:
                with _opened(f"{folder}/{last}") as descriptor:
                    # An appended record that is there has its length beside it; bytes below that never change.
                    length = _read_length(f"{folder}/.{last}.length")
                    content = _content(descriptor)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NotFound(name) from error
            if length is not None and len(content) < length:
                raise _Damaged(f"the file has {len(content)} of the record's {length} bytes")
            return content if length is None else content[:length]

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with ``prefix``, in lexical order."""
        start = checked_prefix(prefix)
        with explained(self.root, f"list {prefix!r}"):
            yield from _names_from(self.root, start)

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the names that start with ``prefix`` and how many bytes each record has, in lexical order."""
        start = checked_prefix(prefix)
        with explained(self.root, f"list {prefix!r}"):
            for name in _names_from(self.root, start):
                target = self.root / name
                length = _read_length(str(_length_file(target)))
                yield name, target.stat().st_size if length is None else length

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)

    def _refuse_folder(self, target: Path, name: str) -> None:
        if target.is_dir():
            raise UnsafeName(name, "it is the folder of other records")


@contextmanager
def explained(root: Path, operation: str) -> Iterator[None]:
    """Turn what the file system says into an error that says what to do."""
    try:
        yield
    except _Damaged as error:
        fix = "Something else than Endpoint Medic changed it: restore it, with the hidden file of its length."
        raise StoreUnavailable(f"folder {root}", operation, str(error), fix) from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        fix = "Check that the folder can be written, has space, and is on a local disk (hard links, locks)."
        raise StoreUnavailable(f"folder {root}", operation, why, fix) from error


type _Names = list[str]  # inside the class, `list` is its method


class FolderCopy:
    """A folder to verify, as it lies there: one that a `FolderStore` writes to, or what was copied from a container.

    Bytes are given that no writer has confirmed, and names that no store would have; `torn` tells of the former. What
    is no plain file has a word behind its name, which makes it one of the latter: a link or a pipe is never opened.
    Nothing is written, and a writer that is at work is waited for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that start with ``prefix``, folder by folder; also of hidden files that are none of ours."""
        with explained(self.root, "list"):
            for above, files in self._folders(prefix.rpartition("/")[0]):
                names = (above + file for file in files if not _HIDDEN.fullmatch(file))
                yield from (_shown(name) for name in names if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """Return a file whole; raise ``NotFound`` if there is none."""
        with explained(self.root, f"read {name!r}"):
            try:
                with _at_rest(self.root / name):
                    return (self.root / name).read_bytes()
            except FileNotFoundError as error:
                raise NotFound(name) from error

    def torn(self) -> Iterator[tuple[str, int | None, int]]:
        """Yield the appended records that are not as long as their writer confirmed: that length, and the true one.

        The former is None where the hidden file beside a record holds none, or is gone while others are there.
        """
        bare: _Names = []
        with explained(self.root, "list"):
            has_lengths = False
            for above, files in self._folders(""):
                there = set(files)
                beside = {file[1:].removesuffix(".length") for file in files if _LENGTH.fullmatch(file)}
                has_lengths = has_lengths or bool(beside)
                bare += sorted(above + file for file in there - beside if file.endswith(".jsonl"))
                for file in sorted(beside):
                    target = self.root / above / file
                    with _at_rest(target):
                        confirmed, length = _confirmed(target), target.stat().st_size if target.is_file() else 0
                    if confirmed != length:
                        yield _shown(above + file), confirmed, length
            for name in bare if has_lengths else ():
                if not _length_file(self.root / name).is_file():  # it may have come while the folder was read
                    yield _shown(name), None, (self.root / name).stat().st_size

    def _folders(self, below: str) -> Iterator[tuple[str, _Names]]:
        """Yield each folder, with its slash, and what lies in it besides other folders."""
        if not (self.root / below).is_dir():
            return
        for folder, folders, files in os.walk(self.root / below, onerror=_raise):
            folders.sort(key=lambda name: f"{name}/")
            above = Path(folder).relative_to(self.root).as_posix()
            files += [name for name in folders if Path(folder, name).is_symlink()]
            marked = (name if _is_plain(f"{folder}/{name}") else f"{name} (no plain file)" for name in files)
            yield "" if above == "." else f"{above}/", sorted(marked)


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:  # a record was written aside, and has its name by now
        return True


def _shown(name: str) -> str:
    """Give a name as text: what is no UTF-8 of it is escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


@contextmanager
def _at_rest(target: Path) -> Iterator[None]:
    """Wait until nobody appends to a record, if it is one that is appended to: for a second at most."""
    try:
        descriptor = os.open(_length_file(target), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        yield
        return
    try:
        for _ in range(100):
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _confirmed(target: Path) -> int | None:
    with _length_file(target).open("rb") as file:
        digits = file.read(_LENGTH_DIGITS + 1)
    return _number(digits)


def _raise(error: OSError) -> None:
    raise error


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_at(path: Path, content: bytes, at: int) -> None:
    """Write from ``at`` on, over whatever a writer left there that died before it could commit."""
    with path.open("r+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _length_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.length")


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a file to read. Thousands are read to replay a month: this is twice as fast as by way of a `Path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    """Return what is in a file."""
    parts = [os.read(descriptor, _PART)]
    while len(parts[-1]) == _PART:
        parts.append(os.read(descriptor, _PART))
    return b"".join(parts)


def _read_length(length_file: str) -> int | None:
    """Return the committed length, or None for a record that was created whole."""
    if not os.access(length_file, os.F_OK):
        return None
    with _opened(length_file) as descriptor:
        return _length(_content(descriptor))


def _number(digits: bytes) -> int | None:
    """Give the length that such a file holds: 0 before the first commit; None if it holds something else."""
    if not digits:
        return 0
    return int(digits) if len(digits) == _LENGTH_DIGITS and digits.isdigit() else None


def _length(digits: bytes) -> int:
    length = _number(digits)
    if length is None:
        raise _Damaged(f"its length reads {digits[: _LENGTH_DIGITS + 1]!r}")
    return length


def _begin(target: Path) -> None:
    """Make an appended record without content, unless the name is taken; it survives a crash.

    The length comes first: content without it would read as a created record.
    """
    if not target.exists():
        with _locked(target.parent):
            if not target.exists():
                _length_file(target).touch()
                target.touch()
    _sync_folder(target.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock under which new names in a folder are taken."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _locked_length(target: Path) -> Iterator[int | None]:
    """Hold the lock of an appended record; None where there is none."""
    try:
        descriptor = os.open(_length_file(target), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _committed(lock: int) -> int:
    return _length(os.pread(lock, _LENGTH_DIGITS + 1, 0))  # one more: what is longer is no length, for readers either


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


def _names_from(root: Path, prefix: str) -> Iterator[str]:
    """Yield the names that start with a prefix; what lies beside its folder is not looked through."""
    above, slash, _ = prefix.rpartition("/")
    try:
        yield from _names(root / above, above + slash, prefix)
    except NotADirectoryError:
        if not root.is_dir():
            raise  # else a record has the name of the folder, and there is none below it


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
