"""Values <-> plain JSON. No other file knows the wire form.

Canonical bytes are UTF-8 JSON with sorted keys and no white space, so that equal values have equal digests.
"""

import hashlib
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediations.model import Json

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_DECODERS_LOCK = threading.Lock()
_TOO_DEEP = "the JSON is nested too deep"


def dump(value: object) -> Any:
    """Give `value` as plain JSON (dicts, lists, strings, numbers): what may cross a Durable boundary."""
    return msgspec.to_builtins(value)


def load[T](type_: type[T], plain: object, *, strict: bool = True) -> T:
    """Give the value that `plain` stands for; raises ValueError naming the path of what does not fit.

    Args:
        strict: False reads numbers, booleans and the like from strings too, as YAML writes them.
    """
    decoder(type_)
    return msgspec.convert(plain, type_, strict=strict)


def decoder[T](type_: type[T]) -> msgspec.json.Decoder[T]:
    """Give what decodes JSON to a type; whoever reads a type of ours for the first time comes by here.

    msgspec works a struct type out when it first meets it, and ends the process (msgspec 0.22.0, a segmentation fault)
    if a second thread meets the same type, or one inside it, before that is done.
    """
    made = _DECODERS.get(type_)
    if made is None:
        with _DECODERS_LOCK:
            made = _DECODERS[type_] = _DECODERS.get(type_) or msgspec.json.Decoder(type_)
    return made


def encode(value: object) -> bytes:
    """Give the canonical bytes of a value."""
    return _ENCODER.encode(value)


def decode[T](type_: type[T], content: bytes) -> T:
    """Give the value that canonical bytes stand for; raises ValueError naming the path of what does not fit."""
    try:
        return decoder(type_).decode(content)
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
