"""Values for tests: each builder gives a plain, valid value, and takes the changes that a test is about."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from remediations import intake
from remediations.actions.rerun import fingerprint_of
from remediations.audit import Journal
from remediations.errors import AlreadyExists, AppendConflict, NotFound, StoreUnavailable
from remediations.model import (
    Access,
    ActivityRow,
    Call,
    Caller,
    Candidate,
    Diagnosis,
    ErrorDetail,
    Evidence,
    Found,
    Identity,
    Incident,
    Json,
    Level,
    Mode,
    Operation,
    OperationState,
    Outcome,
    Plan,
    Quota,
    Reading,
    Registry,
    ResourceId,
    ResourceState,
    Risk,
    Status,
    Step,
    Unknown,
    Workspace,
)
from remediations.planning import plan_digest
from remediations.policy import ActionPolicy
from remediations.ports import Reply, checked_name, checked_prefix
from remediations.situation import Situation
from remediations.trail import Effect, Intent, Trail

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FAILED_AT = NOON - timedelta(minutes=5)
SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices"
    "/workspaces/mlw-prod"
)
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/crmlwprod"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/stmlwprod"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-credit"
PRINCIPAL = "44444444-aaaa-4bbb-8ccc-000000000001"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/credit-scoring"
DEPLOYMENT = f"{ENDPOINT}/deployments/green"
CORRELATION = "b5768deb-836b-41cc-803e-3f4de2f9e404"
OTHER_CORRELATION = "b5768deb-836b-41cc-803e-3f4de2f9e499"
OPERATION_URL = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/operations/od:1:2"
US = Caller(
    oid="dddddddd-1111-4222-8333-eeeeeeeeeeee",
    appid="ffffffff-1111-4222-8333-eeeeeeeeeeee",
    tid="99999999-8888-7777-6666-555555555555",
)
SOMEBODY = Caller(
    oid="cccccccc-1111-4222-8333-dddddddddddd",
    appid="aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb",
    tid="99999999-8888-7777-6666-555555555555",
)
CANCELED = ErrorDetail(
    code="OperationCanceled",
    message="Operation was canceled by another operation that has a higher priority",
    depth=1,
)
WRITE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"
DELETE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/delete"


# --------------------------------------------------------------------------------------------------- values


def make_resource(path: str = DEPLOYMENT) -> ResourceId:
    return ResourceId.parse(path)


def make_incident(**changes: Any) -> Incident:
    resource = changes.pop("resource", make_resource())
    fields: dict[str, Any] = {
        "id": intake.incident_id(resource, changes.get("correlation_id") or CORRELATION),
        "resource": resource,
        "operation": Operation.WRITE,
        "failed_at": FAILED_AT,
        "event_id": "4db48cba-50a2-455a-93b4-de41a3b5b704",
        "source": "event-grid",
        "correlation_id": CORRELATION,
        "caller": SOMEBODY,
    }
    return Incident(**{**fields, **changes})


def make_state(**changes: Any) -> ResourceState:
    """The deployment as its failed create left it."""
    fields: dict[str, Any] = {
        "path": DEPLOYMENT,
        "kind": "Managed",
        "provisioning_state": "Canceled",
        "created_at": FAILED_AT - timedelta(minutes=3),
        "last_modified_at": FAILED_AT - timedelta(minutes=3),
        "modified_by_us": False,
        "operation_url": OPERATION_URL,
        "instance_type": "Standard_DS3_v2",
        "capacity": 1,
        "spec_digest": "spec-1",
    }
    return ResourceState(**{**fields, **changes})


def make_endpoint_state(**changes: Any) -> ResourceState:
    fields: dict[str, Any] = {
        "path": ENDPOINT,
        "kind": "endpoint",
        "provisioning_state": "Succeeded",
        "created_at": FAILED_AT - timedelta(days=9),
        "last_modified_at": FAILED_AT - timedelta(days=9),
        "modified_by_us": False,
    }
    return ResourceState(**{**fields, **changes})


def with_code(fields: dict[str, Any]) -> dict[str, Any]:
    """The service writes the code of the (first) error into a field of its own."""
    return {"code": fields["errors"][0].code if fields["errors"] else None, **fields}


def make_row(**changes: Any) -> ActivityRow:
    """The Activity Log's row of the operation's end."""
    fields: dict[str, Any] = {
        "at": FAILED_AT,
        "operation_name": WRITE,
        "status": "Canceled",
        "resource": DEPLOYMENT,
        "correlation_id": CORRELATION,
        "caller": SOMEBODY.oid,
        "errors": (CANCELED,),
    }
    return ActivityRow(**with_code({**fields, **changes}))


def make_operation(**changes: Any) -> OperationState:
    fields: dict[str, Any] = {
        "status": "Canceled",
        "started_at": FAILED_AT - timedelta(minutes=3),
        "ended_at": FAILED_AT,
        "errors": (CANCELED,),
    }
    return OperationState(**with_code({**fields, **changes}))


def make_evidence(**changes: Any) -> Evidence:
    """A create that was canceled by priority: the operation and the Activity Log say so."""
    row = make_row()
    fields: dict[str, Any] = {
        "incident": make_incident(),
        "collected_at": NOON,
        "resource": Found(make_state()),
        "endpoint": Found(make_endpoint_state()),
        "operation": Found(make_operation()),
        "activity": Found((row,)),
        "history": Found((row,)),
    }
    return Evidence(**{**fields, **changes})


def make_workspace(**changes: Any) -> Workspace:
    fields: dict[str, Any] = {"path": WORKSPACE, "location": "westeurope", "registry": REGISTRY, "storage": STORAGE}
    return Workspace(**{**fields, **changes})


def make_registry(**changes: Any) -> Registry:
    fields: dict[str, Any] = {
        "path": REGISTRY,
        "login_server": "crmlwprod.azurecr.io",
        "admin_user": True,
        "role_mode": "LegacyRegistryPermissions",
    }
    return Registry(**{**fields, **changes})


def make_access(**changes: Any) -> Access:
    """The endpoint's identity may not pull from the workspace's registry."""
    fields: dict[str, Any] = {
        "identity": Identity(path=IDENTITY, principal_id=PRINCIPAL),
        "need": "pull",
        "role": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "role_name": "AcrPull",
        "scope": REGISTRY,
        "held": False,
    }
    return Access(**{**fields, **changes})


def make_quota(**changes: Any) -> Quota:
    """Eight cores are needed, and four are free."""
    fields: dict[str, Any] = {
        "location": "westeurope",
        "family": "standardDSv2Family",
        "instance_type": "Standard_DS3_v2",
        "cores_each": 4,
        "needed": 8,
        "used": 20,
        "limit": 24,
        "total_used": 20,
        "total_limit": 100,
    }
    return Quota(**{**fields, **changes})


def make_candidate(**changes: Any) -> Candidate:
    """A deployment that is opted in, has no traffic and was not touched for two months; its metrics prove it idle."""
    path = f"{ENDPOINT}/deployments/old"
    then = NOON - timedelta(days=60)
    fields: dict[str, Any] = {
        "resource": ResourceId.parse(path),
        "state": make_state(
            path=path,
            provisioning_state="Succeeded",
            created_at=then,
            last_modified_at=then,
            tags={"medic-delete": "allow"},
        ),
        "endpoint": make_endpoint_state(traffic={"blue": 100}),
        "cores": 8,
        "siblings": ("blue",),
        "requests": Found(False),
        "alive": Found(True),
    }
    return Candidate(**{**fields, **changes})


def make_diagnosis(**changes: Any) -> Diagnosis:
    fields: dict[str, Any] = {
        "incident": make_incident(),
        "evidence": "e" * 64,
        "cause_id": "canceled-higher-priority",
        "code": "OperationCanceled",
        "level": Level.TWO_READS,
        "advice": "Run the same deployment again; Azure preferred another operation.",
        "source": "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints",
        "action": "retry",
    }
    return Diagnosis(**{**fields, **changes})


def make_call(**changes: Any) -> Call:
    fields: dict[str, Any] = {
        "method": "PUT",
        "path": DEPLOYMENT,
        "api_version": "2024-10-01",
        "body_digest": "spec-1",
    }
    return Call(**{**fields, **changes})


def make_plan(**changes: Any) -> Plan:
    """A retry with the body that GET shows; its digest is right unless a test sets another.

    ``calls`` and ``target`` stand for the steps that have them.
    """
    target = changes.pop("target", (DEPLOYMENT.lower(),))
    calls = changes.pop("calls", (make_call(),))
    fields: dict[str, Any] = {
        "diagnosis": make_diagnosis(),
        "action": "retry",
        "risk": Risk.REPEATABLE,
        "digest": "",
        "policy_version": "0123456789ab",
        "parameters": {"body": "live"},
        "steps": tuple(Step(call=call, target=target, is_rerun=True) for call in calls),
        "fingerprint": fingerprint_of(Found(make_state())),
        "effect": "deploy mlw-prod/credit-scoring/green again with the body that GET shows",
        "undo": "none needed: the same deployment is deployed again",
    }
    plan = Plan(**{**fields, **changes})
    return plan if plan.digest else replace(plan, digest=plan_digest(plan))


def make_situation(**changes: Any) -> Situation:
    """A situation in which everything permits the plan of `make_plan`."""
    fields: dict[str, Any] = {
        "now": NOON,
        "ceiling": Mode.AUTO,
        "permission": ActionPolicy(mode=Mode.AUTO),
        "tags": {},
        "protected": {"medic": "off"},
        "fingerprint": fingerprint_of(Found(make_state())),
        "resource": Found(make_state()),
        "endpoint": Found(make_endpoint_state()),
        "history": Found(()),
        "own": US,
    }
    return Situation(**{**fields, **changes})


def make_effect(**changes: Any) -> Effect:
    fields: dict[str, Any] = {
        "at": NOON - timedelta(minutes=1),
        "incident_id": make_incident().id,
        "action": "retry",
        "cause_id": "canceled-higher-priority",
        "plan": "p" * 64,
        "step": 0,
        "attempt": 1,
    }
    return Effect(**{**fields, **changes})


def make_intent(**changes: Any) -> Intent:
    fields: dict[str, Any] = {
        "at": NOON - timedelta(minutes=1),
        "nonce": "nonce-1",
        "incident_id": make_incident().id,
        "plan": "p" * 64,
        "attempt": 1,
        "decision": "decision-1",
        "action": "retry",
        "call": f"PUT {DEPLOYMENT}?api-version=2024-10-01",
        "request_id": "medic-0123456789abcdef0123456789abcdef",
        "body_digest": "spec-1",
    }
    return Intent(**{**fields, **changes})


def make_outcome(**changes: Any) -> Outcome:
    fields: dict[str, Any] = {"status": Status.ACCEPTED, "words": "Azure took the call (201)"}
    return Outcome(**{**fields, **changes})


# ---------------------------------------------------------------------------------------------------- ports


class MemoryStore:
    """The port `Store` in memory, exactly. It keeps what was asked of it, and can be told to fail.

    Attributes:
        calls: Every create and append that was tried, as ``create <name>``.
        looks: Every record that was read, and every name that was listed, as ``read <name>`` and ``list <name>``.
        fails: Told each name that is about to be written; true makes the store unavailable.
    """

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._created: set[str] = set()
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.looks: list[str] = []
        self.fails: Callable[[str], bool] = lambda _: False

    def create(self, name: str, content: bytes) -> None:
        self._written("create", name)
        with self._lock:
            if name in self._records:
                raise AlreadyExists(name)
            self._records[name] = content
            self._created.add(name)

    def append(self, name: str, content: bytes, at: int) -> None:
        if not content:
            raise ValueError(f"append to {name!r}: there is nothing to append")
        self._written("append", name)
        with self._lock:
            if name in self._created:
                raise AlreadyExists(name)
            known = self._records.get(name, b"")
            if len(known) != at:
                raise AppendConflict(name, at, len(known))
            self._records[name] = known + content

    def read(self, name: str) -> bytes:
        checked_name(name)
        self.looks.append(f"read {name}")
        with self._lock:
            if name not in self._records:
                raise NotFound(name)
            return self._records[name]

    def list(self, prefix: str) -> Iterator[str]:
        checked_prefix(prefix)
        with self._lock:
            names = sorted(name for name in self._records if name.startswith(prefix))
        self.looks += [f"list {name}" for name in names]
        yield from names

    def lengths(self, prefix: str) -> Iterator[tuple[str, int]]:
        checked_prefix(prefix)
        with self._lock:
            found = sorted((name, len(content)) for name, content in self._records.items() if name.startswith(prefix))
        yield from found

    def _written(self, operation: str, name: str) -> None:
        checked_name(name)
        self.calls.append(f"{operation} {name}")
        if self.fails(name):
            raise StoreUnavailable("memory", f"{operation} {name!r}", "a test says so", "Nothing to do.")


class FakeReads:
    """The port `Reads` over a table: a URL without its query, without case, to what it answers.

    ``POST`` or ``SPEC`` stands before what is no GET, ``HEAD <registry>/<repository>/<reference>`` is a manifest. The
    Activity Log is ``log``, or ``log <id>`` for one filter.

    Attributes:
        asked: Every URL in order, with what stands before it.
    """

    def __init__(self, answers: dict[str, Reading[Any]] | None = None) -> None:
        self.answers = {name.lower(): answer for name, answer in (answers or {}).items()}
        self.asked: list[str] = []
        self.held_back: timedelta | None = None
        self.bodies: list[Json] = []
        self.lacks: tuple[str, ...] = ()
        self.who: Caller | None = US

    def get(self, url: str) -> Reading[Json]:
        return self._answer(url)

    def get_all(self, url: str, *, most: int) -> Reading[tuple[Json, ...]]:
        return self._answer(url)

    def ask(self, url: str, body: Json) -> Reading[Json]:
        self.bodies.append(body)
        return self._answer(f"POST {url}")

    def poll(self, url: str) -> Reading[Json]:
        return self._answer(url)

    def manifest(self, login_server: str, repository: str, reference: str) -> Reading[str]:
        return self._answer(f"HEAD {login_server}/{repository}/{reference}")

    def fetch_spec(self, url: str) -> Reading[Json]:
        return self._answer(f"SPEC {url}")

    def throttled(self) -> timedelta | None:
        return self.held_back

    def refused(self) -> tuple[str, ...]:
        return self.lacks

    def identity(self) -> Caller | None:
        return self.who

    def _answer(self, url: str) -> Reading[Any]:
        self.asked.append(url)
        if "/eventtypes/management/values?" in url:
            wanted = f"log {url.split("'")[-2]}".lower()
            return self.answers.get(wanted, self.answers.get("log", Unknown("no answer in this test")))
        return self.answers.get(url.partition("?")[0].lower(), Unknown("no answer in this test"))


class FakeWrites:
    """The port `Writes`: keeps what is sent, and gives the same reply each time."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply = reply or Reply(status=201)
        self.sent: list[tuple[Call, Json, str]] = []
        self.before: Callable[[], None] = lambda: None

    def ready(self, call: Call) -> None:
        """There is nothing to make."""

    def send(self, call: Call, body: Json, *, request_id: str) -> Reply:
        self.before()
        self.sent.append((call, body, request_id))
        return self.reply


def make_trail() -> Trail:
    return Trail(MemoryStore())


def store_of(trail: Trail) -> MemoryStore:
    assert isinstance(trail.store, MemoryStore)
    return trail.store


def make_journal(trail: Trail, clock: Callable[[], datetime] = lambda: NOON) -> Journal:
    return Journal(trail=trail, mode=Mode.AUTO, policy_version="0123456789ab", clock=clock, own=lambda: US)
