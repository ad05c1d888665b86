"""Quota of cores by VM family and region: what deployments hold of it, and what a write needs.

Managed endpoints draw on "Standard <family> Cluster Dedicated vCPUs" and on the region's total, with 20 % on top for
upgrades. Rests on API.md C3, ``responses/spec_usages_list.json`` and ``real_error_texts.json``.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, override

from msgspec import Struct

from local.arm.faults import Answer
from local.arm.hazards import SEE, Hazard, Verdict
from local.arm.resources import PROVIDER, Error, Json, Operation, Refusal, Resource
from local.arm.routing import LOCATION, Ask, Route
from local.arm.schema import DEFAULT_USAGES, Usage, VmSize

if TYPE_CHECKING:
    from local.arm.models import World

TOTAL = "Total Cluster Dedicated Regional vCPUs"


class Pool(Struct, frozen=True):
    """What is counted by itself: a VM family in a region of a subscription; ``family`` is ``*`` for all of them."""

    subscription: str
    location: str
    family: str


class Quota:
    """The cores in use. The world's lock guards it."""

    def __init__(self, world: World) -> None:
        seed = world.seed
        self._world = world
        self._rows = DEFAULT_USAGES if seed.usages is None else seed.usages
        self._enforced = seed.usages is not None or seed.enforce_quota
        self._sizes = {size.name.lower(): size for size in seed.vm_sizes}
        self._short: dict[str, tuple[str, int, str]] = {}
        self._lagging: list[tuple[datetime, Pool, int]] = []
        self._start = self._held()

    # Asking

    def used(self, row: Usage, subscription: str, location: str) -> int:
        """What a row shows now: what others use, and what deployments hold."""
        return self._used(row, Pool(subscription.lower(), location.lower(), _family_of(row)), self._held())

    def rows(self, location: str) -> list[Usage]:
        """The rows of a region."""
        return [row for row in self._rows if row.location is None or row.location.lower() == location.lower()]

    def shortage(self, operation: Operation) -> str | None:
        """Why a write of a deployment does not fit; None if it does."""
        spec = operation.spec or {}
        size = self._size(spec)
        if not self._enforced or size is None:
            return None
        existing = self._world.find(operation.target)
        own = self._cores(existing) if existing and self._size(existing.spec) == size else 0
        needed = _reserved(spec, size) - own
        held, target = self._held(), operation.target
        for row in self.rows(operation.location):
            family = _family_of(row)
            if needed <= 0 or row.limit < 0 or family not in {"*", _family(size)}:
                continue
            pool = Pool(target.subscription.lower(), operation.location.lower(), family)
            used = self._used(row, pool, held)
            if used + needed > row.limit:
                return (
                    f"Not enough quota available for {size.name} in SubscriptionId {target.subscription}. "
                    f"Current usage/limit: {used}/{row.limit}. Additional needed: {needed} {SEE}#error-outofquota"
                )
        return None

    def why_short(self, operation: Operation) -> str | None:
        """What was found when the operation was accepted."""
        found = self._short.get(operation.target.key)
        return found[2] if found and found[0] == operation.id else None

    # Being told

    def accept_short(self, operation: Operation, text: str) -> None:
        """An operation runs without the cores that it needs: its deployment holds what it held, until a write fits."""
        existing = self._world.find(operation.target)
        self._short[operation.target.key] = (operation.id, self._cores(existing) if existing else 0, text)

    def accept(self, operation: Operation) -> None:
        """An operation has the cores that it needs."""
        self._short.pop(operation.target.key, None)

    def freed(self, resource: Resource) -> None:
        """A resource was deleted; its cores come back after the lag."""
        lag, size = self._world.seed.usages_lag, self._size(resource.spec)
        if resource.target.deployment and lag and size:
            until = self._world.now() + timedelta(seconds=lag)
            for family in ("*", _family(size)):
                self._lagging.append((until, _pool(resource, family), self._cores(resource)))
        self._short.pop(resource.target.key, None)

    # Counting

    def _used(self, row: Usage, pool: Pool, held: Counter[Pool]) -> int:
        return max(0, row.used + held[pool] - self._start[pool])

    def _held(self) -> Counter[Pool]:
        held: Counter[Pool] = Counter()
        for resource in self._world.resources.values():
            size = self._size(resource.spec) if resource.target.deployment else None
            if size is not None:
                cores = self._cores(resource)
                held[_pool(resource, "*")] += cores
                held[_pool(resource, _family(size))] += cores
        now = self._world.now()
        for until, pool, cores in self._lagging:
            if until > now:
                held[pool] += cores
        return held

    def _cores(self, resource: Resource) -> int:
        """What a deployment holds: nothing once its first provisioning has failed."""
        size = self._size(resource.spec)
        if resource.target.key in self._short:
            return self._short[resource.target.key][1]
        if size is None or not (resource.ever_succeeded or resource.state in {"Creating", "Updating"}):
            return 0
        return _reserved(resource.spec, size)

    def _size(self, spec: Json) -> VmSize | None:
        properties = spec.get("properties") or {}
        if properties.get("endpointComputeType", "Managed") != "Managed":
            return None
        return self._sizes.get(str(properties.get("instanceType")).lower())


def _reserved(spec: Json, size: VmSize) -> int:
    """ceil(1.2 * instances) * cores, in whole numbers."""
    capacity = (spec.get("sku") or {}).get("capacity", 1)
    instances = capacity if isinstance(capacity, int) else 1
    return -(-instances * 6 // 5) * size.cores


def _pool(resource: Resource, family: str) -> Pool:
    return Pool(resource.target.subscription.lower(), resource.location.lower(), family)


def _family(size: VmSize) -> str:
    """``standardDSv2Family`` and "Standard DSv2 Family Cluster Dedicated vCPUs" have the middle in common."""
    return size.family.lower().removeprefix("standard").removesuffix("family")


def _family_of(row: Usage) -> str:
    name = row.name.lower()
    if name == TOTAL.lower():
        return "*"
    return name.removeprefix("standard ").removesuffix(" cluster dedicated vcpus").removesuffix(" family")


class QuotaShort(Hazard, kw_only=True):
    """A write that needs more cores than are left: refused at once, or accepted and failed, as the world says."""

    @override
    def reject(self, world: World, operation: Operation) -> Refusal | None:
        text = world.quota.shortage(operation)
        if text is None:
            world.quota.accept(operation)
            return None
        if world.seed.quota_refuses == "end":
            world.quota.accept_short(operation, text)
            return None
        detail = (
            f'InferencingClient HttpRequest error, error detail: {{"errors":{{"VmSize":["{text}"]}},'
            '"type":"https://tools.ietf.org/html/rfc7231#section-6.5.1",'
            '"title":"One or more validation errors occurred.","status":400,'
            f'"traceId":"00-{operation.call.request_id.replace("-", "")}-894d1cf3aba15e15-01"}}'
        )
        inner = {"code": "InferencingClientCreateDeploymentFailed", "message": detail}
        return Refusal(400, "BadRequest", "The request is invalid.", [inner])

    @override
    def verdict(self, world: World, operation: Operation) -> Verdict | None:
        text = world.quota.why_short(operation)
        return Verdict("Failed", Error(code="OutOfQuota", message=text)) if text else None


# Routes


def _usages(ask: Ask) -> Answer:
    world, location, subscription = ask.world, ask.names["location"], ask.names["subscription"]
    rows = []
    with world.lock:
        for usage in world.quota.rows(location):
            total = usage.name == TOTAL
            if world.seed.usages_missing_families and not total:
                continue
            place = f"/subscriptions/{subscription}/usages"
            kind: Literal["dedicatedCores", "vmFamily"] = "dedicatedCores" if total else "vmFamily"
            rows.append(
                {
                    "id": place if total else f"{place}/{usage.name.replace(' ', '_')}",
                    "type": f"{PROVIDER}/{kind}/usages",
                    "currentValue": world.quota.used(usage, subscription, location),
                    "limit": usage.limit,
                    "name": {"localizedValue": usage.name, "value": usage.name},
                    "unit": "Count",
                }
            )
    return Answer(status=200, body={"value": rows})


def _vm_sizes(ask: Ask) -> Answer:
    rows = [
        {
            "name": size.name,
            "family": size.family,
            "vCPUs": size.cores,
            "gpus": size.gpus,
            "osVhdSizeMB": 1047552,
            "maxResourceVolumeMB": int(size.memory_gb * 2048),
            "memoryGB": size.memory_gb,
            "lowPriorityCapable": True,
            "premiumIO": True,
        }
        for size in ask.world.seed.vm_sizes
    ]
    return Answer(status=200, body={"value": rows})


ROUTES = (
    Route("GET", "usages", LOCATION + "/usages", f"{PROVIDER}/locations/usages/read", _usages),
    Route("GET", "vm-sizes", LOCATION + "/vmSizes", f"{PROVIDER}/locations/vmSizes/read", _vm_sizes),
)
