"""Who may call a route: an app role in Azure, this machine elsewhere, and nobody by a header alone."""

import base64
import json

import azure.functions as func
import pytest

from functions.signin import may

ROLE = "Medic.Submit"
LONG = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"


def principal(*claims):
    plain = {"auth_typ": "aad", "claims": [{"typ": typ, "val": val} for typ, val in claims]}
    return base64.b64encode(json.dumps(plain).encode()).decode()


def request(url="https://app.azurewebsites.net/api/events", header=None):
    headers = {} if header is None else {"X-MS-CLIENT-PRINCIPAL": header}
    return func.HttpRequest(method="POST", url=url, headers=headers, body=b"{}")


@pytest.fixture
def platform(monkeypatch):
    """App Service authentication that is on: only then are its headers its own."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        pytest.param(principal(("roles", ROLE)), True, id="the role"),
        pytest.param(principal((LONG, ROLE)), True, id="the role by its long name"),
        pytest.param(principal(("roles", "Reader"), ("roles", ROLE)), True, id="among others"),
        pytest.param(principal(("roles", "Medic.Submitter")), False, id="another role"),
        pytest.param(principal(("roles", "medic.submit")), False, id="another casing"),
        pytest.param(principal(("name", ROLE)), False, id="a name that reads like it"),
        pytest.param(principal(), False, id="no role"),
        pytest.param(None, False, id="nobody"),
        pytest.param("", False, id="empty"),
        pytest.param("%%%", False, id="no base64"),
        pytest.param("ü", False, id="no ASCII"),
        pytest.param(base64.b64encode(b"{").decode(), False, id="no JSON"),
        pytest.param(base64.b64encode(b"[1]").decode(), False, id="a list"),
        pytest.param(base64.b64encode(b'{"claims": "roles"}').decode(), False, id="no claims"),
        pytest.param(
            base64.b64encode(b'{"claims": [1, {"typ": ["roles"], "val": 1}]}').decode(), False, id="odd claims"
        ),
    ],
)
def test_in_azure_the_app_role_decides(platform, header, allowed):
    assert may(request(header=header), ROLE, is_azure=True) is allowed


@pytest.mark.parametrize("enabled", [None, "", "false", "0"])
def test_in_azure_no_header_counts_while_the_platform_does_not_set_it(monkeypatch, enabled):
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    if enabled is not None:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", enabled)
    assert may(request(header=principal(("roles", ROLE))), ROLE, is_azure=True) is False


def test_in_azure_loopback_is_nobody(platform):
    assert may(request("http://127.0.0.1/api/events"), ROLE, is_azure=True) is False


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        pytest.param("http://127.0.0.1:7071/api/events", True, id="loopback"),
        pytest.param("http://localhost:7071/api/events", True, id="localhost"),
        pytest.param("http://[::1]:7071/api/events", True, id="over IPv6"),
        pytest.param("http://192.168.1.5:7071/api/events", False, id="another address of this machine"),
        pytest.param("http://medic.example/api/events?x=127.0.0.1", False, id="another name"),
        pytest.param("http://127.0.0.1.evil.example/api/events", False, id="a rebound name"),
        pytest.param("http://127.0.0.1@evil.example/api/events", False, id="a user"),
        pytest.param("/api/events", False, id="no host"),
        pytest.param("http://[::1/api/events", False, id="a broken host"),
    ],
)
def test_off_azure_only_this_machine_may(url, allowed):
    assert may(request(url, principal(("roles", ROLE))), ROLE, is_azure=False) is allowed
