"""Who may call a route: an app role in Azure, this machine elsewhere, and nobody by a header alone."""

import base64
import json

import azure.functions as func
import pytest

from functions.signin import may, may_read, person
from remediations.model import Person
from remediations.policy import ActionPolicy, Approvers, Policy, Rule
from remediations.settings import Settings

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


# ------------------------------------------------------------------------------------------------ who it is

OID, TID = "00000000-0000-4000-8000-000000000001", "99999999-8888-7777-6666-555555555555"
ME = (("oid", OID), ("tid", TID))
ENTRA = "http://schemas.microsoft.com/identity/claims/"
AZURE = Settings(is_azure=True)


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        pytest.param(ME, Person(oid=OID, tid=TID), id="short names"),
        pytest.param(
            ((f"{ENTRA}objectidentifier", OID), (f"{ENTRA}tenantid", TID)), Person(oid=OID, tid=TID), id="long names"
        ),
        pytest.param((*ME, ("name", "N")), Person(oid=OID, tid=TID, name="N"), id="with a name"),
        pytest.param(
            (*ME, ("roles", "A"), (LONG, "B"), ("groups", "G")),
            Person(oid=OID, tid=TID, roles=("A", "B"), groups=("G",)),
            id="roles and groups",
        ),
        pytest.param((*ME, ("idtyp", "app")), Person(oid=OID, tid=TID, is_app=True), id="an application"),
        pytest.param((*ME, ("sub", OID)), Person(oid=OID, tid=TID, is_app=True), id="its subject is its object id"),
        pytest.param((*ME, ("sub", "pairwise")), Person(oid=OID, tid=TID), id="a person's subject is another"),
        pytest.param((("oid", OID),), None, id="no tenant"),
        pytest.param((("tid", TID),), None, id="no object id"),
        pytest.param((("oid", ""), ("tid", TID)), None, id="an empty object id"),
        pytest.param((("name", "somebody"),), None, id="a name is nobody"),
    ],
)
def test_who_is_signed_in_is_an_object_id_in_a_tenant(platform, claims, found):
    assert person(request(header=principal(*claims)), AZURE) == found


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="none"),
        pytest.param("%%%", id="no base64"),
        pytest.param(base64.b64encode(b'{"auth_typ": "github", "claims": []}').decode(), id="another provider"),
        pytest.param(
            base64.b64encode(
                json.dumps(
                    {"auth_typ": "github", "claims": [{"typ": "oid", "val": OID}, {"typ": "tid", "val": TID}]}
                ).encode()
            ).decode(),
            id="another provider that writes the same claims",
        ),
    ],
)
def test_any_other_header_is_nobody(platform, header):
    assert person(request(header=header), AZURE) is None


def test_a_header_is_nobody_while_the_platform_does_not_set_it(monkeypatch):
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    for settings in (AZURE, Settings()):
        assert person(request(header=principal(*ME)), settings) is None


@pytest.mark.parametrize(
    ("url", "settings", "is_somebody"),
    [
        pytest.param("http://127.0.0.1:7071/x", Settings(dev_sign_in=OID), True, id="this machine"),
        pytest.param("http://127.0.0.1:7071/x", Settings(), False, id="without the switch"),
        pytest.param("http://192.168.1.5:7071/x", Settings(dev_sign_in=OID), False, id="another machine"),
        pytest.param("http://127.0.0.1/x", Settings(dev_sign_in=OID, is_azure=True), False, id="in Azure"),
    ],
)
def test_the_development_switch_works_on_this_machine_alone(monkeypatch, url, settings, is_somebody):
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    found = person(request(url), settings)
    assert (found is not None) is is_somebody
    if found is not None:
        assert (found.oid, found.tid) == (OID, "this machine")


@pytest.mark.parametrize(
    ("somebody", "may_see"),
    [
        pytest.param(Person(oid=OID, tid=TID), False, id="no role"),
        pytest.param(Person(oid=OID, tid=TID, roles=("Medic.Reader",)), True, id="a reader"),
        pytest.param(Person(oid=OID, tid=TID, roles=("Medic.Approver",)), True, id="an approver"),
        pytest.param(Person(oid=OID, tid=TID, roles=("Medic.Submit",)), False, id="who only submits"),
        pytest.param(Person(oid=OID, tid=TID, groups=(TID,)), True, id="whom a rule lists as an approver"),
    ],
)
def test_who_may_see_incidents(somebody, may_see):
    listed = Policy(
        actions={"retry": ActionPolicy(approvers=Approvers(role="Medic.Approver"))},
        rules=(Rule(approvers=Approvers(role="", groups=(TID,))),),
    )
    assert may_read(somebody, listed) is may_see
