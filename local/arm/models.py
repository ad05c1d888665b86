"""The world and its rules; knows no HTTP.

One ``World`` per scenario. A deployment fails because a hazard finds its cause in the state of the world when the
operation ends, and succeeds once the cause is gone. Operations end when their seconds are over, whether or not anyone
polls. Rests on API.md A to C and E.
"""

import copy
import itertools
import random
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct

from local.arm import schema
from local.arm.activity import ActivityLog, Filter, Row, phrase
from local.arm.agenda import Agenda
from local.arm.alerts import common_alert
from local.arm.assets import Assets
from local.arm.authorization import Roles
from local.arm.bodies import operation_url, resource_body, with_host
from local.arm.events import Deliver, EventSettings, Schema, Subscription, action_group, resource_event, webhook
from local.arm.faults import Fault
from local.arm.happenings import Alert, Observed, Trigger
from local.arm.hazards import Hazard, Verdict, canceled_by_priority
from local.arm.limits import Limits
from local.arm.metrics import Meters
from local.arm.quota import Quota, QuotaShort
from local.arm.registries import Registries
from local.arm.resources import (
    Call,
    Deed,
    Elsewhere,
    Json,
    Operation,
    OperationKind,
    Principal,
    Refusal,
    Resource,
    Target,
    WorldError,
    merged,
    not_found,
    parse_id,
    utc_now,
)
from local.arm.seeding import check, populate
from local.arm.startup import ImageBuild, KeySync, Startup
from local.arm.witness import Witness

READ_ONLY = ("id", "name", "type", "systemData")
DEFAULTED = (
    "appInsightsEnabled",
    "egressPublicNetworkAccess",
    "livenessProbe",
    "readinessProbe",
    "requestSettings",
    "scaleSettings",
)
READ_ONLY_PROPERTIES = ("provisioningState", "scoringUri", "swaggerUri")
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/\"]+)", re.IGNORECASE)
SINGULAR = {"registries": "registry", "roleAssignments": "role-assignment"}
DIAGNOSES = (
    "userDefinedRouteResults",
    "networkSecurityRuleResults",
    "resourceLockResults",
    "dnsResolutionResults",
    "storageAccountResults",
    "keyVaultResults",
    "containerRegistryResults",
    "applicationInsightsResults",
    "otherResults",
)


class Entry(Struct, frozen=True, kw_only=True):
    """A write request in the ledger.

    Attributes:
        status: What was answered; ``"lost"`` if nobody got an answer.
        took_effect: The service accepted it, whatever became of its answer. Deleting nothing (204) is no effect.
    """

    at: datetime
    method: str
    path: str
    principal: str
    client_request_id: str | None
    correlation_id: str
    status: int | str
    took_effect: bool
    body: Any = None


class _Watch:
    """Something that waits for the nth request of a kind."""

    def __init__(self, trigger: Trigger, nth: int, after: float, action: Callable[[], None]) -> None:
        self.trigger = trigger
        self.left = nth
        self.after = after
        self.action = action


class World:
    """Subscriptions, workspaces, endpoints, deployments, and all that happens to them.

    Attributes:
        base_url: Where the world is served; absolute URLs in answers and events begin with it.
        registry_host: Where its registries are, if not there as well.
        subscriptions: Its own, and every other that its file names, in lower case.
        ledger: Every write request received, whoever sent it.
        reads: How often each (method, route) was read.
        asked: Who asked for which operation, over HTTP: as RBAC calls it; no name for what needs no right.
        raised: Every event, delivered or not.
        witness: What changed, and what was shown to whom.
        limits: What is taken of each principal, and what was answered 429.
        hazards, faults, conditions, denied: The live state; a runner may change them under way.
        drawn: The hazards of its file, as they are by now, wherever a runner has put them.
    """

    def __init__(self, seed: schema.WorldSeed, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.seed = seed
        self.base_url = "https://management.azure.com"
        self.registry_host: str | None = None
        self.subscriptions = _subscriptions(seed)
        self.principals: dict[str, Principal] = schema.PRINCIPALS | seed.principals
        self.conditions = set(seed.conditions)
        self.hazards: list[Hazard] = list(copy.deepcopy(seed.hazards))
        self.drawn: tuple[Hazard, ...] = tuple(self.hazards)
        self.faults: list[Fault] = list(copy.deepcopy(seed.faults))
        self.denied = list(seed.denied)
        self.limits = Limits(seed.limits, self.now)
        self.ledger: list[Entry] = []
        self.reads: Counter[tuple[str, str]] = Counter()
        self.asked: set[tuple[str, str]] = set()
        self.raised: list[Json] = []
        self.witness = Witness()
        self.lock = threading.RLock()
        self.agenda = Agenda(clock, self.lock)
        self.log = ActivityLog(self.new_id, seed.tenant, seed.activity_log_delay)
        self._random = random.Random(seed.seed)
        self.resources: dict[str, Resource] = {}
        self._versions: dict[str, list[Json | None]] = {}
        self.operations: dict[str, Operation] = {}
        self._running: dict[str, Operation] = {}
        self._watches: list[_Watch] = []
        self._subscriptions: list[Subscription] = []
        self._action_groups: list[Subscription] = []
        self._sent = itertools.count()
        self._started = False
        populate(self)
        self.registries = Registries(self)
        self.assets = Assets(self)
        self.roles = Roles(self)
        self.quota = Quota(self)
        self.meters = Meters(self)
        self._laws: tuple[Hazard, ...] = (QuotaShort(), KeySync(), ImageBuild(), Startup())
        check(self)

    @classmethod
    def from_dict(cls, plain: Json, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """A world from plain data (schema.py says which); WorldError names the field that is wrong."""
        try:
            seed = msgspec.convert(plain, schema.WorldSeed)
        except msgspec.ValidationError as error:
            raise WorldError(f"This is no world: {error}") from error
        return cls(seed, clock=clock)

    # Time

    def now(self) -> datetime:
        """The world's time; inside a scheduled happening, the moment it was due."""
        return self.agenda.now()

    def schedule(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something that many seconds from now."""
        self.agenda.schedule(seconds, action)

    def settle(self) -> None:
        """Let everything happen that is due. Every question to the world does so first."""
        self.agenda.settle()

    def start(self, *, ticker: bool = True) -> None:
        """Begin: plan what ``happens``; with a ticker, things happen without anyone asking. May be called twice."""
        planned = () if self._started else self.seed.happens
        self._started = True
        for happening in planned:
            deed = partial(happening.perform, self)
            if happening.when is None:
                self.schedule(happening.after, deed)
            else:
                self.when(happening.when, deed, nth=happening.nth, after=happening.after)
        self.settle()
        if ticker:
            self.agenda.start_ticker()

    def close(self) -> None:
        """End: stop the ticker and the deliveries."""
        self.agenda.close()
        for subscription in (*self._subscriptions, *self._action_groups):
            subscription.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_quiet(self, timeout: float = 5.0) -> bool:
        """Wait until nothing is planned, running or undelivered; False if that takes longer (in real seconds)."""
        pause = threading.Event()
        for _ in range(max(1, int(timeout / 0.005))):
            self.settle()
            with self.lock:
                sending = not all(each.is_idle for each in (*self._subscriptions, *self._action_groups))
                if self.agenda.is_empty and not self._running and not sending:
                    return True
            pause.wait(0.005)
        return False

    def is_quiet_for(self, seconds: float) -> bool:
        """Whether nothing is to happen for so long, unless somebody asks, and everything is delivered."""
        self.settle()
        sending = not all(each.is_idle for each in (*self._subscriptions, *self._action_groups))
        return not sending and self.agenda.is_empty_for(seconds)

    def when(self, trigger: str, action: Callable[[], None], *, nth: int = 1, after: float = 0.0) -> None:
        """Do something once, ``after`` seconds after the ``nth`` request that fits the trigger (see Trigger).

        It may run while the world is locked: let it use the world's verbs, not HTTP.
        """
        with self.lock:
            self._watches.append(_Watch(Trigger.parse(trigger), nth, after, action))

    def end_operations(self) -> None:
        """Let every operation that runs come to its end now, however long it would have taken."""
        with self.lock:
            for operation in list(self.operations.values()):
                self._finish(operation)

    def observe(self, seen: Observed) -> None:
        """Tell those who watch that a request has been handled."""
        with self.lock:
            due = []
            for watch in self._watches:
                if watch.trigger.fits(seen):
                    watch.left -= 1
                    if watch.left == 0:
                        due.append(watch)
            self._watches = [watch for watch in self._watches if watch.left > 0]
        for watch in due:
            if watch.after:
                self.schedule(watch.after, watch.action)
            else:
                watch.action()

    # Events

    def subscribe(
        self, deliver: Deliver | str, *, schema: Schema = "event-grid", retries: int = 8, backoff: float = 0.05
    ) -> Subscription:
        """Send every event to a callable, or to the URL of a webhook."""
        if isinstance(deliver, str):
            deliver = webhook(deliver, schema=schema)
        subscription = Subscription(deliver, schema=schema, retries=retries, backoff=backoff)
        with self.lock:
            self._subscriptions.append(subscription)
        return subscription

    def redeliver(self) -> None:
        """Send once more what nobody took: dead letters, as somebody replays them."""
        with self.lock:
            for subscription in (*self._subscriptions, *self._action_groups):
                subscription.redeliver()

    def subscribe_alerts(self, deliver: Deliver | str) -> Subscription:
        """Send every alert to a callable, or to the URL of an action group's webhook."""
        receiver = action_group(deliver) if isinstance(deliver, str) else deliver
        subscription = Subscription(receiver, schema="event-grid")  # an alert has a schema of its own: sent as it is
        with self.lock:
            self._action_groups.append(subscription)
        return subscription

    def evaluate(self, rule: Alert) -> None:
        """Look whether an alert rule fires by now; if so, send its alert to those who subscribed to alerts."""
        with self.lock:
            alert = common_alert(self, rule)
            if alert is None:
                return
            self.raised.append(alert)
            for subscription in self._action_groups:
                for _ in range(rule.times):
                    subscription.send(copy.deepcopy(alert))

    # Reading

    def authorize(self, call: Call, action: str, scope: str) -> None:
        """A Refusal (403) in ARM's words if the caller is denied the action there."""
        for denial in self.denied:
            if self.denies(denial, call.who, scope) and fnmatchcase(action.lower(), denial.action.lower()):
                principal = call.principal
                raise Refusal(
                    403,
                    "AuthorizationFailed",
                    f"The client '{principal.appid}' with object id '{principal.oid}' does not have authorization to "
                    f"perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently "
                    "granted, please refresh your credentials.",
                )

    def denies(self, denial: schema.Denial, who: str, scope: str) -> bool:
        """Whether a denial is about a caller and a scope, under the conditions that hold now."""
        return (
            denial.principal in {who, "*"}
            and fnmatchcase(scope.lower(), denial.scope.lower())
            and (denial.condition is None or denial.condition in self.conditions)
        )

    def find(self, target: Target) -> Resource | None:
        """The resource, if there is one."""
        with self.lock:
            return self.resources.get(target.key)

    def read(self, target: Target, *, versions_ago: int = 0) -> Json:
        """The body that GET answers, or answered some changes ago; a Refusal (404) if there is none."""
        self.settle()
        with self.lock:
            versions = self._versions.get(target.key, [])
            number = len(versions) - 1 - versions_ago
            body = versions[number] if number >= 0 else None
            self.witness.looked(target.key, None if body is None else number)
            if body is None:
                raise not_found()
            return with_host(body, self.base_url)

    def places(self) -> list[Resource]:
        """The workspaces, in the order of the world file."""
        with self.lock:
            return [each for each in self.resources.values() if each.target.endpoint is None]

    def identities(self) -> list[str]:
        """The ids of the user-assigned identities that endpoints have."""
        with self.lock:
            found = [each.spec.get("identity") or {} for each in self.resources.values()]
            return sorted({user for identity in found for user in identity.get("userAssignedIdentities") or {}})

    def children(self, parent: Target) -> list[Json]:
        """The bodies of the endpoints of a workspace, or of the deployments of an endpoint, by name."""
        self.settle()
        with self.lock:
            if parent.key not in self.resources:
                raise not_found()
            return [self.read(target) for target in self.inside(parent)]

    def inside(self, parent: Target) -> list[Target]:
        """The endpoints of a workspace, or the deployments of an endpoint, by name."""
        with self.lock:
            spelled = self.spelled(parent)
            found = [each.target for each in self.resources.values() if each.target.parent == spelled]
            return sorted(found, key=lambda target: target.key)

    def workspaces(self, subscription: str, resource_group: str | None = None) -> list[Json]:
        """The bodies of the workspaces of a subscription, or of one of its groups, by id."""
        self.settle()
        with self.lock:
            found = [
                each.target
                for each in self.resources.values()
                if each.target.endpoint is None
                and each.target.subscription.lower() == subscription.lower()
                and (resource_group or each.target.resource_group).lower() == each.target.resource_group.lower()
            ]
            return [self.read(target) for target in sorted(found, key=lambda target: target.key)]

    def operation(self, operation_id: str) -> Operation:
        """The record of an operation; a Refusal (404) once it has expired."""
        self.settle()
        with self.lock:
            operation = self.operations.get(operation_id.lower())
            kept = self.seed.operation_record_seconds
            expired = (
                operation is not None
                and operation.ended_at is not None
                and kept is not None
                and self.now() >= operation.ended_at + timedelta(seconds=kept)
            )
            if operation is None or expired or self.seed.operation_records_missing:
                raise Refusal(404, "NotFound", f"Operation {operation_id} was not found.")
            return operation

    def activity(self, wanted: Filter, subscription: str) -> list[Row]:
        """The rows of the Activity Log that can be seen by now, the newest first."""
        self.settle()
        with self.lock:
            return self.log.visible(wanted, subscription, self.now(), nothing=self.seed.activity_log_missing)

    def logs(self, target: Target, container: str, tail: int | None) -> str:
        """The last lines of a container's log."""
        resource = self._existing(target)
        text = resource.failure_logs.get(container) or resource.logs.get(container, "")
        lines = text.splitlines(keepends=True)
        return "".join(lines if tail is None else lines[-tail:] if tail > 0 else [])

    def diagnosis(self, target: Target) -> Json:
        """The result of diagnose: nine lists."""
        found = {name: list(self._existing(target).diagnose.get(name, [])) for name in DIAGNOSES}
        with self.lock:
            found["containerRegistryResults"] += self.registries.findings(self.spelled(target))
        return {"value": found}

    # Writing

    def call(
        self,
        who: str,
        method: str,
        path: str,
        *,
        correlation_id: str | None = None,
        client_request_id: str | None = None,
        api_version: str = "2024-10-01",
    ) -> Call:
        """A request by one of the world's principals, with ids of its own."""
        principal = self.principals.get(who)
        if principal is None:
            raise Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        return Call(
            who=who,
            principal=principal,
            method=method,
            path=path,
            correlation_id=correlation_id or self.new_id(),
            request_id=self.new_id(),
            client_request_id=client_request_id,
            api_version=api_version,
        )

    def write(self, call: Call, target: Target, spec: Any, *, patch: bool = False) -> Operation:
        """PUT or PATCH an endpoint or a deployment: the running operation, or a Refusal."""
        self.settle()
        with self.lock:
            existing = self.find(target)
            operation = self.new_operation(call, existing.target if existing else self.spelled(target), "write")
            operation.created = existing is None
            with self._tracing(operation):
                self.authorize(call, operation.name, operation.target.id)
                if patch and existing is None:
                    raise not_found()
                if patch and existing and isinstance(spec, dict):
                    spec = merged(existing.spec, spec)
                operation.spec = self._clean(target, spec)
                blocker = self._admit(operation)
            if blocker is not None:
                self._end(blocker, canceled_by_priority())
            self._accept_write(operation, self.find(target))
            return operation

    def delete(self, call: Call, target: Target) -> Operation | None:
        """DELETE an endpoint or a deployment: the running operation, None if there is nothing, or a Refusal."""
        self.settle()
        with self.lock:
            existing = self.find(target)
            operation = self.new_operation(call, existing.target if existing else self.spelled(target), "delete")
            with self._tracing(operation):
                self.authorize(call, operation.name, operation.target.id)
                if existing is None:
                    return None
                if target.deployment and self.weight(target) > 0:
                    raise Refusal(
                        409, "Conflict", f"Can't delete deployment [{target.deployment}] with non-zero traffic weight"
                    )
                blocker = self._admit(operation)
            if blocker is not None:
                self._end(blocker, canceled_by_priority())
            existing.state = "Deleting"
            self._accept(operation, "Accepted")
            existing.operation_path = operation_url(operation)
            self.changed(existing, call)
            return operation

    def act(self, call: Call, target: Target, name: str, *, running: bool) -> Operation:
        """POST an action: an operation that runs, or one that has succeeded at once; or a Refusal."""
        self.settle()
        with self.lock:
            existing = self.find(target)
            operation = self.new_operation(call, existing.target if existing else self.spelled(target), "action", name)
            with self._tracing(operation):
                self.authorize(call, operation.name, operation.target.id)
                if existing is None:
                    raise not_found()
                self._reject(operation)
            if running:
                self._accept(operation, "Accepted")
            else:
                self.log.add(operation, "Started", self.now())
                self._end(operation, None)
            return operation

    def did_elsewhere(self, who: str, method: str, target: Elsewhere, action: str, *, tail: str = "") -> None:
        """Leave the traces of what a principal did to a resource of another provider: ledger, log, watchers."""
        self.settle()
        with self.lock:
            path = target.id + tail
            call = self.call(who, method, path)
            self.trace(call, target, action, HTTPStatus.OK)
            self.record(
                Entry(
                    at=self.now(),
                    method=method,
                    path=path,
                    principal=who,
                    client_request_id=None,
                    correlation_id=call.correlation_id,
                    status=200,
                    took_effect=True,
                )
            )
        route = target.type.rpartition("/")[2]
        self.observe(Observed(method=method, path=path, route=SINGULAR.get(route, route), who=who, status=200))

    def trace(self, call: Call, target: Elsewhere, action: str, http_status: int, message: Json | None = None) -> None:
        """Rows of the Activity Log about a resource of another provider; ``message`` is why it was refused.

        No event is raised: a subscription to the failures of deployments filters on their operations (API.md A).
        """
        kinds: dict[str, OperationKind] = {"write": "write", "delete": "delete"}
        deed = Deed(kind=kinds.get(action.rpartition("/")[2], "action"), name=action, target=target, call=call)
        self.log.add(deed, "Started", self.now())
        status: Literal["Succeeded", "Failed"] = "Failed" if message else "Succeeded"
        self.log.add(deed, status, self.now(), code=phrase(http_status), message=message)

    def record(self, entry: Entry) -> None:
        """Put a write request in the ledger."""
        with self.lock:
            self.ledger.append(entry)

    def new_id(self) -> str:
        """A GUID; from the seed, if the world has one."""
        with self.lock:
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    # For runners: the same verbs without HTTP

    def put_deployment(
        self,
        who: str,
        endpoint: str | None,
        name: str,
        spec: Json | None = None,
        *,
        client_request_id: str | None = None,
    ) -> Operation:
        """Deploy as a principal: ``spec`` laid over the current one, or over a plain one."""
        target = self.endpoint_target(endpoint).child(name)
        existing = self.find(target)
        workspace = self._existing(target.at_workspace)
        base = existing.spec if existing else schema.plain_deployment(workspace.location, workspace.target.id)
        body = merged(base, spec or {})
        return self._verb(
            who,
            "PUT",
            target,
            lambda call: self.write(call, target, body),
            body=body,
            client_request_id=client_request_id,
        )

    def put_endpoint(self, who: str, endpoint: str | None, spec: Json, *, replace: tuple[str, ...] = ()) -> Operation:
        """Change an endpoint as a principal; what ``replace`` names, of it or of its properties, is not merged."""
        target = self.endpoint_target(endpoint)
        body = merged(self._existing(target).spec, spec)
        for name in replace:
            part, given = (body, spec) if name in spec else (body["properties"], spec["properties"])
            part[name] = given[name]
        return self._verb(who, "PUT", target, lambda call: self.write(call, target, body), body=body)

    def delete_deployment(self, who: str, endpoint: str | None, name: str) -> Operation | None:
        """Delete a deployment as a principal; None if it is gone already."""
        target = self.endpoint_target(endpoint).child(name)
        return self._verb(who, "DELETE", target, lambda call: self.delete(call, target))

    def delete_endpoint(self, who: str, endpoint: str | None) -> Operation | None:
        """Delete an endpoint as a principal; None if it is gone already."""
        target = self.endpoint_target(endpoint)
        return self._verb(who, "DELETE", target, lambda call: self.delete(call, target))

    def deployment(self, endpoint: str | None, name: str) -> Json | None:
        """The body of a deployment as GET shows it; None if there is none."""
        return self._snapshot(self.endpoint_target(endpoint).child(name))

    def endpoint(self, endpoint: str | None = None) -> Json | None:
        """The body of an endpoint as GET shows it; None if there is none."""
        return self._snapshot(self.endpoint_target(endpoint))

    def set_condition(self, condition: str) -> None:
        """Let a condition hold."""
        with self.lock:
            self.conditions.add(condition)

    def clear_condition(self, condition: str) -> None:
        """Let a condition hold no longer."""
        with self.lock:
            self.conditions.discard(condition)

    def endpoint_target(self, endpoint: str | None = None) -> Target:
        """The endpoint of a name, of ``workspace/name`` or of an id; without any, the only one there is."""
        if endpoint and endpoint.startswith("/"):
            return parse_id(endpoint).at_endpoint
        workspace, _, name = (endpoint or "").rpartition("/")
        with self.lock:
            found = [
                each.target
                for each in self.resources.values()
                if each.target.endpoint
                and not each.target.deployment
                and name.lower() in {"", each.target.endpoint.lower()}
                and workspace.lower() in {"", each.target.workspace.lower()}
            ]
        if len(found) != 1:
            raise WorldError(f"Endpoint {endpoint or '(none named)'} fits {len(found)} endpoints of this world, not 1.")
        return found[0]

    # Rules

    def _admit(self, operation: Operation) -> Operation | None:
        """Whether the operation may start; the running operation that has to give way to it, if any."""
        target = operation.target
        if target.parent is not None and self.find(target.parent) is None:
            raise Refusal(404, "ParentResourceNotFound", f"Parent of '{target.id}' was not found.")
        blocker = self._running.get(target.at_endpoint.key)
        may_preempt = (
            blocker is not None
            and operation.call.principal.preempts
            and blocker.kind == "write"
            and target.deployment is not None
            and blocker.target.key == target.key
        )
        if blocker is not None and not may_preempt:
            text = f"There is already an operation in progress on online endpoint '{target.endpoint}'."
            raise Refusal(409, "Conflict", f"{text} Wait for it to finish and try again.")
        self._reject(operation)
        return blocker

    def _reject(self, operation: Operation) -> None:
        for hazard in self._hazards_of(operation):
            refusal = hazard.reject(self, operation)
            if refusal is not None:
                raise refusal

    def _clean(self, target: Target, body: Any) -> Json:
        """A PUT body without what the service owns; a Refusal (400) if it cannot be one."""
        if not isinstance(body, dict) or not isinstance(body.get("properties"), dict) or not body.get("location"):
            raise Refusal(400, "InvalidRequestContent", "The request content must have location and properties.")
        identity = body.get("identity") or {"type": "None"}
        if not isinstance(identity, dict) or not isinstance(identity.get("type"), str):
            raise Refusal(400, "InvalidRequestContent", "The identity must have a type.")
        spec = copy.deepcopy({name: value for name, value in body.items() if name not in READ_ONLY})
        properties = spec["properties"]
        for name in READ_ONLY_PROPERTIES:
            properties.pop(name, None)
        own = properties.get("properties")
        own = own if isinstance(own, dict) else {}
        properties["properties"] = {
            name: value
            for name, value in own.items()
            if name != "AzureAsyncOperationUri" and not name.startswith("azureml.")
        }
        if target.deployment is not None and self.seed.fills_defaults:
            plain = schema.plain_deployment(body["location"], "")
            spec = {name: plain[name] for name in ("tags", "kind", "sku")} | spec
            spec["properties"] = {name: plain["properties"][name] for name in DEFAULTED} | properties
        if target.deployment is None:
            for weights in (properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}):
                if not isinstance(weights, dict):
                    raise Refusal(400, "InvalidRequestContent", "traffic must map deployments to weights.")
                missing = [name for name in weights if self.find(target.child(name)) is None]
                if missing:
                    raise Refusal(400, "UserError", f"Traffic names deployments that do not exist: {missing}.")
        return spec

    def _accept_write(self, operation: Operation, existing: Resource | None) -> None:
        now, principal = self.now(), operation.call.principal
        if existing is None:
            existing = Resource(
                target=operation.target,
                location=operation.location,
                spec={},
                state="Creating",
                created_at=now,
                created_by=principal,
                modified_at=now,
                modified_by=principal,
            )
            self.resources[operation.target.key] = existing
        else:
            operation.before = existing.spec
            existing.state = "Updating"
        existing.spec = operation.spec or {}
        existing.modified_at, existing.modified_by = now, principal
        existing.operation_path = operation_url(operation)
        self._accept(operation, "Created" if operation.created else "OK")
        self.changed(existing, operation.call)

    def _accept(self, operation: Operation, code: str) -> None:
        """Let the operation run until its time is over."""
        self.operations[operation.id.lower()] = operation
        if operation.kind != "action":
            self._running[operation.target.at_endpoint.key] = operation
        self.log.add(operation, "Started", self.now())
        self.log.add(operation, "Accepted", self.now(), code=code)
        lasting = [hazard.seconds(self, operation) for hazard in self._hazards_of(operation)]
        seconds = next((each for each in lasting if each is not None), self.seed.operation_seconds)
        self.schedule(seconds, lambda: self._finish(operation))

    def _finish(self, operation: Operation) -> None:
        if operation.status != "InProgress":
            return
        for hazard in self._hazards_of(operation):
            verdict = hazard.verdict(self, operation)
            if verdict is not None:
                self._end(operation, verdict)
                return
        self._end(operation, None)

    def _end(self, operation: Operation, verdict: Verdict | None) -> None:
        operation.status = verdict.status if verdict else "Succeeded"
        operation.error = verdict.error if verdict else None
        operation.ended_at = self.now()
        if operation.kind != "action":
            self._running.pop(operation.target.at_endpoint.key, None)
            self._take_effect(operation)
            self._leave_logs(operation, verdict)
        if verdict is None:
            for hazard in (*self.hazards, *self._laws):
                hazard.done(self, operation)
        self.log.add_end(operation, self.now())
        self._raise(operation, operation.status)

    def _take_effect(self, operation: Operation) -> None:
        """What the end of a write or delete leaves behind."""
        resource = self.find(operation.target)
        if resource is None:
            return
        succeeded = operation.status == "Succeeded"
        if operation.kind == "delete" and succeeded:
            inside = operation.target.key + "/"
            for key in [key for key in self.resources if key == operation.target.key or key.startswith(inside)]:
                self.quota.freed(self.resources.pop(key))
                self._show(key, None, operation.call)
            return
        resource.state = operation.status
        if operation.kind == "write":
            resource.ever_succeeded = resource.ever_succeeded or succeeded
            if not succeeded and operation.before is not None and self.seed.failed_update_shows == "old":
                resource.spec = operation.before
        self.changed(resource, operation.call)

    def _leave_logs(self, operation: Operation, verdict: Verdict | None) -> None:
        resource = self.find(operation.target)
        if resource is not None and operation.kind == "write":
            resource.failure_logs = verdict.logs if verdict else {}

    def _hazards_of(self, operation: Operation) -> Iterator[Hazard]:
        return (hazard for hazard in (*self.hazards, *self._laws) if hazard.concerns(self, operation))

    def weight(self, target: Target) -> int:
        """The traffic and mirror traffic that an endpoint gives a deployment, in percent."""
        properties = self._existing(target.at_endpoint).spec["properties"]
        name = (target.deployment or "").lower()
        weights = (properties.get("traffic") or {}, properties.get("mirrorTraffic") or {})
        return sum(weight for each in weights for key, weight in each.items() if key.lower() == name)

    # Traces

    @contextmanager
    def _tracing(self, operation: Operation) -> Iterator[None]:
        """A refused request leaves rows in the Activity Log and raises an event."""
        try:
            yield
        except Refusal as refusal:
            self.log.add(operation, "Started", self.now())
            self.log.add(operation, "Failed", self.now(), code=phrase(refusal.status), message=refusal.body())
            if self._event_settings.refusals:
                self._raise(operation, "Failed")
            raise

    @property
    def _event_settings(self) -> EventSettings:
        return self.seed.events if isinstance(self.seed.events, EventSettings) else EventSettings(deliveries=0)

    def _raise(self, operation: Operation, status: str) -> None:
        settings = self._event_settings
        if status == "Succeeded" and not settings.successes:
            return
        event = resource_event(
            operation,
            status,
            self.now(),
            event_id=self.new_id(),
            tenant=self.seed.tenant,
            base_url=self.base_url,
            settings=settings,
        )
        self.raised.append(event)
        for _ in range(settings.deliveries):
            late = settings.shuffle if next(self._sent) % 2 == 0 else 0.0
            self.schedule(settings.delay + late, lambda: self._deliver(event))

    def _deliver(self, event: Json) -> None:
        for subscription in self._subscriptions:
            subscription.send(copy.deepcopy(event))

    # Bodies

    def changed(self, resource: Resource, call: Call | None = None) -> None:
        """Show what a resource has become, by whose request; None for what was there from the beginning."""
        self._show(resource.target.key, resource_body(resource, self.seed), call)

    def _show(self, key: str, body: Json | None, call: Call | None) -> None:
        versions = self._versions.setdefault(key, [])
        versions.append(body)
        self.witness.changed(self.now(), key, len(versions) - 1, body, call)

    # Inside

    def _verb[T: Operation | None](
        self,
        who: str,
        method: str,
        target: Target,
        action: Callable[[Call], T],
        *,
        body: Json | None = None,
        client_request_id: str | None = None,
    ) -> T:
        """Do as HTTP would: ledger, rules, watchers."""
        call = self.call(who, method, target.id, client_request_id=client_request_id)
        status = 0
        try:
            result = action(call)
            status = 204 if result is None else 202 if method == "DELETE" else 201 if result.created else 200
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            entry = Entry(
                at=self.now(),
                method=method,
                path=target.id,
                principal=who,
                client_request_id=client_request_id,
                correlation_id=call.correlation_id,
                status=status,
                took_effect=status in range(200, 204),
                body=body,
            )
            self.record(entry)
            route = "deployment" if target.deployment else "endpoint"
            self.observe(Observed(method=method, path=target.id, route=route, who=who, status=status))
        return result

    def new_operation(self, call: Call, target: Target, kind: OperationKind, name: str | None = None) -> Operation:
        """An operation that has not been let in yet."""
        prefix = "od" if target.deployment else "oe" if target.endpoint else "ws"
        workspace = self.find(target.at_workspace)
        return Operation(
            id=f"{prefix}:{self.new_id()}:{self.new_id()}",
            kind=kind,
            name=name or f"{target.type}/{kind}",
            target=target,
            location=workspace.location if workspace else self.seed.location,
            call=call,
            started_at=self.now(),
        )

    def _existing(self, target: Target) -> Resource:
        resource = self.find(target)
        if resource is None:
            raise not_found()
        return resource

    def spelled(self, target: Target) -> Target:
        """A target with its existing ancestors in the case they were created with."""
        existing = self.find(target)
        if existing is not None:
            return existing.target
        return target if target.parent is None else self.spelled(target.parent).child(target.name)

    def _snapshot(self, target: Target) -> Json | None:
        try:
            return self.read(target)
        except Refusal:
            return None


def _subscriptions(seed: schema.WorldSeed) -> frozenset[str]:
    others = {each.subscription for each in seed.workspaces} | {each.subscription for each in seed.registries}
    named = _SUBSCRIPTION.findall(msgspec.json.encode(seed).decode())
    return frozenset(each.lower() for each in {seed.subscription, *others, *named} if each)
