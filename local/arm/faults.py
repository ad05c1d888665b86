"""Things that go wrong on the wire: between a request and its answer, whatever the state of the world.

A fault is an entry under ``faults`` of a world file. It counts the requests that fit it: the first ``after`` pass, the
next ``times`` are hit. A request meets one fault at most, the first in the list that hits it: a list is a sequence.
GROWS: a new fault is one class here and its name in ``AnyFault``. Rests on API.md C and E.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, override

from msgspec import Struct, structs

from local.arm.resources import Json


class Request(Struct, frozen=True, kw_only=True):
    """What came over the wire. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""

    @property
    def who(self) -> str:
        """The name in the bearer token; empty if there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return ""
        if token.startswith("acr-access~"):  # what a registry issues; see registries.py
            return token.split("~")[1]
        return token.removeprefix("sim-") if token.startswith("sim-") else ""


class Answer(Struct, frozen=True, kw_only=True):
    """What goes over the wire.

    Attributes:
        body: JSON; None sends an empty body.
        raw: Sent instead of ``body``.
        wire: ``cut`` drops the connection without an answer, ``half`` in the middle of the body.
        delay: Seconds before it is sent.
    """

    status: int
    body: Json | None = None
    headers: dict[str, str] = {}
    raw: bytes | None = None
    wire: Literal["whole", "half", "cut"] = "whole"
    delay: float = 0.0


class Fault(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base: which requests it hits. Globs without case; ``query`` is matched against ``name=value&...``.

    A page that fails in the middle is an ``error`` with ``query: "*skipToken=*"``.
    """

    method: str = "*"
    path: str = "*"
    query: str = "*"
    principal: str = "*"
    after: int = 0
    times: int | None = 1

    def hits(self, request: Request) -> bool:
        """Count the request if it fits; whether it is hit."""
        query = "&".join(f"{name}={value}" for name, value in sorted(request.query.items()))
        matched = (
            (request.method, self.method),
            (request.path, self.path),
            (query, self.query),
            (request.who, self.principal),
        )
        if self.times == 0 or not all(fnmatchcase(text.lower(), glob.lower()) for text, glob in matched):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def before(self) -> Answer | None:
        """An answer instead of any effect."""

    def spoil(self, answer: Answer) -> Answer:
        """The answer as it arrives; the effect took place."""
        return answer


class Throttle(Fault, kw_only=True, tag="throttle"):
    """429, with Retry-After unless that is null; nothing happened."""

    retry_after: int | None = 1

    @override
    def before(self) -> Answer:
        error = {"code": "TooManyRequests", "message": "The request is being throttled. Try again later."}
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        spent = ("reads", "writes", "deletes")
        headers |= {f"x-ms-ratelimit-remaining-subscription-{kind}": "0" for kind in spent}
        return Answer(status=429, body={"error": error}, headers=headers)


class Failing(Fault, kw_only=True, tag="error"):
    """An error of the service; nothing happened."""

    status: int = 500
    code: str = "ServiceError"
    message: str = "InternalServerError"

    @override
    def before(self) -> Answer:
        error = {"code": self.code, "message": self.message, "details": [], "additionalInfo": []}
        return Answer(status=self.status, body={"error": error})


class Reset(Fault, kw_only=True, tag="reset"):
    """The connection breaks before the request reaches the service; nothing happened."""

    @override
    def before(self) -> Answer:
        return Answer(status=0, wire="cut")


class Silent(Fault, kw_only=True, tag="silent"):
    """Nobody answers for so long, then the connection breaks; nothing happened."""

    seconds: float

    @override
    def before(self) -> Answer:
        return Answer(status=0, wire="cut", delay=self.seconds)


class Lost(Fault, kw_only=True, tag="lost"):
    """The request takes effect, its answer never arrives."""

    @override
    def spoil(self, answer: Answer) -> Answer:
        return structs.replace(answer, wire="cut")


class Late(Fault, kw_only=True, tag="delay"):
    """The answer comes late; the effect took place at once."""

    seconds: float

    @override
    def spoil(self, answer: Answer) -> Answer:
        return structs.replace(answer, delay=self.seconds)


class Truncated(Fault, kw_only=True, tag="truncated"):
    """The connection breaks in the middle of the body."""

    @override
    def spoil(self, answer: Answer) -> Answer:
        return structs.replace(answer, wire="half")


class Malformed(Fault, kw_only=True, tag="malformed"):
    """A complete answer that is not JSON."""

    raw: str = '{"value": [{"id": '

    @override
    def spoil(self, answer: Answer) -> Answer:
        return structs.replace(answer, raw=self.raw.encode())


class EmptyPage(Fault, kw_only=True, tag="empty-page"):
    """A page without rows that still says where the next one is: legal, and easily taken for the end."""

    @override
    def spoil(self, answer: Answer) -> Answer:
        if answer.body is None or "value" not in answer.body:
            return answer
        return structs.replace(answer, body=answer.body | {"value": []})


class Stale(Fault, kw_only=True, tag="stale"):
    """A read shows the resource as it was this many changes ago (404 if it did not exist)."""

    versions: int = 1


AnyFault = Throttle | Failing | Reset | Silent | Lost | Late | Truncated | Malformed | EmptyPage | Stale
