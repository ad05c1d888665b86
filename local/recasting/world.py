"""Evidence -> a world file: what was there, why the operation has to fail in it again, and what sets it off.

What the evidence does not show is left as the simulator has it; what that may hide is noted.
"""

from collections.abc import Iterator

from local.arm.schema import WorldSeed, plain_deployment
from local.recasting import around, failing
from local.recasting.deployments import (
    HIDDEN,
    Plain,
    age,
    answers,
    candidate,
    filled,
    scored,
    spec_of,
    spec_of_desired,
    value,
)
from local.recasting.record import Recorded
from remediations.actions.rerun import was_create
from remediations.model import Absent, Found, Operation, ResourceId, ResourceState

DESIRED = "desired"
_JUST_NOW_S = 60
_CANCELS_S = 0.4  # long enough for somebody to delete what is being deployed


def rebuild(recorded: Recorded, notes: list[str]) -> Plain:
    """Give the world in which an incident began, and add what could not be rebuilt to the notes."""
    resource, place = recorded.incident.resource, value(recorded.evidence.surroundings.workspace)
    if place is None:
        notes.append(f"workspace {resource.workspace}: only its name is on record; a plain one stands for it")
    endpoints = _endpoints(recorded, notes)
    by_law, is_many, usual = failing.law(recorded), len(endpoints) > 1, WorldSeed()
    world: Plain = {
        "resource_group": None if resource.resource_group == usual.resource_group else resource.resource_group,
        "location": None if place is None or place.location == usual.location else place.location,
        "workspaces": _workspaces(recorded, endpoints),
        "registries": around.registry(recorded, by_law, notes),
        **around.roles(recorded, by_law, notes),
        **around.usages(recorded, by_law, notes),
        "denied": failing.denied(recorded),
        **_hidden(recorded),
        "operation_seconds": _CANCELS_S if failing.was_deleted(recorded) else None,
        "hazards": [*failing.hazards(recorded, is_one_of_many=is_many, notes=notes), *failing.busy(recorded)],
        "faults": list(failing.faults(recorded)),
        "happens": list(_happens(recorded, is_one_of_many=is_many, notes=notes)),
        "blobs": _blobs(recorded, notes) if isinstance(recorded.evidence.desired, Found) else {},
    }
    # Without any assignment roles are enforced all the same: an empty list is not none.
    return {name: item for name, item in world.items() if item or name == "role_assignments"}


# ---------------------------------------------------------------------------------------- what is there


def _endpoints(recorded: Recorded, notes: list[str]) -> dict[ResourceId, Plain]:
    """Give the endpoints with their deployments, the incident's own first."""
    own, state = recorded.incident.resource, value(recorded.evidence.endpoint)
    if state is None:
        notes.append(f"endpoint {own.endpoint}: a plain one stands for it; what it was is not on record")
    others = [one for one in value(recorded.evidence.surroundings.candidates) or () if one.resource.key != own.key]
    endpoints = {own.endpoint_id.key: (own.endpoint_id, _endpoint(own, own.endpoint_id, state, notes))}
    endpoints[own.endpoint_id.key][1]["deployments"] += _own(recorded, notes)
    if own.deployment is None and recorded.incident.operation is Operation.WRITE:
        endpoints[own.key][1].update(_failed(recorded, notes))
    for one in others:
        place = one.resource.endpoint_id
        endpoints.setdefault(place.key, (place, _endpoint(own, place, one.endpoint, notes)))
        endpoints[place.key][1]["deployments"].append(candidate(recorded, one, notes))
    for place, endpoint in endpoints.values():
        siblings = [name for one in others if one.resource.endpoint_id.key == place.key for name in one.siblings]
        _complete(recorded, place, endpoint, siblings, notes)
    return dict(endpoints.values())


def _endpoint(own: ResourceId, resource: ResourceId, state: ResourceState | None, notes: list[str]) -> Plain:
    endpoint: Plain = {"name": resource.endpoint, "traffic": {}, "mirror_traffic": {}}
    if state is not None:
        kind = (state.identity or "").lower()
        if state.identities and "system" in kind:
            notes.append(f"endpoint {resource.endpoint}: the system-assigned identity that it has besides")
        endpoint |= {
            "traffic": dict(state.traffic),
            "mirror_traffic": dict(state.mirror_traffic),
            "spec": filled({"tags": dict(state.tags), "identity": {"type": "None"} if kind == "none" else None}),
            "state": state.provisioning_state if state.provisioning_state in {"Failed", "Canceled"} else None,
            "identities": [around.identity(own.resource_group_path, one.path) for one in state.identities],
        }
    return endpoint | {"deployments": []}


def _failed(recorded: Recorded, notes: list[str]) -> Plain:
    """Give how the write of an endpoint failed: nothing in a world sets that off, so it begins as it ended."""
    code, message, status = failing.error(recorded, notes)
    return {"state": status, "error": filled({"code": code, "message": message}), "age": _JUST_NOW_S}


def _own(recorded: Recorded, notes: list[str]) -> Iterator[Plain]:
    """Give the deployment of the incident, if it was there before its operation failed."""
    incident, shown = recorded.incident, value(recorded.evidence.resource)
    if incident.is_scoring:
        yield scored(recorded, notes) if incident.resource.deployment is not None else _busiest(recorded, notes)
    elif incident.resource.deployment is None:
        return
    elif shown is not None and (_is_update(recorded, shown) or incident.operation is Operation.DELETE):
        since = None if shown.created_at is None else age(recorded, shown.created_at)
        yield filled({"name": incident.resource.deployment, "spec": spec_of(shown, notes), "age": since})
        if incident.operation is Operation.WRITE:
            notes.append("what the failed update changed is not on record: the same spec is deployed again")


def _busiest(recorded: Recorded, notes: list[str]) -> Plain:
    """Give the deployment that answers where only the endpoint's answers are on record: that with most traffic."""
    state = value(recorded.evidence.endpoint)
    traffic = {} if state is None else state.traffic
    name = max(traffic, key=lambda one: traffic[one], default=HIDDEN)
    notes.append(f"which deployments of {recorded.incident.resource.endpoint} answered: here all answers are of {name}")
    return filled({"name": name, "metrics": answers(recorded, notes)})


def _complete(recorded: Recorded, place: ResourceId, endpoint: Plain, siblings: list[str], notes: list[str]) -> None:
    """Add the deployments that are known by their names alone: they have traffic, or are named beside others."""
    own = recorded.incident.resource
    there = {each["name"].lower() for each in endpoint["deployments"]}
    created = str(own.deployment).lower() if own.endpoint_id.key == place.key else ""
    for name in dict.fromkeys([*endpoint["traffic"], *endpoint["mirror_traffic"], *siblings]):
        if name.lower() not in there and name.lower() != created:
            endpoint["deployments"].append(filled({"name": name, "spec": _stand_in(recorded)}))
            there.add(name.lower())
            notes.append(f"{endpoint['name']}/{name}: only its name is on record; a plain deployment stands for it")
    for weights in ("traffic", "mirror_traffic"):  # what is only being created has none yet
        endpoint[weights] = {name: share for name, share in endpoint[weights].items() if name.lower() in there}


def _stand_in(recorded: Recorded) -> Plain:
    """Give the spec of what is known by name: on machines of another family than the one whose quota is missing."""
    quota = value(recorded.evidence.surroundings.quota)
    is_other = quota is not None and quota.family != around.SIZES[around.OTHER_TYPE.lower()].family
    return {"properties": {"instanceType": around.OTHER_TYPE}} if is_other else {}


def _workspaces(recorded: Recorded, endpoints: dict[ResourceId, Plain]) -> list[Plain]:
    own = recorded.incident.resource
    found: dict[str, Plain] = {}
    for place, endpoint in endpoints.items():
        is_own = place.workspace_path.lower() == own.workspace_path.lower()
        is_elsewhere = place.resource_group.lower() != own.resource_group.lower()
        if (key := place.workspace_path.lower()) not in found:
            found[key] = {"name": place.workspace} | ({"resource_group": place.resource_group} if is_elsewhere else {})
            found[key] |= (around.workspace(recorded) if is_own else {}) | {"endpoints": []}
        found[key]["endpoints"].append(filled(endpoint))
    return list(found.values())


def _hidden(recorded: Recorded) -> Plain:
    """Give what this Azure does not show."""
    shown = value(recorded.evidence.resource)
    why = "" if shown is None else shown.not_rebuildable or ""
    hidden: Plain = {}
    if shown is not None and not shown.shows_environment:
        hidden["environment_variables"] = "absent"
    elif "environmentVariables" in why:
        hidden["environment_variables"] = "masked" if "masked" in why else "nulled"
    if isinstance(recorded.evidence.operation, Absent):
        hidden["operation_records_missing"] = True
    return hidden


# ------------------------------------------------------------------------------------------- what happens


def _happens(recorded: Recorded, *, is_one_of_many: bool, notes: list[str]) -> Iterator[Plain]:
    """Give what sets the failure off: a deployment, a deletion, or an alert."""
    incident = recorded.incident
    for access in around.fresh(recorded):
        yield {"do": "assign-role", **around.assigned(recorded, access)}
    if incident.is_scoring:
        yield _alert(recorded, notes)
        return
    if incident.resource.deployment is None and incident.operation is Operation.WRITE:
        return  # an endpoint that failed to be created is there, and CI tells of it
    where = {
        "endpoint": incident.resource.endpoint if is_one_of_many else None,
        "deployment": incident.resource.deployment,
    }
    verb = "put" if incident.operation is Operation.WRITE else "delete"
    yield {"do": verb, "who": "ci"} | filled(where | {"spec": _sent_spec(recorded, notes)})
    if failing.was_deleted(recorded):
        yield {"do": "delete", "who": "person", "after": _CANCELS_S / 2} | filled(where)


def _sent_spec(recorded: Recorded, notes: list[str]) -> Plain:
    """Give what was deployed, laid over what is there."""
    shown, desired = value(recorded.evidence.resource), value(recorded.evidence.desired)
    if recorded.incident.operation is not Operation.WRITE:
        return {}
    if shown is not None:
        return {} if _is_update(recorded, shown) else spec_of(shown, notes)
    if desired is not None:
        return spec_of_desired(desired)
    notes.append(f"{recorded.incident.resource.label}: what was sent is not on record; a plain one stands for it")
    return {}


def _alert(recorded: Recorded, notes: list[str]) -> Plain:
    scoring, deployment = recorded.incident.scoring, recorded.incident.resource.deployment
    if scoring is None:
        return {"do": "alert", "after": 0.1, "rule": HIDDEN, "deployment": deployment}
    minutes = 5 if scoring.window is None else max(1, round(scoring.window.total_seconds() / 60))
    is_metric = (scoring.metric or "").lower().startswith("request")
    rate = sum(
        one["per_minute"]
        for one in answers(recorded, []).get("answers", ())
        if _fits(one["status"], scoring.status) and scoring.model_status in {None, one.get("model_status")}
    )
    threshold = 5.0 if scoring.threshold is None else scoring.threshold
    if (rate if is_metric else rate * minutes) <= threshold:
        notes.append(f"the threshold of alert rule {scoring.rule!r}: it would not fire at {threshold:g} by the metrics")
        threshold = 0.0 if rate else -1.0  # below what it counts, so that it fires
    alert = {"do": "alert", "after": 0.1, "rule": scoring.rule, "kind": "metric" if is_metric else "log"}
    named = {"deployment": deployment, "status": scoring.status, "model_status": scoring.model_status}
    return alert | filled(named) | {"threshold": threshold, "minutes": minutes}


def _blobs(recorded: Recorded, notes: list[str]) -> Plain:
    """Give the body that CI says it sent, as far as it is known."""
    own, shown = recorded.incident.resource, value(recorded.evidence.resource)
    desired, place = value(recorded.evidence.desired), value(recorded.evidence.surroundings.workspace)
    spec = spec_of_desired(desired) if desired is not None and shown is None else {}
    if shown is not None:
        spec = spec_of(shown, notes)
    plain = plain_deployment(WorldSeed().location if place is None else place.location, own.workspace_path)
    kept = {name: plain["properties"][name] for name in ("endpointComputeType", "instanceType", "model")}
    notes.append("the body that CI says it sent: only its digest, machine and number of instances are on record")
    body = {"id": own.path, "location": plain["location"], "kind": spec.get("kind", plain["kind"])}
    body |= {"sku": plain["sku"] | spec.get("sku", {}), "properties": kept | spec.get("properties", {})}
    return {f"{DESIRED}/{own.deployment}.json": body}


def _is_update(recorded: Recorded, shown: ResourceState) -> bool:
    return was_create(recorded.evidence, shown) is False


def _fits(status: str, wanted: str | None) -> bool:
    return wanted is None or status == wanted or (wanted.endswith("xx") and status[0] == wanted[0])
