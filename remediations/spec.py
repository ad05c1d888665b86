"""The body of a re-run: rebuilt from what GET shows, or taken from CI, and compared afterwards. Pure.

Follows the field visibility of api-version 2024-10-01: `id`, `name`, `type`, `systemData`, `provisioningState`, the
URIs of an endpoint and the principals of its identities are the service's; the rest is sent as it came, durations and
unknown fields untouched, since a field that is left out is a change of production.
https://learn.microsoft.com/rest/api/azureml/online-deployments/create-or-update
"""

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from remediations import codec
from remediations.codec import mapping
from remediations.model import Json

MAX_SPEC_BYTES = 262_144
_SENT = ("location", "tags", "kind", "sku", "identity", "properties")
_SERVICE_OWNED = frozenset({"provisioningstate", "scoringuri", "swaggeruri", "keys"})
_SERVICE_PROPERTY = re.compile(r"azureasyncoperationuri|azureml\..*", re.IGNORECASE)
_USER_MAPS = frozenset({"environmentvariables", "tags", "properties"})
_MASK = re.compile(r"\*{3,}|<(masked|redacted|hidden|secret)>|\[(masked|redacted|hidden)\]", re.IGNORECASE)
_REQUIRED = {
    "deployment": ("location", "properties.endpointComputeType"),
    "managed": ("sku.name", "sku.capacity", "properties.instanceType"),
    "endpoint": ("location", "properties.authMode"),
}


class Spec(Struct, frozen=True):
    """A body that can be PUT. It may hold secrets: it stays in memory, its digest goes on."""

    body: dict[str, Json]

    @property
    def digest(self) -> str:
        return codec.digest_of(self.body)


class NotRebuildable(Struct, frozen=True):
    """Why no body can be rebuilt without loss."""

    words: str


def rebuild(shown: Mapping[str, Json], *, is_endpoint: bool) -> Spec | NotRebuildable:
    """Give the PUT body that a GET stands for.

    A value that Azure masked, or a null where a person's own value belongs, cannot be sent back: refused. A null in
    one of the service's optional fields means that it is not set, and is left out.
    """
    kept = {name: shown[name] for name in _SENT if shown.get(name) is not None}
    body = _without_nulls(kept, path="")
    if isinstance(body, NotRebuildable):
        return body
    cleaned = _cleaned(body)
    for path in _required(cleaned, is_endpoint=is_endpoint):
        if _at(cleaned, path) in (None, "", {}):
            return NotRebuildable(f"{path} is missing")
    if is_endpoint and any(mapping(_at(cleaned, f"properties.{name}")) for name in ("traffic", "mirrorTraffic")):
        return NotRebuildable("the endpoint has traffic: it is not one that was being created")
    return Spec(cleaned)


def differences(sent: Json, shown: Json, path: str = "") -> Iterator[str]:
    """Give the paths at which `shown` lacks what was sent. What the service adds is no difference."""
    if isinstance(sent, dict):
        there = {name.lower(): value for name, value in mapping(shown).items()}
        for name, value in sent.items():
            yield from differences(value, there.get(name.lower()), f"{path}.{name}" if path else name)
    elif isinstance(sent, list):
        others = shown if isinstance(shown, list) else []
        if len(sent) != len(others):
            yield path
            return
        for number, (one, other) in enumerate(zip(sent, others, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _equal(sent, shown):
        yield path


def environment_names(shown: Mapping[str, Json]) -> tuple[str, ...]:
    """Give the names of the environment variables, sorted; never their values."""
    return tuple(sorted(mapping(_at(shown, "properties.environmentVariables"))))


def _without_nulls(value: Json, path: str) -> dict[str, Json] | NotRebuildable:
    problems: list[str] = []

    def visit(node: Json, path: str, *, is_users: bool) -> Json:
        if isinstance(node, dict):
            kept: dict[str, Json] = {}
            for name, item in node.items():
                here = f"{path}.{name}" if path else name
                if item is None:
                    if is_users:
                        problems.append(f"{here} is null")
                    continue
                kept[name] = visit(item, here, is_users=name.lower() in _USER_MAPS and bool(path or name == "tags"))
            return kept
        if isinstance(node, list):
            problems.extend(f"{path}[{number}] is null" for number, item in enumerate(node) if item is None)
            return [visit(item, f"{path}[{number}]", is_users=False) for number, item in enumerate(node)]
        if isinstance(node, str) and _MASK.search(node):
            problems.append(f"{path} is masked")
        return node

    cleaned = visit(value, path, is_users=False)
    if problems:
        return NotRebuildable("; ".join(problems))
    return cleaned if isinstance(cleaned, dict) else {}


def _cleaned(body: dict[str, Json]) -> dict[str, Json]:
    properties = {
        name: value for name, value in mapping(body.get("properties")).items() if name.lower() not in _SERVICE_OWNED
    }
    if isinstance(own := properties.get("properties"), dict):
        kept = {name: value for name, value in own.items() if not _SERVICE_PROPERTY.fullmatch(name)}
        properties = {name: value for name, value in properties.items() if name != "properties"}
        if kept:
            properties["properties"] = kept
    cleaned: dict[str, Json] = {**body, "properties": properties}
    if isinstance(identity := body.get("identity"), dict):
        assigned = mapping(identity.get("userAssignedIdentities"))
        cleaned["identity"] = {"type": identity.get("type")} | (
            {"userAssignedIdentities": {name: {} for name in assigned}} if assigned else {}
        )
    return cleaned


def _required(body: Mapping[str, Json], *, is_endpoint: bool) -> tuple[str, ...]:
    if is_endpoint:
        return _REQUIRED["endpoint"]
    managed = str(_at(body, "properties.endpointComputeType") or "Managed").lower() == "managed"
    return _REQUIRED["deployment"] + (_REQUIRED["managed"] if managed else ())


def _at(body: Mapping[str, Json], path: str) -> Json:
    found: Json = dict(body)
    for name in path.split("."):
        found = mapping(found).get(name)
    return found


def _equal(one: Json, other: Json) -> bool:
    if isinstance(one, str) and isinstance(other, str) and one.startswith("/subscriptions/"):
        return one.lower() == other.lower()
    return one == other
