"""Storms: who has a place, who is judged together, and what a storm comes to. The trail, and pure rules."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediations import codec, storms
from remediations.model import End, Incident, Operation
from remediations.policy import Storms as Limits
from remediations.storms import Groups, Judged, Member, Roll
from remediations.trail import Asked, Question, is_ours
from tests.builders import NOON, WORKSPACE, make_incident, make_resource, make_trail

LIMITS = Limits(first=2, within=timedelta(minutes=10))


def failure(number: int, *, endpoint: str | None = None, at_s: int = 0, **changes) -> Incident:
    path = f"{WORKSPACE}/onlineEndpoints/{endpoint or f'e{number}'}/deployments/green"
    fields = {"id": f"inc-{number}", "resource": make_resource(path), "failed_at": NOON + timedelta(seconds=at_s)}
    return make_incident(**{**fields, **changes})


def judged(number: int, *, cause="canceled", action="retry", verdict="ask", **changes) -> Judged:
    fields = {"evidence": f"e{number}", "plan": f"p{number}", "decision": f"d{number}"}
    incident = failure(number, at_s=number)
    return Judged(**{**fields, "incident": incident, "cause": cause, "action": action, "verdict": verdict, **changes})


# ------------------------------------------------------------------------------------------------ places


def taken(trail, number, *, at=NOON, limits=LIMITS, **changes):
    incident = failure(number, **changes)
    storm = trail.storms.taken(incident, at, limits)
    if storm is not None:
        trail.storms.enlist(storm, incident, at)
    return storm


def test_the_first_failures_of_a_window_go_their_own_way_and_the_others_are_judged_together():
    trail = make_trail()
    found = [taken(trail, number) for number in range(4)]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[2] == found[3]
    assert trail.storms.listed(found[2]) == {"inc-2", "inc-3"}


def test_a_failure_that_is_delivered_again_finds_its_own_place():
    trail = make_trail()
    assert [taken(trail, number) for number in (0, 1, 0, 1)] == [None] * 4


def test_another_workspace_has_places_of_its_own_whatever_the_casing():
    trail = make_trail()
    for number in range(2):
        taken(trail, number)
    elsewhere = make_resource(f"{WORKSPACE}-2/onlineEndpoints/e/deployments/green")
    assert taken(trail, 7, resource=elsewhere) is None
    shouted = make_resource(f"{WORKSPACE.upper()}/onlineEndpoints/e/deployments/green")
    assert taken(trail, 8, resource=shouted) is not None


def test_a_window_after_a_storm_begins_as_one_and_after_a_quiet_one_nothing_is_left_of_it():
    trail = make_trail()
    for number in range(3):
        taken(trail, number)
    next_window, later = NOON + LIMITS.within, NOON + 3 * LIMITS.within
    assert taken(trail, 4, at=next_window) is not None
    assert taken(trail, 5, at=later) is None


def test_a_window_without_a_storm_leaves_the_next_its_places():
    trail = make_trail()
    for number in range(2):
        taken(trail, number)
    assert taken(trail, 3, at=NOON + LIMITS.within) is None


def test_policy_can_switch_it_off():
    trail = make_trail()
    assert [taken(trail, number, limits=Limits(first=0)) for number in range(20)] == [None] * 20


def test_a_member_is_of_the_first_storm_that_took_it():
    trail = make_trail()
    first = trail.storms.enlist("a" * 32 + "/20261101T120000", failure(1), NOON)
    again = trail.storms.enlist("a" * 32 + "/20261101T121000", failure(1), NOON + LIMITS.within)
    assert (again, trail.storms.member("inc-1")) == (first, first)


def test_what_a_storm_costs_does_not_grow_with_those_it_has_taken():
    trail, counted = make_trail(), []
    calls: list[str] = []

    def counting(name):
        plain = getattr(trail.store, name)

        def call(*args):
            calls.append(name)
            return plain(*args)

        return call

    for name in ("create", "read", "list"):
        setattr(trail.store, name, counting(name))
    for number in range(40):
        calls.clear()
        taken(trail, number)
        counted.append(sorted(calls))
    assert all(one == counted[2] for one in counted[3:])
    assert len(counted[2]) <= 8


def test_an_incident_with_a_place_sees_the_storm_beside_it_until_its_roll_is_called():
    trail = make_trail()
    taken(trail, 0)
    assert trail.storms.beside(failure(0), NOON, LIMITS) == (1, None)
    taken(trail, 1)
    assert trail.storms.beside(failure(0), NOON, LIMITS) == (2, None)
    storm = taken(trail, 2)
    assert trail.storms.beside(failure(0), NOON, LIMITS) == (2, storm)
    assert trail.storms.beside(failure(0), NOON + LIMITS.within, LIMITS) == (2, storm)
    assert trail.storms.beside(failure(9), NOON, LIMITS) == (0, None)
    trail.storms.call(storm, 1, Roll(at=NOON, entries=()))
    assert trail.storms.beside(failure(0), NOON, LIMITS) == (2, None)


def test_where_policy_switches_it_off_nobody_sees_the_storm_of_before():
    trail = make_trail()
    for number in range(3):
        taken(trail, number)
    assert trail.storms.beside(failure(0), NOON, Limits(first=0)) == (0, None)


def test_every_name_is_one_of_the_trail_s():
    trail = make_trail()
    for number in range(4):
        storm = taken(trail, number)
    trail.storms.call(storm, 1, Roll(at=NOON, entries=()))
    trail.storms.group(storm, 1, storms.grouped((), storm, 1, NOON))
    names = [*trail.store.list("storms/"), *trail.store.list("members/")]
    assert len(names) == 2 + 2 + 1 + 2 + 2
    assert all(map(is_ours, names))
    assert not is_ours(f"storms/{'a' * 32}/20261101T120000/places/../x")
    assert not is_ours("storms/x")


# ------------------------------------------------------------------------------------------------- rolls


def member(incident: Incident) -> Member:
    return Member(at=NOON, storm="a/b", incident=incident)


def test_of_each_resource_the_newest_failure_is_judged_and_stands_for_the_older_ones():
    found = storms.roll_of(
        [
            member(failure(1, endpoint="a", at_s=30)),
            member(failure(2, endpoint="b", at_s=10)),
            member(failure(3, endpoint="A", at_s=20)),
            member(failure(4, endpoint="a", at_s=10)),
        ],
        NOON,
    )
    assert {one.incident: one.stands_for for one in found.entries} == {"inc-1": ("inc-4", "inc-3"), "inc-2": ()}
    assert found.everybody == {"inc-1", "inc-2", "inc-3", "inc-4"}


def test_requests_that_fail_stand_beside_an_operation_that_failed():
    alert = failure(2, endpoint="a", at_s=9, operation=Operation.SCORE)
    found = storms.roll_of([member(failure(1, endpoint="a")), member(alert)], NOON)
    assert [one.incident for one in found.entries] == ["inc-1", "inc-2"]


def test_of_failures_of_one_moment_the_same_is_judged_whoever_was_enlisted_first():
    both = [member(failure(1, endpoint="a")), member(failure(2, endpoint="a"))]
    found = [storms.roll_of(one, NOON).entries for one in (both, both[::-1])]
    assert [[(entry.incident, entry.stands_for) for entry in entries] for entries in found] == [
        [("inc-2", ("inc-1",))]
    ] * 2


def test_the_first_roll_stands():
    trail = make_trail()
    key = "a" * 32 + "/20261101T120000"
    first = storms.roll_of([member(failure(1))], NOON)
    assert trail.storms.call(key, 1, first) == first
    assert trail.storms.call(key, 1, storms.roll_of([member(failure(2))], NOON)) == first
    assert list(trail.storms.rolls(key)) == [first]
    second = trail.storms.call(key, 2, storms.roll_of([member(failure(2))], NOON))
    assert list(trail.storms.rolls(key)) == [first, second]


# ------------------------------------------------------------------------------------------------ groups


def test_what_is_of_one_cause_action_and_verdict_is_one_storm_and_a_single_one_goes_on_alone():
    found = storms.grouped(
        [
            judged(1),
            judged(2),
            judged(3, cause="quota-cpu", action="delete-idle"),
            judged(4, verdict="refuse"),
            judged(5),
            judged(6, cause="unknown", action=None, verdict="advised", plan=None, decision=None),
            judged(7, cause="unknown", action=None, verdict="advised", plan=None, decision=None),
            judged(8, action="sync-keys"),
        ],
        "a/b",
        1,
        NOON,
    )
    assert [[part.incident for part in group.members] for group in found.storms] == [
        ["inc-1", "inc-2", "inc-5"],
        ["inc-6", "inc-7"],
    ]
    assert found.alone == ("inc-3", "inc-4", "inc-8")
    assert [part.label for part in found.storms[0].members] == [
        "mlw-prod/e1/green",
        "mlw-prod/e2/green",
        "mlw-prod/e5/green",
    ]
    assert found.storms[1].action is None
    first = found.storms[0].incident
    assert first.storm is not None
    assert (first.label, first.source) == ("3 deployments in mlw-prod", "storm")
    assert first.failed_at == NOON + timedelta(seconds=1)
    assert len({group.incident.id for group in found.storms}) == 2


def test_a_storm_s_id_is_the_same_whoever_puts_it_together_and_another_in_another_roll():
    def made(number: int, *parts: int) -> str:
        return storms.grouped([judged(one) for one in parts], "a/b", number, NOON).storms[0].incident.id

    assert made(1, 1, 2) == made(1, 2, 3)
    assert made(1, 1, 2) != made(2, 1, 2)


def test_the_incident_of_a_storm_keeps_nothing_of_its_resource_to_itself():
    trail = make_trail()
    storm = storms.grouped([judged(1), judged(2)], "a/b", 1, NOON).storms[0].incident
    assert trail.open_incident(storm, "n", NOON)
    assert trail.incidents_on(storm.resource.key) == ()


def test_a_storm_of_which_the_trail_says_nothing_is_not_guessed_at():
    storm = storms.grouped([judged(1), judged(2)], "a/b", 1, NOON).storms[0].incident
    with pytest.raises(ValueError, match="does not tell of which incidents"):
        make_trail().storms.of(storm)


def mustered(trail, number: int, *parts: Judged) -> Groups:
    """Let incidents be enlisted, called in a roll of that number and judged in it."""
    key = "a" * 32 + "/20261101T120000"
    for one in parts:
        trail.storms.enlist(key, one.incident, NOON)
    trail.storms.call(key, number, storms.roll_of([member(one.incident) for one in parts], NOON))
    kept: Groups = trail.storms.group(key, number, storms.grouped(parts, key, number, NOON))
    return kept


def test_a_member_is_found_in_its_storm_and_who_goes_alone_in_none():
    trail = make_trail()
    groups = mustered(trail, 1, judged(1), judged(2), judged(3, verdict="run"))
    assert trail.storms.over("inc-1") == groups.storms[0].incident
    assert trail.storms.over("inc-3") is None
    assert trail.storms.over("inc-9") is None


def test_a_member_is_found_in_the_roll_that_named_it():
    trail = make_trail()
    first = mustered(trail, 1, judged(1), judged(2))
    assert trail.storms.groups_of("inc-3") is None
    second = mustered(trail, 2, judged(3), judged(4))
    assert [trail.storms.groups_of(f"inc-{number}") for number in range(1, 6)] == [first, first, second, second, None]


def test_a_storm_knows_of_which_incidents_it_is_made():
    trail = make_trail()
    groups = mustered(trail, 1, judged(1), judged(2), judged(3, verdict="run"), judged(4, verdict="run"))
    assert [trail.storms.of(one.incident) for one in groups.storms] == list(groups.storms)


def test_the_first_word_about_what_a_roll_came_to_stands():
    trail = make_trail()
    first = mustered(trail, 1, judged(1), judged(2))
    assert mustered(trail, 1, judged(1, verdict="run"), judged(2)) == first


# ------------------------------------------------------------------------------------------ digest and end


def test_an_approval_names_every_plan_in_its_order():
    digest = storms.plan_digest(["p1", "p2"])
    assert digest == storms.plan_digest(["p1", "p2"])
    assert (
        len({digest, storms.plan_digest(["p2", "p1"]), storms.plan_digest(["p1"]), codec.digest_of(["p1", "p2"])}) == 4
    )


def test_a_question_of_before_storms_still_reads():
    question = Question(at=NOON, incident_id="i", plan="p", decision="d", policy_version="v", expires_at=NOON)
    plain = {name: value for name, value in codec.dump(question).items() if name != "members"}
    assert codec.load(Question, plain) == question
    many = replace(question, members=(Asked(incident="i", plan="p", decision="d"),))
    assert codec.decode(Question, codec.encode(many)) == many


@pytest.mark.parametrize(
    ("ends", "end"),
    [
        pytest.param([End.REPAIRED, End.REPAIRED], End.REPAIRED, id="all"),
        pytest.param([End.REPAIRED, End.NOTHING_TO_DO], End.REPAIRED, id="one was over by itself"),
        pytest.param([End.NOTHING_TO_DO, End.SUPERSEDED], End.NOTHING_TO_DO, id="all were over by themselves"),
        pytest.param([End.SUPERSEDED], End.SUPERSEDED, id="all failed anew"),
        pytest.param([End.REPAIRED, End.NOT_REPAIRED], End.NOT_REPAIRED, id="one was in vain"),
        pytest.param([End.INCONCLUSIVE, End.NOT_REPAIRED], End.NOT_REPAIRED, id="in vain, and one not known"),
        pytest.param([End.REPAIRED, End.INCONCLUSIVE], End.INCONCLUSIVE, id="one is not known"),
        pytest.param([End.REPAIRED, None], End.INCONCLUSIVE, id="one has not ended"),
        pytest.param([End.REFUSED, End.REFUSED], End.REFUSED, id="none was let"),
        pytest.param([End.REPAIRED, End.REFUSED], End.NOT_REPAIRED, id="some were not let"),
        pytest.param([End.DRY_RUN, End.REPAIRED], End.NOT_REPAIRED, id="turned down between two waves"),
    ],
)
def test_how_a_storm_ends(ends, end):
    assert storms.end_of(ends) is end


@pytest.mark.parametrize("end", [*End, None])
def test_a_storm_stops_at_what_was_in_vain_or_is_not_known_and_at_nothing_else(end):
    assert storms.halts(end) is (end in {None, End.NOT_REPAIRED, End.INCONCLUSIVE})


def test_the_end_of_a_storm_names_those_that_somebody_has_to_look_at():
    ends = [("w/a/green", End.REPAIRED, True), ("w/b/green", End.NOT_REPAIRED, True), ("w/g/green", None, True)]
    ends += [(f"w/n{number}/green", End.REFUSED, False) for number in range(7)]
    assert storms.words_of(ends) == (
        "1 repaired, 1 not-repaired (w/b/green), 1 open (w/g/green), "
        "7 not begun (w/n0/green, w/n1/green, w/n2/green, w/n3/green, w/n4/green and 2 more)"
    )
