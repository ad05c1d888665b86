"""Questions about an app that is deployed to Azure. They read its resource and ask its routes without signing in."""

import os
from typing import Any

import httpx
import pytest

from remediations.settings import is_loopback
from tests.live.asking import found, shown

pytestmark = pytest.mark.azure

API_VERSION = "2023-12-01"
WEBHOOK = "/runtime/webhooks/EventGrid?functionName=on_deployment_failure"


@pytest.fixture(scope="module")
def site() -> str:
    return os.environ["MEDIC_LIVE_APP"].rstrip("/")


@pytest.fixture(scope="module")
def http(site, reads):
    """A client of the app that nobody has signed in, and that follows nothing."""
    body = shown(reads.get(f"{site}?api-version={API_VERSION}"), "the app")
    host = body["properties"]["defaultHostName"]
    url = f"http://{host}" if is_loopback(f"http://{host}") else f"https://{host}"
    with httpx.Client(base_url=url, timeout=60, follow_redirects=False) as client:
        yield client


def asks_to_sign_in(answer: httpx.Response) -> bool:
    """Tell whether App Service authentication stood in the way."""
    said = f"{answer.headers.get('location', '')} {answer.headers.get('www-authenticate', '')}".lower()
    return "login" in said or "authorization_uri" in said


def test_the_host_has_loaded_every_function(site, reads):
    """
    Question: does the Functions host on Flex Consumption, with the preview extension bundle, index the app?
    Assumed: yes; here Microsoft's worker library does.
    Where: functions/triggers.py
    Otherwise: look at the app's log stream; a missing function is one that the host could not bind: host.json's
    extensionBundle, requirements.txt.
    """
    import function_app

    ours = {function.get_function_name() for function in function_app.app.get_functions()}
    listed = found(reads.get_all(f"{site}/functions?api-version={API_VERSION}", most=200), "its functions")
    assert {str(dict[str, Any](each)["name"]).rsplit("/", 1)[-1] for each in listed if isinstance(each, dict)} == ours


def test_references_to_the_vault_are_resolved(site, reads):
    """
    Question: does the platform read the vault with the user-assigned identity that `keyVaultReferenceIdentity` names?
    Assumed: yes, once Key Vault Secrets User is effective for it.
    Where: infra/modules
    Otherwise: the failure names the status of each: `az webapp config appsettings` cannot tell. Give the identity the
    role on the vault, then POST …/config/configreferences/appsettings/refresh, or restart the app.
    """
    url = f"{site}/config/configreferences/appsettings?api-version={API_VERSION}"
    listed = found(reads.get_all(url, most=200), "its references")
    states = {each["name"]: dict[str, Any](each["properties"])["status"] for each in listed if isinstance(each, dict)}
    assert states
    assert {name: state for name, state in states.items() if state != "Resolved"} == {}


def test_health_answers_without_signing_in(http):
    """
    Question: does `excludedPaths` let /api/health through?
    Assumed: yes.
    Where: functions/health.py
    Otherwise: probes see 302 or 401: write the path in sign-in's excludedPaths as the platform wants it.
    """
    answer = http.get("/api/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize("path", ["/api/overview", "/api/incidents", "/api/approvals", "/runtime/webhooks/durabletask"])
def test_all_else_asks_to_sign_in(path, http):
    """
    Question: does App Service authentication stand before every route, and before the task hub's own API?
    Assumed: yes; the routes check roles besides, the task hub's API does not.
    Where: functions/signin.py
    Otherwise: stop the app, and correct sign-in's excludedPaths: the task hub's API starts and ends orchestrations.
    """
    answer = http.get(path)
    assert answer.status_code in {301, 302, 401, 403}
    assert asks_to_sign_in(answer)


def test_event_grid_is_not_asked_to_sign_in(http):
    """
    Question: does `excludedPaths` let Event Grid's deliveries through on Flex Consumption?
    Assumed: yes; what then lacks the system key is refused by the host itself.
    Where: infra/modules
    Otherwise: no event ever arrives, and each ends in the dead letters: write the path as the platform wants it, or
    deliver to a queue.
    """
    answer = http.post(WEBHOOK, json=[], headers={"aeg-event-type": "Notification"})
    assert answer.status_code in {401, 403}
    assert not asks_to_sign_in(answer)


def test_posting_an_event_asks_for_a_role(http):
    """
    Question: can anybody post to /api/events without a token?
    Assumed: no: sign-in stands before it, and the route asks for Medic.Submit.
    Where: functions/events.py submit
    Otherwise: stop the app: WEBSITE_AUTH_ENABLED is set without sign-in being in force.
    """
    assert http.post("/api/events", json={}).status_code in {301, 302, 401, 403}
