"""An incident on record -> a scenario: which names it keeps, what it leaves out, and what it says of that."""

import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from local import rehearsal
from local.recasting.recast import EARLIER, Recast, recast
from local.recasting.record import NotRecorded, Recorded, read
from local.recasting.writing import write
from remediations import policy
from remediations.actions import ACTIONS
from remediations.model import (
    Absent,
    Answers,
    End,
    ErrorDetail,
    Evidence,
    Found,
    Identity,
    Load,
    Operation,
    Scoring,
    Surroundings,
    Unknown,
)
from remediations.policy import Pause, Scope
from remediations.services import EvidenceStore
from remediations.trail import Ended
from tests.builders import (
    CORRELATION,
    ENDPOINT,
    FAILED_AT,
    IDENTITY,
    NOON,
    SOMEBODY,
    SUBSCRIPTION,
    WORKSPACE,
    MemoryStore,
    make_access,
    make_candidate,
    make_diagnosis,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_journal,
    make_operation,
    make_quota,
    make_registry,
    make_resource,
    make_situation,
    make_state,
    make_trail,
    make_workspace,
)

# What the simulator's own deployments have.
PLAIN: dict[str, Any] = {
    "model": f"{WORKSPACE}/models/credit/versions/7",
    "environment": f"{WORKSPACE}/environments/sklearn-inf/versions/12",
    "environment_names": ("LOG_LEVEL",),
}
SHIPPED = policy.load(rehearsal.SHIPPED_POLICY)


def recorded(
    evidence: Evidence, *, cause: str = "unknown", end: End = End.ADVISED, words: str = "so it ended", **changes: Any
) -> Recorded:
    """An incident with this evidence, as it is read back from a trail."""
    trail, store, incident = make_trail(), EvidenceStore(MemoryStore()), evidence.incident
    trail.open_incident(incident, "nonce-1", NOON)
    journal = make_journal(trail)
    journal.opened(incident)
    digest = store.put(evidence)
    journal.collected(evidence, digest, 1)
    journal.diagnosed(make_diagnosis(incident=incident, evidence=digest, cause_id=cause))
    trail.end_incident(Ended(at=NOON, end=end, words=words, incident=incident, cause_id=cause))
    return replace(read(trail, store, incident.id), **changes)


def failed(code: str = "UserError", message: str = "The flux group is not aligned.", **changes: Any) -> Evidence:
    """A create that failed with this error."""
    error = ErrorDetail(code=code, message=message, depth=0)
    fields: dict[str, Any] = {
        "resource": Found(make_state(**PLAIN, provisioning_state="Failed")),
        "operation": Found(make_operation(status="Failed", code=code, errors=(error,))),
        "activity": Found(()),
        "history": Found(()),
    }
    return make_evidence(**{**fields, **changes})


def made(one: Recorded) -> Recast:
    return recast(one, SHIPPED)


def the_world(one: Recorded) -> dict[str, Any]:
    return made(one).scenario.world


# ----------------------------------------------------------------------------------------------- the names


def test_names_stay_as_they_were_and_the_subscription_is_the_rehearsals_own():
    around = Surroundings(
        workspace=Found(make_workspace(location="northeurope")),
        registry=Found(make_registry()),
        access=Found((make_access(), make_access(need="read", role_name="Storage Blob Data Reader", held=True))),
    )
    endpoint = make_endpoint_state(identity="UserAssigned", identities=(Identity(path=IDENTITY),))
    one = recorded(
        failed(
            "BadArgument",
            f"No pull permission in {SUBSCRIPTION.upper()}.",
            endpoint=Found(endpoint),
            surroundings=around,
        ),
        cause="identity-missing-acrpull",
    )

    text = write(one, made(one))

    assert SUBSCRIPTION not in text.lower()
    assert the_world(one) == {
        "location": "northeurope",
        "workspaces": [{"name": "mlw-prod", "endpoints": [{"name": "credit-scoring", "identities": ["id-credit"]}]}],
        "role_assignments": [{"principal": "id-credit", "role": "Storage Blob Data Reader", "scope": "registry"}],
        "happens": [{"do": "put", "who": "ci", "deployment": "green"}],
    }


def test_what_lies_elsewhere_is_named_by_its_id():
    elsewhere = "/subscriptions/0d0d0d0d-1111-4222-8333-444444444444/resourceGroups/rg-data/providers"
    place = make_workspace(storage=f"{elsewhere}/Microsoft.Storage/storageAccounts/stcentral")
    one = recorded(failed(surroundings=Surroundings(workspace=Found(place))))

    assert the_world(one)["workspaces"][0]["spec"] == {
        "properties": {"storageAccount": f"{elsewhere}/Microsoft.Storage/storageAccounts/stcentral"}
    }


def test_nobody_who_had_a_part_in_it_is_named():
    one = recorded(failed())

    text = write(one, made(one))

    for name in (SOMEBODY.oid, SOMEBODY.appid, SOMEBODY.tid, CORRELATION):
        assert name is not None
        assert name not in text


def test_whoever_rejected_it_and_their_words_are_not_in_the_story():
    words = f"rejected by {SOMEBODY.oid}: ask Ada first"
    one = recorded(make_evidence(), cause="canceled-higher-priority", end=End.REJECTED, words=words)

    assert made(one).scenario.story.endswith("It ended rejected.")
    assert "Ada" not in write(one, made(one))


# --------------------------------------------------------------------------------------- what is left out


def test_environment_variables_have_their_names_and_no_value():
    state = make_state(**PLAIN | {"environment_names": ("DB_PASSWORD",)}, provisioning_state="Failed")
    one = recorded(failed(resource=Found(state)))

    spec = the_world(one)["happens"][0]["spec"]
    assert spec["properties"]["environmentVariables"] == {"DB_PASSWORD": "not-recorded"}
    assert "values of environment variables; only their names are on record" in made(one).notes


def test_a_log_and_an_error_that_were_cut_are_told_of():
    logs = {"InferenceServer": Found("[earlier text cut]\nKeyError: 'rows'\n"), "StorageInitializer": Found("")}
    one = recorded(failed(message="x" * 4096, logs=logs))

    assert the_world(one)["hazards"][0]["logs"] == {"InferenceServer": "[earlier text cut]\nKeyError: 'rows'\n"}
    assert "logs before their last lines: they were cut when they were read" in made(one).notes
    assert "the end of the error's text: it was cut when it was read" in made(one).notes


def test_nested_errors_are_all_told_the_outermost_first():
    errors = (
        ErrorDetail(code="OutOfMemory", message="The container was killed.", depth=1),
        ErrorDetail(code="BadRequest", message="The request is invalid.", depth=0),
    )
    one = recorded(failed(operation=Found(make_operation(status="Failed", code="OutOfMemory", errors=errors))))

    assert the_world(one)["hazards"] == [
        {
            "kind": "broken",
            "code": "OutOfMemory",
            "message": "The request is invalid.\n(OutOfMemory) The container was killed.",
        }
    ]


def test_every_file_says_that_it_holds_one_incident_and_takes_less_time():
    assert made(recorded(failed())).notes[-2:] == (
        "other failures of the same time, and earlier repairs: a scenario holds one incident",
        "how long everything took: waits are a hundred times as short in a rehearsal",
    )


# --------------------------------------------------------------------------------------------- the causes


@pytest.mark.parametrize(
    ("cause", "hazard"),
    [
        pytest.param("canceled-higher-priority", {"kind": "higher-priority", "remaining": 1}, id="higher priority"),
        pytest.param("canceled-lock-confirmation", {"kind": "lock-confirmation", "remaining": 1}, id="lock"),
    ],
)
def test_a_canceled_operation_is_canceled_again_for_the_same_reason(cause, hazard):
    assert the_world(recorded(make_evidence(), cause=cause, end=End.REFUSED))["hazards"] == [hazard]


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(Absent(), id="it is gone"),
        pytest.param(Found(make_state(**PLAIN, provisioning_state="Deleting")), id="it is going"),
    ],
)
def test_what_somebody_deleted_under_way_is_deleted_again(shown):
    one = recorded(make_evidence(resource=shown), cause="canceled-by-deletion", end=End.NOTHING_TO_DO)

    world = the_world(one)
    assert world["happens"] == [
        {"do": "put", "who": "ci", "deployment": "green"},
        {"do": "delete", "who": "person", "after": 0.2, "deployment": "green"},
    ]
    assert world["operation_seconds"] == 0.4
    assert "hazards" not in world


@pytest.mark.parametrize(
    ("registry", "network", "cause", "expected"),
    [
        pytest.param(
            Found(make_registry(keys_changed_at=NOON - timedelta(hours=1))),
            Found(()),
            "acr-authorization",
            {"keys_regenerated": 3600},
            id="its keys were regenerated",
        ),
        pytest.param(
            Found(make_registry()), Found(()), "acr-authorization", {"desynchronised": True}, id="nobody saw it"
        ),
        pytest.param(
            Found(make_registry(admin_user=False)),
            Found(()),
            "acr-admin-disabled",
            {"admin_user": False, "desynchronised": True},
            id="its admin user is off",
        ),
        pytest.param(
            Found(make_registry()),
            Found(("containerRegistryResults: ContainerRegistryNetworkUnreachable: timed out",)),
            "acr-firewall",
            {"unreachable": True},
            id="it cannot be reached",
        ),
        pytest.param(Absent(), Found(()), "acr-missing", {"absent": True}, id="it is gone"),
    ],
)
def test_keys_that_do_not_fit_come_of_the_state_of_the_registry(registry, network, cause, expected):
    around = Surroundings(workspace=Found(make_workspace()), registry=registry, network=network)
    world = the_world(recorded(failed("ImageBuildFailure", surroundings=around), cause=cause))

    assert world["registries"] == [{"name": "crmlwprod", **expected}]
    assert "hazards" not in world


def test_missing_quota_comes_of_its_rows_and_of_those_that_draw_on_it():
    then = NOON - timedelta(days=60)
    shown = {**PLAIN, "created_at": then, "last_modified_at": then, "path": f"{ENDPOINT}/deployments/any"}
    idle = make_candidate(state=make_state(**shown, provisioning_state="Succeeded", tags={"medic-delete": "allow"}))
    unread = make_candidate(
        resource=make_resource(f"{ENDPOINT}/deployments/unread"),
        state=make_state(**shown, instance_type="Standard_DS4_v2", provisioning_state="Failed"),
        cores=16,
        requests=Unknown("its metrics give no RequestsPerMinute"),
        alive=Absent(),
    )
    quota = make_quota(used=16, limit=18)
    around = Surroundings(workspace=Found(make_workspace()), quota=Found(quota), candidates=Found((idle, unread)))
    one = recorded(failed("OutOfQuota", surroundings=around), cause="quota-cpu")

    world = the_world(one)
    old, second, blue = world["workspaces"][0]["endpoints"][0]["deployments"]
    assert world["usages"][0] == {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": 16, "limit": 18}
    assert old == {"name": "old", "spec": {"tags": {"medic-delete": "allow"}}, "age": 5184000}
    assert second == {
        "name": "unread",
        "spec": {"properties": {"instanceType": "Standard_DS4_v2"}},
        "state": "Failed",
        "age": 5184000,
        "ever_succeeded": False,
        "metrics": {"error_code": "InternalError", "capacity": "silent"},
    }
    assert blue["spec"] == {"properties": {"instanceType": "Standard_E4s_v3"}}
    assert "credit-scoring/blue: only its name is on record; a plain deployment stands for it" in made(one).notes
    assert "hazards" not in world


def test_a_machine_type_that_the_simulator_does_not_know_is_described():
    quota = make_quota(instance_type="Standard_D96as_v4", family="standardDASv4Family", cores_each=96)
    around = Surroundings(workspace=Found(make_workspace()), quota=Found(quota))
    sizes = the_world(recorded(failed("OutOfQuota", surroundings=around), cause="quota-cpu"))["vm_sizes"]

    assert sizes[-1] == {"name": "Standard_D96as_v4", "family": "standardDASv4Family", "cores": 96, "memory_gb": 0}


def test_requests_that_fail_are_told_by_the_alert_and_by_the_metrics():
    scoring = Scoring(rule="oe-429", status="429", metric="RequestsPerMinute", threshold=5, window=timedelta(minutes=5))
    incident = make_incident(operation=Operation.SCORE, scoring=scoring)
    load = Load(answers=(Answers(status="429", per_minute=720, most=720),), latency=timedelta(seconds=0.7))
    state = make_state(provisioning_state="Succeeded")
    endpoint = make_endpoint_state(traffic={"green": 100})
    one = recorded(
        make_evidence(incident=incident, resource=Found(state), endpoint=Found(endpoint), load=Found(load)),
        cause="invoke-overloaded",
    )

    world = the_world(one)
    assert world["workspaces"][0]["endpoints"][0]["deployments"][0]["metrics"] == {
        "answers": [{"status": "429", "per_minute": 720.0}],
        "latency_ms": 700.0,
    }
    assert world["happens"] == [
        {
            "do": "alert",
            "after": 0.1,
            "rule": "oe-429",
            "kind": "metric",
            "deployment": "green",
            "status": "429",
            "threshold": 5,
            "minutes": 5,
        }
    ]
    assert made(one).scenario.expect.ends == {"score credit-scoring/green": End.ADVISED}


def test_an_endpoint_that_failed_to_be_created_is_told_of_by_ci():
    incident = make_incident(resource=make_resource(ENDPOINT))
    state = make_endpoint_state(provisioning_state="Failed", created_at=FAILED_AT)
    one = recorded(failed("BadRequest", "Name taken.", incident=incident, resource=Found(state), endpoint=Found(state)))

    scenario = made(one).scenario
    assert scenario.world["workspaces"][0]["endpoints"] == [
        {
            "name": "credit-scoring",
            "state": "Failed",
            "error": {"code": "BadRequest", "message": "Name taken."},
            "age": 60,
        }
    ]
    sent = json.loads(json.dumps([step.event for step in scenario.steps if isinstance(step, rehearsal.Send)]))
    assert [event["data"]["resourceUri"] for event in sent] == [ENDPOINT.replace(SUBSCRIPTION, "{subscription}")]


# ------------------------------------------------------------------------------------------------ the policy


def test_the_shipped_policy_stands_where_the_decision_shows_no_other():
    held = SHIPPED.permission("retry", make_resource(), {})
    one = recorded(make_evidence(), cause="canceled-higher-priority", situation=make_situation(permission=held))

    assert made(one).scenario.policy == {}


def test_the_mode_and_the_pause_that_held_are_laid_over_the_shipped_policy():
    pause = Pause(until=NOON, reason="a migration", scope=Scope(workspace="mlw-*"))
    one = recorded(make_evidence(), cause="canceled-higher-priority")
    decision = replace(one.records[-1], stage="decision", facts={"action": "retry", "held_mode": "ask"})
    situation = make_situation(permission=SHIPPED.permission("retry", make_resource(), {}), pauses=(pause,))
    changed = replace(one, records=(*one.records, decision), situation=situation)

    laid = made(changed).scenario.policy
    assert laid["actions"] == {"retry": {"mode": "ask"}}
    assert laid["pauses"][0]["until"] == "2099-01-01T00:00:00Z"
    assert laid["pauses"][0]["reason"] == "a migration"


def test_the_guards_that_rest_on_other_incidents_are_guards():
    guards = {guard.__name__.replace("_", "-") for action in ACTIONS.values() for guard in action.guards}

    assert EARLIER.keys() - guards == set()


def test_a_refusal_for_what_was_done_before_is_told_of():
    one = recorded(make_evidence(), cause="canceled-higher-priority", end=End.REFUSED, words="budget-left: 20 of 20")

    assert made(one).scenario.expect.says == ("budget-left: ",)
    words = "repairs of other incidents in the same hour, for which it was refused: here it goes on, and ends otherwise"
    assert words in made(one).notes


# ------------------------------------------------------------------------------------------------- the file


def test_the_file_is_in_the_order_of_a_scenario_and_leaves_out_what_is_so_anyhow():
    one = recorded(failed(message="one line\nand another"))

    text = write(one, made(one))

    head, _, body = text.partition("name: ")
    assert head.startswith(
        f"# Incident {one.incident.id}, mlw-prod/credit-scoring/green: failed 2026-11-22 11:55:00 UTC"
    )
    assert all(line.startswith("#") for line in head.splitlines())
    assert list(yaml.safe_load("name: " + body)) == ["name", "story", "world", "expect"]
    assert "message: |-\n" in body
    assert "    - name: mlw-prod\n      endpoints:\n        - name: credit-scoring\n" in body


def test_a_note_cannot_end_its_comment(tmp_path):
    one = recorded(failed())
    recasted = Recast(made(one).scenario, ("first\nworld: {}\r\nsecond\x1b[31m",))

    file = tmp_path / "scenario.yaml"
    file.write_text(write(one, recasted), "utf-8")

    assert rehearsal.load(file) == recasted.scenario
    assert "# - first world: {} second [31m\n" in file.read_text("utf-8")


# ---------------------------------------------------------------------------------------- what is not on record


def test_an_incident_without_an_end_is_refused():
    trail, store, incident = make_trail(), EvidenceStore(MemoryStore()), make_incident()
    trail.open_incident(incident, "nonce-1", NOON)

    with pytest.raises(NotRecorded, match="has not ended"):
        read(trail, store, incident.id)


def test_an_incident_whose_evidence_has_expired_is_refused():
    trail, incident = make_trail(), make_incident()
    trail.open_incident(incident, "nonce-1", NOON)
    make_journal(trail).diagnosed(make_diagnosis(incident=incident))
    trail.end_incident(Ended(at=NOON, end=End.ADVISED, words="so it ended", incident=incident))

    with pytest.raises(NotRecorded, match="its evidence eeeeeeeeeeee has expired"):
        read(trail, EvidenceStore(MemoryStore()), incident.id)


def test_an_incident_that_is_not_on_the_trail_is_refused():
    with pytest.raises(NotRecorded, match="inc-1 is not on the trail"):
        read(make_trail(), EvidenceStore(MemoryStore()), "inc-1")
