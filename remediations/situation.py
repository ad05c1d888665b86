"""Survey: Plan -> Situation. Everything that the guards ask about, read once, so that they can be pure.

The situation is kept by its digest: a decision can be replayed on it, and under another policy.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from remediations.model import (
    ActivityRow,
    Caller,
    Evidence,
    Found,
    Mode,
    Plan,
    Reading,
    ResourceState,
    Status,
    Unknown,
)
from remediations.policy import ActionPolicy, Freeze, Pause, Policy, Window
from remediations.trail import Result, Trail, counts_as_attempt

_UNCLEAR_FOR = timedelta(hours=24)  # later, the resource itself shows what became of it


class PastEffect(Struct, frozen=True, kw_only=True):
    """One effect on the plan's targets, by any incident.

    Attributes:
        counts: Whether it counts as an attempt.
        is_open: Whether nobody knows yet what came of it.
    """

    at: datetime
    incident_id: str
    action: str
    cause_id: str
    plan: str
    counts: bool
    is_open: bool


class Situation(Struct, frozen=True, kw_only=True):
    """What the world and the trail show about one plan, at one time.

    Attributes:
        ceiling: ``MEDIC_MODE``: the most that is permitted at all.
        desk: ``ours``, ``held`` by another incident, or ``free`` (it is claimed right before the effect).
        fingerprint: What the target shows now; the plan says what it showed.
        history: What was done to the resource since the failure, from the Activity Log.
        results: Results of this action inside the breaker's window, oldest first.
    """

    now: datetime
    ceiling: Mode
    permission: ActionPolicy
    tags: dict[str, str]
    protected: dict[str, str]
    fingerprint: dict[str, str]
    resource: Reading[ResourceState]
    endpoint: Reading[ResourceState] = Unknown()
    history: Reading[tuple[ActivityRow, ...]] = Unknown()
    own: Caller | None = None
    own_requests: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    windows: tuple[Window, ...] = ()
    effects: tuple[PastEffect, ...] = ()
    budget_used: int = 0
    results: tuple[Result, ...] = ()
    desk: str = "free"


def survey(
    plan: Plan,
    evidence: Evidence,
    fingerprint: Mapping[str, str],
    *,
    policy: Policy,
    ceiling: Mode,
    trail: Trail,
    own: Caller | None,
    now: datetime,
    desk: str = "free",
) -> Situation:
    """Give the situation of a plan.

    Args:
        evidence: Fresh evidence of the plan's incident.
        fingerprint: What the action's fingerprint is by that evidence.
        desk: Who holds the desks of the plan's targets.
    """
    resource = plan.diagnosis.incident.resource
    tags = known_tags(evidence)
    permission = policy.permission(plan.action, resource, tags)
    effects = [pair for target in plan.target for pair in trail.effects_on(target)]
    return Situation(
        now=now,
        ceiling=ceiling,
        permission=permission,
        tags=tags,
        protected=policy.protected,
        fingerprint=dict(fingerprint),
        resource=evidence.resource,
        endpoint=evidence.endpoint,
        history=evidence.history,
        own=own,
        own_requests=own_requests(trail, evidence),
        missing_permissions=evidence.missing_permissions,
        pauses=tuple(pause for pause in (*policy.pauses, *trail.pauses(now)) if pause.scope.covers(resource, tags)),
        freezes=tuple(freeze for freeze in policy.freezes if freeze.scope.covers(resource, tags)),
        windows=tuple(window for window in policy.windows if window.scope.covers(resource, tags)),
        effects=tuple(
            PastEffect(
                at=effect.at,
                incident_id=effect.incident_id,
                action=effect.action,
                cause_id=effect.cause_id,
                plan=effect.plan,
                counts=counts_as_attempt(outcome),
                is_open=outcome is None or (outcome.status is Status.UNCLEAR and now - effect.at < _UNCLEAR_FOR),
            )
            for effect, outcome in effects
        ),
        budget_used=trail.budget_used(resource.subscription, plan.action, now, plan.digest),
        results=trail.results(resource.subscription, plan.action, now - permission.breaker_within, now),
        desk=desk,
    )


def known_tags(evidence: Evidence) -> dict[str, str]:
    """Give the tags of both; the endpoint's hold, so that no deployment leaves its endpoint's rules."""
    readings = (evidence.resource, evidence.endpoint)
    return {
        name: value for reading in readings if isinstance(reading, Found) for name, value in reading.value.tags.items()
    }


def own_requests(trail: Trail, evidence: Evidence) -> tuple[str, ...]:
    """Give the request ids in the resource's history that stand on our own trail: our writes, not a person's."""
    if not isinstance(evidence.history, Found):
        return ()
    seen = {row.client_request_id for row in evidence.history.value if row.client_request_id}
    return tuple(sorted(request for request in seen if trail.request(request) is not None))
