"""What a deployment refers to: environments with their images, models, storage accounts, identities.

An environment or a model that the world file does not mention is there. Rests on API.md C and on the models of
Microsoft.MachineLearningServices 2024-10-01.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from local.arm.bodies import client_of, principal_of
from local.arm.faults import Answer
from local.arm.registries import Registry
from local.arm.resources import IDENTITIES, PROVIDER, Elsewhere, Json, Resource, Target, not_found, not_there
from local.arm.routing import GROUP, WORKSPACE, Ask, Route
from local.arm.schema import EnvironmentSeed

if TYPE_CHECKING:
    from local.arm.models import World

BASE_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
PLAIN_ENVIRONMENT = ("sklearn-inf", "12")
STORAGE = "Microsoft.Storage/storageAccounts"
VERSION = re.compile(
    r"(?:/subscriptions/.+/workspaces/[^/]+/\w+/(?P<name>[^/]+)/versions/|azureml:(?P<short>[^/:]+):)(?P<version>[^/:]+)",
    re.IGNORECASE,
)


class Image(Struct, frozen=True):
    """An image of a registry of the world; ``is_built`` if the workspace made it of a conda file."""

    registry: Registry
    host: str
    repository: str
    reference: str
    is_built: bool = False

    @property
    def text(self) -> str:
        """As one writes it."""
        return f"{self.host}/{self.repository}{'@' if ':' in self.reference else ':'}{self.reference}"


class Assets:
    """The environments and models of all workspaces. The world's lock guards it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._environments: dict[tuple[str, str], EnvironmentSeed] = {}
        self._missing_models: set[tuple[str, str]] = set()
        for place, seed in zip(world.places(), world.seed.workspaces, strict=True):
            for name, environment in seed.environments.items():
                self._environments[place.target.key, name.lower()] = environment
            self._missing_models |= {(place.target.key, name.lower()) for name in seed.missing_models}

    def environment(self, workspace: Target, name: str, version: str) -> EnvironmentSeed | None:
        """What a version of an environment is; None if it is missing."""
        found = self._environments.get((workspace.key, f"{name}/{version}".lower()), EnvironmentSeed())
        return None if found.missing else found

    def image_text(self, workspace: Target, name: str, version: str) -> str | None:
        """The image that an environment names; None of a conda environment or a missing one."""
        found = self.environment(workspace, name, version)
        if found is None or found.conda:
            return None
        if self._world.registries.of(workspace) is None and found.image is None:
            return BASE_IMAGE
        return (found.image or f"{{registry}}/{name}:{version}").replace("{registry}", self._world.registries.host)

    def image_of(self, deployment: Resource) -> Image | None:
        """The image that a deployment starts of; None if it is of no registry of the world, or nobody can tell."""
        workspace = deployment.target.at_workspace
        named = parse_version(deployment.spec["properties"].get("environmentId"))
        return self._image(workspace, *named) if named else None

    def images_in_use(self) -> list[Image]:
        """The images of the environments that the file and all deployments name."""
        world = self._world
        used = {(place.target, *PLAIN_ENVIRONMENT) for place in world.places()}
        targets = {place.target.key: place.target for place in world.places()}
        used |= {(targets[key], *name.rpartition("/")[::2]) for key, name in self._environments}
        for each in list(world.resources.values()):
            named = parse_version(each.spec["properties"].get("environmentId")) if each.target.deployment else None
            if named:
                used.add((each.target.at_workspace, *named))
        return [image for image in (self._image(*each) for each in used) if image is not None]

    def is_model_missing(self, workspace: Target, name: str, version: str) -> bool:
        """Whether a version of a model is not there."""
        return (workspace.key, f"{name}/{version}".lower()) in self._missing_models

    def _image(self, workspace: Target, name: str, version: str) -> Image | None:
        registries = self._world.registries
        own, environment = registries.of(workspace), self.environment(workspace, name, version)
        if environment is None:
            return None
        text = self.image_text(workspace, name, version)
        if text is None:
            made = f"azureml/azureml_{hashlib.md5(f'{name}/{version}'.encode(), usedforsecurity=False).hexdigest()}"
            return Image(own, registries.host, made, "latest", is_built=True) if own else None
        host, _, rest = text.partition("/")
        registry = own if host == registries.host else registries.by_host(host)
        repository, at, reference = rest.partition("@")
        if not at:
            repository, _, reference = rest.partition(":")
        return Image(registry, host, repository, reference or "latest") if registry else None


def parse_version(text: object) -> tuple[str, str] | None:
    """The name and version that the id of an environment or a model says; None if it is no such id."""
    found = VERSION.fullmatch(text) if isinstance(text, str) else None
    return (found["name"] or found["short"], found["version"]) if found else None


# Routes


def _environment(ask: Ask) -> Answer:
    world, name, version = ask.world, ask.names["name"], ask.names["version"]
    with world.lock:
        workspace = world.spelled(ask.target.at_workspace)
        environment = world.assets.environment(workspace, name, version)
        if world.find(workspace) is None or environment is None:
            raise not_found()
        image = world.assets.image_text(workspace, name, version)
    properties: Json = {
        "environmentType": "UserCreated",
        "osType": "Linux",
        "image": BASE_IMAGE if environment.conda else image,
        "isAnonymous": False,
        "isArchived": False,
        "autoRebuild": "Disabled",
        "provisioningState": "Succeeded",
    }
    if environment.conda:
        properties["condaFile"] = "name: sklearn-inf\nchannels: [conda-forge]\ndependencies: [python=3.11]\n"
    return _version(ask, workspace, "environments", properties)


def _model(ask: Ask) -> Answer:
    world, name, version = ask.world, ask.names["name"], ask.names["version"]
    with world.lock:
        workspace = world.spelled(ask.target.at_workspace)
        if world.find(workspace) is None or world.assets.is_model_missing(workspace, name, version):
            raise not_found()
    uri = f"azureml://subscriptions/{workspace.subscription}/resourcegroups/{workspace.resource_group}"
    uri += f"/workspaces/{workspace.workspace}/datastores/workspaceblobstore/paths/models/{name}/{version}"
    properties = {"modelType": "custom_model", "modelUri": uri, "isAnonymous": False, "isArchived": False}
    return _version(ask, workspace, "models", properties | {"provisioningState": "Succeeded"})


def _version(ask: Ask, workspace: Target, collection: str, properties: Json) -> Answer:
    name, version = ask.names["name"], ask.names["version"]
    body = {
        "id": f"{workspace.id}/{collection}/{name}/versions/{version}",
        "name": version,
        "type": f"{PROVIDER}/workspaces/{collection}/versions",
        "properties": properties,
    }
    return Answer(status=200, body=body)


def _storage(ask: Ask) -> Answer:
    path, world = ask.request.path.rstrip("/"), ask.world
    with world.lock:
        for place in world.places():
            named = str(place.spec["properties"].get("storageAccount") or "")
            if named.lower() == path.lower():
                body = {
                    "id": named,
                    "name": named.rpartition("/")[2],
                    "type": STORAGE,
                    "kind": "StorageV2",
                    "location": place.location,
                    "sku": {"name": "Standard_LRS", "tier": "Standard"},
                    "properties": {"provisioningState": "Succeeded", "allowSharedKeyAccess": True},
                }
                return Answer(status=200, body=body)
    raise not_there(Elsewhere(path))


def _identity(ask: Ask) -> Answer:
    path, world = ask.request.path.rstrip("/"), ask.world
    with world.lock:
        found = next((each for each in world.identities() if each.lower() == path.lower()), None)
    if found is None:
        raise not_there(Elsewhere(path))
    properties = {"tenantId": world.seed.tenant, "principalId": principal_of(found), "clientId": client_of(found)}
    body = {
        "id": found,
        "name": found.rpartition("/")[2],
        "type": IDENTITIES,
        "location": world.seed.location,
        "properties": properties,
    }
    return Answer(status=200, body=body)


ROUTES = (
    Route(
        "GET",
        "environment",
        WORKSPACE + "/environments/{name}/versions/{version}",
        f"{PROVIDER}/workspaces/environments/versions/read",
        _environment,
    ),
    Route(
        "GET",
        "model",
        WORKSPACE + "/models/{name}/versions/{version}",
        f"{PROVIDER}/workspaces/models/versions/read",
        _model,
    ),
    Route("GET", "storage", f"{GROUP}/providers/{STORAGE}/{{account}}", f"{STORAGE}/read", _storage),
    Route("GET", "identity", f"{GROUP}/providers/{IDENTITIES}/{{identity}}", f"{IDENTITIES}/read", _identity),
)
