"""What Azure may do to the walk: refuse, throttle, fail, forget, hide; and what of it is kept."""

import pytest

from tests.workflow.theatre import UPDATED, Clock, eventually

DEPLOYMENTS = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
PRIORITY = {"kind": "higher-priority", "remaining": 1}


@pytest.mark.parametrize(
    ("denied", "named"),
    [
        pytest.param("*/deployments/read", f"{DEPLOYMENTS}/read", id="the-deployment"),
        pytest.param("*/eventtypes/values/read", "Microsoft.Insights/eventtypes/values/read", id="the-activity-log"),
        pytest.param(
            "*/mfeOperationsStatus/read",
            "Microsoft.MachineLearningServices/locations/mfeOperationsStatus/read",
            id="the-operation",
        ),
    ],
)
def test_a_read_that_azure_refuses_stops_the_walk_and_names_the_permission(tell, denied, named):
    story = tell({"denied": [{"principal": "medic", "action": denied}]})
    story.put()
    end, words = story.ending()
    assert end in {"advised", "refused"}
    assert f" {named}" in words
    assert story.sends() == []


def test_a_write_that_azure_refuses_names_the_permission_and_is_not_tried_again(tell):
    story = tell({"denied": [{"principal": "medic", "action": "*/deployments/write"}]})
    story.put()
    end, words = story.ending()
    assert end == "not-repaired"
    assert words == f"our identity lacks {DEPLOYMENTS}/write on {story.resource}/deployments/green"
    assert [entry.status for entry in story.sends()] == [403]
    assert [status for _, status in story.intents()] == ["forbidden"]
    story.check_promises()


def test_throttling_is_waited_out_as_long_as_azure_asks_and_does_not_count(tell):
    throttle = {"kind": "throttle", "method": "PUT", "principal": "medic", "retry_after": 1, "times": 2}
    story = tell({"faults": [throttle]}, policy={"actions": {"retry": {"attempts": 1}}})
    story.put()
    assert story.ending()[0] == "repaired"
    assert [entry.status for entry in story.sends()] == [429, 429, 200]
    assert [status for _, status in story.intents()] == ["throttled", "throttled", "accepted"]
    first, second, third = (entry.at for entry in story.sends())
    assert (second - first).total_seconds() >= 1
    assert (third - second).total_seconds() >= 1
    assert len(story.slots()) == 1
    story.check_promises()


def test_reads_that_fail_are_tried_a_few_times_and_then_polled_again(tell):
    failing = {"kind": "error", "method": "GET", "path": "*/deployments/green", "principal": "medic", "status": 503}
    story = tell({"faults": [{**failing, "times": 6}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.records(stage="evidence")[0].facts["polls"] == 2
    assert story.effects() == ["PUT green"]


def test_the_detail_of_a_failure_is_polled_for_until_the_activity_log_shows_it(tell):
    story = tell({"operation_records_missing": True, "activity_log_delay": 1.0})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.records(stage="evidence")[0].facts["polls"] > 1
    assert story.effects() == ["PUT green"]


def test_an_operation_whose_record_has_vanished_is_followed_by_its_resource(tell):
    clock = Clock()
    slow = {"kind": "slow", "after": 1, "lasts": 60}
    story = tell({"operation_records_missing": True, "hazards": [PRIORITY, slow]}, clock=clock)
    story.put()
    story.wait_until_sent()
    story.world.when("get deployment by medic", lambda: clock.jump(120), nth=2)
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        pytest.param("masked", "properties.environmentVariables.LOG_LEVEL is masked", id="masked"),
        pytest.param("nulled", "properties.environmentVariables.LOG_LEVEL is null", id="null"),
    ],
)
def test_a_deployment_whose_variables_azure_hides_is_not_rebuilt(tell, shown, why):
    story = tell({"environment_variables": shown})
    story.put()
    end, words = story.ending()
    assert end == "advised"
    assert words == f"mlw-demo/credit-scoring/green cannot be rebuilt without loss: {why}"
    assert story.sends() == []


def test_a_bad_gateway_that_hid_a_taken_call_is_read_back(tell):
    story = tell({"faults": [{"kind": "truncated", "method": "PUT", "principal": "medic"}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert len(story.sends()) == 1
    story.check_promises()


def test_a_call_that_never_arrived_is_sent_again_under_a_new_intent(tell):
    story = tell({"faults": [{"kind": "reset", "method": "PUT", "principal": "medic"}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert [status for _, status in story.intents()] == ["not-done", "accepted"]
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_a_call_that_azure_rejects_is_judged_anew_until_its_attempts_are_spent(tell):
    broken = {"kind": "broken", "at": "request", "status": 400, "code": "BadRequest", "message": "No.", "after": 1}
    story = tell({"hazards": [PRIORITY, broken]})
    story.put()
    end, _ = story.ending()
    assert end == "not-repaired"
    assert story.effects() == []
    assert {status for _, status in story.intents()} == {"rejected"}
    assert len(story.sends()) <= 3
    story.check_promises()


# ------------------------------------------------------------------------------------------------ what is kept

SECRETS = {
    "AZURE_CLIENT_SECRET": "env-hunter2-Pl4nted",
    "DB": "Server=tcp:db;Password=env-hunter3-Pl4nted",
}


def test_values_of_environment_variables_are_sent_and_nowhere_kept(tell):
    story = tell()
    story.put(spec={"properties": {"environmentVariables": SECRETS}})
    assert story.ending()[0] == "repaired"
    sent = story.sends()[0].body["properties"]["environmentVariables"]
    assert {name: sent[name] for name in SECRETS} == SECRETS
    kept = story.bytes_kept()
    assert b"AZURE_CLIENT_SECRET" in kept  # their names are evidence
    assert b"credit-scoring/green is Succeeded" in kept
    assert b"hunter2" not in kept
    assert b"hunter3" not in kept


def test_secrets_in_logs_and_errors_are_kept_nowhere(tell):
    log = (
        "INFO starting\n"
        "DefaultEndpointsProtocol=https;AccountName=st;AccountKey=bG9nLWtleS1QbDRudGVkLWxvZy1rZXktUGw0bnRlZA==\n"
        "GET https://st.blob.core.windows.net/m?sv=2024&sig=log%2Dsig%2DPl4nted%3D HTTP/1.1\n"
        "Authorization: Bearer eyJ0eXAiOiJKV1Q.log-bearer-Pl4nted.c2ln\n"
        "api_key=log-apikey-Pl4nted-0123456789\n"
        "mail to jane.doe@contoso.example\n"
        "inference-server: exit code 137\n"
    )
    blue = {"name": "blue", "spec": {"properties": {"environmentVariables": SECRETS}}, "logs": {"InferenceServer": log}}
    broken = {
        "kind": "broken",
        "code": "ResourceNotReady",
        "message": "User container has crashed; token=error-token-Pl4nted-0123 of jane.doe@contoso.example",
        "remaining": 1,
    }
    story = tell(
        {
            "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring", "deployments": [blue]}]}],
            "hazards": [broken],
        }
    )
    story.put("blue")
    assert story.ending()[0] == "advised"
    kept = story.bytes_kept()
    assert b"exit code 137" in kept  # the log was read and is evidence
    assert b"User container has crashed" in kept
    for secret in (
        b"hunter2",
        b"hunter3",
        b"bG9nLWtleS1QbDRudGVk",
        b"log%2Dsig",
        b"log-bearer",
        b"log-apikey",
        b"error-token",
    ):
        assert secret not in kept, secret
    assert b"jane.doe" not in kept
    # Reading logs is the only thing that was asked of Azure.
    assert {entry.path.rsplit("/", 1)[-1] for entry in story.world.ledger if entry.principal == "medic"} == {"getLogs"}


def test_the_name_of_a_person_is_kept_nowhere(tell):
    story = tell(UPDATED)
    story.world.principals["person"] = type(story.world.principals["person"])(
        oid="cccccccc-0000-4000-8000-000000000002", appid="aaaaaaaa-0000-4000-8000-000000000002", type="User"
    )
    story.put("blue", who="person")
    story.question()
    event = dict(story.world.raised[0])
    event["data"] = {
        **event["data"],
        "claims": {
            **event["data"]["claims"],
            "name": "Jane Doe",
            "ipaddr": "203.0.113.77",
            "upn": "jane@contoso.example",
        },
    }
    story.deliver({**event, "id": "with-a-name"})
    assert story.dispositions(2) == ["incident", "joined"]
    kept = story.bytes_kept()
    assert b"cccccccc-0000-4000-8000-000000000002" in kept
    for personal in (b"Jane Doe", b"203.0.113.77", b"jane@contoso"):
        assert personal not in kept


def test_a_deployment_with_a_protected_tag_is_never_touched(tell):
    story = tell()
    story.put(spec={"tags": {"Medic": "off"}})
    end, words = story.ending()
    assert (end, words) == ("refused", "not-protected: tag medic=off protects it")
    assert story.sends() == []


def test_repairs_of_a_subscription_stop_when_the_hours_budget_is_spent(tell):
    story = tell(
        {"hazards": [{"kind": "higher-priority", "remaining": 2}]},
        policy={"actions": {"retry": {"budget_per_hour": 1}}},
    )
    story.put()
    end, words = story.ending()
    assert end == "not-repaired"
    assert "budget-left: 1 of 1 repairs by retry are begun in this hour" in words
    assert story.effects() == ["PUT green"]
    assert len(story.slots()) == 1


def test_many_failures_end_one_incident_each_where_policy_judges_each_by_itself(tell):
    names = [f"e{number}" for number in range(6)]
    story = tell(
        {
            "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": name} for name in names]}],
            "hazards": [{"kind": "higher-priority", "remaining": 6}],
            "events": {"deliveries": 3, "shuffle": 0.1},
        },
        policy={"storm": {"from": 0}},
    )
    for name in names:
        story.world.put_deployment("ci", name, "green")
    ended = story.endings(6)
    assert [str(one.end) for one in ended] == ["repaired"] * 6
    dispositions = story.dispositions(18)
    assert dispositions.count("incident") == 6
    assert dispositions.count("duplicate") == 12
    assert len(story.effects()) == 6
    story.check_promises()


def test_a_sweep_of_an_idle_app_starts_nothing(tell):
    story = tell()
    story.sweep()
    assert story.incidents() == []
    eventually(lambda: story.http.get("/api/health").json()["status"] == "ok", "it is not well")


def test_an_azure_that_never_answers_is_asked_no_more_often_than_policy_permits(tell):
    failing = {"kind": "error", "method": "PUT", "path": "*/deployments/green", "principal": "medic", "status": 503}
    story = tell({"faults": [{**failing, "times": None}]}, policy={"actions": {"retry": {"attempts": 2}}})
    story.put()
    end, words = story.ending()
    assert end == "not-repaired"
    assert words.startswith("after 2 calls. Now: attempts-left: this call was sent 2 times")
    assert [status for _, status in story.intents()] == ["not-done", "not-done"]
    assert len(story.sends()) == 2
    story.check_promises()


def test_a_rejected_repair_is_sent_anew_and_told_as_what_it_was(tell):
    rejecting = {
        "kind": "broken",
        "at": "request",
        "status": 400,
        "code": "ValidationError",
        "message": "no",
        "after": 1,
    }
    story = tell({"hazards": [{"kind": "higher-priority", "remaining": 1}, {**rejecting, "after": 1}]})
    story.put()
    end, words = story.ending()
    assert end == "not-repaired"
    assert "Azure rejected the call with 400 (ValidationError)" in words
    sent = [entry.client_request_id for entry in story.sends()]
    assert len(sent) == len(set(sent)) == len(story.intents())
    story.check_promises()
