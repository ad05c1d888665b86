"""A small function app with one of each trigger, for tests of the local host."""

import os
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from durabletask import task
from durabletask.entities import EntityInstanceId

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
received: list[func.EventGridEvent | func.CloudEvent] = []
ticks: list[bool] = []
seconds: list[bool] = []
os.environ.setdefault("SAMPLE_SCHEDULE", "* * * * * *")


def counter(key: str) -> EntityInstanceId:
    return EntityInstanceId("Counter", key)


def steps(ctx: task.OrchestrationContext, plain: dict[str, Any]) -> Generator[Any, Any, Any]:
    first = yield ctx.call_activity("note", input=plain)
    second = yield ctx.call_activity("Shout", input={"text": first})
    return second


def call_counter(ctx: task.OrchestrationContext, key: str) -> Generator[Any, Any, Any]:
    result = yield ctx.call_entity(counter(key), "add", 1)
    return result


def signal_counter(ctx: task.OrchestrationContext, key: str) -> Generator[Any, Any, Any]:
    ctx.signal_entity(counter(key), "add", 1)
    yield ctx.create_timer(timedelta(0))
    return key


def nap(ctx: task.OrchestrationContext, tenths: int) -> Generator[Any, Any, Any]:
    yield ctx.create_timer(timedelta(seconds=tenths / 10))
    return "rested"


def wait_for_bell(ctx: task.OrchestrationContext, _: Any) -> Generator[Any, Any, Any]:
    rung = yield ctx.wait_for_external_event("bell")
    return rung


def parent(ctx: task.OrchestrationContext, child: str) -> Generator[Any, Any, Any]:
    result = yield ctx.call_sub_orchestrator(child, input=1)
    return f"child {result}"


def many_timers(ctx: task.OrchestrationContext, count: int) -> Generator[Any, Any, Any]:
    timers = [ctx.create_timer(timedelta(hours=1)) for _ in range(count)]
    bell = ctx.wait_for_external_event("bell")
    yield task.when_any([bell, *timers])
    return "done"


def poll(ctx: task.OrchestrationContext, rounds: int) -> Generator[Any, Any, Any]:
    yield ctx.create_timer(timedelta(seconds=0.05))
    if rounds:
        ctx.continue_as_new(rounds - 1)
        return None
    return "settled"


for orchestrator in (steps, call_counter, signal_counter, nap, wait_for_bell, parent, many_timers, poll):
    app.orchestration_trigger(context_name="context")(orchestrator)


@app.activity_trigger(input_name="plain")
def note(plain: dict[str, Any]) -> str:
    with Path(plain["file"]).open("a", encoding="utf-8") as file:
        file.write("ran\n")
    while "wait_for" in plain and not Path(plain["wait_for"]).exists():
        time.sleep(0.01)
    return "hello"


@app.durable_client_input(client_name="client")
@app.activity_trigger(input_name="plain", activity="Shout")
async def shout(plain: dict[str, Any], client: df.DurableFunctionsClient) -> dict[str, Any]:
    state = await client.get_orchestration_state("nobody")
    return {"text": plain["text"].upper(), "known": state is not None}


def counter_entity(context: df.DurableEntityContext) -> None:
    total = context.get_state(lambda: 0)
    if context.operation_name == "add":
        total += context.get_input()
        context.set_state(total)
    elif context.operation_name == "end":
        context.destruct_on_exit()
    context.set_result(total)


# The library takes this shape, and its types do not say so.
app.entity_trigger(context_name="context", entity_name="Counter")(counter_entity)  # type: ignore[arg-type]


def starter(context: Any, plain: Any) -> None:
    context.schedule_new_orchestration("nap", input=0, instance_id=plain)


app.entity_trigger(context_name="context", entity_name="Starter")(starter)


@app.route(route="items/{id}", methods=["GET", "POST"])
def items(req: func.HttpRequest) -> func.HttpResponse:
    body = f"{req.method} {req.route_params['id']} {req.params.get('q')} {len(req.get_body())}"
    return func.HttpResponse(body, status_code=201, headers={"X-Seen": req.headers.get("x-sent", "")})


@app.route(route="items/all", methods=["GET"])
def all_items(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse('{"all": true}', mimetype="application/json")


@app.route(route="start/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    started = await client.schedule_new_orchestration("nap", input=0, instance_id=req.route_params["id"])
    return client.create_check_status_response(req, started)


@app.route(route="state/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
def state(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    found = client.wait_for_orchestration_completion(req.route_params["id"], timeout=10)
    return func.HttpResponse("unknown" if found is None else found.runtime_status.name)


@app.route(route="broken", methods=["GET"])
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret of the function")


@app.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    if event.subject == "poison":
        raise RuntimeError("cannot take it")
    received.append(event)


@app.timer_trigger(schedule="0 0 0 29 2 *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    ticks.append(timer.past_due)


@app.timer_trigger(schedule="%SAMPLE_SCHEDULE%", arg_name="timer")
def every_second(timer: func.TimerRequest) -> None:
    seconds.append(timer.past_due)
