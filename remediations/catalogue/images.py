"""Causes in building an image and in the registry that holds it."""

from remediations.catalogue.cause import Cause, Symptoms, code, either, message, without
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    TURNED_DOWN,
    did_not_end_with,
    image_is_missing,
    image_lies_elsewhere,
    network_is_faulty,
    network_is_sound,
    registry_admin_is_off,
    registry_admin_is_on,
    registry_is_missing,
    registry_is_usable,
    registry_keys_changed,
)
from remediations.catalogue.texts import (
    ADMIN_USER_OFF,
    CRASHED,
    FIREWALL,
    GUIDE,
    NO_IMAGE,
    NO_PULL,
    NO_SPACE,
    PULL_FAILED,
    PULL_REFUSED,
    REGISTRY_LOGIN,
    REGISTRY_REFUSED,
    REGISTRY_UNREACHED,
    STARTUP_REFUSED,
)
from remediations.model import Area

_SOURCE = f"{GUIDE}#container-registry-authorization-failure"
_LOG_ELSEWHERE = message(
    r"could not find a version|no matching distribution|ResolvePackageNotFound|CondaValueError|LibMamba"
    r"|pip (returned|failed)|solving environment|installing pip dependencies|time(d )?out"
)
_no_container_ran = did_not_end_with(*CONTAINER_RAN, *TURNED_DOWN, "OutOfQuota")

CAUSES = (
    Cause(
        id="acr-authorization",
        code="ImageBuildFailure",
        what="The workspace's registry refused the keys that the workspace has for it.",
        matches=without(REGISTRY_REFUSED, CRASHED, FIREWALL, ADMIN_USER_OFF),
        checks=(registry_admin_is_on, registry_keys_changed, network_is_sound, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        advice="Sync the workspace's keys, then run the deployment again: its registry refused the keys that it has.",
        commands=("az ml workspace sync-keys -n {workspace} -g {resource_group}",),
        tells="the workspace's registry and its diagnosis",
        action="sync-keys",
        examples=(
            Symptoms.of(
                "UserError",
                "Unauthorized error encountered while attempting to connect to the container registry. Please try "
                "running resync keys on your workspace and retry.",
            ),
            Symptoms.of("ImageBuildFailure", "Container registry authorization failure"),
        ),
        source=_SOURCE,
    ),
    Cause(
        id="acr-admin-disabled",
        code="ImageBuildFailure",
        what="The admin user of the workspace's registry, whose keys the workspace uses, is off.",
        matches=either(REGISTRY_REFUSED, ADMIN_USER_OFF),
        checks=(registry_admin_is_off, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Turn the registry's admin user on, or let the workspace use its identity; then sync the keys.",
        commands=(
            "az acr update -n {registry} --admin-enabled true",
            "az ml workspace sync-keys -n {workspace} -g {resource_group}",
        ),
        limits="It turns no admin user on: that is a decision of security.",
        tells="the workspace's registry",
        examples=(
            Symptoms.of(None, "admin: admin user is not enabled for container registry 'crmlprod'"),
            Symptoms.of("ImageBuildFailure", "Container registry authorization failure"),
        ),
        source=_SOURCE,
    ),
    Cause(
        id="acr-firewall",
        code="ImageBuildFailure",
        what="The way from the image build to the workspace's registry is closed.",
        matches=either(REGISTRY_REFUSED, FIREWALL),
        checks=(network_is_faulty, registry_is_usable, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Open the way from the image build to the registry: its firewall, private endpoint and DNS.",
        commands=(
            "az ml workspace diagnose -n {workspace} -g {resource_group}",
            "az acr network-rule list -n {registry}",
        ),
        limits="It changes no network.",
        tells="the workspace's diagnosis",
        examples=(
            Symptoms.of(
                "DENIED",
                "client with IP '<redacted>' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.",
            ),
            Symptoms.of("ImageBuildFailure", "Container registry authorization failure"),
        ),
        source=_SOURCE,
    ),
    Cause(
        id="acr-missing",
        code="ImageBuildFailure",
        what="The workspace has no container registry, or names one that is not there.",
        matches=either(REGISTRY_REFUSED, REGISTRY_UNREACHED),
        checks=(registry_is_missing, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Give the workspace a registry: it has none, or names one that is not there.",
        commands=("az ml workspace show -n {workspace} -g {resource_group} --query container_registry",),
        limits="It creates no registry.",
        tells="the workspace's registry",
        examples=(Symptoms.of("ImageBuildFailure", "Container registry authorization failure"),),
        source=_SOURCE,
    ),
    Cause(
        id="image-build-compute-not-set",
        code="ImageBuildFailure",
        what="The registry is private and the workspace has no compute of its own that builds images.",
        matches=REGISTRY_UNREACHED,
        checks=(_no_container_ran,),
        asks=(Area.REGISTRY, Area.NETWORK),
        advice="Set a compute that builds images for the workspace: its registry is private; syncing keys is no help.",
        commands=("az ml workspace update -n {workspace} -g {resource_group} --image-build-compute COMPUTE",),
        limits="It syncs no keys here: the registry was not reached at all.",
        tells="the workspace's registry",
        examples=(Symptoms.of("ImageBuildFailure", "failed to communicate with the workspace's container registry"),),
        source=f"{GUIDE}#error-imagebuildfailure",
    ),
    Cause(
        id="image-build-generic",
        code="ImageBuildFailure",
        what="The environment's image could not be built; why stands only in the build log.",
        matches=without(
            either(
                code("ImageBuildFailure", "EnvironmentBuildFailed"),
                message(r"the build log is available in the workspace blob store"),
            ),
            *(REGISTRY_REFUSED, REGISTRY_LOGIN, REGISTRY_UNREACHED, FIREWALL, ADMIN_USER_OFF, CRASHED, _LOG_ELSEWHERE),
        ),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Read the build log in the workspace's storage, and build the environment by itself until it succeeds.",
        commands=("az ml environment list -g {resource_group} -w {workspace} -o table",),
        limits="It builds no images.",
        tells="the build log",
        examples=(
            Symptoms.of(
                "ImageBuildFailure",
                "The build log is available in the workspace blob store '[storage-account-name]' under the path "
                "'/azureml/ImageLogs/your-image-id/build.log'",
            ),
            Symptoms.of(
                "EnvironmentBuildFailed",
                "Failed building the Environment. You can try debugging locally first.",
            ),
        ),
        source=f"{GUIDE}#generic-image-build-failure",
    ),
    Cause(
        id="private-registry",
        code="ImageBuildFailure",
        what="The image lies in a registry that is not the workspace's and does not let the endpoint in.",
        matches=without(REGISTRY_LOGIN, CRASHED),
        hints=without(either(NO_PULL, STARTUP_REFUSED, NO_IMAGE, PULL_REFUSED, PULL_FAILED), CRASHED, NO_SPACE),
        checks=(image_lies_elsewhere, did_not_end_with(*CONTAINER_RAN)),
        asks=(Area.IMAGE,),
        advice="Let the endpoint's identity pull from that registry, and name the image in the environment unbuilt.",
        commands=(
            "az ml online-endpoint show -n {endpoint} -g {resource_group} -w {workspace} --query identity",
            "az acr show -n {registry} --query id",
        ),
        limits="It grants roles on the workspace's own registry alone.",
        tells="the image that the environment names",
        examples=(Symptoms.of("UserError", "Authentication failed for container registry crother."),),
        source=f"{GUIDE}#container-registry-authorization-error",
    ),
    Cause(
        id="image-not-found",
        code="BadArgument",
        what="The image that the environment names is not in the registry.",
        matches=without(NO_IMAGE, CRASHED, NO_SPACE),
        hints=without(either(NO_PULL, STARTUP_REFUSED, PULL_REFUSED, PULL_FAILED), CRASHED, NO_SPACE),
        checks=(image_is_missing, did_not_end_with(*CONTAINER_RAN)),
        asks=(Area.IMAGE, Area.ACCESS),
        advice="Name an image and tag that the registry has, or build the environment again.",
        commands=("az acr repository show-tags -n {registry} --repository REPOSITORY --orderby time_desc -o table",),
        limits="It pushes and builds no images.",
        tells="the registry's manifest of the image",
        examples=(
            Symptoms.of("BadArgument", "Unable to download user container image"),
            Symptoms.of(None, "manifest for crmlprod.azurecr.io/scoring:latest not found: manifest unknown"),
        ),
        source=f"{GUIDE}#unable-to-download-user-container-image",
    ),
)
