"""Values <-> plain JSON. No other file knows the wire form.

Canonical bytes are UTF-8 JSON with sorted keys and no white space, so that equal values have equal digests.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediations.model import Json

_ENCODER = msgspec.json.Encoder(order="sorted")
_TOO_DEEP = "the JSON is nested too deep"


def dump(value: object) -> Any:
    """Give `value` as plain JSON (dicts, lists, strings, numbers): what may cross a Durable boundary."""
    return msgspec.to_builtins(value)


def load[T](type_: type[T], plain: object) -> T:
    """Give the value that `plain` stands for; raises ValueError naming the path of what does not fit."""
    return msgspec.convert(plain, type_)


def encode(value: object) -> bytes:
    """Give the canonical bytes of a value."""
    return _ENCODER.encode(value)


def decode[T](type_: type[T], content: bytes) -> T:
    """Give the value that canonical bytes stand for; raises ValueError naming the path of what does not fit."""
    try:
        return msgspec.json.decode(content, type=type_)
    except RecursionError as error:
        raise msgspec.DecodeError(_TOO_DEEP) from error


def parse_json(content: bytes | str) -> Json:
    """Give the JSON in `content`; raises ValueError if it is malformed or nested too deep to read."""
    try:
        plain: Json = msgspec.json.decode(content)
    except RecursionError as error:
        raise msgspec.DecodeError(_TOO_DEEP) from error
    return plain


def digest(content: bytes | str) -> str:
    """Give the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def digest_of(value: object) -> str:
    """Give the SHA-256 of a value's canonical bytes, in hex."""
    return digest(encode(value))


def mapping(plain: Json) -> Mapping[str, Json]:
    """Give a JSON object as it came, and an empty one for anything else."""
    return plain if isinstance(plain, dict) else {}


def text(plain: Json) -> str:
    """Give a JSON string as it came, and an empty one for anything else."""
    return plain if isinstance(plain, str) else ""


def moment(plain: Json) -> datetime | None:
    """Read a time that Azure wrote, with up to seven digits of a second; None if it is none.

    The year 1 is how .NET writes a time that was never set.
    """
    try:
        read = datetime.fromisoformat(text(plain))
        known = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return known if known.year > 2000 else None


def duration(plain: Json) -> timedelta | None:
    """Read an ISO 8601 duration of days, hours, minutes and seconds; None if it is none, or not above zero."""
    try:
        read = msgspec.convert(text(plain), timedelta)
    except msgspec.ValidationError:
        return None
    return read if read > timedelta() else None
