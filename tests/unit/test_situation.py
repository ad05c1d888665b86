"""What the guards ask about is read once, and only what is about this plan."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediations.actions.retry import RETRY
from remediations.guards import decide
from remediations.model import End, Found, Mode, Status, Surroundings, Unknown, Verdict
from remediations.policy import ActionPolicy, Freeze, Pause, Policy, Rule, Scope, Window
from remediations.situation import known_tags, survey
from remediations.trail import Result, Settled, Slot
from tests.builders import (
    DEPLOYMENT,
    NOON,
    SUBSCRIPTION,
    US,
    make_candidate,
    make_effect,
    make_endpoint_state,
    make_evidence,
    make_intent,
    make_outcome,
    make_plan,
    make_row,
    make_state,
    make_trail,
)

HOUR = timedelta(hours=1)
HERE, ELSEWHERE = Scope(workspace="mlw-*"), Scope(workspace="other")
POLICY = Policy(actions={"retry": ActionPolicy(mode=Mode.AUTO)})
REQUEST = make_intent().request_id


def surveyed(*, policy=POLICY, trail=None, plan=None, evidence=None):
    evidence = evidence or make_evidence()
    return survey(
        plan or make_plan(),
        evidence,
        RETRY.fingerprint(make_plan().steps, evidence),
        policy=policy,
        ceiling=Mode.AUTO,
        trail=trail or make_trail(),
        own=US,
        now=NOON,
    )


def test_a_quiet_trail_permits_the_plan():
    decision = decide(make_plan(), surveyed(), RETRY.guards, situation_digest="s" * 64)
    assert (decision.verdict, decision.refusals) == (Verdict.RUN, ())


def test_pauses_freezes_and_windows_count_where_their_scope_covers():
    trail = make_trail()
    for number, scope in enumerate((HERE, ELSEWHERE)):
        trail.pause(Pause(until=NOON + HOUR, reason=f"trail-{number}", scope=scope), f"n{number}")
    policy = Policy(
        actions=POLICY.actions,
        pauses=(
            Pause(until=NOON + HOUR, reason="policy-0", scope=HERE),
            Pause(until=NOON + HOUR, reason="x", scope=ELSEWHERE),
        ),
        freezes=(
            Freeze(start=NOON, end=NOON + HOUR, reason="freeze-0", scope=HERE),
            Freeze(start=NOON, end=NOON + HOUR, reason="x", scope=ELSEWHERE),
        ),
        windows=(Window(start=NOON.time(), end=NOON.time(), scope=ELSEWHERE),),
    )
    seen = surveyed(policy=policy, trail=trail)
    assert [pause.reason for pause in seen.pauses] == ["policy-0", "trail-0"]
    assert [freeze.reason for freeze in seen.freezes] == ["freeze-0"]
    assert seen.windows == ((),)


def test_the_rule_for_the_endpoint_s_tags_holds_for_its_deployments():
    policy = Policy(actions=POLICY.actions, rules=(Rule(scope=Scope(tags={"env": "prod"}), mode=Mode.ASK),))
    evidence = make_evidence(endpoint=Found(make_endpoint_state(tags={"env": "prod"})))
    assert surveyed(policy=policy, evidence=evidence).permission.mode is Mode.ASK


@pytest.mark.parametrize(
    ("endpoint", "deployment", "tags"),
    [
        ({"a": "1"}, {}, {"a": "1"}),
        ({"a": "1"}, {"a": "2", "b": "3"}, {"a": "1", "b": "3"}),
    ],
    ids=["inherited", "the endpoint's hold"],
)
def test_a_deployment_has_the_tags_of_its_endpoint(endpoint, deployment, tags):
    evidence = make_evidence(
        endpoint=Found(make_endpoint_state(tags=endpoint)), resource=Found(make_state(tags=deployment))
    )
    assert known_tags(evidence) == tags


def test_an_endpoint_s_protection_is_not_lost_under_a_deployment_s_own_tag():
    evidence = make_evidence(
        endpoint=Found(make_endpoint_state(tags={"medic": "off"})), resource=Found(make_state(tags={"medic": "on"}))
    )
    decision = decide(make_plan(), surveyed(evidence=evidence), RETRY.guards, situation_digest="s" * 64)
    assert [answer.guard for answer in decision.refusals] == ["not-protected"]


def test_tags_that_cannot_be_read_protect():
    decision = decide(
        make_plan(), surveyed(evidence=make_evidence(endpoint=Unknown("429"))), RETRY.guards, situation_digest="s" * 64
    )
    assert [answer.guard for answer in decision.refusals] == ["not-protected"]


@pytest.mark.parametrize(
    ("status", "counts", "is_open"),
    [
        (None, True, True),
        (Status.UNCLEAR, True, True),
        (Status.ACCEPTED, True, False),
        (Status.REJECTED, True, False),
        (Status.BUSY, False, False),
        (Status.NOT_DONE, True, False),
        (Status.UNSENT, False, False),
    ],
)
def test_an_effect_on_the_target_counts_and_is_open_by_its_outcome(status, counts, is_open):
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (DEPLOYMENT.lower(),))
    if status is not None:
        trail.close_intent(make_effect().plan, 0, 1, make_outcome(status=status))
    (past,) = surveyed(trail=trail).effects
    assert (past.counts, past.is_open) == (counts, is_open)


def test_an_effect_on_several_targets_counts_once_and_names_them():
    trail = make_trail()
    both = make_plan(target=(DEPLOYMENT.lower(), "/workspace"))
    trail.open_intent(make_effect(step=1), make_intent(step=1), (DEPLOYMENT.lower(), "/workspace"))
    trail.close_intent(make_effect().plan, 1, 1, make_outcome())
    trail.settle(make_effect().plan, 1, 1, Settled(at=NOON, held=True))
    (past,) = surveyed(trail=trail, plan=both).effects
    assert (past.step, set(past.targets)) == (1, {"/workspace", DEPLOYMENT.lower()})
    assert (past.status, past.settled) == (Status.ACCEPTED, Settled(at=NOON, held=True))


VICTIM = make_candidate()
DELETION = make_plan(target=(DEPLOYMENT.lower(), VICTIM.resource.key))


def with_victim(**changes):
    return make_evidence(surroundings=Surroundings(candidates=Found((replace(VICTIM, **changes),))))


def test_the_strictest_mode_of_all_that_a_plan_touches_holds():
    rules = (Rule(scope=Scope(tags={"medic-delete": "allow"}), mode=Mode.ASK),)
    policy = Policy(actions=POLICY.actions, rules=rules)
    assert surveyed(policy=policy).permission.mode is Mode.AUTO
    assert surveyed(policy=policy, plan=DELETION, evidence=with_victim()).permission.mode is Mode.ASK
    assert surveyed(policy=policy, plan=make_plan(), evidence=with_victim()).permission.mode is Mode.AUTO


def test_a_pause_a_freeze_and_a_window_hold_for_a_victim_too():
    of_victim = Scope(tags={"medic-delete": "allow"})
    policy = Policy(
        actions=POLICY.actions,
        pauses=(Pause(until=NOON + HOUR, reason="p", scope=of_victim),),
        freezes=(Freeze(start=NOON, end=NOON + HOUR, reason="f", scope=of_victim),),
        windows=(Window(start=NOON.time(), end=NOON.time(), scope=of_victim),),
    )
    seen = surveyed(policy=policy, plan=DELETION, evidence=with_victim())
    assert (len(seen.pauses), len(seen.freezes), [len(each) for each in seen.windows]) == (1, 1, [0, 1])
    alone = surveyed(policy=policy)
    assert (alone.pauses, alone.freezes, alone.windows) == ((), (), ((),))


def test_effects_on_other_targets_are_not_this_plan_s():
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (f"{DEPLOYMENT.lower()}-2",))
    assert surveyed(trail=trail).effects == ()


def test_the_budget_and_the_results_are_those_of_the_subscription_and_the_hour():
    trail = make_trail()
    for name, at in (("a", NOON), ("b", NOON), ("c", NOON - HOUR), (make_plan().digest, NOON)):
        trail.take_budget(SUBSCRIPTION, "retry", at, Slot(plan=name, incident_id="i"), 9)
    for number, ago in enumerate((HOUR, 7 * HOUR)):
        result = Result(at=NOON - ago, end=End.NOT_REPAIRED, cause_id=str(number))
        trail.record_result(SUBSCRIPTION, "retry", f"inc-{number}", result)
    seen = surveyed(trail=trail)
    assert seen.budget_used == 2
    assert [result.cause_id for result in seen.results] == ["0"]


def test_our_own_requests_in_the_history_are_known_by_the_trail_alone():
    trail = make_trail()
    trail.open_intent(make_effect(), make_intent(), (DEPLOYMENT.lower(),))
    rows = tuple(make_row(client_request_id=request) for request in (REQUEST, "medic-forged", None, "../x"))
    assert surveyed(trail=trail, evidence=make_evidence(history=Found(rows))).own_requests == (REQUEST,)
    assert surveyed(trail=trail, evidence=make_evidence(history=Unknown())).own_requests == ()
