"""Causes in what was asked for: named by Azure ML's own wording, and by no other service's."""

import pytest

from remediations.catalogue import CAUSES, spec
from remediations.catalogue.matchers import Symptoms
from remediations.classification import classify, classify_text
from remediations.messages import parse
from remediations.model import (
    Access,
    ErrorDetail,
    Found,
    Identity,
    Image,
    Level,
    Surroundings,
)
from tests.builders import make_endpoint_state, make_evidence, make_operation, make_row, make_state

OE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-{}"
INVALID = (
    "(BadRequest) The request is invalid.\nCode: BadRequest\nMessage: The request is invalid.\nException Details:\t"
)
CLIENT = "(InferencingClientCreateDeploymentFailed) InferencingClient HttpRequest error, error detail: "
FIELD = '{{"errors":{{"{}":["{}"]}},"title":"One or more validation errors occurred.","status":400}}'
GONE = "The Resource '{}' under resource group 'rg-ml' was not found. For more details please go to https://aka.ms/ARM"
ENDPOINT = "Microsoft.MachineLearningServices/workspaces/ml/onlineEndpoints/credit"
MDC = "Startup task failed due to incorrect role assignments on storage account when mdc is enabled. "


def named(text, phase="create", compute="managed"):
    return classify_text(Symptoms(details=parse(text), log=text, phase=phase), CAUSES, compute=compute)


def diagnosed(code, text, **changes):
    """Diagnose what the operation itself says of a deployment."""
    errors = (ErrorDetail(code=code, message=text, depth=0),)
    row = make_row(status="Failed", errors=errors)
    fields = {
        "operation": Found(make_operation(status="Failed", errors=errors)),
        "activity": Found((row,)),
        "history": Found((row,)),
        "resource": Found(make_state(provisioning_state="Failed")),
    }
    return classify(make_evidence(**{**fields, **changes}), CAUSES, evidence_digest="e" * 64)


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        ("Validation for ManagedOnlineEndpointSchema failed:\n\n {}", "InvalidDeploymentSpec", "schema-validation"),
        ("Validation for KubernetesOnlineDeploymentSchema failed:", "InvalidDeploymentSpec", "schema-validation"),
        (
            "The yaml file you provided does not match the prescribed schema for OnlineDeployment yaml files",
            "InvalidDeploymentSpec",
            "schema-validation",
        ),
        ("(InvalidDeploymentSpec) no reason", "InvalidDeploymentSpec", "schema-validation"),
        (
            INVALID + CLIENT + FIELD.format("InstanceCount", "The instance count should be greater than 0."),
            "InvalidDeploymentSpec",
            "invalid-instance-count",
        ),
        (
            "(InvalidDeploymentSpec) minimum instance count and maximum instance count must be valid",
            "InvalidDeploymentSpec",
            "invalid-instance-count",
        ),
        (
            CLIENT
            + FIELD.format("Container.LivenessProbe.Period", "Invalid value provided for Period for Probe: <0>."),
            "InvalidDeploymentSpec",
            "invalid-probe-settings",
        ),
        (f"{INVALID}(MissingDriverProgram) Could not find driver program", "BadArgument", "missing-scoring-script"),
        ("Can't delete deployment [v2] with non-zero traffic weight", "BadArgument", "delete-blocked-by-traffic"),
        (
            CLIENT + FIELD.format("", "There is already an endpoint with this name, Endpoint name needs to be unique."),
            "EndpointAlreadyExists",
            "endpoint-name-taken",
        ),
        ("(EndpointAlreadyExists) it is there", "EndpointAlreadyExists", "endpoint-name-taken"),
        (f"(ResourceNotFound) {GONE.format(ENDPOINT)}", "EndpointNotFound", "endpoint-not-found"),
        (
            "(EndpointNotFound) Can't find the endpoint resource for the deployment in the cluster",
            "EndpointNotFound",
            "endpoint-not-found",
        ),
        (
            f"(ResourceNotFound) {GONE.format(f'{ENDPOINT}/deployments/blue')}",
            "EndpointNotFound",
            "deployment-not-found",
        ),
        ("Deployment name blue not found for this endpoint", "EndpointNotFound", "deployment-not-found"),
        (
            "Specified endpoint [credit] has not been created successfully. Please recreate the endpoint.",
            "InferencingClientCallFailed",
            "endpoint-in-bad-state",
        ),
        (
            'Exception Details:\t(InferencingClientCallFailed) {{"title":"Not Found"}}',
            "InferencingClientCallFailed",
            "endpoint-name-recently-deleted",
        ),
        (
            f"(BadArgument) Subscription 0000 doesn't exist. {OE.format('badargument')}",
            "BadArgument",
            "subscription-not-found",
        ),
        (
            "ResourceOperationFailure: Resource provider [N/A] isn't registered with Subscription [N/A].",
            "SubscriptionNotRegistered",
            "provider-not-registered",
        ),
        (
            "The subscription is not registered to use namespace 'Microsoft.MachineLearningServices'.",
            "SubscriptionNotRegistered",
            "provider-not-registered",
        ),
        ("(BadArgument) Invalid template function specification", "BadArgument", "policy-template-function-invalid"),
        (
            f"(ResourceNotFound) {GONE.format('Microsoft.Storage/storageAccounts/st')} {OE.format('resourcenotfound')}",
            "ResourceNotFound",
            "arm-resource-not-found",
        ),
        (
            "(WorkspaceManagedNetworkNotReady) wait",
            "WorkspaceManagedNetworkNotReady",
            "managed-network-not-ready",
        ),
        (
            "(UserError) Access to workspace was denied based on workspace private link configuration.",
            "BadArgument",
            "workspace-network-isolation",
        ),
        ("(BadRequest) Not allowed while V1LegacyMode == true", "BadArgument", "v1-legacy-mode"),
        (
            "(BadRequest) Failed to create online endpoint credit with key auth: access to the key vault is denied",
            "BadArgument",
            "key-vault-unreachable",
        ),
        (
            "(BadArgument) MLflow model format with private network is unsupported",
            "BadArgument",
            "mlflow-private-network",
        ),
        ("(SecretsInjectionError) no such secret", "SecretsInjectionError", "secrets-injection-failed"),
        (f"(BadArgument) {MDC}", "BadArgument", "identity-missing-storage-contributor"),
        ("(None) OutOfQuota: Cluster quota reached.", "OutOfQuota", "quota-cluster"),
    ],
)
def test_azure_ml_s_wording_names_the_cause(text, code, cause):
    found = named(text)
    assert (found.cause_id, found.code, found.action) == (cause, code, None)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Validation for CommandSchema failed:\n\n {}", id="a training job"),
        pytest.param("Validation for BatchDeploymentSchema failed", id="a batch deployment"),
        pytest.param("does not match the prescribed schema for CommandJob yaml files", id="a job's file"),
        pytest.param("InvalidMaximumInstanceCount: maximumInstanceCount () is not allowed", id="a function app"),
        pytest.param("The instance count must be greater than 0", id="anybody's instances"),
        pytest.param("Cannot delete profile with traffic routing enabled", id="a traffic manager"),
        pytest.param("(Conflict) Endpoint already exists in the profile", id="a CDN endpoint"),
        pytest.param("Private endpoint pe-1 already exists in online endpoint network", id="a private endpoint"),
        pytest.param("EndpointNotFound: Could not find requested endpoint in Service Catalog.", id="OpenStack"),
        pytest.param("The API deployment for this resource does not exist.", id="Azure OpenAI"),
        pytest.param("(DeploymentNotFound) Deployment 'x' could not be found.", id="an ARM deployment"),
        pytest.param('(NotFound) {"title":"Not Found"}', id="a bare Not Found"),
        pytest.param("(InferencingClientCallFailed) it failed", id="a code of any cause"),
        pytest.param("The subscription 'x' could not be found.", id="a client's subscription"),
        pytest.param("(SubscriptionNotFound) The subscription 'x' could not be found.", id="ARM's subscription"),
        pytest.param("The subscription is not registered to use microsoft.insights.", id="another provider"),
        pytest.param("BadRequest: Azure subscription is not registered with CDN Provider.", id="CDN"),
        pytest.param("(SubscriptionNotRegistered) register for Key Vault", id="another service's code"),
        pytest.param("(InvalidTemplate) The template function 'copyIndex' is not expected here.", id="a template"),
        pytest.param(f"(ResourceNotFound) {GONE.format('Microsoft.Compute/disks/d')}", id="ARM's not found"),
        pytest.param('v1LegacyMode: false\npublicNetworkAccess: "Enabled"', id="a template with legacy mode off"),
        pytest.param("(Forbidden) Client address is not authorized to access key vault kv", id="a key vault alone"),
        pytest.param("Public network access is disabled for storage account st", id="a storage account's network"),
        pytest.param("MlflowException: API is not supported for private endpoint", id="MLflow's client"),
        pytest.param("(OutOfQuota) Something else is exhausted.", id="another quota"),
        pytest.param("Operation results in exceeding quota limits of Microsoft.Batch clusters", id="Batch"),
        pytest.param("(Conflict) Resource data is in conflicting state.", id="another service's conflict"),
        pytest.param("Operation returned an invalid status code 'Forbidden'", id="a bare status"),
        *(
            pytest.param(f"({code}) no", id=code)
            for code in ("BadArgument", "BadRequest", "ResourceNotFound", "NotFound")
        ),
    ],
)
@pytest.mark.parametrize("compute", ["managed", None])
def test_what_another_service_says_is_unknown(text, compute):
    assert named(text, compute=compute).cause_id == "unknown"


@pytest.mark.parametrize("cause", spec.CAUSES, ids=lambda cause: cause.id)
def test_what_a_container_quotes_names_nothing_of_the_specification(cause):
    for example in cause.examples:
        quoted = f"(BadArgument) User container has crashed or terminated: {example.details[0].message}"
        assert classify_text(Symptoms(details=parse(quoted)), CAUSES).cause_id != cause.id


# -------------------------------------------------------------------------------------------------- rivals

IDENTITY = Identity(path="id-scoring", principal_id="p-1")
LACKS_BOTH = Surroundings(
    access=Found(
        tuple(
            Access(identity=IDENTITY, need=need, role="id", role_name="role", scope="s", held=False)
            for need in ("pull", "read")
        )
    ),
    image=Found(Image(reference="crmlprod.azurecr.io/a:1", in_registry=True, manifest=Found("sha256:a"))),
    model=Found("credit:3"),
)


def test_no_role_is_granted_where_the_right_to_write_is_missing():
    endpoint = Found(make_endpoint_state(identity="UserAssigned", identities=(IDENTITY,)))
    granted = diagnosed(
        "BadArgument", "Startup task failed due to authorization error.", surroundings=LACKS_BOTH, endpoint=endpoint
    )
    assert (granted.cause_id, granted.action) == ("identity-missing-roles", "grant-roles")
    refused = diagnosed("BadArgument", MDC, surroundings=LACKS_BOTH, endpoint=endpoint)
    assert (refused.cause_id, refused.action) == ("identity-missing-storage-contributor", None)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(
            "(InvalidDeploymentSpec) The instance count is not valid", "invalid-instance-count", id="of a specification"
        ),
        pytest.param(
            f"(ResourceNotFound) {GONE.format(f'{ENDPOINT}/deployments/b')} {OE.format('resourcenotfound')}",
            "deployment-not-found",
            id="of a deployment that is not found",
        ),
        pytest.param(
            "(WorkspaceManagedNetworkNotReady) workspace managed network is not allowed: online endpoint",
            "managed-network-not-ready",
            id="of networks",
        ),
        pytest.param(
            "This endpoint has not been created successfully or is in deleting provisioning state. Please recreate "
            "endpoint. There is already an endpoint with this name.",
            "endpoint-in-bad-state",
            id="of an endpoint that is there, but broken",
        ),
        pytest.param(
            "(Conflict) An endpoint with this name already exists; another operation is in progress on this endpoint.",
            "endpoint-name-taken",
            id="of a conflict that no waiting ends",
        ),
    ],
)
def test_the_narrower_cause_is_named(text, cause):
    assert (named(text).cause_id, named(text).action) == (cause, None)


@pytest.mark.parametrize("cause", ["managed-network-not-ready", "mlflow-private-network", "quota-cluster"])
def test_what_happens_on_managed_compute_alone_is_not_named_on_kubernetes(cause):
    example = next(one for one in spec.CAUSES if one.id == cause).examples[0]
    assert classify_text(example, CAUSES, compute="managed").cause_id == cause
    assert classify_text(example, CAUSES, compute="kubernetes").cause_id == "unknown"


def test_a_deployment_that_ran_had_an_endpoint():
    text = f"online endpoint credit does not exist {OE.format('resourcenotfound')}"
    assert diagnosed("ResourceNotFound", text).cause_id == "endpoint-not-found"
    assert diagnosed("ResourceNotReady", text).cause_id == "unknown"


def test_a_scoring_request_that_is_refused_by_the_network_is_none_of_a_deployment():
    text = "public network access is disabled for this online endpoint"
    assert named(text).cause_id == "workspace-network-isolation"
    assert named(text, phase="invoke").cause_id != "workspace-network-isolation"


def test_what_the_text_names_becomes_facts():
    assert named("Can't delete deployment [v2] with non-zero traffic weight").facts.resource == "v2"
    assert named(f"(ResourceNotFound) {GONE.format(ENDPOINT)}").facts.resource == "credit"
    found = named(f"(X) {GONE.format('Microsoft.Storage/storageAccounts/st')} {OE.format('resourcenotfound')}")
    assert found.facts.resource == "Microsoft.Storage/storageAccounts/st"
    assert named("Invalid value provided for Period for Probe: <0>.").cause_id == "invalid-probe-settings"
    probe = named("Container.LivenessProbe.Period: Invalid value provided for Period for Probe: <0>.")
    assert (probe.facts.probe, probe.level) == ("liveness", Level.TEXT_ONLY)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_no_hole_of_a_command_stands_in_quotes(cause):
    """What fills it is quoted already."""
    for command in cause.commands:
        assert not any("{" in part for part in command.split("'")[1::2])
