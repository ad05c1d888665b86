"""The values of the walk, in order of appearance. All frozen; every datetime is aware UTC."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Literal

from msgspec import Struct

type Json = dict[str, Json] | list[Json] | str | int | float | bool | None

# --------------------------------------------------------------------------------------------- resources


class ProvisioningState(StrEnum):
    """The states that a deployment or an endpoint shows (REST reference, api-version 2024-10-01)."""

    CREATING = "Creating"
    UPDATING = "Updating"
    SCALING = "Scaling"
    DELETING = "Deleting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"


_RUNNING = frozenset(
    {ProvisioningState.CREATING, ProvisioningState.UPDATING, ProvisioningState.SCALING, ProvisioningState.DELETING}
)

_RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)"
    r"/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices"
    r"/workspaces/(?P<workspace>[^/]+)"
    r"/onlineEndpoints/(?P<endpoint>[^/]+)"
    r"(?:/deployments/(?P<deployment>[^/]+))?/?",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._() -]{0,89}")


class ResourceId(Struct, frozen=True, kw_only=True, dict=True):
    """The resource ID of an online endpoint, or of one of its deployments.

    Azure writes the same ID in several casings: compare `key`, show `path`.
    """

    subscription: str
    resource_group: str
    workspace: str
    endpoint: str
    deployment: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ResourceId":
        """Give the parts of `text`; raises ValueError if it names neither an endpoint nor a deployment."""
        match = _RESOURCE_ID.fullmatch(text)
        if match is None or not all(_NAME.fullmatch(part) for part in match.groupdict().values() if part is not None):
            msg = f"{text[:200]!r} is not the ID of an online endpoint or of one of its deployments"
            raise ValueError(msg)
        return cls(**match.groupdict())

    @property
    def resource_group_path(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"

    @property
    def workspace_path(self) -> str:
        provider = "providers/Microsoft.MachineLearningServices"
        return f"{self.resource_group_path}/{provider}/workspaces/{self.workspace}"

    @property
    def endpoint_path(self) -> str:
        return f"{self.workspace_path}/onlineEndpoints/{self.endpoint}"

    @property
    def path(self) -> str:
        """The whole ID, with Azure's documented casing of its type names."""
        return self.endpoint_path if self.deployment is None else f"{self.endpoint_path}/deployments/{self.deployment}"

    @cached_property
    def key(self) -> str:
        """The ID in lower case: equal for two spellings of the same resource."""
        return self.path.lower()

    @property
    def endpoint_id(self) -> "ResourceId":
        return ResourceId(
            subscription=self.subscription,
            resource_group=self.resource_group,
            workspace=self.workspace,
            endpoint=self.endpoint,
        )

    @property
    def label(self) -> str:
        """Workspace, endpoint and deployment, for people."""
        return "/".join(part for part in (self.workspace, self.endpoint, self.deployment) if part)


# ------------------------------------------------------------------------------------------------ events


class ErrorDetail(Struct, frozen=True, kw_only=True):
    """One error among those that a failure's text tells of.

    Attributes:
        code: Azure's code as it stands there; None where there is none, or only the word None.
        message: Its text without what is nested in it; may be empty.
        depth: How many wrappers stand around it.
    """

    code: str | None
    message: str
    depth: int


class Operation(StrEnum):
    """What was being done when it failed."""

    WRITE = "write"
    DELETE = "delete"
    SCORE = "score"  # requests to an endpoint: nothing was written, and there is nothing to run again


type Phase = Literal["create", "build", "start", "delete", "invoke"]


class Caller(Struct, frozen=True, kw_only=True):
    """Who started an operation. No name and no address: four-eyes needs the ids alone."""

    oid: str | None = None
    appid: str | None = None
    tid: str | None = None


class Person(Struct, frozen=True, kw_only=True):
    """Somebody who is signed in.

    Attributes:
        oid, tid: Object id and tenant: who it is. The trail keeps these alone.
        name: What to call them on a page; anybody may choose theirs, so nothing rests on it, and nothing keeps it.
        roles: App roles of this app; `groups` object ids of groups.
        is_app: Whether it is an application with a token of its own: it may read and submit, and decides nothing.
    """

    oid: str
    tid: str
    name: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    is_app: bool = False

    @property
    def caller(self) -> Caller:
        """Who it is, as the trail keeps it."""
        return Caller(oid=self.oid, tid=self.tid)


class Scoring(Struct, frozen=True, kw_only=True):
    """What an alert says of the answers that an endpoint gives.

    Attributes:
        rule: Name of the alert rule.
        status: The HTTP status code, or its class: ``424``, ``5xx``; None if the alert does not tell them apart.
        model_status: The status code that the model's own container answered with, where the service answers 424.
        metric: What was counted; None for a query of a log.
        value: How much of it, in the unit of the metric: requests a minute for ``RequestsPerMinute``, rows for a query.
        window: Over how long it was counted.
    """

    rule: str
    status: str | None = None
    model_status: str | None = None
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None
    window: timedelta | None = None

    @property
    def words(self) -> str:
        """What the alert says, for people."""
        status = "answers" if self.status is None else f"answers {self.status}"
        status += "" if self.model_status is None else f" (the model's own: {self.model_status})"
        value = "" if self.value is None else f", {self.metric or 'counted'} {self.value:g}"
        threshold = "" if self.threshold is None else f", threshold {self.threshold:g}"
        window = "" if self.window is None else f", over {self.window.total_seconds() / 60:g} min"
        return f"alert rule {self.rule!r}: {status}{value}{threshold}{window}"


class Undoes(Struct, frozen=True, kw_only=True):
    """Which call of which incident somebody wants undone. What it was, the trail tells; this only names it.

    Attributes:
        incident, plan, step, attempt: Of the call.
        action: The action that made it.
        path: What it was sent to.
        receipt: Digest of what a deletion kept; None for a grant.
        comment: Why, in the words of who asked.
    """

    incident: str
    plan: str
    step: int
    attempt: int
    action: str
    path: str
    receipt: str | None = None
    comment: str = ""


class Storm(Struct, frozen=True, kw_only=True):
    """What many incidents of one workspace have in common: they are asked about, repaired and told of together.

    Attributes:
        key: Workspace and window, as the trail names them (`storms`).
        roll: In which roll of that storm they were judged; 1 for the first.
        label: How many of what, where: for people.
    """

    key: str
    roll: int
    label: str


class Incident(Struct, frozen=True, kw_only=True):
    """One failed operation on one deployment or endpoint; or, for `Operation.SCORE`, requests that it fails to answer;
    or somebody's wish that a call of another incident be undone; or a storm, which stands for many incidents.

    Attributes:
        id: The same for every event of that operation; also the orchestration's id.
        correlation_id: ARM's; None while nobody knows it.
        resource: What failed; for a storm, what the first of its members is about.
        failed_at: When Azure says it failed, not when we heard of it; for an undo, when it was asked for.
        source: What told us: ``event-grid``, ``dead-letter``, ``ci``, ``alert``, ``sweep``, ``undo`` or ``storm``.
        report: Digest of what the sender itself said of the error, in the evidence store.
        operation_url: The long-running operation, if the sender named it. Untrusted until its host is checked.
        desired_spec_url: Where CI keeps the body that it sent. Untrusted until policy lists its container.
        first_failed_at: When the first failure was, once a repair of ours has failed and `failed_at` is that one's.
        sent_digest: Digest of the body that our own last repair sent.
        scoring: What the alert says, if the failure is one of answering requests.
        undoes: What is to be undone; then nothing failed, and `caller` is who asked for it.
        storm: Of which incidents it is made; they have trails of their own, and it has no effect of its own.
    """

    id: str
    resource: ResourceId
    operation: Operation
    failed_at: datetime
    event_id: str
    source: str
    correlation_id: str | None = None
    caller: Caller = Caller()
    report: str | None = None
    operation_url: str | None = None
    desired_spec_url: str | None = None
    first_failed_at: datetime | None = None
    sent_digest: str | None = None
    scoring: Scoring | None = None
    undoes: Undoes | None = None
    storm: Storm | None = None

    @property
    def label(self) -> str:
        """What it is about, for people."""
        return self.resource.label if self.storm is None else self.storm.label

    @property
    def began_at(self) -> datetime:
        """When the trouble began, whatever was tried since."""
        return self.first_failed_at or self.failed_at

    @property
    def is_scoring(self) -> bool:
        """Whether requests go unanswered: nothing was written, so there is nothing to repair or to run again."""
        return self.operation is Operation.SCORE

    @property
    def is_undo(self) -> bool:
        """Whether nothing failed: somebody wants a call of ours undone."""
        return self.undoes is not None


class Reception(Struct, frozen=True, kw_only=True):
    """What one delivered event turned out to be.

    Exactly one of `incident`, `ignored`, `handshake` and `repaired` is set.

    Attributes:
        client_request_id: ``x-ms-client-request-id`` of the write that failed, if the event carries it.
        report: What the sender said of the error; untrusted, it can only nominate a cause.
        ignored: Why it is not ours, in words.
        handshake: The validation code of an Event Grid subscription handshake.
        repaired: Workspace path and service name of a ``ModelDeployed`` event: it corroborates a repair.
    """

    event_id: str
    event_type: str
    resource: str | None = None
    operation_name: str | None = None
    client_request_id: str | None = None
    caller: Caller = Caller()
    report: tuple[ErrorDetail, ...] = ()
    incident: Incident | None = None
    ignored: str | None = None
    handshake: str | None = None
    repaired: tuple[str, str] | None = None


class Disposition(StrEnum):
    """How one delivered event ended (promise 7: each does, and it is on the trail)."""

    INCIDENT = "incident"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    LINKED = "linked"
    PARKED = "parked"
    CORROBORATED = "corroborated"
    IGNORED = "ignored"
    ALARM = "alarm"
    HANDSHAKE = "handshake"


# ---------------------------------------------------------------------------------------------- evidence


class Found[T](Struct, frozen=True, tag="found"):
    """A read that gave a value."""

    value: T


class Absent(Struct, frozen=True, tag="absent"):
    """A read that was answered: there is nothing there."""


class Unknown(Struct, frozen=True, tag="unknown"):
    """A read that gave no answer, or was not made. It never counts as absent."""

    reason: str = "not read"


type Reading[T] = Found[T] | Absent | Unknown


class Identity(Struct, frozen=True, kw_only=True):
    """A user-assigned identity of an endpoint.

    Attributes:
        principal_id: Whom a role is granted to; None if a GET does not show it.
    """

    path: str
    principal_id: str | None = None


class ResourceState(Struct, frozen=True, kw_only=True):
    """What a GET of a deployment or endpoint says, without its environment variables.

    Attributes:
        kind: ``Managed`` or ``Kubernetes`` for a deployment, ``endpoint`` for an endpoint.
        modified_by_us: Whether the last write was made by our own identity; None if that cannot be told.
        operation_url: ``AzureAsyncOperationUri``: the latest long-running operation.
        spec_digest: Digest of the PUT body that this state would be rebuilt to; None if it cannot be rebuilt.
        not_rebuildable: Why it cannot be rebuilt without loss, in words.
        identity: ``SystemAssigned``, ``UserAssigned``, both, or ``None``; None if a GET shows no identity.
        identities: The user-assigned ones.
        environment_names: Names of the environment variables. Their values are never kept.
        shows_environment: Whether GET shows environment variables at all, if only that there are none.
        concurrent_requests: How many requests one instance takes at once, and `request_timeout` how long one may take.
    """

    path: str
    kind: str
    provisioning_state: str
    created_at: datetime | None = None
    last_modified_at: datetime | None = None
    modified_by_us: bool | None = None
    operation_url: str | None = None
    instance_type: str | None = None
    capacity: int | None = None
    environment: str | None = None
    model: str | None = None
    identity: str | None = None
    identities: tuple[Identity, ...] = ()
    tags: dict[str, str] = {}
    traffic: dict[str, int] = {}
    mirror_traffic: dict[str, int] = {}
    environment_names: tuple[str, ...] = ()
    shows_environment: bool = True
    concurrent_requests: int | None = None
    request_timeout: timedelta | None = None
    spec_digest: str | None = None
    not_rebuildable: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether an operation is still under way."""
        return self.provisioning_state in _RUNNING


class OperationState(Struct, frozen=True, kw_only=True):
    """What a long-running operation says of itself.

    Attributes:
        code: The code that the service gives in the error's own fields. Codes that stand in its texts may be written by
            whoever wrote the model; they are in `errors` alone.
    """

    status: str
    code: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    errors: tuple[ErrorDetail, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.status in {"Succeeded", "Failed", "Canceled"}


class ActivityRow(Struct, frozen=True, kw_only=True):
    """One row of the Activity Log.

    Attributes:
        caller: The caller's object id or client id; a digest where Azure shows a name or address.
        code: The code in the fields of its error, as for an operation.
    """

    at: datetime
    operation_name: str
    status: str
    resource: str
    correlation_id: str
    caller: str | None = None
    client_request_id: str | None = None
    code: str | None = None
    errors: tuple[ErrorDetail, ...] = ()


class Answers(Struct, frozen=True, kw_only=True):
    """How often an endpoint answered with one status code.

    Attributes:
        status: The HTTP status code; `model_status` that of the model's own container, where the service answers 424.
        per_minute: Requests a minute, on average over the minutes that were looked at, and `most` in the busiest.
    """

    status: str
    model_status: str | None = None
    per_minute: float
    most: float


class Load(Struct, frozen=True, kw_only=True):
    """What an endpoint's metrics show of its requests in the minutes around a failure.

    Attributes:
        latency: The 95th percentile of how long requests took, at its worst; None if no metric shows it.
    """

    answers: tuple[Answers, ...] = ()
    latency: timedelta | None = None

    @property
    def per_minute(self) -> float:
        """All requests, in the busiest minute of each status."""
        return sum(one.most for one in self.answers)


class DesiredSpec(Struct, frozen=True, kw_only=True):
    """The body that CI says it sent. The body itself is fetched again to be sent.

    Attributes:
        differs: Paths at which the resource is not as it says; empty once it is deployed.
        kind, instance_type, capacity: As for a `ResourceState`: what it would draw on.
    """

    url: str
    digest: str
    differs: tuple[str, ...] = ()
    kind: str | None = None
    instance_type: str | None = None
    capacity: int | None = None


# ---------------------------------------------------------------------------------------- surroundings


class Area(StrEnum):
    """A part of the surroundings. A cause names those that tell it from its rivals; only these are read."""

    REGISTRY = "registry"
    KEYS = "keys"
    NETWORK = "network"
    IMAGE = "image"
    MODEL = "model"
    ACCESS = "access"
    QUOTA = "quota"
    IDLE = "idle"


class Workspace(Struct, frozen=True, kw_only=True):
    """What a workspace names.

    Attributes:
        registry: Resource ID of its container registry; None if it has none.
        storage: Resource ID of its storage account.
    """

    path: str
    location: str
    registry: str | None = None
    storage: str | None = None


_ROLE_MODES = {"legacyregistrypermissions": False, "abacrepositorypermissions": True}


class Registry(Struct, frozen=True, kw_only=True):
    """A container registry.

    Attributes:
        admin_user: Whether its admin user is on: the keys that a workspace syncs are that user's.
        role_mode: ``LegacyRegistryPermissions``, or ``AbacRepositoryPermissions``, which ignores AcrPull.
        keys_changed_at: When its keys were last regenerated, by its Activity Log of the last days.
    """

    path: str
    login_server: str
    admin_user: bool | None = None
    role_mode: str | None = None
    keys_changed_at: datetime | None = None

    @property
    def is_abac(self) -> bool | None:
        """Whether it ignores AcrPull; None if it does not show which roles it honors."""
        return _ROLE_MODES.get((self.role_mode or "").lower())


class Image(Struct, frozen=True, kw_only=True):
    """The container image of a deployment.

    Attributes:
        reference: As the environment names it.
        in_registry: Whether it lies in the workspace's registry.
        manifest: Its digest on the registry's data plane; absent if the registry says that there is no such tag.
    """

    reference: str
    in_registry: bool
    manifest: Reading[str] = Unknown()


class Access(Struct, frozen=True, kw_only=True):
    """Whether one identity of an endpoint may do one thing that a deployment needs.

    Attributes:
        need: ``pull`` images from the registry, or ``read`` models from the storage account.
        role: Id (GUID) of the least role that gives it there, and `role_name` its name.
        scope: Resource ID of the registry or the storage account.
        held: Whether an assignment at that scope or above it gives it, directly or by a group; None if that is unclear.
        words: Which assignment does, or why it is unclear.
        since: When the assignment was made that gives it.
    """

    identity: Identity
    need: Literal["pull", "read"]
    role: str
    role_name: str
    scope: str
    held: bool | None
    words: str = ""
    since: datetime | None = None


class Quota(Struct, frozen=True, kw_only=True):
    """The CPU quota that a managed deployment draws on, in cores.

    Attributes:
        family: Of the machine type, as Azure ML writes it: ``standardDSv2Family``.
        cores_each: Of one instance.
        needed: For all instances, with the 20 % that Azure ML reserves for upgrades.
        limit: Of the family; None if it has no limit of its own.
        total_limit: Of the region, over all families; None if there is none.
    """

    location: str
    family: str
    instance_type: str
    cores_each: int
    needed: int
    used: int
    limit: int | None
    total_used: int = 0
    total_limit: int | None = None

    @property
    def missing(self) -> int:
        """Cores of the family that have to become free."""
        of_family = 0 if self.limit is None else self.needed - (self.limit - self.used)
        of_region = 0 if self.total_limit is None else self.needed - (self.total_limit - self.total_used)
        return max(0, of_family, of_region)

    @property
    def is_curable(self) -> bool:
        """Whether any deletion could ever free enough."""
        limits = [limit for limit in (self.limit, self.total_limit) if limit is not None]
        return all(self.needed <= limit for limit in limits) and self.missing <= self.used


class Candidate(Struct, frozen=True, kw_only=True):
    """A deployment that draws on the quota that is missing.

    Attributes:
        state: What a GET of it shows, and `endpoint` what one of its endpoint does.
        cores: What its deletion frees, with the reserve.
        siblings: Names of the endpoint's other deployments that are Succeeded.
        requests: Whether any request reached it inside the window, by the endpoint's metrics and by its own.
        alive: Whether its metrics are shown to be alive through the whole window; absent if there are gaps.
        window: How far back its metrics were asked for; None if they were not.
    """

    resource: ResourceId
    state: ResourceState
    endpoint: ResourceState
    cores: int
    siblings: tuple[str, ...] = ()
    requests: Reading[bool] = Unknown()
    alive: Reading[bool] = Unknown()
    window: timedelta | None = None


class Surroundings(Struct, frozen=True, kw_only=True):
    """What lies around a failed deployment: read only as far as the causes that the texts speak of need it.

    Attributes:
        network: What the workspace's own diagnosis finds wrong: ``<area>: <code>: <message>``.
        model: Resource ID of the model of the deployment.
        candidates: Deployments that draw on the same quota.
    """

    workspace: Reading[Workspace] = Unknown()
    registry: Reading[Registry] = Unknown()
    network: Reading[tuple[str, ...]] = Unknown()
    image: Reading[Image] = Unknown()
    model: Reading[str] = Unknown()
    access: Reading[tuple[Access, ...]] = Unknown()
    quota: Reading[Quota] = Unknown()
    candidates: Reading[tuple[Candidate, ...]] = Unknown()


class Receipt(Struct, frozen=True, kw_only=True):
    """What a deletion kept of a deployment, without the body itself.

    Attributes:
        digest: Of the receipt in the evidence store; the intent of the deletion names it.
        path: Resource ID of what was deleted.
        body_digest: Digest of the body that brings it back.
        environment_names: Environment variables that it had. Their values were never kept.
        traffic: How the endpoint's traffic was split then.
        differs: Paths at which what Azure shows now is not as the body says; empty once it is deployed as it was.
    """

    digest: str
    path: str
    taken_at: datetime
    body_digest: str
    environment_names: tuple[str, ...] = ()
    traffic: dict[str, int] = {}
    tags: dict[str, str] = {}
    instance_type: str | None = None
    capacity: int | None = None
    differs: tuple[str, ...] = ()


class Grant(Struct, frozen=True, kw_only=True):
    """A role assignment that we created, by our own trail.

    Attributes:
        role: Id (GUID) of the role definition.
    """

    path: str
    scope: str
    principal: str
    role: str


class Assignment(Struct, frozen=True, kw_only=True):
    """A role assignment as Azure shows it.

    Attributes:
        created_by_us: Whether our own object id created it; None if that cannot be told.
    """

    path: str
    name: str
    scope: str
    principal: str
    role: str
    condition: str | None = None
    created_by_us: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Undone(Struct, frozen=True, kw_only=True):
    """What undoing a call rests on: read for an undo alone.

    Attributes:
        receipt: What the deletion kept; absent once its time in the evidence store is over.
        weights: What the endpoint gives a deployment of that name, in percent: its traffic, and its mirror traffic.
        rewritten: Rows of others' writes and deletions of that deployment since its receipt was taken, oldest first.
        grant: What we granted, by the trail.
        assignment: The same as Azure shows it now.
        may_delete: Whether our identity may delete it.
    """

    receipt: Reading[Receipt] = Unknown()
    weights: Reading[tuple[int, int]] = Unknown()
    rewritten: Reading[tuple[ActivityRow, ...]] = Unknown()
    grant: Reading[Grant] = Unknown()
    assignment: Reading[Assignment] = Unknown()
    may_delete: Reading[bool] = Unknown()


class Evidence(Struct, frozen=True, kw_only=True):
    """What was read about one incident, at one time.

    Attributes:
        resource: The deployment or endpoint itself.
        endpoint: The endpoint that it belongs to (the same as `resource` for an endpoint).
        target: Another deployment that a step of a plan is about to change, or has changed.
        activity: Rows of the failed operation, by correlation id.
        history: Rows of the resource from the failure on: who else did something.
        desired: The body that CI says it sent; absent if it named none or policy does not list its place.
        load: How the endpoint answered requests around the failure; read for `Operation.SCORE` alone.
        report: What the sender of the event said. Text only.
        logs: Container name -> its last lines, redacted.
        missing_permissions: Operations that Azure refused us; each names what has to be granted.
        undone: What an undo rests on; None for every other incident.
    """

    incident: Incident
    collected_at: datetime
    resource: Reading[ResourceState] = Unknown()
    endpoint: Reading[ResourceState] = Unknown()
    target: Reading[ResourceState] = Unknown()
    operation: Reading[OperationState] = Unknown()
    activity: Reading[tuple[ActivityRow, ...]] = Unknown()
    history: Reading[tuple[ActivityRow, ...]] = Unknown()
    desired: Reading[DesiredSpec] = Absent()
    load: Reading[Load] = Unknown()
    report: tuple[ErrorDetail, ...] = ()
    logs: dict[str, Reading[str]] = {}
    surroundings: Surroundings = Surroundings()
    missing_permissions: tuple[str, ...] = ()
    undone: Undone | None = None


# --------------------------------------------------------------------------------------------- diagnosis


class Level(StrEnum):
    """How well a diagnosis stands."""

    TEXT_ONLY = "text only"
    TEXT_AND_READ = "text and read"
    TWO_READS = "two independent reads"


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the texts of a failure name. Written by whoever wrote the texts: for people, never to act on.

    Attributes:
        instance_type: The machine type (SKU): ``Standard_DS2_v2``.
        used, limit, needed: Of a quota, in its own unit: cores, endpoints, clusters.
        image: The image reference; `registry` the registry's host or name.
        module: What Python could not import; `package` what pip or conda could not install.
        client_id: Of the identity or application that was refused.
        resource: Name or resource ID that could not be found or used.
        operation: The right that was missing.
        state: The provisioning state that was in the way.
        nodes, short_nodes: How many nodes a cluster has, and how many lack the resource that is named in `lacking`.
        exit_code: Of the container's process.
        probe: ``liveness``, ``readiness`` or ``startup``.
        status_code: The HTTP status code in the text.
        file, line: Where the last frame of a traceback stands.
        error: The last line of a traceback.
    """

    instance_type: str | None = None
    used: int | None = None
    limit: int | None = None
    needed: int | None = None
    image: str | None = None
    registry: str | None = None
    model: str | None = None
    module: str | None = None
    package: str | None = None
    client_id: str | None = None
    resource: str | None = None
    operation: str | None = None
    state: str | None = None
    lacking: str | None = None
    nodes: int | None = None
    short_nodes: int | None = None
    exit_code: int | None = None
    probe: str | None = None
    status_code: int | None = None
    file: str | None = None
    line: int | None = None
    error: str | None = None

    @property
    def named(self) -> dict[str, str | int]:
        """Those that the texts name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that one read says for or against a cause."""

    read: str
    says: str


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The cause of an incident, or `unknown`.

    Attributes:
        evidence: Digest of the evidence it rests on.
        rivals: Causes whose text matched too and that no read ruled out.
        would_tell: The read that would tell the rivals apart, when it abstains.
        action: The action that this cause calls for; None if only advice helps.
        what: The cause in one sentence.
        advice: What a person should do; names nothing that stands in a log.
        commands: What to type for that, with the incident's own names, quoted for a shell.
        notes: What the incident's own logs and numbers add: the end of a traceback, how many instances are needed.
        limits: What Endpoint Medic does about it, and what it leaves to a person.
    """

    incident: Incident
    evidence: str
    cause_id: str
    code: str
    level: Level
    advice: str
    source: str
    message: str = ""
    what: str = ""
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    limits: str = ""
    facts: Facts = Facts()
    supporting: tuple[Finding, ...] = ()
    opposing: tuple[Finding, ...] = ()
    rivals: tuple[str, ...] = ()
    would_tell: str | None = None
    action: str | None = None


# -------------------------------------------------------------------------------------------------- plan


class Risk(StrEnum):
    """What an action can cost."""

    REPEATABLE = "repeatable"
    REVERSIBLE = "reversible"
    DESTRUCTIVE = "destructive"


class Call(Struct, frozen=True, kw_only=True):
    """One write call to Azure Resource Manager, without its body.

    Attributes:
        body_digest: Digest of the body that will be sent; the body itself is read again right before.
        via: The client that sends it: ``arm``, ``ml`` (azure-ai-ml) or ``roles`` (azure-mgmt-authorization).
    """

    method: str
    path: str
    api_version: str
    body_digest: str | None = None
    via: Literal["arm", "ml", "roles"] = "arm"

    def __str__(self) -> str:
        return f"{self.method} {self.path}?api-version={self.api_version}"

    @property
    def operation(self) -> str:
        """The operation of Azure Resource Manager that our identity needs for it, as roles name it."""
        return operation_of(self.method, self.path)

    @property
    def scope(self) -> str:
        """What a role that permits it has to cover: the workspace, or what a role is granted on."""
        head, is_grant, _ = self.path.partition("/providers/Microsoft.Authorization/")
        if is_grant:
            return head
        start = "/providers/Microsoft.MachineLearningServices/workspaces/"
        before, _, after = self.path.partition(start)
        return f"{before}{start}{after.partition('/')[0]}"


class Step(Struct, frozen=True, kw_only=True):
    """One call of a plan, and what goes with it.

    Attributes:
        target: What it touches (lower case): these desks are claimed while it and what comes before it runs.
        wait: How long to wait before it; that of the first step is in the plan's own.
        is_rerun: Whether it runs the failed operation again; the others remove what made it fail.
    """

    call: Call
    target: tuple[str, ...]
    wait: timedelta = timedelta()
    is_rerun: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """What would be done, exactly, and what it was decided on.

    Attributes:
        digest: Of incident and try, action, steps, parameters, policy version and fingerprint: what an approval names.
        steps: Its calls, in order. Some may turn out to be unneeded when their turn comes; none is ever added.
        fingerprint: What must still be true of the target right before the effect.
        needs_person: Why a person must approve whatever the mode says; None if nothing asks for it.
        try_number: 1 for the first repair of this incident.
        wait: How long to wait before the first step.
    """

    diagnosis: Diagnosis
    action: str
    risk: Risk
    digest: str
    policy_version: str
    parameters: dict[str, str]
    steps: tuple[Step, ...]
    fingerprint: dict[str, str]
    effect: str
    undo: str
    needs_person: str | None = None
    try_number: int = 1
    wait: timedelta = timedelta()

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(step.call for step in self.steps)

    @property
    def target(self) -> tuple[str, ...]:
        """Everything that its steps touch, sorted."""
        return self.target_from(0)

    def target_from(self, number: int) -> tuple[str, ...]:
        """Everything that its steps touch from one of them on, sorted: the desks that it needs then."""
        return tuple(sorted({key for step in self.steps[number:] for key in step.target}))

    @property
    def rerun(self) -> Call:
        """The call that runs the failed operation again: every plan ends with it."""
        return self.steps[-1].call


class NoPlan(Struct, frozen=True, kw_only=True):
    """Why nothing is planned: an answer for people, never a guess.

    Attributes:
        end: ``advised`` (a person has to act) or ``nothing-to-do`` (the failure is over already).
    """

    diagnosis: Diagnosis
    end: str
    words: str


# ---------------------------------------------------------------------------------------------- decision


class Mode(StrEnum):
    """What policy permits, from least to most."""

    OFF = "off"
    DRY_RUN = "dry-run"
    ASK = "ask"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {mode: rank for rank, mode in enumerate(Mode)}


class Verdict(StrEnum):
    """What a decision comes to."""

    RUN = "run"
    ASK = "ask"
    REFUSE = "refuse"
    DRY_RUN = "dry-run"


class Answer(StrEnum):
    """What a guard says. Unknown is deny."""

    ALLOW = "allow"
    DENY = "deny"
    UNKNOWN = "unknown"


class GuardAnswer(Struct, frozen=True, kw_only=True):
    """One guard's answer, in words."""

    guard: str
    answer: Answer
    words: str


class Decision(Struct, frozen=True, kw_only=True):
    """The verdict on a plan.

    Attributes:
        would: What the verdict would be without the dry-run ceiling: what the report counts.
        mode: The mode that held, and `mode_words` why.
        situation: Digest of the situation that the guards saw.
        budget: Repairs by this action that policy permits in one subscription and hour.
    """

    plan: Plan
    verdict: Verdict
    would: Verdict
    mode: Mode
    mode_words: str
    answers: tuple[GuardAnswer, ...]
    situation: str
    budget: int = 0

    @property
    def refusals(self) -> tuple[GuardAnswer, ...]:
        return tuple(answer for answer in self.answers if answer.answer is not Answer.ALLOW)


class Touch(Struct, frozen=True, kw_only=True):
    """One thing that a plan reaches, and what that means for it: a part of the plan's blast radius.

    Attributes:
        path: Its resource ID.
        says: Sentences for the person who approves, such as its share of the traffic.
    """

    path: str
    says: tuple[str, ...]


# ----------------------------------------------------------------------------------------------- outcome


class Status(StrEnum):
    """How one intent ended, or stands."""

    ACCEPTED = "accepted"  # Azure took the call
    UNNEEDED = "unneeded"  # what the call is for is so already; nothing was sent
    BUSY = "busy"  # 409: another operation runs; nothing was done, and it does not count
    THROTTLED = "throttled"  # 429: nothing was done
    REJECTED = "rejected"  # Azure answered no; nothing was done
    FORBIDDEN = "forbidden"  # 401 or 403: nothing was done
    PENDING = "pending"  # somebody created the intent a moment ago; its answer is not there yet
    UNSENT = "unsent"  # the intent was no longer fresh; nothing was sent
    NOT_DONE = "not-done"  # the answer was lost, and the world shows that nothing was done
    AGAIN = "again"  # the answer was lost, and sending it again does no harm
    UNCLEAR = "unclear"  # the answer was lost, and the world does not tell
    REFUSED = "refused"  # the guards refused right before the effect
    VOID = "void"  # what people approved is no longer so; nothing was sent, and they are asked again


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of an effect.

    Attributes:
        correlation_id: ARM's, of our own write: the events that it causes carry it.
        operation_url: The long-running operation to follow, if Azure named one.
        retry_after: How long Azure asks us to wait.
        codes: The codes of what went wrong; its texts are not kept, they may repeat what was sent.
    """

    status: Status
    words: str
    request_id: str | None = None
    service_request_id: str | None = None
    correlation_id: str | None = None
    operation_url: str | None = None
    retry_after: timedelta | None = None
    codes: tuple[str, ...] = ()


class End(StrEnum):
    """How an incident ended."""

    REPAIRED = "repaired"
    NOT_REPAIRED = "not-repaired"
    INCONCLUSIVE = "inconclusive"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    DRY_RUN = "dry-run"
    ADVISED = "advised"
    NOTHING_TO_DO = "nothing-to-do"

    @property
    def is_escalated(self) -> bool:
        """Whether a person has to look now: something was done, and it did not come out as it should."""
        return self in {End.NOT_REPAIRED, End.INCONCLUSIVE}


class Verification(Struct, frozen=True, kw_only=True):
    """Whether a step helped.

    Attributes:
        end: Repaired, not repaired or inconclusive; None if the repair goes on with the next step.
    """

    end: End | None
    words: str
    evidence: str


# ------------------------------------------------------------------------------------------------- audit


class Actor(Struct, frozen=True, kw_only=True):
    """Who did what an audit record tells: our own identity, or a person, by object id and tenant."""

    who: Literal["medic", "person"] = "medic"
    oid: str | None = None
    appid: str | None = None
    tid: str | None = None


class AuditRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an incident's trail. Holds ids, digests and our own words; no text from logs.

    Attributes:
        seq: 0 for the first record of the incident, then one more each.
        key: What makes the record itself: writing it twice leaves one.
        facts: What this stage adds; plain JSON.
        previous: Hash of the record before; of the first one, zeros.
        hash: Of this record's line without it (`proof.chain`); empty until it has its place.
    """

    seq: int
    at: datetime
    incident: str
    stage: str
    key: str
    actor: Actor
    mode: Mode
    policy_version: str
    facts: dict[str, object]
    previous: str
    hash: str = ""


class Checkpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of the whole trail at one time, signed.

    Attributes:
        number: 1 for the first, then one more each.
        leaves: Size of the tree of heads, and `root` of that tree in hex (RFC 6962).
        incidents: With records, and `records` of all of them.
        previous: SHA-256 of the checkpoint before, signature included; of the first one, zeros.
        key: The public key that verifies it, Ed25519, base64.
        signature: Over the canonical JSON of all the others; base64.
    """

    number: int
    at: datetime
    leaves: int
    root: str
    incidents: int
    records: int
    previous: str
    key: str
    signature: str = ""


def operation_of(method: str, path: str) -> str:
    """Give the operation of Azure Resource Manager that a call is, by its path: ``<provider>/<types>/write``."""
    parts = path.rpartition("/providers/")[2].strip("/").split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    verb = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}[method]
    return f"{kind}/{verb}"


def reading_words[T](reading: Reading[T]) -> str:
    """Give `absent`, the reason of an unknown, or `found`, for people."""
    match reading:
        case Found():
            return "found"
        case Absent():
            return "absent"
        case Unknown(reason):
            return f"unknown ({reason})"


def load_words(load: Reading[Load]) -> str:
    """Give the answers of an endpoint and how long they took, for people; or why they are not known."""
    if not isinstance(load, Found):
        return f"answers {reading_words(load)}"
    counts = [
        f"{one.status}{f' ({one.model_status})' if one.model_status else ''}: {one.per_minute:.3g} a minute"
        for one in load.value.answers
    ]
    latency = "" if load.value.latency is None else f"; 95 % within {load.value.latency.total_seconds():.3g} s"
    return f"answers {', '.join(counts) or 'none'}{latency}"


def tags_match(tags: Mapping[str, str], wanted: Mapping[str, str], *, any_case: bool = False) -> bool:
    """Tell whether `tags` hold all of `wanted`; tag names are compared without case, as Azure does.

    Args:
        any_case: Compare values without case, too: where a tag forbids, a slip of the pen must not permit.
    """
    if wanted and not tags:
        return False
    lowered = {name.lower(): value.lower() if any_case else value for name, value in tags.items()}
    return all(lowered.get(name.lower()) == (value.lower() if any_case else value) for name, value in wanted.items())
