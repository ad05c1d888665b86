"""Every trigger and binding of the app, in one place.

Each function imports what it calls when it is called: a cold start indexes the app before anything has happened, and
pays for nothing that only an event needs. The bodies stay plain functions, for tests and for the local host.
"""

from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions import orchestrators

bp = df.Blueprint()
client_bound = bp.durable_client_input(client_name="client")

type Order = dict[str, Any]

# ---------------------------------------------------------------------------------------- events and routes


async def on_deployment_failure(event: func.EventGridEvent, client: df.DurableFunctionsClient) -> None:
    """Take one event from Event Grid, in either schema: the runtime calls once for each element of a batch."""
    from functions import events

    await events.take_event(event, client)


async def submit(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Take common alerts and CI's CloudEvents over HTTP."""
    from functions import events

    return await events.submit(req, client)


async def approval(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Show a question to who may answer it, or take their answer."""
    from functions import approvals

    return await approvals.approval(req, client)


def questions(req: func.HttpRequest) -> func.HttpResponse:
    """List the open questions."""
    from functions import approvals

    return approvals.questions(req)


def overview(req: func.HttpRequest) -> func.HttpResponse:
    """Show what waits, runs, is paused or held, and how incidents end."""
    from functions import incidents

    return incidents.overview(req)


def listed(req: func.HttpRequest) -> func.HttpResponse:
    """List incidents."""
    from functions import incidents

    return incidents.listed(req)


def shown(req: func.HttpRequest) -> func.HttpResponse:
    """Show one incident, from its event to its end."""
    from functions import incidents

    return incidents.shown(req)


def records(req: func.HttpRequest) -> func.HttpResponse:
    """Give the audit records of one incident, one a line."""
    from functions import incidents

    return incidents.records(req)


async def undo(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Show which calls of an incident can be undone, or take somebody's wish that one be undone."""
    from functions import undo as undos

    return await undos.undo(req, client)


def asset(req: func.HttpRequest) -> func.HttpResponse:
    """Give the style sheet or the script of the pages."""
    from functions import incidents

    return incidents.asset(req)


def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the trigger's signature
    """Tell whether this app is alive, and in which mode."""
    from functions import health as state

    return state.health()


_ANYBODY = func.AuthLevel.ANONYMOUS  # sign-in is App Service authentication's; the routes check roles themselves
client_bound(bp.event_grid_trigger(arg_name="event")(on_deployment_failure))
client_bound(bp.route(route="events", methods=["POST", "OPTIONS"], auth_level=_ANYBODY)(submit))
client_bound(bp.route(route="approvals/{token}", methods=["GET", "HEAD", "POST"], auth_level=_ANYBODY)(approval))
client_bound(bp.route(route="incidents/{id}/undo", methods=["GET", "HEAD", "POST"], auth_level=_ANYBODY)(undo))
for _path, _page in (
    ("approvals", questions),
    ("overview", overview),
    ("incidents", listed),
    ("incidents/{id}", shown),
    ("incidents/{id}/records", records),
    ("assets/{name}", asset),
):
    bp.route(route=_path, methods=["GET", "HEAD"], auth_level=_ANYBODY)(_page)
bp.route(route="health", methods=["GET"], auth_level=_ANYBODY)(health)

# -------------------------------------------------------------------------------------------------- timers


async def sweep(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:  # noqa: ARG001
    """Start what was claimed and not ended, what was acknowledged and not claimed, and what no event told of."""
    from functions import timers

    await timers.sweep(client)


async def purge(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:  # noqa: ARG001
    """Forget the histories of what finished long ago."""
    from functions import timers

    await timers.purge(client)


def anchor(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Sign the state of the trail, if it has grown."""
    from functions import timers

    timers.anchor()


client_bound(bp.timer_trigger(schedule="0 */15 * * * *", arg_name="timer", run_on_startup=False)(sweep))
client_bound(bp.timer_trigger(schedule="0 30 3 * * *", arg_name="timer", run_on_startup=False)(purge))
bp.timer_trigger(schedule="0 7/15 * * * *", arg_name="timer", run_on_startup=False)(anchor)

# ------------------------------------------------------------------------------------------------ the walk
# Parameters are `Any`: Azure's worker refuses to load a trigger that is annotated with an alias or `dict[str, Any]`.


def open_incident(step: Any) -> bool:
    from functions import activities

    return activities.open_incident(step)


def collect(step: Any) -> Order:
    from functions import activities

    return activities.collect(step)


def judge(step: Any) -> Order:
    from functions import activities

    return activities.judge(step)


def fold(step: Any) -> Order:
    from functions import activities

    return activities.fold(step)


def ask(step: Any) -> Order:
    from functions import activities

    return activities.ask(step)


def settle(step: Any) -> Order:
    from functions import activities

    return activities.settle(step)


def execute(step: Any) -> Order:
    from functions import activities

    return activities.execute(step)


def check(step: Any) -> Order:
    from functions import activities

    return activities.check(step)


def verify(step: Any) -> Order:
    from functions import activities

    return activities.verify(step)


def finish(step: Any) -> Order:
    from functions import activities

    return activities.finish(step)


def tell(step: Any) -> Order:
    from functions import activities

    return activities.tell(step)


def muster(step: Any) -> Order:
    from functions import storms

    return storms.muster(step)


def assemble(step: Any) -> Order:
    from functions import storms

    return storms.assemble(step)


def ask_members(step: Any) -> Order:
    from functions import storms

    return storms.ask_members(step)


def wave(step: Any) -> Order:
    from functions import storms

    return storms.wave(step)


def disband(step: Any) -> Order:
    from functions import storms

    return storms.disband(step)


def desk(ctx: Any, asked: Any) -> Any:
    """Who works on a thing that an action touches, and what waits for it."""
    from functions import entities

    return entities.desk(ctx, asked)


for _activity in (open_incident, collect, judge, fold, ask, settle, execute, check, verify, finish, tell):
    bp.activity_trigger(input_name="step")(_activity)
for _activity in (muster, assemble, ask_members, wave, disband):
    bp.activity_trigger(input_name="step")(_activity)
for _orchestrator in (
    orchestrators.remediate,
    orchestrators.gather,
    orchestrators.repair,
    orchestrators.follow,
    orchestrators.notify,
    orchestrators.mustering,
    orchestrators.ramp,
):
    bp.orchestration_trigger(context_name="context")(_orchestrator)
bp.entity_trigger(context_name="context", entity_name="desk")(desk)
