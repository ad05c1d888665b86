"""postprovision: keys are made once and shown to nobody, sign-in trusts the app, and its settings are fetched."""

import base64
import copy
import json
from pathlib import Path

import postprovision
import preprovision
import pytest

from remediations import settings
from tests.infra.azure_world import (
    ANOTHER_TENANT,
    APP,
    CLIENT_ID,
    ELSEWHERE,
    HOME,
    IDENTITY,
    TENANT,
    VAULT,
    Machine,
    directory,
    project,
    provision,
)

CALLBACK = f"https://{APP}.azurewebsites.net/.auth/login/aad/callback"
REFRESH = (
    f"post /subscriptions/{HOME}/resourceGroups/rg-medic-dev/providers/Microsoft.Web/sites/{APP}"
    "/config/configreferences/appsettings/refresh?api-version=2022-03-01"
)


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd) -> Machine:
    """One where `azd provision` has just done its work."""
    machine = Machine(tmp_path, monkeypatch, capfd)
    graph = machine.world["graph"]
    graph["applications"] = [
        {"appId": CLIENT_ID, "web": {"redirectUris": []}, "appRoles": [], "api": {}, "signInAudience": "AzureADMyOrg"}
    ]
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    provision(machine.world)
    return machine


def secrets(machine: Machine) -> dict[str, str]:
    found: dict[str, str] = machine.world["vaults"][VAULT]["secrets"]
    return found


def test_the_first_run_makes_the_keys_trusts_the_identity_and_fetches_the_settings(machine):
    code, _, err = machine.run(postprovision)
    assert (code, err) == (0, "")
    assert machine.world["writes"] == [
        "keyvault secret set",
        "keyvault secret set",
        f"patch applications(appId='{CLIENT_ID}')",
        f"patch applications(appId='{CLIENT_ID}')/federatedIdentityCredentials(name='endpoint-medic-identity')",
        REFRESH,
    ]


def test_a_second_run_changes_nothing(machine):
    machine.run(postprovision)
    before = (dict(secrets(machine)), machine.world["graph"])
    code, _, err = machine.run(postprovision)
    assert (code, err, machine.world["writes"]) == (0, "", [])
    assert (secrets(machine), machine.world["graph"]) == before


def test_a_dry_run_changes_nothing_and_prints_what_would(machine):
    code, out, _ = machine.run(postprovision, "--dry-run")
    assert (code, machine.world["writes"]) == (0, [])
    assert f"Would make the secret medic-anchor-key: az keyvault secret set --vault-name {VAULT}" in out
    assert f"Would let people come back to {CALLBACK}" in out
    assert list(Path(machine.temporary).iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ secrets


def test_the_keys_are_of_the_form_that_the_app_takes(machine):
    machine.run(postprovision)
    anchor, approval = secrets(machine)["medic-anchor-key"], secrets(machine)["medic-approval-keys"]
    loaded = settings.load({"MEDIC_ANCHOR_KEY": anchor, "MEDIC_APPROVAL_KEYS": approval})
    assert len(base64.b64decode(anchor, validate=True)) == 32
    assert loaded.anchor_key == anchor
    assert list(loaded.approval_keys) == ["k1"]
    assert loaded.approval_active_kid == "k1"
    assert len(base64.urlsafe_b64decode(loaded.approval_keys["k1"] + "=")) == 32


def test_each_environment_has_keys_of_its_own():
    assert len({postprovision.anchor_key() for _ in range(20)}) == 20
    assert len({postprovision.approval_keys() for _ in range(20)}) == 20


def test_no_key_is_on_a_command_line_or_printed_or_left_in_a_file(machine):
    code, out, err = machine.run(postprovision)
    kept = secrets(machine)
    parts = [*kept.values(), json.loads(kept["medic-approval-keys"])["k1"]]
    for seen in (out, err, json.dumps(machine.world["calls"]), json.dumps(machine.world["env"])):
        assert not any(part in seen for part in parts)
    sets = [call for call in machine.world["calls"] if call[1:4] == ["keyvault", "secret", "set"]]
    assert [call[-2:] for call in sets] == [["--output", "none"]] * 2
    assert [mode for _, mode in machine.world["files"]] == ["0o600", "0o600"]
    assert list(Path(machine.temporary).iterdir()) == []
    assert code == 0


def test_nor_when_setting_it_fails(machine):
    machine.world["faults"] = [{"at": "medic-approval-keys", "times": 1, "words": "Bad Gateway"}]
    code, out, err = machine.run(postprovision)
    anchor = secrets(machine)["medic-anchor-key"]
    assert code == 1
    assert "Bad Gateway" in err
    assert anchor not in out + err
    assert list(Path(machine.temporary).iterdir()) == []


def test_a_run_that_broke_off_is_completed_by_the_next_which_keeps_the_key_that_is_there(machine):
    machine.world["faults"] = [{"at": "medic-approval-keys", "times": 1, "words": "Bad Gateway"}]
    machine.run(postprovision)
    anchor = secrets(machine)["medic-anchor-key"]
    assert machine.run(postprovision)[0] == 0
    assert secrets(machine)["medic-anchor-key"] == anchor
    assert machine.world["writes"].count("keyvault secret set") == 1


def test_keys_that_a_person_put_there_are_neither_read_nor_changed(machine):
    theirs = {"medic-anchor-key": "theirs", "medic-approval-keys": "theirs too"}
    machine.world["vaults"][VAULT]["secrets"] = theirs
    assert machine.run(postprovision)[0] == 0
    assert secrets(machine) == theirs
    assert not any(call[1:4] == ["keyvault", "secret", "show"] for call in machine.world["calls"])


def test_the_right_to_the_vault_is_given_time_to_hold(machine):
    machine.world["vaults"][VAULT]["denied"] = 3
    code, out, _ = machine.run(postprovision)
    assert (code, machine.time) == (0, 45)
    assert f"Waiting for the right to the secrets of {VAULT} (0 s of at most 600 s)" in out
    assert set(secrets(machine)) == {"medic-anchor-key", "medic-approval-keys"}


def test_but_not_for_ever(machine):
    machine.world["vaults"][VAULT]["denied"] = 1000
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert machine.time <= 600
    assert f"you have no right to the secrets of the vault {VAULT}" in err
    assert '--role "Key Vault Secrets Officer" --scope' in err


def test_a_vault_that_lets_nobody_in_from_here_is_told_at_once(machine):
    words = 'Client address is not authorized\nInner error: {"code": "ForbiddenByFirewall"}'
    machine.world["faults"] = [{"at": "keyvault secret list", "times": 1, "words": words}]
    code, _, err = machine.run(postprovision)
    assert (code, machine.time) == (1, 0)
    assert f"the vault {VAULT} lets nobody in from this network" in err


def test_a_key_that_was_deleted_is_not_made_anew(machine):
    machine.world["vaults"][VAULT]["deleted"] = ["medic-anchor-key"]
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert f"az keyvault secret recover --vault-name {VAULT} --name medic-anchor-key" in err
    assert list(secrets(machine)) == ["medic-approval-keys"]


@pytest.mark.parametrize(
    ("switch", "secret"),
    [("ENDPOINT_MEDIC_TEAMS", "medic-teams-url"), ("ENDPOINT_MEDIC_WEBHOOK", "medic-webhook-url")],
)
def test_a_channel_without_its_secret_is_refused_with_the_command(machine, switch, secret):
    machine.world["env"][switch] = "true"
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert f"{switch} is true, and the vault {VAULT} has no secret {secret}" in err
    assert f"az keyvault secret set --vault-name {VAULT} --name {secret} --file" in err
    assert f"azd env set {switch} false" in err
    secrets(machine)[secret] = "https://example.com/hook"
    assert machine.run(postprovision)[0] == 0


def test_what_the_template_should_have_told_and_did_not_is_named(machine):
    del machine.world["env"]["ENDPOINT_MEDIC_VAULT"]
    del machine.world["env"]["SERVICE_MEDIC_URI"]
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert "2 things have to be put right first" in err
    assert "ENDPOINT_MEDIC_VAULT is not in the azd environment" in err
    assert "azd provision --no-state" in err
    assert machine.world["calls"] == []


# ------------------------------------------------------------------------------------------------------------ sign-in


def test_people_come_back_to_the_app_and_its_identity_signs_for_the_registration(machine):
    machine.run(postprovision)
    (app,) = machine.world["graph"]["applications"]
    assert app["web"]["redirectUris"] == [CALLBACK]
    assert app["credentials"] == [
        {
            "name": "endpoint-medic-identity",
            "issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0",
            "subject": IDENTITY,
            "audiences": ["api://AzureADTokenExchange"],
        }
    ]


def test_what_others_added_to_the_registration_stays(machine):
    (app,) = machine.world["graph"]["applications"]
    theirs = {"name": "theirs", "issuer": "https://token.example", "subject": "s", "audiences": ["a"]}
    app.update(web={"redirectUris": ["https://theirs.example/back"]}, credentials=[theirs])
    machine.run(postprovision)
    (app,) = machine.world["graph"]["applications"]
    assert app["web"]["redirectUris"] == ["https://theirs.example/back", CALLBACK]
    assert app["credentials"][0] == theirs
    assert len(app["credentials"]) == 2


def test_an_identity_that_was_made_anew_takes_the_old_ones_place(machine):
    machine.run(postprovision)
    machine.world["env"]["ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID"] = "00000000-0000-0000-0000-0000000000f2"
    assert machine.run(postprovision)[0] == 0
    (app,) = machine.world["graph"]["applications"]
    assert [one["subject"] for one in app["credentials"]] == ["00000000-0000-0000-0000-0000000000f2"]


def test_another_cloud_has_another_issuer_and_audience(machine):
    machine.world["cloud"] = "AzureUSGovernment"
    assert machine.run(postprovision)[0] == 0
    (app,) = machine.world["graph"]["applications"]
    (credential,) = app["credentials"]
    assert credential["issuer"] == f"https://login.microsoftonline.us/{TENANT}/v2.0"
    assert credential["audiences"] == ["api://AzureADTokenExchangeUSGov"]


def test_the_directory_of_another_tenant_is_not_touched(machine):
    machine.world["active"] = ELSEWHERE
    machine.world["subscriptions"][ELSEWHERE]["tenant"] = ANOTHER_TENANT
    theirs = directory()
    theirs["applications"] = copy.deepcopy(machine.world["graph"]["applications"])
    machine.world["graph_of_another_tenant"] = copy.deepcopy(theirs)
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert f"the active subscription of `az` is of the tenant {ANOTHER_TENANT}" in err
    assert f"az account set --subscription {HOME}" in err
    assert machine.world["graph_of_another_tenant"] == theirs


def test_ci_without_rights_in_the_directory_goes_on_and_says_so(machine):
    machine.world["graph"]["allowed"] = "nothing"
    code, out, _ = machine.run(postprovision)
    assert code == 0
    assert f"Note: the app registration {CLIENT_ID} is taken as it is" in out
    assert machine.world["site"]["refreshed"]


def test_a_registration_that_is_gone_is_refused(machine):
    machine.world["graph"]["applications"] = []
    code, _, err = machine.run(postprovision)
    assert code == 1
    assert "this tenant has no such registration" in err


def test_it_goes_on_where_preprovision_left_off(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(preprovision, "ROOT", project(tmp_path))
    machine.world["graph"]["applications"] = []
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = ""
    assert machine.run(preprovision)[0] == 0
    assert machine.run(postprovision)[0] == 0
    (app,) = machine.world["graph"]["applications"]
    assert app["web"] == {"redirectUris": [CALLBACK], "implicitGrantSettings": {"enableIdTokenIssuance": True}}


# ----------------------------------------------------------------------------------------------------------- settings


def test_settings_that_have_their_values_are_left_alone(machine):
    machine.world["vaults"][VAULT]["secrets"] = {"medic-anchor-key": "a", "medic-approval-keys": "b"}
    machine.world["site"]["refreshed"] = True
    assert machine.run(postprovision)[0] == 0
    assert REFRESH not in machine.world["writes"]


def test_settings_that_get_no_values_are_told_in_time_and_do_not_hinder(machine):
    machine.world["site"]["never_resolves"] = True
    code, out, _ = machine.run(postprovision)
    assert code == 0
    assert machine.time <= 300
    assert "MEDIC_ANCHOR_KEY SecretNotFound, MEDIC_APPROVAL_KEYS SecretNotFound" in out
    assert "az rest --method post --url /subscriptions/" in out


def test_a_platform_that_does_not_tell_is_not_taken_for_one_that_has_them(machine):
    machine.world["faults"] = [{"at": "configreferences", "times": 9, "words": "Not Found"}]
    code, out, _ = machine.run(postprovision)
    assert code == 0
    assert "Note: whether the app has its settings from the vault is not known" in out
