"""Causes in building an image and in the registry that holds it."""

from remediations.catalogue.cause import Cause
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
    text_names_no_other_registry,
)
from remediations.catalogue.matchers import Symptoms, anywhere, code, during, either, every, led_by, message, without
from remediations.catalogue.texts import (
    ADMIN_USER_OFF,
    CONDA_FAILED,
    CRASHED,
    FIREWALL,
    GUIDE,
    IMAGE_BUILD,
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
from remediations.catalogue.words import DEPLOY_LOCALLY, IN_WORKSPACE
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
        says=led_by(
            r"(?:image build failed due to )?container registry authorization failure"
            r"|unauthorized error encountered while attempting to connect to the container registry",
            *("ImageBuildFailure", "EnvironmentBuildFailed"),
        ),
        checks=(
            registry_admin_is_on,
            registry_keys_changed,
            network_is_sound,
            text_names_no_other_registry,
            _no_container_ran,
        ),
        asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
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
        asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
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
        asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
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
        asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
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
        refines=("private-registry",),
        what="The registry is private and the workspace has no compute of its own that builds images.",
        matches=either(
            REGISTRY_UNREACHED,
            message(
                r"unable to resolve container registry"
                r"|image[ _]?build[ _]?compute[^\n]{0,60} (?:not set|property to build)"
                r"|container registry is behind [^\n]{0,40}virtual network[^\n]{0,60}(?:cannot|can't) build"
            ),
        ),
        checks=(_no_container_ran,),
        asks=(Area.REGISTRY, Area.KEYS, Area.NETWORK),
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
                message(
                    r"the build log (?:is available in the workspace blob store|under the storage account)"
                    r"|reported user error with the requested environment|docker image build failed"
                ),
                during("build"),
            ),
            *(
                REGISTRY_REFUSED,
                REGISTRY_LOGIN,
                REGISTRY_UNREACHED,
                FIREWALL,
                ADMIN_USER_OFF,
                CRASHED,
                _LOG_ELSEWHERE,
                code("InternalServerError"),
            ),
        ),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        is_catch_all=True,
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
        id="image-build-dependency",
        code="ImageBuildFailure",
        what="Conda or pip could not install a package of the environment while its image was built.",
        matches=every(
            either(
                CONDA_FAILED,
                anywhere(
                    r"installing pip dependencies:? ?\.{0,3} ?working"
                    r"|error: subprocess-exited-with-error|failed building wheel"
                ),
            ),
            either(IMAGE_BUILD, anywhere(r"installing pip dependencies:? ?\.{0,3} ?working")),
        ),
        refines=("image-build-generic", "conda-env-install-failure", "container-crash", "probe-failure"),
        checks=(_no_container_ran,),
        advice="Pin every package in the conda file to versions that exist and fit together, and build it again.",
        commands=("conda env create -n userenv -f CONDA_FILE", DEPLOY_LOCALLY),
        limits="It changes no environment.",
        tells="the build log",
        examples=(
            Symptoms.of(
                None,
                "Step 3/5 : RUN conda env update --name=base -f "
                "/azureml-environment-setup/env.yml\nSolving environment: "
                "...working... failed\n\nResolvePackageNotFound: \n  - pandas=0.11.9\n\nDocker image build failed",
            ),
            Symptoms.of(
                None,
                "ERROR: No matching distribution found for sklearnx==9.9 (from -r /azureml-environment-setup/"
                "condaenv.x1.requirements.txt (line 4))\nCondaValueError: pip returned an error",
            ),
            Symptoms.of("ImageBuildFailure", "Installing pip dependencies: ...working..."),
        ),
        source=f"{GUIDE}#generic-image-build-failure",
    ),
    Cause(
        id="image-build-timeout",
        code="ResourceNotFound",
        also=("ImageBuildFailure",),
        what="The image of the environment was not built in the time that a deployment waits for it.",
        matches=anywhere(
            r"timeout while waiting for (?:the )?environment image|waiting for environment image to become available"
            r"|image build(?:ing)?[^\n]{0,60}(?:timed? ?out|took too long|did not (?:finish|complete))"
            r"|environment (?:image )?build[^\n]{0,60}(?:timed? ?out|took too long)"
        ),
        refines=("image-build-generic", "image-build-dependency"),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Build the environment by itself until it succeeds, then deploy: a deployment does not wait that long.",
        commands=(
            f"az ml environment create -f ENVIRONMENT_FILE {IN_WORKSPACE}",
            f"az ml environment list {IN_WORKSPACE} -o table",
        ),
        limits="It builds no images, and runs nothing again that would wait for the same build.",
        tells="the build log",
        examples=(
            Symptoms.of(
                None,
                "ResourceNotFound: Deployment failed due to timeout while waiting for Environment Image to become "
                "available. Check Environment Build Log in Workspace or Workspace storage for potential failures.",
            ),
            Symptoms.of("ImageBuildFailure", "The image build timed out after 3600 s."),
        ),
        source=f"{GUIDE}#error-imagebuildfailure",
    ),
    Cause(
        id="image-reference-wrong",
        code="ImageBuildFailure",
        what="The base image that the environment names does not exist, or its name is no image reference.",
        matches=without(
            either(
                anywhere(
                    r"invalid reference format|azurecr\.io/[^\s/]{1,64}\.azurecr\.io"
                    r"|failed to parse (?:stage|image) (?:name|reference)"
                    r"|invalid (?:docker )?image (?:name|reference)"
                    r"|base ?image[^\n]{0,80}(?:not found|does not exist|invalid|malformed)"
                    r"|could not parse (?:docker )?image|docker ?image[^\n]{0,60} is (?:invalid|malformed)"
                ),
                every(
                    anywhere(
                        r"manifest (?:unknown|for \S{1,300} not found)|repository does not exist"
                        r"|failed to solve: [^\n]{1,300}: not found|pull access denied"
                    ),
                    IMAGE_BUILD,
                ),
            ),
            PULL_FAILED,
        ),
        refines=("image-build-generic", "image-not-found", "private-registry"),
        checks=(did_not_end_with(*CONTAINER_RAN),),
        advice="Correct the image in the environment: registry/repository:tag, and a tag that the registry has.",
        commands=(
            f"az ml environment show -n ENVIRONMENT -v VERSION {IN_WORKSPACE} --query '[image, build]'",
            "docker pull {image}",
        ),
        limits="It changes no environment.",
        tells="the build log",
        examples=(
            Symptoms.of(
                "ImageBuildFailure", "Step 1/5 : FROM mcr.microsoft.com/azureml/base:\ninvalid reference format"
            ),
            Symptoms.of(
                None,
                "Docker image build failed: manifest for mcr.microsoft.com/azureml/openmpi:none not "
                "found: manifest unknown",
            ),
        ),
        source=f"{GUIDE}#error-imagebuildfailure",
    ),
    Cause(
        id="private-registry",
        code="ImageBuildFailure",
        also=("ResourceNotFound",),
        what="The image lies in a registry that is not the workspace's and does not let the endpoint in.",
        matches=without(
            either(
                REGISTRY_LOGIN,
                message(r"container registry[^\n]{0,80} is private|private or otherwise inaccessible"),
                every(anywhere(r"unauthorized: authentication required"), IMAGE_BUILD),
            ),
            CRASHED,
        ),
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
