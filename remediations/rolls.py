"""Lines that are only ever appended, in files that follow one another: ``<folder>/<nnnn>.jsonl``.

An append blob ends at 50,000 blocks, and every line is one. A full file is followed by the next; which one is full, its
lines tell, so all writers agree on it.
https://learn.microsoft.com/rest/api/storageservices/understanding-block-blobs--append-blobs--and-page-blobs
"""

from msgspec import Struct

from remediations.errors import NotFound
from remediations.ports import Store

MOST_LINES = 10_000


class Place(Struct, frozen=True):
    """Where the next line goes.

    Attributes:
        number: Of the file.
        lines: That it has, and `length` in bytes.
    """

    number: int = 0
    lines: int = 0
    length: int = 0


def file_of(folder: str, number: int) -> str:
    """Give the name of one of a folder's files."""
    return f"{folder}/{number:04d}.jsonl"


def is_first(name: str) -> bool:
    """Tell whether a file is the first of its folder."""
    return name.endswith("/0000.jsonl")


def read(store: Store, folder: str, most: int = MOST_LINES) -> tuple[bytes, Place]:
    """Give all lines of a folder, and where the next one goes; raises StoreError."""
    parts: list[bytes] = []
    while True:
        number = len(parts)
        try:
            content = store.read(file_of(folder, number))
        except NotFound:
            return b"".join(parts), Place(number)
        parts.append(content)
        lines = content.count(b"\n")
        if lines < most:
            return b"".join(parts), Place(number, lines, len(content))


def append(store: Store, folder: str, line: bytes, place: Place, most: int = MOST_LINES) -> Place:
    """Add a line, with its end, at a place; give the next place.

    Raises:
        AppendConflict: somebody else has written there.
        StoreError: nothing is known about the line.
    """
    store.append(file_of(folder, place.number), line, place.length)
    return after(place, line.removesuffix(b"\n"), most)


def after(place: Place, line: bytes, most: int = MOST_LINES) -> Place:
    """Give where the line goes that follows a line (without its end) at a place."""
    grown = Place(place.number, place.lines + 1, place.length + len(line) + 1)
    return grown if grown.lines < most else Place(place.number + 1)
