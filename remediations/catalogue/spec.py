"""Causes in what was asked for: the specification and its names, the subscription, policies and networks around it."""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import TURNED_DOWN, did_not_end_with, is_managed
from remediations.catalogue.matchers import Matcher, Symptoms, code, during, either, every, message, without
from remediations.catalogue.texts import CRASHED, GUIDE, NO_IMAGE, NO_MODEL, NO_NODE, OF_SERVING, OUT_OF_QUOTA
from remediations.catalogue.words import (
    ASSIGNMENTS,
    IDENTITY,
    IN_WORKSPACE,
    NO_SPEC,
    SHOW_DEPLOYMENT,
    SHOW_ENDPOINT,
)

_ENDPOINTS = f"az ml online-endpoint list {IN_WORKSPACE} -o table"
_DEPLOYMENTS = f"az ml online-deployment list -e {{endpoint}} {IN_WORKSPACE} -o table"
_WORKSPACE = "az ml workspace show -n {workspace} -g {resource_group}"
_NETWORK_GUIDE = f"{GUIDE}#common-network-isolation-issues"
_NO_NETWORK = "It changes no network."
_NO_ENDPOINT = "It creates, deletes and renames no endpoint."

_UNSUPPORTED = r"(unsupported|(is|are)(n't| not) supported|not supported|cannot be used|can't (be used|use))"
_TRACEBACK = message(r"traceback \(most recent call last\)[\s\S]{0,4000}(score\.py|/var/azureml-app)")
_REFUSED_VAULT = message(
    r"key[\s-]?vault[^\n]{0,200}(forbidden|denied|unreachable|firewall|not (allowed|authorized|accessible|reachable)"
    r"|can(not|'t) be (reached|accessed)|public network access is disabled)"
    r"|(failed|unable|cannot|can't|not able)( to)? (access|reach|connect|read|write|store|save|set)\b[^\n]{0,100}"
    r"key[\s-]?vault"
)


def _said(*matchers: Matcher) -> Matcher:
    """Match what any does, if no container says it."""
    return without(either(*matchers), CRASHED, _TRACEBACK)


CAUSES = (
    Cause(
        id="schema-validation",
        code="InvalidDeploymentSpec",
        what="The specification of the endpoint or deployment has fields that its schema does not know, or lacks some.",
        matches=_said(
            code("InvalidDeploymentSpec"),
            message(
                r"validation for \w{0,40}online(endpoint|deployment)\w{0,20} failed"
                r"|does not match the prescribed schema for (?!batch)[^\n]{0,40}(endpoint|deployment)"
                r"|managedonlineendpoint supports defaultscalesettings only"
                r"|exactly one of the modelids or models must be specified for a service"
            ),
        ),
        advice="Correct the fields that the error names; an endpoint and its deployment have each their own file.",
        commands=(SHOW_ENDPOINT, SHOW_DEPLOYMENT),
        limits=NO_SPEC,
        tells="the specification",
        examples=(
            Symptoms.of(
                None,
                'Validation for ManagedOnlineDeploymentSchema failed:\n\n {\n  "traffic": [\n    "Unknown field."\n  ]',
            ),
            Symptoms.of(
                None,
                "The yaml file you provided does not match the prescribed schema for ManagedOnlineDeployment yaml "
                "files and/or has the following issues:",
            ),
            Symptoms.of("InvalidDeploymentSpec", "The deployment spec is invalid."),
        ),
        source=f"{GUIDE}#error-invaliddeploymentspec",
    ),
    Cause(
        id="invalid-instance-count",
        code="InvalidDeploymentSpec",
        what="The specification asks for a number of instances that cannot be.",
        matches=_said(
            every(
                either(OF_SERVING, code("InvalidDeploymentSpec"), message(r"(scale|sku)\s?settings\.")),
                message(
                    r"\b((instance|replica)[\s_]?count|(min|max)(imum)?[\s_]?(instances?|replicas?)([\s_]?count)?)\b"
                    r"[^\n]{0,100}\b(invalid|not (both )?valid|isn't valid|must be|should be|has to be|can(no|')t be"
                    r"|(greater|less|more|lower|higher|smaller|larger) than|out of range)\b"
                    r"|invalid (instance|replica)[\s_]?count"
                ),
            )
        ),
        refines=("schema-validation",),
        advice="Correct the number of instances, and with autoscaling its minimum and maximum too.",
        commands=(SHOW_DEPLOYMENT,),
        limits=NO_SPEC,
        tells="the specification",
        examples=(
            Symptoms.of("InvalidDeploymentSpec", "The instance count is not valid."),
            Symptoms.of(
                "InvalidDeploymentSpec", "The minimum instance count must be less than the maximum instance count."
            ),
        ),
        source=f"{GUIDE}#error-invaliddeploymentspec",
    ),
    Cause(
        id="invalid-probe-settings",
        code="InvalidDeploymentSpec",
        what="The specification gives a probe a value that is not allowed.",
        matches=_said(
            message(
                r"\b(?P<probe>liveness|readiness|startup)[\s_]?probe\.[^\n]{0,200}"
                r"(invalid value|must be|should be (less|greater|more))"
            ),
            message(r"invalid value provided for [^\n]{0,60} for probe"),
            every(
                code("InvalidDeploymentSpec"),
                message(
                    r"\b(?P<probe>liveness|readiness|startup)[\s_]?probe[^\n]{0,120}"
                    r"(invalid|not valid|must be|should be|cannot be)"
                ),
            ),
        ),
        refines=("schema-validation",),
        advice="Correct the values of the probe: timeouts, periods and thresholds each have their bounds.",
        commands=(SHOW_DEPLOYMENT,),
        limits=NO_SPEC,
        tells="the specification",
        examples=(
            Symptoms.of(
                None,
                "InferenceContainerConfiguration.ServingContainer.ReadinessProbe.TimeoutSeconds: Invalid value "
                "provided for Timeout Seconds for Probe: <400>. The value should be less than 300.",
            ),
            Symptoms.of("InvalidDeploymentSpec", "The liveness probe's period is not valid."),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online#probesettings",
    ),
    Cause(
        id="missing-scoring-script",
        code="BadArgument",
        what="The specification names no scoring script, and the model is none that is served without.",
        matches=_said(
            code("MissingDriverProgram"),
            message(
                r"could not find driver program in the request|\bMissingDriverProgram\b|scoring script can't be empty"
                r"|entry_script \S{1,200} does(n't| not) exist"
            ),
            every(
                OF_SERVING,
                message(
                    r"(scoring_?script|code_?configuration)\b[^\n]{0,60}"
                    r"(is required|is missing|was not (given|specified)|must be (given|specified))"
                    r"|no (scoring_script|code_configuration) (is|was) (given|specified)"
                ),
            ),
        ),
        advice="Name code and scoring script in code_configuration, or an image that serves by itself.",
        commands=(SHOW_DEPLOYMENT,),
        limits=NO_SPEC,
        tells="the specification",
        examples=(
            Symptoms.of("MissingDriverProgram", "Could not find driver program in the request."),
            Symptoms.of(None, "scoring script can't be empty"),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online#yaml-syntax",
    ),
    Cause(
        id="delete-blocked-by-traffic",
        code="BadArgument",
        what="A deployment that requests go to, or are mirrored to, cannot be deleted.",
        matches=_said(
            message(
                r"(can\\?'t|cannot|can not|unable to|could not) delete deployments? \[?['\"]?(?P<resource>[\w-]{1,64})?"
                r"[^\n]{0,80}traffic"
                r"|deployments? [^\n]{0,80}(can\\?'t|cannot|can not) be deleted[^\n]{0,80}traffic"
            )
        ),
        advice="Give its share of the traffic to another deployment, then delete it.",
        commands=(
            f"az ml online-endpoint update -n {{endpoint}} {IN_WORKSPACE} --traffic OTHER=100",
            f"az ml online-endpoint update -n {{endpoint}} {IN_WORKSPACE} --mirror-traffic {{deployment}}=0",
        ),
        limits="It moves no traffic.",
        tells="the traffic of the endpoint",
        examples=(
            Symptoms.of("BadRequest", "Can't delete deployment [green] with non-zero traffic weight"),
            Symptoms.of(None, "Cannot delete deployment 'green': it has live traffic."),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints",
    ),
    Cause(
        id="endpoint-name-taken",
        code="EndpointAlreadyExists",
        what="There is an endpoint of that name already, in the region, the workspace or the cluster.",
        matches=_said(
            message(
                r"already an endpoint with this name|an endpoint with this name already exists"
                r"|\bEndpointAlreadyExists\b|endpoint name (needs to|must|should) be unique"
                r"|met error <class 'Exception'>:\s?endpoint already exists"
                r"|already contains an ACI container group with name (?P<resource>[\w-]{1,64})"
                r"|\bservice with name (?P<service>[\w-]{1,64}) already exists in this workspace"
            ),
            every(
                OF_SERVING,
                message(
                    r"(?<!private\s)endpoint (name )?['\"\[]?(?P<resource>[\w-]{1,64})['\"\]]? "
                    r"(already exists|is (already )?(taken|in use))"
                ),
            ),
            code("EndpointAlreadyExists", "ServiceExists"),
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota", "ImageBuildFailure"),),
        refines=("conflict-in-progress",),
        advice="Choose another name: it has to be the only one in its region, and on Kubernetes in its cluster.",
        commands=(_ENDPOINTS, "kubectl get onlineendpoints -A"),
        limits=_NO_ENDPOINT,
        tells="the endpoints of the region",
        examples=(
            Symptoms.of(
                None,
                "There is already an endpoint with this name, Endpoint name needs to be unique within a region. Try "
                "some other name.",
            ),
            Symptoms.of("EndpointAlreadyExists", "The endpoint credit exists already in the cluster."),
            Symptoms.of("UserError", "An endpoint with this name already exists."),
        ),
        source=f"{GUIDE}#error-endpointalreadyexists",
    ),
    Cause(
        id="endpoint-not-found",
        code="EndpointNotFound",
        what="The endpoint that the deployment belongs to is not there, in the workspace or in the cluster.",
        matches=without(
            either(
                every(
                    code("EndpointNotFound"),
                    either(OF_SERVING, message(r"endpoint[^\n]{0,120}(cluster|workspace|deployment|kubernetes)")),
                ),
                message(
                    r"/onlineEndpoints/(?P<resource>[\w-]{1,64})' under resource group '[^'\n]{0,90}' was not found"
                    r"|(can\\?'t|cannot|could not|unable to) find (the )?endpoint( resource)? for the deployment"
                ),
                every(
                    either(OF_SERVING, message(r"endpoint [^\n]{0,100} in (the )?workspace")),
                    message(
                        r"(?<!private\s)endpoint ['\"\[]?(?P<resource>[\w-]{1,64})['\"\]]? "
                        r"((was|is|could) not (be )?found|does(n\\?'t| not) exist)"
                    ),
                ),
            ),
            message(r"service catalog|keystone|local (endpoint|deployment)|batch[\s-]?endpoint"),
            CRASHED,
            _TRACEBACK,
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota", "ImageBuildFailure"),),
        refines=("arm-resource-not-found",),
        advice="Create the endpoint first, or name one that is there.",
        commands=(_ENDPOINTS, "kubectl get onlineendpoints -A"),
        limits=_NO_ENDPOINT,
        tells="the endpoints of the workspace",
        examples=(
            Symptoms.of("EndpointNotFound", "Cannot find the endpoint resource for the deployment in the cluster."),
            Symptoms.of(
                "EndpointNotFound",
                "The Resource 'Microsoft.MachineLearningServices/workspaces/ml/onlineEndpoints/credit' under resource "
                "group 'rg-ml' was not found.",
            ),
        ),
        source=f"{GUIDE}#error-endpointnotfound",
    ),
    Cause(
        id="deployment-not-found",
        code="EndpointNotFound",
        what="The endpoint has no deployment of the name that was given.",
        matches=_said(
            message(
                r"deployment name (?P<resource>[\w-]{1,64}) not found for this endpoint"
                r"|deployment name not found for this endpoint"
            ),
            message(
                r"/onlineEndpoints/[\w-]{1,64}/deployments/(?P<resource>[\w-]{1,64})' "
                r"under resource group '[^'\n]{0,90}' was not found"
            ),
            message(
                r"deployments? ['\"\[]?(?P<resource>[\w-]{1,64})['\"\]]? "
                r"(does(n\\?'t| not) exist|(was |is )?not found|could not be found) "
                r"(in|for|on|under) (the |this )?(online[\s-]?)?endpoint"
            ),
            every(
                OF_SERVING,
                message(
                    r"traffic[^\n]{0,120}deployments?[^\n]{0,80}(does(n\\?'t| not) exist|do(n't| not) exist|not found)"
                    r"|deployments? [^\n]{0,80}(does(n\\?'t| not) exist|not found)[^\n]{0,80}traffic"
                ),
            ),
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota", "ImageBuildFailure"),),
        refines=("arm-resource-not-found", "endpoint-not-found"),
        advice="Name a deployment that the endpoint has, or create it before traffic or requests go to it.",
        commands=(_DEPLOYMENTS,),
        limits="It creates no deployment and moves no traffic.",
        tells="the deployments of the endpoint",
        examples=(
            Symptoms.of(None, "ValidationException: Deployment name green not found for this endpoint"),
            Symptoms.of(None, "Deployment 'green' does not exist in endpoint 'credit'."),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints",
    ),
    Cause(
        id="endpoint-in-bad-state",
        code="InferencingClientCallFailed",
        what="The endpoint itself was not created as it should be, or is being deleted: nothing can be deployed to it.",
        matches=_said(
            message(
                r"endpoint( \[?['\"]?(?P<resource>[\w*-]{1,64})['\"]?\]?)? has not been created successfully"
                r"|please recreate (the )?endpoint"
            ),
            without(
                message(
                    r"(?<!local\s)(?<![\w-])endpoint ['\"\[]?[\w-]{1,64}['\"\]]? is in (a |the )?(failed|deleting) "
                    r"(provisioning )?state"
                ),
                message(r"private endpoint|local (endpoint|deployment)"),
            ),
        ),
        refines=("conflict-in-progress", "endpoint-name-taken"),
        advice="Create it under another name, or delete it with all of its deployments first: deploying "
        "again never helps.",
        commands=(SHOW_ENDPOINT, f"az ml online-endpoint delete -n {{endpoint}} {IN_WORKSPACE}"),
        limits=_NO_ENDPOINT,
        tells="the state of the endpoint",
        examples=(
            Symptoms.of(
                "InferencingClientCallFailed",
                "Specified endpoint [3f0c] has not been created successfully. Please recreate the endpoint.",
            ),
            Symptoms.of(
                None,
                "This endpoint has not been created successfully or is in deleting provisioning state. Please recreate "
                "endpoint and then try again to create deployment.",
            ),
        ),
        source=f"{GUIDE}#error-inferencingclientcallfailed",
    ),
    Cause(
        id="endpoint-name-recently-deleted",
        code="InferencingClientCallFailed",
        what="An endpoint of that name was deleted a short time ago, and the service has not forgotten it yet.",
        matches=_said(
            every(
                code("InferencingClientCallFailed"),
                either(
                    message(r"\A[\s{*\"'\\]{0,12}title[\s\"'\\]{0,6}:[\s\"'\\]{0,6}not found[\s}*\"'\\.]{0,12}\Z"),
                    message(r"endpoint[^\n]{0,80}(recently|just) (been )?deleted"),
                ),
            )
        ),
        advice="Wait until the deletion is through, or take another name for the endpoint.",
        commands=(_ENDPOINTS,),
        limits=_NO_ENDPOINT,
        tells="the Activity Log of the endpoint",
        examples=(
            Symptoms.of("InferencingClientCallFailed", '{{"title":"Not Found"}}'),
            Symptoms.of("InferencingClientCallFailed", "The endpoint of this name was recently deleted."),
        ),
        source=f"{GUIDE}#error-inferencingclientcallfailed",
    ),
    Cause(
        id="subscription-not-found",
        code="BadArgument",
        what="The subscription that was named does not exist, or is not active.",
        matches=_said(
            every(
                OF_SERVING,
                message(
                    r"subscription [^\n]{0,80}(does(n't| not) exist|can(not|'t) be found|could not be found"
                    r"|is(n't| not) active|is disabled)"
                ),
            ),
            every(code("BadArgument"), message(r"\Asubscription [^\n]{0,80}(does(n't| not) exist|could not be found)")),
            message(r"#subscription-does(nt|-not)-exist"),
        ),
        advice="Correct the ID of the subscription, and see that it is active.",
        commands=("az account show --subscription {subscription} --query state",),
        limits=NO_SPEC,
        tells="the subscription",
        examples=(
            Symptoms.of(
                "BadArgument",
                "Subscription 00000000-0000-0000-0000-000000000000 does not exist. Please see troubleshooting guide, "
                "available here: https://aka.ms/oe-tsg#error-badargument",
            ),
            Symptoms.of("BadArgument", "The subscription of the online endpoint is not active."),
        ),
        source=f"{GUIDE}#subscription-doesnt-exist",
    ),
    Cause(
        id="provider-not-registered",
        code="SubscriptionNotRegistered",
        what="The subscription is not registered with a resource provider that online endpoints need.",
        matches=_said(
            message(
                r"resource provider \[?['\"]?(?P<resource>[\w./-]{1,80})?['\"]?\]? (is(n't|n\\u0027t| not)|not) "
                r"registered with (the )?sub"
            ),
            message(r"not registered to use namespace \\?['\"](?P<resource>Microsoft\.MachineLearningServices)"),
            every(
                code("SubscriptionNotRegistered"),
                message(
                    r"aka\.ms/register-resource-provider|Microsoft\.(MachineLearningServices|PolicyInsights|Cdn)\b"
                ),
            ),
        ),
        advice="Register Microsoft.MachineLearningServices, Microsoft.PolicyInsights and Microsoft.Cdn; deploy again.",
        commands=(
            "az provider register -n Microsoft.MachineLearningServices --subscription {subscription}",
            "az provider register -n Microsoft.PolicyInsights --subscription {subscription}",
            "az provider register -n Microsoft.Cdn --subscription {subscription}",
        ),
        limits="It registers no providers: that is a right of the subscription's owners.",
        tells="the resource providers of the subscription",
        examples=(
            Symptoms.of(
                "SubscriptionNotRegistered",
                "Resource provider [N/A] isn't registered with Subscription [N/A]. Please see troubleshooting guide, "
                "available here: https://aka.ms/register-resource-provider",
            ),
            Symptoms.of(
                None, "Resource provider Microsoft.PolicyInsights is not registered with subscription 0000-0000."
            ),
        ),
        source="https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider",
    ),
    Cause(
        id="policy-template-function-invalid",
        code="BadArgument",
        what="A policy that applies here uses a template function in a wrong way, so Azure Policy stops the request.",
        matches=_said(
            message(r"invalid template function specification|aka\.ms/policy-avoiding-template-failures"),
            every(
                either(OF_SERVING, code("BadArgument")),
                message(r"polic(y|ies)\b"),
                message(r"template function[^\n]{0,120}(is(n't| not) (valid|expected)|invalid|incorrect)"),
            ),
        ),
        advice="Correct the policy, or remove its assignment: the error may name both.",
        commands=("az policy assignment list -g {resource_group} -o table",),
        limits="It changes no policy.",
        tells="the policies of the resource group",
        examples=(
            Symptoms.of("BadArgument", "Invalid template function specification in policy assignment 'require-tags'."),
            Symptoms.of("BadArgument", "The template function 'fieldd' of policy definition 'tags' is not valid."),
        ),
        source=f"{GUIDE}#invalid-template-function-specification",
    ),
    Cause(
        id="arm-resource-not-found",
        code="ResourceNotFound",
        what="A resource that the deployment or the workspace refers to is not there.",
        matches=without(
            either(
                message(r"azure resource manager (can't|cannot|can not|could not) find a required resource"),
                every(
                    OF_SERVING,
                    message(
                        r"the resource '(?P<resource>[^'\n]{3,300})' under resource group '[^'\n]{0,90}' was not found"
                        r"|(storage account|key vault|application insights)[^\n]{0,160}"
                        r"((was|could) not (be )?found|can('t|not) be found|does(n't| not) exist)"
                    ),
                ),
            ),
            NO_MODEL,
            NO_IMAGE,
            CRASHED,
            _TRACEBACK,
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota", "ImageBuildFailure"),),
        advice="Create the missing resource again, or correct the name or path by which it is referred to.",
        commands=(_WORKSPACE, "az resource list -g {resource_group} -o table"),
        limits="It creates no resources.",
        tells="the resources of the workspace",
        examples=(
            Symptoms.of(
                "ResourceNotFound",
                "The Resource 'Microsoft.Storage/storageAccounts/stmlprod' under resource group 'rg-ml' was not found. "
                "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-resourcenotfound",
            ),
            Symptoms.of("ResourceNotFound", "Azure Resource Manager cannot find a required resource."),
        ),
        source=f"{GUIDE}#resource-manager-cant-find-a-resource",
    ),
    Cause(
        id="managed-network-not-ready",
        code="WorkspaceManagedNetworkNotReady",
        what="The managed network of the workspace is not provisioned yet.",
        matches=_said(
            code("WorkspaceManagedNetworkNotReady"),
            message(
                r"\bWorkspaceManagedNetworkNotReady\b|(workspace\\?'?s? managed|managed virtual) (virtual )?network"
                r"[^\n]{0,60}((is|has)(n't| not) (been )?(provisioned|ready)|not (yet )?(provisioned|ready))"
            ),
        ),
        checks=(is_managed,),
        refines=("workspace-network-isolation",),
        advice="Provision the workspace's managed network, then run the deployment again.",
        commands=(
            "az ml workspace provision-network -n {workspace} -g {resource_group}",
            f"{_WORKSPACE} --query managed_network",
        ),
        limits=_NO_NETWORK,
        tells="the managed network of the workspace",
        examples=(
            Symptoms.of("WorkspaceManagedNetworkNotReady", "Provision the managed network of the workspace first."),
            Symptoms.of("BadRequest", "The workspace managed virtual network is not provisioned yet."),
        ),
        source=f"{GUIDE}#error-workspacemanagednetworknotready",
    ),
    Cause(
        id="workspace-network-isolation",
        code="BadArgument",
        what="The workspace's network isolation does not let the deployment, or the request for it, through.",
        matches=without(
            _said(
                message(
                    r"access to workspace was denied based on workspace private link configuration"
                    r"|deployments with enabled private networking require"
                    r"|egress_?public_?network_?access[^\n]{0,160}(supported|allowed|enabled|disabled|required)"
                    r"|not supported when your workspace is secured with managed virtual network"
                    r"|egress for Microsoft\.MachineLearningServices/workspaces/onlineEndpoints"
                ),
                every(
                    OF_SERVING,
                    message(
                        r"public[\s_]?network[\s_]?access (is |was |of [^\n]{0,60} is )?(disabled|not allowed)"
                        r"|workspace[^\n]{0,80}(private (link|endpoint)|managed (virtual )?network)[^\n]{0,120}"
                        r"(denied|blocked|not (approved|allowed|supported)|refused)"
                    ),
                ),
            ),
            during("invoke"),
            message(r"inference\.ml\.azure"),
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota"),),
        refines=("private-registry", "image-not-found"),
        advice="Send the request from inside the workspace's network; check private endpoints, egress and registry.",
        commands=(
            f"{_WORKSPACE} --query '[public_network_access, managed_network]'",
            "az ml workspace diagnose -n {workspace} -g {resource_group}",
        ),
        limits=_NO_NETWORK,
        tells="the network settings of the workspace",
        examples=(
            Symptoms.of("UserError", "Access to workspace was denied based on workspace private link configuration."),
            Symptoms.of(
                "InferencingClientCallFailed",
                "The EgressPublicNetworkAccess under online deployment is no longer supported when your workspace is "
                "secured with managed virtual network.",
            ),
        ),
        source=_NETWORK_GUIDE,
    ),
    Cause(
        id="v1-legacy-mode",
        code="BadArgument",
        what="The workspace is in v1 legacy mode, in which there are no online endpoints.",
        matches=_said(
            message(
                r"v1[\s_-]?legacy[\s_-]?mode[\s\"'`:=*]{0,8}((is|was) )?((set to|turned) )?[\"'`]?(true|enabled|on)\b"
            ),
        ),
        refines=("workspace-network-isolation",),
        advice="Turn v1_legacy_mode of the workspace off; the network's owner should know, as v2 goes by other ways.",
        commands=(
            (
                "az resource update -g {resource_group} -n {workspace} --set properties.v1LegacyMode=false "
                "--resource-type Microsoft.MachineLearningServices/workspaces"
            ),
        ),
        limits="It changes no workspace.",
        tells="the settings of the workspace",
        examples=(
            Symptoms.of("BadRequest", "Online endpoints cannot be created in this workspace: V1LegacyMode == true."),
            Symptoms.of(None, "The workspace has v1_legacy_mode enabled."),
        ),
        source="https://learn.microsoft.com/azure/machine-learning/how-to-configure-network-isolation-with-v2",
    ),
    Cause(
        id="key-vault-unreachable",
        code="BadArgument",
        what="Azure ML may not write the keys of the endpoint to the workspace's key vault.",
        matches=without(
            every(
                OF_SERVING,
                _REFUSED_VAULT,
                message(
                    r"key[\s-]based|\b(endpoint|auth\w{0,12}) keys?\b|(create|creation|creating)\b[^\n]{0,60}endpoint"
                ),
            ),
            code("SecretsInjectionError"),
            message(r"secrets? injection|traceback"),
            CRASHED,
        ),
        checks=(did_not_end_with("ResourceNotReady", "OutOfQuota", "SecretsInjectionError"),),
        refines=("workspace-network-isolation",),
        advice="Let trusted Microsoft services pass the key vault's firewall, or use tokens instead of keys.",
        commands=("az keyvault show -n KEY_VAULT --query properties.networkAcls",),
        limits=_NO_NETWORK,
        tells="the network rules of the key vault",
        examples=(
            Symptoms.of(
                "BadRequest",
                "Creating the online endpoint with key-based authentication failed: the key vault cannot be reached.",
            ),
            Symptoms.of(
                "InferencingClientCallFailed",
                "Failed to create endpoint credit: access to key vault kvml was denied by its firewall.",
            ),
        ),
        source=_NETWORK_GUIDE,
    ),
    Cause(
        id="mlflow-private-network",
        code="BadArgument",
        what="An MLflow model cannot be served without code where the deployment has a private network of its own.",
        matches=without(
            every(
                message(
                    rf"mlflow[^\n]{{0,120}}private (network|endpoint|link)\w{{0,3}}[^\n]{{0,60}}{_UNSUPPORTED}"
                    rf"|mlflow[^\n]{{0,80}}{_UNSUPPORTED}[^\n]{{0,80}}private (network|endpoint|link)"
                    rf"|private (network|endpoint|link)\w{{0,3}}[^\n]{{0,80}}{_UNSUPPORTED}[^\n]{{0,80}}mlflow"
                ),
                either(OF_SERVING, code("BadArgument"), message(r"mlflow models?\b")),
            ),
            message(r"MlflowException"),
            CRASHED,
            _TRACEBACK,
        ),
        checks=(is_managed,),
        refines=("workspace-network-isolation",),
        advice="Use the workspace's managed network, or give the model a scoring script and an environment.",
        commands=(SHOW_DEPLOYMENT, f"{_WORKSPACE} --query managed_network"),
        limits=f"{NO_SPEC} {_NO_NETWORK}",
        tells="the network settings of the deployment",
        examples=(
            Symptoms.of("BadArgument", "MLflow model format with private network is unsupported."),
            Symptoms.of("BadRequest", "Private network is not supported for deployments of MLflow models."),
        ),
        source=f"{GUIDE}#mlflow-model-format-with-private-network-is-unsupported",
    ),
    Cause(
        id="secrets-injection-failed",
        code="SecretsInjectionError",
        what="A secret that the deployment's environment variables refer to could not be read.",
        matches=_said(
            code("SecretsInjectionError"),
            message(
                r"\bSecretsInjectionError\b|secrets? injection[^\n]{0,60}(failed|error)"
                r"|failed to inject (the )?secrets?"
            ),
        ),
        refines=("key-vault-unreachable",),
        advice="Let the endpoint's identity read the secrets, or correct the names and format of the references.",
        commands=(IDENTITY, ASSIGNMENTS, SHOW_DEPLOYMENT),
        limits="It grants no right to read secrets.",
        tells="the roles of the endpoint's identity",
        examples=(
            Symptoms.of(
                "SecretsInjectionError", "The secret openai-key could not be read from the workspace connection."
            ),
            Symptoms.of("SecretsInjectionError", "The format of the secret reference is invalid."),
        ),
        source=f"{GUIDE}#error-secretsinjectionerror",
    ),
    Cause(
        id="identity-missing-storage-contributor",
        code="BadArgument",
        what="The endpoint's identity may not write what is collected from requests to the storage account.",
        matches=_said(
            message(
                r"incorrect role assignments? on (the )?storage account[^\n]{0,60}(mdc|data collect)"
                r"|storage blob data contributor[^\n]{0,200}(mdc\b|data collect)"
                r"|(mdc\b|data collect\w{0,4})[^\n]{0,200}storage blob data contributor"
            )
        ),
        checks=(is_managed, did_not_end_with(*TURNED_DOWN)),
        refines=(
            *("identity-missing-roles", "identity-missing-storage-reader", "identity-missing-acrpull"),
            *("role-not-effective", "private-registry", "image-not-found"),
        ),
        advice="Give the endpoint's identity Storage Blob Data Contributor on the storage account, or collect no data.",
        commands=(IDENTITY, ASSIGNMENTS),
        limits="It grants the right to read alone, never the right to write.",
        tells="the roles of the endpoint's identity",
        examples=(
            Symptoms.of(
                "BadArgument",
                "Startup task failed due to incorrect role assignments on storage account when mdc is enabled.",
            ),
            Symptoms.of(
                "BadArgument",
                "Model data collection needs Storage Blob Data Contributor: data collector is enabled, "
                "and Storage Blob Data Contributor is missing.",
            ),
        ),
        source=f"{GUIDE}#authorization-error",
    ),
    Cause(
        id="quota-cluster",
        code="OutOfQuota",
        what="The subscription has as many compute clusters as it may have in the region.",
        matches=without(
            every(
                OUT_OF_QUOTA,
                message(
                    r"\bcluster quota\b|quota (of|for) (the number of )?(compute |azure machine learning )?clusters?\b"
                    r"|(number|count) of (compute )?clusters[^\n]{0,80}(limit|quota|exceed)"
                ),
            ),
            CRASHED,
            NO_NODE,
            message(r"kubernetes|tokens per minute"),
        ),
        checks=(is_managed, did_not_end_with("ResourceNotReady", "ImageBuildFailure")),
        refines=("quota-other",),
        advice="Delete compute clusters that nobody uses, or ask for more of them: deleting deployments frees none.",
        commands=(
            f"az ml compute list {IN_WORKSPACE} -o table",
            "az ml compute list-usage -l LOCATION -g {resource_group} -w {workspace} -o table",
        ),
        limits="It deletes no clusters, and asks for no quota.",
        tells="the cluster quota of the region",
        examples=(
            Symptoms.of("OutOfQuota", "Not enough Azure Machine Learning compute cluster quota."),
            Symptoms.of("OutOfQuota", "Machine Learning Service: Cluster Quota reached. Current usage/limit: 20/20."),
        ),
        source=f"{GUIDE}#cluster-quota",
    ),
)
