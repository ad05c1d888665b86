"""The beginning of a world: resources that are there, with the operations and log rows that made them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from local.arm import schema
from local.arm.bodies import operation_url
from local.arm.happenings import AssignRole, OnRegistry, Trigger, UnassignRole
from local.arm.resources import IDENTITIES, Error, Json, Resource, Target, WorldError, merged

if TYPE_CHECKING:
    from local.arm.models import World


def populate(world: World) -> None:
    """Put everything in place that the seed of the world names."""
    seed = world.seed
    for workspace in seed.workspaces:
        target = Target(
            subscription=workspace.subscription or seed.subscription,
            resource_group=workspace.resource_group or seed.resource_group,
            workspace=workspace.name,
        )
        location = workspace.location or seed.location
        group = target.id.partition("/providers/")[0]
        spec = merged(schema.plain_workspace(workspace.name, location, group), workspace.spec)
        place = _place(world, target, location, spec, by="ci", age=90 * schema.DAY)
        place.diagnose = dict(workspace.diagnose)
        world.changed(place)
        for endpoint in workspace.endpoints:
            _endpoint(world, target.child(endpoint.name), location, endpoint)


def check(world: World) -> None:
    """Names that a world file mentions must exist, and triggers must be readable."""
    seed = world.seed
    for happening in seed.happens:
        if happening.who not in world.principals:
            raise WorldError(f"happens: {happening.who!r} is no principal of this world.")
        if happening.when is not None:
            try:
                Trigger.parse(happening.when)
            except ValueError as error:
                raise WorldError(f"happens: {error}") from error
        if happening.endpoint is not None:
            world.endpoint_target(happening.endpoint)
        if isinstance(happening, OnRegistry):
            world.registries.named(happening.registry)
        if isinstance(happening, AssignRole | UnassignRole):
            world.roles.check(happening.principal, happening.role, happening.scope)
    for denial in seed.denied:
        if denial.principal != "*" and denial.principal not in world.principals:
            raise WorldError(f"denied: {denial.principal!r} is no principal of this world.")


def _endpoint(world: World, target: Target, location: str, seed: schema.EndpointSeed) -> None:
    spec = merged(schema.plain_endpoint(location), seed.spec)
    if seed.identities:
        group = target.id.partition("/providers/")[0]
        users = [each if each.startswith("/") else f"{group}/providers/{IDENTITIES}/{each}" for each in seed.identities]
        spec["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {each: {} for each in users}}
    spec["properties"] |= {"traffic": dict(seed.traffic), "mirrorTraffic": dict(seed.mirror_traffic)}
    place = _place(world, target, location, spec, by=seed.by, age=seed.age)
    _past(world, place, seed)
    for deployment in seed.deployments:
        plain = schema.plain_deployment(location, target.at_workspace.id)
        spec = merged(plain, deployment.spec)
        place = _place(world, target.child(deployment.name), location, spec, by=deployment.by, age=deployment.age)
        place.logs = {str(container): text for container, text in deployment.logs.items()}
        _past(world, place, deployment, deployment.correlation_id)
        if deployment.ever_succeeded is not None:
            place.ever_succeeded = deployment.ever_succeeded
    known = {each.name.lower() for each in seed.deployments}
    unknown = [name for name in seed.traffic | seed.mirror_traffic if name.lower() not in known]
    if unknown:
        raise WorldError(f"{target.id} gives traffic to deployments that it does not have: {unknown}.")


def _place(world: World, target: Target, location: str, spec: Json, *, by: str, age: float) -> Resource:
    if by not in world.principals:
        raise WorldError(f"{target.id} is made by {by!r}, whom this world does not know.")
    if world.find(target) is not None:
        raise WorldError(f"{target.id} is there twice.")
    at, principal = world.now() - timedelta(seconds=age), world.principals[by]
    resource = Resource(
        target=target,
        location=location,
        spec=spec,
        state="Succeeded",
        created_at=at,
        created_by=principal,
        modified_at=at,
        modified_by=principal,
        ever_succeeded=True,
    )
    world.resources[target.key] = resource
    return resource


def _past(
    world: World,
    resource: Resource,
    seed: schema.EndpointSeed | schema.DeploymentSeed,
    correlation_id: str | None = None,
) -> None:
    """Give a resource the write that made it what it is: its record and its rows."""
    call = world.call(seed.by, "PUT", resource.target.id, correlation_id=correlation_id)
    operation = world.new_operation(call, resource.target, "write")
    operation.created = True
    operation.started_at = operation.ended_at = resource.modified_at
    operation.status = seed.state
    if operation.status != "Succeeded":
        operation.error = seed.error or Error(code="InternalServerError", message="The operation failed.")
        resource.ever_succeeded = False
    resource.state = seed.state
    resource.operation_path = operation_url(operation)
    world.operations[operation.id.lower()] = operation
    world.log.add(operation, "Started", resource.modified_at)
    world.log.add(operation, "Accepted", resource.modified_at, code="Created")
    world.log.add_end(operation, resource.modified_at)
    world.changed(resource)
