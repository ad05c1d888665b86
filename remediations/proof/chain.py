"""Audit record <-> line. A line is the record's canonical JSON with its hash as the last member:

    {"actor":…,"at":…,…,"previous":"<hash of the line before>","seq":…,"stage":…,"hash":"<64 hex digits>"}

The hash is the SHA-256 of the line without that member: cut the last 75 bytes, put the closing brace back. So a line is
checked byte for byte as it stands, and nobody has to write JSON the way we do. docs/audit.md shows it in ten lines.
"""

import hashlib
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from remediations import codec
from remediations.model import AuditRecord

FIRST = "0" * 64  # what the first record of an incident names as the hash before it
_OPENS = b',"hash":"'
_CUT = len(_OPENS) + 64 + len(b'"}')


class Beside(Struct, frozen=True, gc=False):
    """What was created on the trail before the record that tells of it: its name, and the SHA-256 of its bytes."""

    name: str
    sha256: str


class _Facts(Struct, frozen=True):
    beside: Beside | None = None


class Link(Struct, frozen=True):
    """What links a line to its neighbours, and to what stands beside it."""

    seq: int
    at: Annotated[datetime, Meta(tz=True)]
    incident: str
    previous: str
    hash: str
    facts: _Facts


_LINK = codec.decoder(Link)


def seal(record: AuditRecord, previous: str) -> tuple[bytes, str]:
    """Give the line of a record, with its end of line, and its hash."""
    body = codec.encode(replace(record, previous=previous, hash=""))
    digest = codec.digest(body)
    return b"%b%b%b%b" % (body[:-1], _OPENS, digest.encode(), b'"}\n'), digest


def link(line: bytes) -> Link | None:
    """Give what links a line (without its end), if its hash is that of its bytes; None if not.

    Raises:
        ValueError: it is no line of a trail.
    """
    try:
        found = _LINK.decode(line)
    except RecursionError as error:
        msg = "it is nested too deep"
        raise ValueError(msg) from error
    if line[-_CUT : -_CUT + len(_OPENS)] != _OPENS:
        msg = "its hash is not its last member"
        raise ValueError(msg)
    return found if hashlib.sha256(line[:-_CUT] + b"}").hexdigest() == found.hash else None


def is_whole(line: bytes) -> bool:
    """Tell whether a line (without its end) ends with the hash of what stands before."""
    return line.endswith(b'"%b"}' % hashlib.sha256(line[:-_CUT] + b"}").hexdigest().encode())


def is_canonical(line: bytes) -> bool:
    """Tell whether a line that `link` has read is as `seal` writes it: no member twice, none out of order."""
    body = line[:-_CUT] + b"}"
    try:
        return codec.encode(codec.parse_json(body)) == body
    except ValueError:
        return False
