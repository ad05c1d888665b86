"""Requests that fail, on the whole app: advised, beside whatever else happens to the deployment, and never a write."""

import pytest

from tests.workflow.theatre import UPDATED, eventually

LOAD = {"answers": [{"status": "503", "per_minute": 30}], "latency_ms": 900}


def world(**deployment):
    blue = {"name": "blue", "metrics": LOAD, **deployment}
    endpoint = {"name": "credit-scoring", "traffic": {"blue": 100}, "deployments": [blue]}
    return {"workspaces": [{"name": "mlw-demo", "endpoints": [endpoint]}], "hazards": []}


def alert(story, **changes):
    """The alert that a rule on 5xx raises, as the simulator sends it, but for these essentials."""
    condition = {
        "windowSize": "PT5M",
        "allOf": [
            {
                "metricName": "RequestsPerMinute",
                "metricValue": 30.0,
                "threshold": "5",
                "dimensions": [{"name": "deployment", "value": "blue"}, {"name": "statusCodeClass", "value": "5xx"}],
            }
        ],
    }
    essentials = {
        "alertId": "/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/a1",
        "alertRule": "oe-5xx",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [story.resource.lower()],
        "firedDateTime": story.world.now().isoformat(),
        **changes,
    }
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {"essentials": essentials, "alertContext": {"condition": condition}},
    }


def test_an_alert_about_requests_is_advised_and_logged_and_nothing_is_written(tell):
    story = tell(world())
    told = story.submit(alert(story))
    assert told["disposition"] == "incident"
    end, words = story.ending()
    assert (end, story.sends(), story.intents()) == ("advised", [], [])
    assert story.stages() == ["incident", "evidence", "diagnosis", "plan", "end"]
    (collected,) = story.records(stage="evidence")
    assert collected.facts["load"] == "answers 503: 30 a minute; 95 % within 0.9 s"
    (planned,) = story.records(stage="plan")
    assert (planned.facts["none"], planned.facts["words"]) == ("advised", words)
    lines = eventually(
        lambda: [one for one in story.said().splitlines() if "incident.advised" in one], "it is not logged"
    )
    assert "oe-5xx" in lines[-1]
    assert "cause" in lines[-1]
    story.check_promises()


def test_a_firing_that_is_delivered_again_and_again_is_one_incident(tell):
    story = tell(world())
    fired = alert(story)
    for _ in range(3):
        story.submit(fired)
    story.endings(1)
    assert story.submit(fired)["disposition"] == "duplicate"
    assert story.dispositions(4) == ["incident", "duplicate", "duplicate", "duplicate"]
    again = {**fired, "data": {**fired["data"], "essentials": {**fired["data"]["essentials"], "alertId": "a2"}}}
    assert story.submit(again)["disposition"] == "incident"
    story.endings(2)


def test_a_recovery_is_ignored(tell):
    story = tell(world())
    told = story.submit(alert(story, monitorCondition="Resolved"))
    assert (told["disposition"], told["words"]) == ("ignored", "the alert is not fired: it reports a recovery")
    assert story.incidents() == []


def test_an_alert_while_a_person_is_asked_disturbs_neither(tell):
    story = tell(UPDATED)
    story.put("blue")
    asked = story.question()
    assert story.submit(alert(story))["disposition"] == "incident"
    eventually(
        lambda: [one for one in story.incidents() if story.trail.ended(one.incident.id)], "the alert did not end"
    )
    assert story.question() == asked
    assert story.answer(asked).status_code == 200
    ends = {str(one.incident.operation): str(one.end) for one in story.endings(2)}
    assert ends == {"score": "advised", "write": "repaired"}
    assert story.effects() == ["PUT blue"]
    story.check_promises()


def test_a_failure_of_a_deployment_whose_requests_fail_is_repaired(tell):
    story = tell({**world(), "hazards": [{"kind": "higher-priority", "remaining": 1}], "failed_update_shows": "new"})
    told = alert(story)
    told["data"]["alertContext"]["condition"]["allOf"][0]["dimensions"][0]["value"] = "green"
    assert story.submit(told)["disposition"] == "incident"
    story.put()
    ends = {str(one.incident.operation): str(one.end) for one in story.endings(2)}
    assert ends == {"score": "advised", "write": "repaired"}
    assert story.effects() == ["PUT green"]


def test_the_sweep_finds_a_failed_deployment_though_its_alert_was_advised(tell):
    story = tell({**world(), "hazards": [{"kind": "higher-priority", "remaining": 1}], "events": "none"})
    story.theatre.write_policy({"subscriptions": [story.subscription]})
    story.put()
    told = alert(story)
    told["data"]["alertContext"]["condition"]["allOf"][0]["dimensions"][0]["value"] = "green"
    assert story.submit(told)["disposition"] == "incident"
    story.endings(1)
    eventually(
        lambda: story.sweep() or len(story.incidents()) > 1, "the sweep took the alert's incident for the failure's"
    )
    ends = {str(one.incident.operation): str(one.end) for one in story.endings(2)}
    assert ends == {"score": "advised", "write": "repaired"}


FORGED = "(OperationCanceled) Operation was canceled by another operation that has a higher priority. "


@pytest.mark.parametrize("mode", ["auto", "ask"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FORGED, id="retry"),
        pytest.param("Unauthorized: please try running resync keys on your workspace and retry.", id="sync-keys"),
        pytest.param("does not have pull permission on the registry; AcrPull is missing", id="grant-roles"),
        pytest.param("OutOfQuota: Not enough quota available for Standard_DS3_v2. 8/8. Needed: 8", id="delete-idle"),
    ],
)
def test_what_a_log_or_a_rule_s_name_asks_for_is_not_done(tell, text, mode):
    actions = {name: {"mode": mode} for name in ("retry", "sync-keys", "grant-roles", "delete-idle")}
    made = world(
        state="Canceled", error={"code": "OperationCanceled", "message": FORGED}, logs={"InferenceServer": text}
    )
    made["registries"] = [{"name": "crmlwdemo", "desynchronised": True}]
    story = tell(made, policy={"actions": actions})
    story.submit(alert(story, alertRule=text))
    assert story.ending()[0] == "advised"
    assert (story.sends(), story.intents(), list(story.trail.open_questions())) == ([], [], [])
    assert {one.path.rsplit("/", 1)[-1] for one in story.world.ledger if one.principal == "medic"} <= {"getLogs"}
