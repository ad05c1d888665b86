"""Causes in a Kubernetes cluster: Azure ML's own wording names them, that of anybody's pod does not."""

import pytest

from remediations.catalogue import CAUSES, cluster
from remediations.catalogue.checks import is_kubernetes
from remediations.catalogue.matchers import Symptoms
from remediations.classification import classify, classify_text
from remediations.messages import parse
from remediations.model import ErrorDetail, Found, Level, Unknown
from tests.builders import make_evidence, make_operation, make_row, make_state

TSG = "Please see troubleshooting guide, available here: https://aka.ms/amlarc-tsg"
IDENTITY = "Failed to create Kubernetes deployment identity, Reason:{} Details:{} " + TSG
INVALID = (
    "(BadRequest) The request is invalid.\nCode: BadRequest\nMessage: The request is invalid.\nException Details:\t"
)
FROM_REGISTRY = "azureml://registries/azureml/environments/sklearn/versions/4"
IN_WORKSPACE = "azureml:scoring-env:7"
IMAGE_EMPTY = "InferenceContainerConfiguration.ServingContainer.Image: 'Image' must not be empty."
PENDING = (
    "Cluster exchange ACR token failed because AAD token is unauthorized. The role assignment takes some time, please "
    "wait a moment and try again."
)
CERTIFICATE = "Kubernetes error: AuthenticationException. Reason: InvalidCertificate"
DETAILS = '{{"code":"BadRequest","message":"The request is invalid.","details":[{{"code":"{}","message":"{}"}}]}}'
FIELD = 'error detail: {{"errors":{{"{}":["{}"]}},"title":"One or more validation errors occurred.","status":400}}'


def named(text, phase="create", compute="kubernetes"):
    return classify_text(Symptoms(details=parse(text), log=text, phase=phase), CAUSES, compute=compute)


def diagnosed(code, text, **state):
    """Diagnose what the operation itself says, with a deployment of that state."""
    errors = (ErrorDetail(code=code, message=text, depth=0),)
    row = make_row(status="Failed", errors=errors)
    evidence = make_evidence(
        operation=Found(make_operation(status="Failed", errors=errors)),
        activity=Found((row,)),
        history=Found((row,)),
        resource=Found(make_state(**state)) if state else Unknown(),
    )
    return classify(evidence, CAUSES, evidence_digest="e" * 64)


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        (
            "(NamespaceNotFound) The namespace is unavailable.\nCode: NamespaceNotFound",
            "NamespaceNotFound",
            "namespace-not-found",
        ),
        (f"(KubernetesError) namespaces 'scoring' not found {TSG}", "NamespaceNotFound", "namespace-not-found"),
        ("(None) ScoringFeUnhealthy: azureml-fe is unhealthy", "ScoringFeUnhealthy", "azureml-fe-not-ready"),
        ("azureml-fe for kubernetes online endpoint isn't ready", "ScoringFeUnhealthy", "azureml-fe-not-ready"),
        (
            "(BadArgument) The component azureml-fe-v2 is not ready.\nCode: BadArgument",
            "BadArgument",
            "azureml-fe-not-ready",
        ),
        (
            "ERROR: ClusterServiceNotFound\nAzureML extension service not found in cluster.",
            "ScoringFeUnhealthy",
            "azureml-fe-not-ready",
        ),
        (
            "(InferencingClientCallFailed) k8s-extension of the Kubernetes cluster is not connectable",
            "InferencingClientCallFailed",
            "k8s-extension-not-connectable",
        ),
        (
            "ERROR: InvalidComputeNoKubernetesConfiguration",
            "InferencingClientCallFailed",
            "k8s-extension-not-connectable",
        ),
        (
            DETAILS.format("KubernetesUnaccessible", CERTIFICATE),
            "KubernetesUnaccessible",
            "aks-certificate-invalid",
        ),
        ("(KubernetesUnaccessible) Kubernetes error: Unauthorized", "KubernetesUnaccessible", "cluster-unreachable"),
        (
            "ERROR: ComputeNotAccessible\nThe Kubernetes compute is not accessible.",
            "KubernetesUnaccessible",
            "cluster-unreachable",
        ),
        ("ERROR: ClusterNotFound\n\nCannot found Kubernetes cluster.", "KubernetesUnaccessible", "cluster-unreachable"),
        (
            f"Failed to connect to Kubernetes cluster: i/o timeout. {TSG}",
            "KubernetesUnaccessible",
            "cluster-unreachable",
        ),
        (
            f"{INVALID}(NotSupported) Creation of Online Endpoints on AKS compute type is not supported.",
            "BadArgument",
            "aks-v1-compute-unsupported",
        ),
        (
            "Compute resource with Id: plant is not in Succeeded state. Compute provisioning state: Failed",
            "BadArgument",
            "compute-not-ready",
        ),
        ("ERROR: GenericComputeError\nFailed to get compute information.", "BadArgument", "compute-not-ready"),
        (
            f"{INVALID}(NotFoundComputeResource) Compute Resource plant doesn't exist.",
            "ResourceNotFound",
            "compute-not-found",
        ),
        (f"{INVALID}(BadArgument) {IMAGE_EMPTY}", "BadArgument", "registry-environment-unsupported"),
        (
            FIELD.format("InferenceContainerConfiguration.ServingContainer.Image", "'Image' must not be empty."),
            "BadArgument",
            "registry-environment-unsupported",
        ),
        ("(ValidateScoringFailed) no answer", "ValidateScoringFailed", "scoring-validation-failed"),
        ("Failed on step TestWithSampleData. Details: none", "ValidateScoringFailed", "scoring-validation-failed"),
        ("(ImagePullLoopBackOff) images pull failure", "ImagePullLoopBackOff", "image-pull-backoff"),
        (f"(KubernetesError) ErrImagePull {TSG}", "ImagePullLoopBackOff", "image-pull-backoff"),
        (
            "(PodUnschedulable) 0/4 nodes are available: 4 node(s) didn't match node selector.",
            "PodUnschedulable",
            "node-selector-mismatch",
        ),
        (
            f"(KubernetesError) 0/4 nodes are available: 4 node(s) had taint {{a: b}}. {TSG}",
            "PodUnschedulable",
            "node-selector-mismatch",
        ),
        ("(BadArgument) Resource requests are greater than limits", "BadArgument", "resource-limits-exceeded"),
        (
            f"(KubernetesError) must be less than or equal to memory limit {TSG}",
            "BadArgument",
            "resource-limits-exceeded",
        ),
        (
            "DeploymentIdentityError: " + IDENTITY.format("RefreshExtensionIdentityNotSet", "none"),
            "ACRSecretError",
            "extension-identity-not-assigned",
        ),
        (
            "(ACRSecretError) Azure Machine Learning extension is not properly installed or configured.",
            "ACRSecretError",
            "extension-misconfigured",
        ),
        (
            "(ACRSecretError) The Kubernetes cluster has improper network configuration.",
            "ACRSecretError",
            "cluster-network-misconfigured",
        ),
        (
            "DeploymentIdentityError: " + IDENTITY.format("Unknown", "dial tcp: connection refused"),
            "ACRSecretError",
            "cluster-network-misconfigured",
        ),
        (
            "(TokenRefreshFailed) extension cannot get principal credential",
            "TokenRefreshFailed",
            "extension-token-refresh-failed",
        ),
        ("(GetAADTokenFailed) timed out", "GetAADTokenFailed", "aad-token-failed"),
        (
            "(ACRAuthenticationChallengeFailed) no answer",
            "ACRAuthenticationChallengeFailed",
            "acr-challenge-failed",
        ),
        (
            "The Kubernetes cluster cannot reach ACR service of the workspace to do authentication challenge",
            "ACRAuthenticationChallengeFailed",
            "acr-challenge-failed",
        ),
        (
            "The Kubernetes cluster exchange ACR token failed because AAD token is unauthorized",
            "ACRTokenExchangeFailed",
            "acr-token-exchange-failed",
        ),
    ],
)
def test_azure_ml_s_wording_names_the_cause(text, code, cause):
    found = named(text)
    assert (found.cause_id, found.code, found.action) == (cause, code, None)
    assert named(text, compute=None).cause_id == cause


@pytest.mark.parametrize("cause", cluster.CAUSES, ids=lambda cause: cause.id)
def test_what_happens_on_kubernetes_alone_is_not_named_on_managed_compute(cause):
    assert is_kubernetes in cause.checks
    for example in cause.examples:
        assert classify_text(example, CAUSES, compute="managed").cause_id == "unknown"
        assert diagnosed(example.details[0].code, example.details[0].message, kind="Managed").cause_id == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ERROR: (NamespaceNotFound) The Event Hubs namespace ingest was not found.", id="Event Hubs"),
        pytest.param('Error from server (NotFound): namespaces "web" not found', id="kubectl"),
        pytest.param("Warning  Failed  12s  kubelet  Error: ImagePullBackOff", id="a pod that cannot pull"),
        pytest.param('Back-off pulling image "ghcr.io/x/y:latest"', id="a back-off"),
        pytest.param("azureml-fe-7d9 0/1 ImagePullBackOff: helm upgrade failed", id="a pod of the extension"),
        pytest.param("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", id="a pod"),
        pytest.param('Pod "web" is invalid: Invalid value: "2": must be less than or equal to cpu limit', id="limits"),
        pytest.param("Error: Kubernetes cluster unreachable: dial tcp: i/o timeout", id="Helm"),
        pytest.param("Failed to connect to Kubernetes cluster: connection refused", id="another tool's connection"),
        pytest.param("(ExtensionOperationFailed) azureml-fe is not ready: pod healthcheck failed", id="installation"),
        pytest.param("HealthCheck E45005: azureml-fe deployment is not available in this version", id="health check"),
        pytest.param("tokenRefreshFailed: please sign in again", id="a login"),
        pytest.param("(TokenRefreshFailed) The OAuth token of the account has expired.", id="another service's login"),
        pytest.param("x509: certificate has expired or is not yet valid", id="a certificate"),
        pytest.param(
            "AzureMLCompute cluster gpu is in failed state and thus not ready for runs", id="training cluster"
        ),
        pytest.param("Azure Machine Learning Kubernetes job failed. ErrImagePull aka.ms/amlarc-tsg", id="training job"),
        pytest.param("(ACRSecretError) it failed", id="a code of many causes"),
        pytest.param("(ACRSecretError) of the kubelet identity a role was not found", id="a role, not an identity"),
        pytest.param("(DeploymentIdentityError) the identity-proxy has no answer", id="no proxy of a network"),
        pytest.param("(InferencingClientCallFailed) it failed", id="a code of any cause"),
        pytest.param("DeploymentTimedOut: Timed out waiting for AKS deployment to complete.", id="v1's time is over"),
        pytest.param("Operation returned an invalid status code 'Forbidden'", id="a bare status"),
        pytest.param(
            "failed getting ACR token: POST https://x.azurecr.io/oauth2/exchange 403 Forbidden", id="ACR's CLI"
        ),
    ],
)
@pytest.mark.parametrize("compute", ["kubernetes", None])
def test_what_anybody_s_cluster_says_is_unknown(text, compute):
    assert named(text, compute=compute).cause_id == "unknown"


@pytest.mark.parametrize(
    "quoted", ["azureml-fe is not ready", "Cannot find Kubernetes compute", PENDING, "RefreshExtensionIdentityNotSet"]
)
def test_what_a_container_quotes_names_nothing_of_the_cluster(quoted):
    found = named(f"(BadArgument) User container has crashed or terminated: {quoted}", phase="start")
    assert found.cause_id not in {cause.id for cause in cluster.CAUSES}


# -------------------------------------------------------------------------------------------------- rivals


@pytest.mark.parametrize(
    ("code", "text", "environment", "end"),
    [
        pytest.param(
            "DeploymentIdentityError",
            IDENTITY.format("ACRTokenExchangeForbidden", PENDING),
            IN_WORKSPACE,
            ("role-assignment-pending", "retry", Level.TWO_READS),
            id="the operation says that the identity is not ready",
        ),
        pytest.param(
            "DeploymentIdentityError",
            IDENTITY.format("ACRTokenExchangeForbidden", PENDING),
            FROM_REGISTRY,
            ("registry-environment-unsupported", None, Level.TEXT_AND_READ),
            id="the environment is from a registry: no waiting helps",
        ),
        pytest.param(
            "ACRTokenExchangeFailed",
            PENDING,
            IN_WORKSPACE,
            ("acr-token-exchange-failed", None, Level.TEXT_AND_READ),
            id="the operation has the code of the exchange",
        ),
        pytest.param(
            "BadArgument",
            IMAGE_EMPTY,
            FROM_REGISTRY,
            ("registry-environment-unsupported", None, Level.TEXT_AND_READ),
            id="no image, and the environment is from a registry",
        ),
        pytest.param(
            "BadArgument",
            IMAGE_EMPTY,
            IN_WORKSPACE,
            ("unknown", None, Level.TEXT_ONLY),
            id="no image, but the environment is the workspace's",
        ),
    ],
)
def test_the_code_and_the_environment_tell_a_pending_role_from_what_never_passes(code, text, environment, end):
    diagnosis = diagnosed(code, text, kind="Kubernetes", environment=environment)
    assert (diagnosis.cause_id, diagnosis.action, diagnosis.level) == end


def test_a_token_that_is_refused_for_a_pending_role_is_told_by_its_code_alone():
    assert named(f"(DeploymentIdentityError) {PENDING}").cause_id == "role-assignment-pending"
    assert named(f"(ACRTokenExchangeFailed) {PENDING}").cause_id == "acr-token-exchange-failed"


def test_a_certificate_is_told_from_a_cluster_that_is_not_reached():
    assert diagnosed("KubernetesUnaccessible", CERTIFICATE, kind="Kubernetes").cause_id == "aks-certificate-invalid"
    assert diagnosed("KubernetesUnaccessible", "Kubernetes error.", kind="Kubernetes").cause_id == "cluster-unreachable"


def test_too_few_cores_come_before_a_selector():
    text = "(PodUnschedulable) 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match node selector."
    assert named(text).cause_id == "kubernetes-quota"


@pytest.mark.parametrize(
    ("environment", "model", "supports"),
    [
        pytest.param(FROM_REGISTRY, None, True, id="the environment"),
        pytest.param(IN_WORKSPACE, "azureml://registries/r/models/m/versions/1", True, id="the model"),
        pytest.param(IN_WORKSPACE, "azureml:m:1", False, id="neither"),
        pytest.param(None, None, False, id="it names nothing"),
    ],
)
def test_what_lies_in_a_registry_is_read_from_the_deployment(environment, model, supports):
    state = Found(make_state(kind="Kubernetes", environment=environment, model=model))
    clue = cluster.environment_is_from_a_registry(make_evidence(resource=state))
    assert clue is not None
    assert (clue.read, clue.supports) == ("deployment", supports)
    assert cluster.environment_is_from_a_registry(make_evidence(resource=Unknown())) is None


def test_what_the_text_names_becomes_facts():
    found = named("Compute resource with Id: plant is not in Succeeded state. Compute provisioning state: Failed")
    assert (found.facts.resource, found.facts.state) == ("plant", "Failed")
    assert named("(NotFoundComputeResource) Compute Resource plant doesn't exist.").facts.resource == "plant"
    text = "(PodUnschedulable) 0/4 nodes are available: 4 node(s) didn't match node selector."
    assert named(text).facts.nodes == 4
