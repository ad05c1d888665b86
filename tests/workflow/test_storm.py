"""Storms: many failures of one workspace become one incident, one question and one card, and a ramp that stops."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediations import codec, storms
from remediations.policy import Pause
from remediations.storms import Part
from remediations.trail import Ended, Opened, Question
from tests.workflow.test_walk_people import Channel, text_of
from tests.workflow.theatre import Story, Theatre, eventually

NAMES = tuple(f"e{number:02d}" for number in range(8))


@pytest.fixture(scope="module")
def channel() -> Iterator[Channel]:
    opened = Channel()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def theatre(tmp_path_factory, channel) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("storm"), env={"MEDIC_TEAMS_URL": channel.url}) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(channel):
    channel.forget()


def stormy(mode: str = "auto", first: int = 1, **retry: Any) -> dict[str, Any]:
    """A policy in which the second failure of a workspace begins a storm."""
    storm = {"from": first, "within": "P1D", "calm": "PT60S"}
    return {"storm": storm, "actions": {"retry": {"mode": mode, "backoff": "PT0S", **retry}}}


def hit(tell, names=NAMES, *, policy=None, remaining: int = 1, is_apart: bool = True, **world: Any) -> Story:
    """Let a deployment of one endpoint after the other be canceled by something of a higher priority.

    Args:
        is_apart: The first is over, or has asked, before the others fail: it joins no storm.
    """
    seed = {
        "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": name} for name in names]}],
        "hazards": [{"kind": "higher-priority", "endpoint": name, "remaining": remaining} for name in names],
        **world,
    }
    story = tell(seed, policy=policy or stormy())
    for name in names:
        story.world.put_deployment("ci", name, "green")
        if is_apart and name == names[0]:
            eventually(lambda: has_gone(story), lambda: f"it did not go its way:\n{story.said()}")
    return story


def has_gone(story: Story) -> bool:
    return any({"question", "end"} & set(story.stages(one.incident.id)) for one in story.incidents())


def asked_of_many(story: Story) -> Question:
    found = eventually(
        lambda: [one for one in story.trail.open_questions() if one.members],
        lambda: f"nobody was asked:\n{story.said()}",
    )
    assert len(found) == 1
    return found[0]


def storm_of(story: Story) -> Opened:
    found = eventually(
        lambda: [one for one in story.incidents() if one.incident.storm is not None],
        lambda: f"no storm was opened:\n{story.said()}",
    )
    assert len(found) == 1
    return found[0]


def end_of(story: Story, incident: str) -> Ended:
    found = eventually(lambda: story.trail.ended(incident), lambda: f"{incident} did not end:\n{story.said()}", 40)
    assert found is not None
    return found


def members(story: Story) -> list[Part]:
    return list(story.trail.storms.of(storm_of(story).incident).members)


def ends_of(story: Story) -> list[str]:
    return [str(end_of(story, part.incident).end) for part in members(story)]


def ramp(story: Story) -> list[list[str]]:
    """The endpoints whose deployments were run again, in the ramp's waves: what was sent before the one ahead ended."""
    group = {part.incident: part.label.split("/")[1] for part in members(story)}
    intents = [intent for intent, _ in story.intents() if intent.incident_id in group]
    waves: list[list[str]] = []
    over = None
    for intent in intents:
        if over is None or intent.at > over:
            waves.append([])
            over = None
        waves[-1].append(group[intent.incident_id])
        done = story.trail.ended(intent.incident_id)
        assert done is not None
        over = min(done.at, over or done.at)
    return waves


def test_failures_after_the_first_become_one_incident_that_repairs_them_one_two_four(tell, channel):
    story = hit(tell, NAMES[:8])
    storm = storm_of(story).incident
    assert end_of(story, storm.id).words == "7 deployments in mlw-demo: 7 repaired"
    assert [len(wave) for wave in ramp(story)] == [1, 2, 4]
    assert ends_of(story) == ["repaired"] * 7
    assert len(story.endings(9)) == 9
    assert len(story.effects()) == 8
    eventually(lambda: len(channel.taken) == 2, "not all was told")
    assert channel.titles() == ["Repaired", "Repaired"]
    assert {one.incident_id for one in story.intakes(8) if one.storm} == {part.incident for part in members(story)}
    story.check_promises()


def test_one_question_is_for_all_and_its_approval_is_one_of_each_plan(tell, channel):
    story = hit(tell, NAMES[:5], policy=stormy("ask", first=2), is_apart=False)
    asked = story.question()
    parts = members(story)
    assert [one.plan for one in asked.members] == [part.plan for part in parts]
    assert len(parts) == 5, "those that had places asked nobody, and joined"
    assert asked.plan == storms.plan_digest(part.plan or "" for part in parts)
    assert story.answer(asked).status_code == 200
    assert end_of(story, asked.incident_id).end == "repaired"
    assert ends_of(story) == ["repaired"] * 5
    for part in parts:
        final, said = story.trail.answered(asked.plan), story.trail.answered(part.plan or "")
        assert final is not None
        assert said is not None
        assert said.words == f"with storm {asked.incident_id}: {final.words}"
        assert [record.actor.oid for record in story.records(part.incident, "answer")] == [said.by.oid]
        assert story.records(part.incident, "told") == []
    eventually(lambda: len(channel.taken) == 3, "not all was told")
    assert channel.titles() == ["Approve many repairs at once?", "Many repairs approved at once", "Repaired"]
    assert {part.label for part in parts} <= set(text_of(channel.taken[0]))
    story.check_promises()


@pytest.mark.parametrize(("decision", "end"), [("reject", "rejected"), ("nobody", "expired")])
def test_without_an_approval_nothing_is_done_and_each_member_ends_so(tell, decision, end):
    late = {"approval_window": "PT3M"} if decision == "nobody" else {}
    story = hit(tell, NAMES[:3], policy={**stormy("ask"), **late})
    asked = asked_of_many(story)
    if decision == "reject":
        assert story.answer(asked, "reject", comment="not now").status_code == 200
    assert end_of(story, asked.incident_id).end == end
    assert ends_of(story) == [end] * 2
    assert story.sends() == []


def test_the_ramp_stops_at_the_first_that_is_not_repaired_and_names_what_it_did_not_begin(tell, channel):
    story = hit(tell, NAMES[:4], policy=stormy(attempts=1), remaining=100)
    storm = storm_of(story).incident
    over = end_of(story, storm.id)
    first = members(story)[0].label
    assert over.end == "not-repaired"
    assert over.words.startswith(f"3 deployments in mlw-demo: 1 not-repaired ({first}), 2 not begun (mlw-demo/")
    assert ends_of(story) == ["not-repaired", "refused", "refused"]
    ours = {part.incident for part in members(story)}
    assert len([intent for intent, _ in story.intents() if intent.incident_id in ours]) == 1
    eventually(lambda: "Not all repaired: a person has to look" in channel.titles(), "nobody was told")


def test_in_dry_run_by_policy_a_storm_ends_with_what_would_be_done_for_how_many(tell, channel):
    story = hit(tell, NAMES[:4], policy=stormy("dry-run"))
    over = end_of(story, storm_of(story).incident.id)
    assert over.end == "dry-run"
    assert over.words == (
        "3 deployments in mlw-demo: in dry run by policy; would "
        "deploy mlw-demo/e01/green again with the body that GET shows"
    )
    assert ends_of(story) == ["dry-run"] * 3
    assert (story.sends(), channel.taken) == ([], [])


def test_advice_about_many_is_told_once(tell, channel):
    broken = {"kind": "broken", "code": "UserError", "message": "flux group 7"}
    story = hit(tell, NAMES[:5], policy=stormy(first=2), is_apart=False, hazards=[broken])
    over = end_of(story, storm_of(story).incident.id)
    assert over.end == "advised"
    assert ends_of(story) == ["advised"] * 5
    eventually(lambda: channel.taken, "nobody was told")
    assert channel.titles() == ["Many failures, no repair by itself: a person has to act"]


def test_a_member_whose_target_has_changed_is_left_out_and_the_others_are_repaired(tell):
    story = hit(tell, NAMES[:4], policy=stormy("ask"))
    asked = asked_of_many(story)
    parts = members(story)
    changed = parts[1].label.split("/")[1]
    story.world.put_deployment("person", changed, "green")

    def is_up() -> bool:
        body = story.world.deployment(changed, "green")
        return body is not None and body["properties"]["provisioningState"] == "Succeeded"

    eventually(is_up, "the person's deployment did not come up")
    assert story.answer(asked).status_code == 200
    assert end_of(story, asked.incident_id).words == "3 deployments in mlw-demo: 2 repaired, 1 nothing-to-do"
    assert ends_of(story) == ["repaired", "nothing-to-do", "repaired"]
    assert {intent.incident_id for intent, _ in story.intents()} == {parts[0].incident, parts[2].incident}


def test_a_newer_failure_of_a_member_takes_it_out_of_what_is_approved(tell):
    story = hit(tell, NAMES[:4], policy=stormy("ask"), remaining=100)
    asked = asked_of_many(story)
    parts = members(story)
    again = parts[0].label.split("/")[1]
    story.world.put_deployment("ci", again, "green")
    eventually(lambda: story.trail.answered(parts[0].plan or ""), "the newer failure superseded nothing")
    story.answer(asked)
    end_of(story, asked.incident_id)
    said = story.trail.answered(parts[0].plan or "")
    assert said is not None
    assert said.approved is None
    assert end_of(story, parts[0].incident).end in {"superseded", "nothing-to-do"}
    assert parts[0].incident not in {intent.incident_id for intent, _ in story.intents()}


def test_an_order_that_names_a_storm_makes_no_member_run_that_nobody_approved(tell):
    """The proof is the trail, not the order of the hub."""
    story = hit(tell, NAMES[:4], policy=stormy("ask"))
    asked = asked_of_many(story)
    part = members(story)[0]
    opened = story.trail.opened(part.incident)
    assert opened is not None
    order = {"walk": 1, "incident": codec.dump(opened.incident), "nonce": opened.nonce, "try": 1, "scale": 100.0}
    story.host.client.schedule_new_orchestration(
        "remediate", input={**order, "storm": asked.incident_id}, instance_id=part.incident
    )
    assert end_of(story, part.incident).words.startswith("a person has to approve it")
    assert story.sends() == []


@pytest.mark.parametrize(
    ("name", "number"),
    [pytest.param("muster", 3, id="while it judges"), pytest.param("wave", 2, id="between two waves")],
)
def test_a_worker_that_is_killed_in_a_storm_loses_and_doubles_nothing(tell, name, number):
    story = hit(tell, NAMES[:4])
    killer = story.kill_at("activity", name, number)
    assert end_of(story, storm_of(story).incident.id).end == "repaired"
    assert killer.victim is not None
    assert ends_of(story) == ["repaired"] * 3
    assert len(story.effects()) == 4
    story.check_promises()


@pytest.mark.parametrize("name", ["muster", "execute"])
def test_a_storm_outlives_the_loss_of_the_hub(tell, name):
    story = hit(tell, NAMES[:4])
    lost = story.lose_hub_at(name)
    eventually(lambda: lost, "the hub was not lost")
    eventually(lambda: len(story.intakes(4)) == 4, "not all were told of")

    def over() -> bool:
        story.sweep()
        found = [story.trail.ended(one.incident.id) for one in story.incidents()]
        return len(found) >= 4 and all(one is not None for one in found)

    eventually(over, lambda: f"not all ended:\n{story.said()}", 40)
    assert len(story.effects()) == 4
    story.check_promises()


def when_handed_out(story: Story, name: str, number: int, do: Callable[[], object]) -> None:
    """Do something once the nth piece of work of a name is handed out, before it is at work."""
    seen: list[str] = []

    def look(_kind: str, handed_out: str, instance_id: str) -> None:
        if handed_out == name:
            seen.append(instance_id)
            if len(seen) == number:
                do()

    story.host.backend.on_hand_out = look


@pytest.mark.parametrize("mode", ["auto", "ask"])
def test_a_pause_between_two_waves_stops_what_was_not_begun(tell, mode):
    story = hit(tell, NAMES[:5], policy=stormy(mode))
    pause = Pause(until=datetime.now(UTC) + timedelta(hours=1), reason="release night")
    when_handed_out(story, "wave", 2, lambda: story.trail.pause(pause, "p1"))
    if mode == "ask":
        story.answer(asked_of_many(story))
    over = end_of(story, storm_of(story).incident.id)
    assert over.words.startswith("4 deployments in mlw-demo: 1 repaired, 3 refused (")
    assert ends_of(story) == ["repaired", "refused", "refused", "refused"]
    words = {end_of(story, part.incident).words for part in members(story)[1:]}
    assert all("release night" in one for one in words), words
    assert [intent.incident_id for intent, _ in story.intents()][-1] == members(story)[0].incident


@pytest.mark.parametrize("lowered", ["off", "dry-run"])
def test_a_mode_that_is_lowered_between_two_waves_holds_for_what_was_not_begun(tell, theatre, lowered):
    story = hit(tell, NAMES[:5], policy=stormy("ask"))
    when_handed_out(story, "wave", 2, lambda: theatre.write_policy(stormy(lowered)))
    story.answer(asked_of_many(story))
    end_of(story, storm_of(story).incident.id)
    assert ends_of(story)[0] == "repaired"
    assert set(ends_of(story)[1:]) <= {"refused", "dry-run"}
    assert len({intent.incident_id for intent, _ in story.intents()} & {one.incident for one in members(story)}) == 1


def test_what_a_storm_leaves_when_a_step_of_it_fails_ends_with_it_and_is_not_sent_at_once(tell, channel):
    story = hit(tell, NAMES[:5])
    aside = story.theatre.folder / "groups"

    def groups() -> Path:
        (found,) = (story.theatre.folder / "trail" / "storms").glob("*/*/groups/0001")
        return found

    when_handed_out(story, "wave", 2, lambda: groups().rename(aside))
    storm = storm_of(story).incident
    assert end_of(story, storm.id).words == "a step failed: ValueError"
    aside.rename(next((story.theatre.folder / "trail" / "storms").glob("*/*/groups")) / "0001")
    story.sweep()
    assert ends_of(story) == ["repaired", "inconclusive", "inconclusive", "inconclusive"]
    assert end_of(story, members(story)[1].incident).words == f"not begun: storm {storm.id} ended before"
    assert len(story.effects()) == 2
    eventually(lambda: len(channel.taken) == 2, "not all was told")
    story.check_promises()


def test_one_sync_serves_every_member_of_a_storm(tell):
    policy = {**stormy("off"), "actions": {"sync-keys": {"mode": "ask", "budget_per_hour": 20}}}
    registries = [{"name": "crmlwdemo", "keys_regenerated": 3600}]
    story = hit(tell, NAMES[:4], policy=policy, registries=registries, hazards=[])
    asked = asked_of_many(story)
    assert story.answer(asked).status_code == 200
    assert end_of(story, asked.incident_id).words == "3 deployments in mlw-demo: 3 repaired"
    assert story.effects()[:1] == ["POST resyncKeys"]
    assert sorted(story.effects()[1:]) == ["PUT green"] * 3


def test_a_budget_holds_through_the_ramp(tell):
    story = hit(tell, NAMES[:5], policy=stormy(budget_per_hour=3))
    over = end_of(story, storm_of(story).incident.id)
    assert (over.end, len(story.effects())) == ("not-repaired", 3)
    assert sorted(ends_of(story)) == ["refused", "refused", "repaired", "repaired"]


def test_a_storm_is_asked_about_by_the_strictest_of_what_holds_for_each(tell):
    listed = [str(uuid.uuid4()) for _ in range(3)]
    approvers = {"role": "", "users": listed}
    strict = {"scope": {"endpoint": "e02"}, "actions": ["retry"], "quorum": 2, "approvers": approvers}
    story = hit(tell, NAMES[:3], policy={**stormy("ask"), "rules": [strict]})
    asked = asked_of_many(story)
    started = [story.trail.opened(part.incident) for part in members(story)]
    assert asked.quorum == 2
    assert {one.role for one in asked.approvers} == {"", "Medic.Approver"}
    assert {one.incident.caller.oid for one in started if one is not None} <= set(asked.callers)
    assert story.answer(asked, oid=str(uuid.uuid4())).status_code == 404, "an approver of one is none of both"
    for oid in listed[:2]:
        assert story.answer(asked, oid=oid).status_code == 200
    assert end_of(story, asked.incident_id).end == "repaired"
