"""preprovision: what cannot work is refused before anything is created, and what is made is made once."""

import json
import re
from pathlib import Path
from typing import Any

import preprovision
import pytest

from tests.infra.azure_world import (
    ANOTHER_TENANT,
    CLIENT_ID,
    DEPLOYER,
    ELSEWHERE,
    HOME,
    TENANT,
    TOPIC,
    TRAIL_POLICY,
    VAULT,
    Machine,
    directory,
    project,
    provision,
)
from tests.infra.azure_world import GROUP as OWN_GROUP
from tests.infra.deployment import Scope, deploy

ROLES = json.loads((Path(preprovision.__file__).parents[1] / "entra" / "app-roles.json").read_text())
UNIQUE = f"endpoint-medic-dev-{HOME}"
GROUP = f"/subscriptions/{HOME}/resourceGroups/rg-ml"
OTHER_GROUP = f"/subscriptions/{HOME}/resourceGroups/rg-2"
THEIRS = f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/theirs"
PRINCIPAL = "00000000-0000-0000-0000-0000000000ab"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod"


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd) -> Machine:
    monkeypatch.setattr(preprovision, "ROOT", project(tmp_path))
    return Machine(tmp_path, monkeypatch, capfd)


def registration(machine: Machine) -> dict[str, Any]:
    (only,) = machine.world["graph"]["applications"]
    found: dict[str, Any] = only
    return found


# ------------------------------------------------------------------------------------------------------ the first run


def test_the_first_run_registers_the_app_and_keeps_its_client_id(machine):
    code, out, err = machine.run(preprovision)
    assert (code, err) == (0, "")
    assert machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] == CLIENT_ID
    assert machine.world["writes"] == [
        f"patch applications(uniqueName='{UNIQUE}')",
        f"patch applications(appId='{CLIENT_ID}')",
        "post servicePrincipals",
        "env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID",
    ]
    assert out.endswith(
        "Nothing stands in the way of provisioning.\n"
        "Mode to be deployed: dry-run (ENDPOINT_MEDIC_MODE). "
        "It brings no right to change anything; what an earlier ask or auto brought stays.\n"
    )


def test_the_registration_is_of_one_tenant_has_the_roles_and_no_secret(machine):
    machine.run(preprovision)
    app = registration(machine)
    assert app["displayName"] == "Endpoint Medic (dev)"
    assert app["signInAudience"] == "AzureADMyOrg"
    assert app["identifierUris"] == [f"api://{CLIENT_ID}"]
    assert app["appRoles"] == ROLES
    assert app["web"] == {"redirectUris": [], "implicitGrantSettings": {"enableIdTokenIssuance": True}}
    assert app["api"]["requestedAccessTokenVersion"] == 2
    (scope,) = app["api"]["oauth2PermissionScopes"]
    azure_cli = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
    assert app["api"]["preAuthorizedApplications"] == [{"appId": azure_cli, "delegatedPermissionIds": [scope["id"]]}]
    assert [claim["name"] for claim in app["optionalClaims"]["accessToken"]] == ["idtyp"]
    assert not {"passwordCredentials", "keyCredentials"} & set(app)
    assert machine.world["graph"]["principals"] == [
        {"id": "principal-1", "appId": CLIENT_ID, "appRoleAssignmentRequired": True}
    ]


def test_a_second_run_changes_nothing(machine):
    machine.run(preprovision)
    before = machine.world["graph"]
    code, _, err = machine.run(preprovision)
    assert (code, err, machine.world["writes"]) == (0, "", [])
    assert machine.world["graph"] == before


def test_nor_does_one_after_provisioning(machine):
    machine.run(preprovision)
    provision(machine.world)
    tags = {"azd-env-name": "dev"}
    machine.world["subscriptions"][HOME]["topics"] = [
        {"id": TOPIC, "source": f"/subscriptions/{HOME}", "tags": tags, "identity": {"type": "SystemAssigned"}}
    ]
    code, _, err = machine.run(preprovision)
    assert (code, err, machine.world["writes"]) == (0, "", [])


def test_a_dry_run_changes_nothing_and_prints_what_would(machine):
    code, out, _ = machine.run(preprovision, "--dry-run")
    assert (code, machine.world["writes"]) == (0, [])
    url = f"https://graph.microsoft.com/v1.0/applications(uniqueName='{UNIQUE}')"
    assert f'Would register the app: az rest --method patch --url "{url}" --headers Prefer=create-if-missing' in out
    assert '"displayName": "Endpoint Medic (dev)"' in out


def test_a_hook_that_azd_does_not_run_asks_azd_for_the_values(machine):
    machine.is_run_by_azd = False
    code, _, err = machine.run(preprovision)
    assert (code, err) == (0, "")
    assert machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] == CLIENT_ID


# --------------------------------------------------------------------------------------------------------- bad input

VALUES = {
    "a name that is too long": ({"AZURE_ENV_NAME": "e" * 33}, "1 to 32 letters", "azd env new <name>"),
    "a name with a blank": ({"AZURE_ENV_NAME": "my dev"}, "AZURE_ENV_NAME is 'my dev'", "azd env new <name>"),
    "no subscription": (
        {"AZURE_SUBSCRIPTION_ID": ""},
        "not the id of a subscription",
        "azd env set AZURE_SUBSCRIPTION_ID",
    ),
    "no region": ({"AZURE_LOCATION": ""}, "not the short name of a region", "list-flexconsumption-locations"),
    "a region's long name": ({"AZURE_LOCATION": "West Europe"}, "'West Europe'", "azd env set AZURE_LOCATION"),
    "a region without Flex Consumption": (
        {"AZURE_LOCATION": "westeurop"},
        "Flex Consumption is not offered there",
        "azd env set AZURE_LOCATION westeurope     (one of: northeurope, oldregion, westeurope)",
    ),
    "a region without this Python": (
        {"AZURE_LOCATION": "oldregion"},
        "Flex Consumption in oldregion offers Python 3.12, not 3.13",
        "azd env set AZURE_LOCATION <another region>",
    ),
    "a mode that is none": (
        {"ENDPOINT_MEDIC_MODE": "on"},
        "ENDPOINT_MEDIC_MODE is 'on': it is one of dry-run, off, ask, auto",
        "azd env set ENDPOINT_MEDIC_MODE dry-run",
    ),
    "a switch that is none": (
        {"ENDPOINT_MEDIC_OUTCOME_TOPIC": "yes"},
        "ENDPOINT_MEDIC_OUTCOME_TOPIC is 'yes': it is one of false, true",
        "azd env set ENDPOINT_MEDIC_OUTCOME_TOPIC false",
    ),
    "an address that is none": (
        {"ENDPOINT_MEDIC_ALERT_EMAIL": "ops, me"},
        "not one address",
        "ENDPOINT_MEDIC_ALERT_EMAIL",
    ),
    "a principal type that is none": (
        {"AZURE_PRINCIPAL_TYPE": "Group"},
        "it is one of User, ServicePrincipal",
        "azd env set AZURE_PRINCIPAL_TYPE User",
    ),
    "a redundancy that is none": (
        {"ENDPOINT_MEDIC_RECORDS_SKU": "Standard_XRS"},
        "ENDPOINT_MEDIC_RECORDS_SKU is 'Standard_XRS': it is one of Standard_LRS, Standard_ZRS, Standard_GRS",
        "azd env set ENDPOINT_MEDIC_RECORDS_SKU Standard_LRS",
    ),
    "a name for whoever deploys": (
        {"AZURE_PRINCIPAL_ID": "nope"},
        "AZURE_PRINCIPAL_ID is 'nope': not the object id of whoever deploys",
        "azd env set AZURE_PRINCIPAL_ID ''     (azd fills in whoever is signed in to it)",
    ),
    "a name for the tenant": (
        {"AZURE_TENANT_ID": "example.com"},
        "AZURE_TENANT_ID is 'example.com': not the id of a tenant",
        "azd env set AZURE_TENANT_ID $(az account show --query tenantId --output tsv)",
    ),
    "the id of a key that is none": (
        {"ENDPOINT_MEDIC_APPROVAL_KID": "k 1"},
        "letters, digits",
        "ENDPOINT_MEDIC_APPROVAL_KID",
    ),
    "a bare subscription": (
        {"ENDPOINT_MEDIC_WATCH": HOME},
        f"ENDPOINT_MEDIC_WATCH names '{HOME}': not an id of this form",
        f"azd env set ENDPOINT_MEDIC_WATCH /subscriptions/{HOME}",
    ),
    "a slash too many": (
        {"ENDPOINT_MEDIC_WATCH": f"{GROUP}/"},
        "not an id of this form",
        f"azd env set ENDPOINT_MEDIC_WATCH {GROUP}",
    ),
    "a workspace to watch": ({"ENDPOINT_MEDIC_WATCH": WORKSPACE}, "not an id of this form", "ENDPOINT_MEDIC_WATCH"),
    "a group of what is watched": (
        {"ENDPOINT_MEDIC_WATCH": f"/subscriptions/{HOME},{GROUP}"},
        "each event would come twice",
        f"azd env set ENDPOINT_MEDIC_WATCH /subscriptions/{HOME}\n",
    ),
    "a subscription that is not to be seen": (
        {"ENDPOINT_MEDIC_WATCH": "/subscriptions/00000000-0000-0000-0000-000000000003"},
        "which cannot be read",
        "in the tenant that you are signed in to",
    ),
    "a group that is not there": ({"ENDPOINT_MEDIC_WATCH": GROUP}, f"names {GROUP}, which cannot be read", "Reader"),
    "a workspace without a region": (
        {"ENDPOINT_MEDIC_MODEL_EVENTS": WORKSPACE},
        "not <region>=<id of a workspace>",
        "azd env set ENDPOINT_MEDIC_MODEL_EVENTS 'westeurope=<id>'     (az resource list --resource-type",
    ),
    "a workspace that is not there": (
        {"ENDPOINT_MEDIC_MODEL_EVENTS": f"westeurope={WORKSPACE}"},
        "which cannot be read",
        "Name one that exists",
    ),
    "a subscription to grant on": (
        {"ENDPOINT_MEDIC_GRANT_SCOPES": f"/subscriptions/{HOME}"},
        "ENDPOINT_MEDIC_GRANT_SCOPES names",
        "/resourceGroups/<group>",
    ),
    "a name for a principal": (
        {"ENDPOINT_MEDIC_UNDO_PRINCIPALS": "id-scoring"},
        "not the object id of an identity",
        "az identity show --ids",
    ),
    "a name for a client id": (
        {"ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID": "endpoint-medic"},
        "not the client id of an app registration",
        "azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID ''",
    ),
    "a client id of nobody": (
        {"ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID": "00000000-0000-0000-0000-0000000000ff"},
        "this tenant has no such registration",
        "(then one is made)",
    ),
    "a name that nothing reads": (
        {"ENDPOINT_MEDIC_WACTH": "x"},
        "nothing reads ENDPOINT_MEDIC_WACTH",
        "azd env set ENDPOINT_MEDIC_WATCH <value>, and then: azd env set ENDPOINT_MEDIC_WACTH ''",
    ),
    "a secret URL before there is a vault": (
        {"ENDPOINT_MEDIC_TEAMS": "true"},
        "there is no vault yet that could hold the secret medic-teams-url",
        "azd env set ENDPOINT_MEDIC_TEAMS false",
    ),
    "one group twice to grant on": (
        {"ENDPOINT_MEDIC_GRANT_SCOPES": f"{GROUP},{OTHER_GROUP},{GROUP}"},
        f"ENDPOINT_MEDIC_GRANT_SCOPES names {GROUP} and {GROUP}, which are the same to Azure",
        f"azd env set ENDPOINT_MEDIC_GRANT_SCOPES {GROUP},{OTHER_GROUP}\n",
    ),
    "one group twice in another case": (
        {"ENDPOINT_MEDIC_GRANT_SCOPES": f"{GROUP},{GROUP.replace('rg-ml', 'RG-ML')}"},
        "which are the same to Azure",
        f"azd env set ENDPOINT_MEDIC_GRANT_SCOPES {GROUP}\n",
    ),
    "one workspace twice": (
        {"ENDPOINT_MEDIC_MODEL_EVENTS": f"westeurope={WORKSPACE},westeurope={WORKSPACE.replace('mlw', 'MLW')}"},
        "which are the same to Azure",
        f"azd env set ENDPOINT_MEDIC_MODEL_EVENTS westeurope={WORKSPACE}\n",
    ),
    "one source twice": (
        {"ENDPOINT_MEDIC_WATCH": f"{GROUP},{GROUP.replace('rg-ml', 'RG-ML')}"},
        "which are the same to Azure",
        f"azd env set ENDPOINT_MEDIC_WATCH {GROUP}\n",
    ),
    "one principal twice": (
        {"ENDPOINT_MEDIC_UNDO_PRINCIPALS": f"{PRINCIPAL},{PRINCIPAL.upper()}"},
        f"ENDPOINT_MEDIC_UNDO_PRINCIPALS names {PRINCIPAL} and {PRINCIPAL.upper()}, which are the same to Azure",
        f"azd env set ENDPOINT_MEDIC_UNDO_PRINCIPALS {PRINCIPAL}\n",
    ),
    "a slash too many in a list": (
        {"ENDPOINT_MEDIC_WATCH": f"{GROUP},{OTHER_GROUP}/"},
        f"names '{OTHER_GROUP}/': not an id of this form",
        f"azd env set ENDPOINT_MEDIC_WATCH {GROUP},{OTHER_GROUP}\n",
    ),
    "a group of what is watched in a list": (
        {"ENDPOINT_MEDIC_WATCH": f"{GROUP},/subscriptions/{ELSEWHERE},/subscriptions/{HOME}"},
        f"names /subscriptions/{HOME} and {GROUP}: each event would come twice",
        f"azd env set ENDPOINT_MEDIC_WATCH /subscriptions/{ELSEWHERE},/subscriptions/{HOME}\n",
    ),
    "a workspace without a region in a list": (
        {"ENDPOINT_MEDIC_MODEL_EVENTS": f"westeurope={WORKSPACE},x"},
        "names 'x': not <region>=<id of a workspace>",
        f"azd env set ENDPOINT_MEDIC_MODEL_EVENTS 'westeurope={WORKSPACE},westeurope=<id>'",
    ),
    "a name for a principal in a list": (
        {"ENDPOINT_MEDIC_UNDO_PRINCIPALS": f"id-scoring,{PRINCIPAL}"},
        "names 'id-scoring': not the object id of an identity",
        f"azd env set ENDPOINT_MEDIC_UNDO_PRINCIPALS '<object id>,{PRINCIPAL}'",
    ),
    "another tenant": (
        {"AZURE_TENANT_ID": ELSEWHERE},
        f"signed in to the tenant {TENANT}",
        f"az login --tenant {ELSEWHERE}",
    ),
}


@pytest.mark.parametrize(("values", "words", "fix"), VALUES.values(), ids=VALUES.keys())
def test_a_bad_value_is_refused_before_anything_is_created(machine, values, words, fix):
    if not words.endswith("cannot be read"):
        there = (GROUP, OTHER_GROUP, WORKSPACE)
        machine.world["resources"] = {id_.lower(): {"location": "westeurope"} for id_ in there}
    machine.world["env"].update(values)
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert words in err
    assert fix in err
    assert "preprovision: One thing has to be put right first." in err
    assert machine.world["writes"] == []


def unregistered(world):
    world["subscriptions"][HOME]["providers"]["Microsoft.EventGrid"] = "NotRegistered"


def registering(world):
    world["subscriptions"][HOME]["providers"]["Microsoft.Web"] = "Registering"


def signed_out(world):
    world["signed_in"] = False


def azd_signed_out(world):
    world["azd_signed_in"] = False


def azd_fails_when_signed_out(world):
    world.update(azd_signed_in=False, azd_fails_when_signed_out=True)


def active_in_another_tenant(world):
    world["active"] = ELSEWHERE
    world["subscriptions"][ELSEWHERE]["tenant"] = ANOTHER_TENANT


def group_in_another_region(world):
    world["resources"][OWN_GROUP.lower()] = {"location": "northeurope"}


def locked_trail(world):
    provision(world)
    del world["env"]["ENDPOINT_MEDIC_VAULT"]
    world["resources"][TRAIL_POLICY.lower()] = {"properties": {"state": "Locked"}}


def no_bicep(world):
    world["has_bicep"] = False


def az_as_another(world):
    world["env"]["AZURE_PRINCIPAL_ID"] = PRINCIPAL


def expired(world):
    world["faults"] = [{"at": "2022-12-01", "times": 1, "words": "AADSTS70043: The refresh token has expired."}]


def disabled(world):
    world["subscriptions"][HOME]["state"] = "Disabled"


def not_seen(world):
    del world["subscriptions"][HOME]


def contributor(world):
    excluded = ["Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"]
    world["subscriptions"][HOME]["permissions"] = [{"actions": ["*"], "notActions": excluded}]


def deleted_vault(world):
    properties = {
        "location": "westeurope",
        "tags": {"azd-env-name": "dev"},
        "vaultId": f"/subscriptions/{HOME}/resourceGroups/rg-medic-dev/providers/Microsoft.KeyVault/vaults/{VAULT}",
        "scheduledPurgeDate": "2027-02-20T10:00:00+00:00",
    }
    world["deleted_vaults"] = [{"name": VAULT, "properties": properties}]


def topic_without_identity(world):
    world["subscriptions"][HOME]["topics"] = [{"id": THEIRS, "source": f"/subscriptions/{HOME}", "identity": None}]


def no_registering(world):
    world["graph"]["allowed"] = "reading"


def no_directory(world):
    world["graph"]["allowed"] = "nothing"


CLOUDS = {
    unregistered: (
        f"Microsoft.EventGrid is not registered in the subscription {HOME}",
        f"az provider register --namespace Microsoft.EventGrid --subscription {HOME} --wait",
    ),
    registering: ("Microsoft.Web is not registered", "ENDPOINT_MEDIC_REGISTER_PROVIDERS true"),
    signed_out: ("Please run 'az login' to setup account", "az login --tenant <tenant>"),
    azd_signed_out: ("azd is not signed in", "azd auth login"),
    azd_fails_when_signed_out: ("azd is not signed in, or does not tell: ERROR: not logged in", "azd auth login"),
    active_in_another_tenant: (
        f"the active subscription of `az` is of the tenant {ANOTHER_TENANT}, and the subscription {HOME} of {TENANT}",
        f"az account set --subscription {HOME}",
    ),
    group_in_another_region: (
        f"the resource group {OWN_GROUP} is in northeurope, and AZURE_LOCATION is westeurope",
        "azd env set AZURE_LOCATION northeurope     (or another environment: azd env new <name>)",
    ),
    locked_trail: (
        "the trail's immutability policy is locked, and ENDPOINT_MEDIC_TRAIL_LOCKED is not true",
        "azd env set ENDPOINT_MEDIC_TRAIL_LOCKED true",
    ),
    no_bicep: ("`az` has no Bicep, with which the postdeploy hook subscribes to events", "az bicep install"),
    expired: ("The refresh token has expired", "az login"),
    disabled: (f"the subscription {HOME} is Disabled", "azd env set AZURE_SUBSCRIPTION_ID"),
    not_seen: (
        f"`az` cannot use the subscription {HOME}",
        "az login --tenant <tenant>     (that of azd is another)",
    ),
    contributor: (
        "you may not do Microsoft.Authorization/roleAssignments/write, Microsoft.Authorization/roleDefinitions/write",
        f"az role assignment create --assignee <you> --role Owner --scope /subscriptions/{HOME}",
    ),
    deleted_vault: (
        f"the vault {VAULT} of this environment was deleted, and keeps its name till 2027-02-20",
        f"recover --name {VAULT} --location westeurope     (with its keys)\n   then: azd provision --no-state",
    ),
    topic_without_identity: (
        f"the system topic {THEIRS} of",
        f"az eventgrid system-topic update --ids {THEIRS} --mi-system-assigned",
    ),
    no_registering: ("you may not register an app in this tenant", "az ad app owner add --id <its client id>"),
    no_directory: ("you may not look for an app registration", "azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"),
}


@pytest.mark.parametrize(
    ("change", "words", "fix"), [(c, *w) for c, w in CLOUDS.items()], ids=[c.__name__ for c in CLOUDS]
)
def test_an_azure_that_would_not_do_is_refused_before_anything_is_created(machine, change, words, fix):
    change(machine.world)
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert words in err
    assert fix in err
    assert "One thing has to be put right first." in err
    assert machine.world["graph_of_another_tenant"] == directory()
    graph = machine.world["graph"]
    assert (graph["applications"], graph["principals"], machine.world["env"].get("ENDPOINT_MEDIC_TOPICS")) == (
        [],
        [],
        None,
    )


def test_all_that_is_wrong_is_told_at_once(machine):
    machine.world["env"].update(
        ENDPOINT_MEDIC_MODE="on", ENDPOINT_MEDIC_TEAMS="maybe", ENDPOINT_MEDIC_WATCH=f"{GROUP},x"
    )
    unregistered(machine.world)
    contributor(machine.world)
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert "preprovision: 6 things have to be put right first." in err
    assert re.findall(r"^(\d)\. (\S+ \S+)", err, re.MULTILINE) == [
        ("1", "ENDPOINT_MEDIC_MODE is"),
        ("2", "ENDPOINT_MEDIC_TEAMS is"),
        ("3", "ENDPOINT_MEDIC_WATCH names"),
        ("4", "ENDPOINT_MEDIC_WATCH names"),
        ("5", "Microsoft.EventGrid is"),
        ("6", "you may"),
    ]
    assert machine.world["writes"] == []


@pytest.mark.parametrize(("program", "page"), [("az", "install-azure-cli"), ("azd", "install-azd")])
def test_a_program_that_is_missing_is_named_with_its_page(machine, program, page):
    machine.remove(program)
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"`{program}` is not on the PATH" in err
    assert page in err


def test_a_workspace_in_another_region_is_told_its_own(machine):
    machine.world["resources"][WORKSPACE.lower()] = {"location": "northeurope"}
    machine.world["env"]["ENDPOINT_MEDIC_MODEL_EVENTS"] = f"westeurope={WORKSPACE}"
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"azd env set ENDPOINT_MEDIC_MODEL_EVENTS northeurope={WORKSPACE}" in err


def test_the_other_workspaces_stay_in_the_list_that_is_told(machine):
    regions = {WORKSPACE: "northeurope", f"{WORKSPACE}-2": "westeurope"}
    machine.world["resources"] = {id_.lower(): {"location": region} for id_, region in regions.items()}
    machine.world["env"]["ENDPOINT_MEDIC_MODEL_EVENTS"] = f"westeurope={WORKSPACE}-2,westeurope={WORKSPACE}"
    code, _, err = machine.run(preprovision)
    assert code == 1
    right = f"westeurope={WORKSPACE}-2,northeurope={WORKSPACE}"
    assert f"azd env set ENDPOINT_MEDIC_MODEL_EVENTS {right}\n" in err


def test_what_is_no_tenant_is_in_no_command(machine):
    machine.world["env"]["AZURE_TENANT_ID"] = "x; rm -rf ~ $(id)"
    signed_out(machine.world)
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert "--tenant x" not in err


NONE = "It brings no right to change anything; what an earlier ask or auto brought stays."
OPERATOR = f"It brings Endpoint Medic Operator (changes and deletes online deployments) on /subscriptions/{HOME}"
GRANTING = f"Endpoint Medic Granter (gives roles) on {GROUP}; Endpoint Medic Undo (takes them back) on {GROUP}"
MODES = {"off": NONE, "ask": f"{OPERATOR}.", "auto": f"{OPERATOR}; {GRANTING}."}


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_and_the_rights_that_come_with_it_are_told_last(machine, mode):
    machine.world["env"]["ENDPOINT_MEDIC_MODE"] = mode
    if mode == "auto":
        machine.world["resources"][GROUP.lower()] = {"location": "westeurope"}
        machine.world["env"].update(ENDPOINT_MEDIC_GRANT_SCOPES=GROUP, ENDPOINT_MEDIC_UNDO_PRINCIPALS=PRINCIPAL)
    code, out, _ = machine.run(preprovision)
    assert (code, out.splitlines()[-1]) == (0, f"Mode to be deployed: {mode} (ENDPOINT_MEDIC_MODE). {MODES[mode]}")


def test_a_mode_that_the_shell_has_for_the_app_is_not_the_one_that_is_deployed(machine):
    machine.world["env"]["MEDIC_MODE"] = "auto"
    _, out, _ = machine.run(preprovision)
    assert out.splitlines()[-1].startswith("Mode to be deployed: dry-run (ENDPOINT_MEDIC_MODE).")


def test_a_deleted_vault_of_another_environment_or_region_is_nothing_to_us(machine):
    deleted_vault(machine.world)
    (vault,) = machine.world["deleted_vaults"]
    elsewhere = {**vault["properties"], "location": "northeurope"}
    another = {**vault["properties"], "tags": {"azd-env-name": "prod"}}
    machine.world["deleted_vaults"] = [{"name": "a", "properties": elsewhere}, {"name": "b", "properties": another}]
    assert machine.run(preprovision)[0] == 0


IN_ANOTHER_GROUP = f"{GROUP}/providers/Microsoft.KeyVault/vaults/{VAULT}"
OF_ANOTHER_NAME = f"/subscriptions/{HOME}/resourceGroups/rg-medic-dev/providers/Microsoft.KeyVault/vaults/kv-theirs"


@pytest.mark.parametrize("id_", [IN_ANOTHER_GROUP, OF_ANOTHER_NAME], ids=["another group", "another name"])
def test_a_strangers_deleted_vault_whose_azd_environment_has_our_name_is_nothing_to_us(machine, id_):
    deleted_vault(machine.world)
    (vault,) = machine.world["deleted_vaults"]
    properties = {**vault["properties"], "vaultId": id_}
    machine.world["deleted_vaults"] = [{"name": id_.split("/")[-1], "properties": properties}]
    assert machine.run(preprovision)[0] == 0


@pytest.mark.parametrize("id_", [IN_ANOTHER_GROUP, OF_ANOTHER_NAME], ids=["another group", "another name"])
def test_nor_is_such_a_vault_looked_into_for_our_secrets(machine, id_):
    machine.run(preprovision)
    provision(machine.world)
    del machine.world["env"]["ENDPOINT_MEDIC_VAULT"]
    machine.world["env"]["ENDPOINT_MEDIC_TEAMS"] = "true"
    machine.world["vaults"][VAULT]["secrets"]["medic-teams-url"] = "https://example.com/hook"
    theirs = {"id": id_, "name": id_.split("/")[-1], "tags": {"azd-env-name": "dev"}}
    machine.world["vaults_of_others"] = [theirs]
    code, _, err = machine.run(preprovision)
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "id_",
    [f"{GROUP}/providers/Microsoft.EventGrid/systemTopics/evgst-medic-abc", TOPIC.replace("evgst-medic-abc", "theirs")],
    ids=["another group", "another name"],
)
def test_a_strangers_topic_whose_azd_environment_has_our_name_is_used_and_not_made_again(machine, id_):
    machine.world["subscriptions"][HOME]["topics"] = [
        {
            "id": id_,
            "source": f"/subscriptions/{HOME}",
            "tags": {"azd-env-name": "dev"},
            "identity": {"type": "SystemAssigned"},
        }
    ]
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["ENDPOINT_MEDIC_TOPICS"] == f"/subscriptions/{HOME}={id_}"


def test_what_the_template_makes_is_ours():
    watch = f"/subscriptions/{HOME},/subscriptions/{ELSEWHERE}"
    infra = Path(preprovision.__file__).parents[1]
    values = {"environmentName": "Dev", "location": "westeurope", "watch": watch}
    made = deploy(infra, "main.bicep", values, Scope(HOME))
    given = {"AZURE_ENV_NAME": "Dev", "AZURE_SUBSCRIPTION_ID": HOME, "AZURE_LOCATION": "westeurope"}
    wanted, _ = preprovision.read(given | {"SERVICE_MEDIC_NAME": made.outputs["SERVICE_MEDIC_NAME"]})
    first, _ = preprovision.read(given)
    assert wanted is not None
    assert first is not None
    kinds = {"keyVault": "Microsoft.KeyVault/vaults", "eventGridSystemTopic": "Microsoft.EventGrid/systemTopics"}
    found = [(kind, one) for kind, type_ in kinds.items() for one in made.of(type_)]
    assert [kind for kind, _ in found] == ["keyVault", "eventGridSystemTopic", "eventGridSystemTopic"]
    for kind, one in found:
        assert preprovision.is_ours(wanted, kind, one.id, one.body["tags"]), one.id
        # Before anything was deployed, what is elsewhere is somebody else's, of the same environment's name or not.
        assert preprovision.is_ours(first, kind, one.id, one.body["tags"]) == (HOME in one.id), one.id


@pytest.mark.parametrize("is_known", [True, False], ids=["azd knows the vault", "a machine that is new each time"])
def test_a_secret_that_is_not_in_the_vault_is_missed_before_the_app_waits_for_it(machine, is_known):
    machine.run(preprovision)
    provision(machine.world)
    if not is_known:
        del machine.world["env"]["ENDPOINT_MEDIC_VAULT"]
    machine.world["env"]["ENDPOINT_MEDIC_TEAMS"] = "true"
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"the vault {VAULT} has no secret medic-teams-url" in err
    machine.world["vaults"][VAULT]["secrets"]["medic-teams-url"] = "https://example.com/hook"
    code, _, err = machine.run(preprovision)
    assert (code, err, machine.world["writes"]) == (0, "", [])


def test_a_vault_that_cannot_be_looked_into_yet_is_left_for_later(machine):
    machine.run(preprovision)
    provision(machine.world)
    machine.world["env"]["ENDPOINT_MEDIC_WEBHOOK"] = "true"
    machine.world["vaults"][VAULT]["denied"] = 1
    code, out, _ = machine.run(preprovision)
    assert code == 0
    assert f"Note: whether the vault {VAULT} has medic-webhook-url is seen after provisioning" in out


# ------------------------------------------------------------------------------------------------ what it does besides


def test_providers_are_registered_if_that_is_asked_for(machine):
    unregistered(machine.world)
    machine.world["env"].update(
        ENDPOINT_MEDIC_REGISTER_PROVIDERS="true", ENDPOINT_MEDIC_WATCH=f"/subscriptions/{ELSEWHERE}"
    )
    machine.world["subscriptions"][ELSEWHERE]["providers"] = {"Microsoft.EventGrid": "NotRegistered"}
    code, out, _ = machine.run(preprovision)
    assert code == 0
    assert f"Register Microsoft.EventGrid in {ELSEWHERE}" in out
    assert machine.world["writes"].count("provider register") == 2
    assert machine.world["subscriptions"][ELSEWHERE]["providers"] == {"Microsoft.EventGrid": "Registered"}
    assert machine.run(preprovision)[0] == 0
    assert machine.world["writes"] == []


def test_a_topic_that_stands_already_is_kept_by_its_source(machine):
    machine.world["subscriptions"][HOME]["topics"] = [
        {"id": f"{THEIRS}-too", "source": GROUP, "identity": None},
        {
            "id": THEIRS,
            "source": f"/SUBSCRIPTIONS/{HOME}",
            "tags": None,
            "identity": {"type": "SystemAssigned, UserAssigned"},
        },
    ]
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["ENDPOINT_MEDIC_TOPICS"] == f"/subscriptions/{HOME}={THEIRS}"
    machine.world["subscriptions"][HOME]["topics"] = []
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["ENDPOINT_MEDIC_TOPICS"] == ""


def test_a_workspaces_topic_is_looked_for_in_its_own_subscription(machine):
    workspace = WORKSPACE.replace(HOME, ELSEWHERE)
    machine.world["resources"][workspace.lower()] = {"location": "westeurope"}
    machine.world["env"]["ENDPOINT_MEDIC_MODEL_EVENTS"] = f"westeurope={workspace}"
    machine.world["subscriptions"][ELSEWHERE]["topics"] = [
        {"id": THEIRS, "source": workspace.lower(), "identity": {"type": "SystemAssigned"}}
    ]
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["ENDPOINT_MEDIC_TOPICS"] == f"{workspace}={THEIRS}"


def test_where_a_topic_stands_nobody_needs_to_make_a_resource_group(machine):
    machine.world["env"]["ENDPOINT_MEDIC_WATCH"] = f"/subscriptions/{ELSEWHERE}"
    actions = ["Microsoft.Authorization/*", "Microsoft.Resources/deployments/*"]
    machine.world["subscriptions"][ELSEWHERE]["permissions"] = [{"actions": actions, "notActions": []}]
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert (
        f"you may not do Microsoft.Resources/subscriptions/resourceGroups/write in the subscription {ELSEWHERE}" in err
    )
    machine.world["subscriptions"][ELSEWHERE]["topics"] = [
        {"id": THEIRS, "source": f"/subscriptions/{ELSEWHERE}", "identity": {"type": "SystemAssigned"}}
    ]
    assert machine.run(preprovision)[0] == 0


def test_a_program_that_deploys_is_called_one_and_a_person_after_it_a_person(machine):
    machine.world["user_type"] = "servicePrincipal"
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"
    machine.world["user_type"] = "user"
    assert machine.run(preprovision)[0] == 0
    assert machine.world["env"]["AZURE_PRINCIPAL_TYPE"] == "User"
    assert machine.run(preprovision)[0] == 0
    assert machine.world["writes"] == []


@pytest.mark.parametrize("user_type", ["user", "servicePrincipal"])
def test_whoever_az_is_signed_in_as_may_be_the_one_that_azd_names(machine, user_type):
    machine.world["user_type"] = user_type
    machine.world["env"]["AZURE_PRINCIPAL_ID"] = DEPLOYER.upper()
    code, out, err = machine.run(preprovision)
    assert (code, err) == (0, "")
    assert "Note: whether `az`" not in out


def test_another_principal_than_az_is_signed_in_as_is_told_and_refused_nothing(machine):
    az_as_another(machine.world)
    code, out, err = machine.run(preprovision)
    assert (code, err) == (0, "")
    assert f"Note: `az` is signed in as {DEPLOYER}, and AZURE_PRINCIPAL_ID is {PRINCIPAL}. Who `azd` is signed" in out


def test_a_directory_that_does_not_tell_who_az_is_signed_in_as_hinders_nothing(machine):
    machine.world["user_type"] = "servicePrincipal"
    machine.world["graph"]["allowed"] = "nothing"
    machine.world["env"].update(AZURE_PRINCIPAL_ID=PRINCIPAL, ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID=CLIENT_ID)
    code, out, _ = machine.run(preprovision)
    assert code == 0
    assert "Note: whether `az` is signed in as AZURE_PRINCIPAL_ID is not known: ERROR: Insufficient privileges" in out


def test_a_trail_that_is_locked_and_said_to_be_is_left_alone(machine):
    locked_trail(machine.world)
    machine.world["env"]["ENDPOINT_MEDIC_TRAIL_LOCKED"] = "true"
    assert machine.run(preprovision)[0] == 0


def test_nor_is_a_records_account_missed_that_is_gone(machine):
    locked_trail(machine.world)
    machine.world["resources"] = {}
    assert machine.run(preprovision)[0] == 0


def test_but_a_trail_that_cannot_be_looked_at_is_not_taken_for_one_that_is_not_locked(machine):
    locked_trail(machine.world)
    machine.world["faults"] = [{"at": "immutabilityPolicies", "times": 1, "words": "AuthorizationFailed"}]
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"whether there is {TRAIL_POLICY} cannot be read: ERROR: AuthorizationFailed" in err
    assert machine.world["writes"] == []


def test_nor_is_a_group_that_cannot_be_looked_at_and_the_rest_is_told_too(machine):
    contributor(machine.world)
    machine.world["faults"] = [{"at": "resourceGroups/rg-medic-dev?", "times": 1, "words": "AuthorizationFailed"}]
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"whether there is {OWN_GROUP} cannot be read: ERROR: AuthorizationFailed" in err
    assert "you may not do Microsoft.Authorization/roleAssignments/write" in err


def test_nothing_is_looked_for_where_its_provider_is_not_registered(machine):
    machine.world["subscriptions"][HOME]["providers"] = {}
    machine.world["env"]["ENDPOINT_MEDIC_REGISTER_PROVIDERS"] = "true"
    code, _, err = machine.run(preprovision)
    assert (code, err) == (0, "")
    assert machine.world["writes"].count("provider register") == 7


# --------------------------------------------------------------------------------------------------- the registration


def test_ci_without_rights_in_the_directory_goes_on_with_the_client_id_it_has(machine):
    machine.world["graph"]["allowed"] = "nothing"
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    code, out, _ = machine.run(preprovision)
    assert code == 0
    assert f"Note: the app registration {CLIENT_ID} is taken as it is" in out


def test_a_run_that_broke_off_is_completed_by_the_next_and_makes_no_second_app(machine):
    machine.world["faults"] = [{"at": f"applications(appId='{CLIENT_ID}') --body", "times": 1, "words": "Bad Gateway"}]
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert "Bad Gateway" in err
    assert "azd hooks run preprovision" in err
    assert "ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID" not in machine.world["env"]
    assert machine.run(preprovision)[0] == 0
    assert registration(machine)["identifierUris"] == [f"api://{CLIENT_ID}"]
    assert machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] == CLIENT_ID


def test_also_one_that_could_not_keep_what_it_made(machine):
    machine.world["faults"] = [{"at": "env set", "times": 1, "words": "disk full"}]
    assert machine.run(preprovision)[0] == 1
    assert machine.run(preprovision)[0] == 0
    assert machine.world["writes"] == ["env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"]
    assert len(machine.world["graph"]["applications"]) == 1


def test_entra_id_is_given_time_to_learn_what_was_made(machine):
    machine.world["graph"]["lag_after_making"] = 5
    code, out, _ = machine.run(preprovision)
    assert (code, machine.time) == (0, 50)
    assert "Waiting for Entra ID to know what was made" in out
    assert out.count("Let the Azure CLI ask for tokens of the app") == 1


def test_but_not_for_ever(machine):
    machine.world["graph"]["lag_after_making"] = 1000
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert machine.time <= 180
    assert "queried reference-property objects are not present" in err


def given(**changes: Any) -> dict[str, Any]:
    """Give a registration that a person made."""
    theirs: dict[str, Any] = {
        "id": "object-9",
        "appId": CLIENT_ID,
        "signInAudience": "AzureADMyOrg",
        "identifierUris": ["api://theirs"],
        "appRoles": [],
        "api": {"oauth2PermissionScopes": []},
        "web": {"redirectUris": ["https://theirs.example/back"]},
        "optionalClaims": None,
    }
    return {**theirs, **changes}


def test_a_registration_that_a_person_made_keeps_what_it_has(machine):
    older = {
        **ROLES[0],
        "id": "00000000-0000-0000-0000-00000000000a",
        "allowedMemberTypes": ["User"],
        "isEnabled": False,
    }
    another = {**ROLES[0], "id": "00000000-0000-0000-0000-00000000000b", "value": "Theirs"}
    machine.world["graph"]["applications"] = [given(appRoles=[older, another])]
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    assert machine.run(preprovision)[0] == 0
    app = registration(machine)
    assert app["appRoles"] == [
        {**older, "allowedMemberTypes": ["User", "Application"], "isEnabled": True},
        another,
        *ROLES[1:],
    ]
    assert app["identifierUris"] == ["api://theirs", f"api://{CLIENT_ID}"]
    assert app["web"]["redirectUris"] == ["https://theirs.example/back"]
    assert machine.run(preprovision)[0] == 0
    assert machine.world["writes"] == []


def test_one_that_is_open_to_other_tenants_is_refused(machine):
    machine.world["graph"]["applications"] = [given(signInAudience="AzureADMultipleOrgs")]
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"az ad app update --id {CLIENT_ID} --sign-in-audience AzureADMyOrg" in err
    assert machine.world["writes"] == []


def test_one_that_whoever_deploys_may_not_change_names_its_owners(machine):
    machine.world["graph"].update(applications=[given()], allowed="reading")
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    code, _, err = machine.run(preprovision)
    assert code == 1
    assert f"you may not change the app registration {CLIENT_ID}" in err
    assert f"az ad app owner add --id {CLIENT_ID} --owner-object-id <your object id>" in err


def test_one_that_anybody_may_use_is_closed(machine):
    machine.run(preprovision)
    machine.world["graph"]["principals"][0]["appRoleAssignmentRequired"] = False
    assert machine.run(preprovision)[0] == 0
    assert machine.world["graph"]["principals"][0]["appRoleAssignmentRequired"] is True


# --------------------------------------------------------------------------------------------------------- the policy

POLICIES = [
    pytest.param("actions: {}\n", (), id="none"),
    pytest.param("subscriptions: []\n", (), id="empty"),
    pytest.param(f"subscriptions: [{HOME}, '{ELSEWHERE}']  # both\n", (HOME, ELSEWHERE), id="in brackets"),
    pytest.param(f"subscriptions: [\n  {HOME},\n  {ELSEWHERE}\n]\nrules: []\n", (HOME, ELSEWHERE), id="over lines"),
    pytest.param(f"subscriptions:\n  - {HOME.upper()}\n  # - {ELSEWHERE}\nx: 1\n", (HOME,), id="as a list"),
    pytest.param(f"subscriptions:\n- {HOME}\n\n- {ELSEWHERE}\nidle: {{}}\n", (HOME, ELSEWHERE), id="not indented"),
    pytest.param(f"# subscriptions: [{HOME}]\nrules:\n  - scope: {{subscription: {HOME}}}\n", (), id="elsewhere"),
]


@pytest.mark.parametrize(("text", "named"), POLICIES)
def test_the_policys_subscriptions_are_read_without_a_library(text, named):
    assert preprovision.policy_subscriptions(text) == named


@pytest.mark.parametrize(
    ("policy", "note"),
    [
        ("{}", "names no subscriptions: failures that no event told of are not found."),
        (f"subscriptions: [{ELSEWHERE}]", "does not name all that is watched: events of the others are ignored."),
    ],
)
def test_what_the_sweep_would_not_see_is_told_and_hinders_nothing(machine, policy, note):
    (preprovision.ROOT / "policy.yaml").write_text(policy)
    code, out, _ = machine.run(preprovision)
    assert code == 0
    assert f"Note: policy.yaml {note} Add this line to it: subscriptions: [" in out
