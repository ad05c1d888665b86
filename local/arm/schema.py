"""What a world file may say. Durations are seconds; every name that is left out has a value that works."""

from typing import Any, Literal

from msgspec import field

from local.arm.events import EventSettings
from local.arm.faults import AnyFault
from local.arm.happenings import AnyHappening
from local.arm.hazards import AnyHazard
from local.arm.limits import Allowance, Kind
from local.arm.resources import Error, Json, Principal, Strict

ContainerType = Literal["InferenceServer", "StorageInitializer"]

DAY = 86400.0

PRINCIPALS = {
    "ci": Principal(oid="cccccccc-1111-4222-8333-dddddddddddd", appid="aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"),
    "medic": Principal(oid="cccccccc-0000-4000-8000-000000000001", appid="aaaaaaaa-0000-4000-8000-000000000001"),
    "person": Principal(
        oid="cccccccc-0000-4000-8000-000000000002",
        appid="aaaaaaaa-0000-4000-8000-000000000002",
        type="User",
        preempts=True,
    ),
}


class DayValue(Strict, frozen=True, kw_only=True):
    """What a metric averaged in one day, counted back from the start of the world: 0 is the last 24 hours."""

    days_ago: int
    average: float


class AnswersSeed(Strict, frozen=True, kw_only=True):
    """Requests that a deployment answers with one status code, all the time."""

    status: str
    per_minute: float
    model_status: str | None = None


class MetricsSeed(Strict, frozen=True, kw_only=True):
    """What Azure Monitor has about a deployment.

    Attributes:
        requests: None: 12 a minute if it has traffic, else no time series. ``no-points`` are points without a value.
        capacity: DeploymentCapacity: its instances since it is there, or no time series at all.
        dimension: The name that the endpoint's series give the deployment, if not that of the deployment.
        error_code: The metric's ``errorCode``; with another than Success it has no series.
        answers: Its requests by status code, instead of ``requests``.
        latency_ms: What the metrics of latency show; None: they have no series.
    """

    requests: Literal["none", "zero", "no-points"] | tuple[DayValue, ...] | None = None
    capacity: Literal["alive", "silent"] | tuple[DayValue, ...] = "alive"
    dimension: str | None = None
    error_code: str = "Success"
    answers: tuple[AnswersSeed, ...] = ()
    latency_ms: float | None = None


class DeploymentSeed(Strict, frozen=True, kw_only=True):
    """A deployment that is there from the start.

    Attributes:
        spec: Laid over a plain managed deployment, in the shape of a PUT body; with
            ``environmentVariables: null`` it has none, and GET shows ``{}``.
        error: Why its last operation ended in ``state``.
        age: Seconds since its last write.
        ever_succeeded: Whether an older revision ran; a Failed one that never did failed in its first provisioning.
        logs: What getLogs answers, by container.
    """

    name: str
    spec: dict[str, Any] = field(default_factory=dict)
    state: Literal["Succeeded", "Failed", "Canceled"] = "Succeeded"
    error: Error | None = None
    by: str = "ci"
    age: float = 30 * DAY
    ever_succeeded: bool | None = None
    correlation_id: str | None = None
    logs: dict[ContainerType, str] = field(default_factory=dict)
    metrics: MetricsSeed = MetricsSeed()


class EndpointSeed(Strict, frozen=True, kw_only=True):
    """An endpoint that is there from the start; ``spec`` is laid over a plain one, in the shape of a PUT body.

    Attributes:
        identities: Its user-assigned identities, by id or by name in its group; without any it has its own.
    """

    name: str
    traffic: dict[str, int] = field(default_factory=dict)
    mirror_traffic: dict[str, int] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    state: Literal["Succeeded", "Failed", "Canceled"] = "Succeeded"
    error: Error | None = None
    by: str = "ci"
    age: float = 60 * DAY
    identities: tuple[str, ...] = ()
    deployments: tuple[DeploymentSeed, ...] = ()


class EnvironmentSeed(Strict, frozen=True, kw_only=True):
    """A version of an environment; ``{registry}`` in ``image`` is the workspace registry's login server.

    Attributes:
        image: None is ``{registry}/<name>:<version>``.
        conda: It has no image of its own: the workspace builds one.
        missing: There is no such environment.
    """

    image: str | None = None
    conda: bool = False
    missing: bool = False


class RegistrySeed(Strict, frozen=True, kw_only=True):
    """A container registry. That of a workspace is there and healthy unless the file names it.

    Attributes:
        images: Repository -> tags. None: the images that the environments in use name.
        absent: There is no registry of that name (any more).
        keys_regenerated: Seconds ago, if the Activity Log still tells.
        desynchronised: Its workspaces hold other keys than it has; None: if the keys were regenerated.
        unreachable: A network fault keeps everyone from its data plane.
        pullers: Who is given a token to pull.
        absent_tag_text: How a deployment fails of which the tag is not there.
    """

    name: str
    subscription: str | None = None
    resource_group: str | None = None
    location: str | None = None
    admin_user: bool = True
    role_mode: Literal["legacy", "abac"] = "legacy"
    images: dict[str, tuple[str, ...]] | None = None
    absent: bool = False
    keys_regenerated: float | None = None
    desynchronised: bool | None = None
    unreachable: bool = False
    pullers: tuple[str, ...] = ("medic",)
    absent_tag_text: Literal["not-found", "pull-permission"] = "not-found"


class RoleAssignmentSeed(Strict, frozen=True, kw_only=True):
    """A role assignment that is there from the start.

    Attributes:
        principal: A principal of the world, an identity by id or name, a group, or an object id.
        role: Name or GUID.
        scope: An ARM id; or ``registry``, ``storage``, ``resource-group``, ``subscription`` of the first workspace.
        condition: An ABAC condition; ``condition_fits`` is whether it lets through what a deployment asks for.
    """

    principal: str
    role: str
    scope: str
    condition: str | None = None
    condition_fits: bool = True
    age: float = 30 * DAY


class RoleSeed(Strict, frozen=True, kw_only=True):
    """A custom role."""

    name: str
    guid: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()


class WorkspaceSeed(Strict, frozen=True, kw_only=True):
    """A workspace; ``spec`` is laid over a plain one. ``diagnose`` holds the lists that differ from empty.

    Attributes:
        environments: ``name/version`` -> what it is; any other is there, with an image of its own name.
        missing_models: ``name/version``; any other is there.
        desynchronised: The registry keys that it holds are not the registry's.
    """

    name: str
    subscription: str | None = None
    resource_group: str | None = None
    location: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    diagnose: dict[str, list[Json]] = field(default_factory=dict)
    environments: dict[str, EnvironmentSeed] = field(default_factory=dict)
    missing_models: tuple[str, ...] = ()
    desynchronised: bool = False
    endpoints: tuple[EndpointSeed, ...] = ()


class Denial(Strict, frozen=True, kw_only=True):
    """A principal lacks an action (globs); ``while`` ties it to a condition of the world."""

    principal: str
    action: str
    scope: str = "*"
    condition: str | None = field(default=None, name="while")


class Usage(Strict, frozen=True, kw_only=True):
    """A row of the quota usages, of each region or of ``location`` only.

    Attributes:
        used: At the start, the deployments that the world begins with included.
        limit: -1 is no limit of its own.
    """

    name: str
    used: int
    limit: int
    location: str | None = None


class VmSize(Strict, frozen=True, kw_only=True):
    """A machine type."""

    name: str
    family: str
    cores: int
    memory_gb: float
    gpus: int = 0


DEFAULT_USAGES = (
    Usage(name="Total Cluster Dedicated Regional vCPUs", used=8, limit=100),
    Usage(name="Standard DSv2 Family Cluster Dedicated vCPUs", used=8, limit=24),
)


class WorldSeed(Strict, frozen=True, kw_only=True):
    """A world file.

    Attributes:
        seed: Makes the made-up ids the same in every run.
        retry_after: Sent with a running operation; whole seconds, 0 counts as absent for the SDK.
        operation_record_seconds: How long the record of an ended operation can be read; null is for ever.
        operation_records_missing: The records of operations are never found (404).
        environment_variables: How GET shows a deployment's environment variables; what Azure does is not published.
        fills_defaults: The service adds probes and settings that a PUT leaves out.
        diagnose_is_async: diagnose answers 202 and a Location first.
        limits: Kind of request -> how many of a principal are taken in a subscription; the others get 429.
        blobs: ``container/path`` -> JSON, served without authorization under ``/blobs/``.
        redirects: ``container/path`` -> where its answer 302 points.
        enforce_roles: Deployments fail when their user-assigned identity lacks a role; None: if the file assigns any.
        groups: Object id of a group -> its members, named as in ``role_assignments``.
        role_propagation_seconds: A new assignment is listed at once, and takes effect that much later.
        role_propagation_is_partial: Every other one (by its name) takes effect at once.
        assignments_used: Assignments of each subscription that count against the limit and are not shown.
        unreplicated: Identity -> seconds until the directory knows it.
        usages: Quota is enforced if the file names rows, or says so.
        enforce_quota: The same for the rows that are there by default.
        quota_refuses: A create beyond the quota is refused at once, or accepted and failed.
        usages_lag: Seconds until the cores of a deleted deployment are free.
        usages_missing_families: The rows of families are left out of the answer (and enforced all the same).
    """

    tenant: str = "99999999-8888-7777-6666-555555555555"
    subscription: str = "00000000-1111-2222-3333-444444444444"
    resource_group: str = "rg-ml-prod"
    location: str = "westeurope"
    seed: int | None = None
    workspaces: tuple[WorkspaceSeed, ...] = ()
    principals: dict[str, Principal] = field(default_factory=dict)
    denied: tuple[Denial, ...] = ()
    operation_seconds: float = 0.2
    retry_after: int = 1
    operation_record_seconds: float | None = None
    operation_records_missing: bool = False
    failed_update_shows: Literal["old", "new"] = "old"
    environment_variables: Literal["plain", "masked", "nulled", "absent"] = "plain"
    fills_defaults: bool = True
    diagnose_is_async: bool = False
    page_size: int = 100
    activity_log_delay: float = 0.1
    activity_log_missing: bool = False
    activity_log_page_size: int = 100
    events: EventSettings | Literal["none"] = EventSettings()
    conditions: tuple[str, ...] = ()
    hazards: tuple[AnyHazard, ...] = ()
    faults: tuple[AnyFault, ...] = ()
    limits: dict[Kind, Allowance] = field(default_factory=dict)
    happens: tuple[AnyHappening, ...] = ()
    blobs: dict[str, Any] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    registries: tuple[RegistrySeed, ...] = ()
    enforce_roles: bool | None = None
    role_assignments: tuple[RoleAssignmentSeed, ...] | None = None
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    custom_roles: tuple[RoleSeed, ...] = ()
    role_propagation_seconds: float = 0.0
    role_propagation_is_partial: bool = False
    assignment_limit: int = 4000
    assignments_used: int = 0
    unreplicated: dict[str, float] = field(default_factory=dict)
    usages: tuple[Usage, ...] | None = None
    enforce_quota: bool = False
    quota_refuses: Literal["request", "end"] = "end"
    usages_lag: float = 0.0
    usages_missing_families: bool = False
    vm_sizes: tuple[VmSize, ...] = (
        VmSize(name="Standard_DS3_v2", family="standardDSv2Family", cores=4, memory_gb=14),
        VmSize(name="Standard_DS4_v2", family="standardDSv2Family", cores=8, memory_gb=28),
        VmSize(name="Standard_DS2_v2", family="standardDSv2Family", cores=2, memory_gb=7),
        VmSize(name="Standard_DS5_v2", family="standardDSv2Family", cores=16, memory_gb=56),
        VmSize(name="Standard_E4s_v3", family="standardESv3Family", cores=4, memory_gb=32),
        VmSize(name="Standard_D4s_v3", family="standardDSv3Family", cores=4, memory_gb=16),
        VmSize(name="Standard_F4s_v2", family="standardFSv2Family", cores=4, memory_gb=8),
        VmSize(name="Standard_F16s_v2", family="standardFSv2Family", cores=16, memory_gb=32),
        VmSize(name="Standard_NC6s_v3", family="standardNCSv3Family", cores=6, memory_gb=112, gpus=1),
    )


def plain_workspace(name: str, location: str, group: str) -> Json:
    """The body of a workspace, in the shape of a PUT body, with the values of the published examples."""
    short = name.replace("-", "")
    return {
        "location": location,
        "kind": "Default",
        "identity": {"type": "SystemAssigned"},
        "sku": {"name": "Basic", "tier": "Basic"},
        "properties": {
            "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/st{short}",
            "containerRegistry": f"{group}/providers/Microsoft.ContainerRegistry/registries/cr{short}",
            "keyVault": f"{group}/providers/Microsoft.KeyVault/vaults/kv{short}",
            "applicationInsights": f"{group}/providers/Microsoft.Insights/components/ai{short}",
            "systemDatastoresAuthMode": "accessKey",
        },
    }


def plain_endpoint(location: str) -> Json:
    """The body of an online endpoint, in the shape of a PUT body."""
    return {
        "location": location,
        "kind": "Managed",
        "tags": {},
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}, "publicNetworkAccess": "Enabled"},
    }


def plain_deployment(location: str, workspace_id: str) -> Json:
    """The body of a managed deployment, in the shape of a PUT body."""
    probe = {
        "failureThreshold": 30,
        "initialDelay": "PT10S",
        "period": "PT10S",
        "successThreshold": 1,
        "timeout": "PT2S",
    }
    return {
        "location": location,
        "tags": {},
        "kind": "Managed",
        "sku": {"name": "Default", "capacity": 1},
        "properties": {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "model": f"{workspace_id}/models/credit/versions/7",
            "environmentId": f"{workspace_id}/environments/sklearn-inf/versions/12",
            "codeConfiguration": {"codeId": f"{workspace_id}/codes/1f0c/versions/1", "scoringScript": "score.py"},
            "environmentVariables": {"LOG_LEVEL": "INFO"},
            "appInsightsEnabled": False,
            "scaleSettings": {"scaleType": "Default"},
            "requestSettings": {
                "maxConcurrentRequestsPerInstance": 1,
                "maxQueueWait": "PT0.5S",
                "requestTimeout": "PT5S",
            },
            "livenessProbe": dict(probe),
            "readinessProbe": dict(probe),
            "egressPublicNetworkAccess": "Enabled",
            "properties": {},
        },
    }
