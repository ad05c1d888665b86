"""Role assignments: who may what where, by itself or through its groups, at a scope or above it.

Rests on API.md C1 and ``responses/roleassignment_*.json``; the permissions of the roles are those of Azure's public
list, cut down to what deployments and this project need.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from local.arm.bodies import principal_of, stable_id
from local.arm.faults import Answer
from local.arm.resources import Call, Elsewhere, Json, Refusal, WorldError, stamp
from local.arm.routing import Ask, Route, page_of
from local.arm.schema import RoleAssignmentSeed

if TYPE_CHECKING:
    from local.arm.models import World

PROVIDER = "Microsoft.Authorization"
ASSIGNMENTS = f"{PROVIDER}/roleAssignments"
PULL = "Microsoft.ContainerRegistry/registries/pull/read"
READ_REPOSITORY = "Microsoft.ContainerRegistry/registries/repositories/content/read"
READ_BLOB = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"

_REPOSITORIES = "Microsoft.ContainerRegistry/registries/repositories"
_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_DEFINITION = re.compile(r"(?:/.*)?/providers/Microsoft\.Authorization/roleDefinitions/(?P<guid>[^/]+)", re.IGNORECASE)


class Role(Struct, frozen=True, kw_only=True):
    """A role definition."""

    guid: str
    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    type: str = "BuiltInRole"

    def allows(self, action: str, *, on_data: bool) -> bool:
        """Whether it holds an action, or a data action."""
        granted, taken = (self.data_actions, self.not_data_actions) if on_data else (self.actions, self.not_actions)
        return _any(action, granted) and not _any(action, taken)


def _any(action: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(action.lower(), glob.lower()) for glob in globs)


BUILT_IN = (
    Role(guid="7f951dda-4ed3-4680-a7ca-43fe172d538d", name="AcrPull", actions=(PULL,)),
    Role(
        guid="8311e382-0749-4cb8-b61a-304f252e45ec",
        name="AcrPush",
        actions=(PULL, "Microsoft.ContainerRegistry/registries/push/write"),
    ),
    Role(guid="acdd72a7-3385-48ef-bd42-f606fba81ae7", name="Reader", actions=("*/read",)),
    Role(
        guid="b24988ac-6180-42a0-ab88-20f7382dd24c",
        name="Contributor",
        actions=("*",),
        not_actions=(f"{PROVIDER}/*/Delete", f"{PROVIDER}/*/Write", f"{PROVIDER}/elevateAccess/Action"),
    ),
    Role(guid="8e3af657-a8ff-443c-a75c-2fe8c4bcb635", name="Owner", actions=("*",)),
    Role(
        guid="b93aa761-3e63-49ed-ac28-beffa264f7ac",
        name="Container Registry Repository Reader",
        data_actions=(f"{_REPOSITORIES}/metadata/read", READ_REPOSITORY),
    ),
    Role(
        guid="2a1e307c-b015-4ebd-883e-5b7698a07328",
        name="Container Registry Repository Writer",
        data_actions=(
            f"{_REPOSITORIES}/metadata/read",
            READ_REPOSITORY,
            f"{_REPOSITORIES}/metadata/write",
            f"{_REPOSITORIES}/content/write",
        ),
    ),
    Role(
        guid="2efddaa5-3f1f-4df3-97df-af3f13818f4c",
        name="Container Registry Repository Contributor",
        data_actions=(f"{_REPOSITORIES}/metadata/*", f"{_REPOSITORIES}/content/*"),
    ),
    Role(
        guid="2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        name="Storage Blob Data Reader",
        actions=(f"{_CONTAINERS}/read",),
        data_actions=(READ_BLOB,),
    ),
    Role(
        guid="ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        name="Storage Blob Data Contributor",
        actions=(f"{_CONTAINERS}/delete", f"{_CONTAINERS}/read", f"{_CONTAINERS}/write"),
        data_actions=(f"{_CONTAINERS}/blobs/delete", READ_BLOB, f"{_CONTAINERS}/blobs/write"),
    ),
    Role(
        guid="b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        name="Storage Blob Data Owner",
        actions=(f"{_CONTAINERS}/*",),
        data_actions=(f"{_CONTAINERS}/blobs/*",),
    ),
)


@dataclass(kw_only=True)
class Assignment:
    """A role assignment; ``condition_fits`` is whether its condition lets through what a deployment asks for."""

    name: str
    scope: str
    role: str
    principal: str
    principal_type: str
    created_at: datetime
    created_by: str
    updated_at: datetime | None = None
    updated_by: str | None = None
    description: str | None = None
    condition: str | None = None
    condition_fits: bool = True

    @property
    def id(self) -> str:
        """Its resource id."""
        return f"{self.scope.rstrip('/')}/providers/{ASSIGNMENTS}/{self.name}"

    @property
    def content(self) -> tuple[str, str, str]:
        """What no two assignments have in common."""
        return self.principal.lower(), self.role, self.scope.lower()

    def body(self) -> Json:
        """As GET shows it."""
        subscription = Elsewhere(self.id).subscription
        place = f"/subscriptions/{subscription}" if subscription else ""
        return {
            "properties": {
                "roleDefinitionId": f"{place}/providers/{PROVIDER}/roleDefinitions/{self.role}",
                "principalId": self.principal,
                "principalType": self.principal_type,
                "description": self.description,
                "scope": self.scope,
                "condition": self.condition,
                "conditionVersion": "2.0" if self.condition else None,
                "createdOn": stamp(self.created_at),
                "updatedOn": stamp(self.updated_at or self.created_at),
                "createdBy": self.created_by,
                "updatedBy": self.updated_by or self.created_by,
                "delegatedManagedIdentityResourceId": None,
            },
            "id": self.id,
            "type": ASSIGNMENTS,
            "name": self.name,
        }


class Roles:
    """The role assignments of all scopes, and the groups. The world's lock guards it.

    Attributes:
        pending: How often something was refused that an assignment gives which was not in force yet.
    """

    def __init__(self, world: World) -> None:
        seed = world.seed
        self._world = world
        self._began = world.now()
        self.pending = 0
        custom = (
            Role(
                guid=each.guid.lower(),
                name=each.name,
                actions=each.actions,
                not_actions=each.not_actions,
                data_actions=each.data_actions,
                not_data_actions=each.not_data_actions,
                type="CustomRole",
            )
            for each in seed.custom_roles
        )
        self._roles = {role.guid: role for role in (*BUILT_IN, *custom)}
        self._names = {role.name.lower(): role.guid for role in self._roles.values()}
        identities = world.identities()
        self._identities = {each.rpartition("/")[2].lower(): principal_of(each) for each in identities}
        self._groups = {
            name.lower(): {self.principal(each).lower() for each in seed.groups[name]} for name in seed.groups
        }
        self._by_name: dict[str, Assignment] = {}
        self._by_content: dict[tuple[str, str, str], Assignment] = {}
        self._by_principal: dict[str, dict[str, Assignment]] = {}
        self._unreplicated = {self.principal(name).lower(): wait for name, wait in seed.unreplicated.items()}
        for each in seed.role_assignments or ():
            self.add_seed(each, "ci")
        self._enforced = seed.role_assignments is not None if seed.enforce_roles is None else seed.enforce_roles

    # Asking

    def role(self, guid: str) -> Role | None:
        """The role of a GUID."""
        return self._roles.get(guid.lower())

    def may(self, principal: str, action: str, resource_id: str, *, on_data: bool = False) -> bool:
        """Whether a principal may do something to a resource, by now."""
        now = self._world.now()
        giving = [
            each
            for who in self._all_of(principal)
            for each in self._by_principal.get(who, {}).values()
            if each.condition_fits
            and _covers(each.scope, resource_id)
            and self._roles[each.role].allows(action, on_data=on_data)
        ]
        is_given = any(each.created_at + self._propagation(each) <= now for each in giving)
        self.pending += bool(giving) and not is_given
        return is_given

    def _propagation(self, assignment: Assignment) -> timedelta:
        """How long a new assignment takes until it is in force."""
        seed = self._world.seed
        is_quick = seed.role_propagation_is_partial and int(assignment.name[-1], 16) % 2 == 0
        return timedelta(seconds=0.0 if is_quick else seed.role_propagation_seconds)

    def lacks(self, identity: Json | None, action: str, resource_id: str, *, on_data: bool = False) -> bool:
        """Whether an endpoint of that identity is kept from something. The platform cares for its own identities."""
        identity = identity or {}
        users = identity.get("userAssignedIdentities") or {}
        if not self._enforced or not users or "SystemAssigned" in identity.get("type", ""):
            return False
        return not any(self.may(principal_of(user), action, resource_id, on_data=on_data) for user in users)

    def listed(self, scope: str, text: str | None) -> list[Assignment]:
        """The assignments at, above and below a scope that fit a ``$filter``, by id."""
        wanted, below = self._parse(text)
        found = self._by_name.values() if wanted is None else self._of(wanted)
        return sorted(
            (each for each in found if _covers(each.scope, scope) or (below and _covers(scope, each.scope))),
            key=lambda each: each.id.lower(),
        )

    def get(self, scope: str, name: str) -> Assignment | None:
        """An assignment by scope and name."""
        found = self._by_name.get(name.lower())
        return found if found and found.scope.lower() == scope.lower() else None

    def principal(self, name: str) -> str:
        """The object id of whom a world file names."""
        if name in self._world.principals:
            return self._world.principals[name].oid
        if name.startswith("/"):
            return principal_of(name)
        if name.lower() in self._identities:
            return self._identities[name.lower()]
        if name not in self._world.seed.groups and not _is_guid(name):
            raise WorldError(f"{name!r} is no principal, identity or group of this world, and no object id.")
        return name

    def _of(self, principals: set[str]) -> list[Assignment]:
        return [each for who in principals for each in self._by_principal.get(who, {}).values()]

    def _all_of(self, principal: str) -> set[str]:
        """A principal and the groups that contain it, groups of groups included."""
        found, more = set[str](), {principal.lower()}
        while more:
            found |= more
            more = {group for group, members in self._groups.items() if members & more} - found
        return found

    def _parse(self, text: str | None) -> tuple[set[str] | None, bool]:
        """Whose assignments a ``$filter`` wants, None being everyone's; and whether below the scope too."""
        wanted: set[str] | None = None
        below = True
        for clause in re.split(r"\s+and\s+", (text or "").strip(), flags=re.IGNORECASE) if text else ():
            if re.fullmatch(r"atScope\(\)", clause, re.IGNORECASE):
                below = False
            elif match := re.fullmatch(r"principalId\s+eq\s+'([^']*)'", clause, re.IGNORECASE):
                wanted = {match[1].lower()}
            elif match := re.fullmatch(r"assignedTo\('([^']*)'\)", clause, re.IGNORECASE):
                wanted = self._all_of(match[1])
            else:
                raise Refusal(400, "InvalidFilter", f"The filter {clause!r} is not supported for role assignments.")
        return wanted, below

    # Changing

    def create(self, call: Call, scope: str, name: str, body: Any) -> tuple[Assignment, bool]:
        """PUT: the assignment and whether it is new; or a Refusal."""
        properties = body.get("properties") if isinstance(body, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        definition = _DEFINITION.fullmatch(str(properties.get("roleDefinitionId")))
        principal = properties.get("principalId")
        if definition is None or not isinstance(principal, str) or not principal:
            raise Refusal(400, "InvalidRequestContent", "The request content must have roleDefinitionId, principalId.")
        if not _is_guid(name):
            text = f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."
            raise Refusal(400, "InvalidRoleAssignmentId", text)
        registry = "/providers/microsoft.containerregistry/registries/"
        if registry in scope.lower() and self._world.registries.is_gone(scope):
            raise Refusal(404, "ResourceNotFound", f"The resource '{scope}' was not found.")
        role = self.role(definition["guid"])
        if role is None:
            text = f"The specified role definition with ID '{definition['guid']}' does not exist."
            raise Refusal(400, "RoleDefinitionDoesNotExist", text)
        assignment, created = self._put(
            Assignment(
                name=name,
                scope=scope,
                role=role.guid,
                principal=principal,
                principal_type=str(properties.get("principalType") or "ServicePrincipal"),
                created_at=self._world.now(),
                created_by=call.principal.oid,
                description=properties.get("description"),
                condition=properties.get("condition"),
            )
        )
        self._tell(assignment, assignment.body(), call.who, call.client_request_id)
        return assignment, created

    def _put(self, new: Assignment) -> tuple[Assignment, bool]:
        here, same = self._by_name.get(new.name.lower()), self._by_content.get(new.content)
        if here is not None and here is same:
            here.description, here.condition = new.description, new.condition
            here.updated_at, here.updated_by = new.created_at, new.created_by
            return here, False
        if here is not None:
            text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise Refusal(400, "RoleAssignmentUpdateNotPermitted", text)
        if same is not None:
            text = "The role assignment already exists. The ID of the existing role assignment is "
            raise Refusal(409, "RoleAssignmentExists", f"{text}{same.name.replace('-', '')}.")
        self._check_principal(new.principal)
        self._check_limit(new)
        self._add(new)
        return new, True

    def _check_principal(self, principal: str) -> None:
        # Whatever the principalType: the world file says that the directory does not know it yet.
        wait = self._unreplicated.get(principal.lower(), 0.0)
        if self._world.now() < self._began + timedelta(seconds=wait):
            raise Refusal(
                400,
                "PrincipalNotFound",
                f"Principal {principal.replace('-', '')} does not exist in the directory {self._world.seed.tenant}. "
                "Check that you have the correct principal ID. If you are creating this principal and then immediately "
                "assigning a role, this error might be related to a replication delay. In this case, set the role "
                "assignment principalType property to a value, such as ServicePrincipal, User, or Group.  "
                "See https://aka.ms/docs-principaltype",
            )

    def _check_limit(self, new: Assignment) -> None:
        inside = f"/subscriptions/{Elsewhere(new.id).subscription}".lower()
        used = sum(_covers(inside, each.scope) for each in self._by_name.values())
        if used + self._world.seed.assignments_used >= self._world.seed.assignment_limit:
            raise Refusal(400, "RoleAssignmentLimitExceeded", "No more role assignments can be created")

    def _add(self, new: Assignment) -> None:
        self._by_name[new.name.lower()] = new
        self._by_content[new.content] = new
        self._by_principal.setdefault(new.principal.lower(), {})[new.name.lower()] = new

    def delete(self, scope: str, name: str, who: str, request: str | None = None) -> Assignment | None:
        """Remove an assignment, as somebody; None if there is none."""
        found = self.get(scope, name)
        if found is not None:
            del self._by_name[found.name.lower()]
            del self._by_content[found.content]
            del self._by_principal[found.principal.lower()][found.name.lower()]
            self._tell(found, None, who, request)
        return found

    def _tell(self, assignment: Assignment, body: Json | None, who: str | None, request: str | None) -> None:
        self._world.witness.assigned(self._world.now(), assignment.id, body, who, request)

    def add_seed(self, seed: RoleAssignmentSeed, who: str) -> Assignment:
        """Assign what a world file says, whatever the limit."""
        guid = self._guid(seed.role)
        principal, scope = self.principal(seed.principal), self._scope(seed.scope)
        assignment = Assignment(
            name=stable_id(f"{scope}|{principal}|{guid}".lower()),
            scope=scope,
            role=guid,
            principal=principal,
            principal_type="Group" if principal.lower() in self._groups else "ServicePrincipal",
            created_at=self._world.now() - timedelta(seconds=seed.age),
            created_by=self._world.principals[who].oid,
            condition=seed.condition,
            condition_fits=seed.condition_fits,
        )
        if assignment.content not in self._by_content:
            self._add(assignment)
            self._tell(assignment, assignment.body(), who, None)
        return assignment

    def check(self, principal: str, role: str, scope: str) -> None:
        """WorldError if a world file cannot mean them."""
        self.principal(principal)
        self._guid(role)
        self._scope(scope)

    def assign(self, who: str, principal: str, role: str, scope: str) -> None:
        """Someone else assigns a role."""
        new = self.add_seed(RoleAssignmentSeed(principal=principal, role=role, scope=scope, age=0.0), who)
        self._world.did_elsewhere(who, "PUT", Elsewhere(new.id), f"{ASSIGNMENTS}/write")

    def unassign(self, who: str, principal: str, role: str, scope: str) -> None:
        """Someone else takes a role away, under whatever name it was assigned."""
        content = (self.principal(principal).lower(), self._guid(role), self._scope(scope).lower())
        found = self._by_content.get(content)
        if found is not None:
            self.delete(found.scope, found.name, who)
            self._world.did_elsewhere(who, "DELETE", Elsewhere(found.id), f"{ASSIGNMENTS}/delete")

    def _guid(self, role: str) -> str:
        guid = self._names.get(role.lower(), role.lower())
        if guid not in self._roles:
            raise WorldError(f"{role!r} is no role of this world.")
        return guid

    def _scope(self, scope: str) -> str:
        if scope.startswith("/"):
            return scope.rstrip("/") or "/"
        places = self._world.places()
        if not places:
            raise WorldError(f"role_assignments: {scope!r} needs a workspace.")
        target, properties = places[0].target, places[0].spec["properties"]
        subscription = f"/subscriptions/{target.subscription}"
        known = {
            "registry": properties.get("containerRegistry"),
            "storage": properties.get("storageAccount"),
            "resource-group": f"{subscription}/resourceGroups/{target.resource_group}",
            "subscription": subscription,
        }
        if not known.get(scope):
            raise WorldError(f"role_assignments: {scope!r} is no scope of the first workspace.")
        return str(known[scope])


def _covers(scope: str, resource_id: str) -> bool:
    """Whether an assignment there holds at the resource: at it or above it."""
    above, at = scope.lower().rstrip("/"), resource_id.lower().rstrip("/")
    return at == above or at.startswith(above + "/") or above.startswith("/providers/microsoft.management/")


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


# Routes


def _scope_of(ask: Ask) -> str:
    return "/" + ask.names["scope"].strip("/")


def _put(ask: Ask) -> Answer:
    world, scope, name = ask.world, _scope_of(ask), ask.names["name"]
    target, action = Elsewhere(ask.request.path.rstrip("/")), ask.route.action
    with world.lock:
        try:
            world.authorize(ask.call, action, target.id)
            assignment, created = world.roles.create(ask.call, scope, name, ask.json())
        except Refusal as refusal:
            world.trace(ask.call, target, action, refusal.status, refusal.body())
            raise
        status = 201 if created else 200
        world.trace(ask.call, target, action, status)
        return Answer(status=status, body=assignment.body())


def _delete(ask: Ask) -> Answer:
    world, target, action = ask.world, Elsewhere(ask.request.path.rstrip("/")), ask.route.action
    with world.lock:
        world.authorize(ask.call, action, target.id)
        assignment = world.roles.delete(_scope_of(ask), ask.names["name"], ask.call.who, ask.call.client_request_id)
        if assignment is None:
            return Answer(status=204)
        world.trace(ask.call, target, action, 200)
        return Answer(status=200, body=assignment.body())


def _get(ask: Ask) -> Answer:
    with ask.world.lock:
        found = ask.world.roles.get(_scope_of(ask), ask.names["name"])
        ask.world.witness.read_assignment(ask.request.path, is_there=found is not None)
    if found is None:
        text = f"The role assignment '{ask.names['name']}' is not found."
        raise Refusal(404, "RoleAssignmentNotFound", text)
    return Answer(status=200, body=found.body())


def _list(ask: Ask) -> Answer:
    with ask.world.lock:
        found = ask.world.roles.listed(_scope_of(ask), ask.query("$filter"))
        ask.world.witness.listed(_scope_of(ask))
        return page_of(ask, found, lambda each: each.id.lower(), Assignment.body)


def _permissions(ask: Ask) -> Answer:
    """What the caller may do on a scope: everything, but for what this world denies it there."""
    world, scope, who = ask.world, _scope_of(ask), ask.call.who
    with world.lock:
        denied = [denial.action for denial in world.denied if world.denies(denial, who, scope)]
    permission = {"actions": ["*"], "notActions": denied, "dataActions": [], "notDataActions": []}
    return Answer(status=200, body={"value": [permission]})


def _definition(ask: Ask) -> Answer:
    guid = ask.names["guid"]
    role = ask.world.roles.role(guid)
    if role is None:
        text = f"The specified role definition with ID '{guid}' does not exist."
        raise Refusal(404, "RoleDefinitionDoesNotExist", text)
    permissions = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": list(role.not_data_actions),
    }
    properties = {
        "roleName": role.name,
        "type": role.type,
        "description": "",
        "assignableScopes": ["/"],
        "permissions": [permissions],
    }
    subscription = Elsewhere(ask.request.path).subscription
    place = f"/subscriptions/{subscription}" if subscription else ""
    body = {
        "id": f"{place}/providers/{PROVIDER}/roleDefinitions/{role.guid}",
        "name": role.guid,
        "type": f"{PROVIDER}/roleDefinitions",
        "properties": properties,
    }
    return Answer(status=200, body=body)


_MANY = f"/{{scope:path}}/providers/{ASSIGNMENTS}"
_ONE = _MANY + "/{name}"
_ROLE = f"/providers/{PROVIDER}/roleDefinitions/{{guid}}"

ROUTES = (
    Route("GET", "role-assignments", _MANY, f"{ASSIGNMENTS}/read", _list),
    Route("GET", "role-assignment", _ONE, f"{ASSIGNMENTS}/read", _get),
    Route("PUT", "role-assignment", _ONE, f"{ASSIGNMENTS}/write", _put),
    Route("DELETE", "role-assignment", _ONE, f"{ASSIGNMENTS}/delete", _delete),
    Route(
        "GET",
        "permissions",
        f"/{{scope:path}}/providers/{PROVIDER}/permissions",
        f"{PROVIDER}/permissions/read",
        _permissions,
    ),
    Route("GET", "role-definition", "/{scope:path}" + _ROLE, f"{PROVIDER}/roleDefinitions/read", _definition),
    Route("GET", "role-definition", _ROLE, f"{PROVIDER}/roleDefinitions/read", _definition),
)
