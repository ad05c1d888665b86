"""No field of Azure's published deployment body is lost. Collected only when MEDIC_RESEARCH names the folder."""

import copy
import json
from typing import Any

import pytest

from remediations.spec import Spec, rebuild


@pytest.fixture(scope="module")
def published(research):
    example = json.loads((research / "azure/responses/spec_deployment_createOrUpdate.json").read_text())
    return example["request"]["parameters"]["body"]


def leaves(value, path=""):
    """Every place in a body that holds something, with what it holds."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}")
    else:
        yield path, value


def test_what_was_put_is_what_would_be_put_again(published):
    assert rebuild(published, is_endpoint=False) == Spec(published)


def test_what_the_service_adds_to_its_answer_is_not_sent_back(published):
    shown = copy.deepcopy(published)
    shown |= {"id": "/subscriptions/s", "name": "n", "type": "t", "systemData": {"createdAt": "x"}}
    shown["properties"]["provisioningState"] = "Creating"
    shown["properties"]["properties"]["AzureAsyncOperationUri"] = "https://x"
    shown["identity"] |= {"principalId": "p", "tenantId": "t"}
    shown["identity"]["userAssignedIdentities"]["string"] = {"principalId": "p", "clientId": "c"}
    assert rebuild(shown, is_endpoint=False) == Spec(published)


def test_every_leaf_of_the_published_body_counts_for_the_digest(published):
    whole = rebuild(published, is_endpoint=False)
    assert isinstance(whole, Spec)
    unnoticed = []
    for path, value in leaves(published):
        body = copy.deepcopy(published)
        *parents, last = path.strip(".").split(".")
        node = body
        for name in parents:
            node = node[name]
        node[last] = {"changed": {}} if isinstance(value, dict) else "changed"
        other = rebuild(body, is_endpoint=False)
        if isinstance(other, Spec) and other.digest == whole.digest:
            unnoticed.append(path)
    # The service owns what stands inside an identity: only its name is sent.
    assert unnoticed == [".identity.userAssignedIdentities.string"]


def test_the_failed_deployment_of_the_research_can_be_rebuilt(research):
    response = json.loads((research / "azure/responses/deployment_get_failed.json").read_text())
    body = response["responses"]["200"]["body"]
    rebuilt = rebuild(body, is_endpoint=False)
    assert isinstance(rebuilt, Spec)
    sent: Any = rebuilt.body["properties"]
    assert sent["requestSettings"] == {
        "maxConcurrentRequestsPerInstance": 1,
        "maxQueueWait": "PT0.5S",
        "requestTimeout": "PT5S",
    }
    assert "provisioningState" not in sent
