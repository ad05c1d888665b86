"""Index the function app as Azure's own worker does, and invoke it as the host would; prints what came out as JSON.

Run in a process of its own: an app can be indexed once. The protobuf classes of the host are stand-ins, since Microsoft
publishes the library that uses them and not the package that holds them.
"""

import asyncio
import base64
import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime.handle_event as worker  # type: ignore[import-untyped]
import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.internal import helpers
from google.protobuf import timestamp_pb2  # type: ignore[import-untyped]

from local.worker import client_config


class Message(SimpleNamespace):
    """A protobuf message: its fields by name."""


class BindingInfo(Message):
    undefined, out, inout = 0, 1, 2


class StatusResult(Message):
    Failure, Success = 0, 1


class TypedData(Message):
    """A value between host and worker: exactly one field is set."""

    def WhichOneof(self, _name: str) -> str:  # noqa: N802 - protobuf's own name
        return next(iter(vars(self)))


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    StatusResult=StatusResult,
    TypedData=TypedData,
    **dict.fromkeys(
        (
            "WorkerInitResponse",
            "WorkerMetadata",
            "FunctionMetadataResponse",
            "RpcFunctionMetadata",
            "RpcRetryOptions",
            "RpcException",
            "InvocationResponse",
            "ParameterBinding",
            "RpcHttp",
        ),
        Message,
    ),
)


def request(**fields: Any) -> Any:
    return SimpleNamespace(request=SimpleNamespace(**fields), properties={"host": "127.0.0.1", "protos": PROTOS})


def first_turn(name: str, given: object) -> str:
    """The first turn of an orchestration, as the Functions host hands it to the trigger: base64 of the request."""
    started = pb.HistoryEvent(
        eventId=-1,
        timestamp=timestamp_pb2.Timestamp(seconds=int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())),
        orchestratorStarted=pb.OrchestratorStartedEvent(),
    )
    execution = helpers.new_execution_started_event(name, "inc-1", json.dumps(given))
    turn = pb.OrchestratorRequest(instanceId="inc-1", newEvents=[started, execution])
    return base64.b64encode(turn.SerializeToString()).decode()


def actions_of(encoded: str) -> list[Any]:
    response = pb.OrchestratorResponse()
    response.ParseFromString(base64.b64decode(encoded))
    found = []
    for action in response.actions:
        kind = str(action.WhichOneof("orchestratorActionType"))
        detail = getattr(action, kind)
        found.append([kind, getattr(detail, "name", "")])
    return found


def calls() -> list[tuple[str, dict[str, Any]]]:
    """What each function is given: an order of the walk, an event, a request."""
    deployment = (
        "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/rg/providers/"
        "Microsoft.MachineLearningServices/workspaces/mlw/onlineEndpoints/credit/deployments/green"
    )
    names = dict(
        zip(
            ("subscription", "resource_group", "workspace", "endpoint", "deployment"),
            deployment.split("/")[2::2],
            strict=False,
        )
    )
    resource = {**names, "workspace": "mlw", "endpoint": "credit", "deployment": "green"}
    incident = {
        "id": "inc-1",
        "resource": resource,
        "operation": "write",
        "failed_at": "2026-11-22T12:00:00Z",
        "event_id": "e1",
        "source": "event-grid",
    }
    order = {
        "walk": 1,
        "incident": incident,
        "nonce": "n1",
        "try": 1,
        "scale": 1.0,
        "polls": 0,
        "desks": ["b", "a"],
        "plan": "0" * 64,
        "decision": "1" * 64,
    }
    grid = {
        "id": "grid-1",
        "topic": "/subscriptions/00000000-1111-2222-3333-444444444444",
        "subject": deployment,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": "2026-11-22T12:00:00.1234567Z",
        "data": {"resourceUri": deployment, "status": "Succeeded"},
        "dataVersion": "2",
        "metadataVersion": "1",
    }
    cloud = {
        "specversion": "1.0",
        "id": "cloud-1",
        "source": grid["topic"],
        "subject": deployment,
        "type": grid["eventType"],
        "time": grid["eventTime"],
        "data": grid["data"],
    }
    client = TypedData(string=client_config("127.0.0.1:1"))
    told: dict[str, Any] = {
        "incident": "inc-1",
        "kind": "asked",
        "plan": None,
        "key": "k" * 32,
        "told": [],
        "attempt": 0,
        "scale": 1,
    }
    orders = {
        name: {"step": TypedData(json=json.dumps(given))} for name, given in (("open_incident", order), ("tell", told))
    }
    turns = {
        name: {"_durable_input": TypedData(string=first_turn(name, order))}
        for name in ("remediate", "gather", "repair", "follow", "notify")
    }
    events = [
        ("on_deployment_failure", {"event": TypedData(json=json.dumps(event)), "client": client})
        for event in (grid, cloud)
    ]
    return [*orders.items(), *turns.items(), *turns.items(), *events]


def shown(kind: str, value: Any) -> Any:
    if kind in {"string", "json"} and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return actions_of(value)
    return value


async def invoke(function_id: str, **inputs: Any) -> Any:
    data = [SimpleNamespace(name=name, data=value, WhichOneof=lambda _: "data") for name, value in inputs.items()]
    call = SimpleNamespace(
        invocation_id="i-1",
        function_id=function_id,
        input_data=data,
        trigger_metadata={},
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
    return await worker.invocation_request(request(invocation_request=call))


async def main() -> None:
    init = SimpleNamespace(capabilities={}, function_app_directory=sys.argv[1])
    answer = await worker.worker_init_request(request(worker_init_request=init))
    if answer.result.status != StatusResult.Success:
        sys.stdout.write(
            json.dumps({"failed": f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}"})
        )
        return
    metadata = await worker.functions_metadata_request(request())
    ids = {each.name: each.function_id for each in metadata.function_metadata_results}
    results: dict[str, list[Any]] = {}
    for name, inputs in calls():
        done = await invoke(ids[name], **inputs)
        told = results.setdefault(name, [])
        if done.result.status != StatusResult.Success:
            told.append({"failed": done.result.exception.message})
        elif done.return_value is None:
            told.append(None)
        else:
            kind = done.return_value.WhichOneof("data")
            told.append(shown(kind, getattr(done.return_value, kind)))
    functions = {
        each.name: {
            "bindings": [json.loads(binding) for binding in each.raw_bindings],
            "script": each.script_file,
            "directory": each.directory,
        }
        for each in metadata.function_metadata_results
    }
    sys.stdout.write(
        json.dumps(
            {"functions": functions, "results": results, "default_indexing": metadata.use_default_metadata_indexing}
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
