"""Delete deployments that are idle, so that the failed one has the cores that it needs.

When: a managed deployment failed for CPU quota, and the region's arithmetic says that a deletion can free enough.
Effect: the fewest deployments are deleted that are opted in, proved idle and not needed by their endpoint; as soon as
enough is free, nothing more is; then the failed operation is run again.
Undo: create them again from their receipts, with traffic 0; the values of their environment variables are not kept.
"""

from datetime import timedelta

from msgspec.structs import replace

from remediations import idle, spec
from remediations.actions import rerun
from remediations.actions.action import (
    Action,
    Body,
    Changed,
    Go,
    Kept,
    NotYet,
    Proposal,
    Stop,
    Turn,
    Unneeded,
    nothing_kept,
)
from remediations.codec import mapping, text
from remediations.enrichment import API_VERSION, resource_state
from remediations.guards import COMMON, allow, deny, unknown
from remediations.model import (
    Absent,
    Area,
    Call,
    Candidate,
    Diagnosis,
    End,
    Evidence,
    Found,
    GuardAnswer,
    Json,
    NoPlan,
    Plan,
    ProvisioningState,
    Quota,
    Reading,
    ResourceId,
    ResourceState,
    Risk,
    Status,
    Step,
    Touch,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads, Reply
from remediations.situation import PastEffect, Situation

_SHOWN_WITHIN = timedelta(minutes=10)  # what a deletion freed stands in Azure's usage by then
_REASONS = 5
_MOST_SIBLINGS = 100
_HAS_TRAFFIC = "non-zero traffic weight"


# ------------------------------------------------------------------------------------------- the proposal


def propose(diagnosis: Diagnosis, evidence: Evidence, policy: Policy) -> Proposal | NoPlan:
    """Give the fewest deletions that make room, and the re-run; or why nothing is deleted."""
    again = rerun.propose(diagnosis, evidence, policy)
    if isinstance(again, NoPlan):
        return _none(diagnosis, f"{again.words}; a deletion alone repairs nothing", again.end)
    quota, candidates = evidence.surroundings.quota, evidence.surroundings.candidates
    if isinstance(evidence.resource, Found) and rerun.was_create(evidence, evidence.resource.value) is not True:
        label = evidence.incident.resource.label
        words = f"nothing is deleted: {label} was not being created, and the cores that it holds already are not shown"
        return _none(diagnosis, words)
    if why := _why_no_cores(evidence, again):
        return _none(diagnosis, f"nothing is deleted: {why}")
    if not isinstance(quota, Found):
        return _none(diagnosis, f"nothing is deleted while the quota is {reading_words(quota)}")
    if why := _why_not_needed(quota.value, diagnosis.facts.needed):
        return _none(diagnosis, why)
    if not isinstance(candidates, Found):
        words = f"nothing is deleted while what uses the quota is {reading_words(candidates)}"
        return _none(diagnosis, f"{_arithmetic(quota.value)}; {words}")
    rules, failed = policy.idle, evidence.incident.resource
    judged = [(candidate, _why_kept(candidate, evidence, policy)) for candidate in candidates.value]
    safe = [candidate for candidate, reason in judged if reason is None]
    victims = idle.smallest(safe, quota.value.missing, rules.most)
    if not victims:
        others = [(candidate, reason) for candidate, reason in judged if reason and candidate.resource != failed]
        kept = [f"{candidate.resource.label}: {reason}" for candidate, reason in others]
        return _none(diagnosis, f"{_arithmetic(quota.value)}; {_too_little(safe, kept, rules.most)}")
    return _proposal(again, quota.value, victims, _deployments(len(safe)), idle.days(rules.window))


def _proposal(again: Proposal, quota: Quota, victims: tuple[Candidate, ...], safe: str, idle_for: str) -> Proposal:
    largest_first = sorted(victims, key=lambda victim: -victim.cores)
    names = [f"{victim.resource.label} ({victim.cores} cores)" for victim in largest_first]
    freed = sum(victim.cores for victim in victims)
    family = f"{quota.family} in {quota.location}"
    put = again.steps[0]
    key = _quota_key(victims[0].resource.subscription, quota.location, quota.family)
    deletions = tuple(
        Step(
            call=Call(method="DELETE", path=victim.resource.path, api_version=API_VERSION),
            target=(victim.resource.key, victim.resource.endpoint_id.key, key),
        )
        for victim in largest_first
    )
    reasons = [again.needs_person, *(_why_a_person(victim) for victim in largest_first)]
    return Proposal(
        steps=(*deletions, replace(put, target=(*put.target, key))),
        parameters={
            **again.parameters,
            "family": quota.family,
            "location": quota.location,
            "needed": str(quota.needed),
            "used": str(quota.used),
            "limit": _limit(quota.limit),
            "missing": str(quota.missing),
            "victims": ", ".join(names),
            "why": f"the fewest deletions that free {quota.missing} cores; {safe} may be deleted in all",
        },
        effect=(
            f"delete {' and '.join(names)}, idle for {idle_for}, to free {freed} cores of {family}, where "
            f"{quota.missing} are missing, then {again.effect}"
        ),
        undo="re-create from the receipt, with traffic 0",
        needs_person="; ".join(reason for reason in reasons if reason) or None,
    )


def _why_no_cores(evidence: Evidence, again: Proposal) -> str | None:
    """Give why the failed operation draws on no quota of cores that a deletion could free."""
    resource = evidence.incident.resource
    if resource.deployment is None:
        return f"{resource.label} is an endpoint, which needs no cores"
    if again.steps[0].call.method != "PUT":
        return f"the failed operation is no write of {resource.label}"
    if isinstance(evidence.resource, Found) and evidence.resource.value.kind != "Managed":
        return f"{resource.label} is {evidence.resource.value.kind}, which no managed deployment takes cores from"
    return None


def _why_not_needed(quota: Quota, told: int | None) -> str | None:
    """Give why no deletion is called for: there is enough already, there never will be, or Azure counts otherwise.

    Args:
        told: The cores that the failure itself says are needed. Some machine types are exempt from the reserve.
    """
    if told is not None and told != quota.needed:
        return f"{_arithmetic(quota)}; Azure says that {told} are needed: nothing is deleted until the two agree"
    if quota.missing == 0:
        return f"{_arithmetic(quota)}: there is quota for it now: run it again"
    return None if quota.is_curable else _never_enough(quota)


def _never_enough(quota: Quota) -> str:
    for limit, whose in ((quota.limit, "the limit is"), (quota.total_limit, "the limit of the region is")):
        if limit is not None and quota.needed > limit:
            words = f"no deletion can ever free enough: {quota.needed} needed, {whose} {limit}"
            return f"{words}. Ask for more quota of {quota.family} in {quota.location}, or a smaller machine"
    return f"{_arithmetic(quota)}: no deletion can ever free enough, only {quota.used} are used"


def _arithmetic(quota: Quota) -> str:
    region = "" if quota.total_limit is None else f", {quota.total_used} of {quota.total_limit} in the region"
    return (
        f"{quota.needed} cores of {quota.family} needed in {quota.location} with the 20 % reserve, "
        f"{quota.used} of {_limit(quota.limit)} used{region}, {quota.missing} missing"
    )


def _limit(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


def _why_kept(candidate: Candidate, evidence: Evidence, policy: Policy) -> str | None:
    failed, now = evidence.incident.resource, evidence.collected_at
    return (
        idle.why_kept(candidate, policy.idle, policy.protected, now, failed=failed)
        or idle.why_not_idle(candidate)
        or _why_lost(candidate.state)
    )


def _why_lost(state: ResourceState) -> str | None:
    """Give why no receipt could bring a deployment back; None if one could."""
    if state.spec_digest is not None:
        return None
    return f"no receipt could bring it back: {state.not_rebuildable or 'its spec cannot be rebuilt'}"


def _too_little(safe: list[Candidate], kept: list[str], most: int) -> str:
    words = "none of the deployments that use it may be deleted"
    if safe:
        freed = sum(candidate.cores for candidate in safe)
        words = (
            f"{_deployments(len(safe))} of {freed} cores may be deleted; no {most} deletions or fewer that leave every "
            "endpoint one that is Succeeded free enough"
        )
    more = f"; and {len(kept) - _REASONS} more" if len(kept) > _REASONS else ""
    return f"{words}. Kept: {'; '.join(kept[:_REASONS])}{more}" if kept else words


def _deployments(count: int) -> str:
    return f"{count} deployment{'' if count == 1 else 's'}"


def _why_a_person(victim: Candidate) -> str | None:
    label = victim.resource.label
    if victim.state.environment_names:
        return f"{label} has environment variables, which the receipt names and does not hold"
    if not victim.state.shows_environment:
        return f"whether {label} has environment variables is not shown, and the receipt would not hold them"
    return None


def _none(diagnosis: Diagnosis, words: str, end: str = "advised") -> NoPlan:
    return NoPlan(diagnosis=diagnosis, end=end, words=words)


# ------------------------------------------------------------------------------------------- before each step


def fingerprint(steps: tuple[Step, ...], evidence: Evidence) -> dict[str, str]:
    """Give what must not change of the failed deployment and of those that these steps delete."""
    candidates = evidence.surroundings.candidates
    victims = {_print_name(_resource(step)): _print(_resource(step), candidates) for step in steps if _deletes(step)}
    return {**rerun.fingerprint(steps, evidence), **victims}


def turn(plan: Plan, number: int, situation: Situation) -> Turn:
    """Tell whether a deletion is still needed and would still be enough, or whether the re-run has its cores."""
    quota = situation.surroundings.quota
    if not isinstance(quota, Found):
        return NotYet(f"the quota is {reading_words(quota)}")
    missing = quota.value.missing
    if not _deletes(plan.steps[number]):
        return Go() if missing == 0 else _too_few(plan, number, situation, missing, left=0)
    if missing == 0:
        return Unneeded(f"enough is free: {_arithmetic(quota.value)}")
    candidates = situation.surroundings.candidates
    if not isinstance(candidates, Found):
        return NotYet(f"what uses the quota is {reading_words(candidates)}")
    victim = _resource(plan.steps[number])
    left = {step.call.path.lower() for step in plan.steps[number:] if _deletes(step)}
    there = {found.resource.key: found.cores for found in candidates.value if found.resource.key in left}
    if any(effect.step == number for effect in _deletions(plan, situation)):
        is_there = victim.key in there
        return NotYet(f"{victim.label} is still shown") if is_there else Unneeded(f"{victim.label} was deleted")
    if victim.key not in there:
        return Stop(f"{victim.label} is gone or has changed: Azure shows it no more among those that use the quota")
    freed = sum(there.values())
    return Go() if freed >= missing else _too_few(plan, number, situation, missing, left=freed)


def _too_few(plan: Plan, number: int, situation: Situation, missing: int, *, left: int) -> Turn:
    """Wait for what was deleted to be shown as free; when it should have been, nothing more is done."""
    done = _deletions(plan, situation)
    latest = max((effect.settled.at if effect.settled else effect.at for effect in done), default=None)
    if latest is not None and situation.now - latest < _SHOWN_WITHIN:
        return NotYet(f"{missing - left} cores are not shown as free yet")
    labels = " and ".join(_resource(plan.steps[step]).label for step in sorted({effect.step for effect in done}))
    gone = f"{labels} {'were' if ' and ' in labels else 'was'} deleted" if labels else "nothing was deleted"
    more = f", and the rest of the plan frees only {left}" if number < len(plan.steps) - 1 else ""
    return Stop(f"{gone} and Azure still shows {missing} cores missing{more}: a person has to look")


def _deletions(plan: Plan, situation: Situation) -> list[PastEffect]:
    """Give the deletions of this very plan that Azure took."""
    return [
        effect
        for effect in situation.effects
        if effect.plan == plan.digest and effect.status is Status.ACCEPTED and _deletes(plan.steps[effect.step])
    ]


def victims_are_idle(plan: Plan, situation: Situation) -> GuardAnswer:
    """What is still to be deleted is, by what was just read, opted in, idle and not needed by its endpoint."""
    name, candidates = "still-idle", situation.surroundings.candidates
    victims = [_resource(step) for step in plan.steps[situation.step :] if _deletes(step)]
    if not victims:
        return allow(name, "nothing more is deleted")
    if not isinstance(candidates, Found):
        return unknown(name, f"what uses the quota is {reading_words(candidates)}")
    shown = {candidate.resource.key: candidate for candidate in candidates.value}
    fresh = [shown[victim.key] for victim in victims if victim.key in shown]
    if len(fresh) < len(victims):
        gone = next(victim.label for victim in victims if victim.key not in shown)
        return deny(name, f"{gone} is not among those that use the quota")
    failed = plan.diagnosis.incident.resource
    for candidate in fresh:
        label = candidate.resource.label
        kept = idle.why_kept(candidate, situation.idle, situation.protected, situation.now, failed=failed)
        if why := kept or _why_lost(candidate.state):
            return deny(name, f"{label}: {why}")
        if why := idle.why_not_idle(candidate):
            is_used = isinstance(candidate.requests, Found) and candidate.requests.value
            return deny(name, f"{label}: {why}") if is_used else unknown(name, f"{label}: {why}")
    if (last := idle.emptied(fresh)) is not None:
        return deny(name, f"{last.resource.label}: nothing Succeeded would be left of its endpoint")
    labels = ", ".join(victim.label for victim in victims)
    return allow(name, f"idle for {idle.days(situation.idle.window)}: {labels}")


def quota_is_curable(plan: Plan, situation: Situation) -> GuardAnswer:
    """The quota is the one that was planned for, and deletions can free enough of it."""
    name, quota = "quota-is-curable", situation.surroundings.quota
    if not isinstance(quota, Found):
        return unknown(name, f"the quota is {reading_words(quota)}")
    family, location = quota.value.family, quota.value.location
    if _quota_key(plan.diagnosis.incident.resource.subscription, location, family) != _planned_key(plan):
        return deny(name, f"it now needs {family} in {location}, which the plan does not free")
    if not quota.value.is_curable:
        return deny(name, _never_enough(quota.value))
    return allow(name, _arithmetic(quota.value))


def within_quota(plan: Plan, situation: Situation) -> GuardAnswer:
    """The blast radius: a few deletions of deployments under one quota, then one PUT of the failed one."""
    name, (*deletions, last) = "within-quota", plan.steps
    failed, most, key = plan.diagnosis.incident.resource, situation.idle.most, _planned_key(plan)
    paths = {step.call.path.lower() for step in deletions}
    is_last_the_rerun = (last.is_rerun, last.call.method, last.call.path.lower()) == (True, "PUT", failed.key)
    if not is_last_the_rerun or not set(last.target) <= {failed.key, key}:
        return deny(name, "the last call is not the PUT of the failed deployment alone")
    if not all(_is_deletion(step, failed, key) for step in deletions) or len(paths) < len(deletions):
        return deny(name, "a call before it is not the deletion of another deployment")
    words = f"{_deletions_words(len(deletions))} of {plan.parameters.get('family')}, of at most {most}, then the re-run"
    return allow(name, words) if 1 <= len(deletions) <= most else deny(name, words)


def _deletions_words(count: int) -> str:
    return "1 deletion" if count == 1 else f"{count} deletions"


def _is_deletion(step: Step, failed: ResourceId, key: str) -> bool:
    """Tell whether a step deletes one deployment, of the failed one's subscription, and not itself."""
    if not _deletes(step) or (step.call.via, step.call.body_digest) != ("arm", None):
        return False
    try:
        victim = _resource(step)
    except ValueError:
        return False
    is_another = victim.deployment is not None and victim.key != failed.key
    is_near = victim.subscription.lower() == failed.subscription.lower()
    return is_another and is_near and set(step.target) == {victim.key, victim.endpoint_id.key, key}


# ------------------------------------------------------------------------------------------- each step


def prepare(plan: Plan, number: int, reads: Reads, _kept: Kept = nothing_kept) -> Body | Changed:
    """Give the body of the re-run; a deletion has none."""
    return Body(None) if _deletes(plan.steps[number]) else rerun.prepare(plan, number, reads)


def receipt(plan: Plan, number: int, reads: Reads) -> Json | Changed:
    """Give what brings a victim back, by a last read, which must show it as it was planned.

    The values of environment variables are left out: they may be secrets.
    """
    step = plan.steps[number]
    if not _deletes(step):
        return None
    victim = _resource(step)
    shown = reads.get(f"{victim.path}?api-version={API_VERSION}")
    above = reads.get(f"{victim.endpoint_path}?api-version={API_VERSION}")
    if not isinstance(shown, Found):
        return Changed(f"{victim.label} is {reading_words(shown)}: there is nothing to make a receipt of")
    if not isinstance(above, Found):
        return Changed(f"the endpoint of {victim.label} is {reading_words(above)}: its traffic is not known")
    plain = mapping(shown.value)
    rebuilt = spec.rebuild(plain, is_endpoint=False)
    if isinstance(rebuilt, spec.NotRebuildable):
        return Changed(f"no receipt could bring {victim.label} back: {rebuilt.words}")
    state = resource_state(plain, victim, None)
    endpoint = resource_state(mapping(above.value), victim.endpoint_id, None)
    weights = mapping(mapping(above.value).get("properties"))
    shares = [mapping(weights.get(name)) for name in ("traffic", "mirrorTraffic")]
    if shares != [endpoint.traffic, endpoint.mirror_traffic]:  # a weight that is no number must not pass for none
        return Changed(f"the traffic of the endpoint of {victim.label} cannot be read")
    if _print_of(victim, state, endpoint) != plan.fingerprint.get(_print_name(victim)):
        return Changed(f"{victim.label} is no longer as it was when the plan was made")
    if not _leaves_one(plan, victim, reads):
        return Changed(f"no other deployment of the endpoint of {victim.label} is shown to be Succeeded")
    properties = mapping(rebuilt.body.get("properties"))
    kept = {name: value for name, value in properties.items() if name.lower() != "environmentvariables"}
    return {
        "id": victim.path,
        "body": {**rebuilt.body, "properties": kept},
        "environment_variables": list(spec.environment_names(plain)),
        "traffic": dict(endpoint.traffic),
    }


def _leaves_one(plan: Plan, victim: ResourceId, reads: Reads) -> bool:
    """Tell whether, by a last look, the endpoint keeps a Succeeded deployment that the plan leaves alone."""
    deleted = {step.call.path.lower() for step in plan.steps if _deletes(step)}
    listed = reads.get_all(f"{victim.endpoint_path}/deployments?api-version={API_VERSION}", most=_MOST_SIBLINGS)
    shown = [mapping(each) for each in listed.value] if isinstance(listed, Found) else []
    return any(
        text(each.get("id")).lower() not in deleted
        and mapping(each.get("properties")).get("provisioningState") == ProvisioningState.SUCCEEDED
        for each in shown
    )


def landed(plan: Plan, number: int, evidence: Evidence) -> Status:
    """Tell by the world whether a call whose answer was lost took effect."""
    step = plan.steps[number]
    if not _deletes(step):
        return rerun.landed(plan, number, evidence)
    match evidence.target:
        case Absent():
            return Status.ACCEPTED
        case Found(state) if state.provisioning_state == ProvisioningState.DELETING:
            return Status.ACCEPTED
        case Found():
            return Status.NOT_DONE  # a further attempt looks at everything anew
        case _:
            return Status.UNCLEAR


def answer(step: Step, reply: Reply) -> tuple[Status, str] | None:
    """Azure itself refuses to delete what has traffic: then something was read wrong, and no more is deleted."""
    is_refusal = reply.status is not None and 400 <= reply.status < 500
    if _deletes(step) and is_refusal and any(_HAS_TRAFFIC in error.message.lower() for error in reply.errors):
        return (
            Status.REFUSED,
            f"Azure refused to delete {_resource(step).label}: it has traffic; nothing more is deleted",
        )
    return None


def verify(plan: Plan, number: int, after: Evidence) -> tuple[End | None, str]:
    """Tell whether the failed deployment stands; whether a deletion freed enough, the next step's turn tells."""
    step = plan.steps[number]
    if _deletes(step):
        label = _resource(step).label
        if isinstance(after.target, Absent):
            return None, f"{label} was deleted; what that freed is read before the next step"
        if isinstance(after.target, Found):
            return End.NOT_REPAIRED, f"{label} was to be deleted, and is {after.target.value.provisioning_state}"
        return End.INCONCLUSIVE, f"whether {label} was deleted is {reading_words(after.target)}"
    return rerun.verify(plan, number, after)


# ------------------------------------------------------------------------------------------- the blast radius


def touches(plan: Plan, situation: Situation) -> tuple[Touch, ...]:
    """Give what is deleted, the quota that this frees, the endpoints that it is taken from, and the re-run."""
    victims = [_resource(step) for step in plan.steps if _deletes(step)]
    endpoints = {victim.endpoint_id.key: victim.endpoint_id for victim in victims}
    return (
        *(Touch(path=victim.path, says=_victim_words(victim, situation)) for victim in victims),
        Touch(path=_planned_key(plan), says=_quota_words(plan, victims, situation)),
        *(Touch(path=one.path, says=_endpoint_words(one, victims, situation)) for one in endpoints.values()),
        *rerun.touches(plan, situation),
    )


def _victim_words(victim: ResourceId, situation: Situation) -> tuple[str, ...]:
    shown, gone = _shown(victim, situation)
    if shown is None:
        return ("It is deleted.", f"Its traffic, its last request and its cores are not known: {gone}.")
    window = idle.days(situation.idle.window)
    why = idle.why_not_idle(shown)
    last = f"No request reached it in the last {window}, by its endpoint's metrics and its own."
    return (
        "It is deleted.",
        rerun.traffic_words(victim, Found(shown.endpoint)),
        last if why is None else f"That it was idle for the last {window} is not proved: {why}.",
        f"{shown.cores} cores become free, with the 20 % reserve.",
        _environment_words(shown.state),
    )


def _environment_words(state: ResourceState) -> str:
    if state.environment_names:
        names = ", ".join(state.environment_names)
        return f"To create it again, somebody has to give its environment variables their values: {names}."
    if not state.shows_environment:
        return "Whether it has environment variables is not shown; to create it again, somebody has to know them."
    return "It has no environment variables: its receipt is enough to create it again."


def _quota_words(plan: Plan, victims: list[ResourceId], situation: Situation) -> tuple[str, ...]:
    shown = [_shown(victim, situation)[0] for victim in victims]
    freed = sum(one.cores for one in shown if one is not None)
    unknown_of = len([one for one in shown if one is None])
    family, location = plan.parameters.get("family"), plan.parameters.get("location")
    unsaid = f", and those of {_deployments(unknown_of)} that cannot be read" if unknown_of else ""
    words = f"{freed} cores of {family} in {location} become free{unsaid}."
    quota = situation.surroundings.quota
    if isinstance(quota, Found):
        return words, f"{_arithmetic(quota.value)}."
    then = ", ".join(f"{name} {plan.parameters.get(name)}" for name in ("needed", "used", "limit", "missing"))
    return words, f"How much of it is used now is {reading_words(quota)}; when the plan was made: {then}."


def _endpoint_words(endpoint: ResourceId, victims: list[ResourceId], situation: Situation) -> tuple[str, ...]:
    own = [victim for victim in victims if victim.endpoint_id.key == endpoint.key]
    kept = "The endpoint stays, and so does how its traffic is split."
    shown, gone = _shown(own[0], situation)
    if shown is None:
        return kept, f"Which of its deployments stay is not known: {gone}."
    names = {(victim.deployment or "").lower() for victim in own}
    stay = [name for name in shown.siblings if name.lower() not in names]
    return kept, f"Of its deployments that are Succeeded, these stay: {', '.join(stay) or 'none'}."


def _shown(victim: ResourceId, situation: Situation) -> tuple[Candidate | None, str]:
    """Give what is shown of a victim, or why nothing is."""
    candidates = situation.surroundings.candidates
    if not isinstance(candidates, Found):
        return None, f"what uses the quota is {reading_words(candidates)}"
    return _candidate(victim, candidates.value), "it is no longer shown among those that use the quota"


# ------------------------------------------------------------------------------------------- the parts


def _deletes(step: Step) -> bool:
    return step.call.method == "DELETE" and not step.is_rerun


def _resource(step: Step) -> ResourceId:
    return ResourceId.parse(step.call.path)


def _candidate(resource: ResourceId, candidates: tuple[Candidate, ...]) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate.resource.key == resource.key), None)


def _quota_key(subscription: str, location: str, family: str) -> str:
    return f"quota:{subscription}/{location}/{family}".lower()


def _planned_key(plan: Plan) -> str:
    subscription = plan.diagnosis.incident.resource.subscription
    return _quota_key(subscription, plan.parameters.get("location", ""), plan.parameters.get("family", ""))


def _print_name(victim: ResourceId) -> str:
    """Workspaces are named once in a resource group, not in a subscription."""
    return f"deployment {victim.resource_group}/{victim.label}"


def _print(victim: ResourceId, candidates: Reading[tuple[Candidate, ...]]) -> str:
    """Give what identifies a victim's state. Unknown is not left out: what is not there is not compared later on."""
    if not isinstance(candidates, Found):
        return "unknown"
    found = _candidate(victim, candidates.value)
    return "absent" if found is None else _print_of(victim, found.state, found.endpoint)


def _print_of(victim: ResourceId, state: ResourceState, endpoint: ResourceState) -> str:
    modified = None if state.last_modified_at is None else state.last_modified_at.isoformat()
    traffic, mirror = (idle.weight_of(victim, shares) for shares in (endpoint.traffic, endpoint.mirror_traffic))
    spec = None if state.spec_digest is None else state.spec_digest[:16]
    return f"{state.provisioning_state}, last modified {modified}, spec {spec}, traffic {traffic} %, mirror {mirror} %"


DELETE_IDLE = Action(
    name="delete-idle",
    risk=Risk.DESTRUCTIVE,
    asks=(Area.QUOTA, Area.IDLE),
    guards=(*COMMON, quota_is_curable, within_quota, victims_are_idle),
    propose=propose,
    fingerprint=fingerprint,
    turn=turn,
    prepare=prepare,
    receipt=receipt,
    landed=landed,
    answer=answer,
    verify=verify,
    touches=touches,
)
