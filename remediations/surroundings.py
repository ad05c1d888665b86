"""Look: Evidence -> Surroundings. What lies around a failed deployment, read only as far as causes and actions ask.

Every reading is found, absent or unknown, with words; what is odd is unknown. Quota and idle deployments are read in
`capacity`.

https://learn.microsoft.com/rest/api/azureml/workspaces/get
https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest
https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace

from remediations import capacity
from remediations.codec import mapping, moment, text
from remediations.enrichment import ACTIVITY_API_VERSION, API_VERSION, activity_row
from remediations.model import (
    Absent,
    Access,
    Area,
    Caller,
    Evidence,
    Found,
    Identity,
    Image,
    Json,
    Reading,
    Registry,
    ResourceState,
    Surroundings,
    Unknown,
    Workspace,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads
from remediations.redaction import redact

REGISTRY_API_VERSION = "2025-11-01"
ROLES_API_VERSION = "2022-04-01"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
_KEYS_LOOK_BACK = timedelta(days=7)
_MAX_ROWS, _MAX_ASSIGNMENTS, _MAX_DEFINITIONS = 500, 4000, 20
_DIAGNOSED = ("containerRegistry", "storageAccount", "dnsResolution", "nsg", "udr", "resourceLock", "others")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_PASSES = re.compile(r"no answer|no token|throttled|answered 5\d\d")

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PART = r"[A-Za-z0-9_][A-Za-z0-9._() -]*"
_GROUP = rf"/subscriptions/{_PART}/resourceGroups/{_PART}"
_REGISTRY = re.compile(rf"{_GROUP}/providers/Microsoft\.ContainerRegistry/registries/{_PART}", re.IGNORECASE)
_STORAGE = re.compile(rf"{_GROUP}/providers/Microsoft\.Storage/storageAccounts/{_PART}", re.IGNORECASE)
_ASSET = re.compile(
    rf"(?:azureml:/?)?(?P<group>{_GROUP})/(?:providers/Microsoft\.MachineLearningServices/)?workspaces/(?P<workspace>{_PART})"
    rf"/(?P<kind>environments|models)/(?P<name>{_PART})/versions/(?P<version>{_PART})",
    re.IGNORECASE,
)
_WORD = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    r"(?:(?P<host>localhost|(?=[^/]*[.:])[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?)/)?"
    rf"(?P<repository>{_WORD}(?:/{_WORD})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)

type _Right = Literal["pull", "pull by repository", "read"]

# What a role definition must allow, by right: a control-plane action or a data action.
_ACTIONS: dict[_Right, tuple[str, str]] = {
    "pull": ("actions", "Microsoft.ContainerRegistry/registries/pull/read"),
    "pull by repository": ("dataActions", "Microsoft.ContainerRegistry/registries/repositories/content/read"),
    "read": ("dataActions", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"),
}
# Built-in roles whose definitions need not be read: each gives this right and neither of the others.
_BUILT_IN: dict[str, tuple[str, _Right]] = {
    ACR_PULL: ("AcrPull", "pull"),
    "8311e382-0749-4cb8-b61a-304f252e45ec": ("AcrPush", "pull"),
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": ("Reader", "pull"),
    "b24988ac-6180-42a0-ab88-20f7382dd24c": ("Contributor", "pull"),
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": ("Owner", "pull"),
    REPOSITORY_READER: ("Container Registry Repository Reader", "pull by repository"),
    "2a1e307c-b015-4ebd-883e-5b7698a07328": ("Container Registry Repository Writer", "pull by repository"),
    "2efddaa5-3f1f-4df3-97df-af3f13818f4c": ("Container Registry Repository Contributor", "pull by repository"),
    BLOB_READER: ("Storage Blob Data Reader", "read"),
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": ("Storage Blob Data Contributor", "read"),
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": ("Storage Blob Data Owner", "read"),
}
_LEAST: dict[_Right, str] = {"pull": ACR_PULL, "pull by repository": REPOSITORY_READER, "read": BLOB_READER}


def look(
    evidence: Evidence, areas: Collection[Area], reads: Reads, *, policy: Policy, now: datetime, own: Caller | None
) -> Surroundings:
    """Give what one round of reads shows of some areas; what was not asked for stays ``not read``.

    Args:
        own: Our identity, to tell our own writes of other deployments from a person's.
    """
    if not areas:
        return Surroundings()
    workspace = _workspace(reads, evidence.incident.resource.workspace_path)
    found = Surroundings(workspace=workspace)
    if Area.MODEL in areas:
        found = replace(found, model=_model(reads, evidence))
    if not {Area.REGISTRY, Area.KEYS, Area.IMAGE, Area.ACCESS}.isdisjoint(areas):
        registry = _then(workspace, "the workspace", lambda known: _registry(reads, known.registry))
        if Area.KEYS in areas and isinstance(registry, Found):
            registry = Found(_with_keys_changed(reads, registry.value, evidence.incident.resource.subscription, now))
        found = replace(found, registry=registry)
    if Area.NETWORK in areas:
        found = replace(found, network=_network(reads, evidence.incident.resource.workspace_path))
    if Area.IMAGE in areas:
        found = replace(found, image=_image(reads, evidence, found.registry))
    if Area.ACCESS in areas:
        access = _then(workspace, "the workspace", lambda known: _access(reads, evidence, known, found.registry))
        found = replace(found, access=access)
    if not {Area.QUOTA, Area.IDLE}.isdisjoint(areas):
        failed = evidence.incident.resource
        sizes = _then(workspace, "the workspace", lambda known: capacity.sizes(reads, failed, known.location))
        quota = capacity.quota(reads, _to_be_deployed(evidence), sizes)
        found = replace(found, quota=quota)
        if Area.IDLE in areas:
            candidates = capacity.candidates(reads, failed, sizes, quota, policy=policy, now=now, own=own)
            found = replace(found, candidates=candidates)
    return found


def with_surroundings(
    evidence: Evidence, areas: Collection[Area], reads: Reads, *, policy: Policy, own: Caller | None
) -> Evidence:
    """Give the evidence with what lies around, and with all that Azure refused us by then."""
    seen = look(evidence, areas, reads, policy=policy, now=evidence.collected_at, own=own)
    return replace(evidence, surroundings=seen, missing_permissions=reads.refused())


def is_complete(surroundings: Surroundings, areas: Collection[Area]) -> bool:
    """Tell whether a later poll could answer nothing more: no wanted read failed for a reason that passes."""
    return not any(_PASSES.search(words) for words in _open(surroundings, areas))


def _open(surroundings: Surroundings, areas: Collection[Area]) -> Iterator[str]:
    """Give the words of everything wanted that is not known."""
    wanted: dict[Area, Reading[Any]] = {
        Area.REGISTRY: surroundings.registry,
        Area.KEYS: surroundings.registry,
        Area.NETWORK: surroundings.network,
        Area.IMAGE: surroundings.image,
        Area.MODEL: surroundings.model,
        Area.ACCESS: surroundings.access,
        Area.QUOTA: surroundings.quota,
        Area.IDLE: surroundings.candidates,
    }
    readings: list[Reading[Any]] = [surroundings.workspace] if areas else []
    readings += [wanted[area] for area in areas]
    if Area.IMAGE in areas and isinstance(surroundings.image, Found):
        readings.append(surroundings.image.value.manifest)
    if Area.IDLE in areas and isinstance(surroundings.candidates, Found):
        readings += [reading for each in surroundings.candidates.value for reading in (each.requests, each.alive)]
    yield from (reading.reason for reading in readings if isinstance(reading, Unknown))
    if Area.ACCESS in areas and isinstance(surroundings.access, Found):
        yield from (access.words for access in surroundings.access.value if access.held is None)


def _then[T, U](reading: Reading[T], what: str, read: Callable[[T], Reading[U]]) -> Reading[U]:
    """Go on with what was found; where nothing was, what lies behind it is unknown."""
    match reading:
        case Found(value):
            return read(value)
        case Absent():
            return Unknown(f"{what} is not there")
        case Unknown(reason):
            return Unknown(f"{what} is not known: {reason}")


def _deployment(evidence: Evidence) -> Reading[ResourceState]:
    return Unknown("it is no deployment") if evidence.incident.resource.deployment is None else evidence.resource


def _to_be_deployed(evidence: Evidence) -> Reading[ResourceState]:
    """Give the deployment as it is to be: where nothing is there, as CI says that it sent it."""
    resource, shown, desired = evidence.incident.resource, _deployment(evidence), evidence.desired
    if not isinstance(desired, Found):
        return Unknown("it was refused at once, and CI sent no spec") if isinstance(shown, Absent) else shown
    wanted = desired.value
    if isinstance(shown, Found):
        live = (shown.value.kind, shown.value.instance_type, shown.value.capacity)
        is_same = live == (wanted.kind, wanted.instance_type, wanted.capacity)
        return shown if is_same else Unknown("the deployment and CI's spec name other machines")
    if isinstance(shown, Unknown):
        return shown
    return Found(
        ResourceState(
            path=resource.path,
            kind=wanted.kind or "Managed",
            provisioning_state="absent",
            instance_type=wanted.instance_type,
            capacity=wanted.capacity,
        )
    )


# ----------------------------------------------------------------------------- workspace, registry, model, image


def _workspace(reads: Reads, path: str) -> Reading[Workspace]:
    reading = reads.get(f"{path}?api-version={API_VERSION}")
    if not isinstance(reading, Found):
        return reading
    shown = mapping(reading.value)
    properties = mapping(shown.get("properties"))
    location = text(shown.get("location"))
    if not location:
        return Unknown("it shows no location")
    named: dict[str, str | None] = {}
    for name, pattern in (("containerRegistry", _REGISTRY), ("storageAccount", _STORAGE)):
        value = properties.get(name)
        if value and not (isinstance(value, str) and pattern.fullmatch(value)):
            return Unknown(f"its {name} is no resource ID: {str(value)[:200]!r}")
        named[name] = value if isinstance(value, str) and value else None
    return Found(
        Workspace(path=path, location=location, registry=named["containerRegistry"], storage=named["storageAccount"])
    )


def _registry(reads: Reads, path: str | None) -> Reading[Registry]:
    if path is None:
        return Absent()
    reading = reads.get(f"{path}?api-version={REGISTRY_API_VERSION}")
    if not isinstance(reading, Found):
        return reading
    properties = mapping(mapping(reading.value).get("properties"))
    login_server, admin_user = text(properties.get("loginServer")), properties.get("adminUserEnabled")
    if not login_server:
        return Unknown("it shows no login server")
    return Found(
        Registry(
            path=path,
            login_server=login_server,
            admin_user=admin_user if isinstance(admin_user, bool) else None,
            role_mode=text(properties.get("roleAssignmentMode")) or None,
        )
    )


def _with_keys_changed(reads: Reads, registry: Registry, subscription: str, now: datetime) -> Registry:
    """Add when its keys were last regenerated, if its subscription is one whose Activity Log is read anyhow.

    This only adds to the evidence: a permission that we lack for nothing else must not stop the rest.
    """
    if registry.path.split("/")[2].lower() != subscription.lower():
        return registry
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - _KEYS_LOOK_BACK, now))
    times = f"eventTimestamp ge '{start}' and eventTimestamp le '{end}'"
    log = reads.get_all(
        f"/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values"
        f"?api-version={ACTIVITY_API_VERSION}&$filter={times} and resourceUri eq '{registry.path}'",
        most=_MAX_ROWS,
    )
    rows = [activity_row(mapping(shown)) for shown in log.value] if isinstance(log, Found) else []
    changes = [
        row.at
        for row in rows
        if row is not None
        and row.status == "Succeeded"
        and row.operation_name.lower().endswith("registries/regeneratecredential/action")
    ]
    return replace(registry, keys_changed_at=max(changes, default=None))


def _network(reads: Reads, workspace: str) -> Reading[tuple[str, ...]]:
    """Ask the workspace to diagnose itself; what is only information is no fault."""
    asked: Json = {"value": {area: {} for area in _DIAGNOSED}}
    reading = reads.ask(f"{workspace}/diagnose?api-version={API_VERSION}", asked)
    if not isinstance(reading, Found):
        return reading
    value = mapping(mapping(reading.value).get("value"))
    if not isinstance(value.get("containerRegistryResults"), list):
        return Unknown("the workspace's diagnosis says nothing of its registry")
    results = value.items()
    found = ((area, mapping(each)) for area, listed in results if isinstance(listed, list) for each in listed)
    return Found(
        tuple(
            f"{area}: {text(shown.get('code'))}: {redact(text(shown.get('message')))[:500]}"
            for area, shown in found
            if text(shown.get("level")) != "Information"
        )
    )


def _model(reads: Reads, evidence: Evidence) -> Reading[str]:
    path = _then(_deployment(evidence), "the deployment", lambda state: _asset(state.model, "models"))
    if not isinstance(path, Found):
        return path
    reading = reads.get(f"{path.value}?api-version={API_VERSION}")
    return path if isinstance(reading, Found) else reading


def _asset(named: str | None, kind: Literal["environments", "models"]) -> Reading[str]:
    """Give the path of an asset of a workspace, by any of the ways in which a deployment names one."""
    if named is None:
        return Unknown(f"the deployment names none of {kind}")
    match = _ASSET.fullmatch(named)
    if match is None or match["kind"].lower() != kind:
        where = "in a registry of assets" if named.lower().startswith("azureml://registries/") else "not in a workspace"
        return Unknown(f"{named[:200]!r} is {where}: it is not looked for there")
    workspace = f"{match['group']}/providers/Microsoft.MachineLearningServices/workspaces/{match['workspace']}"
    return Found(f"{workspace}/{kind}/{match['name']}/versions/{match['version']}")


def _image(reads: Reads, evidence: Evidence, registry: Reading[Registry]) -> Reading[Image]:
    path = _then(_deployment(evidence), "the deployment", lambda state: _asset(state.environment, "environments"))
    if not isinstance(path, Found):
        return path
    reading = reads.get(f"{path.value}?api-version={API_VERSION}")
    if not isinstance(reading, Found):
        return reading
    properties = mapping(mapping(reading.value).get("properties"))
    named = text(properties.get("image"))
    if not named or properties.get("build") or properties.get("condaFile"):
        return Unknown("the environment names no image of its own: it is built")
    match = _IMAGE.fullmatch(named)
    if match is None:
        return Unknown(f"the environment's image is no reference: {named[:200]!r}")
    if isinstance(registry, Unknown):
        return Unknown(f"the registry is not known: {registry.reason}")
    login_server = registry.value.login_server if isinstance(registry, Found) else None
    host = match["host"] or "docker.io"
    if login_server is None or host.lower() != login_server.lower():
        elsewhere = Unknown(f"the image lies on {host}, not in the workspace's registry")
        return Found(Image(reference=named, in_registry=False, manifest=elsewhere))
    wanted = match["digest"] or match["tag"] or "latest"
    manifest = reads.manifest(login_server, match["repository"], wanted)
    return Found(Image(reference=named, in_registry=True, manifest=manifest))


# -------------------------------------------------------------------------------------------------------- access


def _access(
    reads: Reads, evidence: Evidence, workspace: Workspace, registry: Reading[Registry]
) -> Reading[tuple[Access, ...]]:
    endpoint = _then(evidence.endpoint, "the endpoint", Found)
    if not isinstance(endpoint, Found):
        return endpoint
    identities = endpoint.value.identities
    if not identities and "userassigned" in (endpoint.value.identity or "").lower().replace(" ", ""):
        return Unknown("the endpoint has user-assigned identities and shows none")
    roles = _Roles(reads)
    found: list[Access] = []
    for identity in identities:
        for right, scope, unclear in _needs(workspace, registry):
            reading = roles.access(identity, right, scope, unclear)
            if not isinstance(reading, Found):
                return reading
            found.append(reading.value)
    return Found(tuple(found))


def _needs(workspace: Workspace, registry: Reading[Registry]) -> Iterator[tuple[_Right, str, str | None]]:
    """Give what a deployment needs: the right, where, and why it cannot be told whether it is held, if it cannot."""
    if workspace.registry is not None and not isinstance(registry, Absent):
        is_abac = registry.value.is_abac if isinstance(registry, Found) else None
        if is_abac is not None:
            yield ("pull by repository" if is_abac else "pull"), workspace.registry, None
        else:
            why = registry.reason if isinstance(registry, Unknown) else "it does not show which it honors"
            yield "pull", workspace.registry, f"which roles the registry honors is not known: {why}"
    if workspace.storage is not None:
        yield "read", workspace.storage, None


class _Roles:
    """Role assignments and role definitions, each read once."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._definitions: dict[str, Reading[Json]] = {}

    def access(self, identity: Identity, right: _Right, scope: str, unclear: str | None) -> Reading[Access]:
        """Tell whether an identity holds a right; unknown if its assignments cannot be listed."""
        role = _LEAST[right]
        access = Access(
            identity=identity,
            need="read" if right == "read" else "pull",
            role=role,
            role_name=_BUILT_IN[role][0],
            scope=scope,
            held=None,
            words=unclear or "",
        )
        if unclear is not None:
            return Found(access)
        principal = identity.principal_id or ""
        if not _GUID.fullmatch(principal):
            return Found(replace(access, words=f"the principal of {_last(identity.path)} is not shown"))
        listed = self._reads.get_all(
            f"{scope}/providers/Microsoft.Authorization/roleAssignments"
            f"?api-version={ROLES_API_VERSION}&$filter=assignedTo('{principal}')",
            most=_MAX_ASSIGNMENTS,
        )
        if not isinstance(listed, Found):
            why = listed.reason if isinstance(listed, Unknown) else "there is no such list"
            return Unknown(f"the role assignments on {_last(scope)} cannot be listed: {why}")
        given: list[tuple[datetime, str]] = []
        open_questions = []
        for shown in listed.value:
            assignment = mapping(mapping(shown).get("properties"))
            held, words = self._given(assignment, right, scope, principal)
            if held:
                given.append((moment(assignment.get("createdOn")) or _LONG_AGO, words))
            if held is None:
                open_questions.append(words)
        if given:
            since, words = min(given)
            return Found(replace(access, held=True, words=words, since=since if since > _LONG_AGO else None))
        if open_questions:
            return Found(replace(access, words=open_questions[0]))
        return Found(replace(access, held=False, words=f"none of {len(listed.value)} role assignments gives it"))

    def _given(
        self, assignment: Mapping[str, Json], right: _Right, scope: str, principal: str
    ) -> tuple[bool | None, str]:
        """Tell whether one assignment gives a right at a scope; None if that is unclear."""
        at, definition = text(assignment.get("scope")), text(assignment.get("roleDefinitionId"))
        role = _last(definition).lower()
        if not at.startswith("/") or not _GUID.fullmatch(role):
            return None, "a role assignment cannot be read"
        is_above, is_below = contains(at, scope), contains(scope, at)
        if not is_above and not is_below:
            return False, ""
        name, gives = self._role(role, right, scope)
        if gives is False:
            return False, ""
        by_group = text(assignment.get("principalId")).lower() != principal.lower()
        words = f"{name} on {_place(at)}{' (through a group)' if by_group else ''}"
        if gives is None:
            return None, f"whether {words} gives it is not known"
        if assignment.get("condition"):
            return None, f"{words} has a condition"
        if not is_above:
            return None, f"{words} covers only a part of it"
        return True, words

    def _role(self, role: str, right: _Right, scope: str) -> tuple[str, bool | None]:
        """Give the name of a role and whether it gives a right; None if that cannot be told."""
        if role in _BUILT_IN:
            name, given = _BUILT_IN[role]
            return name, given == right
        if role not in self._definitions:
            path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{role}?api-version={ROLES_API_VERSION}"
            is_many = len(self._definitions) >= _MAX_DEFINITIONS
            self._definitions[role] = Unknown("too many role definitions") if is_many else self._reads.get(path)
        reading = self._definitions[role]
        properties = mapping(mapping(reading.value).get("properties")) if isinstance(reading, Found) else {}
        name, permissions = text(properties.get("roleName")) or f"role {role}", properties.get("permissions")
        if not isinstance(permissions, list):
            return f"{name} (its definition is {reading_words(reading)})", None
        answers = [_permits(mapping(permission), *_ACTIONS[right]) for permission in permissions]
        return name, True if True in answers else None if None in answers else False


def _permits(permission: Mapping[str, Json], kind: str, action: str) -> bool | None:
    """Tell whether one permission of a role definition allows an action; None if it cannot be read."""
    allowed, denied = permission.get(kind) or [], permission.get(f"not{kind[0].upper()}{kind[1:]}") or []
    if not isinstance(allowed, list) or not isinstance(denied, list):
        return None
    if not all(isinstance(pattern, str) for pattern in (*allowed, *denied)):
        return None
    if not any(_matches(text(pattern), action) for pattern in allowed):
        return False
    if any(_matches(text(pattern), action) for pattern in denied):
        return False
    return None if permission.get("condition") else True


def _matches(pattern: str, action: str) -> bool:
    """Tell whether an action is one of those that a pattern of a role definition names; ``*`` is any text."""
    first, *middle = pattern.lower().split("*")
    rest = action.lower()
    if not middle:
        return first == rest
    *middle, last = middle
    if not rest.startswith(first):
        return False
    rest = rest[len(first) :]
    for part in middle:
        _, mark, rest = rest.partition(part) if part else ("", "*", rest)
        if not mark:
            return False
    return rest.endswith(last)


def contains(outer: str, inner: str) -> bool:
    """Tell whether a scope is another or lies above it; a list at a scope shows only management groups above it."""
    outer = outer.lower().rstrip("/")
    if not outer or outer.startswith("/providers/microsoft.management/managementgroups/"):
        return True
    return f"{inner.lower().rstrip('/')}/".startswith(f"{outer}/")


def _place(scope: str) -> str:
    """Name a scope for people."""
    parts = scope.strip("/").split("/")
    kind = parts[-2].lower() if len(parts) >= 2 else ""
    names = {
        "resourcegroups": "resource group",
        "subscriptions": "subscription",
        "managementgroups": "management group",
    }
    return f"{names[kind]} {parts[-1]}" if kind in names else parts[-1] or "everything"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
