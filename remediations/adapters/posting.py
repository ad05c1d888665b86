"""One POST to a URL that is itself a secret, and what is made of an answer.

By the standard library: the clients above it write the path and the query of what they ask to logs (urllib3, at debug
level) and to traces (OpenTelemetry's instrumentations), and such a URL holds its key there. Redirects are not followed,
and the body of an answer is not read.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from remediations.adapters.arm import USER_AGENT, retry_after
from remediations.ports import Delivery

WITHIN: Final = timedelta(seconds=10)
_TO_CONNECT: Final = 0.25  # of that, for each address of the host and for TLS
_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "User-Agent": USER_AGENT}
_WHY: Final = {
    400: "it does not understand the message",
    401: "it does not permit us",
    403: "it does not permit us",
    404: "there is nothing at this address",
    410: "there is nothing at this address any more",
    413: "the message is too large for it",
}


def post(url: str, content: bytes, *, fix: str, within: timedelta = WITHIN) -> Delivery:
    """Send JSON, once.

    Args:
        fix: What to do where the answer is that it never will be taken.
        within: How long it may take to connect and to be answered.
    """
    parts = urlsplit(url)
    until = time.monotonic() + within.total_seconds()
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = kind(parts.hostname or "", parts.port, timeout=within.total_seconds() * _TO_CONNECT)
    try:
        with closing(connection):
            connection.connect()
            connection.sock.settimeout(max(0.001, until - time.monotonic()))
            connection.request("POST", target, content, _HEADERS)
            answer = connection.getresponse()
            return delivery_of(answer.status, {name.lower(): value for name, value in answer.getheaders()}, fix)
    except (OSError, HTTPException, UnicodeError) as error:  # the text of some holds the URL
        return Delivery(taken=False, words=f"no answer: {type(error).__name__}")


def delivery_of(status: int, headers: Mapping[str, str], fix: str) -> Delivery:
    """Give what a status means for a message: taken, to be tried again, or never to be taken."""
    if 200 <= status < 300:
        return Delivery(taken=True, words=f"answered {status}")
    if status in (408, 429) or status >= 500:
        wait = retry_after(headers)
        asks = "" if wait is None else f": it asks us to wait {wait.total_seconds():.0f} s"
        return Delivery(taken=False, words=f"answered {status}{asks}", retry_after=wait)
    why = "it redirects, which is not followed" if 300 <= status < 400 else _WHY.get(status, "it does not take this")
    return Delivery(taken=None, words=f"answered {status}: {why}. {fix}")
