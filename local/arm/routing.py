"""What a row of the route table is and what its handler gets, and how lists are paged."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, structs

from local.arm.faults import Answer, Request
from local.arm.resources import PROVIDER, Call, Json, Refusal, Target

if TYPE_CHECKING:
    from local.arm.models import World

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{resource_group}"
WORKSPACE = f"{GROUP}/providers/{PROVIDER}/workspaces/{{workspace}}"
ENDPOINT = WORKSPACE + "/onlineEndpoints/{endpoint}"
DEPLOYMENT = ENDPOINT + "/deployments/{deployment}"
LOCATION = f"{SUBSCRIPTION}/providers/{PROVIDER}/locations/{{location}}"

_NOWHERE = Target(subscription="", resource_group="", workspace="")


class Ask(Struct, frozen=True, kw_only=True):
    """A request that found its route: what a handler gets."""

    world: World
    call: Call
    request: Request
    route: Route
    names: dict[str, str]
    versions_ago: int = 0

    @property
    def target(self) -> Target:
        """The resource that the path names."""
        known = {name: self.names[name] for name in structs.asdict(_NOWHERE) if name in self.names}
        return structs.replace(_NOWHERE, **known)

    def json(self) -> Any:
        """The body; a Refusal (400) if it is not JSON. An empty body is None."""
        if not self.request.body:
            return None
        try:
            return msgspec.json.decode(self.request.body)
        except msgspec.DecodeError as error:
            raise Refusal(400, "InvalidRequestContent", f"The request content was invalid: {error}") from error

    def query(self, name: str) -> str | None:
        """A query parameter; names without case."""
        found = {key.lower(): value for key, value in self.request.query.items()}
        return found.get(name.lower())


class Route(Struct, frozen=True):
    """One row of the table.

    Attributes:
        template: ``{name}`` is one part of a path, ``{name:path}`` any number of them.
        action: What RBAC calls it; reads are authorized by the simulator, writes by the world. Empty: the handler says,
            if any right is needed.
        is_open: It is not Resource Manager: no api-version, no ARM token, and a POST is no write.
    """

    method: str
    name: str
    template: str
    action: str
    handler: Callable[[Ask], Answer]
    is_open: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The names in the path, if it is this route's."""
        if method != self.method:
            return None
        found = _pattern(self.template).fullmatch(path.rstrip("/"))
        return found.groupdict() if found else None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    many = re.sub(r"\\\{(\w+):path\\\}", r"(?P<\1>.+)", re.escape(template))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", many), re.IGNORECASE)


def page(ask: Ask, rows: list[Json]) -> Answer:
    """One page of a list sorted by id; the token is the last id seen, so that deletions shift nothing."""
    return page_of(ask, rows, lambda row: str(row["id"]).lower(), lambda row: row)


def page_of[T](ask: Ask, things: Sequence[T], key: Callable[[T], str], body: Callable[[T], Json]) -> Answer:
    """The same of things sorted by ``key``; only those on the page are given a body."""
    top = ask.query("$top")
    size = min(int(top), ask.world.seed.page_size) if top and top.isdecimal() and int(top) else ask.world.seed.page_size
    token = ask.query("$skipToken")
    seen = opened(token) if token else None
    left = [thing for thing in things if seen is None or key(thing) > seen]
    link = next_link(ask, key(left[size - 1])) if len(left) > size else None
    return Answer(status=200, body={"value": [body(thing) for thing in left[:size]], "nextLink": link})


def next_link(ask: Ask, last: str) -> str:
    """The URL of the page after the one that ended with ``last``."""
    token = base64.urlsafe_b64encode(last.encode()).decode()
    kept = {name: value for name, value in ask.request.query.items() if name.lower() != "$skiptoken"}
    query = urlencode(kept | {"$skipToken": token}, safe="$", quote_via=quote)
    return f"{ask.world.base_url}{ask.request.path}?{query}"


def opened(token: str) -> str:
    """What a ``$skipToken`` of ours holds."""
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise Refusal(400, "BadRequest", "The $skipToken is invalid.") from error
