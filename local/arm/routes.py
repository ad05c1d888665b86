"""The routes: parse a request, ask the world, shape the answer. Rests on API.md B, C, E and ``azure/responses``.

``ROUTES`` is a table; another part of Azure is another list of rows: ``Simulator(world, (*ROUTES, *MORE))``. The
simulator is one function from request to answer, faults included; server.py puts it on a socket.
"""

from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import structs

from local.arm import assets, authorization, metrics, quota, registries
from local.arm.activity import parse_filter
from local.arm.bodies import error_body, operation_body, operation_url
from local.arm.faults import Answer, Fault, Request, Stale
from local.arm.happenings import Observed
from local.arm.models import Entry, World
from local.arm.resources import PROVIDER, Call, Json, Operation, Refusal
from local.arm.routing import (
    DEPLOYMENT,
    ENDPOINT,
    LOCATION,
    SUBSCRIPTION,
    WORKSPACE,
    Ask,
    Route,
    next_link,
    opened,
    page,
)

__all__ = ["ROUTES", "Route", "Simulator"]

WRITES = {"PUT", "PATCH", "DELETE", "POST"}
CONTAINERS = ("InferenceServer", "StorageInitializer")
REMAINING = {"reads": "249", "writes": "199", "deletes": "199"}

_ML = f"{PROVIDER}/workspaces"
_ENDPOINT = f"{_ML}/onlineEndpoints"
_DEPLOYMENT = f"{_ENDPOINT}/deployments"


class Simulator:
    """Azure Resource Manager as one function from request to answer."""

    def __init__(self, world: World, routes: tuple[Route, ...] | None = None) -> None:
        self.world = world
        self.routes = ROUTES if routes is None else routes

    def handle(self, request: Request) -> Answer:
        """Answer a request; its faults, its ledger entry and those who watch for it included."""
        world = self.world
        world.settle()
        route, names = self._route(request)
        call, refusal = self._call(request)
        answer, left = world.limits.take(request)
        fault, effect = None if answer else self._fault(request), False
        answer = fault.before() if fault else answer
        versions_ago = fault.versions if isinstance(fault, Stale) else 0
        with world.witness.looking() as looks:
            if answer is None:
                try:
                    if refusal is not None and not (route and route.is_open):
                        raise refusal
                    ask = self._admitted(request, route, names, call, versions_ago)
                    answer = ask.route.handler(ask)
                    effect = answer.status != HTTPStatus.NO_CONTENT
                except Refusal as no:
                    answer = Answer(status=no.status, body=no.body())
        whole = answer.body
        answer = fault.spoil(answer) if fault else answer
        world.witness.show(world.now(), request, answer, whole, looks)
        answer = structs.replace(answer, headers=_common_headers(call) | left | answer.headers)
        name = route.name if route else "unknown"
        status = answer.status if answer.wire == "whole" else None
        if request.method in WRITES and not (route and route.is_open):
            world.record(
                Entry(
                    at=world.now(),
                    method=request.method,
                    path=request.path,
                    principal=request.who,
                    client_request_id=call.client_request_id,
                    correlation_id=call.correlation_id,
                    status="lost" if status is None else status,
                    took_effect=effect,
                    body=_readable(request.body),
                )
            )
        else:
            with world.lock:
                world.reads[request.method, name] += 1
        who = request.who or "anyone"
        with world.lock:
            world.asked.add((request.who, route.action if route else f"{request.method} {request.path}"))
        world.observe(Observed(method=request.method, path=request.path, route=name, who=who, status=status))
        return answer

    def _fault(self, request: Request) -> Fault | None:
        with self.world.lock:
            return next((fault for fault in self.world.faults if fault.hits(request)), None)

    def _route(self, request: Request) -> tuple[Route | None, dict[str, str]]:
        for route in self.routes:
            names = route.match(request.method, request.path)
            if names is not None:
                return route, names
        return None, {}

    def _call(self, request: Request) -> tuple[Call, Refusal | None]:
        """The call; with a Refusal (401) beside it if nobody we know makes it."""
        world, headers = self.world, request.headers
        call = Call(
            who=request.who,
            principal=world.principals.get(request.who) or next(iter(world.principals.values())),
            method=request.method,
            path=request.path,
            correlation_id=headers.get("x-ms-correlation-request-id") or world.new_id(),
            request_id=world.new_id(),
            client_request_id=headers.get("x-ms-client-request-id"),
            api_version=request.query.get("api-version", ""),
        )
        if "authorization" not in headers:
            text = "Authentication failed. The 'Authorization' header is missing."
            return call, Refusal(401, "AuthenticationFailed", text)
        if request.who not in world.principals:
            return call, Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        return call, None

    def _admitted(
        self, request: Request, route: Route | None, names: dict[str, str], call: Call, versions_ago: int
    ) -> Ask:
        if not call.api_version and not (route and route.is_open):
            text = "The api-version query parameter (?api-version=) is required for all requests."
            raise Refusal(400, "MissingApiVersionParameter", text)
        if route is None:
            text = f"No registered resource provider route for {request.method} {request.path}."
            raise Refusal(404, "InvalidResourceType", text)
        if route.method == "GET" and not route.is_open:
            self.world.authorize(call, route.action, request.path)
        return Ask(world=self.world, call=call, request=request, route=route, names=names, versions_ago=versions_ago)


# Handlers


def _get(ask: Ask) -> Answer:
    return Answer(status=200, body=ask.world.read(ask.target, versions_ago=ask.versions_ago))


def _list_children(ask: Ask) -> Answer:
    return page(ask, ask.world.children(ask.target))


def _list_workspaces(ask: Ask) -> Answer:
    return page(ask, ask.world.workspaces(ask.names["subscription"], ask.names.get("resource_group")))


def _put(ask: Ask) -> Answer:
    operation = ask.world.write(ask.call, ask.target, ask.json())
    headers = {
        "Azure-AsyncOperation": _operation_url(ask, operation),
        "x-ms-async-operation-timeout": "PT2H",
    }
    return Answer(status=201 if operation.created else 200, body=ask.world.read(ask.target), headers=headers)


def _patch(ask: Ask) -> Answer:
    operation = ask.world.write(ask.call, ask.target, ask.json(), patch=True)
    return _accepted(ask, operation, "mfeOperationResults")


def _delete(ask: Ask) -> Answer:
    operation = ask.world.delete(ask.call, ask.target)
    return Answer(status=204) if operation is None else _accepted(ask, operation, "mfeOperationResults")


def _get_logs(ask: Ask) -> Answer:
    body = ask.json() or {}
    if not isinstance(body, dict) or not isinstance(body.get("tail", 0), int | None):
        raise Refusal(400, "BadRequest", "The request is invalid: containerType and tail are what it may have.")
    container, tail = body.get("containerType") or CONTAINERS[0], body.get("tail")
    if container not in CONTAINERS:
        raise Refusal(400, "BadRequest", f"containerType {container!r} is none of {', '.join(CONTAINERS)}.")
    ask.world.act(ask.call, ask.target, ask.route.action, running=False)
    return Answer(status=200, body={"content": ask.world.logs(ask.target, container, tail)})


def _diagnose(ask: Ask) -> Answer:
    running = ask.world.seed.diagnose_is_async
    operation = ask.world.act(ask.call, ask.target, ask.route.action, running=running)
    if running:
        return _accepted(ask, operation, "workspaceOperationsStatus")
    return Answer(status=200, body=ask.world.diagnosis(ask.target))


def _resync_keys(ask: Ask) -> Answer:
    operation = ask.world.act(ask.call, ask.target, ask.route.action, running=True)
    return _accepted(ask, operation, "workspaceOperationsStatus")


def _blob(ask: Ask) -> Answer:
    """A desired spec as CI leaves it: no api-version, no token; or a redirect, which nobody should follow."""
    name, seed = ask.names["name"], ask.world.seed
    if name in seed.redirects:
        return Answer(status=302, headers={"Location": seed.redirects[name]})
    if name in seed.blobs:
        return Answer(status=200, body=seed.blobs[name])
    raise Refusal(404, "BlobNotFound", "The specified blob does not exist.")


def _operation_status(ask: Ask) -> Answer:
    """The body of Azure-AsyncOperation: 200 with a status."""
    operation = ask.world.operation(ask.names["operation"])
    headers = {"Retry-After": str(ask.world.seed.retry_after)} if operation.status == "InProgress" else {}
    return Answer(status=200, body=operation_body(operation), headers=headers)


def _operation_result(ask: Ask) -> Answer:
    """The body of Location: 202, then what the request would have answered."""
    world, operation = ask.world, ask.world.operation(ask.names["operation"])
    if operation.status == "InProgress":
        return _accepted(ask, operation, ask.request.path.split("/")[-2])
    if operation.status != "Succeeded":
        return Answer(status=409, body={"error": error_body(operation)})
    if operation.kind == "write":
        return Answer(status=200, body=world.read(operation.target))
    if operation.name.lower().endswith("/diagnose/action"):
        return Answer(status=200, body=world.diagnosis(operation.target))
    return Answer(status=204 if operation.kind == "delete" else 200)


def _activity_log(ask: Ask) -> Answer:
    rows = ask.world.activity(parse_filter(ask.query("$filter")), ask.names["subscription"])
    token = ask.query("$skipToken")
    if token:
        at, _, number = opened(token).partition("#")
        rows = [row for row in rows if (row.at.isoformat(), row.number) < (at, int(number or 0))]
    size = ask.world.seed.activity_log_page_size
    chosen = {field.strip() for field in (ask.query("$select") or "").split(",") if field.strip()}
    page = [
        {name: value for name, value in row.body.items() if not chosen or name in chosen or name == "eventDataId"}
        for row in rows[:size]
    ]
    body: Json = {"value": page}
    if len(rows) > size:
        body["nextLink"] = next_link(ask, f"{rows[size - 1].at.isoformat()}#{rows[size - 1].number}")
    return Answer(status=200, body=body)


ROUTES = (
    Route("GET", "workspaces", SUBSCRIPTION + f"/providers/{_ML}", f"{_ML}/read", _list_workspaces),
    Route(
        "GET",
        "workspaces",
        SUBSCRIPTION + "/resourceGroups/{resource_group}/providers/" + _ML,
        f"{_ML}/read",
        _list_workspaces,
    ),
    Route("GET", "workspace", WORKSPACE, f"{_ML}/read", _get),
    Route("POST", "resync-keys", WORKSPACE + "/resyncKeys", f"{_ML}/resynckeys/action", _resync_keys),
    Route("POST", "diagnose", WORKSPACE + "/diagnose", f"{_ML}/diagnose/action", _diagnose),
    Route("GET", "endpoints", WORKSPACE + "/onlineEndpoints", f"{_ENDPOINT}/read", _list_children),
    Route("GET", "endpoint", ENDPOINT, f"{_ENDPOINT}/read", _get),
    Route("PUT", "endpoint", ENDPOINT, f"{_ENDPOINT}/write", _put),
    Route("PATCH", "endpoint", ENDPOINT, f"{_ENDPOINT}/write", _patch),
    Route("DELETE", "endpoint", ENDPOINT, f"{_ENDPOINT}/delete", _delete),
    Route("GET", "deployments", ENDPOINT + "/deployments", f"{_DEPLOYMENT}/read", _list_children),
    Route("GET", "deployment", DEPLOYMENT, f"{_DEPLOYMENT}/read", _get),
    Route("PUT", "deployment", DEPLOYMENT, f"{_DEPLOYMENT}/write", _put),
    Route("PATCH", "deployment", DEPLOYMENT, f"{_DEPLOYMENT}/write", _patch),
    Route("DELETE", "deployment", DEPLOYMENT, f"{_DEPLOYMENT}/delete", _delete),
    Route("POST", "logs", DEPLOYMENT + "/getLogs", f"{_DEPLOYMENT}/getLogs/action", _get_logs),
    Route(
        "GET",
        "operation",
        LOCATION + "/mfeOperationsStatus/{operation}",
        f"{PROVIDER}/locations/mfeOperationsStatus/read",
        _operation_status,
    ),
    Route(
        "GET",
        "operation-result",
        LOCATION + "/mfeOperationResults/{operation}",
        f"{PROVIDER}/locations/mfeOperationResults/read",
        _operation_result,
    ),
    Route(
        "GET",
        "operation-result",
        LOCATION + "/workspaceOperationsStatus/{operation}",
        f"{PROVIDER}/locations/workspaceOperationsStatus/read",
        _operation_result,
    ),
    Route(
        "GET",
        "activity-log",
        SUBSCRIPTION + "/providers/Microsoft.Insights/eventtypes/management/values",
        "Microsoft.Insights/eventtypes/values/read",
        _activity_log,
    ),
    Route(
        "GET",
        "blob",
        "/blobs/{name:path}",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
        _blob,
        is_open=True,
    ),
    *assets.ROUTES,
    *registries.ROUTES,
    *authorization.ROUTES,
    *quota.ROUTES,
    *metrics.ROUTES,
)


# Shapes


def _accepted(ask: Ask, operation: Operation, collection: str) -> Answer:
    headers = {
        "Location": _operation_url(ask, operation, collection),
        "Retry-After": str(ask.world.seed.retry_after),
        "x-ms-async-operation-timeout": "PT1H",
    }
    return Answer(status=202, headers=headers)


def _operation_url(ask: Ask, operation: Operation, collection: str = "mfeOperationsStatus") -> str:
    return ask.world.base_url + operation_url(operation, collection)


def _common_headers(call: Call) -> dict[str, str]:
    headers = {f"x-ms-ratelimit-remaining-subscription-{kind}": left for kind, left in REMAINING.items()}
    return headers | {"x-ms-request-id": call.request_id, "x-ms-correlation-request-id": call.correlation_id}


def _readable(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        return body
