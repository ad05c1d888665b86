"""What others did while the incident was open, by what differs between one look at the world and the next."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from local.recasting.record import Recorded, Seen, Sent
from remediations.model import (
    Absent,
    Access,
    Candidate,
    Found,
    Quota,
    Reading,
    Registry,
    ResourceId,
    ResourceState,
    Status,
    Surroundings,
)

type Plain = dict[str, Any]

_WRITES = {"PUT": "put deployment", "DELETE": "delete deployment", "POST": "post */resyncKeys"}
_READS = {
    "access": "get role-assignments",
    "registry": "get registry",
    "resource": "get deployment",
    "candidates": "get deployment-metrics",
}
_ASKED = "get permissions"  # read right before people are asked
_LEFT = 10  # percent of the traffic, where only that there was some is on record


class _Look(Struct, frozen=True):
    """The last reading of one thing, and where in the walk it was made."""

    reading: Reading[Any]
    after: int = 0
    is_answered: bool = False


def meanwhile(recorded: Recorded, notes: list[str]) -> Iterator[Plain]:
    """Give the happenings of a world file that lead to what was seen later."""
    first = _readings(recorded.evidence.resource, recorded.evidence.surroundings)
    known = {kind: _Look(reading) for kind, reading in first.items()}
    found: list[Plain] = []
    for seen in recorded.seen:
        for kind, reading in _readings(seen.resource, seen.surroundings).items():
            old = known[kind]
            if isinstance(reading, Found | Absent):
                found += _differences(recorded, kind, old, reading, seen)
                known[kind] = _Look(reading, seen.after, seen.is_answered)
        if _is_freed(recorded, seen):
            notes.append("the cores that others freed while it was open: who had them is not on record")
    found += _given_traffic(recorded, notes)
    if found:
        notes.append("when exactly others did what they did while it was open, and what they wrote")
    yield from found


def _readings(resource: Reading[ResourceState], around: Surroundings) -> dict[str, Reading[Any]]:
    return {
        "access": around.access,
        "registry": around.registry,
        "resource": resource,
        "candidates": around.candidates,
    }


def _differences(
    recorded: Recorded, kind: str, old: _Look, reading: Found[Any] | Absent, seen: Seen
) -> Iterator[Plain]:
    if not isinstance(old.reading, Found):
        return
    ours, when = recorded.accepted[: seen.after], _when(recorded, kind, old, seen)
    match kind:
        case "access" if isinstance(reading, Found):
            yield from _roles(old.reading.value, reading.value, ours, when)
        case "registry":
            yield from _registry(old.reading.value, reading, when)
        case "resource" if recorded.incident.resource.deployment is not None and not recorded.incident.is_scoring:
            yield from _resource(recorded, old.reading.value, reading, when)
        case "candidates" if isinstance(reading, Found):
            yield from _candidates(recorded, old.reading.value, reading.value, ours, when)


def _roles(old: tuple[Access, ...], new: tuple[Access, ...], ours: tuple[Sent, ...], when: Plain) -> Iterator[Plain]:
    lacked = {_key(access) for access in old if access.held is not True}
    for access in new:
        by_us = any(one.path.lower().startswith(f"{access.scope.lower()}/") for one in ours)
        if access.held is True and _key(access) in lacked and not by_us:
            given = {"principal": access.identity.path, "role": access.role_name, "scope": access.scope}
            yield {"do": "assign-role", **when, **given}


def _registry(old: Registry, reading: Found[Registry] | Absent, when: Plain) -> Iterator[Plain]:
    if isinstance(reading, Absent):
        yield {"do": "delete-registry", **when}
    elif reading.value.admin_user is not None and reading.value.admin_user is not old.admin_user:
        yield {"do": "admin-user", **when, "enabled": reading.value.admin_user}


def _resource(
    recorded: Recorded, old: ResourceState, reading: Found[ResourceState] | Absent, when: Plain
) -> Iterator[Plain]:
    named = _named(recorded, recorded.incident.resource)
    if isinstance(reading, Absent):
        if not any(one.is_rerun and one.method == "DELETE" for one in recorded.accepted):
            yield {"do": "delete", **when, **named}
    elif reading.value.last_modified_at != old.last_modified_at and reading.value.modified_by_us is not True:
        yield {"do": "put", **when, **named}


def _candidates(
    recorded: Recorded,
    old: tuple[Candidate, ...],
    new: tuple[Candidate, ...],
    ours: tuple[Sent, ...],
    when: Plain,
) -> Iterator[Plain]:
    later = {one.resource.key: one for one in new}
    deleted = {one.path.lower() for one in ours if one.method == "DELETE"}
    for one in old:
        if one.resource.key == recorded.incident.resource.key:
            continue
        named, now = _named(recorded, one.resource), later.get(one.resource.key)
        if now is None:
            if one.resource.key not in deleted:
                yield {"do": "delete", **when, **named}
        elif now.state.last_modified_at != one.state.last_modified_at and now.state.modified_by_us is not True:
            yield {"do": "put", **when, **named}
        elif now.requests == Found(value=True) and one.requests != Found(value=True):
            yield {"do": "request", **when, **named}


def _given_traffic(recorded: Recorded, notes: list[str]) -> Iterator[Plain]:
    """Give the traffic that made Azure refuse a deletion; it changed after our last look, so no look shows it."""
    candidates = recorded.evidence.surroundings.candidates
    for one in recorded.sent:
        is_refused = one.status in {Status.REFUSED, Status.REJECTED} and "it has traffic" in one.words
        if one.method != "DELETE" or not is_refused or not isinstance(candidates, Found):
            continue
        victim = ResourceId.parse(one.path)
        shares = next((dict(each.endpoint.traffic) for each in candidates.value if each.resource == victim), {})
        most = max(shares, key=lambda name: shares[name], default=None)
        taken = 100 if most is None else min(_LEFT, shares[most])
        traffic = {name: share - taken * (name == most) for name, share in shares.items()}
        notes.append(f"how much traffic {victim.label} was given")
        when = f"get */onlineEndpoints/{victim.endpoint} by medic"
        traffic[str(victim.deployment)] = taken
        yield {"do": "traffic", "when": when, "endpoint": victim.endpoint, "traffic": traffic}


def _is_freed(recorded: Recorded, seen: Seen) -> bool:
    """Tell whether more cores had become free than by our own deletions."""
    old, new = recorded.evidence.surroundings.quota, seen.surroundings.quota
    if not isinstance(old, Found) or not isinstance(new, Found):
        return False
    before: Quota = old.value
    candidates = recorded.evidence.surroundings.candidates
    deleted = {one.path.lower() for one in recorded.accepted[: seen.after] if one.method == "DELETE"}
    listed = candidates.value if isinstance(candidates, Found) else ()
    ours = sum(one.cores for one in listed if one.resource.key in deleted)
    return new.value.used < before.used - ours


def _when(recorded: Recorded, kind: str, old: _Look, seen: Seen) -> Plain:
    """Give when something came about between two looks: right after a write of ours, or after a read of it."""
    if seen.after > old.after:
        writes = [_write(one) for one in recorded.accepted[: seen.after]]
        trigger, number = writes[-1], writes.count(writes[-1])
    elif seen.is_answered and not old.is_answered:
        trigger, number = _ASKED, 1
    else:
        access = recorded.evidence.surroundings.access
        is_many = kind == "access" and isinstance(access, Found)  # one list for each right
        trigger, number = _READS[kind], len(access.value) if is_many and isinstance(access, Found) else 1
    return {"when": f"{trigger} by medic"} | ({"nth": number} if number > 1 else {})


def _write(one: Sent) -> str:
    return "put role-assignment" if "/roleAssignments/" in one.path else _WRITES[one.method]


def _key(access: Access) -> tuple[str, str, str]:
    return access.identity.path.lower(), access.need, access.scope.lower()


def _named(recorded: Recorded, resource: ResourceId) -> Plain:
    is_elsewhere = resource.workspace.lower() != recorded.incident.resource.workspace.lower()
    endpoint = f"{resource.workspace}/{resource.endpoint}" if is_elsewhere else resource.endpoint
    return {"endpoint": endpoint, "deployment": resource.deployment}
