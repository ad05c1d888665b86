"""Evidence -> a world file: what was there, and why the operation has to fail in it again.

The simulator knows laws: registries refuse old keys, roles are needed, cores run out. Where the evidence shows such a
state of the world, that state is written down and the law does the rest; only where it shows none is the recorded error
itself made to happen. What nothing shows is left as the simulator has it, and noted.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from local.arm.assets import parse_version
from local.arm.schema import VmSize, WorldSeed, plain_deployment, plain_workspace
from local.recasting.record import Recorded
from local.rehearsal import TIME_SCALE
from remediations.actions.rerun import was_create
from remediations.model import (
    Absent,
    Access,
    Candidate,
    DesiredSpec,
    ErrorDetail,
    Evidence,
    Found,
    Load,
    Operation,
    Quota,
    Registry,
    ResourceId,
    ResourceState,
    Status,
    Unknown,
    Workspace,
    operation_of,
)

type Plain = dict[str, Any]

HIDDEN = "not-recorded"  # stands where only the name of a value is on record
DESIRED = "desired"
_KEYS = frozenset({"acr-authorization", "acr-admin-disabled", "acr-firewall", "acr-missing"})
_NO_NETWORK = "ContainerRegistryNetworkUnreachable"
_NO_REGISTRY = "ContainerRegistryNotFound"
_ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
_PLAIN = plain_deployment("", "")["properties"]
_PLAIN_TYPE, _OTHER_TYPE = "Standard_DS3_v2", "Standard_E4s_v3"
_SIZES = {size.name.lower(): size for size in WorldSeed().vm_sizes}
_FAMILY = re.compile(r"(?P<head>standard)?(?P<middle>.+?)(?:family)?", re.IGNORECASE)
_ON = re.compile(r"(?P<role>.+) on .+? has a condition")
_CUT = "[cut"
# A role is run again after 2, 7 and 17 minutes: so long, in seconds of the rehearsal, it may take to be effective.
_EFFECTIVE = (0.0, 150 / TIME_SCALE, 600 / TIME_SCALE)
_NEVER = 3600.0
_FRESH = 1.0


class Rebuilt(msgspec.Struct, frozen=True):
    """A world file, and what is needed beside it.

    Attributes:
        desired: Whether CI's own spec lies in the world.
        notes: What could not be rebuilt.
    """

    world: Plain
    desired: bool
    notes: tuple[str, ...]


def rebuild(recorded: Recorded) -> Rebuilt:
    """Give the world in which an incident began."""
    return _Building(recorded).built()


class _Building:
    """One world under construction."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.evidence: Evidence = recorded.evidence
        self.incident = recorded.incident
        self.resource: ResourceId = recorded.incident.resource
        self.around = recorded.evidence.surroundings
        self.notes: list[str] = []
        self.endpoints: dict[str, Plain] = {}  # by key of the endpoint
        self.sizes: dict[str, VmSize] = {}
        self.desired = isinstance(self.evidence.desired, Found)

    def built(self) -> Rebuilt:
        place = _value(self.around.workspace)
        quota = _value(self.around.quota)
        self._own_endpoint()
        self._others()
        self._placeholders(quota)
        law = self._law(quota)
        registry = self._registry(place, law)
        world: Plain = {
            "resource_group": _unless(self.resource.resource_group, WorldSeed().resource_group),
            "location": _unless(place.location if place is not None else None, WorldSeed().location),
            "workspaces": self._workspaces(place),
            "registries": [] if registry is None else [registry],
            **self._roles(place, law),
            **self._usages(quota, law),
            "vm_sizes": self._vm_sizes(),
            "denied": [{"principal": "medic", "action": action} for action in self._lacking()],
            **self._odd(),
            "hazards": [*self._hazards(law), *self._busy()],
            "faults": list(self._faults()),
            "happens": list(self._happens()),
            "blobs": self._blobs() if self.desired else {},
        }
        kept = {name: value for name, value in world.items() if value or name == "role_assignments"}
        return Rebuilt(kept, self.desired, tuple(dict.fromkeys(self.notes)))

    # ------------------------------------------------------------------------------------ what is there

    def _own_endpoint(self) -> None:
        state = _value(self.evidence.endpoint)
        if state is None:
            self._note(f"endpoint {self.resource.endpoint}: a plain one; what it was is not on record")
        endpoint = self._endpoint(self.resource.endpoint_id, state)
        if self.resource.deployment is None:
            return
        shown = _value(self.evidence.resource)
        if self.incident.is_scoring:
            endpoint["deployments"].append(self._scored(shown))
        elif shown is not None and (self._is_update(shown) or self.incident.operation is Operation.DELETE):
            deployment: Plain = {"name": self.resource.deployment, "spec": self._spec(shown)}
            if shown.created_at is not None:
                deployment["age"] = self._age(shown.created_at)
            endpoint["deployments"].append(_filled(deployment))
            if self.incident.operation is Operation.WRITE:
                self._note("what the failed update changed is not on record: the same spec is deployed again")

    def _is_update(self, shown: ResourceState) -> bool:
        return was_create(self.evidence, shown) is False

    def _others(self) -> None:
        for candidate in _value(self.around.candidates) or ():
            if candidate.resource.key == self.resource.key:
                continue
            endpoint = self._endpoint(candidate.resource.endpoint_id, candidate.endpoint)
            endpoint["deployments"].append(self._candidate(candidate))
            self._size_of(candidate)

    def _placeholders(self, quota: Quota | None) -> None:
        """Add what is known by its name alone: deployments that have traffic, or that are named as siblings."""
        kind = (
            {} if quota is None or quota.family == _SIZES[_OTHER_TYPE.lower()].family else {"instanceType": _OTHER_TYPE}
        )
        siblings: dict[str, tuple[str, ...]] = {
            each.resource.endpoint_id.key: each.siblings for each in _value(self.around.candidates) or ()
        }
        for key, endpoint in self.endpoints.items():
            there = {each["name"].lower() for each in endpoint["deployments"]}
            own = self.resource.deployment if key == self.resource.endpoint_id.key else None
            named = [*endpoint.get("traffic", {}), *endpoint.get("mirror_traffic", {}), *siblings.get(key, ())]
            for name in dict.fromkeys(named):
                if name.lower() in there or (own is not None and name.lower() == own.lower()):
                    continue
                endpoint["deployments"].append(_filled({"name": name, "spec": _filled({"properties": kind})}))
                there.add(name.lower())
                self._note(f"{endpoint['name']}/{name}: only its name is on record; a plain deployment stands for it")
            if own is not None and own.lower() not in there:  # what is only being created cannot have traffic yet
                for weights in ("traffic", "mirror_traffic"):
                    shares = {name: share for name, share in endpoint.get(weights, {}).items() if name.lower() in there}
                    endpoint[weights] = shares

    def _endpoint(self, resource: ResourceId, state: ResourceState | None) -> Plain:
        if resource.key in self.endpoints:
            return self.endpoints[resource.key]
        endpoint: Plain = {"name": resource.endpoint, "traffic": {}, "mirror_traffic": {}, "spec": {}}
        self.endpoints[resource.key] = endpoint
        if state is not None:
            endpoint["traffic"], endpoint["mirror_traffic"] = dict(state.traffic), dict(state.mirror_traffic)
            if state.tags:
                endpoint["spec"]["tags"] = dict(state.tags)
            if state.identity is not None and state.identity.lower() == "none":
                endpoint["spec"]["identity"] = {"type": "None"}
            if state.provisioning_state in {"Failed", "Canceled"}:
                endpoint["state"] = state.provisioning_state
            endpoint["identities"] = [self._named(one.path) for one in state.identities]
            if state.identities and "system" in (state.identity or "").lower():
                self._note(f"endpoint {resource.endpoint}: its system-assigned identity, which it has besides")
        endpoint["deployments"] = []
        return endpoint

    def _workspaces(self, place: Workspace | None) -> list[Plain]:
        found: dict[tuple[str, str], Plain] = {}
        for key, endpoint in self.endpoints.items():
            resource = self._spelled(key)
            where = (resource.resource_group.lower(), resource.workspace.lower())
            if where not in found:
                found[where] = {"name": resource.workspace}
                if resource.resource_group.lower() != self.resource.resource_group.lower():
                    found[where]["resource_group"] = resource.resource_group
                if resource.workspace_path.lower() == self.resource.workspace_path.lower():
                    found[where] |= self._workspace(place)
                found[where]["endpoints"] = []
            found[where]["endpoints"].append(_filled(endpoint))
        return list(found.values())

    def _workspace(self, place: Workspace | None) -> Plain:
        own: Plain = {}
        if place is not None:
            plain = plain_workspace(self.resource.workspace, "", self.resource.resource_group_path)["properties"]
            named = {"containerRegistry": place.registry, "storageAccount": place.storage}
            other = {name: value for name, value in named.items() if not _is_same(value, plain[name])}
            own["spec"] = {"properties": other} if other else {}
        own["diagnose"] = self._diagnose()
        own["environments"] = self._environments()
        if isinstance(self.around.model, Absent) and (named_model := self._asset("model")) is not None:
            own["missing_models"] = [named_model]
        return _filled(own)

    def _diagnose(self) -> Plain:
        found: Plain = {}
        for fault in _value(self.around.network) or ():
            area, _, rest = fault.partition(": ")
            code, _, message = rest.partition(": ")
            if code not in {_NO_NETWORK, _NO_REGISTRY}:  # those the simulator says itself, as long as they are so
                found.setdefault(area, []).append({"code": code, "level": "Warning", "message": message})
        return found

    def _environments(self) -> Plain:
        named = self._asset("environment")
        if named is None:
            return {}
        match self.around.image:
            case Found(image):
                _, _, inside = image.reference.partition("/")
                reference = f"{{registry}}/{inside}" if image.in_registry else image.reference
                is_plain = inside.replace(":", "/") == named and image.in_registry
                return {} if is_plain else {named: {"image": reference}}
            case Absent():
                return {named: {"missing": True}}
            case Unknown(reason) if "it is built" in reason:
                return {named: {"conda": True}}
        return {}

    def _asset(self, kind: str) -> str | None:
        state = _value(self.evidence.resource)
        named = parse_version(getattr(state, kind)) if state is not None else None
        return None if named is None else "/".join(named)

    # -------------------------------------------------------------------------------------- deployments

    def _spec(self, state: ResourceState) -> Plain:
        """Give what differs from a plain deployment."""
        properties: Plain = {}
        spec: Plain = {}
        if state.tags:
            spec["tags"] = dict(state.tags)
        if state.kind != "Managed":
            spec["kind"] = properties["endpointComputeType"] = state.kind
        if state.capacity not in {1, None}:
            spec["sku"] = {"capacity": state.capacity}
        if state.instance_type != _PLAIN_TYPE:
            properties["instanceType"] = state.instance_type
        workspace = ResourceId.parse(state.path).workspace_path
        plain = plain_deployment("", workspace)["properties"]
        for name, value in (("model", state.model), ("environmentId", state.environment)):
            if not _is_same(value, plain[name]):
                properties[name] = value
        if state.shows_environment and state.environment_names != tuple(_PLAIN["environmentVariables"]):
            properties["environmentVariables"] = _variables(state.environment_names)
        if state.environment_names:
            self._note("values of environment variables; only their names are on record")
        settings: Plain = {}
        requests = _PLAIN["requestSettings"]
        if state.concurrent_requests not in {requests["maxConcurrentRequestsPerInstance"], None}:
            settings["maxConcurrentRequestsPerInstance"] = state.concurrent_requests
        if (
            state.request_timeout is not None
            and msgspec.to_builtins(state.request_timeout) != requests["requestTimeout"]
        ):
            settings["requestTimeout"] = msgspec.to_builtins(state.request_timeout)
        if settings:
            properties["requestSettings"] = settings
        if properties:
            spec["properties"] = properties
        return spec

    def _candidate(self, candidate: Candidate) -> Plain:
        state = candidate.state
        deployment: Plain = {"name": candidate.resource.deployment, "spec": self._spec(state)}
        if state.provisioning_state in {"Failed", "Canceled"}:
            deployment["state"] = state.provisioning_state
        elif state.provisioning_state not in _ENDED:
            self._note(f"{candidate.resource.label} was {state.provisioning_state}; here it is Succeeded")
        written = state.last_modified_at or state.created_at
        if written is not None:
            deployment["age"] = self._age(written)
        if "state" in deployment:
            deployment["ever_succeeded"] = False
        metrics: Plain = {}
        match candidate.requests:
            case Found(True):
                metrics["requests"] = [{"days_ago": 1, "average": 0.01}]
                self._note(f"when requests reached {candidate.resource.label}; that some did is on record")
            case Unknown(reason) if not reason.startswith("not asked: "):
                metrics["error_code"] = "InternalError"
        if isinstance(candidate.alive, Absent):
            metrics["capacity"] = "silent"
        deployment["metrics"] = metrics
        return _filled(deployment)

    def _scored(self, shown: ResourceState | None) -> Plain:
        deployment: Plain = {"name": self.resource.deployment}
        if shown is not None:
            deployment["spec"] = self._spec(shown)
            if shown.provisioning_state in {"Failed", "Canceled"}:
                deployment |= {"state": shown.provisioning_state, "ever_succeeded": True}
        deployment["logs"] = self._logs()
        deployment["metrics"] = self._answers(_value(self.evidence.load))
        return _filled(deployment)

    def _answers(self, load: Load | None) -> Plain:
        scoring = self.incident.scoring
        if load is None or not load.answers:
            if scoring is None or scoring.status is None or not scoring.status.isdecimal():
                return {}
            self._note("how the endpoint answered by its metrics: only what the alert said of it is on record")
            return {"answers": [{"status": scoring.status, "per_minute": self._rate(scoring.value or 1.0)}]}
        answers = [
            _filled(
                {"status": one.status, "per_minute": float(f"{one.per_minute:.6g}"), "model_status": one.model_status}
            )
            for one in load.answers
            if one.per_minute > 0
        ]
        milliseconds = None if load.latency is None else round(load.latency.total_seconds() * 1000, 3)
        return _filled({"answers": answers, "latency_ms": milliseconds})

    def _rate(self, counted: float) -> float:
        """Give requests a minute for what an alert counted: rows over its whole window, if it queries a log."""
        scoring = self.incident.scoring
        if scoring is None or scoring.metric is not None or scoring.window is None:
            return counted
        return counted / (scoring.window.total_seconds() / 60)

    def _logs(self) -> dict[str, str]:
        logs = {name: reading.value for name, reading in self.evidence.logs.items() if isinstance(reading, Found)}
        if any(_CUT in text[:80] for text in logs.values()):
            self._note("logs before their last lines: they were cut when they were read")
        return {name: text for name, text in logs.items() if text}

    # ---------------------------------------------------------------------------- why it fails, and again

    def _law(self, quota: Quota | None) -> str | None:
        """Name the law of the simulator by which the deployment fails; None if there is none."""
        if self.incident.operation is not Operation.WRITE or self.resource.deployment is None:
            return None
        place, image = _value(self.around.workspace), _value(self.around.image)
        if self.recorded.cause == "quota-cpu" and quota is not None and quota.missing > 0:
            return "quota"
        if self.recorded.cause in _KEYS and place is not None and place.registry is not None:
            return "keys"
        if any(access.held is not True for access in _value(self.around.access) or ()):
            return "roles"
        if self.recorded.cause == "role-not-effective":
            return "fresh role"
        if image is not None and image.in_registry and isinstance(image.manifest, Absent):
            return "image"
        if isinstance(self.around.model, Absent) and self._asset("model") is not None:
            return "model"
        return None

    def _hazards(self, law: str | None) -> Iterator[Plain]:
        if self.incident.is_scoring or (law is not None and not self._fails_on(law)):
            return
        hazard: Plain
        if law is None and self.recorded.cause == "canceled-higher-priority":
            hazard = {"kind": "higher-priority"}
        elif law is None and self.recorded.cause == "canceled-lock-confirmation":
            hazard = {"kind": "lock-confirmation"}
        else:
            hazard = self._broken()
        if len(self.endpoints) > 1:
            hazard["endpoint"] = self.resource.endpoint
        if self.incident.operation is Operation.DELETE:
            hazard["action"] = "*/onlineEndpoints/deployments/delete"
        is_canceled = hazard["kind"] != "broken" or hazard.get("ends") == "Canceled"
        reruns = sum(one.is_rerun for one in self.recorded.accepted)
        is_over = self.recorded.ended.end == "repaired" or (not reruns and (is_canceled or self._was_rejected()))
        if is_over:
            hazard["remaining"] = self.recorded.failures
        if not self._was_deleted():
            yield hazard

    def _fails_on(self, law: str) -> bool:
        """Tell whether it failed again although its cause was gone: then something else was wrong as well."""
        recorded = self.recorded
        has_rerun = any(one.is_rerun for one in recorded.accepted)
        return (
            has_rerun
            and recorded.ended.end == "not-repaired"
            and law == "keys"
            and recorded.last_cause == recorded.cause
        )

    def _broken(self) -> Plain:
        code, message, status = self._error()
        hazard: Plain = {"kind": "broken"}
        if code is None:
            self._note("the code of the error: none is on record")
        hazard |= {"code": code, "message": message}
        if self._was_rejected():
            hazard |= {"at": "request", "status": 409 if (code or "").lower() == "conflict" else 400}
        elif status == "Canceled":
            hazard["ends"] = "Canceled"
        logs = self._logs()
        if logs:
            hazard["logs"] = logs
        return hazard

    def _error(self) -> tuple[str | None, str, str]:
        """Give code, text and status of the failure as they are on record."""
        operation = _value(self.evidence.operation)
        rows = [row for row in _value(self.evidence.activity) or () if row.status in {"Failed", "Canceled"}]
        status = operation.status if operation is not None and operation.status in _ENDED else "Failed"
        code, errors = (operation.code, operation.errors) if operation is not None else (None, ())
        for row in rows:
            code, errors, status = code or row.code, errors or row.errors, row.status if operation is None else status
        errors = errors or self.evidence.report
        if not errors:
            self._note("the text of the error: none is on record")
        if any(len(one.message) >= 4096 for one in errors):
            self._note("the end of the error's text: it was cut when it was read")
        return code or next((one.code for one in errors if one.code), None), _text(errors), status

    def _was_rejected(self) -> bool:
        """Tell whether Azure refused the request itself, so that there was never anything to read."""
        return (
            isinstance(self.evidence.resource, Absent)
            and self.incident.operation is Operation.WRITE
            and not isinstance(self.evidence.operation, Found)
            and not self._was_accepted()
        )

    def _was_accepted(self) -> bool:
        rows = _value(self.evidence.history) or ()
        own = self.incident.correlation_id
        return any(row.status == "Accepted" and row.correlation_id.lower() == own for row in rows)

    def _was_deleted(self) -> bool:
        """Tell whether somebody deleted the deployment that was being created."""
        return (
            isinstance(self.evidence.resource, Absent)
            and self.incident.operation is Operation.WRITE
            and not self._was_rejected()
        )

    def _busy(self) -> Iterator[Plain]:
        """Give what met our writes because another operation ran."""
        busy = [one for one in self.recorded.sent if one.status == Status.BUSY and one.is_rerun]
        if busy:
            yield {
                "kind": "broken",
                "at": "request",
                "status": 409,
                "code": "Conflict",
                "message": "Another operation is in progress.",
                "after": 1,
                "remaining": len(busy),
            }

    def _faults(self) -> Iterator[Plain]:
        unknown = [one for one in self.recorded.sent if "PrincipalNotFound" in one.codes]
        if unknown:
            yield {
                "kind": "error",
                "method": "PUT",
                "path": "*/roleAssignments/*",
                "status": 400,
                "code": "PrincipalNotFound",
                "message": "The principal does not exist in the directory.",
                "times": len(unknown),
            }

    def _lacking(self) -> list[str]:
        """Give the operations of Azure Resource Manager that our identity was refused."""
        situation = self.recorded.situation
        preflight = situation.preflight if situation is not None else Absent()
        refused = [operation_of(one.method, one.path) for one in self.recorded.sent if one.status == Status.FORBIDDEN]
        asked = [one.partition(" on ")[0] for one in preflight.value] if isinstance(preflight, Found) else []
        return list(dict.fromkeys([*self.evidence.missing_permissions, *asked, *refused]))

    def _odd(self) -> Plain:
        """Give how this Azure is unlike others: what it hides, and how long it takes where that matters."""
        times: Plain = {}
        shown = _value(self.evidence.resource)
        if self._was_deleted():
            times["operation_seconds"] = 0.4
        if shown is not None and not shown.shows_environment:
            times["environment_variables"] = "absent"
        if shown is not None and "environmentVariables" in (shown.not_rebuildable or ""):
            times["environment_variables"] = "masked" if "masked" in (shown.not_rebuildable or "") else "nulled"
        if isinstance(self.evidence.operation, Absent):
            times["operation_records_missing"] = True
        return times

    # ------------------------------------------------------------------------------------- what happens

    def _happens(self) -> Iterator[Plain]:
        for access in self._fresh():
            where = self._scope(access)
            yield {
                "do": "assign-role",
                "principal": self._named(access.identity.path),
                "role": access.role_name,
                "scope": where,
            }
        if self.incident.is_scoring:
            yield self._alert()
            return
        if self.resource.deployment is None and self.incident.operation is Operation.WRITE:
            return
        deed: Plain = {"do": "put" if self.incident.operation is Operation.WRITE else "delete", "who": "ci"}
        if len(self.endpoints) > 1:
            deed["endpoint"] = self.resource.endpoint
        if self.resource.deployment is not None:
            deed["deployment"] = self.resource.deployment
        yield deed | self._put_spec()
        if self._was_deleted():
            yield deed | {"do": "delete", "who": "person", "after": 0.2}

    def _put_spec(self) -> Plain:
        shown, desired = _value(self.evidence.resource), _value(self.evidence.desired)
        if self.incident.operation is not Operation.WRITE:
            return {}
        if shown is not None:
            spec = {} if self._is_update(shown) else self._spec(shown)
        elif desired is not None:
            spec = _of_desired(desired)
        else:
            spec = {}
            self._note(f"{self.resource.label}: what was sent is not on record; a plain deployment stands for it")
        return {"spec": spec} if spec else {}

    def _alert(self) -> Plain:
        scoring = self.incident.scoring
        if scoring is None:
            return {"do": "alert", "after": 0.1, "rule": HIDDEN}
        minutes = 5 if scoring.window is None else max(1, round(scoring.window.total_seconds() / 60))
        is_metric = (scoring.metric or "").lower().startswith("request")
        alert: Plain = {"do": "alert", "after": 0.1, "rule": scoring.rule, "kind": "metric" if is_metric else "log"}
        alert |= {
            "deployment": self.resource.deployment,
            "status": scoring.status,
            "model_status": scoring.model_status,
        }
        rate = sum(
            one["per_minute"]
            for one in self._answers(_value(self.evidence.load)).get("answers", [])
            if _fits(one["status"], scoring.status) and scoring.model_status in {None, one.get("model_status")}
        )
        counted, threshold = (
            rate if is_metric else rate * minutes,
            5.0 if scoring.threshold is None else scoring.threshold,
        )
        if counted <= threshold:
            self._note(
                f"the threshold of alert rule {scoring.rule!r}: it would not fire at {threshold:g} by the metrics"
            )
            threshold = 0.0
        return _filled(alert | {"threshold": threshold, "minutes": minutes})

    def _blobs(self) -> Plain:
        desired = _value(self.evidence.desired)
        body = plain_deployment("", self.resource.workspace_path)
        place = _value(self.around.workspace)
        body["location"] = place.location if place is not None else WorldSeed().location
        shown = _value(self.evidence.resource)
        spec = self._spec(shown) if shown is not None else _of_desired(desired) if desired is not None else {}
        properties = {
            name: value
            for name, value in body["properties"].items()
            if name in {"endpointComputeType", "instanceType", "model"}
        }
        body = {"id": self.resource.path} | {name: body[name] for name in ("location", "kind", "sku")}
        body |= {
            name: {**body[name], **spec[name]} if name == "sku" else spec[name]
            for name in ("kind", "sku")
            if name in spec
        }
        body["properties"] = properties | spec.get("properties", {})
        self._note("the body that CI says it sent: only its digest, machine and number of instances are on record")
        return {f"{DESIRED}/{self.resource.deployment}.json": body}

    # ------------------------------------------------------------------------- registry, roles and quota

    def _registry(self, place: Workspace | None, law: str | None) -> Plain | None:
        if place is None or place.registry is None:
            return None
        registry: Plain = {"name": place.registry.rpartition("/")[2]}
        parts = place.registry.split("/")
        if parts[2].lower() != self.resource.subscription.lower():
            registry["subscription"] = parts[2]
        if parts[4].lower() != self.resource.resource_group.lower():
            registry["resource_group"] = parts[4]
        known = dict(registry)
        match self.around.registry:
            case Found(shown):
                registry |= self._keys(shown, law)
            case Absent():
                registry["absent"] = True
        return registry if registry != known else None

    def _keys(self, shown: Registry, law: str | None) -> Plain:
        faults = " ".join(_value(self.around.network) or ())
        keys: Plain = {}
        if shown.admin_user is False:
            keys["admin_user"] = False
        if shown.is_abac:
            keys["role_mode"] = "abac"
        image = _value(self.around.image)
        if law in {"image", "roles"} and image is not None and isinstance(image.manifest, Absent):
            keys["images"] = {}
            text = self._error()[1].lower()
            if "manifest" not in text and "not found" not in text:
                keys["absent_tag_text"] = "pull-permission"
        if shown.keys_changed_at is not None:
            keys["keys_regenerated"] = self._age(shown.keys_changed_at)
        if _NO_NETWORK in faults or (self.recorded.cause == "acr-firewall" and law == "keys"):
            keys["unreachable"] = True
        elif law == "keys" and shown.keys_changed_at is None:
            keys["desynchronised"] = True
        elif law != "keys" and shown.keys_changed_at is not None:
            keys["desynchronised"] = False
        if (
            image is not None
            and image.in_registry
            and isinstance(image.manifest, Unknown)
            and not keys.get("unreachable")
        ):
            keys["pullers"] = []
        return keys

    def _roles(self, place: Workspace | None, law: str | None) -> Plain:
        found = _value(self.around.access)
        if not found or place is None:
            return {}
        assignments, fresh = [], self._fresh()
        for access in found:
            unclear = _ON.fullmatch(access.words) if access.held is None else None
            if access in fresh or (access.held is not True and unclear is None):
                continue
            one: Plain = {
                "principal": self._named(access.identity.path),
                "role": access.role_name,
                "scope": self._scope(access),
            }
            if unclear is not None:
                one |= {"role": unclear["role"], "condition": HIDDEN, "condition_fits": False}
                self._note(f"the condition of {unclear['role']}; that there is one is on record")
            elif " (through a group)" in access.words or not access.words.startswith(access.role_name):
                self._note(f"how {self._named(access.identity.path)} holds a right: by {access.words}")
            if access.since is not None:
                one["age"] = self._age(access.since)
            assignments.append(one)
        roles: Plain = {"role_assignments": assignments}
        failed = sum(one.is_rerun for one in self.recorded.accepted) - (self.recorded.ended.end == "repaired")
        if law in {"roles", "fresh role"} and (failed > 0 or fresh):
            is_never = self.recorded.ended.end != "repaired" and failed > 0
            waits = _NEVER if is_never else _EFFECTIVE[min(max(failed, 0), len(_EFFECTIVE) - 1)]
            roles["role_propagation_seconds"] = max(waits, _FRESH) if fresh else waits
            self._note("how long a role took to be effective")
        if any("RoleAssignmentLimitExceeded" in one.codes for one in self.recorded.sent):
            roles["assignments_used"] = WorldSeed().assignment_limit - len(assignments)
        return roles

    def _fresh(self) -> list[Access]:
        """Give the roles that were assigned so shortly before that they were not effective yet."""
        found = _value(self.around.access) or ()
        if self.recorded.cause != "role-not-effective":
            return []
        dated = [access for access in found if access.held and access.since is not None]
        return [max(dated, key=_since)] if dated else []

    def _scope(self, access: Access) -> str:
        place = _value(self.around.workspace)
        if place is not None and _is_same(access.scope, place.registry):
            return "registry"
        return "storage" if place is not None and _is_same(access.scope, place.storage) else access.scope

    def _usages(self, quota: Quota | None, law: str | None) -> Plain:
        if quota is None:
            reason = self.around.quota.reason if isinstance(self.around.quota, Unknown) else ""
            return {"usages_missing_families": True} if "no row for" in reason else {}
        named = _FAMILY.fullmatch(quota.family)
        middle = quota.family if named is None else named["middle"]
        head = "Standard " if named is not None and named["head"] else ""
        rows = [
            {
                "name": f"{head}{middle} Family Cluster Dedicated vCPUs",
                "used": quota.used,
                "limit": _limit(quota.limit),
            },
            {
                "name": "Total Cluster Dedicated Regional vCPUs",
                "used": quota.total_used,
                "limit": _limit(quota.total_limit),
            },
        ]
        self._add_size(VmSize(name=quota.instance_type, family=quota.family, cores=quota.cores_each, memory_gb=0))
        usages: Plain = {"usages": rows}
        if law == "quota" and self._was_rejected():
            usages["quota_refuses"] = "request"
        return usages

    def _size_of(self, candidate: Candidate) -> None:
        quota, state = _value(self.around.quota), candidate.state
        if quota is not None and state.instance_type is not None and state.capacity:
            cores = candidate.cores // -(-state.capacity * 6 // 5)
            self._add_size(VmSize(name=state.instance_type, family=quota.family, cores=cores, memory_gb=0))

    def _add_size(self, size: VmSize) -> None:
        self.sizes[size.name.lower()] = size

    def _vm_sizes(self) -> list[Plain]:
        """Give the machine types of this world; none if the simulator's own are the same."""
        known = {name: (size.family, size.cores) for name, size in _SIZES.items()}
        if all(known.get(name) == (size.family, size.cores) for name, size in self.sizes.items()):
            return []
        sizes = {**{name: _SIZES[name] for name in (_PLAIN_TYPE.lower(), _OTHER_TYPE.lower())}, **self.sizes}
        self._note("memory of the machine types")
        return [
            {"name": size.name, "family": size.family, "cores": size.cores, "memory_gb": size.memory_gb}
            for size in sizes.values()
        ]

    # --------------------------------------------------------------------------------------- small parts

    def _named(self, path: str) -> str:
        """Give an identity by its name if it lies in the workspace's group, else by its id."""
        group = f"{self.resource.resource_group_path}/providers/"
        return path.rpartition("/")[2] if path.lower().startswith(group.lower()) else path

    def _age(self, at: datetime) -> int:
        return max(0, round((self.evidence.collected_at - at).total_seconds()))

    def _spelled(self, key: str) -> ResourceId:
        candidates = (each.resource.endpoint_id for each in _value(self.around.candidates) or ())
        return next(one for one in (self.resource.endpoint_id, *candidates) if one.key == key)

    def _note(self, words: str) -> None:
        self.notes.append(words)


def _value[T](reading: Found[T] | Absent | Unknown) -> T | None:
    return reading.value if isinstance(reading, Found) else None


def _filled(plain: Plain) -> Plain:
    """Leave out what says nothing."""
    return {name: value for name, value in plain.items() if value not in ([], {}, None)}


def _unless(value: str | None, usual: str) -> str | None:
    return None if value == usual else value


def _is_same(one: str | None, other: str | None) -> bool:
    return (one or "").lower() == (other or "").lower()


def _variables(names: Iterable[str]) -> Plain | None:
    named = dict.fromkeys(names, HIDDEN)
    if not named:
        return None
    return {name: None for name in _PLAIN["environmentVariables"] if name not in named} | named


def _of_desired(desired: DesiredSpec) -> Plain:
    spec: Plain = {}
    if desired.kind not in {"Managed", None}:
        spec = {"kind": desired.kind, "properties": {"endpointComputeType": desired.kind}}
    if desired.capacity not in {1, None}:
        spec["sku"] = {"capacity": desired.capacity}
    if desired.instance_type not in {_PLAIN_TYPE, None}:
        spec.setdefault("properties", {})["instanceType"] = desired.instance_type
    return spec


def _text(errors: tuple[ErrorDetail, ...]) -> str:
    """Give one text that tells of all errors, the outermost first."""
    outer_first = sorted(errors, key=lambda one: one.depth)
    first, rest = outer_first[:1], outer_first[1:]
    lines = [one.message for one in first] + [
        f"({one.code}) {one.message}" if one.code else one.message for one in rest
    ]
    return "\n".join(line for line in lines if line)


def _since(access: Access) -> str:
    return access.since.isoformat() if access.since is not None else ""


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _fits(status: str, wanted: str | None) -> bool:
    return wanted is None or status == wanted or (wanted.endswith("xx") and status[0] == wanted[0])
