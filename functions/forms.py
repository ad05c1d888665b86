"""What people send: read from a form or from JSON, and taken from our own pages alone.

Shared by every route that changes something. Who sends it is for `signin`, how often for `limits`, whether the page was
shown to them for `approval.token`.
"""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import azure.functions as func
from msgspec import Struct

from remediations import codec
from remediations.model import Json
from remediations.settings import Settings

MAX_BODY_BYTES = 16 * 1024
LONGEST_COMMENT = 500


class Refused(Exception):
    """What is not taken, with the HTTP status that says so."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = words
        super().__init__(words)


class Fields(Struct, frozen=True, kw_only=True):
    """What somebody sent: as a form or as JSON."""

    plain: dict[str, Json] = {}
    is_json: bool = False

    def text(self, name: str) -> str:
        """Give the text of a field; empty if there is none."""
        return codec.text(self.plain.get(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the texts of a field that may have several."""
        found = self.plain.get(name)
        return tuple(str(one) for one in found) if isinstance(found, list) else ()


def read(req: func.HttpRequest, *, several: tuple[str, ...] = ()) -> Fields:
    """Give the fields of a request's body; raises Refused.

    Args:
        several: Fields of a form that may come more than once.
    """
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, f"an answer has at most {MAX_BODY_BYTES} bytes; this has {len(body)}")
    kind = req.headers.get("Content-Type", "").split(";")[0].strip().lower()
    try:
        if kind == "application/json":
            plain = codec.mapping(json.loads(body.decode(), object_pairs_hook=_once))
            return Fields(plain=dict(plain), is_json=True)
        if kind == "application/x-www-form-urlencoded":
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
            first = _once([(name, value) for name, values in fields.items() if name not in several for value in values])
            return Fields(plain={**first, **{name: list(fields.get(name, ())) for name in several}})
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the answer cannot be read: send a form or JSON, each field once") from error
    raise Refused(415, "the answer is neither a form nor JSON")


def check_origin(settings: Settings, req: func.HttpRequest, *, is_json: bool) -> None:
    """Refuse what another site's page sent. A browser says where a form comes from; a program sends JSON, which no
    other site's form can."""
    if is_foreign(settings, req):
        raise Refused(403, "another site sent this answer")
    if not is_json and req.headers.get("Sec-Fetch-Site") is None and req.headers.get("Origin") is None:
        raise Refused(403, "the browser does not say where this answer comes from")


def is_foreign(settings: Settings, req: func.HttpRequest) -> bool:
    """Tell whether a browser says that another site's page sent this."""
    site, origin = req.headers.get("Sec-Fetch-Site"), req.headers.get("Origin")
    if site is not None and site.lower() != "same-origin":
        return True
    ours = {_origin(settings.app_url), _origin(req.url)}
    # Under our Referrer-Policy a browser says "null" for our own form; that it is ours, Sec-Fetch-Site says.
    return origin is not None and origin.lower() not in ours and not (origin == "null" and site is not None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Give fields by name; raises ValueError if one comes twice: nobody is to guess which was meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        msg = "a field comes more than once"
        raise ValueError(msg)
    return fields


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
