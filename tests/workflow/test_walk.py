"""The walk on the real app: what may happen to it from outside, and what must come of it all the same."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId

from local import answering
from local.arm.faults import Reset
from remediations import codec, desk
from tests.workflow.theatre import UPDATED, Clock, eventually

CI_EVENT = "com.example.mlops.OnlineDeploymentFailed"
WRITE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write"
LASTING = {"hazards": [{"kind": "higher-priority", "remaining": 1}, {"kind": "slow", "after": 1, "lasts": 600}]}
PRIORITY = {"kind": "higher-priority"}
BUSY = "Cannot create a deployment in endpoint credit-scoring because it is in Updating provisioning state."


def ci_event(story, **data):
    resource = f"{story.resource}/deployments/green"
    return {
        "specversion": "1.0",
        "id": "ci-run-4711",
        "source": "https://ci.example/runs/4711",
        "type": CI_EVENT,
        "subject": resource,
        "data": {"resourceUri": resource, "operationName": WRITE, "status": "Failed", **data},
    }


def alert(story, **context):
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": "/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/a1",
                "monitoringService": "Activity Log - Administrative",
                "monitorCondition": "Fired",
                "firedDateTime": datetime.now(UTC).isoformat(),
            },
            "alertContext": {
                "authorization": {"action": WRITE, "scope": f"{story.resource}/deployments/green"},
                "operationName": WRITE,
                "status": "Failed",
                **context,
            },
        },
    }


# ------------------------------------------------------------------------------------------ the hub is lost


def test_a_hub_lost_after_the_claim_is_made_good_by_the_sweep(tell):
    story = tell()
    lost = story.lose_hub_at("collect")
    story.put()
    story.incident()
    eventually(lambda: lost, "the hub was not lost")
    assert story.host.client.get_orchestration_state(story.incident()) is None

    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_a_hub_lost_before_the_claim_is_made_good_by_the_sweep(tell):
    story = tell()
    lost = story.lose_hub_at("remediate")
    story.put()
    assert story.dispositions(1) == ["incident"]
    eventually(lambda: lost, "the hub was not lost")
    assert story.incidents() == []

    # An event gets its five minutes, which are three seconds here, to be claimed.
    eventually(lambda: story.sweep() or story.incidents(), "the sweep started nothing")
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_a_hub_lost_while_a_person_is_asked_asks_the_same_question_again(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    story.host.backend.lose_hub()

    story.sweep()
    eventually(
        lambda: (
            "wait_for_bell"
            and (state := story.host.client.get_orchestration_state(asked.incident_id))
            and state.runtime_status == OrchestrationStatus.RUNNING
        ),
        "it was not restarted",
    )
    assert story.question() == asked
    assert story.effects() == []
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
    story.check_promises()


def test_an_answer_given_while_the_hub_is_lost_is_acted_on_after_the_sweep(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    story.host.backend.lose_hub()
    answer = story.answer(asked)
    assert (answer.status_code, answer.json()["words"]) == (200, f"approved by {story.approver}")

    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
    story.check_promises()


def test_a_hub_lost_while_our_operation_runs_sends_nothing_twice(tell):
    clock = Clock()
    story = tell(LASTING, clock=clock)
    story.put()
    story.wait_until_sent()
    story.host.backend.lose_hub()
    story.sweep()
    eventually(lambda: len(story.records(stage="incident")) == 1, "no record")
    clock.jump(700)

    assert story.ending() == ("repaired", "mlw-demo/credit-scoring/green is Succeeded: the failure is over")
    assert story.effects() == ["PUT green"]
    assert len(story.sends()) == 1
    story.check_promises()


def test_who_deploys_between_our_repair_and_the_sweep_comes_after_us(tell):
    hazards = [{**PRIORITY, "remaining": 3}]  # CI's, ours, the person's
    story = tell({"hazards": hazards, "events": "none", "activity_log_delay": 0.0})
    lost = story.lose_hub_at("verify")
    story.put()
    eventually(lambda: story.state() == "Canceled", "CI's was not canceled")
    story.submit(ci_event(story))
    eventually(lambda: lost, "the hub was not lost")
    story.put(who="person", spec={"tags": {"fixed": "by hand"}})
    eventually(lambda: not story.world.hazards[0].remaining and story.state() == "Canceled", "it was not canceled")

    story.sweep()
    end, words = story.ending()
    assert end == "nothing-to-do"
    assert words.startswith("mlw-demo/credit-scoring/green was deployed again at ")
    assert story.effects() == ["PUT green"]
    assert story.state() == "Canceled"
    story.check_promises()


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not-landed"])
def test_a_hub_lost_before_our_answer_came_sends_at_most_one_that_lands(tell, landed):
    story = tell()
    if not landed:
        story.world.faults.append(Reset(method="PUT", principal="medic"))
    lost = []

    def lose():
        lost.append(story.host.worker_pid)
        story.host.kill_worker()
        story.host.backend.lose_hub()

    story.world.when("put by medic", lose)
    story.put()
    eventually(lambda: lost, "nothing was sent")
    assert [status for _, status in story.intents()] == [None]
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert len(story.sends()) == (1 if landed else 2)
    story.check_promises()


# -------------------------------------------------------------------------------------- events that come late


def test_a_late_duplicate_of_a_finished_incident_changes_nothing(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    before = story.records()
    story.deliver(story.world.raised[0])
    assert story.dispositions(2) == ["incident", "duplicate"]
    assert story.records() == before
    assert story.effects() == ["PUT green"]
    assert len(story.endings()) == 1


def test_a_late_duplicate_of_a_purged_incident_is_told_by_the_store(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    incident = story.incident()
    eventually(lambda: story.host.client.purge_orchestration(incident).deleted_instance_count, "nothing to purge")
    assert story.host.client.get_orchestration_state(incident) is None
    story.deliver(story.world.raised[0])
    assert story.dispositions(2) == ["incident", "duplicate"]
    assert story.host.client.get_orchestration_state(incident) is None
    assert story.effects() == ["PUT green"]


@pytest.mark.parametrize("purged", [False, True], ids=["finished", "purged"])
def test_a_walk_that_another_nonce_schedules_again_ends_as_a_duplicate(tell, purged):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    incident, client = story.incident(), story.host.client
    before = story.records()
    client.wait_for_orchestration_completion(incident, timeout=10)
    if purged:
        assert client.purge_orchestration(incident).deleted_instance_count == 1
    order = {
        "walk": 1,
        "incident": codec.dump(story.incidents()[0].incident),
        "nonce": "somebody-else",
        "try": 1,
        "scale": 100.0,
    }
    client.schedule_new_orchestration("remediate", input=order, instance_id=incident)
    state = client.wait_for_orchestration_completion(incident, timeout=10)
    assert state.serialized_output == '{"end": "duplicate"}'
    assert story.records() == before
    assert story.effects() == ["PUT green"]


def test_a_walk_under_the_first_nonce_ends_as_a_duplicate_once_it_is_over(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    opened, client = story.incidents()[0], story.host.client
    client.wait_for_orchestration_completion(opened.incident.id, timeout=10)
    order = {"walk": 1, "incident": codec.dump(opened.incident), "nonce": opened.nonce, "try": 1, "scale": 100.0}
    client.schedule_new_orchestration("remediate", input=order, instance_id=opened.incident.id)
    state = client.wait_for_orchestration_completion(opened.incident.id, timeout=10)
    assert state.serialized_output == '{"end": "duplicate"}'
    assert story.effects() == ["PUT green"]


# --------------------------------------------------------------------------------- several events of one failure


def test_an_event_and_ci_with_the_same_correlation_id_are_one_incident(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    correlation = story.world.raised[0]["data"]["correlationId"]
    told = story.submit(ci_event(story, correlationId=correlation.upper()))
    assert told == {
        "disposition": "joined",
        "incident": story.incident(),
        "words": "the failure is known from event-grid",
    }
    assert len(story.endings()) == 1


@pytest.mark.parametrize("activity_log_missing", [False, True], ids=["by-activity-log", "by-last-write"])
def test_an_alert_without_correlation_id_joins_the_incident_of_its_failure(tell, activity_log_missing):
    story = tell({"activity_log_missing": activity_log_missing}, policy={"actions": {"retry": {"mode": "off"}}})
    story.put()
    incident = story.incident()
    told = story.submit(alert(story))
    assert (told["disposition"], told["incident"]) == ("joined", incident)
    assert story.dispositions(2) == ["incident", "joined"]


def test_an_alert_that_comes_first_gets_its_correlation_id_from_the_activity_log(tell):
    story = tell({"events": "none", "activity_log_delay": 0.0})
    story.put()
    eventually(lambda: story.state() == "Canceled", "it was not canceled")
    told = story.submit(alert(story))
    assert told["disposition"] == "incident"
    assert story.ending()[0] == "repaired"
    correlation = story.world.raised[0]["data"]["correlationId"]
    assert story.incidents()[0].incident.correlation_id == correlation
    story.deliver(story.world.raised[0])
    assert story.dispositions(2) == ["incident", "joined"]


def test_events_in_cloud_events_form_are_taken_alike(tell):
    story = tell(schema="cloud-events")
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.dispositions(1) == ["incident"]


# --------------------------------------------------------------------------------------------------- the desk


def test_an_event_for_a_resource_that_is_worked_on_is_parked_and_judged_again(tell):
    clock = Clock()
    story = tell(LASTING, clock=clock)
    story.put()
    story.wait_until_sent()
    story.put(spec={"tags": {"by": "ci"}})  # 409: our operation runs
    assert story.dispositions(2) == ["incident", "parked"]
    assert len(story.incidents()) == 1
    clock.jump(700)

    first, second = story.endings(2)
    assert (str(first.end), str(second.end)) == ("repaired", "nothing-to-do")
    assert first.incident.id != second.incident.id
    assert second.words == "mlw-demo/credit-scoring/green is Succeeded: the failure is over"
    assert story.effects() == ["PUT green"]
    story.check_promises()


@pytest.mark.parametrize("number", [2, 3], ids=["while-parking", "while-leaving"])
def test_what_is_parked_survives_a_worker_that_is_killed_at_the_desk(tell, number):
    clock = Clock()
    story = tell(LASTING, clock=clock)
    killer = story.kill_at("entity", "desk", number)
    story.put()
    story.wait_until_sent()
    story.put(spec={"tags": {"by": "ci"}})
    assert story.dispositions(2) == ["incident", "parked"]
    clock.jump(700)
    first, second = story.endings(2)
    assert (str(first.end), str(second.end)) == ("repaired", "nothing-to-do")
    assert killer.victim is not None
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_a_held_desk_is_waited_for_until_its_lease_ends(tell):
    story = tell()
    green = desk.key_of(f"{story.resource}/deployments/green")
    now = datetime.now(UTC)
    claim = {"owner": "inc-other", "now": now.isoformat(), "until": (now + timedelta(seconds=2)).isoformat()}
    story.host.client.signal_entity(EntityInstanceId("desk", green), "claim", input=claim)
    story.put()
    eventually(lambda: story.incidents() and story.records(stage="wait"), "it does not wait")
    assert [record.facts["words"] for record in story.records(stage="wait")] == ["another incident works on the target"]
    assert story.sends() == []
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert story.intents()[0][0].at >= now + timedelta(seconds=2)


def test_the_desk_is_free_after_a_walk(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    green = EntityInstanceId("desk", desk.key_of(f"{story.resource}/deployments/green"))
    assert story.host.client.get_entity(green).get_state() == '{"owner": null, "until": null, "parked": []}'


def test_what_was_parked_at_a_lost_desk_is_found_by_the_sweep(tell):
    clock = Clock()
    story = tell(LASTING, clock=clock)
    story.put()
    story.wait_until_sent()
    story.put(spec={"tags": {"by": "ci"}})
    assert story.dispositions(2) == ["incident", "parked"]
    story.host.backend.lose_hub()
    clock.jump(700)

    eventually(lambda: story.sweep() or len(story.incidents()) == 2, "the sweep did not find what was parked")
    first, second = story.endings(2)
    assert (str(first.end), str(second.end)) == ("repaired", "nothing-to-do")
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_what_was_parked_at_a_lost_desk_waits_until_the_work_on_its_resource_is_over(tell):
    clock = Clock()
    story = tell(LASTING, clock=clock)
    story.put()
    story.wait_until_sent()
    story.put(spec={"tags": {"by": "ci"}})
    assert story.dispositions(2) == ["incident", "parked"]
    story.host.backend.lose_hub()
    time.sleep(3.5)  # an event's five minutes are three seconds here
    for _ in range(2):
        story.sweep()
    time.sleep(0.5)
    assert len(story.incidents()) == 1
    clock.jump(700)

    eventually(lambda: story.sweep() or len(story.incidents()) == 2, "the sweep did not find what was parked")
    assert [str(one.end) for one in story.endings(2)] == ["repaired", "nothing-to-do"]
    assert story.effects() == ["PUT green"]
    story.check_promises()


@pytest.mark.parametrize("record", ["intake", "opened"])
def test_a_record_that_cannot_be_read_stops_no_other_walk(tell, logged, record):
    story = tell()
    lost = story.lose_hub_at("collect")
    story.put()
    eventually(lambda: lost, "the hub was not lost")
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    name = f"intake/{day}/0-broken" if record == "intake" else "incidents/inc-0/opened"
    story.trail.store.create(name, b'{"at": ')

    story.sweep()
    (incident,) = [one for one in story.trail.incidents() if one != "inc-0"]
    eventually(lambda: story.trail.ended(incident), "it did not go on")
    assert story.effects() == ["PUT green"]
    told = ("intake.unreadable", name) if record == "intake" else ("incident.unreadable", "inc-0")
    assert [(one["event"], one["name"]) for one in logged if one["log_level"] == "error"] == [told]


# ------------------------------------------------------------------------------------------------ the loop guard


def test_events_of_our_own_failed_repair_are_linked_and_start_nothing(tell):
    story = tell({"hazards": [{**PRIORITY, "remaining": 2}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.dispositions(2) == ["incident", "linked"]
    assert story.effects() == ["PUT green", "PUT green"]
    assert [record.facts["event_id"] for record in story.records(stage="linked-event")] == [story.world.raised[1]["id"]]
    story.check_promises()


@pytest.mark.parametrize("deployed", [False, True], ids=["a-create", "an-update"])
def test_an_event_by_our_identity_without_an_intent_raises_an_alarm_and_repairs_nothing(tell, deployed):
    world = UPDATED if deployed else {}
    story = tell(world)
    story.put("blue" if deployed else "green", who="medic", client_request_id="medic-0123456789")
    taken = story.intakes(1)[0]
    assert str(taken.disposition) == "alarm"
    assert taken.words == (
        "our identity caused it, and no intent on the trail says so: somebody may be using our identity"
    )
    assert story.incidents() == []
    assert [entry.client_request_id for entry in story.sends()] == ["medic-0123456789"]


# -------------------------------------------------------------------------------------------- people and questions


def test_a_newer_failure_supersedes_a_question(tell):
    story = tell({**UPDATED, "hazards": [{**PRIORITY, "remaining": 2}]})
    story.put("blue")
    asked = story.question()
    story.put("blue", spec={"tags": {"second": "try"}})
    story.question(after=[asked])
    first, second = story.incidents()
    ended = eventually(lambda: story.trail.ended(first.incident.id), "the first did not end")
    assert str(ended.end) == "superseded"
    assert ended.words == f"a newer failure of the same resource: {second.incident.id}"
    assert story.effects() == []
    assert story.answer(asked).status_code == 409


def test_a_newer_failure_supersedes_a_question_also_while_the_hub_is_lost(tell):
    story = tell({**UPDATED, "hazards": [{**PRIORITY, "remaining": 2}]})
    story.put("blue")
    asked = story.question()
    story.host.backend.lose_hub()
    story.put("blue", spec={"tags": {"second": "try"}})
    assert story.dispositions(2) == ["incident", "incident"]
    story.question(after=[asked])
    story.sweep()
    first = eventually(lambda: story.trail.ended(asked.incident_id), "the first did not end")
    # Its resource was written since, which the new walk sees before it comes to its question.
    assert str(first.end) == "nothing-to-do"
    assert story.effects() == []


def test_a_question_that_nobody_answers_expires(tell):
    story = tell(UPDATED, policy={"approval_window": "PT20S"})
    story.put("blue")
    asked = story.question()
    assert story.ending() == ("expired", "nobody answered in time")
    late = story.answer(asked)
    assert late.status_code == 409
    assert late.json()["error"].startswith("the question is expired: nobody answered in time, at ")
    assert story.effects() == []


def test_a_bell_that_rings_without_an_answer_ends_no_question(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    for _ in range(2):
        story.host.client.raise_orchestration_event(asked.incident_id, f"decided:{asked.plan[:32]}")
    time.sleep(0.3)
    assert story.question() == asked
    assert story.trail.answered(asked.plan) is None
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]


def test_a_rejected_repair_is_not_done(tell):
    story = tell(UPDATED)
    story.put("blue")
    answer = story.answer(story.question(), "reject", comment="we roll back")
    assert answer.status_code == 200
    assert story.ending() == ("rejected", f"rejected by {story.approver}: we roll back")
    assert story.effects() == []


def test_an_approval_of_a_target_that_a_person_has_mended_meanwhile_is_void(tell):
    story = tell({**UPDATED, "events": "none", "activity_log_delay": 0.0})
    story.put("blue")
    eventually(lambda: story.state("blue") == "Canceled", "it was not canceled")
    story.submit(
        {**ci_event(story), "data": {**ci_event(story)["data"], "resourceUri": f"{story.resource}/deployments/blue"}}
    )
    asked = story.question()
    story.put("blue", who="person", spec={"tags": {"fixed": "by hand"}})
    eventually(lambda: story.state("blue") == "Succeeded", "the person's did not succeed")
    assert story.answer(asked).status_code == 200
    assert story.ending() == ("nothing-to-do", "mlw-demo/credit-scoring/blue is Succeeded: the failure is over")
    (void,) = story.records(stage="void")
    assert void.facts["plan"] == asked.plan
    assert "target-unchanged" in str(void.facts["words"])
    assert "nobody-intervened" in str(void.facts["words"])
    assert story.effects() == []


def test_a_link_that_was_not_signed_for_an_open_question_changes_nothing(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    good = story.link(asked)
    signed = {**answering.principal(story.approver), "Accept": "application/json"}
    forged = [
        story.link(asked, key="another-key-0123456789abcdef-0123456789"),  # foreign
        good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],  # changed, and not only in base64's spare bits
        good.replace("/k1.", "/k2."),  # a key that is gone
        "/api/approvals/k1.nothing",
        "/api/approvals/%2e%2e%2f",
        story.link(asked, plan="0" * 64),  # another plan
        story.link(asked, plan="../../incidents"),
    ]
    for link in forged:
        answer = story.http.post(link, json={"decision": "approve"}, headers=signed)
        assert (answer.status_code, answer.json()) == (404, {"error": "No open question for you has this link."}), link
    assert story.question() == asked
    assert story.trail.answered(asked.plan) is None
    assert story.effects() == []


def test_a_link_counts_once(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    assert story.answer(asked).status_code == 200
    again = story.answer(asked, "reject")
    assert again.status_code == 409
    assert again.json()["error"].startswith(f"the question is approved: approved by {story.approver}, at ")
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{}", 403, id="nothing"),
        pytest.param(b"approve", 400, id="no-json"),
        pytest.param(b'{"decision": "approve"}', 403, id="without-the-value-of-the-page"),
        pytest.param(b'{"decision": ["approve"]}', 403, id="list"),
        pytest.param(b"[" * 5000, 400, id="deep"),
    ],
)
def test_an_answer_that_is_neither_yes_nor_no_leaves_the_question_open(tell, body, status):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    headers = {**answering.principal(story.approver), "Content-Type": "application/json", "Accept": "application/json"}
    answer = story.http.post(story.link(asked), content=body, headers=headers)
    assert answer.status_code == status
    assert story.question() == asked


def test_an_approval_under_a_policy_that_has_changed_since_is_void_and_asked_for_again(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    story.theatre.write_policy({"actions": {"retry": {"attempts": 1}}})
    assert story.answer(asked).status_code == 200
    again = story.question(after=[asked])
    assert again.voids == asked.plan
    assert again.differences == (f"policy: was {asked.policy_version}, is {again.policy_version}",)
    assert story.effects() == []
    assert story.answer(again, oid=answering.somebody(2)).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
    story.check_promises()


# ----------------------------------------------------------------------------------------------- policy and mode


def test_an_action_that_policy_turns_off_is_refused(tell):
    story = tell(policy={"actions": {"retry": {"mode": "off"}}})
    story.put()
    assert story.ending() == ("refused", "policy says off for retry")
    assert story.sends() == []


def test_an_action_in_dry_run_by_policy_says_what_it_would_do(tell):
    story = tell(policy={"actions": {"retry": {"mode": "dry-run"}}})
    story.put()
    end, words = story.ending()
    assert end == "dry-run"
    assert words.startswith("in dry run by policy; would deploy mlw-demo/credit-scoring/green again")
    assert story.sends() == []


def test_an_action_on_which_policy_asks_waits_for_a_person(tell):
    story = tell(policy={"actions": {"retry": {"mode": "ask"}}})
    story.put()
    asked = story.question()
    assert story.effects() == []
    story.answer(asked)
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]


def test_an_invalid_policy_written_while_the_app_runs_leaves_the_last_good_one(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    good = story.records()[0].policy_version
    story.theatre.policy_file.write_text("actions: {retry: {mode: whenever}}\n")
    assert story.http.get("/api/health").json() == {"status": "ok", "mode": "auto", "policy": good}
    story.world.hazards[0].remaining = 1
    story.put("red")
    ended = story.endings(2)
    assert [str(one.end) for one in ended] == ["repaired", "repaired"]
    assert {record.policy_version for record in story.records(ended[1].incident.id)} == {good}


def test_a_worker_that_starts_with_an_invalid_policy_does_nothing_until_it_is_mended(tell):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    story.theatre.policy_file.write_text("actions: [")
    victim = story.host.worker_pid
    story.host.kill_worker()
    eventually(lambda: story.host.worker_pid != victim, "no other worker came")
    story.world.hazards[0].remaining = 1
    story.put("red")
    eventually(lambda: len(story.incidents()) == 2, "the second was not claimed")
    second = story.incidents()[1].incident.id
    eventually(
        lambda: (
            (state := story.host.client.get_orchestration_state(second))
            and state.runtime_status == OrchestrationStatus.FAILED
        ),
        "it did not fail",
    )
    assert story.effects() == ["PUT green"]
    story.theatre.write_policy({})
    story.sweep()
    assert [str(one.end) for one in story.endings(2)] == ["repaired", "repaired"]
    assert story.effects() == ["PUT green", "PUT red"]
    story.check_promises()


def test_an_answer_to_one_failure_is_none_to_the_next_that_looks_alike(tell):
    rejecting = {"kind": "broken", "at": "request", "status": 409, "code": "Conflict", "message": BUSY}
    spec = {
        "location": "westeurope",
        "kind": "Managed",
        "sku": {"name": "Default", "capacity": 1},
        "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "environmentVariables": {}},
    }
    story = tell({"hazards": [{**rejecting, "remaining": 2}], "activity_log_delay": 0.0})
    container = f"{story.theatre.server.url}/blobs/desired"
    story.world.seed.blobs["desired/green.json"] = {**spec, "id": f"{story.resource}/deployments/green"}
    story.theatre.write_policy({"desired_specs": {"containers": [container]}})
    url = f"{container}/green.json"
    story.put()
    story.submit(ci_event(story, desiredSpecUri=url))
    first = story.question()
    story.answer(first, "reject")
    assert [str(one.end) for one in story.endings(1)] == ["rejected"]
    story.put()
    story.submit({**ci_event(story, desiredSpecUri=url), "id": "ci-run-4712"})
    second = story.question(after=[first])
    assert second.plan != first.plan
    assert story.effects() == []
