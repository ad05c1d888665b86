"""Causes in the Kubernetes cluster that serves: its extension, its identity, its way to the registry, its nodes.

A pod of anybody's may say the same: what is not Azure ML's own wording counts only beside a sign of Azure ML's serving.
https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-kubernetes-compute#inference-guide
"""

from remediations.catalogue.cause import Cause, Clue
from remediations.catalogue.checks import did_not_end_with, is_kubernetes
from remediations.catalogue.matchers import Matcher, Symptoms, code, during, either, every, message, without
from remediations.catalogue.texts import CRASHED, GUIDE, OF_SERVING, ROLE_PENDING, numbered
from remediations.catalogue.words import AML_PODS, EXTENSION, IN_WORKSPACE, NO_CLUSTER, NO_SPEC, SHOW_DEPLOYMENT
from remediations.model import Evidence, Found

_INSTALLING = either(
    message(r"\bhelm\b|healthcheck|ExtensionOperationFailed|install\w{0,4} the extension|\bE4[05]\d{3}\b"),
    code("ExtensionOperationFailed"),
)
_TRAINING = message(r"kubernetes job failed|AzureMLCompute|training (job|run)")
_IDENTITY_ERROR = code("ACRSecretError", "DeploymentIdentityError")
_ATTACH = f"az ml compute show -n COMPUTE {IN_WORKSPACE}"
_COMPUTES = f"az ml compute list {IN_WORKSPACE} -o table"
_EVENTS = "kubectl -n NAMESPACE get events --sort-by .lastTimestamp"
_COMPUTE_GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-kubernetes-compute"
_ATTACHES = "It attaches and detaches no compute."
_EXTENDS = "It installs and updates no extension."


def environment_is_from_a_registry(evidence: Evidence) -> Clue | None:
    """Supports if what the deployment names lies in an Azure ML registry, opposes if not, or if it names nothing."""
    if not isinstance(evidence.resource, Found):
        return None
    assets = (evidence.resource.value.environment or "", evidence.resource.value.model or "")
    lies_there = any("/registries/" in asset.lower() for asset in assets)
    says = f"its environment and model are {'' if lies_there else 'not '}in a registry"
    return Clue(read="deployment", says=says, supports=lies_there)


def _said(*matchers: Matcher) -> Matcher:
    """Match what any does, if no container, no installation and no training says it."""
    return without(either(*matchers), CRASHED, _INSTALLING, _TRAINING)


CAUSES = (
    Cause(
        id="namespace-not-found",
        code="NamespaceNotFound",
        what="The namespace that the Kubernetes compute uses is not there in the cluster.",
        matches=without(
            either(
                every(
                    OF_SERVING,
                    message(
                        r"namespaces? \\?['\"\[]?(?P<resource>[a-z0-9-]{1,63})\\?['\"\]]? (used by [^\n]{0,60} )?"
                        r"((is|was) (unavailable|not (available|found))|not found|does(n't| not) exist)"
                    ),
                ),
                every(
                    message(r"kubernetes compute"),
                    message(
                        r"namespace [^\n]{0,80}(is|was) (unavailable|not (available|found))"
                        r"|namespace [^\n]{0,60}does(n't| not) exist"
                    ),
                ),
                code("NamespaceNotFound"),
            ),
            message(r"service\s?bus|event\s?hub|notification\s?hub|azure relay|Microsoft\.(Relay|EventHub)"),
            CRASHED,
            _INSTALLING,
        ),
        checks=(is_kubernetes,),
        advice="Create the namespace in the cluster, or detach the compute and attach it with a namespace that exists.",
        commands=(_ATTACH, "kubectl get namespaces"),
        limits=f"{NO_CLUSTER} {_ATTACHES}",
        tells="the namespaces of the cluster",
        examples=(
            Symptoms.of("NamespaceNotFound", "The namespace scoring used by the Kubernetes compute is not available."),
            Symptoms.of(
                "KubernetesError",
                'namespaces "scoring" not found. Please see troubleshooting guide, available here: '
                "https://aka.ms/amlarc-tsg",
            ),
        ),
        source=f"{GUIDE}#error-namespacenotfound",
    ),
    Cause(
        id="azureml-fe-not-ready",
        code="ScoringFeUnhealthy",
        also=("BadArgument",),
        what="The router of the cluster, azureml-fe, or the service before it is not there or not healthy.",
        matches=_said(
            code("ScoringFeUnhealthy", "ClusterServiceNotFound"),
            message(
                r"(azureml-?fe|scoring[\s-]?fe)\b[^\n]{0,80}"
                r"((is|was)(n't| not) (found|ready|healthy|available|running)|is (unhealthy|missing)|not (found|ready))"
                r"|deploy scoring FE\b|azureml extension service not found in cluster|\bClusterServiceNotFound\b"
            ),
        ),
        checks=(is_kubernetes,),
        advice="Look at the pods of azureml-fe in the cluster; update or reinstall the Azure ML extension.",
        commands=(AML_PODS, EXTENSION),
        limits=f"{NO_CLUSTER} {_EXTENDS}",
        tells="the pods of azureml-fe",
        examples=(
            Symptoms.of("ScoringFeUnhealthy", "The scoring front end azureml-fe is not found or unhealthy."),
            Symptoms.of("BadRequest", "azureml-fe for Kubernetes online endpoint is not ready."),
            Symptoms.of(None, "Retries exceeded in deploy scoring FE"),
        ),
        source=f"{GUIDE}#error-scoringfeunhealthy",
    ),
    Cause(
        id="k8s-extension-not-connectable",
        code="InferencingClientCallFailed",
        what="Azure ML has no connection to the Azure ML extension of the cluster.",
        matches=_said(
            code("InvalidComputeNoKubernetesConfiguration"),
            message(
                r"k8s-extension[^\n]{0,80}(is(n't| not)|not) (connectable|connected)"
                r"|relay resource id or connection string (is|are) not provided|compute kubeconfig is invalid"
                r"|\bInvalidComputeNoKubernetesConfiguration\b"
            ),
        ),
        checks=(is_kubernetes,),
        advice="See that the relay server runs in the cluster; else detach the compute and attach it again as it was.",
        commands=(AML_PODS, EXTENSION, _ATTACH),
        limits=f"{NO_CLUSTER} {_ATTACHES}",
        tells="the relay server's pods in the cluster",
        examples=(
            Symptoms.of(
                "InferencingClientCallFailed", "The k8s-extension of the Kubernetes cluster isn't connectable."
            ),
            Symptoms.of(None, "Relay resource id or connection string are not provided."),
            Symptoms.of(None, "The compute kubeconfig is invalid."),
        ),
        source=f"{GUIDE}#error-inferencingclientcallfailed",
    ),
    Cause(
        id="aks-certificate-invalid",
        code="KubernetesUnaccessible",
        what="The certificate of the cluster is not valid, so Azure ML does not speak to it.",
        matches=_said(
            message(r"AuthenticationException[^\n]{0,40} Reason: InvalidCer"),
            every(
                code("KubernetesUnaccessible"),
                message(r"InvalidCertificate|certificate[^\n]{0,60}(expired|(not|n't) (yet )?valid|invalid)"),
            ),
        ),
        checks=(is_kubernetes,),
        refines=("cluster-unreachable",),
        advice="Rotate the certificates of the cluster, at a time when its nodes may restart, and deploy "
        "again once they are in use, about five hours later.",
        commands=(
            "az aks show -g CLUSTER_RESOURCE_GROUP -n CLUSTER",
            "az aks rotate-certs -g CLUSTER_RESOURCE_GROUP -n CLUSTER",
        ),
        limits=NO_CLUSTER,
        tells="the certificate of the cluster",
        examples=(
            Symptoms.of(
                "KubernetesUnaccessible", "Kubernetes error: AuthenticationException. Reason: InvalidCertificate"
            ),
            Symptoms.of("KubernetesUnaccessible", "Kubernetes error: the certificate of the cluster has expired."),
        ),
        source=f"{GUIDE}#error-kubernetesunaccessible",
    ),
    Cause(
        id="cluster-unreachable",
        code="KubernetesUnaccessible",
        what="Azure ML does not reach the cluster: it is stopped or gone, closed off, or refuses the login.",
        matches=_said(
            code("KubernetesUnaccessible", "ClusterNotReachable", "ClusterUnauthorized", "ComputeNotAccessible"),
            message(
                r"\b(ClusterNotReachable|ClusterUnauthorized|ComputeNotAccessible|KubernetesUnaccessible)\b"
                r"|\A\s{0,9}the kubernetes cluster is not reachable\.?\s{0,9}\Z|cannot found kubernetes cluster"
                r"|request to kubernetes cluster unauthorized|the kubernetes compute is not accessible"
            ),
            every(
                either(code("GenericClusterError"), message(r"\bGenericClusterError\b"), OF_SERVING),
                message(r"failed to connect to (the )?kubernetes cluster|the kubernetes cluster is not reachable"),
            ),
        ),
        checks=(is_kubernetes,),
        advice="See that the cluster runs, that its API can be reached, and that the workspace's identity has access.",
        commands=(
            "az aks show -g CLUSTER_RESOURCE_GROUP -n CLUSTER --query powerState",
            _ATTACH,
            EXTENSION,
        ),
        limits=NO_CLUSTER,
        tells="the state of the cluster",
        examples=(
            Symptoms.of("KubernetesUnaccessible", "Kubernetes error: HttpRequestException. Reason: NameResolution"),
            Symptoms.of(None, "ERROR: ClusterNotReachable\nThe Kubernetes cluster is not reachable."),
            Symptoms.of(None, "Request to Kubernetes cluster unauthorized."),
            Symptoms.of("GenericClusterError", "Failed to connect to Kubernetes cluster: connection timed out"),
        ),
        source=f"{_COMPUTE_GUIDE}#error-clusternotreachable",
    ),
    Cause(
        id="aks-v1-compute-unsupported",
        code="BadArgument",
        what="The cluster is attached by version 1 of the SDK or CLI, on which no online endpoint can be made.",
        matches=_said(
            message(r"on AKS compute( type)? (is|are) (no longer|not) supported|troubleshoot-creating-aks-endpoint"),
            every(
                message(r"\bAKS\b[^\n]{0,200}\bv1\b|\bv1\b[^\n]{0,80}\bAKS\b"),
                message(
                    r"((is|are)(n't| not) supported|(cannot|can't) be used)[^\n]{0,60}"
                    r"(online[\s-]?(endpoint|deployment)|\bv2\b)"
                ),
            ),
        ),
        checks=(is_kubernetes,),
        advice="Install the Azure ML extension in the cluster, attach it as Kubernetes compute, and deploy to that.",
        commands=(_COMPUTES, EXTENSION),
        limits=f"{_EXTENDS} {_ATTACHES}",
        tells="the type of the compute",
        examples=(
            Symptoms.of(
                "NotSupported",
                "Creation of Online Endpoints or deployments on AKS compute type is no longer supported.",
            ),
            Symptoms.of(None, "More details: https://aka.ms/troubleshoot-creating-aks-endpoint"),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/how-to-attach-kubernetes-anywhere",
    ),
    Cause(
        id="compute-not-ready",
        code="BadArgument",
        what="The compute that is attached to the workspace is not in a usable state.",
        matches=_said(
            message(
                r"compute (resource |target )?(with id: )?['\"]?(?P<resource>[^\s'\"]{1,100})['\"]? is(n't| not) in "
                r"(the |a )?succeeded state([^\n]{0,20}provisioning state: (?P<state>\w{1,40}))?"
            ),
            code("ComputeResourceNotCreated"),
            every(
                either(code("GenericComputeError"), message(r"\bGenericComputeError\b"), OF_SERVING),
                message(r"failed to get compute information"),
            ),
        ),
        checks=(is_kubernetes,),
        advice="See why the compute is not ready, start or repair its cluster, or attach it again; then deploy again.",
        commands=(_ATTACH,),
        limits=f"{NO_CLUSTER} {_ATTACHES}",
        tells="the state of the compute",
        examples=(
            Symptoms.of(
                "ComputeResourceNotCreated",
                "Compute resource with Id: aks-prod is not in Succeeded state. Compute provisioning state: Failed",
            ),
            Symptoms.of("GenericComputeError", "Failed to get compute information."),
        ),
        source=f"{_COMPUTE_GUIDE}#error-genericcomputeerror",
    ),
    Cause(
        id="compute-not-found",
        code="ResourceNotFound",
        what="The workspace has no compute of the name that the endpoint asks for.",
        matches=_said(
            message(
                r"compute resource (?P<resource>[^\s'\"]{1,100}) does(n\\?'t| not) exist"
                r"|cannot find kubernetes compute|\bNotFoundComputeResource\b"
                r"|\bInvalidComputeInformation\b|compute target with name [^\n]{1,80} not found in provided workspace"
            ),
            every(
                OF_SERVING,
                message(
                    r"compute (target )?['\"]?(?P<resource>[^\s'\"]{1,100})['\"]? (of [^\n]{0,100} )?"
                    r"((was|could) not (be )?found|does(n't| not) exist)"
                    r"|unknown compute target ['\"]?[^\s'\"]{1,100}"
                    r"|/computes/[^'\s]{1,64}' under resource group '[^'\n]{0,90}' was not found"
                ),
            ),
            every(message(r"unknown compute target ['\"]?[^\s'\"]{1,100}"), during("create", "start")),
            code("NotFoundComputeResource", "InvalidComputeInformation"),
        ),
        checks=(is_kubernetes,),
        refines=("arm-resource-not-found", "endpoint-not-found"),
        advice="Name a compute that the workspace has, or attach the cluster under the name that was asked for.",
        commands=(_COMPUTES,),
        limits=f"{_ATTACHES} {NO_SPEC}",
        tells="the computes of the workspace",
        examples=(
            Symptoms.of("NotFoundComputeResource", "Compute Resource aks-prod doesn't exist."),
            Symptoms.of(None, "ERROR: ComputeNotFound\nCannot find Kubernetes compute."),
        ),
        source=f"{_COMPUTE_GUIDE}#error-computenotfound",
    ),
    Cause(
        id="registry-environment-unsupported",
        code="BadArgument",
        what="The environment or model lies in an Azure ML registry, from which Kubernetes compute takes none.",
        matches=_said(
            message(
                r"ServingContainer\.Image['\"\[:\s]{1,8}'?Image'? must not be empty"
                r"|(registry (assets?|environments?|models?)|(assets?|environments?|models?) from (a |the )?registry)"
                r" (is|are)(n't| not) supported [^\n]{0,40}kubernetes"
            )
        ),
        hints=ROLE_PENDING,
        checks=(environment_is_from_a_registry, is_kubernetes),
        advice="Register the environment and the model in the workspace itself, and name those: waiting does not help.",
        commands=(SHOW_DEPLOYMENT, f"az ml environment list {IN_WORKSPACE} -o table"),
        limits=NO_SPEC,
        tells="the environment of the deployment",
        examples=(
            Symptoms.of(
                "BadRequest", "InferenceContainerConfiguration.ServingContainer.Image: 'Image' must not be empty."
            ),
            Symptoms.of(None, "Environments from a registry are not supported on Kubernetes compute."),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/how-to-share-models-pipelines-across-workspaces-with-registries",
    ),
    Cause(
        id="scoring-validation-failed",
        code="ValidateScoringFailed",
        what="The trial request to the scoring URL, which ends a deployment, was not answered.",
        matches=_said(
            code("ValidateScoringFailed"),
            message(
                r"scoring (request )?URL validation failed|validation of the scoring (request )?URL failed"
                r"|failed on step TestWithSampleData|test scoring run doesn't get result"
            ),
        ),
        checks=(is_kubernetes,),
        advice="See that the scoring URL can be reached from the cluster and answers, then run the deployment again.",
        commands=(AML_PODS, "kubectl -n azureml get service azureml-fe"),
        limits=NO_CLUSTER,
        tells="the scoring URL",
        examples=(
            Symptoms.of("ValidateScoringFailed", "Scoring request URL validation failed."),
            Symptoms.of(
                None,
                "Failed on step TestWithSampleData. Details: Test scoring run doesn't get result after 1 retries in 20 "
                "seconds. Error: A connection attempt failed.",
            ),
        ),
        source=f"{GUIDE}#error-validatescoringfailed",
    ),
    Cause(
        id="image-pull-backoff",
        code="ImagePullLoopBackOff",
        what="The cluster cannot pull the deployment's image from the registry.",
        matches=without(
            either(
                code("ImagePullLoopBackOff"),
                every(
                    either(
                        OF_SERVING,
                        code("BadArgument", "ResourceNotReady"),
                        every(during("start"), message(r"azureml")),
                    ),
                    either(
                        code("ImagePullBackOff", "ErrImagePull"),
                        message(r"\b(ImagePull(Loop)?BackOff|ErrImagePull)\b"),
                    ),
                ),
            ),
            message(r"\bhelm\b|healthcheck|ExtensionOperationFailed|pods?/?\s?azureml-(fe|ingress)"),
            CRASHED,
            _TRAINING,
        ),
        checks=(is_kubernetes,),
        advice="See why in the pod's events: the cluster's network policy, its right to pull, or the image's name.",
        commands=("kubectl -n NAMESPACE describe pods", _EVENTS, SHOW_DEPLOYMENT),
        limits=f"{NO_CLUSTER} It grants no roles to a cluster.",
        tells="the events of the pod",
        examples=(
            Symptoms.of("ImagePullLoopBackOff", "The images of the deployment cannot be pulled."),
            Symptoms.of(
                "KubernetesError",
                "ImagePullBackOff: back-off pulling image crmlprod.azurecr.io/azureml/scoring:7. Please see "
                "troubleshooting guide, available here: https://aka.ms/amlarc-tsg",
            ),
        ),
        source=f"{GUIDE}#error-imagepullloopbackoff",
    ),
    Cause(
        id="node-selector-mismatch",
        code="PodUnschedulable",
        what="No node of the cluster has the labels that the instance type asks for, or a taint keeps the pod away.",
        matches=without(
            every(
                either(code("Unschedulable", "PodUnschedulable", "OutOfQuota", "KubernetesError"), OF_SERVING),
                message(
                    r"0/(?P<nodes>\d{1,5}) nodes are available: [^\n]{0,200}"
                    r"(didn\\?'t match|did not match|had (untolerated )?taints?)"
                    r"|no nodes? match(es|ed)? (the )?(pod's )?node[\s-]?(affinity|selector)"
                    r"|node\(s\) (didn\\?'t match|did not match) [^\n]{0,40}(affinity|selector)"
                ),
            ),
            message(r"insufficient|too many pods"),
            CRASHED,
            _TRAINING,
        ),
        checks=(is_kubernetes,),
        advice="Give nodes the labels that the instance type selects, or let it select others and tolerate the taints.",
        commands=(
            "kubectl get nodes --show-labels",
            "kubectl get instancetype -o yaml",
            "kubectl -n NAMESPACE get events --field-selector reason=FailedScheduling",
        ),
        limits=NO_CLUSTER,
        tells="the instance type, and the labels and taints of the nodes",
        examples=(
            Symptoms.of("PodUnschedulable", "No node match node affinity/selector."),
            Symptoms.of(
                "Unschedulable", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
            ),
            Symptoms.of("KubernetesError", "0/2 nodes are available: 2 node(s) had untolerated taint {sku: gpu}."),
        ),
        source=f"{GUIDE}#error-podunschedulable",
    ),
    Cause(
        id="resource-limits-exceeded",
        code="BadArgument",
        what="The deployment requests more of a resource than its limits allow.",
        matches=_said(
            numbered("ERR_2102"),
            every(
                either(OF_SERVING, code("BadArgument", "InvalidDeploymentSpec")),
                message(
                    r"resources? requests? [^\n]{0,60}(greater|more|larger|higher) than [^\n]{0,30}limits?\b"
                    r"|requests for resources must be less than or equal to limits"
                    r"|must be less than or equal to (the )?((cpu|memory|gpu|nvidia\.com/gpu) )?limits?\b"
                ),
            ),
        ),
        checks=(is_kubernetes,),
        refines=("schema-validation",),
        advice="Request no more than the limits of the deployment, or of its instance type, or raise those.",
        commands=(SHOW_DEPLOYMENT, _ATTACH, "kubectl get instancetype -o yaml"),
        limits=NO_SPEC,
        tells="the requests and limits of the deployment",
        examples=(
            Symptoms.of("BadArgument", "Resource request was greater than limits."),
            Symptoms.of("ERR_2102", "Resources requests invalid"),
            Symptoms.of(
                "BadArgument", 'resources.requests: Invalid value: "4": must be less than or equal to cpu limit'
            ),
        ),
        source=f"{GUIDE}#resource-requests-greater-than-limits",
    ),
    Cause(
        id="extension-identity-not-assigned",
        code="ACRSecretError",
        what="The managed identity of the Azure ML extension is not assigned to the nodes of the cluster.",
        matches=_said(
            message(
                r"RefreshExtensionIdentityNotSet|managed identity of (the )?azureml extension is not assigned"
                r"|extension identity is not (correctly )?assigned"
            ),
            every(
                _IDENTITY_ERROR,
                message(
                    r"identity( of [^\n]{0,80})?( is| was| could)?( not|n't) (be )?(assigned|found)"
                    r"|failed to get (a |the )?token of (the )?extension identity"
                ),
            ),
        ),
        checks=(is_kubernetes,),
        advice="Assign the extension's identity to the node pool, or reinstall the Azure ML extension.",
        commands=(EXTENSION, "az aks show -g CLUSTER_RESOURCE_GROUP -n CLUSTER --query identityProfile"),
        limits=f"{_EXTENDS} It assigns no identities.",
        tells="the identities of the node pool",
        examples=(
            Symptoms.of(
                "DeploymentIdentityError",
                "Failed to create Kubernetes deployment identity, Reason:RefreshExtensionIdentityNotSet "
                "Details:Managed identity of AzureML extension is not assigned to the node pool of 'aks-pool-vmss'.",
            ),
            Symptoms.of(None, "The extension is installed but the extension identity is not correctly assigned."),
        ),
        source=f"{_COMPUTE_GUIDE}#error-refreshextensionidentitynotset",
    ),
    Cause(
        id="extension-misconfigured",
        code="ACRSecretError",
        what="Azure Arc or the Azure ML extension is not installed or configured as it should be in the cluster.",
        matches=_said(
            message(
                r"(azure arc|(azure machine learning|azure\s?ml) extension)[^\n]{0,120}"
                r"(is|are)(n't| not) (properly (installed|configured)|installed or configured)"
            ),
            every(
                _IDENTITY_ERROR,
                message(r"extension version [^\n]{0,60}(1\.1\.25|too (low|old)|not supported|(or|is) lower)"),
            ),
        ),
        checks=(is_kubernetes,),
        advice="Check how Azure Arc and the Azure ML extension are set up and what state they are in; update them.",
        commands=(EXTENSION, AML_PODS),
        limits=f"{NO_CLUSTER} {_EXTENDS}",
        tells="the state of the Azure ML extension",
        examples=(
            Symptoms.of("ACRSecretError", "The Azure Machine Learning extension is not properly installed."),
            Symptoms.of("ACRSecretError", "The extension version is v1.1.25 or lower."),
        ),
        source=f"{GUIDE}#error-acrsecreterror",
    ),
    Cause(
        id="cluster-network-misconfigured",
        code="ACRSecretError",
        what="The cluster's proxy, network policy, certificate or private endpoints keep it from the registry.",
        matches=_said(
            message(
                r"cluster has (an )?improper network configuration"
                r"|improper network configuration[^\n]{0,80}(proxy|network policy|certificate)"
                r"|private AKS cluster does(n't| not) have the proper endpoints"
            ),
            every(
                _IDENTITY_ERROR,
                message(
                    r"(?<!identity[\s-])\bproxy\b|\b(network policy|private endpoints?|no such host|i/o timeout)\b"
                    r"|certificate signed by|connection (refused|reset|timed out)"
                ),
            ),
        ),
        checks=(is_kubernetes,),
        advice="Open the cluster's way to registry, storage and workspace: proxy, network policy, private endpoints.",
        commands=(AML_PODS, "kubectl get networkpolicies -A"),
        limits=f"{NO_CLUSTER} It changes no network.",
        tells="the network of the cluster",
        examples=(
            Symptoms.of(
                "ACRSecretError",
                "The Kubernetes cluster has improper network configuration, check the proxy, network policy or "
                "certificate.",
            ),
            Symptoms.of(
                "DeploymentIdentityError",
                "Failed to create Kubernetes deployment identity, Details:dial tcp: lookup "
                "login.microsoftonline.com: no such host",
            ),
        ),
        source=f"{GUIDE}#error-acrsecreterror",
    ),
    Cause(
        id="extension-token-refresh-failed",
        code="TokenRefreshFailed",
        what="The Azure ML extension cannot get a credential: the identity of the cluster is not set as it should be.",
        matches=_said(
            every(
                code("TokenRefreshFailed"),
                message(r"extension|kubernetes|cluster|principal credential|amlarc-tsg|azure\s?ml"),
            ),
            message(
                r"Reason:\s{0,3}TokenRefreshFailed\b"
                r"|extension[^\n]{0,80}(can\\?'t|cannot|could not|failed to) get (a |the )?principal credential"
            ),
        ),
        checks=(is_kubernetes,),
        advice="Reinstall the Azure ML extension in the cluster, then run the deployment again.",
        commands=(EXTENSION, AML_PODS),
        limits=_EXTENDS,
        tells="the identity of the cluster",
        examples=(
            Symptoms.of("TokenRefreshFailed", "The extension cannot get principal credential from Azure."),
            Symptoms.of("TokenRefreshFailed", "The Kubernetes cluster identity isn't set properly."),
        ),
        source=f"{GUIDE}#error-tokenrefreshfailed",
    ),
    Cause(
        id="aad-token-failed",
        code="GetAADTokenFailed",
        what="The cluster's request for a token of Microsoft Entra ID failed or timed out.",
        matches=_said(
            code("GetAADTokenFailed"),
            message(r"Reason:\s{0,3}GetAADTokenFailed\b"),
            every(
                either(OF_SERVING, message(r"kubernetes cluster")),
                message(r"request(ing)? (an? |the )?(AAD|(microsoft )?entra( ID)?) token (failed|timed\s?out|timeout)"),
            ),
        ),
        checks=(is_kubernetes,),
        advice="Let the cluster out to login.microsoftonline.com and the workspace: check its proxy and private links.",
        commands=(AML_PODS, "kubectl get onlineendpoints -A"),
        limits=f"{NO_CLUSTER} It changes no network.",
        tells="the network of the cluster",
        examples=(
            Symptoms.of("GetAADTokenFailed", "The Kubernetes cluster request AAD token failed or timeout."),
            Symptoms.of(
                "DeploymentIdentityError",
                "Failed to create Kubernetes deployment identity, Details:Request Microsoft Entra ID token timed out.",
            ),
        ),
        source=f"{GUIDE}#error-getaadtokenfailed",
    ),
    Cause(
        id="acr-challenge-failed",
        code="ACRAuthenticationChallengeFailed",
        what="The cluster cannot reach the workspace's registry to begin a login.",
        matches=_said(
            code("ACRAuthenticationChallengeFailed"),
            message(
                r"\bACRAuthenticationChallengeFailed\b"
                r"|(can\\?'t|cannot|can not|unable to|failed to|could not) (reach|connect to) (the )?"
                r"(ACR|(azure )?container registry)[^\n]{0,80} authentication challenge"
            ),
        ),
        checks=(is_kubernetes,),
        advice="Open the cluster's way to the registry: its public access, its private endpoint and the cluster's DNS.",
        commands=("az acr show -n {registry} --query publicNetworkAccess", "az acr check-health -n {registry}"),
        limits=f"{NO_CLUSTER} It changes no network.",
        tells="the network between cluster and registry",
        examples=(
            Symptoms.of("ACRAuthenticationChallengeFailed", "The request to crmlprod.azurecr.io/v2 failed."),
            Symptoms.of(
                "DeploymentIdentityError",
                "Failed to create Kubernetes deployment identity, Reason:ACRAuthenticationChallengeFailed",
            ),
        ),
        source=f"{GUIDE}#error-acrauthenticationchallengefailed",
    ),
    Cause(
        id="acr-token-exchange-failed",
        code="ACRTokenExchangeFailed",
        what="The registry took no token of the cluster: it is not authorized yet, or too many asked at once.",
        matches=_said(
            code("ACRTokenExchangeFailed"),
            message(r"Reason:\s{0,3}ACRTokenExchangeFailed\b"),
            without(
                every(
                    either(OF_SERVING, message(r"kubernetes cluster|cluster exchange")),
                    message(r"exchange (the )?(ACR|container registry) token (failed|fails)"),
                ),
                ROLE_PENDING,
            ),
        ),
        checks=(is_kubernetes, did_not_end_with("DeploymentIdentityError", "ACRTokenExchangeForbidden")),
        refines=("role-assignment-pending",),
        advice="Wait some minutes and deploy again; if it stays, see that the cluster's identity has AcrPull.",
        commands=(
            "az role assignment list --assignee PRINCIPAL_ID --all -o table",
            "az acr show -n {registry} --query id",
        ),
        limits="It grants no roles to a cluster, and cannot tell whether waiting would help.",
        tells="the roles of the cluster's identity on the registry",
        examples=(
            Symptoms.of("ACRTokenExchangeFailed", "Exchange ACR token failed because AAD token is unauthorized."),
            Symptoms.of("ACRTokenExchangeFailed", "Too many concurrent requests to the ACR service."),
        ),
        source=f"{GUIDE}#error-acrtokenexchangefailed",
    ),
)
