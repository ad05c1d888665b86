"""A setting that cannot be used is refused, with the fix; the defaults are safe."""

from datetime import timedelta
from pathlib import Path

import pytest

from remediations.errors import SettingsError
from remediations.model import Mode
from remediations.proof import checkpoint
from remediations.settings import DESCRIPTIONS, REFUSED_IN_AZURE, Settings, is_loopback, load

AZURE = {"WEBSITE_INSTANCE_ID": "i1", "MEDIC_STORE": "https://acct.blob.core.windows.net"}
GUID = "aaaaaaaa-0000-4000-8000-000000000001"
KEY = "k" * 32
SECRET = "s3cret-of-a-url"


def test_without_any_setting_nothing_is_written_anywhere_but_home():
    settings = load({})
    assert (settings.mode, settings.store, settings.time_scale, settings.is_azure) == (Mode.DRY_RUN, ".medic", 1, False)
    assert settings.arm_url == "https://management.azure.com"
    assert settings.arm_scope == "https://management.azure.com/.default"
    assert settings == Settings()


def test_an_empty_setting_is_none():
    assert load(dict.fromkeys(DESCRIPTIONS, "")) == Settings()


@pytest.mark.parametrize("setting", list(DESCRIPTIONS))
def test_a_secret_that_azure_could_not_read_is_told_with_what_to_do(setting):
    reference = "@Microsoft.KeyVault(VaultName=kv-medic;SecretName=medic-teams-url)"
    with pytest.raises(SettingsError) as refused:
        load({**AZURE, setting: reference})
    assert str(refused.value) == (
        f"{setting} is {reference!r}: Azure could not read the secret that it refers to. Let the secret exist "
        "(az keyvault secret set --vault-name kv-medic --name medic-teams-url --file FILE --output none), give the "
        "app's identity Key Vault Secrets User on the vault, and have it read again (az rest --method post --url "
        '"<id of the app>/config/configreferences/appsettings/refresh?api-version=2022-03-01").'
    )


@pytest.mark.parametrize(
    "reference",
    [
        "@Microsoft.KeyVault(SecretUri=https://kv-medic.vault.azure.net/secrets/x)",
        "@microsoft.keyvault(",
        "@Microsoft.KeyVault(VaultName=a",
    ],
)
def test_a_reference_of_any_form_is_refused(reference):
    with pytest.raises(SettingsError, match="--vault-name <vault> --name <secret>"):
        load({"MEDIC_WEBHOOK_URL": reference})


def test_other_programs_variables_are_not_ours():
    assert load({"PATH": "/bin", "MEDIC_TASK_HUB": "x", "MEDIC_RESEARCH": "/r", "MEDICAL_MODE": "auto"}) == Settings()
    assert load({"MEDIC_LIVE_DEPLOYMENT": "/subscriptions/x", "MEDIC_LIVE_WRITE": "y"}) == Settings()


@pytest.mark.parametrize(
    ("environment", "setting", "words"),
    [
        pytest.param({"MEDIC_MOD": "auto"}, "MEDIC_MOD", "Did you mean MEDIC_MODE?", id="a typo"),
        pytest.param({"MEDIC_POLCY": "x"}, "MEDIC_POLCY", "Did you mean MEDIC_POLICY?", id="another typo"),
        pytest.param({"MEDIC_ZZZ": "x"}, "MEDIC_ZZZ", "README.md lists the settings", id="no such setting"),
        pytest.param({"MEDIC_MODE": "automatic"}, "MEDIC_MODE", "off, dry-run, ask, auto", id="no such mode"),
        pytest.param({"MEDIC_MODE": "AUTO"}, "MEDIC_MODE", "no such mode", id="a mode in capitals"),
        pytest.param({"MEDIC_TIME_SCALE": "fast"}, "MEDIC_TIME_SCALE", "not a number", id="no number"),
        pytest.param({"MEDIC_TIME_SCALE": "0.5"}, "MEDIC_TIME_SCALE", "out of range", id="slower"),
        pytest.param({"MEDIC_TIME_SCALE": "nan"}, "MEDIC_TIME_SCALE", "out of range", id="not a number at all"),
        pytest.param({"MEDIC_TIME_SCALE": "inf"}, "MEDIC_TIME_SCALE", "out of range", id="no wait at all"),
        pytest.param(
            {**AZURE, "MEDIC_TIME_SCALE": "2"}, "MEDIC_TIME_SCALE", "Remove it in Azure", id="scaled in Azure"
        ),
        pytest.param({"MEDIC_SEND_SECONDS": "0"}, "MEDIC_SEND_SECONDS", "1 to 120", id="no time to send"),
        pytest.param({"MEDIC_SEND_SECONDS": "121"}, "MEDIC_SEND_SECONDS", "1 to 120", id="too long to send"),
        pytest.param({"MEDIC_ARM_URL": "http://management.azure.com"}, "MEDIC_ARM_URL", "https", id="no https"),
        pytest.param(
            {"MEDIC_ARM_URL": "http://127.0.0.1.evil.example"}, "MEDIC_ARM_URL", "https", id="a false loopback"
        ),
        pytest.param({"MEDIC_ARM_URL": "management.azure.com"}, "MEDIC_ARM_URL", "https", id="no scheme"),
        pytest.param({"MEDIC_ARM_URL": "https://"}, "MEDIC_ARM_URL", "names no host", id="no host"),
        pytest.param({"MEDIC_ARM_URL": "http://["}, "MEDIC_ARM_URL", "https", id="no URL"),
        pytest.param({"MEDIC_ARM_URL": "https://["}, "MEDIC_ARM_URL", "names no host", id="half a URL"),
        pytest.param({"MEDIC_ARM_TOKEN": "t0k3n"}, "MEDIC_ARM_TOKEN", "loopback only", id="a token for the real Azure"),
        pytest.param(
            {"MEDIC_STORE": "http://acct.blob.core.windows.net"}, "MEDIC_STORE", "https", id="a store without https"
        ),
        pytest.param({"MEDIC_STORE": "https://["}, "MEDIC_STORE", "names no host", id="a store that is no URL"),
        pytest.param({"WEBSITE_SITE_NAME": "app"}, "MEDIC_STORE", "a folder does not outlive", id="no store in Azure"),
        pytest.param(
            {**AZURE, "MEDIC_STORE": ".medic"}, "MEDIC_STORE", "a folder does not outlive", id="a folder in Azure"
        ),
        *(
            pytest.param({**environment, "MEDIC_STORE": store}, "MEDIC_STORE", "(hidden)", id=f"a store {what}")
            for environment, store, what in (
                (AZURE, f"https://user:{SECRET}@acct.blob.core.windows.net", "with a password"),
                (AZURE, f"https://acct.blob.core.windows.net?sig={SECRET}", "with a SAS"),
                (AZURE, f"https://acct.blob.core.windows.net/#{SECRET}", "with a fragment"),
                ({}, f"https://acct.blob.core.windows.net/?sig={SECRET}", "with a SAS off Azure"),
                ({}, f"http://127.0.0.1:10000/dev?sig={SECRET}", "with a SAS on loopback"),
                ({}, f"http://user:{SECRET}@acct.example", "with a password and without https"),
                ({}, f"HTTPS://acct.blob.core.windows.net?sig={SECRET}", "with a SAS, in capitals"),
                ({}, f"https://user:{SECRET}@[", "with a password, that is no URL"),
                (AZURE, f"ftp://user:{SECRET}@acct.example", "with a password, of another kind"),
            )
        ),
        pytest.param({"MEDIC_CLIENT_ID": "medic"}, "MEDIC_CLIENT_ID", "not a GUID", id="no client id"),
        pytest.param({"MEDIC_PRINCIPAL_ID": GUID + "0"}, "MEDIC_PRINCIPAL_ID", "not a GUID", id="no object id"),
        pytest.param({"MEDIC_APPROVAL_KEYS": "{"}, "MEDIC_APPROVAL_KEYS", "not JSON", id="no JSON"),
        pytest.param({"MEDIC_APPROVAL_KEYS": "[]"}, "MEDIC_APPROVAL_KEYS", "shorter", id="a list"),
        pytest.param(
            {"MEDIC_APPROVAL_KEYS": '{"k1": "short-s3cret"}'},
            "MEDIC_APPROVAL_KEYS",
            "shorter than 32",
            id="a short key",
        ),
        pytest.param({"MEDIC_APPROVAL_KEYS": '{"k1": 7}'}, "MEDIC_APPROVAL_KEYS", "shorter than 32", id="no key"),
        pytest.param(
            {"MEDIC_APPROVAL_KEYS": f'{{"k.1": "{KEY}"}}'}, "MEDIC_APPROVAL_KEYS", "id of a key", id="a dot in an id"
        ),
        pytest.param(
            {"MEDIC_APPROVAL_KEYS": f'{{"": "{KEY}"}}'}, "MEDIC_APPROVAL_KEYS", "id of a key", id="an empty id"
        ),
        pytest.param(
            {"MEDIC_APPROVAL_KEYS": f'{{"k1": "{KEY}"}}', "MEDIC_APPROVAL_ACTIVE_KID": "k2"},
            "MEDIC_APPROVAL_ACTIVE_KID",
            "no key has this id",
            id="an unknown key",
        ),
        *(
            pytest.param({**environment, name: url}, name, words, id=f"{name} {what}")
            for name in ("MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL", "MEDIC_OUTCOME_TOPIC")
            for environment, url, words, what in (
                ({}, "http://flow.example/p", "https", "without https"),
                ({}, "flow.example/p", "https", "without scheme"),
                ({}, "http://127.0.0.1.evil.example/p", "https", "of a false loopback"),
                (AZURE, "http://127.0.0.1:8080/p", "https", "on loopback in Azure"),
                ({}, "https://", "it is no URL", "without host"),
                ({}, "https://flow.example:99999/p", "it is no URL", "of no port"),
                ({}, "https://flow.example/a b", "it is no URL", "with a blank"),
                ({}, "https://flow.example/\u00e4", "it is no URL", "with an umlaut"),
                ({}, "https://flow.example/\r\nX: y", "it is no URL", "with a line"),
            )
        ),
        pytest.param({"MEDIC_TEAMS_URL": f"http://f.example/{SECRET}"}, "MEDIC_TEAMS_URL", "(hidden)", id="its secret"),
        pytest.param(
            {"MEDIC_WEBHOOK_URL": f"http://f.example/{SECRET}"}, "MEDIC_WEBHOOK_URL", "(hidden)", id="another"
        ),
        pytest.param(
            {"MEDIC_TEAM_URL": f"https://{SECRET}"}, "MEDIC_TEAM_URL", "MEDIC_TEAMS_URL?", id="a misspelt one"
        ),
        pytest.param({"MEDIC_SLACK": f"https://{SECRET}"}, "MEDIC_SLACK", "no such setting", id="an unknown one"),
        pytest.param({**AZURE, "MEDIC_NOTICES": "/n"}, "MEDIC_NOTICES", "Remove it in Azure", id="a folder of notices"),
        pytest.param({"MEDIC_APP_URL": "http://app.example"}, "MEDIC_APP_URL", "https", id="an app without https"),
        pytest.param({"MEDIC_APP_URL": "https://app.example\n"}, "MEDIC_APP_URL", "holds a blank", id="a line end"),
        pytest.param({"MEDIC_APP_URL": "https://"}, "MEDIC_APP_URL", "names no host", id="an app without host"),
        pytest.param({"MEDIC_DEV_SIGN_IN": "me"}, "MEDIC_DEV_SIGN_IN", "az ad signed-in-user", id="nobody"),
        pytest.param({**AZURE, "MEDIC_DEV_SIGN_IN": GUID}, "MEDIC_DEV_SIGN_IN", "Remove it", id="signed in in Azure"),
        pytest.param({**AZURE, "MEDIC_TIME_SCALE": "1"}, "MEDIC_TIME_SCALE", "Remove it", id="not scaled in Azure"),
        pytest.param({**AZURE, "MEDIC_ARM_TOKEN": "t0k3n"}, "MEDIC_ARM_TOKEN", "Remove it", id="a token in Azure"),
        pytest.param(
            {**AZURE, "MEDIC_ARM_URL": "http://127.0.0.1:8080", "MEDIC_ARM_TOKEN": "t0k3n"},
            "MEDIC_ARM_TOKEN",
            "a simulator on loopback",
            id="a simulator and its token in Azure",
        ),
        pytest.param(
            {**AZURE, "MEDIC_ARM_URL": "http://127.0.0.1:8080"},
            "MEDIC_ARM_URL",
            "no simulator runs in Azure",
            id="a simulator in Azure",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_fix(environment, setting, words):
    with pytest.raises(SettingsError) as refusal:
        load(environment)
    assert refusal.value.setting == setting
    assert words in str(refusal.value)
    for secret in ("t0k3n", "short-s3cret", KEY, SECRET):
        assert secret not in str(refusal.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_a_secret_from_a_file_may_end_in_a_line_end(end):
    anchor = checkpoint.new_key()
    settings = load(
        {
            "MEDIC_TEAMS_URL": f"https://flow.example/a?sig=b{end}",
            "MEDIC_WEBHOOK_URL": f"\nhttps://hook.example/c{end}",
            "MEDIC_APPROVAL_KEYS": f'{{"k1": "{KEY}"}}{end}',
            "MEDIC_ANCHOR_KEY": f"{anchor}{end}",
        }
    )
    assert (settings.teams_url, settings.webhook_url) == ("https://flow.example/a?sig=b", "https://hook.example/c")
    assert (settings.approval_keys, settings.anchor_key) == ({"k1": KEY}, anchor)


def test_a_secret_of_nothing_but_a_line_end_is_none():
    assert load(dict.fromkeys(("MEDIC_TEAMS_URL", "MEDIC_APPROVAL_KEYS", "MEDIC_ANCHOR_KEY"), "\n")) == Settings()


@pytest.mark.parametrize(
    ("setting", "value"), [("MEDIC_OUTCOME_TOPIC", "https://t.example/\n"), ("MEDIC_MODE", "ask\n")]
)
def test_what_is_no_secret_is_taken_as_it_is(setting, value):
    with pytest.raises(SettingsError):
        load({setting: value})


def test_what_is_set_is_used():
    settings = load(
        {
            "MEDIC_MODE": "ask",
            "MEDIC_ARM_URL": "http://127.0.0.1:8080/",
            "MEDIC_ARM_TOKEN": "t",
            "MEDIC_CLIENT_ID": GUID,
            "MEDIC_SEND_SECONDS": "5",
            "MEDIC_TIME_SCALE": "60",
            "MEDIC_APPROVAL_KEYS": f'{{"k1": "{KEY}", "k2": "{KEY}"}}',
        }
    )
    assert (settings.mode, settings.arm_url, settings.client_id) == (Mode.ASK, "http://127.0.0.1:8080", GUID)
    assert (settings.send_within, settings.time_scale) == (timedelta(seconds=5), 60)
    assert (settings.approval_active_kid, settings.arm_is_loopback) == ("k1", True)


def test_messages_go_where_it_is_set():
    urls = {
        "MEDIC_TEAMS_URL": "https://prod-1.westeurope.logic.azure.com:443/workflows/1?sig=x",
        "MEDIC_WEBHOOK_URL": "https://events.example/integration/2/enqueue",
        "MEDIC_OUTCOME_TOPIC": "https://t.westeurope-1.eventgrid.azure.net/api/events",
    }
    for environment in ({}, AZURE):
        settings = load({**environment, **urls})
        assert [settings.teams_url, settings.webhook_url, settings.outcome_topic] == list(urls.values())
    assert load({"MEDIC_TEAMS_URL": "http://localhost:8080/t"}).teams_url == "http://localhost:8080/t"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        pytest.param({}, ".medic/notices", id="by default"),
        pytest.param({"MEDIC_STORE": "/srv/medic"}, "/srv/medic/notices", id="beside the store"),
        pytest.param({"MEDIC_STORE": "/srv/medic", "MEDIC_NOTICES": "/n"}, "/n", id="where it is set"),
        pytest.param(
            {"MEDIC_STORE": "https://acct.blob.core.windows.net"}, None, id="beside a store that is no folder"
        ),
        pytest.param(
            {"MEDIC_STORE": "https://acct.blob.core.windows.net", "MEDIC_NOTICES": "n"},
            "n",
            id="set beside such a store",
        ),
        pytest.param(AZURE, None, id="in Azure"),
    ],
)
def test_notices_lie_beside_the_store(environment, folder):
    assert load(environment).notices_folder == (None if folder is None else Path(folder))


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        pytest.param({}, "http://127.0.0.1:7071", id="by default"),
        pytest.param({"WEBSITE_HOSTNAME": "localhost:7072"}, "http://localhost:7072", id="as the host says"),
        pytest.param(
            {**AZURE, "WEBSITE_HOSTNAME": "m.azurewebsites.net"}, "https://m.azurewebsites.net", id="in Azure"
        ),
        pytest.param(
            {"MEDIC_APP_URL": "https://medic.example/ops/"}, "https://medic.example/ops", id="where it is set"
        ),
        pytest.param(
            {**AZURE, "WEBSITE_HOSTNAME": "m.azurewebsites.net", "MEDIC_APP_URL": "https://medic.example"},
            "https://medic.example",
            id="under a name of its own",
        ),
    ],
)
def test_links_begin_with_where_the_app_is(environment, url):
    assert load(environment).app_url == url


def test_whoever_uses_this_machine_may_be_signed_in():
    assert (load({"MEDIC_DEV_SIGN_IN": GUID}).dev_sign_in, load({}).dev_sign_in) == (GUID, None)


def test_in_azure_the_identity_s_client_id_is_taken_from_where_azure_puts_it():
    assert load({**AZURE, "AZURE_CLIENT_ID": GUID}).client_id == GUID
    assert load(AZURE).is_azure


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:8", True),
        ("http://LOCALHOST", True),
        ("https://example.com/127.0.0.1", False),
        ("http://127.0.0.1@example.com", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(url, answer):
    assert is_loopback(url) is answer


def test_azure_refuses_these_settings_and_no_others():
    refused = set()
    for name in DESCRIPTIONS:
        value = {"MEDIC_TIME_SCALE": "2", "MEDIC_DEV_SIGN_IN": GUID}.get(name, "x")
        try:
            load({**AZURE, name: value})
        except SettingsError as error:
            if "Remove it in Azure" in str(error):
                refused.add(name)
    assert refused == REFUSED_IN_AZURE


def test_every_setting_is_described():
    assert all(name.startswith("MEDIC_") and words for name, words in DESCRIPTIONS.items())


GROUP = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/rg-ml"


@pytest.mark.parametrize(
    ("watch", "resource", "is_watched"),
    [
        pytest.param("", f"{GROUP}/providers/x", True, id="nothing is set"),
        pytest.param(GROUP, f"{GROUP.upper()}/providers/x", True, id="in the group, in other letters"),
        pytest.param(GROUP, f"{GROUP}-2/providers/x", False, id="in a group whose name goes on"),
        pytest.param(f" {GROUP}-2 , {GROUP}", f"{GROUP}/providers/x", True, id="in one of two"),
        pytest.param(GROUP.rpartition("/resourceGroups")[0], f"{GROUP}/providers/x", True, id="in the subscription"),
        pytest.param(GROUP, GROUP.rpartition("/resourceGroups")[0], False, id="the subscription of a group"),
    ],
)
def test_what_lies_in_a_watched_subscription_or_group_is_watched(watch, resource, is_watched):
    assert load({"MEDIC_WATCH": watch}).watches(resource) is is_watched


@pytest.mark.parametrize("watch", ["rg-ml", "/subscriptions/me", f"{GROUP}/providers/x", f"{GROUP};{GROUP}"])
def test_what_cannot_be_watched_is_refused(watch):
    with pytest.raises(SettingsError, match="no id of a subscription or a resource group"):
        load({"MEDIC_WATCH": watch})
