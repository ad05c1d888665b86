"""Survey: Plan -> Situation. Everything that the guards ask about, read once, so that they can be pure.

The situation is kept by its digest: a decision can be replayed on it, and under another policy.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from remediations.catalogue.checks import network_faults
from remediations.model import (
    Absent,
    ActivityRow,
    Caller,
    Evidence,
    Found,
    Mode,
    NoPlan,
    Outcome,
    Plan,
    Reading,
    Receipt,
    ResourceId,
    ResourceState,
    Status,
    Surroundings,
    Undone,
    Unknown,
)
from remediations.policy import ActionPolicy, Approvers, Freeze, Grants, Idle, Pause, Policy, Scope, Window
from remediations.trail import Effect, Result, Settled, Trail, counts_as_attempt

_UNCLEAR_FOR = timedelta(hours=24)  # later, the resource itself shows what became of it


class PastEffect(Struct, frozen=True, kw_only=True):
    """One effect on the plan's targets, by any incident.

    Attributes:
        targets: Which of the plan's targets it touched.
        status: How it ended; None while that is not known.
        settled: How the long-running operation that it began came out; None if nobody has looked.
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
    step: int = 0
    attempt: int = 1
    targets: tuple[str, ...] = ()
    status: Status | None = None
    settled: Settled | None = None


class Situation(Struct, frozen=True, kw_only=True):
    """What the world and the trail show about one plan, at one time.

    Attributes:
        permission: What policy permits; its mode is the strictest of those for all that the plan touches.
        step: Number of the step whose turn it is.
        ceiling: ``MEDIC_MODE``: the most that is permitted at all.
        preflight: The permissions that our identity lacks, read when a person was about to be asked; absent if it lacks
            none, or if nobody was about to be asked.
        quorum: What policy says for each thing that the plan touches, and `approvers` who may approve all of them.
        desk: ``ours``, ``held`` by another incident, or ``free`` (it is claimed right before the effect).
        fingerprint: What the target shows now; the plan says what it showed.
        history: What was done to the resource since the failure, from the Activity Log.
        network_faults: What the workspace's diagnosis finds wrong on the way to its registry; None if it was not made.
        pauses: Those that cover anything the plan touches, of policy and of the trail.
        trail_pauses: All that the trail held, also of other scopes: what another policy is laid over.
        windows: The maintenance windows of each thing that the plan touches.
        results: Results of this action inside the breaker's window, oldest first.
        undone: What an undo rests on; None for every other plan.
    """

    now: datetime
    ceiling: Mode
    permission: ActionPolicy
    tags: dict[str, str]
    protected: dict[str, str]
    fingerprint: dict[str, str]
    resource: Reading[ResourceState]
    endpoint: Reading[ResourceState] = Unknown()
    surroundings: Surroundings = Surroundings()
    network_faults: tuple[str, ...] | None = None
    step: int = 0
    idle: Idle = Idle()
    grants: Grants = Grants()
    history: Reading[tuple[ActivityRow, ...]] = Unknown()
    own: Caller | None = None
    own_requests: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    trail_pauses: tuple[Pause, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    windows: tuple[tuple[Window, ...], ...] = ()
    effects: tuple[PastEffect, ...] = ()
    budget_used: int = 0
    results: tuple[Result, ...] = ()
    preflight: Reading[tuple[str, ...]] = Absent()
    quorum: tuple[int | None, ...] = (None,)
    approvers: tuple[Approvers, ...] = (Approvers(),)
    desk: str = "free"
    undone: Undone | None = None


class Declined(Struct, frozen=True, kw_only=True):
    """Why nothing was planned though an action was called for, and what a plan of another policy is decided on.

    Attributes:
        now: When that was, and `try_number` which try of the incident.
        own, trail_pauses: As for a `Situation`.
    """

    no_plan: NoPlan
    now: datetime
    try_number: int
    own: Caller | None = None
    trail_pauses: tuple[Pause, ...] = ()


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
    step: int = 0,
    desk: str = "free",
) -> Situation:
    """Give the situation of a plan.

    Args:
        evidence: Fresh evidence of the plan's incident.
        fingerprint: What the action's fingerprint is by that evidence.
        step: Number of the step whose turn it is.
        desk: Who holds the desks of the plan's targets.
    """
    subscription = plan.diagnosis.incident.resource.subscription
    seen = Situation(
        now=now,
        ceiling=ceiling,
        permission=ActionPolicy(),
        tags=known_tags(evidence),
        protected={},
        fingerprint=dict(fingerprint),
        resource=evidence.resource,
        endpoint=evidence.endpoint,
        surroundings=evidence.surroundings,
        network_faults=network_faults(evidence),
        step=step,
        history=evidence.history,
        own=own,
        own_requests=own_requests(trail, evidence),
        missing_permissions=evidence.missing_permissions,
        trail_pauses=trail.pauses(now),
        effects=_effects(plan, trail, now),
        budget_used=trail.budget_used(subscription, plan.action, now, plan.digest),
        desk=desk,
        undone=evidence.undone,
    )
    ruled = under(policy, plan, seen)
    since = now - ruled.permission.breaker_within
    return replace(ruled, results=trail.results(subscription, plan.action, since, now))


def under(policy: Policy, plan: Plan, seen: Situation) -> Situation:
    """Give a situation with what policy says of all that the plan touches, in place of what another said.

    What the world and the trail showed stays as it is. So does `results`, for whoever read them.
    """
    touched = ((plan.diagnosis.incident.resource, seen.tags), *_victims(plan, seen.surroundings))
    permissions = [policy.permission(plan.action, one, its_tags) for one, its_tags in touched]
    strictest = min((one.mode for one in permissions), key=lambda mode: mode.rank)
    return replace(
        seen,
        permission=replace(permissions[0], mode=strictest),
        protected=policy.protected,
        idle=policy.idle,
        grants=policy.grants,
        pauses=tuple(pause for pause in (*policy.pauses, *seen.trail_pauses) if _covers(pause.scope, touched)),
        freezes=tuple(freeze for freeze in policy.freezes if _covers(freeze.scope, touched)),
        windows=tuple(
            tuple(window for window in policy.windows if window.scope.covers(one, its_tags))
            for one, its_tags in touched
        ),
        quorum=tuple(one.quorum for one in permissions),
        approvers=tuple(dict.fromkeys(one.approvers for one in permissions)),
    )


def known_tags(evidence: Evidence) -> dict[str, str]:
    """Give the tags of both; the endpoint's hold, so that no deployment leaves its endpoint's rules.

    What a deletion took away has the tags of its receipt.
    """
    readings: list[Reading[ResourceState] | Reading[Receipt]] = [evidence.resource, evidence.endpoint]
    if evidence.undone is not None:
        readings.insert(0, evidence.undone.receipt)
    return {
        name: value for reading in readings if isinstance(reading, Found) for name, value in reading.value.tags.items()
    }


def own_requests(trail: Trail, evidence: Evidence) -> tuple[str, ...]:
    """Give the request ids in the resource's history that stand on our own trail: our writes, not a person's."""
    if not isinstance(evidence.history, Found):
        return ()
    seen = {row.client_request_id for row in evidence.history.value if row.client_request_id}
    return tuple(sorted(request for request in seen if trail.request(request) is not None))


def _effects(plan: Plan, trail: Trail, now: datetime) -> tuple[PastEffect, ...]:
    """Give what was done to any of the plan's targets, each effect once, oldest first."""
    touched: dict[tuple[str, int, int], list[str]] = {}
    seen: dict[tuple[str, int, int], tuple[Effect, Outcome | None]] = {}
    for target in plan.target:
        for effect, outcome in trail.effects_on(target):
            key = (effect.plan, effect.step, effect.attempt)
            touched.setdefault(key, []).append(target)
            seen[key] = (effect, outcome)
    return tuple(
        PastEffect(
            at=effect.at,
            incident_id=effect.incident_id,
            action=effect.action,
            cause_id=effect.cause_id,
            plan=effect.plan,
            counts=counts_as_attempt(outcome),
            is_open=outcome is None or (outcome.status is Status.UNCLEAR and now - effect.at < _UNCLEAR_FOR),
            step=effect.step,
            attempt=effect.attempt,
            targets=tuple(touched[key]),
            status=None if outcome is None else outcome.status,
            settled=trail.settled(effect.plan, effect.step, effect.attempt),
        )
        for key, (effect, outcome) in sorted(seen.items(), key=lambda item: item[1][0].at)
    )


type _Touched = tuple[ResourceId, dict[str, str]]


def _victims(plan: Plan, surroundings: Surroundings) -> tuple[_Touched, ...]:
    """Give the other deployments that a plan touches, with their tags: pauses and rules hold for them as well."""
    candidates = surroundings.candidates
    found = candidates.value if isinstance(candidates, Found) else ()
    return tuple(
        (one.resource, {**one.state.tags, **one.endpoint.tags}) for one in found if one.resource.key in plan.target
    )


def _covers(scope: Scope, touched: tuple[_Touched, ...]) -> bool:
    return any(scope.covers(resource, tags) for resource, tags in touched)
