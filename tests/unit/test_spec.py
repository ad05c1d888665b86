"""A body is rebuilt whole or not at all."""

import copy
from typing import Any

import pytest

from remediations.spec import NotRebuildable, Spec, differences, environment_names, rebuild
from tests.builders import DEPLOYMENT

SHOWN: dict[str, Any] = {
    "id": DEPLOYMENT,
    "name": "green",
    "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
    "systemData": {"createdAt": "2026-11-01T12:34:56.999Z"},
    "location": "westeurope",
    "kind": "Managed",
    "tags": {"team": "fraud"},
    "sku": {"name": "Default", "capacity": 1},
    "identity": {
        "type": "UserAssigned",
        "principalId": "p",
        "tenantId": "t",
        "userAssignedIdentities": {"/subscriptions/s/id-1": {"principalId": "p1", "clientId": "c1"}},
    },
    "properties": {
        "endpointComputeType": "Managed",
        "provisioningState": "Failed",
        "instanceType": "Standard_DS3_v2",
        "environmentVariables": {"LOG_LEVEL": "INFO"},
        "livenessProbe": {"initialDelay": "PT10S"},
        "somethingNewInNextYear": {"deep": [1, "two"]},
        "modelMountPath": None,
        "properties": {"AzureAsyncOperationUri": "https://x", "azureml.onlineendpointid": "y", "mine": "z"},
    },
}
SENT: dict[str, Any] = {
    "location": "westeurope",
    "kind": "Managed",
    "tags": {"team": "fraud"},
    "sku": {"name": "Default", "capacity": 1},
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/s/id-1": {}}},
    "properties": {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "environmentVariables": {"LOG_LEVEL": "INFO"},
        "livenessProbe": {"initialDelay": "PT10S"},
        "somethingNewInNextYear": {"deep": [1, "two"]},
        "properties": {"mine": "z"},
    },
}


def changed(path, value, shown=None):
    body = copy.deepcopy(shown or SHOWN)
    *parents, last = path.split(".")
    node = body
    for name in parents:
        node = node[name]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return body


def test_all_that_a_person_wrote_is_sent_and_nothing_of_the_service():
    assert rebuild(SHOWN, is_endpoint=False) == Spec(SENT)


def test_what_is_shown_is_not_changed():
    before = copy.deepcopy(SHOWN)
    rebuild(SHOWN, is_endpoint=False)
    assert before == SHOWN


def test_the_digest_ignores_what_the_service_changes():
    later = changed("properties.provisioningState", "Canceled", changed("systemData.createdAt", "x"))
    first, second = rebuild(SHOWN, is_endpoint=False), rebuild(later, is_endpoint=False)
    assert isinstance(first, Spec)
    assert isinstance(second, Spec)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties.environmentVariables.LOG_LEVEL", "DEBUG"),
        ("sku.capacity", 2),
        ("tags.team", "credit"),
        ("properties.somethingNewInNextYear.deep", []),
        ("properties.properties.mine", "changed"),
    ],
)
def test_the_digest_changes_with_what_a_person_wrote(path, value):
    first, second = rebuild(SHOWN, is_endpoint=False), rebuild(changed(path, value), is_endpoint=False)
    assert isinstance(first, Spec)
    assert isinstance(second, Spec)
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        pytest.param(
            "properties.environmentVariables.LOG_LEVEL",
            None,
            "properties.environmentVariables.LOG_LEVEL is null",
            id="null",
        ),
        pytest.param("tags.team", None, "tags.team is null", id="null tag"),
        pytest.param("properties.properties.mine", None, "properties.properties.mine is null", id="null property"),
        pytest.param(
            "properties.somethingNewInNextYear.deep",
            [1, None],
            "properties.somethingNewInNextYear.deep[1] is null",
            id="in a list",
        ),
        pytest.param(
            "properties.environmentVariables.LOG_LEVEL",
            "***",
            "properties.environmentVariables.LOG_LEVEL is masked",
            id="stars",
        ),
        pytest.param(
            "properties.environmentVariables.LOG_LEVEL",
            " ****** ",
            "properties.environmentVariables.LOG_LEVEL is masked",
            id="padded",
        ),
        pytest.param(
            "properties.environmentVariables.URL",
            "https://user:***@host",
            "properties.environmentVariables.URL is masked",
            id="masked in the middle",
        ),
        pytest.param("properties.instanceType", "<REDACTED>", "properties.instanceType is masked", id="redacted"),
        pytest.param(
            "properties.somethingNewInNextYear.deep",
            ["[hidden]"],
            "properties.somethingNewInNextYear.deep[0] is masked",
            id="hidden",
        ),
        pytest.param("location", ..., "location is missing", id="no location"),
        pytest.param("location", None, "location is missing", id="null location"),
        pytest.param("sku.capacity", ..., "sku.capacity is missing", id="no capacity"),
        pytest.param("sku", ..., "sku.name is missing", id="no sku"),
        pytest.param("properties.instanceType", "", "properties.instanceType is missing", id="empty"),
        pytest.param(
            "properties.endpointComputeType", None, "properties.endpointComputeType is missing", id="no compute"
        ),
        pytest.param("properties", ..., "properties.endpointComputeType is missing", id="no properties"),
        pytest.param("properties", [], "properties.endpointComputeType is missing", id="odd properties"),
    ],
)
def test_a_masked_null_or_missing_value_refuses_the_whole_body(path, value, words):
    assert rebuild(changed(path, value), is_endpoint=False) == NotRebuildable(words)


def test_every_reason_is_named():
    body = changed("tags.team", None, changed("properties.environmentVariables.LOG_LEVEL", "***"))
    assert rebuild(body, is_endpoint=False) == NotRebuildable(
        "tags.team is null; properties.environmentVariables.LOG_LEVEL is masked"
    )


def test_kubernetes_needs_no_instance_type():
    body = changed("properties.endpointComputeType", "Kubernetes", changed("properties.instanceType", ...))
    assert isinstance(rebuild(body, is_endpoint=False), Spec)


def test_a_text_that_only_looks_like_a_mask_is_sent():
    body = changed("properties.environmentVariables.LOG_LEVEL", "**")
    assert isinstance(rebuild(body, is_endpoint=False), Spec)


ENDPOINT: dict[str, Any] = {
    "location": "westeurope",
    "identity": {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"},
    "properties": {
        "authMode": "Key",
        "provisioningState": "Canceled",
        "scoringUri": "https://x/score",
        "swaggerUri": "https://x/swagger",
        "traffic": {},
    },
}


def test_an_endpoint_that_was_being_created_is_rebuilt_without_its_uris():
    assert rebuild(ENDPOINT, is_endpoint=True) == Spec(
        {
            "location": "westeurope",
            "identity": {"type": "SystemAssigned"},
            "properties": {"authMode": "Key", "traffic": {}},
        }
    )


@pytest.mark.parametrize("name", ["traffic", "mirrorTraffic"])
def test_an_endpoint_with_traffic_is_never_rebuilt(name):
    body = changed(f"properties.{name}", {"blue": 100}, ENDPOINT)
    assert rebuild(body, is_endpoint=True) == NotRebuildable(
        "the endpoint has traffic: it is not one that was being created"
    )


@pytest.mark.parametrize(
    ("sent", "shown", "paths"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, [], id="what the service adds"),
        pytest.param({"A": {"b": 1}}, {"a": {"B": 1}}, [], id="casing of names"),
        pytest.param({"a": 1}, {"a": 2}, ["a"], id="another value"),
        pytest.param({"a": {"b": 1}}, {"a": None}, ["a.b"], id="missing"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, ["a"], id="a shorter list"),
        pytest.param({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["a[1].b"], id="inside a list"),
        pytest.param({"a": "/subscriptions/S/X"}, {"a": "/subscriptions/s/x"}, [], id="casing of a resource id"),
        pytest.param({"a": "Standard_DS3"}, {"a": "standard_ds3"}, ["a"], id="casing of a value"),
        pytest.param({"a": 1}, {}, ["a"], id="nothing there"),
    ],
)
def test_differences_are_where_the_resource_lacks_what_was_sent(sent, shown, paths):
    assert list(differences(sent, shown)) == paths


def test_a_rebuilt_body_does_not_differ_from_what_it_was_rebuilt_from():
    assert list(differences(SENT, SHOWN)) == []


def test_environment_variables_are_known_by_name_alone():
    assert environment_names(changed("properties.environmentVariables", {"B": "secret", "A": "x"})) == ("A", "B")
    assert environment_names({}) == ()
