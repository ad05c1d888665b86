"""The pages: templates, and what fills them. Each text is made literal and escaped by the template engine itself.

A page needs nothing from elsewhere, and no script but one that fetches the page anew; the headers forbid all else.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import azure.functions as func

from remediations import codec
from remediations.literal import literal

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_LONGEST = 12_000  # of one text on a page
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_REFRESHES = "; script-src 'self'; connect-src 'self'"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ASSETS: Mapping[str, str] = {"medic.css": "text/css", "refresh.js": "text/javascript"}
_loaded: set[str] = set()
_PORTALS = {
    "management.azure.com": "portal.azure.com",
    "management.usgovcloudapi.net": "portal.azure.us",
    "management.chinacloudapi.cn": "portal.azure.cn",
}


def html(req: func.HttpRequest, status: int, text: str, *, script: bool = False) -> func.HttpResponse:
    """Give a page, without its body for HEAD.

    Args:
        script: Whether it refreshes by itself.
    """
    headers = {**HEADERS, "Content-Security-Policy": f"{_POLICY}{_REFRESHES if script else ''}"}
    body = b"" if req.method == "HEAD" else text.encode()
    return func.HttpResponse(body, status_code=status, mimetype="text/html", charset="utf-8", headers=headers)


def json(req: func.HttpRequest, status: int, body: object) -> func.HttpResponse:
    """Give the same for programs, without its body for HEAD."""
    content = b"" if req.method == "HEAD" else codec.encode(body)
    return func.HttpResponse(content, status_code=status, mimetype="application/json", headers=dict(HEADERS))


def plain(req: func.HttpRequest, status: int, title: str, words: str = "") -> func.HttpResponse:
    """Give a page, or JSON, that says one thing."""
    if wants_json(req):
        return json(req, status, {"error": f"{title}. {words}" if words else title})
    return html(req, status, render("plain.html", title=title, words=words))


def wants_json(req: func.HttpRequest) -> bool:
    """Tell whether a program asks."""
    return "application/json" in req.headers.get("Accept", "") or req.params.get("format") == "json"


def render(template: str, **values: object) -> str:
    """Give the text of a template of this folder; what it names and is not given is an error."""
    return _environment().get_template(template).render(**values)


@contextmanager
def ready(template: str) -> Iterator[None]:
    """Load a template while the body waits for what will stand in it: the first time it takes its time."""
    if template in _loaded:
        yield
        return
    loader = threading.Thread(target=_load, args=(template,))
    loader.start()
    try:
        yield
    finally:
        loader.join()


@cache
def asset(name: str) -> bytes | None:
    """Give the style sheet or the script; None for any other name."""
    return (_FOLDER / name).read_bytes() if name in ASSETS else None


@cache
def asset_version(name: str) -> str:
    """Give what changes with the content of an asset: its address carries it."""
    return codec.digest(asset(name) or b"")[:16]


def portal_link(arm_host: str | None, path: str) -> str | None:
    """Give where the Azure portal shows a resource; None for a cloud whose portal is not known."""
    portal = _PORTALS.get((arm_host or "").lower())
    return None if portal is None else f"https://{portal}/#@/resource{quote(path, safe='/')}"


def moment(at: datetime) -> str:
    """Give a time for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(duration: timedelta) -> str:
    """Give a duration for people, in its two largest units."""
    seconds = duration.total_seconds()
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 10:
        return f"{sign}{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{sign}{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest} s" if rest else f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min" if minutes else f"{sign}{hours} h"
    days, hours = divmod(hours, 24)
    return f"{sign}{days} d {hours} h" if hours else f"{sign}{days} d"


def _load(template: str) -> None:
    for name in ("base.html", "parts.html", template):
        _environment().get_template(name)
    _loaded.add(template)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - cold starts show no page

    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "moment": moment,
        "span": span,
        "literal": _literal,
    }
    made.globals |= {"asset_version": asset_version}
    return made


def _shown(value: object) -> object:
    """Make every text literal that a template puts out; what another template made has been through here."""
    return _literal(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _literal(value: object, most: int = _LONGEST) -> str:
    return literal(str(value), most=most)
