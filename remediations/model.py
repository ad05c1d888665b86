"""The values of the walk, in order of appearance. All frozen; every datetime is aware UTC."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

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


class ResourceId(Struct, frozen=True, kw_only=True):
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

    @property
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


class Caller(Struct, frozen=True, kw_only=True):
    """Who started an operation. No name and no address: four-eyes needs the ids alone."""

    oid: str | None = None
    appid: str | None = None
    tid: str | None = None


class Incident(Struct, frozen=True, kw_only=True):
    """One failed operation on one deployment or endpoint.

    Attributes:
        id: The same for every event of that operation; also the orchestration's id.
        correlation_id: ARM's; None while nobody knows it.
        failed_at: When Azure says it failed, not when we heard of it.
        source: What told us: ``event-grid``, ``dead-letter``, ``ci``, ``alert`` or ``sweep``.
        report: Digest of what the sender itself said of the error, in the evidence store.
        operation_url: The long-running operation, if the sender named it. Untrusted until its host is checked.
        desired_spec_url: Where CI keeps the body that it sent. Untrusted until policy lists its container.
        first_failed_at: When the first failure was, once a repair of ours has failed and `failed_at` is that one's.
        sent_digest: Digest of the body that our own last repair sent.
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

    @property
    def began_at(self) -> datetime:
        """When the trouble began, whatever was tried since."""
        return self.first_failed_at or self.failed_at


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


class ResourceState(Struct, frozen=True, kw_only=True):
    """What a GET of a deployment or endpoint says, without its environment variables.

    Attributes:
        kind: ``Managed`` or ``Kubernetes`` for a deployment, ``endpoint`` for an endpoint.
        modified_by_us: Whether the last write was made by our own identity; None if that cannot be told.
        operation_url: ``AzureAsyncOperationUri``: the latest long-running operation.
        spec_digest: Digest of the PUT body that this state would be rebuilt to; None if it cannot be rebuilt.
        not_rebuildable: Why it cannot be rebuilt without loss, in words.
        environment_names: Names of the environment variables. Their values are never kept.
        shows_environment: Whether GET shows environment variables at all, if only that there are none.
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
    tags: dict[str, str] = {}
    traffic: dict[str, int] = {}
    environment_names: tuple[str, ...] = ()
    shows_environment: bool = True
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


class DesiredSpec(Struct, frozen=True, kw_only=True):
    """The body that CI says it sent. The body itself is fetched again to be sent.

    Attributes:
        differs: Paths at which the resource is not as it says; empty once it is deployed.
    """

    url: str
    digest: str
    differs: tuple[str, ...] = ()


class Evidence(Struct, frozen=True, kw_only=True):
    """What was read about one incident, at one time.

    Attributes:
        resource: The deployment or endpoint itself.
        endpoint: The endpoint that it belongs to (the same as `resource` for an endpoint).
        activity: Rows of the failed operation, by correlation id.
        history: Rows of the resource from the failure on: who else did something.
        desired: The body that CI says it sent; absent if it named none or policy does not list its place.
        report: What the sender of the event said. Text only.
        logs: Container name -> its last lines, redacted.
        diagnostics: The workspace's own diagnosis: ``<area>: <code>: <message>``.
        missing_permissions: Operations that Azure refused us; each names what has to be granted.
    """

    incident: Incident
    collected_at: datetime
    resource: Reading[ResourceState] = Unknown()
    endpoint: Reading[ResourceState] = Unknown()
    operation: Reading[OperationState] = Unknown()
    activity: Reading[tuple[ActivityRow, ...]] = Unknown()
    history: Reading[tuple[ActivityRow, ...]] = Unknown()
    desired: Reading[DesiredSpec] = Absent()
    report: tuple[ErrorDetail, ...] = ()
    logs: dict[str, Reading[str]] = {}
    diagnostics: Reading[tuple[str, ...]] = Unknown()
    missing_permissions: tuple[str, ...] = ()


# --------------------------------------------------------------------------------------------- diagnosis


class Level(StrEnum):
    """How well a diagnosis stands."""

    TEXT_ONLY = "text only"
    TEXT_AND_READ = "text and read"
    TWO_READS = "two independent reads"


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
    """

    incident: Incident
    evidence: str
    cause_id: str
    code: str
    level: Level
    advice: str
    source: str
    message: str = ""
    facts: dict[str, str] = {}
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
    """

    method: str
    path: str
    api_version: str
    body_digest: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}?api-version={self.api_version}"


class Plan(Struct, frozen=True, kw_only=True):
    """What would be done, exactly, and what it was decided on.

    Attributes:
        digest: Of incident and try, action, target, parameters, calls, policy version and fingerprint: what an
            approval names.
        target: Resource IDs (lower case) that the action touches: their desks are claimed.
        fingerprint: What must still be true of the target right before the effect.
        needs_person: Why a person must approve whatever the mode says; None if nothing asks for it.
        try_number: 1 for the first repair of this incident.
        wait: How long to wait before the effect.
    """

    diagnosis: Diagnosis
    action: str
    risk: Risk
    digest: str
    policy_version: str
    target: tuple[str, ...]
    parameters: dict[str, str]
    calls: tuple[Call, ...]
    fingerprint: dict[str, str]
    effect: str
    undo: str
    needs_person: str | None = None
    try_number: int = 1
    wait: timedelta = timedelta()


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
        return list(Mode).index(self)


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
        budget: Effects of this action that policy permits in one subscription and hour.
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


# ----------------------------------------------------------------------------------------------- outcome


class Status(StrEnum):
    """How one intent ended, or stands."""

    ACCEPTED = "accepted"  # Azure took the call
    BUSY = "busy"  # 409: another operation runs; nothing was done, and it does not count
    THROTTLED = "throttled"  # 429: nothing was done
    REJECTED = "rejected"  # Azure answered no; nothing was done
    FORBIDDEN = "forbidden"  # 401 or 403: nothing was done
    PENDING = "pending"  # somebody created the intent a moment ago; its answer is not there yet
    UNSENT = "unsent"  # the intent was no longer fresh; nothing was sent
    NOT_DONE = "not-done"  # the answer was lost, and the world shows that nothing was done
    UNCLEAR = "unclear"  # the answer was lost, and the world does not tell
    REFUSED = "refused"  # the guards refused right before the effect


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of an effect.

    Attributes:
        correlation_id: ARM's, of our own write: the events that it causes carry it.
        intent: Name of the intent on the trail; None if none was created.
        operation_url: The long-running operation to follow, if Azure named one.
        retry_after: How long Azure asks us to wait.
        codes: The codes of what went wrong; its texts are not kept, they may repeat what was sent.
    """

    status: Status
    words: str
    intent: str | None = None
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
    """Whether the repair holds: `end` is repaired, not repaired or inconclusive."""

    end: End
    words: str
    evidence: str


# ------------------------------------------------------------------------------------------------- audit


class AuditRecord(Struct, frozen=True, kw_only=True):
    """One line of an incident's trail. Holds ids, digests and our own words; no text from logs.

    Attributes:
        seq: 0 for the first record of the incident, then one more each.
        key: What makes the record itself: writing it twice leaves one.
        facts: What this stage adds; plain JSON.
    """

    seq: int
    at: datetime
    incident: str
    stage: str
    key: str
    mode: Mode
    policy_version: str
    facts: dict[str, object]


def reading_words[T](reading: Reading[T]) -> str:
    """Give `absent`, the reason of an unknown, or `found`, for people."""
    match reading:
        case Found():
            return "found"
        case Absent():
            return "absent"
        case Unknown(reason):
            return f"unknown ({reason})"


def tags_match(tags: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether `tags` hold all of `wanted`; tag names are compared without case, as Azure does."""
    lowered = {name.lower(): value for name, value in tags.items()}
    return all(lowered.get(name.lower()) == value for name, value in wanted.items())
