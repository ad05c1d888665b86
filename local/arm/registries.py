"""Container registries: the resource, the keys that workspaces hold of it, and its data plane.

The keys of the admin user are held by workspaces; once they differ, images can neither be built nor pulled until
``resyncKeys`` fetches the new ones, which needs the registry there, its admin user on, and a way to it. All registries
share the simulator's one host as their login server, so the data plane looks an image up in all of them. Rests on
API.md C, C1, ``responses/acr_get_role_mode.json`` and on the token flow of the registry's public documentation.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from local.arm.authorization import PULL, READ_REPOSITORY
from local.arm.faults import Answer
from local.arm.resources import Deed, Elsewhere, Json, Target, WorldError, not_there
from local.arm.routing import GROUP, Ask, Route
from local.arm.schema import RegistrySeed

if TYPE_CHECKING:
    from local.arm.models import World

PROVIDER = "Microsoft.ContainerRegistry"
REGENERATE = f"{PROVIDER}/registries/regenerateCredential/action"
MODES = {False: "LegacyRegistryPermissions", True: "AbacRepositoryPermissions"}
SCOPE = re.compile(r"repository:(?P<repository>[^:]+):(?:\w+,)*pull(?:,\w+)*")


@dataclass(kw_only=True)
class Registry:
    """A registry as it is now; ``images`` None are those that the environments in use name."""

    id: str
    location: str
    admin_user: bool
    abac: bool
    images: dict[str, set[str]] | None
    absent: bool
    unreachable: bool
    pullers: tuple[str, ...]
    hides_absent_tags: bool

    @property
    def name(self) -> str:
        """The last name of the id."""
        return self.id.rpartition("/")[2]

    def digest(self, repository: str, tag: str) -> str:
        """The digest of an image."""
        return "sha256:" + hashlib.sha256(f"{self.name}/{repository}:{tag}".encode()).hexdigest()


class Registries:
    """All registries of a world, and which workspaces hold old keys. The world's lock guards it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._all: dict[str, Registry] = {}
        self._out_of_sync: set[str] = set()
        seed = world.seed
        for each in seed.registries:
            group = f"/subscriptions/{each.subscription or seed.subscription}"
            group += f"/resourceGroups/{each.resource_group or seed.resource_group}"
            self._add(f"{group}/providers/{PROVIDER}/registries/{each.name}", each)
        for place in world.places():
            named = place.spec["properties"].get("containerRegistry")
            if named and named.lower() not in self._all:
                self._add(named, RegistrySeed(name=named.rpartition("/")[2], location=place.location))
        old = {each.name for each in seed.workspaces if each.desynchronised}
        self._out_of_sync |= {place.target.key for place in world.places() if place.target.workspace in old}

    def _add(self, resource_id: str, seed: RegistrySeed) -> None:
        images = seed.images
        registry = Registry(
            id=resource_id,
            location=seed.location or self._world.seed.location,
            admin_user=seed.admin_user,
            abac=seed.role_mode == "abac",
            images=None if images is None else {repository: set(tags) for repository, tags in images.items()},
            absent=seed.absent,
            unreachable=seed.unreachable,
            pullers=seed.pullers,
            hides_absent_tags=seed.absent_tag_text == "pull-permission",
        )
        if resource_id.lower() in self._all:
            raise WorldError(f"{resource_id} is there twice.")
        self._all[resource_id.lower()] = registry
        if seed.keys_regenerated is not None:
            call = self._world.call("person", "POST", resource_id)
            deed = Deed(kind="action", name=REGENERATE, target=Elsewhere(resource_id), call=call)
            at = self._world.now() - timedelta(seconds=seed.keys_regenerated)
            self._world.log.add(deed, "Succeeded", at, code="OK")
        regenerated = seed.keys_regenerated is not None
        if regenerated if seed.desynchronised is None else seed.desynchronised:
            self._keys_changed(registry)

    @property
    def host(self) -> str:
        """The login server of every registry."""
        return self._world.registry_host or urlsplit(self._world.base_url).netloc

    @property
    def all(self) -> list[Registry]:
        """Every registry that is there."""
        return [registry for registry in self._all.values() if not registry.absent]

    def get(self, resource_id: str) -> Registry | None:
        """The registry of an id, if it is there."""
        registry = self._all.get(resource_id.lower())
        return None if registry is None or registry.absent else registry

    def is_gone(self, resource_id: str) -> bool:
        """Whether it is, or is in, a registry that the world knows and that is not there."""
        inside = resource_id.lower() + "/"
        return any(each.absent and inside.startswith(key + "/") for key, each in self._all.items())

    def of(self, workspace: Target) -> Registry | None:
        """The registry that a workspace names, there or not; None if it names none."""
        place = self._world.find(workspace)
        named = place.spec["properties"].get("containerRegistry") if place else None
        return self._all.get(str(named).lower()) if named else None

    def by_host(self, host: str) -> Registry | None:
        """The registry of a public login server, there or not."""
        name = host.lower().removesuffix(".azurecr.io")
        return next((each for each in self._all.values() if each.name.lower() == name), None)

    def named(self, name: str | None) -> Registry:
        """The registry of a name; without any, that of the first workspace."""
        places = self._world.places()
        first = self.of(places[0].target) if name is None and places else None
        found = [each for each in self._all.values() if name and each.name.lower() == name.lower()]
        if first is None and len(found) != 1:
            raise WorldError(f"Registry {name or '(none named)'} fits {len(found)} registries of this world, not 1.")
        return first or found[0]

    def refuses(self, workspace: Target) -> bool:
        """Whether a build or a pull in that workspace cannot get into its registry."""
        registry = self.of(workspace)
        return registry is not None and (registry.absent or registry.unreachable or workspace.key in self._out_of_sync)

    def synchronise(self, workspace: Target) -> None:
        """Fetch the keys for a workspace, if they can be had."""
        registry = self.of(workspace)
        if registry and registry.admin_user and not registry.absent and not registry.unreachable:
            self._out_of_sync.discard(workspace.key)

    def findings(self, workspace: Target) -> list[Json]:
        """What diagnose says of the registry of a workspace."""
        registry = self.of(workspace)
        if registry is None:
            return []
        if registry.absent:
            text = f"The container registry '{registry.name}' of the workspace was not found."
            return [{"code": "ContainerRegistryNotFound", "level": "Error", "message": text}]
        if registry.unreachable:
            text = (
                f"The container registry '{registry.name}' cannot be reached over the network from the workspace: "
                "the connection timed out. Check the registry's firewall and private endpoints."
            )
            return [{"code": "ContainerRegistryNetworkUnreachable", "level": "Error", "message": text}]
        return []

    def holds(self, registry: Registry, repository: str, reference: str) -> str | None:
        """The digest of an image, by tag or digest; None if it is not there."""
        images = self._images_in_use(registry) if registry.images is None else registry.images
        digests = {tag: registry.digest(repository, tag) for tag in images.get(repository, ())}
        return digests.get(reference) or (reference if reference in digests.values() else None)

    def has(self, registry: Registry, repository: str) -> bool:
        """Whether there is a repository of that name."""
        return repository in (self._images_in_use(registry) if registry.images is None else registry.images)

    def _images_in_use(self, registry: Registry) -> dict[str, set[str]]:
        images: dict[str, set[str]] = {}
        for image in self._world.assets.images_in_use():
            if image.registry is registry:
                images.setdefault(image.repository, set()).add(image.reference)
        return images

    # What others do to them

    def delete(self, who: str, name: str | None) -> None:
        """Delete a registry."""
        registry = self.named(name)
        registry.absent = True
        self._tell(who, "DELETE", f"{PROVIDER}/registries/delete", registry)

    def set_admin_user(self, who: str, name: str | None, *, enabled: bool) -> None:
        """Turn the admin user on or off; its keys are void from the moment it is off."""
        registry = self.named(name)
        registry.admin_user = enabled
        if not enabled:
            self._keys_changed(registry)
        self._tell(who, "PATCH", f"{PROVIDER}/registries/write", registry)

    def regenerate_keys(self, who: str, name: str | None) -> None:
        """Give the admin user new keys, of which no workspace knows."""
        registry = self.named(name)
        self._keys_changed(registry)
        self._tell(who, "POST", REGENERATE, registry, "/regenerateCredential")

    def set_network(self, who: str, name: str | None, *, reachable: bool) -> None:
        """Close or open the way to a registry."""
        registry = self.named(name)
        registry.unreachable = not reachable
        self._tell(who, "PATCH", f"{PROVIDER}/registries/write", registry)

    def set_image(self, image: str, name: str | None, *, there: bool) -> None:
        """Push ``repository:tag``, or remove it. It is a matter of the data plane: no ledger, no Activity Log."""
        registry = self.named(name)
        repository, _, tag = image.rpartition(":")
        if registry.images is None:
            registry.images = self._images_in_use(registry)
        tags = registry.images.setdefault(repository, set())
        tags.add(tag) if there else tags.discard(tag)

    def _keys_changed(self, registry: Registry) -> None:
        held = (place.target for place in self._world.places())
        self._out_of_sync |= {target.key for target in held if self.of(target) is registry}

    def _tell(self, who: str, method: str, name: str, registry: Registry, tail: str = "") -> None:
        self._world.did_elsewhere(who, method, Elsewhere(registry.id), name, tail=tail)


# Resource Manager


def _get(ask: Ask) -> Answer:
    registries = ask.world.registries
    with ask.world.lock:
        registry = registries.get(ask.request.path.rstrip("/"))
        if registry is None:
            raise not_there(Elsewhere(ask.request.path.rstrip("/")))
        body = {
            "id": registry.id,
            "name": registry.name,
            "type": f"{PROVIDER}/registries",
            "location": registry.location,
            "tags": {},
            "sku": {"name": "Premium", "tier": "Premium"},
            "properties": {
                "loginServer": registries.host,
                "provisioningState": "Succeeded",
                "adminUserEnabled": registry.admin_user,
                "roleAssignmentMode": MODES[registry.abac],
                "publicNetworkAccess": "Enabled",
            },
        }
    return Answer(status=200, body=body)


# The data plane


def _challenge(ask: Ask, scope: str = "") -> Answer:
    """401, and where to get a token: what a registry says to everyone who brings none."""
    world = ask.world
    service = next((each.name for each in world.registries.all), "")
    realm = f"{urlsplit(world.base_url).scheme}://{world.registries.host}/oauth2/token"
    challenge = f'Bearer realm="{realm}",service="{service}"'
    if scope:
        challenge += f',scope="{scope}"'
    return _refused(401, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization", challenge)


def _refused(status: int, code: str, message: str, challenge: str | None = None) -> Answer:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return Answer(status=status, body=body, headers=headers)


def _closed(ask: Ask) -> Answer | None:
    """The answer of a host behind which no registry can be reached."""
    live = ask.world.registries.all
    if not live:  # the name no longer resolves
        return Answer(status=0, wire="cut")
    if all(each.unreachable for each in live):
        return _refused(
            403, "DENIED", "client with IP '203.0.113.10' is not allowed access. Refer https://aka.ms/acr/firewall"
        )
    return None


def _ping(ask: Ask) -> Answer:
    return _closed(ask) or _challenge(ask)


def _exchange(ask: Ask) -> Answer:
    """An ARM token for a refresh token of the registry."""
    form = _form(ask)
    who = form.get("access_token", "").removeprefix("sim-")
    if shut := _closed(ask):
        return shut
    if form.get("grant_type") != "access_token" or not form.get("service"):
        return _refused(400, "BAD_REQUEST", "grant_type and service are required")
    if who not in ask.world.principals or who == form["access_token"]:
        return _challenge(ask)
    return Answer(status=200, body={"refresh_token": f"acr-refresh~{who}"})


def _token(ask: Ask) -> Answer:
    """A refresh token for an access token to one repository, if its holder may pull there."""
    form, registries = _form(ask), ask.world.registries
    if shut := _closed(ask):
        return shut
    scope = SCOPE.fullmatch(form.get("scope", ""))
    if form.get("grant_type") != "refresh_token" or not form.get("service") or scope is None:
        return _refused(400, "BAD_REQUEST", "grant_type, service and scope are required")
    kind, _, who = form.get("refresh_token", "").partition("~")
    with ask.world.lock:
        # All registries share the host that named the service: who may pull is asked of those with the repository.
        found = [each for each in registries.all if registries.has(each, scope["repository"])] or registries.all
        may = kind == "acr-refresh" and any(who in each.pullers for each in found)
        ask.world.asked |= {(who, (READ_REPOSITORY if each.abac else PULL)) for each in found}
    if not may:
        return _challenge(ask, form["scope"])
    return Answer(status=200, body={"access_token": f"acr-access~{who}~{scope['repository']}"})


def _manifest(ask: Ask) -> Answer:
    world, repository, reference = ask.world, ask.names["repository"], ask.names["reference"]
    if shut := _closed(ask):
        return shut
    token = ask.request.headers.get("authorization", "").partition(" ")[2]
    if not token.startswith("acr-access~") or token.split("~")[2] != repository:
        return _challenge(ask, f"repository:{repository}:pull")
    with world.lock:
        reachable = (each for each in world.registries.all if not each.unreachable)
        found = (world.registries.holds(each, repository, reference) for each in reachable)
        digest = next((each for each in found if each), None)
    if digest is None:
        return _refused(404, "MANIFEST_UNKNOWN", f'manifest tagged by "{reference}" is not found')
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return Answer(
        status=200,
        headers={
            "Docker-Content-Digest": digest,
            "Docker-Distribution-Api-Version": "registry/2.0",
            "X-Media-Type": kind,
        },
    )


def _form(ask: Ask) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(ask.request.body.decode(errors="replace")).items()}


_MANIFEST = "/v2/{repository:path}/manifests/{reference}"

ROUTES = (
    Route(
        "GET",
        "registry",
        f"{GROUP}/providers/{PROVIDER}/registries/{{registry}}",
        f"{PROVIDER}/registries/read",
        _get,
    ),
    Route("GET", "registry-ping", "/v2", "", _ping, is_open=True),
    Route("POST", "registry-exchange", "/oauth2/exchange", "", _exchange, is_open=True),
    Route("POST", "registry-token", "/oauth2/token", "", _token, is_open=True),
    Route("HEAD", "manifest", _MANIFEST, "", _manifest, is_open=True),
    Route("GET", "manifest", _MANIFEST, "", _manifest, is_open=True),
)
