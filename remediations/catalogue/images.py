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
        matches=without(REGISTRY_REFUSED, CRASHED, FIREWALL, ADMIN_USER_OFF),
        checks=(registry_admin_is_on, registry_keys_changed, network_is_sound, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        advice="Sync the workspace's keys, then run the deployment again: its registry refused the keys that it has.",
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
        matches=either(REGISTRY_REFUSED, ADMIN_USER_OFF),
        checks=(registry_admin_is_off, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Turn the registry's admin user on, or let the workspace use its identity; then sync the keys.",
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
        matches=either(REGISTRY_REFUSED, FIREWALL),
        checks=(network_is_faulty, registry_is_usable, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Open the way from the image build to the registry: its firewall, private endpoint and DNS.",
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
        matches=either(REGISTRY_REFUSED, REGISTRY_UNREACHED),
        checks=(registry_is_missing, _no_container_ran),
        asks=(Area.REGISTRY, Area.NETWORK),
        needs_support=True,
        advice="Give the workspace a registry: it has none, or names one that is not there.",
        tells="the workspace's registry",
        examples=(Symptoms.of("ImageBuildFailure", "Container registry authorization failure"),),
        source=_SOURCE,
    ),
    Cause(
        id="image-build-compute-not-set",
        code="ImageBuildFailure",
        matches=REGISTRY_UNREACHED,
        checks=(_no_container_ran,),
        asks=(Area.REGISTRY, Area.NETWORK),
        advice="Set a compute that builds images for the workspace: its registry is private; syncing keys is no help.",
        tells="the workspace's registry",
        examples=(Symptoms.of("ImageBuildFailure", "failed to communicate with the workspace's container registry"),),
        source=f"{GUIDE}#error-imagebuildfailure",
    ),
    Cause(
        id="image-build-generic",
        code="ImageBuildFailure",
        matches=without(
            either(
                code("ImageBuildFailure", "EnvironmentBuildFailed"),
                message(r"the build log is available in the workspace blob store"),
            ),
            *(REGISTRY_REFUSED, REGISTRY_LOGIN, REGISTRY_UNREACHED, FIREWALL, ADMIN_USER_OFF, CRASHED, _LOG_ELSEWHERE),
        ),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Read the build log in the workspace's storage, and build the environment by itself until it succeeds.",
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
        matches=without(REGISTRY_LOGIN, CRASHED),
        hints=without(either(NO_PULL, STARTUP_REFUSED, NO_IMAGE, PULL_REFUSED, PULL_FAILED), CRASHED, NO_SPACE),
        checks=(image_lies_elsewhere, did_not_end_with(*CONTAINER_RAN)),
        asks=(Area.IMAGE,),
        advice="Let the endpoint's identity pull from that registry, and name the image in the environment unbuilt.",
        tells="the image that the environment names",
        examples=(Symptoms.of("UserError", "Authentication failed for container registry crother."),),
        source=f"{GUIDE}#container-registry-authorization-error",
    ),
    Cause(
        id="image-not-found",
        code="BadArgument",
        matches=without(NO_IMAGE, CRASHED, NO_SPACE),
        hints=without(either(NO_PULL, STARTUP_REFUSED, PULL_REFUSED, PULL_FAILED), CRASHED, NO_SPACE),
        checks=(image_is_missing, did_not_end_with(*CONTAINER_RAN)),
        asks=(Area.IMAGE, Area.ACCESS),
        advice="Name an image and tag that the registry has, or build the environment again.",
        tells="the registry's manifest of the image",
        examples=(
            Symptoms.of("BadArgument", "Unable to download user container image"),
            Symptoms.of(None, "manifest for crmlprod.azurecr.io/scoring:latest not found: manifest unknown"),
        ),
        source=f"{GUIDE}#unable-to-download-user-container-image",
    ),
)
