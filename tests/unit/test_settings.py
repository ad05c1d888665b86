"""A setting that cannot be used is refused, with the fix; the defaults are safe."""

from datetime import timedelta

import pytest

from remediations.errors import SettingsError
from remediations.model import Mode
from remediations.settings import DESCRIPTIONS, Settings, is_loopback, load

AZURE = {"WEBSITE_INSTANCE_ID": "i1", "MEDIC_STORE": "https://acct.blob.core.windows.net"}
GUID = "aaaaaaaa-0000-4000-8000-000000000001"
KEY = "k" * 32


def test_without_any_setting_nothing_is_written_anywhere_but_home():
    settings = load({})
    assert (settings.mode, settings.store, settings.time_scale, settings.is_azure) == (Mode.DRY_RUN, ".medic", 1, False)
    assert settings.arm_url == "https://management.azure.com"
    assert settings.arm_scope == "https://management.azure.com/.default"
    assert settings == Settings()


def test_an_empty_setting_is_none():
    assert load(dict.fromkeys(DESCRIPTIONS, "")) == Settings()


def test_other_programs_variables_are_not_ours():
    assert load({"PATH": "/bin", "MEDIC_TASK_HUB": "x", "MEDIC_RESEARCH": "/r", "MEDICAL_MODE": "auto"}) == Settings()


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
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_fix(environment, setting, words):
    with pytest.raises(SettingsError) as refusal:
        load(environment)
    assert refusal.value.setting == setting
    assert words in str(refusal.value)
    for secret in ("t0k3n", "short-s3cret", KEY):
        assert secret not in str(refusal.value)


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


def test_every_setting_is_described():
    assert all(name.startswith("MEDIC_") and words for name, words in DESCRIPTIONS.items())
