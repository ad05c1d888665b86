"""What GET shows of resources and operations.

Rests on ``azure/responses``, API.md B and C2 (what the service adds to a PUT body).
"""

import copy
import uuid

from local.arm.resources import PROVIDER, Error, Json, Operation, Resource, Target, stamp
from local.arm.schema import WorldSeed

MASK = "******"


def resource_body(resource: Resource, seed: WorldSeed) -> Json:
    """The resource as it is now. ``AzureAsyncOperationUri`` is a path: whoever reads it knows the host."""
    target, spec = resource.target, copy.deepcopy(resource.spec)
    properties = spec.pop("properties")
    identity = _identity(target, spec.pop("identity", None), seed.tenant)
    system = {
        "createdAt": stamp(resource.created_at, 3),
        "createdBy": resource.created_by.oid,
        "createdByType": resource.created_by.type,
        "lastModifiedAt": stamp(resource.modified_at, 3),
        "lastModifiedBy": resource.modified_by.oid,
        "lastModifiedByType": resource.modified_by.type,
    }
    body: Json = {"id": target.id, "name": target.name, "type": target.type}
    body |= spec | ({"identity": identity} if identity else {}) | {"systemData": system}
    properties["provisioningState"] = resource.state
    if target.endpoint is None:
        properties["workspaceId"] = stable_id(target.key)
    else:
        own = properties.setdefault("properties", {})
        if resource.operation_path:
            own["AzureAsyncOperationUri"] = resource.operation_path
        if target.deployment is None:
            own["azureml.onlineendpointid"] = target.key
            host = f"https://{target.name}.{resource.location}.inference.ml.azure.com"
            properties |= {"scoringUri": f"{host}/score", "swaggerUri": f"{host}/swagger.json"}
    _hide_variables(properties, seed.environment_variables)
    return body | {"properties": properties}


def with_host(body: Json, base_url: str) -> Json:
    """A copy of the body whose URLs are absolute."""
    body = copy.deepcopy(body)
    own = body["properties"].get("properties", {})
    if "AzureAsyncOperationUri" in own:
        own["AzureAsyncOperationUri"] = base_url + own["AzureAsyncOperationUri"]
    return body


def operation_body(operation: Operation) -> Json:
    """What the status URL of an operation answers (API.md B2)."""
    body: Json = {
        "id": operation_path(operation),
        "name": operation.id,
        "status": operation.status,
        "startTime": stamp(operation.started_at, 0),
    }
    if operation.ended_at is not None:
        body["endTime"] = stamp(operation.ended_at, 0)
    if operation.error is not None:
        body["error"] = error_body(operation)
    return body


def error_body(operation: Operation) -> Json:
    """The error of an operation in the envelope of the ML front end."""
    error = operation.error or Error()
    trace = operation.call.request_id.replace("-", "")
    time = stamp(operation.ended_at or operation.started_at).replace("Z", "+00:00")
    return {
        "code": error.code,
        "message": error.message,
        "details": [],
        "additionalInfo": [
            {"type": "ComponentName", "info": {"value": "managementfrontend"}},
            {"type": "Correlation", "info": {"value": {"operation": trace, "request": trace[:16]}}},
            {"type": "Environment", "info": {"value": operation.location}},
            {"type": "Location", "info": {"value": operation.location}},
            {"type": "Time", "info": {"value": time}},
        ],
    }


def operation_path(operation: Operation, collection: str = "mfeOperationsStatus") -> str:
    """The path of an operation's record; ``collection`` differs for what Location points at."""
    place = f"/subscriptions/{operation.target.subscription}/providers/{PROVIDER}/locations/{operation.location}"
    return f"{place}/{collection}/{operation.id}"


def operation_url(operation: Operation, collection: str = "mfeOperationsStatus") -> str:
    """The same with the api-version of the operation's request; whoever sends it knows the host."""
    return f"{operation_path(operation, collection)}?api-version={operation.call.api_version}"


def stable_id(name: str) -> str:
    """The GUID of something that keeps it for ever."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def principal_of(identity: str) -> str:
    """The object id of a user-assigned identity, of which only the resource id is known."""
    return stable_id(identity.lower() + "#principal")


def client_of(identity: str) -> str:
    """Its application id."""
    return stable_id(identity.lower() + "#client")


def _hide_variables(properties: Json, shown: str) -> None:
    if "environmentVariables" in properties and properties["environmentVariables"] is None:
        properties["environmentVariables"] = {}  # a null in a spec sets none
    variables = properties.get("environmentVariables")
    if not variables or shown == "plain":
        return
    if shown == "absent":
        del properties["environmentVariables"]
    else:
        properties["environmentVariables"] = dict.fromkeys(variables, None if shown == "nulled" else MASK)


def _identity(target: Target, identity: Json | None, tenant: str) -> Json | None:
    """An identity with the ids that the service adds."""
    if not identity:
        return None
    shown: Json = {"type": identity.get("type", "None")}
    if "SystemAssigned" in shown["type"]:
        shown |= {"principalId": stable_id(target.key + "#principal"), "tenantId": tenant}
    users = identity.get("userAssignedIdentities") or {}
    if users:
        shown["userAssignedIdentities"] = {
            each: {
                "principalId": principal_of(each),
                "clientId": client_of(each),
            }
            for each in users
        }
    return shown
