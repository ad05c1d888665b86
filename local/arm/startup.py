"""How deployments fail to start, by the state of registries, roles and models: laws of the world, not of its file.

Texts are Azure's own where published (API.md B, ``real_error_texts.json``, the public messages of ``errors``); those of
the model download are made up after the troubleshooting guide. A law reads the world when the operation ends, so what
repairs it, and when, is all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from local.arm.assets import Image, parse_version
from local.arm.authorization import PULL, READ_BLOB, READ_REPOSITORY
from local.arm.hazards import SEE, Hazard, Verdict
from local.arm.resources import Error, Json, Operation, Resource, stamp

if TYPE_CHECKING:
    from local.arm.models import World

UNAUTHORIZED = (
    "Unauthorized error encountered while attempting to connect to the container registry. Please try running resync "
    "keys on your workspace and retry."
)
NO_PULL = (
    "Endpoint identity does not have pull permission on the registry. For System Assigned Identity case and workspace "
    "ACR, platform will wire up the permissions but if user is creating deployment with User Assigned Identity or if "
    f"using non-workspace ACR, then User should grant pull permissions to identity on the registry. {SEE}"
    "#authorization-error"
)


class KeySync(Hazard, kw_only=True):
    """``resyncKeys`` fetches the keys of the registry, if they can be had; without a registry it fails."""

    action: str = "*/workspaces/resyncKeys/action"

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        registry = world.registries.of(operation.target)
        if registry is None or not registry.absent:
            return None
        group = registry.id.split("/")[4]
        text = (
            f"The Resource 'Microsoft.ContainerRegistry/registries/{registry.name}' under resource group '{group}' was "
            "not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        )
        return Verdict("Failed", Error(code="ResourceNotFound", message=text))

    @override
    def done(self, world: World, operation: Operation) -> None:
        if operation.name.lower().endswith("/resynckeys/action"):
            world.registries.synchronise(operation.target)


class ImageBuild(Hazard, kw_only=True):
    """A PUT has its environment built, for which the workspace logs in to its registry."""

    @override
    def concerns(self, world: World, operation: Operation) -> bool:
        return super().concerns(world, operation) and operation.call.method == "PUT"

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        if not world.registries.refuses(operation.target.at_workspace):
            return None
        return Verdict("Failed", Error(code="ImageBuildFailure", message=UNAUTHORIZED))


class Startup(Hazard, kw_only=True):
    """Instances pull the image and download the model, both as the identity of their endpoint."""

    @override
    def concerns(self, world: World, operation: Operation) -> bool:
        return super().concerns(world, operation) and operation.call.method == "PUT"

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        deployment, endpoint = world.find(operation.target), world.find(operation.target.at_endpoint)
        if deployment is None or endpoint is None:
            return None
        if deployment.spec["properties"].get("endpointComputeType", "Managed") != "Managed":
            return None  # the identity of the cluster's extension pulls there
        identity = endpoint.spec.get("identity")
        image, pull = _pull(world, deployment, identity)
        model, download, said = _download(world, deployment, identity)
        error = pull or download
        if error is None:
            return None
        logs = {"InferenceServer": _system_log(stamp(world.now(), 6), pull is not None, download is not None)}
        if pull is not None and image is not None:
            logs["InferenceServer"] += f'image-fetcher: Failed to pull image "{image.text}": {pull.message}\n'
        if download is not None:
            logs["StorageInitializer"] = f"Downloading model {model}\n{said}\n"
        return Verdict("Failed", error, logs)


def _pull(world: World, deployment: Resource, identity: Json | None) -> tuple[Image | None, Error | None]:
    """The image of a deployment, and why it cannot be pulled."""
    image = world.assets.image_of(deployment)
    workspace = deployment.target.at_workspace
    named = parse_version(deployment.spec["properties"].get("environmentId"))
    is_public = image is None and named is not None and world.assets.image_text(workspace, *named) is not None
    registry = image.registry if image else world.registries.of(workspace)
    if registry is None or is_public:
        return None, None
    action = READ_REPOSITORY if registry.abac else PULL
    if world.roles.lacks(identity, action, registry.id, on_data=registry.abac):
        return image, Error(code="BadArgument", message=NO_PULL)
    if image is None or image.is_built or world.registries.holds(registry, image.repository, image.reference):
        return image, None
    if registry.hides_absent_tags:
        return image, Error(code="BadArgument", message=NO_PULL)
    place = f"https://{image.host}/v2/{image.repository}/manifests/{image.reference}"
    daemon = "rpc error: code = Unknown desc = Error response from daemon:"
    text = (
        f'Failed to pull image "{image.text}": [{daemon} manifest for {image.text} not found: manifest unknown: '
        f"manifest unknown, {daemon} Get {place}: unauthorized: authentication required]"
    )
    return image, Error(code="BadArgument", message=text)


def _download(world: World, deployment: Resource, identity: Json | None) -> tuple[str, Error | None, str]:
    """The model of a deployment, why it cannot be downloaded, and what the storage initializer says of that."""
    workspace = deployment.target.at_workspace
    properties = deployment.spec["properties"]
    named = parse_version(properties.get("model"))
    if named is None and not properties.get("codeConfiguration"):
        return "", None, ""
    model = ":".join(named) if named else "code"
    if named and world.assets.is_model_missing(workspace, *named):
        text = f"Model '{model}' was not found in workspace '{workspace.workspace}'."
        return model, Error(code="ResourceNotFound", message=f"{text} {SEE}#error-resourcenotfound"), text
    place = world.find(workspace)
    storage = str(place.spec["properties"].get("storageAccount") or "") if place else ""
    if not storage or not world.roles.lacks(identity, READ_BLOB, storage, on_data=True):
        return model, None, ""
    said = (
        "azure.core.exceptions.HttpResponseError: This request is not authorized to perform this operation using this "
        "permission.\nErrorCode:AuthorizationPermissionMismatch"
    )
    text = (
        "Startup task failed due to authorization error. Unable to download user model/code artifacts: the endpoint "
        f"identity does not have permission to read from storage account '{storage.rpartition('/')[2]}'. "
        "ErrorCode:AuthorizationPermissionMismatch"
    )
    return model, Error(code="BadArgument", message=f"{text} {SEE}#authorization-error"), said


def _system_log(at: str, pull_failed: bool, download_failed: bool) -> str:
    """What Azure puts before the console of a container that never ran (``errors/messages.jsonl``, e202)."""

    def event(name: str, kind: str, message: str) -> str:
        return f"Kind: Pod, Name: {name}, Type: {kind}, Time: {at}, Message: {message}\n"

    log = "Instance status:\nSystemSetup: Succeeded\n"
    log += f"UserContainerImagePull: {'InProgress' if pull_failed else 'Succeeded'}\n"
    log += f"ModelDownload: {'InProgress' if download_failed else 'Succeeded'}\n"
    log += "UserContainerStart: Waiting\n\nContainer events:\n"
    log += event("Downloading", "Normal", "Start downloading models")
    log += event("Pulling", "Normal", "Start pulling container image")
    if download_failed:
        text = "Model download failed, retrying. Please check model-mount log for detail."
        log += event("DownloadFailed", "Warning", text) * 2
    if pull_failed:
        text = "Image pull failed, retrying. Please check image-fetcher log for detail."
        log += event("Pulling", "Normal", "Start pulling container image") + event("ImagePullFailed", "Warning", text)
    return log
