"""Texts that several causes share. Each is the service's own wording; what a container writes is no part of them."""

from remediations.catalogue.cause import code, either, log, message

GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"

# The model's own words follow: nothing that stands in such a text is the service's.
CRASHED = message(r"user container has crashed|your container application crashed")

# What speaks of the workspace's credentials for its registry, and what speaks of the way to it.
REGISTRY_REFUSED = message(
    r"container registry authorization failure"
    r"|unauthorized error encountered while attempting to connect to the container registry"
    r"|try running resync keys on your workspace"
)
REGISTRY_LOGIN = message(r"authentication failed for container registry")
REGISTRY_UNREACHED = message(r"failed to communicate with the workspace'?s container registry")
FIREWALL = message(r"client with IP '[^']{0,64}' is not allowed access|aka\.ms/acr/firewall")
ADMIN_USER_OFF = message(r"admin user is (not enabled|disabled)")

# What a deployment says before its container runs.
NO_PULL = message(r"identity does not have pull permissions? on the registry")
STARTUP_REFUSED = message(r"startup task failed due to (an )?(authorization error|incorrect role assignments?)")
NO_SPACE = message(r"not enough space on the disk")
NO_IMAGE = message(r"unable to download user container image")
NO_MODEL = message(r"unable to download user model")
NO_MODEL_OR_CODE = message(r"unable to download user model[\\/]code")
NO_MANIFEST = message(r"StorageManifestError")
# As a kubelet says it, of any pod; and as the deployment log tells its events.
PULL_REFUSED = message(r"unauthorized: authentication required|manifest (unknown|for \S+ not found)")
PULL_FAILED = either(code("ImagePullFailed"), log(r"Name: ImagePullFailed, Type: Warning"))
DOWNLOAD_FAILED = either(code("DownloadFailed"), log(r"Name: DownloadFailed, Type: Warning"))

OUT_OF_QUOTA = either(code("OutOfQuota"), message(r"oe-tsg#error-outofquota"))
NO_NODE = message(
    r"\b\d{1,5}/\d{1,5} nodes are available: [^\n]{0,200}insufficient"
    r"|CPU/Memory resource insufficient|replicas? unschedulable"
)
