"""Every guard allows, denies or does not know; not knowing is denying, and stricter never permits more."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import guards
from remediations.actions.rerun import fingerprint_of
from remediations.actions.retry import RETRY
from remediations.guards import breaker_is_open, decide, permitted_mode
from remediations.model import Absent, Answer, Caller, End, Found, Mode, Status, Unknown, Verdict
from remediations.policy import ActionPolicy, Freeze, Pause, Scope, Window
from remediations.situation import PastEffect
from remediations.trail import Result
from tests.builders import (
    DELETE,
    DEPLOYMENT,
    FAILED_AT,
    NOON,
    OTHER_CORRELATION,
    SOMEBODY,
    US,
    WRITE,
    make_call,
    make_diagnosis,
    make_incident,
    make_plan,
    make_row,
    make_situation,
    make_state,
)

NUMBERS = itertools.count()
ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
AUTO = ActionPolicy(mode=Mode.AUTO)


def effect(**changes):
    fields = {
        "at": NOON - 10 * MINUTE,
        "incident_id": make_incident().id,
        "action": "retry",
        "cause_id": "canceled-higher-priority",
        "plan": f"another-plan-{next(NUMBERS)}",
        "targets": (DEPLOYMENT.lower(),),
        "counts": True,
        "is_open": False,
    }
    return PastEffect(**{**fields, **changes})


def answered(guard, plan=None, **changes):
    given_answer = guard(plan or make_plan(), make_situation(**changes))
    assert given_answer.words
    return given_answer.answer


# ------------------------------------------------------------------------------------------------ one by one


@pytest.mark.parametrize(
    ("until", "answer"),
    [(NOON + MINUTE, DENY), (NOON, ALLOW), (NOON - MINUTE, ALLOW)],
    ids=["holds", "just over", "over"],
)
def test_a_pause_holds_until_its_time(until, answer):
    assert answered(guards.not_paused, pauses=(Pause(until=until, reason="release"),)) is answer


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        pytest.param({}, ALLOW, id="no tag"),
        pytest.param({"tags": {"medic": "off"}}, DENY, id="the tag"),
        pytest.param({"tags": {"MEDIC": "off"}}, DENY, id="its name in capitals"),
        pytest.param({"tags": {"medic": "on"}}, ALLOW, id="another value"),
        pytest.param({"tags": {"medic": "off"}, "protected": {}}, ALLOW, id="policy protects nothing"),
        pytest.param({"resource": Absent()}, ALLOW, id="nothing there to carry a tag"),
        pytest.param({"resource": Unknown()}, UNKNOWN, id="the resource's tags are unknown"),
        pytest.param({"endpoint": Unknown()}, UNKNOWN, id="the endpoint's tags are unknown"),
        pytest.param(
            {"endpoint": Unknown(), "resource": Absent()}, UNKNOWN, id="the endpoint's are unknown, nothing there"
        ),
        pytest.param({"endpoint": Unknown(), "tags": {"medic": "off"}}, DENY, id="one tag is enough to know"),
    ],
)
def test_a_protected_tag_is_never_passed_over(changes, answer):
    assert answered(guards.not_protected, **changes) is answer


@pytest.mark.parametrize(
    ("start", "end", "answer"),
    [(-HOUR, HOUR, DENY), (timedelta(0), HOUR, DENY), (-HOUR, timedelta(0), ALLOW), (HOUR, 2 * HOUR, ALLOW)],
    ids=["inside", "at its start", "at its end", "before"],
)
def test_a_freeze_holds_between_its_times(start, end, answer):
    freeze = Freeze(start=NOON + start, end=NOON + end, reason="year end")
    assert answered(guards.not_frozen, freezes=(freeze,)) is answer


@pytest.mark.parametrize(
    ("windows", "answer"),
    [
        pytest.param((), ALLOW, id="none is set"),
        pytest.param(((11, 13),), ALLOW, id="open"),
        pytest.param(((13, 14),), DENY, id="closed"),
        pytest.param(((13, 14), (11, 13)), ALLOW, id="one of two is open"),
    ],
)
def test_where_there_are_windows_one_must_be_open(windows, answer):
    made = tuple(Window(start=NOON.replace(hour=a).time(), end=NOON.replace(hour=b).time()) for a, b in windows)
    assert answered(guards.inside_window, windows=(made,)) is answer


@pytest.mark.parametrize(
    ("effects", "changes", "answer"),
    [
        pytest.param([], {}, ALLOW, id="never"),
        pytest.param([{}, {}], {}, ALLOW, id="twice of three"),
        pytest.param([{}, {}, {}], {}, DENY, id="three times"),
        pytest.param([{}, {}, {"at": NOON - 6 * HOUR}], {}, ALLOW, id="once long ago"),
        pytest.param([{}, {}, {"counts": False}], {}, ALLOW, id="one did not count"),
        pytest.param([{}, {}, {"cause_id": "other"}], {}, ALLOW, id="one for another cause"),
        pytest.param([{}, {}, {"action": "other"}], {}, ALLOW, id="one by another action"),
        pytest.param([{}, {}, {"plan": make_plan().digest}], {}, ALLOW, id="one is this plan, its answer was lost"),
        pytest.param([{"plan": make_plan().digest}] * 2, {}, ALLOW, id="two answers were lost"),
        pytest.param([{"plan": make_plan().digest}] * 3, {}, DENY, id="every answer is lost"),
        pytest.param(
            [{"plan": make_plan().digest}],
            {"permission": ActionPolicy(mode=Mode.AUTO, attempts=1)},
            ALLOW,
            id="the answer of the only attempt was lost",
        ),
        pytest.param([{"plan": make_plan().digest, "step": 1}] * 3, {}, ALLOW, id="at another step"),
        pytest.param([{}, {}, {"targets": ("/w",)}], {}, ALLOW, id="one on another resource, which both need"),
        pytest.param([{}, {}, {"incident_id": "inc-other"}], {}, DENY, id="also by another incident"),
        pytest.param([], {"permission": ActionPolicy(mode=Mode.AUTO, attempts=0)}, DENY, id="none is allowed"),
    ],
)
def test_attempts_are_limited_inside_the_window(effects, changes, answer):
    made = tuple(effect(**one) for one in effects)
    assert answered(guards.attempts_left, effects=made, **changes) is answer


@pytest.mark.parametrize(("try_number", "answer"), [(3, ALLOW), (4, DENY)])
def test_the_walk_s_own_tries_count_even_if_the_trail_shows_none(try_number, answer):
    assert answered(guards.attempts_left, make_plan(try_number=try_number)) is answer


@pytest.mark.parametrize(
    ("effects", "answer"),
    [
        pytest.param([], ALLOW, id="never"),
        pytest.param([{"incident_id": "inc-other"}], DENY, id="another incident's repair is recent"),
        pytest.param([{"incident_id": "inc-other", "at": NOON - HOUR}], ALLOW, id="it is an hour ago"),
        pytest.param([{"incident_id": "inc-other", "counts": False}], ALLOW, id="it did not count"),
        pytest.param([{}], ALLOW, id="our own tries are not cooled down"),
        pytest.param([{"incident_id": "inc-other", "targets": ("/w",)}], ALLOW, id="on what both need, not on this"),
    ],
)
def test_a_resource_rests_between_incidents(effects, answer):
    policy = ActionPolicy(mode=Mode.AUTO, cooldown=HOUR)
    assert answered(guards.cooled_down, effects=tuple(effect(**one) for one in effects), permission=policy) is answer


@pytest.mark.parametrize(("used", "limit", "answer"), [(0, 1, ALLOW), (1, 1, DENY), (2, 1, DENY), (0, 0, DENY)])
def test_a_spent_budget_denies(used, limit, answer):
    policy = ActionPolicy(mode=Mode.AUTO, budget_per_hour=limit)
    assert answered(guards.budget_left, budget_used=used, permission=policy) is answer


def test_a_plan_that_has_begun_is_not_left_in_the_middle_for_its_budget():
    plan = make_plan(calls=(make_call(), make_call()))
    begun = effect(plan=plan.digest, status=Status.ACCEPTED)
    spent = {"budget_used": 9, "permission": ActionPolicy(mode=Mode.AUTO, budget_per_hour=1)}
    assert answered(guards.budget_left, plan, effects=(begun,), step=1, **spent) is ALLOW
    assert answered(guards.budget_left, plan, effects=(begun,), step=0, **spent) is DENY
    assert answered(guards.budget_left, plan, effects=(effect(),), step=1, **spent) is DENY
    busy = effect(plan=plan.digest, status=Status.BUSY, counts=False)
    assert answered(guards.budget_left, plan, effects=(busy,), step=1, **spent) is DENY


@pytest.mark.parametrize("value", ["off", "Off", "OFF"])
def test_a_slip_of_the_pen_protects_as_well(value):
    assert answered(guards.not_protected, tags={"Medic": value}) is DENY


@pytest.mark.parametrize(
    ("incident", "answer"),
    [
        pytest.param({}, ALLOW, id="fresh"),
        pytest.param({"failed_at": NOON - 2 * HOUR}, DENY, id="at the ceiling"),
        pytest.param({"failed_at": NOON - 2 * HOUR + MINUTE}, ALLOW, id="just below"),
        pytest.param({"first_failed_at": NOON - 3 * HOUR}, DENY, id="counted from the first failure, not the last try"),
    ],
)
def test_nothing_is_tried_beyond_the_ceiling(incident, answer):
    plan = make_plan(diagnosis=make_diagnosis(incident=make_incident(**incident)))
    assert answered(guards.in_time, plan) is answer


@pytest.mark.parametrize(
    ("effects", "answer"),
    [
        pytest.param([], ALLOW, id="none"),
        pytest.param([{"is_open": True}], DENY, id="one is open"),
        pytest.param([{"is_open": True, "plan": make_plan().digest}], ALLOW, id="it is this very plan's"),
        pytest.param([{"is_open": True, "incident_id": "inc-other"}], DENY, id="another incident's is open"),
        pytest.param([{"is_open": True, "counts": False}], DENY, id="open counts whatever else"),
    ],
)
def test_an_effect_whose_end_is_unknown_blocks_the_target(effects, answer):
    assert answered(guards.no_open_intent, effects=tuple(effect(**one) for one in effects)) is answer


@pytest.mark.parametrize(
    ("plan", "changes", "answer"),
    [
        pytest.param(make_plan(), {}, ALLOW, id="as it was"),
        pytest.param(make_plan(), {"fingerprint": {}}, DENY, id="nothing is left of it"),
        pytest.param(
            make_plan(), {"fingerprint": fingerprint_of(Found(make_state(spec_digest="x")))}, DENY, id="another spec"
        ),
        pytest.param(
            make_plan(),
            {"fingerprint": fingerprint_of(Found(make_state())) | {"more": "x"}},
            DENY,
            id="something was added",
        ),
        pytest.param(make_plan(), {"resource": Unknown(), "fingerprint": {}}, UNKNOWN, id="unknown"),
        pytest.param(make_plan(), {"resource": Absent(), "fingerprint": {"state": "absent"}}, UNKNOWN, id="gone"),
        pytest.param(
            make_plan(fingerprint={"state": "absent"}),
            {"resource": Absent(), "fingerprint": {"state": "absent"}},
            ALLOW,
            id="still not there",
        ),
        pytest.param(
            make_plan(fingerprint={"state": "absent"}),
            {"resource": Unknown(), "fingerprint": {}},
            DENY,
            id="not there: unknown",
        ),
        pytest.param(make_plan(fingerprint={"state": "absent"}), {}, DENY, id="there by now"),
    ],
)
def test_a_target_that_is_not_as_it_was_is_not_touched(plan, changes, answer):
    assert answered(guards.target_unchanged, plan, **changes) is answer


MADE = effect(plan=make_plan().digest, status=Status.ACCEPTED)
SINCE = {"provisioning_state": "Failed", "last_modified_at": NOON, "operation_url": "/another"}


@pytest.mark.parametrize(
    ("effects", "state", "answer"),
    [
        pytest.param((MADE,), SINCE | {"modified_by_us": True}, ALLOW, id="this plan's own re-run"),
        pytest.param((MADE,), SINCE | {"modified_by_us": False}, DENY, id="somebody wrote it after that"),
        pytest.param((MADE,), SINCE | {"modified_by_us": None}, DENY, id="by whom is not known"),
        pytest.param((), SINCE | {"modified_by_us": True}, DENY, id="not by this plan"),
        pytest.param((effect(status=Status.ACCEPTED),), SINCE | {"modified_by_us": True}, DENY, id="by another plan"),
        pytest.param((MADE,), SINCE | {"modified_by_us": True, "spec_digest": "x"}, DENY, id="its spec is another"),
    ],
)
def test_what_the_plan_itself_has_done_so_far_is_no_change(effects, state, answer):
    seen = Found(make_state(**state))
    plan = make_plan(calls=(make_call(), make_call()))
    made = tuple(replace(one, plan=plan.digest) if one is MADE else one for one in effects)
    changes = {"resource": seen, "fingerprint": fingerprint_of(seen), "effects": made, "step": 1}
    assert answered(guards.target_unchanged, plan, **changes) is answer


def test_what_earlier_steps_were_about_is_compared_no_more():
    plan = make_plan(fingerprint={**fingerprint_of(Found(make_state())), "victim x": "as it was"})
    assert answered(guards.target_unchanged, plan, step=0) is DENY
    assert answered(guards.target_unchanged, plan, step=1) is ALLOW
    later = {**fingerprint_of(Found(make_state())), "victim y": "there"}
    assert answered(guards.target_unchanged, plan, step=1, fingerprint=later) is DENY


@pytest.mark.parametrize(
    ("changes", "desk", "answer"),
    [
        pytest.param({}, "free", ALLOW, id="its desk will be waited for"),
        pytest.param({}, "ours", DENY, id="its desk is ours, and nobody has closed it"),
        pytest.param({"status": Status.UNCLEAR}, "free", DENY, id="it ended unclear"),
        pytest.param({"targets": (DEPLOYMENT.lower(), "/workspace")}, "free", DENY, id="on the failed resource itself"),
    ],
)
def test_what_another_incident_has_under_way_on_what_both_need(changes, desk, answer):
    one = effect(**{"is_open": True, "targets": ("/workspace",), "incident_id": "inc-other"} | changes)
    assert answered(guards.no_open_intent, effects=(one,), desk=desk) is answer


@pytest.mark.parametrize(
    ("windows", "answer"),
    [
        pytest.param(((), ((11, 13),)), ALLOW, id="the other's is open"),
        pytest.param((((11, 13),), ((13, 14),)), DENY, id="the other's is closed"),
    ],
)
def test_each_thing_that_is_touched_keeps_to_its_own_windows(windows, answer):
    made = tuple(
        tuple(Window(start=NOON.replace(hour=a).time(), end=NOON.replace(hour=b).time()) for a, b in each)
        for each in windows
    )
    assert answered(guards.inside_window, windows=made) is answer


def another(**changes):
    fields = {
        "at": FAILED_AT + MINUTE,
        "status": "Started",
        "correlation_id": OTHER_CORRELATION,
        "caller": SOMEBODY.oid,
        "errors": (),
    }
    return make_row(**{**fields, **changes})


REQUEST = "medic-0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        pytest.param({}, ALLOW, id="nobody"),
        pytest.param({"history": Unknown("429")}, UNKNOWN, id="an unread history"),
        pytest.param({"history": Absent()}, UNKNOWN, id="an absent history"),
        pytest.param({"history": Found((another(),))}, DENY, id="a person's write"),
        pytest.param({"history": Found((another(operation_name=DELETE),))}, DENY, id="a person's delete"),
        pytest.param({"history": Found((another(status="Succeeded"),))}, DENY, id="only its end is seen"),
        pytest.param({"history": Found((another(caller=None),))}, DENY, id="somebody's"),
        pytest.param({"history": Found((another(correlation_id=""),))}, DENY, id="a row without correlation id"),
        pytest.param({"history": Found((another(at=FAILED_AT),))}, ALLOW, id="not after the failure"),
        pytest.param(
            {"history": Found((another(operation_name=f"{WRITE[:-6]}/getLogs/action"),))},
            ALLOW,
            id="a look at the logs",
        ),
        pytest.param(
            {"history": Found((another(correlation_id=make_incident().correlation_id),))},
            ALLOW,
            id="the failed operation itself",
        ),
        pytest.param({"history": Found((another(caller=US.oid),))}, ALLOW, id="our own write"),
        pytest.param({"history": Found((another(caller=US.oid),)), "own": None}, DENY, id="we do not know who we are"),
        pytest.param(
            {"history": Found((another(client_request_id=REQUEST),)), "own": None, "own_requests": (REQUEST,)},
            ALLOW,
            id="our own request",
        ),
        pytest.param(
            {"history": Found((another(client_request_id="x"),)), "own_requests": (REQUEST,)},
            DENY,
            id="another's request",
        ),
        pytest.param(
            {"resource": Found(make_state(last_modified_at=FAILED_AT + MINUTE))}, DENY, id="written since by another"
        ),
        pytest.param(
            {"resource": Found(make_state(last_modified_at=FAILED_AT + MINUTE, modified_by_us=None))},
            DENY,
            id="written since by whom",
        ),
        pytest.param(
            {"resource": Found(make_state(last_modified_at=FAILED_AT + MINUTE, modified_by_us=True))},
            ALLOW,
            id="written since by us",
        ),
    ],
)
def test_nobody_may_have_intervened(changes, answer):
    assert answered(guards.nobody_intervened, **changes) is answer


def test_a_row_without_correlation_id_is_somebody_s_also_for_an_uncorrelated_incident():
    plan = make_plan(diagnosis=make_diagnosis(incident=make_incident(correlation_id=None)))
    assert answered(guards.nobody_intervened, plan, history=Found((another(correlation_id=""),))) is DENY


def test_a_permission_that_azure_refused_denies():
    assert answered(guards.permitted_by_azure) is ALLOW
    assert answered(guards.permitted_by_azure, missing_permissions=("x/write",)) is DENY


@pytest.mark.parametrize(
    ("plan", "answer"),
    [
        pytest.param(make_plan(), ALLOW, id="the failed resource alone"),
        pytest.param(make_plan(calls=(make_call(), make_call())), DENY, id="two calls"),
        pytest.param(make_plan(calls=()), DENY, id="no call"),
        pytest.param(make_plan(calls=(make_call(path=make_call().path + "2"),)), DENY, id="a call to another"),
        pytest.param(make_plan(target=(make_call().path.lower(), "/other")), DENY, id="a further target"),
    ],
)
def test_the_blast_radius_is_one_call_to_the_failed_resource(plan, answer):
    assert answered(guards.within_incident, plan) is answer


@pytest.mark.parametrize(("desk", "answer"), [("free", ALLOW), ("ours", ALLOW), ("held", DENY)])
def test_a_desk_that_another_holds_denies(desk, answer):
    assert answered(guards.desk_is_ours, desk=desk) is answer


# -------------------------------------------------------------------------------------------------- deciding


def decided(plan=None, **changes):
    return decide(plan or make_plan(), make_situation(**changes), RETRY.guards, situation_digest="s" * 64)


def test_everything_permits_the_plan_of_these_tests():
    decision = decided()
    assert (decision.verdict, decision.refusals, len(decision.answers)) == (Verdict.RUN, (), 14)


@pytest.mark.parametrize(
    ("mode", "ceiling", "verdict", "would"),
    [
        (Mode.OFF, Mode.AUTO, Verdict.REFUSE, Verdict.REFUSE),
        (Mode.DRY_RUN, Mode.AUTO, Verdict.DRY_RUN, Verdict.DRY_RUN),
        (Mode.ASK, Mode.AUTO, Verdict.ASK, Verdict.ASK),
        (Mode.AUTO, Mode.AUTO, Verdict.RUN, Verdict.RUN),
        (Mode.AUTO, Mode.ASK, Verdict.ASK, Verdict.RUN),
        (Mode.AUTO, Mode.DRY_RUN, Verdict.DRY_RUN, Verdict.RUN),
        (Mode.AUTO, Mode.OFF, Verdict.REFUSE, Verdict.RUN),
        (Mode.ASK, Mode.DRY_RUN, Verdict.DRY_RUN, Verdict.ASK),
        (Mode.ASK, Mode.ASK, Verdict.ASK, Verdict.ASK),
        (Mode.ASK, Mode.OFF, Verdict.REFUSE, Verdict.ASK),
        (Mode.DRY_RUN, Mode.ASK, Verdict.DRY_RUN, Verdict.DRY_RUN),
        (Mode.DRY_RUN, Mode.DRY_RUN, Verdict.DRY_RUN, Verdict.DRY_RUN),
        (Mode.DRY_RUN, Mode.OFF, Verdict.REFUSE, Verdict.DRY_RUN),
        (Mode.OFF, Mode.DRY_RUN, Verdict.REFUSE, Verdict.REFUSE),
        (Mode.OFF, Mode.OFF, Verdict.REFUSE, Verdict.REFUSE),
        (Mode.OFF, Mode.ASK, Verdict.REFUSE, Verdict.REFUSE),
    ],
)
def test_the_ceiling_holds_over_every_mode_and_the_report_sees_under_it(mode, ceiling, verdict, would):
    decision = decided(permission=ActionPolicy(mode=mode), ceiling=ceiling)
    assert (decision.verdict, decision.would) == (verdict, would)
    assert ("MEDIC_MODE" in decision.mode_words) is (ceiling.rank < mode.rank)


def test_one_guard_that_does_not_know_is_enough_to_refuse_also_in_the_report():
    decision = decided(history=Unknown("429"), ceiling=Mode.DRY_RUN)
    assert (decision.verdict, decision.would) == (Verdict.REFUSE, Verdict.REFUSE)
    assert [answer.guard for answer in decision.refusals] == ["nobody-intervened"]


@pytest.mark.parametrize(
    ("plan", "changes", "mode"),
    [
        pytest.param(make_plan(), {}, Mode.AUTO, id="nothing asks for a person"),
        pytest.param(make_plan(needs_person="an update"), {}, Mode.ASK, id="the plan does"),
        pytest.param(
            make_plan(needs_person="x"),
            {"permission": ActionPolicy(mode=Mode.DRY_RUN)},
            Mode.DRY_RUN,
            id="and raises nothing",
        ),
        pytest.param(make_plan(needs_person="x"), {"permission": ActionPolicy(mode=Mode.OFF)}, Mode.OFF, id="nor off"),
    ],
)
def test_a_plan_that_needs_a_person_asks(plan, changes, mode):
    assert permitted_mode(plan, make_situation(**changes))[0] is mode


def results(*ends):
    return tuple(Result(at=NOON - number * MINUTE, end=end, cause_id="c") for number, end in enumerate(ends))[::-1]


BAD, GOOD = End.NOT_REPAIRED, End.REPAIRED


@pytest.mark.parametrize(
    ("ends", "count", "is_open"),
    [
        pytest.param([], 2, False, id="no results"),
        pytest.param([BAD], 2, False, id="too few"),
        pytest.param([BAD, BAD], 2, True, id="the last two"),
        pytest.param([BAD, End.INCONCLUSIVE], 2, True, id="inconclusive did not help either"),
        pytest.param([GOOD, BAD, BAD], 2, False, id="the latest helped"),
        pytest.param([BAD, BAD, GOOD], 2, True, id="only the latest count"),
        pytest.param([BAD] * 9, 0, False, id="switched off"),
    ],
)
def test_an_action_that_keeps_failing_trips_the_breaker(ends, count, is_open):
    policy = ActionPolicy(mode=Mode.AUTO, breaker_failures=count)
    situation = make_situation(permission=policy, results=results(*ends))
    assert breaker_is_open(situation) is is_open
    assert permitted_mode(make_plan(), situation)[0] is (Mode.ASK if is_open else Mode.AUTO)


@pytest.mark.parametrize(
    ("mode", "needs_person", "ends", "is_tripped"),
    [
        pytest.param(Mode.AUTO, None, [BAD, BAD], True, id="policy says auto, and the breaker is open"),
        pytest.param(Mode.AUTO, None, [GOOD, BAD], False, id="the latest helped"),
        pytest.param(Mode.AUTO, "it is an update", [BAD, BAD], False, id="a person decides anyway"),
        pytest.param(Mode.ASK, None, [BAD, BAD], False, id="policy says ask anyway"),
        pytest.param(Mode.DRY_RUN, None, [BAD, BAD], False, id="policy says dry-run"),
        pytest.param(Mode.OFF, None, [BAD, BAD], False, id="policy says off"),
    ],
)
def test_the_breaker_is_why_a_person_is_asked_only_where_nobody_would_be(mode, needs_person, ends, is_tripped):
    situation = make_situation(permission=ActionPolicy(mode=mode, breaker_failures=2), results=results(*ends))
    assert guards.is_tripped(make_plan(needs_person=needs_person), situation) is is_tripped


# -------------------------------------------------------------------------------------------------- the law

RANK = {Verdict.REFUSE: 0, Verdict.DRY_RUN: 1, Verdict.ASK: 2, Verdict.RUN: 3}
MODES = st.sampled_from(list(Mode))
WAITS = st.integers(0, 6).map(lambda hours: hours * HOUR)


@st.composite
def situations(draw):
    policy = ActionPolicy(
        mode=draw(MODES),
        attempts=draw(st.integers(0, 4)),
        within=draw(WAITS),
        cooldown=draw(WAITS),
        budget_per_hour=draw(st.integers(0, 3)),
        ceiling=draw(WAITS),
        breaker_failures=draw(st.integers(1, 3)),
    )
    effects = draw(
        st.lists(
            st.builds(
                effect,
                at=WAITS.map(lambda ago: NOON - ago),
                incident_id=st.sampled_from([make_incident().id, "inc-other"]),
                counts=st.booleans(),
                is_open=st.just(False),
            ),
            max_size=4,
        )
    )
    return make_situation(
        ceiling=draw(MODES),
        permission=policy,
        effects=tuple(effects),
        budget_used=draw(st.integers(0, 3)),
        results=results(*draw(st.lists(st.sampled_from([BAD, GOOD]), max_size=4))),
        own=draw(st.sampled_from([US, None, Caller()])),
    )


def lower(draw, mode):
    return draw(st.sampled_from([one for one in Mode if one.rank <= mode.rank]))


@st.composite
def stricter(draw, situation):
    """The same situation, with each of its parts as strict or stricter."""
    policy = situation.permission
    tightened = replace(
        policy,
        mode=lower(draw, policy.mode),
        attempts=draw(st.integers(0, policy.attempts)),
        within=policy.within + draw(WAITS),
        cooldown=policy.cooldown + draw(WAITS),
        budget_per_hour=draw(st.integers(0, policy.budget_per_hour)),
        ceiling=policy.ceiling * draw(st.sampled_from([0, 0.5, 1])),
        breaker_failures=draw(st.integers(1, policy.breaker_failures)),
    )
    changes = {
        "pauses": (Pause(until=NOON + HOUR, reason="x", scope=Scope()),),
        "freezes": (Freeze(start=NOON - HOUR, end=NOON + HOUR, reason="x"),),
        "windows": ((Window(start=NOON.replace(hour=1).time(), end=NOON.replace(hour=2).time()),),),
        "tags": {"medic": "off"},
        "history": Unknown(),
        "resource": Unknown(),
        "endpoint": Unknown(),
        "missing_permissions": ("x/write",),
        "desk": "held",
        "effects": (*situation.effects, effect(is_open=True)),
        "budget_used": situation.budget_used + 1,
    }
    chosen = draw(st.lists(st.sampled_from(sorted(changes)), unique=True, max_size=3))
    return replace(
        situation,
        permission=tightened,
        ceiling=lower(draw, situation.ceiling),
        **{name: changes[name] for name in chosen},
    )


@given(st.data(), st.sampled_from([None, "a person decides"]))
def test_a_stricter_policy_or_situation_never_permits_more(data, needs_person):
    plan = make_plan(needs_person=needs_person)
    situation = data.draw(situations())
    tighter = data.draw(stricter(situation))
    loose = decide(plan, situation, RETRY.guards, situation_digest="a")
    tight = decide(plan, tighter, RETRY.guards, situation_digest="b")
    assert RANK[tight.verdict] <= RANK[loose.verdict]
    assert RANK[tight.would] <= RANK[loose.would]


@given(situations(), st.integers(0, 13))
def test_a_further_guard_never_permits_more(situation, number):
    some, more = RETRY.guards[:number], RETRY.guards[: number + 1]
    fewer = decide(make_plan(), situation, some, situation_digest="a")
    assert RANK[decide(make_plan(), situation, more, situation_digest="a").verdict] <= RANK[fewer.verdict]
