"""Texts that several causes share. Each is the service's own wording; what a container writes is no part of them."""

from remediations.catalogue.matchers import Matcher, anchor, anywhere, code, during, either, log, message, without

GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"


def numbered(name: str) -> Matcher:
    """Match a number of the preview of 2021, as a code or as people quote it."""
    return either(code(name), message(rf"\b{name}\b"))


# Signs that a text is about another service, or written by a container.
ELSEWHERE = anywhere(
    r"\baz (?!ml\b)[a-z]{2,20} [a-z]|\bMicrosoft\.(?!MachineLearning|Resources|Authorization)[A-Za-z]{3,40}/"
    r"|\bcosmos db\b|\bkey vault: |\bvirtual machine|\bvmss\b|\bscale set\b"
    r"|\bcompute (?:instance|cluster)\b|\bamlcompute\b"
    r"|\bapp service\b|\bweb app\b|\bgit push\b|\bdocker (?:push|login)\b|\bAKS: "
    r"|\bprivate base image\b|\bused as base image\b"
    r"|\bstdout\b|\bscore\.py output|\blogger\.|azmlinfsrv|\bassertionerror\b|\bruntimeerror: |\bmodel-error-reason\b"
)

# The model's own words follow: nothing that stands in such a text is the service's.
CRASHED = message(r"\bcontainer has crashed|your container application crashed")

# What pip and conda say when they cannot install, and what shows that it was an image that was being built.
CONDA_FAILED = anywhere(
    r"could not find a version that satisfies|no matching distribution found|ResolvePackageNotFound|CondaValueError"
    r"|CondaEnvException|LibMambaUnsatisfiableError|UnsatisfiableError|PackagesNotFoundError|pip (?:returned|failed)"
    r"|pip subprocess error|CondaDependencyError|dependency conflict|conflicting dependencies"
    r"|ResolutionImpossible|which is incompatible"
    r"|conda\.core\.link[^\n]{0,80}an error occurred while installing"
    r"|solving environment:? \.{0,3}(?:working\.{0,3} )?failed|conda env(?:ironment)? update[^\n]{0,40}failed"
)
IMAGE_BUILD = either(
    during("build"),
    anchor("error-imagebuildfailure"),
    code("ImageBuildFailure", "EnvironmentBuildFailed", "ImageBuildFailed"),
    anywhere(
        r"azureml-environment-setup|docker image build failed|step \d{1,3}/\d{1,3} ?: run "
        r"|building image for deployment"
        r"|image build (?:failed|run)|failed building the environment|environment image"
        r"|azureml/imagelogs|conda env (?:create|update)[^\n]{0,120}azureml[-_]env|image creation failed with"
    ),
)

# What speaks of the workspace's credentials for its registry, and what speaks of the way to it.
REGISTRY_REFUSED = message(
    r"container registry authorization failure"
    r"|unauthorized error encountered while attempting to connect to the container registry"
    r"|try running resync keys on your workspace"
)
REGISTRY_LOGIN = message(r"authentication failed for container registry")
REGISTRY_UNREACHED = message(r"failed to communicate with the workspace'?s (?:private )?container registry")
FIREWALL = message(r"client with IP [^\n]{0,64} is not allowed access|aka\.ms/acr/firewall")
ADMIN_USER_OFF = message(r"admin user is (not enabled|disabled)")

# What only Azure ML's serving says of itself: its guides, its names, the codes of its own services.
OF_SERVING = either(
    message(
        r"aka\.ms/(oe|amlarc)-tsg|how-to-troubleshoot-(online-endpoints|kubernetes-compute)"
        r"|online[\s-]?(endpoint|deployment)|inferencing\s?client|Model Management Service|az ml (online|model|service)"
        r"|KubernetesDeploymentFailed"
    ),
    code("InferencingClientCallFailed", "InferencingClientCreateDeploymentFailed", "KubernetesDeploymentFailed"),
    code("KubernetesError", "DeploymentIdentityError", "ACRSecretError"),
)
# What a deployment says before its container runs.
NO_PULL = message(
    r"identity does not have pull permissions?\b"
    r"|identity[^\n]{0,80}(?:does not have|lacks|is missing)[^\n]{0,30}\bAcrPull\b"
)
STARTUP_REFUSED = message(r"startup task failed due to (an )?(authorization error|incorrect role assignments?)")
NO_SPACE = message(r"not enough (?:disk )?space\b|no space left on|insufficient disk")
NO_IMAGE = message(r"unable to download user container image|user container image (?:could not be|was not|not) found")
NO_MODEL = message(r"unable to download user model")
NO_MODEL_OR_CODE = message(r"unable to download user model(?:[\\/]| or )code")
NO_MANIFEST = message(r"StorageManifestError")
# As a kubelet says it, of any pod; and as the deployment log tells its events.
PULL_REFUSED = message(r"unauthorized: authentication required|manifest (unknown|for \S+ not found)")
PULL_FAILED = either(code("ImagePullFailed"), log(r"Name: ImagePullFailed, Type: Warning"))
DOWNLOAD_FAILED = either(code("DownloadFailed"), log(r"Name: DownloadFailed, Type: Warning"))

OUT_OF_QUOTA = either(code("OutOfQuota"), anchor("error-outofquota"))
NO_NODE = message(
    r"\b\d{1,5}/\d{1,5} nodes are available: [^\n]{0,200}(?:insufficient|too many pods)"
    r"|CPU/Memory resource insufficient|replicas? unschedulable"
)

# What Kubernetes compute says while the role of its identity is not effective, whatever the reason.
ROLE_PENDING = without(
    message(
        r"role assignment[^\n]{0,120} (?:takes some time"
        r"|(?:has not|hasn't|is not|isn't) (?:yet )?(?:been )?(?:yet )?completed)"
    ),
    CRASHED,
)
