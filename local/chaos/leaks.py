"""Look for planted secrets in bytes, in whatever dress: escaped, encoded, packed."""

import base64
import gzip
import html
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from urllib.parse import quote, quote_plus

from msgspec import Struct

_GAP = b"\n\0\n"  # in no needle


class Leak(Struct, frozen=True):
    """Where a secret stands, and how it is dressed."""

    name: str
    dress: str
    secret: int


def leaks(texts: Mapping[str, bytes], secrets: tuple[str, ...]) -> Iterator[Leak]:
    """Give each text that holds a secret, once for each secret and dress."""
    if not secrets:
        return
    plain = {name: part for whole, content in texts.items() for name, part in _opened(whole, content)}
    names, blob = list(plain), _GAP.join(plain.values())
    starts = [0, *accumulate(len(part) + len(_GAP) for part in plain.values())]
    folded = blob.lower()
    for number, secret in enumerate(secrets):
        core = max(re.findall(rb"[A-Za-z0-9]+", secret.encode()), key=len, default=b"")
        is_near = core in blob  # most dresses leave letters and digits as they are: one look for all of these
        for dress, needle in dresses(secret).items():
            if core in needle and not is_near and dress != "hex":
                continue
            where = folded if dress == "hex" else blob
            at, last = where.find(needle), ""
            while at >= 0:
                index = bisect_right(starts, at) - 1
                if names[index] != last:
                    last = names[index]
                    yield Leak(last, dress, number)
                at = where.find(needle, starts[index + 1]) if index + 1 < len(names) else -1


def dresses(secret: str) -> dict[str, bytes]:
    """Give the ways in which a secret may stand in a text, each needle once."""
    raw = secret.encode()
    once = json.dumps(secret)[1:-1]
    found = {
        "as it is": raw,
        "in JSON": once.encode(),
        "in JSON in JSON": json.dumps(once)[1:-1].encode(),
        "in JSON, slashes escaped": once.replace("/", "\\/").encode(),
        "in HTML": html.escape(secret).encode(),
        "in HTML, numbered": html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;").encode(),
        "in a URL": quote(secret, safe="").encode(),
        "in a URL's path": quote(secret).encode(),
        "in a form": quote_plus(secret).encode(),
        "in a URL, lower case": _lowered(quote(secret, safe="")).encode(),
        "hex": raw.hex().encode(),
        "UTF-16": secret.encode("utf-16-le"),
    }
    for kind, encode in (("base64", base64.b64encode), ("base64, for URLs", base64.urlsafe_b64encode)):
        found |= {
            f"{kind}, {shift} bytes in": _aligned(encode(b"\0" * shift + raw), shift, len(raw)) for shift in range(3)
        }
    once_each: dict[bytes, str] = {}
    for dress, needle in found.items():
        once_each.setdefault(needle, dress)
    return {dress: needle for needle, dress in once_each.items()}


def _aligned(encoded: bytes, shift: int, length: int) -> bytes:
    """Give the part of some base64 that depends on the secret alone, not on what stands around it."""
    return encoded[-(-shift * 8 // 6) : (shift + length) * 8 // 6]


def _lowered(text: str) -> str:
    """Write the digits behind each percent sign in lower case."""
    first, *rest = text.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _opened(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Give a text, and what is packed in it."""
    yield name, content
    try:
        if content[:2] == b"\x1f\x8b":
            yield f"{name} (unpacked)", gzip.decompress(content)
        elif content[:1] == b"\x78":
            yield f"{name} (unpacked)", zlib.decompress(content)
    except (OSError, EOFError, zlib.error):
        return  # it only begins like one
