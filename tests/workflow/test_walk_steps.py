"""Plans of several calls: killed, handed out twice, its answers lost, each call takes effect once and in order."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from durabletask.entities import EntityInstanceId

from local.arm.faults import AnyFault
from local.backend import Backend
from remediations import desk
from tests.workflow.theatre import Theatre, eventually

GROUP = "/subscriptions/{subscription}/resourceGroups/rg-ml-prod"
IDENTITY = "providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-credit"
LONG_AGO = 100 * 86400
SYNC: dict[str, Any] = {
    "hazards": [],
    "registries": [{"name": "crmlwdemo", "keys_regenerated": 1800}],
}
GRANT: dict[str, Any] = {
    "hazards": [],
    "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring", "identities": ["id-credit"]}]}],
    "role_assignments": [],
}
IDLE: dict[str, Any] = {
    "hazards": [],
    "workspaces": [
        {
            "name": "mlw-demo",
            "endpoints": [
                {"name": "credit-scoring"},
                {
                    "name": "fraud",
                    "traffic": {"live": 100},
                    "deployments": [
                        {"name": "live", "age": LONG_AGO},
                        *(
                            {"name": name, "age": LONG_AGO, "spec": {"tags": {"medic-delete": "allow"}}}
                            for name in ("old", "older")
                        ),
                    ],
                },
            ],
        }
    ],
    "usages": [
        {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": 24, "limit": 24},
        {"name": "Total Cluster Dedicated Regional vCPUs", "used": 24, "limit": 100},
    ],
}
# What each world is repaired with, in order: one deletion frees the eight cores that are needed.
EFFECTS = {
    "sync-keys": ["POST resyncKeys", "PUT green"],
    "grant-roles": ["PUT role", "PUT role", "PUT green"],
    "delete-idle": ["DELETE old", "PUT green"],
}
WORLDS = {"sync-keys": SYNC, "grant-roles": GRANT, "delete-idle": IDLE}


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["once", "twice at once"])
def theatre(request, tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("steps"), backend=Backend(twice=request.param, seed=11)) as opened:
        yield opened


def begun(tell, action, **faults):
    """A story whose repair is approved as soon as it is asked about, if it is."""
    policy = {"actions": {action: {"mode": "auto"}}}
    story = tell(WORLDS[action] | faults, policy=policy)
    story.world.put_deployment("ci", "credit-scoring", "green")
    if action != "sync-keys":  # nobody is listed, and a victim has environment variables: a person decides
        assert story.answer(story.question()).status_code == 200
    return story


def effects_of(story):
    """Our writes that took effect; an assignment by what it is, its name is a digest."""
    return [
        f"{entry.method} {'role' if 'roleAssignments' in entry.path else entry.path.split('/')[-1]}"
        for entry in story.sends()
        if entry.took_effect
    ]


def assert_repaired(story, action):
    assert story.ending()[0] == "repaired"
    assert story.world.deployment("credit-scoring", "green")["properties"]["provisioningState"] == "Succeeded"
    assert effects_of(story) == EFFECTS[action]
    assert len(story.slots()) == 1
    story.check_promises()


@pytest.mark.parametrize("action", EFFECTS)
def test_every_call_of_a_plan_takes_effect_once_and_in_order(tell, action):
    story = begun(tell, action)
    assert_repaired(story, action)
    assert [status for _, status in story.intents()] == ["accepted"] * len(EFFECTS[action])


@pytest.mark.parametrize("action", EFFECTS)
def test_an_answer_that_was_lost_is_found_out_and_no_call_is_made_twice(tell, action):
    path = {"sync-keys": "*/resyncKeys", "grant-roles": "*/roleAssignments/*", "delete-idle": "*/deployments/old"}[
        action
    ]
    method = EFFECTS[action][0].split()[0]
    story = begun(tell, action, faults=[{"kind": "lost", "method": method, "path": path, "principal": "medic"}])
    assert story.ending()[0] == "repaired"
    effects = effects_of(story)
    if action == "sync-keys":  # nothing shows whether it took effect, and another one does no harm
        assert effects == ["POST resyncKeys", "POST resyncKeys", "PUT green"]
        assert [status for _, status in story.intents()] == ["again", "accepted", "accepted"]
    else:
        assert effects == EFFECTS[action]
    story.check_promises()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("action", EFFECTS)
def test_a_worker_killed_again_and_again_leaves_each_call_once(tell, action, seed):
    chance = random.Random(seed)
    victims: set[int | None] = set()
    story = tell(WORLDS[action], policy={"actions": {action: {"mode": "auto"}}})

    def strike(_kind, _name, _instance):
        if len(victims) < 5 and story.host.worker_pid not in victims and chance.random() < 0.2:
            victims.add(story.host.worker_pid)
            story.host.kill_worker()

    story.host.backend.on_hand_out = strike
    story.world.put_deployment("ci", "credit-scoring", "green")
    if action != "sync-keys":
        assert story.answer(story.question()).status_code == 200
    assert story.ending()[0] == "repaired"
    assert victims
    effects = effects_of(story)
    if action == "sync-keys":  # a lost answer may have been followed by another sync
        effects = list(dict.fromkeys(effects))
    assert effects == EFFECTS[action]
    story.check_promises()


def test_the_receipt_of_a_deletion_is_kept_before_it_and_holds_no_secret(tell):
    story = begun(tell, "delete-idle")
    assert story.ending()[0] == "repaired"
    intents = [intent for intent, _ in story.intents()]
    assert [intent.receipt is not None for intent in intents] == [True, False]
    digest = intents[0].receipt
    receipt = (story.theatre.folder / "evidence" / digest[:2] / digest).read_text()
    assert '"environment_variables":["LOG_LEVEL"]' in receipt
    assert "INFO" not in receipt
    assert '"instanceType":"Standard_DS3_v2"' in receipt


def test_every_desk_is_free_after_a_plan_of_several_calls(tell):
    story = begun(tell, "delete-idle")
    assert story.ending()[0] == "repaired"
    with story.host.backend._lock:
        states = [entity.serialized_state for entity in story.host.backend._entities.values()]
    assert len(states) == 4  # the failed deployment, the idle one, its endpoint and the quota have a desk each
    assert {state for state in states if state} == {'{"owner": null, "until": null, "parked": []}'}


def test_a_desk_that_another_holds_stops_the_whole_claim(tell):
    """Whoever waits for one desk holds none: two that wait for each other's would wait for ever."""
    story = tell(SYNC, policy={"actions": {"sync-keys": {"mode": "auto"}}})
    workspace = story.resource.rpartition("/onlineEndpoints/")[0]
    now = datetime.now(UTC)
    claim = {"owner": "inc-other", "now": now.isoformat(), "until": (now + timedelta(seconds=2)).isoformat()}
    held = EntityInstanceId("desk", desk.key_of(workspace))
    story.host.client.signal_entity(held, "claim", input=claim)
    story.world.put_deployment("ci", "credit-scoring", "green")
    eventually(lambda: story.incidents() and story.records(stage="wait"), "it does not wait")
    own = EntityInstanceId("desk", desk.key_of(f"{story.resource}/deployments/green"))
    seen = story.host.client.get_entity(own)
    assert seen is None or '"owner": null' in seen.get_state()
    assert story.ending()[0] == "repaired"
    assert effects_of(story) == EFFECTS["sync-keys"]


def test_ten_failures_that_are_no_storm_share_one_sync_and_wait_without_reading(tell):
    names = [f"churn-{number}" for number in range(10)]
    workspace = {"name": "mlw-demo", "endpoints": [{"name": name} for name in names]}
    alone = {"storm": {"from": 0}, "actions": {"sync-keys": {"mode": "auto"}}}
    story = tell(SYNC | {"workspaces": [workspace]}, policy=alone)
    for name in names:
        story.world.put_deployment("ci", name, "green")
    over = story.endings(10)
    assert {str(one.end) for one in over} == {"repaired"}
    effects = effects_of(story)
    assert effects.count("POST resyncKeys") == 1
    assert effects[1:] == ["PUT green"] * 10
    assert sum(story.world.reads.values()) < 10 * 100
    story.check_promises()


def test_a_plan_that_has_begun_is_not_left_in_the_middle_for_one_bad_read(tell):
    story = tell(SYNC, policy={"actions": {"sync-keys": {"mode": "auto"}}})

    def break_it():
        failing = {"kind": "error", "method": "GET", "path": "*/registries/crmlwdemo", "status": 503, "times": 4}
        story.world.faults.extend(msgspec.convert([failing], list[AnyFault]))

    story.world.when("post */resyncKeys by medic", break_it)
    story.world.put_deployment("ci", "credit-scoring", "green")
    assert story.ending()[0] == "repaired"
    assert effects_of(story) == EFFECTS["sync-keys"]
    waits = [str(record.facts["words"]) for record in story.records(stage="wait")]  # of two at once, one may be lucky
    assert all("whether the admin user of the registry is on is not known" in words for words in waits)
    story.check_promises()
