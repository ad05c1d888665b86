"""The steps of a storm, each by itself, over a trail on which it has come so far; the hub is not asked."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from functions import storms as steps
from functions.events import muster_of, order_of
from remediations import services, settings
from remediations.model import Caller, Decision, End, Incident, Mode, NoPlan, Plan, Unknown, Verdict
from remediations.policy import ActionPolicy
from remediations.services import Services
from remediations.storms import Groups, Judged, grouped, roll_of
from remediations.trail import Ended, Question
from tests.builders import (
    NOON,
    US,
    WORKSPACE,
    make_diagnosis,
    make_effect,
    make_evidence,
    make_incident,
    make_intent,
    make_plan,
    make_resource,
    make_situation,
)

KEY = "0" * 32 + "/20261123T120000"
STARTED_BY = tuple(str(uuid.UUID(int=number + 1)) for number in range(6))
MANY = 40


@pytest.fixture
def own(tmp_path) -> Iterator[Services]:
    environment = {
        "MEDIC_STORE": str(tmp_path),
        "MEDIC_MODE": "auto",
        "MEDIC_ARM_URL": "http://127.0.0.1:9",
        "MEDIC_ARM_TOKEN": "t",
        "MEDIC_CLIENT_ID": US.appid or "",
        "MEDIC_PRINCIPAL_ID": US.oid or "",
    }
    made = Services(settings.load(environment), clock=lambda: NOON)
    services.use(made)
    yield made
    services.use(None)


def failure(number: int, **changes: Any) -> Incident:
    path = f"{WORKSPACE}/onlineEndpoints/e{number:02d}/deployments/green"
    fields = {
        "id": f"inc-{number:02d}",
        "resource": make_resource(path),
        "failed_at": NOON + timedelta(seconds=number),
        "caller": Caller(oid=STARTED_BY[number % 6]),
    }
    return make_incident(**{**fields, **changes})


def make_decision(plan: Plan, situation: str = "s" * 64, verdict: Verdict = Verdict.ASK) -> Decision:
    return Decision(
        plan=plan,
        situation=situation,
        verdict=verdict,
        would=Verdict.RUN,
        mode=Mode.ASK,
        mode_words="by policy",
        answers=(),
    )


class Storm:
    """A storm of so many members, each judged to what `verdict` says.

    Args:
        words: What each said when it was judged.
        seen: What the situation of each showed, by its number.
    """

    def __init__(
        self,
        own: Services,
        count: int,
        verdict: str = "ask",
        words: str = "",
        nobody_started: frozenset[int] = frozenset(),
        **seen: Callable[[int], Any],
    ) -> None:
        self.own = own
        self.members = [
            failure(number, **({"caller": Caller()} if number in nobody_started else {})) for number in range(count)
        ]
        trail = own.trail
        roll = trail.storms.call(KEY, 1, roll_of([trail.storms.enlist(KEY, one, NOON) for one in self.members], NOON))
        judged = []
        for number, incident in enumerate(self.members):
            evidence = make_evidence(incident=incident, activity=Unknown())
            digest = own.evidence.put(evidence)
            plan = make_plan(
                diagnosis=make_diagnosis(incident=incident, evidence=digest), parameters={"body": f"body-{number}"}
            )
            situation = make_situation(**{name: give(number) for name, give in seen.items()})
            decision = make_decision(plan, own.evidence.put(situation))
            trail.open_incident(incident, f"nonce-{number}", NOON)
            judged.append(
                Judged(
                    incident=incident,
                    cause="canceled-higher-priority",
                    action="retry",
                    verdict=verdict,
                    evidence=digest,
                    plan=plan.digest,
                    decision=own.evidence.put(decision),
                    words=words and f"{words} {number}",
                )
            )
        (self.group,) = trail.storms.group(KEY, 1, grouped(judged, KEY, 1, roll.at)).storms
        trail.open_incident(self.group.incident, "nonce", NOON)

    def step(self, **changes: Any) -> dict[str, Any]:
        order = order_of(self.group.incident, self.own, nonce="nonce")
        return {**order, "at": 0, "size": 1, "verdict": "over", "words": "the storm's", **changes}

    def end(self, number: int, end: End = End.REPAIRED) -> None:
        ended = Ended(at=NOON, end=end, words="it ended", incident=self.members[number])
        self.own.trail.end_incident(ended)

    def begin(self, number: int) -> None:
        incident = self.members[number]
        self.own.trail.open_intent(
            make_effect(incident_id=incident.id, plan="p" * 64), make_intent(plan="p" * 64), (incident.resource.key,)
        )

    def ends(self) -> list[tuple[str, str] | None]:
        found = [self.own.trail.ended(one.id) for one in self.members]
        return [None if one is None else (str(one.end), one.words) for one in found]

    def wave(self, **changes: Any) -> tuple[list[str], dict[str, Any]]:
        """Give whose walks run next, and how the ramp goes on."""
        step = steps.wave(self.step(**changes))
        return [order["incident"]["id"] for order in step["orders"]], step


# ------------------------------------------------------------------------------------------------ the ramp


def test_a_wave_is_twice_the_one_before_until_all_are_begun(own):
    storm = Storm(own, 8)
    first, step = storm.wave()
    assert (first, step["at"], step["size"]) == (["inc-00"], 1, 2)
    storm.end(0)
    second, step = storm.wave(at=1, size=2)
    assert (second, step["at"], step["size"]) == (["inc-01", "inc-02"], 3, 4)


def test_no_wave_is_larger_than_32(own):
    storm = Storm(own, MANY)
    for number in range(4):
        storm.end(number)
    begun, step = storm.wave(at=4, size=64)
    assert (len(begun), step["at"]) == (32, 36)


@pytest.mark.parametrize("end", [End.NOT_REPAIRED, End.INCONCLUSIVE, None])
def test_no_wave_follows_one_in_vain_or_one_of_which_nothing_is_known(own, end):
    storm = Storm(own, 4)
    if end is not None:
        storm.end(0, end)
    assert storm.wave(at=1, size=2)[0] == []


@pytest.mark.parametrize(("end", "begun"), [(End.REFUSED, ["inc-01", "inc-02"]), (End.NOT_REPAIRED, [])])
def test_a_ramp_whose_hub_was_lost_goes_on_only_if_nothing_was_in_vain(own, end, begun):
    storm = Storm(own, 4)
    storm.end(0, end)
    assert storm.wave(size=2)[0] == begun


def test_a_ramp_whose_hub_was_lost_goes_on_at_the_try_of_a_member_that_was_begun(own):
    storm = Storm(own, 2)
    storm.begin(0)
    orders = steps.wave(storm.step())["orders"]
    assert [(order["try"], order["nonce"], order["storm"]) for order in orders] == [
        (2, "nonce-0", storm.group.incident.id)
    ]


# ------------------------------------------------------------------------------------------------ its end


def test_of_a_storm_that_is_over_what_was_not_begun_is_refused_and_what_was_begun_has_its_own_end(own):
    storm = Storm(own, 4)
    storm.end(0)
    storm.end(2, End.NOTHING_TO_DO)
    storm.begin(3)
    step = steps.disband(storm.step(at=1))
    assert storm.ends() == [
        ("repaired", "it ended"),
        ("refused", "not begun: another of the same storm was in vain"),
        ("nothing-to-do", "it ended"),
        None,
    ]
    assert step["end"] == "inconclusive"
    assert step["words"] == (
        f"{storm.group.incident.label}: 1 repaired, 1 not begun (mlw-prod/e01/green), 1 nothing-to-do, "
        "1 open (mlw-prod/e03/green)"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [("in dry run", ["in dry run 0", "in dry run 1"]), ("", ["the storm's"] * 2)],
)
def test_what_ends_without_an_effect_ends_each_member_in_its_own_words_if_it_has_any(own, words, said):
    storm = Storm(own, 2, words=words)
    step = storm.step(verdict="end", end="rejected")
    assert steps.disband(step) == step
    assert storm.ends() == [("rejected", one) for one in said]


def restarted(own: Services, incident: str) -> tuple[str, dict[str, Any]]:
    """Give what the sweep starts for an incident without an end; nothing under no name if it ends there."""
    opened = own.trail.opened(incident)
    assert opened is not None
    return steps.to_restart(own, opened) or ("", {})


def test_a_storm_that_has_ended_leaves_nothing_to_be_sent_at_once(own):
    storm = Storm(own, 2)
    storm.begin(1)
    own.trail.end_incident(Ended(at=NOON, end=End.INCONCLUSIVE, words="a step failed", incident=storm.group.incident))
    assert restarted(own, "inc-00") == ("", {})
    assert restarted(own, "inc-01")[0] == "inc-01"
    assert storm.ends() == [("inconclusive", f"not begun: storm {storm.group.incident.id} ended before"), None]


def test_what_has_to_run_for_a_member_is_its_storm_while_that_has_no_end(own):
    storm = Storm(own, 2)
    walk, order = restarted(own, "inc-01")
    assert (walk, order["nonce"]) == (storm.group.incident.id, "nonce")
    assert storm.ends() == [None, None]


def test_what_has_to_run_for_one_that_was_not_judged_is_its_muster_and_for_a_stranger_its_own_walk(own):
    own.trail.storms.enlist(KEY, failure(1), NOON)
    for number in (1, 2):
        own.trail.open_incident(failure(number), f"nonce-{number}", NOON)
    assert restarted(own, "inc-01") == muster_of(KEY, own)
    walk, order = restarted(own, "inc-02")
    assert (walk, order["nonce"], order["try"]) == ("inc-02", "nonce-2", 1)


# ------------------------------------------------------------------------------------------------ the question


def asked(own: Services, storm: Storm) -> Question:
    steps.ask_members(storm.step(plan="p" * 64, decision=storm.group.members[0].decision, verdict="ask"))
    found = own.trail.question("p" * 64)
    assert found is not None
    return found


def test_whoever_started_any_of_them_is_no_approver(own):
    assert asked(own, Storm(own, 3)).callers == STARTED_BY[:3]


def test_as_many_have_to_approve_as_the_strictest_asks_for(own):
    assert asked(own, Storm(own, 3, quorum=lambda number: (1 + number,))).quorum == 3


@pytest.mark.parametrize(("nobody", "quorum"), [(frozenset(), 1), (frozenset({2}), 2)])
def test_where_nobody_knows_who_started_one_of_them_one_more_has_to_approve(own, nobody, quorum):
    assert asked(own, Storm(own, 3, nobody_started=nobody)).quorum == quorum


def test_the_question_is_open_no_longer_than_the_ceiling_of_the_first_that_has_one(own):
    ceilings = {1: timedelta(minutes=20)}

    def permission(number: int) -> ActionPolicy:
        return ActionPolicy(mode=Mode.ASK, ceiling=ceilings.get(number, timedelta(days=1)))

    storm = Storm(own, 3, permission=permission)
    assert asked(own, storm).expires_at == storm.members[1].began_at + timedelta(minutes=20)


# ------------------------------------------------------------------------------------------------ the muster


def mustering(**changes: Any) -> dict[str, Any]:
    return steps.muster({"walk": 1, "storm": KEY, "roll": 1, "at": 0, "scale": 1.0, **changes})


def test_the_roll_is_called_once_nobody_has_come_since_the_last_look(own):
    own.trail.storms.enlist(KEY, failure(0), NOON)
    step = mustering()
    assert (step["wait_s"], step["next"]["seen"], step["judge"]) == (30.0, 1, [])
    own.trail.storms.enlist(KEY, failure(1), NOON)
    step = steps.muster(step["next"])
    assert (step["wait_s"], step["next"]["seen"]) == (30.0, 2)
    assert own.trail.storms.roll(KEY, 1) is None
    step = steps.muster(step["next"])
    assert [order["incident"]["id"] for order in step["judge"]] == ["inc-00", "inc-01"]


def test_the_roll_is_called_after_ten_looks_however_many_still_come(own):
    step: dict[str, Any] = {"next": {"walk": 1, "storm": KEY, "roll": 1, "at": 0, "scale": 1.0}}
    for number in range(10):
        own.trail.storms.enlist(KEY, failure(number), NOON)
        step = steps.muster(step["next"])
        assert step["wait_s"] > 0
    own.trail.storms.enlist(KEY, failure(10), NOON)
    assert len(steps.muster(step["next"])["judge"]) == 8
    roll = own.trail.storms.roll(KEY, 1)
    assert roll is not None
    assert len(roll.entries) == 11


def test_without_anybody_left_it_is_over(own):
    assert mustering()["over"] is True


def test_a_storm_is_unfinished_until_each_of_its_rolls_came_to_something(own):
    assert steps.is_unfinished(own, KEY) is False
    own.trail.storms.enlist(KEY, failure(0), NOON)
    assert steps.is_unfinished(own, KEY) is True
    assert [order["incident"]["id"] for order in mustering(seen=1)["judge"]] == ["inc-00"]
    assert steps.is_unfinished(own, KEY) is True  # it was called, and the hub may be lost before it is opened
    assert [order["incident"]["id"] for order in mustering()["judge"]] == ["inc-00"]
    mustering(at=8)
    assert steps.is_unfinished(own, KEY) is False


def test_one_that_another_storm_took_is_not_called(own):
    own.trail.storms.enlist("1" * 32 + "/20261123T120000", failure(0), NOON)
    for number in (0, 1):
        own.trail.storms.enlist(KEY, failure(number), NOON)
    mustering(seen=2)
    roll = own.trail.storms.roll(KEY, 1)
    assert roll is not None
    assert [entry.incident for entry in roll.entries] == ["inc-01"]


def test_who_has_ended_is_not_judged_and_older_failures_of_a_resource_end_with_the_newest(own):
    older = failure(1, id="inc-old", failed_at=NOON - timedelta(minutes=1))
    for one in (failure(0), failure(1), older):
        own.trail.storms.enlist(KEY, one, NOON)
    for one in (failure(0), older):
        own.trail.open_incident(one, "n", NOON)
    own.trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="w", incident=failure(0)))
    step = mustering(seen=3)
    assert [(order["incident"]["id"], order["stands_for"]) for order in step["judge"]] == [("inc-01", ["inc-old"])]
    ended = own.trail.ended("inc-old")
    assert ended is not None
    assert (ended.end, ended.words) == ("superseded", "a newer failure of the same resource: inc-01")


def judged(own: Services, number: int, *, when: str = "deciding", opened: bool = True, **changes: Any) -> Incident:
    """Let a failure be judged as its own walk does: on its record stand diagnosis, plan and decision."""
    incident = failure(number)
    own.trail.storms.enlist(KEY, incident, NOON)
    if opened:
        own.trail.open_incident(incident, f"nonce-{number}", NOON)
    diagnosis = make_diagnosis(incident=incident, **changes)
    plan = make_plan(diagnosis=diagnosis, parameters={"body": f"body-{number}"})
    decision = make_decision(plan)
    own.journal.diagnosed(diagnosis)
    own.journal.planned(plan)
    own.journal.decided(decision, when=when, kept=own.evidence.put(decision))
    return incident


def grouped_now(own: Services, count: int) -> tuple[dict[str, Any], Groups]:
    mustering(seen=count)
    step = mustering(at=count)
    groups = own.trail.storms.groups(KEY, 1)
    assert groups is not None
    return step, groups


def members_of(groups: Groups) -> list[list[str]]:
    return [[part.incident for part in group.members] for group in groups.storms]


def test_those_of_one_cause_start_as_one_and_the_others_alone(own):
    for number in range(3):
        judged(own, number)
    judged(own, 3, cause_id="canceled-lock")
    step, groups = grouped_now(own, 4)
    assert members_of(groups) == [["inc-00", "inc-01", "inc-02"]]
    assert groups.alone == ("inc-03",)
    storm = groups.storms[0].incident.id
    assert [start["order"]["incident"]["id"] for start in step["start"]] == [storm, "inc-03"]
    assert step["start"][1]["order"]["nonce"] == "nonce-3"
    assert (step["next"]["roll"], step["next"]["at"]) == (2, 0)


def test_who_is_over_or_was_never_opened_is_in_no_group_and_who_was_not_judged_goes_on_alone(own):
    for number in range(3):
        judged(own, number)
    judged(own, 3, opened=False)
    own.trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="w", incident=failure(2)))
    own.trail.storms.enlist(KEY, failure(4), NOON)
    own.trail.open_incident(failure(4), "nonce-4", NOON)
    judged(own, 5, when="before call 1, attempt 1")
    _, groups = grouped_now(own, 6)
    assert members_of(groups) == [["inc-00", "inc-01"]]
    assert groups.alone == ("inc-04", "inc-05")


def test_what_is_only_advised_is_grouped_by_its_end(own):
    for number in (0, 1):
        incident = failure(number)
        own.trail.storms.enlist(KEY, incident, NOON)
        own.trail.open_incident(incident, "n", NOON)
        diagnosis = make_diagnosis(incident=incident)
        own.journal.diagnosed(diagnosis)
        own.journal.planned(NoPlan(diagnosis=diagnosis, end="advised", words="look there"))
    _, groups = grouped_now(own, 2)
    assert [(group.verdict, group.members[0].words) for group in groups.storms] == [("advised", "look there")]


def test_a_storm_that_was_opened_is_not_started_again(own):
    for number in (0, 1):
        judged(own, number)
    step, groups = grouped_now(own, 2)
    assert len(step["start"]) == 1
    own.trail.open_incident(groups.storms[0].incident, "n", NOON)
    assert mustering(at=2)["start"] == []


def test_what_an_earlier_muster_has_grouped_is_not_judged_anew(own):
    for number in (0, 1):
        judged(own, number)
    grouped_now(own, 2)
    step = mustering()
    assert (step["judge"], step["start"], step["next"]["roll"]) == ([], [], 2)
