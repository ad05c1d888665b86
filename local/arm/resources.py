"""The nouns of the simulated Resource Manager: who calls, what is addressed, what runs, what is refused.

Rests on API.md A (claims), B (provisioning states, operation records) and C (resource ids, errors).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

type Json = dict[str, Any]

PROVIDER = "Microsoft.MachineLearningServices"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"

NOUNS = {
    "microsoft.containerregistry/registries": "container registry",
    "microsoft.authorization/roleassignments": "role assignment",
}

OperationKind = Literal["write", "delete", "action"]
Status = Literal["InProgress", "Succeeded", "Failed", "Canceled"]


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a world file may say: a field we do not know is an error, not a silence."""


class Principal(Strict, frozen=True, kw_only=True):
    """Someone with a token: ``Authorization: Bearer sim-<name>``.

    Attributes:
        oid: Object id: the Activity Log's ``caller``, ``systemData.lastModifiedBy``.
        tid: Its tenant, if not that of the world.
        preempts: Its PUT or DELETE of a deployment cancels the operation that runs on that deployment.
            Everyone else gets a 409 there.
    """

    oid: str
    appid: str
    tid: str | None = None
    type: Literal["Application", "User"] = "Application"
    preempts: bool = False


class Error(Strict, frozen=True, kw_only=True):
    """Why an operation ended badly. A null ``code`` is real: API.md 0.4."""

    code: str | None = None
    message: str = ""


class Call(Struct, frozen=True, kw_only=True):
    """One request, whether it came over HTTP or from a scenario."""

    who: str
    principal: Principal
    method: str
    path: str
    correlation_id: str
    request_id: str
    client_request_id: str | None = None
    api_version: str = "2024-10-01"


class Target(Struct, frozen=True, kw_only=True):
    """A workspace, endpoint or deployment by name. Ids compare without case: ``key``."""

    subscription: str
    resource_group: str
    workspace: str
    endpoint: str | None = None
    deployment: str | None = None

    @property
    def id(self) -> str:
        """The resource id, in the case its names were given."""
        parts = [
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}",
            f"providers/{PROVIDER}/workspaces/{self.workspace}",
        ]
        if self.endpoint:
            parts.append(f"onlineEndpoints/{self.endpoint}")
        if self.deployment:
            parts.append(f"deployments/{self.deployment}")
        return "/".join(parts)

    @property
    def key(self) -> str:
        """What two spellings of one id have in common."""
        return self.id.lower()

    @property
    def name(self) -> str:
        """The last name of the id."""
        return self.deployment or self.endpoint or self.workspace

    @property
    def type(self) -> str:
        """The resource type, as in the ``type`` field and at the head of every action."""
        tail = "/onlineEndpoints/deployments" if self.deployment else "/onlineEndpoints" if self.endpoint else ""
        return f"{PROVIDER}/workspaces{tail}"

    @property
    def provider(self) -> str:
        """The resource provider."""
        return PROVIDER

    @property
    def noun(self) -> str:
        """What people call it."""
        return "online deployment" if self.deployment else "online endpoint" if self.endpoint else "workspace"

    @property
    def parent(self) -> "Target | None":
        """The resource it lives in; None above a workspace."""
        if self.deployment:
            return self.at_endpoint
        return self.at_workspace if self.endpoint else None

    @property
    def at_workspace(self) -> "Target":
        """The workspace that it is or is in."""
        return Target(subscription=self.subscription, resource_group=self.resource_group, workspace=self.workspace)

    @property
    def at_endpoint(self) -> "Target":
        """The endpoint that this endpoint or deployment belongs to."""
        return Target(
            subscription=self.subscription,
            resource_group=self.resource_group,
            workspace=self.workspace,
            endpoint=self.endpoint,
        )

    def child(self, name: str) -> "Target":
        """The endpoint of that name in a workspace, the deployment of that name in an endpoint."""
        return Target(
            subscription=self.subscription,
            resource_group=self.resource_group,
            workspace=self.workspace,
            endpoint=self.endpoint or name,
            deployment=name if self.endpoint else None,
        )


RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    rf"/providers/{re.escape(PROVIDER)}/workspaces/(?P<workspace>[^/]+)"
    r"(?:/onlineEndpoints/(?P<endpoint>[^/]+)(?:/deployments/(?P<deployment>[^/]+))?)?",
    re.IGNORECASE,
)


def parse_id(text: str) -> Target:
    """The target that a resource id names; ValueError if it is none of ours."""
    match = RESOURCE_ID.fullmatch(text.rstrip("/"))
    if match is None:
        raise ValueError(f"{text!r} is not the id of a workspace, an online endpoint or an online deployment.")
    return Target(**match.groupdict())


class Elsewhere(Struct, frozen=True):
    """A resource of another provider, by its id: a registry, a role assignment."""

    id: str

    @property
    def key(self) -> str:
        """What two spellings of one id have in common."""
        return self.id.lower()

    @property
    def name(self) -> str:
        """The last name of the id."""
        return self.id.rpartition("/")[2]

    @property
    def subscription(self) -> str:
        """The subscription it is in; empty above subscriptions."""
        return self._after("subscriptions")

    @property
    def resource_group(self) -> str:
        """The resource group it is in; empty above groups."""
        return self._after("resourcegroups")

    @property
    def provider(self) -> str:
        """The resource provider."""
        return self.type.partition("/")[0]

    @property
    def type(self) -> str:
        """The resource type: every other part of what follows the last ``providers``."""
        provider, *rest = re.split("/providers/", self.id, flags=re.IGNORECASE)[-1].split("/")
        return "/".join([provider, *rest[::2]])

    @property
    def noun(self) -> str:
        """What people call it."""
        return NOUNS.get(self.type.lower(), "resource")

    def _after(self, collection: str) -> str:
        parts = self.id.split("/")
        places = [each.lower() for each in parts[:-1]]
        return parts[places.index(collection) + 1] if collection in places else ""


@dataclass(kw_only=True)
class Resource:
    """Something that GET shows.

    Attributes:
        spec: What the last accepted write asked for, in the shape of a PUT body.
        ever_succeeded: False marks a deployment that failed in its first provisioning.
        failure_logs: What containers said as the last write failed; shown instead of ``logs``.
    """

    target: Target
    location: str
    spec: Json
    state: str
    created_at: datetime
    created_by: Principal
    modified_at: datetime
    modified_by: Principal
    ever_succeeded: bool = False
    operation_path: str | None = None
    logs: Mapping[str, str] = field(default_factory=dict)
    failure_logs: Mapping[str, str] = field(default_factory=dict)
    diagnose: Json = field(default_factory=dict)


@dataclass(kw_only=True)
class Operation:
    """A write, delete or action that was asked for: from its request to its terminal state.

    Attributes:
        name: The ARM operation, for instance ``.../onlineEndpoints/deployments/write``.
        created: The resource did not exist when the request came.
        before: The spec that the write replaces.
    """

    id: str
    kind: OperationKind
    name: str
    target: Target
    location: str
    call: Call
    started_at: datetime
    created: bool = False
    spec: Json | None = None
    before: Json | None = None
    status: Status = "InProgress"
    ended_at: datetime | None = None
    error: Error | None = None


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What was done at once to a resource of another provider: all that the Activity Log needs of it."""

    kind: OperationKind
    name: str
    target: Elsewhere
    call: Call


class Refusal(Exception):
    """The service says no, at once: status, code and text of the answer."""

    def __init__(self, status: int, code: str, message: str, details: list[Json] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []

    def body(self) -> Json:
        """The error envelope of ARM and of the ML front end."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details, "additionalInfo": []}}


class WorldError(ValueError):
    """A world file that cannot be meant; the text says what and where."""


def not_found() -> Refusal:
    """The 404 of the ML front end."""
    return Refusal(404, "UserError", "The specified resource was not found.")


def not_there(target: Elsewhere) -> Refusal:
    """The 404 of Resource Manager."""
    return Refusal(
        404,
        "ResourceNotFound",
        f"The Resource '{target.type}/{target.name}' under resource group '{target.resource_group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


def stamp(moment: datetime, digits: int = 7) -> str:
    """A time as Azure writes it; events and Activity Log have seven digits, systemData three, operations none."""
    whole = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}0"[:digits]
    return f"{whole}.{fraction}Z" if digits else f"{whole}Z"


def merged(base: Json, change: Json) -> Json:
    """``base`` with ``change`` laid over it, maps in depth; neither is touched."""
    result = dict(base)
    for name, value in change.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
