"""The walk, as one generator, and the three waits that it is made of.

An orchestrator is replayed: no I/O, no clock, no judgement in it. It does the waiting, with timers, for people and for
Azure. Every try of a repair is a new generation (`continue_as_new`), so histories stay small. An order carries the
version of the walk; a changed walk is a new branch, and the old one goes when no instance has it.
"""

from collections.abc import Generator, Iterable
from datetime import UTC, timedelta
from typing import Any

from durabletask import task
from durabletask.entities import EntityInstanceId
from durabletask.task import OrchestrationContext, RetryPolicy, TaskFailedError

type Order = dict[str, Any]
type Steps = Generator[task.Task[Any], Any, Any]

_FIRST_POLL_S, _LONGEST_POLL_S = 5.0, 60.0
_LEASE = timedelta(hours=3)


def remediate(ctx: OrchestrationContext, order: Order) -> Steps:
    """One incident, one try: open, gather, judge, perhaps ask, perhaps repair, finish.

    A storm's incident has its members' judgement in place of its own, and their walks in place of a repair. What is
    only to be judged, to be put together with others, ends there.
    """
    step = order
    try:
        if not (yield ctx.call_activity("open_incident", input=order, retry_policy=_retries(order))):
            return {"end": "duplicate"}
        step = yield from _judged(ctx, order)
        if order.get("until") == "judged":
            return {"end": "judged"}
        if step["verdict"] == "folded":
            return {"end": "folded"}
        if step["verdict"] == "ask":
            step = yield from _answered(ctx, step)
        if step["verdict"] == "run":
            step = yield from _acted(ctx, step)
        if _is_storm(order):
            step = yield ctx.call_activity("disband", input=step, retry_policy=_retries(order))
    except TaskFailedError as error:
        for key in step.get("desks", ()):
            ctx.signal_entity(EntityInstanceId("desk", key), "release", {"owner": order["incident"]["id"]})
        step = {
            **step,
            "verdict": "failed",
            "end": "inconclusive",
            "words": f"a step failed: {_kind_of(error)}",
            "failure": _kind_of(error),
        }
    step = yield ctx.call_activity("finish", input=step, retry_policy=_retries(order))
    if step["again"] is not None:
        ctx.continue_as_new(step["again"])
    elif (telling := _tell(ctx, step)) is not None:
        yield telling  # the incident has ended; what is not awaited is not begun when an orchestrator returns
    return {"end": step["end"]}


def _judged(ctx: OrchestrationContext, order: Order) -> Steps:
    """Read and judge; where others fail beside it, look once more after a calm."""
    if _is_storm(order):
        step = yield ctx.call_activity("assemble", input=order, retry_policy=_retries(order))
        return step
    step = yield ctx.call_sub_orchestrator("gather", input={**order, "polls": 0})
    step = yield ctx.call_activity("judge", input=step, retry_policy=_retries(order))
    if step.get("hold_s", 0.0) > 0:
        yield ctx.create_timer(timedelta(seconds=step["hold_s"]))
        step = yield ctx.call_activity("fold", input=step, retry_policy=_retries(order))
    return step


def _answered(ctx: OrchestrationContext, order: Order) -> Steps:
    """Ask people, and wait until they have answered or time is up."""
    if _is_storm(order):
        step = yield ctx.call_activity("ask_members", input=order, retry_policy=_retries(order))
    else:
        step = yield ctx.call_activity("ask", input=order, retry_policy=_retries(order))
    _tell(ctx, step)
    if step["verdict"] != "ask":
        return step
    deadline = ctx.create_timer(timedelta(seconds=step["question_s"]))
    while step["verdict"] == "ask":  # a bell that rings without an answer ends nothing
        bell = ctx.wait_for_external_event(step["bell"])
        winner = yield task.when_any([bell, deadline])
        settled = {**step, "expired": winner is deadline}
        step = yield ctx.call_activity("settle", input=settled, retry_policy=_retries(order))
    (bell if winner is deadline else deadline).cancel()
    if step["verdict"] == "run":
        _tell(ctx, step)
    return step


def _acted(ctx: OrchestrationContext, step: Order) -> Steps:
    """Wait for the plan's turn, and repair; or run the walks of a storm's members."""
    if step["wait_s"] > 0:
        yield ctx.create_timer(timedelta(seconds=step["wait_s"]))
    if _is_storm(step):
        step = yield ctx.call_sub_orchestrator("ramp", input=step)
    else:
        step = yield ctx.call_sub_orchestrator("repair", input={**step, "number": 0, "attempt": 1})
    return step


def _is_storm(order: Order) -> bool:
    return order["incident"].get("storm") is not None


def mustering(ctx: OrchestrationContext, order: Order) -> Steps:
    """Judge the members of a storm, some at a time, and start what they come to; a generation a step."""
    step = yield ctx.call_activity("muster", input=order, retry_policy=_retries(order))
    yield from _all_over(ctx.call_sub_orchestrator("remediate", input=one) for one in step["judge"])
    for one in step["start"]:
        ctx.signal_entity(EntityInstanceId("desk", one["desk"]), "park", {"order": one["order"], "now": one["now"]})
    if step["over"]:
        return
    if step["wait_s"] > 0:
        yield ctx.create_timer(timedelta(seconds=step["wait_s"]))
    ctx.continue_as_new(step["next"])


def ramp(ctx: OrchestrationContext, step: Order) -> Steps:
    """Run the walks of a storm's members, wave after wave, until all are over or one was in vain."""
    step = yield ctx.call_activity("wave", input=step, retry_policy=_retries(step))
    orders = step.pop("orders")
    if not orders:
        return {**step, "verdict": "over"}
    yield from _all_over(
        ctx.call_sub_orchestrator("remediate", input=one, instance_id=one["incident"]["id"]) for one in orders
    )
    ctx.continue_as_new(step)
    return None


def _all_over(walks: Iterable[task.Task[Any]]) -> Steps:
    """Wait for walks, one after the other: one that breaks off ends no other; the trail tells how each ended."""
    for walk in list(walks):
        try:
            yield walk
        except TaskFailedError:
            continue


def notify(ctx: OrchestrationContext, order: Order) -> Steps:
    """Tell one thing on every channel; try again, at growing intervals, where one did not take it."""
    try:
        order = yield ctx.call_activity("tell", input=order, retry_policy=_retries(order))
    except TaskFailedError as error:
        return {"failed": _kind_of(error)}
    if not order["over"]:
        yield ctx.create_timer(timedelta(seconds=order["wait_s"]))
        ctx.continue_as_new(order)
    return {"told": order["told"]}


def gather(ctx: OrchestrationContext, order: Order) -> Steps:
    """Read until the failure's detail is there, or its time is up."""
    step = yield ctx.call_activity("collect", input=order, retry_policy=_retries(order))
    if step["settled"]:
        return step
    yield ctx.create_timer(timedelta(seconds=step["wait_s"]))
    ctx.continue_as_new({**order, "polls": order["polls"] + 1})
    return None


def repair(ctx: OrchestrationContext, step: Order) -> Steps:
    """One turn of a plan: claim the desks, send once, wait for Azure, look. What follows is a further generation."""
    desks = [EntityInstanceId("desk", key) for key in step["desks"]]
    now = ctx.current_utc_datetime.replace(tzinfo=UTC)
    claim = {"owner": step["incident"]["id"], "now": now.isoformat(), "until": (now + _LEASE).isoformat()}
    granted: list[EntityInstanceId] = []
    for desk in desks:
        answer = yield ctx.call_entity(desk, "claim", claim)
        if not answer["granted"]:
            break
        granted.append(desk)
    is_ours = granted == desks
    for desk in () if is_ours else granted:  # nobody waits for a desk while holding another's
        yield ctx.call_entity(desk, "release", claim)
    step = yield ctx.call_activity(
        "execute", input={**step, "desk": "ours" if is_ours else "held"}, retry_policy=_retries(step)
    )
    if step["sent"]:
        seen = yield ctx.call_sub_orchestrator("follow", input={**step, "polls": 0})
        step = yield ctx.call_activity("verify", input={**step, "seen": seen}, retry_policy=_retries(step))
    goes_on = step["verdict"] == "run"
    for desk in desks:
        if not (goes_on and desk.key in step["desks"]):
            yield ctx.call_entity(desk, "release", claim)
    if not goes_on:
        return step
    if step["wait_s"] > 0:  # until the next step, or because Azure is busy: nothing is held meanwhile but the desks
        yield ctx.create_timer(timedelta(seconds=step["wait_s"]))
    ctx.continue_as_new(step)
    return None


def follow(ctx: OrchestrationContext, step: Order) -> Steps:
    """Wait until the long-running operation is over, or its time is up; give how it ended."""
    seen = yield ctx.call_activity("check", input=step, retry_policy=_retries(step))
    if seen["over"]:
        return seen
    wait_s = min(_FIRST_POLL_S * 2 ** min(step["polls"], 8), _LONGEST_POLL_S)
    yield ctx.create_timer(timedelta(seconds=wait_s / step["scale"]))
    ctx.continue_as_new({**step, "polls": step["polls"] + 1})
    return None


def _tell(ctx: OrchestrationContext, step: Order) -> task.Task[Any] | None:
    """Begin to tell people; the walk goes on meanwhile."""
    order = step.get("tell")
    if order is None:
        return None
    return ctx.call_sub_orchestrator("notify", input=order, instance_id=f"tell-{order['key']}")


def _kind_of(error: TaskFailedError) -> str:
    """Give the name of the error itself, below the engine's own that a sub-orchestration wraps around it."""
    failure = error.details
    while failure.inner_failure is not None and failure.is_caused_by(TaskFailedError):
        failure = failure.inner_failure
    return failure.error_type.rpartition(".")[-1]


def _retries(order: Order) -> RetryPolicy:
    """A store or service that does not answer gets some minutes; an activity that ran twice does no harm."""
    first = timedelta(seconds=max(5.0 / order["scale"], 0.1))
    return RetryPolicy(first_retry_interval=first, max_number_of_attempts=6, backoff_coefficient=2.0)
