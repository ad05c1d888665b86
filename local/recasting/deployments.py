"""Deployments as a world file writes them: what is on record, as far as it is not what a plain one has."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from local.arm.schema import plain_deployment
from local.recasting.record import Recorded
from remediations.model import (
    Absent,
    Candidate,
    DesiredSpec,
    Evidence,
    Found,
    Load,
    Reading,
    ResourceId,
    ResourceState,
    Unknown,
)
from remediations.redaction import CUT_MARK

type Plain = dict[str, Any]

HIDDEN = "not-recorded"  # stands where only the name of a value is on record
PLAIN_TYPE = "Standard_DS3_v2"
ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
_PLAIN = plain_deployment("", "")["properties"]
_BROKEN_OFF = frozenset({"Failed", "Canceled"})


def value[T](reading: Reading[T]) -> T | None:
    """Give what was found; None if nothing was."""
    return reading.value if isinstance(reading, Found) else None


def filled(plain: Plain) -> Plain:
    """Give what says something."""
    return {name: item for name, item in plain.items() if item not in ([], {}, None)}


def age(recorded: Recorded, at: datetime) -> int:
    """Give how many seconds something was ago when the evidence was read."""
    return max(0, round((recorded.evidence.collected_at - at).total_seconds()))


def is_same(one: str | None, other: str | None) -> bool:
    """Tell whether two resource IDs are the same, in whatever casing."""
    return (one or "").lower() == (other or "").lower()


def spec_of(state: ResourceState, notes: list[str]) -> Plain:
    """Give the spec of a deployment, laid over a plain one."""
    spec: Plain = {"tags": dict(state.tags)}
    properties = _requests(state)
    if state.kind != "Managed":
        spec["kind"] = properties["endpointComputeType"] = state.kind
    if state.capacity not in {1, None}:
        spec["sku"] = {"capacity": state.capacity}
    if state.instance_type != PLAIN_TYPE:
        properties["instanceType"] = state.instance_type
    plain = plain_deployment("", ResourceId.parse(state.path).workspace_path)["properties"]
    for name, shown in (("model", state.model), ("environmentId", state.environment)):
        if not is_same(shown, plain[name]):
            properties[name] = shown
    if state.shows_environment and state.environment_names != tuple(_PLAIN["environmentVariables"]):
        properties["environmentVariables"] = _variables(state.environment_names)
    if state.environment_names:
        notes.append("values of environment variables; only their names are on record")
    return {name: item for name, item in (spec | {"properties": properties}).items() if item}


def spec_of_desired(desired: DesiredSpec) -> Plain:
    """Give the same of the body that CI says it sent."""
    spec: Plain = {}
    properties: Plain = {}
    if desired.kind not in {"Managed", None}:
        spec["kind"] = properties["endpointComputeType"] = desired.kind
    if desired.capacity not in {1, None}:
        spec["sku"] = {"capacity": desired.capacity}
    if desired.instance_type not in {PLAIN_TYPE, None}:
        properties["instanceType"] = desired.instance_type
    return filled(spec | {"properties": properties})


def candidate(recorded: Recorded, one: Candidate, notes: list[str]) -> Plain:
    """Give a deployment that draws on the same quota."""
    state, label = one.state, one.resource.label
    metrics: Plain = {}
    match one.requests:
        case Found(True):
            metrics["requests"] = [{"days_ago": 1, "average": 0.01}]
            notes.append(f"when and how many requests reached {label}; that some did is on record")
        case Unknown(reason) if not reason.startswith("not asked: "):
            metrics["error_code"] = "InternalError"
    if isinstance(one.alive, Absent):
        metrics["capacity"] = "silent"
    if state.provisioning_state not in ENDED:
        notes.append(f"{label} was {state.provisioning_state}; here it is Succeeded")
    has_failed = state.provisioning_state in _BROKEN_OFF
    written = state.last_modified_at or state.created_at
    return filled(
        {
            "name": one.resource.deployment,
            "spec": spec_of(state, notes),
            "state": state.provisioning_state if has_failed else None,
            "age": None if written is None else age(recorded, written),
            "ever_succeeded": False if has_failed else None,
            "metrics": metrics,
        }
    )


def scored(recorded: Recorded, notes: list[str]) -> Plain:
    """Give the deployment that fails to answer requests."""
    shown = value(recorded.evidence.resource)
    deployment: Plain = {"name": recorded.incident.resource.deployment}
    if shown is not None:
        deployment["spec"] = spec_of(shown, notes)
        if shown.provisioning_state in _BROKEN_OFF:
            deployment |= {"state": shown.provisioning_state, "ever_succeeded": True}
    deployment["logs"] = logs(recorded.evidence, notes)
    deployment["metrics"] = answers(recorded, notes)
    return filled(deployment)


def answers(recorded: Recorded, notes: list[str]) -> Plain:
    """Give how the endpoint answered by its metrics, or else by the alert."""
    load, scoring = value(recorded.evidence.load) or Load(), recorded.incident.scoring
    if load.answers or scoring is None:
        told = [
            filled({"status": one.status, "per_minute": _short(one.per_minute), "model_status": one.model_status})
            for one in load.answers
            if one.per_minute > 0
        ]
        return filled({"answers": told, "latency_ms": load.latency and _short(load.latency.total_seconds() * 1000)})
    if scoring.status is None or not scoring.status.isdecimal():
        return {}
    notes.append("how the endpoint answered by its metrics: only what the alert said of it is on record")
    is_query = scoring.metric is None and scoring.window is not None  # it counts rows, over its whole window
    minutes = scoring.window.total_seconds() / 60 if is_query and scoring.window else 1.0
    told = [{"status": scoring.status, "per_minute": _short((scoring.value or 1.0) / minutes)}]
    return {"answers": [filled(told[0] | {"model_status": scoring.model_status})]}


def logs(evidence: Evidence, notes: list[str]) -> dict[str, str]:
    """Give what the containers said."""
    found = {name: reading.value for name, reading in evidence.logs.items() if isinstance(reading, Found)}
    if any(text.startswith(CUT_MARK) for text in found.values()):
        notes.append("logs before their last lines: they were cut when they were read")
    return {name: text for name, text in found.items() if text}


def _requests(state: ResourceState) -> Plain:
    """Give the settings of requests that are not the plain ones."""
    plain = _PLAIN["requestSettings"]
    settings: Plain = {}
    if state.concurrent_requests not in {plain["maxConcurrentRequestsPerInstance"], None}:
        settings["maxConcurrentRequestsPerInstance"] = state.concurrent_requests
    timeout = msgspec.to_builtins(state.request_timeout)
    if timeout not in {plain["requestTimeout"], None}:
        settings["requestTimeout"] = timeout
    return {"requestSettings": settings} if settings else {}


def _variables(names: Iterable[str]) -> Plain | None:
    """Give environment variables of these names, beside those of a plain deployment; None takes all away."""
    return dict.fromkeys(names, HIDDEN) or None


def _short(number: float) -> float:
    return float(f"{number:.6g}")
