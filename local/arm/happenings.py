"""What others do to the world: at a time, or right after a request that they watch for.

An entry under ``happens`` of a world file, for instance ``{when: get deployment by medic, who: person, do: delete,
deployment: green}``. GROWS: a new deed is one class here and its name in ``AnyHappening``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, override

from msgspec import Struct
from msgspec.structs import replace

from local.arm.faults import AnyFault
from local.arm.resources import IDENTITIES, Refusal

if TYPE_CHECKING:
    from local.arm.models import World


class Observed(Struct, frozen=True, kw_only=True):
    """A request that the world has just handled; ``status`` is None if the answer was lost."""

    method: str
    path: str
    route: str
    who: str
    status: int | None


class Trigger(Struct, frozen=True):
    """``METHOD [ROUTE or /path/glob] by WHO``; ``any`` and ``anyone`` stand for all."""

    method: str
    what: str
    who: str

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """Read ``put by medic``, ``get deployment by anyone``, ``any */deployments/green by person``."""
        what, by, who = text.strip().rpartition(" by ")
        words = what.split()
        if not by or len(words) not in {1, 2} or not who.strip():
            raise ValueError(f"{text!r} is not a trigger. Write: METHOD [ROUTE or path glob] by WHO.")
        return cls(words[0].upper(), words[1] if len(words) == 2 else "*", who.strip())

    def fits(self, seen: Observed) -> bool:
        """Whether this is the request it waits for."""
        place = seen.path if "/" in self.what else seen.route
        return (
            self.method in {"ANY", seen.method.upper()}
            and self.who in {"anyone", seen.who}
            and fnmatchcase(place.lower(), self.what.lower())
        )


class Happening(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base: who does it, and when.

    Attributes:
        after: Seconds after the world starts, or after the trigger.
        when: A trigger; see ``Trigger``. (Not ``on``: YAML would read that as true.)
        nth: At which request that fits the trigger.
        endpoint: May be left out when the world has one endpoint only.
    """

    who: str = "person"
    after: float = 0.0
    when: str | None = None
    nth: int = 1
    endpoint: str | None = None

    def perform(self, world: World) -> None:
        """Do it; a refusal by the service is part of the story and stands in the ledger."""
        try:
            self.act(world)
        except Refusal:
            return

    def act(self, world: World) -> None:
        """The deed itself."""
        raise NotImplementedError


class Put(Happening, frozen=True, kw_only=True, tag="put"):
    """Deploy: the current spec of the deployment, with ``spec`` laid over it."""

    deployment: str
    spec: dict[str, Any] = {}

    @override
    def act(self, world: World) -> None:
        world.put_deployment(self.who, self.endpoint, self.deployment, self.spec)


class Delete(Happening, frozen=True, kw_only=True, tag="delete"):
    """Delete a deployment, or the endpoint if none is named."""

    deployment: str | None = None

    @override
    def act(self, world: World) -> None:
        if self.deployment:
            world.delete_deployment(self.who, self.endpoint, self.deployment)
        else:
            world.delete_endpoint(self.who, self.endpoint)


class Route(Happening, frozen=True, kw_only=True, tag="traffic"):
    """Give the endpoint this traffic."""

    traffic: dict[str, int]

    @override
    def act(self, world: World) -> None:
        world.put_endpoint(self.who, self.endpoint, {"properties": {"traffic": self.traffic}}, replace=("traffic",))


class Identities(Happening, frozen=True, kw_only=True, tag="identities"):
    """Give the endpoint these user-assigned identities of its group, by name, and no others."""

    identities: tuple[str, ...]

    @override
    def act(self, world: World) -> None:
        group = world.endpoint_target(self.endpoint).id.partition("/providers/")[0]
        users: dict[str, Any] = {f"{group}/providers/{IDENTITIES}/{name}": {} for name in self.identities}
        identity = {"type": "UserAssigned", "userAssignedIdentities": users}
        world.put_endpoint(self.who, self.endpoint, {"identity": identity}, replace=("identity",))


class Break(Happening, frozen=True, kw_only=True, tag="break"):
    """From now on, requests that fit a fault meet it: as an entry under ``faults`` of a world file."""

    fault: AnyFault

    @override
    def act(self, world: World) -> None:
        with world.lock:
            world.faults.append(replace(self.fault))


class Set(Happening, frozen=True, kw_only=True, tag="set"):
    """A condition begins to hold."""

    condition: str

    @override
    def act(self, world: World) -> None:
        world.set_condition(self.condition)


class Clear(Happening, frozen=True, kw_only=True, tag="clear"):
    """A condition holds no longer."""

    condition: str

    @override
    def act(self, world: World) -> None:
        world.clear_condition(self.condition)


class Request(Happening, frozen=True, kw_only=True, tag="request"):
    """Somebody scores with a deployment, once, traffic or not; the metrics tell."""

    deployment: str

    @override
    def act(self, world: World) -> None:
        world.meters.request(world.endpoint_target(self.endpoint).child(self.deployment))


class Alert(Happening, frozen=True, kw_only=True, tag="alert"):
    """An alert rule of Azure Monitor looks at an endpoint's answers, and fires if there are more than its threshold.

    Attributes:
        kind: A rule on the metric RequestsPerMinute, or on a query that counts rows of the traffic log.
        status: A status code; for a metric, a class of them, too: ``5xx``.
        minutes: The window over which it looks.
        times: How often the alert is delivered.
    """

    rule: str
    kind: Literal["metric", "log"] = "metric"
    deployment: str | None = None
    status: str | None = None
    model_status: str | None = None
    threshold: float = 5.0
    minutes: int = 5
    times: int = 1

    @override
    def act(self, world: World) -> None:
        world.evaluate(self)


class OnRegistry(Happening, frozen=True, kw_only=True):
    """Base of what is done to a registry: that of the first workspace if none is named."""

    registry: str | None = None


class DeleteRegistry(OnRegistry, frozen=True, kw_only=True, tag="delete-registry"):
    """Delete a registry."""

    @override
    def act(self, world: World) -> None:
        world.registries.delete(self.who, self.registry)


class AdminUser(OnRegistry, frozen=True, kw_only=True, tag="admin-user"):
    """Turn the admin user of a registry on or off."""

    enabled: bool

    @override
    def act(self, world: World) -> None:
        world.registries.set_admin_user(self.who, self.registry, enabled=self.enabled)


class RegenerateKeys(OnRegistry, frozen=True, kw_only=True, tag="regenerate-keys"):
    """Regenerate the keys of a registry, of which its workspaces do not hear."""

    @override
    def act(self, world: World) -> None:
        world.registries.regenerate_keys(self.who, self.registry)


class Network(OnRegistry, frozen=True, kw_only=True, tag="network"):
    """Close or open the way to a registry."""

    reachable: bool

    @override
    def act(self, world: World) -> None:
        world.registries.set_network(self.who, self.registry, reachable=self.reachable)


class PutImage(OnRegistry, frozen=True, kw_only=True, tag="image"):
    """Push an image (``repository:tag``) to a registry, or remove it there."""

    image: str
    there: bool = True

    @override
    def act(self, world: World) -> None:
        world.registries.set_image(self.image, self.registry, there=self.there)


class AssignRole(Happening, frozen=True, kw_only=True, tag="assign-role"):
    """Assign a role; it is written as under ``role_assignments``."""

    principal: str
    role: str
    scope: str

    @override
    def act(self, world: World) -> None:
        world.roles.assign(self.who, self.principal, self.role, self.scope)


class UnassignRole(Happening, frozen=True, kw_only=True, tag="unassign-role"):
    """Take a role away, under whatever name it was assigned."""

    principal: str
    role: str
    scope: str

    @override
    def act(self, world: World) -> None:
        world.roles.unassign(self.who, self.principal, self.role, self.scope)


AnyHappening = (
    Put
    | Delete
    | Route
    | Identities
    | Break
    | Set
    | Clear
    | Request
    | Alert
    | DeleteRegistry
    | AdminUser
    | RegenerateKeys
    | Network
    | PutImage
    | AssignRole
    | UnassignRole
)
