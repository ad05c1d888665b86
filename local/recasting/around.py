"""What lies around a failed deployment, as a world file writes it: workspace, registry, roles and quota."""

import re

from local.arm.schema import VmSize, WorldSeed, plain_workspace
from local.recasting.deployments import HIDDEN, PLAIN_TYPE, Plain, age, filled, is_same, value
from local.recasting.failing import Law, asset, error, was_rejected
from local.recasting.record import Recorded
from local.rehearsal import TIME_SCALE
from remediations.model import Absent, Access, End, Found, Image, Registry, Unknown

OTHER_TYPE = "Standard_E4s_v3"
SIZES = {size.name.lower(): size for size in WorldSeed().vm_sizes}
_NO_NETWORK = "ContainerRegistryNetworkUnreachable"
_SAID_BY_LAW = frozenset({_NO_NETWORK, "ContainerRegistryNotFound"})
_FAMILY = re.compile(r"(?P<head>standard)?(?P<middle>.+?)(?:family)?", re.IGNORECASE)
_ON_CONDITION = re.compile(r"(?P<role>.+) on .+? has a condition")
# After a grant it is run again after 2, 7 and 17 minutes: so many seconds of a rehearsal may it take to be effective.
_EFFECTIVE_S = (0.0, 270 / TIME_SCALE, 600 / TIME_SCALE)
_NEVER_S = 3600.0
_FRESH_S = 1.0


def workspace(recorded: Recorded) -> Plain:
    """Give what is particular about the workspace."""
    place, own = value(recorded.evidence.surroundings.workspace), recorded.incident.resource
    other: Plain = {}
    if place is not None:
        plain = plain_workspace(own.workspace, "", own.resource_group_path)["properties"]
        named = {"containerRegistry": place.registry, "storageAccount": place.storage}
        other = {name: path for name, path in named.items() if not is_same(path, plain[name])}
    model = asset(recorded, "model") if isinstance(recorded.evidence.surroundings.model, Absent) else None
    return filled(
        {
            "spec": {"properties": other} if other else {},
            "diagnose": _diagnose(recorded),
            "environments": _environments(recorded),
            "missing_models": [] if model is None else [model],
        }
    )


def registry(recorded: Recorded, by_law: Law | None, notes: list[str]) -> list[Plain]:
    """Give the workspace's registry, if anything about it is not as usual."""
    place, shown = value(recorded.evidence.surroundings.workspace), recorded.evidence.surroundings.registry
    if place is None or place.registry is None:
        return []
    own, parts = recorded.incident.resource, place.registry.split("/")
    odd = {"absent": True} if isinstance(shown, Absent) else {}
    if isinstance(shown, Found):
        odd = _odd(recorded, shown.value, by_law, notes)
    where = {
        "subscription": None if is_same(parts[2], own.subscription) else parts[2],
        "resource_group": None if is_same(parts[4], own.resource_group) else parts[4],
    }
    return [{"name": parts[-1], **filled(where), **odd}] if odd else []  # an empty map of images is not none


def roles(recorded: Recorded, by_law: Law | None, notes: list[str]) -> Plain:
    """Give the role assignments of the endpoint's identities, and how long new ones take."""
    found, recent = value(recorded.evidence.surroundings.access) or (), fresh(recorded)
    if not found:
        return {}
    assignments = [
        assignment for access in found if access not in recent for assignment in _assignment(recorded, access, notes)
    ]
    given: Plain = {"role_assignments": assignments}
    in_vain = sum(one.is_rerun for one in recorded.accepted) - (recorded.ended.end is End.REPAIRED)
    if by_law in {"roles", "fresh role"} and (in_vain > 0 or recent):
        waits = _EFFECTIVE_S[min(max(in_vain, 0), len(_EFFECTIVE_S) - 1)]
        waits = _NEVER_S if in_vain > 0 and recorded.ended.end is not End.REPAIRED else waits
        given["role_propagation_seconds"] = max(waits, _FRESH_S) if recent else waits
        notes.append("how long a role took to be effective, but that it outlasted our tries that failed")
    if any("RoleAssignmentLimitExceeded" in one.codes for one in recorded.sent):
        given["assignments_used"] = WorldSeed().assignment_limit - len(assignments)
    return given


def fresh(recorded: Recorded) -> list[Access]:
    """Give the role that was assigned so shortly before that it was not effective yet."""
    held = [one for one in value(recorded.evidence.surroundings.access) or () if one.held and one.since is not None]
    if recorded.cause != "role-not-effective" or not held:
        return []
    return [max(held, key=lambda one: one.since or recorded.opened_at)]


def assigned(recorded: Recorded, access: Access) -> Plain:
    """Give who holds which role where, as a world file names them."""
    place, own = value(recorded.evidence.surroundings.workspace), recorded.incident.resource
    scope = access.scope
    if place is not None:
        scope = "registry" if is_same(scope, place.registry) else "storage" if is_same(scope, place.storage) else scope
    return {
        "principal": identity(own.resource_group_path, access.identity.path),
        "role": access.role_name,
        "scope": scope,
    }


def identity(group: str, path: str) -> str:
    """Give an identity by its name if it lies in that group, else by its id."""
    return path.rpartition("/")[2] if path.lower().startswith(f"{group}/providers/".lower()) else path


def usages(recorded: Recorded, by_law: Law | None, notes: list[str]) -> Plain:
    """Give the quota, and the machine types that it counts if the simulator has others."""
    reading = recorded.evidence.surroundings.quota
    if not isinstance(reading, Found):
        is_unlisted = isinstance(reading, Unknown) and "no row for" in reading.reason
        return {"usages_missing_families": True} if is_unlisted else {}
    quota = reading.value
    named = _FAMILY.fullmatch(quota.family)
    head, middle = (named["head"], named["middle"]) if named is not None else (None, quota.family)
    family = f"{'Standard ' if head else ''}{middle} Family Cluster Dedicated vCPUs"
    rows = [
        {"name": family, "used": quota.used, "limit": _limit(quota.limit)},
        {
            "name": "Total Cluster Dedicated Regional vCPUs",
            "used": quota.total_used,
            "limit": _limit(quota.total_limit),
        },
    ]
    is_refused = by_law == "quota" and was_rejected(recorded)
    return filled(
        {
            "usages": rows,
            "quota_refuses": "request" if is_refused else None,
            "vm_sizes": _sizes(recorded, notes),
        }
    )


def _diagnose(recorded: Recorded) -> Plain:
    """Give what the workspace's diagnosis found, but for what the simulator finds itself as long as it is so."""
    found: Plain = {}
    for fault in value(recorded.evidence.surroundings.network) or ():
        area, _, rest = fault.partition(": ")
        code, _, message = rest.partition(": ")
        if code not in _SAID_BY_LAW:
            found.setdefault(area, []).append({"code": code, "level": "Warning", "message": message})
    return found


def _environments(recorded: Recorded) -> Plain:
    named = asset(recorded, "environment")
    if named is None:
        return {}
    match recorded.evidence.surroundings.image:
        case Found(image):
            inside = image.reference.partition("/")[2]
            if image.in_registry and inside.replace(":", "/") == named:
                return {}
            return {named: {"image": f"{{registry}}/{inside}" if image.in_registry else image.reference}}
        case Absent():
            return {named: {"missing": True}}
        case Unknown(reason) if "it is built" in reason:
            return {named: {"conda": True}}
    return {}


def _odd(recorded: Recorded, shown: Registry, by_law: Law | None, notes: list[str]) -> Plain:
    odd: Plain = {}
    faults = " ".join(value(recorded.evidence.surroundings.network) or ())
    if shown.admin_user is False:
        odd["admin_user"] = False
    if shown.is_abac:
        odd["role_mode"] = "abac"
    odd |= _images(recorded, value(recorded.evidence.surroundings.image), by_law, notes)
    if shown.keys_changed_at is not None:
        odd["keys_regenerated"] = age(recorded, shown.keys_changed_at)
    if _NO_NETWORK in faults or (recorded.cause == "acr-firewall" and by_law == "keys"):
        odd |= {"unreachable": True, "pullers": None}
    elif (by_law == "keys") is (shown.keys_changed_at is None):
        odd["desynchronised"] = by_law == "keys"
    return {name: item for name, item in odd.items() if item is not None}


def _images(recorded: Recorded, image: Image | None, by_law: Law | None, notes: list[str]) -> Plain:
    if image is None or not image.in_registry:
        return {}
    if isinstance(image.manifest, Unknown):
        return {"pullers": []}
    if not isinstance(image.manifest, Absent) or by_law not in {"image", "roles"}:
        return {}
    text = error(recorded, notes)[1].lower()
    speaks_of_it = "manifest" in text or "not found" in text
    return {"images": {}} | ({} if speaks_of_it else {"absent_tag_text": "pull-permission"})


def _assignment(recorded: Recorded, access: Access, notes: list[str]) -> list[Plain]:
    """Give the assignment that gives a right, or may give it; none if none does."""
    one = assigned(recorded, access)
    if access.since is not None:
        one["age"] = age(recorded, access.since)
    on_condition = _ON_CONDITION.fullmatch(access.words)
    if access.held is None and on_condition is not None:
        notes.append(f"the condition of {on_condition['role']}; that there is one is on record")
        return [one | {"role": on_condition["role"], "condition": HIDDEN, "condition_fits": False}]
    if access.held is not True:
        return []
    if "(through a group)" in access.words or not access.words.startswith(access.role_name):
        notes.append(f"by which assignment {one['principal']} held {access.role_name}: {access.words}")
    return [one]


def _sizes(recorded: Recorded, notes: list[str]) -> list[Plain]:
    """Give the machine types of this world; none if the simulator's own are the same."""
    quota = value(recorded.evidence.surroundings.quota)
    if quota is None:
        return []
    cores = {quota.instance_type: quota.cores_each}
    for one in value(recorded.evidence.surroundings.candidates) or ():
        if one.state.instance_type and one.state.capacity:
            cores[one.state.instance_type] = one.cores // -(-one.state.capacity * 6 // 5)
    known = {name: (size.family, size.cores) for name, size in SIZES.items()}
    if all(known.get(name.lower()) == (quota.family, number) for name, number in cores.items()):
        return []
    notes.append("memory of the machine types")
    own = [VmSize(name=name, family=quota.family, cores=number, memory_gb=0) for name, number in cores.items()]
    sizes = {size.name.lower(): size for size in (SIZES[PLAIN_TYPE.lower()], SIZES[OTHER_TYPE.lower()], *own)}
    fields = ("name", "family", "cores", "memory_gb")
    return [{name: getattr(size, name) for name in fields} for size in sizes.values()]


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit
