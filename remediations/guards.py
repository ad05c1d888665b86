"""The guards, and decide: Plan + Situation -> Decision. Pure.

A guard answers one question: allow, deny or unknown, in words; unknown is deny. All of them run when deciding and again
right before the effect. One function decides for live runs, dry runs, replay and what-if.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from remediations.model import (
    ActivityRow,
    Answer,
    Decision,
    End,
    Found,
    GuardAnswer,
    Mode,
    Plan,
    Status,
    Unknown,
    Verdict,
    tags_match,
)
from remediations.situation import PastEffect, Situation

type Guard = Callable[[Plan, Situation], GuardAnswer]

_LEAST_SENDS = 2  # of one call: a lost answer alone does not use up the only attempt
_OF_A_WRITE = frozenset({"state", "last modified", "operation"})  # of a fingerprint: what any write changes
_BEGINNING = frozenset({"Started", "Accepted", "Succeeded", "Failed", "Canceled"})


def decide(plan: Plan, situation: Situation, guards: Sequence[Guard], *, situation_digest: str) -> Decision:
    """Give the verdict on a plan, with every guard's answer."""
    answers = tuple(guard(plan, situation) for guard in guards)
    permitted, words = permitted_mode(plan, situation)
    mode = min(permitted, situation.ceiling, key=lambda mode: mode.rank)
    if mode is not permitted:
        words = f"{words}; MEDIC_MODE permits {situation.ceiling} at most"
    return Decision(
        plan=plan,
        verdict=_verdict(mode, answers),
        would=_verdict(permitted, answers),
        mode=mode,
        mode_words=words,
        answers=answers,
        situation=situation_digest,
        budget=situation.permission.budget_per_hour,
    )


def permitted_mode(plan: Plan, situation: Situation) -> tuple[Mode, str]:
    """Give what policy permits without the ceiling, and why: auto becomes ask if the plan or the breaker says so."""
    mode = situation.permission.mode
    if mode is not Mode.AUTO:
        return mode, f"policy says {mode} for {plan.action}"
    if plan.needs_person is not None:
        return Mode.ASK, f"a person decides: {plan.needs_person}"
    if is_tripped(plan, situation):
        count = situation.permission.breaker_failures
        return Mode.ASK, f"a person decides: the last {count} repairs by {plan.action} did not help"
    return mode, f"policy says {mode} for {plan.action}"


def is_tripped(plan: Plan, situation: Situation) -> bool:
    """Tell whether auto becomes ask for no other reason than that the action's latest repairs failed."""
    is_auto = situation.permission.mode is Mode.AUTO and plan.needs_person is None
    return is_auto and breaker_is_open(situation)


def breaker_is_open(situation: Situation) -> bool:
    """Tell whether the action's latest repairs, as many as policy says, all failed."""
    count = situation.permission.breaker_failures
    latest = situation.results[-count:] if count else ()
    return len(latest) == count and count > 0 and all(result.end is not End.REPAIRED for result in latest)


def _verdict(mode: Mode, answers: Sequence[GuardAnswer]) -> Verdict:
    if mode is Mode.OFF or any(answer.answer is not Answer.ALLOW for answer in answers):
        return Verdict.REFUSE
    return {Mode.DRY_RUN: Verdict.DRY_RUN, Mode.ASK: Verdict.ASK, Mode.AUTO: Verdict.RUN}[mode]


# ------------------------------------------------------------------------------------------- the guards


def not_paused(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Nothing is done in a paused scope."""
    for pause in situation.pauses:
        if pause.until > situation.now:
            return deny("not-paused", f"{pause.scope} is paused until {pause.until:%Y-%m-%d %H:%M} UTC: {pause.reason}")
    return allow("not-paused", "no pause holds")


def not_protected(_plan: Plan, situation: Situation) -> GuardAnswer:
    """A resource with a protected tag, or whose endpoint has one, is never touched."""
    shown = [reading.value.tags for reading in (situation.resource, situation.endpoint) if isinstance(reading, Found)]
    for name, value in situation.protected.items():
        if any(tags_match(tags, {name: value}, any_case=True) for tags in (situation.tags, *shown)):
            return deny("not-protected", f"tag {name}={value} protects it")
    if isinstance(situation.resource, Unknown) or isinstance(situation.endpoint, Unknown):
        return unknown("not-protected", "the tags of the resource and its endpoint cannot all be read")
    return allow("not-protected", "no protected tag")


def not_frozen(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Nothing is done between the two times of a freeze."""
    for freeze in situation.freezes:
        if freeze.start <= situation.now < freeze.end:
            return deny(
                "not-frozen", f"{freeze.scope} is frozen until {freeze.end:%Y-%m-%d %H:%M} UTC: {freeze.reason}"
            )
    return allow("not-frozen", "no freeze holds")


def inside_window(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Whatever has maintenance windows is touched only inside one of them."""
    windowed = [windows for windows in situation.windows if windows]
    if not windowed:
        return allow("inside-window", "no maintenance window is set")
    if all(any(window.is_open(situation.now) for window in windows) for windows in windowed):
        return allow("inside-window", "a maintenance window is open")
    return deny("inside-window", "no maintenance window is open")


def attempts_left(plan: Plan, situation: Situation) -> GuardAnswer:
    """One resource is repaired only so often for one cause, and one call sent anew only so often for a lost answer."""
    name, limit, within = "attempts-left", situation.permission.attempts, situation.permission.within
    cause, effects = plan.diagnosis.cause_id, _on_resource(plan, situation)
    sends = sum(effect.plan == plan.digest and effect.step == situation.step for effect in effects)
    if sends >= max(limit, _LEAST_SENDS):
        return deny(name, f"this call was sent {sends} times, and every answer was lost")
    others = {
        effect.plan
        for effect in effects
        if effect.plan != plan.digest
        and (effect.cause_id, effect.action) == (cause, plan.action)
        and situation.now - effect.at < within
    }
    made = max(len(others), plan.try_number - 1)
    words = f"tried {made} of {limit} times for {cause} in {_span(within)}"
    return allow(name, words) if made < limit else deny(name, words)


def cooled_down(plan: Plan, situation: Situation) -> GuardAnswer:
    """Another incident's repair of the same resource has had its time."""
    cooldown, incident = situation.permission.cooldown, plan.diagnosis.incident.id
    others = [effect.at for effect in _on_resource(plan, situation) if effect.incident_id != incident]
    ready_at = max(others, default=situation.now) + cooldown
    if others and situation.now < ready_at:
        return deny("cooled-down", f"repaired for another incident; the cooldown ends at {ready_at:%H:%M:%S} UTC")
    return allow("cooled-down", "no other incident's repair is recent")


def budget_left(plan: Plan, situation: Situation) -> GuardAnswer:
    """Only so many repairs in one subscription and hour. The slot is taken when it comes to the first effect."""
    limit, used = situation.permission.budget_per_hour, situation.budget_used
    if has_begun(plan, situation):
        return allow("budget-left", "the plan has begun, and has its place")
    words = f"{used} of {limit} repairs by {plan.action} are begun in this hour"
    return allow("budget-left", words) if used < limit else deny("budget-left", words)


def has_begun(plan: Plan, situation: Situation) -> bool:
    """Tell whether an earlier step of this very plan was sent: it is not left in the middle for its budget."""
    return any(
        effect.plan == plan.digest and effect.step < situation.step and effect.counts for effect in situation.effects
    )


def in_time(plan: Plan, situation: Situation) -> GuardAnswer:
    """Nothing is tried any more when the failure is too old."""
    age, ceiling = situation.now - plan.diagnosis.incident.began_at, situation.permission.ceiling
    words = f"the failure is {_span(age)} old; the ceiling is {_span(ceiling)}"
    return allow("in-time", words) if age < ceiling else deny("in-time", words)


def no_open_intent(plan: Plan, situation: Situation) -> GuardAnswer:
    """No earlier effect on the target is still without an answer.

    What another incident has under way on something that both need, its desk waits for.
    """
    key = plan.diagnosis.incident.resource.key
    open_plans = sorted(
        {
            effect.plan[:12]
            for effect in situation.effects
            if effect.is_open
            and effect.plan != plan.digest
            and (key in effect.targets or effect.status is not None or situation.desk == "ours")
        }
    )
    if open_plans:
        return deny("no-open-intent", f"what came of plan {', '.join(open_plans)} on the same target is not known")
    return allow("no-open-intent", "no effect on the target is open")


def target_unchanged(plan: Plan, situation: Situation) -> GuardAnswer:
    """The targets are as they were when the plan was made, but for what the plan itself has done so far."""
    if not isinstance(situation.resource, Found) and plan.fingerprint.get("state") != "absent":
        return unknown("target-unchanged", "the target cannot be read")
    names = set(situation.fingerprint) | (set(plan.fingerprint) if situation.step == 0 else set())
    if _rerun_by_this_plan(plan, situation):
        names -= _OF_A_WRITE
    changed = sorted(name for name in names if plan.fingerprint.get(name) != situation.fingerprint.get(name))
    if changed:
        return deny("target-unchanged", f"changed since the plan was made: {', '.join(changed)}")
    return allow("target-unchanged", "the target is as it was")


def nobody_intervened(plan: Plan, situation: Situation) -> GuardAnswer:
    """Nobody else has written to the resource since it failed."""
    name, failed_at = "nobody-intervened", plan.diagnosis.incident.failed_at
    if not isinstance(situation.history, Found):
        return unknown(name, "the Activity Log of the resource cannot be read")
    row = next((row for row in situation.history.value if _is_anothers(row, plan, situation)), None)
    if row is not None:
        words = f"{row.caller or 'somebody'} started {row.operation_name.split('/')[-1]} at {row.at:%H:%M:%S} UTC"
        return deny(name, f"{words}, after the failure")
    if isinstance(situation.resource, Found):
        state = situation.resource.value
        modified = state.last_modified_at
        if modified is not None and modified > failed_at and state.modified_by_us is not True:
            return deny(name, f"the resource was written at {modified:%H:%M:%S} UTC, after the failure, and not by us")
    return allow(name, "nobody wrote to the resource since it failed")


def permitted_by_azure(_plan: Plan, situation: Situation) -> GuardAnswer:
    """Azure has refused our identity nothing that this needs, and grants what its calls will need."""
    if situation.missing_permissions:
        return deny("permitted-by-azure", f"our identity lacks {', '.join(situation.missing_permissions)}")
    if isinstance(situation.preflight, Found):
        return deny("permitted-by-azure", f"our identity lacks {', '.join(situation.preflight.value)}")
    if isinstance(situation.preflight, Unknown):
        return unknown("permitted-by-azure", situation.preflight.reason)
    return allow("permitted-by-azure", "Azure refused us nothing")


def within_incident(plan: Plan, _situation: Situation) -> GuardAnswer:
    """The blast radius: one call, to the resource that failed and to nothing else."""
    key = plan.diagnosis.incident.resource.key
    touched = {call.path.lower() for call in plan.calls} | set(plan.target)
    if len(plan.calls) == 1 and touched == {key}:
        return allow("within-incident", "one call, to the failed resource alone")
    return deny(
        "within-incident", f"{len(plan.calls)} calls to {len(touched)} resources; one to the failed one is allowed"
    )


def desk_is_ours(_plan: Plan, situation: Situation) -> GuardAnswer:
    """No other incident works on the target."""
    if situation.desk == "held":
        return deny("desk-is-ours", "another incident works on the target")
    words = "the desk is ours" if situation.desk == "ours" else "the desk is claimed right before the effect"
    return allow("desk-is-ours", words)


COMMON: tuple[Guard, ...] = (
    not_paused,
    not_protected,
    not_frozen,
    inside_window,
    in_time,
    attempts_left,
    cooled_down,
    budget_left,
    permitted_by_azure,
    nobody_intervened,
    target_unchanged,
    no_open_intent,
    desk_is_ours,
)


# ------------------------------------------------------------------------------------------- the parts


def _on_resource(plan: Plan, situation: Situation) -> list[PastEffect]:
    """Give the effects on the failed resource itself that count as attempts."""
    key = plan.diagnosis.incident.resource.key
    return [effect for effect in situation.effects if effect.counts and key in effect.targets]


def _rerun_by_this_plan(plan: Plan, situation: Situation) -> bool:
    """Tell whether what the resource shows is an earlier re-run of this very plan."""
    if not isinstance(situation.resource, Found) or situation.resource.value.modified_by_us is not True:
        return False
    return any(
        effect.plan == plan.digest and effect.status is Status.ACCEPTED and plan.steps[effect.step].is_rerun
        for effect in situation.effects
    )


def _is_anothers(row: ActivityRow, plan: Plan, situation: Situation) -> bool:
    incident = plan.diagnosis.incident
    if row.at <= incident.failed_at or row.status not in _BEGINNING:
        return False
    if row.operation_name.lower().rsplit("/", 1)[-1] not in {"write", "delete"}:
        return False
    if incident.correlation_id is not None and row.correlation_id.lower() == incident.correlation_id.lower():
        return False
    if row.client_request_id in situation.own_requests:
        return False
    own = situation.own
    return own is None or row.caller not in {name.lower() for name in (own.oid, own.appid) if name}


def _span(duration: timedelta) -> str:
    """Give a duration for people: ``6 h``, ``10 min``, ``30 s``."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds >= 3600 and seconds % 3600 < 60:
        return f"{seconds // 3600} h"
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def allow(guard: str, words: str) -> GuardAnswer:
    return GuardAnswer(guard=guard, answer=Answer.ALLOW, words=words)


def deny(guard: str, words: str) -> GuardAnswer:
    return GuardAnswer(guard=guard, answer=Answer.DENY, words=words)


def unknown(guard: str, words: str) -> GuardAnswer:
    return GuardAnswer(guard=guard, answer=Answer.UNKNOWN, words=words)
