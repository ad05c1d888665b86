"""Who may answer, how many have to, and what their answers come to."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations.approval import rules
from remediations.model import Answer, Caller, Found, GuardAnswer, Person, Risk, Unknown
from remediations.policy import Approvers
from remediations.trail import Answered, Question, Vote
from tests.builders import NOON, SOMEBODY, make_call, make_evidence, make_incident, make_plan, make_row

MINUTE = timedelta(minutes=1)
TENANT = "99999999-8888-7777-6666-555555555555"
ANNA, BERTA, CARLA = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
GROUP = "00000000-0000-4000-8000-0000000000aa"


def person(oid=ANNA, **changes) -> Person:
    return Person(**{"oid": oid, "tid": TENANT, "roles": ("Medic.Approver",), **changes})


def question(**changes) -> Question:
    fields = {
        "at": NOON,
        "incident_id": "inc-1",
        "plan": "p" * 64,
        "decision": "d" * 64,
        "policy_version": "v1",
        "expires_at": NOON + 60 * MINUTE,
        "callers": (SOMEBODY.oid,),
    }
    return Question(**{**fields, **changes})


def vote(oid=ANNA, minute=1, approves=True, **changes) -> Vote:
    fields = {"at": NOON + minute * MINUTE, "plan": "p" * 64, "by": Caller(oid=oid, tid=TENANT), "approves": approves}
    return Vote(**{**fields, **changes})


# ------------------------------------------------------------------------------------------------ who may


@pytest.mark.parametrize(
    ("approvers", "who", "may"),
    [
        pytest.param(Approvers(), person(), True, id="the role"),
        pytest.param(Approvers(), person(roles=("Medic.Reader",)), False, id="another role"),
        pytest.param(Approvers(), person(roles=("medic.approver",)), False, id="the role in another casing"),
        pytest.param(Approvers(role=""), person(roles=("",)), False, id="no role is no role"),
        pytest.param(Approvers(role="", users=(ANNA,)), person(roles=()), True, id="named"),
        pytest.param(Approvers(role="", users=(ANNA.upper(),)), person(roles=()), True, id="named in capitals"),
        pytest.param(Approvers(role="", users=(BERTA,)), person(), False, id="another is named"),
        pytest.param(Approvers(role="", groups=(GROUP,)), person(roles=(), groups=(GROUP,)), True, id="by group"),
        pytest.param(Approvers(role="", groups=(GROUP,)), person(groups=()), False, id="not in the group"),
        pytest.param(Approvers(role="", groups=(ANNA,)), person(), False, id="a group is no user"),
        pytest.param(Approvers(), person(is_app=True), False, id="an application"),
        pytest.param(Approvers(role="", users=(ANNA,)), person(is_app=True), False, id="an application that is named"),
    ],
)
def test_policy_says_who_may(approvers, who, may):
    assert rules.is_approver(who, question(approvers=(approvers,))) is may


def test_who_approves_what_touches_several_things_may_for_each_of_them():
    both = question(approvers=(Approvers(), Approvers(role="", users=(BERTA,))))
    assert rules.is_approver(person(ANNA), both) is False
    assert rules.is_approver(person(BERTA), both) is True
    assert rules.is_approver(person(BERTA, roles=()), both) is False


@pytest.mark.parametrize(
    ("who", "votes", "approves", "why"),
    [
        pytest.param(person(), (), True, None, id="may approve"),
        pytest.param(person(), (), False, None, id="may reject"),
        pytest.param(
            person(SOMEBODY.oid),
            (),
            True,
            "you started the operation that failed; somebody else has to approve its repair",
            id="four eyes",
        ),
        pytest.param(
            person(str(SOMEBODY.oid).upper()),
            (),
            True,
            "you started the operation that failed; somebody else has to approve its repair",
            id="four eyes in capitals",
        ),
        pytest.param(person(SOMEBODY.oid), (), False, None, id="whoever started it may still say no"),
        pytest.param(person(), (vote(),), True, "you approved it at 2026-11-22 12:01:00 UTC", id="twice"),
        pytest.param(
            person(), (vote(approves=False),), True, "you rejected it at 2026-11-22 12:01:00 UTC", id="another mind"
        ),
        pytest.param(person(BERTA), (vote(),), True, None, id="another person"),
        pytest.param(
            person(tid="another"),
            (vote(),),
            True,
            "you approved it at 2026-11-22 12:01:00 UTC",
            id="from another tenant",
        ),
    ],
)
def test_each_answers_once_and_nobody_for_their_own_failure(who, votes, approves, why):
    assert rules.why_not(who, question(), votes, approves=approves) == why


# --------------------------------------------------------------------------------------------------- how many


@pytest.mark.parametrize(
    ("risk", "asked", "callers", "quorum"),
    [
        pytest.param(Risk.REPEATABLE, (None,), ("x",), 1, id="repeatable"),
        pytest.param(Risk.REVERSIBLE, (None,), ("x",), 1, id="reversible"),
        pytest.param(Risk.DESTRUCTIVE, (None,), ("x",), 2, id="destructive"),
        pytest.param(Risk.DESTRUCTIVE, (1,), ("x",), 1, id="policy says one"),
        pytest.param(Risk.REPEATABLE, (3,), ("x",), 3, id="policy says three"),
        pytest.param(Risk.DESTRUCTIVE, (1, None), ("x",), 2, id="the most of all that is touched"),
        pytest.param(Risk.REPEATABLE, (None,), (), 2, id="one more if nobody knows who started it"),
    ],
)
def test_risk_and_policy_say_how_many(risk, asked, callers, quorum):
    assert rules.quorum_of(risk, asked, callers) == quorum


@pytest.mark.parametrize(
    ("caller", "row", "callers"),
    [
        pytest.param(SOMEBODY, None, (SOMEBODY.appid, SOMEBODY.oid), id="the event says it"),
        pytest.param(Caller(), SOMEBODY.oid, (SOMEBODY.oid,), id="the Activity Log says it"),
        pytest.param(Caller(), "3f5a" * 16, (), id="a digest tells nobody apart"),
        pytest.param(Caller(), None, (), id="nobody knows"),
        pytest.param(Caller(oid=ANNA.upper()), BERTA, (ANNA, BERTA), id="both, without case"),
    ],
)
def test_who_started_the_failed_operation_is_read_from_the_event_and_the_activity_log(caller, row, callers):
    evidence = make_evidence(incident=make_incident(caller=caller), activity=Found((make_row(caller=row),)))
    assert rules.callers_of(evidence) == callers


def test_an_activity_log_that_cannot_be_read_names_nobody():
    evidence = make_evidence(incident=make_incident(caller=Caller()), activity=Unknown())
    assert rules.callers_of(evidence) == ()


# ------------------------------------------------------------------------------------------ what it comes to


def come_to(votes, minute=30, **changes) -> tuple[bool | None, str] | None:
    answered = rules.outcome(question(**changes), votes, NOON + minute * MINUTE)
    return None if answered is None else (answered.approved, answered.words)


@pytest.mark.parametrize(
    ("votes", "changes", "answer"),
    [
        pytest.param((), {}, None, id="nobody yet"),
        pytest.param((vote(),), {}, (True, f"approved by {ANNA}"), id="one is enough"),
        pytest.param((vote(comment="go"),), {}, (True, f"approved by {ANNA}: go"), id="with a comment"),
        pytest.param((vote(),), {"quorum": 2}, None, id="one of two"),
        pytest.param(
            (vote(), vote(BERTA, 2)), {"quorum": 2}, (True, f"approved by {ANNA} and {BERTA}"), id="two of two"
        ),
        pytest.param((vote(), vote(ANNA, 2)), {"quorum": 2}, None, id="the same person twice"),
        pytest.param((vote(), vote(ANNA.upper(), 2)), {"quorum": 2}, None, id="the same person in capitals"),
        pytest.param(
            (vote(approves=False, comment="no"),),
            {"quorum": 2},
            (False, f"rejected by {ANNA}: no"),
            id="one no ends it",
        ),
        pytest.param(
            (vote(), vote(BERTA, 2, approves=False), vote(CARLA, 3)),
            {"quorum": 2},
            (False, f"rejected by {BERTA}"),
            id="a no before the second yes",
        ),
        pytest.param(
            (vote(BERTA, 2, approves=False), vote()), {}, (True, f"approved by {ANNA}"), id="by time, not by order"
        ),
        pytest.param((vote(SOMEBODY.oid),), {}, None, id="no approval by who started it"),
        pytest.param(
            (vote(SOMEBODY.oid, approves=False),), {}, (False, f"rejected by {SOMEBODY.oid}"), id="but a rejection"
        ),
        pytest.param((vote(plan="q" * 64),), {}, None, id="of another plan"),
        pytest.param((vote(minute=60),), {}, None, id="at the very end of its time"),
    ],
)
def test_votes_come_to_one_answer(votes, changes, answer):
    assert come_to(votes, **changes) == answer


def test_one_object_id_in_two_tenants_is_one_person():
    twice = (vote(), vote(ANNA, 2, by=Caller(oid=ANNA, tid="another")))
    assert come_to(twice, quorum=2) is None
    assert len(rules.approvals(question(quorum=2), twice)) == 1


@pytest.mark.parametrize(
    ("approvers", "changes", "why"),
    [
        pytest.param(Approvers(), {}, None, id="a role"),
        pytest.param(Approvers(role="", groups=(GROUP,)), {"quorum": 5}, None, id="a group"),
        pytest.param(Approvers(role="", users=(ANNA,)), {}, None, id="one of one"),
        pytest.param(
            Approvers(role="", users=(str(SOMEBODY.oid).upper(),)),
            {},
            (1, 0),
            id="only who started it",
        ),
        pytest.param(
            Approvers(role="", users=(ANNA,)),
            {"quorum": 2, "callers": ()},
            (2, 1),
            id="one more for an unknown starter",
        ),
    ],
)
def test_what_nobody_could_approve_is_asked_of_nobody(approvers, changes, why):
    words = "nobody is asked: {} would have to approve, and of those whom policy lists {} did not start "
    words += "the failed operation"
    expected = None if why is None else words.format(*why)
    assert rules.why_unanswerable(question(approvers=(approvers,), **changes)) == expected


@pytest.mark.parametrize(
    ("votes", "quorum", "words"),
    [
        pytest.param((), 1, "nobody answered in time", id="nobody"),
        pytest.param((vote(),), 2, "1 approved in time, and 1 more were needed", id="too few"),
        pytest.param((vote(minute=61),), 1, "nobody answered in time", id="too late"),
    ],
)
def test_a_question_ends_with_its_time(votes, quorum, words):
    assert come_to(votes, minute=60, quorum=quorum) == (None, words)


def test_an_answer_given_in_time_counts_when_it_is_read_late():
    assert come_to((vote(minute=59),), minute=90) == (True, f"approved by {ANNA}")


def test_the_end_of_time_is_told_from_a_newer_failure():
    asked = question()
    late = Answered(at=asked.expires_at, plan=asked.plan, approved=None, words="nobody answered in time")
    assert rules.is_expired(late, asked) is True
    assert rules.is_expired(replace(late, at=NOON + MINUTE), asked) is False


@given(
    st.lists(
        st.builds(
            vote,
            st.sampled_from([ANNA, BERTA, CARLA, SOMEBODY.oid]),
            st.integers(0, 80),
            st.booleans(),
            plan=st.sampled_from(["p" * 64, "q" * 64]),
        ),
        max_size=8,
    ),
    st.integers(1, 3),
    st.integers(0, 90),
)
def test_an_approval_needs_so_many_different_people_in_time_none_of_whom_started_it(votes, quorum, minute):
    asked = question(quorum=quorum)
    answered = rules.outcome(asked, votes, NOON + minute * MINUTE)
    if answered is not None and answered.approved:
        counted = {
            one.by.oid
            for one in votes
            if one.approves and one.plan == asked.plan and one.at < asked.expires_at and one.by.oid != SOMEBODY.oid
        }
        assert len(counted) >= quorum
    if len({one.at for one in votes}) == len(votes):
        assert rules.outcome(asked, list(reversed(votes)), NOON + minute * MINUTE) == answered


# --------------------------------------------------------------------------------------------------- void


def refusal(guard, answer=Answer.DENY):
    return GuardAnswer(guard=guard, answer=answer, words="")


@pytest.mark.parametrize(
    ("refusals", "voids"),
    [
        pytest.param((), False, id="nothing is refused"),
        pytest.param((refusal("target-unchanged"),), True, id="the target has changed"),
        pytest.param((refusal("target-unchanged"), refusal("not-paused")), True, id="something else as well"),
        pytest.param((refusal("target-unchanged", Answer.UNKNOWN),), False, id="unknown is no change"),
        pytest.param((refusal("nobody-intervened"),), False, id="a person took over"),
    ],
)
def test_a_changed_target_makes_an_approval_void(refusals, voids):
    assert rules.voids(refusals) is voids


def test_the_differences_between_two_plans_are_told_in_words():
    old = make_plan(fingerprint={"state": "Canceled", "gone": "1"}, policy_version="a")
    other = make_call(method="DELETE")
    new = make_plan(fingerprint={"state": "Failed", "come": "2"}, policy_version="b", calls=(other,))
    assert rules.differences(old, new) == (
        f"no longer: {old.calls[0]}",
        f"instead: {other}",
        "policy: was a, is b",
        "come: was not there, is 2",
        "gone: was 1, is not there",
        "state: was Canceled, is Failed",
    )
    assert rules.differences(old, old) == ()
