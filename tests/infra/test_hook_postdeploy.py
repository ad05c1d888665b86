"""postdeploy: the function hears of events once it is there, and a person is told what comes next."""

import copy
import json
from pathlib import Path

import postdeploy
import pytest

from tests.infra.azure_world import (
    ANOTHER_TENANT,
    APP,
    CLIENT_ID,
    ELSEWHERE,
    GROUP,
    HOME,
    RECORDS,
    TOPIC,
    VAULT,
    Machine,
    deploy,
    project,
    provision,
)

ROLES = json.loads((Path(postdeploy.__file__).parents[1] / "entra" / "app-roles.json").read_text())
OTHER = f"/subscriptions/{ELSEWHERE}/resourceGroups/rg-theirs/providers/Microsoft.EventGrid/systemTopics/theirs"
WORKSPACE_TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/evgst-medic-mlw"
APP_ID = f"{GROUP}/providers/Microsoft.Web/sites/{APP}"


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd) -> Machine:
    """One where `azd deploy` has just done its work."""
    monkeypatch.setattr(postdeploy, "EVENTS", project(tmp_path) / "infra" / "events")
    machine = Machine(tmp_path, monkeypatch, capfd)
    graph = machine.world["graph"]
    graph["applications"] = [{"appId": CLIENT_ID, "appRoles": ROLES, "web": {}, "api": {}}]
    graph["principals"] = [
        {"id": "principal-1", "appId": CLIENT_ID, "appRoleAssignmentRequired": True},
        {"id": "graph", "appId": "00000003-0000-0000-c000-000000000000"},
    ]
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    provision(machine.world)
    deploy(machine.world)
    machine.world["env"].update(
        ENDPOINT_MEDIC_SYSTEM_TOPICS=f"{TOPIC},{OTHER}", ENDPOINT_MEDIC_WORKSPACE_TOPICS=WORKSPACE_TOPIC
    )
    return machine


def test_each_topic_is_subscribed_to_in_its_own_group_and_subscription(machine):
    code, _, err = machine.run(postdeploy)
    assert (code, err) == (0, "")
    common = {"functionAppId": APP_ID, "recordsId": RECORDS}
    assert machine.world["event_subscriptions"] == {
        f"{HOME}/rg-medic-dev/evgst-medic-abc/failures": {"topicName": "evgst-medic-abc", **common},
        f"{ELSEWHERE}/rg-theirs/theirs/failures": {"topicName": "theirs", **common},
        f"{HOME}/rg-medic-dev/evgst-medic-mlw/models": {"topicName": "evgst-medic-mlw", **common},
    }


def test_a_second_run_deploys_the_same_and_changes_nothing(machine):
    machine.run(postdeploy)
    before = (machine.world["event_subscriptions"], machine.world["graph"])
    code, _, err = machine.run(postdeploy)
    assert (code, err) == (0, "")
    assert machine.world["writes"] == ["deployment group create"] * 3
    assert (machine.world["event_subscriptions"], machine.world["graph"]) == before


def test_a_dry_run_changes_nothing_and_prints_what_would(machine):
    code, out, _ = machine.run(postdeploy, "--dry-run")
    assert (code, machine.world["writes"]) == (0, [])
    command = f"az deployment group create --subscription {ELSEWHERE} --resource-group rg-theirs"
    assert "is set up" not in out
    assert f"Would subscribe on_deployment_failure to theirs (failures): {command}" in out


@pytest.mark.parametrize("name", ["ENDPOINT_MEDIC_SYSTEM_TOPICS", "ENDPOINT_MEDIC_WORKSPACE_TOPICS"])
def test_what_is_no_topic_is_refused_before_anything_is_waited_for(machine, name):
    machine.world["env"][name] = f"{TOPIC},evgst-medic-abc"
    code, _, err = machine.run(postdeploy)
    assert (code, machine.time, machine.world["writes"]) == (1, 0, [])
    assert f"{name} names 'evgst-medic-abc': not the id of a system topic" in err
    assert "azd provision --no-state" in err


def test_the_directory_of_another_tenant_is_not_touched(machine):
    machine.world["active"] = ELSEWHERE
    machine.world["subscriptions"][ELSEWHERE]["tenant"] = ANOTHER_TENANT
    theirs = copy.deepcopy(machine.world["graph"])
    machine.world["graph_of_another_tenant"] = copy.deepcopy(theirs)
    code, _, err = machine.run(postdeploy)
    assert code == 1
    assert f"az account set --subscription {HOME}" in err
    assert machine.world["graph_of_another_tenant"] == theirs


def test_the_function_is_waited_for_with_a_word_now_and_then(machine):
    machine.world["site"]["polls_before"] = 5
    code, out, _ = machine.run(postdeploy)
    assert (code, machine.time) == (0, 75)
    assert out.count(f"Waiting for the function on_deployment_failure of {APP}") == 3


def test_a_function_that_never_comes_is_told_with_what_is_there_and_what_may_be_the_reason(machine):
    machine.world["site"]["functions"] = ["sweep"]
    code, _, err = machine.run(postdeploy)
    assert code == 1
    assert machine.time <= 600
    assert f"the app {APP} has no function on_deployment_failure: it lists sweep" in err
    assert "MEDIC_ANCHOR_KEY, which refers to the vault: SecretNotFound" in err
    assert "azd hooks run postprovision" in err
    assert machine.world["writes"] == []


def test_an_app_that_does_not_answer_yet_is_asked_again(machine):
    machine.world["faults"] = [{"at": "function list", "times": 2, "words": "ServiceUnavailable"}]
    code, _, _ = machine.run(postdeploy)
    assert (code, machine.time) == (0, 30)


@pytest.mark.parametrize(
    "words",
    [
        "AADSTS70043: The refresh token has expired.",
        "Please run 'az login' to setup account.",
        "(AuthorizationFailed) The client does not have authorization to perform action",
        "'function' is misspelled or not recognized by the system.",
        "unrecognized arguments: --name",
    ],
)
def test_what_does_not_mend_by_waiting_is_told_at_once(machine, words):
    machine.world["faults"] = [{"at": "function list", "times": 1000, "words": words}]
    code, _, err = machine.run(postdeploy)
    assert (code, machine.time) == (1, 0)
    assert words in err
    assert "azd hooks run postdeploy" in err
    assert "azd deploy" not in err


def test_an_app_that_does_not_answer_in_time_is_told_with_its_last_words(machine):
    words = "ServiceUnavailable: the last of its words"
    machine.world["faults"] = [
        {"at": "function list", "times": 1000, "words": words},
        {"at": "configreferences", "times": 1000, "words": "Not Found"},
    ]
    code, _, err = machine.run(postdeploy)
    assert code == 1
    assert 570 <= machine.time <= 600
    assert f"whether the app {APP} has the function on_deployment_failure is not known" in err
    assert words in err
    assert "azd hooks run postdeploy     (once that command answers)" in err
    assert "azd deploy" not in err


def test_event_grid_is_given_time_to_reach_the_function(machine):
    words = '{"code": "Endpoint validation", "message": "Destination endpoint not found."}'
    machine.world["faults"] = [{"at": "deployment group create", "times": 2, "words": words}]
    code, _, _ = machine.run(postdeploy)
    assert (code, machine.time) == (0, 60)
    assert len(machine.world["event_subscriptions"]) == 3


def test_what_it_says_in_the_end_is_told(machine):
    words = '{"code": "Endpoint validation", "message": "Destination endpoint not found."}'
    machine.world["faults"] = [{"at": "deployment group create", "times": 1000, "words": words}]
    code, _, err = machine.run(postdeploy)
    assert code == 1
    assert machine.time <= 600
    assert "Destination endpoint not found." in err


def test_a_run_that_broke_off_is_completed_by_the_next(machine):
    machine.world["faults"] = [{"at": "rg-theirs", "times": 1, "words": "AuthorizationFailed"}]
    code, _, err = machine.run(postdeploy)
    assert (code, machine.time) == (1, 0)
    assert "AuthorizationFailed" in err
    assert "azd hooks run postdeploy" in err
    assert machine.run(postdeploy)[0] == 0
    assert len(machine.world["event_subscriptions"]) == 3


# -------------------------------------------------------------------------------------------------------- what is next


def test_the_next_steps_say_what_hears_what_and_how_people_and_ci_get_in(machine):
    _, out, _ = machine.run(postdeploy)
    steps = out[out.index("Endpoint Medic func") :]
    assert (
        f"Endpoint Medic {APP} is set up. Its mode is dry-run: it reads, diagnoses and decides, and changes nothing."
        in steps
    )
    assert f"  hears of failures from    {OTHER}" in steps
    assert f"  hears of deployments from {WORKSPACE_TOPIC}" in steps
    assert f"https://{APP}.azurewebsites.net/api/overview" in steps
    assert f"medic scan --subscription {HOME}\n" in steps
    body = json.dumps({"principalId": "<who>", "resourceId": "principal-1", "appRoleId": ROLES[1]["id"]})
    url = "https://graph.microsoft.com/v1.0/servicePrincipals/principal-1/appRoleAssignedTo"
    assert f"az rest --method post --url {url} --body '{body}'" in steps
    assert f"Medic.Submit    {ROLES[0]['id']}" in steps
    assert f"az account get-access-token --scope api://{CLIENT_ID}/.default" in steps


@pytest.mark.parametrize(
    ("mode", "words"),
    [("off", "it does nothing"), ("ask", "it changes what people approve"), ("auto", "what its policy permits")],
)
def test_they_name_the_mode_that_it_is_in(machine, mode, words):
    machine.world["env"]["ENDPOINT_MEDIC_MODE"] = mode
    assert words in machine.run(postdeploy)[1]


def test_they_name_what_is_watched(machine):
    machine.world["env"]["ENDPOINT_MEDIC_WATCH"] = (
        f"/subscriptions/{ELSEWHERE}/resourceGroups/rg-ml,/subscriptions/{HOME}"
    )
    assert f"medic scan --subscription {ELSEWHERE}\n" in machine.run(postdeploy)[1]


def test_sign_in_is_consented_to_once_for_the_people_of_the_tenant(machine):
    machine.run(postdeploy)
    assert machine.world["graph"]["grants"] == [
        {
            "clientId": "principal-1",
            "consentType": "AllPrincipals",
            "resourceId": "graph",
            "scope": "openid profile email",
        }
    ]


def test_where_only_an_administrator_may_consent_the_command_is_told(machine):
    machine.world["graph"]["consents"] = False
    code, out, _ = machine.run(postdeploy)
    assert code == 0
    assert "nobody can sign in before an administrator has consented to it" in out
    grant = f"az ad app permission grant --id {CLIENT_ID} --api 00000003-0000-0000-c000-000000000000"
    assert f'{grant} --scope "openid profile email"' in out


def test_a_registration_with_ids_of_its_own_is_told_with_these(machine):
    machine.world["graph"]["applications"][0]["appRoles"] = [{**ROLES[1], "id": "theirs"}]
    assert "Medic.Approver  theirs" in machine.run(postdeploy)[1]


def test_ci_without_rights_in_the_directory_prints_the_steps_all_the_same(machine):
    machine.world["graph"]["allowed"] = "nothing"
    code, out, _ = machine.run(postdeploy)
    assert code == 0
    assert "the ids of roles below are those of infra/entra/app-roles.json" in out
    assert "servicePrincipals/<object id of the enterprise application>/appRoleAssignedTo" in out


def test_nothing_of_the_vault_is_told(machine):
    machine.world["vaults"][VAULT]["secrets"] = {"medic-anchor-key": "the-anchor-key"}
    _, out, err = machine.run(postdeploy)
    assert "the-anchor-key" not in out + err
